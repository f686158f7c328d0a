//! Portcullis itself, as a stranger would start it: `portcullis up` with one configuration file.

use std::env;

use super::{Started, fill, pinned, ready, values};
use crate::Outcome;
use crate::plan::Work;
use crate::world::World;

/// The secure chain. Adjust it with the configuration's format; the marks are those of `values`.
const SECURE: &str = r"
environment: test
trust_domain: bench.example
gateway:
  listen: 127.0.0.1:@PORT@
  certificate: { file: @EDGE_CERT@, key: { file: @EDGE_KEY@ } }
  workers: 1
issuers:
  - name: staff
    issuer: @ISSUER@
    jwks: { file: @JWKS@ }
    audience: @AUDIENCE@
    algorithms: [ES256]
plans:
  standard: { per_user: @RATE@/s }
services:
  - name: orders
    owner: bench
    endpoints: [127.0.0.1:@ORIGIN_PORT@]
    tls:
      server_name: localhost
      ca: { file: @ROOT@ }
      certificate: { file: @CLIENT_CERT@, key: { file: @CLIENT_KEY@ } }
    routes:
      - path: /orders/{id}
        methods: [GET]
        plan: standard
        scopes: [@SCOPE@]
";

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
    let config = world.write("portcullis.yaml", &fill(SECURE, &values)?)?;
    let launch = pinned(&program).args(["up", "-c"]).arg(config);
    ready("portcullis", launch, address, "sealed segment, synced within 50 ms").map(Some)
}
