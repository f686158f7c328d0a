//! Verifies access tokens against the configured issuers.
//!
//! The order is fixed and each step may only refuse: shape, header, `iss` (to find the entry), age of the keys, key,
//! signature, type, claims, times. Nothing of a token is believed before its signature was checked; `iss` only picks
//! which keys must have made it.
//!
//! INVARIANT: a [`Verified`] gives its principal only for a connection that fulfils the token's binding, so nobody can
//! forget to look (RFC 8705 §3).
//! INVARIANT: a key verifies only tokens that name its own issuer (RFC 8725 §3.8, C3).
//!
//! Sources: RFC 9068 §4, RFC 8725, RFC 7519 §7.2, threats C1-C3, C6, C15, E13; SS028-11.2.2, 11.2.5a, 11.2.7a, 11.2.11.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use aws_lc_rs::digest;
use portcullis_core::{Binding, Generation, Name, Principal, Proof, UnixMillis};
use subtle::ConstantTimeEq as _;

use crate::claims::Claims;
use crate::fault::{ClaimProblem, TokenFault};
use crate::fingerprint::principal_fingerprint;
use crate::issuer::{Issuer, IssuerRules, Profile};
use crate::json::Members;
use crate::jws::Jws;
use crate::key_set::KeySet;
use crate::profile;
use crate::revocation::Marks;

/// All issuers with their keys, as one generation. Shared between cores.
#[derive(Debug)]
pub struct Verifier {
    generation: Generation,
    anchors: Vec<Anchor>,
    by_iss: HashMap<Arc<str>, usize>,
}

/// One issuer with the keys that were fetched last.
#[derive(Debug)]
pub(crate) struct Anchor {
    issuer: Issuer,
    keys: KeySet,
    fetched_at: UnixMillis,
    /// SHA-256 over the issuer's entry and its key set: the key generation of the token cache.
    pub(crate) digest: [u8; 32],
}

/// Why issuers cannot stand together.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VerifierFault {
    /// Two entries have the same `iss`.
    #[error("issuers `{first}` and `{second}` have the same `iss`; write one entry with all its audiences")]
    SameIss {
        /// The one.
        first: Name,
        /// The other.
        second: Name,
    },
    /// Two entries have the same name.
    #[error("two issuers are called `{name}`")]
    SameName {
        /// The name.
        name: Name,
    },
}

/// A token whose signature and claims were checked.
#[derive(Debug)]
pub struct Verified {
    principal: Arc<Principal>,
    fingerprint: [u8; 32],
    audiences: BTreeSet<Arc<str>>,
    confirmation: Option<[u8; 32]>,
    issued: Option<UnixMillis>,
    expires: UnixMillis,
    deadline: UnixMillis,
    marks: Marks,
}

impl Verifier {
    /// Puts issuers and their keys together. Keys that were read under other algorithms than the entry names are
    /// refused token by token.
    ///
    /// # Errors
    /// Two entries have the same name or the same `iss`.
    pub fn new(
        generation: Generation,
        issuers: Vec<(Issuer, KeySet, UnixMillis)>,
    ) -> Result<Self, VerifierFault> {
        let mut by_iss = HashMap::new();
        let mut anchors: Vec<Anchor> = Vec::with_capacity(issuers.len());
        for (issuer, keys, fetched_at) in issuers {
            let name = issuer.rules().name.clone();
            if anchors.iter().any(|anchor| anchor.name() == &name) {
                return Err(VerifierFault::SameName { name });
            }
            if let Some(index) = by_iss.insert(Arc::clone(&issuer.rules().iss), anchors.len()) {
                let first = anchors.get(index).map_or_else(|| name.clone(), |anchor| anchor.name().clone());
                return Err(VerifierFault::SameIss { first, second: name });
            }
            anchors.push(Anchor::new(issuer, keys, fetched_at));
        }
        Ok(Self { generation, anchors, by_iss })
    }

    /// The number of this generation.
    #[must_use]
    pub fn generation(&self) -> Generation {
        self.generation
    }

    /// The configured names of its issuers.
    pub fn issuers(&self) -> impl Iterator<Item = &Name> {
        self.anchors.iter().map(Anchor::name)
    }

    /// Checks a token in full. Revocation is asked per use, see [`crate::TokenCache`].
    ///
    /// # Errors
    /// Why the token is not accepted.
    pub fn verify(&self, token: &str, now: UnixMillis) -> Result<Verified, TokenFault> {
        self.verify_at(token, now).map(|(verified, _)| verified)
    }

    /// The same, saying which anchor it was checked with.
    pub(crate) fn verify_at(&self, token: &str, now: UnixMillis) -> Result<(Verified, usize), TokenFault> {
        let jws = Jws::parse(token)?;
        let members =
            Members::parse(&jws.payload).map_err(|cause| TokenFault::Json { part: "payload", cause })?;
        let claims = Claims(&members);
        let index = *self.by_iss.get(claims.required("iss")?).ok_or(TokenFault::UnknownIssuer)?;
        let anchor = self.anchors.get(index).ok_or(TokenFault::UnknownIssuer)?;
        anchor.ensure_heard(now)?;
        anchor.ensure_signed(&jws)?;
        profile::check(anchor.rules().profile, &jws.header, claims)?;
        Ok((accept(anchor.rules(), claims, now)?, index))
    }

    pub(crate) fn anchor(&self, index: usize) -> Option<&Anchor> {
        self.anchors.get(index)
    }
}

impl Anchor {
    fn new(issuer: Issuer, keys: KeySet, fetched_at: UnixMillis) -> Self {
        let both = [*issuer.digest(), *keys.digest()].concat();
        let digest = digest::digest(&digest::SHA256, &both);
        let digest = <[u8; 32]>::try_from(digest.as_ref()).unwrap_or_default();
        Self { issuer, keys, fetched_at, digest }
    }

    fn rules(&self) -> &IssuerRules {
        self.issuer.rules()
    }

    fn name(&self) -> &Name {
        &self.rules().name
    }

    /// Refuses once the issuer has been silent for too long: its keys may be revoked by now (C15).
    pub(crate) fn ensure_heard(&self, now: UnixMillis) -> Result<(), TokenFault> {
        if now.since(self.fetched_at) > self.rules().silent_after.as_duration() {
            return Err(TokenFault::IssuerSilent { issuer: self.name().clone() });
        }
        Ok(())
    }

    fn ensure_signed(&self, jws: &Jws<'_>) -> Result<(), TokenFault> {
        let key = self.keys.choose(&jws.header, self.name())?;
        if !self.rules().algorithms.contains(&key.algorithm) {
            return Err(TokenFault::OtherAlgorithm);
        }
        if !jws.is_signed_by(key) {
            return Err(TokenFault::Signature { issuer: self.name().clone() });
        }
        Ok(())
    }
}

/// Checks times and audience and keeps the facts of a token whose signature was checked.
fn accept(rules: &IssuerRules, claims: Claims<'_>, now: UnixMillis) -> Result<Verified, TokenFault> {
    let expires = UnixMillis::from_seconds(claims.required_instant("exp")?);
    let issued = issued(rules, claims, now)?;
    let audiences = claims.audiences()?;
    if audiences.is_disjoint(&rules.audiences) {
        return Err(TokenFault::Audience);
    }
    let confirmation = claims.confirmation()?;
    let principal = principal(rules, claims, (confirmation.is_some(), expires))?;
    let deadline = expires.plus(rules.leeway.as_duration());
    if now >= deadline {
        return Err(TokenFault::Expired);
    }
    Ok(Verified {
        fingerprint: principal_fingerprint(&principal),
        marks: Marks::of(&principal),
        principal: Arc::new(principal),
        audiences,
        confirmation,
        issued,
        expires,
        deadline,
    })
}

/// For fuzzers: the same without a signature; what was accepted is thrown away.
pub(crate) fn accept_unsigned(
    issuer: &Issuer,
    claims: Claims<'_>,
    now: UnixMillis,
) -> Result<(), TokenFault> {
    accept(issuer.rules(), claims, now).map(drop)
}

/// `iat` and `nbf`: not in the future, and `iat` there where the profile wants it.
fn issued(
    rules: &IssuerRules,
    claims: Claims<'_>,
    now: UnixMillis,
) -> Result<Option<UnixMillis>, TokenFault> {
    let latest = now.plus(rules.leeway.as_duration());
    let issued = claims.instant("iat")?.map(UnixMillis::from_seconds);
    let starts = claims.instant("nbf")?.map(UnixMillis::from_seconds);
    if issued.is_none() && rules.profile == Profile::AtJwt {
        return Err(TokenFault::claim("iat", ClaimProblem::Missing));
    }
    if issued.max(starts).is_some_and(|from| from > latest) {
        return Err(TokenFault::NotYet);
    }
    Ok(issued)
}

fn principal(
    rules: &IssuerRules,
    claims: Claims<'_>,
    (bound, expires): (bool, UnixMillis),
) -> Result<Principal, TokenFault> {
    if rules.profile == Profile::AtJwt {
        claims.required("client_id")?;
        claims.required("jti")?;
    }
    let owned = |text: Option<&str>| text.map(Arc::from);
    Ok(Principal {
        proof: Proof::Token,
        issuer: rules.name.clone(),
        subject: claims.required("sub")?.into(),
        client: profile::client(rules, claims)?,
        session: owned(claims.text("sid")?),
        credential: owned(claims.text("jti")?),
        scopes: profile::scopes(rules.profile, claims)?,
        roles: rules.roles.as_deref().map_or(Ok(BTreeSet::new()), |path| claims.texts_at(path))?,
        claims: claims.kept(&rules.kept)?,
        binding: if bound { Binding::MutualTls } else { Binding::Bearer },
        assurance: profile::assurance(&rules.assurance, claims)?,
        expires: Some(expires),
    })
}

impl Verified {
    /// The principal, for a connection whose client certificate has this SHA-256 thumbprint, or that has none.
    ///
    /// A token without a confirmation is a bearer token and says so in `binding`; one with a confirmation is usable
    /// only with that certificate.
    ///
    /// # Errors
    /// The token is bound to another certificate, or the connection has none.
    pub fn bound_to(&self, thumbprint: Option<&[u8; 32]>) -> Result<&Arc<Principal>, TokenFault> {
        match (&self.confirmation, thumbprint) {
            (None, _) => Ok(&self.principal),
            (Some(want), Some(have)) if bool::from(want.ct_eq(have)) => Ok(&self.principal),
            (Some(_), _) => Err(TokenFault::OtherHolder),
        }
    }

    /// Whether the token is for `audience`; a route asks for its own.
    #[must_use]
    pub fn has_audience(&self, audience: &str) -> bool {
        self.audiences.contains(audience)
    }

    /// Every audience of the token.
    #[must_use]
    pub fn audiences(&self) -> &BTreeSet<Arc<str>> {
        &self.audiences
    }

    /// The thumbprint of the certificate that the token is bound to.
    #[must_use]
    pub fn confirmation(&self) -> Option<&[u8; 32]> {
        self.confirmation.as_ref()
    }

    /// Its `exp`. Streams and caches end here; the issuer's leeway only helps a request that comes just after.
    #[must_use]
    pub fn expires(&self) -> UnixMillis {
        self.expires
    }

    /// The configured name of its issuer.
    #[must_use]
    pub fn issuer(&self) -> &Name {
        &self.principal.issuer
    }

    /// [`principal_fingerprint`] of its principal, worked out once.
    #[must_use]
    pub fn fingerprint(&self) -> &[u8; 32] {
        &self.fingerprint
    }

    pub(crate) fn deadline(&self) -> UnixMillis {
        self.deadline
    }

    pub(crate) fn issued(&self) -> Option<UnixMillis> {
        self.issued
    }

    pub(crate) fn marks(&self) -> &Marks {
        &self.marks
    }
}
