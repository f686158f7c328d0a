//! What does not load, and what is said about it.

use portcullis_core::Location;
use portcullis_policy::{Attached, Book, BookSource, ClaimKind, ClaimSource, Method, Presence, RouteSource};

use crate::world::{name, policy, shop, with};

fn problems(source: &BookSource) -> String {
    Book::compile(source).expect_err("this does not load").to_string()
}

/// One policy of a file with a leading line, so that line 2 is where it starts.
fn said(text: &str) -> String {
    problems(&with(&[&format!("// a comment\n{text}")]))
}

#[test]
fn one_run_shows_every_problem() {
    let mut source = with(&[
        "permit(principal, action == Action::\"GET\", resource == Route::\"orders/onee\");\n\
         permit(principal, action == Action::\"GTE\", resource in Service::\"order\");\n\n\
         permit(principal, action, resource) when { principal.scope.contains(\"a\") };",
        "permit(principal, action, resource) when { context.path.id == principal.claims.customer };\n\
         // the next has no end\n\
         forbid(principal, action, resource) when { true }",
        "@id(\"Not A Name\") permit(principal, action, resource);\n\
         @id(\"twice\") permit(principal, action, resource);\n\
         @id(\"twice\") forbid(principal == Caller::\"alice\", action, resource);\n\
         permit(principal == ?principal, action, resource);\n\
         forbid(principal, action, resource) when { principal.proof == Proof::\"tokn\" };\n\
         forbid(principal, action, resource) when { principal.assurance == \"high\" };\n\
         forbid(principal is Role, action, resource);",
    ]);
    source.policies.push(policy(
        3,
        "permit(principal, action, resource == Route::\"stock/line\");",
        vec![Attached::Service(name("orders")), Attached::Service(name("stcok"))],
    ));
    source.policies.push(policy(4, "", vec![]));
    source.scope_rules.push(crate::world::scope_rule(Some(&[]), None, None));
    insta::assert_snapshot!(problems(&source));
}

#[test]
fn a_rule_that_can_never_apply_is_a_problem() {
    let table = [
        "forbid(principal, action == Action::\"read\", resource);",
        "forbid(principal, action, resource is Service);",
        "forbid(principal, action, resource) when { false };",
        "forbid(principal, action, resource) when { principal has nothing && principal.nothing == 1 };",
    ];
    for text in table {
        assert!(said(text).contains("p0.cedar:2"), "{text}: {}", said(text));
    }
}

#[test]
fn what_could_fail_at_run_time_does_not_load() {
    let table = [
        ("permit(principal, action, resource) when { principal.client == \"x\" };", "optional"),
        ("permit(principal, action, resource) when { context.path.id == \"x\" };", "optional"),
        ("permit(principal, action, resource) when { context.path.line == \"x\" };", "optional"),
        (
            "permit(principal, action, resource == Route::\"orders/list\") when { context.path.id == \"x\" };",
            "not found",
        ),
        ("permit(principal, action, resource) when { ip(principal.subject).isIpv4() };", "extension"),
        ("permit(principal, action, resource) when { principal.claims.level == \"1\" };", ""),
        ("permit(principal, action, resource) when { context.body == 1 };", "not found"),
        ("permit(principal, action, resource) when { [].contains(1) };", "empty set"),
    ];
    for (text, word) in table {
        let said = said(text);
        assert!(said.starts_with("p0.cedar:2:") && said.contains(word), "{text}: {said}");
    }
}

#[test]
fn a_parameter_is_certain_where_every_route_has_it() {
    let fine = [
        "permit(principal, action, resource == Route::\"orders/one\") when { context.path.id == \"x\" };",
        "permit(principal, action, resource in Service::\"stock\") when { context.path.line == context.path.id };",
        "permit(principal, action, resource) when { context.path has id && context.path.id == \"x\" };",
    ];
    for text in fine {
        if let Err(problems) = Book::compile(&with(&[text])) {
            panic!("{text}: {problems}");
        }
    }
    let mut attached = shop();
    let text = "permit(principal, action, resource) when { context.path.line == \"x\" };";
    attached.policies.push(policy(0, text, vec![Attached::Service(name("stock"))]));
    assert!(Book::compile(&attached).is_ok(), "the file's attachment counts");
    attached.policies[0].attached.push(Attached::Route(name("orders"), name("one")));
    assert!(Book::compile(&attached).is_err(), "one of the two has no `line`");
}

#[test]
fn f8_text_that_reads_otherwise_than_it_looks_is_refused() {
    let said = said("forbid(principal, action, resource) when { principal.subject == \"a\u{202e}b\" };");
    assert!(said.starts_with("p0.cedar:2"), "{said}");
}

#[test]
fn b7_every_policy_of_a_file_counts() {
    // Were the second lost in cutting, the book would be open.
    let text = "permit(principal, action, resource) when { \"; //\" != \"\\\";\" }; // ; \"\n\
                forbid(principal, action, resource);";
    let book = Book::compile(&with(&[text])).expect("a book");
    assert_eq!(book.slice_report().rules, 2);
    assert!(!crate::world::Asked::one(crate::world::alice()).of(&book).is_allow());
}

#[test]
fn routes_and_claims_are_checked() {
    let route = |service: &str, methods: &[Method], parameters: &[&str]| RouteSource {
        service: name(service),
        route: name("one"),
        methods: methods.to_vec(),
        path: "/".into(),
        parameters: parameters.iter().map(|p| std::sync::Arc::from(*p)).collect(),
        sensitivity: portcullis_policy::Sensitivity::Low,
        at: Location::at("portcullis.yaml", 50, 3),
    };
    let claim = |name: &str| ClaimSource {
        name: name.into(),
        kind: ClaimKind::Text,
        presence: Presence::Optional,
        at: Location::at("portcullis.yaml", 6, 3),
    };
    let mut source = shop();
    source.routes.extend([
        route("orders", &[Method::Get], &[]),
        route("a", &[], &["x", "x"]),
        route("b", &[Method::Get, Method::Get], &["a\"b"]),
    ]);
    source.claims.extend([claim("customer"), claim(""), claim("a\nb"), claim("https://shop.example/team")]);
    source.policies.push(policy(0, "", vec![Attached::Everything]));
    source.policies.push(policy(0, "", vec![Attached::Everything]));
    insta::assert_snapshot!(problems(&source));
}

#[test]
fn odd_claim_names_are_read_with_brackets() {
    let claim = |name: &str| ClaimSource {
        name: name.into(),
        kind: ClaimKind::Text,
        presence: Presence::Optional,
        at: Location::at("portcullis.yaml", 6, 3),
    };
    let mut source =
        with(&["permit(principal, action, resource) when { principal.claims has \"https://x/t\" \
                             && principal.claims[\"https://x/t\"] == \"blue\" };"]);
    source.claims.extend([claim("https://x/t"), claim("if")]);
    assert!(Book::compile(&source).is_ok());
}

#[test]
fn a_source_survives_the_wire() {
    let mut source = with(&["permit(principal, action, resource);"]);
    source.scope_rules.push(crate::world::scope_rule(None, Some(&["a"]), None));
    let text = serde_json::to_string(&source).expect("json");
    let back: BookSource = serde_json::from_str(&text).expect("a source");
    assert_eq!(back, source);
    let (one, two) = (Book::compile(&source).expect("a book"), Book::compile(&back).expect("a book"));
    assert_eq!(one.slice(&name("orders"), &name("one")), two.slice(&name("orders"), &name("one")));
}

#[test]
fn e12_depth_within_the_limit_is_safe_and_beyond_it_a_problem() {
    let policy = |body: String| format!("permit(principal, action, resource) when {{ {body} }};");
    let nested = |n: usize| policy(format!("{}true{}", "(".repeat(n), ")".repeat(n)));
    let sets = |n: usize| policy(format!("{}1{} != [2]", "[".repeat(n), "]".repeat(n)));
    let chain =
        |n: usize| policy(format!("{}context.method == \"GET\"", "context.method == \"GET\" && ".repeat(n)));
    let ifs = |n: usize| policy(format!("{}true", "if principal.assurance > 3 then false else ".repeat(n)));
    for fine in [nested(46), chain(160), ifs(250)] {
        let book = Book::compile(&with(&[&fine])).unwrap_or_else(|problems| panic!("{problems}"));
        assert!(crate::world::Asked::one(crate::world::alice()).of(&book).is_allow(), "{fine}");
    }
    let _ = Book::compile(&with(&[&sets(46)]));
    for deep in [nested(20_000), sets(20_000), chain(20_000), ifs(20_000)] {
        assert!(problems(&with(&[&deep])).starts_with("p0.cedar:1:1: this policy is too deep"));
    }
}
