//! Watches the data planes, the issuers and the clocks, and says when an alert begins and ends (11.1.5).
//!
//! Pure: it is fed each data plane's status once a second and told the time; what it says goes to `alerts`.
//!
//! INVARIANT: at most `MOST` data planes are watched, each with a fixed number of bounded windows.
//! INVARIANT: a data plane that says nothing raises an alert; nothing ends one but a report or [`Monitor::forget`].
//!
//! Not here: delivery (`alerts`), counting (the data plane).
//!
//! Sources: SS028-11.1.5, 11.1.5b; DESIGN §4 (clocks, the record's alarms at 70 and 85 %).

mod alert;
#[cfg(test)]
mod tests;
mod window;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

pub use alert::{AlertChange, Rule};
use alert::{Board, Verdict};
use portcullis_core::{Generation, Now, Rate, Reason, UnixMillis};
use portcullis_evidence::event::Severity;
use portcullis_snapshot::keys::Fetched;
use portcullis_snapshot::link::Status;
use portcullis_snapshot::plan::{AlertRules, KeySource, Plan};
use portcullis_telemetry::Metrics;
use portcullis_telemetry::journal::JournalState;
use window::Window;

/// More data planes than this are not watched, which the link's own bound keeps from happening.
const MOST: usize = 256;
/// A data plane that says nothing for longer is away.
const AWAY: Duration = Duration::from_secs(3);
/// A certificate that ends within this time is an alarm.
const LAST_DAY: Duration = Duration::from_secs(86_400);
/// An issuer may take this long to be read for the first time.
const FIRST_KEYS: Duration = Duration::from_secs(30);

/// What *control* calls itself where an alert names a process.
pub const CONTROL: &str = "control";

/// The rules and what they have seen.
#[derive(Debug)]
pub struct Monitor {
    rules: AlertRules,
    issuers: BTreeMap<Arc<str>, Watched>,
    edges: BTreeMap<Arc<str>, Edge>,
    board: Board,
}

/// What each rule came to.
type Verdicts = Vec<(Rule, Verdict)>;

#[derive(Debug)]
struct Edge {
    seen: Instant,
    authentication: Window,
    refusals: Window,
    guard: Window,
}

#[derive(Debug)]
struct Watched {
    refresh: Duration,
    silent_after: Duration,
    since: UnixMillis,
}

impl Monitor {
    /// Watches under the rules of a plan.
    #[must_use]
    pub fn new(plan: &Plan, now: Now) -> Self {
        let (issuers, edges) = (BTreeMap::new(), BTreeMap::new());
        let mut monitor = Self { rules: plan.alerts.rules, issuers, edges, board: Board::default() };
        let _nothing_is_active = monitor.replan(plan, now);
        monitor
    }

    /// Takes the rules and issuers of another plan.
    pub fn replan(&mut self, plan: &Plan, now: Now) -> Vec<AlertChange> {
        self.rules = plan.alerts.rules;
        let mut before = std::mem::take(&mut self.issuers);
        for issuer in plan.issuers.iter().filter(|i| !matches!(i.keys, KeySource::JwksFile(_))) {
            let name: Arc<str> = issuer.name.as_str().into();
            let since = before.remove(&name).map_or(now.wall, |watched| watched.since);
            let (refresh, silent_after) = (issuer.refresh.as_duration(), issuer.silent_after.as_duration());
            self.issuers.insert(name, Watched { refresh, silent_after, since });
        }
        let gone = before.keys().filter_map(|n| self.board.judge(Rule::IssuerFailing, n, Verdict::Over, now));
        gone.collect()
    }

    /// Takes the status of a data plane in, at the moment at which it arrived.
    pub fn observe(&mut self, edge: &str, status: &Status, now: Now) -> Vec<AlertChange> {
        let Some((about, mut verdicts)) = self.count(edge, status, now) else { return Vec::new() };
        verdicts.extend([
            (Rule::EdgeAway, Verdict::Over),
            (Rule::SinkBehind, self.sink(status)),
            (Rule::CertificateNearExpiry, self.certificate(status, now.wall)),
            (Rule::ClockOffset, self.clock(status, now.wall)),
        ]);
        let judged = verdicts.into_iter().filter_map(|(rule, v)| self.board.judge(rule, &about, v, now));
        judged.collect()
    }

    /// Looks for data planes that have gone silent. To be called once a second.
    pub fn tick(&mut self, now: Now) -> Vec<AlertChange> {
        let mut changes = Vec::new();
        for (about, edge) in &self.edges {
            let silence = now.mono.saturating_duration_since(edge.seen);
            if silence > AWAY && **about != *CONTROL {
                let away =
                    Verdict::Raise(Severity::Critical, format!("no status for {} s", silence.as_secs()));
                changes.extend(self.board.judge(Rule::EdgeAway, about, away, now));
            }
        }
        changes
    }

    /// A data plane that should be there, and may never report.
    pub fn expect(&mut self, edge: &str, now: Now) {
        self.edge(edge, now.mono);
    }

    /// A data plane has ended in order: nothing about it is watched any longer.
    pub fn forget(&mut self, edge: &str, now: Now) -> Vec<AlertChange> {
        self.edges.remove(edge);
        self.board.forget(edge, now)
    }

    /// A data plane did not take a generation.
    pub fn refused(
        &mut self,
        edge: &str,
        number: Generation,
        problems: &[String],
        now: Now,
    ) -> Vec<AlertChange> {
        let first = problems.first().map_or("", String::as_str);
        let detail =
            format!("generation {number} was refused with {} problems, first: {first}", problems.len());
        let verdict = Verdict::Raise(Severity::Critical, detail);
        self.board.judge(Rule::GenerationRefused, &edge.into(), verdict, now).into_iter().collect()
    }

    /// A data plane took a generation.
    pub fn took(&mut self, edge: &str, now: Now) -> Vec<AlertChange> {
        self.board.judge(Rule::GenerationRefused, &edge.into(), Verdict::Over, now).into_iter().collect()
    }

    /// Judges the age of the key sets that are known. To be called now and then, once a second at most.
    pub fn keys(&mut self, fetched: &Fetched, now: Now) -> Vec<AlertChange> {
        let read: BTreeMap<&str, UnixMillis> =
            fetched.0.iter().map(|(n, set)| (n.as_str(), set.at)).collect();
        let mut changes = Vec::new();
        for (name, watched) in &self.issuers {
            let verdict = watched.verdict(read.get(&**name).copied(), now.wall);
            changes.extend(self.board.judge(Rule::IssuerFailing, name, verdict, now));
        }
        changes
    }

    /// Every alert that is active.
    #[must_use]
    pub fn active(&self) -> Vec<AlertChange> {
        self.board.active().collect()
    }

    fn edge(&mut self, edge: &str, now: Instant) -> Option<(Arc<str>, &mut Edge)> {
        let about: Arc<str> = edge.into();
        if self.edges.len() >= MOST && !self.edges.contains_key(&about) {
            return None;
        }
        let rules = self.rules;
        let new = || Edge {
            seen: now,
            authentication: window(rules.authentication_failures),
            refusals: window(rules.refusals),
            guard: window(rules.guard_refusals),
        };
        Some((Arc::clone(&about), self.edges.entry(about).or_insert_with(new)))
    }

    /// Reads the counters and judges the three rates.
    fn count(&mut self, edge: &str, status: &Status, now: Now) -> Option<(Arc<str>, Verdicts)> {
        let rules = self.rules;
        let (about, edge) = self.edge(edge, now.mono)?;
        edge.seen = now.mono;
        let refused = status.refusals.values().fold(0, |sum: u64, n| sum.saturating_add(*n));
        let guard = status.guard_faults.values().fold(0, |sum: u64, n| sum.saturating_add(*n));
        let rate = |window: &mut Window, counter, rate, what| over(window, counter, rate, what, now.mono);
        let verdicts = vec![
            (
                Rule::AuthenticationFailures,
                rate(
                    &mut edge.authentication,
                    authentication_failures(status),
                    rules.authentication_failures,
                    "failed authentications",
                ),
            ),
            (Rule::Refusals, rate(&mut edge.refusals, refused, rules.refusals, "refusals")),
            (
                Rule::GuardRefusals,
                rate(&mut edge.guard, guard, rules.guard_refusals, "refusals of the guard"),
            ),
        ];
        Some((about, verdicts))
    }

    fn sink(&self, status: &Status) -> Verdict {
        let (behind, most) = (status.journal_loss_window_ms, self.rules.sink_behind.get());
        match status.journal_full_percent {
            full @ 85.. => {
                Verdict::Raise(Severity::Critical, format!("{full} % of the record's quota is used"))
            }
            _ if behind > most => {
                let waiting = status.journal_waiting;
                let detail = format!("{waiting} records wait; the longest waited for {behind} ms");
                Verdict::Raise(Severity::Critical, detail)
            }
            full @ 70..85 => {
                Verdict::Raise(Severity::Warning, format!("{full} % of the record's quota is used"))
            }
            68..70 => Verdict::Keep,
            _ if behind > most / 2 => Verdict::Keep,
            _ => Verdict::Quiet,
        }
    }

    fn certificate(&self, status: &Status, wall: UnixMillis) -> Verdict {
        let Some(ends) = status.certificate_ends else { return Verdict::Quiet };
        let left = ends.since(wall);
        let hours = left.as_secs() / 3_600;
        match left {
            Duration::ZERO => Verdict::Raise(Severity::Critical, "a certificate has ended".to_owned()),
            left if left >= self.rules.certificate_expiry.as_duration() => Verdict::Over,
            left if left < LAST_DAY => {
                Verdict::Raise(Severity::Critical, format!("a certificate ends within {} hours", hours + 1))
            }
            _ => Verdict::Raise(Severity::Warning, format!("a certificate ends in {} days", hours / 24)),
        }
    }

    fn clock(&self, status: &Status, wall: UnixMillis) -> Verdict {
        let (offset, most) = (status.at.0.abs_diff(wall.0), self.rules.clock_offset.get());
        match offset {
            // Nothing is issued and nothing is ready beyond this (DESIGN §4).
            30_001.. => Verdict::Raise(Severity::Critical, format!("the clocks differ by {offset} ms")),
            _ if offset > most => {
                Verdict::Raise(Severity::Warning, format!("the clocks differ by {offset} ms"))
            }
            _ if offset > most / 4 * 3 => Verdict::Keep,
            _ => Verdict::Quiet,
        }
    }
}

impl Watched {
    fn verdict(&self, read: Option<UnixMillis>, wall: UnixMillis) -> Verdict {
        let age = wall.since(read.unwrap_or(self.since));
        let late = if read.is_some() { self.refresh + self.refresh / 2 } else { FIRST_KEYS };
        let detail = || match read {
            Some(_) => format!("its keys were read {} s ago", age.as_secs()),
            None => "its keys were never read".to_owned(),
        };
        match age {
            age if age >= self.silent_after => Verdict::Raise(Severity::Critical, detail()),
            age if age > late && read.is_none() => Verdict::Raise(Severity::Critical, detail()),
            age if age > late => Verdict::Raise(Severity::Warning, detail()),
            _ if read.is_some() => Verdict::Over,
            _ => Verdict::Keep,
        }
    }
}

fn window(rate: Rate) -> Window {
    Window::new(rate.per().as_duration())
}

/// Whether a counter grew faster than `rate`. Between that and half of it nothing changes.
fn over(window: &mut Window, counter: u64, rate: Rate, what: &str, now: Instant) -> Verdict {
    if window.span() != rate.per().as_duration() {
        *window = Window::new(rate.per().as_duration());
    }
    window.read(counter, now);
    let (count, most) = (window.count(now), u64::from(rate.count()));
    match count {
        count if count > most => {
            Verdict::Raise(Severity::Warning, format!("{count} {what} in {}, more than {rate}", rate.per()))
        }
        count if count > most / 2 => Verdict::Keep,
        _ => Verdict::Quiet,
    }
}

/// Credentials that came and did not verify; a request without any is no attempt.
fn authentication_failures(status: &Status) -> u64 {
    let failed = |reason: &&Reason| {
        **reason == Reason::TooManyFailures
            || (reason.status() == 401 && **reason != Reason::MissingCredentials)
    };
    let counts = Reason::ALL.iter().filter(failed).filter_map(|r| status.refusals.get(r.word()));
    counts.fold(0, |sum: u64, n| sum.saturating_add(*n))
}

/// What *control* has to say of itself: give it to [`Monitor::observe`] under the name [`CONTROL`].
#[must_use]
pub fn own_status(journal: &JournalState, metrics: &Metrics, at: UnixMillis) -> Status {
    let percent = u128::from(journal.used) * 100 / u128::from(journal.quota.max(1));
    Status {
        at,
        journal_waiting: u64::try_from(metrics.record_queue.value()).unwrap_or(0),
        journal_full_percent: u8::try_from(percent).unwrap_or(u8::MAX),
        ..Status::default()
    }
}
