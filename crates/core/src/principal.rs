//! Who is responsible for a request, in the words that identification and policy share.
//!
//! A [`Principal`] is a set of facts that somebody proved: token verification, the certificate check and the API
//! key table each make one; policy, limits and the record read it. It is a description and not a proof: the
//! proof that a request was identified is the data plane's `Caller`, which owns one of these.
//!
//! INVARIANT: `scopes` and `roles` are sorted and have no doubles, so equal rights compare equal.
//! INVARIANT: only claims that an issuer's entry lists by name are here; the rest of a token is forgotten.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::{Name, UnixMillis};

/// How the principal proved itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Proof {
    /// Nobody proved anything; only routes that say so admit this.
    Anonymous,
    /// An access token (RFC 9068).
    Token,
    /// A client certificate.
    Certificate,
    /// An API key, never sufficient alone for `sensitivity: high` (MS-SS-1.1).
    ApiKey,
}

/// What the credential is tied to, so that a thief of the bytes cannot use it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Binding {
    /// Whoever holds the bytes can use them.
    Bearer,
    /// Tied to the key of this connection's client certificate (RFC 8705 §3).
    MutualTls,
}

/// How sure the issuer of a credential was of the person or program behind it (MS-SS-1.5).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Assurance {
    /// Self-asserted, or an API key.
    #[default]
    Low,
    /// An ordinary login or client authentication.
    Substantial,
    /// Strong authentication, such as a passkey or a hardware-held key.
    High,
}

/// The value of a claim that an issuer's entry lists.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(untagged)]
pub enum ClaimValue {
    /// `true` or `false`.
    Flag(bool),
    /// A whole number; a fraction is refused where the claim is read.
    Number(i64),
    /// A text.
    Text(Arc<str>),
    /// A set of texts.
    Texts(BTreeSet<Arc<str>>),
}

/// The facts about whoever is responsible for a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Principal {
    /// How it was proved.
    pub proof: Proof,
    /// The configured name of the issuer, certificate authority or key table that vouches for it.
    pub issuer: Name,
    /// Who it is, in the issuer's words (`sub`).
    pub subject: Arc<str>,
    /// The OAuth client that acts (`client_id`), if that is known.
    pub client: Option<Arc<str>>,
    /// The login session (`sid`), for revocation.
    pub session: Option<Arc<str>>,
    /// The credential's own id (`jti`, certificate serial, key id), for revocation.
    pub credential: Option<Arc<str>>,
    /// What the credential may be used for (RFC 6749 §3.3).
    pub scopes: BTreeSet<Arc<str>>,
    /// Roles, groups or entitlements, as the issuer's entry maps them (RFC 9068 §2.2.3.1).
    pub roles: BTreeSet<Arc<str>>,
    /// Further claims that the issuer's entry lists.
    pub claims: BTreeMap<Arc<str>, ClaimValue>,
    /// What the credential is tied to.
    pub binding: Binding,
    /// How sure the issuer was.
    pub assurance: Assurance,
    /// When the credential ends; a stream ends then too.
    pub expires: Option<UnixMillis>,
}

impl Principal {
    /// Nobody in particular, for routes that admit anyone.
    #[must_use]
    pub fn anonymous(issuer: Name) -> Self {
        Self {
            proof: Proof::Anonymous,
            issuer,
            subject: Arc::from(""),
            client: None,
            session: None,
            credential: None,
            scopes: BTreeSet::new(),
            roles: BTreeSet::new(),
            claims: BTreeMap::new(),
            binding: Binding::Bearer,
            assurance: Assurance::Low,
            expires: None,
        }
    }
}
