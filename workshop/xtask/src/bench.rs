//! `cargo xtask bench`: builds what is measured and the measuring tool, and hands over.

use crate::fault::{Fault, Outcome};
use crate::run::Run;
use crate::setup;
use crate::tree;

/// What is built, in one build, so that product and tool are of the same pieces.
const PACKAGES: [&str; 3] = ["portcullis", "portcullis-proxy", "portcullis-bench"];

/// Runs `portcullis-bench` with these arguments, on release builds of both.
///
/// With `--json` nothing but its one object is printed.
pub(crate) fn run(args: &[String]) -> Outcome {
    let packages = PACKAGES.iter().flat_map(|package| ["--package", package]);
    let build = ["build", "--quiet", "--locked", "--release", "--bins"];
    Run::cargo().args(build).args(packages).quiet()?;
    if args.first().is_some_and(|word| word == "instructions") {
        setup::need("valgrind")?;
    }
    let tool = tree::target()?.join("release/portcullis-bench");
    if !tool.is_file() {
        return Err(Fault::new(format!("`{}` was not built", tool.display())));
    }
    let tool = Run::new(tool).args(args);
    if args.iter().any(|arg| arg == "--json") { tool.show_only() } else { tool.show() }
}
