//! `bench overload`: how much good work is left when twice as much comes as can be done.
//!
//! The peak is the best closed rate. Then requests come at twice that, open loop, over many more connections or streams
//! than the peak needs, so that the queue forms at the system and not in the load generator. What counts is good answers
//! within the span.

use serde_json::{Map, Value, json};

use crate::Outcome;
use crate::goal::words;
use crate::load::{self, Found, Pace, Shape, Target};
use crate::plan::Work;
use crate::rounds::say;
use crate::runner::{Runner, TOO_BUSY, target};
use crate::stats::{median, round};
use crate::systems::{self, OURS};
use crate::wish::Wish;
use crate::world::World;

/// Times the peak.
const TIMES: f64 = 2.0;
/// Good answers at that, as a share of the peak.
const GOAL: f64 = 0.9;
const WORKS: [Work; 2] = [Work::Secure, Work::SecureH2];

/// Measures Envoy and Portcullis and gives one JSON object.
pub(crate) fn measure(wish: &Wish) -> Outcome<Value> {
    let mut found = Map::new();
    for work in WORKS.into_iter().filter(|work| wish.works().contains(work)) {
        let mut of_work = Map::new();
        for name in ["envoy", OURS].into_iter().filter(|name| wish.wants(name)) {
            of_work.insert(name.to_owned(), one(name, work, wish)?);
        }
        found.insert(work.name().to_owned(), Value::Object(of_work));
    }
    Ok(Value::Object(found))
}

fn one(name: &str, work: Work, wish: &Wish) -> Outcome<Value> {
    let world = World::make(work)?;
    let mut runner = Runner::new(systems::start(name, work, &world)?, target(work, &world)?);
    runner.probe(work, &world)?;
    let mut stretches = Vec::new();
    for number in 1..=wish.rounds() {
        runner.saturate(wish.span())?;
        let peak = median(&runner.rps);
        let crowd = Target { shape: crowded(runner.target.shape), ..runner.target.clone() };
        // The crowd's connections to the origin are there before it is looked at.
        load::run(&crowd, Pace::Closed, wish.span() / 2)?;
        stretches.push(load::run(&crowd, Pace::Open(peak * TIMES), wish.span())?);
        say(&format!("{} {name} round {number}: peak {peak:.0}/s", work.name()));
    }
    Ok(figures(&runner, &stretches))
}

/// Eight times as many in flight.
fn crowded(shape: Shape) -> Shape {
    match shape {
        Shape::KeepAlive(count) => Shape::KeepAlive(count * 8),
        Shape::Fresh(count) => Shape::Fresh(count * 8),
        // A connection may have 100 streams (RFC 9113 §6.5.2 recommends no fewer).
        Shape::Streams(connections, _) => Shape::Streams(connections, 100),
    }
}

fn figures(runner: &Runner, stretches: &[Found]) -> Value {
    let peak = median(&runner.rps);
    let good = median(&stretches.iter().map(|found| found.rps).collect::<Vec<_>>());
    let busy = stretches.iter().map(|found| found.core_busy).fold(runner.busy, f64::max);
    let failed: u64 = stretches.iter().map(|found| found.tally.failed).sum();
    let share = good / peak.max(f64::EPSILON);
    json!({
        "peak_rps": round(peak), "offered_rps": round(peak * TIMES), "good_rps": round(good),
        "share_of_peak": round(share), "refused_or_failed": failed,
        "load_core_busy": round(busy), "counts": busy < TOO_BUSY,
        "verdict": words(share >= GOAL, busy < TOO_BUSY),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crowd_has_more_in_flight_than_the_peak_needs() {
        assert_eq!(crowded(Shape::KeepAlive(64)), Shape::KeepAlive(512));
        assert_eq!(crowded(Shape::Streams(8, 16)), Shape::Streams(8, 100));
    }
}
