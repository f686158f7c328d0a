//! The one thread that writes the journal.
//!
//! A turn: take what waits, salt and hash each record, seal them into frames (`group`), append and sync, then
//! acknowledge (`commit`). When writing fails the sealed bytes are kept and tried again, unaltered; nothing new
//! is taken meanwhile, so the queues fill and places are refused. When syncing fails the journal stops: what a
//! failed sync left in the page cache cannot be known, and trying again would pretend that it can.
//!
//! INVARIANT: leaves enter the Merkle log in the order in which their records are written.

mod commit;
mod group;

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use aws_lc_rs::rand;
use portcullis_core::{Clock, Now, RequestId};
use portcullis_evidence::SafeText;
use portcullis_evidence::event::{Event, Keeping, RecordState, Start};
use portcullis_evidence::merkle::Range;
use portcullis_evidence::segment::{Contents, Sealer};
use portcullis_evidence::sequence::Sequences;

use super::queue::{Batch, Queue, Room, Waiter};
use super::recover::{Closed, recover};
use super::state::{Bell, Gate, Mode, QuotaAlarm};
use super::{JournalKeys, JournalParts, JournalPlan, Mirror, OpenError, Storage, queues};
use crate::log::{Chain, Level, Log};

/// How long the writer sleeps at most: retention by age is looked at then.
const IDLE: Duration = Duration::from_secs(10);
/// How long it waits before it tries a failed write again.
const RETRY: Duration = Duration::from_secs(1);

/// The segment that is being written.
struct Live {
    number: u64,
    sealer: Sealer,
    range: Range,
    /// Bytes of it that are safe.
    bytes: u64,
    begun: portcullis_core::UnixMillis,
}

/// A segment whose footer is in the group that is being written.
struct Closing {
    number: u64,
    line: Vec<u8>,
    bytes: u64,
}

/// Sealed records on their way to the disk.
#[derive(Default)]
struct Group {
    sealed: Vec<u8>,
    lines: u64,
    oldest: Option<Instant>,
    waiters: Vec<Waiter>,
    /// Their text, if there is a mirror.
    mirrored: Vec<u8>,
    closing: Option<Closing>,
    /// Segments whose deletion this group announces.
    announced: Vec<Closed>,
}

/// What went wrong in a turn.
#[derive(Debug)]
pub(super) enum Trouble {
    /// Try again: nothing is lost.
    Writing(io::Error),
    /// Nothing can be promised any more.
    Fatal(&'static str, io::Error),
}

/// Whether more is to come.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Pace {
    /// It is.
    On,
    /// No: close the segment.
    Last,
}

pub(super) struct Writer {
    plan: JournalPlan,
    keys: JournalKeys,
    storage: Box<dyn Storage>,
    log: Arc<Log>,
    mirror: Option<Mirror>,
    gate: Arc<Gate>,
    queues: Vec<Arc<Queue>>,
    spare: Vec<Batch>,
    contents: Contents,
    salts: Vec<u8>,
    whole: Range,
    last: Sequences,
    live: Option<Live>,
    next: u64,
    group: Group,
    /// The segment may hold a part of a group that failed.
    dirty: bool,
    closed: VecDeque<Closed>,
    proofs: u64,
    /// Segments whose deletion waits in the queue to be recorded.
    announced: Vec<Closed>,
    /// Whether deleting failed and the operator knows.
    stuck: bool,
    alarm: QuotaAlarm,
    dropped: u64,
}

impl Writer {
    /// Recovers the journal and records the start.
    pub(super) fn open(
        plan: &JournalPlan,
        keys: JournalKeys,
        parts: JournalParts,
    ) -> Result<(Self, Arc<dyn Clock>), OpenError> {
        let JournalParts { mut storage, clock, metrics, log, mirror } = parts;
        let now = clock.now();
        let found = recover(&mut *storage, &keys, now.wall)?;
        let queues = queues(plan, |worker| found.last.next(worker).saturating_sub(1));
        let mut writer = Self {
            plan: plan.clone(),
            spare: queues.iter().map(|_| Batch::default()).collect(),
            gate: Arc::new(Gate::new(plan.quota(), metrics)),
            contents: Contents::default(),
            salts: Vec::new(),
            live: None,
            group: Group::default(),
            dirty: false,
            announced: Vec::new(),
            stuck: false,
            alarm: QuotaAlarm::Quiet,
            dropped: 0,
            whole: found.whole,
            last: found.last,
            next: found.next,
            closed: found.closed.into(),
            proofs: found.proofs,
            keys,
            storage,
            log,
            mirror,
            queues,
        };
        let start =
            Start { version: env!("CARGO_PKG_VERSION"), pid: std::process::id(), previous: found.previous };
        writer.note(now, &Event::Start(start));
        writer.turn(&*clock, Pace::On).map_err(Trouble::at_start)?;
        Ok((writer, clock))
    }

    pub(super) fn gate(&self) -> Arc<Gate> {
        Arc::clone(&self.gate)
    }

    pub(super) fn queues(&self) -> &[Arc<Queue>] {
        &self.queues
    }

    /// Writes until told to stop, or until nothing can be promised any more.
    pub(super) fn run(&mut self, group: Duration, clock: &dyn Clock) {
        let gather = group * 2 / 5;
        loop {
            let mut rung = self.gate.bell().wait(Bell::SOON, IDLE);
            if rung == Bell::SOON {
                rung = self.gate.bell().wait(Bell::URGENT, gather);
            }
            self.gate.bell().hush();
            let pace = if rung == Bell::STOP { Pace::Last } else { Pace::On };
            if !self.persist(clock, pace) || pace == Pace::Last {
                return;
            }
        }
    }

    /// Takes a turn, and takes it again until it succeeds; `false` if it never will.
    pub(super) fn persist(&mut self, clock: &dyn Clock, pace: Pace) -> bool {
        if pace == Pace::Last {
            self.note(clock.now(), &Event::Stop);
        }
        loop {
            let Err(trouble) = self.turn(clock, pace) else { return true };
            self.complain(clock.now(), &trouble);
            let stopping = || self.gate.bell().wait(Bell::STOP, RETRY) == Bell::STOP;
            if matches!(trouble, Trouble::Fatal(..)) || stopping() {
                return false;
            }
        }
    }

    /// SECURITY: from here on no place in the record is given, so nothing is served that would not be recorded.
    pub(super) fn complain(&mut self, now: Now, trouble: &Trouble) {
        let (mode, message, cause) = match trouble {
            Trouble::Writing(cause) => {
                (Mode::Failing, "the record cannot be written; traffic is refused", cause)
            }
            Trouble::Fatal(what, cause) => (Mode::Stopped, *what, cause),
        };
        let already = self.gate.mode() == mode;
        self.gate.set_mode(mode);
        self.gate.metrics().record_failures.inc();
        self.group.waiters.clear();
        self.queues.iter().for_each(|queue| queue.disappoint());
        if !already {
            self.log.say(now.wall, Level::Error, message, &[("cause", &Chain(cause))]);
        }
    }

    pub(super) fn turn(&mut self, clock: &dyn Clock, pace: Pace) -> Result<(), Trouble> {
        let now = clock.now();
        // A group that failed goes first, as it was sealed.
        self.commit(clock)?;
        self.gather(now, pace)?;
        self.commit(clock)?;
        self.look_after(now);
        Ok(())
    }

    /// Records an event of the journal itself.
    fn note(&self, now: Now, event: &Event<'_>) {
        let mut random = [0; 16];
        // Without randomness the id is still unique enough: it holds the time, and these events are rare.
        let _ = rand::fill(&mut random);
        let id = RequestId::new(now.wall, u128::from_be_bytes(random));
        if let Some(own) = self.queues.last() {
            let _ = own.add(now, id, event, Room::Reserved, None);
            self.gate.bell().ring(Bell::SOON);
        }
    }

    fn keeping(&self, now: Now, state: RecordState, count: u64, detail: &str) {
        self.note(now, &Event::Keeping(Keeping { state, count, detail: SafeText::new(detail) }));
    }
}

impl Trouble {
    fn at_start(self) -> OpenError {
        match self {
            Self::Writing(cause) | Self::Fatal(_, cause) => OpenError::Storage(cause),
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.gate.set_mode(Mode::Stopped);
        self.queues.iter().for_each(|queue| queue.close());
    }
}
