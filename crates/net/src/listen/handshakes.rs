//! A cap on the handshakes that one core works on at the same time.
//!
//! A handshake is the dearest thing a stranger can ask for. Those beyond the cap wait their turn, within their own
//! deadline, so that a flood of them delays other newcomers and not the connections that are being served.
//!
//! Sources: threats D8, E8; DESIGN "Threads".

use std::rc::Rc;

use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::{Instant, timeout_at};

/// One core's cap. Clones share it.
#[derive(Clone, Debug)]
pub struct CoreHandshakes(Rc<Semaphore>);

/// The right to shake hands now. Dropping it lets the next one in.
#[derive(Debug)]
pub struct HandshakeTurn<'a>(#[expect(dead_code, reason = "held, not read")] SemaphorePermit<'a>);

impl CoreHandshakes {
    /// At most `most` at a time, at least one.
    #[must_use]
    pub fn new(most: u16) -> Self {
        Self(Rc::new(Semaphore::new(usize::from(most.max(1)))))
    }

    /// Waits for a turn; `None` when `deadline` comes first.
    pub async fn turn(&self, deadline: Instant) -> Option<HandshakeTurn<'_>> {
        timeout_at(deadline, self.0.acquire()).await.ok()?.ok().map(HandshakeTurn)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn d8_a_handshake_beyond_the_cap_waits_and_gives_up_at_its_deadline() {
        let gate = CoreHandshakes::new(1);
        let soon = || Instant::now() + Duration::from_secs(1);
        let first = gate.turn(soon()).await.unwrap();
        assert!(gate.turn(soon()).await.is_none());
        drop(first);
        assert!(gate.turn(soon()).await.is_some());
    }
}
