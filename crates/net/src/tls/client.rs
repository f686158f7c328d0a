//! The client's side: whom we call is always verified.
//!
//! INVARIANT: there is no value of any type here that switches verification off (D7).
//! INVARIANT: one [`ClientTls`] expects one peer, shows one identity and speaks one protocol, so its number can stand for
//! all three in a pool's key.
//! INVARIANT: no resumption: a session would outlive the check of the peer's certificate (D2).
//!
//! Sources: RFC 9525 §6, RFC 8446, RFC 7301, SPIFFE X.509-SVID §5.2; threats D2, D7.

use std::hash::{Hash, Hasher};
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use portcullis_core::{Clock, UnixMillis};
use rustls::client::{Resumption, WantsClientCert, WebPkiServerVerifier};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, DnsName, ServerName};
use rustls::sign::SingleCertAndKey;
use rustls::{ClientConfig, ConfigBuilder, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, timeout_at};
use tokio_rustls::TlsConnector;

use super::material::{Material, end_of};
use super::provider::{WallClock, provider, versions};
use super::spiffe::SpiffeVerifier;
use super::{CertificateSource, HandshakeFault, ReadAhead, TlsError, TlsVersions};
use crate::Protocol;

/// A stream after the handshake.
pub type ClientStream<S> = tokio_rustls::client::TlsStream<ReadAhead<S>>;

/// Trust anchors, read once and shared.
#[derive(Clone, Debug)]
pub struct Roots(pub(super) Arc<RootCertStore>);

/// Who must answer.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Expected {
    /// A certificate with this DNS name, exact or by a wildcard for one label.
    DnsName(Box<str>),
    /// A certificate with this address.
    Address(IpAddr),
    /// A certificate whose only URI is this SPIFFE id.
    Spiffe(Box<str>),
}

/// What a client's TLS is built from.
#[derive(Clone, Debug)]
pub struct ClientTlsSource<'a> {
    /// Who vouches for the peer.
    pub roots: Roots,
    /// What we show, if we are asked.
    pub identity: Option<CertificateSource<'a>>,
    /// Who must answer.
    pub expect: Expected,
    /// What is spoken.
    pub versions: TlsVersions,
    /// What is asked for in ALPN.
    pub protocol: Protocol,
}

/// A client's TLS towards one peer. Equal to itself alone: every build is another.
#[derive(Debug)]
pub struct ClientTls {
    number: u64,
    pub(super) connector: Arc<ClientConfig>,
    name: ServerName<'static>,
    expected: Expected,
    protocol: Protocol,
    identity_ends: Option<UnixMillis>,
}

/// A connection after its handshake.
#[derive(Debug)]
pub struct Connected<S> {
    /// The bytes.
    pub stream: ClientStream<S>,
    /// When the first of both leaf certificates runs out: the connection must not outlive it.
    pub ends: Option<UnixMillis>,
}

impl Roots {
    /// Reads trust anchors.
    ///
    /// # Errors
    /// There is none, or one cannot be read.
    pub fn from_pem(pem: &[u8]) -> Result<Self, TlsError> {
        let mut store = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(pem) {
            let added = certificate.ok().and_then(|der| store.add(der).ok());
            added.ok_or(TlsError::Roots)?;
        }
        if store.is_empty() { Err(TlsError::Roots) } else { Ok(Self(Arc::new(store))) }
    }

    /// The trust anchors of the machine.
    ///
    /// # Errors
    /// There is none.
    pub fn system() -> Result<Self, TlsError> {
        let mut store = RootCertStore::empty();
        store.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        if store.is_empty() { Err(TlsError::SystemRoots) } else { Ok(Self(Arc::new(store))) }
    }
}

impl ClientTls {
    /// Checks everything and builds.
    ///
    /// # Errors
    /// The identity or the expected name cannot be used.
    pub fn build(source: ClientTlsSource<'_>, clock: &Arc<dyn Clock>) -> Result<Self, TlsError> {
        static NUMBERS: AtomicU64 = AtomicU64::new(1);
        let now = clock.now().wall;
        let identity = source.identity.map(|given| Material::read(given, 0, now)).transpose()?;
        let name = server_name(&source.expect)?;
        let verified = ClientConfig::builder_with_details(provider(), Arc::new(WallClock(Arc::clone(clock))))
            .with_protocol_versions(versions(source.versions))
            .map_err(TlsError::Settings)?;
        let verified = match &source.expect {
            Expected::Spiffe(id) => verified
                .dangerous()
                .with_custom_certificate_verifier(Arc::new(SpiffeVerifier::new(source.roots.0, id)?)),
            Expected::DnsName(_) | Expected::Address(_) => verified.with_webpki_verifier(
                WebPkiServerVerifier::builder_with_provider(source.roots.0, provider())
                    .build()
                    .map_err(|_| TlsError::Roots)?,
            ),
        };
        let mut config = present(verified, identity.as_ref());
        config.alpn_protocols = vec![source.protocol.alpn().to_vec()];
        config.enable_sni = !matches!(source.expect, Expected::Spiffe(_));
        Ok(Self {
            number: NUMBERS.fetch_add(1, Ordering::Relaxed),
            connector: Arc::new(harden(config)),
            name,
            expected: source.expect,
            protocol: source.protocol,
            identity_ends: identity.map(|identity| identity.served.not_after()),
        })
    }

    /// Who must answer.
    #[must_use]
    pub fn expected(&self) -> &Expected {
        &self.expected
    }

    /// What is spoken after the handshake.
    #[must_use]
    pub fn protocol(&self) -> Protocol {
        self.protocol
    }

    /// When our own certificate runs out, if we show one.
    #[must_use]
    pub fn identity_ends(&self) -> Option<UnixMillis> {
        self.identity_ends
    }

    /// Shakes hands, within `deadline` as a whole.
    ///
    /// # Errors
    /// See [`HandshakeFault`]; a peer that is not the expected one among them.
    pub async fn connect<S>(&self, stream: S, deadline: Instant) -> Result<Connected<S>, HandshakeFault>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let shake = TlsConnector::from(Arc::clone(&self.connector))
            .connect(self.name.clone(), ReadAhead::new(stream));
        let stream = match timeout_at(deadline, shake).await {
            Ok(shaken) => shaken.map_err(HandshakeFault::of)?,
            Err(_) => return Err(HandshakeFault::Timeout),
        };
        let (_, connection) = stream.get_ref();
        // A server without ALPN speaks HTTP/1.1; HTTP/2 needs its word (RFC 9113 §3.2).
        if Protocol::from_alpn(connection.alpn_protocol()) != self.protocol {
            return Err(HandshakeFault::NoProtocol);
        }
        let peer_ends = connection.peer_certificates().and_then(|chain| end_of(chain.first()?));
        let ends = [peer_ends, self.identity_ends].into_iter().flatten().min();
        Ok(Connected { stream, ends })
    }
}

impl PartialEq for ClientTls {
    fn eq(&self, other: &Self) -> bool {
        self.number == other.number
    }
}

impl Eq for ClientTls {}

impl Hash for ClientTls {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.number.hash(state);
    }
}

fn server_name(expected: &Expected) -> Result<ServerName<'static>, TlsError> {
    match expected {
        Expected::DnsName(name) => DnsName::try_from(name.to_string())
            .map(ServerName::DnsName)
            .map_err(|_| TlsError::Name { name: name.clone() }),
        Expected::Address(ip) => Ok(ServerName::IpAddress((*ip).into())),
        // Never sent and never compared: the verifier knows whom it expects.
        Expected::Spiffe(_) => DnsName::try_from("spiffe.invalid")
            .map(ServerName::DnsName)
            .map_err(|_| TlsError::Name { name: "spiffe.invalid".into() }),
    }
}

fn present(
    builder: ConfigBuilder<ClientConfig, WantsClientCert>,
    identity: Option<&Material>,
) -> ClientConfig {
    match identity {
        Some(identity) => {
            let own = SingleCertAndKey::from(identity.key.as_ref().clone());
            builder.with_client_cert_resolver(Arc::new(own))
        }
        None => builder.with_no_client_auth(),
    }
}

fn harden(mut config: ClientConfig) -> ClientConfig {
    config.resumption = Resumption::disabled();
    config.enable_early_data = false;
    config.cert_compressors = Vec::new();
    config.cert_decompressors = Vec::new();
    config.cert_compression_cache = Arc::new(rustls::compress::CompressionCache::Disabled);
    config
}
