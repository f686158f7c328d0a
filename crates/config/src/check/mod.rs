//! From what was written to a plan: files are read, values fitted together, clauses upheld.
//!
//! Each section has its own file and reports all that is wrong in it; nothing is built once something is wrong,
//! but everything is looked at.
//!
//! INVARIANT: until an exceptions register exists, a setting that breaks a clause does not load at all.
//!
//! Sources: SS-028, SP 800-204 (MS-SS); the clause ids stand beside each check.

mod api_keys;
mod cors;
mod edits;
mod gateway;
mod issuers;
mod operate;
mod overlap;
mod pem;
mod refer;
mod root;
mod routes;
mod services;
mod unique;
mod upstream;

pub(crate) use root::plan;

use std::collections::BTreeSet;
use std::sync::Arc;

use portcullis_core::Millis;

use crate::files::Loader;
use crate::raw::values::Word;
use crate::yaml::site::Advice;
use crate::yaml::{At, Many, Report, Slot};

/// What every check needs.
pub(crate) struct Context<'c, 'f> {
    pub(crate) files: &'c mut Loader<'f>,
    pub(crate) report: &'c mut Report,
}

/// The items of a list that may be left out.
pub(crate) fn items<T>(slot: &Slot<Many<T>>) -> &[At<T>] {
    slot.get().map_or(&[], |many| &many.value.0)
}

/// The items of a list that may be left out and may not be a single value.
pub(crate) fn list<T>(slot: &Slot<Vec<At<T>>>) -> &[At<T>] {
    slot.get().map_or(&[], |list| &list.value)
}

/// Words as a set.
pub(crate) fn words(slot: &Slot<Many<Word>>) -> BTreeSet<Arc<str>> {
    items(slot).iter().map(|word| Arc::from(word.0.as_str())).collect()
}

/// Words in their order.
pub(crate) fn word_list(slot: &Slot<Many<Word>>) -> Vec<Arc<str>> {
    items(slot).iter().map(|word| Arc::from(word.0.as_str())).collect()
}

/// Reports a list that is written but empty, where one thing at least is needed.
pub(crate) fn at_least_one<T>(slot: &Slot<Many<T>>, report: &mut Report) {
    if let Some(many) = slot.get()
        && many.0.is_empty()
    {
        report.say(&many.site, "is empty, expected at least one");
    }
}

/// Reports a span that is longer than a clause lets it be.
pub(crate) fn at_most(slot: &Slot<Millis>, most: Millis, clause: &'static str, report: &mut Report) {
    if let Some(span) = slot.get()
        && span.value > most
    {
        let advice = Advice::breaks(clause).write(format!("write `{most}` or less"));
        report.advise(&span.site, format!("found `{}`, which is too long", span.value), advice);
    }
}

/// Reports two spans that are in the wrong order.
pub(crate) fn in_order(shorter: &Slot<Millis>, longer: &Slot<Millis>, longer_key: &str, report: &mut Report) {
    if let (Some(short), Some(long)) = (shorter.get(), longer.get())
        && short.value >= long.value
    {
        let text = format!("found `{}`, must be shorter than `{longer_key}` (`{}`)", short.value, long.value);
        report.say(&short.site, text);
    }
}
