//! A client that was let in: its connection counts for it, and so does what it does.

use super::clients::{Clients, Place};
use super::core::Core;
use super::windows::{Seat, Windows};
use crate::metrics::ClientLimit;
use crate::policy::clients::units;
use std::sync::Arc;

/// A connection that counts for its client until this is dropped, and by which is counted what the client does with it.
#[derive(Debug)]
pub struct Counted {
    clients: Arc<Clients>,
    place: Place,
    counted: bool,
    /// `None` for a client without limits.
    doings: Option<Doings>,
}

#[derive(Debug)]
struct Doings {
    windows: Arc<Windows>,
    seat: Seat,
}

impl Counted {
    /// Counts a connection; says how many the client has with it.
    pub(super) fn enter(clients: &Arc<Clients>, client: &[u8]) -> (Self, u32) {
        let place = clients.place(client);
        let (connections, counted) = clients.enter(place);
        let entry = Self {
            clients: Arc::clone(clients),
            place,
            counted,
            doings: None,
        };
        (entry, connections)
    }

    /// From now on what the client does is counted here.
    pub(super) fn watch(&mut self, windows: &Arc<Windows>, seat: Seat) {
        self.doings = Some(Doings {
            windows: Arc::clone(windows),
            seat,
        });
    }

    /// The client did something.
    pub fn note(&self, core: &Core, what: ClientLimit, count: u32) {
        if let Some(Doings { windows, seat }) = &self.doings {
            let live = core.live();
            windows.add(
                seat,
                what,
                count,
                &live.under(core.level()).clients,
                core.now(),
            );
        }
    }

    /// Memory is reserved for the client.
    pub fn note_bytes(&self, core: &Core, bytes: u64) {
        self.note(core, ClientLimit::Bytes, units(bytes));
    }

    /// Of what was noted as `reserved`, only `used` was needed.
    pub fn take_back_bytes(&self, core: &Core, reserved: u64, used: u64) {
        if let Some(Doings { windows, seat }) = &self.doings {
            let unused = units(reserved).saturating_sub(units(used));
            windows.take_back(seat, ClientLimit::Bytes, unused, core.now());
        }
    }

    /// Whether the client has had all that it may have of this in a minute.
    pub fn is_used_up(&self, core: &Core, what: ClientLimit) -> bool {
        let Some(Doings { windows, seat }) = &self.doings else {
            return false;
        };
        let live = core.live();
        let estimate = windows.estimate(seat, what, core.now());
        live.under(core.level()).clients.is_used_up(what, estimate)
    }

    /// The same, for what is refused if so: that is counted.
    pub fn must_refuse(&self, core: &Core, what: ClientLimit) -> bool {
        let used_up = self.is_used_up(core, what);
        if used_up {
            core.metrics().client_limits_hit.of(what).increment();
        }
        used_up
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.clients.leave(self.place, self.counted);
    }
}
