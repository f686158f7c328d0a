//! The whole product, driven from outside by clients that nobody here wrote.
//!
//! [`Gateway`] writes a configuration with its certificates and keys into a folder of its own, starts the built
//! `portcullis` on it beside three upstreams, waits until it serves, and ends it when it is dropped. [`Puppet`] is an
//! upstream that answers with exactly the bytes it is told. The tests are in `tests/e2e`, one module for each part of
//! the threat list.
//!
//! INVARIANT: the product is a process of its own, reached over loopback only; nothing of it is linked here.
//!
//! Not here: what a single room promises (beside its code), measuring (`portcullis-bench`).
#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test that cannot be set up must stop with a clear message; nothing here is linked into the product"
)]

pub mod admin;
mod book;
pub mod gateway;
pub mod kernel;
pub mod puppet;

pub use admin::Admin;
pub use book::plaintext;
pub use gateway::{Builder, Gateway, Kit};
pub use puppet::Puppet;
