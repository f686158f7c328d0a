//! `portcullis audit`: reading the record, and proving it whole.
//!
//! Reading is itself recorded, in the record of *control*: by *control* where it runs, else here, since no other process
//! then holds that record. Where neither is possible the reader is told so on standard error; whoever holds the
//! record's key can read it without us, so a refusal would hide that and prevent nothing.
//!
//! INVARIANT: a line is shown only from a frame that was found authentic.
//!
//! Sources: SS028-11.6.1, 11.6.2; MS-SS-5.

mod read;
mod reading;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand, ValueEnum};
use portcullis_core::{Reason, RequestId, UnixMillis};
use portcullis_telemetry::journal::read::Query;

use self::reading::Reading;
use super::Outcome;
use super::loaded::Loaded;
use crate::screen::Screen;

/// Read the audit record, follow it, or verify that nothing in it was changed or is missing.
#[derive(Args)]
pub(crate) struct Audit {
    #[command(subcommand)]
    word: Word,
}

#[derive(Subcommand)]
enum Word {
    /// Verify every seal, signature, number and root. Status 0 when all is well, 1 when not.
    Verify(Which),
    /// Print new records as they come, as JSON lines.
    Tail(Which),
    /// Print records, oldest first, as JSON lines.
    Query(Asked),
}

/// Which record is read.
#[derive(Args)]
pub(crate) struct Which {
    /// The configuration.
    #[arg(short, long, default_value = "portcullis.yaml", value_name = "FILE")]
    pub(crate) config: PathBuf,
    /// Whose record: `edge` has requests, `control` has changes and reads.
    #[arg(long, value_enum, default_value = "edge")]
    pub(crate) of: Role,
}

/// A process that keeps a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Role {
    Edge,
    Control,
}

impl Role {
    /// Its folder, which is the name that its checkpoints carry too.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Edge => "edge",
            Self::Control => "control",
        }
    }
}

#[derive(Args)]
struct Asked {
    #[command(flatten)]
    which: Which,
    /// Of this request.
    #[arg(long, value_parser = request_id)]
    id: Option<RequestId>,
    /// From this time on, such as `2027-03-31T10:00:00Z`.
    #[arg(long, value_parser = moment)]
    since: Option<UnixMillis>,
    /// Before this time.
    #[arg(long, value_parser = moment)]
    until: Option<UnixMillis>,
    /// Of this caller.
    #[arg(long)]
    subject: Option<String>,
    /// Of this service.
    #[arg(long)]
    service: Option<String>,
    /// Refused for this reason, such as `forbidden`.
    #[arg(long, value_parser = reason)]
    reason: Option<Reason>,
    /// Of this kind, such as `ended` or `change`.
    #[arg(long)]
    event: Option<String>,
}

impl Audit {
    /// Reads.
    pub(crate) fn run(self, screen: &Screen) -> Outcome {
        match self.word {
            Word::Verify(which) => verify(&which, screen),
            Word::Tail(which) => {
                let loaded = Loaded::read(&which.config)?;
                reading::note(&loaded, &Reading::shown(which.of, "tail"), screen);
                read::tail(&loaded, which.of, screen)
            }
            Word::Query(asked) => {
                let loaded = Loaded::read(&asked.which.config)?;
                let of = asked.which.of;
                reading::note(&loaded, &Reading::shown(of, &asked.described()), screen);
                read::query(&loaded, of, &asked.query(), screen)
            }
        }
    }
}

/// Also what `demo --check` ends with.
pub(crate) fn verify(which: &Which, screen: &Screen) -> Outcome {
    let loaded = Loaded::read(&which.config)?;
    reading::note(&loaded, &Reading::verified(which.of), screen);
    let report = read::reader(&loaded, which.of)?.verify(&[])?;
    screen.line(report.to_string().trim_end());
    Ok(if report.is_good() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

impl Asked {
    fn query(self) -> Query {
        Query {
            id: self.id,
            since: self.since,
            until: self.until,
            subject: self.subject,
            service: self.service,
            reason: self.reason,
            event: self.event,
        }
    }

    /// For the record of the reading.
    fn described(&self) -> String {
        let shown = [
            ("id", self.id.map(|id| id.to_string())),
            ("since", self.since.map(|at| at.0.to_string())),
            ("until", self.until.map(|at| at.0.to_string())),
            ("subject", self.subject.clone()),
            ("service", self.service.clone()),
            ("reason", self.reason.map(|reason| reason.word().to_owned())),
            ("event", self.event.clone()),
        ];
        let shown = shown.into_iter().filter_map(|(key, value)| value.map(|value| format!(" {key}={value}")));
        format!("query{}", shown.collect::<String>())
    }
}

fn request_id(text: &str) -> Result<RequestId, &'static str> {
    RequestId::parse(text).ok_or("expected the id that the header `x-request-id` of an answer shows")
}

fn reason(text: &str) -> Result<Reason, String> {
    let found = Reason::ALL.iter().find(|reason| reason.word() == text);
    found.copied().ok_or_else(|| {
        let words: Vec<_> = Reason::ALL.iter().map(|reason| reason.word()).collect();
        format!("expected one of {}", words.join(", "))
    })
}

fn moment(text: &str) -> Result<UnixMillis, &'static str> {
    let parsed = time::OffsetDateTime::parse(text, &time::format_description::well_known::Rfc3339).ok();
    let millis = parsed.and_then(|at| u64::try_from(at.unix_timestamp_nanos() / 1_000_000).ok());
    millis.map(UnixMillis).ok_or("expected a time such as `2027-03-31T10:00:00Z`")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_reasons_are_read_as_people_write_them() {
        assert_eq!(moment("1970-01-01T00:00:01.5Z"), Ok(UnixMillis(1_500)));
        assert_eq!(moment("1970-01-01T01:00:00+01:00"), Ok(UnixMillis(0)));
        assert!(moment("yesterday").is_err() && moment("1969-12-31T23:59:59Z").is_err());
        assert_eq!(reason("forbidden"), Ok(Reason::Forbidden));
        assert!(reason("maybe").is_err_and(|told| told.contains("expired-token")));
    }
}
