//! `cargo xtask check`: everything that can be said about the tree without running it.

mod advisories;
mod deny;
mod floors;
mod ledger;
mod licence;
mod links;
mod rooms;
mod size;
pub(crate) mod threats;

use crate::fault::{Fault, Outcome};
use crate::metadata::Metadata;
use crate::run::Run;
use crate::step::Steps;

type Step = (&'static str, fn() -> Outcome<String>);

const STEPS: [Step; 9] = [
    ("fmt", format),
    ("rooms", || rooms::check(&Metadata::load(&[])?)),
    ("deny", deny::check),
    ("ledger", ledger::check),
    ("size", size::check),
    ("links", links::check),
    ("threats", threats::check),
    ("clippy", clippy),
    ("docs", docs),
];

/// Runs the named steps, or all of them.
pub(crate) fn run(names: &[String]) -> Outcome {
    if let Some(name) = names.iter().find(|n| !STEPS.iter().any(|(step, _)| step == n)) {
        let known: Vec<&str> = STEPS.iter().map(|(step, _)| *step).collect();
        return Err(Fault::new(format!("check: no step `{name}`; there are {}", known.join(", "))));
    }
    let mut steps = Steps::default();
    for (name, work) in STEPS {
        if names.is_empty() || names.iter().any(|n| n == name) {
            steps.run(name, work);
        }
    }
    steps.table();
    steps.verdict()
}

fn format() -> Outcome<String> {
    Run::cargo().args(["fmt", "--all", "--check"]).show()?;
    Ok(String::new())
}

fn clippy() -> Outcome<String> {
    Run::cargo()
        .args(["clippy", "--quiet", "--locked", "--workspace", "--all-targets", "--", "-D", "warnings"])
        .show()?;
    Ok(String::new())
}

fn docs() -> Outcome<String> {
    Run::cargo()
        .args(["doc", "--quiet", "--locked", "--workspace", "--no-deps", "--document-private-items"])
        .env("RUSTDOCFLAGS", "-D warnings")
        .show()?;
    Ok(String::new())
}
