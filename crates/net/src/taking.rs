//! How fast the caller of one HTTP/2 stream takes its answer.
//!
//! A connection that moves may hold a stream that does not: its caller grants no window, and keeps an answer, its
//! upstream and its place in flight for as long as it likes. hyper holds one piece of the body until there is room for it
//! and does not ask for the next, so the body itself never learns. But each stream is a task that `StreamExec` starts,
//! and while the task runs, this thread knows its stream: the body says here what it [`gives`] out and when it is
//! [`asked`] for more, and a task that has stood on one piece for too long is dropped. h2 then resets that stream
//! (CANCEL), and no other.
//!
//! INVARIANT: nothing is allocated and no timer is set for an answer that never waits for its caller.
//! INVARIANT: time in which the body had nothing to give, or nobody asked for it, costs nothing.
//!
//! Not here: whole connections that stand still (`guard::meter`), who cuts bodies into pieces (`portcullis-dataplane`).
//!
//! Sources: RFC 9113 §5.2, §5.4.2; threats E5, E8.

use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::{Context, Poll};

use tokio::time::Instant;

use crate::guard::pace::{Alarm, Pace};
use crate::guard::{Fault, Flaw, Leg, MinRate};

thread_local! {
    /// The stream whose task runs on this thread, if one does.
    static RUNNING: RefCell<Option<Taking>> = const { RefCell::new(None) };
}

/// The largest piece of a body that a stream should be given at a time: one frame of most peers.
pub const PIECE: usize = 16 * 1024;

/// The taking of one stream's answer.
#[derive(Debug)]
struct Taking {
    pace: Pace,
    /// Bytes that were given out last, until the next are asked for.
    given: Option<usize>,
    fault: Option<Fault>,
}

/// Whether the task that runs is an HTTP/2 stream, so that bodies are given out in pieces.
#[must_use]
pub fn is_stream() -> bool {
    RUNNING.with_borrow(Option::is_some)
}

/// The body of the stream that runs gave out a piece.
pub fn gives(bytes: usize) {
    RUNNING.with_borrow_mut(|running| {
        if let Some(taking) = running {
            taking.given = Some(bytes);
        }
    });
}

/// The body of the stream that runs is asked for more, so what it gave out has been taken.
pub fn asked(now: impl FnOnce() -> Instant) {
    RUNNING.with_borrow_mut(|running| {
        if let Some(taking) = running
            && let Some(bytes) = taking.given.take()
        {
            taking.pace.moved(bytes, now);
        }
    });
}

/// Why the stream that runs is being dropped, if it was too slow.
#[must_use]
pub fn fault() -> Option<Fault> {
    RUNNING.with_borrow(|running| running.as_ref().and_then(|taking| taking.fault))
}

impl Taking {
    fn new(rate: MinRate) -> Self {
        Self { pace: Pace::new(rate), given: None, fault: None }
    }

    /// `Ready` when the piece that was given out has been standing for too long at `now`.
    fn poll_late(&mut self, cx: &mut Context<'_>, alarm: &mut Alarm, now: Instant) -> Poll<()> {
        let Some(bytes) = self.given else { return Poll::Pending };
        let deadline = self.pace.waits_for(bytes, now);
        alarm.poll(cx, deadline).map(|()| self.fault = Some(Fault::new(Flaw::SlowReader, Leg::Downstream)))
    }
}

/// Runs the streams of a connection on this core, each under watch.
#[derive(Clone, Copy, Debug)]
pub(crate) struct StreamExec {
    rate: MinRate,
}

impl StreamExec {
    pub(crate) fn new(rate: MinRate) -> Self {
        Self { rate }
    }
}

impl<F: Future<Output = ()> + 'static> hyper::rt::Executor<F> for StreamExec {
    fn execute(&self, stream: F) {
        tokio::task::spawn_local(watched(stream, self.rate));
    }
}

/// The stream, until it ends or its caller is too slow.
async fn watched(stream: impl Future<Output = ()>, rate: MinRate) {
    let mut stream = pin!(Some(stream));
    let mut taking = Some(Taking::new(rate));
    let mut alarm = Alarm::default();
    poll_fn(|cx| {
        let Some(running) = stream.as_mut().as_pin_mut() else { return Poll::Ready(()) };
        exchange(&mut taking);
        let polled = running.poll(cx);
        exchange(&mut taking);
        match &mut taking {
            Some(taking) if polled.is_pending() => taking.poll_late(cx, &mut alarm, Instant::now()),
            _ => polled,
        }
    })
    .await;
    // Its body is dropped while the stream still is the one that runs, so that it can ask why.
    exchange(&mut taking);
    stream.set(None);
    exchange(&mut taking);
}

/// Puts a stream in the place of what runs on this thread, and takes it out again.
fn exchange(taking: &mut Option<Taking>) {
    RUNNING.with_borrow_mut(|running| std::mem::swap(running, taking));
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::time::Duration;

    use super::*;

    const RATE: MinRate = MinRate::new(100, Duration::from_secs(10));

    fn paused(test: impl Future<Output = ()>) {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        runtime.enable_time().start_paused(true).build().unwrap().block_on(test);
    }

    /// Asks why it is dropped, as a body does.
    struct Why<'a>(&'a Cell<Option<Fault>>);

    impl Drop for Why<'_> {
        fn drop(&mut self) {
            self.0.set(fault());
        }
    }

    /// A stream whose body gives out `bytes` each time that `every` has passed: why and when it was dropped.
    async fn taken(bytes: usize, every: Duration, pieces: usize) -> (Option<Fault>, Duration) {
        let (start, found) = (Instant::now(), Cell::new(None));
        let why = Why(&found);
        let stream = async move {
            let _why = why;
            for _ in 0..pieces {
                asked(Instant::now);
                gives(bytes);
                tokio::time::sleep(every).await;
            }
        };
        watched(stream, RATE).await;
        (found.get(), start.elapsed())
    }

    #[test]
    fn e8_a_stream_that_is_not_taken_is_dropped_after_the_grace() {
        paused(async {
            let (fault, took) = taken(10, Duration::from_secs(3_600), 1).await;
            assert_eq!(fault, Some(Fault::new(Flaw::SlowReader, Leg::Downstream)));
            assert!((10..12).contains(&took.as_secs()), "{took:?}");
        });
    }

    #[test]
    fn e8_a_trickle_of_window_runs_out_and_a_reader_above_the_rate_does_not() {
        paused(async {
            assert!(taken(50, Duration::from_secs(1), 1_000).await.0.is_some(), "half of the rate");
            assert!(taken(101, Duration::from_secs(1), 1_000).await.0.is_none(), "just above it");
            assert!(taken(PIECE, Duration::from_secs(160), 20).await.0.is_none(), "large pieces at the rate");
        });
    }

    #[test]
    fn a_body_that_has_nothing_to_give_is_not_slow_reading() {
        paused(async {
            let waits = async {
                gives(1);
                tokio::time::sleep(Duration::from_secs(1)).await;
                asked(Instant::now);
                tokio::time::sleep(Duration::from_secs(3_600)).await;
                assert!(fault().is_none());
            };
            watched(waits, RATE).await;
        });
    }

    #[test]
    fn each_task_knows_its_own_stream_and_nobody_else_does() {
        paused(async {
            assert!(!is_stream());
            let slow = Cell::new(None);
            let one = async {
                let _why = Why(&slow);
                gives(7);
                tokio::time::sleep(Duration::from_secs(3_600)).await;
            };
            let other = async {
                tokio::time::sleep(Duration::from_secs(60)).await;
                assert!(is_stream() && fault().is_none());
            };
            tokio::join!(watched(one, RATE), watched(other, RATE));
            assert!(slow.get().is_some() && !is_stream());
        });
    }
}
