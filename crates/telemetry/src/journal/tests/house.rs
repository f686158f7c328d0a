//! Segments, retention, quota, queries.

use std::ops::ControlFlow;

use super::*;
use crate::journal::state::{Mode, QuotaAlarm};

/// Records and takes turns until `done`.
fn fill(bench: &mut Bench, mut done: impl FnMut(&Bench) -> bool) -> usize {
    for count in 0..100_000 {
        if done(bench) {
            return count;
        }
        bench.record(count % 2, &format!("{count:0>200}"));
        if count % 16 == 0 {
            bench.clock.turn(Duration::from_millis(20));
            assert!(bench.turn());
        }
    }
    panic!("it never came to that");
}

fn segments(disk: &Disk) -> usize {
    disk.platter().segments.len()
}

#[test]
fn a_segment_ends_by_size_and_by_age() {
    let disk = Disk::default();
    let mut bench = Bench::open(&small(32), &disk).expect("opens");
    fill(&mut bench, |b| segments(&b.disk) == 3);
    let largest = disk.platter().segments.values().map(Vec::len).max().expect("some");
    assert!(largest < 64 * 1024, "{largest}");
    bench.clock.turn(Duration::from_secs(3601));
    bench.record(0, "closes the old one");
    assert!(bench.turn());
    bench.record(0, "begins a new one");
    assert!(bench.turn());
    assert_eq!(segments(&disk), 4);
    assert!(verify(&disk).is_good(), "{}", verify(&disk));
}

#[test]
fn retention_by_size_deletes_segments_and_keeps_proofs() {
    let disk = Disk::default();
    let plan = small(32).keep(None, Some(ByteSize::kib(128))).expect("a plan");
    let mut bench = Bench::open(&plan, &disk).expect("opens");
    let count = fill(&mut bench, |b| b.disk.platter().segments.keys().next() > Some(&4));
    let kept: usize = disk.platter().segments.values().map(Vec::len).sum();
    assert!(kept < 256 * 1024, "{kept}");
    let report = verify(&disk);
    assert!(report.is_good() && report.deleted >= 4, "{report}");
    assert!(report.records < count as u64);
    bench.stop();
    let mut again = Bench::open(&plan, &disk).expect("opens");
    again.record(0, "later");
    assert!(again.turn());
    again.stop();
    let report = verify(&disk);
    assert!(report.is_good(), "{report}");
    let shown = reader(&disk).disclose(id("later")).expect("proved over the deleted segments");
    assert!(shown[0].is_good(&keys().sign.verifier()));
}

#[test]
fn retention_by_age_works_while_nothing_happens() {
    let disk = Disk::default();
    let plan = small(32).keep(Some(Millis::from_secs(60)), None).expect("a plan");
    let mut bench = Bench::open(&plan, &disk).expect("opens");
    fill(&mut bench, |b| segments(&b.disk) == 4);
    bench.clock.turn(Duration::from_secs(61));
    assert!(bench.turn(), "announces");
    assert!(bench.turn(), "records the announcement, then deletes");
    assert_eq!(disk.platter().segments.keys().copied().collect::<Vec<_>>(), [3, 4]);
    assert!(verify(&disk).is_good(), "{}", verify(&disk));
}

/// What cannot be deleted is no reason to refuse traffic; it counts against the quota and is tried again.
#[test]
fn a_segment_that_cannot_be_deleted_is_tried_again() {
    let disk = Disk::default();
    let plan = small(32).keep(Some(Millis::from_secs(60)), None).expect("a plan");
    let mut bench = Bench::open(&plan, &disk).expect("opens");
    fill(&mut bench, |b| segments(&b.disk) == 4);
    let used = bench.writer.gate().state().used;
    disk.fail(disk::Fault::Remove);
    bench.clock.turn(Duration::from_secs(61));
    for _ in 0..3 {
        assert!(bench.turn());
    }
    assert!(bench.writer.gate().state().used >= used && bench.workers[0].reserve().is_ok());
    assert_eq!(segments(&disk), 4);
    disk.fail(disk::Fault::None);
    assert!(bench.turn());
    assert_eq!(segments(&disk), 2);
    assert!(bench.writer.gate().state().used < used);
    assert!(verify(&disk).is_good(), "{}", verify(&disk));
}

/// 70 %, 85 %, only refusals, nothing: each is said, and the record stays whole.
#[test]
fn a_quota_warns_twice_and_then_refuses() {
    let disk = Disk::default();
    let mut bench = Bench::open(&plan(), &disk).expect("opens");
    let gate = bench.writer.gate();
    let quota = gate.state().quota;
    let mut seen = Vec::new();
    fill(&mut bench, |_| {
        let state = gate.state();
        let step = (state.alarm(), state.mode);
        if seen.last() != Some(&step) {
            seen.push(step);
        }
        state.mode >= Mode::ReserveOnly
    });
    assert_eq!(
        seen,
        [
            (QuotaAlarm::Quiet, Mode::Open),
            (QuotaAlarm::At70, Mode::Open),
            (QuotaAlarm::At85, Mode::Open),
            (QuotaAlarm::At85, Mode::ReserveOnly),
        ]
    );
    assert_eq!(bench.workers[0].reserve().err(), Some(Full::Quota));
    fill(&mut bench, |_| gate.state().mode == Mode::QuotaFull);
    assert_eq!(bench.workers[0].record(bench.now(), id("r"), &event("r")), Err(Full::Quota));
    assert!(gate.state().used <= quota + quota / 16);
    assert!(bench.turn());
    let said = states(&disk);
    assert_eq!(said, ["quota-70", "quota-85", "quota-full", "quota-full"]);
    assert!(verify(&disk).is_good());
}

fn states(disk: &Disk) -> Vec<String> {
    let (mut said, query) = (Vec::new(), Query { event: Some("keeping".to_owned()), ..Query::default() });
    let asked = reader(disk).query(&query, |record, _| {
        said.extend(record.text("state").map(str::to_owned));
        ControlFlow::Continue(())
    });
    asked.expect("readable");
    said
}

#[test]
fn a_query_shows_what_was_asked_for() {
    let disk = Disk::default();
    let clock = Hands::new();
    let mut bench = Bench::with(&small(1), &disk, &clock).expect("opens");
    for number in 0..20 {
        clock.turn(Duration::from_secs(1));
        bench.record(0, &format!("n{number}"));
        assert!(bench.turn());
    }
    let ask = |query: Query| {
        let mut found = Vec::new();
        let asked = reader(&disk).query(&query, |record, line| {
            assert!(line.starts_with(b"{\"v\":1,"));
            found.extend(record.text("subject").map(str::to_owned));
            ControlFlow::Continue(())
        });
        asked.expect("readable");
        found
    };
    let at = |secs: u64| Some(UnixMillis(1_760_000_000_000 + secs * 1000));
    assert_eq!(ask(Query { id: Some(id("n7")), ..Query::default() }), ["n7"]);
    assert_eq!(ask(Query { since: at(5), until: at(8), ..Query::default() }), ["n4", "n5", "n6"]);
    assert!(ask(Query { service: Some("orders".into()), ..Query::default() }).is_empty());
    assert!(ask(Query { reason: Some(portcullis_core::Reason::Forbidden), ..Query::default() }).is_empty());
    assert_eq!(ask(Query::default()).len(), 20);
    let mut first = 0;
    let asked = reader(&disk).query(&Query::default(), |_, _| {
        first += 1;
        ControlFlow::Break(())
    });
    assert_eq!((asked.is_ok(), first), (true, 1));
}

#[test]
fn a_tail_follows_over_segments() {
    let disk = Disk::default();
    let mut bench = Bench::open(&small(2), &disk).expect("opens");
    bench.record(0, "before");
    assert!(bench.turn());
    let mut tail = reader(&disk).tail().expect("opens");
    // The reader of the test's disk sees a copy, so each poll over a segment's end opens the next one.
    let mut seen = Vec::new();
    for number in 0..40 {
        bench.record(0, &format!("n{number}"));
        assert!(bench.turn());
    }
    let polled = tail.poll(&mut |record, _| {
        seen.extend((record.event == "admin").then(|| record.text("subject").map(str::to_owned)).flatten());
        ControlFlow::Continue(())
    });
    polled.expect("readable");
    assert!(segments(&disk) > 3 && !seen.contains(&"before".to_owned()));
    assert_eq!(seen.last().map(String::as_str), Some("n39"));
}

#[test]
fn c13_nothing_of_a_record_can_be_read_on_the_disk() {
    let disk = Disk::default();
    let bench = Bench::open(&plan(), &disk).expect("opens");
    bench.record(0, "canary-7f3a91");
    bench.stop();
    assert_eq!(subjects(&disk), ["canary-7f3a91"]);
    let platter = disk.platter();
    for bytes in platter.segments.values().chain([&platter.proofs]) {
        assert!(!bytes.windows(6).any(|part| part == b"canary" || part == b"\"event"));
    }
}

#[test]
fn a_plan_that_could_not_be_kept_to_is_refused() {
    let name = || Name::parse("test").expect("a name");
    let queue = QueuePlan { slots: 1, rated: 1 };
    let kib = ByteSize::kib;
    let new =
        |workers, slots, quota| JournalPlan::new(name(), workers, QueuePlan { slots, ..queue }, quota).err();
    assert_eq!(new(0, 1, kib(8192)), Some(PlanFault::Workers));
    assert_eq!(new(1025, 1, kib(8192)), Some(PlanFault::Workers));
    assert_eq!(new(1, 0, kib(8192)), Some(PlanFault::Slots));
    assert_eq!(new(1, 1, kib(8191)), Some(PlanFault::Quota));
    assert_eq!(plan().segments(kib(1025), Millis::SECOND).err(), Some(PlanFault::Quota));
    assert_eq!(plan().sync_within(Millis::from_secs(1)).err(), Some(PlanFault::Group));
    assert_eq!(plan().keep(None, Some(kib(5000))).err(), Some(PlanFault::Keep));
    assert_eq!(small(512).keep(None, Some(kib(1023))).err(), Some(PlanFault::Keep));
}
