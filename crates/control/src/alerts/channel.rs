//! What one receiver of alerts is owed, and what it has got.
//!
//! Alertmanager is told how things stand: all active alerts, again and again, and those that ended until it knows. The
//! webhook is told what happened, one change after the other. Pure: calls are made elsewhere.
//!
//! INVARIANT: what is owed is bounded; when a webhook falls behind, the oldest change that is not critical goes first,
//! and each that goes is counted.
//! INVARIANT: an alert that Alertmanager is no longer told of ends there by itself after four silences, so that an alert
//! does not outlive *control*.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use portcullis_core::{Name, UnixMillis};
use portcullis_evidence::event::{AlertState, Severity};

use super::message::{posted, told};
use crate::monitor::{AlertChange, Rule};

/// How often Alertmanager is told again (Prometheus does so every minute).
pub(super) const AGAIN: Duration = Duration::from_secs(60);
/// More than this is not owed to one receiver.
const MOST: usize = 256;

/// What Alertmanager tells alerts apart by: its labels.
type Identity = (Rule, Arc<str>, Severity);

/// How things stand, for Alertmanager.
#[derive(Debug, Default)]
pub(super) struct Book {
    alerts: BTreeMap<Identity, Entry>,
}

#[derive(Debug)]
struct Entry {
    change: AlertChange,
    /// It knows.
    told: bool,
}

impl Book {
    pub(super) fn note(&mut self, change: &AlertChange) {
        let key = |severity| (change.rule, Arc::clone(&change.about), severity);
        if change.state == AlertState::Firing {
            // Another severity is another alert there: the one before ends.
            for other in [Severity::Warning, Severity::Critical] {
                if let Some(known) = self.alerts.get_mut(&key(other)).filter(|_| other != change.severity) {
                    (known.change.state, known.change.at) = (AlertState::Resolved, change.at);
                    known.told = false;
                }
            }
        }
        if self.alerts.len() < MOST || self.alerts.contains_key(&key(change.severity)) {
            self.alerts.insert(key(change.severity), Entry { change: change.clone(), told: false });
        }
    }

    /// What it does not know yet.
    pub(super) fn untold(&self) -> Vec<AlertChange> {
        self.alerts.values().filter(|e| !e.told).map(|e| e.change.clone()).collect()
    }

    /// The message, and what it says; `None` when there is nothing to say.
    pub(super) fn message(&self, environment: &Name, now: UnixMillis) -> Option<(Vec<u8>, Vec<AlertChange>)> {
        let ends = |c: &AlertChange| match c.state {
            AlertState::Firing => now.plus(AGAIN * 4),
            AlertState::Resolved => c.at,
        };
        let changes = || self.alerts.values().map(|e| &e.change);
        let all: Vec<_> = changes().map(|c| posted(c, environment, ends(c))).collect();
        let body = serde_json::to_vec(&all).ok().filter(|_| !all.is_empty())?;
        Some((body, changes().cloned().collect()))
    }

    /// The receiver knows: what ended is forgotten, unless it began again meanwhile. Says what it had not known.
    pub(super) fn delivered(&mut self, said: &[AlertChange]) -> Vec<AlertChange> {
        let mut learned = Vec::new();
        for change in said {
            let key = (change.rule, Arc::clone(&change.about), change.severity);
            let Some(entry) = self.alerts.get_mut(&key).filter(|e| e.change == *change) else { continue };
            if !entry.told {
                learned.push(change.clone());
            }
            entry.told = true;
            if change.state == AlertState::Resolved {
                self.alerts.remove(&key);
            }
        }
        learned
    }
}

/// What happened, for the webhook.
#[derive(Debug, Default)]
pub(super) struct Queue {
    owed: VecDeque<(u64, AlertChange)>,
    next: u64,
}

impl Queue {
    /// Adds a change; says how many others had to go.
    #[must_use]
    pub(super) fn note(&mut self, change: &AlertChange) -> u64 {
        let full = self.owed.len() >= MOST;
        if full {
            let least = self.owed.iter().position(|(_, c)| c.severity != Severity::Critical).unwrap_or(0);
            self.owed.remove(least);
        }
        self.owed.push_back((self.next, change.clone()));
        self.next += 1;
        u64::from(full)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.owed.is_empty()
    }

    /// The oldest change that is owed.
    pub(super) fn message(&self, environment: &Name) -> Option<(Vec<u8>, (u64, AlertChange))> {
        let (number, change) = self.owed.front()?;
        Some((told(change, environment), (*number, change.clone())))
    }

    /// The receiver knows of this one.
    pub(super) fn delivered(&mut self, number: u64) {
        self.owed.retain(|(n, _)| *n != number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(about: &str, severity: Severity, state: AlertState, at: u64) -> AlertChange {
        let (about, detail) = (about.into(), "what was seen".into());
        let (since, at) = (UnixMillis(1_000), UnixMillis(at));
        AlertChange { rule: Rule::SinkBehind, about, state, severity, detail, since, at }
    }

    fn test() -> Name {
        Name::parse("test").expect("a name")
    }

    fn said(book: &Book) -> String {
        book.message(&test(), UnixMillis(0))
            .map(|(b, _)| String::from_utf8(b).expect("JSON"))
            .unwrap_or_default()
    }

    #[test]
    fn alertmanager_is_told_how_things_stand() {
        use AlertState::{Firing, Resolved};
        let mut book = Book::default();
        assert_eq!(said(&book), "");
        book.note(&change("edge", Severity::Warning, Firing, 1_000));
        let want = concat!(
            r#"[{"labels":{"alertname":"sink-behind","severity":"warning","environment":"test","edge":"edge"},"#,
            r#""annotations":{"summary":"The record does not keep up or fills its quota: what cannot be recorded is "#,
            r#"not served.","description":"what was seen"},"#,
            r#""startsAt":"1970-01-01T00:00:01Z","endsAt":"1970-01-01T00:04:00Z"}]"#
        );
        assert_eq!(said(&book), want);
        book.note(&change("edge", Severity::Critical, Firing, 5_000));
        let both = said(&book);
        assert!(
            both.contains(r#""severity":"critical""#) && both.contains(r#""endsAt":"1970-01-01T00:00:05Z""#)
        );
        let (_, all) = book.message(&test(), UnixMillis(0)).expect("two alerts");
        book.note(&change("edge", Severity::Critical, Resolved, 9_000));
        let learned: Vec<_> = book.delivered(&all).iter().map(|c| c.severity).collect();
        assert_eq!(learned, [Severity::Warning], "the other changed meanwhile");
        assert!(said(&book).contains(r#""endsAt":"1970-01-01T00:00:09Z""#), "it does not know of the end");
        let (_, all) = book.message(&test(), UnixMillis(0)).expect("one alert");
        assert_eq!(book.delivered(&all).len(), 1);
        assert_eq!(said(&book), "");
    }

    #[test]
    fn e15_a_webhook_that_falls_behind_loses_the_oldest_that_is_not_critical() {
        let mut queue = Queue::default();
        let mut lost = queue.note(&change("first", Severity::Critical, AlertState::Firing, 0));
        for number in 0..MOST {
            lost += queue.note(&change(&format!("w{number}"), Severity::Warning, AlertState::Firing, 0));
        }
        assert_eq!((lost, queue.owed.len()), (1, MOST));
        let about: Vec<_> = queue.owed.iter().take(2).map(|(_, c)| c.about.to_string()).collect();
        assert_eq!(about, ["first", "w1"]);
        let (body, (number, _)) = queue.message(&test()).expect("owed");
        assert!(
            String::from_utf8(body)
                .expect("JSON")
                .starts_with(r#"{"state":"firing","alertname":"sink-behind""#)
        );
        queue.delivered(number);
        assert_eq!(queue.message(&test()).map(|(_, (_, c))| c.about.to_string()), Some("w1".to_owned()));
    }
}
