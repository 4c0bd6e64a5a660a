//! The data plane: one executor a core, its own ring, sessions as tasks.

pub mod clock;
pub mod inbox;

pub use clock::Clock;
pub use inbox::{Busy, CoreId, CoreShard, Cores};

/// Settings and certificates that may change while mayfly runs.
#[derive(Debug)]
pub struct Live {}
