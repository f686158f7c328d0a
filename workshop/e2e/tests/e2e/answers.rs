//! What comes back: answers pass whole, internal tokens never do.

use std::time::Duration;

use portcullis_e2e::gateway::HOST;
use portcullis_e2e::{Gateway, Puppet};
use portcullis_testkit::{Behaviour, Reply};

use crate::ask::{get, id, puppet_service, request, two};

/// The internal token in a request's head.
fn token_in(head: &str) -> String {
    let line = head.lines().find(|line| line.to_ascii_lowercase().starts_with("authorization: bearer "));
    line.and_then(|line| line.rsplit(' ').next()).unwrap_or_default().to_owned()
}

fn chunk(text: &str) -> Vec<u8> {
    format!("{:x}\r\n{text}\r\n", text.len()).into_bytes()
}

/// What a puppet makes of a request's head.
type Say = fn(&str) -> Vec<Vec<u8>>;

const CHUNKED: &[u8] = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: x-sum\r\n\r\n";

#[test]
fn c13_an_internal_token_never_leaves_in_head_body_chunks_or_trailers() {
    let puppet = Puppet::start();
    let gateway = Gateway::builder().service(puppet_service(&puppet)).start();
    let anna = gateway.anna();
    puppet.answers(|head| {
        vec![
            format!("HTTP/1.1 200 OK\r\nX-Echo: {}\r\nContent-Length: 0\r\n\r\n", token_in(head))
                .into_bytes(),
        ]
    });
    let answer = get(&gateway, "/puppet/x", &anna);
    assert_eq!(answer.status, 502, "{answer:?}");
    puppet.answers(|head| {
        vec![
            format!(
                "HTTP/1.1 200 OK\r\nSet-Cookie: t={}; Secure\r\nContent-Length: 0\r\n\r\n",
                token_in(head)
            )
            .into_bytes(),
        ]
    });
    assert_eq!(get(&gateway, "/puppet/x", &anna).status, 502);

    let bodies: [Say; 4] = [
        |head| {
            let body = format!("before {} after", token_in(head));
            vec![format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len()).into_bytes()]
        },
        |head| {
            let token = token_in(head);
            vec![CHUNKED.to_vec(), chunk(&token[..10]), chunk(&token[10..]), b"0\r\n\r\n".to_vec()]
        },
        |head| {
            let mut parts = vec![CHUNKED.to_vec()];
            parts.extend(token_in(head).chars().take(60).map(|c| chunk(&c.to_string())));
            parts.push(b"0\r\n\r\n".to_vec());
            parts
        },
        |head| {
            vec![
                CHUNKED.to_vec(),
                chunk("fine"),
                format!("0\r\nX-Sum: {}\r\n\r\n", token_in(head)).into_bytes(),
            ]
        },
    ];
    for (n, body) in bodies.into_iter().enumerate() {
        puppet.answers(body);
        let mut conn = gateway.raw();
        conn.send(request("GET", "/puppet/x", &anna, ""));
        let got = conn.read_to_close_within(Duration::from_secs(5)).unwrap_or_else(|got| got);
        let got = String::from_utf8_lossy(&got);
        let sent = token_in(puppet.heads().last().expect("a request"));
        let flat: String = got
            .lines()
            .filter(|line| line.len() < 3 || !line.chars().all(|c| c.is_ascii_hexdigit()))
            .collect::<Vec<_>>()
            .join("");
        assert!(
            !got.contains(&sent) && !got.contains(&sent[..32]) && !flat.contains(&sent[..40]),
            "{n}: {got}"
        );
        assert!(!got.ends_with("0\r\n\r\n"), "{n}: a cut answer must not look whole: {got}");
        assert!(
            gateway.h2().request(two("GET", "/puppet/x", &anna, &[])).is_err(),
            "{n}: a cut stream is reset"
        );
    }
    let _ = gateway.record("a cut answer", |r| r["close"] == "upstream-broke");
}

#[test]
fn trailers_pass_and_hop_by_hop_fields_do_not() {
    let gateway = Gateway::start();
    let anna = gateway.anna();
    let behaviour = Behaviour {
        trailers: vec![("x-sum".into(), "9".into())],
        headers: vec![
            ("keep-alive".into(), "5".into()),
            ("server".into(), "inside/1".into()),
            ("x-powered-by".into(), "x".into()),
            ("x-inside".into(), "1".into()),
        ],
        reply: Reply::Text("fine".into()),
        ..Behaviour::default()
    };
    for (upstream, target) in [
        (&gateway.plain, "/echo/x"),
        (&gateway.orders, "/orders/1"),
        (&gateway.two, "/two/x"),
        (&gateway.plain, "/swap/x"),
    ] {
        upstream.behave(if target.starts_with("/two") {
            Behaviour { headers: Vec::new(), ..behaviour.clone() }
        } else {
            behaviour.clone()
        });
        let answer =
            gateway.h2().request(two("GET", target, &anna, &[("te", "trailers")])).expect("an answer");
        assert_eq!(answer.status, 200, "{target}");
        assert_eq!(answer.headers.get("x-inside").is_some(), target == "/echo/x" || target == "/orders/1");
        for name in ["keep-alive", "server", "x-powered-by"] {
            assert!(!answer.headers.contains_key(name), "{target} {name}");
        }
        if target == "/two/x" {
            assert_eq!(answer.trailers["x-sum"], "9", "{target}");
        }
    }
}

#[test]
fn a7_announced_trailers_reach_an_http1_caller_who_asked_and_no_other() {
    let puppet = Puppet::start();
    let gateway = Gateway::builder().service(puppet_service(&puppet)).start();
    let anna = gateway.anna();
    let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum, X-User, Set-Cookie\r\n\r\n";
    puppet.says(format!("{head}4\r\nfine\r\n0\r\nX-Sum: 9\r\nX-User: root\r\nX-Other: 1\r\n\r\n"));
    let mut conn = gateway.raw();
    let none: Vec<(String, String)> = Vec::new();
    let sum = vec![("x-sum".to_owned(), "9".to_owned())];
    for (fields, trailer, trailers) in [
        ("TE: trailers\r\nConnection: TE\r\n", Some("x-sum"), &sum),
        ("", None, &none),
        ("TE: gzip, trailers\r\n", Some("x-sum"), &sum),
        ("TE: gzip\r\n", None, &none),
    ] {
        let answer = conn.exchange(request("GET", "/puppet/x", &anna, fields));
        assert_eq!((answer.status, answer.text().as_str()), (200, "fine"), "{fields:?} {answer:?}");
        assert_eq!(answer.header("trailer"), trailer, "{fields:?} {answer:?}");
        assert_eq!(&answer.trailers, trailers, "{fields:?} {answer:?}");
        assert!(answer.header("x-sum").is_none(), "a trailer never becomes a header: {answer:?}");
        let heads = puppet.heads();
        let asked = heads.last().expect("a head").to_ascii_lowercase().contains("te: trailers\r\n");
        assert_eq!(asked, trailer.is_some(), "TE is said to the upstream for those who said it: {heads:?}");
        assert_eq!(gateway.ended(id(&answer))["close"], "complete", "{fields:?}");
    }
    let two = gateway.h2().request(two("GET", "/puppet/x", &anna, &[("te", "trailers")])).expect("an answer");
    assert!(!two.headers.contains_key("trailer"));
    assert_eq!(
        (two.trailers.len(), &two.trailers["x-sum"], &two.trailers["x-other"]),
        (2, &"9".parse().unwrap(), &"1".parse().unwrap())
    );
}

#[test]
fn server_sent_events_arrive_one_by_one_and_end_with_a_record_of_both() {
    let gateway = Gateway::start();
    let anna = gateway.anna();
    gateway
        .plain
        .behave(Behaviour { reply: Reply::Events(4, Duration::from_millis(150)), ..Behaviour::default() });
    let mut conn = gateway.raw();
    conn.send(request("GET", "/events", &anna, "Accept: text/event-stream\r\n"));
    let head = String::from_utf8_lossy(&conn.read_past(b"\r\n\r\n")).into_owned();
    conn.read_past(b"id: 0\n");
    let early = conn.read_for(Duration::from_millis(10));
    assert!(!String::from_utf8_lossy(&early).contains("id: 3"), "the first came with the last");
    conn.read_past(b"id: 3\n");
    conn.read_past(b"0\r\n\r\n");
    let id = head.lines().find_map(|l| l.strip_prefix("x-request-id: ")).expect("an id").to_owned();
    let _ = gateway.record("the decision", |r| r["event"] == "decided" && r["id"] == id.as_str());
    assert_eq!(gateway.ended(&id)["close"], "complete");
}

#[test]
fn a_websocket_echoes_and_ends_with_its_token() {
    let gateway = Gateway::start();
    let soon = portcullis_e2e::gateway::unix_seconds() + 3;
    let token = gateway.token("anna", "echo", &serde_json::json!({ "exp": soon }));
    let mut conn = gateway.raw();
    let fields = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    let answer = conn.exchange(request("GET", "/socket", &token, fields));
    assert_eq!(
        (answer.status, answer.header("sec-websocket-accept")),
        (101, Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")),
        "{answer:?}"
    );
    // "hi", masked with zeroes.
    conn.send([0x81, 0x82, 0, 0, 0, 0, b'h', b'i']);
    assert_eq!(conn.read_exactly(4), [0x81, 2, b'h', b'i']);
    assert!(conn.closes_within(Duration::from_secs(40)), "open although the token has ended");
    assert_eq!(gateway.ended(id(&answer))["close"], "lifetime");
}

#[test]
fn c6_an_endless_answer_of_any_media_type_ends_with_its_token() {
    let gateway = Gateway::start();
    let soon = portcullis_e2e::gateway::unix_seconds() + 4;
    let token = gateway.token("anna", "echo", &serde_json::json!({ "exp": soon }));
    gateway
        .plain
        .behave(Behaviour { reply: Reply::Drips(600, Duration::from_millis(100)), ..Behaviour::default() });
    let mut conn = gateway.raw();
    conn.send(request("GET", "/echo/x", &token, ""));
    let head = String::from_utf8_lossy(&conn.read_past(b"\r\n\r\n")).into_owned();
    assert!(head.contains("application/x-ndjson"), "{head}");
    let id = head.lines().find_map(|l| l.strip_prefix("x-request-id: ")).expect("an id").to_owned();
    assert!(conn.closes_within(Duration::from_secs(45)), "open although the token has ended");
    assert_eq!(gateway.ended(&id)["close"], "lifetime");
}

#[test]
fn head_has_no_body_and_keeps_the_connection() {
    let gateway = Gateway::start();
    let anna = gateway.anna();
    let mut conn = gateway.raw();
    let answer = conn.exchange(request("HEAD", "/echo/x", &anna, ""));
    assert_eq!((answer.status, answer.body.len()), (200, 0));
    assert_eq!(gateway.plain.take_seen()[0].method, "HEAD");
    let refused = conn.exchange(request("HEAD", "/admin/x", &anna, ""));
    assert_eq!((refused.status, refused.body.len()), (403, 0));
    assert_eq!(conn.exchange(request("GET", "/echo/x", &anna, "")).status, 200);
    let answer = gateway.h2().request(two("HEAD", "/echo/x", &anna, &[])).expect("an answer");
    assert_eq!((answer.status.as_u16(), answer.body.len()), (200, 0));
}

#[test]
fn upstreams_that_stall_or_break_off_are_a_504_or_a_502() {
    let gateway = Gateway::start();
    let anna = gateway.anna();
    let answer = gateway.raw().exchange(request("GET", "/brief", &anna, "X-Upstream: delay=4000\r\n"));
    assert_eq!(answer.status, 504, "{answer:?}");
    assert_eq!(gateway.ended(id(&answer))["reason"], "upstream-timeout");
    assert_eq!(gateway.raw().exchange(format!("GET /public HTTP/1.1\r\nHost: {HOST}\r\n\r\n")).status, 200);
}
