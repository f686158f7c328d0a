//! ArcSight's Common Event Format, version 0: one line a record.
//!
//! INVARIANT: `|` and `\` in the header, `=` and `\` in the extension are escaped, and no line break can occur.
//!
//! Sources: Micro Focus, "Implementing ArcSight Common Event Format", v26; threats A10, F8.

use crate::Record;
use crate::sink::{Severity, quote};

/// Which of our facts goes under which key of CEF's dictionary.
const EXTENSION: &[(&str, &str)] = &[
    ("src", "source"),
    ("suser", "caller.subject"),
    ("requestMethod", "method"),
    ("request", "route"),
    ("destinationServiceName", "service"),
    ("dst", "upstream"),
    ("outcome", "outcome"),
    ("reason", "reason"),
    ("act", "action"),
    ("cat", "class"),
    ("msg", "why"),
    ("cnt", "count"),
    ("in", "in"),
    ("out", "out"),
    ("suid", "uid"),
];

/// The record as one CEF line, without a line end.
#[must_use]
pub fn line(record: &Record) -> String {
    let mut out = String::with_capacity(512);
    out.push_str("CEF:0|Portcullis|portcullis|1|");
    quote(&mut out, &record.event, &['\\', '|']);
    out.push('|');
    quote(&mut out, record.text("reason").or(record.text("state")).unwrap_or(&record.event), &['\\', '|']);
    out.push_str(&format!("|{}|rt={}", severity(record), record.time));
    pair(&mut out, "externalId", &record.id);
    pair(&mut out, "dvchost", &record.env);
    for (key, fact) in EXTENSION {
        if let Some(text) = record.text(fact) {
            pair(&mut out, key, text);
        } else if let Some(number) = record.number(fact) {
            out.push_str(&format!(" {key}={number}"));
        }
    }
    out
}

fn pair(out: &mut String, key: &str, value: &str) {
    out.push(' ');
    out.push_str(key);
    out.push('=');
    quote(out, value, &['\\', '=']);
}

/// CEF counts from 0 to 10, upwards.
fn severity(record: &Record) -> u8 {
    match Severity::of(record) {
        Severity::Critical => 10,
        Severity::Error => 8,
        Severity::Warning => 7,
        Severity::Notice => 4,
        Severity::Informational => 1,
    }
}
