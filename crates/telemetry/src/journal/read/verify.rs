//! Whether the record is whole, in order, and signed.
//!
//! What is checked: every frame's seal and place; every leaf of every segment against the root that the segment's
//! footer signs; each header against the log before it; each worker's numbers; the proofs of segments that
//! retention deleted, and that it said so; and checkpoints that somebody kept elsewhere.
//!
//! What cannot be checked without such a checkpoint: that the newest segment, which has no footer yet, was not
//! cut off after a whole frame. The report says how many records only the seal vouches for.

use std::fmt;

use portcullis_evidence::Record;
use portcullis_evidence::checkpoint::Checkpoint;
use portcullis_evidence::merkle::Range;
use portcullis_evidence::segment::{Entries, Frame};
use portcullis_evidence::sequence::{Gap, Sequences};

use super::super::proofs::{Depth, Proofs};
use super::{JournalReader, ProofsFault, ReadError, ReadFault, SegmentReader, Step};
use crate::log::Chain;

/// The most findings that a report lists.
const LISTED: usize = 1000;

/// Something that should not be so.
#[derive(Debug, thiserror::Error)]
pub enum Finding {
    /// A segment was altered.
    #[error("segment {number}: altered at block {block}")]
    Altered {
        /// Which one.
        number: u64,
        /// Its first frame that is not good.
        block: u64,
        /// What is wrong.
        #[source]
        cause: ReadFault,
    },
    /// A segment is not there, and retention did not delete it.
    #[error("segment {number}: missing")]
    Missing {
        /// Which one.
        number: u64,
    },
    /// A segment does not continue the log before it.
    #[error("segment {number}: does not follow the one before")]
    Chain {
        /// Which one.
        number: u64,
    },
    /// A segment that is not the newest has no end.
    #[error("segment {number}: has no signed end")]
    NoEnd {
        /// Which one.
        number: u64,
    },
    /// The footer is not a good signature over the records.
    #[error("segment {number}: its signed end does not match its records")]
    Signature {
        /// Which one.
        number: u64,
    },
    /// A worker's numbers have a hole.
    #[error("segment {number}: {gap}")]
    Gap {
        /// Where.
        number: u64,
        /// Which.
        gap: Gap,
    },
    /// The proofs were altered.
    #[error("the proofs were altered")]
    Proofs(#[source] ProofsFault),
    /// A checkpoint that somebody kept does not fit.
    #[error("the record does not continue the checkpoint of {size} records that was kept elsewhere")]
    Anchor {
        /// Its size.
        size: u64,
    },
}

/// What verifying found.
#[derive(Debug, Default)]
pub struct VerifyReport {
    /// Segments that were read.
    pub segments: u64,
    /// Segments that retention deleted and whose proofs are good.
    pub deleted: u64,
    /// Records that were read.
    pub records: u64,
    /// Records in the newest segment that no checkpoint signs yet.
    pub unsigned: u64,
    /// Bytes at the end of the newest segment that are not a whole frame: what the last crash, if there was
    /// one, lost; or a group that is being written at this moment.
    pub torn: u64,
    /// The newest checkpoint.
    pub checkpoint: Option<Checkpoint>,
    /// What should not be so.
    pub findings: Vec<Finding>,
}

impl VerifyReport {
    /// Whether nothing was found that should not be so.
    #[must_use]
    pub fn is_good(&self) -> bool {
        self.findings.is_empty()
    }
}

impl fmt::Display for VerifyReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} records in {} segments", self.records, self.segments)?;
        if self.deleted > 0 {
            writeln!(f, "{} segments deleted by retention, proofs kept", self.deleted)?;
        }
        if let Some(checkpoint) = &self.checkpoint {
            writeln!(f, "signed up to record {} of `{}`", checkpoint.size, checkpoint.origin)?;
        }
        if self.unsigned > 0 {
            writeln!(f, "{} newest records are sealed and not signed yet", self.unsigned)?;
        }
        if self.torn > 0 {
            writeln!(f, "{} bytes at the end are not a whole block", self.torn)?;
        }
        for finding in &self.findings {
            writeln!(f, "FOUND {}", Chain(finding))?;
        }
        let verdict = if self.is_good() { "the record is whole" } else { "THE RECORD WAS TAMPERED WITH" };
        f.write_str(verdict)
    }
}

impl JournalReader {
    /// Verifies everything that is there, and that it continues the checkpoints in `anchors`, which somebody
    /// kept where the owner of this disk could not reach them.
    ///
    /// # Errors
    /// The storage does not answer. Everything else is a finding.
    pub fn verify(&self, anchors: &[Checkpoint]) -> Result<VerifyReport, ReadError> {
        let before = self.numbers()?;
        let report = self.verify_once(&before, anchors)?;
        let after = self.numbers()?;
        // Retention deleted something in the meantime: what was found may be no more than that.
        if !report.is_good() && before.first() != after.first() {
            return self.verify_once(&after, anchors);
        }
        Ok(report)
    }

    fn verify_once(&self, numbers: &[u64], anchors: &[Checkpoint]) -> Result<VerifyReport, ReadError> {
        let bytes = self.storage.proofs().map_err(ReadError::Storage)?;
        let mut check = Check::new(self, anchors);
        match Proofs::parse(&bytes, &self.verifier, Depth::Every) {
            Ok(proofs) => check.proofs(&proofs, numbers.first().copied()),
            Err(cause) => check.find(Finding::Proofs(cause)),
        }
        check.segments(numbers);
        Ok(check.report())
    }
}

struct Check<'a> {
    reader: &'a JournalReader,
    anchors: Vec<&'a Checkpoint>,
    report: VerifyReport,
    /// The log so far.
    whole: Range,
    /// The last numbers; unknown before the first segment, whose opening frame says them.
    last: Option<Sequences>,
    /// The last segment that retention says it deleted.
    said: u64,
    /// Sizes that the proofs sign, with their segment.
    proved: Vec<Checkpoint>,
}

impl<'a> Check<'a> {
    fn new(reader: &'a JournalReader, anchors: &'a [Checkpoint]) -> Self {
        let mut anchors: Vec<_> = anchors.iter().collect();
        anchors.sort_by_key(|anchor| std::cmp::Reverse(anchor.size));
        let (report, whole, proved) = (VerifyReport::default(), Range::empty(0), Vec::new());
        Self { reader, anchors, report, whole, last: None, said: 0, proved }
    }

    fn find(&mut self, finding: Finding) {
        if self.report.findings.len() < LISTED {
            self.report.findings.push(finding);
        }
    }

    /// Takes the place of deleted segments from their proofs.
    fn proofs(&mut self, proofs: &Proofs, first: Option<u64>) {
        let first = first.unwrap_or(u64::MAX);
        for proved in &proofs.segments {
            if proved.checkpoint.segment < first {
                let _ = self.whole.join(&proved.range);
                self.report.deleted += 1;
                self.meet_anchors();
            }
            self.report.checkpoint = Some(proved.checkpoint.clone());
        }
        self.proved = proofs.segments.iter().map(|proved| proved.checkpoint.clone()).collect();
    }

    /// Compares the checkpoints of just this size that were kept elsewhere.
    fn meet_anchors(&mut self) {
        while let Some(anchor) = self.anchors.pop_if(|anchor| anchor.size <= self.whole.end()) {
            let (size, met) = (anchor.size, anchor.size == self.whole.end());
            if !met
                || self.whole.root() != Some(anchor.root)
                || anchor.origin != self.reader.verifier.origin()
            {
                self.find(Finding::Anchor { size });
            }
        }
    }

    fn segments(&mut self, numbers: &[u64]) {
        let first = numbers.first().copied().unwrap_or(1);
        let before = self.report.deleted.saturating_add(1);
        (before..first).take(LISTED).for_each(|number| self.find(Finding::Missing { number }));
        let mut wanted = first;
        for number in numbers {
            (wanted..*number).take(LISTED).for_each(|number| self.find(Finding::Missing { number }));
            wanted = number.saturating_add(1);
            self.segment(*number, numbers.last() == Some(number));
        }
        // What the proofs sign must be there, and retention must have said what it deleted.
        let signed = self.proved.last().map_or(0, |last| last.segment);
        (wanted..=signed).take(LISTED).for_each(|number| self.find(Finding::Missing { number }));
        let deleted = first.saturating_sub(1);
        if deleted > 0 && self.said < deleted {
            self.find(Finding::Missing { number: deleted });
        }
    }

    fn segment(&mut self, number: u64, newest: bool) {
        self.report.segments += 1;
        self.report.unsigned = 0;
        let opened = SegmentReader::open(&*self.reader.storage, &self.reader.key, number);
        let mut segment = match opened {
            Ok(segment) => segment,
            Err(cause) => return self.find(Finding::Altered { number, block: 0, cause }),
        };
        let header = segment.header();
        let follows = header.first == self.whole.end() && Some(header.root_before) == self.whole.root();
        if !follows {
            self.find(Finding::Chain { number });
        }
        loop {
            let block = segment.block();
            match segment.next() {
                Ok(Step::Frame(frame)) => self.frame(number, frame),
                Ok(Step::Closed) => return,
                Ok(Step::Torn(bytes)) if newest => return self.report.torn = bytes,
                Ok(Step::Open) if newest => return self.find_open(number),
                Ok(Step::Torn(_) | Step::Open) => return self.find(Finding::NoEnd { number }),
                Err(cause) => return self.find(Finding::Altered { number, block, cause }),
            }
        }
    }

    /// The newest segment may be open, unless its proof says that it was closed.
    fn find_open(&mut self, number: u64) {
        if self.proved.iter().any(|proved| proved.segment == number) {
            self.find(Finding::NoEnd { number });
        }
    }

    fn frame(&mut self, number: u64, frame: Frame) {
        match frame {
            Frame::Opening(last) => {
                let known = self.last.get_or_insert_with(|| last.clone());
                if *known != last {
                    self.last = Some(last);
                    self.find(Finding::Chain { number });
                }
            }
            Frame::Records(entries) => self.records(number, &entries),
            Frame::Footer(note) => self.footer(number, &note),
        }
    }

    fn records(&mut self, number: u64, entries: &Entries) {
        for entry in entries.iter() {
            let entry = match entry {
                Ok(entry) => entry,
                Err(fault) => {
                    let (block, cause) = (0, ReadFault::Altered(fault));
                    return self.find(Finding::Altered { number, block, cause });
                }
            };
            self.report.records += 1;
            self.report.unsigned += 1;
            self.whole.push(entry.leaf());
            self.meet_anchors();
            let last = self.last.get_or_insert_default();
            if let Err(gap) = last.accept(entry.place.worker, entry.place.sequence) {
                self.find(Finding::Gap { number, gap });
            }
            self.hear(entry.line);
        }
    }

    /// Takes note of a deletion that the record speaks of.
    fn hear(&mut self, line: &[u8]) {
        let spoken = line.windows(15).any(|part| part == b"segment-deleted");
        if let Some(record) = spoken.then(|| Record::parse(line).ok()).flatten()
            && record.event == "keeping"
            && record.text("state") == Some("segment-deleted")
        {
            self.said = self.said.max(record.number("count").unwrap_or(0));
        }
    }

    fn footer(&mut self, number: u64, note: &str) {
        let signed = self.reader.verifier.open(note).ok();
        let matches = |checkpoint: &Checkpoint| {
            checkpoint.size == self.whole.end()
                && Some(checkpoint.root) == self.whole.root()
                && checkpoint.segment == number
        };
        match signed.filter(matches) {
            Some(checkpoint) => {
                self.report.unsigned = 0;
                self.report.checkpoint = Some(checkpoint);
            }
            None => self.find(Finding::Signature { number }),
        }
    }

    /// A checkpoint longer than the record was not met: something is missing at its end.
    fn report(mut self) -> VerifyReport {
        while let Some(anchor) = self.anchors.pop() {
            self.find(Finding::Anchor { size: anchor.size });
        }
        self.report
    }
}
