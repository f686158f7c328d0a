//! `cargo xtask test`: everything that can be tried, within a budget of time.
//!
//! One build makes all binaries and tests, so that the suites only run; its timings stay in `target/cargo-timings`.

use std::time::Duration;

use crate::fault::{During as _, Fault, Outcome};
use crate::fuzz;
use crate::run::{Ran, Run, which};
use crate::setup;
use crate::step::{Steps, seconds};

/// What `check` and `test` of a clean clone may take together on two cores.
const BUDGET: Duration = Duration::from_secs(20 * 60);

/// How long each fuzz target runs.
const FUZZED: Duration = Duration::from_secs(4);

/// One suite and the packages that it runs.
struct Suite {
    name: &'static str,
    what: What,
}

enum What {
    /// Unit tests of every crate but the end-to-end ones.
    Engines,
    /// The whole product, driven from outside.
    EndToEnd,
    /// The test of reloads, as often as the issue asks; in `EndToEnd` it is a short one.
    Reloads,
    /// Every fuzz target, for a few seconds.
    Fuzz,
    /// Examples in the documentation.
    Documents,
}

const SUITES: [Suite; 5] = [
    Suite { name: "engines", what: What::Engines },
    Suite { name: "e2e", what: What::EndToEnd },
    Suite { name: "reloads", what: What::Reloads },
    Suite { name: "fuzz", what: What::Fuzz },
    Suite { name: "doc", what: What::Documents },
];

const END_TO_END: &str = "portcullis-e2e";
const RELOADS: &str = "load::f7_reloads_under_load_fail_no_request_and_end_no_websocket";

/// What was asked for.
#[derive(Debug, Default, PartialEq, Eq)]
struct Wish {
    without: Vec<String>,
    suites: Vec<String>,
    /// How much of the budget others have used already.
    spent: Duration,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Count {
    passed: u64,
    failed: u64,
}

/// Sets up, builds once, runs the suites, and holds them to the budget.
pub(crate) fn run(args: &[String]) -> Outcome {
    let wish = Wish::parse(args)?;
    let mut steps = Steps::default();
    let mut count = Count::default();
    steps.run("setup", || setup::run(&wish.without).map(|()| String::new()));
    steps.run("build", build);
    if steps.failed().contains(&"build") {
        return steps.verdict();
    }
    for suite in SUITES.iter().filter(|s| wish.wants(s.name)) {
        steps.run(suite.name, || suite.run(&wish, &mut count));
    }
    steps.table();
    let spent = steps.total() + wish.spent;
    println!("   budget: {} of {} used", seconds(spent), seconds(BUDGET));
    println!("\n{} passed, {} failed", count.passed, count.failed);
    steps.verdict()?;
    if spent > BUDGET {
        return Err(Fault::new(format!("over budget: {} of {}", seconds(spent), seconds(BUDGET))));
    }
    Ok(())
}

fn build() -> Outcome<String> {
    Run::cargo()
        .args(["build", "--quiet", "--locked", "--workspace", "--all-targets", "--timings"])
        .show()?;
    Ok("(timings in target/cargo-timings)".to_owned())
}

impl Suite {
    fn run(&self, wish: &Wish, count: &mut Count) -> Outcome<String> {
        if matches!(self.what, What::Fuzz) {
            return fuzz::run(FUZZED);
        }
        let (args, nextest) = self.command();
        let run = Run::cargo().args(args).env("PORTCULLIS_WITHOUT", wish.without.join(","));
        let whole = matches!(self.what, What::Reloads);
        let ran = if whole { run.env("PORTCULLIS_RELOADS", "2000") } else { run }.tee()?;
        let found = if nextest { Count::of_nextest(&ran.stdout) } else { Count::of_cargo(&ran.stdout) };
        count.passed += found.passed;
        count.failed += found.failed;
        self.judge(&ran, found)
    }

    fn judge(&self, ran: &Ran, found: Count) -> Outcome<String> {
        if !ran.good || found.failed > 0 {
            return Err(Fault::new(format!(
                "{}: {} passed, {} failed",
                self.name, found.passed, found.failed
            )));
        }
        Ok(format!("({} passed)", found.passed))
    }

    /// The command, and whether it is nextest's. Always the whole workspace: a narrower choice of packages would
    /// choose other features and build them again.
    fn command(&self) -> (Vec<&'static str>, bool) {
        let nextest = which("cargo-nextest").is_some();
        let next = [
            "nextest",
            "run",
            "--locked",
            "--workspace",
            "--no-fail-fast",
            "--no-tests=pass",
            "--hide-progress-bar",
        ];
        let next = |filter: &'static str| [&next[..], &["-E", filter]].concat();
        match self.what {
            What::Engines if nextest => (next("not package(portcullis-e2e)"), true),
            What::EndToEnd if nextest => {
                (next("package(portcullis-e2e) - test(f7_reloads_under_load)"), true)
            }
            What::Reloads if nextest => {
                let shown = ["--success-output", "final"];
                (
                    [next("package(portcullis-e2e) & test(f7_reloads_under_load)"), shown.to_vec()].concat(),
                    true,
                )
            }
            What::Engines => {
                let args = [
                    "test",
                    "--locked",
                    "--no-fail-fast",
                    "--workspace",
                    "--all-targets",
                    "--exclude",
                    END_TO_END,
                ];
                (args.to_vec(), false)
            }
            What::EndToEnd => (
                ["test", "--locked", "--no-fail-fast", "--all-targets", "--package", END_TO_END].to_vec(),
                false,
            ),
            What::Reloads => {
                let test = ["test", "--locked", "--package", END_TO_END, "--test", "e2e", "--"];
                ([&test[..], &["--exact", "--nocapture", RELOADS]].concat(), false)
            }
            What::Documents | What::Fuzz => {
                (["test", "--locked", "--no-fail-fast", "--workspace", "--doc"].to_vec(), false)
            }
        }
    }
}

impl Wish {
    fn parse(args: &[String]) -> Outcome<Self> {
        let mut wish = Self::default();
        let mut args = args.iter();
        while let Some(arg) = args.next() {
            let mut value = || args.next().ok_or_else(|| Fault::new(format!("test: `{arg}` needs a value")));
            match arg.as_str() {
                "--without" => wish.without.push(value()?.clone()),
                "--spent" => wish.spent = Duration::from_secs(value()?.parse().during("test: --spent")?),
                name if SUITES.iter().any(|s| s.name == name) => wish.suites.push(name.to_owned()),
                other => {
                    let known: Vec<&str> = SUITES.iter().map(|s| s.name).collect();
                    return Err(Fault::new(format!(
                        "test: no suite `{other}`; there are {}",
                        known.join(", ")
                    )));
                }
            }
        }
        Ok(wish)
    }

    fn wants(&self, suite: &str) -> bool {
        self.suites.is_empty() || self.suites.iter().any(|s| s == suite)
    }
}

impl Count {
    /// Reads nextest's summary: `Summary [ 0.4s] 17 tests run: 15 passed (1 slow), 2 failed, 0 skipped`.
    fn of_nextest(output: &str) -> Self {
        let summary = output.lines().rev().find(|line| line.trim_start().starts_with("Summary ["));
        let counts = summary.and_then(|line| line.split_once("run: ")).map_or("", |(_, counts)| counts);
        let of = |what: &str| counts.split(", ").filter_map(|part| number_before(part, what)).sum();
        Self { passed: of("passed"), failed: of("failed") + of("timed out") }
    }

    /// Adds up cargo's lines: `test result: ok. 3 passed; 0 failed; …`.
    fn of_cargo(output: &str) -> Self {
        let results = || output.lines().filter_map(|line| line.trim_start().strip_prefix("test result: "));
        let of = |what: &str| {
            results().flat_map(|r| r.split([';', '.'])).filter_map(|p| number_before(p, what)).sum()
        };
        Self { passed: of("passed"), failed: of("failed") }
    }
}

/// The number in a part such as `15 passed (1 slow)`.
fn number_before(part: &str, what: &str) -> Option<u64> {
    let (number, rest) = part.trim().split_once(' ')?;
    rest.starts_with(what).then(|| number.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_are_counted() {
        let next =
            "     Summary [   0.4s] 18 tests run: 15 passed (1 slow), 2 failed, 1 timed out, 0 skipped\n";
        assert_eq!(Count::of_nextest(next), Count { passed: 15, failed: 3 });
        let cargo = "test result: ok. 3 passed; 0 failed; 0 ignored\ntest result: FAILED. 1 passed; 2 failed; 0 ignored\n";
        assert_eq!(Count::of_cargo(cargo), Count { passed: 4, failed: 2 });
    }

    #[test]
    fn a_wish_is_understood_or_refused() {
        let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        let wish = Wish::parse(&words("--without envoy --spent 60 e2e")).unwrap();
        assert_eq!(
            (wish.without.len(), wish.spent.as_secs(), wish.wants("e2e"), wish.wants("doc")),
            (1, 60, true, false)
        );
        assert!(Wish::parse(&words("unit")).is_err());
        assert!(Wish::parse(&words("--without")).is_err());
    }
}
