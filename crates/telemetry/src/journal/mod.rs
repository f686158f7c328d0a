//! The journal: where a process keeps its record, sealed and provable.
//!
//! ```text
//! worker 0 ─ Recorder ─ queue ┐                          ┌ segments  000000000001.segment …
//! worker 1 ─ Recorder ─ queue ┼─ writer (one thread) ────┼ proofs    one line for each closed segment
//! process  ─ Recorder ─ queue ┘  salt, hash, seal, sync  └ mirror    JSON lines, after they are safe
//! ```
//!
//! Durability, stated: the writer lets records gather for two fifths of the group time (50 ms unless the plan
//! says less), then writes and syncs them together; the longest time that any record waited is measured and
//! shown. Who needs more certainty waits for [`Synced`].
//!
//! INVARIANT: a record is acknowledged only after the sync that covers it.
//! INVARIANT: when the disk is full, the quota used up, or writing fails, places in the record are refused, and
//! so is the traffic that needs them.
//!
//! Not here: who may read the record; that is asked and recorded where the reading is done.
//!
//! Sources: DESIGN §4, §5; SS028-11.6.1, 11.6.2; MS-SS-5.

mod directory;
mod mirror;
mod plan;
mod proofs;
mod queue;
pub mod read;
mod recorder;
mod recover;
mod retention;
mod state;
mod storage;
mod writer;

use std::sync::Arc;
use std::thread::JoinHandle;

pub use directory::Directory;
pub use mirror::Mirror;
pub use plan::{JournalKeys, JournalPlan, PlanFault};
use portcullis_core::{Clock, Name};
use queue::Queue;
pub use queue::QueuePlan;
pub use recorder::{Recorder, Slot, Synced};
pub use recover::OpenError;
use state::{Bell, Gate};
pub use state::{JournalState, Mode, QuotaAlarm};
pub use storage::{SegmentFile, Storage, Stored};
use writer::Writer;

use crate::log::Log;
use crate::metrics::Metrics;

/// The worker number of the process itself: its start, its changes, news of the record.
pub const PROCESS: u16 = u16::MAX;

/// Why there is no place in the record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Full {
    /// As many requests are in flight as there are places.
    #[error("every place in the record is taken")]
    Slots,
    /// More waits to be written than the queue holds.
    #[error("the record's queue is full")]
    Queue,
    /// The journal may not take more of the disk.
    #[error("the record's quota is used up")]
    Quota,
    /// The journal cannot be written.
    #[error("the record cannot be written")]
    Failing,
}

impl Full {
    const ALL: [Self; 4] = [Self::Slots, Self::Queue, Self::Quota, Self::Failing];

    /// The stable word of it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Slots => "slots",
            Self::Queue => "queue",
            Self::Quota => "quota",
            Self::Failing => "failing",
        }
    }
}

/// The record that was waited for is not safe.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the record could not be made safe on the disk")]
pub struct NotRecorded;

/// What a journal stands on.
pub struct JournalParts {
    /// Where it is kept.
    pub storage: Box<dyn Storage>,
    /// What tells the time.
    pub clock: Arc<dyn Clock>,
    /// Where it counts.
    pub metrics: Arc<Metrics>,
    /// Where it complains.
    pub log: Arc<Log>,
    /// Where each line goes besides, once it is safe.
    pub mirror: Option<Mirror>,
}

/// A journal that is open for writing.
#[derive(Debug)]
pub struct Journal {
    recorders: Vec<Recorder>,
    process: Recorder,
    gate: Arc<Gate>,
    thread: Option<JoinHandle<()>>,
}

impl Journal {
    /// Opens the journal: recovers what a dead process left, records the start, and begins to write.
    ///
    /// # Errors
    /// The storage cannot be read or written, or what it holds is not a journal of these keys.
    pub fn open(plan: &JournalPlan, keys: JournalKeys, parts: JournalParts) -> Result<Self, OpenError> {
        let (mut writer, clock) = Writer::open(plan, keys, parts)?;
        let (gate, queues) = (writer.gate(), writer.queues().to_vec());
        let recorder = |queue: &Arc<Queue>| Recorder::new(Arc::clone(queue), Arc::clone(&gate));
        let all: Vec<_> = queues.iter().map(recorder).collect();
        let (process, recorders) = all.split_last().ok_or(OpenError::NoWorkers)?;
        let group = plan.group();
        let thread = std::thread::Builder::new().name("journal".to_owned());
        let thread = thread.spawn(move || writer.run(group, &*clock)).map_err(OpenError::Thread)?;
        Ok(Self { recorders: recorders.to_vec(), process: process.clone(), gate, thread: Some(thread) })
    }

    /// The recorder of a worker; `None` if the plan has fewer.
    #[must_use]
    pub fn recorder(&self, worker: u16) -> Option<Recorder> {
        self.recorders.get(usize::from(worker)).cloned()
    }

    /// The recorder of the process itself.
    #[must_use]
    pub fn process(&self) -> Recorder {
        self.process.clone()
    }

    /// The journal's condition.
    #[must_use]
    pub fn state(&self) -> JournalState {
        self.gate.state()
    }

    /// Writes what waits, closes the segment with a signed checkpoint, and ends the writer.
    pub fn stop(mut self) {
        self.finish();
    }

    fn finish(&mut self) {
        self.gate.bell().ring(Bell::STOP);
        if let Some(thread) = self.thread.take() {
            // A writer that panicked has closed its queues by being dropped.
            let _ = thread.join();
        }
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        self.finish();
    }
}

/// The queues of all workers; the process's own is the last.
fn queues(plan: &JournalPlan, last: impl Fn(u16) -> u64) -> Vec<Arc<Queue>> {
    let environment: &Name = plan.environment();
    let queue = |worker| Arc::new(Queue::new(worker, last(worker), environment.clone(), plan.queue()));
    (0..plan.workers()).chain([PROCESS]).map(queue).collect()
}

#[cfg(test)]
mod tests;
