//! Known vulnerabilities, unsound and unmaintained packages: the RustSec database against what we resolve.
//!
//! The archive is read as it is, without a network. An advisory that cannot be read fails the check: what we cannot
//! judge we do not wave through.
//!
//! Sources: the advisory format of rustsec/advisory-db (Markdown with a TOML front matter).

use std::fmt;
use std::path::Path;

use semver::{Version, VersionReq};
use serde::Deserialize;

use super::deny::Ignored;
use crate::fault::{During as _, Fault, Outcome};
use crate::metadata::Package;
use crate::run::Run;

/// One advisory.
#[derive(Debug)]
pub(crate) struct Advisory {
    id: String,
    package: String,
    kind: String,
    title: String,
    fixed: Vec<VersionReq>,
}

#[derive(Debug, Deserialize)]
struct FrontMatter {
    advisory: Head,
    versions: Versions,
}

#[derive(Debug, Deserialize)]
struct Head {
    id: String,
    package: String,
    informational: Option<String>,
    withdrawn: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Versions {
    #[serde(default)]
    patched: Vec<String>,
    #[serde(default)]
    unaffected: Vec<String>,
}

/// An advisory and the package that it is about.
#[derive(Debug)]
pub(crate) struct Hit<'a> {
    advisory: &'a Advisory,
    version: &'a Version,
}

impl fmt::Display for Hit<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Advisory { id, package, kind, title, .. } = self.advisory;
        write!(f, "{package} {}: {id} ({kind}): {title}", self.version)
    }
}

/// Reads every advisory of the archive that was not withdrawn.
pub(crate) fn load(archive: &Path) -> Outcome<Vec<Advisory>> {
    // All files of crates/ in one stream, each after a line that names it.
    let program = "printf '\\n@@ %s\\n' \"$TAR_FILENAME\"; cat";
    let args = ["--to-command", program, "--wildcards", "-xJf"];
    let text = Run::new("tar").args(args).args([archive.as_os_str()]).args(["crates/*.md"]).quiet();
    let text = text.during("cannot read the advisory data")?;
    let mut found = Vec::new();
    for file in text.split("\n@@ ").skip(1) {
        let (name, body) = file.split_once('\n').unwrap_or((file, ""));
        found.extend(parse(body).during(name)?);
    }
    if found.len() < 500 {
        return Err(Fault::new(format!("only {} advisories in `{}`", found.len(), archive.display())));
    }
    Ok(found)
}

/// One advisory, or nothing if it was withdrawn.
fn parse(text: &str) -> Outcome<Option<Advisory>> {
    let parts = text.trim_start().strip_prefix("```toml").and_then(|t| t.split_once("\n```"));
    let (matter, rest) = parts.ok_or_else(|| Fault::new("no front matter"))?;
    let FrontMatter { advisory, versions } = toml::from_str(matter).during("front matter")?;
    if advisory.withdrawn.is_some() {
        return Ok(None);
    }
    let mut fixed = Vec::new();
    for range in versions.patched.iter().chain(&versions.unaffected) {
        fixed.push(VersionReq::parse(range).during(format!("version range `{range}`"))?);
    }
    let title = rest.lines().find_map(|line| line.strip_prefix("# ")).unwrap_or("no title").to_owned();
    let kind = advisory.informational.unwrap_or_else(|| "vulnerability".to_owned());
    Ok(Some(Advisory { id: advisory.id, package: advisory.package, kind, title, fixed }))
}

impl Advisory {
    fn hits(&self, version: &Version) -> bool {
        !self.fixed.iter().any(|range| range.matches(version))
    }
}

/// Every advisory about a version that we resolve, but those that deny.toml ignores.
pub(crate) fn matching<'a>(
    known: &'a [Advisory],
    packages: &[&'a Package],
    ignore: &[Ignored],
) -> Vec<Hit<'a>> {
    let mut hits = Vec::new();
    for advisory in known.iter().filter(|a| !ignore.iter().any(|i| i.id == a.id)) {
        let ours = packages.iter().filter(|p| p.name == advisory.package && advisory.hits(&p.version));
        hits.extend(ours.map(|p| Hit { advisory, version: &p.version }));
    }
    hits
}

/// Is the advisory of that id about anything that we resolve?
pub(crate) fn applies(known: &[Advisory], packages: &[&Package], id: &str) -> bool {
    let about = |a: &&Advisory| a.id == id;
    known.iter().filter(about).any(|a| packages.iter().any(|p| p.name == a.package && a.hits(&p.version)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "```toml\n[advisory]\nid = \"RUSTSEC-2026-0001\"\npackage = \"gate\"\ncvss = \
        \"CVSS:4.0/AV:N\"\n[versions]\npatched = [\">= 1.2.3, < 2.0.0\", \">= 2.1.0\"]\nunaffected = [\"< 1.0.0\"]\n```\n\n# It opens\n";

    #[test]
    fn a_version_is_hit_unless_a_range_clears_it() {
        let advisory = parse(TEXT).unwrap().unwrap();
        assert_eq!((advisory.title.as_str(), advisory.kind.as_str()), ("It opens", "vulnerability"));
        let table = [("0.9.9", false), ("1.0.0", true), ("1.2.3", false), ("2.0.5", true), ("2.1.0", false)];
        for (version, want) in table {
            assert_eq!(advisory.hits(&version.parse().unwrap()), want, "{version}");
        }
    }

    #[test]
    fn a_package_of_ours_is_found_and_an_ignored_advisory_is_not_shown() {
        let package = |version: &str| Package {
            id: String::new(),
            name: "gate".to_owned(),
            version: version.parse().unwrap(),
            license: None,
            source: None,
            dependencies: Vec::new(),
        };
        let known = [parse(TEXT).unwrap().unwrap()];
        let (hit, clear) = (package("1.1.0"), package("1.2.3"));
        let ignore = [Ignored { id: "RUSTSEC-2026-0001".to_owned(), reason: "never called".to_owned() }];
        assert_eq!(matching(&known, &[&hit, &clear], &[]).len(), 1);
        assert_eq!(matching(&known, &[&hit, &clear], &ignore).len(), 0);
        assert!(applies(&known, &[&hit], "RUSTSEC-2026-0001"));
        assert!(!applies(&known, &[&clear], "RUSTSEC-2026-0001"), "an exception that hits nothing is stale");
    }

    #[test]
    fn what_cannot_be_read_is_a_fault_and_what_was_withdrawn_is_nothing() {
        assert!(parse("# just text").is_err());
        assert!(parse(&TEXT.replace(">= 2.1.0", "two")).is_err());
        assert!(parse(&TEXT.replace("cvss", "withdrawn")).unwrap().is_none());
    }
}
