//! Secrets that a plan carries, and digests.
//!
//! INVARIANT: serialising a [`Secret`] writes its digest and never its bytes; the bytes travel only inside
//! [`crate::crossing`], and a secret cannot be read from anywhere else (C13, SS028-11.2.10c).

use std::fmt;
use std::sync::Arc;

use aws_lc_rs::digest;
use portcullis_core::Sensitive;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::crossing;

/// A SHA-256 or HMAC-SHA-256 value, written as 64 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest([u8; 32]);

impl Digest {
    /// SHA-256 of `bytes`.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self::from_context(digest::digest(&digest::SHA256, bytes))
    }

    pub(crate) fn from_context(value: digest::Digest) -> Self {
        let mut out = [0; 32];
        out.iter_mut().zip(value.as_ref()).for_each(|(to, from)| *to = *from);
        Self(out)
    }

    /// The bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Reads 64 lower-case hexadecimal digits.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (pairs, rest) = text.as_bytes().as_chunks::<2>();
        if pairs.len() != 32 || !rest.is_empty() {
            return None;
        }
        let mut out = [0; 32];
        for (to, [high, low]) in out.iter_mut().zip(pairs) {
            *to = (nibble(*high)? << 4) | nibble(*low)?;
        }
        Some(Self(out))
    }
}

fn nibble(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|b| write!(f, "{b:02x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        out.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(from)?;
        Self::parse(&text).ok_or_else(|| serde::de::Error::custom("expected 64 hexadecimal digits"))
    }
}

/// Bytes that must not be seen: a private key or a shared secret.
#[derive(Clone)]
pub struct Secret {
    digest: Digest,
    bytes: Arc<Sensitive<Vec<u8>>>,
}

impl Secret {
    pub(crate) fn new(bytes: Vec<u8>) -> Self {
        Self { digest: Digest::of(&bytes), bytes: Arc::new(Sensitive::new(bytes)) }
    }

    /// Hands the secret out, by reference only.
    #[must_use]
    pub fn expose(&self) -> &[u8] {
        self.bytes.expose()
    }

    /// SHA-256 of the secret: says whether it changed. Not for people to see.
    #[must_use]
    pub fn digest(&self) -> Digest {
        self.digest
    }
}

impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        self.digest == other.digest
    }
}

impl Eq for Secret {}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[secret]")
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        crossing::declare(self);
        self.digest.serialize(out)
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let digest = Digest::deserialize(from)?;
        crossing::claim(digest)
            .ok_or_else(|| serde::de::Error::custom("a secret travels only inside a crossing"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_reads_back_and_odd_texts_do_not() {
        let digest = Digest::of(b"abc");
        assert_eq!(digest.to_string(), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        assert_eq!(Digest::parse(&digest.to_string()), Some(digest));
        for bad in ["", "ba78", &"g".repeat(64), &"A".repeat(64), &"0".repeat(65), &"0".repeat(66)] {
            assert_eq!(Digest::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn c13_a_secret_shows_and_serialises_only_its_digest() {
        let secret = Secret::new(b"canary-hunter2".to_vec());
        let json = serde_json::to_string(&secret).expect("serialises");
        assert!(!format!("{secret:?}{json}").contains("canary"));
        assert!(serde_json::from_str::<Secret>(&json).is_err(), "no secret outside a crossing");
    }
}
