//! The fuzz target without a fuzzer: over the kept corpus, and over cuts and joins of it.

use std::fs;
use std::path::Path;

use crate::fuzzing;

const CORPUS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../workshop/vectors/corpus/config");

#[test]
fn e9_c13_the_laws_of_root_files_hold_for_the_corpus_and_for_pieces_of_it() {
    let mut paths: Vec<_> =
        fs::read_dir(Path::new(CORPUS)).expect("kept").map(|e| e.expect("an entry").path()).collect();
    paths.sort();
    assert!(paths.len() >= 8, "there is a corpus");
    for path in paths {
        let bytes = fs::read(&path).expect("readable");
        fuzzing::root_file(&bytes);
        for part in 1..16 {
            let at = bytes.len() * part / 16;
            let (before, after) = bytes.split_at(at);
            fuzzing::root_file(before);
            fuzzing::root_file(&[after, before].concat());
        }
    }
}
