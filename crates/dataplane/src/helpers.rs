//! A few threads for what would hold a core up: the contract check of a large body.
//!
//! A core serves all of its connections on one thread, and a body of a mebibyte takes milliseconds to check. So such
//! work is queued here, and the core goes on with other requests until its answer is there.
//!
//! INVARIANT: the queue and the wait are bounded; what finds no room, or is not done in time, is refused (503).
//! INVARIANT: work that nobody waits for any more is not begun, and work that panics refuses its own request alone.
//!
//! Not here: what is checked (`shape`), which work is large enough (`shape`).
//!
//! Sources: DESIGN §4 (threads); threats C15, E9.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use portcullis_core::{Reason, Refusal};
use tokio::sync::oneshot;

/// One piece of work.
type Work = Box<dyn FnOnce() + Send>;

/// The threads, and what waits for them. They end when this is dropped.
pub(crate) struct Helpers {
    shared: Arc<Shared>,
    room: usize,
}

#[derive(Default)]
struct Shared {
    queue: Mutex<Queue>,
    news: Condvar,
}

#[derive(Default)]
struct Queue {
    waiting: VecDeque<Work>,
    over: bool,
}

impl Helpers {
    /// Starts `threads` of them, with a queue of `room`.
    ///
    /// # Errors
    /// The system gives no thread.
    pub(crate) fn start(threads: usize, room: usize) -> std::io::Result<Self> {
        let helpers = Self { shared: Arc::default(), room };
        for index in 0..threads {
            let shared = Arc::clone(&helpers.shared);
            let thread = std::thread::Builder::new().name(format!("helper-{index}"));
            thread.spawn(move || shared.serve())?;
        }
        Ok(helpers)
    }

    /// Has `work` done elsewhere and waits for what it gives, but not for longer than `patience`.
    ///
    /// # Errors
    /// There is no room for it, it is not done in time, or it broke.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
        patience: Duration,
    ) -> Result<T, Refusal> {
        let (give, given) = oneshot::channel();
        self.queue(Box::new(move || {
            if !give.is_closed() {
                let _ = give.send(work());
            }
        }))?;
        match tokio::time::timeout(patience, given).await {
            Ok(Ok(done)) => Ok(done),
            Ok(Err(_)) => Err(Refusal::new(Reason::Unavailable, "the work of a helper broke")),
            Err(_) => Err(busy("no helper was done in time")),
        }
    }

    fn queue(&self, work: Work) -> Result<(), Refusal> {
        let mut queue = self.shared.lock();
        if queue.waiting.len() >= self.room {
            return Err(busy("the queue of the helpers is full"));
        }
        queue.waiting.push_back(work);
        self.shared.news.notify_one();
        Ok(())
    }
}

fn busy(why: &'static str) -> Refusal {
    Refusal::new(Reason::Overloaded, why).after(Duration::from_secs(1))
}

impl Drop for Helpers {
    fn drop(&mut self) {
        self.shared.lock().over = true;
        self.shared.news.notify_all();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The life of a thread.
    fn serve(&self) {
        while let Some(work) = self.next() {
            // Whoever waits for it sees its end of the channel go.
            let _ = catch_unwind(AssertUnwindSafe(work));
        }
    }

    fn next(&self) -> Option<Work> {
        let idle = |queue: &mut Queue| queue.waiting.is_empty() && !queue.over;
        let queue = self.news.wait_while(self.lock(), idle);
        let mut queue = queue.unwrap_or_else(PoisonError::into_inner);
        if queue.over { None } else { queue.waiting.pop_front() }
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::sync::mpsc;

    use super::*;

    const LONG: Duration = Duration::from_secs(20);

    fn on_a_core<T>(test: impl Future<Output = T>) -> T {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(test)
    }

    #[test]
    fn e9_a_core_goes_on_while_a_helper_works() {
        on_a_core(async {
            let helpers = Helpers::start(1, 1).unwrap();
            let (release, released) = mpsc::channel();
            // The work ends only if the core that waits for it runs something else meanwhile.
            let work = helpers.run(move || released.recv().unwrap(), LONG);
            let other = async { release.send(7).unwrap() };
            let (done, ()) = tokio::join!(work, other);
            assert_eq!(done.ok(), Some(7));
        });
    }

    #[test]
    fn e9_a_full_queue_refuses_and_what_was_queued_is_still_done() {
        on_a_core(async {
            let helpers = Helpers::start(1, 1).unwrap();
            let (release, released) = mpsc::channel::<()>();
            let (begin, begun) = oneshot::channel();
            let held = helpers.run(
                move || {
                    begin.send(()).unwrap();
                    released.recv().unwrap();
                    1
                },
                LONG,
            );
            let others = async {
                begun.await.unwrap();
                let queued = helpers.run(|| 2, LONG);
                let refused = async {
                    let refused = helpers.run(|| 3, LONG).await.unwrap_err();
                    release.send(()).unwrap();
                    refused
                };
                tokio::join!(biased; queued, refused)
            };
            let (held, (queued, refused)) = tokio::join!(held, others);
            assert_eq!((held.ok(), queued.ok()), (Some(1), Some(2)));
            assert_eq!((refused.reason(), refused.reason().status()), (Reason::Overloaded, 503));
            assert!(refused.retry_after().is_some());
        });
    }

    #[test]
    fn c15_work_that_panics_refuses_and_the_next_is_done() {
        on_a_core(async {
            let helpers = Helpers::start(1, 4).unwrap();
            let broke = helpers.run(|| assert!(helpers_break(), "on purpose"), LONG).await.unwrap_err();
            assert_eq!(broke.reason(), Reason::Unavailable);
            assert_eq!(helpers.run(|| 5, LONG).await.ok(), Some(5));
        });
    }

    fn helpers_break() -> bool {
        std::hint::black_box(false)
    }

    #[test]
    fn e9_work_that_is_late_refuses_and_work_that_nobody_waits_for_is_not_begun() {
        on_a_core(async {
            let helpers = Helpers::start(1, 4).unwrap();
            let (release, released) = mpsc::channel::<()>();
            let (begin, begun) = mpsc::channel();
            let holds = move || {
                begin.send(()).unwrap();
                released.recv().unwrap();
            };
            helpers.queue(Box::new(holds)).unwrap();
            begun.recv().unwrap();
            let (tell, told) = mpsc::channel();
            let late = helpers.run(move || tell.send(()), Duration::ZERO).await.unwrap_err();
            assert_eq!(late.reason(), Reason::Overloaded);
            release.send(()).unwrap();
            assert_eq!(helpers.run(|| 1, LONG).await.ok(), Some(1));
            assert!(told.try_recv().is_err(), "the one who asked had left");
        });
    }
}
