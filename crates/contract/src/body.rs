//! The body of an operation.
//!
//! INVARIANT: a body is parsed only if it is within the cap, and to no greater depth than its schema can afford (E9).

use std::collections::HashSet;
use std::sync::Arc;

use serde_json::Value;

use crate::compile::{About, Checker, DEEPEST};
use crate::decode::{Decoder, Encoding, Layout, Reading, Text};
use crate::document::step;
use crate::finding::{Finding, Findings, Kind, Place};
use crate::json::{self, Caps, JsonFault};
use crate::media;
use crate::parameter::Presence;
use crate::query;
use crate::schema::Loader;
use crate::shape::Shape;

/// The longest body that is checked.
pub(crate) const LARGEST: usize = 1 << 20;
/// The most values that a body may hold.
const MOST_VALUES: usize = 100_000;

/// What the line must do for the body to be checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyCheck {
    /// Nothing: the head says all that the contract asks.
    None,
    /// Hold the body back until it is there as a whole, up to this many bytes, and give it to
    /// [`crate::Operation::check_body`]. One byte more is a finding of its own: give what there is.
    Buffer {
        /// Bytes.
        cap: usize,
    },
}

/// The body of an operation.
#[derive(Debug)]
pub(crate) struct Body {
    pub(crate) presence: Presence,
    media: Vec<Media>,
}

#[derive(Debug)]
struct Media {
    range: Box<str>,
    content: Content,
}

/// How the body of one media type is checked.
#[derive(Debug)]
enum Content {
    Json(Option<Arc<Checker>>),
    Form(Shape, Arc<Checker>),
    /// Its type is listed, and that is all.
    Listed,
}

impl<'d> Loader<'d> {
    /// Reads a request body.
    pub(crate) fn body(&mut self, given: &'d Value, pointer: &str) -> Option<Body> {
        let (given, pointer) = match self.document.follow(given, pointer) {
            Ok(found) => found,
            Err(text) => {
                self.problem(pointer, text);
                return None;
            }
        };
        let Some(content) = given.get("content").and_then(Value::as_object) else {
            self.problem(&pointer, "a request body has a `content`");
            return None;
        };
        let below = step(&pointer, "content");
        let media =
            content.iter().filter_map(|(range, given)| self.media(range, given, &step(&below, range)));
        let media = media.collect();
        Some(Body { presence: Presence::of(given), media })
    }

    fn media(&mut self, written: &str, given: &'d Value, pointer: &str) -> Option<Media> {
        let Some(range) = media::essence(written) else {
            self.problem(pointer, "is not a media type");
            return None;
        };
        let below = step(pointer, "schema");
        let content = match given.get("schema") {
            Some(schema) if media::is_json(&range) => Content::Json(Some(self.checker(schema, &below)?)),
            None if media::is_json(&range) => Content::Json(None),
            Some(schema) if media::is_form(&range) => {
                Content::Form(Shape::of(schema, self.document), self.checker(schema, &below)?)
            }
            _ => Content::Listed,
        };
        Some(Media { range: range.into(), content })
    }
}

impl Body {
    fn media(&self, content_type: Option<&str>) -> Option<&Media> {
        let essence = media::essence(content_type?)?;
        let fit = |media: &&Media| media::covers(&media.range, &essence);
        self.media.iter().filter(|media| fit(media).is_some()).max_by_key(fit)
    }

    /// What the line must do for a body of this type.
    pub(crate) fn needs(&self, content_type: Option<&str>) -> BodyCheck {
        match self.media(content_type).map(|media| &media.content) {
            Some(Content::Json(_) | Content::Form(..)) => BodyCheck::Buffer { cap: LARGEST },
            Some(Content::Listed) | None => BodyCheck::None,
        }
    }

    /// Notes a type that is not listed.
    pub(crate) fn check_type(&self, content_type: Option<&str>, findings: &mut Findings) {
        if self.media(content_type).is_none() {
            let name = if content_type.is_some() { "content-type" } else { "no-content-type" };
            findings.push(Finding::body(name).of(Kind::UnsupportedMedia));
        }
    }

    /// Notes what does not fit.
    pub(crate) fn check(
        &self,
        content_type: Option<&str>,
        bytes: &[u8],
        known: &HashSet<Box<str>>,
        findings: &mut Findings,
    ) {
        let Some(media) = self.media(content_type) else { return self.check_type(content_type, findings) };
        if bytes.len() > LARGEST && !matches!(media.content, Content::Listed) {
            return findings.push(Finding::body("size").of(Kind::TooLarge));
        }
        let (value, checker) = match &media.content {
            Content::Listed => return,
            Content::Json(checker) => (read_json(bytes, checker.as_deref()), checker.as_ref()),
            Content::Form(shape, checker) => (read_form(bytes, shape), Some(checker)),
        };
        match (value, checker) {
            (Err(rule), _) => findings.push(Finding::body(rule)),
            (Ok(value), Some(checker)) if !checker.fits(&value) => {
                checker.explain(&value, About { place: Place::Body, name: "", known }, findings);
            }
            (Ok(_), _) => {}
        }
    }
}

fn read_json(bytes: &[u8], checker: Option<&Checker>) -> Result<Value, &'static str> {
    let depth = checker.map_or(DEEPEST, |checker| checker.depth);
    json::parse(bytes, Caps { depth, values: MOST_VALUES }).map_err(JsonFault::word)
}

fn read_form(bytes: &[u8], shape: &Shape) -> Result<Value, &'static str> {
    let text = std::str::from_utf8(bytes).map_err(|_| "encoding")?;
    let pairs = query::pairs(text).map_err(query::QueryFault::word)?;
    let texts: Vec<Text<'_>> = pairs.iter().map(|pair| Text::Member(&pair.name, pair.raw)).collect();
    let (layout, encoding, reading) = (Layout::Repeated, Encoding::Query, Reading::Typed);
    Decoder { shape, layout, encoding, reading }.read(&texts)
}
