//! Contracts of services, and what of them is checked on a route.
//!
//! INVARIANT: a route whose contract is checked has an operation for each of its methods, or does not compile: a request
//! that no contract describes would pass unchecked.
//!
//! Not here: what a contract says (`portcullis-contract`), what happens to a finding (`portcullis-dataplane`).

use std::sync::Arc;

use portcullis_config::plan::{self, ContractMode};
use portcullis_contract::{BodyCheck, Contract, Findings, HeadView, Operation};
use portcullis_core::Problems;
use portcullis_policy::Method;

/// A route's operations.
#[derive(Debug)]
pub struct Checks {
    /// What a finding leads to: report or enforce.
    pub mode: ContractMode,
    operations: Vec<(Method, Arc<Operation>)>,
}

impl Checks {
    /// Checks everything but the body.
    #[must_use]
    pub fn head(&self, method: Method, head: &HeadView<'_>) -> Findings {
        self.operation(method).map_or_else(Findings::default, |operation| operation.check_head(head))
    }

    /// How much of the body must be whole before it can be checked; `None` when nothing of it is.
    #[must_use]
    pub fn buffers(&self, method: Method, content_type: Option<&str>) -> Option<usize> {
        match self.operation(method)?.needs_body(content_type) {
            BodyCheck::None => None,
            BodyCheck::Buffer { cap } => Some(cap),
        }
    }

    /// Checks the whole body.
    #[must_use]
    pub fn body(&self, method: Method, content_type: Option<&str>, body: &[u8]) -> Findings {
        self.operation(method)
            .map_or_else(Findings::default, |operation| operation.check_body(content_type, body))
    }

    fn operation(&self, method: Method) -> Option<&Operation> {
        self.operations.iter().find(|(m, _)| *m == method).map(|(_, operation)| &**operation)
    }
}

/// Reads a service's contract.
pub(crate) fn parse(service: &plan::Service, problems: &mut Problems) -> Option<Arc<Contract>> {
    let contract = service.contract.as_ref()?;
    match Contract::parse(&contract.document.file, &contract.document.text) {
        Ok(parsed) => Some(Arc::new(parsed)),
        Err(found) => {
            problems.absorb(found);
            None
        }
    }
}

/// What is checked on a route.
pub(crate) fn checks(
    route: &plan::Route,
    contract: Option<&Arc<Contract>>,
    problems: &mut Problems,
) -> Option<Checks> {
    if route.contract == ContractMode::Off {
        return None;
    }
    let contract = contract?;
    let template = route.template.as_str();
    let mut operations = Vec::with_capacity(route.methods.len());
    for method in &route.methods {
        let found = contract.operation(method.as_str(), template);
        match (found, Method::parse(method.as_str())) {
            (Some(operation), Some(method)) => operations.push((method, Arc::clone(operation))),
            _ => {
                let text = format!("the contract has no `{} {template}`", method.as_str());
                problems.add(&route.at, route.id.as_str(), text);
            }
        }
    }
    Some(Checks { mode: route.contract, operations })
}
