//! Which routes and methods a rule can apply to, from its scope clauses and from what its file is attached to.
//!
//! INVARIANT: reach is never narrower than the scope: a rule that is left out of a slice could not have been
//! satisfied there. Rules of policy files keep their scope clauses, so reach that is too wide costs time, not safety;
//! scope rules and public routes have none and reach exactly the route that they were written for.
//!
//! Sources: Cedar policy scope (docs.cedarpolicy.com, "Policy scope"); threat F6.

use std::collections::BTreeSet;

use cedar_policy::pst::{
    ActionConstraint, EntityOrSlot, EntityType, EntityUID, ResourceConstraint, Template,
};
use portcullis_core::{Location, Name, Problems};

use crate::catalogue::Catalogue;
use crate::{Attached, Method, words};

/// The methods that a rule can apply to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Methods(u8);

impl Methods {
    pub(crate) const ALL: Self = Self(u8::MAX);
    pub(crate) const NONE: Self = Self(0);

    pub(crate) fn has(self, method: Method) -> bool {
        self.0 & bit(method) != 0
    }

    fn matching(mut self, wanted: impl Fn(Method) -> bool) -> Self {
        Method::ALL.into_iter().filter(|m| wanted(*m)).for_each(|m| self.0 |= bit(m));
        self
    }

    /// From `action`, `action == …` or `action in …`.
    pub(crate) fn of(constraint: &ActionConstraint) -> Self {
        match constraint {
            ActionConstraint::Any => Self::ALL,
            ActionConstraint::Eq(action) => Self::NONE.matching(|m| is(action, words::ACTION, m.as_str())),
            ActionConstraint::In(actions) => actions.iter().fold(Self::NONE, |methods, action| {
                methods.matching(|m| {
                    is(action, words::ACTION, m.as_str()) || is(action, words::ACTION, m.group())
                })
            }),
        }
    }
}

fn bit(method: Method) -> u8 {
    1 << method as u8
}

fn is(uid: &EntityUID, kind: &str, id: &str) -> bool {
    is_kind(&uid.ty, kind) && uid.eid == id
}

pub(crate) fn is_kind(ty: &EntityType, kind: &str) -> bool {
    ty.0.namespace.is_empty() && ty.0.id.as_str() == kind
}

/// The routes that a rule can apply to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Reach {
    /// Every one.
    Everywhere,
    /// Those of one service.
    Service(Name),
    /// This one.
    Route(u32),
    /// None.
    Nowhere,
}

impl Reach {
    /// From `resource`, `resource == …`, `resource in …` or `resource is …`. Names that do not exist are
    /// `Nowhere`; the check of names reports them.
    pub(crate) fn of(policy: &Template, catalogue: &Catalogue<'_>) -> Self {
        match &policy.resource {
            ResourceConstraint::Any => Self::Everywhere,
            ResourceConstraint::Is(kind) if is_kind(kind, words::ROUTE) => Self::Everywhere,
            ResourceConstraint::Is(_) => Self::Nowhere,
            ResourceConstraint::Eq(EntityOrSlot::Entity(uid)) => Self::route_named(uid, catalogue),
            ResourceConstraint::IsIn(kind, _) if !is_kind(kind, words::ROUTE) => Self::Nowhere,
            ResourceConstraint::In(EntityOrSlot::Entity(uid))
            | ResourceConstraint::IsIn(_, EntityOrSlot::Entity(uid)) => {
                if is_kind(&uid.ty, words::SERVICE) {
                    Name::parse(&uid.eid).map_or(Self::Nowhere, Self::Service)
                } else {
                    Self::route_named(uid, catalogue)
                }
            }
            // Templates are refused before; were one here, it must not be left out of any slice.
            ResourceConstraint::Eq(_) | ResourceConstraint::In(_) | ResourceConstraint::IsIn(..) => {
                Self::Everywhere
            }
        }
    }

    fn route_named(uid: &EntityUID, catalogue: &Catalogue<'_>) -> Self {
        let found = is_kind(&uid.ty, words::ROUTE)
            .then(|| split_route(&uid.eid))
            .flatten()
            .and_then(|(service, route)| catalogue.route(&service, &route));
        found.map_or(Self::Nowhere, Self::Route)
    }

    fn of_attachment(
        attached: &Attached,
        at: &Location,
        catalogue: &Catalogue<'_>,
        problems: &mut Problems,
    ) -> Self {
        match attached {
            Attached::Everything => Self::Everywhere,
            Attached::Service(service) if catalogue.service(service).is_some() => {
                Self::Service(service.clone())
            }
            Attached::Service(service) => {
                problems.push(catalogue.unknown_service(service.as_str(), at));
                Self::Nowhere
            }
            Attached::Route(service, route) => {
                catalogue.find_route(service, route, at, problems).map_or(Self::Nowhere, Self::Route)
            }
        }
    }

    /// What both reach.
    fn meet(&self, other: &Self, catalogue: &Catalogue<'_>) -> Self {
        match (self, other) {
            (Self::Nowhere, _) | (_, Self::Nowhere) => Self::Nowhere,
            (Self::Everywhere, narrow) | (narrow, Self::Everywhere) => narrow.clone(),
            (Self::Service(a), Self::Service(b)) if a == b => self.clone(),
            (Self::Route(a), Self::Route(b)) if a == b => self.clone(),
            (Self::Service(service), Self::Route(route)) | (Self::Route(route), Self::Service(service))
                if catalogue.service_of(*route) == Some(service) =>
            {
                Self::Route(*route)
            }
            _ => Self::Nowhere,
        }
    }

    /// The places of the routes.
    pub(crate) fn places(&self, catalogue: &Catalogue<'_>) -> Vec<u32> {
        match self {
            Self::Everywhere => (0..).take(catalogue.routes.len()).collect(),
            Self::Service(service) => catalogue.service(service).unwrap_or_default().to_vec(),
            Self::Route(route) => vec![*route],
            Self::Nowhere => vec![],
        }
    }
}

/// What a file is attached to, with names resolved; the same for all its policies.
pub(crate) fn attachments(
    attached: &[Attached],
    at: &Location,
    catalogue: &Catalogue<'_>,
    problems: &mut Problems,
) -> Vec<Reach> {
    if attached.is_empty() {
        // SECURITY: an empty list must not mean "everything" (B7).
        problems.add(at, "", "this file is attached to no service and no route");
    }
    attached.iter().map(|a| Reach::of_attachment(a, at, catalogue, problems)).collect()
}

/// Where a policy of a file with these attachments can apply; nothing that another part covers is listed.
pub(crate) fn reaches(own: &Reach, attached: &[Reach], catalogue: &Catalogue<'_>) -> Vec<Reach> {
    let met: BTreeSet<_> = attached.iter().map(|a| own.meet(a, catalogue)).collect();
    let covered = |reach: &Reach| match reach {
        Reach::Nowhere => true,
        Reach::Everywhere => false,
        Reach::Service(_) => met.contains(&Reach::Everywhere),
        Reach::Route(route) => {
            let service = catalogue.service_of(*route).cloned().map(Reach::Service);
            met.contains(&Reach::Everywhere) || service.is_some_and(|s| met.contains(&s))
        }
    };
    met.iter().filter(|reach| !covered(reach)).cloned().collect()
}

/// `service/route`; names have no slash, so there is one way to read it.
pub(crate) fn split_route(id: &str) -> Option<(Name, Name)> {
    let (service, route) = id.split_once('/')?;
    Some((Name::parse(service).ok()?, Name::parse(route).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{BookSource, RouteSource, Sensitivity};

    fn source() -> BookSource {
        let name = |text: &str| Name::parse(text).expect("a name");
        let mut source = BookSource::empty(name("test"));
        for (service, route) in [("a", "x"), ("a", "y"), ("b", "x")] {
            source.routes.push(RouteSource {
                service: name(service),
                route: name(route),
                methods: vec![Method::Get],
                path: "/".into(),
                parameters: vec![],
                sensitivity: Sensitivity::Low,
                at: Location::default(),
            });
        }
        source
    }

    #[test]
    fn scope_clauses_narrow() {
        let source = source();
        let catalogue = Catalogue::read(&source, &mut Problems::default());
        let table = [
            ("resource", &[0, 1, 2][..]),
            ("resource is Route", &[0, 1, 2]),
            ("resource is Service", &[]),
            ("resource == Route::\"a/y\"", &[1]),
            ("resource in Route::\"a/y\"", &[1]),
            ("resource == Route::\"a/z\"", &[]),
            ("resource == Route::\"a/x/y\"", &[]),
            ("resource == Other::\"a/y\"", &[]),
            ("resource == Space::Route::\"a/y\"", &[]),
            ("resource in Service::\"a\"", &[0, 1]),
            ("resource in Service::\"c\"", &[]),
            ("resource is Route in Service::\"b\"", &[2]),
            ("resource is Service in Service::\"b\"", &[]),
        ];
        for (clause, want) in table {
            let text = format!("permit(principal, action, {clause});");
            let policy = cedar_policy::Policy::parse(None, text).expect("a policy").to_pst().expect("a tree");
            assert_eq!(Reach::of(policy.body(), &catalogue).places(&catalogue), want, "{clause}");
        }
    }

    #[test]
    fn actions_narrow() {
        use Method::{Delete, Get, Head, Options, Patch, Post, Put};
        let table = [
            ("action", &Method::ALL[..]),
            ("action == Action::\"GET\"", &[Get]),
            ("action == Action::\"get\"", &[]),
            ("action == Action::\"read\"", &[]),
            ("action in Action::\"read\"", &[Get, Head, Options]),
            ("action in [Action::\"write\", Action::\"GET\"]", &[Get, Post, Put, Patch, Delete]),
            ("action in []", &[]),
            ("action in [Space::Action::\"GET\"]", &[]),
        ];
        for (clause, want) in table {
            let text = format!("permit(principal, {clause}, resource);");
            let policy = cedar_policy::Policy::parse(None, text).expect("a policy").to_pst().expect("a tree");
            let methods = Methods::of(&policy.body().action);
            let got: Vec<_> = Method::ALL.into_iter().filter(|m| methods.has(*m)).collect();
            assert_eq!(got, want, "{clause}");
        }
    }

    #[test]
    fn attachment_and_scope_meet() {
        let source = source();
        let catalogue = Catalogue::read(&source, &mut Problems::default());
        let name = |text: &str| Name::parse(text).expect("a name");
        let service = |text: &str| Reach::Service(name(text));
        let table = [
            (Reach::Everywhere, vec![Reach::Everywhere], &[0, 1, 2][..]),
            (Reach::Everywhere, vec![service("a")], &[0, 1]),
            (Reach::Everywhere, vec![service("a"), Reach::Route(2)], &[0, 1, 2]),
            (Reach::Route(0), vec![service("a")], &[0]),
            (Reach::Route(2), vec![service("a")], &[]),
            (service("a"), vec![Reach::Route(1)], &[1]),
            (service("a"), vec![service("b")], &[]),
            (service("a"), vec![Reach::Everywhere, Reach::Route(1)], &[0, 1]),
            (Reach::Route(0), vec![Reach::Route(1)], &[]),
            (Reach::Nowhere, vec![Reach::Everywhere], &[]),
            (Reach::Everywhere, vec![], &[]),
        ];
        for (own, attached, want) in table {
            let met = reaches(&own, &attached, &catalogue);
            let places: Vec<_> = met.iter().flat_map(|r| r.places(&catalogue)).collect();
            assert_eq!(
                places.iter().copied().collect::<BTreeSet<_>>(),
                want.iter().copied().collect(),
                "{own:?}"
            );
            assert_eq!(places.len(), want.len(), "no route is reached twice: {own:?} {attached:?}");
        }
    }
}
