//! HTTP/2: how streams spread, and which refusals promise that nothing was done.

use std::cell::RefCell;
use std::rc::Rc;

use hyper_util::rt::TokioIo;
use tokio::sync::watch;

use super::*;
use crate::guard::Leg;

/// Runs hyper's tasks on this core.
#[derive(Clone)]
struct LocalExec;

impl<F: Future<Output = ()> + 'static> hyper::rt::Executor<F> for LocalExec {
    fn execute(&self, task: F) {
        tokio::task::spawn_local(task);
    }
}

/// hyper's server: each answer waits until the gate opens. Counts streams per connection.
struct Gated {
    target: Target,
    gate: watch::Sender<bool>,
    seen: Rc<RefCell<Vec<usize>>>,
}

async fn gated(streams: u32) -> Gated {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let target = plain(listener.local_addr().unwrap(), Protocol::Http2);
    let (gate, opens) = watch::channel(false);
    let seen = Rc::new(RefCell::new(Vec::new()));
    let all = Rc::clone(&seen);
    tokio::task::spawn_local(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let number = all.borrow().len();
            all.borrow_mut().push(0);
            let (opens, all) = (opens.clone(), Rc::clone(&all));
            let service = hyper::service::service_fn(move |_: Request<hyper::body::Incoming>| {
                all.borrow_mut()[number] += 1;
                let mut opens = opens.clone();
                async move {
                    let _ = opens.wait_for(|open| *open).await;
                    Ok::<_, std::convert::Infallible>(Response::new(Full::new(Bytes::from_static(b"ok"))))
                }
            });
            let server = {
                let mut builder = hyper::server::conn::http2::Builder::new(LocalExec);
                builder.max_concurrent_streams(streams);
                builder
            };
            tokio::task::spawn_local(server.serve_connection(TokioIo::new(stream), service));
        }
    });
    Gated { target, gate, seen }
}

fn request(body: TestBody) -> Request<TestBody> {
    Request::post("http://a.example/").body(body).unwrap()
}

/// Starts `count` requests at once; each yields its answer's text or the word of its error.
fn start(pool: &TestPool, target: &Target, count: usize) -> Vec<tokio::task::JoinHandle<String>> {
    let one = || {
        let (pool, target) = (pool.clone(), target.clone());
        tokio::task::spawn_local(async move {
            match pool.send(&target, request(empty()), &LIMITS).await {
                Ok(answer) => text(answer).await,
                Err(SendError::Connect { cause, .. }) => cause.word().to_owned(),
                Err(other) => word(&other).to_owned(),
            }
        })
    };
    (0..count).map(|_| one()).collect()
}

async fn settled(condition: impl Fn() -> bool) {
    tokio::time::timeout(Duration::from_secs(10), async {
        while !condition() {
            tokio::task::yield_now().await;
        }
    })
    .await
    .unwrap();
}

async fn finish(all: Vec<tokio::task::JoinHandle<String>>) -> Vec<String> {
    let mut got = Vec::new();
    for one in all {
        got.push(one.await.unwrap());
    }
    got
}

#[test]
fn streams_fill_one_connection_then_the_next_up_to_the_cap() {
    on_a_core(async {
        let peer = gated(200).await;
        let pool = pool_with(|s| (s.http2_streams, s.http2_connections) = (4, 3));
        let all = start(&pool, &peer.target, 12);
        settled(|| peer.seen.borrow().iter().sum::<usize>() == 12).await;
        assert_eq!(*peer.seen.borrow(), [4, 4, 4]);
        // All full, and no more connections may be opened.
        assert_eq!(finish(start(&pool, &peer.target, 1)).await, ["pool-busy"]);
        peer.gate.send_replace(true);
        assert!(finish(all).await.iter().all(|text| text == "ok"));
        let stats = pool.stats();
        assert_eq!((stats.shared, stats.streams), (3, 0));
        // Now that there is room, the one with the fewest takes the next.
        assert_eq!(finish(start(&pool, &peer.target, 3)).await, ["ok", "ok", "ok"]);
        assert_eq!(pool.stats().opened, 3);
    });
}

#[test]
fn the_upstreams_own_limit_is_kept() {
    on_a_core(async {
        let peer = gated(2).await;
        let pool = pool();
        // The first request brings the settings.
        peer.gate.send_replace(true);
        assert_eq!(finish(start(&pool, &peer.target, 1)).await, ["ok"]);
        peer.gate.send_replace(false);
        let all = start(&pool, &peer.target, 6);
        settled(|| peer.seen.borrow().iter().sum::<usize>() == 7).await;
        peer.gate.send_replace(true);
        assert!(finish(all).await.iter().all(|text| text == "ok"));
        assert_eq!(pool.stats().opened, 3);
    });
}

/// One h2 connection whose streams are answered by `answer`.
async fn refusing(
    answer: impl FnOnce(
        h2::server::Connection<TcpStream, Bytes>,
        h2::server::SendResponse<Bytes>,
    ) -> h2::server::Connection<TcpStream, Bytes>
    + 'static,
) -> Target {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let target = plain(listener.local_addr().unwrap(), Protocol::Http2);
    tokio::task::spawn_local(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let mut connection: h2::server::Connection<TcpStream, Bytes> =
            h2::server::handshake(stream).await.unwrap();
        let (_, respond) = connection.accept().await.unwrap().unwrap();
        let mut connection = answer(connection, respond);
        while connection.accept().await.is_some() {}
    });
    target
}

#[test]
fn a_refused_stream_may_be_tried_again_and_another_reset_may_not() {
    let table = [
        (h2::Reason::REFUSED_STREAM, "refused-with-head", "refused"),
        (h2::Reason::INTERNAL_ERROR, "sent", "sent"),
        (h2::Reason::CANCEL, "sent", "sent"),
        (h2::Reason::NO_ERROR, "sent", "sent"),
    ];
    for (reason, without_body, with_body) in table {
        for (body, want) in [(empty(), without_body), (full("pay"), with_body)] {
            on_a_core(async move {
                let target = refusing(move |connection, mut respond| {
                    respond.send_reset(reason);
                    connection
                })
                .await;
                let got = pool().send(&target, request(body), &LIMITS).await.err().unwrap();
                assert_eq!(word(&got), want, "{reason:?} {got:?}");
            });
        }
    }
}

#[test]
fn a_connection_that_goes_away_with_an_error_promises_nothing() {
    on_a_core(async {
        let target = refusing(|mut connection, respond| {
            drop(respond);
            connection.abrupt_shutdown(h2::Reason::INTERNAL_ERROR);
            connection
        })
        .await;
        let got = pool().send(&target, request(empty()), &LIMITS).await.err().unwrap();
        assert_eq!(word(&got), "sent", "{got:?}");
    });
}

#[test]
fn after_a_graceful_goaway_new_requests_open_a_new_connection() {
    on_a_core(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let target = plain(listener.local_addr().unwrap(), Protocol::Http2);
        tokio::task::spawn_local(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let mut connection = h2::server::handshake(stream).await.unwrap();
                let (_, mut respond) = connection.accept().await.unwrap().unwrap();
                let mut body = respond.send_response(Response::new(()), false).unwrap();
                body.send_data(Bytes::from_static(b"ok"), true).unwrap();
                connection.graceful_shutdown();
                while connection.accept().await.is_some() {}
            }
        });
        let pool = pool();
        for opened in 1..=3 {
            assert_eq!(text(pool.send(&target, request(empty()), &LIMITS).await.unwrap()).await, "ok");
            settled(|| {
                pool.sweep();
                pool.stats().shared == 0
            })
            .await;
            // Counted by the slot, which goes when it is empty.
            assert_eq!(pool.stats().opened, 0, "{opened}");
        }
    });
}

#[test]
fn an_answer_that_is_dropped_gives_its_stream_back() {
    on_a_core(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let target = plain(listener.local_addr().unwrap(), Protocol::Http2);
        let (reset, is_reset) = tokio::sync::oneshot::channel();
        tokio::task::spawn_local(async move {
            let (stream, _) = listener.accept().await.unwrap();
            let mut connection = h2::server::handshake(stream).await.unwrap();
            let (_, mut respond) = connection.accept().await.unwrap().unwrap();
            let mut body: h2::SendStream<Bytes> = respond.send_response(Response::new(()), false).unwrap();
            tokio::task::spawn_local(async move { while connection.accept().await.is_some() {} });
            let reason = std::future::poll_fn(|cx| body.poll_reset(cx)).await.unwrap();
            reset.send(reason).unwrap();
        });
        let pool = pool();
        let answer = pool.send(&target, request(empty()), &LIMITS).await.unwrap();
        assert_eq!(pool.stats().streams, 1);
        drop(answer);
        assert_eq!(pool.stats().streams, 0);
        assert_eq!(is_reset.await.unwrap(), h2::Reason::CANCEL);
    });
}

#[test]
fn trailers_come_through() {
    on_a_core(async {
        let target = refusing(|connection, mut respond| {
            let mut body = respond.send_response(Response::new(()), false).unwrap();
            body.send_data(Bytes::from_static(b"ok"), false).unwrap();
            let mut trailers = http::HeaderMap::new();
            trailers.insert("grpc-status", http::HeaderValue::from_static("0"));
            body.send_trailers(trailers).unwrap();
            connection
        })
        .await;
        let answer = pool().send(&target, request(full("x")), &LIMITS).await.unwrap();
        let collected = answer.into_body().collect().await.unwrap();
        assert_eq!(collected.trailers().unwrap()["grpc-status"], "0");
    });
}

#[test]
fn e8_an_answer_that_falls_silent_is_given_up_unless_it_may_be_silent() {
    on_a_core(async {
        for may_be_silent in [false, true] {
            let (hold, mut released) = watch::channel(false);
            let target = refusing(move |connection, mut respond| {
                let mut body = respond.send_response(Response::new(()), false).unwrap();
                body.send_data(Bytes::from_static(b"ok"), false).unwrap();
                tokio::task::spawn_local(async move {
                    let _ = released.wait_for(|over| *over).await;
                    body.send_data(Bytes::new(), true).unwrap();
                });
                connection
            })
            .await;
            let limits = Timeouts { body_idle: Some(Duration::from_millis(100)), ..LIMITS };
            let mut body = pool().send(&target, request(full("x")), &limits).await.unwrap().into_body();
            assert_eq!(body.frame().await.unwrap().unwrap().into_data().ok().unwrap(), "ok");
            if may_be_silent {
                body.may_be_silent();
                assert!(tokio::time::timeout(Duration::from_millis(300), body.frame()).await.is_err());
                hold.send(true).unwrap();
                assert!(body.collect().await.unwrap().to_bytes().is_empty());
                continue;
            }
            let Some(Err(AnswerFault::Malformed(fault))) = body.frame().await else { panic!("no fault") };
            assert_eq!((fault.class(), fault.leg()), ("slow-body", Leg::Upstream));
        }
    });
}

/// Reads one frame and returns its type.
async fn frame(stream: &mut TcpStream) -> u8 {
    let mut head = [0; 9];
    stream.read_exact(&mut head).await.unwrap();
    let mut rest = vec![0; usize::from(head[1]) * 256 + usize::from(head[2])];
    stream.read_exact(&mut rest).await.unwrap();
    head[3]
}

#[test]
fn e4_an_upstream_that_floods_us_with_frames_is_cut_off() {
    on_a_core(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let target = plain(listener.local_addr().unwrap(), Protocol::Http2);
        let peer = tokio::task::spawn_local(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let settings = [0, 0, 0, 4, 0, 0, 0, 0, 0];
            let unknown = [0, 0, 0, 0xee, 0, 0, 0, 0, 0].repeat(10_000);
            stream.write_all(&settings).await.unwrap();
            let mut preface = [0; 24];
            stream.read_exact(&mut preface).await.unwrap();
            while frame(&mut stream).await != 1 {}
            let _ = stream.write_all(&unknown).await;
            wait_for_end(&mut stream).await
        });
        let pool = pool();
        let got = pool.send(&target, request(empty()), &LIMITS).await.err().unwrap();
        assert_eq!(word(&got), "h2-unknown-flood", "{got:?}");
        peer.await.unwrap();
        pool.sweep();
        assert_eq!(pool.stats().shared, 0);
    });
}
