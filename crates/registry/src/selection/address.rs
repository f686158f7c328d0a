//! Where an endpoint is.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

/// Where an endpoint is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Address {
    /// TCP.
    Socket(SocketAddr),
    /// A unix socket, an absolute path.
    Unix(Arc<str>),
}

impl Address {
    /// The same number in every process and on every machine, so that all edges agree where a key belongs.
    pub(crate) fn seed(&self) -> u64 {
        stable_hash(self.to_string().as_bytes())
    }
}

impl From<SocketAddr> for Address {
    fn from(address: SocketAddr) -> Self {
        Self::Socket(address)
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Socket(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{path}"),
        }
    }
}

/// A hash without a secret, for [`super::Hint::hash`]: equal in every process (FNV-1a, then mixed).
///
/// SECURITY: a caller can choose which endpoint it lands on. That is what consistent hashing is for; the bounded load
/// keeps such callers from piling up on one.
#[must_use]
pub fn stable_hash(bytes: &[u8]) -> u64 {
    let fnv = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
    mix(bytes.iter().fold(0xcbf2_9ce4_8422_2325, fnv))
}

/// Spreads every bit of `n` over all others (the finaliser of SplitMix64).
pub(crate) fn mix(n: u64) -> u64 {
    let n = (n ^ (n >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let n = (n ^ (n >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    n ^ (n >> 31)
}
