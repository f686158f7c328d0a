//! Verifies access tokens against the configured issuers.
//!
//! The order is fixed and each step may only refuse: shape, header, `iss` (to find the entry), age of the keys, kind of
//! token, `exp`, key, signature, the other claims. Nothing of a token is believed before its signature was checked:
//! `iss` only picks which keys must have made it, and what is refused by kind or age needs no signature, so that old
//! and foreign tokens, which anybody may hold, cost us no more than reading them.
//!
//! INVARIANT: a key verifies only tokens that name its own issuer (RFC 8725 §3.8, C3).
//!
//! Sources: RFC 9068 §4, RFC 8725, RFC 7519 §7.2, threats C1-C3, C6, C15, E13; SS028-11.2.2, 11.2.5a, 11.2.7a, 11.2.11.

use std::collections::HashMap;
use std::sync::Arc;

use aws_lc_rs::digest;
use portcullis_core::{Generation, Name, UnixMillis};

use crate::fault::TokenFault;
use crate::issuer::{Issuer, IssuerRules};
use crate::json::Members;
use crate::jws::Jws;
use crate::key_set::KeySet;
use crate::verified::{self, Verified};
use crate::{claims::Claims, profile};

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
        profile::check(anchor.rules().profile, &jws.header, claims)?;
        verified::ends(anchor.rules(), claims, now)?;
        anchor.ensure_signed(&jws)?;
        Ok((Verified::accept(anchor.rules(), claims, now)?, index))
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
