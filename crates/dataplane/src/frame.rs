//! Stage 1: one reading of the message.
//!
//! The head guard (HTTP/1.1) or the meter and the HTTP/2 codec have framed the message. Here its verdict is taken,
//! its one authority and its one normal path are settled, and what HTTP/2 could carry into an HTTP/1.1 upstream is
//! held to the same grammar (threat A5).
//!
//! INVARIANT: after this stage nobody reads the request target again; the path is the [`NormalPath`].
//! INVARIANT: the authority is lower case, without a port, and belongs to the connection's certificate (421).
//!
//! Sources: RFC 9112 §3.2, RFC 9113 §8.3, RFC 9110 §15.5.20; threats A1-A8, B1-B5, D1.

use http::header::{self, HeaderMap, HeaderValue};
use http::request::Parts;
use http::{Method, Request, Version};
use portcullis_core::{NormalPath, Reason, Refusal};
use portcullis_net::Incoming;

use crate::connection::Connection;

/// A request with one reading.
pub(crate) struct Framed {
    /// Method, version and fields. The target in here is not read again.
    pub parts: Parts,
    /// The body, not yet asked for: a `100 Continue` goes out only when somebody reads it.
    pub body: Option<Incoming>,
    /// The one normal path.
    pub path: NormalPath,
    /// The query as it came, without the question mark.
    pub query: Option<String>,
    /// The authority's host.
    pub host: String,
}

/// Takes the guard's verdict and settles authority and path.
pub(crate) fn frame(connection: &Connection, request: Request<Incoming>) -> Result<Framed, Refusal> {
    connection.verdict()?;
    let (parts, body) = request.into_parts();
    if parts.headers.contains_key(header::UPGRADE) {
        connection.holds();
    }
    check_method(&parts.method)?;
    if parts.version == Version::HTTP_2 {
        check_names(&parts.headers)?;
        check_values(&parts.headers)?;
        check_query(&parts.uri)?;
    }
    check_expectation(&parts.headers)?;
    if parts.headers.len() > connection.header_count() {
        return Err(Refusal::new(Reason::HeadersTooLarge, "too many header fields"));
    }
    let host = authority(&parts)?;
    if !connection.serves(&host) {
        return Err(Refusal::new(
            Reason::Misdirected,
            "the certificate of this connection does not cover the authority",
        ));
    }
    let target = parts.uri.path();
    let path =
        NormalPath::parse(target).map_err(|fault| Refusal::new(Reason::MalformedRequest, fault.word()))?;
    let query = parts.uri.query().map(str::to_owned);
    Ok(Framed { parts, body: Some(body), path, query, host })
}

/// `CONNECT` and `TRACE` never pass; over HTTP/2 that includes RFC 8441, which is refused in plain words.
fn check_method(method: &Method) -> Result<(), Refusal> {
    match *method {
        Method::CONNECT => Err(Refusal::new(Reason::UpgradeRefused, "the method CONNECT is never served")),
        Method::TRACE => Err(Refusal::new(Reason::MethodNotAllowed, "the method TRACE is never served")),
        _ => Ok(()),
    }
}

/// A second length, and names that a service may fold into one that frames: `content_length` (A1, A5).
fn check_names(headers: &HeaderMap) -> Result<(), Refusal> {
    let refuse = |why: &'static str| Err(Refusal::new(Reason::MalformedRequest, why));
    if headers.get_all(header::CONTENT_LENGTH).iter().nth(1).is_some() {
        return refuse("two content-length fields");
    }
    match headers.keys().any(|name| crate::headers::frames_by_another_name(name.as_str())) {
        true => refuse("a field name that can be taken for one that frames the message"),
        false => Ok(()),
    }
}

/// The bytes that the guard lets through in a target of HTTP/1.1 (A5); `http` lets others through in a query.
fn check_query(uri: &http::Uri) -> Result<(), Refusal> {
    match uri.query().unwrap_or_default().bytes().all(|b| b.is_ascii_graphic()) {
        true => Ok(()),
        false => Err(Refusal::new(Reason::MalformedRequest, "the query holds bytes outside printable ASCII")),
    }
}

/// The guard refuses such bytes in HTTP/1.1; the HTTP/2 codec lets them through (A5).
fn check_values(headers: &HeaderMap) -> Result<(), Refusal> {
    match headers.values().all(crate::headers::is_plain) {
        true => Ok(()),
        false => {
            Err(Refusal::new(Reason::MalformedRequest, "a field value holds bytes outside printable ASCII"))
        }
    }
}

fn check_expectation(headers: &HeaderMap) -> Result<(), Refusal> {
    let known = |v: &HeaderValue| v.as_bytes().eq_ignore_ascii_case(b"100-continue");
    match headers.get_all(header::EXPECT).iter().all(known) {
        true => Ok(()),
        false => Err(Refusal::new(Reason::ExpectationFailed, "an expectation other than 100-continue")),
    }
}

/// The one authority: `Host` in HTTP/1.1, `:authority` in HTTP/2; where both are there they agree.
fn authority(parts: &Parts) -> Result<String, Refusal> {
    let refuse = |why: &'static str| Refusal::new(Reason::MalformedRequest, why);
    let mut fields = parts.headers.get_all(header::HOST).iter();
    let (field, second) = (fields.next(), fields.next());
    if second.is_some() {
        return Err(refuse("two host fields"));
    }
    let field = field.map(|v| v.to_str().map_err(|_| refuse("host is not text"))).transpose()?;
    let named = parts.uri.authority().map(http::uri::Authority::as_str);
    let text = match (parts.version, named, field) {
        (Version::HTTP_2, Some(named), None) => named,
        (Version::HTTP_2, Some(named), Some(field)) if named.eq_ignore_ascii_case(field) => named,
        (Version::HTTP_2, _, _) => return Err(refuse("no authority, or one that disagrees with host")),
        (_, None, Some(field)) => field,
        _ => return Err(refuse("no host")),
    };
    host_of(text).ok_or_else(|| refuse("host is not a name or an address"))
}

/// The host of an authority without user information: lower case, the port cut off.
fn host_of(text: &str) -> Option<String> {
    let host = match text.strip_prefix('[') {
        Some(six) => {
            let (address, after) = six.split_once(']')?;
            address.parse::<std::net::Ipv6Addr>().ok()?;
            is_port(after)?;
            format!("[{address}]")
        }
        None => {
            let (host, after) = text.split_at_checked(text.find(':').unwrap_or(text.len()))?;
            is_port(after)?;
            host.to_owned()
        }
    };
    let byte = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_' | b':' | b'[' | b']');
    (!host.is_empty() && host.len() <= 255 && host.bytes().all(byte)).then(|| host.to_ascii_lowercase())
}

/// Nothing, or a colon and up to five digits.
fn is_port(text: &str) -> Option<()> {
    let Some(digits) = text.strip_prefix(':') else { return text.is_empty().then_some(()) };
    (digits.len() <= 5 && !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit())).then_some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(request: http::request::Builder) -> Parts {
        request.body(()).expect("a request").into_parts().0
    }

    #[test]
    fn the_host_has_one_spelling() {
        let table = [
            ("Shop.Example", Some("shop.example")),
            ("shop.example:8443", Some("shop.example")),
            ("127.0.0.1:1", Some("127.0.0.1")),
            ("[::1]:8443", Some("[::1]")),
            ("[::1]", Some("[::1]")),
            ("shop.example:", None),
            ("shop.example:x", None),
            ("user@shop.example", None),
            ("[::g]", None),
            ("[::1]x", None),
            ("a b", None),
            ("", None),
            (":80", None),
        ];
        for (given, want) in table {
            assert_eq!(host_of(given).as_deref(), want, "{given:?}");
        }
    }

    #[test]
    fn a1_b8_h2_an_authority_that_disagrees_with_host_is_refused() {
        let agree = Request::builder()
            .version(Version::HTTP_2)
            .uri("https://a.example/x")
            .header("host", "A.example");
        assert_eq!(authority(&parts(agree)).ok().as_deref(), Some("a.example"));
        let differ = Request::builder()
            .version(Version::HTTP_2)
            .uri("https://a.example/x")
            .header("host", "b.example");
        assert!(authority(&parts(differ)).is_err());
        let none = Request::builder().version(Version::HTTP_2).uri("/x");
        assert!(authority(&parts(none)).is_err());
        let two = Request::builder().uri("/x").header("host", "a.example").header("host", "a.example");
        assert!(authority(&parts(two)).is_err());
    }

    #[test]
    fn a5_h2_bytes_that_http1_would_not_carry_are_refused() {
        let mut headers = HeaderMap::new();
        headers.insert("x-note", HeaderValue::from_static("plain text"));
        assert!(check_values(&headers).is_ok());
        headers.insert("x-note", HeaderValue::from_bytes(b"caf\xc3\xa9").expect("obs-text"));
        assert!(check_values(&headers).is_err());
    }

    #[test]
    fn a1_a5_h2_names_that_fold_to_a_framing_field_and_second_lengths_are_refused() {
        for name in
            ["content_length", "content.length", "contentlength", "transfer_encoding", "transferencoding"]
        {
            let mut headers = HeaderMap::new();
            headers.insert(header::HeaderName::from_static(name), HeaderValue::from_static("5"));
            assert!(check_names(&headers).is_err(), "{name}");
        }
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from_static("5"));
        headers.insert("content-language", HeaderValue::from_static("cy"));
        headers.insert("x-transfer-encoding", HeaderValue::from_static("cy"));
        assert!(check_names(&headers).is_ok());
        headers.append(header::CONTENT_LENGTH, HeaderValue::from_static("5"));
        assert!(check_names(&headers).is_err());
    }

    #[test]
    fn a5_h2_a_query_with_bytes_that_http1_would_not_carry_is_refused() {
        let uri = |target: &[u8]| http::Uri::try_from(target).expect("a target that `http` takes");
        assert!(check_query(&uri(b"/x?q=a%C3%A9&r='()!~")).is_ok());
        assert!(check_query(&uri(b"/x")).is_ok());
        assert!(check_query(&uri("/x?q=\u{e9}".as_bytes())).is_err());
    }

    #[test]
    fn b5_connect_and_trace_and_odd_expectations_are_refused() {
        assert_eq!(check_method(&Method::CONNECT).map_err(|r| r.reason()), Err(Reason::UpgradeRefused));
        assert_eq!(check_method(&Method::TRACE).map_err(|r| r.reason()), Err(Reason::MethodNotAllowed));
        let mut headers = HeaderMap::new();
        headers.insert(header::EXPECT, HeaderValue::from_static("100-Continue"));
        assert!(check_expectation(&headers).is_ok());
        headers.insert(header::EXPECT, HeaderValue::from_static("200-ok"));
        assert_eq!(check_expectation(&headers).map_err(|r| r.reason()), Err(Reason::ExpectationFailed));
    }
}
