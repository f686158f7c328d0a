//! How an event becomes one line of JSON.
//!
//! Keys are constants in a fixed order, absent facts are left out, no line break can occur inside. The line is
//! what is hashed, sealed and kept, so its form is versioned by `v`.
//!
//! Not here: reading it back (`record`).

use portcullis_core::Proof;

use crate::event::{
    Actor, Admin, Alert, Change, Coalesced, Connection, Crash, Event, Issuer, IssuerState, Keeping, Previous,
    Stamp, Start, Tls, Verdict,
};
use crate::json::{self, Object};
use crate::request::{Caller, Decided, Ended, Finding, Generations, Outcome, Phases, Request, Trace};
use crate::{Permitted, SafeText, Source};

/// The version of the line's form.
const VERSION: u64 = 1;
/// How many rules, parameters or findings one line lists; more are counted.
const LISTED: usize = 32;

impl Event<'_> {
    /// Appends the event to `out` as one JSON object, without a line end.
    pub fn write_json(&self, stamp: &Stamp<'_>, out: &mut Vec<u8>) {
        let mut line = Object::begin(out);
        line.number("v", VERSION);
        line.word("event", self.kind());
        line.shown("id", stamp.id);
        line.number("time", stamp.time.0);
        line.number("worker", stamp.worker.into());
        line.number("seq", stamp.sequence);
        line.word("env", stamp.environment.as_str());
        self.body(&mut line);
        line.end();
    }

    fn body(&self, line: &mut Object<'_>) {
        match self {
            Self::Decided(event) => decided(line, event),
            Self::Ended(event) => ended(line, event),
            Self::Connection(event) => connection(line, event),
            Self::Coalesced(event) => coalesced(line, event),
            Self::Change(event) => change(line, event),
            Self::Admin(event) => admin(line, event),
            Self::Alert(event) => alert(line, event),
            Self::Issuer(event) => issuer(line, event),
            Self::Start(event) => start(line, event),
            Self::Stop => {}
            Self::Crash(event) => crash(line, event),
            Self::Keeping(event) => keeping(line, event),
        }
    }
}

fn decided(line: &mut Object<'_>, event: &Decided<'_>) {
    request(line, &event.request);
    if let Some(who) = &event.caller {
        line.object("caller", |inner| caller(inner, who));
    }
    if !event.rules.is_empty() {
        let rules = event.rules.iter().take(LISTED);
        line.list("rules", rules, |out, rule| json::text(out, SafeText::name(rule)));
        line.nonzero("rules_more", beyond(event.rules.len()));
    }
    line.object("gen", |inner| generations(inner, &event.generations));
    if let Some(limit) = event.limit {
        line.word("limit", limit.word());
    }
    if !event.findings.is_empty() {
        line.list("findings", event.findings.iter().take(LISTED), finding);
        line.nonzero("findings_more", beyond(event.findings.len()));
    }
}

fn beyond(count: usize) -> u64 {
    u64::try_from(count.saturating_sub(LISTED)).unwrap_or(u64::MAX)
}

fn request(line: &mut Object<'_>, event: &Request<'_>) {
    source(line, event.source, event.via);
    line.word("protocol", event.protocol.word());
    tls(line, event.tls);
    line.safe("method", event.method);
    if let Some(service) = event.service {
        line.word("service", service.as_str());
    }
    if let Some(route) = event.route {
        line.word("route", route);
    }
    if !event.params.is_empty() {
        line.object("params", |inner| params(inner, event.params));
    }
    if let Some(Trace { trace, span }) = &event.trace {
        line.hex("trace", trace);
        line.hex("span", span);
    }
}

fn source(line: &mut Object<'_>, source: Source, via: Option<Source>) {
    line.shown("source", source);
    if let Some(via) = via {
        line.shown("via", via);
    }
}

fn params(line: &mut Object<'_>, params: &[Permitted<'_>]) {
    for param in params.iter().take(LISTED) {
        line.listed(SafeText::name(param.name()), param.value());
    }
}

fn tls(line: &mut Object<'_>, session: Option<Tls>) {
    if let Some(Tls { version, client }) = session {
        line.word("tls", version.word());
        if let Some(client) = &client {
            line.thumbprint("cert", client);
        }
    }
}

fn caller(line: &mut Object<'_>, who: &Caller<'_>) {
    line.word("proof", proof(who.proof));
    line.word("issuer", who.issuer.as_str());
    line.safe("subject", who.subject);
    line.maybe("client", who.client);
    line.maybe("credential", who.credential);
    line.maybe("session", who.session);
}

/// The word that [`Proof`] serialises as.
fn proof(proof: Proof) -> &'static str {
    match proof {
        Proof::Anonymous => "anonymous",
        Proof::Token => "token",
        Proof::Certificate => "certificate",
        Proof::ApiKey => "api-key",
    }
}

fn generations(line: &mut Object<'_>, g: &Generations) {
    line.number("authorisation", g.authorisation.0);
    line.number("routes", g.routes.0);
    line.number("tls", g.tls.0);
    line.number("keys", g.keys.0);
}

fn finding(out: &mut Vec<u8>, finding: &Finding<'_>) {
    let mut line = Object::begin(out);
    line.word("class", finding.class);
    line.safe("at", finding.at);
    line.word("mode", finding.mode.word());
    line.end();
}

fn ended(line: &mut Object<'_>, event: &Ended<'_>) {
    if let Some(before) = &event.decided {
        decided(line, before);
    }
    outcome(line, &event.outcome);
    line.word("close", event.close.word());
    line.object("us", |inner| phases(inner, &event.phases));
    line.number("in", event.bytes_in);
    line.number("out", event.bytes_out);
    if let Some(upstream) = &event.upstream {
        line.safe("upstream", upstream.endpoint);
        line.number("attempts", upstream.attempts.into());
    }
}

fn outcome(line: &mut Object<'_>, outcome: &Outcome<'_>) {
    match outcome {
        Outcome::Served { status } => {
            line.word("outcome", "served");
            line.number("status", (*status).into());
        }
        Outcome::Refused { reason, stage, private } => {
            line.word("outcome", "refused");
            line.number("status", reason.status().into());
            line.word("reason", reason.word());
            line.word("stage", stage.word());
            line.safe("why", *private);
        }
        Outcome::UpstreamUnknown => line.word("outcome", "upstream-unknown"),
    }
}

fn phases(line: &mut Object<'_>, us: &Phases) {
    line.nonzero("head", us.head.into());
    line.nonzero("identify", us.identify.into());
    line.nonzero("authorise", us.authorise.into());
    line.nonzero("shape", us.shape.into());
    line.nonzero("upstream", us.upstream.into());
    line.number("total", us.total);
}

fn connection(line: &mut Object<'_>, event: &Connection<'_>) {
    source(line, event.source, event.via);
    if let Some(listener) = event.listener {
        line.word("listener", listener.as_str());
    }
    line.word("class", event.class.word());
    line.word("fault", event.fault);
    line.safe("why", event.detail);
    line.maybe("sni", event.server_name);
    tls(line, event.tls);
}

fn coalesced(line: &mut Object<'_>, event: &Coalesced) {
    line.word("class", event.class.word());
    if let Some(source) = event.source {
        line.shown("source", source);
    }
    line.number("second", event.second);
    line.number("count", event.count);
}

fn actor(line: &mut Object<'_>, actor: &Actor<'_>) {
    match actor {
        Actor::Uid(uid) => {
            line.word("actor", "uid");
            line.number("uid", (*uid).into());
        }
        Actor::Peer(name) => {
            line.word("actor", "peer");
            line.safe("peer", *name);
        }
        Actor::Local(source) => {
            line.word("actor", "local");
            line.shown("source", *source);
        }
        Actor::File => line.word("actor", "file"),
        Actor::Signal => line.word("actor", "signal"),
        Actor::Itself => line.word("actor", "itself"),
    }
}

fn change(line: &mut Object<'_>, event: &Change<'_>) {
    line.word("kind", event.kind.word());
    line.number("generation", event.generation.0);
    line.hex("hash", &event.hash);
    match event.verdict {
        Verdict::Accepted => line.word("outcome", "accepted"),
        Verdict::Refused { problems } => {
            line.word("outcome", "refused");
            line.number("problems", problems.into());
            line.safe("why", event.detail);
        }
    }
    actor(line, &event.actor);
}

fn admin(line: &mut Object<'_>, event: &Admin<'_>) {
    line.word("action", event.action.word());
    actor(line, &event.actor);
    line.word("outcome", event.permission.word());
    line.safe("subject", event.subject);
}

fn alert(line: &mut Object<'_>, event: &Alert<'_>) {
    line.word("alert", event.name.as_str());
    line.word("state", event.state.word());
    line.word("severity", event.severity.word());
    line.safe("why", event.detail);
}

fn issuer(line: &mut Object<'_>, event: &Issuer<'_>) {
    line.word("issuer", event.issuer.as_str());
    match event.state {
        IssuerState::Refreshed { keys, generation } => {
            line.word("state", "refreshed");
            line.number("keys", keys.into());
            line.number("generation", generation.0);
        }
        IssuerState::Failed { age, why } => {
            line.word("state", "failed");
            line.number("age", age);
            line.safe("why", why);
        }
        IssuerState::Silent { age } => {
            line.word("state", "silent");
            line.number("age", age);
        }
    }
}

fn start(line: &mut Object<'_>, event: &Start<'_>) {
    line.word("version", event.version);
    line.number("pid", event.pid.into());
    match event.previous {
        Previous::None => line.word("previous", "none"),
        Previous::Clean => line.word("previous", "clean"),
        Previous::Died { torn } => {
            line.word("previous", "died");
            line.number("torn", torn);
        }
    }
}

fn crash(line: &mut Object<'_>, event: &Crash<'_>) {
    line.word("process", event.process.as_str());
    line.number("pid", event.pid.into());
    if let Some(signal) = event.signal {
        line.signed("signal", signal.into());
    }
    if let Some(status) = event.status {
        line.signed("status", status.into());
    }
    line.safe("dump", event.dump);
}

fn keeping(line: &mut Object<'_>, event: &Keeping<'_>) {
    line.word("state", event.state.word());
    line.number("count", event.count);
    line.safe("detail", event.detail);
}
