//! The body of an upstream's answer; when it ends, its connection goes home.
//!
//! INVARIANT: a connection is kept only after the last byte of its answer was read and its request was wholly sent; a body
//! that is dropped before closes it (A4).
//! INVARIANT: an error of the guard is told apart from a broken connection.
//!
//! Sources: RFC 9112 §9.3, RFC 9113 §8.1; threats A3, A4, E8.

use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::Instant;

use super::error::{AnswerFault, ExchangeFault};
use super::http1::Link;
use super::http2::Stream;
use super::slot::Slot;
use super::upgraded::Upgraded;
use crate::guard::{Fault, Flaw, Leg, MinRate, StreamPace};

type AnyError = Box<dyn std::error::Error + Send + Sync>;

/// The body of an answer, trailers included.
pub struct AnswerBody<B: Body + 'static> {
    source: Source<B>,
}

enum Source<B: Body + 'static> {
    /// Bytes come while the link is driven; afterwards what is left in hyper's channel.
    Http1 {
        incoming: Incoming,
        link: Option<Box<Link<B>>>,
        home: Rc<Slot<B>>,
    },
    /// The connection moves for others too, so silence is counted for each stream.
    Http2 {
        incoming: Incoming,
        stream: Stream<B>,
        silence: Option<StreamPace>,
    },
    Switched(Option<Box<Upgraded>>),
    Spent,
}

impl<B> AnswerBody<B>
where
    B: Body<Data = Bytes> + 'static,
    B::Error: Into<AnyError>,
{
    pub(super) fn http1(incoming: Incoming, link: Box<Link<B>>, home: Rc<Slot<B>>) -> Self {
        let mut body = Self { source: Source::Http1 { incoming, link: Some(link), home } };
        if body.is_end_stream() {
            body.finish();
        }
        body
    }

    pub(super) fn http2(incoming: Incoming, stream: Stream<B>, silence: Duration) -> Self {
        let silence = Some(StreamPace::new(MinRate::silence(silence)));
        let mut body = Self { source: Source::Http2 { incoming, stream, silence } };
        if body.is_end_stream() {
            body.finish();
        }
        body
    }

    pub(super) fn switched(upgraded: Box<Upgraded>) -> Self {
        Self { source: Source::Switched(Some(upgraded)) }
    }

    /// The bytes of the other protocol, once, if the answer is 101.
    pub fn take_upgraded(&mut self) -> Option<Box<Upgraded>> {
        match &mut self.source {
            Source::Switched(upgraded) => upgraded.take(),
            _ => None,
        }
    }

    /// Silence belongs to it: the body is a stream of events or messages, and whoever reads it has a bound for that.
    pub fn may_be_silent(&mut self) {
        if let Source::Http2 { silence, .. } = &mut self.source {
            *silence = None;
        }
    }

    /// The last byte was read.
    fn finish(&mut self) {
        match std::mem::replace(&mut self.source, Source::Spent) {
            Source::Http1 { link: Some(link), home, .. } => home.keep(link),
            switched @ Source::Switched(_) => self.source = switched,
            _ => {}
        }
    }

    /// `Ready` with what is wrong, when an HTTP/2 stream has been silent for too long.
    fn poll_silent(&mut self, cx: &mut Context<'_>) -> Poll<AnswerFault> {
        let Source::Http2 { silence: Some(silence), .. } = &mut self.source else { return Poll::Pending };
        ready!(silence.poll_late(cx, Instant::now()));
        // Drops the stream, which resets it.
        self.source = Source::Spent;
        Poll::Ready(AnswerFault::Malformed(Fault::new(Flaw::SlowBody, Leg::Upstream)))
    }

    fn moved(&mut self, frame: &Frame<Bytes>) {
        if let Source::Http2 { silence: Some(silence), .. } = &mut self.source {
            silence.moved(frame.data_ref().map_or(0, Bytes::len), Instant::now);
        }
    }

    fn fail(&mut self, cause: hyper::Error) -> AnswerFault {
        let guard = match &self.source {
            Source::Http1 { link: Some(link), .. } => link.fault(),
            Source::Http2 { stream, .. } => stream.fault(),
            _ => None,
        };
        // Drops the link, and with it the connection.
        self.source = Source::Spent;
        let guard = guard.or_else(|| Fault::of(&cause));
        guard.map_or_else(|| AnswerFault::Broken(ExchangeFault(cause)), AnswerFault::Malformed)
    }

    fn poll_source(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        match &mut self.source {
            Source::Http1 { incoming, link: Some(link), .. } => poll_driven(incoming, link, cx),
            Source::Http1 { incoming, link: None, .. } | Source::Http2 { incoming, .. } => {
                Pin::new(incoming).poll_frame(cx)
            }
            Source::Switched(_) | Source::Spent => Poll::Ready(None),
        }
    }
}

/// What hyper holds already, or what moving the connection on brings.
fn poll_driven<B>(
    incoming: &mut Incoming,
    link: &mut Link<B>,
    cx: &mut Context<'_>,
) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>>
where
    B: Body<Data = Bytes> + 'static,
    B::Error: Into<AnyError>,
{
    let mut quiet = Context::from_waker(Waker::noop());
    if let Poll::Ready(frame) = Pin::new(&mut *incoming).poll_frame(&mut quiet) {
        return Poll::Ready(frame);
    }
    let over = link.drive(cx).is_ready();
    if over {
        link.let_go();
    }
    // After the end nothing wakes this task again, so its own waker is left with what can still wake it.
    let mut context = if over { Context::from_waker(cx.waker()) } else { quiet };
    Pin::new(incoming).poll_frame(&mut context)
}

impl<B> Body for AnswerBody<B>
where
    B: Body<Data = Bytes> + 'static,
    B::Error: Into<AnyError>,
{
    type Data = Bytes;
    type Error = AnswerFault;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, AnswerFault>>> {
        let Poll::Ready(polled) = self.poll_source(cx) else {
            return self.poll_silent(cx).map(|fault| Some(Err(fault)));
        };
        match polled {
            Some(Ok(frame)) => {
                self.moved(&frame);
                // Nothing stands behind trailers, and nobody asks for more after them.
                if frame.is_trailers() || self.is_end_stream() {
                    self.finish();
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Some(Err(cause)) => Poll::Ready(Some(Err(self.fail(cause)))),
            None => {
                self.finish();
                Poll::Ready(None)
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.source {
            Source::Http1 { incoming, .. } | Source::Http2 { incoming, .. } => incoming.is_end_stream(),
            Source::Switched(_) | Source::Spent => true,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.source {
            Source::Http1 { incoming, .. } | Source::Http2 { incoming, .. } => incoming.size_hint(),
            Source::Switched(_) | Source::Spent => SizeHint::with_exact(0),
        }
    }
}

impl<B: Body + 'static> std::fmt::Debug for AnswerBody<B> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self.source {
            Source::Http1 { .. } => "AnswerBody(http/1.1)",
            Source::Http2 { .. } => "AnswerBody(h2)",
            Source::Switched(_) => "AnswerBody(switched)",
            Source::Spent => "AnswerBody(spent)",
        })
    }
}
