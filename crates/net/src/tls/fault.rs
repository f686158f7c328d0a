//! Why a handshake failed, in words that connection events and metrics can carry.
//!
//! INVARIANT: nothing that the peer sent is in a fault, but the server name, which is a checked DNS name (F8).

use std::io;

use rustls::{CertificateError, Error};

use super::authorities::TwoAuthorities;

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum HandshakeFault {
    /// The deadline came first (D8, E8).
    #[error("the handshake took too long")]
    Timeout,
    /// The peer went away.
    #[error("the peer closed the connection during the handshake")]
    Cut,
    /// The network broke.
    #[error("the connection broke during the handshake")]
    Io(#[source] io::Error),
    /// No certificate carries the name that the caller asked for.
    #[error("no certificate is configured for the server name `{0}`")]
    UnknownName(Box<str>),
    /// A client certificate is required and none came.
    #[error("the client presented no certificate")]
    NoCertificate,
    /// The peer's certificate does not pass; the word says why.
    #[error("the peer's certificate was refused ({0})")]
    Certificate(&'static str),
    /// No version, suite or group in common.
    #[error("the peer offers nothing that is spoken here")]
    Incompatible,
    /// No application protocol in common, or not the one that is needed.
    #[error("the peer does not speak the application protocol that is needed")]
    NoProtocol,
    /// The bytes are not TLS.
    #[error("the peer does not speak TLS")]
    NotTls,
    /// The peer refused us.
    #[error("the peer sent an alert")]
    Alert(#[source] Error),
    /// Anything else that breaks the protocol.
    #[error("the peer broke the TLS protocol")]
    Misbehaved(#[source] Error),
}

impl HandshakeFault {
    /// A fixed word for events and metrics.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::Timeout => "handshake-timeout",
            Self::Cut => "handshake-cut",
            Self::Io(_) => "handshake-io",
            Self::UnknownName(_) => "unrecognised-name",
            Self::NoCertificate => "certificate-missing",
            Self::Certificate(word) => word,
            Self::Incompatible => "tls-incompatible",
            Self::NoProtocol => "no-application-protocol",
            Self::NotTls => "not-tls",
            Self::Alert(_) => "peer-alert",
            Self::Misbehaved(_) => "peer-misbehaved",
        }
    }

    pub(super) fn of(cause: io::Error) -> Self {
        match cause.get_ref().and_then(|inner| inner.downcast_ref::<Error>()) {
            Some(tls) => Self::of_tls(tls),
            None if cause.kind() == io::ErrorKind::UnexpectedEof => Self::Cut,
            None => Self::Io(cause),
        }
    }

    fn of_tls(cause: &Error) -> Self {
        match cause {
            Error::NoCertificatesPresented => Self::NoCertificate,
            Error::InvalidCertificate(why) => Self::Certificate(certificate_word(why)),
            Error::PeerIncompatible(_) => Self::Incompatible,
            Error::NoApplicationProtocol => Self::NoProtocol,
            Error::InvalidMessage(_) => Self::NotTls,
            Error::AlertReceived(_) => Self::Alert(cause.clone()),
            _ => Self::Misbehaved(cause.clone()),
        }
    }
}

fn certificate_word(why: &CertificateError) -> &'static str {
    use CertificateError as Why;
    match why {
        Why::Expired | Why::ExpiredContext { .. } => "certificate-expired",
        Why::NotValidYet | Why::NotValidYetContext { .. } => "certificate-not-yet-valid",
        Why::Revoked => "certificate-revoked",
        Why::UnknownIssuer => "certificate-unknown-issuer",
        Why::NotValidForName | Why::NotValidForNameContext { .. } => "certificate-name",
        Why::InvalidPurpose | Why::InvalidPurposeContext { .. } => "certificate-purpose",
        Why::BadSignature => "certificate-signature",
        Why::Other(other) if other.0.is::<TwoAuthorities>() => "certificate-two-authorities",
        _ => "certificate-invalid",
    }
}
