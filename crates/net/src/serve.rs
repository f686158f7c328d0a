//! hyper's server, with our settings and our way to end.
//!
//! The stream is guarded already: these functions add no timer and no limit that the guard has. The service may hold what
//! is not `Send`, since a connection stays on its core.
//!
//! INVARIANT: RFC 8441 is off: an extended CONNECT over HTTP/2 is answered by a stream error, as RFC 9113 §8.5 wants of a
//! server that did not announce it.
//! INVARIANT: on a drain, requests in flight finish and nothing new begins; when it is forced, the connection is dropped.
//!
//! Not here: what a request means; the registry of open streams; tunnels.
//!
//! Sources: RFC 9112 §9.6, RFC 9113 §6.8, §8.5; threats A3, E1, E3, E5.

use std::cell::Cell;
use std::error::Error;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body::Body;
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};

use crate::cork::Cork;
use crate::guard::{Limits, MinRate};
use crate::listen::{Drain, Phase};
use crate::pool::ExchangeFault;
use crate::taking::StreamExec;

/// How HTTP/2 is served.
#[derive(Clone, Copy, Debug)]
pub struct Http2Settings {
    /// Streams that a caller may have open.
    pub streams: u32,
    /// Largest decoded header list, in the measure of RFC 9113 §6.5.2 (E5).
    pub header_list: u32,
    /// Bytes that a caller may send on one stream before we take them.
    pub stream_window: u32,
    /// The same for the whole connection.
    pub connection_window: u32,
    /// Bytes of an answer that are held for one stream.
    pub send_buffer: usize,
    /// Time between pings on a quiet connection, and how long the answer may take.
    pub ping: Duration,
    /// Streams that were reset before the line saw them, until the connection is closed (E1).
    pub pending_resets: usize,
    /// Streams that we reset for the caller's errors, until the connection is closed (E3).
    pub error_resets: usize,
    /// The slowest taking of one stream's answer (E8).
    pub taking: MinRate,
}

impl Default for Http2Settings {
    fn default() -> Self {
        Self {
            streams: 128,
            header_list: 48 * 1024,
            stream_window: 256 * 1024,
            connection_window: 1024 * 1024,
            send_buffer: 256 * 1024,
            ping: Duration::from_secs(20),
            pending_resets: 20,
            error_resets: 64,
            taking: MinRate::new(500, Duration::from_secs(30)),
        }
    }
}

/// How a connection ended.
#[derive(Debug)]
pub enum Ended<I> {
    /// As HTTP ends: by either side, in order.
    Closed,
    /// The service answered 101: the stream speaks another protocol now. `leading` came before anything still in it.
    Switched {
        /// The guarded stream.
        stream: I,
        /// What was read ahead.
        leading: Bytes,
    },
    /// The drain was forced.
    Forced,
}

/// Serves one HTTP/1.1 connection to its end.
///
/// # Errors
/// The connection broke; what the guard found is in the guard's handle.
pub async fn serve_http1<I, S, F, B, E>(
    stream: I,
    service: S,
    limits: &Limits,
    mut drain: Drain,
) -> Result<Ended<I>, ExchangeFault>
where
    I: AsyncRead + AsyncWrite + Unpin,
    S: Fn(Request<Incoming>) -> F,
    F: Future<Output = Result<Response<B>, E>>,
    B: Body<Data = Bytes> + 'static,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
    E: Into<Box<dyn Error + Send + Sync>>,
{
    let switched = Cell::new(false);
    let watched = service_fn(|request| {
        let answer = service(request);
        let switched = &switched;
        async move {
            let answer = answer.await?;
            switched.set(answer.status() == StatusCode::SWITCHING_PROTOCOLS);
            Ok::<_, E>(answer)
        }
    });
    let mut builder = http1::Builder::new();
    limits.tune(&mut builder);
    let mut connection = builder.serve_connection(TokioIo::new(stream), watched);
    match run(Pin::new(&mut connection), Future::poll, &mut drain, |c| c.graceful_shutdown()).await {
        Some(ended) => ended.map_err(ExchangeFault)?,
        None => return Ok(Ended::Forced),
    }
    if !switched.get() {
        return Ok(Ended::Closed);
    }
    let parts = connection.into_parts();
    Ok(Ended::Switched { stream: parts.io.into_inner(), leading: parts.read_buf })
}

/// Serves one HTTP/2 connection to its end. Run it inside a `LocalSet` or a local runtime.
///
/// # Errors
/// The connection broke.
pub async fn serve_http2<I, S, F, B, E>(
    stream: I,
    service: S,
    settings: &Http2Settings,
    mut drain: Drain,
) -> Result<Ended<I>, ExchangeFault>
where
    I: AsyncRead + AsyncWrite + Unpin + 'static,
    S: Fn(Request<Incoming>) -> F,
    F: Future<Output = Result<Response<B>, E>> + 'static,
    B: Body<Data = Bytes> + 'static,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
    E: Into<Box<dyn Error + Send + Sync>> + 'static,
{
    let (stream, corked) = Cork::new(stream);
    let served = http2_builder(settings).serve_connection(TokioIo::new(stream), service_fn(service));
    match run(pin!(served), |c, cx| corked.poll(c, cx), &mut drain, |c| c.graceful_shutdown()).await {
        Some(ended) => ended.map_err(ExchangeFault)?,
        None => return Ok(Ended::Forced),
    }
    Ok(Ended::Closed)
}

/// Runs a connection to its end, which a drain brings nearer; `None` when the drain was forced.
async fn run<C: Future>(
    mut connection: Pin<&mut C>,
    mut poll: impl FnMut(Pin<&mut C>, &mut Context<'_>) -> Poll<C::Output>,
    drain: &mut Drain,
    wind_down: impl FnOnce(Pin<&mut C>),
) -> Option<C::Output> {
    tokio::select! {
        biased;
        ended = poll_fn(|cx| poll(connection.as_mut(), cx)) => return Some(ended),
        () = drain.reached(Phase::Draining) => {}
    }
    wind_down(connection.as_mut());
    tokio::select! {
        biased;
        ended = poll_fn(|cx| poll(connection.as_mut(), cx)) => Some(ended),
        () = drain.reached(Phase::Forcing) => None,
    }
}

fn http2_builder(settings: &Http2Settings) -> http2::Builder<StreamExec> {
    let mut builder = http2::Builder::new(StreamExec::new(settings.taking));
    builder
        .timer(TokioTimer::new())
        .adaptive_window(false)
        .max_concurrent_streams(settings.streams)
        .max_header_list_size(settings.header_list)
        .initial_stream_window_size(settings.stream_window)
        .initial_connection_window_size(settings.connection_window)
        .max_send_buf_size(settings.send_buffer)
        .keep_alive_interval(settings.ping)
        .keep_alive_timeout(settings.ping)
        .max_pending_accept_reset_streams(settings.pending_resets)
        .max_local_error_reset_streams(settings.error_resets);
    builder
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::rc::Rc;

    use http_body_util::{BodyExt, Empty, Full};
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
    use tokio::sync::Notify;

    use super::*;
    use crate::listen::DrainSwitch;

    fn on_a_core(test: impl Future<Output = ()>) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        tokio::task::LocalSet::new().block_on(&runtime, test);
    }

    type Answer = Result<Response<Full<Bytes>>, Infallible>;

    fn ok(status: u16) -> Answer {
        let mut answer =
            Response::new(Full::new(Bytes::from_static(if status == 200 { b"ok" } else { b"" })));
        *answer.status_mut() = StatusCode::from_u16(status).unwrap();
        Ok(answer)
    }

    const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: a.example\r\n\r\n";

    async fn read_answer(stream: &mut DuplexStream) -> String {
        let mut got = Vec::new();
        while !got.ends_with(b"ok") {
            got.push(stream.read_u8().await.unwrap());
        }
        String::from_utf8(got).unwrap()
    }

    #[test]
    fn a_drain_lets_the_request_in_flight_finish_and_takes_no_other() {
        on_a_core(async {
            let (near, mut far) = duplex(4096);
            let (switch, drain) = DrainSwitch::new();
            // Not `Send`, as a core's own state is not.
            let gate = Rc::new(Notify::new());
            let entered = Rc::new(Notify::new());
            let (inside, opens) = (Rc::clone(&entered), Rc::clone(&gate));
            let service = move |_| {
                let (inside, opens) = (Rc::clone(&inside), Rc::clone(&opens));
                async move {
                    inside.notify_one();
                    opens.notified().await;
                    ok(200)
                }
            };
            let served = tokio::task::spawn_local(async move {
                serve_http1(near, service, &Limits::default(), drain)
                    .await
                    .map(|ended| matches!(ended, Ended::Closed))
            });
            far.write_all(GET).await.unwrap();
            far.write_all(GET).await.unwrap();
            entered.notified().await;
            switch.begin();
            // The task that serves sees the drain before this one goes on.
            tokio::task::yield_now().await;
            gate.notify_one();
            let mut got = String::new();
            far.read_to_string(&mut got).await.unwrap();
            assert!(served.await.unwrap().unwrap());
            assert_eq!(got.matches("HTTP/1.1 200 OK").count(), 1, "{got}");
            assert!(got.contains("connection: close"), "{got}");
            switch.finished().await;
        });
    }

    #[test]
    fn a_forced_drain_cuts_what_is_still_open() {
        on_a_core(async {
            for h2 in [false, true] {
                let (near, mut far) = duplex(4096);
                let (switch, drain) = DrainSwitch::new();
                let entered = Rc::new(Notify::new());
                let inside = Rc::clone(&entered);
                let service = move |_| {
                    inside.notify_one();
                    std::future::pending::<Answer>()
                };
                let limits = Limits::default();
                let caller = async {
                    if h2 {
                        tokio::task::spawn_local(hanging_h2_request(far));
                        entered.notified().await;
                        switch.force();
                        return None;
                    }
                    far.write_all(GET).await.unwrap();
                    entered.notified().await;
                    switch.force();
                    Some(far)
                };
                let served = async {
                    match h2 {
                        true => {
                            serve_http2(near, service, &Http2Settings::default(), drain).await.map(|_| true)
                        }
                        false => {
                            let ended = serve_http1(near, service, &limits, drain).await;
                            ended.map(|ended| matches!(ended, Ended::Forced))
                        }
                    }
                };
                let (ended, _held) = tokio::join!(served, caller);
                assert!(ended.unwrap());
            }
        });
    }

    async fn hanging_h2_request(stream: DuplexStream) {
        let (sender, connection) = h2::client::handshake(stream).await.unwrap();
        tokio::task::spawn_local(connection);
        let mut sender = sender.ready().await.unwrap();
        let request = Request::get("https://a.example/").body(()).unwrap();
        let _ = sender.send_request(request, true).unwrap().0.await;
    }

    #[test]
    fn a3_a_switch_hands_the_stream_over_with_what_was_read_ahead() {
        on_a_core(async {
            let (near, mut far) = duplex(4096);
            let (_switch, drain) = DrainSwitch::new();
            let asks = b"GET /chat HTTP/1.1\r\nHost: a.example\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\nearly";
            far.write_all(asks).await.unwrap();
            let limits = Limits::default();
            let ended = serve_http1(near, |_| async { ok(101) }, &limits, drain).await.unwrap();
            let Ended::Switched { mut stream, leading } = ended else { panic!("{ended:?}") };
            assert_eq!(leading, "early");
            stream.write_all(b"tunnel").await.unwrap();
            drop(stream);
            let mut got = String::new();
            far.read_to_string(&mut got).await.unwrap();
            assert!(
                got.starts_with("HTTP/1.1 101 Switching Protocols\r\n") && got.ends_with("\r\n\r\ntunnel"),
                "{got}"
            );
        });
    }

    #[test]
    fn a3_an_upgrade_that_is_refused_leaves_the_connection_http() {
        on_a_core(async {
            let (near, mut far) = duplex(4096);
            let (_switch, drain) = DrainSwitch::new();
            let limits = Limits::default();
            let caller = async {
                let asks = b"GET / HTTP/1.1\r\nHost: a.example\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n";
                far.write_all(asks).await.unwrap();
                read_answer(&mut far).await;
                far.write_all(GET).await.unwrap();
                read_answer(&mut far).await;
                drop(far);
            };
            let (ended, ()) = tokio::join!(serve_http1(near, |_| async { ok(200) }, &limits, drain), caller);
            assert!(matches!(ended, Ok(Ended::Closed)), "{ended:?}");
        });
    }

    #[test]
    fn an_extended_connect_is_refused_since_it_was_not_announced() {
        on_a_core(async {
            let (near, far) = duplex(4096);
            let (_switch, drain) = DrainSwitch::new();
            let served = Cell::new(0);
            let service = |_| {
                served.set(served.get() + 1);
                async { ok(200) }
            };
            let caller = async {
                let (sender, connection) = h2::client::handshake(far).await.unwrap();
                let driver = tokio::task::spawn_local(connection);
                let mut sender = sender.ready().await.unwrap();
                let mut request =
                    Request::builder().method("CONNECT").uri("https://a.example/chat").body(()).unwrap();
                request.extensions_mut().insert(h2::ext::Protocol::from_static("websocket"));
                let refused = sender.send_request(request, true).unwrap().0.await.unwrap_err();
                assert_eq!(refused.reason(), Some(h2::Reason::PROTOCOL_ERROR));
                let plain = Request::get("https://a.example/").body(()).unwrap();
                let answer =
                    sender.ready().await.unwrap().send_request(plain, true).unwrap().0.await.unwrap();
                driver.abort();
                answer.status()
            };
            let settings = Http2Settings::default();
            tokio::select! {
                _ = serve_http2(near, service, &settings, drain) => panic!("the caller was still there"),
                status = caller => assert_eq!(status, 200),
            }
            assert_eq!(served.get(), 1);
        });
    }

    #[test]
    fn e5_a_header_list_beyond_the_setting_never_reaches_the_service() {
        on_a_core(async {
            let (near, far) = duplex(256 * 1024);
            let (_switch, drain) = DrainSwitch::new();
            let caller = async {
                let (sender, connection) = h2::client::handshake(far).await.unwrap();
                tokio::task::spawn_local(connection);
                let mut sender = sender.ready().await.unwrap();
                let mut request = Request::get("https://a.example/");
                for number in 0..100 {
                    request = request.header(format!("x-{number}"), "v".repeat(1000));
                }
                sender.send_request(request.body(()).unwrap(), true).unwrap().0.await
            };
            let settings = Http2Settings { header_list: 8 * 1024, ..Http2Settings::default() };
            let service = |_| async { ok(200) };
            tokio::select! {
                _ = serve_http2(near, service, &settings, drain) => {}
                answer = caller => assert_eq!(answer.map(|a| a.status().as_u16()).unwrap_or(431), 431),
            }
        });
    }

    #[test]
    fn trailers_of_an_answer_reach_an_http2_caller() {
        on_a_core(async {
            let (near, far) = duplex(4096);
            let (_switch, drain) = DrainSwitch::new();
            let service = |_| async {
                let mut trailers = http::HeaderMap::new();
                trailers.insert("grpc-status", http::HeaderValue::from_static("0"));
                let body = Empty::<Bytes>::new().with_trailers(async move { Some(Ok(trailers)) });
                Ok::<_, Infallible>(Response::new(body))
            };
            let caller = async {
                let (sender, connection) = h2::client::handshake(far).await.unwrap();
                tokio::task::spawn_local(connection);
                let mut sender = sender.ready().await.unwrap();
                let request = Request::get("https://a.example/").body(()).unwrap();
                let answer = sender.send_request(request, true).unwrap().0.await.unwrap();
                answer.into_body().trailers().await.unwrap().unwrap()
            };
            let settings = Http2Settings::default();
            tokio::select! {
                _ = serve_http2(near, service, &settings, drain) => panic!("the caller was still there"),
                trailers = caller => assert_eq!(trailers["grpc-status"], "0"),
            }
        });
    }

    /// Counts the writes that reach a pipe.
    struct Counted(DuplexStream, Rc<Cell<usize>>);

    impl AsyncRead for Counted {
        fn poll_read(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
            buf: &mut tokio::io::ReadBuf<'_>,
        ) -> Poll<std::io::Result<()>> {
            Pin::new(&mut self.0).poll_read(cx, buf)
        }
    }

    impl AsyncWrite for Counted {
        fn poll_write(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
            bytes: &[u8],
        ) -> Poll<std::io::Result<usize>> {
            self.1.set(self.1.get() + 1);
            Pin::new(&mut self.0).poll_write(cx, bytes)
        }

        fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
            Pin::new(&mut self.0).poll_flush(cx)
        }

        fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
            Pin::new(&mut self.0).poll_shutdown(cx)
        }
    }

    #[test]
    fn answers_that_are_ready_together_leave_in_one_write() {
        const TOGETHER: usize = 8;
        on_a_core(async {
            let (near, far) = duplex(256 * 1024);
            let writes = Rc::new(Cell::new(0));
            let near = Counted(near, Rc::clone(&writes));
            let (_switch, drain) = DrainSwitch::new();
            let all_are_here = Rc::new(tokio::sync::Barrier::new(TOGETHER));
            let (counted, before) = (Rc::clone(&writes), Rc::new(Cell::new(0)));
            let begin = Rc::clone(&before);
            let service = move |_| {
                let (all_are_here, writes, before) =
                    (Rc::clone(&all_are_here), Rc::clone(&counted), Rc::clone(&begin));
                async move {
                    all_are_here.wait().await;
                    before.set(writes.get());
                    Ok::<_, Infallible>(Response::new(Full::new(Bytes::from(vec![b'x'; 1_000]))))
                }
            };
            let caller = async {
                let (sender, connection) = h2::client::handshake(far).await.unwrap();
                tokio::task::spawn_local(connection);
                let mut sender = sender.ready().await.unwrap();
                let request = || Request::get("https://a.example/").body(()).unwrap();
                let answers: Vec<_> =
                    (0..TOGETHER).map(|_| sender.send_request(request(), true).unwrap().0).collect();
                for answer in answers {
                    let mut body = answer.await.unwrap().into_body();
                    while body.data().await.is_some() {}
                }
                writes.get() - before.get()
            };
            let settings = Http2Settings::default();
            tokio::select! {
                _ = serve_http2(near, service, &settings, drain) => panic!("the caller was still there"),
                together = caller => assert_eq!(together, 1, "one write for all"),
            }
        });
    }
}
