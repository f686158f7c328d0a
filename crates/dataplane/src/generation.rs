//! The generation in force: everything compiled from one plan, TLS and upstream legs included.
//!
//! INVARIANT: immutable and swapped whole; a request that has one keeps it to its end.
//!
//! Not here: compiling (`portcullis-snapshot`), when to swap (`edge`).

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use http::uri::{Authority, PathAndQuery, Scheme};
use http::{Uri, Version};
use portcullis_core::{Clock, Name, Reason, Refusal, Sensitive, UnixMillis};
use portcullis_evidence::request::Generations;
use portcullis_net::Protocol;
use portcullis_net::address::Networks;
use portcullis_net::pool::{Address, Target, Timeouts};
use portcullis_net::tls::{
    CertificateSource, ClientAuth, ClientTls, ClientTlsSource, Expected, Roots, ServerTls, ServerTlsSource,
    TlsError, TlsVersions,
};
use portcullis_snapshot::plan::{self, Plan};
use portcullis_snapshot::router::RouteIndex;
use portcullis_snapshot::{Authorisation, Compiled, Keys, Routes};
use portcullis_telemetry::Metrics;
use portcullis_telemetry::metrics::RouteMetrics;
use tokio::time::Instant;

/// One generation, ready to serve.
pub(crate) struct Snapshot {
    /// The plan.
    pub plan: Arc<Plan>,
    /// Which door.
    pub routes: Arc<Routes>,
    /// May they.
    pub authorisation: Arc<Authorisation>,
    /// Who.
    pub keys: Arc<Keys>,
    /// What the compiled parts were made of, for the next generation.
    pub compiled: Compiled,
    /// The listener's TLS.
    pub tls: Arc<ServerTls>,
    /// When all of this ends.
    pub not_after: UnixMillis,
    /// Peers that begin each connection with a PROXY header (A9).
    pub balancers: Networks,
    /// Peers that are believed about whom a request comes from (B11).
    pub proxies: Networks,
    legs: HashMap<Name, Leg>,
    metrics: Vec<Arc<RouteMetrics>>,
}

/// How a service is reached.
pub(crate) struct Leg {
    tls: Option<Arc<ClientTls>>,
    protocol: Protocol,
    connect: Duration,
    planned: plan::Upstream,
}

/// Why a generation cannot serve.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SnapshotError {
    /// The listener's certificates.
    #[error("the gateway's certificates cannot be used")]
    Listener(#[source] TlsError),
    /// A leg's certificates.
    #[error("the certificates towards service `{service}` cannot be used")]
    Leg {
        /// Which service.
        service: Name,
        /// Why not.
        #[source]
        cause: TlsError,
    },
}

impl Snapshot {
    /// Adds TLS and legs to what was compiled, taking over from `before` what did not change.
    pub(crate) fn build(
        compiled: Compiled,
        not_after: UnixMillis,
        clock: &Arc<dyn Clock>,
        metrics: &Metrics,
        before: Option<&Self>,
    ) -> Result<Self, SnapshotError> {
        let plan = Arc::clone(&compiled.plan);
        let tls = match before.filter(|b| b.compiled.tls_since == compiled.tls_since) {
            Some(before) => Arc::clone(&before.tls),
            None => Arc::new(listener_tls(&plan, clock)?),
        };
        let legs = plan.services.iter().map(|service| {
            let leg = leg(service, before, clock).map_err(|cause| leg_error(service, cause))?;
            Ok((service.name.clone(), leg))
        });
        let legs = legs.collect::<Result<_, _>>()?;
        let of_route = |r: &Arc<_>| Arc::new(route_metrics(r, metrics));
        let routes = Arc::clone(&compiled.routes);
        Ok(Self {
            metrics: routes.iter().map(|(_, route)| of_route(route)).collect(),
            routes,
            authorisation: Arc::clone(&compiled.authorisation),
            keys: Arc::clone(&compiled.keys),
            balancers: Networks::new(plan.gateway.proxy_protocol.iter().copied()),
            proxies: Networks::new(plan.gateway.trusted_proxies.iter().copied()),
            plan,
            compiled,
            tls,
            not_after,
            legs,
        })
    }

    /// How a service is reached.
    pub(crate) fn leg(&self, service: &Name) -> Result<&Leg, Refusal> {
        self.legs.get(service).ok_or_else(|| Refusal::new(Reason::Unavailable, "the service has no leg"))
    }

    /// The handles of a route.
    pub(crate) fn metrics(&self, route: RouteIndex) -> Option<&Arc<RouteMetrics>> {
        self.metrics.get(usize::try_from(route.0).ok()?)
    }

    /// The numbers for the record.
    pub(crate) fn generations(&self) -> Generations {
        Generations {
            authorisation: self.authorisation.generation,
            routes: self.compiled.routes_since,
            tls: self.compiled.tls_since,
            keys: self.keys.verifier.generation(),
        }
    }

    /// When the first of our certificates ends: of the listener, or towards a service.
    pub(crate) fn certificate_ends(&self) -> Option<UnixMillis> {
        let served = self.tls.certificates().map(portcullis_net::tls::ServedCertificate::not_after);
        let shown = self.legs.values().filter_map(|leg| leg.tls.as_ref()?.identity_ends());
        served.chain(shown).min()
    }
}

fn leg_error(service: &plan::Service, cause: TlsError) -> SnapshotError {
    SnapshotError::Leg { service: service.name.clone(), cause }
}

fn route_metrics(route: &portcullis_snapshot::routes::Route, metrics: &Metrics) -> RouteMetrics {
    metrics.route(&route.service.name, &route.template)
}

fn listener_tls(plan: &Plan, clock: &Arc<dyn Clock>) -> Result<ServerTls, SnapshotError> {
    let gateway = &plan.gateway;
    let keys: Vec<_> = gateway.certificates.iter().map(|c| Sensitive::new(c.key.expose().to_vec())).collect();
    let pairs = gateway.certificates.iter().zip(&keys);
    let certificates =
        pairs.map(|(c, key)| CertificateSource { chain_pem: c.chain.text.as_bytes(), key_pem: key });
    // In the order of the plan: a connection's facts name an authority by its place.
    let clients = &gateway.client_certificates;
    let roots: Vec<_> = clients.authorities.iter().map(|a| a.roots.text.as_bytes()).collect();
    let authorities = roots.as_slice();
    let client_auth = match clients.mode {
        plan::ClientMode::Off => ClientAuth::Off,
        plan::ClientMode::Optional => ClientAuth::Optional { authorities },
        plan::ClientMode::Required => ClientAuth::Required { authorities },
    };
    let versions = match gateway.tls_minimum {
        plan::TlsMinimum::Tls12 => TlsVersions::Tls12And13,
        plan::TlsMinimum::Tls13 => TlsVersions::Tls13Only,
    };
    let source = ServerTlsSource { certificates: certificates.collect(), client_auth, versions };
    ServerTls::build(&source, clock).map_err(SnapshotError::Listener)
}

fn leg(service: &plan::Service, before: Option<&Snapshot>, clock: &Arc<dyn Clock>) -> Result<Leg, TlsError> {
    let upstream = &service.upstream;
    let protocol = match upstream.protocol {
        plan::Protocol::Http1 => Protocol::Http1,
        plan::Protocol::Http2 => Protocol::Http2,
    };
    let known = before.and_then(|b| b.legs.get(&service.name)).filter(|l| l.planned == *upstream);
    let tls = match (known, &upstream.transport) {
        (Some(known), _) => known.tls.clone(),
        (None, plan::Transport::Plaintext) => None,
        (None, plan::Transport::Tls(tls)) => Some(Arc::new(client_tls(tls, protocol, clock)?)),
    };
    Ok(Leg { tls, protocol, connect: upstream.timeouts.connect.as_duration(), planned: upstream.clone() })
}

fn client_tls(
    planned: &plan::UpstreamTls,
    protocol: Protocol,
    clock: &Arc<dyn Clock>,
) -> Result<ClientTls, TlsError> {
    let key = match &planned.identity {
        plan::Identity::Absent => None,
        plan::Identity::Certificate(c) => Some((c, Sensitive::new(c.key.expose().to_vec()))),
    };
    let identity =
        key.as_ref().map(|(c, key)| CertificateSource { chain_pem: c.chain.text.as_bytes(), key_pem: key });
    let name = planned.expect.as_str();
    let expect = match (planned.expect.is_spiffe(), name.parse::<IpAddr>()) {
        (true, _) => Expected::Spiffe(name.into()),
        (false, Ok(address)) => Expected::Address(address),
        (false, Err(_)) => Expected::DnsName(name.into()),
    };
    let roots = Roots::from_pem(planned.roots.text.as_bytes())?;
    ClientTls::build(
        ClientTlsSource { roots, identity, expect, protocol, versions: TlsVersions::Tls13Only },
        clock,
    )
}

impl Leg {
    /// The pool's name for one endpoint.
    pub(crate) fn target(&self, address: &portcullis_registry::Address) -> Target {
        let address = match address {
            portcullis_registry::Address::Socket(socket) => Address::Tcp(*socket),
            portcullis_registry::Address::Unix(path) => {
                Address::Unix(Arc::from(std::path::Path::new(&**path)))
            }
        };
        match &self.tls {
            Some(tls) => Target::secure(address, Arc::clone(tls)),
            None => Target::plaintext(address, self.protocol),
        }
    }

    /// Whether requests travel as HTTP/2.
    pub(crate) fn speaks_http2(&self) -> bool {
        self.protocol == Protocol::Http2
    }

    /// The version that requests travel in.
    pub(crate) fn version(&self) -> Version {
        if self.speaks_http2() { Version::HTTP_2 } else { Version::HTTP_11 }
    }

    /// The times of one try of a request that ends at `ends` at the latest.
    pub(crate) fn limits(&self, per_try: Duration, ends: Instant) -> Timeouts {
        Timeouts { connect: self.connect, answer_head: per_try, body_idle: None, ends: Some(ends) }
    }

    /// Origin form for HTTP/1.1, scheme and authority for HTTP/2.
    pub(crate) fn uri(&self, target: PathAndQuery, host: &str) -> Result<Uri, Refusal> {
        let mut parts = http::uri::Parts::default();
        parts.path_and_query = Some(target);
        if self.protocol == Protocol::Http2 {
            parts.scheme = Some(if self.tls.is_some() { Scheme::HTTPS } else { Scheme::HTTP });
            parts.authority = Some(host.parse::<Authority>().map_err(|_| odd())?);
        }
        Uri::from_parts(parts).map_err(|_| odd())
    }
}

fn odd() -> Refusal {
    Refusal::new(Reason::MalformedRequest, "the target cannot be written for the upstream")
}
