//! A small shop: two services, three routes, four claims; and strategies for books and questions about it.

use std::net::IpAddr;
use std::sync::Arc;

use portcullis_core::{Assurance, Binding, ClaimValue, Location, Name, Principal, Proof, UnixMillis};
use portcullis_policy::{
    Attached, Book, BookSource, ClaimKind, ClaimSource, Grant, Method, PolicySource, Presence, Question,
    RouteSource, ScopeRule, Sensitivity, SliceId,
};
use proptest::prelude::*;
use proptest::sample::{select, subsequence};

pub(crate) fn name(text: &str) -> Name {
    Name::parse(text).expect("a name")
}

pub(crate) fn shop() -> BookSource {
    let route =
        |service: &str, route: &str, methods: &[Method], path: &str, parameters: &[&str], line| RouteSource {
            service: name(service),
            route: name(route),
            methods: methods.to_vec(),
            path: path.into(),
            parameters: parameters.iter().map(|p| Arc::from(*p)).collect(),
            sensitivity: if service == "stock" { Sensitivity::Low } else { Sensitivity::High },
            at: Location::at("portcullis.yaml", line, 1),
        };
    let claim = |name: &str, kind, presence| ClaimSource {
        name: name.into(),
        kind,
        presence,
        at: Location::at("portcullis.yaml", 5, 3),
    };
    BookSource {
        routes: vec![
            route("orders", "one", &[Method::Get, Method::Post], "/orders/{id}", &["id"], 10),
            route("orders", "list", &[Method::Get], "/orders", &[], 20),
            route("stock", "line", &[Method::Get, Method::Delete], "/stock/{id}/{line}", &["id", "line"], 30),
        ],
        claims: vec![
            claim("customer", ClaimKind::Text, Presence::Optional),
            claim("level", ClaimKind::Number, Presence::Always),
            claim("teams", ClaimKind::Texts, Presence::Optional),
            claim("trusted", ClaimKind::Flag, Presence::Optional),
        ],
        ..BookSource::empty(name("test"))
    }
}

pub(crate) fn with(policies: &[&str]) -> BookSource {
    let mut source = shop();
    for (index, text) in policies.iter().enumerate() {
        source.policies.push(policy(index, text, vec![Attached::Everything]));
    }
    source
}

pub(crate) fn policy(index: usize, text: &str, attached: Vec<Attached>) -> PolicySource {
    PolicySource { file: format!("p{index}.cedar").into(), text: text.into(), attached }
}

pub(crate) fn scope_rule(all: Option<&[&str]>, any: Option<&[&str]>, roles: Option<&[&str]>) -> ScopeRule {
    let list = |l: Option<&[&str]>| l.map(|l| l.iter().map(|s| Arc::from(*s)).collect());
    ScopeRule {
        service: name("orders"),
        route: name("one"),
        all_scopes: list(all),
        any_scopes: list(any),
        any_roles: list(roles),
        grant: Grant::Permits,
        at: Location::at("portcullis.yaml", 12, 5),
    }
}

pub(crate) fn alice() -> Principal {
    Principal {
        proof: Proof::Token,
        subject: "alice".into(),
        scopes: [Arc::from("orders:read")].into(),
        roles: [Arc::from("clerk")].into(),
        claims: [
            (Arc::from("customer"), ClaimValue::Text("c-1".into())),
            (Arc::from("level"), ClaimValue::Number(1)),
        ]
        .into(),
        assurance: Assurance::Substantial,
        ..Principal::anonymous(name("staff"))
    }
}

/// A question that owns what it is about.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) route: (&'static str, &'static str),
    pub(crate) principal: Principal,
    pub(crate) method: Method,
    pub(crate) path: Vec<(&'static str, &'static str)>,
    pub(crate) source: IpAddr,
    pub(crate) now: UnixMillis,
}

impl Asked {
    pub(crate) fn one(principal: Principal) -> Self {
        Self {
            route: ("orders", "one"),
            principal,
            method: Method::Get,
            path: vec![("id", "c-1")],
            source: "192.0.2.1".parse().expect("an address"),
            now: UnixMillis(1_767_268_800_000),
        }
    }

    pub(crate) fn slice(&self, book: &Book) -> SliceId {
        book.slice(&name(self.route.0), &name(self.route.1)).expect("a slice")
    }

    pub(crate) fn question(&self) -> Question<'_> {
        Question {
            principal: &self.principal,
            method: self.method,
            path: &self.path,
            source: self.source,
            now: self.now,
        }
    }

    pub(crate) fn of(&self, book: &Book) -> portcullis_policy::Answer {
        book.decide(self.slice(book), &self.question())
    }
}

const PRINCIPALS: &[&str] = &[
    "principal",
    "principal",
    "principal is Caller",
    "principal == Caller::\"staff|alice\"",
    "principal in Role::\"admin\"",
    "principal is Caller in Role::\"clerk\"",
];
const ACTIONS: &[&str] = &[
    "action",
    "action",
    "action == Action::\"GET\"",
    "action in Action::\"read\"",
    "action in [Action::\"write\", Action::\"HEAD\"]",
];
const RESOURCES: &[&str] = &[
    "resource",
    "resource is Route",
    "resource == Route::\"orders/one\"",
    "resource == Route::\"stock/line\"",
    "resource in Service::\"orders\"",
    "resource in Service::\"stock\"",
    "resource is Route in Service::\"orders\"",
    "resource in Route::\"orders/list\"",
];
/// Each is valid for every route. Those with `level` fail for some callers.
const CONDITIONS: &[&str] = &[
    "principal.scopes.contains(\"orders:read\")",
    "principal.scopes.containsAll([\"orders:read\", \"orders:write\"])",
    "principal.roles.containsAny([\"admin\", \"clerk\"])",
    "principal.scopes.isEmpty()",
    "principal has client && principal.client like \"web*\"",
    "principal.claims has customer && context.path has id && context.path.id == principal.claims.customer",
    "context.path has line && context.path.line != \"c-1\"",
    "principal.claims has teams && principal.claims.teams.contains(\"blue\")",
    "principal.claims has trusted && principal.claims.trusted",
    "principal.claims.level * 9223372036854775807 > 0",
    "principal.claims.level >= 1",
    "principal.issuer == \"staff\" && principal.subject != \"bob\"",
    "principal in [Role::\"admin\", Role::\"clerk\"]",
    "principal == Caller::\"partner|alice\" || principal == Caller::\"staff|bob\"",
    "principal.proof == Proof::\"token\"",
    "principal.binding == Binding::\"mutual-tls\"",
    "principal.assurance >= 2",
    "context.source.isInRange(ip(\"192.0.2.0/24\"))",
    "context.source.isIpv6()",
    "context.time < datetime(\"2026-01-01T12:00:00Z\")",
    "context.environment == \"test\"",
    "context.method == \"GET\"",
    "resource.sensitivity == Sensitivity::\"high\"",
    "resource in Service::\"stock\"",
    "action in Action::\"read\"",
    "(if principal.assurance > 1 then principal else principal).roles.contains(\"admin\")",
    "(if context.method == \"GET\" then context.path else context.path) has id",
    "true",
];

pub(crate) fn rule_texts() -> impl Strategy<Value = String> {
    let effect = select(&["permit", "permit", "forbid"][..]);
    rule_texts_with(effect)
}

pub(crate) fn rule_texts_with(effect: impl Strategy<Value = &'static str>) -> impl Strategy<Value = String> {
    let clause = (select(&["when", "unless"][..]), select(CONDITIONS));
    let clauses = proptest::collection::vec(clause, 0..3);
    (effect, select(PRINCIPALS), select(ACTIONS), select(RESOURCES), clauses).prop_map(
        |(e, p, a, r, clauses)| {
            let clauses: Vec<_> = clauses.iter().map(|(word, body)| format!("{word} {{ {body} }}")).collect();
            format!("{e}({p}, {a}, {r}) {};", clauses.join(" "))
        },
    )
}

fn attachments() -> impl Strategy<Value = Vec<Attached>> {
    let service = |s: &str| Attached::Service(name(s));
    let route = |s: &str, r: &str| Attached::Route(name(s), name(r));
    prop_oneof![
        3 => Just(vec![Attached::Everything]),
        1 => Just(vec![service("orders")]),
        1 => Just(vec![route("orders", "one"), service("stock")]),
        1 => Just(vec![route("stock", "line"), service("stock")]),
    ]
}

/// Sources whose rules all make sense: each compiles alone.
pub(crate) fn sources() -> impl Strategy<Value = BookSource> {
    let files = proptest::collection::vec((rule_texts(), attachments()), 1..6);
    let rules = proptest::collection::vec(
        select(vec![
            scope_rule(Some(&["orders:read"]), None, None),
            ScopeRule {
                grant: Grant::Requires,
                ..scope_rule(None, Some(&["orders:read", "orders:write"]), None)
            },
        ]),
        0..2,
    );
    (files, rules).prop_map(|(files, scope_rules)| {
        let mut source = BookSource { scope_rules, ..shop() };
        for (index, (text, attached)) in files.into_iter().enumerate() {
            add_if_sensible(&mut source, policy(index, &text, attached));
        }
        source
    })
}

pub(crate) fn add_if_sensible(source: &mut BookSource, file: PolicySource) {
    let alone = BookSource { policies: vec![file.clone()], ..shop() };
    if Book::compile(&alone).is_ok() {
        source.policies.push(file);
    }
}

fn texts(of: &'static [&'static str]) -> impl Strategy<Value = std::collections::BTreeSet<Arc<str>>> {
    subsequence(of, 0..=of.len()).prop_map(|list| list.into_iter().map(Arc::from).collect())
}

fn principals() -> impl Strategy<Value = Principal> {
    let who = (select(&["staff", "partner"][..]), select(&["alice", "bob", "x|alice"][..]));
    let rights = (texts(&["orders:read", "orders:write"]), texts(&["admin", "clerk"]));
    let client = select(vec![None, Some("web-1"), Some("batch")]);
    let claims = (
        select(vec![None, Some("c-1"), Some("c-2")]),
        select(vec![None, Some(0), Some(1), Some(2)]),
        proptest::option::of(texts(&["blue", "red"])),
        proptest::option::of(any::<bool>()),
    );
    let proof = (
        select(vec![Proof::Token, Proof::Certificate, Proof::ApiKey]),
        select(vec![Binding::Bearer, Binding::MutualTls]),
        select(vec![Assurance::Low, Assurance::Substantial, Assurance::High]),
        select(vec![None, Some(NOON - 1), Some(NOON + 1)]),
    );
    (who, rights, client, claims, proof).prop_map(|(who, (scopes, roles), client, claims, proof)| {
        let text = claims.0.map(|c| ("customer", ClaimValue::Text(c.into())));
        let level = claims.1.map(|l| ("level", ClaimValue::Number(l)));
        let teams = claims.2.map(|t| ("teams", ClaimValue::Texts(t)));
        let trusted = claims.3.map(|t| ("trusted", ClaimValue::Flag(t)));
        let claims = [text, level, teams, trusted].into_iter().flatten();
        Principal {
            proof: proof.0,
            subject: who.1.into(),
            client: client.map(Arc::from),
            scopes,
            roles,
            claims: claims.map(|(name, value)| (Arc::from(name), value)).collect(),
            binding: proof.1,
            assurance: proof.2,
            expires: proof.3.map(UnixMillis),
            ..Principal::anonymous(name(who.0))
        }
    })
}

/// 2026-01-01T12:00:00Z
const NOON: u64 = 1_767_268_800_000;

/// Questions that lack nothing.
pub(crate) fn questions() -> impl Strategy<Value = Asked> {
    let route = select(vec![("orders", "one"), ("orders", "list"), ("stock", "line")]);
    let values = (select(&["c-1", "c-2"][..]), select(&["c-1", "c-2"][..]));
    let source = select(&["192.0.2.7", "::ffff:192.0.2.7", "198.51.100.1", "2001:db8::1"][..]);
    let methods = select(vec![Method::Get, Method::Post, Method::Delete, Method::Head]);
    let now = select(vec![NOON - 1, NOON, NOON + 1]);
    (route, principals(), methods, values, source, now).prop_map(
        |(route, principal, method, values, source, now)| {
            let path = match route.1 {
                "one" => vec![("id", values.0)],
                "line" => vec![("line", values.1), ("id", values.0)],
                _ => vec![],
            };
            let source = source.parse().expect("an address");
            Asked { route, principal, method, path, source, now: UnixMillis(now) }
        },
    )
}

/// Questions with a parameter missing, a parameter twice or a claim of a wrong type among them.
pub(crate) fn odd_questions() -> impl Strategy<Value = Asked> {
    (questions(), 0..8_u8).prop_map(|(mut asked, odd)| {
        match odd {
            0 => asked.path.clear(),
            1 => asked.path.push(("id", "c-1")),
            2 => _ = asked.principal.claims.insert("customer".into(), ClaimValue::Number(1)),
            3 => _ = asked.principal.claims.insert("unknown".into(), ClaimValue::Number(1)),
            _ => {}
        }
        asked
    })
}
