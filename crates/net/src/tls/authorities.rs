//! Who may vouch for a client, and which of several did.
//!
//! Each authority has roots of its own, and a name means a caller only together with the authority that verified it: the
//! same name under another one is another caller. So a chain must lead to the roots of exactly one of them. One that leads
//! to two, by a root that both list or by a cross-signed one, says two things about its holder and is refused.
//!
//! INVARIANT: the handshake succeeds only where exactly one authority verifies the chain.
//!
//! Not here: what the leaf says (`portcullis-identity`), who is a caller (the configuration).
//!
//! Sources: RFC 5280 §6; RFC 8446 §4.4.2; threats D1, D3.

use std::sync::Arc;

use rustls::client::danger::HandshakeSignatureValid;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, OtherError, SignatureScheme,
};

use super::TlsError;
use super::client::Roots;
use super::provider::provider;

/// The chain leads to the roots of two authorities.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the certificate is vouched for by two authorities")]
pub(super) struct TwoAuthorities;

/// Whether a client may go without a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Demand {
    Asked,
    Required,
}

/// The authorities, in the order given.
#[derive(Debug)]
pub(super) struct Authorities {
    first: Arc<dyn ClientCertVerifier>,
    others: Vec<Arc<dyn ClientCertVerifier>>,
    hints: Vec<DistinguishedName>,
    demand: Demand,
}

impl Authorities {
    /// Reads the roots of each; at least one.
    pub(super) fn read(roots: &[&[u8]], demand: Demand) -> Result<Self, TlsError> {
        let read = |pem: &&[u8]| {
            let roots = Roots::from_pem(pem)?.0;
            let built = WebPkiClientVerifier::builder_with_provider(roots, provider()).build();
            built.map_err(|_| TlsError::Roots)
        };
        let mut each = roots.iter().map(read).collect::<Result<Vec<_>, TlsError>>()?.into_iter();
        let first = each.next().ok_or(TlsError::Roots)?;
        let others: Vec<_> = each.collect();
        let all = std::iter::once(&first).chain(&others);
        let hints = all.flat_map(|authority| authority.root_hint_subjects().iter().cloned()).collect();
        Ok(Self { first, others, hints, demand })
    }

    /// Which one vouches for a chain that was verified in a handshake, by its place. With one there is nothing to tell
    /// apart; with several the chain is verified again, since a handshake keeps no memory of how it went.
    pub(super) fn which(&self, chain: &[CertificateDer<'_>], now: UnixTime) -> Option<usize> {
        let (leaf, rest) = chain.split_first()?;
        match self.others.is_empty() {
            true => Some(0),
            false => self.verify(leaf, rest, now).ok(),
        }
    }

    /// The place of the one authority that verifies the chain.
    fn verify(
        &self,
        leaf: &CertificateDer<'_>,
        rest: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<usize, Error> {
        let mut found = None;
        let mut refused = None;
        for (place, authority) in std::iter::once(&self.first).chain(&self.others).enumerate() {
            match authority.verify_client_cert(leaf, rest, now) {
                Ok(_) if found.is_some() => {
                    let two = OtherError(Arc::new(TwoAuthorities));
                    return Err(CertificateError::Other(two).into());
                }
                Ok(_) => found = Some(place),
                // What its own authority says about a certificate says more than that others do not know it.
                Err(why) if refused.is_none() || !is_stranger(&why) => refused = Some(why),
                Err(_) => {}
            }
        }
        found.ok_or_else(|| refused.unwrap_or_else(|| CertificateError::UnknownIssuer.into()))
    }
}

fn is_stranger(why: &Error) -> bool {
    matches!(why, Error::InvalidCertificate(CertificateError::UnknownIssuer))
}

impl ClientCertVerifier for Authorities {
    fn client_auth_mandatory(&self) -> bool {
        self.demand == Demand::Required
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &self.hints
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        self.verify(end_entity, intermediates, now).map(|_| ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.first.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.first.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.first.supported_verify_schemes()
    }
}
