//! A: one reading of every message.

use portcullis_e2e::Gateway;
use portcullis_e2e::gateway::HOST;
use portcullis_testkit::Answer;
use std::time::Duration;

use crate::ask::{get, nothing_arrived, refused, request, two};

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
        assert_eq!((answer.status, &answer.json()["target"]), (200, &target.into()), "{answer:?}");
        let answer = gateway.h2().request(two("GET", target, &anna, &[])).expect("an answer");
        assert_eq!(answer.status, 200, "{target}");
    }
    assert_eq!((gateway.orders.seen().len(), gateway.plain.seen().len(), gateway.two.seen().len()), (2, 2, 2));
    let (status, out) = gateway.portcullis(&["audit", "query"]);
    assert!(status.success(), "{out}");
    assert!(out.contains("\"outcome\":\"served\""), "{out}");
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
