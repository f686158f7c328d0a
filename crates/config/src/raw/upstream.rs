//! Keys of a service's `upstream`.

use portcullis_core::Millis;

use super::FilePath;
use super::gateway::RawCertificate;
use super::values::HeaderName;
use crate::plan::{CertificateName, Endpoint, Protocol};
use crate::yaml::{Count, Many, Text, section};

section! {
    /// Where a service runs and how it is reached. `tls` is required except for unix sockets.
    RawUpstream {
        /// Addresses such as `10.0.0.7:8443`, or `unix:/run/orders.sock`.
        endpoints: Many<Endpoint> [required],
        /// TLS towards the service.
        tls: RawUpstreamTls [],
        /// The one word `loopback-in-own-namespace` says that the endpoints are on loopback and that no other
        /// workload shares their network namespace.
        plaintext: RawPlaintext [],
        /// `http1` or `http2`.
        protocol: Protocol [= "http1"],
        /// How an endpoint is picked.
        balance: RawBalance [section],
        /// Time limits, in order: connect < per_try < request.
        timeouts: RawUpstreamTimeouts [section],
        /// Connections that are kept.
        pool: RawPool [section],
        /// Active health checks. Left out, there are none.
        health: RawHealth [],
    }
}

/// The caveat of a plaintext upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RawPlaintext {
    LoopbackInOwnNamespace,
}

/// Whether the edge shows a certificate to a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RawMutual {
    Required,
    ServerOnly,
}

/// How an endpoint is picked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RawPolicy {
    RoundRobin,
    LeastRequest,
    ConsistentHash,
}

/// What a consistent hash is taken of, if not a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RawHashBy {
    User,
    Source,
    Header,
}

crate::yaml::read_words! {
    RawPlaintext { "loopback-in-own-namespace" => Self::LoopbackInOwnNamespace, }
    RawMutual { "required" => Self::Required, "server-only" => Self::ServerOnly, }
    RawPolicy {
        "round-robin" => Self::RoundRobin, "least-request" => Self::LeastRequest,
        "consistent-hash" => Self::ConsistentHash,
    }
    RawHashBy { "user" => Self::User, "source" => Self::Source, "header" => Self::Header, }
}

section! {
    /// TLS towards a service.
    RawUpstreamTls {
        /// Root certificates of the service's authority, PEM.
        roots: FilePath [required],
        /// The SPIFFE id or DNS name that the service's certificate must have.
        expect: CertificateName [required],
        /// The edge's own certificate towards the service.
        identity: RawCertificate [],
        /// `required`, or `server-only` for a service of others that cannot check a client certificate.
        mutual: RawMutual [= "required"],
    }
}

section! {
    /// How an endpoint is picked.
    RawBalance {
        /// `round-robin`, `least-request` or `consistent-hash`.
        policy: RawPolicy [= "least-request"],
        /// For `consistent-hash`: `user`, `source` or `header`.
        by: RawHashBy [],
        /// For `by: header`: which.
        header: HeaderName [],
    }
}

section! {
    /// Time limits towards a service.
    RawUpstreamTimeouts {
        /// TCP and TLS.
        connect: Millis [= "1s"],
        /// From the sent request to the head of the answer, for one try.
        per_try: Millis [= "10s"],
        /// From the routed request to the head of the answer, tries included.
        request: Millis [= "15s"],
    }
}

section! {
    /// Connections that are kept, for each worker and endpoint.
    RawPool {
        /// Idle connections. The newest is used first, so those beyond the need of a minute close by `idle_for`; a
        /// number below the usual load makes every burst open, and close again, connections that it had.
        idle: u32 [= "256"],
        /// An idle connection is closed after this time.
        idle_for: Millis [= "60s"],
        /// Connections in all.
        connections: Count [= "256"],
        /// Requests in flight towards one endpoint, process-wide.
        in_flight: Count [= "1000"],
    }
}

section! {
    /// Active health checks.
    RawHealth {
        /// A path that answers GET with 200 to 299.
        path: Text [required],
        /// How often.
        every: Millis [= "10s"],
        /// How long an answer may take.
        timeout: Millis [= "2s"],
        /// Good answers in a row that bring an endpoint back.
        healthy_after: Count [= "2"],
        /// Bad answers in a row that take it out.
        unhealthy_after: Count [= "3"],
    }
}
