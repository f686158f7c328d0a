//! The three ways to choose.
//!
//! Consistent hashing is by highest random weight: each endpoint draws a number from the key and its own address, and the
//! highest wins. When an endpoint goes, exactly its own keys move, evenly over the others; no table is built and
//! nothing is rebuilt on a change. It costs a few nanoseconds for each endpoint, which a service of the size
//! that we meet (tens) does not feel.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use super::address::mix;
use super::endpoint::Endpoint;
use super::list::{Hint, List, Selection};

/// An endpoint that may be used, by the rules of the list. `None` if there is none.
pub(crate) fn one(list: &List, hint: Hint, now: Instant) -> Option<&Arc<Endpoint>> {
    let usable =
        |e: &Endpoint| Some(e.id) != hint.avoid && e.in_flight() < list.rules.in_flight && e.is_open_to(now);
    match (list.rules.selection, hint.hash) {
        (Selection::RoundRobin, _) => in_turn(list, usable),
        (Selection::ConsistentHash, Some(hash)) => by_weight(list, hash, usable),
        (Selection::LeastRequest | Selection::ConsistentHash, _) => less_busy(list, hint.random, usable),
    }
}

/// The next of those that may be used: counted without the others, whose neighbours would inherit their turns.
fn in_turn(list: &List, usable: impl Fn(&Endpoint) -> bool) -> Option<&Arc<Endpoint>> {
    let count = list.all.iter().filter(|e| usable(e)).count();
    let turn = list.turn.fetch_add(1, Ordering::Relaxed).checked_rem(count)?;
    list.all.iter().filter(|e| usable(e)).nth(turn)
}

/// A number below `n`, evenly from 32 random bits.
fn below(random: u64, n: usize) -> usize {
    let n = u64::try_from(n).unwrap_or(0).min(u64::from(u32::MAX));
    usize::try_from(((random & 0xffff_ffff) * n) >> 32).unwrap_or(0)
}

fn less_busy(list: &List, random: u64, usable: impl Fn(&Endpoint) -> bool) -> Option<&Arc<Endpoint>> {
    let count = list.all.len();
    let first = below(random, count);
    let second = (first + 1 + below(random >> 32, count.saturating_sub(1))).checked_rem(count)?;
    let pair = [list.all.get(first)?, list.all.get(second)?];
    let better = pair.into_iter().filter(|e| usable(e)).min_by_key(|e| e.in_flight());
    better.or_else(|| {
        // Neither may be used. The n-th of those that may, so that no neighbour inherits it all.
        let left = list.all.iter().filter(|e| usable(e)).count();
        list.all.iter().filter(|e| usable(e)).nth(below(mix(random), left))
    })
}

/// The highest weight among those whose load is within five quarters of the mean; the mean counts this request.
fn by_weight(list: &List, hash: u64, usable: impl Fn(&Endpoint) -> bool) -> Option<&Arc<Endpoint>> {
    let (mut count, mut load) = (0u64, 1u64);
    for endpoint in list.all.iter().filter(|e| usable(e)) {
        count += 1;
        load += u64::from(endpoint.in_flight());
    }
    let bound = load.saturating_mul(5).div_ceil(count.checked_mul(4).filter(|n| *n > 0)?);
    let within = |e: &&Arc<Endpoint>| usable(e) && u64::from(e.in_flight()) < bound;
    list.all.iter().filter(within).max_by_key(|e| mix(hash ^ e.seed))
}
