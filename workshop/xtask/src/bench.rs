//! `cargo xtask bench`: builds what is measured and the measuring tool, and hands over.

use crate::fault::Outcome;
use crate::run::Run;

/// Runs `portcullis-bench` with these arguments, on release builds of both.
///
/// With `--json` nothing but its one object is printed.
pub(crate) fn run(args: &[String]) -> Outcome {
    let build = ["build", "--quiet", "--locked", "--release"];
    Run::cargo().args(build).args(["--bins"]).quiet()?;
    let tool = ["--quiet", "--locked", "--release", "--package", "portcullis-bench", "--"];
    let tool = Run::cargo().args(["run"]).args(tool).args(args);
    if args.iter().any(|arg| arg == "--json") { tool.show_only() } else { tool.show() }
}
