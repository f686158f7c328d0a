//! E: one caller's excess is that caller's alone.

use std::time::{Duration, Instant};

use portcullis_e2e::Gateway;
use portcullis_e2e::gateway::HOST;
use portcullis_testkit::RawConn;
use portcullis_testkit::frames::{self, END_HEADERS, END_STREAM, kind};
use serde_json::json;

use crate::ask::{get, nothing_arrived, refused, refused_two, request, two};

const SOON: Duration = Duration::from_secs(5);

/// Sends the flood on one connection, which must be closed, while another caller is served.
fn is_cut_off(gateway: &Gateway, what: &str, flood: &[u8]) {
    let mut good = gateway.raw();
    let mut conn = gateway.frames();
    conn.send(frames::hello());
    for piece in flood.chunks(4096) {
        if conn.try_send(piece).is_err() {
            break;
        }
    }
    assert!(closed(&mut conn), "{what}: the connection is still open");
    let answer = good.exchange(format!("GET /public HTTP/1.1\r\nHost: {HOST}\r\n\r\n"));
    assert_eq!(answer.status, 200, "{what}: another caller suffers");
}

/// Closed, or told to go away.
fn closed(conn: &mut RawConn) -> bool {
    let got = match conn.read_to_close_within(SOON) {
        Ok(_) => return true,
        Err(got) => got,
    };
    frames::split(&got).iter().any(|frame| frame.kind == kind::GOAWAY && frame.error_code() != Some(0))
}

#[test]
fn e1_rapid_reset_closes_its_own_connection() {
    let gateway = Gateway::start();
    let flood: Vec<u8> = (0..400_u32)
        .flat_map(|n| {
            let stream = n * 2 + 1;
            let mut both = frames::get(stream, HOST, "/public");
            both.extend(frames::reset(stream, 8));
            both
        })
        .collect();
    is_cut_off(&gateway, "rapid reset", &flood);
    let record = gateway.record("the flood", |r| r["event"] == "connection" && r["class"] == "flood");
    assert!(record["fault"].as_str().is_some_and(|f| f.contains("reset")), "{record}");
}

#[test]
fn e2_e4_floods_of_every_kind_of_frame_close_their_own_connection() {
    let gateway = Gateway::start();
    let open = frames::headers(
        1,
        0,
        &[(":method", "GET"), (":scheme", "https"), (":authority", HOST), (":path", "/public")],
    );
    let mut continuations = open;
    for n in 0..64_u32 {
        continuations.extend(frames::frame(
            kind::CONTINUATION,
            0,
            1,
            &frames::block(&[("x-a", &n.to_string())]),
        ));
    }
    let mut empty = frames::headers(
        1,
        END_HEADERS,
        &[(":method", "POST"), (":scheme", "https"), (":authority", HOST), (":path", "/public")],
    );
    empty.extend(frames::data(1, 0, b"").repeat(400));
    let floods = [
        ("continuation", continuations),
        ("ping", frames::ping().repeat(400)),
        ("settings", frames::settings(&[]).repeat(200)),
        ("empty data", empty),
        ("priority", frames::frame(kind::PRIORITY, 0, 1, &[0, 0, 0, 0, 1]).repeat(1_000)),
    ];
    for (what, flood) in &floods {
        is_cut_off(&gateway, what, flood);
    }
    nothing_but_public(&gateway);
}

fn nothing_but_public(gateway: &Gateway) {
    assert!(gateway.plain.seen().iter().all(|seen| seen.target == "/public"));
}

#[test]
fn e5_heads_beyond_their_limits_are_refused_by_name() {
    let gateway = Gateway::start();
    let anna = gateway.anna();
    let many: String = (0..150).map(|n| format!("X-{n}: a\r\n")).collect();
    let crumbs =
        format!("Cookie: {}\r\n", (0..300).map(|n| format!("c{n}=1")).collect::<Vec<_>>().join("; "));
    let long = format!("X-Long: {}\r\n", "a".repeat(20_000));
    let large: String = (0..5).map(|n| format!("X-{n}: {}\r\n", "a".repeat(9_000))).collect();
    for fields in [many, crumbs, long, large] {
        let answer = gateway.raw().exchange(request("GET", "/echo/x", &anna, &fields));
        refused(&gateway, &answer, 431, "headers-too-large");
    }
    let target = format!("/echo/{}", "a".repeat(9_000));
    refused(&gateway, &get(&gateway, &target, &anna), 414, "uri-too-long");
    let names: Vec<String> = (0..150).map(|n| format!("x-{n}")).collect();
    let pairs: Vec<(&str, &str)> = names.iter().map(|n| (n.as_str(), "a")).collect();
    let answer = gateway.h2().request(two("GET", "/echo/x", &anna, &pairs)).expect("an answer");
    refused_two(&gateway, &answer, 431, "headers-too-large");
    nothing_arrived(&gateway);
}

#[test]
fn e5_a_block_that_unpacks_to_much_is_not_served() {
    let gateway = Gateway::start();
    // One field in the dynamic table, then a reference of one byte to it, many times over.
    let mut block = frames::block(&[
        (":method", "GET"),
        (":scheme", "https"),
        (":authority", HOST),
        (":path", "/public"),
    ]);
    block.extend([0x40, 1, b'a', 127, 0xf1, 30]);
    block.extend(vec![b'v'; 127 + 0x71 + 30 * 128]);
    block.extend(vec![0xbe; 12_000]);
    let mut conn = gateway.frames();
    let mut bytes = frames::hello();
    bytes.extend(frames::frame(
        kind::HEADERS,
        END_HEADERS | END_STREAM,
        1,
        &block[..block.len().min(16_000)],
    ));
    conn.send(bytes);
    let got = frames::split(&conn.read_for(Duration::from_millis(400)));
    assert!(!got.iter().any(|f| f.kind == kind::HEADERS && f.payload.first() == Some(&0x88)), "{got:?}");
    nothing_arrived(&gateway);
    assert_eq!(gateway.raw().exchange(format!("GET /public HTTP/1.1\r\nHost: {HOST}\r\n\r\n")).status, 200);
}

#[test]
fn e8_slow_heads_handshakes_and_idle_connections_end_in_time() {
    let builder = Gateway::builder()
        .set("/gateway/timeouts/handshake", json!("500ms"))
        .set("/gateway/timeouts/head", json!("400ms"))
        .set("/gateway/timeouts/idle", json!("600ms"));
    let gateway = builder.start();
    let mut slow = gateway.raw();
    slow.send(format!("GET /public HTTP/1.1\r\nHost: {HOST}\r\nX-A: "));
    let answer = slow.answer();
    assert_eq!(answer.status, 408, "{answer:?}");
    assert!(slow.closes_within(SOON));
    let mut mute = RawConn::tcp(gateway.address());
    assert!(mute.closes_within(SOON), "a handshake that never begins");
    let mut idle = gateway.raw();
    assert_eq!(idle.exchange(format!("GET /public HTTP/1.1\r\nHost: {HOST}\r\n\r\n")).status, 200);
    assert!(idle.closes_within(SOON), "an idle connection");
    let mut two = gateway.frames();
    two.send(frames::hello());
    assert!(closed_at_all(&mut two), "an idle connection of HTTP/2");
}

fn closed_at_all(conn: &mut RawConn) -> bool {
    conn.closes_within(SOON)
}

#[test]
fn e8_a_body_that_stops_is_ended_in_time() {
    let gateway = Gateway::builder()
        .set("/gateway/timeouts/body_grace", json!("500ms"))
        .set("/gateway/timeouts/body_stall", json!("500ms"))
        .start();
    let anna = gateway.anna();
    let start = Instant::now();
    let mut conn = gateway.raw();
    let answer = conn.exchange(request("POST", "/echo/x", &anna, "Content-Length: 10\r\n") + "ab");
    assert_eq!(answer.status, 408, "{answer:?}");
    assert!(start.elapsed() < SOON);
    assert!(conn.closes_within(SOON));
}

/// A gateway whose bodies may neither stand still nor trickle for long.
fn impatient() -> Gateway {
    Gateway::builder()
        .set("/gateway/timeouts/body_grace", json!("800ms"))
        .set("/gateway/timeouts/body_stall", json!("800ms"))
        .set("/gateway/timeouts/write_stall", json!("800ms"))
        .set("/gateway/timeouts/body_least_rate", json!("32KiB"))
        .start()
}

#[test]
fn e8_one_stream_whose_body_trickles_is_refused_and_the_others_live() {
    let gateway = impatient();
    let bearer = format!("Bearer {}", gateway.anna());
    let post = [
        (":method", "POST"),
        (":scheme", "https"),
        (":authority", HOST),
        (":path", "/echo/x"),
        ("authorization", &bearer),
    ];
    let mut conn = gateway.frames();
    conn.send([frames::hello(), frames::headers(1, END_HEADERS, &post)].concat());
    let mut got = Vec::new();
    for n in 1..30_u32 {
        // A byte on the slow stream, a whole request on another: the connection as such is lively.
        conn.send([frames::data(1, 0, b"a"), frames::get(n * 2 + 1, HOST, "/public")].concat());
        got.extend(conn.read_for(Duration::from_millis(100)));
        if statuses(&got).iter().any(|(stream, _)| *stream == 1) {
            break;
        }
    }
    let answers = statuses(&got);
    assert!(answers.iter().any(|(stream, ok)| (*stream, *ok) == (1, false)), "{answers:?}");
    let good = answers.iter().filter(|(stream, _)| *stream != 1);
    assert!(good.clone().count() > 3 && good.clone().all(|(_, ok)| *ok), "{answers:?}");
    let record = gateway.record("the slow body", |r| r["reason"] == "request-timeout");
    assert_eq!(record["close"], "complete", "{record}");
    conn.send(frames::get(101, HOST, "/public"));
    let after = conn.read_for(Duration::from_millis(400));
    assert!(statuses(&after).contains(&(101, true)), "the connection lives");
}

/// The answers in these bytes: their streams, and whether they are a 200 (RFC 7541 §A, entry 8).
fn statuses(bytes: &[u8]) -> Vec<(u32, bool)> {
    let frames = frames::split(bytes).into_iter().filter(|f| f.kind == kind::HEADERS);
    frames.map(|f| (f.stream, f.payload.first() == Some(&0x88))).collect()
}

#[test]
fn e5_e8_one_stream_whose_answer_is_not_taken_is_reset_and_the_others_live() {
    let gateway = impatient();
    let bearer = format!("Bearer {}", gateway.anna());
    let get = [
        (":method", "GET"),
        (":scheme", "https"),
        (":authority", HOST),
        (":path", "/echo/x"),
        ("authorization", &bearer),
        ("x-upstream", "bytes=400000"),
    ];
    let mut conn = gateway.frames();
    let wide = frames::window_update(0, 4_000_000);
    conn.send([frames::hello(), wide, frames::headers(1, END_HEADERS | END_STREAM, &get)].concat());
    let mut got = Vec::new();
    for n in 1..60_u32 {
        conn.send(frames::get(n * 2 + 1, HOST, "/public"));
        got.extend(conn.read_for(Duration::from_millis(100)));
        if frames::split(&got).iter().any(|f| f.kind == kind::RST_STREAM) {
            break;
        }
    }
    let all = frames::split(&got);
    let resets: Vec<_> = all.iter().filter(|f| f.kind == kind::RST_STREAM).map(|f| f.stream).collect();
    assert_eq!(resets, [1], "only the stream that is not taken");
    assert!(!all.iter().any(|f| f.kind == kind::GOAWAY), "the connection lives");
    assert!(statuses(&got).iter().all(|(_, ok)| *ok) && statuses(&got).len() > 3);
    let _ = gateway.record("the slow reader", |r| r["close"] == "slow-reader");
}

#[test]
fn e9_e10_bodies_beyond_their_limits_are_refused() {
    let gateway = Gateway::start();
    let anna = gateway.anna();
    let body = "a".repeat(2_000);
    let answer = gateway.raw().exchange(request("POST", "/small", &anna, "Content-Length: 2000\r\n") + &body);
    refused(&gateway, &answer, 413, "body-too-large");
    nothing_arrived(&gateway);
    let chunked = format!("7d0\r\n{body}\r\n0\r\n\r\n");
    let answer =
        gateway.raw().exchange(request("POST", "/small", &anna, "Transfer-Encoding: chunked\r\n") + &chunked);
    refused(&gateway, &answer, 413, "body-too-large");
    let mut large = two("POST", "/small", &anna, &[]);
    *large.body_mut() = bytes::Bytes::from(body);
    refused_two(&gateway, &gateway.h2().request(large).expect("an answer"), 413, "body-too-large");
    assert!(gateway.plain.seen().iter().all(|seen| seen.body.len() <= 1024));
    let _ = gateway.plain.take_seen();
    for deep in [
        "[".repeat(50_000),
        "{\"a\":".repeat(20_000),
        format!("{{\"name\":{}1{}}}", "[".repeat(3_000), "]".repeat(3_000)),
    ] {
        let head = format!("Content-Type: application/json\r\nContent-Length: {}\r\n", deep.len());
        let answer = gateway.raw().exchange(request("PUT", "/items/1", &anna, &head) + &deep);
        assert!(matches!(answer.status, 400 | 413), "{answer:?}");
    }
    nothing_arrived(&gateway);
}

#[test]
fn e12_nothing_that_a_caller_sends_is_expanded() {
    let gateway = Gateway::start();
    let anna = gateway.anna();
    let answer = get(&gateway, "/swap/%7Bid%7D/$1?x=%24%7Bpath%7D", &anna);
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(gateway.plain.take_seen()[0].target, "/v2/%7Bid%7D/$1?x=%24%7Bpath%7D");
}

#[test]
fn e15_lengths_and_times_beyond_all_measure_are_refused_and_nothing_breaks() {
    let gateway = Gateway::start();
    let anna = gateway.anna();
    for length in
        ["9223372036854775808", "18446744073709551615", "18446744073709551616", "99999999999999999999999999"]
    {
        let answer = gateway.raw().exchange(request(
            "POST",
            "/echo/x",
            &anna,
            &format!("Content-Length: {length}\r\n"),
        ));
        assert!(matches!(answer.status, 400 | 413), "{length} {answer:?}");
    }
    nothing_arrived(&gateway);
    let fields = "Grpc-Timeout: 99999999999999999999H\r\nRange: bytes=0-18446744073709551616\r\nMax-Forwards: 99999999999999999999\r\n";
    assert_eq!(gateway.raw().exchange(request("GET", "/echo/x", &anna, fields)).status, 200);
}
