//! A connection to a service, as hyper's client sees it.
//!
//! INVARIANT: an answer is read only after its request was announced by the handle and a byte of it was sent.
//! INVARIANT: after an answer without a length, or one that closes, hyper reads the end and nothing else.
//!
//! Sources: RFC 9112 §6.3, §9.3; threats A3, A4 (poisoned pool), E8.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

use super::super::fault::{Fault, Flaw, Leg};
use super::super::h1::{Place, ResponseFramer, Step};
use super::super::limits::{Limits, MinRate, UpstreamTimeouts};
use super::super::pace::{Alarm, Pace};
use super::buffer::{frame_over, read_direct, read_some};
use super::handle::{Shared, UpstreamHandle, Wish};
use super::watch::WriteWatch;
use crate::ready::Ready;

/// What is done with bytes that come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    Framing,
    Held,
    Tunnel,
    Failed(Fault),
    Ended,
}

/// A connection to a service. See the module.
#[derive(Debug)]
pub struct Upstream<S> {
    inner: S,
    intake: Answers,
    write: WriteWatch,
}

/// The reading side, without the socket.
#[derive(Debug)]
struct Answers {
    framer: ResponseFramer,
    mode: Mode,
    rest: Vec<u8>,
    ready: Ready,
    shared: Arc<Shared>,
    idle: std::time::Duration,
    body: Pace,
    alarm: Alarm,
}

impl<S> Upstream<S> {
    /// Guards `inner`, on which nothing has been read or written yet.
    #[must_use]
    pub fn new(inner: S, limits: Limits, timeouts: UpstreamTimeouts) -> (Self, UpstreamHandle) {
        let shared = Arc::new(Shared::new());
        let handle = UpstreamHandle { shared: Arc::clone(&shared) };
        let intake = Answers {
            framer: ResponseFramer::new(limits),
            mode: Mode::Framing,
            rest: Vec::new(),
            ready: Ready::default(),
            shared,
            idle: timeouts.body_idle,
            body: Pace::new(MinRate::silence(timeouts.body_idle)),
            alarm: Alarm::default(),
        };
        (Self { inner, intake, write: WriteWatch::new(timeouts.write, Leg::Upstream) }, handle)
    }
}

impl Answers {
    /// Learns of a request that was announced since.
    fn learn(&mut self) {
        if let Some(answer) = self.shared.take_expected() {
            self.framer.expect(answer);
            self.body = Pace::new(MinRate::silence(self.shared.body_idle().unwrap_or(self.idle)));
        }
    }

    fn take(&mut self, got: &[u8]) {
        if got.is_empty() {
            return self.end();
        }
        self.shared.came(got.len());
        self.body.moved(got.len(), Instant::now);
        // SECURITY: an answer that was there before its request is not its answer (A4).
        if !self.shared.has_asked() {
            let fault = self.framer.break_off(Flaw::Unsolicited);
            return self.fail(fault);
        }
        self.frame(got);
    }

    fn frame(&mut self, got: &[u8]) {
        let Self { framer, ready, rest, .. } = self;
        let step = frame_over(rest, got, |input| {
            loop {
                match framer.feed(input, &mut ready.bytes) {
                    Ok(Step::Head) => {}
                    other => return other,
                }
            }
        });
        match step {
            Ok(Step::More | Step::Head) => {}
            Ok(Step::Held) => self.mode = Mode::Held,
            Ok(Step::Closed) => self.mode = Mode::Ended,
            Err(fault) => self.fail(fault),
        }
    }

    fn passed(&mut self, count: usize) {
        self.shared.came(count);
        self.body.moved(count, Instant::now);
        self.framer.advance(u64::try_from(count).unwrap_or(u64::MAX));
    }

    fn end(&mut self) {
        self.mode = Mode::Ended;
        if let Err(fault) = self.framer.finish(&self.rest) {
            self.fail(fault);
        }
    }

    fn fail(&mut self, fault: Fault) {
        self.rest = Vec::new();
        self.shared.broke(fault);
        self.mode = Mode::Failed(fault);
    }

    /// `Ready` when a body has been silent for too long.
    fn poll_late(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.framer.place() != Place::Body {
            return Poll::Pending;
        }
        let deadline = self.body.waits(Instant::now());
        ready!(self.alarm.poll(cx, deadline));
        let fault = self.framer.break_off(Flaw::SlowBody);
        self.fail(fault);
        Poll::Ready(())
    }

    fn decide(&mut self, cx: &Context<'_>) -> bool {
        if self.shared.take_wish(cx) != Wish::Tunnel {
            return false;
        }
        self.mode = Mode::Tunnel;
        self.ready.bytes.append(&mut self.rest);
        true
    }
}

/// Whether hyper has its answer.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Reading {
    Done,
    Again,
}

impl<S: AsyncRead + Unpin> Upstream<S> {
    /// One step towards bytes for hyper, or the end.
    fn poll_step(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<Reading>> {
        self.intake.learn();
        if self.intake.ready.give(buf) {
            return Poll::Ready(Ok(Reading::Done));
        }
        let mode = self.intake.mode;
        match mode {
            Mode::Framing if self.intake.framer.direct() > 0 => self.poll_body(cx, buf),
            Mode::Framing => match read_some(&mut self.inner, cx, |got| self.intake.take(got))? {
                Poll::Ready(()) => Poll::Ready(Ok(Reading::Again)),
                Poll::Pending => self.intake.poll_late(cx).map(|()| Ok(Reading::Again)),
            },
            Mode::Held if self.intake.decide(cx) => Poll::Ready(Ok(Reading::Again)),
            Mode::Held => Poll::Pending,
            Mode::Tunnel => {
                let count = ready!(read_direct(&mut self.inner, cx, buf, u64::MAX))?;
                self.intake.shared.came(count);
                Poll::Ready(Ok(Reading::Done))
            }
            Mode::Failed(fault) => Poll::Ready(Err(fault.into_io())),
            Mode::Ended => Poll::Ready(Ok(Reading::Done)),
        }
    }

    /// Body bytes go straight into hyper's buffer.
    fn poll_body(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<Reading>> {
        match read_direct(&mut self.inner, cx, buf, self.intake.framer.direct())? {
            Poll::Ready(0) => {
                self.intake.end();
                Poll::Ready(Ok(Reading::Again))
            }
            Poll::Ready(count) => {
                self.intake.passed(count);
                Poll::Ready(Ok(Reading::Done))
            }
            Poll::Pending => self.intake.poll_late(cx).map(|()| Ok(Reading::Again)),
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Upstream<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        while ready!(this.poll_step(cx, buf))? == Reading::Again {}
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Upstream<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let count = ready!(this.write.write(&mut this.inner, cx, bytes))?;
        this.intake.shared.went(count);
        Poll::Ready(Ok(count))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let count = ready!(this.write.write_vectored(&mut this.inner, cx, slices))?;
        this.intake.shared.went(count);
        Poll::Ready(Ok(count))
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.write.flush(&mut this.inner, cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.write.shutdown(&mut this.inner, cx)
    }
}
