//! What tests are made of: a clock to wind, a certificate authority, a token maker, clients and upstreams that
//! say exactly the bytes they are told, a launcher for real programs, and where the programs of other people are.
//!
//! Everything here is blocking and runs its servers on threads of its own, so a test is a plain `#[test]` and
//! reads from top to bottom. Every wait has a deadline; every port is one that the kernel chose; every process
//! and thread started here ends when its owner is dropped.
//!
//! INVARIANT: nothing here is linked into the product (`cargo xtask check` names the edge if it is).
//! INVARIANT: traffic goes to 127.0.0.0/8, `::1` or unix sockets only.
//!
//! Not here: what the product does with any of it (`portcullis-e2e`), measuring (`portcullis-bench`).
#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::disallowed_methods,
    clippy::print_stderr,
    reason = "a test that cannot be set up must stop with a clear message; nothing here is linked into the product"
)]

pub mod answer;
pub mod ca;
pub mod clock;
pub mod conn;
pub mod duplex;
pub mod frames;
pub mod h2;
pub mod jose;
pub mod launch;
pub mod scripted;
pub mod tools;
pub mod upstream;
pub mod wait;
mod websocket;

pub use answer::Answer;
pub use ca::{Leaf, LeafSpec, TestCa};
pub use clock::ManualClock;
pub use conn::RawConn;
pub use h2::H2Conn;
pub use jose::{TokenKey, jwks};
pub use launch::{Launch, Running};
pub use scripted::{ScriptedUpstream, Step};
pub use tools::{counterpart, tool};
pub use upstream::{Behaviour, Reply, Seen, Upstream};
pub use wait::eventually;
