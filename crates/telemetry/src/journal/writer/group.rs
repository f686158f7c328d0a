//! Turns what waits into sealed frames.

use std::io;

use aws_lc_rs::rand;
use portcullis_core::{Now, UnixMillis};
use portcullis_evidence::leaf::{Place, Salt};
use portcullis_evidence::merkle::Range;
use portcullis_evidence::segment::{Entry, Header, Sealer, SegmentFault};

use super::{Closing, Live, Pace, Trouble, Writer};
use crate::journal::proofs;
use crate::journal::queue::Batch;

/// A frame is sealed when it has grown to this.
const FRAME: usize = 128 * 1024;
/// Salts drawn at once.
const SALTS: usize = 256;

fn cipher(fault: SegmentFault) -> Trouble {
    Trouble::Fatal("the record cannot be sealed; traffic is refused until a restart", io::Error::other(fault))
}

fn no_randomness() -> Trouble {
    Trouble::Fatal("there is no randomness for the record", io::Error::other("the generator failed"))
}

/// A line is bounded far below the size of a frame, so this does not happen.
fn too_large() -> Trouble {
    Trouble::Fatal("a record is larger than a block", io::ErrorKind::FileTooLarge.into())
}

impl Writer {
    /// Takes what waits in every queue and seals it.
    pub(super) fn gather(&mut self, now: Now, pace: Pace) -> Result<(), Trouble> {
        if self.live.is_none() {
            if self.queues.iter().all(|queue| queue.len() == 0) {
                return Ok(());
            }
            self.begin(now.wall)?;
        }
        let announced = std::mem::take(&mut self.announced);
        self.group.announced.extend(announced);
        for at in 0..self.queues.len() {
            let empty = self.spare.get_mut(at).map(std::mem::take).unwrap_or_default();
            let Some(queue) = self.queues.get(at) else { break };
            let (worker, batch) = (queue.worker(), queue.take(empty));
            let taken = self.seal_batch(worker, batch)?;
            if let Some(spare) = self.spare.get_mut(at) {
                *spare = taken;
            }
        }
        self.seal_frame()?;
        self.close_segment(now.wall, pace)
    }

    /// Begins the next segment.
    fn begin(&mut self, now: UnixMillis) -> Result<(), Trouble> {
        let mut random = [0; 32];
        rand::fill(&mut random).map_err(|_| no_randomness())?;
        let header = Header {
            number: self.next,
            first: self.whole.end(),
            time: now,
            key_id: self.keys.seal.id(),
            root_before: self.whole.root().unwrap_or_default(),
            random,
        };
        let mut bytes = Vec::new();
        let sealer = Sealer::begin(&self.keys.seal, &header, &self.last, &mut bytes).map_err(cipher)?;
        self.storage.begin(header.number, &bytes).map_err(Trouble::Writing)?;
        let bytes = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        let range = Range::empty(header.first);
        self.live = Some(Live { number: header.number, sealer, range, bytes, begun: now });
        self.next = self.next.saturating_add(1);
        Ok(())
    }

    fn seal_batch(&mut self, worker: u16, mut batch: Batch) -> Result<Batch, Trouble> {
        for (sequence, time, line) in batch.iter() {
            let salt = self.salt()?;
            self.add(&Entry { place: Place { worker, sequence, time: UnixMillis(time) }, salt, line })?;
        }
        let group = &mut self.group;
        group.oldest = group.oldest.into_iter().chain(batch.oldest).min();
        group.waiters.append(&mut batch.waiters);
        Ok(batch.emptied())
    }

    fn add(&mut self, entry: &Entry<'_>) -> Result<(), Trouble> {
        let leaf = match self.contents.push(entry) {
            Some(leaf) => leaf,
            None => {
                self.seal_frame()?;
                self.contents.push(entry).ok_or_else(too_large)?
            }
        };
        self.whole.push(leaf);
        if let Some(live) = &mut self.live {
            live.range.push(leaf);
        }
        self.last.resume(entry.place.worker, entry.place.sequence);
        self.group.lines += 1;
        if self.mirror.is_some() {
            self.group.mirrored.extend_from_slice(entry.line);
            self.group.mirrored.push(b'\n');
        }
        if self.contents.len() >= FRAME { self.seal_frame() } else { Ok(()) }
    }

    fn seal_frame(&mut self) -> Result<(), Trouble> {
        if let Some(live) = self.live.as_mut().filter(|_| !self.contents.is_empty()) {
            live.sealer.records(&self.contents, &mut self.group.sealed).map_err(cipher)?;
            self.contents.clear();
        }
        Ok(())
    }

    fn salt(&mut self) -> Result<Salt, Trouble> {
        if self.salts.is_empty() {
            self.salts.resize(SALTS * 16, 0);
            rand::fill(&mut self.salts).map_err(|_| no_randomness())?;
        }
        let salt = self.salts.last_chunk::<16>().copied().ok_or_else(no_randomness)?;
        self.salts.truncate(self.salts.len() - 16);
        Ok(salt)
    }

    /// Signs and ends the segment if it is large or old enough, or the last.
    fn close_segment(&mut self, now: UnixMillis, pace: Pace) -> Result<(), Trouble> {
        let sealed = u64::try_from(self.group.sealed.len()).unwrap_or(u64::MAX);
        let due = |live: &mut Live| {
            let bytes = live.bytes.saturating_add(sealed);
            pace == Pace::Last || self.plan.closes(bytes, now.since(live.begun))
        };
        let Some(live) = self.live.take_if(due) else { return Ok(()) };
        let root = self.whole.root().unwrap_or_default();
        let note = self.keys.sign.sign(self.whole.end(), root, now, live.number);
        live.sealer.end(&note, &mut self.group.sealed).map_err(cipher)?;
        let line = proofs::line(live.number, &note, &live.range);
        self.group.closing = Some(Closing { number: live.number, line, bytes: live.bytes });
        Ok(())
    }
}
