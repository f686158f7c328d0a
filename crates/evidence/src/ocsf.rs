//! The Open Cybersecurity Schema Framework, 1.3: the classes that our events are.
//!
//! | event | class |
//! |---|---|
//! | `decided`, `ended` | HTTP Activity (4002) |
//! | `connection`, `coalesced` | Network Activity (4001) |
//! | `change`, `admin`, `issuer` | API Activity (6003) |
//! | `alert` | Detection Finding (2004) |
//! | `start`, `stop`, `crash`, `keeping` | Application Lifecycle (6002) |
//!
//! What the schema has no place for goes, as it is, under `unmapped`.
//!
//! Sources: schema.ocsf.io 1.3.0; threat F8.

use serde_json::{Map, Value, json};

use crate::Record;
use crate::sink::{Severity, quote};

/// Facts that have a place of their own in a class.
const MAPPED: &[&str] = &[
    "v", "source", "method", "route", "status", "caller", "service", "in", "out", "count", "outcome", "why",
    "uid", "alert", "state", "upstream",
];

/// The record as one OCSF event, one line, without a line end.
#[must_use]
pub fn line(record: &Record) -> String {
    let (class, activity) = class(record);
    let mut event = Map::new();
    event.insert("class_uid".into(), class.into());
    event.insert("category_uid".into(), (class / 1000).into());
    event.insert("activity_id".into(), activity.into());
    event.insert("type_uid".into(), (class * 100 + activity).into());
    event.insert("severity_id".into(), severity(record).into());
    event.insert("time".into(), record.time.into());
    event.insert("metadata".into(), metadata(record));
    facts(record, class, &mut event);
    let rest = record.rest().filter(|(key, _)| !MAPPED.contains(key));
    let rest: Map<String, Value> = rest.map(|(key, value)| (shown(key), value.clone())).collect();
    event.insert("unmapped".into(), Value::Object(rest));
    let text = Value::Object(event).to_string();
    // JSON leaves bidi and other invisible characters as they are.
    let mut line = String::with_capacity(text.len());
    quote_json(&mut line, &text);
    line
}

/// Spells what cannot be seen as JSON's own escape, which keeps the text's meaning.
fn quote_json(out: &mut String, text: &str) {
    let mut units = [0; 2];
    for c in text.chars() {
        if crate::safe::visible(c) {
            out.push(c);
        } else {
            c.encode_utf16(&mut units).iter().for_each(|unit| out.push_str(&format!("\\u{unit:04x}")));
        }
    }
}

fn shown(text: &str) -> String {
    let mut out = String::new();
    quote(&mut out, text, &[]);
    out
}

fn metadata(record: &Record) -> Value {
    json!({
        "version": "1.3.0",
        "product": { "name": "Portcullis", "vendor_name": "Portcullis" },
        "uid": format!("{}-{}", record.worker, record.seq),
        "correlation_uid": record.id,
        "sequence": record.seq,
        "log_name": record.env,
        "event_code": record.event,
    })
}

/// The class and the activity in it.
fn class(record: &Record) -> (u32, u32) {
    match record.event.as_str() {
        "decided" | "ended" => (4002, method(record.text("method").unwrap_or_default())),
        "connection" | "coalesced" => (4001, 5),
        "change" => (6003, 3),
        "admin" => (6003, 2),
        "issuer" => (6003, 99),
        "alert" if record.text("state") == Some("resolved") => (2004, 3),
        "alert" => (2004, 1),
        "start" => (6002, 3),
        "stop" => (6002, 4),
        _ => (6002, 99),
    }
}

fn method(method: &str) -> u32 {
    const METHODS: [&str; 8] = ["CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "POST", "PUT", "TRACE"];
    let at = METHODS.iter().position(|known| *known == method);
    at.and_then(|at| u32::try_from(at + 1).ok()).unwrap_or(99)
}

/// OCSF counts from 1 (informational) to 5 (critical).
fn severity(record: &Record) -> u32 {
    match Severity::of(record) {
        Severity::Critical => 5,
        Severity::Error => 4,
        Severity::Warning => 3,
        Severity::Notice => 2,
        Severity::Informational => 1,
    }
}

fn facts(record: &Record, class: u32, event: &mut Map<String, Value>) {
    let refused = record.text("outcome") == Some("refused") || class == 4001;
    event.insert("status_id".into(), if refused { 2 } else { 1 }.into());
    put(event, "status_detail", record.value("reason"));
    put(event, "message", record.value("why"));
    put(event, "count", record.value("count"));
    object(event, "src_endpoint", &[("ip", record.value("source"))]);
    object(
        event,
        "dst_endpoint",
        &[("svc_name", record.value("service")), ("name", record.value("upstream"))],
    );
    match class {
        4001 | 4002 => network(record, refused, event),
        6003 => api(record, event),
        2004 => {
            let info = [("title", record.value("alert")), ("uid", record.value("alert"))];
            object(event, "finding_info", &info);
        }
        _ => drop(event.insert("app".into(), json!({ "name": "portcullis", "vendor_name": "Portcullis" }))),
    }
}

fn network(record: &Record, refused: bool, event: &mut Map<String, Value>) {
    event.insert("action_id".into(), if refused { 2 } else { 1 }.into());
    object(event, "http_request", &[("http_method", record.value("method"))]);
    if let (Some(request), Some(route)) = (event.get_mut("http_request"), record.value("route"))
        && let Some(request) = request.as_object_mut()
    {
        request.insert("url".into(), json!({ "path": route }));
    }
    object(event, "http_response", &[("code", record.value("status"))]);
    object(event, "traffic", &[("bytes_in", record.value("in")), ("bytes_out", record.value("out"))]);
    actor(event, record.value("caller.subject"), record.value("caller.issuer"));
}

fn api(record: &Record, event: &mut Map<String, Value>) {
    let operation = record.value("action").or(record.value("kind")).or(record.value("state"));
    object(event, "api", &[("operation", operation)]);
    actor(event, record.value("uid").or(record.value("peer")), record.value("actor"));
}

fn actor(event: &mut Map<String, Value>, uid: Option<&Value>, domain: Option<&Value>) {
    // The schema wants text where a user id of the kernel is a number.
    let uid = uid.map(|uid| uid.as_str().map_or_else(|| Value::from(uid.to_string()), Value::from));
    let mut user = Map::new();
    put(&mut user, "uid", uid.as_ref());
    put(&mut user, "domain", domain);
    if !user.is_empty() {
        event.insert("actor".into(), json!({ "user": user }));
    }
}

fn put(event: &mut Map<String, Value>, key: &str, value: Option<&Value>) {
    if let Some(value) = value {
        event.insert(key.to_owned(), value.clone());
    }
}

fn object(event: &mut Map<String, Value>, key: &str, fields: &[(&str, Option<&Value>)]) {
    let mut inner = Map::new();
    for (key, value) in fields {
        put(&mut inner, key, *value);
    }
    if !inner.is_empty() {
        event.insert(key.to_owned(), Value::Object(inner));
    }
}
