//! `bench peers`: one work after the other, all systems that can do it in turns, round after round.

use std::time::{Duration, Instant};

use crate::Outcome;
use crate::plan::Work;
use crate::report::Report;
use crate::runner::{Runner, target};
use crate::stats::median;
use crate::systems;
use crate::wish::Wish;
use crate::world::World;

/// Shares of Envoy's best rate at which latency is looked at.
const HALF: f64 = 0.5;
const HIGH: f64 = 0.85;
/// Starting a system and probing it, about.
const START: Duration = Duration::from_secs(2);

/// Everything that was wished for.
pub(crate) fn peers(wish: &Wish) -> Outcome<Report> {
    let (works, start) = (wish.works(), Instant::now());
    say(&format!("this takes about {} minutes", expected(wish, &works).as_secs().div_ceil(60)));
    let mut report = Report::default();
    for work in works {
        measure(work, wish, &mut report)?;
        say(&format!("{} done after {} s", work.name(), start.elapsed().as_secs()));
    }
    Ok(report)
}

/// How long the run will take.
fn expected(wish: &Wish, works: &[Work]) -> Duration {
    let rounds = u32::try_from(wish.rounds()).unwrap_or(u32::MAX);
    let stretches = |work: &Work| if work.has_latency() { 13 } else { 5 };
    let of = |work: &Work| {
        let systems = systems::ALL.iter().filter(|s| wish.wants(s.name) && (s.does)(*work)).count();
        (wish.span() / 4 * stretches(work) * rounds + START) * u32::try_from(systems).unwrap_or(u32::MAX)
    };
    works.iter().map(of).sum()
}

/// Measures one work on every wanted system and adds the figures to the report.
fn measure(work: Work, wish: &Wish, report: &mut Report) -> Outcome<()> {
    let world = World::make(work)?;
    let mut runners = start(work, wish, &world, report)?;
    for round in 1..=wish.rounds() {
        for runner in &mut runners {
            runner.saturate(wish.span())?;
            progress(work, round, runner);
        }
    }
    if work.has_latency() {
        let best = reference_rate(&runners);
        for round in 1..=wish.rounds() {
            for runner in &mut runners {
                runner.half.push(runner.at_rate(best * HALF, wish.span())?);
                runner.high.push(runner.at_rate(best * HIGH, wish.span())?);
            }
            say(&format!(
                "{:<13} latency round {round} at {:.0} and {:.0}/s",
                work.name(),
                best * HALF,
                best * HIGH
            ));
        }
    }
    report.add(work, runners);
    Ok(())
}

/// Every wanted system that does this work and does it right.
fn start(work: Work, wish: &Wish, world: &World, report: &mut Report) -> Outcome<Vec<Runner>> {
    let mut runners = Vec::new();
    for system in systems::ALL.iter().filter(|s| wish.wants(s.name) && (s.does)(work)) {
        match (system.start)(work, world) {
            Ok(started) => {
                let runner = Runner::new(started, target(work, world)?);
                match runner.probe(work, world) {
                    Ok(()) => runners.push(runner),
                    Err(fault) => report.missing(work, system.name, &fault),
                }
            }
            Err(fault) => report.missing(work, system.name, &fault),
        }
    }
    Ok(runners)
}

/// Envoy's best rate, as the issue asks; without Envoy, that of the slowest one here.
fn reference_rate(runners: &[Runner]) -> f64 {
    let envoy = runners.iter().find(|r| r.started.name == "envoy").map(|r| median(&r.rps));
    envoy
        .unwrap_or_else(|| runners.iter().map(|r| median(&r.rps)).fold(f64::INFINITY, f64::min))
        .clamp(10.0, 1e6)
}

fn progress(work: Work, round: usize, runner: &Runner) {
    let last = |list: &[f64]| list.last().copied().unwrap_or_default();
    let (name, busy) = (runner.started.name, runner.busy * 100.0);
    let (cpu, rps, load) = (last(&runner.cpu_us), last(&runner.rps), last(&runner.load_us));
    say(&format!(
        "{:<13} round {round}  {name:<11} {cpu:>8.1} us  {rps:>8.0}/s  load and origin {load:.1} us, core {busy:.0} %",
        work.name(),
    ));
}

/// A line about how far it is, beside the figures.
pub(crate) fn say(line: &str) {
    eprintln!("{line}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_whole_run_is_expected_within_25_minutes() {
        let wish = Wish::parse(&[]).unwrap();
        let all = expected(&wish, &wish.works());
        assert!(all < Duration::from_secs(25 * 60) && all > Duration::from_secs(10 * 60), "{all:?}");
    }
}
