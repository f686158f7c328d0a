//! What a rule reads of a question, derived from its text.
//!
//! The decision cache is sound only if its key holds everything that an answer can depend on (threat C7). So the
//! inputs of a rule are found statically, by walking its syntax tree, and whatever the walk does not understand
//! counts as reading everything.
//!
//! INVARIANT: rules are shown their inputs and nothing else, so the key and the facts cannot drift apart: what is
//! not in the key is not in the request either, and two questions with one key are one question to Cedar.
//!
//! Sources: Cedar PST (`cedar_policy::pst`); threats C7, C15.

use std::collections::BTreeSet;
use std::sync::Arc;

use cedar_policy::pst::{
    ActionConstraint, BinaryOp, Clause, EntityOrSlot, EntityUID, Expr, Literal, PrincipalConstraint,
    ResourceConstraint, Template, Var,
};

use crate::words;

/// One thing that a rule can read.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Input {
    /// Who the caller is, as a whole: `principal == Caller::"…"`.
    Identity,
    /// The caller's roles as groups: `principal in Role::"…"`.
    Groups,
    Issuer,
    Subject,
    Client,
    Proof,
    Binding,
    Assurance,
    Scopes,
    Roles,
    Claim(Arc<str>),
    /// Every claim that the book declares.
    EveryClaim,
    Parameter(Arc<str>),
    /// Every parameter of the route.
    EveryParameter,
    Environment,
    Method,
    Source,
    Time,
    /// Attributes or ancestors of the route: fixed for a slice.
    Route,
    /// The groups of the method: fixed for a slice and method.
    ActionGroups,
}

impl Input {
    /// Whether equal values mean equal answers for as long as the book lives. Time never stands still.
    pub(crate) fn is_cacheable(&self) -> bool {
        !matches!(self, Self::Time)
    }

    /// Whether the caller's entity has to be shown to the rules.
    pub(crate) fn is_of_principal(&self) -> bool {
        matches!(
            self,
            Self::Groups
                | Self::Issuer
                | Self::Subject
                | Self::Client
                | Self::Proof
                | Self::Binding
                | Self::Assurance
                | Self::Scopes
                | Self::Roles
                | Self::Claim(_)
                | Self::EveryClaim
        )
    }
}

/// The walk met something that this version does not know.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Unknown;

/// Everything that a policy reads, and every entity that it names.
#[derive(Debug, Default)]
pub(crate) struct Reading {
    pub(crate) inputs: BTreeSet<Input>,
    pub(crate) named: Vec<EntityUID>,
}

impl Reading {
    /// Walks a policy.
    pub(crate) fn of(policy: &Template) -> Result<Self, Unknown> {
        let mut reading = Self::default();
        reading.scope(policy);
        for clause in policy.clauses() {
            let (Clause::When(body) | Clause::Unless(body)) = clause;
            reading.walk(body)?;
        }
        Ok(reading)
    }

    fn scope(&mut self, policy: &Template) {
        match &policy.principal {
            PrincipalConstraint::Any | PrincipalConstraint::Is(_) => {}
            PrincipalConstraint::Eq(entity) => {
                self.inputs.insert(Input::Identity);
                self.name(entity);
            }
            PrincipalConstraint::In(entity) | PrincipalConstraint::IsIn(_, entity) => {
                self.name(entity);
                self.caller_in(matches!(entity, EntityOrSlot::Entity(e) if is_role(e)));
            }
        }
        match &policy.action {
            ActionConstraint::Any => {}
            ActionConstraint::Eq(action) => self.named.push(action.clone()),
            ActionConstraint::In(actions) => {
                self.named.extend(actions.iter().cloned());
                self.inputs.insert(Input::ActionGroups);
            }
        }
        match &policy.resource {
            ResourceConstraint::Any | ResourceConstraint::Is(_) => {}
            ResourceConstraint::Eq(entity) => self.name(entity),
            ResourceConstraint::In(entity) | ResourceConstraint::IsIn(_, entity) => {
                self.inputs.insert(Input::Route);
                self.name(entity);
            }
        }
    }

    fn name(&mut self, entity: &EntityOrSlot) {
        if let EntityOrSlot::Entity(uid) = entity {
            self.named.push(uid.clone());
        }
    }

    /// `principal in …`: a role can only match a group, anything else could match the caller itself.
    fn caller_in(&mut self, only_roles: bool) {
        self.inputs.insert(Input::Groups);
        if !only_roles {
            self.inputs.insert(Input::Identity);
        }
    }

    fn walk(&mut self, expr: &Expr) -> Result<(), Unknown> {
        match expr {
            Expr::Literal(Literal::EntityUID(uid)) => self.named.push(uid.clone()),
            Expr::Literal(Literal::Bool(_) | Literal::Long(_) | Literal::String(_)) => {}
            Expr::Var(var) => self.path(var, &[]),
            Expr::GetAttr { expr: base, attr } => self.chain(base, vec![attr.as_str()])?,
            Expr::HasAttr { expr: base, attrs } => {
                self.chain(base, attrs.iter().rev().map(|a| a.as_str()).collect())?;
            }
            Expr::BinaryOp { op: BinaryOp::In, left, right } => self.within(left, right)?,
            Expr::BinaryOp { op: BinaryOp::GetTag | BinaryOp::HasTag, left, right } => {
                self.everything();
                self.all([left, right])?;
            }
            Expr::BinaryOp { left, right, .. } => self.all([left, right])?,
            Expr::UnaryOp { expr, .. } | Expr::Like { expr, .. } => self.walk(expr)?,
            Expr::Is { expr, in_expr: Some(group), .. } => self.within(expr, group)?,
            Expr::Is { expr, in_expr: None, .. } => self.walk(expr)?,
            Expr::IfThenElse { cond, then_expr, else_expr } => self.all([cond, then_expr, else_expr])?,
            Expr::Set(parts) => self.all(parts)?,
            Expr::Record(parts) => self.all(parts.values())?,
            // A template's slot, an unknown of partial evaluation, or something of a later Cedar.
            _ => return Err(Unknown),
        }
        Ok(())
    }

    fn all<'e>(&mut self, parts: impl IntoIterator<Item = &'e Arc<Expr>>) -> Result<(), Unknown> {
        parts.into_iter().try_for_each(|part| self.walk(part))
    }

    /// `base.attr`: follows the dots down to a variable. `last_first` holds the attributes met so far, reversed.
    fn chain<'e>(&mut self, mut base: &'e Expr, mut last_first: Vec<&'e str>) -> Result<(), Unknown> {
        while let Expr::GetAttr { expr, attr } = base {
            last_first.push(attr.as_str());
            base = expr;
        }
        last_first.reverse();
        if let Expr::Var(var) = base {
            self.path(var, &last_first);
            return Ok(());
        }
        // SECURITY: the attribute of something that is not plainly a variable could be anybody's.
        self.everything();
        self.walk(base)
    }

    fn within(&mut self, left: &Expr, right: &Expr) -> Result<(), Unknown> {
        match left {
            Expr::Var(Var::Principal) => self.caller_in(names_only_roles(right)),
            Expr::Var(Var::Resource) => _ = self.inputs.insert(Input::Route),
            Expr::Var(Var::Action) => _ = self.inputs.insert(Input::ActionGroups),
            other => {
                self.everything();
                self.walk(other)?;
            }
        }
        self.walk(right)
    }

    fn path(&mut self, var: &Var, attrs: &[&str]) {
        match (var, attrs) {
            // The bare caller is its name; reading attributes through an alias is `everything`.
            (Var::Principal, []) => _ = self.inputs.insert(Input::Identity),
            (Var::Principal, [words::CLAIMS, name, ..]) => {
                _ = self.inputs.insert(Input::Claim((*name).into()));
            }
            (Var::Principal, [name, ..]) => match principal_input(name) {
                Some(input) => _ = self.inputs.insert(input),
                None => self.everything(),
            },
            (Var::Context, [words::PATH, name, ..]) => {
                _ = self.inputs.insert(Input::Parameter((*name).into()));
            }
            (Var::Context, [name, ..]) if context_input(name).is_some() => {
                self.inputs.extend(context_input(name));
            }
            (Var::Context, _) => self.whole_context(),
            (Var::Resource, []) => {}
            (Var::Resource, _) => _ = self.inputs.insert(Input::Route),
            (Var::Action, _) => _ = self.inputs.insert(Input::ActionGroups),
        }
    }

    fn whole_context(&mut self) {
        use Input::{Environment, EveryParameter, Method, Source, Time};
        self.inputs.extend([Environment, EveryParameter, Method, Source, Time]);
    }

    /// Every attribute and ancestor of every entity.
    fn everything(&mut self) {
        use Input::{ActionGroups, Groups, Identity, Route};
        self.inputs.extend(words::OF_PRINCIPAL.iter().filter_map(|name| principal_input(name)));
        self.inputs.extend([Identity, Groups, Route, ActionGroups]);
    }
}

fn principal_input(name: &str) -> Option<Input> {
    Some(match name {
        words::ISSUER => Input::Issuer,
        words::SUBJECT => Input::Subject,
        words::CLIENT => Input::Client,
        words::PROOF => Input::Proof,
        words::BINDING => Input::Binding,
        words::ASSURANCE => Input::Assurance,
        words::SCOPES => Input::Scopes,
        words::ROLES => Input::Roles,
        words::CLAIMS => Input::EveryClaim,
        _ => return None,
    })
}

fn context_input(name: &str) -> Option<Input> {
    Some(match name {
        words::ENVIRONMENT => Input::Environment,
        words::METHOD => Input::Method,
        words::PATH => Input::EveryParameter,
        words::SOURCE => Input::Source,
        words::TIME => Input::Time,
        _ => return None,
    })
}

fn is_role(uid: &EntityUID) -> bool {
    uid.ty.0.namespace.is_empty() && uid.ty.0.id.as_str() == words::ROLE
}

fn names_only_roles(expr: &Expr) -> bool {
    match expr {
        Expr::Literal(Literal::EntityUID(uid)) => is_role(uid),
        Expr::Set(parts) => parts.iter().all(|part| names_only_roles(part)),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inputs(text: &str) -> String {
        let policy = cedar_policy::Policy::parse(None, text).expect("a policy").to_pst().expect("a tree");
        let read = Reading::of(policy.body()).expect("known");
        read.inputs.iter().map(|i| format!("{i:?}")).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn c7_every_reading_is_found() {
        let everything = "Identity Groups Issuer Subject Client Proof Binding Assurance Scopes Roles EveryClaim \
                          Route ActionGroups";
        let table = [
            ("", ""),
            ("when { true }", ""),
            ("when { principal.scopes.contains(\"a\") }", "Scopes"),
            ("unless { principal.scopes.isEmpty() }", "Scopes"),
            ("when { principal has client && principal.client == \"x\" }", "Client"),
            ("when { principal[\"roles\"].contains(\"a\") }", "Roles"),
            ("when { principal.claims has customer }", "Claim(\"customer\")"),
            ("when { principal has claims.customer }", "Claim(\"customer\")"),
            ("when { principal has claims }", "EveryClaim"),
            ("when { principal.claims == {\"a\": 1} }", "EveryClaim"),
            ("when { context.path.id == principal.claims.a }", "Claim(\"a\") Parameter(\"id\")"),
            ("when { context.path[\"id\"] like \"a*\" }", "Parameter(\"id\")"),
            ("when { context.path has id }", "Parameter(\"id\")"),
            ("when { context has path.id }", "Parameter(\"id\")"),
            ("when { context.path == {} }", "EveryParameter"),
            ("when { context.source.isInRange(ip(\"10.0.0.0/8\")) }", "Source"),
            ("when { context.time < datetime(\"2030-01-01\") }", "Time"),
            ("when { context.environment == \"test\" }", "Environment"),
            ("when { context == context }", "EveryParameter Environment Method Source Time"),
            ("when { principal == Caller::\"a|b\" }", "Identity"),
            ("when { [principal].contains(Caller::\"a|b\") }", "Identity"),
            ("when { principal in Role::\"a\" }", "Groups"),
            ("when { principal in [Role::\"a\", Role::\"b\"] }", "Groups"),
            ("when { principal in [Role::\"a\", Caller::\"a|b\"] }", "Identity Groups"),
            ("when { principal is Caller in Role::\"a\" }", "Groups"),
            ("when { resource.sensitivity == Sensitivity::\"high\" }", "Route"),
            ("when { resource in Service::\"a\" }", "Route"),
            ("when { action in Action::\"read\" }", "ActionGroups"),
            (
                "when { if principal.assurance > 1 then context.method == \"GET\" else false }",
                "Assurance Method",
            ),
            // Aliases: the walk does not follow them, so they count as reading everything.
            ("when { (if true then principal else principal).roles.contains(\"a\") }", everything),
            ("when { {\"a\": principal}.a.issuer == \"x\" }", everything),
            ("when { Caller::\"a|b\".roles.contains(\"a\") }", everything),
            ("when { Caller::\"a|b\" in Role::\"x\" }", everything),
            ("when { principal.unheard }", everything),
        ];
        for (clause, want) in table {
            let got = inputs(&format!("permit(principal, action, resource) {clause};"));
            let want = want.split_whitespace().collect::<BTreeSet<_>>();
            assert_eq!(got.split_whitespace().collect::<BTreeSet<_>>(), want, "{clause}");
        }
    }

    #[test]
    fn c7_scope_clauses_are_read_too() {
        let table = [
            ("principal == Caller::\"a|b\", action, resource", "Identity"),
            ("principal in Role::\"a\", action, resource", "Groups"),
            ("principal is Caller in Role::\"a\", action, resource", "Groups"),
            ("principal in Caller::\"a|b\", action, resource", "Identity Groups"),
            ("principal is Caller, action == Action::\"GET\", resource == Route::\"a/b\"", ""),
            ("principal, action in [Action::\"read\"], resource", "ActionGroups"),
            ("principal, action, resource in Service::\"a\"", "Route"),
        ];
        for (scope, want) in table {
            assert_eq!(inputs(&format!("permit({scope});")), want, "{scope}");
        }
    }
}
