//! What a rule book is compiled from: routes, claims, policies and scope rules, as configuration read them.
//!
//! A source travels inside a generation, so it can be serialised, and two equal sources compile to books that
//! answer alike.
//!
//! INVARIANT: nothing in here is trusted: [`crate::Book::compile`] checks all of it and names every problem.
//! INVARIANT: "no list" and "an empty list" are different things, and neither ever means "everybody" (B7).

use std::sync::Arc;

use portcullis_core::{Location, Name};
use serde::{Deserialize, Serialize};

use crate::Method;

/// Everything that a [`crate::Book`] is made of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BookSource {
    /// The deployment environment, for `context.environment`.
    pub environment: Name,
    /// Every route that can be asked about.
    pub routes: Vec<RouteSource>,
    /// The claims that policies may read, with their types.
    #[serde(default)]
    pub claims: Vec<ClaimSource>,
    /// Policy files.
    #[serde(default)]
    pub policies: Vec<PolicySource>,
    /// Scope rules, as written in the configuration.
    #[serde(default)]
    pub scope_rules: Vec<ScopeRule>,
    /// Routes that anybody may use, proven or not.
    #[serde(default)]
    pub public: Vec<PublicRoute>,
}

impl BookSource {
    /// A source without routes or rules; its book refuses everything.
    #[must_use]
    pub fn empty(environment: Name) -> Self {
        Self {
            environment,
            routes: vec![],
            claims: vec![],
            policies: vec![],
            scope_rules: vec![],
            public: vec![],
        }
    }
}

/// One route of one service: the resource `Route::"service/route"`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RouteSource {
    /// The service behind it.
    pub service: Name,
    /// The name of the route within the service.
    pub route: Name,
    /// The methods it has.
    pub methods: Vec<Method>,
    /// The template, such as `/orders/{id}`: what records hold in place of the path.
    pub path: Arc<str>,
    /// The names of the template's parameters, in any order.
    #[serde(default)]
    pub parameters: Vec<Arc<str>>,
    /// How much harm misuse can do.
    #[serde(default)]
    pub sensitivity: Sensitivity,
    /// Where it was written.
    pub at: Location,
}

/// How much harm misuse of a route can do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Sensitivity {
    /// Little: public or trivial information.
    Low,
    /// The usual.
    #[default]
    Medium,
    /// Much: raises the floor of what a caller must prove.
    High,
}

impl Sensitivity {
    /// The word of the schema and of configuration.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
        }
    }
}

/// One claim that policies may read as `principal.claims.<name>`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClaimSource {
    /// The name, as in the token.
    pub name: Arc<str>,
    /// The type; a caller whose claim has another type is refused by every rule that reads it.
    pub kind: ClaimKind,
    /// Whether policies must ask `has` first.
    #[serde(default)]
    pub presence: Presence,
    /// Where it was written.
    #[serde(default)]
    pub at: Location,
}

/// The type of a claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ClaimKind {
    /// `Bool`
    Flag,
    /// `Long`
    Number,
    /// `String`
    Text,
    /// `Set<String>`
    Texts,
}

/// Whether a claim is on every caller.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Presence {
    /// A policy must write `principal.claims has name && …`.
    #[default]
    Optional,
    /// A policy may read it at once; a caller without it is refused by every rule that does.
    Always,
}

/// A file of Cedar policies.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicySource {
    /// Its name, as a person wrote it.
    pub file: Arc<str>,
    /// Its content.
    pub text: Arc<str>,
    /// What it can speak about at most, whatever its policies say. An empty list is a problem, not "everything".
    pub attached: Vec<Attached>,
}

/// What a policy file can speak about at most.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Attached {
    /// Every route.
    Everything,
    /// Every route of one service.
    Service(Name),
    /// One route of a service.
    Route(Name, Name),
}

/// A scope rule of the configuration: what every caller of a route must have, whatever policies permit.
///
/// All lists that are present must be satisfied, and so must all scope rules of a route. Entries are compared
/// byte for byte: `*`, `.` and quotes mean themselves.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScopeRule {
    /// The service.
    pub service: Name,
    /// The route.
    pub route: Name,
    /// The caller needs every one of these scopes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub all_scopes: Option<Vec<Arc<str>>>,
    /// The caller needs one of these scopes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub any_scopes: Option<Vec<Arc<str>>>,
    /// The caller needs one of these roles.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub any_roles: Option<Vec<Arc<str>>>,
    /// Whether having all that is enough.
    #[serde(default)]
    pub grant: Grant,
    /// Where it was written; also the rule's id in records.
    pub at: Location,
}

/// Whether a satisfied scope rule opens the route.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Grant {
    /// It only refuses callers who lack something; a policy must permit the rest.
    #[default]
    Requires,
    /// It is enough by itself, unless a policy forbids.
    Permits,
}

/// A route that anybody may use, unless a policy forbids it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PublicRoute {
    /// The service.
    pub service: Name,
    /// The route.
    pub route: Name,
    /// Where it was written; also the rule's id in records.
    pub at: Location,
}
