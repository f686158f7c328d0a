//! Cross-origin requests: closed by default, preflights answered here.
//!
//! INVARIANT: an origin is compared as a whole, byte for byte, with the listed ones; there are no patterns.
//! INVARIANT: an upstream's own CORS fields never pass; a route's rules are the only ones (one reading).
//!
//! Sources: Fetch Standard §3.3 (CORS protocol); RFC 6454 §7.

use std::collections::BTreeSet;
use std::sync::Arc;

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Method, StatusCode};
use portcullis_core::{Proof, Reason, Refusal};
use portcullis_snapshot::plan::{AllowedOrigins, Cors, Credentials};
use portcullis_snapshot::routes::Access;

use crate::answer::Answer;
use crate::identify::Caller;
use crate::route::Routed;

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
pub(crate) fn is_preflight(method: &Method, headers: &HeaderMap) -> bool {
    *method == Method::OPTIONS
        && headers.contains_key(header::ORIGIN)
        && headers.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD)
}

/// The method that a preflight announces.
#[must_use]
pub(crate) fn announced(headers: &HeaderMap) -> Option<Method> {
    let method = single(headers, &header::ACCESS_CONTROL_REQUEST_METHOD)?;
    Method::from_bytes(method.as_bytes()).ok()
}

/// Answers a preflight on the spot; `None` for every other request.
///
/// # Errors
/// The route is closed to other origins, or the origin, the method or a field is not on its list. To a stranger that reads
/// like a route that does not exist, so that preflights map nobody's routes.
pub(crate) fn answer_preflight(routed: &Routed, caller: &Caller) -> Result<Option<Answer>, Refusal> {
    let parts = &routed.admitted.framed.parts;
    if !is_preflight(&parts.method, &parts.headers) {
        return Ok(None);
    }
    let closed = || refused("the route is closed to other origins");
    let rules = routed.route.cors.as_ref().ok_or_else(closed);
    let headers = rules.and_then(|rules| preflight(rules, &routed.route.methods, &parts.headers));
    let is_stranger = caller.principal().proof == Proof::Anonymous && routed.route.access == Access::Ruled;
    let headers = headers.map_err(|refusal| match is_stranger {
        true => Refusal::new(Reason::MissingCredentials, "a preflight of a stranger is not granted"),
        false => refusal,
    })?;
    Ok(Some(Answer::empty(StatusCode::NO_CONTENT, headers)))
}

fn preflight(rules: &Cors, methods: &[Method], headers: &HeaderMap) -> Result<HeaderMap, Refusal> {
    let origin = single(headers, &header::ORIGIN).filter(|o| is_listed(rules, o));
    let origin = origin.ok_or_else(|| refused("origin is not on the route's list"))?;
    let method = announced(headers).filter(|m| methods.contains(m));
    let method = method.ok_or_else(|| refused("announced method is not on the route's list"))?;
    let fields = headers.get_all(header::ACCESS_CONTROL_REQUEST_HEADERS);
    let asked = fields.iter().flat_map(|v| v.to_str().unwrap_or("\u{0}").split(',')).map(str::trim);
    let asked: Vec<String> = asked.filter(|f| !f.is_empty()).map(str::to_ascii_lowercase).collect();
    if !asked.iter().all(|f| rules.headers.contains(f.as_str())) {
        return Err(refused("announced field is not on the route's list"));
    }
    let mut answer = HeaderMap::with_capacity(6);
    grant_origin(rules, origin.clone(), &mut answer);
    crate::headers::set(&mut answer, header::ACCESS_CONTROL_ALLOW_METHODS, method.as_str());
    if !asked.is_empty() {
        crate::headers::set(&mut answer, header::ACCESS_CONTROL_ALLOW_HEADERS, joined(&rules.headers));
    }
    answer.insert(header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from(rules.max_age.get() / 1_000));
    Ok(answer)
}

fn joined(names: &BTreeSet<Arc<str>>) -> String {
    names.iter().map(|n| &**n).collect::<Vec<_>>().join(", ")
}

/// Takes the upstream's CORS fields out of an answer, and puts ours in if the origin is on the list.
pub(crate) fn finish(rules: Option<&Cors>, origin: Option<&HeaderValue>, answer: &mut HeaderMap) {
    for name in &ANSWER_FIELDS {
        answer.remove(name);
    }
    let Some(rules) = rules else { return };
    answer.append(header::VARY, HeaderValue::from_static("origin"));
    let Some(origin) = origin.filter(|o| is_listed(rules, o)) else { return };
    grant_origin(rules, origin.clone(), answer);
    if !rules.expose.is_empty() {
        crate::headers::set(answer, header::ACCESS_CONTROL_EXPOSE_HEADERS, joined(&rules.expose));
    }
}

fn grant_origin(rules: &Cors, origin: HeaderValue, answer: &mut HeaderMap) {
    match (&rules.origins, rules.credentials) {
        (AllowedOrigins::Every, _) => {
            answer.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
        }
        (AllowedOrigins::Listed(_), credentials) => {
            answer.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
            if credentials == Credentials::Included {
                let yes = HeaderValue::from_static("true");
                answer.insert(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, yes);
            }
        }
    }
}

fn is_listed(rules: &Cors, origin: &HeaderValue) -> bool {
    match &rules.origins {
        AllowedOrigins::Every => true,
        AllowedOrigins::Listed(listed) => listed.iter().any(|o| o.as_str().as_bytes() == origin.as_bytes()),
    }
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
    use portcullis_core::Millis;
    use portcullis_snapshot::plan::Origin;

    use super::*;

    fn rules() -> Cors {
        let origin = Origin::parse("https://shop.example").expect("an origin");
        Cors {
            origins: AllowedOrigins::Listed([origin].into()),
            headers: ["authorization".into(), "content-type".into()].into(),
            expose: BTreeSet::new(),
            credentials: Credentials::Omitted,
            max_age: Millis::from_secs(600),
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
    fn every_origin_never_comes_with_credentials() {
        let open = Cors { origins: AllowedOrigins::Every, credentials: Credentials::Included, ..rules() };
        let mut answer = HeaderMap::new();
        finish(Some(&open), Some(&HeaderValue::from_static("https://any.example")), &mut answer);
        assert_eq!(answer[header::ACCESS_CONTROL_ALLOW_ORIGIN], "*");
        assert!(!answer.contains_key(header::ACCESS_CONTROL_ALLOW_CREDENTIALS));
    }

    #[test]
    fn the_upstreams_own_grant_never_passes() {
        let mut answer = HeaderMap::new();
        answer.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
        finish(None, Some(&HeaderValue::from_static("https://shop.example")), &mut answer);
        assert!(answer.is_empty(), "closed by default");
        answer.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
        finish(Some(&rules()), Some(&HeaderValue::from_static("https://evil.example")), &mut answer);
        assert!(!answer.contains_key(header::ACCESS_CONTROL_ALLOW_ORIGIN));
        finish(Some(&rules()), Some(&HeaderValue::from_static("https://shop.example")), &mut answer);
        assert_eq!(answer[header::ACCESS_CONTROL_ALLOW_ORIGIN], "https://shop.example");
    }

    #[test]
    fn b8_two_origins_are_none() {
        let mut headers = asking("https://shop.example", "GET", "");
        headers.append(header::ORIGIN, HeaderValue::from_static("https://evil.example"));
        assert!(preflight(&rules(), &[Method::GET], &headers).is_err());
    }
}
