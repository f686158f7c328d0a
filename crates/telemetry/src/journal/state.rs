//! What the workers and the writer of a journal share: whether it takes records, and the bell that wakes it.

use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use super::Full;
use crate::metrics::{Counter, Metrics, Word};

/// What the journal takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mode {
    /// Everything.
    Open,
    /// Its quota is all but used up: only refusals and events of the process itself.
    ReserveOnly,
    /// Its quota is used up.
    QuotaFull,
    /// Writing fails; it is tried again.
    Failing,
    /// Syncing failed, which nobody can make good, or the journal was stopped.
    Stopped,
}

impl Mode {
    const ALL: [Self; 5] = [Self::Open, Self::ReserveOnly, Self::QuotaFull, Self::Failing, Self::Stopped];
}

/// How much of the quota is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum QuotaAlarm {
    /// Under 70 %.
    Quiet,
    /// 70 % or more.
    At70,
    /// 85 % or more.
    At85,
}

/// The journal's condition, for readiness and alerts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JournalState {
    /// What it takes.
    pub mode: Mode,
    /// Bytes on the disk.
    pub used: u64,
    /// Bytes that it may take.
    pub quota: u64,
    /// The longest time so far that a record waited to be safe.
    pub loss_window: Duration,
}

impl JournalState {
    /// How much of the quota is used.
    #[must_use]
    pub fn alarm(&self) -> QuotaAlarm {
        let percent = u128::from(self.used) * 100;
        match u128::from(self.quota) {
            quota if percent >= quota * 85 => QuotaAlarm::At85,
            quota if percent >= quota * 70 => QuotaAlarm::At70,
            _ => QuotaAlarm::Quiet,
        }
    }
}

/// Whether records are taken.
#[derive(Debug)]
pub(super) struct Gate {
    mode: AtomicU8,
    used: AtomicU64,
    quota: u64,
    bell: Bell,
    metrics: Arc<Metrics>,
    refused: [Counter; 4],
}

impl Gate {
    pub(super) fn new(quota: u64, metrics: Arc<Metrics>) -> Self {
        metrics.record_quota.set(quota);
        let refused = Full::ALL.map(|full| metrics.record_full.at(&Word(full.word())));
        Self {
            mode: AtomicU8::new(0),
            used: AtomicU64::new(0),
            quota,
            bell: Bell::default(),
            metrics,
            refused,
        }
    }

    pub(super) fn mode(&self) -> Mode {
        let place = usize::from(self.mode.load(Ordering::Acquire));
        // An impossible number means that nothing is taken.
        Mode::ALL.get(place).copied().unwrap_or(Mode::Stopped)
    }

    pub(super) fn set_mode(&self, mode: Mode) {
        self.mode.store(mode as u8, Ordering::Release);
    }

    /// Whether records are taken from those who may come in up to `most`.
    pub(super) fn admit(&self, most: Mode) -> Result<(), Full> {
        match self.mode() {
            mode if mode <= most => Ok(()),
            Mode::Open | Mode::ReserveOnly | Mode::QuotaFull => Err(Full::Quota),
            Mode::Failing | Mode::Stopped => Err(Full::Failing),
        }
    }

    pub(super) fn count(&self, full: Full) {
        if let Some(counter) = self.refused.get(full as usize) {
            counter.inc();
        }
    }

    pub(super) fn bell(&self) -> &Bell {
        &self.bell
    }

    pub(super) fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    pub(super) fn set_used(&self, used: u64) {
        self.used.store(used, Ordering::Relaxed);
        self.metrics.record_bytes.set(used);
    }

    pub(super) fn state(&self) -> JournalState {
        let micros = u64::try_from(self.metrics.record_loss_window.micros()).unwrap_or(0);
        JournalState {
            mode: self.mode(),
            used: self.used.load(Ordering::Relaxed),
            quota: self.quota,
            loss_window: Duration::from_micros(micros),
        }
    }
}

/// Wakes the writer. A worker pays for it only when the writer could be asleep.
#[derive(Debug, Default)]
pub(super) struct Bell {
    rung: AtomicU8,
    lock: Mutex<()>,
    heard: Condvar,
}

impl Bell {
    /// Something waits; the writer lets more gather.
    pub(super) const SOON: u8 = 1;
    /// Something cannot wait.
    pub(super) const URGENT: u8 = 2;
    /// Everything is to be written and the journal closed.
    pub(super) const STOP: u8 = 3;

    pub(super) fn ring(&self, how: u8) {
        if self.rung.fetch_max(how, Ordering::AcqRel) < how {
            // Taking the lock orders this after a writer that looked and is about to sleep.
            drop(self.lock.lock().unwrap_or_else(PoisonError::into_inner));
            self.heard.notify_one();
        }
    }

    /// Sleeps until the bell was rung at least so loudly, or `longest` has passed.
    pub(super) fn wait(&self, least: u8, longest: Duration) -> u8 {
        let guard = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
        let quiet = |(): &mut ()| self.rung.load(Ordering::Acquire) < least;
        let waited = self.heard.wait_timeout_while(guard, longest, quiet);
        drop(waited.unwrap_or_else(PoisonError::into_inner));
        self.rung.load(Ordering::Acquire)
    }

    /// Takes note that it rang, before the queues are looked at. A stop stays.
    pub(super) fn hush(&self) {
        let quieter = |how| (how < Self::STOP).then_some(0);
        let _ = self.rung.fetch_update(Ordering::AcqRel, Ordering::Acquire, quieter);
    }
}
