//! How single values are written: units, names, addresses, files, secrets.

use std::net::SocketAddr;

use ipnet::IpNet;
use portcullis_core::{Assurance, ByteSize, Millis, Name, Rate, TrustDomain};
use schemars::{Schema, SchemaGenerator, json_schema};

use crate::plan::{
    Algorithm, CertificateName, ClaimType, ClientMode, ContractMode, Credentials, Digest, Endpoint, Host,
    Loopback, Method, Origin, Protocol, Sensitivity, StdoutLog, TokenProfile, Url, WebSocket,
};
use crate::yaml::scalar::any_text;
use crate::yaml::section::{Read, wrong};
use crate::yaml::site::Advice;
use crate::yaml::tree::{Entry, Node, Value};
use crate::yaml::{Report, Site, quote, read_parsed, read_words};

/// A file, relative to the directory of the root file unless it is absolute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FilePath(pub(crate) String);

impl FilePath {
    fn parse(text: &str) -> Option<Self> {
        let good = (1..=1_024).contains(&text.len()) && !text.chars().any(char::is_control);
        good.then(|| Self(text.to_owned()))
    }
}

/// The oldest TLS version, judged later, so that an old one is told which clause it breaks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TlsVersion(pub(crate) String);

impl Read for TlsVersion {
    fn read(node: &Node, site: &Site, report: &mut Report) -> Option<Self> {
        any_text(node, site, "`TLS1.2` or `TLS1.3`", report).map(|text| Self(text.to_owned()))
    }

    fn schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "enum": ["TLS1.2", "TLS1.3"] })
    }
}

/// A unix socket, an absolute path that fits in an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SocketPath(pub(crate) String);

impl SocketPath {
    fn parse(text: &str) -> Option<Self> {
        // sun_path holds 108 bytes with its end on Linux.
        let fits = (1..=107).contains(&text.len()) && !text.chars().any(char::is_control);
        fits.then(|| Self(text.to_owned()))
    }
}

/// The name of a header, lower case.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct HeaderName(pub(crate) String);

impl HeaderName {
    /// RFC 9110 §5.1, less upper case: HTTP/2 has none (RFC 9113 §8.2.1).
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let token = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"!#$%&'*+-.^_`|~".contains(&b);
        let good = (1..=128).contains(&text.len()) && text.bytes().all(token);
        good.then(|| Self(text.to_owned()))
    }
}

/// An OAuth scope, a role, an audience: one token without spaces.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Word(pub(crate) String);

impl Word {
    /// RFC 6749 §3.3 `scope-token`.
    fn parse(text: &str) -> Option<Self> {
        let permitted = |b: u8| matches!(b, 0x21 | 0x23..=0x5b | 0x5d..=0x7e);
        let good = (1..=256).contains(&text.len()) && text.bytes().all(permitted);
        good.then(|| Self(text.to_owned()))
    }
}

const SPAN: &str = "a span of time such as `250ms`, `5s`, `10m`, `1h` or `30d`";
const TRUST_DOMAIN: &str = "a trust domain such as `shop.example`: `a-z`, `0-9`, `-`, `_` and `.`";
const SIZE: &str = "a size such as `512B`, `16KiB`, `1MiB` or `2GiB`";
const RATE: &str = "a rate such as `50/s`, `3/min`, `1000/h` or `5/10s`";
const NAME: &str = "a name: `a-z`, `0-9`, `-`, `_` and `.`, a letter first, at most 63";
const ADDRESS: &str = "an address and port such as `0.0.0.0:8443` or `[::]:8443`";
const NETWORK: &str = "a network such as `10.0.0.0/8` or `2001:db8::/32`";
const ENDPOINT: &str = "an address and port such as `10.0.0.7:8443`, or `unix:/run/orders.sock`";
const HEX: &str = "64 lower-case hexadecimal digits";

read_parsed! {
    Millis, |t| Millis::parse(t).ok(), SPAN, { "type": "string", "pattern": "^[1-9][0-9]*(ms|s|m|min|h|d)$" };
    ByteSize, |t| ByteSize::parse(t).ok(), SIZE, { "type": "string", "pattern": "^(0|[1-9][0-9]*)(B|KiB|MiB|GiB)$" };
    Rate, |t| Rate::parse(t).ok(), RATE,
        { "type": "string", "pattern": "^[1-9][0-9]*/(([1-9][0-9]*)?(ms|s|m|min|h|d))$" };
    Name, |t| Name::parse(t).ok(), NAME, { "type": "string", "pattern": "^[a-z][a-z0-9._-]{0,62}$" };
    SocketAddr, |t: &str| t.parse().ok(), ADDRESS, { "type": "string", "pattern": "^(.+):[0-9]{1,5}$" };
    IpNet, parse_network, NETWORK, { "type": "string", "pattern": "^[0-9a-fA-F:.]+/[0-9]{1,3}$" };
    Endpoint, parse_endpoint, ENDPOINT, { "type": "string", "pattern": "^(unix:/.+|.+:[0-9]{1,5})$" };
    Digest, Digest::parse, HEX, { "type": "string", "pattern": "^[0-9a-f]{64}$" };
    TrustDomain, |t| TrustDomain::parse(t).ok(), TRUST_DOMAIN,
        { "type": "string", "pattern": "^[a-z0-9._-]{1,255}$" };
    Host, |t| Host::parse(t).ok(), Host::WANTED, { "type": "string", "pattern": "^[a-z0-9._:\\[\\]-]+$" };
    Origin, |t| Origin::parse(t).ok(), Origin::WANTED, { "type": "string", "pattern": "^https?://[^/]+$" };
    Url, |t| Url::parse(t).ok(), Url::WANTED, { "type": "string", "pattern": "^https?://[^?#@]+$" };
    CertificateName, |t| CertificateName::parse(t).ok(), CertificateName::WANTED,
        { "type": "string", "pattern": "^(spiffe://[a-z0-9._-]+/.+|[a-z0-9._-]+)$" };
    FilePath, FilePath::parse, "the name of a file", { "type": "string", "minLength": 1, "maxLength": 1024 };
    SocketPath, SocketPath::parse, "the path of a unix socket, at most 107 bytes",
        { "type": "string", "minLength": 1, "maxLength": 107 };
    HeaderName, HeaderName::parse, "the name of a header, lower case",
        { "type": "string", "pattern": "^[a-z0-9!#$%&'*+.^_`|~-]{1,128}$" };
    Word, Word::parse, "a word without spaces or quotes, at most 256 characters",
        { "type": "string", "pattern": "^[!#-\\[\\]-~]{1,256}$" };
}

read_words! {
    Assurance { "low" => Self::Low, "substantial" => Self::Substantial, "high" => Self::High, }
    ClientMode { "off" => Self::Off, "optional" => Self::Optional, "required" => Self::Required, }
    Algorithm {
        "ES256" => Self::ES256, "ES384" => Self::ES384, "EdDSA" => Self::EdDSA, "PS256" => Self::PS256,
        "RS256" => Self::RS256,
    }
    TokenProfile { "at+jwt" => Self::AtJwt, "jwt" => Self::Jwt, }
    ClaimType {
        "text" => Self::Text, "integer" => Self::Integer, "boolean" => Self::Boolean, "texts" => Self::Texts,
    }
    Loopback { "refused" => Self::Refused, "allowed" => Self::Allowed, }
    Sensitivity { "low" => Self::Low, "medium" => Self::Medium, "high" => Self::High, }
    ContractMode { "off" => Self::Off, "report" => Self::Report, "enforce" => Self::Enforce, }
    WebSocket { "refused" => Self::Refused, "allowed" => Self::Allowed, }
    Credentials { "omitted" => Self::Omitted, "included" => Self::Included, }
    Protocol { "http1" => Self::Http1, "http2" => Self::Http2, }
    StdoutLog { "off" => Self::Off, "json" => Self::Json, }
    Method {
        "GET" => Self::Get, "HEAD" => Self::Head, "POST" => Self::Post, "PUT" => Self::Put, "PATCH" => Self::Patch,
        "DELETE" => Self::Delete, "OPTIONS" => Self::Options,
    }
}

/// A network written with its own first address, so that one network has one spelling; mapped addresses are
/// written as IPv4 (B12).
fn parse_network(text: &str) -> Option<IpNet> {
    let net: IpNet = text.parse().ok()?;
    let mapped = matches!(net, IpNet::V6(v6) if v6.addr().to_ipv4_mapped().is_some());
    (net.trunc() == net && !mapped).then_some(net)
}

fn parse_endpoint(text: &str) -> Option<Endpoint> {
    match text.strip_prefix("unix:") {
        Some(path) if path.starts_with('/') => SocketPath::parse(path).map(|p| Endpoint::Unix(p.0.into())),
        Some(_) => None,
        None => text.parse().ok().filter(|a: &SocketAddr| a.port() != 0).map(Endpoint::Address),
    }
}

/// Where a secret comes from: never the secret itself, and never the environment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum SecretSource {
    File(FilePath),
    Credential(Name),
    Descriptor(u32),
}

const REFERENCE: &str = "a reference: `{ file: … }`, `{ credential: … }` or `{ fd: … }`";

impl Read for SecretSource {
    fn read(node: &Node, site: &Site, report: &mut Report) -> Option<Self> {
        match &node.value {
            // SECURITY: whatever stands here may be the secret, so it is not repeated (C13, SS028-11.2.10c).
            Value::Plain(_) | Value::Quoted(_) => {
                let advice = Advice::breaks("SS028-11.2.10c").write(format!("write {REFERENCE}"));
                report.advise(site, "holds a secret itself, which is refused", advice);
                None
            }
            Value::Map(entries) => match entries.as_slice() {
                [one] => one_source(one, site, report),
                _ => {
                    report.say(site, format!("has {} keys, expected {REFERENCE}", entries.len()));
                    None
                }
            },
            other => {
                wrong(other, site, REFERENCE, report);
                None
            }
        }
    }

    fn schema(generator: &mut SchemaGenerator) -> Schema {
        let (file, name, fd) =
            (FilePath::schema(generator), Name::schema(generator), <u32 as Read>::schema(generator));
        let only = |key: &str, schema: Schema| json_schema!({ "type": "object", "properties": { key: schema }, "required": [key], "additionalProperties": false });
        json_schema!({ "oneOf": [only("file", file), only("credential", name), only("fd", fd)] })
    }
}

fn one_source(entry: &Entry, site: &Site, report: &mut Report) -> Option<SecretSource> {
    let at = site.child(&entry.key, entry.value.mark);
    match entry.key.as_str() {
        "file" => FilePath::read(&entry.value, &at, report).map(SecretSource::File),
        "credential" => Name::read(&entry.value, &at, report).map(SecretSource::Credential),
        "fd" => u32::read(&entry.value, &at, report).map(SecretSource::Descriptor),
        "env" | "environment" => {
            let advice = Advice::breaks("SS028-11.2.10c").write(format!("write {REFERENCE}"));
            report.advise(&at, "takes a secret from the environment, which is refused", advice);
            None
        }
        other => {
            report.say(&at, format!("found {}, expected {REFERENCE}", quote(other)));
            None
        }
    }
}
