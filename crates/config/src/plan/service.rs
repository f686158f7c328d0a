//! Services and their routes.

use std::collections::BTreeSet;
use std::sync::Arc;

use portcullis_core::{ByteSize, Location, Millis, Name};
use serde::{Deserialize, Serialize};

use super::{Access, Host, Inlined, Method, Origin, Procedure, RouteTemplate, Upstream};

/// A service behind the gateway.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Service {
    /// Unique.
    pub name: Name,
    /// The team that answers for it.
    pub owner: Arc<str>,
    /// The least sensitivity of its routes.
    pub sensitivity: Sensitivity,
    /// Its one security context (SS028-11.1.11).
    pub context: Name,
    /// Its OpenAPI contract.
    pub contract: Option<Contract>,
    /// Authorities that it answers under; empty means every one.
    pub hosts: Vec<Host>,
    /// Where it runs.
    pub upstream: Upstream,
    /// In the order of the file.
    pub routes: Vec<Route>,
    /// Where it is written.
    #[serde(serialize_with = "crate::crossing::place")]
    pub at: Location,
}

/// How much harm misuse would do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Sensitivity {
    /// Public or nearly so.
    Low,
    /// Ordinary.
    Medium,
    /// Sender-constrained credentials only, records before effect.
    High,
}

/// A service's OpenAPI document.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Contract {
    /// The document, YAML or JSON.
    pub document: Inlined,
    /// What a request outside it meets.
    pub mode: ContractMode,
}

/// What a request outside the contract meets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ContractMode {
    /// Nothing: not checked.
    Off,
    /// An event.
    Report,
    /// A refusal.
    Enforce,
}

/// A route: some methods of a path template.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Route {
    /// Unique over all services: as written, or made from the service, the methods and the template.
    pub id: Name,
    /// The paths.
    pub template: RouteTemplate,
    /// The methods; at least one.
    pub methods: BTreeSet<Method>,
    /// At least that of the service.
    pub sensitivity: Sensitivity,
    /// The name of a plan in [`crate::Plan::plans`].
    pub plan: Name,
    /// Who may call it.
    pub access: Access,
    /// The stored procedure behind it.
    pub procedure: Option<Procedure>,
    /// The largest request body.
    pub body: ByteSize,
    /// Time for the answer.
    pub timeouts: RouteTimeouts,
    /// How the path reaches the service.
    pub rewrite: Option<Rewrite>,
    /// Headers set and removed.
    pub headers: HeaderEdits,
    /// Whether it may become a WebSocket.
    pub websocket: WebSocket,
    /// Whether the contract is checked; `off` when the service has none.
    pub contract: ContractMode,
    /// What a record may show of the request.
    pub record: Recorded,
    /// Which browsers' pages may call it; none means no page of another origin.
    pub cors: Option<Cors>,
    /// Where it is written.
    #[serde(serialize_with = "crate::crossing::place")]
    pub at: Location,
}

/// Time for the answer; `per_try` is shorter than `request`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RouteTimeouts {
    /// From the sent request to the head of the answer, for one try.
    pub per_try: Millis,
    /// From the routed request to the head of the answer, tries included.
    pub request: Millis,
}

/// Replaces the beginning of the path. The result is a normal path by construction.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rewrite {
    /// A normal path without a trailing slash, the leading segments of the template; empty for the root.
    pub prefix: Arc<str>,
    /// A normal path without a trailing slash; empty for the root.
    pub to: Arc<str>,
}

/// Headers set and removed, in both directions. Names are lower case, and none frames or identifies.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeaderEdits {
    /// Towards the service.
    pub request: HeaderEdit,
    /// Towards the caller.
    pub response: HeaderEdit,
}

/// Headers set and removed in one direction.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeaderEdit {
    /// Name and value, sorted by name.
    pub set: Vec<(Arc<str>, Arc<str>)>,
    /// Names, sorted.
    pub remove: Vec<Arc<str>>,
}

/// Whether a route may become a WebSocket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum WebSocket {
    /// An upgrade is refused.
    Refused,
    /// An upgrade is passed on, after the permit.
    Allowed,
}

/// What a record may show of a request; nothing by default (SS028-11.6.2d).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recorded {
    /// Parameters of the template.
    pub path_params: BTreeSet<Arc<str>>,
    /// Parameters of the query.
    pub query: BTreeSet<Arc<str>>,
}

/// Cross-origin rules of a route; the preflight is answered at the edge.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cors {
    /// Whose pages.
    pub origins: AllowedOrigins,
    /// Request headers beyond the safelisted ones, lower case.
    pub headers: BTreeSet<Arc<str>>,
    /// Answer headers that a page may read, lower case.
    pub expose: BTreeSet<Arc<str>>,
    /// Whether cookies and client certificates may come along; never with every origin.
    pub credentials: Credentials,
    /// How long a browser may remember the preflight.
    pub max_age: Millis,
}

/// Whose pages may call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AllowedOrigins {
    /// Every page (`*`).
    Every,
    /// Pages of these origins; at least one.
    Listed(BTreeSet<Origin>),
}

/// Whether a page's call may carry credentials.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Credentials {
    /// No.
    Omitted,
    /// Yes.
    Included,
}
