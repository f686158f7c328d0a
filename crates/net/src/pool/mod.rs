//! One core's connections to upstreams.
//!
//! A pool belongs to one core and is not shared: no lock, no atomic on the way of a request. What may share a connection
//! is decided by [`Target`] alone.
//!
//! HTTP/1.1: one request at a time on a connection, idle ones kept newest first. HTTP/2: many requests on each of several
//! connections. Run it inside a `LocalSet` or a local runtime, since HTTP/2 connections are driven by local tasks.
//!
//! The request is sent as it is. For HTTP/1.1 its URI is the origin form and `Host` is set; for HTTP/2 its URI has scheme
//! and authority. `CONNECT` is not sent.
//!
//! INVARIANT: an error tells whether a byte of the request can have reached the upstream, and hands the request back only
//! if none can (RFC 9110 §9.2.2).
//! INVARIANT: a connection is reused only after answer and request are wholly over (A4), never after an upgrade (A3) or a
//! fault that the guard found.
//! INVARIANT: every wait has a deadline and every list a bound.
//!
//! Not here: which endpoint to take, how often to try, what an answer means.
//!
//! Sources: RFC 9112 §9, RFC 9113 §5, §9.1; DESIGN "Upstream reuse"; threats A3, A4, D7, E8.

mod answer;
mod error;
mod heard;
mod http1;
mod http2;
mod slot;
mod stream;
mod target;
#[cfg(test)]
mod tests;
mod upgraded;

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use portcullis_core::Clock;
use tokio::time::Instant;

pub use self::answer::AnswerBody;
pub use self::error::{AnswerFault, ConnectFault, ExchangeFault, SendError};
use self::http1::Answered;
pub use self::slot::PoolStats;
use self::slot::Slot;
pub(crate) use self::stream::{Stream, dial};
pub use self::target::{Address, PoolSettings, Target, Timeouts};
pub use self::upgraded::Upgraded;
use crate::Protocol;

type AnyError = Box<dyn std::error::Error + Send + Sync>;

/// The connections of one core. Clones share them.
pub struct Pool<B: Body + 'static> {
    slots: Rc<RefCell<HashMap<Target, Rc<Slot<B>>>>>,
    settings: Rc<RefCell<Rc<PoolSettings>>>,
    clock: Arc<dyn Clock>,
}

impl<B> Pool<B>
where
    B: Body<Data = Bytes> + Unpin + 'static,
    B::Error: Into<AnyError>,
{
    /// An empty pool. The clock tells when certificates run out.
    #[must_use]
    pub fn new(settings: PoolSettings, clock: Arc<dyn Clock>) -> Self {
        Self { slots: Rc::default(), settings: Rc::new(RefCell::new(Rc::new(settings))), clock }
    }

    /// Sends `request` to `target` and waits for the head of the answer.
    ///
    /// Dropping the future gives up: the connection or the stream is closed.
    ///
    /// # Errors
    /// See [`SendError`].
    pub async fn send(
        &self,
        target: &Target,
        request: Request<B>,
        timeouts: &Timeouts,
    ) -> Result<Response<AnswerBody<B>>, SendError<B>> {
        let slot = self.slot(target);
        match target.protocol() {
            Protocol::Http1 => Self::send_http1(slot, request, timeouts).await,
            Protocol::Http2 => Self::send_http2(&slot, request, timeouts).await,
        }
    }

    /// Other bounds from now on. Connections that were opened under the old ones end when they are idle.
    pub fn bound(&self, settings: PoolSettings) {
        if **self.settings.borrow() != settings {
            self.settings.replace(Rc::new(settings));
            self.retire(|_| true);
        }
    }

    /// Closes the connections of the targets that `matches` names: idle ones now, the others when their requests end. For
    /// a new TLS generation, a revoked peer, an endpoint that is gone.
    pub fn retire(&self, mut matches: impl FnMut(&Target) -> bool) {
        self.slots.borrow_mut().retain(|target, slot| {
            let goes = matches(target);
            if goes {
                slot.retire();
            }
            !goes
        });
    }

    /// Closes what is too old, or was closed by the upstream while nobody looked. Call it about once a second.
    pub fn sweep(&self) {
        let now = Instant::now();
        self.slots.borrow_mut().retain(|_, slot| !slot.sweep(now) || Rc::strong_count(slot) > 1);
    }

    /// Numbers for metrics.
    #[must_use]
    pub fn stats(&self) -> PoolStats {
        let mut stats = PoolStats::default();
        self.slots.borrow().values().for_each(|slot| slot.add_to(&mut stats));
        stats
    }

    fn slot(&self, target: &Target) -> Rc<Slot<B>> {
        if let Some(slot) = self.slots.borrow().get(target) {
            return Rc::clone(slot);
        }
        let settings = Rc::clone(&self.settings.borrow());
        let slot = Rc::new(Slot::new(target.clone(), settings, Arc::clone(&self.clock)));
        self.slots.borrow_mut().insert(target.clone(), Rc::clone(&slot));
        slot
    }

    async fn send_http1(
        slot: Rc<Slot<B>>,
        request: Request<B>,
        timeouts: &Timeouts,
    ) -> Result<Response<AnswerBody<B>>, SendError<B>> {
        let link = match slot.link(timeouts).await {
            Ok(link) => link,
            Err(cause) => return Err(SendError::Connect { cause, request: Box::new(request) }),
        };
        Ok(match link.exchange(request, timeouts).await? {
            Answered::Head(head, link) => head.map(|incoming| AnswerBody::http1(incoming, link, slot)),
            Answered::Switched(head, upgraded) => head.map(|_| AnswerBody::switched(upgraded)),
        })
    }

    async fn send_http2(
        slot: &Slot<B>,
        request: Request<B>,
        timeouts: &Timeouts,
    ) -> Result<Response<AnswerBody<B>>, SendError<B>> {
        let stream = match slot.stream(timeouts).await {
            Ok(stream) => stream,
            Err(cause) => return Err(SendError::Connect { cause, request: Box::new(request) }),
        };
        let head = stream.exchange(request, timeouts).await?;
        let silence = timeouts.body_idle.unwrap_or(slot.body_idle());
        Ok(head.map(|incoming| AnswerBody::http2(incoming, stream, silence)))
    }
}

impl<B: Body + 'static> Clone for Pool<B> {
    fn clone(&self) -> Self {
        Self {
            slots: Rc::clone(&self.slots),
            settings: Rc::clone(&self.settings),
            clock: Arc::clone(&self.clock),
        }
    }
}
