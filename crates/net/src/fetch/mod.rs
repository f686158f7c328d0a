//! A small client for the services beside us: key sets, discovery, alert receivers.
//!
//! One request on one connection, for the control process. The name is resolved once, every address is checked, and the
//! connection goes to an address that was checked: there is no second look-up that could say something else.
//!
//! INVARIANT: TLS is verified, redirects are errors, and the whole of it ends at one deadline (C12, E10).
//! INVARIANT: no more than the bound is ever held of an answer (E10).
//! INVARIANT: answers pass the guard, as those of upstreams do.
//!
//! Not here: caching, retries, what an answer means; the request line (it never fetches).
//!
//! Sources: RFC 9110 §15.4 (redirects), RFC 8414 §6.2; threats C12, D7, E10.

#[cfg(test)]
mod tests;
mod url;

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Response, header};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::{Body as _, Incoming};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use portcullis_core::Clock;
use tokio::time::{Instant, timeout_at};

use self::url::Scheme;
pub use self::url::{Egress, FetchUrl, Permission, UrlFault};
use crate::Protocol;
use crate::guard::{ExpectedAnswer, Limits, Upstream, UpstreamTimeouts};
use crate::pool::{Address, ConnectFault, ExchangeFault, Target, dial};
use crate::tls::{ClientTls, ClientTlsSource, Expected, Roots, TlsError, TlsVersions};

/// Addresses of one name that are tried.
const ATTEMPTS: usize = 4;

/// The bounds of one fetch.
#[derive(Clone, Copy, Debug)]
pub struct FetchLimits {
    /// Most bytes of an answer's body.
    pub bytes: usize,
    /// From the look-up to the last byte.
    pub whole: Duration,
}

impl Default for FetchLimits {
    fn default() -> Self {
        Self { bytes: 512 * 1024, whole: Duration::from_secs(10) }
    }
}

/// The client. Cheap to keep, safe to share.
#[derive(Clone)]
pub struct Fetcher {
    roots: Roots,
    egress: Egress,
    limits: FetchLimits,
    clock: Arc<dyn Clock>,
    resolver: Resolver,
}

/// Who knows the addresses of a name.
#[derive(Clone, Debug)]
enum Resolver {
    System,
    #[cfg(test)]
    Fixed(Vec<SocketAddr>),
}

/// A good answer (2xx).
#[derive(Clone, Debug)]
pub struct Fetched {
    /// Its fields.
    pub headers: HeaderMap,
    /// Its body, whole.
    pub body: Bytes,
}

/// Why there is no good answer.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// The name has no address.
    #[error("the name cannot be resolved")]
    Resolve(#[source] io::Error),
    /// All its addresses are in places that may not be connected to.
    #[error(
        "the name resolves only to addresses that may not be fetched from (link-local, metadata, private or loopback)"
    )]
    Forbidden,
    /// The name is none that a certificate could carry.
    #[error("TLS to this name is not possible")]
    Tls(#[source] TlsError),
    /// No connection.
    #[error("the service could not be reached")]
    Connect(#[source] ConnectFault),
    /// The exchange broke, or the guard refused the answer.
    #[error("the service broke off its answer")]
    Broken(#[source] ExchangeFault),
    /// It points elsewhere.
    #[error("the service answered with a redirect ({status}), which is not followed; name the final URL")]
    Redirect {
        /// 3xx.
        status: u16,
    },
    /// It says no.
    #[error("the service answered with status {status}")]
    Status {
        /// Not 2xx.
        status: u16,
    },
    /// More than is read.
    #[error("the answer is larger than {limit} bytes")]
    TooLarge {
        /// The bound.
        limit: usize,
    },
    /// Not whole in time.
    #[error("the service did not answer in time")]
    Timeout,
}

impl Fetcher {
    /// A client that trusts `roots` and goes where `egress` permits.
    #[must_use]
    pub fn new(roots: Roots, egress: Egress, limits: FetchLimits, clock: Arc<dyn Clock>) -> Self {
        Self { roots, egress, limits, clock, resolver: Resolver::System }
    }

    /// Where it goes: for [`FetchUrl::parse`].
    #[must_use]
    pub fn egress(&self) -> Egress {
        self.egress
    }

    /// Gets `url`.
    ///
    /// # Errors
    /// See [`FetchError`].
    pub async fn get(&self, url: &FetchUrl) -> Result<Fetched, FetchError> {
        self.fetch(url, Method::GET, HeaderMap::new(), Bytes::new()).await
    }

    /// Posts `body` to `url` with `headers`, `Content-Type` among them.
    ///
    /// # Errors
    /// See [`FetchError`].
    pub async fn post(&self, url: &FetchUrl, headers: HeaderMap, body: Bytes) -> Result<Fetched, FetchError> {
        self.fetch(url, Method::POST, headers, body).await
    }

    async fn fetch(
        &self,
        url: &FetchUrl,
        method: Method,
        headers: HeaderMap,
        body: Bytes,
    ) -> Result<Fetched, FetchError> {
        let deadline = Instant::now() + self.limits.whole;
        let request = request(url, method, headers, body);
        let whole = async {
            let target = |address| self.target(url, address);
            let stream = self.connect(url, target, deadline).await?;
            self.exchange(stream, request).await
        };
        timeout_at(deadline, whole).await.unwrap_or(Err(FetchError::Timeout))
    }

    fn target(&self, url: &FetchUrl, address: SocketAddr) -> Result<Target, FetchError> {
        let address = Address::Tcp(address);
        if url.scheme() == Scheme::Http {
            return Ok(Target::plaintext(address, Protocol::Http1));
        }
        let expect = match url.host().parse::<IpAddr>() {
            Ok(ip) => Expected::Address(ip),
            Err(_) => Expected::DnsName(url.host().into()),
        };
        let source = ClientTlsSource {
            roots: self.roots.clone(),
            identity: None,
            expect,
            versions: TlsVersions::Tls12And13,
            protocol: Protocol::Http1,
        };
        let tls = ClientTls::build(source, &self.clock).map_err(FetchError::Tls)?;
        Ok(Target::secure(address, Arc::new(tls)))
    }

    /// Connects to the first address that may be used and answers.
    async fn connect(
        &self,
        url: &FetchUrl,
        target: impl Fn(SocketAddr) -> Result<Target, FetchError>,
        deadline: Instant,
    ) -> Result<Guarded, FetchError> {
        let mut last = FetchError::Forbidden;
        for address in self.addresses(url).await? {
            match dial(&target(address)?, deadline).await {
                Ok((stream, _)) => return Ok(guard(stream)),
                Err(cause) => last = FetchError::Connect(cause),
            }
        }
        Err(last)
    }

    /// SECURITY: what is checked here is what is connected to; a name is never looked up again (C12).
    async fn addresses(&self, url: &FetchUrl) -> Result<Vec<SocketAddr>, FetchError> {
        let all = self.resolver.look_up(url.host(), url.port()).await.map_err(FetchError::Resolve)?;
        Ok(all.into_iter().filter(|address| url.may_use(*address, self.egress)).take(ATTEMPTS).collect())
    }

    async fn exchange(&self, stream: Guarded, request: Request<Full<Bytes>>) -> Result<Fetched, FetchError> {
        let broken = |cause| FetchError::Broken(ExchangeFault(cause));
        let (mut sender, connection) =
            http1::Builder::new().handshake(TokioIo::new(stream)).await.map_err(broken)?;
        let answer = async {
            let answer = sender.send_request(request).await.map_err(broken)?;
            self.take(answer).await
        };
        tokio::pin!(answer);
        tokio::select! {
            biased;
            answer = &mut answer => answer,
            // The connection may end before its last bytes are taken: its error, if any, is in the answer too.
            _ = connection => answer.await,
        }
    }

    async fn take(&self, answer: Response<Incoming>) -> Result<Fetched, FetchError> {
        let (head, body) = answer.into_parts();
        let limit = self.limits.bytes;
        match head.status.as_u16() {
            200..=299 => {}
            status @ 300..=399 => return Err(FetchError::Redirect { status }),
            status => return Err(FetchError::Status { status }),
        }
        if body.size_hint().lower() > u64::try_from(limit).unwrap_or(u64::MAX) {
            return Err(FetchError::TooLarge { limit });
        }
        let collected = Limited::new(body, limit).collect().await;
        let body = collected.map_err(|cause| match cause.downcast::<hyper::Error>() {
            Ok(cause) => FetchError::Broken(ExchangeFault(*cause)),
            Err(other) => too_large(&*other, limit),
        })?;
        Ok(Fetched { headers: head.headers, body: body.to_bytes() })
    }
}

fn too_large(cause: &(dyn std::error::Error + 'static), limit: usize) -> FetchError {
    debug_assert!(cause.is::<LengthLimitError>());
    FetchError::TooLarge { limit }
}

impl Resolver {
    async fn look_up(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        match self {
            Self::System => Ok(tokio::net::lookup_host((host, port)).await?.collect()),
            #[cfg(test)]
            Self::Fixed(all) => Ok(all.clone()),
        }
    }
}

type Guarded = Upstream<crate::pool::Stream>;

/// One answer is expected on `stream`.
fn guard(stream: crate::pool::Stream) -> Guarded {
    let (guarded, handle) = Upstream::new(stream, Limits::default(), UpstreamTimeouts::default());
    handle.expect(ExpectedAnswer::Plain);
    guarded
}

fn request(url: &FetchUrl, method: Method, headers: HeaderMap, body: Bytes) -> Request<Full<Bytes>> {
    let mut request = Request::new(Full::new(body));
    *request.method_mut() = method;
    *request.headers_mut() = headers;
    // Both were parsed out of a URI, so neither fails.
    *request.uri_mut() = url.target().parse().unwrap_or_default();
    if let Ok(host) = HeaderValue::from_str(url.authority()) {
        request.headers_mut().insert(header::HOST, host);
    }
    request.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    request.headers_mut().insert(header::USER_AGENT, HeaderValue::from_static("portcullis"));
    request
}
