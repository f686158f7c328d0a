//! Stage 5: may they?
//!
//! INVARIANT: a [`Permit`] is made here and nowhere else, only from an `Allow`, and owns the request that it permits.
//! INVARIANT: deny, broken and unknown are one answer to the caller (threat C15).
//! INVARIANT: `sensitivity: high` admits only what is bound to mutual TLS, whatever policy says (MS-SS-1.1).
//!
//! Not here: the rules and their evaluation (`portcullis-policy`).
//!
//! Sources: SS028-11.1.9b; DESIGN §4; threats B1, C7, C15, F6.

use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;

use portcullis_core::{Binding, Generation, Now, Principal, Proof, Reason, Refusal, UnixMillis};
use portcullis_policy::{Answer, Method, Question, Rules, SliceId};
use portcullis_snapshot::plan::Sensitivity;
use portcullis_snapshot::router::RouteIndex;
use portcullis_snapshot::routes::{Access, Route};

use crate::admit::Admitted;
use crate::body::{BodyRules, RequestBody};
use crate::core_state::{Core, Snapshot};
use crate::identify::{self, Caller};
use crate::record::Record;
use crate::route::Routed;

/// What a decision rested on: kept while a stream is open, and for `explain`.
#[derive(Debug)]
pub(crate) struct Facts {
    /// Who asked.
    pub principal: Arc<Principal>,
    /// A digest of all facts about the principal.
    pub fingerprint: [u8; 32],
    /// For which route.
    pub route: Arc<Route>,
    /// Its place in its generation.
    pub index: RouteIndex,
    /// With which method.
    pub method: Method,
    /// With which parameters.
    pub params: Vec<(Arc<str>, String)>,
    /// From where.
    pub source: IpAddr,
    /// Under which authorisation generation.
    pub generation: Generation,
    /// When.
    pub decided_at: UnixMillis,
    /// When the certificate of the connection ends, if it showed one.
    pub certificate_ends: Option<UnixMillis>,
}

/// Proof that policy permitted exactly this request. Owns it; cannot be copied or made elsewhere.
pub(crate) struct Permit {
    facts: Rc<Facts>,
    admitted: Admitted,
}

impl Permit {
    /// What the decision rested on.
    pub(crate) fn facts(&self) -> &Rc<Facts> {
        &self.facts
    }

    /// Reads the request; changing or replacing it takes the permit.
    pub(crate) fn admitted(&self) -> &Admitted {
        &self.admitted
    }

    /// Takes the body out, to be counted or checked; what is forwarded later is what came out here.
    pub(crate) fn take_body(&mut self, rules: BodyRules) -> Result<RequestBody, Refusal> {
        RequestBody::passing(self.admitted.framed.body.take(), rules)
    }

    /// Gives the request up to the one who forwards it.
    pub(crate) fn into_parts(self) -> (Rc<Facts>, Admitted) {
        (self.facts, self.admitted)
    }
}

/// Asks policy. Only a yes carries a [`Permit`].
pub(crate) fn authorise(
    core: &Core,
    snapshot: &Snapshot,
    caller: Caller,
    routed: Routed,
    record: &mut Record,
) -> Result<Permit, Refusal> {
    check_proof(&caller, &routed.route)?;
    let source = record.source();
    let authorisation = &snapshot.authorisation;
    let slice = authorisation.slice(routed.index);
    let slice =
        slice.ok_or_else(|| Refusal::new(Reason::PolicyBroken, "the route has no slice of the rule book"))?;
    let (principal, fingerprint) = caller.into_parts();
    let facts = Rc::new(Facts {
        principal,
        fingerprint,
        route: routed.route,
        index: routed.index,
        method: routed.method,
        params: routed.params,
        source,
        generation: authorisation.generation,
        decided_at: record.now().wall,
        certificate_ends: record.connection().client(record.now().wall).map(|c| c.ends),
    });
    core.remember(record.id(), &facts);
    let answer = decide(core, snapshot, slice, &facts, record);
    record.ruled(&answer);
    match answer {
        Answer::Allow { .. } => Ok(Permit { facts, admitted: routed.admitted }),
        Answer::Deny { rules } => Err(Refusal::new(Reason::Forbidden, denied(&rules))),
        // SECURITY: a rule that cannot be evaluated protects nothing, so it refuses.
        Answer::Broken { fault, .. } => Err(Refusal::new(Reason::PolicyBroken, fault.word())),
    }
}

/// Asks again about an open stream, under the generation of now.
pub(crate) fn still_permitted(core: &Core, snapshot: &Snapshot, facts: &Facts) -> bool {
    let found = snapshot.routes.iter().find(|(_, route)| route.id == facts.route.id);
    let Some((index, route)) = found else { return false };
    let slice = snapshot.authorisation.slice(index);
    let proven = facts.principal.proof != Proof::Anonymous || route.access == Access::Public;
    let params = borrowed(&facts.params);
    let question = question(facts, &params, core.now());
    let proven =
        proven && identify::still_vouched(snapshot, &facts.principal) && is_bound(&facts.principal, route);
    proven && slice.is_some_and(|slice| snapshot.authorisation.book().decide(slice, &question).is_allow())
}

fn decide(core: &Core, snapshot: &Snapshot, slice: SliceId, facts: &Facts, record: &Record) -> Answer {
    let params = borrowed(&facts.params);
    let question = question(facts, &params, record.now());
    let book = snapshot.authorisation.book();
    core.decisions.borrow_mut().decide(book, facts.generation, slice, &question)
}

fn question<'f>(facts: &'f Facts, params: &'f [(&'f str, &'f str)], now: Now) -> Question<'f> {
    Question {
        principal: &facts.principal,
        method: facts.method,
        path: params,
        source: facts.source,
        now: now.wall,
    }
}

fn borrowed(params: &[(Arc<str>, String)]) -> Vec<(&str, &str)> {
    params.iter().map(|(name, value)| (&**name, value.as_str())).collect()
}

/// What no rule can give away: a proof where one is due, and a binding where harm would be great.
fn check_proof(caller: &Caller, route: &Route) -> Result<(), Refusal> {
    let principal = caller.principal();
    if principal.proof == Proof::Anonymous && route.access == Access::Ruled {
        return Err(Refusal::new(Reason::MissingCredentials, "the route is not public"));
    }
    if !is_bound(principal, route) {
        return Err(Refusal::new(
            Reason::BindingRequired,
            "a route of high sensitivity needs a credential bound to mutual TLS",
        ));
    }
    Ok(())
}

/// MS-SS-1.1.
fn is_bound(principal: &Principal, route: &Route) -> bool {
    route.sensitivity != Sensitivity::High || principal.binding == Binding::MutualTls
}

fn denied(rules: &Rules) -> String {
    match rules.first() {
        None => "no rule permits it".to_owned(),
        Some(rule) => format!("forbidden by {rule}"),
    }
}
