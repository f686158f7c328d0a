//! Requests that attack what is behind a gateway: each is refused, or read in exactly one way by everybody.

use portcullis_core::NormalPath;
use serde::Deserialize;

use super::readers::{httparse_reads, hyper_reads, through_guard};

const REQUESTS: &str =
    concat!(env!("CARGO_MANIFEST_DIR"), "/../../workshop/vectors/crs-attacks/requests.jsonl");

#[derive(Deserialize)]
struct Attack {
    id: String,
    wire: String,
}

#[test]
fn a1_a10_b1_every_attack_request_is_refused_or_has_exactly_one_reading() {
    let text = std::fs::read_to_string(REQUESTS).expect("the vectors are kept beside the code");
    let (mut read, mut refused, mut odd_paths) = (0, 0, 0);
    for line in text.lines() {
        let Attack { id, wire } = serde_json::from_str(line).expect("one object a line");
        let (written, flaw) = through_guard(wire.as_bytes());
        let (by_hyper, _) = hyper_reads(&written);
        assert_eq!(by_hyper, httparse_reads(&written), "{id}: two readings");
        assert_eq!(through_guard(&written), (written.clone(), None), "{id}: not a fixed point");
        if flaw.is_some() {
            refused += 1;
            continue;
        }
        let [message] = by_hyper.as_slice() else { panic!("{id}: {} messages", by_hyper.len()) };
        let body = wire.split_once("\r\n\r\n").map_or("", |(_, body)| body);
        assert_eq!(message.body, body.as_bytes(), "{id}: another body");
        let path = message.target.split('?').next().unwrap_or_default();
        match NormalPath::parse(path) {
            Ok(path) => assert_eq!(NormalPath::parse(path.as_str()), Ok(path), "{id}"),
            Err(_) => odd_paths += 1,
        }
        read += 1;
    }
    assert_eq!((read, refused, odd_paths), PASSED);
}

/// How many are read, how many the guard refuses, and how many of those that are read have a path that is refused.
const PASSED: (usize, usize, usize) = (1_672, 19, 6);
