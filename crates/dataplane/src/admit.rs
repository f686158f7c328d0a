//! Stage 2: is there room?
//!
//! INVARIANT: a request that goes on holds one of the in-flight slots and one slot of the record, both by value, so
//! neither can leak and what could not be recorded is not served (DESIGN §4).
//!
//! Not here: connections and handshakes by source (`portcullis-net`), rates of callers (`shape`).
//!
//! Sources: MS-SS-13.5; threats E1, E8.

use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use portcullis_core::{Reason, Refusal};

use crate::core_state::Core;
use crate::frame::Framed;
use crate::record::Record;

/// Requests in flight in the whole process.
#[derive(Debug)]
pub(crate) struct InFlight {
    now: AtomicU32,
    most: AtomicU32,
}

impl InFlight {
    /// A count with a cap.
    pub(crate) fn new(most: u32) -> Self {
        Self { now: AtomicU32::new(0), most: AtomicU32::new(most) }
    }

    /// Takes a slot, or nothing when all are taken.
    pub(crate) fn enter(self: &Arc<Self>) -> Option<Slot> {
        let most = self.most.load(Ordering::Relaxed);
        let step = |n: u32| (n < most).then(|| n + 1);
        self.now.fetch_update(Ordering::Relaxed, Ordering::Relaxed, step).ok()?;
        Some(Slot(Arc::clone(self)))
    }

    /// Moves the cap; those beyond a lower one may finish.
    pub(crate) fn cap(&self, most: u32) {
        self.most.store(most, Ordering::Relaxed);
    }

    /// How many there are.
    pub(crate) fn count(&self) -> u32 {
        self.now.load(Ordering::Relaxed)
    }
}

/// One request's place. Dropping it gives the place back.
#[derive(Debug)]
pub(crate) struct Slot(Arc<InFlight>);

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.now.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A framed request with its slots.
pub(crate) struct Admitted {
    /// The request.
    pub framed: Framed,
    /// Its place in flight.
    pub slot: Slot,
    /// Whom it comes from.
    pub source: IpAddr,
}

/// Takes the slots.
pub(crate) fn admit(core: &Rc<Core>, framed: Framed, record: &mut Record) -> Result<Admitted, Refusal> {
    let full =
        || Refusal::new(Reason::Overloaded, "every in-flight slot is taken").after(Duration::from_secs(1));
    let slot = core.shared.in_flight.enter().ok_or_else(full)?;
    record.reserve()?;
    Ok(Admitted { framed, slot, source: record.source() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn e1_there_are_never_more_in_flight_than_the_cap() {
        let all = Arc::new(InFlight::new(2));
        let (first, second) = (all.enter(), all.enter());
        assert!(first.is_some() && second.is_some() && all.enter().is_none());
        drop(first);
        assert_eq!(all.count(), 1);
        assert!(all.enter().is_some());
    }
}
