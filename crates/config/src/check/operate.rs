//! State, certificate authority, administration, alerts, audit and metrics.

use std::path::{Component, Path, PathBuf};

use portcullis_core::{ByteSize, Millis};

use super::pem::arc;
use super::root::Whole;
use super::{Context, at_least_one, items};
use crate::plan::{
    Admin, AdminListener, AlertRules, Alerts, Audit, Ca, Durability, Metrics, Secret, State, Url, Webhook,
};
use crate::raw::SecretSource;
use crate::raw::operate::{
    RawAdmin, RawAdminListener, RawAlertRules, RawAlerts, RawAudit, RawCa, RawMetrics, RawWebhook,
};
use crate::raw::root::RawRoot;
use crate::yaml::site::Advice;
use crate::yaml::{At, Report, Site, quote};

/// What a crash may lose at most.
const LONGEST_GROUP: u64 = 50;

pub(crate) fn state(raw: &RawRoot) -> Option<State> {
    let directory = raw.state.get()?.directory.value()?;
    Some(State { directory: arc(&directory.0) })
}

pub(crate) fn ca(raw: &RawCa, state: Option<&State>, cx: &mut Context<'_, '_>) -> Option<Ca> {
    let source = raw.seal.get()?;
    if let (SecretSource::File(path), Some(state)) = (&source.value, state)
        && plain(Path::new(&path.0)).starts_with(plain(Path::new(&*state.directory)))
    {
        // SECURITY: whoever reads the sealed keys there reads what opens them too.
        let text = format!("file {} is in the state directory, beside what it seals", quote(&path.0));
        let advice = Advice::breaks("SS028-11.1.9c").write("keep it elsewhere, or give a `credential`");
        cx.report.advise(&source.site, text, advice);
        return None;
    }
    Some(Ca { seal: long_secret(source, cx)? })
}

/// A path without the parts that lead nowhere. Links are not followed: nothing is on this disk that the plan is for.
fn plain(path: &Path) -> PathBuf {
    path.components().fold(PathBuf::new(), |mut plain, part| {
        match part {
            Component::CurDir => {}
            Component::ParentDir if plain.file_name().is_some() => _ = plain.pop(),
            other => plain.push(other),
        }
        plain
    })
}

/// A secret that keys can be derived from.
fn long_secret(source: &At<SecretSource>, cx: &mut Context<'_, '_>) -> Option<Secret> {
    const SHORTEST: usize = 32;
    let secret = cx.files.secret(source, cx.report)?;
    if secret.expose().len() < SHORTEST {
        let found = format!("holds {} bytes, expected at least {SHORTEST}", secret.expose().len());
        let advice = Advice::breaks("SS028-11.2.10c").write("draw one, as with `head -c 32 /dev/urandom`");
        cx.report.advise(&source.site, found, advice);
        return None;
    }
    Some(secret)
}

pub(crate) fn admin(raw: &RawAdmin, state: Option<&State>, cx: &mut Context<'_, '_>) -> Option<Admin> {
    let socket = match raw.socket.get() {
        Some(path) => Some(arc(&path.0)),
        None => state.map(|s| arc(&format!("{}/admin.sock", s.directory.trim_end_matches('/')))),
    };
    let listener = raw.listener.get().map(|l| admin_listener(l, cx));
    Some(Admin {
        socket: socket?,
        uids: items(&raw.uids).iter().map(|u| u.value).collect(),
        listener: match listener {
            Some(listener) => Some(listener?),
            None => None,
        },
    })
}

fn admin_listener(raw: &RawAdminListener, cx: &mut Context<'_, '_>) -> Option<AdminListener> {
    at_least_one(&raw.names, cx.report);
    let certificate = raw.certificate.get().and_then(|c| cx.certificate(c));
    let roots = cx.certificates(&raw.roots);
    let names = items(&raw.names).iter().map(|n| n.value.clone()).collect();
    Some(AdminListener { address: raw.address.value()?, certificate: certificate?, roots: roots?, names })
}

pub(crate) fn alerts(raw: &At<RawAlerts>, whole: &Whole, cx: &mut Context<'_, '_>) -> Option<Alerts> {
    let nobody = raw.alertmanager.absent().is_some() && raw.webhook.absent().is_some();
    if nobody && whole.production {
        let advice = Advice::breaks("SS028-11.1.5b").write("write `alertmanager` or `webhook`");
        cx.report.advise(&raw.site, "reach nobody", advice);
    }
    let alertmanager = items(&raw.alertmanager).iter().filter_map(|u| protected(u, cx.report)).collect();
    let webhook = raw.webhook.get().map(|w| webhook(w, cx));
    let roots = cx.optional_certificates(&raw.roots);
    Some(Alerts {
        alertmanager,
        webhook: match webhook {
            Some(webhook) => Some(webhook?),
            None => None,
        },
        roots,
        rules: rules(raw.rules.get()?)?,
    })
}

fn webhook(raw: &RawWebhook, cx: &mut Context<'_, '_>) -> Option<Webhook> {
    let url = raw.url.get().and_then(|u| protected(u, cx.report));
    let token = raw.token.get().map(|source| cx.files.secret(source, cx.report));
    Some(Webhook {
        url: url?,
        token: match token {
            Some(token) => Some(token?),
            None => None,
        },
    })
}

/// TLS, or this machine.
fn protected(url: &At<Url>, report: &mut Report) -> Option<Url> {
    if url.is_tls() || url.is_loopback() {
        return Some(url.value.clone());
    }
    let advice = Advice::breaks("SS028-11.1.9c").write("write an `https` address");
    report.advise(&url.site, format!("found {}, which is not TLS", quote(url.as_str())), advice);
    None
}

fn rules(raw: &RawAlertRules) -> Option<AlertRules> {
    Some(AlertRules {
        authentication_failures: raw.authentication_failures.value()?,
        refusals: raw.refusals.value()?,
        guard_refusals: raw.guard_refusals.value()?,
        sink_behind: raw.sink_behind.value()?,
        certificate_expiry: raw.certificate_expiry.value()?,
        clock_offset: raw.clock_offset.value()?,
    })
}

pub(crate) fn audit(raw: &RawAudit, cx: &mut Context<'_, '_>) -> Option<Audit> {
    let key = raw.key.get().map(|source| long_secret(source, cx));
    let durability = raw.sync.get().and_then(|sync| durability(&sync.0, &sync.site, cx.report));
    let (segment, keep_size) = (raw.segment.get()?, raw.keep_size.get()?);
    if segment.value < ByteSize::kib(1024) {
        cx.report.say(&segment.site, format!("found `{}`, expected at least `1MiB`", segment.value));
    }
    if keep_size.value.get() < segment.value.get().saturating_mul(4) {
        cx.report
            .say(&keep_size.site, format!("found `{}`, expected at least four segments", keep_size.value));
    }
    Some(Audit {
        keep_for: raw.keep_for.value()?,
        keep_size: keep_size.value,
        segment: segment.value,
        key: match key {
            Some(key) => Some(key?),
            None => None,
        },
        durability: durability?,
    })
}

fn durability(text: &str, site: &Site, report: &mut Report) -> Option<Durability> {
    if text == "each" {
        return Some(Durability::Each);
    }
    let span = Millis::parse(text).ok();
    let short = span.filter(|s| s.get() <= LONGEST_GROUP);
    match (span, short) {
        (_, Some(short)) => return Some(Durability::Group(short)),
        (Some(_), None) => {
            let advice = Advice::breaks("SS028-11.6.2a").write("write `50ms` or less");
            report.advise(
                site,
                format!("found `{text}`, a crash would lose more than that is worth"),
                advice,
            );
        }
        (None, None) => {
            report.say(site, format!("found {}, expected `each` or a span up to `50ms`", quote(text)));
        }
    }
    None
}

pub(crate) fn metrics(raw: &RawMetrics, cx: &mut Context<'_, '_>) -> Metrics {
    if let Some(address) = raw.listen.get()
        && !address.ip().to_canonical().is_loopback()
    {
        let advice =
            Advice::breaks("SS028-11.1.9c").write("write a loopback address, or scrape the admin listener");
        cx.report.advise(&address.site, format!("found `{}`, which others can reach", address.value), advice);
    }
    Metrics { listen: raw.listen.value() }
}
