//! The bodies of the fuzz targets: laws that hold for any input, checked by assertion.
//!
//! They stand here so that libFuzzer, an ordinary test over the kept corpus, and a bounded run over mutations of it
//! all run the same code.
//!
//! Not here: the targets themselves (`fuzz/`), what produces the input.

#![expect(clippy::panic, reason = "a broken law is reported by panicking; nothing of the product calls this")]

use portcullis_core::NormalPath;
use tokio::time::Instant;

use super::fault::{Fault, Leg};
use super::h1::{ExpectedAnswer, RequestFramer, ResponseFramer, Step};
use super::limits::Limits;
use super::meter::{Gauge, MeterLimits};

/// What framing came to: the canonical bytes, and the fault that ended it.
type Framed = (Vec<u8>, Option<Fault>);

/// Requests: the pieces do not matter, and what is written is a fixed point.
///
/// # Panics
/// When a law is broken.
pub fn request(bytes: &[u8]) {
    laws(bytes, |input, piece| {
        let mut framer = RequestFramer::new(Limits::default());
        drive(input, piece, |input, out| {
            let step = framer.feed(input, out)?;
            if step != Step::Held {
                return Ok(step);
            }
            framer.resume();
            framer.feed(input, out)
        })
    });
}

/// Answers: the same, for each answer that may be due. The first byte says which.
///
/// # Panics
/// When a law is broken.
pub fn response(bytes: &[u8]) {
    let Some((choice, bytes)) = bytes.split_first() else { return };
    let due = match choice % 3 {
        0 => ExpectedAnswer::Plain,
        1 => ExpectedAnswer::ToHead,
        _ => ExpectedAnswer::Upgrade,
    };
    laws(bytes, |input, piece| {
        let mut framer = ResponseFramer::new(Limits::default());
        framer.expect(due);
        drive(input, piece, |input, out| framer.feed(input, out))
    });
}

/// HTTP/2 frames: the meter ends in the same way however the bytes are cut.
///
/// # Panics
/// When a law is broken.
pub fn meter(bytes: &[u8]) {
    let Some((choice, bytes)) = bytes.split_first() else { return };
    let leg = if choice % 2 == 0 { Leg::Downstream } else { Leg::Upstream };
    let ends = |piece: usize| {
        let now = Instant::now();
        let mut gauge = Gauge::new(leg, MeterLimits::default(), now);
        bytes.chunks(piece).try_for_each(|part| gauge.received(part)).err()
    };
    law("the meter depends on the pieces", ends(1) == ends(usize::MAX));
    let mut gauge = Gauge::new(leg, MeterLimits::default(), Instant::now());
    let _ = bytes.chunks(7).try_for_each(|part| gauge.received(part).and_then(|()| gauge.sent(part)));
}

/// Paths: what is normal is normal again, and keeps what the type promises.
///
/// # Panics
/// When a law is broken.
pub fn path(bytes: &[u8]) {
    let Ok(Ok(path)) = std::str::from_utf8(bytes).map(NormalPath::parse) else { return };
    let text = path.as_str();
    law("normalising is not idempotent", NormalPath::parse(text).as_ref() == Ok(&path));
    law("not absolute", text.starts_with('/'));
    law("not printable ASCII", text.bytes().all(|b| (0x21..0x7f).contains(&b)));
    law("holds a separator in disguise", !text.contains(['\\', ';', '#', '?']));
    let last = path.segments().count().saturating_sub(1);
    let is_odd =
        |(at, segment): (usize, &str)| matches!(segment, "." | "..") || (segment.is_empty() && at < last);
    law("has an empty or dot segment", !path.segments().enumerate().any(is_odd));
    for hidden in ["%2F", "%5C", "%00", "%3B"] {
        law("holds a byte in disguise", !text.to_ascii_uppercase().contains(hidden));
    }
}

fn laws(bytes: &[u8], frame: impl Fn(&[u8], usize) -> Framed) {
    let whole = frame(bytes, usize::MAX);
    law("the result depends on the pieces", frame(bytes, 1) == whole);
    let (written, _) = whole;
    let (again, fault) = frame(&written, usize::MAX);
    law("what is written is not written again unchanged", fault.is_none() && again == written);
}

/// Feeds `bytes` in pieces of `piece`, until the framer wants no more.
fn drive(
    bytes: &[u8],
    piece: usize,
    mut feed: impl FnMut(&mut &[u8], &mut Vec<u8>) -> Result<Step, Fault>,
) -> Framed {
    let (mut rest, mut out) = (Vec::new(), Vec::new());
    for part in bytes.chunks(piece) {
        rest.extend_from_slice(part);
        let mut input = rest.as_slice();
        let step = loop {
            match feed(&mut input, &mut out) {
                Ok(Step::Head) => {}
                Ok(step) => break step,
                Err(fault) => return (out, Some(fault)),
            }
        };
        if step == Step::Closed {
            break;
        }
        let left = input.len();
        rest.drain(..rest.len().saturating_sub(left));
    }
    (out, None)
}

fn law(text: &str, holds: bool) {
    if !holds {
        panic!("{text}");
    }
}
