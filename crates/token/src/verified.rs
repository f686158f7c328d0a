//! What a verified token proves, and for whom.
//!
//! INVARIANT: a [`Verified`] gives its principal only for a connection that fulfils the token's binding, so nobody can
//! forget to look (RFC 8705 §3; SS028-11.2.9).
//! INVARIANT: it names at least one audience of its issuer's entry, and says when it ends (C2, C3; SS028-11.2.5a).
//!
//! Not here: the signature and the kind of token, which were checked before (`verifier`, `profile`).
//!
//! Sources: RFC 9068 §2.2, §4; RFC 7519 §4.1; RFC 8705 §3; threats C2, C3.

use std::collections::BTreeSet;
use std::sync::Arc;

use portcullis_core::{Binding, Name, Principal, Proof, UnixMillis};
use subtle::ConstantTimeEq as _;

use crate::claims::Claims;
use crate::fault::{ClaimProblem, TokenFault};
use crate::fingerprint::principal_fingerprint;
use crate::issuer::{IssuerRules, Profile};
use crate::profile;
use crate::revocation::Marks;

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

impl Verified {
    /// Checks times and audience and keeps the facts of a token whose signature was checked.
    pub(crate) fn accept(
        rules: &IssuerRules,
        claims: Claims<'_>,
        now: UnixMillis,
    ) -> Result<Self, TokenFault> {
        let (expires, deadline) = ends(rules, claims, now)?;
        let issued = issued(rules, claims, now)?;
        if expires.since(issued.unwrap_or(now)) > rules.longest_life.as_duration() {
            return Err(TokenFault::claim("exp", ClaimProblem::Range));
        }
        let audiences = claims.audiences()?;
        if audiences.is_disjoint(&rules.audiences) {
            return Err(TokenFault::Audience);
        }
        let confirmation = claims.confirmation()?;
        let principal = principal(rules, claims, (confirmation.is_some(), expires))?;
        Ok(Self {
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

/// `exp`, and the end of the leeway behind it, which is still to come.
pub(crate) fn ends(
    rules: &IssuerRules,
    claims: Claims<'_>,
    now: UnixMillis,
) -> Result<(UnixMillis, UnixMillis), TokenFault> {
    let expires = UnixMillis::from_seconds(claims.required_instant("exp")?);
    let deadline = expires.plus(rules.leeway.as_duration());
    if now < deadline { Ok((expires, deadline)) } else { Err(TokenFault::Expired) }
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
