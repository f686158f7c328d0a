//! The generic cell rate algorithm, as arithmetic on nanoseconds.
//!
//! The whole state of one bucket is one number: the theoretical arrival time (TAT), the moment at which the bucket
//! is full again. A request moves it one interval on; a request that would move it further than one window ahead of
//! now is refused and moves nothing.
//!
//! INVARIANT: the interval is rounded up, so a quota never admits more than it states, whatever the rounding.
//! INVARIANT: no arithmetic here wraps, at either end of `u64` (threat E15).
//!
//! Sources: ITU-T I.371 annex A (virtual scheduling algorithm).

use std::time::Duration;

use portcullis_core::Rate;

/// A rate, and how much of it may be used at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quota {
    rate: Rate,
    burst: u32,
    /// Nanoseconds between two requests at the steady rate; never zero.
    interval: u64,
    /// Nanoseconds in which an empty bucket becomes full: `interval` times `burst`.
    window: u64,
}

/// Where a key stands after a decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Which of the limits asked for this is, counted from zero.
    pub which: usize,
    /// How many requests a full bucket holds.
    pub limit: u32,
    /// How many of them are left at this instant.
    pub remaining: u32,
    /// How long until the bucket is full again, if nothing more comes.
    pub reset: Duration,
}

/// What one request does to one bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// It passes and the bucket's arrival time becomes `tat`.
    Pass { tat: u64, standing: Standing },
    /// It does not; it would after `wait`.
    Wait { wait: Duration, standing: Standing },
}

impl Quota {
    /// A window longer than this (36 years) is a typing mistake.
    const LONGEST_WINDOW: u64 = 1 << 60;

    /// `burst` requests at once, refilled at `rate`. `None` if the burst is zero, which admits nobody, or if an
    /// empty bucket would take more than 36 years to fill.
    #[must_use]
    pub fn new(rate: Rate, burst: u32) -> Option<Self> {
        let per = rate.per().get().checked_mul(1_000_000)?;
        let interval = per.div_ceil(u64::from(rate.count()));
        let window = interval.checked_mul(u64::from(burst))?;
        (burst > 0 && window <= Self::LONGEST_WINDOW).then_some(Self { rate, burst, interval, window })
    }

    /// A quota whose burst is the rate's own count: `50/s` admits fifty at once.
    #[must_use]
    pub fn of(rate: Rate) -> Option<Self> {
        Self::new(rate, rate.count())
    }

    /// The steady rate.
    #[must_use]
    pub fn rate(&self) -> Rate {
        self.rate
    }

    /// How many requests a full bucket holds.
    #[must_use]
    pub fn burst(&self) -> u32 {
        self.burst
    }

    /// How long an empty bucket takes to fill.
    #[must_use]
    pub fn window(&self) -> Duration {
        Duration::from_nanos(self.window)
    }

    /// Decides about one request at `now` for a bucket whose arrival time is `tat`.
    pub(crate) fn step(&self, tat: u64, now: u64) -> Step {
        let next = tat.max(now).saturating_add(self.interval);
        let horizon = now.saturating_add(self.window);
        // At the end of time `next` would stick at the horizon and admit for ever: that is a no.
        if next > horizon || next == u64::MAX {
            let wait = Duration::from_nanos(next.saturating_sub(horizon).max(1));
            return Step::Wait { wait, standing: self.standing(tat, now) };
        }
        Step::Pass { tat: next, standing: self.standing(next, now) }
    }

    /// The arrival time after a request that cannot be refused any more: counted, but never beyond one window.
    pub(crate) fn charge(&self, tat: u64, now: u64) -> u64 {
        let next = tat.max(now).saturating_add(self.interval);
        next.min(now.saturating_add(self.window)).max(tat)
    }

    /// The arrival time without one of the requests that it counts.
    pub(crate) fn undone(&self, tat: u64) -> u64 {
        tat.saturating_sub(self.interval)
    }

    /// Where a bucket with this arrival time stands at `now`.
    pub(crate) fn standing(&self, tat: u64, now: u64) -> Standing {
        let ahead = tat.saturating_sub(now);
        let left = self.window.saturating_sub(ahead).checked_div(self.interval).unwrap_or(0);
        let remaining = u32::try_from(left).unwrap_or(u32::MAX).min(self.burst);
        Standing { which: 0, limit: self.burst, remaining, reset: Duration::from_nanos(ahead) }
    }

    /// A number that differs between quotas of different shape: picks the shared bucket of a full table.
    pub(crate) fn shape(&self) -> u64 {
        self.interval.rotate_left(32) ^ self.window
    }
}

impl Standing {
    /// What a request that no limit applies to has.
    pub const UNLIMITED: Self =
        Self { which: 0, limit: u32::MAX, remaining: u32::MAX, reset: Duration::ZERO };

    /// The same, as the answer of the limit at `which`.
    pub(crate) fn of(self, which: usize) -> Self {
        Self { which, ..self }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::num::NonZeroU32;

    use governor::clock::FakeRelativeClock;
    use portcullis_core::Millis;
    use proptest::prelude::*;

    use super::*;

    const START: u64 = 1 << 62;

    fn quota(count: u32, per_ms: u64, burst: u32) -> Quota {
        let rate = Millis::new(per_ms).and_then(|per| Rate::new(count, per)).expect("rate");
        Quota::new(rate, burst).expect("quota")
    }

    fn take(quota: &Quota, tat: &mut u64, now: u64) -> bool {
        match quota.step(*tat, now) {
            Step::Pass { tat: next, .. } => {
                *tat = next;
                true
            }
            Step::Wait { .. } => false,
        }
    }

    #[test]
    fn a_plan_of_50_a_second_admits_50_at_once_and_then_one_each_20_ms() {
        let (quota, mut tat) = (quota(50, 1_000, 50), 0);
        assert_eq!((0..60).filter(|_| take(&quota, &mut tat, START)).count(), 50);
        assert!(!take(&quota, &mut tat, START + 19_999_999));
        assert!(take(&quota, &mut tat, START + 20_000_000));
        assert!(!take(&quota, &mut tat, START + 20_000_000));
    }

    #[test]
    fn a_refusal_names_the_wait_after_which_the_same_request_passes() {
        let (quota, mut tat) = (quota(3, 60_000, 3), 0);
        while take(&quota, &mut tat, START) {}
        let Step::Wait { wait, standing } = quota.step(tat, START + 5) else { panic!("should wait") };
        assert_eq!(wait, Duration::from_nanos(20_000_000_000 - 5));
        assert_eq!((standing.limit, standing.remaining), (3, 0));
        let later = START + 5 + u64::try_from(wait.as_nanos()).expect("fits");
        assert!(!take(&quota, &mut tat, later - 1));
        assert!(take(&quota, &mut tat, later));
    }

    #[test]
    fn e15_a_quota_that_does_not_fit_is_no_quota() {
        let table = [(1, 1_000, 0), (1, Millis::LONGEST.get(), u32::MAX), (1, Millis::LONGEST.get(), 40)];
        for (count, per, burst) in table {
            let rate = Millis::new(per).and_then(|per| Rate::new(count, per)).expect("rate");
            assert_eq!(Quota::new(rate, burst), None, "{count}/{per}ms burst {burst}");
        }
        assert_eq!(quota(u32::MAX, 1, 1).interval, 1, "a rate beyond the resolution still has an interval");
    }

    #[test]
    fn e15_the_ends_of_time_admit_no_more_than_the_burst() {
        for now in [0, 1, START, u64::MAX - 1, u64::MAX] {
            for burst in [1, 7, 100] {
                let (quota, mut tat) = (quota(50, 1_000, burst), 0);
                let passed = (0..300).filter(|_| take(&quota, &mut tat, now)).count();
                assert!(passed <= burst as usize, "{passed} of {burst} at {now}");
            }
        }
    }

    #[test]
    fn a_charge_beyond_the_limit_is_held_at_the_limit() {
        let (quota, mut tat) = (quota(1, 1_000, 3), 0);
        for _ in 0..1_000 {
            tat = quota.charge(tat, START);
        }
        assert_eq!(tat, START + 3_000_000_000);
        assert!(take(&quota, &mut tat, START + 1_000_000_000));
    }

    /// The slow obvious bucket: counts tokens in exact fractions of an interval.
    struct Bucket {
        tokens_in_nanos: u128,
        last: u64,
    }

    impl Bucket {
        fn take(&mut self, quota: &Quota, now: u64) -> bool {
            let full = u128::from(quota.window);
            self.tokens_in_nanos = full.min(self.tokens_in_nanos + u128::from(now - self.last));
            self.last = now;
            let passes = self.tokens_in_nanos >= u128::from(quota.interval);
            if passes {
                self.tokens_in_nanos -= u128::from(quota.interval);
            }
            passes
        }
    }

    proptest! {
        #[test]
        fn gcra_equals_a_token_bucket(
            count in 1u32..200, per in 1u64..5_000, burst in 1u32..20,
            gaps in prop::collection::vec(0u64..200_000_000, 1..200),
        ) {
            let (quota, mut tat, mut now) = (quota(count, per, burst), 0, START);
            let mut bucket = Bucket { tokens_in_nanos: quota.window.into(), last: START };
            for gap in gaps {
                now += gap;
                prop_assert_eq!(take(&quota, &mut tat, now), bucket.take(&quota, now));
            }
        }

        #[test]
        fn gcra_equals_governor(
            count in 1u32..200, per in 1u64..5_000, burst in 1u32..20,
            gaps in prop::collection::vec(0u64..200_000_000, 1..200),
        ) {
            let (quota, mut tat, mut now) = (quota(count, per, burst), 0, START);
            let clock = FakeRelativeClock::default();
            let theirs = governor::Quota::with_period(Duration::from_nanos(quota.interval))
                .expect("period")
                .allow_burst(NonZeroU32::new(burst).expect("burst"));
            let theirs = governor::RateLimiter::direct_with_clock(theirs, clock.clone());
            for gap in gaps {
                now += gap;
                clock.advance(Duration::from_nanos(gap));
                prop_assert_eq!(take(&quota, &mut tat, now), theirs.check().is_ok());
            }
        }

        /// In no stretch of time do more pass than the burst and what the rate adds in that time.
        #[test]
        fn no_stretch_of_time_admits_more_than_it_may(
            count in 1u32..50, per in 1u64..2_000, burst in 1u32..10,
            gaps in prop::collection::vec(0u64..50_000_000, 1..150),
        ) {
            let (quota, mut tat, mut now) = (quota(count, per, burst), 0, START);
            let mut passed = VecDeque::new();
            for gap in gaps {
                now += gap;
                if take(&quota, &mut tat, now) {
                    passed.push_back(now);
                }
            }
            for (first, from) in passed.iter().enumerate() {
                for (last, to) in passed.iter().enumerate().skip(first) {
                    let most = u64::from(burst) + (to - from) / quota.interval;
                    prop_assert!((last - first + 1) as u64 <= most);
                }
            }
        }

        #[test]
        fn e15_no_number_makes_a_step_panic_or_wrap(
            tat: u64, now: u64, count in 1u32.., per in 1u64..=Millis::LONGEST.get(), burst in 1u32..,
        ) {
            let rate = Millis::new(per).and_then(|per| Rate::new(count, per)).expect("rate");
            if let Some(quota) = Quota::new(rate, burst) {
                if let Step::Pass { tat: next, standing } = quota.step(tat, now) {
                    prop_assert!(next > tat && next > now && standing.remaining < burst);
                }
                prop_assert!(quota.charge(tat, now) >= tat);
            }
        }

        #[test]
        fn a_clock_that_runs_back_gives_nothing_away(
            burst in 1u32..20, gaps in prop::collection::vec(-100_000_000i64..100_000_000, 1..200),
        ) {
            let (quota, mut tat, mut now) = (quota(50, 1_000, burst), 0, START);
            let (mut passed, mut earliest, mut latest) = (0u64, START, START);
            for gap in gaps {
                now = now.saturating_add_signed(gap);
                (earliest, latest) = (earliest.min(now), latest.max(now));
                passed += u64::from(take(&quota, &mut tat, now));
            }
            prop_assert!(passed <= u64::from(burst) + (latest - earliest) / quota.interval);
        }
    }
}
