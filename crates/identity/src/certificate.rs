//! What the leaf of a verified client certificate chain says.
//!
//! INVARIANT: a subject alternative name with a byte that could be read in two ways (NUL, control, non-ASCII) refuses
//! the whole certificate, even if the name would not be used (D3).
//! INVARIANT: a certificate that may sign others, or that is not for client authentication, is nobody's (SPF-3).
//!
//! Sources: RFC 5280 §4.1.2.2, §4.2.1.3, §4.2.1.6, §4.2.1.9, §4.2.1.12; RFC 8705 §3.1; X509-SVID §2, §4, §5; Envoy
//! CVE-2025-66220 (NUL in a SAN), CVE-2022-21657 (EKU not looked at); NATS CVE-2026-33248.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use aws_lc_rs::digest;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use portcullis_core::{
    Assurance, Binding, Name, Principal, Proof, SpiffeFault, SpiffeId, TrustDomain, UnixMillis,
};
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer as _;

/// The longest leaf that is read.
const LARGEST: usize = 64 * 1024;
/// The most alternative names of one leaf.
const MOST_NAMES: usize = 64;
/// The longest serial number (RFC 5280 §4.1.2.2).
const LONGEST_SERIAL: usize = 20;

/// Which names of an authority's certificates count.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NameKind {
    /// The one URI name, a SPIFFE id of this trust domain (SPF-2, SPF-8).
    Spiffe(TrustDomain),
    /// The one DNS name.
    Dns,
}

/// How certificates of one authority name their holders.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateNames {
    /// How the configuration, policy and the record call the authority.
    pub issuer: Name,
    /// Which names count.
    pub which: NameKind,
}

/// Why a certificate says nothing that we believe.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CertificateFault {
    /// No certificate came.
    #[error("the chain has no leaf")]
    NoLeaf,
    /// Not one certificate in DER with a version, serial and times that make sense.
    #[error("the leaf is not a well-formed certificate: {why}")]
    Malformed {
        /// What is wrong.
        why: &'static str,
    },
    /// It may sign certificates.
    #[error("the leaf may sign certificates, so it authenticates nobody")]
    Authority,
    /// Not meant for client authentication.
    #[error("the leaf is not for client authentication")]
    NotForClients,
    /// Its key usage does not permit signatures.
    #[error("the leaf's key is not for digital signatures")]
    NoDigitalSignature,
    /// An alternative name has odd bytes, or there are too many.
    #[error("a subject alternative name could be read in two ways, or there are more than {MOST_NAMES}")]
    OddName,
    /// Not exactly one name of the kind that counts.
    #[error("the leaf has {found} {kind} names, needs exactly one")]
    Ambiguous {
        /// Which kind.
        kind: &'static str,
        /// How many there are.
        found: usize,
    },
    /// The URI is not a SPIFFE id.
    #[error("the URI name is not a SPIFFE id")]
    Spiffe(#[source] SpiffeFault),
    /// A SPIFFE id of another trust domain.
    #[error("the SPIFFE id is not of trust domain `{want}`")]
    OtherTrustDomain {
        /// The trust domain of the authority.
        want: TrustDomain,
    },
    /// A DNS name that is a pattern or no host name.
    #[error("the DNS name is not that of one host")]
    Host,
}

/// The facts of a client's leaf certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientCertificate {
    common_name: Option<String>,
    dns_names: Vec<String>,
    uris: Vec<String>,
    serial: String,
    not_before: UnixMillis,
    not_after: UnixMillis,
    thumbprint: [u8; 32],
}

impl ClientCertificate {
    /// Reads the leaf of a chain that TLS has verified, leaf first.
    ///
    /// # Errors
    /// The leaf is malformed, not for clients, or says something in two ways.
    pub fn read(chain_der: &[Vec<u8>]) -> Result<Self, CertificateFault> {
        Self::read_leaf(chain_der.first().ok_or(CertificateFault::NoLeaf)?)
    }

    /// The same, for the leaf alone.
    ///
    /// # Errors
    /// As [`ClientCertificate::read`].
    pub fn read_leaf(der: &[u8]) -> Result<Self, CertificateFault> {
        if der.len() > LARGEST {
            return Err(malformed("it is too long"));
        }
        let (rest, leaf) = X509Certificate::from_der(der).map_err(|_| malformed("it is not DER"))?;
        if !rest.is_empty() {
            return Err(malformed("something follows it"));
        }
        check_purpose(&leaf)?;
        let mut facts = Self {
            common_name: common_name(&leaf),
            dns_names: Vec::new(),
            uris: Vec::new(),
            serial: serial(&leaf)?,
            not_before: instant(leaf.validity().not_before.timestamp())?,
            not_after: instant(leaf.validity().not_after.timestamp())?,
            thumbprint: thumbprint(der),
        };
        facts.read_names(&leaf)?;
        Ok(facts)
    }

    fn read_names(&mut self, leaf: &X509Certificate<'_>) -> Result<(), CertificateFault> {
        let names = leaf.subject_alternative_name().map_err(|_| malformed("it repeats an extension"))?;
        let Some(names) = names else { return Ok(()) };
        if names.value.general_names.len() > MOST_NAMES {
            return Err(CertificateFault::OddName);
        }
        for name in &names.value.general_names {
            match name {
                GeneralName::DNSName(dns) => self.dns_names.push(plain(dns)?),
                GeneralName::URI(uri) => self.uris.push(plain(uri)?),
                GeneralName::RFC822Name(mail) => drop(plain(mail)?),
                GeneralName::Invalid(..) => return Err(CertificateFault::OddName),
                // Addresses and directory names name no workload here; their bytes are never compared.
                _ => {}
            }
        }
        Ok(())
    }

    /// Who holds it, by the rules of the authority that vouches for it.
    ///
    /// # Errors
    /// It has no name of the kind that counts, several, or one that the authority may not give.
    pub fn principal(&self, rules: &CertificateNames) -> Result<Principal, CertificateFault> {
        let subject: Arc<str> = match &rules.which {
            NameKind::Spiffe(domain) => self.workload(domain)?.as_str().into(),
            NameKind::Dns => self.host()?.into(),
        };
        Ok(Principal {
            proof: Proof::Certificate,
            issuer: rules.issuer.clone(),
            subject,
            client: None,
            session: None,
            credential: Some(self.serial.as_str().into()),
            scopes: BTreeSet::new(),
            roles: BTreeSet::new(),
            claims: BTreeMap::new(),
            binding: Binding::MutualTls,
            assurance: Assurance::Substantial,
            expires: Some(self.not_after),
        })
    }

    /// The SPIFFE id, which is the only URI name and belongs to `domain`.
    ///
    /// # Errors
    /// Not exactly one URI name, not a SPIFFE id, or of another trust domain.
    pub fn workload(&self, domain: &TrustDomain) -> Result<SpiffeId, CertificateFault> {
        let [uri] = self.uris.as_slice() else {
            return Err(CertificateFault::Ambiguous { kind: "URI", found: self.uris.len() });
        };
        let id = SpiffeId::parse(uri).map_err(CertificateFault::Spiffe)?;
        if domain.holds(&id) {
            Ok(id)
        } else {
            Err(CertificateFault::OtherTrustDomain { want: domain.clone() })
        }
    }

    /// The one DNS name, in lower case; never a pattern.
    fn host(&self) -> Result<String, CertificateFault> {
        let [name] = self.dns_names.as_slice() else {
            return Err(CertificateFault::Ambiguous { kind: "DNS", found: self.dns_names.len() });
        };
        let label = |label: &str| {
            let permits = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_');
            (1..=63).contains(&label.len()) && label.bytes().all(permits)
        };
        let fits = name.len() <= 253 && name.split('.').all(label);
        if fits { Ok(name.to_ascii_lowercase()) } else { Err(CertificateFault::Host) }
    }

    /// The common name, for people to read; it names nobody.
    #[must_use]
    pub fn common_name(&self) -> Option<&str> {
        self.common_name.as_deref()
    }

    /// The DNS names, as written.
    #[must_use]
    pub fn dns_names(&self) -> &[String] {
        &self.dns_names
    }

    /// The URI names, as written.
    #[must_use]
    pub fn uris(&self) -> &[String] {
        &self.uris
    }

    /// The serial number, in lower-case hexadecimal digits, two a byte.
    #[must_use]
    pub fn serial(&self) -> &str {
        &self.serial
    }

    /// When it begins to be valid.
    #[must_use]
    pub fn not_before(&self) -> UnixMillis {
        self.not_before
    }

    /// When it ends; a stream that it authenticates ends then too.
    #[must_use]
    pub fn not_after(&self) -> UnixMillis {
        self.not_after
    }

    /// Whether `now` is within its validity; asked again on long connections.
    #[must_use]
    pub fn is_valid_at(&self, now: UnixMillis) -> bool {
        self.not_before <= now && now < self.not_after
    }

    /// SHA-256 of the certificate, which tokens are bound to.
    #[must_use]
    pub fn thumbprint(&self) -> &[u8; 32] {
        &self.thumbprint
    }

    /// The thumbprint as `x5t#S256` writes it (RFC 8705 §3.1).
    #[must_use]
    pub fn x5t_s256(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.thumbprint)
    }
}

fn malformed(why: &'static str) -> CertificateFault {
    CertificateFault::Malformed { why }
}

/// SHA-256 of a certificate in DER.
fn thumbprint(der: &[u8]) -> [u8; 32] {
    let digest = digest::digest(&digest::SHA256, der);
    <[u8; 32]>::try_from(digest.as_ref()).unwrap_or_default()
}

/// Not an authority, for client authentication, with a key that signs.
///
/// A missing extended key usage permits every purpose by RFC 5280, but a client certificate of ours always states
/// its purpose, except SVIDs, for which the standard makes it optional and the key usage mandatory (SPF-2).
fn check_purpose(leaf: &X509Certificate<'_>) -> Result<(), CertificateFault> {
    let twice = |_| malformed("it repeats or breaks an extension");
    if leaf.basic_constraints().map_err(twice)?.is_some_and(|basic| basic.value.ca) {
        return Err(CertificateFault::Authority);
    }
    let usage = leaf.key_usage().map_err(twice)?;
    if usage.as_ref().is_some_and(|usage| usage.value.key_cert_sign() || usage.value.crl_sign()) {
        return Err(CertificateFault::Authority);
    }
    if usage.as_ref().is_some_and(|usage| !usage.value.digital_signature()) {
        return Err(CertificateFault::NoDigitalSignature);
    }
    match leaf.extended_key_usage().map_err(twice)? {
        Some(purposes) if purposes.value.client_auth => Ok(()),
        None if usage.is_some() => Ok(()),
        _ => Err(CertificateFault::NotForClients),
    }
}

/// For people: the last common name, if it is plain text.
fn common_name(leaf: &X509Certificate<'_>) -> Option<String> {
    let name = leaf.subject().iter_common_name().last()?.as_str().ok()?;
    (name.len() <= 255 && !name.contains(char::is_control)).then(|| name.to_owned())
}

fn serial(leaf: &X509Certificate<'_>) -> Result<String, CertificateFault> {
    let raw = leaf.raw_serial();
    // A leading zero byte only keeps the number positive.
    let number = match raw {
        [0, rest @ ..] if !rest.is_empty() => rest,
        all => all,
    };
    if number.is_empty() || number.len() > LONGEST_SERIAL {
        return Err(malformed("its serial number is empty or too long"));
    }
    Ok(number.iter().map(|byte| format!("{byte:02x}")).collect())
}

fn instant(seconds: i64) -> Result<UnixMillis, CertificateFault> {
    u64::try_from(seconds).map(UnixMillis::from_seconds).map_err(|_| malformed("it is from before 1970"))
}

/// A name in printable ASCII without spaces.
fn plain(name: &str) -> Result<String, CertificateFault> {
    let fits = !name.is_empty() && name.bytes().all(|b| b.is_ascii_graphic());
    if fits { Ok(name.to_owned()) } else { Err(CertificateFault::OddName) }
}
