//! Things that may be written only once.

use std::collections::BTreeMap;
use std::fmt::Display;

use crate::yaml::{Report, Site, quote};

/// Remembers what was seen, and where first.
#[derive(Debug)]
pub(crate) struct Unique<K> {
    what: &'static str,
    seen: BTreeMap<K, u32>,
}

impl<K: Ord + Display> Unique<K> {
    pub(crate) fn new(what: &'static str) -> Self {
        Self { what, seen: BTreeMap::new() }
    }

    /// Reports `key` if it was seen before.
    pub(crate) fn see(&mut self, key: K, site: &Site, report: &mut Report) {
        let shown = quote(&key.to_string());
        if let Some(first) = self.seen.insert(key, site.line()) {
            report.say(site, format!("{} {shown} is written twice, first at line {first}", self.what));
        }
    }
}
