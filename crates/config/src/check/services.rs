//! Services, and what holds between them.

use std::collections::BTreeMap;
use std::sync::Arc;

use portcullis_core::Name;

use super::overlap::Overlaps;
use super::pem::arc;
use super::root::Whole;
use super::routes::{Around, RouteNames, route};
use super::unique::Unique;
use super::upstream::upstream;
use super::{Context, at_least_one, cors, items, list};
use crate::plan::{ClientMode, Contract, ContractMode, Endpoint, Inlined, Route, Sensitivity, Service};
use crate::raw::FilePath;
use crate::raw::root::RawRoot;
use crate::raw::service::RawService;
use crate::yaml::site::Advice;
use crate::yaml::{At, Report, quote};

/// Every Cedar file, once.
pub(crate) struct Book {
    files: BTreeMap<Arc<str>, Inlined>,
}

impl Book {
    pub(crate) fn new(shared: Vec<Inlined>) -> Self {
        Self { files: shared.into_iter().map(|f| (Arc::clone(&f.file), f)).collect() }
    }

    /// The name under which a file is in the book. `None` after a problem.
    pub(crate) fn include(&mut self, path: &At<FilePath>, cx: &mut Context<'_, '_>) -> Option<Arc<str>> {
        if let Some((name, _)) = self.files.get_key_value(path.0.as_str()) {
            return Some(Arc::clone(name));
        }
        let file = cx.text(path)?;
        let name = Arc::clone(&file.file);
        self.files.insert(Arc::clone(&name), file);
        Some(name)
    }

    pub(crate) fn into_policies(self) -> Vec<Inlined> {
        self.files.into_values().collect()
    }
}

pub(crate) fn services(
    raw: &RawRoot,
    whole: &Whole,
    book: &mut Book,
    cx: &mut Context<'_, '_>,
) -> Option<Vec<Service>> {
    let written = raw.services.get()?;
    let mut seen = Unique::new("service");
    let mut names = RouteNames::default();
    let mut built = Vec::new();
    for service in &written.value {
        if let Some(name) = service.name.get() {
            seen.see(name.value.clone(), &name.site, cx.report);
        }
        admits_somebody(service, raw, whole, cx.report);
        built.extend(one_service(service, &mut Around { whole, book, names: &mut names }, cx));
    }
    contexts_do_not_share(&written.value, cx.report);
    procedures_agree(&written.value, cx.report);
    let mut overlaps = Overlaps::default();
    written.value.iter().for_each(|service| overlaps.add(service, cx.report));
    (built.len() == written.value.len()).then_some(built)
}

fn one_service(raw: &At<RawService>, around: &mut Around<'_>, cx: &mut Context<'_, '_>) -> Option<Service> {
    let context = context(raw, cx.report);
    let contract = contract(raw, cx);
    let mut seen = Unique::new("host");
    items(&raw.hosts).iter().for_each(|h| seen.see(h.value.to_string(), &h.site, cx.report));
    at_least_one(&raw.hosts, cx.report);
    let upstream = raw.upstream.get().and_then(|u| upstream(u, around.whole, cx));
    let shared_cors = raw.cors.get().map(|c| cors::cors(c, cx.report));
    let routes: Option<Vec<Route>> = raw.routes.get().and_then(|routes| {
        if routes.value.is_empty() {
            cx.report.say(&routes.site, "is empty: nobody could call the service");
        }
        let built: Vec<_> = routes.value.iter().filter_map(|r| route(r, raw, around, cx)).collect();
        (built.len() == routes.value.len()).then_some(built)
    });
    let mut routes = routes?;
    if let Some(shared) = shared_cors {
        let shared = shared?;
        routes.iter_mut().filter(|r| r.cors.is_none()).for_each(|r| r.cors = Some(shared.clone()));
    }
    Some(Service {
        name: raw.name.value()?,
        owner: arc(&raw.owner.value()?.0),
        sensitivity: raw.sensitivity.value()?,
        context: context?,
        contract: contract?,
        hosts: items(&raw.hosts).iter().map(|h| h.value.clone()).collect(),
        upstream: upstream?,
        routes,
        at: raw.site.location(),
    })
}

fn context(raw: &RawService, report: &mut Report) -> Option<Name> {
    let many = raw.context.get()?;
    if let [one] = many.value.0.as_slice() {
        return Some(one.value.clone());
    }
    let advice = Advice::breaks("SS028-11.1.11").write("write one, and a service of its own for each other");
    report.advise(&many.site, format!("names {} security contexts", many.value.0.len()), advice);
    None
}

/// The outer `None` is after a problem.
#[expect(clippy::option_option, reason = "a problem and no contract are two things")]
fn contract(raw: &RawService, cx: &mut Context<'_, '_>) -> Option<Option<Contract>> {
    let Some(path) = raw.contract.get() else {
        return raw.contract.absent().map(|_| None);
    };
    let document = cx.text(path)?;
    Some(Some(Contract { document, mode: raw.contract_mode.value()? }))
}

/// The mode that a service's routes start from.
pub(crate) fn contract_mode(raw: &RawService) -> ContractMode {
    match raw.contract.absent() {
        Some(_) => ContractMode::Off,
        None => raw.contract_mode.value().unwrap_or(ContractMode::Enforce),
    }
}

/// `high` needs a caller whose credential is bound to a client certificate, and no key alone (MS-SS-1.1, 8.3).
fn admits_somebody(raw: &At<RawService>, root: &RawRoot, whole: &Whole, report: &mut Report) {
    let high = raw.sensitivity.get().filter(|s| s.value == Sensitivity::High);
    let high_route = || list_high_routes(raw).next().is_some();
    let Some(sensitivity) = high.or_else(|| raw.sensitivity.get().filter(|_| high_route())) else { return };
    if whole.client_mode == ClientMode::Off {
        let advice =
            Advice::breaks("MS-SS-8.3").write("write `gateway.client_certificates` with `mode: optional`");
        let text = "is `high`, which admits only credentials that are bound to a client certificate";
        report.advise(&sensitivity.site, text, advice);
    }
    if !whole.has_issuers && whole.client_mode == ClientMode::Off && root.api_keys.absent().is_none() {
        let advice = Advice::breaks("MS-SS-1.1").write("add an issuer");
        report.advise(&sensitivity.site, "is `high`, but only API keys identify callers", advice);
    }
}

fn list_high_routes(raw: &RawService) -> impl Iterator<Item = ()> {
    list(&raw.routes).iter().filter(|r| r.sensitivity.value() == Some(Sensitivity::High)).map(|_| ())
}

/// One deployed service under two contexts would process both (SS028-11.1.11).
fn contexts_do_not_share(services: &[At<RawService>], report: &mut Report) {
    let mut seen: BTreeMap<&Endpoint, (&Name, &Name)> = BTreeMap::new();
    for service in services {
        let (Some(name), Some(context)) = (service.name.get(), service.context.get()) else { continue };
        let Some(context) = context.value.0.first() else { continue };
        let endpoints = service.upstream.get().map_or(&[][..], |u| items(&u.endpoints));
        for endpoint in endpoints {
            let (other, theirs) = *seen.entry(&endpoint.value).or_insert((&name.value, &context.value));
            if *theirs != context.value {
                let text = format!("is an endpoint of `{other}` too, whose context is `{theirs}`");
                report.advise(&endpoint.site, text, Advice::breaks("SS028-11.1.11"));
            }
        }
    }
}

/// Routes that name one procedure share its limit, so they must agree on it (SS028-11.4.2).
fn procedures_agree(services: &[At<RawService>], report: &mut Report) {
    let mut seen = BTreeMap::new();
    let routes = services.iter().flat_map(|s| list(&s.routes));
    for procedure in routes.filter_map(|r| r.procedure.get()) {
        let (Some(name), Some(rate)) = (procedure.name.get(), procedure.per_user.get()) else { continue };
        let (first, line) = *seen.entry(name.value.clone()).or_insert((rate.value, rate.site.line()));
        if first != rate.value {
            let text =
                format!("found `{}`, but {} has `{first}` at line {line}", rate.value, quote(name.as_str()));
            report.advise(&rate.site, text, Advice::breaks("SS028-11.4.2"));
        }
    }
}
