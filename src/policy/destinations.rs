//! Whom mayfly may call: public addresses, and no others.
//!
//! Whoever names a URL that the server shall call names an address for it to connect to. Without a check that would be a
//! way into the operator's network. So every address that a name leads to is judged here, after it was looked up and
//! before anybody connects to it; names are not judged at all.
//!
//! What is not public: the IANA registries of special-purpose addresses for IPv4 and IPv6 (RFC 6890), and in IPv6
//! everything outside of 2000::/3, the only block from which public addresses are given. An address that carries an IPv4
//! address inside (mapped, NAT64, 6to4) is what that one is. The machine's own addresses are not known here.

#![forbid(unsafe_code)]

use super::network::Network;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// What an address is, if it is not one of the public internet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Special {
    /// For tests of the speed of networks (RFC 2544, RFC 5180).
    Benchmarking,
    /// All machines of a network (RFC 919).
    Broadcast,
    /// In examples only (RFC 5737, RFC 3849, RFC 9637).
    Documentation,
    /// Only on the link to which it belongs (RFC 3927, RFC 4291 section 2.5.6).
    LinkLocal,
    /// This machine (RFC 1122 section 3.2.1.3, RFC 4291 section 2.5.3).
    Loopback,
    /// Many machines at once (RFC 5771, RFC 4291 section 2.7).
    Multicast,
    /// Inside somebody's network (RFC 1918, RFC 4193, RFC 3879).
    Private,
    /// Kept for the protocols themselves, or given to nobody (RFC 6890, RFC 1112 section 4).
    Reserved,
    /// Between a provider and its customers (RFC 6598).
    Shared,
    /// A tunnel whose end cannot be seen from the address (RFC 4380, RFC 5214).
    Tunnel,
    /// None (RFC 1122 section 3.2.1.3, RFC 4291 section 2.5.2).
    Unspecified,
}

/// Whether an address may be called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Judgement {
    /// It may.
    Permitted,
    /// The operator forbids it.
    Denied,
    /// It is not public, and the operator does not permit it.
    Special(Special),
    /// It may, unless it is the machine's own: whoever connects must see to that.
    PermittedUnlessOwn,
}

/// Judges an address. `denied` goes before `allowed`, and that before what the address is.
#[must_use]
pub fn judge(address: IpAddr, allowed: &[Network], denied: &[Network]) -> Judgement {
    let forms = [Some(address), inner(address)];
    let is_in = |networks: &[Network]| {
        let mut forms = forms.iter().flatten();
        forms.any(|address| networks.iter().any(|it| it.contains(*address)))
    };
    if is_in(denied) {
        Judgement::Denied
    } else if is_in(allowed) {
        Judgement::Permitted
    } else {
        special(address).map_or(Judgement::PermittedUnlessOwn, Judgement::Special)
    }
}

/// What an address is, unless it is public.
#[must_use]
pub fn special(address: IpAddr) -> Option<Special> {
    match (address, inner(address)) {
        (_, Some(IpAddr::V4(inner))) | (IpAddr::V4(inner), _) => special_v4(inner),
        (IpAddr::V6(address), _) => special_v6(address),
    }
}

/// The IPv4 address to which an IPv6 address leads: mapped (RFC 4291 section 2.5.5.2), NAT64's well-known prefix (RFC 6052
/// section 2.1), 6to4 (RFC 3056 section 2).
fn inner(address: IpAddr) -> Option<IpAddr> {
    let IpAddr::V6(address) = address else {
        return None;
    };
    let inner = match address.segments() {
        [0, 0, 0, 0, 0, 0xffff, high, low]
        | [0x64, 0xff9b, 0, 0, 0, 0, high, low]
        | [0x2002, high, low, ..] => Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low)),
        _ => return None,
    };
    Some(inner.into())
}

fn special_v4(address: Ipv4Addr) -> Option<Special> {
    Some(match address.octets() {
        [0, 0, 0, 0] => Special::Unspecified,
        [255, 255, 255, 255] => Special::Broadcast,
        [127, ..] => Special::Loopback,
        [10, ..] | [172, 16..=31, ..] | [192, 168, ..] => Special::Private,
        [100, 64..=127, ..] => Special::Shared,
        [169, 254, ..] => Special::LinkLocal,
        [192, 0, 2, _] | [198, 51, 100, _] | [203, 0, 113, _] => Special::Documentation,
        [198, 18 | 19, ..] => Special::Benchmarking,
        [224..=239, ..] => Special::Multicast,
        // "This network", protocol assignments, AS112, the anycast address of 6to4 relays, AMT, and what was never given.
        [0, ..]
        | [192, 0, 0, _]
        | [192, 31, 196, _]
        | [192, 52, 193, _]
        | [192, 88, 99, _]
        | [192, 175, 48, _]
        | [240..=255, ..] => Special::Reserved,
        _ => return None,
    })
}

fn special_v6(address: Ipv6Addr) -> Option<Special> {
    Some(match address.segments() {
        [0, 0, 0, 0, 0, 0, 0, 0] => Special::Unspecified,
        [0, 0, 0, 0, 0, 0, 0, 1] => Special::Loopback,
        [0xfe80..=0xfebf, ..] => Special::LinkLocal,
        [0xfc00..=0xfdff, ..] | [0xfec0..=0xfeff, ..] => Special::Private,
        [0xff00..=0xffff, ..] => Special::Multicast,
        // NAT64 inside somebody's network (RFC 8215).
        [0x64, 0xff9b, 1, ..] => Special::Private,
        [0x2001, 0xdb8, ..] | [0x3fff, 0..=0xfff, ..] => Special::Documentation,
        [0x2001, 2, 0, ..] => Special::Benchmarking,
        // Teredo, and ISATAP, whose interface identifier says what it is.
        [0x2001, 0, ..] | [.., 0 | 0x200, 0x5efe, _, _] => Special::Tunnel,
        // Protocol assignments, AS112, and all that is no global unicast: the discard prefix, addresses "compatible" with
        // IPv4, segment identifiers, and what was never given.
        [0x2001, 0..=0x1ff, ..]
        | [0x2620, 0x4f, 0x8000, ..]
        | [0..=0x1fff | 0x4000..=0xffff, ..] => Special::Reserved,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parse(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    /// What addresses are, at the edges of each block and in each form.
    const TABLE: &[(Option<Special>, &[&str])] = &[
        (
            None,
            &[
                "1.1.1.1",
                "9.255.255.255",
                "11.0.0.0",
                "100.63.255.255",
                "100.128.0.0",
                "126.255.255.255",
                "128.0.0.0",
                "169.253.255.255",
                "172.15.255.255",
                "172.32.0.0",
                "192.0.1.0",
                "192.167.255.255",
                "192.169.0.0",
                "198.17.255.255",
                "198.20.0.0",
                "223.255.255.255",
                "2000::",
                "2001:200::1",
                "2606:4700::1111",
                "2a00:1450::1",
                "3fff:1000::",
                "3ffe::1",
                "::ffff:1.1.1.1",
                "64:ff9b::8.8.8.8",
                "2002:808:808::1",
            ],
        ),
        (
            Some(Special::Unspecified),
            &["0.0.0.0", "::", "::ffff:0.0.0.0"],
        ),
        (
            Some(Special::Loopback),
            &[
                "127.0.0.1",
                "127.255.255.255",
                "::1",
                "::ffff:127.0.0.1",
                "64:ff9b::7f00:1",
                "2002:7f00:1::",
            ],
        ),
        (
            Some(Special::Private),
            &[
                "10.0.0.0",
                "10.255.255.255",
                "172.16.0.0",
                "172.31.255.255",
                "192.168.0.1",
                "fc00::",
                "fdff::1",
                "fec0::1",
                "64:ff9b:1::1",
                "64:ff9b:1:2::a00:1",
                "::ffff:10.1.2.3",
                "64:ff9b::192.168.0.1",
                "2002:a01:203:4::5",
                "2002:c0a8:1::",
            ],
        ),
        (
            Some(Special::LinkLocal),
            &[
                "169.254.0.0",
                "169.254.169.254",
                "fe80::1",
                "febf::1",
                "::ffff:169.254.169.254",
            ],
        ),
        (
            Some(Special::Shared),
            &["100.64.0.0", "100.127.255.255", "64:ff9b::6440:1"],
        ),
        (
            Some(Special::Multicast),
            &[
                "224.0.0.1",
                "239.255.255.255",
                "ff02::1",
                "ffff::",
                "2002:e000:1::",
            ],
        ),
        (
            Some(Special::Documentation),
            &[
                "192.0.2.1",
                "198.51.100.7",
                "203.0.113.9",
                "2001:db8::1",
                "3fff::1",
                "3fff:fff::",
            ],
        ),
        (
            Some(Special::Benchmarking),
            &["198.18.0.1", "198.19.255.255", "2001:2::1"],
        ),
        (
            Some(Special::Broadcast),
            &["255.255.255.255", "::ffff:255.255.255.255"],
        ),
        (
            Some(Special::Reserved),
            &[
                "0.1.2.3",
                "192.0.0.8",
                "192.31.196.1",
                "192.52.193.1",
                "192.88.99.1",
                "192.175.48.1",
                "240.0.0.1",
                "::7f00:1",
                "::1.2.3.4",
                "::ffff:0:7f00:1",
                "100::1",
                "2001:4:112::1",
                "2001:20::1",
                "2620:4f:8000::1",
                "4000::",
                "5f00::1",
                "8000::1",
                "e000::",
            ],
        ),
        (
            Some(Special::Tunnel),
            &[
                "2001::1",
                "2001:0:7f00:1::",
                "2a00::5efe:7f00:1",
                "2a00::200:5efe:a00:1",
            ],
        ),
    ];

    #[test]
    fn only_public_addresses_are_public() {
        for (what, addresses) in TABLE {
            for address in *addresses {
                assert_eq!(special(parse(address)), *what, "{address}");
            }
        }
    }

    #[test]
    fn the_operator_permits_and_forbids() {
        let networks = |texts: &[&str]| -> Vec<Network> {
            let parsed = texts.iter().map(|text| text.parse().expect("a network"));
            parsed.collect()
        };
        let allowed = networks(&["127.0.0.0/8", "fd00::/8", "8.8.0.0/16"]);
        let denied = networks(&["8.8.8.0/24", "127.0.0.9", "2606:4700::/32"]);
        for (address, expected) in [
            ("127.0.0.1", Judgement::Permitted),
            ("::ffff:127.0.0.1", Judgement::Permitted),
            ("64:ff9b::127.0.0.1", Judgement::Permitted),
            ("127.0.0.9", Judgement::Denied),
            ("2002:7f00:9::1", Judgement::Denied),
            ("fd12::1", Judgement::Permitted),
            ("fc12::1", Judgement::Special(Special::Private)),
            ("8.8.4.4", Judgement::Permitted),
            ("8.8.8.8", Judgement::Denied),
            ("64:ff9b::8.8.8.8", Judgement::Denied),
            ("2606:4700::1111", Judgement::Denied),
            ("10.0.0.1", Judgement::Special(Special::Private)),
            ("1.1.1.1", Judgement::PermittedUnlessOwn),
        ] {
            assert_eq!(
                judge(parse(address), &allowed, &denied),
                expected,
                "{address}"
            );
        }
    }

    proptest! {
        /// In whichever of its forms an IPv4 address is written, it is the same.
        #[test]
        fn the_form_of_an_address_does_not_matter(bits in any::<u32>()) {
            let v4 = Ipv4Addr::from_bits(bits);
            let (high, low) = ((bits >> 16) as u16, bits as u16);
            for form in [
                v4.to_ipv6_mapped(),
                Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, high, low),
                Ipv6Addr::new(0x2002, high, low, 0, 0, 0, 0, 1),
            ] {
                prop_assert_eq!(special(form.into()), special(v4.into()));
            }
        }
    }
}
