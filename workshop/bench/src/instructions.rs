//! `bench instructions`: how many instructions the edge process takes for a request, counted by callgrind.
//!
//! The edge runs under valgrind, started by the supervisor as ever: a script with its name stands beside a copy of the
//! product. Two runs with different numbers of requests are compared, so that start and end cancel out. Two brief counts were
//! 1.3 % apart on a busy machine, where times of the same chain were 20 % apart: smaller differences can be seen here.
//!
//! Valgrind shows a processor without AVX-512 and the like, and AWS-LC asks the processor what it has, so nothing has to be
//! masked; its cryptography counts as the AVX2 variants do. The kernel's part is not counted.
//!
//! Sources: the manual of Valgrind 3.19, callgrind; `totals:` in its output.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use portcullis_testkit::launch::free_port;
use portcullis_testkit::{Launch, counterpart};
use serde_json::{Map, Value, json};

use crate::Outcome;
use crate::load::{self, Pace, Shape, Target};
use crate::plan::Work;
use crate::rounds::say;
use crate::runner::target;
use crate::stats::round;
use crate::systems::{EDGE, OURS, portcullis};
use crate::wish::Wish;
use crate::world::World;

/// Everything is some fifty times as slow.
const START: Duration = Duration::from_secs(120);
const END: Duration = Duration::from_secs(120);
/// Requests of the shorter and of the longer run.
const COUNTS: (u64, u64) = (500, 2_500);
const QUICK: (u64, u64) = (100, 400);
const WORKS: [Work; 4] = [Work::Secure, Work::SecureParam, Work::SecureH2, Work::SecureFresh];

pub(crate) fn measure(wish: &Wish) -> Outcome<Value> {
    let (few, many) = if wish.quick { QUICK } else { COUNTS };
    let mut found = Map::new();
    for work in WORKS.into_iter().filter(|work| wish.works().contains(work)) {
        let (least, most) = (count(work, few)?, count(work, many)?);
        let each = load::count(most.saturating_sub(least) / 1_000) * 1e3 / load::count(many - few);
        say(&format!("{}: {each:.0} instructions a request", work.name()));
        found.insert(work.name().to_owned(), json!({ "instructions": round(each), "requests": many - few }));
    }
    Ok(Value::Object(found))
}

/// Instructions of the edge process from its start to its end, with so many requests.
fn count(work: Work, requests: u64) -> Outcome<u64> {
    let world = World::make(work)?;
    let address = free_port();
    let mut config = portcullis::config(&world, address);
    // Slow is not late here.
    let patient = json!({ "handshake": "60s", "head": "60s" });
    portcullis::set(&mut config, "/gateway/timeouts", patient)?;
    let upstream = json!({ "connect": "50s", "per_try": "55s", "request": "59s" });
    portcullis::set(&mut config, "/services/0/upstream/timeouts", upstream)?;
    let program = stand_in(&world)?;
    let file = world.write("portcullis.yaml", &format!("{config:#}"))?;
    let mut running =
        Launch::program("taskset").args(["-c", "1"]).arg(program).args(["up", "-c"]).arg(file).start();
    let target = Target { address, shape: narrow(work), ..target(work, &world)? };
    let probe = Target { tls: world.probe_tls(work)?, ..target.clone() };
    let token = target.tokens.first().map_or("", String::as_str);
    ready(&probe, token).map_err(|fault| format!("{fault}\n{}", running.output()))?;
    let found = load::run(&target, Pace::Count(requests), START)?;
    if found.tally.good != requests {
        return Err(format!(
            "{} of {requests} requests were answered\n{}",
            found.tally.good,
            running.output()
        ));
    }
    running.terminate(END);
    totals(world.dir())
}

/// Few at a time, so that nothing waits.
fn narrow(work: Work) -> Shape {
    match work {
        Work::SecureH2 => Shape::Streams(2, 8),
        Work::SecureFresh => Shape::Fresh(4),
        _ => Shape::KeepAlive(8),
    }
}

fn ready(probe: &Target, token: &str) -> Outcome<()> {
    let end = std::time::Instant::now() + START;
    let mut last = Err("nothing was tried".to_owned());
    while std::time::Instant::now() < end {
        last = load::status(probe, token);
        if last == Ok(200) {
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(200));
    }
    Err(format!("it does not serve after {START:?}: {last:?}"))
}

/// A folder with a copy of the product, and a script in place of the edge process.
fn stand_in(world: &World) -> Outcome<PathBuf> {
    let ours = std::env::current_exe().map_err(|e| e.to_string())?;
    let valgrind = counterpart("valgrind").ok_or("valgrind is not there: `cargo xtask bench` brings it")?;
    let folder = world.dir().join("stand-in");
    fs::create_dir(&folder).map_err(|e| e.to_string())?;
    let copy = folder.join(OURS);
    fs::copy(ours.with_file_name(OURS), &copy).map_err(|e| format!("{OURS} is not built: {e}"))?;
    let out = world.dir().join("callgrind.out.%p");
    let script = format!(
        "#!/bin/sh\nexec '{}' --tool=callgrind --callgrind-out-file='{}' '{}' \"$@\"\n",
        valgrind.display(),
        out.display(),
        ours.with_file_name(EDGE).display(),
    );
    let edge = folder.join(EDGE);
    fs::write(&edge, script).map_err(|e| e.to_string())?;
    fs::set_permissions(&edge, fs::Permissions::from_mode(0o755)).map_err(|e| e.to_string())?;
    Ok(copy)
}

/// The sum of all that callgrind wrote into this folder.
fn totals(folder: &Path) -> Outcome<u64> {
    let files = fs::read_dir(folder).map_err(|e| e.to_string())?.flatten();
    let counts = files.filter(|file| file.file_name().to_string_lossy().starts_with("callgrind.out"));
    let sum = counts.filter_map(|file| total(&fs::read_to_string(file.path()).ok()?)).sum();
    if sum == 0 { Err("callgrind wrote no totals".to_owned()) } else { Ok(sum) }
}

fn total(text: &str) -> Option<u64> {
    let line = text.lines().rev().find_map(|line| line.strip_prefix("totals: "))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_total_is_read_from_the_end() {
        assert_eq!(total("events: Ir\nfn=(1) a\n1 2\n\ntotals: 123456\n"), Some(123_456));
        assert_eq!(total("events: Ir\n"), None);
    }
}
