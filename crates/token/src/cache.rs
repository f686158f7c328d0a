//! Remembers verified tokens, so that a signature is checked once and not on each request.
//!
//! The cache answers only what [`Verifier::verify`] would have answered at the same instant with the same keys:
//! the key is the SHA-256 of the exact bytes, an entry counts only under the issuer's entry and key set that it was
//! verified with, and everything that can change with time or by revocation is asked again on each use.
//!
//! INVARIANT: cached and uncached verification agree at every instant (C7); a property test walks both.
//! INVARIANT: the token is not kept, a failure is not kept, and nothing is served from here at or after its `exp`.
//!
//! Not here: audience, type and route rules, which the caller asks of the [`Verified`] per request.
//!
//! Sources: SS028-11.2.7a, 11.2.7b, 11.2.8; threats C6, C7, C15; Oathkeeper CVE-2021-32701 (a key too small).

use std::hash::{BuildHasherDefault, Hash, Hasher};
use std::rc::Rc;

use aws_lc_rs::digest;
use portcullis_core::UnixMillis;

use crate::bounded::Bounded;
use crate::fault::TokenFault;
use crate::jws;
use crate::revocation::Revocations;
use crate::verified::Verified;
use crate::verifier::Verifier;

/// The verified tokens of one core.
#[derive(Debug)]
pub struct TokenCache {
    entries: Bounded<Key, Entry, BuildHasherDefault<First8>>,
}

/// SHA-256 of the exact bytes of a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Key([u8; 32]);

#[derive(Debug)]
struct Entry {
    /// Where the issuer stood in its verifier, to find it without a look-up.
    index: usize,
    /// The issuer's entry and keys; other ones at that place make this entry worthless.
    anchor: [u8; 32],
    verified: Rc<Verified>,
}

impl TokenCache {
    /// A cache of at most `most` tokens.
    #[must_use]
    pub fn new(most: usize) -> Self {
        Self { entries: Bounded::new(most) }
    }

    /// How many tokens are remembered.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether none is remembered.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Verifies a token, from memory if it was verified before, and asks whether it was revoked since.
    ///
    /// # Errors
    /// The same faults as [`Verifier::verify`], and [`TokenFault::Revoked`].
    pub fn verify(
        &mut self,
        verifier: &Verifier,
        revocations: &Revocations,
        token: &str,
        now: UnixMillis,
    ) -> Result<Rc<Verified>, TokenFault> {
        if token.len() > jws::LONGEST {
            return Err(TokenFault::TooLong { bytes: token.len() });
        }
        let key = Key::of(token);
        let verified = match self.remembered(&key, verifier, now)? {
            Some(verified) => verified,
            None => self.verify_anew(key, verifier, token, now)?,
        };
        revocations.ensure_stands(&verified, now)?;
        Ok(verified)
    }

    /// Drops what expired, on a timer (11.2.8).
    pub fn purge(&mut self, now: UnixMillis) {
        self.entries.retain(|entry| now < entry.verified.expires());
    }

    fn remembered(
        &mut self,
        key: &Key,
        verifier: &Verifier,
        now: UnixMillis,
    ) -> Result<Option<Rc<Verified>>, TokenFault> {
        let Some(entry) = self.entries.find(key) else { return Ok(None) };
        let anchor = verifier.anchor(entry.index).filter(|anchor| anchor.digest == entry.anchor);
        let Some(anchor) = anchor else {
            self.entries.remove(key);
            return Ok(None);
        };
        anchor.ensure_heard(now)?;
        if now >= entry.verified.deadline() {
            return Err(TokenFault::Expired);
        }
        // Within the leeway after `exp` only a full check answers, so nothing is served from memory past its `exp`.
        Ok((now < entry.verified.expires()).then(|| Rc::clone(&entry.verified)))
    }

    fn verify_anew(
        &mut self,
        key: Key,
        verifier: &Verifier,
        token: &str,
        now: UnixMillis,
    ) -> Result<Rc<Verified>, TokenFault> {
        let (verified, index) = verifier.verify_at(token, now)?;
        let verified = Rc::new(verified);
        if let Some(anchor) = verifier.anchor(index).filter(|_| now < verified.expires()) {
            let entry = Entry { index, anchor: anchor.digest, verified: Rc::clone(&verified) };
            self.entries.insert(key, entry);
        }
        Ok(verified)
    }
}

impl Key {
    fn of(token: &str) -> Self {
        let digest = digest::digest(&digest::SHA256, token.as_bytes());
        Self(<[u8; 32]>::try_from(digest.as_ref()).unwrap_or_default())
    }
}

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write(&self.0);
    }
}

/// Hashes a digest by taking its first eight bytes: only verified tokens are inserted, and an issuer's signatures
/// cannot be steered to collide in SHA-256.
#[derive(Debug, Default)]
struct First8(u64);

impl Hasher for First8 {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        self.0 ^= bytes.first_chunk().map_or(0, |first| u64::from_ne_bytes(*first));
    }
}
