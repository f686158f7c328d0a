//! The event model, redaction, the Merkle log and its wire formats.
