//! A typed no.
//!
//! A stage of the request line returns a value or a [`Refusal`]; only the line turns a refusal into an answer, an
//! event and a metric. The public text is fixed for each [`Reason`], so that nothing a caller sent, and nothing of
//! our inside, can reach an answer by accident; the private text goes to the record alone.
//!
//! INVARIANT: a public text tells nobody which rule refused, nor whether the hidden thing exists.
//!
//! Sources: RFC 9110 §15, RFC 6585, RFC 6750 §3, RFC 9457.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Whose fault it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Blame {
    /// The one who called us.
    Caller,
    /// The one whom we called.
    Upstream,
    /// This product or its operator.
    Us,
}

/// Whether sending the same again can help.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Retry {
    /// No: the request itself must change.
    Never,
    /// Yes, later: nothing of it was carried out.
    Later,
    /// Unknown: part of it may have been carried out.
    Unsure,
}

/// One row a reason: variant, word, status, blame, retry, public text.
macro_rules! reasons {
    ($($(#[$doc:meta])* $variant:ident = $word:literal, $status:literal, $blame:ident, $retry:ident, $text:literal;)*) => {
        /// Why a request was refused. The word is stable: logs, metrics, problem types and tests use it.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        pub enum Reason { $($(#[$doc])* #[serde(rename = $word)] $variant),* }

        impl Reason {
            /// Every reason there is.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// The stable word, such as `expired-token`.
            #[must_use]
            pub fn word(self) -> &'static str { match self { $(Self::$variant => $word),* } }

            /// The HTTP status.
            #[must_use]
            pub fn status(self) -> u16 { match self { $(Self::$variant => $status),* } }

            /// Whose fault it is.
            #[must_use]
            pub fn blame(self) -> Blame { match self { $(Self::$variant => Blame::$blame),* } }

            /// Whether to send it again.
            #[must_use]
            pub fn retry(self) -> Retry { match self { $(Self::$variant => Retry::$retry),* } }

            /// What the caller may read.
            #[must_use]
            pub fn public(self) -> &'static str { match self { $(Self::$variant => $text),* } }
        }
    };
}

reasons! {
    /// The guard could not read the message in exactly one way (A1-A10, B1-B5).
    MalformedRequest = "malformed-request", 400, Caller, Never, "The request is not well formed.";
    /// The target is longer than the limit.
    UriTooLong = "uri-too-long", 414, Caller, Never, "The request target is too long.";
    /// Too many header fields, or too long ones (E5).
    HeadersTooLarge = "headers-too-large", 431, Caller, Never, "The header section is too large.";
    /// The body is longer than the route permits.
    BodyTooLarge = "body-too-large", 413, Caller, Never, "The request body is too large.";
    /// The caller sent too slowly or stopped (E8).
    RequestTimeout = "request-timeout", 408, Caller, Later, "The request did not arrive in time.";
    /// The authority does not belong to this connection's certificate or client policy (D1).
    Misdirected = "misdirected-request", 421, Caller, Never, "This connection does not serve that authority.";
    /// The expectation is not `100-continue`.
    ExpectationFailed = "expectation-failed", 417, Caller, Never, "The expectation cannot be met.";
    /// The gateway has no room for more.
    Overloaded = "overloaded", 503, Us, Later, "The service is busy.";
    /// The gateway is going away.
    Draining = "draining", 503, Us, Later, "The service is restarting.";
    /// No credentials came.
    MissingCredentials = "missing-credentials", 401, Caller, Never, "Credentials are required.";
    /// More than one kind of credentials came, so it is unclear who calls.
    AmbiguousCredentials = "ambiguous-credentials", 401, Caller, Never, "Exactly one kind of credentials is required.";
    /// The token is not one that we accept (C1-C3, C6).
    InvalidToken = "invalid-token", 401, Caller, Never, "The access token is not valid.";
    /// The token was good once (11.2.7).
    ExpiredToken = "expired-token", 401, Caller, Never, "The access token expired.";
    /// The token, its subject or its session was revoked.
    RevokedToken = "revoked-token", 401, Caller, Never, "The access token was revoked.";
    /// The API key is unknown, or used from the wrong place or for the wrong API.
    InvalidApiKey = "invalid-api-key", 401, Caller, Never, "The API key is not valid here.";
    /// The route wants a stronger proof than was given (MS-SS-1.1).
    BindingRequired = "binding-required", 401, Caller, Never, "A credential bound to this connection is required.";
    /// This source sent too many credentials that did not verify.
    TooManyFailures = "too-many-failures", 429, Caller, Later, "Too many failed attempts.";
    /// The issuer's keys are older than the stated age (C15).
    IssuerSilent = "issuer-silent", 503, Us, Later, "Credentials cannot be checked at the moment.";
    /// No route has this authority and path.
    NoRoute = "no-route", 404, Caller, Never, "There is nothing here.";
    /// The route exists, with other methods.
    MethodNotAllowed = "method-not-allowed", 405, Caller, Never, "This method is not allowed here.";
    /// Policy said no.
    Forbidden = "forbidden", 403, Caller, Never, "You may not do this.";
    /// Policy could not be evaluated, which is a no (C15).
    PolicyBroken = "policy-broken", 403, Us, Never, "You may not do this.";
    /// The origin may not do this (CORS).
    OriginRefused = "origin-refused", 403, Caller, Never, "This origin may not do this.";
    /// A rate limit is used up.
    RateLimited = "rate-limited", 429, Caller, Later, "Too many requests.";
    /// Too many requests of this caller are in flight.
    TooManyConcurrent = "too-many-concurrent", 429, Caller, Later, "Too many requests at once.";
    /// The request breaks the contract of the API.
    ContractBroken = "contract-broken", 400, Caller, Never, "The request does not follow the API's contract.";
    /// The body is of a type that the contract does not have.
    UnsupportedMedia = "unsupported-media-type", 415, Caller, Never, "This media type is not accepted.";
    /// No upgrade of this kind is possible here.
    UpgradeRefused = "upgrade-refused", 501, Us, Never, "This protocol upgrade is not available.";
    /// No endpoint of the service can be used.
    NoEndpoint = "no-endpoint", 503, Upstream, Later, "The service is not available.";
    /// The upstream could not be reached; nothing was sent.
    UpstreamUnreachable = "upstream-unreachable", 502, Upstream, Later, "The service could not be reached.";
    /// The upstream broke off; the request may have been carried out.
    UpstreamBroken = "upstream-broken", 502, Upstream, Unsure, "The service broke off its answer.";
    /// The upstream's answer has no single reading, or leaks an internal token.
    UpstreamMalformed = "upstream-malformed", 502, Upstream, Unsure, "The service gave an answer that is not well formed.";
    /// The upstream took longer than the route permits.
    UpstreamTimeout = "upstream-timeout", 504, Upstream, Unsure, "The service did not answer in time.";
    /// What cannot be recorded is not served.
    CannotRecord = "cannot-record", 503, Us, Later, "The service is not available.";
    /// No generation is in force, or it is past its `not_after`.
    NoGeneration = "no-generation", 503, Us, Later, "The service is not ready.";
    /// A dependency that the answer needs could not be asked (C15).
    Unavailable = "unavailable", 503, Us, Later, "The service is not available.";
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// A no, with everything that the line needs to answer, record and count it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    reason: Reason,
    private: Cow<'static, str>,
    after: Option<Duration>,
}

impl Refusal {
    /// A refusal for `reason`, with the text that only the record shows.
    #[must_use]
    pub fn new(reason: Reason, private: impl Into<Cow<'static, str>>) -> Self {
        Self { reason, private: private.into(), after: None }
    }

    /// The same, naming the time after which a retry makes sense.
    #[must_use]
    pub fn after(mut self, wait: Duration) -> Self {
        self.after = Some(wait);
        self
    }

    /// Why.
    #[must_use]
    pub fn reason(&self) -> Reason {
        self.reason
    }

    /// The text for the record.
    #[must_use]
    pub fn private(&self) -> &str {
        &self.private
    }

    /// When to come back, for `Retry-After`.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        self.after
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.reason, self.private)
    }
}

impl std::error::Error for Refusal {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_has_its_own_word_and_an_error_status() {
        let mut words: Vec<_> = Reason::ALL.iter().map(|r| r.word()).collect();
        words.sort_unstable();
        words.dedup();
        assert_eq!(words.len(), Reason::ALL.len());
        assert!(Reason::ALL.iter().all(|r| (400..600).contains(&r.status())));
    }

    #[test]
    fn the_word_of_a_reason_is_what_is_serialised() {
        for reason in Reason::ALL {
            let text = serde_json::to_string(reason).expect("serialises");
            assert_eq!(text, format!("\"{}\"", reason.word()));
            assert_eq!(serde_json::from_str::<Reason>(&text).ok(), Some(*reason));
        }
    }

    #[test]
    fn a_refusal_of_policy_and_a_broken_policy_look_the_same_from_outside() {
        assert_eq!(Reason::Forbidden.public(), Reason::PolicyBroken.public());
        assert_eq!(Reason::Forbidden.status(), Reason::PolicyBroken.status());
    }
}
