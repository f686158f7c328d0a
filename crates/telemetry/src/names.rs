//! Every metric that a Portcullis process can show: its name, its help text and its type, in one table.
//!
//! Form: `portcullis_<room>_<noun>_<unit>[_total]`, base units (seconds, bytes).
//!
//! INVARIANT: a metric that is not in this table cannot be written, and each is written under this name only.
//! A golden file holds the list, so that a changed name is seen in review.

use std::fmt::Write as _;

use crate::metrics::{
    CoreLabel, Counter, Family, Gauge, Histogram, Metric, NameLabel, NameWord, ReasonLabel, RouteLabels,
    Seconds, StatusLabels, Word,
};

macro_rules! metrics {
    ($($field:ident: $kind:ty = $name:literal, $help:literal;)*) => {
        /// The metrics of one process.
        #[derive(Debug, Default)]
        pub struct Metrics { $(#[doc = $help] pub $field: $kind),* }

        /// Every metric's name and help text, in the order in which they are written.
        pub const ALL: &[(&str, &str)] = &[$(($name, $help)),*];

        impl Metrics {
            /// All of them, in the Prometheus text format 0.0.4.
            #[must_use]
            pub fn encode(&self) -> String {
                let mut out = String::with_capacity(16 * 1024);
                $(family(&mut out, $name, $help, &self.$field);)*
                out
            }
        }
    };
}

fn family<M: Metric>(out: &mut String, name: &str, help: &str, metric: &M) {
    // Writing to a `String` cannot fail.
    let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} {}", M::KIND);
    metric.series(name, out);
}

metrics! {
    requests: Family<StatusLabels, Counter> = "portcullis_dataplane_requests_total", "Requests that were answered, by service, route and class of status.";
    request_seconds: Family<RouteLabels, Histogram> = "portcullis_dataplane_request_duration_seconds", "Time from the first byte of a request to the last byte of its answer.";
    in_flight: Family<RouteLabels, Gauge> = "portcullis_dataplane_requests_in_flight", "Requests that are being worked on.";
    refusals: Family<ReasonLabel, Counter> = "portcullis_dataplane_refusals_total", "Requests that were refused, by reason.";
    streams_open: Gauge = "portcullis_dataplane_streams_open", "Streams (upgrades, server-sent events, gRPC) that are open.";
    streams_ended: Family<Word, Counter> = "portcullis_dataplane_streams_ended_total", "Streams that ended, by how.";
    core_connections: Family<CoreLabel, Gauge> = "portcullis_dataplane_core_connections", "Open connections of each core.";
    generation: Family<Word, Gauge> = "portcullis_dataplane_generation", "The number of the generation in force, by kind.";
    generations_refused: Family<Word, Counter> = "portcullis_dataplane_generations_refused_total", "Generations that were not put in force, by kind.";
    decisions: Family<Word, Counter> = "portcullis_policy_decisions_total", "Decisions, by answer.";
    decision_cache: Family<Word, Counter> = "portcullis_policy_cache_lookups_total", "Look-ups in the decision cache, by outcome.";
    token_verifications: Family<NameWord, Counter> = "portcullis_token_verifications_total", "Tokens looked at, by issuer and outcome.";
    token_cache: Family<Word, Counter> = "portcullis_token_cache_lookups_total", "Look-ups in the cache of verified tokens, by outcome.";
    issuer_key_age: Family<NameLabel, Seconds> = "portcullis_token_issuer_key_age_seconds", "Time since the keys of an issuer were last read.";
    issuer_refreshes: Family<NameWord, Counter> = "portcullis_token_issuer_refreshes_total", "Times that the keys of an issuer were read, by outcome.";
    limited: Family<NameWord, Counter> = "portcullis_limits_refusals_total", "Requests over a limit, by plan and kind of limit.";
    contract_findings: Family<NameWord, Counter> = "portcullis_contract_findings_total", "Breaches of a contract, by service and class.";
    connections_open: Gauge = "portcullis_net_connections_open", "Connections that are open on the listeners.";
    connections: Counter = "portcullis_net_connections_total", "Connections that were accepted.";
    connections_rejected: Family<Word, Counter> = "portcullis_net_connections_rejected_total", "Connections that were closed before a request, by class.";
    handshakes: Family<Word, Counter> = "portcullis_net_tls_handshakes_total", "TLS handshakes, by outcome.";
    handshake_seconds: Histogram = "portcullis_net_tls_handshake_duration_seconds", "Time that a TLS handshake took.";
    guard_faults: Family<Word, Counter> = "portcullis_net_guard_faults_total", "Messages without one single reading, by class of fault.";
    h2_floods: Family<Word, Counter> = "portcullis_net_h2_floods_total", "HTTP/2 connections that a flood detector closed, by kind of flood.";
    pool_connections: Family<NameWord, Counter> = "portcullis_net_pool_connections_total", "Upstream connections asked for, by service and whether one was made, used again or could not be made.";
    pool_open: Family<NameLabel, Gauge> = "portcullis_net_pool_connections_open", "Upstream connections that are open, by service.";
    retries: Family<NameLabel, Counter> = "portcullis_net_retries_total", "Requests that were sent to another endpoint because no byte of them had been sent, by service.";
    certificate_expiry: Family<NameLabel, Seconds> = "portcullis_net_certificate_expiry_seconds", "Time until a certificate expires; negative after that.";
    clock_offset: Seconds = "portcullis_core_clock_offset_seconds", "Measured offset of this clock from that of the control process.";
    record_lines: Counter = "portcullis_record_lines_total", "Records that are safe on the disk.";
    record_queue: Gauge = "portcullis_record_queue_lines", "Records that are not yet on the disk.";
    record_coalesced: Counter = "portcullis_record_coalesced_total", "Events that were counted in place of being written one by one.";
    record_full: Family<Word, Counter> = "portcullis_record_full_total", "Requests refused because they could not have been recorded, by cause.";
    record_loss_window: Seconds = "portcullis_record_loss_window_seconds", "The longest time that a record waited to be safe on the disk.";
    record_sync_seconds: Histogram = "portcullis_record_sync_duration_seconds", "Time that writing and syncing a group of records took.";
    record_syncs: Counter = "portcullis_record_syncs_total", "Groups of records that were synced.";
    record_bytes: Gauge = "portcullis_record_journal_bytes", "Bytes that the journal takes on the disk.";
    record_quota: Gauge = "portcullis_record_journal_quota_bytes", "Bytes that the journal may take on the disk.";
    record_failures: Counter = "portcullis_record_write_failures_total", "Writes of the journal that failed.";
    sink_dropped: Family<Word, Counter> = "portcullis_record_sink_dropped_total", "Records that a sink besides the journal could not take, by sink.";
}
