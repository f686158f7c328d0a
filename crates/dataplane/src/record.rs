//! The outermost ring: what happened, whatever happened.
//!
//! A record is opened before the first stage and travels with the answer to its last byte. Stages put facts in; this
//! file turns them into events, counts the metrics and hands the line to the journal.
//!
//! INVARIANT: every request that reached the line has exactly one `ended`: when the answer's body ends, breaks, is
//! dropped by a caller who left, or when the line itself is dropped in the middle.
//! INVARIANT: `decided` is written and, for `sensitivity: high`, safe on the disk before anything is forwarded; for
//! other requests it is part of `ended`.
//! INVARIANT: nothing a caller sent is in a record, but by the route's allow-list (11.6.2d).
//!
//! Not here: what an event borrows of it (`view`), the form of an event (`portcullis-evidence`), the disk
//! (`portcullis-telemetry`).

mod view;

use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;

use http::{Request, Version};
use portcullis_core::{Millis, Now, Principal, Reason, Refusal, RequestId};
use portcullis_evidence::event::Event;
use portcullis_evidence::request::{Close, Generations, Limited, Mode, Phases, Stage, Trace};
use portcullis_net::guard::Fault;
use portcullis_policy::Answer;
use portcullis_registry::Picked;
use portcullis_snapshot::plan::{Durability, Sensitivity};
use portcullis_snapshot::routes::Route;
use portcullis_telemetry::journal::Slot;
use portcullis_telemetry::metrics::RouteMetrics;

use crate::arrive::Ends;
use crate::body::Passed;
use crate::connection::Connection;
use crate::core_state::{Core, Snapshot};
use crate::identify::Caller;
use crate::problem_details::Dialect;
use crate::route::Routed;
use crate::trace::TraceParent;
use view::View;

/// What is known about one request so far.
pub(crate) struct Record {
    core: Rc<Core>,
    connection: Rc<Connection>,
    id: RequestId,
    source: IpAddr,
    opened: Now,
    method: http::Method,
    version: Version,
    dialect: Dialect,
    slot: Option<Slot>,
    stage: Stage,
    stage_since: Now,
    phases: Phases,
    principal: Option<Arc<Principal>>,
    route: Option<Arc<Route>>,
    metrics: Option<Arc<RouteMetrics>>,
    allowed: Vec<http::Method>,
    params: Vec<(Arc<str>, String)>,
    query: Vec<(String, String)>,
    rules: Vec<Arc<str>>,
    generations: Generations,
    limited: Option<Limited>,
    findings: Vec<(&'static str, String, Mode)>,
    trace: Option<Trace>,
    upstream: Option<(Arc<str>, u8)>,
    bytes_in: Option<Rc<Passed>>,
    bytes_out: u64,
    decided_apart: bool,
    durability: Durability,
    outcome: Option<End>,
    ended: bool,
}

/// How it came out.
enum End {
    Served(u16),
    Refused(Reason, Stage, String),
}

impl Record {
    /// Opens the record of a request.
    pub(crate) fn open<B>(core: &Rc<Core>, connection: &Rc<Connection>, request: &Request<B>) -> Self {
        let now = core.now();
        Self {
            id: RequestId::new(now.wall, core.random_wide()),
            core: Rc::clone(core),
            connection: Rc::clone(connection),
            source: connection.ends().source,
            opened: now,
            method: request.method().clone(),
            version: request.version(),
            dialect: Dialect::of(request.headers()),
            slot: None,
            stage: Stage::Frame,
            stage_since: now,
            phases: Phases::default(),
            principal: None,
            route: None,
            metrics: None,
            allowed: Vec::new(),
            params: Vec::new(),
            query: Vec::new(),
            rules: Vec::new(),
            generations: core.generations(),
            limited: None,
            findings: Vec::new(),
            trace: None,
            upstream: None,
            bytes_in: None,
            bytes_out: 0,
            decided_apart: false,
            durability: Durability::Group(Millis::SECOND),
            outcome: None,
            ended: false,
        }
    }

    /// The request's id.
    pub(crate) fn id(&self) -> RequestId {
        self.id
    }

    /// The core that serves it.
    pub(crate) fn core(&self) -> &Rc<Core> {
        &self.core
    }

    /// The connection that it came on.
    pub(crate) fn connection(&self) -> &Rc<Connection> {
        &self.connection
    }

    /// How the caller reads a refusal.
    pub(crate) fn dialect(&self) -> Dialect {
        self.dialect
    }

    /// When the present stage began: the time that its function is given.
    pub(crate) fn now(&self) -> Now {
        self.stage_since
    }

    /// Where it came from.
    pub(crate) fn source(&self) -> IpAddr {
        self.source
    }

    /// Who told us so, if it did not connect itself.
    pub(crate) fn via(&self) -> Option<IpAddr> {
        let Ends { source, via } = self.connection.ends();
        via.or((source != self.source).then_some(source))
    }

    /// A trusted proxy says that it comes from there.
    pub(crate) fn comes_from(&mut self, source: IpAddr) {
        self.source = source;
    }

    /// The methods of the path, if it is known with others than the one that came.
    pub(crate) fn allowed(&self) -> &[http::Method] {
        &self.allowed
    }

    /// The path is known, with these methods.
    pub(crate) fn allows(&mut self, methods: Vec<http::Method>) {
        self.allowed = methods;
    }

    /// The line goes on to `stage`. The clocks are read unless nothing can have waited since.
    pub(crate) fn at(&mut self, stage: Stage) {
        if is_same_moment(self.stage, stage) {
            self.stage = stage;
            return;
        }
        let now = self.core.now();
        let spent = now.mono.saturating_duration_since(self.stage_since.mono).as_micros();
        let spent = u32::try_from(spent).unwrap_or(u32::MAX);
        match self.stage {
            Stage::Frame | Stage::Admit | Stage::Route => {
                self.phases.head = self.phases.head.saturating_add(spent);
            }
            Stage::Identify => self.phases.identify = spent,
            Stage::Authorise => self.phases.authorise = spent,
            Stage::Shape | Stage::Select => self.phases.shape = self.phases.shape.saturating_add(spent),
            Stage::Forward => self.phases.upstream = spent,
            Stage::Answer | Stage::Record => {}
        }
        (self.stage, self.stage_since) = (stage, now);
    }

    /// Takes a slot of the journal, so that the end can always be written.
    pub(crate) fn reserve(&mut self) -> Result<(), Refusal> {
        let slot = self.core.recorder.reserve();
        self.slot = Some(slot.map_err(|_| Refusal::new(Reason::CannotRecord, "the journal takes no more"))?);
        Ok(())
    }

    /// Who calls.
    pub(crate) fn identified(&mut self, caller: &Caller) {
        self.principal = Some(Arc::clone(caller.shared_principal()));
    }

    /// For which route, and what of the request the route permits to be recorded.
    pub(crate) fn routed(&mut self, snapshot: &Snapshot, routed: &Routed) {
        self.metrics = snapshot.metrics(routed.index).map(Arc::clone);
        let route = &routed.route;
        if !route.recorded_params.is_empty() {
            self.params.clone_from(&routed.params);
        }
        if let Some(query) =
            routed.admitted.framed.query.as_deref().filter(|_| !route.recorded_query.is_empty())
        {
            let pairs = query.split('&').take(64).filter_map(|pair| pair.split_once('='));
            let listed = pairs.filter(|(name, value)| route.recorded_query.permit(name, value).is_some());
            self.query = listed.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        }
        self.route = Some(Arc::clone(route));
        self.durability = snapshot.plan.audit.durability;
    }

    /// What policy said.
    pub(crate) fn ruled(&mut self, answer: &Answer) {
        self.core.shared.metrics.decided(answer);
        self.rules = answer.rules().iter().map(|rule| Arc::clone(rule.text())).collect();
    }

    /// What the limits said.
    pub(crate) fn limited(&mut self, limited: Limited) {
        self.limited = Some(limited);
        if let Some(route) = self.route.as_ref().filter(|_| limited != Limited::Within) {
            self.core.shared.metrics.limited(&route.limits.plan, limited.word());
        }
    }

    /// What the contract found.
    pub(crate) fn found(&mut self, class: &'static str, at: String, mode: Mode) {
        if let Some(route) = &self.route {
            self.core.shared.metrics.found(&route.service.name, class);
        }
        self.findings.push((class, at, mode));
    }

    /// Under which trace it goes on.
    pub(crate) fn traced(&mut self, trace: TraceParent, span: u64) {
        self.trace = Some(trace.recorded(span));
    }

    /// The endpoint that is tried.
    pub(crate) fn tries(&mut self, picked: &Picked, attempt: u8) {
        self.upstream = Some((Arc::clone(picked.label()), attempt));
    }

    /// Where the bytes of the request's body are counted.
    pub(crate) fn passes(&mut self, passed: Rc<Passed>) {
        self.bytes_in = Some(passed);
    }

    /// Bytes of the answer's body.
    pub(crate) fn sent(&mut self, bytes: u64) {
        self.bytes_out = self.bytes_out.saturating_add(bytes);
    }

    /// Writes the decision before it takes effect, where the route is of high sensitivity or the plan wants it of each.
    pub(crate) async fn decided(&mut self) -> Result<(), Refusal> {
        let is_high = self.route.as_ref().is_some_and(|r| r.sensitivity == Sensitivity::High);
        if is_high || self.durability == Durability::Each {
            self.write_decided().await?;
        }
        Ok(())
    }

    /// Writes the decision of a stream, whose end may be far away.
    pub(crate) fn streams(&mut self) {
        if !self.decided_apart {
            self.decided_apart = true;
            self.write(|view, slot, now, id| slot.record(now, id, &Event::Decided(view.decided())));
        }
    }

    async fn write_decided(&mut self) -> Result<(), Refusal> {
        self.decided_apart = true;
        let lost = || Refusal::new(Reason::CannotRecord, "the decision could not be made safe");
        let synced =
            self.write(|view, slot, now, id| slot.record_synced(now, id, &Event::Decided(view.decided())));
        synced.ok_or_else(lost)?.await.map_err(|_| lost())
    }

    /// The answer of the upstream is passed on.
    pub(crate) fn served(&mut self, status: u16) {
        self.outcome = Some(End::Served(status));
    }

    /// The line said no.
    pub(crate) fn refused(&mut self, refusal: &Refusal) {
        self.core.shared.metrics.refused(refusal.reason());
        self.outcome = Some(End::Refused(refusal.reason(), self.stage, refusal.private().to_owned()));
    }

    /// Closes the record. What comes after that changes nothing.
    pub(crate) fn end(&mut self, close: Close) {
        if std::mem::replace(&mut self.ended, true) {
            return;
        }
        let close = self.slow(close);
        self.at(Stage::Record);
        let took = self.stage_since.mono.saturating_duration_since(self.opened.mono);
        self.phases.total = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.count(took);
        if self.slot.is_none() {
            self.end_without_slot(close);
            return;
        }
        self.write(|view, slot, now, id| slot.record(now, id, &Event::Ended(view.ended(close))));
    }

    /// A body that came too slowly breaks its exchange off, whatever that looks like from here.
    fn slow(&self, close: Close) -> Close {
        let fault = self.bytes_in.as_ref().and_then(|passed| passed.fault());
        if let Some(class) = fault.map(Fault::class).or((close == Close::SlowReader).then_some(close.word()))
        {
            self.core.shared.metrics.guard_fault(class);
        }
        match fault {
            Some(_) if close != Close::Complete => Close::SlowBody,
            _ => close,
        }
    }

    /// Refused before it had a place in the journal: the reserve for refusals, and beyond a rate one line for many.
    fn end_without_slot(&mut self, close: Close) {
        let Some(End::Refused(reason, ..)) = &self.outcome else { return };
        if self.core.coalesces(*reason, self.source(), self.stage_since) {
            return;
        }
        let view = View::of(self);
        let event = Event::Ended(view.ended(close));
        let _ = self.core.recorder.record(self.stage_since, self.id, &event);
    }

    fn write<T>(&self, put: impl FnOnce(&View<'_>, &Slot, Now, RequestId) -> T) -> Option<T> {
        let slot = self.slot.as_ref()?;
        Some(put(&View::of(self), slot, self.stage_since, self.id))
    }

    fn count(&self, took: std::time::Duration) {
        let status = match &self.outcome {
            Some(End::Served(status)) => *status,
            Some(End::Refused(reason, ..)) => reason.status(),
            None => 499,
        };
        if let Some(metrics) = &self.metrics {
            metrics.answered(status, took);
        }
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        self.end(Close::CallerGone);
        self.connection.answered();
    }
}

/// Framing waits for nothing. Shaping may wait for a whole body, so the time before it is not the time of the choice
/// of an endpoint.
fn is_same_moment(from: Stage, to: Stage) -> bool {
    matches!((from, to), (Stage::Frame, Stage::Frame | Stage::Admit))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stage_that_may_have_waited_gives_the_next_one_a_time_of_its_own() {
        assert!(is_same_moment(Stage::Frame, Stage::Admit));
        for (from, to) in [(Stage::Shape, Stage::Select), (Stage::Select, Stage::Forward)] {
            assert!(!is_same_moment(from, to));
        }
    }
}
