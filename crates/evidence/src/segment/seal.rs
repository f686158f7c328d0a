//! Writing a segment.

use super::keys::SegmentKeys;
use super::{ENTRY_HEAD, Entry, Header, JournalKey, Kind, LARGEST_CONTENT, PREFIX_LENGTH, SegmentFault};
use crate::leaf::leaf_of_salted;
use crate::merkle::Hash;
use crate::sequence::Sequences;

/// Seals the frames of one segment, in order.
pub struct Sealer {
    keys: SegmentKeys,
}

/// The records of a frame that is being put together.
#[derive(Clone, Debug, Default)]
pub struct Contents(Vec<u8>);

impl Contents {
    /// Adds a record and returns its leaf; `None`, and nothing done, if the frame has no room for it.
    #[must_use]
    pub fn push(&mut self, entry: &Entry<'_>) -> Option<Hash> {
        let length = u32::try_from(entry.line.len()).ok()?;
        if self.0.len().saturating_add(ENTRY_HEAD).saturating_add(entry.line.len()) > LARGEST_CONTENT {
            return None;
        }
        self.0.extend_from_slice(&length.to_be_bytes());
        self.0.extend_from_slice(&entry.place.worker.to_be_bytes());
        self.0.extend_from_slice(&entry.place.sequence.to_be_bytes());
        self.0.extend_from_slice(&entry.place.time.0.to_be_bytes());
        let salted = self.0.len();
        self.0.extend_from_slice(&entry.salt);
        self.0.extend_from_slice(entry.line);
        self.0.get(salted..).map(|salted| leaf_of_salted(entry.place, salted))
    }

    /// The bytes so far.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are no records.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Forgets the records and keeps the memory.
    pub fn clear(&mut self) {
        self.0.clear();
    }
}

impl Sealer {
    /// Begins a segment: appends its header and its opening frame to `out`.
    ///
    /// # Errors
    /// The keys could not be derived.
    pub fn begin(
        key: &JournalKey,
        header: &Header,
        before: &Sequences,
        out: &mut Vec<u8>,
    ) -> Result<Self, SegmentFault> {
        let mut sealer = Self { keys: SegmentKeys::derive(key, header)? };
        out.extend_from_slice(&header.to_bytes());
        let last = before
            .iter()
            .flat_map(|(worker, last)| worker.to_be_bytes().into_iter().chain(last.to_be_bytes()));
        sealer.seal(Kind::Opening, &last.collect::<Vec<_>>(), out)?;
        Ok(sealer)
    }

    /// Appends one frame of records to `out`.
    ///
    /// # Errors
    /// The cipher refused.
    pub fn records(&mut self, contents: &Contents, out: &mut Vec<u8>) -> Result<(), SegmentFault> {
        self.seal(Kind::Records, &contents.0, out)
    }

    /// Appends the signed checkpoint that ends the segment.
    ///
    /// # Errors
    /// The note is too long.
    pub fn end(self, note: &str, out: &mut Vec<u8>) -> Result<(), SegmentFault> {
        footer(&self.keys, note, out)
    }

    fn seal(&mut self, kind: Kind, content: &[u8], out: &mut Vec<u8>) -> Result<(), SegmentFault> {
        if content.len() > LARGEST_CONTENT {
            return Err(SegmentFault::TooLarge(content.len()));
        }
        prefix(&self.keys, kind, content.len() + super::TAG_LENGTH, out)?;
        let start = out.len();
        out.extend_from_slice(content);
        let sealed = self.keys.seal(kind, out.get_mut(start..).unwrap_or_default())?;
        out.extend_from_slice(&sealed);
        self.keys.advance(sealed)
    }
}

fn prefix(keys: &SegmentKeys, kind: Kind, length: usize, out: &mut Vec<u8>) -> Result<(), SegmentFault> {
    let length = u32::try_from(length).map_err(|_| SegmentFault::TooLarge(length))?;
    out.reserve(PREFIX_LENGTH);
    out.extend_from_slice(&length.to_be_bytes());
    out.push(kind.byte());
    out.extend_from_slice(&keys.prefix_mac(kind, length));
    Ok(())
}

/// The last frame is plain: it holds no secret, and a process that recovers a dead one's segment may write it
/// a second time without a nonce meeting its key twice.
pub(super) fn footer(keys: &SegmentKeys, note: &str, out: &mut Vec<u8>) -> Result<(), SegmentFault> {
    if note.len() > LARGEST_CONTENT {
        return Err(SegmentFault::TooLarge(note.len()));
    }
    prefix(keys, Kind::Footer, note.len(), out)?;
    out.extend_from_slice(note.as_bytes());
    Ok(())
}
