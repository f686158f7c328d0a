//! The supply chain: `deny.toml` (in cargo-deny's own format) against the packages that this build resolves.
//!
//! A reader of our own because the cargo-deny that registries give as a binary (0.14) cannot read this cargo's
//! metadata, and building a newer one takes longer than everything else here. What it reads: `graph.targets`,
//! `licenses.allow|exceptions`, `bans.deny`, `sources.allow-registry`, `advisories.ignore`. Any other key of those
//! tables that would loosen something is refused, so that the two tools can never disagree in silence.

use std::path::PathBuf;

use serde::Deserialize;

use super::{advisories, licence};
use crate::fault::{During as _, Fault, Outcome};
use crate::metadata::{Metadata, Package};
use crate::tree;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Rules {
    graph: Graph,
    licenses: Licences,
    bans: Bans,
    sources: Sources,
    advisories: Advisories,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Graph {
    targets: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Licences {
    allow: Vec<String>,
    #[serde(default)]
    exceptions: Vec<Exception>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Exception {
    #[serde(rename = "crate")]
    package: String,
    allow: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Bans {
    deny: Vec<Ban>,
    /// Duplicates are cargo-deny's to list; here they are counted.
    #[serde(rename = "multiple-versions")]
    _multiple_versions: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Ban {
    #[serde(rename = "crate")]
    package: String,
    reason: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Sources {
    #[serde(rename = "unknown-registry")]
    _unknown_registry: Denied,
    #[serde(rename = "unknown-git")]
    _unknown_git: Denied,
    allow_registry: Vec<String>,
}

/// The only setting that is taken for an unknown source.
#[derive(Debug, Deserialize)]
enum Denied {
    #[serde(rename = "deny")]
    Deny,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Advisories {
    ignore: Vec<Ignored>,
}

/// An advisory that we live with, and why.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Ignored {
    pub(crate) id: String,
    pub(crate) reason: String,
}

/// Licences, bans, sources and advisories.
pub(crate) fn check() -> Outcome<String> {
    let rules = Rules::load()?;
    let metadata = Metadata::load(&rules.graph.targets)?;
    let packages = metadata.built(&rules.graph.targets)?;
    let mut findings = Vec::new();
    findings.extend(packages.iter().filter_map(|p| rules.banned(p)));
    findings.extend(packages.iter().filter_map(|p| rules.unlicensed(p)));
    findings.extend(packages.iter().filter_map(|p| rules.foreign(p)));
    let note = match database() {
        Some(archive) => advise(&archive, &rules, &packages, &mut findings)?,
        None => {
            "no advisory data at ../shared/data/rustsec-advisory-db.tar.xz: advisories NOT checked".to_owned()
        }
    };
    if findings.is_empty() {
        return Ok(format!("({} packages; {note})", packages.len()));
    }
    Err(Fault::list("the supply chain breaks deny.toml", &findings))
}

fn advise(
    archive: &std::path::Path,
    rules: &Rules,
    packages: &[&Package],
    findings: &mut Vec<String>,
) -> Outcome<String> {
    let known = advisories::load(archive)?;
    let hits = advisories::matching(&known, packages, &rules.advisories.ignore);
    findings.extend(hits.iter().map(ToString::to_string));
    let stale = rules.advisories.ignore.iter().filter(|i| !advisories::applies(&known, packages, &i.id));
    findings.extend(stale.map(|i| format!("deny.toml ignores {} ({}), which hits nothing", i.id, i.reason)));
    Ok(format!("{} advisories", known.len()))
}

fn database() -> Option<PathBuf> {
    let path = tree::root().join("../shared/data/rustsec-advisory-db.tar.xz");
    path.is_file().then_some(path)
}

impl Rules {
    fn load() -> Outcome<Self> {
        let path = tree::root().join("deny.toml");
        toml::from_str(&tree::read(&path)?).during("deny.toml says something that this check cannot honour")
    }

    fn banned(&self, package: &Package) -> Option<String> {
        let ban = self.bans.deny.iter().find(|ban| ban.package == package.name)?;
        Some(format!("{} {} is banned: {}", package.name, package.version, ban.reason))
    }

    fn unlicensed(&self, package: &Package) -> Option<String> {
        let more = self.licenses.exceptions.iter().find(|e| e.package == package.name).map(|e| &e.allow);
        let allowed =
            |id: &str| self.licenses.allow.iter().chain(more.into_iter().flatten()).any(|a| a == id);
        let Some(stated) = &package.license else {
            return Some(format!("{} {} states no licence", package.name, package.version));
        };
        match licence::satisfied(stated, &allowed) {
            Ok(true) => None,
            Ok(false) => {
                Some(format!("{} {} is `{stated}`, which is not allowed", package.name, package.version))
            }
            Err(why) => Some(format!("{} {}: licence `{stated}`: {why}", package.name, package.version)),
        }
    }

    fn foreign(&self, package: &Package) -> Option<String> {
        let source = package.source.as_ref()?;
        let known = source
            .strip_prefix("registry+")
            .is_some_and(|s| self.sources.allow_registry.iter().any(|r| r == s));
        (!known).then(|| format!("{} {} comes from `{source}`", package.name, package.version))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules() -> Rules {
        Rules::load().unwrap()
    }

    fn package(name: &str, license: Option<&str>, source: Option<&str>) -> Package {
        Package {
            id: name.to_owned(),
            name: name.to_owned(),
            version: semver::Version::new(1, 0, 0),
            license: license.map(str::to_owned),
            source: source.map(str::to_owned),
            dependencies: Vec::new(),
        }
    }

    #[test]
    fn what_the_project_bans_is_banned() {
        for name in
            ["ring", "openssl", "openssl-sys", "native-tls", "serde_yaml", "serde_yml", "rustls-pemfile"]
        {
            assert!(rules().banned(&package(name, None, None)).is_some(), "{name}");
        }
        assert!(rules().banned(&package("aws-lc-rs", None, None)).is_none());
    }

    #[test]
    fn a_licence_or_source_that_nobody_allowed_is_named() {
        let rules = rules();
        assert!(rules.unlicensed(&package("x", Some("MIT"), None)).is_none());
        assert!(rules.unlicensed(&package("x", Some("GPL-3.0-only"), None)).is_some());
        assert!(rules.unlicensed(&package("x", None, None)).is_some());
        assert!(rules.foreign(&package("x", None, Some("git+https://example.com/x"))).is_some());
        assert!(rules.foreign(&package("x", None, None)).is_none(), "our own crates have no source");
    }
}
