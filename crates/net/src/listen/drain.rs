//! Stop accepting, finish, then force.
//!
//! One [`DrainSwitch`] for the process; a [`Drain`] for everything that lives: listeners, connections, streams.
//!
//! INVARIANT: phases only move forward.

use tokio::sync::watch;

/// How far the drain is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Normal service.
    Serving,
    /// No new connections; requests in flight finish, keep-alive ends.
    Draining,
    /// What is still open is closed.
    Forcing,
}

/// Moves the phases on.
#[derive(Debug)]
pub struct DrainSwitch(watch::Sender<Phase>);

/// Sees the phases. Held for as long as its holder lives, so that the switch knows when all have finished.
#[derive(Clone, Debug)]
pub struct Drain(watch::Receiver<Phase>);

impl DrainSwitch {
    /// A switch in [`Phase::Serving`] and the first watcher.
    #[must_use]
    pub fn new() -> (Self, Drain) {
        let (sender, receiver) = watch::channel(Phase::Serving);
        (Self(sender), Drain(receiver))
    }

    /// Starts the drain.
    pub fn begin(&self) {
        self.advance(Phase::Draining);
    }

    /// Ends the patience.
    pub fn force(&self) {
        self.advance(Phase::Forcing);
    }

    /// Waits until every [`Drain`] is dropped.
    pub async fn finished(&self) {
        self.0.closed().await;
    }

    fn advance(&self, to: Phase) {
        self.0.send_if_modified(|phase| {
            let moves = *phase < to;
            *phase = to.max(*phase);
            moves
        });
    }
}

impl Drain {
    /// The phase now.
    #[must_use]
    pub fn phase(&self) -> Phase {
        *self.0.borrow()
    }

    /// Waits until the phase is `phase` or later. A switch that is gone counts as forcing.
    pub async fn reached(&mut self, phase: Phase) {
        // An error means that the switch was dropped: nobody is left to wait for.
        let _ = self.0.wait_for(|now| *now >= phase).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn phases_move_forward_only_and_the_last_holder_ends_the_drain() {
        let (switch, mut drain) = DrainSwitch::new();
        assert_eq!(drain.phase(), Phase::Serving);
        switch.force();
        switch.begin();
        assert_eq!(drain.phase(), Phase::Forcing);
        drain.reached(Phase::Draining).await;
        drop(drain);
        switch.finished().await;
    }

    #[tokio::test]
    async fn a_lost_switch_forces() {
        let (switch, mut drain) = DrainSwitch::new();
        drop(switch);
        drain.reached(Phase::Forcing).await;
    }
}
