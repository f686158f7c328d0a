//! How often a source may fail to prove who it is.
//!
//! To verify a signature costs tens of microseconds, and anybody can send a token that is signed by nobody. A source
//! that failed too often is refused before anything of its next credential is read; a source that never fails never
//! notices.
//!
//! INVARIANT: success costs nothing: only failures are counted.
//!
//! Requests of one source that are being verified at the same moment are admitted together: the excess over the
//! budget is at most what the source may have in flight.

use std::time::Duration;

use portcullis_core::Now;

use crate::key::{Printer, SourcePrefix};
use crate::quota::{Quota, Step};
use crate::table::{Origin, Table};

/// Failed credentials, counted by source, for a whole process.
#[derive(Debug)]
pub struct FailureBudget {
    quota: Quota,
    table: Table,
    printer: Printer,
    origin: Origin,
}

impl FailureBudget {
    /// Room for about `capacity` failing sources, each of which may fail as often as `quota` says.
    #[must_use]
    pub fn new(capacity: usize, quota: Quota) -> Self {
        Self { quota, table: Table::new(capacity), printer: Printer::default(), origin: Origin::default() }
    }

    /// Whether a credential from `source` may be verified at all.
    ///
    /// # Errors
    /// How long this source must wait.
    pub fn admit(&self, source: SourcePrefix, now: Now) -> Result<(), Duration> {
        let (print, now) = (self.printer.print(&source), self.origin.nanos(now));
        let Some(mut shard) = self.table.lock(self.table.shard_of(print)) else { return Err(Duration::MAX) };
        let now = shard.at(now);
        // A source without a slot has not failed yet, or found the table full: then all such share one budget.
        let tat =
            shard.peek(print).or_else(|| shard.is_full(now).then(|| self.table.peek_shared(&self.quota)));
        match self.quota.step(tat.unwrap_or(0), now) {
            Step::Pass { .. } => Ok(()),
            Step::Wait { wait, .. } => Err(wait),
        }
    }

    /// Counts one failure of `source`.
    pub fn failed(&self, source: SourcePrefix, now: Now) {
        let (print, now) = (self.printer.print(&source), self.origin.nanos(now));
        let Some(mut shard) = self.table.lock(self.table.shard_of(print)) else { return };
        let now = shard.at(now);
        match shard.entry(print, now) {
            Some(tat) => *tat = self.quota.charge(*tat, now),
            None => self.table.charge_shared(&self.quota, now),
        }
    }

    /// How many sources have failures that still count, at most.
    #[must_use]
    pub fn held(&self) -> usize {
        self.table.held()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use portcullis_core::{Rate, UnixMillis};

    use super::*;

    fn budget(capacity: usize) -> (FailureBudget, Now) {
        let quota = Rate::parse("10/min").ok().and_then(|rate| Quota::new(rate, 5)).expect("quota");
        #[expect(clippy::disallowed_methods, reason = "an instant cannot be made up")]
        let now = Now { wall: UnixMillis(0), mono: Instant::now() };
        (FailureBudget::new(capacity, quota), now)
    }

    fn source(n: u32) -> SourcePrefix {
        SourcePrefix::of(n.to_be_bytes().into())
    }

    #[test]
    fn e10_garbage_is_turned_away_after_the_budget_and_only_for_its_source() {
        let (budget, now) = budget(100);
        for _ in 0..5 {
            assert_eq!(budget.admit(source(1), now), Ok(()));
            budget.failed(source(1), now);
        }
        let wait = budget.admit(source(1), now).expect_err("used up");
        assert_eq!(wait, Duration::from_secs(6));
        assert_eq!(budget.admit(source(2), now), Ok(()));
        assert_eq!(budget.admit(source(1), now.plus(wait)), Ok(()));
    }

    #[test]
    fn failures_that_were_admitted_together_do_not_lock_a_source_out_for_longer_than_a_window() {
        let (budget, now) = budget(100);
        for _ in 0..10_000 {
            budget.failed(source(1), now);
        }
        assert!(budget.admit(source(1), now).expect_err("used up") <= Duration::from_secs(6));
    }

    #[test]
    fn asking_costs_nothing() {
        let (budget, now) = budget(100);
        assert!((0..10_000).all(|_| budget.admit(source(1), now).is_ok()));
        assert_eq!(budget.held(), 0);
    }

    #[test]
    fn e10_more_failing_sources_than_there_is_room_for_share_one_budget() {
        let (budget, now) = budget(50);
        for n in 0..1_000 {
            budget.failed(source(n), now);
        }
        assert_eq!(budget.held(), 50);
        assert!(budget.admit(source(5_000), now).is_err(), "new ones wait for room");
        assert_eq!(budget.admit(source(5_000), now.plus(Duration::from_secs(31))), Ok(()));
    }
}
