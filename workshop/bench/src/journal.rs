//! `bench journal`: what the record can take by itself, on this disk.
//!
//! One recorder offers records of a whole request as fast as there is room for them; the journal's thread seals, writes
//! and syncs them as it does in the product. Records a second and core: records over the CPU time of both threads.
//!
//! Not here: what is lost when a process is killed (`bench loss`).

use std::sync::Arc;
use std::time::{Duration, Instant};

use portcullis_core::{ByteSize, Clock, Name, RequestId, Sensitive, SystemClock};
use portcullis_evidence::event::{Event, Tls, TlsVersion};
use portcullis_evidence::request::{
    Close, Decided, Ended, Generations, Outcome as Came, Phases, Protocol, Request, Upstream,
};
use portcullis_evidence::segment::JournalKey;
use portcullis_evidence::{CheckpointKey, SafeText, Source, SourceForm};
use portcullis_telemetry::journal::{Directory, Journal, JournalKeys, JournalParts, JournalPlan, QueuePlan};
use portcullis_telemetry::{Level, Log, LogForm};
use serde_json::{Value, json};

use crate::Outcome;
use crate::load::count;
use crate::process;
use crate::stats::{Figure, round};
use crate::wish::Wish;

/// Room for what comes in two seconds.
const RATED: usize = 200_000;
/// A rate that a busy core serves.
const CALM: u32 = 10_000;
const QUOTA: ByteSize = ByteSize::kib(8 << 20);

/// What one round found.
struct Round {
    records: u64,
    wall: Duration,
    used: Duration,
    loss_window: Duration,
    bytes: u64,
}

pub(crate) fn measure(wish: &Wish) -> Outcome<Value> {
    let (mut rounds, mut calm) = (Vec::new(), Vec::new());
    for _ in 0..wish.rounds() {
        rounds.push(fill(wish.span(), None)?);
        calm.push(fill(wish.span(), Some(CALM))?);
    }
    let each = |of: &dyn Fn(&Round) -> f64| Figure::of(&rounds.iter().map(of).collect::<Vec<_>>());
    let core = each(&|r| count(r.records) / r.used.as_secs_f64().max(f64::EPSILON));
    let wall = each(&|r| count(r.records) / r.wall.as_secs_f64().max(f64::EPSILON));
    let bytes = each(&|r| count(r.bytes) / count(r.records.max(1)));
    let window = |rounds: &[Round]| {
        Figure::of(&rounds.iter().map(|r| r.loss_window.as_secs_f64() * 1e3).collect::<Vec<_>>())
    };
    let (full, calm) = (window(&rounds), window(&calm));
    Ok(json!({
        "records_per_second_and_core": round(core.middle), "records_per_second": round(wall.middle),
        "records_per_second_rounds": [round(wall.least), round(wall.most)],
        "bytes_a_record_on_disk": round(bytes.middle),
        "oldest_unsynced_ms_flat_out": round(full.middle), "calm_records_per_second": CALM,
        "oldest_unsynced_ms_calm": round(calm.middle), "oldest_unsynced_ms_calm_worst": round(calm.most),
    }))
}

/// Records for `span`, flat out or at this many a second, with everything synced at the end.
fn fill(span: Duration, rate: Option<u32>) -> Outcome<Round> {
    let place = tempfile::Builder::new().prefix("portcullis-bench-").tempdir().map_err(|e| e.to_string())?;
    let clock = Arc::new(SystemClock::default());
    let journal = open(&place.path().join("journal"), &clock)?;
    let recorder = journal.recorder(0).ok_or("the journal has no worker")?;
    let before = process::own_clock();
    let (start, mut records) = (Instant::now(), 0_u64);
    while start.elapsed() < span {
        if rate.is_some_and(|rate| count(records) > start.elapsed().as_secs_f64() * f64::from(rate)) {
            std::thread::sleep(Duration::from_micros(500));
            continue;
        }
        // No room: the writer is the limit, and gets the core.
        let Ok(slot) = recorder.reserve() else {
            std::thread::yield_now();
            continue;
        };
        let now = clock.now();
        slot.record(now, RequestId::new(now.wall, u128::from(records)), &event(records));
        records += 1;
    }
    let loss_window = journal.state().loss_window;
    journal.stop();
    let used = process::own_clock().saturating_sub(before);
    let bytes = on_disk(&place.path().join("journal"));
    Ok(Round { records, wall: start.elapsed(), used, loss_window, bytes })
}

fn on_disk(folder: &std::path::Path) -> u64 {
    let files = std::fs::read_dir(folder).into_iter().flatten().flatten();
    files.filter_map(|file| Some(file.metadata().ok()?.len())).sum()
}

fn open(path: &std::path::Path, clock: &Arc<SystemClock>) -> Outcome<Journal> {
    let environment = Name::parse("test").map_err(|e| e.to_string())?;
    let queue = QueuePlan { slots: 1_024, rated: RATED };
    let plan = JournalPlan::new(environment, 1, queue, QUOTA).map_err(|e| e.to_string())?;
    let sign = CheckpointKey::new("bench", &Sensitive::new([2; 32])).map_err(|e| e.to_string())?;
    let keys = JournalKeys { seal: JournalKey::new(Sensitive::new([1; 32])), sign };
    let parts = JournalParts {
        storage: Box::new(Directory::open(path).map_err(|e| e.to_string())?),
        clock: Arc::clone(clock) as Arc<dyn Clock>,
        metrics: Arc::default(),
        log: Arc::new(Log::to(Box::new(std::io::sink()), "bench", LogForm::Text, Level::Error)),
        mirror: None,
    };
    Journal::open(&plan, keys, parts).map_err(|e| e.to_string())
}

/// The record of a request as the secure chain writes it, without the caller.
fn event(number: u64) -> Event<'static> {
    let request = Request {
        source: Source::of([127, 0, 0, 1].into(), SourceForm::Full),
        via: None,
        protocol: Protocol::Http1,
        tls: Some(Tls { version: TlsVersion::V13, client: None }),
        method: SafeText::new("GET"),
        service: None,
        route: Some("/orders/{id}"),
        params: &[],
        trace: None,
    };
    let decided = Decided {
        request,
        caller: None,
        rules: &[],
        generations: Generations::default(),
        limit: None,
        findings: &[],
    };
    Event::Ended(Ended {
        decided: Some(decided),
        outcome: Came::Served { status: 200 },
        close: Close::Complete,
        phases: Phases { total: number % 1_000, ..Phases::default() },
        bytes_in: 0,
        bytes_out: 1_024,
        upstream: Some(Upstream { endpoint: SafeText::new("127.0.0.1:9000"), attempts: 1 }),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_round_counts_what_it_recorded() {
        let round = fill(Duration::from_millis(50), None).unwrap();
        assert!(round.records > 0 && round.bytes > round.records * 100, "{} bytes", round.bytes);
        assert!(round.used > Duration::ZERO && round.wall >= Duration::from_millis(50));
    }
}
