//! HTTP/2 load: prepared header blocks in frames of our own, answers read frame by frame.
//!
//! Everything that is due goes out in one write. The windows are opened wide at the start and never again.
//!
//! Not here: answers that need a dynamic table to be understood; a status other than 200 is only known not to be 200.
//!
//! Sources: RFC 9113 §3.4, §4.1, §6; RFC 7541 §5.1, §6.1 (`:status: 200` is index 8), §6.3.

use std::rc::Rc;
use std::time::Instant;

use portcullis_testkit::frames::{self, kind};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::Parts;
use super::h1::{self, Stream};
use super::prepared::Prepared;
use super::schedule::{Schedule, Turn};
use crate::Outcome;

const READ: usize = 64 * 1024;
const WIDE: u32 = 0x7fff_ffff;
const INITIAL_WINDOW_SIZE: u16 = 4;
/// A connection that goes on failing is not made anew for ever.
const ATTEMPTS: usize = 16;

/// The places that a connection has: `count` from `first` on.
#[derive(Clone, Copy)]
pub(crate) struct Places {
    pub(crate) first: usize,
    pub(crate) count: usize,
}

/// One connection with so many streams at a time, made anew if it breaks.
pub(crate) async fn worker(
    (target, prepared, schedule): Parts,
    places: Places,
    mut dialled: Option<Box<dyn Stream>>,
) {
    let mut next = None;
    for _ in 0..ATTEMPTS {
        let stream = match dialled.take() {
            Some(stream) => Ok(stream),
            None => h1::connect(&target).await,
        };
        let Ok(stream) = stream else { continue };
        let mut link = Link::new(stream, Rc::clone(&prepared), Rc::clone(&schedule), places);
        link.next = next.take();
        let outcome = link.run().await;
        link.fail_all();
        match outcome {
            Ok(()) => return,
            Err(_) => next = link.next,
        }
    }
}

struct Link {
    stream: Box<dyn Stream>,
    prepared: Rc<Prepared>,
    schedule: Rc<Schedule>,
    /// The stream that each place has open.
    open: Vec<Option<Open>>,
    first: usize,
    next_stream: u32,
    /// A turn that is still to come.
    next: Option<Turn>,
    over: bool,
    out: Vec<u8>,
    inbox: Vec<u8>,
}

#[derive(Clone, Copy)]
struct Open {
    stream: u32,
    status: u16,
}

impl Link {
    fn new(stream: Box<dyn Stream>, prepared: Rc<Prepared>, schedule: Rc<Schedule>, places: Places) -> Self {
        let mut out = frames::PREFACE.to_vec();
        out.extend(frames::settings(&[(INITIAL_WINDOW_SIZE, WIDE)]));
        out.extend(frames::window_update(0, WIDE - 65_535));
        Self {
            stream,
            prepared,
            schedule,
            open: vec![None; places.count],
            first: places.first,
            next_stream: 1,
            next: None,
            over: false,
            out,
            inbox: Vec::with_capacity(READ),
        }
    }

    /// Until the time is up and everything is answered.
    async fn run(&mut self) -> Outcome<()> {
        loop {
            self.send_due();
            if !self.out.is_empty() {
                self.stream.write_all(&self.out).await.map_err(|e| e.to_string())?;
                self.stream.flush().await.map_err(|e| e.to_string())?;
                self.out.clear();
            }
            if self.over && self.open.iter().all(Option::is_none) {
                return Ok(());
            }
            self.wait().await?;
        }
    }

    /// For bytes, or for the moment of the next request if there is a place for it.
    async fn wait(&mut self) -> Outcome<()> {
        let due = self.next.map(|turn| turn.due).filter(|_| self.open.iter().any(Option::is_none));
        let schedule = Rc::clone(&self.schedule);
        let moment = async {
            match due {
                Some(due) => schedule.pacer.until(due).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            read = self.stream.read_buf(&mut self.inbox) => match read {
                Ok(0) => Err("closed early".to_owned()),
                Ok(_) => self.take(),
                Err(fault) => Err(fault.to_string()),
            },
            () = moment => Ok(()),
        }
    }

    /// Puts every request that is due and has a place into the next write.
    fn send_due(&mut self) {
        while let Some(at) = self.open.iter().position(Option::is_none).filter(|_| !self.over) {
            if self.next.is_none() {
                self.next = self.schedule.reserve();
                self.over = self.next.is_none();
            }
            let Some(turn) = self.next.filter(|turn| turn.due <= Instant::now()) else { return };
            self.next = None;
            self.schedule.sent(self.first + at, turn);
            push_head(&mut self.out, self.next_stream, self.prepared.of(turn.number));
            if let Some(place) = self.open.get_mut(at) {
                *place = Some(Open { stream: self.next_stream, status: 0 });
            }
            self.next_stream += 2;
        }
    }

    /// Every whole frame that has come.
    fn take(&mut self) -> Outcome<()> {
        let inbox = std::mem::take(&mut self.inbox);
        let mut rest = inbox.as_slice();
        while let Some((head, payload, after)) = split(rest) {
            self.frame(head, payload)?;
            rest = after;
        }
        let used = inbox.len() - rest.len();
        self.inbox = inbox;
        self.inbox.drain(..used);
        Ok(())
    }

    fn frame(&mut self, head: Head, payload: &[u8]) -> Outcome<()> {
        let ends = head.flags & frames::END_STREAM != 0;
        match head.kind {
            kind::HEADERS => self.answered(head.stream, ends, status(payload)),
            kind::DATA => self.answered(head.stream, ends, None),
            kind::RST_STREAM => self.answered(head.stream, true, Some(0)),
            kind::SETTINGS if head.flags & frames::ACK == 0 => {
                self.out.extend(frames::frame(kind::SETTINGS, frames::ACK, 0, &[]));
            }
            kind::PING if head.flags & frames::ACK == 0 => {
                self.out.extend(frames::frame(kind::PING, frames::ACK, 0, payload));
            }
            kind::GOAWAY => return Err("told to go away".to_owned()),
            _ => {}
        }
        Ok(())
    }

    fn answered(&mut self, stream: u32, ends: bool, status: Option<u16>) {
        let found = self.open.iter().position(|open| open.is_some_and(|open| open.stream == stream));
        let Some((at, place)) = found.and_then(|at| Some((at, self.open.get_mut(at)?))) else { return };
        if let (Some(open), Some(status)) = (place.as_mut(), status) {
            open.status = status;
        }
        if ends {
            let status = place.take().map_or(0, |open| open.status);
            self.schedule.note(self.first + at, &Ok(status));
        }
    }

    fn fail_all(&mut self) {
        for (at, place) in self.open.iter_mut().enumerate() {
            if place.take().is_some() {
                self.schedule.note(self.first + at, &Err("the connection broke".to_owned()));
            }
        }
    }
}

fn push_head(out: &mut Vec<u8>, stream: u32, block: &[u8]) {
    let length = u32::try_from(block.len()).unwrap_or_default().to_be_bytes();
    out.extend(length.iter().skip(1));
    out.extend([kind::HEADERS, frames::END_HEADERS | frames::END_STREAM]);
    out.extend(stream.to_be_bytes());
    out.extend_from_slice(block);
}

#[derive(Clone, Copy)]
struct Head {
    kind: u8,
    flags: u8,
    stream: u32,
}

/// The first frame and what comes behind it, if it is whole.
fn split(bytes: &[u8]) -> Option<(Head, &[u8], &[u8])> {
    let (head, rest) = bytes.split_first_chunk::<9>()?;
    let [l0, l1, l2, kind, flags, s0, s1, s2, s3] = *head;
    let length = usize::try_from(u32::from_be_bytes([0, l0, l1, l2])).ok()?;
    let (payload, after) = rest.split_at_checked(length)?;
    Some((Head { kind, flags, stream: u32::from_be_bytes([s0, s1, s2, s3]) & WIDE }, payload, after))
}

/// 200 if the block begins with it, behind changes of the table's size.
fn status(block: &[u8]) -> Option<u16> {
    let at = block.iter().position(|byte| byte >> 5 != 0b001)?;
    Some(if block.get(at) == Some(&0x88) { 200 } else { 500 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_split_when_they_are_whole() {
        let mut bytes = frames::headers(5, frames::END_STREAM, &[]);
        bytes.extend(frames::ping());
        let (head, payload, rest) = split(&bytes).unwrap();
        assert_eq!((head.kind, head.stream, payload.len()), (kind::HEADERS, 5, 0));
        assert!(split(&rest[..rest.len() - 1]).is_none());
        assert_eq!(split(rest).unwrap().0.kind, kind::PING);
    }

    #[test]
    fn only_200_is_good() {
        assert_eq!(status(&[0x88, 1, 2]), Some(200));
        assert_eq!(status(&[0x20, 0x88]), Some(200));
        assert_eq!(status(&[0x8d]), Some(500));
        assert_eq!(status(&[]), None);
    }
}
