//! The bytes of HTTP/1: which may stand where, and what a line is.
//!
//! INVARIANT: no function here is lenient; each accepts what RFC 9110 and 9112 generate, less obs-text and obs-fold.
//! INVARIANT: what is accepted is a subset of what `httparse` and `http` accept, so that they cannot refuse it.
//!
//! Sources: RFC 9110 §5.1, §5.5, §5.6; RFC 9112 §2.2, §3, §5; RFC 3986 §3.2.2; threats A1, A6, A7, A10.

use super::fault::Flaw;

const TOKEN: u8 = 1;
const PATH: u8 = 2;
const QUERY: u8 = 4;
const NAME: u8 = 8;

/// What each byte may be part of.
static CLASS: [u8; 256] = classes();

#[expect(clippy::indexing_slicing, clippy::cast_possible_truncation, reason = "runs at compile time only")]
const fn classes() -> [u8; 256] {
    let mut table = [0; 256];
    let mut at = 0;
    while at < 256 {
        table[at] = class_of(at as u8);
        at += 1;
    }
    table
}

const fn class_of(byte: u8) -> u8 {
    let token = byte.is_ascii_alphanumeric()
        || matches!(byte, b'!' | b'#'..=b'\'' | b'*' | b'+' | b'-' | b'.' | b'^' | b'_' | b'`' | b'|' | b'~');
    let path = matches!(byte, b'!' | b'$'..=b';' | b'=' | b'@'..=b'_' | b'a'..=b'z' | b'|' | b'~');
    let query = matches!(byte, b'!' | b'$'..=b';' | b'=' | b'?'..=b'~');
    let name = byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
    (if token { TOKEN } else { 0 })
        | (if path { PATH } else { 0 })
        | (if query { QUERY } else { 0 })
        | (if name { NAME } else { 0 })
}

fn is(byte: u8, class: u8) -> bool {
    CLASS.get(usize::from(byte)).is_some_and(|of| of & class != 0)
}

/// RFC 9110 §5.6.2.
pub(super) fn is_tchar(byte: u8) -> bool {
    is(byte, TOKEN)
}

/// RFC 9110 §5.6.2, at least one byte.
pub(super) fn is_token(bytes: &[u8]) -> bool {
    !bytes.is_empty() && bytes.iter().all(|b| is(*b, TOKEN))
}

/// A line that has been found, or why it never will be.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Line<'a> {
    /// Without its CRLF.
    Whole(&'a [u8]),
    /// No LF yet.
    Partial,
    /// No LF within the limit.
    TooLong,
}

/// Takes one line of at most `limit` bytes, CRLF included, from the front of `input`. The first `seen` bytes are
/// known to hold no LF.
pub(super) fn take_line<'a>(input: &mut &'a [u8], seen: usize, limit: usize) -> Result<Line<'a>, Flaw> {
    let window = input.get(..limit).unwrap_or(input);
    let found = window.get(seen..).and_then(|rest| memchr::memchr(b'\n', rest)).map(|at| at + seen);
    let Some(end) = found else {
        return Ok(if window.len() == limit { Line::TooLong } else { Line::Partial });
    };
    let line = input.split_off(..=end).unwrap_or_default();
    match line {
        [line @ .., b'\r', b'\n'] => Ok(Line::Whole(line)),
        _ => Err(Flaw::BareLf),
    }
}

/// Splits a field line into a name, which is a token, and a value without the white space around it.
pub(super) fn split_field(line: &[u8]) -> Result<(&[u8], &[u8]), Flaw> {
    let end = line.iter().position(|b| !is(*b, TOKEN));
    let Some((name, [byte, value @ ..])) = end.and_then(|at| line.split_at_checked(at)) else {
        return Err(Flaw::NoColon);
    };
    match byte {
        b':' if name.is_empty() => return Err(Flaw::EmptyName),
        b':' => {}
        b' ' | b'\t' if name.is_empty() => return Err(Flaw::ObsFold),
        b' ' | b'\t' if value.contains(&b':') => return Err(Flaw::SpaceBeforeColon),
        b' ' | b'\t' => return Err(Flaw::NoColon),
        byte => return Err(flaw_of(*byte, Flaw::FieldName)),
    }
    let value = trim(value);
    if is_value(value) { Ok((name, value)) } else { Err(flaw_of_value(value)) }
}

/// Visible ASCII, spaces and tabs (RFC 9110 §5.5 without obs-text). All bytes are looked at, whatever they are: without
/// an early way out this compiles to vector instructions, and values are most of a head.
fn is_value(bytes: &[u8]) -> bool {
    bytes.iter().fold(true, |good, byte| good & matches!(byte, b'\t' | b' '..=b'~'))
}

fn flaw_of_value(value: &[u8]) -> Flaw {
    let odd = value.iter().find(|byte| !is_value(&[**byte]));
    odd.map_or(Flaw::ControlByte, |byte| flaw_of(*byte, Flaw::ControlByte))
}

/// The flaw that a byte is wherever it stands, or else `otherwise`.
pub(super) fn flaw_of(byte: u8, otherwise: Flaw) -> Flaw {
    match byte {
        b'\r' => Flaw::BareCr,
        0..=0x1f | 0x7f => Flaw::ControlByte,
        0x80.. => Flaw::ObsText,
        _ => otherwise,
    }
}

/// Without spaces and tabs at both ends (OWS).
pub(super) fn trim(mut bytes: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = bytes {
        bytes = rest;
    }
    bytes
}

/// The members of a comma list; empty ones are skipped (RFC 9110 §5.6.1.2).
pub(super) fn members(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|b| *b == b',').map(trim).filter(|m| !m.is_empty())
}

/// Digits alone, at most 63 bits.
pub(super) fn decimal(digits: &[u8]) -> Result<u64, Flaw> {
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return Err(Flaw::LengthSyntax);
    }
    number(digits, 10).ok_or(Flaw::LengthOverflow)
}

/// One to sixteen hexadecimal digits, at most 63 bits.
pub(super) fn hexadecimal(digits: &[u8]) -> Result<u64, Flaw> {
    match digits {
        [] => Err(Flaw::ChunkSize),
        digits if !digits.iter().all(u8::is_ascii_hexdigit) => Err(Flaw::ChunkSize),
        digits => number(digits, 16).ok_or(Flaw::ChunkOverflow),
    }
}

fn number(digits: &[u8], base: u32) -> Option<u64> {
    // SECURITY: every step is checked, whatever the number of leading zeroes (E15).
    let value = digits.iter().try_fold(0u64, |sum, digit| {
        let digit = char::from(*digit).to_digit(base)?;
        sum.checked_mul(base.into())?.checked_add(digit.into())
    })?;
    (value <= i64::MAX.unsigned_abs()).then_some(value)
}

/// An origin-form target: a path that starts with a slash, and perhaps a query.
pub(super) fn check_origin_form(target: &[u8]) -> Result<(), Flaw> {
    if target.first() != Some(&b'/') {
        return Err(Flaw::TargetForm);
    }
    let path_end = memchr::memchr(b'?', target).unwrap_or(target.len());
    let (path, query) = target.split_at_checked(path_end).unwrap_or((target, &[]));
    let odd = path.iter().find(|b| !is(**b, PATH));
    match odd.or_else(|| query.iter().find(|b| !is(**b, QUERY))) {
        None => Ok(()),
        Some(b'#') => Err(Flaw::Fragment),
        Some(byte) => Err(flaw_of(*byte, Flaw::TargetByte)),
    }
}

/// `uri-host [":" port]` without user information: a name, an IPv4 address, or an IPv6 address in brackets.
pub(super) fn is_authority(text: &[u8]) -> bool {
    if let [b'[', rest @ ..] = text {
        return is_bracketed(rest);
    }
    match memchr::memchr(b':', text).and_then(|at| text.split_at_checked(at)) {
        Some((host, [_, port @ ..])) => is_reg_name(host) && is_port(port),
        _ => is_reg_name(text),
    }
}

/// An IPv6 address, the closing bracket, and perhaps a port.
fn is_bracketed(rest: &[u8]) -> bool {
    let end = memchr::memchr(b']', rest).unwrap_or(rest.len());
    let Some((address, [_, port @ ..])) = rest.split_at_checked(end) else { return false };
    let is_address = std::str::from_utf8(address).is_ok_and(|a| a.parse::<std::net::Ipv6Addr>().is_ok());
    is_address && (port.is_empty() || port.strip_prefix(b":").is_some_and(is_port))
}

/// A DNS name or an IPv4 address: RFC 3986 §3.2.2 without percent-encoding and sub-delims, which no host that this
/// gateway serves has and which readers split differently.
fn is_reg_name(name: &[u8]) -> bool {
    (1..=255).contains(&name.len()) && name.iter().all(|b| is(*b, NAME))
}

fn is_port(port: &[u8]) -> bool {
    (1..=5).contains(&port.len())
        && port.iter().all(u8::is_ascii_digit)
        && number(port, 10).is_some_and(|p| (1..=65_535).contains(&p))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_ends_in_crlf_within_its_limit() {
        let table: [(&[u8], usize, Result<Line<'_>, Flaw>); 7] = [
            (b"ab\r\ncd", 10, Ok(Line::Whole(b"ab"))),
            (b"\r\n", 2, Ok(Line::Whole(b""))),
            (b"ab\r\n", 3, Ok(Line::TooLong)),
            (b"ab\r", 4, Ok(Line::Partial)),
            (b"abcd", 4, Ok(Line::TooLong)),
            (b"ab\n", 10, Err(Flaw::BareLf)),
            (b"\n", 10, Err(Flaw::BareLf)),
        ];
        for (given, limit, want) in table {
            let mut input = given;
            assert_eq!(take_line(&mut input, 0, limit), want, "{given:?}");
        }
    }

    #[test]
    fn a1_a6_a7_a10_a_field_line_has_one_reading_or_a_flaw() {
        type Split<'a> = Result<(&'a [u8], &'a [u8]), Flaw>;
        let table: [(&[u8], Split<'_>); 18] = [
            (b"Host: a", Ok((b"Host", b"a"))),
            (b"Host:a", Ok((b"Host", b"a"))),
            (b"X:", Ok((b"X", b""))),
            (b"X: \t a b\t ", Ok((b"X", b"a b"))),
            (b"X.Custom|Pipe: ok", Ok((b"X.Custom|Pipe", b"ok"))),
            (b": a", Err(Flaw::EmptyName)),
            (b" X: a", Err(Flaw::ObsFold)),
            (b"\tfold", Err(Flaw::ObsFold)),
            (b"X : a", Err(Flaw::SpaceBeforeColon)),
            (b"X\t: a", Err(Flaw::SpaceBeforeColon)),
            (b"X", Err(Flaw::NoColon)),
            (b"X a", Err(Flaw::NoColon)),
            (b"X@: a", Err(Flaw::FieldName)),
            (b"X\x00: a", Err(Flaw::ControlByte)),
            (b"X\xa0: a", Err(Flaw::ObsText)),
            (b"X: a\rb", Err(Flaw::BareCr)),
            (b"X: a\x00b", Err(Flaw::ControlByte)),
            (b"X: caf\xc3\xa9", Err(Flaw::ObsText)),
        ];
        for (given, want) in table {
            assert_eq!(split_field(given), want, "{given:?}");
        }
    }

    #[test]
    fn a1_e15_a_length_is_digits_that_fit() {
        let table: [(&[u8], Result<u64, Flaw>); 10] = [
            (b"0", Ok(0)),
            (b"007", Ok(7)),
            (b"9223372036854775807", Ok(i64::MAX.unsigned_abs())),
            (b"9223372036854775808", Err(Flaw::LengthOverflow)),
            (b"18446744073709551617", Err(Flaw::LengthOverflow)),
            (b"", Err(Flaw::LengthSyntax)),
            (b"+6", Err(Flaw::LengthSyntax)),
            (b"-1", Err(Flaw::LengthSyntax)),
            (b"0x10", Err(Flaw::LengthSyntax)),
            (b"5, 5", Err(Flaw::LengthSyntax)),
        ];
        for (given, want) in table {
            assert_eq!(decimal(given), want, "{given:?}");
        }
        assert_eq!(hexadecimal(b"7fffffffffffffff"), Ok(i64::MAX.unsigned_abs()));
        assert_eq!(hexadecimal(b"ffffffffffffffff"), Err(Flaw::ChunkOverflow));
        assert_eq!(hexadecimal(b"0x5"), Err(Flaw::ChunkSize));
    }

    #[test]
    fn an_authority_is_a_host_and_perhaps_a_port() {
        let good = ["a", "a.example:8080", "127.0.0.1", "[::1]", "[2001:db8::7]:443", "h_0.example", "a."];
        let bad = [
            "",
            ":80",
            "a:",
            "a:0",
            "a:65536",
            "a:+1",
            "a:8 0",
            "a b",
            "u@a",
            "a/b",
            "[::1",
            "::1",
            "[::1]x",
            "[::1]:",
            "[::1%25eth0]",
            "[v1.x]",
            "a,b",
            "0.0.0.0=5000",
            "x%4",
            "x%zz",
            "a\"b",
            "a:80:80",
            "a#b",
            "a?b",
            "a\\b",
        ];
        for text in good {
            assert!(is_authority(text.as_bytes()), "{text}");
        }
        for text in bad {
            assert!(!is_authority(text.as_bytes()), "{text}");
        }
    }

    #[test]
    fn what_is_accepted_here_is_accepted_by_the_http_crate() {
        for byte in 0..=255u8 {
            let path = [b'/', byte];
            if check_origin_form(&path).is_ok() {
                assert!(http::Uri::try_from(&path[..]).is_ok(), "{byte:#x}");
            }
            let query = [b'/', b'?', byte];
            if check_origin_form(&query).is_ok() {
                assert!(http::Uri::try_from(&query[..]).is_ok(), "{byte:#x}");
            }
            assert!(!is_tchar(byte) || http::HeaderName::from_bytes(&[byte]).is_ok(), "{byte:#x}");
            assert!(
                !is_value(&[byte]) || http::HeaderValue::from_bytes(&[b'a', byte, b'a']).is_ok(),
                "{byte:#x}"
            );
        }
    }
}
