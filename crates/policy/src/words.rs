//! The words of the schema, each spelled once.

pub(crate) const ACTION: &str = "Action";
pub(crate) const BINDING_TYPE: &str = "Binding";
pub(crate) const CALLER: &str = "Caller";
pub(crate) const PROOF_TYPE: &str = "Proof";
pub(crate) const ROLE: &str = "Role";
pub(crate) const ROUTE: &str = "Route";
pub(crate) const SENSITIVITY_TYPE: &str = "Sensitivity";
pub(crate) const SERVICE: &str = "Service";

pub(crate) const ISSUER: &str = "issuer";
pub(crate) const SUBJECT: &str = "subject";
pub(crate) const CLIENT: &str = "client";
pub(crate) const PROOF: &str = "proof";
pub(crate) const BINDING: &str = "binding";
pub(crate) const ASSURANCE: &str = "assurance";
pub(crate) const SCOPES: &str = "scopes";
pub(crate) const ROLES: &str = "roles";
pub(crate) const CLAIMS: &str = "claims";
pub(crate) const OF_PRINCIPAL: [&str; 9] =
    [ISSUER, SUBJECT, CLIENT, PROOF, BINDING, ASSURANCE, SCOPES, ROLES, CLAIMS];

pub(crate) const ENVIRONMENT: &str = "environment";
pub(crate) const METHOD: &str = "method";
pub(crate) const PATH: &str = "path";
pub(crate) const SOURCE: &str = "source";
pub(crate) const TIME: &str = "time";

pub(crate) const SENSITIVITY: &str = "sensitivity";
