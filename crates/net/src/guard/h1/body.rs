//! Message bodies: counted, chunked, or up to the end of the connection.
//!
//! A chunked body is decoded strictly and written again chunk by chunk: hexadecimal digits and CRLF only, no
//! extension, trailers under the rules of fields and without any name that could change what was decided at the head.
//!
//! Sources: RFC 9112 §6, §7.1; RFC 9110 §6.5; threats A1, A7, E5, E15.

use std::io::Write as _;

use super::super::fault::Flaw;
use super::super::grammar::{Line, hexadecimal, split_field, take_line};
use super::super::limits::Limits;
use super::fields::write_field;

/// The rest of a message after its head.
#[derive(Debug)]
pub(super) enum Body {
    /// So many bytes are still to come; zero when there is none.
    Length(u64),
    /// Chunks and trailers.
    Chunked(Chunked),
    /// All that comes (answers only).
    UntilClose,
}

/// Whether the body is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flow {
    More,
    Done,
}

impl Body {
    pub(super) const EMPTY: Self = Self::Length(0);

    pub(super) fn feed(
        &mut self,
        limits: &Limits,
        input: &mut &[u8],
        out: &mut Vec<u8>,
    ) -> Result<Flow, Flaw> {
        match self {
            Self::Length(left) => {
                move_bytes(left, input, out);
                Ok(if *left == 0 { Flow::Done } else { Flow::More })
            }
            Self::Chunked(chunked) => chunked.feed(limits, input, out),
            Self::UntilClose => {
                out.extend_from_slice(std::mem::take(input));
                Ok(Flow::More)
            }
        }
    }

    /// How many of the next bytes are body and nothing else, and may be moved without being looked at.
    pub(super) fn direct(&self) -> u64 {
        match self {
            Self::Length(left) | Self::Chunked(Chunked { at: At::Content(left), .. }) => *left,
            Self::Chunked(_) => 0,
            Self::UntilClose => u64::MAX,
        }
    }

    /// `count` bytes, at most [`Body::direct`], were moved elsewhere.
    pub(super) fn advance(&mut self, count: u64) -> Flow {
        match self {
            Self::Length(left) => {
                *left = left.saturating_sub(count);
                if *left == 0 { Flow::Done } else { Flow::More }
            }
            Self::Chunked(chunked) => {
                if let At::Content(left) = &mut chunked.at {
                    *left = left.saturating_sub(count);
                }
                Flow::More
            }
            Self::UntilClose => Flow::More,
        }
    }
}

fn move_bytes(left: &mut u64, input: &mut &[u8], out: &mut Vec<u8>) {
    let count = usize::try_from(*left).unwrap_or(usize::MAX).min(input.len());
    out.extend_from_slice(input.split_off(..count).unwrap_or_default());
    *left = left.saturating_sub(u64::try_from(count).unwrap_or(u64::MAX));
}

/// Where in a chunked body the next byte stands.
#[derive(Clone, Copy, Debug)]
enum At {
    Size,
    Content(u64),
    ContentEnd,
    Trailers,
}

/// A chunked body.
#[derive(Debug)]
pub(super) struct Chunked {
    at: At,
    seen: usize,
    trailers: usize,
    /// Input bytes of the trailer section so far.
    spent: usize,
    /// The last chunk and the trailers, until they are whole.
    section: Vec<u8>,
}

/// Sixteen digits and CRLF.
const LONGEST_SIZE_LINE: usize = 18;

impl Chunked {
    pub(super) fn new() -> Self {
        Self { at: At::Size, seen: 0, trailers: 0, spent: 0, section: Vec::new() }
    }

    fn feed(&mut self, limits: &Limits, input: &mut &[u8], out: &mut Vec<u8>) -> Result<Flow, Flaw> {
        loop {
            let flow = match &mut self.at {
                At::Size => self.size(input, out)?,
                At::Content(left) => {
                    move_bytes(left, input, out);
                    if *left > 0 {
                        return Ok(Flow::More);
                    }
                    self.at = At::ContentEnd;
                    continue;
                }
                At::ContentEnd => self.content_end(input, out)?,
                At::Trailers => match self.trailer(limits, input)? {
                    Flow::Done => {
                        out.append(&mut self.section);
                        return Ok(Flow::Done);
                    }
                    more => more,
                },
            };
            if flow == Flow::More {
                return Ok(Flow::More);
            }
        }
    }

    /// `Done` when a size line was read.
    fn size(&mut self, input: &mut &[u8], out: &mut Vec<u8>) -> Result<Flow, Flaw> {
        let front = input.get(..LONGEST_SIZE_LINE).unwrap_or(input);
        let line = match take_line(input, self.seen, LONGEST_SIZE_LINE)? {
            Line::Whole(line) => line,
            Line::Partial => return Ok(self.wait(input)),
            Line::TooLong => return Err(size_flaw(front)),
        };
        self.seen = 0;
        let size =
            hexadecimal(line).map_err(|flaw| if line.contains(&b';') { size_flaw(line) } else { flaw })?;
        if size == 0 {
            self.section.extend_from_slice(b"0\r\n");
            self.at = At::Trailers;
        } else {
            // Writing into a Vec cannot fail.
            let _ = write!(out, "{size:x}\r\n");
            self.at = At::Content(size);
        }
        Ok(Flow::Done)
    }

    fn wait(&mut self, input: &[u8]) -> Flow {
        self.seen = input.len();
        Flow::More
    }

    /// `Done` when the CRLF after the content was read.
    fn content_end(&mut self, input: &mut &[u8], out: &mut Vec<u8>) -> Result<Flow, Flaw> {
        match input {
            [] | [b'\r'] => Ok(Flow::More),
            [b'\r', b'\n', rest @ ..] => {
                *input = rest;
                out.extend_from_slice(b"\r\n");
                self.at = At::Size;
                Ok(Flow::Done)
            }
            _ => Err(Flaw::ChunkEnd),
        }
    }

    /// Reads trailers. `Done` when the section is whole.
    fn trailer(&mut self, limits: &Limits, input: &mut &[u8]) -> Result<Flow, Flaw> {
        loop {
            let left = limits.trailer_bytes.saturating_sub(self.spent);
            let before = input.len();
            let line = match take_line(input, self.seen, left)? {
                Line::Whole(line) => line,
                Line::Partial => return Ok(self.wait(input)),
                Line::TooLong => return Err(Flaw::HeadTooLarge),
            };
            self.seen = 0;
            self.spent = self.spent.saturating_add(before.saturating_sub(input.len()));
            if line.is_empty() {
                self.section.extend_from_slice(b"\r\n");
                return Ok(Flow::Done);
            }
            let (name, value) = split_field(line)?;
            if !may_trail(name) {
                return Err(Flaw::TrailerName);
            }
            self.trailers = self.trailers.saturating_add(1);
            if self.trailers > limits.trailers {
                return Err(Flaw::TooManyFields);
            }
            write_field(&mut self.section, name, value);
        }
    }
}

fn size_flaw(front: &[u8]) -> Flaw {
    if front.contains(&b';') { Flaw::ChunkExtension } else { Flaw::ChunkSize }
}

/// Names that mean something before the body: framing, routing, authentication, and how to read the content.
const HEAD_ONLY: &[&[u8]] = &[
    b"age",
    b"authorization",
    b"cache-control",
    b"connection",
    b"cookie",
    b"cookie2",
    b"date",
    b"dpop",
    b"expect",
    b"expires",
    b"forwarded",
    b"host",
    b"http2-settings",
    b"if-match",
    b"if-modified-since",
    b"if-none-match",
    b"if-range",
    b"if-unmodified-since",
    b"keep-alive",
    b"location",
    b"max-forwards",
    b"origin",
    b"pragma",
    b"proxy",
    b"range",
    b"referer",
    b"retry-after",
    b"set-cookie",
    b"set-cookie2",
    b"te",
    b"traceparent",
    b"tracestate",
    b"trailer",
    b"transfer-encoding",
    b"upgrade",
    b"vary",
    b"via",
    b"warning",
    b"www-authenticate",
    b"x-real-ip",
];
const HEAD_ONLY_PREFIXES: &[&[u8]] = &[b"access-control-", b"content-", b"proxy-", b"sec-", b"x-forwarded-"];

/// Whether a field of this name may stand in a trailer section.
///
/// SECURITY: a trailer is read after every decision was made (A7), so a name that would have had a say is refused,
/// in every spelling that some server folds together (B9).
#[must_use]
pub fn may_trail(name: &[u8]) -> bool {
    let is = |known: &&[u8]| name.len() == known.len() && folds_to(name, known);
    let starts = |known: &&[u8]| name.get(..known.len()).is_some_and(|front| folds_to(front, known));
    !HEAD_ONLY.iter().any(is) && !HEAD_ONLY_PREFIXES.iter().any(starts)
}

/// Whether `name` is `known` but for case and for `_` or `.` in place of `-`. Both are of one length.
pub(super) fn folds_to(name: &[u8], known: &[u8]) -> bool {
    name.iter().zip(known).all(|(byte, known)| match byte {
        b'_' | b'.' => *known == b'-',
        byte => byte.eq_ignore_ascii_case(known),
    })
}
