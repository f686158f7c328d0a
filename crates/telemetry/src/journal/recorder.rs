//! A worker's hand on the journal.
//!
//! ```text
//! reserve ── Slot ── record (decided) ── … ── record (ended) ── drop: the place is free again
//!    └─ Full: the request is refused with `cannot-record`, and that refusal has a reserve of its own
//! ```
//!
//! INVARIANT: there are as many slots as requests may be in flight, so a request that is served has its place
//! in the record before its first byte goes on.
//!
//! Sources: DESIGN §4 (what cannot be recorded is not served); SS028-11.6.2a.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use portcullis_core::{Now, RequestId};
use portcullis_evidence::Event;
use tokio::sync::oneshot;

use super::queue::{Added, Queue, Room, Waiter};
use super::state::{Bell, Gate, Mode};
use super::{Full, NotRecorded};

/// One worker's way into the journal. Clones share one sequence and one queue.
#[derive(Clone, Debug)]
pub struct Recorder {
    queue: Arc<Queue>,
    gate: Arc<Gate>,
}

/// The place of one request in the record.
#[derive(Debug)]
pub struct Slot {
    recorder: Recorder,
}

/// Resolves when a record is safe on the disk.
#[derive(Debug)]
#[must_use = "the effect may only follow once the record is safe"]
pub struct Synced(oneshot::Receiver<()>);

impl Recorder {
    pub(super) fn new(queue: Arc<Queue>, gate: Arc<Gate>) -> Self {
        Self { queue, gate }
    }

    /// Takes a place for one request, before anything is done for it.
    ///
    /// # Errors
    /// There is no room, or the journal cannot write: refuse with `cannot-record`.
    pub fn reserve(&self) -> Result<Slot, Full> {
        let taken = self.gate.admit(Mode::Open).and_then(|()| self.queue.reserve());
        taken.inspect_err(|full| self.gate.count(*full))?;
        Ok(Slot { recorder: self.clone() })
    }

    /// Records an event that has no slot: a connection, a refusal, a change. It may use the reserve.
    ///
    /// # Errors
    /// Even the reserve is used up, or the journal cannot write. Whoever can, counts the event and tries again.
    pub fn record(&self, now: Now, id: RequestId, event: &Event<'_>) -> Result<(), Full> {
        self.gate.admit(Mode::ReserveOnly)?;
        self.add(now, id, event, Room::Reserve, None)
    }

    /// Records an event whose effect waits until the record is safe: an issue, a change.
    ///
    /// # Errors
    /// As [`Self::record`].
    pub fn record_synced(&self, now: Now, id: RequestId, event: &Event<'_>) -> Result<Synced, Full> {
        self.gate.admit(Mode::ReserveOnly)?;
        let (waiter, synced) = oneshot::channel();
        self.add(now, id, event, Room::Reserve, Some(waiter))?;
        Ok(Synced(synced))
    }

    /// The worker whose sequence this continues.
    #[must_use]
    pub fn worker(&self) -> u16 {
        self.queue.worker()
    }

    fn add(
        &self,
        now: Now,
        id: RequestId,
        event: &Event<'_>,
        room: Room,
        waiter: Option<Waiter>,
    ) -> Result<(), Full> {
        let urgent = waiter.is_some();
        let added = self.queue.add(now, id, event, room, waiter)?;
        match added {
            _ if urgent => self.gate.bell().ring(Bell::URGENT),
            Added::Half => self.gate.bell().ring(Bell::URGENT),
            Added::First => self.gate.bell().ring(Bell::SOON),
            Added::More => {}
        }
        Ok(())
    }
}

impl Slot {
    /// Records an event of the request; there is always room for it.
    pub fn record(&self, now: Now, id: RequestId, event: &Event<'_>) {
        // A reservation finds room (invariant of the queue), so there is no error to pass on.
        let _ = self.recorder.add(now, id, event, Room::Reserved, None);
    }

    /// Records an event whose effect waits until the record is safe: `decided` of a route of high sensitivity.
    pub fn record_synced(&self, now: Now, id: RequestId, event: &Event<'_>) -> Synced {
        let (waiter, synced) = oneshot::channel();
        let _ = self.recorder.add(now, id, event, Room::Reserved, Some(waiter));
        Synced(synced)
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.recorder.queue.release();
    }
}

impl Synced {
    /// Waits on a thread of its own; never on one that serves requests.
    ///
    /// # Errors
    /// The record could not be made safe.
    pub fn wait(self) -> Result<(), NotRecorded> {
        self.0.blocking_recv().map_err(|_| NotRecorded)
    }
}

impl Future for Synced {
    type Output = Result<(), NotRecorded>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(cx).map_err(|_| NotRecorded)
    }
}
