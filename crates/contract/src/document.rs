//! Reads an OpenAPI document and finds things in it.
//!
//! INVARIANT: size, depth and number of values are bounded, aliases included, before a document is looked at (E9).
//! INVARIANT: a reference is followed within the document only, and at most [`HOPS`] in a row.

use portcullis_core::{Location, Problems};
use serde_json::Value;

use crate::json::{self, Caps, JsonFault};

/// Longer documents are a mistake.
const LARGEST: usize = 16 << 20;
const CAPS: Caps = Caps { depth: 100, values: 1_000_000 };
/// How many references may follow each other.
const HOPS: usize = 32;

/// Which dialect of schemas a document speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Version {
    /// OpenAPI 3.0: a dialect of its own.
    V30,
    /// OpenAPI 3.1: JSON Schema 2020-12.
    V31,
}

/// A document that was read.
#[derive(Debug)]
pub(crate) struct Document {
    pub(crate) root: Value,
    pub(crate) version: Version,
    pub(crate) at: Location,
}

impl Document {
    /// Reads YAML or JSON.
    pub(crate) fn read(file: &str, text: &str) -> Result<Self, Problems> {
        let mut problems = Problems::default();
        let at = Location::file(file);
        if text.len() > LARGEST {
            problems.add(&at, "", format!("is {} bytes long, at most {LARGEST} are read", text.len()));
            return Err(problems);
        }
        let is_json = text.trim_start().starts_with('{');
        let root = if is_json { read_json(file, text) } else { read_yaml(file, text) };
        let root = root.map_err(|(at, text)| {
            problems.add(&at, "", text);
            std::mem::take(&mut problems)
        })?;
        let found = root.get("openapi").and_then(Value::as_str).unwrap_or("");
        let version = match found.split('.').take(2).collect::<Vec<_>>().as_slice() {
            ["3", "0"] => Version::V30,
            ["3", "1"] => Version::V31,
            _ => {
                let found: String = found.chars().filter(char::is_ascii_graphic).take(20).collect();
                problems.add(&at, "openapi", format!("found `{found}`, expected `3.0.x` or `3.1.x`"));
                return Err(problems);
            }
        };
        Ok(Self { root, version, at })
    }

    /// What stands at `pointer`, which begins with `#`.
    pub(crate) fn lookup(&self, pointer: &str) -> Option<&Value> {
        let pointer = pointer.strip_prefix('#')?;
        let decoded = percent_encoding::percent_decode_str(pointer).decode_utf8().ok()?;
        self.root.pointer(&decoded)
    }

    /// `value`, or what it refers to in the end, and where that stands.
    pub(crate) fn follow<'d>(
        &'d self,
        value: &'d Value,
        pointer: &str,
    ) -> Result<(&'d Value, String), String> {
        let (mut value, mut pointer) = (value, pointer.to_owned());
        for _ in 0..HOPS {
            let Some(next) = value.get("$ref").and_then(Value::as_str) else { return Ok((value, pointer)) };
            value = self.target(next)?;
            next.clone_into(&mut pointer);
        }
        Err("is a chain of references without end".to_owned())
    }

    /// What a `$ref` refers to, or what is wrong with it.
    pub(crate) fn target(&self, reference: &str) -> Result<&Value, String> {
        let shown: String = reference.chars().filter(|c| !c.is_control()).take(100).collect();
        if !reference.starts_with("#/") {
            return Err(format!("refers to `{shown}`; only references within the document are followed"));
        }
        self.lookup(reference).ok_or_else(|| format!("refers to `{shown}`, which is not in the document"))
    }
}

fn read_json(file: &str, text: &str) -> Result<Value, (Location, String)> {
    json::parse(text.as_bytes(), CAPS).map_err(|fault| match fault {
        JsonFault::Syntax { line, column } => {
            let number = |n: usize| u32::try_from(n).unwrap_or(0);
            (Location::at(file, number(line), number(column)), "is not JSON".to_owned())
        }
        JsonFault::TooDeep => (Location::file(file), format!("is nested deeper than {} levels", CAPS.depth)),
        JsonFault::TooMany => (Location::file(file), format!("holds more than {} values", CAPS.values)),
        JsonFault::Duplicate => (Location::file(file), "has an object with one member twice".to_owned()),
    })
}

fn read_yaml(file: &str, text: &str) -> Result<Value, (Location, String)> {
    let options = serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_depth: CAPS.depth,
            max_nodes: CAPS.values,
            max_events: 4 * CAPS.values,
            max_documents: 1,
            max_aliases: 10_000,
        },
        alias_limits: serde_saphyr::alias_limits! { max_total_replayed_events: CAPS.values, max_replay_stack_depth: 16 },
        strict_booleans: true,
        with_snippet: false,
    };
    serde_saphyr::from_str_with_options::<Value>(text, options).map_err(|error| {
        let number = |n: u64| u32::try_from(n).unwrap_or(0);
        let at = error.location().map_or_else(
            || Location::file(file),
            |place| Location::at(file, number(place.line()), number(place.column())),
        );
        (at, format!("is not YAML that can be read: {}", first_line(&error.to_string())))
    })
}

fn first_line(text: &str) -> String {
    text.lines().next().unwrap_or("").chars().take(200).collect()
}

/// Writes one step of a JSON pointer (RFC 6901 §3).
pub(crate) fn step(pointer: &str, name: &str) -> String {
    format!("{pointer}/{}", name.replace('~', "~0").replace('/', "~1"))
}
