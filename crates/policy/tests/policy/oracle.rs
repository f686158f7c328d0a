//! The slow, obvious way to decide: every policy of the whole book, alone, against all facts, in Cedar's JSON.

use std::str::FromStr;

use cedar_policy::{Authorizer, Context, Decision, Entities, EntityUid, PolicySet, Request, Schema};
use portcullis_core::{Assurance, Binding, ClaimValue, Proof};
use portcullis_policy::{Attached, BookSource, PolicySource, schema_text};
use serde_json::{Value, json};

use crate::world::Asked;

/// What the oracle says: the answer's word, and the files of the rules it rests on.
#[derive(Debug, PartialEq)]
pub(crate) struct Verdict {
    pub(crate) word: &'static str,
    pub(crate) files: Vec<String>,
}

/// Decides from the policies of a source; scope rules and public routes are not looked at.
pub(crate) fn decide(source: &BookSource, asked: &Asked) -> Verdict {
    let (mut broken, mut forbid, mut permit) = (vec![], vec![], vec![]);
    for file in source.policies.iter().filter(|file| covers(file, asked)) {
        let (request, entities) = facts(source, asked);
        let set = PolicySet::from_str(&file.text).expect("a policy");
        let response = Authorizer::new().is_authorized(&request, &set, &entities);
        let name = file.file.to_string();
        if response.diagnostics().errors().next().is_some() {
            broken.push(name);
        } else if response.decision() == Decision::Allow {
            permit.push(name);
        } else if response.diagnostics().reason().next().is_some() {
            forbid.push(name);
        }
    }
    broken.truncate(1);
    let has_method = source
        .routes
        .iter()
        .any(|r| (r.service.as_str(), r.route.as_str()) == asked.route && r.methods.contains(&asked.method));
    let (word, files) = match () {
        () if !has_method => ("deny", vec![]),
        () if !broken.is_empty() => ("broken", broken),
        () if !forbid.is_empty() => ("deny", forbid),
        () if !permit.is_empty() => ("allow", permit),
        () => ("deny", vec![]),
    };
    Verdict { word, files }
}

fn covers(file: &PolicySource, asked: &Asked) -> bool {
    file.attached.iter().any(|attached| match attached {
        Attached::Everything => true,
        Attached::Service(service) => service.as_str() == asked.route.0,
        Attached::Route(service, route) => (service.as_str(), route.as_str()) == asked.route,
    })
}

fn facts(source: &BookSource, asked: &Asked) -> (Request, Entities) {
    let text = schema_text(source);
    // What a caller always has is optional here, since the oracle's callers include those who lack it.
    let text = text.replace("\"level\": Long", "\"level\"?: Long");
    let (schema, _) = Schema::from_cedarschema_str(&text).expect("the published schema");
    let uid = |kind: &str, id: &str| EntityUid::from_json(json!({"type": kind, "id": id})).expect("an id");
    let who = format!("{}|{}", asked.principal.issuer, asked.principal.subject);
    let route = format!("{}/{}", asked.route.0, asked.route.1);
    let action = uid("Action", asked.method.as_str());
    let context =
        Context::from_json_value(context(source, asked), Some((&schema, &action))).expect("a context");
    let request = Request::new(uid("Caller", &who), action, uid("Route", &route), context, Some(&schema));
    let entities = json!([caller(&who, asked), resource(source, &route, asked)]);
    let entities =
        Entities::from_json_value(entities, Some(&schema)).expect("entities as the schema promises");
    (request.expect("a request as the schema promises"), entities)
}

fn context(source: &BookSource, asked: &Asked) -> Value {
    let path: serde_json::Map<String, Value> =
        asked.path.iter().map(|(n, v)| ((*n).into(), json!(v))).collect();
    let noon = 1_767_268_800_000_i64;
    let offset = i64::try_from(asked.now.0).expect("small") - noon;
    let time = match offset {
        -1 => "2026-01-01T11:59:59.999Z",
        0 => "2026-01-01T12:00:00.000Z",
        _ => "2026-01-01T12:00:00.001Z",
    };
    json!({
        "environment": source.environment.as_str(),
        "method": asked.method.as_str(),
        "path": path,
        "source": {"__extn": {"fn": "ip", "arg": asked.source.to_canonical().to_string()}},
        "time": {"__extn": {"fn": "datetime", "arg": time}},
    })
}

fn caller(who: &str, asked: &Asked) -> Value {
    let p = &asked.principal;
    let mut attrs = json!({
        "issuer": p.issuer.as_str(),
        "subject": &*p.subject,
        "proof": {"type": "Proof", "id": match p.proof {
            Proof::Anonymous => "anonymous", Proof::Token => "token",
            Proof::Certificate => "certificate", Proof::ApiKey => "api-key" }},
        "binding": {"type": "Binding", "id": match p.binding {
            Binding::Bearer => "bearer", Binding::MutualTls => "mutual-tls" }},
        "assurance": match p.assurance { Assurance::Low => 1, Assurance::Substantial => 2, Assurance::High => 3 },
        "scopes": p.scopes,
        "roles": p.roles,
        "claims": p.claims.iter().map(|(n, v)| (n.to_string(), match v {
            ClaimValue::Flag(v) => json!(v),
            ClaimValue::Number(v) => json!(v),
            ClaimValue::Text(v) => json!(v),
            ClaimValue::Texts(v) => json!(v),
        })).collect::<serde_json::Map<_, _>>(),
    });
    if let Some(client) = &p.client {
        attrs["client"] = json!(client);
    }
    let parents: Vec<_> = p.roles.iter().map(|role| json!({"type": "Role", "id": role})).collect();
    json!({"uid": {"type": "Caller", "id": who}, "attrs": attrs, "parents": parents})
}

fn resource(source: &BookSource, id: &str, asked: &Asked) -> Value {
    let route = source.routes.iter().find(|r| (r.service.as_str(), r.route.as_str()) == asked.route);
    let route = route.expect("a route of the shop");
    let sensitivity = json!({"type": "Sensitivity", "id": route.sensitivity.word()});
    json!({
        "uid": {"type": "Route", "id": id},
        "attrs": {"path": &*route.path, "sensitivity": sensitivity},
        "parents": [{"type": "Service", "id": asked.route.0}],
    })
}
