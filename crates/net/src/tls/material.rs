//! A certificate chain and its key, read once and checked before anybody relies on them.
//!
//! INVARIANT: key and leaf belong together, the whole chain is valid now, and no key or signature is weak.
//! INVARIANT: key bytes reach nothing but the cryptographic module; no error carries them.
//!
//! Sources: RFC 5280 §4.1.2.5, §4.2.1.6; RFC 9525 §6.3; SP 800-57 part 1 (key sizes).

use std::net::IpAddr;
use std::sync::Arc;

use portcullis_core::{Sensitive, UnixMillis};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};
use x509_parser::public_key::PublicKey;

use super::TlsError;
use super::provider::provider;

/// A chain and its key, as they came from files.
#[derive(Clone, Copy, Debug)]
pub struct CertificateSource<'a> {
    /// Leaf first, then intermediates.
    pub chain_pem: &'a [u8],
    /// PKCS#8, SEC1 or PKCS#1, not encrypted.
    pub key_pem: &'a Sensitive<Vec<u8>>,
}

/// What a certificate that we serve says about itself.
#[derive(Debug, PartialEq, Eq)]
pub struct ServedCertificate {
    names: Box<[Box<str>]>,
    addresses: Box<[IpAddr]>,
    not_after: UnixMillis,
    serial: Box<str>,
}

/// A checked chain, ready to be used on either leg.
#[derive(Clone, Debug)]
pub(super) struct Material {
    pub(super) key: Arc<CertifiedKey>,
    pub(super) served: Arc<ServedCertificate>,
}

impl ServedCertificate {
    /// DNS names in lower case, wildcards as they stand.
    #[must_use]
    pub fn names(&self) -> &[Box<str>] {
        &self.names
    }

    /// When the first certificate of the chain runs out: for the alert.
    #[must_use]
    pub fn not_after(&self) -> UnixMillis {
        self.not_after
    }

    /// The leaf's serial number, in hexadecimal.
    #[must_use]
    pub fn serial(&self) -> &str {
        &self.serial
    }

    /// Does the certificate carry `host`: a DNS name, exact or by a wildcard for one label, or an address?
    #[must_use]
    pub fn covers(&self, host: &str) -> bool {
        if let Ok(ip) = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>() {
            return self.addresses.contains(&ip);
        }
        self.names.iter().any(|name| name_matches(name, host))
    }
}

#[cfg(test)]
impl ServedCertificate {
    pub(super) fn named<'a>(names: impl Iterator<Item = &'a str>) -> Self {
        let names = names.map(|name| name.to_ascii_lowercase().into()).collect();
        Self { names, addresses: Box::default(), not_after: UnixMillis(u64::MAX), serial: "1".into() }
    }
}

/// RFC 9525 §6.3: the wildcard is a whole left-most label and stands for exactly one label.
fn name_matches(name: &str, host: &str) -> bool {
    match name.strip_prefix("*.") {
        None => name.eq_ignore_ascii_case(host),
        Some(suffix) => host
            .split_once('.')
            .is_some_and(|(label, rest)| !label.is_empty() && rest.eq_ignore_ascii_case(suffix)),
    }
}

impl Material {
    pub(super) fn read(
        source: CertificateSource<'_>,
        position: usize,
        now: UnixMillis,
    ) -> Result<Self, TlsError> {
        let chain = CertificateDer::pem_slice_iter(source.chain_pem)
            .collect::<Result<Vec<_>, _>>()
            .map_err(|_| TlsError::Chain { position })?;
        let served = Arc::new(inspect(&chain, position, now)?);
        let key =
            PrivateKeyDer::from_pem_slice(source.key_pem.expose()).map_err(|_| TlsError::Key { position })?;
        let key = CertifiedKey::from_der(chain, key, &provider()).map_err(|cause| match cause {
            rustls::Error::InconsistentKeys(_) => TlsError::Mismatch { position },
            _ => TlsError::Key { position },
        })?;
        Ok(Self { key: Arc::new(key), served })
    }
}

fn inspect(
    chain: &[CertificateDer<'_>],
    position: usize,
    now: UnixMillis,
) -> Result<ServedCertificate, TlsError> {
    let [leaf, ..] = chain else { return Err(TlsError::Chain { position }) };
    let mut ends = UnixMillis(u64::MAX);
    for certificate in chain {
        let parsed = parse(certificate, position)?;
        ends = ends.min(valid_now(&parsed, position, now)?);
        strong_enough(&parsed, position)?;
    }
    let leaf = parse(leaf, position)?;
    let (names, addresses) = alternative_names(&leaf, position)?;
    Ok(ServedCertificate { names, addresses, not_after: ends, serial: format!("{:x}", leaf.serial).into() })
}

fn parse<'a>(der: &'a CertificateDer<'_>, position: usize) -> Result<X509Certificate<'a>, TlsError> {
    match X509Certificate::from_der(der) {
        Ok(([], parsed)) => Ok(parsed),
        _ => Err(TlsError::Encoding { position }),
    }
}

/// When the certificate in `der` runs out; `None` when it cannot be read.
pub(super) fn end_of(der: &CertificateDer<'_>) -> Option<UnixMillis> {
    let (_, parsed) = X509Certificate::from_der(der).ok()?;
    Some(millis(parsed.validity().not_after.timestamp()))
}

fn millis(seconds: i64) -> UnixMillis {
    UnixMillis::from_seconds(u64::try_from(seconds).unwrap_or(0))
}

fn valid_now(
    certificate: &X509Certificate<'_>,
    position: usize,
    now: UnixMillis,
) -> Result<UnixMillis, TlsError> {
    let validity = certificate.validity();
    let (not_before, not_after) =
        (millis(validity.not_before.timestamp()), millis(validity.not_after.timestamp()));
    match now.seconds() {
        now if now > not_after.seconds() => Err(TlsError::Expired { position, not_after }),
        now if now < not_before.seconds() => Err(TlsError::NotYetValid { position, not_before }),
        _ => Ok(not_after),
    }
}

/// Signature algorithms that no longer bind: MD5 and SHA-1, with RSA and ECDSA.
const WEAK_SIGNATURES: [&str; 4] =
    ["1.2.840.113549.1.1.4", "1.2.840.113549.1.1.5", "1.2.840.10045.4.1", "1.2.840.10040.4.3"];

fn strong_enough(certificate: &X509Certificate<'_>, position: usize) -> Result<(), TlsError> {
    let weak = |found| Err(TlsError::Weak { position, found });
    match certificate.public_key().parsed() {
        Ok(PublicKey::RSA(key)) if key.key_size() < 2048 => {
            return weak("an RSA key of fewer than 2048 bits");
        }
        Ok(PublicKey::DSA(_)) => return weak("a DSA key"),
        _ => {}
    }
    // A root in the chain is trusted for what it is, not for its own signature.
    let is_root = certificate.subject() == certificate.issuer();
    let algorithm = certificate.signature_algorithm.algorithm.to_id_string();
    match is_root || !WEAK_SIGNATURES.contains(&algorithm.as_str()) {
        true => Ok(()),
        false => weak("a signature over MD5 or SHA-1"),
    }
}

type Names = (Box<[Box<str>]>, Box<[IpAddr]>);

fn alternative_names(leaf: &X509Certificate<'_>, position: usize) -> Result<Names, TlsError> {
    let extension = leaf.subject_alternative_name().map_err(|_| TlsError::Encoding { position })?;
    let all = extension.map_or(&[][..], |e| e.value.general_names.as_slice());
    let dns = |name: &GeneralName<'_>| match name {
        GeneralName::DNSName(text) => Some(text.to_ascii_lowercase().into_boxed_str()),
        _ => None,
    };
    let address = |name: &GeneralName<'_>| match name {
        GeneralName::IPAddress(bytes) => ip_from(bytes),
        _ => None,
    };
    Ok((all.iter().filter_map(dns).collect(), all.iter().filter_map(address).collect()))
}

fn ip_from(bytes: &[u8]) -> Option<IpAddr> {
    let v4 = <[u8; 4]>::try_from(bytes).map(IpAddr::from);
    v4.or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from)).ok()
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Authority, SystemTime, at};
    use super::*;

    fn read(chain: &[u8], key: &[u8], now: UnixMillis) -> Result<Material, TlsError> {
        let key = Sensitive::new(key.to_vec());
        Material::read(CertificateSource { chain_pem: chain, key_pem: &key }, 3, now)
    }

    #[test]
    fn a_chain_that_cannot_be_relied_on_is_refused_with_the_reason() {
        let ca = Authority::new("ca");
        let (a, b) = (ca.server(&["a.example"]), ca.server(&["b.example"]));
        let old = ca.server_between(&["a.example"], 2001, 2002);
        let future = ca.server_between(&["a.example"], 2090, 2091);
        let now = SystemTime.now();
        let table = [
            (read(b"", &a.key, now), "not PEM"),
            (
                read(b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", &a.key, now),
                "not well formed",
            ),
            (read(&a.chain, b"", now), "not an unencrypted PEM private key"),
            (read(&a.chain, &a.chain, now), "not an unencrypted PEM private key"),
            (read(&a.chain, &b.key, now), "does not belong to the certificate"),
            (read(&old.chain, &old.key, now), "expired at"),
            (read(&future.chain, &future.key, now), "not valid before"),
        ];
        for (got, want) in table {
            let text = got.unwrap_err().to_string();
            assert!(text.starts_with("certificate 3: ") && text.contains(want), "{text} lacks {want}");
        }
        let good = read(&a.chain, &a.key, now).unwrap();
        assert_eq!(good.served.names(), ["a.example".into()]);
        assert!(good.served.not_after() > now);
    }

    #[test]
    fn a_weak_key_is_refused() {
        let chain = include_bytes!("testing/rsa1024.pem");
        let refused = read(chain, b"", at(2027)).unwrap_err();
        assert!(refused.to_string().contains("fewer than 2048 bits"), "{refused}");
        let chain = include_bytes!("testing/sha1.pem");
        let refused = read(chain, b"", at(2027)).unwrap_err();
        assert!(refused.to_string().contains("SHA-1"), "{refused}");
    }

    #[test]
    fn d1_a_certificate_covers_its_names_and_no_others() {
        let served = ServedCertificate {
            names: ["a.example".into(), "*.b.example".into()].into(),
            addresses: ["192.0.2.1".parse().unwrap(), "2001:db8::1".parse().unwrap()].into(),
            not_after: UnixMillis(0),
            serial: "1".into(),
        };
        for host in ["a.example", "A.Example", "x.b.example", "X.B.EXAMPLE", "192.0.2.1", "[2001:db8::1]"] {
            assert!(served.covers(host), "{host}");
        }
        for host in [
            "",
            "b.example",
            ".b.example",
            "x.y.b.example",
            "a.example.",
            "xa.example",
            "*",
            "192.0.2.2",
            "[::1]",
        ] {
            assert!(!served.covers(host), "{host}");
        }
    }

    /// Public SVIDs and keys, at the time when they were valid: certificate and key may stand in one file in any order.
    #[test]
    fn spf2_public_svids_and_keys_are_material_or_are_refused_with_the_reason() {
        let file = |name: &str| {
            let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../workshop/vectors/spiffe");
            std::fs::read(std::path::Path::new(folder).join(name)).unwrap()
        };
        let then = UnixMillis::from_seconds(1_585_060_000);
        let table = [
            ("good-cert-and-key.pem", "good-cert-and-key.pem", ""),
            ("good-key-and-cert.pem", "good-key-and-cert.pem", ""),
            ("good-leaf-only.pem", "key-pkcs8-ecdsa.pem", "not valid before"),
            ("good-cert-and-key.pem", "key-pkcs8-rsa.pem", "does not belong to the certificate"),
            ("good-cert-and-key.pem", "corrupt-key.pem", "not an unencrypted PEM private key"),
            ("good-cert-and-key.pem", "not-pem", "not an unencrypted PEM private key"),
            ("corrupt-cert.pem", "key-pkcs8-rsa.pem", "certificate 3"),
            ("not-pem", "key-pkcs8-rsa.pem", "not PEM"),
        ];
        for (chain, key, want) in table {
            let got = read(&file(chain), &file(key), then).map_err(|fault| fault.to_string());
            match want {
                "" => assert!(got.is_ok(), "{chain} {got:?}"),
                want => assert!(got.as_ref().is_err_and(|text| text.contains(want)), "{chain} {key} {got:?}"),
            }
        }
    }
}
