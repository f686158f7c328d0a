//! Which header fields cross the gateway, and which never do.
//!
//! INVARIANT: no field that we assert reaches an upstream from a caller, under no spelling: names are folded (case,
//! `_`, `.` and `-` are one) before they are compared (threats B9, B10).
//! INVARIANT: hop-by-hop fields stop here in both directions, by name and never because the message asked for it
//! (threat A8: `Connection: X-Real-Ip` deletes nothing).
//! INVARIANT: the caller's credentials stop here (DESIGN §4).
//!
//! Not here: framing fields, which the head guard owns (`portcullis-net`).
//!
//! Sources: RFC 9110 §7.6.1 (Connection), RFC 7239 (Forwarded), RFC 6265 (Cookie).

use http::header::{self, HeaderMap, HeaderName, HeaderValue};

/// Hop-by-hop names (RFC 9110 §7.6.1 and the historical ones beside them).
const HOP_BY_HOP: [HeaderName; 6] = [
    header::CONNECTION,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    header::PROXY_AUTHORIZATION,
];

/// Names without a constant in `http`, and those that only ever meant "the proxy says so". Folded form.
const STOPPED_FOLDED: [&str; 24] = [
    "authorization",
    "cookie",
    "cookie2",
    "xapikey",
    "apikey",
    "keepalive",
    "forwarded",
    "xrealip",
    "xclientip",
    "xclusterclientip",
    "xoriginalurl",
    "xoriginaluri",
    "xoriginalhost",
    "xoriginalmethod",
    "xrewriteurl",
    "xhttpmethod",
    "xhttpmethodoverride",
    "xmethodoverride",
    "trueclientip",
    "clientip",
    "xremoteuser",
    "remoteuser",
    "xauthenticateduser",
    "xrequestid",
];

/// Folded beginnings of families of names: everything under them is ours or nobody's to assert.
/// `proxy` is `HTTP_PROXY` to a CGI program (CVE-2016-5385); `client-cert` is RFC 9440.
const STOPPED_FAMILIES: [&str; 11] = [
    "clientcert",
    "proxy",
    "sslclient",
    "xauth",
    "xauthrequest",
    "xclientcert",
    "xenvoy",
    "xforwarded",
    "xportcullis",
    "xsslclient",
    "xuser",
];

/// The longest name whose folded form is compared; the guard admits none that is longer.
const LONGEST_NAME: usize = 256;

/// Takes out of a request all that may not go on to an upstream.
pub(crate) fn strip_request(headers: &mut HeaderMap) {
    strip_hop_by_hop(headers);
    let stopped: Vec<HeaderName> = headers.keys().filter(|n| is_stopped(n.as_str())).cloned().collect();
    for name in stopped {
        headers.remove(name);
    }
}

/// Takes out of an answer what ends at this hop.
pub(crate) fn strip_answer(headers: &mut HeaderMap) {
    strip_hop_by_hop(headers);
    headers.remove("keep-alive");
    headers.remove("proxy-connection");
    headers.remove("proxy-authenticate");
    headers.remove(header::SERVER);
    headers.remove("x-powered-by");
}

fn strip_hop_by_hop(headers: &mut HeaderMap) {
    for name in &HOP_BY_HOP {
        headers.remove(name);
    }
    // RFC 9113 §3.1: obsolete, and only ever of one hop; it is without a constant in `http`.
    headers.remove("http2-settings");
}

/// Whether a caller's field of this name stops at the gateway.
#[must_use]
pub(crate) fn is_stopped(name: &str) -> bool {
    // The common names are short and start with none of these letters, so most are waved through at once.
    let first = name.as_bytes().first().copied().unwrap_or_default();
    if !matches!(first, b'a' | b'c' | b'k' | b'p' | b'f' | b'x' | b't' | b'r' | b's')
        || name.len() > LONGEST_NAME
    {
        return name.len() > LONGEST_NAME;
    }
    let mut folded = [0_u8; LONGEST_NAME];
    let folded = fold(name, &mut folded);
    STOPPED_FOLDED.iter().any(|stopped| stopped.as_bytes() == folded)
        || STOPPED_FAMILIES.iter().any(|family| folded.starts_with(family.as_bytes()))
}

/// Whether a service may take a field of this name for one that frames the message, though HTTP does not.
#[must_use]
pub(crate) fn frames_by_another_name(name: &str) -> bool {
    let first = name.as_bytes().first().copied().unwrap_or_default();
    if !matches!(first, b'c' | b't') || name.len() > LONGEST_NAME || name == "content-length" {
        return false;
    }
    let mut folded = [0_u8; LONGEST_NAME];
    matches!(fold(name, &mut folded), b"contentlength" | b"transferencoding")
}

/// One spelling for all aliases: lower case, without `-`, `_` and `.` (CGI and its heirs make them equal).
fn fold<'b>(name: &str, room: &'b mut [u8; LONGEST_NAME]) -> &'b [u8] {
    let letters = name.bytes().filter(|b| !matches!(b, b'-' | b'_' | b'.')).map(|b| b.to_ascii_lowercase());
    let mut used = 0;
    for (slot, letter) in room.iter_mut().zip(letters) {
        *slot = letter;
        used += 1;
    }
    room.get(..used).unwrap_or_default()
}

/// Whether a value is made of the bytes that the guard lets through in HTTP/1.1.
pub(crate) fn is_plain(value: &HeaderValue) -> bool {
    // Without a way out of the loop the compiler looks at many bytes at once.
    let odd = |b: &u8| !matches!(b, b'\t' | 0x20..=0x7e);
    !value.as_bytes().iter().fold(false, |found, b| found | odd(b))
}

/// Sets one field, taking the place of all fields of that name.
pub(crate) fn set(headers: &mut HeaderMap, name: HeaderName, value: impl TryInto<HeaderValue>) {
    if let Ok(value) = value.try_into() {
        headers.insert(name, value);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn after_strip(names: &[&str]) -> Vec<String> {
        let mut headers = HeaderMap::new();
        for name in names {
            headers.append(
                HeaderName::from_bytes(name.as_bytes()).expect("a name"),
                HeaderValue::from_static("v"),
            );
        }
        strip_request(&mut headers);
        headers.keys().map(|n| n.as_str().to_owned()).collect()
    }

    #[test]
    fn b9_every_alias_of_an_asserted_header_is_stopped() {
        for name in [
            "x-portcullis-subject",
            "x_portcullis_subject",
            "X.Portcullis.Subject",
            "xportcullissubject",
            "x-forwarded-for",
            "x_forwarded_for",
            "x-forwarded-",
            "x-real-ip",
            "x_real_ip",
            "x.real.ip",
            "remote-user",
            "remote_user",
            "x-auth-request-user",
            "x-ssl-client-cert",
            "author-ization",
            "coo.kie",
            "x-api_key",
            "x_request_id",
            "proxy",
            "proxy_authorization",
            "proxy-connection",
            "client-cert",
            "client_cert_chain",
            "ssl-client-verify",
        ] {
            assert_eq!(after_strip(&[name]), Vec::<String>::new(), "{name}");
        }
    }

    #[test]
    fn b10_b11_identity_and_forwarding_fields_never_pass_and_ordinary_ones_do() {
        let kept =
            ["accept", "content-type", "x-correlation-id", "traceparent", "range", "prefer", "x-custom"];
        assert_eq!(after_strip(&kept), kept);
        assert!(after_strip(&["forwarded", "authorization", "cookie"]).is_empty());
    }

    #[test]
    fn a8_connection_deletes_only_itself() {
        let mut headers = HeaderMap::new();
        headers.insert(header::CONNECTION, HeaderValue::from_static("x-correlation-id"));
        headers.insert("x-correlation-id", HeaderValue::from_static("7"));
        strip_request(&mut headers);
        assert_eq!(headers.keys().map(HeaderName::as_str).collect::<Vec<_>>(), ["x-correlation-id"]);
    }

    #[test]
    fn the_quick_look_at_the_first_letter_knows_every_list() {
        let quick = |n: &&str| {
            matches!(n.as_bytes()[0], b'a' | b'c' | b'k' | b'p' | b'f' | b'x' | b't' | b'r' | b's')
        };
        assert!(STOPPED_FOLDED.iter().chain(&STOPPED_FAMILIES).all(quick));
    }

    proptest! {
        #[test]
        fn folding_is_blind_to_case_and_separators(seps in proptest::collection::vec("[-_.]?", 16)) {
            let spelled: String = "xforwardedproto".chars().zip(&seps).map(|(c, s)| format!("{c}{s}")).collect();
            prop_assert!(is_stopped(&spelled), "{}", spelled);
        }
    }
}
