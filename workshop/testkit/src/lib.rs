//! Fakes, a test CA, raw-socket peers and server launchers.
