//! Plain HTTP/1.1 through the product's own head guard, hyper and upstream pool, and through nothing else.
//!
//! It exists to be compared with HAProxy, nginx and a relay. The product cannot be told to do this: it loads nothing
//! without TLS and authentication. So this is a program of the workshop, on one core, with one fixed upstream.
//!
//! INVARIANT: it is no part of what is shipped: a binary of the bench's own crate, which no room may know.
//!
//! Not here: TLS, identify, authorise, limits, contracts, the record.
#![expect(clippy::print_stderr, reason = "a tool for a terminal")]

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::process::ExitCode;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONNECTION, HOST, HeaderMap, TRAILER, TRANSFER_ENCODING, UPGRADE};
use http::{Request, Response, StatusCode};
use http_body::{Body, Frame, SizeHint};
use http_body_util::{Either, Empty};
use portcullis_core::SystemClock;
use portcullis_net::guard::{Downstream, DownstreamHandle, Limits, Timeouts};
use portcullis_net::listen::{Drain, DrainSwitch};
use portcullis_net::pool::{Address, AnswerBody, Pool, PoolSettings, Target, Timeouts as Patience};
use portcullis_net::{Incoming, Protocol, serve};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::LocalSet;

#[global_allocator]
static ALLOCATOR: portcullis_allocator::Allocator = portcullis_allocator::ALLOCATOR;

const PATIENCE: Patience = Patience {
    connect: Duration::from_secs(1),
    answer_head: Duration::from_secs(50),
    body_idle: None,
    ends: None,
};

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let outcome = match words.as_slice() {
        [listen, origin] => run(listen, origin),
        _ => Err("usage: portcullis-bench-plain LISTEN ORIGIN".to_owned()),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(fault) => {
            eprintln!("{fault}");
            ExitCode::FAILURE
        }
    }
}

/// What all connections share.
struct Proxy {
    pool: Pool<Incoming>,
    target: Target,
    authority: http::HeaderValue,
    limits: Limits,
}

/// Proxies until it is killed.
fn run(listen: &str, origin: &str) -> Result<(), String> {
    let to: SocketAddr = origin.parse().map_err(|e| format!("origin `{origin}`: {e}"))?;
    let proxy = Rc::new(Proxy {
        pool: Pool::new(
            PoolSettings { idle: 256, ..PoolSettings::default() },
            Arc::new(SystemClock::default()),
        ),
        target: Target::plaintext(Address::Tcp(to), Protocol::Http1),
        authority: origin.parse().map_err(|_| format!("origin `{origin}` is no host"))?,
        limits: Limits::default(),
    });
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|e| e.to_string())?;
    LocalSet::new().block_on(&runtime, accept(proxy, listen))
}

async fn accept(proxy: Rc<Proxy>, listen: &str) -> Result<(), String> {
    let listener = TcpListener::bind(listen).await.map_err(|e| format!("{listen}: {e}"))?;
    // Nothing ever drains: the process is killed.
    let (_switch, drain) = DrainSwitch::new();
    loop {
        let (tcp, _) = listener.accept().await.map_err(|e| e.to_string())?;
        tcp.set_nodelay(true).map_err(|e| e.to_string())?;
        tokio::task::spawn_local(connection(Rc::clone(&proxy), tcp, drain.clone()));
    }
}

async fn connection(proxy: Rc<Proxy>, tcp: TcpStream, drain: Drain) {
    let (guarded, handle) = Downstream::new(tcp, proxy.limits.clone(), Timeouts::default());
    let handle = Rc::new(handle);
    let service = |request| {
        let (proxy, handle) = (Rc::clone(&proxy), Rc::clone(&handle));
        async move { Ok::<_, Infallible>(exchange(&proxy, handle, request).await) }
    };
    // A connection that broke is over; there is nobody to tell.
    let _ = serve::serve_http1(guarded, service, &proxy.limits, drain).await;
}

async fn exchange(
    proxy: &Proxy,
    guard: Rc<DownstreamHandle>,
    request: Request<Incoming>,
) -> Response<Answer> {
    let answer = passed(proxy, &guard, request).await;
    answer.map(|body| Answer { body, guard })
}

async fn passed(proxy: &Proxy, guard: &DownstreamHandle, mut request: Request<Incoming>) -> Response<Inner> {
    if guard.next_request().is_err() {
        return refusal(StatusCode::BAD_REQUEST);
    }
    strip(request.headers_mut());
    request.headers_mut().insert(HOST, proxy.authority.clone());
    match proxy.pool.send(&proxy.target, request, &PATIENCE).await {
        Ok(mut response) => {
            strip(response.headers_mut());
            response.map(Either::Left)
        }
        Err(_) => refusal(StatusCode::BAD_GATEWAY),
    }
}

type Inner = Either<AnswerBody<Incoming>, Empty<Bytes>>;

/// The body of an answer; the guard is told when it is over.
struct Answer {
    body: Inner,
    guard: Rc<DownstreamHandle>,
}

impl Drop for Answer {
    fn drop(&mut self) {
        self.guard.answered();
    }
}

impl Body for Answer {
    type Data = Bytes;
    type Error = <Inner as Body>::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// What ends at this hop (RFC 9110 §7.6.1).
fn strip(headers: &mut HeaderMap) {
    for name in [CONNECTION, TRAILER, TRANSFER_ENCODING, UPGRADE] {
        headers.remove(name);
    }
}

fn refusal(status: StatusCode) -> Response<Inner> {
    let mut response = Response::new(Either::Right(Empty::new()));
    *response.status_mut() = status;
    response
}
