//! Finds internal tokens in what is about to leave.
//!
//! Internal tokens begin with [`INTERNAL_PREFIX`]; no other token of the world does, since the header names a type of
//! ours. A find is a refusal of the answer, not a repair.
//!
//! INVARIANT: however the bytes are cut into chunks, what would be found in one piece is found (MS-SS-10.3).
//!
//! Not here: compressed answers. The bytes of a gzip body do not show the prefix; whoever wants the scrub must not
//! let the service compress (the data plane asks for identity coding where a route scrubs).

use std::sync::LazyLock;

use memchr::memmem::Finder;

use crate::mint::INTERNAL_PREFIX;

const NEEDLE: &[u8] = INTERNAL_PREFIX.as_bytes();
/// What a chunk can hold of a prefix whose end is in the next one.
const TAIL: usize = NEEDLE.len() - 1;

static FINDER: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(NEEDLE));

/// What a scan saw.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Scan {
    /// No internal token so far.
    Clean,
    /// An internal token: nothing more of this answer may leave.
    Found,
}

/// Scans one stream of bytes. Header values, cookies and trailers are streams of their own.
#[derive(Debug, Default)]
pub struct Scrubber {
    tail: [u8; TAIL],
    length: usize,
}

impl Scrubber {
    /// Scans bytes that are complete in themselves, such as a header value.
    pub fn scan_whole(bytes: &[u8]) -> Scan {
        if bytes.len() >= NEEDLE.len() && FINDER.find(bytes).is_some() { Scan::Found } else { Scan::Clean }
    }

    /// Scans the next chunk of the stream.
    pub fn scan(&mut self, chunk: &[u8]) -> Scan {
        if self.border_shows(chunk) || Self::scan_whole(chunk) == Scan::Found {
            return Scan::Found;
        }
        self.keep(chunk);
        Scan::Clean
    }

    /// Whether a prefix begins in what was kept and ends in `chunk`.
    fn border_shows(&self, chunk: &[u8]) -> bool {
        let mut border = [0; TAIL * 2];
        let head = chunk.get(..TAIL).unwrap_or(chunk);
        let kept = self.tail.get(..self.length).unwrap_or_default();
        let end = kept.len() + head.len();
        if kept.is_empty() || end < NEEDLE.len() {
            return false;
        }
        for (to, from) in border.iter_mut().zip(kept.iter().chain(head)) {
            *to = *from;
        }
        border.get(..end).is_some_and(|border| FINDER.find(border).is_some())
    }

    /// Keeps the last bytes of what was seen, at most one less than the prefix has.
    fn keep(&mut self, chunk: &[u8]) {
        let from_chunk = chunk.len().min(TAIL);
        let from_tail = self.length.min(TAIL - from_chunk);
        self.tail.copy_within(self.length - from_tail..self.length, 0);
        let fresh = chunk.get(chunk.len() - from_chunk..).unwrap_or_default();
        for (to, from) in self.tail.iter_mut().skip(from_tail).zip(fresh) {
            *to = *from;
        }
        self.length = from_tail + from_chunk;
    }
}

#[cfg(test)]
mod tests {
    use portcullis_core::{Millis, Principal};
    use proptest::prelude::*;

    use super::*;
    use crate::testing::{name, now};
    use crate::{Minter, MinterRules};

    #[test]
    fn ms_ss_10_3_a_minted_token_is_found_however_it_is_cut() {
        let rules = MinterRules { issuer: "edge.shop.example".into(), life: Millis::from_secs(30) };
        let minter = Minter::new(rules).expect("a minter");
        let token =
            minter.mint(&Principal::anonymous(name("nobody")), &name("orders"), now()).expect("mints");
        let body = format!("{{\"echo\":\"{}\"}}", token.expose());
        assert_eq!(Scrubber::scan_whole(body.as_bytes()), Scan::Found);
        for size in 1..80 {
            let mut scrubber = Scrubber::default();
            let scans: Vec<_> = body.as_bytes().chunks(size).map(|chunk| scrubber.scan(chunk)).collect();
            assert!(scans.contains(&Scan::Found), "in chunks of {size}");
        }
    }

    #[test]
    fn part_of_a_prefix_is_clean() {
        let mut scrubber = Scrubber::default();
        assert_eq!(scrubber.scan(&NEEDLE[..TAIL]), Scan::Clean);
        assert_eq!(scrubber.scan(b""), Scan::Clean);
        assert_eq!(scrubber.scan(b"x"), Scan::Clean);
        assert_eq!(scrubber.scan(&NEEDLE[TAIL..]), Scan::Clean);
        assert_eq!(scrubber.scan(NEEDLE), Scan::Found);
    }

    proptest! {
        /// Streams of letters of the prefix, cut anywhere, against a search in one piece.
        #[test]
        fn cuts_change_nothing(
            pieces in prop::collection::vec(prop_oneof![
                Just(NEEDLE.to_vec()), Just(NEEDLE[..20].to_vec()), Just(NEEDLE[20..].to_vec()),
                prop::collection::vec(prop::sample::select(NEEDLE.to_vec()), 0..40),
            ], 0..6),
            cuts in prop::collection::vec(0usize..50, 0..12),
        ) {
            let body = pieces.concat();
            let want = Scrubber::scan_whole(&body);
            let (mut scrubber, mut rest, mut got) = (Scrubber::default(), body.as_slice(), Scan::Clean);
            for cut in cuts.into_iter().chain([body.len()]) {
                let (chunk, after) = rest.split_at(cut.min(rest.len()));
                if scrubber.scan(chunk) == Scan::Found { got = Scan::Found; break; }
                rest = after;
            }
            prop_assert_eq!(got, want);
        }
    }
}
