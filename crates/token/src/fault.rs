//! Why a token was refused, in private and in public words.
//!
//! INVARIANT: nothing that a caller wrote is in any text here; the private text names members of the formats and
//! issuers by their configured names, the public one is fixed for each class (C11, F8).
//!
//! Sources: RFC 6750 §3.1, RFC 9110 §11.6.1, SS028-11.2.7b.

use std::sync::Arc;

use portcullis_core::{Name, Reason, Refusal};

use crate::json::JsonFault;
use crate::revocation::Revoked;

/// What is wrong with a claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ClaimProblem {
    /// It is not there.
    #[error("missing")]
    Missing,
    /// It has another JSON type, `null` included.
    #[error("not {0}")]
    Type(&'static str),
    /// It is empty.
    #[error("empty")]
    Empty,
    /// Longer or larger than is accepted.
    #[error("out of range")]
    Range,
    /// It has characters that no identifier has.
    #[error("written with characters that are not accepted")]
    Characters,
    /// It contradicts another claim.
    #[error("in contradiction to another claim")]
    Conflict,
    /// It has a value that the issuer's entry does not permit.
    #[error("not a value that the issuer's entry permits")]
    Value,
}

/// Why a token is not accepted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenFault {
    /// Longer than any token we accept.
    #[error("the token has {bytes} bytes, more than {}", crate::jws::LONGEST)]
    TooLong {
        /// How long it is.
        bytes: usize,
    },
    /// Not three parts.
    #[error("the token does not have three parts")]
    Parts,
    /// Five parts: a JWE.
    #[error("the token is encrypted, which is not accepted")]
    Encrypted,
    /// Not base64url in its one spelling.
    #[error("the {part} of the token is not canonical base64url")]
    Encoding {
        /// Which part.
        part: &'static str,
    },
    /// Not JSON with one meaning.
    #[error("the {part} of the token has no single meaning")]
    Json {
        /// Which part.
        part: &'static str,
        /// Why.
        #[source]
        cause: JsonFault,
    },
    /// A header member that is refused, or has a wrong type.
    #[error("the header member `{member}` is missing, of a wrong type or not accepted")]
    HeaderMember {
        /// Its name.
        member: &'static str,
    },
    /// The header names an algorithm that nobody can configure, `none` included.
    #[error("the header names an algorithm that is not supported")]
    Algorithm,
    /// The header contradicts the algorithm of the key that it names.
    #[error("the header names another algorithm than its key has")]
    OtherAlgorithm,
    /// Not of the type that the issuer's profile wants.
    #[error("the header's `typ` is not that of an access token")]
    Type,
    /// No entry has this `iss`.
    #[error("no configured issuer has this `iss`")]
    UnknownIssuer,
    /// The issuer's keys are older than the stated age (C15).
    #[error("the keys of issuer `{issuer}` are older than `silent_after`")]
    IssuerSilent {
        /// Which issuer.
        issuer: Name,
    },
    /// The issuer has no such key; fetching its keys again may help.
    #[error("issuer `{issuer}` has no such key")]
    UnknownKey {
        /// Which issuer.
        issuer: Name,
    },
    /// Several keys fit, and the header names none.
    #[error("several keys fit and the header names none")]
    AmbiguousKey,
    /// The signature is not the key's.
    #[error("the signature is not that of issuer `{issuer}`")]
    Signature {
        /// Which issuer.
        issuer: Name,
    },
    /// A claim is not as it must be.
    #[error("the claim `{claim}` is {problem}")]
    Claim {
        /// The claim, as the format or the issuer's entry names it.
        claim: Arc<str>,
        /// What is wrong.
        problem: ClaimProblem,
    },
    /// No audience of the issuer's entry is in the token (C3).
    #[error("the token is for another audience")]
    Audience,
    /// An ID, refresh or logout token, or nothing says that it is an access token.
    #[error("the token is not an access token: {why}")]
    NotAccessToken {
        /// What gave it away.
        why: &'static str,
    },
    /// It was good once (11.2.7).
    #[error("the token expired")]
    Expired,
    /// It will be good later.
    #[error("the token is not valid yet")]
    NotYet,
    /// It is tied to a client certificate, and this connection has another or none (RFC 8705 §3).
    #[error("the token is bound to another client certificate than this connection's")]
    OtherHolder,
    /// It was revoked.
    #[error("the token is revoked by {0}")]
    Revoked(Revoked),
}

/// What a `WWW-Authenticate` answer may say about a token (RFC 6750 §3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Challenge {
    /// The `error` code.
    pub error: &'static str,
    /// The `error_description`.
    pub description: &'static str,
}

impl TokenFault {
    /// The reason, which fixes status and public text.
    #[must_use]
    pub fn reason(&self) -> Reason {
        match self {
            Self::Expired => Reason::ExpiredToken,
            Self::Revoked(_) => Reason::RevokedToken,
            Self::IssuerSilent { .. } => Reason::IssuerSilent,
            _ => Reason::InvalidToken,
        }
    }

    /// What to write behind `WWW-Authenticate: Bearer`; nothing where the fault is ours.
    #[must_use]
    pub fn challenge(&self) -> Option<Challenge> {
        let reason = self.reason();
        (reason.status() == 401).then(|| Challenge { error: "invalid_token", description: reason.public() })
    }

    /// The refusal for the request line, with the private text that names every cause.
    #[must_use]
    pub fn refusal(&self) -> Refusal {
        let mut text = self.to_string();
        let mut cause = std::error::Error::source(self);
        while let Some(inner) = cause {
            text.push_str(": ");
            text.push_str(&inner.to_string());
            cause = inner.source();
        }
        Refusal::new(self.reason(), text)
    }

    /// The issuer whose keys should be fetched again, within its rate limit, since it may have rolled them over.
    #[must_use]
    pub fn wants_keys_of(&self) -> Option<&Name> {
        match self {
            Self::UnknownKey { issuer } => Some(issuer),
            _ => None,
        }
    }

    /// Whether finding this out may have cost a signature check, which an attacker can make us pay for.
    #[must_use]
    pub fn cost_a_signature_check(&self) -> bool {
        matches!(self, Self::Signature { .. } | Self::Claim { .. } | Self::Audience | Self::NotYet)
    }

    pub(crate) fn claim(claim: &str, problem: ClaimProblem) -> Self {
        Self::Claim { claim: claim.into(), problem }
    }
}
