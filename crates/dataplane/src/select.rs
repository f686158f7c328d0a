//! Stage 7: which endpoint?
//!
//! INVARIANT: what is hashed for a sticky choice is the proven caller, the source or a header that the operator named;
//! no cookie names or selects an endpoint (threat C8).
//!
//! Not here: counting, ejection, the choice itself (`portcullis-registry`).

use http::header::HeaderName;
use portcullis_core::{Now, Reason, Refusal};
use portcullis_registry::{EndpointId, Hint, Picked, stable_hash};
use portcullis_snapshot::plan::Balance;

use crate::authorise::{Facts, Permit};
use crate::core_state::Core;

/// An endpoint, and what would be picked by if it could not be reached.
pub(crate) struct Choice {
    /// The endpoint; it counts the request while this lives.
    pub picked: Picked,
    hash: Option<u64>,
}

/// Picks an endpoint of the permitted route's service.
pub(crate) fn select(core: &Core, permit: &Permit, now: Now) -> Result<Choice, Refusal> {
    let facts = permit.facts();
    let hash = stick(&facts.route.service.upstream.balance, facts, permit);
    pick(core, facts, hash, None, now)
}

/// Picks another one, where there is another one.
pub(crate) fn again(core: &Core, facts: &Facts, failed: &Choice) -> Result<Choice, Refusal> {
    pick(core, facts, failed.hash, Some(failed.picked.id()), core.now())
}

fn pick(
    core: &Core,
    facts: &Facts,
    hash: Option<u64>,
    avoid: Option<EndpointId>,
    now: Now,
) -> Result<Choice, Refusal> {
    let hint = Hint { hash, random: core.random(), avoid };
    let none = || Refusal::new(Reason::NoEndpoint, "every endpoint rests or is full");
    let picked = facts.route.service.endpoints.pick(hint, now).ok_or_else(none)?;
    Ok(Choice { picked, hash })
}

/// The hash of what should stay together, if anything should.
fn stick(balance: &Balance, facts: &Facts, permit: &Permit) -> Option<u64> {
    match balance {
        Balance::RoundRobin | Balance::LeastRequest => None,
        Balance::HashUser => {
            let (issuer, subject) = (facts.principal.issuer.as_str(), &*facts.principal.subject);
            Some(stable_hash(format!("{issuer}\n{subject}").as_bytes()))
        }
        Balance::HashSource => Some(stable_hash(facts.source.to_string().as_bytes())),
        Balance::HashHeader(name) => {
            let name = HeaderName::from_bytes(name.as_bytes()).ok()?;
            permit.admitted().framed.parts.headers.get(name).map(|v| stable_hash(v.as_bytes()))
        }
    }
}
