//! The signature algorithms that can be configured, and no other.
//!
//! INVARIANT: there is no symmetric algorithm and no `none` to choose, so that no setting and no header can ask for
//! one (C1; SS028-11.2.3, 11.2.11; RFC 8725 §3.1, §3.2).
//!
//! Sources: RFC 7518 §3.1, RFC 8037 §3.1, RFC 9864 §2.2.

use std::fmt;

use aws_lc_rs::signature::{self, VerificationAlgorithm};
use serde::{Deserialize, Serialize};

/// A signature algorithm that an issuer's entry can name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Algorithm {
    /// ECDSA on P-256 with SHA-256.
    #[serde(rename = "ES256")]
    Es256,
    /// ECDSA on P-384 with SHA-384.
    #[serde(rename = "ES384")]
    Es384,
    /// Ed25519.
    #[serde(rename = "EdDSA")]
    EdDsa,
    /// RSASSA-PSS with SHA-256.
    #[serde(rename = "PS256")]
    Ps256,
    /// RSASSA-PKCS1-v1_5 with SHA-256: only where an issuer's entry names it, and it shows in every report.
    #[serde(rename = "RS256")]
    Rs256,
}

impl Algorithm {
    /// Every algorithm there is.
    pub const ALL: [Self; 5] = [Self::Es256, Self::Es384, Self::EdDsa, Self::Ps256, Self::Rs256];

    /// Reads the `alg` value of a header or a key; the comparison is exact.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        // RFC 9864 gives Ed25519 a name of its own; the key type says the same, so that both names mean one thing.
        let same = |algorithm: &Self| algorithm.name() == name;
        Self::ALL.into_iter().find(same).or((name == "Ed25519").then_some(Self::EdDsa))
    }

    /// The registered name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Es256 => "ES256",
            Self::Es384 => "ES384",
            Self::EdDsa => "EdDSA",
            Self::Ps256 => "PS256",
            Self::Rs256 => "RS256",
        }
    }

    /// How aws-lc-rs verifies it, for the algorithms whose key is a point; RSA keys are put together elsewhere.
    pub(crate) fn of_point(self) -> Option<&'static dyn VerificationAlgorithm> {
        match self {
            Self::Es256 => Some(&signature::ECDSA_P256_SHA256_FIXED),
            Self::Es384 => Some(&signature::ECDSA_P384_SHA384_FIXED),
            Self::EdDsa => Some(&signature::ED25519),
            Self::Ps256 | Self::Rs256 => None,
        }
    }

    /// How aws-lc-rs verifies it, for RSA.
    pub(crate) fn of_rsa(self) -> Option<&'static signature::RsaParameters> {
        match self {
            Self::Ps256 => Some(&signature::RSA_PSS_2048_8192_SHA256),
            Self::Rs256 => Some(&signature::RSA_PKCS1_2048_8192_SHA256),
            Self::Es256 | Self::Es384 | Self::EdDsa => None,
        }
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn c1_no_other_spelling_names_an_algorithm() {
        for bad in [
            "", "none", "None", "NONE", "nOnE", "es256", "ES256 ", "HS256", "HS512", "ES521", "RS384",
            "PS512",
        ] {
            assert_eq!(Algorithm::parse(bad), None, "{bad:?}");
        }
        for algorithm in Algorithm::ALL {
            assert_eq!(Algorithm::parse(algorithm.name()), Some(algorithm));
            let written = serde_json::to_string(&algorithm).expect("serialises");
            assert_eq!(written, format!("\"{algorithm}\""));
        }
        assert_eq!(Algorithm::parse("Ed25519"), Some(Algorithm::EdDsa));
    }

    #[test]
    fn an_algorithm_has_one_kind_of_key() {
        for algorithm in Algorithm::ALL {
            assert!(algorithm.of_point().is_some() != algorithm.of_rsa().is_some(), "{algorithm}");
        }
    }
}
