//! The metrics of the line, looked up once and counted without a lock.
//!
//! Not here: names and help texts (`portcullis-telemetry`).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use portcullis_core::{Name, Reason};
use portcullis_net::tls::HandshakeFault;
use portcullis_policy::Answer;
use portcullis_telemetry::Metrics;
use portcullis_telemetry::metrics::{Counter, NameLabel, NameWord, RefusalMetrics, Word};

/// Handles of what every request counts.
pub(crate) struct Counters {
    all: Arc<Metrics>,
    refusals: RefusalMetrics,
    allowed: Counter,
    denied: Counter,
    broken: Counter,
    caches: [Counter; 4],
}

impl Counters {
    /// Looks the handles up.
    pub(crate) fn new(all: Arc<Metrics>) -> Self {
        let decision = |word| all.decisions.at(&Word(word));
        let (allowed, denied, broken) = (decision("allow"), decision("deny"), decision("broken"));
        let (token, decided) =
            (|word| all.token_cache.at(&Word(word)), |word| all.decision_cache.at(&Word(word)));
        let caches = [token("hit"), token("miss"), decided("hit"), decided("miss")];
        Self { refusals: all.refusals(), allowed, denied, broken, caches, all }
    }

    /// All metrics.
    pub(crate) fn all(&self) -> &Arc<Metrics> {
        &self.all
    }

    /// A refusal.
    pub(crate) fn refused(&self, reason: Reason) {
        self.refusals.refused(reason);
    }

    /// A decision.
    pub(crate) fn decided(&self, answer: &Answer) {
        match answer {
            Answer::Allow { .. } => self.allowed.inc(),
            Answer::Deny { .. } => self.denied.inc(),
            Answer::Broken { .. } => self.broken.inc(),
        }
    }

    /// Look-ups since the last call: tokens that were known, tokens that were not, decisions that were known, and not.
    pub(crate) fn cached(&self, grown: [u64; 4]) {
        for (counter, grown) in self.caches.iter().zip(grown) {
            counter.add(grown);
        }
    }

    /// A request beyond a limit of a plan.
    pub(crate) fn limited(&self, plan: &Name, kind: &'static str) {
        self.all.limited.at(&NameWord(plan.clone(), kind)).inc();
    }

    /// Something that does not fit the contract of a service.
    pub(crate) fn found(&self, service: &Name, class: &'static str) {
        self.all.contract_findings.at(&NameWord(service.clone(), class)).inc();
    }

    /// A handshake that succeeded.
    pub(crate) fn shook(&self, took: Duration) {
        self.all.handshakes.at(&Word("ok")).inc();
        self.all.handshake_seconds.observe(took);
    }

    /// A request that was sent to another endpoint.
    pub(crate) fn retried(&self, service: &Name) {
        self.all.retries.at(&NameLabel(service.clone())).inc();
    }

    /// A message without one reading.
    pub(crate) fn guard_fault(&self, class: &'static str) {
        self.all.guard_faults.at(&Word(class)).inc();
    }

    /// A handshake that failed.
    pub(crate) fn handshake_failed(&self, fault: &HandshakeFault) {
        self.all.handshakes.at(&Word(fault.word())).inc();
    }

    /// A connection that was turned away.
    pub(crate) fn rejected(&self, class: &'static str) {
        self.all.connections_rejected.at(&Word(class)).inc();
    }

    /// Guard faults since the start, by class, for the monitor.
    pub(crate) fn guard_faults_so_far(&self) -> BTreeMap<String, u64> {
        let count = |flaw: &portcullis_net::guard::Flaw| {
            (flaw.word().to_owned(), self.all.guard_faults.at(&Word(flaw.word())).value())
        };
        portcullis_net::guard::Flaw::ALL.iter().map(count).filter(|(_, n)| *n > 0).collect()
    }

    /// Refusals since the start, by reason, for the monitor.
    pub(crate) fn refusals_so_far(&self) -> BTreeMap<String, u64> {
        let count = |reason: &Reason| {
            let label = portcullis_telemetry::metrics::ReasonLabel(*reason);
            (reason.word().to_owned(), self.all.refusals.at(&label).value())
        };
        Reason::ALL.iter().map(count).filter(|(_, n)| *n > 0).collect()
    }
}
