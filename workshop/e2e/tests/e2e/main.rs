//! The threat list, class by class, against the running product over wire text.
//!
//! Each test has a gateway of its own, so that what an upstream saw, what was counted and what was recorded is this
//! test's alone. The name of a test begins with the threat ids that it proves.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::disallowed_methods
)]

mod administration;
mod answers;
mod ask;
mod authority;
mod channel;
mod clients;
mod exhaustion;
mod framing;
mod identity;
mod load;
mod operation;
mod processes;
mod proxies;
mod reading;
mod shaping;
mod twins;
mod vectors;
