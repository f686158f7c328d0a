//! Why a TLS configuration could not be built. All of it is the operator's to mend, so it says how.

use portcullis_core::UnixMillis;

/// Why there is no TLS configuration. The position counts certificates as they were given, from zero.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// No certificate was given.
    #[error("a TLS listener needs at least one certificate")]
    NoCertificate,
    /// The text is not PEM, or has no certificate in it.
    #[error("certificate {position}: the chain is not PEM with at least one `CERTIFICATE` block")]
    Chain {
        /// Which one.
        position: usize,
    },
    /// A certificate in the chain cannot be read.
    #[error("certificate {position}: the chain holds a certificate that is not well formed")]
    Encoding {
        /// Which one.
        position: usize,
    },
    /// The key cannot be read.
    #[error(
        "certificate {position}: the key is not an unencrypted PEM private key of a kind that is accepted (ECDSA P-256, P-384 or P-521, Ed25519, RSA of 2048 bits or more)"
    )]
    Key {
        /// Which one.
        position: usize,
    },
    /// Key and certificate do not belong together.
    #[error(
        "certificate {position}: the private key does not belong to the certificate; check that both come from the same request"
    )]
    Mismatch {
        /// Which one.
        position: usize,
    },
    /// Over.
    #[error("certificate {position}: a certificate in the chain expired at {} (seconds since 1970); renew it", not_after.seconds())]
    Expired {
        /// Which one.
        position: usize,
        /// When.
        not_after: UnixMillis,
    },
    /// Not begun.
    #[error("certificate {position}: a certificate in the chain is not valid before {} (seconds since 1970); check the clock", not_before.seconds())]
    NotYetValid {
        /// Which one.
        position: usize,
        /// When.
        not_before: UnixMillis,
    },
    /// Too weak a key or signature.
    #[error(
        "certificate {position}: {found} is too weak; use ECDSA P-256 or RSA of 2048 bits or more, signed with SHA-256 or better"
    )]
    Weak {
        /// Which one.
        position: usize,
        /// What it has.
        found: &'static str,
    },
    /// Two certificates for one name.
    #[error(
        "certificate {position}: the name `{name}` is in an earlier certificate too; give each name one certificate"
    )]
    DuplicateName {
        /// Which one.
        position: usize,
        /// The name.
        name: Box<str>,
    },
    /// The trust anchors cannot be used.
    #[error("the trusted roots are not PEM with at least one well-formed `CERTIFICATE` block")]
    Roots,
    /// The machine has no trust anchors.
    #[error("the system's trusted roots cannot be read; install `ca-certificates` or name a file of roots")]
    SystemRoots,
    /// The expected name is none.
    #[error("`{name}` is not a DNS name that a server certificate could carry")]
    Name {
        /// As it was given.
        name: Box<str>,
    },
    /// The expected SPIFFE id is none.
    #[error("`{id}` is not a SPIFFE id such as `spiffe://shop.example/orders`")]
    SpiffeId {
        /// As it was given.
        id: Box<str>,
    },
    /// A `fips` build without the validated module.
    #[error("this build promises FIPS, and the cryptographic module is not in its approved mode")]
    NotFips,
    /// The library refuses the combination.
    #[error("the TLS settings do not fit together")]
    Settings(#[source] rustls::Error),
}
