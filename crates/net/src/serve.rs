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
use std::future::Future;
use std::pin::{Pin, pin};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body::Body;
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};

use crate::guard::Limits;
use crate::listen::{Drain, Phase};
use crate::pool::{ExchangeFault, LocalExec};

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
    let ended = tokio::select! {
        biased;
        ended = &mut connection => ended,
        () = drain.reached(Phase::Draining) => {
            Pin::new(&mut connection).graceful_shutdown();
            tokio::select! {
                biased;
                ended = &mut connection => ended,
                () = drain.reached(Phase::Forcing) => return Ok(Ended::Forced),
            }
        }
    };
    ended.map_err(ExchangeFault)?;
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
    let served = http2_builder(settings).serve_connection(TokioIo::new(stream), service_fn(service));
    let mut connection = pin!(served);
    let ended = tokio::select! {
        biased;
        ended = &mut connection => ended,
        () = drain.reached(Phase::Draining) => {
            connection.as_mut().graceful_shutdown();
            tokio::select! {
                biased;
                ended = &mut connection => ended,
                () = drain.reached(Phase::Forcing) => return Ok(Ended::Forced),
            }
        }
    };
    ended.map_err(ExchangeFault)?;
    Ok(Ended::Closed)
}

fn http2_builder(settings: &Http2Settings) -> http2::Builder<LocalExec> {
    let mut builder = http2::Builder::new(LocalExec);
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
