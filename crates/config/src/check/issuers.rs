//! Issuers of tokens.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use portcullis_core::{Millis, Name};

use super::pem::{arc, key_set_is_public};
use super::root::Whole;
use super::unique::Unique;
use super::{Context, at_least_one, at_most, in_order, items, list, word_list};
use crate::plan::{Algorithm, ClaimType, Issuer, KeySource, Loopback, Url};
use crate::raw::identify::{RawClaims, RawIssuer};
use crate::raw::root::RawRoot;
use crate::yaml::site::Advice;
use crate::yaml::{At, Report, quote};

/// What is accepted where an issuer names no algorithm.
const DEFAULT: [Algorithm; 4] = [Algorithm::ES256, Algorithm::ES384, Algorithm::EdDSA, Algorithm::PS256];

pub(crate) fn issuers(raw: &RawRoot, whole: &Whole, cx: &mut Context<'_, '_>) -> Option<Vec<Issuer>> {
    let written = list(&raw.issuers);
    names_are_unique(raw, cx);
    let mut seen = Unique::new("`iss`");
    for issuer in written {
        // SECURITY: two entries for one `iss` would leave open which rules a token meets (C3).
        let pinned = issuer.issuer.get().map(|t| (t.0.clone(), &t.site));
        let discovered = issuer.oidc.get().map(|u| (u.to_string(), &u.site));
        if let Some((text, site)) = pinned.or(discovered) {
            seen.see(text, site, cx.report);
        }
    }
    let built: Vec<_> = written.iter().filter_map(|i| issuer(i, whole, cx)).collect();
    claims_have_one_type(written, &built, cx.report);
    (built.len() == written.len()).then_some(built)
}

/// Issuers and client authorities name principals, so they share one set of names.
fn names_are_unique(raw: &RawRoot, cx: &mut Context<'_, '_>) {
    let mut seen = Unique::new("issuer");
    for name in list(&raw.issuers).iter().filter_map(|i| i.name.get()) {
        seen.see(name.value.clone(), &name.site, cx.report);
    }
    let clients = raw.gateway.get().and_then(|g| g.client_certificates.get());
    let authorities = clients.map_or(&[][..], |c| list(&c.authorities));
    for name in authorities.iter().filter_map(|a| a.name.get()) {
        seen.see(name.value.clone(), &name.site, cx.report);
    }
}

fn issuer(raw: &At<RawIssuer>, whole: &Whole, cx: &mut Context<'_, '_>) -> Option<Issuer> {
    at_least_one(&raw.audience, cx.report);
    at_least_one(&raw.algorithms, cx.report);
    at_most(&raw.leeway, Millis::from_secs(30), "SS028-11.2.7a", cx.report);
    at_most(&raw.longest_life, Millis::from_secs(86_400), "SS028-11.2.5a", cx.report);
    in_order(&raw.refresh, &raw.silent_after, "silent_after", cx.report);
    loopback_stays_out_of_production(raw, whole, cx.report);
    let keys = key_source(raw, raw.loopback.value().unwrap_or(Loopback::Allowed), cx);
    let pinned = pinned_issuer(raw, cx.report);
    let roots = cx.optional_certificates(&raw.roots);
    let claims = raw.claims.get()?;
    Some(Issuer {
        name: raw.name.value()?,
        keys: keys?,
        issuer: pinned?,
        audiences: word_list(&raw.audience),
        algorithms: algorithms(raw),
        profile: raw.profile.value()?,
        roles_claim: word_list(&claims.roles),
        keep_claims: kept(claims, cx.report),
        refresh: raw.refresh.value()?,
        silent_after: raw.silent_after.value()?,
        leeway: raw.leeway.value()?,
        longest_life: raw.longest_life.value()?,
        assurance: raw.assurance.value()?,
        loopback: raw.loopback.value()?,
        roots,
    })
}

/// The kept claims, each a text unless its type is written.
fn kept(raw: &RawClaims, report: &mut Report) -> BTreeMap<Arc<str>, ClaimType> {
    let mut kept: BTreeMap<_, _> =
        word_list(&raw.keep).into_iter().map(|name| (name, ClaimType::Text)).collect();
    for (name, kind) in raw.types.get().map_or(&[][..], |table| &table.value.0) {
        match kept.get_mut(name.value.as_str()) {
            Some(known) => *known = kind.value,
            None => report.say(&name.site, format!("{} is not in `keep`", quote(&name.value))),
        }
    }
    kept
}

/// A rule reads a claim of any issuer, so one name has one type.
fn claims_have_one_type(written: &[At<RawIssuer>], issuers: &[Issuer], report: &mut Report) {
    let mut known: BTreeMap<&str, (ClaimType, &Name)> = BTreeMap::new();
    for issuer in issuers {
        for (claim, kind) in &issuer.keep_claims {
            let (first, other) = known.entry(claim).or_insert((*kind, &issuer.name));
            let site = written.iter().find(|w| w.name.value().as_ref() == Some(&issuer.name));
            if let Some(site) = site.filter(|_| *first != *kind) {
                let text = format!("keeps the claim {} with another type than `{other}`", quote(claim));
                report.say(&site.site, text);
            }
        }
    }
}

fn loopback_stays_out_of_production(raw: &RawIssuer, whole: &Whole, report: &mut Report) {
    if let Some(loopback) = raw.loopback.get()
        && loopback.value == Loopback::Allowed
        && whole.production
    {
        let advice = Advice::breaks("SS028-11.1.7b").write("remove `loopback`, or name another environment");
        report.advise(&loopback.site, "is `allowed`, which is for demos and tests", advice);
    }
}

fn algorithms(raw: &RawIssuer) -> Vec<Algorithm> {
    let named: BTreeSet<_> = items(&raw.algorithms).iter().map(|a| a.value).collect();
    if named.is_empty() { DEFAULT.to_vec() } else { named.into_iter().collect() }
}

/// Exactly one of the three.
fn key_source(raw: &At<RawIssuer>, loopback: Loopback, cx: &mut Context<'_, '_>) -> Option<KeySource> {
    let absent = [raw.oidc.absent(), raw.jwks_url.absent(), raw.jwks_file.absent()];
    let written = absent.iter().filter(|a| a.is_none()).count();
    if written != 1 {
        let text =
            format!("names {written} sources of keys, expected one of `oidc`, `jwks_url` and `jwks_file`");
        cx.report.say(&raw.site, text);
        return None;
    }
    if let Some(url) = raw.oidc.get() {
        return address(url, loopback, cx.report).map(KeySource::Oidc);
    }
    if let Some(url) = raw.jwks_url.get() {
        return address(url, loopback, cx.report).map(KeySource::JwksUrl);
    }
    let path = raw.jwks_file.get()?;
    let set = cx.text(path)?;
    match key_set_is_public(&set) {
        Ok(()) => Some(KeySource::JwksFile(set)),
        Err(fault) => {
            cx.report.say(&path.site, format!("file {} {fault}", quote(&path.0)));
            None
        }
    }
}

/// Keys come over TLS; this machine only where that is written out (C12, SS028-11.2.10a).
fn address(url: &At<Url>, loopback: Loopback, report: &mut Report) -> Option<Url> {
    if url.is_loopback() && loopback == Loopback::Refused {
        let hint = Advice::hint("outside production, `loopback: allowed` permits it");
        report.advise(&url.site, format!("found {}, which is on this machine", quote(url.as_str())), hint);
        return None;
    }
    if !url.is_tls() && !url.is_loopback() {
        let advice = Advice::breaks("SS028-11.2.10a").write("write an `https` address");
        report.advise(&url.site, format!("found {}, which is not TLS", quote(url.as_str())), advice);
        return None;
    }
    Some(url.value.clone())
}

fn pinned_issuer(raw: &At<RawIssuer>, report: &mut Report) -> Option<Arc<str>> {
    if let Some(pinned) = raw.issuer.get() {
        return Some(arc(&pinned.0));
    }
    if let Some(url) = raw.oidc.get() {
        return Some(arc(url.as_str()));
    }
    if let (Some(site), Some(_)) = (raw.issuer.absent(), raw.oidc.absent()) {
        let advice = Advice::breaks("SS028-11.2.1c").write("write the exact `iss` of its tokens");
        report.advise(site, "is missing and cannot be discovered", advice);
    }
    None
}
