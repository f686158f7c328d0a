//! A minimum byte rate, without a clock of its own.
//!
//! Waiting costs credit, bytes earn it, and the credit is capped at the grace: the rate is an average over the grace,
//! a fast start cannot be saved up for a stall, and a full stop is found after the grace at most.
//!
//! Only time that the guard itself spent waiting on the peer costs anything: while we apply back-pressure nobody
//! calls [`Pace::waits`].
//!
//! [`StreamPace`] is the same for one body among many on a connection: it costs nothing until somebody waits for it.
//!
//! Sources: threat E8.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep_until};

use super::limits::MinRate;

/// The credit of one direction.
#[derive(Debug)]
pub(crate) struct Pace {
    credit: Duration,
    grace: Duration,
    stall: Duration,
    /// Nanoseconds.
    per_byte: u64,
    since: Option<Instant>,
}

impl Pace {
    pub(crate) fn new(rate: MinRate) -> Self {
        let per_byte = match rate.bytes_per_second {
            0 => u64::try_from(rate.grace.as_nanos()).unwrap_or(u64::MAX),
            rate => 1_000_000_000 / u64::from(rate),
        };
        Self { credit: rate.grace, grace: rate.grace, stall: rate.stall, per_byte, since: None }
    }

    /// The peer has nothing for us at `now`. Gives the moment at which that becomes a fault.
    pub(crate) fn waits(&mut self, now: Instant) -> Instant {
        self.waits_for(0, now)
    }

    /// The same where `bytes` move at once or not at all: they have the time that the rate gives them in any case.
    pub(crate) fn waits_for(&mut self, bytes: usize, now: Instant) -> Instant {
        let since = *self.since.get_or_insert(now);
        let patience = self.credit.min(self.stall).max(self.worth(bytes));
        since.checked_add(patience).unwrap_or(now)
    }

    fn worth(&self, bytes: usize) -> Duration {
        Duration::from_nanos(self.per_byte.saturating_mul(u64::try_from(bytes).unwrap_or(u64::MAX)))
    }

    /// `bytes` moved at `now`.
    pub(crate) fn moved(&mut self, bytes: usize, now: impl FnOnce() -> Instant) {
        let waited = self.since.take().map_or(Duration::ZERO, |since| now().saturating_duration_since(since));
        let left = self.credit.saturating_sub(waited);
        self.credit = left.saturating_add(self.worth(bytes)).min(self.grace);
    }

    /// A new body: full credit.
    pub(crate) fn renew(&mut self) {
        self.credit = self.grace;
        self.since = None;
    }
}

/// One timer that is moved as seldom as possible: a deadline that only grows costs nothing until it fires.
#[derive(Debug, Default)]
pub(crate) struct Alarm {
    sleep: Option<Pin<Box<Sleep>>>,
}

impl Alarm {
    /// `Ready` once `deadline` has passed, else wakes the task at or before it.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>, deadline: Instant) -> Poll<()> {
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

/// The pace of one body among many. No clock is read, no timer set and nothing allocated before its first wait.
#[derive(Debug)]
pub struct StreamPace {
    rate: MinRate,
    waiting: Option<Box<Waiting>>,
}

#[derive(Debug)]
struct Waiting {
    pace: Pace,
    alarm: Alarm,
}

impl StreamPace {
    /// A new body, with full credit.
    #[must_use]
    pub fn new(rate: MinRate) -> Self {
        Self { rate, waiting: None }
    }

    /// There is nothing to read at `now`. `Ready` once that is a fault.
    pub fn poll_late(&mut self, cx: &mut Context<'_>, now: Instant) -> Poll<()> {
        let rate = self.rate;
        let waiting = self
            .waiting
            .get_or_insert_with(|| Box::new(Waiting { pace: Pace::new(rate), alarm: Alarm::default() }));
        let deadline = waiting.pace.waits(now);
        waiting.alarm.poll(cx, deadline)
    }

    /// `bytes` came.
    pub fn moved(&mut self, bytes: usize, now: impl FnOnce() -> Instant) {
        if let Some(waiting) = &mut self.waiting {
            waiting.pace.moved(bytes, now);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pace() -> (Pace, Instant) {
        let rate = MinRate::new(100, Duration::from_secs(10));
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
    fn e8_a_stall_ends_sooner_than_the_grace_and_bytes_begin_it_anew() {
        let (_, start) = pace();
        let rate =
            MinRate { bytes_per_second: 100, grace: Duration::from_secs(10), stall: Duration::from_secs(2) };
        let mut pace = Pace::new(rate);
        assert_eq!(pace.waits(start), start + Duration::from_secs(2));
        let later = start + Duration::from_secs(1);
        pace.moved(1, || later);
        assert_eq!(pace.waits(later), later + Duration::from_secs(2));
    }

    #[test]
    fn e8_bytes_that_move_as_one_have_the_time_of_their_rate() {
        let (mut pace, start) = pace();
        assert_eq!(pace.waits_for(5_000, start), start + Duration::from_secs(50));
        assert_eq!(pace.waits_for(10, start), start + Duration::from_secs(10));
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
