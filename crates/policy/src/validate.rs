//! Checks the types of rules, strictly, against the schema of exactly the routes that they can apply to.
//!
//! INVARIANT: a rule that passes can only fail at run time by overflow, by a claim that was promised and is
//! missing, or by depth; each of them refuses (C15).

use std::collections::{BTreeMap, BTreeSet};

use cedar_policy::ffi::DetailedError;
use cedar_policy::{
    PolicyId, PolicySet, Schema, ValidationError, ValidationMode, ValidationWarning, Validator,
};
use portcullis_core::{Location, Problem, Problems};

use crate::catalogue::Catalogue;
use crate::reach::Reach;
use crate::read::problem_of;
use crate::rule::{Draft, Rule};
use crate::schema::{Shape, schema_for};
use crate::{ClaimSource, Method};

/// Validates every rule; drafts and rules are in the same order.
pub(crate) fn validate(rules: &[(Draft<'_>, Rule)], catalogue: &Catalogue<'_>, problems: &mut Problems) {
    let mut by_reach: BTreeMap<&[Reach], Vec<&(Draft<'_>, Rule)>> = BTreeMap::new();
    for pair in rules {
        by_reach.entry(&pair.1.reaches).or_default().push(pair);
    }
    let mut by_shape: BTreeMap<Shape, Vec<&(Draft<'_>, Rule)>> = BTreeMap::new();
    for (reaches, alike) in by_reach {
        by_shape.entry(shape(reaches, catalogue)).or_default().extend(alike);
    }
    for (shape, alike) in by_shape {
        validate_alike(&shape, &alike, catalogue.claims, problems);
    }
}

fn shape(reaches: &[Reach], catalogue: &Catalogue<'_>) -> Shape {
    let places: BTreeSet<u32> = reaches.iter().flat_map(|reach| reach.places(catalogue)).collect();
    let routes = places.iter().filter_map(|place| catalogue.routes.get(*place as usize));
    Shape::of(routes.map(|route| route.parameters.as_slice()))
}

fn validate_alike(
    shape: &Shape,
    rules: &[&(Draft<'_>, Rule)],
    claims: &[ClaimSource],
    problems: &mut Problems,
) {
    let schema = Schema::from_cedarschema_str(&schema_for(claims, shape)).map(|(schema, _)| schema);
    let mut said = BTreeSet::new();
    let once = rules.iter().filter(|(_, rule)| said.insert(rule.saying));
    let set = PolicySet::from_policies(once.map(|(_, rule)| rule.policy.clone()));
    let (Ok(schema), Ok(set)) = (schema, set) else {
        problems.add(
            &Location::default(),
            "claims",
            "no schema can be made of these claims and path parameters",
        );
        return;
    };
    let result = Validator::new(schema).validate(&set, ValidationMode::Strict);
    for error in result.validation_errors() {
        let hint = hint_for(error);
        push(rules, error.policy_id(), &DetailedError::from(error), hint, problems);
    }
    for warning in result.validation_warnings().filter(|w| is_harmful(w)) {
        push(rules, warning.policy_id(), &DetailedError::from(warning), None, problems);
    }
}

/// A rule that can never be satisfied protects nothing, and one that looks other than it reads deceives (F8).
fn is_harmful(warning: &ValidationWarning) -> bool {
    matches!(
        warning,
        ValidationWarning::ImpossiblePolicy(_)
            | ValidationWarning::BidiCharsInString(_)
            | ValidationWarning::BidiCharsInIdentifier(_)
            | ValidationWarning::MixedScriptIdentifier(_)
    )
}

fn hint_for(error: &ValidationError) -> Option<&'static str> {
    let optional = matches!(error, ValidationError::UnsafeOptionalAttributeAccess(_));
    optional.then_some("ask first, as in `principal.claims has customer && …` or `context.path has id && …`")
}

fn push(
    rules: &[&(Draft<'_>, Rule)],
    id: &PolicyId,
    error: &DetailedError,
    hint: Option<&str>,
    problems: &mut Problems,
) {
    for (draft, _) in rules.iter().filter(|(_, rule)| rule.policy.id() == id) {
        let mut problem = match draft.origin {
            Some(origin) => problem_of(error, origin),
            None => Problem {
                at: draft.at.clone(),
                key: String::new(),
                text: error.message.clone(),
                hint: error.help.clone(),
                clause: None,
            },
        };
        problem.text = without_ids(&problem.text, id);
        let own = problem.hint.map(|hint| without_ids(&hint, id));
        problem.hint = hint.map(str::to_owned).or(own);
        if !problems.iter().any(|known| *known == problem) {
            problems.push(problem);
        }
    }
}

/// Cedar names the rule by its id, which nobody wrote, and says one thing once for each method.
fn without_ids(text: &str, id: &PolicyId) -> String {
    let text = text.replace(&format!("for policy `{id}`, "), "").replace(&format!("for policy `{id}`: "), "");
    Method::ALL.into_iter().fold(text, |text, m| text.replace(&format!(" for Action::\"{m}\""), ""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_lose_what_nobody_wrote() {
        let table = [
            ("for policy `7`, attribute `a` not found", "attribute `a` not found"),
            ("for policy `7`: entity", "entity"),
            ("`id` in context for Action::\"GET\" not found", "`id` in context not found"),
            ("plain", "plain"),
        ];
        for (given, want) in table {
            assert_eq!(without_ids(given, &PolicyId::new("7")), want);
        }
    }
}
