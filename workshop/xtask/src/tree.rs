//! Where things are in the working tree.

use std::fs;
use std::path::{Path, PathBuf};

use crate::fault::{During as _, Outcome};
use crate::run::Run;

/// The root of the workspace.
pub(crate) fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().and_then(Path::parent).unwrap_or(here).to_owned()
}

/// Where programs of other people are put. Always below the tree, whatever target directory cargo uses.
pub(crate) fn tools() -> PathBuf {
    root().join("target/tools")
}

/// Where cargo puts what it builds.
pub(crate) fn target() -> Outcome<PathBuf> {
    let told = Run::cargo().args(["metadata", "--format-version", "1", "--no-deps", "--offline"]).quiet()?;
    let told: serde_json::Value = serde_json::from_str(&told).during("cannot read cargo's metadata")?;
    let target = told.get("target_directory").and_then(|value| value.as_str());
    Ok(target.map_or_else(|| root().join("target"), PathBuf::from))
}

/// The text of one file of the tree.
pub(crate) fn read(path: &Path) -> Outcome<String> {
    fs::read_to_string(path).during(format!("cannot read `{}`", path.display()))
}

/// Every file that git knows or would add with this ending, relative to the root, sorted.
pub(crate) fn files(ending: &str) -> Outcome<Vec<PathBuf>> {
    let pattern = format!("*{ending}");
    let listed = Run::new("git")
        .args(["ls-files", "--cached", "--others", "--exclude-standard", "--", pattern.as_str()])
        .quiet()?;
    let mut files: Vec<PathBuf> =
        listed.lines().map(PathBuf::from).filter(|f| root().join(f).is_file()).collect();
    files.sort();
    files.dedup();
    Ok(files)
}
