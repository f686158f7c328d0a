//! Waits for moments with microseconds, not the milliseconds of the runtime's own timers.
//!
//! An open loop that sends in bursts of a millisecond measures its own bursts. One timer of the kernel serves all waits.
//!
//! INVARIANT: moments are waited for in the order in which they are handed out, so the first in the list is the next.
//!
//! Sources: timerfd_create(2).

use std::cell::RefCell;
use std::collections::VecDeque;
use std::future::poll_fn;
use std::os::fd::OwnedFd;
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};

use rustix::io::read;
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};
use tokio::io::unix::AsyncFd;
use tokio::sync::Notify;

use crate::Outcome;

/// Who waits, and for when.
pub(crate) struct Pacer {
    timer: AsyncFd<OwnedFd>,
    waiting: RefCell<VecDeque<(Instant, Waker)>>,
    /// Somebody began to wait while nobody did.
    first: Notify,
}

impl Pacer {
    /// Inside a runtime.
    #[expect(deprecated, reason = "its successor is unsafe to call; an OwnedFd keeps to what that asks for")]
    pub(crate) fn new() -> Outcome<Self> {
        let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
        let timer = timerfd_create(TimerfdClockId::Monotonic, flags).map_err(|e| e.to_string())?;
        let timer = AsyncFd::new(timer).map_err(|e| e.to_string())?;
        Ok(Self { timer, waiting: RefCell::default(), first: Notify::new() })
    }

    /// Resolves at `due`. May be dropped and asked again.
    pub(crate) async fn until(&self, due: Instant) {
        poll_fn(|context| {
            if Instant::now() >= due {
                return Poll::Ready(());
            }
            self.wait(due, context.waker());
            Poll::Pending
        })
        .await;
    }

    fn wait(&self, due: Instant, waker: &Waker) {
        let mut waiting = self.waiting.borrow_mut();
        let here = waiting.iter().position(|(other, _)| *other == due);
        if let Some(entry) = here.and_then(|at| waiting.get_mut(at)) {
            entry.1.clone_from(waker);
            return;
        }
        let at = waiting.partition_point(|(other, _)| *other < due);
        waiting.insert(at, (due, waker.clone()));
        if at == 0 {
            self.first.notify_one();
        }
    }

    /// Wakes who waits, for as long as it is polled.
    pub(crate) async fn run(&self) -> Outcome<()> {
        loop {
            let next = self.waiting.borrow().front().map(|(due, _)| *due);
            match next {
                None => self.first.notified().await,
                Some(due) => self.sleep(due).await?,
            }
            self.wake(Instant::now());
        }
    }

    fn wake(&self, now: Instant) {
        let mut waiting = self.waiting.borrow_mut();
        while waiting.front().is_some_and(|(due, _)| *due <= now) {
            if let Some((_, waker)) = waiting.pop_front() {
                waker.wake();
            }
        }
    }

    /// Until `due`, or until somebody waits for less.
    async fn sleep(&self, due: Instant) -> Outcome<()> {
        let span = due.saturating_duration_since(Instant::now()).max(Duration::from_micros(1));
        let none = Timespec { tv_sec: 0, tv_nsec: 0 };
        let span = Timespec {
            tv_sec: i64::try_from(span.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: i64::from(span.subsec_nanos()),
        };
        let once = Itimerspec { it_interval: none, it_value: span };
        timerfd_settime(self.timer.get_ref(), TimerfdTimerFlags::empty(), &once)
            .map_err(|e| e.to_string())?;
        tokio::select! {
            biased;
            ready = self.timer.readable() => {
                let mut ready = ready.map_err(|e| e.to_string())?;
                let mut expired = [0_u8; 8];
                // It may have been set anew meanwhile: then there is nothing to read, and that is no fault.
                let _ = read(self.timer.get_ref(), &mut expired);
                ready.clear_ready();
            }
            () = self.first.notified() => {}
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_wait_ends_and_never_early() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let (pacer, start) = (Pacer::new().unwrap(), Instant::now());
            let at = |micros| start + Duration::from_micros(micros);
            let order = RefCell::new(Vec::new());
            let wait = async |micros| {
                pacer.until(at(micros)).await;
                assert!(Instant::now() >= at(micros));
                order.borrow_mut().push(micros);
            };
            let waits = async { tokio::join!(wait(3_000), wait(700), wait(1_500)) };
            tokio::select! {
                fault = pacer.run() => panic!("{fault:?}"),
                _ = waits => {}
            }
            // On a busy machine several are due at once, and then end in the order in which they are asked.
            let mut ended = order.take();
            ended.sort_unstable();
            assert_eq!(ended, [700, 1_500, 3_000]);
        });
    }
}
