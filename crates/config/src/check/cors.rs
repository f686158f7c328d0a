//! Cross-origin rules.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::{at_least_one, items};
use crate::plan::{AllowedOrigins, Cors, Credentials, Origin};
use crate::raw::service::RawCors;
use crate::raw::values::HeaderName;
use crate::yaml::site::Advice;
use crate::yaml::{Many, Report, Slot, quote};

pub(crate) fn cors(raw: &RawCors, report: &mut Report) -> Option<Cors> {
    at_least_one(&raw.origins, report);
    let origins = origins(raw, report);
    let credentials = raw.credentials.get()?;
    if origins == Some(AllowedOrigins::Every) && credentials.value == Credentials::Included {
        let advice = Advice::breaks("API8").write("list the origins, or write `credentials: omitted`");
        report.advise(&credentials.site, "gives the pages of everybody your users' credentials", advice);
    }
    Some(Cors {
        origins: origins?,
        headers: names(&raw.headers),
        expose: names(&raw.expose),
        credentials: credentials.value,
        max_age: raw.max_age.value()?,
    })
}

fn origins(raw: &RawCors, report: &mut Report) -> Option<AllowedOrigins> {
    let written = items(&raw.origins);
    if let Some(star) = written.iter().find(|o| o.0 == "*") {
        if written.len() > 1 {
            report.say(&star.site, "stands for every origin, so the others say nothing");
        }
        return Some(AllowedOrigins::Every);
    }
    let mut listed = BTreeSet::new();
    for text in written {
        match Origin::parse(&text.0) {
            Ok(origin) => drop(listed.insert(origin)),
            Err(fault) => report.say(&text.site, format!("found {}, {fault}, or `*`", quote(&text.0))),
        }
    }
    (!listed.is_empty()).then_some(AllowedOrigins::Listed(listed))
}

fn names(slot: &Slot<Many<HeaderName>>) -> BTreeSet<Arc<str>> {
    items(slot).iter().map(|n| Arc::from(n.0.as_str())).collect()
}
