//! Texts that have been read: environment, host, origin, address, method, file.
//!
//! INVARIANT: each is printable ASCII in one spelling, so that comparing bytes compares meanings (B4, A10).
//!
//! Sources: RFC 3986 §3.2.2; RFC 6454 §6; SPIFFE-ID §2.1; RFC 9110 §9.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use portcullis_core::{Name, SpiffeId};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Why a text is not what it should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NameError(&'static str);

impl fmt::Display for NameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "expected {}", self.0)
    }
}

impl std::error::Error for NameError {}

/// Makes checked text types with `parse`, `as_str`, `Display` and serde through the text.
macro_rules! checked_text {
    ($($(#[$doc:meta])* $name:ident, $wanted:literal, $check:expr;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Arc<str>);

        impl $name {
            pub(crate) const WANTED: &'static str = $wanted;

            /// Checks `text` and keeps it.
            ///
            /// # Errors
            /// The text has another form; the error says which is expected.
            pub fn parse(text: &str) -> Result<Self, NameError> {
                let check: fn(&str) -> bool = $check;
                check(text).then(|| Self(text.into())).ok_or(NameError(Self::WANTED))
            }

            /// The text itself.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
                out.serialize_str(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                let text = <std::borrow::Cow<'de, str>>::deserialize(from)?;
                Self::parse(&text).map_err(serde::de::Error::custom)
            }
        }
    )*};
}

checked_text! {
    /// An authority without its port, such as `api.shop.example` or `127.0.0.1`.
    Host, "a host such as `api.shop.example`, lower case, without a port or wildcard", |t| {
        is_dns_name(t) || is_ip_literal(t)
    };
    /// The origin of a page, such as `https://www.shop.example`.
    Origin, "an origin such as `https://www.shop.example`, lower case, without a path", |t| {
        split_url(t).is_some_and(|u| u.rest.is_empty() && !matches!((u.scheme, u.port), ("https", Some(443)) | ("http", Some(80))))
    };
    /// An address of a service of others, `https` (or `http` on loopback), such as `https://login.example/realms/staff`.
    Url, "an address such as `https://login.example/realms/staff`, without user, query or fragment", |t| {
        split_url(t).is_some_and(|u| is_plain_path(u.rest))
    };
    /// The name in a certificate: a SPIFFE id such as `spiffe://shop.example/orders`, or a DNS name.
    CertificateName, "a SPIFFE id such as `spiffe://shop.example/orders`, or a DNS name", |t| {
        if t.starts_with("spiffe://") { SpiffeId::parse(t).is_ok() } else { is_dns_name(t) }
    };
}

/// The trust domain of `portcullis demo`, whose keys are made at start; no production environment may use it.
pub const DEMO_TRUST_DOMAIN: &str = "demo.portcullis.invalid";

impl Url {
    /// Whether it is `https`.
    #[must_use]
    pub fn is_tls(&self) -> bool {
        self.as_str().starts_with("https://")
    }

    /// The host: a DNS name, or an address (IPv6 in brackets).
    #[must_use]
    pub fn host(&self) -> &str {
        split_url(self.as_str()).map_or("", |u| u.host)
    }

    /// Whether the host names this machine.
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        let host = self.host();
        let bare = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host);
        host == "localhost" || bare.parse::<IpAddr>().is_ok_and(|ip| ip.to_canonical().is_loopback())
    }
}

impl CertificateName {
    /// Whether it is a SPIFFE id; a DNS name otherwise.
    #[must_use]
    pub fn is_spiffe(&self) -> bool {
        self.as_str().starts_with("spiffe://")
    }

    /// The trust domain of a SPIFFE id.
    #[must_use]
    pub fn trust_domain(&self) -> Option<&str> {
        self.as_str().strip_prefix("spiffe://").and_then(|rest| rest.split('/').next())
    }
}

fn is_domain_byte(byte: u8) -> bool {
    byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'_' | b'.')
}

/// Lower-case labels with dots between; the last one is not all digits, so that no address is a name.
fn is_dns_name(text: &str) -> bool {
    let label = |l: &str| {
        (1..=63).contains(&l.len())
            && !l.starts_with('-')
            && !l.ends_with('-')
            && l.bytes().all(|b| b != b'.' && is_domain_byte(b))
    };
    let last = text.rsplit('.').next().unwrap_or(text);
    text.len() <= 253 && text.split('.').all(label) && !last.bytes().all(|b| b.is_ascii_digit())
}

/// An address in its one canonical spelling, IPv6 in brackets.
fn is_ip_literal(text: &str) -> bool {
    match text.strip_prefix('[').and_then(|t| t.strip_suffix(']')) {
        Some(six) => six.parse::<std::net::Ipv6Addr>().is_ok_and(|ip| ip.to_string() == six),
        None => text.parse::<std::net::Ipv4Addr>().is_ok(),
    }
}

struct UrlParts<'a> {
    scheme: &'a str,
    host: &'a str,
    port: Option<u16>,
    /// From the first slash.
    rest: &'a str,
}

/// Splits `https://host:port/path`; no user, no upper case in the host.
fn split_url(text: &str) -> Option<UrlParts<'_>> {
    let (scheme, after) = text.split_once("://")?;
    let end = after.find('/').unwrap_or(after.len());
    let (authority, rest) = after.split_at_checked(end)?;
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => {
            let canonical = !port.starts_with('0') && port.bytes().all(|b| b.is_ascii_digit());
            (host, Some(port.parse::<u16>().ok().filter(|_| canonical)?))
        }
        _ => (authority, None),
    };
    let known = matches!(scheme, "https" | "http") && text.len() <= 2_000;
    (known && (is_dns_name(host) || is_ip_literal(host))).then_some(UrlParts { scheme, host, port, rest })
}

fn is_plain_path(path: &str) -> bool {
    path.is_empty() || portcullis_core::NormalPath::parse(path).is_ok_and(|p| p.as_str() == path)
}

/// Which environment this is: `production`, `staging`, `test`, `development`, or a name of your own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Environment(Name);

impl Environment {
    pub(crate) fn new(name: Name) -> Self {
        Self(name)
    }

    /// Whether real people's data is at stake.
    #[must_use]
    pub fn is_production(&self) -> bool {
        self.0.as_str() == "production"
    }

    /// The name.
    #[must_use]
    pub fn name(&self) -> &Name {
        &self.0
    }
}

/// A file that was named in the configuration, with its contents.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inlined {
    /// The name as it was written.
    pub file: Arc<str>,
    /// What it holds.
    pub text: Arc<str>,
}

/// A request method that a route may have; `CONNECT` and `TRACE` cannot be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
#[expect(missing_docs, reason = "the words of RFC 9110 §9 and RFC 5789")]
pub enum Method {
    Get,
    Head,
    Post,
    Put,
    Patch,
    Delete,
    Options,
}

impl Method {
    /// All of them, in the order of the standard.
    pub const ALL: [Self; 7] =
        [Self::Get, Self::Head, Self::Post, Self::Put, Self::Patch, Self::Delete, Self::Options];

    /// The word on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Head => "HEAD",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Patch => "PATCH",
            Self::Delete => "DELETE",
            Self::Options => "OPTIONS",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn c12_addresses_have_one_spelling_and_no_tricks() {
        for good in ["https://login.example/realms/staff", "http://127.0.0.1:8080", "https://[::1]:9/a"] {
            assert!(Url::parse(good).is_ok(), "{good}");
        }
        let bad = [
            "login.example",
            "ftp://a.example",
            "https://u:p@a.example",
            "https://a.example/#x",
            "https://A.example",
            "https://a.example/?q",
            "https://a.example/../x",
            "https://a.example:08",
            "https://a.example:",
            "https://",
            "https://127.1/",
            "https://2130706433/",
            "https://0x7f.1/",
            "https://[::0001]/",
            "https://a.example\\@b",
        ];
        for bad in bad {
            assert!(Url::parse(bad).is_err(), "{bad}");
        }
        assert!(Url::parse("http://127.0.0.1:1/x").is_ok_and(|u| u.is_loopback() && !u.is_tls()));
        assert!(Url::parse("https://[::ffff:127.0.0.1]/").is_ok_and(|u| u.is_loopback()));
    }

    #[test]
    fn b4_b7_hosts_and_origins_are_lower_case_and_literal() {
        for bad in [
            "",
            "*",
            "*.shop.example",
            "Shop.example",
            "shop.example:443",
            "shop..example",
            "-a.example",
            "a b",
        ] {
            assert!(Host::parse(bad).is_err(), "{bad}");
        }
        assert!(Host::parse("api.shop.example").is_ok() && Host::parse("127.0.0.1").is_ok());
        for bad in ["*", "null", "https://a.example/", "https://a.example:443", "http://a.example:80"] {
            assert!(Origin::parse(bad).is_err(), "{bad}");
        }
        assert!(Origin::parse("https://a.example:8443").is_ok());
    }

    #[test]
    fn d3_certificate_names_are_spiffe_ids_or_dns_names() {
        for good in ["spiffe://shop.example/orders", "spiffe://shop.example/ns/a/sa/b", "orders.internal"] {
            assert!(CertificateName::parse(good).is_ok(), "{good}");
        }
        for bad in [
            "spiffe://shop.example",
            "spiffe://shop.example/",
            "spiffe://shop.example/a/../b",
            "spiffe://S/a",
            "*.a",
        ] {
            assert!(CertificateName::parse(bad).is_err(), "{bad}");
        }
    }
}
