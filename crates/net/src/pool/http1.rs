//! One HTTP/1.1 connection, driven by whoever uses it.
//!
//! hyper's connection is a future that somebody must poll. Nobody is spawned for it: the request that holds the
//! connection polls it, first while it waits for the head, then while the answer's body is read. That saves a task and
//! its wake-ups for each request, and a request that is dropped takes its connection with it.
//!
//! The price: a request body moves on only while the head is awaited or the answer's body is asked for. A caller that
//! sends on without taking an answer that has begun is held up once all buffers between are full.
//!
//! INVARIANT: every byte of an answer comes out of [`Link::drive`]; what hyper's channels hold is read right after it in
//! the same call, so they are polled without a waker of their own.
//! INVARIANT: a link that is not ready for another request is never kept (A4), one that was asked to switch protocols
//! neither (A3).
//!
//! Sources: RFC 9112 §9; threats A3, A4.

use std::future::{Future as _, poll_fn};
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use http_body::Body;
use hyper::body::Incoming;
use hyper::client::conn::http1::{Builder, Connection, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::time::{Instant, timeout_at};

use super::error::{ExchangeFault, after_sending};
use super::stream::Stream;
use super::{ConnectFault, PoolSettings, SendError, Timeouts, Upgraded};
use crate::guard::{ExpectedAnswer, Fault, Flaw, Leg, Upstream, UpstreamHandle};

type Io = TokioIo<Upstream<Stream>>;
type AnyError = Box<dyn std::error::Error + Send + Sync>;

/// An open connection and its state.
pub(super) struct Link<B: Body + 'static> {
    sender: SendRequest<B>,
    /// `None` once it is over and of no more use.
    driver: Option<Connection<Io, B>>,
    over: bool,
    guard: UpstreamHandle,
    ends: Instant,
    idle_since: Instant,
    reuse: Reuse,
}

/// May the connection serve another request after this one?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reuse {
    Possible,
    Never,
}

/// What came of an exchange.
pub(super) enum Answered<B: Body + 'static> {
    /// A head; the body comes from the link.
    Head(Response<Incoming>, Box<Link<B>>),
    /// The head is all there will be of HTTP.
    Switched(Response<Incoming>, Box<Upgraded>),
}

impl<B> Link<B>
where
    B: Body<Data = Bytes> + 'static,
    B::Error: Into<AnyError>,
{
    pub(super) async fn open(
        stream: Stream,
        ends: Instant,
        settings: &PoolSettings,
    ) -> Result<Box<Self>, ConnectFault> {
        let (stream, guard) = Upstream::new(stream, settings.answers.clone(), settings.pace);
        let start = Builder::new().handshake(TokioIo::new(stream));
        let (sender, driver) = start.await.map_err(|cause| ConnectFault::Http(ExchangeFault(cause)))?;
        let reuse = Reuse::Possible;
        Ok(Box::new(Self {
            sender,
            driver: Some(driver),
            over: false,
            guard,
            ends,
            idle_since: Instant::now(),
            reuse,
        }))
    }

    /// Moves the connection on. `Ready` when it is over.
    pub(super) fn drive(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), hyper::Error>> {
        let Some(driver) = self.driver.as_mut().filter(|_| !self.over) else { return Poll::Ready(Ok(())) };
        let moved = Pin::new(driver).poll(cx);
        self.over = moved.is_ready();
        moved
    }

    /// Lets go of a driver that is over: what it held back is released.
    pub(super) fn let_go(&mut self) {
        self.driver = None;
    }

    /// What the guard found wrong with the connection.
    pub(super) fn fault(&self) -> Option<Fault> {
        self.guard.fault()
    }

    /// Is the last exchange wholly over, and the connection open and young enough for another?
    pub(super) fn is_reusable(&mut self, now: Instant) -> bool {
        // One poll sees an end that arrived while nobody looked, and lets hyper put the last exchange away.
        let open = self.drive(&mut Context::from_waker(Waker::noop())).is_pending();
        let settled = open && self.sender.is_ready() && self.fault().is_none();
        settled && self.reuse == Reuse::Possible && now < self.ends
    }

    /// Since when nobody uses it.
    pub(super) fn idle_since(&self) -> Instant {
        self.idle_since
    }

    /// Marks the beginning of idleness.
    pub(super) fn rest(&mut self, now: Instant) {
        self.idle_since = now;
    }

    /// Sends `request` and waits for the head of its answer.
    pub(super) async fn exchange(
        mut self: Box<Self>,
        request: Request<B>,
        timeouts: &Timeouts,
    ) -> Result<Answered<B>, SendError<B>> {
        let deadline = timeouts.answered_by(Instant::now());
        let expected = expected_answer(&request);
        // SECURITY: whatever comes of it, such a connection has been offered to another protocol (A3).
        if expected == ExpectedAnswer::Upgrade || request.method() == Method::CONNECT {
            self.reuse = Reuse::Never;
        }
        self.guard.expect(expected);
        self.guard.set_body_idle(timeouts.body_idle);
        let head = match timeout_at(deadline, self.head(request)).await {
            Ok(head) => head?,
            Err(_) => return Err(SendError::Timeout),
        };
        if head.status() != StatusCode::SWITCHING_PROTOCOLS {
            return Ok(Answered::Head(head, self));
        }
        match expected {
            ExpectedAnswer::Upgrade => self.switch(head, deadline).await,
            // The guard refuses it first; this stands should it ever not (A3).
            _ => Err(SendError::Malformed(Fault::new(Flaw::UnaskedSwitch, Leg::Upstream))),
        }
    }

    async fn head(&mut self, request: Request<B>) -> Result<Response<Incoming>, SendError<B>> {
        let mut answer = pin!(self.sender.try_send_request(request));
        let result = poll_fn(|cx| {
            let over = self.drive(cx).is_ready();
            let mut quiet = Context::from_waker(Waker::noop());
            let answered = answer.as_mut().poll(&mut quiet);
            if !over || answered.is_ready() {
                return answered;
            }
            // The end came before the request was taken up: letting go of the driver hands the request back.
            self.driver = None;
            answer.as_mut().poll(&mut quiet)
        })
        .await;
        result.map_err(|mut failed| match failed.take_message() {
            Some(request) => SendError::Unused { request: Box::new(request) },
            None => after_sending(failed.into_error(), self.guard.fault()),
        })
    }

    /// Takes the stream out of hyper's hands.
    async fn switch(
        mut self: Box<Self>,
        head: Response<Incoming>,
        deadline: Instant,
    ) -> Result<Answered<B>, SendError<B>> {
        let done =
            timeout_at(deadline, poll_fn(|cx| self.drive(cx))).await.map_err(|_| SendError::Timeout)?;
        done.map_err(|cause| after_sending(cause, self.guard.fault()))?;
        self.guard.tunnel();
        let Some(driver) = self.driver.take() else { return Err(SendError::Timeout) };
        let parts = driver.into_parts();
        Ok(Answered::Switched(head, Box::new(Upgraded::new(parts.io.into_inner(), parts.read_buf))))
    }
}

fn expected_answer<B>(request: &Request<B>) -> ExpectedAnswer {
    match request.method() {
        _ if request.headers().contains_key(header::UPGRADE) => ExpectedAnswer::Upgrade,
        &Method::HEAD => ExpectedAnswer::ToHead,
        _ => ExpectedAnswer::Plain,
    }
}
