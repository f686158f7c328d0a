//! A meter between TLS and HTTP/2: reads frame headers both ways, counts, and ends a connection that abuses them.
//!
//! Nothing is changed on the way: h2 stays the one reader of HTTP/2. What h2 tolerates one frame at a time is seen
//! here as a flood, and counted by kind. When a limit is passed the peer is sent GOAWAY with ENHANCE_YOUR_CALM, if a
//! frame may stand where our writing is, and hyper is given an error that [`Fault::of`] finds again.
//!
//! INVARIANT: payload is never copied; memory does not grow with what a peer sends beyond the bounded stream table.
//! INVARIANT: after a fault no byte is read or written, but the GOAWAY.
//!
//! Not here: header count and size after decompression (hyper's `max_header_list_size`), concurrent streams (hyper).
//!
//! Sources: RFC 9113 §5.4.1, §6.8, §7, §10.5; threats E1-E5, E8, E15.

mod counts;
mod frames;
mod streams;

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering::Relaxed};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

pub use counts::MeterLimits;

use self::counts::Counts;
use self::frames::{PREFACE, Scanner, kind};
use self::streams::Streams;
use super::fault::{Fault, Flaw, Leg};
use super::io::watch::WriteWatch;
use super::pace::{Alarm, Pace};

/// An HTTP/2 connection that is counted. See the module.
#[derive(Debug)]
pub struct Meter<S> {
    inner: S,
    gauge: Gauge,
    write: WriteWatch,
    alarm: Alarm,
    idle_since: Option<Instant>,
    state: State,
}

/// Whether the connection still goes on.
#[derive(Clone, Copy, Debug)]
enum State {
    Open,
    /// It was idle for too long: hyper reads the end.
    Idle,
    Broken(Fault),
}

/// Both directions, without the socket.
#[derive(Debug)]
pub(super) struct Gauge {
    leg: Leg,
    limits: MeterLimits,
    from_peer: Scanner,
    from_us: Scanner,
    counts: Counts,
    streams: Streams,
    /// A frame or header block that has begun and not ended.
    partial: Pace,
    stall: Pace,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    flaw: AtomicU8,
    bytes_in: AtomicU64,
    bytes_out: AtomicU64,
    streams: AtomicU64,
}

/// What a connection has come to. Cheap to clone.
#[derive(Clone, Debug)]
pub struct MeterHandle {
    shared: Arc<Shared>,
    leg: Leg,
}

impl MeterHandle {
    /// The fault that ended the connection.
    #[must_use]
    pub fn fault(&self) -> Option<Fault> {
        let index = usize::from(self.shared.flaw.load(Relaxed)).checked_sub(1)?;
        Flaw::ALL.get(index).map(|flaw| Fault::new(*flaw, self.leg))
    }

    /// Bytes that came from the peer.
    #[must_use]
    pub fn bytes_in(&self) -> u64 {
        self.shared.bytes_in.load(Relaxed)
    }

    /// Bytes that went to the peer.
    #[must_use]
    pub fn bytes_out(&self) -> u64 {
        self.shared.bytes_out.load(Relaxed)
    }

    /// Streams that were opened.
    #[must_use]
    pub fn streams(&self) -> u64 {
        self.shared.streams.load(Relaxed)
    }
}

/// What is being waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Late {
    Incoming,
    Stalled,
    Idle,
}

impl Gauge {
    pub(super) fn new(leg: Leg, limits: MeterLimits, now: Instant) -> Self {
        let preface = |has_it| if has_it { PREFACE } else { b"" };
        Self {
            leg,
            limits,
            from_peer: Scanner::new(preface(leg == Leg::Downstream)),
            from_us: Scanner::new(preface(leg == Leg::Upstream)),
            counts: Counts::new(limits, leg, now),
            streams: Streams::new(leg, limits.streams),
            partial: Pace::new(limits.incoming),
            stall: Pace::new(limits.stall),
            shared: Arc::default(),
        }
    }

    /// Counts bytes of the peer.
    pub(super) fn received(&mut self, bytes: &[u8]) -> Result<(), Flaw> {
        self.shared.bytes_in.fetch_add(to_u64(bytes.len()), Relaxed);
        self.partial.moved(bytes.len(), Instant::now);
        let Self { from_peer, counts, streams, .. } = self;
        from_peer.scan(bytes, |event| {
            counts.received(event, Instant::now)?;
            streams.received(event)
        })?;
        self.settle();
        Ok(())
    }

    /// Counts bytes of ours.
    pub(super) fn sent(&mut self, bytes: &[u8]) -> Result<(), Flaw> {
        self.shared.bytes_out.fetch_add(to_u64(bytes.len()), Relaxed);
        let mut body = 0usize;
        let Self { from_us, counts, streams, .. } = self;
        from_us.scan(bytes, |event| {
            counts.sent(event)?;
            body = body.saturating_add(usize::try_from(streams.sent(event)?).unwrap_or(usize::MAX));
            Ok(())
        })?;
        if body > 0 {
            self.stall.moved(body, Instant::now);
        }
        self.settle();
        Ok(())
    }

    fn settle(&mut self) {
        self.shared.streams.store(u64::from(self.streams.last()).div_ceil(2), Relaxed);
        if !self.streams.is_blocked() {
            self.stall.moved(0, Instant::now);
        }
    }

    /// Whether the peer has begun something that it must end: the preface, a frame, a header block.
    fn is_partial(&self) -> bool {
        !self.from_peer.is_at_boundary() || self.counts.is_in_block()
    }

    fn partial_flaw(&self) -> Flaw {
        let is_head = self.counts.is_in_block() || self.from_peer.is_in_preface();
        if is_head { Flaw::SlowHead } else { Flaw::SlowBody }
    }

    /// GOAWAY with ENHANCE_YOUR_CALM, if a frame may stand here (RFC 9113 §6.8, §7).
    fn farewell(&self) -> Option<[u8; 17]> {
        let [a, b, c, d] = self.streams.last().to_be_bytes();
        let frame = [0, 0, 8, kind::GOAWAY, 0, 0, 0, 0, 0, a, b, c, d, 0, 0, 0, 0xb];
        self.from_us.is_at_boundary().then_some(frame)
    }
}

fn to_u64(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}

impl<S> Meter<S> {
    /// Counts `inner`, on which nothing has been read or written yet. `leg`: who is at the other end.
    #[must_use]
    pub fn new(inner: S, leg: Leg, limits: MeterLimits) -> (Self, MeterHandle) {
        let gauge = Gauge::new(leg, limits, Instant::now());
        let handle = MeterHandle { shared: Arc::clone(&gauge.shared), leg };
        let write = WriteWatch::new(limits.write, leg);
        (Self { inner, gauge, write, alarm: Alarm::default(), idle_since: None, state: State::Open }, handle)
    }

    fn usable(&self) -> io::Result<()> {
        if let State::Broken(fault) = self.state { Err(fault.into_io()) } else { Ok(()) }
    }

    /// What the peer is late with, and when it becomes a fault.
    fn late(&mut self, now: Instant) -> Option<(Late, Instant)> {
        let gauge = &mut self.gauge;
        if !gauge.streams.is_empty() {
            self.idle_since = None;
        }
        if gauge.is_partial() {
            return Some((Late::Incoming, gauge.partial.waits(now)));
        }
        if gauge.streams.is_blocked() {
            return Some((Late::Stalled, gauge.stall.waits(now)));
        }
        if !gauge.streams.is_empty() {
            return None;
        }
        let since = *self.idle_since.get_or_insert(now);
        since.checked_add(gauge.limits.idle).map(|at| (Late::Idle, at))
    }
}

impl<S: AsyncWrite + Unpin> Meter<S> {
    /// Ends the connection: says so to the peer if that is possible at once, and to hyper in any case.
    fn break_off(&mut self, flaw: Flaw, cx: &mut Context<'_>) -> io::Error {
        let fault = Fault::new(flaw, self.gauge.leg);
        self.gauge.shared.flaw.store((flaw as u8).saturating_add(1), Relaxed);
        self.state = State::Broken(fault);
        if let Some(frame) = self.gauge.farewell() {
            // One attempt: a peer that takes nothing is told nothing.
            let _ = Pin::new(&mut self.inner).poll_write(cx, &frame);
            let _ = Pin::new(&mut self.inner).poll_flush(cx);
        }
        fault.into_io()
    }

    fn poll_late(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Some((late, deadline)) = self.late(Instant::now()) else { return Poll::Pending };
        ready!(self.alarm.poll(cx, deadline));
        Poll::Ready(match late {
            Late::Incoming => Err(self.break_off(self.gauge.partial_flaw(), cx)),
            Late::Stalled => Err(self.break_off(Flaw::StalledStreams, cx)),
            Late::Idle => {
                self.state = State::Idle;
                Ok(())
            }
        })
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Meter<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.usable()?;
        if matches!(this.state, State::Idle) {
            return Poll::Ready(Ok(()));
        }
        let before = buf.filled().len();
        match Pin::new(&mut this.inner).poll_read(cx, buf)? {
            Poll::Pending => this.poll_late(cx),
            Poll::Ready(()) => {
                let came = buf.filled().get(before..).unwrap_or_default();
                let Err(flaw) = this.gauge.received(came) else { return Poll::Ready(Ok(())) };
                // What was read is not for hyper any more.
                buf.set_filled(before);
                Poll::Ready(Err(this.break_off(flaw, cx)))
            }
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Meter<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        this.usable()?;
        let count = ready!(this.write.write(&mut this.inner, cx, bytes))?;
        let gone = bytes.get(..count).unwrap_or(bytes);
        let result = this.gauge.sent(gone);
        Poll::Ready(result.map(|()| count).map_err(|flaw| this.break_off(flaw, cx)))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        this.usable()?;
        let count = ready!(this.write.write_vectored(&mut this.inner, cx, slices))?;
        let mut left = count;
        for slice in slices {
            let gone = slice.get(..left).unwrap_or(slice);
            left = left.saturating_sub(gone.len());
            if let Err(flaw) = this.gauge.sent(gone) {
                return Poll::Ready(Err(this.break_off(flaw, cx)));
            }
        }
        Poll::Ready(Ok(count))
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.usable()?;
        this.write.flush(&mut this.inner, cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.write.shutdown(&mut this.inner, cx)
    }
}

#[cfg(test)]
mod tests;
