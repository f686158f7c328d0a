//! Keys, tokens and issuers for the tests of this room.
