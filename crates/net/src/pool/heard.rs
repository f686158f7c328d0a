//! Hearing an upstream before hyper says so.
//!
//! hyper tells nobody when an HTTP/2 peer's settings arrive. They are the first thing that it sends (RFC 9113 §3.4), so
//! whoever waits for them looks again whenever bytes came.

use std::cell::Cell;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::stream::Stream;
use crate::guard::Meter;

/// Who is woken by the next bytes, once.
pub(super) type Listener = Rc<Cell<Option<Waker>>>;

/// A stream that says when the upstream is heard, since hyper does not say when its settings arrive.
pub(super) struct Heard {
    inner: Meter<Stream>,
    listener: Listener,
}

impl Heard {
    pub(super) fn new(inner: Meter<Stream>, listener: Listener) -> Self {
        Self { inner, listener }
    }
}

impl AsyncRead for Heard {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let read = Pin::new(&mut self.inner).poll_read(cx, buf);
        // Only bytes take the listener: one that is taken by a read that waits would never be woken.
        if read.is_ready()
            && let Some(listener) = self.listener.take()
        {
            listener.wake();
        }
        read
    }
}

impl AsyncWrite for Heard {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
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
