//! The service behind every proxy: answers any `GET` with the same 1 KiB, plain or with mutual TLS.
//!
//! It reads only as much HTTP as that takes, so that the core it shares with the load generator is not the limit.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread;

use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio_rustls::TlsAcceptor;

use crate::Outcome;
use crate::process;

/// Bytes of each answer's body.
pub(crate) const BODY: usize = 1_024;

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

async fn serve(mut io: impl AsyncRead + AsyncWrite + Unpin) -> std::io::Result<()> {
    let answer = answer();
    let mut pending = Vec::with_capacity(8 * 1024);
    loop {
        if io.read_buf(&mut pending).await? == 0 {
            return Ok(());
        }
        while let Some(end) = pending.windows(4).position(|w| w == b"\r\n\r\n") {
            pending.drain(..end + 4);
            io.write_all(&answer).await?;
        }
        io.flush().await?;
    }
}

fn answer() -> Vec<u8> {
    let mut answer =
        format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {BODY}\r\n\r\n")
            .into_bytes();
    answer.extend(b"{\"goods\":\"");
    let body_so_far = 10;
    answer.resize(answer.len() + BODY - body_so_far - 2, b'x');
    answer.extend(b"\"}");
    answer
}

#[cfg(test)]
mod tests {
    use super::*;
    use portcullis_testkit::RawConn;

    #[test]
    fn it_answers_every_request_of_a_connection() {
        let mut conn = RawConn::tcp(start(None).unwrap());
        for _ in 0..3 {
            let answer = conn.exchange("GET / HTTP/1.1\r\nhost: x\r\n\r\n");
            assert_eq!((answer.status, answer.body.len()), (200, BODY));
            assert!(answer.json().is_object());
        }
    }
}
