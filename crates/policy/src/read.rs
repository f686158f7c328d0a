//! Reads policy files, scope rules and public routes into drafts of rules.
//!
//! INVARIANT: scope rules are built as syntax trees. No text of theirs is ever parsed, so a quote, a bracket or a
//! `*` in a scope or role means itself (B7).
//! INVARIANT: what is built here speaks about one route by its attachment, not by its text, so that the same wish on
//! many routes is one policy. Only the slice of its route ever holds it.

use std::collections::HashMap;
use std::sync::Arc;

use cedar_policy::ffi::DetailedError;
use cedar_policy::pst::{
    ActionConstraint, BinaryOp, Clause, Effect, Expr, Literal, Policy as Tree, PrincipalConstraint,
    PstConstructionError, ResourceConstraint, SmolStr, StaticPolicy, Template, Var,
};
use cedar_policy::{ParseErrors, Policy};
use portcullis_core::{Location, Name, Problem, Problems};

use crate::catalogue::Catalogue;
use crate::reach::{Reach, attachments};
use crate::rule::{self, Draft, Origin, Saying};
use crate::split::{DEEPEST, MOST_JOINTS, Piece, place, split};
use crate::{BookSource, Grant, PolicySource, PublicRoute, ScopeRule, words};

/// Every rule of a source, in the order of the source.
pub(crate) fn read<'s>(
    source: &'s BookSource,
    catalogue: &Catalogue<'_>,
    problems: &mut Problems,
) -> Vec<Draft<'s>> {
    let mut drafts = vec![];
    let mut sayings = Sayings::default();
    for file in &source.policies {
        read_file(file, catalogue, (&mut drafts, &mut sayings), problems);
    }
    for rule in &source.scope_rules {
        drafts.extend(scope_rule(rule, catalogue, &mut sayings, problems).unwrap_or_default());
    }
    for route in &source.public {
        drafts.extend(public_route(route, catalogue, &mut sayings, problems));
    }
    drafts
}

/// Tells what says the same from what does not. A policy of a file says something of its own: nobody compares texts.
#[derive(Default)]
struct Sayings<'s> {
    next: u32,
    built: HashMap<(rule::Effect, Wish<'s>), (Policy, Saying)>,
}

/// What a scope rule asks of a caller; the default asks nothing.
type Wish<'s> = [Option<&'s [Arc<str>]>; 3];

impl<'s> Sayings<'s> {
    fn own(&mut self) -> Saying {
        let saying = Saying(self.next);
        self.next = self.next.saturating_add(1);
        saying
    }

    /// The policy that was built for this before, or `build`.
    fn shared(
        &mut self,
        key: (rule::Effect, Wish<'s>),
        build: impl FnOnce() -> Result<Policy, PstConstructionError>,
    ) -> Result<(Policy, Saying), PstConstructionError> {
        if let Some(known) = self.built.get(&key) {
            return Ok(known.clone());
        }
        let made = (build()?, self.own());
        self.built.insert(key, made.clone());
        Ok(made)
    }
}

fn read_file<'s>(
    file: &'s PolicySource,
    catalogue: &Catalogue<'_>,
    (drafts, sayings): (&mut Vec<Draft<'s>>, &mut Sayings<'_>),
    problems: &mut Problems,
) {
    let attached: Arc<[Reach]> =
        attachments(&file.attached, &Location::file(&file.file), catalogue, problems).into();
    for piece in split(&file.text) {
        let Piece { text, offset } = piece;
        let origin = Origin { file: &file.file, text: &file.text, offset };
        if !piece.is_shallow() {
            problems.push(too_deep(origin));
            continue;
        }
        match Policy::parse(None, text) {
            Ok(policy) => drafts.push(Draft {
                policy,
                saying: sayings.own(),
                at: Location { column: 0, ..place(&file.file, &file.text, offset) },
                origin: Some(origin),
                attached: attached.clone(),
            }),
            Err(errors) => report(&errors, origin, problems),
        }
    }
}

/// Turns a parser's complaints into problems, each at its own line.
fn report(errors: &ParseErrors, origin: Origin<'_>, problems: &mut Problems) {
    let first = DetailedError::from(errors);
    for error in std::iter::once(&first).chain(&first.related) {
        problems.push(problem_of(error, origin));
    }
}

fn too_deep(origin: Origin<'_>) -> Problem {
    Problem {
        at: place(origin.file, origin.text, origin.offset),
        key: String::new(),
        text: format!(
            "this policy is too deep or too long: at most {DEEPEST} brackets in brackets and {MOST_JOINTS} operators"
        ),
        hint: Some(
            "write several policies, or a set, as in `[\"a\", \"b\"].contains(principal.subject)`".into(),
        ),
        clause: None,
    }
}

/// One complaint of Cedar's, at the line that it is about.
pub(crate) fn problem_of(error: &DetailedError, origin: Origin<'_>) -> Problem {
    let inside = error.source_locations.first().map_or(0, |label| label.loc.start);
    Problem {
        at: place(origin.file, origin.text, origin.offset.saturating_add(inside)),
        key: String::new(),
        text: error.message.clone(),
        hint: error.help.clone(),
        clause: None,
    }
}

/// A scope rule closes its route to callers who lack something, and may open it to the others.
fn scope_rule<'s>(
    rule: &'s ScopeRule,
    catalogue: &Catalogue<'_>,
    sayings: &mut Sayings<'s>,
    problems: &mut Problems,
) -> Option<Vec<Draft<'static>>> {
    let route = catalogue.find_route(&rule.service, &rule.route, &rule.at, problems);
    let needs = needs(rule, problems)?;
    let place = (&rule.at, route?);
    let unless =
        needs.into_iter().reduce(|a, b| binary(BinaryOp::And, a, b)).map(|all| Clause::Unless(Arc::new(all)));
    let wish = [&rule.all_scopes, &rule.any_scopes, &rule.any_roles].map(|list| list.as_deref());
    let forbid = sayings.shared((rule::Effect::Forbid, wish), || build(Effect::Forbid, unless));
    let forbid = forbid.map(|said| draft(said, place));
    let permit = match rule.grant {
        Grant::Requires => None,
        Grant::Permits => Some(open(sayings, place)),
    };
    let built: Result<Vec<_>, _> = std::iter::once(forbid).chain(permit).collect();
    built
        .map_err(|cause| problems.add(&rule.at, "", format!("this scope rule cannot be built: {cause}")))
        .ok()
}

fn public_route(
    rule: &PublicRoute,
    catalogue: &Catalogue<'_>,
    sayings: &mut Sayings<'_>,
    problems: &mut Problems,
) -> Option<Draft<'static>> {
    let route = catalogue.find_route(&rule.service, &rule.route, &rule.at, problems)?;
    open(sayings, (&rule.at, route))
        .map_err(|cause| problems.add(&rule.at, "", format!("this public route cannot be built: {cause}")))
        .ok()
}

/// What a caller needs, as one expression for each list; `None` after a problem.
fn needs(rule: &ScopeRule, problems: &mut Problems) -> Option<Vec<Expr>> {
    let before = problems.count();
    let mut needs = vec![];
    let lists = [
        ("all_scopes", &rule.all_scopes, BinaryOp::ContainsAll, words::SCOPES),
        ("any_scopes", &rule.any_scopes, BinaryOp::ContainsAny, words::SCOPES),
        ("any_roles", &rule.any_roles, BinaryOp::ContainsAny, words::ROLES),
    ];
    for (key, list, op, attr) in lists {
        let Some(list) = list else { continue };
        if list.is_empty() {
            // SECURITY: "all of nothing" is true for everybody (B7).
            problems.add(&rule.at, key, "an empty list: leave it out, or name what a caller needs");
        }
        if attr == words::SCOPES {
            list.iter().for_each(|scope| check_scope(scope, &rule.at, key, problems));
        }
        let caller = Expr::GetAttr { expr: Arc::new(Expr::Var(Var::Principal)), attr: attr.into() };
        needs.push(binary(op, caller, set(list)));
    }
    if needs.is_empty() {
        problems.add(
            &rule.at,
            "",
            "a scope rule needs at least one of `all_scopes`, `any_scopes`, `any_roles`",
        );
    }
    (problems.count() == before).then_some(needs)
}

/// A scope token (RFC 6749 §3.3). Another text could never be on a caller, so it is a typing mistake.
fn check_scope(scope: &str, at: &Location, key: &str, problems: &mut Problems) {
    let permits = |b: u8| b.is_ascii_graphic() && !matches!(b, b'"' | b'\\');
    if scope.is_empty() || !scope.bytes().all(permits) {
        problems.add(at, key, format!("`{}` is not a scope", scope.escape_debug()));
    }
}

/// A permit without a condition, for one route.
fn open(sayings: &mut Sayings<'_>, place: (&Location, u32)) -> Result<Draft<'static>, PstConstructionError> {
    let said = sayings.shared((rule::Effect::Permit, Wish::default()), || build(Effect::Permit, None))?;
    Ok(draft(said, place))
}

// SECURITY: the policy itself is for every route: it must be attached to the one that it was written for.
fn draft((policy, saying): (Policy, Saying), (at, route): (&Location, u32)) -> Draft<'static> {
    Draft { policy, saying, at: at.clone(), origin: None, attached: Arc::new([Reach::Route(route)]) }
}

fn build(effect: Effect, clause: Option<Clause>) -> Result<Policy, PstConstructionError> {
    let (principal, action) = (PrincipalConstraint::Any, ActionConstraint::Any);
    let tree = Template::new("rule", effect, principal, action, ResourceConstraint::Any);
    let tree = tree.try_with_clauses(clause)?;
    Policy::from_pst(Tree::Static(StaticPolicy::try_from(tree)?))
}

fn binary(op: BinaryOp, left: Expr, right: Expr) -> Expr {
    Expr::BinaryOp { op, left: Arc::new(left), right: Arc::new(right) }
}

fn set(list: &[Arc<str>]) -> Expr {
    let text = |entry: &Arc<str>| Arc::new(Expr::Literal(Literal::String(SmolStr::from(&**entry))));
    Expr::Set(list.iter().map(text).collect())
}

/// The id of a route's entity.
pub(crate) fn route_id(service: &Name, route: &Name) -> String {
    format!("{service}/{route}")
}
