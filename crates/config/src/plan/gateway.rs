//! The edge listener: addresses, TLS, and the limits that hold before anybody is identified.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::num::NonZeroU16;
use std::sync::Arc;

use ipnet::IpNet;
use portcullis_core::{Assurance, ByteSize, Millis, Name, Rate};
use serde::{Deserialize, Serialize};

use super::{CertificateName, Inlined, Secret};

/// The edge listener.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Gateway {
    /// Where to listen; at least one.
    pub listen: Vec<SocketAddr>,
    /// Threads of the data plane; none means one per core.
    pub workers: Option<NonZeroU16>,
    /// The oldest TLS version accepted.
    pub tls_minimum: TlsMinimum,
    /// Server certificates, picked by SNI; the first is used where none fits. At least one.
    pub certificates: Vec<Certificate>,
    /// Client certificates.
    pub client_certificates: ClientCertificates,
    /// Peers that must start each connection with a PROXY protocol v2 header.
    pub proxy_protocol: Vec<IpNet>,
    /// Peers whose `Forwarded` is believed; empty by default (B11).
    pub trusted_proxies: Vec<IpNet>,
    /// Sizes of heads and bodies.
    pub limits: HttpLimits,
    /// Time and pace.
    pub timeouts: HttpTimeouts,
    /// Connections and failures by source.
    pub connections: ConnectionLimits,
    /// HTTP/2 flood limits.
    pub http2: Http2Limits,
    /// Long-lived answers.
    pub streams: StreamLimits,
    /// The internal token that a service receives.
    pub internal_tokens: InternalTokens,
}

/// The oldest TLS version accepted at the edge. Older ones cannot be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TlsMinimum {
    /// TLS 1.2 with AEAD and ECDHE only.
    Tls12,
    /// TLS 1.3.
    Tls13,
}

/// A certificate chain and its private key, both PEM.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Certificate {
    /// Leaf first.
    pub chain: Inlined,
    /// PEM of the private key.
    pub key: Secret,
}

/// How the edge treats client certificates.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ClientCertificates {
    /// Whether one is asked for.
    pub mode: ClientMode,
    /// Who may issue them; empty only when the mode is off.
    pub authorities: Vec<ClientAuthority>,
}

/// Whether a client certificate is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ClientMode {
    /// Not asked for.
    Off,
    /// Asked for, and checked when given.
    Optional,
    /// No connection without one.
    Required,
}

/// A private certificate authority whose clients are admitted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ClientAuthority {
    /// The issuer name of principals that it vouches for.
    pub name: Name,
    /// Root certificates, PEM.
    pub roots: Inlined,
    /// How sure it is of its clients.
    pub assurance: Assurance,
    /// The clients that are admitted as callers; a certificate with another name identifies nobody, but still
    /// binds a token that names it (RFC 8705).
    pub callers: Vec<ClientCaller>,
}

/// A caller known by its certificate.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ClientCaller {
    /// The subject alternative name that it must have.
    pub certificate: CertificateName,
    /// Scopes that it is given.
    pub scopes: BTreeSet<Arc<str>>,
    /// Roles that it is given.
    pub roles: BTreeSet<Arc<str>>,
}

/// Sizes of heads and bodies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HttpLimits {
    /// The whole head: request line and headers.
    pub head: ByteSize,
    /// The request target.
    pub target: ByteSize,
    /// Header fields, each cookie crumb counted (E5).
    pub header_count: u32,
    /// One header field, name and value.
    pub header: ByteSize,
    /// A request body, where the route does not say.
    pub body: ByteSize,
    /// All trailers of a message together.
    pub trailers: ByteSize,
    /// Trailer fields of a message.
    pub trailer_count: u32,
    /// Requests in flight in the whole process; slots of the record equal this.
    pub in_flight: u32,
}

/// Time and pace, each for one phase (E8).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HttpTimeouts {
    /// The TLS handshake, PROXY header included.
    pub handshake: Millis,
    /// From the first byte of a head to its last.
    pub head: Millis,
    /// Between two requests on a connection.
    pub idle: Millis,
    /// Between two reads of a body.
    pub body_stall: Millis,
    /// The least pace of a body in bytes per second, both ways, after `body_grace`.
    pub body_least_rate: ByteSize,
    /// How long a body may be slower than its least pace.
    pub body_grace: Millis,
    /// How long a peer may take nothing of what we write.
    pub write_stall: Millis,
    /// How long open requests may go on when the process drains.
    pub drain: Millis,
}

/// Connections and failures, in all and by source.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConnectionLimits {
    /// Connections in the whole process.
    pub total: u32,
    /// Connections from one source address (IPv4) or /64 (IPv6).
    pub per_source: u32,
    /// Handshakes from one source that are not finished.
    pub handshakes_per_source: u32,
    /// Failed signature checks from one source before its tokens are refused unseen.
    pub invalid_tokens_per_source: Rate,
    /// Early refusals that get a record each, in a second on a core; beyond that they are counted together, by network.
    pub refusals_recorded: u32,
    /// Verified tokens that are remembered, in the whole process.
    pub token_cache: u32,
}

/// HTTP/2 flood limits, each in a window (E1-E5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Http2Limits {
    /// Streams open at a time on a connection.
    pub max_streams: u32,
    /// The span over which frames are counted.
    pub window: Millis,
    /// RST_STREAM frames received in a window (E1).
    pub resets: u32,
    /// RST_STREAM frames received in the life of a connection (E1).
    pub lifetime_resets: u32,
    /// RST_STREAM frames that we were made to send in the life of a connection (E3).
    pub emitted_resets: u32,
    /// CONTINUATION frames of one head (E2).
    pub continuations: u32,
    /// PING frames in a window (E4).
    pub pings: u32,
    /// SETTINGS frames in a window (E4).
    pub settings: u32,
    /// DATA frames without data in a window (E4).
    pub empty_data: u32,
    /// PRIORITY frames in a window (E4).
    pub priorities: u32,
    /// WINDOW_UPDATE frames in a window (E4).
    pub window_updates: u32,
    /// The dynamic table of HPACK (E5).
    pub header_table: ByteSize,
    /// The receive window of one stream.
    pub stream_window: ByteSize,
    /// The receive window of a connection.
    pub connection_window: ByteSize,
}

/// Long-lived answers: WebSocket, server-sent events, gRPC streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamLimits {
    /// A stream without a byte in either direction ends.
    pub idle: Millis,
    /// A stream of this age ends.
    pub max_age: Millis,
}

/// The internal token that a service receives in place of the caller's credentials.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InternalTokens {
    /// At most 30 seconds.
    pub lifetime: Millis,
}
