//! Everything that is wrong in one file, told at once.
//!
//! `golden/broken.txt` is what an operator sees; when a text changes on purpose, the failing test prints the new
//! one.

use super::*;
use crate::load;

const BROKEN: &str = include_str!("../golden/broken.yaml");
const TOLD: &str = include_str!("../golden/broken.txt");

#[test]
fn all_problems_are_told_at_once() {
    let problems = load("portcullis.yaml", &with_root(BROKEN)).expect_err("nothing in it is right");
    let told = problems.to_string();
    assert!(told == TOLD, "golden/broken.txt should read:\n{told}");
    assert!(problems.count() >= 40, "{}", problems.count());
    assert!(!told.contains(CANARY));
}
