//! A local issuer of access tokens, whose key lives as long as this process.
//!
//! INVARIANT: the private key is never written: when the tokens of a demo run out, so does everything it signed.
//!
//! Sources: RFC 9068 §2 (`at+jwt`), RFC 7515, RFC 7517, RFC 7518 §3.4, RFC 8705 §3.1 (`cnf`).

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use portcullis_core::{Sensitive, UnixMillis};
use serde_json::json;

/// How long a token lives.
pub(crate) const LIFE_MS: u64 = 12 * 3_600 * 1_000;

/// An issuer and its one key.
pub(crate) struct Issuer {
    name: String,
    pair: EcdsaKeyPair,
}

/// Whom a token is about, and what it may be used for.
#[derive(Clone, Debug)]
pub(crate) struct Subject {
    name: &'static str,
    customer: Option<&'static str>,
    scope: &'static str,
    certificate: Option<String>,
}

/// Why there is no key or token.
#[derive(Debug, thiserror::Error)]
#[error("the cryptographic library made no key or signature")]
pub(crate) struct KeyError;

impl Subject {
    /// A bearer.
    pub(crate) fn new(name: &'static str, customer: Option<&'static str>, scope: &'static str) -> Self {
        Self { name, customer, scope, certificate: None }
    }

    /// The same, bound to the certificate with this thumbprint.
    pub(crate) fn bound_to(mut self, thumbprint: &str) -> Self {
        self.certificate = Some(thumbprint.to_owned());
        self
    }
}

impl Issuer {
    /// An issuer of this name with a new key.
    pub(crate) fn draw(name: &str) -> Result<Self, KeyError> {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).map_err(|_| KeyError)?;
        Ok(Self { name: name.to_owned(), pair })
    }

    /// Its `iss`.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// The public key, as issuers publish it.
    pub(crate) fn jwks(&self) -> String {
        let point = self.pair.public_key().as_ref();
        // An uncompressed point: 4, then x and y of 32 bytes each (RFC 7518 §6.2.1).
        let (x, y) = (point.get(1..33).unwrap_or_default(), point.get(33..65).unwrap_or_default());
        let key = json!({
            "kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig", "kid": "demo-1", "x": b64(x), "y": b64(y),
        });
        format!("{:#}\n", json!({ "keys": [key] }))
    }

    /// A token about `subject`, issued at `now`.
    pub(crate) fn token(&self, subject: &Subject, now: UnixMillis) -> Result<Sensitive<String>, KeyError> {
        let mut id = [0; 16];
        aws_lc_rs::rand::fill(&mut id).map_err(|_| KeyError)?;
        let header = json!({ "typ": "at+jwt", "alg": "ES256", "kid": "demo-1" });
        let mut claims = json!({
            "iss": self.name, "sub": subject.name, "aud": "shop", "client_id": "shop-web", "scope": subject.scope,
            "iat": now.seconds(), "exp": now.seconds().saturating_add(LIFE_MS / 1_000), "jti": b64(&id),
        });
        if let Some(members) = claims.as_object_mut() {
            members.extend(subject.customer.map(|customer| ("customer".to_owned(), json!(customer))));
            let bound = subject.certificate.as_ref().map(|thumbprint| json!({ "x5t#S256": thumbprint }));
            members.extend(bound.map(|confirmation| ("cnf".to_owned(), confirmation)));
        }
        let input = format!("{}.{}", b64(header.to_string().as_bytes()), b64(claims.to_string().as_bytes()));
        let signature = self.pair.sign(&SystemRandom::new(), input.as_bytes()).map_err(|_| KeyError)?;
        Ok(Sensitive::new(format!("{input}.{}", b64(signature.as_ref()))))
    }
}

fn b64(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}
