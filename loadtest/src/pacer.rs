//! Lets the sessions of an open loop go at the times of its schedule, to within microseconds: a timer of the kernel's own, because the
//! runtime's are rounded up to milliseconds.

use crate::failure::Failure;
use crate::job::Rate;
use crate::schedule::Schedule;
use rustix::fd::OwnedFd;
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};
use std::time::{Duration, Instant};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::Semaphore;

/// Hands out turns.
#[derive(Debug)]
pub(crate) struct Pacer {
    schedule: Schedule,
    turns: Semaphore,
}

impl Pacer {
    pub(crate) fn new(rate: Rate) -> Result<Self, Failure> {
        Ok(Self {
            schedule: Schedule::new(rate)?,
            turns: Semaphore::new(0),
        })
    }

    /// When message `number` is meant to go, from the start.
    pub(crate) fn time_of(&self, number: u64) -> Duration {
        self.schedule.time_of(number)
    }

    /// Waits for a turn. Who waits longest is first.
    pub(crate) async fn turn(&self) {
        if let Ok(permit) = self.turns.acquire().await {
            permit.forget();
        }
    }

    /// Gives turns until `total` were given or it is late; then each session gets one more, so that it sees that there is nothing left.
    pub(crate) async fn run(
        &self,
        began: Instant,
        deadline: Instant,
        total: u64,
        sessions: u32,
        mut late: impl FnMut(Duration),
    ) -> Result<(), Failure> {
        let paced = self.pace(began, deadline, total, &mut late).await;
        self.turns.add_permits(sessions as usize);
        paced
    }

    async fn pace(
        &self,
        began: Instant,
        deadline: Instant,
        total: u64,
        late: &mut impl FnMut(Duration),
    ) -> Result<(), Failure> {
        let timer = timerfd_create(
            TimerfdClockId::Monotonic,
            TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC,
        );
        let timer = timer.map_err(Failure::at("no timer"))?;
        let timer = registered(timer)?;
        let mut given = 0;
        while given < total && Instant::now() < deadline {
            let now = began.elapsed();
            let due = self.schedule.due(now).min(total);
            if due > given {
                late(now.saturating_sub(self.time_of(given)));
                self.turns
                    .add_permits(usize::try_from(due - given).unwrap_or(usize::MAX));
                given = due;
            }
            let wait = self.time_of(given).saturating_sub(began.elapsed());
            if wait.is_zero() {
                tokio::task::yield_now().await;
            } else {
                until(&timer, wait).await?;
            }
        }
        Ok(())
    }
}

#[expect(
    deprecated,
    reason = "an OwnedFd keeps its descriptor open; what replaces this is an unsafe function"
)]
fn registered(timer: OwnedFd) -> Result<AsyncFd<OwnedFd>, Failure> {
    AsyncFd::with_interest(timer, Interest::READABLE).map_err(Failure::at("no timer"))
}

async fn until(timer: &AsyncFd<OwnedFd>, wait: Duration) -> Result<(), Failure> {
    let spec = Itimerspec {
        it_interval: Timespec {
            tv_sec: 0,
            tv_nsec: 0,
        },
        it_value: Timespec {
            tv_sec: i64::try_from(wait.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: i64::from(wait.subsec_nanos().max(1)),
        },
    };
    timerfd_settime(timer.get_ref(), TimerfdTimerFlags::empty(), &spec)
        .map_err(Failure::at("no timer"))?;
    let mut ready = timer.readable().await.map_err(Failure::at("no timer"))?;
    let mut count = [0; 8];
    let _ = rustix::io::read(timer.get_ref(), &mut count);
    ready.clear_ready();
    Ok(())
}
