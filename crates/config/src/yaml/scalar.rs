//! Single values: words, texts, numbers, and everything that has a parser of its own.

use schemars::{Schema, SchemaGenerator, json_schema};

use super::section::{Read, wrong};
use super::site::{Report, Site};
use super::tree::{Node, Value};

/// The text of a scalar, whatever it looks like.
pub(crate) fn any_text<'n>(
    node: &'n Node,
    site: &Site,
    expected: &str,
    report: &mut Report,
) -> Option<&'n str> {
    match &node.value {
        Value::Plain(text) | Value::Quoted(text) => Some(text),
        other => {
            wrong(other, site, expected, report);
            None
        }
    }
}

/// A text for people or for comparison: 1 to 500 printable characters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Text(pub(crate) String);

impl Read for Text {
    fn read(node: &Node, site: &Site, report: &mut Report) -> Option<Self> {
        const EXPECTED: &str = "a text of 1 to 500 printable characters";
        // `owner: 123` is a number to every other reader of YAML, so it must be quoted to be a text.
        if let Value::Plain(text) = &node.value
            && reads_as_other(text)
        {
            wrong(&node.value, site, "a text: put it in quotes", report);
            return None;
        }
        let text = any_text(node, site, EXPECTED, report)?;
        let good = (1..=500).contains(&text.chars().count()) && !text.chars().any(char::is_control);
        if !good {
            wrong(&node.value, site, EXPECTED, report);
        }
        good.then(|| Self(text.to_owned()))
    }

    fn schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "minLength": 1, "maxLength": 500 })
    }
}

/// Whether YAML 1.2's core schema gives a plain text another type.
fn reads_as_other(text: &str) -> bool {
    text.parse::<f64>().is_ok() || matches!(text, "true" | "false" | "True" | "False" | "TRUE" | "FALSE")
}

/// A number of things: 1 to 100,000,000.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Count(pub(crate) u32);

impl Count {
    const MOST: u32 = 100_000_000;
}

impl Read for Count {
    fn read(node: &Node, site: &Site, report: &mut Report) -> Option<Self> {
        let number = number(node).filter(|n| (1..=Self::MOST).contains(n));
        if number.is_none() {
            wrong(&node.value, site, "a whole number from 1 to 100000000", report);
        }
        number.map(Self)
    }

    fn schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "integer", "minimum": 1, "maximum": Self::MOST })
    }
}

impl Read for u32 {
    fn read(node: &Node, site: &Site, report: &mut Report) -> Option<Self> {
        let number = number(node);
        if number.is_none() {
            wrong(&node.value, site, "a whole number from 0 to 4294967295", report);
        }
        number
    }

    fn schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "integer", "minimum": 0, "maximum": Self::MAX })
    }
}

/// Digits without quotes, sign or leading zero.
fn number(node: &Node) -> Option<u32> {
    let Value::Plain(text) = &node.value else { return None };
    let canonical = text == "0" || (!text.starts_with('0') && text.bytes().all(|b| b.is_ascii_digit()));
    text.parse().ok().filter(|_| canonical)
}

/// Reads types that have a parser: `Type, parse, what is expected, { schema }`.
macro_rules! read_parsed {
    ($($ty:ty, $parse:expr, $expected:expr, $schema:tt;)*) => {$(
        impl $crate::yaml::Read for $ty {
            fn read(
                node: &$crate::yaml::tree::Node,
                site: &$crate::yaml::Site,
                report: &mut $crate::yaml::Report,
            ) -> Option<Self> {
                let text = $crate::yaml::scalar::any_text(node, site, $expected, report)?;
                let parsed = ($parse)(text);
                if parsed.is_none() {
                    $crate::yaml::section::wrong(&node.value, site, $expected, report);
                }
                parsed
            }

            fn schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                schemars::json_schema!($schema)
            }
        }
    )*};
}

/// Reads one of a few words: `Type { "word" => value, … }`.
macro_rules! read_words {
    ($($ty:ty { $($word:literal => $value:expr,)* })*) => {$(
        impl $crate::yaml::Read for $ty {
            fn read(
                node: &$crate::yaml::tree::Node,
                site: &$crate::yaml::Site,
                report: &mut $crate::yaml::Report,
            ) -> Option<Self> {
                const WORDS: &[&str] = &[$($word),*];
                let expected = $crate::yaml::scalar::one_of(WORDS);
                let text = $crate::yaml::scalar::any_text(node, site, &expected, report)?;
                let value = match text {
                    $($word => Some($value),)*
                    _ => None,
                };
                if value.is_none() {
                    $crate::yaml::section::wrong(&node.value, site, &expected, report);
                }
                value
            }

            fn schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                schemars::json_schema!({ "type": "string", "enum": [$($word),*] })
            }
        }
    )*};
}

/// Names what may be written.
pub(crate) fn one_of(words: &[&str]) -> String {
    words.iter().map(|w| format!("`{w}`")).collect::<Vec<_>>().join(" or ")
}

pub(crate) use {read_parsed, read_words};
