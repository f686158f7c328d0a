//! Clients that nobody here wrote: curl, h2load, npm `ws`, grpcio, testssl.
//!
//! A client that has not been set up fails its test, unless the run was told to go without it.

use std::fs;
use std::time::Duration;

use portcullis_e2e::Gateway;
use portcullis_testkit::{Launch, counterpart};
use serde_json::{Value, json};

const HOST: &str = "api.test.example";
/// What the upstream is asked to answer with: an echo would show it the internal token, and be cut.
const BYTES: &str = "x-upstream: bytes=5";
const PATIENCE: Duration = Duration::from_secs(60);

/// The gateway's root in a file, and its port.
fn root(gateway: &Gateway) -> (String, u16) {
    let path = gateway.edge_ca.write_root(gateway.path(), "edge-root");
    (path.display().to_string(), gateway.address().port())
}

fn finish(launch: Launch) -> (bool, String) {
    let (status, output) = launch.finish(PATIENCE);
    (status.success(), output)
}

#[test]
fn curl_speaks_both_protocols_and_both_versions_of_tls() {
    let Some(curl) = counterpart("curl") else { return };
    let gateway = Gateway::start();
    let (root, port) = root(&gateway);
    for words in [["--http1.1", "--tls-max", "1.2"], ["--http2", "--tlsv1.3", "--compressed"]] {
        let curl = Launch::program(&curl).args(["-sS", "--cacert", &root]).args(words);
        let curl = curl.args([
            "--resolve",
            &format!("{HOST}:{port}:127.0.0.1"),
            "-w",
            "\n%{http_code}",
            "-H",
            BYTES,
        ]);
        let (good, output) = finish(curl.arg(format!("https://{HOST}:{port}/public")));
        assert!(good && output.trim_end().ends_with("200"), "{words:?}: {output}");
    }
}

#[test]
fn ss028_11_3_3a_curl_is_refused_below_tls_1_2() {
    let Some(curl) = counterpart("curl") else { return };
    let gateway = Gateway::start();
    let (root, port) = root(&gateway);
    let curl = Launch::program(&curl).args(["-sS", "--cacert", &root, "--tls-max", "1.1", "--tlsv1.0"]);
    let curl = curl.args(["--resolve", &format!("{HOST}:{port}:127.0.0.1")]);
    assert!(!finish(curl.arg(format!("https://{HOST}:{port}/public"))).0);
}

/// One finding of testssl.
fn found(findings: &[Value], id: &str) -> String {
    let finding = findings.iter().find(|f| f["id"] == id);
    finding
        .and_then(|f| f["finding"].as_str())
        .unwrap_or_else(|| panic!("no {id} in {findings:?}"))
        .to_owned()
}

#[test]
fn d8_ss028_11_3_3a_testssl_finds_tls_1_2_and_1_3_with_aead_and_ecdhe_and_nothing_else() {
    let Some(testssl) = counterpart("testssl") else { return };
    let gateway = Gateway::start();
    let file = gateway.path().join("testssl.json");
    let words = ["--quiet", "--color", "0", "--warnings", "off", "--nodns", "none", "--ip", "127.0.0.1"];
    let testssl = Launch::program(testssl).args(words).arg("--jsonfile").arg(&file);
    // Protocols, cipher suites by strength, forward secrecy and curves, renegotiation, compression.
    let testssl =
        testssl.args(["-p", "-s", "-f", "-R", "-C"]).arg(format!("127.0.0.1:{}", gateway.address().port()));
    let (_, output) = testssl.finish(Duration::from_secs(240));
    let text = fs::read_to_string(&file).unwrap_or_else(|e| panic!("{e}: {output}"));
    let findings: Vec<Value> = serde_json::from_str(&text).unwrap();
    for id in ["SSLv2", "SSLv3", "TLS1", "TLS1_1"] {
        assert_eq!(found(&findings, id), "not offered", "{id}");
    }
    assert_eq!(
        (found(&findings, "TLS1_2").as_str(), found(&findings, "TLS1_3").as_str()),
        ("offered", "offered with final")
    );
    // `AVERAGE` is CBC and what has no forward secrecy; `STRONG` is AEAD with forward secrecy.
    for id in ["NULL", "aNULL", "EXPORT", "LOW", "3DES_IDEA", "AVERAGE"] {
        assert_eq!(found(&findings, &format!("cipherlist_{id}")), "not offered", "{id}");
    }
    assert_eq!(found(&findings, "cipherlist_STRONG"), "offered");
    let suites = found(&findings, "PFS_ciphers");
    let good = |s: &str| {
        (s.starts_with("TLS_") || s.starts_with("ECDHE-")) && (s.contains("GCM") || s.contains("POLY1305"))
    };
    assert!(suites.split_whitespace().count() >= 5 && suites.split_whitespace().all(good), "{suites}");
    let curves = found(&findings, "PFS_ECDHE_curves");
    assert!(
        curves.split_whitespace().all(|c| ["prime256v1", "secp384r1", "X25519"].contains(&c)),
        "{curves}"
    );
    assert_eq!(found(&findings, "secure_client_renego"), "not vulnerable");
    assert_eq!(found(&findings, "CRIME_TLS"), "not vulnerable");
}

#[test]
fn h2load_is_served_on_every_stream() {
    let Some(h2load) = counterpart("h2load") else { return };
    let gateway = Gateway::start();
    let port = gateway.address().port();
    let h2load = Launch::program(h2load).args(["-n", "4000", "-c", "8", "-m", "16"]);
    let h2load = h2load.args(["--connect-to", &format!("127.0.0.1:{port}"), "-H", BYTES]);
    let (good, output) = finish(h2load.arg(format!("https://{HOST}:{port}/public")));
    assert!(good && output.contains("4000 succeeded") && output.contains("4000 2xx"), "{output}");
}

#[test]
fn a3_ws_of_npm_talks_through_an_upgrade() {
    let Some(ws) = counterpart("ws") else { return };
    let gateway = Gateway::start();
    let (root, port) = root(&gateway);
    let script = format!(
        "const WebSocket = require({:?});\n\
         const s = new WebSocket('wss://127.0.0.1:{port}/socket', {{ ca: require('fs').readFileSync({root:?}), \
         servername: '{HOST}', headers: {{ host: '{HOST}', authorization: 'Bearer {}' }} }});\n\
         s.on('open', () => s.send('hello'));\n\
         s.on('message', m => {{ console.log('got ' + m); s.close(); }});\n\
         s.on('error', e => {{ console.log(String(e)); process.exit(1); }});\n",
        ws.display(),
        gateway.token("anna", "echo", &json!({})),
    );
    let path = gateway.path().join("client.js");
    fs::write(&path, script).unwrap();
    let (good, output) = finish(Launch::program("node").arg(path));
    assert!(good && output.contains("got hello"), "{output}");
}

/// A server and a client of gRPC's own making, generic, so that no code has to be generated.
const GRPC_SERVER: &str = r#"
import sys, grpc
from concurrent import futures
class Echo(grpc.GenericRpcHandler):
    def service(self, details):
        def answer(request, context):
            if not dict(context.invocation_metadata()).get("authorization", "").startswith("Bearer "):
                context.abort(grpc.StatusCode.UNAUTHENTICATED, "no token")
            context.set_trailing_metadata((("x-echo", "trailer"),))
            return request
        return grpc.unary_unary_rpc_method_handler(answer)
server = grpc.server(futures.ThreadPoolExecutor(2), handlers=(Echo(),))
port = server.add_insecure_port("127.0.0.1:" + sys.argv[1])
server.start()
print("port", port, flush=True)
server.wait_for_termination()
"#;

const GRPC_CLIENT: &str = r#"
import sys, grpc
root, port, token = open(sys.argv[1], "rb").read(), sys.argv[2], sys.argv[3]
options = (("grpc.ssl_target_name_override", "api.test.example"),)
channel = grpc.secure_channel("127.0.0.1:" + port, grpc.ssl_channel_credentials(root), options)
call = channel.unary_unary("/echo.Echo/Say")
answer, done = call.with_call(b"hello", metadata=(("authorization", "Bearer " + token),), timeout=20)
print("answer", answer, dict(done.trailing_metadata()).get("x-echo"), done.code())
try:
    call(b"hello", timeout=20)
except grpc.RpcError as error:
    print("refused", error.code())
"#;

#[test]
fn a7_grpcio_gets_its_trailers_and_a_refusal_that_it_understands() {
    let Some(site) = counterpart("grpcio") else { return };
    let site = site.parent().unwrap().display().to_string();
    let builder = Gateway::builder();
    let folder = builder.kit().path().to_owned();
    let python = |name: &str, text: &str| {
        let path = folder.join(name);
        fs::write(&path, text).unwrap();
        Launch::program("python3").env("PYTHONPATH", &site).arg(path)
    };
    let port = portcullis_testkit::launch::free_port();
    let server = python("server.py", GRPC_SERVER).arg(port.port().to_string()).start();
    server.wait_for_line("port", PATIENCE);
    let mut upstream = portcullis_e2e::plaintext(port);
    upstream["protocol"] = json!("http2");
    let gateway = builder.service(json!({
        "name": "grpc", "owner": "tests", "sensitivity": "low", "context": "grpc", "upstream": upstream,
        "routes": [{ "path": "/echo.Echo/Say", "methods": "POST", "plan": "wide", "scopes": { "any": "echo" } }],
    }));
    let gateway = gateway.start();
    let (root, port) = root(&gateway);
    let client = python("client.py", GRPC_CLIENT).arg(root).arg(port.to_string());
    let (good, output) = finish(client.arg(gateway.token("anna", "echo", &json!({}))));
    assert!(
        good && output.contains("answer b'hello' trailer StatusCode.OK"),
        "{output}\n{}",
        gateway.output()
    );
    assert!(output.contains("refused StatusCode.UNAUTHENTICATED"), "{output}");
}
