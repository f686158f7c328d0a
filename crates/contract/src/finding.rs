//! What does not fit a contract.
//!
//! INVARIANT: a finding holds no value of the request. Names that the contract has are shown; a name that only the
//! caller has is shown if it looks like an identifier and not like a secret, else its length is.
//! INVARIANT: at most [`Findings::MOST`] are kept; the rest are counted.
//!
//! Sources: SS028-11.6.2b (errors and extra parameters are distinct events), 11.6.2d.

use std::borrow::Cow;
use std::fmt;

use portcullis_core::Reason;

/// Where something does not fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Place {
    /// A parameter in the path.
    Path,
    /// A parameter in the query.
    Query,
    /// A header field.
    Header,
    /// A cookie.
    Cookie,
    /// The body.
    Body,
}

/// Which event a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// Something is missing or breaks a rule.
    Invalid,
    /// Something is there that the contract does not know.
    UnknownParameter,
    /// The body has a type that the contract does not list.
    UnsupportedMedia,
    /// The body is longer than is checked.
    TooLarge,
}

/// One thing that does not fit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Which event it is.
    pub kind: Kind,
    /// Where.
    pub place: Place,
    /// The parameter's or member's name, safe to log; empty for the body as a whole.
    pub name: Box<str>,
    /// The rule that is broken: a keyword of JSON Schema, or a word of ours such as `repeated`.
    pub rule: Cow<'static, str>,
    /// Within the value: a JSON pointer whose unknown parts are `*`. Empty for the value as a whole.
    pub pointer: Box<str>,
}

/// All that does not fit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Findings {
    found: Vec<Finding>,
    beyond: usize,
}

impl Place {
    /// The stable word.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Path => "path",
            Self::Query => "query",
            Self::Header => "header",
            Self::Cookie => "cookie",
            Self::Body => "body",
        }
    }
}

impl Kind {
    /// The stable word, which is also the event's.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Invalid => "invalid-input",
            Self::UnknownParameter => "unknown-parameter",
            Self::UnsupportedMedia => "unsupported-media-type",
            Self::TooLarge => "too-large",
        }
    }
}

impl Finding {
    pub(crate) fn new(place: Place, name: &str, rule: impl Into<Cow<'static, str>>) -> Self {
        Self { kind: Kind::Invalid, place, name: name.into(), rule: rule.into(), pointer: "".into() }
    }

    /// One about a name that only the caller has.
    pub(crate) fn unknown(place: Place, name: &str) -> Self {
        let rule = Cow::Borrowed("unknown");
        Self { kind: Kind::UnknownParameter, place, name: shown(name), rule, pointer: "".into() }
    }

    pub(crate) fn body(rule: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Place::Body, "", rule)
    }

    pub(crate) fn of(self, kind: Kind) -> Self {
        Self { kind, ..self }
    }

    pub(crate) fn within(self, pointer: String) -> Self {
        Self { pointer: pointer.into(), ..self }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.place.word())?;
        if !self.name.is_empty() {
            write!(f, " `{}`", self.name)?;
        }
        if !self.pointer.is_empty() {
            write!(f, " at `{}`", self.pointer)?;
        }
        write!(f, ": {}", self.rule)
    }
}

impl Findings {
    /// More than this tell nobody more.
    pub const MOST: usize = 16;

    pub(crate) fn push(&mut self, finding: Finding) {
        if self.found.len() < Self::MOST {
            self.found.push(finding);
        } else {
            self.beyond = self.beyond.saturating_add(1);
        }
    }

    /// Adds all of `other`.
    pub fn absorb(&mut self, other: Self) {
        self.beyond = self.beyond.saturating_add(other.beyond);
        other.found.into_iter().for_each(|finding| self.push(finding));
    }

    /// Whether everything fits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    /// Those that were kept.
    pub fn iter(&self) -> impl Iterator<Item = &Finding> {
        self.found.iter()
    }

    /// How many there are, those beyond [`Findings::MOST`] included.
    #[must_use]
    pub fn count(&self) -> usize {
        self.found.len().saturating_add(self.beyond)
    }

    /// Why a request with these is refused, where the mode says so; `None` if everything fits.
    #[must_use]
    pub fn reason(&self) -> Option<Reason> {
        let has = |kind| self.found.iter().any(|f| f.kind == kind);
        match () {
            () if self.found.is_empty() => None,
            () if has(Kind::TooLarge) => Some(Reason::BodyTooLarge),
            () if has(Kind::UnsupportedMedia) => Some(Reason::UnsupportedMedia),
            () => Some(Reason::ContractBroken),
        }
    }
}

impl fmt::Display for Findings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, finding) in self.found.iter().enumerate() {
            if index > 0 {
                f.write_str("; ")?;
            }
            finding.fmt(f)?;
        }
        if self.beyond > 0 {
            write!(f, "; and {} more", self.beyond)?;
        }
        Ok(())
    }
}

/// A caller's name as it may be logged.
///
/// SECURITY: people put tokens where names belong (`?eyJhb…`). What is shown is short, made of identifier characters and
/// has few digits; a random token is longer or has more.
pub(crate) fn shown(name: &str) -> Box<str> {
    let permitted = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.' | b'[' | b']');
    let plain = (1..=32).contains(&name.len())
        && name.bytes().all(permitted)
        && name.bytes().filter(u8::is_ascii_digit).count() <= 3;
    if plain { name.into() } else { format!("({} bytes)", name.len()).into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ss028_11_6_2d_a_name_is_shown_only_if_it_is_one() {
        let table = [
            ("limit", "limit"),
            ("page[size]", "page[size]"),
            ("x-y.z_2", "x-y.z_2"),
            ("", "(0 bytes)"),
            ("a\nb", "(3 bytes)"),
            ("a\u{202e}b", "(5 bytes)"),
            ("<script>", "(8 bytes)"),
            ("me@example.org", "(14 bytes)"),
            ("QQ123456C", "(9 bytes)"),
            ("eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJhIn0.c2ln", "(41 bytes)"),
        ];
        for (given, want) in table {
            assert_eq!(&*shown(given), want, "{given:?}");
        }
    }

    #[test]
    fn findings_are_bounded_and_name_one_reason() {
        let mut all = Findings::default();
        assert_eq!(all.reason(), None);
        for n in 0..100 {
            all.push(Finding::unknown(Place::Query, &format!("p{n}")));
        }
        assert_eq!((all.iter().count(), all.count()), (Findings::MOST, 100));
        assert_eq!(all.reason(), Some(Reason::ContractBroken));
        let mut media = Findings::default();
        media.push(Finding::body("content-type").of(Kind::UnsupportedMedia));
        assert_eq!(media.reason(), Some(Reason::UnsupportedMedia));
        media.push(Finding::body("size").of(Kind::TooLarge));
        assert_eq!(media.reason(), Some(Reason::BodyTooLarge));
        assert_eq!(media.to_string(), "body: content-type; body: size");
    }
}
