//! Who may connect.
//!
//! Decided before anything is read or allocated for a connection, so what is asked here must be
//! known already: a few counts and a flag. Nothing is counted here; that is the edge's.

#![forbid(unsafe_code)]

use crate::settings::settings;
use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

settings! {
    /// Who may connect to the SMTP listeners.
    pub struct Rules {
        /// Connections open at once in the whole process. 0 means no limit.
        /// Price: about 1 KiB of memory each, 10 KiB with TLS.
        pub connections_max: u32 = 50_000,
        /// Connections open at once from one client address (/64 for IPv6). 0 means no limit.
        pub connections_per_client_max: u32 = 50,
        /// New connections a second in the whole process. 0 means no limit.
        pub connections_per_second_max: u32 = 1000,
        /// New connections are refused while more than this many percent of the memory for mail are used. 0 means never.
        pub memory_percent_max: u32 = 95,
    }
}

/// What is known when somebody connects. The counts are without the new connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Evidence {
    /// Connections open now.
    pub connections: u64,
    /// Of these, from the same client ([`client_of`]).
    pub from_client: u64,
    /// Connections admitted in this second.
    pub new_this_second: u64,
    /// Bytes of the budget in use.
    pub memory_used: u64,
    /// Bytes of the budget.
    pub memory_limit: u64,
    /// Whether the server is about to stop.
    pub shutting_down: bool,
}

/// Whether somebody may connect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// They may.
    Accept,
    /// They may not, for now.
    Refuse(Refusal),
}

/// Why somebody may not connect for now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// This client has too many connections open.
    ClientConnections,
    /// Too many connections are open.
    Connections,
    /// The memory for mail is nearly used up.
    Memory,
    /// Too many have connected in this second.
    Rate,
    /// The server is about to stop.
    Shutdown,
}

/// Whether somebody may connect. What concerns everybody comes before what concerns this client.
#[must_use]
pub fn admit(evidence: &Evidence, rules: &Rules) -> Admission {
    if evidence.shutting_down {
        return Admission::Refuse(Refusal::Shutdown);
    }
    if is_reached(evidence.connections, rules.connections_max) {
        return Admission::Refuse(Refusal::Connections);
    }
    if is_above(evidence, rules.memory_percent_max) {
        return Admission::Refuse(Refusal::Memory);
    }
    if is_reached(evidence.new_this_second, rules.connections_per_second_max) {
        return Admission::Refuse(Refusal::Rate);
    }
    if is_reached(evidence.from_client, rules.connections_per_client_max) {
        return Admission::Refuse(Refusal::ClientConnections);
    }
    Admission::Accept
}

fn is_reached(count: u64, max: u32) -> bool {
    max != 0 && count >= u64::from(max)
}

fn is_above(evidence: &Evidence, percent: u32) -> bool {
    let used = u128::from(evidence.memory_used) * 100;
    percent != 0 && used > u128::from(evidence.memory_limit) * u128::from(percent)
}

/// Who counts as one client.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClientKey(u128);

/// The client behind an address: an IPv4 address, also when it is written as IPv6 (`::ffff:192.0.2.1`), or the /64 of
/// an IPv6 address, because that is what one customer gets at least.
#[must_use]
pub fn client_of(address: IpAddr) -> ClientKey {
    const NETWORK: u128 = !(u64::MAX as u128);
    match address.to_canonical() {
        IpAddr::V4(v4) => ClientKey(v4.to_ipv6_mapped().to_bits()),
        IpAddr::V6(v6) => ClientKey(v6.to_bits() & NETWORK),
    }
}

impl ClientKey {
    /// As an address: IPv4 mapped into IPv6, or the first address of the /64.
    #[must_use]
    pub const fn as_ipv6(self) -> Ipv6Addr {
        Ipv6Addr::from_bits(self.0)
    }
}

impl fmt::Debug for ClientKey {
    /// Never the address.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClientKey(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUIET: Evidence = Evidence {
        connections: 49_999,
        from_client: 49,
        new_this_second: 999,
        memory_used: 95,
        memory_limit: 100,
        shutting_down: false,
    };

    #[track_caller]
    fn check(change: impl FnOnce(&mut Evidence), expected: Admission) {
        let mut evidence = QUIET;
        change(&mut evidence);
        assert_eq!(admit(&evidence, &Rules::default()), expected);
    }

    #[test]
    fn each_bound_refuses_what_goes_beyond_it() {
        check(|_| (), Admission::Accept);
        check(
            |it| it.connections += 1,
            Admission::Refuse(Refusal::Connections),
        );
        check(
            |it| it.from_client += 1,
            Admission::Refuse(Refusal::ClientConnections),
        );
        check(
            |it| it.new_this_second += 1,
            Admission::Refuse(Refusal::Rate),
        );
        check(|it| it.memory_used += 1, Admission::Refuse(Refusal::Memory));
        check(
            |it| it.shutting_down = true,
            Admission::Refuse(Refusal::Shutdown),
        );
    }

    #[test]
    fn zero_means_no_limit() {
        let rules = Rules {
            connections_max: 0,
            connections_per_client_max: 0,
            connections_per_second_max: 0,
            memory_percent_max: 0,
        };
        let flood = Evidence {
            connections: u64::MAX,
            from_client: u64::MAX,
            new_this_second: u64::MAX,
            memory_used: u64::MAX,
            memory_limit: u64::MAX,
            shutting_down: false,
        };
        assert_eq!(admit(&flood, &rules), Admission::Accept);
    }

    #[test]
    fn a_client_is_an_ipv4_address_or_an_ipv6_network() {
        let client = |text: &str| client_of(text.parse().expect("an address"));
        assert_eq!(client("192.0.2.1"), client("::ffff:192.0.2.1"));
        assert_ne!(client("192.0.2.1"), client("192.0.2.2"));
        assert_eq!(client("2001:db8:1:2::1"), client("2001:db8:1:2:ffff::"));
        assert_ne!(client("2001:db8:1:2::1"), client("2001:db8:1:3::1"));
        assert_eq!(format!("{:?}", client("192.0.2.1")), "ClientKey(..)");
        assert_eq!(client("2001:db8::7").as_ipv6().to_string(), "2001:db8::");
    }
}
