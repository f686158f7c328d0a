//! Packages of the npm registry below `target/tools/npm`.

use super::manifest::Manifest;
use super::say;
use super::table::NPM;
use crate::fault::During as _;
use crate::run::{Run, which};

/// Brings every package of the table; gives one line for each that could not be had.
pub(crate) fn bring(manifest: &mut Manifest, without: &[String]) -> Vec<String> {
    let dir = manifest.dir().join("npm");
    let wanted: Vec<_> = NPM.iter().filter(|tool| !without.iter().any(|n| n == tool.name)).collect();
    if wanted.is_empty() {
        say("npm", "left out, as asked");
        return Vec::new();
    }
    let Some(node) = which("node") else { return vec!["node: not on this machine".to_owned()] };
    let version = Run::new(&node).args(["--version"]).quiet().unwrap_or_default();
    manifest.add("node", node, version.trim());
    let mut missing = Vec::new();
    for tool in wanted {
        if manifest.find(tool.name).is_some_and(|e| e.version == tool.version) {
            say(tool.name, &format!("{}  is there", tool.version));
            continue;
        }
        let spec = format!("{}@{}", tool.name, tool.version);
        say(tool.name, &format!("npm install {spec}"));
        let made = std::fs::create_dir_all(&dir).during("cannot make a folder");
        let args = ["install", "--no-audit", "--no-fund", "--ignore-scripts", "--prefix"];
        let run = || Run::new("npm").args(args).args([dir.as_os_str()]).args([spec.as_str()]).quiet();
        match made.and_then(|()| run()) {
            Ok(_) => manifest.add(tool.name, dir.join("node_modules").join(tool.name), tool.version),
            Err(fault) => missing.push(format!("{}: {fault}", tool.name)),
        }
    }
    missing
}
