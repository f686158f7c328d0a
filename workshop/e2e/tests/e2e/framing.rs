//! A: one reading of every message.

use portcullis_e2e::gateway::HOST;
use portcullis_e2e::{Gateway, Puppet};
use portcullis_testkit::{Answer, frames};
use std::time::Duration;

use crate::ask::{get, nothing_arrived, puppet_service, refused, request, two};

/// Sends it on a connection of its own, which must be closed after the answer.
fn refuses(gateway: &Gateway, wire: impl AsRef<[u8]>) -> Answer {
    let mut conn = gateway.raw();
    let answer = conn.exchange(wire.as_ref());
    assert!(conn.closes_within(Duration::from_secs(3)), "still open after {answer:?}");
    answer
}

#[test]
fn a_good_request_passes_in_every_protocol_pair() {
    let gateway = Gateway::start();
    let anna = gateway.anna();
    for target in ["/orders/7?page=2", "/echo/a/b", "/two/x"] {
        let answer = get(&gateway, target, &anna);
        assert_eq!(answer.status, 200, "{answer:?}");
        let answer = gateway.h2().request(two("GET", target, &anna, &[])).expect("an answer");
        assert_eq!(answer.status, 200, "{target}");
    }
    assert_eq!(
        (gateway.orders.seen().len(), gateway.plain.seen().len(), gateway.two.seen().len()),
        (2, 2, 2)
    );
    assert!(gateway.orders.seen().iter().all(|seen| seen.target == "/orders/7?page=2"));
    let (status, out) = gateway.portcullis(&["audit", "query"]);
    assert!(status.success(), "{out}");
    assert!(out.contains("\"outcome\":\"served\""), "{out}");
}

#[test]
fn the_body_of_a_get_reaches_the_service_however_it_ends() {
    let gateway = Gateway::start();
    let anna = gateway.anna();
    let bodies =
        [("Content-Length: 4\r\n", "body"), ("Transfer-Encoding: chunked\r\n", "4\r\nbody\r\n0\r\n\r\n")];
    for (count, (field, body)) in bodies.into_iter().enumerate() {
        let mut conn = gateway.raw();
        for _ in 0..2 {
            let answer = conn.exchange(request("GET", "/echo/a", &anna, field) + body);
            assert_eq!(answer.status, 200, "{answer:?}");
        }
        let seen = gateway.plain.seen();
        assert_eq!(seen.len(), 2 * (count + 1));
        assert!(seen.iter().all(|seen| seen.body == "body" && seen.method == "GET"), "{seen:?}");
    }
    let asked = two("GET", "/echo/a", &anna, &[]).map(|_| "body".into());
    assert_eq!(gateway.h2().request(asked).expect("an answer").status, 200);
    assert_eq!(gateway.plain.seen().last().map(|seen| seen.body.clone()), Some("body".into()));
}

#[test]
fn a1_a_length_or_a_coding_with_two_readings_is_refused_and_the_connection_closed() {
    let gateway = Gateway::start();
    let anna = gateway.anna();
    let bodies = [
        "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
        "Content-Length: 5\r\nContent-Length: 6\r\n",
        "Content-Length: 5\r\nContent-Length: 5\r\n",
        "Content-Length: 5, 5\r\n",
        "Content-Length: +5\r\n",
        "Content-Length: 0x5\r\n",
        "Content-Length: 5 5\r\n",
        "Content-Length: -1\r\n",
        "Content-Length: \r\n",
        "Content-Length: 18446744073709551621\r\n",
        "Content-Length : 5\r\n",
        "Transfer-Encoding: chunked, chunked\r\n",
        "Transfer-Encoding: xchunked\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n",
        "Transfer-Encoding: identity\r\n",
        "Transfer-Encoding: gzip, chunked\r\n",
        "Transfer-Encoding : chunked\r\n",
        "Transfer-Encoding:\x0bchunked\r\n",
    ];
    for fields in bodies {
        let smuggled = "0\r\n\r\nGET /echo/smuggled HTTP/1.1\r\nHost: x\r\n\r\n";
        let wire = request("POST", "/echo/x", &anna, fields) + smuggled;
        let answer = refuses(&gateway, wire);
        assert!(matches!(answer.status, 400 | 501), "{fields:?} {answer:?}");
        refused(&gateway, &answer, answer.status, "malformed-request");
    }
    nothing_arrived(&gateway);
}

#[test]
fn a2_http_1_0_with_a_coding_and_a_body_that_ends_with_the_connection_are_refused() {
    let gateway = Gateway::start();
    let anna = gateway.anna();
    let wire = format!(
        "POST /echo/x HTTP/1.0\r\nHost: {HOST}\r\nAuthorization: Bearer {anna}\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
    );
    let answer = refuses(&gateway, wire);
    assert_eq!(answer.status, 400);
    nothing_arrived(&gateway);
}

#[test]
fn a3_b5_no_tunnel_opens_before_its_101_and_bytes_behind_a_refused_upgrade_are_a_request_of_their_own() {
    let gateway = Gateway::start();
    let anna = gateway.anna();
    let behind = format!("GET /echo/smuggled HTTP/1.1\r\nHost: {HOST}\r\n\r\n");
    let key = "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    let fields = format!("Connection: Upgrade\r\nUpgrade: websocket\r\n{key}");
    let answer = gateway.raw().exchange(request("GET", "/echo/x", &anna, &fields) + &behind);
    refused(&gateway, &answer, 501, "upgrade-refused");
    nothing_arrived(&gateway);
    // RFC 9110 §7.8: an upgrade that is not known may be ignored, and then nothing of it goes on.
    for protocol in ["h2c", "foo/2"] {
        let fields = format!(
            "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: {protocol}\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n"
        );
        let answer = gateway.raw().exchange(request("GET", "/echo/x", &anna, &fields) + &behind);
        assert!(matches!(answer.status, 200 | 501), "{answer:?}");
        let seen = gateway.plain.take_seen();
        assert!(seen.iter().all(|s| s.target == "/echo/x" && s.header("upgrade").is_none()), "{seen:?}");
    }
    let answer = gateway.raw().exchange(format!("CONNECT {HOST}:443 HTTP/1.1\r\nHost: {HOST}:443\r\n\r\n"));
    assert!(matches!(answer.status, 400 | 405 | 501), "{answer:?}");
    nothing_arrived(&gateway);
}

#[test]
fn a4_the_body_of_a_refused_request_is_never_the_next_request() {
    let gateway = Gateway::start();
    let anna = gateway.anna();
    let smuggled = request("GET", "/echo/smuggled", &anna, "");
    let length = format!("Content-Length: {}\r\n", smuggled.len());
    for (target, status) in [("/admin/x", 405), ("/nowhere", 404), ("/ten", 405)] {
        let mut conn = gateway.raw();
        let answer = conn.exchange(request("POST", target, &anna, &length) + &smuggled);
        assert_eq!(answer.status, status, "{target} {answer:?}");
        let rest = conn.read_for(Duration::from_millis(200));
        assert!(rest.is_empty(), "{}", String::from_utf8_lossy(&rest));
    }
    nothing_arrived(&gateway);
}

/// The bytes that a client writes frame by frame; how stream 1 ended.
fn by_frames(gateway: &Gateway, bytes: Vec<u8>) -> Vec<frames::Frame> {
    let mut conn = gateway.frames();
    let mut all = frames::hello();
    all.extend(bytes);
    conn.send(all);
    frames::split(&conn.read_for(Duration::from_millis(250)))
}

/// An indexed `:status: 200` (RFC 7541 §B, entry 8).
const OK: u8 = 0x88;

#[test]
fn a5_b2_b5_what_http1_could_not_say_does_not_pass_from_http2() {
    let gateway = Gateway::start();
    let bearer = format!("Bearer {}", gateway.anna());
    let head: [(&str, &str); 5] = [
        (":method", "POST"),
        (":scheme", "https"),
        (":authority", HOST),
        (":path", "/echo/x"),
        ("authorization", &bearer),
    ];
    let with = |more: &[(&'static str, &'static str)]| -> Vec<u8> {
        let mut fields = head.to_vec();
        for (name, value) in more {
            match fields.iter_mut().find(|(n, _)| n == name && n.starts_with(':')) {
                Some(field) => field.1 = value,
                None => fields.push((name, value)),
            }
        }
        frames::headers(1, frames::END_HEADERS | frames::END_STREAM, &fields)
    };
    let whole = [
        with(&[("content-length", "5")]),
        with(&[("x-a", "b\r\nx-user: root")]),
        with(&[("x-a", "b\0c")]),
        with(&[("x-a\r\nx-user", "root")]),
        with(&[("x a", "b")]),
        with(&[("", "b")]),
        with(&[("X-Upper", "b")]),
        with(&[("transfer-encoding", "chunked")]),
        with(&[("connection", "close")]),
        with(&[("host", "elsewhere.test.example")]),
        with(&[(":path", "/echo/x HTTP/1.1\r\nx-user: root")]),
        with(&[(":path", "echo/x")]),
        with(&[(":path", "")]),
        with(&[(":path", "*")]),
        with(&[(":method", "GET /admin/x HTTP/1.1\r\n\r\nGET")]),
        with(&[(":method", "CONNECT")]),
        with(&[(":protocol", "websocket"), (":method", "CONNECT")]),
        with(&[("x-a", "caf\u{e9}")]),
        with(&[(":path", "/echo/x?q=\u{e9}")]),
        with(&[("content_length", "5")]),
        with(&[("transfer_encoding", "chunked")]),
        with(&[("content-length", "0"), ("content-length", "0")]),
    ];
    for bytes in whole {
        let shown = String::from_utf8_lossy(&bytes).escape_debug().to_string();
        for frame in by_frames(&gateway, bytes) {
            let served = frame.kind == frames::kind::HEADERS && frame.payload.first() == Some(&OK);
            assert!(!served, "{}", shown.chars().take(220).collect::<String>());
        }
    }
    nothing_arrived(&gateway);
    // More data than the announced length.
    let fields = [&head[..], &[("content-length", "2")]].concat();
    let mut bytes = frames::headers(1, frames::END_HEADERS, &fields);
    bytes.extend(frames::data(1, frames::END_STREAM, b"0123456789"));
    let got = by_frames(&gateway, bytes);
    assert!(
        !got.iter().any(|f| f.kind == frames::kind::HEADERS && f.payload.first() == Some(&OK)),
        "{got:?}"
    );
    assert!(gateway.plain.seen().iter().all(|seen| seen.body.is_empty()));
}

/// The codec drops a fragment before anybody here sees the path, so it cannot be refused; nobody sees it either.
#[test]
fn b2_a_fragment_in_http2_is_seen_by_nobody() {
    let gateway = Gateway::start();
    let bearer = format!("Bearer {}", gateway.anna());
    let ask = |path: &str| {
        let head = [
            (":method", "GET"),
            (":scheme", "https"),
            (":authority", HOST),
            (":path", path),
            ("authorization", &bearer),
        ];
        let got = by_frames(&gateway, frames::headers(1, frames::END_HEADERS | frames::END_STREAM, &head));
        got.iter().any(|f| f.kind == frames::kind::HEADERS && f.payload.first() == Some(&OK))
    };
    // The upstream, policy (a parameter that decides) and the contract (a query that it knows) see the same path.
    assert!(ask("/echo/x#/../../admin/x") && ask("/echo/y?a=b#c?d=e"));
    let seen: Vec<String> = gateway.plain.take_seen().into_iter().map(|seen| seen.target).collect();
    assert_eq!(seen, ["/echo/x", "/echo/y?a=b"]);
    assert!(ask("/tenants/north/orders#south") && !ask("/tenants/south/orders#/tenants/north/orders"));
    assert!(!ask("/tenants/south#/../north/orders"));
    assert_eq!(gateway.orders.take_seen().len(), 1);
    assert!(ask("/items/1?limit=5#&limit=500") && !ask("/items/1?limit=500#?limit=5"));
    assert_eq!(gateway.plain.take_seen().len(), 1);
    // The record: what is listed of the path and the query, and nothing behind the `#`.
    assert!(ask("/orders/77?page=3#secret-fragment"));
    let record = gateway.record("the order", |r| {
        r["event"] == "ended" && r["route"].as_str().is_some_and(|p| p.contains("/orders/{id}"))
    });
    assert!(!record.to_string().contains('#') && !record.to_string().contains("secret-fragment"), "{record}");
    assert!(record.to_string().contains("77"), "{record}");
}

#[test]
fn a6_a7_a10_odd_lines_and_bytes_are_refused() {
    let gateway = Gateway::start();
    let anna = gateway.anna();
    let fields = [
        ": empty\r\n",
        "X-A\r\n",
        "X A: b\r\n",
        "X-A: b\r\n folded\r\n",
        "X-A: b\r\n\tfolded\r\n",
        "X-A: a\0b\r\n",
        "X-A: a\x01b\r\n",
        "X-A: a\x7fb\r\n",
        "X-A: a\rb\r\n",
        "X-A: b\nX-B: c\r\n",
        "X\0A: b\r\n",
        "(x): b\r\n",
        " X-A: b\r\n",
    ];
    for field in fields {
        let answer = refuses(&gateway, request("GET", "/echo/x", &anna, field));
        refused(&gateway, &answer, 400, "malformed-request");
    }
    for line in [
        "GET  /echo/x HTTP/1.1",
        "GET /echo/x",
        "GET /echo/x HTTP/1.2",
        "GET /echo/x HTTP/3.0",
        "GET /echo/x http/1.1",
        "G\0T /echo/x HTTP/1.1",
        "GET /echo/\x01 HTTP/1.1",
        "GET /echo/x\tHTTP/1.1",
    ] {
        let wire = format!("{line}\r\nHost: {HOST}\r\nAuthorization: Bearer {anna}\r\n\r\n");
        let answer = refuses(&gateway, wire);
        assert_eq!(answer.status, 400, "{line:?} {answer:?}");
    }
    nothing_arrived(&gateway);
}

#[test]
fn a7_chunks_are_read_strictly_and_trailers_never_become_fields() {
    let gateway = Gateway::start();
    let anna = gateway.anna();
    for body in [
        "5;x=y\r\nabcde\r\n0\r\n\r\n",
        "5\nabcde\r\n0\r\n\r\n",
        "5\r\nabcdeX0\r\n\r\n",
        "+5\r\nabcde\r\n0\r\n\r\n",
        "0x5\r\nabcde\r\n0\r\n\r\n",
        " 5\r\nabcde\r\n0\r\n\r\n",
        "FFFFFFFFFFFFFFFF5\r\nabcde\r\n0\r\n\r\n",
        "5\r\nabcde\r\n0\r\nContent-Length: 3\r\n\r\n",
        "5\r\nabcde\r\n0\r\nAuthorization: x\r\n\r\n",
    ] {
        let wire = request("POST", "/items/1", &anna, "Transfer-Encoding: chunked\r\n") + body;
        let answer = refuses(&gateway, wire.replacen("/items/1", "/echo/chunks", 1));
        assert_eq!(answer.status, 400, "{body:?} {answer:?}");
    }
    assert!(gateway.plain.seen().iter().all(|seen| seen.target == "/echo/chunks" && seen.body.is_empty()));
    let _ = gateway.plain.take_seen();
    let good = "5\r\nabcde\r\n0\r\nX-Sum: 9\r\n\r\n";
    let answer =
        gateway.raw().exchange(request("POST", "/echo/good", &anna, "Transfer-Encoding: chunked\r\n") + good);
    assert_eq!(answer.status, 200, "{answer:?}");
    let seen = gateway.plain.take_seen();
    let seen = seen.iter().find(|s| s.target == "/echo/good").expect("it arrived");
    assert_eq!(seen.body, "abcde");
    assert!(seen.header("x-sum").is_none());
}

#[test]
fn a5_a7_announced_trailers_of_a_request_reach_the_service_and_nothing_else_does() {
    let gateway = Gateway::start();
    let anna = gateway.anna();
    let body = "5\r\nabcde\r\n0\r\nX-Sum: 9\r\nX-User: root\r\n\r\n";
    let announced = "Transfer-Encoding: chunked\r\nTrailer: X-Sum, X-User, Authorization\r\n";
    for (target, fields, passes) in [
        ("/echo/x", announced, true),
        ("/echo/x", "Transfer-Encoding: chunked\r\n", false),
        ("/two/x", announced, true),
        ("/two/x", "Transfer-Encoding: chunked\r\n", true),
    ] {
        let answer = gateway.raw().exchange(request("POST", target, &anna, fields) + body);
        assert_eq!(answer.status, 200, "{target} {fields} {answer:?}");
        arrived(&gateway, target, passes);
    }
    let bearer = format!("Bearer {anna}");
    for target in ["/echo/x", "/two/x"] {
        let head = [
            (":method", "POST"),
            (":scheme", "https"),
            (":authority", HOST),
            (":path", target),
            ("authorization", &bearer),
            ("trailer", "x-sum, x-user"),
        ];
        let send = |section: &[(&str, &str)]| {
            let mut bytes = frames::headers(1, frames::END_HEADERS, &head);
            bytes.extend(frames::data(1, 0, b"abcde"));
            bytes.extend(frames::headers(1, frames::END_HEADERS | frames::END_STREAM, section));
            let got = by_frames(&gateway, bytes);
            got.iter().any(|f| f.kind == frames::kind::HEADERS && f.payload.first() == Some(&OK))
        };
        assert!(send(&[("x-sum", "9"), ("x-user", "root"), ("content-length", "7")]), "{target}");
        arrived(&gateway, target, true);
        assert!(!send(&[("x-sum", "caf\u{e9}")]), "{target}: what HTTP/1.1 would not carry");
        let many: Vec<String> = (0..40).map(|n| format!("x-{n}")).collect();
        let many: Vec<(&str, &str)> = many.iter().map(|n| (n.as_str(), "1")).collect();
        assert!(!send(&many), "{target}: more than the limit");
        for upstream in [&gateway.plain, &gateway.two] {
            assert!(upstream.take_seen().iter().all(|seen| seen.trailers.is_empty()), "{target}");
        }
    }
}

/// One request arrived whole, with its one trailer or without it, and the trailer is no header.
#[track_caller]
fn arrived(gateway: &Gateway, target: &str, passes: bool) {
    let upstream = if target.starts_with("/two") { &gateway.two } else { &gateway.plain };
    let seen = upstream.take_seen();
    assert_eq!(seen.len(), 1, "{target} {seen:?}");
    assert_eq!(seen[0].body, "abcde", "{target}");
    let sum = seen[0].trailers.get("x-sum").map(|v| v.as_bytes());
    assert_eq!((seen[0].trailers.len(), sum), (usize::from(passes), passes.then_some(&b"9"[..])), "{target}");
    assert!(seen[0].header("x-sum").is_none() && seen[0].header("x-user").is_none(), "{target}");
}

#[test]
fn a8_connection_cannot_name_our_own_fields_away() {
    let gateway = Gateway::start();
    let anna = gateway.anna();
    let fields = "Connection: X-Forwarded-For, Authorization, Forwarded, Traceparent, keep-alive\r\n";
    let answer = gateway.raw().exchange(request("GET", "/echo/x", &anna, fields));
    if answer.status == 200 {
        let seen = gateway.plain.take_seen();
        for name in ["authorization", "x-forwarded-for", "forwarded", "traceparent"] {
            assert!(seen[0].header(name).is_some(), "{name} in {:?}", seen[0].headers);
        }
    } else {
        refused(&gateway, &answer, 400, "malformed-request");
        nothing_arrived(&gateway);
    }
}

#[test]
fn a1_a10_an_answer_with_two_readings_is_a_502() {
    let puppet = Puppet::start();
    let gateway = Gateway::builder().service(puppet_service(&puppet)).start();
    let anna = gateway.anna();
    for wire in [
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        "HTTP/1.1 200 OK\r\nX: a\r\n folded\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\n: x\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nX: a\0b\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
        "HTTP/9.9 200 OK\r\nContent-Length: 0\r\n\r\n",
        "nonsense\r\n\r\n",
    ] {
        puppet.says(wire);
        let answer = get(&gateway, "/puppet/x", &anna);
        assert!(matches!(answer.status, 502 | 503), "{wire:?} {answer:?}");
    }
    let _ = gateway.refused("upstream-malformed");
}
