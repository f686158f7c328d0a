//! What one core has to itself, and what all cores share.
//!
//! A connection stays on the core that accepted it, so a core's pool, caches and random numbers need no lock. Limits,
//! in-flight counts and revocations are shared, since a plan of 50/s admits exactly 50 on any number of cores.
//!
//! INVARIANT: a request asks for the snapshot once and keeps it.
//! INVARIANT: every cache here is bounded and purged on a timer (11.2.8).
//!
//! Not here: threads and sockets (`edge`).

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::{ArcSwap, ArcSwapOption};
use portcullis_core::{Clock, Name, Now, Principal, Reason, Refusal, RequestId, UnixMillis};
use portcullis_evidence::event::{Class, Event};
use portcullis_evidence::request::Generations;
use portcullis_evidence::{Source, SourceForm};
use portcullis_limits::{Concurrency, FailureBudget, Limiter};
use portcullis_net::pool::Pool;
use portcullis_policy::DecisionCache;
use portcullis_snapshot::plan::Plan;
use portcullis_telemetry::coalesce::{Coalesce, Coalescer};
use portcullis_telemetry::journal::Recorder;
use portcullis_token::{InternalTokens, Minter, Revocations, TokenCache};

use crate::admit::InFlight;
use crate::authorise::Facts;
use crate::body::RequestBody;
use crate::counters::Counters;
pub(crate) use crate::generation::Snapshot;
use crate::helpers::Helpers;
use crate::random::Random;
use crate::settings;
use crate::streams::{Bounds, Streams};

/// What all cores share.
pub(crate) struct Shared {
    /// The environment, which is also the realm of challenges.
    pub environment: Name,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// What is counted.
    pub metrics: Counters,
    /// Rates.
    pub limiter: Limiter,
    /// Requests in flight by caller.
    pub concurrency: Concurrency,
    /// Failed credentials by source.
    pub failures: ArcSwap<FailureBudget>,
    /// What was revoked.
    pub revocations: Revocations,
    /// The key of the internal tokens.
    pub minter: ArcSwap<Minter>,
    /// Requests in flight in all.
    pub in_flight: Arc<InFlight>,
    /// The generation in force.
    pub snapshot: ArcSwapOption<Snapshot>,
    /// Threads for what would hold a core up.
    pub helpers: Helpers,
    /// Who has proved nothing.
    pub nobody: Arc<Principal>,
}

impl Shared {
    /// How long a body that must be whole may take to arrive.
    pub(crate) fn body_deadline(&self) -> Duration {
        let snapshot = self.snapshot.load();
        snapshot
            .as_ref()
            .map_or(Duration::from_secs(10), |s| s.plan.gateway.timeouts.body_grace.as_duration())
    }
}

/// What one core has to itself.
pub(crate) struct Core {
    /// What all cores share.
    pub shared: Arc<Shared>,
    /// Its end of the journal.
    pub recorder: Recorder,
    /// Tokens that were verified here.
    pub tokens: RefCell<TokenCache>,
    /// Decisions that were made here.
    pub decisions: RefCell<DecisionCache>,
    /// Internal tokens that were minted here.
    pub internal: RefCell<InternalTokens>,
    /// Connections to upstreams.
    pub pool: Pool<RequestBody>,
    /// Streams that are open here.
    pub streams: Rc<Streams>,
    random: RefCell<Random>,
    coalescer: RefCell<Coalescer>,
    sizes: Cell<Sizes>,
    beats: Cell<u64>,
    cores: u16,
    recent: RefCell<VecDeque<(RequestId, Rc<Facts>)>>,
    asked_since: Cell<u64>,
    told: Cell<[u64; 4]>,
}

/// Decisions that each core remembers.
const DECISIONS: usize = 16_384;
/// Decisions that `explain` can go back to, for each core.
const RECENT: usize = 4_096;

impl Core {
    /// A core with empty caches, one of `cores`.
    pub(crate) fn new(shared: Arc<Shared>, recorder: Recorder, cores: u16) -> Self {
        let snapshot = shared.snapshot.load_full();
        let plan = snapshot.as_ref().map(|s| &*s.plan);
        let sizes = plan.map_or(Sizes::LEAST, |plan| Sizes::of(plan, cores));
        let pool = Pool::new(plan.map(settings::pool).unwrap_or_default(), Arc::clone(&shared.clock));
        let streams = Rc::new(Streams::new(shared.metrics.all().streams_open.clone()));
        Self {
            shared,
            recorder,
            tokens: RefCell::new(TokenCache::new(sizes.tokens)),
            decisions: RefCell::new(DecisionCache::new(DECISIONS)),
            internal: RefCell::new(InternalTokens::new(sizes.tokens)),
            pool,
            streams,
            random: RefCell::new(Random::default()),
            coalescer: RefCell::new(Coalescer::new(sizes.refusals_a_second)),
            sizes: Cell::new(sizes),
            beats: Cell::new(0),
            cores,
            recent: RefCell::new(VecDeque::new()),
            asked_since: Cell::new(0),
            told: Cell::default(),
        }
    }

    /// Both clocks.
    pub(crate) fn now(&self) -> Now {
        self.shared.clock.now()
    }

    /// Seconds that the core has lived, as it counts them: a clock that costs nothing to read.
    pub(crate) fn beats(&self) -> u64 {
        self.beats.get()
    }

    /// The generation in force, unless there is none or its time is over (F7).
    pub(crate) fn snapshot(&self, now: Now) -> Result<Arc<Snapshot>, Refusal> {
        let none = || Refusal::new(Reason::NoGeneration, "no generation is in force");
        let snapshot = self.shared.snapshot.load_full().ok_or_else(none)?;
        if snapshot.not_after <= now.wall {
            return Err(Refusal::new(Reason::NoGeneration, "the generation in force is past its time"));
        }
        Ok(snapshot)
    }

    /// The numbers of the generations in force.
    pub(crate) fn generations(&self) -> Generations {
        let snapshot = self.shared.snapshot.load();
        snapshot.as_ref().map_or_else(Generations::default, |s| s.generations())
    }

    /// A random number.
    pub(crate) fn random(&self) -> u64 {
        self.random.borrow_mut().draw()
    }

    /// A wider one.
    pub(crate) fn random_wide(&self) -> u128 {
        (u128::from(self.random()) << 64) | u128::from(self.random())
    }

    /// Keeps a decision's inputs for `explain`, in memory only.
    pub(crate) fn remember(&self, id: RequestId, facts: &Rc<Facts>) {
        let mut recent = self.recent.borrow_mut();
        if recent.len() >= RECENT {
            recent.pop_front();
        }
        recent.push_back((id, Rc::clone(facts)));
    }

    /// The inputs of a recent decision.
    pub(crate) fn recall(&self, id: RequestId) -> Option<Rc<Facts>> {
        self.recent.borrow().iter().rev().find(|(known, _)| *known == id).map(|(_, facts)| Rc::clone(facts))
    }

    /// Whether a refusal is counted with others of its kind in place of having a line of its own.
    pub(crate) fn coalesces(&self, reason: Reason, source: IpAddr, now: Now) -> bool {
        let network = Source::of(source, SourceForm::NETWORK);
        self.coalesce(Class::Refusal(reason), network, now) == Coalesce::Counted
    }

    /// What to do with an event of this class from this network.
    pub(crate) fn coalesce(&self, class: Class, network: Source, now: Now) -> Coalesce {
        self.coalescer.borrow_mut().note(now.wall, class, network)
    }

    /// How long a stream of these facts may live.
    pub(crate) fn bounds(&self, facts: &Facts) -> Bounds {
        let now = self.now();
        let mono = tokio::time::Instant::now();
        let snapshot = self.shared.snapshot.load();
        let limits = snapshot.as_ref().map(|s| s.plan.gateway.streams);
        let max_age = limits.map_or(Duration::from_secs(3_600), |l| l.max_age.as_duration());
        let idle = limits.map_or(Duration::from_secs(60), |l| l.idle.as_duration());
        let left = |ends: Option<UnixMillis>| ends.map_or(max_age, |ends| ends.since(now.wall));
        let credential = left(facts.principal.expires).min(left(facts.certificate_ends));
        Bounds { deadline: mono + max_age.min(credential), idle }
    }

    /// What is done every second: purge what ended, record what was only counted, look at streams again after a
    /// change of rules.
    pub(crate) fn tend(&self) {
        let now = self.now();
        self.beats.set(self.beats.get().wrapping_add(1));
        self.adopt();
        self.tokens.borrow_mut().purge(now.wall);
        self.internal.borrow_mut().purge(now.wall);
        self.pool.sweep();
        let _ = self.coalescer.borrow_mut().drain(now.wall, |coalesced| {
            let id = RequestId::new(now.wall, self.random_wide());
            self.recorder.record(now, id, &Event::Coalesced(coalesced))
        });
        self.tell();
        self.ask_again();
    }

    /// Takes over what a newer generation says of this core's own stores.
    fn adopt(&self) {
        let Some(snapshot) = self.shared.snapshot.load_full() else { return };
        self.pool.bound(settings::pool(&snapshot.plan));
        let sizes = Sizes::of(&snapshot.plan, self.cores);
        let before = self.sizes.replace(sizes);
        self.coalescer.borrow_mut().limit(sizes.refusals_a_second);
        if before.tokens != sizes.tokens {
            self.tokens.replace(TokenCache::new(sizes.tokens));
            self.internal.replace(InternalTokens::new(sizes.tokens));
        }
    }

    /// Moves what the caches counted since the last time to the metrics.
    fn tell(&self) {
        let (tokens, decisions) = (self.tokens.borrow().hits_and_misses(), self.decisions.borrow().counts());
        let counts = [tokens.0, tokens.1, decisions.hits, decisions.misses];
        let before = self.told.replace(counts);
        let mut grown = [0; 4];
        for (grown, (now, before)) in grown.iter_mut().zip(counts.into_iter().zip(before)) {
            *grown = now.saturating_sub(before);
        }
        self.shared.metrics.cached(grown);
    }

    /// Ends streams that a newer generation of rules, routes, keys or certificates no longer permits.
    fn ask_again(&self) {
        let Some(snapshot) = self.shared.snapshot.load_full() else { return };
        let generation = snapshot.compiled.number.0;
        if self.asked_since.replace(generation) != generation {
            let permitted = |facts: &Facts| crate::authorise::still_permitted(self, &snapshot, facts);
            self.streams.keep_only(portcullis_evidence::request::Close::Withdrawn, permitted);
        }
        let revoked =
            |facts: &Facts| self.shared.revocations.revokes(&facts.principal, self.now().wall).is_some();
        if !self.shared.revocations.is_empty() {
            self.streams.keep_only(portcullis_evidence::request::Close::Withdrawn, |facts| !revoked(facts));
        }
    }
}

/// The bounds of a core's own stores, as the plan states them.
#[derive(Clone, Copy, Debug)]
struct Sizes {
    /// Verified tokens, and internal ones.
    tokens: usize,
    /// Early refusals that have a line of their own, a second.
    refusals_a_second: u32,
}

impl Sizes {
    const LEAST: Self = Self { tokens: 16, refusals_a_second: 0 };

    /// For one of `cores`.
    fn of(plan: &Plan, cores: u16) -> Self {
        let connections = &plan.gateway.connections;
        let tokens = usize::try_from(connections.token_cache).unwrap_or(usize::MAX);
        let tokens = (tokens / usize::from(cores.max(1))).max(Self::LEAST.tokens);
        Self { tokens, refusals_a_second: connections.refusals_recorded }
    }
}
