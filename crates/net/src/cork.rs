//! Lets the frames of many HTTP/2 streams leave together.
//!
//! h2 flushes after each DATA frame of 256 bytes or more, so every answer costs a TLS record and a system call of its own
//! although the next is ready. Here its writes are held while its connection is polled, and [`Corked::poll`] sends them
//! when that is over: nothing waits for longer than the poll in which it was written.
//!
//! INVARIANT: at most [`HOLD`] bytes are held; what is larger goes straight through, behind what was held.
//! INVARIANT: a failure to send reaches h2 with its next write or flush, for which it is woken.
//!
//! Not here: frames (h2), counting them (`guard::meter`).

use std::cell::RefCell;
use std::future::Future;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// The content of one TLS record (RFC 8446 §5.1).
const HOLD: usize = 16 * 1024;

/// The stream that h2 is given.
pub(crate) struct Cork<S>(Rc<RefCell<Held<S>>>);

/// The other hand on the stream: of whoever polls the connection.
pub(crate) struct Corked<S>(Rc<RefCell<Held<S>>>);

struct Held<S> {
    inner: S,
    bytes: Vec<u8>,
    /// How many of `bytes` have been sent.
    sent: usize,
    touched: Touched,
    failure: Option<io::Error>,
}

/// Whether the task that is polled has used the writing side.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Touched {
    No,
    Yes,
}

impl<S> Cork<S> {
    pub(crate) fn new(inner: S) -> (Self, Corked<S>) {
        let held = Rc::new(RefCell::new(Held {
            inner,
            bytes: Vec::new(),
            sent: 0,
            touched: Touched::No,
            failure: None,
        }));
        (Self(Rc::clone(&held)), Corked(held))
    }
}

impl<S> Clone for Corked<S> {
    fn clone(&self) -> Self {
        Self(Rc::clone(&self.0))
    }
}

impl<S: AsyncWrite + Unpin> Corked<S> {
    /// Polls a task that may write into the cork, and then sends what is held, if it did.
    ///
    /// A task that did not touch the stream must not be the one that is woken when the socket has room again: it may be
    /// over by then, and the one that writes would wait for ever.
    pub(crate) fn poll<C: Future>(&self, connection: Pin<&mut C>, cx: &mut Context<'_>) -> Poll<C::Output> {
        self.0.borrow_mut().touched = Touched::No;
        let polled = connection.poll(cx);
        self.0.borrow_mut().release(cx);
        polled
    }
}

impl<S: AsyncWrite + Unpin> Held<S> {
    fn release(&mut self, cx: &mut Context<'_>) {
        if self.touched == Touched::No || self.failure.is_some() || self.bytes.is_empty() {
            return;
        }
        if let Poll::Ready(Err(failure)) = self.poll_release(cx) {
            self.failure = Some(failure);
            cx.waker().wake_by_ref();
        }
    }

    fn poll_release(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_drain(cx))?;
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    /// Sends what is held; idle connections keep no buffer.
    fn poll_drain(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while let Some(left) = self.bytes.get(self.sent..).filter(|left| !left.is_empty()) {
            match ready!(Pin::new(&mut self.inner).poll_write(cx, left))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                count => self.sent = self.sent.saturating_add(count),
            }
        }
        (self.bytes, self.sent) = (Vec::new(), 0);
        Poll::Ready(Ok(()))
    }

    /// `Ready` when `bytes` more may be held, or must go through since they are too many to be held at all.
    fn poll_room(&mut self, cx: &mut Context<'_>, bytes: usize) -> Poll<io::Result<Room>> {
        self.failed()?;
        if self.bytes.len().saturating_add(bytes) > HOLD {
            ready!(self.poll_drain(cx))?;
        }
        if bytes > HOLD {
            return Poll::Ready(Ok(Room::Through));
        }
        if self.bytes.capacity() == 0 {
            self.bytes.reserve_exact(HOLD);
        }
        Poll::Ready(Ok(Room::Held))
    }

    fn failed(&mut self) -> io::Result<()> {
        self.failure.take().map_or(Ok(()), Err)
    }
}

/// Where a write goes.
enum Room {
    Held,
    Through,
}

impl<S: AsyncRead + Unpin> AsyncRead for Cork<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0.borrow_mut().inner).poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Cork<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let mut held = self.0.borrow_mut();
        held.touched = Touched::Yes;
        let total = slices.iter().map(|slice| slice.len()).sum();
        match ready!(held.poll_room(cx, total))? {
            Room::Through => Pin::new(&mut held.inner).poll_write_vectored(cx, slices),
            Room::Held => {
                slices.iter().for_each(|slice| held.bytes.extend_from_slice(slice));
                Poll::Ready(Ok(total))
            }
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    /// What is held leaves when the poll is over.
    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut held = self.0.borrow_mut();
        held.touched = Touched::Yes;
        held.failed()?;
        // What went straight through may still be on its way.
        if held.bytes.is_empty() { Pin::new(&mut held.inner).poll_flush(cx) } else { Poll::Ready(Ok(())) }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut held = self.0.borrow_mut();
        held.failed()?;
        ready!(held.poll_drain(cx))?;
        Pin::new(&mut held.inner).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use proptest::prelude::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;

    /// Keeps each write by itself, or refuses them all.
    #[derive(Default)]
    struct Sink {
        writes: Vec<Vec<u8>>,
        broken: bool,
    }

    impl AsyncWrite for Sink {
        fn poll_write(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            bytes: &[u8],
        ) -> Poll<io::Result<usize>> {
            if self.broken {
                return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
            }
            self.writes.push(bytes.to_vec());
            Poll::Ready(Ok(bytes.len()))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    async fn corked(sink: Sink, connection: impl AsyncFnOnce(&mut Cork<Sink>)) -> Corked<Sink> {
        let (mut cork, corked) = Cork::new(sink);
        let mut connection = Box::pin(connection(&mut cork));
        poll_fn(|cx| corked.poll(connection.as_mut(), cx)).await;
        drop(connection);
        corked
    }

    /// A task with a waker that says whether it was woken.
    struct Watched<F> {
        corked: Corked<tokio::io::DuplexStream>,
        future: Pin<Box<F>>,
        flag: std::sync::Arc<Flag>,
    }

    #[derive(Default)]
    struct Flag(std::sync::atomic::AtomicBool);

    impl std::task::Wake for Flag {
        fn wake(self: std::sync::Arc<Self>) {
            self.0.store(true, std::sync::atomic::Ordering::Relaxed);
        }
    }

    fn watched<F: Future>(corked: &Corked<tokio::io::DuplexStream>, future: F) -> Watched<F> {
        Watched { corked: corked.clone(), future: Box::pin(future), flag: std::sync::Arc::default() }
    }

    impl<F: Future> Watched<F> {
        fn poll(&mut self) -> Poll<F::Output> {
            let waker = std::sync::Arc::clone(&self.flag).into();
            self.corked.poll(self.future.as_mut(), &mut Context::from_waker(&waker))
        }

        fn woken(&self) -> bool {
            self.flag.0.load(std::sync::atomic::Ordering::Relaxed)
        }
    }

    fn lengths(corked: &Corked<Sink>) -> Vec<usize> {
        corked.0.borrow().inner.writes.iter().map(Vec::len).collect()
    }

    #[tokio::test]
    async fn what_one_poll_writes_leaves_as_one_write() {
        let corked = corked(Sink::default(), async |cork| {
            for _ in 0..3 {
                cork.write_all(&[7; 1_000]).await.unwrap();
                cork.flush().await.unwrap();
            }
        });
        let corked = corked.await;
        assert_eq!(lengths(&corked), [3_000]);
        assert_eq!(corked.0.borrow().bytes.capacity(), 0, "a connection at rest keeps no buffer");
    }

    #[tokio::test]
    async fn what_is_too_large_to_be_held_goes_behind_what_was() {
        let corked = corked(Sink::default(), async |cork| {
            cork.write_all(&[1; 10]).await.unwrap();
            cork.write_all(&[2; HOLD + 1]).await.unwrap();
            cork.write_all(&[3; HOLD]).await.unwrap();
            cork.write_all(&[4; 1]).await.unwrap();
        });
        assert_eq!(lengths(&corked.await), [10, HOLD + 1, HOLD, 1]);
    }

    #[tokio::test]
    async fn a_failure_to_send_reaches_the_next_write() {
        let sink = Sink { broken: true, ..Sink::default() };
        let mut polls = 0;
        let (mut cork, corked) = Cork::new(sink);
        let mut connection = std::pin::pin!(poll_fn(|cx| {
            polls += 1;
            // The first write is taken; the wake-up that the failure gives leads to the second.
            match Pin::new(&mut cork).poll_write(cx, b"x") {
                Poll::Ready(Err(failed)) => Poll::Ready(failed.kind()),
                _ => Poll::Pending,
            }
        }));
        let kind = poll_fn(|cx| corked.poll(connection.as_mut(), cx)).await;
        assert_eq!(kind, io::ErrorKind::BrokenPipe);
        assert_eq!(polls, 2);
    }

    #[tokio::test]
    async fn the_task_that_writes_is_woken_and_not_one_that_came_by() {
        let (near, mut far) = duplex(8);
        let (mut cork, corked) = Cork::new(near);
        let writes = Rc::new(std::cell::Cell::new(0));
        let counted = Rc::clone(&writes);
        let mut writer = Box::pin(poll_fn(move |cx| {
            counted.set(counted.get() + 1);
            match counted.get() {
                1 => Pin::new(&mut cork).poll_write(cx, &[7; 32]).map(drop),
                _ => Pin::new(&mut cork).poll_flush(cx).map(drop),
            }
        }));
        let mut task = watched(&corked, async move { writer.as_mut().await });
        assert!(task.poll().is_ready(), "32 bytes are held, of which 8 found room");
        let mut other = watched(&corked, std::future::pending::<()>());
        assert!(other.poll().is_pending());
        far.read_exact(&mut [0; 8]).await.unwrap();
        assert!(task.woken() && !other.woken());
    }

    proptest! {
        #[test]
        fn every_byte_arrives_once_and_in_order(writes in prop::collection::vec(0..40_000usize, 1..20), pipe in 1..20_000usize) {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let sent: Vec<u8> = (0..=250u8).cycle().take(writes.iter().sum()).collect();
            let got = runtime.block_on(async {
                let (near, mut far) = duplex(pipe);
                let (mut cork, corked) = Cork::new(near);
                let mut left = sent.as_slice();
                let connection = async {
                    for count in writes {
                        let (now, later) = left.split_at(count);
                        cork.write_all(now).await.unwrap();
                        cork.flush().await.unwrap();
                        left = later;
                    }
                    cork.shutdown().await.unwrap();
                };
                let mut connection = Box::pin(connection);
                let mut got = Vec::new();
                let (_, read) = tokio::join!(poll_fn(|cx| corked.poll(connection.as_mut(), cx)), far.read_to_end(&mut got));
                read.unwrap();
                got
            });
            prop_assert!(got == sent);
        }
    }
}
