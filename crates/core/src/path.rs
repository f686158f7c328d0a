//! The one normal form of a path.
//!
//! Router, policy, contract, limits, log and upstream see the bytes of a [`NormalPath`] and no others, so that
//! two readings of one path cannot exist (threats B1-B5). What is merely spelled oddly is respelled: an
//! unreserved byte that was percent-encoded is decoded, hexadecimal digits become upper case, a `.` segment
//! goes. What could mean two things to two readers is refused, never repaired.
//!
//! INVARIANT: normalising is idempotent.
//! INVARIANT: a normal path starts with `/`, is printable ASCII, and has no empty, `.` or `..` segment, no
//! backslash, no `;`, no encoded slash, backslash, control byte or second layer of percent-encoding.
//!
//! Not here: the query, which is not part of any path (threat B6).
//!
//! Sources: RFC 3986 §3.3, §6.2.2; RFC 9110 §4.2.3.

use std::fmt;

/// A path that has exactly one reading.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NormalPath(Box<str>);

/// Why a path was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PathFault {
    /// Does not start with `/` (B5).
    NotAbsolute,
    /// Longer than [`NormalPath::LONGEST`].
    TooLong,
    /// A `..` segment, plain or encoded (B1).
    Climbs,
    /// Two slashes in a row: some servers merge them, some do not (B1).
    EmptySegment,
    /// `%2F` (B1).
    HiddenSlash,
    /// `\` or `%5C`: a slash to some servers (B1).
    Backslash,
    /// `;`: starts a parameter that some servers cut off (B3).
    Parameter,
    /// `#` (B2) or `?` where the path ends.
    Fragment,
    /// A control byte or `DEL`, plain or encoded (A10).
    Control,
    /// A byte that a path may not hold unencoded (RFC 3986 §3.3).
    RawByte,
    /// `%` without two hexadecimal digits.
    BadEscape,
    /// `%25` before two hexadecimal digits: would decode twice (B1).
    DoubleEscape,
    /// The decoded bytes are not UTF-8, or hold an overlong form (B1).
    NotUtf8,
}

impl PathFault {
    /// A fixed word for logs and metrics.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::NotAbsolute => "not-absolute",
            Self::TooLong => "path-too-long",
            Self::Climbs => "climbs",
            Self::EmptySegment => "empty-segment",
            Self::HiddenSlash => "hidden-slash",
            Self::Backslash => "backslash",
            Self::Parameter => "path-parameter",
            Self::Fragment => "fragment",
            Self::Control => "control-byte",
            Self::RawByte => "raw-byte",
            Self::BadEscape => "bad-escape",
            Self::DoubleEscape => "double-escape",
            Self::NotUtf8 => "not-utf8",
        }
    }
}

impl fmt::Display for PathFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

impl std::error::Error for PathFault {}

impl NormalPath {
    /// The longest path that is read.
    pub const LONGEST: usize = 4_096;

    /// Normalises `raw`, the part of a request target before any `?`.
    ///
    /// # Errors
    /// The first fault from the left.
    pub fn parse(raw: &str) -> Result<Self, PathFault> {
        if raw.len() > Self::LONGEST {
            return Err(PathFault::TooLong);
        }
        let rest = raw.strip_prefix('/').ok_or(PathFault::NotAbsolute)?;
        if raw.bytes().all(is_plain) && !rest.split('/').any(is_special) {
            return Ok(Self(raw.into()));
        }
        let mut out = String::with_capacity(raw.len());
        let mut ends_in_slash = rest.is_empty();
        let last = rest.split('/').count().saturating_sub(1);
        for (index, segment) in rest.split('/').enumerate() {
            ends_in_slash = push_segment(&mut out, segment, Position { is_last: index == last })?;
        }
        if ends_in_slash || out.is_empty() {
            out.push('/');
        }
        Ok(Self(out.into()))
    }

    /// The normal bytes.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The parts between the slashes; a trailing slash gives a last, empty part.
    pub fn segments(&self) -> impl Iterator<Item = &str> {
        self.0.strip_prefix('/').unwrap_or(&self.0).split('/')
    }
}

/// Where a segment stands: only the last may be empty.
#[derive(Clone, Copy)]
struct Position {
    is_last: bool,
}

/// Appends one segment. `true` when the path, if it ended here, would end in a slash.
fn push_segment(out: &mut String, segment: &str, at: Position) -> Result<bool, PathFault> {
    let start = out.len();
    out.push('/');
    normalise_into(out, segment)?;
    let written = out.get(start + 1..).unwrap_or_default();
    match written {
        ".." => Err(PathFault::Climbs),
        "" if !at.is_last => Err(PathFault::EmptySegment),
        "" | "." => {
            out.truncate(start);
            Ok(true)
        }
        _ => Ok(false),
    }
}

/// Respells one segment: unreserved bytes plain, all others as upper-case escapes.
fn normalise_into(out: &mut String, segment: &str) -> Result<(), PathFault> {
    let start = out.len();
    let mut bytes = segment.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    while let [byte, rest @ ..] = bytes {
        bytes = rest;
        if *byte != b'%' {
            refuse_raw(*byte)?;
            out.push(char::from(*byte));
            decoded.push(*byte);
            continue;
        }
        let (value, rest) = hex_pair(bytes).ok_or(PathFault::BadEscape)?;
        refuse_escaped(value, rest)?;
        bytes = rest;
        decoded.push(value);
        if is_unreserved(value) {
            out.push(char::from(value));
        } else {
            push_escape(out, value);
        }
    }
    refuse_second_layer(out.as_bytes().get(start..).unwrap_or_default())?;
    std::str::from_utf8(&decoded).map(|_| ()).map_err(|_| PathFault::NotUtf8)
}

/// SECURITY: judged on what was written, since `%252%66` becomes a second layer only when its last escape is respelled.
fn refuse_second_layer(written: &[u8]) -> Result<(), PathFault> {
    let is_layer = |w: &[u8]| matches!(w, [b'%', b'2', b'5', high, low] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit());
    if written.windows(5).any(is_layer) { Err(PathFault::DoubleEscape) } else { Ok(()) }
}

fn refuse_raw(byte: u8) -> Result<(), PathFault> {
    match byte {
        b'\\' => Err(PathFault::Backslash),
        b';' => Err(PathFault::Parameter),
        b'#' | b'?' => Err(PathFault::Fragment),
        0..=0x1f | 0x7f => Err(PathFault::Control),
        byte if is_pchar(byte) => Ok(()),
        _ => Err(PathFault::RawByte),
    }
}

fn refuse_escaped(value: u8, next: &[u8]) -> Result<(), PathFault> {
    match value {
        b'/' => Err(PathFault::HiddenSlash),
        b'\\' => Err(PathFault::Backslash),
        b';' => Err(PathFault::Parameter),
        0..=0x1f | 0x7f => Err(PathFault::Control),
        // SECURITY: a second decoding further down would see another path than we authorised.
        b'%' if hex_pair(next).is_some() || next.first() == Some(&b'%') => Err(PathFault::DoubleEscape),
        _ => Ok(()),
    }
}

fn push_escape(out: &mut String, value: u8) {
    const HEX: [char; 16] = ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'A', 'B', 'C', 'D', 'E', 'F'];
    out.push('%');
    out.extend(HEX.get(usize::from(value >> 4)));
    out.extend(HEX.get(usize::from(value & 15)));
}

/// The value of two leading hexadecimal digits, and what follows them.
fn hex_pair(bytes: &[u8]) -> Option<(u8, &[u8])> {
    let digit = |b: u8| char::from(b).to_digit(16).and_then(|d| u8::try_from(d).ok());
    let (&[high, low], rest) = bytes.split_first_chunk::<2>()?;
    Some(((digit(high)? << 4) | digit(low)?, rest))
}

/// RFC 3986 §2.3.
fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

/// RFC 3986 §3.3, less `;` and `%`, which are judged apart.
fn is_pchar(byte: u8) -> bool {
    is_unreserved(byte)
        || matches!(byte, b'!' | b'$' | b'&' | b'\'' | b'(' | b')' | b'*' | b'+' | b',' | b'=' | b':' | b'@')
}

/// A byte that stands for itself wherever it is.
fn is_plain(byte: u8) -> bool {
    byte == b'/' || is_pchar(byte)
}

/// A segment that the fast path may not wave through: empty ones are judged by the slow path.
fn is_special(segment: &str) -> bool {
    matches!(segment, "" | "." | "..")
}

impl fmt::Display for NormalPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for NormalPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parsed(raw: &str) -> Result<String, PathFault> {
        NormalPath::parse(raw).map(|p| p.as_str().to_owned())
    }

    #[test]
    fn b1_a_path_has_one_form_or_is_refused() {
        let table = [
            ("/", Ok("/")),
            ("/orders/7", Ok("/orders/7")),
            ("/orders/", Ok("/orders/")),
            ("/%6Frders/./7", Ok("/orders/7")),
            ("/orders/.", Ok("/orders/")),
            ("/caf%c3%a9", Ok("/caf%C3%A9")),
            ("/100%25", Ok("/100%25")),
            ("/a%20b", Ok("/a%20b")),
            ("/public/../admin", Err(PathFault::Climbs)),
            ("/public/%2e%2E/admin", Err(PathFault::Climbs)),
            ("/public/.%2e", Err(PathFault::Climbs)),
            ("/public/..%2Fadmin", Err(PathFault::HiddenSlash)),
            ("/public/%252e%252e", Err(PathFault::DoubleEscape)),
            ("/public/%25%32%65", Err(PathFault::DoubleEscape)),
            ("/public%252%66admin", Err(PathFault::DoubleEscape)),
            ("/%255%32%66", Err(PathFault::DoubleEscape)),
            ("/100%255", Ok("/100%255")),
            ("//admin", Err(PathFault::EmptySegment)),
            ("/public//admin", Err(PathFault::EmptySegment)),
            ("/orders\\7", Err(PathFault::Backslash)),
            ("/orders%5c7", Err(PathFault::Backslash)),
            ("/a%00b", Err(PathFault::Control)),
            ("/a%0d%0ab", Err(PathFault::Control)),
            ("/a b", Err(PathFault::RawByte)),
            ("/caf\u{e9}", Err(PathFault::RawByte)),
            ("/a%", Err(PathFault::BadEscape)),
            ("/a%4", Err(PathFault::BadEscape)),
            ("/a%zz", Err(PathFault::BadEscape)),
            ("/%c0%ae%c0%ae", Err(PathFault::NotUtf8)),
            ("/%ff", Err(PathFault::NotUtf8)),
        ];
        for (given, want) in table {
            assert_eq!(parsed(given), want.map(str::to_owned), "{given:?}");
        }
    }

    #[test]
    fn b2_b3_b5_fragment_parameter_and_relative_paths_are_refused() {
        assert_eq!(parsed("/admin#x"), Err(PathFault::Fragment));
        assert_eq!(parsed("/admin;x=y"), Err(PathFault::Parameter));
        assert_eq!(parsed("/admin/..;/secret"), Err(PathFault::Parameter));
        assert_eq!(parsed("/admin%3b"), Err(PathFault::Parameter));
        assert_eq!(parsed("admin"), Err(PathFault::NotAbsolute));
        assert_eq!(parsed(""), Err(PathFault::NotAbsolute));
        assert_eq!(parsed(&"/a".repeat(3_000)), Err(PathFault::TooLong));
    }

    #[test]
    fn b4_case_is_kept_since_paths_are_case_sensitive() {
        assert_eq!(parsed("/Admin"), Ok("/Admin".to_owned()));
    }

    proptest! {
        #[test]
        fn normalising_is_idempotent(raw in "/[a-z%2eEfF5cC./;\\\\0-9]{0,24}") {
            if let Ok(once) = NormalPath::parse(&raw) {
                prop_assert_eq!(NormalPath::parse(once.as_str()), Ok(once));
            }
        }

        #[test]
        fn no_text_panics_and_what_passes_keeps_the_invariant(raw in "/\\PC{0,30}") {
            if let Ok(path) = NormalPath::parse(&raw) {
                let text = path.as_str();
                prop_assert!(text.starts_with('/') && text.bytes().all(|b| (0x21..0x7f).contains(&b)));
                let inner = path.segments().count() - 1;
                prop_assert!(path.segments().take(inner).all(|s| !is_special(s)));
                prop_assert!(!text.contains(['\\', ';', '#', '?']) && !text.to_ascii_lowercase().contains("%2f"));
            }
        }
    }
}
