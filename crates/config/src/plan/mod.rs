//! The checked configuration: what every other room reads.
//!
//! A [`Plan`] holds the contents of every file that the configuration names, so a process that has one needs no
//! file. It crosses to the edge as a signed generation through [`crate::crossing`].
//!
//! INVARIANT: a plan comes from [`crate::load`] or from an opened crossing, and all cross-checks hold in it:
//! every name that is referred to exists, times are in order, and no setting breaks a clause.
//! INVARIANT: no map in a plan is keyed by what a person chose, and nothing in it is unordered, so that equal
//! plans serialise to equal bytes.
//!
//! Not here: how a plan is made (`check`), what it compiles to (`portcullis-snapshot`).

mod access;
mod gateway;
mod identify;
mod names;
mod operate;
mod secret;
mod service;
mod template;
mod upstream;

use portcullis_core::TrustDomain;
use serde::{Deserialize, Serialize};

pub use access::{Access, Procedure, Rules, UsagePlan};
pub use gateway::{
    Certificate, ClientAuthority, ClientCaller, ClientCertificates, ClientMode, ConnectionLimits, Gateway,
    Http2Limits, HttpLimits, HttpTimeouts, InternalTokens, StreamLimits, TlsMinimum,
};
pub use identify::{Algorithm, ApiKey, ApiKeys, ClaimType, Issuer, KeySource, Loopback, TokenProfile};
pub use names::{
    CertificateName, DEMO_TRUST_DOMAIN, Environment, Host, Inlined, Method, NameError, Origin, Url,
};
pub use operate::{
    Admin, AdminListener, AlertRules, Alerts, Audit, Ca, Durability, Metrics, State, StdoutLog, Webhook,
};
pub use secret::{Digest, Secret};
pub use service::{
    AllowedOrigins, Contract, ContractMode, Cors, Credentials, HeaderEdit, HeaderEdits, Recorded, Rewrite,
    Route, RouteTimeouts, Sensitivity, Service, WebSocket,
};
pub use template::{RouteTemplate, Segment, TemplateFault};
pub use upstream::{
    Balance, Endpoint, HealthCheck, Identity, Pool, Protocol, Transport, Upstream, UpstreamTimeouts,
    UpstreamTls,
};

/// Everything that was configured, checked.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Plan {
    /// Which environment this is; another one has another trust domain, issuer and keys (SS028-11.1.7a).
    pub environment: Environment,
    /// The SPIFFE trust domain of the workloads here.
    pub trust_domain: TrustDomain,
    /// Where state is kept.
    pub state: State,
    /// The authority that certifies workloads, if there is one.
    // SECURITY: never serialised, so that it cannot cross to a data plane: what opens the keys of the authority must not be
    // where strangers' bytes are parsed (SS028-11.1.11).
    #[serde(skip)]
    pub ca: Option<Ca>,
    /// How the product itself is administered.
    pub admin: Admin,
    /// The edge listener.
    pub gateway: Gateway,
    /// Who may issue tokens, in the order of the file.
    pub issuers: Vec<Issuer>,
    /// API keys, if there are any.
    pub api_keys: Option<ApiKeys>,
    /// Usage plans, sorted by name.
    pub plans: Vec<UsagePlan>,
    /// Every Cedar file that is shared or named by a route, once each, sorted by file name.
    pub policies: Vec<Inlined>,
    /// The services, in the order of the file.
    pub services: Vec<Service>,
    /// Where alerts go, and when.
    pub alerts: Alerts,
    /// The audit log.
    pub audit: Audit,
    /// Where metrics are offered.
    pub metrics: Metrics,
    /// What is written to standard output.
    pub stdout_log: StdoutLog,
}
