//! Authorities: a certificate that may sign, its key, and what the two issue.
//!
//! INVARIANT: an [`Authority`] exists only where certificate and key belong together, and the certificate may sign
//! certificates of its trust domain.
//! INVARIANT: a root certifies authorities and no workload; an authority below it certifies workloads and no authority.
//! INVARIANT: no signature is used that does not verify.
//! INVARIANT: [`Authority::issue`] is all or nothing: what comes out was compared with its template, and its signature
//! verified.
//!
//! Not here: which authority is in use, and what came before it (rotation).
//!
//! Sources: RFC 5280 §4.2.1.1 to §4.2.1.3, §4.2.1.9, §4.2.1.10; SPIFFE X509-SVID §3, §4; threats C12, D4, D5.

mod certificate;
#[cfg(test)]
mod tests;

use std::cell::Cell;
use std::time::Duration;

use portcullis_core::{SpiffeId, TrustDomain};
use rcgen::Issuer;
use rustls_pki_types::CertificateDer;

use crate::check::{IssuerNames, Mismatch, check};
use crate::key::{CaKey, PublicKey, SignFault, Signing};
use crate::rotation::Level;
use crate::svid::{Serial, Svid};
use crate::validity::Validity;
use certificate::{Decided, Facts};

/// A certificate that may sign, and its key.
pub struct Authority {
    certificate: CertificateDer<'static>,
    /// What a leaf is sent with besides itself: nothing for a root.
    above: Vec<CertificateDer<'static>>,
    domain: TrustDomain,
    facts: Facts,
    key: Box<dyn CaKey>,
}

/// A certificate that was issued.
#[derive(Clone, Debug)]
pub struct Issued {
    /// The certificate, then those between it and the root.
    pub chain: Vec<CertificateDer<'static>>,
}

/// Why a certificate and a key are no authority.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AuthorityFault {
    /// Not one certificate in DER.
    #[error("the authority's certificate is not one well-formed certificate")]
    Malformed,
    /// It may not sign, or not everything that is needed.
    #[error("the authority's certificate {0}")]
    Unfit(&'static str),
    /// The key is another one's.
    #[error("the authority's certificate is for another key")]
    OtherKey,
    /// It names another trust domain, or none.
    #[error("the authority's certificate is for another trust domain than `{0}`")]
    OtherDomain(TrustDomain),
    /// The key did not sign.
    #[error(transparent)]
    Sign(#[from] SignFault),
    /// The library that builds certificates failed.
    #[error("the authority's certificate cannot be written")]
    Unwritable,
}

/// Why a certificate was not issued.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IssueFault {
    /// A root is not for that.
    #[error("a root certifies no workload")]
    Root,
    /// The name belongs to another environment.
    #[error("`{id}` is not of trust domain `{domain}`")]
    OtherDomain {
        /// The name.
        id: SpiffeId,
        /// Whose names are certified.
        domain: TrustDomain,
    },
    /// It would begin before, or end after, its issuer.
    #[error("the certificate would not lie within its issuer's validity")]
    Outlives,
    /// What was built is not what was decided.
    #[error(transparent)]
    Built(#[from] Mismatch),
    /// The key did not sign.
    #[error(transparent)]
    Sign(#[from] SignFault),
    /// What the key gave is not its signature.
    #[error("the signing key gave a signature that does not verify")]
    BadSignature,
    /// The library that builds certificates failed.
    #[error("the certificate cannot be written")]
    Unwritable,
}

impl Authority {
    /// How long a root lives.
    pub const ROOT: Duration = Duration::from_secs(3_650 * 86_400);
    /// How long an intermediate lives.
    pub const INTERMEDIATE: Duration = Duration::from_secs(30 * 86_400);

    /// Makes a root: a certificate that the key signs for itself.
    ///
    /// # Errors
    /// The key does not sign.
    pub fn root(
        domain: &TrustDomain,
        key: Box<dyn CaKey>,
        serial: Serial,
        validity: Validity,
    ) -> Result<Self, AuthorityFault> {
        let decided = Decided { level: Level::Root, domain, serial, validity };
        let params = decided.params().ok_or(AuthorityFault::Unwritable)?;
        let made = params.self_signed(&plain(&*key)).map_err(|_| SignFault)?;
        let facts = decided.is_said_by(made.der(), key.public(), None)?;
        Ok(Self { certificate: made.der().clone(), above: Vec::new(), domain: domain.clone(), facts, key })
    }

    /// Certifies the key of an authority below this one.
    ///
    /// # Errors
    /// It would outlive this one, or the key does not sign.
    pub fn certify(
        &self,
        key: &PublicKey,
        serial: Serial,
        validity: Validity,
    ) -> Result<CertificateDer<'static>, AuthorityFault> {
        if self.facts.level != Level::Root {
            return Err(AuthorityFault::Unfit("is not that of a root, which alone certifies authorities"));
        }
        if !self.facts.validity.holds(&validity) {
            return Err(AuthorityFault::Unfit("would not lie within its issuer's validity"));
        }
        let decided = Decided { level: Level::Workloads, domain: &self.domain, serial, validity };
        let params = decided.params().ok_or(AuthorityFault::Unwritable)?;
        let issuer = Issuer::from_ca_cert_der(&self.certificate, plain(&*self.key));
        let issuer = issuer.map_err(|_| AuthorityFault::Unwritable)?;
        let made = params.signed_by(key, &issuer).map_err(|_| SignFault)?;
        decided.is_said_by(made.der(), key, Some(&self.facts.subject))?;
        Ok(made.der().clone())
    }

    /// Puts a certificate and its key together. `above` is what stands between it and the root, nearest first.
    ///
    /// # Errors
    /// The certificate may not sign what is needed, or is for another key or trust domain.
    pub fn open(
        certificate: CertificateDer<'static>,
        above: Vec<CertificateDer<'static>>,
        key: Box<dyn CaKey>,
        domain: &TrustDomain,
    ) -> Result<Self, AuthorityFault> {
        let facts = Facts::read(&certificate, key.public(), domain)?;
        // A root is in every bundle already; another has to come along.
        let itself = (facts.level == Level::Workloads).then(|| certificate.clone());
        let above = itself.into_iter().chain(above).collect();
        Ok(Self { certificate, above, domain: domain.clone(), facts, key })
    }

    /// Builds the certificate that was decided, compares it with the decision, and signs it.
    ///
    /// # Errors
    /// See [`IssueFault`]; then nothing was signed, or what was signed is gone.
    pub fn issue(&self, decided: &Svid) -> Result<Issued, IssueFault> {
        if self.facts.level != Level::Workloads {
            return Err(IssueFault::Root);
        }
        if !self.domain.holds(&decided.id) {
            let (id, domain) = (decided.id.clone(), self.domain.clone());
            return Err(IssueFault::OtherDomain { id, domain });
        }
        if !self.facts.validity.holds(&decided.validity) {
            return Err(IssueFault::Outlives);
        }
        let issued = self.sign(decided)?;
        Ok(Issued { chain: std::iter::once(issued).chain(self.above.iter().cloned()).collect() })
    }

    fn sign(&self, decided: &Svid) -> Result<CertificateDer<'static>, IssueFault> {
        let params = decided.params().ok_or(IssueFault::Unwritable)?;
        let fault = Cell::new(None);
        let sign =
            |built: &[u8]| self.sign_checked(built, decided).map_err(|found| fault.set(Some(found))).ok();
        let issuer = Issuer::from_ca_cert_der(&self.certificate, Signing { public: self.key.public(), sign });
        let made = issuer.and_then(|issuer| params.signed_by(&decided.key, &issuer));
        made.map(|made| made.der().clone()).map_err(|_| fault.take().unwrap_or(IssueFault::Unwritable))
    }

    /// What the library that builds certificates calls for a signature.
    fn sign_checked(&self, built: &[u8], decided: &Svid) -> Result<Vec<u8>, IssueFault> {
        check(built, decided, IssuerNames { subject: &self.facts.subject, key_id: &self.facts.key_id })?;
        let signature = self.key.sign(built)?;
        // SECURITY: a token that answers with garbage, or a fault that was induced, must not get out.
        if self.key.public().verifies(built, &signature) {
            Ok(signature)
        } else {
            Err(IssueFault::BadSignature)
        }
    }

    /// Its certificate.
    #[must_use]
    pub fn certificate(&self) -> &CertificateDer<'static> {
        &self.certificate
    }

    /// From when until when it may sign.
    #[must_use]
    pub fn validity(&self) -> Validity {
        self.facts.validity
    }
}

/// For certificates of authorities, which are compared when they are made.
fn plain(key: &dyn CaKey) -> Signing<'_, impl Fn(&[u8]) -> Option<Vec<u8>>> {
    let sign =
        |built: &[u8]| key.sign(built).ok().filter(|signature| key.public().verifies(built, signature));
    Signing { public: key.public(), sign }
}
