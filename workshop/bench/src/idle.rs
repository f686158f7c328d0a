//! `bench idle`: start to ready, memory at rest, memory of a connection that waits.
//!
//! Ready is from the start of the process to the first request answered. Memory is the proportional set size (PSS) after
//! something was served and it has stopped moving; for Portcullis also that of the edge process alone, and with a large
//! configuration.

mod large;

use std::fs;
use std::net::TcpStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use portcullis_testkit::launch::free_port;
use rustls::{ClientConfig, ClientConnection, StreamOwned};
use rustls_pki_types::ServerName;
use serde_json::{Map, Value, json};

use crate::Outcome;
use crate::load::{self, Target, count};
use crate::plan::Work;
use crate::process;
use crate::rounds::say;
use crate::runner::target;
use crate::stats::{Figure, round};
use crate::systems::{self, EDGE, OURS, Started, portcullis};
use crate::wish::Wish;
use crate::world::World;

/// TLS connections that are opened and left alone.
const CONNECTIONS: usize = 10_000;
/// What every process needs besides.
const SPARE_DESCRIPTORS: u64 = 500;
/// How long a system may take until it answers.
const PATIENCE: Duration = Duration::from_secs(30);

/// How a system is started in a world.
type Start = dyn Fn(&World) -> Outcome<Started>;

/// Measures every wanted system at the secure chain and gives one JSON object.
pub(crate) fn measure(wish: &Wish) -> Outcome<Value> {
    let held = affordable(if wish.quick { 500 } else { CONNECTIONS });
    let mut found = Map::new();
    for name in ["envoy", "haproxy"].into_iter().filter(|name| wish.wants(name)) {
        let start = |world: &World| systems::start(name, Work::Secure, world);
        note(&mut found, name, look(&start, held, wish));
    }
    if wish.wants(OURS) {
        note(&mut found, OURS, look(&ours, held, wish));
        note(&mut found, "portcullis, 5,000 routes and 1,000 policies", look(&large::start, 0, wish));
    }
    Ok(Value::Object(found))
}

fn note(found: &mut Map<String, Value>, name: &str, figures: Outcome<Value>) {
    let figures = figures.unwrap_or_else(|fault| json!({ "fault": fault }));
    say(&format!("{name}: {figures}"));
    found.insert(name.to_owned(), figures);
}

/// With time to wait: what is measured must not be closed meanwhile.
fn ours(world: &World) -> Outcome<Started> {
    let address = free_port();
    let mut config = portcullis::config(world, address);
    portcullis::set(&mut config, "/gateway/timeouts", json!({ "head": "10m", "idle": "10m" }))?;
    portcullis::with(world, address, &config)
}

fn look(start: &Start, held: usize, wish: &Wish) -> Outcome<Value> {
    let mut ready = Vec::new();
    for _ in 1..wish.rounds() {
        ready.push(answered(start, &World::make(Work::Secure)?)?.1);
    }
    let world = World::make(Work::Secure)?;
    let (started, last) = answered(start, &world)?;
    ready.push(last);
    let (id, ready) = (started.running.id(), Figure::of(&ready));
    let rest = settled(|| process::pss_kib(id));
    let edge = process::below(id, EDGE).map(process::own_pss_kib);
    let mut figures = json!({
        "ready_ms": round(ready.middle), "ready_ms_rounds": [round(ready.least), round(ready.most)],
        "idle_pss_kib": rest, "idle_edge_pss_kib": edge,
    });
    if held > 0 {
        let (open, grown) = hold(&started, &world, held, rest)?;
        let each = count(grown) / count(u64::try_from(open).unwrap_or(u64::MAX).max(1));
        portcullis::set(&mut figures, "/connections", json!(open))?;
        portcullis::set(&mut figures, "/kib_per_connection", json!(round(each)))?;
    }
    Ok(figures)
}

/// Starts it, and gives the milliseconds until the first request was answered.
fn answered(start: &Start, world: &World) -> Outcome<(Started, f64)> {
    let target = Target { tls: world.probe_tls(Work::Secure)?, ..target(Work::Secure, world)? };
    let token = target.tokens.first().map_or("", String::as_str);
    let began = Instant::now();
    let started = start(world)?;
    let target = Target { address: started.address, ..target.clone() };
    while load::status(&target, token) != Ok(200) {
        if began.elapsed() > PATIENCE {
            return Err(format!("no answer after {PATIENCE:?}\n{}", started.running.output()));
        }
    }
    Ok((started, began.elapsed().as_secs_f64() * 1e3))
}

/// Opens connections, and gives how many are open in the end and by how many KiB memory has grown.
fn hold(started: &Started, world: &World, wanted: usize, rest: u64) -> Outcome<(usize, u64)> {
    let config = world.client_config("http/1.1")?;
    let mut held = Vec::new();
    // A system may have a limit of its own: what it took is what is divided by.
    while held.len() < wanted
        && let Ok(conn) = open(started, &config)
    {
        held.push(conn);
    }
    let id = started.running.id();
    let loaded = settled(|| process::pss_kib(id));
    let open = held.iter().filter(|conn| is_open(&conn.sock)).count();
    Ok((open, loaded.saturating_sub(rest)))
}

/// One connection after a whole handshake.
fn open(started: &Started, config: &Arc<ClientConfig>) -> Outcome<StreamOwned<ClientConnection, TcpStream>> {
    let name = ServerName::try_from("localhost").map_err(|e| e.to_string())?;
    let mut conn = ClientConnection::new(Arc::clone(config), name).map_err(|e| e.to_string())?;
    let mut tcp = TcpStream::connect(started.address).map_err(|e| e.to_string())?;
    tcp.set_read_timeout(Some(Duration::from_secs(10))).map_err(|e| e.to_string())?;
    while conn.is_handshaking() {
        conn.complete_io(&mut tcp).map_err(|e| format!("{}: handshake: {e}", started.name))?;
    }
    Ok(StreamOwned::new(conn, tcp))
}

/// Whether the other side has kept it: what waits to be read is no end.
fn is_open(tcp: &TcpStream) -> bool {
    let peeked = tcp.set_nonblocking(true).and_then(|()| tcp.peek(&mut [0]));
    match peeked {
        Ok(count) => count > 0,
        Err(fault) => fault.kind() == std::io::ErrorKind::WouldBlock,
    }
}

/// A figure once it has stopped moving, looked at for a few seconds at most.
fn settled(read: impl Fn() -> u64) -> u64 {
    let end = Instant::now() + Duration::from_secs(3);
    let mut last = read();
    loop {
        std::thread::sleep(Duration::from_millis(250));
        let now = read();
        if now.abs_diff(last) < 64 || Instant::now() > end {
            return now;
        }
        last = now;
    }
}

/// As many connections as descriptors and ports allow.
fn affordable(wanted: usize) -> usize {
    let descriptors = process::raise_descriptors().saturating_sub(SPARE_DESCRIPTORS);
    let range = fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap_or_default();
    let mut ends = range.split_whitespace().filter_map(|n| n.parse::<u64>().ok());
    let ports = match (ends.next(), ends.next()) {
        (Some(first), Some(last)) => last.saturating_sub(first) / 2,
        _ => u64::MAX,
    };
    usize::try_from(descriptors.min(ports)).unwrap_or(wanted).min(wanted)
}
