//! `cargo xtask setup`: the programs of other people that tests and benchmarks talk to.
//!
//! Debian packages are unpacked below `target/tools/debian` with the libraries they need; Python and npm packages
//! get a virtual environment and a prefix there. What is already on the machine is used as it is. Where each thing
//! ended up, and its version, is written to `target/tools/manifest.json`, which `portcullis-testkit` reads.
//!
//! INVARIANT: nothing is written outside `target/tools`, except by `apt-get install` as the last resort of root.
//! INVARIANT: downloads are checked by the ordinary clients (apt's signed lists, pip's and npm's index hashes).

mod debian;
mod manifest;
mod npm;
mod python;
mod table;

use std::path::Path;

use crate::fault::{Fault, Outcome};
use crate::step::Steps;
use crate::tree;
use manifest::Manifest;

/// Names of what this run goes without.
pub(crate) struct Without(pub(crate) Vec<String>);

impl Without {
    /// Takes `--without NAME` and refuses everything else.
    pub(crate) fn parse(args: &[String]) -> Outcome<Self> {
        let mut names = Vec::new();
        let mut args = args.iter();
        while let Some(arg) = args.next() {
            match (arg.as_str(), args.next()) {
                ("--without", Some(name)) => names.push(name.clone()),
                _ => return Err(Fault::new(format!("setup: cannot understand `{arg}`"))),
            }
        }
        Ok(Self(names))
    }
}

/// Brings everything but `without`; a second run finds it all and is quick.
pub(crate) fn run(without: &[String]) -> Outcome {
    table::known(without)?;
    let mut manifest = Manifest::load(&tree::tools());
    let mut steps = Steps::default();
    steps.run("setup: Debian", || gather(&debian::bring(&mut manifest, without)));
    steps.run("setup: Python", || gather(&python::bring(&mut manifest, without)));
    steps.run("setup: npm", || gather(&npm::bring(&mut manifest, without)));
    manifest.save()?;
    println!("   written: {}", Path::new("target/tools/manifest.json").display());
    steps.verdict().map_err(|fault| {
        Fault::new(format!(
            "{fault}\nwhat could not be had is named above; to go on without it: --without NAME"
        ))
    })
}

/// Brings one program that only some commands need.
pub(crate) fn need(name: &str) -> Outcome {
    let tool = table::NOW_AND_THEN.iter().find(|tool| tool.name == name);
    let tool = tool.ok_or_else(|| Fault::new(format!("no program `{name}`")))?;
    let mut manifest = Manifest::load(&tree::tools());
    if manifest.find(name).is_none() {
        debian::bring_one(&mut manifest, tool)?;
        manifest.save()?;
    }
    Ok(())
}

/// One line on the terminal as things are found.
fn say(name: &str, what: &str) {
    println!("   {name:<14} {what}");
}

/// A step's findings: all good, or every name that could not be had and why.
fn gather(missing: &[String]) -> Outcome<String> {
    if missing.is_empty() { Ok(String::new()) } else { Err(Fault::list("could not be had", missing)) }
}
