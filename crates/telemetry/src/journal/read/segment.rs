//! One segment, read frame by frame, also while it is being written.
//!
//! INVARIANT: at most one frame is in memory, and no length is believed before its MAC was checked.

use std::io::{self, Read, SeekFrom};

use portcullis_evidence::segment::{
    Frame, HEADER_LENGTH, Header, JournalKey, Opener, PREFIX_LENGTH, SegmentFault,
};

use crate::journal::{SegmentFile, Storage};

/// Why a segment cannot be read on.
#[derive(Debug, thiserror::Error)]
pub enum ReadFault {
    /// The disk did not answer.
    #[error("the segment cannot be read")]
    Io(#[source] io::Error),
    /// What is there was not written there.
    #[error("the segment was altered")]
    Altered(#[source] SegmentFault),
    /// Something stands after the signed end.
    #[error("there are bytes after the segment's signed end")]
    AfterEnd,
}

impl ReadFault {
    /// Whether there is no such segment.
    pub(in crate::journal) fn is_absent(&self) -> bool {
        matches!(self, Self::Io(cause) if cause.kind() == io::ErrorKind::NotFound)
    }
}

/// What comes next in a segment.
#[derive(Debug)]
pub(in crate::journal) enum Step {
    /// A frame.
    Frame(Frame),
    /// So many bytes that are not a whole frame: its writer died, or is writing.
    Torn(u64),
    /// Nothing, and no footer.
    Open,
    /// Nothing after the footer.
    Closed,
}

/// A segment that is being read.
pub(in crate::journal) struct SegmentReader {
    input: Box<dyn SegmentFile>,
    opener: Opener,
    header: Header,
    /// Where the next frame begins.
    at: u64,
    ended: bool,
}

impl SegmentReader {
    pub(in crate::journal) fn open(
        storage: &dyn Storage,
        key: &JournalKey,
        number: u64,
    ) -> Result<Self, ReadFault> {
        let mut input = storage.read(number).map_err(ReadFault::Io)?;
        let head = up_to(&mut input, HEADER_LENGTH).map_err(ReadFault::Io)?;
        let (header, opener) = Opener::begin(key, &head).map_err(ReadFault::Altered)?;
        if header.number != number {
            return Err(ReadFault::Altered(SegmentFault::Header));
        }
        let at = u64::try_from(HEADER_LENGTH).unwrap_or(u64::MAX);
        Ok(Self { input, opener, header, at, ended: false })
    }

    pub(in crate::journal) fn header(&self) -> &Header {
        &self.header
    }

    /// The number of the next frame.
    pub(in crate::journal) fn block(&self) -> u64 {
        self.opener.block()
    }

    /// Where the next frame begins.
    pub(in crate::journal) fn at(&self) -> u64 {
        self.at
    }

    pub(in crate::journal) fn into_opener(self) -> Opener {
        self.opener
    }

    pub(in crate::journal) fn next(&mut self) -> Result<Step, ReadFault> {
        let prefix = up_to(&mut self.input, PREFIX_LENGTH).map_err(ReadFault::Io)?;
        match (self.ended, prefix.as_slice()) {
            (true, []) => return Ok(Step::Closed),
            (true, _) => return Err(ReadFault::AfterEnd),
            (false, []) => return Ok(Step::Open),
            (false, _) => {}
        }
        let Some(whole) = prefix.first_chunk::<PREFIX_LENGTH>() else { return self.torn() };
        let prefix = match self.opener.prefix(whole) {
            Ok(prefix) => prefix,
            Err(_) if *whole == [0; PREFIX_LENGTH] && self.only_zeros_follow()? => return self.torn(),
            Err(fault) => return Err(ReadFault::Altered(fault)),
        };
        let body = up_to(&mut self.input, prefix.length()).map_err(ReadFault::Io)?;
        if body.len() < prefix.length() {
            return self.torn();
        }
        let length = PREFIX_LENGTH + body.len();
        let frame = self.opener.open(prefix, body).map_err(ReadFault::Altered)?;
        self.at = self.at.saturating_add(u64::try_from(length).unwrap_or(u64::MAX));
        self.ended = matches!(frame, Frame::Footer(_));
        Ok(Step::Frame(frame))
    }

    /// Whether nothing follows what was read last, which was not a good frame.
    pub(in crate::journal) fn is_last_frame(&mut self) -> Result<bool, ReadFault> {
        up_to(&mut self.input, 1).map(|more| more.is_empty()).map_err(ReadFault::Io)
    }

    /// How much is left from the last whole frame on; the next reading begins there again.
    pub(in crate::journal) fn torn(&mut self) -> Result<Step, ReadFault> {
        let end = self.input.seek(SeekFrom::End(0)).map_err(ReadFault::Io)?;
        self.input.seek(SeekFrom::Start(self.at)).map_err(ReadFault::Io)?;
        Ok(Step::Torn(end.saturating_sub(self.at)))
    }

    /// Some file systems show, after a power cut, a tail of zeros in place of what was never synced.
    fn only_zeros_follow(&mut self) -> Result<bool, ReadFault> {
        loop {
            let chunk = up_to(&mut self.input, 64 * 1024).map_err(ReadFault::Io)?;
            if chunk.is_empty() {
                return Ok(true);
            }
            if chunk.iter().any(|byte| *byte != 0) {
                return Ok(false);
            }
        }
    }
}

/// Up to `most` bytes: fewer only where the file ends.
fn up_to(input: &mut dyn SegmentFile, most: usize) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(most);
    input.take(u64::try_from(most).unwrap_or(u64::MAX)).read_to_end(&mut bytes)?;
    Ok(bytes)
}
