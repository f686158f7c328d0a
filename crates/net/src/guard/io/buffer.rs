//! Reading from the socket, and what came but cannot be used yet: empty, and without memory worth naming, while a connection
//! is idle.

use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, ReadBuf};

use crate::ready::KEPT;

/// How much is read from the socket at a time while framing.
pub(super) const SCRATCH: usize = 8 * 1024;

/// Reads at most [`SCRATCH`] bytes and hands them to `take`, without a buffer that outlives the call.
pub(super) fn read_some<S: AsyncRead + Unpin, T>(
    inner: &mut S,
    cx: &mut Context<'_>,
    take: impl FnOnce(&[u8]) -> T,
) -> Poll<io::Result<T>> {
    let mut scratch = [const { MaybeUninit::<u8>::uninit() }; SCRATCH];
    let mut buf = ReadBuf::uninit(&mut scratch);
    ready!(Pin::new(inner).poll_read(cx, &mut buf))?;
    Poll::Ready(Ok(take(buf.filled())))
}

/// Reads at most `limit` bytes straight into `buf`. Gives their number.
pub(super) fn read_direct<S: AsyncRead + Unpin>(
    inner: &mut S,
    cx: &mut Context<'_>,
    buf: &mut ReadBuf<'_>,
    limit: u64,
) -> Poll<io::Result<usize>> {
    let before = buf.filled().len();
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    if limit >= buf.remaining() {
        ready!(Pin::new(inner).poll_read(cx, buf))?;
        return Poll::Ready(Ok(buf.filled().len().saturating_sub(before)));
    }
    let mut front = ReadBuf::new(buf.initialize_unfilled_to(limit));
    ready!(Pin::new(inner).poll_read(cx, &mut front))?;
    let count = front.filled().len();
    buf.advance(count);
    Poll::Ready(Ok(count))
}

/// Runs `frame` over `rest` and `got` as one input, and keeps in `rest` what it left.
pub(super) fn frame_over<T>(rest: &mut Vec<u8>, got: &[u8], frame: impl FnOnce(&mut &[u8]) -> T) -> T {
    if rest.is_empty() {
        let mut input = got;
        let result = frame(&mut input);
        rest.extend_from_slice(input);
        return result;
    }
    rest.extend_from_slice(got);
    let mut input = rest.as_slice();
    let result = frame(&mut input);
    let left = input.len();
    rest.drain(..rest.len().saturating_sub(left));
    if rest.is_empty() && rest.capacity() > KEPT {
        *rest = Vec::new();
    }
    result
}
