//! Reads back what was built, and compares it with what was decided, before a key signs it.
//!
//! INVARIANT: a certificate that passes has exactly the fields of its template and no others: serial, issuer, times,
//! (empty) subject, key, and six extensions, each once, each with the bytes that are written here.
//!
//! Not here: how it is built. That is another library on purpose.
//!
//! Sources: RFC 5280 §4.1, §4.2; SPIFFE X509-SVID §4; threat D5.

use portcullis_core::UnixMillis;
use x509_parser::certificate::TbsCertificate;
use x509_parser::extensions::X509Extension;
use x509_parser::oid_registry::{
    OID_SIG_ECDSA_WITH_SHA256, OID_X509_EXT_AUTHORITY_KEY_IDENTIFIER, OID_X509_EXT_BASIC_CONSTRAINTS,
    OID_X509_EXT_EXTENDED_KEY_USAGE, OID_X509_EXT_KEY_USAGE, OID_X509_EXT_SUBJECT_ALT_NAME,
    OID_X509_EXT_SUBJECT_KEY_IDENTIFIER, Oid,
};
use x509_parser::prelude::FromDer as _;
use x509_parser::x509::{AlgorithmIdentifier, X509Version};

use crate::der::{element, sequence};
use crate::svid::Svid;

/// What is not as it was decided. It says that our own code or library is wrong, never that a caller is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("what was built is not what was decided: {0}")]
pub struct Mismatch(pub(crate) &'static str);

/// What the issuer brings to a certificate.
#[derive(Clone, Copy)]
pub(crate) struct IssuerNames<'i> {
    /// Its subject, in DER.
    pub(crate) subject: &'i [u8],
    /// Its subject key identifier.
    pub(crate) key_id: &'i [u8],
}

/// Compares the part of a certificate that is signed.
pub(crate) fn check(der: &[u8], decided: &Svid, issuer: IssuerNames<'_>) -> Result<(), Mismatch> {
    let (rest, built) = TbsCertificate::from_der(der).map_err(|_| Mismatch("it is not a certificate"))?;
    let (from, until) = (&built.validity.not_before, &built.validity.not_after);
    let is = |moment: &x509_parser::time::ASN1Time, wanted: UnixMillis| {
        u64::try_from(moment.timestamp()).is_ok_and(|seconds| UnixMillis::from_seconds(seconds) == wanted)
    };
    let table = [
        (rest.is_empty(), "something follows it"),
        (built.version == X509Version::V3, "version"),
        (built.raw_serial() == decided.serial.as_bytes(), "serial number"),
        (is_ecdsa_with_sha256(&built.signature), "signature algorithm"),
        (built.issuer.as_raw() == issuer.subject, "issuer"),
        (is(from, decided.validity.from), "beginning"),
        (is(until, decided.validity.until), "end"),
        (built.subject.as_raw() == sequence(&[]), "subject"),
        (built.subject_pki.raw == decided.key.spki(), "key"),
        (built.issuer_uid.is_none() && built.subject_uid.is_none(), "unique identifiers"),
    ];
    match table.iter().find(|(holds, _)| !holds) {
        Some((_, what)) => Err(Mismatch(what)),
        None => check_extensions(built.extensions(), decided, issuer),
    }
}

fn is_ecdsa_with_sha256(algorithm: &AlgorithmIdentifier<'_>) -> bool {
    algorithm.algorithm == OID_SIG_ECDSA_WITH_SHA256 && algorithm.parameters.is_none()
}

/// An extension as it must be.
struct Wanted {
    oid: Oid<'static>,
    critical: bool,
    value: Vec<u8>,
    what: &'static str,
}

fn check_extensions(
    built: &[X509Extension<'_>],
    decided: &Svid,
    issuer: IssuerNames<'_>,
) -> Result<(), Mismatch> {
    let wanted = wanted(decided, issuer);
    if built.len() != wanted.len() {
        return Err(Mismatch("number of extensions"));
    }
    // As many as are wanted, and each wanted one is there: so each is there once.
    for Wanted { oid, critical, value, what } in wanted {
        let found = built.iter().find(|extension| extension.oid == oid).ok_or(Mismatch(what))?;
        if found.critical != critical || found.value != value {
            return Err(Mismatch(what));
        }
    }
    Ok(())
}

fn wanted(decided: &Svid, issuer: IssuerNames<'_>) -> [Wanted; 6] {
    /// id-kp-serverAuth and id-kp-clientAuth: 1.3.6.1.5.5.7.3.1 and .2.
    const SERVER: &[u8] = &[0x2b, 6, 1, 5, 5, 7, 3, 1];
    const CLIENT: &[u8] = &[0x2b, 6, 1, 5, 5, 7, 3, 2];
    let wanted = |oid, critical, value, what| Wanted { oid, critical, value, what };
    [
        wanted(
            OID_X509_EXT_AUTHORITY_KEY_IDENTIFIER,
            false,
            sequence(&[element(0x80, issuer.key_id)]),
            "authority key identifier",
        ),
        wanted(
            OID_X509_EXT_SUBJECT_KEY_IDENTIFIER,
            false,
            element(0x04, &decided.key.identifier()),
            "subject key identifier",
        ),
        // Critical, since the subject is empty.
        wanted(
            OID_X509_EXT_SUBJECT_ALT_NAME,
            true,
            sequence(&[element(0x86, decided.id.as_str().as_bytes())]),
            "name",
        ),
        // Digital signature alone: the first bit, seven unused.
        wanted(OID_X509_EXT_KEY_USAGE, true, element(0x03, &[7, 0x80]), "key usage"),
        wanted(
            OID_X509_EXT_EXTENDED_KEY_USAGE,
            false,
            sequence(&[element(0x06, SERVER), element(0x06, CLIENT)]),
            "extended key usage",
        ),
        // No authority: the default, so nothing is written.
        wanted(OID_X509_EXT_BASIC_CONSTRAINTS, true, sequence(&[]), "basic constraints"),
    ]
}
