//! What a process tells its operator, on standard error.
//!
//! This is not the record: lines here are for people, may be lost and prove nothing. Security events go to the
//! journal. The message is a text of ours and its facts are escaped and bounded like those of a record, so that
//! nothing a stranger sent can forge a line or move the cursor (F8).
//!
//! INVARIANT: one line is one write; a line that cannot be written is lost, and nobody waits for it.

use std::error::Error;
use std::fmt;
use std::io::Write;
use std::sync::{Mutex, PoisonError};

use portcullis_core::UnixMillis;
use portcullis_evidence::{Object, SafeText};

/// How much a line matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Something does not work.
    Error,
    /// Something may stop working.
    Warning,
    /// Something happened.
    Notice,
    /// For finding a fault.
    Detail,
}

impl Level {
    /// The word of it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Notice => "notice",
            Self::Detail => "detail",
        }
    }
}

/// How lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogForm {
    /// `warning: message key=value`, for a terminal; journald adds the time.
    Text,
    /// One JSON object a line.
    Json,
}

/// A fact of a line: a constant key and anything that can be shown.
pub type Fact<'a> = (&'static str, &'a (dyn fmt::Display + 'a));

/// Where a process writes its lines.
pub struct Log {
    form: LogForm,
    least: Level,
    role: &'static str,
    out: Mutex<Box<dyn Write + Send>>,
}

impl Log {
    /// A log on standard error, of a process of this role, with lines up to `least`.
    #[must_use]
    pub fn to_stderr(role: &'static str, form: LogForm, least: Level) -> Self {
        Self::to(Box::new(std::io::stderr()), role, form, least)
    }

    /// A log to anything that takes bytes.
    #[must_use]
    pub fn to(out: Box<dyn Write + Send>, role: &'static str, form: LogForm, least: Level) -> Self {
        Self { form, least, role, out: Mutex::new(out) }
    }

    /// Writes a line, unless it matters less than the log wants.
    pub fn say(&self, at: UnixMillis, level: Level, message: &'static str, facts: &[Fact<'_>]) {
        if level > self.least {
            return;
        }
        let line = match self.form {
            LogForm::Text => self.text(level, message, facts),
            LogForm::Json => self.json(at, level, message, facts),
        };
        let mut out = self.out.lock().unwrap_or_else(PoisonError::into_inner);
        // There is nowhere to say that this failed.
        let _ = out.write_all(&line).and_then(|()| out.flush());
    }

    fn text(&self, level: Level, message: &str, facts: &[Fact<'_>]) -> Vec<u8> {
        let mut line = format!("{}: {}: {message}", self.role, level.word());
        for (key, value) in facts {
            let value = value.to_string();
            line.push_str(&format!(" {key}=`{}`", SafeText::new(&value)));
        }
        line.push('\n');
        line.into_bytes()
    }

    fn json(&self, at: UnixMillis, level: Level, message: &str, facts: &[Fact<'_>]) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(256);
        let mut line = Object::begin(&mut bytes);
        line.number("time", at.0);
        line.safe("level", SafeText::new(level.word()));
        line.safe("role", SafeText::new(self.role));
        line.safe("message", SafeText::new(message));
        for (key, value) in facts {
            line.safe(key, SafeText::new(&value.to_string()));
        }
        line.end();
        bytes.push(b'\n');
        bytes
    }
}

impl fmt::Debug for Log {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Log").field("role", &self.role).field("form", &self.form).finish_non_exhaustive()
    }
}

/// An error with its causes, on one line.
#[derive(Clone, Copy, Debug)]
pub struct Chain<'a>(pub &'a (dyn Error + 'a));

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        let mut cause = self.0.source();
        for _ in 0..16 {
            let Some(this) = cause else { break };
            write!(f, ": {this}")?;
            cause = this.source();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[derive(Clone, Default)]
    struct Page(Arc<Mutex<Vec<u8>>>);

    impl Write for Page {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().expect("not poisoned").extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    fn written(form: LogForm, level: Level, value: &str) -> String {
        let page = Page::default();
        let log = Log::to(Box::new(page.clone()), "edge", form, Level::Notice);
        log.say(UnixMillis(7), level, "cannot read a file", &[("file", &value)]);
        let bytes = page.0.lock().expect("not poisoned").clone();
        String::from_utf8(bytes).expect("text")
    }

    #[test]
    fn a_line_has_the_form_that_was_asked_for() {
        assert_eq!(written(LogForm::Text, Level::Error, "a"), "edge: error: cannot read a file file=`a`\n");
        let json = r#"{"time":7,"level":"notice","role":"edge","message":"cannot read a file","file":"a"}"#;
        assert_eq!(written(LogForm::Json, Level::Notice, "a"), format!("{json}\n"));
        assert_eq!(written(LogForm::Text, Level::Detail, "a"), "");
    }

    #[test]
    fn f8_a_fact_cannot_forge_a_line() {
        for hostile in ["x\nedge: error: forged", "\u{1b}[2J", "\u{202e}gnp.exe", "a\"} , {\"level\":\"x\r"] {
            for form in [LogForm::Text, LogForm::Json] {
                let line = written(form, Level::Error, hostile);
                assert_eq!(line.matches('\n').count(), 1, "{line:?}");
                assert!(!line.trim_end().chars().any(|c| c.is_control() || c == '\u{202e}'), "{line:?}");
            }
        }
    }

    #[test]
    fn a_chain_names_every_cause() {
        let cause = std::io::Error::other("the disk is full");
        let error = portcullis_evidence::record::RecordFault::Form(serde_json::Error::io(cause));
        assert_eq!(Chain(&error).to_string(), "the line is not a record: the disk is full");
    }
}
