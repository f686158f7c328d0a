//! Trailers: what may follow a body, in both directions and in both protocols.
//!
//! HTTP/2 carries a trailer section wherever one comes. HTTP/1.1 carries one behind chunks, to a peer that said
//! `TE: trailers`, and only fields that the head announced in `Trailer`: so what came announced is announced again to the
//! next hop, without the names that stop here. What nobody announced does not reach an HTTP/1.1 peer, as RFC 9110 §6.5.1
//! permits.
//!
//! INVARIANT: a trailer never becomes a header, and none that frames, routes, identifies or authorises passes (A7, B9).
//! INVARIANT: a section beyond the limits, or with bytes that HTTP/1.1 would not carry, breaks its message off (A5, E5).
//!
//! Not here: trailers of HTTP/1.1 as bytes (`portcullis-net`), the search for internal tokens (`answer`).
//!
//! Sources: RFC 9110 §6.5, §6.6.2, §10.1.4; RFC 9112 §7.1.2; threats A5, A7, B9, E5.

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::request::Parts;
use http::{Method, Version};
use http_body::Body;
use portcullis_net::guard::{Fault, Flaw, Leg, may_trail};

use crate::headers;

/// The size of a trailer section.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Most fields.
    pub count: usize,
    /// Most bytes, names and values.
    pub bytes: usize,
}

/// What a caller takes behind the body of its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Takes {
    /// Fields that were announced: HTTP/1.1, and the caller asked.
    Announced,
    /// Nothing in HTTP/1.1, since the caller did not ask; in HTTP/2 whatever comes.
    AsItIs,
}

impl Takes {
    /// What the caller of this request takes.
    pub(crate) fn of(parts: &Parts) -> Self {
        let asked = parts.version == Version::HTTP_11 && parts.method != Method::HEAD;
        if asked && asks(&parts.headers) { Self::Announced } else { Self::AsItIs }
    }
}

/// Whether the message says that its sender takes trailers. The guard and h2 leave no other value of `TE`.
pub(crate) fn asks(fields: &HeaderMap) -> bool {
    fields.get(header::TE).is_some_and(|te| te == "trailers")
}

/// Asks an HTTP/1.1 upstream for trailers. `TE` is hop-by-hop, so `Connection` names it (RFC 9110 §10.1.4).
pub(crate) fn ask(fields: &mut HeaderMap, version: Version) {
    fields.insert(header::TE, HeaderValue::from_static("trailers"));
    if version != Version::HTTP_2 {
        fields.insert(header::CONNECTION, HeaderValue::from_static("te"));
    }
}

/// The `Trailer` field for an HTTP/1.1 peer: the announced names that may pass. None for a body of a known length, behind
/// which nothing can stand.
pub(crate) fn announced(fields: &HeaderMap, body: &impl Body) -> Option<HeaderValue> {
    if !fields.contains_key(header::TRAILER) || body.size_hint().exact().is_some() {
        return None;
    }
    let members = fields.get_all(header::TRAILER).iter().filter_map(|v| v.to_str().ok());
    let names = members.flat_map(|v| v.split(',')).take(MOST_NAMES);
    let names = names.filter_map(|n| HeaderName::from_bytes(n.trim().as_bytes()).ok());
    let names: Vec<HeaderName> = names.filter(may_pass).collect();
    let text = names.iter().map(HeaderName::as_str).collect::<Vec<_>>().join(", ");
    HeaderValue::from_str(&text).ok().filter(|v| !v.is_empty())
}

/// More names than this are announced to nobody.
const MOST_NAMES: usize = 64;

/// A trailer section as it goes on, or what is wrong with it.
pub(crate) fn clean(trailers: HeaderMap, limits: Limits, leg: Leg) -> Result<HeaderMap, Fault> {
    let fault = |flaw| Err(Fault::new(flaw, leg));
    if trailers.len() > limits.count {
        return fault(Flaw::TooManyFields);
    }
    let sizes = trailers.iter().map(|(name, value)| name.as_str().len().saturating_add(value.len()));
    if sizes.fold(0, usize::saturating_add) > limits.bytes {
        return fault(Flaw::HeadTooLarge);
    }
    if !trailers.values().all(headers::is_plain) {
        return fault(Flaw::ObsText);
    }
    Ok(without_stopped(trailers))
}

fn without_stopped(mut trailers: HeaderMap) -> HeaderMap {
    let stopped: Vec<HeaderName> = trailers.keys().filter(|n| !may_pass(n)).cloned().collect();
    for name in stopped {
        trailers.remove(name);
    }
    trailers
}

fn may_pass(name: &HeaderName) -> bool {
    may_trail(name.as_str().as_bytes()) && !headers::is_stopped(name.as_str())
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http::Request;
    use http_body_util::Empty;

    use super::*;

    const LIMITS: Limits = Limits { count: 4, bytes: 64 };

    fn fields(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let pair = |(n, v): &(&'static str, &'static str)| {
            (HeaderName::from_static(n), HeaderValue::from_bytes(v.as_bytes()).expect("a value"))
        };
        pairs.iter().map(pair).collect()
    }

    /// A body whose length nobody knows.
    struct Pending;

    impl Body for Pending {
        type Data = Bytes;
        type Error = std::convert::Infallible;

        fn poll_frame(
            self: std::pin::Pin<&mut Self>,
            _: &mut std::task::Context<'_>,
        ) -> std::task::Poll<Option<Result<http_body::Frame<Bytes>, Self::Error>>> {
            std::task::Poll::Pending
        }
    }

    #[test]
    fn a7_what_was_announced_is_announced_again_without_what_stops_here() {
        let table = [
            (&[("trailer", "X-Sum")][..], Some("x-sum")),
            (&[("trailer", "x-sum, Server-Timing"), ("trailer", "etag")], Some("x-sum, server-timing, etag")),
            (&[("trailer", "authorization, x-sum,, b a d, Set-Cookie, content-length")], Some("x-sum")),
            (&[("trailer", "x_user, x-forwarded-for, transfer_encoding, host, te")], None),
            (&[("trailer", "")], None),
            (&[("x-sum", "9")], None),
        ];
        for (given, want) in table {
            let got = announced(&fields(given), &Pending);
            assert_eq!(got.as_ref().map(|v| v.to_str().expect("text")), want, "{given:?}");
        }
        let known = Empty::<Bytes>::new();
        assert_eq!(announced(&fields(&[("trailer", "x-sum")]), &known), None, "nothing can follow it");
    }

    #[test]
    fn a7_b9_trailers_that_would_have_had_a_say_are_taken_out() {
        let section =
            fields(&[("x-sum", "9"), ("authorization", "x"), ("content_length", "3"), ("x.user", "a")]);
        assert_eq!(clean(section, LIMITS, Leg::Upstream).ok(), Some(fields(&[("x-sum", "9")])));
    }

    #[test]
    fn a5_e5_a_section_beyond_the_rules_is_a_fault_of_its_leg() {
        let large = |length| {
            let value = HeaderValue::from_str(&"v".repeat(length)).expect("a value");
            HeaderMap::from_iter([(HeaderName::from_static("x-a"), value)])
        };
        let many = fields(&[("a", "1"), ("b", "1"), ("c", "1"), ("d", "1"), ("e", "1")]);
        let odd = fields(&[("x-name", "caf\u{e9}")]);
        for (section, flaw) in
            [(large(62), Flaw::HeadTooLarge), (many, Flaw::TooManyFields), (odd, Flaw::ObsText)]
        {
            for leg in [Leg::Downstream, Leg::Upstream] {
                assert_eq!(clean(section.clone(), LIMITS, leg).err(), Some(Fault::new(flaw, leg)));
            }
        }
        assert!(
            clean(large(61), Limits { count: 1, bytes: 64 }, Leg::Upstream).is_ok(),
            "the limits themselves are within"
        );
    }

    #[test]
    fn only_an_http1_caller_who_asked_gets_an_announcement() {
        let takes = |version, method: Method, te: Option<&str>| {
            let mut request = Request::builder().version(version).method(method);
            if let Some(te) = te {
                request = request.header("te", te);
            }
            Takes::of(&request.body(()).expect("a request").into_parts().0)
        };
        assert_eq!(takes(Version::HTTP_11, Method::GET, Some("trailers")), Takes::Announced);
        assert_eq!(takes(Version::HTTP_11, Method::HEAD, Some("trailers")), Takes::AsItIs);
        assert_eq!(takes(Version::HTTP_11, Method::GET, None), Takes::AsItIs);
        assert_eq!(takes(Version::HTTP_10, Method::GET, Some("trailers")), Takes::AsItIs);
        assert_eq!(takes(Version::HTTP_2, Method::GET, Some("trailers")), Takes::AsItIs);
    }

    #[test]
    fn te_is_said_in_the_words_of_each_protocol() {
        let (mut one, mut two) = (HeaderMap::new(), HeaderMap::new());
        ask(&mut one, Version::HTTP_11);
        ask(&mut two, Version::HTTP_2);
        assert_eq!((&one["te"], &one["connection"]), (&"trailers".parse().unwrap(), &"te".parse().unwrap()));
        assert!(asks(&two) && !two.contains_key("connection"));
    }
}
