//! Administration: over a unix socket, over mutual TLS, and metrics for this machine.
//!
//! HTTP/1.1 behind the same head guard as the edge, so that curl, Prometheus and the command line can ask. It lives on a
//! thread of its own: nothing that an administrator asks delays a change or an alert.
//!
//! INVARIANT: who asks is proved before anything is read: on the socket by the kernel (`SO_PEERCRED`: our own user, root,
//! or one of the listed ones), on the listener by a certificate whose one name is listed (F1, D1).
//! INVARIANT: every use and every refused one is recorded with who asked.
//! INVARIANT: connections, their time and what they may cost are bounded, door by door.
//!
//! Not here: the socket's file (`socket`), the doors over TCP (`listener`, `scrape`), pages (`pages`), what they show
//! (whoever implements [`Edges`]).
//!
//! Sources: threats D1, F1; SS028-11.1.9c, 11.3.3b, 11.6.1; unix(7).

mod call;
mod door;
mod listener;
mod merge;
mod pages;
mod scrape;
mod socket;
#[cfg(test)]
mod tests;

use std::cell::{Cell, RefCell};
use std::convert::Infallible;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use door::Door;
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
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::LocalSet;
use tokio::time::{Instant, timeout};

use crate::desk::Desk;

pub use call::{AdminCallError, Method, call};
pub use door::{Asker, Doors, DoorsError};
pub use merge::merge;
pub use socket::{AdminSocketError, bind};

/// More connections than this are not served at a time.
const MOST: u32 = 32;
/// A connection lives no longer than this.
const LIFE: Duration = Duration::from_secs(600);
/// Who is turned away is recorded at most this often, so that nobody can fill the record.
const REFUSED_EVERY: Duration = Duration::from_secs(1);

/// What comes later.
pub type Later<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// What administration asks of the rest of *control*.
pub trait Edges: Send + Sync {
    /// Asks every data plane; each reply under the name of its data plane.
    fn ask(&self, question: Question) -> Later<'_, Vec<(String, Reply)>>;
    /// How things stand.
    fn overview(&self) -> Overview;
    /// Loads the configuration again, for this administrator.
    ///
    /// # Errors
    /// What is wrong with it, or that nobody can be asked.
    fn reload(&self, who: Asker) -> Later<'_, Result<(), String>>;
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

/// Administration.
pub struct Admin {
    state: AdminState,
    who: Who,
    refused: RefCell<Option<Instant>>,
    scrapes: Cell<(u64, u32)>,
}

impl Admin {
    /// Nothing is served before [`Admin::start`] or [`Admin::run`].
    #[must_use]
    pub fn new(state: AdminState) -> Self {
        Self { state, who: peer_uid, refused: RefCell::default(), scrapes: Cell::default() }
    }

    /// Serves on a thread of its own until the drain.
    ///
    /// # Errors
    /// The system gives no thread or runtime.
    pub fn start(self, doors: Doors, drain: Drain) -> io::Result<JoinHandle<()>> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let run = move || {
            let desk = self.state.desk.clone();
            if let Err(cause) = runtime.block_on(self.run(doors, drain)) {
                desk.say(Level::Error, "administration ended", &[("why", &cause)]);
            }
        };
        std::thread::Builder::new().name("admin".to_owned()).spawn(run)
    }

    /// Serves until the drain. The future stays on its thread.
    ///
    /// # Errors
    /// A listener cannot be used.
    pub async fn run(self, doors: Doors, drain: Drain) -> io::Result<()> {
        let socket = UnixListener::from_std(doors.socket)?;
        let admin = Rc::new(self);
        let local = LocalSet::new();
        let tls = doors.tls.map(|door| listener::Listening::new(&admin, door)).transpose()?;
        let metrics = doors.metrics.map(|door| scrape::Scraping::new(&admin, &door)).transpose()?;
        let tls = async {
            if let Some(tls) = tls {
                tls.accept(drain.clone()).await;
            }
        };
        let metrics = async {
            if let Some(metrics) = metrics {
                metrics.accept(drain.clone()).await;
            }
        };
        let all = async { tokio::join!(Rc::clone(&admin).accept(socket, drain.clone()), tls, metrics) };
        local.run_until(all).await;
        Ok(())
    }

    async fn accept(self: Rc<Self>, listener: UnixListener, mut drain: Drain) {
        let places = Places::new(MOST);
        loop {
            let accepted = tokio::select! {
                biased;
                () = drain.reached(Phase::Draining) => break,
                accepted = listener.accept() => accepted,
            };
            let Ok((stream, _)) = accepted else {
                // Out of descriptors: those who hold them will let go.
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            };
            let who = match (self.who)(&stream).map(Asker::Uid) {
                Ok(who) if self.state.may_ask(&who) => who,
                // A peer without credentials is nobody; the overflow id of Linux stands for that.
                stranger => {
                    self.turn_away(&stranger.unwrap_or(Asker::Uid(65_534)));
                    continue;
                }
            };
            let Some(place) = places.take() else { continue };
            let (admin, drain) = (Rc::clone(&self), drain.clone());
            tokio::task::spawn_local(async move {
                admin.serve(stream, &who, Door::Socket, drain).await;
                drop(place);
            });
        }
        places.empty(drain).await;
    }

    fn turn_away(&self, who: &Asker) {
        let mut last = self.refused.borrow_mut();
        if last.is_some_and(|at| at.elapsed() < REFUSED_EVERY) {
            return;
        }
        *last = Some(Instant::now());
        let _ = self.state.record(who, AdminAction::Inspect, Permission::Refused, "connect");
        self.state.desk.say(Level::Warning, "somebody may not administer", &[("who", who)]);
    }

    /// Serves one connection, for a bounded time.
    async fn serve<S>(&self, stream: S, who: &Asker, door: Door<'_>, drain: Drain)
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let limits = Limits::default();
        let (guarded, handle) = Downstream::new(stream, limits.clone(), Timeouts::default());
        let service = |request: Request<Incoming>| self.one(request, who, door, &handle);
        // How a connection ends is of no interest here.
        let _ = timeout(LIFE, serve_http1(guarded, service, &limits, drain)).await;
    }

    async fn one(
        &self,
        request: Request<Incoming>,
        who: &Asker,
        door: Door<'_>,
        guard: &DownstreamHandle,
    ) -> Result<http::Response<http_body_util::Full<bytes::Bytes>>, Infallible> {
        let verdict = guard.next_request();
        let (head, _) = request.into_parts();
        let answer = match verdict {
            Ok(()) if !self.has_room(door) => Answer::refusal(429),
            Ok(()) => self.state.answer(who, door, &head).await,
            Err(fault) => {
                let _ = self.state.record(who, AdminAction::Inspect, Permission::Refused, fault.class());
                Answer::refusal(fault.reason().status())
            }
        };
        guard.resume();
        guard.answered();
        Ok(answer.into_response())
    }
}

/// How many connections of a door are served at a time.
struct Places {
    free: Arc<Semaphore>,
    most: u32,
}

impl Places {
    fn new(most: u32) -> Self {
        Self { free: Arc::new(Semaphore::new(usize::try_from(most).unwrap_or(1))), most }
    }

    fn take(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.free).try_acquire_owned().ok()
    }

    /// Waits until nobody is served any more: whoever is being answered gets the answer, unless the drain is forced.
    async fn empty(&self, mut drain: Drain) {
        tokio::select! {
            _ = self.free.acquire_many(self.most) => {}
            () = drain.reached(Phase::Forcing) => {}
        }
    }
}
