//! Reads back what was built, and compares it with what was decided, before a key signs it.
//!
//! INVARIANT: a certificate that passes is, byte for byte, the one that is written here from the same decision: serial,
//! issuer, times, (empty) subject, key, six extensions, and nothing else.
//!
//! Not here: how it is built. That is another library on purpose.
//!
//! Sources: RFC 5280 §4.1, §4.2; SPIFFE X509-SVID §4; X.690 §11.7, §11.8 (times); threat D5.

use portcullis_core::UnixMillis;
use time::OffsetDateTime;

use crate::der::{element, sequence};
use crate::svid::{Svid, last_second};

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
pub(crate) fn check(built: &[u8], decided: &Svid, issuer: IssuerNames<'_>) -> Result<(), Mismatch> {
    let pieces = pieces(decided, issuer).ok_or(Mismatch("times"))?;
    let whole: Vec<u8> = pieces.iter().flat_map(|(piece, _)| piece.iter().copied()).collect();
    if built == element(0x30, &whole) {
        return Ok(());
    }
    Err(Mismatch(first_difference(built, &pieces)))
}

/// For people: the name of the first piece that is not there. What is compared is the whole.
fn first_difference(built: &[u8], pieces: &[(Vec<u8>, &'static str)]) -> &'static str {
    // A head of 2 to 4 bytes stands before the pieces, and says how long they are together.
    let bodies = (2..=4).filter_map(|head| built.get(head..));
    let misses = bodies.map(|mut rest| {
        let mut found = 0_usize;
        for (piece, what) in pieces {
            match rest.strip_prefix(piece.as_slice()) {
                Some(after) => (rest, found) = (after, found.saturating_add(1)),
                None => return (found, *what),
            }
        }
        (found, "length")
    });
    misses.max_by_key(|(found, _)| *found).map_or("length", |(_, what)| what)
}

/// A certificate, piece by piece, each with the name by which a difference is told.
fn pieces(decided: &Svid, issuer: IssuerNames<'_>) -> Option<Vec<(Vec<u8>, &'static str)>> {
    /// ecdsa-with-SHA256: 1.2.840.10045.4.3.2.
    const ECDSA_SHA256: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 2];
    let validity = decided.validity;
    let times = [moment(validity.from)?, moment(last_second(validity))?];
    let extensions = extensions(decided, issuer);
    let bodies: Vec<u8> = extensions.iter().flat_map(|(extension, _)| extension.iter().copied()).collect();
    let listed = element(0xa3, &element(0x30, &bodies));
    let head = listed.len().checked_sub(bodies.len()).and_then(|head| listed.get(..head))?.to_vec();
    let mut pieces = vec![
        // Version 3.
        (element(0xa0, &element(0x02, &[2])), "version"),
        (element(0x02, decided.serial.as_bytes()), "serial number"),
        (sequence(&[element(0x06, ECDSA_SHA256)]), "signature algorithm"),
        (issuer.subject.to_vec(), "issuer"),
        (sequence(&times), "times"),
        (sequence(&[]), "subject"),
        (decided.key.spki(), "key"),
        (head, "length of extensions"),
    ];
    pieces.extend(extensions);
    Some(pieces)
}

/// UTCTime until 2049, GeneralizedTime from then on (RFC 5280 §4.1.2.5).
fn moment(at: UnixMillis) -> Option<Vec<u8>> {
    let at = OffsetDateTime::from_unix_timestamp(i64::try_from(at.seconds()).ok()?).ok()?;
    let (year, month, day) = at.to_calendar_date();
    let (hour, minute, second) = at.to_hms();
    let rest = format!("{:02}{day:02}{hour:02}{minute:02}{second:02}Z", u8::from(month));
    Some(match year {
        1950..2050 => element(0x17, format!("{:02}{rest}", year % 100).as_bytes()),
        _ => element(0x18, format!("{year:04}{rest}").as_bytes()),
    })
}

/// Whether a reader that does not know an extension must refuse the certificate.
#[derive(Clone, Copy)]
enum Critical {
    Yes,
    No,
}

/// An extension whose id is 2.5.29.`arc`.
fn extension(arc: u8, critical: Critical, value: &[u8]) -> Vec<u8> {
    let id = element(0x06, &[0x55, 0x1d, arc]);
    let value = element(0x04, value);
    match critical {
        Critical::Yes => sequence(&[id, element(0x01, &[0xff]), value]),
        Critical::No => sequence(&[id, value]),
    }
}

fn extensions(decided: &Svid, issuer: IssuerNames<'_>) -> [(Vec<u8>, &'static str); 6] {
    /// id-kp-serverAuth and id-kp-clientAuth: 1.3.6.1.5.5.7.3.1 and .2.
    const SERVER: &[u8] = &[0x2b, 6, 1, 5, 5, 7, 3, 1];
    const CLIENT: &[u8] = &[0x2b, 6, 1, 5, 5, 7, 3, 2];
    use Critical::{No, Yes};
    let name = sequence(&[element(0x86, decided.id.as_str().as_bytes())]);
    let purposes = sequence(&[element(0x06, SERVER), element(0x06, CLIENT)]);
    let issuer_key = sequence(&[element(0x80, issuer.key_id)]);
    [
        (extension(35, No, &issuer_key), "authority key identifier"),
        // Critical, since the subject is empty.
        (extension(17, Yes, &name), "name"),
        // Digital signature alone: the first bit, seven unused.
        (extension(15, Yes, &element(0x03, &[7, 0x80])), "key usage"),
        (extension(37, No, &purposes), "extended key usage"),
        (extension(14, No, &element(0x04, &decided.key.identifier())), "subject key identifier"),
        // No authority: the default, so nothing is written.
        (extension(19, Yes, &sequence(&[])), "basic constraints"),
    ]
}
