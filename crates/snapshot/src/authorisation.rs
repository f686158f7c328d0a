//! The authorisation generation: the rule book, and which slice of it belongs to which route.
//!
//! INVARIANT: every route has a slice, or the generation does not compile; a route without rules denies.
//!
//! Not here: the engine (`portcullis-policy`), identification (`keys`).

use std::collections::BTreeMap;
use std::sync::Arc;

use portcullis_config::plan;
use portcullis_core::{Generation, Problems};
use portcullis_policy::{
    Attached, Book, BookSource, ClaimKind, ClaimSource, Grant, Method, PolicySource, Presence, PublicRoute,
    RouteSource, ScopeRule, Sensitivity, SliceId,
};

use crate::router::RouteIndex;

/// What decides.
#[derive(Debug)]
pub struct Authorisation {
    /// Part of every decision's cache key.
    pub generation: Generation,
    book: Book,
    slices: Vec<SliceId>,
}

impl Authorisation {
    /// Compiles what [`source`] made of a checked plan.
    ///
    /// # Errors
    /// Every problem of every policy, with file and line.
    pub fn compile(source: &BookSource, generation: Generation) -> Result<Self, Problems> {
        let book = Book::compile(source)?;
        let mut problems = Problems::default();
        let mut slices = Vec::with_capacity(source.routes.len());
        for route in &source.routes {
            match book.slice(&route.service, &route.route) {
                Some(slice) => slices.push(slice),
                None => problems.add(&route.at, route.route.as_str(), "has no slice of the rule book"),
            }
        }
        problems.into_result(Self { generation, book, slices })
    }

    /// The rule book.
    #[must_use]
    pub fn book(&self) -> &Book {
        &self.book
    }

    /// The slice of the route at this place of the same plan's routes.
    #[must_use]
    pub fn slice(&self, route: RouteIndex) -> Option<SliceId> {
        self.slices.get(usize::try_from(route.0).ok()?).copied()
    }
}

/// What the rule book is compiled from, in the order of the plan's routes.
#[must_use]
pub fn source(plan: &plan::Plan) -> BookSource {
    let mut source = BookSource::empty(plan.environment.name().clone());
    let mut attached: BTreeMap<Arc<str>, Vec<Attached>> = BTreeMap::new();
    for service in &plan.services {
        for route in &service.routes {
            source.routes.push(route_source(service, route));
            match &route.access {
                plan::Access::Public => source.public.push(PublicRoute {
                    service: service.name.clone(),
                    route: route.id.clone(),
                    at: route.at.clone(),
                }),
                plan::Access::Ruled(rules) => {
                    source.scope_rules.extend(scope_rule(service, route, rules));
                    for file in &rules.policies {
                        let place = Attached::Route(service.name.clone(), route.id.clone());
                        attached.entry(Arc::clone(file)).or_default().push(place);
                    }
                }
            }
        }
    }
    source.claims = claims(plan);
    source.policies = plan.policies.iter().map(|file| policy(file, &mut attached)).collect();
    source
}

/// A file that routes name speaks about those routes; one that none names is shared and speaks about everything.
fn policy(file: &plan::Inlined, attached: &mut BTreeMap<Arc<str>, Vec<Attached>>) -> PolicySource {
    let attached = attached.remove(&file.file).unwrap_or_else(|| vec![Attached::Everything]);
    PolicySource { file: Arc::clone(&file.file), text: Arc::clone(&file.text), attached }
}

fn route_source(service: &plan::Service, route: &plan::Route) -> RouteSource {
    RouteSource {
        service: service.name.clone(),
        route: route.id.clone(),
        methods: route.methods.iter().map(|m| method(*m)).collect(),
        path: route.template.as_str().into(),
        parameters: route.template.params().map(Arc::from).collect(),
        sensitivity: match route.sensitivity {
            plan::Sensitivity::Low => Sensitivity::Low,
            plan::Sensitivity::Medium => Sensitivity::Medium,
            plan::Sensitivity::High => Sensitivity::High,
        },
        at: route.at.clone(),
    }
}

/// YAML scope rules of one route; none where the route relies on policy files alone.
fn scope_rule(service: &plan::Service, route: &plan::Route, rules: &plan::Rules) -> Option<ScopeRule> {
    let listed = |set: &std::collections::BTreeSet<Arc<str>>| {
        (!set.is_empty()).then(|| set.iter().cloned().collect::<Vec<_>>())
    };
    let (all, any, roles) = (listed(&rules.all_scopes), listed(&rules.any_scopes), listed(&rules.any_roles));
    (all.is_some() || any.is_some() || roles.is_some()).then(|| ScopeRule {
        service: service.name.clone(),
        route: route.id.clone(),
        all_scopes: all,
        any_scopes: any,
        any_roles: roles,
        // Every part that is written must hold: scopes alone open the route, beside policies they only narrow it.
        grant: if rules.policies.is_empty() { Grant::Permits } else { Grant::Requires },
        at: route.at.clone(),
    })
}

fn claims(plan: &plan::Plan) -> Vec<ClaimSource> {
    let kept: BTreeMap<_, _> = plan.issuers.iter().flat_map(|i| &i.keep_claims).collect();
    let claim = |(name, kind): (&Arc<str>, &plan::ClaimType)| ClaimSource {
        name: Arc::clone(name),
        kind: match kind {
            plan::ClaimType::Text => ClaimKind::Text,
            plan::ClaimType::Integer => ClaimKind::Number,
            plan::ClaimType::Boolean => ClaimKind::Flag,
            plan::ClaimType::Texts => ClaimKind::Texts,
        },
        presence: Presence::Optional,
        at: portcullis_core::Location::default(),
    };
    kept.into_iter().map(claim).collect()
}

fn method(planned: plan::Method) -> Method {
    match planned {
        plan::Method::Get => Method::Get,
        plan::Method::Head => Method::Head,
        plan::Method::Post => Method::Post,
        plan::Method::Put => Method::Put,
        plan::Method::Patch => Method::Patch,
        plan::Method::Delete => Method::Delete,
        plan::Method::Options => Method::Options,
    }
}
