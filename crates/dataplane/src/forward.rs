//! Stage 8: to the upstream, with the permit.
//!
//! INVARIANT: the bytes that go out come out of a [`Permit`](crate::authorise::Permit), which is used up here, and the
//! upstream client is reached from nowhere else.
//! INVARIANT: the caller's credentials stay here; the service gets one internal token, for it alone, good for seconds.
//! INVARIANT: a request is sent again, once and elsewhere, only when no byte of it was sent before.
//!
//! Not here: connections and their reuse (`portcullis-net`), what comes back (`answer`).
//!
//! Sources: DESIGN §4; RFC 9110 §9.2.2 (retries), §7.6 (forwarding); RFC 7239; threats A3, A5, B9-B11, B14.

use std::rc::Rc;

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderValue};
use http::uri::PathAndQuery;
use http::{Request, Response};
use http_body::Body as _;
use portcullis_core::{NormalPath, Now, Reason, Refusal};
use portcullis_limits::{Held, Standing};
use portcullis_net::pool::{ConnectFault, SendError};
use portcullis_registry::{Outcome, Picked};
use tokio::time::Instant;

use crate::admit::Slot;
use crate::authorise::Facts;
use crate::body::{RequestBody, UpstreamBody, broken_off};
use crate::core_state::{Core, Snapshot};
use crate::frame::Framed;
use crate::record::Record;
use crate::select::{self, Choice};
use crate::shape::Shaped;
use crate::trailers::{self, Takes};
use crate::upgrade::{self, Upgrade};
use crate::{headers, trace};

/// An answer's head, with everything that lives as long as its body.
pub(crate) struct Forwarded {
    /// What came back.
    pub response: Response<UpstreamBody>,
    /// What the decision rested on.
    pub facts: Rc<Facts>,
    /// The endpoint that answers.
    pub picked: Picked,
    /// The place in flight.
    pub slot: Slot,
    /// The caller's place in flight.
    pub held: Option<Held>,
    /// For the `RateLimit` fields.
    pub standing: Option<(portcullis_core::Name, Standing)>,
    /// The caller's origin, for CORS.
    pub origin: Option<HeaderValue>,
    /// The caller's half of an upgrade.
    pub upgrade: Option<Upgrade>,
    /// What the caller takes behind the body.
    pub takes: Takes,
}

/// How often a request is tried at most.
const TRIES: u8 = 2;

/// Sends the permitted request and waits for the head of the answer.
pub(crate) async fn forward(
    core: &Rc<Core>,
    snapshot: &Snapshot,
    shaped: Shaped,
    choice: Choice,
    record: &mut Record,
) -> Result<Forwarded, Refusal> {
    let Shaped { permit, body, held, standing } = shaped;
    let (facts, admitted) = permit.into_parts();
    let slot = admitted.slot;
    let mut framed = admitted.framed;
    let origin = framed.parts.headers.get(header::ORIGIN).cloned();
    let takes = Takes::of(&framed.parts);
    let upgrade = upgrade::asked(&mut framed, facts.route.websocket)?;
    record.passes(body.passed());
    let mut request = outgoing(core, snapshot, &facts, framed, body, record)?;
    if upgrade.is_some() {
        upgrade::ask(request.headers_mut());
    }
    let (response, picked) = send(core, snapshot, &facts, request, choice, record).await?;
    Ok(Forwarded { response, facts, picked, slot, held, standing, origin, upgrade, takes })
}

/// Tries one endpoint, and another one if nothing was sent.
async fn send(
    core: &Core,
    snapshot: &Snapshot,
    facts: &Facts,
    mut request: Request<RequestBody>,
    mut choice: Choice,
    record: &mut Record,
) -> Result<(Response<UpstreamBody>, Picked), Refusal> {
    let leg = snapshot.leg(&facts.route.service.name)?;
    let limits = leg.limits(facts.route.per_try, Instant::now() + facts.route.request);
    for attempt in 1..=TRIES {
        record.tries(&choice.picked, attempt);
        let target = leg.target(choice.picked.address());
        let error = match core.pool.send(&target, request, &limits).await {
            Ok(response) => {
                choice.picked.outcome(Outcome::Good, core.now());
                return Ok((response, choice.picked));
            }
            Err(error) => error,
        };
        if let Some(failed) = outcome(&error) {
            choice.picked.outcome(failed, core.now());
        }
        request = unsent(error)?;
        if attempt < TRIES {
            core.shared.metrics.retried(&facts.route.service.name);
            choice = select::again(core, facts, &choice)?;
        }
    }
    Err(Refusal::new(Reason::UpstreamUnreachable, "no endpoint could be reached"))
}

/// What a failure says about the endpoint. Our own queue being full says nothing: else callers could put one to rest (E15).
fn outcome(error: &SendError<RequestBody>) -> Option<Outcome> {
    match error {
        SendError::Connect { cause: ConnectFault::Busy, .. } => None,
        SendError::Connect { .. } => Some(Outcome::ConnectFailed),
        _ => Some(Outcome::Failed),
    }
}

/// The request again, if no byte of it can have been seen; else what the failure is called. A fault of the caller's own
/// body is the caller's.
fn unsent(error: SendError<RequestBody>) -> Result<Request<RequestBody>, Refusal> {
    match error {
        SendError::Connect { request, .. } | SendError::Unused { request } => Ok(*request),
        SendError::Refused { head: Some(head) } => {
            Ok(Request::from_parts(*head, RequestBody::whole(Bytes::new())))
        }
        SendError::Refused { head: None } => {
            Err(Refusal::new(Reason::UpstreamBroken, "the upstream refused a stream whose body had begun"))
        }
        SendError::Timeout => {
            Err(Refusal::new(Reason::UpstreamTimeout, "no answer within the time of a try or of the route"))
        }
        SendError::Malformed(fault) => Err(Refusal::new(Reason::UpstreamMalformed, fault.class())),
        SendError::Body { cause } => Err(broken_off(&cause)),
        SendError::Sent { .. } => {
            Err(Refusal::new(Reason::UpstreamBroken, "the upstream broke off before its answer"))
        }
    }
}

/// The request as the service sees it.
fn outgoing(
    core: &Core,
    snapshot: &Snapshot,
    facts: &Facts,
    framed: Framed,
    body: RequestBody,
    record: &mut Record,
) -> Result<Request<RequestBody>, Refusal> {
    let mut fields = framed.parts.headers;
    let leg = snapshot.leg(&facts.route.service.name)?;
    // Both are hop-by-hop, so they are said anew (RFC 9110 §7.6.1); gRPC insists on the first.
    let asked = trailers::asks(&fields);
    let announced = trailers::announced(&fields, &body).filter(|_| !leg.speaks_http2());
    headers::strip_request(&mut fields);
    if asked {
        trailers::ask(&mut fields, leg.version());
    }
    if let Some(names) = announced {
        fields.insert(header::TRAILER, names);
    }
    if !leg.speaks_http2() {
        frame(&mut fields, &body);
    }
    fields.remove(header::EXPECT);
    for name in &facts.route.request_edit.remove {
        fields.remove(name);
    }
    for (name, value) in &facts.route.request_edit.set {
        fields.insert(name.clone(), value.clone());
    }
    headers::set(&mut fields, header::HOST, &framed.host);
    forwarded_for(&mut fields, facts, &framed.host);
    identify_to_service(core, facts, &mut fields, record.now())?;
    let span = core.random();
    record.traced(trace::stamp(&mut fields, record.id(), span), span);
    let uri = target(facts, &framed.path, framed.query.as_deref())?;
    let mut request = Request::new(body);
    *request.method_mut() = framed.parts.method;
    *request.uri_mut() = leg.uri(uri, &framed.host)?;
    *request.headers_mut() = fields;
    Ok(request)
}

/// Says how a body of unknown length ends: hyper leaves that of a GET out unless it is told (RFC 9112 §6.3).
fn frame(fields: &mut HeaderMap, body: &RequestBody) {
    let is_open = !body.is_end_stream() && body.size_hint().exact().is_none();
    if is_open && !fields.contains_key(header::CONTENT_LENGTH) {
        fields.insert(header::TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
    }
}

/// The one token that the service gets (DESIGN §4).
fn identify_to_service(core: &Core, facts: &Facts, fields: &mut HeaderMap, now: Now) -> Result<(), Refusal> {
    let minter = core.shared.minter.load();
    let mut tokens = core.internal.borrow_mut();
    let about = (&*facts.principal, &facts.fingerprint);
    let token = tokens.token(&minter, about, &facts.route.service.name, now.wall);
    let token = token.map_err(|_| Refusal::new(Reason::Unavailable, "no internal token could be minted"))?;
    let value = HeaderValue::try_from(["Bearer ", token.expose().as_str()].concat());
    let mut value =
        value.map_err(|_| Refusal::new(Reason::Unavailable, "the internal token is no header value"))?;
    value.set_sensitive(true);
    fields.insert(header::AUTHORIZATION, value);
    Ok(())
}

/// Rebuilt from what we know ourselves; what came was stripped (B11).
fn forwarded_for(fields: &mut HeaderMap, facts: &Facts, host: &str) {
    let source = facts.source.to_string();
    let (open, close) = if facts.source.is_ipv6() { ("\"[", "]\"") } else { ("", "") };
    let told = ["for=", open, &source, close, ";host=\"", host, "\";proto=https"].concat();
    headers::set(fields, header::FORWARDED, told);
    headers::set(fields, header::HeaderName::from_static("x-forwarded-for"), source);
    headers::set(fields, header::HeaderName::from_static("x-forwarded-proto"), "https");
}

/// The normal path, with the prefix that the route rewrites, and the query.
fn target(facts: &Facts, path: &NormalPath, query: Option<&str>) -> Result<PathAndQuery, Refusal> {
    let rewritten = match &facts.route.rewrite {
        None => None,
        Some(rewrite) => {
            path.as_str().strip_prefix(&*rewrite.prefix).map(|rest| format!("{}{rest}", rewrite.to))
        }
    };
    let path = rewritten.as_deref().unwrap_or(path.as_str());
    let path = if path.is_empty() { "/" } else { path };
    let text = match query {
        Some(query) => [path, "?", query].concat(),
        None => path.to_owned(),
    };
    text.try_into().map_err(|_| Refusal::new(Reason::MalformedRequest, "the target is no origin-form"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn e15_a_full_queue_of_ours_says_nothing_about_an_endpoint() {
        let failed = |cause| {
            let request = Box::new(Request::new(RequestBody::whole(Bytes::new())));
            outcome(&SendError::Connect { cause, request })
        };
        assert_eq!(failed(ConnectFault::Busy), None);
        assert_eq!(failed(ConnectFault::Timeout), Some(Outcome::ConnectFailed));
        assert_eq!(outcome(&SendError::Timeout), Some(Outcome::Failed));
    }
}
