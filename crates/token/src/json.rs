//! JSON read with one meaning: what two parsers could read differently is refused.
//!
//! INVARIANT: an object with two members of the same name never becomes a value (C2, RFC 8725 §2.4, RFC 7515 §4).
//! INVARIANT: a number is whole and in range, or it is [`Json::Other`], which no claim accepts; nothing is rounded.
//! INVARIANT: depth and member count are bounded before memory is taken for them (E9, E13).
//!
//! The lexical work is serde_json's; the tree and its rules are ours, since `serde_json::Value` keeps the last of two
//! equal members and turns large numbers into floats.

use std::cell::Cell;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};

/// How deep objects and arrays may nest; Keycloak's `resource_access` needs three.
const DEEPEST: u8 = 10;
/// How many members or items one object or array may have.
const MOST: usize = 256;

/// Why bytes are not JSON that has exactly one meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JsonFault {
    /// Not UTF-8, or not JSON.
    #[error("not JSON in UTF-8")]
    Syntax,
    /// Two members of one object have the same name.
    #[error("two members of an object have the same name")]
    Duplicate,
    /// Nested too deep.
    #[error("nested deeper than {DEEPEST} levels")]
    Deep,
    /// Too many members or items.
    #[error("more than {MOST} members or items in one place")]
    Many,
    /// JSON, but not an object.
    #[error("not a JSON object")]
    NotObject,
}

/// A JSON value.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Json {
    Null,
    Flag(bool),
    Whole(i64),
    /// A fraction, an exponent, or a number that does not fit.
    Other,
    Text(String),
    List(Vec<Json>),
    Object(Members),
}

/// The members of an object, each name once.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Members(Vec<(String, Json)>);

impl Members {
    /// Reads one object and nothing after it.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, JsonFault> {
        let fault = Cell::new(JsonFault::Syntax);
        let text = std::str::from_utf8(bytes).map_err(|_| JsonFault::Syntax)?;
        let mut from = serde_json::Deserializer::from_str(text);
        let seed = Node { depth: 0, fault: &fault };
        let value = seed.deserialize(&mut from).map_err(|_| fault.get())?;
        from.end().map_err(|_| JsonFault::Syntax)?;
        match value {
            Json::Object(members) => Ok(members),
            _ => Err(JsonFault::NotObject),
        }
    }

    /// The value of the member `name`, `null` included.
    pub(crate) fn find(&self, name: &str) -> Option<&Json> {
        self.0.iter().find_map(|(key, value)| (key == name).then_some(value))
    }

    /// How many members there are.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// The first of `names` that is a member.
    pub(crate) fn first_of<'n>(&self, names: &[&'n str]) -> Option<&'n str> {
        names.iter().copied().find(|name| self.find(name).is_some())
    }
}

/// Builds one value at a known depth, noting why it stopped.
#[derive(Clone, Copy)]
struct Node<'f> {
    depth: u8,
    fault: &'f Cell<JsonFault>,
}

impl Node<'_> {
    fn stop<E: serde::de::Error>(self, fault: JsonFault) -> E {
        self.fault.set(fault);
        E::custom(fault)
    }

    fn deeper<E: serde::de::Error>(self) -> Result<Self, E> {
        let depth = self.depth.saturating_add(1);
        if depth > DEEPEST { Err(self.stop(JsonFault::Deep)) } else { Ok(Self { depth, ..self }) }
    }
}

impl<'de> DeserializeSeed<'de> for Node<'_> {
    type Value = Json;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Json, D::Error> {
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Node<'_> {
    type Value = Json;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Json, E> {
        Ok(Json::Null)
    }

    fn visit_bool<E>(self, flag: bool) -> Result<Json, E> {
        Ok(Json::Flag(flag))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Json, E> {
        Ok(Json::Whole(number))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Json, E> {
        Ok(i64::try_from(number).map_or(Json::Other, Json::Whole))
    }

    fn visit_f64<E>(self, _: f64) -> Result<Json, E> {
        Ok(Json::Other)
    }

    fn visit_str<E>(self, text: &str) -> Result<Json, E> {
        Ok(Json::Text(text.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Json, A::Error> {
        let inner = self.deeper()?;
        let mut list = Vec::new();
        while let Some(item) = items.next_element_seed(inner)? {
            if list.len() == MOST {
                return Err(self.stop(JsonFault::Many));
            }
            list.push(item);
        }
        Ok(Json::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Json, A::Error> {
        let inner = self.deeper()?;
        let mut members = Members::default();
        while let Some(name) = entries.next_key::<String>()? {
            if members.0.len() == MOST {
                return Err(self.stop(JsonFault::Many));
            }
            if members.find(&name).is_some() {
                return Err(self.stop(JsonFault::Duplicate));
            }
            let value = entries.next_value_seed(inner)?;
            members.0.push((name, value));
        }
        Ok(Json::Object(members))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn c2_what_has_two_readings_is_refused() {
        let deep = format!("{}1{}", "{\"a\":".repeat(11), "}".repeat(11));
        let many = format!("{{\"a\":[{}1]}}", "1,".repeat(MOST));
        let table: [(&[u8], JsonFault); 12] = [
            (br#"{"a":1,"a":1}"#, JsonFault::Duplicate),
            (br#"{"a":1,"\u0061":2}"#, JsonFault::Duplicate),
            (br#"{"x":{"a":1,"a":2}}"#, JsonFault::Duplicate),
            (deep.as_bytes(), JsonFault::Deep),
            (many.as_bytes(), JsonFault::Many),
            (b"[]", JsonFault::NotObject),
            (b"null", JsonFault::NotObject),
            (b"", JsonFault::Syntax),
            (b"{} {}", JsonFault::Syntax),
            (b"\xef\xbb\xbf{}", JsonFault::Syntax),
            (b"{\"a\":\"\xff\"}", JsonFault::Syntax),
            (br#"{"a":"\ud800"}"#, JsonFault::Syntax),
        ];
        for (given, want) in table {
            assert_eq!(Members::parse(given), Err(want), "{:?}", String::from_utf8_lossy(given));
        }
    }

    #[test]
    fn c2_a_number_is_whole_and_in_range_or_it_is_nothing() {
        let table = [
            ("0", Json::Whole(0)),
            ("-1", Json::Whole(-1)),
            ("9223372036854775807", Json::Whole(i64::MAX)),
            ("9223372036854775808", Json::Other),
            ("1.0", Json::Other),
            ("1e3", Json::Other),
            ("-0", Json::Other),
            ("123456789012345678901234567890", Json::Other),
        ];
        for (given, want) in table {
            let members = Members::parse(format!("{{\"n\":{given}}}").as_bytes()).expect("JSON");
            assert_eq!(members.find("n"), Some(&want), "{given}");
        }
        for bad in ["1e999", "01", "+1", "NaN", "Infinity", "0x1", "1_0", ".5"] {
            assert_eq!(
                Members::parse(format!("{{\"n\":{bad}}}").as_bytes()),
                Err(JsonFault::Syntax),
                "{bad}"
            );
        }
    }

    proptest! {
        #[test]
        fn e13_no_bytes_make_the_reader_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Members::parse(&bytes);
        }
    }
}
