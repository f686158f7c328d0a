//! Sizes that ask for a second look: files over 400 lines without their tests, functions over 60.
//!
//! Reads rustfmt's layout, not Rust: a function ends at the closing brace that stands as deep as its `fn`. Files of
//! tests are exempt; a longer one with a good reason is listed here with it.

use std::path::{Path, PathBuf};

use crate::fault::{Fault, Outcome};
use crate::tree;

const FILE_LIMIT: usize = 400;
const FUNCTION_LIMIT: usize = 60;

/// `path` or `path::function`, and why it is allowed to be longer.
const LONGER: &[(&str, &str)] = &[];

/// One function.
#[derive(Debug, PartialEq, Eq)]
struct Function {
    name: String,
    lines: usize,
}

/// What was counted over the whole tree.
#[derive(Default)]
struct Sizes {
    findings: Vec<String>,
    functions: Vec<usize>,
    lines: usize,
    test_lines: usize,
}

/// Names what is too long and prints how long things usually are.
pub(crate) fn check() -> Outcome<String> {
    let mut files = Vec::new();
    for path in tree::files(".rs")? {
        let text = tree::read(&tree::root().join(&path))?;
        files.push((path, text));
    }
    let tests: Vec<PathBuf> = files.iter().flat_map(|(path, text)| test_modules(path, text)).collect();
    let mut sizes = Sizes::default();
    for (path, text) in &files {
        let code = if is_test(path) || tests.contains(path) { "" } else { production(text) };
        sizes.add(&path.display().to_string(), text, code);
    }
    sizes.report();
    if sizes.findings.is_empty() {
        Ok(String::new())
    } else {
        Err(Fault::list("longer than agreed", &sizes.findings))
    }
}

impl Sizes {
    fn add(&mut self, path: &str, text: &str, code: &str) {
        let length = code.lines().count();
        self.lines += text.lines().count();
        self.test_lines += text.lines().count() - length;
        if length > FILE_LIMIT && !excused(path) {
            self.findings.push(format!("{path}: {length} lines without its tests (limit {FILE_LIMIT})"));
        }
        for function in functions(code) {
            self.functions.push(function.lines);
            let place = format!("{path}::{}", function.name);
            if function.lines > FUNCTION_LIMIT && !excused(&place) {
                self.findings.push(format!("{place}: {} lines (limit {FUNCTION_LIMIT})", function.lines));
            }
        }
    }

    fn report(&mut self) {
        self.functions.sort_unstable();
        let count = self.functions.len();
        let at = |share: usize| self.functions.get(count * share / 100).copied().unwrap_or_default();
        let share = (self.test_lines * 100).checked_div(self.lines).unwrap_or_default();
        println!("   {count} functions: median {} lines, nine in ten under {}", at(50), at(90));
        println!("   {} lines of Rust, {share} % of them tests", self.lines);
    }
}

/// The files of `#[cfg(test)] mod name;` in a file.
fn test_modules(path: &Path, text: &str) -> Vec<PathBuf> {
    let stem = path.file_stem().unwrap_or_default();
    let root = ["lib", "main", "mod"].iter().any(|name| stem == *name);
    let dir = if root { path.with_file_name("") } else { path.with_extension("") };
    let declared =
        text.split("#[cfg(test)]\nmod ").skip(1).filter_map(|rest| rest.lines().next()?.strip_suffix(';'));
    declared.flat_map(|name| [dir.join(format!("{name}.rs")), dir.join(name).join("mod.rs")]).collect()
}

fn excused(place: &str) -> bool {
    LONGER.iter().any(|(name, _)| *name == place)
}

fn is_test(path: &Path) -> bool {
    let path = path.to_string_lossy();
    path.contains("/tests/") || path.ends_with("/tests.rs") || path.starts_with("workshop/e2e/")
}

/// The text up to its test module.
fn production(text: &str) -> &str {
    let end = text.find("\n#[cfg(test)]\nmod ").map_or(text.len(), |at| at + 1);
    text.get(..end).unwrap_or(text)
}

/// Every function with its length, from its `fn` line to its last brace.
fn functions(code: &str) -> Vec<Function> {
    let lines: Vec<&str> = code.lines().collect();
    let mut found = Vec::new();
    for (start, line) in lines.iter().enumerate() {
        let Some(name) = declared(line) else { continue };
        let depth = line.len() - line.trim_start().len();
        let closes = |line: &&str| {
            line.len() - line.trim_start().len() == depth && line.trim_end().ends_with(['}', ';'])
        };
        let rest = lines.get(start..).unwrap_or_default();
        let length = rest.iter().position(closes).map_or(1, |n| n + 1);
        found.push(Function { name, lines: length });
    }
    found
}

/// The name of the function that this line declares.
fn declared(line: &str) -> Option<String> {
    let mut words = line.split_whitespace();
    loop {
        match words.next()? {
            "fn" => break,
            "const" | "async" | "unsafe" | "extern" | "\"C\"" => {}
            word if word == "pub" || word.starts_with("pub(") => {}
            _ => return None,
        }
    }
    let name: String = words.next()?.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
    Some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_function_is_as_long_as_rustfmt_lays_it_out() {
        let code = "pub(crate) const fn one() -> u8 { 1 }\n\nimpl X {\n    pub async fn two(\n        a: u8,\n    ) -> u8 {\n        a\n    }\n}\n\ntrait T {\n    fn three(&self);\n}\n";
        let got: Vec<(String, usize)> = functions(code).into_iter().map(|f| (f.name, f.lines)).collect();
        assert_eq!(got, [("one".to_owned(), 1), ("two".to_owned(), 5), ("three".to_owned(), 1)]);
    }

    #[test]
    fn a_module_of_tests_in_its_own_file_is_known_by_its_declaration() {
        let text = "mod a;\n#[cfg(test)]\nmod attacks;\n#[cfg(test)]\nmod tests {\n}\n";
        let want = |dir: &str| {
            vec![PathBuf::from(format!("{dir}/attacks.rs")), PathBuf::from(format!("{dir}/attacks/mod.rs"))]
        };
        assert_eq!(test_modules(Path::new("x/src/lib.rs"), text), want("x/src"));
        assert_eq!(test_modules(Path::new("x/src/jws.rs"), text), want("x/src/jws"));
    }

    #[test]
    fn tests_do_not_count() {
        assert_eq!(production("a\n#[cfg(test)]\nmod tests {\n}\n"), "a\n");
        assert_eq!(production("#[cfg(test)]\nfn x() {}\n"), "#[cfg(test)]\nfn x() {}\n");
    }
}
