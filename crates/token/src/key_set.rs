//! The public keys of an issuer.
//!
//! A set is refused as a whole when it shows that the issuer, or whoever answered in its place, cannot be trusted or
//! cannot be understood in one way; a single key that we cannot or will not use is passed over and counted, so that
//! an issuer may publish encryption keys and algorithms of tomorrow beside ours.
//!
//! INVARIANT: no two keys of a set have the same id and algorithm, so that a token never has a choice of keys.
//! INVARIANT: a set without keys verifies nothing; one of which no key is usable is a fault. There is no "no keys, no
//! check" (C15). An explicitly empty list is how an issuer revokes all keys, and how one stands that was never heard.
//!
//! Sources: RFC 7517 §5, RFC 8725 §3.5, threats C1, C13, E10; Istio's fallback key (C13).

use std::collections::BTreeSet;
use std::sync::Arc;

use aws_lc_rs::digest;
use portcullis_core::Name;

use crate::algorithm::Algorithm;
use crate::fault::TokenFault;
use crate::json::{Json, JsonFault, Members};
use crate::jwk::Key;
use crate::jws::Header;

/// What an issuer's entry says about its keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyRules {
    /// The algorithms that its keys may be for.
    pub algorithms: BTreeSet<Algorithm>,
}

/// Why a document is not a key set that can be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeySetFault {
    /// Longer than [`KeySet::LARGEST`].
    #[error("the key set has {bytes} bytes, more than {}", KeySet::LARGEST)]
    TooLarge {
        /// How long it is.
        bytes: usize,
    },
    /// Not JSON with one meaning.
    #[error("the key set is not what RFC 7517 describes")]
    Json(#[source] JsonFault),
    /// There is no list `keys` of objects.
    #[error("the key set has no list `keys` of objects")]
    NoKeys,
    /// More than [`KeySet::MOST`] keys.
    #[error("the key set has {count} keys, more than {}", KeySet::MOST)]
    TooMany {
        /// How many there are.
        count: usize,
    },
    /// A private key was published.
    #[error("the key set publishes private key material (`{member}`); the issuer's keys must be replaced")]
    Private {
        /// The member that holds it.
        member: &'static str,
    },
    /// A symmetric key was published.
    #[error("the key set publishes a symmetric key (`oct`), which every reader could sign with")]
    Symmetric,
    /// Two keys have the same id and algorithm.
    #[error("the key set has two keys with the same `kid` for the same algorithm")]
    DuplicateKid,
    /// No key is left.
    #[error(
        "the key set has no key that may be used ({skipped} passed over); check `algorithms` of the issuer"
    )]
    NothingUsable {
        /// How many were passed over.
        skipped: usize,
    },
}

/// Why one key of a set was passed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Skipped {
    /// A key type or curve that is not supported.
    OtherType,
    /// Its `use` or `key_ops` is not verifying.
    OtherUse,
    /// An algorithm that is not supported or that the issuer's entry does not name.
    OtherAlgorithm,
    /// No `alg`, and the issuer's entry names several algorithms that fit.
    AmbiguousAlgorithm,
    /// A member is missing, has a wrong type or length, or the point is not on the curve.
    Malformed,
    /// RSA below 2048 or above 8192 bits, an unsound exponent, or the mark of a broken generator.
    Weak,
}

/// The checked public keys of one issuer. Cloning is cheap.
#[derive(Clone, Debug)]
pub struct KeySet(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    keys: Vec<Key>,
    skipped: Vec<Skipped>,
    digest: [u8; 32],
}

impl KeySet {
    /// The longest document that is read.
    pub const LARGEST: usize = 512 * 1024;
    /// The most keys that a set may have.
    pub const MOST: usize = 100;

    /// Reads a JSON Web Key Set.
    ///
    /// # Errors
    /// The set shows private or symmetric keys, has two readings, is too large, or has no key that may be used.
    pub fn parse(bytes: &[u8], rules: &KeyRules) -> Result<Self, KeySetFault> {
        if bytes.len() > Self::LARGEST {
            return Err(KeySetFault::TooLarge { bytes: bytes.len() });
        }
        let document = Members::parse(bytes).map_err(KeySetFault::Json)?;
        let Some(Json::List(list)) = document.find("keys") else { return Err(KeySetFault::NoKeys) };
        if list.len() > Self::MOST {
            return Err(KeySetFault::TooMany { count: list.len() });
        }
        let (mut keys, mut skipped) = (Vec::new(), Vec::new());
        for jwk in list {
            let Json::Object(jwk) = jwk else { return Err(KeySetFault::NoKeys) };
            match Key::read(jwk, &rules.algorithms)? {
                Ok(key) => keys.push(key),
                Err(why) => skipped.push(why),
            }
        }
        Self::of(keys, skipped, digest_of(bytes, rules))
    }

    fn of(keys: Vec<Key>, skipped: Vec<Skipped>, digest: [u8; 32]) -> Result<Self, KeySetFault> {
        let mut seen = BTreeSet::new();
        let named = keys.iter().filter_map(|key| key.kid.as_ref().map(|kid| (kid, key.algorithm)));
        if !named.into_iter().all(|name| seen.insert(name)) {
            return Err(KeySetFault::DuplicateKid);
        }
        if keys.is_empty() && !skipped.is_empty() {
            return Err(KeySetFault::NothingUsable { skipped: skipped.len() });
        }
        Ok(Self(Arc::new(Inner { keys, skipped, digest })))
    }

    /// How many keys can verify something.
    #[must_use]
    pub fn usable(&self) -> usize {
        self.0.keys.len()
    }

    /// The ids and algorithms of the usable keys, for the record.
    pub fn ids(&self) -> impl Iterator<Item = (Option<&str>, Algorithm)> {
        self.0.keys.iter().map(|key| (key.kid.as_deref(), key.algorithm))
    }

    /// Why keys were passed over, one entry a key.
    #[must_use]
    pub fn skipped(&self) -> &[Skipped] {
        &self.0.skipped
    }

    /// SHA-256 of the document and the rules that it was read under.
    #[must_use]
    pub fn digest(&self) -> &[u8; 32] {
        &self.0.digest
    }

    /// The one key that a token with this header can have been signed with.
    pub(crate) fn choose(&self, header: &Header, issuer: &Name) -> Result<&Key, TokenFault> {
        let named = |key: &&Key| header.kid.is_none() || key.kid.as_deref() == header.kid.as_deref();
        let mut fitting = self.0.keys.iter().filter(named).filter(|key| key.algorithm == header.algorithm);
        match (fitting.next(), fitting.next()) {
            (Some(key), None) => Ok(key),
            (Some(_), Some(_)) => Err(TokenFault::AmbiguousKey),
            // SECURITY: the header's algorithm only picks among equals; a named key of another algorithm is refused.
            (None, _) if header.kid.is_some() && self.0.keys.iter().any(|key| named(&key)) => {
                Err(TokenFault::OtherAlgorithm)
            }
            (None, _) => Err(TokenFault::UnknownKey { issuer: issuer.clone() }),
        }
    }
}

fn digest_of(bytes: &[u8], rules: &KeyRules) -> [u8; 32] {
    let mut context = digest::Context::new(&digest::SHA256);
    for algorithm in &rules.algorithms {
        context.update(algorithm.name().as_bytes());
        context.update(b"\n");
    }
    context.update(b"\n");
    context.update(bytes);
    <[u8; 32]>::try_from(context.finish().as_ref()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::testing::*;

    fn parse(keys: &[Value]) -> Result<KeySet, KeySetFault> {
        let rules = KeyRules { algorithms: BTreeSet::from(Algorithm::ALL) };
        KeySet::parse(json!({ "keys": keys }).to_string().as_bytes(), &rules)
    }

    fn with(signer: &Signer, member: &str, value: Value) -> Value {
        let mut jwk = signer.jwk();
        if value.is_null() {
            jwk.as_object_mut().expect("a key").remove(member);
        } else {
            jwk[member] = value;
        }
        jwk
    }

    /// The good key keeps the set usable, so that what is told is what became of the other one.
    fn skipped(jwk: Value) -> Result<Vec<Skipped>, KeySetFault> {
        parse(&[ED.jwk(), jwk]).map(|set| set.skipped().to_vec())
    }

    #[test]
    fn a_key_is_used_only_for_what_it_says() {
        let table = [
            (with(&ES256, "use", json!(null)), vec![]),
            (with(&ES256, "alg", json!(null)), vec![]),
            (with(&ES256, "key_ops", json!(["verify"])), vec![]),
            (with(&ES256, "use", json!("enc")), vec![Skipped::OtherUse]),
            (with(&ES256, "use", json!(["sig"])), vec![Skipped::OtherUse]),
            (with(&ES256, "key_ops", json!(["encrypt"])), vec![Skipped::OtherUse]),
            (with(&ES256, "alg", json!("ES512")), vec![Skipped::OtherAlgorithm]),
            (with(&ES256, "alg", json!("none")), vec![Skipped::OtherAlgorithm]),
            (with(&ES256, "alg", json!("RS256")), vec![Skipped::Malformed]),
            (with(&ES256, "alg", json!("ES384")), vec![Skipped::Malformed]),
            (with(&ES256, "crv", json!("secp256k1")), vec![Skipped::OtherType]),
            (with(&ES256, "kty", json!("AKP")), vec![Skipped::OtherType]),
            (with(&ES256, "kty", json!(null)), vec![Skipped::Malformed]),
            (with(&ES256, "kid", json!(7)), vec![Skipped::Malformed]),
            (with(&ES256, "kid", json!("")), vec![Skipped::Malformed]),
            (with(&RS256, "alg", json!(null)), vec![Skipped::AmbiguousAlgorithm]),
        ];
        for (jwk, want) in table {
            assert_eq!(skipped(jwk.clone()), Ok(want), "{jwk}");
        }
    }

    #[test]
    fn c1_a_point_off_the_curve_and_a_weak_rsa_key_verify_nothing() {
        let table = [
            (with(&ES256, "y", ES256.jwk()["x"].clone()), Skipped::Malformed),
            (with(&ES256, "x", json!("AA")), Skipped::Malformed),
            (with(&ES256, "crv", json!("P-384")), Skipped::Malformed),
            (with(&ES256, "x", json!(crate::b64::encode([0; 32]))), Skipped::Malformed),
            (with(&RS256, "e", json!("AQ")), Skipped::Weak),
            (with(&RS256, "e", json!("Aw")), Skipped::Weak),
            (with(&RS256, "e", json!("AQAA")), Skipped::Weak),
            (with(&RS256, "e", json!("AAEAAQ")), Skipped::Malformed),
            (with(&RS256, "n", json!(crate::b64::encode([0xff; 128]))), Skipped::Weak),
            (with(&RS256, "n", json!(crate::b64::encode([0xff; 1025]))), Skipped::Weak),
            (with(&RS256, "n", json!("")), Skipped::Malformed),
        ];
        for (jwk, want) in table {
            let jwk = if jwk["crv"] == "P-384" { with_member(jwk, "alg", json!("ES384")) } else { jwk };
            assert_eq!(skipped(jwk.clone()), Ok(vec![want]), "{jwk}");
        }
    }

    fn with_member(mut jwk: Value, member: &str, value: Value) -> Value {
        jwk[member] = value;
        jwk
    }

    #[test]
    fn c1_a_key_of_the_broken_generator_is_weak() {
        let file = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../../workshop/vectors/jose/wycheproof/json_web_crypto_test.json"
        );
        let vectors: Value = serde_json::from_slice(&std::fs::read(file).expect("a file")).expect("JSON");
        let groups = vectors["testGroups"].as_array().expect("groups");
        let roca = groups.iter().find(|group| group["comment"] == "jws_rsa_roca_key").expect("the group");
        assert_eq!(skipped(roca["public"].clone()), Ok(vec![Skipped::Weak]));
    }

    #[test]
    fn c13_private_and_shared_keys_refuse_the_whole_set() {
        for member in ["d", "p", "q", "dp", "dq", "qi", "oth", "k", "priv"] {
            assert_eq!(skipped(with(&ES256, member, json!("AA"))), Err(KeySetFault::Private { member }));
        }
        let unknown_kind = json!({"kty": "AKP", "alg": "ML-DSA-65", "priv": "AA"});
        assert_eq!(skipped(unknown_kind), Err(KeySetFault::Private { member: "priv" }));
        assert_eq!(skipped(json!({"kty": "oct", "k": "AA"})), Err(KeySetFault::Symmetric));
    }

    #[test]
    fn a_set_with_two_readings_is_none() {
        assert_eq!(
            parse(&[ES256.jwk(), with(&OTHER, "kid", json!("es-1"))]).err(),
            Some(KeySetFault::DuplicateKid)
        );
        assert!(
            parse(&[ES256.jwk(), with(&ED, "kid", json!("es-1"))]).is_ok(),
            "another algorithm, another key"
        );
        let rules = KeyRules { algorithms: BTreeSet::from(Algorithm::ALL) };
        let twice = format!(r#"{{"keys":[{0}],"keys":[{0}]}}"#, ES256.jwk());
        for (text, want) in [
            (twice.as_str(), KeySetFault::Json(JsonFault::Duplicate)),
            ("[]", KeySetFault::Json(JsonFault::NotObject)),
            ("{}", KeySetFault::NoKeys),
            (r#"{"keys":{}}"#, KeySetFault::NoKeys),
            (r#"{"keys":[1]}"#, KeySetFault::NoKeys),
            (r#"{"keys":[{"kty":"EC"}]}"#, KeySetFault::NothingUsable { skipped: 1 }),
        ] {
            assert_eq!(KeySet::parse(text.as_bytes(), &rules).err(), Some(want), "{text}");
        }
        let many = vec![json!({"kty": "AKP"}); 101];
        assert_eq!(parse(&many).err(), Some(KeySetFault::TooMany { count: 101 }));
        let large = vec![b' '; KeySet::LARGEST + 1];
        assert_eq!(KeySet::parse(&large, &rules).err(), Some(KeySetFault::TooLarge { bytes: large.len() }));
    }

    #[test]
    fn c15_a_set_without_keys_verifies_nothing() {
        let empty = parse(&[]).expect("an explicitly empty set");
        assert_eq!(empty.usable(), 0);
        let issuer = crate::Issuer::new(rules()).expect("an issuer");
        let of = vec![(issuer, empty, now())];
        let verifier = crate::Verifier::new(portcullis_core::Generation(1), of).expect("a verifier");
        let found = verifier.verify(&ES256.token(&claims()), now()).err();
        assert_eq!(found, Some(TokenFault::UnknownKey { issuer: name("staff") }));
    }

    #[test]
    fn an_entry_that_names_one_rsa_algorithm_settles_a_key_that_names_none() {
        let rules = KeyRules { algorithms: BTreeSet::from([Algorithm::Rs256]) };
        let set = json!({"keys": [with(&RS256, "alg", json!(null)), ES256.jwk()]}).to_string();
        let set = KeySet::parse(set.as_bytes(), &rules).expect("a set");
        assert_eq!(set.ids().collect::<Vec<_>>(), [(Some("rs-1"), Algorithm::Rs256)]);
        assert_eq!(set.skipped(), [Skipped::OtherAlgorithm]);
    }
}
