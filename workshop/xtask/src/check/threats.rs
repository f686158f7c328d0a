//! `docs/threats.md`: each class of attack, the room that answers it, and the tests that prove it.
//!
//! The tests carry the id of their class at the beginning of their name (`b1_…`, `a5_h2_…`), so the page is made from
//! the tree and this step holds it to that: a class without a test is red, and so is a page that is out of date.
//!
//! Not here: what the tests do.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::fault::{Fault, Outcome};
use crate::tree;

/// Where the page is.
const PAGE: &str = "docs/threats.md";

/// Id, class, how it is answered and where. Classes of parts that do not exist yet are not here.
const CLASSES: &[(&str, &str, &str)] = &[
    (
        "A1",
        "two framings of one message",
        "the guard refuses any ambiguity of length, 400 and close (`net::guard::h1`)",
    ),
    (
        "A2",
        "transfer coding on HTTP/1.0, bodies that end with the connection",
        "refused in requests (`net::guard::h1`)",
    ),
    (
        "A3",
        "bytes sent before an upgrade is granted",
        "held until the 101; the connection is never pooled (`net::guard::io`, `net::pool`)",
    ),
    ("A4", "a body left over on a reused connection", "drained or closed (`net::pool`)"),
    (
        "A5",
        "HTTP/2 that HTTP/1.1 could not carry",
        "held to HTTP/1.1's grammar before it is forwarded (`dataplane::frame`)",
    ),
    ("A6", "an empty field name", "400 (`net::guard::h1`)"),
    (
        "A7",
        "chunk extensions, bare LF, folding, trailers",
        "strict; trailers stay trailers (`net::guard::h1`, `dataplane::body`)",
    ),
    (
        "A8",
        "`Connection` that names other fields",
        "refused; hop-by-hop by name only (`net::guard::h1`, `dataplane::headers`)",
    ),
    (
        "A9",
        "a PROXY header from anybody, or of an odd length",
        "read to the byte, from listed peers only (`net::proxy_protocol`, `dataplane::arrive`)",
    ),
    ("A10", "control bytes across a border", "refused at every border (`core::path`, `net::guard`)"),
    ("B1", "escaped slashes, dots, double encoding", "one normal path, or 400 (`core::path`)"),
    ("B2", "a fragment in the target", "400 (`net::guard::h1`, `core::path`)"),
    ("B3", "`;` parameters", "400 (`core::path`)"),
    (
        "B4",
        "case that two readers treat differently",
        "bytes are compared; fast path equals slow path (`core::path`, `snapshot::router`)",
    ),
    ("B5", "targets without a slash, CONNECT", "refused (`net::guard::h1`, `dataplane::frame`)"),
    ("B6", "a query or a user agent that decides", "matchers see the path only (`snapshot::router`)"),
    (
        "B7",
        "a pattern where a literal was meant, an empty list that matches all",
        "typed matchers, none built from text (`policy`, `config`)",
    ),
    (
        "B8",
        "several values read as one",
        "fields that must come once are refused twice (`dataplane::identify`)",
    ),
    ("B9", "aliases of identity fields", "every spelling is folded and stripped (`dataplane::headers`)"),
    ("B10", "identity fields of the caller's own", "stripped always, set after that (`dataplane::headers`)"),
    (
        "B11",
        "`X-Forwarded-*` believed",
        "rebuilt; believed of listed proxies alone, or 400 (`dataplane::source`, `dataplane::forward`, `config`)",
    ),
    ("B12", "mapped and scoped addresses", "folded once (`net::address`, `limits::key`)"),
    ("B14", "the error path loses the rules", "one way out for every status (`dataplane::answer`)"),
    ("C1", "algorithm confusion", "the key says the algorithm (`token::jws`)"),
    ("C2", "claims of a wrong type", "exact types, required claims (`token::claims`)"),
    ("C3", "another issuer's or audience's token", "pinned issuer, audience, client (`token::verifier`)"),
    (
        "C6",
        "another spelling of a revoked token",
        "revocation by facts, never by bytes (`token::revocation`)",
    ),
    (
        "C7",
        "a cache key that is too small",
        "cached equals uncached under random interleaving (`policy::cache`, `token::cache`)",
    ),
    (
        "C8",
        "cookies that choose a server",
        "no cookie is read; AEAD where something is sealed (`dataplane::select`)",
    ),
    ("C12", "a URL that leads inside", "checked addresses, no redirects (`net::fetch`, `control::issuers`)"),
    (
        "C13",
        "secrets in logs, errors, key sets",
        "`Sensitive`, allow-lists, canary tests (`core`, `evidence`, `config`)",
    ),
    ("C15", "a check that is skipped on errors", "cannot decide is a refusal (every stage)"),
    ("D1", "client-certificate rules dodged by SNI or Host", "421 (`net::tls`, `dataplane::frame`)"),
    ("D2", "resumption that carries an old proof", "no resumption where clients are asked (`net::tls`)"),
    (
        "D3",
        "names of a certificate taken for another's",
        "one authority verifies, one name counts (`net::tls::authorities`, `identity`, `snapshot::holder`)",
    ),
    (
        "D4",
        "certificates under which verifiers search for ever, or refuse everybody",
        "an authority with name constraints does not open (`ca::authority`)",
    ),
    (
        "D5",
        "a certificate that says more than was decided",
        "a request gives its key alone; what is built is compared before it is signed (`ca::check`)",
    ),
    ("D7", "verification off by accident", "there is no way to switch it off (`net::tls::client`)"),
    (
        "D8",
        "a handshake that stalls, a certificate that inflates",
        "one deadline; no compression (`net::tls::server`)",
    ),
    ("E1", "rapid reset", "counted in a window and a life (`net::guard::meter`)"),
    ("E2", "CONTINUATION without end", "counted and bounded (`net::guard::meter`)"),
    ("E3", "resets that we are made to send", "counted (`net::guard::meter`)"),
    ("E4", "PING, SETTINGS, empty DATA, PRIORITY", "a window for each kind (`net::guard::meter`)"),
    ("E5", "header bombs and cookie crumbs", "count and size bounded, stalls reaped (`net::guard`)"),
    ("E8", "slowness", "a time and a pace for every phase (`net::guard::io`)"),
    ("E9", "nested or inflated documents", "budgets before parsing (`contract`, `config`)"),
    ("E10", "side services that answer without end", "bounded reads (`net::fetch`, `control::files`)"),
    ("E12", "regular expressions that explode", "linear ones only (`contract`)"),
    ("E13", "JOSE headers that explode", "caps before parsing (`token::jws`)"),
    ("E15", "lengths that overflow", "checked arithmetic everywhere (`net::guard`, `core`)"),
    (
        "F1",
        "the admin door open to browsers",
        "peer credentials or mutual TLS, Host and Origin checked (`control::admin`)",
    ),
    (
        "F3",
        "a control channel that anybody may use",
        "signed generations, peer credentials (`snapshot::signed`, `control::publish`)",
    ),
    ("F6", "a deny that opens", "adding a forbid never opens a door (`policy`)"),
    (
        "F7",
        "no rules while starting or reloading",
        "nothing listens before the first generation (`dataplane::edge`)",
    ),
    (
        "F8",
        "lines forged in the log",
        "bounded and escaped by the only function that writes text (`evidence::safe`)",
    ),
];

/// Makes the page and compares it.
pub(crate) fn check() -> Outcome<String> {
    let tests = tests()?;
    let bare: Vec<String> = CLASSES
        .iter()
        .filter(|(id, ..)| !tests.contains_key(*id))
        .map(|(id, class, _)| format!("{id} ({class}) has no test of its name"))
        .collect();
    if !bare.is_empty() {
        return Err(Fault::list("classes of attack without a test", &bare));
    }
    let page = page(&tests);
    if tree::read(&tree::root().join(PAGE)).is_ok_and(|there| there == page) {
        return Ok(format!(
            "{} classes, {} tests",
            CLASSES.len(),
            tests.values().map(Vec::len).sum::<usize>()
        ));
    }
    Err(Fault::new(format!("{PAGE} is out of date; run `cargo xtask threats`")))
}

/// Writes the page.
pub(crate) fn write() -> Outcome {
    let path = tree::root().join(PAGE);
    std::fs::write(&path, page(&tests()?))
        .map_err(|cause| Fault::new(format!("cannot write {PAGE}: {cause}")))
}

/// Every test that carries ids, by id: `room::test_name`.
fn tests() -> Outcome<BTreeMap<String, Vec<String>>> {
    let mut found: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for path in tree::files(".rs")? {
        let text = tree::read(&tree::root().join(&path))?;
        let shown = path.display().to_string();
        for name in text.lines().filter_map(test_name) {
            for id in ids(name) {
                found.entry(id).or_default().push(format!("`{shown}`: `{name}`"));
            }
        }
    }
    for tests in found.values_mut() {
        tests.sort();
        tests.dedup();
    }
    Ok(found)
}

/// The name of a function that begins with an id.
fn test_name(line: &str) -> Option<&str> {
    let rest = line.trim_start();
    let rest = rest.strip_prefix("async ").unwrap_or(rest).strip_prefix("fn ")?;
    let name = rest.split(['(', '<']).next()?;
    ids(name).next().is_some().then_some(name)
}

/// The ids at the beginning of a name: `b8_b10_exactly…` has two.
fn ids(name: &str) -> impl Iterator<Item = String> + '_ {
    name.split('_').take_while(|word| is_id(word)).map(str::to_uppercase)
}

fn is_id(word: &str) -> bool {
    let mut bytes = word.bytes();
    let class = bytes.next().is_some_and(|b| (b'a'..=b'f').contains(&b));
    class && (2..=3).contains(&word.len()) && bytes.all(|b| b.is_ascii_digit())
}

fn page(tests: &BTreeMap<String, Vec<String>>) -> String {
    let mut out = String::from(
        "# Threats\n\nEach class of attack that the code meets, how it is answered, and the tests that prove it. The ids are \
         stable: a test carries\nthe ids of its classes at the beginning of its name. This page is made by `cargo xtask \
         threats` and checked by `cargo xtask\ncheck`; a class without a test fails the check.\n\nReport what is missing \
         as [CONTRIBUTING](../CONTRIBUTING.md) says.\n",
    );
    for (id, class, answer) in CLASSES {
        let named = tests.get(*id).map(Vec::as_slice).unwrap_or_default();
        let _ = write!(out, "\n## {id}: {class}\n\nAnswer: {answer}.\n\n");
        for test in named {
            let _ = writeln!(out, "- {test}");
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_stand_at_the_beginning_of_a_name() {
        assert_eq!(ids("b8_b10_one_kind").collect::<Vec<_>>(), ["B8", "B10"]);
        assert_eq!(ids("a5_h2_bytes").collect::<Vec<_>>(), ["A5"]);
        assert_eq!(ids("the_host_b1").count(), 0);
        assert_eq!(test_name("    async fn e8_a_slow_head() {"), Some("e8_a_slow_head"));
        assert_eq!(test_name("    fn helper() {"), None);
    }
}
