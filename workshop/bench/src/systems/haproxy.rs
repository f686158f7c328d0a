//! HAProxy: one thread, connections to the origin kept and shared, tokens verified by its own converters.
//!
//! Debian's build is on OpenSSL 3.0, whose locks cost it dearly, and it has no cache of verified tokens: its secure
//! figures are what an operator gets from the distribution, not what the program could do.

use std::fs;

use portcullis_testkit::tool;

use super::{Started, fill, pinned, ready, values};
use crate::Outcome;
use crate::plan::Work;
use crate::world::World;

const COMMON: &str = r"
global
    nbthread 1
    log stdout format raw local0
    ssl-default-bind-ciphersuites TLS_AES_128_GCM_SHA256
    ssl-default-server-ciphersuites TLS_AES_128_GCM_SHA256
    tune.ssl.default-dh-param 2048
defaults
    mode http
    timeout connect 5s
    timeout client 30s
    timeout server 30s
    option http-keep-alive
    http-reuse always
";

const PLAIN: &str = r"
frontend edge
    bind 127.0.0.1:@PORT@
    default_backend origin
backend origin
    server origin 127.0.0.1:@ORIGIN_PORT@ pool-max-conn -1
";

const SECURE: &str = r#"
frontend edge
    bind 127.0.0.1:@PORT@ ssl crt @DIR@/edge-bundle.pem alpn h2,http/1.1 ssl-min-ver TLSv1.3 curves X25519 no-tls-tickets
    log global
    log-format '{"time":%Ts,"method":"%HM","path":"%HPO","status":%ST,"bytes":%B,"ms":%Ta,"user":"%[var(txn.sub)]","decision":"%tsc"}'
    http-request set-var(txn.bearer) http_auth_bearer
    http-request set-var(txn.alg) var(txn.bearer),jwt_header_query('$.alg')
    http-request set-var(txn.iss) var(txn.bearer),jwt_payload_query('$.iss')
    http-request set-var(txn.aud) var(txn.bearer),jwt_payload_query('$.aud')
    http-request set-var(txn.exp) var(txn.bearer),jwt_payload_query('$.exp','int')
    http-request set-var(txn.sub) var(txn.bearer),jwt_payload_query('$.sub')
    http-request set-var(txn.scope) var(txn.bearer),jwt_payload_query('$.scope')
    http-request set-var(txn.now) date()
    http-request deny deny_status 401 unless { var(txn.alg) -m str ES256 }
    http-request deny deny_status 401 unless { var(txn.iss) -m str @ISSUER@ }
    http-request deny deny_status 401 unless { var(txn.aud) -m str @AUDIENCE@ }
    http-request deny deny_status 401 if { var(txn.exp),sub(txn.now) -m int lt 0 }
    http-request deny deny_status 401 unless { var(txn.bearer),jwt_verify(txn.alg,"@ISSUER_PEM@") -m int 1 }
    http-request deny deny_status 403 unless { var(txn.scope) -m sub @SCOPE@ }
    http-request track-sc0 var(txn.sub) table users
    http-request deny deny_status 429 if { sc_http_req_rate(0) gt @RATE@ }
    http-request del-header authorization
    default_backend origin
backend users
    stick-table type string len 64 size 100k expire 10s store http_req_rate(1s)
backend origin
    server origin 127.0.0.1:@ORIGIN_PORT@ pool-max-conn -1 ssl verify required ca-file @ROOT@ crt @DIR@/client-bundle.pem sni str(localhost) verifyhost localhost
"#;

pub(crate) fn start(work: Work, world: &World) -> Outcome<Started> {
    let (address, values) = values(world, work);
    bundle(world, "edge-bundle.pem", &world.edge)?;
    bundle(world, "client-bundle.pem", &world.client)?;
    let template = if work.is_secure() { SECURE } else { PLAIN };
    let config = world.write("haproxy.cfg", &fill(&format!("{COMMON}{template}"), &values)?)?;
    let launch = pinned(&tool("haproxy")).arg("-f").arg(config).arg("-db");
    let durability = if work.is_secure() { "written to a file, not synced" } else { "none" };
    ready("haproxy", launch, address, durability)
}

/// HAProxy reads certificate and key from one file.
fn bundle(world: &World, name: &str, pair: &(std::path::PathBuf, std::path::PathBuf)) -> Outcome<()> {
    let read = |path| fs::read_to_string(path).map_err(|e| e.to_string());
    world.write(name, &(read(&pair.0)? + &read(&pair.1)?)).map(drop)
}
