//! The plan as a whole.

use portcullis_core::{ByteSize, Name, TrustDomain};

use super::gateway::gateway;
use super::refer::Known;
use super::unique::Unique;
use super::{Context, api_keys, issuers, list, operate, services};
use crate::plan::{ClientMode, DEMO_TRUST_DOMAIN, Environment, Inlined, Plan, UsagePlan};
use crate::raw::root::RawRoot;
use crate::raw::service::RawUsagePlan;
use crate::yaml::At;
use crate::yaml::site::Advice;

/// Facts about the whole that single sections need.
pub(crate) struct Whole {
    pub(crate) production: bool,
    pub(crate) trust_domain: Option<TrustDomain>,
    pub(crate) has_issuers: bool,
    pub(crate) client_mode: ClientMode,
    pub(crate) plans: Known,
    /// The largest body where a route does not say.
    pub(crate) body: Option<ByteSize>,
}

/// Builds the plan. `None` only after a problem.
pub(crate) fn plan(raw: &RawRoot, cx: &mut Context<'_, '_>) -> Option<Plan> {
    let environment = raw.environment.value().map(Environment::new);
    demo_keeps_to_itself(raw, environment.as_ref(), cx);
    let plans = usage_plans(raw, cx);
    let whole = whole(raw, environment.as_ref(), &plans);
    let gateway = raw.gateway.get().and_then(|g| gateway(g, cx));
    let issuers = issuers::issuers(raw, &whole, cx);
    let shared = shared_policies(raw, cx);
    let mut book = services::Book::new(shared);
    let services = services::services(raw, &whole, &mut book, cx);
    let api_keys = raw.api_keys.get().map(|keys| api_keys::api_keys(keys, raw, cx));
    let state = operate::state(raw);
    let ca = raw.ca.get().map(|ca| operate::ca(ca, state.as_ref(), cx));
    let admin = raw.admin.get().and_then(|a| operate::admin(a, state.as_ref(), cx));
    let alerts = raw.alerts.get().and_then(|a| operate::alerts(a, &whole, cx));
    let audit = raw.audit.get().and_then(|a| operate::audit(a, cx));
    let metrics = raw.metrics.get().map(|m| operate::metrics(m, cx));
    Some(Plan {
        environment: environment?,
        trust_domain: whole.trust_domain?,
        state: state?,
        ca: match ca {
            Some(ca) => Some(ca?),
            None => None,
        },
        admin: admin?,
        gateway: gateway?,
        issuers: issuers?,
        api_keys: match api_keys {
            Some(keys) => Some(keys?),
            None => None,
        },
        plans,
        policies: book.into_policies(),
        services: services?,
        alerts: alerts?,
        audit: audit?,
        metrics: metrics?,
        stdout_log: raw.stdout_log.value()?,
    })
}

fn whole(raw: &RawRoot, environment: Option<&Environment>, plans: &[UsagePlan]) -> Whole {
    let client = raw.gateway.get().and_then(|g| g.client_certificates.get().and_then(|c| c.mode.value()));
    // A plan whose limits are broken still exists: its routes are not to blame.
    let written = raw.plans.get().map_or(&[][..], |t| &t.value.0);
    let names = written.iter().filter_map(|(name, _)| Name::parse(name).ok());
    Whole {
        production: environment.is_some_and(Environment::is_production),
        trust_domain: raw.trust_domain.value(),
        has_issuers: !list(&raw.issuers).is_empty(),
        client_mode: client.unwrap_or(ClientMode::Off),
        body: raw.gateway.get().and_then(|g| g.limits.get()?.body.value()),
        plans: Known::new("plan", names.chain(plans.iter().map(|p| p.name.clone()))),
    }
}

/// The demo's keys are made for everybody to see, so nothing real may trust its domain (SS028-11.1.7a).
fn demo_keeps_to_itself(raw: &RawRoot, environment: Option<&Environment>, cx: &mut Context<'_, '_>) {
    if let Some(domain) = raw.trust_domain.get()
        && domain.value.as_str() == DEMO_TRUST_DOMAIN
        && environment.is_some_and(Environment::is_production)
    {
        let advice =
            Advice::breaks("SS028-11.1.7a").write("write the trust domain of your production environment");
        cx.report.advise(
            &domain.site,
            "is the trust domain of the demo, which production may not use",
            advice,
        );
    }
}

fn usage_plans(raw: &RawRoot, cx: &mut Context<'_, '_>) -> Vec<UsagePlan> {
    let rows = raw.plans.get().map_or(&[][..], |table| &table.value.0);
    let mut plans: Vec<_> = rows.iter().filter_map(|(name, plan)| usage_plan(name, plan, cx)).collect();
    plans.sort_by(|a, b| a.name.cmp(&b.name));
    plans
}

fn usage_plan(name: &At<String>, raw: &At<RawUsagePlan>, cx: &mut Context<'_, '_>) -> Option<UsagePlan> {
    let limits =
        [raw.per_user.absent(), raw.per_source.absent(), raw.per_route.absent(), raw.concurrent.absent()];
    if limits.iter().all(Option::is_some) {
        let advice =
            Advice::breaks("MS-SS-8.1").write("write `per_user`, `per_source`, `per_route` or `concurrent`");
        cx.report.advise(&raw.site, "limits nothing", advice);
    }
    let name = Name::parse(name).map_err(|fault| cx.report.say(&name.site, fault.to_string())).ok()?;
    Some(UsagePlan {
        name,
        per_user: raw.per_user.value(),
        per_source: raw.per_source.value(),
        per_route: raw.per_route.value(),
        burst: raw.burst.value()?.0,
        concurrent: raw.concurrent.value().map(|c| c.0),
    })
}

fn shared_policies(raw: &RawRoot, cx: &mut Context<'_, '_>) -> Vec<Inlined> {
    let mut seen = Unique::new("policy file");
    let mut files = Vec::new();
    for path in list(&raw.policies) {
        seen.see(path.0.clone(), &path.site, cx.report);
        files.extend(cx.text(path));
    }
    files
}
