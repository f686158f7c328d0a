//! Who stands behind a client certificate: names, thumbprints, profiles.
//!
//! Floor 1, a pure engine. The chain was verified by TLS before anything comes here; this room decides what the
//! verified leaf *says*, and whether it says it in exactly one way.
//!
//! INVARIANT: names come from the subject alternative name alone; the common name names nobody (D3, RFC 9525 §2).
//! INVARIANT: a certificate that could name two workloads names none.
//!
//! Not here: chains, revocation lists and handshakes (`portcullis-net`), issuing (`portcullis-ca`).
//!
//! Sources: SPIFFE-ID and X509-SVID standards (SPF-1 to SPF-3, SPF-8), RFC 5280, RFC 8705 §3.1, threats D1, D3.

mod certificate;
#[cfg(test)]
mod corpus;

pub use certificate::{CertificateFault, CertificateNames, ClientCertificate, NameKind};
