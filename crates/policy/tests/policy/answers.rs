//! Single answers: what opens, what refuses, what breaks.

use std::sync::Arc;

use portcullis_core::{ClaimValue, Generation, Principal, UnixMillis};
use portcullis_policy::{
    Answer, Attached, Book, BookSource, DecisionCache, Fault, Grant, Method, PublicRoute, ScopeRule,
};

use crate::world::{Asked, alice, name, policy, scope_rule, shop, with};

fn book(policies: &[&str]) -> Book {
    Book::compile(&with(policies)).unwrap_or_else(|problems| panic!("{problems}"))
}

const OPEN: &str = "permit(principal, action, resource);";

#[test]
fn b7_nothing_matches_nothing() {
    let empty = Book::compile(&shop()).expect("a book");
    assert_eq!(Asked::one(alice()).of(&empty), Answer::Deny { rules: Arc::new([]) });
    let none = Book::compile(&BookSource::empty(name("test"))).expect("a book");
    assert_eq!(none.slice(&name("orders"), &name("one")), None);
}

#[test]
fn b4_a_method_that_the_route_lacks_is_denied() {
    let open = book(&[OPEN]);
    let delete = Asked { method: Method::Delete, ..Asked::one(alice()) };
    assert_eq!(delete.of(&open), Answer::Deny { rules: Arc::new([]) });
    assert!(Asked::one(alice()).of(&open).is_allow());
}

#[test]
fn b7_an_empty_list_admits_nobody() {
    let table = [
        (None, None, None),
        (Some(&[][..]), None, None),
        (None, Some(&[][..]), None),
        (None, None, Some(&[][..])),
        (Some(&["orders:read"][..]), Some(&[][..]), None),
    ];
    for (all, any, roles) in table {
        let source = BookSource { scope_rules: vec![scope_rule(all, any, roles)], ..shop() };
        let problems = Book::compile(&source).expect_err("an empty list does not load");
        assert!(problems.to_string().starts_with("portcullis.yaml:12:5: "), "{problems}");
    }
}

#[test]
fn b7_names_in_scope_rules_are_literal() {
    let evil = [
        "*",
        "clerk*",
        ".*",
        "c.erk",
        "\"]) || true || [\"\"].containsAny([\"",
        "x\\\"); permit(principal, action, resource); //",
        "clerk\n",
        "CLERK",
        "clerk ",
        "${roles}",
        "\u{0}",
    ];
    for role in evil {
        let source = BookSource { scope_rules: vec![scope_rule(None, None, Some(&[role]))], ..shop() };
        let book = Book::compile(&source).unwrap_or_else(|problems| panic!("{role:?}: {problems}"));
        assert!(!Asked::one(alice()).of(&book).is_allow(), "{role:?}");
        let same = Principal { roles: [Arc::from(role)].into(), ..alice() };
        assert!(Asked::one(same).of(&book).is_allow(), "{role:?}");
    }
    for scope in ["a\"b", "a b", "", "a\\b", "é"] {
        let source = BookSource { scope_rules: vec![scope_rule(Some(&[scope]), None, None)], ..shop() };
        assert!(Book::compile(&source).is_err(), "{scope:?} cannot be on a caller");
    }
}

#[test]
fn scope_rules_want_all_of_all_and_one_of_any() {
    let rule = scope_rule(Some(&["a", "b"]), Some(&["c", "d"]), Some(&["r", "s"]));
    let book = Book::compile(&BookSource { scope_rules: vec![rule], ..shop() }).expect("a book");
    let table = [
        (&["a", "b", "c"][..], &["r"][..], true),
        (&["a", "b", "c", "d", "e"], &["r", "s"], true),
        (&["a", "c"], &["r"], false),
        (&["a", "b"], &["r"], false),
        (&["a", "b", "d"], &[], false),
        (&[], &[], false),
    ];
    for (scopes, roles, want) in table {
        let set = |list: &[&str]| list.iter().map(|s| Arc::from(*s)).collect();
        let caller = Principal { scopes: set(scopes), roles: set(roles), ..alice() };
        let answer = Asked::one(caller).of(&book);
        assert_eq!(answer.is_allow(), want, "{scopes:?} {roles:?}");
        assert_eq!(answer.rules()[0].to_string(), "portcullis.yaml:12");
    }
}

#[test]
fn f6_a_permit_does_not_overrule_a_scope_rule() {
    let rule = ScopeRule { grant: Grant::Requires, ..scope_rule(Some(&["orders:write"]), None, None) };
    let alone = Book::compile(&BookSource { scope_rules: vec![rule.clone()], ..shop() }).expect("a book");
    let both = Book::compile(&BookSource { scope_rules: vec![rule], ..with(&[OPEN]) }).expect("a book");
    let writer = Principal { scopes: [Arc::from("orders:write")].into(), ..alice() };
    assert!(!Asked::one(writer.clone()).of(&alone).is_allow(), "a requirement alone opens nothing");
    assert!(!Asked::one(alice()).of(&both).is_allow());
    assert!(Asked::one(writer).of(&both).is_allow());
}

/// Equal wishes are one policy in memory: what it opens, and under whose name, must stay the route's own.
#[test]
fn f6_rules_that_say_the_same_open_each_its_own_route() {
    let wish = scope_rule(Some(&["orders:read"]), None, None);
    let (service, route) = (name("stock"), name("line"));
    let at = portcullis_core::Location::at("portcullis.yaml", 31, 5);
    let scope_rules = vec![wish.clone(), ScopeRule { service, route, at, ..wish }];
    let book = Book::compile(&BookSource { scope_rules, ..shop() }).expect("a book");
    let reader = Asked::one(alice());
    let line = Asked { route: ("stock", "line"), path: vec![("id", "1"), ("line", "2")], ..reader.clone() };
    for (asked, place) in [(&reader, "portcullis.yaml:12"), (&line, "portcullis.yaml:31")] {
        let stranger = Principal { scopes: [].into(), ..alice() };
        let refused = Asked { principal: stranger, ..asked.clone() }.of(&book);
        for (answer, is_allow) in [(asked.of(&book), true), (refused, false)] {
            assert_eq!(answer.is_allow(), is_allow, "{place}");
            assert_eq!(answer.rules().iter().map(ToString::to_string).collect::<Vec<_>>(), [place]);
        }
    }
    let list = Asked { route: ("orders", "list"), path: vec![], ..reader };
    assert_eq!(list.of(&book), Answer::Deny { rules: Arc::new([]) }, "nobody wrote a rule for it");
}

#[test]
fn a_public_route_is_open_until_a_policy_forbids() {
    let public = PublicRoute {
        service: name("orders"),
        route: name("one"),
        at: portcullis_core::Location::at("portcullis.yaml", 14, 5),
    };
    let nobody = Asked::one(Principal::anonymous(name("staff")));
    let source = BookSource { public: vec![public], ..shop() };
    let open = Book::compile(&source).expect("a book");
    assert!(nobody.of(&open).is_allow());
    let other = Asked { route: ("orders", "list"), path: vec![], ..nobody.clone() };
    assert!(!other.of(&open).is_allow());
    let forbid = "forbid(principal, action, resource) when { principal.proof == Proof::\"anonymous\" };";
    let closed = BookSource { policies: with(&[forbid]).policies, ..source };
    assert!(!nobody.of(&Book::compile(&closed).expect("a book")).is_allow());
}

#[test]
fn c15_a_rule_that_fails_refuses_whatever_others_say() {
    let overflow = "when { principal.claims.level + 9223372036854775807 > 0 }";
    let missing = "when { principal.claims.level > 0 }";
    let lacking = Principal { claims: [].into(), ..alice() };
    let table = [
        (format!("permit(principal, action, resource) {overflow};"), alice(), Fault::Overflow),
        (format!("forbid(principal, action, resource) {overflow};"), alice(), Fault::Overflow),
        (
            format!("forbid(principal, action, resource in Service::\"orders\") {missing};"),
            lacking.clone(),
            Fault::Missing,
        ),
        (
            format!("permit(principal, action, resource == Route::\"orders/one\") {missing};"),
            lacking,
            Fault::Missing,
        ),
    ];
    for (text, caller, want) in table {
        for others in [&[OPEN][..], &["forbid(principal, action, resource);"], &[]] {
            let all: Vec<&str> = others.iter().copied().chain([text.as_str()]).collect();
            match Asked::one(caller.clone()).of(&book(&all)) {
                Answer::Broken { rule: Some(rule), fault } => {
                    assert_eq!(fault, want, "{text}");
                    assert_eq!(rule.at().file, format!("p{}.cedar", others.len()).into());
                }
                other => panic!("{text}: {other:?}"),
            }
        }
    }
}

#[test]
fn c15_facts_that_cannot_be_shown_refuse() {
    let reads = "forbid(principal, action, resource == Route::\"orders/one\") \
                 when { principal.claims has customer && context.path.id == principal.claims.customer };";
    let book = book(&[OPEN, reads]);
    let wrong = |value| {
        let mut caller = alice();
        caller.claims.insert("customer".into(), value);
        Asked { path: vec![("id", "c-2")], ..Asked::one(caller) }
    };
    let path = |path: &[(&'static str, &'static str)]| Asked { path: path.to_vec(), ..Asked::one(alice()) };
    let table = [
        (wrong(ClaimValue::Text("c-1".into())), None),
        (wrong(ClaimValue::Number(1)), Some(Fault::ClaimType)),
        (wrong(ClaimValue::Flag(true)), Some(Fault::ClaimType)),
        (wrong(ClaimValue::Texts([].into())), Some(Fault::ClaimType)),
        (path(&[]), Some(Fault::PathParameter)),
        (path(&[("ID", "c-2")]), Some(Fault::PathParameter)),
        (path(&[("id", "c-2"), ("id", "c-1")]), Some(Fault::PathParameter)),
        (path(&[("id", "c-2"), ("other", "x")]), None),
    ];
    for (asked, want) in table {
        match (asked.of(&book), want) {
            (Answer::Allow { .. }, None) => {}
            (Answer::Broken { rule: None, fault }, Some(want)) => assert_eq!(fault, want),
            (answer, want) => panic!("{asked:?}: {answer:?}, wanted {want:?}"),
        }
    }
    let late = Asked { now: UnixMillis(u64::MAX), ..Asked::one(alice()) };
    let timed = self::book(&[
        OPEN,
        "forbid(principal, action, resource) when { context.time < datetime(\"2020-01-01\") };",
    ]);
    assert_eq!(late.of(&timed), Answer::Broken { rule: None, fault: Fault::Time });
}

#[test]
fn c7_a_slice_of_another_book_is_refused() {
    let (one, two) = (book(&[OPEN]), book(&["permit(principal, action == Action::\"GET\", resource);"]));
    let asked = Asked::one(alice());
    let foreign = asked.slice(&two);
    let want = Answer::Broken { rule: None, fault: Fault::WrongBook };
    assert_eq!(one.decide(foreign, &asked.question()), want);
    let mut cache = DecisionCache::new(8);
    assert!(asked.of(&one).is_allow());
    assert_eq!(cache.decide(&one, Generation(1), foreign, &asked.question()), want);
    assert!(
        book(&[OPEN]).decide(asked.slice(&one), &asked.question()).is_allow(),
        "equal sources, equal slices"
    );
}

#[test]
fn b12_a_mapped_address_is_its_ipv4_address() {
    let book = book(&[
        "permit(principal, action, resource) when { context.source.isInRange(ip(\"192.0.2.0/24\")) };",
    ]);
    let mut cache = DecisionCache::new(8);
    for (source, want) in
        [("192.0.2.9", true), ("::ffff:192.0.2.9", true), ("::ffff:198.51.100.9", false), ("::1", false)]
    {
        let asked = Asked { source: source.parse().expect("an address"), ..Asked::one(alice()) };
        assert_eq!(asked.of(&book).is_allow(), want, "{source}");
        let cached = cache.decide(&book, Generation(1), asked.slice(&book), &asked.question());
        assert_eq!(cached.is_allow(), want, "{source}");
    }
}

#[test]
fn a_subject_cannot_pose_as_a_caller_of_another_issuer() {
    let book = book(&["permit(principal == Caller::\"staff|partner|bob\", action, resource);"]);
    let who = |issuer: &str, subject: &str| {
        let caller = Principal { subject: subject.into(), issuer: name(issuer), ..alice() };
        Asked::one(caller).of(&book).is_allow()
    };
    assert!(who("staff", "partner|bob"));
    assert!(!who("partner", "bob") && !who("staff", "bob"));
}

#[test]
fn a_path_parameter_compares_to_a_claim() {
    let book = book(&["permit(principal, action == Action::\"GET\", resource == Route::\"orders/one\") \
                       when { principal.claims has customer && context.path.id == principal.claims.customer };"]);
    for (id, want) in
        [("c-1", true), ("c-2", false), ("C-1", false), ("c-1 ", false), ("", false), ("*", false)]
    {
        let asked = Asked { path: vec![("id", id)], ..Asked::one(alice()) };
        assert_eq!(asked.of(&book).is_allow(), want, "{id:?}");
    }
}

#[test]
fn a_file_speaks_about_what_it_is_attached_to_and_no_more() {
    let mut source = shop();
    source.policies.push(policy(0, OPEN, vec![Attached::Service(name("stock"))]));
    source.policies.push(policy(1, OPEN, vec![Attached::Route(name("orders"), name("list"))]));
    let book = Book::compile(&source).expect("a book");
    let of = |route, path: &[(&'static str, &'static str)]| {
        Asked { route, path: path.to_vec(), ..Asked::one(alice()) }.of(&book).is_allow()
    };
    assert!(of(("orders", "list"), &[]));
    assert!(of(("stock", "line"), &[("id", "1"), ("line", "2")]));
    assert!(!of(("orders", "one"), &[("id", "1")]));
}

#[test]
fn c7_what_must_not_be_remembered_is_not() {
    let timed = book(&[
        "permit(principal, action, resource) when { context.time < datetime(\"2026-01-01T12:00:00.001Z\") };",
    ]);
    let mut cache = DecisionCache::new(8);
    let ask = |cache: &mut DecisionCache, asked: &Asked, book: &Book| {
        cache.decide(book, Generation(1), asked.slice(book), &asked.question()).is_allow()
    };
    let noon = Asked::one(alice());
    let later = Asked { now: UnixMillis(noon.now.0 + 1), ..noon.clone() };
    assert!(ask(&mut cache, &noon, &timed) && !ask(&mut cache, &later, &timed));
    assert_eq!((cache.held(), cache.counts().passed), (0, 2));

    let open = book(&[OPEN]);
    let ended = Asked::one(Principal { expires: Some(noon.now), ..alice() });
    ask(&mut cache, &ended, &open);
    ask(&mut cache, &ended, &open);
    assert_eq!((cache.held(), cache.counts().passed), (0, 4), "a credential that has ended");
    ask(&mut cache, &noon, &open);
    ask(&mut cache, &noon, &open);
    assert_eq!((cache.held(), cache.counts().hits), (1, 1));
    assert!(cache.decide(&open, Generation(2), noon.slice(&open), &noon.question()).is_allow());
    assert_eq!((cache.held(), cache.counts().hits), (1, 1), "another generation starts empty");
}

#[test]
fn e13_a_flood_of_ids_stays_within_the_cache() {
    let book = book(&["permit(principal, action, resource == Route::\"orders/one\") \
                       when { principal.claims has customer && context.path.id == principal.claims.customer };"]);
    let mut cache = DecisionCache::new(16);
    let ids: Vec<String> = (0..400).map(|n| format!("c-{n}")).collect();
    let caller = alice();
    for id in &ids {
        for id in [id.as_str(), "c-1"] {
            let path = [("id", id)];
            let base = Asked::one(caller.clone());
            let question = portcullis_policy::Question { path: &path, ..base.question() };
            let answer = cache.decide(&book, Generation(1), base.slice(&book), &question);
            assert_eq!(answer.is_allow(), id == "c-1");
        }
        assert!(cache.held() <= 16);
    }
    assert!(cache.counts().hits >= 398, "what is asked for often stays: {:?}", cache.counts());
    let long = "x".repeat(10_000);
    let path = [("id", long.as_str())];
    let base = Asked::one(caller);
    let question = portcullis_policy::Question { path: &path, ..base.question() };
    let before = cache.counts().passed;
    assert!(!cache.decide(&book, Generation(1), base.slice(&book), &question).is_allow());
    assert_eq!(cache.counts().passed, before + 1, "a long key is not kept");
}
