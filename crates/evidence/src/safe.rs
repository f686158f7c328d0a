//! Text that came from outside, on its way into a record.
//!
//! A [`SafeText`] borrows the text as it came; the only way out of it is [`SafeText::write`], which bounds the
//! length and spells every character that could end a line, hide, or reorder what a reader sees. So the cost is
//! paid once, where the record is written, and cannot be forgotten.
//!
//! Letters and digits of any script pass, and printable ASCII; everything else (controls, newlines, bidi marks,
//! zero-width characters, private use) becomes `\u{hex}`, and a backslash becomes `\\`, so that the spelling has
//! one reading. What is cut off is counted: `[+17]`.
//!
//! INVARIANT: what is written holds no control character, no bidi or zero-width mark, and at most
//! [`SafeText::LONGEST`] bytes of the original.
//!
//! Sources: threats F8, A10, C13; CWE-117; UTR #36 (bidi); CVE-2021-42574.

use std::fmt;

/// Text from outside. It has no accessor: it can only be written, escaped and bounded.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct SafeText<'a> {
    raw: &'a str,
    limit: usize,
}

impl<'a> SafeText<'a> {
    /// How many bytes of the original are kept at most.
    pub const LONGEST: usize = 256;
    /// The same for text that names something: a parameter, a method, a server name.
    pub const LONGEST_NAME: usize = 64;

    /// Text of up to [`Self::LONGEST`] bytes; the rest is counted and cut.
    #[must_use]
    pub const fn new(raw: &'a str) -> Self {
        Self { raw, limit: Self::LONGEST }
    }

    /// Text of up to [`Self::LONGEST_NAME`] bytes.
    #[must_use]
    pub const fn name(raw: &'a str) -> Self {
        Self { raw, limit: Self::LONGEST_NAME }
    }

    /// Whether there is nothing to write.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.raw.is_empty()
    }

    /// Hands the escaped text over, piece by piece, to whoever quotes it for an outer format.
    pub fn write(&self, mut push: impl FnMut(&str)) {
        let kept = self.raw.get(..self.raw.floor_char_boundary(self.limit)).unwrap_or_default();
        if kept.bytes().all(plain) {
            push(kept);
        } else {
            spell(kept, &mut push);
        }
        let cut = self.raw.len() - kept.len();
        if cut > 0 {
            push(&format!("[+{cut}]"));
        }
    }
}

/// Printable ASCII that no escape rule concerns.
const fn plain(byte: u8) -> bool {
    matches!(byte, 0x20..=0x7e) && byte != b'\\'
}

/// Whether a reader sees this character as itself, at its place.
#[must_use]
pub(crate) fn visible(c: char) -> bool {
    matches!(c, ' '..='~') || (c.is_alphanumeric() && !c.is_ascii())
}

fn spell(text: &str, push: &mut impl FnMut(&str)) {
    let mut buffer = [0; 4];
    for c in text.chars() {
        match c {
            '\\' => push("\\\\"),
            c if visible(c) => push(c.encode_utf8(&mut buffer)),
            hidden => push(&format!("\\u{{{:x}}}", u32::from(hidden))),
        }
    }
}

impl fmt::Display for SafeText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut done = Ok(());
        self.write(|piece| done = done.and_then(|()| f.write_str(piece)));
        done
    }
}

impl fmt::Debug for SafeText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{self}`")
    }
}
