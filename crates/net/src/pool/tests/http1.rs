//! HTTP/1.1: reuse, what must never be reused, and what may be retried.

use http_body::Frame;
use tokio::net::UnixStream;

use super::super::http1::Link;
use super::super::stream::Stream;
use super::*;

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// Sends two requests one after the other; `read` says whether the first answer is read to its end.
async fn twice(pool: &TestPool, target: &Target, first: Request<TestBody>) -> (String, String) {
    let one = text(pool.send(target, first, &LIMITS).await.unwrap()).await;
    let two = text(pool.send(target, get("/2"), &LIMITS).await.unwrap()).await;
    (one, two)
}

#[test]
fn a_connection_serves_one_request_after_another() {
    let answers = [
        OK,
        "HTTP/1.1 204 No Content\r\n\r\n",
        "HTTP/1.1 304 Not Modified\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        "HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
    ];
    for answer in answers {
        on_a_core(async move {
            let (listener, target) = listen().await;
            let peer = tokio::task::spawn_local(scripted(listener, vec![vec![answer, OK]]));
            let pool = pool();
            let (_, second) = twice(&pool, &target, get("/1")).await;
            assert_eq!(second, "ok", "{answer}");
            let stats = pool.stats();
            assert_eq!((stats.opened, stats.reused, stats.idle), (1, 1, 1), "{answer}");
            assert_eq!(peer.await.unwrap(), [2]);
        });
    }
}

#[test]
fn a_head_request_leaves_the_connection_usable() {
    on_a_core(async {
        let (listener, target) = listen().await;
        let head = "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n";
        let peer = tokio::task::spawn_local(scripted(listener, vec![vec![head, OK]]));
        let first = Request::head("/").header("host", "a.example").body(empty()).unwrap();
        assert_eq!(twice(&pool(), &target, first).await, (String::new(), "ok".into()));
        assert_eq!(peer.await.unwrap(), [2]);
    });
}

#[test]
fn bodies_and_trailers_pass_both_ways() {
    on_a_core(async {
        let (listener, target) = listen().await;
        let peer = tokio::task::spawn_local(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let head = head(&mut stream).await.unwrap();
            assert!(
                head.contains("content-length: 5\r\n") || head.contains("Content-Length: 5\r\n"),
                "{head}"
            );
            let mut body = [0; 5];
            stream.read_exact(&mut body).await.unwrap();
            let answer = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: x-sum\r\n\r\n";
            stream.write_all(answer.as_bytes()).await.unwrap();
            stream.write_all(b"5\r\nhello\r\n0\r\nx-sum: 42\r\n\r\n").await.unwrap();
            assert_eq!(&body, b"world");
            wait_for_end(&mut stream).await
        });
        let pool = pool();
        let answer = pool.send(&target, post(full("world")), &LIMITS).await.unwrap();
        let mut body = answer.into_body();
        assert_eq!(body.frame().await.unwrap().unwrap().into_data().ok().unwrap(), "hello");
        let trailers = body.frame().await.unwrap().unwrap().into_trailers().ok().unwrap();
        assert_eq!(trailers["x-sum"], "42");
        // Whoever writes an answer asks for nothing behind its trailers.
        assert!(body.is_end_stream());
        assert_eq!(pool.stats().idle, 1);
        drop(pool);
        assert!(peer.await.unwrap().is_empty());
    });
}

#[test]
fn a4_an_answer_that_is_not_read_to_its_end_closes_the_connection() {
    on_a_core(async {
        let (listener, target) = listen().await;
        let long = "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n01234";
        let peer = tokio::task::spawn_local(scripted(listener, vec![vec![long, OK], vec![OK]]));
        let pool = pool();
        let first = pool.send(&target, get("/1"), &LIMITS).await.unwrap();
        drop(first);
        assert_eq!(text(pool.send(&target, get("/2"), &LIMITS).await.unwrap()).await, "ok");
        assert_eq!(peer.await.unwrap(), [1, 1]);
        assert_eq!(pool.stats().opened, 2);
    });
}

#[test]
fn a4_an_answer_before_the_request_was_sent_whole_closes_the_connection() {
    on_a_core(async {
        let (listener, target) = listen().await;
        let peer = tokio::task::spawn_local(scripted(listener, vec![vec![OK, OK], vec![OK]]));
        let pool = pool();
        assert_eq!(text(pool.send(&target, post(endless("part")), &LIMITS).await.unwrap()).await, "ok");
        assert_eq!(pool.stats().idle, 0);
        assert_eq!(text(pool.send(&target, get("/2"), &LIMITS).await.unwrap()).await, "ok");
        drop(peer);
        assert_eq!(pool.stats().opened, 2);
    });
}

#[test]
fn a4_bytes_that_nobody_asked_for_are_nobodys_answer() {
    // The second answer comes with the first, and would poison whoever sends next.
    let poison =
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil";
    on_a_core(async {
        let (listener, target) = listen().await;
        let _peer = tokio::task::spawn_local(scripted(listener, vec![vec![poison], vec![OK]]));
        let pool = pool();
        let first = pool.send(&target, get("/1"), &LIMITS).await.unwrap();
        // Whether the guard refuses the first answer with what follows it or not, the poison is served to nobody.
        let _ = first.into_body().collect().await;
        assert_eq!(text(pool.send(&target, get("/2"), &LIMITS).await.unwrap()).await, "ok");
        assert_eq!(pool.stats().opened, 2);
    });
}

#[test]
fn a4_bytes_that_come_while_a_connection_is_idle_end_it() {
    on_a_core(async {
        let (listener, target) = listen().await;
        let (poisoned, has_poisoned) = tokio::sync::oneshot::channel();
        let (answered, is_answered) = tokio::sync::oneshot::channel::<()>();
        tokio::task::spawn_local(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            head(&mut stream).await.unwrap();
            stream.write_all(OK.as_bytes()).await.unwrap();
            is_answered.await.unwrap();
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil").await.unwrap();
            poisoned.send(()).unwrap();
            scripted(listener, vec![vec![OK]]).await;
            wait_for_end(&mut stream).await
        });
        let pool = pool();
        assert_eq!(text(pool.send(&target, get("/1"), &LIMITS).await.unwrap()).await, "ok");
        answered.send(()).unwrap();
        has_poisoned.await.unwrap();
        assert_eq!(text(pool.send(&target, get("/2"), &LIMITS).await.unwrap()).await, "ok");
        assert_eq!(pool.stats().opened, 2);
    });
}

#[test]
fn a_kept_connection_that_the_upstream_closed_is_not_used() {
    on_a_core(async {
        let (listener, target) = listen().await;
        let (closed, is_closed) = tokio::sync::oneshot::channel();
        let (answered, is_answered) = tokio::sync::oneshot::channel::<()>();
        tokio::task::spawn_local(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            head(&mut stream).await.unwrap();
            stream.write_all(OK.as_bytes()).await.unwrap();
            is_answered.await.unwrap();
            drop(stream);
            closed.send(()).unwrap();
            scripted(listener, vec![vec![OK]]).await
        });
        let pool = pool();
        assert_eq!(text(pool.send(&target, get("/1"), &LIMITS).await.unwrap()).await, "ok");
        assert_eq!(pool.stats().idle, 1);
        answered.send(()).unwrap();
        is_closed.await.unwrap();
        io_turn().await;
        pool.sweep();
        assert_eq!(pool.stats().idle, 0);
        assert_eq!(text(pool.send(&target, get("/2"), &LIMITS).await.unwrap()).await, "ok");
    });
}

#[test]
fn a_request_on_a_dead_connection_comes_back_untouched() {
    on_a_core(async {
        let (near, mut far) = UnixStream::pair().unwrap();
        let ends = Instant::now() + Duration::from_secs(60);
        let link = Link::open(Stream::Unix(near), ends, &PoolSettings::default()).await.unwrap();
        let exchange = link.exchange(get("/1"), &LIMITS);
        let peer = async {
            head(&mut far).await.unwrap();
            far.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await.unwrap();
        };
        let (answered, ()) = tokio::join!(exchange, peer);
        let Ok(Answered::Head(_, link)) = answered else { panic!("no head") };
        // It dies between the look that the pool takes and the sending.
        drop(far);
        io_turn().await;
        let refused = link.exchange(post(full("pay once")), &LIMITS).await.err().unwrap();
        let SendError::Unused { request } = refused else { panic!("{}", word(&refused)) };
        assert_eq!(request.headers()["host"], "a.example");
        assert_eq!(request.into_body().collect().await.unwrap().to_bytes(), "pay once");
    });
}

#[test]
fn what_was_sent_is_not_called_unused() {
    let table = [
        ("", "truncated-head"),
        ("HTTP/1.1 200 O", "truncated-head"),
        ("HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", "length-and-coding"),
        ("HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n", "length-repeated"),
        ("HTTP/1.1 200 OK\nContent-Length: 0\r\n\r\n", "bare-lf"),
        (
            "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
            "unasked-switch",
        ),
        ("SSH-2.0-x\r\n\r\n", "not-http"),
    ];
    for (answer, want) in table {
        on_a_core(async move {
            let (listener, target) = listen().await;
            tokio::task::spawn_local(async move {
                let (mut stream, _) = listener.accept().await.unwrap();
                head(&mut stream).await.unwrap();
                stream.write_all(answer.as_bytes()).await.unwrap();
            });
            let pool = pool();
            let got = pool.send(&target, get("/"), &LIMITS).await.err().unwrap();
            assert!(word(&got) == want || (answer.is_empty() && word(&got) == "sent"), "{answer}: {got:?}");
            assert_eq!(pool.stats().idle, 0);
        });
    }
}

#[test]
fn an_answer_that_breaks_off_is_an_error_and_not_a_short_answer() {
    for (answer, want) in [
        ("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n01234", "truncated-body"),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", "truncated-body"),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;x=y\r\nhello\r\n0\r\n\r\n",
            "chunk-extension",
        ),
    ] {
        on_a_core(async move {
            let (listener, target) = listen().await;
            tokio::task::spawn_local(async move {
                let (mut stream, _) = listener.accept().await.unwrap();
                head(&mut stream).await.unwrap();
                stream.write_all(answer.as_bytes()).await.unwrap();
            });
            let pool = pool();
            let broken = match pool.send(&target, get("/"), &LIMITS).await {
                Ok(answer) => answer.into_body().collect().await.unwrap_err(),
                Err(SendError::Malformed(fault)) => AnswerFault::Malformed(fault),
                Err(other) => panic!("{other:?}"),
            };
            let AnswerFault::Malformed(fault) = broken else { panic!("{broken:?}") };
            assert_eq!(fault.class(), want);
            assert_eq!(pool.stats().idle, 0);
        });
    }
}

#[test]
fn a3_after_an_upgrade_bytes_pass_and_the_connection_is_never_kept() {
    on_a_core(async {
        let (listener, target) = listen().await;
        tokio::task::spawn_local(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let asked = head(&mut stream).await.unwrap().to_ascii_lowercase();
            assert!(asked.contains("upgrade: websocket\r\n"), "{asked}");
            let answer =
                "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\nearly";
            stream.write_all(answer.as_bytes()).await.unwrap();
            let mut got = [0; 4];
            stream.read_exact(&mut got).await.unwrap();
            stream.write_all(&got).await.unwrap();
        });
        let pool = pool();
        let mut answer = pool.send(&target, upgrade(), &LIMITS).await.unwrap();
        assert_eq!(answer.status(), 101);
        let mut tunnel = answer.body_mut().take_upgraded().unwrap();
        assert!(answer.body_mut().take_upgraded().is_none());
        tunnel.write_all(b"ping").await.unwrap();
        let mut got = String::new();
        tunnel.read_to_string(&mut got).await.unwrap();
        assert_eq!(got, "earlyping");
        drop(answer);
        assert_eq!(pool.stats().idle, 0);
    });
}

fn upgrade() -> Request<TestBody> {
    Request::get("/chat")
        .header("host", "a.example")
        .header("connection", "upgrade")
        .header("upgrade", "websocket")
        .header("sec-websocket-version", "13")
        .header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==")
        .body(empty())
        .unwrap()
}

#[test]
fn a3_an_upgrade_that_was_refused_leaves_nothing_to_keep() {
    on_a_core(async {
        let (listener, target) = listen().await;
        tokio::task::spawn_local(scripted(listener, vec![vec![OK, OK]]));
        let pool = pool();
        assert_eq!(text(pool.send(&target, upgrade(), &LIMITS).await.unwrap()).await, "ok");
        assert_eq!(pool.stats().idle, 0);
    });
}

#[test]
fn e8_an_upstream_that_does_not_answer_costs_the_head_time_and_its_connection() {
    on_a_core(async {
        let (listener, target) = listen().await;
        let peer = tokio::task::spawn_local(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            wait_for_end(&mut stream).await
        });
        let hasty = Timeouts { answer_head: Duration::from_millis(20), ..LIMITS };
        let got = pool().send(&target, get("/"), &hasty).await.err().unwrap();
        assert_eq!(word(&got), "timeout");
        assert!(!peer.await.unwrap().is_empty());
    });
}

#[test]
fn a_callers_broken_body_is_not_blamed_on_the_upstream() {
    on_a_core(async {
        let (listener, target) = listen().await;
        tokio::task::spawn_local(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            wait_for_end(&mut stream).await
        });
        let got = pool().send(&target, post(broken()), &LIMITS).await.err().unwrap();
        assert_eq!(word(&got), "body", "{got:?}");
    });
}

#[test]
fn an_upstream_that_is_not_there_gives_the_request_back() {
    on_a_core(async {
        let (listener, target) = listen().await;
        drop(listener);
        let got = pool().send(&target, post(full("x")), &LIMITS).await.err().unwrap();
        let SendError::Connect { cause, request } = got else { panic!("{got:?}") };
        assert_eq!(cause.word(), "connect-failed");
        assert_eq!(request.into_body().collect().await.unwrap().to_bytes(), "x");
    });
}

#[test]
fn a_unix_socket_is_an_address_too() {
    on_a_core(async {
        let folder = tempfile::tempdir().unwrap();
        let path: Arc<std::path::Path> = folder.path().join("s").into();
        let listener = tokio::net::UnixListener::bind(&path).unwrap();
        tokio::task::spawn_local(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            while head(&mut stream).await.is_some() {
                stream.write_all(OK.as_bytes()).await.unwrap();
            }
        });
        let target = Target::plaintext(Address::Unix(path), Protocol::Http1);
        let pool = pool();
        assert_eq!(twice(&pool, &target, get("/1")).await, ("ok".into(), "ok".into()));
        assert_eq!(pool.stats().opened, 1);
    });
}

#[test]
fn what_is_kept_is_bounded_in_number_and_in_age() {
    let kept = |change: fn(&mut PoolSettings)| {
        let (send, receive) = std::sync::mpsc::channel();
        on_a_core(async move {
            let (listener, target) = listen().await;
            tokio::task::spawn_local(async move {
                loop {
                    let (mut stream, _) = listener.accept().await.unwrap();
                    tokio::task::spawn_local(async move {
                        while head(&mut stream).await.is_some() {
                            stream.write_all(OK.as_bytes()).await.unwrap();
                        }
                    });
                }
            });
            let pool = pool_with(change);
            let both =
                tokio::join!(pool.send(&target, get("/1"), &LIMITS), pool.send(&target, get("/2"), &LIMITS));
            assert_eq!(
                (text(both.0.unwrap()).await, text(both.1.unwrap()).await),
                ("ok".into(), "ok".into())
            );
            let held = pool.stats().idle;
            pool.sweep();
            send.send((held, pool.stats().idle)).unwrap();
        });
        receive.recv().unwrap()
    };
    assert_eq!(kept(|_| {}), (2, 2));
    assert_eq!(kept(|s| s.idle = 1), (1, 1));
    assert_eq!(kept(|s| s.idle = 0), (0, 0));
    assert_eq!(kept(|s| s.idle_age = Duration::ZERO), (2, 0));
    assert_eq!(kept(|s| s.lifetime = Duration::ZERO), (0, 0));
}

#[test]
fn what_is_retired_is_closed_now_or_when_it_ends() {
    on_a_core(async {
        let (listener, target) = listen().await;
        let (go_on, may_go_on) = tokio::sync::oneshot::channel::<()>();
        tokio::task::spawn_local(async move {
            let (mut idle, _) = listener.accept().await.unwrap();
            head(&mut idle).await.unwrap();
            idle.write_all(OK.as_bytes()).await.unwrap();
            head(&mut idle).await.unwrap();
            idle.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\no").await.unwrap();
            may_go_on.await.unwrap();
            idle.write_all(b"k").await.unwrap();
            assert!(wait_for_end(&mut idle).await.is_empty());
            scripted(listener, vec![vec![OK]]).await
        });
        let pool = pool();
        assert_eq!(text(pool.send(&target, get("/1"), &LIMITS).await.unwrap()).await, "ok");
        let busy = pool.send(&target, get("/2"), &LIMITS).await.unwrap();
        pool.retire(|t| t == &target);
        go_on.send(()).unwrap();
        assert_eq!(text(busy).await, "ok");
        assert_eq!(pool.stats().idle, 0);
        assert_eq!(text(pool.send(&target, get("/3"), &LIMITS).await.unwrap()).await, "ok");
        pool.retire(|_| true);
        assert_eq!(pool.stats().idle, 0);
    });
}

#[test]
fn other_bounds_hold_for_the_next_connection_and_equal_ones_close_nothing() {
    on_a_core(async {
        let (listener, target) = listen().await;
        tokio::task::spawn_local(scripted(listener, vec![vec![OK, OK], vec![OK]]));
        let pool = pool();
        assert_eq!(text(pool.send(&target, get("/1"), &LIMITS).await.unwrap()).await, "ok");
        pool.bound(PoolSettings::default());
        assert_eq!(text(pool.send(&target, get("/2"), &LIMITS).await.unwrap()).await, "ok");
        assert_eq!((pool.stats().opened, pool.stats().idle), (1, 1));
        pool.bound(PoolSettings { idle: 0, ..PoolSettings::default() });
        assert_eq!(pool.stats().idle, 0);
        assert_eq!(text(pool.send(&target, get("/3"), &LIMITS).await.unwrap()).await, "ok");
        assert_eq!(pool.stats().idle, 0, "none is kept under the new bounds");
    });
}

#[test]
fn a_large_body_streams_both_ways_under_back_pressure() {
    on_a_core(async {
        const PIECE: usize = 16 * 1024;
        const PIECES: usize = 128;
        let (listener, target) = listen().await;
        tokio::task::spawn_local(async move {
            let (stream, _) = listener.accept().await.unwrap();
            let echo = hyper::service::service_fn(|request: Request<hyper::body::Incoming>| async move {
                Ok::<_, std::convert::Infallible>(Response::new(request.into_body()))
            });
            let server = hyper::server::conn::http1::Builder::new();
            server.serve_connection(hyper_util::rt::TokioIo::new(stream), echo).await
        });
        let body = Pieces { left: PIECES, piece: Bytes::from(vec![7; PIECE]) }.boxed_unsync();
        let pool = pool();
        let answer = pool.send(&target, post(body), &LIMITS).await.unwrap();
        let got = answer.into_body().collect().await.unwrap().to_bytes();
        assert_eq!(got.len(), PIECE * PIECES);
        assert!(got.iter().all(|b| *b == 7));
        assert_eq!(pool.stats().idle, 1);
    });
}

/// A body of equal pieces, without a length.
struct Pieces {
    left: usize,
    piece: Bytes,
}

impl Body for Pieces {
    type Data = Bytes;
    type Error = io::Error;
    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        let more = self.left.checked_sub(1);
        self.left = more.unwrap_or(0);
        std::task::Poll::Ready(more.map(|_| Ok(Frame::data(self.piece.clone()))))
    }
}
