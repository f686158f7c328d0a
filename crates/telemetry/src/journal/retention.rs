//! Which closed segments may go.
//!
//! INVARIANT: the newest closed segment stays, so that there is always one to continue from.

use std::collections::VecDeque;
use std::time::Duration;

use portcullis_core::UnixMillis;

use super::recover::Closed;

/// How much is kept.
#[derive(Clone, Copy, Debug)]
pub(super) struct Keep {
    pub(super) age: Option<Duration>,
    pub(super) bytes: Option<u64>,
}

/// How many of the oldest segments are too old, or too many for the bytes; `live` is the open segment's length.
pub(super) fn surplus(closed: &VecDeque<Closed>, live: u64, keep: Keep, now: UnixMillis) -> usize {
    let mut bytes = closed.iter().map(|segment| segment.bytes).fold(live, u64::saturating_add);
    let mut count = 0;
    for segment in closed.iter().take(closed.len().saturating_sub(1)) {
        let too_old = keep.age.is_some_and(|age| now.since(segment.closed) > age);
        let too_much = keep.bytes.is_some_and(|most| bytes > most);
        if !too_old && !too_much {
            break;
        }
        bytes = bytes.saturating_sub(segment.bytes);
        count += 1;
    }
    count
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_go_first_and_the_newest_never() {
        let closed: VecDeque<_> = (1..=4)
            .map(|number| Closed { number, bytes: 100, closed: UnixMillis::from_seconds(number * 10) })
            .collect();
        let now = UnixMillis::from_seconds(50);
        let age = |secs| Some(Duration::from_secs(secs));
        let table = [
            (None, None, 0),
            (age(100), None, 0),
            (age(30), None, 1),
            (age(20), None, 2),
            (age(0), None, 3),
            (None, Some(450), 0),
            (None, Some(400), 1),
            (None, Some(0), 3),
            (age(30), Some(250), 2),
        ];
        for (age, bytes, want) in table {
            assert_eq!(surplus(&closed, 50, Keep { age, bytes }, now), want, "{age:?} {bytes:?}");
        }
        assert_eq!(surplus(&VecDeque::new(), 50, Keep { age: age(0), bytes: Some(0) }, now), 0);
    }
}
