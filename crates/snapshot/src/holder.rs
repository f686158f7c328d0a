//! Whether a certificate's one name is a name that the configuration lists.
//!
//! INVARIANT: a certificate with several names of the kind that is listed has none of them (`portcullis-identity`).
//!
//! Not here: which authority verified it (`portcullis-net`), what its holder may do.
//!
//! Sources: SPIFFE X.509-SVID §2; threat D3.

use portcullis_config::plan::CertificateName;
use portcullis_core::{Name, Principal, TrustDomain};
use portcullis_identity::{CertificateNames, ClientCertificate, NameKind};

/// The holder of a certificate that `issuer` verified, if `name` is the certificate's one name of its kind.
#[must_use]
pub fn holder(certificate: &ClientCertificate, name: &CertificateName, issuer: &Name) -> Option<Principal> {
    let which = match name.trust_domain() {
        Some(domain) => NameKind::Spiffe(TrustDomain::parse(domain).ok()?),
        None => NameKind::Dns,
    };
    let principal = certificate.principal(&CertificateNames { issuer: issuer.clone(), which }).ok()?;
    (*principal.subject == *name.as_str()).then_some(principal)
}
