//! Who asks, by which door, and how each door knows that no web page asks.
//!
//! INVARIANT: a request that a browser could have sent on behalf of a page is refused before it is looked at (F1): any
//! `Origin`, any `Sec-Fetch-Site` but `none`, any host that is not the door's own. A page whose name was made to point at
//! this machine (DNS rebinding) still names itself in `Host`.
//!
//! Not here: what is offered (`pages`), how a door is served (`admin`, `listener`, `scrape`).
//!
//! Sources: RFC 6454 §7, RFC 9110 §7.2; threat F1.

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::unix::net::UnixListener as StdListener;
use std::path::Path;
use std::sync::Arc;

use http::{HeaderName, HeaderValue, header, request};
use portcullis_core::Clock;
use portcullis_evidence::event::Actor;
use portcullis_evidence::{SafeText, Source, SourceForm};
use portcullis_net::listen::{BindFault, Listener};
use portcullis_net::tls::{ConnectionFacts, ServerTls, TlsError};
use portcullis_snapshot::plan::Plan;

use super::listener::admin_tls;
use super::socket::{AdminSocketError, bind};

/// Who asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Asker {
    /// A user of this machine, as the kernel says.
    Uid(u32),
    /// An administrator, by the one name in the certificate.
    Peer(Arc<str>),
    /// A program of this machine that reads metrics.
    Local(IpAddr),
}

impl Asker {
    /// As records name it.
    #[must_use]
    pub fn actor(&self) -> Actor<'_> {
        match self {
            Self::Uid(uid) => Actor::Uid(*uid),
            Self::Peer(name) => Actor::Peer(SafeText::new(name)),
            Self::Local(address) => Actor::Local(Source::of(*address, SourceForm::Full)),
        }
    }
}

impl fmt::Display for Asker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Uid(uid) => write!(f, "user {uid}"),
            Self::Peer(name) => write!(f, "{}", SafeText::new(name)),
            Self::Local(address) => address.fmt(f),
        }
    }
}

/// The listeners of a plan, bound and not yet served.
pub struct Doors {
    pub(super) socket: StdListener,
    pub(super) tls: Option<(Listener, Arc<ServerTls>)>,
    pub(super) metrics: Option<Listener>,
}

/// Why administration cannot begin.
#[derive(Debug, thiserror::Error)]
pub enum DoorsError {
    /// The unix socket.
    #[error("there is no admin socket")]
    Socket(#[from] AdminSocketError),
    /// An address.
    #[error("an address of administration cannot be had")]
    Address(#[from] BindFault),
    /// The listener's certificate or roots.
    #[error("the certificates of `admin.listener` cannot be used")]
    Certificates(#[from] TlsError),
    /// Metrics are for this machine alone.
    #[error("`metrics.listen` is `{0}`, which others can reach; write a loopback address")]
    Exposed(SocketAddr),
}

impl Doors {
    /// Binds what the plan names.
    ///
    /// # Errors
    /// See [`DoorsError`].
    pub fn open(plan: &Plan, clock: &Arc<dyn Clock>) -> Result<Self, DoorsError> {
        let socket = bind(Path::new(&*plan.admin.socket), &plan.admin.uids)?;
        let tls = match &plan.admin.listener {
            Some(listener) => {
                let tls = Arc::new(admin_tls(listener, clock)?);
                Some((Listener::bind(listener.address, 64)?, tls))
            }
            None => None,
        };
        let metrics = match plan.metrics.listen {
            // SECURITY: checked when the plan was made; asked again where it would do harm (F1).
            Some(address) if !address.ip().to_canonical().is_loopback() => {
                return Err(DoorsError::Exposed(address));
            }
            Some(address) => Some(Listener::bind(address, 16)?),
            None => None,
        };
        Ok(Self { socket, tls, metrics })
    }

    /// The unix socket alone.
    #[must_use]
    pub fn socket_only(socket: StdListener) -> Self {
        Self { socket, tls: None, metrics: None }
    }
}

impl From<DoorsError> for io::Error {
    fn from(error: DoorsError) -> Self {
        Self::other(portcullis_telemetry::Chain(&error).to_string())
    }
}

/// By which door somebody asks.
#[derive(Clone, Copy, Debug)]
pub(super) enum Door<'c> {
    /// The unix socket.
    Socket,
    /// Mutual TLS.
    Listener(&'c ConnectionFacts),
    /// Loopback, for metrics.
    Metrics,
}

impl Door<'_> {
    /// Whether a request comes from a program that means this door, and not from a page in a browser.
    pub(super) fn is_direct(self, head: &request::Parts) -> bool {
        let one = |name| {
            let mut values = head.headers.get_all(name).iter();
            (values.next().map(HeaderValue::as_bytes), values.next().is_none())
        };
        let (host, single) = one(header::HOST);
        let named = head.uri.authority().is_none_or(|authority| self.is_named(authority.as_str().as_bytes()));
        let meant = single && host.map_or(matches!(self, Self::Socket), |host| self.is_named(host));
        let fetched = matches!(one(HeaderName::from_static("sec-fetch-site")), (None | Some(b"none"), true));
        named && meant && fetched && !head.headers.contains_key(header::ORIGIN)
    }

    fn is_named(self, host: &[u8]) -> bool {
        let bare = std::str::from_utf8(host).ok().and_then(without_port);
        match self {
            Self::Socket => matches!(host, b"" | b"localhost"),
            Self::Listener(facts) => bare.is_some_and(|host| facts.serves_authority(host)),
            Self::Metrics => bare.is_some_and(is_this_machine),
        }
    }
}

fn is_this_machine(host: &str) -> bool {
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.to_canonical().is_loopback())
}

/// A host without its port; an address of IPv6 without its brackets.
fn without_port(authority: &str) -> Option<&str> {
    let (host, rest) = match authority.strip_prefix('[') {
        Some(six) => six.split_once(']')?,
        None => authority.split_at_checked(authority.find(':').unwrap_or(authority.len()))?,
    };
    let number = |digits: &str| digits.bytes().all(|b| b.is_ascii_digit()) && digits.parse::<u16>().is_ok();
    (rest.is_empty() || rest.strip_prefix(':').is_some_and(number)).then_some(host)
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    type Fields<'a> = &'a [(&'a str, &'a str)];

    fn direct(door: Door<'_>, uri: &str, fields: Fields<'_>) -> bool {
        let mut request = Request::get(uri);
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        let (head, ()) = request.body(()).expect("a request").into_parts();
        door.is_direct(&head)
    }

    #[test]
    fn f1_a_page_in_a_browser_cannot_ask() {
        let table: [(&str, Fields<'_>, bool); 14] = [
            ("/status", &[("host", "localhost")], true),
            ("/status", &[("host", "")], true),
            ("/status", &[], true),
            ("http://localhost/status", &[("host", "localhost")], true),
            ("/status", &[("host", "localhost"), ("sec-fetch-site", "none")], true),
            ("/status", &[("host", "localhost:80")], false),
            ("/status", &[("host", "evil.example")], false),
            ("/status", &[("host", "127.0.0.1")], false),
            ("/status", &[("host", "localhost"), ("host", "evil.example")], false),
            ("http://evil.example/status", &[("host", "localhost")], false),
            ("/status", &[("host", "localhost"), ("origin", "null")], false),
            ("/status", &[("host", "localhost"), ("origin", "http://localhost")], false),
            ("/status", &[("host", "localhost"), ("sec-fetch-site", "cross-site")], false),
            ("/status", &[("host", "localhost"), ("sec-fetch-site", "same-origin")], false),
        ];
        for (uri, fields, want) in table {
            assert_eq!(direct(Door::Socket, uri, fields), want, "{uri} {fields:?}");
        }
    }

    #[test]
    fn f1_a_name_that_was_made_to_point_here_reads_no_metrics() {
        let table: [(Fields<'_>, bool); 15] = [
            (&[("host", "localhost")], true),
            (&[("host", "localhost:9400")], true),
            (&[("host", "127.0.0.1:9400")], true),
            (&[("host", "127.9.9.9")], true),
            (&[("host", "[::1]:9400")], true),
            (&[("host", "[::ffff:127.0.0.1]:9400")], true),
            (&[], false),
            (&[("host", "")], false),
            (&[("host", "rebound.example:9400")], false),
            (&[("host", "localhost.example")], false),
            (&[("host", "localhost:9400:1")], false),
            (&[("host", "10.0.0.1")], false),
            (&[("host", "user@localhost")], false),
            (&[("host", "localhost"), ("host", "localhost")], false),
            (&[("host", "localhost"), ("origin", "http://localhost")], false),
        ];
        for (fields, want) in table {
            assert_eq!(direct(Door::Metrics, "/metrics", fields), want, "{fields:?}");
        }
        assert!(!direct(Door::Metrics, "http://evil.example/metrics", &[("host", "localhost")]));
    }
}
