//! A caller's connection, as hyper's server sees it.
//!
//! A head that is refused is replaced by one canonical request that asks to close; the handle knows its number. After
//! it hyper reads nothing, not even the end, until it has answered and closes. On closing, what the caller still sends
//! is thrown away for a moment, since a reset would take the refusal with it.
//!
//! SECURITY: bytes behind an upgrade request are held back until the line has granted or refused it (A3).
//!
//! Sources: RFC 9112 §9.3, §9.6 (lingering close), §9.8; threats A3, A4, E8.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

use super::super::fault::Leg;
use super::super::limits::{Limits, Timeouts};
use super::super::pace::Alarm;
use super::buffer::{read_direct, read_some};
use super::handle::{DownstreamHandle, Shared};
use super::intake::{Intake, Mode};
use super::watch::WriteWatch;

/// A caller's connection. See the module.
#[derive(Debug)]
pub struct Downstream<S> {
    inner: S,
    intake: Intake,
    shared: Arc<Shared>,
    write: WriteWatch,
    most_held: usize,
    linger: Linger,
}

/// What may still be thrown away, and until when.
#[derive(Debug)]
struct Linger {
    bytes: usize,
    span: std::time::Duration,
    until: Option<Instant>,
    alarm: Alarm,
}

impl<S> Downstream<S> {
    /// Guards `inner`, on which nothing has been read yet.
    #[must_use]
    pub fn new(inner: S, limits: Limits, timeouts: Timeouts) -> (Self, DownstreamHandle) {
        let shared = Arc::new(Shared::new());
        let handle = DownstreamHandle { shared: Arc::clone(&shared) };
        let guard = Self {
            inner,
            write: WriteWatch::new(timeouts.write, Leg::Downstream),
            most_held: limits.held,
            linger: Linger {
                bytes: limits.linger,
                span: timeouts.linger,
                until: None,
                alarm: Alarm::default(),
            },
            intake: Intake::new(limits, timeouts, Arc::clone(&shared)),
            shared,
        };
        (guard, handle)
    }
}

/// Whether hyper has its answer.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Reading {
    Done,
    Again,
}

impl<S: AsyncRead + Unpin> Downstream<S> {
    /// One step towards bytes for hyper, or the end.
    fn poll_step(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<Reading>> {
        if self.intake.ready.give(buf) {
            return Poll::Ready(Ok(Reading::Done));
        }
        match self.intake.mode() {
            Mode::Framing if self.intake.direct() > 0 => self.poll_body(cx, buf),
            Mode::Framing => self.poll_more(cx),
            Mode::Held if self.intake.decide(cx) => Poll::Ready(Ok(Reading::Again)),
            Mode::Held if self.intake.held() >= self.most_held => self.poll_late(cx),
            Mode::Held => self.poll_more(cx),
            Mode::Tunnel => self.poll_tunnel(cx, buf),
            Mode::Last => self.poll_thrown_away(cx),
            Mode::Refused => Poll::Pending,
            Mode::Failed(fault) => Poll::Ready(Err(fault.into_io())),
            Mode::Ended => Poll::Ready(Ok(Reading::Done)),
        }
    }

    /// Body bytes go straight into hyper's buffer.
    fn poll_body(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<Reading>> {
        match read_direct(&mut self.inner, cx, buf, self.intake.direct())? {
            Poll::Ready(0) => {
                self.intake.end();
                Poll::Ready(Ok(Reading::Again))
            }
            Poll::Ready(count) => {
                self.intake.passed(count);
                Poll::Ready(Ok(Reading::Done))
            }
            Poll::Pending => self.poll_late(cx),
        }
    }

    fn poll_late(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Reading>> {
        self.intake.poll_late(cx).map(|()| Ok(Reading::Again))
    }

    fn poll_more(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Reading>> {
        match read_some(&mut self.inner, cx, |got| self.intake.take(got))? {
            Poll::Ready(()) => Poll::Ready(Ok(Reading::Again)),
            Poll::Pending => self.poll_late(cx),
        }
    }

    fn poll_tunnel(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<Reading>> {
        let count = ready!(read_direct(&mut self.inner, cx, buf, u64::MAX))?;
        self.shared.came(count);
        Poll::Ready(Ok(Reading::Done))
    }

    /// Behind the last request only the end is of interest: the caller left.
    fn poll_thrown_away(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Reading>> {
        if self.linger.bytes == 0 {
            return Poll::Pending;
        }
        let left = &mut self.linger.bytes;
        ready!(read_some(&mut self.inner, cx, |got| {
            *left = left.saturating_sub(got.len());
            self.intake.take(got);
        }))?;
        Poll::Ready(Ok(Reading::Again))
    }

    /// Throws away what still comes, until the end, the bound or the time is reached.
    fn poll_linger(&mut self, cx: &mut Context<'_>, until: Instant) -> Poll<()> {
        while self.linger.bytes > 0 {
            match read_some(&mut self.inner, cx, <[u8]>::len) {
                Poll::Ready(Ok(count)) if count > 0 => {
                    self.linger.bytes = self.linger.bytes.saturating_sub(count);
                }
                Poll::Ready(_) => break,
                Poll::Pending => return self.linger.alarm.poll(cx, until),
            }
        }
        Poll::Ready(())
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Downstream<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        while ready!(this.poll_step(cx, buf))? == Reading::Again {}
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Downstream<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let count = ready!(this.write.write(&mut this.inner, cx, bytes))?;
        this.shared.went(count);
        Poll::Ready(Ok(count))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let count = ready!(this.write.write_vectored(&mut this.inner, cx, slices))?;
        this.shared.went(count);
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
        let until = match this.linger.until {
            Some(until) => until,
            None => {
                ready!(this.write.shutdown(&mut this.inner, cx))?;
                let now = Instant::now();
                let until = now.checked_add(this.linger.span).unwrap_or(now);
                *this.linger.until.insert(until)
            }
        };
        if this.intake.is_cut_short() {
            ready!(this.poll_linger(cx, until));
        }
        Poll::Ready(Ok(()))
    }
}
