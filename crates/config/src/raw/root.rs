//! The top of the file.

use portcullis_core::{Name, TrustDomain};

use super::FilePath;
use super::gateway::RawGateway;
use super::identify::{RawApiKeys, RawIssuer};
use super::operate::{RawAdmin, RawAlerts, RawAudit, RawCa, RawMetrics, RawState};
use super::service::{RawService, RawUsagePlan};
use crate::plan::StdoutLog;
use crate::yaml::{At, Table, section};

section! {
    /// The configuration of Portcullis.
    RawRoot {
        /// Which environment this is: `production`, `staging`, `test`, `development` or a name of your own. Each
        /// has its own trust domain, issuers and keys.
        environment: Name [required "SS028-11.1.7a"],
        /// The SPIFFE trust domain of this environment's workloads, such as `shop.example`.
        trust_domain: TrustDomain [required "SS028-11.1.7a"],
        /// Where state is kept.
        state: RawState [section],
        /// The authority that certifies workloads. Left out, there is none.
        ca: RawCa [],
        /// How the product itself is administered.
        admin: RawAdmin [section],
        /// The edge listener.
        gateway: RawGateway [required],
        /// Who may issue access tokens.
        issuers: Vec<At<RawIssuer>> [],
        /// API keys. Left out, there are none.
        api_keys: RawApiKeys [],
        /// Usage plans by name. Each route has one.
        plans: Table<RawUsagePlan> [],
        /// Cedar files that hold for every route.
        policies: Vec<At<FilePath>> [],
        /// The services behind the gateway.
        services: Vec<At<RawService>> [required],
        /// Where alerts go, and when.
        alerts: RawAlerts [section],
        /// The audit log.
        audit: RawAudit [section],
        /// Where metrics are offered.
        metrics: RawMetrics [section],
        /// What is written to standard output: `json` (an event on each line) or `off`.
        stdout_log: StdoutLog [= "json"],
    }
}
