//! What the journal does when the disk does not do its part, and after a crash at any byte.

use super::disk::Fault;
use super::*;
use crate::journal::state::Mode;

fn full_of(bench: &Bench, worker: usize) -> Option<Full> {
    bench.workers[worker].reserve().err()
}

#[test]
fn records_are_grouped_and_each_group_is_synced_once() {
    let disk = Disk::default();
    let mut bench = Bench::open(&plan(), &disk).expect("opens");
    let syncs = disk.platter().syncs;
    for number in 0..500 {
        bench.record(number % 2, &format!("s{number}"));
    }
    assert!(bench.turn());
    assert_eq!(disk.platter().syncs - syncs, 1);
    assert_eq!(disk.platter().appends, 2, "one for the start, one for the group");
    assert!(bench.turn(), "nothing waits");
    assert_eq!(disk.platter().syncs - syncs, 1, "and nothing is synced");
    assert_eq!(subjects(&disk).len(), 500);
}

#[test]
fn the_loss_window_is_the_longest_that_a_record_waited() {
    let disk = Disk::default();
    let mut bench = Bench::open(&plan(), &disk).expect("opens");
    for wait in [5, 31, 20] {
        bench.record(0, "early");
        bench.clock.turn(Duration::from_millis(wait));
        bench.record(1, "late");
        assert!(bench.turn());
    }
    assert_eq!(bench.writer.gate().state().loss_window, Duration::from_millis(31));
}

#[test]
fn there_are_as_many_places_as_requests_in_flight() {
    let bench = Bench::open(&plan(), &Disk::default()).expect("opens");
    let mut slots: Vec<_> = (0..64).map(|_| bench.workers[0].reserve().expect("a place")).collect();
    assert_eq!(full_of(&bench, 0), Some(Full::Slots));
    assert!(full_of(&bench, 1).is_none(), "each worker has its own");
    slots.pop();
    assert!(bench.workers[0].reserve().is_ok());
}

/// What cannot be recorded is not served, refusals have a reserve, and who has a place always finds room.
#[test]
fn a_full_queue_refuses_places_and_keeps_a_reserve() {
    let disk = Disk::default();
    let mut bench = Bench::open(&plan(), &disk).expect("opens");
    let slot = bench.workers[0].reserve().expect("a place");
    let mut recorded = 0;
    while full_of(&bench, 0).is_none() {
        bench.record(0, "s");
        recorded += 1;
    }
    assert_eq!(full_of(&bench, 0), Some(Full::Queue));
    let record = || bench.workers[0].record(bench.clock.now(), id("r"), &event("refused"));
    let mut reserve = 0;
    while record().is_ok() {
        reserve += 1;
    }
    assert!(recorded >= 2000 && reserve >= 200, "{recorded} {reserve}");
    slot.record(bench.now(), id("x"), &event("decided"));
    slot.record(bench.now(), id("x"), &event("ended"));
    drop(slot);
    assert!(bench.turn());
    assert!(full_of(&bench, 0).is_none(), "the queue is empty again");
    assert_eq!(subjects(&disk).len(), recorded + reserve + 2);
    assert!(verify(&disk).is_good());
}

#[test]
fn a_full_disk_refuses_traffic_and_loses_nothing() {
    for room in [0, 1, 15, 100, 700] {
        let disk = Disk::default();
        let mut bench = Bench::open(&plan(), &disk).expect("opens");
        bench.record(0, "before");
        assert!(bench.turn());
        disk.fail(Fault::FullAfter(room));
        (0..9).for_each(|_| bench.record(1, "during"));
        let synced = bench.workers[1].record_synced(bench.now(), id("s"), &event("change")).expect("room");
        let clock = Arc::clone(&bench.clock);
        let trouble = bench.writer.turn(&*clock, Pace::On).expect_err("full");
        bench.writer.complain(clock.now(), &trouble);
        assert_eq!(bench.writer.gate().mode(), Mode::Failing);
        assert_eq!(full_of(&bench, 0), Some(Full::Failing));
        assert!(bench.workers[0].record(bench.now(), id("r"), &event("r")).is_err());
        assert_eq!(synced.wait(), Err(NotRecorded));
        disk.fail(Fault::None);
        assert!(bench.turn());
        assert!(full_of(&bench, 0).is_none());
        assert_eq!(subjects(&disk).len(), 11, "room for {room}");
        let report = verify(&disk);
        assert!(report.is_good() && report.torn == 0, "{report}");
    }
}

#[test]
fn a_disk_that_is_full_when_a_segment_ends_is_waited_for() {
    for room in [0, 200, 700, 900] {
        let disk = Disk::default();
        let mut bench = Bench::open(&small(1), &disk).expect("opens");
        (0..9).for_each(|_| bench.record(0, "fills the segment"));
        disk.fail(Fault::FullAfter(room));
        for _ in 0..3 {
            assert!(!bench.turn());
        }
        disk.fail(Fault::None);
        for _ in 0..3 {
            assert!(bench.turn());
        }
        bench.record(0, "next");
        assert!(bench.turn());
        assert_eq!(subjects(&disk).len(), 10);
        assert!(verify(&disk).is_good(), "{}", verify(&disk));
    }
}

#[test]
fn a_failed_sync_ends_the_journal() {
    let disk = Disk::default();
    let mut bench = Bench::open(&plan(), &disk).expect("opens");
    let synced = bench.workers[0].record_synced(bench.now(), id("s"), &event("change")).expect("room");
    disk.fail(Fault::Sync);
    let clock = Arc::clone(&bench.clock);
    assert!(!bench.writer.persist(&*clock, Pace::On));
    assert_eq!(synced.wait(), Err(NotRecorded));
    disk.fail(Fault::None);
    assert_eq!(full_of(&bench, 0), Some(Full::Failing), "also when the disk says that it is well again");
    let Bench { writer, workers, clock, .. } = bench;
    drop(writer);
    let late = workers[0].record_synced(clock.now(), id("s"), &event("late"));
    assert_eq!(late.err(), Some(Full::Failing));
}

#[test]
fn who_waits_on_a_writer_that_is_gone_is_told() {
    let bench = Bench::open(&plan(), &Disk::default()).expect("opens");
    let slot = bench.workers[0].reserve().expect("a place");
    let waiting = slot.record_synced(bench.now(), id("a"), &event("a"));
    let Bench { writer, clock, .. } = bench;
    drop(writer);
    assert_eq!(waiting.wait(), Err(NotRecorded));
    assert_eq!(slot.record_synced(clock.now(), id("b"), &event("b")).wait(), Err(NotRecorded));
}

/// The power goes at every byte of the last group: what was synced is there, what is left of the rest is
/// measured, the numbers go on, and the record verifies.
#[test]
fn a_crash_at_any_byte_loses_only_what_was_not_synced() {
    let disk = Disk::default();
    let mut bench = Bench::open(&plan(), &disk).expect("opens");
    bench.record(0, "safe");
    assert!(bench.turn());
    let safe = disk.newest_length();
    bench.record(0, "last");
    bench.record(1, "last");
    assert!(bench.turn());
    for length in safe..=disk.newest_length() {
        let after = disk.cut_to(length);
        let whole = length == disk.newest_length();
        let torn = if whole { 0 } else { length - safe };
        let report = verify(&after);
        assert!(report.is_good(), "cut at {length}: {report}");
        assert_eq!(report.torn, torn as u64);
        let mut again = Bench::open(&plan(), &after).expect("opens again");
        again.record(0, "after");
        assert!(again.turn());
        let want: &[&str] = if whole { &["safe", "last", "last", "after"] } else { &["safe", "after"] };
        assert_eq!(subjects(&after), want, "cut at {length}");
        assert_eq!(starts(&after), ["none".to_owned(), format!("died {torn}")]);
        let report = verify(&after);
        assert!(report.is_good() && report.torn == 0, "{report}");
    }
}

/// How each start says that the run before it ended.
fn starts(disk: &Disk) -> Vec<String> {
    let (mut found, query) = (Vec::new(), Query { event: Some("start".to_owned()), ..Query::default() });
    let asked = reader(disk).query(&query, |record, _| {
        let torn = record.number("torn").map_or_else(String::new, |torn| format!(" {torn}"));
        found.push(format!("{}{torn}", record.text("previous").unwrap_or_default()));
        std::ops::ControlFlow::Continue(())
    });
    asked.expect("readable");
    found
}

/// A power cut may leave zeros, or a last block of the right length with the wrong bytes.
#[test]
fn a_broken_last_block_is_a_loss_and_any_other_is_refused() {
    let disk = Disk::default();
    let mut bench = Bench::open(&plan(), &disk).expect("opens");
    let mut ends = vec![disk.newest_length()];
    for subject in ["one", "two"] {
        bench.record(0, subject);
        assert!(bench.turn());
        ends.push(disk.newest_length());
    }
    let zeros = disk.copy();
    zeros.platter().segments.last_entry().expect("one").get_mut().extend_from_slice(&[0; 4096]);
    assert_eq!(verify(&zeros).torn, 4096);
    Bench::open(&plan(), &zeros).expect("zeros are a loss");
    assert_eq!(starts(&zeros), ["none", "died 4096"]);
    let damage = |at: usize| {
        let copy = disk.copy();
        copy.platter().segments.last_entry().expect("one").get_mut()[at] ^= 1;
        copy
    };
    let last = damage(ends[2] - 1);
    assert!(!verify(&last).is_good(), "to a verifier it is tampering");
    Bench::open(&plan(), &last).expect("to the writer it is a loss that it records");
    assert_eq!(subjects(&last), ["one"]);
    assert_eq!(starts(&last), ["none".to_owned(), format!("died {}", ends[2] - ends[1])]);
    assert!(matches!(Bench::open(&plan(), &damage(ends[1] - 1)).err(), Some(OpenError::Altered { .. })));
    assert!(matches!(Bench::open(&plan(), &damage(40)).err(), Some(OpenError::Altered { .. })));
}

/// A crash between closing a segment and keeping its proof, and in the middle of the proof's line.
#[test]
fn a_proof_that_was_torn_is_made_again() {
    let disk = Disk::default();
    let bench = Bench::open(&plan(), &disk).expect("opens");
    bench.record(0, "a");
    bench.stop();
    let whole = disk.platter().proofs.clone();
    for length in 0..whole.len() {
        let after = disk.copy();
        after.platter().proofs.truncate(length);
        Bench::open(&plan(), &after).expect("opens").stop();
        assert!(after.platter().proofs.starts_with(&whole), "cut at {length}");
        assert!(verify(&after).is_good(), "{}", verify(&after));
    }
}

#[test]
fn sequences_go_on_over_clean_ends_and_crashes() {
    let disk = Disk::default();
    for round in 0..6 {
        let mut bench = Bench::open(&plan(), &disk).expect("opens");
        (0..3).for_each(|n| bench.record(n % 2, "s"));
        assert!(bench.turn());
        if round % 2 == 0 {
            bench.stop();
        }
    }
    let report = verify(&disk);
    assert!(report.is_good(), "{report}");
    assert_eq!(subjects(&disk).len(), 18);
    assert_eq!(starts(&disk), ["none", "clean", "died 0", "clean", "died 0", "clean"]);
}
