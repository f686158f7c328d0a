//! Keeps the role processes running.
//!
//! `portcullis up` is this: it starts *control* and *edge*, starts either again when it ends, and ends both when it
//! is told to. It parses no configuration and no traffic, and it is the only process that outlives the others, so
//! it is the one that draws the key under which generations are signed.
//!
//! INVARIANT: *control* and *edge* never share an address space (11.1.11): a fault in the parser that faces the
//! network reaches no key but the edge's own.
//! INVARIANT: the signing key reaches *control* on its standard input and is never in an argument, a file or the
//! environment.
//! INVARIANT: a role that keeps dying is started ever more slowly, at most every ten seconds; the other keeps serving.
//!
//! Not here: what the roles do (`portcullis-control`, `portcullis-dataplane`).

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use portcullis_core::{Clock as _, Sensitive, SystemClock};
use portcullis_telemetry::{Level, Log};
use rustix::process::{Pid, Signal, kill_process};
use tokio::io::AsyncWriteExt as _;
use tokio::process::{Child, Command};
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{Instant, sleep_until};

/// The first wait before a role is started again.
const QUICKEST: Duration = Duration::from_millis(200);
/// The longest.
const SLOWEST: Duration = Duration::from_secs(10);
/// A role that ran this long is healthy again: the next wait is the first one.
const HEALTHY: Duration = Duration::from_secs(30);

/// How to start one role.
#[derive(Clone, Debug)]
pub struct Role {
    /// Its name in the log.
    pub name: &'static str,
    /// The program.
    pub program: PathBuf,
    /// Its arguments.
    pub arguments: Vec<OsString>,
    /// What it reads on its standard input.
    pub input: Option<Sensitive<Vec<u8>>>,
    /// How long it may take to end when it is told to.
    pub patience: Duration,
}

/// Why the supervisor gave up.
#[derive(Debug, thiserror::Error)]
pub enum SuperviseError {
    /// The system does not let us hear of signals.
    #[error("cannot listen for signals")]
    Signals(#[source] std::io::Error),
    /// A role could not be started at all.
    #[error("cannot start {role} (`{program}`)")]
    Start {
        /// Which.
        role: &'static str,
        /// What was run.
        program: String,
        /// Why not.
        #[source]
        cause: std::io::Error,
    },
    /// *control* said that the configuration does not load.
    #[error("the configuration does not load")]
    Configuration,
}

/// The exit status by which a role says that starting it again cannot help.
pub const GIVES_UP: u8 = 78;

/// Runs both roles until a signal asks for an end (SIGTERM, SIGINT); SIGHUP is passed on to *control*.
///
/// # Errors
/// A role cannot be started, or *control* gives up at its first start.
pub async fn run(control: Role, edge: Role, log: &Log) -> Result<(), SuperviseError> {
    let listen = |kind| signal(kind).map_err(SuperviseError::Signals);
    let mut terminate = listen(SignalKind::terminate())?;
    let mut interrupt = listen(SignalKind::interrupt())?;
    let mut hangup = listen(SignalKind::hangup())?;
    let mut control = Running::start(control, log).await?;
    let mut edge = Running::start(edge, log).await?;
    loop {
        tokio::select! {
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            _ = hangup.recv() => control.send(Signal::HUP),
            () = control.changed(log) => {}
            () = edge.changed(log) => {}
        }
        if control.gave_up() {
            edge.end(log).await;
            return Err(SuperviseError::Configuration);
        }
    }
    edge.end(log).await;
    control.end(log).await;
    Ok(())
}

/// A role that runs, or waits to be started again.
struct Running {
    role: Role,
    state: State,
    wait: Duration,
}

enum State {
    Alive { child: Child, since: Instant },
    Resting { until: Instant },
    GaveUp,
}

impl Running {
    async fn start(role: Role, log: &Log) -> Result<Self, SuperviseError> {
        let child = spawn(&role).await.map_err(|cause| SuperviseError::Start {
            role: role.name,
            program: role.program.display().to_string(),
            cause,
        })?;
        say(log, Level::Notice, "started", role.name, &child.id().unwrap_or_default());
        Ok(Self { role, state: State::Alive { child, since: Instant::now() }, wait: QUICKEST })
    }

    /// Returns when the role has ended, or has been started again.
    async fn changed(&mut self, log: &Log) {
        match &mut self.state {
            State::GaveUp => std::future::pending().await,
            State::Alive { child, since } => {
                let status = child.wait().await;
                let lived = since.elapsed();
                self.ended(status.ok(), lived, log);
            }
            State::Resting { until } => {
                sleep_until(*until).await;
                self.restart(log).await;
            }
        }
    }

    fn ended(&mut self, status: Option<ExitStatus>, lived: Duration, log: &Log) {
        if status.and_then(|s| s.code()) == Some(i32::from(GIVES_UP)) {
            self.state = State::GaveUp;
            return;
        }
        if lived >= HEALTHY {
            self.wait = QUICKEST;
        }
        let told = status.map_or_else(|| "unknown".to_owned(), |s| s.to_string());
        say(log, Level::Warning, "ended; it is started again", self.role.name, &told);
        self.state = State::Resting { until: Instant::now() + self.wait };
        self.wait = (self.wait * 2).min(SLOWEST);
    }

    async fn restart(&mut self, log: &Log) {
        self.state = match spawn(&self.role).await {
            Ok(child) => {
                say(log, Level::Notice, "started again", self.role.name, &child.id().unwrap_or_default());
                State::Alive { child, since: Instant::now() }
            }
            Err(cause) => {
                say(log, Level::Error, "cannot be started", self.role.name, &cause);
                State::Resting { until: Instant::now() + SLOWEST }
            }
        };
    }

    fn gave_up(&self) -> bool {
        matches!(self.state, State::GaveUp)
    }

    fn send(&self, signal: Signal) {
        if let State::Alive { child, .. } = &self.state
            && let Some(pid) = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw)
        {
            // The child is not reaped before `wait`, so the id cannot belong to anybody else.
            let _ = kill_process(pid, signal);
        }
    }

    /// Asks the role to end, and ends it when it takes longer than it may.
    async fn end(&mut self, log: &Log) {
        self.send(Signal::TERM);
        let State::Alive { child, .. } = &mut self.state else { return };
        if tokio::time::timeout(self.role.patience, child.wait()).await.is_err() {
            say(log, Level::Warning, "did not end in time", self.role.name, &"it is ended now");
            let _ = child.kill().await;
        }
    }
}

fn say(log: &Log, level: Level, message: &'static str, role: &str, fact: &dyn std::fmt::Display) {
    log.say(SystemClock::default().now().wall, level, message, &[("role", &role), ("is", fact)]);
}

async fn spawn(role: &Role) -> std::io::Result<Child> {
    let mut command = Command::new(&role.program);
    command.args(&role.arguments).kill_on_drop(true);
    command.stdin(if role.input.is_some() { Stdio::piped() } else { Stdio::null() });
    let mut child = command.spawn()?;
    if let (Some(input), Some(mut pipe)) = (&role.input, child.stdin.take()) {
        pipe.write_all(input.expose()).await?;
    }
    Ok(child)
}
