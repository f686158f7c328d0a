//! HTTP/2 connections to one target: several, each driven by its own task, streams spread by fewest open.
//!
//! INVARIANT: no connection carries more streams than the upstream permits, nor more than the setting.
//! INVARIANT: a connection that is retired or too old takes no new stream; those that it has finish.
//!
//! Sources: RFC 9113 §5.1.2, §6.8; threat E3 (streams that we reset count too, so they are few).

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::Context;

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use hyper::body::Incoming;
use hyper::client::conn::http2::{Builder, Connection, SendRequest};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout_at};

use super::error::{ExchangeFault, after_sending, is_unprocessed};
use super::heard::{Heard, Listener};
use super::{ConnectFault, PoolSettings, SendError, Timeouts, stream};
use crate::cork::{Cork, Corked};
use crate::guard::{Fault, Leg, Meter, MeterHandle, MeterLimits};

type Io = TokioIo<Cork<Heard>>;
type AnyError = Box<dyn std::error::Error + Send + Sync>;

/// Windows for answers: large enough for a fast service, small enough that one stalled caller holds little.
const STREAM_WINDOW: u32 = 256 * 1024;
const CONNECTION_WINDOW: u32 = 1024 * 1024;

/// Runs hyper's tasks of one connection on this core; one of them drives h2, and its writes leave when it was polled.
#[derive(Clone)]
pub(super) struct ConnectionExec(Corked<Heard>);

impl<F: Future<Output: 'static> + 'static> hyper::rt::Executor<F> for ConnectionExec {
    fn execute(&self, task: F) {
        let corked = self.0.clone();
        tokio::task::spawn_local(async move {
            let mut task = pin!(task);
            poll_fn(|cx| corked.poll(task.as_mut(), cx)).await
        });
    }
}

/// One connection.
pub(super) struct Shared<B> {
    sender: RefCell<SendRequest<B>>,
    open: Cell<usize>,
    /// Streams that the upstream permits, as its settings last said.
    permitted: Rc<Cell<usize>>,
    meter: MeterHandle,
    ends: Instant,
}

/// One open stream. Dropping it gives the place back.
pub(super) struct Stream<B>(Rc<Shared<B>>);

impl<B> Drop for Stream<B> {
    fn drop(&mut self) {
        self.0.open.set(self.0.open.get().saturating_sub(1));
    }
}

impl<B> Shared<B>
where
    B: Body<Data = Bytes> + Unpin + 'static,
    B::Error: Into<AnyError>,
{
    /// Starts HTTP/2 and waits for the upstream's settings.
    pub(super) async fn open(
        stream: stream::Stream,
        ends: Instant,
        settings: &PoolSettings,
    ) -> Result<Rc<Self>, ConnectFault> {
        let listener = Listener::default();
        let limits = MeterLimits { idle: settings.idle_age, ..settings.frames };
        let (stream, meter) = Meter::new(stream, Leg::Upstream, limits);
        let (stream, corked) = Cork::new(Heard::new(stream, Rc::clone(&listener)));
        let start = Builder::new(ConnectionExec(corked))
            .timer(TokioTimer::new())
            .adaptive_window(false)
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            // None before the upstream has said how many: those beyond its limit would be refused.
            .initial_max_send_streams(0)
            .max_header_list_size(u32::try_from(settings.answers.head).unwrap_or(u32::MAX))
            .keep_alive_interval(settings.http2_ping)
            .keep_alive_timeout(settings.http2_ping)
            .handshake(TokioIo::new(stream));
        let (sender, driver) = start.await.map_err(|cause| ConnectFault::Http(ExchangeFault(cause)))?;
        let permitted = Rc::new(Cell::new(0));
        let (started, has_started) = oneshot::channel();
        let start = Start { listener, started: Some(started), permitted: Rc::clone(&permitted) };
        tokio::task::spawn_local(drive(driver, start));
        // An end before the start is seen by whoever uses the connection.
        let _ = has_started.await;
        Ok(Rc::new(Self { sender: RefCell::new(sender), open: Cell::new(0), permitted, meter, ends }))
    }
}

/// What the driver tells about a connection.
struct Start {
    listener: Listener,
    started: Option<oneshot::Sender<()>>,
    permitted: Rc<Cell<usize>>,
}

impl Start {
    fn note(&mut self, permitted: usize, cx: &Context<'_>) {
        self.permitted.set(permitted);
        match permitted {
            0 if self.started.is_some() => self.listener.set(Some(cx.waker().clone())),
            0 => {}
            // Nobody waits any more if sending fails.
            _ => drop(self.started.take().map(|started| started.send(()))),
        }
    }
}

/// Ends by itself when the last sender and stream are gone, or with the connection; its error reaches the streams.
async fn drive<B>(mut driver: Connection<Io, B, ConnectionExec>, mut start: Start)
where
    B: Body<Data = Bytes> + Unpin + 'static,
    B::Error: Into<AnyError>,
{
    poll_fn(|cx| {
        let moved = Pin::new(&mut driver).poll(cx);
        start.note(driver.current_max_send_streams(), cx);
        moved.map(drop)
    })
    .await;
}

impl<B> Shared<B> {
    /// May it take a stream at all?
    pub(super) fn is_usable(&self, now: Instant) -> bool {
        now < self.ends && !self.sender.borrow().is_closed()
    }

    /// Streams open now.
    pub(super) fn open_streams(&self) -> usize {
        self.open.get()
    }

    /// Has it room for another stream?
    pub(super) fn has_room(&self, most: usize) -> bool {
        self.open.get() < most.min(self.permitted.get())
    }

    /// Takes the place of one stream.
    pub(super) fn stream(self: &Rc<Self>) -> Stream<B> {
        self.open.set(self.open.get().saturating_add(1));
        Stream(Rc::clone(self))
    }
}

impl<B> Stream<B>
where
    B: Body<Data = Bytes> + Unpin + 'static,
    B::Error: Into<AnyError>,
{
    /// Sends `request` and waits for the head of its answer.
    pub(super) async fn exchange(
        &self,
        request: Request<B>,
        timeouts: &Timeouts,
    ) -> Result<Response<Incoming>, SendError<B>> {
        let copy = copy_of(&request);
        let answer = self.0.sender.borrow_mut().try_send_request(request);
        match timeout_at(timeouts.answered_by(Instant::now()), answer).await {
            Err(_) => Err(SendError::Timeout),
            Ok(Ok(head)) => Ok(head),
            Ok(Err(mut failed)) => Err(match failed.take_message() {
                Some(request) => SendError::Unused { request: Box::new(request) },
                None => sort(failed.into_error(), copy, self.fault()),
            }),
        }
    }
}

impl<B> Stream<B> {
    /// What the meter found wrong with the connection.
    pub(super) fn fault(&self) -> Option<Fault> {
        self.0.meter.fault()
    }
}

/// The head of a request without a body, kept in case the upstream refuses the stream. One with a body cannot be sent
/// again, so nothing is copied.
fn copy_of<B: Body>(request: &Request<B>) -> Option<Box<http::request::Parts>> {
    if !request.body().is_end_stream() {
        return None;
    }
    let mut copy = Request::new(());
    *copy.method_mut() = request.method().clone();
    *copy.uri_mut() = request.uri().clone();
    *copy.headers_mut() = request.headers().clone();
    *copy.version_mut() = request.version();
    Some(Box::new(copy.into_parts().0))
}

fn sort<B>(
    cause: hyper::Error,
    head: Option<Box<http::request::Parts>>,
    fault: Option<Fault>,
) -> SendError<B> {
    match is_unprocessed(&cause) && fault.is_none() {
        true => SendError::Refused { head },
        false => after_sending(cause, fault),
    }
}
