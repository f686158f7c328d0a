//! Signed notes: the form of C2SP, and what is not accepted.

use portcullis_core::{Sensitive, UnixMillis};
use proptest::prelude::*;

use crate::checkpoint::*;

fn key(origin: &str, byte: u8) -> CheckpointKey {
    CheckpointKey::new(origin, &Sensitive::new([byte; 32])).expect("a key")
}

fn note() -> String {
    key("edge-1.shop.example/journal", 1).sign(20_852, [7; 32], UnixMillis(1_760_000_000_000), 7)
}

#[test]
fn a_note_has_the_form_of_a_tlog_checkpoint() {
    insta::assert_snapshot!(note());
    let read = key("edge-1.shop.example/journal", 1).verifier().open(&note()).expect("good");
    assert_eq!((read.size, read.root, read.segment), (20_852, [7; 32], 7));
}

#[test]
fn a_note_of_another_key_or_log_is_refused() {
    let other_key = key("edge-1.shop.example/journal", 2).verifier();
    assert_eq!(other_key.open(&note()), Err(NoteFault::Signature));
    let other_log = key("edge-2.shop.example/journal", 1).verifier();
    assert_eq!(other_log.open(&note()), Err(NoteFault::Origin));
}

#[test]
fn a_witness_may_add_its_signature() {
    let witnessed = format!("{}\u{2014} witness.example AAAAAAAA\n", note());
    assert!(key("edge-1.shop.example/journal", 1).verifier().open(&witnessed).is_ok());
}

#[test]
fn a_text_that_could_be_read_in_two_ways_is_refused() {
    let by = key("edge-1.shop.example/journal", 1).verifier();
    let edits = [
        ("20852", "020852"),
        ("20852", "+20852"),
        ("time ", "time  "),
        ("segment 7", "segment 7\nextra"),
        ("segment 7\n", ""),
        ("\n\n", "\n"),
        ("20852", "99999999999999999999"),
    ];
    for (from, to) in edits {
        assert_eq!(by.open(&note().replacen(from, to, 1)), Err(NoteFault::Form), "{from:?} {to:?}");
    }
    assert_eq!(by.open(&"x".repeat(1 << 20)), Err(NoteFault::Form));
    let changed = note().replace("time 1760", "time 1761");
    assert_eq!(by.open(&changed), Err(NoteFault::Signature));
}

#[test]
fn an_origin_must_fit_into_a_note() {
    for bad in ["", "a b", "a+b", "a\nb", "é", &"x".repeat(129)] {
        assert_eq!(
            CheckpointKey::new(bad, &Sensitive::new([1; 32])).err(),
            Some(KeyFault::Origin),
            "{bad:?}"
        );
    }
}

#[test]
fn c13_a_key_shows_nothing_of_its_secret() {
    assert_eq!(format!("{:?}", key("edge", 0x41)), "CheckpointKey(`edge`)");
}

proptest! {
    #[test]
    fn a_note_with_any_byte_changed_is_refused_or_says_the_same(at in 0usize..400, with in any::<u8>()) {
        let (good, by) = (note(), key("edge-1.shop.example/journal", 1).verifier());
        let mut bytes = good.clone().into_bytes();
        let at = at % bytes.len();
        bytes[at] = with;
        if let Ok(read) = String::from_utf8(bytes).map_err(|_| ()).and_then(|text| by.open(&text).map_err(|_| ())) {
            prop_assert_eq!(read, by.open(&good).expect("good"));
        }
    }

    #[test]
    fn no_text_makes_the_reader_panic(text in any::<String>()) {
        prop_assert!(key("edge", 1).verifier().open(&text).is_err());
    }
}
