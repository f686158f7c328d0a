//! The fuzz targets without a fuzzer: over the kept corpus, and over a bounded number of mutations of it.

use std::fs;
use std::path::PathBuf;

use super::super::fuzzing;
use super::readers::{Numbers, mutated};

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../workshop/vectors/corpus/guard");
const MUTATIONS: usize = 4_000;

/// The kept inputs of one target, in the order of their names.
fn kept(target: &str) -> Vec<Vec<u8>> {
    let folder = PathBuf::from(ROOT).join(target);
    let mut paths: Vec<_> =
        fs::read_dir(folder).expect("kept").map(|entry| entry.expect("entry").path()).collect();
    paths.sort();
    paths.iter().map(|path| fs::read(path).expect("readable")).collect()
}

fn run(target: &str, body: fn(&[u8])) {
    let inputs = kept(target);
    assert!(inputs.len() >= 10, "{target} has a corpus");
    inputs.iter().for_each(|input| body(input));
    let mut numbers = Numbers::new(7);
    for _ in 0..MUTATIONS {
        let input = mutated(&inputs[numbers.below(inputs.len())], &mut numbers);
        body(&input);
    }
}

#[test]
fn the_laws_of_requests_hold_for_the_corpus_and_its_mutations() {
    run("request", fuzzing::request);
}

#[test]
fn the_laws_of_answers_hold_for_the_corpus_and_its_mutations() {
    run("response", fuzzing::response);
}

#[test]
fn the_laws_of_the_meter_hold_for_the_corpus_and_its_mutations() {
    run("meter", fuzzing::meter);
}

#[test]
fn the_laws_of_paths_hold_for_the_corpus_and_its_mutations() {
    run("path", fuzzing::path);
}
