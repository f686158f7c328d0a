//! Turns the schemas of a document into closed JSON Schema 2020-12.
//!
//! A schema of OpenAPI 3.0 is a dialect: `nullable`, exclusive bounds that are flags, `$ref` that hides its siblings. Here
//! every schema that is used becomes plain 2020-12, keeps only keywords that decide something, and refers to others by
//! number. What it refers to is converted once for the whole document.
//!
//! INVARIANT: a converted schema holds no keyword that this table does not know, and no reference but `#/$defs/dN`.
//! INVARIANT: every pattern compiles in the linear-time engine (threat E12).
//!
//! `readOnly` members are not demanded of a request (OpenAPI 3.0.4 §4.7.24.2); one that is sent is judged by its schema.
//!
//! Sources: OpenAPI 3.0.4 §4.7.24, 3.1.1 §4.8.24; JSON Schema 2020-12.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use portcullis_core::Problems;
use serde_json::{Map, Value, json};

use crate::compile::{self, Checker};
use crate::cycles::Graph;
use crate::document::{Document, Version, step};

/// Keywords whose value is a schema.
const ONE: [&str; 11] = [
    "not",
    "items",
    "additionalProperties",
    "contains",
    "propertyNames",
    "if",
    "then",
    "else",
    "unevaluatedItems",
    "unevaluatedProperties",
    "additionalItems",
];
/// Keywords whose value is a list of schemas.
const LIST: [&str; 4] = ["allOf", "anyOf", "oneOf", "prefixItems"];
/// Keywords whose value is a map of schemas.
const MAP: [&str; 3] = ["properties", "patternProperties", "dependentSchemas"];
/// Keywords whose value decides something by itself.
const PLAIN: [&str; 21] = [
    "type",
    "enum",
    "const",
    "multipleOf",
    "maximum",
    "minimum",
    "exclusiveMaximum",
    "exclusiveMinimum",
    "maxLength",
    "minLength",
    "pattern",
    "maxItems",
    "minItems",
    "uniqueItems",
    "maxContains",
    "minContains",
    "maxProperties",
    "minProperties",
    "required",
    "dependentRequired",
    "format",
];
/// Keywords that change what references mean; a gateway that guessed would guess wrong.
const REFUSED: [&str; 2] = ["$id", "$dynamicRef"];

/// Reads one document; what it finds on the way is shared by all operations.
#[derive(Debug)]
pub(crate) struct Loader<'d> {
    pub(crate) document: &'d Document,
    pub(crate) problems: Problems,
    /// Names of members that the contract knows, which may be shown.
    pub(crate) names: HashSet<Box<str>>,
    /// Checkers of schemas that are one reference.
    pub(crate) checkers: HashMap<usize, Arc<Checker>>,
    pub(crate) definitions: Vec<Value>,
    pub(crate) graph: Graph,
    numbers: HashMap<&'d str, usize>,
    waiting: Vec<(usize, &'d str)>,
    patterns: HashSet<&'d str>,
}

impl<'d> Loader<'d> {
    pub(crate) fn new(document: &'d Document) -> Self {
        Self {
            document,
            problems: Problems::default(),
            names: HashSet::new(),
            checkers: HashMap::new(),
            definitions: Vec::new(),
            graph: Graph::default(),
            numbers: HashMap::new(),
            waiting: Vec::new(),
            patterns: HashSet::new(),
        }
    }

    /// Notes a problem at a pointer of the document.
    pub(crate) fn problem(&mut self, pointer: &str, text: impl Into<String>) {
        self.problems.add(&self.document.at, pointer, text);
    }

    /// Converts a schema, and every schema that it leads to.
    pub(crate) fn schema(&mut self, schema: &'d Value, pointer: &str) -> Value {
        let converted = self.convert(schema, pointer);
        while let Some((number, reference)) = self.waiting.pop() {
            if let Some(target) = self.document.lookup(reference) {
                let definition = self.convert(target, reference);
                if let Some(place) = self.definitions.get_mut(number) {
                    *place = definition;
                }
            }
        }
        converted
    }

    fn convert(&mut self, schema: &'d Value, pointer: &str) -> Value {
        let given = match schema {
            Value::Object(given) => given,
            Value::Bool(_) => return schema.clone(),
            _ => {
                self.problem(pointer, "is not a schema");
                return Value::Bool(false);
            }
        };
        let mut out = Map::new();
        if let Some(reference) = given.get("$ref") {
            out.insert("$ref".to_owned(), self.reference(reference, pointer));
            if self.document.version == Version::V30 {
                return Value::Object(out);
            }
        }
        for (keyword, value) in given {
            self.keyword(&mut out, keyword, value, pointer);
        }
        exclusive_flags(&mut out, given);
        if self.document.version == Version::V30 {
            nullable(&mut out, given);
        }
        bounds_of_format(&mut out);
        if out.get("additionalProperties") == Some(&Value::Bool(false)) {
            // With no property known at all, the validator would tell no names; with an empty map it does.
            out.entry("properties").or_insert_with(|| json!({}));
        }
        self.spare_read_only(&mut out, given);
        Value::Object(out)
    }

    fn keyword(&mut self, out: &mut Map<String, Value>, keyword: &str, value: &'d Value, pointer: &str) {
        let here = || step(pointer, keyword);
        let converted = if ONE.contains(&keyword) {
            self.convert(value, &here())
        } else if LIST.contains(&keyword) {
            let Value::Array(all) = value else { return self.problem(&here(), "must be a list of schemas") };
            let convert = |(n, each)| self.convert(each, &step(&here(), &format!("{n}")));
            Value::Array(all.iter().enumerate().map(convert).collect())
        } else if MAP.contains(&keyword) {
            let Value::Object(all) = value else { return self.problem(&here(), "must be a map of schemas") };
            Value::Object(self.each_of(keyword, all, &here()))
        } else if PLAIN.contains(&keyword) {
            if let ("pattern", Some(pattern)) = (keyword, value.as_str()) {
                self.pattern(pattern, &here());
            }
            value.clone()
        } else {
            if REFUSED.contains(&keyword) {
                self.problem(
                    &here(),
                    format!("`{keyword}` is not supported; refer to `#/components/schemas/…`"),
                );
            }
            return;
        };
        out.insert(keyword.to_owned(), converted);
    }

    fn each_of(&mut self, keyword: &str, all: &'d Map<String, Value>, pointer: &str) -> Map<String, Value> {
        let mut out = Map::new();
        for (name, schema) in all {
            match keyword {
                "properties" => drop(self.names.insert(name.as_str().into())),
                "patternProperties" => self.pattern(name, &step(pointer, name)),
                _ => {}
            }
            out.insert(name.clone(), self.convert(schema, &step(pointer, name)));
        }
        out
    }

    /// The number under which a reference's target is, or will be, converted.
    fn reference(&mut self, reference: &'d Value, pointer: &str) -> Value {
        let Some(text) = reference.as_str() else {
            self.problem(&step(pointer, "$ref"), "must be a text");
            return Value::Null;
        };
        if let Err(text) = self.document.target(text) {
            self.problem(&step(pointer, "$ref"), text);
            return Value::Null;
        }
        let next = self.definitions.len();
        let number = *self.numbers.entry(text).or_insert(next);
        if number == next {
            self.definitions.push(Value::Bool(false));
            self.waiting.push((number, text));
        }
        Value::String(format!("#/$defs/d{number}"))
    }

    fn pattern(&mut self, pattern: &'d str, pointer: &str) {
        if self.patterns.insert(pattern) && !compile::is_linear(pattern) {
            self.problem(
                pointer,
                format!(
                    "the pattern `{pattern}` is not one that runs in linear time; write it without look-around and \
                     back-references"
                ),
            );
        }
    }

    /// A request need not send what only answers have.
    fn spare_read_only(&self, out: &mut Map<String, Value>, given: &Map<String, Value>) {
        let Some(Value::Array(required)) = out.get_mut("required") else { return };
        let properties = given.get("properties");
        required.retain(|name| {
            let property = name.as_str().and_then(|name| properties?.get(name));
            !property.is_some_and(|property| self.is_read_only(property))
        });
    }

    fn is_read_only(&self, property: &Value) -> bool {
        let own = property.get("readOnly") == Some(&Value::Bool(true));
        own || self
            .document
            .follow(property, "")
            .is_ok_and(|(target, _)| target.get("readOnly") == Some(&Value::Bool(true)))
    }
}

/// Exclusive bounds that are flags of OpenAPI 3.0. Documents that call themselves 3.1 still have them, and a flag cannot mean
/// anything else.
fn exclusive_flags(out: &mut Map<String, Value>, given: &Map<String, Value>) {
    for (flag, bound) in [("exclusiveMinimum", "minimum"), ("exclusiveMaximum", "maximum")] {
        match (given.get(flag), given.get(bound)) {
            (Some(Value::Bool(true)), Some(limit)) => {
                out.insert(flag.to_owned(), limit.clone());
                out.shift_remove(bound);
            }
            (Some(Value::Bool(_)), _) => drop(out.shift_remove(flag)),
            _ => {}
        }
    }
}

/// A type of OpenAPI 3.0 that admits `null` besides. An `enum` beside it must list `null` itself (3.0.4 §4.7.24.1).
fn nullable(out: &mut Map<String, Value>, given: &Map<String, Value>) {
    if given.get("nullable") == Some(&Value::Bool(true))
        && let Some(Value::String(kind)) = out.get("type").cloned()
    {
        out.insert("type".to_owned(), json!([kind, "null"]));
    }
}

/// Formats of OpenAPI that are bounds in truth; those of texts are checked as formats.
fn bounds_of_format(out: &mut Map<String, Value>) {
    let bounds = match out.get("format").and_then(Value::as_str) {
        Some("int32") => (json!(i32::MIN), json!(i32::MAX)),
        Some("int64") => (json!(i64::MIN), json!(i64::MAX)),
        _ => return,
    };
    out.shift_remove("format");
    out.entry("minimum").or_insert(bounds.0);
    out.entry("maximum").or_insert(bounds.1);
}
