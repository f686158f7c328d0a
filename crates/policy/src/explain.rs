//! Why was this allowed or refused: each rule of the slice, and what it saw.
//!
//! INVARIANT: the answer is that of [`Book::decide`], taken by the same code; only the single outcomes are evaluated
//! on their own.
//! INVARIANT: what a caller sent is not repeated: subjects, clients, claims, path parameters and addresses appear
//! by type and length (11.6.2d). Rights (scopes, roles) are shown, bounded and with control bytes escaped (F8).

use std::fmt;

use cedar_policy::{Decision, PolicySet};
use portcullis_core::ClaimValue;
use serde::{Deserialize, Serialize};

use crate::book::{Door, KeptRule, Slice, fault_of};
use crate::facts::{Facts, assurance, binding, parameter, proof};
use crate::input::Input;
use crate::{Answer, Book, Effect, Fault, Question, SliceId};

/// An answer with its reasons.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Explanation {
    /// `allow`, `deny` or `broken`.
    pub answer: String,
    /// The fault's word, if the answer is `broken`.
    pub fault: Option<String>,
    /// `service/route`, or nothing if the slice is unknown.
    pub route: String,
    /// The method.
    pub method: String,
    /// Every rule that could apply, in the order of the book.
    pub rules: Vec<ExplainedRule>,
    /// What the rules read, redacted, in a fixed order.
    pub inputs: Vec<ExplainedInput>,
}

/// One rule and what it came to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExplainedRule {
    /// The `@id` annotation, if it has one.
    pub id: Option<String>,
    /// The file it is in.
    pub file: String,
    /// The line it starts on.
    pub line: u32,
    /// What it does when satisfied.
    pub effect: Effect,
    /// Whether it was.
    pub outcome: Outcome,
}

/// What one rule came to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// It applied.
    Satisfied,
    /// It did not apply.
    NotSatisfied,
    /// It could not be evaluated: the fault's word.
    Errored(String),
}

/// One thing that rules read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExplainedInput {
    /// As a policy writes it.
    pub name: String,
    /// What is known of it, redacted.
    pub shown: String,
}

impl Book {
    /// Answers a question once more, slowly, saying why.
    #[must_use]
    pub fn explain(&self, id: SliceId, question: &Question<'_>) -> Explanation {
        let answer = self.decide(id, question);
        let found = self.find(id, question).ok().flatten();
        Explanation {
            answer: answer.word().to_owned(),
            fault: match answer {
                Answer::Broken { fault, .. } => Some(fault.word().to_owned()),
                Answer::Allow { .. } | Answer::Deny { .. } => None,
            },
            route: found.map(|(slice, _)| format!("{}/{}", slice.service, slice.route)).unwrap_or_default(),
            method: question.method.to_string(),
            rules: found.map(|(slice, door)| self.outcomes(slice, door, question)).unwrap_or_default(),
            inputs: found.map(|(_, door)| inputs(self, door, question)).unwrap_or_default(),
        }
    }

    fn outcomes(&self, slice: &Slice, door: &Door, question: &Question<'_>) -> Vec<ExplainedRule> {
        let facts = self.facing(slice, door, question).facts();
        let one = |(kept, policy): (&KeptRule, &cedar_policy::Policy)| ExplainedRule {
            id: kept.id.id().map(ToString::to_string),
            file: kept.id.at().file.to_string(),
            line: kept.id.at().line,
            effect: kept.effect,
            outcome: match &facts {
                Ok(facts) => self.outcome(kept.effect, policy.clone(), facts),
                Err(fault) => Outcome::Errored(fault.word().to_owned()),
            },
        };
        self.policies(door).into_iter().map(one).collect()
    }

    fn outcome(&self, effect: Effect, policy: cedar_policy::Policy, facts: &Facts) -> Outcome {
        let Ok(alone) = PolicySet::from_policies([policy]) else {
            return Outcome::Errored(Fault::Engine.word().to_owned());
        };
        let response = self.authorizer.is_authorized(&facts.request, &alone, &facts.entities);
        if let Some(cedar_policy::AuthorizationError::PolicyEvaluationError(error)) =
            response.diagnostics().errors().next()
        {
            return Outcome::Errored(fault_of(error.inner()).word().to_owned());
        }
        let satisfied = match effect {
            Effect::Permit => response.decision() == Decision::Allow,
            Effect::Forbid => response.diagnostics().reason().next().is_some(),
        };
        if satisfied { Outcome::Satisfied } else { Outcome::NotSatisfied }
    }
}

fn inputs(book: &Book, door: &Door, question: &Question<'_>) -> Vec<ExplainedInput> {
    let shown = door.inputs.iter().filter_map(|input| show(book, input, question));
    shown.map(|(name, shown)| ExplainedInput { name, shown }).collect()
}

fn show(book: &Book, input: &Input, question: &Question<'_>) -> Option<(String, String)> {
    let caller = question.principal;
    Some(match input {
        Input::Identity => ("principal".into(), format!("a caller of `{}`", caller.issuer)),
        Input::Groups => ("principal in Role".into(), rights(caller.roles.iter().map(|r| &**r))),
        Input::Issuer => ("principal.issuer".into(), caller.issuer.to_string()),
        Input::Subject => ("principal.subject".into(), hidden(&caller.subject)),
        Input::Client => {
            ("principal.client".into(), caller.client.as_ref().map_or_else(absent, |client| hidden(client)))
        }
        Input::Proof => ("principal.proof".into(), proof(caller.proof).into()),
        Input::Binding => ("principal.binding".into(), binding(caller.binding).into()),
        Input::Assurance => ("principal.assurance".into(), assurance(caller.assurance).to_string()),
        Input::Scopes => ("principal.scopes".into(), rights(caller.scopes.iter().map(|s| &**s))),
        Input::Roles => ("principal.roles".into(), rights(caller.roles.iter().map(|r| &**r))),
        Input::Claim(name) => (format!("principal.claims.{name}"), hidden_claim(caller.claims.get(name))),
        Input::Parameter(name) => {
            let value = parameter(question, name).map_or_else(|_| absent(), hidden);
            (format!("context.path.{name}"), value)
        }
        Input::Environment => ("context.environment".into(), book.environment.to_string()),
        Input::Method => ("context.method".into(), question.method.to_string()),
        Input::Source if question.source.to_canonical().is_ipv4() => {
            ("context.source".into(), "IPv4 address".into())
        }
        Input::Source => ("context.source".into(), "IPv6 address".into()),
        Input::Time => ("context.time".into(), format!("{} ms after 1970", question.now.0)),
        Input::EveryClaim | Input::EveryParameter | Input::Route | Input::ActionGroups => return None,
    })
}

fn absent() -> String {
    "absent".into()
}

fn hidden(value: &str) -> String {
    format!("text of {} bytes", value.len())
}

fn hidden_claim(claim: Option<&ClaimValue>) -> String {
    match claim {
        None => absent(),
        Some(ClaimValue::Flag(_)) => "flag".into(),
        Some(ClaimValue::Number(_)) => "number".into(),
        Some(ClaimValue::Text(text)) => hidden(text),
        Some(ClaimValue::Texts(texts)) => format!("{} texts", texts.len()),
    }
}

/// The first rights, each bounded and escaped.
fn rights<'r>(all: impl ExactSizeIterator<Item = &'r str>) -> String {
    const SHOWN: usize = 12;
    let beyond = all.len().saturating_sub(SHOWN);
    let mut text: Vec<String> = all.take(SHOWN).map(escaped).collect();
    if beyond > 0 {
        text.push(format!("and {beyond} more"));
    }
    format!("[{}]", text.join(", "))
}

/// Control bytes, quotes and all that is not ASCII escaped; 40 characters at most.
fn escaped(text: &str) -> String {
    text.escape_default().take(40).collect()
}

/// Wider lines are cut: an explanation is read in a terminal.
const WIDTH: usize = 100;

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fault = self.fault.as_ref().map(|fault| format!(" ({fault})")).unwrap_or_default();
        line(f, &format!("{}{fault}: {} {}", self.answer, self.method, self.route))?;
        for rule in &self.rules {
            let id = rule.id.as_ref().map(|id| format!(" @{id}")).unwrap_or_default();
            let outcome = rule.outcome.to_string();
            line(f, &format!("  {:<6} {outcome:<15} {}:{}{id}", rule.effect.word(), rule.file, rule.line))?;
        }
        if self.rules.is_empty() {
            line(f, "  no rule speaks about this")?;
        }
        self.inputs.iter().try_for_each(|input| line(f, &format!("  {:<28} {}", input.name, input.shown)))
    }
}

fn line(f: &mut fmt::Formatter<'_>, text: &str) -> fmt::Result {
    let cut: String = text.chars().take(WIDTH).collect();
    writeln!(f, "{}", cut.trim_end())
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Satisfied => f.write_str("satisfied"),
            Self::NotSatisfied => f.write_str("not satisfied"),
            Self::Errored(fault) => write!(f, "failed: {fault}"),
        }
    }
}
