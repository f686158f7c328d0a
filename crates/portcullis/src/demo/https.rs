//! A small HTTPS client over the gateway's own pool, for `demo --check` and for services that read the key set.
//!
//! INVARIANT: the peer is always verified; there is no way to switch that off (D7).

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Request, Response, header};
use http_body_util::{BodyExt as _, Full, Limited};
use portcullis_core::{Clock, Sensitive, SystemClock};
use portcullis_net::Protocol;
use portcullis_net::pool::{Address, Pool, PoolSettings, SendError, Target, Timeouts};
use portcullis_net::tls::{
    CertificateSource, ClientTls, ClientTlsSource, Expected, Roots, TlsError, TlsVersions,
};

/// The longest answer that is read.
const LONGEST: usize = 1 << 20;
const TIMEOUTS: Timeouts = Timeouts {
    connect: Duration::from_secs(2),
    answer_head: Duration::from_secs(5),
    body_idle: Some(Duration::from_secs(5)),
    ends: None,
};

/// A client of one server. Lives on one thread.
pub(crate) struct Client {
    pool: Pool<Full<Bytes>>,
    target: Target,
    authority: HeaderValue,
}

/// Why there is no client.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ClientError {
    #[error("cannot read `{path}`")]
    File {
        path: std::path::PathBuf,
        #[source]
        cause: std::io::Error,
    },
    #[error("the certificates cannot be used")]
    Tls(#[from] TlsError),
    #[error("the server's name cannot be sent")]
    Name(#[from] header::InvalidHeaderValue),
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FetchError {
    #[error("no answer came")]
    Send(#[source] Box<SendError<Full<Bytes>>>),
    #[error("the answer broke off, or is too long")]
    Body(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl Client {
    /// A client of `localhost` at `address`, with the roots in `folder` and perhaps the certificate called `identity`.
    pub(crate) fn new(
        folder: &Path,
        address: SocketAddr,
        identity: Option<&str>,
    ) -> Result<Self, ClientError> {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::default());
        let roots = Roots::from_pem(&read(folder, "tls/ca.pem")?)?;
        let identity = identity.map(|name| pair(folder, name)).transpose()?;
        let source = ClientTlsSource {
            roots,
            identity: identity
                .as_ref()
                .map(|(chain, key)| CertificateSource { chain_pem: chain, key_pem: key }),
            expect: Expected::DnsName("localhost".into()),
            versions: TlsVersions::Tls13Only,
            protocol: Protocol::Http1,
        };
        let tls = Arc::new(ClientTls::build(source, &clock)?);
        Ok(Self {
            pool: Pool::new(PoolSettings::default(), clock),
            target: Target::secure(Address::Tcp(address), tls),
            authority: HeaderValue::from_str(&format!("localhost:{}", address.port()))?,
        })
    }

    /// Sends a request whose target is a path, and reads the whole answer.
    pub(crate) async fn send(
        &self,
        mut request: Request<Full<Bytes>>,
    ) -> Result<Response<Bytes>, FetchError> {
        request.headers_mut().insert(header::HOST, self.authority.clone());
        let answer = self.pool.send(&self.target, request, &TIMEOUTS).await;
        let (head, body) = answer.map_err(|error| FetchError::Send(Box::new(error)))?.into_parts();
        let body = Limited::new(body, LONGEST).collect().await.map_err(FetchError::Body)?;
        Ok(Response::from_parts(head, body.to_bytes()))
    }
}

/// A file of the shop.
pub(crate) fn read(folder: &Path, name: &str) -> Result<Vec<u8>, ClientError> {
    let path = folder.join(name);
    std::fs::read(&path).map_err(|cause| ClientError::File { path, cause })
}

/// The certificate of this name and its key.
pub(crate) fn pair(folder: &Path, name: &str) -> Result<(Vec<u8>, Sensitive<Vec<u8>>), ClientError> {
    let key = Sensitive::new(read(folder, &format!("tls/{name}.key"))?);
    Ok((read(folder, &format!("tls/{name}.pem"))?, key))
}
