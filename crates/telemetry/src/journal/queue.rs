//! What waits between a worker and the writer.
//!
//! A worker encodes its records into one buffer under a short lock; the writer swaps the buffer for an empty
//! one. Nothing is allocated and nothing is copied on the way but the swap.
//!
//! INVARIANT: a sequence number is given under the same lock under which its record enters the buffer, so the
//! records of one worker lie in the order of their numbers and no number is left out.
//! INVARIANT: who holds a reservation always finds room.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use portcullis_core::{Name, Now, RequestId};
use portcullis_evidence::{Event, Stamp};
use tokio::sync::oneshot;

use super::Full;

/// What a record of a request is reckoned at, in bytes, until it is written.
const RECKONED: usize = 1024;
/// How many lines a request writes: that it was decided, and that it ended.
const LINES: usize = 2;

/// Told when a record is safe, or dropped when it never will be.
pub(super) type Waiter = oneshot::Sender<()>;

/// How much one worker's queue holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueuePlan {
    /// Requests that may be in flight on one worker.
    pub slots: usize,
    /// Lines a second at rated load; the queue holds two seconds of them.
    pub rated: usize,
}

impl QueuePlan {
    /// Lines that the queue holds in all.
    #[must_use]
    pub fn lines(&self) -> usize {
        let slots = self.slots.saturating_mul(LINES);
        slots.saturating_add(self.rated.saturating_mul(2)).saturating_add(Self::RESERVE)
    }

    /// Lines kept free for refusals and for events of the process itself.
    const RESERVE: usize = 256;
}

/// The records of one worker that the writer has taken.
#[derive(Debug, Default)]
pub(super) struct Batch {
    /// (length u32, sequence u64, time u64, line)*, native byte order.
    pub(super) bytes: Vec<u8>,
    pub(super) lines: usize,
    pub(super) oldest: Option<Instant>,
    pub(super) waiters: Vec<Waiter>,
}

#[derive(Debug, Default)]
struct Inside {
    waiting: Batch,
    reserved: usize,
    last: u64,
    /// Nobody will ever take what is added.
    closed: bool,
}

/// One worker's queue.
#[derive(Debug)]
pub(super) struct Queue {
    worker: u16,
    environment: Name,
    plan: QueuePlan,
    inside: Mutex<Inside>,
}

/// Who asks for room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Room {
    /// A request, before it is served.
    Request,
    /// A refusal, or an event of the process: may use the reserve.
    Reserve,
    /// Whoever reserved before.
    Reserved,
}

/// Whether the writer should be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Added {
    /// The first line in an empty queue.
    First,
    /// One more.
    More,
    /// The queue is half full: do not wait any longer.
    Half,
}

impl Queue {
    pub(super) fn new(worker: u16, last: u64, environment: Name, plan: QueuePlan) -> Self {
        Self { worker, environment, plan, inside: Mutex::new(Inside { last, ..Inside::default() }) }
    }

    pub(super) fn worker(&self) -> u16 {
        self.worker
    }

    fn lock(&self) -> MutexGuard<'_, Inside> {
        // A panic elsewhere leaves whole frames or a torn last one, which the writer refuses.
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a line more fits, with room for every reservation.
    fn fits(&self, inside: &Inside, room: Room) -> bool {
        let (waiting, reserved) = (&inside.waiting, inside.reserved);
        let reserve = if room == Room::Request { QueuePlan::RESERVE } else { 0 };
        let wanted = if room == Room::Request { LINES } else { 1 };
        let lines = waiting.lines + reserved * LINES + reserve + wanted;
        let bytes = waiting.bytes.len() + (reserved * LINES + reserve + wanted) * RECKONED;
        lines <= self.plan.lines() && bytes <= self.plan.lines() * RECKONED
    }

    /// Takes a place for the lines of one request.
    pub(super) fn reserve(&self) -> Result<(), Full> {
        let mut inside = self.lock();
        if inside.reserved >= self.plan.slots {
            return Err(Full::Slots);
        }
        if !self.fits(&inside, Room::Request) {
            return Err(Full::Queue);
        }
        inside.reserved += 1;
        Ok(())
    }

    /// Gives the place back.
    pub(super) fn release(&self) {
        let mut inside = self.lock();
        inside.reserved = inside.reserved.saturating_sub(1);
    }

    /// Encodes an event into the queue.
    pub(super) fn add(
        &self,
        now: Now,
        id: RequestId,
        event: &Event<'_>,
        room: Room,
        waiter: Option<Waiter>,
    ) -> Result<Added, Full> {
        let mut inside = self.lock();
        if inside.closed {
            return Err(Full::Failing);
        }
        if room != Room::Reserved && !self.fits(&inside, room) {
            return Err(Full::Queue);
        }
        inside.last = inside.last.saturating_add(1);
        let stamp = Stamp {
            id,
            time: now.wall,
            worker: self.worker,
            sequence: inside.last,
            environment: &self.environment,
        };
        let batch = &mut inside.waiting;
        batch.frame(&stamp, event);
        batch.waiters.extend(waiter);
        batch.oldest.get_or_insert(now.mono);
        Ok(match batch.lines {
            1 => Added::First,
            lines if lines * 2 > self.plan.lines() => Added::Half,
            _ => Added::More,
        })
    }

    /// Swaps what waits for `empty`.
    pub(super) fn take(&self, empty: Batch) -> Batch {
        std::mem::replace(&mut self.lock().waiting, empty)
    }

    /// Takes nothing any more, and tells those who wait that nothing will come.
    pub(super) fn close(&self) {
        let mut inside = self.lock();
        inside.closed = true;
        inside.waiting = Batch::default();
    }

    /// Tells those who wait that their records are not safe; the records stay.
    pub(super) fn disappoint(&self) {
        self.lock().waiting.waiters.clear();
    }

    pub(super) fn len(&self) -> usize {
        self.lock().waiting.lines
    }
}

impl Batch {
    fn frame(&mut self, stamp: &Stamp<'_>, event: &Event<'_>) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(&[0; 4]);
        self.bytes.extend_from_slice(&stamp.sequence.to_ne_bytes());
        self.bytes.extend_from_slice(&stamp.time.0.to_ne_bytes());
        let text = self.bytes.len();
        event.write_json(stamp, &mut self.bytes);
        let length = u32::try_from(self.bytes.len() - text).unwrap_or(u32::MAX);
        if let Some(prefix) = self.bytes.get_mut(start..).and_then(|rest| rest.first_chunk_mut::<4>()) {
            *prefix = length.to_ne_bytes();
        }
        self.lines += 1;
    }

    /// Each record as (sequence, time, line).
    pub(super) fn iter(&self) -> impl Iterator<Item = (u64, u64, &[u8])> {
        let mut rest = self.bytes.as_slice();
        std::iter::from_fn(move || {
            let (length, after) = rest.split_first_chunk::<4>()?;
            let (sequence, after) = after.split_first_chunk::<8>()?;
            let (time, after) = after.split_first_chunk::<8>()?;
            let length = usize::try_from(u32::from_ne_bytes(*length)).ok()?;
            let (line, after) = after.split_at_checked(length)?;
            rest = after;
            Some((u64::from_ne_bytes(*sequence), u64::from_ne_bytes(*time), line))
        })
    }

    /// Forgets the records and keeps the memory, unless it grew far beyond what was used.
    pub(super) fn emptied(mut self) -> Self {
        let idle = self.bytes.capacity() > (1 << 20) && self.bytes.len() < self.bytes.capacity() / 8;
        self.bytes.clear();
        if idle {
            self.bytes.shrink_to(64 * 1024);
        }
        self.waiters.clear();
        Self { lines: 0, oldest: None, ..self }
    }
}
