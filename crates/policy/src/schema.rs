//! The Cedar schema that policies are written against, generated from the book's source.
//!
//! One caller type, one resource type, one action per method. A policy is validated against the path parameters
//! of exactly the routes that it can apply to: a parameter that all of them have may be read at once, one that
//! only some have must be asked for with `has`, any other is unknown.
//!
//! INVARIANT: names are quoted and escaped, so no name of a claim or parameter can end its own declaration (B7).
//!
//! Sources: Cedar schema grammar (docs.cedarpolicy.com, "Schema grammar").

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::sync::Arc;

use crate::{BookSource, ClaimKind, ClaimSource, Method, Presence};

/// The path parameters that a policy may read.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Shape {
    /// Those of every route that the policy can apply to.
    pub(crate) always: BTreeSet<Arc<str>>,
    /// Those of some.
    pub(crate) sometimes: BTreeSet<Arc<str>>,
}

impl Shape {
    /// The shape of a policy that can apply to routes with these parameters.
    pub(crate) fn of<'r>(routes: impl Iterator<Item = &'r [Arc<str>]>) -> Self {
        let mut shape: Option<Self> = None;
        for parameters in routes {
            match &mut shape {
                None => {
                    let always = parameters.iter().cloned().collect();
                    shape = Some(Self { always, sometimes: BTreeSet::new() });
                }
                Some(shape) => shape.meet(parameters),
            }
        }
        shape.unwrap_or_default()
    }

    fn meet(&mut self, parameters: &[Arc<str>]) {
        let missing: Vec<_> = self.always.iter().filter(|p| !parameters.contains(p)).cloned().collect();
        for parameter in missing {
            self.always.remove(&parameter);
            self.sometimes.insert(parameter);
        }
        let new = parameters.iter().filter(|p| !self.always.contains(*p));
        self.sometimes.extend(new.cloned());
    }
}

/// The schema of a book, as people read it; what policies may say, with examples.
///
/// ```text
/// permit (principal, action in Action::"read", resource == Route::"orders/get-order")
/// when { principal.claims has customer && context.path.customer == principal.claims.customer };
///
/// forbid (principal, action in Action::"write", resource in Service::"payments")
/// unless { principal.binding == Binding::"mutual-tls" && principal.assurance >= 2 };
///
/// @id("auditors")
/// permit (principal in Role::"auditor", action == Action::"GET", resource)
/// when { context.source.isInRange(ip("10.0.0.0/8")) };
/// ```
///
/// In this text every path parameter is optional, as a policy that speaks about all routes sees it; a policy
/// whose scope or file names routes that all have a parameter may read it without asking `has`.
#[must_use]
pub fn schema_text(source: &BookSource) -> String {
    let mut out = String::from(HEADER);
    let parameters = source.routes.iter().flat_map(|r| r.parameters.iter().cloned());
    let shape = Shape { always: BTreeSet::new(), sometimes: parameters.collect() };
    write_schema(&mut out, &source.claims, &shape);
    out.push_str("\n// The routes:\n");
    for route in &source.routes {
        let methods: Vec<_> = route.methods.iter().map(|m| m.as_str()).collect();
        let (service, name, path) = (&route.service, &route.route, route.path.escape_default());
        let _ = writeln!(out, "//   Route::\"{service}/{name}\"  {} {path}", methods.join(","));
    }
    out
}

/// The schema that a policy of this shape is validated against.
pub(crate) fn schema_for(claims: &[ClaimSource], shape: &Shape) -> String {
    let mut out = String::new();
    write_schema(&mut out, claims, shape);
    out
}

const HEADER: &str = "\
// What a policy may say here. Generated: edit the routes and claims of the configuration instead.
// Answers: a rule that fails refuses; else a forbid refuses; else a permit permits; else it is refused.
";

const TYPES: &str = r#"
entity Proof enum ["anonymous", "token", "certificate", "api-key"];
entity Binding enum ["bearer", "mutual-tls"];
entity Sensitivity enum ["low", "medium", "high"];

// A role of the caller, by the name that the issuer's entry maps it to. `*` means itself.
entity Role;
entity Service;

// Route::"service/route"
entity Route in [Service] = {
  path: String, // the template, such as "/orders/{id}"
  sensitivity: Sensitivity,
};

// Caller::"issuer|subject"
entity Caller in [Role] = {
  issuer: String,
  subject: String,
  client?: String,
  proof: Proof,
  binding: Binding,
  assurance: Long, // 1 low, 2 substantial, 3 high
  scopes: Set<String>,
  roles: Set<String>,
  claims: Claims,
};
"#;

fn write_schema(out: &mut String, claims: &[ClaimSource], shape: &Shape) {
    out.push_str(TYPES);
    out.push_str("\ntype Claims = {\n");
    for claim in claims {
        let optional = if claim.presence == Presence::Optional { "?" } else { "" };
        let _ = writeln!(out, "  {}{optional}: {},", quoted(&claim.name), cedar_type(claim.kind));
    }
    out.push_str("};\n\ntype PathParameters = {\n");
    for name in &shape.always {
        let _ = writeln!(out, "  {}: String,", quoted(name));
    }
    for name in &shape.sometimes {
        let _ = writeln!(out, "  {}?: String,", quoted(name));
    }
    out.push_str("};\n");
    out.push_str(CONTEXT);
    for group in [Method::READ, Method::WRITE] {
        let _ = writeln!(out, "action {};", quoted(group));
        let methods = Method::ALL.into_iter().filter(|m| m.group() == group);
        let methods: Vec<_> = methods.map(|m| quoted(m.as_str())).collect();
        let _ = writeln!(out, "action {} in [{}] appliesTo {{", methods.join(", "), quoted(group));
        out.push_str("  principal: Caller, resource: Route, context: Context,\n};\n");
    }
}

const CONTEXT: &str = r"
type Context = {
  environment: String,
  method: String,
  path: PathParameters,
  source: ipaddr,
  time: datetime, // a rule that reads it is never answered from the cache
};

";

fn cedar_type(kind: ClaimKind) -> &'static str {
    match kind {
        ClaimKind::Flag => "Bool",
        ClaimKind::Number => "Long",
        ClaimKind::Text => "String",
        ClaimKind::Texts => "Set<String>",
    }
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.escape_default())
}

#[cfg(test)]
mod tests {
    use portcullis_core::Location;

    use super::*;

    fn names(list: &[&str]) -> Vec<Arc<str>> {
        list.iter().map(|n| Arc::from(*n)).collect()
    }

    #[test]
    fn a_shape_knows_what_all_routes_have() {
        type Case = (&'static [&'static [&'static str]], &'static [&'static str], &'static [&'static str]);
        let table: [Case; 5] = [
            (&[], &[], &[]),
            (&[&["id"]], &["id"], &[]),
            (&[&["id"], &["id", "line"]], &["id"], &["line"]),
            (&[&["id"], &[]], &[], &["id"]),
            (&[&[], &["id"], &["id"]], &[], &["id"]),
        ];
        for (routes, always, sometimes) in table {
            let routes: Vec<_> = routes.iter().map(|r| names(r)).collect();
            let shape = Shape::of(routes.iter().map(Vec::as_slice));
            assert_eq!(shape.always, names(always).into_iter().collect(), "{routes:?}");
            assert_eq!(shape.sometimes, names(sometimes).into_iter().collect(), "{routes:?}");
        }
    }

    #[test]
    fn b7_a_name_cannot_end_its_own_declaration() {
        let evil = "x\": Bool}; entity Root; type Y = {\"z";
        let claim = ClaimSource {
            name: evil.into(),
            kind: ClaimKind::Text,
            presence: Presence::Always,
            at: Location::default(),
        };
        let text =
            schema_for(&[claim], &Shape { always: names(&[evil]).into_iter().collect(), ..Shape::default() });
        let (schema, _) = cedar_policy::Schema::from_cedarschema_str(&text).expect("a schema");
        assert!(schema.entity_types().all(|t| t.to_string() != "Root"));
    }
}
