//! Reading the record: verifying, asking, following, proving.
//!
//! Whoever calls this has asked whether the reader may, and has recorded that they did
//! ([`portcullis_evidence::event::Admin`]); nothing here knows who reads.
//!
//! INVARIANT: a record is shown only from a frame that was found authentic.

mod prove;
mod query;
mod segment;
mod verify;

use std::io;

use portcullis_evidence::CheckpointVerifier;
use portcullis_evidence::segment::JournalKey;
pub use prove::{Disclosure, NotProved};
pub use query::{Query, Tail};
pub use segment::ReadFault;
pub(super) use segment::{SegmentReader, Step};
pub use verify::{Finding, VerifyReport};

use super::Storage;
pub use super::proofs::ProofsFault;

/// Why the record could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The storage does not answer.
    #[error("the journal's storage cannot be read")]
    Storage(#[source] io::Error),
    /// A segment cannot be read.
    #[error("segment {number} cannot be read")]
    Segment {
        /// Which one.
        number: u64,
        /// Why.
        #[source]
        cause: ReadFault,
    },
    /// The proofs are not those of this journal.
    #[error("the journal's proofs were altered")]
    Proofs(#[source] ProofsFault),
}

/// A journal that is open for reading, beside its writer or without one.
pub struct JournalReader {
    storage: Box<dyn Storage>,
    key: JournalKey,
    verifier: CheckpointVerifier,
}

impl JournalReader {
    /// A reader of what `storage` holds, with the journal's key and the public half of its signing key.
    #[must_use]
    pub fn new(storage: Box<dyn Storage>, key: JournalKey, verifier: CheckpointVerifier) -> Self {
        Self { storage, key, verifier }
    }

    fn numbers(&self) -> Result<Vec<u64>, ReadError> {
        let segments = self.storage.segments().map_err(ReadError::Storage)?;
        Ok(segments.iter().map(|segment| segment.number).collect())
    }

    /// Opens a segment; `None` if retention deleted it since it was listed.
    fn segment(&self, number: u64) -> Result<Option<SegmentReader>, ReadError> {
        match SegmentReader::open(&*self.storage, &self.key, number) {
            Err(fault) if fault.is_absent() && !self.numbers()?.contains(&number) => Ok(None),
            opened => opened.map(Some).map_err(|cause| ReadError::Segment { number, cause }),
        }
    }
}
