//! Relative links in Markdown files must lead somewhere: to a file, and to a heading if they name one.

use std::path::{Component, Path, PathBuf};

use crate::fault::{Fault, Outcome};
use crate::tree;

/// Every broken link of every Markdown file of the tree.
pub(crate) fn check() -> Outcome<String> {
    let mut findings = Vec::new();
    let files = tree::files(".md")?;
    for file in &files {
        let text = tree::read(&tree::root().join(file))?;
        for (number, target) in links(&text) {
            if let Some(why) = broken(file, &target) {
                findings.push(format!("{}:{number}: `{target}` {why}", file.display()));
            }
        }
    }
    if findings.is_empty() {
        Ok(format!("({} files)", files.len()))
    } else {
        Err(Fault::list("dead links", &findings))
    }
}

/// The targets of `[text](target)` outside code, with their line.
fn links(text: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    let mut fenced = false;
    for (number, line) in text.lines().enumerate() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        }
        if fenced {
            continue;
        }
        // Inside back quotes stands code: keep what is outside.
        let prose: String = line.split('`').step_by(2).collect::<Vec<_>>().join("`");
        for part in prose.split("](").skip(1) {
            let target = part.split([')', ' ']).next().unwrap_or_default();
            found.push((number + 1, target.to_owned()));
        }
    }
    found
}

/// Why a target leads nowhere, if it does.
fn broken(from: &Path, target: &str) -> Option<String> {
    if target.contains("://") || target.starts_with("mailto:") {
        return None;
    }
    let (path, heading) = target.split_once('#').unwrap_or((target, ""));
    let file = if path.is_empty() { from.to_owned() } else { normal(&from.parent()?.join(path)) };
    let whole = tree::root().join(&file);
    if !whole.exists() {
        return Some("is not there".to_owned());
    }
    if heading.is_empty() || file.extension().is_none_or(|e| e != "md") {
        return None;
    }
    let text = tree::read(&whole).ok()?;
    let found = text.lines().filter(|l| l.starts_with('#')).any(|l| anchor(l) == heading);
    (!found).then(|| format!("names no heading of {}", file.display()))
}

/// The path without `.` and `..`.
fn normal(path: &Path) -> PathBuf {
    let mut out = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => {
                out.pop();
            }
            Component::CurDir => {}
            other => out.push(other),
        }
    }
    out
}

/// The anchor that a forge makes of a heading line.
fn anchor(line: &str) -> String {
    let text = line.trim_start_matches('#').trim().to_lowercase();
    let kept = text.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.map(|c| if c == ' ' { '-' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_found_outside_code_only() {
        let text = "see [a](b.md) and [c](d.md#e)\n`[x](no)`\n```text\n[y](no)\n```\n![z](p.png \"t\")\n";
        let got: Vec<(usize, String)> = links(text);
        let want = [(1, "b.md"), (1, "d.md#e"), (6, "p.png")];
        assert_eq!(got, want.map(|(n, t)| (n, t.to_owned())));
    }

    #[test]
    fn headings_become_anchors() {
        assert_eq!(
            anchor("## 4. The request line: proof, not memory"),
            "4-the-request-line-proof-not-memory"
        );
        assert_eq!(normal(Path::new("docs/../a/./b")), PathBuf::from("a/b"));
    }
}
