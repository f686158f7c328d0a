//! Why a step failed, in words for a terminal.

use std::fmt;

/// What a step gives.
pub(crate) type Outcome<T = ()> = Result<T, Fault>;

/// One or more lines that say what is wrong and what to do.
#[derive(Debug)]
pub(crate) struct Fault(String);

impl Fault {
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// A fault with one indented line per finding.
    pub(crate) fn list(title: &str, findings: &[String]) -> Self {
        let lines: String = findings.iter().map(|f| format!("\n    {f}")).collect();
        Self(format!("{title}:{lines}"))
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Says what was being done when something else failed.
pub(crate) trait During<T> {
    fn during(self, what: impl fmt::Display) -> Outcome<T>;
}

impl<T, E: fmt::Display> During<T> for Result<T, E> {
    fn during(self, what: impl fmt::Display) -> Outcome<T> {
        self.map_err(|cause| Fault(format!("{what}: {cause}")))
    }
}
