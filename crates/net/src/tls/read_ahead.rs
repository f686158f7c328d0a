//! Reads more from the socket than rustls asks for.
//!
//! rustls asks for 4 KiB at a time, so that a full record of 16 KiB costs five system calls. Here one brings up to
//! [`AHEAD`] bytes; what was not asked for yet is kept until it is.
//!
//! INVARIANT: at most [`AHEAD`] bytes are kept, and a connection that waits keeps no buffer worth naming.
//!
//! Sources: RFC 8446 §5.1 (records).

use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::ready::Ready;

/// Two records.
const AHEAD: usize = 32 * 1024;

/// A stream below TLS. See the module.
#[derive(Debug)]
pub struct ReadAhead<S> {
    inner: S,
    kept: Ready,
}

impl<S> ReadAhead<S> {
    pub(super) fn new(inner: S) -> Self {
        Self { inner, kept: Ready::default() }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for ReadAhead<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.kept.give(buf) {
            return Poll::Ready(Ok(()));
        }
        if buf.remaining() >= AHEAD {
            return Pin::new(&mut this.inner).poll_read(cx, buf);
        }
        let mut scratch = [const { MaybeUninit::<u8>::uninit() }; AHEAD];
        let mut came = ReadBuf::uninit(&mut scratch);
        ready!(Pin::new(&mut this.inner).poll_read(cx, &mut came))?;
        let (now, later) = came.filled().split_at(came.filled().len().min(buf.remaining()));
        buf.put_slice(now);
        if !later.is_empty() {
            this.kept.bytes.extend_from_slice(later);
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for ReadAhead<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tokio::io::AsyncReadExt;

    use super::*;

    /// Gives `left` bytes that count up, at most `most` at a time, and counts how often it was asked.
    struct Source {
        left: usize,
        most: usize,
        next: u8,
        asked: usize,
    }

    impl AsyncRead for Source {
        fn poll_read(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            buf: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            self.asked += 1;
            for _ in 0..self.left.min(self.most).min(buf.remaining()) {
                buf.put_slice(&[self.next]);
                self.next = self.next.wrapping_add(1);
                self.left -= 1;
            }
            Poll::Ready(Ok(()))
        }
    }

    fn read_all(source: Source, at_a_time: usize) -> (Vec<u8>, ReadAhead<Source>) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let mut stream = ReadAhead::new(source);
        let mut all = Vec::new();
        let mut buf = vec![0; at_a_time];
        loop {
            match runtime.block_on(stream.read(&mut buf)).unwrap() {
                0 => return (all, stream),
                count => all.extend_from_slice(&buf[..count]),
            }
        }
    }

    #[test]
    fn four_records_in_steps_of_4_kib_are_three_reads() {
        let source = Source { left: 2 * AHEAD, most: usize::MAX, next: 0, asked: 0 };
        let (all, stream) = read_all(source, 4 * 1024);
        assert_eq!((all.len(), stream.inner.asked), (2 * AHEAD, 3), "the third finds the end");
        assert_eq!(stream.kept.bytes.capacity(), 0, "a connection that waits keeps no buffer");
    }

    proptest! {
        #[test]
        fn every_byte_comes_once_and_in_order(left in 0..200_000usize, most in 1..100_000usize, step in 1..70_000usize) {
            let (all, _) = read_all(Source { left, most, next: 0, asked: 0 }, step);
            let expected: Vec<u8> = (0..=255u8).cycle().take(left).collect();
            prop_assert!(all == expected);
        }
    }
}
