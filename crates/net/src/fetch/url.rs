//! Where the control process may send a request to.
//!
//! INVARIANT: a [`FetchUrl`] is `https`, or `http` where loopback is allowed; it has a host, no user information and no
//! fragment.
//! INVARIANT: every address that is connected to was permitted by [`Egress`] after it was resolved.
//!
//! Sources: RFC 3986 §3, RFC 9110 §4.2; threat C12 (a `jwks_uri` that points at a metadata service).

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use http::Uri;

use crate::address::{Class, class};

/// Whether something is allowed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Permission {
    /// No.
    #[default]
    Refused,
    /// Yes, and somebody wrote that down.
    Allowed,
}

/// Which places may be connected to, beyond public ones. Link-local, metadata, multicast and unspecified addresses never.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Egress {
    /// This machine; also permits `http` there.
    pub loopback: Permission,
    /// The organisation's own networks.
    pub private: Permission,
}

impl Egress {
    /// May `ip` be connected to?
    #[must_use]
    pub fn permits(&self, ip: IpAddr) -> bool {
        match class(ip) {
            Class::Public => true,
            Class::Loopback => self.loopback == Permission::Allowed,
            Class::Private => self.private == Permission::Allowed,
            // SECURITY: no setting opens these: what answers there hands out credentials (C12).
            Class::LinkLocal | Class::Metadata | Class::Unspecified | Class::Multicast | Class::Reserved => {
                false
            }
        }
    }
}

/// How the bytes travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scheme {
    Https,
    /// To loopback only.
    Http,
}

/// A checked URL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FetchUrl {
    scheme: Scheme,
    host: Box<str>,
    port: u16,
    authority: Box<str>,
    target: Box<str>,
}

/// Why a text is not a [`FetchUrl`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UrlFault {
    /// Not a URL, or too long.
    #[error("this is not an absolute URL such as `https://login.example/keys`")]
    Syntax,
    /// `http`, or something else.
    #[error("only `https` URLs are fetched (`http` from this machine itself, where loopback is allowed)")]
    Scheme,
    /// `user:password@`.
    #[error("a URL must not carry user information")]
    UserInfo,
    /// `#…`.
    #[error("a URL that is fetched has no fragment")]
    Fragment,
}

impl FetchUrl {
    /// The longest URL that is read.
    pub const LONGEST: usize = 2_048;

    /// Checks `text`.
    ///
    /// # Errors
    /// The first fault found.
    pub fn parse(text: &str, egress: Egress) -> Result<Self, UrlFault> {
        if text.len() > Self::LONGEST || !text.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(UrlFault::Syntax);
        }
        if text.contains('#') {
            return Err(UrlFault::Fragment);
        }
        let uri: Uri = text.parse().map_err(|_| UrlFault::Syntax)?;
        let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
            return Err(UrlFault::Syntax);
        };
        if authority.as_str().contains('@') {
            return Err(UrlFault::UserInfo);
        }
        let scheme = match scheme {
            "https" => Scheme::Https,
            "http" if egress.loopback == Permission::Allowed => Scheme::Http,
            _ => return Err(UrlFault::Scheme),
        };
        Self::assemble(scheme, authority, &uri)
    }

    fn assemble(scheme: Scheme, authority: &http::uri::Authority, uri: &Uri) -> Result<Self, UrlFault> {
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_ascii_lowercase();
        let has_port = authority.as_str().len() > authority.host().len();
        let port = match (authority.port_u16(), scheme) {
            (Some(0), _) => return Err(UrlFault::Syntax),
            (Some(port), _) => port,
            // `host:` and `host:99999`
            (None, _) if has_port => return Err(UrlFault::Syntax),
            (None, Scheme::Https) => 443,
            (None, Scheme::Http) => 80,
        };
        if host.is_empty() {
            return Err(UrlFault::Syntax);
        }
        let target = uri.path_and_query().map_or("/", |target| target.as_str());
        let authority = authority.as_str().to_ascii_lowercase().into();
        Ok(Self { scheme, host: host.into(), port, authority, target: target.into() })
    }

    /// The host, without brackets.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    pub(super) fn scheme(&self) -> Scheme {
        self.scheme
    }

    pub(super) fn port(&self) -> u16 {
        self.port
    }

    pub(super) fn authority(&self) -> &str {
        &self.authority
    }

    pub(super) fn target(&self) -> &str {
        &self.target
    }

    /// May this URL be fetched from `address`?
    pub(super) fn may_use(&self, address: SocketAddr, egress: Egress) -> bool {
        let plaintext_stays_here = self.scheme == Scheme::Https || class(address.ip()) == Class::Loopback;
        plaintext_stays_here && egress.permits(address.ip())
    }
}

impl fmt::Display for FetchUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = match self.scheme {
            Scheme::Https => "https",
            Scheme::Http => "http",
        };
        write!(f, "{scheme}://{}{}", self.authority, self.target)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OPEN: Egress = Egress { loopback: Permission::Allowed, private: Permission::Allowed };
    const CLOSED: Egress = Egress { loopback: Permission::Refused, private: Permission::Refused };

    #[test]
    fn c12_a_url_has_one_reading_or_is_refused() {
        let table = [
            ("https://login.example/keys?x=1", Ok("https://login.example/keys?x=1")),
            ("https://Login.Example", Ok("https://login.example/")),
            ("https://login.example:8443/", Ok("https://login.example:8443/")),
            ("https://[2001:db8::1]/", Ok("https://[2001:db8::1]/")),
            ("http://127.0.0.1/", Err(UrlFault::Scheme)),
            ("http://login.example/", Err(UrlFault::Scheme)),
            ("ftp://login.example/", Err(UrlFault::Scheme)),
            ("file:///etc/passwd", Err(UrlFault::Syntax)),
            ("https://user@login.example/", Err(UrlFault::UserInfo)),
            ("https://login.example@evil.example/", Err(UrlFault::UserInfo)),
            ("https://login.example/#x", Err(UrlFault::Fragment)),
            ("https://login.example#@evil.example/", Err(UrlFault::Fragment)),
            ("https://login.example:/", Err(UrlFault::Syntax)),
            ("https://login.example:0/", Err(UrlFault::Syntax)),
            ("https://login.example:65536/", Err(UrlFault::Syntax)),
            ("https:///keys", Err(UrlFault::Syntax)),
            ("https://lo gin.example/", Err(UrlFault::Syntax)),
            ("https://login.example\\@evil.example/", Err(UrlFault::Syntax)),
            ("https://login.example/\r\nHost: x", Err(UrlFault::Syntax)),
            ("//login.example/", Err(UrlFault::Syntax)),
            ("/keys", Err(UrlFault::Syntax)),
            ("login.example", Err(UrlFault::Syntax)),
            ("", Err(UrlFault::Syntax)),
        ];
        for (given, want) in table {
            let got = FetchUrl::parse(given, CLOSED).map(|url| url.to_string());
            assert_eq!(got.as_deref().map_err(|f| *f), want, "{given}");
        }
        assert!(FetchUrl::parse(&format!("https://a.example/{}", "x".repeat(2_048)), CLOSED).is_err());
        assert!(FetchUrl::parse("http://127.0.0.1/", OPEN).is_ok());
    }

    #[test]
    fn c12_no_setting_permits_a_metadata_address_in_any_spelling() {
        let never = [
            "169.254.169.254",
            "::ffff:169.254.169.254",
            "64:ff9b::a9fe:a9fe",
            "2002:a9fe:a9fe::",
            "fe80::1",
            "fd00:ec2::254",
            "100.100.100.200",
            "168.63.129.16",
            "0.0.0.0",
            "::",
            "224.0.0.1",
            "ff02::1",
            "240.0.0.1",
        ];
        for ip in never {
            assert!(!OPEN.permits(ip.parse().unwrap()), "{ip}");
        }
        let by_setting = ["127.0.0.1", "::1", "::ffff:127.0.0.1", "10.0.0.1", "192.168.1.1", "fd12::1"];
        for ip in by_setting {
            assert!(OPEN.permits(ip.parse().unwrap()) && !CLOSED.permits(ip.parse().unwrap()), "{ip}");
        }
        assert!(CLOSED.permits("93.184.215.14".parse().unwrap()));
    }

    #[test]
    fn c12_plaintext_stays_on_this_machine() {
        let url = FetchUrl::parse("http://localhost:9/", OPEN).unwrap();
        assert!(url.may_use("127.0.0.1:9".parse().unwrap(), OPEN));
        for elsewhere in ["10.0.0.1:9", "93.184.215.14:9", "169.254.169.254:9"] {
            assert!(!url.may_use(elsewhere.parse().unwrap(), OPEN), "{elsewhere}");
        }
    }
}
