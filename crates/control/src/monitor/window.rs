//! How many of something happened lately, from a counter that only grows.
//!
//! INVARIANT: at most [`SLICES`] + 1 slices are held, whatever the span and however often is looked.
//! INVARIANT: a counter that is lower than before belongs to a process that started again: all of it is new.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// The span is kept in this many slices: the count is exact up to one of them.
const SLICES: u32 = 30;

/// The increments of one counter within a span.
#[derive(Clone, Debug)]
pub(super) struct Window {
    span: Duration,
    slices: VecDeque<(Instant, u64)>,
    last: Option<u64>,
}

impl Window {
    pub(super) fn new(span: Duration) -> Self {
        Self { span, slices: VecDeque::new(), last: None }
    }

    pub(super) fn span(&self) -> Duration {
        self.span
    }

    /// Takes a reading. The first one tells how things stand, not what happened.
    pub(super) fn read(&mut self, counter: u64, now: Instant) {
        let grown = match self.last {
            None => 0,
            Some(last) => counter.checked_sub(last).unwrap_or(counter),
        };
        self.last = Some(counter);
        self.forget(now);
        match self.slices.back_mut() {
            _ if grown == 0 => {}
            Some((began, count)) if now.duration_since(*began) < self.span / SLICES => {
                *count = count.saturating_add(grown);
            }
            _ => self.slices.push_back((now, grown)),
        }
    }

    /// What happened within the span that ends now.
    pub(super) fn count(&mut self, now: Instant) -> u64 {
        self.forget(now);
        self.slices.iter().fold(0, |sum, (_, count)| sum.saturating_add(*count))
    }

    fn forget(&mut self, now: Instant) {
        while self.slices.front().is_some_and(|(began, _)| now.duration_since(*began) >= self.span) {
            self.slices.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[expect(clippy::disallowed_methods, reason = "any instant will do as zero")]
    fn zero() -> Instant {
        Instant::now()
    }

    #[test]
    fn a_counter_that_starts_again_is_all_new() {
        let (zero, mut window) = (zero(), Window::new(Duration::from_secs(60)));
        for (reading, want) in [(100, 0), (103, 3), (2, 5), (2, 5), (4, 7)] {
            window.read(reading, zero);
            assert_eq!(window.count(zero), want, "{reading}");
        }
    }

    proptest! {
        /// Against keeping every increment with its time.
        #[test]
        fn a_window_counts_as_the_slow_one_up_to_a_slice(
            steps in prop::collection::vec((0u64..5_000, 0u64..20), 1..200), span in 1u64..120,
        ) {
            let (zero, span) = (zero(), Duration::from_secs(span));
            let (mut window, mut all) = (Window::new(span), Vec::new());
            let (mut at, mut counter) = (zero, 0);
            window.read(counter, at);
            for (wait, grown) in steps {
                at += Duration::from_millis(wait);
                counter += grown;
                window.read(counter, at);
                all.push((at, grown));
                let within = |span: Duration| {
                    all.iter().filter(|(t, _)| at.duration_since(*t) < span).map(|(_, n)| n).sum::<u64>()
                };
                let count = window.count(at);
                prop_assert!(count <= within(span), "{count} > {}", within(span));
                prop_assert!(count >= within(span - span / SLICES), "{count}");
                prop_assert!(window.slices.len() <= SLICES as usize + 1);
            }
        }
    }
}
