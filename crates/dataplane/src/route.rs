//! Stage 4: which door?
//!
//! The route is looked up before `identify`, since an API key is good for some services only, but nothing is said about
//! it until the caller is known (ADR-0004).
//!
//! INVARIANT: a caller who proved nothing learns nothing about which paths exist: where anybody could be asked to
//! prove themselves, an unknown path answers like a closed one.
//!
//! Sources: RFC 9110 §15.5.5, §15.5.6; threats B1-B7.

use std::sync::Arc;

use http::Method;
use portcullis_core::{Name, Proof, Reason, Refusal};
use portcullis_policy::Method as PolicyMethod;
use portcullis_snapshot::router::{Match, RouteIndex, decode};
use portcullis_snapshot::routes::Route;

use crate::admit::Admitted;
use crate::core_state::Snapshot;
use crate::cors;
use crate::frame::Framed;
use crate::identify::Caller;
use crate::record::Record;

/// An admitted request and the route it is for.
pub(crate) struct Routed {
    /// The request.
    pub admitted: Admitted,
    /// The route.
    pub route: Arc<Route>,
    /// Its place, which names its slice of the rule book.
    pub index: RouteIndex,
    /// What policy calls the method: `HEAD` is asked about as itself where it is listed, else as the `GET` it stands for.
    pub method: PolicyMethod,
    /// Names and decoded values of the template's parameters.
    pub params: Vec<(Arc<str>, String)>,
}

/// What a request's authority, path and method lead to, before anybody was identified.
pub(crate) enum Door {
    /// A route.
    Found(Found),
    /// Nothing, and why.
    Closed(Reason, &'static str),
    /// A path that is known with these methods.
    OtherMethods(Vec<Method>),
}

/// A route and what its template captured.
pub(crate) struct Found {
    route: Arc<Route>,
    index: RouteIndex,
    method: PolicyMethod,
    params: Vec<(Arc<str>, String)>,
}

impl Door {
    /// The service behind it, if there is one.
    pub(crate) fn service(&self) -> Option<&Name> {
        match self {
            Self::Found(found) => Some(&found.route.service.name),
            Self::Closed(..) | Self::OtherMethods(_) => None,
        }
    }
}

/// Finds the route, and refuses nothing yet: who calls decides what may be said about it.
pub(crate) fn find(snapshot: &Snapshot, framed: &Framed) -> Door {
    let preflight = cors::is_preflight(&framed.parts.method, &framed.parts.headers);
    let announced = preflight.then(|| cors::announced(&framed.parts.headers)).flatten();
    let wanted = announced.as_ref().unwrap_or(&framed.parts.method);
    let (index, captured) = match snapshot.routes.router().find(&framed.host, &framed.path, wanted) {
        Match::Route(index, captured) => (index, captured),
        Match::WrongMethod(methods) => return Door::OtherMethods(methods),
        Match::Nothing => return Door::Closed(Reason::NoRoute, "no route has this authority and path"),
    };
    let Some(route) = snapshot.routes.route(index).map(Arc::clone) else {
        return Door::Closed(Reason::Unavailable, "the router names a route that is not there");
    };
    let Some(method) = policy_method(wanted, &route) else {
        return Door::Closed(Reason::MethodNotAllowed, "policy knows no such method");
    };
    let values = captured.iter().map(|c| decode(c).into_owned());
    let params = route.params.iter().cloned().zip(values).collect();
    Door::Found(Found { route, index, method, params })
}

/// Goes through the door, or says why not, as far as this caller may know.
pub(crate) fn enter(
    door: Door,
    admitted: Admitted,
    caller: &Caller,
    record: &mut Record,
) -> Result<Routed, Refusal> {
    match door {
        Door::OtherMethods(methods) => {
            record.allows(methods);
            Err(unknown(caller, Reason::MethodNotAllowed, "the route has other methods"))
        }
        Door::Closed(reason, private) => Err(unknown(caller, reason, private)),
        Door::Found(Found { route, index, method, params }) => {
            Ok(Routed { admitted, route, index, method, params })
        }
    }
}

fn unknown(caller: &Caller, reason: Reason, private: &'static str) -> Refusal {
    match caller.principal().proof {
        Proof::Anonymous => Refusal::new(Reason::MissingCredentials, private),
        _ => Refusal::new(reason, private),
    }
}

fn policy_method(method: &Method, route: &Route) -> Option<PolicyMethod> {
    let asked =
        if *method == Method::HEAD && !route.methods.contains(&Method::HEAD) { &Method::GET } else { method };
    PolicyMethod::ALL.into_iter().find(|m| m.as_str() == asked.as_str())
}
