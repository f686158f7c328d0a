//! `bench price`: what each security feature costs, by the chain with it on and off.
//!
//! For each feature two gateways run side by side on core 1 and take turns under the same closed load; what differs is
//! the configuration (or what clients offer) and nothing else. The price is the difference in CPU time a request.
//!
//! Not here: features that no setting turns off, such as the head guard or the record itself.

mod features;

use portcullis_testkit::launch::free_port;
use serde_json::{Map, Value, json};

use crate::Outcome;
use crate::load::Target;
use crate::plan::Work;
use crate::rounds::say;
use crate::runner::{Runner, target};
use crate::stats::{Figure, median, round};
use crate::systems::portcullis;
use crate::wish::Wish;
use crate::world::World;
use features::{FEATURES, Feature, Side};

/// Measures every feature, or those that `--system` names, and gives one JSON object.
pub(crate) fn measure(wish: &Wish) -> Outcome<Value> {
    let mut found = Map::new();
    for feature in FEATURES.iter().filter(|feature| wish.wants(feature.name)) {
        let figures = one(feature, wish).unwrap_or_else(|fault| json!({ "fault": fault }));
        say(&format!("{}: {figures}", feature.name));
        found.insert(feature.name.to_owned(), figures);
    }
    Ok(Value::Object(found))
}

fn one(feature: &Feature, wish: &Wish) -> Outcome<Value> {
    let (with, without) = (World::make(feature.work)?, World::make(feature.work)?);
    let mut on = side(&feature.with, feature.work, &with)?;
    let mut off = side(&feature.without, feature.work, &without)?;
    for round in 0..wish.rounds().max(2) {
        // Who goes first changes, so that going first is no advantage.
        let first = if round.is_multiple_of(2) { [&mut on, &mut off] } else { [&mut off, &mut on] };
        for runner in first {
            runner.saturate(wish.span())?;
        }
    }
    Ok(figures(feature, &on, &off))
}

fn side(side: &Side, work: Work, world: &World) -> Outcome<Runner> {
    let address = free_port();
    let mut config = portcullis::config(world, address);
    for (pointer, value) in (side.settings)(world)? {
        portcullis::set(&mut config, pointer, value)?;
    }
    let load: Target = (side.load)(target(work, world)?, world)?;
    let runner = Runner::new(portcullis::with(world, address, &config)?, load);
    runner.probe(work, world)?;
    Ok(runner)
}

fn figures(feature: &Feature, on: &Runner, off: &Runner) -> Value {
    let pairs = on.cpu_us.iter().zip(&off.cpu_us);
    let prices: Vec<f64> = pairs.map(|(on, off)| on - off).collect();
    let price = Figure::of(&prices);
    json!({
        "with": feature.with.words, "without": feature.without.words,
        "with_us": round(median(&on.cpu_us)), "without_us": round(median(&off.cpu_us)),
        "price_us": round(price.middle), "price_us_rounds": [round(price.least), round(price.most)],
    })
}
