//! Which endpoints a service has, and which one takes the next request.
//!
//! INVARIANT: nothing here reads a clock, opens a socket or draws a random number; all three are arguments.
//!
//! Not here: the connections to an endpoint (`portcullis-net`), what is retried (`portcullis-dataplane`).

pub mod selection;

pub use selection::{
    Address, Breaker, BreakerRule, EndpointId, EndpointView, Endpoints, Health, Hint, Outcome, Picked, Rules,
    Selection, stable_hash,
};
