//! The commands as people run them.
#![expect(
    clippy::expect_used,
    reason = "a test that cannot be set up must stop; the allowance covers test functions only"
)]

use std::path::Path;
use std::process::{Command, Output};

fn run(words: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_portcullis")).args(words).output().expect("the program starts")
}

fn out(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).expect("text")
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a path of characters")
}

const BROKEN: &str = "\
environment: production
trust_domain: demo.portcullis.invalid
gateway:
  lisen: 0.0.0.0:8443
  certificates: { file: tls/edge.pem, key: { file: tls/edge.key } }
plans:
  standard: { per_user: 50 }
services:
  - name: orders
    owner: orders-team
    sensitivity: medium
    context: order-handling
    upstream: { endpoints: unix:/run/orders.sock }
    routes:
      - { path: /orders/../admin, methods: [GET, TRACE], plan: standart, access: public }
";

/// `broken.txt` is what an operator sees; when a text changes on purpose, the failing test prints the new one.
#[test]
fn check_tells_everything_that_is_wrong_and_fails() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("portcullis.yaml");
    std::fs::write(&file, BROKEN).expect("written");
    let output = run(&["check", "-c", text(&file)]);
    assert_eq!(output.status.code(), Some(1));
    let told = out(&output);
    assert!(told == include_str!("broken.txt"), "tests/broken.txt should read:\n{told}");
    assert!(!told.contains('\u{1b}'), "colours are for terminals");
    let refused = run(&["up", "-c", text(&file)]);
    assert_eq!(refused.status.code(), Some(1), "up starts nothing on it");
    assert!(!folder.path().join("state").exists());
}

#[test]
fn a_file_that_is_not_there_is_told_by_name() {
    let output = run(&["check", "-c", "/nonexistent/portcullis.yaml"]);
    let told = String::from_utf8(output.stderr).expect("text");
    assert_eq!(output.status.code(), Some(1));
    assert!(
        told.starts_with("portcullis: error: cannot open the configuration `/nonexistent/portcullis.yaml`: "),
        "{told}"
    );
}

#[test]
fn a_starter_checks_and_its_policies_pass_their_table() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir().expect("a folder");
    let shop = folder.path().join("shop");
    assert!(run(&["init", text(&shop)]).status.success());
    let file = shop.join("portcullis.yaml");
    let checked = run(&["check", "-c", text(&file)]);
    assert!(checked.status.success(), "{}", out(&checked));
    assert!(
        out(&checked).starts_with("ok: 6 routes, 1 policy files, 3 services, 1 issuers, hash "),
        "{}",
        out(&checked)
    );
    let table = shop.join("policies/orders.test.yaml");
    let tested = run(&["policy", "test", text(&table), "-c", text(&file)]);
    assert!(tested.status.success() && out(&tested).contains("4 questions, 0 surprises"), "{}", out(&tested));
    for secret in ["tls/gateway.key", "keys/hash.key", "tokens/alice", "tokens/courier"] {
        let mode = std::fs::metadata(shop.join(secret)).expect("is there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{secret}");
    }
    let configuration = std::fs::read_to_string(&file).expect("is there");
    assert!(!configuration.contains("demo.portcullis.invalid"));
    assert!(!run(&["init", text(&shop)]).status.success(), "nothing is overwritten");
    assert_eq!(configuration, std::fs::read_to_string(&file).expect("is there"));
    assert!(
        !run(&["demo", "--clean", text(&shop)]).status.success() && file.is_file(),
        "not a demo's folder"
    );
}

#[test]
fn a_key_that_does_not_belong_to_its_certificate_is_told_before_anything_starts() {
    let folder = tempfile::tempdir().expect("a folder");
    let shop = folder.path().join("shop");
    assert!(run(&["init", text(&shop)]).status.success());
    std::fs::copy(shop.join("tls/edge.key"), shop.join("tls/gateway.key")).expect("copied");
    let told = out(&run(&["check", "-c", text(&shop.join("portcullis.yaml"))]));
    assert!(
        told.contains("gateway.certificates: ") && told.contains("does not belong to the certificate"),
        "{told}"
    );
}

#[test]
fn a_new_key_is_shown_with_the_entry_to_paste() {
    let folder = tempfile::tempdir().expect("a folder");
    let shop = folder.path().join("shop");
    assert!(run(&["init", text(&shop)]).status.success());
    let file = shop.join("portcullis.yaml");
    let made = run(&["api-key", "new", "--id", "till", "--owner", "till-team", "-c", text(&file)]);
    let told = out(&made);
    let key = told.lines().find(|line| line.starts_with("pk_till_")).expect("a key");
    assert!(told.contains("  - id: till\n    hash: ") && told.matches(key).count() == 1, "{told}");
}

#[test]
fn documents_become_routes_and_schemas_are_json() {
    let folder = tempfile::tempdir().expect("a folder");
    let shop = folder.path().join("shop");
    assert!(run(&["init", text(&shop)]).status.success());
    let contract = shop.join("contracts/orders.openapi.yaml");
    let routes = out(&run(&["import", "openapi", text(&contract), "--service", "orders"]));
    assert!(routes.contains("- path: /customers/{customer}/orders/{id}/refund"), "{routes}");
    for of in ["configuration", "api-keys"] {
        let schema: serde_json::Value = serde_json::from_slice(&run(&["schema", of]).stdout).expect("JSON");
        assert!(schema.get("properties").is_some(), "{of}");
    }
    let cedar = out(&run(&["policy", "schema", "-c", text(&shop.join("portcullis.yaml"))]));
    assert!(
        cedar.contains("Route::\"orders/orders.read\"  GET /customers/{customer}/orders/{id}"),
        "{cedar}"
    );
}

#[test]
fn a_record_that_is_not_there_is_not_made_by_reading() {
    let folder = tempfile::tempdir().expect("a folder");
    let shop = folder.path().join("shop");
    assert!(run(&["init", text(&shop)]).status.success());
    let output = run(&["audit", "verify", "-c", text(&shop.join("portcullis.yaml"))]);
    let told = String::from_utf8(output.stderr).expect("text");
    assert!(!output.status.success() && told.contains("there is no record"), "{told}");
    assert!(!shop.join("state").exists(), "reading makes nothing");
}
