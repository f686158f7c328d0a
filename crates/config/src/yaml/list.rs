//! Lists and tables of things that are read one by one.

use schemars::{Schema, SchemaGenerator, json_schema};

use super::section::{Read, wrong};
use super::site::{At, Report, Site};
use super::tree::{Node, Value};
use portcullis_core::Name;

/// A list. An item that is broken is reported and left out.
impl<T: Read> Read for Vec<At<T>> {
    fn read(node: &Node, site: &Site, report: &mut Report) -> Option<Self> {
        let Value::List(items) = &node.value else {
            wrong(&node.value, site, "a list", report);
            return None;
        };
        let read = |(index, item): (usize, &Node)| {
            let site = item_site(site, index, item);
            T::read(item, &site, report).map(|value| At { value, site })
        };
        Some(items.iter().enumerate().filter_map(read).collect())
    }

    fn schema(generator: &mut SchemaGenerator) -> Schema {
        let items = T::schema(generator);
        json_schema!({ "type": "array", "items": items })
    }
}

/// An item that has a name is called by it: `services.orders`.
fn item_site(list: &Site, index: usize, item: &Node) -> Site {
    let named = match &item.value {
        Value::Map(entries) => entries.iter().find(|e| e.key == "name"),
        _ => None,
    };
    match named.map(|e| &e.value.value) {
        Some(Value::Plain(name) | Value::Quoted(name)) if Name::parse(name).is_ok() => {
            list.child(name, item.mark)
        }
        _ => list.item(index, item.mark),
    }
}

/// One value, or a list of them.
#[derive(Clone, Debug)]
pub(crate) struct Many<T>(pub(crate) Vec<At<T>>);

impl<T: Read> Read for Many<T> {
    fn read(node: &Node, site: &Site, report: &mut Report) -> Option<Self> {
        if matches!(node.value, Value::List(_)) {
            return Vec::read(node, site, report).map(Self);
        }
        let value = T::read(node, site, report)?;
        Some(Self(vec![At { value, site: site.clone() }]))
    }

    fn schema(generator: &mut SchemaGenerator) -> Schema {
        let (one, list) = (T::schema(generator), Vec::<At<T>>::schema(generator));
        json_schema!({ "anyOf": [one, list] })
    }
}

/// A table whose keys are chosen by people.
#[derive(Clone, Debug)]
pub(crate) struct Table<T>(pub(crate) Vec<(At<String>, At<T>)>);

impl<T: Read> Read for Table<T> {
    fn read(node: &Node, site: &Site, report: &mut Report) -> Option<Self> {
        let Value::Map(entries) = &node.value else {
            wrong(&node.value, site, "a section with keys", report);
            return None;
        };
        let mut rows: Vec<(At<String>, At<T>)> = Vec::new();
        let mut seen = std::collections::BTreeMap::new();
        for entry in entries {
            let key = At { value: entry.key.clone(), site: site.child(&entry.key, entry.mark) };
            if let Some(line) = seen.insert(&entry.key, entry.mark.line) {
                report.say(&key.site, format!("is written twice, first at line {line}"));
            }
            let site = site.child(&entry.key, entry.value.mark);
            if let Some(value) = T::read(&entry.value, &site, report) {
                rows.push((key, At { value, site }));
            }
        }
        Some(Self(rows))
    }

    fn schema(generator: &mut SchemaGenerator) -> Schema {
        let values = T::schema(generator);
        json_schema!({ "type": "object", "additionalProperties": values })
    }
}
