//! The field section of a head: what is passed on, what is dropped, and what is remembered to frame the message.
//!
//! Fields that frame the message or concern this connection alone are not passed on where they stand: they are
//! remembered, judged together when the head is whole, and written once, last, in a fixed order.
//!
//! Dropped (RFC 9110 §7.6.1, not for the next hop): `Keep-Alive`, `Proxy` and every `Proxy-…`, `HTTP2-Settings`, and
//! members of `TE` but `trailers`. An `Upgrade` to anything but WebSocket is ignored, as RFC 9110 §7.8 permits: the
//! caller goes on in HTTP/1.1 and an h2c upgrade cannot tunnel past the guard.
//!
//! Sources: RFC 9110 §7.2, §7.6, §7.8, §10.1.1, §10.1.4; RFC 9112 §6; RFC 6455 §4.1; threats A1, A6, A8, B8, B9, E5.

use std::io::Write as _;

use super::super::fault::Flaw;
use super::super::grammar::{Line, decimal, is_authority, members, split_field, take_line};
use super::super::limits::Limits;
use super::body::folds_to;

/// Which of the two messages a section belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Request,
    Answer,
}

/// What an `Upgrade` field asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Protocol {
    WebSocket,
    Other,
}

/// What is known of a head so far.
#[derive(Debug)]
pub(super) struct Facts {
    kind: Kind,
    lines: usize,
    crumbs: usize,
    /// Input bytes of the head so far.
    pub(super) spent: usize,
    seen: usize,
    pub(super) has_host: bool,
    pub(super) length: Option<u64>,
    pub(super) is_chunked: bool,
    pub(super) closes: bool,
    pub(super) wants_upgrade: bool,
    pub(super) protocol: Option<Protocol>,
    pub(super) expects_continue: bool,
    pub(super) takes_trailers: bool,
}

/// A name that the guard acts on.
#[derive(Clone, Copy)]
enum Known {
    Host,
    Length,
    Coding,
    Connection,
    Upgrade,
    Expect,
    Te,
    Cookie,
    Dropped,
    Alias,
}

impl Known {
    fn of(name: &[u8]) -> Option<Self> {
        let is = |known: &[u8]| name.eq_ignore_ascii_case(known);
        let starts = |known: &[u8]| name.get(..known.len()).is_some_and(|n| n.eq_ignore_ascii_case(known));
        match name.len() {
            2 if is(b"te") => Some(Self::Te),
            4 if is(b"host") => Some(Self::Host),
            5 if is(b"proxy") => Some(Self::Dropped),
            6 if is(b"cookie") => Some(Self::Cookie),
            6 if is(b"expect") => Some(Self::Expect),
            7 if is(b"upgrade") => Some(Self::Upgrade),
            10 if is(b"connection") => Some(Self::Connection),
            10 if is(b"keep-alive") => Some(Self::Dropped),
            14 if is(b"content-length") => Some(Self::Length),
            14 if is(b"http2-settings") => Some(Self::Dropped),
            17 if is(b"transfer-encoding") => Some(Self::Coding),
            14 if folds_to(name, b"content-length") => Some(Self::Alias),
            17 if folds_to(name, b"transfer-encoding") => Some(Self::Alias),
            _ if starts(b"proxy-") => Some(Self::Dropped),
            _ => None,
        }
    }
}

impl Facts {
    pub(super) fn new(kind: Kind) -> Self {
        Self {
            kind,
            lines: 0,
            crumbs: 0,
            spent: 0,
            seen: 0,
            has_host: false,
            length: None,
            is_chunked: false,
            closes: false,
            wants_upgrade: false,
            protocol: None,
            expects_continue: false,
            takes_trailers: false,
        }
    }

    /// The next line of the head, if it is whole. `limit` is the line's, `flaw` what it is when it is too long.
    pub(super) fn line<'a>(
        &mut self,
        limits: &Limits,
        input: &mut &'a [u8],
        (limit, flaw): (usize, Flaw),
    ) -> Result<Option<&'a [u8]>, Flaw> {
        let left = limits.head.saturating_sub(self.spent);
        let before = input.len();
        match take_line(input, self.seen, limit.min(left))? {
            Line::Whole(line) => {
                self.seen = 0;
                self.spent = self.spent.saturating_add(before.saturating_sub(input.len()));
                Ok(Some(line))
            }
            Line::Partial => {
                self.seen = before;
                Ok(None)
            }
            Line::TooLong => Err(if left < limit { Flaw::HeadTooLarge } else { flaw }),
        }
    }

    /// Judges one field line and passes it on to `out`, drops it, or remembers it. `authority` is the target's.
    pub(super) fn field(
        &mut self,
        line: &[u8],
        limits: &Limits,
        authority: Option<&[u8]>,
        out: &mut Vec<u8>,
    ) -> Result<(), Flaw> {
        let (name, value) = split_field(line)?;
        self.lines = self.lines.saturating_add(1);
        if self.lines > limits.fields {
            return Err(Flaw::TooManyFields);
        }
        let is_request = self.kind == Kind::Request;
        match Known::of(name) {
            Some(Known::Host) if is_request => {
                self.host(value, authority)?;
                write_field(out, name, value);
            }
            Some(Known::Cookie) if is_request => {
                self.cookie(value, limits)?;
                write_field(out, name, value);
            }
            Some(Known::Expect) if is_request => self.expect(value)?,
            Some(Known::Te) if is_request => {
                self.takes_trailers |= members(value).any(|m| m.eq_ignore_ascii_case(b"trailers"));
            }
            Some(Known::Length) => self.length(value)?,
            Some(Known::Coding) => self.coding(value)?,
            Some(Known::Connection) => self.connection(value)?,
            Some(Known::Upgrade) => self.upgrade(value)?,
            Some(Known::Alias) => return Err(Flaw::FramingAlias),
            Some(Known::Dropped) => {}
            None | Some(Known::Host | Known::Cookie | Known::Expect | Known::Te) => {
                write_field(out, name, value);
            }
        }
        Ok(())
    }

    fn host(&mut self, value: &[u8], authority: Option<&[u8]>) -> Result<(), Flaw> {
        if self.has_host {
            return Err(Flaw::HostRepeated);
        }
        self.has_host = true;
        if !is_authority(value) {
            return Err(Flaw::HostSyntax);
        }
        match authority {
            Some(authority) if !authority.eq_ignore_ascii_case(value) => Err(Flaw::AuthorityMismatch),
            _ => Ok(()),
        }
    }

    fn length(&mut self, value: &[u8]) -> Result<(), Flaw> {
        // SECURITY: a second one is refused even if it says the same (A1).
        if self.length.is_some() {
            return Err(Flaw::LengthRepeated);
        }
        self.length = Some(decimal(value)?);
        self.one_framing()
    }

    fn coding(&mut self, value: &[u8]) -> Result<(), Flaw> {
        if self.is_chunked {
            return Err(Flaw::CodingRepeated);
        }
        if !value.eq_ignore_ascii_case(b"chunked") {
            return Err(Flaw::CodingSyntax);
        }
        self.is_chunked = true;
        self.one_framing()
    }

    fn one_framing(&self) -> Result<(), Flaw> {
        if self.is_chunked && self.length.is_some() { Err(Flaw::LengthAndCoding) } else { Ok(()) }
    }

    /// SECURITY: a name in `Connection` deletes that field at the next honest hop (A8), so only names that never go
    /// further anyway are taken.
    fn connection(&mut self, value: &[u8]) -> Result<(), Flaw> {
        for member in members(value) {
            let is = |known: &[u8]| member.eq_ignore_ascii_case(known);
            match member.len() {
                5 if is(b"close") => self.closes = true,
                7 if is(b"upgrade") => self.wants_upgrade = true,
                10 if is(b"keep-alive") => {}
                2 if is(b"te") => {}
                14 if is(b"http2-settings") => {}
                _ => return Err(Flaw::ConnectionNames),
            }
        }
        Ok(())
    }

    fn upgrade(&mut self, value: &[u8]) -> Result<(), Flaw> {
        if self.protocol.is_some() && self.kind == Kind::Request {
            return Err(Flaw::FieldRepeated);
        }
        let is_websocket = value.eq_ignore_ascii_case(b"websocket");
        self.protocol = Some(if is_websocket { Protocol::WebSocket } else { Protocol::Other });
        Ok(())
    }

    fn expect(&mut self, value: &[u8]) -> Result<(), Flaw> {
        if self.expects_continue {
            return Err(Flaw::FieldRepeated);
        }
        self.expects_continue = value.eq_ignore_ascii_case(b"100-continue");
        if self.expects_continue { Ok(()) } else { Err(Flaw::Expectation) }
    }

    fn cookie(&mut self, value: &[u8], limits: &Limits) -> Result<(), Flaw> {
        let pairs = memchr::memchr_iter(b';', value).count().saturating_add(1);
        self.crumbs = self.crumbs.saturating_add(pairs);
        if self.crumbs > limits.crumbs { Err(Flaw::TooManyCrumbs) } else { Ok(()) }
    }

    /// Writes what was remembered, and the empty line.
    pub(super) fn write_end(&self, out: &mut Vec<u8>) {
        if let Some(length) = self.length {
            // Writing into a Vec cannot fail.
            let _ = write!(out, "content-length: {length}\r\n");
        }
        let fixed: [(bool, &[u8]); 6] = [
            (self.is_chunked, b"transfer-encoding: chunked\r\n"),
            (self.closes, b"connection: close\r\n"),
            (self.wants_upgrade, b"connection: upgrade\r\nupgrade: websocket\r\n"),
            (self.takes_trailers, b"te: trailers\r\n"),
            (self.expects_continue, b"expect: 100-continue\r\n"),
            (true, b"\r\n"),
        ];
        for (_, line) in fixed.iter().filter(|(is_there, _)| *is_there) {
            out.extend_from_slice(line);
        }
    }
}

/// Writes a checked field in its one form.
pub(super) fn write_field(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    out.reserve(name.len() + value.len() + 4);
    out.extend(name.iter().map(u8::to_ascii_lowercase));
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}
