//! How many connections each client has open.
//!
//! A client is forgotten with its last connection, so there are never more entries than connections.

#![forbid(unsafe_code)]

use super::rate::Client;
use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Counts open connections by client. The hash is keyed: nobody can choose addresses that collide.
#[derive(Debug, Default)]
pub(super) struct Clients {
    /// Never held across an await.
    open: Mutex<HashMap<Client, u32>>,
}

impl Clients {
    /// Counts a connection, unless the client has `limit` of them; 0 means no limit. Says whether it was counted.
    pub(super) fn enter(&self, client: Client, limit: u32) -> bool {
        let mut open = self.lock();
        let count = open.entry(client).or_default();
        if limit != 0 && *count >= limit {
            return false;
        }
        *count += 1;
        true
    }

    /// A connection that was counted has ended.
    pub(super) fn leave(&self, client: Client) {
        let mut open = self.lock();
        if let Some(count) = open.get_mut(&client) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                open.remove(&client);
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Client, u32>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::IpAddr;

    fn client(address: &str) -> Client {
        Client::from(address.parse::<IpAddr>().expect("an address"))
    }

    #[test]
    fn each_client_has_its_own_count_and_is_forgotten_with_its_last_connection() {
        let clients = Clients::default();
        let (one, neighbour) = (client("2001:db8::1"), client("2001:db8::2"));
        let other = client("192.0.2.1");
        assert!(clients.enter(one, 2));
        assert!(clients.enter(neighbour, 2), "the same /64");
        assert!(!clients.enter(one, 2));
        assert!(clients.enter(other, 2));
        assert!(clients.enter(one, 0), "no limit");
        for _ in 0..3 {
            clients.leave(one);
        }
        assert!(clients.enter(one, 1));
        clients.leave(one);
        clients.leave(other);
        assert!(clients.lock().is_empty());
    }
}
