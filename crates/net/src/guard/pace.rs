//! A minimum byte rate, without a clock of its own.
//!
//! Waiting costs credit, bytes earn it, and the credit is capped at the grace: the rate is an average over the grace,
//! a fast start cannot be saved up for a stall, and a full stop is found after the grace at most.
//!
//! Only time that the guard itself spent waiting on the peer costs anything: while we apply back-pressure nobody
//! calls [`Pace::waits`].
//!
//! Sources: threat E8.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep_until};

use super::limits::MinRate;

/// The credit of one direction.
#[derive(Debug)]
pub(super) struct Pace {
    credit: Duration,
    grace: Duration,
    per_byte: Duration,
    since: Option<Instant>,
}

impl Pace {
    pub(super) fn new(rate: MinRate) -> Self {
        let per_byte = match rate.bytes_per_second {
            0 => rate.grace,
            rate => Duration::from_secs(1) / rate,
        };
        Self { credit: rate.grace, grace: rate.grace, per_byte, since: None }
    }

    /// The peer has nothing for us at `now`. Gives the moment at which that becomes a fault.
    pub(super) fn waits(&mut self, now: Instant) -> Instant {
        let since = *self.since.get_or_insert(now);
        since.checked_add(self.credit).unwrap_or(now)
    }

    /// `bytes` moved at `now`.
    pub(super) fn moved(&mut self, bytes: usize, now: impl FnOnce() -> Instant) {
        let waited = self.since.take().map_or(Duration::ZERO, |since| now().saturating_duration_since(since));
        let left = self.credit.saturating_sub(waited);
        let earned = self.per_byte.saturating_mul(u32::try_from(bytes).unwrap_or(u32::MAX));
        self.credit = left.saturating_add(earned).min(self.grace);
    }

    /// A new body: full credit.
    pub(super) fn renew(&mut self) {
        self.credit = self.grace;
        self.since = None;
    }
}

/// One timer that is moved as seldom as possible: a deadline that only grows costs nothing until it fires.
#[derive(Debug, Default)]
pub(super) struct Alarm {
    sleep: Option<Pin<Box<Sleep>>>,
}

impl Alarm {
    /// `Ready` once `deadline` has passed, else wakes the task at or before it.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>, deadline: Instant) -> Poll<()> {
        let sleep = self.sleep.get_or_insert_with(|| Box::pin(sleep_until(deadline)));
        if sleep.deadline() > deadline {
            sleep.as_mut().reset(deadline);
        }
        while sleep.as_mut().poll(cx).is_ready() {
            if Instant::now() >= deadline {
                return Poll::Ready(());
            }
            sleep.as_mut().reset(deadline);
        }
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pace() -> (Pace, Instant) {
        let rate = MinRate { bytes_per_second: 100, grace: Duration::from_secs(10) };
        (Pace::new(rate), Instant::now())
    }

    #[test]
    fn e8_a_full_stop_is_found_after_the_grace() {
        let (mut pace, start) = pace();
        assert_eq!(pace.waits(start), start + Duration::from_secs(10));
        assert_eq!(pace.waits(start + Duration::from_secs(3)), start + Duration::from_secs(10));
    }

    #[test]
    fn e8_a_trickle_below_the_rate_runs_out_and_a_stream_above_it_does_not() {
        for (bytes, lives) in [(1, false), (99, false), (101, true)] {
            let (mut pace, mut now) = pace();
            let lived = (0..5_000).all(|_| {
                let deadline = pace.waits(now);
                now += Duration::from_secs(1);
                pace.moved(bytes, || now);
                now <= deadline
            });
            assert_eq!(lived, lives, "{bytes} bytes a second");
        }
    }

    #[test]
    fn bytes_that_come_without_a_wait_count_too() {
        let (mut pace, start) = pace();
        pace.waits(start);
        pace.moved(1, || start + Duration::from_secs(9));
        pace.moved(700, || unreachable!("nobody waited"));
        assert_eq!(pace.credit, Duration::from_millis(8_010));
    }

    #[test]
    fn e8_time_in_which_we_did_not_ask_costs_nothing() {
        let (mut pace, start) = pace();
        pace.moved(1, || start);
        let later = start + Duration::from_secs(3_600);
        pace.moved(1, || later);
        assert_eq!(pace.waits(later), later + Duration::from_secs(10));
    }

    proptest! {
        #[test]
        fn credit_is_never_above_the_grace(moves in proptest::collection::vec((0u64..20, 0usize..100_000), 0..40)) {
            let (mut pace, mut now) = pace();
            for (seconds, bytes) in moves {
                pace.waits(now);
                now += Duration::from_secs(seconds);
                pace.moved(bytes, || now);
                prop_assert!(pace.credit <= pace.grace);
            }
        }
    }
}
