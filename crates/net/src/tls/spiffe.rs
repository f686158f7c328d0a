//! Verifies a server by its SPIFFE id and nothing else.
//!
//! INVARIANT: the chain ends in the given roots, is valid now and is meant for servers, and the leaf's only URI is the
//! expected id, byte for byte.
//!
//! Sources: SPIFFE-ID §2; X.509-SVID §2 (exactly one URI SAN), §5.2; RFC 5280 §6; threat D7.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::verify_server_cert_signed_by_trust_anchor;
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

use super::TlsError;
use super::provider::provider;

#[derive(Debug)]
pub(super) struct SpiffeVerifier {
    roots: Arc<RootCertStore>,
    provider: Arc<CryptoProvider>,
    expected: Box<str>,
}

impl SpiffeVerifier {
    pub(super) fn new(roots: Arc<RootCertStore>, id: &str) -> Result<Self, TlsError> {
        if !is_spiffe_id(id) {
            return Err(TlsError::SpiffeId { id: id.into() });
        }
        Ok(Self { roots, provider: provider(), expected: id.into() })
    }
}

/// SPIFFE-ID §2: scheme, trust domain of `a-z0-9.-_`, then segments that are not empty, `.` or `..`.
fn is_spiffe_id(id: &str) -> bool {
    let Some(rest) = id.strip_prefix("spiffe://") else { return false };
    let (domain, path) = rest.split_once('/').unwrap_or((rest, ""));
    let in_domain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'.' | b'-' | b'_');
    let in_path = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_');
    let segment = |s: &str| !matches!(s, "" | "." | "..") && s.bytes().all(in_path);
    let has_path = rest.len() > domain.len();
    let domain_holds = !domain.is_empty() && domain.len() <= 255 && domain.bytes().all(in_domain);
    domain_holds && id.len() <= 2048 && (!has_path || path.split('/').all(segment))
}

/// The only URI of a certificate; `None` when there is none, or more than one.
fn only_uri(leaf: &CertificateDer<'_>) -> Option<Box<str>> {
    let (_, parsed) = X509Certificate::from_der(leaf).ok()?;
    let names = parsed.subject_alternative_name().ok()??;
    let mut uris = names.value.general_names.iter().filter_map(|name| match name {
        GeneralName::URI(uri) => Some(*uri),
        _ => None,
    });
    let only = uris.next()?;
    uris.next().is_none().then(|| only.into())
}

impl ServerCertVerifier for SpiffeVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let leaf = ParsedCertificate::try_from(end_entity)?;
        let algorithms = self.provider.signature_verification_algorithms.all;
        verify_server_cert_signed_by_trust_anchor(&leaf, &self.roots, intermediates, now, algorithms)?;
        match only_uri(end_entity) {
            Some(uri) if uri == self.expected => Ok(ServerCertVerified::assertion()),
            _ => Err(CertificateError::NotValidForName.into()),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signed, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signed, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn d7_only_a_well_formed_id_can_be_expected() {
        for good in ["spiffe://shop.example", "spiffe://shop.example/orders", "spiffe://a_b-c.1/ns/x/sa/Y.z"]
        {
            assert!(is_spiffe_id(good), "{good}");
        }
        for bad in [
            "",
            "spiffe://",
            "spiffe:///orders",
            "spiffe://shop.example/",
            "spiffe://Shop.example/orders",
            "spiffe://shop.example//orders",
            "spiffe://shop.example/../orders",
            "spiffe://shop.example:443/orders",
            "spiffe://shop.example/orders?x",
            "spiffe://shop.example/%6frders",
            "https://shop.example/orders",
        ] {
            assert!(!is_spiffe_id(bad), "{bad}");
        }
    }
}
