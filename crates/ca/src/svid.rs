//! What was decided: the template that a certificate is built from, and compared with.
//!
//! Sources: SPIFFE X509-SVID §2, §4; RFC 5280 §4.1.2.2 (serial numbers), §4.1.2.6 (an empty subject).

use std::fmt;

use portcullis_core::{SpiffeId, UnixMillis};
use rcgen::{
    CertificateParams, DistinguishedName, ExtendedKeyUsagePurpose, IsCa, KeyIdMethod, KeyUsagePurpose,
    SanType,
};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use time::OffsetDateTime;

use crate::key::PublicKey;
use crate::validity::Validity;

/// A serial number of 16 bytes, positive and never shorter than it looks.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Serial([u8; 16]);

impl Serial {
    /// Makes one of random bytes. 126 of their bits are kept: two that were drawn apart do not meet.
    #[must_use]
    pub fn from_random(mut bytes: [u8; 16]) -> Self {
        // The first bit makes it positive, the second keeps it 16 bytes long.
        if let Some(first) = bytes.first_mut() {
            *first = (*first & 0x7f) | 0x40;
        }
        Self(bytes)
    }

    /// Reads 32 lower-case hexadecimal digits, as they are displayed.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let number = u128::from_str_radix(text, 16).ok()?;
        let read = Self(number.to_be_bytes());
        (read == Self::from_random(read.0) && read.to_string() == text).then_some(read)
    }

    /// The bytes, most significant first.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl fmt::Display for Serial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl Serialize for Serial {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        out.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Serial {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(from)?;
        Self::parse(&text)
            .ok_or_else(|| serde::de::Error::custom("expected a serial number of 32 hexadecimal digits"))
    }
}

impl fmt::Debug for Serial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A workload's certificate before it exists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Svid {
    /// Whose it is: its only name.
    pub id: SpiffeId,
    /// The key that it certifies.
    pub key: PublicKey,
    /// Its number.
    pub serial: Serial,
    /// From when until when.
    pub validity: Validity,
}

impl Svid {
    /// The same, as the library that builds certificates wants it. `None` for a name or time that it cannot write.
    pub(crate) fn params(&self) -> Option<CertificateParams> {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.serial_number = Some(self.serial.as_bytes().to_vec().into());
        params.subject_alt_names = vec![SanType::URI(self.id.as_str().try_into().ok()?)];
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_identifier_method = KeyIdMethod::PreSpecified(self.key.identifier());
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        params.use_authority_key_identifier_extension = true;
        (params.not_before, params.not_after) = moments(self.validity)?;
        Some(params)
    }
}

/// A certificate is valid through the second that it names as its last (RFC 5280 §4.1.2.5).
pub(crate) fn last_second(validity: Validity) -> UnixMillis {
    UnixMillis::from_seconds(validity.until.seconds().saturating_sub(1))
}

/// First and last second.
pub(crate) fn moments(validity: Validity) -> Option<(OffsetDateTime, OffsetDateTime)> {
    let moment = |at: UnixMillis| OffsetDateTime::from_unix_timestamp(i64::try_from(at.seconds()).ok()?).ok();
    Some((moment(validity.from)?, moment(last_second(validity))?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_serial_is_positive_and_full() {
        for bytes in [[0; 16], [0xff; 16], [0x80; 16]] {
            let first = Serial::from_random(bytes).as_bytes().first().copied().unwrap_or_default();
            assert!((0x40..0x80).contains(&first), "{first:x}");
        }
        let serial = Serial::from_random([0xab; 16]);
        assert_eq!(serial.to_string(), "6bababababababababababababababab");
        assert_eq!(Serial::parse(&serial.to_string()), Some(serial));
        for bad in
            ["", "7", "+6bababababababababababababababa", "6BABABABABABABABABABABABABABABAB", &"0".repeat(32)]
        {
            assert_eq!(Serial::parse(bad), None, "{bad}");
        }
    }
}
