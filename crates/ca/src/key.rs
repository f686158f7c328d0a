//! Public keys that are certified, and keys that certify.
//!
//! INVARIANT: a [`PublicKey`] is a point of P-256; nothing else is ever certified (SPF-2).
//!
//! Sources: SEC 1 §2.3.3; RFC 5480; FIPS 186-5.

use std::fmt;

use aws_lc_rs::digest;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1, ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _, ParsedPublicKey,
};
use portcullis_core::Sensitive;

/// `SubjectPublicKeyInfo` of P-256 up to the point: algorithm, curve, and the head of the bit string.
const SPKI_HEAD: [u8; 26] = [
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86,
    0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];
/// An uncompressed point.
const POINT: usize = 65;

/// A public key on P-256.
#[derive(Clone, PartialEq, Eq)]
pub struct PublicKey([u8; POINT]);

/// Why a key is none that can be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyFault {
    /// Another kind of key, or another encoding.
    #[error(
        "the key is not an uncompressed P-256 key; make one with `openssl ecparam -name prime256v1 -genkey`"
    )]
    Kind,
    /// The point is not on the curve.
    #[error("the key is not a point of P-256")]
    NotOnCurve,
    /// Not a private key in PKCS #8.
    #[error("the private key is not a P-256 key in PKCS #8")]
    Private,
    /// The library has no randomness.
    #[error("no randomness to make a key with")]
    Randomness,
}

/// A key could not sign.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the signing key did not sign")]
pub struct SignFault;

impl PublicKey {
    /// Reads a `SubjectPublicKeyInfo` in DER.
    ///
    /// # Errors
    /// Another kind of key, or no point of the curve.
    pub fn from_spki(der: &[u8]) -> Result<Self, KeyFault> {
        Self::from_point(der.strip_prefix(&SPKI_HEAD).ok_or(KeyFault::Kind)?)
    }

    /// Reads an uncompressed point.
    ///
    /// # Errors
    /// Another form, or no point of the curve.
    pub fn from_point(bytes: &[u8]) -> Result<Self, KeyFault> {
        let point: [u8; POINT] = bytes.try_into().map_err(|_| KeyFault::Kind)?;
        if point.first() != Some(&4) {
            return Err(KeyFault::Kind);
        }
        ParsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, point).map_err(|_| KeyFault::NotOnCurve)?;
        Ok(Self(point))
    }

    /// The uncompressed point.
    #[must_use]
    pub fn point(&self) -> &[u8] {
        &self.0
    }

    /// The key as certificates carry it, in DER.
    #[must_use]
    pub fn spki(&self) -> Vec<u8> {
        [&SPKI_HEAD[..], &self.0].concat()
    }

    /// What certificates call it by: the first 20 bytes of its SHA-256 (RFC 7093 §2, method 1).
    #[must_use]
    pub fn identifier(&self) -> Vec<u8> {
        let digest = digest::digest(&digest::SHA256, &self.0);
        digest.as_ref().iter().copied().take(20).collect()
    }

    /// Whether `signature` (ECDSA with SHA-256, in DER) is this key's over `message`.
    #[must_use]
    pub fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        let key = ParsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, self.0);
        key.is_ok_and(|key| key.verify_sig(message, signature).is_ok())
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[public key]")
    }
}

impl rcgen::PublicKeyData for PublicKey {
    fn der_bytes(&self) -> &[u8] {
        &self.0
    }

    fn algorithm(&self) -> &'static rcgen::SignatureAlgorithm {
        &rcgen::PKCS_ECDSA_P256_SHA256
    }
}

/// A key that certifies: in memory, or in a token that never gives it away.
pub trait CaKey: Send + Sync {
    /// Its public half.
    fn public(&self) -> &PublicKey;

    /// Signs by ECDSA with SHA-256; the signature is in DER.
    ///
    /// # Errors
    /// The key, or what holds it, does not answer.
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, SignFault>;
}

/// A key as the library that builds certificates wants it: it hands over what it built, and `sign` decides.
pub(crate) struct Signing<'k, F> {
    pub(crate) public: &'k PublicKey,
    pub(crate) sign: F,
}

impl<F: Fn(&[u8]) -> Option<Vec<u8>>> rcgen::SigningKey for Signing<'_, F> {
    fn sign(&self, built: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        (self.sign)(built).ok_or(rcgen::Error::RemoteKeyError)
    }
}

impl<F> rcgen::PublicKeyData for Signing<'_, F> {
    fn der_bytes(&self) -> &[u8] {
        self.public.point()
    }

    fn algorithm(&self) -> &'static rcgen::SignatureAlgorithm {
        &rcgen::PKCS_ECDSA_P256_SHA256
    }
}

/// A private key in this process's memory.
pub struct MemoryKey {
    pair: EcdsaKeyPair,
    public: PublicKey,
}

impl MemoryKey {
    /// Makes a key: to keep it, seal the PKCS #8 that comes with it.
    ///
    /// # Errors
    /// No randomness.
    pub fn generate() -> Result<(Self, Sensitive<Vec<u8>>), KeyFault> {
        let pair =
            EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).map_err(|_| KeyFault::Randomness)?;
        let pkcs8 = pair.to_pkcs8v1().map_err(|_| KeyFault::Private)?;
        let pkcs8 = Sensitive::new(pkcs8.as_ref().to_vec());
        Ok((Self::of(pair)?, pkcs8))
    }

    /// Reads a key in PKCS #8.
    ///
    /// # Errors
    /// Not a P-256 key.
    pub fn from_pkcs8(der: &Sensitive<Vec<u8>>) -> Result<Self, KeyFault> {
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, der.expose());
        Self::of(pair.map_err(|_| KeyFault::Private)?)
    }

    fn of(pair: EcdsaKeyPair) -> Result<Self, KeyFault> {
        let public = PublicKey::from_point(pair.public_key().as_ref())?;
        Ok(Self { pair, public })
    }
}

impl CaKey for MemoryKey {
    fn public(&self) -> &PublicKey {
        &self.public
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, SignFault> {
        let signature = self.pair.sign(&SystemRandom::new(), message).map_err(|_| SignFault)?;
        Ok(signature.as_ref().to_vec())
    }
}

impl fmt::Debug for MemoryKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[private key]")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_survives_its_encodings() {
        let (key, pkcs8) = MemoryKey::generate().expect("a key");
        let again = MemoryKey::from_pkcs8(&pkcs8).expect("the same key");
        assert_eq!(key.public(), again.public());
        assert_eq!(PublicKey::from_spki(&key.public().spki()).as_ref(), Ok(key.public()));
        let signature = again.sign(b"message").expect("a signature");
        assert!(key.public().verifies(b"message", &signature));
        assert!(!key.public().verifies(b"another", &signature));
    }

    #[test]
    fn jwt_4_what_is_no_point_of_the_curve_is_no_key() {
        let (key, _) = MemoryKey::generate().expect("a key");
        let mut off = key.public().point().to_vec();
        if let Some(last) = off.last_mut() {
            *last ^= 1;
        }
        let mut compressed = key.public().point().get(..33).unwrap_or_default().to_vec();
        compressed.splice(..1, [2]);
        let table = [
            (off, KeyFault::NotOnCurve),
            ([&[4][..], &[0; 64]].concat(), KeyFault::NotOnCurve),
            (compressed, KeyFault::Kind),
            (Vec::new(), KeyFault::Kind),
            (vec![4; 66], KeyFault::Kind),
        ];
        for (point, want) in table {
            assert_eq!(PublicKey::from_point(&point), Err(want), "{point:?}");
        }
        assert_eq!(PublicKey::from_spki(key.public().point()), Err(KeyFault::Kind));
        assert_eq!(MemoryKey::from_pkcs8(&Sensitive::new(vec![0; 32])).err(), Some(KeyFault::Private));
    }

    #[test]
    fn c13_a_private_key_is_not_printed() {
        let (key, _) = MemoryKey::generate().expect("a key");
        assert_eq!(format!("{key:?}"), "[private key]");
    }
}
