//! A large configuration: 5,000 routes of 50 services, 1,000 policy files.

use portcullis_testkit::launch::free_port;
use serde_json::{Value, json};

use crate::Outcome;
use crate::systems::{Started, portcullis};
use crate::world::{SCOPE, World};

const SERVICES: usize = 50;
const ROUTES: usize = 100;
const POLICIES: usize = 1_000;

/// Portcullis with it.
pub(super) fn start(world: &World) -> Outcome<Started> {
    let address = free_port();
    let mut config = portcullis::config(world, address);
    let policies = policies(world)?;
    let upstream = config.pointer("/services/0/upstream").cloned().unwrap_or_default();
    if let Some(Value::Array(services)) = config.pointer_mut("/services") {
        services.extend((1..SERVICES).map(|number| service(number, &upstream, &policies)));
        if let Some(Value::Array(routes)) = services.first_mut().and_then(|s| s.pointer_mut("/routes")) {
            routes.extend((routes.len()..ROUTES).map(|route| one(0, route, &policies)));
        }
    }
    portcullis::with(world, address, &config)
}

/// Each compares another number, so that no two are one.
fn policies(world: &World) -> Outcome<Vec<String>> {
    let write = |number| {
        let text =
            format!("permit (principal, action, resource) when {{ context.path.id == \"{number}\" }};\n");
        world.write(&format!("policy-{number}.cedar"), &text).map(|path| portcullis::text(&path))
    };
    (0..POLICIES).map(write).collect()
}

fn service(number: usize, upstream: &Value, policies: &[String]) -> Value {
    let routes: Vec<Value> = (0..ROUTES).map(|route| one(number, route, policies)).collect();
    // Nobody asks for it, so nothing has to listen there.
    let mut upstream = upstream.clone();
    if let Some(endpoints) = upstream.pointer_mut("/endpoints") {
        *endpoints = json!([format!("127.0.1.{number}:9443")]);
    }
    json!({
        "name": format!("service-{number}"), "owner": "bench", "context": format!("context-{number}"),
        "sensitivity": "medium", "upstream": upstream, "routes": routes,
    })
}

/// Every fifth route has a policy of its own, the others a scope.
fn one(service: usize, route: usize, policies: &[String]) -> Value {
    let number = service * ROUTES + route;
    let path = format!("/service-{service}/route-{route}/{{id}}");
    match policies.get(number / 5).filter(|_| number.is_multiple_of(5)) {
        Some(policy) => json!({ "path": path, "methods": ["GET"], "plan": "standard", "policy": policy }),
        None => json!({ "path": path, "methods": ["GET"], "plan": "standard", "scopes": { "all": [SCOPE] } }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_policy_has_a_route() {
        let policies: Vec<String> = (0..POLICIES).map(|n| n.to_string()).collect();
        let routes = (0..SERVICES).flat_map(|s| (0..ROUTES).map(move |r| (s, r)));
        let used: Vec<Value> =
            routes.filter_map(|(s, r)| one(s, r, &policies).get("policy").cloned()).collect();
        assert_eq!(used.len(), POLICIES);
    }
}
