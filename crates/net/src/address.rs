//! One form for an address, and what kind of place it is.
//!
//! A dual-stack socket shows an IPv4 caller as `::ffff:a.b.c.d`. Every address that enters the product is folded here
//! first, so that no list, limit or rule can be passed by writing the same address in another family (B12).
//!
//! INVARIANT: folding is idempotent, and a folded address is never IPv4-mapped and carries no scope or flow.
//! INVARIANT: an address that embeds an IPv4 address (NAT64, 6to4, Teredo) is classed by what it embeds.
//!
//! Sources: RFC 4291 §2.5.5.2 (mapped), RFC 6052 (NAT64), RFC 3056 (6to4), RFC 4380 (Teredo), RFC 6890 (special
//! purpose), threats B12, C12.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use ipnet::{IpNet, Ipv4Net};

/// The one form of a socket address: IPv4-mapped becomes IPv4, scope and flow are dropped.
#[must_use]
pub fn fold(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(fold_ip(address.ip()), address.port())
}

/// The one form of an address.
#[must_use]
pub fn fold_ip(ip: IpAddr) -> IpAddr {
    ip.to_canonical()
}

/// What kind of place an address is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Class {
    /// `0.0.0.0/8`, `::`.
    Unspecified,
    /// `127.0.0.0/8`, `::1`.
    Loopback,
    /// `169.254.0.0/16`, `fe80::/10`: where clouds put their metadata services.
    LinkLocal,
    /// A metadata service outside the link-local range.
    Metadata,
    /// Multicast and broadcast.
    Multicast,
    /// RFC 1918, RFC 6598 and unique local addresses.
    Private,
    /// Reserved for documentation, benchmarks or the future.
    Reserved,
    /// Everything else.
    Public,
}

/// Metadata services of clouds that do not sit on a link-local address.
const METADATA_V4: [Ipv4Addr; 3] =
    [Ipv4Addr::new(100, 100, 100, 200), Ipv4Addr::new(192, 0, 0, 192), Ipv4Addr::new(168, 63, 129, 16)];
const METADATA_V6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254);

/// What kind of place `ip` is, after folding.
#[must_use]
pub fn class(ip: IpAddr) -> Class {
    match fold_ip(ip) {
        IpAddr::V4(ip) => class_v4(ip),
        IpAddr::V6(ip) => class_v6(ip),
    }
}

fn class_v4(ip: Ipv4Addr) -> Class {
    match ip.octets() {
        _ if METADATA_V4.contains(&ip) => Class::Metadata,
        [0, ..] => Class::Unspecified,
        [127, ..] => Class::Loopback,
        [169, 254, ..] => Class::LinkLocal,
        [224..=239, ..] | [255, 255, 255, 255] => Class::Multicast,
        [10, ..] | [172, 16..=31, ..] | [192, 168, ..] | [100, 64..=127, ..] => Class::Private,
        [192, 0, 0 | 2, _] | [198, 18 | 19, ..] | [198, 51, 100, _] | [203, 0, 113, _] | [240..=255, ..] => {
            Class::Reserved
        }
        _ => Class::Public,
    }
}

fn class_v6(ip: Ipv6Addr) -> Class {
    // SECURITY: a translator would carry these to the embedded IPv4 address, so that address decides (C12).
    if let Some(inner) = embedded_v4(ip) {
        return class_v4(inner);
    }
    match ip.segments() {
        _ if ip == METADATA_V6 => Class::Metadata,
        [0, 0, 0, 0, 0, 0, 0, 0] => Class::Unspecified,
        [0, 0, 0, 0, 0, 0, 0, 1] => Class::Loopback,
        [0xfe80..=0xfebf, ..] => Class::LinkLocal,
        [0xff00..=0xffff, ..] => Class::Multicast,
        [0xfc00..=0xfdff, ..] | [0xfec0..=0xfeff, ..] | [0x64, 0xff9b, 1, ..] => Class::Private,
        [0x2001, 0xdb8, ..] | [0x3fff, 0..=0xfff, ..] | [0x100, 0, 0, 0, ..] => Class::Reserved,
        [0x2000..=0x3fff, ..] => Class::Public,
        _ => Class::Reserved,
    }
}

/// The IPv4 address inside an IPv4-compatible, NAT64, 6to4 or Teredo address.
fn embedded_v4(ip: Ipv6Addr) -> Option<Ipv4Addr> {
    let join = |high: u16, low: u16| Ipv4Addr::from_bits((u32::from(high) << 16) | u32::from(low));
    match ip.segments() {
        [0, 0, 0, 0, 0, 0, 0, 0 | 1] => None,
        [0, 0, 0, 0, 0, 0, high, low] | [0x64, 0xff9b, 0, 0, 0, 0, high, low] => Some(join(high, low)),
        [0x2002, high, low, ..] => Some(join(high, low)),
        [0x2001, 0, _, _, _, _, high, low] => Some(join(!high, !low)),
        _ => None,
    }
}

/// A list of networks, such as the proxies that may speak for others. Empty matches nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Networks(Box<[IpNet]>);

impl Networks {
    /// Keeps the networks, folded: `::ffff:10.0.0.0/104` means `10.0.0.0/8`.
    #[must_use]
    pub fn new(networks: impl IntoIterator<Item = IpNet>) -> Self {
        Self(networks.into_iter().map(fold_network).collect())
    }

    /// Is `ip`, folded, in one of them?
    #[must_use]
    pub fn contains(&self, ip: IpAddr) -> bool {
        let ip = fold_ip(ip);
        self.0.iter().any(|network| network.contains(&ip))
    }

    /// Is there nothing in the list?
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// A network of mapped addresses becomes the IPv4 network; one that holds more than those stays IPv6.
fn fold_network(network: IpNet) -> IpNet {
    let IpNet::V6(v6) = network else { return network.trunc() };
    let mapped = v6.addr().to_ipv4_mapped().zip(v6.prefix_len().checked_sub(96));
    let folded = mapped.and_then(|(ip, prefix)| Ipv4Net::new(ip, prefix).ok());
    folded.map_or(network, IpNet::V4).trunc()
}

/// One source, as limits count it: an IPv4 address, or the /64 that one IPv6 subscriber owns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Source {
    /// One address.
    V4([u8; 4]),
    /// The first 64 bits.
    V6([u8; 8]),
}

impl Source {
    /// The source that `ip` counts for.
    #[must_use]
    pub fn of(ip: IpAddr) -> Self {
        match fold_ip(ip) {
            IpAddr::V4(ip) => Self::V4(ip.octets()),
            IpAddr::V6(ip) => {
                let [a, b, c, d, e, f, g, h, ..] = ip.octets();
                Self::V6([a, b, c, d, e, f, g, h])
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn b12_a_mapped_or_scoped_address_is_the_plain_one() {
        let table = [
            ("[::ffff:10.0.0.7]:80", "10.0.0.7:80"),
            ("[fe80::1%3]:80", "[fe80::1]:80"),
            ("10.0.0.7:80", "10.0.0.7:80"),
            ("[2001:db8::1]:443", "[2001:db8::1]:443"),
            // An IPv4-compatible address is not a mapped one and is no way to be the IPv4 caller.
            ("[::10.0.0.7]:80", "[::a00:7]:80"),
        ];
        for (given, want) in table {
            assert_eq!(fold(given.parse().unwrap()).to_string(), want, "{given}");
        }
    }

    #[test]
    fn b12_lists_see_one_form_of_network_and_address() {
        let listed = |nets: &[&str]| Networks::new(nets.iter().map(|n| n.parse().unwrap()));
        let table = [
            (listed(&["10.0.0.0/8"]), "::ffff:10.1.2.3", true),
            (listed(&["::ffff:10.0.0.0/104"]), "10.1.2.3", true),
            (listed(&["::ffff:10.0.0.0/104"]), "11.1.2.3", false),
            (listed(&["10.9.9.9/8"]), "10.1.2.3", true),
            (listed(&["::/0"]), "10.1.2.3", false),
            (listed(&["0.0.0.0/0"]), "2001:db8::1", false),
            (listed(&[]), "127.0.0.1", false),
        ];
        for (networks, given, want) in table {
            assert_eq!(networks.contains(ip(given)), want, "{networks:?} {given}");
        }
    }

    #[test]
    fn c12_every_spelling_of_a_metadata_address_has_its_class() {
        let table = [
            ("169.254.169.254", Class::LinkLocal),
            ("::ffff:169.254.169.254", Class::LinkLocal),
            ("::169.254.169.254", Class::LinkLocal),
            ("64:ff9b::a9fe:a9fe", Class::LinkLocal),
            ("2002:a9fe:a9fe::1", Class::LinkLocal),
            ("2001:0:0:0:0:0:5601:5601", Class::LinkLocal),
            ("fe80::a9fe:a9fe", Class::LinkLocal),
            ("fd00:ec2::254", Class::Metadata),
            ("100.100.100.200", Class::Metadata),
            ("192.0.0.192", Class::Metadata),
            ("168.63.129.16", Class::Metadata),
            ("0.0.0.0", Class::Unspecified),
            ("0.1.2.3", Class::Unspecified),
            ("::", Class::Unspecified),
            ("127.9.9.9", Class::Loopback),
            ("::1", Class::Loopback),
            ("64:ff9b::7f00:1", Class::Loopback),
            ("224.0.0.1", Class::Multicast),
            ("255.255.255.255", Class::Multicast),
            ("ff02::1", Class::Multicast),
            ("10.0.0.1", Class::Private),
            ("172.31.0.1", Class::Private),
            ("172.32.0.1", Class::Public),
            ("192.168.0.1", Class::Private),
            ("100.64.0.1", Class::Private),
            ("fd12::1", Class::Private),
            ("240.0.0.1", Class::Reserved),
            ("2001:db8::1", Class::Reserved),
            ("4000::1", Class::Reserved),
            ("93.184.215.14", Class::Public),
            ("2606:2800:220:1::1", Class::Public),
        ];
        for (given, want) in table {
            assert_eq!(class(ip(given)), want, "{given}");
        }
    }

    #[test]
    fn a_source_is_a_v4_address_or_a_v6_subscriber() {
        assert_eq!(Source::of(ip("::ffff:1.2.3.4")), Source::of(ip("1.2.3.4")));
        assert_eq!(Source::of(ip("2001:db8:1:2::1")), Source::of(ip("2001:db8:1:2:ffff::9")));
        assert_ne!(Source::of(ip("2001:db8:1:2::1")), Source::of(ip("2001:db8:1:3::1")));
    }

    /// The obvious reading of RFC 4291 §2.5.5.2, byte by byte.
    fn slow_fold(ip: IpAddr) -> IpAddr {
        let IpAddr::V6(v6) = ip else { return ip };
        let bytes = v6.octets();
        if bytes[..10].iter().all(|b| *b == 0) && bytes[10..12] == [0xff, 0xff] {
            return IpAddr::from([bytes[12], bytes[13], bytes[14], bytes[15]]);
        }
        ip
    }

    fn addresses() -> impl Strategy<Value = IpAddr> {
        prop_oneof![
            any::<[u8; 4]>().prop_map(IpAddr::from),
            any::<[u8; 16]>().prop_map(IpAddr::from),
            any::<[u8; 4]>().prop_map(|b| IpAddr::V6(Ipv4Addr::from(b).to_ipv6_mapped())),
        ]
    }

    proptest! {
        #[test]
        fn b12_folding_agrees_with_the_slow_reading_and_is_idempotent(given in addresses()) {
            let folded = fold_ip(given);
            prop_assert_eq!(folded, slow_fold(given));
            prop_assert_eq!(fold_ip(folded), folded);
            prop_assert_eq!(class(folded), class(given));
            prop_assert_eq!(Source::of(folded), Source::of(given));
        }

        #[test]
        fn b12_a_network_holds_an_address_in_every_family_or_in_none(
            net in any::<[u8; 4]>(), prefix in 0u8..=32, given in any::<[u8; 4]>(),
        ) {
            let v4 = Ipv4Net::new(Ipv4Addr::from(net), prefix).unwrap();
            let v6 = ipnet::Ipv6Net::new(Ipv4Addr::from(net).to_ipv6_mapped(), prefix + 96).unwrap();
            let want = v4.contains(&Ipv4Addr::from(given));
            for list in [Networks::new([IpNet::V4(v4)]), Networks::new([IpNet::V6(v6)])] {
                prop_assert_eq!(list.contains(IpAddr::from(given)), want);
                prop_assert_eq!(list.contains(IpAddr::V6(Ipv4Addr::from(given).to_ipv6_mapped())), want);
            }
        }
    }
}
