//! Every package that the workspace names must have its row in `docs/dependencies.md`: why, who keeps it, the way out.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::fault::{During as _, Fault, Outcome};
use crate::tree;

#[derive(Deserialize)]
struct Manifest {
    workspace: Workspace,
}

#[derive(Deserialize)]
struct Workspace {
    dependencies: BTreeMap<String, toml::Value>,
}

/// Names what has no row, and rows that nothing needs any more.
pub(crate) fn check() -> Outcome<String> {
    let manifest = tree::read(&tree::root().join("Cargo.toml"))?;
    let Manifest { workspace } = toml::from_str(&manifest).during("cannot read `Cargo.toml`")?;
    let ours = |value: &toml::Value| value.get("path").is_some();
    let named: Vec<&str> = workspace
        .dependencies
        .iter()
        .filter(|(_, value)| !ours(value))
        .map(|(name, _)| name.as_str())
        .collect();
    let rows = rows(&tree::read(&tree::root().join("docs/dependencies.md"))?);
    let missing = named.iter().filter(|name| !rows.iter().any(|row| row == *name));
    let mut findings: Vec<String> = missing.map(|name| format!("`{name}` has no row")).collect();
    let stale = rows.iter().filter(|row| !named.contains(&row.as_str()));
    findings.extend(stale.map(|row| format!("`{row}` has a row, and nobody names it any more")));
    if findings.is_empty() {
        return Ok(format!("({} packages)", named.len()));
    }
    Err(Fault::list("docs/dependencies.md and Cargo.toml disagree", &findings))
}

/// The packages of the first column of every table with a "way out".
fn rows(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut inside = false;
    for line in text.lines() {
        let Some(cell) = line.strip_prefix("| ").and_then(|l| l.split(" | ").next()) else {
            inside = inside && line.starts_with("|-");
            continue;
        };
        if cell == "package" {
            inside = line.ends_with("| way out |");
        } else if inside {
            found.extend(cell.split(", ").map(str::to_owned));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_read_from_the_tables_of_what_is_used() {
        let text = "| package | why | way out |\n|---|---|---|\n| a, b | x | y |\n\n| package | reason |\n|---|---|\n| c | z |\n";
        assert_eq!(rows(text), ["a", "b"]);
    }
}
