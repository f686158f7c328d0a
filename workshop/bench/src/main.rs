//! Portcullis beside its peers: the same work, the same ciphers, one pinned core for the proxy.
//!
//! Core 0 carries the load generator and the origin, core 1 the proxy. Systems take turns within a round, so that a
//! noisy minute hits all of them; the figures are medians over the rounds. CPU time is the kernel's own account
//! of the proxy's threads in nanoseconds. Latency is measured open loop at fixed rates: each request has its moment
//! and is timed from there, whether or not the one before it was answered (no coordinated omission).
//!
//! Run it as `cargo xtask bench peers`. Not here: microbenchmarks of single rooms.
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a tool for a terminal: what it prints is what it is for"
)]
#![expect(
    clippy::disallowed_methods,
    reason = "it measures real time; nothing here is linked into the product"
)]

mod floods;
mod goal;
mod histogram;
mod idle;
mod instructions;
mod journal;
mod load;
mod loss;
mod origin;
mod overload;
mod plan;
mod price;
mod process;
mod relay;
mod reload;
mod report;
mod rounds;
mod runner;
mod stats;
mod systems;
mod wish;
mod world;

use std::process::ExitCode;

/// What went wrong, in words for a terminal.
pub(crate) type Outcome<T> = Result<T, String>;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let outcome = match args.as_slice() {
        ["relay", listen, to] => relay::run(listen, to),
        ["idle", wish @ ..] => object(wish, idle::measure),
        ["instructions", wish @ ..] => object(wish, instructions::measure),
        ["journal", wish @ ..] => object(wish, journal::measure),
        ["loss", wish @ ..] => object(wish, loss::measure),
        ["overload", wish @ ..] => object(wish, overload::measure),
        ["floods", wish @ ..] => object(wish, floods::measure),
        ["price", wish @ ..] => object(wish, price::measure),
        ["reload", wish @ ..] => object(wish, reload::measure),
        ["peers", wish @ ..] => wish::Wish::parse(wish).and_then(|wish| peers(&wish)),
        _ => Err(wish::USAGE.to_owned()),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(fault) => {
            println!("{fault}");
            ExitCode::FAILURE
        }
    }
}

/// A measurement that gives one JSON object.
fn object(words: &[&str], measure: fn(&wish::Wish) -> Outcome<serde_json::Value>) -> Outcome<()> {
    let wish = wish::Wish::parse(words)?;
    process::raise_descriptors();
    println!("{:#}", measure(&wish)?);
    Ok(())
}

fn peers(wish: &wish::Wish) -> Outcome<()> {
    process::raise_descriptors();
    let report = rounds::peers(wish)?;
    if wish.json {
        println!("{}", report.json());
        report.missing.iter().for_each(|line| eprintln!("{line}"));
    } else {
        println!("{}", report.table());
    }
    Ok(())
}
