//! `cargo xtask bench`: builds what is measured and the measuring tool, and hands over.

use crate::fault::Outcome;
use crate::run::Run;

/// Runs `portcullis-bench` with these arguments, on release builds of both.
pub(crate) fn run(args: &[String]) -> Outcome {
    Run::cargo().args(["build", "--quiet", "--locked", "--release", "--bins"]).show()?;
    Run::cargo()
        .args(["build", "--quiet", "--locked", "--release", "--package", "portcullis-bench"])
        .show()?;
    Run::cargo()
        .args(["run", "--quiet", "--locked", "--release", "--package", "portcullis-bench", "--"])
        .args(args)
        .show()
}
