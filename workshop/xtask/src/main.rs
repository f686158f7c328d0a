//! `cargo xtask`: one door to everything that is done to the tree, so that a laptop and CI do the same.
//!
//! | command | does |
//! |---|---|
//! | `setup [--without NAME]` | brings the programs that tests and benchmarks talk to, under `target/tools` |
//! | `check` | formatting, lints, rooms, supply chain, sizes, documents |
//! | `test [--without NAME] [SUITE…]` | `setup`, one build, every suite, within the time budget |
//! | `fuzz [SECONDS]` | builds every fuzz target and runs each for that long |
//! | `threats` | writes `docs/threats.md` from the names of the tests |
//! | `bench peers [--json] [--quick]` | Portcullis beside Envoy, HAProxy, nginx and a plain relay |
//! | `bench WHAT` | the other measurements: `bench` alone lists them |
//!
//! Every step prints a line with its wall time. Nothing asks; nothing is written outside `target/`.
//!
//! Not here: the measuring itself (`portcullis-bench`), since this must build in seconds.
#![expect(clippy::print_stdout, reason = "a tool for a terminal: what it prints is what it is for")]
#![expect(clippy::disallowed_methods, reason = "it times real work; nothing here is linked into the product")]

mod bench;
mod check;
mod fault;
mod fuzz;
mod metadata;
mod run;
mod setup;
mod step;
mod test;
mod tree;

use std::process::ExitCode;

use fault::{Fault, Outcome};

const USAGE: &str = "\
usage: cargo xtask setup [--without NAME]…
       cargo xtask check [STEP…]
       cargo xtask test  [--without NAME]… [--spent SECONDS] [SUITE…]
       cargo xtask fuzz  [SECONDS]
       cargo xtask threats
       cargo xtask bench peers [--json] [--quick] [--work NAME]… [--system NAME]…
       cargo xtask bench overload|floods|idle|journal|loss|price|instructions|reload [--quick] …";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match dispatch(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(fault) => {
            println!("\n{fault}");
            ExitCode::FAILURE
        }
    }
}

fn dispatch(args: &[String]) -> Outcome {
    let Some((command, rest)) = args.split_first() else { return Err(Fault::new(USAGE)) };
    match command.as_str() {
        "setup" => setup::run(&setup::Without::parse(rest)?.0),
        "check" => check::run(rest),
        "test" => test::run(rest),
        "fuzz" => fuzz::asked(rest),
        "threats" => check::threats::write(),
        "bench" => bench::run(rest),
        "help" | "--help" | "-h" => {
            println!("{USAGE}");
            Ok(())
        }
        other => Err(Fault::new(format!("no command `{other}`\n{USAGE}"))),
    }
}
