//! HTTP/2 frame headers out of a stream of bytes that comes in any pieces.
//!
//! Payloads are skipped, not copied; but a few bytes are looked at: the increment of WINDOW_UPDATE, the entries of
//! SETTINGS, and the pad length of DATA, which tells whether a frame that is not empty carries nothing.
//!
//! Not here: HPACK, stream states, flow control errors (all in h2).
//!
//! Sources: RFC 9113 §3.4, §4.1, §6; threats E1-E4.

use super::super::fault::Flaw;

/// The client's connection preface (RFC 9113 §3.4).
pub(super) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Frame types (RFC 9113 §6, RFC 9218 §7.1).
pub(super) mod kind {
    pub(in super::super) const DATA: u8 = 0;
    pub(in super::super) const HEADERS: u8 = 1;
    pub(in super::super) const PRIORITY: u8 = 2;
    pub(in super::super) const RST_STREAM: u8 = 3;
    pub(in super::super) const SETTINGS: u8 = 4;
    pub(in super::super) const PING: u8 = 6;
    pub(in super::super) const GOAWAY: u8 = 7;
    pub(in super::super) const WINDOW_UPDATE: u8 = 8;
    pub(in super::super) const CONTINUATION: u8 = 9;
    pub(in super::super) const PRIORITY_UPDATE: u8 = 16;
}

const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
const PADDED: u8 = 8;

/// The nine bytes before a payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FrameHead {
    pub(super) length: u32,
    pub(super) kind: u8,
    flags: u8,
    pub(super) stream: u32,
}

impl FrameHead {
    fn parse([a, b, c, kind, flags, stream @ ..]: [u8; 9]) -> Self {
        let length = u32::from_be_bytes([0, a, b, c]);
        Self { length, kind, flags, stream: u32::from_be_bytes(stream) & 0x7fff_ffff }
    }

    pub(super) fn ends_stream(self) -> bool {
        matches!(self.kind, kind::DATA | kind::HEADERS) && self.flags & END_STREAM != 0
    }

    pub(super) fn ends_headers(self) -> bool {
        self.flags & END_HEADERS != 0
    }

    fn is_padded_data(self) -> bool {
        self.kind == kind::DATA && self.flags & PADDED != 0
    }
}

/// What was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Event {
    /// A frame began.
    Frame(FrameHead),
    /// The increment of a WINDOW_UPDATE frame.
    Increment { stream: u32, by: u32 },
    /// An entry of a SETTINGS frame.
    Setting { id: u16, value: u32 },
    /// A DATA frame with nothing but padding.
    OnlyPadding(FrameHead),
}

/// Reads one direction of a connection.
#[derive(Debug)]
pub(super) struct Scanner {
    /// What is still to come of the preface.
    preface: &'static [u8],
    head: [u8; 9],
    have: usize,
    frame: FrameHead,
    /// Payload bytes still to come.
    left: u32,
    unit: Unit,
}

/// A few payload bytes that are looked at.
#[derive(Debug, Default)]
struct Unit {
    bytes: [u8; 6],
    have: usize,
    /// How many are wanted; zero when none are.
    want: usize,
}

impl Scanner {
    /// One that begins with the client's preface, or behind it.
    pub(super) fn new(preface: &'static [u8]) -> Self {
        let frame = FrameHead { length: 0, kind: 0, flags: 0, stream: 0 };
        Self { preface, head: [0; 9], have: 0, frame, left: 0, unit: Unit::default() }
    }

    /// Whether a new frame may be written here.
    pub(super) fn is_at_boundary(&self) -> bool {
        self.preface.is_empty() && self.have == 0 && self.left == 0
    }

    pub(super) fn is_in_preface(&self) -> bool {
        !self.preface.is_empty()
    }

    /// Reads `bytes` and tells `on` what it sees.
    pub(super) fn scan(
        &mut self,
        mut bytes: &[u8],
        mut on: impl FnMut(Event) -> Result<(), Flaw>,
    ) -> Result<(), Flaw> {
        self.skip_preface(&mut bytes)?;
        while !bytes.is_empty() {
            if self.left > 0 {
                self.payload(&mut bytes, &mut on)?;
            } else {
                self.header(&mut bytes, &mut on)?;
            }
        }
        Ok(())
    }

    fn skip_preface(&mut self, bytes: &mut &[u8]) -> Result<(), Flaw> {
        let count = self.preface.len().min(bytes.len());
        let (wanted, came) = (self.preface.split_off(..count), bytes.split_off(..count));
        if wanted == came { Ok(()) } else { Err(Flaw::Preface) }
    }

    fn header(
        &mut self,
        bytes: &mut &[u8],
        on: &mut impl FnMut(Event) -> Result<(), Flaw>,
    ) -> Result<(), Flaw> {
        self.have = fill(&mut self.head, self.have, bytes);
        if self.have < self.head.len() {
            return Ok(());
        }
        self.have = 0;
        self.frame = FrameHead::parse(self.head);
        self.left = self.frame.length;
        self.unit = Unit { want: wanted_of(self.frame), ..Unit::default() };
        on(Event::Frame(self.frame))
    }

    fn payload(
        &mut self,
        bytes: &mut &[u8],
        on: &mut impl FnMut(Event) -> Result<(), Flaw>,
    ) -> Result<(), Flaw> {
        let count = usize::try_from(self.left).unwrap_or(usize::MAX).min(bytes.len());
        let mut part = bytes.split_off(..count).unwrap_or_default();
        self.left = self.left.saturating_sub(u32::try_from(count).unwrap_or(u32::MAX));
        while self.unit.want > 0 && !part.is_empty() {
            let Some(window) = self.unit.bytes.get_mut(..self.unit.want) else { return Ok(()) };
            self.unit.have = fill(window, self.unit.have, &mut part);
            if self.unit.have == self.unit.want {
                self.unit_whole(on)?;
            }
        }
        Ok(())
    }

    fn unit_whole(&mut self, on: &mut impl FnMut(Event) -> Result<(), Flaw>) -> Result<(), Flaw> {
        let [a, b, c, d, e, f] = self.unit.bytes;
        self.unit.have = 0;
        let event = match self.frame.kind {
            kind::SETTINGS => {
                Event::Setting { id: u16::from_be_bytes([a, b]), value: u32::from_be_bytes([c, d, e, f]) }
            }
            kind::WINDOW_UPDATE => {
                self.unit.want = 0;
                let by = u32::from_be_bytes([a, b, c, d]) & 0x7fff_ffff;
                Event::Increment { stream: self.frame.stream, by }
            }
            _ => {
                self.unit.want = 0;
                if u32::from(a).saturating_add(1) < self.frame.length {
                    return Ok(());
                }
                Event::OnlyPadding(self.frame)
            }
        };
        on(event)
    }
}

fn wanted_of(frame: FrameHead) -> usize {
    match frame.kind {
        kind::SETTINGS => 6,
        kind::WINDOW_UPDATE => 4,
        _ if frame.is_padded_data() => 1,
        _ => 0,
    }
}

/// Fills `target` from `have` on with the front of `bytes`. Gives how many there are now.
fn fill(target: &mut [u8], have: usize, bytes: &mut &[u8]) -> usize {
    let Some(room) = target.get_mut(have..) else { return have };
    let count = room.len().min(bytes.len());
    if let (Some(room), Some(came)) = (room.get_mut(..count), bytes.split_off(..count)) {
        room.copy_from_slice(came);
    }
    have.saturating_add(count)
}

#[cfg(test)]
pub(super) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("small").to_be_bytes();
    let mut bytes = vec![length[1], length[2], length[3], kind, flags];
    bytes.extend_from_slice(&stream.to_be_bytes());
    bytes.extend_from_slice(payload);
    bytes
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn events(pieces: &[&[u8]]) -> Result<Vec<Event>, Flaw> {
        let mut scanner = Scanner::new(PREFACE);
        let mut seen = Vec::new();
        for piece in pieces {
            scanner.scan(piece, |event| {
                seen.push(event);
                Ok(())
            })?;
        }
        Ok(seen)
    }

    #[test]
    fn frames_updates_settings_and_padding_are_seen() {
        let mut wire = PREFACE.to_vec();
        wire.extend(frame(kind::SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 9, 0, 3, 0, 0, 1, 0]));
        wire.extend(frame(kind::WINDOW_UPDATE, 0, 7, &[0x80, 0, 0, 5]));
        wire.extend(frame(kind::DATA, PADDED, 7, &[2, 0, 0]));
        wire.extend(frame(kind::DATA, PADDED | END_STREAM, 7, &[1, b'x', 0]));
        let seen = events(&[&wire]).expect("well formed");
        let others: Vec<_> = seen.iter().filter(|e| !matches!(e, Event::Frame(_))).copied().collect();
        assert_eq!(others.len(), 4, "{seen:?}");
        assert_eq!(others[0], Event::Setting { id: 4, value: 9 });
        assert_eq!(others[1], Event::Setting { id: 3, value: 256 });
        assert_eq!(others[2], Event::Increment { stream: 7, by: 5 });
        assert!(matches!(others[3], Event::OnlyPadding(head) if !head.ends_stream()));
    }

    #[test]
    fn a10_anything_but_the_preface_is_refused_at_its_first_odd_byte() {
        assert_eq!(events(&[b"PRI * HTTP/2.0\r\n\r\nSM\r\n\rX"]), Err(Flaw::Preface));
        assert_eq!(events(&[b"G"]), Err(Flaw::Preface));
    }

    proptest! {
        #[test]
        fn the_pieces_do_not_matter(
            frames in proptest::collection::vec((0u8..12, any::<u8>(), 0u32..9, proptest::collection::vec(any::<u8>(), 0..40)), 0..8),
            cuts in proptest::collection::vec(1usize..30, 1..20),
        ) {
            let mut wire = PREFACE.to_vec();
            for (kind, flags, stream, payload) in &frames {
                wire.extend(frame(*kind, *flags, *stream, payload));
            }
            let mut pieces = Vec::new();
            let mut rest = wire.as_slice();
            for cut in cuts.iter().cycle() {
                if rest.is_empty() { break; }
                let (piece, more) = rest.split_at((*cut).min(rest.len()));
                pieces.push(piece);
                rest = more;
            }
            let whole = events(&[&wire]);
            prop_assert_eq!(&events(&pieces), &whole);
            let heads = whole.expect("well formed").iter().filter(|e| matches!(e, Event::Frame(_))).count();
            prop_assert_eq!(heads, frames.len());
        }
    }
}
