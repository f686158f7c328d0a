//! Public vectors through the running product: each is refused, or arrives once, as everybody reads it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use portcullis_e2e::Gateway;
use portcullis_e2e::gateway::HOST;
use portcullis_testkit::RawConn;
use serde_json::{Value, json};

use crate::ask::two;

/// The lines of a file of vectors.
fn vectors(file: &str) -> Vec<Value> {
    let path = portcullis_testkit::tools::workspace().join("workshop/vectors").join(file);
    let text = std::fs::read_to_string(path).expect("the vectors are kept in the tree");
    text.lines().map(|line| serde_json::from_str(line).expect("one object a line")).collect()
}

/// A connection that is made again when the gateway has closed it.
struct Asking<'a> {
    gateway: &'a Gateway,
    conn: RawConn,
}

impl Asking<'_> {
    fn ask(&mut self, wire: &[u8]) -> u16 {
        let answer = self.conn.exchange(wire);
        // HTTP/1.0 ends its connection without a word.
        let is_old = wire.split(|b| *b == b'\r').next().is_some_and(|line| line.ends_with(b"HTTP/1.0"));
        if is_old || answer.status != 200 || answer.header("connection") == Some("close") {
            self.conn = self.gateway.raw();
        }
        answer.status
    }
}

/// The bytes in front of any query.
fn path_of(target: &str) -> &str {
    target.split('?').next().unwrap_or_default()
}

#[test]
fn b1_b2_b3_b4_b5_h2_confusing_paths_are_refused_or_stay_where_they_were_authorised() {
    let gateway = Gateway::builder().set("/stdout_log", json!("off")).start();
    let anna = gateway.anna();
    let (mut one, h2) = (Asking { gateway: &gateway, conn: gateway.raw() }, gateway.h2());
    let mut served = [0, 0];
    for vector in vectors("path-confusion/paths.jsonl") {
        let path = STANDARD.decode(vector["base64"].as_str().unwrap()).unwrap();
        let wire = [
            b"GET /echo/",
            path.as_slice(),
            b" HTTP/1.1\r\nHost: ",
            HOST.as_bytes(),
            b"\r\nAuthorization: Bearer ",
            anna.as_bytes(),
            b"\r\n\r\n",
        ];
        let status = one.ask(&wire.concat());
        assert!(matches!(status, 200 | 400 | 404 | 405 | 414), "{vector}: {status}");
        served[0] += usize::from(status == 200);
        let text = format!("https://{HOST}/echo/{}", String::from_utf8_lossy(&path));
        if let Ok(uri) = text.parse() {
            let mut request = two("GET", "/", &anna, &[]);
            *request.uri_mut() = uri;
            let status = h2.request(request).expect("an answer").status.as_u16();
            assert!(matches!(status, 200 | 400 | 404 | 414 | 421), "{vector}: {status}");
            served[1] += usize::from(status == 200);
        }
    }
    let seen = gateway.plain.take_seen();
    assert_eq!(seen.len(), served[0] + served[1]);
    for seen in seen {
        let path = path_of(&seen.target).to_ascii_lowercase();
        assert!(path.starts_with("/echo/"), "{}", seen.target);
        for odd in ["..", "//", "\\", ";", "%2f", "%5c", "%00", "%2e", "%25"] {
            let dots = odd == ".." && !path.split('/').any(|segment| segment == "..");
            assert!(dots || !path.contains(odd), "{odd} in {}", seen.target);
        }
    }
    println!("{served:?} were served");
    assert!(served[0] > 20 && served[1] > 20, "{served:?}");
}

#[test]
fn a1_a10_b1_f8_attack_requests_are_refused_or_arrive_once_as_they_were_sent() {
    let kit = Gateway::builder();
    let upstream = portcullis_e2e::plaintext(kit.kit().plain.address());
    let gateway = kit.service(json!({
        "name": "any", "owner": "tests", "sensitivity": "low", "context": "plain", "upstream": upstream,
        "routes": [{ "path": "/any/*rest", "methods": ["GET", "POST"], "plan": "wide", "scopes": { "any": "echo" } }],
    }));
    let gateway = gateway.start();
    let anna = gateway.anna();
    let mut asking = Asking { gateway: &gateway, conn: gateway.raw() };
    let mut refused = 0;
    for vector in vectors("crs-attacks/requests.jsonl") {
        let wire = vector["wire"].as_str().unwrap();
        let credentials = format!("Host: {HOST}\r\nAuthorization: Bearer {anna}");
        let wire = wire.replacen(" /", " /any/", 1).replacen("Host: localhost", &credentials, 1);
        let status = asking.ask(wire.as_bytes());
        let seen = gateway.plain.take_seen();
        if status != 200 {
            assert!((400..500).contains(&status) && seen.is_empty(), "{}: {status} {seen:?}", vector["id"]);
            refused += 1;
            continue;
        }
        let target = wire.split(' ').nth(1).unwrap();
        let body = wire.split_once("\r\n\r\n").map_or("", |(_, body)| body);
        assert_eq!(seen.len(), 1, "{}", vector["id"]);
        assert_eq!(seen[0].body, body, "{}", vector["id"]);
        let query = |target: &str| target.split_once('?').map(|(_, query)| query.to_owned());
        assert_eq!(query(&seen[0].target), query(target), "{}", vector["id"]);
    }
    println!("{refused} were refused");
    let odd = |c: char| c.is_control() && c != '\n';
    assert!(!gateway.output().contains(odd), "a caller's bytes reached the log");
}
