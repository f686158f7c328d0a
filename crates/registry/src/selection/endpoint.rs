//! One endpoint and what all cores count about it.
//!
//! INVARIANT: `mood` always says what the breaker behind the lock says; a request to a clean endpoint takes no lock.

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use super::address::Address;
use super::breaker::{Admission, Answer, Breaker, BreakerRule};

/// Tells endpoints apart within a process; never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EndpointId(u64);

/// What an active check says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Health {
    /// Answers as it should, or is not checked.
    Healthy,
    /// Does not.
    Unhealthy,
}

/// An endpoint at one instant, for metrics, health checks and the console.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndpointView {
    /// Its id.
    pub id: EndpointId,
    /// Where it is.
    pub address: Address,
    /// Requests in flight.
    pub in_flight: u32,
    /// What the active check said last.
    pub health: Health,
    /// Whether it rests.
    pub breaker: Breaker,
}

#[derive(Debug)]
pub(crate) struct Endpoint {
    pub(crate) id: EndpointId,
    pub(crate) address: Address,
    /// The address as a record shows it.
    pub(crate) label: Arc<str>,
    pub(crate) seed: u64,
    in_flight: AtomicU32,
    unhealthy: AtomicBool,
    mood: AtomicU8,
    state: Mutex<State>,
}

#[derive(Debug)]
pub(crate) struct State {
    pub(crate) breaker: Breaker,
    pub(crate) failed_at: Option<Instant>,
}

/// The breaker flows and has counted nothing.
const CLEAN: u8 = 0;
/// The breaker flows and has counted failures.
const WORRIED: u8 = 1;
/// The breaker rests.
const RESTING: u8 = 2;

/// Whether this failure may make the endpoint rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Leave {
    Granted,
    Refused,
}

impl Endpoint {
    pub(crate) fn new(address: Address) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        Self {
            id: EndpointId(NEXT.fetch_add(1, Ordering::Relaxed)),
            seed: address.seed(),
            label: address.to_string().into(),
            address,
            in_flight: AtomicU32::new(0),
            unhealthy: AtomicBool::new(false),
            mood: AtomicU8::new(CLEAN),
            state: Mutex::new(State { breaker: Breaker::NEW, failed_at: None }),
        }
    }

    /// Nothing under this lock can panic, so a poisoned one is taken as it is.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn put(&self, state: &mut State, breaker: Breaker) {
        state.breaker = breaker;
        let mood = match breaker {
            Breaker::Closed { failures: 0, .. } => CLEAN,
            Breaker::Closed { .. } => WORRIED,
            Breaker::Open { .. } | Breaker::HalfOpen { .. } => RESTING,
        };
        self.mood.store(mood, Ordering::Release);
    }

    pub(crate) fn in_flight(&self) -> u32 {
        self.in_flight.load(Ordering::Relaxed)
    }

    pub(crate) fn health(&self) -> Health {
        if self.unhealthy.load(Ordering::Relaxed) { Health::Unhealthy } else { Health::Healthy }
    }

    pub(crate) fn mark(&self, health: Health) {
        self.unhealthy.store(health == Health::Unhealthy, Ordering::Relaxed);
    }

    pub(crate) fn is_resting(&self) -> bool {
        self.mood.load(Ordering::Acquire) == RESTING
    }

    /// Whether a request may go there now, as far as health and the breaker say.
    pub(crate) fn is_open_to(&self, now: Instant) -> bool {
        let rests = || self.lock().breaker.asks(now) == Admission::Rests;
        self.health() == Health::Healthy && !(self.is_resting() && rests())
    }

    /// When it last could not be reached, and whether somebody is trying it at this moment.
    pub(crate) fn last_failure(&self) -> (bool, Option<Instant>) {
        let state = self.lock();
        (matches!(state.breaker, Breaker::HalfOpen { .. }), state.failed_at)
    }

    /// Counts one more in flight, unless that is more than `cap`.
    pub(crate) fn take_place(&self, cap: u32) -> bool {
        let more = |n: u32| (n < cap).then(|| n.saturating_add(1));
        self.in_flight.fetch_update(Ordering::AcqRel, Ordering::Relaxed, more).is_ok()
    }

    pub(crate) fn give_place(&self) {
        let less = |n: u32| n.checked_sub(1);
        let _ = self.in_flight.fetch_update(Ordering::AcqRel, Ordering::Relaxed, less);
    }

    /// Asks the breaker for one request; a request that tries is on its way from here.
    pub(crate) fn admit(&self, now: Instant) -> Admission {
        if !self.is_resting() {
            return Admission::Flows;
        }
        let mut state = self.lock();
        let admission = state.breaker.asks(now);
        if admission == Admission::Tries {
            let tried = state.breaker.tried();
            self.put(&mut state, tried);
        }
        admission
    }

    /// Lets a request try although the rest is not over.
    pub(crate) fn try_early(&self) {
        let mut state = self.lock();
        let tried = state.breaker.tried();
        self.put(&mut state, tried);
    }

    pub(crate) fn abandoned(&self) {
        let mut state = self.lock();
        let abandoned = state.breaker.abandoned();
        self.put(&mut state, abandoned);
    }

    pub(crate) fn reached(&self, now: Instant, rule: &BreakerRule) {
        if self.mood.load(Ordering::Acquire) == CLEAN {
            return;
        }
        let mut state = self.lock();
        let after = state.breaker.after(Answer::Reached, now, rule);
        self.put(&mut state, after);
    }

    pub(crate) fn unreached(&self, now: Instant, rule: &BreakerRule, leave: Leave) {
        let mut state = self.lock();
        state.failed_at = Some(now);
        let after = match (state.breaker, state.breaker.after(Answer::Unreached, now, rule)) {
            // One failure short of a rest, until somebody else returns from his.
            (closed @ Breaker::Closed { .. }, Breaker::Open { .. }) if leave == Leave::Refused => closed,
            (_, after) => after,
        };
        self.put(&mut state, after);
    }

    /// Ends a rest.
    pub(crate) fn wake(&self) {
        let mut state = self.lock();
        self.put(&mut state, Breaker::NEW);
    }

    pub(crate) fn view(&self) -> EndpointView {
        EndpointView {
            id: self.id,
            address: self.address.clone(),
            in_flight: self.in_flight(),
            health: self.health(),
            breaker: self.lock().breaker,
        }
    }
}
