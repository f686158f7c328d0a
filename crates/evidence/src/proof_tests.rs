//! The tree and its proofs, beside an implementation by somebody else.

#![expect(clippy::cast_possible_truncation, reason = "small trees")]

use ct_merkle::mem_backed_tree::MemoryBackedTree;
use proptest::prelude::*;
use sha2::Sha256;

use crate::merkle::{Hash, Range, empty_root, leaf_hash};
use crate::proof::{Nodes, verify_consistency, verify_inclusion};

fn entry(number: u64) -> Vec<u8> {
    format!("entry {number}").into_bytes()
}

fn leaves(size: u64) -> Vec<Hash> {
    (0..size).map(|number| leaf_hash(&entry(number))).collect()
}

fn log(size: u64) -> Range {
    let mut log = Range::empty(0);
    leaves(size).into_iter().for_each(|leaf| log.push(leaf));
    log
}

fn nodes(size: u64) -> Nodes {
    let mut nodes = Nodes::default();
    nodes.add_leaves(0, &leaves(size));
    nodes
}

fn oracle(size: u64) -> MemoryBackedTree<Sha256, Vec<u8>> {
    let mut tree = MemoryBackedTree::new();
    (0..size).for_each(|number| tree.push(entry(number)));
    tree
}

fn joined(proof: &[Hash]) -> Vec<u8> {
    proof.concat()
}

/// Every size up to 40, every leaf, every older tree: roots and proofs are those of the other implementation.
#[test]
fn every_small_tree_is_the_oracles() {
    for size in 1..=40u64 {
        let (ours, theirs, known) = (log(size), oracle(size), nodes(size));
        assert_eq!(ours.root().expect("from zero")[..], theirs.root().as_bytes()[..], "root of {size}");
        assert_eq!(known.root(size), ours.root());
        for index in 0..size {
            let proof = known.inclusion(index, size).expect("all is known");
            assert_eq!(
                joined(&proof),
                theirs.prove_inclusion(index as usize).as_bytes(),
                "{index} of {size}"
            );
        }
        for old in 1..size {
            let proof = known.consistency(old, size).expect("all is known");
            let theirs = theirs.prove_consistency((size - old) as usize);
            assert_eq!(joined(&proof), theirs.as_bytes(), "{old} to {size}");
        }
    }
}

#[test]
fn an_empty_log_has_the_root_of_nothing() {
    assert_eq!(log(0).root(), Some(empty_root()));
    assert_eq!(Range::empty(5).root(), None);
    assert!(nodes(0).inclusion(0, 0).is_none() && nodes(3).consistency(0, 3).is_none());
}

#[test]
fn a_proof_shows_its_leaf_and_no_other() {
    for size in 1..=33u64 {
        let (root, known, leaves) = (log(size).root().expect("a root"), nodes(size), leaves(size + 1));
        for index in 0..size {
            let proof = known.inclusion(index, size).expect("known");
            for other in 0..=size {
                let good = verify_inclusion(&leaves[other as usize], index, size, &proof, &root);
                assert_eq!(good, other == index, "leaf {other} at {index} of {size}");
                let leaf = &leaves[index as usize];
                assert_eq!(verify_inclusion(leaf, other, size, &proof, &root), other == index);
            }
        }
    }
}

#[test]
fn a_log_that_was_rewritten_is_not_consistent() {
    let mut forged = leaves(20);
    forged[3] = leaf_hash(b"another");
    let mut range = Range::empty(0);
    let mut known = Nodes::default();
    forged.iter().for_each(|leaf| range.push(*leaf));
    known.add_leaves(0, &forged);
    let new = range.root().expect("a root");
    for old in 1..20 {
        let was = log(old).root().expect("a root");
        let proof = known.consistency(old, 20).expect("known");
        assert_eq!(verify_consistency((old, &was), (20, &new), &proof), old <= 3, "{old}");
    }
}

/// What retention keeps is enough: ranges of deleted segments, leaves of the others.
#[test]
fn proofs_stay_when_only_ranges_are_left() {
    let cuts = [0u64, 5, 6, 13, 29, 40];
    let all = leaves(40);
    let (mut known, mut whole) = (Nodes::default(), Range::empty(0));
    for cut in cuts.windows(2) {
        let mut range = Range::empty(cut[0]);
        all[cut[0] as usize..cut[1] as usize].iter().for_each(|leaf| range.push(*leaf));
        let hashes: Vec<Hash> = range.hashes().copied().collect();
        assert_eq!(Range::from_hashes(cut[0], cut[1], &hashes), Ok(range.clone()));
        assert!(Range::from_hashes(cut[0], cut[1], &hashes[1..]).is_err());
        assert!(whole.join(&range) && !whole.join(&Range::empty(99)));
        known.add(&range);
    }
    assert_eq!(whole, log(40));
    known.add_leaves(29, &all[29..]);
    let root = whole.root().expect("a root");
    for index in 29..40 {
        let proof = known.inclusion(index, 40).expect("the segment is at hand");
        assert!(verify_inclusion(&all[index as usize], index, 40, &proof, &root));
    }
    assert_eq!(known.inclusion(10, 40), None, "its segment is gone");
    for old in &cuts[1..5] {
        let proof = known.consistency(*old, 40).expect("segments end there");
        let was = log(*old).root().expect("a root");
        assert!(verify_consistency((*old, &was), (40, &root), &proof));
    }
}

proptest! {
    #[test]
    fn a_proof_that_was_touched_proves_nothing(
        size in 1u64..200, index in 0u64..200, at in 0usize..10, bit in 0usize..256,
    ) {
        let (index, known) = (index % size, nodes(size));
        let root = log(size).root().expect("a root");
        let leaf = leaves(size)[index as usize];
        let proof = known.inclusion(index, size).expect("known");
        prop_assert!(verify_inclusion(&leaf, index, size, &proof, &root));
        let longer = [&proof[..], &[[0; 32]]].concat();
        prop_assert!(!verify_inclusion(&leaf, index, size, &longer, &root));
        if !proof.is_empty() {
            let mut bad = proof.clone();
            let at = at % bad.len();
            bad[at][bit / 8] ^= 1 << (bit % 8);
            prop_assert!(!verify_inclusion(&leaf, index, size, &bad, &root));
            prop_assert!(!verify_inclusion(&leaf, index, size, &proof[1..], &root));
        }
    }

    #[test]
    fn consistency_holds_for_every_pair_and_for_no_other_root(old in 1u64..200, more in 0u64..200, bit in 0usize..256) {
        let new = old + more;
        let (was, is) = (log(old).root().expect("a root"), log(new).root().expect("a root"));
        let proof = nodes(new).consistency(old, new).expect("known");
        prop_assert!(verify_consistency((old, &was), (new, &is), &proof));
        let (mut bad_was, mut bad_is) = (was, is);
        bad_was[bit / 8] ^= 1 << (bit % 8);
        bad_is[bit / 8] ^= 1 << (bit % 8);
        prop_assert!(!verify_consistency((old, &bad_was), (new, &is), &proof));
        prop_assert!(!verify_consistency((old, &was), (new, &bad_is), &proof));
    }

    #[test]
    fn no_hashes_make_a_verifier_panic(a in any::<u64>(), b in any::<u64>(), n in 0usize..140) {
        let proof = vec![[7; 32]; n];
        let _ = verify_inclusion(&[1; 32], a, b, &proof, &[2; 32]);
        let _ = verify_consistency((a, &[1; 32]), (b, &[2; 32]), &proof);
        let _ = Range::from_hashes(a.min(b), a.max(b), &proof);
    }
}
