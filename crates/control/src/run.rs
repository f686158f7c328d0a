//! The control process: one task that owns the change line, and tasks around it that watch, fetch and tell.
//!
//! INVARIANT: it parses no traffic; a fault here, or its death, leaves the data planes serving.
//! INVARIANT: the first configuration must load, or the process gives up for good and says why.
//!
//! Not here: the data plane, the supervisor (`supervise`).

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use portcullis_config::Plan;
use portcullis_core::{ByteSize, Clock, Millis, Problems, RequestId, Sensitive, SystemClock};
use portcullis_evidence::event::Actor;
use portcullis_snapshot::keys::Fetched;
use portcullis_snapshot::signed::{Signer, SignerFault};
use portcullis_telemetry::home::{Home, HomeError};
use portcullis_telemetry::journal::{Journal, JournalPlan, PlanFault, QueuePlan, Recorder};
use portcullis_telemetry::{Level, Log, Metrics};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

use crate::admin::Asker;
use crate::change::{Attempt, Changes, Made};
use crate::desk::Desk;
use crate::publish::Publisher;
use crate::tasks::{Reload, Tasks};

/// How *control* is started.
pub struct Control {
    /// The configuration's root file.
    pub config: PathBuf,
    /// Where data planes connect.
    pub link: PathBuf,
    /// The supervisor's life.
    pub epoch: u64,
    /// The key that generations are signed with, PKCS#8.
    pub key: Sensitive<Vec<u8>>,
}

/// Why *control* ended.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// The first configuration has problems; starting again cannot help.
    #[error("the configuration does not load:\n{0}")]
    Configuration(Problems),
    /// No runtime, socket or signal.
    #[error("the system gives control no runtime, socket or signal")]
    System(#[from] std::io::Error),
    /// The signing key.
    #[error("control has no signing key")]
    Key(#[from] SignerFault),
    /// The journal; what cannot be recorded is not changed.
    #[error("control's journal cannot be kept")]
    Journal(#[from] HomeError),
}

/// Generations are signed again this often.
const RENEW: Duration = Duration::from_secs(3_600);

/// How far *control* stands behind the data plane, as `nice` counts.
const BEHIND: i32 = 5;

/// Runs *control* until it is told to end.
///
/// # Errors
/// It cannot begin.
pub fn run(control: Control, log: Arc<Log>) -> Result<(), ControlError> {
    // What serves goes first where both share a core. If the system does not let us, nothing is lost but that.
    let _ = rustix::process::nice(BEHIND);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async { Process::begin(control, log)?.run().await })
}

/// What asks for a reload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Asked {
    /// SIGHUP.
    Signal,
    /// A file changed.
    File,
    /// An administrator.
    Admin(Asker),
}

struct Process {
    changes: Changes,
    publisher: Publisher,
    clock: Arc<dyn Clock>,
    log: Arc<Log>,
    journal: Arc<Journal>,
    tasks: Tasks,
}

impl Process {
    fn begin(control: Control, log: Arc<Log>) -> Result<Self, ControlError> {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::default());
        let signer = Signer::from_pkcs8(&control.key)?;
        let mut changes = Changes::new(control.config, signer, control.epoch);
        let none = Arc::new(Fetched::default());
        let now = clock.now();
        let (signed, plan) = match changes.attempt(&none, now.wall) {
            Ok(Attempt::New(signed, plan)) => (signed, plan),
            Ok(Attempt::Same) => return Err(ControlError::Configuration(Problems::default())),
            Err(problems) => return Err(ControlError::Configuration(problems)),
        };
        let metrics = Arc::new(Metrics::default());
        let journal = Arc::new(open_journal(&plan, &clock, &metrics, &log)?);
        let (news_out, news) = mpsc::channel(1_024);
        let publisher = Publisher::new(news_out);
        publisher.publish(*signed);
        publisher.listen(&control.link)?;
        let desk =
            Desk { clock: Arc::clone(&clock), recorder: journal.process(), metrics, log: Arc::clone(&log) };
        let tasks = Tasks::start(&desk, &journal, (&publisher, news), &plan)?;
        tasks.follow(plan, changes.hash());
        let process = Self { changes, publisher, clock, log, journal, tasks };
        process.note(Actor::File, None);
        portcullis_allocator::give_back();
        Ok(process)
    }

    async fn run(mut self) -> Result<(), ControlError> {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut hangup = signal(SignalKind::hangup())?;
        let mut look = tokio::time::interval(Duration::from_secs(1));
        let mut renew = tokio::time::interval_at(tokio::time::Instant::now() + RENEW, RENEW);
        loop {
            tokio::select! {
                _ = terminate.recv() => break,
                _ = interrupt.recv() => break,
                _ = hangup.recv() => drop(self.reload(&Asked::Signal)),
                Some(Reload { who, done }) = self.tasks.reloads.recv() => {
                    let _ = done.send(self.reload(&Asked::Admin(who)));
                }
                Ok(()) = self.tasks.fetched.changed() => self.send_keys(),
                _ = renew.tick() => self.renew(),
                _ = look.tick() => if self.changes.stale() { drop(self.reload(&Asked::File)) },
            }
        }
        // The journal is closed with its last holder, when the tasks are gone.
        self.tasks.end();
        Ok(())
    }

    /// Tries what the files say now; the error is all problems, as text.
    fn reload(&mut self, asked: &Asked) -> Result<(), String> {
        let now = self.clock.now().wall;
        let fetched = Arc::clone(&self.tasks.fetched.borrow());
        let actor = match asked {
            Asked::Signal => Actor::Signal,
            Asked::File => Actor::File,
            Asked::Admin(who) => who.actor(),
        };
        match self.changes.attempt(&fetched, now) {
            Ok(Attempt::Same) => Ok(()),
            Ok(Attempt::New(signed, plan)) => {
                self.publisher.publish(*signed);
                self.tasks.follow(plan, self.changes.hash());
                portcullis_allocator::give_back();
                self.log.say(now, Level::Notice, "the configuration was reloaded", &[]);
                self.note(actor, None);
                Ok(())
            }
            Err(problems) => {
                self.complain(&problems);
                self.note(actor, Some(&problems));
                Err(problems.to_string())
            }
        }
    }

    fn complain(&self, problems: &Problems) {
        let first = problems.iter().next().map(ToString::to_string).unwrap_or_default();
        let count = problems.count();
        let facts: [(&str, &dyn std::fmt::Display); 2] = [("problems", &count), ("first", &first)];
        let text = "the configuration does not load; the one before stays";
        self.log.say(self.clock.now().wall, Level::Error, text, &facts);
    }

    fn send_keys(&mut self) {
        let fetched = Arc::clone(&self.tasks.fetched.borrow());
        if let Some(signed) = self.changes.sign_keys(&fetched, self.clock.now().wall) {
            self.publisher.publish(signed);
        }
    }

    fn renew(&mut self) {
        if let Some(signed) = self.changes.renew(self.clock.now().wall) {
            self.publisher.publish(signed);
        }
    }

    fn note(&self, actor: Actor<'_>, problems: Option<&Problems>) {
        let now = self.clock.now();
        let detail = problems.and_then(|p| p.iter().next()).map(ToString::to_string).unwrap_or_default();
        let made = Made { actor, hash: self.changes.hash(), problems, detail: &detail };
        let recorder: Recorder = self.journal.process();
        self.changes.record(&recorder, &made, now, fresh_id(now.wall));
    }
}

/// An id for an event of the process.
pub(crate) fn fresh_id(now: portcullis_core::UnixMillis) -> RequestId {
    let mut bytes = [0; 16];
    // Without randomness the time alone tells events apart.
    let _ = aws_lc_rs::rand::fill(&mut bytes);
    RequestId::new(now, u128::from_be_bytes(bytes))
}

fn open_journal(
    plan: &Plan,
    clock: &Arc<dyn Clock>,
    metrics: &Arc<Metrics>,
    log: &Arc<Log>,
) -> Result<Journal, ControlError> {
    let numbers = journal_plan(plan).map_err(|fault| std::io::Error::other(fault.to_string()))?;
    let home = Home {
        folder: &std::path::Path::new(&*plan.state.directory).join("control"),
        origin: "control",
        secret: plan.audit.key.as_ref().map(portcullis_config::plan::Secret::expose),
        plan: numbers,
        clock: Arc::clone(clock),
        metrics: Arc::clone(metrics),
        log: Arc::clone(log),
        mirror: None,
    };
    Ok(home.open()?)
}

fn journal_plan(plan: &Plan) -> Result<JournalPlan, PlanFault> {
    let queue = QueuePlan { slots: 64, rated: 500 };
    JournalPlan::new(plan.environment.name().clone(), 1, queue, ByteSize::kib(256 * 1024))?
        .segments(ByteSize::kib(8 * 1024), Millis::from_secs(24 * 3_600))?
        // Scrapes and probes come for ever, so its oldest records have to go before it is full: a full journal refuses.
        .keep(Some(plan.audit.keep_for), Some(ByteSize::kib(128 * 1024)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn f7_the_journal_deletes_its_oldest_before_it_is_full() {
        let plan = crate::testing::plan("audit: { keep_for: 7d }");
        let told = format!("{:?}", journal_plan(&plan).expect("a plan that holds"));
        for wanted in ["quota: 268435456", "keep_age: Some(604800s)", "keep_bytes: Some(134217728)"] {
            assert!(told.contains(wanted), "{told}");
        }
    }
}
