//! A signed statement of how long the log is and what its root is.
//!
//! The text is a C2SP signed note with the body of a tlog-checkpoint, so that standard witnesses can countersign
//! it and standard verifiers read it. Two extension lines say when it was made and to which segment it belongs.
//!
//! ```text
//! edge-1.shop.example/journal
//! 20852
//! <root, base64>
//! time 1760000000000
//! segment 7
//!
//! — edge-1.shop.example/journal <key id and signature, base64>
//! ```
//!
//! INVARIANT: a [`Checkpoint`] that [`CheckpointVerifier::open`] hands out had a good signature of that key over
//! exactly its text.
//!
//! Sources: C2SP signed-note and tlog-checkpoint; RFC 8032 (Ed25519).

use std::fmt;

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use portcullis_core::{Sensitive, UnixMillis};

use crate::merkle::{Hash, fixed};

/// The longest note that is read.
const LONGEST: usize = 4096;
/// The signature algorithm's byte in a note key id (C2SP signed-note, Ed25519).
const ALGORITHM: u8 = 0x01;

/// How long the log is, what its root is, when, and after which segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// The name of the log; also that of its key.
    pub origin: String,
    /// The number of leaves.
    pub size: u64,
    /// The root over them.
    pub root: Hash,
    /// When it was signed.
    pub time: UnixMillis,
    /// The segment that it closes.
    pub segment: u64,
}

/// The key that signs checkpoints, and the name it signs under.
pub struct CheckpointKey {
    origin: String,
    pair: Ed25519KeyPair,
}

/// The public half.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckpointVerifier {
    origin: String,
    public: [u8; 32],
}

/// Why a checkpoint key cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyFault {
    /// The name cannot stand in a note.
    #[error("a journal's origin is 1 to 128 printable characters without space or `+`")]
    Origin,
    /// Not a key.
    #[error("the journal's signing key is not an Ed25519 seed of 32 bytes")]
    Seed,
}

/// Why a note is not a checkpoint of this log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoteFault {
    /// The text has another form.
    #[error("the checkpoint is not a signed note of a log")]
    Form,
    /// It speaks of another log.
    #[error("the checkpoint is of another log")]
    Origin,
    /// No good signature of the key.
    #[error("the checkpoint has no good signature of the journal's key")]
    Signature,
}

impl CheckpointKey {
    /// The key from its seed.
    ///
    /// # Errors
    /// The origin or the seed cannot be used.
    pub fn new(origin: &str, seed: &Sensitive<[u8; 32]>) -> Result<Self, KeyFault> {
        let good =
            (1..=128).contains(&origin.len()) && origin.bytes().all(|b| b.is_ascii_graphic() && b != b'+');
        if !good {
            return Err(KeyFault::Origin);
        }
        let pair = Ed25519KeyPair::from_seed_unchecked(seed.expose()).map_err(|_| KeyFault::Seed)?;
        Ok(Self { origin: origin.to_owned(), pair })
    }

    /// The name it signs under.
    #[must_use]
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// The public half.
    #[must_use]
    pub fn verifier(&self) -> CheckpointVerifier {
        CheckpointVerifier { origin: self.origin.clone(), public: fixed(self.pair.public_key().as_ref()) }
    }

    /// Signs a checkpoint; the name is put in here.
    #[must_use]
    pub fn sign(&self, size: u64, root: Hash, time: UnixMillis, segment: u64) -> String {
        let origin = self.origin.clone();
        let body = Checkpoint { origin, size, root, time, segment }.to_string();
        let mut blob = self.verifier().key_id().to_vec();
        blob.extend_from_slice(self.pair.sign(body.as_bytes()).as_ref());
        format!("{body}\n\u{2014} {} {}\n", self.origin, STANDARD.encode(blob))
    }
}

impl fmt::Debug for CheckpointKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CheckpointKey(`{}`)", self.origin)
    }
}

impl CheckpointVerifier {
    /// A key that was written down.
    #[must_use]
    pub fn new(origin: &str, public: [u8; 32]) -> Self {
        Self { origin: origin.to_owned(), public }
    }

    /// The public key's bytes.
    #[must_use]
    pub fn public(&self) -> &[u8; 32] {
        &self.public
    }

    /// The name of the log.
    #[must_use]
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// The first bytes of SHA-256 over name, line end, algorithm and key (C2SP signed-note).
    fn key_id(&self) -> [u8; 4] {
        let named = [self.origin.as_bytes(), b"\n", &[ALGORITHM], &self.public].concat();
        let hash = fixed(digest(&SHA256, &named).as_ref());
        let [a, b, c, d, ..] = hash;
        [a, b, c, d]
    }

    /// Reads a note and checks its signature.
    ///
    /// # Errors
    /// It is not a checkpoint, or not one of this log, or has no good signature of this key. Signatures of
    /// others, such as witnesses, are ignored.
    pub fn open(&self, note: &str) -> Result<Checkpoint, NoteFault> {
        let (body, signatures) = split_note(note).ok_or(NoteFault::Form)?;
        let checkpoint = parse(body).ok_or(NoteFault::Form)?;
        if checkpoint.origin != self.origin {
            return Err(NoteFault::Origin);
        }
        let ours = signatures.lines().take(16).filter_map(|line| self.our_signature(line));
        let key = UnparsedPublicKey::new(&ED25519, &self.public);
        let good = ours.map(|sig| key.verify(body.as_bytes(), &sig)).any(|checked| checked.is_ok());
        if good { Ok(checkpoint) } else { Err(NoteFault::Signature) }
    }

    /// Reads a note without checking who signed it: for one whose content another signature covers.
    #[must_use]
    pub fn read_unverified(&self, note: &str) -> Option<Checkpoint> {
        split_note(note).and_then(|(body, _)| parse(body)).filter(|read| read.origin == self.origin)
    }

    /// The signature of a line that carries our name and key id.
    fn our_signature(&self, line: &str) -> Option<Vec<u8>> {
        let blob = line.strip_prefix("\u{2014} ")?.strip_prefix(self.origin.as_str())?.strip_prefix(' ')?;
        let blob = STANDARD.decode(blob).ok()?;
        blob.strip_prefix(&self.key_id()).map(<[u8]>::to_vec)
    }
}

/// Body with its last line end, and the signature lines.
fn split_note(note: &str) -> Option<(&str, &str)> {
    let short = note.len() <= LONGEST;
    let (head, signatures) = note.split_once("\n\n").filter(|_| short)?;
    Some((note.get(..=head.len())?, signatures))
}

/// Reads the one form that we write; anything else is `None`.
fn parse(body: &str) -> Option<Checkpoint> {
    let mut lines = body.strip_suffix('\n')?.split('\n');
    let origin = lines.next()?.to_owned();
    let size = lines.next()?.parse().ok()?;
    let root = STANDARD.decode(lines.next()?).ok()?.try_into().ok()?;
    let time = UnixMillis(lines.next()?.strip_prefix("time ")?.parse().ok()?);
    let segment = lines.next()?.strip_prefix("segment ")?.parse().ok()?;
    let checkpoint = Checkpoint { origin, size, root, time, segment };
    // One text, one reading: no signs, leading zeros or lines besides.
    (lines.next().is_none() && checkpoint.to_string() == body).then_some(checkpoint)
}

impl fmt::Display for Checkpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}\n{}\n{}", self.origin, self.size, STANDARD.encode(self.root))?;
        writeln!(f, "time {}\nsegment {}", self.time.0, self.segment)
    }
}
