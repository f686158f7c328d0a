//! The streams with a peer that is under our hand, on a clock that is.

use std::io;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty};
use hyper::client::conn::http1 as client;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};
use tokio::time::{Instant, advance, timeout};

use super::super::fault::{Fault, Flaw};
use super::super::limits::{Limits, MinRate, Timeouts, UpstreamTimeouts};
use super::{Downstream, DownstreamHandle, ExpectedAnswer, Upstream, UpstreamHandle};

const SHORT: Duration = Duration::from_millis(1);

fn downstream(room: usize) -> (DuplexStream, Downstream<DuplexStream>, DownstreamHandle) {
    let (peer, ours) = duplex(room);
    let (guard, handle) = Downstream::new(ours, Limits::default(), Timeouts::default());
    (peer, guard, handle)
}

fn upstream() -> (DuplexStream, Upstream<DuplexStream>, UpstreamHandle) {
    let (peer, ours) = duplex(64 * 1024);
    let (guard, handle) = Upstream::new(ours, Limits::default(), UpstreamTimeouts::default());
    (peer, guard, handle)
}

/// All that can be read at the moment.
async fn at_hand<S: tokio::io::AsyncRead + Unpin>(stream: &mut S) -> Vec<u8> {
    let mut all = Vec::new();
    let mut part = [0; 512];
    while let Ok(Ok(count)) = timeout(SHORT, stream.read(&mut part)).await {
        if count == 0 {
            break;
        }
        all.extend_from_slice(&part[..count]);
    }
    all
}

fn flaw(error: &io::Error) -> Option<Flaw> {
    Fault::of(error).map(Fault::flaw)
}

const UPGRADE: &[u8] =
    b"GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n\x81\x02hiGET /x HTTP/1.1\r\n";

#[tokio::test(start_paused = true)]
async fn a3_bytes_behind_an_upgrade_wait_for_the_tunnel() {
    let (mut peer, mut guard, handle) = downstream(64 * 1024);
    peer.write_all(UPGRADE).await.expect("room");
    let head = at_hand(&mut guard).await;
    assert!(head.ends_with(b"connection: upgrade\r\nupgrade: websocket\r\n\r\n"), "{}", head.escape_ascii());
    assert_eq!(handle.next_request(), Ok(()));
    peer.write_all(b"more").await.expect("room");
    assert_eq!(at_hand(&mut guard).await, b"", "held");
    handle.tunnel();
    assert_eq!(at_hand(&mut guard).await, b"\x81\x02hiGET /x HTTP/1.1\r\nmore");
    peer.write_all(b"\0raw\n").await.expect("room");
    assert_eq!(at_hand(&mut guard).await, b"\0raw\n");
    assert_eq!(handle.bytes_in(), u64::try_from(UPGRADE.len()).expect("small") + 9);
}

#[tokio::test(start_paused = true)]
async fn a3_a_reader_that_already_waits_is_woken_by_the_decision() {
    let (mut peer, mut guard, handle) = downstream(64 * 1024);
    peer.write_all(UPGRADE).await.expect("room");
    at_hand(&mut guard).await;
    let (read, ()) = tokio::join!(
        async {
            let mut part = [0; 64];
            let count = guard.read(&mut part).await.expect("bytes");
            part[..count].to_vec()
        },
        async {
            tokio::task::yield_now().await;
            handle.tunnel();
        }
    );
    assert!(read.starts_with(b"\x81\x02hi"));
}

#[tokio::test(start_paused = true)]
async fn a3_held_bytes_are_bounded_and_read_as_requests_when_there_is_no_tunnel() {
    let (mut peer, mut guard, handle) = downstream(64 * 1024);
    let head = b"GET /ws HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n";
    let next = b"GET /2 HTTP/1.1\r\nHost: a\r\n\r\n";
    peer.write_all(head).await.expect("room");
    peer.write_all(next).await.expect("room");
    at_hand(&mut guard).await;
    handle.resume();
    assert_eq!(at_hand(&mut guard).await, b"GET /2 HTTP/1.1\r\nhost: a\r\n\r\n");

    let (mut peer, mut guard, _handle) = downstream(16);
    let flood = async {
        peer.write_all(head).await.expect("taken");
        let mut taken = 0;
        while timeout(SHORT, peer.write_all(&[0; 64])).await.is_ok() {
            taken += 64;
        }
        taken
    };
    let read = async {
        let mut part = [0; 512];
        loop {
            if timeout(SHORT * 5_000, guard.read(&mut part)).await.is_err() {
                return;
            }
        }
    };
    let (taken, ()) = tokio::join!(flood, read);
    assert!((16 * 1024 - 64..24 * 1024).contains(&taken), "{taken}");
}

#[tokio::test(start_paused = true)]
async fn a_tunnel_without_an_upgrade_request_opens_nothing() {
    let (mut peer, mut guard, handle) = downstream(64 * 1024);
    handle.tunnel();
    peer.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\nraw bytes\r\n\r\n").await.expect("room");
    let read = at_hand(&mut guard).await;
    assert!(read.ends_with(b"connection: close\r\n\r\n") && !read.windows(3).any(|w| w == b"raw"));
    assert_eq!(handle.next_request(), Ok(()));
    assert_eq!(handle.next_request().expect_err("a refusal").class(), "request-line");
}

#[tokio::test(start_paused = true)]
async fn e8_our_own_back_pressure_is_never_held_against_the_caller() {
    let (mut peer, mut guard, handle) = downstream(64 * 1024);
    peer.write_all(b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 20000\r\n\r\n").await.expect("room");
    peer.write_all(&[b'x'; 20_000]).await.expect("room");
    let mut part = [0; 100];
    let mut read = 0;
    for _ in 0..10 {
        read += guard.read(&mut part).await.expect("bytes");
        advance(Duration::from_secs(3_600)).await;
    }
    read += at_hand(&mut guard).await.len();
    assert!(read > 20_000 && handle.fault().is_none());
}

#[tokio::test(start_paused = true)]
async fn e8_a_body_that_trickles_is_ended_and_one_at_the_rate_is_not() {
    for (bytes, pause, slow) in [(1, 1, true), (600, 1, false), (100, 1, true), (9_000, 15, false)] {
        let (mut peer, mut guard, handle) = downstream(64 * 1024);
        peer.write_all(b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 900000\r\n\r\n").await.expect("room");
        let send = async {
            for _ in 0..100 {
                tokio::time::sleep(Duration::from_secs(pause)).await;
                peer.write_all(&vec![b'x'; bytes]).await?;
            }
            Ok::<_, io::Error>(peer)
        };
        let mut all = Vec::new();
        let (sent, end) = tokio::join!(send, async {
            let end = timeout(Duration::from_secs(100 * pause - 1), guard.read_to_end(&mut all)).await;
            drop(guard);
            end
        });
        let found = end.ok().and_then(|end| flaw(&end.expect_err("a fault")));
        assert_eq!(found, slow.then_some(Flaw::SlowBody), "{bytes} bytes in {pause} s");
        assert_eq!(handle.fault().map(Fault::flaw), found);
        drop(sent);
    }
}

#[tokio::test(start_paused = true)]
async fn e8_a_head_has_its_time_from_its_first_byte_on() {
    let (mut peer, mut guard, handle) = downstream(64 * 1024);
    let start = Instant::now();
    let send = async {
        tokio::time::sleep(Duration::from_secs(9)).await;
        for byte in b"GET / HTTP/1.1\r\nHost: a\r\nX: y" {
            peer.write_all(&[*byte]).await.expect("room");
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    };
    let mut part = [0; 512];
    let (read, ()) = tokio::join!(
        async {
            let count = guard.read(&mut part).await.expect("the refusal");
            (count, start.elapsed())
        },
        send
    );
    assert_eq!(read.1.as_secs(), 19, "nine of silence, ten of head");
    let fault = handle.next_request().expect_err("a refusal");
    assert_eq!((fault.flaw(), fault.reason().status()), (Flaw::SlowHead, 408));
    assert!(part[..read.0].starts_with(b"GET / HTTP/1.1\r\n"));
}

#[tokio::test(start_paused = true)]
async fn e8_each_head_has_the_whole_time() {
    let (mut peer, mut guard, handle) = downstream(64 * 1024);
    let send = async {
        peer.write_all(b"GET / ").await.expect("room");
        for _ in 0..5 {
            tokio::time::sleep(Duration::from_secs(8)).await;
            peer.write_all(b"HTTP/1.1\r\nHost: a\r\n\r\nGET / ").await.expect("room");
        }
    };
    let mut all = Vec::new();
    let read = timeout(Duration::from_secs(45), guard.read_to_end(&mut all));
    let (read, ()) = tokio::join!(read, send);
    assert!(read.is_err() && handle.fault().is_none(), "five heads, eight seconds each");
    assert_eq!(all.windows(4).filter(|w| *w == b"\r\n\r\n").count(), 5);
}

#[tokio::test(start_paused = true)]
async fn an_upgrade_that_nobody_decides_ends_with_the_idle_time() {
    let (mut peer, mut guard, handle) = downstream(64 * 1024);
    peer.write_all(UPGRADE).await.expect("room");
    at_hand(&mut guard).await;
    handle.next_request().expect("good");
    handle.answered();
    let start = Instant::now();
    assert_eq!(guard.read(&mut [0; 8]).await.expect("the end"), 0);
    assert_eq!(start.elapsed().as_secs(), 60);
}

#[tokio::test(start_paused = true)]
async fn e8_idle_time_begins_when_the_answer_has_ended_and_ends_in_a_clean_close() {
    let (mut peer, mut guard, handle) = downstream(64 * 1024);
    peer.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.expect("room");
    at_hand(&mut guard).await;
    handle.next_request().expect("good");
    let mut part = [0; 64];
    let busy = timeout(Duration::from_secs(1_000), guard.read(&mut part)).await;
    assert!(busy.is_err(), "an answer may take as long as it likes");
    handle.answered();
    let start = Instant::now();
    assert_eq!(guard.read(&mut part).await.expect("the end"), 0);
    assert_eq!(start.elapsed().as_secs(), 60);
    assert_eq!(handle.fault(), None);
}

#[tokio::test(start_paused = true)]
async fn e8_a_reader_that_takes_too_little_is_dropped() {
    let (mut peer, mut guard, _handle) = downstream(1_000);
    let write = async { guard.write_all(&[b'x'; 60_000]).await };
    let read = async {
        let mut part = [0; 10];
        while peer.read(&mut part).await.is_ok_and(|count| count > 0) {
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    };
    let start = Instant::now();
    let error = tokio::select! {
        written = write => written.expect_err("too slow"),
        () = read => panic!("never ends"),
    };
    assert_eq!(flaw(&error), Some(Flaw::SlowReader));
    assert!((30..40).contains(&start.elapsed().as_secs()), "{:?}", start.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_still_sends_is_drained_for_a_moment_after_a_refusal() {
    let (mut peer, mut guard, handle) = downstream(1_000);
    let send = async {
        let mut sent = 0usize;
        while peer.write_all(b"GARBAGE \0 ").await.is_ok() {
            sent += 10;
            if sent.is_multiple_of(10_000) {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
        sent
    };
    let close = async {
        assert!(!at_hand(&mut guard).await.is_empty());
        let start = Instant::now();
        guard.shutdown().await.expect("closed");
        drop(guard);
        start.elapsed()
    };
    let (sent, took) = tokio::join!(send, close);
    assert!(handle.next_request().is_err());
    assert!(sent > 50_000 && sent < 400_000, "{sent}");
    assert!(took <= Duration::from_secs(2), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn a4_a_caller_that_leaves_while_the_last_request_is_answered_is_noticed() {
    let (mut peer, mut guard, handle) = downstream(64 * 1024);
    peer.write_all(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\nnever read").await.expect("room");
    at_hand(&mut guard).await;
    drop(peer);
    assert_eq!(guard.read(&mut [0; 8]).await.expect("the end"), 0);
    assert_eq!(handle.fault(), None);
}

#[tokio::test(start_paused = true)]
async fn a4_bytes_that_were_there_before_the_request_poison_the_connection() {
    for when in ["before", "between"] {
        let (mut peer, mut guard, handle) = upstream();
        if when == "between" {
            handle.expect(ExpectedAnswer::Plain);
        }
        peer.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await.expect("room");
        let error = guard.read(&mut [0; 64]).await.expect_err("nobody asked");
        assert_eq!(flaw(&error), Some(Flaw::Unsolicited), "{when}");
        assert_eq!(handle.fault().map(|f| f.reason().status()), Some(502));
    }
}

#[tokio::test(start_paused = true)]
async fn e8_an_answer_may_be_silent_for_its_time_and_a_route_may_give_it_more() {
    for (given, silence) in [(None, 60), (Some(Duration::from_secs(600)), 600)] {
        let (mut peer, mut guard, handle) = upstream();
        handle.set_body_idle(given);
        handle.expect(ExpectedAnswer::Plain);
        guard.write_all(b"GET / HTTP/1.1\r\n\r\n").await.expect("room");
        peer.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab").await.expect("room");
        let start = Instant::now();
        at_hand(&mut guard).await;
        let error = guard.read(&mut [0; 64]).await.expect_err("silence");
        assert_eq!(flaw(&error), Some(Flaw::SlowBody));
        assert_eq!(Fault::of(&error).map(|f| f.reason().status()), Some(504));
        assert_eq!(start.elapsed().as_secs(), silence);
    }
}

/// A hyper client over the guard, and a peer that says what it is told.
async fn asks(
    request: Request<Empty<Bytes>>,
    due: ExpectedAnswer,
    answer: &[u8],
) -> hyper::Result<Response<Bytes>> {
    let (mut peer, guard, handle) = upstream();
    let (mut sender, connection) = client::handshake(TokioIo::new(guard)).await?;
    handle.expect(due);
    let reply = async {
        let mut part = [0; 512];
        let _ = peer.read(&mut part).await;
        let _ = peer.write_all(answer).await;
        drop(peer);
    };
    let ask = async {
        let (head, body) = sender.send_request(request).await?.into_parts();
        Ok(Response::from_parts(head, body.collect().await?.to_bytes()))
    };
    let (answer, _, ()) = tokio::join!(ask, connection, reply);
    answer
}

fn plain() -> Request<Empty<Bytes>> {
    Request::builder().uri("/").header("host", "a").body(Empty::new()).expect("request")
}

#[tokio::test(start_paused = true)]
async fn hyper_reads_answers_through_the_guard() {
    let table: [(&[u8], u16, &[u8]); 5] = [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", 200, b"ok"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nx: y\r\n\r\n", 200, b"ok"),
        (b"HTTP/1.0 200 OK\r\n\r\nto the end", 200, b"to the end"),
        (b"HTTP/1.1 103 E\r\n\r\nHTTP/1.1 404 N\r\nContent-Length: 0\r\n\r\n", 404, b""),
        (b"HTTP/1.1 204 N\r\nContent-Length: 0\r\n\r\n", 204, b""),
    ];
    for (wire, status, body) in table {
        let answer = asks(plain(), ExpectedAnswer::Plain, wire).await.expect("an answer");
        assert_eq!(
            (answer.status().as_u16(), answer.body().as_ref()),
            (status, body),
            "{}",
            wire.escape_ascii()
        );
        assert!(answer.extensions().get::<hyper::ext::ReasonPhrase>().is_none(), "the phrase is ours");
    }
    let head =
        Request::builder().method("HEAD").uri("/").header("host", "a").body(Empty::new()).expect("request");
    let wire = b"HTTP/1.1 200 OK\r\nContent-Length: 200\r\n\r\n";
    assert_eq!(asks(head, ExpectedAnswer::ToHead, wire).await.expect("an answer").status(), StatusCode::OK);
}

#[tokio::test(start_paused = true)]
async fn a1_a4_hyper_is_told_why_an_answer_broke() {
    let table: [(&[u8], Flaw); 5] = [
        (
            b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            Flaw::LengthAndCoding,
        ),
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2;x\r\nok\r\n0\r\n\r\n",
            Flaw::ChunkExtension,
        ),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nok", Flaw::TruncatedBody),
        (b"HTTP/1.1 200 OK\r\nConte", Flaw::TruncatedHead),
        (b"HTTP/1.1 101 S\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n", Flaw::UnaskedSwitch),
    ];
    for (wire, flaw) in table {
        let error = asks(plain(), ExpectedAnswer::Plain, wire).await.expect_err("refused");
        assert_eq!(Fault::of(&error).map(Fault::flaw), Some(flaw), "{}", wire.escape_ascii());
    }
}

#[tokio::test(start_paused = true)]
async fn a3_the_upstream_side_of_a_tunnel_opens_after_its_101() {
    let (mut peer, mut guard, handle) = upstream();
    handle.expect(ExpectedAnswer::Upgrade);
    guard.write_all(b"GET /ws HTTP/1.1\r\n\r\n").await.expect("room");
    peer.write_all(b"HTTP/1.1 101 S\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n\x81\x00")
        .await
        .expect("room");
    let head = at_hand(&mut guard).await;
    assert!(head.starts_with(b"HTTP/1.1 101 ") && head.ends_with(b"\r\n\r\n"));
    handle.tunnel();
    assert_eq!(at_hand(&mut guard).await, b"\x81\x00");
}

#[tokio::test(start_paused = true)]
async fn the_rate_of_zero_means_silence_alone() {
    let rate = MinRate::new(0, Duration::from_secs(5));
    let timeouts = Timeouts { body: rate, ..Timeouts::default() };
    let (mut peer, ours) = duplex(1_000);
    let (mut guard, _handle) = Downstream::new(ours, Limits::default(), timeouts);
    peer.write_all(b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 50\r\n\r\n").await.expect("room");
    at_hand(&mut guard).await;
    let mut byte = [0; 1];
    for _ in 0..20 {
        let (read, ()) = tokio::join!(guard.read_exact(&mut byte), async {
            tokio::time::sleep(Duration::from_secs(4)).await;
            peer.write_all(b"x").await.expect("room");
        });
        read.expect("in time");
    }
    assert_eq!(flaw(&guard.read_exact(&mut byte).await.expect_err("silence")), Some(Flaw::SlowBody));
}
