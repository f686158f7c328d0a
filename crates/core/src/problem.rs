//! What is wrong with a file, all of it at once.
//!
//! A reader of files (configuration, policy, contract) collects [`Problem`]s instead of stopping at the first, so
//! that one run of `portcullis check` shows everything there is to mend.
//!
//! INVARIANT: at most [`Problems::MOST`] are kept; the rest are counted.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// A place in a file that a person wrote.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Location {
    /// The file as the person named it.
    pub file: Arc<str>,
    /// Counted from one; zero when the whole file is meant.
    pub line: u32,
    /// Counted from one; zero when unknown.
    pub column: u32,
}

impl Location {
    /// The whole of `file`.
    #[must_use]
    pub fn file(file: &str) -> Self {
        Self { file: file.into(), line: 0, column: 0 }
    }

    /// A line and column of `file`.
    #[must_use]
    pub fn at(file: &str, line: u32, column: u32) -> Self {
        Self { file: file.into(), line, column }
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.line, self.column) {
            (0, _) => write!(f, "{}", self.file),
            (line, 0) => write!(f, "{}:{line}", self.file),
            (line, column) => write!(f, "{}:{line}:{column}", self.file),
        }
    }
}

/// One thing to mend: where, which key, what is wrong, and what to write instead if we know.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Problem {
    /// Where it stands.
    pub at: Location,
    /// The dotted key, such as `services.orders.routes[0].path`; empty when the file as a whole is meant.
    pub key: String,
    /// What was found and what was expected, the person's words in backticks.
    pub text: String,
    /// What to do about it.
    pub hint: Option<String>,
    /// The clause of the standard that the setting would break, such as `SS028-11.2.5a`.
    pub clause: Option<String>,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.at)?;
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        f.write_str(&self.text)?;
        if let Some(clause) = &self.clause {
            write!(f, " [breaks {clause}]")?;
        }
        if let Some(hint) = &self.hint {
            write!(f, "\n    {hint}")?;
        }
        Ok(())
    }
}

/// A growing list of [`Problem`]s.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Problems {
    found: Vec<Problem>,
    beyond: usize,
}

impl Problems {
    /// More than this helps nobody.
    pub const MOST: usize = 200;

    /// Adds one.
    pub fn push(&mut self, problem: Problem) {
        if self.found.len() < Self::MOST {
            self.found.push(problem);
        } else {
            self.beyond += 1;
        }
    }

    /// Adds one made of its three usual parts.
    pub fn add(&mut self, at: &Location, key: impl Into<String>, text: impl Into<String>) {
        self.push(Problem { at: at.clone(), key: key.into(), text: text.into(), hint: None, clause: None });
    }

    /// Takes over all of `other`.
    pub fn absorb(&mut self, other: Self) {
        self.beyond += other.beyond;
        other.found.into_iter().for_each(|p| self.push(p));
    }

    /// `Ok(value)` when nothing is wrong.
    ///
    /// # Errors
    /// All problems, in the order of the file.
    pub fn into_result<T>(mut self, value: T) -> Result<T, Self> {
        if self.is_empty() {
            return Ok(value);
        }
        self.found.sort();
        Err(self)
    }

    /// Whether nothing is wrong.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    /// Those that were kept.
    pub fn iter(&self) -> impl Iterator<Item = &Problem> {
        self.found.iter()
    }

    /// How many there are, those beyond [`Problems::MOST`] included.
    #[must_use]
    pub fn count(&self) -> usize {
        self.found.len() + self.beyond
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for problem in &self.found {
            writeln!(f, "{problem}")?;
        }
        if self.beyond > 0 {
            writeln!(f, "and {} more", self.beyond)?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_says_where_what_and_what_to_do() {
        let problem = Problem {
            at: Location::at("portcullis.yaml", 41, 7),
            key: "upstreams.orders.connect_timeout".into(),
            text: "found `5s`, must be shorter than `request_timeout` (`2s`)".into(),
            hint: Some("write `connect_timeout: 1s`".into()),
            clause: Some("SS028-11.1.8a".into()),
        };
        assert_eq!(
            problem.to_string(),
            "portcullis.yaml:41:7: upstreams.orders.connect_timeout: found `5s`, must be shorter than \
             `request_timeout` (`2s`) [breaks SS028-11.1.8a]\n    write `connect_timeout: 1s`"
        );
    }

    #[test]
    fn problems_come_in_the_order_of_the_file_and_are_bounded() {
        let mut all = Problems::default();
        for line in (1..=300).rev() {
            all.add(&Location::at("a.yaml", line, 1), "k", "wrong");
        }
        assert_eq!(all.count(), 300);
        let all = all.into_result(()).expect_err("there are problems");
        assert_eq!(all.iter().count(), Problems::MOST);
        assert!(all.to_string().ends_with("and 100 more\n"));
    }
}
