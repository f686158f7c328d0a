//! The room as a whole: the example loads, everything wrong is told at once, nothing panics, no secret shows.

mod broken;
mod corpus;
mod example;
mod hostile;
mod laws;
mod scale;

use crate::MemoryFiles;

pub(crate) const CERTIFICATE: &str = "-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n";
/// What must never show (C13): the words that secrets in these tests hold.
pub(crate) const CANARY: &str = "Y2FuYXJ5";

pub(crate) fn private_key() -> String {
    format!("-----BEGIN PRIVATE KEY-----\n{CANARY}\n-----END PRIVATE KEY-----\n")
}

/// The files that a configuration of these tests may name, less the root file.
pub(crate) fn files() -> MemoryFiles {
    let certificates = ["edge", "partners", "partners-ca", "workloads-ca", "edge-workload"];
    let keys = ["tls/edge.key", "tls/edge-workload.key", "credential:partners-key"];
    let mut files = MemoryFiles::default()
        .with("tls/others-ca.pem", CERTIFICATE.replace("MAA=", "MAEA"))
        .with("credential:api-hash-key", format!("{CANARY}0123456789012345678901234567890123456789"))
        .with_mode("tls/open.key", private_key(), 0o644)
        .with("credential:ca-seal", format!("{CANARY}-seal-0123456789012345678901234567890"))
        .with("ca/seal.key", format!("{CANARY}-seal-0123456789012345678901234567890"))
        .with("ca/short.key", "short")
        .with("tls/both.pem", format!("{CERTIFICATE}{}", private_key()))
        .with("keys/partners.yaml", include_str!("../examples/shop/keys/partners.yaml"))
        .with("policies/baseline.cedar", include_str!("../examples/shop/policies/baseline.cedar"))
        .with("policies/orders.cedar", include_str!("../examples/shop/policies/orders.cedar"))
        .with("contracts/orders.openapi.yaml", include_str!("../examples/shop/contracts/orders.openapi.yaml"))
        .with("jwks.json", r#"{"keys":[{"kty":"OKP","crv":"Ed25519","x":"AA"}]}"#)
        .with("jwks-private.json", r#"{"keys":[{"kty":"OKP","crv":"Ed25519","x":"AA","d":"Y2FuYXJ5"}]}"#);
    for name in certificates {
        files = files.with(&format!("tls/{name}.pem"), CERTIFICATE);
    }
    keys.iter().fold(files, |files, name| files.with(name, private_key()))
}

/// The files of these tests and `text` as the root file.
pub(crate) fn with_root(text: &str) -> MemoryFiles {
    files().with("portcullis.yaml", text)
}

pub(crate) const SHOP: &str = include_str!("../examples/shop/portcullis.yaml");

/// The example with one change, which must hit.
pub(crate) fn shop_with(from: &str, to: &str) -> MemoryFiles {
    assert!(SHOP.contains(from), "{from}");
    with_root(&SHOP.replacen(from, to, 1))
}

/// What `check` says about the example with one change.
pub(crate) fn told(from: &str, to: &str) -> String {
    match crate::load("portcullis.yaml", &shop_with(from, to)) {
        Ok(_) => String::new(),
        Err(problems) => problems.to_string(),
    }
}
