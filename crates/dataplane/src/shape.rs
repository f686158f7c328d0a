//! Stage 6: how much, and in what form?
//!
//! First how many at once, then rate limits, all of them or none; then the contract, which may need the whole body.
//! A body that the contract reads is taken out of the permit, checked, and put back as the bytes that were checked.
//!
//! INVARIANT: a body that takes long to check does not hold the other requests of its core up (`helpers`).
//! INVARIANT: what the contract saw is what is forwarded.
//! INVARIANT: a request that a limit refuses was counted by no other.
//!
//! Not here: limits before anybody is identified (`identify`, `portcullis-net`), quotas' arithmetic
//! (`portcullis-limits`), what a contract says (`portcullis-contract`).
//!
//! Sources: SS028-11.4.2; MS-SS-8.1, 8.2; SS028-11.6.2b; threats E9, E10.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header;
use portcullis_contract::{BodyPresence, Findings, HeadView, Kind};
use portcullis_core::{Name, Proof, Reason, Refusal};
use portcullis_evidence::request::{Limited, Mode};
use portcullis_limits::{Ask, Busy, Held, LimitKey, Limiter, SourcePrefix, Standing, Verdict};
use portcullis_snapshot::contracts::Checks;
use portcullis_snapshot::plan::ContractMode;
use portcullis_snapshot::routes::RouteLimits;

use crate::authorise::{Facts, Permit};
use crate::body::RequestBody;
use crate::core_state::Core;
use crate::record::Record;

/// A permitted request within its limits, with the body that may be forwarded.
pub(crate) struct Shaped {
    /// The permit.
    pub permit: Permit,
    /// The body: as it comes, or as the contract saw it.
    pub body: RequestBody,
    /// The caller's place among those in flight, if that is limited.
    pub held: Option<Held>,
    /// Where the caller stands, for the `RateLimit` fields.
    pub standing: Option<(Name, Standing)>,
}

/// Applies limits and contract.
pub(crate) async fn shape(core: &Core, mut permit: Permit, record: &mut Record) -> Result<Shaped, Refusal> {
    let facts = permit.facts().clone();
    let limits = &facts.route.limits;
    // First what is given back: a caller at its cap must not use up the rates of everybody.
    let held = hold(core, &facts, limits, record)?;
    let standing = count(core, &facts, limits, record)?;
    let mut body = permit.take_body(record.connection().body_rules(facts.route.body))?;
    record.passes(body.passed());
    if let Some(checks) = &facts.route.contract {
        // Boxed: a body that is gathered has a large state, and most requests have none.
        body = Box::pin(follow(core, checks, &permit, body, record)).await?;
    }
    Ok(Shaped { permit, body, held, standing })
}

/// Holds the request to its contract; gives back the body that was seen.
async fn follow(
    core: &Core,
    checks: &Checks,
    permit: &Permit,
    body: RequestBody,
    record: &mut Record,
) -> Result<RequestBody, Refusal> {
    let method = permit.facts().method;
    let headers = &permit.admitted().framed.parts.headers;
    let content_type = headers.get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok());
    judge(record, &head_findings(checks, permit, content_type, &body), checks.mode)?;
    let Some(cap) = checks.buffers(method, content_type) else { return Ok(body) };
    let whole = body.collect(cap, core.shared.body_deadline()).await?;
    let found = examine(core, permit.facts(), content_type, &whole).await?;
    judge(record, &found, checks.mode)?;
    Ok(RequestBody::whole(whole))
}

/// Bodies up to this size are checked on the core: waking a helper would cost more.
const SMALL: usize = 64 * 1024;

/// Holds a whole body to the contract: a small one here, a large one off this core.
async fn examine(
    core: &Core,
    facts: &Facts,
    content_type: Option<&str>,
    whole: &Bytes,
) -> Result<Findings, Refusal> {
    let (route, method) = (Arc::clone(&facts.route), facts.method);
    let (content_type, whole) = (content_type.map(str::to_owned), whole.clone());
    let large = whole.len() > SMALL;
    let check = move || {
        let checks = route.contract.as_ref()?;
        Some(checks.body(method, content_type.as_deref(), &whole))
    };
    let patience = core.shared.body_deadline();
    let found = if large { core.shared.helpers.run(check, patience).await? } else { check() };
    found.ok_or_else(|| Refusal::new(Reason::Unavailable, "the route has no contract to check"))
}

fn head_findings(
    checks: &Checks,
    permit: &Permit,
    content_type: Option<&str>,
    body: &RequestBody,
) -> Findings {
    let (facts, framed) = (permit.facts(), &permit.admitted().framed);
    let path: Vec<_> = facts.params.iter().map(|(n, v)| (&**n, v.as_str())).collect();
    let headers = |name: &str, each: &mut dyn FnMut(&[u8])| {
        framed.parts.headers.get_all(name).iter().for_each(|v| each(v.as_bytes()));
    };
    let head = HeadView {
        path: &path,
        query: framed.query.as_deref(),
        headers: &headers,
        content_type,
        body: if body.is_empty() { BodyPresence::Absent } else { BodyPresence::Present },
    };
    checks.head(facts.method, &head)
}

/// Notes every finding, and refuses for the first where the contract is enforced.
fn judge(record: &mut Record, findings: &Findings, mode: ContractMode) -> Result<(), Refusal> {
    let noted = if mode == ContractMode::Enforce { Mode::Enforce } else { Mode::Report };
    for finding in findings.iter() {
        let at = format!("{} {}{}", finding.place.word(), finding.name, finding.pointer);
        record.found(finding.kind.word(), at, noted);
    }
    let Some(first) = findings.iter().next().filter(|_| mode == ContractMode::Enforce) else { return Ok(()) };
    let reason = match first.kind {
        Kind::Invalid | Kind::UnknownParameter => Reason::ContractBroken,
        Kind::UnsupportedMedia => Reason::UnsupportedMedia,
        Kind::TooLarge => Reason::BodyTooLarge,
    };
    Err(Refusal::new(reason, format!("{} {}: {}", first.place.word(), first.name, first.rule)))
}

fn count(
    core: &Core,
    facts: &Facts,
    limits: &RouteLimits,
    record: &mut Record,
) -> Result<Option<(Name, Standing)>, Refusal> {
    let (asks, used) = asks(facts, limits);
    let asks = asks.get(..used).unwrap_or_default();
    if asks.is_empty() {
        return Ok(None);
    }
    let asks: Vec<Ask<'_>> = asks.iter().flatten().copied().collect();
    match core.shared.limiter.check_all(&asks, record.now()) {
        Verdict::Pass(standing) => {
            record.limited(Limited::Within);
            Ok(Some((limits.plan.clone(), standing)))
        }
        Verdict::Refuse { retry_after, .. } => {
            record.limited(Limited::Rate);
            Err(Refusal::new(Reason::RateLimited, "a rate of the plan or procedure is used up")
                .after(retry_after))
        }
    }
}

/// Every limit of the route that applies to this caller. User keys only after authentication.
fn asks<'f>(facts: &'f Facts, limits: &'f RouteLimits) -> ([Option<Ask<'f>>; Limiter::MOST], usize) {
    let (plan, issuer, subject) = (&limits.plan, &facts.principal.issuer, &*facts.principal.subject);
    let identified = facts.principal.proof != Proof::Anonymous;
    let source = SourcePrefix::of(facts.source);
    let route = LimitKey::Route { route: &facts.route.id };
    let procedure = limits.procedure.as_ref().filter(|_| identified);
    let per_user = limits.per_user.as_ref().filter(|_| identified);
    let all = [
        per_user.map(|quota| Ask { key: LimitKey::Caller { plan, issuer, subject }, quota }),
        limits.per_source.as_ref().map(|quota| Ask { key: LimitKey::Source { plan, source }, quota }),
        limits.per_route.as_ref().map(|quota| Ask { key: route, quota }),
        procedure
            .map(|(procedure, quota)| Ask { key: LimitKey::Procedure { issuer, subject, procedure }, quota }),
    ];
    let mut asks = [None; Limiter::MOST];
    let mut used = 0;
    for (slot, ask) in asks.iter_mut().zip(all.into_iter().flatten()) {
        *slot = Some(ask);
        used += 1;
    }
    (asks, used)
}

fn hold(
    core: &Core,
    facts: &Facts,
    limits: &RouteLimits,
    record: &mut Record,
) -> Result<Option<Held>, Refusal> {
    let Some(cap) = limits.concurrent else { return Ok(None) };
    let (plan, issuer, subject) = (&limits.plan, &facts.principal.issuer, &*facts.principal.subject);
    let key = match facts.principal.proof {
        Proof::Anonymous => LimitKey::Source { plan, source: SourcePrefix::of(facts.source) },
        _ => LimitKey::Caller { plan, issuer, subject },
    };
    core.shared.concurrency.enter(&key, cap).map(Some).map_err(|busy| {
        record.limited(Limited::Concurrency);
        let private = match busy {
            Busy::AtCap => "the caller has too many requests in flight",
            Busy::Full => "the table of callers in flight is full",
        };
        Refusal::new(Reason::TooManyConcurrent, private).after(Duration::from_secs(1))
    })
}
