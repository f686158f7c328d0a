//! Entrance for fuzzers: any text as the root file, with files beside it that it may name. Not part of the interface.
//!
//! The laws are the same for libFuzzer (`fuzz/`) and for the ordinary test over the kept corpus.

#![expect(clippy::panic, reason = "a broken law is reported by panicking; nothing of the product calls this")]

use crate::{MemoryFiles, crossing, load};

const ROOT: &str = "portcullis.yaml";
const CERTIFICATE: &str = "-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n";
/// What the secrets hold; no problem may show it (C13).
const SECRET: &str = "Y2FuYXJ5c2VjcmV0";

fn files(root: &[u8]) -> MemoryFiles {
    let key = format!("-----BEGIN PRIVATE KEY-----\n{SECRET}\n-----END PRIVATE KEY-----\n");
    let mut files = MemoryFiles::default()
        .with(ROOT, root)
        .with("credential:api-hash-key", SECRET.repeat(4))
        .with("credential:partners-key", &key)
        .with("keys/partners.yaml", "keys: []\n")
        .with("policies/baseline.cedar", "permit (principal, action, resource);\n")
        .with("policies/orders.cedar", "permit (principal, action, resource);\n")
        .with(
            "contracts/orders.openapi.yaml",
            "openapi: 3.1.0\ninfo: { title: t, version: \"1\" }\npaths: {}\n",
        )
        .with("jwks.json", r#"{"keys":[{"kty":"OKP","crv":"Ed25519","x":"AA"}]}"#);
    for name in ["edge", "partners", "partners-ca", "workloads-ca", "edge-workload"] {
        files = files.with(&format!("tls/{name}.pem"), CERTIFICATE);
        files = files.with(&format!("tls/{name}.key"), &key);
    }
    files
}

/// A root file of any bytes: a plan that crosses unchanged, or problems that are bounded and show nothing they should not.
///
/// # Panics
/// When a law is broken.
pub fn root_file(bytes: &[u8]) {
    let files = files(bytes);
    let told = match load(ROOT, &files) {
        Ok(plan) => {
            let crossed = crossing::pack(&plan).ok().and_then(|packed| crossing::open(packed.expose()).ok());
            law("a plan does not cross", crossed.is_some_and(|crossed| crossed.hash() == plan.hash()));
            format!("{plan:?}")
        }
        Err(problems) => {
            law("refused without a problem", !problems.is_empty());
            let told = problems.to_string();
            let plain = |c: char| c == '\n' || (!c.is_control() && !matches!(c, '\u{202a}'..='\u{202e}'));
            law("a problem moves the cursor", told.chars().all(plain));
            told
        }
    };
    // SECURITY: only a text that holds it already may be told with it.
    let known = bytes.windows(SECRET.len()).any(|window| window == SECRET.as_bytes());
    law("a secret is shown", known || !told.contains(SECRET));
    law(
        "not the same twice",
        load(ROOT, &files).map(|p| p.hash()).ok() == load(ROOT, &files).map(|p| p.hash()).ok(),
    );
}

fn law(text: &str, holds: bool) {
    if !holds {
        panic!("{text}");
    }
}
