//! Routes of our configuration out of a contract, for `portcullis import openapi`.
//!
//! What the contract does not say is left to a person, visibly: who may call an operation without scopes, and which plan
//! it belongs to. The text loads only when that is filled in.
//!
//! INVARIANT: nothing that the contract says is written without having been checked: scopes are quoted, names are of
//! identifier characters, comments have one line.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use portcullis_core::Name;

use crate::contract::{Contract, placeholder};
use crate::operation::{Operation, Security};

/// The `services` entry of `service` with a route for each operation, as YAML to paste and complete.
#[must_use]
pub fn routes(contract: &Contract, service: &Name) -> String {
    let mut out = format!(
        "# Made from an OpenAPI document. Fill in what is marked with `?`, and check who may call what.\n\
         services:\n  - name: {service}\n    owner: \"?\"\n    sensitivity: \"?\" # low, medium or high\n    \
         context: \"?\"\n    contract: \"?\" # this document\n    upstream: \"?\"\n    routes:\n"
    );
    let mut names = BTreeSet::new();
    for operation in contract.operations() {
        match path(operation.template()) {
            Some(path) => route(&mut out, operation, &path, &mut names),
            None => note(
                &mut out,
                &format!(
                    "{} {}: a parameter is a whole segment here",
                    operation.method(),
                    operation.template()
                ),
            ),
        }
    }
    out
}

fn route(out: &mut String, operation: &Operation, path: &str, names: &mut BTreeSet<String>) {
    // Writing to a string cannot fail.
    let _ = writeln!(out, "      - path: {path}");
    if let Some(name) = name(operation.id()).filter(|name| names.insert(name.clone())) {
        let _ = writeln!(out, "        name: {name}");
    }
    let _ = writeln!(out, "        methods: [{}]\n        plan: standard", operation.method());
    match &operation.security {
        Security::Public => {
            let _ = writeln!(out, "        access: public # the document asks for no credential");
        }
        Security::Scopes(alternatives) => scopes(out, alternatives),
        Security::Undeclared => undecided(out, "the document says nothing about callers"),
    }
}

fn scopes(out: &mut String, alternatives: &[Vec<Box<str>>]) {
    let named: Vec<_> = alternatives.iter().filter(|scopes| !scopes.is_empty()).collect();
    let listed = |scopes: &[&str]| scopes.iter().map(|scope| quoted(scope)).collect::<Vec<_>>().join(", ");
    match named.as_slice() {
        _ if named.len() < alternatives.len() => {
            undecided(out, "the document asks for a credential, without scopes");
        }
        [one] => {
            let all: Vec<&str> = one.iter().map(|scope| &**scope).collect();
            let _ = writeln!(out, "        scopes: {{ all: [{}] }}", listed(&all));
        }
        several if several.iter().all(|scopes| scopes.len() == 1) => {
            let any: Vec<&str> =
                several.iter().flat_map(|scopes| scopes.iter()).map(|scope| &**scope).collect();
            let _ = writeln!(out, "        scopes: {{ any: [{}] }}", listed(&any));
        }
        _ => undecided(out, "the document has alternatives of several scopes each"),
    }
}

fn undecided(out: &mut String, why: &str) {
    let _ = writeln!(out, "        policy: \"?\" # {why}");
}

fn note(out: &mut String, text: &str) {
    let text: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(200).collect();
    let _ = writeln!(out, "      # not a route: {text}");
}

/// A scope in double quotes; a scope has no quote, backslash or control character (RFC 6749 §3.3).
fn quoted(scope: &str) -> String {
    let permitted = |c: &char| c.is_ascii_graphic() && !matches!(c, '"' | '\\');
    format!("\"{}\"", scope.chars().filter(permitted).collect::<String>())
}

/// A template in our spelling: parameters in snake case. `None` if it cannot be one.
fn path(template: &str) -> Option<String> {
    let mut segments = Vec::new();
    for segment in template.split('/') {
        match placeholder(segment) {
            Some(name) => segments.push(format!("{{{}}}", snake(name, '_')?)),
            None if segment.bytes().all(is_plain) => segments.push(segment.to_owned()),
            None => return None,
        }
    }
    Some(segments.join("/"))
}

/// Bytes that a path may hold as they are (RFC 3986 §3.3), without those that mean something in YAML or in a template.
fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~' | b'$' | b'@' | b'+' | b'=')
}

fn name(id: &str) -> Option<String> {
    snake(id, '-').filter(|name| Name::parse(name).is_ok())
}

/// `eventId` as `event_id`, with `joint` between words. `None` if nothing is left.
fn snake(text: &str, joint: char) -> Option<String> {
    let mut out = String::new();
    let mut before = ' ';
    for c in text.chars().take(64) {
        let starts_word = c.is_ascii_uppercase() && (before.is_ascii_lowercase() || before.is_ascii_digit());
        if (starts_word || !c.is_ascii_alphanumeric()) && !out.is_empty() && !out.ends_with(joint) {
            out.push(joint);
        }
        if c.is_ascii_alphanumeric() {
            out.push(c.to_ascii_lowercase());
        }
        before = c;
    }
    let out = out.trim_end_matches(joint).trim_start_matches(|c: char| !c.is_ascii_lowercase());
    (!out.is_empty()).then(|| out.chars().take(32).collect())
}
