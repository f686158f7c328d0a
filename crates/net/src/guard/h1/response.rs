//! What an upstream sends back: answers that were asked for, and nothing else.
//!
//! Every answer is written as HTTP/1.1 with the standard reason phrase, so nothing that an upstream can choose stands
//! in the status line. An answer without a length ends with the connection and says so.
//!
//! INVARIANT: no byte is accepted that no request is waiting for (a poisoned pool, A4).
//!
//! Sources: RFC 9112 §4, §6.3, §9.3; RFC 9110 §15.2; threats A1, A3, A4.

use super::super::fault::{Fault, Flaw, Leg};
use super::super::grammar::flaw_of;
use super::super::limits::Limits;
use super::body::{Body, Chunked, Flow};
use super::fields::{Facts, Kind, Protocol};
use super::{Place, Step};

/// What the request that was sent permits its answer to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExpectedAnswer {
    /// An ordinary one.
    Plain,
    /// One without a body, whatever its fields say: the request was HEAD.
    ToHead,
    /// It may switch protocols: the request asked for WebSocket.
    Upgrade,
}

/// Where the next byte stands.
#[derive(Debug)]
enum At {
    Start,
    Fields { status: u16, is_old: bool },
    Body(Body),
    Held,
    Closed,
    Broken(Flaw, Place),
}

/// Frames what an upstream sends.
#[derive(Debug)]
pub struct ResponseFramer {
    limits: Limits,
    at: At,
    expected: Option<ExpectedAnswer>,
    interim: usize,
    /// Whether this answer ends the connection.
    is_last: bool,
    facts: Facts,
    head: Vec<u8>,
}

/// A head buffer larger than this is not kept for the next head.
const KEPT: usize = 4 * 1024;

impl ResponseFramer {
    /// A framer at the start of a connection, waiting for nothing yet.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self {
            limits: limits.within_hyper(),
            at: At::Start,
            expected: None,
            interim: 0,
            is_last: false,
            facts: Facts::new(Kind::Answer),
            head: Vec::new(),
        }
    }

    /// One answer is due from now on.
    pub fn expect(&mut self, answer: ExpectedAnswer) {
        self.expected = Some(answer);
        self.interim = 0;
    }

    /// Reads from the front of `input` and appends canonical bytes to `out`, up to the end of one head at most.
    ///
    /// # Errors
    /// The first fault from the left; every later call gives it again.
    pub fn feed(&mut self, input: &mut &[u8], out: &mut Vec<u8>) -> Result<Step, Fault> {
        self.step(input, out).map_err(|flaw| self.break_off(flaw))
    }

    fn step(&mut self, input: &mut &[u8], out: &mut Vec<u8>) -> Result<Step, Flaw> {
        loop {
            match &mut self.at {
                At::Start => {
                    let Some(line) = self.status_line(input)? else { return Ok(Step::More) };
                    self.start(line)?;
                }
                At::Fields { status, is_old } => {
                    let (status, is_old) = (*status, *is_old);
                    let long = (self.limits.line, Flaw::LineTooLong);
                    let Some(line) = self.facts.line(&self.limits, input, long)? else {
                        return Ok(Step::More);
                    };
                    if line.is_empty() {
                        self.end_head(status, is_old)?;
                        self.hand_out_head(out);
                        return Ok(Step::Head);
                    }
                    self.facts.field(line, &self.limits, None, &mut self.head)?;
                }
                At::Body(body) => match body.feed(&self.limits, input, out)? {
                    Flow::More => return Ok(Step::More),
                    Flow::Done => self.at = self.after_body(),
                },
                At::Held => return Ok(Step::Held),
                At::Closed => return Ok(Step::Closed),
                At::Broken(flaw, _) => return Err(*flaw),
            }
        }
    }

    fn status_line<'a>(&mut self, input: &mut &'a [u8]) -> Result<Option<&'a [u8]>, Flaw> {
        match input.first() {
            None => return Ok(None),
            // SECURITY: bytes before a request would be taken for the next request's answer (A4).
            Some(_) if self.expected.is_none() => return Err(Flaw::Unsolicited),
            Some(b'H') => {}
            Some(_) => return Err(Flaw::NotHttp),
        }
        self.facts.line(&self.limits, input, (self.limits.line, Flaw::StatusLine))
    }

    fn start(&mut self, line: &[u8]) -> Result<(), Flaw> {
        let (is_old, rest) = match line {
            [b'H', b'T', b'T', b'P', b'/', b'1', b'.', b'1', b' ', rest @ ..] => (false, rest),
            [b'H', b'T', b'T', b'P', b'/', b'1', b'.', b'0', b' ', rest @ ..] => (true, rest),
            _ => return Err(Flaw::StatusLine),
        };
        let ([a @ b'1'..=b'5', b @ b'0'..=b'9', c @ b'0'..=b'9'], [b' ', reason @ ..]) =
            rest.split_first_chunk::<3>().ok_or(Flaw::StatusLine)?
        else {
            return Err(Flaw::StatusLine);
        };
        check_phrase(reason)?;
        let status = [a, b, c].into_iter().fold(0u16, |sum, digit| sum * 10 + u16::from(digit - b'0'));
        self.head.extend_from_slice(b"HTTP/1.1 ");
        self.head.extend_from_slice(&[*a, *b, *c, b' ']);
        let phrase = http::StatusCode::from_u16(status).ok().and_then(|s| s.canonical_reason());
        self.head.extend_from_slice(phrase.unwrap_or_default().as_bytes());
        self.head.extend_from_slice(b"\r\n");
        self.at = At::Fields { status, is_old };
        Ok(())
    }

    /// Judges the head as a whole, and decides what follows it.
    fn end_head(&mut self, status: u16, is_old: bool) -> Result<(), Flaw> {
        if is_old && self.facts.is_chunked {
            return Err(Flaw::CodingOnOld);
        }
        let switches = self.facts.wants_upgrade && self.facts.protocol == Some(Protocol::WebSocket);
        self.facts.wants_upgrade = false;
        match status {
            101 => self.switch(switches),
            100..=199 => self.interim_answer(),
            _ => self.final_answer(status, is_old),
        }
    }

    /// SECURITY: a switch that nobody asked for would turn the rest of the pool's bytes into a tunnel (A3).
    fn switch(&mut self, switches: bool) -> Result<(), Flaw> {
        if self.expected != Some(ExpectedAnswer::Upgrade) || !switches {
            return Err(Flaw::UnaskedSwitch);
        }
        self.no_framing()?;
        (self.facts.wants_upgrade, self.facts.closes) = (true, false);
        self.expected = None;
        self.at = At::Held;
        Ok(())
    }

    fn interim_answer(&mut self) -> Result<(), Flaw> {
        self.no_framing()?;
        self.interim = self.interim.saturating_add(1);
        if self.interim > self.limits.interim {
            return Err(Flaw::TooManyInterim);
        }
        self.facts.closes = false;
        self.at = At::Start;
        Ok(())
    }

    fn final_answer(&mut self, status: u16, is_old: bool) -> Result<(), Flaw> {
        let facts = &mut self.facts;
        if status == 204 {
            if facts.is_chunked || facts.length.is_some_and(|length| length > 0) {
                return Err(Flaw::BodyNotAllowed);
            }
            facts.length = None;
        }
        let has_no_body = matches!(status, 204 | 304) || self.expected == Some(ExpectedAnswer::ToHead);
        let body = match (facts.is_chunked, facts.length) {
            _ if has_no_body => Body::EMPTY,
            (true, _) => Body::Chunked(Chunked::new()),
            (false, Some(length)) => Body::Length(length),
            (false, None) => Body::UntilClose,
        };
        self.is_last = facts.closes || is_old || matches!(body, Body::UntilClose);
        facts.closes = self.is_last;
        self.expected = None;
        self.at = if matches!(body, Body::Length(0)) { self.after_body() } else { At::Body(body) };
        Ok(())
    }

    /// RFC 9110 §8.6, RFC 9112 §6.1: these statuses may not even name a framing.
    fn no_framing(&self) -> Result<(), Flaw> {
        if self.facts.is_chunked || self.facts.length.is_some() { Err(Flaw::BodyNotAllowed) } else { Ok(()) }
    }

    fn after_body(&self) -> At {
        if self.is_last { At::Closed } else { At::Start }
    }

    fn hand_out_head(&mut self, out: &mut Vec<u8>) {
        self.facts.write_end(&mut self.head);
        if out.is_empty() {
            std::mem::swap(out, &mut self.head);
        } else {
            out.append(&mut self.head);
        }
        if self.head.capacity() > KEPT {
            self.head = Vec::new();
        }
        self.facts = Facts::new(Kind::Answer);
    }

    /// How many of the next input bytes are body alone; see [`super::RequestFramer::direct`].
    #[must_use]
    pub fn direct(&self) -> u64 {
        if let At::Body(body) = &self.at { body.direct() } else { 0 }
    }

    /// `count` body bytes, at most [`Self::direct`], went past the framer.
    pub fn advance(&mut self, count: u64) {
        if let At::Body(body) = &mut self.at
            && body.advance(count) == Flow::Done
        {
            self.at = self.after_body();
        }
    }

    /// Where the next byte stands; after a fault, where that was.
    #[must_use]
    pub fn place(&self) -> Place {
        match self.at {
            At::Start | At::Held | At::Closed => Place::Between,
            At::Fields { .. } => Place::Head,
            At::Body(_) => Place::Body,
            At::Broken(_, place) => place,
        }
    }

    /// Whether an answer is still due or under way.
    #[must_use]
    pub fn is_busy(&self) -> bool {
        self.expected.is_some() || matches!(self.at, At::Body(_) | At::Fields { .. })
    }

    /// The connection ended with `rest` left of the input. An answer that never began is not a fault of framing: the
    /// pool judges it.
    ///
    /// # Errors
    /// When that cut an answer short.
    pub fn finish(&mut self, rest: &[u8]) -> Result<(), Fault> {
        let flaw = match self.at {
            At::Broken(flaw, _) => flaw,
            At::Body(Body::UntilClose) => {
                self.at = At::Closed;
                return Ok(());
            }
            At::Body(_) => Flaw::TruncatedBody,
            At::Fields { .. } => Flaw::TruncatedHead,
            At::Start if !rest.is_empty() => Flaw::TruncatedHead,
            _ => return Ok(()),
        };
        Err(self.break_off(flaw))
    }

    /// Nothing more is read, because of `flaw`.
    pub fn break_off(&mut self, flaw: Flaw) -> Fault {
        self.at = At::Broken(flaw, self.place());
        self.head = Vec::new();
        Fault::new(flaw, Leg::Upstream)
    }
}

/// The reason phrase is not passed on, but it must be made of the bytes of a field value.
fn check_phrase(reason: &[u8]) -> Result<(), Flaw> {
    let first_odd = reason.iter().find(|b| !matches!(b, b'\t' | b' '..=b'~'));
    first_odd.map_or(Ok(()), |byte| Err(flaw_of(*byte, Flaw::StatusLine)))
}
