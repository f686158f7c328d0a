//! The example: loads, fits the schema, crosses, and has stable digests.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use portcullis_core::Millis;

use super::*;
use crate::plan::{Access, Balance, Endpoint, Plan, Sensitivity, Transport};
use crate::{crossing, load, not_reloadable, schema};

fn shop() -> Plan {
    load("portcullis.yaml", &with_root(SHOP)).unwrap_or_else(|problems| panic!("{problems}"))
}

fn shop_changed(from: &str, to: &str) -> Plan {
    load("portcullis.yaml", &shop_with(from, to)).unwrap_or_else(|problems| panic!("{problems}"))
}

#[test]
fn the_example_becomes_a_plan_with_safe_defaults() {
    let plan = shop();
    let [orders, stock] = plan.services.as_slice() else { panic!("two services") };
    let ids: Vec<_> = plan.services.iter().flat_map(|s| &s.routes).map(|r| r.id.as_str()).collect();
    assert_eq!(
        ids,
        [
            "orders.get-orders-id-ea128244",
            "orders.post-orders-id-refund-ade60148",
            "stock.list",
            "stock.get-put-stock-sku-6db5ef97",
            "stock.get-stock-changes-bcbe0dd2"
        ]
    );
    assert_eq!(orders.routes[0].sensitivity, Sensitivity::High);
    assert!(
        matches!(&orders.routes[0].access, Access::Ruled(r) if *r.policies == ["policies/orders.cedar".into()])
    );
    assert_eq!(orders.routes[0].timeouts.per_try, Millis::from_secs(2));
    assert_eq!(stock.upstream.transport, Transport::Plaintext);
    assert!(matches!(stock.upstream.endpoints[..], [Endpoint::Unix(_)]));
    assert_eq!(stock.upstream.balance, Balance::RoundRobin);
    assert_eq!(stock.routes[0].access, Access::Public);
    assert!(stock.routes.iter().all(|r| r.cors.is_some()) && orders.routes.iter().all(|r| r.cors.is_none()));
    assert_eq!(
        plan.policies.iter().map(|p| &*p.file).collect::<Vec<_>>(),
        ["policies/baseline.cedar", "policies/orders.cedar"]
    );
    assert!(plan.gateway.proxy_protocol.is_empty() && plan.gateway.workers.is_none());
    assert_eq!(&*plan.issuers[0].issuer, "https://login.example/realms/staff");
}

#[test]
fn the_example_fits_the_schema_and_a_wrong_key_does_not() {
    let validator = jsonschema::validator_for(&schema()).expect("the schema is one");
    let example: serde_json::Value = serde_saphyr::from_str(SHOP).expect("YAML");
    let faults: Vec<_> =
        validator.iter_errors(&example).map(|e| format!("{} {e}", e.instance_path())).collect();
    assert!(faults.is_empty(), "{faults:#?}");
    let keys: serde_json::Value =
        serde_saphyr::from_str(include_str!("../../examples/shop/keys/partners.yaml")).expect("YAML");
    assert!(jsonschema::is_valid(&schema::key_file_schema(), &keys));
    for (from, to) in [
        ("trust_domain", "trustdomain"),
        ("50/s", "fifty"),
        ("mode: optional", "mode: sometimes"),
        ("GET", "TRACE"),
    ] {
        let wrong: serde_json::Value = serde_saphyr::from_str(&SHOP.replacen(from, to, 1)).expect("YAML");
        assert!(!validator.is_valid(&wrong), "{to}");
    }
}

#[test]
fn every_key_of_the_schema_is_described() {
    fn walk(value: &serde_json::Value, path: &str, bare: &mut Vec<String>) {
        let Some(object) = value.as_object() else { return };
        for (name, property) in object.get("properties").and_then(|p| p.as_object()).into_iter().flatten() {
            let reference = ["file", "credential", "fd"].contains(&name.as_str());
            if property.get("description").is_none() && !reference {
                bare.push(format!("{path}.{name}"));
            }
        }
        object.iter().for_each(|(key, inner)| walk(inner, &format!("{path}.{key}"), bare));
    }
    let mut bare = Vec::new();
    walk(&schema(), "", &mut bare);
    assert!(bare.is_empty(), "{bare:#?}");
}

#[test]
fn c13_a_plan_crosses_with_its_secrets_and_shows_none_otherwise() {
    let plan = shop();
    let json = serde_json::to_string(&plan).expect("serialises");
    assert!(!json.contains(CANARY) && !format!("{plan:?}").contains(CANARY));
    assert!(serde_json::from_str::<Plan>(&json).is_err(), "secrets are only in a crossing");
    let packed = crossing::pack(&plan).expect("packs");
    let opened = crossing::open(packed.expose()).expect("opens");
    assert_eq!(opened, plan);
    assert_eq!(opened.gateway.certificates[0].key.expose(), private_key().as_bytes());
    assert_eq!((opened.hash(), opened.sections()), (plan.hash(), plan.sections()));
    assert!(serde_json::to_string(&plan).is_ok_and(|j| !j.contains(CANARY)), "the mode ends with the call");
}

/// SS028-11.1.11: what opens the keys of the authority must not be where strangers' bytes are parsed.
#[test]
fn f3_the_secret_of_the_authority_crosses_to_no_data_plane() {
    let with = |seal: &str| shop_changed("alerts:", &format!("ca: {{ seal: {seal} }}\nalerts:"));
    for seal in ["{ credential: ca-seal }", "{ file: ca/seal.key }"] {
        let plan = with(seal);
        let ca = plan.ca.as_ref().expect("an authority");
        assert!(ca.seal.expose().starts_with(CANARY.as_bytes()));
        let text = String::from_utf8(crossing::pack(&plan).expect("packs").expose().clone()).expect("JSON");
        let encoded = STANDARD.encode(ca.seal.expose());
        assert!(
            !text.contains(&encoded)
                && !text.contains(&ca.seal.digest().to_string())
                && !text.contains("seal")
        );
        let opened = crossing::open(text.as_bytes()).expect("opens");
        assert_eq!((opened.ca.as_ref(), opened.hash()), (None, plan.hash()));
    }
}

/// Random bytes are no PEM: the secret of the record was taken for a private key once.
#[test]
fn the_key_of_the_record_is_any_long_secret() {
    let plan = shop_changed("alerts:", "audit: { key: { file: ca/seal.key } }\nalerts:");
    assert!(plan.audit.key.is_some_and(|key| key.expose().len() > 32));
}

#[test]
fn c13_a_crossing_with_a_missing_or_changed_secret_does_not_open() {
    let plan = shop();
    let packed = crossing::pack(&plan).expect("packs");
    let text = String::from_utf8(packed.expose().clone()).expect("JSON");
    let (start, _) = text.split_once("\"secrets\":").expect("a table");
    assert!(crossing::open(format!("{start}\"secrets\":[]}}").as_bytes()).is_err());
    let other = text.replacen("\"bytes\":\"L", "\"bytes\":\"M", 1);
    assert_ne!(other, text);
    assert!(matches!(crossing::open(other.as_bytes()), Err(crossing::CrossingError::Secret(_))));
    assert!(crossing::open(b"{}").is_err() && crossing::open(b"").is_err());
}

#[test]
fn digests_follow_what_they_stand_for() {
    let (plan, before) = (shop(), shop().sections());
    assert_eq!(plan.hash(), shop().hash());
    let comment = shop_changed("issuers:", "# a comment\nissuers:");
    assert_eq!(comment.sections(), before, "a comment recompiles nothing");
    assert_ne!(comment.hash(), plan.hash(), "but places moved");
    let changed = |from, to| {
        let after = shop_changed(from, to).sections();
        let (b, a) = (before, after);
        [
            a.tls != b.tls,
            a.routes != b.routes,
            a.authorisation != b.authorisation,
            a.keys != b.keys,
            a.limits != b.limits,
        ]
    };
    let table = [
        ("standard: { per_user: 50/s", "standard: { per_user: 60/s", [false, false, false, false, true]),
        ("audience: shop", "audience: other", [false, false, false, true, false]),
        ("10.0.1.8:8443", "10.0.1.9:8443", [false, true, false, false, false]),
        ("roles: [stock-clerk]", "roles: [clerk]", [false, true, true, false, false]),
        ("0.0.0.0:8443", "0.0.0.0:8444", [true, false, false, false, false]),
    ];
    for (from, to, want) in table {
        assert_eq!(changed(from, to), want, "{to}: tls, routes, authorisation, keys, limits");
    }
    let other_key = with_root(SHOP).with("tls/edge.key", private_key().replace(CANARY, "b3RoZXI="));
    let rotated = load("portcullis.yaml", &other_key).expect("loads").sections();
    assert!(rotated.tls != before.tls && rotated.authorisation == before.authorisation);
}

#[test]
fn what_cannot_be_reloaded_is_an_error() {
    let old = shop();
    let table = [
        ("environment: production", "environment: staging", "environment: "),
        ("directory: /var/lib/portcullis", "directory: /srv/portcullis", "state.directory: "),
        ("socket: /run/portcullis/admin.sock", "socket: /run/other.sock", "admin.socket: "),
        ("0.0.0.0:8443", "0.0.0.0:9443", "gateway.listen: "),
        ("  limits: { body: 256KiB }", "  workers: 3", "gateway.workers: "),
        ("  limits: { body: 256KiB }", "  limits: { in_flight: 20000 }", "gateway.limits.in_flight: "),
        ("  limits: { body: 256KiB }", "  timeouts: { drain: 5m }", "gateway.timeouts.drain: "),
        ("environment: production", "environment: production\nstdout_log: off", "stdout_log: "),
        ("environment: production", "environment: production\naudit: { sync: each }", "audit: "),
        ("environment: production", "environment: production\nca: { seal: { credential: ca-seal } }", "ca: "),
    ];
    for (from, to, key) in table {
        let told = not_reloadable("portcullis.yaml", &old, &shop_changed(from, to)).to_string();
        assert!(
            told.contains(key) && told.contains("cannot be reloaded") && told.contains("restart"),
            "{told}"
        );
    }
    let new = shop_changed("per_user: 50/s", "per_user: 70/s");
    assert!(not_reloadable("portcullis.yaml", &old, &new).is_empty());
}
