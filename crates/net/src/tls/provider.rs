//! The one cryptographic provider, with exactly what we speak.
//!
//! INVARIANT: every suite is AEAD with forward secrecy; the hybrid group stands first.
//!
//! The `fips` feature builds the validated module and keeps only what it approves.
//!
//! Sources: RFC 8446 §9.1, RFC 7525bis (RFC 9325) §4.2; draft-ietf-tls-ecdhe-mlkem (X25519MLKEM768).

use std::fmt;
use std::sync::{Arc, OnceLock};

use portcullis_core::Clock;
use rustls::SupportedProtocolVersion;
use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs::{cipher_suite as suite, default_provider, kx_group};
use rustls::pki_types::UnixTime;
use rustls::time_provider::TimeProvider;

use super::{TlsError, TlsVersions};

/// The provider of every configuration in the process.
pub(crate) fn provider() -> Arc<CryptoProvider> {
    static PROVIDER: OnceLock<Arc<CryptoProvider>> = OnceLock::new();
    Arc::clone(PROVIDER.get_or_init(|| Arc::new(build())))
}

fn build() -> CryptoProvider {
    let mut suites = vec![
        suite::TLS13_AES_256_GCM_SHA384,
        suite::TLS13_AES_128_GCM_SHA256,
        suite::TLS13_CHACHA20_POLY1305_SHA256,
        suite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
        suite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
        suite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
        suite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
        suite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
        suite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
    ];
    let mut groups =
        vec![kx_group::X25519MLKEM768, kx_group::X25519, kx_group::SECP256R1, kx_group::SECP384R1];
    if cfg!(feature = "fips") {
        suites.retain(|suite| suite.fips());
        groups.retain(|group| group.fips());
    }
    CryptoProvider { cipher_suites: suites, kx_groups: groups, ..default_provider() }
}

/// Checks, at start, that the build is what it says: the `fips` feature means that the validated module runs.
///
/// # Errors
/// The feature is on and the module is not in its approved mode.
pub fn assert_posture() -> Result<(), TlsError> {
    if cfg!(feature = "fips") && !provider().fips() {
        return Err(TlsError::NotFips);
    }
    Ok(())
}

static TLS13_ONLY: &[&SupportedProtocolVersion] = &[&rustls::version::TLS13];
static TLS12_AND_13: &[&SupportedProtocolVersion] = &[&rustls::version::TLS13, &rustls::version::TLS12];

pub(super) fn versions(wanted: TlsVersions) -> &'static [&'static SupportedProtocolVersion] {
    match wanted {
        TlsVersions::Tls13Only => TLS13_ONLY,
        TlsVersions::Tls12And13 => TLS12_AND_13,
    }
}

/// Our clock, as rustls asks for it.
pub(super) struct WallClock(pub(super) Arc<dyn Clock>);

impl TimeProvider for WallClock {
    fn current_time(&self) -> Option<UnixTime> {
        Some(UnixTime::since_unix_epoch(std::time::Duration::from_millis(self.0.now().wall.0)))
    }
}

impl fmt::Debug for WallClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WallClock")
    }
}

#[cfg(test)]
mod tests {
    use rustls::NamedGroup;

    use super::*;

    #[test]
    fn the_hybrid_group_is_first_and_every_suite_is_aead_with_forward_secrecy() {
        let provider = provider();
        assert_eq!(provider.kx_groups[0].name(), NamedGroup::X25519MLKEM768);
        for suite in &provider.cipher_suites {
            let name = format!("{:?}", suite.suite());
            assert!(name.starts_with("TLS13_") || name.starts_with("TLS_ECDHE_"), "{name}");
            assert!(name.contains("GCM") || name.contains("CHACHA20_POLY1305"), "{name}");
        }
        assert!(CryptoProvider::get_default().is_none(), "a process-wide provider was installed");
    }

    #[test]
    fn the_build_is_what_it_says() {
        assert!(assert_posture().is_ok());
        assert_eq!(cfg!(feature = "fips"), provider().fips());
    }
}
