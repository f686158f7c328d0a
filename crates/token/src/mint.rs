//! Signs the one token that a service receives in place of the caller's credentials.
//!
//! The edge makes its own key, keeps it in memory, and publishes the public half before it signs with it: a set
//! always holds the key that signs, the one that will sign next, and the one that signed last.
//!
//! INVARIANT: a token lives seconds, names one audience, and does not outlive the caller's credential by more than the
//! grace that a request in flight needs (SS028-11.2.5a, 11.2.10b).
//! INVARIANT: every token begins with [`INTERNAL_PREFIX`] and nothing else signed by anybody does.
//! INVARIANT: the private key leaves neither this type nor the process (11.2.10c, C13).
//!
//! Sources: RFC 7519, RFC 8037, RFC 7638 (key ids), RFC 8725 §3.11 (a type of our own), MS-SS-10.3, 10.4, 12.6.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use aws_lc_rs::{digest, rand};
use portcullis_core::{Assurance, Binding, Millis, Name, Principal, Proof, Sensitive, UnixMillis};
use serde::Serialize;

use crate::b64;

/// The `typ` of an internal token's header.
pub const INTERNAL_TYPE: &str = "portcullis+jwt";

/// What every internal token begins with: base64url of `{"typ":"portcullis+jwt",`.
pub const INTERNAL_PREFIX: &str = "eyJ0eXAiOiJwb3J0Y3VsbGlzK2p3dCIs";

/// How long a token is good at least, for a request admitted within the leeway of its own credential.
const GRACE: Duration = Duration::from_secs(5);

/// What the operator states about internal tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MinterRules {
    /// Their `iss`: the trust domain, or the id of this edge.
    pub issuer: Arc<str>,
    /// How long they live; at most [`Minter::LONGEST_LIFE`].
    pub life: Millis,
}

impl MinterRules {
    fn check(&self) -> Result<(), MintFault> {
        let good = !self.issuer.is_empty() && self.life <= Minter::LONGEST_LIFE;
        good.then_some(()).ok_or(MintFault::Rules)
    }
}

/// Why nothing could be signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MintFault {
    /// The source of randomness or the signing failed.
    #[error("the cryptographic library could not make a key, a number or a signature")]
    Crypto,
    /// Too long a life, or an empty issuer.
    #[error("internal tokens need an issuer and live at most {}", Minter::LONGEST_LIFE)]
    Rules,
    /// A scope that cannot be written to a list of words.
    #[error("a scope of the principal has a space or is empty")]
    Scope,
}

/// The signing keys of one edge. Cloning is cheap; a rotation makes a new one.
#[derive(Clone, Debug)]
pub struct Minter {
    rules: MinterRules,
    current: Arc<SigningKey>,
    next: Arc<SigningKey>,
    previous: Option<PublicKey>,
}

#[derive(Debug)]
struct SigningKey {
    pair: Ed25519KeyPair,
    public: PublicKey,
    /// The encoded header, with the dot behind it.
    header: String,
}

#[derive(Clone, Debug, Serialize)]
struct PublicKey {
    kty: &'static str,
    crv: &'static str,
    alg: &'static str,
    #[serde(rename = "use")]
    purpose: &'static str,
    kid: Arc<str>,
    x: String,
}

#[derive(Serialize)]
struct JwkSet<'k> {
    keys: Vec<&'k PublicKey>,
}

/// The claims, in the order in which they are written.
#[derive(Serialize)]
struct Claims<'c> {
    iss: &'c str,
    sub: &'c str,
    aud: &'c str,
    exp: u64,
    iat: u64,
    jti: String,
    orig_iss: &'c str,
    #[serde(skip_serializing_if = "Option::is_none")]
    client_id: Option<&'c str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sid: Option<&'c str>,
    #[serde(skip_serializing_if = "String::is_empty")]
    scope: String,
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    roles: &'c BTreeSet<Arc<str>>,
    proof: Proof,
    binding: Binding,
    assurance: Assurance,
}

impl Minter {
    /// The longest life that an internal token may have.
    pub const LONGEST_LIFE: Millis = Millis::from_secs(120);

    /// Makes the first two keys.
    ///
    /// # Errors
    /// The rules are out of range, or there is no randomness.
    pub fn new(rules: MinterRules) -> Result<Self, MintFault> {
        rules.check()?;
        Ok(Self { rules, current: SigningKey::generate()?, next: SigningKey::generate()?, previous: None })
    }

    /// The same keys under other rules.
    ///
    /// # Errors
    /// The rules are out of range.
    pub fn under(&self, rules: MinterRules) -> Result<Self, MintFault> {
        rules.check()?;
        Ok(Self { rules, ..self.clone() })
    }

    /// The same, a step on: the key that was published as next signs, and a fresh one is published.
    ///
    /// Rotate no faster than services read the key set again, and never within the life of a token.
    ///
    /// # Errors
    /// There is no randomness; the present keys stay in use.
    pub fn rotated(&self) -> Result<Self, MintFault> {
        Ok(Self {
            rules: self.rules.clone(),
            current: Arc::clone(&self.next),
            next: SigningKey::generate()?,
            previous: Some(self.current.public.clone()),
        })
    }

    /// The public keys as a JSON Web Key Set, for the services.
    #[must_use]
    pub fn jwks(&self) -> String {
        let keys = [Some(&self.current.public), Some(&self.next.public), self.previous.as_ref()];
        let set = JwkSet { keys: keys.into_iter().flatten().collect() };
        serde_json::to_string(&set).unwrap_or_else(|_| r#"{"keys":[]}"#.to_owned())
    }

    /// The id of the key that signs now.
    #[must_use]
    pub fn key_id(&self) -> &Arc<str> {
        &self.current.public.kid
    }

    /// How long its tokens live.
    #[must_use]
    pub fn life(&self) -> Duration {
        self.rules.life.as_duration()
    }

    /// Signs a token that tells `audience` who calls.
    ///
    /// # Errors
    /// The library failed, or a scope has a space.
    pub fn mint(
        &self,
        principal: &Principal,
        audience: &Name,
        now: UnixMillis,
    ) -> Result<Sensitive<String>, MintFault> {
        let claims = self.claims(principal, audience, now)?;
        let claims = serde_json::to_vec(&claims).map_err(|_| MintFault::Crypto)?;
        let mut token = String::with_capacity(self.current.header.len() + claims.len() * 4 / 3 + 92);
        token.push_str(&self.current.header);
        b64::encode_into(&claims, &mut token);
        let signature = self.current.pair.try_sign(token.as_bytes()).map_err(|_| MintFault::Crypto)?;
        token.push('.');
        b64::encode_into(signature.as_ref(), &mut token);
        Ok(Sensitive::new(token))
    }

    /// When a token that is minted now for this principal ends.
    pub(crate) fn ends(&self, principal: &Principal, now: UnixMillis) -> UnixMillis {
        let longest = now.plus(self.life());
        let least = now.plus(GRACE.min(self.life()));
        principal.expires.map_or(longest, |expires| expires.clamp(least, longest))
    }

    fn claims<'c>(
        &'c self,
        principal: &'c Principal,
        audience: &'c Name,
        now: UnixMillis,
    ) -> Result<Claims<'c>, MintFault> {
        Ok(Claims {
            iss: &self.rules.issuer,
            sub: &principal.subject,
            aud: audience.as_str(),
            exp: self.ends(principal, now).seconds(),
            iat: now.seconds(),
            jti: random_id()?,
            orig_iss: principal.issuer.as_str(),
            client_id: principal.client.as_deref(),
            sid: principal.session.as_deref(),
            scope: joined(&principal.scopes)?,
            roles: &principal.roles,
            proof: principal.proof,
            binding: principal.binding,
            assurance: principal.assurance,
        })
    }
}

impl SigningKey {
    fn generate() -> Result<Arc<Self>, MintFault> {
        Ed25519KeyPair::generate().map(Self::of).map(Arc::new).map_err(|_| MintFault::Crypto)
    }

    fn of(pair: Ed25519KeyPair) -> Self {
        let x = b64::encode(pair.public_key());
        // RFC 7638: the digest of the required members in this order, so that anyone can check the id.
        let thumbprint = format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{x}"}}"#);
        let kid: Arc<str> = b64::encode(digest::digest(&digest::SHA256, thumbprint.as_bytes())).into();
        let header = format!(r#"{{"typ":"{INTERNAL_TYPE}","alg":"EdDSA","kid":"{kid}"}}"#);
        let header = format!("{}.", b64::encode(header));
        let public = PublicKey { kty: "OKP", crv: "Ed25519", alg: "EdDSA", purpose: "sig", kid, x };
        Self { pair, public, header }
    }
}

fn random_id() -> Result<String, MintFault> {
    let mut id = [0; 16];
    rand::fill(&mut id).map_err(|_| MintFault::Crypto)?;
    Ok(b64::encode(id))
}

/// SECURITY: a scope with a space would become two scopes behind the gateway.
fn joined(scopes: &BTreeSet<Arc<str>>) -> Result<String, MintFault> {
    let mut text = String::new();
    for scope in scopes {
        if scope.is_empty() || scope.contains(|c: char| c == ' ' || c.is_control()) {
            return Err(MintFault::Scope);
        }
        if !text.is_empty() {
            text.push(' ');
        }
        text.push_str(scope);
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::jws::Jws;
    use crate::testing::{ED, claims, name, now, rules, texts, verifier};
    use crate::{Algorithm, KeyRules, KeySet};

    fn minter() -> Minter {
        Minter::new(MinterRules { issuer: "edge.shop.example".into(), life: Millis::from_secs(30) })
            .expect("a minter")
    }

    fn principal() -> Principal {
        let verified = verifier(rules(), &[&ED]).verify(&ED.token(&claims()), now()).expect("verifies");
        Principal::clone(verified.bound_to(None).expect("a bearer"))
    }

    fn published(minter: &Minter) -> KeySet {
        let rules = KeyRules { algorithms: BTreeSet::from([Algorithm::EdDsa]) };
        KeySet::parse(minter.jwks().as_bytes(), &rules).expect("our own key set, by our own rules")
    }

    fn verifies(keys: &KeySet, token: &str) -> bool {
        let jws = Jws::parse(token).expect("our own token");
        keys.choose(&jws.header, &name("edge")).is_ok_and(|key| jws.is_signed_by(key))
    }

    #[test]
    fn an_internal_token_says_who_calls_and_nothing_of_the_credential() {
        let minter = minter();
        let token = minter.mint(&principal(), &name("orders"), now()).expect("mints");
        assert!(token.expose().starts_with(INTERNAL_PREFIX));
        assert!(verifies(&published(&minter), token.expose()));
        let jws = Jws::parse(token.expose()).expect("a token");
        assert_eq!(jws.header.typ.as_deref(), Some(INTERNAL_TYPE));
        let mut got: Value = serde_json::from_slice(&jws.payload).expect("JSON");
        let jti = got.as_object_mut().expect("claims").remove("jti");
        assert_eq!(jti.and_then(|jti| jti.as_str().map(str::len)), Some(22));
        let now = now().seconds();
        let want = json!({
            "iss": "edge.shop.example", "sub": "u-17", "aud": "orders", "exp": now + 30, "iat": now,
            "orig_iss": "staff", "client_id": "web", "sid": "s-1", "scope": "orders:read orders:write",
            "roles": ["clerk"], "proof": "token", "binding": "bearer", "assurance": "substantial",
        });
        assert_eq!(got, want);
    }

    #[test]
    fn other_rules_change_the_life_and_keep_the_keys() {
        let before = minter();
        let rules = |secs| MinterRules { issuer: "edge.shop.example".into(), life: Millis::from_secs(secs) };
        let after = before.under(rules(20)).expect("rules in range");
        let token = after.mint(&principal(), &name("orders"), now()).expect("mints");
        assert!(verifies(&published(&before), token.expose()));
        assert_eq!(after.ends(&principal(), now()).since(now()).as_secs(), 20);
        assert_eq!(before.under(rules(121)).err(), Some(MintFault::Rules));
    }

    #[test]
    fn the_prefix_is_what_the_header_begins_with() {
        let begins = format!(r#"{{"typ":"{INTERNAL_TYPE}","#);
        assert_eq!(b64::encode(&begins), INTERNAL_PREFIX);
        assert_eq!(begins.len() % 3, 0, "else the last character would depend on what follows");
    }

    #[test]
    fn ss028_11_2_5_a_token_lives_seconds_and_not_longer_than_its_credential() {
        let (minter, mut principal) = (minter(), principal());
        for (left, want) in [(300, 30), (30, 30), (12, 12), (5, 5), (1, 5), (0, 5)] {
            principal.expires = Some(now().plus(Duration::from_secs(left)));
            assert_eq!(minter.ends(&principal, now()).since(now()).as_secs(), want, "{left}");
        }
        principal.expires = None;
        assert_eq!(minter.ends(&principal, now()).since(now()).as_secs(), 30);
        let long = MinterRules { issuer: "edge".into(), life: Millis::from_secs(121) };
        assert_eq!(Minter::new(long).err(), Some(MintFault::Rules));
    }

    #[test]
    fn ss028_11_2_10_a_key_is_published_before_it_signs_and_after() {
        let first = minter();
        let old = first.mint(&principal(), &name("orders"), now()).expect("mints");
        let before = published(&first);
        let second = first.rotated().expect("rotates");
        let new = second.mint(&principal(), &name("orders"), now()).expect("mints");
        assert_ne!(first.key_id(), second.key_id());
        assert!(
            verifies(&before, new.expose()),
            "a service that read the keys before the rotation knows the new one"
        );
        assert!(verifies(&published(&second), old.expose()), "and one that reads them now knows the old one");
        let third = published(&second.rotated().expect("rotates"));
        assert_eq!(third.usable(), 3);
        assert!(!verifies(&third, old.expose()), "two rotations later it is gone");
    }

    #[test]
    fn c13_no_private_key_is_shown_or_published() {
        let minter = minter();
        let seed = minter.current.pair.seed().expect("a seed");
        let seed: aws_lc_rs::encoding::Curve25519SeedBin<'_> =
            aws_lc_rs::encoding::AsBigEndian::as_be_bytes(&seed).expect("bytes");
        let seed = b64::encode(seed.as_ref());
        assert!(!minter.jwks().contains(&seed) && !minter.jwks().contains("\"d\""));
        assert!(!format!("{minter:?}").contains(&seed));
    }

    #[test]
    fn one_scope_never_becomes_two() {
        let mut principal = principal();
        for bad in ["orders:read admin", "", "a\nb"] {
            principal.scopes = texts(&[bad]);
            let got = minter().mint(&principal, &name("orders"), now());
            assert_eq!(got.err(), Some(MintFault::Scope), "{bad:?}");
        }
    }

    #[test]
    fn an_internal_token_is_no_access_token() {
        let mut trusting = rules();
        trusting.iss = "edge.shop.example".into();
        trusting.audiences = texts(&["orders"]);
        for profile in [crate::Profile::AtJwt, crate::Profile::Jwt] {
            trusting.profile = profile;
            let minter = minter();
            let issuer = crate::Issuer::new(trusting.clone()).expect("an issuer");
            let of = vec![(issuer, published(&minter), now())];
            let verifier = crate::Verifier::new(portcullis_core::Generation(1), of).expect("a verifier");
            let token = minter.mint(&principal(), &name("orders"), now()).expect("mints");
            assert_eq!(verifier.verify(token.expose(), now()).err(), Some(crate::TokenFault::Type));
        }
    }
}
