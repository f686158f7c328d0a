//! Tables of questions and expected answers, which people keep beside their policies: `portcullis policy test`.
//!
//! ```yaml
//! tests:
//!   - name: a customer reads her own order
//!     caller: { issuer: staff, subject: alice, scopes: [orders:read], claims: { customer: c-7 } }
//!     service: orders
//!     route: get-order
//!     method: GET
//!     path: { customer: c-7 }
//!     expect: allow
//!     rule: own-orders              # optional: an `@id`, or file:line
//! ```
//!
//! INVARIANT: a table that cannot be read, or asks about a route that does not exist, fails.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use portcullis_core::{
    Assurance, Binding, ClaimValue, Location, Name, Principal, Problem, Problems, Proof, UnixMillis,
};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::{Answer, Book, Method, Question, RuleId};

/// A table of questions with the answers they must get.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrialTable {
    tests: Vec<Trial>,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Trial {
    name: String,
    #[serde(default)]
    caller: Option<TrialCaller>,
    service: Name,
    route: Name,
    method: Method,
    #[serde(default)]
    path: BTreeMap<String, String>,
    #[serde(default = "documentation_address")]
    source: IpAddr,
    #[serde(default)]
    time: Option<String>,
    expect: Expected,
    #[serde(default)]
    rule: Option<String>,
}

/// A caller; what is left out is what an ordinary access token has. No caller at all is nobody.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
struct TrialCaller {
    issuer: Name,
    subject: Arc<str>,
    #[serde(default)]
    client: Option<Arc<str>>,
    #[serde(default)]
    scopes: BTreeSet<Arc<str>>,
    #[serde(default)]
    roles: BTreeSet<Arc<str>>,
    #[serde(default)]
    claims: BTreeMap<Arc<str>, ClaimValue>,
    #[serde(default)]
    proof: Option<Proof>,
    #[serde(default)]
    binding: Option<Binding>,
    #[serde(default)]
    assurance: Option<Assurance>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Expected {
    Allow,
    Deny,
    Broken,
}

/// How the questions of a table came out, in its order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TrialReport {
    /// One for each question.
    pub trials: Vec<TrialOutcome>,
}

/// How one question came out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TrialOutcome {
    /// The name of the question.
    pub name: String,
    /// What was otherwise than expected; nothing when all is well.
    pub surprise: Option<String>,
}

/// From the block that RFC 5737 sets apart for documentation.
fn documentation_address() -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1))
}

/// 2026-01-01T12:00:00Z, so that a table without times gives the same answers for ever.
const NOON: UnixMillis = UnixMillis(1_767_268_800_000);

impl TrialTable {
    /// Reads a table.
    ///
    /// # Errors
    /// Where and why the text is no table.
    pub fn parse(file: &str, text: &str) -> Result<Self, Problems> {
        serde_saphyr::from_str(text).map_err(|fault| {
            let small = |n: u64| u32::try_from(n).unwrap_or(u32::MAX);
            let place = fault.location().map_or((0, 0), |at| (small(at.line()), small(at.column())));
            let text = fault.without_snippet().to_string().lines().next().unwrap_or_default().to_owned();
            let at = Location::at(file, place.0, place.1);
            let mut problems = Problems::default();
            problems.push(Problem { at, key: String::new(), text, hint: None, clause: None });
            problems
        })
    }

    /// Asks a book every question of the table.
    #[must_use]
    pub fn run(&self, book: &Book) -> TrialReport {
        let run = |trial: &Trial| TrialOutcome { name: trial.name.clone(), surprise: trial.run(book).err() };
        TrialReport { trials: self.tests.iter().map(run).collect() }
    }
}

impl Trial {
    fn run(&self, book: &Book) -> Result<(), String> {
        let slice = book.slice(&self.service, &self.route);
        let slice = slice.ok_or_else(|| format!("there is no route `{}/{}`", self.service, self.route))?;
        let principal = self.caller.as_ref().map_or_else(|| nobody(&self.service), TrialCaller::principal);
        let path: Vec<_> = self.path.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let question = Question {
            principal: &principal,
            method: self.method,
            path: &path,
            source: self.source,
            now: self.moment()?,
        };
        self.compare(&book.decide(slice, &question))
    }

    fn moment(&self) -> Result<UnixMillis, String> {
        let Some(text) = &self.time else { return Ok(NOON) };
        let date = OffsetDateTime::parse(text, &Rfc3339).ok();
        let millis = date.and_then(|date| u64::try_from(date.unix_timestamp_nanos() / 1_000_000).ok());
        millis
            .map(UnixMillis)
            .ok_or_else(|| format!("`{}` is not a time such as `2026-01-01T12:00:00Z`", text.escape_debug()))
    }

    fn compare(&self, answer: &Answer) -> Result<(), String> {
        let expected = match self.expect {
            Expected::Allow => "allow",
            Expected::Deny => "deny",
            Expected::Broken => "broken",
        };
        let by = by(answer);
        if answer.word() != expected {
            return Err(format!("expected {expected}, got {} {by}", answer.word()));
        }
        let names = |rule: &RuleId, wanted: &str| {
            rule.id().is_some_and(|id| id.as_str() == wanted)
                || format!("{}:{}", rule.at().file, rule.at().line) == wanted
        };
        match &self.rule {
            Some(wanted) if !answer.rules().iter().any(|rule| names(rule, wanted)) => {
                Err(format!("expected {expected} by `{wanted}`, got {expected} {by}"))
            }
            _ => Ok(()),
        }
    }
}

fn by(answer: &Answer) -> String {
    let rules: Vec<String> = answer.rules().iter().map(ToString::to_string).collect();
    if rules.is_empty() { "by default".into() } else { format!("by {}", rules.join(", ")) }
}

/// Nobody in particular. The service's name stands in for an issuer, since a rule may look at one.
fn nobody(issuer: &Name) -> Principal {
    Principal::anonymous(issuer.clone())
}

impl TrialCaller {
    fn principal(&self) -> Principal {
        Principal {
            proof: self.proof.unwrap_or(Proof::Token),
            subject: self.subject.clone(),
            client: self.client.clone(),
            scopes: self.scopes.clone(),
            roles: self.roles.clone(),
            claims: self.claims.clone(),
            binding: self.binding.unwrap_or(Binding::Bearer),
            assurance: self.assurance.unwrap_or(Assurance::Substantial),
            ..Principal::anonymous(self.issuer.clone())
        }
    }
}

impl TrialReport {
    /// Whether every answer was as expected.
    #[must_use]
    pub fn is_good(&self) -> bool {
        self.trials.iter().all(|trial| trial.surprise.is_none())
    }
}

impl fmt::Display for TrialReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for trial in &self.trials {
            match &trial.surprise {
                None => writeln!(f, "ok    {}", trial.name)?,
                Some(surprise) => writeln!(f, "FAIL  {}: {surprise}", trial.name)?,
            }
        }
        let failed = self.trials.iter().filter(|trial| trial.surprise.is_some()).count();
        writeln!(f, "{} questions, {failed} surprises", self.trials.len())
    }
}
