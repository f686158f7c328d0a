//! Before the line: a place among all connections, and who is at the other end.
//!
//! From a listed load balancer the PROXY header is read before TLS and names the source; nobody else's bytes are looked at.
//! Only then is the connection counted for a source, so that a balancer's own address fills no cap, and what is not named
//! yet has a cap of its own (`SourceCaps`).
//!
//! INVARIANT: one deadline covers the header and the handshake; the header's bytes are read and not one more.
//! INVARIANT: an end after the header is recorded under the source that the header named.
//!
//! Not here: the header's form (`portcullis-net`), what a request says about its source (`source`).
//!
//! Sources: threats A9, B12, D8, E8.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use portcullis_evidence::event::ConnectionClass;
use portcullis_net::address::Networks;
use portcullis_net::listen::{CapFault, ConnectionSlot, SourceCaps};
use portcullis_net::proxy_protocol::{Origin, ProxyFault, origin};
use tokio::io::AsyncRead;
use tokio::time::Instant;

/// A connection whose source is known and counted.
pub(crate) struct Arrived {
    /// Its places.
    pub slot: ConnectionSlot,
    /// Who is at the other end.
    pub ends: Ends,
}

/// The source of a connection, and the load balancer that named it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ends {
    /// Whom limits, rules and records see.
    pub source: IpAddr,
    /// Who connected, if somebody else did.
    pub via: Option<IpAddr>,
}

/// Why a connection ended outside the line.
#[derive(Debug)]
pub(crate) struct End {
    /// What kind of end.
    pub class: ConnectionClass,
    /// The particular fault.
    pub fault: &'static str,
}

impl Ends {
    /// Nobody spoke for the peer.
    pub(crate) fn direct(peer: SocketAddr) -> Self {
        Self { source: peer.ip(), via: None }
    }
}

impl From<Origin> for Ends {
    fn from(origin: Origin) -> Self {
        Self { source: origin.source.ip(), via: origin.via.map(|via| via.ip()) }
    }
}

impl From<CapFault> for End {
    fn from(fault: CapFault) -> Self {
        Self { class: ConnectionClass::OverCap, fault: fault.word() }
    }
}

impl From<ProxyFault> for End {
    fn from(fault: ProxyFault) -> Self {
        Self { class: ConnectionClass::ProxyError, fault: fault.word() }
    }
}

/// Finds out who connected and counts the connection for them. The error says whom to record it under.
pub(crate) async fn arrive<S: AsyncRead + Unpin>(
    caps: &Arc<SourceCaps>,
    balancers: &Networks,
    stream: &mut S,
    peer: SocketAddr,
    deadline: Instant,
) -> Result<Arrived, (Ends, End)> {
    let direct = Ends::direct(peer);
    let place = caps.enter().map_err(|fault| (direct, fault.into()))?;
    let ends = if balancers.contains(peer.ip()) {
        let _waits = place.unnamed().map_err(|fault| (direct, fault.into()))?;
        origin(stream, peer, balancers, deadline).await.map_err(|fault| (direct, fault.into()))?.into()
    } else {
        direct
    };
    let slot = place.of(ends.source).map_err(|fault| (ends, fault.into()))?;
    Ok(Arrived { slot, ends })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use portcullis_net::listen::CapLimits;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};

    use super::*;

    const BALANCER: &str = "10.0.9.1:40000";

    /// PROXY over TCP and IPv4, from this last octet of 192.0.2.0/24.
    fn header(last: u8) -> Vec<u8> {
        let fixed = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c".as_slice();
        [fixed, &[192, 0, 2, last, 198, 51, 100, 1, 0x1f, 0x90, 0x01, 0xbb]].concat()
    }

    fn caps() -> Arc<SourceCaps> {
        SourceCaps::new(CapLimits { total: 8, per_source: 1, handshakes_per_source: 1 })
    }

    async fn arrives(
        caps: &Arc<SourceCaps>,
        peer: &str,
        bytes: &[u8],
    ) -> (Result<Arrived, (Ends, &'static str)>, Vec<u8>) {
        let balancers = Networks::new(["10.0.9.0/24".parse().expect("a network")]);
        let (mut near, mut far) = duplex(4096);
        far.write_all(bytes).await.expect("written");
        let soon = Instant::now() + Duration::from_secs(5);
        let got = arrive(caps, &balancers, &mut near, peer.parse().expect("an address"), soon).await;
        drop(far);
        let mut left = Vec::new();
        near.read_to_end(&mut left).await.expect("read");
        (got.map_err(|(ends, end)| (ends, end.fault)), left)
    }

    #[tokio::test]
    async fn a9_a_balancer_fills_no_cap_of_a_source_and_its_callers_each_fill_their_own() {
        let caps = caps();
        let hello = |last| [header(last).as_slice(), b"tls"].concat();
        let (first, left) = arrives(&caps, BALANCER, &hello(1)).await;
        let first = first.expect("one of its callers");
        assert_eq!((first.ends.source.to_string(), left.as_slice()), ("192.0.2.1".to_owned(), &b"tls"[..]));
        assert_eq!(first.ends.via.map(|via| via.to_string()).as_deref(), Some("10.0.9.1"));
        let second = arrives(&caps, BALANCER, &hello(2)).await.0.expect("another of its callers");
        let (third, _) = arrives(&caps, BALANCER, &hello(1)).await;
        let (ends, fault) = third.map(drop).expect_err("the caller has one already");
        assert_eq!((ends, fault), (first.ends, "source-connection-cap"));
        drop((first, second));
        assert_eq!(caps.open(), 0);
    }

    #[tokio::test]
    async fn a9_a_stranger_names_nobody_and_not_one_byte_of_it_is_read() {
        let caps = caps();
        let (got, left) = arrives(&caps, "203.0.113.5:1", &header(1)).await;
        let arrived = got.expect("by its own address");
        assert_eq!((arrived.ends.source.to_string(), arrived.ends.via), ("203.0.113.5".to_owned(), None));
        assert_eq!(left, header(1));
    }

    #[tokio::test(start_paused = true)]
    async fn a9_e8_a_balancer_without_a_header_in_time_is_turned_away_under_its_own_address() {
        let caps = caps();
        for (bytes, want) in [
            (b"GET / HTTP/1.1\r\nHost: a\r\n\r\n".as_slice(), "proxy-signature"),
            (header(1).get(..20).unwrap_or_default(), "proxy-timeout"),
        ] {
            let (ends, fault) = arrives(&caps, BALANCER, bytes).await.0.map(drop).expect_err(want);
            assert_eq!((ends.source.to_string(), ends.via, fault), ("10.0.9.1".to_owned(), None, want));
        }
        assert_eq!(caps.open(), 0);
    }
}
