//! Reads policy files, scope rules and public routes into drafts of rules.
//!
//! INVARIANT: scope rules are built as syntax trees. No text of theirs is ever parsed, so a quote, a bracket or a
//! `*` in a scope or role means itself (B7).

use std::sync::Arc;

use cedar_policy::ffi::DetailedError;
use cedar_policy::pst::{
    ActionConstraint, BinaryOp, Clause, Effect, EntityOrSlot, EntityType, EntityUID, Expr, Literal,
    Name as TypeName, Policy as Tree, PrincipalConstraint, PstConstructionError, ResourceConstraint, SmolStr,
    StaticPolicy, Template, Var,
};
use cedar_policy::{ParseErrors, Policy};
use portcullis_core::{Location, Name, Problem, Problems};

use crate::catalogue::Catalogue;
use crate::reach::{Reach, attachments};
use crate::rule::{Draft, Origin};
use crate::split::{DEEPEST, MOST_JOINTS, Piece, place, split};
use crate::{BookSource, Grant, PolicySource, PublicRoute, ScopeRule, words};

/// Every rule of a source, in the order of the source.
pub(crate) fn read<'s>(
    source: &'s BookSource,
    catalogue: &Catalogue<'_>,
    problems: &mut Problems,
) -> Vec<Draft<'s>> {
    let mut drafts = vec![];
    for file in &source.policies {
        read_file(file, catalogue, &mut drafts, problems);
    }
    for rule in &source.scope_rules {
        drafts.extend(scope_rule(rule, catalogue, problems).unwrap_or_default());
    }
    for route in &source.public {
        drafts.extend(public_route(route, catalogue, problems));
    }
    drafts
}

fn read_file<'s>(
    file: &'s PolicySource,
    catalogue: &Catalogue<'_>,
    drafts: &mut Vec<Draft<'s>>,
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
fn scope_rule(
    rule: &ScopeRule,
    catalogue: &Catalogue<'_>,
    problems: &mut Problems,
) -> Option<Vec<Draft<'static>>> {
    let route = catalogue.find_route(&rule.service, &rule.route, &rule.at, problems);
    let needs = needs(rule, problems)?;
    let id = route_id(&rule.service, &rule.route);
    let unless =
        needs.into_iter().reduce(|a, b| binary(BinaryOp::And, a, b)).map(|all| Clause::Unless(Arc::new(all)));
    let forbid = draft(Effect::Forbid, &id, unless, (&rule.at, route?));
    let permit = match rule.grant {
        Grant::Requires => None,
        Grant::Permits => Some(draft(Effect::Permit, &id, None, (&rule.at, route?))),
    };
    let built: Result<Vec<_>, _> = std::iter::once(forbid).chain(permit).collect();
    built
        .map_err(|cause| problems.add(&rule.at, "", format!("this scope rule cannot be built: {cause}")))
        .ok()
}

fn public_route(
    rule: &PublicRoute,
    catalogue: &Catalogue<'_>,
    problems: &mut Problems,
) -> Option<Draft<'static>> {
    let route = catalogue.find_route(&rule.service, &rule.route, &rule.at, problems)?;
    draft(Effect::Permit, &route_id(&rule.service, &rule.route), None, (&rule.at, route))
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

fn draft(
    effect: Effect,
    route: &str,
    clause: Option<Clause>,
    (at, reach): (&Location, u32),
) -> Result<Draft<'static>, PstConstructionError> {
    let kind = EntityType::from_name(TypeName::unqualified(words::ROUTE)?);
    let resource = EntityOrSlot::Entity(EntityUID { ty: kind, eid: route.into() });
    let tree = Template::new(
        "rule",
        effect,
        PrincipalConstraint::Any,
        ActionConstraint::Any,
        ResourceConstraint::Eq(resource),
    )
    .try_with_clauses(clause)?;
    let policy = Policy::from_pst(Tree::Static(StaticPolicy::try_from(tree)?))?;
    Ok(Draft { policy, at: at.clone(), origin: None, attached: Arc::new([Reach::Route(reach)]) })
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
