//! How much, how long, how often: the numbers of a journal, checked once.

use std::time::Duration;

use portcullis_core::{ByteSize, Millis, Name};
use portcullis_evidence::CheckpointKey;
use portcullis_evidence::segment::JournalKey;

use super::QueuePlan;

/// The keys of a journal.
#[derive(Debug)]
pub struct JournalKeys {
    /// Seals its segments.
    pub seal: JournalKey,
    /// Signs its checkpoints.
    pub sign: CheckpointKey,
}

/// How a journal is kept.
#[derive(Clone, Debug)]
pub struct JournalPlan {
    environment: Name,
    workers: u16,
    queue: QueuePlan,
    quota: u64,
    group: Duration,
    segment_bytes: u64,
    segment_age: Duration,
    keep_age: Option<Duration>,
    keep_bytes: Option<u64>,
}

/// Why a journal cannot be kept so.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlanFault {
    /// No worker, or more than there are numbers.
    #[error("a journal has 1 to 1024 workers")]
    Workers,
    /// No slot.
    #[error("a journal has at least one slot for a request")]
    Slots,
    /// The quota holds no useful number of segments.
    #[error("a journal's quota is at least `8MiB` and eight times its segment size")]
    Quota,
    /// Syncing more rarely than is promised.
    #[error("a journal syncs its records at least every `50ms`")]
    Group,
    /// Retention that could not be kept to.
    #[error("a journal keeps at least two segments and no more bytes than 60 % of its quota")]
    Keep,
}

impl JournalPlan {
    /// The largest segment unless told otherwise.
    const SEGMENT: ByteSize = ByteSize::kib(32 * 1024);
    const SMALLEST_QUOTA: u64 = 8 << 20;

    /// A plan with the usual segments (32 MiB or one hour), 50 ms groups, and no deletion.
    ///
    /// # Errors
    /// A number is out of its range.
    pub fn new(
        environment: Name,
        workers: u16,
        queue: QueuePlan,
        quota: ByteSize,
    ) -> Result<Self, PlanFault> {
        if !(1..=1024).contains(&workers) {
            return Err(PlanFault::Workers);
        }
        if queue.slots == 0 {
            return Err(PlanFault::Slots);
        }
        let plan = Self {
            environment,
            workers,
            queue,
            quota: quota.get(),
            group: Duration::from_millis(50),
            segment_bytes: Self::SEGMENT.get().min(quota.get() / 8),
            segment_age: Duration::from_secs(3600),
            keep_age: None,
            keep_bytes: None,
        };
        if plan.quota < Self::SMALLEST_QUOTA { Err(PlanFault::Quota) } else { Ok(plan) }
    }

    /// The same, syncing within `span`.
    ///
    /// # Errors
    /// More than 50 ms.
    pub fn sync_within(mut self, span: Millis) -> Result<Self, PlanFault> {
        self.group = span.as_duration();
        if span.get() > 50 { Err(PlanFault::Group) } else { Ok(self) }
    }

    /// The same, with other segments.
    ///
    /// # Errors
    /// The quota holds fewer than eight of them.
    pub fn segments(mut self, bytes: ByteSize, age: Millis) -> Result<Self, PlanFault> {
        (self.segment_bytes, self.segment_age) = (bytes.get(), age.as_duration());
        if bytes.get() == 0 || bytes.get() > self.quota / 8 { Err(PlanFault::Quota) } else { Ok(self) }
    }

    /// The same, deleting closed segments that are older than `age`, and the oldest beyond `bytes`. Their
    /// proofs are kept.
    ///
    /// # Errors
    /// `bytes` is more than 60 % of the quota, so that deletion would begin after the first alarm, or less than
    /// two segments.
    pub fn keep(mut self, age: Option<Millis>, bytes: Option<ByteSize>) -> Result<Self, PlanFault> {
        self.keep_age = age.map(Millis::as_duration);
        self.keep_bytes = bytes.map(ByteSize::get);
        let range = self.segment_bytes.saturating_mul(2)..=self.quota / 100 * 60;
        if self.keep_bytes.is_some_and(|bytes| !range.contains(&bytes)) {
            return Err(PlanFault::Keep);
        }
        Ok(self)
    }

    pub(super) fn environment(&self) -> &Name {
        &self.environment
    }

    pub(super) fn workers(&self) -> u16 {
        self.workers
    }

    pub(super) fn queue(&self) -> QueuePlan {
        self.queue
    }

    pub(super) fn quota(&self) -> u64 {
        self.quota
    }

    /// The part of the quota that only refusals may use.
    pub(super) fn reserve(&self) -> u64 {
        self.quota / 16
    }

    pub(super) fn group(&self) -> Duration {
        self.group
    }

    /// Whether a segment of this length and age is to be closed.
    pub(super) fn closes(&self, bytes: u64, age: Duration) -> bool {
        bytes >= self.segment_bytes || age >= self.segment_age
    }

    pub(super) fn keep_age(&self) -> Option<Duration> {
        self.keep_age
    }

    pub(super) fn keep_bytes(&self) -> Option<u64> {
        self.keep_bytes
    }
}
