//! Short words for asking.

use bytes::Bytes;
use http::Request;
use portcullis_e2e::gateway::HOST;
use portcullis_e2e::{Gateway, Puppet, plaintext};
use portcullis_testkit::Answer;
use portcullis_testkit::h2::H2Answer;
use serde_json::{Value, json};

/// An HTTP/1.1 request with a token and these further field lines, each with its line end.
pub(crate) fn request(method: &str, target: &str, token: &str, more: &str) -> String {
    format!("{method} {target} HTTP/1.1\r\nHost: {HOST}\r\nAuthorization: Bearer {token}\r\n{more}\r\n")
}

/// One GET on a connection of its own.
pub(crate) fn get(gateway: &Gateway, target: &str, token: &str) -> Answer {
    gateway.raw().exchange(request("GET", target, token, ""))
}

/// A request in HTTP/2, without a body.
pub(crate) fn two(method: &str, target: &str, token: &str, more: &[(&str, &str)]) -> Request<Bytes> {
    let mut request = Request::builder()
        .method(method)
        .uri(format!("https://{HOST}{target}"))
        .header("authorization", format!("Bearer {token}"));
    for (name, value) in more {
        request = request.header(*name, *value);
    }
    request.body(Bytes::new()).expect("a request")
}

/// The id under which an answer was recorded.
pub(crate) fn id(answer: &Answer) -> &str {
    answer.header("x-request-id").unwrap_or_else(|| panic!("no request id in {answer:?}"))
}

/// The same over HTTP/2.
pub(crate) fn id_two(answer: &H2Answer) -> &str {
    answer.headers.get("x-request-id").and_then(|v| v.to_str().ok()).expect("a request id")
}

/// Holds a refusal to its form: status, problem details, no leftovers, and a record with the reason.
pub(crate) fn refused(gateway: &Gateway, answer: &Answer, status: u16, reason: &str) -> Value {
    assert_eq!(answer.status, status, "{reason}: {answer:?}");
    assert_eq!(answer.header("content-type"), Some("application/problem+json"), "{answer:?}");
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    let body = answer.json();
    assert_eq!(body["type"], format!("urn:portcullis:refusal:{reason}"), "{body}");
    assert_eq!(body["status"], status);
    let challenge = answer.header("www-authenticate");
    assert_eq!(challenge.is_some(), status == 401, "{answer:?}");
    let record = gateway.ended(id(answer));
    assert_eq!(record["reason"], reason, "{record}");
    assert_eq!(record["outcome"], "refused");
    record
}

/// The same over HTTP/2.
pub(crate) fn refused_two(gateway: &Gateway, answer: &H2Answer, status: u16, reason: &str) -> Value {
    assert_eq!(answer.status.as_u16(), status, "{reason}: {answer:?}");
    assert_eq!(answer.headers["content-type"], "application/problem+json");
    let body: Value = serde_json::from_slice(&answer.body).expect("problem details");
    assert_eq!(body["type"], format!("urn:portcullis:refusal:{reason}"), "{body}");
    assert_eq!(answer.headers.contains_key("www-authenticate"), status == 401);
    let record = gateway.ended(id_two(answer));
    assert_eq!(record["reason"], reason, "{record}");
    assert_eq!(record["protocol"], "h2", "{record}");
    record
}

/// No upstream saw anything.
#[track_caller]
pub(crate) fn nothing_arrived(gateway: &Gateway) {
    for (name, upstream) in [("orders", &gateway.orders), ("plain", &gateway.plain), ("two", &gateway.two)] {
        assert!(upstream.seen().is_empty(), "{name} saw {:?}", upstream.seen());
    }
}

/// The service `puppet` at `/puppet/...`, behind which exactly these bytes are said.
pub(crate) fn puppet_service(puppet: &Puppet) -> Value {
    json!({
        "name": "puppet", "owner": "tests", "sensitivity": "low", "context": "puppet",
        "upstream": plaintext(puppet.address()),
        "routes": [{ "path": "/puppet/*rest", "methods": ["GET", "POST"], "plan": "wide", "scopes": { "any": "echo" } }],
    })
}
