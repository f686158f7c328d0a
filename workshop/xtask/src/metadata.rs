//! What cargo knows about the packages of this build.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use serde::Deserialize;

use crate::fault::{During as _, Fault, Outcome};
use crate::run::Run;

/// `cargo metadata`, the parts that the checks read.
#[derive(Debug, Deserialize)]
pub(crate) struct Metadata {
    pub(crate) packages: Vec<Package>,
    pub(crate) workspace_members: Vec<String>,
    resolve: Option<Resolve>,
}

/// One package of the graph.
#[derive(Debug, Deserialize)]
pub(crate) struct Package {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) version: semver::Version,
    pub(crate) license: Option<String>,
    pub(crate) source: Option<String>,
    pub(crate) dependencies: Vec<Declared>,
}

/// A line of a `Cargo.toml`.
#[derive(Debug, Deserialize)]
pub(crate) struct Declared {
    pub(crate) name: String,
    /// `dev`, `build`, or nothing for what is linked.
    pub(crate) kind: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Resolve {
    nodes: Vec<Node>,
}

#[derive(Debug, Deserialize)]
struct Node {
    id: String,
    deps: Vec<Edge>,
}

#[derive(Debug, Deserialize)]
struct Edge {
    pkg: String,
    dep_kinds: Vec<Kind>,
}

#[derive(Debug, Deserialize)]
struct Kind {
    kind: Option<String>,
}

impl Metadata {
    /// Reads the graph for these targets (for all if there are none).
    pub(crate) fn load(targets: &[String]) -> Outcome<Self> {
        let mut args = vec!["metadata".to_owned(), "--format-version=1".to_owned(), "--locked".to_owned()];
        for target in targets {
            args.extend(["--filter-platform".to_owned(), target.clone()]);
        }
        Self::parse(&Run::cargo().args(args).quiet()?)
    }

    fn parse(json: &str) -> Outcome<Self> {
        serde_json::from_str(json).during("`cargo metadata` said something unexpected")
    }

    /// Our own packages.
    pub(crate) fn members(&self) -> impl Iterator<Item = &Package> {
        self.packages.iter().filter(|p| self.workspace_members.contains(&p.id))
    }

    /// Packages that are really part of some build for these targets, tests included.
    pub(crate) fn built(&self, targets: &[String]) -> Outcome<Vec<&Package>> {
        let mut args = vec!["--workspace".to_owned()];
        for target in targets {
            args.extend(["--target".to_owned(), target.clone()]);
        }
        let built = tree(&args)?;
        Ok(self
            .packages
            .iter()
            .filter(|p| built.contains(&(p.name.clone(), p.version.to_string())))
            .collect())
    }

    /// Names of all packages that the binary `name` links, itself included, each with the path that leads there.
    ///
    /// Build scripts and tests do not count: they are not in the process.
    pub(crate) fn linked(&self, name: &str) -> Outcome<BTreeMap<String, String>> {
        let root = self.members().find(|p| p.name == name);
        let root = root.ok_or_else(|| Fault::new(format!("no crate `{name}` in the workspace")))?;
        let built = tree(&["--package".to_owned(), name.to_owned(), "--edges=normal".to_owned()])?;
        let mut found = BTreeMap::from([(root.name.clone(), root.name.clone())]);
        let mut queue = VecDeque::from([(root.id.as_str(), root.name.clone())]);
        while let Some((id, path)) = queue.pop_front() {
            for next in self.normal_edges(id) {
                let Some(package) = self.packages.iter().find(|p| p.id == next) else { continue };
                let is_built = built.contains(&(package.name.clone(), package.version.to_string()));
                if is_built && !found.contains_key(&package.name) {
                    let path = format!("{path} -> {}", package.name);
                    found.insert(package.name.clone(), path.clone());
                    queue.push_back((next, path));
                }
            }
        }
        Ok(found)
    }

    fn normal_edges<'a>(&'a self, id: &'a str) -> impl Iterator<Item = &'a str> {
        let node = self.resolve.iter().flat_map(|r| &r.nodes).find(move |node| node.id == id);
        let normal = |edge: &&Edge| edge.dep_kinds.iter().any(|k| k.kind.is_none());
        node.into_iter().flat_map(|n| &n.deps).filter(normal).map(|edge| edge.pkg.as_str())
    }
}

/// Names and versions that `cargo tree` shows.
///
/// The graph of `cargo metadata` also holds optional packages that a feature merely mentions (`ring?/std`), which no
/// build contains; `cargo tree` asks the resolver that builds.
fn tree(args: &[String]) -> Outcome<BTreeSet<(String, String)>> {
    let shown =
        Run::cargo().args(["tree", "--locked", "--prefix=none", "--format={p}"]).args(args).quiet()?;
    Ok(shown.lines().filter_map(name_and_version).collect())
}

/// Reads `serde v1.0.2 (proc-macro) (*)`.
fn name_and_version(line: &str) -> Option<(String, String)> {
    let mut words = line.split_whitespace();
    Some((words.next()?.to_owned(), words.next()?.strip_prefix('v')?.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_cargo_tree_is_read() {
        let want = Some(("serde".to_owned(), "1.0.2".to_owned()));
        assert_eq!(name_and_version("serde v1.0.2 (proc-macro) (*)"), want);
        assert_eq!(name_and_version(""), None);
    }

    #[test]
    fn only_edges_that_end_in_the_process_are_followed() {
        let json = r#"{ "packages": [
            { "id": "a", "name": "a", "version": "1.0.0", "license": null, "source": null, "dependencies": [] } ],
            "workspace_members": ["a"],
            "resolve": { "nodes": [ { "id": "a", "deps": [
                { "pkg": "b", "dep_kinds": [ { "kind": "dev" } ] },
                { "pkg": "c", "dep_kinds": [ { "kind": "build" }, { "kind": null } ] } ] } ] } }"#;
        let metadata = Metadata::parse(json).unwrap();
        assert_eq!(metadata.normal_edges("a").collect::<Vec<_>>(), ["c"]);
    }
}
