//! Path templates: `/orders/{id}` and `/files/*rest`.
//!
//! A parameter stands for exactly one segment that is not empty. `*rest` stands last and for one segment or
//! more; `/files/*rest` matches `/files/` and `/files/a/b`, not `/files`. Everything else is literal and already
//! in normal form, so that a router compares bytes (B1, B7).
//!
//! INVARIANT: a template is a normal path once its parameters are filled with normal segments.
//! INVARIANT: parameter names are distinct.

use std::fmt;
use std::sync::Arc;

use portcullis_core::{NormalPath, PathFault};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A path template that was parsed once.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RouteTemplate {
    text: Arc<str>,
    segments: Arc<[Segment]>,
}

/// One part between slashes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Segment {
    /// These bytes; empty only at the end, for a trailing slash.
    Literal(Arc<str>),
    /// Any one segment that is not empty.
    Param(Arc<str>),
    /// One segment or more; only at the end.
    Rest(Arc<str>),
}

/// Why a text is not a template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TemplateFault {
    /// The literal parts are no path.
    Path(PathFault),
    /// The literal parts are written in another than the normal form, which this is.
    NotNormal(String),
    /// A parameter has no name or an odd one.
    ParamName(String),
    /// Two parameters have one name.
    Twice(String),
    /// `*rest` before the end.
    RestInside,
    /// A brace or an asterisk within a segment.
    Stray(char),
    /// More segments than [`RouteTemplate::MOST_SEGMENTS`].
    TooDeep,
}

impl fmt::Display for TemplateFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Path(fault) => write!(f, "is not a path ({fault})"),
            Self::NotNormal(normal) => write!(f, "must be written in normal form, `{normal}`"),
            Self::ParamName(name) => {
                write!(
                    f,
                    "has a parameter `{name}`: a name is `a-z`, `0-9` and `_`, a letter first, at most 32"
                )
            }
            Self::Twice(name) => write!(f, "has the parameter `{name}` twice"),
            Self::RestInside => f.write_str("has `*rest` before its end"),
            Self::Stray(c) => {
                write!(f, "has a `{c}` inside a segment: a parameter is a whole segment, `/{{id}}`")
            }
            Self::TooDeep => write!(f, "has more than {} segments", RouteTemplate::MOST_SEGMENTS),
        }
    }
}

impl std::error::Error for TemplateFault {}

impl RouteTemplate {
    /// Deeper than this is no API.
    pub const MOST_SEGMENTS: usize = 32;

    /// Reads a template.
    ///
    /// # Errors
    /// The first fault found.
    pub fn parse(text: &str) -> Result<Self, TemplateFault> {
        let body = text.strip_prefix('/').ok_or(TemplateFault::Path(PathFault::NotAbsolute))?;
        let segments = body.split('/').map(segment).collect::<Result<Vec<_>, _>>()?;
        if segments.len() > Self::MOST_SEGMENTS {
            return Err(TemplateFault::TooDeep);
        }
        names_are_distinct(&segments)?;
        literals_are_normal(text, &segments)?;
        let inner = segments.split_last().map_or(&[][..], |(_, inner)| inner);
        if inner.iter().any(|s| matches!(s, Segment::Rest(_))) {
            return Err(TemplateFault::RestInside);
        }
        Ok(Self { text: text.into(), segments: segments.into() })
    }

    /// As it is written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The parts between the slashes; the root is one empty literal.
    #[must_use]
    pub fn segments(&self) -> &[Segment] {
        &self.segments
    }

    /// The names of parameters, from the left, `*rest` included.
    pub fn params(&self) -> impl Iterator<Item = &str> {
        self.segments.iter().filter_map(Segment::param)
    }

    /// Whether it ends in `*rest`.
    #[must_use]
    pub fn has_rest(&self) -> bool {
        matches!(self.segments.last(), Some(Segment::Rest(_)))
    }

    /// Whether `path` fits: the slow, obvious way, for tests and tools; routers compile templates.
    #[must_use]
    pub fn matches(&self, path: &NormalPath) -> bool {
        let mut parts = path.segments();
        for segment in self.segments.iter() {
            let fits = match (segment, parts.next()) {
                (_, None) => false,
                (Segment::Rest(_), Some(_)) => return true,
                (Segment::Literal(text), Some(part)) => **text == *part,
                (Segment::Param(_), Some(part)) => !part.is_empty(),
            };
            if !fits {
                return false;
            }
        }
        parts.next().is_none()
    }
}

impl Segment {
    fn param(&self) -> Option<&str> {
        match self {
            Self::Literal(_) => None,
            Self::Param(name) | Self::Rest(name) => Some(name),
        }
    }
}

fn segment(text: &str) -> Result<Segment, TemplateFault> {
    let inner = text.strip_prefix('{').and_then(|t| t.strip_suffix('}'));
    if let Some(name) = inner {
        return param_name(name).map(Segment::Param);
    }
    if let Some(name) = text.strip_prefix('*') {
        return param_name(name).map(Segment::Rest);
    }
    match text.chars().find(|c| matches!(c, '{' | '}' | '*')) {
        Some(stray) => Err(TemplateFault::Stray(stray)),
        None => Ok(Segment::Literal(text.into())),
    }
}

fn param_name(name: &str) -> Result<Arc<str>, TemplateFault> {
    let permitted = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_';
    let good =
        name.len() <= 32 && name.starts_with(|c: char| c.is_ascii_lowercase()) && name.bytes().all(permitted);
    good.then(|| name.into()).ok_or_else(|| TemplateFault::ParamName(name.into()))
}

fn names_are_distinct(segments: &[Segment]) -> Result<(), TemplateFault> {
    let mut seen = std::collections::BTreeSet::new();
    match segments.iter().filter_map(Segment::param).find(|name| !seen.insert(*name)) {
        Some(twice) => Err(TemplateFault::Twice(twice.into())),
        None => Ok(()),
    }
}

/// Fills parameters with a letter and lets the one normaliser judge.
fn literals_are_normal(text: &str, segments: &[Segment]) -> Result<(), TemplateFault> {
    let filled: String = segments
        .iter()
        .flat_map(|s| match s {
            Segment::Literal(text) => ["/", text],
            Segment::Param(_) | Segment::Rest(_) => ["/", "x"],
        })
        .collect();
    let normal = NormalPath::parse(&filled).map_err(TemplateFault::Path)?;
    if normal.as_str() == filled {
        return Ok(());
    }
    let hint = if segments.iter().all(|s| s.param().is_none()) { normal.as_str() } else { text };
    Err(TemplateFault::NotNormal(hint.into()))
}

impl fmt::Display for RouteTemplate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for RouteTemplate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}`", self.text)
    }
}

impl Serialize for RouteTemplate {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        out.serialize_str(&self.text)
    }
}

impl<'de> Deserialize<'de> for RouteTemplate {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(from)?;
        Self::parse(&text).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn b7_a_template_matches_whole_segments_only() {
        let table = [
            ("/orders/{id}", "/orders/7", true),
            ("/orders/{id}", "/orders/", false),
            ("/orders/{id}", "/orders/7/refund", false),
            ("/orders/{id}", "/orders", false),
            ("/orders/", "/orders/", true),
            ("/orders/", "/orders", false),
            ("/files/*rest", "/files/", true),
            ("/files/*rest", "/files/a/b", true),
            ("/files/*rest", "/files", false),
            ("/*rest", "/", true),
            ("/", "/", true),
            ("/", "/a", false),
            ("/Orders", "/orders", false),
        ];
        for (text, path, want) in table {
            let template = RouteTemplate::parse(text).expect(text);
            assert_eq!(template.matches(&NormalPath::parse(path).expect(path)), want, "{text} {path}");
        }
    }

    #[test]
    fn b1_odd_templates_are_refused() {
        for bad in [
            "", "orders", "//", "/a//b", "/{}", "/{Id}", "/{id", "/a{id}", "/*", "/*r/a", "/a;b", "/a%2fb",
            "/%61",
        ] {
            assert!(RouteTemplate::parse(bad).is_err(), "{bad}");
        }
        assert_eq!(RouteTemplate::parse(&"/a".repeat(33)), Err(TemplateFault::TooDeep));
        assert_eq!(RouteTemplate::parse("/%61"), Err(TemplateFault::NotNormal("/a".into())));
    }

    proptest! {
        #[test]
        fn no_text_panics_and_a_template_matches_itself_when_filled(text in "/[a-z{}*/._%-]{0,24}") {
            if let Ok(template) = RouteTemplate::parse(&text) {
                let filled: String = template.segments().iter().flat_map(|s| match s {
                    Segment::Literal(text) => ["/", text],
                    Segment::Param(_) | Segment::Rest(_) => ["/", "x"],
                }).collect();
                let path = NormalPath::parse(&filled).expect("a template is a path once filled");
                prop_assert!(template.matches(&path) && path.as_str() == filled);
                let json = serde_json::to_string(&template).expect("serialises");
                prop_assert_eq!(serde_json::from_str::<RouteTemplate>(&json).ok(), Some(template));
            }
        }
    }
}
