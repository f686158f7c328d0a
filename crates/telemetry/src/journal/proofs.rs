//! What is kept of a segment after its records are gone: its signed checkpoint and its Merkle range.
//!
//! One line of JSON for each closed segment. The lines prove themselves: each range, joined to those before,
//! must give the root that the line's checkpoint signs.
//!
//! INVARIANT: the line of a segment is safe before the segment may be deleted.

use std::io;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use portcullis_evidence::checkpoint::{Checkpoint, CheckpointVerifier, NoteFault};
use portcullis_evidence::merkle::{Hash, Range};
use serde::{Deserialize, Serialize};

/// What the file says of one segment.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    segment: u64,
    note: String,
    nodes: Vec<String>,
}

/// What is proved of one segment.
#[derive(Clone, Debug)]
pub(super) struct Proved {
    pub(super) checkpoint: Checkpoint,
    pub(super) note: String,
    pub(super) range: Range,
}

/// All that is proved of the log's closed segments.
#[derive(Debug, Default)]
pub(super) struct Proofs {
    pub(super) segments: Vec<Proved>,
    /// The log up to the end of the last of them.
    pub(super) whole: Range,
    /// Bytes of whole lines; what follows was torn.
    pub(super) length: u64,
}

/// Whose signatures are checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Depth {
    /// Only the last one: its root covers all the others.
    Last,
    /// Every one.
    Every,
}

/// Why the proofs prove nothing.
#[derive(Debug, thiserror::Error)]
pub enum ProofsFault {
    /// They cannot be read.
    #[error("the proofs cannot be read")]
    Io(#[source] io::Error),
    /// A line has another form, or names a segment out of turn.
    #[error("line {line} of the proofs is not the proof of the segment that follows")]
    Form {
        /// Which, from 1.
        line: usize,
    },
    /// A signature is not good.
    #[error("line {line} of the proofs is not signed by this journal's key")]
    Signature {
        /// Which, from 1.
        line: usize,
        /// What is wrong with it.
        #[source]
        cause: NoteFault,
    },
    /// The hashes do not give the root that was signed.
    #[error("line {line} of the proofs does not give the root that was signed")]
    Root {
        /// Which, from 1.
        line: usize,
    },
}

impl Proofs {
    pub(super) fn parse(bytes: &[u8], by: &CheckpointVerifier, depth: Depth) -> Result<Self, ProofsFault> {
        let whole_lines = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        let kept = bytes.get(..whole_lines).unwrap_or_default();
        let lines: Vec<&[u8]> = kept.split_inclusive(|byte| *byte == b'\n').collect();
        let mut proofs = Self { length: u64::try_from(whole_lines).unwrap_or(0), ..Self::default() };
        for (at, text) in lines.iter().enumerate() {
            let signed = depth == Depth::Every || at + 1 == lines.len();
            proofs.add(at + 1, text, signed.then_some(by), by)?;
        }
        Ok(proofs)
    }

    fn add(
        &mut self,
        line: usize,
        text: &[u8],
        signed: Option<&CheckpointVerifier>,
        by: &CheckpointVerifier,
    ) -> Result<(), ProofsFault> {
        let form = || ProofsFault::Form { line };
        let read: Line = serde_json::from_slice(text).map_err(|_| form())?;
        let checkpoint = match signed {
            Some(key) => key.open(&read.note).map_err(|cause| ProofsFault::Signature { line, cause })?,
            None => by.read_unverified(&read.note).ok_or_else(form)?,
        };
        if read.segment != checkpoint.segment || read.segment != self.next() {
            return Err(form());
        }
        let nodes: Option<Vec<Hash>> = read.nodes.iter().map(|node| hash(node)).collect();
        let range = Range::from_hashes(self.whole.end(), checkpoint.size, &nodes.ok_or_else(form)?);
        let range = range.map_err(|_| form())?;
        if !self.whole.join(&range) || self.whole.root() != Some(checkpoint.root) {
            return Err(ProofsFault::Root { line });
        }
        self.segments.push(Proved { checkpoint, note: read.note, range });
        Ok(())
    }

    /// The number of the segment whose proof would come next.
    pub(super) fn next(&self) -> u64 {
        self.segments.last().map_or(1, |last| last.checkpoint.segment.saturating_add(1))
    }
}

fn hash(text: &str) -> Option<Hash> {
    STANDARD.decode(text).ok()?.try_into().ok()
}

/// The line of a segment that was just closed.
pub(super) fn line(segment: u64, note: &str, range: &Range) -> Vec<u8> {
    let nodes = range.hashes().map(|hash| STANDARD.encode(hash)).collect();
    let line = Line { segment, note: note.to_owned(), nodes };
    // Texts and numbers always serialise; an empty line would be found by whoever reads it.
    let mut text = serde_json::to_vec(&line).unwrap_or_default();
    text.push(b'\n');
    text
}
