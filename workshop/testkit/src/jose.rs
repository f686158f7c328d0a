//! Makes tokens, good and bad: any header, any claims, any bytes.
//!
//! Sources: RFC 7515 (JWS compact), RFC 7517 (JWK), RFC 7518 §3 (algorithms), RFC 8037 (Ed25519), RFC 9068 §2.1
//! (`at+jwt`).

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _, RSA_PKCS1_SHA256,
    RSA_PSS_SHA256, RsaKeyPair,
};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

/// A signing key with its `kid` and the one algorithm that its JWK names.
pub struct TokenKey {
    /// Key id, in the JWK and in the default header.
    pub kid: String,
    alg: &'static str,
    pair: Pair,
}

enum Pair {
    P256(Box<EcdsaKeyPair>),
    Ed25519(Box<Ed25519KeyPair>),
    Rsa(Box<RsaKeyPair>),
}

impl TokenKey {
    /// A fresh P-256 key for ES256.
    #[must_use]
    pub fn es256(kid: &str) -> Self {
        let pair =
            EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).expect("the system has randomness");
        Self { kid: kid.to_owned(), alg: "ES256", pair: Pair::P256(Box::new(pair)) }
    }

    /// A fresh Ed25519 key for EdDSA.
    #[must_use]
    pub fn eddsa(kid: &str) -> Self {
        let pair = Ed25519KeyPair::generate().expect("the system has randomness");
        Self { kid: kid.to_owned(), alg: "EdDSA", pair: Pair::Ed25519(Box::new(pair)) }
    }

    /// A fresh RSA key of 2048 bits for RS256.
    #[must_use]
    pub fn rs256(kid: &str) -> Self {
        Self { kid: kid.to_owned(), alg: "RS256", pair: rsa() }
    }

    /// A fresh RSA key of 2048 bits for PS256.
    #[must_use]
    pub fn ps256(kid: &str) -> Self {
        Self { kid: kid.to_owned(), alg: "PS256", pair: rsa() }
    }

    /// The public key as a JWK object.
    #[must_use]
    pub fn jwk(&self) -> Value {
        let mut jwk = match &self.pair {
            Pair::P256(pair) => {
                let point = pair.public_key().as_ref();
                json!({ "kty": "EC", "crv": "P-256", "x": b64(&point[1..33]), "y": b64(&point[33..]) })
            }
            Pair::Ed25519(pair) => {
                json!({ "kty": "OKP", "crv": "Ed25519", "x": b64(pair.public_key().as_ref()) })
            }
            Pair::Rsa(pair) => {
                let key = pair.public_key();
                let (n, e) = (key.modulus(), key.exponent());
                json!({ "kty": "RSA", "n": b64(n.big_endian_without_leading_zero()),
                    "e": b64(e.big_endian_without_leading_zero()) })
            }
        };
        jwk["kid"] = json!(self.kid);
        jwk["alg"] = json!(self.alg);
        jwk["use"] = json!("sig");
        jwk
    }

    /// The header of an access token (RFC 9068 §2.1) signed by this key.
    #[must_use]
    pub fn header(&self) -> Value {
        json!({ "alg": self.alg, "kid": self.kid, "typ": "at+jwt" })
    }

    /// An access token with this key's usual header.
    #[must_use]
    pub fn access_token(&self, claims: &Value) -> String {
        self.sign(&self.header(), claims)
    }

    /// A token with exactly this header and these claims, whatever they say.
    #[must_use]
    pub fn sign(&self, header: &Value, claims: &Value) -> String {
        self.sign_bytes(header.to_string().as_bytes(), claims.to_string().as_bytes())
    }

    /// A token over exactly these bytes: duplicate members, trailing rubbish, anything.
    #[must_use]
    pub fn sign_bytes(&self, header: &[u8], payload: &[u8]) -> String {
        let input = format!("{}.{}", b64(header), b64(payload));
        format!("{input}.{}", b64(&self.signature(input.as_bytes())))
    }

    fn signature(&self, input: &[u8]) -> Vec<u8> {
        match &self.pair {
            Pair::P256(pair) => {
                pair.sign(&SystemRandom::new(), input).expect("P-256 signs").as_ref().to_vec()
            }
            Pair::Ed25519(pair) => pair.sign(input).as_ref().to_vec(),
            Pair::Rsa(pair) => {
                let padding: &dyn aws_lc_rs::signature::RsaEncoding =
                    if self.alg == "PS256" { &RSA_PSS_SHA256 } else { &RSA_PKCS1_SHA256 };
                let mut out = vec![0; pair.public_modulus_len()];
                pair.sign(padding, &SystemRandom::new(), input, &mut out).expect("RSA signs");
                out
            }
        }
    }
}

/// The key set document that an issuer with these keys publishes.
#[must_use]
pub fn jwks(keys: &[&TokenKey]) -> String {
    json!({ "keys": keys.iter().map(|k| k.jwk()).collect::<Vec<_>>() }).to_string()
}

fn rsa() -> Pair {
    Pair::Rsa(Box::new(RsaKeyPair::generate(KeySize::Rsa2048).expect("the system has randomness")))
}

fn b64(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_lc_rs::signature::{self, UnparsedPublicKey};

    #[test]
    fn every_kind_of_key_makes_a_token_that_its_public_half_verifies() {
        let keys: [(TokenKey, &dyn signature::VerificationAlgorithm); 4] = [
            (TokenKey::es256("a"), &signature::ECDSA_P256_SHA256_FIXED),
            (TokenKey::eddsa("b"), &signature::ED25519),
            (TokenKey::rs256("c"), &signature::RSA_PKCS1_2048_8192_SHA256),
            (TokenKey::ps256("d"), &signature::RSA_PSS_2048_8192_SHA256),
        ];
        for (key, algorithm) in keys {
            let token = key.access_token(&json!({ "sub": "ada" }));
            let (input, mac) = token.rsplit_once('.').unwrap();
            let public = match &key.pair {
                Pair::P256(p) => p.public_key().as_ref().to_vec(),
                Pair::Ed25519(p) => p.public_key().as_ref().to_vec(),
                Pair::Rsa(p) => p.public_key().as_ref().to_vec(),
            };
            let checked = UnparsedPublicKey::new(algorithm, public)
                .verify(input.as_bytes(), &URL_SAFE_NO_PAD.decode(mac).unwrap());
            assert!(checked.is_ok(), "{}", key.alg);
            assert!(jwks(&[&key]).contains(&format!("\"kid\":\"{}\"", key.kid)));
        }
    }
}
