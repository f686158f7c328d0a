//! The server's side: built from files, asserted by test, swapped on reload.
//!
//! INVARIANT: a caller that names a server we have no certificate for gets `unrecognized_name` and nothing else (D1).
//! INVARIANT: where client certificates are asked for there are no tickets and no sessions: rustls would restore the old
//! chain without verifying it again (D2).
//!
//! Not here: caps on handshakes (`listen`).
//!
//! Sources: RFC 8446 §4.2.11, §6.2; RFC 6066 §3; RFC 7301; threats D1, D2, D8, E8.

use std::sync::Arc;

use portcullis_core::Clock;
use rustls::ServerConfig;
use rustls::pki_types::CertificateDer;
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{Acceptor, NoServerSessionStorage, ServerSessionMemoryCache, WebPkiClientVerifier};
use rustls::time_provider::TimeProvider as _;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::time::{Instant, timeout_at};
use tokio_rustls::LazyConfigAcceptor;

use super::authorities::{Authorities, Demand};
use super::book::Book;
use super::facts::Asked;
use super::material::Material;
use super::provider::{WallClock, provider, versions};
use super::{
    CertificateSource, ConnectionFacts, HandshakeFault, ReadAhead, ServedCertificate, TlsError, TlsVersion,
    TlsVersions,
};
use crate::Protocol;

/// A stream after the handshake.
pub type ServerStream<S> = tokio_rustls::server::TlsStream<ReadAhead<S>>;

/// Sessions that a listener without client certificates remembers.
const SESSIONS: usize = 1024;

/// Fatal, `unrecognized_name` (RFC 6066 §3), in a plaintext record: nothing is encrypted before ServerHello.
const UNRECOGNISED_NAME: [u8; 7] = [0x15, 0x03, 0x03, 0x00, 0x02, 0x02, 0x70];

/// What a listener's TLS is built from.
#[derive(Clone, Debug)]
pub struct ServerTlsSource<'a> {
    /// At least one; the first answers callers that name no server.
    pub certificates: Vec<CertificateSource<'a>>,
    /// Whether callers are asked for certificates.
    pub client_auth: ClientAuth<'a>,
    /// What is spoken.
    pub versions: TlsVersions,
}

/// Whether callers are asked for certificates, and which authorities vouch for them: the roots of each, PEM.
#[derive(Clone, Copy, Debug)]
pub enum ClientAuth<'a> {
    /// Not asked.
    Off,
    /// Asked, and verified if one comes. A bad one ends the handshake.
    Optional {
        /// At least one.
        authorities: &'a [&'a [u8]],
    },
    /// No certificate, no connection.
    Required {
        /// At least one.
        authorities: &'a [&'a [u8]],
    },
}

/// A listener's TLS.
#[derive(Debug)]
pub struct ServerTls {
    pub(super) config: Arc<ServerConfig>,
    book: Arc<Book>,
    authorities: Option<Arc<Authorities>>,
    clock: Arc<WallClock>,
}

/// A connection after its handshake.
#[derive(Debug)]
pub struct Accepted<S> {
    /// The bytes.
    pub stream: ServerStream<S>,
    /// What was proved.
    pub facts: ConnectionFacts,
}

impl ServerTls {
    /// Checks everything and builds.
    ///
    /// # Errors
    /// A certificate, key or root that cannot be relied on.
    pub fn build(source: &ServerTlsSource<'_>, clock: &Arc<dyn Clock>) -> Result<Self, TlsError> {
        let now = clock.now().wall;
        let read =
            |(position, source): (usize, &CertificateSource<'_>)| Material::read(*source, position, now);
        let materials = source.certificates.iter().enumerate().map(read).collect::<Result<Vec<_>, _>>()?;
        if materials.is_empty() {
            return Err(TlsError::NoCertificate);
        }
        let book = Arc::new(Book::new(materials)?);
        let authorities = authorities(source.client_auth)?;
        let asked = asked(authorities.as_ref());
        let clock = Arc::new(WallClock(Arc::clone(clock)));
        let config = ServerConfig::builder_with_details(provider(), Arc::clone(&clock) as _)
            .with_protocol_versions(versions(source.versions))
            .map_err(TlsError::Settings)?
            .with_client_cert_verifier(verifier(authorities.as_ref()))
            .with_cert_resolver(Arc::clone(&book) as _);
        let config = Arc::new(harden(config, asked));
        Ok(Self { config, book, authorities, clock })
    }

    /// The same, offering this protocol alone.
    #[must_use]
    pub fn speaking_only(self, protocol: Protocol) -> Self {
        let mut config = ServerConfig::clone(&self.config);
        config.alpn_protocols = vec![protocol.alpn().to_vec()];
        Self { config: Arc::new(config), ..self }
    }

    /// Shakes hands, within `deadline` as a whole.
    ///
    /// # Errors
    /// See [`HandshakeFault`].
    pub async fn accept<S>(&self, stream: S, deadline: Instant) -> Result<Accepted<S>, HandshakeFault>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        // SECURITY: one deadline from the first byte to the last; no state of the handshake restarts it (D8, E8).
        timeout_at(deadline, self.shake(stream)).await.unwrap_or(Err(HandshakeFault::Timeout))
    }

    /// The certificates, in the order given: for the alert before they run out.
    pub fn certificates(&self) -> impl Iterator<Item = &ServedCertificate> {
        self.book.certificates().map(Arc::as_ref)
    }

    async fn shake<S>(&self, stream: S) -> Result<Accepted<S>, HandshakeFault>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let mut start = LazyConfigAcceptor::new(Acceptor::default(), ReadAhead::new(stream))
            .await
            .map_err(HandshakeFault::of)?;
        let sni = start.client_hello().server_name().map(|name| name.to_ascii_lowercase().into_boxed_str());
        let Some(served) = self.book.find(sni.as_deref()).map(|found| Arc::clone(&found.served)) else {
            // The refusal stands whether or not the alert arrives.
            let _ = start.io.write_all(&UNRECOGNISED_NAME).await;
            return Err(HandshakeFault::UnknownName(sni.unwrap_or_default()));
        };
        let stream = start.into_stream(Arc::clone(&self.config)).await.map_err(HandshakeFault::of)?;
        let facts = self.facts(&stream, sni, served);
        Ok(Accepted { stream, facts })
    }

    fn facts<S>(
        &self,
        stream: &ServerStream<S>,
        sni: Option<Box<str>>,
        served: Arc<ServedCertificate>,
    ) -> ConnectionFacts {
        let (_, connection) = stream.get_ref();
        ConnectionFacts {
            sni,
            protocol: Protocol::from_alpn(connection.alpn_protocol()),
            version: match connection.protocol_version() {
                Some(rustls::ProtocolVersion::TLSv1_3) => TlsVersion::Tls13,
                _ => TlsVersion::Tls12,
            },
            peer: connection.peer_certificates().map(Into::into),
            authority: connection.peer_certificates().and_then(|chain| self.authority(chain)),
            served,
            asked: asked(self.authorities.as_ref()),
        }
    }

    fn authority(&self, chain: &[CertificateDer<'_>]) -> Option<usize> {
        self.authorities.as_ref()?.which(chain, self.clock.current_time()?)
    }
}

fn authorities(auth: ClientAuth<'_>) -> Result<Option<Arc<Authorities>>, TlsError> {
    let (roots, demand) = match auth {
        ClientAuth::Off => return Ok(None),
        ClientAuth::Optional { authorities } => (authorities, Demand::Asked),
        ClientAuth::Required { authorities } => (authorities, Demand::Required),
    };
    Authorities::read(roots, demand).map(|read| Some(Arc::new(read)))
}

fn asked(authorities: Option<&Arc<Authorities>>) -> Asked {
    authorities.map_or(Asked::Nothing, |_| Asked::Certificate)
}

fn verifier(authorities: Option<&Arc<Authorities>>) -> Arc<dyn ClientCertVerifier> {
    match authorities {
        Some(authorities) => Arc::clone(authorities) as _,
        None => WebPkiClientVerifier::no_client_auth(),
    }
}

fn harden(mut config: ServerConfig, asked: Asked) -> ServerConfig {
    config.alpn_protocols = vec![Protocol::Http2.alpn().to_vec(), Protocol::Http1.alpn().to_vec()];
    config.max_early_data_size = 0;
    config.send_half_rtt_data = false;
    config.cert_compressors = Vec::new();
    config.cert_decompressors = Vec::new();
    config.cert_compression_cache = Arc::new(rustls::compress::CompressionCache::Disabled);
    match asked {
        Asked::Nothing => {
            config.session_storage = ServerSessionMemoryCache::new(SESSIONS);
            config.send_tls13_tickets = 1;
        }
        Asked::Certificate => {
            config.session_storage = Arc::new(NoServerSessionStorage {});
            config.send_tls13_tickets = 0;
        }
    }
    config
}
