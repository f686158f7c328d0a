//! A clock that stands still until a test winds it.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use portcullis_core::{Clock, Now, UnixMillis};

/// Both clocks under the test's thumb. Share it as `Arc<ManualClock>`.
#[derive(Debug)]
pub struct ManualClock(Mutex<Now>);

impl ManualClock {
    /// Stands at `wall`.
    #[must_use]
    pub fn at(wall: UnixMillis) -> Self {
        Self(Mutex::new(Now { wall, mono: Instant::now() }))
    }

    /// Moves both clocks on.
    pub fn advance(&self, span: Duration) {
        let mut now = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *now = now.plus(span);
    }

    /// Sets the wall clock alone, backwards too: what a bad time server does.
    pub fn set_wall(&self, wall: UnixMillis) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).wall = wall;
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Now {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_clocks_move_together_and_only_when_told() {
        let clock = ManualClock::at(UnixMillis(1_000));
        let before = clock.now();
        clock.advance(Duration::from_secs(2));
        let after = clock.now();
        assert_eq!(after.wall, UnixMillis(3_000));
        assert_eq!(after.mono - before.mono, Duration::from_secs(2));
        clock.set_wall(UnixMillis(5));
        assert_eq!(clock.now().wall, UnixMillis(5));
    }
}
