//! D: both ends of both legs are who they say.

use portcullis_e2e::Gateway;
use portcullis_e2e::gateway::{HOST, OTHER_HOST};
use portcullis_testkit::ca::ClientAuth;
use portcullis_testkit::{RawConn, TestCa, Upstream};
use serde_json::json;

use crate::ask::{get, nothing_arrived, refused, refused_two, two};

#[test]
fn d1_a_connection_serves_only_the_hosts_of_its_certificate() {
    let gateway = Gateway::start();
    let anna = gateway.anna();
    let ask =
        |host: &str| format!("GET /echo/x HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {anna}\r\n\r\n");
    for (name, host) in [
        (HOST, OTHER_HOST),
        (OTHER_HOST, HOST),
        (HOST, "nowhere.example"),
        // Of the same certificate, but client certificates are asked for by name.
        (HOST, "second.test.example"),
        (HOST, "api.test.example.evil"),
    ] {
        let answer = gateway.raw_as(name, None).exchange(ask(host));
        refused(&gateway, &answer, 421, "misdirected-request");
    }
    let mut request = two("GET", "/echo/x", &anna, &[]);
    *request.uri_mut() = format!("https://{OTHER_HOST}/echo/x").parse().expect("a target");
    refused_two(&gateway, &gateway.h2().request(request).expect("an answer"), 421, "misdirected-request");
    nothing_arrived(&gateway);
    for host in [HOST, "API.test.EXAMPLE"] {
        assert_eq!(gateway.raw().exchange(ask(host)).status, 200, "{host}");
    }
}

#[test]
fn d1_a_client_certificate_of_a_stranger_opens_nothing() {
    let gateway = Gateway::start();
    let stranger = TestCa::root("clients");
    let leaf = stranger.client("warehouse.test.example");
    let config = gateway.client(Some(&leaf), "http/1.1");
    // TLS 1.3: the client learns of the refusal with its first read.
    if let Ok(mut conn) = RawConn::tls(gateway.address(), HOST, config) {
        let _ = conn.try_send(format!("GET /vault/1 HTTP/1.1\r\nHost: {HOST}\r\n\r\n"));
        let got = conn.read_for(std::time::Duration::from_secs(1));
        assert!(got.is_empty(), "{}", String::from_utf8_lossy(&got));
    }
    nothing_arrived(&gateway);
    let _ = gateway.record("a failed handshake", |r| r["event"] == "connection");
}

#[test]
fn d7_an_upstream_with_another_identity_or_authority_gets_nothing() {
    let builder = Gateway::builder();
    let evil = TestCa::root("workloads");
    let leaf = evil.spiffe("spiffe://test.example/orders");
    let stranger = Upstream::start_tls(evil.server_config(&leaf, ClientAuth::None, &["http/1.1"]));
    let ca = &builder.kit().workload_ca;
    let leaf = ca.spiffe("spiffe://test.example/two");
    let other = Upstream::start_tls(ca.server_config(&leaf, ClientAuth::None, &["http/1.1"]));
    let plain = Upstream::start();
    let service = |name: &str, upstream: &Upstream| {
        json!({
            "name": name, "owner": "tests", "sensitivity": "low", "context": name,
            "upstream": {
                "endpoints": upstream.address().to_string(),
                "tls": { "roots": "workloads-ca.pem", "expect": "spiffe://test.example/orders",
                         "identity": { "file": "workload.pem", "key": { "file": "workload.key" } } },
            },
            "routes": [{ "path": format!("/{name}"), "methods": "GET", "plan": "wide", "scopes": { "any": "echo" } }],
        })
    };
    let (first, second, third) =
        (service("stranger", &stranger), service("other", &other), service("bare", &plain));
    let gateway = builder.service(first).service(second).service(third).start();
    let anna = gateway.anna();
    for target in ["/stranger", "/other", "/bare"] {
        let answer = get(&gateway, target, &anna);
        assert!(matches!(answer.status, 502 | 503), "{target} {answer:?}");
    }
    assert!(stranger.seen().is_empty() && other.seen().is_empty() && plain.seen().is_empty());
    let _ = gateway.refused("upstream-unreachable");
}
