//! The plain first bytes of a segment, which every key and every seal in it depends on.

use portcullis_core::UnixMillis;

use super::SegmentFault;
use crate::merkle::Hash;

const MAGIC: &[u8; 8] = b"PTCLSEG1";

/// The length of a header.
pub const HEADER_LENGTH: usize = 8 + 8 + 8 + 8 + 8 + 32 + 32;

/// What a segment says of itself and of what came before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// The segment's number: 1, 2, 3, …
    pub number: u64,
    /// The size of the log before it, which is the number of its first leaf.
    pub first: u64,
    /// When it was begun.
    pub time: UnixMillis,
    /// Which journal key it is sealed with.
    pub key_id: [u8; 8],
    /// The root of the log before it.
    pub root_before: Hash,
    /// Random bytes that its keys are derived with.
    pub random: [u8; 32],
}

impl Header {
    /// The bytes of it.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let numbers = [self.number, self.first, self.time.0].map(u64::to_be_bytes);
        let [number, first, time] = &numbers;
        [MAGIC, &number[..], first, time, &self.key_id, &self.root_before, &self.random].concat()
    }

    /// Reads a header. It is authentic only once a frame after it has been opened.
    ///
    /// # Errors
    /// The bytes have another length or form.
    pub fn parse(bytes: &[u8]) -> Result<Self, SegmentFault> {
        let whole: &[u8; HEADER_LENGTH] = bytes.try_into().map_err(|_| SegmentFault::Header)?;
        let mut rest = &whole[..];
        if take::<8>(&mut rest)? != *MAGIC {
            return Err(SegmentFault::Header);
        }
        Ok(Self {
            number: u64::from_be_bytes(take(&mut rest)?),
            first: u64::from_be_bytes(take(&mut rest)?),
            time: UnixMillis(u64::from_be_bytes(take(&mut rest)?)),
            key_id: take(&mut rest)?,
            root_before: take(&mut rest)?,
            random: take(&mut rest)?,
        })
    }
}

fn take<const N: usize>(rest: &mut &[u8]) -> Result<[u8; N], SegmentFault> {
    let (field, after) = rest.split_first_chunk::<N>().ok_or(SegmentFault::Header)?;
    *rest = after;
    Ok(*field)
}
