//! Brings a sealed group to the disk, and keeps the house after that.

use std::io::ErrorKind;

use portcullis_core::{Clock, Now};
use portcullis_evidence::event::RecordState;

use super::{Closed, Closing, Mode, QuotaAlarm, Trouble, Writer};
use crate::journal::retention::{Keep, surplus};
use crate::log::{Chain, Level};
use crate::metrics::Word;

impl Writer {
    /// Appends, syncs, acknowledges. After a failed write it may be called again with the same group.
    pub(super) fn commit(&mut self, clock: &dyn Clock) -> Result<(), Trouble> {
        self.write(clock)?;
        if let Some(closing) = self.group.closing.take() {
            self.prove(closing, clock.now())?;
        }
        self.remove_announced(clock.now());
        Ok(())
    }

    fn write(&mut self, clock: &dyn Clock) -> Result<(), Trouble> {
        if self.group.sealed.is_empty() {
            return Ok(());
        }
        let before = clock.now();
        let safe = self.safe_bytes();
        if self.dirty {
            self.storage.cut(safe).map_err(Trouble::Writing)?;
        }
        self.dirty = true;
        self.storage.append(&self.group.sealed).map_err(Trouble::Writing)?;
        self.storage.sync().map_err(|cause| {
            Trouble::Fatal("the record cannot be synced; traffic is refused until a restart", cause)
        })?;
        self.dirty = false;
        let written = u64::try_from(self.group.sealed.len()).unwrap_or(u64::MAX);
        self.set_safe_bytes(safe.saturating_add(written));
        self.group.sealed.clear();
        self.acknowledge(before, clock.now());
        Ok(())
    }

    /// Bytes of the segment being written, or closed by this group, that are safe.
    fn safe_bytes(&self) -> u64 {
        let closing = self.group.closing.as_ref().map(|closing| closing.bytes);
        closing.or(self.live.as_ref().map(|live| live.bytes)).unwrap_or(0)
    }

    fn set_safe_bytes(&mut self, bytes: u64) {
        match (&mut self.group.closing, &mut self.live) {
            (Some(closing), _) => closing.bytes = bytes,
            (None, Some(live)) => live.bytes = bytes,
            (None, None) => {}
        }
    }

    fn acknowledge(&mut self, before: Now, after: Now) {
        for waiter in self.group.waiters.drain(..) {
            // Whoever waited may have gone away.
            let _ = waiter.send(());
        }
        let metrics = self.gate.metrics();
        metrics.record_lines.add(self.group.lines);
        metrics.record_syncs.inc();
        metrics.record_sync_seconds.observe(after.mono.saturating_duration_since(before.mono));
        if let Some(oldest) = self.group.oldest.take() {
            metrics.record_loss_window.raise(after.mono.saturating_duration_since(oldest));
        }
        self.group.lines = 0;
        if let Some(mirror) = &self.mirror {
            let dropped = mirror.offer(&self.group.mirrored);
            metrics.sink_dropped.at(&Word(mirror.name())).add(dropped);
            self.dropped = self.dropped.saturating_add(dropped);
            self.group.mirrored.clear();
        }
    }

    /// Keeps the proof of a segment whose footer is safe. If that fails it is tried again.
    fn prove(&mut self, closing: Closing, now: Now) -> Result<(), Trouble> {
        let Closing { number, line, bytes } = closing;
        if let Err(cause) = self.storage.add_proof(self.proofs, &line) {
            self.group.closing = Some(Closing { number, line, bytes });
            return Err(Trouble::Writing(cause));
        }
        self.proofs = self.proofs.saturating_add(u64::try_from(line.len()).unwrap_or(u64::MAX));
        self.closed.push_back(Closed { number, bytes, closed: now.wall });
        Ok(())
    }

    /// Deletes segments whose deletion is recorded and safe. One that cannot be deleted still counts against
    /// the quota and is tried again.
    fn remove_announced(&mut self, now: Now) {
        let mut failed = None;
        let storage = &mut self.storage;
        self.group.announced.retain(|segment| match storage.remove(segment.number) {
            Err(cause) if cause.kind() != ErrorKind::NotFound => {
                failed = Some(cause);
                true
            }
            _ => false,
        });
        if let Some(cause) = failed.as_ref().filter(|_| !self.stuck) {
            let message = "a segment that retention gave up cannot be deleted";
            self.log.say(now.wall, Level::Warning, message, &[("cause", &Chain(cause))]);
        }
        self.stuck = failed.is_some();
    }

    /// After a good turn: retention, quota, and what the mirror dropped.
    pub(super) fn look_after(&mut self, now: Now) {
        let keep = Keep { age: self.plan.keep_age(), bytes: self.plan.keep_bytes() };
        for _ in 0..surplus(&self.closed, self.safe_bytes(), keep, now.wall) {
            if let Some(segment) = self.closed.pop_front() {
                self.announced.push(segment);
                self.keeping(now, RecordState::SegmentDeleted, segment.number, "retention");
            }
        }
        let dropped = std::mem::take(&mut self.dropped);
        if dropped > 0 {
            let name = self.mirror.as_ref().map_or("", |mirror| mirror.name());
            self.keeping(now, RecordState::SinkBehind, dropped, name);
        }
        self.heed_quota(now);
    }

    fn used(&self) -> u64 {
        let going = self.announced.iter().chain(&self.group.announced);
        let closed = self.closed.iter().chain(going).map(|segment| segment.bytes);
        closed.fold(self.safe_bytes().saturating_add(self.proofs), u64::saturating_add)
    }

    fn heed_quota(&mut self, now: Now) {
        let used = self.used();
        self.gate.set_used(used);
        let queued = self.queues.iter().map(|queue| queue.len()).sum::<usize>();
        self.gate.metrics().record_queue.set(u64::try_from(queued).unwrap_or(u64::MAX));
        let (was, is) = (self.gate.mode(), self.mode(used));
        if was != is {
            self.gate.set_mode(is);
            self.tell_mode(now, was, is, used);
        }
        let alarm = self.gate.state().alarm();
        if alarm > self.alarm {
            let state = if alarm == QuotaAlarm::At85 { RecordState::Quota85 } else { RecordState::Quota70 };
            self.keeping(now, state, used, "journal");
            self.log.say(now.wall, Level::Warning, "the record's quota fills up", &[("bytes", &used)]);
        }
        self.alarm = alarm;
    }

    fn mode(&self, used: u64) -> Mode {
        let quota = self.plan.quota();
        if used >= quota {
            Mode::QuotaFull
        } else if used >= quota.saturating_sub(self.plan.reserve()) {
            Mode::ReserveOnly
        } else {
            Mode::Open
        }
    }

    fn tell_mode(&self, now: Now, was: Mode, is: Mode, used: u64) {
        let (state, level, message) = match is {
            Mode::Open if was == Mode::Failing => {
                (RecordState::Recovered, Level::Notice, "the record can be written again")
            }
            Mode::Open => (RecordState::Recovered, Level::Notice, "the record has room again"),
            _ => (RecordState::QuotaFull, Level::Error, "the record's quota is used up; traffic is refused"),
        };
        self.keeping(now, state, used, "journal");
        self.log.say(now.wall, level, message, &[("bytes", &used)]);
    }
}
