//! Selection of an endpoint, with passive ejection.
//!
//! The list of a service is immutable and shared by all cores; what is counted (requests in flight, failures) lives in
//! each endpoint and is carried over to the list that follows, so that neither a reload nor a change of one
//! address forgets who is busy or broken (DESIGN §4, Threads).
//!
//! An endpoint that cannot be connected to several times in a row rests for a growing, bounded time and is then tried
//! with one request. Only failures to connect count: an answer, however bad, is the work of a caller's request as
//! much as of the service, and callers must not be able to eject endpoints.
//!
//! INVARIANT: no more than half of a list rests, so that a fault of our own network cannot empty it.
//! INVARIANT: when nothing else is left, a resting or unhealthy endpoint is tried, the one that failed longest ago first:
//! to refuse for certain is worse than to try.
//! INVARIANT: an endpoint never has more requests in flight than its cap, over all cores.
//!
//! Sources: Mitzenmacher 2001 (power of two choices); Thaler and Ravishankar 1998 (highest random weight); Mirrokni,
//! Thorup and Zadimoghaddam 2018 (bounded loads).

mod address;
mod breaker;
mod choose;
mod endpoint;
mod list;
mod picked;
#[cfg(test)]
mod tests;

pub use address::{Address, stable_hash};
pub use breaker::{Breaker, BreakerRule};
pub use endpoint::{EndpointId, EndpointView, Health};
pub use list::{Endpoints, Hint, Rules, Selection};
pub use picked::{Outcome, Picked};
