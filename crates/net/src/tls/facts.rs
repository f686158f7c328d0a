//! What a finished handshake proved: the only thing about it that the request line reads.

use std::sync::Arc;

use rustls::pki_types::CertificateDer;

use super::ServedCertificate;
use crate::Protocol;

/// The version that was agreed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TlsVersion {
    /// RFC 5246.
    Tls12,
    /// RFC 8446.
    Tls13,
}

impl TlsVersion {
    /// As it is written in records.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Tls12 => "TLSv1.2",
            Self::Tls13 => "TLSv1.3",
        }
    }
}

/// What the listener asks of client certificates: decides how far a connection may be shared between names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    Nothing,
    Certificate,
}

/// The facts of one connection.
#[derive(Clone, Debug)]
pub struct ConnectionFacts {
    pub(super) sni: Option<Box<str>>,
    pub(super) protocol: Protocol,
    pub(super) version: TlsVersion,
    pub(super) peer: Option<Arc<[CertificateDer<'static>]>>,
    pub(super) authority: Option<usize>,
    pub(super) served: Arc<ServedCertificate>,
    pub(super) asked: Asked,
}

impl ConnectionFacts {
    /// The name that the caller asked for, in lower case.
    #[must_use]
    pub fn sni(&self) -> Option<&str> {
        self.sni.as_deref()
    }

    /// What ALPN chose; HTTP/1.1 when the caller offered nothing.
    #[must_use]
    pub fn protocol(&self) -> Protocol {
        self.protocol
    }

    /// The TLS version.
    #[must_use]
    pub fn version(&self) -> TlsVersion {
        self.version
    }

    /// The caller's certificate chain in DER, leaf first, verified up to the configured roots. Empty without one.
    pub fn peer_chain(&self) -> impl Iterator<Item = &[u8]> {
        self.peer.iter().flat_map(|chain| chain.iter().map(AsRef::as_ref))
    }

    /// The caller's own certificate in DER.
    #[must_use]
    pub fn peer_leaf(&self) -> Option<&[u8]> {
        self.peer_chain().next()
    }

    /// Which authority vouches for the caller's certificate, by its place among those that the listener was given; none
    /// without a certificate.
    #[must_use]
    pub fn peer_authority(&self) -> Option<usize> {
        self.authority
    }

    /// The certificate that we served.
    #[must_use]
    pub fn served(&self) -> &ServedCertificate {
        &self.served
    }

    /// May a request for `host` (no port) use this connection? If not, the answer is 421 (RFC 9110 §15.5.20).
    ///
    /// SECURITY: where client certificates are asked for, only the very name of the handshake will do, so that no
    /// request can be authorised under what another name's handshake required (D1).
    #[must_use]
    pub fn serves_authority(&self, host: &str) -> bool {
        match (&self.sni, self.asked) {
            (Some(sni), _) if sni.eq_ignore_ascii_case(host) => true,
            (Some(_), Asked::Certificate) => false,
            _ => self.served.covers(host),
        }
    }
}
