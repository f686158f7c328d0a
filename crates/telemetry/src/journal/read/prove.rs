//! Proving single records, and that the log only grew, to somebody who sees nothing else of it.
//!
//! INVARIANT: a disclosure holds one record, its salt and hashes: nothing from which another could be guessed.

use portcullis_core::RequestId;
use portcullis_evidence::leaf::{Place, Salt, leaf};
use portcullis_evidence::merkle::Hash;
use portcullis_evidence::proof::{Nodes, verify_inclusion};
use portcullis_evidence::segment::Frame;
use portcullis_evidence::{CheckpointVerifier, Record};

use super::super::proofs::{Depth, Proofs};
use super::{JournalReader, ReadError, ReadFault, Step};

/// One record and the proof that it is in the log that a checkpoint signs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Disclosure {
    /// The record's line.
    pub line: Vec<u8>,
    /// Its salt.
    pub salt: Salt,
    /// Its place in its worker's sequence.
    pub place: Place,
    /// Its number in the log.
    pub index: u64,
    /// The hashes from its leaf to the root.
    pub path: Vec<Hash>,
    /// The signed checkpoint.
    pub note: String,
}

/// Why something cannot be proved.
#[derive(Debug, thiserror::Error)]
pub enum NotProved {
    /// The record cannot be read.
    #[error("the record cannot be read")]
    Read(#[from] ReadError),
    /// No record has this id, or retention deleted it.
    #[error("no record of this request is kept")]
    Absent,
    /// The segment that holds it is still being written.
    #[error("the record is not signed yet; its segment is still open")]
    Unsigned,
}

impl Disclosure {
    /// Whether the record is in the log that the checkpoint signs.
    #[must_use]
    pub fn is_good(&self, by: &CheckpointVerifier) -> bool {
        let leaf = leaf(self.place, &self.salt, &self.line);
        by.open(&self.note)
            .is_ok_and(|signed| verify_inclusion(&leaf, self.index, signed.size, &self.path, &signed.root))
    }
}

/// What a segment that is at hand says.
struct Leaves {
    hashes: Vec<Hash>,
    found: Vec<(usize, Vec<u8>, Salt, Place)>,
}

impl JournalReader {
    /// Each record of a request with its proof against the newest checkpoint.
    ///
    /// # Errors
    /// There is none, it is not signed yet, or the record cannot be read.
    pub fn disclose(&self, id: RequestId) -> Result<Vec<Disclosure>, NotProved> {
        let proofs = self.proofs()?;
        let newest = proofs.segments.last().ok_or(NotProved::Unsigned)?;
        let (size, mut disclosed, mut unsigned) = (newest.checkpoint.size, Vec::new(), false);
        for number in self.numbers()? {
            let leaves = self.leaves(number, id)?;
            let of_segment = proofs.segments.iter().find(|s| s.checkpoint.segment == number);
            let Some(proved) = of_segment else {
                unsigned |= !leaves.found.is_empty();
                continue;
            };
            if leaves.found.is_empty() {
                continue;
            }
            let mut nodes = Nodes::default();
            proofs.segments.iter().for_each(|segment| nodes.add(&segment.range));
            nodes.add_leaves(proved.range.start(), &leaves.hashes);
            for (at, line, salt, place) in leaves.found {
                let index = proved.range.start().saturating_add(u64::try_from(at).unwrap_or(u64::MAX));
                let path = nodes.inclusion(index, size).ok_or(NotProved::Absent)?;
                disclosed.push(Disclosure { line, salt, place, index, path, note: newest.note.clone() });
            }
        }
        match (disclosed.is_empty(), unsigned) {
            (false, _) => Ok(disclosed),
            (true, true) => Err(NotProved::Unsigned),
            (true, false) => Err(NotProved::Absent),
        }
    }

    /// The proof that the log of the newest checkpoint begins with the log of `old` records, which must be the
    /// size of an earlier checkpoint; and that newest checkpoint's note.
    ///
    /// # Errors
    /// No checkpoint has that size, or the proofs cannot be read.
    pub fn consistency(&self, old: u64) -> Result<(Vec<Hash>, String), NotProved> {
        let proofs = self.proofs()?;
        let newest = proofs.segments.last().ok_or(NotProved::Unsigned)?;
        let mut nodes = Nodes::default();
        proofs.segments.iter().for_each(|segment| nodes.add(&segment.range));
        let path = nodes.consistency(old, newest.checkpoint.size).ok_or(NotProved::Absent)?;
        Ok((path, newest.note.clone()))
    }

    fn proofs(&self) -> Result<Proofs, ReadError> {
        let bytes = self.storage.proofs().map_err(ReadError::Storage)?;
        Proofs::parse(&bytes, &self.verifier, Depth::Every).map_err(ReadError::Proofs)
    }

    fn leaves(&self, number: u64, id: RequestId) -> Result<Leaves, ReadError> {
        let failed = |cause| ReadError::Segment { number, cause };
        let (id, mut leaves) = (id.to_string(), Leaves { hashes: Vec::new(), found: Vec::new() });
        let Some(mut segment) = self.segment(number)? else { return Ok(leaves) };
        loop {
            match segment.next().map_err(failed)? {
                Step::Frame(Frame::Records(entries)) => {
                    for entry in entries.iter() {
                        let entry = entry.map_err(|fault| failed(ReadFault::Altered(fault)))?;
                        if Record::parse(entry.line).is_ok_and(|record| record.id == id) {
                            let at = leaves.hashes.len();
                            leaves.found.push((at, entry.line.to_vec(), entry.salt, entry.place));
                        }
                        leaves.hashes.push(entry.leaf());
                    }
                }
                Step::Frame(_) => {}
                Step::Torn(_) | Step::Open | Step::Closed => return Ok(leaves),
            }
        }
    }
}
