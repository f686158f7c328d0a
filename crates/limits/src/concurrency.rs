//! How many requests of one key are in flight.
//!
//! INVARIANT: what entered leaves exactly once, whether the request ends, is dropped or panics: the count belongs to
//! the [`Held`] value.
//! INVARIANT: a key without a request in flight takes no room, so the table is as small as the load.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::{BuildHasherDefault, Hash, Hasher};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::key::{Fingerprint, LimitKey, Printer};

const SHARDS: usize = 32;

/// Caps on requests in flight, for a whole process.
#[derive(Clone, Debug)]
pub struct Concurrency(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    shards: [Mutex<Counts>; SHARDS],
    most: usize,
    printer: Printer,
}

type Counts = HashMap<Fingerprint, u32, BuildHasherDefault<AlreadyHashed>>;

/// One request in flight; it is counted until this is dropped.
#[derive(Debug)]
#[must_use = "dropping this at once counts nothing"]
pub struct Held {
    of: Arc<Inner>,
    print: Fingerprint,
}

/// Why a request may not enter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Busy {
    /// As many of this key as it may have are in flight.
    AtCap,
    /// The table has no room for another key.
    Full,
}

impl Concurrency {
    /// Room for about `capacity` keys with requests in flight.
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        let shards = std::array::from_fn(|_| Mutex::default());
        let most = capacity.div_ceil(SHARDS).max(1);
        Self(Arc::new(Inner { shards, most, printer: Printer::default() }))
    }

    /// Counts one more request of `key`, of which `cap` may be in flight.
    ///
    /// # Errors
    /// The cap is reached, or the table is full of other keys.
    pub fn enter(&self, key: &LimitKey<'_>, cap: u32) -> Result<Held, Busy> {
        let print = self.0.printer.print(key);
        let mut counts = self.0.lock(print).ok_or(Busy::Full)?;
        let room = counts.len() < self.0.most;
        match counts.entry(print) {
            Entry::Occupied(mut count) if *count.get() < cap => *count.get_mut() += 1,
            Entry::Occupied(_) => return Err(Busy::AtCap),
            Entry::Vacant(_) if cap == 0 => return Err(Busy::AtCap),
            Entry::Vacant(_) if !room => return Err(Busy::Full),
            Entry::Vacant(place) => drop(place.insert(1)),
        }
        drop(counts);
        Ok(Held { of: Arc::clone(&self.0), print })
    }

    /// How many requests are in flight under all keys.
    #[must_use]
    pub fn in_flight(&self) -> u64 {
        let sum = |shard: &Mutex<Counts>| locked(shard).values().map(|n| u64::from(*n)).sum::<u64>();
        self.0.shards.iter().map(sum).sum()
    }
}

impl Inner {
    fn lock(&self, print: Fingerprint) -> Option<MutexGuard<'_, Counts>> {
        let shard = usize::try_from(print.low >> 59).ok()?;
        self.shards.get(shard).map(locked)
    }
}

fn locked(shard: &Mutex<Counts>) -> MutexGuard<'_, Counts> {
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Drop for Held {
    fn drop(&mut self) {
        let Some(mut counts) = self.of.lock(self.print) else { return };
        if let Entry::Occupied(mut count) = counts.entry(self.print) {
            match count.get().checked_sub(1) {
                Some(left) if left > 0 => *count.get_mut() = left,
                _ => drop(count.remove()),
            }
        }
    }
}

impl Hash for Fingerprint {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.high);
    }
}

/// Takes the bits as they are: they come from a keyed hash.
#[derive(Clone, Debug, Default)]
struct AlreadyHashed(u64);

impl Hasher for AlreadyHashed {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, bytes: &[u8]) {
        self.0 = bytes.iter().fold(self.0, |sum, byte| sum.rotate_left(8) ^ u64::from(*byte));
    }
    fn write_u64(&mut self, n: u64) {
        self.0 ^= n;
    }
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::sync::atomic::{AtomicU32, Ordering};

    use portcullis_core::Name;
    use proptest::prelude::*;

    use super::*;

    fn plan(n: usize) -> Name {
        Name::parse(&format!("p{n}")).expect("name")
    }

    #[test]
    fn a_cap_holds_until_a_request_ends() {
        let (all, plan) = (Concurrency::new(100), plan(0));
        let key = LimitKey::Plan { plan: &plan };
        let one = all.enter(&key, 2).expect("first");
        let two = all.enter(&key, 2).expect("second");
        assert_eq!(all.enter(&key, 2).err(), Some(Busy::AtCap));
        drop(one);
        let three = all.enter(&key, 2).expect("third");
        assert_eq!(all.in_flight(), 2);
        drop((two, three));
        assert_eq!(all.in_flight(), 0);
        assert!(all.0.shards.iter().all(|shard| locked(shard).is_empty()), "nothing is kept for idle keys");
        assert_eq!(all.enter(&key, 0).err(), Some(Busy::AtCap));
    }

    #[test]
    fn e10_a_full_table_refuses_new_keys_and_serves_old_ones() {
        let all = Concurrency::new(32);
        let plans: Vec<Name> = (0..200).map(plan).collect();
        let held: Vec<_> = plans.iter().map(|plan| all.enter(&LimitKey::Plan { plan }, 2)).collect();
        let entered = held.iter().filter(|held| held.is_ok()).count();
        assert!((16..=32).contains(&entered), "{entered}");
        assert!(held.iter().filter_map(|held| held.as_ref().err()).all(|busy| *busy == Busy::Full));
        for (plan, held) in plans.iter().zip(&held) {
            assert_eq!(all.enter(&LimitKey::Plan { plan }, 2).is_ok(), held.is_ok());
        }
    }

    #[test]
    fn a_panic_gives_its_place_back() {
        let (all, plan) = (Concurrency::new(100), plan(0));
        let broken = catch_unwind(AssertUnwindSafe(|| {
            let _held = all.enter(&LimitKey::Plan { plan: &plan }, 1).expect("enters");
            panic!("the request breaks");
        }));
        assert!(broken.is_err());
        assert_eq!(all.in_flight(), 0);
        assert!(all.enter(&LimitKey::Plan { plan: &plan }, 1).is_ok());
    }

    #[test]
    fn eight_cores_never_exceed_the_cap_and_leave_nothing_behind() {
        let (all, plan) = (Concurrency::new(100), plan(0));
        let (inside, worst) = (AtomicU32::new(0), AtomicU32::new(0));
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..2_000 {
                        let Ok(held) = all.enter(&LimitKey::Plan { plan: &plan }, 3) else { continue };
                        worst.fetch_max(inside.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                        inside.fetch_sub(1, Ordering::SeqCst);
                        drop(held);
                    }
                });
            }
        });
        assert!((1..=3).contains(&worst.into_inner()));
        assert_eq!(all.in_flight(), 0);
    }

    fn crosses_threads<T: Send + 'static>(_: &T) {}

    #[test]
    fn a_held_place_may_move_with_its_request() {
        let (all, plan) = (Concurrency::new(1), plan(0));
        crosses_threads(&all.enter(&LimitKey::Plan { plan: &plan }, 1));
    }

    proptest! {
        #[test]
        fn the_count_is_that_of_the_values_alive(ops in prop::collection::vec((any::<bool>(), 0usize..4), 1..200)) {
            let (all, plans) = (Concurrency::new(1_000), (0..4).map(plan).collect::<Vec<_>>());
            let mut alive: Vec<Vec<Held>> = (0..4).map(|_| Vec::new()).collect();
            for (enters, n) in ops {
                if enters {
                    let entered = all.enter(&LimitKey::Plan { plan: &plans[n] }, 5);
                    prop_assert_eq!(entered.is_ok(), alive[n].len() < 5);
                    alive[n].extend(entered);
                } else {
                    alive[n].pop();
                }
                prop_assert_eq!(all.in_flight(), alive.iter().map(Vec::len).sum::<usize>() as u64);
            }
        }
    }
}
