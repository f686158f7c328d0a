//! Which request is sent when, and what became of it.
//!
//! A closed loop sends the next request when the last answer has come. An open loop gives every request its moment
//! beforehand and times it from there: if the system stalls, the requests that should have been sent meanwhile count as
//! late (no coordinated omission). What was never answered, or never sent because everything before it was late, counts
//! with the time that it had waited when the stretch was cut off.
//!
//! INVARIANT: a request that was due is in exactly one of answered, failed and late.

use std::cell::{Cell, RefCell};
use std::time::{Duration, Instant};

use super::Pace;
use super::pacer::Pacer;
use crate::Outcome;
use crate::histogram::Histogram;

/// A request to be sent.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Turn {
    pub(crate) number: u64,
    pub(crate) due: Instant,
}

/// What a stretch of load counted.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tally {
    /// Of good answers, and of what was cut off.
    pub(crate) latency: Histogram,
    /// Good answers.
    pub(crate) good: u64,
    /// Good answers that came before the end of the span.
    pub(crate) in_time: u64,
    /// Answered with something else, or broken off.
    pub(crate) failed: u64,
    /// Due and not answered at the cut.
    pub(crate) late: u64,
}

/// Hands out turns.
pub(crate) struct Schedule {
    start: Instant,
    end: Instant,
    pace: Pace,
    next: Cell<u64>,
    over: Cell<bool>,
    pub(crate) pacer: Pacer,
    /// What each place has in flight.
    open: RefCell<Vec<Option<Instant>>>,
    tally: RefCell<Tally>,
}

impl Schedule {
    /// For so many requests at a time.
    pub(crate) fn new(pace: Pace, span: Duration, places: usize) -> Outcome<Self> {
        let start = Instant::now();
        Ok(Self {
            start,
            end: start + span,
            pace,
            next: Cell::new(0),
            over: Cell::new(false),
            pacer: Pacer::new()?,
            open: RefCell::new(vec![None; places]),
            tally: RefCell::default(),
        })
    }

    /// The next request, which may be still to come; nothing when the time is up.
    pub(crate) fn reserve(&self) -> Option<Turn> {
        let number = self.next.get();
        let due = match self.pace {
            Pace::Closed => Instant::now(),
            Pace::Count(most) if number >= most => return None,
            Pace::Count(_) => Instant::now(),
            Pace::Open(rate) => self.due(number, rate),
        };
        if due >= self.end || self.over.get() {
            return None;
        }
        self.next.set(number + 1);
        Some(Turn { number, due })
    }

    /// Waits for a turn and notes that it is in flight.
    pub(crate) async fn turn(&self, place: usize) -> Option<Turn> {
        let turn = self.reserve()?;
        if let Pace::Open(_) = self.pace {
            self.pacer.until(turn.due).await;
        }
        self.sent(place, turn);
        Some(turn)
    }

    pub(crate) fn sent(&self, place: usize, turn: Turn) {
        if let Some(open) = self.open.borrow_mut().get_mut(place) {
            *open = Some(turn.due);
        }
    }

    /// What became of the request that `place` had in flight.
    pub(crate) fn note(&self, place: usize, outcome: &Outcome<u16>) {
        let due = self.open.borrow_mut().get_mut(place).and_then(Option::take);
        let (Some(due), now) = (due, Instant::now()) else { return };
        let mut tally = self.tally.borrow_mut();
        match outcome {
            Ok(200) => {
                tally.latency.record(now - due);
                tally.good += 1;
                tally.in_time += u64::from(now < self.end);
            }
            _ => tally.failed += 1,
        }
    }

    /// Ends it: what is still open or was never sent is late.
    pub(crate) fn cut(&self) -> Tally {
        self.over.set(true);
        let now = Instant::now();
        let mut tally = self.tally.borrow().clone();
        let mut late = |due: Instant| {
            tally.latency.record(now.saturating_duration_since(due));
            tally.late += 1;
        };
        self.open.borrow_mut().iter_mut().filter_map(Option::take).for_each(&mut late);
        if let Pace::Open(rate) = self.pace {
            let unsent = (self.next.get()..).map(|number| self.due(number, rate));
            unsent.take_while(|due| *due < self.end.min(now)).for_each(&mut late);
        }
        tally
    }

    pub(crate) fn took(&self) -> Duration {
        Instant::now().min(self.end).saturating_duration_since(self.start)
    }

    /// From the start until now, waiting for the last answers included.
    pub(crate) fn lasted(&self) -> Duration {
        self.start.elapsed()
    }

    fn due(&self, number: u64, rate: f64) -> Instant {
        let number = f64::from(u32::try_from(number).unwrap_or(u32::MAX));
        self.start + Duration::from_secs_f64(number / rate)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn in_a_runtime(test: impl FnOnce()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async { test() });
    }

    #[test]
    fn every_request_that_was_due_is_counted_once() {
        in_a_runtime(|| {
            let schedule = Schedule::new(Pace::Open(1e6), Duration::from_micros(100), 3).unwrap();
            for place in 0..3 {
                schedule.sent(place, schedule.reserve().unwrap());
            }
            schedule.note(0, &Ok(200));
            schedule.note(1, &Ok(503));
            while Instant::now() < schedule.end {
                std::hint::spin_loop();
            }
            let tally = schedule.cut();
            assert_eq!((tally.good, tally.failed), (1, 1));
            assert_eq!(tally.late, 98, "one open, the rest never sent");
            assert_eq!(tally.latency.total(), 99);
            assert!(schedule.reserve().is_none());
        });
    }

    #[test]
    fn a_closed_loop_owes_nothing() {
        in_a_runtime(|| {
            let schedule = Schedule::new(Pace::Closed, Duration::from_secs(9), 1).unwrap();
            schedule.sent(0, schedule.reserve().unwrap());
            schedule.note(0, &Ok(200));
            schedule.note(0, &Ok(200));
            let tally = schedule.cut();
            assert_eq!((tally.good, tally.in_time, tally.late), (1, 1, 0));
        });
    }
}
