//! One cell of endpoints for each service, so that their coming and going compiles nothing else.

use portcullis_config::plan::{Balance, Endpoint, Upstream};
use portcullis_registry::{Address, BreakerRule, Endpoints, Rules, Selection};

/// The cell of a service; counters of endpoints that stay live on.
pub(crate) fn compile(upstream: &Upstream, before: Option<&Endpoints>) -> Endpoints {
    let addresses = upstream.endpoints.iter().map(address);
    let rules = Rules {
        selection: match upstream.balance {
            Balance::RoundRobin => Selection::RoundRobin,
            Balance::LeastRequest => Selection::LeastRequest,
            Balance::HashHeader(_) | Balance::HashUser | Balance::HashSource => Selection::ConsistentHash,
        },
        in_flight: upstream.pool.in_flight.get(),
        breaker: BreakerRule::default(),
    };
    match before {
        Some(before) => before.successor(addresses, rules),
        None => Endpoints::new(addresses, rules),
    }
}

fn address(planned: &Endpoint) -> Address {
    match planned {
        Endpoint::Address(socket) => Address::Socket(*socket),
        Endpoint::Unix(path) => Address::Unix(std::sync::Arc::clone(path)),
    }
}
