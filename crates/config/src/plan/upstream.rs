//! Where a service runs and how it is reached.

use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::sync::Arc;

use portcullis_core::Millis;
use serde::{Deserialize, Serialize};

use super::{Certificate, CertificateName, Inlined};

/// Where a service runs and how it is reached.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Upstream {
    /// At least one; no doubles.
    pub endpoints: Vec<Endpoint>,
    /// What protects the connection.
    pub transport: Transport,
    /// What is spoken on it.
    pub protocol: Protocol,
    /// How an endpoint is picked.
    pub balance: Balance,
    /// In order: connect < per try < request.
    pub timeouts: UpstreamTimeouts,
    /// Connections that are kept.
    pub pool: Pool,
    /// Active checks, if wanted.
    pub health: Option<HealthCheck>,
}

/// One address of a service.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Endpoint {
    /// TCP.
    Address(SocketAddr),
    /// A unix socket, an absolute path.
    Unix(Arc<str>),
}

/// What protects a connection to a service.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Transport {
    /// TLS 1.3, the peer verified.
    Tls(UpstreamTls),
    /// Nothing: a unix socket, or loopback with the caveat written out.
    Plaintext,
}

/// TLS towards a service.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct UpstreamTls {
    /// Who issues the service's certificates, PEM.
    pub roots: Inlined,
    /// What the peer's certificate must say (D7).
    pub expect: CertificateName,
    /// The edge's own identity, for mutual authentication.
    pub identity: Identity,
}

/// The edge's own identity towards a service.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Identity {
    /// None: only the service is authenticated.
    Absent,
    /// A certificate and key.
    Certificate(Certificate),
}

/// What is spoken to a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Protocol {
    /// HTTP/1.1.
    Http1,
    /// HTTP/2, by ALPN or prior knowledge.
    Http2,
}

/// How an endpoint is picked.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Balance {
    /// One after another.
    RoundRobin,
    /// The less busy of two random ones.
    LeastRequest,
    /// By a header of the request, lower case.
    HashHeader(Arc<str>),
    /// By the caller's issuer and subject.
    HashUser,
    /// By the caller's address.
    HashSource,
}

/// Time limits towards a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UpstreamTimeouts {
    /// TCP and TLS.
    pub connect: Millis,
    /// From the sent request to the head of the answer, for one try.
    pub per_try: Millis,
    /// From the routed request to the head of the answer, tries included.
    pub request: Millis,
}

/// Connections that are kept, for each worker and endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pool {
    /// Idle HTTP/1.1 connections.
    pub idle: u32,
    /// An idle connection is closed after this time.
    pub idle_for: Millis,
    /// Connections in all; HTTP/2 opens another when the first is full.
    pub connections: NonZeroU32,
    /// Requests in flight towards one endpoint, process-wide.
    pub in_flight: NonZeroU32,
}

/// Active health checks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HealthCheck {
    /// A normal path, asked with GET; 200-299 is healthy.
    pub path: Arc<str>,
    /// How often.
    pub every: Millis,
    /// How long an answer may take; shorter than `every`.
    pub timeout: Millis,
    /// Good answers in a row that bring an endpoint back.
    pub healthy_after: u32,
    /// Bad answers in a row that take it out.
    pub unhealthy_after: u32,
}
