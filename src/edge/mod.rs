//! The data plane: one executor a core, its own ring, sessions as tasks.
//!
//! Nothing here blocks but the core's own ring, nothing locks, and nothing logs an address. A connection is a
//! [`ring::Connection`] below, a [`link::Link`] (TLS, deadlines) above it, and a task that drives its session
//! ([`driver`]). Cores and the control plane meet in the [`inbox`].

pub mod address_keys;
pub mod alarm;
mod answers;
pub mod arranging;
pub mod arrivals;
pub mod certificates;
pub mod clients;
pub mod clock;
pub mod core;
pub mod driver;
pub mod helpers;
pub mod inbox;
pub mod link;
pub mod live;
pub mod permits;
pub mod pressure;
pub mod probe;
pub mod questions;
pub mod ring;
pub mod seal;
pub mod socket;
pub mod standing;
pub mod tls;
pub mod tracer;
pub mod turns;
pub mod windows;

pub use clock::Clock;
pub use inbox::{Busy, CoreId, CoreShard, Cores};
