//! Tables of what was reported and what must be said.

use portcullis_core::{Clock as _, Name, SystemClock};
use portcullis_evidence::event::AlertState::{self, Firing, Resolved};
use portcullis_snapshot::keys::FetchedSet;

use super::*;
use crate::testing::plan;

fn monitor(more: &str) -> (Monitor, Now) {
    let now = SystemClock::default().now();
    (Monitor::new(&plan(more), now), now)
}

fn quiet(now: Now) -> Status {
    Status { at: now.wall, ..Status::default() }
}

fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

fn said(changes: &[AlertChange]) -> Vec<(&'static str, AlertState, Severity)> {
    changes.iter().map(|c| (c.rule.word(), c.state, c.severity)).collect()
}

#[test]
fn a_rate_rings_once_and_ends_when_it_has_been_quiet() {
    let (mut monitor, start) =
        monitor("alerts: { rules: { guard_refusals: 10/min, authentication_failures: 5/min } }");
    let mut heard = Vec::new();
    for second in 0..200 {
        let now = start.plus(secs(second));
        let mut status = quiet(now);
        // One of each a second for half a minute; requests without credentials are no attempts.
        let so_far = second.min(30);
        status.guard_faults.insert("smuggled".into(), 1_000 + so_far);
        status.refusals.insert("invalid-token".into(), so_far / 3);
        status.refusals.insert("missing-credentials".into(), second * 4);
        for change in monitor.observe("edge", &status, now) {
            heard.push((second, change.rule.word(), change.state));
        }
    }
    let times: Vec<_> = heard.iter().map(|(_, rule, state)| (*rule, *state)).collect();
    assert_eq!(
        times,
        [
            ("guard-refusals", Firing),
            ("authentication-failures", Firing),
            ("authentication-failures", Resolved),
            ("guard-refusals", Resolved),
        ]
    );
    assert_eq!(heard[0].0, 11, "the eleventh in a minute");
    assert_eq!(heard[1].0, 18, "the sixth in a minute");
    assert!((84..=100).contains(&heard[3].0), "half of it, and {:?} of quiet: {heard:?}", alert::HOLD);
}

#[test]
fn what_a_status_shows_is_judged() {
    use Severity::{Critical, Warning};
    type Change = fn(&mut Status, Now);
    type Want<'a> = &'a [(&'a str, AlertState, Severity)];
    let table: [(Change, Want<'_>); 12] = [
        (|_, _| {}, &[]),
        (|s, _| s.journal_full_percent = 69, &[]),
        (|s, _| s.journal_full_percent = 70, &[("sink-behind", Firing, Warning)]),
        (|s, _| s.journal_full_percent = 85, &[("sink-behind", Firing, Critical)]),
        (|s, _| s.journal_loss_window_ms = 30_001, &[("sink-behind", Firing, Critical)]),
        (|s, _| s.journal_loss_window_ms = 30_000, &[]),
        (|s, n| s.certificate_ends = Some(n.wall.plus(secs(15 * 86_400))), &[]),
        (
            |s, n| s.certificate_ends = Some(n.wall.plus(secs(13 * 86_400))),
            &[("certificate-near-expiry", Firing, Warning)],
        ),
        (|s, n| s.certificate_ends = Some(n.wall), &[("certificate-near-expiry", Firing, Critical)]),
        (|s, n| s.at = UnixMillis(n.wall.0 - 2_000), &[]),
        (|s, n| s.at = UnixMillis(n.wall.0 - 2_001), &[("clock-offset", Firing, Warning)]),
        (|s, n| s.at = n.wall.plus(secs(31)), &[("clock-offset", Firing, Critical)]),
    ];
    for (change, want) in table {
        let (mut monitor, now) = monitor("");
        let mut status = quiet(now);
        change(&mut status, now);
        assert_eq!(said(&monitor.observe("edge", &status, now)), want, "{status:?}");
        assert_eq!(monitor.observe("edge", &status, now), [], "said once: {status:?}");
        assert_eq!(monitor.active().len(), want.len());
    }
}

#[test]
fn a_value_at_its_threshold_does_not_ring_all_day() {
    let (mut monitor, start) = monitor("");
    let mut heard = Vec::new();
    for second in 0..600 {
        let now = start.plus(secs(second));
        let status = Status { journal_full_percent: if second % 2 == 0 { 70 } else { 60 }, ..quiet(now) };
        heard.extend(monitor.observe("edge", &status, now));
    }
    assert_eq!(said(&heard), [("sink-behind", Firing, Severity::Warning)]);
}

#[test]
fn a_severity_that_grows_is_said_and_begins_no_second_alert() {
    let (mut monitor, start) = monitor("");
    let mut heard = Vec::new();
    for (second, percent) in [(0, 70), (1, 84), (2, 85), (3, 99), (4, 60), (20, 60)] {
        let now = start.plus(secs(second));
        heard.extend(monitor.observe("edge", &Status { journal_full_percent: percent, ..quiet(now) }, now));
    }
    let want = [Severity::Warning, Severity::Critical, Severity::Critical];
    assert_eq!(heard.iter().map(|c| c.severity).collect::<Vec<_>>(), want);
    assert!(heard.iter().all(|c| c.since == start.wall) && heard[2].state == Resolved);
}

#[test]
fn a_data_plane_that_says_nothing_is_away_until_it_reports() {
    let (mut monitor, start) = monitor("");
    monitor.observe(CONTROL, &quiet(start), start);
    monitor.observe("edge-7", &quiet(start), start);
    monitor.expect("edge-8", start);
    assert_eq!(monitor.tick(start.plus(secs(3))), []);
    let later = start.plus(secs(4));
    let away = monitor.tick(later);
    let about: Vec<_> = away.iter().map(|c| (c.rule, &*c.about)).collect();
    assert_eq!(about, [(Rule::EdgeAway, "edge-7"), (Rule::EdgeAway, "edge-8")]);
    assert_eq!(monitor.tick(later.plus(secs(60))), [], "said once");
    let back = monitor.observe("edge-7", &quiet(later), later);
    assert_eq!(said(&back), [("edge-away", Resolved, Severity::Critical)]);
    assert_eq!(said(&monitor.forget("edge-8", later)), [("edge-away", Resolved, Severity::Critical)]);
    assert_eq!(monitor.tick(later.plus(secs(2))), []);
}

#[test]
fn a_generation_that_was_refused_is_an_alert_until_one_is_taken() {
    let (mut monitor, now) = monitor("");
    let problems = ["a.yaml:3: wrong".to_owned(), "more".to_owned()];
    let raised = monitor.refused("edge", Generation(9), &problems, now);
    assert_eq!(&*raised[0].detail, "generation 9 was refused with 2 problems, first: a.yaml:3: wrong");
    assert_eq!(said(&monitor.took("edge", now)), [("generation-refused", Resolved, Severity::Critical)]);
    assert_eq!(monitor.took("edge", now), []);
}

#[test]
fn an_issuer_whose_keys_grow_old_is_failing() {
    let staff = "issuers: [{ name: staff, oidc: \"https://a.example\", audience: shop, refresh: 10m, silent_after: 1h }]";
    let (mut monitor, start) = monitor(staff);
    let none = Fetched::default();
    let name = Name::parse("staff").expect("a name");
    let read = Fetched([(name, FetchedSet { document: "{}".into(), at: start.wall })].into());
    let mut hear = |fetched: &Fetched, second| {
        let changes = monitor.keys(fetched, start.plus(secs(second)));
        changes.iter().map(|c| (c.state, c.severity)).collect::<Vec<_>>()
    };
    assert_eq!(hear(&none, 30), []);
    assert_eq!(hear(&none, 31), [(Firing, Severity::Critical)]);
    assert_eq!(hear(&read, 32), [(Resolved, Severity::Critical)]);
    assert_eq!(hear(&read, 900), []);
    assert_eq!(hear(&read, 901), [(Firing, Severity::Warning)]);
    assert_eq!(hear(&read, 3_600), [(Firing, Severity::Critical)]);
    let gone = monitor.replan(&plan(""), start);
    assert_eq!(said(&gone), [("issuer-failing", Resolved, Severity::Critical)]);
}

#[test]
fn e15_no_more_data_planes_are_watched_than_may_connect() {
    let (mut monitor, now) = monitor("");
    for number in 0..2 * MOST {
        monitor.observe(&format!("edge-{number}"), &quiet(now), now);
    }
    assert_eq!(monitor.edges.len(), MOST);
}
