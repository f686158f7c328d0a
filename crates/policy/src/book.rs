//! A compiled rule book: one slice for each route, and in it one door for each method.
//!
//! A door holds the rules that can apply there, in at most three layers: those of every route, those of the
//! service, those of the route. A layer is shared by all doors that have the same rules, and its policies by all
//! layers whose rules say the same, so that neither an unscoped policy nor a scope is in memory five thousand times.
//!
//! INVARIANT: deny by default: a route, method or book without a satisfied permit refuses.
//! INVARIANT: one rule that fails in any layer refuses, whatever the others say (C15).
//! INVARIANT: layers only add up: errors, then forbids, then permits, so a layer cannot hide another's no (F6).
//!
//! Not here: what is remembered (`cache`), how a source becomes a book (`compile`).
//!
//! Sources: DESIGN §4 (decision cache); Cedar authorisation (docs.cedarpolicy.com); threats B7, C7, C15, F6.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use cedar_policy::{
    AuthorizationError, Authorizer, Decision, Entity, EntityUid, EvaluationError, Policy, PolicyId,
    PolicySet, Response,
};
use portcullis_core::{Name, Problems};

use crate::compile::compile;
use crate::facts::{Facing, Facts, Vocabulary};
use crate::input::Input;
use crate::rule::Effect;
use crate::{Answer, BookSource, ClaimKind, Fault, Method, Question, RuleId, Rules};

/// Names the slice of one route in one book. With another book it is of no use: it is answered
/// [`Fault::WrongBook`], unless both were compiled from equal sources.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SliceId {
    pub(crate) stamp: u64,
    pub(crate) index: u32,
}

/// A compiled rule book. Immutable; cores share one in an `Arc`.
pub struct Book {
    pub(crate) stamp: u64,
    pub(crate) environment: Name,
    pub(crate) rules: Vec<KeptRule>,
    pub(crate) slices: Vec<Slice>,
    pub(crate) names: BTreeMap<Name, BTreeMap<Name, u32>>,
    pub(crate) vocabulary: Vocabulary,
    pub(crate) authorizer: Authorizer,
    pub(crate) unscoped: usize,
}

/// What remains of a rule beside its policy.
#[derive(Debug)]
pub(crate) struct KeptRule {
    pub(crate) id: RuleId,
    pub(crate) effect: Effect,
}

/// Everything about one route.
#[derive(Debug)]
pub(crate) struct Slice {
    pub(crate) service: Name,
    pub(crate) route: Name,
    pub(crate) uid: EntityUid,
    pub(crate) parameters: Box<[Arc<str>]>,
    pub(crate) entities: Box<[Entity]>,
    pub(crate) doors: Box<[(Method, Arc<Door>)]>,
}

/// The rules that can apply to one method of one route, and what they read.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Door {
    pub(crate) layers: Box<[Arc<Layer>]>,
    /// Sorted. Parameters that the route lacks and claims that the book lacks are not in it.
    pub(crate) inputs: Box<[Input]>,
    pub(crate) claims: Box<[(Arc<str>, ClaimKind)]>,
    pub(crate) cacheable: bool,
}

/// Rules that are evaluated together.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Layer {
    /// Each has its place in `rules` for an id.
    pub(crate) policies: Arc<PolicySet>,
    /// Places in the book, ascending.
    pub(crate) rules: Box<[u32]>,
}

impl Layer {
    /// The place in the book of a policy of this layer.
    fn rule(&self, id: &PolicyId) -> Option<usize> {
        let place: usize = <PolicyId as AsRef<str>>::as_ref(id).parse().ok()?;
        self.rules.get(place).map(|rule| *rule as usize)
    }
}

impl Book {
    /// Compiles a source.
    ///
    /// # Errors
    /// Every problem of the source, with file and line.
    pub fn compile(source: &BookSource) -> Result<Self, Problems> {
        compile(source)
    }

    /// The slice of a route, for the route table to keep.
    #[must_use]
    pub fn slice(&self, service: &Name, route: &Name) -> Option<SliceId> {
        let index = *self.names.get(service)?.get(route)?;
        Some(SliceId { stamp: self.stamp, index })
    }

    /// Answers a question from the rules, without a cache. Whether the caller's credential has ended is not asked
    /// here: leeway belongs to whoever verified it.
    pub fn decide(&self, slice: SliceId, question: &Question<'_>) -> Answer {
        match self.find(slice, question) {
            Ok(Some((slice, door))) => self.evaluate(slice, door, question),
            Ok(None) => Answer::Deny { rules: Rules::default() },
            Err(fault) => Answer::broken(fault),
        }
    }

    /// The door that a question is about; `None` when the route has no such method.
    pub(crate) fn find(
        &self,
        id: SliceId,
        question: &Question<'_>,
    ) -> Result<Option<(&Slice, &Door)>, Fault> {
        // SECURITY: an id of another book would name some other route's rules.
        let slice = self.slices.get(id.index as usize).filter(|_| id.stamp == self.stamp);
        let slice = slice.ok_or(Fault::WrongBook)?;
        let door = slice.doors.iter().find(|(method, _)| *method == question.method);
        Ok(door.map(|(_, door)| (slice, &**door)))
    }

    pub(crate) fn evaluate(&self, slice: &Slice, door: &Door, question: &Question<'_>) -> Answer {
        if door.layers.is_empty() {
            return Answer::Deny { rules: Rules::default() };
        }
        match self.facing(slice, door, question).facts() {
            Ok(facts) => self.judge(door, &facts),
            Err(fault) => Answer::broken(fault),
        }
    }

    pub(crate) fn facing<'f>(
        &'f self,
        slice: &'f Slice,
        door: &'f Door,
        question: &'f Question<'f>,
    ) -> Facing<'f> {
        Facing { vocabulary: &self.vocabulary, environment: self.environment.as_str(), slice, door, question }
    }

    fn judge(&self, door: &Door, facts: &Facts) -> Answer {
        let mut verdict = Verdict::default();
        for layer in &door.layers {
            let response = self.authorizer.is_authorized(&facts.request, &layer.policies, &facts.entities);
            verdict.add(layer, &response);
        }
        verdict.answer(self)
    }

    /// The policies of a door, in the order of the book.
    pub(crate) fn policies<'b>(&'b self, door: &'b Door) -> Vec<(&'b KeptRule, &'b Policy)> {
        let of_layer = |layer: &'b Arc<Layer>| {
            layer.policies.policies().filter_map(|policy| Some((layer.rule(policy.id())?, policy)))
        };
        let mut all: Vec<_> = door.layers.iter().flat_map(of_layer).collect();
        all.sort_by_key(|(index, _)| *index);
        all.into_iter().filter_map(|(index, policy)| Some((self.rules.get(index)?, policy))).collect()
    }
}

impl fmt::Debug for Book {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Book")
            .field("stamp", &self.stamp)
            .field("routes", &self.slices.len())
            .field("rules", &self.rules.len())
            .finish_non_exhaustive()
    }
}

/// What the layers said so far.
#[derive(Default)]
struct Verdict {
    errors: Vec<(Option<usize>, Fault)>,
    forbids: Vec<Option<usize>>,
    permits: Vec<Option<usize>>,
}

impl Verdict {
    fn add(&mut self, layer: &Layer, response: &Response) {
        self.errors.extend(response.diagnostics().errors().map(|error| match error {
            AuthorizationError::PolicyEvaluationError(e) => (layer.rule(e.policy_id()), fault_of(e.inner())),
        }));
        let rules = response.diagnostics().reason().map(|id| layer.rule(id));
        match response.decision() {
            Decision::Allow => self.permits.extend(rules),
            Decision::Deny => self.forbids.extend(rules),
        }
    }

    fn answer(mut self, book: &Book) -> Answer {
        // SECURITY: errors come first. Cedar skips a rule that fails; a forbid that fails must not be skipped.
        if let Some((index, fault)) = self.errors.iter().min() {
            let rule = index.and_then(|i| book.rules.get(i)).map(|kept| kept.id.clone());
            return Answer::Broken { rule, fault: *fault };
        }
        if !self.forbids.is_empty() {
            return Answer::Deny { rules: ids(book, &mut self.forbids) };
        }
        if self.permits.is_empty() {
            return Answer::Deny { rules: Rules::default() };
        }
        Answer::Allow { rules: ids(book, &mut self.permits) }
    }
}

fn ids(book: &Book, indices: &mut [Option<usize>]) -> Rules {
    indices.sort_unstable();
    indices.iter().filter_map(|i| book.rules.get((*i)?)).map(|kept| kept.id.clone()).collect()
}

/// A word for an error of Cedar's, whose own text quotes names and values.
pub(crate) fn fault_of(error: &EvaluationError) -> Fault {
    match error {
        EvaluationError::EntityDoesNotExist(_)
        | EvaluationError::EntityAttrDoesNotExist(_)
        | EvaluationError::RecordAttrDoesNotExist(_) => Fault::Missing,
        EvaluationError::TypeError(_) => Fault::Type,
        EvaluationError::IntegerOverflow(_) => Fault::Overflow,
        EvaluationError::FailedExtensionFunctionExecution(_)
        | EvaluationError::FailedExtensionFunctionLookup(_)
        | EvaluationError::WrongNumArguments(_) => Fault::Function,
        EvaluationError::RecursionLimit(_) => Fault::Depth,
        _ => Fault::Engine,
    }
}
