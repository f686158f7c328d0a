//! A bounded table of arrival times, sharded over short locks.
//!
//! Each shard is an open-addressing table of 24-byte slots that grows by doubling up to its share of the capacity.
//! An entry whose arrival time has passed says nothing that an absent one does not, so its slot is free to take:
//! each new key clears a few slots further on, and a probe takes the first spent slot it meets. A shard that is full of
//! live entries gives a new key no slot; such keys share a bucket for each shape of quota, held beside the shards.
//!
//! INVARIANT: a slot that still counts is never given to another key.
//! INVARIANT: each operation touches a bounded number of slots, growth (amortised) excepted.
//! INVARIANT: time never runs back within a shard, so what was reclaimed cannot come to life again.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Instant;

use portcullis_core::Now;

use crate::key::Fingerprint;
use crate::quota::{Quota, Step};

/// How many slots each new key clears behind it.
const SWEEP: usize = 8;
/// Shapes of quota that a full table keeps apart.
const SHARED: usize = 16;
/// More shards than this gain nothing on the machines this runs on.
const MOST_SHARDS: usize = 64;

/// Turns an instant into nanoseconds that leave room below and above.
#[derive(Debug, Default)]
pub(crate) struct Origin(OnceLock<Instant>);

impl Origin {
    /// The first reading stands in the middle, so that an earlier one is still a number.
    const FIRST: u64 = 1 << 62;

    pub(crate) fn nanos(&self, now: Now) -> u64 {
        let first = *self.0.get_or_init(|| now.mono);
        let nanos = |span: std::time::Duration| u64::try_from(span.as_nanos()).unwrap_or(u64::MAX);
        match now.mono.checked_duration_since(first) {
            Some(after) => Self::FIRST.saturating_add(nanos(after)),
            None => Self::FIRST.saturating_sub(nanos(first.saturating_duration_since(now.mono))),
        }
    }
}

#[derive(Clone, Copy, Debug)]
struct Slot {
    key: Fingerprint,
    tat: u64,
}

impl Slot {
    const FREE: Self = Self { key: Fingerprint::NONE, tat: 0 };

    fn is_free(&self) -> bool {
        self.key == Fingerprint::NONE
    }
}

/// One part of a table, behind one lock.
#[derive(Debug)]
pub(crate) struct Shard {
    slots: Vec<Slot>,
    taken: usize,
    most: usize,
    hand: usize,
    latest: u64,
}

/// Where a probe ended.
enum Probe {
    Found(usize),
    /// Not here; this slot may be taken, which uses up a free one or a spent one.
    Spent(usize),
    Free(usize),
    Full,
}

impl Shard {
    fn new(most: usize) -> Self {
        Self { slots: Vec::new(), taken: 0, most, hand: 0, latest: 0 }
    }

    /// This shard's time: never earlier than any it has seen.
    pub(crate) fn at(&mut self, now: u64) -> u64 {
        self.latest = self.latest.max(now);
        self.latest
    }

    /// The arrival time of `key`; a new key gets one that lies in the past. `None` if the shard is full of keys that
    /// still count.
    pub(crate) fn entry(&mut self, key: Fingerprint, now: u64) -> Option<&mut u64> {
        let index = match self.probe(key, now) {
            Probe::Found(index) => index,
            _ => self.insert(key, now)?,
        };
        self.slots.get_mut(index).map(|slot| &mut slot.tat)
    }

    /// The arrival time of `key`, if it has one.
    pub(crate) fn peek(&self, key: Fingerprint) -> Option<u64> {
        match self.probe(key, 0) {
            Probe::Found(index) => self.slots.get(index).map(|slot| slot.tat),
            _ => None,
        }
    }

    /// Whether a new key would find no slot; makes room first, where some entries are spent.
    pub(crate) fn is_full(&mut self, now: u64) -> bool {
        if self.taken < self.most {
            return false;
        }
        self.sweep(now);
        self.taken >= self.most
    }

    fn insert(&mut self, key: Fingerprint, now: u64) -> Option<usize> {
        self.sweep(now);
        if (self.taken + 1) * 4 > self.slots.len() * 3 {
            self.grow(now);
        }
        let index = match self.probe(key, now) {
            Probe::Found(index) | Probe::Spent(index) => index,
            Probe::Free(index) if self.taken < self.most => {
                self.taken += 1;
                index
            }
            Probe::Free(_) | Probe::Full => return None,
        };
        *self.slots.get_mut(index)? = Slot { key, tat: 0 };
        Some(index)
    }

    fn mask(&self) -> usize {
        self.slots.len().wrapping_sub(1)
    }

    #[expect(clippy::cast_possible_truncation, reason = "the low bits of a hash are as good as any")]
    fn home(&self, key: Fingerprint) -> usize {
        key.high as usize & self.mask()
    }

    fn probe(&self, key: Fingerprint, now: u64) -> Probe {
        let (home, mut spent) = (self.home(key), None);
        for step in 0..self.slots.len() {
            let at = home.wrapping_add(step) & self.mask();
            match self.slots.get(at) {
                Some(slot) if slot.key == key => return Probe::Found(at),
                Some(slot) if slot.is_free() => return spent.map_or(Probe::Free(at), Probe::Spent),
                Some(slot) if slot.tat <= now && spent.is_none() => spent = Some(at),
                _ => {}
            }
        }
        spent.map_or(Probe::Full, Probe::Spent)
    }

    /// Clears spent entries from the next few slots.
    fn sweep(&mut self, now: u64) {
        for _ in 0..SWEEP.min(self.slots.len()) {
            let at = self.hand & self.mask();
            match self.slots.get(at) {
                Some(slot) if !slot.is_free() && slot.tat <= now => self.remove(at),
                _ => self.hand = self.hand.wrapping_add(1),
            }
        }
    }

    /// Takes an entry out and closes the gap, so that no probe ends early.
    fn remove(&mut self, index: usize) {
        let (mask, mut hole) = (self.mask(), index);
        for step in 1..self.slots.len() {
            let at = index.wrapping_add(step) & mask;
            let Some(slot) = self.slots.get(at).copied().filter(|slot| !slot.is_free()) else { break };
            let from_home = at.wrapping_sub(self.home(slot.key)) & mask;
            if from_home >= at.wrapping_sub(hole) & mask {
                self.put(hole, slot);
                hole = at;
            }
        }
        self.put(hole, Slot::FREE);
        self.taken = self.taken.saturating_sub(1);
    }

    fn put(&mut self, index: usize, slot: Slot) {
        if let Some(place) = self.slots.get_mut(index) {
            *place = slot;
        }
    }

    /// Doubles the table up to what `most` entries need; entries that are spent stay behind.
    fn grow(&mut self, now: u64) {
        let largest = (self.most.saturating_mul(4) / 3 + 1).next_power_of_two().max(8);
        let size = (self.slots.len() * 2).clamp(8, largest);
        if size == self.slots.len() {
            return;
        }
        let old = std::mem::replace(&mut self.slots, vec![Slot::FREE; size]);
        self.taken = 0;
        for slot in old.into_iter().filter(|slot| !slot.is_free() && slot.tat > now) {
            if let Probe::Free(index) = self.probe(slot.key, 0) {
                self.put(index, slot);
                self.taken += 1;
            }
        }
    }
}

/// A lock on a cache line of its own.
#[derive(Debug)]
#[repr(align(64))]
struct Cell(Mutex<Shard>);

/// All shards, and what the keys share that found no slot.
#[derive(Debug)]
pub(crate) struct Table {
    cells: Box<[Cell]>,
    shared: [AtomicU64; SHARED],
    turned_away: AtomicU64,
}

impl Table {
    pub(crate) fn new(capacity: usize) -> Self {
        let count = (capacity / 64).clamp(1, MOST_SHARDS);
        let count = if count.is_power_of_two() { count } else { count.next_power_of_two() / 2 };
        let most = capacity.div_ceil(count).max(1);
        Self {
            cells: (0..count).map(|_| Cell(Mutex::new(Shard::new(most)))).collect(),
            shared: std::array::from_fn(|_| AtomicU64::new(0)),
            turned_away: AtomicU64::new(0),
        }
    }

    /// The number of the shard that `key` belongs to.
    pub(crate) fn shard_of(&self, key: Fingerprint) -> usize {
        (key.low >> 1) as usize & (self.cells.len() - 1)
    }

    /// Locks one shard. Nothing that runs under the lock can panic, so a poisoned lock is taken as it is.
    pub(crate) fn lock(&self, shard: usize) -> Option<MutexGuard<'_, Shard>> {
        let cell = self.cells.get(shard)?;
        Some(cell.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn shared(&self, quota: &Quota) -> Option<&AtomicU64> {
        let mixed = quota.shape().wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 60;
        self.shared.get(usize::try_from(mixed).unwrap_or(0))
    }

    /// Decides in the bucket that all keys without a slot share.
    pub(crate) fn step_shared(&self, quota: &Quota, now: u64) -> Step {
        self.turned_away.fetch_add(1, Ordering::Relaxed);
        let mut answer = quota.step(u64::MAX, now);
        let Some(bucket) = self.shared(quota) else { return answer };
        let _ = bucket.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |tat| {
            answer = quota.step(tat, now);
            match answer {
                Step::Pass { tat, .. } => Some(tat),
                Step::Wait { .. } => None,
            }
        });
        answer
    }

    /// Counts in the shared bucket what can no longer be refused.
    pub(crate) fn charge_shared(&self, quota: &Quota, now: u64) {
        self.turned_away.fetch_add(1, Ordering::Relaxed);
        if let Some(bucket) = self.shared(quota) {
            let charge = |tat| Some(quota.charge(tat, now));
            let _ = bucket.fetch_update(Ordering::Relaxed, Ordering::Relaxed, charge);
        }
    }

    /// What the shared bucket would answer, without asking it.
    pub(crate) fn peek_shared(&self, quota: &Quota) -> u64 {
        self.shared(quota).map_or(u64::MAX, |bucket| bucket.load(Ordering::Relaxed))
    }

    /// Gives one request back to the shared bucket. Others may have taken meanwhile: it moves back by one interval
    /// and not to an older value.
    pub(crate) fn undo_shared(&self, quota: &Quota) {
        if let Some(bucket) = self.shared(quota) {
            let back = |tat: u64| Some(quota.undone(tat));
            let _ = bucket.fetch_update(Ordering::Relaxed, Ordering::Relaxed, back);
        }
    }

    /// How many keys have a slot.
    pub(crate) fn held(&self) -> usize {
        (0..self.cells.len()).filter_map(|shard| self.lock(shard)).map(|shard| shard.taken).sum()
    }

    /// How many decisions were made in a shared bucket, for want of a slot.
    pub(crate) fn turned_away(&self) -> u64 {
        self.turned_away.load(Ordering::Relaxed)
    }

    /// Bytes that the table holds.
    pub(crate) fn bytes(&self) -> usize {
        let slots = |shard: MutexGuard<'_, Shard>| shard.slots.capacity() * size_of::<Slot>();
        let heap: usize = (0..self.cells.len()).filter_map(|shard| self.lock(shard)).map(slots).sum();
        heap + size_of_val(&*self.cells) + size_of::<Self>()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    fn key(n: u64) -> Fingerprint {
        Fingerprint { high: n.wrapping_mul(0x9e37_79b9_7f4a_7c15), low: n << 1 | 1 }
    }

    #[test]
    fn a_full_shard_gives_a_new_key_no_slot_until_an_old_one_is_spent() {
        let mut shard = Shard::new(4);
        for n in 0..4 {
            *shard.entry(key(n), 10).expect("room") = 100 + n;
        }
        assert!(shard.entry(key(9), 10).is_none());
        assert!(shard.entry(key(3), 10).is_some_and(|tat| *tat == 103), "a key that has a slot keeps it");
        assert!(shard.entry(key(9), 100).is_some(), "the first one is spent");
        assert_eq!(shard.peek(key(0)), None);
        assert!((1..4).all(|n| shard.peek(key(n)) == Some(100 + n)));
    }

    #[test]
    fn the_table_stays_within_its_bytes() {
        let table = Table::new(10_000);
        for n in 0..200_000 {
            let key = key(n);
            let mut shard = table.lock(table.shard_of(key)).expect("shard");
            if let Some(tat) = shard.entry(key, 1) {
                *tat = 50;
            }
        }
        let held = table.held();
        assert!((9_000..=11_000).contains(&held), "{held} keys");
        assert!(table.bytes() / held <= 64, "{} bytes a key", table.bytes() / held);
    }

    #[test]
    fn an_instant_before_the_first_is_a_smaller_number() {
        #[expect(clippy::disallowed_methods, reason = "an instant cannot be made up")]
        let now = Now { wall: portcullis_core::UnixMillis(0), mono: Instant::now() };
        let second = std::time::Duration::from_secs(1);
        let origin = Origin::default();
        let first = origin.nanos(now.plus(second));
        assert_eq!(origin.nanos(now), first - 1_000_000_000);
        assert_eq!(origin.nanos(now.plus(second * 2)), first + 1_000_000_000);
    }

    proptest! {
        /// Against the obvious map: what still counts is found with its value, in any order of insertions, spending
        /// and growth, and nothing is found that was not put there.
        #[test]
        fn a_shard_equals_a_map(ops in prop::collection::vec((0u64..60, 1u64..40, 0u64..5), 1..400)) {
            let (mut shard, mut map, mut now) = (Shard::new(24), HashMap::new(), 100u64);
            for (n, life, pass) in ops {
                now += pass;
                let live = map.values().filter(|tat: &&u64| **tat > now).count();
                let known = map.get(&n).is_some_and(|tat| *tat > now);
                match shard.entry(key(n), now) {
                    Some(tat) => {
                        if known {
                            prop_assert_eq!(Some(&*tat), map.get(&n));
                        }
                        *tat = now + life;
                        map.insert(n, now + life);
                    }
                    None => prop_assert!(!known && live >= 24 - 8, "turned away with {} live", live),
                }
                for (n, tat) in &map {
                    if *tat > now {
                        prop_assert_eq!(shard.peek(key(*n)), Some(*tat));
                    }
                }
                prop_assert!(shard.taken <= 24);
            }
        }
    }
}
