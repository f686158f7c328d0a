//! From text to typed sections, with a place for everything and all problems at once.
//!
//! The text becomes a small tree of our own first ([`tree`]), since a typed deserializer stops at its first
//! error. Each section then reads its own keys from the tree (`section`) and goes on after a problem. The same
//! declaration gives the JSON Schema, so that the two cannot disagree.
//!
//! Not here: what the keys are (`raw`), whether they fit together (`check`).

pub(crate) mod hint;
pub(crate) mod list;
pub(crate) mod scalar;
pub(crate) mod section;
pub(crate) mod site;
pub(crate) mod tree;

pub(crate) use list::{Many, Table};
pub(crate) use scalar::{Count, Text, read_parsed, read_words};
pub(crate) use section::{Read, Slot, section};
pub(crate) use site::{At, Report, Site, quote};
