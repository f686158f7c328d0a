//! Time as an argument.
//!
//! Engines never ask what time it is: they are given a [`Now`], which carries both clocks. Deadlines use the
//! monotonic one, claims and records the wall clock.
//!
//! INVARIANT: the wall clock of one [`SystemClock`] never runs back; a step backwards is held at the
//! high-water mark until real time has caught up (DESIGN §4, Clocks).

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

/// Milliseconds since 1970-01-01T00:00:00Z.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct UnixMillis(pub u64);

impl UnixMillis {
    /// Whole seconds since the epoch, as JWT `NumericDate` counts them (RFC 7519 §2).
    #[must_use]
    pub fn seconds(self) -> u64 {
        self.0 / 1_000
    }

    /// The instant `seconds` whole seconds after the epoch.
    #[must_use]
    pub fn from_seconds(seconds: u64) -> Self {
        Self(seconds.saturating_mul(1_000))
    }

    /// This instant moved into the future, held at the end of time.
    #[must_use]
    pub fn plus(self, span: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(span.as_millis()).unwrap_or(u64::MAX)))
    }

    /// How long ago `earlier` was; zero if it lies in the future.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }
}

/// One reading of both clocks.
#[derive(Clone, Copy, Debug)]
pub struct Now {
    /// For claims, certificates and records.
    pub wall: UnixMillis,
    /// For deadlines and durations.
    pub mono: Instant,
}

impl Now {
    /// Both clocks moved on by `span`: what a test uses in place of waiting.
    #[must_use]
    pub fn plus(self, span: Duration) -> Self {
        Self { wall: self.wall.plus(span), mono: self.mono.checked_add(span).unwrap_or(self.mono) }
    }
}

/// Something that tells the time. Services hold one; engines are handed a [`Now`].
pub trait Clock: Send + Sync {
    /// Reads both clocks.
    fn now(&self) -> Now;
}

/// The machine's clocks, with a wall clock that never runs back.
#[derive(Debug, Default)]
pub struct SystemClock {
    high_water: AtomicU64,
}

impl SystemClock {
    /// A clock that refuses to show anything before `high_water`, which a restart reads from disk.
    #[must_use]
    pub fn not_before(high_water: UnixMillis) -> Self {
        Self { high_water: AtomicU64::new(high_water.0) }
    }
}

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the machine's clocks")]
    fn now(&self) -> Now {
        let read = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_millis());
        let read = u64::try_from(read).unwrap_or(u64::MAX);
        let before = self.high_water.load(Ordering::Relaxed);
        // Written once a millisecond at most, so that cores do not pass the cache line around.
        let before = if read > before { self.high_water.fetch_max(read, Ordering::Relaxed) } else { before };
        Now { wall: UnixMillis(read.max(before)), mono: Instant::now() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wall_clock_never_shows_less_than_its_high_water_mark() {
        let future = UnixMillis(u64::MAX / 2);
        assert_eq!(SystemClock::not_before(future).now().wall, future);
    }

    #[test]
    fn a_span_that_leaves_the_calendar_is_held_at_its_end() {
        assert_eq!(UnixMillis(u64::MAX).plus(Duration::from_secs(1)), UnixMillis(u64::MAX));
        assert_eq!(UnixMillis(5).since(UnixMillis(9)), Duration::ZERO);
    }
}
