//! Cross-origin requests: closed by default, preflights answered here.
//!
//! INVARIANT: an origin is compared as a whole, byte for byte, with the listed ones; there are no patterns.
//! INVARIANT: an upstream's own CORS fields never pass; a route's rules are the only ones (one reading).
//!
//! Sources: Fetch Standard §3.3 (CORS protocol); RFC 6454 §7.

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Method, StatusCode};
use portcullis_core::{Reason, Refusal};

/// What a route permits to scripts of other origins. Empty `origins` permits nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CorsRules {
    /// Serialised origins such as `https://shop.example`.
    pub origins: Vec<String>,
    /// Request fields beyond the safelisted ones, lower case.
    pub headers: Vec<String>,
    /// Answer fields that scripts may read, joined for the wire.
    pub expose: Option<HeaderValue>,
    /// Whether cookies and client certificates may come along.
    pub credentials: Credentials,
    /// For how many seconds a browser may remember the answer.
    pub max_age: u32,
}

/// Whether credentials may be sent by a script.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Credentials {
    /// Only what the script sets itself.
    #[default]
    Omitted,
    /// Also what the browser keeps.
    Included,
}

const ANSWER_FIELDS: [HeaderName; 6] = [
    header::ACCESS_CONTROL_ALLOW_ORIGIN,
    header::ACCESS_CONTROL_ALLOW_CREDENTIALS,
    header::ACCESS_CONTROL_ALLOW_METHODS,
    header::ACCESS_CONTROL_ALLOW_HEADERS,
    header::ACCESS_CONTROL_EXPOSE_HEADERS,
    header::ACCESS_CONTROL_MAX_AGE,
];

/// Whether a request is a preflight: an `OPTIONS` that announces another request.
#[must_use]
pub fn is_preflight(method: &Method, headers: &HeaderMap) -> bool {
    *method == Method::OPTIONS
        && headers.contains_key(header::ORIGIN)
        && headers.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD)
}

/// The method that a preflight announces.
#[must_use]
pub fn announced(headers: &HeaderMap) -> Option<Method> {
    let method = single(headers, &header::ACCESS_CONTROL_REQUEST_METHOD)?;
    Method::from_bytes(method.as_bytes()).ok()
}

/// Answers a preflight for a route that serves `methods`.
///
/// # Errors
/// The origin, the method or a field is not on the route's list.
pub fn preflight(rules: &CorsRules, methods: &[Method], headers: &HeaderMap) -> Result<HeaderMap, Refusal> {
    let origin = permitted_origin(rules, headers).ok_or_else(|| refused("origin is not on the route's list"))?;
    let method = announced(headers).filter(|m| methods.contains(m));
    let method = method.ok_or_else(|| refused("announced method is not on the route's list"))?;
    let fields = headers.get_all(header::ACCESS_CONTROL_REQUEST_HEADERS);
    let asked = fields.iter().flat_map(|v| v.to_str().unwrap_or("\u{0}").split(',')).map(str::trim);
    let asked: Vec<&str> = asked.filter(|f| !f.is_empty()).collect();
    if !asked.iter().all(|f| rules.headers.iter().any(|h| h.eq_ignore_ascii_case(f))) {
        return Err(refused("announced field is not on the route's list"));
    }
    let mut answer = HeaderMap::with_capacity(6);
    grant_origin(rules, origin, &mut answer);
    crate::headers::set(&mut answer, header::ACCESS_CONTROL_ALLOW_METHODS, method.as_str());
    if !asked.is_empty() {
        crate::headers::set(&mut answer, header::ACCESS_CONTROL_ALLOW_HEADERS, &rules.headers.join(", "));
    }
    answer.insert(header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from(rules.max_age));
    Ok(answer)
}

/// The status of a preflight that is granted.
pub const PREFLIGHT_GRANTED: StatusCode = StatusCode::NO_CONTENT;

/// Takes the upstream's CORS fields out of an answer, and puts ours in if the origin is on the list.
pub fn finish(rules: &CorsRules, origin: Option<&HeaderValue>, answer: &mut HeaderMap) {
    for name in &ANSWER_FIELDS {
        answer.remove(name);
    }
    if rules.origins.is_empty() {
        return;
    }
    answer.append(header::VARY, HeaderValue::from_static("origin"));
    let Some(origin) = origin.filter(|o| is_listed(rules, o)) else { return };
    grant_origin(rules, origin.clone(), answer);
    if let Some(expose) = &rules.expose {
        answer.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, expose.clone());
    }
}

fn grant_origin(rules: &CorsRules, origin: HeaderValue, answer: &mut HeaderMap) {
    answer.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    if rules.credentials == Credentials::Included {
        answer.insert(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
    }
}

fn permitted_origin(rules: &CorsRules, headers: &HeaderMap) -> Option<HeaderValue> {
    single(headers, &header::ORIGIN).filter(|o| is_listed(rules, o)).cloned()
}

fn is_listed(rules: &CorsRules, origin: &HeaderValue) -> bool {
    rules.origins.iter().any(|listed| listed.as_bytes() == origin.as_bytes())
}

fn single<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Option<&'h HeaderValue> {
    let mut values = headers.get_all(name).iter();
    let first = values.next()?;
    values.next().is_none().then_some(first)
}

fn refused(private: &'static str) -> Refusal {
    Refusal::new(Reason::OriginRefused, private)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules() -> CorsRules {
        CorsRules {
            origins: vec!["https://shop.example".into()],
            headers: vec!["authorization".into(), "content-type".into()],
            max_age: 600,
            ..CorsRules::default()
        }
    }

    fn asking(origin: &'static str, method: &'static str, fields: &'static str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(header::ORIGIN, HeaderValue::from_static(origin));
        headers.insert(header::ACCESS_CONTROL_REQUEST_METHOD, HeaderValue::from_static(method));
        headers.insert(header::ACCESS_CONTROL_REQUEST_HEADERS, HeaderValue::from_static(fields));
        headers
    }

    #[test]
    fn a_preflight_is_granted_only_when_all_of_it_is_listed() {
        let methods = [Method::GET, Method::POST];
        let table = [
            ("https://shop.example", "POST", "content-type", true),
            ("https://shop.example", "POST", "Content-Type, Authorization", true),
            ("https://shop.example", "DELETE", "content-type", false),
            ("https://shop.example", "POST", "x-secret", false),
            ("https://shop.example.evil", "POST", "", false),
            ("http://shop.example", "POST", "", false),
            ("null", "POST", "", false),
        ];
        for (origin, method, fields, granted) in table {
            let answer = preflight(&rules(), &methods, &asking(origin, method, fields));
            assert_eq!(answer.is_ok(), granted, "{origin} {method} {fields}");
        }
    }

    #[test]
    fn cors_is_closed_by_default() {
        let answer = preflight(&CorsRules::default(), &[Method::GET], &asking("https://a.example", "GET", ""));
        assert_eq!(answer.map_err(|r| r.reason()), Err(Reason::OriginRefused));
    }

    #[test]
    fn the_upstreams_own_grant_never_passes() {
        let mut answer = HeaderMap::new();
        answer.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
        finish(&rules(), Some(&HeaderValue::from_static("https://evil.example")), &mut answer);
        assert!(!answer.contains_key(header::ACCESS_CONTROL_ALLOW_ORIGIN));
        finish(&rules(), Some(&HeaderValue::from_static("https://shop.example")), &mut answer);
        assert_eq!(answer[header::ACCESS_CONTROL_ALLOW_ORIGIN], "https://shop.example");
    }

    #[test]
    fn b8_two_origins_are_none() {
        let mut headers = asking("https://shop.example", "GET", "");
        headers.append(header::ORIGIN, HeaderValue::from_static("https://evil.example"));
        assert!(preflight(&rules(), &[Method::GET], &headers).is_err());
    }
}
