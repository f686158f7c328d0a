//! The one writer of JSON for records, log lines and sinks.
//!
//! It appends to a buffer that the caller keeps, allocates nothing, and takes text only as a word of ours or as
//! [`SafeText`], so that no text can end a line or a string (F8).
//!
//! INVARIANT: keys are constants of the source code, in the order in which they are written.

use std::io::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::SafeText;

/// A JSON object on its way into a buffer. [`Object::end`] closes it.
#[derive(Debug)]
pub struct Object<'b> {
    out: &'b mut Vec<u8>,
    empty: bool,
}

impl<'b> Object<'b> {
    /// Opens an object at the end of `out`.
    pub fn begin(out: &'b mut Vec<u8>) -> Self {
        out.push(b'{');
        Self { out, empty: true }
    }

    /// Closes the object.
    pub fn end(self) {
        self.out.push(b'}');
    }

    fn key(&mut self, key: &str) {
        if !std::mem::replace(&mut self.empty, false) {
            self.out.push(b',');
        }
        self.out.push(b'"');
        self.out.extend_from_slice(key.as_bytes());
        self.out.extend_from_slice(b"\":");
    }

    /// A whole number.
    pub fn number(&mut self, key: &'static str, value: u64) {
        self.key(key);
        digits(self.out, value);
    }

    /// A whole number that may be negative.
    pub fn signed(&mut self, key: &'static str, value: i64) {
        self.key(key);
        if value < 0 {
            self.out.push(b'-');
        }
        digits(self.out, value.unsigned_abs());
    }

    /// A whole number that is left out if it is zero.
    pub fn nonzero(&mut self, key: &'static str, value: u64) {
        if value != 0 {
            self.number(key, value);
        }
    }

    /// Text that came from outside, or that could have.
    pub fn safe(&mut self, key: &'static str, value: SafeText<'_>) {
        self.key(key);
        text(self.out, value);
    }

    /// The same, if there is any.
    pub fn maybe(&mut self, key: &'static str, value: Option<SafeText<'_>>) {
        if let Some(value) = value {
            self.safe(key, value);
        }
    }

    /// A word of ours, or anything else that cannot hold a character that needs escaping.
    pub(crate) fn word(&mut self, key: &'static str, value: &str) {
        self.safe(key, SafeText::new(value));
    }

    /// What `value` displays, which is a number, an address or an id of ours.
    pub(crate) fn shown(&mut self, key: &'static str, value: impl std::fmt::Display) {
        self.key(key);
        self.out.push(b'"');
        // Writing to a `Vec` cannot fail.
        let _ = write!(self.out, "{value}");
        self.out.push(b'"');
    }

    /// Bytes, as unpadded base64url, as thumbprints are written (RFC 7638).
    pub(crate) fn thumbprint(&mut self, key: &'static str, value: &[u8; 32]) {
        self.key(key);
        let mut spelled = [0; 43];
        let length = URL_SAFE_NO_PAD.encode_slice(value, &mut spelled).unwrap_or(0);
        quoted(self.out, spelled.get(..length).unwrap_or_default());
    }

    /// Bytes, in lower-case hexadecimal, as trace ids are written.
    pub(crate) fn hex(&mut self, key: &'static str, value: &[u8]) {
        self.key(key);
        self.out.push(b'"');
        hex(self.out, value);
        self.out.push(b'"');
    }

    /// An object inside this one.
    pub(crate) fn object(&mut self, key: &'static str, fill: impl FnOnce(&mut Object<'_>)) {
        self.key(key);
        let mut inner = Object::begin(self.out);
        fill(&mut inner);
        inner.end();
    }

    /// A pair whose key is the operator's text, not a constant: a listed parameter.
    pub(crate) fn listed(&mut self, key: SafeText<'_>, value: SafeText<'_>) {
        if !std::mem::replace(&mut self.empty, false) {
            self.out.push(b',');
        }
        text(self.out, key);
        self.out.push(b':');
        text(self.out, value);
    }

    /// A list, each element of which `write` appends.
    pub(crate) fn list<T>(
        &mut self,
        key: &'static str,
        values: impl IntoIterator<Item = T>,
        mut write: impl FnMut(&mut Vec<u8>, T),
    ) {
        self.key(key);
        self.out.push(b'[');
        for (place, value) in values.into_iter().enumerate() {
            if place > 0 {
                self.out.push(b',');
            }
            write(self.out, value);
        }
        self.out.push(b']');
    }
}

fn quoted(out: &mut Vec<u8>, bytes: &[u8]) {
    out.push(b'"');
    out.extend_from_slice(bytes);
    out.push(b'"');
}

/// A JSON string. What [`SafeText`] hands over needs only `"` and `\` escaped (RFC 8259 §7).
pub(crate) fn text(out: &mut Vec<u8>, value: SafeText<'_>) {
    out.push(b'"');
    value.write(|piece| {
        if piece.bytes().all(|b| b != b'"' && b != b'\\') {
            out.extend_from_slice(piece.as_bytes());
        } else {
            for byte in piece.bytes() {
                if matches!(byte, b'"' | b'\\') {
                    out.push(b'\\');
                }
                out.push(byte);
            }
        }
    });
    out.push(b'"');
}

/// Decimal digits, without the formatting machinery: a record has about twenty numbers.
pub(crate) fn digits(out: &mut Vec<u8>, mut value: u64) {
    let mut buffer = [b'0'; 20];
    let mut used = 0;
    for place in buffer.iter_mut().rev() {
        *place = b'0' + u8::try_from(value % 10).unwrap_or(0);
        value /= 10;
        used += 1;
        if value == 0 {
            break;
        }
    }
    out.extend_from_slice(buffer.get(20 - used..).unwrap_or_default());
}

/// Two lower-case digits a byte.
pub(crate) fn hex(out: &mut Vec<u8>, bytes: &[u8]) {
    let digit = |n: u8| if n < 10 { b'0' + n } else { b'a' + (n - 10) };
    out.extend(bytes.iter().flat_map(|b| [digit(b >> 4), digit(b & 15)]));
}
