//! From a checked plan to the parts that a data plane follows.
//!
//! INVARIANT: compiling reads nothing but its arguments, so that *control* can try a plan before it publishes it and
//! the data plane comes to the same result.
//!
//! Not here: TLS, which only `portcullis-net` knows; it is built beside this from the same plan.

use std::sync::Arc;

use portcullis_config::plan;
use portcullis_core::{Generation, Location, Problems};

use crate::keys::Fetched;
use crate::{Authorisation, Keys, Routes, authorisation};

/// Everything compiled from one plan, each part with the generation in which it last changed.
#[derive(Clone, Debug)]
pub struct Compiled {
    /// The plan itself, for what needs no compiling.
    pub plan: Arc<plan::Plan>,
    /// The key sets that went in.
    pub fetched: Arc<Fetched>,
    /// The number of this generation.
    pub number: Generation,
    /// Routes, limits, contracts.
    pub routes: Arc<Routes>,
    /// When they changed.
    pub routes_since: Generation,
    /// The rule book; it carries its own generation.
    pub authorisation: Arc<Authorisation>,
    /// Issuers and API keys; the verifier carries its own generation.
    pub keys: Arc<Keys>,
    /// When certificates or client authorities changed.
    pub tls_since: Generation,
}

/// Compiles a plan, taking over from `before` what did not change.
///
/// # Errors
/// Every problem of every part.
pub fn compile(
    plan: Arc<plan::Plan>,
    fetched: Arc<Fetched>,
    number: Generation,
    before: Option<&Compiled>,
) -> Result<Compiled, Problems> {
    let mut problems = Problems::default();
    refuse_unavailable(&plan, &mut problems);
    let routes = note(routes(&plan, before), &mut problems);
    let authorisation = note(authorisation(&plan, number, before), &mut problems);
    let keys = note(keys(&plan, &fetched, number, before), &mut problems);
    let same_routes = routes.as_ref().zip(before).is_some_and(|(r, b)| Arc::ptr_eq(r, &b.routes));
    let routes_since = before.filter(|_| same_routes).map_or(number, |b| b.routes_since);
    let tls_since = before.filter(|b| same_tls(&b.plan, &plan)).map_or(number, |b| b.tls_since);
    match (routes, authorisation, keys) {
        (Some(routes), Some(authorisation), Some(keys)) => problems.into_result(Compiled {
            plan,
            fetched,
            number,
            routes,
            routes_since,
            authorisation,
            keys,
            tls_since,
        }),
        _ => Err(problems),
    }
}

/// SECURITY: a setting that would be ignored is worse than one that is refused.
fn refuse_unavailable(plan: &plan::Plan, problems: &mut Problems) {
    let mut refuse =
        |at: &Location, key: String| problems.add(at, key, "is not available in this version; leave it out");
    for service in plan.services.iter().filter(|s| s.upstream.health.is_some()) {
        refuse(&service.at, format!("services.{}.upstream.health", service.name));
    }
}

fn note<T>(made: Result<T, Problems>, problems: &mut Problems) -> Option<T> {
    made.map_err(|found| problems.absorb(found)).ok()
}

fn routes(plan: &plan::Plan, before: Option<&Compiled>) -> Result<Arc<Routes>, Problems> {
    match before.filter(|b| b.plan.services == plan.services && b.plan.plans == plan.plans) {
        Some(before) => Ok(Arc::clone(&before.routes)),
        None => Routes::compile(plan, before.map(|b| &*b.routes)).map(Arc::new),
    }
}

fn authorisation(
    plan: &plan::Plan,
    number: Generation,
    before: Option<&Compiled>,
) -> Result<Arc<Authorisation>, Problems> {
    let source = authorisation::source(plan);
    match before.filter(|b| authorisation::source(&b.plan) == source) {
        Some(before) => Ok(Arc::clone(&before.authorisation)),
        None => Authorisation::compile(&source, number).map(Arc::new),
    }
}

fn keys(
    plan: &plan::Plan,
    fetched: &Fetched,
    number: Generation,
    before: Option<&Compiled>,
) -> Result<Arc<Keys>, Problems> {
    let same = |b: &&Compiled| {
        b.plan.issuers == plan.issuers && b.plan.api_keys == plan.api_keys && *b.fetched == *fetched
    };
    match before.filter(same) {
        Some(before) => Ok(Arc::clone(&before.keys)),
        None => Keys::compile(plan, fetched, number).map(Arc::new),
    }
}

fn same_tls(one: &plan::Plan, other: &plan::Plan) -> bool {
    let (one, other) = (&one.gateway, &other.gateway);
    one.certificates == other.certificates
        && one.client_certificates == other.client_certificates
        && one.tls_minimum == other.tls_minimum
}
