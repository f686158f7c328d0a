//! The guard as a stream: what hyper reads is what the guard wrote.
//!
//! [`Downstream`] wraps a caller's connection, [`Upstream`] one to a service; both are tokio streams over any other.
//! A handle beside each tells the guard what only the line can know (an answer is due, a tunnel was granted) and the
//! line what only the guard can know (this request is a refusal).
//!
//! INVARIANT: a byte is read ahead of hyper only into a buffer with a bound; hyper's pace is the peer's pace.
//! INVARIANT: time in which hyper does not ask for bytes is never held against the peer (E8).
//!
//! Sources: RFC 9112 §9; threats A3, A4, E8.

mod buffer;
mod downstream;
mod handle;
mod intake;
mod upstream;
pub(super) mod watch;

pub use super::h1::ExpectedAnswer;
pub use downstream::Downstream;
pub use handle::{DownstreamHandle, UpstreamHandle};
pub use upstream::Upstream;

#[cfg(test)]
mod tests;
