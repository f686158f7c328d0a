//! The processes: what the death of one does to the others, and what a reload does to what is open.

use std::fs;
use std::process::Command;
use std::time::Duration;

use portcullis_e2e::Gateway;
use portcullis_testkit::eventually;
use serde_json::{Value, json};

const PATIENCE: Duration = Duration::from_secs(20);

fn kill(process: u32) {
    let status = Command::new("kill").args(["-9", &process.to_string()]).status().expect("kill runs");
    assert!(status.success());
}

fn public(gateway: &Gateway) -> u16 {
    gateway
        .raw()
        .exchange("GET /public HTTP/1.1\r\nHost: api.test.example\r\nX-Upstream: bytes=5\r\n\r\n")
        .status
}

/// Rewrites the configuration and asks for a reload by signal.
fn rewrite(gateway: &mut Gateway, change: impl FnOnce(&mut Value)) {
    gateway.rewrite(change);
    let process = gateway.process().id().to_string();
    assert!(Command::new("kill").args(["-HUP", &process]).status().unwrap().success());
}

#[test]
fn f7_the_death_of_control_fails_no_request() {
    let gateway = Gateway::start();
    let mut open = gateway.raw();
    kill(gateway.role("control"));
    for _ in 0..50 {
        let answer =
            open.exchange("GET /public HTTP/1.1\r\nHost: api.test.example\r\nX-Upstream: bytes=5\r\n\r\n");
        assert_eq!((answer.status, public(&gateway)), (200, 200));
    }
}

#[test]
fn f7_an_edge_that_dies_is_started_again_with_the_rules_in_force() {
    let mut gateway = Gateway::start();
    kill(gateway.role("edge"));
    gateway.wait_ready();
    assert_eq!(public(&gateway), 200);
    let answer = gateway.raw().exchange("GET /orders/7 HTTP/1.1\r\nHost: api.test.example\r\n\r\n");
    assert_eq!(answer.status, 401);
}

#[test]
fn f7_a_reload_by_signal_ends_no_connection() {
    let mut gateway = Gateway::start();
    let mut open: Vec<_> = (0..20).map(|_| gateway.raw()).collect();
    rewrite(&mut gateway, |config| config["plans"]["wide"]["burst"] = json!(9_000));
    let _ = gateway.process().wait_for_line("the configuration was reloaded", PATIENCE);
    for conn in &mut open {
        let answer =
            conn.exchange("GET /public HTTP/1.1\r\nHost: api.test.example\r\nX-Upstream: bytes=5\r\n\r\n");
        assert_eq!(answer.status, 200);
    }
}

#[test]
fn e8_a_reload_tightens_the_cap_of_connections_and_ends_none() {
    let mut gateway = Gateway::start();
    let mut open: Vec<_> = (0..4).map(|_| gateway.raw()).collect();
    rewrite(&mut gateway, |config| config["gateway"]["connections"]["per_source"] = json!(3));
    let _ = gateway.process().wait_for_line("the configuration was reloaded", PATIENCE);
    let config = gateway.client(None, "http/1.1");
    let refused = || {
        portcullis_testkit::RawConn::tls(gateway.address(), "api.test.example", config.clone())
            .err()
            .map(drop)
    };
    eventually(PATIENCE, "refusal", refused);
    let _ = gateway.record("one too many", |r| r["fault"] == "source-connection-cap");
    for conn in &mut open {
        let answer =
            conn.exchange("GET /public HTTP/1.1\r\nHost: api.test.example\r\nX-Upstream: bytes=5\r\n\r\n");
        assert_eq!(answer.status, 200);
    }
}

#[test]
fn a_configuration_with_a_problem_changes_nothing_and_says_everything() {
    let mut gateway = Gateway::start();
    rewrite(&mut gateway, |config| {
        config["plans"]["wide"]["burst"] = json!("many");
        config["gateway"]["listen"] = json!("127.0.0.1:1");
    });
    let _ = gateway.process().wait_for_line("does not load; the one before stays", PATIENCE);
    assert_eq!(public(&gateway), 200);
}

#[test]
fn d1_a_new_certificate_is_served_without_dropping_a_connection() {
    let gateway = Gateway::start();
    let mut open = gateway.raw();
    let fresh = gateway.edge_ca.server(&["api.test.example", "fresh.test.example"]);
    fs::write(gateway.path().join("edge.key"), fresh.key_pem()).unwrap();
    fs::write(gateway.path().join("edge.pem"), fresh.chain_pem()).unwrap();
    let config = gateway.edge_ca.client_config(None, &["http/1.1"]);
    let address = gateway.address();
    eventually(PATIENCE, "new certificate", || {
        portcullis_testkit::RawConn::tls(address, "fresh.test.example", config.clone()).ok().map(drop)
    });
    let answer =
        open.exchange("GET /public HTTP/1.1\r\nHost: api.test.example\r\nX-Upstream: bytes=5\r\n\r\n");
    assert_eq!(answer.status, 200);
}

/// An upstream that can be killed: says who it is, slowly if asked to.
const SLOW_SERVER: &str = r#"
import http.server, sys
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        if "slow" in self.path:
            print("slow", flush=True)
            # Nothing more comes: this waits until the gateway or this process ends.
            self.rfile.read(1)
        body = sys.argv[1].encode()
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *words):
        pass
server = http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler)
print("serving", flush=True)
server.serve_forever()
"#;

#[test]
fn the_death_of_an_upstream_fails_what_is_in_flight_on_it_and_nothing_else() {
    let builder = Gateway::builder();
    let script = builder.kit().path().join("server.py");
    fs::write(&script, SLOW_SERVER).unwrap();
    let mut servers: Vec<_> = (0..2)
        .map(|_| {
            let port = portcullis_testkit::launch::free_port();
            let server = portcullis_testkit::Launch::program("python3").arg(&script);
            (port, server.arg(port.port().to_string()).start())
        })
        .collect();
    servers.iter().for_each(|(_, server)| drop(server.wait_for_line("serving", PATIENCE)));
    let mut upstream = portcullis_e2e::plaintext(servers[0].0);
    upstream["endpoints"] = json!(servers.iter().map(|(port, _)| port.to_string()).collect::<Vec<_>>());
    let gateway = builder.service(json!({
        "name": "pairs", "owner": "tests", "sensitivity": "low", "context": "pairs", "upstream": upstream,
        "routes": [{ "path": "/pairs/{what}", "methods": "GET", "plan": "open", "access": "public" }],
    }));
    let gateway = gateway.start();
    let request = |what: &str| format!("GET /pairs/{what} HTTP/1.1\r\nHost: api.test.example\r\n\r\n");
    let mut waiting = gateway.raw();
    waiting.send(request("slow"));
    let on = eventually(PATIENCE, "server that is asked", || {
        servers.iter().position(|(_, s)| s.output().contains("slow"))
    });
    servers[on].1.kill();
    assert_eq!(waiting.answer().status, 502, "it was in flight on the dead one");
    for _ in 0..40 {
        assert_eq!(gateway.raw().exchange(request("quick")).status, 200);
    }
}
