//! The one place that hands schemas to the validator, and reads its answers.
//!
//! INVARIANT: patterns run in the `regex` engine, whose time is linear in the text (threat E12).
//! INVARIANT: the validator fetches nothing.
//! INVARIANT: of the validator's errors only the keyword and the place are used: its texts hold values.

use std::collections::HashSet;
use std::sync::Arc;

use jsonschema::error::ValidationErrorKind;
use jsonschema::paths::{Location, LocationSegment};
use jsonschema::{Draft, PatternOptions, ValidationError, ValidationOptions, Validator};
use serde_json::{Map, Value, json};

use crate::cycles;
use crate::document::step;
use crate::finding::{Finding, Findings, Place, shown};
use crate::schema::Loader;

/// How deep a value may be nested.
pub(crate) const DEEPEST: usize = 64;
/// How deep, where the work doubles with each level.
const DEEPEST_DOUBLING: usize = 8;
/// One schema that leads to more than this many others is not compiled.
const MOST_DEFINITIONS: usize = 2_000;
/// Bytes of a compiled pattern.
const PATTERN_SIZE: usize = 1 << 20;

/// A compiled schema.
#[derive(Debug)]
pub(crate) struct Checker {
    validator: Validator,
    /// How deep a value may be nested to be checked.
    pub(crate) depth: usize,
}

fn options<'i>() -> ValidationOptions<'i> {
    jsonschema::options()
        .with_draft(Draft::Draft202012)
        .offline()
        .should_validate_formats(true)
        .with_format("byte", is_base64)
        .with_pattern_options(PatternOptions::regex().size_limit(PATTERN_SIZE).dfa_size_limit(PATTERN_SIZE))
}

/// RFC 4648 §4, padded.
fn is_base64(text: &str) -> bool {
    let body = text.trim_end_matches('=');
    let alphabet = |b: u8| b.is_ascii_alphanumeric() || b == b'+' || b == b'/';
    text.len().is_multiple_of(4) && text.len() - body.len() <= 2 && body.bytes().all(alphabet)
}

/// Whether a pattern compiles in the linear-time engine.
pub(crate) fn is_linear(pattern: &str) -> bool {
    options().build(&json!({ "pattern": pattern })).is_ok()
}

impl<'d> Loader<'d> {
    /// Compiles a schema with everything that it leads to. `None` if there is a problem with it.
    pub(crate) fn checker(&mut self, schema: &'d Value, pointer: &str) -> Option<Arc<Checker>> {
        let before = self.problems.count();
        let converted = self.schema(schema, pointer);
        if self.problems.count() > before {
            return None;
        }
        let reference = lone_reference(&converted);
        if let Some(known) = reference.and_then(|number| self.checkers.get(&number)) {
            return Some(Arc::clone(known));
        }
        let checker = Arc::new(self.compile(converted, pointer)?);
        if let Some(number) = reference {
            self.checkers.insert(number, Arc::clone(&checker));
        }
        Some(checker)
    }

    fn compile(&mut self, converted: Value, pointer: &str) -> Option<Checker> {
        self.graph.extend(&self.definitions);
        let closure = self.graph.closure(cycles::references(&converted));
        if closure.len() > MOST_DEFINITIONS {
            self.problem(pointer, format!("leads to more than {MOST_DEFINITIONS} other schemas"));
            return None;
        }
        if !self.graph.ends(&closure) {
            self.problem(pointer, "applies a schema to itself without end");
            return None;
        }
        let doubling = self.graph.doubles(&closure);
        let closed = self.close(converted, &closure);
        match options().build(&closed) {
            Ok(validator) => {
                Some(Checker { validator, depth: if doubling { DEEPEST_DOUBLING } else { DEEPEST } })
            }
            Err(error) => {
                let text: String = error.to_string().chars().filter(|c| !c.is_control()).take(200).collect();
                self.problem(pointer, format!("is not a schema that can be compiled: {text}"));
                None
            }
        }
    }

    /// The schema with its definitions inside.
    fn close(&self, converted: Value, closure: &HashSet<usize>) -> Value {
        let Value::Object(mut root) = converted else { return converted };
        let definition = |n: &usize| Some((format!("d{n}"), self.definitions.get(*n)?.clone()));
        let definitions: Map<String, Value> = closure.iter().filter_map(definition).collect();
        root.insert("$defs".to_owned(), Value::Object(definitions));
        Value::Object(root)
    }
}

/// The definition that a schema is, if it is nothing else.
fn lone_reference(schema: &Value) -> Option<usize> {
    let members = schema.as_object().filter(|members| members.len() == 1)?;
    members.get("$ref")?.as_str().and_then(cycles::number)
}

/// What findings about one value have in common.
#[derive(Clone, Copy)]
pub(crate) struct About<'a> {
    pub(crate) place: Place,
    /// The parameter; empty for a body.
    pub(crate) name: &'a str,
    /// Names of members that may be shown.
    pub(crate) known: &'a HashSet<Box<str>>,
}

impl Checker {
    pub(crate) fn fits(&self, value: &Value) -> bool {
        self.validator.is_valid(value)
    }

    /// Notes what does not fit. Of a large value the first fault alone: the validator collects every fault before it tells the
    /// first, and a body of a hundred thousand faults would cost a fifth of a second (E9).
    pub(crate) fn explain(&self, value: &Value, about: About<'_>, findings: &mut Findings) {
        if is_small(value) {
            for error in self.validator.iter_errors(value).take(Findings::MOST) {
                explain_one(&error, about, findings);
            }
        } else if let Err(error) = self.validator.validate(value) {
            explain_one(&error, about, findings);
        }
    }
}

/// Whether a value holds at most a thousand others.
fn is_small(value: &Value) -> bool {
    let mut left = vec![value];
    for _ in 0..1_000 {
        match left.pop() {
            None => return true,
            Some(Value::Array(items)) => left.extend(items.iter().take(1_000)),
            Some(Value::Object(members)) => left.extend(members.values().take(1_000)),
            Some(_) => {}
        }
    }
    left.is_empty()
}

fn explain_one(error: &ValidationError<'_>, about: About<'_>, findings: &mut Findings) {
    let pointer = safe_pointer(error.instance_path(), about.known);
    match error.kind() {
        ValidationErrorKind::AdditionalProperties { unexpected }
        | ValidationErrorKind::UnevaluatedProperties { unexpected } => {
            for name in unexpected.iter().take(Findings::MOST) {
                findings.push(Finding::unknown(about.place, name).within(pointer.clone()));
            }
        }
        ValidationErrorKind::Required { property } => {
            let member =
                property.as_str().map_or_else(|| pointer.clone(), |name| step(&pointer, &shown(name)));
            findings.push(Finding::new(about.place, about.name, "required").within(member));
        }
        kind => {
            let rule = kind.keyword().to_owned();
            findings.push(Finding::new(about.place, about.name, rule).within(pointer));
        }
    }
}

/// A pointer into a caller's value, with `*` for what only the caller has: keys of a map may be personal.
fn safe_pointer(path: &Location, known: &HashSet<Box<str>>) -> String {
    let mut out = String::new();
    for segment in path.iter() {
        out = match &segment {
            LocationSegment::Index(index) => step(&out, &index.to_string()),
            LocationSegment::Property(name) if known.contains(name.as_ref()) => step(&out, name),
            LocationSegment::Property(_) => step(&out, "*"),
        };
    }
    out
}
