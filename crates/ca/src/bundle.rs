//! The bundle of a trust domain: the roots that its certificates are verified by.
//!
//! INVARIANT: a bundle holds the roots of one trust domain alone (SPF-8).
//!
//! Not here: bundles of others, which are read and not written; keys of JWT-SVIDs, which are not issued yet.
//!
//! Sources: SPIFFE Trust Domain and Bundle §4 (SPF-9); RFC 7517 §4.7 (`x5c`); RFC 7518 §6.2.1.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use rustls_pki_types::CertificateDer;
use serde::Serialize;
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer as _;

use crate::key::PublicKey;
use crate::rotation::BundleNumber;

/// How soon whoever holds a bundle should ask for the next.
const REFRESH: Duration = Duration::from_secs(300);

/// The document, as SPIFFE writes it.
#[derive(Serialize)]
struct Document {
    keys: Vec<Jwk>,
    spiffe_sequence: u64,
    spiffe_refresh_hint: u64,
}

/// A root as a JSON Web Key.
#[derive(Serialize)]
struct Jwk {
    r#use: &'static str,
    kty: &'static str,
    crv: &'static str,
    x: String,
    y: String,
    x5c: [String; 1],
}

/// Writes a bundle. `None` if a root is not one of ours, with a P-256 key.
#[must_use]
pub fn bundle(number: BundleNumber, roots: &[CertificateDer<'_>]) -> Option<String> {
    let document = Document {
        keys: roots.iter().map(jwk).collect::<Option<_>>()?,
        spiffe_sequence: number.0,
        spiffe_refresh_hint: REFRESH.as_secs(),
    };
    serde_json::to_string_pretty(&document).ok()
}

fn jwk(root: &CertificateDer<'_>) -> Option<Jwk> {
    let (_, read) = X509Certificate::from_der(root).ok()?;
    let key = PublicKey::from_spki(read.public_key().raw).ok()?;
    // An uncompressed point: a 4, then both coordinates.
    let (x, y) = key.point().get(1..)?.split_at_checked(32)?;
    Some(Jwk {
        r#use: "x509-svid",
        kty: "EC",
        crv: "P-256",
        x: URL_SAFE_NO_PAD.encode(x),
        y: URL_SAFE_NO_PAD.encode(y),
        x5c: [STANDARD.encode(root)],
    })
}

#[cfg(test)]
mod tests {
    use portcullis_core::{TrustDomain, UnixMillis};
    use serde_json::Value;

    use super::*;
    use crate::{Authority, MemoryKey, Serial, Validity};

    #[test]
    fn spf_9_a_bundle_names_each_root_and_its_number() {
        let domain = TrustDomain::parse("shop.example").expect("a trust domain");
        let validity = Validity {
            from: UnixMillis::from_seconds(1_790_000_000),
            until: UnixMillis::from_seconds(1_800_000_000),
        };
        let root = |number| {
            let key = MemoryKey::generate().expect("a key").0;
            let root = Authority::root(&domain, Box::new(key), Serial::from_random([number; 16]), validity);
            root.expect("a root").certificate().clone()
        };
        let roots = [root(1), root(2)];
        let text = bundle(BundleNumber(7), &roots).expect("a bundle");
        let read: Value = serde_json::from_str(&text).expect("JSON");
        assert_eq!((&read["spiffe_sequence"], &read["spiffe_refresh_hint"]), (&7.into(), &300.into()));
        for (key, root) in read["keys"].as_array().expect("keys").iter().zip(&roots) {
            assert_eq!(
                (&key["use"], &key["kty"], &key["crv"]),
                (&"x509-svid".into(), &"EC".into(), &"P-256".into())
            );
            let decode =
                |name: &str| URL_SAFE_NO_PAD.decode(key[name].as_str().expect("text")).expect("base64url");
            let point = [&[4][..], &decode("x"), &decode("y")].concat();
            let (_, read) = X509Certificate::from_der(root).expect("a certificate");
            assert_eq!(PublicKey::from_point(&point), PublicKey::from_spki(read.public_key().raw));
            assert_eq!(key["x5c"][0].as_str(), Some(STANDARD.encode(root).as_str()));
        }
        assert_eq!(bundle(BundleNumber(7), &[CertificateDer::from(vec![0x30, 0])]), None);
    }
}
