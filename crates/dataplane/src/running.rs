//! What exists from the first generation on: listeners, cores, journal; and the end of them.
//!
//! INVARIANT: a drain stops accepting first, lets requests finish for the time that the plan states, then ends what is
//! left; the journal is closed last, so that every end is in it.
//!
//! Not here: generations and the link (`edge`), a core's own life (`worker`).

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use arc_swap::{ArcSwap, ArcSwapOption};
use portcullis_core::{Clock, Name, Principal, RequestId, UnixMillis};
use portcullis_limits::{Concurrency, FailureBudget, Limiter, Quota};
use portcullis_net::listen::{Drain, DrainSwitch, Listener, LoadBoard, SourceCaps};
use portcullis_snapshot::link::{Reply, Status};
use portcullis_snapshot::plan::Plan;
use portcullis_telemetry::journal::Journal;
use portcullis_telemetry::metrics::NameLabel;
use portcullis_telemetry::{Level, Log, Metrics};
use portcullis_token::{MintFault, Minter, MinterRules, Revocations};
use tokio::sync::{mpsc, oneshot};

use crate::admit::InFlight;
use crate::core_state::{Shared, Snapshot};
use crate::counters::Counters;
use crate::edge::{EdgeError, workers};
use crate::helpers::Helpers;
use crate::settings;
use crate::worker::{Ask, Worker};

/// The cores, their journal and what they share.
pub(crate) struct Running {
    shared: Arc<Shared>,
    caps: Arc<SourceCaps>,
    journal: Journal,
    drain: DrainSwitch,
    asks: Vec<mpsc::Sender<Ask>>,
    threads: Vec<JoinHandle<std::io::Result<()>>>,
}

/// Keys that are counted in each table of limits.
const LIMITED_KEYS: usize = 100_000;
/// Entries of the list of revocations.
const REVOCATIONS: usize = 100_000;
/// Handshakes that each core has open at a time.
const HANDSHAKES: u16 = 256;
/// Threads that check large bodies for all cores, and how many bodies may wait for them: of at most a mebibyte each.
const HELPERS: usize = 2;
const HELPED: usize = 32;

fn shared(plan: &Plan, clock: &Arc<dyn Clock>, metrics: &Arc<Metrics>) -> Result<Shared, EdgeError> {
    let odd = |what: String| EdgeError::Plan(what);
    let environment = plan.environment.name().clone();
    let minter = Minter::new(minter_rules(plan)).map_err(|e| odd(e.to_string()))?;
    let nobody = Name::parse("nobody").map_err(|e| odd(e.to_string()))?;
    Ok(Shared {
        environment,
        clock: Arc::clone(clock),
        metrics: Counters::new(Arc::clone(metrics)),
        limiter: Limiter::new(LIMITED_KEYS),
        concurrency: Concurrency::new(LIMITED_KEYS),
        failures: ArcSwap::from_pointee(failures(plan)?),
        revocations: Revocations::new(REVOCATIONS),
        minter: ArcSwap::from_pointee(minter),
        in_flight: Arc::new(InFlight::new(plan.gateway.limits.in_flight)),
        snapshot: ArcSwapOption::empty(),
        helpers: Helpers::start(HELPERS, HELPED).map_err(|e| odd(e.to_string()))?,
        nobody: Arc::new(Principal::anonymous(nobody)),
    })
}

fn minter_rules(plan: &Plan) -> MinterRules {
    let life = plan.gateway.internal_tokens.lifetime;
    MinterRules { issuer: plan.trust_domain.as_str().into(), life }
}

fn failures(plan: &Plan) -> Result<FailureBudget, EdgeError> {
    let rate = plan.gateway.connections.invalid_tokens_per_source;
    let quota = Quota::of(rate).ok_or_else(|| EdgeError::Plan(format!("`{rate}` cannot be counted")))?;
    Ok(FailureBudget::new(LIMITED_KEYS, quota))
}

impl Running {
    /// Puts the first generation in force and starts to serve.
    pub(crate) fn begin(
        snapshot: Arc<Snapshot>,
        journal: Journal,
        clock: &Arc<dyn Clock>,
        metrics: &Arc<Metrics>,
    ) -> Result<Self, EdgeError> {
        let plan = Arc::clone(&snapshot.plan);
        let shared = Arc::new(shared(&plan, clock, metrics)?);
        shared.snapshot.store(Some(snapshot));
        let (drain, watch) = DrainSwitch::new();
        let caps = SourceCaps::new(settings::caps(&plan));
        let mut running = Self { shared, caps, journal, drain, asks: Vec::new(), threads: Vec::new() };
        running.start(&plan, workers(plan.gateway.workers), &watch)?;
        Ok(running)
    }

    /// The generation in force.
    pub(crate) fn in_force(&self) -> Option<Arc<Snapshot>> {
        self.shared.snapshot.load_full()
    }

    /// Puts another generation in force, and what outlives generations under its numbers. Cores see to their own within a
    /// second.
    pub(crate) fn swap(&self, snapshot: Arc<Snapshot>) -> Result<(), EdgeError> {
        let plan = &snapshot.plan;
        let minter = self.shared.minter.load().under(minter_rules(plan));
        let minter = minter.map_err(|e| EdgeError::Plan(e.to_string()))?;
        let failing = |plan: &Plan| plan.gateway.connections.invalid_tokens_per_source;
        // What was counted is kept unless the budget itself changed.
        if self.in_force().is_none_or(|before| failing(&before.plan) != failing(plan)) {
            self.shared.failures.store(Arc::new(failures(plan)?));
        }
        self.shared.minter.store(Arc::new(minter));
        self.caps.limit(settings::caps(plan));
        self.shared.in_flight.cap(plan.gateway.limits.in_flight);
        self.shared.snapshot.store(Some(snapshot));
        Ok(())
    }

    /// Lets the next key sign internal tokens.
    pub(crate) fn rotate(&self) -> Result<(), MintFault> {
        let rotated = self.shared.minter.load().rotated()?;
        self.shared.minter.store(Arc::new(rotated));
        Ok(())
    }

    fn start(&mut self, plan: &Plan, count: u16, watch: &Drain) -> Result<(), EdgeError> {
        let bind = |address| Listener::bind(address, 1_024).map(Arc::new);
        let listeners = plan.gateway.listen.iter().map(|a| bind(*a)).collect::<Result<Vec<_>, _>>()?;
        let boards: Vec<_> = listeners.iter().map(|_| LoadBoard::new(usize::from(count))).collect();
        for index in 0..count {
            let (ask, asks) = mpsc::channel(16);
            let seats = listeners.iter().zip(&boards);
            let seats = seats.filter_map(|(l, b)| Some((Arc::clone(l), b.seat(usize::from(index))?)));
            let recorder = self.journal.recorder(index);
            let recorder =
                recorder.ok_or_else(|| EdgeError::Journal("has no place for a core".to_owned()))?;
            let worker = Worker {
                shared: Arc::clone(&self.shared),
                recorder,
                listeners: seats.collect(),
                caps: Arc::clone(&self.caps),
                drain: watch.clone(),
                asks,
                cores: count,
                handshakes: HANDSHAKES,
            };
            let thread = std::thread::Builder::new().name(format!("edge-{index}"));
            self.threads.push(thread.spawn(move || worker.run())?);
            self.asks.push(ask);
        }
        Ok(())
    }

    /// What the monitor watches.
    pub(crate) fn status(&self, now: UnixMillis) -> Status {
        let journal = self.journal.state();
        let snapshot = self.shared.snapshot.load();
        let metrics = self.shared.metrics.all();
        if let Some((name, snapshot)) = Name::parse("gateway").ok().zip(snapshot.as_ref()) {
            let left = snapshot.certificate_ends().map_or(Duration::ZERO, |ends| ends.since(now));
            metrics.certificate_expiry.at(&NameLabel(name)).set(left);
        }
        Status {
            at: now,
            refusals: self.shared.metrics.refusals_so_far(),
            guard_faults: self.shared.metrics.guard_faults_so_far(),
            journal_waiting: u64::try_from(metrics.record_queue.value()).unwrap_or(0),
            journal_loss_window_ms: u64::try_from(journal.loss_window.as_millis()).unwrap_or(u64::MAX),
            journal_full_percent: percent(journal.used, journal.quota),
            certificate_ends: snapshot.as_ref().and_then(|s| s.certificate_ends()),
            in_flight: u64::from(self.shared.in_flight.count()),
            streams: u64::try_from(metrics.streams_open.value()).unwrap_or(0),
            generation_ends: snapshot.as_ref().map(|s| s.not_after),
        }
    }

    /// Asks every core about a recent decision.
    pub(crate) async fn explain(&self, id: RequestId) -> Reply {
        for core in &self.asks {
            let (answer, answered) = oneshot::channel();
            if core.send(Ask::Explain(id, answer)).await.is_err() {
                continue;
            }
            if let Ok(Some(text)) = answered.await {
                return Reply::Text(text);
            }
        }
        Reply::Unknown(format!(
            "no core remembers a decision about request `{id}`; only recent ones are kept"
        ))
    }

    /// Stops accepting, lets requests finish, then ends what is left.
    pub(crate) async fn drain(self, log: &Log, now: UnixMillis) -> Result<(), EdgeError> {
        log.say(now, Level::Notice, "the edge drains", &[]);
        let patience =
            self.shared.snapshot.load().as_ref().map(|s| s.plan.gateway.timeouts.drain.as_duration());
        self.drain.begin();
        drop(self.asks);
        let threads = self.threads;
        let mut joined =
            tokio::task::spawn_blocking(move || threads.into_iter().for_each(|t| drop(t.join())));
        if tokio::time::timeout(patience.unwrap_or(Duration::from_secs(10)), &mut joined).await.is_err() {
            self.drain.force();
            let _ = joined.await;
        }
        self.journal.stop();
        Ok(())
    }
}

fn percent(used: u64, quota: u64) -> u8 {
    let percent = u128::from(used) * 100 / u128::from(quota.max(1));
    u8::try_from(percent.min(100)).unwrap_or(100)
}
