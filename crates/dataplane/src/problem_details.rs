//! How a refusal looks on the wire.
//!
//! One map from [`Refusal`] to status, fields and body, for every refusal of every stage. The body is RFC 9457
//! problem details with the fixed public text of the reason and the request's id, so that a caller can quote it and
//! an operator can `portcullis explain` it.
//!
//! INVARIANT: nothing that a caller sent is ever part of an answer (no reflection).
//! INVARIANT: a 401 carries `WWW-Authenticate` (RFC 9110 §11.6.1), also when it comes from the token cache (11.2.7).
//!
//! Sources: RFC 9457 §3; RFC 6750 §3; RFC 9110 §10.2.3, §15.5.6; gRPC over HTTP/2 (status in trailers-only answers).

use http::header::{self, HeaderMap, HeaderValue};
use http::{Method, StatusCode};
use portcullis_core::{Reason, Refusal, RequestId};

/// What the caller speaks, so that it can read a refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dialect {
    /// Ordinary HTTP.
    Http,
    /// gRPC: refusals are trailers-only answers with status 200.
    Grpc,
}

impl Dialect {
    /// Judges by the request's content type.
    #[must_use]
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        let grpc = |v: &HeaderValue| {
            let rest = v.as_bytes().strip_prefix(b"application/grpc");
            rest.is_some_and(|r| r.is_empty() || matches!(r.first(), Some(b'+' | b';')))
        };
        if headers.get(header::CONTENT_TYPE).is_some_and(grpc) { Self::Grpc } else { Self::Http }
    }
}

/// A refusal, ready to be sent.
#[derive(Debug)]
pub(crate) struct RefusalAnswer {
    /// The status line.
    pub status: StatusCode,
    /// The fields.
    pub headers: HeaderMap,
    /// The problem details; empty for gRPC.
    pub body: String,
}

/// Writes a refusal down for a caller of this dialect. `realm` is the environment's name, which is public.
#[must_use]
pub(crate) fn answer(refusal: &Refusal, id: RequestId, realm: &str, dialect: Dialect) -> RefusalAnswer {
    let mut headers = HeaderMap::with_capacity(8);
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    crate::headers::set(&mut headers, crate::trace::REQUEST_ID, &id.digits()[..]);
    let reason = refusal.reason();
    if let Some(wait) = refusal.retry_after() {
        let seconds = wait.as_millis().div_ceil(1_000).max(1);
        crate::headers::set(&mut headers, header::RETRY_AFTER, seconds.to_string());
    }
    if reason.status() == 401 {
        crate::headers::set(&mut headers, header::WWW_AUTHENTICATE, challenge(reason, realm));
    }
    match dialect {
        Dialect::Grpc => grpc(reason, headers),
        Dialect::Http => http(reason, id, headers),
    }
}

/// Lists the methods of a known path beside a 405 (RFC 9110 §15.5.6).
pub(crate) fn allow(headers: &mut HeaderMap, methods: &[Method]) {
    let list = methods.iter().map(Method::as_str).collect::<Vec<_>>().join(", ");
    crate::headers::set(headers, header::ALLOW, &list);
}

fn http(reason: Reason, id: RequestId, mut headers: HeaderMap) -> RefusalAnswer {
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    let body = format!(
        "{{\"type\":\"urn:portcullis:refusal:{reason}\",\"title\":\"{}\",\"status\":{},\"instance\":\"urn:portcullis:request:{id}\"}}",
        reason.public(),
        reason.status(),
    );
    let status = StatusCode::from_u16(reason.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    RefusalAnswer { status, headers, body }
}

fn grpc(reason: Reason, mut headers: HeaderMap) -> RefusalAnswer {
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    headers.insert("grpc-status", HeaderValue::from(grpc_status(reason.status())));
    headers.insert("grpc-message", HeaderValue::from_static(reason.public()));
    RefusalAnswer { status: StatusCode::OK, headers, body: String::new() }
}

/// The gRPC status for an HTTP one (gRPC's own mapping, with 429 and 4xx as callers expect them).
fn grpc_status(status: u16) -> u16 {
    match status {
        401 => 16,             // UNAUTHENTICATED
        403 => 7,              // PERMISSION_DENIED
        404 | 405 | 501 => 12, // UNIMPLEMENTED
        408 | 504 => 4,        // DEADLINE_EXCEEDED
        413 | 429 | 431 => 8,  // RESOURCE_EXHAUSTED
        502 | 503 => 14,       // UNAVAILABLE
        400..=499 => 3,        // INVALID_ARGUMENT
        _ => 13,               // INTERNAL
    }
}

/// RFC 6750 §3: no `error` when no credentials came; `invalid_token` for all that is wrong with a token.
fn challenge(reason: Reason, realm: &str) -> String {
    match reason {
        Reason::MissingCredentials | Reason::AmbiguousCredentials | Reason::InvalidApiKey => {
            format!("Bearer realm=\"{realm}\"")
        }
        _ => format!(
            "Bearer realm=\"{realm}\", error=\"invalid_token\", error_description=\"{}\"",
            reason.public()
        ),
    }
}

#[cfg(test)]
mod tests {
    use portcullis_core::UnixMillis;

    use super::*;

    fn of(reason: Reason, dialect: Dialect) -> RefusalAnswer {
        let id = RequestId::new(UnixMillis(1_790_000_000_000), 7);
        answer(&Refusal::new(reason, "private words"), id, "test", dialect)
    }

    #[test]
    fn every_refusal_is_problem_details_and_tells_nothing_private() {
        for reason in Reason::ALL {
            let answer = of(*reason, Dialect::Http);
            let body: serde_json::Value = serde_json::from_str(&answer.body).expect("json");
            assert_eq!(body["status"], reason.status());
            assert_eq!(body["type"], format!("urn:portcullis:refusal:{reason}"));
            assert!(
                !answer.body.contains("private words")
                    && !format!("{:?}", answer.headers).contains("private")
            );
            assert_eq!(answer.headers.contains_key(header::WWW_AUTHENTICATE), reason.status() == 401);
        }
    }

    #[test]
    fn ss028_11_2_7b_an_expired_token_is_called_invalid_token() {
        let answer = of(Reason::ExpiredToken, Dialect::Http);
        assert_eq!(answer.status, 401);
        let challenge = answer.headers[header::WWW_AUTHENTICATE].to_str().expect("ascii");
        assert_eq!(
            challenge,
            "Bearer realm=\"test\", error=\"invalid_token\", error_description=\"The access token expired.\""
        );
        let none = of(Reason::MissingCredentials, Dialect::Http);
        assert_eq!(none.headers[header::WWW_AUTHENTICATE], "Bearer realm=\"test\"");
    }

    #[test]
    fn grpc_callers_get_a_trailers_only_answer() {
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc+proto"));
        assert_eq!(Dialect::of(&headers), Dialect::Grpc);
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpcx"));
        assert_eq!(Dialect::of(&headers), Dialect::Http);
        let answer = of(Reason::Forbidden, Dialect::Grpc);
        assert_eq!((answer.status.as_u16(), &answer.headers["grpc-status"]), (200, &HeaderValue::from(7)));
    }

    #[test]
    fn retry_after_is_in_whole_seconds_and_never_zero() {
        let refusal = Refusal::new(Reason::RateLimited, "").after(std::time::Duration::from_millis(1_200));
        let answer = answer(&refusal, RequestId::new(UnixMillis(1), 1), "test", Dialect::Http);
        assert_eq!(answer.headers[header::RETRY_AFTER], "2");
    }
}
