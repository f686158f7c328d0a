//! What a limit counts, and the 128 bits that stand for it in a table.
//!
//! Tables do not keep names: a key is hashed twice with SipHash under two keys that the process drew at random, and
//! the 128 bits are the key. A client cannot aim at a collision, since it does not know the keys, and an accidental
//! one among a million live keys has a chance of about 2^-89. Nothing personal stays in the table either
//! (11.6.2d).
//!
//! INVARIANT: one client has one source prefix, however it writes its address (threat B12).
//!
//! Sources: SS028-11.4.2; RFC 4291 §2.5.5.2 (mapped addresses); RFC 6177 (a site has at least a /64).

use std::fmt;
use std::hash::{BuildHasher, Hash, RandomState};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use portcullis_core::Name;

/// Whose requests are counted together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LimitKey<'a> {
    /// One authenticated caller under one plan. A subject alone is not a key: two issuers may use the same one.
    Caller {
        /// The plan whose quota is counted.
        plan: &'a Name,
        /// Who vouches for the caller.
        issuer: &'a Name,
        /// The caller, in the issuer's words.
        subject: &'a str,
    },
    /// One source of connections under one plan, before anybody is authenticated.
    Source {
        /// The plan whose quota is counted.
        plan: &'a Name,
        /// Where the request came from.
        source: SourcePrefix,
    },
    /// Everybody on one route.
    Route {
        /// The route, whose name is unique over all services.
        route: &'a Name,
    },
    /// Everybody under one plan.
    Plan {
        /// The plan.
        plan: &'a Name,
    },
    /// One caller's invocations of one procedure, by whatever route (11.4.2).
    Procedure {
        /// Who vouches for the caller.
        issuer: &'a Name,
        /// The caller, in the issuer's words.
        subject: &'a str,
        /// The procedure.
        procedure: &'a Name,
    },
}

/// An IPv4 address, or the 64-bit network of an IPv6 address; a mapped address is the IPv4 address it maps.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SourcePrefix(Prefix);

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Prefix {
    V4(u32),
    V6(u64),
}

impl SourcePrefix {
    /// The prefix that `address` belongs to.
    #[must_use]
    pub fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(v4) => Self(Prefix::V4(v4.to_bits())),
            IpAddr::V6(v6) => Self(Prefix::V6(u64::try_from(v6.to_bits() >> 64).unwrap_or(u64::MAX))),
        }
    }
}

impl fmt::Display for SourcePrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Prefix::V4(bits) => Ipv4Addr::from_bits(bits).fmt(f),
            Prefix::V6(bits) => write!(f, "{}/64", Ipv6Addr::from_bits(u128::from(bits) << 64)),
        }
    }
}

impl fmt::Debug for SourcePrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// 128 keyed bits that stand for a key. All zero stands for no key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fingerprint {
    pub(crate) high: u64,
    pub(crate) low: u64,
}

impl Fingerprint {
    pub(crate) const NONE: Self = Self { high: 0, low: 0 };
}

/// Two independent keyed hashes.
#[derive(Clone, Debug, Default)]
pub(crate) struct Printer {
    high: RandomState,
    low: RandomState,
}

impl Printer {
    pub(crate) fn print(&self, key: &impl Hash) -> Fingerprint {
        // The lowest bit is set, so that no key can look like an empty slot.
        Fingerprint { high: self.high.hash_one(key), low: self.low.hash_one(key) | 1 }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn prefix(text: &str) -> SourcePrefix {
        SourcePrefix::of(text.parse().expect("address"))
    }

    #[test]
    fn b12_one_source_has_one_prefix() {
        let table = [
            ("192.0.2.7", "192.0.2.7"),
            ("::ffff:192.0.2.7", "192.0.2.7"),
            ("::ffff:c000:207", "192.0.2.7"),
            ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
            ("2001:db8:1:2::", "2001:db8:1:2::/64"),
            ("2001:db8:1:3::", "2001:db8:1:3::/64"),
            ("::1", "::/64"),
        ];
        for (given, want) in table {
            assert_eq!(prefix(given).to_string(), want, "{given}");
        }
        assert_ne!(prefix("0.0.0.0"), prefix("::"), "the families do not meet");
    }

    #[test]
    fn ss028_11_4_2_keys_that_differ_in_any_part_differ() {
        let (a, b) = (Name::parse("staff").expect("name"), Name::parse("partners").expect("name"));
        let printer = Printer::default();
        let keys = [
            LimitKey::Caller { plan: &a, issuer: &a, subject: "7" },
            LimitKey::Caller { plan: &a, issuer: &b, subject: "7" },
            LimitKey::Caller { plan: &b, issuer: &a, subject: "7" },
            LimitKey::Caller { plan: &a, issuer: &a, subject: "8" },
            LimitKey::Procedure { issuer: &a, subject: "7", procedure: &a },
            LimitKey::Procedure { issuer: &a, subject: "7", procedure: &b },
            LimitKey::Procedure { issuer: &b, subject: "7", procedure: &a },
            LimitKey::Route { route: &a },
            LimitKey::Route { route: &b },
            LimitKey::Plan { plan: &a },
            LimitKey::Source { plan: &a, source: prefix("192.0.2.7") },
            LimitKey::Source { plan: &a, source: prefix("2001:db8::") },
        ];
        let mut seen: Vec<_> = keys.iter().map(|k| printer.print(k)).map(|p| (p.high, p.low)).collect();
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen.len(), keys.len());
    }

    proptest! {
        /// Moving bytes from one text to its neighbour makes another key.
        #[test]
        fn the_border_between_two_texts_counts(text in "[a-z]{2,20}", cut in 1usize..19) {
            prop_assume!(cut < text.len());
            let (name, subject) = text.split_at(cut);
            let (whole, part) = (Name::parse(&text).expect("name"), Name::parse(name).expect("name"));
            let printer = Printer::default();
            let one = printer.print(&LimitKey::Caller { plan: &whole, issuer: &part, subject });
            let two = printer.print(&LimitKey::Caller { plan: &whole, issuer: &whole, subject: "" });
            prop_assert_ne!(one, two);
        }
    }
}
