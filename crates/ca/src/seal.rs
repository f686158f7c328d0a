//! Private keys at rest: sealed with a secret that is kept somewhere else.
//!
//! INVARIANT: what is sealed for one authority cannot be opened as another's: its number is bound to it.
//! INVARIANT: a changed byte, another secret or another number opens nothing.
//!
//! Not here: where the secret is. Beside what it seals it protects against nobody who can read both.
//!
//! Sources: RFC 5869 (HKDF); NIST SP 800-38D (GCM); SS028-11.1.9c, 11.2.10c.

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use aws_lc_rs::hkdf;
use portcullis_core::Sensitive;

use crate::svid::Serial;

/// Begins each sealed key: what it is, and how it is sealed.
const MAGIC: &[u8; 8] = b"PCKEY\x01\r\n";
/// The shortest secret, in bytes.
const SHORTEST: usize = 32;

/// Seals and opens private keys.
pub struct Sealer {
    key: RandomizedNonceKey,
}

/// Why a key cannot be sealed or opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SealFault {
    /// Too little of a secret.
    #[error(
        "the secret that seals keys must have at least {SHORTEST} bytes; `head -c 32 /dev/urandom` makes one"
    )]
    Weak,
    /// Not something that was sealed here.
    #[error("this is not a sealed key")]
    NotSealed,
    /// Another secret, another authority's, or changed.
    #[error(
        "the sealed key does not open: another secret sealed it, for another authority, or it was changed"
    )]
    Closed,
    /// The library failed.
    #[error("the key cannot be sealed")]
    Broken,
}

impl Sealer {
    /// From a secret.
    ///
    /// # Errors
    /// It is shorter than 32 bytes.
    pub fn new(secret: &[u8]) -> Result<Self, SealFault> {
        if secret.len() < SHORTEST {
            return Err(SealFault::Weak);
        }
        let mut key = [0; 32];
        let derived = hkdf::Salt::new(hkdf::HKDF_SHA256, b"portcullis").extract(secret);
        let okm =
            derived.expand(&[b"portcullis ca key seal"], &AES_256_GCM).map_err(|_| SealFault::Broken)?;
        okm.fill(&mut key).map_err(|_| SealFault::Broken)?;
        let key = Sensitive::new(key);
        let key =
            RandomizedNonceKey::new(&AES_256_GCM, key.expose().as_slice()).map_err(|_| SealFault::Broken)?;
        Ok(Self { key })
    }

    /// Seals the private key of an authority.
    ///
    /// # Errors
    /// No randomness.
    pub fn seal(&self, serial: Serial, private: &Sensitive<Vec<u8>>) -> Result<Vec<u8>, SealFault> {
        // Room for the tag from the start: growing would leave the key behind in memory that was given back.
        let mut sealed = Vec::with_capacity(private.expose().len() + AES_256_GCM.tag_len());
        sealed.extend_from_slice(private.expose());
        let nonce = self.key.seal_in_place_append_tag(bound_to(serial), &mut sealed);
        let nonce = nonce.map_err(|_| SealFault::Broken)?;
        Ok([&MAGIC[..], nonce.as_ref(), &sealed].concat())
    }

    /// Opens the private key of an authority.
    ///
    /// # Errors
    /// It is not that authority's, was sealed with another secret, or was changed.
    pub fn open(&self, serial: Serial, sealed: &[u8]) -> Result<Sensitive<Vec<u8>>, SealFault> {
        let rest = sealed.strip_prefix(MAGIC).ok_or(SealFault::NotSealed)?;
        let (nonce, sealed) = rest.split_at_checked(NONCE_LEN).ok_or(SealFault::NotSealed)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| SealFault::NotSealed)?;
        let mut bytes = sealed.to_vec();
        let opened = self.key.open_in_place(nonce, bound_to(serial), &mut bytes);
        let length = opened.map_err(|_| SealFault::Closed)?.len();
        bytes.truncate(length);
        Ok(Sensitive::new(bytes))
    }
}

fn bound_to(serial: Serial) -> Aad<[u8; 16]> {
    Aad::from(*serial.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn serial(number: u8) -> Serial {
        Serial::from_random([number; 16])
    }

    #[test]
    fn ss028_11_2_10c_a_sealed_key_opens_only_as_what_it_is() {
        let (one, other) =
            (Sealer::new(&[1; 32]).expect("a sealer"), Sealer::new(&[2; 32]).expect("a sealer"));
        let private = Sensitive::new(b"canary-private-key".to_vec());
        let sealed = one.seal(serial(1), &private).expect("sealed");
        assert!(!sealed.windows(6).any(|window| window == b"canary"));
        assert_ne!(sealed, one.seal(serial(1), &private).expect("sealed"), "no nonce twice");
        assert_eq!(one.open(serial(1), &sealed).expect("opened").expose(), private.expose());
        assert_eq!(one.open(serial(2), &sealed).err(), Some(SealFault::Closed));
        assert_eq!(other.open(serial(1), &sealed).err(), Some(SealFault::Closed));
        for at in 0..sealed.len() {
            let mut changed = sealed.clone();
            if let Some(byte) = changed.get_mut(at) {
                *byte ^= 1;
            }
            assert!(one.open(serial(1), &changed).is_err(), "byte {at}");
        }
        for short in 0..sealed.len() {
            assert!(one.open(serial(1), sealed.get(..short).unwrap_or_default()).is_err(), "{short} bytes");
        }
    }

    #[test]
    fn a_short_secret_seals_nothing() {
        assert_eq!(Sealer::new(&[0; 31]).err(), Some(SealFault::Weak));
    }
}
