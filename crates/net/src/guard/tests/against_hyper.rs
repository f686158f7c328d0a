//! The guard in front of hyper's own server, with anything a stranger may send.
//!
//! INVARIANT under test: hyper never answers by itself. Every answer carries the mark of our service.

use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};

use super::super::fault::{Fault, Flaw, Leg};
use super::super::io::Downstream;
use super::super::limits::{Limits, Timeouts};
use super::readers::{Message, Numbers, httparse_reads, hyper_reads, message, mutated, through_guard};
use super::vectors::vectors;

/// What the service saw, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Seen {
    Request(Message),
    /// The body broke off: what hyper's error leads back to.
    Broken(Option<Fault>),
    Refusal(Fault),
}

/// A service behind the guard that answers everything with its mark.
async fn serve(io: DuplexStream, limits: Limits) -> Vec<Seen> {
    let mut server = http1::Builder::new();
    limits.tune(&mut server);
    let (guard, handle) = Downstream::new(io, limits, Timeouts::default());
    let seen = Arc::new(Mutex::new(Vec::new()));
    let sink = Arc::clone(&seen);
    let service = service_fn(move |request: Request<Incoming>| {
        let verdict = handle.next_request();
        let (sink, handle) = (Arc::clone(&sink), handle.clone());
        async move {
            let (status, seen) = match verdict {
                Err(fault) => (fault.reason().status(), Seen::Refusal(fault)),
                Ok(()) => match message(request).await {
                    Ok(message) => (200, Seen::Request(message)),
                    Err(error) => {
                        let fault = Fault::of(&error);
                        assert_eq!(fault, handle.fault());
                        (fault.map_or(500, |f| f.reason().status()), Seen::Broken(fault))
                    }
                },
            };
            sink.lock().expect("one thread").push(seen);
            handle.resume();
            handle.answered();
            let answer = Response::builder().status(status).header("x-from", "service");
            Ok::<_, Infallible>(answer.body(Full::new(Bytes::from_static(b"ours"))).expect("answer"))
        }
    });
    let _ = server.serve_connection(TokioIo::new(guard), service).await;
    seen.lock().expect("one thread").clone()
}

/// Sends `wire`, keeps the line open, and reads until the other side closes. Time is paused: waiting costs nothing.
fn converse(wire: &[u8]) -> (Vec<Seen>, Vec<u8>) {
    converse_within(Limits::default(), wire)
}

fn converse_within(limits: Limits, wire: &[u8]) -> (Vec<Seen>, Vec<u8>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build();
    runtime.expect("runtime").block_on(async {
        let (client, server) = tokio::io::duplex(1 << 20);
        let (mut from, mut to) = tokio::io::split(client);
        to.write_all(wire).await.expect("room");
        let mut answers = Vec::new();
        let (seen, read) = tokio::join!(serve(server, limits), from.read_to_end(&mut answers));
        read.expect("a clean end");
        (seen, answers)
    })
}

/// Checks that `answers` is a series of our service's answers, with nothing between, and gives their statuses.
fn statuses(mut answers: &[u8]) -> Vec<u16> {
    let mut statuses = Vec::new();
    while !answers.is_empty() {
        let mut headers = [httparse::EMPTY_HEADER; 32];
        let mut answer = httparse::Response::new(&mut headers);
        let httparse::Status::Complete(length) = answer.parse(answers).expect("an answer") else {
            panic!("half an answer");
        };
        let status = answer.code.expect("whole");
        let is_ours = answer.headers.iter().any(|h| h.name == "x-from" && h.value == b"service");
        assert!(is_ours || status == 100, "hyper answered by itself: {}", answers.escape_ascii());
        let body = if is_ours && !answers[length..].starts_with(b"HTTP/") {
            4.min(answers.len() - length)
        } else {
            0
        };
        answers = &answers[length + body..];
        statuses.push(status);
    }
    statuses
}

fn checked(wire: &[u8]) -> Vec<Seen> {
    let (seen, answers) = converse(wire);
    let statuses = statuses(&answers);
    assert!(
        statuses.iter().all(|s| matches!(s, 100 | 200 | 400 | 405 | 408 | 414 | 417 | 431)),
        "{statuses:?}"
    );
    seen
}

#[test]
fn a_good_request_and_a_bad_one_behind_it_are_answered_in_order_and_the_rest_is_never_read() {
    let wire =
        b"GET /1 HTTP/1.1\r\nHost: a\r\n\r\nPOST /2 HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi\
        GET /3 HTTP/1.1\r\nHost: a\r\nContent-Length: +1\r\n\r\nGET /4 HTTP/1.1\r\nHost: a\r\n\r\n";
    let (seen, answers) = converse(wire);
    assert_eq!(statuses(&answers), [200, 200, 400]);
    let targets = seen.iter().map(|s| match s {
        Seen::Request(message) => message.target.as_str(),
        Seen::Broken(_) => "broken",
        Seen::Refusal(fault) => fault.class(),
    });
    assert_eq!(targets.collect::<Vec<_>>(), ["/1", "/2", "length-syntax"]);
}

#[test]
fn each_kind_of_refusal_has_its_status() {
    let long = format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "a".repeat(9_000));
    let fat = format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "a".repeat(17_000));
    let many = format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "X: y\r\n".repeat(96));
    let table: [(&str, u16); 7] = [
        ("GET / HTTP/1.1\r\n\r\n", 400),
        (&long, 414),
        (&fat, 431),
        (&many, 431),
        ("BREW / HTTP/1.1\r\nHost: a\r\n\r\n", 405),
        ("GET / HTTP/1.1\r\nHost: a\r\nExpect: tea\r\n\r\n", 417),
        ("GET / HTTP/1.1\r\nHost", 408),
    ];
    for (wire, status) in table {
        assert_eq!(statuses(&converse(wire.as_bytes()).1), [status], "{:?}", wire.lines().next());
    }
}

#[test]
fn e5_the_largest_head_and_trailers_that_the_guard_takes_are_no_problem_for_hyper() {
    let fields = format!("X-{}: {}\r\n", "n".repeat(200), "v".repeat(280)).repeat(95);
    let wire = format!("GET /{} HTTP/1.1\r\nHost: a\r\n{fields}\r\n", "p".repeat(1_000));
    assert_eq!(statuses(&converse(wire.as_bytes()).1), [200], "{} bytes", wire.len());
    let trailers = format!("X-{}: {}\r\n", "n".repeat(100), "v".repeat(140)).repeat(32);
    let wire = format!("PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n{trailers}\r\n");
    let (seen, answers) = converse(wire.as_bytes());
    assert_eq!(statuses(&answers), [200]);
    assert!(matches!(&seen[..], [Seen::Request(message)] if message.trailers.len() == 32));
}

#[test]
fn e5_no_setting_lets_a_head_through_that_hyper_would_refuse() {
    let limits = Limits { target: 1 << 20, line: 1 << 20, head: 1 << 20, fields: 1_000, ..Limits::default() };
    let status = |wire: &str| statuses(&converse_within(limits.clone(), wire.as_bytes()).1);
    for (target, fields, version, want) in [
        (65_534, 0, "1.1", 200),
        (65_535, 0, "1.1", 414),
        (1, 97, "1.0", 200),
        (1, 98, "1.0", 431),
        (1, 97, "1.1", 200),
    ] {
        let (path, fields) = ("p".repeat(target - 1), "X: y\r\n".repeat(fields));
        let wire = format!("GET /{path} HTTP/{version}\r\nHost: a\r\n{fields}\r\n");
        assert_eq!(status(&wire), [want], "{target} {}", fields.len());
    }
    let large = format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "y".repeat(250 * 1_024));
    assert_eq!(status(&large), [200]);
    let larger = format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "y".repeat(256 * 1_024));
    assert_eq!(status(&larger), [431]);
}

#[test]
fn a4_a_body_that_breaks_is_seen_by_the_service_as_its_fault() {
    let wire = b"PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5;x\r\nhello\r\n0\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n";
    let (seen, answers) = converse(wire);
    assert_eq!(seen, [Seen::Broken(Some(Fault::new(Flaw::ChunkExtension, Leg::Downstream)))]);
    assert_eq!(statuses(&answers), [400]);
}

/// hyper's reading of what the guard wrote, and what the service saw through the guard, are the same requests.
fn agrees(wire: &[u8]) {
    let (written, flaw) = through_guard(wire);
    let (by_hyper, _) = hyper_reads(&written);
    assert_eq!(by_hyper, httparse_reads(&written), "two readings of {}", wire.escape_ascii());
    let seen = checked(wire);
    let whole = seen.iter().filter_map(|s| match s {
        Seen::Request(message) => Some(message.clone()),
        Seen::Broken(_) | Seen::Refusal(_) => None,
    });
    assert_eq!(whole.collect::<Vec<_>>(), by_hyper, "{}", wire.escape_ascii());
    let refusals = seen.iter().filter(|s| matches!(s, Seen::Refusal(_))).count();
    assert!(refusals <= 1 && (refusals == 0 || flaw.is_some()), "{}", wire.escape_ascii());
    if flaw.is_none() {
        same_as_unguarded(wire, &by_hyper);
    }
}

/// What the guard takes without a word, hyper alone reads as the same messages: the guard changes spelling, not sense.
fn same_as_unguarded(wire: &[u8], guarded: &[Message]) {
    let (unguarded, _) = hyper_reads(wire);
    let told = |m: &Message| {
        let origin = m.target.split_once("://").and_then(|(_, rest)| rest.split_once('/'));
        let path = origin.map_or_else(|| m.target.clone(), |(_, path)| format!("/{path}"));
        let own = ["connection", "upgrade", "te", "expect", "keep-alive", "http2-settings", "content-length"];
        let kept =
            |(name, _): &&(String, Vec<u8>)| !own.contains(&name.as_str()) && !name.starts_with("proxy");
        let fields: Vec<_> = m.fields.iter().filter(kept).cloned().collect();
        (m.method.clone(), path, fields, m.body.clone(), m.trailers.clone())
    };
    for (with, without) in guarded.iter().zip(&unguarded) {
        let (with, mut without) = (told(with), told(without));
        for (name, value) in &mut without.2 {
            if name == "transfer-encoding" {
                value.make_ascii_lowercase();
            }
        }
        assert_eq!(with, without, "{}", wire.escape_ascii());
    }
}

#[test]
fn a1_a2_a7_the_guard_hyper_and_httparse_agree_on_every_vector() {
    for vector in vectors().iter().filter(|v| !v.is_answer()) {
        agrees(&vector.bytes());
    }
}

const SEEDS: &[&[u8]] = &[
    b"GET /a?b HTTP/1.1\r\nHost: a\r\nX: y\r\n\r\nGET /2 HTTP/1.1\r\nHost: a\r\n\r\n",
    b"POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhelloGET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
    b"PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n5\r\nhello\r\n0\r\nx: y\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET /ws HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\nGET /2 HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET http://a/x HTTP/1.1\r\nHost: a\r\nTE: trailers\r\n\r\nOPTIONS * HTTP/1.1\r\nHost: a\r\n\r\nPUT / HTTP/1.0\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi",
];

#[test]
fn no_mutation_of_a_request_reaches_an_answer_of_hyper_or_a_second_reading() {
    let mut numbers = Numbers::new(20_261_107);
    for _ in 0..1_500 {
        let wire = mutated(SEEDS[numbers.below(SEEDS.len())], &mut numbers);
        agrees(&wire);
    }
}

#[test]
fn e8_a_silent_connection_is_closed_without_an_answer() {
    assert_eq!(converse(b""), (Vec::new(), Vec::new()));
    assert_eq!(converse(b"\r\n"), (Vec::new(), Vec::new()));
    let (_, answers) = converse(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(statuses(&answers), [200], "and nothing at the end of the idle time");
}

#[test]
fn e8_a_slow_body_ends_the_request_with_408() {
    let (seen, answers) = converse(b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhel");
    assert_eq!(seen, [Seen::Broken(Some(Fault::new(Flaw::SlowBody, Leg::Downstream)))]);
    assert_eq!(statuses(&answers), [408]);
}
