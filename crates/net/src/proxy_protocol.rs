//! The PROXY protocol, version 2: who really called, as told by a load balancer that we know.
//!
//! Only a listed peer may speak for others, and it must: its connections begin with the header or end. From everybody else
//! not one byte is read here; a header from them meets TLS or the guard, which refuse it.
//!
//! INVARIANT: exactly the header's bytes are consumed; what follows belongs to TLS or HTTP.
//! INVARIANT: the TLVs fill the rest of the header to the byte, or the header is refused (A9).
//! INVARIANT: addresses leave folded (B12).
//!
//! Not here: version 1 (text, no length), UDP and unix sources; what a TLV says (none is used).
//!
//! Sources: HAProxy PROXY protocol specification §2.2; threats A9, B12, E8.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::time::{Instant, timeout_at};

use crate::address::{Class, Networks, class, fold};

const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
const FIXED: usize = 16;
/// Addresses and TLVs of real load balancers fit many times.
const LONGEST: usize = 2_048;

/// Who is at the other end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The caller: what limits, rules and records see.
    pub source: SocketAddr,
    /// The load balancer that told, if one did.
    pub via: Option<SocketAddr>,
}

/// What a header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Header {
    /// The load balancer speaks for itself, such as a health check.
    Local,
    /// It passes a TCP connection on.
    Tcp {
        /// From whom.
        source: SocketAddr,
        /// To what address of the load balancer.
        destination: SocketAddr,
    },
}

/// Why a header was refused.
#[derive(Debug, thiserror::Error)]
pub enum ProxyFault {
    /// It does not begin as one.
    #[error("a listed proxy sent no PROXY protocol version 2 header")]
    Signature,
    /// Neither LOCAL nor PROXY, or another version.
    #[error("the PROXY header has an unknown version or command")]
    Command,
    /// Neither TCP over IPv4 nor over IPv6.
    #[error("the PROXY header is not about TCP over IPv4 or IPv6")]
    Family,
    /// Shorter than its addresses, longer than any real one, or not the length that its parts add up to.
    #[error("the PROXY header's length does not fit its contents")]
    Length,
    /// An address that nobody can call from.
    #[error("the PROXY header names an address that is no caller's")]
    Source,
    /// Not complete in time (E8).
    #[error("the PROXY header took too long")]
    Timeout,
    /// The connection ended or broke first.
    #[error("the connection ended inside the PROXY header")]
    Io(#[source] io::Error),
}

impl ProxyFault {
    /// A fixed word for events and metrics.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::Signature => "proxy-signature",
            Self::Command => "proxy-command",
            Self::Family => "proxy-family",
            Self::Length => "proxy-length",
            Self::Source => "proxy-source",
            Self::Timeout => "proxy-timeout",
            Self::Io(_) => "proxy-cut",
        }
    }
}

/// Finds out who called: `peer` itself, or whom it speaks for if it is in `proxies`.
///
/// # Errors
/// A listed peer whose header is missing, malformed or late.
pub async fn origin<S: AsyncRead + Unpin>(
    stream: &mut S,
    peer: SocketAddr,
    proxies: &Networks,
    deadline: Instant,
) -> Result<Origin, ProxyFault> {
    let peer = fold(peer);
    if !proxies.contains(peer.ip()) {
        return Ok(Origin { source: peer, via: None });
    }
    let header = timeout_at(deadline, read(stream)).await.map_err(|_| ProxyFault::Timeout)??;
    Ok(match header {
        Header::Local => Origin { source: peer, via: None },
        Header::Tcp { source, .. } => Origin { source, via: Some(peer) },
    })
}

async fn read<S: AsyncRead + Unpin>(stream: &mut S) -> Result<Header, ProxyFault> {
    let mut fixed = [0; FIXED];
    stream.read_exact(&mut fixed).await.map_err(ProxyFault::Io)?;
    let mut rest = vec![0; length(&fixed)?];
    stream.read_exact(&mut rest).await.map_err(ProxyFault::Io)?;
    interpret(&fixed, &rest)
}

/// Reads a header that is exactly `bytes`.
///
/// # Errors
/// Anything else than one whole header.
pub fn parse(bytes: &[u8]) -> Result<Header, ProxyFault> {
    let (fixed, rest) = bytes.split_first_chunk::<FIXED>().ok_or(ProxyFault::Length)?;
    if length(fixed)? != rest.len() {
        return Err(ProxyFault::Length);
    }
    interpret(fixed, rest)
}

/// The length of what follows the fixed part.
fn length(fixed: &[u8; FIXED]) -> Result<usize, ProxyFault> {
    let [signature @ .., _, _, high, low] = fixed;
    if signature != SIGNATURE {
        return Err(ProxyFault::Signature);
    }
    let length = usize::from(u16::from_be_bytes([*high, *low]));
    if length > LONGEST { Err(ProxyFault::Length) } else { Ok(length) }
}

fn interpret(fixed: &[u8; FIXED], rest: &[u8]) -> Result<Header, ProxyFault> {
    let [.., command, family, _, _] = fixed;
    match (command, family) {
        // §2.2: a receiver must ignore the addresses of LOCAL, whatever their family.
        (0x20, _) => Ok(Header::Local),
        (0x21, 0x11) => {
            let (addresses, tlvs) = rest.split_first_chunk::<12>().ok_or(ProxyFault::Length)?;
            skip_tlvs(tlvs)?;
            let [s0, s1, s2, s3, d0, d1, d2, d3, sp0, sp1, dp0, dp1] = *addresses;
            let ends = [Ipv4Addr::new(s0, s1, s2, s3), Ipv4Addr::new(d0, d1, d2, d3)].map(IpAddr::V4);
            tcp(ends, [[sp0, sp1], [dp0, dp1]])
        }
        (0x21, 0x21) => {
            let (source, more) = rest.split_first_chunk::<16>().ok_or(ProxyFault::Length)?;
            let (destination, more) = more.split_first_chunk::<16>().ok_or(ProxyFault::Length)?;
            let ([sp0, sp1, dp0, dp1], tlvs) = more.split_first_chunk::<4>().ok_or(ProxyFault::Length)?;
            skip_tlvs(tlvs)?;
            let ends = [Ipv6Addr::from(*source), Ipv6Addr::from(*destination)].map(IpAddr::V6);
            tcp(ends, [[*sp0, *sp1], [*dp0, *dp1]])
        }
        (0x21, _) => Err(ProxyFault::Family),
        _ => Err(ProxyFault::Command),
    }
}

fn tcp([source, destination]: [IpAddr; 2], ports: [[u8; 2]; 2]) -> Result<Header, ProxyFault> {
    let [source_port, destination_port] = ports.map(u16::from_be_bytes);
    if matches!(class(source), Class::Unspecified | Class::Multicast) {
        return Err(ProxyFault::Source);
    }
    Ok(Header::Tcp {
        source: fold(SocketAddr::new(source, source_port)),
        destination: fold(SocketAddr::new(destination, destination_port)),
    })
}

/// §2.2: type, length of two bytes, value; to the last byte.
fn skip_tlvs(mut rest: &[u8]) -> Result<(), ProxyFault> {
    while !rest.is_empty() {
        let ([_, high, low], after) = rest.split_first_chunk::<3>().ok_or(ProxyFault::Length)?;
        let length = usize::from(u16::from_be_bytes([*high, *low]));
        rest = after.get(length..).ok_or(ProxyFault::Length)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;
    use tokio::io::{AsyncWriteExt, duplex};

    use super::*;

    fn header(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
        let length = u16::try_from(rest.len()).unwrap().to_be_bytes();
        [SIGNATURE.as_slice(), &[command, family], &length, rest].concat()
    }

    fn v4(tlvs: &[u8]) -> Vec<u8> {
        header(0x21, 0x11, &[&[192, 0, 2, 1, 198, 51, 100, 2, 0x1f, 0x90, 0x01, 0xbb], tlvs].concat())
    }

    fn v6(source: &str) -> Vec<u8> {
        let (source, to): (Ipv6Addr, Ipv6Addr) = (source.parse().unwrap(), "2001:db8::2".parse().unwrap());
        header(0x21, 0x21, &[&source.octets()[..], &to.octets(), &[0x1f, 0x90, 0x01, 0xbb]].concat())
    }

    fn said(bytes: &[u8]) -> String {
        match parse(bytes) {
            Ok(Header::Local) => "local".into(),
            Ok(Header::Tcp { source, destination }) => format!("{source} {destination}"),
            Err(fault) => fault.word().into(),
        }
    }

    #[test]
    fn a9_a_header_is_read_to_the_byte_or_refused() {
        let mut cut = v4(&[]);
        cut.pop();
        let table = [
            (v4(&[]), "192.0.2.1:8080 198.51.100.2:443"),
            (v4(&[0x04, 0, 2, 0, 0]), "192.0.2.1:8080 198.51.100.2:443"),
            (v4(&[0x04, 0, 0, 0xee, 0, 1, 9]), "192.0.2.1:8080 198.51.100.2:443"),
            (v6("2001:db8::1"), "[2001:db8::1]:8080 [2001:db8::2]:443"),
            (v6("::ffff:192.0.2.1"), "192.0.2.1:8080 [2001:db8::2]:443"),
            (header(0x20, 0x00, &[]), "local"),
            (header(0x20, 0x11, &[0; 12]), "local"),
            // TLVs that run over the end, or end inside their own head.
            (v4(&[0x04, 0, 3, 0, 0]), "proxy-length"),
            (v4(&[0x04, 0xff, 0xff]), "proxy-length"),
            (v4(&[0x04, 0]), "proxy-length"),
            (v4(&[0x04]), "proxy-length"),
            // Too short for its family, too long for anybody, and another length than announced.
            (header(0x21, 0x11, &[0; 11]), "proxy-length"),
            (header(0x21, 0x21, &[0; 35]), "proxy-length"),
            (header(0x21, 0x11, &[0; LONGEST + 1]), "proxy-length"),
            (cut, "proxy-length"),
            ([v4(&[]), vec![0]].concat(), "proxy-length"),
            (Vec::new(), "proxy-length"),
            // Other commands, versions and families.
            (header(0x22, 0x11, &[0; 12]), "proxy-command"),
            (header(0x11, 0x11, &[0; 12]), "proxy-command"),
            (header(0x21, 0x00, &[]), "proxy-family"),
            (header(0x21, 0x12, &[0; 12]), "proxy-family"),
            (header(0x21, 0x31, &[0; 216]), "proxy-family"),
            (b"PROXY TCP4 192.0.2.1 198.51.100.2 1 2\r\n".to_vec(), "proxy-signature"),
            // Nobody calls from there.
            (header(0x21, 0x11, &[0; 12]), "proxy-source"),
            (v6("ff02::1"), "proxy-source"),
            (v6("::"), "proxy-source"),
        ];
        for (bytes, want) in table {
            assert_eq!(said(&bytes), want, "{bytes:?}");
        }
    }

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(5)
    }

    #[tokio::test]
    async fn a9_only_a_listed_peer_speaks_for_others_and_it_must() {
        let proxies = Networks::new(["10.0.0.0/8".parse().unwrap()]);
        let (listed, stranger): (SocketAddr, SocketAddr) =
            ("[::ffff:10.0.0.9]:5".parse().unwrap(), "203.0.113.5:5".parse().unwrap());
        let table = [
            (listed, v4(&[]), "192.0.2.1:8080", true),
            (listed, header(0x20, 0, &[]), "10.0.0.9:5", true),
            (listed, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n".to_vec(), "proxy-signature", true),
            (listed, v4(&[])[..20].to_vec(), "proxy-cut", true),
            (stranger, v4(&[]), "203.0.113.5:5", false),
        ];
        for (peer, bytes, want, consumed) in table {
            let (mut near, mut far) = duplex(4096);
            far.write_all(&bytes).await.unwrap();
            far.write_all(if want == "proxy-cut" { b"" } else { b"next" }).await.unwrap();
            drop(far);
            let got = origin(&mut near, peer, &proxies, soon()).await;
            assert_eq!(got.as_ref().map_or_else(|f| f.word().to_owned(), |o| o.source.to_string()), want);
            if got.is_ok() {
                let mut left = Vec::new();
                near.read_to_end(&mut left).await.unwrap();
                let want = if consumed { b"next".to_vec() } else { [bytes, b"next".to_vec()].concat() };
                assert_eq!(left, want);
            }
        }
    }

    #[tokio::test]
    async fn a9_an_empty_list_trusts_nobody() {
        let (mut near, mut far) = duplex(4096);
        far.write_all(&v4(&[])).await.unwrap();
        let peer = "127.0.0.1:5".parse().unwrap();
        let got = origin(&mut near, peer, &Networks::default(), soon()).await.unwrap();
        assert_eq!(got, Origin { source: peer, via: None });
    }

    #[tokio::test(start_paused = true)]
    async fn e8_a_header_that_trickles_ends_at_the_deadline() {
        let proxies = Networks::new(["127.0.0.0/8".parse().unwrap()]);
        let (mut near, mut far) = duplex(4096);
        far.write_all(&v4(&[])[..15]).await.unwrap();
        let got = origin(&mut near, "127.0.0.1:5".parse().unwrap(), &proxies, soon()).await;
        assert_eq!(got.unwrap_err().word(), "proxy-timeout");
    }

    proptest! {
        #[test]
        fn a9_no_bytes_make_the_parser_panic_and_what_it_reads_is_folded(
            command in prop_oneof![Just(0x20u8), Just(0x21), any::<u8>()],
            family in prop_oneof![Just(0x11u8), Just(0x21), any::<u8>()],
            rest in proptest::collection::vec(any::<u8>(), 0..80),
            noise in proptest::collection::vec(any::<u8>(), 0..40),
        ) {
            let _ = parse(&noise);
            if let Ok(Header::Tcp { source, destination }) = parse(&header(command, family, &rest)) {
                prop_assert_eq!(fold(source), source);
                prop_assert_eq!(fold(destination), destination);
            }
        }
    }
}
