//! Turns a source into a book, or into the list of everything that is wrong with it.
//!
//! INVARIANT: a source with one problem makes no book at all: half a rule book could lack the half that forbids.
//! INVARIANT: equal sources make books with equal stamps; different ones with different stamps (SHA-256, 64 bits).

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use cedar_policy::{Authorizer, PolicyId, PolicySet};
use portcullis_core::{Location, Name, Problem, Problems};

use crate::book::{Book, Door, KeptRule, Layer, Slice};
use crate::catalogue::Catalogue;
use crate::facts::Vocabulary;
use crate::input::Input;
use crate::reach::Reach;
use crate::read::{read, route_id};
use crate::rule::{Draft, Rule, Saying};
use crate::validate::validate;
use crate::{BookSource, Method, RouteSource};

pub(crate) fn compile(source: &BookSource) -> Result<Book, Problems> {
    let mut problems = Problems::default();
    let catalogue = Catalogue::read(source, &mut problems);
    let rules = check(source, &catalogue, &mut problems);
    let stamp = stamp(source);
    if stamp.is_none() {
        problems.add(&Location::default(), "", "the rule book cannot be serialised");
    }
    let rules = problems.into_result(rules)?;
    Assembly::new(&catalogue, &rules).book(source, stamp.unwrap_or_default())
}

/// Reads and checks every rule. Rules with problems are not in the result.
fn check(source: &BookSource, catalogue: &Catalogue<'_>, problems: &mut Problems) -> Vec<Rule> {
    check_files(source, problems);
    let drafts = read(source, catalogue, problems);
    let mut pairs: Vec<(Draft<'_>, Rule)> = Vec::with_capacity(drafts.len());
    for draft in drafts {
        let before = problems.count();
        let rule = Rule::check(&draft, catalogue, problems);
        pairs.extend(rule.filter(|_| problems.count() == before).map(|rule| (draft, rule)));
    }
    check_ids(&pairs, problems);
    validate(&pairs, catalogue, problems);
    pairs.into_iter().map(|(_, rule)| rule).collect()
}

/// A file that is listed twice would put each of its rules into records twice.
fn check_files(source: &BookSource, problems: &mut Problems) {
    let mut seen = BTreeSet::new();
    for file in source.policies.iter().filter(|file| !seen.insert(&file.file)) {
        problems.add(
            &Location::file(&file.file),
            "",
            "this file is listed twice: attach it to several things instead",
        );
    }
}

fn check_ids(pairs: &[(Draft<'_>, Rule)], problems: &mut Problems) {
    let mut first: BTreeMap<&Name, &Location> = BTreeMap::new();
    for (_, rule) in pairs {
        let Some(id) = rule.id.id() else { continue };
        if let Some(other) = first.get(id) {
            problems.push(Problem {
                at: rule.id.at().clone(),
                key: "@id".into(),
                text: format!("the id `{id}` is already used at {other}"),
                hint: None,
                clause: None,
            });
        } else {
            first.insert(id, rule.id.at());
        }
    }
}

fn stamp(source: &BookSource) -> Option<u64> {
    let text = serde_json::to_vec(source).ok()?;
    digest(&SHA256, &text).as_ref().first_chunk().map(|head| u64::from_be_bytes(*head))
}

/// Rules by where they reach, and layers by what they hold.
struct Assembly<'r> {
    rules: &'r [Rule],
    everywhere: Vec<u32>,
    services: BTreeMap<&'r Name, Vec<u32>>,
    routes: Vec<Vec<u32>>,
    layers: HashMap<Vec<u32>, Arc<Layer>>,
    sets: HashMap<Vec<Saying>, Arc<PolicySet>>,
}

impl<'r> Assembly<'r> {
    fn new(catalogue: &Catalogue<'_>, rules: &'r [Rule]) -> Self {
        let mut assembly = Self {
            rules,
            everywhere: vec![],
            services: BTreeMap::new(),
            routes: vec![vec![]; catalogue.routes.len()],
            layers: HashMap::new(),
            sets: HashMap::new(),
        };
        for (index, rule) in (0..).zip(rules) {
            rule.reaches.iter().for_each(|reach| assembly.place(index, reach));
        }
        assembly
    }

    fn place(&mut self, index: u32, reach: &'r Reach) {
        match reach {
            Reach::Everywhere => self.everywhere.push(index),
            Reach::Service(service) => self.services.entry(service).or_default().push(index),
            Reach::Route(route) => {
                if let Some(here) = self.routes.get_mut(*route as usize) {
                    here.push(index);
                }
            }
            Reach::Nowhere => {}
        }
    }

    fn book(mut self, source: &BookSource, stamp: u64) -> Result<Book, Problems> {
        let mut names: BTreeMap<Name, BTreeMap<Name, u32>> = BTreeMap::new();
        let mut slices = Vec::with_capacity(source.routes.len());
        let vocabulary = Vocabulary::new().ok_or_else(|| engine_problem(&Location::default()))?;
        for (index, route) in (0..).zip(&source.routes) {
            names.entry(route.service.clone()).or_default().insert(route.route.clone(), index);
            let slice = self.slice(index, route, source, &vocabulary);
            slices.push(slice.ok_or_else(|| engine_problem(&route.at))?);
        }
        Ok(Book {
            stamp,
            environment: source.environment.clone(),
            rules: self.rules.iter().map(|r| KeptRule { id: r.id.clone(), effect: r.effect }).collect(),
            slices,
            names,
            vocabulary,
            authorizer: Authorizer::new(),
            unscoped: self.everywhere.len(),
        })
    }

    fn slice(
        &mut self,
        index: u32,
        route: &RouteSource,
        source: &BookSource,
        vocabulary: &Vocabulary,
    ) -> Option<Slice> {
        let uid = vocabulary.route(&route_id(&route.service, &route.route));
        let mut doors: Vec<(Method, Arc<Door>)> = Vec::with_capacity(route.methods.len());
        for method in &route.methods {
            let door = self.door(index, route, *method, source)?;
            let same = doors.iter().find(|(_, other)| **other == door).map(|(_, other)| other.clone());
            doors.push((*method, same.unwrap_or_else(|| Arc::new(door))));
        }
        let looked_at = doors.iter().any(|(_, door)| door.inputs.contains(&Input::Route));
        let entities = if looked_at {
            let service = route.service.as_str();
            vocabulary.route_entities(&uid, service, &route.path, route.sensitivity).ok()?.into()
        } else {
            Box::default()
        };
        Some(Slice {
            service: route.service.clone(),
            route: route.route.clone(),
            parameters: route.parameters.as_slice().into(),
            uid,
            entities,
            doors: doors.into(),
        })
    }

    fn door(&mut self, index: u32, route: &RouteSource, method: Method, source: &BookSource) -> Option<Door> {
        let here =
            [Some(&self.everywhere), self.services.get(&route.service), self.routes.get(index as usize)];
        let here = here.into_iter().flatten();
        let lists: Vec<Vec<u32>> =
            here.map(|list| self.of_method(list, method)).filter(|l| !l.is_empty()).collect();
        let rules = lists.iter().flatten().filter_map(|i| self.rules.get(*i as usize));
        let read: BTreeSet<Input> = rules.flat_map(|rule| rule.inputs.iter().cloned()).collect();
        let inputs = resolve(&read, route, source);
        let claims = source.claims.iter().filter(|c| inputs.contains(&Input::Claim(c.name.clone())));
        Some(Door {
            claims: claims.map(|c| (c.name.clone(), c.kind)).collect(),
            cacheable: inputs.iter().all(Input::is_cacheable),
            inputs: inputs.into_iter().collect(),
            layers: lists.into_iter().map(|list| self.layer(list)).collect::<Option<_>>()?,
        })
    }

    fn of_method(&self, list: &[u32], method: Method) -> Vec<u32> {
        let applies = |i: &&u32| self.rules.get(**i as usize).is_some_and(|r| r.methods.has(method));
        list.iter().filter(applies).copied().collect()
    }

    fn layer(&mut self, list: Vec<u32>) -> Option<Arc<Layer>> {
        if let Some(layer) = self.layers.get(&list) {
            return Some(layer.clone());
        }
        let layer = Arc::new(Layer { policies: self.set(&list)?, rules: list.as_slice().into() });
        self.layers.insert(list, layer.clone());
        Some(layer)
    }

    /// The policies of these rules. The Cedar id of each is its place among them, which is all that a set says of
    /// whose it is.
    fn set(&mut self, list: &[u32]) -> Option<Arc<PolicySet>> {
        let rules: Vec<&Rule> = list.iter().filter_map(|i| self.rules.get(*i as usize)).collect();
        let sayings = rules.iter().map(|rule| rule.saying).collect();
        if let Some(set) = self.sets.get(&sayings) {
            return Some(set.clone());
        }
        let policy = |(place, rule): (usize, &&Rule)| rule.policy.new_id(PolicyId::new(place.to_string()));
        let set = Arc::new(PolicySet::from_policies(rules.iter().enumerate().map(policy)).ok()?);
        self.sets.insert(sayings, set.clone());
        Some(set)
    }
}

/// What rules read, narrowed to what this route and this book have. The marks `EveryClaim` and `EveryParameter`
/// then mean that the record is looked at, even where it holds nothing.
fn resolve(read: &BTreeSet<Input>, route: &RouteSource, source: &BookSource) -> BTreeSet<Input> {
    let mut inputs = BTreeSet::new();
    for input in read {
        match input {
            Input::Claim(name) => {
                inputs.insert(Input::EveryClaim);
                inputs.extend(source.claims.iter().any(|c| c.name == *name).then(|| input.clone()));
            }
            Input::EveryClaim => {
                inputs.insert(Input::EveryClaim);
                inputs.extend(source.claims.iter().map(|c| Input::Claim(c.name.clone())));
            }
            Input::Parameter(name) => {
                inputs.insert(Input::EveryParameter);
                inputs.extend(route.parameters.contains(name).then(|| input.clone()));
            }
            Input::EveryParameter => {
                inputs.insert(Input::EveryParameter);
                inputs.extend(route.parameters.iter().map(|p| Input::Parameter(p.clone())));
            }
            other => _ = inputs.insert(other.clone()),
        }
    }
    inputs
}

fn engine_problem(at: &Location) -> Problems {
    let mut problems = Problems::default();
    problems.add(at, "", "the policy engine did not accept this route");
    problems
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Grant, PublicRoute, ScopeRule, Sensitivity};

    fn name(text: &str) -> Name {
        Name::parse(text).expect("a name")
    }

    fn source() -> BookSource {
        let mut source = BookSource::empty(name("test"));
        for (number, scope) in [(1, "read"), (2, "read"), (3, "write"), (4, "")] {
            let (service, route) = (name("orders"), name(&format!("route-{number}")));
            let at = Location::at("portcullis.yaml", number, 1);
            source.routes.push(RouteSource {
                service: service.clone(),
                route: route.clone(),
                methods: vec![Method::Get],
                path: "/".into(),
                parameters: vec![],
                sensitivity: Sensitivity::Low,
                at: at.clone(),
            });
            if scope.is_empty() {
                source.public.push(PublicRoute { service, route, at });
            } else {
                let all_scopes = Some(vec![scope.into()]);
                let (any_scopes, any_roles, grant) = (None, None, Grant::Permits);
                source.scope_rules.push(ScopeRule {
                    service,
                    route,
                    all_scopes,
                    any_scopes,
                    any_roles,
                    grant,
                    at,
                });
            }
        }
        source
    }

    #[test]
    fn layers_that_say_the_same_share_their_policies_and_nothing_else() {
        let book = compile(&source()).expect("a book");
        let layer = |slice: &Slice| slice.doors.first().and_then(|(_, door)| door.layers.first()).cloned();
        let layers: Vec<Arc<Layer>> = book.slices.iter().filter_map(layer).collect();
        let [one, two, write, public] = &*layers else { panic!("a layer for each route") };
        assert!(Arc::ptr_eq(&one.policies, &two.policies));
        assert_ne!(one.rules, two.rules);
        assert!(!Arc::ptr_eq(&one.policies, &write.policies));
        assert!(!Arc::ptr_eq(&one.policies, &public.policies));
    }
}
