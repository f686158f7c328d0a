//! Bytes that were read and wait to be asked for.
//!
//! INVARIANT: when all are given, no memory worth naming is kept, so that idle connections cost little.
//!
//! Not here: how many there may be (whoever puts them in).

use tokio::io::ReadBuf;

/// Bytes in order, of which the first have been given out.
#[derive(Debug, Default)]
pub(crate) struct Ready {
    pub(crate) bytes: Vec<u8>,
    given: usize,
}

/// A buffer larger than this is given back when it is empty.
pub(crate) const KEPT: usize = 4 * 1024;

impl Ready {
    /// Moves what fits into `buf`. `false` when there is nothing.
    pub(crate) fn give(&mut self, buf: &mut ReadBuf<'_>) -> bool {
        let rest = self.bytes.get(self.given..).unwrap_or_default();
        if rest.is_empty() {
            return false;
        }
        let now = rest.get(..buf.remaining()).unwrap_or(rest);
        buf.put_slice(now);
        self.given = self.given.saturating_add(now.len());
        if self.given >= self.bytes.len() {
            self.given = 0;
            self.bytes.clear();
            if self.bytes.capacity() > KEPT {
                self.bytes = Vec::new();
            }
        }
        true
    }
}
