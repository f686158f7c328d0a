//! The endpoints of one service.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use portcullis_core::Now;

use super::address::Address;
use super::breaker::{Admission, BreakerRule};
use super::choose;
use super::endpoint::{Endpoint, EndpointId, EndpointView, Health, Leave};
use super::picked::{Picked, Role};

/// How an endpoint is picked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Selection {
    /// One after another, over all cores.
    RoundRobin,
    /// The less busy of two random ones.
    LeastRequest,
    /// By [`Hint::hash`]; without one, as [`Selection::LeastRequest`].
    ConsistentHash,
}

/// How a list is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// How an endpoint is picked.
    pub selection: Selection,
    /// Requests in flight towards one endpoint, over all cores.
    pub in_flight: u32,
    /// When an endpoint rests.
    pub breaker: BreakerRule,
}

/// What the caller of [`Endpoints::pick`] knows.
#[derive(Clone, Copy, Debug, Default)]
pub struct Hint {
    /// The hash of what should stay together.
    pub hash: Option<u64>,
    /// A random number.
    pub random: u64,
    /// One that was tried already; picked again only if there is no other.
    pub avoid: Option<EndpointId>,
}

/// The endpoints of one service. Cheap to clone; clones share everything.
#[derive(Clone, Debug)]
pub struct Endpoints(pub(crate) Arc<List>);

#[derive(Debug)]
pub(crate) struct List {
    pub(crate) all: Box<[Arc<Endpoint>]>,
    pub(crate) rules: Rules,
    pub(crate) turn: AtomicUsize,
    current: Arc<Current>,
}

/// The endpoints of the newest list of a line of successors. A request that was picked from an older one is judged by
/// this one, and two cores cannot both take the last leave to rest.
#[derive(Debug, Default)]
struct Current(Mutex<Box<[Arc<Endpoint>]>>);

impl Endpoints {
    /// More than this are ignored: selection by hash looks at each.
    pub const MOST: usize = 1_024;

    /// A list; doubles count once.
    #[must_use]
    pub fn new(addresses: impl IntoIterator<Item = Address>, rules: Rules) -> Self {
        Self::build(addresses, rules, None)
    }

    /// The list that follows this one. Endpoints that stay keep their id and everything that is counted; requests in
    /// flight towards those that go are let finish.
    #[must_use]
    pub fn successor(&self, addresses: impl IntoIterator<Item = Address>, rules: Rules) -> Self {
        Self::build(addresses, rules, Some(&self.0))
    }

    fn build(addresses: impl IntoIterator<Item = Address>, rules: Rules, before: Option<&List>) -> Self {
        let known = before.map_or(&[][..], |list| &list.all);
        let mut all: Vec<Arc<Endpoint>> = Vec::new();
        for address in addresses {
            if all.len() < Self::MOST && all.iter().all(|e| e.address != address) {
                let kept = known.iter().find(|e| e.address == address).cloned();
                all.push(kept.unwrap_or_else(|| Arc::new(Endpoint::new(address))));
            }
        }
        let turn = before.map_or(0, |list| list.turn.load(Ordering::Relaxed));
        let current = before.map(|list| Arc::clone(&list.current)).unwrap_or_default();
        current.become_these(&all);
        Self(Arc::new(List { all: all.into(), rules, turn: AtomicUsize::new(turn), current }))
    }

    /// The endpoint for the next request, counted as in flight until the answer is dropped. `None` if the list is
    /// empty or every endpoint has as many in flight as it may.
    #[must_use]
    pub fn pick(&self, hint: Hint, now: Now) -> Option<Picked> {
        let others = |e: &Endpoint| Some(e.id) != hint.avoid;
        // Between choosing and taking, another core may take the last place or the one try of a resting endpoint.
        for _ in 0..3 {
            let Some(chosen) = choose::one(&self.0, hint, now.mono) else { break };
            if let Some(picked) = self.take(chosen, now) {
                return Some(picked);
            }
        }
        let ready = |e: &&Arc<Endpoint>| others(e) && e.is_open_to(now.mono);
        if let Some(any) = self.0.all.iter().filter(ready).find_map(|e| self.take(e, now)) {
            return Some(any);
        }
        if self.0.all.iter().any(|e| others(e) && e.is_open_to(now.mono)) {
            return None; // They are busy, not broken: the resting ones would not help.
        }
        self.last_resort(others).or_else(|| {
            let tried = self.0.all.iter().find(|e| !others(e))?;
            self.take(tried, now).or_else(|| self.last_resort(|e| e.id == tried.id))
        })
    }

    fn take(&self, endpoint: &Arc<Endpoint>, now: Now) -> Option<Picked> {
        if !endpoint.take_place(self.0.rules.in_flight) {
            return None;
        }
        let role = match endpoint.admit(now.mono) {
            Admission::Flows => Role::Usual,
            Admission::Tries => Role::Tries,
            Admission::Rests => {
                endpoint.give_place();
                return None;
            }
        };
        Some(Picked::new(&self.0, endpoint, role))
    }

    /// Everything rests or is unhealthy: the one that failed longest ago, and that nobody is trying yet.
    fn last_resort(&self, among: impl Fn(&Endpoint) -> bool) -> Option<Picked> {
        let has_room = |e: &&Arc<Endpoint>| among(e) && e.in_flight() < self.0.rules.in_flight;
        let oldest = self.0.all.iter().filter(has_room).min_by_key(|e| (e.last_failure(), e.in_flight()))?;
        if !oldest.take_place(self.0.rules.in_flight) {
            return None;
        }
        oldest.try_early();
        Some(Picked::new(&self.0, oldest, Role::Tries))
    }

    /// Takes over what an active check says.
    pub fn mark(&self, id: EndpointId, health: Health) {
        if let Some(endpoint) = self.0.all.iter().find(|e| e.id == id) {
            endpoint.mark(health);
        }
    }

    /// Each endpoint as it is now.
    pub fn views(&self) -> impl Iterator<Item = EndpointView> {
        self.0.all.iter().map(|e| e.view())
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.all.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.all.is_empty()
    }
}

impl List {
    /// Counts a failure to connect, and lets the endpoint rest unless half of the newest list does.
    pub(crate) fn unreached(&self, endpoint: &Endpoint, now: Now) {
        let newest = self.current.lock();
        let others = newest.iter().filter(|e| e.id != endpoint.id && e.is_resting()).count();
        let leave = if others < newest.len() / 2 { Leave::Granted } else { Leave::Refused };
        endpoint.unreached(now.mono, &self.rules.breaker, leave);
    }
}

impl Current {
    /// Nothing under this lock can panic, so a poisoned one is taken as it is.
    fn lock(&self) -> MutexGuard<'_, Box<[Arc<Endpoint>]>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A new list may consist of resting endpoints: those that failed longest ago return, until half are awake.
    fn become_these(&self, all: &[Arc<Endpoint>]) {
        let mut newest = self.lock();
        let mut resting: Vec<_> = all.iter().filter(|e| e.is_resting()).collect();
        resting.sort_by_key(|e| e.last_failure().1);
        let beyond = resting.len().saturating_sub(all.len() / 2);
        resting.into_iter().take(beyond).for_each(|e| e.wake());
        *newest = all.into();
    }
}
