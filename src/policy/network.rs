//! A network of addresses, as settings name it: `10.0.0.0/8`, `2001:db8::/32`, or a single address.

#![forbid(unsafe_code)]

use crate::settings::{Value, quoted};
use serde::de::{self, Deserialize, Deserializer, Visitor};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// How many bits of an IPv6 address stand before the IPv4 address that is mapped into it (RFC 4291 section 2.5.5.2).
const MAPPED_BITS: u8 = 96;

/// A network of addresses. An IPv4 address that is written as IPv6 (`::ffff:192.0.2.1`) counts as the IPv4 address.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Network {
    /// The first address, IPv4 mapped into IPv6.
    first: u128,
    /// Bits that all its addresses share, of the 128.
    prefix: u8,
}

/// Why a text names no network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NetworkError {
    /// What stands before the slash is no address.
    Address,
    /// What stands behind the slash is no number of bits that such an address has.
    Prefix {
        /// How many bits it has.
        bits: u8,
    },
    /// The address has bits beyond the prefix: it is not clear what was meant.
    HostBits {
        /// The network that has this address in it.
        network: Network,
    },
}

impl Network {
    /// IPv4 loopback, `127.0.0.0/8` (RFC 1122 section 3.2.1.3).
    pub const LOOPBACK_V4: Self = Self {
        first: Ipv4Addr::new(127, 0, 0, 0).to_ipv6_mapped().to_bits(),
        prefix: MAPPED_BITS + 8,
    };

    /// IPv6 loopback, `::1` (RFC 4291 section 2.5.3).
    pub const LOOPBACK_V6: Self = Self {
        first: Ipv6Addr::LOCALHOST.to_bits(),
        prefix: 128,
    };

    /// The network that has `address` in it and whose addresses share their first bits: `ipv4_prefix` of 32, or
    /// `ipv6_prefix` of 128. More bits than an address has are all of them.
    #[must_use]
    pub fn around(address: IpAddr, ipv4_prefix: u8, ipv6_prefix: u8) -> Self {
        let prefix = match address.to_canonical() {
            IpAddr::V4(_) => ipv4_prefix.min(32) + MAPPED_BITS,
            IpAddr::V6(_) => ipv6_prefix.min(128),
        };
        Self {
            first: bits(address) & mask(prefix),
            prefix,
        }
    }

    /// Whether the address is one of the network's.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        bits(address) & mask(self.prefix) == self.first
    }

    /// The first address of the network, IPv4 mapped into IPv6, as sixteen bytes.
    #[must_use]
    pub const fn octets(&self) -> [u8; 16] {
        self.first.to_be_bytes()
    }
}

/// Every address as 128 bits.
fn bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().to_bits(),
        IpAddr::V6(v6) => v6.to_bits(),
    }
}

/// The first `prefix` bits of 128.
const fn mask(prefix: u8) -> u128 {
    match 128 - prefix {
        128 => 0,
        rest => u128::MAX << rest,
    }
}

impl FromStr for Network {
    type Err = NetworkError;

    fn from_str(text: &str) -> Result<Self, NetworkError> {
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| NetworkError::Address)?;
        let (bits_of_it, skipped) = match address {
            IpAddr::V4(_) => (32, MAPPED_BITS),
            IpAddr::V6(_) => (128, 0),
        };
        let prefix = match prefix {
            None => bits_of_it,
            Some(digits) => prefix_of(digits)
                .filter(|prefix| *prefix <= bits_of_it)
                .ok_or(NetworkError::Prefix { bits: bits_of_it })?,
        } + skipped;
        let network = Self {
            first: bits(address) & mask(prefix),
            prefix,
        };
        if network.first == bits(address) {
            Ok(network)
        } else {
            Err(NetworkError::HostBits { network })
        }
    }
}

/// A number of one to three digits, without a sign.
fn prefix_of(digits: &str) -> Option<u8> {
    let legal = digits.bytes().all(|byte| byte.is_ascii_digit());
    legal.then(|| digits.parse().ok()).flatten()
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let first = Ipv6Addr::from_bits(self.first);
        match first.to_ipv4_mapped() {
            Some(v4) if self.prefix == 128 => v4.fmt(f),
            Some(v4) if self.prefix >= MAPPED_BITS => {
                write!(f, "{v4}/{}", self.prefix - MAPPED_BITS)
            }
            _ if self.prefix == 128 => first.fmt(f),
            _ => write!(f, "{first}/{}", self.prefix),
        }
    }
}

impl fmt::Debug for Network {
    /// Never the address: a network can be one client's.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Network(..)")
    }
}

impl fmt::Display for NetworkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address => f.write_str(
                "not an address; write a network like \"10.0.0.0/8\" or \"2001:db8::/32\", or a single address",
            ),
            Self::Prefix { bits } => write!(f, "behind the slash stands a number of bits from 0 to {bits}"),
            Self::HostBits { network } => write!(
                f,
                "the address has bits beyond its prefix; write \"{network}\" for the network, or the address without a slash"
            ),
        }
    }
}

impl std::error::Error for NetworkError {}

impl<'de> Deserialize<'de> for Network {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct NetworkVisitor;
        impl Visitor<'_> for NetworkVisitor {
            type Value = Network;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a network like \"10.0.0.0/8\" or \"2001:db8::/32\", or an address")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Network, E> {
                text.parse().map_err(E::custom)
            }
        }
        deserializer.deserialize_any(NetworkVisitor)
    }
}

impl Value for Network {
    fn kind() -> String {
        "network".to_owned()
    }

    fn toml(&self) -> Option<String> {
        Some(quoted(&self.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(network: &str, inside: &[&str], outside: &[&str]) {
        let parsed: Network = network.parse().expect("a network");
        let has = |address: &&str| parsed.contains(address.parse().expect("an address"));
        assert!(inside.iter().all(has), "{network} has {inside:?}");
        assert!(!outside.iter().any(has), "{network} has not {outside:?}");
        assert_eq!(parsed.to_string().parse(), Ok(parsed), "reads back");
    }

    #[test]
    fn a_network_has_the_addresses_that_share_its_first_bits() {
        check(
            "10.0.0.0/8",
            &["10.0.0.0", "10.255.255.255", "::ffff:10.1.2.3"],
            &["11.0.0.0", "9.255.255.255", "::10.1.2.3", "a00::"],
        );
        check(
            "2001:db8::/32",
            &["2001:db8::", "2001:db8:ffff::1"],
            &["2001:db9::", "::ffff:32.1.13.184"],
        );
        check("192.0.2.7", &["192.0.2.7"], &["192.0.2.6", "192.0.2.8"]);
        check("::1", &["::1"], &["::", "::2", "127.0.0.1"]);
        check("0.0.0.0/0", &["0.0.0.0", "255.255.255.255"], &["::", "::1"]);
        check("::/0", &["::", "ffff::", "192.0.2.1"], &[]);
        check(
            "::ffff:192.0.2.0/120",
            &["192.0.2.0", "192.0.2.255", "::ffff:192.0.2.9"],
            &["192.0.3.0"],
        );
        check("192.0.2.128/25", &["192.0.2.128"], &["192.0.2.127"]);
    }

    #[test]
    fn what_is_no_network_says_what_to_write() {
        let error = |text: &str| text.parse::<Network>().expect_err("no network");
        for text in [
            "",
            "/8",
            "10.0.0/8",
            "10.0.0.0.0",
            "here",
            "10.0.0.1:25",
            " 10.0.0.0",
        ] {
            assert_eq!(error(text), NetworkError::Address, "{text}");
        }
        for text in [
            "10.0.0.0/",
            "10.0.0.0/33",
            "10.0.0.0/+8",
            "10.0.0.0/-1",
            "10.0.0.0/8/8",
            "10.0.0.0/256",
        ] {
            assert_eq!(error(text), NetworkError::Prefix { bits: 32 }, "{text}");
        }
        assert_eq!(error("::/129"), NetworkError::Prefix { bits: 128 });
        assert!(
            error("10.1.2.3/8").to_string().contains("\"10.0.0.0/8\""),
            "{}",
            error("10.1.2.3/8")
        );
    }

    #[test]
    fn a_network_is_drawn_around_an_address() {
        let around = |address: &str, v4, v6| {
            Network::around(address.parse().expect("an address"), v4, v6).to_string()
        };
        assert_eq!(around("192.0.2.7", 32, 64), "192.0.2.7");
        assert_eq!(around("192.0.2.7", 24, 64), "192.0.2.0/24");
        assert_eq!(around("::ffff:192.0.2.7", 24, 64), "192.0.2.0/24");
        assert_eq!(around("2001:db8:1:2::7", 24, 64), "2001:db8:1:2::/64");
        assert_eq!(around("2001:db8:1:2::7", 24, 48), "2001:db8:1::/48");
        assert_eq!(around("192.0.2.7", 99, 64), "192.0.2.7");
    }

    #[test]
    fn loopback_is_known() {
        assert_eq!("127.0.0.0/8".parse(), Ok(Network::LOOPBACK_V4));
        assert_eq!("::1".parse(), Ok(Network::LOOPBACK_V6));
    }

    #[test]
    fn a_setting_is_read_and_printed() {
        #[derive(serde::Deserialize)]
        struct Holder {
            networks: Vec<Network>,
        }
        let read = |text: &str| toml::from_str::<Holder>(text);
        let holder = read("networks = [\"10.0.0.0/8\", \"::1\"]").expect("legal");
        assert_eq!(
            holder.networks.toml().as_deref(),
            Some("[\"10.0.0.0/8\", \"::1\"]")
        );
        let wrong = read("networks = [10]").err().expect("a number").to_string();
        assert!(wrong.contains("a network like"), "{wrong}");
        assert_eq!(format!("{:?}", Network::LOOPBACK_V4), "Network(..)");
    }
}
