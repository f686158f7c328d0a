//! The registry of open streams: WebSockets, server-sent events, gRPC streams.
//!
//! A stream outlives the decision that opened it, so it is bounded by time and asked about again: it ends at the
//! earliest of its credential's end, its certificate's end, its total age and its idle time, and whenever a new
//! authorisation generation no longer permits it (DESIGN §4). Revocation will end streams through the same registry.
//!
//! INVARIANT: a stream holds its route and the facts of its permit, never a whole generation, so that old
//! generations can be dropped while streams live on.
//! INVARIANT: the registry is bounded by the in-flight cap: each stream holds one of those slots.
//!
//! Not here: copying bytes (`body`, `tunnel`), the decision itself (`authorise`).

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::future::Future as _;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use portcullis_evidence::request::Close;
use portcullis_telemetry::metrics::Gauge;
use tokio::time::{Instant, Sleep};

use crate::authorise::Facts;

/// All streams of one core.
pub(crate) struct Streams {
    open: RefCell<HashMap<u64, Entry>>,
    next: Cell<u64>,
    gauge: Gauge,
}

struct Entry {
    facts: Rc<Facts>,
    end: Rc<End>,
}

/// How one stream is told to end.
#[derive(Default)]
struct End {
    why: Cell<Option<Close>>,
    waiting: RefCell<Option<Waker>>,
}

/// The times of one stream.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    /// The earliest of all ends that are known when it opens.
    pub deadline: Instant,
    /// The longest time without a byte.
    pub idle: Duration,
}

impl Streams {
    /// None is open; `gauge` counts those of all cores.
    pub(crate) fn new(gauge: Gauge) -> Self {
        Self { open: RefCell::default(), next: Cell::default(), gauge }
    }

    /// Enters a stream.
    pub(crate) fn open(self: &Rc<Self>, facts: Rc<Facts>, bounds: Bounds) -> OpenStream {
        let number = self.next.replace(self.next.get().wrapping_add(1));
        let end = Rc::new(End::default());
        self.gauge.inc();
        self.open.borrow_mut().insert(number, Entry { facts, end: Rc::clone(&end) });
        let first = bounds.deadline.min(Instant::now() + bounds.idle);
        let timer = Box::pin(tokio::time::sleep_until(first));
        OpenStream { streams: Rc::clone(self), number, end, bounds, timer, pulse: Pulse::default() }
    }

    /// Ends every stream that `keep` does not vouch for; says how many.
    pub(crate) fn keep_only(&self, why: Close, keep: impl Fn(&Facts) -> bool) -> usize {
        let open = self.open.borrow();
        let gone = open.values().filter(|e| !keep(&e.facts));
        gone.map(|e| e.end.tell(why)).count()
    }
}

impl End {
    fn tell(&self, why: Close) {
        if self.why.get().is_none() {
            self.why.set(Some(why));
        }
        if let Some(waker) = self.waiting.borrow_mut().take() {
            waker.wake();
        }
    }
}

/// One open stream. Dropping it takes it out of the registry.
pub(crate) struct OpenStream {
    streams: Rc<Streams>,
    number: u64,
    end: Rc<End>,
    bounds: Bounds,
    timer: Pin<Box<Sleep>>,
    pulse: Pulse,
}

/// When a byte last moved, in either direction.
#[derive(Clone)]
pub(crate) struct Pulse(Rc<Cell<Instant>>);

impl Default for Pulse {
    fn default() -> Self {
        Self(Rc::new(Cell::new(Instant::now())))
    }
}

impl Pulse {
    /// A byte moved now.
    pub(crate) fn beat(&self) {
        self.0.set(Instant::now());
    }
}

impl OpenStream {
    /// Where to note that a byte moved.
    pub(crate) fn pulse(&self) -> Pulse {
        self.pulse.clone()
    }

    /// Ready when the stream must end, with the reason.
    pub(crate) fn poll_end(&mut self, context: &mut Context<'_>) -> Poll<Close> {
        if let Some(why) = self.end.why.get() {
            return Poll::Ready(why);
        }
        *self.end.waiting.borrow_mut() = Some(context.waker().clone());
        while self.timer.as_mut().poll(context).is_ready() {
            let now = Instant::now();
            if now >= self.bounds.deadline {
                return Poll::Ready(Close::Lifetime);
            }
            if now >= self.pulse.0.get() + self.bounds.idle {
                return Poll::Ready(Close::Lifetime);
            }
            let next = self.bounds.deadline.min(self.pulse.0.get() + self.bounds.idle);
            self.timer.as_mut().reset(next);
        }
        Poll::Pending
    }

    /// Waits until the stream must end.
    pub(crate) async fn ended(&mut self) -> Close {
        std::future::poll_fn(|context| self.poll_end(context)).await
    }
}

impl Drop for OpenStream {
    fn drop(&mut self) {
        self.streams.open.borrow_mut().remove(&self.number);
        self.streams.gauge.dec();
    }
}
