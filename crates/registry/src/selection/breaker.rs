//! A circuit breaker with no clock of its own.
//!
//! INVARIANT: `Open` never lasts longer than [`BreakerRule::longest`].
//! INVARIANT: `HalfOpen` lets exactly one request through.

use std::time::{Duration, Instant};

use portcullis_core::Millis;

/// Closed lets traffic through, Open refuses it, HalfOpen has let one request out to see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Breaker {
    /// Flows.
    Closed {
        /// Failures since the last success.
        failures: u32,
        /// The series of rests that the next trip continues, if it comes before the instant named.
        series: Option<(u32, Instant)>,
    },
    /// Rests.
    Open {
        /// How many rests in a row this is.
        trips: u32,
        /// When one request may try.
        until: Instant,
    },
    /// Waits for the one request that tries.
    HalfOpen {
        /// How many rests in a row came before.
        trips: u32,
        /// When the rest ended.
        until: Instant,
    },
}

/// When a breaker trips and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BreakerRule {
    /// Consecutive failures that trip it; zero counts as one.
    pub trips_after: u32,
    /// The first rest; each further one of a series is twice as long.
    pub rest: Millis,
    /// The longest rest. A trip that comes later than this after the last rest begins a new series.
    pub longest: Millis,
}

impl Default for BreakerRule {
    /// Five failures; one second to one minute.
    fn default() -> Self {
        Self { trips_after: 5, rest: Millis::SECOND, longest: Millis::from_secs(60) }
    }
}

/// What one connection attempt showed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    Reached,
    Unreached,
}

/// Whether a request may go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Admission {
    Flows,
    Tries,
    Rests,
}

impl BreakerRule {
    fn rest_for(&self, trips: u32) -> Duration {
        let doubled = 1u64.checked_shl(trips.saturating_sub(1)).unwrap_or(u64::MAX);
        let rest = self.rest.get().saturating_mul(doubled);
        Duration::from_millis(rest.min(self.longest.get()))
    }
}

impl Breaker {
    /// One that has seen nothing.
    pub const NEW: Self = Self::Closed { failures: 0, series: None };

    /// The state after one answer.
    #[must_use]
    pub(crate) fn after(self, answer: Answer, now: Instant, rule: &BreakerRule) -> Self {
        match (self, answer) {
            (Self::Closed { series, .. }, Answer::Reached) => Self::Closed { failures: 0, series },
            (Self::HalfOpen { trips, .. }, Answer::Reached) => {
                Self::Closed { failures: 0, series: Some((trips, later(now, rule.longest.as_duration()))) }
            }
            (Self::Closed { failures, series }, Answer::Unreached)
                if failures.saturating_add(1) < rule.trips_after =>
            {
                Self::Closed { failures: failures + 1, series }
            }
            (Self::Closed { series, .. }, Answer::Unreached) => {
                let before = series.filter(|(_, until)| now <= *until).map_or(0, |(trips, _)| trips);
                Self::open(before, now, rule)
            }
            (Self::HalfOpen { trips, .. }, Answer::Unreached) => Self::open(trips, now, rule),
            // A late answer from before the trip.
            (open @ Self::Open { .. }, _) => open,
        }
    }

    fn open(trips_before: u32, now: Instant, rule: &BreakerRule) -> Self {
        let trips = trips_before.saturating_add(1);
        Self::Open { trips, until: later(now, rule.rest_for(trips)) }
    }

    /// Whether a request may go now.
    pub(crate) fn asks(&self, now: Instant) -> Admission {
        match self {
            Self::Closed { .. } => Admission::Flows,
            Self::Open { until, .. } if *until <= now => Admission::Tries,
            Self::Open { .. } | Self::HalfOpen { .. } => Admission::Rests,
        }
    }

    /// The state once the one request that tries is on its way, whether or not the rest is over.
    #[must_use]
    pub(crate) fn tried(self) -> Self {
        match self {
            Self::Open { trips, until } => Self::HalfOpen { trips, until },
            other => other,
        }
    }

    /// The state after the request that tried ended without an answer: another may try at once.
    #[must_use]
    pub(crate) fn abandoned(self) -> Self {
        match self {
            Self::HalfOpen { trips, until } => Self::Open { trips, until },
            other => other,
        }
    }

    /// Whether traffic flows.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        matches!(self, Self::Closed { .. })
    }
}

/// Held at the end of time.
fn later(now: Instant, span: Duration) -> Instant {
    now.checked_add(span).unwrap_or(now)
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "an instant cannot be made up")]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const RULE: BreakerRule =
        BreakerRule { trips_after: 3, rest: Millis::SECOND, longest: Millis::from_secs(5) };

    #[test]
    fn every_state_has_its_answer_to_every_outcome() {
        let now = Instant::now();
        let at = |s: u64| now + Duration::from_secs(s);
        let closed = |failures, series| Breaker::Closed { failures, series };
        let open = |trips, s| Breaker::Open { trips, until: at(s) };
        let half = |trips| Breaker::HalfOpen { trips, until: now };
        let table = [
            (closed(0, None), Answer::Reached, closed(0, None)),
            (closed(2, None), Answer::Reached, closed(0, None)),
            (closed(0, None), Answer::Unreached, closed(1, None)),
            (closed(1, None), Answer::Unreached, closed(2, None)),
            (closed(2, None), Answer::Unreached, open(1, 1)),
            (closed(2, Some((1, at(1)))), Answer::Unreached, open(2, 2)),
            (closed(2, Some((2, at(0)))), Answer::Unreached, open(3, 4)),
            (closed(u32::MAX, None), Answer::Unreached, open(1, 1)),
            (half(1), Answer::Reached, closed(0, Some((1, at(5))))),
            (half(1), Answer::Unreached, open(2, 2)),
            (half(3), Answer::Unreached, open(4, 5)),
            (half(u32::MAX), Answer::Unreached, open(u32::MAX, 5)),
            (open(1, 1), Answer::Reached, open(1, 1)),
            (open(1, 1), Answer::Unreached, open(1, 1)),
        ];
        for (state, answer, want) in table {
            assert_eq!(state.after(answer, now, &RULE), want, "{state:?} {answer:?}");
        }
        let old = Breaker::Closed { failures: 2, series: Some((4, now)) };
        assert_eq!(old.after(Answer::Unreached, at(1), &RULE), open(1, 2), "an old series is forgotten");
    }

    #[test]
    fn one_request_tries_and_if_it_vanishes_another_may() {
        let now = Instant::now();
        let open = Breaker::Open { trips: 1, until: now + Duration::from_secs(1) };
        assert_eq!(open.asks(now), Admission::Rests);
        let then = now + Duration::from_secs(1);
        assert_eq!(open.asks(then), Admission::Tries);
        assert_eq!(open.tried().asks(then), Admission::Rests);
        assert_eq!(open.tried().abandoned().asks(then), Admission::Tries);
        assert_eq!(Breaker::NEW.tried(), Breaker::NEW);
    }

    proptest! {
        #[test]
        fn a_rest_is_never_longer_than_the_longest(
            answers in prop::collection::vec((any::<bool>(), 0u64..8_000), 1..200),
        ) {
            let (mut breaker, mut now) = (Breaker::NEW, Instant::now());
            for (reached, gap) in answers {
                now += Duration::from_millis(gap);
                if breaker.asks(now) == Admission::Tries {
                    breaker = breaker.tried();
                }
                let answer = if reached { Answer::Reached } else { Answer::Unreached };
                let before = breaker;
                breaker = breaker.after(answer, now, &RULE);
                if let Breaker::Open { until, .. } = breaker {
                    prop_assert!(before == breaker || until - now <= RULE.longest.as_duration());
                    prop_assert!(before == breaker || until > now);
                }
            }
        }
    }
}
