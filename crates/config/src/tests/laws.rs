//! One change at a time: what each check says, with its clause.

use super::*;

#[test]
fn a_setting_that_breaks_a_clause_does_not_load() {
    let table = [
        ("trust_domain: shop.example", "trust_domain: demo.portcullis.invalid", "SS028-11.1.7a"),
        ("environment: production\n", "", "SS028-11.1.7a"),
        ("    owner: payments-team\n", "", "SS028-10"),
        ("    context: order-handling\n", "", "SS028-11.1.11"),
        ("context: order-handling", "context: [order-handling, refunds]", "SS028-11.1.11"),
        ("endpoints: unix:/run/stock/http.sock", "endpoints: 10.0.1.7:8443", "SS028-11.1.11"),
        ("endpoints: unix:/run/stock/http.sock", "endpoints: 10.0.2.1:80", "SS028-11.1.9c"),
        (
            "endpoints: unix:/run/stock/http.sock",
            "endpoints: 10.0.2.1:80\n      plaintext: loopback-in-own-namespace",
            "SS028-11.1.9c",
        ),
        ("expect: spiffe://shop.example/orders", "expect: spiffe://test.example/orders", "SS028-11.1.7b"),
        (
            "        identity: { file: tls/edge-workload.pem, key: { file: tls/edge-workload.key } }\n",
            "",
            "SS028-11.3.3b",
        ),
        ("  limits: { body: 256KiB }", "  tls_minimum: TLS1.1", "SS028-11.3.3a"),
        ("  limits: { body: 256KiB }", "  tls_minimum: 1.0", "SS028-11.3.3a"),
        ("  limits: { body: 256KiB }", "  internal_tokens: { lifetime: 31s }", "SS028-11.2.10b"),
        ("    mode: optional\n", "    mode: off\n", "MS-SS-8.3"),
        ("        policy: policies/orders.cedar\n", "", "SS028-11.1.5b"),
        ("        policy: policies/orders.cedar\n", "        access: public\n", "SS028-11.1.9b"),
        ("        scopes: { all: [orders.refund] }\n", "        access: public\n", "SS028-11.4.2"),
        (
            "procedure: { name: refund_order, per_user: 3/min }",
            "procedure: { name: refund_order }",
            "SS028-11.4.2",
        ),
        ("        plan: standard\n", "", "MS-SS-8.2"),
        ("standard: { per_user: 50/s, burst: 100, concurrent: 20 }", "standard: { burst: 100 }", "MS-SS-8.1"),
        ("    audience: shop\n", "", "JWT-8"),
        ("    audience: shop\n", "    audience: shop\n    leeway: 31s\n", "SS028-11.2.7a"),
        ("    audience: shop\n", "    audience: shop\n    longest_life: 25h\n", "SS028-11.2.5a"),
        ("    audience: shop\n", "    audience: shop\n    loopback: allowed\n", "SS028-11.1.7b"),
        (
            "oidc: https://login.example/realms/staff",
            "oidc: http://login.example/realms/staff",
            "SS028-11.2.10a",
        ),
        ("oidc: https://login.example/realms/staff", "jwks_url: https://login.example/keys", "SS028-11.2.1c"),
        ("origins: https://www.shop.example", "origins: \"*\", credentials: included", "API8"),
        ("  alertmanager: https://alerts.shop.example", "  rules: { clock_offset: 1s }", "SS028-11.1.5b"),
        (
            "  alertmanager: https://alerts.shop.example",
            "  alertmanager: http://alerts.shop.example",
            "SS028-11.1.9c",
        ),
        ("alerts:", "audit: { sync: 1s }\nalerts:", "SS028-11.6.2a"),
        ("alerts:", "metrics: { listen: 0.0.0.0:9400 }\nalerts:", "SS028-11.1.9c"),
        ("key: { file: tls/edge.key }", "key: { file: tls/open.key }", "SS028-11.2.10c"),
        ("hash_key: { credential: api-hash-key }", "hash_key: abcdefgh", "SS028-11.2.10c"),
        ("sensitivity: medium", "sensitivity: high", "MS-SS-1.1"),
        ("alerts:", "ca: { seal: abcdefgh }\nalerts:", "SS028-11.2.10c"),
        ("alerts:", "ca: { seal: { file: ca/short.key } }\nalerts:", "SS028-11.2.10c"),
        ("alerts:", "audit: { key: { file: ca/short.key } }\nalerts:", "SS028-11.2.10c"),
        ("alerts:", "ca: { seal: { file: /var/lib/portcullis/seal.key } }\nalerts:", "SS028-11.1.9c"),
        (
            "alerts:",
            "ca: { seal: { file: /var/./lib/x/../portcullis/a/seal.key } }\nalerts:",
            "SS028-11.1.9c",
        ),
    ];
    for (from, to, clause) in table {
        let told = told(from, to);
        assert!(told.contains(&format!("[breaks {clause}]")), "{to} should break {clause}:\n{told}");
    }
}

#[test]
fn ms_ss_1_4_api_keys_are_restricted_both_ways_and_end() {
    let file = include_str!("../../examples/shop/keys/partners.yaml");
    let table = [
        ("    sources: [192.0.2.0/28]\n", "", "breaks MS-SS-1.4"),
        ("192.0.2.0/28", "0.0.0.0/0", "breaks MS-SS-1.4"),
        ("    apis: [stock]\n", "", "breaks MS-SS-1.4"),
        ("apis: [stock]", "apis: [stok]", "did you mean `stock`?"),
        ("apis: [stock]", "apis: [orders]", "breaks MS-SS-1.1"),
        ("    assurance: low\n", "", "breaks MS-SS-1.5"),
        ("\"2027-12-31\"", "never", "expected a day"),
        ("5feceb66", "5FECEB66", "expected 64 lower-case hexadecimal digits"),
        ("keys:", "keyz:", "did you mean `keys`?"),
    ];
    for (from, to, want) in table {
        let files = with_root(SHOP).with("keys/partners.yaml", file.replacen(from, to, 1));
        let told = crate::load("portcullis.yaml", &files).expect_err(to).to_string();
        assert!(told.contains(want) && told.contains("keys/partners.yaml:"), "{to}:\n{told}");
    }
}

#[test]
fn b11_nobody_is_believed_by_default_and_never_everybody() {
    assert!(
        told("trusted_proxies: 10.0.9.0/24", "trusted_proxies: 0.0.0.0/0").contains("believes everybody")
    );
    assert!(told("trusted_proxies: 10.0.9.0/24", "proxy_protocol: \"::/0\"").contains("believes everybody"));
    assert!(
        told("trusted_proxies: 10.0.9.0/24", "trusted_proxies: \"::ffff:10.0.0.0/104\"")
            .contains("expected a network")
    );
    assert!(
        told("trusted_proxies: 10.0.9.0/24", "trusted_proxies: 10.0.9.1/24").contains("expected a network")
    );
}

#[test]
fn c2_a_kept_claim_has_one_type_and_is_kept_before_it_has_one() {
    let keep = "keep: [tenant] }";
    let typed = |types: &str| told(keep, &format!("keep: [tenant, level], types: {{ {types} }} }}"));
    assert_eq!(typed("level: integer, tenant: text"), "");
    assert!(typed("rank: integer").contains("`rank` is not in `keep`"));
    assert!(typed("level: number").contains("expected `text` or `integer` or `boolean` or `texts`"));
    let second = "  - name: others\n    jwks_file: jwks.json\n    issuer: x\n    audience: shop\n";
    let both =
        format!("keep: [tenant] }}\n{second}    claims: {{ keep: [tenant], types: {{ tenant: texts }} }}");
    assert!(told(keep, &both).contains("keeps the claim `tenant` with another type than `staff`"));
    assert_eq!(told(keep, &both.replace("texts", "text")), "");
}

#[test]
fn d3_two_authorities_share_no_root_and_no_application_of_an_api_key() {
    let first = "            scopes: [stock.write]\n";
    let second = |roots: &str| {
        let caller = "        callers: [{ certificate: warehouse.partner.example }]\n";
        format!("{first}      - name: others\n        roots: {roots}\n{caller}")
    };
    assert!(told(first, &second("tls/partners-ca.pem")).contains("holds a root of authority `partners` too"));
    assert_eq!(told(first, &second("tls/others-ca.pem")), "");
    let keys = include_str!("../../examples/shop/keys/partners.yaml");
    let keys = keys.replacen("sources: [192.0.2.0/28]", "applications: warehouse.partner.example", 1);
    let load = |root: &str| {
        let files = with_root(root).with("keys/partners.yaml", keys.clone());
        crate::load("portcullis.yaml", &files).map(drop).map_err(|problems| problems.to_string())
    };
    assert_eq!(load(SHOP), Ok(()));
    let told =
        load(&SHOP.replacen(first, &second("tls/others-ca.pem"), 1)).expect_err("two callers of a name");
    assert!(
        told.contains("is a caller of two authorities") && told.contains("keys/partners.yaml:"),
        "{told}"
    );
}

#[test]
fn c12_c13_an_issuer_on_this_machine_or_with_private_keys_is_refused() {
    for url in
        ["https://127.0.0.1/x", "https://localhost/x", "https://[::1]/x", "https://[::ffff:127.0.0.1]/x"]
    {
        let told = told("https://login.example/realms/staff", url);
        assert!(told.contains("which is on this machine"), "{url}: {told}");
    }
    let file = "jwks_file: jwks-private.json\n    issuer: x";
    assert!(told("oidc: https://login.example/realms/staff", file).contains("holds a private or shared key"));
    assert_eq!(told("oidc: https://login.example/realms/staff", "jwks_file: jwks.json\n    issuer: x"), "");
    let two = "oidc: https://login.example/a\n    jwks_file: jwks.json";
    assert!(told("oidc: https://login.example/realms/staff", two).contains("names 2 sources of keys"));
}

#[test]
fn b1_b7_odd_and_doubled_paths_are_refused() {
    let table = [
        ("path: /stock\n", "path: stock\n", "is not a path (not-absolute)"),
        ("path: /stock\n", "path: /a/../stock\n", "is not a path (climbs)"),
        ("path: /stock\n", "path: /st%6fck\n", "must be written in normal form, `/stock`"),
        ("path: /stock/changes", "path: /stock/{sku}x", "a parameter is a whole segment"),
        ("path: /stock/changes", "path: /stock/*all/x", "has `*rest` before its end"),
        ("path: /orders/{id}/refund", "path: /orders/{id}/{id}", "has the parameter `id` twice"),
        ("path: /stock/changes", "path: /stock/{other}", "is written twice, first as `/stock/{sku}` at line"),
        ("path: /stock/changes", "path: /{any}/7", "neither is the more specific"),
        ("path: /stock\n", "path: /stock/*\n", "has a parameter ``"),
    ];
    for (from, to, want) in table {
        let told = told(from, to);
        assert!(told.contains(want), "{to}:\n{told}");
    }
}

#[test]
fn b7_an_empty_list_is_never_everything() {
    let table = [
        ("roles: [stock-clerk]", "roles: []\n        scopes: { all: a }"),
        ("scopes: { any: [stock.read, stock.write] }", "scopes: { all: a, any: [] }"),
        ("policy: policies/orders.cedar", "policy: []\n        roles: a"),
        ("audience: shop", "audience: []"),
        ("algorithms: [ES256, RS256]", "algorithms: []"),
        ("hosts: [api.shop.example]", "hosts: []"),
        ("methods: [GET, PUT]", "methods: []"),
        ("endpoints: unix:/run/stock/http.sock", "endpoints: []"),
        ("origins: https://www.shop.example", "origins: []"),
    ];
    for (from, to) in table {
        let told = told(from, to);
        assert!(told.contains("is empty, expected at least one"), "{to}:\n{told}");
    }
}

#[test]
fn what_does_not_fit_together_is_told() {
    let table = [
        ("plan: standard", "plan: standart", "plan `standart` does not exist\n    did you mean `standard`?"),
        ("connect: 500ms", "connect: 5s", "found `5s`, must be shorter than `per_try` (`2s`)"),
        ("per_try: 2s", "per_try: 6s", "found `6s`, must be shorter than `request` (`5s`)"),
        (
            "policy: policies/orders.cedar",
            "policy: policies/gone.cedar",
            "file `policies/gone.cedar` does not exist",
        ),
        ("    mode: optional\n", "    mode: required\n    authorities: []\n", "is written twice"),
        ("prefix: /stock,", "prefix: /sto,", "is not how the path `/stock/{sku}` begins"),
        ("x-shop-edition: \"2\"", "x-forwarded-for: \"2\"", "is the gateway's own and cannot be set"),
        ("remove: server", "remove: connection", "is the gateway's own and cannot be removed"),
        (
            "record: { path_params: id }",
            "record: { path_params: number }",
            "`number` is not a parameter of the path",
        ),
        ("balance: { policy: round-robin }", "balance: { policy: consistent-hash }", "needs `by: user`"),
        (
            "methods: GET\n        plan: standard\n        roles",
            "methods: PUT\n        plan: standard\n        roles",
            "begins with `GET`",
        ),
        ("hosts: [api.shop.example]", "contract_mode: report\n    hosts: [api.shop.example]", ""),
        ("name: stock\n", "name: orders\n", "service `orders` is written twice, first at line"),
        ("name: partners\n", "name: staff\n", "issuer `staff` is written twice"),
        (
            "sensitivity: high\n    context",
            "sensitivity: severe\n    context",
            "found `severe`, expected `low` or `medium` or `high`",
        ),
        (
            "name: stock.list",
            "name: stock.list\n        sensitivity: low",
            "is lower than that of its service",
        ),
    ];
    for (from, to, want) in table {
        let told = told(from, to);
        assert!(told.contains(want) && (!want.is_empty() || told.is_empty()), "{to}:\n{told}");
    }
}
