//! API keys.

use portcullis_core::{Name, UnixMillis};

use super::pem::arc;
use super::refer::Known;
use super::unique::Unique;
use super::{Context, at_least_one, items, list, word_list};
use crate::plan::{ApiKey, ApiKeys, Sensitivity};
use crate::raw::FilePath;
use crate::raw::gateway::RawClientAuthority;
use crate::raw::identify::{RawApiKey, RawApiKeys, RawKeyFile};
use crate::raw::root::RawRoot;
use crate::raw::service::RawService;
use crate::yaml::site::Advice;
use crate::yaml::tree;
use crate::yaml::{At, Read, Report, Site, quote};

/// The least length of the key of a keyed hash (RFC 2104 §3: that of the digest).
const LEAST_HASH_KEY: usize = 32;

pub(crate) fn api_keys(raw: &RawApiKeys, root: &RawRoot, cx: &mut Context<'_, '_>) -> Option<ApiKeys> {
    at_least_one(&raw.files, cx.report);
    let hash_key = raw.hash_key.get().and_then(|source| {
        let secret = cx.files.secret(source, cx.report)?;
        if secret.expose().len() < LEAST_HASH_KEY {
            cx.report.say(&source.site, format!("is shorter than {LEAST_HASH_KEY} bytes"));
        }
        Some(secret)
    });
    let files: Vec<_> = items(&raw.files).iter().filter_map(|path| key_file(path, cx)).collect();
    let names = list(&root.services).iter().filter_map(|s| s.name.value());
    let services = Known::new("service", names);
    let mut seen = Unique::new("API key");
    let mut keys = Vec::new();
    for key in files.iter().flat_map(|file| list(&file.keys)) {
        if let Some(id) = key.id.get() {
            seen.see(id.value.clone(), &id.site, cx.report);
        }
        opens_what_exists(key, &services, root, cx.report);
        applications_are_told_apart(key, root, cx.report);
        keys.extend(api_key(key, cx.report));
    }
    keys.sort_by(|a, b| a.id.cmp(&b.id));
    Some(ApiKeys { hash_key: hash_key?, keys })
}

fn key_file(path: &At<FilePath>, cx: &mut Context<'_, '_>) -> Option<RawKeyFile> {
    let inlined = cx.files.yaml(&path.0, &path.site, cx.report)?;
    let site = Site::root(&path.0);
    let node = tree::parse(&inlined.text, &site, cx.report)?;
    RawKeyFile::read(&node, &site.at(node.mark), cx.report)
}

/// Each API exists, and none is one that a key alone may not open (MS-SS-1.1).
fn opens_what_exists(key: &RawApiKey, services: &Known, root: &RawRoot, report: &mut Report) {
    at_least_one(&key.apis, report);
    for api in items(&key.apis) {
        services.expect(api, report);
        if list(&root.services).iter().any(|s| is_high(s, &api.value)) {
            let advice = Advice::breaks("MS-SS-1.1").write("give this caller tokens or a client certificate");
            let text = format!("{} has `sensitivity: high`, which no API key opens", quote(api.as_str()));
            report.advise(&api.site, text, advice);
        }
    }
}

/// SECURITY: an application is known by its name alone, so no two authorities may list a caller of that name (D3).
fn applications_are_told_apart(key: &RawApiKey, root: &RawRoot, report: &mut Report) {
    let clients = root.gateway.get().and_then(|g| g.client_certificates.get());
    let authorities = clients.map_or(&[][..], |c| list(&c.authorities));
    for application in items(&key.applications) {
        let lists = |authority: &&At<RawClientAuthority>| {
            list(&authority.callers)
                .iter()
                .any(|c| c.certificate.value().as_ref() == Some(&application.value))
        };
        if authorities.iter().filter(lists).count() > 1 {
            let hint = Advice::hint("name it once, or restrict the key by `sources`");
            let text = format!("{} is a caller of two authorities", quote(application.as_str()));
            report.advise(&application.site, text, hint);
        }
    }
}

fn is_high(service: &RawService, name: &Name) -> bool {
    service.name.get().is_some_and(|n| n.value == *name)
        && service.sensitivity.value() == Some(Sensitivity::High)
}

fn api_key(raw: &At<RawApiKey>, report: &mut Report) -> Option<ApiKey> {
    at_least_one(&raw.applications, report);
    at_least_one(&raw.sources, report);
    if items(&raw.applications).is_empty() && items(&raw.sources).is_empty() {
        let advice = Advice::breaks("MS-SS-1.4").write("write `applications` or `sources`");
        report.advise(&raw.site, "is restricted to no application and no network", advice);
    }
    for net in items(&raw.sources).iter().filter(|n| n.prefix_len() == 0) {
        report.advise(&net.site, "restricts nothing", Advice::breaks("MS-SS-1.4"));
    }
    let expires = raw.expires.get().and_then(|text| {
        end_of_day(&text.0).or_else(|| {
            report.say(&text.site, format!("found {}, expected a day such as `2027-03-31`", quote(&text.0)));
            None
        })
    });
    Some(ApiKey {
        id: raw.id.value()?,
        hash: raw.hash.value()?,
        owner: arc(&raw.owner.value()?.0),
        applications: items(&raw.applications).iter().map(|a| a.value.clone()).collect(),
        sources: items(&raw.sources).iter().map(|n| n.value).collect(),
        apis: items(&raw.apis).iter().map(|n| n.value.clone()).collect(),
        scopes: word_list(&raw.scopes),
        assurance: raw.assurance.value()?,
        expires: expires?,
    })
}

/// Midnight UTC after the day `2027-03-31`.
fn end_of_day(text: &str) -> Option<UnixMillis> {
    let mut parts = text.splitn(3, '-');
    let mut next = |width: usize| {
        let part = parts.next()?;
        let digits = part.len() == width && part.bytes().all(|b| b.is_ascii_digit());
        part.parse::<u64>().ok().filter(|_| digits)
    };
    let (year, month, day) = (next(4)?, next(2)?, next(2)?);
    let days = days_since_epoch(year, month, day)?;
    Some(UnixMillis::from_seconds((days + 1) * 86_400))
}

/// Days from 1970-01-01, counted month by month.
fn days_since_epoch(year: u64, month: u64, day: u64) -> Option<u64> {
    let leap = |y: u64| y.is_multiple_of(4) && (!y.is_multiple_of(100) || y.is_multiple_of(400));
    let length = |m: u64| match m {
        2 => 28 + u64::from(leap(year)),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    };
    if !(1970..=9999).contains(&year) || !(1..=12).contains(&month) || !(1..=length(month)).contains(&day) {
        return None;
    }
    let years: u64 = (1970..year).map(|y| 365 + u64::from(leap(y))).sum();
    let months: u64 = (1..month).map(length).sum();
    Some(years + months + day - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_ends_at_midnight_utc() {
        let table = [
            ("1970-01-01", Some(86_400)),
            ("2000-02-29", Some(951_868_800)),
            ("2027-03-31", Some(1_806_537_600)),
            ("2100-02-29", None),
            ("2027-13-01", None),
            ("2027-00-10", None),
            ("2027-3-31", None),
            ("2027-03-31T00:00:00Z", None),
            ("never", None),
            ("", None),
        ];
        for (text, want) in table {
            assert_eq!(end_of_day(text), want.map(UnixMillis::from_seconds), "{text}");
        }
    }
}
