//! The public keys of an issuer.
//!
//! A set is refused as a whole when it shows that the issuer, or whoever answered in its place, cannot be trusted or
//! cannot be understood in one way; a single key that we cannot or will not use is passed over and counted, so that
//! an issuer may publish encryption keys and algorithms of tomorrow beside ours.
//!
//! INVARIANT: no two keys of a set have the same id and algorithm, so that a token never has a choice of keys.
//! INVARIANT: an empty or unusable set is a fault, never "no keys, no check" (C15).
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
        if keys.is_empty() {
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
