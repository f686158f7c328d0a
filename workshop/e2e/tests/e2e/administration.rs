//! D1, D3, F1: administration over mutual TLS, metrics on loopback, and several authorities of clients.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use portcullis_e2e::gateway::HOST;
use portcullis_e2e::{Builder, Gateway};
use portcullis_testkit::launch::free_port;
use portcullis_testkit::{Answer, Leaf, LeafSpec, RawConn, TestCa, eventually};
use serde_json::{Value, json};

const ADMIN: &str = "admin.test.example";

/// A gateway with an admin listener, and the authority of administrators.
struct House {
    gateway: Gateway,
    admins: TestCa,
    at: SocketAddr,
}

fn named(ca: &TestCa, name: &str) -> Leaf {
    ca.issue(&LeafSpec { client_auth: true, ..LeafSpec::server(&[name]) })
}

impl House {
    fn start() -> Self {
        let (builder, admins, at) = (Gateway::builder(), TestCa::root("admins"), free_port());
        let folder = builder.kit().path();
        let _ = builder.kit().edge_ca.server(&[ADMIN]).write(folder, "admin");
        let _ = admins.write_root(folder, "admins-ca");
        let listener = json!({
            "address": at.to_string(), "certificate": { "file": "admin.pem", "key": { "file": "admin.key" } },
            "roots": "admins-ca.pem", "names": ["alice.test.example"],
        });
        Self { gateway: builder.set("/admin/listener", listener).start(), admins, at }
    }

    /// What somebody with this certificate is told; nothing if the connection comes to nothing.
    fn ask(&self, leaf: Option<&Leaf>, request: &str) -> Option<Answer> {
        let trusting = self.gateway.edge_ca.client_config(None, &["http/1.1"]);
        let mut config = Arc::unwrap_or_clone(trusting);
        if let Some(leaf) = leaf {
            let showing = self.admins.client_config(Some(leaf), &["http/1.1"]);
            config.client_auth_cert_resolver = Arc::clone(&showing.client_auth_cert_resolver);
        }
        let mut conn = RawConn::tls(self.at, ADMIN, Arc::new(config)).ok()?;
        // TLS 1.3: the client learns of a refusal with its first read.
        conn.try_send(request).ok()?;
        let got = conn.read_to_close_within(Duration::from_secs(5)).ok()?;
        Answer::parse(&got, "GET", portcullis_testkit::answer::Ending::Closed).map(|(answer, _)| answer)
    }

    /// What *control* has recorded of this kind, once it is enough: a record is on the disk within 50 ms.
    fn told(&self, event: &str, enough: impl Fn(&[Value]) -> bool) -> Vec<Value> {
        let end = Instant::now() + Duration::from_secs(10);
        loop {
            let told = self.told_now(event);
            if enough(&told) || Instant::now() > end {
                assert!(enough(&told), "{event}: {told:?}");
                return told;
            }
        }
    }

    fn told_now(&self, event: &str) -> Vec<Value> {
        let (status, text) = self.gateway.portcullis(&["audit", "query", "--of", "control"]);
        assert!(status.success(), "{text}");
        let lines = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        lines.filter(|record| record["event"] == event).collect()
    }
}

fn get(path: &str, fields: &str) -> String {
    format!("GET {path} HTTP/1.1\r\n{fields}Connection: close\r\n\r\n")
}

#[test]
fn f1_d1_a_listed_administrator_is_served_and_on_record_by_name() {
    let house = House::start();
    let alice = named(&house.admins, "alice.test.example");
    let host = format!("Host: {ADMIN}:9443\r\n");
    for path in ["/live", "/ready", "/status", "/metrics"] {
        let answer = house.ask(Some(&alice), &get(path, &host)).expect("an answer");
        assert_eq!(answer.status, 200, "{path} {answer:?}");
    }
    for fields in [
        format!("{host}Origin: https://{ADMIN}\r\n"),
        format!("{host}Sec-Fetch-Site: same-origin\r\n"),
        "Host: localhost\r\n".to_owned(),
        "Host: evil.example\r\n".to_owned(),
        String::new(),
    ] {
        let answer = house.ask(Some(&alice), &get("/status", &fields)).expect("an answer");
        assert!(matches!(answer.status, 400 | 403), "{fields:?} {answer:?}");
    }
    let by = |told: &[Value], outcome: &str| {
        told.iter().filter(|r| r["peer"] == "alice.test.example" && r["outcome"] == outcome).count()
    };
    let told = house.told("admin", |told| by(told, "refused") == 5);
    assert_eq!(by(&told, "allowed"), 4, "{told:?}");
}

#[test]
fn f1_d1_d3_who_is_no_listed_administrator_is_told_nothing_and_is_on_record() {
    let house = House::start();
    let request = get("/status", &format!("Host: {ADMIN}\r\n"));
    let stranger = TestCa::root("strangers");
    let wrong = named(&stranger, "alice.test.example");
    let impostor = named(&TestCa::root("admins"), "alice.test.example");
    let unlisted = named(&house.admins, "mallory.test.example");
    let both = house.admins.issue(&LeafSpec {
        client_auth: true,
        ..LeafSpec::server(&["alice.test.example", "mallory.test.example"])
    });
    for leaf in [None, Some(&wrong), Some(&impostor), Some(&unlisted), Some(&both)] {
        assert!(house.ask(leaf, &request).is_none());
    }
    let has =
        |told: &[Value], fault: &str| told.iter().any(|r| r["fault"] == fault && r["listener"] == "admin");
    let faults = ["certificate-missing", "certificate-unknown-issuer", "certificate-signature"];
    let _ = house.told("connection", |told| faults.iter().all(|fault| has(told, fault)));
    let mallory = |r: &Value| r["peer"] == "mallory.test.example" && r["outcome"] == "refused";
    let told = house.told("admin", |told| told.iter().any(mallory));
    assert!(told.iter().all(|r| r["outcome"] != "allowed" || r["actor"] != "peer"), "{told:?}");
}

#[test]
fn f1_metrics_on_loopback_show_three_pages_to_programs_that_mean_them() {
    let at = free_port();
    let gateway = Gateway::builder().set("/metrics", json!({ "listen": at.to_string() })).start();
    let ask = |path: &str, fields: &str| RawConn::tcp(at).exchange(get(path, fields));
    let host = format!("Host: {at}\r\n");
    for path in ["/live", "/ready", "/metrics"] {
        assert_eq!(ask(path, &host).status, 200, "{path}");
    }
    let text = String::from_utf8(ask("/metrics", "Host: localhost\r\n").body).expect("text");
    assert!(text.contains("portcullis_net_connections_total"), "{text}");
    for (path, fields, want) in [
        ("/status", host.as_str(), 404),
        ("/explain/0123456789abcdef0123456789abcdef", host.as_str(), 404),
        ("/metrics", "Host: rebound.example\r\n", 403),
        ("/metrics", "Host: localhost\r\nOrigin: http://localhost\r\n", 403),
    ] {
        assert_eq!(ask(path, fields).status, want, "{path} {fields}");
    }
    let reload = format!("POST /reload HTTP/1.1\r\n{host}Content-Length: 0\r\nConnection: close\r\n\r\n");
    assert_eq!(RawConn::tcp(at).exchange(reload).status, 404);
    drop(gateway);
}

/// A second authority, whose clients may have the same names.
fn two_authorities(ca: &TestCa) -> Builder {
    let builder = Gateway::builder();
    let _ = ca.write_root(builder.kit().path(), "couriers-ca");
    builder.set(
        "/gateway/client_certificates/authorities",
        json!([
            { "name": "warehouses", "roots": "clients-ca.pem",
              "callers": [{ "certificate": "warehouse.test.example", "scopes": ["vault.read"] }] },
            { "name": "couriers", "roots": "couriers-ca.pem",
              "callers": [{ "certificate": "warehouse.test.example", "scopes": ["echo"] }] },
        ]),
    )
}

const OWN_VAULT: &str = "GET /vault/1 HTTP/1.1\r\nHost: api.test.example\r\n\r\n";

#[test]
fn d2_a_client_certificate_that_ends_proves_nothing_on_a_connection_that_stays() {
    let gateway = Gateway::start();
    let spec = LeafSpec { client_auth: true, ..LeafSpec::server(&["warehouse.test.example"]) };
    let leaf = gateway.client_ca.issue(&spec.ends_in_seconds(4));
    let mut conn = gateway.raw_as(HOST, Some(&leaf));
    assert_eq!(conn.exchange(OWN_VAULT).status, 200);
    eventually(Duration::from_secs(20), "refusal", || (conn.exchange(OWN_VAULT).status == 401).then_some(()));
}

#[test]
fn d2_a_caller_whom_a_reload_takes_off_is_out_on_a_connection_that_stays() {
    let mut gateway = Gateway::start();
    let mut conn = gateway.raw_as(HOST, Some(&gateway.warehouse));
    assert_eq!(conn.exchange(OWN_VAULT).status, 200);
    gateway.rewrite(|config| {
        let authority = &mut config["gateway"]["client_certificates"]["authorities"][0];
        authority["callers"] = json!([{ "certificate": "another.test.example", "scopes": ["vault.read"] }]);
    });
    let _ = gateway.process().wait_for_line("the configuration was reloaded", Duration::from_secs(20));
    eventually(Duration::from_secs(20), "refusal", || (conn.exchange(OWN_VAULT).status == 401).then_some(()));
}

#[test]
fn d1_d3_the_same_name_under_another_authority_is_another_caller() {
    let couriers = TestCa::root("couriers");
    let gateway = two_authorities(&couriers).start();
    let theirs = named(&couriers, "warehouse.test.example");
    for (leaf, issuer, vault, echo) in
        [(&gateway.warehouse, "warehouses", 200, 403), (&theirs, "couriers", 403, 200)]
    {
        for (target, want) in [("/vault/1", vault), ("/echo/x", echo)] {
            let mut conn = gateway.raw_as(HOST, Some(leaf));
            let answer = conn.exchange(format!("GET {target} HTTP/1.1\r\nHost: {HOST}\r\n\r\n"));
            assert_eq!(answer.status, want, "{issuer} {target} {answer:?}");
            let id = answer.header("x-request-id").expect("an id").to_owned();
            let decided = gateway.record(&id, |r| r["id"] == id && r.get("caller").is_some());
            assert_eq!(decided["caller"]["issuer"], issuer, "{decided}");
        }
    }
}
