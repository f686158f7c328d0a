//! One route.

use std::collections::BTreeSet;

use portcullis_core::Name;

use super::root::Whole;
use super::services::{Book, contract_mode};
use super::{Context, at_least_one, cors, edits, items, words};
use crate::plan::{
    Access, ContractMode, Digest, Method, Procedure, Recorded, Route, RouteTemplate, RouteTimeouts, Rules,
    Sensitivity, WebSocket,
};
use crate::raw::service::{RawRoute, RawService};
use crate::yaml::site::Advice;
use crate::yaml::{At, Report, quote};

/// What a route is checked against.
pub(crate) struct Around<'a> {
    pub(crate) whole: &'a Whole,
    pub(crate) book: &'a mut Book,
    pub(crate) names: &'a mut RouteNames,
}

pub(crate) fn route(
    raw: &At<RawRoute>,
    service: &At<RawService>,
    around: &mut Around<'_>,
    cx: &mut Context<'_, '_>,
) -> Option<Route> {
    let template = template(raw, cx.report);
    let methods = methods(raw, cx.report);
    let sensitivity = sensitivity(raw, service, cx.report);
    if let Some(plan) = raw.plan.get() {
        around.whole.plans.expect(plan, cx.report);
    }
    let access = access(raw, around.book, cx);
    public_is_harmless(raw, sensitivity, cx.report);
    let timeouts = timeouts(raw, service, cx.report);
    let rewrite = raw.rewrite.get().map(|r| edits::rewrite(r, template.as_ref(), cx.report));
    let headers = raw.headers.get().and_then(|h| edits::header_edits(h, cx.report));
    let websocket = websocket(raw, &methods, cx.report);
    let contract = contract(raw, service, cx.report);
    let record = recorded(raw, template.as_ref(), cx.report);
    let cors = raw.cors.get().map(|c| cors::cors(c, cx.report));
    let id = around.names.name(raw, service, template.as_ref(), &methods, cx.report);
    let body = raw.body.value().or(around.whole.body);
    Some(Route {
        id: id?,
        template: template?,
        methods,
        sensitivity: sensitivity?,
        plan: raw.plan.value()?,
        access: access?,
        procedure: procedure(raw)?,
        body: body?,
        timeouts: timeouts?,
        rewrite: given(rewrite)?,
        headers: headers?,
        websocket: websocket?,
        contract,
        record,
        cors: given(cors)?,
        at: raw.site.location(),
    })
}

/// What may be left out: `Some(None)` when it is, `None` after a problem.
#[expect(clippy::option_option, reason = "a problem and nothing written are two things")]
fn given<T>(built: Option<Option<T>>) -> Option<Option<T>> {
    match built {
        None => Some(None),
        Some(None) => None,
        Some(some) => Some(some),
    }
}

fn template(raw: &RawRoute, report: &mut Report) -> Option<RouteTemplate> {
    let path = raw.path.get()?;
    match RouteTemplate::parse(&path.0) {
        Ok(template) => Some(template),
        Err(fault) => {
            report.say(&path.site, format!("{} {fault}", quote(&path.0)));
            None
        }
    }
}

fn methods(raw: &RawRoute, report: &mut Report) -> BTreeSet<Method> {
    at_least_one(&raw.methods, report);
    items(&raw.methods).iter().map(|m| m.value).collect()
}

/// A route may be more sensitive than its service, never less.
fn sensitivity(raw: &RawRoute, service: &RawService, report: &mut Report) -> Option<Sensitivity> {
    let floor = service.sensitivity.value()?;
    let Some(own) = raw.sensitivity.get() else { return Some(floor) };
    if own.value < floor {
        let advice = Advice::breaks("SS028-11.1.11").write("move the route to a service of its own");
        report.advise(&own.site, "is lower than that of its service", advice);
    }
    Some(own.value.max(floor))
}

fn access(raw: &At<RawRoute>, book: &mut Book, cx: &mut Context<'_, '_>) -> Option<Access> {
    let policies = items(&raw.policy).iter().map(|path| book.include(path, cx)).collect::<Option<Vec<_>>>();
    let rules = rules(raw, cx.report);
    let open = raw.access.get();
    let any_broken =
        raw.policy.is_broken() || raw.scopes.is_broken() || raw.roles.is_broken() || raw.access.is_broken();
    let rules = Rules { policies: policies?, ..rules };
    match (rules == Rules::default(), open) {
        _ if any_broken => None,
        (true, Some(_)) => Some(Access::Public),
        (false, None) => Some(Access::Ruled(rules)),
        (false, Some(access)) => {
            cx.report.say(&access.site, "is `public`, but rules are written beside it");
            None
        }
        (true, None) => {
            let advice = Advice::breaks("SS028-11.1.5b")
                .write("write `policy`, `scopes` or `roles`, or `access: public` if anybody may call it");
            cx.report.advise(&raw.site, "says nothing about who may call it", advice);
            None
        }
    }
}

/// The rules that are not in a file.
fn rules(raw: &RawRoute, report: &mut Report) -> Rules {
    // SECURITY: an empty list would say nothing where its writer meant nobody (B7).
    at_least_one(&raw.policy, report);
    at_least_one(&raw.roles, report);
    let mut rules = Rules { any_roles: words(&raw.roles), ..Rules::default() };
    if let Some(scopes) = raw.scopes.get() {
        at_least_one(&scopes.all, report);
        at_least_one(&scopes.any, report);
        (rules.all_scopes, rules.any_scopes) = (words(&scopes.all), words(&scopes.any));
    }
    rules
}

/// What needs a user cannot be open to everybody.
fn public_is_harmless(raw: &At<RawRoute>, sensitivity: Option<Sensitivity>, report: &mut Report) {
    let Some(access) = raw.access.get() else { return };
    if sensitivity == Some(Sensitivity::High) {
        let advice = Advice::breaks("SS028-11.1.9b").write("write who may call it");
        report.advise(&access.site, "is `public`, but the sensitivity is `high`", advice);
    }
    if let Some(procedure) = raw.procedure.get() {
        let advice = Advice::breaks("SS028-11.4.2").write("write who may call it");
        report.advise(&procedure.site, "is limited by user, but the route is `public`", advice);
    }
}

fn timeouts(raw: &RawRoute, service: &RawService, report: &mut Report) -> Option<RouteTimeouts> {
    let own = raw.timeouts.get()?;
    let shared = service.upstream.get().and_then(|u| u.timeouts.get())?;
    let per_try = own.per_try.get().or(shared.per_try.get())?;
    let request = own.request.get().or(shared.request.get())?;
    let written = own.per_try.get().or(own.request.get());
    if let Some(written) = written
        && per_try.value >= request.value
    {
        let text = format!(
            "leaves `per_try` (`{}`) not shorter than `request` (`{}`)",
            per_try.value, request.value
        );
        report.say(&written.site, text);
    }
    if let (Some(own), Some(connect)) = (own.per_try.get(), shared.connect.get())
        && own.value <= connect.value
    {
        let text = format!(
            "found `{}`, must be longer than the upstream's `connect` (`{}`)",
            own.value, connect.value
        );
        report.say(&own.site, text);
    }
    Some(RouteTimeouts { per_try: per_try.value, request: request.value })
}

fn websocket(raw: &RawRoute, methods: &BTreeSet<Method>, report: &mut Report) -> Option<WebSocket> {
    let websocket = raw.websocket.get()?;
    if websocket.value == WebSocket::Allowed && !methods.contains(&Method::Get) {
        report.say(
            &websocket.site,
            "is `allowed`, but a WebSocket begins with `GET`, which the route does not have",
        );
    }
    Some(websocket.value)
}

fn contract(raw: &RawRoute, service: &RawService, report: &mut Report) -> ContractMode {
    let shared = contract_mode(service);
    let Some(own) = raw.contract_mode.get() else { return shared };
    if own.value != ContractMode::Off && service.contract.absent().is_some() {
        report.advise(&own.site, "has no contract to check", Advice::hint("write the service's `contract`"));
    }
    own.value
}

fn recorded(raw: &RawRoute, template: Option<&RouteTemplate>, report: &mut Report) -> Recorded {
    let Some(record) = raw.record.get() else { return Recorded::default() };
    for param in items(&record.path_params) {
        if template.is_some_and(|t| !t.params().any(|p| p == param.0)) {
            report.say(&param.site, format!("{} is not a parameter of the path", quote(&param.0)));
        }
    }
    Recorded { path_params: words(&record.path_params), query: words(&record.query) }
}

#[expect(clippy::option_option, reason = "a problem and nothing written are two things")]
fn procedure(raw: &RawRoute) -> Option<Option<Procedure>> {
    let Some(written) = raw.procedure.get() else {
        return raw.procedure.absent().map(|_| None);
    };
    Some(Some(Procedure { name: written.name.value()?, per_user: written.per_user.value()? }))
}

/// Names of routes, unique over all services.
#[derive(Debug, Default)]
pub(crate) struct RouteNames {
    seen: std::collections::BTreeMap<Name, u32>,
}

impl RouteNames {
    fn name(
        &mut self,
        raw: &At<RawRoute>,
        service: &RawService,
        template: Option<&RouteTemplate>,
        methods: &BTreeSet<Method>,
        report: &mut Report,
    ) -> Option<Name> {
        let service = service.name.value()?;
        let name = match raw.name.get() {
            Some(written) => written.value.clone(),
            None => made(&service, template?, methods)?,
        };
        let site = raw.name.get().map_or(&raw.site, |n| &n.site);
        if let Some(first) = self.seen.insert(name.clone(), site.line()) {
            report
                .say(site, format!("route {} is written twice, first at line {first}", quote(name.as_str())));
        }
        Some(name)
    }
}

/// `orders.get-orders-id`, with a digest in place of what is too long or was lost.
fn made(service: &Name, template: &RouteTemplate, methods: &BTreeSet<Method>) -> Option<Name> {
    let verbs: Vec<String> = methods.iter().map(|m| m.as_str().to_ascii_lowercase()).collect();
    let plain = |c: char| if c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_' { c } else { '-' };
    let path: String = template.as_str().chars().map(plain).collect();
    let words: Vec<&str> = path.split('-').filter(|w| !w.is_empty()).collect();
    let readable = format!("{service}.{}-{}", verbs.join("-"), words.join("-"));
    // The readable part alone may be shared by `/a/b` and `/a-b`.
    let whole = format!("{service} {} {template}", verbs.join(" "));
    let digest = Digest::of(whole.as_bytes()).to_string();
    let tail: String = digest.chars().take(8).collect();
    let readable: String = readable.trim_end_matches('-').chars().take(Name::LONGEST - 9).collect();
    Name::parse(&format!("{readable}-{tail}")).ok()
}
