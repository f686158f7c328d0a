//! The systems that are compared: each one file with its configuration and how it is started.
//!
//! Every proxy is started on core 1, alone on it, with one worker.

mod envoy;
mod haproxy;
mod nginx;
pub(crate) mod portcullis;
mod relay;

use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use portcullis_testkit::launch::free_port;
use portcullis_testkit::{Launch, Running};

use crate::Outcome;
use crate::plan::Work;
use crate::world::World;

/// How long a system may take to accept connections.
const READY: Duration = Duration::from_secs(20);

/// A system that can be measured.
pub(crate) struct System {
    pub(crate) name: &'static str,
    /// Whether it can do a work.
    pub(crate) does: fn(Work) -> bool,
    pub(crate) start: fn(Work, &World) -> Outcome<Started>,
}

/// A system that runs.
pub(crate) struct Started {
    pub(crate) name: &'static str,
    pub(crate) running: Running,
    pub(crate) address: SocketAddr,
    pub(crate) durability: &'static str,
}

/// The name of Portcullis in tables.
pub(crate) const OURS: &str = "portcullis";
/// The program of its edge process.
pub(crate) const EDGE: &str = "portcullis-proxy";

pub(crate) const ALL: &[System] = &[
    System { name: "relay", does: is_plain, start: relay::start },
    System { name: "envoy", does: anything, start: envoy::start },
    System { name: "haproxy", does: anything, start: haproxy::start },
    System { name: "nginx", does: is_plain, start: nginx::start },
    System { name: OURS, does: anything, start: portcullis::start },
];

fn anything(_: Work) -> bool {
    true
}

fn is_plain(work: Work) -> bool {
    !work.is_secure()
}

/// The system of that name at this work.
pub(crate) fn start(name: &str, work: Work, world: &World) -> Outcome<Started> {
    let system = ALL.iter().find(|system| system.name == name);
    let system = system.ok_or_else(|| format!("no system `{name}`"))?;
    (system.start)(work, world).map_err(|fault| format!("{name}: {fault}"))
}

/// A program on the proxy's core.
fn pinned(program: &Path) -> Launch {
    Launch::program("taskset").args(["-c", "1"]).arg(program)
}

/// A program that was built beside this one, in whatever target directory that is.
fn beside(name: &str) -> Outcome<PathBuf> {
    let program = std::env::current_exe().map_err(|e| e.to_string())?.with_file_name(name);
    if program.exists() { Ok(program) } else { Err(format!("{} is not built", program.display())) }
}

/// Starts it and waits until it accepts, or says what it printed instead.
pub(crate) fn ready(
    name: &'static str,
    launch: Launch,
    address: SocketAddr,
    durability: &'static str,
) -> Outcome<Started> {
    let mut running = launch.start();
    let end = Instant::now() + READY;
    while TcpStream::connect_timeout(&address, Duration::from_millis(100)).is_err() {
        if let Some(status) = running.ends_within(Duration::from_millis(2)) {
            return Err(format!("it ended with {status}\n{}", running.output()));
        }
        if Instant::now() > end {
            return Err(format!("it does not listen after {READY:?}\n{}", running.output()));
        }
    }
    Ok(Started { name, running, address, durability })
}

/// Sets the values of a configuration's `@NAME@` marks. A mark without a value is a mistake here.
fn fill(template: &str, values: &[(&str, String)]) -> Outcome<String> {
    let mut text = template.to_owned();
    for (name, value) in values {
        text = text.replace(&format!("@{name}@"), value);
    }
    let left = |word: &&str| word.len() > 2 && word.starts_with('@') && word.ends_with('@');
    match text.split_whitespace().find(left) {
        None => Ok(text),
        Some(mark) => Err(format!("nothing to set for {mark}")),
    }
}

/// What most templates need.
fn values(world: &World, work: Work) -> (SocketAddr, Vec<(&'static str, String)>) {
    let address = free_port();
    let origin = if work.is_secure() { world.tls_origin } else { world.plain_origin };
    let path = |path: &Path| path.display().to_string();
    let values = vec![
        ("PORT", address.port().to_string()),
        ("ORIGIN_PORT", origin.port().to_string()),
        ("DIR", path(world.dir())),
        ("ROOT", path(&world.root)),
        ("EDGE_CERT", path(&world.edge.0)),
        ("EDGE_KEY", path(&world.edge.1)),
        ("CLIENT_CERT", path(&world.client.0)),
        ("CLIENT_KEY", path(&world.client.1)),
        ("JWKS", path(&world.jwks)),
        ("ISSUER_PEM", path(&world.issuer_pem)),
        ("ISSUER", crate::world::ISSUER.to_owned()),
        ("AUDIENCE", crate::world::AUDIENCE.to_owned()),
        ("SCOPE", crate::world::SCOPE.to_owned()),
        ("RATE", crate::world::REQUESTS_PER_SECOND.to_string()),
    ];
    (address, values)
}
