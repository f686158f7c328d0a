//! The journal's key and the keys that each segment derives from it.
//!
//! INVARIANT: the journal's key itself seals nothing.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::{hkdf, hmac};
use portcullis_core::Sensitive;
use zeroize::Zeroize as _;

use super::{Header, Kind, SegmentFault};
use crate::merkle::fixed;

/// The secret that a journal's segments are sealed under.
#[derive(Clone, Debug)]
pub struct JournalKey(Sensitive<[u8; 32]>);

impl JournalKey {
    /// Takes 32 random bytes in.
    #[must_use]
    pub fn new(secret: Sensitive<[u8; 32]>) -> Self {
        Self(secret)
    }

    /// Which key it is, without saying anything about it.
    #[must_use]
    pub fn id(&self) -> [u8; 8] {
        let mac = hmac::Key::new(hmac::HMAC_SHA256, self.0.expose());
        let mut id = [0; 8];
        for (to, from) in id.iter_mut().zip(hmac::sign(&mac, b"portcullis journal key id").as_ref()) {
            *to = *from;
        }
        id
    }

    fn expand(&self, salt: &[u8], info: &[&[u8]], out: &mut [u8]) -> Result<(), SegmentFault> {
        let secret = hkdf::Salt::new(hkdf::HKDF_SHA256, salt).extract(self.0.expose());
        let okm = secret.expand(info, Length(out.len())).map_err(|_| SegmentFault::Cipher)?;
        okm.fill(out).map_err(|_| SegmentFault::Cipher)
    }
}

struct Length(usize);

impl hkdf::KeyType for Length {
    fn len(&self) -> usize {
        self.0
    }
}

/// One segment's keys, and what ties each frame to its place.
pub(super) struct SegmentKeys {
    cipher: LessSafeKey,
    mac: hmac::Key,
    header: [u8; 32],
    /// The number of the next frame.
    pub(super) block: u64,
    /// The tag of the sealed frame before.
    pub(super) before: [u8; 16],
}

impl SegmentKeys {
    pub(super) fn derive(key: &JournalKey, header: &Header) -> Result<Self, SegmentFault> {
        let mut okm = [0; 64];
        let number = header.number.to_be_bytes();
        key.expand(&header.random, &[b"portcullis journal segment 1", &number], &mut okm)?;
        let (cipher, mac) = okm.split_at(32);
        let cipher = UnboundKey::new(&AES_256_GCM, cipher).map_err(|_| SegmentFault::Cipher)?;
        let keys = Self {
            cipher: LessSafeKey::new(cipher),
            mac: hmac::Key::new(hmac::HMAC_SHA256, mac),
            header: fixed(digest(&SHA256, &header.to_bytes()).as_ref()),
            block: 0,
            before: [0; 16],
        };
        okm.zeroize();
        Ok(keys)
    }

    /// What a frame of this kind at this place is bound to.
    fn bound(&self, kind: Kind) -> [u8; 57] {
        let mut bound = [0; 57];
        let parts = [&self.header[..], &self.block.to_be_bytes(), &self.before, &[kind.byte()]];
        for (to, from) in bound.iter_mut().zip(parts.into_iter().flatten()) {
            *to = *from;
        }
        bound
    }

    /// The first bytes of a MAC over the place, kind and length of a frame.
    pub(super) fn prefix_mac(&self, kind: Kind, length: u32) -> [u8; 11] {
        let mut mac = hmac::Context::with_key(&self.mac);
        mac.update(&self.bound(kind));
        mac.update(&length.to_be_bytes());
        let mut short = [0; 11];
        for (to, from) in short.iter_mut().zip(mac.sign().as_ref()) {
            *to = *from;
        }
        short
    }

    fn nonce(&self) -> Nonce {
        let mut nonce = [0; NONCE_LEN];
        for (to, from) in nonce.iter_mut().rev().zip(self.block.to_be_bytes().iter().rev()) {
            *to = *from;
        }
        Nonce::assume_unique_for_key(nonce)
    }

    /// Encrypts `content` in place and returns its tag.
    pub(super) fn seal(&self, kind: Kind, content: &mut [u8]) -> Result<[u8; 16], SegmentFault> {
        let aad = Aad::from(self.bound(kind));
        let tag = self.cipher.seal_in_place_separate_tag(self.nonce(), aad, content);
        let tag = tag.map_err(|_| SegmentFault::Cipher)?;
        tag.as_ref().try_into().map_err(|_| SegmentFault::Cipher)
    }

    /// Decrypts a body in place and returns its content.
    pub(super) fn open(&self, kind: Kind, mut body: Vec<u8>) -> Result<Vec<u8>, SegmentFault> {
        let aad = Aad::from(self.bound(kind));
        let opened = self.cipher.open_in_place(self.nonce(), aad, &mut body);
        let length = opened.map_err(|_| SegmentFault::Body { block: self.block })?.len();
        body.truncate(length);
        Ok(body)
    }

    /// Moves on to the next frame.
    pub(super) fn advance(&mut self, tag: [u8; 16]) -> Result<(), SegmentFault> {
        self.block = self.block.checked_add(1).ok_or(SegmentFault::Cipher)?;
        self.before = tag;
        Ok(())
    }
}
