//! Makes the certificates of a shop: short chains, P-256 keys, a month of life.
//!
//! These vouch for a demo or for the first hour of a new installation; the product's own authority is another matter.
//!
//! Sources: RFC 5280; SPIFFE X.509-SVID (one URI name, no CA flag, digital signature); RFC 8705 §3.1 (thumbprint).

use aws_lc_rs::digest;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use portcullis_core::{Sensitive, UnixMillis};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose, SanType,
};
use time::{Duration, OffsetDateTime};

/// A root and its key, for as long as certificates are issued.
pub(crate) struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    certificate: String,
    starts: OffsetDateTime,
}

/// A certificate and its key, PEM.
pub(crate) struct Leaf {
    pub(crate) certificate: String,
    pub(crate) key: Sensitive<String>,
    der: Vec<u8>,
}

/// Why no certificate was made.
#[derive(Debug, thiserror::Error)]
#[error("the certificate library refused")]
pub(crate) struct AuthorityError(#[from] rcgen::Error);

impl Authority {
    /// A new root.
    pub(crate) fn new(name: &str, now: UnixMillis) -> Result<Self, AuthorityError> {
        let seconds = i64::try_from(now.seconds()).unwrap_or(0);
        let starts = OffsetDateTime::from_unix_timestamp(seconds).unwrap_or(OffsetDateTime::UNIX_EPOCH);
        // A little before now, for clocks that are a little behind.
        let starts = starts - Duration::minutes(5);
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, format!("{name} authority"));
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        lives(&mut params, starts);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate()?)?;
        let certificate = issuer.pem();
        Ok(Self { issuer, certificate, starts })
    }

    /// The root, PEM.
    pub(crate) fn certificate(&self) -> &str {
        &self.certificate
    }

    /// A server's certificate for these names and addresses.
    pub(crate) fn server(&self, names: &[&str]) -> Result<Leaf, AuthorityError> {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        self.issue(CertificateParams::new(names)?, &[ExtendedKeyUsagePurpose::ServerAuth])
    }

    /// A workload's certificate: one SPIFFE id, for both ends of a connection.
    pub(crate) fn workload(&self, id: &str) -> Result<Leaf, AuthorityError> {
        let mut params = CertificateParams::default();
        params.subject_alt_names.push(SanType::URI(id.try_into()?));
        self.issue(params, &[ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth])
    }

    fn issue(
        &self,
        mut params: CertificateParams,
        uses: &[ExtendedKeyUsagePurpose],
    ) -> Result<Leaf, AuthorityError> {
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = uses.to_vec();
        params.use_authority_key_identifier_extension = true;
        params.distinguished_name = rcgen::DistinguishedName::new();
        lives(&mut params, self.starts);
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &self.issuer)?;
        Ok(Leaf {
            certificate: certificate.pem(),
            key: Sensitive::new(key.serialize_pem()),
            der: certificate.der().to_vec(),
        })
    }
}

impl Leaf {
    /// What a token names that is bound to this certificate: `x5t#S256`.
    pub(crate) fn thumbprint(&self) -> String {
        URL_SAFE_NO_PAD.encode(digest::digest(&digest::SHA256, &self.der))
    }
}

fn lives(params: &mut CertificateParams, starts: OffsetDateTime) {
    (params.not_before, params.not_after) = (starts, starts + Duration::days(30));
}
