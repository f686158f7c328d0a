//! One parameter of an operation.
//!
//! Sources: OpenAPI 3.1.1 §4.8.12.

use std::collections::HashSet;
use std::sync::Arc;

use serde_json::Value;

use crate::compile::{About, Checker};
use crate::decode::{Decoder, Encoding, Layout, Reading, Text};
use crate::document::step;
use crate::finding::{Finding, Findings, Place};
use crate::schema::Loader;
use crate::shape::{Others, Shape};

/// One parameter of an operation.
#[derive(Debug)]
pub(crate) struct Parameter {
    pub(crate) name: Box<str>,
    pub(crate) place: Place,
    pub(crate) presence: Presence,
    layout: Layout,
    shape: Shape,
    checker: Arc<Checker>,
}

/// Whether a parameter or body must be there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Presence {
    Required,
    Optional,
}

impl Presence {
    pub(crate) fn of(value: &Value) -> Self {
        if value.get("required") == Some(&Value::Bool(true)) { Self::Required } else { Self::Optional }
    }
}

/// Header fields that a contract describes elsewhere (OpenAPI 3.1.1 §4.8.12.1).
const NOT_PARAMETERS: [&str; 3] = ["accept", "content-type", "authorization"];

impl<'d> Loader<'d> {
    /// Reads a parameter. `None` if there is a problem with it, or if it is not to be checked.
    pub(crate) fn parameter(&mut self, given: &'d Value, pointer: &str) -> Option<Parameter> {
        let (given, pointer) = match self.document.follow(given, pointer) {
            Ok(found) => found,
            Err(text) => {
                self.problem(pointer, text);
                return None;
            }
        };
        let name = given.get("name").and_then(Value::as_str).unwrap_or("");
        let place = given.get("in").and_then(Value::as_str).and_then(place);
        let (false, Some(place)) = (name.is_empty(), place) else {
            self.problem(
                &pointer,
                "a parameter has a `name`, and `in` is `path`, `query`, `header` or `cookie`",
            );
            return None;
        };
        let name = if place == Place::Header { name.to_ascii_lowercase() } else { name.to_owned() };
        if place == Place::Header && NOT_PARAMETERS.contains(&name.as_str()) {
            return None;
        }
        let (schema, layout, below) = self.laid_out(given, place, &pointer)?;
        let shape = Shape::of(schema, self.document);
        let layout = match layout {
            Layout::Assigned if !matches!(shape, Shape::Object { .. }) => Layout::Comma,
            layout => layout,
        };
        let checker = self.checker(schema, &below)?;
        self.names.insert(name.as_str().into());
        let presence = if place == Place::Path { Presence::Required } else { Presence::of(given) };
        Some(Parameter { name: name.into(), place, presence, layout, shape, checker })
    }

    /// The schema of a parameter, how it is laid out, and where the schema stands.
    fn laid_out(
        &mut self,
        given: &'d Value,
        place: Place,
        pointer: &str,
    ) -> Option<(&'d Value, Layout, String)> {
        if let Some((media, content)) =
            given.get("content").and_then(Value::as_object).and_then(|all| all.iter().next())
        {
            let below = step(&step(pointer, "content"), media);
            if crate::media::is_json(media)
                && let Some(schema) = content.get("schema")
            {
                return Some((schema, Layout::Json, step(&below, "schema")));
            }
            self.problem(&below, "the content of a parameter is JSON with a schema");
            return None;
        }
        let Some(schema) = given.get("schema") else {
            self.problem(pointer, "a parameter has a `schema` or a `content`");
            return None;
        };
        let layout = layout(given, place);
        if layout.is_none() {
            self.problem(
                &step(pointer, "style"),
                "is not supported; use `simple` in paths and headers, and `form`, `spaceDelimited`, `pipeDelimited` \
                 or `deepObject` in queries",
            );
        }
        Some((schema, layout?, step(pointer, "schema")))
    }
}

fn place(word: &str) -> Option<Place> {
    Some(match word {
        "path" => Place::Path,
        "query" => Place::Query,
        "header" => Place::Header,
        "cookie" => Place::Cookie,
        _ => return None,
    })
}

fn layout(given: &Value, place: Place) -> Option<Layout> {
    let style = given.get("style").map(|style| style.as_str().unwrap_or("")).unwrap_or(match place {
        Place::Query | Place::Cookie | Place::Body => "form",
        Place::Path | Place::Header => "simple",
    });
    let explode = given.get("explode").and_then(Value::as_bool).unwrap_or(style == "form");
    Some(match (place, style, explode) {
        (Place::Path | Place::Header, "simple", false) | (Place::Query | Place::Cookie, "form", false) => {
            Layout::Comma
        }
        (Place::Path | Place::Header, "simple", true) => Layout::Assigned,
        (Place::Query | Place::Cookie, "form", true) => Layout::Repeated,
        (Place::Query, "spaceDelimited", false) => Layout::Space,
        (Place::Query, "pipeDelimited", false) => Layout::Pipe,
        (Place::Query, "spaceDelimited" | "pipeDelimited", true) => Layout::Repeated,
        (Place::Query, "deepObject", _) => Layout::Deep,
        _ => return None,
    })
}

impl Parameter {
    /// The part of this parameter that a pair of the query is, if it is one.
    pub(crate) fn claims<'q>(&self, name: &'q str, raw: &'q str) -> Option<Text<'q>> {
        match (&self.shape, self.layout) {
            (Shape::Object { .. }, Layout::Deep) => {
                let member = name.strip_prefix(&*self.name)?.strip_prefix('[')?.strip_suffix(']')?;
                Some(Text::Member(member, raw))
            }
            (Shape::Object { members, .. }, Layout::Repeated) => {
                members.iter().any(|(known, _)| **known == *name).then_some(Text::Member(name, raw))
            }
            _ => (*self.name == *name).then_some(Text::Whole(raw)),
        }
    }

    /// The same for a pair that no parameter has by name: an open object takes it.
    pub(crate) fn takes_others<'q>(&self, name: &'q str, raw: &'q str) -> Option<Text<'q>> {
        let open = matches!(self.shape, Shape::Object { others: Others::Admitted, .. });
        (open && self.layout == Layout::Repeated).then_some(Text::Member(name, raw))
    }

    /// Notes what does not fit.
    pub(crate) fn check(&self, texts: &[Text<'_>], known: &HashSet<Box<str>>, findings: &mut Findings) {
        if texts.is_empty() {
            if self.presence == Presence::Required {
                findings.push(Finding::new(self.place, &self.name, "required"));
            }
            return;
        }
        let encoding = match self.place {
            Place::Path => Encoding::Path,
            Place::Header => Encoding::Plain,
            Place::Query | Place::Cookie | Place::Body => Encoding::Query,
        };
        let (shape, layout) = (&self.shape, self.layout);
        let read = |reading| Decoder { shape, layout, encoding, reading }.read(texts);
        match read(Reading::Typed) {
            Err(rule) => findings.push(Finding::new(self.place, &self.name, rule)),
            Ok(value) if self.checker.fits(&value) => {}
            Ok(_)
                if self.shape.is_mixed() && read(Reading::Verbatim).is_ok_and(|v| self.checker.fits(&v)) => {}
            Ok(value) => {
                let about = About { place: self.place, name: &self.name, known };
                self.checker.explain(&value, about, findings);
            }
        }
    }
}
