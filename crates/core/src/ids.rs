//! Names and numbers that identify things.
//!
//! INVARIANT: a [`Name`] is short lower-case ASCII that needs no escaping in a log line, a metric label, a
//! header value, a file name or a Cedar entity id (threats A10, F8).

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::UnixMillis;

/// The name of a service, route, issuer, plan or policy: `a-z`, `0-9`, `-`, `_`, `.`, at most 63 bytes.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(Arc<str>);

/// Why a text is not a [`Name`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NameFault {
    /// Nothing was written.
    Empty,
    /// More than [`Name::LONGEST`] bytes.
    TooLong,
    /// The first byte is not a letter.
    Start,
    /// A byte outside the permitted set.
    Byte(u8),
}

impl Name {
    /// The length limit, that of a DNS label (RFC 1035 §2.3.4).
    pub const LONGEST: usize = 63;

    /// Checks `text` and keeps it.
    ///
    /// # Errors
    /// The first fault found.
    pub fn parse(text: &str) -> Result<Self, NameFault> {
        match text.as_bytes() {
            [] => Err(NameFault::Empty),
            long if long.len() > Self::LONGEST => Err(NameFault::TooLong),
            [first, ..] if !first.is_ascii_lowercase() => Err(NameFault::Start),
            bytes => match bytes.iter().find(|b| !Self::permits(**b)) {
                Some(bad) => Err(NameFault::Byte(*bad)),
                None => Ok(Self(text.into())),
            },
        }
    }

    /// The text itself.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn permits(byte: u8) -> bool {
        byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'_' | b'.')
    }
}

impl fmt::Display for NameFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("a name must not be empty"),
            Self::TooLong => write!(f, "a name has at most {} characters", Name::LONGEST),
            Self::Start => f.write_str("a name starts with a lower-case letter"),
            Self::Byte(b) => write!(
                f,
                "a name has only `a-z`, `0-9`, `-`, `_` and `.`, not `{}`",
                char::from(*b).escape_default()
            ),
        }
    }
}

impl std::error::Error for NameFault {}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}`", self.0)
    }
}

impl Serialize for Name {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        out.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(from)?;
        Self::parse(&text).map_err(serde::de::Error::custom)
    }
}

/// The number of an immutable generation; a lower one than the one in force is refused.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Generation(pub u64);

impl Generation {
    /// The one that follows.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

impl fmt::Display for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// One request, or one connection event: 48 bits of time, then 80 bits that the maker drew at random.
///
/// Written as 32 lower-case hexadecimal digits, which is also a valid `trace-id` (W3C Trace Context §3.2.2.3).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(u128);

impl RequestId {
    /// Puts an id together. Only the low 80 bits of `random` count.
    #[must_use]
    pub fn new(at: UnixMillis, random: u128) -> Self {
        Self((u128::from(at.0) << 80) | (random & ((1 << 80) - 1)))
    }

    /// Reads the 32 digits back; anything else is `None`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let hex = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
        let canonical = text.len() == 32 && text.bytes().all(hex);
        canonical.then(|| u128::from_str_radix(text, 16).ok().map(Self)).flatten()
    }

    /// The number that the digits spell.
    #[must_use]
    pub fn number(self) -> u128 {
        self.0
    }

    /// The 32 digits: what a header field and a record carry.
    #[must_use]
    pub fn digits(self) -> [u8; 32] {
        hex_digits(self.0.to_be_bytes())
    }
}

/// Lower-case hexadecimal digits of 16 bytes, without the formatting machinery: every request writes some.
#[must_use]
pub fn hex_digits(bytes: [u8; 16]) -> [u8; 32] {
    let digit = |n: u8| if n < 10 { b'0' + n } else { b'a' + n - 10 };
    let mut digits = [0; 32];
    let (pairs, _) = digits.as_chunks_mut::<2>();
    for (pair, byte) in pairs.iter_mut().zip(bytes) {
        *pair = [digit(byte >> 4), digit(byte & 15)];
    }
    digits
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(std::str::from_utf8(&self.digits()).unwrap_or_default())
    }
}

impl fmt::Debug for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for RequestId {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        out.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for RequestId {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(from)?;
        Self::parse(&text).ok_or_else(|| serde::de::Error::custom("a request id is 32 hexadecimal digits"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn f8_a_name_can_forge_no_log_line() {
        for bad in ["", "Orders", "a b", "a\n", "a\u{202e}b", "é", "1st", "-x", &"a".repeat(64)] {
            assert!(Name::parse(bad).is_err(), "{bad:?}");
        }
        for good in ["orders", "orders-v2", "a", "refund_order", "shop.orders"] {
            assert_eq!(Name::parse(good).map(|n| n.to_string()), Ok(good.to_owned()));
        }
    }

    #[test]
    fn a_request_id_reads_back_as_written_and_in_no_other_spelling() {
        let id = RequestId::new(UnixMillis(1_790_000_000_123), 0xdead_beef);
        assert_eq!(id.to_string(), format!("{:032x}", id.number()));
        assert_eq!(RequestId::parse(&id.to_string()), Some(id));
        assert_eq!(RequestId::parse(&id.to_string().to_uppercase()), None);
        assert_eq!(RequestId::parse("+1"), None);
    }
}
