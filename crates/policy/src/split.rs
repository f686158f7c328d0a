//! Cuts a policy file into policies, so that each keeps the line it starts on.
//!
//! A policy that is too deep or too long a chain is told apart here, before it is parsed: parser, validator and
//! evaluator recurse, and a stack that overflows takes the process with it (E12).
//!
//! Cedar ends a policy with `;` and uses that byte nowhere else but in strings and comments.
//!
//! INVARIANT: every byte of the file that is not blank or comment is in exactly one piece, so no policy is lost.
//! A piece that was cut wrongly does not parse as one policy, and then the book does not load (fail closed).
//!
//! Sources: Cedar policy grammar (docs.cedarpolicy.com, "Grammar specification"); threat E12.

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

/// Brackets in brackets beyond this are refused.
pub(crate) const DEEPEST: usize = 48;
/// More operators, dots and `if`s than this in one policy are refused; entries of a set do not count.
pub(crate) const MOST_JOINTS: usize = 256;

impl Piece<'_> {
    /// Whether the policy can be parsed and evaluated within any thread's stack.
    pub(crate) fn is_shallow(&self) -> bool {
        let (mut depth, mut deepest, mut joints) = (0_usize, 0, 0_usize);
        let mut state = State::Code;
        let mut before = [b' '; 2];
        for byte in self.text.bytes() {
            let [earlier, last] = before;
            let opens_comment = state == State::Code && last == b'/' && byte == b'/';
            state = if opens_comment { State::Comment } else { after(state, byte) };
            before = [last, byte];
            if state != State::Code {
                continue;
            }
            match byte {
                b'(' | b'[' | b'{' => depth += 1,
                b')' | b']' | b'}' => depth = depth.saturating_sub(1),
                _ => {}
            }
            deepest = depth.max(deepest);
            let is_if = last == b'i' && byte == b'f' && !earlier.is_ascii_alphanumeric();
            joints += usize::from(is_if || matches!(byte, b'&' | b'|' | b'+' | b'-' | b'*' | b'.' | b'!'));
        }
        // `&&` and `||` are two bytes each, and `.` joins at least two of everything it is used for.
        deepest <= DEEPEST && joints <= 2 * MOST_JOINTS
    }
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
    fn e12_depth_and_length_are_bounded() {
        let nested = |n: usize| format!("{}true{}", "(".repeat(n), ")".repeat(n));
        let chain = |n: usize| format!("{}true", "true && ".repeat(n));
        let ifs = |n: usize| format!("{}true", "if true then false else ".repeat(n));
        let table = [
            (nested(DEEPEST), true),
            (nested(DEEPEST + 1), false),
            (chain(MOST_JOINTS), true),
            (chain(MOST_JOINTS + 1), false),
            (ifs(2 * MOST_JOINTS), true),
            (ifs(2 * MOST_JOINTS + 1), false),
            (format!("[{}1]", "1, ".repeat(50_000)), true),
            (format!("\"{}\"", "((&&||..".repeat(5_000)), true),
            (format!("// {}", "((&&||..".repeat(5_000)), true),
        ];
        for (text, want) in table {
            let shown: String = text.chars().take(20).collect();
            assert_eq!(
                Piece { text: &text, offset: 0 }.is_shallow(),
                want,
                "{shown}… of {} bytes",
                text.len()
            );
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
