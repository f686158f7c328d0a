//! Laws of the sealed form: what was written comes back, and nothing else comes back.

use portcullis_core::{Sensitive, UnixMillis};
use proptest::prelude::*;

use super::*;
use crate::leaf::Place;
use crate::sequence::Sequences;

fn key(byte: u8) -> JournalKey {
    JournalKey::new(Sensitive::new([byte; 32]))
}

fn header(key: &JournalKey) -> Header {
    let time = UnixMillis(1_760_000_000_000);
    Header { number: 7, first: 40, time, key_id: key.id(), root_before: [5; 32], random: [9; 32] }
}

fn contents(lines: &[&[u8]]) -> Contents {
    let mut contents = Contents::default();
    for (number, line) in lines.iter().enumerate() {
        let place = Place { worker: 1, sequence: number as u64 + 1, time: UnixMillis(5) };
        let entry = Entry { place, salt: [3; 16], line };
        assert_eq!(contents.push(&entry), Some(entry.leaf()));
    }
    contents
}

/// The header, then each frame apart.
fn sample() -> (Vec<u8>, Vec<Vec<u8>>) {
    let key = key(1);
    let (mut first, mut frames) = (Vec::new(), Vec::new());
    let mut before = Sequences::default();
    before.resume(1, 12);
    let mut sealer = Sealer::begin(&key, &header(&key), &before, &mut first).expect("begins");
    frames.push(first.split_off(HEADER_LENGTH));
    for lines in [&[&b"{\"a\":1}"[..], b"{}"][..], &[b"{\"b\":2}"], &[b"{\"c\":3}"]] {
        let mut frame = Vec::new();
        sealer.records(&contents(lines), &mut frame).expect("seals");
        frames.push(frame);
    }
    let mut last = Vec::new();
    sealer.end("a note\n", &mut last).expect("ends");
    frames.push(last);
    (first, frames)
}

/// What can be read: lines, whether the end was reached, and the first fault.
#[derive(Debug, Default, PartialEq)]
struct Read {
    lines: Vec<String>,
    ended: bool,
    fault: Option<SegmentFault>,
    left: usize,
}

fn read(key: &JournalKey, bytes: &[u8]) -> Read {
    let mut found = Read::default();
    found.fault = walk(key, bytes, &mut found).err();
    found
}

fn walk(key: &JournalKey, bytes: &[u8], found: &mut Read) -> Result<(), SegmentFault> {
    let (head, mut rest) = bytes.split_at_checked(HEADER_LENGTH).ok_or(SegmentFault::Header)?;
    let (_, mut opener) = Opener::begin(key, head)?;
    found.left = rest.len();
    while let Some((prefix, after)) = rest.split_first_chunk::<PREFIX_LENGTH>() {
        let prefix = opener.prefix(prefix)?;
        let Some((body, after)) = after.split_at_checked(prefix.length()) else { return Ok(()) };
        match opener.open(prefix, body.to_vec())? {
            Frame::Opening(last) => assert_eq!(last.next(1), 13),
            Frame::Records(entries) => {
                for entry in entries.iter() {
                    found.lines.push(String::from_utf8(entry?.line.to_vec()).expect("text"));
                }
            }
            Frame::Footer(note) => {
                assert_eq!(note, "a note\n");
                found.ended = true;
            }
        }
        rest = after;
        found.left = rest.len();
    }
    Ok(())
}

fn joined(parts: (Vec<u8>, Vec<Vec<u8>>)) -> Vec<u8> {
    [parts.0, parts.1.concat()].concat()
}

#[test]
fn what_was_sealed_comes_back() {
    let got = read(&key(1), &joined(sample()));
    let lines = ["{\"a\":1}", "{}", "{\"b\":2}", "{\"c\":3}"].map(str::to_owned).to_vec();
    assert_eq!(got, Read { lines, ended: true, fault: None, left: 0 });
}

#[test]
fn another_key_opens_nothing() {
    assert_eq!(read(&key(2), &joined(sample())).fault, Some(SegmentFault::OtherKey));
}

/// Every single flipped bit of header and frames is found; the note's own signature covers its text.
#[test]
fn a_flipped_bit_anywhere_is_found() {
    let good = joined(sample());
    let note = good.len() - "a note\n".len();
    for at in 0..note {
        for bit in 0..8 {
            let mut bad = good.clone();
            bad[at] ^= 1 << bit;
            assert!(read(&key(1), &bad).fault.is_some(), "byte {at}, bit {bit}");
        }
    }
}

#[test]
fn a_block_that_is_missing_moved_or_doubled_is_found() {
    let frames = sample().1.len();
    for at in 0..frames - 1 {
        let mut dropped = sample();
        dropped.1.remove(at);
        assert!(read(&key(1), &joined(dropped)).fault.is_some(), "dropped {at}");
        let mut doubled = sample();
        doubled.1.insert(at, doubled.1[at].clone());
        assert!(read(&key(1), &joined(doubled)).fault.is_some(), "doubled {at}");
        let mut moved = sample();
        moved.1.swap(at, at + 1);
        assert!(read(&key(1), &joined(moved)).fault.is_some(), "moved {at}");
    }
}

/// A cut is never mistaken for a fault, and shows exactly the blocks before it.
#[test]
fn a_cut_at_any_byte_leaves_the_whole_blocks_before_it() {
    let good = joined(sample());
    for at in HEADER_LENGTH..good.len() {
        let got = read(&key(1), &good[..at]);
        assert_eq!((got.fault, got.ended), (None, false), "cut at {at}");
        assert!(
            ["", "{\"a\":1},{}", "{\"a\":1},{},{\"b\":2}", "{\"a\":1},{},{\"b\":2},{\"c\":3}"]
                .contains(&got.lines.join(",").as_str())
        );
    }
}

#[test]
fn a_frame_takes_no_more_than_it_can_hold() {
    let mut contents = Contents::default();
    let place = Place { worker: 1, sequence: 1, time: UnixMillis(5) };
    let line = vec![b'x'; LARGEST_CONTENT - ENTRY_HEAD + 1];
    assert_eq!(contents.push(&Entry { place, salt: [0; 16], line: &line }), None);
    assert!(contents.is_empty());
    assert!(contents.push(&Entry { place, salt: [0; 16], line: &line[1..] }).is_some());
    assert_eq!(contents.len(), LARGEST_CONTENT);
}

proptest! {
    #[test]
    fn no_bytes_make_the_reader_panic_or_show_a_record(noise in prop::collection::vec(any::<u8>(), 0..400)) {
        let good = joined(sample());
        prop_assert_eq!(fuzz(&key(1), &noise), 0);
        let behind_the_header = [&good[..HEADER_LENGTH], &noise].concat();
        prop_assert_eq!(fuzz(&key(1), &behind_the_header), 0);
    }

    #[test]
    fn mutations_never_show_more_than_was_written(at in 0usize..600, with in any::<u8>(), cut in 0usize..600) {
        let mut bytes = joined(sample());
        let length = bytes.len();
        bytes[at % length] = with;
        bytes.truncate(length - cut % length);
        prop_assert!(fuzz(&key(1), &bytes) <= 4);
    }
}
