//! `bench reload`: what callers notice while the configuration is replaced every 50 milliseconds.
//!
//! Half of the peak comes as an open loop, first in quiet, then while a changed file and SIGHUP arrive at a fixed beat.
//! Each file differs from the one before, so that each reload compiles and publishes a generation.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use portcullis_testkit::launch::free_port;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::Outcome;
use crate::goal::words;
use crate::load;
use crate::load::{Found, Pace};
use crate::plan::Work;
use crate::process;
use crate::rounds::say;
use crate::runner::{Runner, TOO_BUSY, target};
use crate::stats::{Figure, median, round};
use crate::systems::portcullis;
use crate::wish::Wish;
use crate::world::{REQUESTS_PER_SECOND, World};

const EVERY: Duration = Duration::from_millis(50);
const GOAL: f64 = 1.2;
/// Reloads that the issue asks for, over all rounds.
const RELOADS: u32 = 2_000;

pub(crate) fn measure(wish: &Wish) -> Outcome<Value> {
    let world = World::make(Work::Secure)?;
    let address = free_port();
    let config = portcullis::config(&world, address);
    let mut runner = Runner::new(portcullis::with(&world, address, &config)?, target(Work::Secure, &world)?);
    runner.probe(Work::Secure, &world)?;
    runner.saturate(wish.span())?;
    let (rate, rounds) = (median(&runner.rps) / 2.0, wish.rounds());
    let reloads = if wish.quick { 20 } else { RELOADS };
    let span = EVERY * reloads / u32::try_from(rounds).unwrap_or(1).max(1);
    let (mut quiet, mut busy, mut sent) = (Vec::new(), Vec::new(), 0);
    for number in 1..=rounds {
        quiet.push(load::run(&runner.target, Pace::Open(rate), span)?);
        let before = process::pss_kib(runner.started.running.id());
        let reloader = Reloader::start(runner.started.running.id(), &world, config.clone())?;
        busy.push(load::run(&runner.target, Pace::Open(rate), span)?);
        sent += reloader.stop();
        let after = process::pss_kib(runner.started.running.id());
        say(&format!("reload round {number}: {sent} reloads, PSS {before} -> {after} KiB"));
    }
    Ok(figures(&quiet, &busy, sent, rate))
}

fn figures(quiet: &[Found], busy: &[Found], sent: u64, rate: f64) -> Value {
    let (calm, stirred) = (Runner::p99(quiet), Runner::p99(busy));
    let ratio = Figure::ratio(&stirred, &calm).unwrap_or_default();
    let core = quiet.iter().chain(busy).map(|found| found.core_busy).fold(0.0, f64::max);
    let failed: u64 = busy.iter().map(|found| found.tally.failed + found.tally.late).sum();
    json!({
        "reloads": sent, "rps": round(rate), "failed": failed,
        "p99_quiet_ms": round(median(&calm)), "p99_ms": round(median(&stirred)),
        "p99_ratio": round(ratio.middle), "p99_ratio_rounds": [round(ratio.least), round(ratio.most)],
        "load_core_busy": round(core), "counts": core < TOO_BUSY,
        "verdict": words(ratio.middle <= GOAL && failed == 0, core < TOO_BUSY),
    })
}

/// Replaces the file and sends the signal, until it is stopped.
struct Reloader {
    over: Arc<AtomicBool>,
    thread: JoinHandle<u64>,
}

impl Reloader {
    fn start(id: u32, world: &World, config: Value) -> Outcome<Self> {
        let over = Arc::new(AtomicBool::new(false));
        let (seen, file) = (Arc::clone(&over), world.dir().join("portcullis.yaml"));
        let pid = i32::try_from(id).ok().and_then(Pid::from_raw).ok_or("no process")?;
        let work = move || {
            process::stay_on_core(0);
            let mut sent = 0;
            while !seen.load(Ordering::Relaxed) {
                let next = Instant::now() + EVERY;
                if replace(&file, &changed(&config, sent)).is_ok() && kill_process(pid, Signal::HUP).is_ok() {
                    sent += 1;
                }
                std::thread::sleep(next.saturating_duration_since(Instant::now()));
            }
            sent
        };
        let thread = std::thread::Builder::new().name("reloads".to_owned()).spawn(work);
        Ok(Self { over, thread: thread.map_err(|e| e.to_string())? })
    }

    fn stop(self) -> u64 {
        self.over.store(true, Ordering::Relaxed);
        self.thread.join().unwrap_or_default()
    }
}

/// The same with another number in a limit that is never reached.
fn changed(config: &Value, turn: u64) -> Value {
    let mut config = config.clone();
    let burst = u64::from(REQUESTS_PER_SECOND) - 1 - turn % 1_000;
    // The plan is there: this file wrote it.
    let _ = portcullis::set(&mut config, "/plans/standard/burst", json!(burst));
    config
}

/// Whole or not at all, as an operator's tool would.
fn replace(file: &std::path::Path, config: &Value) -> std::io::Result<()> {
    let beside = file.with_extension("next");
    std::fs::write(&beside, format!("{config:#}"))?;
    std::fs::rename(beside, file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_file_differs_from_the_one_before() {
        let config = json!({ "plans": { "standard": {} } });
        assert_ne!(changed(&config, 1), changed(&config, 2));
        assert_eq!(changed(&config, 0).pointer("/plans/standard/burst"), Some(&json!(999_999)));
    }
}
