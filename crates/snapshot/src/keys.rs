//! The keys generation: who vouches for callers.
//!
//! INVARIANT: an issuer whose keys have not come yet is known and refuses ("silent"), it is never skipped (C15).
//!
//! Not here: fetching keys (`portcullis-control`), verification (`portcullis-token`).

use std::collections::BTreeMap;
use std::sync::Arc;

use portcullis_config::plan;
use portcullis_core::{Generation, Location, Name, Problems, Sensitive, UnixMillis};
use portcullis_token::{
    Algorithm, ApiKey, ApiKeys, AssuranceRules, Issuer, IssuerRules, KeptKind, KeyHash, KeyRules, KeySet,
    Profile, ServerKey, Verifier,
};
use serde::{Deserialize, Serialize};

/// What identifies callers.
pub struct Keys {
    /// Of tokens.
    pub verifier: Verifier,
    /// Of API keys, if there are any.
    pub api_keys: Option<ApiKeys>,
}

impl std::fmt::Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Keys({:?})", self.verifier.generation())
    }
}

/// The key sets that *control* fetched, by issuer: the payload of a generation of kind `keys`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fetched(pub BTreeMap<Name, FetchedSet>);

/// One key set as it came.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FetchedSet {
    /// The document.
    pub document: Arc<str>,
    /// When it was fetched; its age decides whether it still counts.
    pub at: UnixMillis,
}

impl Keys {
    /// Puts the issuers of a plan and their key sets together.
    ///
    /// # Errors
    /// An entry or a key set that cannot be used.
    pub fn compile(plan: &plan::Plan, fetched: &Fetched, generation: Generation) -> Result<Self, Problems> {
        let mut problems = Problems::default();
        let mut issuers = Vec::with_capacity(plan.issuers.len());
        for planned in &plan.issuers {
            match issuer(planned, fetched) {
                Ok(ready) => issuers.push(ready),
                Err(text) => problems.add(&Location::default(), format!("issuers.{}", planned.name), text),
            }
        }
        let api_keys = plan.api_keys.as_ref().map(api_keys).transpose();
        let api_keys = api_keys.unwrap_or_else(|text| {
            problems.add(&Location::default(), "api_keys", text);
            None
        });
        match Verifier::new(generation, issuers) {
            Ok(verifier) => problems.into_result(Self { verifier, api_keys }),
            Err(fault) => {
                problems.add(&Location::default(), "issuers", fault.to_string());
                Err(problems)
            }
        }
    }
}

/// Judges a fetched document as the edge will, so that a bad one is refused where it was fetched.
///
/// # Errors
/// What is wrong with the issuer's entry or with the document.
pub fn check_document(planned: &plan::Issuer, document: &str) -> Result<usize, String> {
    let issuer = Issuer::new(rules(planned)).map_err(|fault| fault.to_string())?;
    let keys = KeySet::parse(document.as_bytes(), &issuer.key_rules()).map_err(|fault| fault.to_string())?;
    Ok(keys.usable())
}

fn issuer(planned: &plan::Issuer, fetched: &Fetched) -> Result<(Issuer, KeySet, UnixMillis), String> {
    let issuer = Issuer::new(rules(planned)).map_err(|fault| fault.to_string())?;
    let (document, at) = match (&planned.keys, fetched.0.get(&planned.name)) {
        // A file is as fresh as the generation that carries it: it never falls silent.
        (plan::KeySource::JwksFile(file), _) => (&*file.text, UnixMillis(u64::MAX)),
        (_, Some(set)) => (&*set.document, set.at),
        (_, None) => (r#"{"keys":[]}"#, UnixMillis(0)),
    };
    let keys = parse(document, &issuer.key_rules())?;
    Ok((issuer, keys, at))
}

fn parse(document: &str, rules: &KeyRules) -> Result<KeySet, String> {
    KeySet::parse(document.as_bytes(), rules).map_err(|fault| fault.to_string())
}

fn rules(planned: &plan::Issuer) -> IssuerRules {
    IssuerRules {
        name: planned.name.clone(),
        iss: Arc::clone(&planned.issuer),
        audiences: planned.audiences.iter().cloned().collect(),
        clients: None,
        algorithms: planned.algorithms.iter().map(|a| algorithm(*a)).collect(),
        profile: match planned.profile {
            plan::TokenProfile::AtJwt => Profile::AtJwt,
            plan::TokenProfile::Jwt => Profile::Jwt,
        },
        roles: (!planned.roles_claim.is_empty()).then(|| planned.roles_claim.clone()),
        kept: planned.keep_claims.iter().map(|(name, kind)| (Arc::clone(name), kept(*kind))).collect(),
        leeway: planned.leeway,
        assurance: AssuranceRules { default: planned.assurance, acr: BTreeMap::new(), amr: BTreeMap::new() },
        silent_after: planned.silent_after,
        longest_life: planned.longest_life,
    }
}

fn kept(planned: plan::ClaimType) -> KeptKind {
    match planned {
        plan::ClaimType::Text => KeptKind::Text,
        plan::ClaimType::Integer => KeptKind::Number,
        plan::ClaimType::Boolean => KeptKind::Flag,
        plan::ClaimType::Texts => KeptKind::Texts,
    }
}

fn algorithm(planned: plan::Algorithm) -> Algorithm {
    match planned {
        plan::Algorithm::ES256 => Algorithm::Es256,
        plan::Algorithm::ES384 => Algorithm::Es384,
        plan::Algorithm::EdDSA => Algorithm::EdDsa,
        plan::Algorithm::PS256 => Algorithm::Ps256,
        plan::Algorithm::RS256 => Algorithm::Rs256,
    }
}

/// The issuer name of principals that an API key identifies.
const API_KEY_ISSUER: &str = "api-keys";

fn api_keys(planned: &plan::ApiKeys) -> Result<ApiKeys, String> {
    let issuer = Name::parse(API_KEY_ISSUER).map_err(|fault| fault.to_string())?;
    let keys = planned.keys.iter().map(api_key).collect();
    ApiKeys::new(&issuer, server_key(planned.hash_key.expose()), keys).map_err(|fault| fault.to_string())
}

/// The key of the keyed hash, from a secret of any length.
#[must_use]
pub fn server_key(secret: &[u8]) -> ServerKey {
    ServerKey::new(&Sensitive::new(*plan::Digest::of(secret).as_bytes()))
}

fn api_key(planned: &plan::ApiKey) -> ApiKey {
    ApiKey {
        id: planned.id.clone(),
        hash: KeyHash::from_bytes(*planned.hash.as_bytes()),
        owner: Arc::clone(&planned.owner),
        sources: planned.sources.clone(),
        applications: planned.applications.iter().map(|a| a.as_str().into()).collect(),
        services: planned.apis.iter().cloned().collect(),
        scopes: planned.scopes.iter().cloned().collect(),
        assurance: planned.assurance,
        expires: Some(planned.expires),
    }
}
