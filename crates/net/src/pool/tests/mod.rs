//! The pool against peers in this process: scripted ones on raw sockets, and hyper's and h2's servers.

mod http1;
mod http2;
mod secure;

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Empty, Full};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::tls::testing::clock;

type TestBody = UnsyncBoxBody<Bytes, io::Error>;
type TestPool = Pool<TestBody>;

const LIMITS: Timeouts = Timeouts {
    connect: Duration::from_secs(5),
    answer_head: Duration::from_secs(5),
    body_idle: None,
    ends: None,
};

/// Runs a test as a core runs: one thread, local tasks.
fn on_a_core(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    tokio::task::LocalSet::new().block_on(&runtime, test);
}

fn pool() -> TestPool {
    pool_with(|_| {})
}

fn pool_with(change: impl FnOnce(&mut PoolSettings)) -> TestPool {
    let mut settings = PoolSettings::default();
    change(&mut settings);
    Pool::new(settings, clock())
}

fn empty() -> TestBody {
    Empty::new().map_err(|never| match never {}).boxed_unsync()
}

fn full(text: &str) -> TestBody {
    Full::new(Bytes::copy_from_slice(text.as_bytes())).map_err(|never| match never {}).boxed_unsync()
}

fn get(path: &str) -> Request<TestBody> {
    Request::get(path).header("host", "a.example").body(empty()).unwrap()
}

fn post(body: TestBody) -> Request<TestBody> {
    Request::post("/").header("host", "a.example").body(body).unwrap()
}

/// A body that gives its first piece and then nothing.
fn endless(first: &'static str) -> TestBody {
    struct Endless(Option<&'static str>);
    impl Body for Endless {
        type Data = Bytes;
        type Error = io::Error;
        fn poll_frame(
            mut self: std::pin::Pin<&mut Self>,
            _: &mut std::task::Context<'_>,
        ) -> std::task::Poll<Option<Result<http_body::Frame<Bytes>, io::Error>>> {
            match self.0.take() {
                Some(first) => std::task::Poll::Ready(Some(Ok(http_body::Frame::data(Bytes::from_static(
                    first.as_bytes(),
                ))))),
                None => std::task::Poll::Pending,
            }
        }
    }
    Endless(Some(first)).boxed_unsync()
}

/// A body that breaks at once.
fn broken() -> TestBody {
    struct Broken;
    impl Body for Broken {
        type Data = Bytes;
        type Error = io::Error;
        fn poll_frame(
            self: std::pin::Pin<&mut Self>,
            _: &mut std::task::Context<'_>,
        ) -> std::task::Poll<Option<Result<http_body::Frame<Bytes>, io::Error>>> {
            std::task::Poll::Ready(Some(Err(io::Error::other("the caller is gone"))))
        }
    }
    Broken.boxed_unsync()
}

/// Lets this runtime see everything that has happened on its sockets.
async fn io_turn() {
    let (mut near, mut far) = tokio::net::UnixStream::pair().unwrap();
    near.write_all(b"!").await.unwrap();
    far.read_u8().await.unwrap();
}

async fn listen() -> (TcpListener, Target) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let target = plain(listener.local_addr().unwrap(), Protocol::Http1);
    (listener, target)
}

fn plain(at: SocketAddr, protocol: Protocol) -> Target {
    Target::plaintext(Address::Tcp(at), protocol)
}

/// Reads one request head; `None` at the end of the connection.
async fn head(stream: &mut (impl AsyncRead + Unpin)) -> Option<String> {
    let mut got = Vec::new();
    while !got.ends_with(b"\r\n\r\n") {
        got.push(stream.read_u8().await.ok()?);
    }
    Some(String::from_utf8(got).unwrap())
}

/// A peer that gives each connection the answers of one script, one after each request, then waits for the end.
/// Yields how many requests each connection brought.
async fn scripted(listener: TcpListener, scripts: Vec<Vec<&'static str>>) -> Vec<usize> {
    let mut seen = Vec::new();
    for script in scripts {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut requests = 0;
        for answer in script {
            if head(&mut stream).await.is_none() {
                break;
            }
            requests += 1;
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
        seen.push(requests);
        tokio::task::spawn_local(async move { wait_for_end(&mut stream).await });
    }
    seen
}

/// Reads to the end, whichever way it comes.
async fn wait_for_end(stream: &mut TcpStream) -> Vec<u8> {
    let mut rest = Vec::new();
    let _ = stream.read_to_end(&mut rest).await;
    rest
}

async fn text(answer: Response<AnswerBody<TestBody>>) -> String {
    String::from_utf8(answer.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap()
}

fn word(error: &SendError<TestBody>) -> &'static str {
    match error {
        SendError::Connect { .. } => "connect",
        SendError::Unused { .. } => "unused",
        SendError::Refused { head: Some(_) } => "refused-with-head",
        SendError::Refused { head: None } => "refused",
        SendError::Sent { .. } => "sent",
        SendError::Body { .. } => "body",
        SendError::Timeout => "timeout",
        SendError::Malformed(fault) => fault.class(),
    }
}

fn shared_clock() -> Arc<dyn Clock> {
    clock()
}
