//! C: who calls is proved, or nobody calls.

use aws_lc_rs::{hmac, signature};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use portcullis_e2e::Gateway;
use portcullis_e2e::gateway::{HOST, KEYS, PARTNERS, STAFF, claims, unix_seconds};
use portcullis_testkit::TokenKey;
use serde_json::{Value, json};

use crate::ask::{get, id, nothing_arrived, refused, refused_two, request, two};

fn b64(value: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(value)
}

/// Holds the refusal of a token to its form, in both protocols.
fn invalid(gateway: &Gateway, token: &str, what: &str) {
    let answer = get(gateway, "/echo/x", token);
    assert_eq!(answer.status, 401, "{what}: {answer:?}");
    let challenge = answer.header("www-authenticate").unwrap_or_default().to_owned();
    assert!(challenge.starts_with("Bearer realm=\"test\", error=\"invalid_token\""), "{what}: {challenge}");
    let body = answer.json()["type"].as_str().unwrap_or_default().to_owned();
    let reason = body.trim_start_matches("urn:portcullis:refusal:");
    assert!(matches!(reason, "invalid-token" | "expired-token"), "{what}: {reason}");
    refused(gateway, &answer, 401, reason);
    let answer = gateway.h2().request(two("GET", "/echo/x", token, &[])).expect("an answer");
    refused_two(gateway, &answer, 401, reason);
}

#[test]
fn c1_h2_the_algorithm_is_the_keys_and_never_the_headers() {
    let gateway = Gateway::start();
    let good = claims(STAFF, "anna", "echo", &json!({}));
    let key = &gateway.staff;
    let other = TokenKey::es256("staff-1");
    let ed = TokenKey::eddsa("staff-1");
    let header = |more: Value| {
        let mut header = key.header();
        header.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        header
    };
    for alg in ["none", "None", "NONE", ""] {
        invalid(
            &gateway,
            &format!("{}.{}.", b64(header(json!({ "alg": alg })).to_string()), b64(good.to_string())),
            alg,
        );
    }
    let input = format!("{}.{}", b64(header(json!({ "alg": "HS256" })).to_string()), b64(good.to_string()));
    let secret = hmac::Key::new(hmac::HMAC_SHA256, key.jwk().to_string().as_bytes());
    invalid(&gateway, &format!("{input}.{}", b64(hmac::sign(&secret, input.as_bytes()))), "HS256");
    invalid(&gateway, &other.sign(&header(json!({})), &good), "a stranger's key");
    invalid(&gateway, &ed.sign(&header(json!({ "alg": "EdDSA" })), &good), "another kind of key");
    invalid(&gateway, &other.sign(&header(json!({ "jwk": other.jwk() })), &good), "a key in the header");
    invalid(&gateway, &other.sign(&header(json!({ "jku": "https://evil.example/jwks" })), &good), "jku");
    for more in [
        json!({ "crit": ["exp"] }),
        json!({ "b64": false, "crit": ["b64"] }),
        json!({ "typ": "JWT" }),
        json!({ "typ": "portcullis+jwt" }),
        json!({ "zip": "DEF" }),
        json!({ "kid": "staff-2" }),
        json!({ "kid": 1 }),
    ] {
        invalid(&gateway, &key.sign(&header(more.clone()), &good), &more.to_string());
    }
    nothing_arrived(&gateway);
    assert_eq!(get(&gateway, "/echo/x", &key.access_token(&good)).status, 200);
}

#[test]
fn c2_h2_a_claim_of_the_wrong_type_is_a_refusal_and_not_an_absence() {
    let gateway = Gateway::start();
    for claim in ["iss", "sub", "aud", "exp", "iat"] {
        for wrong in
            [json!(null), json!(""), json!(true), json!({}), json!([]), json!(-1), json!([1]), json!([null])]
        {
            let token = gateway.token("anna", "echo", &json!({ claim: wrong }));
            invalid(&gateway, &token, &format!("{claim} {wrong}"));
        }
    }
    let now = unix_seconds();
    for more in [
        json!({ "exp": now - 60 }),
        json!({ "exp": (now + 60).to_string() }),
        json!({ "nbf": now + 300 }),
        json!({ "nbf": "0" }),
        json!({ "iat": now + 300 }),
        json!({ "scope": 7 }),
        json!({ "scope": { "echo": true } }),
        json!({ "exp": 1e300 }),
    ] {
        invalid(&gateway, &gateway.token("anna", "echo", &more), &more.to_string());
    }
    let twice = format!(
        "{{\"iss\":\"{STAFF}\",\"iss\":\"{PARTNERS}\",\"sub\":\"a\",\"aud\":\"shop\",\"exp\":{}}}",
        now + 60
    );
    let token = gateway.staff.sign_bytes(gateway.staff.header().to_string().as_bytes(), twice.as_bytes());
    invalid(&gateway, &token, "a member twice");
    nothing_arrived(&gateway);
}

#[test]
fn c3_h2_issuers_keys_and_audiences_do_not_mix() {
    let gateway = Gateway::start();
    let (staff, partners) = (&gateway.staff, &gateway.partners);
    let by = |key: &TokenKey, iss: &str, more: Value| key.access_token(&claims(iss, "anna", "echo", &more));
    assert_eq!(get(&gateway, "/echo/x", &by(partners, PARTNERS, json!({}))).status, 200);
    let _ = gateway.plain.take_seen();
    for (token, what) in [
        (by(partners, STAFF, json!({})), "partners sign for staff"),
        (by(staff, PARTNERS, json!({})), "staff signs for partners"),
        (by(staff, "https://login.test.example/staff/", json!({})), "almost the issuer"),
        (by(staff, "https://LOGIN.test.example/staff", json!({})), "almost the issuer"),
        (by(staff, STAFF, json!({ "aud": "shopping" })), "another audience"),
        (by(staff, STAFF, json!({ "aud": ["a", "b"] })), "other audiences"),
    ] {
        invalid(&gateway, &token, what);
    }
    nothing_arrived(&gateway);
}

#[test]
fn c6_e13_h2_another_spelling_of_a_token_is_no_token() {
    let gateway = Gateway::start();
    let good = gateway.anna();
    assert_eq!(get(&gateway, "/echo/x", &good).status, 200);
    let _ = gateway.plain.take_seen();
    let parts: Vec<&str> = good.split('.').collect();
    let last = parts[2].chars().last().unwrap();
    // A P-256 signature has 64 bytes: the last character carries four bits that must be zero.
    let alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let next = alphabet.chars().nth(alphabet.find(last).unwrap() | 1).unwrap();
    let respelled = format!("{}{next}", &good[..good.len() - 1]);
    for token in [
        format!("{good}="),
        format!("{good}=="),
        format!("{good}."),
        format!(".{good}"),
        respelled,
        format!("{}.{}", parts[0], parts[1]),
        format!("{}..{}", parts[0], parts[2]),
        good.replace('.', ".."),
        good[..good.len() - 4].to_owned(),
        good.to_uppercase(),
        "x".to_owned(),
        ".".repeat(5_000),
        format!("{}.{}", "A".repeat(12_000), good),
        format!("{good}.{good}.{good}"),
        b64("{\"alg\":\"PBES2-HS256+A128KW\",\"p2c\":2147483647}") + "....",
        b64("[".repeat(5_000)) + ".e30.AA",
    ] {
        invalid(&gateway, &token, &token[..token.len().min(60)]);
    }
    nothing_arrived(&gateway);
}

#[test]
fn c7_a_verified_token_is_remembered_with_its_end_and_nobody_elses_rights() {
    let gateway = Gateway::start();
    let brief = gateway.token("anna", "echo", &json!({}));
    let (admin, plain) =
        (gateway.token("eve", "admin", &json!({})), gateway.token("eve", "echo", &json!({})));
    for _ in 0..3 {
        assert_eq!(get(&gateway, "/echo/x", &brief).status, 200);
        assert_eq!(get(&gateway, "/admin/x", &admin).status, 200);
        assert_eq!(get(&gateway, "/admin/x", &plain).status, 403);
        let (rest, signature) = brief.rsplit_once('.').unwrap();
        let other = if signature.starts_with('A') { 'B' } else { 'A' };
        invalid(&gateway, &format!("{rest}.{other}{}", &signature[1..]), "nearly a remembered one");
    }
}

#[test]
fn c8_b10_no_credential_of_the_caller_passes_and_the_service_gets_one_internal_token() {
    let gateway = Gateway::start();
    let anna = gateway.anna();
    let keys = gateway.raw().exchange(format!("GET {KEYS} HTTP/1.1\r\nHost: {HOST}\r\n\r\n")).json();
    let fields = "Cookie: session=canary\r\nProxy-Authorization: Basic canary\r\n";
    assert_eq!(gateway.raw().exchange(request("GET", "/orders/7", &anna, fields)).status, 200);
    let seen = gateway.orders.take_seen();
    assert!(!format!("{:?}", seen[0].headers).contains("canary"), "{:?}", seen[0].headers);
    let field: Vec<_> = seen[0].headers.get_all("authorization").iter().collect();
    assert_eq!(field.len(), 1);
    let token = field[0].to_str().unwrap().strip_prefix("Bearer ").unwrap();
    let parts: Vec<&str> = token.split('.').collect();
    let read =
        |part: &str| -> Value { serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap() };
    let (header, body) = (read(parts[0]), read(parts[1]));
    let key = keys["keys"]
        .as_array()
        .unwrap()
        .iter()
        .find(|k| k["kid"] == header["kid"])
        .expect("its key is published");
    let point = URL_SAFE_NO_PAD.decode(key["x"].as_str().unwrap()).unwrap();
    let public = signature::UnparsedPublicKey::new(&signature::ED25519, point);
    let signed = format!("{}.{}", parts[0], parts[1]);
    public.verify(signed.as_bytes(), &URL_SAFE_NO_PAD.decode(parts[2]).unwrap()).expect("signed by the edge");
    assert_eq!((&body["aud"], &body["sub"]), (&json!("orders"), &json!("anna")), "{body}");
    let life = body["exp"].as_u64().unwrap() - body["iat"].as_u64().unwrap();
    assert!(life <= 30, "{body}");
    assert!(!keys.to_string().contains("\"d\""), "c13: {keys}");
    // The internal token is good for services alone.
    invalid(&gateway, token, "an internal token from outside");
}

#[test]
fn c9_d1_a_route_of_high_sensitivity_admits_only_what_is_bound_to_this_connection() {
    let gateway = Gateway::start();
    let bound = |thumbprint: String| {
        gateway.token("anna", "vault.read", &json!({ "cnf": { "x5t#S256": thumbprint } }))
    };
    let free = gateway.token("anna", "vault.read", &json!({}));
    let answer = get(&gateway, "/vault/1", &free);
    refused(&gateway, &answer, 401, "binding-required");
    let (nobodys, warehouses) = (bound(gateway.nobody.thumbprint()), bound(gateway.warehouse.thumbprint()));
    for (leaf, token) in
        [(None, &nobodys), (Some(&gateway.nobody), &warehouses), (Some(&gateway.nobody), &free)]
    {
        let answer = gateway.raw_as(HOST, leaf).exchange(request("GET", "/vault/1", token, ""));
        assert_eq!(answer.status, 401, "{answer:?}");
    }
    nothing_arrived(&gateway);
    let answer =
        gateway.raw_as(HOST, Some(&gateway.nobody)).exchange(request("GET", "/vault/1", &nobodys, ""));
    assert_eq!(answer.status, 200, "{answer:?}");
    let decided = gateway.record("a decision", |r| r["event"] == "decided" && r["id"] == id(&answer));
    assert_eq!(decided["caller"]["subject"], "anna");
    let own = format!("GET /vault/1 HTTP/1.1\r\nHost: {HOST}\r\n\r\n");
    assert_eq!(gateway.raw_as(HOST, Some(&gateway.warehouse)).exchange(&own).status, 200);
    let answer =
        gateway.h2_as(HOST, Some(&gateway.nobody)).request(two("GET", "/vault/1", &nobodys, &[])).unwrap();
    assert_eq!(answer.status, 200);
    let answer = gateway.raw_as(HOST, Some(&gateway.nobody)).exchange(&own);
    assert_eq!(answer.status, 401, "{answer:?}");
}

#[test]
fn c15_what_cannot_be_decided_is_refused_and_looks_like_any_refusal() {
    let puppet = portcullis_e2e::Puppet::start();
    let mut service = crate::ask::puppet_service(&puppet);
    service["routes"][0] =
        json!({ "path": "/puppet/*rest", "methods": "GET", "plan": "wide", "policy": "broken.cedar" });
    let broken = "permit (principal, action, resource);\nforbid (principal, action, resource) when { 9223372036854775807 + 1 > 0 };\n";
    let gateway = Gateway::builder().file("broken.cedar", broken).service(service).start();
    let answer = get(&gateway, "/puppet/x", &gateway.anna());
    assert_eq!((answer.status, answer.json()["title"].as_str()), (403, Some("You may not do this.")));
    assert_eq!(gateway.ended(id(&answer))["reason"], "policy-broken");
    assert!(puppet.heads().is_empty());
}

#[test]
fn no_credentials_is_a_401_that_tells_nothing_about_what_exists() {
    let gateway = Gateway::start();
    let h2 = gateway.h2();
    for target in ["/orders/7", "/admin/x", "/nowhere", "/vault/1"] {
        let answer = gateway.raw().exchange(format!("GET {target} HTTP/1.1\r\nHost: {HOST}\r\n\r\n"));
        refused(&gateway, &answer, 401, "missing-credentials");
        assert_eq!(answer.header("www-authenticate"), Some("Bearer realm=\"test\""));
        let mut anonymous = two("GET", target, "x", &[]);
        anonymous.headers_mut().remove("authorization");
        refused_two(&gateway, &h2.request(anonymous).unwrap(), 401, "missing-credentials");
    }
    nothing_arrived(&gateway);
}

#[test]
fn c2_a_kept_claim_decides_by_its_stated_type_and_another_type_is_no_token() {
    let builder = Gateway::builder().file(
        "level.cedar",
        "permit (principal, action, resource) when { principal.claims has level && principal.claims.level >= 3 };\n",
    );
    let service = json!({
        "name": "levels", "owner": "tests", "sensitivity": "low", "context": "plain",
        "upstream": portcullis_e2e::plaintext(builder.kit().plain.address()),
        "routes": [{ "path": "/levels", "methods": "GET", "plan": "wide", "policy": "level.cedar" }],
    });
    let kept = json!({ "keep": ["tenant", "level"], "types": { "level": "integer" } });
    let gateway = builder.set("/issuers/0/claims", kept).service(service).start();
    for (level, want) in [
        (json!(3), 200),
        (json!(2), 403),
        (Value::Null, 403),
        (json!("3"), 401),
        (json!(true), 401),
        (json!([3]), 401),
        (json!(3.5), 401),
    ] {
        let token = gateway.token("anna", "echo", &json!({ "level": level }));
        assert_eq!(get(&gateway, "/levels", &token).status, want, "{level}");
    }
    assert_eq!(gateway.plain.take_seen().len(), 1);
}
