//! Everything that somebody with the disk in hand could do, and that verifying finds it.

use portcullis_evidence::checkpoint::Checkpoint;
use portcullis_evidence::proof::verify_consistency;

use super::*;
use crate::journal::read::NotProved;

/// Three closed segments of a few records each, and an open one.
fn sample() -> Disk {
    let disk = Disk::default();
    let clock = Hands::new();
    for run in 0..4 {
        let mut bench = Bench::with(&plan(), &disk, &clock).expect("opens");
        for number in 0..3 {
            bench.record(number % 2, &format!("r{run}n{number}"));
            assert!(bench.turn());
        }
        clock.turn(Duration::from_secs(60));
        if run < 3 {
            bench.stop();
        }
    }
    assert!(verify(&disk).is_good(), "{}", verify(&disk));
    disk
}

fn found(disk: &Disk) -> bool {
    let found = !verify(disk).is_good();
    assert_eq!(found, verify(disk).to_string().contains("TAMPERED"));
    found
}

/// Every byte of every segment, every byte of the proofs.
#[test]
fn a_flipped_byte_anywhere_is_found() {
    let disk = sample();
    let lengths: Vec<_> = disk.platter().segments.iter().map(|(n, bytes)| (*n, bytes.len())).collect();
    for (number, length) in lengths {
        for at in 0..length {
            let copy = disk.copy();
            copy.platter().segments.get_mut(&number).expect("there")[at] ^= 0x10;
            assert!(found(&copy), "segment {number}, byte {at}");
        }
    }
    let end = disk.platter().proofs.len() - 1;
    for at in 0..end {
        let copy = disk.copy();
        copy.platter().proofs[at] ^= 0x01;
        assert!(found(&copy), "proofs, byte {at}");
    }
}

#[test]
fn a_segment_that_is_missing_swapped_or_cut_is_found() {
    let disk = sample();
    for number in 1..=3 {
        let gone = disk.copy();
        gone.platter().segments.remove(&number);
        assert!(found(&gone), "{number} removed");
        let cut = disk.copy();
        cut.platter().segments.get_mut(&number).expect("there").pop();
        assert!(found(&cut), "{number} cut");
        let swapped = disk.copy();
        let other = swapped.platter().segments[&(number % 3 + 1)].clone();
        swapped.platter().segments.insert(number, other);
        assert!(found(&swapped), "{number} replaced");
        let longer = disk.copy();
        longer.platter().segments.get_mut(&number).expect("there").push(0);
        assert!(found(&longer), "{number} longer");
    }
}

/// Removing the oldest segments as retention would, without retention having said so.
#[test]
fn deleting_is_not_retention() {
    let disk = sample();
    for upto in 1..=3 {
        let copy = disk.copy();
        (1..=upto).for_each(|number| drop(copy.platter().segments.remove(&number)));
        assert!(found(&copy), "the first {upto} removed");
    }
    let newest = disk.copy();
    newest.platter().segments.remove(&4);
    newest.platter().segments.remove(&3);
    assert!(found(&newest), "the last closed one is in the proofs");
}

#[test]
fn proofs_that_were_dropped_or_moved_are_found() {
    let disk = sample();
    let lines: Vec<_> = disk.platter().proofs.split_inclusive(|b| *b == b'\n').map(<[u8]>::to_vec).collect();
    assert_eq!(lines.len(), 3);
    for at in 0..2 {
        let copy = disk.copy();
        let mut fewer = lines.clone();
        fewer.remove(at);
        copy.platter().proofs = fewer.concat();
        assert!(found(&copy), "line {at} dropped");
        let mut swapped = lines.clone();
        swapped.swap(at, at + 1);
        copy.platter().proofs = swapped.concat();
        assert!(found(&copy), "line {at} moved");
    }
}

/// Cutting the open segment after a whole block cannot be seen from inside; a checkpoint kept elsewhere shows it.
#[test]
fn a_checkpoint_kept_elsewhere_shows_a_log_that_was_cut_or_rewritten() {
    let disk = sample();
    let kept: Checkpoint = verify(&disk).checkpoint.expect("signed");
    assert!(reader(&disk).verify(std::slice::from_ref(&kept)).expect("reads").is_good());
    let longer = Checkpoint { size: kept.size + 100, ..kept.clone() };
    let other = Checkpoint { root: [9; 32], ..kept.clone() };
    for bad in [longer, other] {
        assert!(!reader(&disk).verify(&[bad]).expect("reads").is_good());
    }
    let replaced = sample();
    let report = reader(&replaced).verify(&[kept]).expect("reads");
    assert!(!report.is_good(), "another log of the same length, with the same keys");
}

#[test]
fn another_key_reads_and_signs_nothing() {
    let disk = sample();
    let strange = JournalKey::new(Sensitive::new([9; 32]));
    let reader = JournalReader::new(Box::new(disk.clone()), strange, keys().sign.verifier());
    assert!(!reader.verify(&[]).expect("reads").is_good());
    assert!(reader.query(&Query::default(), |_, _| panic!("nothing may be shown")).is_err());
    let sign = CheckpointKey::new("edge/journal", &Sensitive::new([9; 32])).expect("a key");
    let reader = JournalReader::new(Box::new(disk), keys().seal, sign.verifier());
    assert!(!reader.verify(&[]).expect("reads").is_good());
}

#[test]
fn a_record_is_proved_to_somebody_who_sees_nothing_else() {
    let disk = sample();
    let verifier = keys().sign.verifier();
    let shown = reader(&disk).disclose(id("r1n2")).expect("signed");
    assert_eq!(shown.len(), 1);
    assert!(shown[0].is_good(&verifier));
    let mut forged = shown[0].clone();
    forged.line = String::from_utf8(forged.line).expect("text").replace("r1n2", "r1n9").into_bytes();
    assert!(!forged.is_good(&verifier));
    let mut moved = shown[0].clone();
    moved.place.sequence += 1;
    assert!(!moved.is_good(&verifier));
    assert!(matches!(reader(&disk).disclose(id("r3n0")), Err(NotProved::Unsigned)));
    assert!(matches!(reader(&disk).disclose(id("nobody")), Err(NotProved::Absent)));
}

#[test]
fn the_log_is_proved_to_have_only_grown() {
    let disk = sample();
    let proofs = String::from_utf8(disk.platter().proofs.clone()).expect("text");
    let note = |line: &str| {
        let line: serde_json::Value = serde_json::from_str(line).expect("JSON");
        keys().sign.verifier().open(line["note"].as_str().expect("a note")).expect("signed")
    };
    let newest = note(proofs.lines().last().expect("a line"));
    for line in proofs.lines() {
        let old = note(line);
        let (path, text) = reader(&disk).consistency(old.size).expect("a checkpoint's size");
        assert_eq!(keys().sign.verifier().open(&text).expect("signed"), newest);
        assert!(verify_consistency((old.size, &old.root), (newest.size, &newest.root), &path));
    }
}
