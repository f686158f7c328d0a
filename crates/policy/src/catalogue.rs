//! The routes and claims that rules can name, checked.
//!
//! INVARIANT: each (service, route) pair is here once, with at least one method and no parameter twice.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

use portcullis_core::{Location, Name, Problem, Problems};

use crate::nearest;
use crate::{BookSource, ClaimSource, RouteSource};

/// The routes, by service and name.
#[derive(Debug)]
pub(crate) struct Catalogue<'s> {
    pub(crate) routes: &'s [RouteSource],
    pub(crate) claims: &'s [ClaimSource],
    services: BTreeMap<&'s Name, Vec<u32>>,
    by_name: BTreeMap<(&'s Name, &'s Name), u32>,
}

impl<'s> Catalogue<'s> {
    /// Looks the whole source over. Problems with single routes leave the catalogue usable, so that rules can be
    /// checked in the same run.
    pub(crate) fn read(source: &'s BookSource, problems: &mut Problems) -> Self {
        let mut catalogue = Self {
            routes: &source.routes,
            claims: &source.claims,
            services: BTreeMap::new(),
            by_name: BTreeMap::new(),
        };
        for (index, route) in (0..).zip(&source.routes) {
            catalogue.add(index, route, problems);
        }
        check_claims(&source.claims, problems);
        catalogue
    }

    fn add(&mut self, index: u32, route: &'s RouteSource, problems: &mut Problems) {
        let key = format!("{}/{}", route.service, route.route);
        check_route(route, &key, problems);
        self.services.entry(&route.service).or_default().push(index);
        if let Some(first) = self.by_name.insert((&route.service, &route.route), index) {
            let first = self.routes.get(first as usize).map(|r| r.at.to_string()).unwrap_or_default();
            problems.add(&route.at, &key, format!("this route is already defined at {first}"));
        }
    }

    /// The place of a route.
    pub(crate) fn route(&self, service: &Name, route: &Name) -> Option<u32> {
        self.by_name.get(&(service, route)).copied()
    }

    /// The places of a service's routes.
    pub(crate) fn service(&self, service: &Name) -> Option<&[u32]> {
        self.services.get(service).map(Vec::as_slice)
    }

    /// The service of a place.
    pub(crate) fn service_of(&self, route: u32) -> Option<&'s Name> {
        self.routes.get(route as usize).map(|r| &r.service)
    }

    /// Finds a route, or adds a problem that suggests the nearest one.
    pub(crate) fn find_route(
        &self,
        service: &Name,
        route: &Name,
        at: &Location,
        problems: &mut Problems,
    ) -> Option<u32> {
        let found = self.route(service, route);
        if found.is_none() {
            problems.push(self.unknown_route(&format!("{service}/{route}"), at));
        }
        found
    }

    /// The problem of a route that is not there.
    pub(crate) fn unknown_route(&self, typed: &str, at: &Location) -> Problem {
        let known: Vec<String> = self.by_name.keys().map(|(s, r)| format!("{s}/{r}")).collect();
        Problem {
            at: at.clone(),
            key: String::new(),
            text: format!("there is no route `{}`", typed.escape_debug()),
            hint: nearest::hint(typed, known.iter().map(String::as_str)),
            clause: None,
        }
    }

    /// The problem of a service that is not there.
    pub(crate) fn unknown_service(&self, typed: &str, at: &Location) -> Problem {
        Problem {
            at: at.clone(),
            key: String::new(),
            text: format!("there is no service `{}`", typed.escape_debug()),
            hint: nearest::hint(typed, self.services.keys().map(|s| s.as_str())),
            clause: None,
        }
    }
}

fn check_route(route: &RouteSource, key: &str, problems: &mut Problems) {
    if route.methods.is_empty() {
        problems.add(&route.at, key, "a route needs at least one method");
    }
    if route.methods.iter().collect::<BTreeSet<_>>().len() != route.methods.len() {
        problems.add(&route.at, key, "a method is listed twice");
    }
    for name in &route.parameters {
        check_attribute(name, &route.at, key, problems);
    }
    if let Some(double) = first_double(&route.parameters) {
        problems.add(
            &route.at,
            key,
            format!("the path parameter `{}` is there twice", double.escape_debug()),
        );
    }
}

fn check_claims(claims: &[ClaimSource], problems: &mut Problems) {
    let mut seen = HashSet::new();
    for claim in claims {
        check_attribute(&claim.name, &claim.at, "claims", problems);
        if !seen.insert(&claim.name) {
            let text = format!("the claim `{}` is declared twice", claim.name.escape_debug());
            problems.add(&claim.at, "claims", text);
        }
    }
}

/// Claims and path parameters become attribute names: printable, and without what ends a quoted text.
fn check_attribute(name: &str, at: &Location, key: &str, problems: &mut Problems) {
    let plain = |b: u8| b.is_ascii_graphic() && !matches!(b, b'"' | b'\\');
    if name.is_empty() || name.len() > 255 || !name.bytes().all(plain) {
        let text = format!("`{}` cannot be the name of a claim or path parameter", name.escape_debug());
        problems.add(at, key, text);
    }
}

fn first_double(names: &[Arc<str>]) -> Option<&str> {
    let mut seen = HashSet::new();
    names.iter().find(|name| !seen.insert(*name)).map(|name| &**name)
}
