//! What an operator states about one issuer of access tokens.
//!
//! INVARIANT: an [`Issuer`] names at least one audience and one algorithm; nothing about it is "any" by being empty
//! (B7, C3).
//!
//! Sources: RFC 9068 §4, RFC 8725 §3.8, §3.9, SS028-11.2.1c, threats C1-C3, C15.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use aws_lc_rs::digest;
use portcullis_core::{Assurance, Millis, Name};
use serde::{Deserialize, Serialize};

use crate::algorithm::Algorithm;
use crate::key_set::KeyRules;

/// How an issuer marks its access tokens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Profile {
    /// RFC 9068: `typ` is `at+jwt`, and `client_id`, `iat` and `jti` are there.
    #[default]
    AtJwt,
    /// Issuers from before RFC 9068, such as stock Keycloak and Entra ID: the token must say in another way that it
    /// is an access token. See `docs/manual` for the ways; ID tokens are refused.
    Jwt,
}

/// How sure the issuer was, by what its tokens say (MS-SS-1.5).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AssuranceRules {
    /// For a token of which no entry below says more.
    pub default: Assurance,
    /// By the value of `acr`.
    pub acr: BTreeMap<Arc<str>, Assurance>,
    /// By a member of `amr`.
    pub amr: BTreeMap<Arc<str>, Assurance>,
}

/// What a kept claim is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum KeptKind {
    /// A text.
    Text,
    /// A whole number.
    Number,
    /// True or false.
    Flag,
    /// A list of texts.
    Texts,
}

/// An issuer's entry before it is checked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IssuerRules {
    /// How the configuration, policy and the record call it.
    pub name: Name,
    /// The exact `iss` of its tokens.
    pub iss: Arc<str>,
    /// A token must be for one of these; routes may ask for more.
    pub audiences: BTreeSet<Arc<str>>,
    /// The only clients whose tokens are accepted, or any client of this issuer.
    pub clients: Option<BTreeSet<Arc<str>>>,
    /// The only algorithms that its keys may have.
    pub algorithms: BTreeSet<Algorithm>,
    /// How it marks access tokens.
    pub profile: Profile,
    /// Where the roles are, member by member, such as `realm_access`, `roles`.
    pub roles: Option<Vec<Arc<str>>>,
    /// Further claims that policy may read, each with the type that it must have.
    pub kept: BTreeMap<Arc<str>, KeptKind>,
    /// How far its clock may be off, at most 30 seconds.
    pub leeway: Millis,
    /// How sure it is of its subjects.
    pub assurance: AssuranceRules,
    /// How old its keys may become before its tokens are refused.
    pub silent_after: Millis,
    /// The longest time from `iat` to `exp` (SS028-11.2.5); from now, where there is no `iat`.
    pub longest_life: Millis,
}

/// Why an issuer's entry is not accepted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IssuerFault {
    /// `iss` is empty or a template.
    #[error(
        "`iss` must be the exact text of the tokens' claim, not empty and not a template; found `{found}`"
    )]
    Iss {
        /// What is there.
        found: Arc<str>,
    },
    /// A list has no entry, or an empty one.
    #[error("`{list}` must have at least one entry, and none that is empty")]
    Empty {
        /// Which list.
        list: &'static str,
    },
    /// Too much leeway.
    #[error("`leeway` is at most `30s`, found `{found}`")]
    Leeway {
        /// What is there.
        found: Millis,
    },
}

/// A checked issuer's entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issuer {
    rules: IssuerRules,
    digest: [u8; 32],
}

impl Issuer {
    /// The most leeway that an entry may give (DESIGN §4, Clocks).
    pub const MOST_LEEWAY: Millis = Millis::from_secs(30);

    /// Checks an entry.
    ///
    /// # Errors
    /// The first fault found.
    pub fn new(rules: IssuerRules) -> Result<Self, IssuerFault> {
        if rules.iss.is_empty() || rules.iss.contains(['{', '}', '*']) || rules.iss.contains(char::is_control)
        {
            return Err(IssuerFault::Iss { found: rules.iss });
        }
        let vague = |set: &BTreeSet<Arc<str>>| set.is_empty() || set.iter().any(|entry| entry.is_empty());
        let list = match &rules {
            r if vague(&r.audiences) => Some("audiences"),
            r if r.clients.as_ref().is_some_and(vague) => Some("clients"),
            r if r.algorithms.is_empty() => Some("algorithms"),
            r if r.roles.as_ref().is_some_and(Vec::is_empty) => Some("roles"),
            r if r.kept.keys().any(|entry| entry.is_empty()) => Some("kept"),
            _ => None,
        };
        if let Some(list) = list {
            return Err(IssuerFault::Empty { list });
        }
        if rules.leeway > Self::MOST_LEEWAY {
            return Err(IssuerFault::Leeway { found: rules.leeway });
        }
        let digest = digest_of(&rules);
        Ok(Self { rules, digest })
    }

    /// What the entry states.
    #[must_use]
    pub fn rules(&self) -> &IssuerRules {
        &self.rules
    }

    /// The rules to read its key set with.
    #[must_use]
    pub fn key_rules(&self) -> KeyRules {
        KeyRules { algorithms: self.rules.algorithms.clone() }
    }

    /// SHA-256 of the entry, so that a cache notices every change.
    pub(crate) fn digest(&self) -> &[u8; 32] {
        &self.digest
    }
}

/// Serialisation is injective, so equal digests mean equal entries; a map of texts to words cannot fail.
fn digest_of(rules: &IssuerRules) -> [u8; 32] {
    let text = serde_json::to_vec(rules).unwrap_or_default();
    <[u8; 32]>::try_from(digest::digest(&digest::SHA256, &text).as_ref()).unwrap_or_default()
}
