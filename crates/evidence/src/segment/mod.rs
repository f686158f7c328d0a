//! The sealed form of the record on a disk. Bytes in, bytes out; no file is touched here.
//!
//! ```text
//! segment = header[124] frame*            header: magic, version, number, log size and root before it,
//! frame   = prefix[16] body                       time, key id, random[32]
//! prefix  = length u32 || kind u8 || mac[11]
//! kind 1  Opening  sealed: the last sequence number of each worker before this segment; always the first
//! kind 2  Records  sealed: (length u32 || worker u16 || sequence u64 || time u64 || salt[16] || line)*
//! kind 3  Footer   plain: a signed checkpoint; always the last
//! ```
//!
//! Each segment has its own keys: HKDF-SHA256 of the journal's key, the header's random bytes and its number.
//! A sealed body is AES-256-GCM under a counter nonce; its associated data are the hash of the header, the
//! counter, the kind and the tag of the body before, so no block can be moved, doubled, dropped from the
//! middle, or taken from elsewhere. The prefix has a MAC of its own over the same, so that even a length
//! cannot be altered to look like a block that was cut off.
//!
//! INVARIANT: a key and a nonce meet once: keys are fresh for each segment, a segment is never taken up again
//! after its writer is gone, and a write that failed is repeated with the same sealed bytes.
//! INVARIANT: every length is checked against a bound before anything is read or allocated.
//!
//! Not here: which tail may be missing (`portcullis-telemetry`), the Merkle log.
//!
//! Sources: NIST SP 800-38D; RFC 5869; DESIGN §5 (audit events).

mod header;
mod keys;
mod open;
mod seal;

pub use header::{HEADER_LENGTH, Header};
pub use keys::JournalKey;
pub use open::{Entries, Entry, Frame, Opener, Prefix};
pub use seal::{Contents, Sealer};

/// The bytes before each frame's body.
pub const PREFIX_LENGTH: usize = 16;
/// The largest content of one sealed frame.
pub const LARGEST_CONTENT: usize = 1 << 20;
/// AES-GCM's tag.
const TAG_LENGTH: usize = 16;
/// The fixed part of an entry: length, worker, sequence, time, salt.
const ENTRY_HEAD: usize = 4 + 2 + 8 + 8 + 16;

/// What a frame holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Where each worker's sequence stood.
    Opening,
    /// Records.
    Records,
    /// The signed end.
    Footer,
}

impl Kind {
    const fn byte(self) -> u8 {
        match self {
            Self::Opening => 1,
            Self::Records => 2,
            Self::Footer => 3,
        }
    }

    const fn of(byte: u8) -> Option<Self> {
        match byte {
            1 => Some(Self::Opening),
            2 => Some(Self::Records),
            3 => Some(Self::Footer),
            _ => None,
        }
    }
}

/// Why bytes are not a part of this segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SegmentFault {
    /// The header is not one.
    #[error("the segment's header is not one of this format")]
    Header,
    /// The header names another key.
    #[error("the segment was sealed with another key")]
    OtherKey,
    /// The frame's prefix is not what was written there.
    #[error("block {block} has a prefix that was altered or belongs elsewhere")]
    Prefix {
        /// Which frame, from zero.
        block: u64,
    },
    /// The frame's body is not what was written there.
    #[error("block {block} was altered or belongs elsewhere")]
    Body {
        /// Which frame, from zero.
        block: u64,
    },
    /// An authentic body that does not hold what its kind says.
    #[error("block {block} does not hold what it should")]
    Content {
        /// Which frame, from zero.
        block: u64,
    },
    /// More than one frame can hold.
    #[error("a block of {0} bytes is larger than the format permits")]
    TooLarge(usize),
    /// The cipher refused, or the counter is used up.
    #[error("the block could not be sealed")]
    Cipher,
}

/// Reads bytes from any source as if they were a segment: for fuzzing. Returns how many entries were read.
#[doc(hidden)]
#[must_use]
pub fn fuzz(key: &JournalKey, bytes: &[u8]) -> usize {
    let Some((header, mut rest)) = bytes.split_at_checked(HEADER_LENGTH) else { return 0 };
    let Ok((_, mut opener)) = Opener::begin(key, header) else { return 0 };
    let mut read = 0;
    while let Some((prefix, after)) = rest.split_first_chunk::<PREFIX_LENGTH>() {
        let Ok(prefix) = opener.prefix(prefix) else { return read };
        let Some((body, after)) = after.split_at_checked(prefix.length()) else { return read };
        match opener.open(prefix, body.to_vec()) {
            Ok(Frame::Records(entries)) => read += entries.iter().flatten().count(),
            Ok(Frame::Opening(_)) => {}
            Ok(Frame::Footer(_)) | Err(_) => return read,
        }
        rest = after;
    }
    read
}

#[cfg(test)]
mod tests;
