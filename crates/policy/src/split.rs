//! Cuts a policy file into policies, so that each keeps the line it starts on.
//!
//! Cedar ends a policy with `;` and uses that byte nowhere else but in strings and comments.
//!
//! INVARIANT: every byte of the file that is not blank or comment is in exactly one piece, so no policy is lost.
//! A piece that was cut wrongly does not parse as one policy, and then the book does not load (fail closed).
//!
//! Sources: Cedar policy grammar (docs.cedarpolicy.com, "Grammar specification").

use portcullis_core::Location;

/// One policy's text, and where it starts.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Piece<'t> {
    pub(crate) text: &'t str,
    pub(crate) offset: usize,
}

#[derive(Clone, Copy, PartialEq)]
enum State {
    Code,
    Text,
    Escape,
    Comment,
}

/// The pieces of `text`, in order.
pub(crate) fn split(text: &str) -> Vec<Piece<'_>> {
    let mut pieces = vec![];
    let mut state = State::Code;
    let mut start = None;
    let mut before = b' ';
    for (offset, byte) in text.bytes().enumerate() {
        let opens_comment = state == State::Code && before == b'/' && byte == b'/';
        if opens_comment && start == offset.checked_sub(1) {
            start = None;
        }
        state = if opens_comment { State::Comment } else { after(state, byte) };
        if start.is_none() && state != State::Comment && !byte.is_ascii_whitespace() {
            start = Some(offset);
        }
        before = byte;
        if state == State::Code && byte == b';' {
            pieces.extend(piece(text, start.take(), offset + 1));
            before = b' ';
        }
    }
    pieces.extend(piece(text, start, text.len()));
    pieces
}

fn after(state: State, byte: u8) -> State {
    match (state, byte) {
        (State::Code, b'"') => State::Text,
        (State::Text, b'\\') => State::Escape,
        (State::Text, b'"') | (State::Comment, b'\n') => State::Code,
        (State::Escape, _) => State::Text,
        (same, _) => same,
    }
}

fn piece(text: &str, start: Option<usize>, end: usize) -> Option<Piece<'_>> {
    let offset = start?;
    text.get(offset..end).map(|text| Piece { text, offset })
}

/// The line and column of a byte of `text`, counted from one.
pub(crate) fn place(file: &str, text: &str, offset: usize) -> Location {
    let before = text.as_bytes().get(..offset).unwrap_or(text.as_bytes());
    let line = before.iter().filter(|b| **b == b'\n').count() + 1;
    let column = before.iter().rev().take_while(|b| **b != b'\n').count() + 1;
    let small = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    Location::at(file, small(line), small(column))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn semicolons_in_strings_and_comments_do_not_cut() {
        let text = "// a; b\npermit(principal, action, resource) // no; yes\nwhen { \"a;\\\";b\" == \"//\" };\n\
                    \n  @id(\"x;y\")\nforbid (principal, action, resource);\n// the end;\n";
        let pieces = split(text);
        let lines: Vec<u32> = pieces.iter().map(|p| place("f", text, p.offset).line).collect();
        assert_eq!(lines, [2, 5]);
        assert!(pieces[0].text.starts_with("permit") && pieces[0].text.ends_with("};"));
        assert!(pieces[1].text.starts_with("@id") && pieces[1].text.ends_with(");"));
    }

    #[test]
    fn what_lacks_its_end_is_still_a_piece() {
        let table = [
            ("", 0),
            ("  \n// only a comment", 0),
            ("permit(principal, action, resource)", 1),
            ("a; \"never closed ; b", 2),
            ("/ x", 1),
            (";;", 2),
        ];
        for (text, want) in table {
            assert_eq!(split(text).len(), want, "{text:?}");
        }
    }

    #[test]
    fn places_count_from_one() {
        let text = "ab\ncd\n";
        for (offset, want) in [(0, (1, 1)), (1, (1, 2)), (3, (2, 1)), (4, (2, 2)), (99, (3, 1))] {
            let at = place("f", text, offset);
            assert_eq!((at.line, at.column), want, "{offset}");
        }
    }

    proptest! {
        /// Cutting loses nothing but blanks and comments.
        #[test]
        fn every_byte_of_code_is_in_a_piece(parts in proptest::collection::vec("[a-z \n;\"\\\\]{0,6}", 0..12)) {
            let text = parts.concat();
            let kept: usize = split(&text).iter().map(|p| p.text.bytes().filter(|b| !b.is_ascii_whitespace()).count()).sum();
            let all = text.bytes().filter(|b| !b.is_ascii_whitespace()).count();
            prop_assert_eq!(kept, all);
        }
    }
}
