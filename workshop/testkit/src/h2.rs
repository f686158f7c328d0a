//! A well-behaved HTTP/2 client, blocking: hyper's own, on a thread of its own.
//!
//! The connection goes on being read between calls, so PINGs are answered and a GOAWAY is seen.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http2::{SendRequest, handshake};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::runtime::Runtime;
use tokio::task::{JoinError, JoinHandle};

use crate::conn::PATIENCE;

/// One connection; as many streams as the peer allows.
pub struct H2Conn {
    runtime: Runtime,
    sender: SendRequest<Full<Bytes>>,
}

/// A whole answer.
#[derive(Clone, Debug)]
pub struct H2Answer {
    /// Status code.
    pub status: StatusCode,
    /// Header fields.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
    /// Trailer fields, such as `grpc-status`.
    pub trailers: HeaderMap,
}

impl H2Conn {
    /// HTTP/2 with prior knowledge, without TLS.
    ///
    /// # Errors
    /// What the connection said.
    pub fn tcp(to: SocketAddr) -> Result<Self, String> {
        let runtime = runtime();
        let sender = runtime.block_on(async {
            let tcp = TcpStream::connect(to).await.map_err(|e| e.to_string())?;
            shake(TokioIo::new(tcp)).await
        })?;
        Ok(Self { runtime, sender })
    }

    /// HTTP/2 over TLS; the configuration must offer `h2`.
    ///
    /// # Errors
    /// What the handshake said.
    pub fn tls(to: SocketAddr, name: &str, config: Arc<ClientConfig>) -> Result<Self, String> {
        let name = ServerName::try_from(name.to_owned()).map_err(|e| e.to_string())?;
        let runtime = runtime();
        let sender = runtime.block_on(async {
            let tcp = TcpStream::connect(to).await.map_err(|e| e.to_string())?;
            tcp.set_nodelay(true).map_err(|e| e.to_string())?;
            let tls = tokio_rustls::TlsConnector::from(config).connect(name, tcp).await;
            shake(TokioIo::new(tls.map_err(|e| e.to_string())?)).await
        })?;
        Ok(Self { runtime, sender })
    }

    /// One request and its whole answer.
    ///
    /// # Errors
    /// The stream or the connection failed, or [`PATIENCE`] ran out.
    pub fn request(&self, request: Request<Bytes>) -> Result<H2Answer, String> {
        self.runtime.block_on(exchange(self.sender.clone(), request, PATIENCE))
    }

    /// All of them at once, answers in the order of the requests.
    pub fn request_all(&self, requests: Vec<Request<Bytes>>) -> Vec<Result<H2Answer, String>> {
        let spawn = |request| self.runtime.spawn(exchange(self.sender.clone(), request, PATIENCE));
        let tasks: Vec<JoinHandle<Result<H2Answer, String>>> = requests.into_iter().map(spawn).collect();
        let join = |task: JoinHandle<_>| {
            self.runtime.block_on(task).unwrap_or_else(|e: JoinError| Err(e.to_string()))
        };
        tasks.into_iter().map(join).collect()
    }

    /// Has the peer closed the connection or sent a GOAWAY?
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.sender.is_closed()
    }
}

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime")
}

async fn shake<I>(io: I) -> Result<SendRequest<Full<Bytes>>, String>
where
    I: hyper::rt::Read + hyper::rt::Write + Unpin + Send + 'static,
{
    let (sender, connection) = handshake(TokioExecutor::new(), io).await.map_err(|e| e.to_string())?;
    tokio::spawn(connection);
    Ok(sender)
}

async fn exchange(
    mut sender: SendRequest<Full<Bytes>>,
    request: Request<Bytes>,
    patience: Duration,
) -> Result<H2Answer, String> {
    let work = async {
        sender.ready().await.map_err(|e| e.to_string())?;
        let answer = sender.send_request(request.map(Full::new)).await.map_err(|e| chain(&e))?;
        let (head, body) = answer.into_parts();
        let whole = body.collect().await.map_err(|e| chain(&e))?;
        let trailers = whole.trailers().cloned().unwrap_or_default();
        Ok(H2Answer { status: head.status, headers: head.headers, body: whole.to_bytes(), trailers })
    };
    tokio::time::timeout(patience, work).await.unwrap_or_else(|_| Err("no answer in time".to_owned()))
}

/// An error with its causes: the reset code is in the innermost one.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text = format!("{text}: {inner}");
        cause = inner.source();
    }
    text
}
