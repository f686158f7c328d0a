//! Where something is written, and the list of what is wrong.
//!
//! INVARIANT: what a person wrote goes into a problem only through [`quote`], which shows no line break, no
//! control or direction mark (F8), and nothing that looks like key material (C13).

use std::fmt;
use std::ops::Deref;
use std::rc::Rc;
use std::sync::Arc;

use portcullis_core::{Location, Problem, Problems};

/// Line and column, both from one; zero when unknown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Mark {
    pub(crate) line: u32,
    pub(crate) column: u32,
}

/// A place in a file and the dotted key of it.
#[derive(Clone, Debug)]
pub(crate) struct Site {
    file: Arc<str>,
    mark: Mark,
    key: Option<Rc<KeyPart>>,
}

/// A dotted key, from the inside out; written only when there is a problem.
#[derive(Debug)]
struct KeyPart {
    outer: Option<Rc<Self>>,
    part: Part,
}

#[derive(Debug)]
enum Part {
    Key(Box<str>),
    Item(usize),
}

impl Site {
    pub(crate) fn root(file: &str) -> Self {
        Self { file: file.into(), mark: Mark::default(), key: None }
    }

    /// The value of `key`, which stands at `mark`.
    pub(crate) fn child(&self, key: &str, mark: Mark) -> Self {
        self.below(Part::Key(key.into()), mark)
    }

    /// The item at `index`, which stands at `mark`.
    pub(crate) fn item(&self, index: usize, mark: Mark) -> Self {
        self.below(Part::Item(index), mark)
    }

    fn below(&self, part: Part, mark: Mark) -> Self {
        let key = Rc::new(KeyPart { outer: self.key.clone(), part });
        Self { file: Arc::clone(&self.file), mark, key: Some(key) }
    }

    /// The same key at another mark.
    pub(crate) fn at(mut self, mark: Mark) -> Self {
        self.mark = mark;
        self
    }

    /// The key of something that is missing here.
    pub(crate) fn missing(&self, key: &str) -> Self {
        self.child(key, self.mark)
    }

    pub(crate) fn location(&self) -> Location {
        Location { file: Arc::clone(&self.file), line: self.mark.line, column: self.mark.column }
    }

    /// For `first written at line 7`.
    pub(crate) fn line(&self) -> u32 {
        self.mark.line
    }

    fn key(&self) -> String {
        self.key.as_ref().map(ToString::to_string).unwrap_or_default()
    }
}

impl fmt::Display for KeyPart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(outer) = &self.outer {
            write!(f, "{outer}")?;
        }
        match &self.part {
            Part::Item(index) => write!(f, "[{index}]"),
            Part::Key(key) if self.outer.is_some() => write!(f, ".{}", visible(key)),
            Part::Key(key) => f.write_str(&visible(key)),
        }
    }
}

/// A value and where it is written.
#[derive(Clone, Debug)]
pub(crate) struct At<T> {
    pub(crate) value: T,
    pub(crate) site: Site,
}

impl<T> Deref for At<T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.value
    }
}

/// Collects what is wrong.
#[derive(Debug, Default)]
pub(crate) struct Report {
    problems: Problems,
}

/// What to say beyond the text of a problem.
#[derive(Clone, Debug, Default)]
pub(crate) struct Advice {
    hint: Option<String>,
    clause: Option<&'static str>,
}

impl Advice {
    /// What to write instead.
    pub(crate) fn hint(text: impl Into<String>) -> Self {
        Self { hint: Some(text.into()), clause: None }
    }

    /// The clause of the standard that the setting would break.
    pub(crate) fn breaks(clause: &'static str) -> Self {
        Self { hint: None, clause: Some(clause) }
    }

    /// And what to write instead.
    pub(crate) fn write(mut self, text: impl Into<String>) -> Self {
        self.hint = Some(text.into());
        self
    }
}

impl Report {
    pub(crate) fn say(&mut self, site: &Site, text: impl Into<String>) {
        self.advise(site, text, Advice::default());
    }

    pub(crate) fn advise(&mut self, site: &Site, text: impl Into<String>, advice: Advice) {
        self.problems.push(Problem {
            at: site.location(),
            key: site.key(),
            text: text.into(),
            hint: advice.hint,
            clause: advice.clause.map(str::to_owned),
        });
    }

    pub(crate) fn finish(self) -> Problems {
        self.problems
    }
}

/// Longer texts than this are cut.
const LONGEST_QUOTE: usize = 60;

/// A person's words in backticks, fit to be shown.
pub(crate) fn quote(text: &str) -> String {
    // SECURITY: PEM, and tokens that begin as ours or a JWT does, are never repeated (C13).
    let secret = text.contains("-----BEGIN") || text.starts_with("eyJ");
    if secret {
        return "(not shown: looks like a secret)".into();
    }
    format!("`{}`", visible(text))
}

fn visible(text: &str) -> String {
    let mut out: String = text.chars().take(LONGEST_QUOTE).map(plain).collect();
    if text.chars().nth(LONGEST_QUOTE).is_some() {
        out.push('…');
    }
    out
}

/// Replaces what a terminal or a log reader would act on.
fn plain(c: char) -> char {
    let directs =
        matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}');
    if c.is_control() || directs { '\u{fffd}' } else { c }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn c13_f8_a_quote_shows_no_secret_and_no_control() {
        assert_eq!(quote("a\nb\u{202e}c"), "`a\u{fffd}b\u{fffd}c`");
        assert!(!quote("-----BEGIN PRIVATE KEY-----\nMC4C").contains("MC4C"));
        assert!(!quote("eyJhbGciOiJIUzI1NiJ9.e30.x").contains("hbGci"));
        assert_eq!(quote(&"x".repeat(100)).chars().count(), LONGEST_QUOTE + 3);
    }

    #[test]
    fn a_key_is_dotted() {
        let site =
            Site::root("f").child("services", Mark::default()).item(2, Mark::default()).missing("owner");
        assert_eq!(site.key(), "services[2].owner");
    }
}
