//! The journal as it runs: its thread, its directory, its mirror.

use std::sync::mpsc;

use portcullis_core::SystemClock;

use super::*;

fn running(storage: Box<dyn Storage>, mirror: Option<Mirror>) -> (Journal, Arc<Metrics>, SystemClock) {
    let metrics = Arc::<Metrics>::default();
    let parts = JournalParts {
        storage,
        clock: Arc::new(SystemClock::default()),
        metrics: Arc::clone(&metrics),
        log: Arc::new(Log::to(Box::new(std::io::sink()), "test", LogForm::Text, Level::Error)),
        mirror,
    };
    (Journal::open(&plan(), keys(), parts).expect("opens"), metrics, SystemClock::default())
}

#[test]
fn a_directory_keeps_what_was_recorded_and_only_one_writes_there() {
    let place = tempfile::tempdir().expect("a directory");
    let path = place.path().join("journal");
    for round in 1..=3 {
        let (journal, _, clock) = running(Box::new(Directory::open(&path).expect("opens")), None);
        assert!(Directory::open(&path).is_err(), "the lock is held");
        let recorder = journal.recorder(0).expect("a worker");
        let synced = recorder.record_synced(clock.now(), id("a"), &event("a")).expect("room");
        assert_eq!(synced.wait(), Ok(()));
        assert!(journal.recorder(2).is_none() && journal.process().worker() == PROCESS);
        journal.stop();
        let read = Directory::open_to_read(&path).expect("opens");
        let reader = JournalReader::new(Box::new(read), keys().seal, keys().sign.verifier());
        let report = reader.verify(&[]).expect("reads");
        assert!(report.is_good() && report.segments == round && report.unsigned == 0, "{report}");
    }
    use std::os::unix::fs::PermissionsExt as _;
    for entry in std::fs::read_dir(&path).expect("reads") {
        let mode = entry.expect("an entry").metadata().expect("metadata").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
    assert_eq!(std::fs::metadata(&path).expect("there").permissions().mode() & 0o777, 0o700);
    assert!(Directory::open_to_read(&place.path().join("nowhere")).is_err());
}

#[test]
fn a_follower_of_a_directory_sees_records_as_they_become_safe() {
    let place = tempfile::tempdir().expect("a directory");
    let (journal, _, clock) = running(Box::new(Directory::open(place.path()).expect("opens")), None);
    let read = Directory::open_to_read(place.path()).expect("opens");
    let reader = JournalReader::new(Box::new(read), keys().seal, keys().sign.verifier());
    let mut tail = reader.tail().expect("opens");
    for number in 0..3 {
        let subject = format!("n{number}");
        let synced = journal.process().record_synced(clock.now(), id("a"), &event(&subject)).expect("room");
        assert_eq!(synced.wait(), Ok(()));
        let mut seen = Vec::new();
        let polled = tail.poll(&mut |record, _| {
            seen.extend(record.text("subject").map(str::to_owned));
            std::ops::ControlFlow::Continue(())
        });
        polled.expect("readable");
        assert_eq!(seen, [subject]);
    }
}

/// What a task on a data-plane core awaits resolves by the writer's thread.
#[test]
fn a_task_can_await_its_record() {
    let disk = Disk::default();
    let (journal, _, clock) = running(Box::new(disk.clone()), None);
    let slot = journal.recorder(0).expect("a worker").reserve().expect("a place");
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let synced = runtime.block_on(slot.record_synced(clock.now(), id("a"), &event("decided")));
    assert_eq!(synced, Ok(()));
    assert_eq!(subjects(&disk), ["decided"]);
}

#[test]
fn every_record_of_many_threads_is_there_once_in_order() {
    let disk = Disk::default();
    let (journal, metrics, clock) = running(Box::new(disk.clone()), None);
    let (journal_ref, clock) = (&journal, &clock);
    std::thread::scope(|scope| {
        for worker in 0..2u16 {
            let recorder = journal_ref.recorder(worker).expect("a worker");
            scope.spawn(move || {
                for number in 0..3000 {
                    let slot = loop {
                        match recorder.reserve() {
                            Ok(slot) => break slot,
                            Err(_) => std::thread::yield_now(),
                        }
                    };
                    slot.record(clock.now(), id("x"), &event(&format!("w{worker}n{number}")));
                }
            });
        }
    });
    journal.stop();
    let all = subjects(&disk);
    for worker in 0..2 {
        let of: Vec<_> = all.iter().filter(|s| s.starts_with(&format!("w{worker}"))).cloned().collect();
        assert_eq!(of, (0..3000).map(|n| format!("w{worker}n{n}")).collect::<Vec<_>>());
    }
    assert!(verify(&disk).is_good());
    assert_eq!(metrics.record_lines.value(), 6002, "and the start and the stop");
}

/// A stream that hands each write over and can be held up.
struct Pipe(mpsc::SyncSender<Vec<u8>>);

impl std::io::Write for Pipe {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let sent = self.0.send(bytes.to_vec());
        sent.map(|()| bytes.len()).map_err(|_| std::io::ErrorKind::BrokenPipe.into())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_mirror_is_given_the_lines_that_are_safe() {
    let (into, out) = mpsc::sync_channel(100);
    let mirror = Mirror::start("stdout", Box::new(Pipe(into))).expect("starts");
    let (journal, _, clock) = running(Box::new(Disk::default()), Some(mirror));
    journal.process().record(clock.now(), id("a"), &event("a")).expect("room");
    journal.stop();
    let text = String::from_utf8(out.iter().flatten().collect()).expect("text");
    let lines: Vec<_> = text.lines().collect();
    assert!(text.ends_with('\n') && lines.len() == 3, "{text}");
    assert!(lines.iter().all(|line| serde_json::from_str::<serde_json::Value>(line).is_ok()));
}

/// Nobody reads standard output: the journal goes on, the lines that found no room are counted, and the count
/// is recorded.
#[test]
fn a_stuck_mirror_holds_nothing_up_and_its_losses_are_recorded() {
    let (into, out) = mpsc::sync_channel(0);
    let mirror = Mirror::start("stdout", Box::new(Pipe(into))).expect("starts");
    let disk = Disk::default();
    let (journal, metrics, clock) = running(Box::new(disk.clone()), Some(mirror));
    let subject = "s".repeat(250);
    let mut sent = 0u64;
    let dropped = metrics.sink_dropped.at(&crate::metrics::Word("stdout"));
    while dropped.value() == 0 {
        let event = event(&subject);
        let last =
            (0..1000).map(|_| journal.process().record(clock.now(), id("a"), &event)).filter(Result::is_ok);
        sent += last.count() as u64;
        let synced = journal.process().record_synced(clock.now(), id("a"), &event);
        sent += u64::from(synced.is_ok_and(|synced| synced.wait().is_ok()));
    }
    let synced = journal.process().record_synced(clock.now(), id("a"), &event("after")).expect("room");
    assert_eq!(synced.wait(), Ok(()));
    drop(out);
    journal.stop();
    assert_eq!(subjects(&disk).len() as u64, sent + 1, "nothing is missing in the journal");
    let (mut told, query) = (0, Query { event: Some("keeping".into()), ..Query::default() });
    let asked = reader(&disk).query(&query, |record, _| {
        told += record.number("count").filter(|_| record.text("state") == Some("sink-behind")).unwrap_or(0);
        std::ops::ControlFlow::Continue(())
    });
    asked.expect("readable");
    assert!(told > 0 && told <= dropped.value());
}

/// What one record costs the worker and the writer, on a disk in memory and on a real directory. Printed, not
/// judged: the machine is shared.
#[test]
fn the_price_of_a_record_is_printed() {
    let place = tempfile::tempdir().expect("a directory");
    println!("in memory:   {}", price(Box::new(Disk::default())));
    println!("on the disk: {}", price(Box::new(Directory::open(place.path()).expect("opens"))));
}

#[expect(clippy::disallowed_methods, reason = "it measures")]
fn price(storage: Box<dyn Storage>) -> String {
    let (clock, queue) = (Hands::new(), QueuePlan { slots: 64, rated: 50_000 });
    let plan = JournalPlan::new(Name::parse("test").expect("a name"), 1, queue, ByteSize::kib(512 * 1024));
    let parts = JournalParts { storage, ..parts(&Disk::default(), &clock) };
    let (mut writer, _) = Writer::open(&plan.expect("a plan"), keys(), parts).expect("opens");
    let recorder = Recorder::new(Arc::clone(&writer.queues()[0]), writer.gate());
    let subject = "s".repeat(250);
    let (mut added, mut written) = (Duration::ZERO, Duration::ZERO);
    for _ in 0..20 {
        let begun = Instant::now();
        for _ in 0..2000 {
            recorder.record(clock.now(), id("a"), &event(&subject)).expect("room");
        }
        added += begun.elapsed();
        let begun = Instant::now();
        assert!(writer.turn(&*clock, Pace::On).is_ok());
        written += begun.elapsed();
    }
    format!("{:?} a record in the worker, {:?} in the writer", added / 40_000, written / 40_000)
}
