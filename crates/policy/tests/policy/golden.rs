//! What people see: the schema, an explanation, a report, a table of questions, a matrix.

use std::sync::Arc;

use portcullis_core::{Principal, UnixMillis};
use portcullis_policy::{Book, TrialTable, schema_text};

use crate::world::{Asked, alice, name, scope_rule, shop, with};

const POLICIES: &[&str] = &[
    "@id(\"own-orders\")\npermit(principal, action == Action::\"GET\", resource == Route::\"orders/one\")\n\
     when { principal.claims has customer && context.path.id == principal.claims.customer };",
    "// Nobody writes from outside.\nforbid(principal, action in Action::\"write\", resource)\n\
     unless { context.source.isInRange(ip(\"10.0.0.0/8\")) };\n\
     @id(\"levels\")\nforbid(principal, action, resource in Service::\"stock\")\n\
     when { principal.claims.level * 2 > 100 };\n\
     permit(principal in Role::\"clerk\", action, resource);",
];

fn book() -> Book {
    let mut source = with(POLICIES);
    source.scope_rules.push(scope_rule(Some(&["orders:read"]), None, None));
    Book::compile(&source).unwrap_or_else(|problems| panic!("{problems}"))
}

#[test]
fn the_schema_is_published() {
    insta::assert_snapshot!(schema_text(&shop()));
}

#[test]
fn an_explanation_names_rules_and_repeats_nothing() {
    let book = book();
    let caller = Principal { subject: "canary-subject".into(), ..alice() };
    let asked = Asked { path: vec![("id", "canary-id")], ..Asked::one(caller) };
    let mut text = book.explain(asked.slice(&book), &asked.question()).to_string();
    let broken = Asked {
        route: ("stock", "line"),
        path: vec![("id", "canary-id"), ("line", "2")],
        principal: Principal { claims: [].into(), roles: [Arc::from("clerk\n\u{202e}x")].into(), ..alice() },
        ..asked
    };
    let explained = book.explain(broken.slice(&book), &broken.question());
    text.push_str(&explained.to_string());
    assert!(!text.contains("canary"), "{text}");
    insta::assert_snapshot!(text);
    insta::assert_snapshot!("explained_json", serde_json::to_string_pretty(&explained).expect("json"));
}

#[test]
fn a_report_shows_the_largest_slices() {
    insta::assert_snapshot!(book().slice_report().to_string());
}

#[test]
fn too_many_unscoped_rules_are_warned_of() {
    let many: String =
        (0..30).map(|n| format!("forbid(principal == Caller::\"staff|{n}\", action, resource);\n")).collect();
    let report = Book::compile(&with(&[&many])).expect("a book").slice_report();
    assert!(report.is_alarming() && report.to_string().contains("warning"), "{report}");
    assert_eq!((report.unscoped, report.closed_count), (30, 5));
}

#[test]
fn a_slice_does_not_grow_with_the_book() {
    let mut source = shop();
    let template = source.routes[0].clone();
    source.routes.extend(
        (0..200)
            .map(|n| portcullis_policy::RouteSource { route: name(&format!("r{n}")), ..template.clone() }),
    );
    let rule = |n| {
        format!(
            "permit(principal, action == Action::\"GET\", resource == Route::\"orders/r{n}\") when {{ context.path.id == \"x\" }};\n"
        )
    };
    let text: String = (0..200).map(rule).collect();
    source.policies = with(&[&text]).policies;
    let report = Book::compile(&source).unwrap_or_else(|problems| panic!("{problems}")).slice_report();
    assert_eq!((report.rules, report.unscoped, report.largest[0].rules), (200, 0, 1));
    assert_eq!(report.closed_count, 205, "the shop's five, and POST on each new route");
}

const TABLE: &str = "\
tests:
  - name: her own order
    caller: { issuer: staff, subject: alice, scopes: ['orders:read'], claims: { customer: c-1, level: 1 } }
    service: orders
    route: one
    method: GET
    path: { id: c-1 }
    expect: allow
    rule: own-orders
  - name: an order of somebody else
    caller: { issuer: staff, subject: alice, scopes: ['orders:read'], claims: { customer: c-1, level: 1 } }
    service: orders
    route: one
    method: GET
    path: { id: c-2 }
    expect: deny
  - name: without the scope
    caller: { issuer: staff, subject: alice, claims: { customer: c-1, level: 1 } }
    service: orders
    route: one
    method: GET
    path: { id: c-1 }
    expect: deny
    rule: portcullis.yaml:12
  - name: a caller without a level
    caller: { issuer: staff, subject: alice, roles: [clerk] }
    service: stock
    route: line
    method: GET
    path: { id: a, line: b }
    expect: broken
    rule: levels
  - name: nobody
    service: orders
    route: list
    method: GET
    source: 2001:db8::1
    time: 2026-03-01T08:00:00Z
    expect: deny
  - name: wrong on purpose
    service: orders
    route: list
    method: GET
    expect: allow
  - name: wrong rule on purpose
    service: orders
    route: list
    method: GET
    expect: deny
    rule: own-orders
  - name: a route that is not there
    service: orders
    route: nine
    method: GET
    expect: deny
  - name: no time
    service: orders
    route: list
    method: GET
    time: yesterday
    expect: deny
";

#[test]
fn a_table_of_questions_is_run() {
    let table = TrialTable::parse("tests.yaml", TABLE).unwrap_or_else(|problems| panic!("{problems}"));
    let report = table.run(&book());
    assert!(!report.is_good());
    insta::assert_snapshot!(report.to_string());
}

#[test]
fn a_table_that_is_none_fails_with_its_line() {
    for (text, line) in [
        ("tests:\n  - name: a\n    servce: orders\n", 3),
        ("tests:\n  - name: a\n    service: orders\n    route: one\n    method: get\n    expect: deny\n", 5),
        ("tests: 7", 1),
        ("", 0),
    ] {
        let problems = TrialTable::parse("t.yaml", text).expect_err("no table");
        let at = &problems.iter().next().expect("one").at;
        assert!(&*at.file == "t.yaml" && (line == 0 || at.line == line), "{problems}");
    }
}

#[test]
fn the_matrix_of_the_shop() {
    let reader = alice();
    let admin = Principal { roles: [Arc::from("admin")].into(), ..alice() };
    let nobody = Principal::anonymous(name("staff"));
    let callers = [("clerk", &reader), ("admin", &admin), ("nobody", &nobody)];
    insta::assert_snapshot!(book().matrix(&callers, UnixMillis(1_767_268_800_000)));
}
