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
