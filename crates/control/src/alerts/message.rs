//! What receivers of alerts are sent.
//!
//! INVARIANT: every text in a message is a word of ours, a name of the configuration, or was escaped by the JSON writer.
//!
//! Sources: Alertmanager API v2 (`postAlerts`); RFC 3339 §5.6.

use std::sync::Arc;

use portcullis_core::{Name, UnixMillis};
use portcullis_evidence::event::{AlertState, Severity};
use serde::Serialize;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::monitor::{AlertChange, Rule};

/// One alert as Alertmanager takes it. Its labels are its identity.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Posted<'a> {
    labels: Labels<'a>,
    annotations: Annotations<'a>,
    starts_at: String,
    ends_at: String,
}

#[derive(Debug, Serialize)]
struct Labels<'a> {
    alertname: &'static str,
    severity: &'static str,
    environment: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    edge: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    issuer: Option<&'a str>,
}

#[derive(Debug, Serialize)]
struct Annotations<'a> {
    summary: &'static str,
    description: &'a str,
}

/// What the webhook is told.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Told<'a> {
    state: &'static str,
    #[serde(flatten)]
    labels: Labels<'a>,
    summary: &'static str,
    description: &'a str,
    starts_at: String,
    at: String,
}

fn labels<'a>(change: &'a AlertChange, environment: &'a Name) -> Labels<'a> {
    let about: &Arc<str> = &change.about;
    let (edge, issuer) = match change.rule {
        Rule::IssuerFailing => (None, Some(&**about)),
        _ => (Some(&**about), None),
    };
    let severity = match change.severity {
        Severity::Warning => "warning",
        Severity::Critical => "critical",
    };
    Labels { alertname: change.rule.word(), severity, environment: environment.as_str(), edge, issuer }
}

/// One alert of a POST to Alertmanager.
pub(super) fn posted<'a>(change: &'a AlertChange, environment: &'a Name, ends: UnixMillis) -> Posted<'a> {
    Posted {
        labels: labels(change, environment),
        annotations: Annotations { summary: change.rule.summary(), description: &change.detail },
        starts_at: rfc3339(change.since),
        // One alert that ends before it begins would make Alertmanager refuse all of them.
        ends_at: rfc3339(ends.max(change.since)),
    }
}

/// The body of a POST to the webhook.
pub(super) fn told(change: &AlertChange, environment: &Name) -> Vec<u8> {
    let told = Told {
        state: match change.state {
            AlertState::Firing => "firing",
            AlertState::Resolved => "resolved",
        },
        labels: labels(change, environment),
        summary: change.rule.summary(),
        description: &change.detail,
        starts_at: rfc3339(change.since),
        at: rfc3339(change.at),
    };
    // Texts and structs always serialise.
    serde_json::to_vec(&told).unwrap_or_default()
}

/// A moment as RFC 3339 writes it, in UTC; one beyond the calendar is written as its last day.
pub(super) fn rfc3339(at: UnixMillis) -> String {
    let nanos = i128::from(at.0).saturating_mul(1_000_000);
    let moment = OffsetDateTime::from_unix_timestamp_nanos(nanos).ok();
    moment.and_then(|m| m.format(&Rfc3339).ok()).unwrap_or_else(|| "9999-12-31T23:59:59Z".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_written_as_rfc_3339() {
        let table = [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_400_000, "2000-02-29T00:00:00Z"),
            (1_790_000_000_123, "2026-09-21T14:13:20.123Z"),
            (253_402_300_799_000, "9999-12-31T23:59:59Z"),
            (253_402_300_800_000, "9999-12-31T23:59:59Z"),
            (u64::MAX, "9999-12-31T23:59:59Z"),
        ];
        for (millis, want) in table {
            assert_eq!(rfc3339(UnixMillis(millis)), want, "{millis}");
        }
    }
}
