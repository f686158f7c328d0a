//! Who may call a route, and how often.

use std::collections::BTreeSet;
use std::sync::Arc;

use portcullis_core::{Name, Rate};
use serde::{Deserialize, Serialize};

/// Who may call a route.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Access {
    /// Anybody, without credentials: written out as `access: public`, never a default.
    Public,
    /// Callers that every part of the rules admits.
    Ruled(Rules),
}

/// What a caller must satisfy; every part that is not empty must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rules {
    /// Names of files in [`crate::Plan::policies`]: Cedar must permit.
    pub policies: Vec<Arc<str>>,
    /// All of these scopes.
    pub all_scopes: BTreeSet<Arc<str>>,
    /// At least one of these scopes, unless there are none.
    pub any_scopes: BTreeSet<Arc<str>>,
    /// At least one of these roles, unless there are none.
    pub any_roles: BTreeSet<Arc<str>>,
}

/// A stored procedure behind a route, limited by user (SS028-11.4.2).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Procedure {
    /// Routes that name the same procedure share its limit.
    pub name: Name,
    /// For each user.
    pub per_user: Rate,
}

/// A usage plan (MS-SS-8.2). At least one limit is set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UsagePlan {
    /// Routes refer to this.
    pub name: Name,
    /// For each (issuer, subject).
    pub per_user: Option<Rate>,
    /// For each source address (IPv4) or /64 (IPv6).
    pub per_source: Option<Rate>,
    /// For the route as a whole.
    pub per_route: Option<Rate>,
    /// How many may come at once beyond an even pace.
    pub burst: u32,
    /// How many requests of one user may be in flight at a time.
    pub concurrent: Option<u32>,
}
