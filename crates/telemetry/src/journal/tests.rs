//! The journal on a disk of its own making: crashes, faults, tampering.

mod disk;
mod faults;
mod house;
mod tamper;
mod threads;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

pub(super) use disk::Disk;
use portcullis_core::{ByteSize, Clock, Millis, Name, Now, RequestId, Sensitive, UnixMillis};
use portcullis_evidence::event::{Actor, Admin, AdminAction, Permission};
use portcullis_evidence::segment::JournalKey;
use portcullis_evidence::{CheckpointKey, Event, SafeText};

use super::read::{JournalReader, Query, VerifyReport};
use super::writer::{Pace, Writer};
use super::*;
use crate::log::{Level, LogForm};

/// A clock that moves when it is told to.
#[derive(Debug)]
pub(super) struct Hands {
    zero: Instant,
    millis: AtomicU64,
}

impl Hands {
    #[expect(clippy::disallowed_methods, reason = "any instant will do as zero")]
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self { zero: Instant::now(), millis: AtomicU64::new(0) })
    }

    pub(super) fn turn(&self, span: Duration) {
        self.millis.fetch_add(u64::try_from(span.as_millis()).expect("fits"), Ordering::Relaxed);
    }
}

impl Clock for Hands {
    fn now(&self) -> Now {
        let past = self.millis.load(Ordering::Relaxed);
        let wall = UnixMillis(1_760_000_000_000 + past);
        Now { wall, mono: self.zero + Duration::from_millis(past) }
    }
}

pub(super) fn keys() -> JournalKeys {
    let sign = CheckpointKey::new("edge/journal", &Sensitive::new([2; 32])).expect("a key");
    JournalKeys { seal: JournalKey::new(Sensitive::new([1; 32])), sign }
}

pub(super) fn plan() -> JournalPlan {
    let queue = QueuePlan { slots: 64, rated: 1000 };
    let environment = Name::parse("test").expect("a name");
    JournalPlan::new(environment, 2, queue, ByteSize::kib(8 * 1024)).expect("a plan")
}

/// The same with segments of `kib` KiB.
pub(super) fn small(kib: u32) -> JournalPlan {
    plan().segments(ByteSize::kib(kib), Millis::from_secs(3600)).expect("a plan")
}

pub(super) fn parts(disk: &Disk, clock: &Arc<Hands>) -> JournalParts {
    JournalParts {
        storage: Box::new(disk.clone()),
        clock: Arc::clone(clock) as Arc<dyn Clock>,
        metrics: Arc::default(),
        log: Arc::new(Log::to(Box::new(std::io::sink()), "test", LogForm::Text, Level::Error)),
        mirror: None,
    }
}

/// A writer whose turns the test takes itself, and the recorders of its two workers.
pub(super) struct Bench {
    pub(super) writer: Writer,
    pub(super) workers: Vec<Recorder>,
    pub(super) clock: Arc<Hands>,
    pub(super) disk: Disk,
}

impl Bench {
    pub(super) fn open(plan: &JournalPlan, disk: &Disk) -> Result<Self, OpenError> {
        Self::with(plan, disk, &Hands::new())
    }

    pub(super) fn with(plan: &JournalPlan, disk: &Disk, clock: &Arc<Hands>) -> Result<Self, OpenError> {
        let (writer, _) = Writer::open(plan, keys(), parts(disk, clock))?;
        let gate = writer.gate();
        let recorder = |queue: &Arc<Queue>| Recorder::new(Arc::clone(queue), Arc::clone(&gate));
        let workers = writer.queues().iter().map(recorder).collect();
        Ok(Self { writer, workers, clock: Arc::clone(clock), disk: disk.clone() })
    }

    pub(super) fn now(&self) -> Now {
        self.clock.now()
    }

    /// Records one line about `subject`.
    pub(super) fn record(&self, worker: usize, subject: &str) {
        let recorded = self.workers[worker].record(self.now(), id(subject), &event(subject));
        recorded.expect("there is room");
    }

    pub(super) fn turn(&mut self) -> bool {
        let clock = Arc::clone(&self.clock);
        self.writer.turn(&*clock, Pace::On).is_ok()
    }

    /// Ends as a process does that is told to stop.
    pub(super) fn stop(mut self) {
        let clock = Arc::clone(&self.clock);
        assert!(self.writer.persist(&*clock, Pace::Last));
    }
}

pub(super) fn id(text: &str) -> RequestId {
    let number = text.bytes().fold(7u128, |sum, byte| sum.wrapping_mul(131).wrapping_add(byte.into()));
    RequestId::new(UnixMillis(1_760_000_000_000), number)
}

pub(super) fn event(subject: &str) -> Event<'_> {
    Event::Admin(Admin {
        action: AdminAction::Inspect,
        actor: Actor::Uid(7),
        permission: Permission::Allowed,
        subject: SafeText::new(subject),
    })
}

pub(super) fn reader(disk: &Disk) -> JournalReader {
    JournalReader::new(Box::new(disk.clone()), keys().seal, keys().sign.verifier())
}

pub(super) fn verify(disk: &Disk) -> VerifyReport {
    reader(disk).verify(&[]).expect("the disk answers")
}

/// The subjects of the recorded lines, in the order of the journal.
pub(super) fn subjects(disk: &Disk) -> Vec<String> {
    let mut found = Vec::new();
    let query = Query { event: Some("admin".to_owned()), ..Query::default() };
    let asked = reader(disk).query(&query, |record, _| {
        found.extend(record.text("subject").map(str::to_owned));
        std::ops::ControlFlow::Continue(())
    });
    asked.expect("readable");
    found
}
