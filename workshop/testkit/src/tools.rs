//! Where the programs of other people are: `cargo xtask setup` fetched them and wrote them down.

use std::path::{Path, PathBuf};

use serde_json::Value;

/// The variable in which `cargo xtask test --without NAME` names what this run goes without, commas between.
pub const WITHOUT: &str = "PORTCULLIS_WITHOUT";

/// The path of a program or package that tests talk to.
///
/// # Panics
/// If it has not been set up. A missing counterpart fails a test; it does not skip it.
#[must_use]
pub fn tool(name: &str) -> PathBuf {
    look_up(&manifest(), name).unwrap_or_else(|| panic!("`{name}` is not set up: run `cargo xtask setup`"))
}

/// As [`tool`], or `None` if this run was told in so many words to go without it.
///
/// # Panics
/// If it has not been set up and nobody said `--without`.
#[must_use]
pub fn counterpart(name: &str) -> Option<PathBuf> {
    let without = std::env::var(WITHOUT).unwrap_or_default();
    if without.split(',').any(|n| n == name) {
        eprintln!("without `{name}`, as asked");
        return None;
    }
    Some(tool(name))
}

/// The root of the working tree.
#[must_use]
pub fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../..")
        .canonicalize()
        .expect("the tree that this was built from")
}

fn manifest() -> Value {
    let path = workspace().join("target/tools/manifest.json");
    let text = std::fs::read(&path).unwrap_or_default();
    serde_json::from_slice(&text).unwrap_or_default()
}

fn look_up(manifest: &Value, name: &str) -> Option<PathBuf> {
    manifest.get(name)?.get("path")?.as_str().map(PathBuf::from).filter(|p| p.exists())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_written_down_and_there_is_found() {
        let manifest = serde_json::json!({
            "sh": { "path": "/bin/sh", "version": "1" },
            "gone": { "path": "/nowhere/at/all", "version": "1" },
        });
        assert_eq!(look_up(&manifest, "sh"), Some(PathBuf::from("/bin/sh")));
        assert_eq!(look_up(&manifest, "gone"), None);
        assert_eq!(look_up(&manifest, "never"), None);
    }
}
