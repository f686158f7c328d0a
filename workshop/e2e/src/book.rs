//! The configuration that the tests have in common.
//!
//! Limits by source are out of the way here, since all callers come from one address; tests of those limits set them.

use serde_json::{Value, json};

use crate::gateway::{Kit, PARTNERS, STAFF};

/// Who may read the orders of a tenant: those of the tenant.
pub(crate) const TENANT: &str = r#"
permit (principal, action, resource)
when { principal has claims && principal.claims has tenant && context has path && context.path has tenant
    && principal.claims.tenant == context.path.tenant };
"#;

/// The contract of `/items`.
pub(crate) const CONTRACT: &str = r##"
openapi: 3.1.0
info: { title: Items, version: "1" }
paths:
  /items/{id}:
    get:
      operationId: readItem
      parameters:
        - { name: id, in: path, required: true, schema: { type: string, maxLength: 8 } }
        - { name: limit, in: query, schema: { type: integer, minimum: 1, maximum: 50 } }
      responses: { "200": { description: The item } }
    put:
      operationId: writeItem
      parameters:
        - { name: id, in: path, required: true, schema: { type: string, maxLength: 8 } }
      requestBody:
        required: true
        content:
          application/json:
            schema:
              type: object
              additionalProperties: false
              required: [name]
              properties: { name: { type: string, maxLength: 20 } }
      responses: { "200": { description: Written } }
"##;

/// All of it but the listener.
pub(crate) fn config(kit: &Kit) -> Value {
    json!({
        "environment": "test",
        "trust_domain": "test.example",
        "state": { "directory": "state" },
        "gateway": gateway(),
        "issuers": [
            issuer("staff", STAFF, &["ES256"]),
            issuer("partners", PARTNERS, &["EdDSA"]),
        ],
        "plans": {
            "wide": { "per_user": "10000/s", "burst": 10000 },
            "open": { "per_source": "10000/s", "burst": 10000 },
            "ten": { "per_user": "1/min", "burst": 10 },
            "pair": { "per_user": "1000/s", "burst": 1000, "concurrent": 2 },
        },
        "services": [orders(kit), vault(kit), two(kit), plain(kit), items(kit)],
        "stdout_log": "json",
    })
}

fn gateway() -> Value {
    json!({
        "workers": 2,
        "certificates": [
            { "file": "edge.pem", "key": { "file": "edge.key" } },
            { "file": "other.pem", "key": { "file": "other.key" } },
        ],
        "client_certificates": {
            "mode": "optional",
            "authorities": [{
                "name": "warehouses", "roots": "clients-ca.pem",
                "callers": [{ "certificate": "warehouse.test.example", "scopes": ["vault.read"] }],
            }],
        },
        "connections": {
            "per_source": 2000, "handshakes_per_source": 5000,
            "invalid_tokens_per_source": "5000/s", "refusals_recorded": 5000,
        },
    })
}

fn issuer(name: &str, iss: &str, algorithms: &[&str]) -> Value {
    json!({
        "name": name, "jwks_file": format!("{name}.jwks"), "issuer": iss, "audience": "shop",
        "algorithms": algorithms, "claims": { "keep": ["tenant"] },
    })
}

/// An upstream behind mutual TLS.
fn mutual(address: std::net::SocketAddr, name: &str, protocol: &str) -> Value {
    json!({
        "endpoints": address.to_string(), "protocol": protocol,
        "timeouts": { "connect": "5s", "per_try": "8s", "request": "10s" },
        "tls": {
            "roots": "workloads-ca.pem", "expect": format!("spiffe://test.example/{name}"),
            "identity": { "file": "workload.pem", "key": { "file": "workload.key" } },
        },
    })
}

/// An upstream on loopback without TLS.
#[must_use]
pub fn plaintext(address: std::net::SocketAddr) -> Value {
    json!({ "endpoints": address.to_string(), "plaintext": "loopback-in-own-namespace" })
}

fn orders(kit: &Kit) -> Value {
    json!({
        "name": "orders", "owner": "tests", "sensitivity": "medium", "context": "orders",
        "upstream": mutual(kit.orders.address(), "orders", "http1"),
        "routes": [
            { "path": "/orders/{id}", "methods": ["GET", "PUT", "DELETE"], "plan": "wide",
              "scopes": { "any": ["orders.read", "orders.write"] },
              "record": { "path_params": ["id"], "query": ["page"] } },
            { "path": "/orders/{id}/refund", "methods": "POST", "plan": "wide",
              "scopes": { "all": ["orders.write", "orders.refund"] },
              "procedure": { "name": "refund_order", "per_user": "3/min" } },
            { "path": "/tenants/{tenant}/orders", "methods": "GET", "plan": "wide", "policy": "tenant.cedar" },
        ],
    })
}

fn vault(kit: &Kit) -> Value {
    json!({
        "name": "vault", "owner": "tests", "sensitivity": "high", "context": "orders",
        "upstream": mutual(kit.orders.address(), "orders", "http1"),
        "routes": [
            { "path": "/vault/{id}", "methods": ["GET", "POST"], "plan": "wide", "scopes": { "any": "vault.read" } },
        ],
    })
}

fn two(kit: &Kit) -> Value {
    json!({
        "name": "two", "owner": "tests", "sensitivity": "low", "context": "two",
        "upstream": mutual(kit.two.address(), "two", "http2"),
        "routes": [
            { "path": "/two/*rest", "methods": ["GET", "POST", "PUT"], "plan": "wide", "scopes": { "any": "echo" } },
        ],
    })
}

fn plain(kit: &Kit) -> Value {
    let upstream = plaintext(kit.plain.address());
    json!({
        "name": "plain", "owner": "tests", "sensitivity": "low", "context": "plain", "upstream": upstream,
        "routes": [
            { "path": "/public", "methods": ["GET", "POST"], "plan": "open", "access": "public" },
            { "path": "/echo/*rest", "methods": ["GET", "POST", "PUT", "DELETE"], "plan": "wide",
              "scopes": { "any": "echo" } },
            { "path": "/admin/{name}", "methods": "GET", "plan": "wide", "scopes": { "any": "admin" } },
            { "path": "/small", "methods": "POST", "plan": "wide", "scopes": { "any": "echo" }, "body": "1KiB" },
            { "path": "/ten", "methods": "GET", "plan": "ten", "scopes": { "any": "echo" } },
            { "path": "/pair", "methods": "GET", "plan": "pair", "scopes": { "any": "echo" } },
            { "path": "/events", "methods": "GET", "plan": "wide", "scopes": { "any": "echo" } },
            { "path": "/socket", "methods": "GET", "plan": "wide", "scopes": { "any": "echo" },
              "websocket": "allowed" },
            { "path": "/cross", "methods": ["GET", "PUT"], "plan": "wide", "scopes": { "any": "echo" },
              "cors": { "origins": "https://www.test.example", "headers": "x-page", "max_age": "1h" } },
            { "path": "/swap/*rest", "methods": "GET", "plan": "wide", "scopes": { "any": "echo" },
              "rewrite": { "prefix": "/swap", "to": "/v2" },
              "headers": { "request": { "set": { "x-shop-edition": "2" } },
                           "response": { "remove": "x-inside" } } },
            { "path": "/brief", "methods": "GET", "plan": "wide", "scopes": { "any": "echo" },
              "timeouts": { "per_try": "1200ms", "request": "1500ms" } },
        ],
    })
}

fn items(kit: &Kit) -> Value {
    let upstream = plaintext(kit.plain.address());
    json!({
        "name": "items", "owner": "tests", "sensitivity": "low", "context": "plain", "upstream": upstream,
        "contract": "items.openapi.yaml", "contract_mode": "enforce",
        "routes": [
            { "path": "/items/{id}", "methods": ["GET", "PUT"], "plan": "wide", "scopes": { "any": "echo" } },
        ],
    })
}
