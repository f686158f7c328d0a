//! An ordinary service behind the gateway: hyper, HTTP/1.1 and HTTP/2, plain or TLS.
//!
//! It says back what it saw as JSON, remembers it for the test, and can be told to be slow, to fail, to stream or
//! to send trailers, for all requests ([`Upstream::behave`]) or for one (header `x-upstream: status=503; delay=20`).
//! A request for a WebSocket is accepted and echoed.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::net::{SocketAddr, TcpListener};
use std::pin::Pin;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, header};
use http_body_util::BodyExt as _;
use hyper::body::{Body, Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::ServerConfig;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::time::Sleep;

use crate::conn::PATIENCE;

/// What an [`Upstream`] does with a request.
#[derive(Clone, Debug)]
pub struct Behaviour {
    /// Status of the answer.
    pub status: u16,
    /// Wait before the head.
    pub delay: Duration,
    /// What the body is.
    pub reply: Reply,
    /// More header fields.
    pub headers: Vec<(String, String)>,
    /// Trailer fields.
    pub trailers: Vec<(String, String)>,
}

/// The body of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// What was seen, as JSON: `method`, `target`, `version`, `headers`, `body_bytes`.
    Describe,
    /// The request's body.
    Echo,
    /// This many bytes.
    Bytes(usize),
    /// Exactly this text.
    Text(String),
    /// That many server-sent events with a pause before each.
    Events(usize, Duration),
    /// The same under a media type that does not say that it lasts.
    Drips(usize, Duration),
}

impl Default for Behaviour {
    fn default() -> Self {
        let none = Vec::new;
        Self { status: 200, delay: Duration::ZERO, reply: Reply::Describe, headers: none(), trailers: none() }
    }
}

/// A request as it reached the upstream.
#[derive(Clone, Debug)]
pub struct Seen {
    /// Method.
    pub method: String,
    /// Path and query, as they came.
    pub target: String,
    /// Header fields.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
    /// Trailer fields.
    pub trailers: HeaderMap,
}

impl Seen {
    /// The first field of that name as text.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|v| v.to_str().ok())
    }
}

#[derive(Default)]
struct Shared {
    behaviour: Mutex<Behaviour>,
    seen: Mutex<Vec<Seen>>,
    /// Told of each request that came.
    came: Condvar,
}

/// The server; it stops when this is dropped.
pub struct Upstream {
    address: SocketAddr,
    shared: Arc<Shared>,
    _stop: oneshot::Sender<()>,
}

impl Upstream {
    /// Plain HTTP/1.1 and HTTP/2 (prior knowledge) on 127.0.0.1.
    #[must_use]
    pub fn start() -> Self {
        Self::listen(None)
    }

    /// The same over TLS; which protocol is spoken follows ALPN.
    #[must_use]
    pub fn start_tls(config: Arc<ServerConfig>) -> Self {
        Self::listen(Some(config))
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// How requests are answered from now on.
    pub fn behave(&self, behaviour: Behaviour) {
        *lock(&self.shared.behaviour) = behaviour;
    }

    /// The requests that came, oldest first.
    #[must_use]
    pub fn seen(&self) -> Vec<Seen> {
        lock(&self.shared.seen).clone()
    }

    /// Waits until that many requests have come.
    ///
    /// # Panics
    /// If fewer have come within [`PATIENCE`].
    pub fn wait_for(&self, count: usize) {
        let few = |seen: &mut Vec<Seen>| seen.len() < count;
        let seen = self.shared.came.wait_timeout_while(lock(&self.shared.seen), PATIENCE, few);
        let seen = seen.unwrap_or_else(PoisonError::into_inner).0;
        assert!(seen.len() >= count, "only {} of {count} requests came", seen.len());
    }

    /// Forgets what came so far and gives it back.
    #[must_use]
    pub fn take_seen(&self) -> Vec<Seen> {
        std::mem::take(&mut lock(&self.shared.seen))
    }

    fn listen(tls: Option<Arc<ServerConfig>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has free ports");
        listener.set_nonblocking(true).expect("a socket can be non-blocking");
        let address = listener.local_addr().expect("a bound socket has an address");
        let shared: Arc<Shared> = Arc::default();
        let (stop, stopped) = oneshot::channel();
        let served = Arc::clone(&shared);
        let run = move || {
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            // Dropping the runtime with the last line drops every connection.
            runtime.block_on(async {
                tokio::select! { _ = stopped => {}, () = accept(listener, tls, served) => {} }
            });
        };
        thread::Builder::new().name("upstream".to_owned()).spawn(run).expect("a thread");
        Self { address, shared, _stop: stop }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn accept(listener: TcpListener, tls: Option<Arc<ServerConfig>>, shared: Arc<Shared>) {
    let listener = tokio::net::TcpListener::from_std(listener).expect("inside a runtime");
    while let Ok((tcp, _)) = listener.accept().await {
        let _ = tcp.set_nodelay(true);
        tokio::spawn(connection(tcp, tls.clone(), Arc::clone(&shared)));
    }
}

async fn connection(tcp: TcpStream, tls: Option<Arc<ServerConfig>>, shared: Arc<Shared>) {
    let Some(config) = tls else {
        let mut start = [0; 4];
        let two = matches!(tcp.peek(&mut start).await, Ok(n) if start[..n].starts_with(b"PRI "));
        return serve(TokioIo::new(tcp), two, shared).await;
    };
    if let Ok(stream) = tokio_rustls::TlsAcceptor::from(config).accept(tcp).await {
        let two = stream.get_ref().1.alpn_protocol() == Some(b"h2");
        serve(TokioIo::new(stream), two, shared).await;
    }
}

async fn serve<I>(io: I, two: bool, shared: Arc<Shared>)
where
    I: hyper::rt::Read + hyper::rt::Write + Unpin + Send + 'static,
{
    let service = service_fn(move |request| {
        let shared = Arc::clone(&shared);
        async move { Ok::<_, Infallible>(answer(request, &shared).await) }
    });
    // How a connection ends is the client's business: the test looks at what it saw.
    if two {
        let _ = hyper::server::conn::http2::Builder::new(TokioExecutor::new())
            .serve_connection(io, service)
            .await;
    } else {
        let _ =
            hyper::server::conn::http1::Builder::new().serve_connection(io, service).with_upgrades().await;
    }
}

async fn answer(mut request: Request<Incoming>, shared: &Shared) -> Response<Script> {
    if let Some(key) = request.headers().get("sec-websocket-key").cloned() {
        remember(shared, &request, Bytes::new(), HeaderMap::new());
        let upgrade = hyper::upgrade::on(&mut request);
        tokio::spawn(async move {
            if let Ok(io) = upgrade.await {
                let _ = crate::websocket::echo(TokioIo::new(io)).await;
            }
        });
        return switching(key.to_str().unwrap_or_default());
    }
    let mut behaviour = lock(&shared.behaviour).clone();
    if let Some(asked) = request.headers().get("x-upstream").and_then(|v| v.to_str().ok()) {
        behaviour.adjust(asked);
    }
    let body = request.body_mut().collect().await;
    let (body, trailers) = match body {
        Ok(whole) => {
            let trailers = whole.trailers().cloned().unwrap_or_default();
            (whole.to_bytes(), trailers)
        }
        Err(_) => (Bytes::new(), HeaderMap::new()),
    };
    let described = describe(&request, body.len());
    remember(shared, &request, body.clone(), trailers);
    if !behaviour.delay.is_zero() {
        tokio::time::sleep(behaviour.delay).await;
    }
    behaviour.response(&described, body)
}

fn remember(shared: &Shared, request: &Request<Incoming>, body: Bytes, trailers: HeaderMap) {
    lock(&shared.seen).push(Seen {
        method: request.method().to_string(),
        target: target(request),
        headers: request.headers().clone(),
        body,
        trailers,
    });
    shared.came.notify_all();
}

fn target(request: &Request<Incoming>) -> String {
    request.uri().path_and_query().map_or_else(|| request.uri().to_string(), ToString::to_string)
}

fn describe(request: &Request<Incoming>, body_bytes: usize) -> Value {
    let text = |v: &HeaderValue| String::from_utf8_lossy(v.as_bytes()).into_owned();
    let headers: Vec<_> = request.headers().iter().map(|(n, v)| json!([n.as_str(), text(v)])).collect();
    json!({
        "method": request.method().as_str(),
        "target": target(request),
        "version": format!("{:?}", request.version()),
        "headers": headers,
        "body_bytes": body_bytes,
    })
}

fn switching(key: &str) -> Response<Script> {
    let mut response = Response::new(Script::default());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    let accept = HeaderValue::from_str(&crate::websocket::accept(key)).expect("base64 is visible ASCII");
    headers.insert(header::SEC_WEBSOCKET_ACCEPT, accept);
    response
}

impl Behaviour {
    /// Changes what `asked` names: `status=503; delay=20` (milliseconds)`; bytes=10; echo; events=3`.
    fn adjust(&mut self, asked: &str) {
        for item in asked.split(';').map(str::trim).filter(|i| !i.is_empty()) {
            let (key, value) = item.split_once('=').unwrap_or((item, "0"));
            let number: u32 =
                value.parse().unwrap_or_else(|_| panic!("x-upstream: not a number in {item:?}"));
            match key {
                "status" => self.status = u16::try_from(number).expect("a status"),
                "delay" => self.delay = Duration::from_millis(number.into()),
                "bytes" => self.reply = Reply::Bytes(number as usize),
                "echo" => self.reply = Reply::Echo,
                "events" => self.reply = Reply::Events(number as usize, Duration::from_millis(20)),
                _ => panic!("x-upstream: cannot {item:?}"),
            }
        }
    }

    fn response(self, described: &Value, body: Bytes) -> Response<Script> {
        let (kind, mut script) = match self.reply {
            Reply::Describe => ("application/json", Script::one(described.to_string())),
            Reply::Echo => ("application/octet-stream", Script::one(body)),
            Reply::Bytes(count) => ("application/octet-stream", Script::one(vec![b'x'; count])),
            Reply::Text(text) => ("text/plain", Script::one(text)),
            Reply::Events(count, pause) => ("text/event-stream", Script::events(count, pause)),
            Reply::Drips(count, pause) => ("application/x-ndjson", Script::events(count, pause)),
        };
        if !self.trailers.is_empty() {
            let fields: HeaderMap = self.trailers.iter().map(|(n, v)| field(n, v)).collect();
            script.frames.push_back((Duration::ZERO, Frame::trailers(fields)));
        }
        let mut response = Response::new(script);
        *response.status_mut() = StatusCode::from_u16(self.status).expect("a status");
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
        for (name, value) in &self.headers {
            let (name, value) = field(name, value);
            response.headers_mut().append(name, value);
        }
        response
    }
}

fn field(name: &str, value: &str) -> (http::HeaderName, HeaderValue) {
    (name.parse().expect("a field name"), HeaderValue::from_bytes(value.as_bytes()).expect("a field value"))
}

/// Frames to send, each after its pause.
#[derive(Default)]
struct Script {
    frames: VecDeque<(Duration, Frame<Bytes>)>,
    pause: Option<Pin<Box<Sleep>>>,
}

impl Script {
    fn one(bytes: impl Into<Bytes>) -> Self {
        Self { frames: VecDeque::from([(Duration::ZERO, Frame::data(bytes.into()))]), pause: None }
    }

    fn events(count: usize, pause: Duration) -> Self {
        let frame = |n| (pause, Frame::data(Bytes::from(format!("id: {n}\ndata: tick\n\n"))));
        Self { frames: (0..count).map(frame).collect(), pause: None }
    }
}

impl Body for Script {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let Some((pause, _)) = self.frames.front() else { return Poll::Ready(None) };
        let pause = *pause;
        if !pause.is_zero() {
            let sleep = self.pause.get_or_insert_with(|| Box::pin(tokio::time::sleep(pause)));
            ready!(sleep.as_mut().poll(cx));
            self.pause = None;
        }
        Poll::Ready(self.frames.pop_front().map(|(_, frame)| Ok(frame)))
    }

    fn is_end_stream(&self) -> bool {
        self.frames.is_empty()
    }

    fn size_hint(&self) -> hyper::body::SizeHint {
        let exact = match self.frames.iter().next() {
            None => Some(0),
            Some((_, only)) if self.frames.len() == 1 => only.data_ref().map(|d| d.len() as u64),
            Some(_) => None,
        };
        exact.map_or_else(hyper::body::SizeHint::default, hyper::body::SizeHint::with_exact)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ca::{ClientAuth, TestCa};
    use crate::{H2Conn, RawConn};

    fn get(path: &str) -> Request<Bytes> {
        Request::get(format!("https://localhost{path}")).body(Bytes::new()).unwrap()
    }

    #[test]
    fn it_says_what_it_saw_and_remembers_it() {
        let upstream = Upstream::start();
        let mut conn = RawConn::tcp(upstream.address());
        let answer = conn.exchange("POST /a?b=c HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\nhi");
        assert_eq!((answer.status, answer.json()["target"].as_str()), (200, Some("/a?b=c")));
        assert_eq!(upstream.seen()[0].body, "hi");
        let failed = conn.exchange("GET / HTTP/1.1\r\nhost: x\r\nx-upstream: status=503; bytes=5\r\n\r\n");
        assert_eq!((failed.status, failed.text().as_str()), (503, "xxxxx"));
    }

    #[test]
    fn http2_over_mutual_tls_with_trailers() {
        let ca = TestCa::root("root");
        let config = ca.server_config(&ca.server(&["localhost"]), ClientAuth::Required, &["h2"]);
        let upstream = Upstream::start_tls(config);
        let trailers = vec![("grpc-status".to_owned(), "0".to_owned())];
        upstream.behave(Behaviour { trailers, ..Behaviour::default() });
        let conn =
            H2Conn::tls(upstream.address(), "localhost", ca.client_config(Some(&ca.client("ada")), &["h2"]));
        let conn = conn.unwrap();
        let answers = conn.request_all(vec![get("/one"), get("/two")]);
        for answer in answers {
            let answer = answer.unwrap();
            assert_eq!(answer.trailers["grpc-status"], "0");
        }
        assert_eq!(upstream.take_seen().len(), 2);
        let stranger = H2Conn::tls(upstream.address(), "localhost", ca.client_config(None, &["h2"]));
        assert!(stranger.and_then(|c| c.request(get("/"))).is_err());
    }

    #[test]
    fn a_websocket_is_echoed() {
        let upstream = Upstream::start();
        let mut conn = RawConn::tcp(upstream.address());
        conn.send("GET /ws HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: websocket\r\n")
            .send("sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n");
        let answer = conn.answer();
        assert_eq!(answer.header("sec-websocket-accept"), Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
        // "hi", masked with 1, 2, 3, 4
        conn.send([0x81, 0x82, 1, 2, 3, 4, b'h' ^ 1, b'i' ^ 2]);
        assert_eq!(conn.read_exactly(4), [0x81, 2, b'h', b'i']);
    }

    #[test]
    fn events_come_one_by_one() {
        let upstream = Upstream::start();
        let mut conn = RawConn::tcp(upstream.address());
        let answer = conn.exchange("GET / HTTP/1.1\r\nhost: x\r\nx-upstream: events=3\r\n\r\n");
        assert_eq!(answer.header("content-type"), Some("text/event-stream"));
        assert_eq!(answer.text().matches("data: tick").count(), 3);
    }
}
