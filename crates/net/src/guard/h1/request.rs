//! What a caller sends: heads, bodies, and when to stop reading.
//!
//! HTTP/1.0 is read with a `Host` and without `Transfer-Encoding`, written as HTTP/1.0 (so that hyper does not answer
//! in chunks), and is the last request of its connection: `Connection: keep-alive` of that age is not honoured.
//!
//! Sources: RFC 9112 §2.2, §3, §6.3, §9.6; RFC 9110 §7.2, §9.1; RFC 6455 §4.1; threats A1-A3, A10, B2, B5, E5.

use super::super::fault::{Fault, Flaw, Leg};
use super::super::grammar::{check_origin_form, flaw_of, is_authority, is_tchar, is_token};
use super::super::limits::Limits;
use super::body::{Body, Chunked, Flow};
use super::fields::{Facts, Kind, Protocol};
use super::{Place, Step};

/// HTTP/1.1 or HTTP/1.0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Version {
    V11,
    V10,
}

/// The methods whose meaning decides something here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Method {
    Get,
    Options,
    Other,
}

/// Where the next byte stands.
#[derive(Debug)]
enum At {
    /// Before a request line; whether one blank line was skipped.
    Start {
        has_skipped: bool,
    },
    Fields(Method, Version),
    Body(Body, Next),
    Held,
    Closed,
    Broken(Flaw, Place),
}

/// What follows a message.
#[derive(Clone, Copy, Debug)]
enum Next {
    Request,
    Upgrade,
    Nothing,
}

/// Frames what a caller sends.
#[derive(Debug)]
pub struct RequestFramer {
    limits: Limits,
    at: At,
    facts: Facts,
    authority: Option<Box<[u8]>>,
    head: Vec<u8>,
}

/// Longest method and version, and the two spaces and CRLF.
const AROUND_TARGET: usize = 32 + 8 + 4;
/// A head buffer larger than this is not kept for the next head.
const KEPT: usize = 4 * 1024;

impl RequestFramer {
    /// A framer at the start of a connection.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self {
            limits: limits.within_hyper(),
            at: At::Start { has_skipped: false },
            facts: Facts::new(Kind::Request),
            authority: None,
            head: Vec::new(),
        }
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
                At::Start { .. } => {
                    let Some(line) = self.request_line(input)? else { return Ok(Step::More) };
                    self.start(line)?;
                }
                At::Fields(method, version) => {
                    let (method, version) = (*method, *version);
                    let long = (self.limits.line, Flaw::LineTooLong);
                    let Some(line) = self.facts.line(&self.limits, input, long)? else {
                        return Ok(Step::More);
                    };
                    if line.is_empty() {
                        self.end_head(method, version)?;
                        self.hand_out_head(out);
                        return Ok(Step::Head);
                    }
                    self.facts.field(line, &self.limits, self.authority.as_deref(), &mut self.head)?;
                }
                At::Body(body, next) => match body.feed(&self.limits, input, out)? {
                    Flow::More => return Ok(Step::More),
                    Flow::Done => self.at = next.place(),
                },
                At::Held => return Ok(Step::Held),
                At::Closed => return Ok(Step::Closed),
                At::Broken(flaw, _) => return Err(*flaw),
            }
        }
    }

    fn request_line<'a>(&mut self, input: &mut &'a [u8]) -> Result<Option<&'a [u8]>, Flaw> {
        // Not HTTP at all (TLS on a plain port, noise): found at its first byte, not after a timeout.
        match input.first() {
            None => return Ok(None),
            Some(byte) if is_tchar(*byte) || matches!(byte, b'\r' | b'\n') => {}
            Some(_) => return Err(Flaw::NotHttp),
        }
        let longest = self.limits.target.saturating_add(AROUND_TARGET);
        self.facts.line(&self.limits, input, (longest, Flaw::TargetTooLong))
    }

    /// Judges a request line, or skips one blank line before it (RFC 9112 §2.2).
    fn start(&mut self, line: &[u8]) -> Result<(), Flaw> {
        if line.is_empty() {
            return match self.at {
                At::Start { has_skipped: false } => {
                    self.facts.spent = 0;
                    self.at = At::Start { has_skipped: true };
                    Ok(())
                }
                _ => Err(Flaw::RequestLine),
            };
        }
        let [name, target, version] = split_line(line)?;
        let version = match version {
            b"HTTP/1.1" => Version::V11,
            b"HTTP/1.0" => Version::V10,
            _ => return Err(Flaw::Version),
        };
        let method = self.method(name)?;
        self.head.extend_from_slice(name);
        self.head.push(b' ');
        self.target(method, target)?;
        let written: &[u8] = if version == Version::V11 { b" HTTP/1.1\r\n" } else { b" HTTP/1.0\r\n" };
        self.head.extend_from_slice(written);
        self.at = At::Fields(method, version);
        Ok(())
    }

    fn method(&self, name: &[u8]) -> Result<Method, Flaw> {
        match name {
            b"GET" => Ok(Method::Get),
            b"OPTIONS" => Ok(Method::Options),
            b"HEAD" | b"POST" | b"PUT" | b"PATCH" | b"DELETE" => Ok(Method::Other),
            b"CONNECT" | b"TRACE" => Err(Flaw::MethodRefused),
            name if self.limits.methods.iter().flat_map(|m| m.iter()).any(|m| m.as_bytes() == name) => {
                Ok(Method::Other)
            }
            _ => Err(Flaw::MethodRefused),
        }
    }

    /// Judges the target and writes it in origin form (RFC 9112 §3.2).
    fn target(&mut self, method: Method, target: &[u8]) -> Result<(), Flaw> {
        if target.len() > self.limits.target {
            return Err(Flaw::TargetTooLong);
        }
        let origin = match target {
            b"*" if method == Method::Options => target,
            b"*" => return Err(Flaw::TargetForm),
            [b'/', ..] => target,
            _ => {
                let (authority, path) = split_absolute(target)?;
                self.authority = Some(authority.into());
                path
            }
        };
        if origin != b"*" {
            check_origin_form(origin)?;
        }
        self.head.extend_from_slice(origin);
        Ok(())
    }

    /// Judges the head as a whole, and decides what follows it.
    fn end_head(&mut self, method: Method, version: Version) -> Result<(), Flaw> {
        let facts = &mut self.facts;
        if !facts.has_host {
            return Err(Flaw::HostMissing);
        }
        if version == Version::V10 {
            if facts.is_chunked {
                return Err(Flaw::CodingOnOld);
            }
            // RFC 9110 §7.8, §10.1.1: what HTTP/1.0 cannot mean is ignored.
            (facts.closes, facts.wants_upgrade, facts.protocol) = (true, false, None);
            (facts.expects_continue, facts.takes_trailers) = (false, false);
        }
        let body = match (facts.is_chunked, facts.length) {
            (true, _) => Body::Chunked(Chunked::new()),
            (false, length) => Body::Length(length.unwrap_or(0)),
        };
        let is_empty = matches!(body, Body::Length(0));
        facts.expects_continue &= !is_empty;
        facts.wants_upgrade &= facts.protocol == Some(Protocol::WebSocket);
        // SECURITY: with a body, the first bytes of the tunnel could be read as either (A3).
        if facts.wants_upgrade && !(is_empty && method == Method::Get && !facts.closes) {
            return Err(Flaw::BadUpgrade);
        }
        let next = match (facts.wants_upgrade, facts.closes) {
            (true, _) => Next::Upgrade,
            (false, true) => Next::Nothing,
            (false, false) => Next::Request,
        };
        self.at = if is_empty { next.place() } else { At::Body(body, next) };
        Ok(())
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
        self.facts = Facts::new(Kind::Request);
        self.authority = None;
    }

    /// How many of the next input bytes are body alone; they may be moved past the framer and then
    /// [reported](Self::advance).
    #[must_use]
    pub fn direct(&self) -> u64 {
        if let At::Body(body, _) = &self.at { body.direct() } else { 0 }
    }

    /// `count` body bytes, at most [`Self::direct`], went past the framer.
    pub fn advance(&mut self, count: u64) {
        if let At::Body(body, next) = &mut self.at
            && body.advance(count) == Flow::Done
        {
            self.at = next.place();
        }
    }

    /// Goes on after an upgrade that did not happen.
    pub fn resume(&mut self) {
        if matches!(self.at, At::Held) {
            self.at = Next::Request.place();
        }
    }

    /// Where the next byte stands; after a fault, where that was.
    #[must_use]
    pub fn place(&self) -> Place {
        match self.at {
            At::Start { .. } | At::Held | At::Closed => Place::Between,
            At::Fields(..) => Place::Head,
            At::Body(..) => Place::Body,
            At::Broken(_, place) => place,
        }
    }

    /// Whether a head has begun and is not whole, when `rest` is what was left of the input.
    #[must_use]
    pub fn is_in_head(&self, rest: &[u8]) -> bool {
        matches!(self.at, At::Fields(..)) || (matches!(self.at, At::Start { .. }) && !rest.is_empty())
    }

    /// The connection ended with `rest` left of the input.
    ///
    /// # Errors
    /// When that cut a message short.
    pub fn finish(&mut self, rest: &[u8]) -> Result<(), Fault> {
        let flaw = match self.at {
            At::Broken(flaw, _) => flaw,
            At::Body(..) => Flaw::TruncatedBody,
            _ if self.is_in_head(rest) => Flaw::TruncatedHead,
            _ => return Ok(()),
        };
        Err(self.break_off(flaw))
    }

    /// Nothing more is read, because of `flaw`.
    pub fn break_off(&mut self, flaw: Flaw) -> Fault {
        self.at = At::Broken(flaw, self.place());
        self.head = Vec::new();
        Fault::new(flaw, Leg::Downstream)
    }
}

impl Next {
    fn place(self) -> At {
        match self {
            Self::Request => At::Start { has_skipped: false },
            Self::Upgrade => At::Held,
            Self::Nothing => At::Closed,
        }
    }
}

/// Method, target and version with exactly one space between each.
fn split_line(line: &[u8]) -> Result<[&[u8]; 3], Flaw> {
    let bad = line.iter().find(|b| !matches!(b, b' '..=b'~'));
    if let Some(byte) = bad {
        return Err(flaw_of(*byte, Flaw::RequestLine));
    }
    let mut parts = line.split(|b| *b == b' ');
    match (parts.next(), parts.next(), parts.next(), parts.next()) {
        (Some(method), ..) if !is_token(method) => Err(Flaw::MethodSyntax),
        (Some(method), Some(target), Some(version), None) if !target.is_empty() => {
            Ok([method, target, version])
        }
        _ => Err(Flaw::RequestLine),
    }
}

/// Authority and path of an absolute-form target; the path may not be left out.
fn split_absolute(target: &[u8]) -> Result<(&[u8], &[u8]), Flaw> {
    let rest = [&b"http://"[..], b"https://"].into_iter().find_map(|scheme| {
        let (front, rest) = target.split_at_checked(scheme.len())?;
        front.eq_ignore_ascii_case(scheme).then_some(rest)
    });
    let rest = rest.ok_or(Flaw::TargetForm)?;
    let slash = memchr::memchr(b'/', rest).ok_or(Flaw::TargetForm)?;
    let (authority, path) = rest.split_at_checked(slash).ok_or(Flaw::TargetForm)?;
    if is_authority(authority) { Ok((authority, path)) } else { Err(Flaw::TargetForm) }
}
