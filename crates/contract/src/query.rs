//! Names and values of a query or a form.
//!
//! INVARIANT: at most [`MOST`] pairs are read.
//!
//! Sources: WHATWG URL §5.1 (`application/x-www-form-urlencoded` parsing), with faults refused in place of repaired.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;

/// More pairs than this are a finding.
pub(crate) const MOST: usize = 256;

/// One pair; the value as it was sent, since delimiters count before decoding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pair<'q> {
    pub(crate) name: String,
    pub(crate) raw: &'q str,
}

/// Why a query or a part of it was not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum QueryFault {
    TooMany,
    Encoding,
}

impl QueryFault {
    /// The word for a finding.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::TooMany => "too-many-parameters",
            Self::Encoding => "encoding",
        }
    }
}

/// Splits a query into pairs.
pub(crate) fn pairs(query: &str) -> Result<Vec<Pair<'_>>, QueryFault> {
    let mut pairs = Vec::new();
    for part in query.split('&').filter(|part| !part.is_empty()) {
        if pairs.len() == MOST {
            return Err(QueryFault::TooMany);
        }
        let (name, raw) = part.split_once('=').unwrap_or((part, ""));
        pairs.push(Pair { name: decode(name, Plus::Space)?, raw });
    }
    Ok(pairs)
}

/// What a plus sign stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Plus {
    /// In a query or form.
    Space,
    /// In a path.
    Itself,
}

/// Percent-decodes a text. A `%` without two digits, or bytes that are not UTF-8, are faults.
pub(crate) fn decode(raw: &str, plus: Plus) -> Result<String, QueryFault> {
    let mut rest = raw.split('%');
    rest.next();
    let whole =
        |part: &str| part.as_bytes().get(..2).is_some_and(|two| two.iter().all(u8::is_ascii_hexdigit));
    if !rest.all(whole) {
        return Err(QueryFault::Encoding);
    }
    let spaced = match plus {
        Plus::Space if raw.contains('+') => Cow::Owned(raw.replace('+', " ")),
        _ => Cow::Borrowed(raw),
    };
    percent_decode_str(&spaced).decode_utf8().map(Cow::into_owned).map_err(|_| QueryFault::Encoding)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_query_has_one_reading_or_a_fault() {
        let table = [
            ("", Ok(vec![])),
            ("a=1&b=2", Ok(vec![("a", "1"), ("b", "2")])),
            ("a", Ok(vec![("a", "")])),
            ("&a=&&", Ok(vec![("a", "")])),
            ("a=b=c", Ok(vec![("a", "b=c")])),
            ("a%5Bb%5D=%20", Ok(vec![("a[b]", "%20")])),
            ("a+b=1", Ok(vec![("a b", "1")])),
            ("%=1", Err(QueryFault::Encoding)),
            ("%4=1", Err(QueryFault::Encoding)),
            ("%ff=1", Err(QueryFault::Encoding)),
        ];
        for (given, want) in table {
            let got = pairs(given).map(|all| all.into_iter().map(|p| (p.name, p.raw)).collect::<Vec<_>>());
            let owned =
                |all: Vec<(&str, &'static str)>| all.into_iter().map(|(n, v)| (n.to_owned(), v)).collect();
            assert_eq!(got, want.map(owned), "{given:?}");
        }
    }

    #[test]
    fn e9_the_number_of_pairs_is_bounded() {
        assert_eq!(pairs(&"a&".repeat(MOST)).map(|all| all.len()), Ok(MOST));
        assert_eq!(pairs(&"a&".repeat(MOST + 1)), Err(QueryFault::TooMany));
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "\\PC{0,60}") {
            let _ = pairs(&text);
            let _ = decode(&text, Plus::Itself);
        }
    }
}
