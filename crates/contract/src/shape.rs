//! What a text can be read as, by the schema it is for.
//!
//! A parameter and a form are texts; a schema speaks of numbers, lists and objects. The shape of a schema says how to get from the
//! one to the other; whether the result fits is for the schema to say.
//!
//! INVARIANT: shapes are two levels deep at most: a list or an object of scalars, or an object of lists.

use serde_json::Value;

use crate::document::Document;

/// Which types a scalar may have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Kinds(u8);

impl Kinds {
    pub(crate) const STRING: Self = Self(1);
    pub(crate) const INTEGER: Self = Self(2);
    pub(crate) const NUMBER: Self = Self(4);
    pub(crate) const BOOLEAN: Self = Self(8);
    const ARRAY: Self = Self(16);
    const OBJECT: Self = Self(32);

    pub(crate) fn has(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    fn of_word(word: &str) -> Self {
        match word {
            "string" => Self::STRING,
            "integer" => Self::INTEGER,
            "number" => Self::NUMBER,
            "boolean" => Self::BOOLEAN,
            "array" => Self::ARRAY,
            "object" => Self::OBJECT,
            _ => Self::default(),
        }
    }
}

/// What a text is read as.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    Scalar(Kinds),
    List(Kinds),
    Object { members: Vec<(Box<str>, Shape)>, others: Others },
}

/// Whether an object may have members that its schema does not name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Others {
    Admitted,
    Refused,
}

impl Shape {
    /// Whether a text could be read in two ways, as something typed or as itself.
    pub(crate) fn is_mixed(&self) -> bool {
        let typed = Kinds::INTEGER.and(Kinds::NUMBER).and(Kinds::BOOLEAN);
        match self {
            Self::Scalar(kinds) | Self::List(kinds) => kinds.has(Kinds::STRING) && kinds.has(typed),
            Self::Object { members, .. } => members.iter().any(|(_, shape)| shape.is_mixed()),
        }
    }

    /// The shape of a schema of `document`.
    pub(crate) fn of(schema: &Value, document: &Document) -> Self {
        let reader = Reader { document };
        let kinds = reader.kinds(schema, 0);
        match () {
            () if kinds.has(Kinds::ARRAY) => Self::List(reader.items(schema)),
            () if kinds.has(Kinds::OBJECT) => reader.object(schema),
            () => Self::Scalar(kinds),
        }
    }
}

struct Reader<'d> {
    document: &'d Document,
}

/// Schemas of parameters are flat; what is deeper is not looked at.
const DEEPEST: usize = 8;
/// Branches of one schema that are looked at.
const WIDEST: usize = 64;

impl<'d> Reader<'d> {
    fn target(&self, schema: &'d Value) -> &'d Value {
        self.document.follow(schema, "").map_or(&Value::Null, |(target, _)| target)
    }

    fn branches(schema: &'d Value) -> impl Iterator<Item = &'d Value> {
        let lists = ["allOf", "anyOf", "oneOf"].into_iter().filter_map(|word| schema.get(word)?.as_array());
        lists.flatten().take(WIDEST)
    }

    fn kinds(&self, schema: &'d Value, depth: usize) -> Kinds {
        let schema = self.target(schema);
        let own = match schema.get("type") {
            Some(Value::String(word)) => Kinds::of_word(word),
            Some(Value::Array(words)) => {
                words.iter().filter_map(Value::as_str).map(Kinds::of_word).fold(Kinds::default(), Kinds::and)
            }
            _ if schema.get("properties").is_some() => Kinds::OBJECT,
            _ => Kinds::default(),
        };
        if own != Kinds::default() || depth >= DEEPEST {
            return own;
        }
        let of_branches = Self::branches(schema).map(|branch| self.kinds(branch, depth + 1));
        let of_branches = of_branches.fold(Kinds::default(), Kinds::and);
        let of_values = schema.get("enum").and_then(Value::as_array).into_iter().flatten();
        of_values.chain(schema.get("const")).map(kind_of).fold(of_branches, Kinds::and)
    }

    /// The kinds of the items of a list, wherever in the schema they are written.
    fn items(&self, schema: &'d Value) -> Kinds {
        let schema = self.target(schema);
        let here = schema.get("items").map(|items| self.kinds(items, 0));
        let below = || {
            let mut all = Self::branches(schema).filter_map(|branch| self.target(branch).get("items"));
            all.next().map(|items| self.kinds(items, 0))
        };
        here.or_else(below).unwrap_or(Kinds::STRING)
    }

    fn object(&self, schema: &'d Value) -> Shape {
        let schema = self.target(schema);
        let mut members: Vec<(Box<str>, Shape)> = Vec::new();
        let parts = std::iter::once(schema).chain(Self::branches(schema).map(|branch| self.target(branch)));
        let mut others = Others::Admitted;
        for part in parts {
            if part.get("additionalProperties") == Some(&Value::Bool(false)) {
                others = Others::Refused;
            }
            for (name, member) in part.get("properties").and_then(Value::as_object).into_iter().flatten() {
                if members.iter().all(|(known, _)| **known != **name) {
                    members.push((name.as_str().into(), self.member(member)));
                }
            }
        }
        Shape::Object { members, others }
    }

    fn member(&self, schema: &'d Value) -> Shape {
        let kinds = self.kinds(schema, 0);
        if kinds.has(Kinds::ARRAY) { Shape::List(self.items(schema)) } else { Shape::Scalar(kinds) }
    }
}

fn kind_of(value: &Value) -> Kinds {
    match value {
        Value::String(_) => Kinds::STRING,
        Value::Number(_) => Kinds::NUMBER,
        Value::Bool(_) => Kinds::BOOLEAN,
        _ => Kinds::default(),
    }
}
