//! What the guard and the line tell each other about one connection.
//!
//! INVARIANT: a request that hyper delivers and that is a refusal is known to be one, by its number, before hyper can
//! have read a byte of it.
//!
//! The state is shared by `Arc` and atomics, although both sides run on one thread, since hyper asks for `Send` of a
//! stream that can be upgraded.

use std::fmt;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Waker};
use std::time::Duration;

use tokio::time::Instant;

use super::super::fault::{Fault, Flaw, Leg};
use super::super::h1::ExpectedAnswer;

/// What the line wants of bytes that are held back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wish {
    Undecided,
    Tunnel,
    Resume,
}

/// One connection's shared state.
#[derive(Debug)]
pub(super) struct Shared {
    born: Instant,
    /// Heads given to hyper, requests that the service took, answers that it finished.
    emitted: AtomicU64,
    taken: AtomicU64,
    answered: AtomicU64,
    /// When the last answer was finished, in nanoseconds since `born`.
    answered_at: AtomicU64,
    /// One more than the number of the flaw; zero while there is none.
    flaw: AtomicU8,
    /// The request that is a refusal; zero while there is none.
    refused: AtomicU64,
    wish: AtomicU8,
    expected: AtomicU8,
    /// What `bytes_out` was when the answer was asked for.
    asked_at: AtomicU64,
    body_idle_ms: AtomicU64,
    bytes_in: AtomicU64,
    bytes_out: AtomicU64,
    waker: Mutex<Option<Waker>>,
}

impl Shared {
    pub(super) fn new() -> Self {
        Self {
            born: Instant::now(),
            emitted: AtomicU64::new(0),
            taken: AtomicU64::new(0),
            answered: AtomicU64::new(0),
            answered_at: AtomicU64::new(0),
            flaw: AtomicU8::new(0),
            refused: AtomicU64::new(0),
            wish: AtomicU8::new(0),
            expected: AtomicU8::new(0),
            asked_at: AtomicU64::new(0),
            body_idle_ms: AtomicU64::new(0),
            bytes_in: AtomicU64::new(0),
            bytes_out: AtomicU64::new(0),
            waker: Mutex::new(None),
        }
    }

    pub(super) fn came(&self, count: usize) {
        self.bytes_in.fetch_add(u64::try_from(count).unwrap_or(u64::MAX), Relaxed);
    }

    pub(super) fn went(&self, count: usize) {
        self.bytes_out.fetch_add(u64::try_from(count).unwrap_or(u64::MAX), Relaxed);
    }

    /// One more head was written for hyper.
    pub(super) fn head_emitted(&self) {
        self.emitted.fetch_add(1, Relaxed);
    }

    pub(super) fn heads(&self) -> u64 {
        self.emitted.load(Relaxed)
    }

    /// Since when every head that hyper got has been answered; the connection's birth when it got none.
    pub(super) fn idle_since(&self) -> Option<Instant> {
        let is_idle = self.answered.load(Relaxed) >= self.emitted.load(Relaxed);
        is_idle.then(|| self.born.checked_add(Duration::from_nanos(self.answered_at.load(Relaxed)))).flatten()
    }

    fn answered(&self) {
        let since = Instant::now().saturating_duration_since(self.born);
        self.answered_at.store(u64::try_from(since.as_nanos()).unwrap_or(u64::MAX), Relaxed);
        self.answered.fetch_add(1, Relaxed);
    }

    /// `fault` was found inside a body, or where nothing can be answered.
    pub(super) fn broke(&self, fault: Fault) {
        self.flaw.store((fault.flaw() as u8).saturating_add(1), Relaxed);
    }

    /// `fault` was found in a head: the next request that hyper is given stands for it.
    pub(super) fn refuse_next(&self, fault: Fault) {
        self.broke(fault);
        let number = self.emitted.fetch_add(1, Relaxed).saturating_add(1);
        self.refused.store(number, Relaxed);
    }

    fn fault(&self, leg: Leg) -> Option<Fault> {
        let index = usize::from(self.flaw.load(Relaxed)).checked_sub(1)?;
        Flaw::ALL.get(index).map(|flaw| Fault::new(*flaw, leg))
    }

    fn next_request(&self) -> Result<(), Fault> {
        let number = self.taken.fetch_add(1, Relaxed).saturating_add(1);
        match self.fault(Leg::Downstream) {
            Some(fault) if self.refused.load(Relaxed) == number => Err(fault),
            _ => Ok(()),
        }
    }

    /// What is wanted, once: the next question finds it undecided again.
    pub(super) fn take_wish(&self, cx: &Context<'_>) -> Wish {
        match self.wish.swap(0, Relaxed) {
            1 => Wish::Tunnel,
            2 => Wish::Resume,
            _ => {
                *self.waker.lock().unwrap_or_else(PoisonError::into_inner) = Some(cx.waker().clone());
                Wish::Undecided
            }
        }
    }

    fn wish(&self, wish: Wish) {
        self.wish.store(wish as u8, Relaxed);
        let waker = self.waker.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    fn expect(&self, answer: ExpectedAnswer) {
        self.asked_at.store(self.bytes_out.load(Relaxed), Relaxed);
        self.wish.store(Wish::Undecided as u8, Relaxed);
        self.expected.store((answer as u8).saturating_add(1), Relaxed);
    }

    /// The answer that became due since the last call.
    pub(super) fn take_expected(&self) -> Option<ExpectedAnswer> {
        match self.expected.swap(0, Relaxed) {
            1 => Some(ExpectedAnswer::Plain),
            2 => Some(ExpectedAnswer::ToHead),
            3 => Some(ExpectedAnswer::Upgrade),
            _ => None,
        }
    }

    /// Whether a byte of the request has been sent since its answer became due.
    pub(super) fn has_asked(&self) -> bool {
        self.bytes_out.load(Relaxed) > self.asked_at.load(Relaxed)
    }

    /// The body idle time that was set for the answer, if any.
    pub(super) fn body_idle(&self) -> Option<Duration> {
        match self.body_idle_ms.load(Relaxed) {
            0 => None,
            ms => Some(Duration::from_millis(ms)),
        }
    }
}

/// The line's end of a caller's connection. Cheap to clone.
#[derive(Clone)]
pub struct DownstreamHandle {
    pub(super) shared: Arc<Shared>,
}

impl DownstreamHandle {
    /// The service calls this once for each request that hyper delivers, in their order.
    ///
    /// # Errors
    /// When this request stands for a head that was refused: answer the fault's reason. hyper closes after it.
    pub fn next_request(&self) -> Result<(), Fault> {
        self.shared.next_request()
    }

    /// The service calls this once for each request when its answer's body has ended or was dropped. Until then the
    /// connection is not idle.
    pub fn answered(&self) {
        self.shared.answered();
    }

    /// Opens the tunnel: the answer to the upgrade request is 101 and bytes are passed both ways from now on. Without
    /// an upgrade request this does nothing.
    pub fn tunnel(&self) {
        self.shared.wish(Wish::Tunnel);
    }

    /// The upgrade did not happen: what was held back is read as requests.
    pub fn resume(&self) {
        self.shared.wish(Wish::Resume);
    }

    /// The fault that broke this connection, in a head, a body or a pause.
    #[must_use]
    pub fn fault(&self) -> Option<Fault> {
        self.shared.fault(Leg::Downstream)
    }

    /// Bytes that came from the caller.
    #[must_use]
    pub fn bytes_in(&self) -> u64 {
        self.shared.bytes_in.load(Relaxed)
    }

    /// Bytes that went to the caller.
    #[must_use]
    pub fn bytes_out(&self) -> u64 {
        self.shared.bytes_out.load(Relaxed)
    }
}

/// The pool's end of a connection to an upstream. Cheap to clone.
#[derive(Clone)]
pub struct UpstreamHandle {
    pub(super) shared: Arc<Shared>,
}

impl UpstreamHandle {
    /// An answer becomes due: call before each request is given to hyper.
    pub fn expect(&self, answer: ExpectedAnswer) {
        self.shared.expect(answer);
    }

    /// Longest silence inside the bodies from now on, for routes whose streams pause. `None`: the connection's setting.
    pub fn set_body_idle(&self, idle: Option<Duration>) {
        let ms = idle.map_or(0, |idle| u64::try_from(idle.as_millis()).unwrap_or(u64::MAX).max(1));
        self.shared.body_idle_ms.store(ms, Relaxed);
    }

    /// Passes bytes on after the 101.
    pub fn tunnel(&self) {
        self.shared.wish(Wish::Tunnel);
    }

    /// The fault that broke this connection.
    #[must_use]
    pub fn fault(&self) -> Option<Fault> {
        self.shared.fault(Leg::Upstream)
    }

    /// Bytes that came from the upstream.
    #[must_use]
    pub fn bytes_in(&self) -> u64 {
        self.shared.bytes_in.load(Relaxed)
    }

    /// Bytes that went to the upstream.
    #[must_use]
    pub fn bytes_out(&self) -> u64 {
        self.shared.bytes_out.load(Relaxed)
    }
}

impl fmt::Debug for DownstreamHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DownstreamHandle").field("fault", &self.fault()).finish_non_exhaustive()
    }
}

impl fmt::Debug for UpstreamHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UpstreamHandle").field("fault", &self.fault()).finish_non_exhaustive()
    }
}
