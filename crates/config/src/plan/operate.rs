//! How the product itself is run: state, administration, alerts, audit, metrics.

use std::net::SocketAddr;
use std::sync::Arc;

use portcullis_core::{ByteSize, Millis, Rate};
use serde::{Deserialize, Serialize};

use super::{Certificate, CertificateName, Inlined, Secret, Url};

/// Where state is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// A directory that only our user can read; relative to the root file's directory unless absolute.
    pub directory: Arc<str>,
}

/// The authority that certifies workloads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ca {
    /// Seals its private keys.
    pub seal: Secret,
}

/// How the product is administered (F1).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Admin {
    /// The unix socket.
    pub socket: Arc<str>,
    /// User ids that may use the socket beside our own; peer credentials are checked.
    pub uids: Vec<u32>,
    /// A listener with mutual TLS, if there is one.
    pub listener: Option<AdminListener>,
}

/// Administration over mutual TLS.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AdminListener {
    /// Where.
    pub address: SocketAddr,
    /// Our certificate.
    pub certificate: Certificate,
    /// Who issues the administrators' certificates, PEM.
    pub roots: Inlined,
    /// Which certificates; at least one.
    pub names: Vec<CertificateName>,
}

/// Where alerts go, and when (SS028-11.1.5b).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Alerts {
    /// Addresses of Alertmanager's v2 API.
    pub alertmanager: Vec<Url>,
    /// A webhook, if there is one.
    pub webhook: Option<Webhook>,
    /// Root certificates for both, PEM; none means those of the system.
    pub roots: Option<Inlined>,
    /// When.
    pub rules: AlertRules,
}

/// A webhook that is told of alerts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Webhook {
    /// Where.
    pub url: Url,
    /// Sent as a bearer token.
    pub token: Option<Secret>,
}

/// Thresholds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct AlertRules {
    /// More failed authentications than this.
    pub authentication_failures: Rate,
    /// More refusals than this.
    pub refusals: Rate,
    /// More refusals of the head guard than this.
    pub guard_refusals: Rate,
    /// A sink that is this far behind.
    pub sink_behind: Millis,
    /// A certificate that ends within this time.
    pub certificate_expiry: Millis,
    /// A clock that is off by this much.
    pub clock_offset: Millis,
}

/// The audit log.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Audit {
    /// Records older than this are deleted, their proofs kept.
    pub keep_for: Millis,
    /// Beyond this size the oldest segments go.
    pub keep_size: ByteSize,
    /// A segment is sealed at this size.
    pub segment: ByteSize,
    /// Signs checkpoints, PEM; none means a key that is made in the state directory.
    pub key: Option<Secret>,
    /// When records are on disk.
    pub durability: Durability,
}

/// When records are on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Durability {
    /// Together, at least this often; at most 50 ms is lost in a crash.
    Group(Millis),
    /// Each before its effect.
    Each,
}

/// Where metrics are offered, beside the admin socket.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Metrics {
    /// A loopback address, if there is one.
    pub listen: Option<SocketAddr>,
}

/// What is written to standard output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StdoutLog {
    /// Nothing.
    Off,
    /// Each event as a line of JSON.
    Json,
}
