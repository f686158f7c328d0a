//! Reading a segment, frame by frame.

use portcullis_core::UnixMillis;

use super::keys::SegmentKeys;
use super::{
    ENTRY_HEAD, Header, JournalKey, Kind, LARGEST_CONTENT, PREFIX_LENGTH, SegmentFault, TAG_LENGTH, seal,
};
use crate::leaf::{Place, Salt, leaf};
use crate::merkle::Hash;
use crate::sequence::Sequences;

/// Opens the frames of one segment, in order.
pub struct Opener {
    keys: SegmentKeys,
}

/// A frame's prefix, found authentic at this place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Prefix {
    kind: Kind,
    length: usize,
}

impl Prefix {
    /// How many bytes of body follow; never more than the largest frame.
    #[must_use]
    pub fn length(&self) -> usize {
        self.length
    }
}

/// A frame, found authentic.
#[derive(Debug)]
pub enum Frame {
    /// Where each worker's sequence stood before this segment.
    Opening(Sequences),
    /// Records.
    Records(Entries),
    /// The end: the text of a checkpoint, whose signature nobody has checked yet.
    Footer(String),
}

/// The records of one frame.
#[derive(Debug)]
pub struct Entries {
    content: Vec<u8>,
    block: u64,
}

/// One record as it is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry<'a> {
    /// Its place.
    pub place: Place,
    /// Its salt.
    pub salt: Salt,
    /// Its line.
    pub line: &'a [u8],
}

impl Entry<'_> {
    /// Its leaf in the Merkle log.
    #[must_use]
    pub fn leaf(&self) -> Hash {
        leaf(self.place, &self.salt, self.line)
    }
}

impl Opener {
    /// Begins to read a segment.
    ///
    /// # Errors
    /// The header has another form or names another key.
    pub fn begin(key: &JournalKey, header: &[u8]) -> Result<(Header, Self), SegmentFault> {
        let header = Header::parse(header)?;
        if header.key_id != key.id() {
            return Err(SegmentFault::OtherKey);
        }
        Ok((header, Self { keys: SegmentKeys::derive(key, &header)? }))
    }

    /// The number of the frame that comes next.
    #[must_use]
    pub fn block(&self) -> u64 {
        self.keys.block
    }

    /// Checks the prefix of the next frame, before its body is read.
    ///
    /// # Errors
    /// It is not the one that was written at this place.
    pub fn prefix(&self, bytes: &[u8; PREFIX_LENGTH]) -> Result<Prefix, SegmentFault> {
        let fault = SegmentFault::Prefix { block: self.keys.block };
        let [a, b, c, d, kind, mac @ ..] = bytes;
        let length = u32::from_be_bytes([*a, *b, *c, *d]);
        let kind = Kind::of(*kind).ok_or(fault)?;
        let mac_is_good = self.keys.prefix_mac(kind, length) == *mac;
        let length = usize::try_from(length).map_err(|_| fault)?;
        let opens = (kind == Kind::Opening) == (self.keys.block == 0);
        let fits = length <= LARGEST_CONTENT + TAG_LENGTH;
        if mac_is_good && opens && fits { Ok(Prefix { kind, length }) } else { Err(fault) }
    }

    /// Opens the body of the frame whose prefix was just checked.
    ///
    /// # Errors
    /// The body is not the one that was written at this place.
    pub fn open(&mut self, prefix: Prefix, body: Vec<u8>) -> Result<Frame, SegmentFault> {
        let block = self.keys.block;
        if body.len() != prefix.length {
            return Err(SegmentFault::Body { block });
        }
        if prefix.kind == Kind::Footer {
            return String::from_utf8(body).map(Frame::Footer).map_err(|_| SegmentFault::Body { block });
        }
        let tag = body.last_chunk::<TAG_LENGTH>().copied().ok_or(SegmentFault::Body { block })?;
        let content = self.keys.open(prefix.kind, body)?;
        self.keys.advance(tag)?;
        match prefix.kind {
            Kind::Opening => positions(&content).map(Frame::Opening).ok_or(SegmentFault::Content { block }),
            _ => Ok(Frame::Records(Entries { content, block })),
        }
    }

    /// Ends, in place of its dead writer, a segment that was read to its last good frame.
    ///
    /// # Errors
    /// The note is too long.
    pub fn end(self, note: &str, out: &mut Vec<u8>) -> Result<(), SegmentFault> {
        seal::footer(&self.keys, note, out)
    }
}

fn positions(content: &[u8]) -> Option<Sequences> {
    let (rows, rest) = content.as_chunks::<10>();
    let mut last = Sequences::default();
    for row in rows {
        let (worker, number) = row.split_first_chunk::<2>()?;
        last.resume(u16::from_be_bytes(*worker), u64::from_be_bytes(number.try_into().ok()?));
    }
    rest.is_empty().then_some(last)
}

impl Entries {
    /// The records, in order; a fault is the last item.
    pub fn iter(&self) -> impl Iterator<Item = Result<Entry<'_>, SegmentFault>> {
        let mut rest = self.content.as_slice();
        std::iter::from_fn(move || {
            let (whole, next) = (!rest.is_empty()).then(|| entry(rest))?.map_or_else(
                || (Err(SegmentFault::Content { block: self.block }), &[][..]),
                |(entry, next)| (Ok(entry), next),
            );
            rest = next;
            Some(whole)
        })
    }
}

fn entry(bytes: &[u8]) -> Option<(Entry<'_>, &[u8])> {
    let (head, rest) = bytes.split_first_chunk::<ENTRY_HEAD>()?;
    let (length, head) = head.split_first_chunk::<4>()?;
    let (worker, head) = head.split_first_chunk::<2>()?;
    let (sequence, head) = head.split_first_chunk::<8>()?;
    let (time, salt) = head.split_first_chunk::<8>()?;
    let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
    let (line, rest) = rest.split_at_checked(length)?;
    let place = Place {
        worker: u16::from_be_bytes(*worker),
        sequence: u64::from_be_bytes(*sequence),
        time: UnixMillis(u64::from_be_bytes(*time)),
    };
    Some((Entry { place, salt: salt.try_into().ok()?, line }, rest))
}
