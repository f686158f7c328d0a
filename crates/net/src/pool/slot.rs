//! What one core holds for one target: idle HTTP/1.1 connections, HTTP/2 connections, those being opened.
//!
//! INVARIANT: idle connections are taken newest first, so that those that are not needed grow old and go.
//! INVARIANT: opening is bounded twice: so many at once, so many waiting.
//!
//! Sources: DESIGN "Upstream reuse"; threats A3, A4.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body::Body;
use portcullis_core::{Clock, UnixMillis};
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::{Instant, timeout_at};

use super::http1::Link;
use super::http2::{self, Shared};
use super::stream::{Stream, dial};
use super::{ConnectFault, PoolSettings, Target, Timeouts};
use crate::Protocol;

type AnyError = Box<dyn std::error::Error + Send + Sync>;

/// One target on one core.
pub(super) struct Slot<B: Body + 'static> {
    target: Target,
    settings: Rc<PoolSettings>,
    clock: Arc<dyn Clock>,
    #[expect(clippy::vec_box, reason = "a link moves between pool and request as one pointer")]
    idle: RefCell<Vec<Box<Link<B>>>>,
    shared: RefCell<Vec<Rc<Shared<B>>>>,
    opening: Semaphore,
    waiting: Cell<usize>,
    retired: Cell<bool>,
    opened: Cell<u64>,
    reused: Cell<u64>,
}

/// Numbers of one pool, for metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PoolStats {
    /// Connections opened since the start.
    pub opened: u64,
    /// Requests that found an open connection.
    pub reused: u64,
    /// HTTP/1.1 connections kept now.
    pub idle: usize,
    /// HTTP/2 connections now.
    pub shared: usize,
    /// HTTP/2 streams open now.
    pub streams: usize,
}

/// Counts a request that waits for a connection.
struct Waiting<'a>(&'a Cell<usize>);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.set(self.0.get().saturating_sub(1));
    }
}

impl<B> Slot<B>
where
    B: Body<Data = Bytes> + 'static,
    B::Error: Into<AnyError>,
{
    pub(super) fn new(target: Target, settings: Rc<PoolSettings>, clock: Arc<dyn Clock>) -> Self {
        // One HTTP/2 connection is opened at a time: those who wait will mostly fit on it.
        let opening = match target.protocol() {
            Protocol::Http1 => usize::from(settings.connecting.max(1)),
            Protocol::Http2 => 1,
        };
        Self {
            target,
            settings,
            clock,
            idle: RefCell::default(),
            shared: RefCell::default(),
            opening: Semaphore::new(opening),
            waiting: Cell::new(0),
            retired: Cell::new(false),
            opened: Cell::new(0),
            reused: Cell::new(0),
        }
    }

    /// A connection for one HTTP/1.1 request: the newest idle one, or a new one.
    pub(super) async fn link(&self, timeouts: &Timeouts) -> Result<Box<Link<B>>, ConnectFault> {
        let now = Instant::now();
        match self.take_idle(now) {
            Some(link) => Ok(link),
            // Boxed: it is rare, and a handshake's state would make the future of every request twice as large.
            None => Box::pin(self.open_link(timeouts.connected_by(now))).await,
        }
    }

    async fn open_link(&self, deadline: Instant) -> Result<Box<Link<B>>, ConnectFault> {
        let _turn = self.turn(deadline).await?;
        // While this request waited, another may have ended.
        if let Some(link) = self.take_idle(Instant::now()) {
            return Ok(link);
        }
        let (stream, ends) = self.dial(deadline).await?;
        Link::open(stream, ends, &self.settings).await
    }

    /// Longest silence inside an answer's body.
    pub(super) fn body_idle(&self) -> Duration {
        self.settings.pace.body_idle
    }

    /// Keeps `link` for the next request, if it is fit for one.
    pub(super) fn keep(&self, mut link: Box<Link<B>>) {
        let now = Instant::now();
        let room = self.idle.borrow().len() < self.settings.idle;
        if room && !self.retired.get() && link.is_reusable(now) {
            link.rest(now);
            self.idle.borrow_mut().push(link);
        }
    }

    /// Closes what is idle, and everything else as soon as it is.
    pub(super) fn retire(&self) {
        self.retired.set(true);
        self.idle.take();
        self.shared.take();
    }

    /// Lets go of what is too old or was closed by the upstream. `true` when nothing is left.
    pub(super) fn sweep(&self, now: Instant) -> bool {
        let mut idle = self.idle.take();
        idle.retain_mut(|link| self.is_fresh(link, now));
        let empty = idle.is_empty();
        *self.idle.borrow_mut() = idle;
        self.shared.borrow_mut().retain(|shared| shared.is_usable(now));
        empty && self.shared.borrow().is_empty()
    }

    pub(super) fn add_to(&self, stats: &mut PoolStats) {
        stats.opened += self.opened.get();
        stats.reused += self.reused.get();
        stats.idle += self.idle.borrow().len();
        stats.shared += self.shared.borrow().len();
        stats.streams += self.shared.borrow().iter().map(|shared| shared.open_streams()).sum::<usize>();
    }

    fn take_idle(&self, now: Instant) -> Option<Box<Link<B>>> {
        loop {
            // Taken out first: looking at a link drives it.
            let mut link = self.idle.borrow_mut().pop()?;
            if self.is_fresh(&mut link, now) {
                self.reused.set(self.reused.get() + 1);
                return Some(link);
            }
        }
    }

    fn is_fresh(&self, link: &mut Link<B>, now: Instant) -> bool {
        now.duration_since(link.idle_since()) < self.settings.idle_age && link.is_reusable(now)
    }

    async fn turn(&self, deadline: Instant) -> Result<SemaphorePermit<'_>, ConnectFault> {
        if let Ok(permit) = self.opening.try_acquire() {
            return Ok(permit);
        }
        if self.waiting.get() >= self.settings.waiting {
            return Err(ConnectFault::Busy);
        }
        self.waiting.set(self.waiting.get() + 1);
        let _waiting = Waiting(&self.waiting);
        match timeout_at(deadline, self.opening.acquire()).await {
            Ok(Ok(permit)) => Ok(permit),
            // The queue is ours: it says nothing about the upstream.
            _ => Err(ConnectFault::Busy),
        }
    }

    async fn dial(&self, deadline: Instant) -> Result<(Stream, Instant), ConnectFault> {
        let (stream, certificate_ends) = dial(&self.target, deadline).await?;
        self.opened.set(self.opened.get() + 1);
        Ok((stream, self.end_of_life(certificate_ends)))
    }

    /// The end of a connection that begins now: its greatest age, or the end of a certificate.
    fn end_of_life(&self, certificate_ends: Option<UnixMillis>) -> Instant {
        let left = certificate_ends.map(|ends| ends.since(self.clock.now().wall));
        let life = left.map_or(self.settings.lifetime, |left| left.min(self.settings.lifetime));
        Instant::now() + life
    }
}

impl<B> Slot<B>
where
    B: Body<Data = Bytes> + Unpin + 'static,
    B::Error: Into<AnyError>,
{
    /// A place on an HTTP/2 connection: the one with the fewest streams, or a new one when all are full.
    pub(super) async fn stream(&self, timeouts: &Timeouts) -> Result<http2::Stream<B>, ConnectFault> {
        match self.fewest() {
            Some(stream) => Ok(stream),
            // Boxed as in `link`.
            None => Box::pin(self.open_stream(timeouts.connected_by(Instant::now()))).await,
        }
    }

    async fn open_stream(&self, deadline: Instant) -> Result<http2::Stream<B>, ConnectFault> {
        let _turn = self.turn(deadline).await?;
        if let Some(stream) = self.fewest() {
            return Ok(stream);
        }
        if self.shared.borrow().len() >= self.settings.http2_connections {
            return Err(ConnectFault::Busy);
        }
        let (stream, ends) = self.dial(deadline).await?;
        let open = timeout_at(deadline, Shared::open(stream, ends, &self.settings)).await;
        let shared = open.map_err(|_| ConnectFault::Timeout)??;
        let stream = shared.stream();
        if !self.retired.get() {
            self.shared.borrow_mut().push(shared);
        }
        Ok(stream)
    }

    fn fewest(&self) -> Option<http2::Stream<B>> {
        let now = Instant::now();
        let mut all = self.shared.borrow_mut();
        all.retain(|shared| shared.is_usable(now));
        let roomy = all.iter().filter(|shared| shared.has_room(self.settings.http2_streams));
        let stream = roomy.min_by_key(|shared| shared.open_streams())?.stream();
        self.reused.set(self.reused.get() + 1);
        Some(stream)
    }
}
