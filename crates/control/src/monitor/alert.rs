//! What an alert is, and when one begins and ends.
//!
//! INVARIANT: one rule has at most one alert about one thing; saying it again with the same severity is no change.
//! INVARIANT: what was measured must have been quiet for [`HOLD`] before its alert ends, so that a value at the edge of
//! its threshold does not ring all day.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use portcullis_core::{Name, Now, UnixMillis};
use portcullis_evidence::event::{AlertState, Severity};

/// A measured alert ends after this long without cause.
pub(super) const HOLD: Duration = Duration::from_secs(10);

macro_rules! rules {
    ($($(#[$doc:meta])* $variant:ident = $word:literal, $summary:literal;)*) => {
        /// What is watched.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Rule { $($(#[$doc])* $variant),* }

        impl Rule {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// The name of its alerts.
            #[must_use]
            pub fn word(self) -> &'static str { match self { $(Self::$variant => $word),* } }

            /// What it means, for whoever is woken.
            #[must_use]
            pub fn summary(self) -> &'static str { match self { $(Self::$variant => $summary),* } }
        }
    };
}

rules! {
    /// Credentials that do not verify (11.1.5).
    AuthenticationFailures = "authentication-failures", "Many authentications fail: somebody may be guessing or replaying credentials.";
    /// Requests that are refused, for any reason.
    Refusals = "refusals", "Many requests are refused: a client is broken, a policy is wrong, or somebody is probing.";
    /// Messages without one reading.
    GuardRefusals = "guard-refusals", "Many messages have no single reading: somebody may be trying to smuggle requests.";
    /// The record does not keep up, or has little room left.
    SinkBehind = "sink-behind", "The record does not keep up or fills its quota: what cannot be recorded is not served.";
    /// A certificate ends soon.
    CertificateNearExpiry = "certificate-near-expiry", "A certificate ends soon: renew it before connections fail.";
    /// Two clocks differ.
    ClockOffset = "clock-offset", "The clocks of data plane and control differ: tokens and certificates are judged by them.";
    /// A data plane says nothing.
    EdgeAway = "edge-away", "A data plane has not reported: it may be down, or cut off from control.";
    /// A data plane did not take a generation.
    GenerationRefused = "generation-refused", "A data plane did not take a change and serves on with the one before.";
    /// An issuer's keys cannot be read.
    IssuerFailing = "issuer-failing", "The keys of an issuer cannot be renewed: its tokens will be refused.";
}

impl Rule {
    /// The name of its alerts; every word of the table is one.
    #[must_use]
    pub fn name(self) -> Option<Name> {
        Name::parse(self.word()).ok()
    }
}

/// An alert begins, changes its severity, or ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AlertChange {
    /// What is watched.
    pub rule: Rule,
    /// Which data plane or issuer it is about.
    pub about: Arc<str>,
    /// Whether it begins or ends.
    pub state: AlertState,
    /// How bad it is.
    pub severity: Severity,
    /// What was seen.
    pub detail: Arc<str>,
    /// When it began.
    pub since: UnixMillis,
    /// When this happened.
    pub at: UnixMillis,
}

/// What one look came to.
#[derive(Debug)]
pub(super) enum Verdict {
    /// There is cause.
    Raise(Severity, String),
    /// Neither cause nor quiet.
    Keep,
    /// It is quiet; the alert ends when it stays so.
    Quiet,
    /// It is over: the thing itself said so.
    Over,
}

#[derive(Debug)]
struct Active {
    severity: Severity,
    detail: Arc<str>,
    since: UnixMillis,
    quiet: Option<Instant>,
}

/// The alerts that are active.
#[derive(Debug, Default)]
pub(super) struct Board(BTreeMap<(Rule, Arc<str>), Active>);

impl Board {
    /// Takes a verdict in, and says what it changes.
    pub(super) fn judge(
        &mut self,
        rule: Rule,
        about: &Arc<str>,
        verdict: Verdict,
        now: Now,
    ) -> Option<AlertChange> {
        let key = (rule, Arc::clone(about));
        match verdict {
            Verdict::Raise(severity, detail) => self.raise(key, severity, detail.into(), now),
            Verdict::Keep => {
                self.0.get_mut(&key)?.quiet = None;
                None
            }
            Verdict::Quiet => {
                let quiet = *self.0.get_mut(&key)?.quiet.get_or_insert(now.mono);
                if now.mono.duration_since(quiet) < HOLD { None } else { self.end(&key, now) }
            }
            Verdict::Over => self.end(&key, now),
        }
    }

    fn raise(
        &mut self,
        key: (Rule, Arc<str>),
        severity: Severity,
        detail: Arc<str>,
        now: Now,
    ) -> Option<AlertChange> {
        let known = self.0.get(&key);
        let same = known.is_some_and(|a| a.severity == severity);
        let since = known.map_or(now.wall, |a| a.since);
        let active = Active { severity, detail, since, quiet: None };
        let change = (!same).then(|| active.change(&key, AlertState::Firing, now.wall));
        self.0.insert(key, active);
        change
    }

    fn end(&mut self, key: &(Rule, Arc<str>), now: Now) -> Option<AlertChange> {
        Some(self.0.remove(key)?.change(key, AlertState::Resolved, now.wall))
    }

    /// Ends everything about `about`.
    pub(super) fn forget(&mut self, about: &str, now: Now) -> Vec<AlertChange> {
        let keys: Vec<_> = self.0.keys().filter(|(_, a)| **a == *about).cloned().collect();
        keys.iter().filter_map(|key| self.end(key, now)).collect()
    }

    /// All that are active, as they began.
    pub(super) fn active(&self) -> impl Iterator<Item = AlertChange> {
        self.0.iter().map(|(key, a)| a.change(key, AlertState::Firing, a.since))
    }
}

impl Active {
    fn change(&self, (rule, about): &(Rule, Arc<str>), state: AlertState, at: UnixMillis) -> AlertChange {
        AlertChange {
            rule: *rule,
            about: Arc::clone(about),
            state,
            severity: self.severity,
            detail: Arc::clone(&self.detail),
            since: self.since,
            at,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_rule_has_a_name_of_its_own() {
        let names: std::collections::BTreeSet<_> =
            Rule::ALL.iter().map(|r| r.name().expect("a name")).collect();
        assert_eq!(names.len(), Rule::ALL.len());
    }
}
