//! What is turned on and off.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::Outcome;
use crate::load::Target;
use crate::plan::Work;
use crate::systems::portcullis::{self, text};
use crate::world::{Group, SCOPE, Version, World};

type Settings = Vec<(&'static str, Value)>;

/// One way to run the chain.
pub(super) struct Side {
    pub(super) words: &'static str,
    pub(super) settings: fn(&World) -> Outcome<Settings>,
    pub(super) load: fn(Target, &World) -> Outcome<Target>,
}

/// A feature, and the chain with it and without it.
pub(super) struct Feature {
    pub(super) name: &'static str,
    pub(super) work: Work,
    pub(super) with: Side,
    pub(super) without: Side,
}

const ROUTE: &str = "/services/0/routes/0";
/// Tokens in turn: many more than are remembered.
const NEW_TOKENS: usize = 40_000;

const CONTRACT: &str = r#"{
  "openapi": "3.1.0", "info": { "title": "orders", "version": "1" },
  "paths": {
    "/orders/{id}": { "get": {
      "operationId": "order",
      "parameters": [{ "name": "id", "in": "path", "required": true, "schema": { "type": "string", "maxLength": 64 } }],
      "responses": { "200": { "description": "it" } } } },
    "/customers/{id}": { "get": {
      "operationId": "customer",
      "parameters": [{ "name": "id", "in": "path", "required": true, "schema": { "type": "string", "maxLength": 64 } }],
      "responses": { "200": { "description": "it" } } } }
  }
}"#;

const fn side(words: &'static str, settings: fn(&World) -> Outcome<Settings>) -> Side {
    Side { words, settings, load: same }
}

const fn plain(words: &'static str) -> Side {
    side(words, none)
}

const fn load(words: &'static str, load: fn(Target, &World) -> Outcome<Target>) -> Side {
    Side { words, settings: none, load }
}

const fn feature(name: &'static str, with: Side, without: Side) -> Feature {
    Feature { name, work: Work::Secure, with, without }
}

const fn fresh(name: &'static str, with: Side, without: Side) -> Feature {
    Feature { name, work: Work::SecureFresh, with, without }
}

pub(super) const FEATURES: &[Feature] = &[
    feature("per-user-limit", plain("1,000,000/s a user"), side("a limit for the route alone", route_limit)),
    feature(
        "policy",
        side("a Cedar rule on a path parameter, 100 users", cedar_rule),
        plain("a scope rule, compiled to Cedar"),
    ),
    feature(
        "contract-enforce",
        side("enforce", |w| contract(w, "enforce")),
        side("off", |w| contract(w, "off")),
    ),
    feature(
        "contract-report",
        side("report", |w| contract(w, "report")),
        side("off", |w| contract(w, "off")),
    ),
    feature("mutual-tls-upstream", plain("mutual TLS"), side("TLS of the service alone", server_only)),
    feature("tls-upstream", plain("mutual TLS"), side("no TLS, on loopback", no_tls)),
    feature(
        "token-cache-miss",
        Side { load: new_tokens, ..side("every token new", small_cache) },
        plain("100 tokens, remembered"),
    ),
    feature("record-each", side("synced before the effect", sync_each), plain("synced within 50 ms")),
    feature(
        "record-stdout",
        side("a JSON line on standard output too", stdout),
        plain("the sealed record alone"),
    ),
    feature("cors", side("a rule for one origin", cors), plain("none")),
    feature("header-edits", side("two set, two removed", edits), plain("none")),
    feature("concurrency-limit", side("1,000 in flight a user", concurrent), plain("none")),
    fresh("tls-1.3", plain("TLS 1.3, X25519"), Side { load: tls12, ..side("TLS 1.2, X25519", allow_tls12) }),
    fresh("post-quantum", load("X25519MLKEM768", hybrid), plain("X25519")),
];

fn none(_: &World) -> Outcome<Settings> {
    Ok(Vec::new())
}

fn same(target: Target, _: &World) -> Outcome<Target> {
    Ok(target)
}

/// So that a token is forgotten before it comes again.
fn small_cache(_: &World) -> Outcome<Settings> {
    Ok(vec![("/gateway/connections/token_cache", json!(100))])
}

fn route_limit(_: &World) -> Outcome<Settings> {
    Ok(vec![("/plans/standard", json!({ "per_route": portcullis::rate(), "burst": 1_000_000 }))])
}

fn concurrent(_: &World) -> Outcome<Settings> {
    Ok(vec![("/plans/standard/concurrent", json!(1_000))])
}

/// Compares the same attribute as the work with a path parameter does, where all 100 users ask for `/orders/7`.
fn cedar_rule(world: &World) -> Outcome<Settings> {
    let rule = "permit (principal, action, resource) when { context.path.id == \"7\" };\n";
    let file = world.write("seven.cedar", rule)?;
    Ok(vec![("/services/0/routes/0/policy", json!(text(&file)))])
}

fn contract(world: &World, mode: &str) -> Outcome<Settings> {
    let file = world.write("orders.openapi.json", CONTRACT)?;
    let route = json!({
        "path": "/orders/{id}", "methods": ["GET"], "plan": "standard", "scopes": { "all": [SCOPE] },
    });
    Ok(vec![
        (ROUTE, route),
        ("/services/0/contract", json!(text(&file))),
        ("/services/0/contract_mode", json!(mode)),
    ])
}

fn server_only(world: &World) -> Outcome<Settings> {
    let tls = json!({ "roots": text(&world.root), "expect": "localhost", "mutual": "server-only" });
    let endpoint = json!([world.open_origin.to_string()]);
    Ok(vec![("/services/0/upstream/tls", tls), ("/services/0/upstream/endpoints", endpoint)])
}

fn no_tls(world: &World) -> Outcome<Settings> {
    let upstream = json!({
        "endpoints": [world.plain_origin.to_string()], "plaintext": "loopback-in-own-namespace",
    });
    Ok(vec![("/services/0/upstream", upstream)])
}

fn sync_each(_: &World) -> Outcome<Settings> {
    Ok(vec![("/audit", json!({ "sync": "each" }))])
}

fn stdout(_: &World) -> Outcome<Settings> {
    Ok(vec![("/stdout_log", json!("json"))])
}

fn cors(_: &World) -> Outcome<Settings> {
    Ok(vec![("/services/0/routes/0/cors", json!({ "origins": ["https://www.bench.example"] }))])
}

fn edits(_: &World) -> Outcome<Settings> {
    let edit = |set: &str, gone: &str| json!({ "set": { set: "bench" }, "remove": [gone] });
    let both = json!({ "request": edit("x-bench-in", "accept"), "response": edit("x-bench-out", "x-gone") });
    Ok(vec![("/services/0/routes/0/headers", both)])
}

fn allow_tls12(_: &World) -> Outcome<Settings> {
    Ok(vec![("/gateway/tls_minimum", json!("TLS1.2"))])
}

fn tls12(target: Target, world: &World) -> Outcome<Target> {
    let tls = Some(world.client_of("http/1.1", Version::Tls12, Group::X25519)?);
    Ok(Target { tls, ..target })
}

fn hybrid(target: Target, world: &World) -> Outcome<Target> {
    let tls = Some(world.client_of("http/1.1", Version::Tls13, Group::Hybrid)?);
    Ok(Target { tls, ..target })
}

fn new_tokens(target: Target, world: &World) -> Outcome<Target> {
    let tokens: Vec<String> = (0..NEW_TOKENS).map(|number| world.token(number)).collect();
    let paths = vec!["/orders/7".to_owned(); NEW_TOKENS];
    Ok(Target { tokens: Arc::new(tokens), paths: Arc::new(paths), ..target })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_the_contract_is_json() {
        let mut names: Vec<_> = FEATURES.iter().map(|feature| feature.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), FEATURES.len());
        assert!(serde_json::from_str::<Value>(CONTRACT).is_ok());
    }
}
