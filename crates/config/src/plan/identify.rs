//! Who vouches for callers: token issuers and API keys.

use std::collections::BTreeMap;
use std::sync::Arc;

use ipnet::IpNet;
use portcullis_core::{Assurance, Millis, Name, UnixMillis};
use serde::{Deserialize, Serialize};

use super::{CertificateName, Digest, Inlined, Secret, Url};

/// An issuer of access tokens.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Issuer {
    /// Our name for it.
    pub name: Name,
    /// Where its keys come from.
    pub keys: KeySource,
    /// The exact `iss` of its tokens.
    pub issuer: Arc<str>,
    /// A token must name at least one of these in `aud`; at least one.
    pub audiences: Vec<Arc<str>>,
    /// Signature algorithms that are accepted, sorted; at least one.
    pub algorithms: Vec<Algorithm>,
    /// Which form of access token.
    pub profile: TokenProfile,
    /// Where roles stand in the claims, from the outside in; empty when the issuer has none.
    pub roles_claim: Vec<Arc<str>>,
    /// Further claims that are kept, with the type that each must have; the rest of a token is forgotten.
    pub keep_claims: BTreeMap<Arc<str>, ClaimType>,
    /// How often keys are fetched.
    pub refresh: Millis,
    /// Keys that could not be renewed for this long are no longer trusted.
    pub silent_after: Millis,
    /// How far the issuer's clock may be off; at most 30 seconds.
    pub leeway: Millis,
    /// A token that lives longer than this from `iat` to `exp` is refused.
    pub longest_life: Millis,
    /// How sure this issuer is of its subjects.
    pub assurance: Assurance,
    /// Whether its address may be on this machine.
    pub loopback: Loopback,
    /// Root certificates for fetching, PEM; none means those of the system.
    pub roots: Option<Inlined>,
}

/// What a kept claim is. A token whose claim is something else is refused (C2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ClaimType {
    /// A text.
    Text,
    /// A whole number.
    Integer,
    /// True or false.
    Boolean,
    /// A list of texts.
    Texts,
}

/// Where an issuer's keys come from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum KeySource {
    /// OpenID Connect or RFC 8414 discovery at this address.
    Oidc(Url),
    /// A key set at this address.
    JwksUrl(Url),
    /// A key set in a file.
    JwksFile(Inlined),
}

/// A signature algorithm (RFC 7518 §3.1, RFC 8037 §3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Algorithm {
    /// ECDSA on P-256.
    ES256,
    /// ECDSA on P-384.
    ES384,
    /// Ed25519.
    EdDSA,
    /// RSA-PSS, 2048 bits or more.
    PS256,
    /// RSA PKCS #1 v1.5, 2048 bits or more; only where an issuer names it.
    RS256,
}

/// Which form of access token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TokenProfile {
    /// RFC 9068: `typ` is `at+jwt`.
    AtJwt,
    /// `typ` is `JWT` or absent, as stock Keycloak and Entra ID write it; ID tokens are still refused.
    Jwt,
}

/// Whether an issuer's address may be on this machine (C12).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Loopback {
    /// Only public or private network addresses, never loopback or link-local.
    Refused,
    /// Loopback too, for a demo or a test.
    Allowed,
}

/// All API keys.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ApiKeys {
    /// The key of the keyed hash (HMAC-SHA-256).
    pub hash_key: Secret,
    /// Sorted by id.
    pub keys: Vec<ApiKey>,
}

/// One API key, known by its keyed hash only.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ApiKey {
    /// What records name it by.
    pub id: Name,
    /// HMAC-SHA-256 of the key's text.
    pub hash: Digest,
    /// Who answers for it.
    pub owner: Arc<str>,
    /// Client certificates that may use it; empty when `sources` restricts it (MS-SS-1.4).
    pub applications: Vec<CertificateName>,
    /// Networks that may use it; empty when `applications` restricts it (MS-SS-1.4).
    pub sources: Vec<IpNet>,
    /// Services that it opens; at least one, each exists (MS-SS-1.4).
    pub apis: Vec<Name>,
    /// Scopes that it is given.
    pub scopes: Vec<Arc<str>>,
    /// How sure its issue was of the holder (MS-SS-1.5).
    pub assurance: Assurance,
    /// When it ends.
    pub expires: UnixMillis,
}
