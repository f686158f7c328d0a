//! Where a connection came from, as precisely as the operator's privacy rule lets a record say.
//!
//! INVARIANT: the port is never kept; a mapped IPv6 address is folded to IPv4, so that one source has one form.
//!
//! Sources: SS028-11.6.2d (personal data); RFC 4291 §2.5.5.2.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// How much of an address a record shows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SourceForm {
    /// All of it.
    #[default]
    Full,
    /// Only the network: so many leading bits of an IPv4 and of an IPv6 address.
    Prefix {
        /// Leading bits of an IPv4 address, at most 32.
        v4: u8,
        /// Leading bits of an IPv6 address, at most 128.
        v6: u8,
    },
}

impl SourceForm {
    /// The networks that coalesced refusals are counted by: /24 and /48.
    pub const NETWORK: Self = Self::Prefix { v4: 24, v6: 48 };
}

/// A source address or network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Source {
    address: IpAddr,
    bits: Option<u8>,
}

impl Source {
    /// The source of a connection, in the permitted form.
    #[must_use]
    pub fn of(address: IpAddr, form: SourceForm) -> Self {
        match (address.to_canonical(), form) {
            (address, SourceForm::Full) => Self { address, bits: None },
            (IpAddr::V4(a), SourceForm::Prefix { v4, .. }) => Self::network_v4(a, v4.min(32)),
            (IpAddr::V6(a), SourceForm::Prefix { v6, .. }) => Self::network_v6(a, v6.min(128)),
        }
    }

    fn network_v4(address: Ipv4Addr, bits: u8) -> Self {
        let mask = u32::MAX.checked_shl(32 - u32::from(bits)).unwrap_or(0);
        let address = IpAddr::V4(Ipv4Addr::from_bits(address.to_bits() & mask));
        Self { address, bits: Some(bits) }
    }

    fn network_v6(address: Ipv6Addr, bits: u8) -> Self {
        let mask = u128::MAX.checked_shl(128 - u32::from(bits)).unwrap_or(0);
        let address = IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & mask));
        Self { address, bits: Some(bits) }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.bits {
            None => self.address.fmt(f),
            Some(bits) => write!(f, "{}/{bits}", self.address),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_shows_no_more_than_the_rule_permits() {
        let prefix = SourceForm::Prefix { v4: 24, v6: 48 };
        let table = [
            ("203.0.113.77", SourceForm::Full, "203.0.113.77"),
            ("::ffff:203.0.113.77", SourceForm::Full, "203.0.113.77"),
            ("203.0.113.77", prefix, "203.0.113.0/24"),
            ("::ffff:203.0.113.77", prefix, "203.0.113.0/24"),
            ("2001:db8:1:2:3::4", prefix, "2001:db8:1::/48"),
            ("203.0.113.77", SourceForm::Prefix { v4: 0, v6: 0 }, "0.0.0.0/0"),
            ("2001:db8::1", SourceForm::Prefix { v4: 0, v6: 0 }, "::/0"),
            ("203.0.113.77", SourceForm::Prefix { v4: 200, v6: 200 }, "203.0.113.77/32"),
        ];
        for (address, form, want) in table {
            let address = address.parse().expect("an address");
            assert_eq!(Source::of(address, form).to_string(), want);
        }
    }
}
