//! Whether the certificates of a plan can be used: as the edge would build them, before it has to.
//!
//! Loading sees that a file is PEM; only building sees that a key belongs to its chain, and that neither is over or weak.
//!
//! Not here: what TLS is built for (`portcullis-dataplane`).

use std::sync::Arc;

use portcullis_config::plan::{Certificate, ClientMode, Identity, Plan, Service, Transport, UpstreamTls};
use portcullis_core::{Clock, Location, Problems, SystemClock};
use portcullis_net::Protocol;
use portcullis_net::tls::{
    CertificateSource, ClientAuth, ClientTls, ClientTlsSource, Expected, Roots, ServerTls, ServerTlsSource,
    TlsError, TlsVersions,
};

/// Everything that is wrong with them.
pub(super) fn problems(file: &str, plan: &Plan) -> Problems {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::default());
    let mut problems = Problems::default();
    if let Err(cause) = listener(plan, &clock) {
        problems.add(&Location::file(file), "gateway.certificates", cause.to_string());
    }
    for service in &plan.services {
        if let Err(cause) = upstream(service, &clock) {
            problems.add(&service.at, format!("services.{}.upstream.tls", service.name), cause.to_string());
        }
    }
    problems
}

fn listener(plan: &Plan, clock: &Arc<dyn Clock>) -> Result<ServerTls, TlsError> {
    let clients = &plan.gateway.client_certificates;
    let roots: Vec<_> = clients.authorities.iter().map(|a| a.roots.text.as_bytes()).collect();
    let authorities = roots.as_slice();
    let client_auth = match clients.mode {
        ClientMode::Off => ClientAuth::Off,
        ClientMode::Optional => ClientAuth::Optional { authorities },
        ClientMode::Required => ClientAuth::Required { authorities },
    };
    let keys: Vec<_> = plan.gateway.certificates.iter().map(key).collect();
    let certificates = plan.gateway.certificates.iter().zip(&keys);
    let certificates =
        certificates.map(|(c, key_pem)| CertificateSource { chain_pem: c.chain.text.as_bytes(), key_pem });
    let source = ServerTlsSource {
        certificates: certificates.collect(),
        client_auth,
        versions: TlsVersions::Tls12And13,
    };
    ServerTls::build(&source, clock)
}

fn upstream(service: &Service, clock: &Arc<dyn Clock>) -> Result<(), TlsError> {
    match &service.upstream.transport {
        Transport::Plaintext => Ok(()),
        Transport::Tls(tls) => client(tls, clock).map(|_| ()),
    }
}

fn client(tls: &UpstreamTls, clock: &Arc<dyn Clock>) -> Result<ClientTls, TlsError> {
    let name = tls.expect.as_str();
    let expect =
        if tls.expect.is_spiffe() { Expected::Spiffe(name.into()) } else { Expected::DnsName(name.into()) };
    let own = match &tls.identity {
        Identity::Certificate(certificate) => Some((certificate, key(certificate))),
        Identity::Absent => None,
    };
    let identity = own.as_ref().map(|(certificate, key_pem)| CertificateSource {
        chain_pem: certificate.chain.text.as_bytes(),
        key_pem,
    });
    let roots = Roots::from_pem(tls.roots.text.as_bytes())?;
    let source = ClientTlsSource {
        roots,
        identity,
        expect,
        versions: TlsVersions::Tls13Only,
        protocol: Protocol::Http1,
    };
    ClientTls::build(source, clock)
}

fn key(certificate: &Certificate) -> portcullis_core::Sensitive<Vec<u8>> {
    portcullis_core::Sensitive::new(certificate.key.expose().to_vec())
}
