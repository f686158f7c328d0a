//! How much, and in what form: limits, contracts, preflights, expectations.

use std::time::Duration;

use portcullis_e2e::Gateway;
use portcullis_e2e::gateway::HOST;
use serde_json::json;

use crate::ask::{get, nothing_arrived, refused, refused_two, request, two};

#[test]
fn a_plan_of_ten_admits_exactly_ten_over_all_cores_and_protocols() {
    let gateway = Gateway::start();
    let anna = gateway.anna();
    let statuses: Vec<u16> = std::thread::scope(|scope| {
        let ask = || {
            let mut conn = gateway.raw();
            (0..5).map(|_| conn.exchange(request("GET", "/ten", &anna, "")).status).collect::<Vec<_>>()
        };
        let one: Vec<_> = (0..8).map(|_| scope.spawn(ask)).collect();
        let two = scope.spawn(|| {
            let all = (0..10).map(|_| two("GET", "/ten", &anna, &[])).collect();
            gateway
                .h2()
                .request_all(all)
                .into_iter()
                .map(|a| a.expect("an answer").status.as_u16())
                .collect::<Vec<_>>()
        });
        let mut all: Vec<u16> = one.into_iter().flat_map(|t| t.join().expect("a thread")).collect();
        all.extend(two.join().expect("a thread"));
        all
    });
    let count = |status| statuses.iter().filter(|s| **s == status).count();
    assert_eq!((count(200), count(429)), (10, 40), "{statuses:?}");
    assert_eq!(gateway.plain.seen().len(), 10);
    let answer = get(&gateway, "/ten", &anna);
    let record = refused(&gateway, &answer, 429, "rate-limited");
    assert_eq!(record["limit"], "rate");
    let wait: u32 = answer.header("retry-after").and_then(|v| v.parse().ok()).expect("a wait");
    assert!((1..=60).contains(&wait), "{wait}");
    // Somebody else is not concerned.
    let answer = get(&gateway, "/ten", &gateway.token("bert", "echo", &json!({})));
    assert_eq!(answer.status, 200);
    assert!(answer.header("ratelimit").is_some_and(|v| v.contains("ten")), "{answer:?}");
}

#[test]
fn the_fourth_call_of_a_procedure_is_refused_and_others_are_not_concerned() {
    let gateway = Gateway::start();
    let may = gateway.token("anna", "orders.write orders.refund", &json!({}));
    let half = gateway.token("anna", "orders.write", &json!({}));
    let answer = gateway.raw().exchange(request("POST", "/orders/1/refund", &half, "Content-Length: 0\r\n"));
    refused(&gateway, &answer, 403, "forbidden");
    nothing_arrived(&gateway);
    for n in 1..=4 {
        let target = format!("/orders/{n}/refund");
        let answer = gateway.raw().exchange(request("POST", &target, &may, "Content-Length: 0\r\n"));
        assert_eq!(answer.status, if n <= 3 { 200 } else { 429 }, "{answer:?}");
    }
    assert_eq!(gateway.orders.seen().len(), 3);
    let other = gateway.token("bert", "orders.write orders.refund", &json!({}));
    assert_eq!(
        gateway.raw().exchange(request("POST", "/orders/1/refund", &other, "Content-Length: 0\r\n")).status,
        200
    );
}

#[test]
fn a_cap_of_two_in_flight_refuses_the_third_and_gives_places_back() {
    let gateway = Gateway::start();
    let anna = gateway.anna();
    let mut held: Vec<_> = (0..2).map(|_| gateway.raw()).collect();
    for conn in &mut held {
        conn.send(request("GET", "/pair", &anna, "X-Upstream: delay=1500\r\n"));
    }
    gateway.plain.wait_for(2);
    let answer = get(&gateway, "/pair", &anna);
    refused(&gateway, &answer, 429, "too-many-concurrent");
    for conn in &mut held {
        assert_eq!(conn.answer().status, 200);
    }
    assert_eq!(get(&gateway, "/pair", &anna).status, 200);
}

#[test]
fn e9_a_caller_at_its_cap_uses_up_no_rate() {
    let plan = json!({ "per_user": "1/min", "burst": 2, "concurrent": 1 });
    let gateway = Gateway::builder().set("/plans/pair", plan).start();
    let anna = gateway.anna();
    let mut held = gateway.raw();
    held.send(request("GET", "/pair", &anna, "X-Upstream: delay=1500\r\n"));
    gateway.plain.wait_for(1);
    for _ in 0..3 {
        refused(&gateway, &get(&gateway, "/pair", &anna), 429, "too-many-concurrent");
    }
    assert_eq!(held.answer().status, 200);
    assert_eq!(get(&gateway, "/pair", &anna).status, 200, "the second of a burst of two");
    refused(&gateway, &get(&gateway, "/pair", &anna), 429, "rate-limited");
}

#[test]
fn a_contract_refuses_what_it_does_not_know() {
    let gateway = Gateway::start();
    let anna = gateway.anna();
    for target in [
        "/items/1?nosuch=1",
        "/items/1?limit=51",
        "/items/1?limit=x",
        "/items/123456789",
        "/items/1?limit=1&limit=2",
    ] {
        let answer = get(&gateway, target, &anna);
        refused(&gateway, &answer, 400, "contract-broken");
    }
    let put = |kind: &str, body: &str| {
        let head = format!("Content-Type: {kind}\r\nContent-Length: {}\r\n", body.len());
        gateway.raw().exchange(request("PUT", "/items/1", &anna, &head) + body)
    };
    for body in [
        "{}",
        "{\"name\":7}",
        "{\"name\":\"a\",\"admin\":true}",
        "[]",
        "{\"name\":\"a\"",
        "{\"name\":\"a\",\"name\":\"b\"}",
    ] {
        refused(&gateway, &put("application/json", body), 400, "contract-broken");
    }
    refused(&gateway, &put("text/plain", "{\"name\":\"a\"}"), 415, "unsupported-media-type");
    refused(
        &gateway,
        &gateway.raw().exchange(request("PUT", "/items/1", &anna, "Content-Length: 0\r\n")),
        400,
        "contract-broken",
    );
    let mut bad = two("PUT", "/items/1", &anna, &[("content-type", "application/json")]);
    *bad.body_mut() = bytes::Bytes::from_static(b"{}");
    refused_two(&gateway, &gateway.h2().request(bad).expect("an answer"), 400, "contract-broken");
    nothing_arrived(&gateway);
    assert_eq!(get(&gateway, "/items/1?limit=50", &anna).status, 200);
    assert_eq!(put("application/json", "{\"name\":\"a\"}").status, 200);
    assert_eq!(gateway.plain.take_seen()[1].body, "{\"name\":\"a\"}");
    // Large ones are checked on another thread, by the same rules.
    let padded = |name: &str| format!("{{{}\"name\":{name}}}", " ".repeat(200_000));
    refused(&gateway, &put("application/json", &padded("7")), 400, "contract-broken");
    nothing_arrived(&gateway);
    assert_eq!(put("application/json", &padded("\"a\"")).status, 200);
    assert_eq!(gateway.plain.take_seen()[0].body.len(), padded("\"a\"").len());
}

#[test]
fn a_preflight_is_answered_here_and_only_for_listed_origins() {
    let gateway = Gateway::start();
    let preflight = |target: &str, origin: &str, method: &str, fields: &str| {
        gateway.raw().exchange(format!(
            "OPTIONS {target} HTTP/1.1\r\nHost: {HOST}\r\nOrigin: {origin}\r\nAccess-Control-Request-Method: {method}\r\n{fields}\r\n"
        ))
    };
    let good =
        preflight("/cross", "https://www.test.example", "PUT", "Access-Control-Request-Headers: x-page\r\n");
    assert_eq!(good.status, 204, "{good:?}");
    assert_eq!(good.header("access-control-allow-origin"), Some("https://www.test.example"));
    assert_eq!(good.header("access-control-max-age"), Some("3600"));
    for (target, origin, method, fields) in [
        ("/cross", "https://www.test.example.evil", "PUT", ""),
        ("/cross", "null", "PUT", ""),
        ("/cross", "http://www.test.example", "PUT", ""),
        ("/cross", "https://www.test.example", "PUT", "Access-Control-Request-Headers: x-other\r\n"),
        ("/echo/x", "https://www.test.example", "GET", ""),
    ] {
        let answer = preflight(target, origin, method, fields);
        refused(&gateway, &answer, 401, "missing-credentials");
        assert!(answer.header("access-control-allow-origin").is_none());
    }
    nothing_arrived(&gateway);
    let anna = gateway.anna();
    for (origin, granted) in [("https://www.test.example", true), ("https://evil.example", false)] {
        let answer =
            gateway.raw().exchange(request("GET", "/cross", &anna, &format!("Origin: {origin}\r\n")));
        assert_eq!(answer.header("access-control-allow-origin").is_some(), granted, "{answer:?}");
    }
}

#[test]
fn continue_is_said_only_to_who_may_send_and_other_expectations_are_refused() {
    let gateway = Gateway::start();
    let anna = gateway.anna();
    let expect = "Expect: 100-continue\r\nContent-Length: 5\r\n";
    for (target, token, status) in
        [("/echo/x", "bad", 401), ("/nowhere", anna.as_str(), 404), ("/orders/1/refund", anna.as_str(), 403)]
    {
        let mut conn = gateway.raw();
        conn.send(request("POST", target, token, expect));
        let got = String::from_utf8_lossy(&conn.read_for(Duration::from_millis(300))).into_owned();
        assert!(got.starts_with(&format!("HTTP/1.1 {status}")) && !got.contains(" 100 "), "{target} {got}");
    }
    nothing_arrived(&gateway);
    let mut conn = gateway.raw();
    conn.send(request("POST", "/echo/x", &anna, expect));
    assert!(conn.read_past(b"\r\n\r\n").starts_with(b"HTTP/1.1 100 "));
    conn.send("abcde");
    assert_eq!(conn.answer().status, 200);
    assert_eq!(gateway.plain.take_seen()[0].body, "abcde");
    let answer =
        gateway.raw().exchange(request("POST", "/echo/x", &anna, "Expect: 200-ok\r\nContent-Length: 0\r\n"));
    refused(&gateway, &answer, 417, "expectation-failed");
    let answer = gateway.raw().exchange(request("TRACE", "/echo/x", &anna, ""));
    assert!(matches!(answer.status, 405 | 501), "{answer:?}");
    nothing_arrived(&gateway);
}
