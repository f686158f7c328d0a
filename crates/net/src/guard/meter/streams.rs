//! Which of our streams the peer keeps from sending.
//!
//! A peer that grants no window makes us hold an answer, its upstream and its slot for as long as it likes (E5). h2
//! does not say that it waits, so the windows are followed here: only sizes, from frames that pass anyway.
//!
//! INVARIANT: at most as many streams are remembered as the limit says.
//!
//! Sources: RFC 9113 §5.2, §6.5.2, §6.9; CVE-2026-49975, CVE-2026-47774 (window stall); threat E5.

use super::super::fault::{Flaw, Leg};
use super::frames::{Event, FrameHead, kind};

const SETTINGS_INITIAL_WINDOW_SIZE: u16 = 4;
const FIRST_WINDOW: i64 = 65_535;

/// The windows that the peer grants.
#[derive(Debug)]
pub(super) struct Streams {
    leg: Leg,
    most: usize,
    connection: i64,
    initial: i64,
    /// In the order of their ids, since ids only grow.
    open: Vec<Open>,
    last: u32,
}

#[derive(Debug)]
struct Open {
    id: u32,
    window: i64,
    /// Whether we have begun to send, so that what follows is body.
    has_begun: bool,
}

impl Streams {
    pub(super) fn new(leg: Leg, most: usize) -> Self {
        Self { leg, most, connection: FIRST_WINDOW, initial: FIRST_WINDOW, open: Vec::new(), last: 0 }
    }

    /// Whether no stream waits for us.
    pub(super) fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    /// The highest stream that was opened.
    pub(super) fn last(&self) -> u32 {
        self.last
    }

    /// Whether the peer keeps a body of ours from going.
    pub(super) fn is_blocked(&self) -> bool {
        self.open.iter().any(|stream| stream.has_begun && (stream.window <= 0 || self.connection <= 0))
    }

    /// Follows what the peer sent.
    pub(super) fn received(&mut self, event: Event) -> Result<(), Flaw> {
        match event {
            Event::Frame(head) if head.kind == kind::HEADERS && self.leg == Leg::Downstream => {
                self.open(head)
            }
            Event::Frame(head) if head.kind == kind::RST_STREAM => {
                self.close(head.stream);
                Ok(())
            }
            Event::Increment { stream: 0, by } => {
                self.connection = self.connection.saturating_add(by.into());
                Ok(())
            }
            Event::Increment { stream, by } => {
                if let Some(stream) = self.find(stream) {
                    stream.window = stream.window.saturating_add(by.into());
                }
                Ok(())
            }
            Event::Setting { id: SETTINGS_INITIAL_WINDOW_SIZE, value } => {
                self.set_initial(value.into());
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Follows what we sent. Gives the body bytes in it.
    pub(super) fn sent(&mut self, event: Event) -> Result<u32, Flaw> {
        let Event::Frame(head) = event else { return Ok(0) };
        match head.kind {
            kind::HEADERS => {
                if self.leg == Leg::Upstream {
                    self.open(head)?;
                }
                if let Some(stream) = self.find(head.stream) {
                    stream.has_begun = true;
                }
            }
            kind::DATA => {
                let length = i64::from(head.length);
                self.connection = self.connection.saturating_sub(length);
                if let Some(stream) = self.find(head.stream) {
                    stream.window = stream.window.saturating_sub(length);
                }
            }
            kind::RST_STREAM => self.close(head.stream),
            _ => return Ok(0),
        }
        if head.ends_stream() {
            self.close(head.stream);
        }
        Ok(if head.kind == kind::DATA { head.length } else { 0 })
    }

    fn open(&mut self, head: FrameHead) -> Result<(), Flaw> {
        // A second HEADERS on a stream is its trailers.
        if head.stream <= self.last {
            return Ok(());
        }
        if self.open.len() >= self.most {
            return Err(Flaw::RapidReset);
        }
        self.last = head.stream;
        self.open.push(Open { id: head.stream, window: self.initial, has_begun: false });
        Ok(())
    }

    fn find(&mut self, id: u32) -> Option<&mut Open> {
        let at = self.open.binary_search_by_key(&id, |stream| stream.id).ok()?;
        self.open.get_mut(at)
    }

    fn close(&mut self, id: u32) {
        if let Ok(at) = self.open.binary_search_by_key(&id, |stream| stream.id) {
            self.open.remove(at);
        }
    }

    /// RFC 9113 §6.9.2: a new initial size moves the window of every open stream.
    fn set_initial(&mut self, size: i64) {
        let change = size.saturating_sub(self.initial);
        self.initial = size;
        for stream in &mut self.open {
            stream.window = stream.window.saturating_add(change);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::frames::{Scanner, frame};
    use super::*;

    const END_STREAM: u8 = 1;
    const END_HEADERS: u8 = 4;

    struct Wire(Streams, Scanner, Scanner);

    impl Wire {
        fn new() -> Self {
            Self(Streams::new(Leg::Downstream, 4), Scanner::new(b""), Scanner::new(b""))
        }

        fn peer(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Result<(), Flaw> {
            self.1.scan(&frame(kind, flags, stream, payload), |event| self.0.received(event))
        }

        fn us(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
            self.2.scan(&frame(kind, flags, stream, payload), |e| self.0.sent(e).map(|_| ())).expect("sent");
        }
    }

    #[test]
    fn e5_a_stream_without_window_blocks_until_it_gets_some_or_ends() {
        let mut wire = Wire::new();
        wire.peer(kind::SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 0]).expect("settings");
        wire.peer(kind::HEADERS, END_HEADERS | END_STREAM, 1, b"").expect("headers");
        assert!(!wire.0.is_blocked(), "we have nothing to send yet");
        wire.us(kind::HEADERS, END_HEADERS, 1, b"");
        assert!(wire.0.is_blocked());
        wire.peer(kind::WINDOW_UPDATE, 0, 1, &[0, 0, 0, 2]).expect("update");
        assert!(!wire.0.is_blocked());
        wire.us(kind::DATA, 0, 1, b"ab");
        assert!(wire.0.is_blocked());
        wire.peer(kind::RST_STREAM, 0, 1, &[0; 4]).expect("reset");
        assert!(!wire.0.is_blocked() && wire.0.is_empty());
    }

    #[test]
    fn e5_the_connection_window_blocks_every_stream_that_has_begun() {
        let mut wire = Wire::new();
        wire.peer(kind::HEADERS, END_HEADERS, 1, b"").expect("headers");
        wire.us(kind::HEADERS, END_HEADERS, 1, b"");
        wire.0.connection = 3;
        wire.us(kind::DATA, 0, 1, b"abc");
        assert!(wire.0.is_blocked());
        wire.peer(kind::WINDOW_UPDATE, 0, 0, &[0, 0, 0, 1]).expect("update");
        assert!(!wire.0.is_blocked());
        wire.us(kind::DATA, END_STREAM, 1, b"d");
        assert!(wire.0.is_empty());
    }

    #[test]
    fn a_later_initial_window_moves_open_streams_and_the_table_is_bounded() {
        let mut wire = Wire::new();
        for id in [1, 3, 5, 7] {
            wire.peer(kind::HEADERS, END_HEADERS, id, b"").expect("headers");
        }
        wire.us(kind::HEADERS, END_HEADERS, 3, b"");
        wire.peer(kind::SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 0]).expect("settings");
        assert!(wire.0.is_blocked());
        wire.peer(kind::HEADERS, END_HEADERS | END_STREAM, 3, b"").expect("trailers");
        assert_eq!(wire.peer(kind::HEADERS, END_HEADERS, 9, b""), Err(Flaw::RapidReset));
    }
}
