//! The three services of the shop, each its own process: real HTTPS servers that believe nobody but the edge.
//!
//! Each asks for a client certificate and takes only the edge's, and takes only requests that carry an internal token of
//! the gateway for itself. What it answers says who called, as that token tells it.
//!
//! INVARIANT: a request without a token that verifies gets 401, also when the gateway's keys cannot be had (C15).
//! INVARIANT: a service ends with the process that started it.

mod api;
mod token;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::os::fd::AsFd as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use clap::{Args, ValueEnum};
use http::{Request, Response, StatusCode, header};
use http_body_util::Full;
use portcullis_core::{Clock, SystemClock};
use portcullis_identity::ClientCertificate;
use portcullis_net::Incoming;
use portcullis_net::guard::Limits;
use portcullis_net::listen::{Drain, DrainSwitch};
use portcullis_net::serve::serve_http1;
use portcullis_net::tls::{
    CertificateSource, ClientAuth, ConnectionFacts, ServerTls, ServerTlsSource, TlsVersions,
};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{LocalSet, spawn_local};
use tokio::time::Instant;

use self::token::InternalTokens;
use super::https;
use crate::commands::Outcome;
use crate::roles;

/// How long a handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(5);
/// Between two accepts when the system has no more descriptors.
const REST: Duration = Duration::from_millis(50);

/// One service of the demo. It listens on its standard input, or where it is told.
#[derive(Args)]
pub(crate) struct DemoService {
    /// Which.
    #[arg(value_enum)]
    name: Kind,
    /// The folder of the shop.
    #[arg(long, value_name = "DIR")]
    dir: PathBuf,
    /// The gateway, whose keys are read.
    #[arg(long)]
    gateway: SocketAddr,
    /// The trust domain of the shop.
    #[arg(long)]
    trust_domain: String,
    /// Where to listen.
    #[arg(long)]
    listen: Option<SocketAddr>,
}

/// Which service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Kind {
    Orders,
    Payments,
    Stock,
}

impl Kind {
    /// All of them.
    pub(crate) const ALL: [Self; 3] = [Self::Orders, Self::Payments, Self::Stock];

    /// Its name in the configuration, and the audience of its tokens.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Orders => "orders",
            Self::Payments => "payments",
            Self::Stock => "stock",
        }
    }
}

/// What every connection of a service shares.
struct Service {
    kind: Kind,
    tls: ServerTls,
    edge: String,
    tokens: InternalTokens,
    limits: Limits,
}

impl DemoService {
    /// Serves until it is told to end.
    pub(crate) fn run(self) -> Outcome {
        if self.listen.is_none() {
            roles::end_with_parent()?;
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        LocalSet::new().block_on(&runtime, async {
            let listener = self.listener().await?;
            let service = Rc::new(self.service()?);
            tokio::select! {
                _ = tokio::signal::ctrl_c() => {}
                () = service.accept(&listener) => {}
            }
            Ok(ExitCode::SUCCESS)
        })
    }

    async fn listener(&self) -> std::io::Result<TcpListener> {
        if let Some(address) = self.listen {
            return TcpListener::bind(address).await;
        }
        // The socket was bound by the process that started this one, so no other can have taken its port.
        let handed = std::net::TcpListener::from(std::io::stdin().as_fd().try_clone_to_owned()?);
        handed.set_nonblocking(true)?;
        TcpListener::from_std(handed)
    }

    fn service(&self) -> Result<Service, https::ClientError> {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::default());
        let (chain, key) = https::pair(&self.dir, self.name.word())?;
        let roots = https::read(&self.dir, "tls/workloads-ca.pem")?;
        let source = ServerTlsSource {
            certificates: vec![CertificateSource { chain_pem: &chain, key_pem: &key }],
            client_auth: ClientAuth::Required { authorities: &[&roots] },
            versions: TlsVersions::Tls13Only,
        };
        Ok(Service {
            kind: self.name,
            tls: ServerTls::build(&source, &clock)?,
            edge: format!("spiffe://{}/edge", self.trust_domain),
            tokens: InternalTokens::new(
                https::Client::new(&self.dir, self.gateway, None)?,
                &self.trust_domain,
                self.name.word(),
                clock,
            ),
            limits: Limits::default(),
        })
    }
}

impl Service {
    async fn accept(self: &Rc<Self>, listener: &TcpListener) {
        let (_switch, drain) = DrainSwitch::new();
        loop {
            match listener.accept().await {
                Ok((stream, _)) => {
                    let (service, drain) = (Rc::clone(self), drain.clone());
                    spawn_local(async move { service.connection(stream, drain).await });
                }
                Err(_) => tokio::time::sleep(REST).await,
            }
        }
    }

    async fn connection(&self, stream: TcpStream, drain: Drain) {
        let _ = stream.set_nodelay(true);
        let Ok(accepted) = self.tls.accept(stream, Instant::now() + HANDSHAKE).await else { return };
        // SECURITY: another workload of the same authority is not the edge; its tokens would not be checked by us.
        if !self.is_edge(&accepted.facts) {
            return;
        }
        // A connection that breaks is the edge's to notice.
        let _ = serve_http1(accepted.stream, |request| self.answer(request), &self.limits, drain).await;
    }

    fn is_edge(&self, facts: &ConnectionFacts) -> bool {
        let certificate = facts.peer_leaf().and_then(|der| ClientCertificate::read_leaf(der).ok());
        certificate.is_some_and(|certificate| certificate.uris() == [self.edge.as_str()])
    }

    async fn answer(&self, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
        let (status, body) = match self.tokens.caller(request.headers()).await {
            Ok(caller) => api::answer(self.kind, request.method(), request.uri().path(), &caller),
            Err(why) => {
                let text = serde_json::json!({ "service": self.kind.word(), "refused": why.to_string() });
                (StatusCode::UNAUTHORIZED, text)
            }
        };
        let mut answer = Response::new(Full::from(format!("{body:#}\n")));
        *answer.status_mut() = status;
        let json = header::HeaderValue::from_static("application/json");
        answer.headers_mut().insert(header::CONTENT_TYPE, json);
        Ok(answer)
    }
}
