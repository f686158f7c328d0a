//! WebSockets: asking the upstream, and the tunnel after its 101.
//!
//! INVARIANT: bytes that a caller sends behind its upgrade request are held by the guard until the upstream has said
//! 101 (threat A3); a connection that was upgraded is never used for anything else.
//! INVARIANT: a tunnel is an open stream: it ends with its credential, its age, its idle time or its permit.
//!
//! Not here: frames of the WebSocket protocol, which pass as bytes.
//!
//! Sources: RFC 6455 §4; RFC 9110 §7.8; RFC 8441 (not offered over HTTP/2).

use std::cell::Cell;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::Method;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use portcullis_core::{Reason, Refusal};
use portcullis_evidence::request::Close;
use portcullis_snapshot::plan::WebSocket;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf};

use crate::answer::AnswerBody;
use crate::authorise::Facts;
use crate::frame::Framed;
use crate::streams::{OpenStream, Pulse};

/// A request asked to become a WebSocket, and its route permits that.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Upgrade;

/// A tunnel that begins when the caller's half is free of HTTP.
pub(crate) struct Pending {
    /// What the decision rested on.
    pub facts: Rc<Facts>,
    /// The answer's body, which holds the upstream's half and the record.
    pub body: AnswerBody,
}

const WEBSOCKET: HeaderValue = HeaderValue::from_static("websocket");

/// Takes the upgrade out of a request that asks for one.
pub(crate) fn asked(framed: &mut Framed, rule: WebSocket) -> Result<Option<Upgrade>, Refusal> {
    let Some(wanted) = framed.parts.headers.remove(header::UPGRADE) else { return Ok(None) };
    let websocket =
        framed.parts.method == Method::GET && wanted.as_bytes().eq_ignore_ascii_case(b"websocket");
    if !websocket || rule == WebSocket::Refused {
        return Err(Refusal::new(Reason::UpgradeRefused, "the route does not become this protocol"));
    }
    Ok(Some(Upgrade))
}

/// Asks the upstream for the upgrade.
pub(crate) fn ask(fields: &mut HeaderMap) {
    // A 101 has no trailers, and `Connection` names the upgrade alone.
    fields.remove(header::TE);
    fields.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    fields.insert(header::UPGRADE, WEBSOCKET);
}

/// Keeps of a 101 what makes it one; everything else was stripped as hop-by-hop.
pub(crate) fn confirm(answer: &mut HeaderMap) {
    ask(answer);
    answer.remove(HeaderName::from_static("content-length"));
}

/// Bytes that passed through a tunnel, and why it ended.
#[derive(Clone, Copy, Debug)]
struct Passed {
    /// From the caller.
    up: u64,
    /// To the caller.
    down: u64,
    /// Why it ended.
    close: Close,
}

impl Pending {
    /// Passes bytes both ways until the tunnel ends, then closes the record.
    pub(crate) async fn run<S>(self, caller: S, leading: Bytes)
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let Some((upstream, mut record, keeps)) = self.body.into_tunnel() else { return };
        record.streams();
        let core = Rc::clone(record.core());
        let stream = core.streams.open(Rc::clone(&self.facts), core.bounds(&self.facts));
        let passed = tunnel(Leading { leading, stream: caller }, *upstream, stream).await;
        record.passes(Rc::new(crate::body::Passed::of(passed.up)));
        record.sent(passed.down);
        record.end(passed.close);
        drop(keeps);
    }
}

/// A stream whose first bytes were read ahead.
struct Leading<S> {
    leading: Bytes,
    stream: S,
}

impl<S: AsyncRead + Unpin> AsyncRead for Leading<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        room: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.leading.is_empty() {
            return Pin::new(&mut self.stream).poll_read(cx, room);
        }
        let count = self.leading.len().min(room.remaining());
        room.put_slice(&self.leading.split_to(count));
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Leading<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// Passes bytes both ways until both sides have ended or the stream must.
async fn tunnel<C, U>(caller: C, upstream: U, mut stream: OpenStream) -> Passed
where
    C: AsyncRead + AsyncWrite + Unpin,
    U: AsyncRead + AsyncWrite + Unpin,
{
    let (caller_out, caller_in) = tokio::io::split(caller);
    let (upstream_out, upstream_in) = tokio::io::split(upstream);
    let (up, down) = (Cell::new(0), Cell::new(0));
    let pulse = stream.pulse();
    let both = async {
        tokio::join!(
            pump(caller_out, upstream_in, &up, &pulse),
            pump(upstream_out, caller_in, &down, &pulse)
        );
    };
    let close = tokio::select! {
        close = stream.ended() => close,
        () = both => Close::Complete,
    };
    Passed { up: up.get(), down: down.get(), close }
}

const CHUNK: usize = 16 * 1024;

/// One direction, until its end. What was read is written before anything else is read: back-pressure.
async fn pump<R, W>(mut from: R, mut to: W, count: &Cell<u64>, pulse: &Pulse)
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    let mut room = vec![0_u8; CHUNK];
    while let Ok(read @ 1..) = from.read(&mut room).await {
        let chunk = room.get(..read).unwrap_or_default();
        if to.write_all(chunk).await.is_err() || to.flush().await.is_err() {
            break;
        }
        count.set(count.get() + chunk.len() as u64);
        pulse.beat();
    }
    let _ = to.shutdown().await;
}
