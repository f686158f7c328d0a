//! JSON with one reading.
//!
//! INVARIANT: no object of an accepted text has two members of one name: parsers disagree which one counts.
//! INVARIANT: depth and number of values are bounded before anything is built beyond them (threat E9).
//!
//! Sources: RFC 8259 §4 (names should be unique), §9 (limits).

use std::fmt;

use serde::de::{DeserializeSeed, Error, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Number, Value};

/// How much may be built.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Caps {
    pub(crate) depth: usize,
    pub(crate) values: usize,
}

/// Why a text was not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum JsonFault {
    Syntax { line: usize, column: usize },
    TooDeep,
    TooMany,
    Duplicate,
}

impl JsonFault {
    /// The word for a finding.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Syntax { .. } => "syntax",
            Self::TooDeep => "depth",
            Self::TooMany => "too-many-values",
            Self::Duplicate => "duplicate-member",
        }
    }
}

/// Reads one value and nothing after it.
pub(crate) fn parse(bytes: &[u8], caps: Caps) -> Result<Value, JsonFault> {
    let mut state = State { left: caps.values, fault: None };
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let seed = Strict { state: &mut state, depth: caps.depth };
    let value = seed.deserialize(&mut reader).and_then(|value| reader.end().map(|()| value));
    value.map_err(|error| match state.fault {
        Some(fault) => fault,
        None => JsonFault::Syntax { line: error.line(), column: error.column() },
    })
}

struct State {
    left: usize,
    fault: Option<JsonFault>,
}

struct Strict<'s> {
    state: &'s mut State,
    /// Levels that are left.
    depth: usize,
}

impl Strict<'_> {
    fn stop<E: Error>(&mut self, fault: JsonFault) -> E {
        self.state.fault = Some(fault);
        E::custom(fault.word())
    }

    /// The reader of what is one level below.
    fn below<E: Error>(&mut self) -> Result<Strict<'_>, E> {
        match self.depth.checked_sub(1) {
            Some(depth) => Ok(Strict { state: self.state, depth }),
            None => Err(self.stop(JsonFault::TooDeep)),
        }
    }
}

impl<'de> DeserializeSeed<'de> for Strict<'_> {
    type Value = Value;
    fn deserialize<D: Deserializer<'de>>(mut self, from: D) -> Result<Value, D::Error> {
        match self.state.left.checked_sub(1) {
            Some(left) => self.state.left = left,
            None => return Err(self.stop(JsonFault::TooMany)),
        }
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict<'_> {
    type Value = Value;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }
    fn visit_bool<E>(self, v: bool) -> Result<Value, E> {
        Ok(Value::Bool(v))
    }
    fn visit_i64<E>(self, v: i64) -> Result<Value, E> {
        Ok(Value::Number(v.into()))
    }
    fn visit_u64<E>(self, v: u64) -> Result<Value, E> {
        Ok(Value::Number(v.into()))
    }
    fn visit_f64<E: Error>(self, v: f64) -> Result<Value, E> {
        Number::from_f64(v).map(Value::Number).ok_or_else(|| E::custom("not a number"))
    }
    fn visit_str<E>(self, v: &str) -> Result<Value, E> {
        Ok(Value::String(v.to_owned()))
    }
    fn visit_string<E>(self, v: String) -> Result<Value, E> {
        Ok(Value::String(v))
    }
    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }
    fn visit_seq<A: SeqAccess<'de>>(mut self, mut from: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        let below = self.below()?;
        while let Some(item) = from.next_element_seed(Strict { state: below.state, depth: below.depth })? {
            items.push(item);
        }
        Ok(Value::Array(items))
    }
    fn visit_map<A: MapAccess<'de>>(mut self, mut from: A) -> Result<Value, A::Error> {
        let mut members = Map::new();
        let mut below = self.below()?;
        while let Some(Key(name)) = from.next_key()? {
            if members.contains_key(&name) {
                return Err(below.stop(JsonFault::Duplicate));
            }
            let value = from.next_value_seed(Strict { state: below.state, depth: below.depth })?;
            members.insert(name, value);
        }
        Ok(Value::Object(members))
    }
}

/// A member name; a number that a YAML author left unquoted is one too.
#[derive(Deserialize)]
#[serde(transparent)]
struct Key(String);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const CAPS: Caps = Caps { depth: 8, values: 100 };

    fn fault(text: &str) -> Option<JsonFault> {
        parse(text.as_bytes(), CAPS).err()
    }

    #[test]
    fn e9_nested_and_numerous_values_stop_at_the_cap() {
        assert_eq!(fault(&format!("{}1{}", "[".repeat(8), "]".repeat(8))), None);
        for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
            let bomb = format!("{}1{}", open.repeat(9), close.repeat(9));
            assert_eq!(fault(&bomb), Some(JsonFault::TooDeep));
            let endless = open.repeat(1_000_000);
            assert_eq!(fault(&endless), Some(JsonFault::TooDeep));
        }
        assert_eq!(fault(&format!("[{}1]", "1,".repeat(98))), None);
        assert_eq!(fault(&format!("[{}1]", "1,".repeat(99))), Some(JsonFault::TooMany));
    }

    #[test]
    fn a_member_that_comes_twice_is_refused_however_it_is_spelled() {
        for text in [r#"{"a":1,"a":1}"#, r#"{"a":1,"\u0061":2}"#, r#"[{"b":{"a":1,"c":2,"a":3}}]"#] {
            assert_eq!(fault(text), Some(JsonFault::Duplicate), "{text}");
        }
        assert_eq!(fault(r#"{"a":{"a":1},"A":1}"#), None);
    }

    #[test]
    fn what_is_no_json_is_refused() {
        for text in [
            "",
            " ",
            "{",
            "{}x",
            "[1,]",
            "{a:1}",
            "NaN",
            "1e999",
            "+1",
            "01",
            "'a'",
            "\u{feff}1",
            "\"\\ud800\"",
        ] {
            assert!(matches!(fault(text), Some(JsonFault::Syntax { .. })), "{text:?}");
        }
        assert!(parse(b"\"\xff\"", CAPS).is_err());
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            if let Ok(value) = parse(&bytes, CAPS) {
                prop_assert_eq!(serde_json::from_slice::<Value>(&bytes).ok(), Some(value));
            }
        }
    }
}
