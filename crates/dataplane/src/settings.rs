//! The plan's numbers, in the words of `portcullis-net`.
//!
//! INVARIANT: what the plan does not state keeps the safe default of the room that uses it.

use portcullis_core::{ByteSize, Millis};
use portcullis_net::guard::meter::MeterLimits;
use portcullis_net::guard::{Limits, MinRate, Timeouts};
use portcullis_net::listen::CapLimits;
use portcullis_net::pool::PoolSettings;
use portcullis_net::serve::Http2Settings;
use portcullis_snapshot::plan::{Durability, Plan};
use portcullis_telemetry::journal::{JournalPlan, PlanFault, QueuePlan};

/// Sizes of heads.
pub(crate) fn guard_limits(plan: &Plan) -> Limits {
    let limits = &plan.gateway.limits;
    Limits {
        target: limits.target.as_usize(),
        line: limits.header.as_usize(),
        head: limits.head.as_usize(),
        fields: count(limits.header_count),
        crumbs: count(limits.header_count),
        trailers: count(limits.trailer_count),
        trailer_bytes: limits.trailers.as_usize(),
        ..Limits::default()
    }
}

/// Times of heads and bodies.
pub(crate) fn guard_timeouts(plan: &Plan) -> Timeouts {
    let timeouts = &plan.gateway.timeouts;
    let rate = u32::try_from(timeouts.body_least_rate.get()).unwrap_or(u32::MAX);
    Timeouts {
        head: timeouts.head.as_duration(),
        idle: timeouts.idle.as_duration(),
        body: MinRate {
            bytes_per_second: rate,
            grace: timeouts.body_grace.as_duration(),
            stall: timeouts.body_stall.as_duration(),
        },
        write: MinRate::new(rate, timeouts.write_stall.as_duration()),
        ..Timeouts::default()
    }
}

/// What floods an HTTP/2 connection.
pub(crate) fn meter_limits(plan: &Plan) -> MeterLimits {
    let (http2, timeouts) = (&plan.gateway.http2, guard_timeouts(plan));
    // A stream that is not taken is reset by itself, sooner; this ends a connection on which nothing else moves.
    let stall = MinRate::new(timeouts.write.bytes_per_second, timeouts.write.grace.saturating_mul(2));
    MeterLimits {
        window: http2.window.as_duration(),
        resets: http2.resets,
        resets_life: http2.lifetime_resets,
        emitted_resets: http2.emitted_resets,
        pings: http2.pings,
        settings: http2.settings,
        priorities: http2.priorities,
        empty_data: http2.empty_data,
        window_updates: http2.window_updates,
        continuations: http2.continuations,
        streams: count(http2.max_streams).saturating_mul(2),
        incoming: timeouts.body,
        stall,
        write: timeouts.write,
        idle: timeouts.idle,
        ..MeterLimits::default()
    }
}

/// How HTTP/2 is served.
pub(crate) fn http2(plan: &Plan) -> Http2Settings {
    let http2 = &plan.gateway.http2;
    let small = |bytes: ByteSize| u32::try_from(bytes.get()).unwrap_or(u32::MAX >> 1);
    Http2Settings {
        streams: http2.max_streams,
        header_list: small(plan.gateway.limits.head),
        stream_window: small(http2.stream_window),
        connection_window: small(http2.connection_window),
        taking: guard_timeouts(plan).write,
        // One more than the meter lets pass: it reads the bytes first, and names a flood what it is. With h2's own
        // number, which of the two ends the connection would depend on how the bytes were cut.
        pending_resets: count(http2.resets).saturating_add(1),
        ..Http2Settings::default()
    }
}

/// Connections to upstreams that a core keeps. One pool serves all services of a core, so the most generous service sets
/// the numbers and the most impatient one the time; what is in flight is bounded for each service elsewhere.
pub(crate) fn pool(plan: &Plan) -> PoolSettings {
    let usual = PoolSettings::default();
    let pools = || plan.services.iter().map(|s| s.upstream.pool);
    PoolSettings {
        idle: pools().map(|p| count(p.idle)).max().unwrap_or(usual.idle),
        idle_age: pools().map(|p| p.idle_for.as_duration()).min().unwrap_or(usual.idle_age),
        http2_connections: pools()
            .map(|p| count(p.connections.get()))
            .max()
            .unwrap_or(usual.http2_connections),
        ..usual
    }
}

/// Connections, in all and by source.
pub(crate) fn caps(plan: &Plan) -> CapLimits {
    let connections = &plan.gateway.connections;
    CapLimits {
        total: connections.total,
        per_source: connections.per_source,
        handshakes_per_source: connections.handshakes_per_source,
    }
}

fn count(number: u32) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

/// Lines a second that the journal's queues are made for.
const RATED: usize = 20_000;

/// How the record is kept.
pub(crate) fn journal(plan: &Plan, workers: u16) -> Result<JournalPlan, PlanFault> {
    let slots = count(plan.gateway.limits.in_flight);
    let queue = QueuePlan { slots, rated: RATED };
    let quota = ByteSize::new(plan.audit.keep_size.get().saturating_mul(2)).unwrap_or(plan.audit.keep_size);
    let hour = Millis::from_secs(3_600);
    let group = match plan.audit.durability {
        Durability::Group(span) => span,
        Durability::Each => Millis::new(1).unwrap_or(Millis::SECOND),
    };
    JournalPlan::new(plan.environment.name().clone(), workers, queue, quota)?
        .segments(plan.audit.segment, hour)?
        .sync_within(group)?
        .keep(Some(plan.audit.keep_for), Some(plan.audit.keep_size))
}
