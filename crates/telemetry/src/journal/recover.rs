//! Takes up a journal where a process, alive or dead, left it.
//!
//! A segment without a footer is closed here: what follows its last whole frame was never acknowledged to
//! anyone; it is measured, cut off, and the measure stands in the first record of the new segment. A dead
//! process's segment is never written on, so no nonce meets its key twice.
//!
//! INVARIANT: a journal whose end is not authentic is not taken up. Only its very last frame may be broken,
//! since a power cut leaves that; then it counts as lost, and the record says so.

use std::io;

use portcullis_core::UnixMillis;
use portcullis_evidence::event::Previous;
use portcullis_evidence::merkle::Range;
use portcullis_evidence::segment::{Frame, SegmentFault};
use portcullis_evidence::sequence::Sequences;

use super::proofs::{self, Depth, Proofs, ProofsFault};
use super::read::{ReadFault, SegmentReader, Step};
use super::{JournalKeys, Storage, Stored};

/// Why a journal cannot be opened for writing.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The storage does not answer.
    #[error("the journal's storage cannot be used")]
    Storage(#[source] io::Error),
    /// The proofs are not those of this journal.
    #[error("the journal's proofs were altered; keep the directory as evidence and start with another one")]
    Proofs(#[source] ProofsFault),
    /// The end of the journal is not authentic.
    #[error("segment {number} was altered; keep the directory as evidence and start with another one")]
    Altered {
        /// Which segment.
        number: u64,
        /// What is wrong with it.
        #[source]
        cause: ReadFault,
    },
    /// The segments do not continue what the proofs say.
    #[error("segment {number} is missing or does not follow; keep the directory as evidence")]
    Chain {
        /// Which segment.
        number: u64,
    },
    /// A record could not be sealed.
    #[error("the journal cannot be sealed")]
    Seal(#[source] SegmentFault),
    /// The plan has no worker.
    #[error("a journal has at least one worker")]
    NoWorkers,
    /// The writer could not be started.
    #[error("the journal's thread cannot be started")]
    Thread(#[source] io::Error),
}

/// A closed segment that is still there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Closed {
    pub(super) number: u64,
    pub(super) bytes: u64,
    pub(super) closed: UnixMillis,
}

/// Where to go on.
#[derive(Debug)]
pub(super) struct Recovered {
    pub(super) whole: Range,
    pub(super) last: Sequences,
    /// The number of the segment to begin.
    pub(super) next: u64,
    pub(super) closed: Vec<Closed>,
    pub(super) proofs: u64,
    pub(super) previous: Previous,
}

/// A segment, read to its end.
struct Scan {
    range: Range,
    last: Sequences,
    note: Option<String>,
    torn: u64,
    reader: SegmentReader,
}

pub(super) fn recover(
    storage: &mut dyn Storage,
    keys: &JournalKeys,
    now: UnixMillis,
) -> Result<Recovered, OpenError> {
    let bytes = storage.proofs().map_err(OpenError::Storage)?;
    let by = keys.sign.verifier();
    let proofs = Proofs::parse(&bytes, &by, Depth::Last).map_err(OpenError::Proofs)?;
    let stored = storage.segments().map_err(OpenError::Storage)?;
    let mut state =
        Recovery { storage, keys, now, proofs, last: Sequences::default(), previous: Previous::None };
    state.take_up(&stored)?;
    state.finish(&stored)
}

struct Recovery<'a> {
    storage: &'a mut dyn Storage,
    keys: &'a JournalKeys,
    now: UnixMillis,
    proofs: Proofs,
    last: Sequences,
    previous: Previous,
}

impl Recovery<'_> {
    fn take_up(&mut self, stored: &[Stored]) -> Result<(), OpenError> {
        let proved = self.proofs.next();
        let newest = stored.last().map(|segment| segment.number);
        if newest.unwrap_or(0).saturating_add(1) < proved {
            return Err(OpenError::Chain { number: proved.saturating_sub(1) });
        }
        // All proved: only the numbers of the last records are to be found.
        if let Some(newest) = newest.filter(|newest| newest.saturating_add(1) == proved) {
            let expect =
                self.proofs.segments.len().checked_sub(2).and_then(|at| self.proofs.segments.get(at));
            let size = expect.map_or(0, |before| before.checkpoint.size);
            let scan = self.scan(newest, size)?;
            (self.last, self.previous) = (scan.last, Previous::Clean);
        }
        for segment in stored.iter().filter(|segment| segment.number >= proved) {
            self.close(*segment, newest == Some(segment.number))?;
        }
        Ok(())
    }

    /// Adds the missing proof of a segment, after closing it if nobody did.
    fn close(&mut self, segment: Stored, newest: bool) -> Result<(), OpenError> {
        let number = segment.number;
        let chain = OpenError::Chain { number };
        if number != self.proofs.next() {
            return Err(chain);
        }
        let scan = self.scan(number, self.proofs.whole.end())?;
        let root_before = scan.reader.header().root_before;
        if self.proofs.whole.root() != Some(root_before) || !self.proofs.whole.join(&scan.range) {
            return Err(chain);
        }
        self.last = scan.last.clone();
        let (note, range) = match &scan.note {
            Some(note) => (note.clone(), scan.range.clone()),
            None if newest => self.end(number, scan)?,
            None => return Err(chain),
        };
        let line = proofs::line(number, &note, &range);
        self.storage.add_proof(self.proofs.length, &line).map_err(OpenError::Storage)?;
        self.proofs.length = self.proofs.length.saturating_add(u64::try_from(line.len()).unwrap_or(0));
        let checkpoint = self.keys.sign.verifier().open(&note).map_err(|_| OpenError::Chain { number })?;
        if self.proofs.whole.root() != Some(checkpoint.root) || checkpoint.segment != number {
            return Err(OpenError::Chain { number });
        }
        self.proofs.segments.push(proofs::Proved { checkpoint, note, range });
        Ok(())
    }

    /// Cuts off what was never acknowledged and signs what is left.
    fn end(&mut self, number: u64, scan: Scan) -> Result<(String, Range), OpenError> {
        self.previous = Previous::Died { torn: scan.torn };
        let whole = &self.proofs.whole;
        let root = whole.root().ok_or(OpenError::Chain { number })?;
        let note = self.keys.sign.sign(whole.end(), root, self.now, number);
        let (at, mut footer) = (scan.reader.at(), Vec::new());
        scan.reader.into_opener().end(&note, &mut footer).map_err(OpenError::Seal)?;
        let written = self.storage.resume(number);
        let written = written.and_then(|()| self.storage.cut(at));
        let written = written.and_then(|()| self.storage.append(&footer));
        written.and_then(|()| self.storage.sync()).map_err(OpenError::Storage)?;
        Ok((note, scan.range))
    }

    fn scan(&self, number: u64, first: u64) -> Result<Scan, OpenError> {
        let altered = |cause| OpenError::Altered { number, cause };
        let reader = SegmentReader::open(self.storage, &self.keys.seal, number).map_err(altered)?;
        if reader.header().first != first {
            return Err(OpenError::Chain { number });
        }
        let last = Sequences::default();
        let mut scan = Scan { range: Range::empty(first), last, note: None, torn: 0, reader };
        while scan.step().map_err(altered)? {}
        Ok(scan)
    }

    fn finish(self, before: &[Stored]) -> Result<Recovered, OpenError> {
        let stored = self.storage.segments().map_err(OpenError::Storage)?;
        let time_of = |number: u64| {
            let at = self.proofs.segments.iter().rev().find(|proved| proved.checkpoint.segment == number);
            at.map_or(self.now, |proved| proved.checkpoint.time)
        };
        let closed = |s: &Stored| Closed { number: s.number, bytes: s.bytes, closed: time_of(s.number) };
        let previous = match self.previous {
            Previous::None if !before.is_empty() => Previous::Clean,
            previous => previous,
        };
        Ok(Recovered {
            closed: stored.iter().map(closed).collect(),
            next: self.proofs.next(),
            whole: self.proofs.whole,
            last: self.last,
            proofs: self.proofs.length,
            previous,
        })
    }
}

impl Scan {
    /// Reads one frame on; `false` at the end.
    fn step(&mut self) -> Result<bool, ReadFault> {
        let step = match self.reader.next() {
            Err(ReadFault::Altered(SegmentFault::Body { .. })) if self.reader.is_last_frame()? => {
                self.reader.torn()?
            }
            step => step?,
        };
        match step {
            Step::Frame(Frame::Opening(last)) => self.last = last,
            Step::Frame(Frame::Footer(note)) => self.note = Some(note),
            Step::Frame(Frame::Records(entries)) => {
                for entry in entries.iter() {
                    let entry = entry.map_err(ReadFault::Altered)?;
                    self.range.push(entry.leaf());
                    self.last.resume(entry.place.worker, entry.place.sequence);
                }
            }
            Step::Torn(bytes) => self.torn = bytes,
            Step::Open | Step::Closed => return Ok(false),
        }
        Ok(self.torn == 0)
    }
}
