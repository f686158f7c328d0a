//! The list as a whole: distribution, ejection, replacement.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use portcullis_core::{Millis, Now, UnixMillis};
use proptest::prelude::*;

use super::*;
use crate::selection::address::mix;

#[expect(clippy::disallowed_methods, reason = "an instant cannot be made up")]
fn start() -> Now {
    Now { wall: UnixMillis(0), mono: Instant::now() }
}

fn address(n: usize) -> Address {
    Address::Socket(([127, 0, 0, 1], 1_000 + u16::try_from(n).expect("port")).into())
}

fn rules(selection: Selection) -> Rules {
    let breaker = BreakerRule { trips_after: 3, rest: Millis::SECOND, longest: Millis::from_secs(8) };
    Rules { selection, in_flight: 1_000, breaker }
}

fn list(n: usize, selection: Selection) -> Endpoints {
    Endpoints::new((0..n).map(address), rules(selection))
}

fn random(n: u64) -> Hint {
    Hint { random: mix(n + 1), ..Hint::default() }
}

fn keyed(n: u64) -> Hint {
    Hint { hash: Some(stable_hash(&n.to_le_bytes())), ..random(n) }
}

/// How often each address is picked, every request ending before the next begins.
fn spread(list: &Endpoints, hints: impl Iterator<Item = Hint>, now: Now) -> HashMap<Address, usize> {
    let mut counts = HashMap::new();
    for hint in hints {
        let picked = list.pick(hint, now).expect("an endpoint");
        *counts.entry(picked.address().clone()).or_default() += 1;
    }
    counts
}

fn fail(list: &Endpoints, n: usize, times: usize, now: Now) {
    let id = list.views().find(|view| view.address == address(n)).expect("known").id;
    for turn in 0.. {
        let mut picked = list.pick(random(turn), now).expect("an endpoint");
        if picked.id() == id {
            for _ in 0..times {
                picked.outcome(Outcome::ConnectFailed, now);
            }
            return;
        }
        assert!(turn < 10_000, "never picked");
    }
}

fn resting(list: &Endpoints) -> usize {
    list.views().filter(|view| !view.breaker.is_closed()).count()
}

#[test]
fn round_robin_gives_each_the_same() {
    let list = list(7, Selection::RoundRobin);
    let counts = spread(&list, (0..700).map(random), start());
    assert!(counts.values().all(|n| *n == 100), "{counts:?}");
}

#[test]
fn least_request_is_even_and_prefers_the_less_busy() {
    let (list, now) = (list(10, Selection::LeastRequest), start());
    let counts = spread(&list, (0..10_000).map(random), now);
    assert!(counts.values().all(|n| (800..1_200).contains(n)), "{counts:?}");
    let held: Vec<_> = (0..1_000).filter_map(|n| list.pick(random(n), now)).collect();
    let most = list.views().map(|view| view.in_flight).max().expect("some");
    let least = list.views().map(|view| view.in_flight).min().expect("some");
    assert!(most - least <= 4, "between {least} and {most} for 100 on average");
    drop(held);
    assert!(list.views().all(|view| view.in_flight == 0));
}

#[test]
fn the_same_key_goes_to_the_same_endpoint_and_keys_are_even() {
    let (list, now) = (list(10, Selection::ConsistentHash), start());
    let counts = spread(&list, (0..10_000).map(keyed), now);
    assert!(counts.values().all(|n| (850..1_150).contains(n)), "{counts:?}");
    let again = |n| list.pick(keyed(n), now).expect("an endpoint").id();
    assert!((0..500).all(|n| again(n) == again(n)));
}

#[test]
fn one_hot_key_is_spread_over_bounded_loads() {
    let (list, now) = (list(10, Selection::ConsistentHash), start());
    let held: Vec<_> = (0..1_000).filter_map(|_| list.pick(keyed(7), now)).collect();
    assert_eq!(held.len(), 1_000);
    let most = list.views().map(|view| view.in_flight).max().expect("some");
    assert!((120..=126).contains(&most), "{most} for 100 on average, five quarters allowed");
}

#[test]
fn when_an_endpoint_goes_only_its_keys_move() {
    let (before, now) = (list(10, Selection::ConsistentHash), start());
    let after = before.successor((0..9).map(address), rules(Selection::ConsistentHash));
    for n in 0..5_000 {
        let old = before.pick(keyed(n), now).expect("an endpoint").address().clone();
        let new = after.pick(keyed(n), now).expect("an endpoint").address().clone();
        assert!(old == new || old == address(9), "{old} became {new}");
    }
}

#[test]
fn an_endpoint_that_cannot_be_reached_rests_and_is_then_tried_by_one_request() {
    let (list, now) = (list(4, Selection::RoundRobin), start());
    fail(&list, 2, 3, now);
    assert_eq!(resting(&list), 1);
    let counts = spread(&list, (0..300).map(random), now);
    assert!(counts.len() == 3 && counts.values().all(|n| *n == 100), "no neighbour inherits its turns");
    let later = now.plus(Duration::from_secs(1));
    let held: Vec<_> = (0..40).filter_map(|n| list.pick(random(n), later)).collect();
    let tries = held.iter().filter(|picked| *picked.address() == address(2)).count();
    assert_eq!(tries, 1, "one finds out for all");
    drop(held);
    let held: Vec<_> = (0..40).filter_map(|n| list.pick(random(n), later)).collect();
    for mut picked in held {
        picked.outcome(Outcome::Good, later);
    }
    assert_eq!(resting(&list), 0, "the first try was abandoned, the second told");
    assert!(spread(&list, (0..40).map(random), later).contains_key(&address(2)));
}

#[test]
fn rests_grow_and_are_bounded() {
    let (list, mut now) = (list(2, Selection::RoundRobin), start());
    fail(&list, 0, 3, now);
    for seconds in [1, 2, 4, 8, 8, 8] {
        now = now.plus(Duration::from_millis(seconds * 1_000 - 1));
        assert_eq!(spread(&list, (0..10).map(random), now).get(&address(0)), None, "rests {seconds}s");
        now = now.plus(Duration::from_millis(1));
        fail(&list, 0, 1, now);
    }
}

#[test]
fn answers_however_bad_eject_nobody() {
    let (list, now) = (list(3, Selection::RoundRobin), start());
    for n in 0..1_000 {
        list.pick(random(n), now).expect("an endpoint").outcome(Outcome::Failed, now);
    }
    assert_eq!(resting(&list), 0);
    fail(&list, 0, 2, now);
    list.pick(Hint { random: 1, ..Hint::default() }, now).expect("one").outcome(Outcome::Failed, now);
}

#[test]
fn never_more_than_half_rests() {
    for n in 1..9 {
        let (list, now) = (list(n, Selection::LeastRequest), start());
        let mut held: Vec<_> = (0..500).filter_map(|turn| list.pick(random(turn), now)).collect();
        for picked in &mut held {
            for _ in 0..5 {
                picked.outcome(Outcome::ConnectFailed, now);
            }
        }
        assert_eq!(resting(&list), n / 2, "of {n}");
    }
}

#[test]
fn a_shorter_list_does_not_consist_of_resting_endpoints() {
    let (list, mut now) = (list(6, Selection::LeastRequest), start());
    for n in 0..3 {
        now = now.plus(Duration::from_millis(10));
        fail(&list, n, 3, now);
    }
    let shorter = list.successor((0..3).map(address), rules(Selection::LeastRequest));
    let awake: Vec<_> = shorter.views().filter(|v| v.breaker.is_closed()).map(|v| v.address).collect();
    assert_eq!(awake, [address(0), address(1)], "those that failed longest ago");
}

#[test]
fn when_all_are_out_the_one_that_failed_longest_ago_is_tried() {
    let (list, mut now) = (list(4, Selection::RoundRobin), start());
    for n in [1, 0] {
        now = now.plus(Duration::from_millis(10));
        fail(&list, n, 3, now);
    }
    let rest: Vec<_> = list.views().filter(|v| v.breaker.is_closed()).map(|v| v.id).collect();
    now = now.plus(Duration::from_millis(10));
    (0..2).for_each(|n| list.pick(random(n), now).expect("one").outcome(Outcome::ConnectFailed, now));
    rest.iter().for_each(|id| list.mark(*id, Health::Unhealthy));
    let mut order: Vec<_> = (0..4).map(|n| list.pick(random(n), now).expect("tried")).collect();
    let tried: Vec<_> = order.iter().map(|p| p.address().clone()).collect();
    assert_eq!(tried, [1, 0, 2, 3].map(address));
    for picked in &mut order {
        picked.outcome(Outcome::Good, now);
    }
    assert_eq!(resting(&list), 0, "what was tried early and answers is back");
    let counts = spread(&list, (0..10).map(random), now);
    assert_eq!((counts.len(), counts.get(&address(2))), (2, None), "the unhealthy ones are no longer needed");
    rest.iter().for_each(|id| list.mark(*id, Health::Healthy));
    assert_eq!(spread(&list, (0..10).map(random), now).len(), 4);
}

#[test]
fn one_that_was_tried_is_avoided_unless_it_is_the_only_one() {
    for selection in [Selection::RoundRobin, Selection::LeastRequest, Selection::ConsistentHash] {
        let (two, one, now) = (list(2, selection), list(1, selection), start());
        for n in 0..100 {
            let first = two.pick(keyed(n), now).expect("an endpoint").id();
            let second = two.pick(Hint { avoid: Some(first), ..keyed(n) }, now).expect("another").id();
            assert_ne!(first, second);
        }
        let only = one.pick(keyed(0), now).expect("an endpoint").id();
        assert_eq!(one.pick(Hint { avoid: Some(only), ..keyed(0) }, now).map(|p| p.id()), Some(only));
    }
}

#[test]
fn a_cap_holds_over_all_cores_and_busy_is_not_broken() {
    let now = start();
    let few = Rules { in_flight: 3, ..rules(Selection::LeastRequest) };
    let list = Endpoints::new((0..4).map(address), few);
    fail(&list, 0, 3, now);
    let entered = AtomicU32::new(0);
    let held = std::sync::Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for core in 0..8 {
            let (list, entered, held) = (&list, &entered, &held);
            scope.spawn(move || {
                for n in 0..100 {
                    if let Some(picked) = list.pick(random(core * 1_000 + n), now) {
                        entered.fetch_add(1, Ordering::Relaxed);
                        held.lock().expect("lock").push(picked);
                    }
                }
            });
        }
    });
    assert_eq!(entered.into_inner(), 9, "three endpoints are open and each takes three");
    assert!(list.views().all(|v| v.in_flight == if v.address == address(0) { 0 } else { 3 }));
}

#[test]
fn counters_of_endpoints_that_stay_outlive_the_list() {
    let (old, now) = (list(3, Selection::RoundRobin), start());
    fail(&old, 1, 3, now);
    let held: Vec<_> = (0..4).filter_map(|n| old.pick(random(n), now)).collect();
    let new = old.successor([1, 2, 3].map(address), rules(Selection::LeastRequest));
    for view in new.views() {
        let before = old.views().find(|v| v.address == view.address);
        assert_eq!(before.as_ref().map(|v| v.id), before.is_some().then_some(view.id));
        assert_eq!(view.in_flight, before.map_or(0, |v| v.in_flight));
    }
    assert_eq!(resting(&new), 1);
    drop(held);
    assert!(new.views().all(|v| v.in_flight == 0));
}

#[test]
fn an_empty_list_has_nothing_and_doubles_count_once() {
    let now = start();
    for selection in [Selection::RoundRobin, Selection::LeastRequest, Selection::ConsistentHash] {
        assert!(Endpoints::new([], rules(selection)).pick(keyed(1), now).is_none());
        assert_eq!(Endpoints::new([address(1), address(1)], rules(selection)).len(), 1);
    }
    let unix = Address::Unix("/run/orders.sock".into());
    assert_eq!(unix.to_string(), "unix:/run/orders.sock");
}

proptest! {
    /// Whatever happens: no count leaks, no more than half rests, and something is picked while there is room.
    #[test]
    fn no_history_leaks_a_place_or_empties_a_list(
        n in 1usize..7,
        way in prop::sample::select(vec![
            Selection::RoundRobin, Selection::LeastRequest, Selection::ConsistentHash,
        ]),
        ops in prop::collection::vec((0u8..6, any::<u64>(), 0u64..3_000), 1..200),
    ) {
        let (mut list, mut now, mut held) = (list(n, way), start(), Vec::new());
        for (op, seed, gap) in ops {
            now = now.plus(Duration::from_millis(gap));
            match op {
                0 | 1 => {
                    let picked = list.pick(keyed(seed), now);
                    prop_assert!(picked.is_some());
                    held.extend(picked);
                }
                2 => drop(held.pop()),
                3 => if let Some(picked) = held.last_mut() { picked.outcome(Outcome::Good, now) },
                4 => if let Some(picked) = held.last_mut() {
                    (0..3).for_each(|_| picked.outcome(Outcome::ConnectFailed, now));
                },
                _ => {
                    // Every list shares at least its first endpoint with the one before.
                    let size = 1 + usize::try_from(seed % 6).expect("small");
                    list = list.successor((0..size).map(address), rules(way));
                }
            }
            prop_assert!(resting(&list) <= list.len() / 2);
        }
        let mine = held.iter().filter(|p| list.views().any(|v| v.id == p.id())).count();
        let counted: u32 = list.views().map(|v| v.in_flight).sum();
        prop_assert_eq!(counted as usize, mine);
        drop(held);
        prop_assert!(list.views().all(|v| v.in_flight == 0));
    }
}
