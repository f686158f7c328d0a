//! What *control* and a data plane say to each other over their socket.
//!
//! Frames are a length of four bytes, big end first, and JSON. The reader is a buffer without a socket, so that both
//! ends share it and a test can feed it byte by byte.
//!
//! INVARIANT: a length is judged before anything is allocated for it; a frame that is too long or does not parse ends
//! the link, and a data plane without a link serves on with the generation that it has (DESIGN §4).
//!
//! Not here: who may connect (peer credentials, `portcullis-control`), what a generation means (`compile`).

use std::collections::BTreeMap;

use bytes::{Buf as _, BufMut as _, BytesMut};
use portcullis_core::{Generation, RequestId, UnixMillis};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::signed::{Kind, Signed};

/// The longest frame: a plan of 5,000 routes with its contracts takes some tens of mebibytes.
pub const LONGEST_FRAME: usize = 256 << 20;

/// From *control* to a data plane.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ToEdge {
    /// A generation to take or to refuse.
    Generation(Box<Signed>),
    /// Something to look up; the reply carries the same number.
    Ask(u64, Question),
    /// Stop accepting, finish what is open, then end.
    Drain,
}

/// What *control* may ask.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Question {
    /// The metrics, in the Prometheus text format.
    Metrics,
    /// Why this request was allowed or refused, evaluated again.
    Explain(RequestId),
}

/// From a data plane to *control*.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FromEdge {
    /// The first frame.
    Hello(Hello),
    /// A generation is in force.
    Took(Kind, Generation),
    /// A generation did not compile, and why; the one before stays in force.
    Refused(Kind, Generation, Vec<String>),
    /// The reply to a question.
    Reply(u64, Reply),
    /// Once a second.
    Status(Status),
}

/// Who connects.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// The product's version.
    pub version: String,
    /// The process.
    pub pid: u32,
    /// How many cores serve.
    pub workers: u16,
    /// Where it listens.
    pub listening: Vec<String>,
}

/// The reply to a [`Question`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reply {
    /// What was asked for.
    Text(String),
    /// It cannot be told, and why.
    Unknown(String),
}

/// What the monitor watches, as counters since the start and gauges of now.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// The data plane's clock when it wrote this; the monitor measures the offset.
    pub at: UnixMillis,
    /// Refusals since the start, by reason.
    pub refusals: BTreeMap<String, u64>,
    /// Guard faults since the start, by class.
    pub guard_faults: BTreeMap<String, u64>,
    /// Records that wait for the disk.
    pub journal_waiting: u64,
    /// The longest time a record waited for the disk, in milliseconds, since the last status.
    pub journal_loss_window_ms: u64,
    /// How full the journal's quota is, in per cent.
    pub journal_full_percent: u8,
    /// When the certificate that ends first ends.
    pub certificate_ends: Option<UnixMillis>,
    /// Requests in flight.
    pub in_flight: u64,
    /// Streams that are open.
    pub streams: u64,
    /// When the generation in force ends.
    pub generation_ends: Option<UnixMillis>,
}

/// Why the link ended.
#[derive(Debug, thiserror::Error)]
pub enum LinkFault {
    /// A frame announces more than [`LONGEST_FRAME`].
    #[error("a frame of {0} bytes is longer than the limit")]
    TooLong(usize),
    /// A frame is not what this end understands.
    #[error("a frame does not parse")]
    Parse(#[source] serde_json::Error),
}

/// Writes one frame behind what `out` holds.
///
/// # Errors
/// The message is longer than [`LONGEST_FRAME`] or cannot be serialised.
pub fn write_frame<M: Serialize>(message: &M, out: &mut BytesMut) -> Result<(), LinkFault> {
    let body = serde_json::to_vec(message).map_err(LinkFault::Parse)?;
    let length = u32::try_from(body.len()).map_err(|_| LinkFault::TooLong(body.len()))?;
    if body.len() > LONGEST_FRAME {
        return Err(LinkFault::TooLong(body.len()));
    }
    out.put_u32(length);
    out.extend_from_slice(&body);
    Ok(())
}

/// Takes one whole frame from the front of `input`; `None` while more bytes are needed.
///
/// # Errors
/// The frame is too long, or not a message of this kind.
pub fn read_frame<M: DeserializeOwned>(input: &mut BytesMut) -> Result<Option<M>, LinkFault> {
    let Some(length) = input.first_chunk::<4>().map(|l| u32::from_be_bytes(*l) as usize) else {
        return Ok(None);
    };
    if length > LONGEST_FRAME {
        return Err(LinkFault::TooLong(length));
    }
    if input.len() < length + 4 {
        return Ok(None);
    }
    input.advance(4);
    serde_json::from_slice(&input.split_to(length)).map(Some).map_err(LinkFault::Parse)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_survive_being_cut_anywhere() {
        let mut wire = BytesMut::new();
        write_frame(&FromEdge::Took(Kind::Plan, Generation(3)), &mut wire).expect("fits");
        write_frame(&FromEdge::Reply(9, Reply::Text("x".into())), &mut wire).expect("fits");
        let mut input = BytesMut::new();
        let mut seen = Vec::new();
        for byte in wire {
            input.extend_from_slice(&[byte]);
            seen.extend(read_frame::<FromEdge>(&mut input).expect("good frames"));
        }
        assert!(matches!(
            seen[..],
            [FromEdge::Took(Kind::Plan, Generation(3)), FromEdge::Reply(9, Reply::Text(_))]
        ));
    }

    #[test]
    fn e15_a_length_is_judged_before_it_is_believed() {
        let mut input = BytesMut::from(&[0xff, 0xff, 0xff, 0xff, b'{'][..]);
        assert!(matches!(read_frame::<ToEdge>(&mut input), Err(LinkFault::TooLong(_))));
    }

    #[test]
    fn a_frame_of_another_kind_ends_the_link() {
        let mut input = BytesMut::from(&b"\x00\x00\x00\x02{}"[..]);
        assert!(matches!(read_frame::<ToEdge>(&mut input), Err(LinkFault::Parse(_))));
    }
}
