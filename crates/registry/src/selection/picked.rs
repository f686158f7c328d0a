//! An endpoint that was picked.
//!
//! INVARIANT: what was counted as in flight is uncounted exactly once, when the value is dropped.
//! INVARIANT: a request that was to try a resting endpoint and vanished gives the try back.

use std::sync::Arc;

use portcullis_core::Now;

use super::address::Address;
use super::endpoint::{Endpoint, EndpointId};
use super::list::List;

/// How it went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The endpoint answered.
    Good,
    /// No connection could be made; nothing was sent.
    ConnectFailed,
    /// There was a connection, and the request failed on it. It proves that the endpoint can be reached.
    Failed,
}

/// Whether this request finds out for others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    Usual,
    Tries,
    Told,
}

/// An endpoint that was picked for one request. Keep it as long as the request is in flight.
#[derive(Debug)]
#[must_use = "dropping this ends the request"]
pub struct Picked {
    list: Arc<List>,
    endpoint: Arc<Endpoint>,
    role: Role,
}

impl Picked {
    /// The caller has taken a place for it.
    pub(crate) fn new(list: &Arc<List>, endpoint: &Arc<Endpoint>, role: Role) -> Self {
        Self { list: Arc::clone(list), endpoint: Arc::clone(endpoint), role }
    }

    /// Which one, for [`super::Hint::avoid`].
    #[must_use]
    pub fn id(&self) -> EndpointId {
        self.endpoint.id
    }

    /// Where it is.
    #[must_use]
    pub fn address(&self) -> &Address {
        &self.endpoint.address
    }

    /// The address as a record shows it.
    #[must_use]
    pub fn label(&self) -> &Arc<str> {
        &self.endpoint.label
    }

    /// Says how it went. Without a word, nothing is learned.
    pub fn outcome(&mut self, outcome: Outcome, now: Now) {
        self.role = Role::Told;
        match outcome {
            Outcome::Good | Outcome::Failed => self.endpoint.reached(now.mono, &self.list.rules.breaker),
            Outcome::ConnectFailed => self.list.unreached(&self.endpoint, now),
        }
    }
}

impl Drop for Picked {
    fn drop(&mut self) {
        self.endpoint.give_place();
        if self.role == Role::Tries {
            self.endpoint.abandoned();
        }
    }
}
