//! The head guard: the first code that reads what a stranger sent, in both directions.
//!
//! For HTTP/1 it stands between TLS and hyper, frames every head and body by one strict grammar, and hands on only
//! canonical bytes that it wrote itself. Whatever hyper does with leniency, there is nothing left to be lenient
//! about: a second reading of the same bytes cannot exist. For HTTP/2 a [`meter`] counts frames, since hyper does
//! not say how many of which kind came.
//!
//! A request that is refused still becomes a request: hyper is given one canonical `GET /` that asks to close, and
//! [`DownstreamHandle::next_request`] tells the service that it is a refusal and why. So the ordinary line answers
//! and records it, and hyper's automatic answers cannot be reached.
//!
//! INVARIANT: hyper is given no byte of a head that was not parsed to its end and written again here.
//! INVARIANT: after a fault nothing of the connection is interpreted any more.
//! INVARIANT: what the guard writes, the guard accepts and writes again unchanged.
//! INVARIANT: every buffer is bounded by [`Limits`], every wait by [`Timeouts`] or [`UpstreamTimeouts`].
//!
//! Not here: path normalising (`portcullis_core::NormalPath`), body size caps, stripping of identity headers, routing
//! (all in the line); the PROXY protocol and TLS (this room).
//!
//! Sources: RFC 9110, RFC 9112, RFC 9113, RFC 6455 §4; threats A1-A8, A10, B2, B5, B8, B9, E1-E5, E8, E15.

pub mod fault;
#[doc(hidden)]
pub mod fuzzing;
mod grammar;
pub mod h1;
pub mod io;
pub mod limits;
pub mod meter;
pub(crate) mod pace;
#[cfg(test)]
mod tests;

pub use fault::{Fault, Flaw, Leg};
pub use h1::may_trail;
pub use io::{Downstream, DownstreamHandle, ExpectedAnswer, Upstream, UpstreamHandle};
pub use limits::{Limits, MinRate, Timeouts, UpstreamTimeouts};
pub use meter::{Meter, MeterHandle, MeterLimits};
pub use pace::StreamPace;
