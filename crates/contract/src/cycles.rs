//! Schemas that would be evaluated for ever, or for too long.
//!
//! A schema that applies itself to the same value (`A: {allOf: [A]}`) has no end: it is refused. A schema that applies itself
//! to a part of the value ends with the value; but where one value meets it on two ways at once
//! (`A: {anyOf: [{properties: {x: A}}, {properties: {x: A}}]}`) the work doubles with each level, and forty levels
//! of a kilobyte are a trillion evaluations. Such a schema meets only values that are nested a little.
//!
//! INVARIANT: no walk here is longer than the number of definitions and references of the document.

use std::collections::{HashMap, HashSet};

use serde_json::{Map, Value};

/// Keywords that apply a schema to the same value.
const IN_PLACE_ONE: [&str; 4] = ["not", "if", "then", "else"];
const IN_PLACE_LIST: [&str; 3] = ["allOf", "anyOf", "oneOf"];
/// Keywords that apply a schema to parts of a value.
const TO_PARTS: [&str; 7] = [
    "properties",
    "patternProperties",
    "additionalProperties",
    "unevaluatedProperties",
    "items",
    "contains",
    "unevaluatedItems",
];
/// More references in a row, all about one value, are a mistake.
const LONGEST_CHAIN: usize = 64;

/// The number in `#/$defs/dN`.
pub(crate) fn number(reference: &str) -> Option<usize> {
    reference.strip_prefix("#/$defs/d")?.parse().ok()
}

/// Every definition that `schema` names, anywhere in it.
pub(crate) fn references(schema: &Value) -> Vec<usize> {
    let (mut found, mut left) = (Vec::new(), vec![schema]);
    while let Some(value) = left.pop() {
        match value {
            Value::Object(members) => {
                found.extend(members.get("$ref").and_then(Value::as_str).and_then(number));
                left.extend(members.values());
            }
            Value::Array(items) => left.extend(items),
            _ => {}
        }
    }
    found
}

/// Which definitions name which others. It grows with the definitions and never looks at one twice.
#[derive(Debug, Default)]
pub(crate) struct Graph {
    edges: Vec<Vec<usize>>,
    in_place: Vec<Vec<usize>>,
    doubling: Vec<bool>,
}

impl Graph {
    /// Takes in the definitions that came since the last time.
    pub(crate) fn extend(&mut self, definitions: &[Value]) {
        let first = self.edges.len();
        for definition in definitions.iter().skip(first) {
            self.edges.push(references(definition));
            self.in_place.push(in_place(definition));
        }
        for (number, definition) in definitions.iter().enumerate().skip(first) {
            let leads_back = |from: Vec<usize>| self.closure(from).contains(&number);
            let doubles = leads_back(references(definition)) && has_two_ways(definition, leads_back);
            self.doubling.push(doubles);
        }
    }

    /// Everything that `from` leads to, itself included.
    pub(crate) fn closure(&self, from: Vec<usize>) -> HashSet<usize> {
        let (mut reached, mut left) = (HashSet::new(), from);
        while let Some(number) = left.pop() {
            if reached.insert(number) {
                left.extend(self.edges.get(number).into_iter().flatten());
            }
        }
        reached
    }

    /// Whether everything that is applied to one value comes to an end soon.
    pub(crate) fn ends(&self, closure: &HashSet<usize>) -> bool {
        let none = Vec::new();
        let mut open: HashMap<usize, &Vec<usize>> =
            closure.iter().map(|n| (*n, self.in_place.get(*n).unwrap_or(&none))).collect();
        // Takes away, round by round, what leads to nothing that is left: a cycle is never taken.
        for _ in 0..LONGEST_CHAIN {
            let is_done = |leads: &&Vec<usize>| leads.iter().all(|lead| !open.contains_key(lead));
            let done: HashSet<usize> =
                open.iter().filter(|(_, leads)| is_done(leads)).map(|(n, _)| *n).collect();
            if done.is_empty() {
                break;
            }
            open.retain(|n, _| !done.contains(n));
        }
        open.is_empty()
    }

    /// Whether some definition of these applies two ways that both lead back to it.
    pub(crate) fn doubles(&self, closure: &HashSet<usize>) -> bool {
        closure.iter().any(|n| self.doubling.get(*n).copied().unwrap_or(true))
    }
}

/// Every definition that `schema` applies to the same value.
fn in_place(schema: &Value) -> Vec<usize> {
    let (mut found, mut left) = (Vec::new(), vec![schema]);
    while let Some(value) = left.pop() {
        found.extend(value.get("$ref").and_then(Value::as_str).and_then(number));
        left.extend(IN_PLACE_ONE.iter().filter_map(|keyword| value.get(keyword)));
        let lists = IN_PLACE_LIST.iter().filter_map(|keyword| value.get(keyword)?.as_array());
        left.extend(lists.flatten());
        left.extend(
            value.get("dependentSchemas").and_then(Value::as_object).into_iter().flat_map(Map::values),
        );
    }
    found
}

/// Whether one schema in `definition` applies two ways, each of which leads back.
fn has_two_ways(definition: &Value, leads_back: impl Fn(Vec<usize>) -> bool) -> bool {
    let mut left = vec![definition];
    while let Some(value) = left.pop() {
        match value {
            Value::Object(members) => {
                if ways(members)
                    .filter(|way| !way.is_empty())
                    .filter(|way| leads_back(way.clone()))
                    .take(2)
                    .count()
                    == 2
                {
                    return true;
                }
                left.extend(members.values());
            }
            Value::Array(items) => left.extend(items),
            _ => {}
        }
    }
    false
}

/// What each way names, of those on which one schema meets the same value or the same parts of it.
fn ways(members: &Map<String, Value>) -> impl Iterator<Item = Vec<usize>> {
    let lists = IN_PLACE_LIST.iter().filter_map(|keyword| members.get(*keyword)?.as_array()).flatten();
    let ones = IN_PLACE_ONE.iter().chain(&TO_PARTS).filter_map(|keyword| members.get(*keyword));
    let maps = members.get("dependentSchemas").and_then(Value::as_object).into_iter().flat_map(Map::values);
    let reference = members.get("$ref").and_then(Value::as_str).and_then(number);
    lists.chain(ones).chain(maps).map(references).chain(reference.map(|n| vec![n]))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn graph(definitions: &[Value]) -> (Graph, HashSet<usize>) {
        let mut graph = Graph::default();
        graph.extend(definitions);
        (graph, (0..definitions.len()).collect())
    }

    #[test]
    fn e9_a_schema_that_applies_itself_to_the_same_value_has_no_end() {
        let to = |n: usize| json!({"$ref": format!("#/$defs/d{n}")});
        let table = [
            (vec![to(0)], false),
            (vec![json!({"allOf": [to(0)]})], false),
            (vec![json!({"anyOf": [{"not": to(1)}]}), json!({"then": to(0)})], false),
            (vec![json!({"dependentSchemas": {"a": to(0)}})], false),
            (vec![json!({"properties": {"a": to(0)}})], true),
            (vec![json!({"items": to(1)}), json!({"allOf": [to(0)]})], true),
            (vec![json!({"properties": {"allOf": to(0)}})], true),
        ];
        for (definitions, want) in table {
            let (graph, all) = graph(&definitions);
            assert_eq!(graph.ends(&all), want, "{definitions:?}");
        }
        let chain: Vec<Value> = (1..=100).map(to).chain([json!({})]).collect();
        let (graph, all) = graph(&chain);
        assert!(!graph.ends(&all), "a hundred references in a row");
        assert!(graph.ends(&(60..chain.len()).collect()));
    }

    #[test]
    fn e9_two_ways_back_are_seen() {
        let to = |n: usize| json!({"$ref": format!("#/$defs/d{n}")});
        let way = |n: usize| json!({"properties": {"x": to(n)}});
        let table = [
            (vec![json!({"anyOf": [way(0), way(0)]})], true),
            (vec![json!({"properties": {"x": to(1)}}), json!({"oneOf": [to(0), way(1)]})], true),
            (vec![json!({"items": to(0), "allOf": [{"items": to(0)}]})], true),
            (vec![json!({"anyOf": [way(0), {"type": "string"}]})], false),
            (vec![json!({"properties": {"left": to(0), "right": to(0)}})], false),
            (vec![json!({"anyOf": [way(1), way(1)]}), json!({})], false),
        ];
        for (definitions, want) in table {
            let (graph, all) = graph(&definitions);
            assert_eq!(graph.doubles(&all), want, "{definitions:?}");
        }
    }
}
