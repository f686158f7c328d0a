//! What the Merkle log says of one record.
//!
//! The leaf holds the record's place and a commitment to its text: SHA-256 of a random salt and the line. The
//! salt is kept beside the line, so that deleting both leaves a leaf from which nothing can be guessed, while
//! every proof over it stays valid (DESIGN §5: retention deletes data and keeps proofs).
//!
//! ```text
//! commitment = SHA-256(salt[16] || line)
//! entry      = "portcullis/leaf/1" || worker u16 || sequence u64 || time u64 || commitment   (big endian)
//! leaf hash  = SHA-256(0x00 || entry)                                                        (RFC 6962 §2.1)
//! ```
//!
//! INVARIANT: two different (salt, line, worker, sequence, time) never share an entry: every field has a fixed
//! length but the line, and the salt before it is fixed too.

use aws_lc_rs::digest::{Context, SHA256};
use portcullis_core::UnixMillis;

use crate::merkle::{Hash, fixed, sha256};

/// Random bytes that hide a deleted record.
pub type Salt = [u8; 16];

const LABEL: &[u8] = b"portcullis/leaf/1";

/// A record's place in time and sequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The worker that recorded it.
    pub worker: u16,
    /// Its number in that worker's sequence.
    pub sequence: u64,
    /// When.
    pub time: UnixMillis,
}

/// The leaf hash of a record.
#[must_use]
pub fn leaf(place: Place, salt: &Salt, line: &[u8]) -> Hash {
    leaf_of(place, &commitment(salt, line))
}

/// The same of a salt and a line that lie in one piece: the writer's way, which copies nothing.
pub(crate) fn leaf_of_salted(place: Place, salted: &[u8]) -> Hash {
    leaf_of(place, &sha256(salted))
}

fn leaf_of(place: Place, commitment: &Hash) -> Hash {
    let entry = entry(place, commitment);
    let mut whole = [0; 68];
    let (_, rest) = whole.split_at_mut(1);
    for (to, from) in rest.iter_mut().zip(entry) {
        *to = from;
    }
    sha256(&whole)
}

/// What the leaf shows of the record's text: enough to recognise it, nothing to guess it from.
#[must_use]
pub fn commitment(salt: &Salt, line: &[u8]) -> Hash {
    let mut hash = Context::new(&SHA256);
    hash.update(salt);
    hash.update(line);
    fixed(hash.finish().as_ref())
}

/// The bytes that the leaf hash covers, for a verifier of its own.
#[must_use]
pub fn entry(place: Place, commitment: &Hash) -> [u8; 67] {
    let mut entry = [0; 67];
    let parts = [
        LABEL,
        &place.worker.to_be_bytes(),
        &place.sequence.to_be_bytes(),
        &place.time.0.to_be_bytes(),
        commitment,
    ];
    for (to, from) in entry.iter_mut().zip(parts.into_iter().flatten()) {
        *to = *from;
    }
    entry
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLACE: Place = Place { worker: 3, sequence: 9, time: UnixMillis(1_760_000_000_000) };

    #[test]
    fn every_part_of_a_record_moves_its_leaf() {
        let base = leaf(PLACE, &[1; 16], b"{}");
        let others = [
            leaf(Place { worker: 4, ..PLACE }, &[1; 16], b"{}"),
            leaf(Place { sequence: 10, ..PLACE }, &[1; 16], b"{}"),
            leaf(Place { time: UnixMillis(1), ..PLACE }, &[1; 16], b"{}"),
            leaf(PLACE, &[2; 16], b"{}"),
            leaf(PLACE, &[1; 16], b"{ }"),
        ];
        assert!(others.iter().all(|other| *other != base));
    }

    #[test]
    fn every_way_to_a_leaf_gives_the_same_leaf() {
        let (salt, line) = ([7; 16], b"{\"v\":1}");
        let by_parts = crate::merkle::leaf_hash(&entry(PLACE, &commitment(&salt, line)));
        assert_eq!(leaf(PLACE, &salt, line), by_parts);
        assert_eq!(leaf_of_salted(PLACE, &[&salt[..], line].concat()), by_parts);
    }

    #[test]
    fn an_entry_is_filled_to_its_last_byte() {
        let entry = entry(PLACE, &[0xee; 32]);
        assert!(entry.starts_with(LABEL));
        assert_eq!(entry[17..19], [0, 3]);
        assert_eq!(entry[35..], [0xee; 32]);
    }
}
