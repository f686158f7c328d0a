//! B: router, policy, record and upstream see the same bytes; nobody but the gateway asserts who calls.

use portcullis_e2e::gateway::HOST;
use portcullis_e2e::{Gateway, Puppet};
use serde_json::json;

use crate::ask::{get, id, nothing_arrived, puppet_service, refused, refused_two, request, two};

#[test]
fn b1_b2_b3_b5_a_path_with_two_readings_is_refused() {
    let gateway = Gateway::start();
    let anna = gateway.anna();
    let h2 = gateway.h2();
    for target in [
        "/echo/..%2fadmin/x",
        "/echo/%2e%2e/admin/x",
        "/echo/../admin/x",
        "//admin/x",
        "/echo//x",
        "/echo/a%5cb",
        "/echo/%252e%252e/x",
        "/echo/%2Fx",
        "/echo/%00",
        "/echo/%0d%0ax",
        "/echo/%7f",
        "/echo/%zz",
        "/echo/%",
        "/echo/%c0%ae",
        "/echo/%ff",
        "/echo/a;b=c",
        "/echo/..;/admin/x",
        "/echo/a%3bb",
    ] {
        let answer = get(&gateway, target, &anna);
        assert!(matches!(answer.status, 400), "{target} {answer:?}");
        refused(&gateway, &answer, 400, "malformed-request");
        let answer = h2.request(two("GET", target, &anna, &[])).expect("an answer");
        refused_two(&gateway, &answer, 400, "malformed-request");
    }
    for target in [
        "/echo/x#y",
        "echo/x",
        "*",
        "http://api.test.example/echo/x#",
        "/echo/\\x",
        "/echo/a|b",
        "/echo/\u{e9}",
    ] {
        let answer = get(&gateway, target, &anna);
        assert_eq!(answer.status, 400, "{target} {answer:?}");
    }
    nothing_arrived(&gateway);
}

#[test]
fn b1_b4_b7_a_path_is_literal_and_its_normal_form_is_what_the_upstream_sees() {
    let gateway = Gateway::start();
    let anna = gateway.anna();
    for target in [
        "/ADMIN/x",
        "/Echo/x",
        "/orders",
        "/orders/7/",
        "/orders/7/refund/x",
        "/*",
        "/ech.",
        "/public/",
        "/echo",
    ] {
        let answer = get(&gateway, target, &anna);
        refused(&gateway, &answer, 404, "no-route");
    }
    let answer = get(&gateway, "/admin/%78?x=/public", &anna);
    refused(&gateway, &answer, 403, "forbidden");
    nothing_arrived(&gateway);
    let answer = get(&gateway, "/echo/./%61%2db/%e2%82%ac?q=%2e%2e/&q=1", &anna);
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(gateway.plain.take_seen()[0].target, "/echo/a-b/%E2%82%AC?q=%2e%2e/&q=1");
    let shouting = format!(
        "GET /echo/x HTTP/1.1\r\nHost: {}:443\r\nAuthorization: Bearer {anna}\r\n\r\n",
        HOST.to_uppercase()
    );
    assert_eq!(gateway.raw().exchange(shouting).status, 200);
    assert_eq!(get(&gateway, "/swap/a", &anna).status, 200);
    let seen = gateway.plain.take_seen();
    assert_eq!((seen[1].target.as_str(), seen[1].header("x-shop-edition")), ("/v2/a", Some("2")));
}

#[test]
fn b6_policy_sees_the_decoded_parameter_and_no_query() {
    let gateway = Gateway::start();
    let anna = gateway.anna();
    assert_eq!(get(&gateway, "/tenants/north/orders", &anna).status, 200);
    assert_eq!(get(&gateway, "/tenants/%6eorth/orders", &anna).status, 200);
    let _ = gateway.orders.take_seen();
    for target in ["/tenants/south/orders?tenant=north", "/tenants/North/orders", "/tenants/north%20/orders"]
    {
        let answer = get(&gateway, target, &anna);
        refused(&gateway, &answer, 403, "forbidden");
    }
    let nobody = gateway.token("carl", "echo", &json!({}));
    let answer = get(&gateway, "/tenants/north/orders", &nobody);
    refused(&gateway, &answer, 403, "forbidden");
    nothing_arrived(&gateway);
}

#[test]
fn b8_two_of_what_there_can_be_one_of_are_refused() {
    let gateway = Gateway::start();
    let anna = gateway.anna();
    let answer = gateway.raw().exchange(request("GET", "/echo/x", &anna, &format!("Host: {HOST}\r\n")));
    refused(&gateway, &answer, 400, "malformed-request");
    for more in [
        format!("Authorization: Bearer {anna}\r\n"),
        "X-API-Key: pk_a_b\r\n".to_owned(),
        "authorization: Basic eDp5\r\n".to_owned(),
    ] {
        let answer = gateway.raw().exchange(request("GET", "/echo/x", &anna, &more));
        refused(&gateway, &answer, 401, "ambiguous-credentials");
    }
    let answer = gateway
        .h2()
        .request(two("GET", "/echo/x", &anna, &[("authorization", "Bearer x")]))
        .expect("an answer");
    refused_two(&gateway, &answer, 401, "ambiguous-credentials");
    let none = gateway.raw().exchange("GET /echo/x HTTP/1.1\r\n\r\n");
    assert_eq!(none.status, 400);
    nothing_arrived(&gateway);
}

const ASSERTED: [(&str, &str); 16] = [
    ("x-forwarded-for", "6.6.6.6"),
    ("X_Forwarded_For", "6.6.6.6"),
    ("X-FORWARDED-HOST", "evil"),
    ("x-real-ip", "6.6.6.6"),
    ("x.real.ip", "6.6.6.6"),
    ("forwarded", "for=6.6.6.6"),
    ("x-user", "root"),
    ("x_user_id", "root"),
    ("x-auth-request-user", "root"),
    ("remote-user", "root"),
    ("x-portcullis-subject", "root"),
    ("x-original-url", "/admin/x"),
    ("x-rewrite-url", "/admin/x"),
    ("x-http-method-override", "DELETE"),
    ("x-client-cert", "root"),
    ("true-client-ip", "::ffff:6.6.6.6"),
];

#[test]
fn b9_b10_b11_b12_what_callers_assert_about_themselves_stops_under_every_alias() {
    let gateway = Gateway::start();
    let anna = gateway.anna();
    let lines: String = ASSERTED.iter().map(|(n, v)| format!("{n}: {v}\r\n")).collect();
    let answer = gateway.raw().exchange(request("GET", "/echo/x", &anna, &lines));
    assert_eq!(answer.status, 200, "{answer:?}");
    let lower: Vec<(String, &str)> = ASSERTED.iter().map(|(n, v)| (n.to_lowercase(), *v)).collect();
    let pairs: Vec<(&str, &str)> = lower.iter().map(|(n, v)| (n.as_str(), *v)).collect();
    assert_eq!(gateway.h2().request(two("GET", "/echo/x", &anna, &pairs)).expect("an answer").status, 200);
    assert_eq!(
        gateway.raw().exchange(format!("GET /public HTTP/1.1\r\nHost: {HOST}\r\n{lines}\r\n")).status,
        200
    );
    let seen = gateway.plain.take_seen();
    assert_eq!(seen.len(), 3);
    for seen in seen {
        let shown = format!("{:?}", seen.headers);
        assert!(!shown.contains("6.6.6.6") && !shown.contains("root") && !shown.contains("evil"), "{shown}");
        assert!(!shown.contains("/admin/x") && !shown.contains("DELETE"), "{shown}");
        assert_eq!(seen.header("x-forwarded-for"), Some("127.0.0.1"));
        assert_eq!(seen.header("x-forwarded-proto"), Some("https"));
        assert_eq!(seen.headers.get_all("forwarded").iter().count(), 1);
    }
    assert_eq!(gateway.ended(id(&answer))["source"], "127.0.0.1");
}

#[test]
fn b14_a_redirect_or_a_refusal_of_the_upstream_takes_no_credentials_anywhere() {
    let (puppet, elsewhere) = (Puppet::start(), Puppet::start());
    let gateway = Gateway::builder().service(puppet_service(&puppet)).start();
    let anna = gateway.anna();
    for status in ["301 Moved", "307 Temporary Redirect", "401 Unauthorized", "500 Oops"] {
        let to = elsewhere.address();
        puppet.says(format!(
            "HTTP/1.1 {status}\r\nLocation: http://{to}/x\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
        ));
        let answer = get(&gateway, "/puppet/x", &anna);
        assert_eq!(answer.status.to_string(), status[..3], "{answer:?}");
    }
    assert!(elsewhere.heads().is_empty());
    assert!(puppet.heads().iter().all(|head| !head.contains(&anna)));
}
