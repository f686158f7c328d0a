//! Who has room: the connection counts of all cores, side by side.
//!
//! A core may accept while its count is near the lowest. "Near" is exact for small counts and grows to a sixteenth of
//! the lowest for large ones, where an exact rule would only cost wake-ups.
//!
//! INVARIANT: at every moment at least one core may accept, so nobody waits for balance alone.
//!
//! Sources: DESIGN "Threads"; the same idea, per thread, stands in the accept loops of several servers.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::Notify;

/// The counts of all cores. One for the process, shared by all its listeners.
#[derive(Debug)]
pub struct LoadBoard {
    seats: Box<[SeatState]>,
}

/// Padded, so that two cores that count do not fight over one cache line.
#[derive(Debug, Default)]
#[repr(align(128))]
struct SeatState {
    open: AtomicUsize,
    changed: Notify,
}

/// One core's place at the board.
#[derive(Clone, Debug)]
pub struct Seat {
    board: Arc<LoadBoard>,
    core: usize,
}

/// One connection on one core. Dropping it gives the place back.
#[derive(Debug)]
pub struct Occupied {
    seat: Seat,
}

impl LoadBoard {
    /// A board for `cores` cores, at least one.
    #[must_use]
    pub fn new(cores: usize) -> Arc<Self> {
        Arc::new(Self { seats: (0..cores.max(1)).map(|_| SeatState::default()).collect() })
    }

    /// The place of core `core`, or `None` when there are not that many.
    #[must_use]
    pub fn seat(self: &Arc<Self>, core: usize) -> Option<Seat> {
        (core < self.seats.len()).then(|| Seat { board: Arc::clone(self), core })
    }

    /// Connections on each core, in order.
    pub fn counts(&self) -> impl Iterator<Item = usize> + '_ {
        self.seats.iter().map(|seat| seat.open.load(Ordering::Relaxed))
    }

    fn lowest(&self) -> usize {
        self.counts().min().unwrap_or(0)
    }

    /// The highest count with which a core may still accept when the lowest is `lowest`.
    fn ceiling(lowest: usize) -> usize {
        lowest + lowest / 16
    }

    /// Wakes the cores that may accept now and could not when the lowest was `before`.
    fn wake_newly_free(&self, before: usize) {
        let (old, new) = (Self::ceiling(before), Self::ceiling(self.lowest()));
        for seat in &self.seats {
            let open = seat.open.load(Ordering::Relaxed);
            if open > old && open <= new {
                seat.changed.notify_one();
            }
        }
    }
}

impl Seat {
    /// May this core take one more?
    #[must_use]
    pub fn may_accept(&self) -> bool {
        self.open() <= LoadBoard::ceiling(self.board.lowest())
    }

    /// Connections on this core.
    #[must_use]
    pub fn open(&self) -> usize {
        self.state().map_or(0, |state| state.open.load(Ordering::Relaxed))
    }

    /// Waits until this core may take one more.
    pub async fn free(&self) {
        while !self.may_accept() {
            match self.state() {
                Some(state) => state.changed.notified().await,
                None => return,
            }
        }
    }

    /// Counts one connection for this core.
    #[must_use]
    pub fn occupy(&self) -> Occupied {
        let before = self.board.lowest();
        if let Some(state) = self.state() {
            state.open.fetch_add(1, Ordering::Relaxed);
        }
        self.board.wake_newly_free(before);
        Occupied { seat: self.clone() }
    }

    fn state(&self) -> Option<&SeatState> {
        self.board.seats.get(self.core)
    }
}

impl Drop for Occupied {
    fn drop(&mut self) {
        if let Some(state) = self.seat.state() {
            state.open.fetch_sub(1, Ordering::Relaxed);
            // This core went down: it may be free now. The others did not move up.
            if self.seat.may_accept() {
                state.changed.notify_one();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn eight_connections_spread_evenly() {
        for cores in 1..=8 {
            let board = LoadBoard::new(cores);
            let seats: Vec<_> = (0..cores).map(|c| board.seat(c).unwrap()).collect();
            let mut held = Vec::new();
            for _ in 0..8 {
                // The worst case: the fullest core that may, does.
                let seat = seats.iter().filter(|s| s.may_accept()).max_by_key(|s| s.open()).unwrap();
                held.push(seat.occupy());
            }
            let (low, high) = (board.counts().min().unwrap(), board.counts().max().unwrap());
            assert!(high - low <= 1, "{cores} cores: {:?}", board.counts().collect::<Vec<_>>());
        }
    }

    #[tokio::test]
    async fn a_core_that_waits_is_woken_when_the_others_have_caught_up() {
        let board = LoadBoard::new(2);
        let (left, right) = (board.seat(0).unwrap(), board.seat(1).unwrap());
        let _first = left.occupy();
        assert!(!left.may_accept() && right.may_accept());
        let waiter = tokio::spawn(async move { left.free().await });
        tokio::task::yield_now().await;
        assert!(!waiter.is_finished());
        let _second = right.occupy();
        waiter.await.unwrap();
    }

    #[tokio::test]
    async fn a_core_that_waits_is_woken_when_its_own_connection_ends() {
        let board = LoadBoard::new(2);
        let left = board.seat(0).unwrap();
        let held = left.occupy();
        let waiter = tokio::spawn({
            let left = left.clone();
            async move { left.free().await }
        });
        tokio::task::yield_now().await;
        drop(held);
        waiter.await.unwrap();
        assert_eq!(board.counts().sum::<usize>(), 0);
    }

    #[test]
    fn there_is_no_seat_beyond_the_last_core() {
        assert!(LoadBoard::new(2).seat(2).is_none());
        assert!(LoadBoard::new(0).seat(0).is_some());
    }

    proptest! {
        /// Whatever opens and closes, somebody may accept, and the fullest core that accepts stays near the mean.
        #[test]
        fn somebody_may_always_accept(steps in proptest::collection::vec((0usize..4, any::<bool>()), 0..200)) {
            let board = LoadBoard::new(4);
            let seats: Vec<_> = (0..4).map(|c| board.seat(c).unwrap()).collect();
            let mut held: Vec<Vec<Occupied>> = (0..4).map(|_| Vec::new()).collect();
            for (core, opens) in steps {
                if !opens {
                    held[core].pop();
                } else if seats[core].may_accept() {
                    held[core].push(seats[core].occupy());
                }
                prop_assert!(seats.iter().any(Seat::may_accept));
            }
        }
    }
}
