//! Portcullis itself, as a stranger would start it: `portcullis up` with one configuration file.
//!
//! For plain work there is no configuration: nothing loads without TLS and authentication. A program of this crate that
//! links the product's guard and pool stands in.

use std::net::SocketAddr;
use std::path::Path;

use portcullis_testkit::Launch;
use portcullis_testkit::launch::free_port;
use serde_json::{Value, json};

use super::{OURS, Started, beside, pinned, ready};
use crate::Outcome;
use crate::plan::Work;
use crate::world::{AUDIENCE, ISSUER, REQUESTS_PER_SECOND, SCOPE, World};

/// A caller reaches what carries its own name.
const OWN: &str = "permit (principal, action, resource) when { context.path.id == principal.subject };\n";

/// What becomes of the record of a request.
const DURABILITY: &str = "sealed segment, synced within 50 ms";

pub(crate) fn start(work: Work, world: &World) -> Outcome<Started> {
    if !work.is_secure() {
        let (address, origin) = (free_port(), world.plain_origin.to_string());
        let launch = pinned(&beside("portcullis-bench-plain")?).args([address.to_string(), origin]);
        return ready(OURS, launch, address, "none");
    }
    let address = free_port();
    with(world, address, &config(world, address))
}

/// Starts it with this configuration.
pub(crate) fn with(world: &World, address: SocketAddr, config: &Value) -> Outcome<Started> {
    ready(OURS, launch(world, config)?, address, DURABILITY)
}

/// The program about to be started with this configuration.
pub(crate) fn launch(world: &World, config: &Value) -> Outcome<Launch> {
    let file = world.write("portcullis.yaml", &format!("{config:#}"))?;
    Ok(pinned(&beside(OURS)?).args(["up", "--with-parent", "-c"]).arg(file))
}

/// A command of the product, such as `audit query`, on the configuration of this world.
pub(crate) fn command(world: &World, words: &[&str]) -> Outcome<Launch> {
    let file = world.dir().join("portcullis.yaml");
    Ok(Launch::program(beside(OURS)?).args(words).arg("-c").arg(file))
}

/// The secure chain. The record is on: every request is sealed and synced. The second copy of each line, on standard
/// output, is off, since the others write one.
pub(crate) fn config(world: &World, address: SocketAddr) -> Value {
    json!({
        "environment": "test",
        "trust_domain": "bench.example",
        "state": { "directory": text(&world.dir().join("state")) },
        "stdout_log": "off",
        "gateway": gateway(world, address),
        "issuers": [{
            "name": "staff", "jwks_file": text(&world.jwks), "issuer": ISSUER, "audience": AUDIENCE,
            "algorithms": ["ES256"],
        }],
        "plans": { "standard": { "per_user": rate(), "burst": REQUESTS_PER_SECOND } },
        "services": [service(world)],
    })
}

/// High enough that nothing is refused.
pub(crate) fn rate() -> String {
    format!("{REQUESTS_PER_SECOND}/s")
}

fn gateway(world: &World, address: SocketAddr) -> Value {
    json!({
        "listen": [address.to_string()],
        "workers": 1,
        "tls_minimum": "TLS1.3",
        "certificates": [pair(&world.edge)],
        "limits": { "body": "128MiB" },
        "connections": { "per_source": 20000, "handshakes_per_source": 5000 },
    })
}

fn service(world: &World) -> Value {
    let policy = world.write("own.cedar", OWN).map(|path| text(&path)).unwrap_or_default();
    json!({
        "name": "orders", "owner": "bench", "context": "orders", "sensitivity": "medium",
        "upstream": {
            "endpoints": [world.tls_origin.to_string()],
            "tls": { "roots": text(&world.root), "expect": "localhost", "identity": pair(&world.client) },
            "timeouts": { "connect": "1s", "per_try": "50s", "request": "59s" },
        },
        "routes": [
            {
                "path": "/orders/{id}", "methods": ["GET", "POST"], "plan": "standard",
                "scopes": { "all": [SCOPE] },
            },
            {
                "path": "/customers/{id}", "methods": ["GET"], "plan": "standard",
                "scopes": { "all": [SCOPE] }, "policy": policy,
            },
        ],
    })
}

fn pair(pair: &(std::path::PathBuf, std::path::PathBuf)) -> Value {
    json!({ "file": text(&pair.0), "key": { "file": text(&pair.1) } })
}

pub(crate) fn text(path: &Path) -> String {
    path.display().to_string()
}

/// Sets one value of a configuration, by JSON pointer; the object that it is in must be there.
pub(crate) fn set(config: &mut Value, pointer: &str, value: Value) -> Outcome<()> {
    let (parent, name) = pointer.rsplit_once('/').unwrap_or(("", pointer));
    let parent = config.pointer_mut(parent).ok_or_else(|| format!("nothing at `{parent}`"))?;
    match parent {
        Value::Object(fields) => drop(fields.insert(name.to_owned(), value)),
        Value::Array(items) => {
            let at: usize = name.parse().map_err(|_| format!("no index `{name}`"))?;
            *items.get_mut(at).ok_or_else(|| format!("no item {at}"))? = value;
        }
        _ => return Err(format!("`{pointer}` is below no object")),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_set_where_the_pointer_says() {
        let mut config = json!({ "a": [{ "b": 1 }] });
        set(&mut config, "/a/0/c", json!(2)).unwrap();
        set(&mut config, "/d", json!(3)).unwrap();
        assert_eq!(config, json!({ "a": [{ "b": 1, "c": 2 }], "d": 3 }));
        assert!(set(&mut config, "/x/y", json!(0)).is_err());
        assert!(set(&mut config, "/a/7", json!(0)).is_err());
    }
}
