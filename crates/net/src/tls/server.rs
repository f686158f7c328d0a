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
use rustls::RootCertStore;
use rustls::ServerConfig;
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{Acceptor, NoServerSessionStorage, ServerSessionMemoryCache, WebPkiClientVerifier};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::time::{Instant, timeout_at};
use tokio_rustls::LazyConfigAcceptor;

use super::book::Book;
use super::client::Roots;
use super::facts::Asked;
use super::material::Material;
use super::provider::{WallClock, provider, versions};
use super::{
    CertificateSource, ConnectionFacts, HandshakeFault, ServedCertificate, TlsError, TlsVersion, TlsVersions,
};
use crate::Protocol;

/// A stream after the handshake.
pub type ServerStream<S> = tokio_rustls::server::TlsStream<S>;

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

/// Whether callers are asked for certificates, and which roots vouch for them.
#[derive(Clone, Copy, Debug)]
pub enum ClientAuth<'a> {
    /// Not asked.
    Off,
    /// Asked, and verified if one comes. A bad one ends the handshake.
    Optional {
        /// Trust anchors.
        roots_pem: &'a [u8],
    },
    /// No certificate, no connection.
    Required {
        /// Trust anchors.
        roots_pem: &'a [u8],
    },
}

/// A listener's TLS.
#[derive(Debug)]
pub struct ServerTls {
    pub(super) config: Arc<ServerConfig>,
    book: Arc<Book>,
    asked: Asked,
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
        let (verifier, asked) = client_verifier(source.client_auth)?;
        let config = ServerConfig::builder_with_details(provider(), Arc::new(WallClock(Arc::clone(clock))))
            .with_protocol_versions(versions(source.versions))
            .map_err(TlsError::Settings)?
            .with_client_cert_verifier(verifier)
            .with_cert_resolver(Arc::clone(&book) as _);
        Ok(Self { config: Arc::new(harden(config, asked)), book, asked })
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
        let mut start =
            LazyConfigAcceptor::new(Acceptor::default(), stream).await.map_err(HandshakeFault::of)?;
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
            served,
            asked: self.asked,
        }
    }
}

fn client_verifier(auth: ClientAuth<'_>) -> Result<(Arc<dyn ClientCertVerifier>, Asked), TlsError> {
    let build = |roots: Arc<RootCertStore>| WebPkiClientVerifier::builder_with_provider(roots, provider());
    let verifier = match auth {
        ClientAuth::Off => return Ok((WebPkiClientVerifier::no_client_auth(), Asked::Nothing)),
        ClientAuth::Optional { roots_pem } => {
            build(Roots::from_pem(roots_pem)?.0).allow_unauthenticated().build()
        }
        ClientAuth::Required { roots_pem } => build(Roots::from_pem(roots_pem)?.0).build(),
    };
    Ok((verifier.map_err(|_| TlsError::Roots)?, Asked::Certificate))
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
