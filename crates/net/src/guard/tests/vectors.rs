//! The public framing vectors: each is refused, or read in exactly one way.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

use super::super::h1::{ExpectedAnswer, ResponseFramer, Step};
use super::super::limits::Limits;
use super::readers::{httparse_reads, hyper_reads, through_guard};

const VECTORS: &str =
    concat!(env!("CARGO_MANIFEST_DIR"), "/../../workshop/vectors/http-framing/framing.jsonl");

#[derive(Deserialize)]
pub(super) struct Vector {
    pub(super) id: String,
    base64: String,
    direction: Option<String>,
    upstream_expectation: Option<Expectation>,
}

#[derive(Deserialize)]
struct Expectation {
    outcome: String,
    detail: Option<String>,
}

impl Vector {
    pub(super) fn bytes(&self) -> Vec<u8> {
        STANDARD.decode(&self.base64).expect("base64")
    }

    pub(super) fn is_answer(&self) -> bool {
        self.direction.as_deref() == Some("response")
    }

    fn must_be_refused(&self) -> bool {
        self.upstream_expectation.as_ref().is_some_and(|e| e.outcome == "reject")
    }

    /// Refused there for a size limit of that server, which is a choice and not a law.
    fn is_about_limits(&self) -> bool {
        let detail = self.upstream_expectation.as_ref().and_then(|e| e.detail.as_deref());
        detail.is_some_and(|d| d.starts_with("Limit"))
    }
}

pub(super) fn vectors() -> Vec<Vector> {
    let text = std::fs::read_to_string(VECTORS).expect("the vectors are kept beside the code");
    text.lines().map(|line| serde_json::from_str(line).expect("one object a line")).collect()
}

/// Where the source refuses and the guard need not, with the reason.
const EXCEPTIONS: &[(&str, &str)] = &[
    (
        "llhttp/connection/crlf-between-requests-explicit-close",
        "one request is read, which closes; what stands behind it is never read, so it has no reading at all",
    ),
    (
        "llhttp/connection/no-restart-when-keep-alive-is-off-1-0",
        "the same, with the close that HTTP/1.0 implies",
    ),
    ("gunicorn/invalid/019", "fields of a trusted proxy that disagree: the line drops them all, unframed"),
];

/// Many vectors have no Host, which alone is enough to refuse them: given one, they show what they are about.
fn with_host(wire: &[u8]) -> Option<Vec<u8>> {
    let has_host = wire.to_ascii_lowercase().windows(7).any(|w| w == b"\r\nhost:");
    let line_end = wire.windows(2).position(|w| w == b"\r\n").filter(|_| !has_host)?;
    let (line, rest) = wire.split_at(line_end);
    Some([line, b"\r\nHost: a.example", rest].concat())
}

/// Checks the law for `wire`. Whether it was accepted.
fn accepts(wire: &[u8], id: &str) -> bool {
    let (written, flaw) = through_guard(wire);
    let (by_hyper, _) = hyper_reads(&written);
    assert_eq!(by_hyper, httparse_reads(&written), "{id}: two readings");
    let (again, _) = through_guard(&written);
    assert_eq!(again, written, "{id}: not a fixed point");
    flaw.is_none()
}

#[test]
fn a1_a2_a7_every_vector_is_refused_or_has_exactly_one_reading() {
    let all = vectors();
    assert_eq!(all.len(), 374);
    let (mut accepted, mut accepted_with_host) = (Vec::new(), Vec::new());
    for vector in all.iter().filter(|v| !v.is_answer()) {
        let bytes = vector.bytes();
        let as_it_is = accepts(&bytes, &vector.id);
        let hosted = with_host(&bytes).is_some_and(|wire| accepts(&wire, &vector.id));
        if vector.must_be_refused() && !EXCEPTIONS.iter().any(|(id, _)| *id == vector.id) {
            let hosted = hosted && !vector.is_about_limits();
            if as_it_is || hosted {
                println!("BAD {} {}", vector.id, bytes.escape_ascii());
            }
        }
        accepted.extend(as_it_is.then_some(vector.id.as_str()));
        accepted_with_host.extend(hosted.then_some(vector.id.as_str()));
    }
    assert_eq!(accepted, ACCEPTED, "as it is");
    assert_eq!(accepted_with_host, ACCEPTED_WITH_HOST, "with a Host");
}

#[test]
fn a7_every_answer_vector_is_refused() {
    let mut count = 0;
    for vector in vectors().iter().filter(|v| v.is_answer()) {
        let bytes = vector.bytes();
        let mut framer = ResponseFramer::new(Limits::default());
        framer.expect(ExpectedAnswer::Plain);
        let (mut input, mut out) = (bytes.as_slice(), Vec::new());
        let fault = loop {
            match framer.feed(&mut input, &mut out) {
                Ok(Step::Head) => {}
                Ok(_) => break framer.finish(input).err(),
                Err(fault) => break Some(fault),
            }
        };
        assert!(fault.is_some(), "{}", vector.id);
        count += 1;
    }
    assert_eq!(count, 3);
}

/// What passes, so that a change of mind shows.
const ACCEPTED: &[&str] = &[
    "gunicorn/valid/padding_01",
    "gunicorn/valid/pp_03",
    "gunicorn/valid/rfc9110_body_framing_get_cl_nonzero_01",
    "gunicorn/valid/rfc9110_body_framing_http10_cl_01",
    "gunicorn/valid/rfc9110_field_name_special_chars_01",
    "gunicorn/valid/rfc9110_field_value_htab_trim_01",
    "gunicorn/valid/rfc9112_target_absolute_01",
    "gunicorn/valid/rfc9112_target_absolute_https_01",
    "gunicorn/valid/rfc9112_target_absolute_ipv6_01",
    "gunicorn/valid/rfc9112_target_asterisk_options_01",
    "llhttp/connection/crlf-between-requests-explicit-close",
    "llhttp/method/patch-request",
    // Three that only look like Transfer-Encoding: it stands in a value, or the name is another.
    "smuggler/default/xprespace-09",
    "smuggler/default/xprespace-20",
    "smuggler/exhaustive/contentEnc",
];

/// What else passes once it has a Host.
const ACCEPTED_WITH_HOST: &[&str] = &[
    "gunicorn/invalid/006",
    "gunicorn/invalid/007",
    "gunicorn/invalid/008",
    "gunicorn/invalid/017",
    "gunicorn/invalid/019",
    "gunicorn/invalid/limit_header_default_01",
    "gunicorn/valid/004",
    "gunicorn/valid/008",
    "gunicorn/valid/010",
    "gunicorn/valid/011",
    "gunicorn/valid/017",
    "gunicorn/valid/019",
    "gunicorn/valid/020",
    "gunicorn/valid/024",
    "gunicorn/valid/026",
    "gunicorn/valid/100",
    "llhttp/connection/setting-flag",
    "llhttp/connection/no-restart-when-keep-alive-is-off-1-0",
    "llhttp/connection/setting-flag-on-close",
    "llhttp/connection/setting-a-flag-and-pausing",
    "llhttp/content-length/content-length-with-zeroes",
    "llhttp/content-length/content-length-with-follow-up-headers",
    "llhttp/pausing/on-message-begin",
    "llhttp/pausing/on-chunk-header",
    "llhttp/sample/simple-request",
    "llhttp/sample/request-with-method-starting-with-h",
    "llhttp/transfer-encoding/parse-chunks-with-lowercase-size",
    "llhttp/transfer-encoding/parse-chunks-with-uppercase-size",
    "llhttp/uri/query-url-with-question-mark",
    "llhttp/uri/query-url-with-vertical-bar-character",
    "llhttp/connection/resetting-flags-when-keep-alive-is-off-1-0-lenient",
    "llhttp/finish/it-should-be-safe-to-finish-after-get-request",
];
