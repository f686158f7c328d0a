//! How many connections and handshakes one source, and all together, may hold.
//!
//! The table holds only sources that have a connection now, so the total cap bounds it and nothing needs evicting. Behind a
//! load balancer the source is known only after the PROXY header: until then a connection has a [`Place`] among all, and
//! those that wait for their header have a cap of their own, so that a silent balancer leaves room for others.
//!
//! INVARIANT: counts never exceed their caps, on any number of cores.
//! INVARIANT: an entry whose count is zero is not in the table.
//!
//! Sources: threats A9, E8 (stalls), D8 (handshake stalls); 11.4.2.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::BuildHasher as _;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwap;

use crate::address::Source;

const SHARDS: usize = 16;

/// The caps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CapLimits {
    /// Connections of all sources together.
    pub total: u32,
    /// Connections of one source.
    pub per_source: u32,
    /// Handshakes of one source that are not finished.
    pub handshakes_per_source: u32,
}

/// Which cap was met.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum CapFault {
    /// All sources together.
    #[error("the listener holds as many connections as it may")]
    Total,
    /// This source's connections.
    #[error("this source holds as many connections as one may")]
    Source,
    /// This source's handshakes.
    #[error("this source has as many unfinished handshakes as one may")]
    Handshakes,
    /// Those whose source is not known yet.
    #[error("as many connections as may wait for their PROXY header")]
    Unnamed,
}

impl CapFault {
    /// A fixed word for events and metrics.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Total => "connection-cap",
            Self::Source => "source-connection-cap",
            Self::Handshakes => "source-handshake-cap",
            Self::Unnamed => "unnamed-connection-cap",
        }
    }
}

#[derive(Clone, Copy, Debug, Default)]
struct Held {
    connections: u32,
    handshakes: u32,
}

/// The counts, shared by all cores.
#[derive(Debug)]
pub struct SourceCaps {
    limits: ArcSwap<CapLimits>,
    total: AtomicU32,
    unnamed: AtomicU32,
    // A random key, so that a caller cannot choose addresses that share a shard or a bucket.
    hasher: std::hash::RandomState,
    shards: [Mutex<HashMap<Source, Held>>; SHARDS],
}

/// A connection that is counted among all, and for no source yet.
#[derive(Debug)]
pub struct Place {
    caps: Arc<SourceCaps>,
}

/// A connection that waits for the header that names its source.
#[derive(Debug)]
pub struct Unnamed<'a> {
    caps: &'a SourceCaps,
}

/// One connection that is counted among all and for its source.
#[derive(Debug)]
pub struct ConnectionSlot {
    place: Place,
    source: Source,
}

/// One counted handshake; it ends with the handshake, the connection stays counted.
#[derive(Debug)]
pub struct HandshakeSlot<'a> {
    slot: &'a ConnectionSlot,
}

impl SourceCaps {
    /// Empty counts under `limits`.
    #[must_use]
    pub fn new(limits: CapLimits) -> Arc<Self> {
        Arc::new(Self {
            limits: ArcSwap::from_pointee(limits),
            total: AtomicU32::new(0),
            unnamed: AtomicU32::new(0),
            hasher: std::hash::RandomState::new(),
            shards: std::array::from_fn(|_| Mutex::default()),
        })
    }

    /// Other limits from now on. What is open beyond them stays open.
    pub fn limit(&self, limits: CapLimits) {
        self.limits.store(Arc::new(limits));
    }

    /// Counts one connection among all.
    ///
    /// # Errors
    /// There are as many as there may be.
    pub fn enter(self: &Arc<Self>) -> Result<Place, CapFault> {
        take(&self.total, self.limits.load().total).ok_or(CapFault::Total)?;
        Ok(Place { caps: Arc::clone(self) })
    }

    /// Connections of all sources.
    #[must_use]
    pub fn open(&self) -> u32 {
        self.total.load(Ordering::Relaxed)
    }

    fn take_connection(&self, source: Source) -> bool {
        let mut shard = self.shard(source);
        let held = shard.get(&source).copied().unwrap_or_default();
        let fits = held.connections < self.limits.load().per_source;
        if fits {
            shard.insert(source, Held { connections: held.connections + 1, ..held });
        }
        fits
    }

    fn shard(&self, source: Source) -> MutexGuard<'_, HashMap<Source, Held>> {
        let index = usize::try_from(self.hasher.hash_one(source) % SHARDS as u64).unwrap_or(0);
        let shard = self.shards.get(index).unwrap_or(&self.shards[0]);
        // A poisoned shard holds plain counts that are still right.
        shard.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One more, unless there are `most`.
fn take(count: &AtomicU32, most: u32) -> Option<u32> {
    let below = |n: u32| (n < most).then_some(n + 1);
    count.fetch_update(Ordering::Relaxed, Ordering::Relaxed, below).ok()
}

impl Place {
    /// Counts it for its source, which is known now.
    ///
    /// # Errors
    /// The source has as many as one may; nothing is counted then.
    pub fn of(self, source: IpAddr) -> Result<ConnectionSlot, CapFault> {
        let source = Source::of(source);
        match self.caps.take_connection(source) {
            true => Ok(ConnectionSlot { place: self, source }),
            false => Err(CapFault::Source),
        }
    }

    /// Counts it among those that wait for a header: a quarter of all may.
    ///
    /// # Errors
    /// As many wait as may.
    pub fn unnamed(&self) -> Result<Unnamed<'_>, CapFault> {
        take(&self.caps.unnamed, (self.caps.limits.load().total / 4).max(1)).ok_or(CapFault::Unnamed)?;
        Ok(Unnamed { caps: &self.caps })
    }
}

impl Drop for Unnamed<'_> {
    fn drop(&mut self) {
        self.caps.unnamed.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.caps.total.fetch_sub(1, Ordering::Relaxed);
    }
}

impl ConnectionSlot {
    /// Counts one handshake of this connection's source.
    ///
    /// # Errors
    /// The source has too many already.
    pub fn handshake(&self) -> Result<HandshakeSlot<'_>, CapFault> {
        let mut shard = self.place.caps.shard(self.source);
        let held = shard.entry(self.source).or_default();
        if held.handshakes >= self.place.caps.limits.load().handshakes_per_source {
            return Err(CapFault::Handshakes);
        }
        held.handshakes += 1;
        Ok(HandshakeSlot { slot: self })
    }
}

impl Drop for HandshakeSlot<'_> {
    fn drop(&mut self) {
        if let Some(held) = self.slot.place.caps.shard(self.slot.source).get_mut(&self.slot.source) {
            held.handshakes = held.handshakes.saturating_sub(1);
        }
    }
}

impl Drop for ConnectionSlot {
    fn drop(&mut self) {
        if let Entry::Occupied(mut entry) = self.place.caps.shard(self.source).entry(self.source) {
            let held = entry.get_mut();
            held.connections = held.connections.saturating_sub(1);
            if held.connections == 0 {
                entry.remove();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn caps(total: u32, per_source: u32, handshakes: u32) -> Arc<SourceCaps> {
        SourceCaps::new(CapLimits { total, per_source, handshakes_per_source: handshakes })
    }

    fn admit(caps: &Arc<SourceCaps>, source: IpAddr) -> Result<ConnectionSlot, CapFault> {
        caps.enter()?.of(source)
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn entries(caps: &SourceCaps) -> usize {
        caps.shards.iter().map(|s| s.lock().unwrap().len()).sum()
    }

    #[test]
    fn e8_one_source_cannot_take_all_places_and_the_total_holds() {
        let caps = caps(3, 2, 9);
        let held: Vec<_> = (0..2).map(|_| admit(&caps, ip("192.0.2.1")).unwrap()).collect();
        assert_eq!(admit(&caps, ip("192.0.2.1")).unwrap_err(), CapFault::Source);
        assert_eq!(admit(&caps, ip("::ffff:192.0.2.1")).unwrap_err(), CapFault::Source);
        let other = admit(&caps, ip("192.0.2.2")).unwrap();
        assert_eq!(admit(&caps, ip("192.0.2.3")).unwrap_err(), CapFault::Total);
        drop((held, other));
        assert_eq!((caps.open(), entries(&caps)), (0, 0));
    }

    #[test]
    fn e8_other_limits_hold_for_the_next_and_close_nothing() {
        let caps = caps(9, 3, 9);
        let held: Vec<_> = (0..3).map(|_| admit(&caps, ip("192.0.2.1")).unwrap()).collect();
        caps.limit(CapLimits { total: 9, per_source: 1, handshakes_per_source: 1 });
        assert_eq!(admit(&caps, ip("192.0.2.1")).unwrap_err(), CapFault::Source);
        let _shaking = held[0].handshake().unwrap();
        assert_eq!(held[1].handshake().unwrap_err(), CapFault::Handshakes);
        assert_eq!(caps.open(), 3);
        caps.limit(CapLimits { total: 3, per_source: 9, handshakes_per_source: 1 });
        assert_eq!(admit(&caps, ip("192.0.2.2")).unwrap_err(), CapFault::Total);
    }

    #[test]
    fn e8_a_v6_subscriber_is_one_source() {
        let caps = caps(9, 1, 9);
        let _held = admit(&caps, ip("2001:db8:0:1::1")).unwrap();
        assert_eq!(admit(&caps, ip("2001:db8:0:1:9::2")).unwrap_err(), CapFault::Source);
        assert!(admit(&caps, ip("2001:db8:0:2::1")).is_ok());
    }

    #[test]
    fn d8_unfinished_handshakes_are_capped_apart_from_connections() {
        let caps = caps(9, 9, 1);
        let (a, b) = (admit(&caps, ip("192.0.2.1")).unwrap(), admit(&caps, ip("192.0.2.1")).unwrap());
        let shaking = a.handshake().unwrap();
        assert_eq!(b.handshake().unwrap_err(), CapFault::Handshakes);
        drop(shaking);
        assert!(b.handshake().is_ok());
    }

    #[test]
    fn a9_those_that_wait_for_a_header_are_bounded_and_count_for_no_source() {
        let caps = caps(8, 1, 9);
        let places: Vec<_> = (0..3).map(|_| caps.enter().unwrap()).collect();
        let waiting: Vec<_> = places.iter().take(2).map(|p| p.unnamed().unwrap()).collect();
        assert_eq!(places[2].unnamed().unwrap_err(), CapFault::Unnamed);
        assert_eq!((caps.open(), entries(&caps)), (3, 0));
        drop(waiting);
        assert!(places[2].unnamed().is_ok());
        let mut named = places.into_iter().map(|p| p.of(ip("192.0.2.1")));
        let first = named.next().unwrap().unwrap();
        assert!(named.all(|place| place.unwrap_err() == CapFault::Source));
        assert_eq!(caps.open(), 1, "a place that finds no source's is given back");
        drop(first);
        assert_eq!((caps.open(), entries(&caps)), (0, 0));
    }

    #[test]
    fn caps_hold_over_threads() {
        let caps = caps(50, 20, 9);
        let hold = |last: u8| {
            let caps = &caps;
            move || {
                let held: Vec<_> =
                    (0..100).filter_map(|_| admit(caps, IpAddr::from([192, 0, 2, last])).ok()).collect();
                held.len()
            }
        };
        let most = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4).map(|t| scope.spawn(hold(t))).collect();
            threads.into_iter().map(|t| t.join().unwrap()).max()
        });
        assert!(most.unwrap() <= 20);
        assert_eq!((caps.open(), entries(&caps)), (0, 0));
    }

    proptest! {
        #[test]
        fn the_counts_agree_with_a_plain_list(steps in proptest::collection::vec((0u8..4, any::<bool>()), 0..100)) {
            let caps = caps(8, 3, 1);
            let mut held: Vec<(u8, ConnectionSlot)> = Vec::new();
            for (last, opens) in steps {
                if opens {
                    let mine = held.iter().filter(|(l, _)| *l == last).count();
                    let want = if held.len() >= 8 { Err(CapFault::Total) }
                        else if mine >= 3 { Err(CapFault::Source) } else { Ok(()) };
                    let got = admit(&caps, IpAddr::from([192, 0, 2, last]));
                    prop_assert_eq!(got.as_ref().map(|_| ()).map_err(|e| *e), want);
                    held.extend(got.ok().map(|slot| (last, slot)));
                } else if let Some(at) = held.iter().position(|(l, _)| *l == last) {
                    held.remove(at);
                }
                prop_assert_eq!(caps.open() as usize, held.len());
            }
        }
    }
}
