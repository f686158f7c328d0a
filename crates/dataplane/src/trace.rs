//! Request id and `traceparent`: taken over when they are well formed, made when they are not.
//!
//! INVARIANT: what is sent on has exactly the form of W3C Trace Context, whatever came in (threats A10, F8).
//!
//! Sources: W3C Trace Context (2021) §3.2, §4.3.

use http::header::{HeaderMap, HeaderName, HeaderValue};
use portcullis_core::RequestId;
use portcullis_core::ids::hex_digits;
use portcullis_evidence::request::Trace;

/// The request's id, in the answer and to the upstream.
pub(crate) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// The trace context.
pub(crate) const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
/// Vendors' part of the trace context; dropped when the parent is ours.
pub(crate) const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// The longest `tracestate` that is passed on (W3C Trace Context §3.3.1.5 asks for at least 512).
const LONGEST_STATE: usize = 512;

/// A checked `traceparent`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TraceParent {
    trace: u128,
    sampled: Sampled,
}

/// Whether the caller recorded its part of the trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sampled {
    Yes,
    No,
}

impl TraceParent {
    /// Reads version 00, strictly: one field, lower-case digits, no zero ids.
    #[must_use]
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('-');
        let (version, trace, parent, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        if parts.next().is_some() || version != "00" {
            return None;
        }
        let trace = hex::<32>(trace)?;
        let parent = hex::<16>(parent)?;
        let flags = hex::<2>(flags)?;
        let sampled = if flags & 1 == 1 { Sampled::Yes } else { Sampled::No };
        (trace != 0 && parent != 0).then_some(Self { trace, sampled })
    }

    /// A new trace that starts with this request.
    #[must_use]
    pub(crate) fn start(id: RequestId) -> Self {
        Self { trace: id.number().max(1), sampled: Sampled::No }
    }

    /// As a record shows it.
    #[must_use]
    pub(crate) fn recorded(self, span: u64) -> Trace {
        Trace { trace: self.trace.to_be_bytes(), span: span.max(1).to_be_bytes() }
    }

    fn text(self, span: u64) -> Vec<u8> {
        let flags: &[u8] = if self.sampled == Sampled::Yes { b"-01" } else { b"-00" };
        let span = hex_digits(u128::from(span.max(1)).to_be_bytes());
        let (_, span) = span.split_at(16);
        [b"00-", &hex_digits(self.trace.to_be_bytes())[..], b"-", span, flags].concat()
    }
}

fn hex<const DIGITS: usize>(text: &str) -> Option<u128> {
    let lower = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
    (text.len() == DIGITS && text.bytes().all(lower)).then(|| u128::from_str_radix(text, 16).ok())?
}

/// Puts a checked trace context and our request id into `headers`; `span` is drawn at random by the caller.
pub(crate) fn stamp(headers: &mut HeaderMap, id: RequestId, span: u64) -> TraceParent {
    let came = single(headers).and_then(TraceParent::parse);
    let trace = came.unwrap_or_else(|| TraceParent::start(id));
    if came.is_none()
        || headers.get_all(&TRACESTATE).iter().map(HeaderValue::len).sum::<usize>() > LONGEST_STATE
    {
        headers.remove(&TRACESTATE);
    }
    crate::headers::set(headers, TRACEPARENT, trace.text(span));
    crate::headers::set(headers, REQUEST_ID, &id.digits()[..]);
    trace
}

/// The value of a field that must come once; two make none (threat B8).
fn single(headers: &HeaderMap) -> Option<&str> {
    let mut values = headers.get_all(&TRACEPARENT).iter();
    let first = values.next()?;
    if values.next().is_some() { None } else { first.to_str().ok() }
}

#[cfg(test)]
mod tests {
    use portcullis_core::UnixMillis;

    use super::*;

    const GOOD: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    fn id() -> RequestId {
        RequestId::new(UnixMillis(1_790_000_000_000), 7)
    }

    #[test]
    fn a_well_formed_trace_is_continued_under_a_new_span() {
        let mut headers = HeaderMap::new();
        headers.insert(TRACEPARENT, HeaderValue::from_static(GOOD));
        headers.insert(TRACESTATE, HeaderValue::from_static("a=b"));
        let trace = stamp(&mut headers, id(), 0xabc);
        assert_eq!(trace.trace, 0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736);
        assert_eq!(headers[&TRACEPARENT], "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000abc-01");
        assert_eq!(headers[&TRACESTATE], "a=b");
        assert_eq!(headers[&REQUEST_ID], id().to_string().as_str());
    }

    #[test]
    fn f8_anything_else_starts_a_new_trace_and_drops_the_state() {
        for bad in [
            "",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-x",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(TRACEPARENT, HeaderValue::from_str(bad).expect("a value"));
            headers.insert(TRACESTATE, HeaderValue::from_static("a=b"));
            assert_eq!(stamp(&mut headers, id(), 1), TraceParent::start(id()), "{bad:?}");
            assert!(!headers.contains_key(&TRACESTATE));
        }
    }

    #[test]
    fn b8_two_trace_parents_are_none() {
        let mut headers = HeaderMap::new();
        headers.append(TRACEPARENT, HeaderValue::from_static(GOOD));
        headers.append(TRACEPARENT, HeaderValue::from_static(GOOD));
        assert_eq!(stamp(&mut headers, id(), 1), TraceParent::start(id()));
        assert_eq!(headers.get_all(&TRACEPARENT).iter().count(), 1);
    }
}
