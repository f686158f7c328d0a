//! Whole documents and whole requests.

use std::fmt::Write as _;

use portcullis_core::{Name, Reason};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

const VECTORS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../workshop/vectors/openapi/");

fn vector(file: &str) -> Contract {
    let text = std::fs::read_to_string(format!("{VECTORS}{file}")).expect("the vector is there");
    Contract::parse(file, &text).unwrap_or_else(|problems| panic!("{problems}"))
}

fn try_document(version: &str, operation: &Value, components: &Value) -> Result<Contract, String> {
    let document = json!({
        "openapi": version,
        "info": {"title": "t", "version": "1"},
        "paths": {"/a/{id}": {"post": operation}, "/b": {"post": operation}},
        "components": components,
    });
    Contract::parse("t.json", &document.to_string()).map_err(|problems| problems.to_string())
}

/// An operation `POST /b` with these parameters.
fn with_parameters(parameters: &Value) -> Contract {
    let document = json!({"openapi": "3.1.0", "paths": {"/b": {"post": {"parameters": parameters}}}});
    Contract::parse("t.json", &document.to_string()).unwrap_or_else(|problems| panic!("{problems}"))
}

/// An operation `POST /b` with a JSON body of this schema.
fn with_body(version: &str, schema: &Value, schemas: &Value) -> Result<Contract, String> {
    let operation =
        json!({"requestBody": {"required": true, "content": {"application/json": {"schema": schema}}}});
    let document = json!({
        "openapi": version, "paths": {"/b": {"post": operation}}, "components": {"schemas": schemas},
    });
    Contract::parse("t.json", &document.to_string()).map_err(|problems| problems.to_string())
}

fn body_findings(contract: &Contract, body: &str) -> String {
    let operation = contract.operation("POST", "/b").expect("operation");
    operation.check_body(Some("application/json"), body.as_bytes()).to_string()
}

struct Request<'r> {
    path: &'r [(&'r str, &'r str)],
    query: &'r str,
    headers: &'r [(&'r str, &'r [u8])],
    body: BodyPresence,
}

const PLAIN: Request<'_> = Request { path: &[], query: "", headers: &[], body: BodyPresence::Absent };

fn head_findings(contract: &Contract, template: &str, request: &Request<'_>) -> Findings {
    let lookup = |name: &str, each: &mut dyn FnMut(&[u8])| {
        request.headers.iter().filter(|(known, _)| *known == name).for_each(|(_, value)| each(value));
    };
    let operation = contract.operations().find(|o| o.template() == template).expect("operation");
    operation.check_head(&HeadView {
        path: request.path,
        query: Some(request.query),
        headers: &lookup,
        content_type: Some("application/json"),
        body: request.body,
    })
}

fn query_findings(contract: &Contract, query: &str) -> String {
    head_findings(contract, "/b", &Request { query, ..PLAIN }).to_string()
}

#[test]
fn every_document_of_the_collection_is_read_and_imported() {
    let mut count = 0;
    for entry in std::fs::read_dir(VECTORS).expect("the vectors are there") {
        let path = entry.expect("entry").path();
        let is_document = path.extension().is_some_and(|kind| kind == "yaml" || kind == "json");
        if is_document {
            let contract = vector(path.file_name().and_then(|name| name.to_str()).expect("a name"));
            assert!(contract.operations().count() > 5);
            let routes = import::routes(&contract, &Name::parse("service").expect("name"));
            assert!(serde_saphyr::from_str::<Value>(&routes).is_ok(), "{routes}");
            count += 1;
        }
    }
    assert!(count >= 2);
}

#[test]
fn routes_of_the_museum_are_imported() {
    let routes = import::routes(&vector("museum.yaml"), &Name::parse("museum").expect("name"));
    insta::assert_snapshot!(routes);
}

#[test]
fn scopes_and_callers_are_imported_as_the_document_says() {
    let schemes =
        json!({"securitySchemes": {"o": {"type": "oauth2"}, "b": {"type": "http", "scheme": "basic"}}});
    let table = [
        (json!([{"o": ["a:read", "a:write"]}]), "scopes: { all: [\"a:read\", \"a:write\"] }"),
        (json!([{"o": ["a"]}, {"o": ["b"]}]), "scopes: { any: [\"a\", \"b\"] }"),
        (json!([{"o": ["a", "b"]}, {"o": ["c"]}]), "policy: \"?\" # the document has alternatives"),
        (json!([{"o": ["a"]}, {"b": []}]), "policy: \"?\" # the document asks for a credential"),
        (json!([{"b": ["role"]}]), "policy: \"?\" # the document asks for a credential"),
        (json!([{"o": ["x\"\n, y"]}]), "scopes: { all: [\"x,y\"] }"),
        (json!([]), "access: public # the document asks"),
        (json!([{}, {"o": ["a"]}]), "access: public # the document asks"),
    ];
    let service = Name::parse("s").expect("name");
    for (security, want) in table {
        let operation = json!({"security": security, "parameters": [
            {"name": "id", "in": "path", "required": true, "schema": {}},
        ]});
        let document =
            json!({"openapi": "3.1.0", "paths": {"/a/{id}": {"get": operation}}, "components": schemes});
        let contract = Contract::parse("t", &document.to_string()).unwrap_or_else(|p| panic!("{p}"));
        let routes = import::routes(&contract, &service);
        assert!(routes.contains(want), "{security} gave {routes}");
    }
}

#[test]
fn an_operation_is_found_by_the_form_of_its_path() {
    let museum = vector("museum.yaml");
    let id = |method: &str, template: &str| museum.operation(method, template).map(|o| o.id().to_owned());
    assert_eq!(id("GET", "/special-events/{event_id}").as_deref(), Some("getSpecialEvent"));
    assert_eq!(id("HEAD", "/special-events/{x}").as_deref(), Some("getSpecialEvent"));
    let based = "/_mock/docs/openapi/museum-api/special-events/{x}";
    assert_eq!(id("PATCH", based).as_deref(), Some("updateSpecialEvent"));
    for (method, template) in [
        ("get", "/special-events/{x}"),
        ("PUT", "/special-events/{x}"),
        ("GET", "/special-events/x"),
        ("GET", "/special-events/{x}/"),
        ("GET", "/special-events"),
    ] {
        assert_ne!(id(method, template).as_deref(), Some("getSpecialEvent"), "{method} {template}");
    }
}

#[test]
fn the_museum_takes_what_its_document_shows_and_nothing_else() {
    let museum = vector("museum.yaml");
    let ask = |query| head_findings(&museum, "/museum-hours", &Request { query, ..PLAIN }).to_string();
    assert_eq!(ask("startDate=2023-09-02&page=2&limit=15"), "");
    assert_eq!(ask("startDate=yesterday"), "query `startDate`: format");
    assert_eq!(ask("page=x&limit=31"), "query `page`: type; query `limit`: maximum");
    assert_eq!(ask("pages=1"), "query `pages`: unknown");
    let event =
        head_findings(&museum, "/special-events/{eventId}", &Request { path: &[("e", "7")], ..PLAIN });
    assert_eq!(event.to_string(), "path `eventId`: format");
    let create = museum.operation("POST", "/special-events").expect("operation");
    assert_eq!(create.needs_body(Some("application/json")), BodyCheck::Buffer { cap: 1 << 20 });
    let check = |body: &str| create.check_body(Some("application/json"), body.as_bytes()).to_string();
    let good =
        r#"{"name": "n", "location": "l", "eventDescription": "d", "dates": ["2023-09-02"], "price": 4.5}"#;
    assert_eq!(check(good), "");
    let bad = r#"{"name": "n", "location": 5, "eventDescription": "d", "dates": ["soon"], "price": 4.5}"#;
    assert_eq!(check(bad), "body at `/location`: type; body at `/dates/0`: format");
    assert_eq!(check("{}").matches("required").count(), 5);
}

#[test]
fn twilio_takes_forms() {
    let twilio = vector("twilio-messaging-v1.json");
    let create = twilio.operation("POST", "/v1/Services").expect("operation");
    let form = "application/x-www-form-urlencoded; charset=UTF-8";
    let check = |body: &str| create.check_body(Some(form), body.as_bytes()).to_string();
    assert_eq!(check("FriendlyName=My+service&StickySender=true&ValidityPeriod=600"), "");
    assert_eq!(check("FriendlyName=a&StickySender=yes"), "body at `/StickySender`: type");
    assert_eq!(check("StickySender=true"), "body at `/FriendlyName`: required");
    assert_eq!(check("FriendlyName=a&FriendlyName=b"), "body: repeated");
    assert_eq!(check("FriendlyName=%zz"), "body: encoding");
    let json = create.check_body(Some("application/json"), b"{}");
    assert_eq!(json.reason(), Some(Reason::UnsupportedMedia));
}

#[test]
fn ss028_11_6_2b_errors_and_unknown_parameters_are_different_events() {
    let contract = with_parameters(&json!([{"name": "n", "in": "query", "schema": {"type": "integer"}}]));
    let found = head_findings(&contract, "/b", &Request { query: "n=x&m=1", ..PLAIN });
    let kinds: Vec<_> = found.iter().map(|f| (f.kind.word(), &*f.name)).collect();
    assert_eq!(kinds, [("unknown-parameter", "m"), ("invalid-input", "n")]);
    assert_eq!(found.reason(), Some(Reason::ContractBroken));
    let closed = json!({"properties": {"a": {"type": "string"}}, "additionalProperties": false});
    let contract = with_body("3.1.0", &closed, &json!({})).expect("loads");
    let operation = contract.operation("POST", "/b").expect("operation");
    let found = operation.check_body(Some("application/json"), br#"{"a": 1, "extra": 1}"#);
    let mut kinds: Vec<_> = found.iter().map(|f| f.kind.word()).collect();
    kinds.sort_unstable();
    assert_eq!(kinds, ["invalid-input", "unknown-parameter"]);
}

#[test]
fn ss028_11_6_2d_no_value_of_a_request_is_in_a_finding() {
    const CANARY: &str = "canary-9f8e7d6c5b4a3210-secret";
    let schema = json!({
        "type": "object",
        "properties": {"a": {"enum": ["x"]}, "p": {"pattern": "^x$"}, "c": {"const": 1}, "n": {"not": {"type": "string"}},
            "m": {"additionalProperties": {"type": "integer"}}, "k": {"propertyNames": {"maxLength": 3}}},
        "additionalProperties": false,
    });
    let contract = with_body("3.1.0", &schema, &json!({})).expect("loads");
    let body = json!({"a": CANARY, "p": CANARY, "c": CANARY, "n": CANARY, "m": {CANARY: CANARY}, "k": {CANARY: 1},
        CANARY: CANARY});
    let found = body_findings(&contract, &body.to_string());
    assert!(found.contains("body at `/m/*`: type") && found.contains("enum"), "{found}");
    assert!(!found.contains("canary"), "{found}");
    let parameters = json!([
        {"name": "q", "in": "query", "schema": {"type": "integer"}},
        {"name": "h", "in": "header", "schema": {"type": "integer"}},
        {"name": "c", "in": "cookie", "schema": {"type": "integer"}},
    ]);
    let contract = with_parameters(&parameters);
    let cookie = format!("c={CANARY}");
    let headers: [(&str, &[u8]); 2] = [("h", CANARY.as_bytes()), ("cookie", cookie.as_bytes())];
    let query = format!("q={CANARY}&{CANARY}=1&{CANARY}");
    let found =
        head_findings(&contract, "/b", &Request { query: &query, headers: &headers, ..PLAIN }).to_string();
    assert_eq!(found.matches("type").count(), 3, "{found}");
    assert!(!found.contains("canary"), "{found}");
}

#[test]
fn queries_follow_their_styles() {
    let parameters = json!([
        {"name": "need", "in": "query", "required": true, "schema": {"type": "boolean"}},
        {"name": "ids", "in": "query", "schema": {"type": "array", "items": {"type": "integer"}, "maxItems": 2}},
        {"name": "csv", "in": "query", "explode": false, "schema": {"$ref": "#/paths/~1b/post/parameters/1/schema"}},
        {"name": "pipe", "in": "query", "style": "pipeDelimited", "explode": false,
            "schema": {"type": "array", "items": {"type": "integer"}}},
        {"name": "deep", "in": "query", "style": "deepObject", "schema": {
            "type": "object", "properties": {"n": {"type": "integer"}}, "additionalProperties": false}},
        {"name": "flat", "in": "query", "schema": {"type": "object", "additionalProperties": false,
            "properties": {"x": {"type": "integer"}, "y": {"type": "string"}}}},
        {"name": "js", "in": "query", "content": {"application/json": {"schema": {"type": "object", "required": ["a"]}}}},
        {"name": "either", "in": "query", "schema": {"anyOf": [{"type": "integer"}, {"type": "string", "maxLength": 3}]}},
        {"name": "zip", "in": "query", "schema": {"type": ["string", "integer"], "pattern": "^0"}},
    ]);
    let contract = with_parameters(&parameters);
    let table = [
        ("need=true", ""),
        ("", "query `need`: required"),
        ("need=TRUE", "query `need`: type"),
        ("need=true&need=true", "query `need`: repeated"),
        ("need=true&ids=1&ids=2", ""),
        ("need=true&ids=1&ids=2&ids=3", "query `ids`: maxItems"),
        ("need=true&ids=1&ids=x", "query `ids` at `/1`: type"),
        ("need=true&csv=1,2", ""),
        ("need=true&csv=1,2,3", "query `csv`: maxItems"),
        ("need=true&pipe=1|2", ""),
        ("need=true&deep[n]=1", ""),
        ("need=true&deep%5Bn%5D=x", "query `deep` at `/n`: type"),
        ("need=true&deep[z]=1", "query `z`: unknown"),
        ("need=true&x=1&y=2", ""),
        ("need=true&x=a", "query `flat` at `/x`: type"),
        ("need=true&flat=1", "query `flat`: unknown"),
        ("need=true&js=%7B%22a%22:1%7D", ""),
        ("need=true&js=%7B%7D", "query `js` at `/a`: required"),
        ("need=true&js=%7B", "query `js`: syntax"),
        ("need=true&either=12345", ""),
        ("need=true&either=abcd", "query `either`: anyOf"),
        ("need=true&zip=0123", ""),
        ("need=true&zip=a", "query `zip`: pattern"),
        ("need=true&n%65ed2=1", "query `need2`: unknown"),
        ("need=%", "query `need`: encoding"),
        ("need=true&%=1", "query: encoding"),
    ];
    for (query, want) in table {
        assert_eq!(query_findings(&contract, query), want, "{query}");
    }
}

#[test]
fn paths_headers_and_cookies_are_checked() {
    let parameters = json!([
        {"name": "id", "in": "path", "required": true, "schema": {"type": "integer", "format": "int32"}},
        {"name": "list", "in": "path", "required": true, "schema": {"type": "array", "items": {"type": "integer"}}},
        {"name": "X-Count", "in": "header", "required": true, "schema": {"type": "integer"}},
        {"name": "X-Tags", "in": "header", "schema": {"type": "array", "items": {"enum": ["a", "b"]}}},
        {"name": "Accept", "in": "header", "schema": {"const": "never looked at"}},
        {"name": "theme", "in": "cookie", "schema": {"enum": ["dark", "light"]}},
    ]);
    let document =
        json!({"openapi": "3.0.3", "paths": {"/a/{id}/{list}": {"get": {"parameters": parameters}}}});
    let contract = Contract::parse("t", &document.to_string()).unwrap_or_else(|p| panic!("{p}"));
    let ask = |path: &[(&str, &str)], headers: &[(&str, &[u8])]| {
        head_findings(&contract, "/a/{id}/{list}", &Request { path, headers, ..PLAIN }).to_string()
    };
    let count: (&str, &[u8]) = ("x-count", b"5");
    let good = [("whatever", "7"), ("its_name", "1,2")];
    assert_eq!(ask(&good, &[count, ("x-tags", b"a, b"), ("cookie", b"a=b; theme=dark")]), "");
    assert_eq!(ask(&[("i", "2147483648"), ("l", "1")], &[count]), "path `id`: maximum");
    assert_eq!(ask(&[("i", "%37"), ("l", "%31,2")], &[count]), "", "an escaped digit is a digit");
    assert_eq!(ask(&[("i", "7")], &[count]), "path: template", "a route with another number of parameters");
    assert_eq!(ask(&good, &[]), "header `x-count`: required");
    assert_eq!(ask(&good, &[count, count]), "header `x-count`: repeated", "B8: each value is seen");
    assert_eq!(ask(&good, &[count, ("x-tags", b"a,c")]), "header `x-tags` at `/1`: enum");
    assert_eq!(ask(&good, &[("x-count", b"5\xff")]), "header `x-count`: encoding");
    assert_eq!(ask(&good, &[count, ("cookie", b"theme=red")]), "cookie `theme`: enum");
}

#[test]
fn bodies_are_there_or_not_and_of_a_listed_type() {
    let content = json!({"application/json": {"schema": {"type": "object"}}, "image/*": {},
        "application/vnd.shop+json": {"schema": {"type": "array"}}});
    let operation = json!({"requestBody": {"required": true, "content": content}});
    let document = json!({"openapi": "3.1.0", "paths": {"/b": {"post": operation, "get": {}}}});
    let contract = Contract::parse("t", &document.to_string()).unwrap_or_else(|p| panic!("{p}"));
    let (post, get) = (contract.operation("POST", "/b"), contract.operation("GET", "/b"));
    let (post, get) = (post.expect("operation"), get.expect("operation"));
    let table = [
        (Some("application/json"), "{}", ""),
        (Some("APPLICATION/JSON;charset=utf-8"), "{}", ""),
        (Some("application/json"), "[]", "body: type"),
        (Some("application/vnd.shop+json"), "[]", ""),
        (Some("image/png"), "not an image", ""),
        (Some("text/plain"), "{}", "body: content-type"),
        (Some("application/json, text/plain"), "{}", "body: content-type"),
        (None, "{}", "body: no-content-type"),
        (Some("application/json"), "", "body: required"),
        (Some("application/json"), "{}{}", "body: syntax"),
        (Some("application/json"), r#"{"a":1,"a":2}"#, "body: duplicate-member"),
    ];
    for (kind, body, want) in table {
        assert_eq!(post.check_body(kind, body.as_bytes()).to_string(), want, "{kind:?} {body}");
    }
    assert_eq!(post.needs_body(Some("image/png")), BodyCheck::None);
    assert_eq!(get.needs_body(Some("application/json")), BodyCheck::None);
    assert_eq!(get.check_body(None, b"x").to_string(), "body: unexpected");
    let sent = Request { body: BodyPresence::Present, ..PLAIN };
    assert_eq!(head_findings(&contract, "/b", &sent).to_string(), "body: unexpected", "the first is GET");
}

#[test]
fn the_dialect_of_3_0_means_what_it_says() {
    let table = [
        (json!({"type": "string", "nullable": true}), "null", true),
        (json!({"type": "string"}), "null", false),
        (json!({"type": "string", "nullable": true, "enum": ["a"]}), "null", false),
        (json!({"type": "string", "nullable": true, "enum": ["a", null]}), "null", true),
        (json!({"minimum": 5, "exclusiveMinimum": true}), "5", false),
        (json!({"minimum": 5, "exclusiveMinimum": false}), "5", true),
        (json!({"maximum": 5, "exclusiveMaximum": true}), "5", false),
        (json!({"$ref": "#/components/schemas/S", "maxLength": 1}), "\"long\"", true),
        (json!({"type": "integer", "format": "int32"}), "2147483648", false),
        (json!({"type": "integer", "format": "int64"}), "9223372036854775808", false),
        (json!({"type": "string", "format": "byte"}), "\"aGk=\"", true),
        (json!({"type": "string", "format": "byte"}), "\"a\"", false),
        (json!({"type": "string", "format": "date"}), "\"2023-02-30\"", false),
        (json!({"type": "string", "format": "uuid"}), "\"x\"", false),
        (json!({"type": "string", "format": "phone-number"}), "\"anything\"", true),
        (
            json!({"type": "object", "properties": {"example": {"type": "string"}}, "example": {}}),
            "{\"example\":1}",
            false,
        ),
        (json!({"required": ["id", "n"], "properties": {"id": {"readOnly": true}}}), "{\"n\":1}", true),
        (json!({"required": ["id"], "properties": {"id": {"$ref": "#/components/schemas/R"}}}), "{}", true),
    ];
    let schemas = json!({"S": {"type": "string"}, "R": {"readOnly": true}});
    for (schema, body, fits) in table {
        let contract = with_body("3.0.3", &schema, &schemas).unwrap_or_else(|p| panic!("{schema}: {p}"));
        assert_eq!(body_findings(&contract, body).is_empty(), fits, "{schema} {body}");
    }
    let sibling = json!({"$ref": "#/components/schemas/S", "maxLength": 1});
    let contract = with_body("3.1.0", &sibling, &schemas).expect("loads");
    assert_eq!(body_findings(&contract, "\"long\""), "body: maxLength", "3.1 hears siblings of a reference");
}

#[test]
fn e12_a_pattern_that_is_not_linear_does_not_load() {
    for pattern in ["(a)\\1", "(?=a)b", "(?<!a)b", "(", "a{1000}{1000}{1000}"] {
        let problems = with_body("3.1.0", &json!({"pattern": pattern}), &json!({})).expect_err(pattern);
        assert!(problems.contains("linear time"), "{problems}");
        let named = json!({"patternProperties": {pattern: {}}});
        assert!(with_body("3.1.0", &named, &json!({})).is_err(), "{pattern}");
    }
    let contract = with_body("3.1.0", &json!({"pattern": "^(a+)+$"}), &json!({})).expect("loads");
    let evil = format!("\"{}!\"", "a".repeat(100_000));
    assert_eq!(body_findings(&contract, &evil), "body: pattern", "answers at once");
}

#[test]
fn e9_bodies_that_are_bombs_stop_at_a_cap() {
    let contract = with_body("3.1.0", &json!({}), &json!({})).expect("loads");
    assert_eq!(body_findings(&contract, &format!("{}{}", "[".repeat(64), "]".repeat(64))), "");
    assert_eq!(body_findings(&contract, &"[".repeat(1_000_000)), "body: depth");
    assert_eq!(body_findings(&contract, &format!("[{}0]", "0,".repeat(200_000))), "body: too-many-values");
    let operation = contract.operation("POST", "/b").expect("operation");
    let huge = vec![b' '; (1 << 20) + 1];
    let found = operation.check_body(Some("application/json"), &huge);
    assert_eq!(found.reason(), Some(Reason::BodyTooLarge));
}

#[test]
fn e9_a_large_body_with_many_faults_is_told_one() {
    let contract = with_body("3.1.0", &json!({"items": {"type": "string"}}), &json!({})).expect("loads");
    assert_eq!(body_findings(&contract, &format!("[{}0]", "0,".repeat(50_000))), "body at `/0`: type");
    assert_eq!(body_findings(&contract, &format!("[{}0]", "0,".repeat(30))).matches("type").count(), 16);
}

#[test]
fn every_member_that_a_closed_object_does_not_know_is_named() {
    for closed in [
        json!({"additionalProperties": false}),
        json!({"properties": {"a": {}}, "additionalProperties": false}),
        json!({"allOf": [{"properties": {"a": {}}}], "unevaluatedProperties": false}),
        json!({"patternProperties": {"^x-": {}}, "additionalProperties": false}),
        json!({"properties": {"a": {}}, "patternProperties": {"^x-": {}}, "additionalProperties": false}),
    ] {
        let contract = with_body("3.1.0", &closed, &json!({})).expect("loads");
        let operation = contract.operation("POST", "/b").expect("operation");
        let found = operation.check_body(Some("application/json"), br#"{"more": 1, "else": 2}"#);
        let mut names: Vec<_> = found.iter().map(|f| (f.kind, &*f.name)).collect();
        names.sort_unstable();
        assert_eq!(names, [(Kind::UnknownParameter, "else"), (Kind::UnknownParameter, "more")], "{closed}");
    }
}

#[test]
fn e9_a_schema_that_doubles_with_each_level_meets_shallow_values_only() {
    let way = json!({"properties": {"x": {"$ref": "#/components/schemas/N"}}});
    let schemas = json!({"N": {"anyOf": [way, way, {"type": "integer"}]}});
    let contract = with_body("3.1.0", &json!({"$ref": "#/components/schemas/N"}), &schemas).expect("loads");
    let nested = |depth: usize| format!("{}\"no\"{}", "{\"x\":".repeat(depth), "}".repeat(depth));
    assert_eq!(body_findings(&contract, &nested(60)), "body: depth");
    assert_ne!(body_findings(&contract, &nested(8)), "body: depth");
    let straight = json!({"N": {"properties": {"x": {"$ref": "#/components/schemas/N"}}}});
    let contract = with_body("3.1.0", &json!({"$ref": "#/components/schemas/N"}), &straight).expect("loads");
    assert_eq!(body_findings(&contract, &nested(60)), "");
}

#[test]
fn e9_documents_that_are_bombs_do_not_load() {
    let of = |schemas: Value| with_body("3.1.0", &json!({"$ref": "#/components/schemas/A"}), &schemas);
    let to = |name: &str| json!({"$ref": format!("#/components/schemas/{name}")});
    for schemas in [
        json!({"A": to("A")}),
        json!({"A": {"allOf": [to("B")]}, "B": {"anyOf": [to("A")]}}),
        json!({"A": {"not": to("A")}}),
    ] {
        assert!(of(schemas.clone()).is_err_and(|text| text.contains("without end")), "{schemas}");
    }
    let chain = |each: fn(Value) -> Value| -> Value {
        let link = |n: usize| {
            let name = if n == 0 { "A".to_owned() } else { format!("S{n}") };
            (name, each(json!({"$ref": format!("#/components/schemas/S{}", n + 1)})))
        };
        let links = (0..2_500).map(link).chain([("S2500".to_owned(), json!({}))]);
        Value::Object(links.collect())
    };
    assert!(of(chain(|next| next)).is_err());
    assert!(of(chain(|next| json!({"properties": {"x": next}}))).is_err());
    let yaml_bomb = (1..30).fold("a0: &a0 [x, x]\n".to_owned(), |mut text, n| {
        let _ = writeln!(text, "a{n}: &a{n} [*a{}, *a{}]", n - 1, n - 1);
        text
    });
    for text in [
        yaml_bomb,
        format!("openapi: {}", "[".repeat(10_000)),
        format!("{{\"openapi\": {}", "[".repeat(10_000)),
        format!("openapi: '3.1.0'\nx: {}", "&a [".repeat(200)),
        " ".repeat(17 << 20),
    ] {
        assert!(Contract::parse("bomb", &text).is_err());
    }
}

#[test]
fn e9_a_deep_but_honest_chain_of_schemas_loads() {
    let link = |n: usize| {
        (format!("S{n}"), json!({"properties": {"x": {"$ref": format!("#/components/schemas/S{}", n + 1)}}}))
    };
    let links: serde_json::Map<String, Value> =
        (0..1_999).map(link).chain([("S1999".to_owned(), json!({}))]).collect();
    let root = json!({"$ref": "#/components/schemas/S0"});
    assert!(with_body("3.1.0", &root, &Value::Object(links)).is_ok());
}

#[test]
fn every_problem_of_a_document_is_named_with_its_place() {
    let parameters = json!([
        {"name": "other", "in": "path", "required": true, "schema": {}},
        {"name": "q", "in": "query", "style": "matrix", "schema": {}},
        {"in": "query", "schema": {}},
        {"name": "z", "in": "query"},
        {"$ref": "https://evil.example/p.json"},
        {"$ref": "#/components/parameters/missing"},
    ]);
    let body = json!({"content": {"nonsense": {}, "application/json": {"schema": {
        "properties": {"a": {"$ref": "file:///etc/passwd"}, "b": {"type": "strin"}, "c": 5}, "allOf": {}, "$id": "x"}}}});
    let text = try_document("3.1.0", &json!({"parameters": parameters, "requestBody": body}), &json!({}))
        .expect_err("has problems");
    for want in [
        "`other` is not in the template",
        "#/paths/~1b/post/parameters/1/style: is not supported",
        "parameters/2: a parameter has a `name`",
        "parameters/3: a parameter has a `schema`",
        "refers to `https://evil.example/p.json`; only references within",
        "refers to `#/components/parameters/missing`, which is not",
        "content/nonsense: is not a media type",
        "properties/a/$ref: refers to `file:///etc/passwd`",
        "properties/c: is not a schema",
        "allOf: must be a list",
        "`$id` is not supported",
    ] {
        assert!(text.contains(want), "{want} is not in {text}");
    }
    let wrong = with_body("3.1.0", &json!({"type": "strin"}), &json!({})).expect_err("has a problem");
    assert!(wrong.contains("not a schema that can be compiled"), "{wrong}");
    for (text, want) in [
        ("swagger: '2.0'", "t: openapi: found ``, expected `3.0.x` or `3.1.x`"),
        ("openapi: 3.2.0", "found `3.2.0`"),
        ("a: [", "is not YAML"),
        ("{\"openapi\": \"3.1.0\",}", "t:1:21: is not JSON"),
        ("openapi: 3.1.0\nopenapi: 3.1.0", "is not YAML"),
        ("{\"openapi\": \"3.1.0\", \"openapi\": \"3.1.0\"}", "one member twice"),
    ] {
        let problems = Contract::parse("t", text).expect_err(text).to_string();
        assert!(problems.contains(want), "{problems}");
    }
}

#[test]
fn b7_templates_that_mean_the_same_are_a_problem() {
    let operation = |name: &str| json!({"get": {"parameters": [{"name": name, "in": "path", "required": true, "schema": {}}]}});
    let document = json!({"openapi": "3.1.0", "paths": {"/a/{x}": operation("x"), "/a/{y}": operation("y")}});
    let problems = Contract::parse("t", &document.to_string()).expect_err("has a problem").to_string();
    assert!(problems.contains("differ in parameter names only"), "{problems}");
}

/// Values of the kind that documents and bodies are made of.
fn values() -> impl Strategy<Value = Value> {
    let words = prop::sample::select(vec![
        "type",
        "object",
        "string",
        "array",
        "$ref",
        "#/components/schemas/A",
        "properties",
        "items",
        "allOf",
        "anyOf",
        "not",
        "pattern",
        "(?=a)",
        "^a+$",
        "required",
        "enum",
        "schema",
        "in",
        "query",
        "path",
        "name",
        "style",
        "deepObject",
        "content",
        "application/json",
        "nullable",
        "format",
        "int32",
        "a",
        "",
    ]);
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        any::<i64>().prop_map(|n| json!(n)),
        any::<f64>().prop_map(|n| json!(n)),
        words.clone().prop_map(|word| json!(word)),
    ];
    leaf.prop_recursive(5, 40, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::Array),
            prop::collection::vec((words.clone(), inner), 0..6)
                .prop_map(|all| Value::Object(all.into_iter().map(|(k, v)| (k.to_owned(), v)).collect())),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn no_document_makes_a_panic(schema in values(), other in values(), parameters in values(), body in values()) {
        let operation = json!({"parameters": [parameters, {"name": "q", "in": "query", "schema": schema}],
            "requestBody": {"content": {"application/json": {"schema": schema},
                "application/x-www-form-urlencoded": {"schema": other}}}});
        for version in ["3.0.0", "3.1.0"] {
            let document = json!({"openapi": version, "paths": {"/b": {"post": operation}},
                "components": {"schemas": {"A": other}}});
            fuzz(format!("{document}\u{1}{body}").as_bytes());
            fuzz(format!("{document}\u{1}a={body}&q=1").as_bytes());
        }
    }

    #[test]
    fn no_text_makes_a_panic(text in "(openapi: 3.1.0\n)?[\\PC\n]{0,80}") {
        fuzz(text.as_bytes());
    }

    /// What a schema of 3.0 and the same schema, written for 3.1, say about a value is the same.
    #[test]
    fn both_dialects_agree_where_they_say_the_same(n in -5i64..5, limit in -5i64..5, body in -6i64..6) {
        let old = json!({"type": "integer", "nullable": true, "minimum": limit, "exclusiveMinimum": true, "multipleOf": n.abs() + 1});
        let new = json!({"type": ["integer", "null"], "exclusiveMinimum": limit, "multipleOf": n.abs() + 1});
        let old = with_body("3.0.3", &old, &json!({})).expect("loads");
        let new = with_body("3.1.0", &new, &json!({})).expect("loads");
        for body in [body.to_string(), "null".to_owned(), "\"x\"".to_owned()] {
            prop_assert_eq!(body_findings(&old, &body), body_findings(&new, &body));
        }
    }
}
