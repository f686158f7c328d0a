//! Public test vectors against the layer below claims: key sets and signatures.
//!
//! A vector that is valid and of an algorithm that we support must be accepted, every other one refused. What
//! "supported" means is decided from the vector's own key, not from what our code answers.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::{Value, json};

use crate::jws::Jws;
use crate::testing::name;
use crate::{Algorithm, INTERNAL_PREFIX, KeyRules, KeySet, KeySetFault, fuzzing};

const VECTORS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../workshop/vectors");

fn read(file: &str) -> Value {
    let text = std::fs::read_to_string(Path::new(VECTORS).join("jose").join(file)).expect("a vector file");
    serde_json::from_str(&text).expect("JSON")
}

/// The raw layer: a key set, a token, and the one algorithm that the entry names.
fn accepts(set: &Value, token: &str, algorithm: Algorithm) -> bool {
    let rules = KeyRules { algorithms: BTreeSet::from([algorithm]) };
    let Ok(keys) = KeySet::parse(set.to_string().as_bytes(), &rules) else { return false };
    let Ok(jws) = Jws::parse(token) else { return false };
    keys.choose(&jws.header, &name("vector")).is_ok_and(|key| jws.is_signed_by(key))
}

fn accepted_by_any(set: &Value, token: &str) -> bool {
    Algorithm::ALL.into_iter().any(|algorithm| accepts(set, token, algorithm))
}

/// One key as a set; a set as it is.
fn as_set(key: &Value) -> Value {
    if key.get("keys").is_some() { key.clone() } else { json!({ "keys": [key] }) }
}

/// Whether key and token name the same algorithm, and we have it.
fn is_supported(key: &Value, token: &str) -> bool {
    let header = token.split('.').next().and_then(crate::b64::decode);
    let header: Option<Value> = header.and_then(|bytes| serde_json::from_slice(&bytes).ok());
    let alg = header.as_ref().and_then(|header| header.get("alg")).and_then(Value::as_str);
    alg.and_then(Algorithm::parse).is_some() && key.get("alg").and_then(Value::as_str) == alg
}

fn walk(file: &str) -> (usize, usize, usize) {
    let (mut accepted, mut unsupported, mut refused) = (0, 0, 0);
    for group in read(file)["testGroups"].as_array().expect("groups") {
        let key = group.get("public").or(group.get("private")).expect("a key");
        for test in group["tests"].as_array().expect("tests") {
            let token = test.get("jws").or(test.get("jwe")).expect("a token");
            // A token in the JSON serialisation is an object in the file.
            let token = token.as_str().map_or(token.to_string(), str::to_owned);
            let valid = test["result"] == "valid";
            let want = valid && is_supported(key, &token);
            assert_eq!(accepted_by_any(&as_set(key), &token), want, "{file} {}", test["tcId"]);
            match (want, valid) {
                (true, _) => accepted += 1,
                (false, true) => unsupported += 1,
                (false, false) => refused += 1,
            }
        }
    }
    (accepted, unsupported, refused)
}

#[test]
fn c1_wycheproof_signatures() {
    assert_eq!(walk("wycheproof/json_web_signature_test.json"), (8, 18, 71));
}

#[test]
fn c1_wycheproof_keys() {
    assert_eq!(walk("wycheproof/json_web_key_test.json"), (0, 4, 14));
}

#[test]
fn c1_wycheproof_keys_of_the_wrong_kind() {
    assert_eq!(walk("wycheproof/json_web_crypto_test.json"), (1, 2, 46));
}

#[test]
fn c1_wycheproof_encrypted_tokens_are_no_access_tokens() {
    let (accepted, _, _) = walk("wycheproof/json_web_encryption_test.json");
    assert_eq!(accepted, 0);
}

#[test]
fn the_worked_examples_of_rfc_7520_and_rfc_8037() {
    let table = [
        ("curve25519.jws", true),
        ("4_1.rsa_v15_signature", true),
        ("4_2.rsa-pss_signature", false),
        ("4_3.ecdsa_signature", false),
        ("4_4.hmac-sha2_integrity_protection", false),
        ("4_5.signature_with_detached_content", false),
        ("4_6.protecting_specific_header_fields", false),
        ("4_7.protecting_content_only", false),
        ("rfc7797", false),
        ("rfc7797.example", false),
    ];
    for (file, want) in table {
        let example = read(&format!("cookbook/{file}.json"));
        let mut key = example["input"]["key"].clone();
        let members = key.as_object_mut().expect("a key");
        for private in ["d", "p", "q", "dp", "dq", "qi"] {
            members.remove(private);
        }
        let output = &example["output"];
        let token = output["compact"].as_str().map_or(output["json"].to_string(), str::to_owned);
        assert_eq!(accepted_by_any(&json!({ "keys": [key] }), &token), want, "{file}");
        assert!(!accepted_by_any(&json!({ "keys": [key] }), &output["json_flat"].to_string()), "{file}");
    }
}

#[test]
fn c13_the_private_keys_of_rfc_7520_are_refused_as_a_set() {
    for file in ["3_2.ec_private_key", "3_4.rsa_private_key"] {
        let set = json!({ "keys": [read(&format!("cookbook/{file}.json"))] }).to_string();
        let rules = KeyRules { algorithms: BTreeSet::from(Algorithm::ALL) };
        assert!(matches!(KeySet::parse(set.as_bytes(), &rules), Err(KeySetFault::Private { .. })), "{file}");
    }
    for file in ["3_5.symmetric_key_mac_computation", "3_6.symmetric_key_encryption"] {
        let set = json!({ "keys": [read(&format!("cookbook/{file}.json"))] }).to_string();
        let rules = KeyRules { algorithms: BTreeSet::from(Algorithm::ALL) };
        assert_eq!(KeySet::parse(set.as_bytes(), &rules).err(), Some(KeySetFault::Symmetric), "{file}");
    }
}

#[test]
fn no_vector_looks_like_an_internal_token() {
    for file in ["wycheproof/json_web_signature_test.json", "wycheproof/json_web_encryption_test.json"] {
        assert!(!read(file).to_string().contains(INTERNAL_PREFIX));
    }
}

/// The worked examples of encryption, each in every serialisation that its file has: none is an access token.
#[test]
fn c1_the_encrypted_examples_of_rfc_7520_and_rfc_8037_are_no_access_tokens() {
    let folder = Path::new(VECTORS).join("jose/cookbook");
    let is_encrypted =
        |name: &str| name.starts_with("5_") || name.starts_with("6.") || name == "curve25519.ecdh-es.json";
    let mut count = 0;
    for entry in std::fs::read_dir(folder).expect("kept") {
        let name = entry.expect("an entry").file_name().into_string().expect("text");
        if !is_encrypted(&name) {
            continue;
        }
        let example = read(&format!("cookbook/{name}"));
        let mut tokens = Vec::new();
        outputs(&example, &mut tokens);
        // The file of nesting has a signed token inside its encrypted one; that one is good.
        tokens.retain(|token| token.matches('.').count() == 4 || token.contains("\"ciphertext\""));
        assert!(!tokens.is_empty(), "{name}");
        for token in tokens {
            // Where the key is a password there is none in the file; any key will do then.
            for key in keys(&example).into_iter().chain([read("cookbook/3_3.rsa_public_key.json")]) {
                assert!(!accepted_by_any(&json!({ "keys": [key] }), &token), "{name}: {token}");
            }
            fuzzing::jws(token.as_bytes());
            count += 1;
        }
    }
    assert_eq!(count, ENCRYPTED);
}

/// The tokens of all those examples.
const ENCRYPTED: usize = 40;

/// Everything in an example that stands where a token stands.
fn outputs(value: &Value, found: &mut Vec<String>) {
    let Some(members) = value.as_object() else { return };
    for (name, value) in members {
        match name.as_str() {
            "compact" | "json" | "json_flat" => {
                found.push(value.as_str().map_or(value.to_string(), str::to_owned));
            }
            _ => outputs(value, found),
        }
    }
}

/// Every key in an example, whatever it is for; what is private is left out, so that the set is read.
fn keys(example: &Value) -> Vec<Value> {
    let mut found = Vec::new();
    let mut open = vec![example];
    while let Some(value) = open.pop() {
        match value {
            Value::Object(members) if members.contains_key("kty") => {
                let mut key = members.clone();
                ["d", "p", "q", "dp", "dq", "qi"].iter().for_each(|private| drop(key.remove(*private)));
                found.push(Value::Object(key));
            }
            Value::Object(members) => open.extend(members.values()),
            Value::Array(values) => open.extend(values),
            _ => {}
        }
    }
    found
}

/// A bundle of another trust domain is a key set for us. A key without an id is read; it is found only where it is alone.
#[test]
fn c1_spiffe_key_sets() {
    let table = [("jwks_valid_1", Some(1)), ("jwks_valid_2", Some(2)), ("jwks_missing_kid", Some(2))];
    for (file, want) in table {
        let text =
            std::fs::read(Path::new(VECTORS).join(format!("spiffe/bundles/{file}.json"))).expect("kept");
        let rules = KeyRules { algorithms: BTreeSet::from(Algorithm::ALL) };
        let got = KeySet::parse(&text, &rules).ok().map(|set| set.usable());
        assert_eq!(got, want, "{file}");
    }
}

/// The fuzz targets without a fuzzer: over the kept corpus, and over cuts and changes of it.
#[test]
fn the_laws_of_tokens_hold_for_the_corpus_and_for_pieces_of_it() {
    type Target = (&'static str, fn(&[u8]), usize);
    let scrub = |bytes: &[u8]| assert!(fuzzing::scrub(bytes), "two scans disagree on {bytes:?}");
    let targets: [Target; 4] = [
        ("jws", fuzzing::jws, 15),
        ("key_set", fuzzing::key_set, 15),
        ("key_set", fuzzing::claims, 15),
        ("scrub", scrub, 6),
    ];
    for (name, body, least) in targets {
        let folder = Path::new(VECTORS).join("corpus/token").join(name);
        let mut paths: Vec<_> =
            std::fs::read_dir(folder).expect("kept").map(|e| e.expect("an entry").path()).collect();
        paths.sort();
        assert!(paths.len() >= least, "{name} has a corpus");
        for path in paths {
            let bytes = std::fs::read(&path).expect("readable");
            body(&bytes);
            for at in (0..bytes.len()).step_by(1 + bytes.len() / 64) {
                let mut changed = bytes.clone();
                changed[at] ^= 1 << (at % 8);
                body(&changed);
                body(&bytes[..at]);
            }
        }
    }
}
