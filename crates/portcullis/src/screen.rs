//! What people see.
//!
//! Results go to standard output, complaints to standard error. Colour is for terminals only and never carries
//! anything that a word does not say too.
//!
//! INVARIANT: a reader that closes the pipe (`portcullis schema | head`) ends nothing with a panic.

use std::fmt::Display;
use std::io::{IsTerminal as _, Write as _};

/// Where a command writes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Screen {
    out: Paint,
    err: Paint,
}

/// Whether a stream shows colours.
#[derive(Clone, Copy, Debug)]
enum Paint {
    Plain,
    Colour,
}

/// What a word means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mood {
    Good,
    Bad,
    Care,
    Title,
}

impl Paint {
    fn of(is_terminal: bool) -> Self {
        if is_terminal { Self::Colour } else { Self::Plain }
    }

    fn on(self, mood: Mood, text: &str) -> String {
        let code = match mood {
            Mood::Good => "32",
            Mood::Bad => "31",
            Mood::Care => "33",
            Mood::Title => "1",
        };
        match self {
            Self::Plain => text.to_owned(),
            Self::Colour => format!("\u{1b}[{code}m{text}\u{1b}[0m"),
        }
    }
}

impl Screen {
    /// The standard streams of the process.
    pub(crate) fn standard() -> Self {
        Self {
            out: Paint::of(std::io::stdout().is_terminal()),
            err: Paint::of(std::io::stderr().is_terminal()),
        }
    }

    /// A line of the result. One that cannot be written is lost: nobody reads it.
    pub(crate) fn line(&self, text: impl Display) {
        let _ = writeln!(std::io::stdout(), "{text}");
    }

    /// A word of the result in its colour.
    pub(crate) fn paint(&self, mood: Mood, text: &str) -> String {
        self.out.on(mood, text)
    }

    /// What went wrong.
    pub(crate) fn error(&self, text: &str) {
        let _ = writeln!(std::io::stderr(), "portcullis: {} {text}", self.err.on(Mood::Bad, "error:"));
    }

    /// What somebody should look at.
    pub(crate) fn warning(&self, text: &str) {
        let _ = writeln!(std::io::stderr(), "portcullis: {} {text}", self.err.on(Mood::Care, "warning:"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colour_is_for_terminals_and_adds_no_meaning() {
        for mood in [Mood::Good, Mood::Bad, Mood::Care, Mood::Title] {
            assert_eq!(Paint::of(false).on(mood, "ok"), "ok");
            assert!(Paint::of(true).on(mood, "ok").contains("ok"));
        }
    }
}
