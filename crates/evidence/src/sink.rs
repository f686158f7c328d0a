//! What the formats for other systems have in common.
//!
//! They are written from a [`Record`], off the request path. Its texts are escaped already; what each format
//! needs besides is done by its own `quote`, and a character that nobody can see is spelled here too, so that
//! even a record that somebody else made cannot break a line (F8, A10).

use crate::Record;
use crate::safe::visible;

/// How much a record matters, in the numbers of RFC 5424 §6.2.1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Severity {
    Critical = 2,
    Error = 3,
    Warning = 4,
    Notice = 5,
    Informational = 6,
}

impl Severity {
    pub(crate) fn of(record: &Record) -> Self {
        let outcome = record.text("outcome");
        match (record.event.as_str(), record.text("state")) {
            ("alert", Some("firing")) if record.text("severity") == Some("critical") => Self::Critical,
            ("alert", Some("firing")) | ("issuer", Some("failed" | "silent")) => Self::Warning,
            ("keeping", Some("quota-full" | "write-failed")) => Self::Critical,
            ("keeping", Some("quota-70" | "quota-85" | "sink-behind")) => Self::Warning,
            ("crash", _) => Self::Error,
            ("change" | "admin", _) if outcome == Some("refused") => Self::Warning,
            ("ended", _) if outcome == Some("served") => Self::Informational,
            ("decided" | "stop" | "start", _) => Self::Informational,
            _ => Self::Notice,
        }
    }
}

/// Appends `text`, each character of `special` after a backslash, and what cannot be seen as `\u{hex}`.
pub(crate) fn quote(out: &mut String, text: &str, special: &[char]) {
    for c in text.chars() {
        if !visible(c) {
            out.push_str(&format!("\\u{{{:x}}}", u32::from(c)));
            continue;
        }
        if special.contains(&c) {
            out.push('\\');
        }
        out.push(c);
    }
}
