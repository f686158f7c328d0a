//! What policy says, and which rule said it.
//!
//! INVARIANT: an [`Answer`] holds rule ids and fixed words only: no name, claim or path of a caller (F8, 11.6.2d).
//! INVARIANT: cloning an answer allocates nothing.

use std::fmt;
use std::sync::Arc;

use portcullis_core::{Location, Name};
use serde::{Serialize, Serializer};

/// The rules that an answer rests on, in the order of the book.
pub type Rules = Arc<[RuleId]>;

/// What policy says to a question. Only [`Answer::Allow`] is a yes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "answer", rename_all = "kebab-case")]
#[must_use]
pub enum Answer {
    /// Yes.
    Allow {
        /// The permits that were satisfied; never empty.
        rules: Rules,
    },
    /// No.
    Deny {
        /// The forbids that were satisfied; empty when nothing permitted it (deny by default).
        rules: Rules,
    },
    /// The rules could not be evaluated, which is a no (C15).
    Broken {
        /// The first rule that failed, unless the question itself could not be put.
        rule: Option<RuleId>,
        /// What went wrong.
        fault: Fault,
    },
}

impl Answer {
    /// Whether this is a yes.
    #[must_use]
    pub fn is_allow(&self) -> bool {
        matches!(self, Self::Allow { .. })
    }

    /// The rules to record: those that decided, or the one that broke.
    #[must_use]
    pub fn rules(&self) -> &[RuleId] {
        match self {
            Self::Allow { rules } | Self::Deny { rules } => rules,
            Self::Broken { rule, .. } => rule.as_slice(),
        }
    }

    /// `allow`, `deny` or `broken`.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::Allow { .. } => "allow",
            Self::Deny { .. } => "deny",
            Self::Broken { .. } => "broken",
        }
    }

    pub(crate) fn broken(fault: Fault) -> Self {
        Self::Broken { rule: None, fault }
    }
}

/// Why a question could not be answered. Words only, since a text could quote what the caller sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fault {
    /// The slice belongs to another book than the one asked.
    WrongBook,
    /// The caller has a claim of another type than the book's.
    ClaimType,
    /// The question lacks a path parameter of its route, or has it twice.
    PathParameter,
    /// The time of the question has no date.
    Time,
    /// The facts could not be put before the engine.
    Facts,
    /// A rule reads something that is not there.
    Missing,
    /// A rule compares or combines values of the wrong type.
    Type,
    /// A calculation left the range of 64 bits.
    Overflow,
    /// A function such as `ip` or `datetime` refused its argument.
    Function,
    /// A rule is nested too deep.
    Depth,
    /// Anything else that the engine reports.
    Engine,
}

impl Fault {
    /// A fixed word for logs and metrics.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::WrongBook => "wrong-book",
            Self::ClaimType => "claim-type",
            Self::PathParameter => "path-parameter",
            Self::Time => "time",
            Self::Facts => "facts",
            Self::Missing => "missing",
            Self::Type => "type",
            Self::Overflow => "overflow",
            Self::Function => "function",
            Self::Depth => "depth",
            Self::Engine => "engine",
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// Names one rule: `policies/orders.cedar:12`, and its `@id` annotation if it has one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RuleId(Arc<RuleName>);

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct RuleName {
    at: Location,
    id: Option<Name>,
    /// As a record shows it.
    text: Arc<str>,
}

impl RuleId {
    pub(crate) fn new(at: Location, id: Option<Name>) -> Self {
        let text = match &id {
            None => format!("{}:{}", at.file, at.line),
            Some(id) => format!("{}:{}@{id}", at.file, at.line),
        };
        Self(Arc::new(RuleName { at, id, text: text.into() }))
    }

    /// The file and line where the rule starts.
    #[must_use]
    pub fn at(&self) -> &Location {
        &self.0.at
    }

    /// The `@id` annotation.
    #[must_use]
    pub fn id(&self) -> Option<&Name> {
        self.0.id.as_ref()
    }

    /// File, line and `@id` as a record shows them: made once, since every request names its rules.
    #[must_use]
    pub fn text(&self) -> &Arc<str> {
        &self.0.text
    }
}

impl fmt::Display for RuleId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.text)
    }
}

impl Serialize for RuleId {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        out.collect_str(self)
    }
}
