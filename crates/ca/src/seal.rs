//! What is at rest: sealed with a secret that is kept somewhere else.
//!
//! INVARIANT: what is sealed as one thing cannot be opened as another: its title is bound to it.
//! INVARIANT: a changed byte, another secret or another title opens nothing.
//!
//! Not here: where the secret is (beside what it seals it protects against nobody who can read both), and whether what
//! opens is the newest that was sealed.
//!
//! Sources: RFC 5869 (HKDF); NIST SP 800-38D (GCM); SS028-11.1.9c, 11.2.10c.

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use aws_lc_rs::hkdf;
use portcullis_core::Sensitive;

/// Begins all that is sealed: what it is, and how it was done.
const MAGIC: &[u8; 8] = b"PCSEAL\x01\n";
/// The shortest secret, in bytes.
const SHORTEST: usize = 32;

/// Seals and opens.
pub struct Sealer {
    key: RandomizedNonceKey,
}

/// Why something cannot be sealed or opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SealFault {
    /// Too little of a secret.
    #[error(
        "the secret that seals keys must have at least {SHORTEST} bytes; `head -c 32 /dev/urandom` makes one"
    )]
    Weak,
    /// Not something that was sealed here.
    #[error("this is not something that was sealed here")]
    NotSealed,
    /// Another secret, another thing, or changed.
    #[error("another secret sealed it, it is something else, or it was changed")]
    Closed,
    /// The library failed.
    #[error("it cannot be sealed")]
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

    /// Seals what has this title.
    ///
    /// # Errors
    /// No randomness.
    pub fn seal(&self, title: &str, private: &Sensitive<Vec<u8>>) -> Result<Vec<u8>, SealFault> {
        // Room for the tag from the start: growing would leave the key behind in memory that was given back.
        let mut sealed = Vec::with_capacity(private.expose().len() + AES_256_GCM.tag_len());
        sealed.extend_from_slice(private.expose());
        let nonce = self.key.seal_in_place_append_tag(Aad::from(title), &mut sealed);
        let nonce = nonce.map_err(|_| SealFault::Broken)?;
        Ok([&MAGIC[..], nonce.as_ref(), &sealed].concat())
    }

    /// Opens what was sealed under this title.
    ///
    /// # Errors
    /// It has another title, was sealed with another secret, or was changed.
    pub fn open(&self, title: &str, sealed: &[u8]) -> Result<Sensitive<Vec<u8>>, SealFault> {
        let rest = sealed.strip_prefix(MAGIC).ok_or(SealFault::NotSealed)?;
        let (nonce, sealed) = rest.split_at_checked(NONCE_LEN).ok_or(SealFault::NotSealed)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| SealFault::NotSealed)?;
        let mut bytes = sealed.to_vec();
        let opened = self.key.open_in_place(nonce, Aad::from(title), &mut bytes);
        let length = opened.map_err(|_| SealFault::Closed)?.len();
        bytes.truncate(length);
        Ok(Sensitive::new(bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ss028_11_2_10c_what_is_sealed_opens_only_as_what_it_is() {
        let (one, other) =
            (Sealer::new(&[1; 32]).expect("a sealer"), Sealer::new(&[2; 32]).expect("a sealer"));
        let private = Sensitive::new(b"canary-private-key".to_vec());
        let sealed = one.seal("one", &private).expect("sealed");
        assert!(!sealed.windows(6).any(|window| window == b"canary"));
        assert_ne!(sealed, one.seal("one", &private).expect("sealed"), "no nonce twice");
        assert_eq!(one.open("one", &sealed).expect("opened").expose(), private.expose());
        assert_eq!(one.open("other", &sealed).err(), Some(SealFault::Closed));
        assert_eq!(other.open("one", &sealed).err(), Some(SealFault::Closed));
        for at in 0..sealed.len() {
            let mut changed = sealed.clone();
            if let Some(byte) = changed.get_mut(at) {
                *byte ^= 1;
            }
            assert!(one.open("one", &changed).is_err(), "byte {at}");
        }
        for short in 0..sealed.len() {
            assert!(one.open("one", sealed.get(..short).unwrap_or_default()).is_err(), "{short} bytes");
        }
    }

    #[test]
    fn a_short_secret_seals_nothing() {
        assert_eq!(Sealer::new(&[0; 31]).err(), Some(SealFault::Weak));
    }
}
