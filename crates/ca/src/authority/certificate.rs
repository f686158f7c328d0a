//! What the certificate of an authority says: how ours are written, and what any must have to be used.
//!
//! Sources: RFC 5280 §4.2.1.2, §4.2.1.3, §4.2.1.9, §4.2.1.10; SPIFFE X509-SVID §3, §4; threat D4.

use std::time::Duration;

use portcullis_core::{TrustDomain, UnixMillis};
use rcgen::{BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, KeyUsagePurpose, SanType};
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::prelude::FromDer as _;
use x509_parser::time::ASN1Time;

use super::AuthorityFault;
use crate::key::PublicKey;
use crate::rotation::Level;
use crate::svid::{Serial, moments};
use crate::validity::Validity;

/// An authority's certificate, before it exists.
#[derive(Clone, Copy)]
pub(super) struct Decided<'d> {
    pub(super) level: Level,
    pub(super) domain: &'d TrustDomain,
    pub(super) serial: Serial,
    pub(super) validity: Validity,
}

impl Decided<'_> {
    /// The same, as the library that builds certificates wants it. `None` for a time that cannot be written.
    pub(super) fn params(&self) -> Option<CertificateParams> {
        let (title, constraint) = match self.level {
            Level::Root => ("root", BasicConstraints::Unconstrained),
            Level::Workloads => ("workloads", BasicConstraints::Constrained(0)),
        };
        let mut params = CertificateParams::default();
        params.distinguished_name = name(title, self.serial, self.domain);
        params.serial_number = Some(self.serial.as_bytes().to_vec().into());
        let uri = format!("spiffe://{}", self.domain);
        params.subject_alt_names = vec![SanType::URI(uri.as_str().try_into().ok()?)];
        params.is_ca = IsCa::Ca(constraint);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.use_authority_key_identifier_extension = true;
        (params.not_before, params.not_after) = moments(self.validity)?;
        Some(params)
    }

    /// Reads a certificate that was made of this, and compares. `issuer` is the subject of what signed it, itself if none.
    pub(super) fn is_said_by(
        &self,
        made: &[u8],
        key: &PublicKey,
        issuer: Option<&[u8]>,
    ) -> Result<Facts, AuthorityFault> {
        let facts = Facts::read(made, key, self.domain)?;
        let same = facts.level == self.level
            && facts.validity == self.validity
            && facts.serial == self.serial.as_bytes()
            && facts.issuer == issuer.unwrap_or(&facts.subject);
        if same { Ok(facts) } else { Err(AuthorityFault::Unwritable) }
    }
}

/// With the number, so that two generations of one authority have two names; as long as a common name may be.
fn name(title: &str, serial: Serial, domain: &TrustDomain) -> DistinguishedName {
    const LONGEST: usize = 64;
    let number: String = serial.to_string().chars().take(8).collect();
    let text: String = format!("{title} {number} {domain}").chars().take(LONGEST).collect();
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, text);
    name
}

/// What is used of an authority's certificate.
pub(super) struct Facts {
    pub(super) level: Level,
    pub(super) validity: Validity,
    /// In DER, as what it issues must repeat it.
    pub(super) subject: Vec<u8>,
    pub(super) key_id: Vec<u8>,
    /// In DER.
    pub(super) issuer: Vec<u8>,
    pub(super) serial: Vec<u8>,
}

impl Facts {
    /// Reads a certificate that must be for `key`, and may sign what belongs to `domain`.
    pub(super) fn read(der: &[u8], key: &PublicKey, domain: &TrustDomain) -> Result<Self, AuthorityFault> {
        let (rest, read) = X509Certificate::from_der(der).map_err(|_| AuthorityFault::Malformed)?;
        if !rest.is_empty() {
            return Err(AuthorityFault::Malformed);
        }
        if read.public_key().raw != key.spki() {
            return Err(AuthorityFault::OtherKey);
        }
        let level = level(&read)?;
        check_domain(&read, domain)?;
        Ok(Self {
            level,
            validity: validity(&read).ok_or(AuthorityFault::Malformed)?,
            subject: read.subject().as_raw().to_vec(),
            key_id: key_id(&read).ok_or(AuthorityFault::Unfit("has no subject key identifier"))?,
            issuer: read.issuer().as_raw().to_vec(),
            serial: read.raw_serial().to_vec(),
        })
    }
}

/// Where it stands, if it may sign certificates and lists of revoked ones, for names that verifiers can judge. Below a root
/// only leaves may follow.
fn level(read: &X509Certificate<'_>) -> Result<Level, AuthorityFault> {
    let twice = |_| AuthorityFault::Malformed;
    let basic = read.basic_constraints().map_err(twice)?.filter(|basic| basic.value.ca);
    let basic = basic.ok_or(AuthorityFault::Unfit("is not that of an authority"))?;
    let usage = read.key_usage().map_err(twice)?;
    if !usage.is_some_and(|usage| usage.value.key_cert_sign() && usage.value.crl_sign()) {
        return Err(AuthorityFault::Unfit("must be for signing certificates and revocation lists"));
    }
    // SECURITY: verifiers refuse every SPIFFE id below name constraints that they cannot apply to URIs.
    if read.name_constraints().map_err(twice)?.is_some() {
        return Err(AuthorityFault::Unfit("has name constraints, under which verifiers refuse SPIFFE ids"));
    }
    let is_root = read.subject().as_raw() == read.issuer().as_raw();
    match (is_root, basic.value.path_len_constraint) {
        (true, _) => Ok(Level::Root),
        (false, Some(0)) => Ok(Level::Workloads),
        (false, _) => Err(AuthorityFault::Unfit("is below a root and may certify authorities")),
    }
}

/// It names this trust domain and no other (SPIFFE X509-SVID §3).
fn check_domain(read: &X509Certificate<'_>, domain: &TrustDomain) -> Result<(), AuthorityFault> {
    let names = read.subject_alternative_name().map_err(|_| AuthorityFault::Malformed)?;
    let names = names.map_or(&[][..], |names| &names.value.general_names);
    let own = format!("spiffe://{domain}");
    match names {
        [GeneralName::URI(uri)] if *uri == own => Ok(()),
        _ => Err(AuthorityFault::OtherDomain(domain.clone())),
    }
}

fn key_id(read: &X509Certificate<'_>) -> Option<Vec<u8>> {
    read.extensions().iter().find_map(|extension| match extension.parsed_extension() {
        ParsedExtension::SubjectKeyIdentifier(id) => Some(id.0.to_vec()),
        _ => None,
    })
}

fn validity(read: &X509Certificate<'_>) -> Option<Validity> {
    let moment = |time: ASN1Time| u64::try_from(time.timestamp()).ok().map(UnixMillis::from_seconds);
    let times = read.validity();
    // Through its last second.
    Some(Validity {
        from: moment(times.not_before)?,
        until: moment(times.not_after)?.plus(Duration::from_secs(1)),
    })
}
