//! The HTTP/2 halves of classes whose first tests speak HTTP/1.1: what is refused in one protocol is refused in both.

use std::time::Duration;

use bytes::Bytes;
use http::Request;
use portcullis_e2e::gateway::HOST;
use portcullis_e2e::{Gateway, Puppet};
use portcullis_testkit::frames::{self, END_HEADERS, END_STREAM, kind};
use portcullis_testkit::h2::H2Answer;
use portcullis_testkit::{RawConn, TestCa};
use serde_json::json;

use crate::ask::{get, id_two, nothing_arrived, puppet_service, refused_two, two};

const SOON: Duration = Duration::from_secs(5);
/// An indexed `:status: 200` (RFC 7541 §B, entry 8).
const OK: u8 = 0x88;

fn ask(gateway: &Gateway, request: Request<Bytes>) -> H2Answer {
    gateway.h2().request(request).expect("an answer")
}

fn get_two(gateway: &Gateway, target: &str, token: &str) -> H2Answer {
    ask(gateway, two("GET", target, token, &[]))
}

/// A head with these fields on top of a good one, on a stream that goes on unless `flags` end it.
fn head(stream: u32, flags: u8, token: &str, more: &[(&str, &str)]) -> Vec<u8> {
    let bearer = format!("Bearer {token}");
    let mut fields =
        vec![(":method", "POST"), (":scheme", "https"), (":authority", HOST), (":path", "/echo/x")];
    fields.push(("authorization", &bearer));
    fields.extend(more);
    frames::headers(stream, flags, &fields)
}

/// Sends these bytes behind the preface; the frames that came back in a moment.
fn by_frames(gateway: &Gateway, bytes: &[u8]) -> Vec<frames::Frame> {
    let mut conn = gateway.frames();
    conn.send([frames::hello(), bytes.to_vec()].concat());
    frames::split(&conn.read_for(Duration::from_millis(250)))
}

fn is_served(frame: &frames::Frame, stream: u32) -> bool {
    frame.kind == kind::HEADERS && frame.stream == stream && frame.payload.first() == Some(&OK)
}

#[test]
fn a1_a4_h2_a_length_that_the_data_belies_is_never_served_whole() {
    let gateway = Gateway::start();
    let anna = gateway.anna();
    type Case<'a> = (&'a [(&'a str, &'a str)], &'a [u8]);
    let cases: [Case<'_>; 5] = [
        (&[("content-length", "2")], b"0123456789"),
        (&[("content-length", "20")], b"0123456789"),
        (&[("content-length", "10"), ("content-length", "11")], b"0123456789"),
        (&[("content-length", "+10")], b"0123456789"),
        (&[("content-length", "10"), ("transfer-encoding", "chunked")], b"0123456789"),
    ];
    for (more, body) in cases {
        let bytes = [head(1, 0, &anna, more), frames::data(1, END_STREAM, body)].concat();
        let got = by_frames(&gateway, &bytes);
        assert!(!got.iter().any(|frame| is_served(frame, 1)), "{more:?} {got:?}");
    }
    assert!(gateway.plain.seen().iter().all(|seen| seen.body.is_empty()), "{:?}", gateway.plain.seen());
}

#[test]
fn a4_h2_the_body_of_a_refused_request_is_never_the_next_request() {
    let gateway = Gateway::start();
    let anna = gateway.anna();
    let smuggled = crate::ask::request("GET", "/echo/smuggled", &anna, "");
    let conn = gateway.h2();
    for (target, status) in [("/admin/x", 405), ("/nowhere", 404), ("/ten", 405)] {
        let mut request = two("POST", target, &anna, &[]);
        *request.body_mut() = Bytes::from(smuggled.clone());
        assert_eq!(conn.request(request).expect("an answer").status.as_u16(), status, "{target}");
    }
    nothing_arrived(&gateway);
    assert_eq!(conn.request(two("GET", "/echo/next", &anna, &[])).expect("an answer").status, 200);
    assert_eq!(gateway.plain.take_seen().len(), 1);
}

#[test]
fn a7_h2_trailers_never_become_fields() {
    let gateway = Gateway::start();
    let anna = gateway.anna();
    for trailer in
        [("content-length", "3"), ("authorization", "Bearer x"), (":path", "/admin/x"), ("connection", "x")]
    {
        let bytes =
            [head(1, 0, &anna, &[]), frames::data(1, 0, b"abc"), frames::headers(1, END_STREAM, &[trailer])];
        let got = by_frames(&gateway, &bytes.concat());
        for seen in gateway.plain.take_seen() {
            let shown = format!("{:?}", seen.headers);
            assert!(!shown.contains("Bearer x") && seen.target == "/echo/x", "{trailer:?} {shown} {got:?}");
            assert!(seen.headers.get_all("content-length").iter().count() <= 1, "{trailer:?} {shown}");
        }
    }
    let good = [
        head(1, 0, &anna, &[]),
        frames::data(1, 0, b"abc"),
        frames::headers(1, END_STREAM, &[("x-sum", "9")]),
    ];
    let got = by_frames(&gateway, &good.concat());
    assert!(got.iter().any(|frame| is_served(frame, 1)), "{got:?}");
    assert!(
        gateway.plain.take_seen().iter().all(|seen| seen.header("x-sum").is_none() && seen.body == "abc")
    );
}

#[test]
fn a3_a8_h2_no_upgrade_and_no_connection_field_goes_further() {
    let gateway = Gateway::start();
    let anna = gateway.anna();
    for (name, value) in [
        ("connection", "x-forwarded-for"),
        ("upgrade", "websocket"),
        ("keep-alive", "5"),
        ("proxy-connection", "close"),
        ("te", "gzip"),
        ("http2-settings", "AAMAAABkAAQAAP__"),
    ] {
        let got = by_frames(&gateway, &head(1, END_STREAM, &anna, &[(name, value)]));
        if got.iter().any(|frame| is_served(frame, 1)) {
            let seen = gateway.plain.take_seen();
            assert!(seen.iter().all(|seen| seen.header(name).is_none()), "{name} {seen:?}");
        }
    }
    nothing_arrived(&gateway);
}

#[test]
fn b4_b6_b7_h2_a_path_is_literal_and_the_query_decides_nothing() {
    let gateway = Gateway::start();
    let anna = gateway.anna();
    for target in ["/ADMIN/x", "/Echo/x", "/orders", "/orders/7/", "/ech.", "/public/", "/echo"] {
        refused_two(&gateway, &get_two(&gateway, target, &anna), 404, "no-route");
    }
    for target in ["/admin/%78?x=/public", "/tenants/south/orders?tenant=north", "/tenants/North/orders"] {
        refused_two(&gateway, &get_two(&gateway, target, &anna), 403, "forbidden");
    }
    nothing_arrived(&gateway);
    assert_eq!(get_two(&gateway, "/echo/./%61%2db/%e2%82%ac?q=%2e%2e/&q=1", &anna).status, 200);
    assert_eq!(gateway.plain.take_seen()[0].target, "/echo/a-b/%E2%82%AC?q=%2e%2e/&q=1");
}

#[test]
fn b14_c15_h2_neither_a_redirect_nor_a_broken_rule_opens_anything() {
    let (puppet, elsewhere) = (Puppet::start(), Puppet::start());
    let mut broken = puppet_service(&puppet);
    broken["name"] = json!("broken");
    broken["routes"][0] =
        json!({ "path": "/broken/*rest", "methods": "GET", "plan": "wide", "policy": "broken.cedar" });
    let rules = "permit (principal, action, resource);\nforbid (principal, action, resource) when { 9223372036854775807 + 1 > 0 };\n";
    let gateway = Gateway::builder()
        .file("broken.cedar", rules)
        .service(broken)
        .service(puppet_service(&puppet))
        .start();
    let anna = gateway.anna();
    let answer = get_two(&gateway, "/broken/x", &anna);
    assert_eq!(answer.status, 403, "{answer:?}");
    assert_eq!(gateway.ended(id_two(&answer))["reason"], "policy-broken");
    assert!(puppet.heads().is_empty());
    for status in ["301 Moved", "307 Temporary Redirect", "401 Unauthorized", "500 Oops"] {
        let to = elsewhere.address();
        puppet.says(format!("HTTP/1.1 {status}\r\nLocation: http://{to}/x\r\nContent-Length: 0\r\n\r\n"));
        assert_eq!(get_two(&gateway, "/puppet/x", &anna).status.as_str(), &status[..3]);
    }
    assert!(elsewhere.heads().is_empty() && puppet.heads().iter().all(|head| !head.contains(&anna)));
}

#[test]
fn c7_c8_b10_h2_rights_are_nobody_elses_and_no_credential_passes() {
    let gateway = Gateway::start();
    let (admin, plain) =
        (gateway.token("eve", "admin", &json!({})), gateway.token("eve", "echo", &json!({})));
    let conn = gateway.h2();
    for _ in 0..3 {
        assert_eq!(conn.request(two("GET", "/admin/x", &admin, &[])).expect("an answer").status, 200);
        assert_eq!(conn.request(two("GET", "/admin/x", &plain, &[])).expect("an answer").status, 403);
    }
    let fields =
        [("cookie", "session=canary"), ("proxy-authorization", "Basic canary"), ("cookie", "a=canary")];
    let answer = ask(&gateway, two("GET", "/orders/7", &gateway.anna(), &fields));
    assert_eq!(answer.status, 200, "{answer:?}");
    let seen = gateway.orders.take_seen();
    assert!(!format!("{:?}", seen[0].headers).contains("canary"), "{:?}", seen[0].headers);
    assert_eq!(seen[0].headers.get_all("authorization").iter().count(), 1);
}

#[test]
fn d1_d2_h2_a_strangers_certificate_opens_nothing_and_no_proof_outlives_its_connection() {
    let gateway = Gateway::start();
    let leaf = TestCa::root("clients").client("warehouse.test.example");
    let stranger = RawConn::tls(gateway.address(), HOST, gateway.client(Some(&leaf), "h2"));
    if let Ok(mut conn) = stranger {
        let _ = conn.try_send([frames::hello(), frames::get(1, HOST, "/vault/1")].concat());
        let got = frames::split(&conn.read_for(Duration::from_secs(1)));
        assert!(!got.iter().any(|frame| frame.kind == kind::HEADERS), "{got:?}");
    }
    nothing_arrived(&gateway);
    // One configuration for all connections: what can be resumed would be.
    for alpn in ["http/1.1", "h2"] {
        for leaf in [None, Some(&gateway.warehouse)] {
            let config = gateway.client(leaf, alpn);
            let mut config = std::sync::Arc::unwrap_or_clone(config);
            config.enable_early_data = true;
            let config = std::sync::Arc::new(config);
            for turn in 0..3 {
                assert!(is_whole(&gateway, &config), "{alpn} {turn}: a handshake was cut short");
            }
        }
    }
}

/// Shakes hands and asks for one thing, so that tickets would have come: was it a whole handshake without early data?
fn is_whole(gateway: &Gateway, config: &std::sync::Arc<rustls::ClientConfig>) -> bool {
    use std::io::{Read as _, Write as _};
    let name = HOST.to_owned().try_into().expect("a name");
    let mut conn = rustls::ClientConnection::new(std::sync::Arc::clone(config), name).expect("a client");
    let early = conn.early_data().is_some();
    let mut tcp = std::net::TcpStream::connect(gateway.address()).expect("a listener");
    let _ = tcp.set_read_timeout(Some(SOON));
    while conn.is_handshaking() {
        conn.complete_io(&mut tcp).expect("a handshake");
    }
    let kind = conn.handshake_kind();
    let mut stream = rustls::Stream::new(&mut conn, &mut tcp);
    let asked = if stream.conn.alpn_protocol() == Some(b"h2") {
        [frames::hello(), frames::get(1, HOST, "/public")].concat()
    } else {
        format!("GET /public HTTP/1.1\r\nHost: {HOST}\r\n\r\n").into_bytes()
    };
    let _ = stream.write_all(&asked).and_then(|()| stream.read(&mut [0; 64]));
    !early && kind == Some(rustls::HandshakeKind::Full)
}

#[test]
fn d7_h2_an_upstream_with_another_identity_gets_nothing() {
    let builder = Gateway::builder();
    let ca = &builder.kit().workload_ca;
    let leaf = ca.spiffe("spiffe://test.example/orders");
    let config = ca.server_config(&leaf, portcullis_testkit::ca::ClientAuth::None, &["h2"]);
    let other = portcullis_testkit::Upstream::start_tls(config);
    let gateway = builder.service(json!({
        "name": "other", "owner": "tests", "sensitivity": "low", "context": "other",
        "upstream": {
            "endpoints": other.address().to_string(), "protocol": "http2",
            "tls": { "roots": "workloads-ca.pem", "expect": "spiffe://test.example/two",
                     "identity": { "file": "workload.pem", "key": { "file": "workload.key" } } },
        },
        "routes": [{ "path": "/other", "methods": "GET", "plan": "wide", "scopes": { "any": "echo" } }],
    }));
    let gateway = gateway.start();
    let anna = gateway.anna();
    assert!(matches!(get_two(&gateway, "/other", &anna).status.as_u16(), 502 | 503));
    assert!(matches!(get(&gateway, "/other", &anna).status, 502 | 503));
    assert!(other.seen().is_empty());
}

#[test]
fn e3_h2_resets_that_we_are_made_to_send_close_their_own_connection() {
    let gateway = Gateway::start();
    let mut conn = gateway.frames();
    conn.send(frames::hello());
    // Each stream's window goes beyond its largest, which is an error of the stream and ours to reset.
    let anna = gateway.anna();
    for n in 0..700_u32 {
        let stream = n * 2 + 1;
        let one = [head(stream, 0, &anna, &[]), frames::window_update(stream, 0x7fff_ffff)].concat();
        if conn.try_send(one).is_err() {
            break;
        }
    }
    let ended = conn.read_to_close_within(SOON);
    let away =
        |got: &[u8]| frames::split(got).iter().any(|f| f.kind == kind::GOAWAY && f.error_code() != Some(0));
    assert!(ended.as_ref().map_or_else(|got| away(got), |_| true), "still open");
    assert_eq!(get(&gateway, "/echo/good", &anna).status, 200, "another caller suffers");
}

#[test]
fn e8_h2_heads_and_bodies_that_stop_are_ended_in_time() {
    let gateway = Gateway::builder()
        .set("/gateway/timeouts/head", json!("400ms"))
        .set("/gateway/timeouts/body_grace", json!("500ms"))
        .set("/gateway/timeouts/body_stall", json!("500ms"))
        .start();
    let mut slow = gateway.frames();
    let block = frames::block(&[(":method", "GET"), (":scheme", "https")]);
    slow.send([frames::hello(), frames::frame(kind::HEADERS, END_STREAM, 1, &block)].concat());
    let got = slow.read_to_close_within(SOON).unwrap_or_else(|got| got);
    let away = |f: &frames::Frame| f.kind == kind::GOAWAY || f.kind == kind::RST_STREAM;
    assert!(frames::split(&got).iter().any(away), "a head that does not go on");
    let mut stalled = gateway.frames();
    let opening =
        [head(1, END_HEADERS, &gateway.anna(), &[("content-length", "10")]), frames::data(1, 0, b"ab")];
    stalled.send([frames::hello(), opening.concat()].concat());
    let got = stalled.read_to_close_within(SOON).unwrap_or_else(|got| got);
    let ended = |f: &frames::Frame| f.stream == 1 && (f.kind == kind::RST_STREAM || f.kind == kind::HEADERS);
    assert!(
        frames::split(&got).iter().any(|f| ended(f) || away(f)),
        "a body that stops: {:?}",
        frames::split(&got)
    );
    assert!(!frames::split(&got).iter().any(|f| is_served(f, 1)));
}

#[test]
fn e9_e10_e12_e15_h2_documents_expansions_and_lengths_beyond_measure() {
    let gateway = Gateway::start();
    let anna = gateway.anna();
    let conn = gateway.h2();
    for deep in [
        "[".repeat(50_000),
        "{\"a\":".repeat(20_000),
        format!("{{\"name\":{}1{}}}", "[".repeat(3_000), "]".repeat(3_000)),
    ] {
        let mut request = two("PUT", "/items/1", &anna, &[("content-type", "application/json")]);
        *request.body_mut() = Bytes::from(deep);
        let status = conn.request(request).expect("an answer").status.as_u16();
        assert!(matches!(status, 400 | 413), "{status}");
    }
    for length in ["9223372036854775808", "18446744073709551616", "99999999999999999999999999"] {
        let bytes =
            [head(1, 0, &anna, &[("content-length", length)]), frames::data(1, END_STREAM, b"a")].concat();
        let got = by_frames(&gateway, &bytes);
        assert!(!got.iter().any(|frame| is_served(frame, 1)), "{length} {got:?}");
    }
    nothing_arrived(&gateway);
    let fields = [("grpc-timeout", "99999999999999999999H"), ("range", "bytes=0-18446744073709551616")];
    assert_eq!(ask(&gateway, two("GET", "/echo/x", &anna, &fields)).status, 200);
    let _ = gateway.plain.take_seen();
    assert_eq!(get_two(&gateway, "/swap/%7Bid%7D/$1?x=%24%7Bpath%7D", &anna).status, 200);
    assert_eq!(gateway.plain.take_seen()[0].target, "/v2/%7Bid%7D/$1?x=%24%7Bpath%7D");
}

#[test]
fn f1_f7_h2_administration_is_not_there_and_the_first_answer_is_a_refusal() {
    let gateway = Gateway::start();
    let mut anonymous = two("GET", "/orders/7", "x", &[]);
    anonymous.headers_mut().remove("authorization");
    refused_two(&gateway, &ask(&gateway, anonymous), 401, "missing-credentials");
    let anna = gateway.anna();
    for target in
        ["/metrics", "/healthz", "/reads", "/status", "/config", "/explain/1", "/.well-known/portcullis/"]
    {
        refused_two(&gateway, &get_two(&gateway, target, &anna), 404, "no-route");
    }
    nothing_arrived(&gateway);
}

#[test]
fn c13_f8_h2_no_value_of_a_caller_forges_a_line_or_is_told() {
    const SECRET: &str = "canary-7f3a9";
    let gateway = Gateway::start();
    let anna = gateway.token("a\"}\n{\"forged\":true}\u{202e}", "echo", &json!({ "note": SECRET }));
    let fields = [
        ("x-canary-7f3a9", "1"),
        ("x-a", SECRET),
        ("cookie", "a=canary-7f3a9"),
        ("referer", SECRET),
        ("user-agent", SECRET),
    ];
    let targets =
        ["/echo/canary-7f3a9?canary-7f3a9=1", "/admin/canary-7f3a9", "/canary-7f3a9", "/items/canary-7f3a9"];
    let last = targets.map(|target| {
        let answer = ask(&gateway, two("GET", target, &anna, &fields));
        assert!(answer.status == 200 || !format!("{answer:?}").contains(SECRET), "{answer:?}");
        id_two(&answer).to_owned()
    });
    last.iter().for_each(|id| drop(gateway.ended(id)));
    let (status, told) = gateway.portcullis(&["audit", "query"]);
    assert!(status.success(), "{told}");
    let output = gateway.output();
    assert!(!told.contains(SECRET) && !output.contains(SECRET));
    assert!(gateway.records().iter().all(|record| record.get("forged").is_none()));
    assert!(!output.contains('\u{202e}') && !told.contains('\u{202e}'));
}
