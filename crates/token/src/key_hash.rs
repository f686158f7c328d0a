//! The secret part of an API key, and what is kept of it.
//!
//! INVARIANT: what is kept is HMAC-SHA-256 under a key of the server over the id and the secret, so that neither a leaked
//! configuration nor a swapped line gives anybody a key (C13).
//! INVARIANT: a key has one spelling (C6).

use std::fmt;

use aws_lc_rs::hmac;
use portcullis_core::{Name, Sensitive};
use subtle::ConstantTimeEq as _;

use crate::b64;

const PREFIX: &str = "pk_";
/// 256 bits in base64url.
const SECRET: usize = 43;

/// The secret that the stored hashes are keyed with.
pub struct ServerKey(hmac::Key);

/// HMAC-SHA-256 over id and secret of one key, written `hmac-sha256:<43 characters>`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct KeyHash([u8; 32]);

/// What an unknown id is compared with; no secret has this hash.
pub(crate) const NOBODY: KeyHash = KeyHash([0; 32]);

/// The text of a key, to be shown to its owner once.
pub(crate) fn text(id: &Name, random: &[u8; 32]) -> Sensitive<String> {
    Sensitive::new(format!("{PREFIX}{id}_{}", b64::encode(random)))
}

/// Takes `pk_<id>_<secret>` apart from the end, since an id may have underscores.
pub(crate) fn split(presented: &str) -> Option<(&str, [u8; 32])> {
    let rest = presented.strip_prefix(PREFIX)?;
    let (id, secret) = rest.split_at_checked(rest.len().checked_sub(SECRET)?)?;
    Some((id.strip_suffix('_')?, b64::decode_array(secret)?))
}

impl ServerKey {
    /// Takes the secret in.
    #[must_use]
    pub fn new(secret: &Sensitive<[u8; 32]>) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, secret.expose()))
    }

    pub(crate) fn hash(&self, id: &str, secret: &[u8; 32]) -> KeyHash {
        let mut context = hmac::Context::with_key(&self.0);
        context.update(id.as_bytes());
        context.update(&[0]);
        context.update(secret);
        KeyHash(<[u8; 32]>::try_from(context.sign().as_ref()).unwrap_or_default())
    }
}

impl KeyHash {
    /// Compares in time that does not depend on where they differ.
    pub(crate) fn is(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }

    /// The hash as configuration keeps it.
    #[must_use]
    pub fn from_bytes(hash: [u8; 32]) -> Self {
        Self(hash)
    }

    /// The bytes that configuration keeps.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Reads the written form.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        b64::decode_array(text.strip_prefix("hmac-sha256:")?).map(Self)
    }
}

impl fmt::Display for KeyHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "hmac-sha256:{}", b64::encode(self.0))
    }
}

impl fmt::Debug for KeyHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[key hash]")
    }
}

impl fmt::Debug for ServerKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[sensitive]")
    }
}
