//! The Merkle tree of RFC 6962, kept as compact ranges.
//!
//! A [`Range`] stands for the leaves `[start, end)` by the hashes of the largest perfect subtrees that cover
//! them: at most two for each level. Appending costs amortised one hash and the state of a log of a thousand
//! million records is thirty hashes. Ranges that touch can be joined, which is how a segment that retention
//! deleted still takes its place in the root.
//!
//! INVARIANT: the nodes of a range are exactly the maximal aligned subtrees of `[start, end)`, left to right.
//!
//! Not here: proofs (`proof`), what a leaf says (`leaf`).
//!
//! Sources: RFC 6962 §2.1; "compact ranges" of the transparency-dev project (the idea).

use aws_lc_rs::digest::{Context, SHA256, digest};

/// A SHA-256 value.
pub type Hash = [u8; 32];

/// The bytes of a digest, whose length the algorithm fixes.
pub(crate) fn fixed(bytes: &[u8]) -> Hash {
    let mut hash = [0; 32];
    for (to, from) in hash.iter_mut().zip(bytes) {
        *to = *from;
    }
    hash
}

/// The hash of a leaf's entry: SHA-256(0x00 || entry).
#[must_use]
pub fn leaf_hash(entry: &[u8]) -> Hash {
    let mut hash = Context::new(&SHA256);
    hash.update(&[0]);
    hash.update(entry);
    fixed(hash.finish().as_ref())
}

/// The hash of an inner node: SHA-256(0x01 || left || right).
#[must_use]
pub fn node_hash(left: &Hash, right: &Hash) -> Hash {
    let mut whole = [1; 65];
    let (_, hashes) = whole.split_at_mut(1);
    for (to, from) in hashes.iter_mut().zip(left.iter().chain(right)) {
        *to = *from;
    }
    sha256(&whole)
}

/// The root of a tree without leaves: SHA-256 of nothing.
#[must_use]
pub fn empty_root() -> Hash {
    sha256(&[])
}

/// SHA-256 in one go, which spares the context's allocation.
pub(crate) fn sha256(bytes: &[u8]) -> Hash {
    fixed(digest(&SHA256, bytes).as_ref())
}

/// One perfect subtree: its height and its hash. Where it stands follows from the range it is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Node {
    level: u8,
    hash: Hash,
}

/// The leaves `[start, end)` of the log, by their largest perfect subtrees.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Range {
    start: u64,
    end: u64,
    nodes: Vec<Node>,
}

/// Hashes that cannot be the nodes of the range they were said to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the leaves from {start} to {end} are not covered by {found} hashes")]
pub struct NotARange {
    start: u64,
    end: u64,
    found: usize,
}

impl Range {
    /// No leaves yet, and the next one is number `at`.
    #[must_use]
    pub const fn empty(at: u64) -> Self {
        Self { start: at, end: at, nodes: Vec::new() }
    }

    /// A range from hashes that were kept.
    ///
    /// # Errors
    /// The number of hashes is not the one that the range has.
    pub fn from_hashes(start: u64, end: u64, hashes: &[Hash]) -> Result<Self, NotARange> {
        let fault = NotARange { start, end, found: hashes.len() };
        let mut range = Self::empty(start);
        let mut hashes = hashes.iter();
        while range.end < end {
            let level = highest(range.end, end);
            let hash = *hashes.next().ok_or(fault)?;
            range.nodes.push(Node { level, hash });
            range.end = range.end.saturating_add(1 << level);
        }
        if range.end == end && hashes.next().is_none() { Ok(range) } else { Err(fault) }
    }

    /// The number of its first leaf.
    #[must_use]
    pub const fn start(&self) -> u64 {
        self.start
    }

    /// The number of the leaf after its last; of a range from zero, the size of the log.
    #[must_use]
    pub const fn end(&self) -> u64 {
        self.end
    }

    /// The hashes of its nodes, left to right: what to keep of a deleted segment.
    pub fn hashes(&self) -> impl ExactSizeIterator<Item = &Hash> {
        self.nodes.iter().map(|node| &node.hash)
    }

    /// Appends one leaf.
    pub fn push(&mut self, leaf: Hash) {
        self.push_node(Node { level: 0, hash: leaf });
    }

    /// Appends the range that begins where this one ends; `false`, and nothing done, if it begins elsewhere.
    #[must_use]
    pub fn join(&mut self, next: &Self) -> bool {
        if next.start != self.end {
            return false;
        }
        for node in &next.nodes {
            self.push_node(*node);
        }
        true
    }

    /// Puts a node at the end and merges it with its left sibling as long as that one is here.
    fn push_node(&mut self, mut node: Node) {
        let width = 1u64 << node.level.min(63);
        let mut begin = self.end;
        self.end = self.end.saturating_add(width);
        while let Some(left) = self.nodes.last().copied() {
            // Siblings: of one height, and the left one stands at an even place.
            if left.level != node.level || (begin >> node.level) & 1 == 0 {
                break;
            }
            self.nodes.pop();
            begin -= 1 << node.level;
            node = Node { level: node.level + 1, hash: node_hash(&left.hash, &node.hash) };
        }
        self.nodes.push(node);
    }

    /// The root of the log, if the range begins at its first leaf.
    #[must_use]
    pub fn root(&self) -> Option<Hash> {
        if self.start != 0 {
            return None;
        }
        let mut right_to_left = self.nodes.iter().rev();
        let Some(last) = right_to_left.next() else { return Some(empty_root()) };
        Some(right_to_left.fold(last.hash, |right, left| node_hash(&left.hash, &right)))
    }

    /// Each node as (height, place among the nodes of that height, hash).
    pub(crate) fn placed(&self) -> impl Iterator<Item = (u8, u64, Hash)> {
        let mut at = self.start;
        self.nodes.iter().map(move |node| {
            let index = at >> node.level;
            at = at.saturating_add(1 << node.level);
            (node.level, index, node.hash)
        })
    }
}

/// The height of the largest perfect subtree that begins at `start` and does not pass `end`.
fn highest(start: u64, end: u64) -> u8 {
    let aligned = start.trailing_zeros().min(63);
    let fits = (end - start).ilog2();
    u8::try_from(aligned.min(fits)).unwrap_or(0)
}
