//! What every part of *control* works at: the clock, the record, the metrics, the log.
//!
//! INVARIANT: an event that finds no place in the record is said in the log; whoever must not act without a record asks
//! [`Desk::record`] and obeys.
//!
//! Not here: opening the journal (`run`).

use std::fmt;
use std::sync::Arc;

use aws_lc_rs::rand;
use portcullis_core::{Clock, Now, RequestId};
use portcullis_evidence::Event;
use portcullis_telemetry::log::Fact;
use portcullis_telemetry::{Full, Level, Log, Metrics, Recorder};

/// Cheap to clone; each part has its own.
#[derive(Clone)]
pub struct Desk {
    /// Tells the time.
    pub clock: Arc<dyn Clock>,
    /// Where events go.
    pub recorder: Recorder,
    /// Where things are counted.
    pub metrics: Arc<Metrics>,
    /// What the operator reads.
    pub log: Arc<Log>,
}

impl Desk {
    /// Both clocks.
    #[must_use]
    pub fn now(&self) -> Now {
        self.clock.now()
    }

    /// Records an event of its own.
    ///
    /// # Errors
    /// There is no place for it: what depends on it must not happen.
    pub fn record(&self, event: &Event<'_>) -> Result<(), Full> {
        let now = self.now();
        let random = (u128::from(draw()) << 64) | u128::from(draw());
        self.recorder.record(now, RequestId::new(now.wall, random), event)
    }

    /// Records an event of which nothing depends; without a place it is at least said.
    pub fn note(&self, event: &Event<'_>) {
        if let Err(full) = self.record(event) {
            self.say(
                Level::Error,
                "an event could not be recorded",
                &[("event", &event.kind()), ("why", &full)],
            );
        }
    }

    /// Says something to the operator.
    pub fn say(&self, level: Level, message: &'static str, facts: &[Fact<'_>]) {
        self.log.say(self.now().wall, level, message, facts);
    }
}

impl fmt::Debug for Desk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Desk").finish_non_exhaustive()
    }
}

/// A number for ids and for spreading waits; not a key or a nonce.
pub(crate) fn draw() -> u64 {
    let mut bytes = [0; 8];
    // Without randomness the number is zero: waits are then not spread, and ids still carry their time.
    let _ = rand::fill(&mut bytes);
    u64::from_ne_bytes(bytes)
}
