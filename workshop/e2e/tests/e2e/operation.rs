//! F: running, restarting and recording; and one secret in every place of a request.

use std::net::TcpStream;
use std::path::Path;
use std::time::Duration;

use portcullis_e2e::Gateway;
use portcullis_e2e::gateway::{HOST, OTHER_HOST};
use portcullis_testkit::{LeafSpec, RawConn, Running, eventually};
use serde_json::{Value, json};

use crate::ask::{get, id, nothing_arrived, refused, request};

#[test]
fn f1_nothing_of_administration_is_on_the_public_listener() {
    let gateway = Gateway::start();
    let anna = gateway.anna();
    for target in [
        "/metrics",
        "/healthz",
        "/reads",
        "/status",
        "/config",
        "/explain/1",
        "/debug/pprof/",
        "/.well-known/portcullis/",
        "/.well-known/portcullis/admin",
    ] {
        let answer = get(&gateway, target, &anna);
        refused(&gateway, &answer, 404, "no-route");
    }
    let mode = |path: &Path| {
        use std::os::unix::fs::PermissionsExt as _;
        std::fs::metadata(path).expect("it is there").permissions().mode() & 0o077
    };
    let state = gateway.path().join("state");
    assert_eq!((mode(&state), mode(&state.join("run"))), (0, 0));
    nothing_arrived(&gateway);
}

#[test]
fn f7_nothing_listens_before_there_is_a_policy_and_the_first_answer_is_a_refusal() {
    let gateway = Gateway::builder().launch();
    let config = gateway.client(None, "http/1.1");
    let dial = || TcpStream::connect_timeout(&gateway.address(), Duration::from_millis(50)).ok();
    drop(eventually(Duration::from_secs(20), "listener", dial));
    for _ in 0..3 {
        let mut conn =
            RawConn::tls(gateway.address(), HOST, config.clone()).expect("who listens can shake hands");
        let answer = conn.exchange(format!("GET /orders/7 HTTP/1.1\r\nHost: {HOST}\r\n\r\n"));
        assert_eq!(answer.status, 401, "{answer:?}");
    }
    nothing_arrived(&gateway);
}

#[test]
fn f7_a_configuration_that_does_not_load_opens_no_port() {
    let mut gateway = Gateway::builder().set("/services/0/routes/0/plan", json!("nosuch")).launch();
    let status = gateway.process().ends_within(Duration::from_secs(20)).expect("it ends");
    assert!(!status.success());
    assert!(gateway.output().contains("nosuch"), "{}", gateway.output());
    assert!(TcpStream::connect(gateway.address()).is_err());
}

/// The listener's certificates last for two months: only the one towards services can ring.
#[test]
fn ss028_11_1_5_a_certificate_that_services_are_shown_is_watched_like_our_own() {
    let builder = Gateway::builder();
    let (kit, server) = (builder.kit(), |names: &[&str]| LeafSpec::server(names).valid_days(-1, 60));
    let shown = LeafSpec::spiffe("spiffe://test.example/edge").ends_in_seconds(600);
    for (name, leaf) in [
        ("edge", kit.edge_ca.issue(&server(&[HOST, "second.test.example", "127.0.0.1"]))),
        ("other", kit.edge_ca.issue(&server(&[OTHER_HOST]))),
        ("workload", kit.workload_ca.issue(&shown)),
    ] {
        let _ = leaf.write(kit.path(), name);
    }
    let mut gateway = builder.start();
    let rung = |running: &Running| {
        let line = running.output().lines().find(|line| line.contains("certificate-near-expiry"))?.to_owned();
        line.contains("an alert began").then_some(line)
    };
    let line = gateway.process().within(Duration::from_secs(20), rung);
    assert!(line.is_some(), "no alert in:\n{}", gateway.output());
}

#[test]
fn f7_with_sync_each_every_decision_is_on_record_before_its_effect() {
    for (sync, apart) in [("each", true), ("50ms", false)] {
        let gateway = Gateway::builder().set("/audit", json!({ "sync": sync })).start();
        let answer = get(&gateway, "/orders/7", &gateway.anna());
        assert_eq!(answer.status, 200, "{answer:?}");
        let _ = gateway.ended(id(&answer));
        let decided = |r: &Value| r["event"] == "decided" && r["id"] == id(&answer);
        assert_eq!(gateway.records().iter().any(decided), apart, "{sync}");
    }
}

#[test]
fn f8_no_value_of_a_caller_ends_or_forges_a_line() {
    let gateway = Gateway::start();
    let forged = "x\"}\n{\"v\":1,\"event\":\"ended\",\"forged\":true}\u{202e}\u{2028}\u{1b}[31m";
    let token = gateway.token(forged, "orders.read", &json!({ "client_id": forged, "jti": forged }));
    let mut ids = Vec::new();
    for target in
        ["/orders/%22%7D%E2%80%AE%7B?page=%0A%22%7D%1B%5B31m", "/orders/a%20b?page=\"}{", "/orders/%E2%80%A8"]
    {
        let answer = get(&gateway, target, &token);
        ids.push(id(&answer).to_owned());
    }
    let answer = gateway.raw().exchange(request(
        "GET",
        "/orders/1",
        &token,
        "X-A: {\"forged\":true}\r\nUser-Agent: \x1b[31m\r\n",
    ));
    ids.push(id(&answer).to_owned());
    for id in &ids {
        let _ = gateway.ended(id);
    }
    let (status, told) = gateway.portcullis(&["audit", "query"]);
    assert!(status.success(), "{told}");
    for line in gateway.output().lines().chain(told.lines()).filter(|line| !line.starts_with("portcullis")) {
        assert!(
            !line.contains('\u{1b}') && !line.contains('\u{202e}') && !line.contains('\u{2028}'),
            "{line}"
        );
        if line.starts_with('{') {
            let record: Value = serde_json::from_str(line).unwrap_or_else(|e| panic!("{e} in {line}"));
            assert!(record.get("forged").is_none() && record["seq"].is_u64(), "{line}");
        }
    }
}

#[test]
fn c13_a_secret_in_any_place_of_a_request_is_nowhere_afterwards() {
    const SECRET: &str = "canary-7f3a9";
    let gateway = Gateway::builder().set("/metrics", json!({})).start();
    let anna = gateway.token("anna", "echo", &json!({ "note": SECRET }));
    let fields = format!(
        "X-{SECRET}: 1\r\nX-A: {SECRET}\r\nCookie: a={SECRET}\r\nReferer: https://x/{SECRET}\r\nContent-Length: 12\r\n"
    );
    for token in [anna.as_str(), SECRET, &format!("{anna}{SECRET}")] {
        for target in [
            format!("/echo/{SECRET}?{SECRET}={SECRET}"),
            format!("/admin/{SECRET}"),
            format!("/{SECRET}"),
            format!("/items/{SECRET}?{SECRET}=1"),
            format!("/echo/../{SECRET}"),
        ] {
            let answer = gateway.raw().exchange(request("POST", &target, token, &fields) + SECRET);
            assert!(answer.status != 200 || target.starts_with("/echo/canary"), "{answer:?}");
            if answer.status != 200 {
                assert!(!format!("{answer:?}").contains(SECRET), "reflected: {answer:?}");
            }
        }
    }
    let keyed = format!(
        "GET /echo/x HTTP/1.1\r\nHost: {HOST}\r\nX-API-Key: {SECRET}\r\nTraceparent: {SECRET}\r\n\r\n"
    );
    assert_eq!(gateway.raw().exchange(keyed).status, 401);
    let odd = format!("{SECRET} /echo/x HTTP/1.1\r\nHost: {HOST}\r\n{SECRET}\r\n\r\n");
    assert!(gateway.raw().exchange(odd).status >= 400);
    let brief = gateway.anna();
    assert_eq!(get(&gateway, "/echo/x", &brief).status, 200);
    let internal = gateway
        .plain
        .seen()
        .last()
        .and_then(|s| s.header("authorization").map(str::to_owned))
        .expect("a token");
    let (status, mut told) = gateway.portcullis(&["audit", "query"]);
    assert!(status.success(), "{told}");
    told.push_str(&gateway.portcullis(&["audit", "query", "--of", "control"]).1);
    let (_, output, kit) = gateway.stop();
    told.push_str(&output);
    let signature = |token: &str| token.rsplit('.').next().unwrap_or_default().to_owned();
    let secrets = [SECRET.to_owned(), signature(&anna), signature(&brief), signature(&internal)];
    for secret in &secrets {
        assert!(!told.contains(secret.as_str()), "{secret} was told");
    }
    for (path, bytes) in files(&kit.path().join("state")) {
        for secret in &secrets {
            let found = bytes.windows(secret.len()).any(|window| window == secret.as_bytes());
            assert!(!found, "{secret} is in {}", path.display());
        }
    }
}

/// Every regular file below a folder.
fn files(folder: &Path) -> Vec<(std::path::PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).expect("a folder").flatten() {
        let kind = entry.file_type().expect("a type");
        if kind.is_dir() {
            found.extend(files(&entry.path()));
        } else if kind.is_file() {
            found.push((entry.path(), std::fs::read(entry.path()).expect("our own file")));
        }
    }
    found
}

#[test]
fn the_record_of_a_whole_life_verifies() {
    let gateway = Gateway::start();
    let anna = gateway.anna();
    for n in 0..20 {
        assert_eq!(get(&gateway, &format!("/orders/{n}"), &anna).status, 200);
    }
    let (status, _, kit) = gateway.stop();
    assert!(status.success(), "{status}");
    let file = kit.path().join("portcullis.yaml");
    let program = portcullis_e2e::gateway::program();
    let verify = portcullis_testkit::Launch::program(program).args(["audit", "verify", "-c"]).arg(file);
    let (status, told) = verify.finish(Duration::from_secs(20));
    assert!(status.success(), "{told}");
}
