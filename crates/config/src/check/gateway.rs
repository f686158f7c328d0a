//! The edge listener.

use std::num::NonZeroU16;

use ipnet::IpNet;
use portcullis_core::{Millis, Name};

use super::pem::certificates_of;
use super::unique::Unique;
use super::{Context, at_least_one, at_most, in_order, items, list, words};
use crate::plan::{
    ClientAuthority, ClientCaller, ClientCertificates, ClientMode, ConnectionLimits, Gateway, Http2Limits,
    HttpLimits, HttpTimeouts, InternalTokens, StreamLimits, TlsMinimum,
};
use crate::raw::gateway::{
    RawClientAuthority, RawClientCaller, RawClientCertificates, RawConnectionLimits, RawGateway,
    RawHttp2Limits, RawHttpLimits, RawHttpTimeouts, RawInternalTokens, RawStreamLimits,
};
use crate::yaml::site::Advice;
use crate::yaml::{At, Many, Report, Slot, quote};

/// The most threads: more than any machine this runs on has cores.
const MOST_WORKERS: u16 = 1_024;

pub(crate) fn gateway(raw: &RawGateway, cx: &mut Context<'_, '_>) -> Option<Gateway> {
    at_least_one(&raw.listen, cx.report);
    at_least_one(&raw.certificates, cx.report);
    let mut seen = Unique::new("address");
    items(&raw.listen).iter().for_each(|a| seen.see(a.value, &a.site, cx.report));
    let proxy_protocol = networks(&raw.proxy_protocol, cx.report);
    let trusted_proxies = networks(&raw.trusted_proxies, cx.report);
    let workers = workers(raw, cx.report);
    let tls_minimum = tls_minimum(raw, cx.report);
    let certificates: Vec<_> = items(&raw.certificates).iter().filter_map(|c| cx.certificate(c)).collect();
    let client_certificates = raw.client_certificates.get().and_then(|c| client_certificates(c, cx));
    let limits = raw.limits.get().and_then(|l| limits(l, cx.report));
    let connections = raw.connections.get().and_then(|c| connections(c, cx.report));
    let http2 = raw.http2.get().and_then(|h| http2(h, cx.report));
    let streams = raw.streams.get().and_then(|s| streams(s, cx.report));
    let internal_tokens = raw.internal_tokens.get().and_then(|t| internal_tokens(t, cx.report));
    Some(Gateway {
        listen: items(&raw.listen).iter().map(|a| a.value).collect(),
        workers: workers?,
        tls_minimum: tls_minimum?,
        certificates,
        client_certificates: client_certificates?,
        proxy_protocol,
        trusted_proxies,
        limits: limits?,
        timeouts: timeouts(raw.timeouts.get()?)?,
        connections: connections?,
        http2: http2?,
        streams: streams?,
        internal_tokens: internal_tokens?,
    })
}

/// `Some(None)` is one for each core; `None` is a problem.
#[expect(clippy::option_option, reason = "a problem and nothing written are two things")]
fn workers(raw: &RawGateway, report: &mut Report) -> Option<Option<NonZeroU16>> {
    let Some(count) = raw.workers.get() else {
        return raw.workers.absent().map(|_| None);
    };
    let fits = u16::try_from(count.0).ok().filter(|n| *n <= MOST_WORKERS).and_then(NonZeroU16::new);
    if fits.is_none() {
        report.say(&count.site, format!("found `{}`, expected at most {MOST_WORKERS}", count.0));
    }
    fits.map(Some)
}

fn streams(raw: &RawStreamLimits, report: &mut Report) -> Option<StreamLimits> {
    in_order(&raw.idle, &raw.max_age, "max_age", report);
    Some(StreamLimits { idle: raw.idle.value()?, max_age: raw.max_age.value()? })
}

fn internal_tokens(raw: &RawInternalTokens, report: &mut Report) -> Option<InternalTokens> {
    at_most(&raw.lifetime, Millis::from_secs(30), "SS028-11.2.10b", report);
    Some(InternalTokens { lifetime: raw.lifetime.value()? })
}

fn tls_minimum(raw: &RawGateway, report: &mut Report) -> Option<TlsMinimum> {
    let text = raw.tls_minimum.get()?;
    match text.0.as_str() {
        "TLS1.2" => Some(TlsMinimum::Tls12),
        "TLS1.3" => Some(TlsMinimum::Tls13),
        other => {
            let advice = Advice::breaks("SS028-11.3.3a").write("write `TLS1.2` or `TLS1.3`");
            report.advise(&text.site, format!("found {}, which is not offered", quote(other)), advice);
            None
        }
    }
}

/// Networks of peers that are believed; a network of everybody is a mistake (B11).
fn networks(slot: &Slot<Many<IpNet>>, report: &mut Report) -> Vec<IpNet> {
    for net in items(slot).iter().filter(|n| n.prefix_len() == 0) {
        let hint = Advice::hint("write the networks of your own proxies");
        report.advise(&net.site, format!("found `{}`, which believes everybody", net.value), hint);
    }
    items(slot).iter().map(|n| n.value).collect()
}

fn client_certificates(raw: &RawClientCertificates, cx: &mut Context<'_, '_>) -> Option<ClientCertificates> {
    let authorities: Vec<_> = list(&raw.authorities).iter().filter_map(|a| authority(a, cx)).collect();
    roots_are_of_one_authority(list(&raw.authorities), &authorities, cx.report);
    let mode = raw.mode.get()?;
    let none = list(&raw.authorities).is_empty();
    match mode.value {
        ClientMode::Off if !none => cx.report.advise(
            &mode.site,
            "is `off`, but authorities are listed",
            Advice::hint("write `mode: optional` or `mode: required`"),
        ),
        ClientMode::Optional | ClientMode::Required if none => {
            cx.report.say(&mode.site, "needs at least one entry in `authorities`");
        }
        _ => {}
    }
    Some(ClientCertificates { mode: mode.value, authorities })
}

/// SECURITY: what two authorities vouch for is nobody's, so a root that both list lets none of its clients in (D3).
fn roots_are_of_one_authority(
    written: &[At<RawClientAuthority>],
    authorities: &[ClientAuthority],
    report: &mut Report,
) {
    let mut known: Vec<(&Name, Vec<Vec<u8>>)> = Vec::new();
    for authority in authorities {
        let roots = certificates_of(&authority.roots);
        let other = known.iter().find(|(_, theirs)| roots.iter().any(|root| theirs.contains(root)));
        let site = written.iter().find(|w| w.name.value().as_ref() == Some(&authority.name));
        if let (Some((other, _)), Some(path)) = (other, site.and_then(|w| w.roots.get())) {
            let hint = Advice::hint("give each authority roots of its own");
            report.advise(&path.site, format!("holds a root of authority `{other}` too"), hint);
        }
        known.push((&authority.name, roots));
    }
}

fn authority(raw: &At<RawClientAuthority>, cx: &mut Context<'_, '_>) -> Option<ClientAuthority> {
    let roots = cx.certificates(&raw.roots);
    let mut seen = Unique::new("certificate");
    let callers = list(&raw.callers);
    for name in callers.iter().filter_map(|c| c.certificate.get()) {
        seen.see(name.value.to_string(), &name.site, cx.report);
    }
    let name: Name = raw.name.value()?;
    let callers = callers.iter().filter_map(|c| caller(c)).collect();
    Some(ClientAuthority { name, roots: roots?, assurance: raw.assurance.value()?, callers })
}

fn caller(raw: &RawClientCaller) -> Option<ClientCaller> {
    let certificate = raw.certificate.value()?;
    Some(ClientCaller { certificate, scopes: words(&raw.scopes), roles: words(&raw.roles) })
}

fn limits(raw: &RawHttpLimits, report: &mut Report) -> Option<HttpLimits> {
    for part in [&raw.target, &raw.header] {
        if let (Some(part), Some(head)) = (part.get(), raw.head.get())
            && part.value > head.value
        {
            report.say(
                &part.site,
                format!("found `{}`, more than the whole `head` (`{}`)", part.value, head.value),
            );
        }
    }
    Some(HttpLimits {
        head: raw.head.value()?,
        target: raw.target.value()?,
        header_count: raw.header_count.value()?.0,
        header: raw.header.value()?,
        body: raw.body.value()?,
        trailers: raw.trailers.value()?,
        trailer_count: raw.trailer_count.value()?.0,
        in_flight: raw.in_flight.value()?.0,
    })
}

fn timeouts(raw: &RawHttpTimeouts) -> Option<HttpTimeouts> {
    Some(HttpTimeouts {
        handshake: raw.handshake.value()?,
        head: raw.head.value()?,
        idle: raw.idle.value()?,
        body_stall: raw.body_stall.value()?,
        body_least_rate: raw.body_least_rate.value()?,
        body_grace: raw.body_grace.value()?,
        write_stall: raw.write_stall.value()?,
        drain: raw.drain.value()?,
    })
}

fn connections(raw: &RawConnectionLimits, report: &mut Report) -> Option<ConnectionLimits> {
    if let (Some(one), Some(all)) = (raw.per_source.get(), raw.total.get())
        && one.0 > all.0
    {
        report.say(&one.site, format!("found `{}`, more than `total` (`{}`)", one.0, all.0));
    }
    Some(ConnectionLimits {
        total: raw.total.value()?.0,
        per_source: raw.per_source.value()?.0,
        handshakes_per_source: raw.handshakes_per_source.value()?.0,
        invalid_tokens_per_source: raw.invalid_tokens_per_source.value()?,
        refusals_recorded: raw.refusals_recorded.value()?.0,
        token_cache: raw.token_cache.value()?.0,
    })
}

fn http2(raw: &RawHttp2Limits, report: &mut Report) -> Option<Http2Limits> {
    if let (Some(stream), Some(all)) = (raw.stream_window.get(), raw.connection_window.get())
        && stream.value > all.value
    {
        report.say(
            &stream.site,
            format!("found `{}`, more than `connection_window` (`{}`)", stream.value, all.value),
        );
    }
    Some(Http2Limits {
        max_streams: raw.max_streams.value()?.0,
        window: raw.window.value()?,
        resets: raw.resets.value()?.0,
        lifetime_resets: raw.lifetime_resets.value()?.0,
        emitted_resets: raw.emitted_resets.value()?.0,
        continuations: raw.continuations.value()?.0,
        pings: raw.pings.value()?.0,
        settings: raw.settings.value()?.0,
        empty_data: raw.empty_data.value()?.0,
        priorities: raw.priorities.value()?.0,
        window_updates: raw.window_updates.value()?.0,
        header_table: raw.header_table.value()?,
        stream_window: raw.stream_window.value()?,
        connection_window: raw.connection_window.value()?,
    })
}
