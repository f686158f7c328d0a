//! Where services run.

use std::num::NonZeroU32;
use std::sync::Arc;

use portcullis_core::NormalPath;

use super::root::Whole;
use super::unique::Unique;
use super::{Context, at_least_one, in_order, items};
use crate::plan::{
    Balance, Endpoint, HealthCheck, Identity, Pool, Transport, Upstream, UpstreamTimeouts, UpstreamTls,
};
use crate::raw::upstream::{
    RawBalance, RawHashBy, RawHealth, RawMutual, RawPolicy, RawPool, RawUpstream, RawUpstreamTimeouts,
    RawUpstreamTls,
};
use crate::yaml::site::Advice;
use crate::yaml::{At, Count, Report, Slot, quote};

pub(crate) fn upstream(raw: &At<RawUpstream>, whole: &Whole, cx: &mut Context<'_, '_>) -> Option<Upstream> {
    at_least_one(&raw.endpoints, cx.report);
    let mut seen = Unique::new("endpoint");
    items(&raw.endpoints).iter().for_each(|e| seen.see(shown(&e.value), &e.site, cx.report));
    let transport = transport(raw, whole, cx);
    let balance = raw.balance.get().and_then(|b| balance(b, cx.report));
    let timeouts = raw.timeouts.get().and_then(|t| timeouts(t, cx.report));
    let health = raw.health.get().map(|h| health(h, cx.report));
    Some(Upstream {
        endpoints: items(&raw.endpoints).iter().map(|e| e.value.clone()).collect(),
        transport: transport?,
        protocol: raw.protocol.value()?,
        balance: balance?,
        timeouts: timeouts?,
        pool: pool(raw.pool.get()?)?,
        health: match health {
            Some(health) => Some(health?),
            None => None,
        },
    })
}

fn shown(endpoint: &Endpoint) -> String {
    match endpoint {
        Endpoint::Address(address) => address.to_string(),
        Endpoint::Unix(path) => format!("unix:{path}"),
    }
}

/// TLS, a unix socket, or loopback with the caveat written out (DESIGN §7; SS028-11.1.9c).
fn transport(raw: &At<RawUpstream>, whole: &Whole, cx: &mut Context<'_, '_>) -> Option<Transport> {
    match (raw.tls.get(), raw.plaintext.get()) {
        (Some(tls), Some(_)) => {
            cx.report.say(&tls.site, "stands beside `plaintext`: write one of them");
            None
        }
        (Some(tls), None) => tls_transport(tls, whole, cx).map(Transport::Tls),
        (None, Some(_)) => {
            items(&raw.endpoints)
                .iter()
                .filter(|e| !is_near(&e.value))
                .for_each(|e| leaves_the_machine(e, cx.report));
            Some(Transport::Plaintext)
        }
        (None, None) => only_sockets(raw, cx.report),
    }
}

fn is_near(endpoint: &Endpoint) -> bool {
    match endpoint {
        Endpoint::Unix(_) => true,
        Endpoint::Address(address) => address.ip().to_canonical().is_loopback(),
    }
}

fn leaves_the_machine(endpoint: &At<Endpoint>, report: &mut Report) {
    let advice = Advice::breaks("SS028-11.1.9c").write("write `tls`");
    report.advise(
        &endpoint.site,
        format!("found `{}`, plaintext may not leave loopback", shown(endpoint)),
        advice,
    );
}

fn only_sockets(raw: &At<RawUpstream>, report: &mut Report) -> Option<Transport> {
    raw.tls.absent()?;
    if items(&raw.endpoints).iter().all(|e| matches!(e.value, Endpoint::Unix(_))) {
        return Some(Transport::Plaintext);
    }
    let advice = Advice::breaks("SS028-11.1.9c")
        .write("write `tls: { roots: …, expect: …, identity: … }`, or use a unix socket");
    report.advise(&raw.site, "has no `tls`", advice);
    None
}

fn tls_transport(raw: &RawUpstreamTls, whole: &Whole, cx: &mut Context<'_, '_>) -> Option<UpstreamTls> {
    if let (Some(name), Some(ours)) = (raw.expect.get(), &whole.trust_domain)
        && name.trust_domain().is_some_and(|theirs| theirs != ours.as_str())
    {
        let advice = Advice::breaks("SS028-11.1.7b");
        cx.report.advise(
            &name.site,
            format!("found `{}`, which is not in trust domain `{ours}`", name.value),
            advice,
        );
    }
    let roots = cx.certificates(&raw.roots);
    let identity = identity(raw, cx);
    Some(UpstreamTls { roots: roots?, expect: raw.expect.value()?, identity: identity? })
}

fn identity(raw: &RawUpstreamTls, cx: &mut Context<'_, '_>) -> Option<Identity> {
    match (raw.identity.get(), raw.identity.absent(), raw.mutual.value()?) {
        (Some(certificate), ..) => cx.certificate(certificate).map(Identity::Certificate),
        (None, Some(_), RawMutual::ServerOnly) => Some(Identity::Absent),
        (None, Some(site), RawMutual::Required) => {
            let advice = Advice::breaks("SS028-11.3.3b")
                .write("write the edge's certificate, or `mutual: server-only` for a service of others");
            cx.report.advise(site, "is missing: the service cannot know who calls it", advice);
            None
        }
        (None, None, _) => None,
    }
}

fn balance(raw: &At<RawBalance>, report: &mut Report) -> Option<Balance> {
    let policy = raw.policy.value()?;
    if policy != RawPolicy::ConsistentHash {
        if let Some(by) = raw.by.get() {
            report.say(&by.site, "belongs to `policy: consistent-hash`");
        }
        return Some(if policy == RawPolicy::RoundRobin {
            Balance::RoundRobin
        } else {
            Balance::LeastRequest
        });
    }
    match (raw.by.value(), raw.header.get()) {
        (Some(RawHashBy::User), None) => Some(Balance::HashUser),
        (Some(RawHashBy::Source), None) => Some(Balance::HashSource),
        (Some(RawHashBy::Header), Some(header)) => Some(Balance::HashHeader(Arc::from(header.0.as_str()))),
        _ => {
            report.say(&raw.site, "needs `by: user`, `by: source`, or `by: header` with `header`");
            None
        }
    }
}

fn timeouts(raw: &RawUpstreamTimeouts, report: &mut Report) -> Option<UpstreamTimeouts> {
    in_order(&raw.connect, &raw.per_try, "per_try", report);
    in_order(&raw.per_try, &raw.request, "request", report);
    Some(UpstreamTimeouts {
        connect: raw.connect.value()?,
        per_try: raw.per_try.value()?,
        request: raw.request.value()?,
    })
}

fn pool(raw: &RawPool) -> Option<Pool> {
    let at_least_one = |slot: &Slot<Count>| slot.value().and_then(|c| NonZeroU32::new(c.0));
    Some(Pool {
        idle: raw.idle.value()?,
        idle_for: raw.idle_for.value()?,
        connections: at_least_one(&raw.connections)?,
        in_flight: at_least_one(&raw.in_flight)?,
    })
}

fn health(raw: &RawHealth, report: &mut Report) -> Option<HealthCheck> {
    in_order(&raw.timeout, &raw.every, "every", report);
    let path = raw.path.get()?;
    if !NormalPath::parse(&path.0).is_ok_and(|p| p.as_str() == path.0) {
        report.say(&path.site, format!("found {}, expected a path in normal form", quote(&path.0)));
    }
    Some(HealthCheck {
        path: Arc::from(path.0.as_str()),
        every: raw.every.value()?,
        timeout: raw.timeout.value()?,
        healthy_after: raw.healthy_after.value()?.0,
        unhealthy_after: raw.unhealthy_after.value()?.0,
    })
}
