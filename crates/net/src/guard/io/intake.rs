//! What a caller's connection has sent so far, and what becomes of it.
//!
//! No socket here: bytes, deadlines and wishes come in, canonical bytes and a [`Mode`] come out.
//!
//! Sources: RFC 9112 §9.3, §9.6; RFC 9110 §7.8; threats A3, A4, E8.

use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::time::Instant;

use super::super::fault::{Fault, Flaw};
use super::super::h1::{Place, RequestFramer, Step};
use super::super::limits::{Limits, Timeouts};
use super::super::pace::{Alarm, Pace};
use super::buffer::frame_over;
use super::handle::{Shared, Wish};
use crate::ready::Ready;

/// What hyper reads in place of a head that was refused.
const REFUSED: &[u8] = b"GET / HTTP/1.1\r\nhost: refused.invalid\r\nconnection: close\r\n\r\n";

/// What is done with bytes that come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    /// They are framed.
    Framing,
    /// They wait for a decision.
    Held,
    /// They are passed on as they are.
    Tunnel,
    /// They are thrown away: the last request has been read.
    Last,
    /// They are not read: a refusal is being answered.
    Refused,
    /// They are not read: the body broke off.
    Failed(Fault),
    /// None come: the connection ended.
    Ended,
}

/// The reading side of a caller's connection.
#[derive(Debug)]
pub(super) struct Intake {
    framer: RequestFramer,
    mode: Mode,
    /// What came and cannot be used yet: part of a line, or bytes that are held.
    rest: Vec<u8>,
    pub(super) ready: Ready,
    shared: Arc<Shared>,
    timeouts: Timeouts,
    body: Pace,
    alarm: Alarm,
    /// When the head that is being waited for began.
    head_since: Option<Instant>,
}

impl Intake {
    pub(super) fn new(limits: Limits, timeouts: Timeouts, shared: Arc<Shared>) -> Self {
        Self {
            framer: RequestFramer::new(limits),
            mode: Mode::Framing,
            rest: Vec::new(),
            ready: Ready::default(),
            shared,
            timeouts,
            body: Pace::new(timeouts.body),
            alarm: Alarm::default(),
            head_since: None,
        }
    }

    pub(super) fn mode(&self) -> Mode {
        self.mode
    }

    /// How many bytes are held back.
    pub(super) fn held(&self) -> usize {
        self.rest.len()
    }

    /// How many of the next bytes belong to a body and nothing else.
    pub(super) fn direct(&self) -> u64 {
        self.framer.direct()
    }

    /// Whether something was left unread on purpose, so that the caller may still be sending.
    pub(super) fn is_cut_short(&self) -> bool {
        matches!(self.mode, Mode::Refused | Mode::Failed(_)) || self.framer.place() == Place::Body
    }

    /// `count` body bytes went straight to hyper.
    pub(super) fn passed(&mut self, count: usize) {
        self.arrived(count);
        self.framer.advance(u64::try_from(count).unwrap_or(u64::MAX));
    }

    fn arrived(&mut self, count: usize) {
        self.shared.came(count);
        self.body.moved(count, Instant::now);
    }

    /// Bytes came: none when the connection ended.
    pub(super) fn take(&mut self, got: &[u8]) {
        if got.is_empty() {
            return self.end();
        }
        self.arrived(got.len());
        match self.mode {
            Mode::Framing => self.frame(got),
            Mode::Held => self.rest.extend_from_slice(got),
            Mode::Tunnel | Mode::Last | Mode::Refused | Mode::Failed(_) | Mode::Ended => {}
        }
    }

    /// Frames `got` behind what was left before.
    fn frame(&mut self, got: &[u8]) {
        let Self { framer, ready, shared, rest, body, head_since, .. } = self;
        let step = frame_over(rest, got, |input| {
            loop {
                match framer.feed(input, &mut ready.bytes) {
                    Ok(Step::Head) => {
                        shared.head_emitted();
                        body.renew();
                        *head_since = None;
                    }
                    other => return other,
                }
            }
        });
        match step {
            Ok(Step::More | Step::Head) => {}
            Ok(Step::Held) => self.mode = Mode::Held,
            Ok(Step::Closed) => {
                self.mode = Mode::Last;
                self.rest = Vec::new();
            }
            Err(fault) => self.break_off(fault),
        }
    }

    pub(super) fn end(&mut self) {
        let was_framing = self.mode == Mode::Framing;
        self.mode = Mode::Ended;
        if was_framing && let Err(fault) = self.framer.finish(&self.rest) {
            self.break_off(fault);
        }
    }

    /// Turns a fault into the refusal of the next request, or into the end of the body that hyper is reading.
    fn break_off(&mut self, fault: Fault) {
        self.rest = Vec::new();
        if self.framer.place() == Place::Body {
            self.shared.broke(fault);
            self.mode = Mode::Failed(fault);
        } else {
            self.shared.refuse_next(fault);
            self.ready.bytes.extend_from_slice(REFUSED);
            self.mode = Mode::Refused;
        }
    }

    /// Does with held bytes what the line decided. `false` while it has not.
    pub(super) fn decide(&mut self, cx: &Context<'_>) -> bool {
        match self.shared.take_wish(cx) {
            Wish::Undecided => return false,
            Wish::Tunnel => {
                self.mode = Mode::Tunnel;
                self.ready.bytes.append(&mut self.rest);
            }
            Wish::Resume => {
                self.mode = Mode::Framing;
                self.framer.resume();
                self.frame(&[]);
            }
        }
        true
    }

    /// `Ready` when the caller let a deadline pass; the mode says what that came to.
    pub(super) fn poll_late(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let now = Instant::now();
        let is_in_head = self.framer.is_in_head(&self.rest);
        let since = is_in_head.then(|| *self.head_since.get_or_insert(now));
        self.head_since = since;
        if self.framer.place() == Place::Body {
            let deadline = self.body.waits(now);
            ready!(self.alarm.poll(cx, deadline));
            self.too_slow(Flaw::SlowBody);
        } else if let Some(since) = since {
            ready!(self.alarm.poll(cx, plus(since, self.timeouts.head)));
            self.too_slow(Flaw::SlowHead);
        } else {
            ready!(self.alarm.poll(cx, self.idle_deadline(now)));
            self.mode = Mode::Ended;
        }
        Poll::Ready(())
    }

    /// When a connection that waits for a request ends. While an answer is under way that moves on with the clock:
    /// hyper does not ask again when it is done, so the alarm must already be set.
    fn idle_deadline(&self, now: Instant) -> Instant {
        match self.shared.idle_since() {
            Some(since) if self.shared.heads() == 0 => plus(since, self.timeouts.head),
            Some(since) => plus(since, self.timeouts.idle),
            None => plus(now, self.timeouts.idle),
        }
    }

    fn too_slow(&mut self, flaw: Flaw) {
        let fault = self.framer.break_off(flaw);
        self.break_off(fault);
    }
}

/// Later by `span`, or at once if there is no such time.
fn plus(at: Instant, span: Duration) -> Instant {
    at.checked_add(span).unwrap_or(at)
}
