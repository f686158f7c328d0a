//! `bench floods`: what good callers notice of an attack from other addresses, one attack at a time.
//!
//! Good callers come at a fixed rate from 127.0.0.1, by HTTP/1.1 or HTTP/2. A quiet stretch is followed by one under
//! attack, for each attack. Portcullis runs with its default limits for connections and sources, not those that the other
//! benchmarks raise; Envoy has no such limits by default and runs as it does elsewhere.
//!
//! Attackers share the load generator's core, so they are paced: when that core is busier than 90 %, the figures do
//! not count.

mod attack;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::{Map, Value, json};

use crate::Outcome;
use crate::goal::words;
use crate::load::{self, Found, Pace, Shape, Target};
use crate::plan::Work;
use crate::rounds::say;
use crate::runner::{Runner, TOO_BUSY, target};
use crate::stats::{median, round};
use crate::systems::{self, OURS, Started, portcullis};
use crate::wish::Wish;
use crate::world::World;
use attack::Attack;

/// The good callers' share of the peak.
const GOOD: f64 = 0.3;
/// Share of good answers, and the 99th percentile against that of the quiet stretch before.
const GOALS: (f64, f64) = (0.99, 2.0);
/// How long an attack runs before it is looked at.
const RUN_UP: Duration = Duration::from_millis(500);

/// One stretch without and one under an attack.
struct Pair {
    quiet: Found,
    flood: Found,
    /// What the attackers got done.
    sent: u64,
}

/// Measures Envoy and Portcullis and gives one JSON object.
pub(crate) fn measure(wish: &Wish) -> Outcome<Value> {
    let mut found = Map::new();
    for name in ["envoy", OURS].into_iter().filter(|name| wish.wants(name)) {
        let mut of_system = Map::new();
        for work in [Work::Secure, Work::SecureH2].into_iter().filter(|work| wish.works().contains(work)) {
            of_system.insert(work.name().to_owned(), one(name, work, wish)?);
        }
        found.insert(name.to_owned(), Value::Object(of_system));
    }
    Ok(Value::Object(found))
}

fn one(name: &str, work: Work, wish: &Wish) -> Outcome<Value> {
    let world = World::make(work)?;
    let mut good = target(work, &world)?;
    // Under the default of 50 handshakes a second from one source.
    good.shape = if work == Work::SecureH2 { Shape::Streams(4, 16) } else { Shape::KeepAlive(32) };
    let mut runner = Runner::new(start(name, work, &world)?, good);
    runner.saturate(wish.span())?;
    let (peak, mut found) = (median(&runner.rps), Map::new());
    for attack in Attack::ALL {
        let mut pairs = Vec::new();
        for _ in 0..wish.rounds().min(3) {
            pairs.push(pair(&runner.target, attack, peak, &world, wish.span())?);
        }
        let figures = figures(&pairs);
        say(&format!("{name} {} {}: {figures}", work.name(), attack.word()));
        found.insert(attack.word().to_owned(), figures);
    }
    found.insert("good_rps".to_owned(), json!(round(peak * GOOD)));
    Ok(Value::Object(found))
}

/// With its own limits, not the raised ones.
fn start(name: &str, work: Work, world: &World) -> Outcome<Started> {
    if name != OURS {
        return systems::start(name, work, world);
    }
    let address = portcullis_testkit::launch::free_port();
    let mut config = portcullis::config(world, address);
    portcullis::set(&mut config, "/gateway/connections", json!({}))?;
    portcullis::with(world, address, &config)
}

fn pair(good: &Target, attack: Attack, peak: f64, world: &World, span: Duration) -> Outcome<Pair> {
    let pace = Pace::Open(peak * GOOD);
    let quiet = load::run(good, pace, span)?;
    let over = Arc::new(AtomicBool::new(false));
    let attackers = attack.start(good, peak, world, span + RUN_UP, &over)?;
    std::thread::sleep(RUN_UP);
    let flood = load::run(good, pace, span);
    over.store(true, Ordering::Relaxed);
    let sent = attackers.into_iter().filter_map(|thread| thread.join().ok()).sum();
    Ok(Pair { quiet, flood: flood?, sent })
}

fn figures(pairs: &[Pair]) -> Value {
    let each = |of: &dyn Fn(&Pair) -> f64| median(&pairs.iter().map(of).collect::<Vec<_>>());
    let success = each(&|pair| pair.flood.success());
    let quiet = each(&|pair| pair.quiet.at_permille(990));
    let flood = each(&|pair| pair.flood.at_permille(990));
    let busy = each(&|pair| pair.flood.core_busy.max(pair.quiet.core_busy));
    let ratio = flood / quiet.max(f64::EPSILON);
    let met = success >= GOALS.0 && ratio <= GOALS.1;
    json!({
        "success": (success * 10_000.0).round() / 10_000.0, "p99_quiet_ms": round(quiet),
        "p99_ms": round(flood), "p99_ratio": round(ratio), "load_core_busy": round(busy),
        "counts": busy < TOO_BUSY, "attacker_sent": pairs.iter().map(|pair| pair.sent).sum::<u64>(),
        "verdict": words(met, busy < TOO_BUSY),
    })
}
