//! TLS on both legs: one provider, built once, asserted by test.
//!
//! A [`ServerTls`] or [`ClientTls`] is immutable. A reload builds a new one and swaps the `Arc`; connections that are open
//! keep theirs.
//!
//! INVARIANT: the provider is passed explicitly everywhere; no process-wide default is installed or used.
//! INVARIANT: verification of the server is always on, and cannot be switched off by any value (D7).
//! INVARIANT: no 0-RTT, no certificate compression (D8), no resumption where a client certificate may count (D2).
//! INVARIANT: time comes from the clock that was given, so that a clock that runs back revives no certificate.
//!
//! Not here: issuing (`ca`), who a peer is (`portcullis-identity`), revocation.
//!
//! Sources: RFC 8446, RFC 5246, RFC 7301, RFC 6066 §3, RFC 9525, SPIFFE X.509-SVID §5; threats D1, D2, D7, D8.

mod authorities;
mod book;
mod client;
mod error;
mod facts;
mod fault;
mod material;
mod provider;
mod read_ahead;
mod server;
mod spiffe;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;

pub use client::{ClientStream, ClientTls, ClientTlsSource, Connected, Expected, Roots};
pub use error::TlsError;
pub use facts::{ConnectionFacts, TlsVersion};
pub use fault::HandshakeFault;
pub use material::{CertificateSource, ServedCertificate};
pub use provider::assert_posture;
pub use read_ahead::ReadAhead;
pub use server::{Accepted, ClientAuth, ServerStream, ServerTls, ServerTlsSource};

/// Which versions may be spoken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum TlsVersions {
    /// TLS 1.3: everywhere inside.
    #[default]
    Tls13Only,
    /// TLS 1.2 too, AEAD and ECDHE only: for callers and services that we do not run (11.3.3).
    Tls12And13,
}
