//! Claims with exact types.
//!
//! INVARIANT: a claim that is there with another type than its definition gives is a fault; only a claim that is not
//! there is absent (C2: "wrong type" read as "absent" is how audience and expiry checks were skipped elsewhere).
//! INVARIANT: every identifier that leaves here is non-empty, bounded, and free of control characters (F8, A10).
//!
//! Sources: RFC 7519 §2, §4.1; RFC 9068 §2.2; RFC 6749 §3.3; RFC 8705 §3.1; RFC 7800 §3.1.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use portcullis_core::ClaimValue;

use crate::b64;
use crate::fault::{ClaimProblem, TokenFault};
use crate::issuer::KeptKind;
use crate::json::{Json, Members};

/// The longest identifier, such as `sub`.
const LONGEST_ID: usize = 1024;
/// The most audiences of one token.
const MOST_AUDIENCES: usize = 32;
/// 9999-12-31T23:59:59Z: a later time is a unit mistake.
const LAST_SECOND: i64 = 253_402_300_799;

type Texts = BTreeSet<Arc<str>>;

/// Typed reading of a token's claims.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Claims<'m>(pub(crate) &'m Members);

impl<'m> Claims<'m> {
    /// Whether the claim is there, with whatever value.
    pub(crate) fn has(self, claim: &str) -> bool {
        self.0.find(claim).is_some()
    }

    /// A text that is not empty, if the claim is there.
    pub(crate) fn text(self, claim: &str) -> Result<Option<&'m str>, TokenFault> {
        match self.0.find(claim) {
            None => Ok(None),
            Some(Json::Text(text)) => identifier(claim, text).map(Some),
            Some(_) => Err(TokenFault::claim(claim, ClaimProblem::Type("a text"))),
        }
    }

    /// A text that must be there.
    pub(crate) fn required(self, claim: &str) -> Result<&'m str, TokenFault> {
        self.text(claim)?.ok_or_else(|| TokenFault::claim(claim, ClaimProblem::Missing))
    }

    /// Whole seconds since the epoch, if the claim is there.
    pub(crate) fn instant(self, claim: &str) -> Result<Option<u64>, TokenFault> {
        let fault = |problem| Err(TokenFault::claim(claim, problem));
        match self.0.find(claim) {
            None => Ok(None),
            Some(Json::Whole(seconds)) if (0..=LAST_SECOND).contains(seconds) => {
                Ok(u64::try_from(*seconds).ok())
            }
            Some(Json::Whole(_)) => fault(ClaimProblem::Range),
            Some(_) => fault(ClaimProblem::Type("a whole number of seconds")),
        }
    }

    /// An instant that must be there.
    pub(crate) fn required_instant(self, claim: &str) -> Result<u64, TokenFault> {
        self.instant(claim)?.ok_or_else(|| TokenFault::claim(claim, ClaimProblem::Missing))
    }

    /// `aud`: one text or a list of texts, at least one.
    pub(crate) fn audiences(self) -> Result<Texts, TokenFault> {
        let fault = |problem| Err(TokenFault::claim("aud", problem));
        match self.0.find("aud") {
            None => fault(ClaimProblem::Missing),
            Some(Json::List(list)) if list.len() > MOST_AUDIENCES => fault(ClaimProblem::Range),
            Some(value) => match texts("aud", value)? {
                empty if empty.is_empty() => fault(ClaimProblem::Empty),
                audiences => Ok(audiences),
            },
        }
    }

    /// One text or a list of texts at the end of a path of members; absent if any member on the way is.
    pub(crate) fn texts_at(self, path: &[Arc<str>]) -> Result<Texts, TokenFault> {
        let Some((last, way)) = path.split_last() else { return Ok(Texts::new()) };
        let mut here = self.0;
        for member in way {
            here = match here.find(member) {
                None => return Ok(Texts::new()),
                Some(Json::Object(inner)) => inner,
                Some(_) => return Err(TokenFault::claim(member, ClaimProblem::Type("an object"))),
            };
        }
        here.find(last).map_or(Ok(Texts::new()), |value| texts(last, value))
    }

    /// Scopes: a text of words separated by single spaces.
    pub(crate) fn scopes(self, claim: &str) -> Result<Texts, TokenFault> {
        match self.0.find(claim) {
            None => Ok(Texts::new()),
            Some(Json::Text(text)) if text.is_empty() => Ok(Texts::new()),
            Some(Json::Text(text)) => text.split(' ').map(|word| scope(claim, word)).collect(),
            Some(_) => Err(TokenFault::claim(claim, ClaimProblem::Type("a text of words"))),
        }
    }

    /// Scopes as a text of words or as a list of them, which some issuers write to `scp`.
    pub(crate) fn scope_list(self, claim: &str) -> Result<Texts, TokenFault> {
        match self.0.find(claim) {
            Some(Json::List(list)) => list
                .iter()
                .map(|item| match item {
                    Json::Text(word) => scope(claim, word),
                    _ => Err(TokenFault::claim(claim, ClaimProblem::Type("a list of texts"))),
                })
                .collect(),
            _ => self.scopes(claim),
        }
    }

    /// The thumbprint of the certificate that the token is bound to.
    ///
    /// SECURITY: a confirmation that we do not understand is one that we would not check, so it refuses (RFC 7800 §3.1).
    pub(crate) fn confirmation(self) -> Result<Option<[u8; 32]>, TokenFault> {
        let Some(cnf) = self.0.find("cnf") else { return Ok(None) };
        let Json::Object(cnf) = cnf else {
            return Err(TokenFault::claim("cnf", ClaimProblem::Type("an object")));
        };
        let thumbprint = match cnf.find("x5t#S256") {
            Some(Json::Text(text)) if cnf.len() == 1 => b64::decode_array(text),
            _ => None,
        };
        thumbprint.map(Some).ok_or_else(|| TokenFault::claim("cnf", ClaimProblem::Value))
    }

    /// The further claims that the issuer's entry lists.
    pub(crate) fn kept(
        self,
        kinds: &BTreeMap<Arc<str>, KeptKind>,
    ) -> Result<BTreeMap<Arc<str>, ClaimValue>, TokenFault> {
        let there = kinds.iter().filter_map(|(name, kind)| Some((name, *kind, self.0.find(name)?)));
        there.map(|(name, kind, value)| Ok((Arc::clone(name), kept(name, kind, value)?))).collect()
    }
}

/// SECURITY: a claim of another type than its issuer's entry states is a fault, never absent (C2).
fn kept(name: &str, kind: KeptKind, value: &Json) -> Result<ClaimValue, TokenFault> {
    let wanted = match (kind, value) {
        (KeptKind::Flag, Json::Flag(flag)) => return Ok(ClaimValue::Flag(*flag)),
        (KeptKind::Number, Json::Whole(number)) => return Ok(ClaimValue::Number(*number)),
        (KeptKind::Text, Json::Text(text)) => return Ok(ClaimValue::Text(text.as_str().into())),
        (KeptKind::Texts, Json::List(_)) => return texts(name, value).map(ClaimValue::Texts),
        (KeptKind::Flag, _) => "true or false",
        (KeptKind::Number, _) => "a whole number",
        (KeptKind::Text, _) => "a text",
        (KeptKind::Texts, _) => "a list of texts",
    };
    Err(TokenFault::claim(name, ClaimProblem::Type(wanted)))
}

fn texts(claim: &str, value: &Json) -> Result<Texts, TokenFault> {
    let one = |value: &Json| match value {
        Json::Text(text) => identifier(claim, text).map(Arc::from),
        _ => Err(TokenFault::claim(claim, ClaimProblem::Type("a text or a list of texts"))),
    };
    match value {
        Json::List(list) => list.iter().map(one).collect(),
        _ => Ok(Texts::from([one(value)?])),
    }
}

fn identifier<'t>(claim: &str, text: &'t str) -> Result<&'t str, TokenFault> {
    let problem = match text {
        "" => ClaimProblem::Empty,
        long if long.len() > LONGEST_ID => ClaimProblem::Range,
        odd if odd.contains(char::is_control) => ClaimProblem::Characters,
        _ => return Ok(text),
    };
    Err(TokenFault::claim(claim, problem))
}

/// One scope in the alphabet of RFC 6749 §3.3, so that a list of them can be joined by spaces again.
fn scope(claim: &str, word: &str) -> Result<Arc<str>, TokenFault> {
    let fits = !word.is_empty() && word.bytes().all(|b| matches!(b, 0x21 | 0x23..=0x5b | 0x5d..=0x7e));
    if fits { Ok(word.into()) } else { Err(TokenFault::claim(claim, ClaimProblem::Characters)) }
}
