//! Tells access tokens from the other tokens of an issuer, and one subject's facts from its claims.
//!
//! INVARIANT: an ID, refresh, logout or DPoP token is never accepted, whatever the profile (RFC 8725 §3.11, §3.12).
//! INVARIANT: with [`Profile::Jwt`] a token must *show* that it is an access token; the absence of a mark of an ID
//! token is not enough, since OpenID Connect makes all of those optional.
//!
//! The ways to show it: a header `typ` of `at+jwt`; a claim `typ` of `Bearer` (Keycloak); `token_use` of `access`
//! (Cognito); `scope`, `scp`, `client_id` or `cid` (RFC 8693, Okta); `azpacr` or `appidacr` (Entra ID).
//!
//! Sources: RFC 9068 §2.1, §4; OpenID Connect Core §2, §3.1.3.6, §3.3.2.11; Back-Channel Logout §2.4.

use std::collections::BTreeSet;
use std::sync::Arc;

use portcullis_core::Assurance;

use crate::claims::Claims;
use crate::fault::{ClaimProblem, TokenFault};
use crate::issuer::{AssuranceRules, IssuerRules, Profile};
use crate::jws::Header;

/// Claims that only other kinds of tokens have.
const FOREIGN: [&str; 5] = ["at_hash", "c_hash", "s_hash", "events", "sub_jwk"];
/// Claims that only access tokens have.
const EVIDENCE: [&str; 6] = ["scope", "scp", "client_id", "cid", "azpacr", "appidacr"];
/// The names that issuers give to the client, the standard one first.
const CLIENT: [&str; 4] = ["client_id", "azp", "cid", "appid"];

/// Refuses what is not an access token by the issuer's profile.
pub(crate) fn check(profile: Profile, header: &Header, claims: Claims<'_>) -> Result<(), TokenFault> {
    let typed = is_typed(profile, header)?;
    if let Some(why) = claims.0.first_of(&FOREIGN) {
        return Err(TokenFault::NotAccessToken { why });
    }
    let bearer = says(claims, "typ", "Bearer")?;
    let used = says(claims, "token_use", "access")?;
    // Keycloak before 25 copies the nonce of the login into the access token, which its `typ` claim marks.
    if claims.has("nonce") && !typed && !bearer {
        return Err(TokenFault::NotAccessToken { why: "nonce" });
    }
    if typed || bearer || used || claims.0.first_of(&EVIDENCE).is_some() {
        return Ok(());
    }
    Err(TokenFault::NotAccessToken { why: "nothing says that it is one" })
}

/// Whether the header marks an access token; a header that marks something else is refused.
fn is_typed(profile: Profile, header: &Header) -> Result<bool, TokenFault> {
    let is = |typ: &str, want: &[&str]| want.iter().any(|w| typ.eq_ignore_ascii_case(w));
    match (profile, header.typ.as_deref()) {
        (_, Some(typ)) if is(typ, &["at+jwt", "application/at+jwt"]) => Ok(true),
        (Profile::Jwt, None) => Ok(false),
        (Profile::Jwt, Some(typ)) if is(typ, &["JWT", "application/jwt"]) => Ok(false),
        _ => Err(TokenFault::Type),
    }
}

/// Whether the claim has the value that marks an access token; any other value marks another token.
fn says(claims: Claims<'_>, claim: &'static str, want: &str) -> Result<bool, TokenFault> {
    match claims.text(claim)? {
        None => Ok(false),
        Some(value) if value.eq_ignore_ascii_case(want) => Ok(true),
        Some(_) => Err(TokenFault::NotAccessToken { why: claim }),
    }
}

/// The client, under whichever name; two names with two values are a contradiction (C3).
pub(crate) fn client(rules: &IssuerRules, claims: Claims<'_>) -> Result<Option<Arc<str>>, TokenFault> {
    let mut found: Option<&str> = None;
    for claim in CLIENT {
        match (found, claims.text(claim)?) {
            (Some(before), Some(now)) if before != now => {
                return Err(TokenFault::claim(claim, ClaimProblem::Conflict));
            }
            (None, Some(now)) => found = Some(now),
            _ => {}
        }
    }
    match (&rules.clients, found) {
        (Some(_), None) => Err(TokenFault::claim("client_id", ClaimProblem::Missing)),
        (Some(listed), Some(client)) if !listed.contains(client) => {
            Err(TokenFault::claim("client_id", ClaimProblem::Value))
        }
        _ => Ok(found.map(Arc::from)),
    }
}

/// The scopes: RFC 9068 has them in `scope`; with [`Profile::Jwt`] `scp` may stand in its place.
pub(crate) fn scopes(profile: Profile, claims: Claims<'_>) -> Result<BTreeSet<Arc<str>>, TokenFault> {
    match (profile, claims.has("scope"), claims.has("scp")) {
        (Profile::AtJwt, _, _) | (Profile::Jwt, _, false) => claims.scopes("scope"),
        (Profile::Jwt, false, true) => claims.scope_list("scp"),
        (Profile::Jwt, true, true) => Err(TokenFault::claim("scp", ClaimProblem::Conflict)),
    }
}

/// The highest assurance that the issuer's entry gives to what the token says.
pub(crate) fn assurance(rules: &AssuranceRules, claims: Claims<'_>) -> Result<Assurance, TokenFault> {
    let acr = claims.text("acr")?.and_then(|acr| rules.acr.get(acr));
    let amr = claims.texts_at(&[Arc::from("amr")])?;
    let best = amr.iter().filter_map(|method| rules.amr.get(method)).chain(acr).max();
    Ok(best.copied().unwrap_or(rules.default))
}
