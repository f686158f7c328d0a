//! What does a decision cost, and a book? Prints one JSON object; run it with `--release`.
//!
//! The book is the one of the budget: 5,000 routes and 1,000 policies, most of them bound to a route and comparing
//! a path parameter to a claim, a few to a service, two to everything. `uncached_us` and `warm_us` are the cost of
//! one decision there, `uncached_small_us` the same with one policy in all: the difference is what the book's
//! size costs. `compile_ms` is the whole book, from text.
#![expect(
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a benchmark prints and reads the clock"
)]

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Instant;

use portcullis_core::{ClaimValue, Generation, Location, Name, NameFault, Principal, Proof, UnixMillis};
use portcullis_policy::{
    Attached, Book, BookSource, ClaimKind, ClaimSource, DecisionCache, Method, PolicySource, Presence,
    Question, RouteSource, Sensitivity, SliceId,
};

const SERVICES: usize = 50;
const ROUTES_EACH: usize = 100;
const POLICIES: usize = 1_000;
const ROUNDS: u32 = 20_000;

type Failure = Box<dyn std::error::Error>;

fn main() -> Result<(), Failure> {
    let large = source(POLICIES)?;
    let start = Instant::now();
    let book = Book::compile(&large)?;
    let compile_ms = start.elapsed().as_secs_f64() * 1e3;
    let small_book = Book::compile(&source(1)?)?;
    let caller = caller()?;
    let uncached = uncached(&book, &caller)?;
    let small = self::uncached(&small_book, &caller)?;
    let warm = warm(&book, &caller)?;
    println!(
        "{{\"uncached_us\": {uncached:.2}, \"uncached_small_us\": {small:.2}, \"warm_us\": {warm:.3}, \
         \"compile_ms\": {compile_ms:.0}, \"policies\": {POLICIES}, \"routes\": {}}}",
        SERVICES * ROUTES_EACH
    );
    Ok(())
}

fn source(policies: usize) -> Result<BookSource, NameFault> {
    let mut source = BookSource::empty(Name::parse("bench")?);
    for service in 0..SERVICES {
        for route in 0..ROUTES_EACH {
            source.routes.push(route_source(service, route)?);
        }
    }
    source.claims.push(ClaimSource {
        name: "customer".into(),
        kind: ClaimKind::Text,
        presence: Presence::Optional,
        at: Location::at("portcullis.yaml", 1, 1),
    });
    let text: String = (0..policies).map(policy).collect();
    source.policies.push(PolicySource {
        file: "policies/all.cedar".into(),
        text: text.into(),
        attached: vec![Attached::Everything],
    });
    Ok(source)
}

fn route_source(service: usize, route: usize) -> Result<RouteSource, NameFault> {
    Ok(RouteSource {
        service: Name::parse(&format!("service-{service}"))?,
        route: Name::parse(&format!("route-{route}"))?,
        methods: vec![Method::Get, Method::Post],
        path: format!("/s{service}/r{route}/{{id}}").into(),
        parameters: vec!["id".into()],
        sensitivity: Sensitivity::Medium,
        at: Location::at("portcullis.yaml", 1, 1),
    })
}

/// The first is the one that is asked about: bound to a route, with a path parameter.
fn policy(index: usize) -> String {
    match index {
        998 | 999 => format!(
            "forbid(principal, action in Action::\"write\", resource) \
             when {{ principal.scopes.contains(\"frozen-{index}\") }};\n"
        ),
        940..=997 => format!(
            "forbid(principal, action, resource in Service::\"service-{}\") \
             when {{ principal.roles.contains(\"suspended\") }};\n",
            index % SERVICES
        ),
        _ => format!(
            "permit(principal, action, resource == Route::\"service-{}/route-{}\") when {{ \
             principal.scopes.contains(\"orders:read\") && principal.claims has customer \
             && context.path.id == principal.claims.customer }};\n",
            index % SERVICES,
            index / SERVICES
        ),
    }
}

fn caller() -> Result<Principal, NameFault> {
    let scopes = ["orders:read", "orders:write", "openid", "profile"];
    Ok(Principal {
        proof: Proof::Token,
        subject: "7d0f3b0e-6f0a-4a57-9a54-8a1d5c3f7a10".into(),
        client: Some("shop-web".into()),
        scopes: scopes.into_iter().map(Arc::from).collect(),
        roles: ["clerk", "reader"].into_iter().map(Arc::from).collect(),
        claims: [(Arc::from("customer"), ClaimValue::Text("customer-7".into()))].into(),
        ..Principal::anonymous(Name::parse("staff")?)
    })
}

fn ask<'q>(principal: &'q Principal, path: &'q [(&'q str, &'q str)]) -> Question<'q> {
    let source = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 7));
    Question { principal, method: Method::Get, path, source, now: UnixMillis(1_790_000_000_000) }
}

fn first_slice(book: &Book) -> Result<SliceId, Failure> {
    let (service, route) = (Name::parse("service-0")?, Name::parse("route-0")?);
    book.slice(&service, &route).ok_or_else(|| "no slice".into())
}

/// A thousand ids in turn, so that no two questions in a row are alike.
fn uncached(book: &Book, caller: &Principal) -> Result<f64, Failure> {
    let ids: Vec<String> = (0..1_000).map(|n| format!("customer-{n}")).collect();
    let slice = first_slice(book)?;
    best_of(5, || {
        let mut allowed = 0_u32;
        for id in ids.iter().cycle().take(ROUNDS as usize) {
            allowed += u32::from(book.decide(slice, &ask(caller, &[("id", id)])).is_allow());
        }
        allowed
    })
}

fn warm(book: &Book, caller: &Principal) -> Result<f64, Failure> {
    let mut cache = DecisionCache::new(4_096);
    let ids: Vec<String> = (0..1_000).map(|n| format!("customer-{n}")).collect();
    let slice = first_slice(book)?;
    best_of(6, || {
        let mut allowed = 0_u32;
        for id in ids.iter().cycle().take(ROUNDS as usize) {
            let answer = cache.decide(book, Generation(1), slice, &ask(caller, &[("id", id)]));
            allowed += u32::from(answer.is_allow());
        }
        allowed
    })
}

/// Microseconds for one round, the best of some runs.
fn best_of(runs: u32, mut run: impl FnMut() -> u32) -> Result<f64, Failure> {
    let mut best = f64::MAX;
    for _ in 0..runs {
        let start = Instant::now();
        if run() != ROUNDS / 1_000 {
            return Err("the book answered wrongly".into());
        }
        best = best.min(start.elapsed().as_secs_f64() * 1e6 / f64::from(ROUNDS));
    }
    Ok(best)
}
