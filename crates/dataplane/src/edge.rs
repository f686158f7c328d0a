//! The process: takes generations from *control*, starts the cores, answers what is asked.
//!
//! INVARIANT: nothing listens before the first generation is in force (F7).
//! INVARIANT: a generation is checked, compiled beside the data cores and swapped whole; one that does not compile leaves
//! the one before in force, and *control* hears every problem.
//!
//! Not here: connections (`worker`), the link (`link`), what is compiled (`generation`, `portcullis-snapshot`).

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use portcullis_core::{Clock, Generation, SystemClock, UnixMillis};
use portcullis_net::listen::BindFault;
use portcullis_snapshot::compile;
use portcullis_snapshot::keys::Fetched;
use portcullis_snapshot::link::{FromEdge, Hello, Question, Reply, ToEdge};
use portcullis_snapshot::plan::{Plan, StdoutLog};
use portcullis_snapshot::signed::{Acceptor, Kind, Signed};
use portcullis_telemetry::home::Home;
use portcullis_telemetry::journal::{Journal, Mirror};
use portcullis_telemetry::{Chain, Level, Log, Metrics};
use tokio::signal::unix::{SignalKind, signal};

use crate::core_state::Snapshot;
use crate::link::{self, Link};
use crate::running::Running;
use crate::settings;

/// The priority of threads that compile: a tenth of a core that is busy. With less, a change of the rules would come late
/// exactly when somebody keeps every core busy.
const BACKGROUND: i32 = 10;

/// How long one key signs internal tokens.
const ROTATE: Duration = Duration::from_secs(3_600);

/// How an edge is started.
#[derive(Clone, Debug)]
pub struct Edge {
    /// The socket of *control*.
    pub link: PathBuf,
    /// The key that generations must be signed with.
    pub public: [u8; 32],
    /// The supervisor's life that is followed.
    pub epoch: u64,
}

/// Why an edge ended.
#[derive(Debug, thiserror::Error)]
pub enum EdgeError {
    /// No runtime, no thread, no signals.
    #[error("the system gives the edge no runtime, thread or signal")]
    System(#[from] std::io::Error),
    /// An address cannot be listened on.
    #[error("cannot listen")]
    Bind(#[from] BindFault),
    /// The journal cannot be kept; what cannot be recorded is not served.
    #[error("the journal cannot be kept: {0}")]
    Journal(String),
    /// Something in the plan cannot be carried out.
    #[error("the first generation cannot be carried out: {0}")]
    Plan(String),
    /// Told to end before it began.
    #[error("ended before the first generation came")]
    Early,
}

/// Runs an edge until it is told to end (SIGTERM, SIGINT, or *control* asks for a drain).
///
/// # Errors
/// It cannot begin.
#[expect(clippy::needless_pass_by_value, reason = "the door has no more use for it")]
pub fn run(edge: Edge, log: Arc<Log>) -> Result<(), EdgeError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let hello = Hello {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            workers: workers(None),
            listening: Vec::new(),
        };
        let link = link::keep(edge.link.clone(), hello);
        Process::new(&edge, link, log).run().await
    })
}

/// One for each core, unless the plan says how many.
pub(crate) fn workers(planned: Option<std::num::NonZeroU16>) -> u16 {
    let cores =
        || std::thread::available_parallelism().map_or(1, |n| u16::try_from(n.get()).unwrap_or(u16::MAX));
    planned.map_or_else(cores, std::num::NonZeroU16::get)
}

struct Process {
    link: Link,
    log: Arc<Log>,
    clock: Arc<dyn Clock>,
    metrics: Arc<Metrics>,
    plans: Acceptor,
    keys: Acceptor,
    fetched: Arc<Fetched>,
    running: Option<Running>,
}

impl Process {
    fn new(edge: &Edge, link: Link, log: Arc<Log>) -> Self {
        Self {
            link,
            log,
            clock: Arc::new(SystemClock::default()),
            metrics: Arc::new(Metrics::default()),
            plans: Acceptor::new(edge.public, edge.epoch, Kind::Plan),
            keys: Acceptor::new(edge.public, edge.epoch, Kind::Keys),
            fetched: Arc::default(),
            running: None,
        }
    }

    async fn run(mut self) -> Result<(), EdgeError> {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut beat = tokio::time::interval(Duration::from_secs(1));
        let mut rotate = tokio::time::interval_at(tokio::time::Instant::now() + ROTATE, ROTATE);
        loop {
            tokio::select! {
                _ = terminate.recv() => break,
                _ = interrupt.recv() => break,
                _ = beat.tick() => self.report(),
                _ = rotate.tick() => self.rotate(),
                message = self.link.from_control.recv() => match message {
                    Some(ToEdge::Generation(signed)) => {
                        self.generation(*signed).await?;
                        portcullis_allocator::give_back();
                    }
                    Some(ToEdge::Ask(number, question)) => self.answer(number, question).await,
                    Some(ToEdge::Drain) | None => break,
                },
            }
        }
        match self.running.take() {
            Some(running) => running.drain(&self.log, self.clock.now().wall).await,
            None => Err(EdgeError::Early),
        }
    }

    /// The next key of the internal tokens signs from now on.
    fn rotate(&self) {
        let rotated = self.running.as_ref().map(Running::rotate);
        if let Some(Err(fault)) = rotated {
            let now = self.clock.now().wall;
            self.log.say(now, Level::Error, "the key of the internal tokens stays", &[("because", &fault)]);
        }
    }

    /// Takes a generation, or says why not.
    async fn generation(&mut self, signed: Signed) -> Result<(), EdgeError> {
        let now = self.clock.now().wall;
        let (kind, number) = (signed.header().kind, signed.header().number);
        let taken = match kind {
            Kind::Plan => self.take_plan(&signed, now).await,
            Kind::Keys => self.take_keys(&signed, now).await,
        };
        let word = portcullis_telemetry::metrics::Word(if kind == Kind::Plan { "plan" } else { "keys" });
        match taken {
            Ok(()) => {
                self.metrics.generation.at(&word).set(number.0);
                self.say(FromEdge::Took(kind, number));
                Ok(())
            }
            Err(Refused::Fatal(error)) => Err(error),
            Err(Refused::Problems(problems)) => {
                self.metrics.generations_refused.at(&word).inc();
                self.log.say(
                    now,
                    Level::Warning,
                    "a generation was refused",
                    &[("first", &first(&problems))],
                );
                self.say(FromEdge::Refused(kind, number, problems));
                Ok(())
            }
        }
    }

    async fn take_plan(&mut self, signed: &Signed, now: UnixMillis) -> Result<(), Refused> {
        let (payload, header) = self.plans.check(signed, now).map_err(Refused::of)?;
        let plan = portcullis_snapshot::open_plan(payload.as_bytes()).map_err(Refused::of)?;
        let snapshot =
            self.compile(Arc::new(plan), Arc::clone(&self.fetched), header.number, header.not_after).await?;
        self.put_in_force(snapshot)?;
        self.plans.took(header.number);
        Ok(())
    }

    async fn take_keys(&mut self, signed: &Signed, now: UnixMillis) -> Result<(), Refused> {
        let (payload, header) = self.keys.check(signed, now).map_err(Refused::of)?;
        let fetched: Fetched = serde_json::from_str(payload).map_err(Refused::of)?;
        let fetched = Arc::new(fetched);
        if let Some(before) = self.in_force() {
            let (plan, not_after) = (Arc::clone(&before.plan), before.not_after);
            // Keys and plans are counted apart; the verifier's generation must differ from any before it.
            let number = Generation(before.compiled.number.0.max(header.number.0)).next();
            let snapshot = self.compile(plan, Arc::clone(&fetched), number, not_after).await?;
            self.put_in_force(snapshot)?;
        }
        self.fetched = fetched;
        self.keys.took(header.number);
        Ok(())
    }

    fn in_force(&self) -> Option<Arc<Snapshot>> {
        self.running.as_ref().and_then(Running::in_force)
    }

    /// Compiles on a thread of its own, away from the data cores and behind them.
    async fn compile(
        &self,
        plan: Arc<Plan>,
        fetched: Arc<Fetched>,
        number: Generation,
        not_after: UnixMillis,
    ) -> Result<Snapshot, Refused> {
        let (before, clock, metrics) = (self.in_force(), Arc::clone(&self.clock), Arc::clone(&self.metrics));
        let work = move || {
            // Of this thread alone (Linux): on a busy machine a reload takes longer, and requests do not. If the system does
            // not let us, nothing is lost but that.
            let _ = rustix::process::setpriority_process(None, BACKGROUND);
            let compiled = compile(plan, fetched, number, before.as_ref().map(|b| &b.compiled))
                .map_err(|problems| Refused::Problems(problems.iter().map(ToString::to_string).collect()))?;
            let built = Snapshot::build(compiled, not_after, &clock, &metrics, before.as_deref());
            // What compiling took besides; only this thread can return what it freed.
            portcullis_allocator::give_back();
            built.map_err(Refused::of)
        };
        tokio::task::spawn_blocking(work).await.map_err(Refused::of)?
    }

    fn put_in_force(&mut self, snapshot: Snapshot) -> Result<(), Refused> {
        let snapshot = Arc::new(snapshot);
        match &self.running {
            Some(running) => running.swap(snapshot).map_err(Refused::of),
            None => self.begin(snapshot).map_err(Refused::Fatal),
        }
    }

    fn begin(&mut self, snapshot: Arc<Snapshot>) -> Result<(), EdgeError> {
        let plan = Arc::clone(&snapshot.plan);
        let journal = self.journal(&plan, workers(plan.gateway.workers))?;
        self.running = Some(Running::begin(snapshot, journal, &self.clock, &self.metrics)?);
        self.log.say(
            self.clock.now().wall,
            Level::Notice,
            "the edge serves",
            &[("listening", &listed(&plan))],
        );
        Ok(())
    }

    fn journal(&self, plan: &Plan, workers: u16) -> Result<Journal, EdgeError> {
        let failed = |cause: &dyn std::error::Error| EdgeError::Journal(Chain(cause).to_string());
        let mirror = match plan.stdout_log {
            StdoutLog::Off => None,
            StdoutLog::Json => Some(Mirror::start("stdout", Box::new(std::io::stdout()))?),
        };
        let home = Home {
            folder: &Path::new(&*plan.state.directory).join("edge"),
            origin: "edge",
            secret: plan.audit.key.as_ref().map(portcullis_snapshot::plan::Secret::expose),
            plan: settings::journal(plan, workers).map_err(|e| failed(&e))?,
            clock: Arc::clone(&self.clock),
            metrics: Arc::clone(&self.metrics),
            log: Arc::clone(&self.log),
            mirror,
        };
        home.open().map_err(|e| failed(&e))
    }

    fn report(&self) {
        let Some(running) = &self.running else { return };
        self.say(FromEdge::Status(running.status(self.clock.now().wall)));
    }

    async fn answer(&self, number: u64, question: Question) {
        let reply = match question {
            Question::Metrics => Reply::Text(self.metrics.encode()),
            Question::Explain(id) => match &self.running {
                Some(running) => running.explain(id).await,
                None => Reply::Unknown("the edge does not serve yet".to_owned()),
            },
        };
        self.say(FromEdge::Reply(number, reply));
    }

    /// Tells *control*, if it is there and listens.
    fn say(&self, message: FromEdge) {
        let _ = self.link.to_control.try_send(message);
    }
}

/// Why a generation was not taken.
enum Refused {
    Problems(Vec<String>),
    Fatal(EdgeError),
}

impl Refused {
    fn of(error: impl std::error::Error) -> Self {
        Self::Problems(vec![Chain(&error).to_string()])
    }
}

fn first(problems: &[String]) -> String {
    problems.first().cloned().unwrap_or_default()
}

fn listed(plan: &Plan) -> String {
    plan.gateway.listen.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
}
