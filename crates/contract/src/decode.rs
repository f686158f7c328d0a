//! From the texts of a parameter to a value.
//!
//! INVARIANT: a text becomes a number or a truth value only if its schema has that type and the text is written exactly as JSON
//! writes it; ` 5`, `+5`, `0x5` and `True` stay texts, and fail.
//! INVARIANT: delimiters are found before percent-decoding, so an encoded comma is a comma of the value.
//!
//! Sources: OpenAPI 3.1.1 §4.8.12.3 (styles); RFC 6570.

use serde_json::{Map, Value};

use crate::json::{self, Caps};
use crate::query::{Plus, decode};
use crate::shape::{Kinds, Shape};

/// How the parts of a value are laid out in texts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Layout {
    /// `a,b` and `k,v,k,v` (`simple`, `form` without explode).
    Comma,
    /// `k=v,k=v` (`simple` with explode).
    Assigned,
    /// `a b`.
    Space,
    /// `a|b`.
    Pipe,
    /// One pair for each part (`form` with explode).
    Repeated,
    /// `name[k]=v`.
    Deep,
    /// The value is JSON (`content`).
    Json,
}

/// How bytes of a text are encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Encoding {
    Query,
    Path,
    Plain,
}

/// One text that belongs to a parameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Text<'q> {
    /// The value, or one of its items.
    Whole(&'q str),
    /// One member of it.
    Member(&'q str, &'q str),
}

/// Whether texts may become something else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reading {
    /// Where the schema says so.
    Typed,
    /// Never: for schemas that admit both.
    Verbatim,
}

/// How the texts of one parameter are read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Decoder<'s> {
    pub(crate) shape: &'s Shape,
    pub(crate) layout: Layout,
    pub(crate) encoding: Encoding,
    pub(crate) reading: Reading,
}

const ENCODING: &str = "encoding";
const REPEATED: &str = "repeated";
const JSON_CAPS: Caps = Caps { depth: 16, values: 1_000 };

impl Decoder<'_> {
    /// The value, or the rule that the texts break.
    pub(crate) fn read(&self, texts: &[Text<'_>]) -> Result<Value, &'static str> {
        if self.layout == Layout::Json {
            let text = self.text(only(texts)?)?;
            return json::parse(text.as_bytes(), JSON_CAPS).map_err(json::JsonFault::word);
        }
        match self.shape {
            Shape::Scalar(kinds) => self.scalar(only(texts)?, *kinds),
            Shape::List(kinds) => self.list(texts, *kinds),
            Shape::Object { members, .. } => self.object(texts, members),
        }
    }

    fn text(&self, raw: &str) -> Result<String, &'static str> {
        match self.encoding {
            Encoding::Query => decode(raw, Plus::Space).map_err(|_| ENCODING),
            Encoding::Path => decode(raw, Plus::Itself).map_err(|_| ENCODING),
            Encoding::Plain => Ok(raw.to_owned()),
        }
    }

    fn scalar(&self, raw: &str, kinds: Kinds) -> Result<Value, &'static str> {
        let text = self.text(raw)?;
        let typed = (self.reading == Reading::Typed).then(|| typed(&text, kinds)).flatten();
        Ok(typed.unwrap_or(Value::String(text)))
    }

    fn list(&self, texts: &[Text<'_>], kinds: Kinds) -> Result<Value, &'static str> {
        let items: Vec<&str> = match self.layout {
            Layout::Repeated => texts.iter().map(whole).collect::<Result<_, _>>()?,
            _ => self.parts(only(texts)?),
        };
        items.into_iter().map(|item| self.scalar(item, kinds)).collect::<Result<_, _>>().map(Value::Array)
    }

    fn parts<'q>(&self, raw: &'q str) -> Vec<&'q str> {
        match self.layout {
            _ if raw.is_empty() => Vec::new(),
            Layout::Space => raw.split('+').flat_map(|part| part.split("%20")).collect(),
            Layout::Pipe => {
                raw.split('|').flat_map(|part| part.split("%7C")).flat_map(|part| part.split("%7c")).collect()
            }
            _ if self.encoding == Encoding::Plain => {
                raw.split(',').map(|p| p.trim_matches([' ', '\t'])).collect()
            }
            _ => raw.split(',').collect(),
        }
    }

    fn object(&self, texts: &[Text<'_>], shapes: &[(Box<str>, Shape)]) -> Result<Value, &'static str> {
        let pairs: Vec<(String, &str)> = match self.layout {
            Layout::Repeated | Layout::Deep => texts.iter().map(member).collect::<Result<_, _>>()?,
            Layout::Assigned => self
                .parts(only(texts)?)
                .into_iter()
                .map(|part| self.assigned(part))
                .collect::<Result<_, _>>()?,
            _ => {
                let parts = self.parts(only(texts)?);
                let (pairs, rest) = parts.as_chunks::<2>();
                if !rest.is_empty() {
                    return Err(ENCODING);
                }
                pairs
                    .iter()
                    .map(|[name, value]| self.text(name).map(|name| (name, *value)))
                    .collect::<Result<_, _>>()?
            }
        };
        self.members(&pairs, shapes)
    }

    fn assigned<'q>(&self, part: &'q str) -> Result<(String, &'q str), &'static str> {
        let (name, value) = part.split_once('=').ok_or(ENCODING)?;
        Ok((self.text(name)?, value))
    }

    fn members(&self, pairs: &[(String, &str)], shapes: &[(Box<str>, Shape)]) -> Result<Value, &'static str> {
        let mut out = Map::new();
        for (name, raw) in pairs {
            let shape = shapes.iter().find(|(known, _)| **known == **name).map(|(_, shape)| shape);
            match shape {
                Some(Shape::List(kinds)) => {
                    let item = self.scalar(raw, *kinds)?;
                    match out.entry(name.as_str()).or_insert_with(|| Value::Array(Vec::new())) {
                        Value::Array(items) => items.push(item),
                        _ => return Err(REPEATED),
                    }
                }
                _ => {
                    let kinds = if let Some(Shape::Scalar(kinds)) = shape { *kinds } else { Kinds::STRING };
                    if out.insert(name.clone(), self.scalar(raw, kinds)?).is_some() {
                        return Err(REPEATED);
                    }
                }
            }
        }
        Ok(Value::Object(out))
    }
}

fn whole<'q>(text: &Text<'q>) -> Result<&'q str, &'static str> {
    match text {
        Text::Whole(raw) => Ok(raw),
        Text::Member(..) => Err(ENCODING),
    }
}

fn member<'q>(text: &Text<'q>) -> Result<(String, &'q str), &'static str> {
    match text {
        Text::Member(name, raw) => Ok(((*name).to_owned(), raw)),
        Text::Whole(_) => Err(ENCODING),
    }
}

/// SECURITY: of a parameter that comes twice, two readers take two different ones (B8); it has none.
fn only<'q>(texts: &[Text<'q>]) -> Result<&'q str, &'static str> {
    match texts {
        [one] => whole(one),
        _ => Err(REPEATED),
    }
}

/// What `text` is as something else than a text, if it may be.
fn typed(text: &str, kinds: Kinds) -> Option<Value> {
    match text {
        "true" if kinds.has(Kinds::BOOLEAN) => Some(Value::Bool(true)),
        "false" if kinds.has(Kinds::BOOLEAN) => Some(Value::Bool(false)),
        _ if kinds.has(Kinds::NUMBER) => number(text),
        _ if kinds.has(Kinds::INTEGER) => {
            let digits = text.strip_prefix('-').unwrap_or(text);
            digits.bytes().all(|b| b.is_ascii_digit()).then(|| number(text)).flatten()
        }
        _ => None,
    }
}

/// A number exactly as JSON writes it (RFC 8259 §6).
fn number(text: &str) -> Option<Value> {
    let edges = [text.bytes().next()?, text.bytes().next_back()?];
    let tight = matches!(edges, [b'-' | b'0'..=b'9', b'0'..=b'9']);
    let value = tight.then(|| serde_json::from_str::<Value>(text).ok()).flatten()?;
    value.is_number().then_some(value)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::shape::Others;

    fn read(shape: &Shape, layout: Layout, texts: &[Text<'_>]) -> Result<Value, &'static str> {
        Decoder { shape, layout, encoding: Encoding::Query, reading: Reading::Typed }.read(texts)
    }

    #[test]
    fn a_text_becomes_typed_only_as_json_writes_it() {
        let (integer, number, truth) = (Kinds::INTEGER, Kinds::NUMBER, Kinds::BOOLEAN);
        let table = [
            ("5", integer, json!(5)),
            ("-5", integer, json!(-5)),
            ("18446744073709551615", integer, json!(u64::MAX)),
            ("5.0", integer, json!("5.0")),
            ("5e0", integer, json!("5e0")),
            ("5.5", number, json!(5.5)),
            ("1e3", number, json!(1000.0)),
            ("1e999", number, json!("1e999")),
            ("%205", number, json!(" 5")),
            ("5+", number, json!("5 ")),
            ("%2B5", integer, json!("+5")),
            ("05", integer, json!("05")),
            ("0x5", number, json!("0x5")),
            ("", integer, json!("")),
            ("-", integer, json!("-")),
            ("%D9%A5", integer, json!("٥")),
            ("true", truth, json!(true)),
            ("True", truth, json!("True")),
            ("1", truth, json!("1")),
            ("NaN", number, json!("NaN")),
            ("5", Kinds::STRING, json!("5")),
            ("true", Kinds::default(), json!("true")),
        ];
        for (text, kinds, want) in table {
            let got = read(&Shape::Scalar(kinds), Layout::Comma, &[Text::Whole(text)]);
            assert_eq!(got, Ok(want), "{text:?} as {kinds:?}");
        }
    }

    #[test]
    fn lists_have_delimiters_that_count_before_decoding() {
        let list = Shape::List(Kinds::INTEGER);
        let table = [
            (Layout::Comma, vec!["1,2"], Ok(json!([1, 2]))),
            (Layout::Comma, vec!["1%2C2"], Ok(json!(["1,2"]))),
            (Layout::Comma, vec![""], Ok(json!([]))),
            (Layout::Comma, vec!["1,,2"], Ok(json!([1, "", 2]))),
            (Layout::Comma, vec!["1", "2"], Err("repeated")),
            (Layout::Space, vec!["1%202+3"], Ok(json!([1, 2, 3]))),
            (Layout::Pipe, vec!["1|2%7C3%7c4"], Ok(json!([1, 2, 3, 4]))),
            (Layout::Repeated, vec!["1", "2,3"], Ok(json!([1, "2,3"]))),
            (Layout::Comma, vec!["1,%zz"], Err("encoding")),
        ];
        for (layout, texts, want) in table {
            let texts: Vec<_> = texts.into_iter().map(Text::Whole).collect();
            assert_eq!(read(&list, layout, &texts), want, "{layout:?} {texts:?}");
        }
    }

    #[test]
    fn objects_have_three_layouts_in_one_text_and_two_in_many() {
        let members =
            vec![("n".into(), Shape::Scalar(Kinds::INTEGER)), ("l".into(), Shape::List(Kinds::STRING))];
        let object = Shape::Object { members, others: Others::Admitted };
        let one = |layout, text| read(&object, layout, &[Text::Whole(text)]);
        assert_eq!(one(Layout::Comma, "n,1,s,a%2C"), Ok(json!({"n": 1, "s": "a,"})));
        assert_eq!(one(Layout::Comma, "n,1,s"), Err("encoding"));
        assert_eq!(one(Layout::Comma, "n,1,n,1"), Err("repeated"));
        assert_eq!(one(Layout::Assigned, "n=1,s=a=b"), Ok(json!({"n": 1, "s": "a=b"})));
        assert_eq!(one(Layout::Assigned, "n=1,s"), Err("encoding"));
        let many = [Text::Member("n", "1"), Text::Member("l", "a"), Text::Member("l", "b")];
        assert_eq!(read(&object, Layout::Deep, &many), Ok(json!({"n": 1, "l": ["a", "b"]})));
        let twice = [Text::Member("n", "1"), Text::Member("n", "2")];
        assert_eq!(read(&object, Layout::Repeated, &twice), Err("repeated"));
    }

    #[test]
    fn b8_a_scalar_that_comes_twice_has_no_value() {
        let twice = [Text::Whole("1"), Text::Whole("1")];
        assert_eq!(read(&Shape::Scalar(Kinds::STRING), Layout::Repeated, &twice), Err("repeated"));
        assert_eq!(read(&Shape::Scalar(Kinds::STRING), Layout::Json, &twice), Err("repeated"));
    }

    proptest! {
        #[test]
        fn an_integer_reads_back(n: i64) {
            let text = n.to_string();
            let got = read(&Shape::Scalar(Kinds::INTEGER), Layout::Comma, &[Text::Whole(&text)]);
            prop_assert_eq!(got, Ok(json!(n)));
        }

        #[test]
        fn no_text_makes_a_layout_panic(text in "\\PC{0,40}", member in "\\PC{0,10}") {
            let shapes = [
                Shape::Scalar(Kinds::NUMBER), Shape::List(Kinds::BOOLEAN),
                Shape::Object { members: vec![("a".into(), Shape::List(Kinds::INTEGER))], others: Others::Refused },
            ];
            let layouts = [
                Layout::Comma, Layout::Assigned, Layout::Space, Layout::Pipe, Layout::Repeated, Layout::Deep,
                Layout::Json,
            ];
            for shape in &shapes {
                for layout in layouts {
                    let _ = read(shape, layout, &[Text::Whole(&text)]);
                    let _ = read(shape, layout, &[Text::Member(&member, &text)]);
                }
            }
        }
    }
}
