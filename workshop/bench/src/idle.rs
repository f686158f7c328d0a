//! What a system costs while nothing happens: start to ready, memory at rest, memory of a connection that waits.

use std::fs;
use std::net::TcpStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::process::{Resource, getrlimit};
use rustls::{ClientConfig, ClientConnection, StreamOwned};
use rustls_pki_types::ServerName;
use serde_json::{Map, Value, json};

use crate::Outcome;
use crate::plan::Work;
use crate::process;
use crate::systems;
use crate::wish::Wish;
use crate::world::World;

/// TLS connections that are opened and left alone.
const CONNECTIONS: usize = 10_000;
/// What every process needs besides.
const SPARE_DESCRIPTORS: u64 = 500;

/// Measures every wanted system at the secure chain and gives one JSON object.
pub(crate) fn measure(wish: &Wish) -> Outcome<Value> {
    let world = World::make(Work::Secure)?;
    let count = affordable(if wish.quick { 500 } else { CONNECTIONS });
    let mut found = Map::new();
    for system in systems::ALL.iter().filter(|s| wish.wants(s.name)) {
        let start = Instant::now();
        match (system.start)(Work::Secure, &world) {
            Ok(Some(started)) => {
                let ready = start.elapsed();
                let config = world.client_config("http/1.1")?;
                found.insert(system.name.to_owned(), look(&started, &config, ready, count)?);
            }
            Ok(None) => {}
            Err(fault) => drop(found.insert(system.name.to_owned(), json!({ "fault": fault }))),
        }
    }
    Ok(Value::Object(found))
}

fn look(
    started: &systems::Started,
    config: &Arc<ClientConfig>,
    ready: Duration,
    count: usize,
) -> Outcome<Value> {
    let id = started.running.id();
    // Memory at rest is that of a system which has served something.
    drop(open(started, config)?);
    let rest = settled(id);
    let mut held = Vec::new();
    // A system may have a limit of its own: what it took is what is divided by.
    while held.len() < count
        && let Ok(conn) = open(started, config)
    {
        held.push(conn);
    }
    let loaded = settled(id);
    let grown = u32::try_from(loaded.saturating_sub(rest)).unwrap_or(u32::MAX);
    let count = u32::try_from(held.len()).unwrap_or(u32::MAX);
    Ok(json!({
        "ready_ms": u64::try_from(ready.as_millis()).unwrap_or(u64::MAX),
        "idle_pss_kib": rest,
        "connections": count,
        "kib_per_connection": (f64::from(grown) / f64::from(count.max(1)) * 100.0).round() / 100.0,
    }))
}

/// One connection after a whole handshake.
fn open(
    started: &systems::Started,
    config: &Arc<ClientConfig>,
) -> Outcome<StreamOwned<ClientConnection, TcpStream>> {
    let name = ServerName::try_from("localhost").map_err(|e| e.to_string())?;
    let mut conn = ClientConnection::new(Arc::clone(config), name).map_err(|e| e.to_string())?;
    let mut tcp = TcpStream::connect(started.address).map_err(|e| e.to_string())?;
    tcp.set_read_timeout(Some(Duration::from_secs(10))).map_err(|e| e.to_string())?;
    while conn.is_handshaking() {
        conn.complete_io(&mut tcp).map_err(|e| format!("{}: handshake: {e}", started.name))?;
    }
    Ok(StreamOwned::new(conn, tcp))
}

/// Memory once it has stopped moving, looked at for a few seconds at most.
fn settled(id: u32) -> u64 {
    let end = Instant::now() + Duration::from_secs(3);
    let mut last = process::pss_kib(id);
    loop {
        std::thread::sleep(Duration::from_millis(250));
        let now = process::pss_kib(id);
        if now.abs_diff(last) < 64 || Instant::now() > end {
            return now;
        }
        last = now;
    }
}

/// As many connections as descriptors and ports allow.
fn affordable(wanted: usize) -> usize {
    let descriptors =
        getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX).saturating_sub(SPARE_DESCRIPTORS);
    let range = fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap_or_default();
    let mut ends = range.split_whitespace().filter_map(|n| n.parse::<u64>().ok());
    let ports = match (ends.next(), ends.next()) {
        (Some(first), Some(last)) => last.saturating_sub(first) / 2,
        _ => u64::MAX,
    };
    usize::try_from(descriptors.min(ports)).unwrap_or(wanted).min(wanted)
}
