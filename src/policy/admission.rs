//! Who may connect.
//!
//! Decided before anything is read or allocated for a connection, so what is asked here must be
//! known already: a few counts and flags. Nothing is counted here; that is the edge's.

#![forbid(unsafe_code)]

use super::pressure::{Cause, Pressure, Tightening};
use crate::settings::settings;

settings! {
    /// Who may connect to the SMTP listeners.
    pub struct Rules {
        /// Connections open at once in the whole process. 0 means no limit.
        /// Price: about 1 KiB of memory each, 10 KiB with TLS.
        pub connections_max: u32 = 50_000,
        /// Connections open at once from one client (`clients.ipv4_prefix`, `clients.ipv6_prefix`; not those in
        /// `clients.exempt`). 0 means no limit.
        pub connections_per_client_max: u32 = 50,
        /// New connections a second in the whole process. 0 means no limit.
        pub connections_per_second_max: u32 = 1000,
    }
}

/// What is known when somebody connects. The counts are without the new connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Evidence {
    /// Connections open now.
    pub connections: u64,
    /// Of these, from the same client; 0 for one without limits.
    pub from_client: u64,
    /// Whether the client has had all the new connections that it may have in a minute.
    pub client_used_up: bool,
    /// Connections admitted in this second.
    pub new_this_second: u64,
    /// The level of pressure, and what called for it.
    pub pressure: (Pressure, Cause),
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
    /// This client has made too many connections in a minute.
    ClientRate,
    /// Too many connections are open.
    Connections,
    /// The memory for mail is nearly used up.
    Memory,
    /// Nobody is let in at this level of pressure.
    Pressure,
    /// Too many have connected in this second.
    Rate,
    /// The server is about to stop.
    Shutdown,
}

/// Whether somebody may connect. The rate of all comes last, so that a client that is refused for its own sake does not use
/// it up.
#[must_use]
pub fn admit(evidence: &Evidence, rules: &Rules) -> Admission {
    if evidence.shutting_down {
        return Admission::Refuse(Refusal::Shutdown);
    }
    match evidence.pressure {
        (Pressure::Refusing, Cause::Memory) => return Admission::Refuse(Refusal::Memory),
        (Pressure::Refusing, _) => return Admission::Refuse(Refusal::Pressure),
        _ => {}
    }
    if is_reached(evidence.connections, rules.connections_max) {
        return Admission::Refuse(Refusal::Connections);
    }
    if is_reached(evidence.from_client, rules.connections_per_client_max) {
        return Admission::Refuse(Refusal::ClientConnections);
    }
    if evidence.client_used_up {
        return Admission::Refuse(Refusal::ClientRate);
    }
    if is_reached(evidence.new_this_second, rules.connections_per_second_max) {
        return Admission::Refuse(Refusal::Rate);
    }
    Admission::Accept
}

fn is_reached(count: u64, max: u32) -> bool {
    max != 0 && count >= u64::from(max)
}

impl Rules {
    /// What a level of pressure leaves.
    #[must_use]
    pub fn tightened(&self, by: &Tightening) -> Self {
        let most = by.of_client(self.connections_per_client_max.into());
        Self {
            connections_per_client_max: u32::try_from(most)
                .unwrap_or(self.connections_per_client_max),
            ..self.clone()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUIET: Evidence = Evidence {
        connections: 49_999,
        from_client: 49,
        new_this_second: 999,
        client_used_up: false,
        pressure: (Pressure::Overloaded, Cause::Memory),
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
        check(
            |it| it.client_used_up = true,
            Admission::Refuse(Refusal::ClientRate),
        );
        check(
            |it| it.pressure = (Pressure::Refusing, Cause::Memory),
            Admission::Refuse(Refusal::Memory),
        );
        check(
            |it| it.pressure = (Pressure::Refusing, Cause::Pinned),
            Admission::Refuse(Refusal::Pressure),
        );
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
        };
        let flood = Evidence {
            connections: u64::MAX,
            from_client: u64::MAX,
            new_this_second: u64::MAX,
            ..QUIET
        };
        assert_eq!(admit(&flood, &rules), Admission::Accept);
    }
}
