//! Keys, tokens and issuers for the tests of this room.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, LazyLock};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair,
    KeyPair as _, RSA_PKCS1_SHA256, RSA_PSS_SHA256, RsaKeyPair,
};
use portcullis_core::{Assurance, Generation, Millis, Name, UnixMillis};
use serde_json::{Value, json};

use crate::{
    Algorithm, AssuranceRules, Issuer, IssuerRules, KeptKind, KeyRules, KeySet, Profile, Verifier, b64,
};

/// 2026-09-21T14:13:20Z.
pub(crate) const NOW: u64 = 1_790_000_000;
pub(crate) const ISS: &str = "https://login.example/realms/staff";

pub(crate) fn now() -> UnixMillis {
    UnixMillis::from_seconds(NOW)
}

enum Pair {
    Ec(EcdsaKeyPair),
    Ed(Ed25519KeyPair),
    Rsa(RsaKeyPair),
}

/// A private key of an issuer.
pub(crate) struct Signer {
    pub(crate) algorithm: Algorithm,
    pub(crate) kid: &'static str,
    pair: Pair,
}

impl Signer {
    pub(crate) fn new(algorithm: Algorithm, kid: &'static str) -> Self {
        let pair = match algorithm {
            Algorithm::Es256 => {
                Pair::Ec(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).expect("a key"))
            }
            Algorithm::Es384 => {
                Pair::Ec(EcdsaKeyPair::generate(&ECDSA_P384_SHA384_FIXED_SIGNING).expect("a key"))
            }
            Algorithm::EdDsa => Pair::Ed(Ed25519KeyPair::generate().expect("a key")),
            Algorithm::Ps256 | Algorithm::Rs256 => {
                Pair::Rsa(RsaKeyPair::generate(KeySize::Rsa2048).expect("a key"))
            }
        };
        Self { algorithm, kid, pair }
    }

    /// The public key with `alg`, `use` and `kid`.
    pub(crate) fn jwk(&self) -> Value {
        let (name, kid) = (self.algorithm.name(), self.kid);
        match &self.pair {
            Pair::Ec(pair) => {
                let point = &pair.public_key().as_ref()[1..];
                let (x, y) = point.split_at(point.len() / 2);
                let crv = if self.algorithm == Algorithm::Es256 { "P-256" } else { "P-384" };
                json!({"kty": "EC", "use": "sig", "alg": name, "kid": kid, "crv": crv, "x": b64::encode(x),
                    "y": b64::encode(y)})
            }
            Pair::Ed(pair) => json!({"kty": "OKP", "use": "sig", "alg": name, "kid": kid, "crv": "Ed25519",
                "x": b64::encode(pair.public_key())}),
            // A 2048-bit key in DER: nine bytes of tags and lengths, the modulus, then 65537.
            Pair::Rsa(pair) => json!({"kty": "RSA", "use": "sig", "alg": name, "kid": kid, "e": "AQAB",
                "n": b64::encode(&pair.public_key().as_ref()[9..265])}),
        }
    }

    fn signature(&self, message: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        match &self.pair {
            Pair::Ec(pair) => pair.sign(&random, message).expect("signs").as_ref().to_vec(),
            Pair::Ed(pair) => pair.sign(message).as_ref().to_vec(),
            Pair::Rsa(pair) => {
                let padding =
                    if self.algorithm == Algorithm::Ps256 { &RSA_PSS_SHA256 } else { &RSA_PKCS1_SHA256 };
                let mut out = vec![0; pair.public_modulus_len()];
                pair.sign(padding, &random, message, &mut out).expect("signs");
                out
            }
        }
    }

    /// A token of exactly these bytes.
    pub(crate) fn sign(&self, header: &str, payload: &str) -> String {
        let signed = format!("{}.{}", b64::encode(header), b64::encode(payload));
        format!("{signed}.{}", b64::encode(self.signature(signed.as_bytes())))
    }

    /// An access token with these claims.
    pub(crate) fn token(&self, claims: &Value) -> String {
        self.sign(&self.header("at+jwt"), &claims.to_string())
    }

    pub(crate) fn header(&self, typ: &str) -> String {
        json!({"alg": self.algorithm.name(), "typ": typ, "kid": self.kid}).to_string()
    }
}

pub(crate) static ES256: LazyLock<Signer> = LazyLock::new(|| Signer::new(Algorithm::Es256, "es-1"));
pub(crate) static OTHER: LazyLock<Signer> = LazyLock::new(|| Signer::new(Algorithm::Es256, "es-other"));
pub(crate) static ES384: LazyLock<Signer> = LazyLock::new(|| Signer::new(Algorithm::Es384, "es-384"));
pub(crate) static ED: LazyLock<Signer> = LazyLock::new(|| Signer::new(Algorithm::EdDsa, "ed-1"));
pub(crate) static PS256: LazyLock<Signer> = LazyLock::new(|| Signer::new(Algorithm::Ps256, "ps-1"));
pub(crate) static RS256: LazyLock<Signer> = LazyLock::new(|| Signer::new(Algorithm::Rs256, "rs-1"));

pub(crate) fn all_signers() -> [&'static Signer; 5] {
    [&ES256, &ES384, &ED, &PS256, &RS256]
}

pub(crate) fn name(text: &str) -> Name {
    Name::parse(text).expect("a name")
}

pub(crate) fn texts(words: &[&str]) -> BTreeSet<Arc<str>> {
    words.iter().map(|word| Arc::from(*word)).collect()
}

/// An entry that accepts every algorithm.
pub(crate) fn rules() -> IssuerRules {
    IssuerRules {
        name: name("staff"),
        iss: ISS.into(),
        audiences: texts(&["shop"]),
        clients: None,
        algorithms: BTreeSet::from(Algorithm::ALL),
        profile: Profile::AtJwt,
        roles: Some(vec!["realm_access".into(), "roles".into()]),
        kept: BTreeMap::from([("tenant".into(), KeptKind::Text)]),
        leeway: Millis::from_secs(30),
        assurance: AssuranceRules {
            default: Assurance::Low,
            acr: BTreeMap::from([("mfa".into(), Assurance::Substantial)]),
            amr: BTreeMap::from([("hwk".into(), Assurance::High)]),
        },
        silent_after: Millis::from_secs(3600),
        longest_life: Millis::LONGEST,
    }
}

pub(crate) fn key_set(signers: &[&Signer]) -> KeySet {
    let keys: Vec<Value> = signers.iter().map(|signer| signer.jwk()).collect();
    let rules = KeyRules { algorithms: BTreeSet::from(Algorithm::ALL) };
    KeySet::parse(json!({ "keys": keys }).to_string().as_bytes(), &rules).expect("a key set")
}

/// A verifier of one issuer with these keys.
pub(crate) fn verifier(rules: IssuerRules, signers: &[&Signer]) -> Verifier {
    let issuer = Issuer::new(rules).expect("an issuer");
    Verifier::new(Generation(1), vec![(issuer, key_set(signers), now())]).expect("a verifier")
}

/// The claims of a good access token.
pub(crate) fn claims() -> Value {
    json!({
        "iss": ISS, "sub": "u-17", "aud": "shop", "exp": NOW + 300, "iat": NOW - 10, "nbf": NOW - 10,
        "client_id": "web", "jti": "t-1", "sid": "s-1", "scope": "orders:read orders:write",
        "realm_access": {"roles": ["clerk"]}, "tenant": "north", "acr": "mfa", "amr": ["pwd", "otp"],
    })
}

/// The claims with some replaced; a `null` here removes the claim.
pub(crate) fn claims_with(changes: &Value) -> Value {
    let mut claims = claims();
    let all = claims.as_object_mut().expect("an object");
    for (claim, value) in changes.as_object().expect("an object") {
        if value.is_null() {
            all.remove(claim)
        } else {
            all.insert(claim.clone(), value.clone())
        };
    }
    claims
}
