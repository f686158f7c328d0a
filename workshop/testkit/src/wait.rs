//! Waiting for what sends no event: a figure of the kernel, an answer over a socket, another program's state.
//!
//! INVARIANT: this is the one place of the workshop that sleeps; where there is an event (a line of output, the end of a
//! process, bytes on a socket), `launch`, `conn` and `upstream` wait for that and not for the clock.

use std::thread;
use std::time::{Duration, Instant};

/// The first pause between two questions; each next one is half as long again, up to the longest.
const FIRST: Duration = Duration::from_millis(1);
const LONGEST: Duration = Duration::from_millis(25);

/// Asks `ready` again and again until it gives a value.
///
/// # Panics
/// If it gives none within `limit`.
pub fn eventually<T>(limit: Duration, what: &str, ready: impl FnMut() -> Option<T>) -> T {
    within(limit, ready).unwrap_or_else(|| panic!("no {what} within {limit:?}"))
}

/// The same, for who has more to say when there is none.
pub fn within<T>(limit: Duration, mut ready: impl FnMut() -> Option<T>) -> Option<T> {
    let end = Instant::now() + limit;
    let mut pause = FIRST;
    loop {
        let found = ready();
        if found.is_some() || Instant::now() >= end {
            return found;
        }
        thread::sleep(pause);
        pause = (pause * 3 / 2).min(LONGEST);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_late_is_found_and_what_never_comes_is_not() {
        let mut asked = 0;
        let found = eventually(Duration::from_secs(5), "third answer", || {
            asked += 1;
            (asked == 3).then_some(asked)
        });
        assert_eq!(found, 3);
        assert_eq!(within(Duration::from_millis(5), || None::<()>), None);
    }
}
