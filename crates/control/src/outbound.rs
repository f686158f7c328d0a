//! How *control* calls others: issuers, Alertmanager, a webhook.
//!
//! The door is a trait, so that a test can stand behind it; [`NetOutbound`] is the real one.
//!
//! INVARIANT: no redirect is followed, nothing is read beyond the stated size, and an address on this machine is
//! called only where the configuration says so (C12, E10).
//!
//! Not here: what is asked (`issuers`, `alerts`); sockets, TLS and egress rules (`portcullis-net`).

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, header};
use portcullis_core::Clock;
use portcullis_net::fetch::{Egress, FetchError, FetchLimits, FetchUrl, Fetcher, Permission};
use portcullis_net::tls::Roots;
use portcullis_snapshot::plan::{Inlined, Loopback, Secret, Url};

/// One call.
#[derive(Clone, Debug)]
pub struct Ask {
    /// Where.
    pub url: Url,
    /// What is sent.
    pub sent: Sent,
    /// Root certificates; none means those of the system.
    pub roots: Option<Inlined>,
    /// Whether the address may be on this machine.
    pub loopback: Loopback,
    /// More bytes than this are not read.
    pub most: usize,
}

/// What is sent.
#[derive(Clone, Debug)]
pub enum Sent {
    /// A GET.
    Get,
    /// A POST of JSON.
    Json {
        /// The document.
        body: Bytes,
        /// Sent as a bearer token.
        token: Option<Secret>,
    },
}

/// Why a call did not work.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// It was answered, but not with success; a redirect is not followed and ends here too.
    #[error("the answer has the status {0}")]
    Status(u16),
    /// It was not made or not answered.
    #[error("the call failed")]
    Call(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// It took too long.
    #[error("there was no answer in time")]
    Late,
}

/// The answer that comes later.
pub type Answering = Pin<Box<dyn Future<Output = Result<Bytes, AskError>> + Send>>;

/// Something that calls others.
pub trait Outbound: Send + Sync {
    /// Makes one call; the body of an answer with a status from 200 to 299 is the result.
    fn send(&self, ask: Ask) -> Answering;
}

/// Calls over the network.
#[derive(Clone)]
pub struct NetOutbound {
    clock: Arc<dyn Clock>,
}

/// From the look-up to the last byte.
const WHOLE: Duration = Duration::from_secs(10);

impl NetOutbound {
    /// `clock` judges certificates.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock }
    }

    fn fetcher(&self, ask: &Ask) -> Result<(Fetcher, FetchUrl), AskError> {
        let roots = match &ask.roots {
            Some(pem) => Roots::from_pem(pem.text.as_bytes()),
            None => Roots::system(),
        };
        let loopback = match ask.loopback {
            Loopback::Refused => Permission::Refused,
            Loopback::Allowed => Permission::Allowed,
        };
        let egress = Egress { loopback, private: Permission::Allowed };
        let limits = FetchLimits { bytes: ask.most, whole: WHOLE };
        let fetcher = Fetcher::new(roots.map_err(call)?, egress, limits, Arc::clone(&self.clock));
        let url = FetchUrl::parse(ask.url.as_str(), egress).map_err(call)?;
        Ok((fetcher, url))
    }
}

impl Outbound for NetOutbound {
    fn send(&self, ask: Ask) -> Answering {
        let ready = self.fetcher(&ask);
        Box::pin(async move {
            let (fetcher, url) = ready?;
            let fetched = match ask.sent {
                Sent::Get => fetcher.get(&url).await,
                Sent::Json { body, token } => fetcher.post(&url, fields(token.as_ref())?, body).await,
            };
            fetched.map(|fetched| fetched.body).map_err(|fault| match fault {
                FetchError::Status { status } | FetchError::Redirect { status } => AskError::Status(status),
                FetchError::Timeout => AskError::Late,
                other => call(other),
            })
        })
    }
}

fn call(cause: impl std::error::Error + Send + Sync + 'static) -> AskError {
    AskError::Call(Box::new(cause))
}

/// The fields of a POST of JSON.
fn fields(token: Option<&Secret>) -> Result<HeaderMap, AskError> {
    let mut fields = HeaderMap::new();
    fields.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    if let Some(token) = token {
        let bearer = [b"Bearer ", token.expose().trim_ascii()].concat();
        let mut value = HeaderValue::from_maybe_shared(Bytes::from(bearer)).map_err(call)?;
        value.set_sensitive(true);
        fields.insert(header::AUTHORIZATION, value);
    }
    Ok(fields)
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use portcullis_core::SystemClock;
    use portcullis_testkit::{Behaviour, Reply, Upstream};

    use super::*;

    fn ask(address: SocketAddr, loopback: Loopback) -> Ask {
        let url = Url::parse(&format!("http://{address}/keys")).expect("an address");
        Ask { url, sent: Sent::Get, roots: Some(roots()), loopback, most: 1_000 }
    }

    fn roots() -> Inlined {
        let mut params = rcgen::CertificateParams::default();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let key = rcgen::KeyPair::generate().expect("a key");
        let pem = params.self_signed(&key).expect("a certificate").pem();
        Inlined { file: "roots.pem".into(), text: pem.into() }
    }

    fn sent(ask: Ask) -> Result<Bytes, AskError> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(NetOutbound::new(Arc::new(SystemClock::default())).send(ask))
    }

    #[test]
    fn a_good_answer_is_its_body() {
        let upstream = Upstream::start();
        upstream.behave(Behaviour { reply: Reply::Text("{}".into()), ..Behaviour::default() });
        assert_eq!(sent(ask(upstream.address(), Loopback::Allowed)).expect("an answer"), "{}");
    }

    #[test]
    fn c12_a_redirect_ends_where_it_began() {
        let (upstream, elsewhere) = (Upstream::start(), Upstream::start());
        let location = vec![("location".into(), format!("http://{}/", elsewhere.address()))];
        upstream.behave(Behaviour { status: 302, headers: location, ..Behaviour::default() });
        assert!(matches!(sent(ask(upstream.address(), Loopback::Allowed)), Err(AskError::Status(302))));
        assert!(elsewhere.seen().is_empty());
    }

    #[test]
    fn c12_this_machine_is_called_only_where_that_is_written() {
        let upstream = Upstream::start();
        assert!(matches!(sent(ask(upstream.address(), Loopback::Refused)), Err(AskError::Call(_))));
        assert!(upstream.seen().is_empty());
    }

    #[test]
    fn e10_more_than_was_stated_is_not_read() {
        let upstream = Upstream::start();
        upstream.behave(Behaviour { reply: Reply::Bytes(1_001), ..Behaviour::default() });
        assert!(matches!(sent(ask(upstream.address(), Loopback::Allowed)), Err(AskError::Call(_))));
    }

    #[test]
    fn c13_a_token_is_sent_and_never_shown() {
        let upstream = Upstream::start();
        let plan = crate::testing::plan(
            "alerts: { webhook: { url: \"https://a.example\", token: { file: hook.token } } }",
        );
        let token = plan.alerts.webhook.as_ref().and_then(|w| w.token.clone());
        let mut ask = ask(upstream.address(), Loopback::Allowed);
        ask.sent = Sent::Json { body: Bytes::from_static(b"[]"), token };
        assert!(!format!("{ask:?}").contains("canary"));
        sent(ask).expect("an answer");
        let seen = upstream.seen();
        assert_eq!(seen[0].header("authorization"), Some("Bearer canary-token-0123456789abcdef0123456789"));
        assert_eq!((seen[0].header("content-type"), &*seen[0].method), (Some("application/json"), "POST"));
    }
}
