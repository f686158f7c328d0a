//! Portcullis itself, as a stranger would start it: `portcullis up` with one configuration file.

use std::env;

use super::{Started, fill, pinned, ready, values};
use crate::Outcome;
use crate::plan::Work;
use crate::world::World;

/// The secure chain; the marks are those of `values`. The record is on: every request is sealed and synced.
const SECURE: &str = r#"
environment: test
trust_domain: bench.example
state: { directory: @DIR@/state }
gateway:
  listen: ["127.0.0.1:@PORT@"]
  workers: 1
  tls_minimum: TLS1.3
  certificates: [{ file: @EDGE_CERT@, key: { file: @EDGE_KEY@ } }]
  limits: { body: 128MiB }
  connections: { per_source: 20000, handshakes_per_source: 5000/s }
issuers:
  - name: staff
    jwks_file: @JWKS@
    issuer: @ISSUER@
    audience: @AUDIENCE@
    algorithms: [ES256]
plans:
  standard: { per_user: @RATE@/s, burst: @RATE@ }
services:
  - name: orders
    owner: bench
    context: orders
    sensitivity: medium
    upstream:
      endpoints: ["127.0.0.1:@ORIGIN_PORT@"]
      tls:
        roots: @ROOT@
        expect: localhost
        identity: { file: @CLIENT_CERT@, key: { file: @CLIENT_KEY@ } }
      timeouts: { connect: 1s, per_try: 50s, request: 59s }
    routes:
      - path: /orders/{id}
        methods: [GET, POST]
        plan: standard
        scopes: { all: [@SCOPE@] }
      - path: /customers/{id}
        methods: [GET]
        plan: standard
        scopes: { all: [@SCOPE@] }
        policy: own.cedar
"#;

/// A caller reaches what carries its own name.
const OWN: &str = "permit (principal, action, resource) when { context.path.id == principal.subject };\n";

/// Plain work has no configuration: nothing loads without authentication. It needs a build of its own.
pub(crate) fn start(work: Work, world: &World) -> Outcome<Option<Started>> {
    if !work.is_secure() {
        return Ok(None);
    }
    // Built beside this program, in whatever target directory that is.
    let program = env::current_exe().map_err(|e| e.to_string())?.with_file_name("portcullis");
    if !program.exists() {
        return Err(format!("{} is not built", program.display()));
    }
    let (address, values) = values(world, work);
    world.write("own.cedar", OWN)?;
    let config = world.write("portcullis.yaml", &fill(SECURE, &values)?)?;
    let launch = pinned(&program).args(["up", "-c"]).arg(config);
    ready("portcullis", launch, address, "sealed segment, synced within 50 ms").map(Some)
}
