//! Administration over a unix socket.
//!
//! HTTP/1.1 behind the same head guard as the edge, so that curl, Prometheus and the command line can ask. It lives on a
//! thread of its own: nothing that an administrator asks delays a change or an alert.
//!
//! INVARIANT: who asks is what the kernel says (`SO_PEERCRED`): our own user, root, or one of the listed ones (F1).
//! INVARIANT: the socket appears under its name only with its final mode; it is never reachable over a network.
//! INVARIANT: every use and every refused one is recorded with the user id.
//!
//! Not here: pages (`pages`), what they show (whoever implements [`Edges`]), the mutual-TLS listener.
//!
//! Sources: threat F1; SS028-11.1.9c, 11.6.1; unix(7).

mod call;
mod merge;
mod pages;
#[cfg(test)]
mod tests;

use std::convert::Infallible;
use std::fs::{DirBuilder, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::os::unix::net::{UnixListener as StdListener, UnixStream as StdStream};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use http::Request;
use pages::Answer;
use portcullis_core::Generation;
use portcullis_evidence::event::{AdminAction, Permission};
use portcullis_net::Incoming;
use portcullis_net::guard::{Downstream, DownstreamHandle, Limits, Timeouts};
use portcullis_net::listen::{Drain, Phase};
use portcullis_net::serve::serve_http1;
use portcullis_snapshot::link::{Question, Reply};
use portcullis_snapshot::plan::Plan;
use portcullis_telemetry::Level;
use serde::Serialize;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::LocalSet;
use tokio::time::Instant;

use crate::desk::Desk;

pub use call::{AdminCallError, Method, call};
pub use merge::merge;

/// More connections than this are not served at a time.
const MOST: usize = 32;
/// Refused users are recorded at most this often, so that one of them cannot fill the record.
const REFUSED_EVERY: Duration = Duration::from_secs(1);

/// What comes later.
pub type Later<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// What administration asks of the rest of *control*.
pub trait Edges: Send + Sync {
    /// Asks every data plane; each reply under the name of its data plane.
    fn ask(&self, question: Question) -> Later<'_, Vec<(String, Reply)>>;
    /// How things stand.
    fn overview(&self) -> Overview;
    /// Loads the configuration again, for this user.
    ///
    /// # Errors
    /// What is wrong with it, or that nobody can be asked.
    fn reload(&self, uid: u32) -> Later<'_, Result<(), String>>;
}

/// How things stand, as `/status` shows it.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Overview {
    /// SHA-256 of the configuration in force, in hexadecimal digits.
    pub config_hash: String,
    /// The data planes that are connected.
    pub edges: Vec<EdgeOverview>,
    /// The alerts that are active.
    pub alerts: Vec<AlertOverview>,
}

/// One data plane.
#[derive(Clone, Debug, Serialize)]
pub struct EdgeOverview {
    /// Its name.
    pub name: String,
    /// The product's version.
    pub version: String,
    /// Where it listens.
    pub listening: Vec<String>,
    /// The plan that it follows; zero while there is none.
    pub plan: Generation,
    /// The key sets that it follows.
    pub keys: Generation,
    /// What was wrong with the generation that it refused last, if it has taken none since.
    pub refused: Option<Vec<String>>,
    /// Requests in flight.
    pub in_flight: u64,
    /// Open streams.
    pub streams: u64,
}

/// One alert.
#[derive(Clone, Debug, Serialize)]
pub struct AlertOverview {
    /// Its name.
    pub name: String,
    /// Which data plane or issuer it is about.
    pub about: String,
    /// How bad it is.
    pub severity: &'static str,
    /// What was seen.
    pub detail: String,
    /// When it began, in milliseconds since the epoch.
    pub since: u64,
}

impl From<&crate::monitor::AlertChange> for AlertOverview {
    fn from(change: &crate::monitor::AlertChange) -> Self {
        Self {
            name: change.rule.word().to_owned(),
            about: change.about.to_string(),
            severity: change.severity.word(),
            detail: change.detail.to_string(),
            since: change.since.0,
        }
    }
}

/// What administration stands on.
#[derive(Clone)]
pub struct AdminState {
    /// The rest of *control*.
    pub edges: Arc<dyn Edges>,
    /// The record, the metrics, the log.
    pub desk: Desk,
    /// Who may ask.
    pub plans: watch::Receiver<Arc<Plan>>,
}

/// Who is at the other end, as the kernel says.
type Who = fn(&UnixStream) -> io::Result<u32>;

fn peer_uid(stream: &UnixStream) -> io::Result<u32> {
    stream.peer_cred().map(|peer| peer.uid())
}

/// The admin socket.
pub struct Admin {
    state: AdminState,
    who: Who,
}

/// Why there is no admin socket.
#[derive(Debug, thiserror::Error)]
pub enum AdminSocketError {
    /// Somebody answers there.
    #[error("the admin socket `{0}` is in use; is another `portcullis` running?")]
    InUse(PathBuf),
    /// Others could put a socket of theirs in its place.
    #[error("the directory `{path}` may be written by others (mode {mode:o}); run `chmod 700 {path}`")]
    TooOpen {
        /// The directory.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// Something else stands there, or the system says no.
    #[error("cannot make the admin socket `{path}`")]
    System {
        /// Where.
        path: PathBuf,
        /// Why not.
        #[source]
        cause: io::Error,
    },
}

/// Makes the socket of a plan, in a directory that is made for it if need be. Only our own user reaches it, unless the
/// plan lists others: then everybody may connect, and is turned away by user id.
///
/// # Errors
/// See [`AdminSocketError`].
pub fn bind(path: &Path, uids: &[u32]) -> Result<StdListener, AdminSocketError> {
    let system = |cause| AdminSocketError::System { path: path.to_owned(), cause };
    let (folder_mode, mode) = if uids.is_empty() { (0o700, 0o600) } else { (0o711, 0o666) };
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    DirBuilder::new().recursive(true).mode(folder_mode).create(folder).map_err(system)?;
    let found = std::fs::metadata(folder).map_err(system)?.mode() & 0o7777;
    if found & 0o022 != 0 {
        return Err(AdminSocketError::TooOpen { path: folder.to_owned(), mode: found });
    }
    clear(path)?;
    // Under its final name it appears with its final mode: there is no moment in between.
    let fresh = path.with_extension(format!("new-{}", std::process::id()));
    let listener = StdListener::bind(&fresh).map_err(system)?;
    let placed = std::fs::set_permissions(&fresh, Permissions::from_mode(mode));
    placed.and_then(|()| std::fs::rename(&fresh, path)).map_err(system)?;
    listener.set_nonblocking(true).map_err(system)?;
    Ok(listener)
}

/// Makes sure that nobody answers at `path` and that nothing but a socket stands there.
fn clear(path: &Path) -> Result<(), AdminSocketError> {
    let system = |cause| AdminSocketError::System { path: path.to_owned(), cause };
    match std::fs::symlink_metadata(path) {
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(cause) => Err(system(cause)),
        Ok(found) if !found.file_type().is_socket() => Err(system(io::ErrorKind::AlreadyExists.into())),
        Ok(_) if StdStream::connect(path).is_ok() => Err(AdminSocketError::InUse(path.to_owned())),
        Ok(_) => Ok(()),
    }
}

impl Admin {
    /// Nothing is served before [`Admin::start`] or [`Admin::run`].
    #[must_use]
    pub fn new(state: AdminState) -> Self {
        Self { state, who: peer_uid }
    }

    /// Serves on a thread of its own until the drain.
    ///
    /// # Errors
    /// The system gives no thread or runtime.
    pub fn start(self, listener: StdListener, drain: Drain) -> io::Result<JoinHandle<()>> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let run = move || {
            let desk = self.state.desk.clone();
            if let Err(cause) = runtime.block_on(self.run(listener, drain)) {
                desk.say(Level::Error, "administration ended", &[("why", &cause)]);
            }
        };
        std::thread::Builder::new().name("admin".to_owned()).spawn(run)
    }

    /// Serves until the drain. The future stays on its thread.
    ///
    /// # Errors
    /// The listener cannot be used.
    pub async fn run(self, listener: StdListener, drain: Drain) -> io::Result<()> {
        let listener = UnixListener::from_std(listener)?;
        LocalSet::new().run_until(Rc::new(self).accept(listener, drain)).await;
        Ok(())
    }

    async fn accept(self: Rc<Self>, listener: UnixListener, mut drain: Drain) {
        let places = Arc::new(Semaphore::new(MOST));
        let mut refused: Option<Instant> = None;
        let mut ends = drain.clone();
        loop {
            let accepted = tokio::select! {
                biased;
                () = ends.reached(Phase::Draining) => break,
                accepted = listener.accept() => accepted,
            };
            let Ok((stream, _)) = accepted else {
                // Out of descriptors: those who hold them will let go.
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            };
            let uid = match (self.who)(&stream) {
                Ok(uid) if self.may_ask(uid) => uid,
                stranger => {
                    self.turn_away(stranger.ok(), &mut refused);
                    continue;
                }
            };
            let Ok(place) = Arc::clone(&places).try_acquire_owned() else { continue };
            let (admin, drain) = (Rc::clone(&self), drain.clone());
            tokio::task::spawn_local(async move {
                admin.serve(stream, uid, drain).await;
                drop(place);
            });
        }
        // Whoever is being answered gets the answer.
        let all = u32::try_from(MOST).unwrap_or(u32::MAX);
        tokio::select! {
            _ = places.acquire_many(all) => {}
            () = drain.reached(Phase::Forcing) => {}
        }
    }

    fn may_ask(&self, uid: u32) -> bool {
        let own = rustix::process::geteuid().as_raw();
        uid == own || uid == 0 || self.state.plans.borrow().admin.uids.contains(&uid)
    }

    fn turn_away(&self, uid: Option<u32>, last: &mut Option<Instant>) {
        if last.is_some_and(|at| at.elapsed() < REFUSED_EVERY) {
            return;
        }
        *last = Some(Instant::now());
        // A peer without credentials is nobody; the overflow id of Linux stands for that.
        let uid = uid.unwrap_or(65_534);
        let _ = self.state.record(uid, AdminAction::Inspect, Permission::Refused, "connect");
        self.state.desk.say(Level::Warning, "a user may not use the admin socket", &[("uid", &uid)]);
    }

    async fn serve(&self, stream: UnixStream, uid: u32, drain: Drain) {
        let limits = Limits::default();
        let (guarded, handle) = Downstream::new(stream, limits.clone(), Timeouts::default());
        let service = |request: Request<Incoming>| self.one(request, uid, &handle);
        // How a connection ends is of no interest here.
        let _ = serve_http1(guarded, service, &limits, drain).await;
    }

    async fn one(
        &self,
        request: Request<Incoming>,
        uid: u32,
        guard: &DownstreamHandle,
    ) -> Result<http::Response<http_body_util::Full<bytes::Bytes>>, Infallible> {
        let verdict = guard.next_request();
        let (head, _) = request.into_parts();
        let answer = match verdict {
            Ok(()) => self.state.answer(uid, &head).await,
            Err(fault) => {
                let _ = self.state.record(uid, AdminAction::Inspect, Permission::Refused, fault.class());
                Answer::refusal(fault.reason().status())
            }
        };
        guard.resume();
        guard.answered();
        Ok(answer.into_response())
    }
}
