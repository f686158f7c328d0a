//! What a running process cannot take over: a change of it is an error, not ignored.

use portcullis_core::{Location, Problem, Problems};

use crate::plan::Plan;

/// Every setting that changed and cannot be reloaded; empty when `new` can replace `old`.
#[must_use]
pub fn not_reloadable(root_file: &str, old: &Plan, new: &Plan) -> Problems {
    let fixed = [
        ("environment", old.environment == new.environment),
        ("trust_domain", old.trust_domain == new.trust_domain),
        ("state.directory", old.state == new.state),
        ("ca", old.ca == new.ca),
        ("admin.socket", old.admin.socket == new.admin.socket),
        ("admin.listener.address", admin_address(old) == admin_address(new)),
        ("gateway.listen", old.gateway.listen == new.gateway.listen),
        ("gateway.workers", old.gateway.workers == new.gateway.workers),
        ("metrics.listen", old.metrics == new.metrics),
        // Each request in flight has a place in the journal's queue, which is made once.
        ("gateway.limits.in_flight", new.gateway.limits.in_flight <= old.gateway.limits.in_flight),
        ("gateway.timeouts.drain", new.gateway.timeouts.drain <= old.gateway.timeouts.drain),
        // The journal is opened once: what is in it is sealed and kept under the terms that it began with.
        ("audit", old.audit == new.audit),
        ("stdout_log", old.stdout_log == new.stdout_log),
    ];
    let mut problems = Problems::default();
    for (key, _) in fixed.iter().filter(|(_, same)| !same) {
        problems.push(Problem {
            at: Location::file(root_file),
            key: (*key).to_owned(),
            text: "was changed and cannot be reloaded".into(),
            hint: Some("restart, or put the old value back".into()),
            clause: None,
        });
    }
    problems
}

fn admin_address(plan: &Plan) -> Option<std::net::SocketAddr> {
    plan.admin.listener.as_ref().map(|l| l.address)
}
