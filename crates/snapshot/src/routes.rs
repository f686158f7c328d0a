//! The routes generation: what each route demands, and the tree that finds it.
//!
//! Everything that can be worked out before a request comes is worked out here, once, off the data cores: header
//! names are parsed, quotas are made, allow-lists are sorted. A request finds an `Arc<Route>` and reads.
//!
//! INVARIANT: a [`Route`] refers to nothing by name that has to be looked up per request.
//! INVARIANT: endpoints' counters live on when a service's endpoint list changes (`Endpoints::successor`).
//!
//! Not here: rules (`authorisation`), keys (`keys`), certificates (`portcullis-net`).

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use http::header::{HeaderName, HeaderValue};
use portcullis_config::plan;
use portcullis_core::{Name, Problems};
use portcullis_evidence::AllowList;
use portcullis_limits::Quota;
use portcullis_registry::Endpoints;

use crate::contracts::{self, Checks};
use crate::router::{Doubled, RouteIndex, Router, Segment};

/// All routes of all services.
#[derive(Debug)]
pub struct Routes {
    router: Router,
    routes: Vec<Arc<Route>>,
    services: Vec<Arc<Service>>,
}

/// A service and how it is reached.
#[derive(Debug)]
pub struct Service {
    /// Its name, which is also the audience of the internal token.
    pub name: Name,
    /// Its endpoints, with counters shared by all cores and by later generations.
    pub endpoints: Endpoints,
    /// How it is reached.
    pub upstream: plan::Upstream,
}

/// A route, ready to be followed.
#[derive(Debug)]
pub struct Route {
    /// Unique over all services.
    pub id: Name,
    /// Where requests go.
    pub service: Arc<Service>,
    /// What records show in place of the path.
    pub template: Arc<str>,
    /// The names of captured values, in the order of capture.
    pub params: Box<[Arc<str>]>,
    /// The methods it has.
    pub methods: Box<[http::Method]>,
    /// How much harm misuse would do.
    pub sensitivity: plan::Sensitivity,
    /// Whether anybody may call.
    pub access: Access,
    /// What is counted.
    pub limits: RouteLimits,
    /// The largest request body, in bytes.
    pub body: u64,
    /// For one try.
    pub per_try: Duration,
    /// From the routed request to the head of the answer.
    pub request: Duration,
    /// How the path reaches the service.
    pub rewrite: Option<plan::Rewrite>,
    /// Towards the service.
    pub request_edit: Edit,
    /// Towards the caller.
    pub answer_edit: Edit,
    /// Whether it may become a WebSocket.
    pub websocket: plan::WebSocket,
    /// The contract, if it is checked.
    pub contract: Option<Checks>,
    /// Which captured values a record may show.
    pub recorded_params: AllowList,
    /// Which parameters of the query a record may show.
    pub recorded_query: AllowList,
    /// Which pages may call.
    pub cors: Option<plan::Cors>,
}

/// Whether a route is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Anybody may call, proven or not.
    Public,
    /// Only callers who proved themselves and whom the rules admit.
    Ruled,
}

/// What is counted on a route.
#[derive(Debug)]
pub struct RouteLimits {
    /// The plan's name, part of the keys.
    pub plan: Name,
    /// For each user.
    pub per_user: Option<Quota>,
    /// For each source.
    pub per_source: Option<Quota>,
    /// For the route as a whole.
    pub per_route: Option<Quota>,
    /// How many of one user may be in flight.
    pub concurrent: Option<u32>,
    /// The stored procedure and its limit for each user (SS028-11.4.2).
    pub procedure: Option<(Name, Quota)>,
}

/// Header fields to set and to remove, in one direction.
#[derive(Debug, Default)]
pub struct Edit {
    /// Set after removal.
    pub set: Vec<(HeaderName, HeaderValue)>,
    /// Removed first.
    pub remove: Vec<HeaderName>,
}

impl Routes {
    /// Compiles the routes of a checked plan.
    ///
    /// # Errors
    /// What the cross-checks of configuration cannot see: contracts, quotas, routes that collide.
    pub fn compile(plan: &plan::Plan, before: Option<&Self>) -> Result<Self, Problems> {
        let mut problems = Problems::default();
        let mut made = Self { router: Router::default(), routes: Vec::new(), services: Vec::new() };
        let plans: HashMap<&Name, &plan::UsagePlan> = plan.plans.iter().map(|p| (&p.name, p)).collect();
        for planned in &plan.services {
            let service = Arc::new(compile_service(planned, before));
            let contract = contracts::parse(planned, &mut problems);
            for route in &planned.routes {
                let Some(usage) = plans.get(&route.plan) else {
                    problems.add(&route.at, "plan", format!("plan `{}` does not exist", route.plan));
                    continue;
                };
                let checks = contracts::checks(route, contract.as_ref(), &mut problems);
                match compile_route(route, usage, &service, checks) {
                    Ok(compiled) => made.add(planned, route, compiled, &mut problems),
                    Err(text) => problems.add(&route.at, route.id.as_str(), text),
                }
            }
            made.services.push(service);
        }
        problems.into_result(made)
    }

    fn add(&mut self, service: &plan::Service, planned: &plan::Route, route: Route, problems: &mut Problems) {
        let index = RouteIndex(u32::try_from(self.routes.len()).unwrap_or(u32::MAX));
        let template: Vec<Segment> = planned.template.segments().iter().map(segment).collect();
        let hosts = service.hosts.iter().map(|h| Some(h.as_str()));
        let any = service.hosts.is_empty().then_some(None);
        for host in hosts.chain(any) {
            if let Err(Doubled { first }) = self.router.add(host, &template, &route.methods, index) {
                let other = self.route(first).map_or("another", |r| r.id.as_str()).to_owned();
                problems.add(&planned.at, route.id.as_str(), format!("serves what route `{other}` serves"));
            }
        }
        self.routes.push(Arc::new(route));
    }

    /// The tree.
    #[must_use]
    pub fn router(&self) -> &Router {
        &self.router
    }

    /// The route at a place that the tree gave.
    #[must_use]
    pub fn route(&self, index: RouteIndex) -> Option<&Arc<Route>> {
        self.routes.get(usize::try_from(index.0).ok()?)
    }

    /// Every route with its place.
    pub fn iter(&self) -> impl Iterator<Item = (RouteIndex, &Arc<Route>)> {
        (0..).map(RouteIndex).zip(&self.routes)
    }

    /// Every service.
    #[must_use]
    pub fn services(&self) -> &[Arc<Service>] {
        &self.services
    }
}

fn compile_service(planned: &plan::Service, before: Option<&Routes>) -> Service {
    let known = before.and_then(|b| b.services.iter().find(|s| s.name == planned.name));
    let endpoints = crate::endpoints::compile(&planned.upstream, known.map(|s| &s.endpoints));
    Service { name: planned.name.clone(), endpoints, upstream: planned.upstream.clone() }
}

fn compile_route(
    route: &plan::Route,
    usage: &plan::UsagePlan,
    service: &Arc<Service>,
    contract: Option<Checks>,
) -> Result<Route, String> {
    Ok(Route {
        id: route.id.clone(),
        service: Arc::clone(service),
        template: route.template.as_str().into(),
        params: route.template.params().map(Arc::from).collect(),
        methods: route.methods.iter().filter_map(|m| m.as_str().parse().ok()).collect(),
        sensitivity: route.sensitivity,
        access: match route.access {
            plan::Access::Public => Access::Public,
            plan::Access::Ruled(_) => Access::Ruled,
        },
        limits: limits(route, usage)?,
        body: route.body.get(),
        per_try: route.timeouts.per_try.as_duration(),
        request: route.timeouts.request.as_duration(),
        rewrite: route.rewrite.clone(),
        request_edit: edit(&route.headers.request)?,
        answer_edit: edit(&route.headers.response)?,
        websocket: route.websocket,
        contract,
        recorded_params: AllowList::new(&route.record.path_params),
        recorded_query: AllowList::new(&route.record.query),
        cors: route.cors.clone(),
    })
}

fn limits(route: &plan::Route, usage: &plan::UsagePlan) -> Result<RouteLimits, String> {
    let quota = |rate: Option<portcullis_core::Rate>| match rate {
        None => Ok(None),
        Some(rate) => Quota::new(rate, usage.burst).map(Some).ok_or_else(|| {
            format!("plan `{}`: `{rate}` with a burst of {} cannot be counted", usage.name, usage.burst)
        }),
    };
    let procedure = route.procedure.as_ref().map(|p| {
        let quota = Quota::of(p.per_user).ok_or_else(|| format!("`{}` cannot be counted", p.per_user))?;
        Ok::<_, String>((p.name.clone(), quota))
    });
    Ok(RouteLimits {
        plan: usage.name.clone(),
        per_user: quota(usage.per_user)?,
        per_source: quota(usage.per_source)?,
        per_route: quota(usage.per_route)?,
        concurrent: usage.concurrent,
        procedure: procedure.transpose()?,
    })
}

fn edit(planned: &plan::HeaderEdit) -> Result<Edit, String> {
    let name = |text: &str| {
        HeaderName::from_bytes(text.as_bytes()).map_err(|_| format!("`{text}` is no header name"))
    };
    let value = |text: &str| HeaderValue::from_str(text).map_err(|_| format!("`{text}` is no header value"));
    let set = planned.set.iter().map(|(n, v)| Ok::<_, String>((name(n)?, value(v)?)));
    Ok(Edit {
        set: set.collect::<Result<_, _>>()?,
        remove: planned.remove.iter().map(|n| name(n)).collect::<Result<_, _>>()?,
    })
}

fn segment(planned: &plan::Segment) -> Segment {
    match planned {
        plan::Segment::Literal(text) => Segment::Literal((&**text).into()),
        plan::Segment::Param(_) => Segment::Param,
        plan::Segment::Rest(_) => Segment::Rest,
    }
}
