//! One rule on its way into a book: parsed, with what it reads and where it can apply.

use std::collections::BTreeSet;
use std::sync::Arc;

use cedar_policy::pst::{EntityUID, Template};
use cedar_policy::{Policy, PolicyId};
use portcullis_core::{Location, Name, Problem, Problems};
use serde::{Deserialize, Serialize};

use crate::catalogue::Catalogue;
use crate::input::{Input, Reading};
use crate::reach::{Methods, Reach, is_kind, reaches, split_route};
use crate::{Method, RuleId, nearest, words};

/// Whether a rule opens or closes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Effect {
    /// Opens, where nothing closes.
    Permit,
    /// Closes, whatever opens.
    Forbid,
}

impl Effect {
    /// `permit` or `forbid`.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Permit => "permit",
            Self::Forbid => "forbid",
        }
    }
}

/// The text that a rule was cut from, to turn byte offsets into lines.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Origin<'s> {
    pub(crate) file: &'s str,
    pub(crate) text: &'s str,
    pub(crate) offset: usize,
}

/// A rule before it is checked.
#[derive(Debug)]
pub(crate) struct Draft<'s> {
    pub(crate) policy: Policy,
    pub(crate) saying: Saying,
    pub(crate) at: Location,
    pub(crate) origin: Option<Origin<'s>>,
    pub(crate) attached: Arc<[Reach]>,
}

/// What a rule says, apart from where it says it. Rules that say the same are one policy in memory, and doors whose
/// layers say the same share one policy set: four thousand routes that want the scope `orders:read` are one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Saying(pub(crate) u32);

/// A rule that has been checked for everything but its types.
#[derive(Debug)]
pub(crate) struct Rule {
    pub(crate) id: RuleId,
    pub(crate) effect: Effect,
    /// Its Cedar id is its saying.
    pub(crate) policy: Policy,
    pub(crate) saying: Saying,
    pub(crate) inputs: BTreeSet<Input>,
    pub(crate) methods: Methods,
    pub(crate) reaches: Vec<Reach>,
}

impl Rule {
    /// Checks a draft.
    pub(crate) fn check(
        draft: &Draft<'_>,
        catalogue: &Catalogue<'_>,
        problems: &mut Problems,
    ) -> Option<Self> {
        let id = annotation_id(draft, problems);
        let tree = draft.policy.to_pst().ok();
        let read = tree.as_ref().and_then(|t| Reading::of(t.body()).ok());
        let (Some(tree), Some(read)) = (tree, read) else {
            problems.add(&draft.at, "", "this rule uses something that cannot be analysed");
            return None;
        };
        let known_names = check_names(&read.named, &draft.at, catalogue, problems);
        let rule = Self::place(draft, tree.body(), (id, read.inputs), catalogue);
        if known_names && (rule.reaches.is_empty() || rule.methods == Methods::NONE) {
            problems.push(Problem {
                at: draft.at.clone(),
                key: String::new(),
                text: "this rule can never apply: its scope names no route and method that its file is attached to"
                    .into(),
                hint: None,
                clause: None,
            });
        }
        Some(rule)
    }

    fn place(
        draft: &Draft<'_>,
        tree: &Template,
        (id, inputs): (Option<Name>, BTreeSet<Input>),
        catalogue: &Catalogue<'_>,
    ) -> Self {
        let reaches = reaches(&Reach::of(tree, catalogue), &draft.attached, catalogue);
        Self {
            id: RuleId::new(draft.at.clone(), id),
            effect: match draft.policy.effect() {
                cedar_policy::Effect::Permit => Effect::Permit,
                cedar_policy::Effect::Forbid => Effect::Forbid,
            },
            policy: draft.policy.new_id(PolicyId::new(draft.saying.0.to_string())),
            saying: draft.saying,
            inputs,
            methods: Methods::of(&tree.action),
            reaches,
        }
    }
}

/// The `@id` annotation, which goes into records and must be a name (F8).
fn annotation_id(draft: &Draft<'_>, problems: &mut Problems) -> Option<Name> {
    let written = draft.policy.annotation("id")?;
    Name::parse(written)
        .map_err(|fault| problems.add(&draft.at, "@id", format!("`{}`: {fault}", written.escape_debug())))
        .ok()
}

/// Whether every entity that a rule names exists. Roles and callers are not known here; of callers only the form.
fn check_names(
    named: &[EntityUID],
    at: &Location,
    catalogue: &Catalogue<'_>,
    problems: &mut Problems,
) -> bool {
    let before = problems.count();
    for uid in named {
        problems_with(uid, at, catalogue).into_iter().for_each(|p| problems.push(p));
    }
    problems.count() == before
}

fn problems_with(uid: &EntityUID, at: &Location, catalogue: &Catalogue<'_>) -> Option<Problem> {
    let id = uid.eid.as_str();
    let problem =
        |text: String, hint| Problem { at: at.clone(), key: String::new(), text, hint, clause: None };
    if is_kind(&uid.ty, words::ROUTE) {
        let known = split_route(id).and_then(|(service, route)| catalogue.route(&service, &route));
        return known.is_none().then(|| catalogue.unknown_route(id, at));
    }
    if is_kind(&uid.ty, words::SERVICE) {
        let known = Name::parse(id).is_ok_and(|name| catalogue.service(&name).is_some());
        return (!known).then(|| catalogue.unknown_service(id, at));
    }
    if is_kind(&uid.ty, words::ACTION) {
        let known = || Method::ALL.into_iter().map(Method::as_str).chain([Method::READ, Method::WRITE]);
        let unknown = !known().any(|k| k == id);
        return unknown.then(|| {
            problem(format!("there is no action `{}`", id.escape_debug()), nearest::hint(id, known()))
        });
    }
    let malformed = is_kind(&uid.ty, words::CALLER)
        && id.split_once('|').is_none_or(|(issuer, _)| Name::parse(issuer).is_err());
    malformed.then(|| {
        let hint =
            "write `Caller::\"issuer|subject\"`, with the issuer's name in the configuration".to_owned();
        problem(format!("`{}` is not a caller", id.escape_debug()), Some(hint))
    })
}
