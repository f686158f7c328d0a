//! Paths that confuse: each is refused, or has exactly one reading, whoever reads it.
//!
//! The other readers are a careless origin, which decodes twice, takes `\` for `/`, cuts parameters, merges slashes and
//! resolves dots; and the URL Standard, whose results come with its own test data.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use portcullis_core::NormalPath;
use serde::Deserialize;

use super::super::fuzzing;
use super::readers::{httparse_reads, hyper_reads, through_guard};

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../workshop/vectors/path-confusion");

#[derive(Deserialize)]
struct Vector {
    id: String,
    base64: String,
    kind: String,
}

#[derive(Deserialize)]
struct Url {
    input: String,
    base: Option<String>,
    pathname: Option<String>,
    protocol: Option<String>,
}

fn text(file: &str) -> String {
    std::fs::read_to_string(format!("{FOLDER}/{file}")).expect("the vectors are kept beside the code")
}

fn vectors() -> Vec<Vector> {
    text("paths.jsonl").lines().map(|line| serde_json::from_str(line).expect("one object a line")).collect()
}

fn decoded(bytes: &[u8]) -> Vec<u8> {
    percent_encoding::percent_decode(bytes).collect()
}

/// What the careless origin makes of a path: its segments.
fn carelessly(path: &[u8]) -> Vec<Vec<u8>> {
    let plain = decoded(&decoded(path));
    let plain: Vec<u8> = plain.iter().map(|b| if *b == b'\\' { b'/' } else { *b }).collect();
    let mut out: Vec<Vec<u8>> = Vec::new();
    for segment in plain.split(|b| *b == b'/') {
        let segment: Vec<u8> = segment.iter().copied().take_while(|b| *b != b';' && *b != 0).collect();
        match segment.as_slice() {
            b"" | b"." => {}
            b".." => drop(out.pop()),
            _ => out.push(segment),
        }
    }
    out
}

/// What a careful reader makes of a normal path.
fn carefully(path: &NormalPath) -> Vec<Vec<u8>> {
    path.segments().filter(|s| !s.is_empty()).map(|s| decoded(s.as_bytes())).collect()
}

/// The path that everybody sees for this target, or nothing when it is refused somewhere.
fn seen(target: &[u8], id: &str) -> Option<NormalPath> {
    let wire = [b"GET ", target, b" HTTP/1.1\r\nHost: a.example\r\n\r\n"].concat();
    let (written, flaw) = through_guard(&wire);
    if flaw.is_some() {
        assert!(written.is_empty(), "{id}: a refused head was written");
        return None;
    }
    let (by_hyper, _) = hyper_reads(&written);
    assert_eq!(by_hyper, httparse_reads(&written), "{id}: two readings");
    let [message] = by_hyper.as_slice() else { panic!("{id}: {} messages", by_hyper.len()) };
    let path = message.target.split('?').next().unwrap_or_default();
    NormalPath::parse(path).ok()
}

/// The raw path in front of any query, as the origin would cut it.
fn before_query(target: &[u8]) -> &[u8] {
    target.split(|b| *b == b'?').next().unwrap_or_default()
}

#[test]
fn b1_b2_b3_b4_b5_every_confusing_path_is_refused_or_has_one_reading() {
    let (mut accepted, mut refused) = (0, 0);
    let all = vectors();
    assert_eq!(all.len(), 956);
    for vector in &all {
        let bytes = STANDARD.decode(&vector.base64).expect("base64");
        fuzzing::path(&bytes);
        for target in [bytes.clone(), [b"/files/", bytes.as_slice()].concat()] {
            let Some(path) = seen(&target, &vector.id) else {
                refused += 1;
                continue;
            };
            accepted += 1;
            let (careless, careful) = (carelessly(before_query(&target)), carefully(&path));
            assert_eq!(careless, careful, "{}: {path} has two readings", vector.id);
            let climbs = careful.iter().any(|segment| segment == b"..");
            assert!(!climbs, "{}: {path}", vector.id);
            // What passes for another spelling of `/admin` is spelled `/admin` from here on.
            let is_admin = vector.kind == "access-rule-bypass" && careful == [b"admin".to_vec()];
            assert!(!is_admin || matches!(path.as_str(), "/admin" | "/admin/"), "{}: {path}", vector.id);
        }
    }
    assert_eq!((accepted, refused), PASSED);
}

/// How many pass, of both forms, so that a change of mind shows.
const PASSED: (usize, usize) = (151, 1_761);

/// The path of an input that is an absolute path, or an `http` URL with an authority.
fn path_of(url: &Url) -> Option<&str> {
    let based = url.base.as_deref().is_some_and(|base| base.starts_with("http"));
    if based && url.input.starts_with('/') {
        return Some(&url.input);
    }
    let rest = ["http://", "https://"].iter().find_map(|scheme| url.input.strip_prefix(scheme))?;
    rest.find('/').and_then(|at| rest.get(at..))
}

#[test]
fn b1_b2_where_the_url_standard_and_we_both_read_a_path_we_read_the_same() {
    let all: Vec<Url> = serde_json::from_str(&text("whatwg-url.json")).expect("a list");
    let (mut same, mut refused) = (0, 0);
    for url in &all {
        let (Some(raw), Some(theirs)) = (path_of(url), &url.pathname) else { continue };
        if !matches!(url.protocol.as_deref(), Some("http:" | "https:")) {
            continue;
        }
        match NormalPath::parse(before_query(raw.as_bytes()).utf8_chunks().next().map_or("", |c| c.valid())) {
            Err(_) => refused += 1,
            Ok(ours) => {
                assert_eq!(NormalPath::parse(theirs), Ok(ours), "{}", url.input);
                same += 1;
            }
        }
    }
    assert_eq!((same, refused), AGREED);
}

/// On how many both agree, and how many only the URL Standard reads.
const AGREED: (usize, usize) = (57, 29);
