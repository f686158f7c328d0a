//! The write side of both streams: every byte counted, a reader that is too slow found out.
//!
//! Sources: threat E8 (slow reading holds memory and an upstream as surely as slow writing).

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::AsyncWrite;
use tokio::time::Instant;

use super::super::fault::{Fault, Flaw, Leg};
use super::super::limits::MinRate;
use super::super::pace::{Alarm, Pace};

/// The pace at which the peer takes our bytes.
#[derive(Debug)]
pub(in super::super) struct WriteWatch {
    pace: Pace,
    alarm: Alarm,
    leg: Leg,
}

impl WriteWatch {
    pub(in super::super) fn new(rate: MinRate, leg: Leg) -> Self {
        Self { pace: Pace::new(rate), alarm: Alarm::default(), leg }
    }

    /// Judges what writing to `inner` came to.
    pub(in super::super) fn write<S: AsyncWrite + Unpin>(
        &mut self,
        inner: &mut S,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(inner).poll_write(cx, bytes);
        self.judge(cx, result)
    }

    /// The same for several slices at once.
    pub(in super::super) fn write_vectored<S: AsyncWrite + Unpin>(
        &mut self,
        inner: &mut S,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(inner).poll_write_vectored(cx, slices);
        self.judge(cx, result)
    }

    /// The same for what is buffered below us.
    pub(in super::super) fn flush<S: AsyncWrite + Unpin>(
        &mut self,
        inner: &mut S,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        let result = Pin::new(inner).poll_flush(cx).map_ok(|()| 0);
        self.judge(cx, result).map_ok(|_| ())
    }

    /// The same for closing: a peer that takes nothing must not keep us from it.
    pub(in super::super) fn shutdown<S: AsyncWrite + Unpin>(
        &mut self,
        inner: &mut S,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        let result = Pin::new(inner).poll_shutdown(cx).map_ok(|()| 0);
        self.judge(cx, result).map_ok(|_| ())
    }

    fn judge(&mut self, cx: &mut Context<'_>, result: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        match result {
            Poll::Ready(Ok(count)) => {
                self.pace.moved(count, Instant::now);
                Poll::Ready(Ok(count))
            }
            Poll::Ready(Err(cause)) => Poll::Ready(Err(cause)),
            Poll::Pending => {
                let deadline = self.pace.waits(Instant::now());
                self.alarm.poll(cx, deadline).map(|()| Err(Fault::new(Flaw::SlowReader, self.leg).into_io()))
            }
        }
    }
}
