//! Whom a request comes from, where trusted proxies stand before the gateway.
//!
//! Each proxy adds the address that it was called from on the right. Read from the right, the first address that is no
//! trusted proxy is the caller's; what stands left of it is hearsay. A proxy that writes neither field asks for itself,
//! as its own health checks do.
//!
//! INVARIANT: from a peer that is not listed neither field is read (B11).
//! INVARIANT: what a listed proxy writes has one reading, to the last element, or the request is refused: no part of it is
//! passed over, and no fault makes the proxy itself the source (B11).
//! INVARIANT: addresses leave folded, and none of them has a scope (B12).
//!
//! Not here: who connected (`arrive`), taking the fields out (`headers`), writing them anew (`forward`).
//!
//! Sources: RFC 7239 §4, §6, §7.1; the practice of `X-Forwarded-For`; threats B8, B11, B12.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use http::header::{self, HeaderMap, HeaderName};
use portcullis_core::{Reason, Refusal};
use portcullis_net::address::{Class, Networks, class, fold_ip};

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// More proxies in a row than this are a loop or a flood.
const HOPS: usize = 32;

/// Why a field has no one reading.
type Odd = &'static str;

/// The source of a request that came from `peer`.
pub(crate) fn resolve(trusted: &Networks, peer: IpAddr, fields: &HeaderMap) -> Result<IpAddr, Refusal> {
    if !trusted.contains(peer) {
        return Ok(peer);
    }
    let told = told(fields).map_err(|why| Refusal::new(Reason::MalformedRequest, why))?;
    let stranger = told.iter().rev().find(|address| !trusted.contains(**address));
    Ok(stranger.or(told.first()).copied().unwrap_or(peer))
}

/// The addresses that the proxies wrote, in their order; none if there is neither field.
fn told(fields: &HeaderMap) -> Result<Vec<IpAddr>, Odd> {
    let forwarded = chain(fields, &header::FORWARDED, element)?;
    let listed = chain(fields, &X_FORWARDED_FOR, plain)?;
    match (forwarded.is_empty(), listed.is_empty()) {
        (_, true) => Ok(forwarded),
        (true, false) => Ok(listed),
        // SECURITY: a proxy that writes one of the two passes the other on as its caller wrote it.
        (false, false) if forwarded == listed => Ok(listed),
        (false, false) => Err("forwarded and x-forwarded-for name different addresses"),
    }
}

/// All elements of all fields of a name.
fn chain(
    fields: &HeaderMap,
    name: &HeaderName,
    read: fn(&str) -> Result<IpAddr, Odd>,
) -> Result<Vec<IpAddr>, Odd> {
    let mut found = Vec::new();
    for field in fields.get_all(name) {
        let text = field.to_str().map_err(|_| "a forwarding field is not printable ASCII")?;
        for element in outside_quotes(text, ',') {
            if found.len() >= HOPS {
                return Err("a forwarding field names too many proxies");
            }
            found.push(read(element.trim_matches([' ', '\t']))?);
        }
    }
    Ok(found)
}

/// The pieces between separators that are not in a quoted string.
fn outside_quotes(text: &str, separator: char) -> impl Iterator<Item = &str> {
    let mut quoted = false;
    text.split(move |c| {
        quoted ^= c == '"';
        c == separator && !quoted
    })
}

/// One address of `X-Forwarded-For`, where IPv6 may stand without brackets.
fn plain(text: &str) -> Result<IpAddr, Odd> {
    let bare = text.parse::<Ipv6Addr>().ok().map(IpAddr::V6);
    bare.or_else(|| node(text))
        .and_then(callable)
        .ok_or("an element of x-forwarded-for is no caller's address")
}

/// One element of `Forwarded`: its `for`. The other parameters are held to their form and not used.
fn element(text: &str) -> Result<IpAddr, Odd> {
    let mut names: Vec<String> = Vec::new();
    let mut caller = None;
    for pair in outside_quotes(text, ';') {
        let (name, value) = pair.split_once('=').ok_or("a parameter of forwarded has no value")?;
        let (name, value) = (name.to_ascii_lowercase(), unquoted(value)?);
        if !is_token(&name) || names.contains(&name) {
            return Err("an element of forwarded has a parameter twice, or one without a name");
        }
        if name == "for" {
            let address = node(value).and_then(callable);
            caller = Some(address.ok_or("`for` in forwarded is no caller's address")?);
        }
        names.push(name);
    }
    caller.ok_or("an element of forwarded has no `for`")
}

/// A token, or what stands between quotes. No address needs an escape, so there are none.
fn unquoted(value: &str) -> Result<&str, Odd> {
    let inner = value.strip_prefix('"').map(|rest| rest.strip_suffix('"'));
    match inner {
        Some(Some(inner)) if !inner.contains(['"', '\\']) => Ok(inner),
        None if is_token(value) => Ok(value),
        _ => Err("a value in forwarded is neither a token nor a plain quoted string"),
    }
}

/// RFC 9110 §5.6.2.
fn is_token(text: &str) -> bool {
    let byte = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    !text.is_empty() && text.bytes().all(byte)
}

/// RFC 7239 §6: an address, and a port that says nothing. `unknown` and `_hidden` name nobody.
fn node(text: &str) -> Option<IpAddr> {
    if let Some(rest) = text.strip_prefix('[') {
        let (six, port) = rest.split_once(']')?;
        return is_port(port).then(|| six.parse::<Ipv6Addr>().ok()).flatten().map(IpAddr::V6);
    }
    let (four, port) = text.split_at_checked(text.find(':').unwrap_or(text.len()))?;
    is_port(port).then(|| four.parse::<Ipv4Addr>().ok()).flatten().map(IpAddr::V4)
}

/// Nothing, or a colon and a number.
fn is_port(text: &str) -> bool {
    let number = |digits: &str| digits.bytes().all(|b| b.is_ascii_digit()) && digits.parse::<u16>().is_ok();
    text.is_empty() || text.strip_prefix(':').is_some_and(number)
}

/// Folded, if anybody can call from there.
fn callable(address: IpAddr) -> Option<IpAddr> {
    (!matches!(class(address), Class::Unspecified | Class::Multicast)).then(|| fold_ip(address))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    fn trusted() -> Networks {
        Networks::new(["10.0.9.0/24", "2001:db8:9::/48"].map(|n| n.parse().expect("a network")))
    }

    fn from(peer: &str, fields: &[(&'static str, &str)]) -> Result<String, Reason> {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, HeaderValue::from_str(value).expect("a value"));
        }
        let source = resolve(&trusted(), peer.parse().expect("an address"), &headers);
        source.map(|s| s.to_string()).map_err(|r| r.reason())
    }

    const X: &str = "x-forwarded-for";
    const F: &str = "forwarded";

    #[test]
    fn b11_b12_the_rightmost_address_that_is_no_trusted_proxy_is_the_source() {
        let table: [(&[(&'static str, &str)], &str); 19] = [
            (&[], "10.0.9.1"),
            (&[(X, "192.0.2.7")], "192.0.2.7"),
            (&[(X, "192.0.2.66, 192.0.2.7")], "192.0.2.7"),
            (&[(X, "192.0.2.66"), (X, "192.0.2.7 ,10.0.9.8")], "192.0.2.7"),
            (&[(X, "192.0.2.7,10.0.9.8,\t2001:db8:9::1")], "192.0.2.7"),
            (&[(X, "192.0.2.7:8080")], "192.0.2.7"),
            (&[(X, "2001:db8::7")], "2001:db8::7"),
            (&[(X, "[2001:db8::7]:443")], "2001:db8::7"),
            (&[(X, "::ffff:192.0.2.7")], "192.0.2.7"),
            (&[(X, "192.0.2.7, ::ffff:10.0.9.8")], "192.0.2.7"),
            (&[(X, "10.0.9.7, 10.0.9.8")], "10.0.9.7"),
            (&[(F, "for=192.0.2.7")], "192.0.2.7"),
            (&[(F, "For=192.0.2.66, for=192.0.2.7;proto=https;by=_edge")], "192.0.2.7"),
            (&[(F, "for=\"192.0.2.7:4711\";host=\"a,b;c\"")], "192.0.2.7"),
            (&[(F, "proto=http;for=\"[2001:db8::7]:1\""), (F, "for=10.0.9.8")], "2001:db8::7"),
            (&[(F, "for=192.0.2.7;x-ours=1")], "192.0.2.7"),
            (&[(F, "for=\"[::ffff:192.0.2.7]\"")], "192.0.2.7"),
            (&[(F, "for=192.0.2.66, for=192.0.2.7"), (X, "192.0.2.66, 192.0.2.7")], "192.0.2.7"),
            (&[(F, "for=192.0.2.7"), (X, "::ffff:192.0.2.7")], "192.0.2.7"),
        ];
        for (fields, want) in table {
            assert_eq!(from("10.0.9.1", fields), Ok(want.to_owned()), "{fields:?}");
            assert_eq!(from("203.0.113.5", fields), Ok("203.0.113.5".to_owned()), "{fields:?}");
        }
    }

    #[test]
    fn b8_b11_what_has_no_one_reading_is_refused_and_never_passed_over() {
        let hops = vec!["10.0.9.8"; HOPS + 1].join(",");
        let table: [&[(&'static str, &str)]; 34] = [
            &[(X, "")],
            &[(X, "192.0.2.7,")],
            &[(X, ",192.0.2.7")],
            &[(X, "unknown")],
            &[(X, "192.0.2.7, unknown, 10.0.9.8")],
            &[(X, "garbage, 192.0.2.7")],
            &[(X, "192.0.2.07")],
            &[(X, "192.0.2")],
            &[(X, "192.0.2.7:")],
            &[(X, "192.0.2.7:99999")],
            &[(X, "192.0.2.7:+1")],
            &[(X, "192.0.2.7 192.0.2.8")],
            &[(X, "fe80::1%eth0")],
            &[(X, "[fe80::1%25eth0]")],
            &[(X, "0.0.0.0")],
            &[(X, "ff02::1")],
            &[(X, "\"192.0.2.7\"")],
            &[(X, &hops)],
            &[(F, "")],
            &[(F, "192.0.2.7")],
            &[(F, "for=")],
            &[(F, "for=unknown")],
            &[(F, "for=_hidden")],
            &[(F, "for=192.0.2.7, for=_hidden")],
            &[(F, "for=192.0.2.7;for=192.0.2.8")],
            &[(F, "for=192.0.2.7;proto=a;Proto=b")],
            &[(F, "for=192.0.2.7; proto=https")],
            &[(F, "for=192.0.2.7;")],
            &[(F, "by=192.0.2.7")],
            &[(F, "for=2001:db8::7")],
            &[(F, "for=\"192.0.2.7:_port\"")],
            &[(F, "for=\"192.0.2.7")],
            &[(F, "for=\"192.0.2\\.7\"")],
            &[(F, "for=192.0.2.7"), (X, "192.0.2.8")],
        ];
        for fields in table {
            assert_eq!(from("10.0.9.1", fields), Err(Reason::MalformedRequest), "{fields:?}");
        }
        let longer: &[(&'static str, &str)] = &[(F, "for=192.0.2.7"), (X, "192.0.2.66, 192.0.2.7")];
        assert_eq!(from("10.0.9.1", longer), Err(Reason::MalformedRequest));
    }

    proptest! {
        #[test]
        fn b11_nothing_that_a_caller_writes_on_the_left_moves_the_source(
            left in "[ -~]{0,40}",
            hops in proptest::collection::vec(0u8..=255, 0..4),
        ) {
            let right: Vec<String> = hops.iter().map(|n| format!("10.0.9.{n}")).collect();
            let field = [left, "192.0.2.7".to_owned()].into_iter().chain(right).collect::<Vec<_>>().join(", ");
            let got = from("10.0.9.1", &[(X, &field)]);
            prop_assert!(matches!(got.as_deref(), Ok("192.0.2.7") | Err(Reason::MalformedRequest)), "{:?}", got);
        }

        #[test]
        fn b11_no_bytes_make_the_reader_panic(value in "[ -~\t]{0,80}") {
            let _ = from("10.0.9.1", &[(F, &value)]);
            let _ = from("10.0.9.1", &[(X, &value)]);
        }
    }
}
