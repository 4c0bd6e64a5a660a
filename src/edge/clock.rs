//! The process's clock: the one place that reads the time.

use crate::clock::{Instant, WallClock};
use rustix::time::{ClockId, clock_gettime};

/// Reads boot time (it goes on while the machine sleeps and never jumps), counted from the start of the process.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    origin_micros: u64,
}

impl Clock {
    /// A clock whose origin is one second ago, so that no instant of interest is the origin itself.
    #[must_use]
    pub fn start() -> Self {
        Self {
            origin_micros: micros(ClockId::Boottime).saturating_sub(1_000_000),
        }
    }

    /// The time now.
    #[must_use]
    pub fn now(&self) -> Instant {
        Instant::from_micros(micros(ClockId::Boottime).saturating_sub(self.origin_micros))
    }

    /// Calendar time as the system has it now. Read it anew now and then: the system may be corrected.
    #[must_use]
    pub fn wall(&self) -> WallClock {
        let unix = i64::try_from(micros(ClockId::Realtime)).unwrap_or(i64::MAX);
        WallClock::new(self.now(), unix)
    }
}

fn micros(clock: ClockId) -> u64 {
    let time = clock_gettime(clock);
    u64::try_from(time.tv_sec).unwrap_or(0) * 1_000_000
        + u64::try_from(time.tv_nsec).unwrap_or(0) / 1_000
}
