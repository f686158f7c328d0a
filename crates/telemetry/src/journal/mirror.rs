//! The record's lines, passed on to standard output or any other stream, once they are safe.
//!
//! A reader that is slow or stuck must not hold up the journal, so lines wait in a bounded buffer with a thread
//! of its own. A line that finds no room is dropped here and counted, the count is itself recorded, and the
//! line is still in the journal.
//!
//! INVARIANT: only whole lines are written, in the order of the journal, and only after they are safe.

use std::io::Write;
use std::sync::{Arc, Condvar, Mutex, PoisonError};

/// Bytes that wait at most.
const ROOM: usize = 4 << 20;

#[derive(Debug, Default)]
struct Waiting {
    bytes: Vec<u8>,
    over: bool,
}

#[derive(Debug, Default)]
struct Shared {
    waiting: Mutex<Waiting>,
    more: Condvar,
}

/// A stream that is given each line.
#[derive(Debug)]
pub struct Mirror {
    name: &'static str,
    shared: Arc<Shared>,
}

impl Mirror {
    /// Starts to pass lines on to `out`.
    ///
    /// # Errors
    /// Its thread could not be started.
    pub fn start(name: &'static str, out: Box<dyn Write + Send>) -> std::io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let theirs = Arc::clone(&shared);
        std::thread::Builder::new().name("record-mirror".to_owned()).spawn(move || pass_on(&theirs, out))?;
        Ok(Self { name, shared })
    }

    pub(super) fn name(&self) -> &'static str {
        self.name
    }

    /// Gives whole lines over; returns how many of them found no room.
    pub(super) fn offer(&self, lines: &[u8]) -> u64 {
        let mut waiting = self.shared.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let mut dropped = 0;
        for line in lines.split_inclusive(|byte| *byte == b'\n') {
            if waiting.over || waiting.bytes.len().saturating_add(line.len()) > ROOM {
                dropped += 1;
            } else {
                waiting.bytes.extend_from_slice(line);
            }
        }
        self.shared.more.notify_one();
        dropped
    }
}

impl Drop for Mirror {
    fn drop(&mut self) {
        self.shared.waiting.lock().unwrap_or_else(PoisonError::into_inner).over = true;
        self.shared.more.notify_one();
    }
}

fn pass_on(shared: &Shared, mut out: Box<dyn Write + Send>) {
    let mut lines = Vec::new();
    loop {
        let mut waiting = shared.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        while waiting.bytes.is_empty() && !waiting.over {
            waiting = shared.more.wait(waiting).unwrap_or_else(PoisonError::into_inner);
        }
        lines.clear();
        std::mem::swap(&mut lines, &mut waiting.bytes);
        let over = waiting.over;
        drop(waiting);
        let written = out.write_all(&lines).and_then(|()| out.flush());
        if over || written.is_err() {
            // Nobody reads any more: what comes finds no room and is counted.
            shared.waiting.lock().unwrap_or_else(PoisonError::into_inner).over = true;
            return;
        }
    }
}
