//! One work: all systems that can do it, in turns, round after round.

use std::sync::Arc;
use std::time::Duration;

use crate::Outcome;
use crate::load::{self, Found, Pace, Shape, Target};
use crate::plan::Work;
use crate::process;
use crate::report::{Figures, Report};
use crate::systems::{self, Started};
use crate::wish::Wish;
use crate::world::World;

/// Shares of Envoy's best rate at which latency is looked at.
const HALF: f64 = 0.5;
const HIGH: f64 = 0.85;

/// A system under measurement and what was found so far.
struct Runner {
    started: Started,
    target: Target,
    cpu_us: Vec<f64>,
    rps: Vec<f64>,
    half: Vec<Found>,
    high: Vec<Found>,
    failed: u64,
    busy: f64,
    peak_kib: u64,
}

/// Measures one work on every wanted system and adds the figures to the report.
pub(crate) fn measure(work: Work, wish: &Wish, report: &mut Report) -> Outcome<()> {
    let world = World::make(work)?;
    let mut runners = Vec::new();
    for system in systems::ALL.iter().filter(|s| wish.wants(s.name)) {
        match (system.start)(work, &world) {
            Ok(Some(started)) => {
                let runner = Runner::new(started, target(work, &world)?);
                match runner.probe(work, &world) {
                    Ok(()) => runners.push(runner),
                    Err(fault) => report.missing(work, system.name, &fault),
                }
            }
            Ok(None) => {}
            Err(fault) => report.missing(work, system.name, &fault),
        }
    }
    for round in 1..=wish.rounds() {
        for runner in &mut runners {
            runner.saturate(wish.span())?;
            print_progress(wish, work, round, runner);
        }
    }
    let best = reference_rate(&runners);
    for _ in 0..wish.rounds() {
        for runner in &mut runners {
            runner.half.push(runner.at_rate(best * HALF, wish.span())?);
            runner.high.push(runner.at_rate(best * HIGH, wish.span())?);
        }
    }
    runners.iter().for_each(|runner| report.add(work, runner.started.name, runner.figures(work)));
    Ok(())
}

/// Envoy's best rate, as the issue asks; without Envoy, that of the slowest one here.
fn reference_rate(runners: &[Runner]) -> f64 {
    let envoy = runners.iter().find(|r| r.started.name == "envoy").map(|r| median(&r.rps));
    envoy
        .unwrap_or_else(|| runners.iter().map(|r| median(&r.rps)).fold(f64::INFINITY, f64::min))
        .clamp(10.0, 1e6)
}

fn target(work: Work, world: &World) -> Outcome<Target> {
    let (shape, alpn) = match work {
        Work::Plain | Work::Secure | Work::SecureParam => (Shape::KeepAlive(64), "http/1.1"),
        Work::SecureH2 => (Shape::Streams(8, 16), "h2"),
        Work::SecureFresh => (Shape::Fresh(16), "http/1.1"),
        Work::Body(..) => (Shape::KeepAlive(4), "http/1.1"),
    };
    let tls = if work.is_secure() { Some(world.client_config(alpn)?) } else { None };
    let tokens = if work.is_secure() { world.tokens.clone() } else { Vec::new() };
    let paths = (0..work.users()).map(|user| work.path(user)).collect();
    let address = ([127, 0, 0, 1], 0).into();
    Ok(Target {
        address,
        tls,
        tokens: Arc::new(tokens),
        paths: Arc::new(paths),
        shape,
        bodies: work.bodies(),
    })
}

impl Runner {
    fn new(started: Started, target: Target) -> Self {
        let target = Target { address: started.address, ..target };
        let none = Vec::new;
        let (half, high) = (Vec::new(), Vec::new());
        Self { started, target, cpu_us: none(), rps: none(), half, high, failed: 0, busy: 0.0, peak_kib: 0 }
    }

    /// Does it do the work at all? A system that lets a bad token pass is not compared, however fast it is.
    fn probe(&self, work: Work, world: &World) -> Outcome<()> {
        let plain = Target { tls: world.probe_tls(work)?, ..self.target.clone() };
        let good = self.target.tokens.first().map_or("", String::as_str);
        match load::status(&plain, good)? {
            200 => {}
            status => {
                return Err(format!(
                    "a good request was answered with {status}\n{}",
                    self.started.running.output()
                ));
            }
        }
        for (what, token) in world.bad_tokens.iter().filter(|_| work.is_secure()) {
            if load::status(&plain, token)? == 200 {
                return Err(format!("it let pass {what}"));
            }
        }
        Ok(())
    }

    /// As much as the system carries, after a warm-up.
    fn saturate(&mut self, span: Duration) -> Outcome<()> {
        let id = self.started.running.id();
        load::run(&self.target, Pace::Closed, span / 4)?;
        let before = process::cpu_time(id);
        let found = load::run(&self.target, Pace::Closed, span)?;
        let used = process::cpu_time(id).saturating_sub(before);
        if found.latency.total() == 0 {
            let tail = self.started.running.output();
            return Err(format!(
                "{}: not one good answer ({} failed)\n{tail}",
                self.started.name, found.failed
            ));
        }
        let count = f64::from(u32::try_from(found.latency.total()).unwrap_or(u32::MAX));
        self.cpu_us.push(used.as_secs_f64() * 1e6 / count);
        self.rps.push(found.rps());
        self.failed += found.failed;
        self.busy = self.busy.max(found.busy);
        self.peak_kib = self.peak_kib.max(process::pss_kib(id));
        Ok(())
    }

    fn at_rate(&self, rate: f64, span: Duration) -> Outcome<Found> {
        load::run(&self.target, Pace::Open(rate), span)
    }

    fn figures(&self, work: Work) -> Figures {
        let at = |found: &[Found], permille| {
            median(&found.iter().map(|f| f.latency.at_permille(permille)).collect::<Vec<_>>())
        };
        Figures {
            cpu_us: median(&self.cpu_us),
            cpu_us_spread: spread(&self.cpu_us),
            rps: median(&self.rps),
            mib_s: work.mib().map(|mib| median(&self.rps) * f64::from(mib)),
            p50_ms: at(&self.half, 500),
            p99_ms: at(&self.half, 990),
            p99_high_ms: at(&self.high, 990),
            load_busy: self.half.iter().chain(&self.high).map(|f| f.busy).fold(0.0, f64::max),
            closed_busy: self.busy,
            peak_kib: self.peak_kib,
            failed: self.failed,
            durability: self.started.durability,
        }
    }
}

fn print_progress(wish: &Wish, work: Work, round: usize, runner: &Runner) {
    if !wish.json {
        let last = |list: &[f64]| list.last().copied().unwrap_or_default();
        let (cpu, rps) = (last(&runner.cpu_us), last(&runner.rps));
        println!(
            "{:<13} round {round}  {:<11} {cpu:>8.1} us  {rps:>8.0}/s",
            work.name(),
            runner.started.name
        );
    }
}

/// The middle one; the lower of the two if their number is even.
fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len().saturating_sub(1) / 2).copied().unwrap_or_default()
}

/// From the least to the greatest.
fn spread(values: &[f64]) -> (f64, f64) {
    let least = values.iter().copied().fold(f64::INFINITY, f64::min);
    (least, values.iter().copied().fold(0.0, f64::max))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_one_in_the_middle() {
        assert_eq!(median(&[3.0, 1.0, 2.0]).to_string(), "2");
        assert_eq!(median(&[]).to_string(), "0");
        assert_eq!(spread(&[3.0, 1.0]), (1.0, 3.0));
    }
}
