//! Keeps the key sets of token issuers fresh.
//!
//! Every issuer of the plan is read ahead of its refresh time, spread by chance; after a failure it is tried again with
//! growing waits, and the last good set stays published with the time at which it was read. How old a set may be is
//! judged where it is used: the edge refuses tokens of an issuer that was silent for too long (C15).
//!
//! INVARIANT: a set is published only after it was judged as the edge will judge it; a failure never takes one away.
//! INVARIANT: a set belongs to one entry of the plan: when its source or its `iss` changes, it is forgotten (C3).
//! INVARIANT: one issuer that hangs delays no other.
//!
//! Not here: reading once (`discover`); age and verification (`portcullis-token`).
//!
//! Sources: SS028-11.2.10a; threats C3, C12, C13, C15, E10.

mod discover;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use discover::{Found, ReadKeysError, read_keys};
use portcullis_core::{Generation, Name, UnixMillis};
use portcullis_evidence::event::{self, IssuerState};
use portcullis_evidence::{Event, SafeText};
use portcullis_snapshot::keys::{Fetched, FetchedSet, check_document};
use portcullis_snapshot::plan::{Issuer, KeySource, Plan};
use portcullis_telemetry::metrics::{NameLabel, NameWord};
use portcullis_telemetry::{Chain, Level};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};

use crate::backoff;
use crate::desk::{Desk, draw};
use crate::outbound::Outbound;

/// Discovery and key set together.
const LONGEST_READ: Duration = Duration::from_secs(20);
/// A read that never came back, which cannot be, is taken as lost after this.
const LOST: Duration = Duration::from_secs(60);
const FIRST_RETRY: Duration = Duration::from_secs(1);
const LONGEST_RETRY: Duration = Duration::from_secs(60);
/// How often the ages in the metrics are brought up to date.
const AGES: Duration = Duration::from_secs(10);

/// The task that keeps key sets fresh.
pub struct Issuers {
    outbound: Arc<dyn Outbound>,
    desk: Desk,
    entries: BTreeMap<Name, Entry>,
    reads: JoinSet<Read>,
    published: Generation,
}

/// One issuer that has to be asked.
struct Entry {
    issuer: Arc<Issuer>,
    set: Option<FetchedSet>,
    /// When it was read last, or was first wanted.
    heard: UnixMillis,
    failures: u32,
    said_silent: bool,
    due: Instant,
}

/// A read that ended.
struct Read {
    issuer: Arc<Issuer>,
    result: Result<Found, ReadKeysError>,
}

impl Issuers {
    /// Nothing is read before [`Issuers::run`].
    #[must_use]
    pub fn new(outbound: Arc<dyn Outbound>, desk: Desk) -> Self {
        Self { outbound, desk, entries: BTreeMap::new(), reads: JoinSet::new(), published: Generation(0) }
    }

    /// Runs until `plans` has no sender; every change of what is known goes to `out`.
    pub async fn run(mut self, mut plans: watch::Receiver<Arc<Plan>>, out: watch::Sender<Arc<Fetched>>) {
        let plan = Arc::clone(&plans.borrow_and_update());
        self.adopt(&plan, &out);
        loop {
            self.start_due();
            let next = self.next_wake();
            tokio::select! {
                changed = plans.changed() => {
                    if changed.is_err() { return }
                    let plan = Arc::clone(&plans.borrow_and_update());
                    self.adopt(&plan, &out);
                }
                Some(ended) = self.reads.join_next() => {
                    if let Ok(read) = ended { self.settle(read, &out) }
                }
                () = sleep_until(next) => self.show_ages(),
            }
        }
    }

    /// Takes the issuers of a plan over; what is known of those that stay the same is kept.
    fn adopt(&mut self, plan: &Plan, out: &watch::Sender<Arc<Fetched>>) {
        let (wall, now) = (self.desk.now().wall, Instant::now());
        let mut before = std::mem::take(&mut self.entries);
        let remote = plan.issuers.iter().filter(|i| !matches!(i.keys, KeySource::JwksFile(_)));
        for issuer in remote {
            let entry = match before.remove(&issuer.name) {
                Some(entry) => entry.under(issuer, now),
                None => Entry::new(issuer, wall, now),
            };
            self.entries.insert(issuer.name.clone(), entry);
        }
        let stays = |label: &NameLabel| self.entries.contains_key(&label.0);
        self.desk.metrics.issuer_key_age.retain(stays);
        self.publish(out);
    }

    fn start_due(&mut self) {
        let now = Instant::now();
        for entry in self.entries.values_mut().filter(|e| e.due <= now) {
            entry.due = now + LOST;
            let (outbound, issuer) = (Arc::clone(&self.outbound), Arc::clone(&entry.issuer));
            self.reads.spawn(async move {
                let read = timeout(LONGEST_READ, read_keys(&*outbound, &issuer)).await;
                Read { result: read.unwrap_or(Err(ReadKeysError::Late)), issuer }
            });
        }
    }

    fn next_wake(&self) -> Instant {
        let ages = Instant::now() + AGES;
        self.entries.values().map(|e| e.due).min().map_or(ages, |due| due.min(ages))
    }

    /// Takes note of a read. One for an entry that has changed since is dropped.
    fn settle(&mut self, read: Read, out: &watch::Sender<Arc<Fetched>>) {
        let Some(entry) = self.entries.get_mut(&read.issuer.name) else { return };
        if !Arc::ptr_eq(&entry.issuer, &read.issuer) {
            return;
        }
        match read.result {
            Ok(found) => {
                let keys = u32::try_from(found.keys).unwrap_or(u32::MAX);
                entry.refreshed(found, self.desk.now().wall);
                self.published = self.published.next();
                let state = IssuerState::Refreshed { keys, generation: self.published };
                tell(&self.desk, &read.issuer.name, state, "refreshed");
                self.publish(out);
            }
            Err(cause) => {
                entry.failed();
                let age = entry.age(self.desk.now().wall);
                let why = Chain(&cause).to_string();
                let state = IssuerState::Failed { age: age.as_secs(), why: SafeText::new(&why) };
                tell(&self.desk, &read.issuer.name, state, "failed");
                let facts: [(_, &dyn std::fmt::Display); 2] = [("issuer", &read.issuer.name), ("why", &why)];
                self.desk.say(Level::Warning, "cannot read the keys of an issuer", &facts);
                if entry.falls_silent(age) {
                    tell(&self.desk, &read.issuer.name, IssuerState::Silent { age: age.as_secs() }, "silent");
                }
            }
        }
        self.show_ages();
    }

    fn show_ages(&self) {
        let wall = self.desk.now().wall;
        for (name, entry) in &self.entries {
            self.desk.metrics.issuer_key_age.at(&NameLabel(name.clone())).set(entry.age(wall));
        }
    }

    fn publish(&self, out: &watch::Sender<Arc<Fetched>>) {
        let known = self.entries.iter().filter_map(|(name, e)| Some((name.clone(), e.set.clone()?)));
        let fetched = Fetched(known.collect());
        out.send_if_modified(|current| {
            let differs = **current != fetched;
            if differs {
                *current = Arc::new(fetched);
            }
            differs
        });
    }
}

fn tell(desk: &Desk, issuer: &Name, state: IssuerState<'_>, word: &'static str) {
    desk.metrics.issuer_refreshes.at(&NameWord(issuer.clone(), word)).inc();
    desk.note(&Event::Issuer(event::Issuer { issuer, state }));
}

impl Entry {
    fn new(issuer: &Issuer, wall: UnixMillis, now: Instant) -> Self {
        let issuer = Arc::new(issuer.clone());
        Self { issuer, set: None, heard: wall, failures: 0, said_silent: false, due: now }
    }

    /// The same under another version of its entry in the plan.
    fn under(mut self, issuer: &Issuer, now: Instant) -> Self {
        if *self.issuer == *issuer {
            return self;
        }
        let same_source = self.issuer.keys == issuer.keys && self.issuer.issuer == issuer.issuer;
        // SECURITY: what another address said, or what these rules would refuse, is not this issuer's (C3).
        self.set = self.set.filter(|set| same_source && check_document(issuer, &set.document).is_ok());
        self.issuer = Arc::new(issuer.clone());
        (self.due, self.failures) = (now, 0);
        self
    }

    fn refreshed(&mut self, found: Found, wall: UnixMillis) {
        self.set = Some(FetchedSet { document: found.document, at: wall });
        (self.heard, self.failures, self.said_silent) = (wall, 0, false);
        self.due = Instant::now() + backoff::spread(self.issuer.refresh.as_duration(), 20, draw());
    }

    fn failed(&mut self) {
        self.failures = self.failures.saturating_add(1);
        let longest = LONGEST_RETRY.min(self.issuer.refresh.as_duration());
        self.due = Instant::now() + backoff::after(self.failures, FIRST_RETRY.min(longest), longest, draw());
    }

    fn age(&self, wall: UnixMillis) -> Duration {
        wall.since(self.heard)
    }

    /// Whether it is silent from now on; said once.
    fn falls_silent(&mut self, age: Duration) -> bool {
        let silent = age >= self.issuer.silent_after.as_duration() && !self.said_silent;
        self.said_silent |= silent;
        silent
    }
}
