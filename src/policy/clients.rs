//! What one client may do in a minute, whatever the number of its connections.
//!
//! A client is an address or a network. What it does is counted elsewhere, in sliding windows ([`super::window`]); here
//! stands how much is too much.

#![forbid(unsafe_code)]

use super::network::Network;
use super::pressure::Tightening;
use super::window::COUNT_MAX;
pub use crate::metrics::ClientLimit;
use crate::metrics::Label as _;
use crate::settings::{Bytes, settings};
use std::net::IpAddr;

/// Bytes are counted in pieces of this size, rounded up: then a minute of them fits into a window.
pub const BYTES_UNIT: u64 = 1 << 10;

settings! {
    /// What one client may do over SMTP in a minute, by sliding windows over all cores. The figures are meant to be far
    /// above what a large sender's busiest address needs. See also `admission.connections_per_client_max`.
    pub struct Rules {
        /// Bits of an IPv4 address that make one client: 32 for each address, 24 for a network.
        /// Price of fewer: neighbours share their limits.
        pub ipv4_prefix: u32 = 32,
        /// Bits of an IPv6 address that make one client. A customer gets 64 at least.
        pub ipv6_prefix: u32 = 64,
        /// Networks to which no limit for one client applies, neither those of this section nor
        /// `admission.connections_per_client_max`. Loopback is here so that programs and load tests on this machine just run;
        /// take it out when a proxy on this machine passes strangers' connections on without saying whose they are.
        pub exempt: Vec<Network> = vec![Network::LOOPBACK_V4, Network::LOOPBACK_V6],
        /// Clients whose doings are remembered. Price: 64 bytes each, allocated at start. Beyond that the least conspicuous
        /// ones are forgotten.
        pub clients_max: u32 = 65_536,
        /// New connections. Beyond that they get 421 4.7.0. 0 means no limit, here and below.
        pub connections_per_minute_max: u32 = 600,
        /// Messages whose data has begun. Beyond that the first RCPT of the next one gets 450 4.7.1.
        pub messages_per_minute_max: u32 = 6_000,
        /// Recipients that were accepted. Beyond that the first RCPT of the next message gets 450 4.7.1.
        pub recipients_per_minute_max: u32 = 12_000,
        /// Bytes of messages, from the moment at which memory is reserved for them, as declared with SIZE; what was reserved and
        /// not used by a message that was stored is taken back. Beyond that the first RCPT of the next one gets 450 4.7.1.
        /// Counted in KiB.
        pub bytes_per_minute_max: Bytes = Bytes::mib(512),
        /// Recipients that were refused for good. Beyond that every RCPT gets 421 4.7.0 and the connection is closed: whoever
        /// guesses addresses learns nothing more.
        pub failed_recipients_per_minute_max: u32 = 300,
        /// TLS handshakes that failed. Beyond that connections that begin with TLS, or that ask for it, are closed.
        pub tls_failures_per_minute_max: u32 = 60,
        /// Messages whose data has begun and that were never stored. Beyond that the first RCPT of the next one gets 450 4.7.1.
        pub aborted_per_minute_max: u32 = 300,
    }
}

impl Rules {
    /// The client behind an address.
    #[must_use]
    pub fn client(&self, address: IpAddr) -> Network {
        let bits = |prefix: u32| u8::try_from(prefix).unwrap_or(u8::MAX);
        Network::around(address, bits(self.ipv4_prefix), bits(self.ipv6_prefix))
    }

    /// Whether no limit for one client applies to this address.
    #[must_use]
    pub fn is_exempt(&self, address: IpAddr) -> bool {
        self.exempt.iter().any(|network| network.contains(address))
    }

    /// The most of a kind in a minute, in the unit in which it is counted; 0 means no limit.
    #[must_use]
    pub fn most(&self, limit: ClientLimit) -> u32 {
        match limit {
            ClientLimit::Aborted => self.aborted_per_minute_max,
            ClientLimit::Bytes => units(self.bytes_per_minute_max.0),
            ClientLimit::Connections => self.connections_per_minute_max,
            ClientLimit::FailedRecipients => self.failed_recipients_per_minute_max,
            ClientLimit::Messages => self.messages_per_minute_max,
            ClientLimit::Recipients => self.recipients_per_minute_max,
            ClientLimit::TlsFailures => self.tls_failures_per_minute_max,
        }
    }

    /// Whether so much of a kind in the last minute leaves no room for more.
    #[must_use]
    pub fn is_used_up(&self, limit: ClientLimit, estimate: u32) -> bool {
        let most = self.most(limit);
        most != 0 && estimate >= most
    }

    /// How near a client is to the limit that it is nearest to, in thousandths of it.
    #[must_use]
    pub fn conspicuousness(&self, estimate: impl Fn(ClientLimit) -> u32) -> u32 {
        let share = |limit: ClientLimit| {
            let most = u64::from(self.most(limit).max(1));
            let share = u64::from(estimate(limit)) * 1000 / most;
            match self.most(limit) {
                0 => 0,
                _ => u32::try_from(share).unwrap_or(u32::MAX),
            }
        };
        ClientLimit::ALL.into_iter().map(share).max().unwrap_or(0)
    }

    /// What a level of pressure leaves of the limits.
    #[must_use]
    pub fn tightened(&self, by: &Tightening) -> Self {
        let left = |limit: u32| u32::try_from(by.of_client(limit.into())).unwrap_or(limit);
        Self {
            connections_per_minute_max: left(self.connections_per_minute_max),
            messages_per_minute_max: left(self.messages_per_minute_max),
            recipients_per_minute_max: left(self.recipients_per_minute_max),
            bytes_per_minute_max: Bytes(by.of_client(self.bytes_per_minute_max.0)),
            failed_recipients_per_minute_max: left(self.failed_recipients_per_minute_max),
            tls_failures_per_minute_max: left(self.tls_failures_per_minute_max),
            aborted_per_minute_max: left(self.aborted_per_minute_max),
            ..self.clone()
        }
    }
}

impl ClientLimit {
    /// Every kind.
    pub const ALL: [Self; 7] = [
        Self::Aborted,
        Self::Bytes,
        Self::Connections,
        Self::FailedRecipients,
        Self::Messages,
        Self::Recipients,
        Self::TlsFailures,
    ];

    /// Its name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        Self::VALUES[self.index()]
    }
}

/// Bytes in the unit in which they are counted, rounded up.
#[must_use]
pub fn units(bytes: u64) -> u32 {
    u32::try_from(bytes.div_ceil(BYTES_UNIT)).map_or(COUNT_MAX, |units| units.min(COUNT_MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::pressure::{self, Pressure};

    #[test]
    fn a_client_is_an_ipv4_address_or_an_ipv6_network() {
        let rules = Rules::default();
        let client = |text: &str| rules.client(text.parse().expect("an address"));
        assert_eq!(client("192.0.2.1"), client("::ffff:192.0.2.1"));
        assert_ne!(client("192.0.2.1"), client("192.0.2.2"));
        assert_eq!(client("2001:db8:1:2::1"), client("2001:db8:1:2:ffff::"));
        assert_ne!(client("2001:db8:1:2::1"), client("2001:db8:1:3::1"));
        assert_eq!(format!("{:?}", client("192.0.2.1")), "Network(..)");
        let wide = Rules {
            ipv4_prefix: 24,
            ..rules.clone()
        };
        assert_eq!(
            wide.client("192.0.2.1".parse().expect("an address")),
            wide.client("192.0.2.200".parse().expect("an address"))
        );
        for (address, exempt) in [("127.0.0.9", true), ("::1", true), ("192.0.2.1", false)] {
            assert_eq!(rules.is_exempt(address.parse().expect("one")), exempt);
        }
    }

    #[test]
    fn a_limit_is_used_up_when_it_is_reached_and_zero_never_is() {
        let rules = Rules::default();
        let none = Rules {
            messages_per_minute_max: 0,
            ..Rules::default()
        };
        for (estimate, used_up) in [(0, false), (5_999, false), (6_000, true), (u32::MAX, true)] {
            assert_eq!(rules.is_used_up(ClientLimit::Messages, estimate), used_up);
            assert!(!none.is_used_up(ClientLimit::Messages, estimate));
        }
        assert_eq!(rules.most(ClientLimit::Bytes), 512 << 10);
        assert_eq!([0, 1, 1024, 1025].map(units), [0, 1, 1, 2]);
        assert_eq!(units(u64::MAX), COUNT_MAX);
    }

    #[test]
    fn the_nearest_limit_makes_a_client_conspicuous() {
        let rules = Rules {
            messages_per_minute_max: 0,
            ..Rules::default()
        };
        let doings = |limit| match limit {
            ClientLimit::Messages => 1_000_000,
            ClientLimit::Connections => 60,
            ClientLimit::TlsFailures => 30,
            _ => 0,
        };
        assert_eq!(rules.conspicuousness(doings), 500);
        assert_eq!(rules.conspicuousness(|_| 0), 0);
    }

    #[test]
    fn pressure_leaves_a_share_and_at_least_one() {
        let tightening = pressure::Rules::default().tightening(Pressure::Overloaded);
        let rules = Rules {
            tls_failures_per_minute_max: 1,
            aborted_per_minute_max: 0,
            ..Rules::default()
        };
        let left = rules.tightened(&tightening);
        assert_eq!(left.messages_per_minute_max, 600);
        assert_eq!(left.tls_failures_per_minute_max, 1);
        assert_eq!(left.aborted_per_minute_max, 0);
        assert_eq!(left.clients_max, rules.clients_max);
    }
}
