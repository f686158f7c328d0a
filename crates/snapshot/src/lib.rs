//! Compiles immutable generations out of the engines, and signs and checks them on the wire.
//!
//! ```text
//! Plan (config) ─ signed, over a socket ─ Acceptor ─ compile ─ Routes · Authorisation · Keys ─ swapped whole
//! ```
//!
//! INVARIANT: a generation that does not compile leaves the one before in force, and says every problem.
//! INVARIANT: parts whose section of the plan did not change are taken over as they are, so that a change of one
//! certificate flushes no decision (DESIGN §4, Generations).
//!
//! Not here: when to compile and whom to tell (`portcullis-control`, `portcullis-dataplane`).

pub mod authorisation;
pub mod compile;
pub mod contracts;
mod endpoints;
mod holder;
pub mod keys;
pub mod link;
pub mod router;
pub mod routes;
pub mod signed;

pub use authorisation::Authorisation;
pub use compile::{Compiled, compile};
pub use holder::holder;
pub use keys::Keys;
pub use portcullis_config::crossing::{CrossingError, open as open_plan, pack as pack_plan};
pub use portcullis_config::plan;
pub use routes::Routes;
