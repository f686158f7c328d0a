//! A9, B11, B12: who may speak for others, and how.
//!
//! The gateway lists 127.0.0.2 and 127.0.0.3; everybody else, 127.0.0.1 among them, speaks for nobody.

use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, TcpStream};
use std::time::Duration;

use portcullis_e2e::Gateway;
use portcullis_e2e::gateway::HOST;
use portcullis_testkit::RawConn;
use portcullis_testkit::conn::dial_from;
use serde_json::json;

use crate::ask::{id, nothing_arrived, refused};

const PUBLIC: &str = "GET /public HTTP/1.1\r\nHost: api.test.example\r\n\r\n";
const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

fn local(last: u8) -> IpAddr {
    IpAddr::from([127, 0, 0, last])
}

fn header(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
    let length = u16::try_from(rest.len()).expect("short").to_be_bytes();
    [SIGNATURE, &[command, family], &length, rest].concat()
}

/// PROXY, TCP over IPv4, from this address to the gateway's public one.
fn from_v4(source: [u8; 4]) -> Vec<u8> {
    header(0x21, 0x11, &[&source[..], &[198, 51, 100, 1, 0x1f, 0x90, 0x01, 0xbb]].concat())
}

fn from_v6(source: Ipv6Addr) -> Vec<u8> {
    let to = Ipv6Addr::from_bits(1).octets();
    header(0x21, 0x21, &[&source.octets()[..], &to, &[0x1f, 0x90, 0x01, 0xbb]].concat())
}

/// A TCP connection from 127.0.0.`last` on which these bytes came first.
fn begun(gateway: &Gateway, last: u8, first: &[u8]) -> TcpStream {
    let mut tcp = dial_from(local(last), gateway.address());
    tcp.write_all(first).expect("written");
    tcp
}

fn shaken(gateway: &Gateway, last: u8, first: &[u8]) -> Result<RawConn, String> {
    RawConn::tls_over(begun(gateway, last, first), HOST, gateway.client(None, "http/1.1"))
}

fn balanced() -> portcullis_e2e::Builder {
    Gateway::builder().set("/gateway/proxy_protocol", json!(["127.0.0.2/32", "127.0.0.3/32"]))
}

#[test]
fn a9_b12_the_header_of_a_listed_balancer_names_the_source_for_limits_records_and_services() {
    let gateway = balanced().start();
    let mapped = Ipv4Addr::new(192, 0, 2, 9).to_ipv6_mapped();
    let unique_id = [192, 0, 2, 8, 198, 51, 100, 1, 0x1f, 0x90, 0x01, 0xbb, 0x05, 0, 2, 7, 7];
    for (first, source) in [
        (from_v4([192, 0, 2, 7]), "192.0.2.7"),
        (header(0x21, 0x11, &unique_id), "192.0.2.8"),
        (from_v6(mapped), "192.0.2.9"),
        (from_v6("2001:db8::7".parse().expect("an address")), "2001:db8::7"),
        // LOCAL: the balancer asks for itself, whatever addresses it writes.
        (header(0x20, 0x11, &[192, 0, 2, 66, 0, 0, 0, 0, 0, 0, 0, 0]), "127.0.0.2"),
    ] {
        let answer = shaken(&gateway, 2, &first).expect("a handshake").exchange(PUBLIC);
        assert_eq!(answer.status, 200, "{answer:?}");
        let record = gateway.ended(id(&answer));
        assert_eq!(record["source"], source, "{record}");
        assert_eq!(record["via"].as_str(), (source != "127.0.0.2").then_some("127.0.0.2"), "{record}");
        let seen = gateway.plain.take_seen();
        assert_eq!(seen[0].header("x-forwarded-for"), Some(source));
    }
}

#[test]
fn a9_what_a_listed_balancer_owes_is_asked_of_nobody_else() {
    let gateway = balanced().start();
    let stranger = shaken(&gateway, 1, &from_v4([192, 0, 2, 7]));
    assert!(stranger.is_err(), "a header from a stranger is no TLS");
    let event =
        gateway.record("garbage in TLS", |r| r["event"] == "connection" && r["source"] == "127.0.0.1");
    assert_eq!(event["class"], "handshake-failed", "{event}");
    let mut long = header(0x21, 0x11, &[1; 12]);
    long[14..16].copy_from_slice(&[0x40, 0]);
    let mut odd = from_v4([192, 0, 2, 7]);
    odd[14..16].copy_from_slice(&[0, 14]);
    odd.extend([4, 9]);
    for (first, fault) in [
        (Vec::new(), "proxy-signature"),
        (b"PROXY TCP4 192.0.2.7 198.51.100.1 8080 443\r\n".to_vec(), "proxy-signature"),
        (header(0x22, 0x11, &[1; 12]), "proxy-command"),
        (header(0x21, 0x31, &[1; 216]), "proxy-family"),
        (from_v6("ff02::1".parse().expect("an address")), "proxy-source"),
        (long, "proxy-length"),
        (odd, "proxy-length"),
    ] {
        assert!(shaken(&gateway, 3, &first).is_err(), "{fault}");
        let event = gateway.record(fault, |r| r["event"] == "connection" && r["fault"] == fault);
        assert_eq!(
            (&event["class"], &event["source"]),
            (&json!("proxy-error"), &json!("127.0.0.3")),
            "{event}"
        );
    }
    nothing_arrived(&gateway);
}

#[test]
fn a9_e8_a_balancer_fills_no_callers_cap_and_a_late_header_ends_at_the_handshakes_deadline() {
    let gateway = balanced()
        .set("/gateway/connections/per_source", json!(2))
        .set("/gateway/timeouts", json!({ "handshake": "1s" }))
        .start();
    let own = |last| shaken(&gateway, 2, &from_v4([192, 0, 2, last]));
    let mut open: Vec<_> = (1..=4).map(|last| own(last).expect("a source of its own")).collect();
    let second = own(1).expect("the second of this source");
    assert!(own(1).is_err(), "the third of this source");
    let over = gateway.record("the third", |r| r["fault"] == "source-connection-cap");
    assert_eq!((&over["source"], &over["via"]), (&json!("192.0.2.1"), &json!("127.0.0.2")), "{over}");
    for conn in &mut open {
        assert_eq!(conn.exchange(PUBLIC).status, 200);
    }
    drop(second);
    let mut slow = begun(&gateway, 2, &from_v4([192, 0, 2, 1])[..20]);
    slow.set_read_timeout(Some(Duration::from_secs(10))).expect("a limit");
    let ended = std::io::Read::read(&mut slow, &mut [0; 1]);
    assert!(matches!(ended, Ok(0)), "{ended:?}");
    let _ = gateway.record("a late header", |r| r["fault"] == "proxy-timeout");
}

fn asked(fields: &str) -> String {
    format!("GET /public HTTP/1.1\r\nHost: {HOST}\r\n{fields}\r\n")
}

fn behind_proxies() -> portcullis_e2e::Builder {
    Gateway::builder().set("/gateway/trusted_proxies", json!(["127.0.0.2/32", "127.0.0.3/32"]))
}

#[test]
fn b11_b12_a_trusted_proxy_names_the_source_and_nobody_else_does() {
    let gateway = behind_proxies().start();
    for (last, fields, source) in [
        (2, "X-Forwarded-For: 192.0.2.66, 192.0.2.7, 127.0.0.3\r\n", "192.0.2.7"),
        (3, "Forwarded: for=192.0.2.66, for=\"[2001:db8::7]:4711\";proto=http\r\n", "2001:db8::7"),
        (2, "Forwarded: for=192.0.2.7\r\nX-Forwarded-For: ::ffff:192.0.2.7\r\n", "192.0.2.7"),
        (
            2,
            "X-Real-Ip: 192.0.2.66\r\nX_Forwarded_For: 192.0.2.66\r\nTrue-Client-Ip: 192.0.2.66\r\n",
            "127.0.0.2",
        ),
        (1, "X-Forwarded-For: 192.0.2.66\r\nForwarded: for=192.0.2.67\r\n", "127.0.0.1"),
        (1, "X-Forwarded-For: unknown\r\n", "127.0.0.1"),
    ] {
        let mut conn = shaken(&gateway, last, b"").expect("a handshake");
        let answer = conn.exchange(asked(fields));
        assert_eq!(answer.status, 200, "{fields} {answer:?}");
        let record = gateway.ended(id(&answer));
        let peer = format!("127.0.0.{last}");
        assert_eq!(record["source"], source, "{record}");
        assert_eq!(record["via"].as_str(), (source != peer).then_some(peer.as_str()), "{record}");
        let seen = gateway.plain.take_seen();
        assert_eq!(seen[0].header("x-forwarded-for"), Some(source), "rebuilt, not passed on");
        assert!(seen[0].header("forwarded").is_some_and(|f| f.contains(source) && !f.contains("192.0.2.66")));
    }
}

#[test]
fn b8_b11_what_a_trusted_proxy_writes_oddly_is_refused_and_not_passed_over() {
    let gateway = behind_proxies().start();
    for fields in [
        "X-Forwarded-For: 192.0.2.7, unknown\r\n",
        "X-Forwarded-For: garbage, 192.0.2.7\r\n",
        "X-Forwarded-For:\r\n",
        "X-Forwarded-For: fe80::1%eth0\r\n",
        "Forwarded: for=_hidden\r\n",
        "Forwarded: for=192.0.2.7;for=192.0.2.8\r\n",
        "Forwarded: proto=https\r\n",
        "Forwarded: for=192.0.2.7\r\nX-Forwarded-For: 192.0.2.8\r\n",
        "Forwarded: for=192.0.2.7\r\nForwarded: by=192.0.2.8\r\n",
    ] {
        let answer = shaken(&gateway, 2, b"").expect("a handshake").exchange(asked(fields));
        let record = refused(&gateway, &answer, 400, "malformed-request");
        assert_eq!(record["source"], "127.0.0.2", "{record}");
    }
    nothing_arrived(&gateway);
}

#[test]
fn b11_rates_and_failures_are_counted_for_the_source_that_a_trusted_proxy_named() {
    let gateway = behind_proxies()
        .set("/plans/open", json!({ "per_source": "1/min", "burst": 2 }))
        .set("/gateway/connections/invalid_tokens_per_source", json!("2/min"))
        .start();
    let mut proxy = shaken(&gateway, 2, b"").expect("a handshake");
    let mut ask = |source: u8, more: &str| {
        proxy.exchange(asked(&format!("X-Forwarded-For: 192.0.2.{source}\r\n{more}"))).status
    };
    assert_eq!([7, 7, 7, 8].map(|source| ask(source, "")), [200, 200, 429, 200]);
    let forged = gateway.anna();
    let (rest, signature) = forged.rsplit_once('.').expect("three parts");
    let other = if signature.starts_with('A') { 'B' } else { 'A' };
    let bearer = format!("Authorization: Bearer {rest}.{other}{}\r\n", &signature[1..]);
    let statuses: Vec<u16> = (0..4).map(|_| ask(9, &bearer)).collect();
    assert_eq!(statuses.last(), Some(&429), "{statuses:?}");
    assert_eq!(ask(10, &bearer), 401, "another source has its own budget");
}
