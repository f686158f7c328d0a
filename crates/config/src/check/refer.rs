//! Names that must exist elsewhere in the file.

use std::collections::BTreeSet;

use portcullis_core::Name;

use crate::yaml::hint::nearest;
use crate::yaml::site::Advice;
use crate::yaml::{At, Report, quote};

/// The names of one kind of thing.
#[derive(Debug)]
pub(crate) struct Known {
    what: &'static str,
    names: BTreeSet<Name>,
}

impl Known {
    pub(crate) fn new(what: &'static str, names: impl IntoIterator<Item = Name>) -> Self {
        Self { what, names: names.into_iter().collect() }
    }

    /// Reports a name that is not known, with the nearest that is.
    pub(crate) fn expect(&self, name: &At<Name>, report: &mut Report) {
        if self.names.contains(&name.value) {
            return;
        }
        let text = format!("{} {} does not exist", self.what, quote(name.as_str()));
        match nearest(name.as_str(), self.names.iter().map(Name::as_str)) {
            Some(near) => report.advise(&name.site, text, Advice::hint(format!("did you mean `{near}`?"))),
            None => report.say(&name.site, text),
        }
    }
}
