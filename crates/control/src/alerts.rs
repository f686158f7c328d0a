//! Brings alerts to those who act on them: Alertmanager's v2 API and a webhook (SS028-11.1.5b).
//!
//! Each receiver has its own book, its own call in flight and its own waits, so that one that is away costs the others
//! nothing. Every change is recorded when it happens, and again when a receiver learned of it or could not be reached.
//!
//! INVARIANT: a receiver that cannot be reached is tried until it answers or what it is owed was pushed out by newer
//! changes, which is counted; waits grow to [`LONGEST_WAIT`].
//!
//! Not here: when an alert begins (`monitor`), what a message says (`message`), what is owed (`channel`).
//!
//! Sources: SS028-11.1.5, 11.1.5b; threats C12, C13, F8.

mod channel;
mod message;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use channel::{AGAIN, Book, Queue};
use portcullis_core::UnixMillis;
use portcullis_evidence::event::{Alert, AlertState};
use portcullis_evidence::{Event, SafeText};
use portcullis_snapshot::plan::{Inlined, Loopback, Plan, Secret, Url};
use portcullis_telemetry::metrics::Word;
use portcullis_telemetry::{Chain, Level};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};

use crate::backoff;
use crate::desk::{Desk, draw};
use crate::monitor::{AlertChange, Rule};
use crate::outbound::{Ask, AskError, Outbound, Sent};

const LONGEST_CALL: Duration = Duration::from_secs(10);
const FIRST_WAIT: Duration = Duration::from_secs(1);
/// The longest wait between two tries.
pub const LONGEST_WAIT: Duration = Duration::from_secs(60);
/// At the end, what is owed is still brought for so long.
const FAREWELL: Duration = Duration::from_secs(5);
/// More of an answer is not read: nothing in it matters.
const LARGEST_ANSWER: usize = 64 * 1024;

/// The task that delivers.
pub struct Delivery {
    outbound: Arc<dyn Outbound>,
    desk: Desk,
    receivers: BTreeMap<Arc<str>, Receiver>,
    active: BTreeMap<(Rule, Arc<str>), AlertChange>,
    calls: JoinSet<Ended>,
    next: u64,
}

/// One receiver.
struct Receiver {
    url: Url,
    token: Option<Secret>,
    roots: Option<Inlined>,
    owed: Owed,
    failures: u32,
    due: Option<Instant>,
    /// The call in flight, and what it says.
    call: Option<(u64, Said)>,
}

enum Owed {
    Alertmanager(Book),
    Webhook(Queue),
}

/// What a message said.
enum Said {
    All(Vec<AlertChange>),
    One(u64, AlertChange),
}

/// A call that ended.
struct Ended {
    receiver: Arc<str>,
    number: u64,
    result: Result<Bytes, AskError>,
}

impl Delivery {
    /// Nothing is sent before [`Delivery::run`].
    #[must_use]
    pub fn new(outbound: Arc<dyn Outbound>, desk: Desk) -> Self {
        let (receivers, active) = (BTreeMap::new(), BTreeMap::new());
        Self { outbound, desk, receivers, active, calls: JoinSet::new(), next: 0 }
    }

    /// Runs until `changes` has no sender, and then for as long as it takes to bring what is owed, five seconds at most.
    pub async fn run(
        mut self,
        mut changes: mpsc::Receiver<AlertChange>,
        mut plans: watch::Receiver<Arc<Plan>>,
    ) {
        let mut plan = Arc::clone(&plans.borrow_and_update());
        self.adopt(&plan);
        loop {
            self.start_due(&plan);
            let next = self.next_wake();
            tokio::select! {
                change = changes.recv() => match change {
                    Some(change) => self.take(&change),
                    None => break,
                },
                Some(ended) = self.calls.join_next() => if let Ok(ended) = ended { self.settle(&ended) },
                Ok(()) = plans.changed() => {
                    plan = Arc::clone(&plans.borrow_and_update());
                    self.adopt(&plan);
                }
                () = sleep_until(next) => {}
            }
        }
        // Who is still away then will not learn of it from this process.
        let _ = timeout(FAREWELL, self.finish(&plan)).await;
    }

    async fn finish(&mut self, plan: &Plan) {
        while self.receivers.values().any(Receiver::is_owed) {
            self.start_due(plan);
            let next = self.next_wake();
            tokio::select! {
                Some(ended) = self.calls.join_next() => if let Ok(ended) = ended { self.settle(&ended) },
                () = sleep_until(next) => {}
            }
        }
    }

    /// Takes the receivers of a plan over; one that stays the same keeps what it is owed, a new one learns how things
    /// stand.
    fn adopt(&mut self, plan: &Plan) {
        let mut before = std::mem::take(&mut self.receivers);
        let roots = &plan.alerts.roots;
        let managers = plan.alerts.alertmanager.iter().filter_map(|base| Receiver::alertmanager(base, roots));
        let webhook = plan.alerts.webhook.iter().map(|w| Receiver::webhook(&w.url, w.token.clone(), roots));
        for mut receiver in managers.chain(webhook) {
            let name = receiver.name();
            match before.remove(&name).filter(|old| old.is_like(&receiver)) {
                Some(old) => receiver = old,
                None => self.active.values().for_each(|change| receiver.note(change, &self.desk)),
            }
            self.receivers.insert(name, receiver);
        }
    }

    fn take(&mut self, change: &AlertChange) {
        let key = (change.rule, Arc::clone(&change.about));
        match change.state {
            AlertState::Firing => self.active.insert(key, change.clone()),
            AlertState::Resolved => self.active.remove(&key),
        };
        record(&self.desk, change, &format!("{}: {}", change.about, change.detail));
        let facts: [(_, &dyn std::fmt::Display); 3] =
            [("alert", &change.rule.word()), ("about", &change.about), ("detail", &change.detail)];
        match change.state {
            AlertState::Firing => self.desk.say(Level::Warning, "an alert began", &facts),
            AlertState::Resolved => self.desk.say(Level::Notice, "an alert ended", &facts),
        }
        self.receivers.values_mut().for_each(|receiver| receiver.note(change, &self.desk));
    }

    fn start_due(&mut self, plan: &Plan) {
        let (now, wall) = (Instant::now(), self.desk.now().wall);
        for (name, receiver) in &mut self.receivers {
            if receiver.call.is_some() || receiver.due.is_none_or(|due| due > now) {
                continue;
            }
            let Some((body, said)) = receiver.message(plan, wall) else {
                receiver.due = None;
                continue;
            };
            let number = self.next;
            self.next += 1;
            receiver.call = Some((number, said));
            let (name, call) = (Arc::clone(name), self.outbound.send(receiver.ask(body)));
            self.calls.spawn(async move {
                let result = timeout(LONGEST_CALL, call).await.unwrap_or(Err(AskError::Late));
                Ended { receiver: name, number, result }
            });
        }
    }

    fn next_wake(&self) -> Instant {
        let idle = Instant::now() + AGAIN;
        let due = self.receivers.values().filter(|r| r.call.is_none()).filter_map(|r| r.due);
        due.min().map_or(idle, |due| due.min(idle))
    }

    fn settle(&mut self, ended: &Ended) {
        let Some(receiver) = self.receivers.get_mut(&ended.receiver) else { return };
        // A call of a receiver that has been replaced since says nothing about this one.
        let Some((_, said)) = receiver.call.take_if(|(number, _)| *number == ended.number) else { return };
        match &ended.result {
            Ok(_) => {
                for change in receiver.delivered(said) {
                    record(&self.desk, &change, &format!("delivered to {}", ended.receiver));
                }
            }
            Err(cause) => {
                let why = Chain(cause).to_string();
                for change in receiver.failed(said) {
                    record(
                        &self.desk,
                        &change,
                        &format!("not delivered to {}, will be: {why}", ended.receiver),
                    );
                }
                let facts: [(_, &dyn std::fmt::Display); 2] = [("receiver", &ended.receiver), ("why", &why)];
                self.desk.say(Level::Error, "alerts cannot be delivered", &facts);
            }
        }
    }
}

fn record(desk: &Desk, change: &AlertChange, detail: &str) {
    let Some(name) = change.rule.name() else { return };
    let (state, severity, detail) = (change.state, change.severity, SafeText::new(detail));
    desk.note(&Event::Alert(Alert { name: &name, state, severity, detail }));
}

impl Receiver {
    /// The v2 API of an Alertmanager at `base`.
    fn alertmanager(base: &Url, roots: &Option<Inlined>) -> Option<Self> {
        let text = format!("{}/api/v2/alerts", base.as_str().trim_end_matches('/'));
        let url = Url::parse(&text).ok()?;
        Some(Self::new(url, None, roots, Owed::Alertmanager(Book::default())))
    }

    fn webhook(url: &Url, token: Option<Secret>, roots: &Option<Inlined>) -> Self {
        Self::new(url.clone(), token, roots, Owed::Webhook(Queue::default()))
    }

    fn new(url: Url, token: Option<Secret>, roots: &Option<Inlined>, owed: Owed) -> Self {
        Self { url, token, roots: roots.clone(), owed, failures: 0, due: None, call: None }
    }

    /// What tells it from others, and names it in the record.
    fn name(&self) -> Arc<str> {
        match self.owed {
            Owed::Alertmanager(_) => self.url.as_str().into(),
            Owed::Webhook(_) => format!("webhook {}", self.url).into(),
        }
    }

    fn is_like(&self, other: &Self) -> bool {
        self.url == other.url && self.token == other.token && self.roots == other.roots
    }

    fn note(&mut self, change: &AlertChange, desk: &Desk) {
        match &mut self.owed {
            Owed::Alertmanager(book) => book.note(change),
            Owed::Webhook(queue) => desk.metrics.sink_dropped.at(&Word("webhook")).add(queue.note(change)),
        }
        // One that failed keeps its wait: news does not make it reachable.
        if self.failures == 0 {
            self.due = Some(Instant::now());
        }
    }

    fn is_owed(&self) -> bool {
        match &self.owed {
            Owed::Alertmanager(book) => !book.untold().is_empty(),
            Owed::Webhook(queue) => !queue.is_empty(),
        }
    }

    fn message(&self, plan: &Plan, wall: UnixMillis) -> Option<(Vec<u8>, Said)> {
        let environment = plan.environment.name();
        match &self.owed {
            Owed::Alertmanager(book) => {
                book.message(environment, wall).map(|(body, all)| (body, Said::All(all)))
            }
            Owed::Webhook(queue) => {
                queue.message(environment).map(|(body, (number, one))| (body, Said::One(number, one)))
            }
        }
    }

    fn ask(&self, body: Vec<u8>) -> Ask {
        // SECURITY: only an address that names this machine in the configuration may lead to it (C12).
        let loopback = if self.url.is_loopback() { Loopback::Allowed } else { Loopback::Refused };
        Ask {
            url: self.url.clone(),
            sent: Sent::Json { body: body.into(), token: self.token.clone() },
            roots: self.roots.clone(),
            loopback,
            most: LARGEST_ANSWER,
        }
    }

    /// It answered; says what it learned.
    fn delivered(&mut self, said: Said) -> Vec<AlertChange> {
        self.failures = 0;
        let learned = match (&mut self.owed, said) {
            (Owed::Alertmanager(book), Said::All(all)) => book.delivered(&all),
            (Owed::Webhook(queue), Said::One(number, change)) => {
                queue.delivered(number);
                vec![change]
            }
            _ => Vec::new(),
        };
        let now = Instant::now();
        self.due = match &self.owed {
            _ if self.is_owed() => Some(now),
            Owed::Alertmanager(_) => Some(now + AGAIN),
            Owed::Webhook(_) => None,
        };
        learned
    }

    /// It did not; says what it does not know, when this is the first failure in a row.
    fn failed(&mut self, said: Said) -> Vec<AlertChange> {
        self.failures = self.failures.saturating_add(1);
        self.due = Some(Instant::now() + backoff::after(self.failures, FIRST_WAIT, LONGEST_WAIT, draw()));
        match (&self.owed, said) {
            _ if self.failures > 1 => Vec::new(),
            (Owed::Alertmanager(book), _) => book.untold(),
            (Owed::Webhook(_), Said::One(_, change)) => vec![change],
            _ => Vec::new(),
        }
    }
}
