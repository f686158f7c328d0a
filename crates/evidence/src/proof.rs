//! Inclusion and consistency proofs (RFC 6962 §2.1.1, §2.1.2; verified as RFC 9162 §2.1.3.2, §2.1.4.2 say).
//!
//! A proof is made from [`Nodes`]: whatever is known of the tree, leaf by leaf for the segments at hand and
//! range by range for those that retention deleted. What is not known cannot be proved, and the answer is `None`.
//!
//! INVARIANT: verifying needs the proof, two numbers and two hashes, and nothing else; it reads at most 64 hashes.
//! INVARIANT: a proof with a hash too many or too few does not verify.

use std::collections::BTreeMap;

use crate::merkle::{Hash, Range, node_hash};

/// The longest proof that a tree of 2^64 leaves could need, twice over.
const LONGEST: usize = 130;

/// What is known of a tree: subtrees by height and place.
#[derive(Clone, Debug, Default)]
pub struct Nodes(BTreeMap<(u8, u64), Hash>);

impl Nodes {
    /// Learns the nodes of a range.
    pub fn add(&mut self, range: &Range) {
        self.0.extend(range.placed().map(|(level, index, hash)| ((level, index), hash)));
    }

    /// Learns leaves, of which `first` is the number of the first.
    pub fn add_leaves(&mut self, first: u64, leaves: &[Hash]) {
        self.0.extend((first..).zip(leaves).map(|(index, hash)| ((0, index), *hash)));
    }

    /// The hash of the tree over `[start, end)` (`MTH` of RFC 6962), if enough is known.
    fn subtree(&self, start: u64, end: u64) -> Option<Hash> {
        let width = end.checked_sub(start).filter(|w| *w > 0)?;
        if width.is_power_of_two() && start.is_multiple_of(width) {
            let level = u8::try_from(width.ilog2()).ok()?;
            if let Some(hash) = self.0.get(&(level, start >> level)) {
                return Some(*hash);
            }
        }
        let middle = start.checked_add(split(width)?)?;
        Some(node_hash(&self.subtree(start, middle)?, &self.subtree(middle, end)?))
    }

    /// The root of the tree of `size` leaves, if enough is known.
    #[must_use]
    pub fn root(&self, size: u64) -> Option<Hash> {
        self.subtree(0, size)
    }

    /// The proof that leaf `index` is in the tree of `size` leaves.
    #[must_use]
    pub fn inclusion(&self, index: u64, size: u64) -> Option<Vec<Hash>> {
        let (mut start, mut end) = (0, size);
        let mut path = Vec::new();
        if index >= size {
            return None;
        }
        while end - start > 1 {
            let middle = start + split(end - start)?;
            if index < middle {
                path.push(self.subtree(middle, end)?);
                end = middle;
            } else {
                path.push(self.subtree(start, middle)?);
                start = middle;
            }
        }
        path.reverse();
        Some(path)
    }

    /// The proof that the tree of `new` leaves begins with the tree of `old` leaves.
    #[must_use]
    pub fn consistency(&self, old: u64, new: u64) -> Option<Vec<Hash>> {
        if old == 0 || old > new {
            return None;
        }
        let (mut start, mut end) = (0, new);
        let mut path = Vec::new();
        while end != old {
            let middle = start + split(end - start)?;
            if old <= middle {
                path.push(self.subtree(middle, end)?);
                end = middle;
            } else {
                path.push(self.subtree(start, middle)?);
                start = middle;
            }
        }
        // RFC 6962 §2.1.2: the verifier knows this node if it is the whole old tree.
        if start != 0 {
            path.push(self.subtree(start, end)?);
        }
        path.reverse();
        Some(path)
    }
}

/// The largest power of two smaller than `width`, where RFC 6962 splits a tree.
fn split(width: u64) -> Option<u64> {
    width.checked_sub(1)?.checked_ilog2().map(|log| 1 << log)
}

/// Whether `proof` shows that `leaf` is number `index` of the tree of `size` leaves with this `root`.
#[must_use]
pub fn verify_inclusion(leaf: &Hash, index: u64, size: u64, proof: &[Hash], root: &Hash) -> bool {
    if index >= size || proof.len() > LONGEST {
        return false;
    }
    let (mut place, mut last, mut hash) = (index, size - 1, *leaf);
    for sibling in proof {
        if last == 0 {
            return false;
        }
        if place & 1 == 1 || place == last {
            hash = node_hash(sibling, &hash);
            skip_to_right_child(&mut place, &mut last);
        } else {
            hash = node_hash(&hash, sibling);
        }
        place >>= 1;
        last >>= 1;
    }
    last == 0 && hash == *root
}

/// A last node without a sibling is passed up unchanged until it is a right child.
fn skip_to_right_child(place: &mut u64, last: &mut u64) {
    while *place & 1 == 0 && *place != 0 {
        *place >>= 1;
        *last >>= 1;
    }
}

/// Whether `proof` shows that the tree (`new`) begins with the tree (`old`); both are (size, root).
#[must_use]
pub fn verify_consistency(old: (u64, &Hash), new: (u64, &Hash), proof: &[Hash]) -> bool {
    if old.0 == new.0 {
        return proof.is_empty() && old.1 == new.1;
    }
    if old.0 == 0 || old.0 > new.0 || proof.len() > LONGEST {
        return false;
    }
    // A perfect old tree is itself the first node of the path.
    let own = old.0.is_power_of_two().then_some(old.1);
    let mut path = own.into_iter().chain(proof);
    let Some(seed) = path.next() else { return false };
    let (mut place, mut last) = (old.0 - 1, new.0 - 1);
    let skip = place.trailing_ones();
    place >>= skip.min(63);
    last >>= skip.min(63);
    let (mut was, mut is) = (*seed, *seed);
    for node in path {
        if last == 0 {
            return false;
        }
        if place & 1 == 1 || place == last {
            was = node_hash(node, &was);
            is = node_hash(node, &is);
            skip_to_right_child(&mut place, &mut last);
        } else {
            is = node_hash(&is, node);
        }
        place >>= 1;
        last >>= 1;
    }
    last == 0 && was == *old.1 && is == *new.1
}
