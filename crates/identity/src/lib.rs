//! Who stands behind a client certificate: names, thumbprints, profiles.
