//! Syslog, RFC 5424: one message a record, the record's line as its text.
//!
//! INVARIANT: `"`, `\` and `]` in parameter values are escaped; the header has printable ASCII only.
//!
//! Not here: how messages are framed and carried (RFC 5425, TLS).
//!
//! Sources: RFC 5424 §6; threats A10, F8.

use crate::Record;
use crate::sink::{Severity, quote};

/// Facility 13: log audit.
const FACILITY: u8 = 13;

/// Who sends: the host's name and the process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sender {
    host: String,
    process: u32,
}

impl Sender {
    /// A sender; characters that a header may not hold are left out of the host's name.
    #[must_use]
    pub fn new(host: &str, process: u32) -> Self {
        let host: String = host.chars().filter(char::is_ascii_graphic).take(255).collect();
        Self { host: if host.is_empty() { "-".to_owned() } else { host }, process }
    }
}

/// The message of a record, whose line is `line`; without frame and line end.
#[must_use]
pub fn message(sender: &Sender, record: &Record, line: &str) -> String {
    let priority = FACILITY * 8 + Severity::of(record) as u8;
    let mut out = String::with_capacity(line.len() + 256);
    out.push_str(&format!("<{priority}>1 {} {} portcullis ", timestamp(record.time), sender.host));
    out.push_str(&format!("{} ", sender.process));
    out.extend(record.event.chars().filter(char::is_ascii_graphic).take(32));
    out.push_str(&format!(" [portcullis@32473 worker=\"{}\" seq=\"{}\"", record.worker, record.seq));
    for (name, value) in [("id", &record.id), ("env", &record.env)] {
        out.push_str(&format!(" {name}=\""));
        quote(&mut out, value, &['"', '\\', ']']);
        out.push('"');
    }
    out.push_str("] ");
    quote(&mut out, line, &[]);
    out
}

/// Milliseconds since the epoch as RFC 3339 says, in UTC.
fn timestamp(millis: u64) -> String {
    let (days, rest) = (millis / 86_400_000, millis % 86_400_000);
    let (year, month, day) = civil(days);
    let (hour, minute, second) = (rest / 3_600_000, rest / 60_000 % 60, rest / 1000 % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{:03}Z", rest % 1000)
}

/// Days since 1970-01-01 to a date of the Gregorian calendar; years are counted from March, so that the leap day
/// is a year's last.
fn civil(days: u64) -> (u64, u64, u64) {
    let days = days.min(2_932_896) + 719_468; // year 9999 is the last that RFC 3339 can write
    let (era, of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (era * 400 + year_of_era + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_as_rfc_3339_says() {
        let table = [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z"),
            (1_709_251_199_999, "2024-02-29T23:59:59.999Z"),
            (1_760_000_000_123, "2025-10-09T08:53:20.123Z"),
            (4_107_542_400_000, "2100-03-01T00:00:00.000Z"),
        ];
        for (millis, want) in table {
            assert_eq!(timestamp(millis), want);
        }
        assert!(timestamp(u64::MAX).starts_with("9999-12-31T"));
    }

    #[test]
    fn f8_a_host_name_cannot_add_a_field() {
        assert_eq!(Sender::new("a b\n<1>", 1).host, "ab<1>");
        assert_eq!(Sender::new(" \n", 1).host, "-");
    }
}
