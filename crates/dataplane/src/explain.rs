//! Why was this allowed or refused? Evaluated again, on the generation that decided.
//!
//! The inputs of the last decisions are kept in memory on the core that made them, never on disk: a record shows only
//! what the route's allow-list names, which is too little to decide again, and more must not be kept (11.6.2d).
//!
//! INVARIANT: an explanation under another generation than the one that decided is refused, not guessed.
//!
//! Not here: the explanation itself (`portcullis-policy`), redaction of inputs (the same).

use portcullis_core::RequestId;
use portcullis_policy::Question;

use crate::core_state::Core;

/// The explanation of a decision made on this core, as a table for people; `None` if it was not made here.
pub(crate) fn explain(core: &Core, id: RequestId) -> Option<String> {
    let facts = core.recall(id)?;
    let gone =
        || Some(format!("request {id} was decided under generation {}, which is gone\n", facts.generation));
    let Ok(snapshot) = core.snapshot(core.now()) else { return gone() };
    if snapshot.authorisation.generation != facts.generation {
        return gone();
    }
    let Some(slice) = snapshot.authorisation.slice(facts.index) else { return gone() };
    let params: Vec<_> = facts.params.iter().map(|(n, v)| (&**n, v.as_str())).collect();
    let question = Question {
        principal: &facts.principal,
        method: facts.method,
        path: &params,
        source: facts.source,
        now: facts.decided_at,
    };
    let explanation = snapshot.authorisation.book().explain(slice, &question);
    Some(format!(
        "request {id}, route {} of {}\n{explanation}",
        facts.route.template, facts.route.service.name
    ))
}
