//! The service behind every proxy: answers with 1 KiB, or as many bytes as [`ASKED`] says, plain or with mutual TLS.
//! A body that comes is read and dropped.
//!
//! It reads only as much HTTP as that takes, so that the core it shares with the load generator is not the limit.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread;

use memchr::memmem;
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio_rustls::TlsAcceptor;

use crate::Outcome;
use crate::load::h1::{field, number};
use crate::process;

/// The header in which a request may ask for another number of bytes.
pub(crate) const ASKED: &str = "x-bytes";

/// Bytes of an answer's body.
const BODY: usize = 1_024;
/// Written at a time.
const CHUNK: usize = 64 * 1024;

/// Starts it on core 0; it lives as long as this process.
pub(crate) fn start(tls: Option<Arc<ServerConfig>>) -> Outcome<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0").map_err(|e| e.to_string())?;
    listener.set_nonblocking(true).map_err(|e| e.to_string())?;
    let address = listener.local_addr().map_err(|e| e.to_string())?;
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|e| e.to_string())?;
    let serve = move || {
        process::stay_on_core(0);
        runtime.block_on(accept(listener, tls.map(TlsAcceptor::from)));
    };
    thread::Builder::new().name("origin".to_owned()).spawn(serve).map_err(|e| e.to_string())?;
    Ok(address)
}

async fn accept(listener: TcpListener, tls: Option<TlsAcceptor>) {
    let Ok(listener) = tokio::net::TcpListener::from_std(listener) else { return };
    loop {
        // Out of descriptors, or a client that left already: the next one may be good.
        let Ok((tcp, _)) = listener.accept().await else { continue };
        let _ = tcp.set_nodelay(true);
        let tls = tls.clone();
        tokio::spawn(async move {
            match tls {
                None => serve(tcp).await,
                Some(acceptor) => match acceptor.accept(tcp).await {
                    Ok(stream) => serve(stream).await,
                    Err(_) => Ok(()),
                },
            }
        });
    }
}

/// What stands in a request's head.
#[derive(Debug, PartialEq, Eq)]
struct Head {
    /// Bytes of body that follow.
    body: usize,
    /// Bytes of answer that are asked for.
    asked: usize,
    /// Sends `100 Continue` first.
    expects: bool,
}

async fn serve(mut io: impl AsyncRead + AsyncWrite + Unpin) -> std::io::Result<()> {
    let mut pending = Vec::with_capacity(CHUNK);
    let usual = answer_head(BODY, BODY);
    loop {
        while let Some(end) = memmem::find(&pending, b"\r\n\r\n") {
            let head = read_head(pending.get(..end + 2).unwrap_or_default());
            if head.expects {
                io.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").await?;
                io.flush().await?;
            }
            drop_body(&mut io, &mut pending, end + 4, head.body).await?;
            match head.asked {
                BODY => io.write_all(&usual).await?,
                other => answer(&mut io, other).await?,
            }
            io.flush().await?;
        }
        if io.read_buf(&mut pending).await? == 0 {
            return Ok(());
        }
    }
}

fn read_head(head: &[u8]) -> Head {
    let number = |name: &[u8]| field(head, name).and_then(number);
    Head {
        body: number(b"content-length").unwrap_or_default(),
        asked: number(ASKED.as_bytes()).unwrap_or(BODY),
        expects: field(head, b"expect").is_some(),
    }
}

/// Takes `length` bytes of body from behind the head, which ends at `end`, and both out of `pending`.
async fn drop_body(
    io: &mut (impl AsyncRead + Unpin),
    pending: &mut Vec<u8>,
    end: usize,
    length: usize,
) -> std::io::Result<()> {
    let mut left = end + length;
    loop {
        let here = pending.len().min(left);
        pending.drain(..here);
        left -= here;
        if left == 0 {
            return Ok(());
        }
        if io.read_buf(pending).await? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
    }
}

/// The head of an answer of `length` bytes, and the first `with` of them.
fn answer_head(length: usize, with: usize) -> Vec<u8> {
    let head = format!("HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: {length}\r\n\r\n");
    let mut out = head.into_bytes();
    out.resize(out.len() + with, b'x');
    out
}

async fn answer(io: &mut (impl AsyncWrite + Unpin), length: usize) -> std::io::Result<()> {
    let first = length.min(CHUNK);
    io.write_all(&answer_head(length, first)).await?;
    let chunk = vec![b'x'; CHUNK];
    let mut left = length - first;
    while left > 0 {
        let more = left.min(CHUNK);
        io.write_all(chunk.get(..more).unwrap_or_default()).await?;
        left -= more;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use portcullis_testkit::RawConn;

    #[test]
    fn it_answers_every_request_of_a_connection() {
        let mut conn = RawConn::tcp(start(None).unwrap());
        for (request, want) in [
            ("GET / HTTP/1.1\r\nhost: x\r\n\r\n", BODY),
            ("GET / HTTP/1.1\r\nhost: x\r\nx-bytes: 200000\r\n\r\n", 200_000),
            ("POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\n\r\nhello", BODY),
        ] {
            let answer = conn.exchange(request);
            assert_eq!((answer.status, answer.body.len()), (200, want), "{request}");
        }
    }
}
