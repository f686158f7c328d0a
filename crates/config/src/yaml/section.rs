//! A section declares its keys once: name, type, rule, documentation. Reading and the schema follow from that.
//!
//! INVARIANT: an unknown or doubled key is a problem, and a problem in one key never hides one in another.

use schemars::{Schema, SchemaGenerator};
use serde_json::{Map, Value as Json, json};

use super::hint::nearest;
use super::site::{Advice, At, Report, Site, quote};
use super::tree::{Entry, Node, Value};

/// Something that can be read from a tree and described in a schema.
pub(crate) trait Read: Sized {
    /// Reads `node`. `None` after a problem was reported.
    fn read(node: &Node, site: &Site, report: &mut Report) -> Option<Self>;

    /// What may be written.
    fn schema(generator: &mut SchemaGenerator) -> Schema;
}

/// What was found under a key.
#[derive(Clone, Debug)]
pub(crate) enum Slot<T> {
    /// Nothing; the site says where it would stand.
    Absent(Site),
    /// Something that was reported.
    Broken,
    /// A value, perhaps the documented default.
    Given(At<T>),
}

impl<T> Slot<T> {
    pub(crate) fn get(&self) -> Option<&At<T>> {
        match self {
            Self::Given(value) => Some(value),
            Self::Absent(_) | Self::Broken => None,
        }
    }

    /// Whether something is written that was reported.
    pub(crate) fn is_broken(&self) -> bool {
        matches!(self, Self::Broken)
    }

    /// Where the key would stand, if it is not written at all.
    pub(crate) fn absent(&self) -> Option<&Site> {
        match self {
            Self::Absent(site) => Some(site),
            Self::Broken | Self::Given(_) => None,
        }
    }
}

impl<T: Clone> Slot<T> {
    /// The bare value.
    pub(crate) fn value(&self) -> Option<T> {
        self.get().map(|at| at.value.clone())
    }
}

/// What a key must be.
#[derive(Clone, Copy)]
pub(crate) enum Rule {
    /// May be left out, which means what its documentation says.
    Optional,
    /// No default is safe.
    Required,
    /// No default is safe, and a clause asks for it.
    Clause(&'static str),
    /// Left out, it reads as this text.
    Default(&'static str),
    /// Left out, it reads as a section without keys.
    Empty,
}

/// One key of a section, for the schema.
pub(crate) struct KeyShape {
    pub(crate) name: &'static str,
    pub(crate) doc: &'static str,
    pub(crate) rule: Rule,
    pub(crate) schema: Schema,
}

/// The keys of a map while a section takes its own.
pub(crate) struct Keys<'n> {
    entries: &'n [Entry],
    site: &'n Site,
}

impl<'n> Keys<'n> {
    /// The keys of `node`; one that is left empty has none.
    pub(crate) fn open(node: &'n Node, site: &'n Site, report: &mut Report) -> Option<Self> {
        match &node.value {
            Value::Map(entries) => Some(Self { entries, site }),
            Value::Null => Some(Self { entries: &[], site }),
            other => {
                wrong(other, site, "a section with keys", report);
                None
            }
        }
    }

    /// Takes one key by its rule.
    pub(crate) fn take<T: Read>(&self, name: &str, rule: Rule, report: &mut Report) -> Slot<T> {
        match self.entries.iter().find(|e| e.key == name) {
            Some(entry) if !matches!(entry.value.value, Value::Null) || matches!(rule, Rule::Empty) => {
                let site = self.site.child(name, entry.value.mark);
                read_slot(&entry.value, site, report)
            }
            Some(_) | None => self.left_out(name, rule, report),
        }
    }

    fn left_out<T: Read>(&self, name: &str, rule: Rule, report: &mut Report) -> Slot<T> {
        let site = self.site.missing(name);
        let mark = super::site::Mark { line: site.line(), column: site.location().column };
        match rule {
            Rule::Optional => Slot::Absent(site),
            Rule::Default(text) => {
                read_slot(&Node { mark, value: Value::Plain(text.to_owned()) }, site, report)
            }
            Rule::Empty => read_slot(&Node { mark, value: Value::Map(Vec::new()) }, site, report),
            Rule::Required => {
                report.say(&site, "is missing and has no safe default");
                Slot::Absent(site)
            }
            Rule::Clause(clause) => {
                report.advise(&site, "is missing and has no safe default", Advice::breaks(clause));
                Slot::Absent(site)
            }
        }
    }

    /// Reports keys that are unknown or written twice.
    pub(crate) fn close(self, known: &[&'static str], report: &mut Report) {
        for (index, entry) in self.entries.iter().enumerate() {
            let site = self.site.child(&entry.key, entry.mark);
            let earlier = self.entries.iter().take(index).find(|e| e.key == entry.key);
            if let Some(first) = earlier {
                report.say(&site, format!("is written twice, first at line {}", first.mark.line));
            } else if !known.contains(&entry.key.as_str()) {
                report.advise(&site, "is not a key here", Advice::hint(did_you_mean(&entry.key, known)));
            }
        }
    }
}

fn read_slot<T: Read>(node: &Node, site: Site, report: &mut Report) -> Slot<T> {
    match T::read(node, &site, report) {
        Some(value) => Slot::Given(At { value, site }),
        None => Slot::Broken,
    }
}

/// The nearest known word, or all of them.
pub(crate) fn did_you_mean(found: &str, known: &[&str]) -> String {
    match nearest(found, known.iter().copied()) {
        Some(word) => format!("did you mean `{word}`?"),
        None => {
            format!("known here: {}", known.iter().map(|k| format!("`{k}`")).collect::<Vec<_>>().join(", "))
        }
    }
}

/// Reports a value of the wrong kind; what was refused while the tree was built is not reported twice.
pub(crate) fn wrong(found: &Value, site: &Site, expected: &str, report: &mut Report) {
    let found = match found {
        Value::Refused => return,
        Value::Null => "nothing".to_owned(),
        Value::Plain(text) | Value::Quoted(text) => quote(text),
        Value::List(_) => "a list".to_owned(),
        Value::Map(_) => "a section with keys".to_owned(),
    };
    report.say(site, format!("found {found}, expected {expected}"));
}

/// The schema of a section.
pub(crate) fn object(doc: &str, keys: Vec<KeyShape>) -> Schema {
    let required: Vec<Json> = keys
        .iter()
        .filter(|k| matches!(k.rule, Rule::Required | Rule::Clause(_)))
        .map(|k| json!(k.name))
        .collect();
    let properties: Map<String, Json> = keys.into_iter().map(|k| (k.name.to_owned(), property(k))).collect();
    let mut schema = Map::new();
    schema.insert("description".into(), json!(doc.trim()));
    schema.insert("type".into(), json!("object"));
    schema.insert("properties".into(), Json::Object(properties));
    if !required.is_empty() {
        schema.insert("required".into(), Json::Array(required));
    }
    schema.insert("additionalProperties".into(), json!(false));
    schema.into()
}

fn property(key: KeyShape) -> Json {
    let mut schema = key.schema;
    if !key.doc.is_empty() {
        schema.insert("description".into(), json!(key.doc.trim()));
    }
    if let Rule::Default(text) = key.rule {
        let number = schema.get("type") == Some(&json!("integer"));
        let value = text.parse::<u64>().ok().filter(|_| number).map_or(json!(text), |n| json!(n));
        schema.insert("default".into(), value);
    }
    schema.to_value()
}

/// Declares a section: `key: Type [rule],` with documentation; the rule is empty, `required`,
/// `required "CLAUSE"`, `= "default"` or `section`.
macro_rules! section {
    (
        $(#[doc = $doc:literal])*
        $name:ident {
            $($(#[doc = $key_doc:literal])* $key:ident: $ty:ty [$($rule:tt)*],)*
        }
    ) => {
        $(#[doc = $doc])*
        #[derive(Clone, Debug)]
        pub(crate) struct $name {
            $($(#[doc = $key_doc])* pub(crate) $key: $crate::yaml::Slot<$ty>,)*
        }

        impl schemars::JsonSchema for $name {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
                $crate::yaml::section::object(concat!($($doc,)*), vec![
                    $($crate::yaml::section::KeyShape {
                        name: stringify!($key),
                        doc: concat!($($key_doc,)*),
                        rule: $crate::yaml::section::rule!($($rule)*),
                        schema: <$ty as $crate::yaml::Read>::schema(generator),
                    },)*
                ])
            }
        }

        impl $crate::yaml::Read for $name {
            fn read(
                node: &$crate::yaml::tree::Node,
                site: &$crate::yaml::Site,
                report: &mut $crate::yaml::Report,
            ) -> Option<Self> {
                let keys = $crate::yaml::section::Keys::open(node, site, report)?;
                let read = Self {
                    $($key: keys.take(stringify!($key), $crate::yaml::section::rule!($($rule)*), report),)*
                };
                keys.close(&[$(stringify!($key)),*], report);
                Some(read)
            }

            fn schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
                generator.subschema_for::<Self>()
            }
        }
    };
}

/// The rule that the words in brackets stand for.
macro_rules! rule {
    () => {
        $crate::yaml::section::Rule::Optional
    };
    (required) => {
        $crate::yaml::section::Rule::Required
    };
    (required $clause:literal) => {
        $crate::yaml::section::Rule::Clause($clause)
    };
    (= $text:literal) => {
        $crate::yaml::section::Rule::Default($text)
    };
    (section) => {
        $crate::yaml::section::Rule::Empty
    };
}

pub(crate) use {rule, section};
