//! The level of pressure, one for the whole process, found without a lock.
//!
//! Each core notes in a cache line of its own how late it is. Whichever core's turn comes first when an evaluation is due
//! makes it for all: a compare-and-swap decides who. The others read the level once a turn.

use crate::clock::Instant;
use crate::metrics::Pressure;
use crate::policy::pressure::{self, Cause, Evidence, Rules, State};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// How often the level is looked at, while anything happens.
pub const PERIOD: Duration = Duration::from_millis(100);

const CAUSES: [Cause; 5] = [
    Cause::Calm,
    Cause::Connections,
    Cause::LoopLag,
    Cause::Memory,
    Cause::Pinned,
];
const LEVEL_BITS: u32 = 2;
const CAUSE_BITS: u32 = 3;

/// The level, as all cores share it.
#[derive(Debug)]
pub struct Barometer {
    /// From high to low bits: since when (59, microseconds), cause (3), level (2).
    state: AtomicU64,
    /// When the next evaluation is due, in microseconds.
    due: AtomicU64,
    lags: Box<[Lag]>,
}

/// The longest that a core was late since the last evaluation, in microseconds.
#[repr(align(128))]
#[derive(Debug, Default)]
struct Lag(AtomicU64);

/// Another level holds from now on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// The one before.
    pub from: Pressure,
    /// This one.
    pub to: Pressure,
    /// What called for it; for a step down, what had called for the one before.
    pub cause: Cause,
}

impl Barometer {
    /// For that many cores; it is calm.
    #[must_use]
    pub fn new(cores: usize) -> Self {
        Self {
            state: AtomicU64::new(pack(State::CALM)),
            due: AtomicU64::new(0),
            lags: (0..cores).map(|_| Lag::default()).collect(),
        }
    }

    /// The level in force.
    #[must_use]
    pub fn level(&self) -> Pressure {
        unpack(self.state.load(Relaxed)).level
    }

    /// What called for it.
    #[must_use]
    pub fn cause(&self) -> Cause {
        unpack(self.state.load(Relaxed)).cause
    }

    /// Notes how late a core is. Only that core calls this.
    pub fn note_lag(&self, core: usize, lag: Duration) {
        let lag = u64::try_from(lag.as_micros()).unwrap_or(u64::MAX);
        let slot = &self.lags[core].0;
        if lag > slot.load(Relaxed) {
            slot.store(lag, Relaxed);
        }
    }

    /// When the next evaluation is due.
    #[must_use]
    pub fn due(&self) -> Instant {
        Instant::from_micros(self.due.load(Relaxed))
    }

    /// An evaluation is due at once: the rules have changed.
    pub fn hurry(&self) {
        self.due.store(0, Relaxed);
    }

    /// Evaluates, if it is time and no other core does so just now. `gather` is told how late the slowest core was.
    pub fn evaluate(
        &self,
        now: Instant,
        rules: &Rules,
        gather: impl FnOnce(Duration) -> Evidence,
    ) -> Option<Step> {
        let due = self.due.load(Relaxed);
        if due > now.as_micros() {
            return None;
        }
        let next = now.plus(PERIOD).as_micros();
        self.due
            .compare_exchange(due, next, Relaxed, Relaxed)
            .ok()?;
        let lag = self.lags.iter().map(|lag| lag.0.swap(0, Relaxed)).max();
        let evidence = gather(Duration::from_micros(lag.unwrap_or(0)));
        let word = self.state.load(Relaxed);
        let before = unpack(word);
        let after = pressure::step(before, &evidence, rules, now);
        // Whoever was faster, after this core was held up in the middle, has seen newer evidence.
        self.state
            .compare_exchange(word, pack(after), Relaxed, Relaxed)
            .ok()?;
        let cause = match after.level > before.level || after.cause == Cause::Pinned {
            true => after.cause,
            false => before.cause,
        };
        (after.level != before.level).then_some(Step {
            from: before.level,
            to: after.level,
            cause,
        })
    }
}

fn pack(state: State) -> u64 {
    let cause = CAUSES.iter().position(|cause| *cause == state.cause);
    state.since.as_micros() << (LEVEL_BITS + CAUSE_BITS)
        | (cause.unwrap_or(0) as u64) << LEVEL_BITS
        | state.level as u64
}

fn unpack(word: u64) -> State {
    let cause = (word >> LEVEL_BITS) as usize & ((1 << CAUSE_BITS) - 1);
    State {
        level: Pressure::ALL[word as usize & ((1 << LEVEL_BITS) - 1)],
        cause: CAUSES.get(cause).copied().unwrap_or(Cause::Calm),
        since: Instant::from_micros(word >> (LEVEL_BITS + CAUSE_BITS)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicUsize;

    fn memory(used: u64) -> impl Fn(Duration) -> Evidence {
        move |loop_lag| Evidence {
            memory_used: used,
            memory_limit: 100,
            loop_lag,
            ..Evidence::default()
        }
    }

    #[test]
    fn a_word_holds_the_state() {
        for level in Pressure::ALL {
            for cause in CAUSES {
                let since = Instant::from_micros(u64::MAX >> 5);
                let state = State {
                    level,
                    since,
                    cause,
                };
                assert_eq!(unpack(pack(state)), state);
            }
        }
    }

    #[test]
    fn it_is_evaluated_when_due_and_the_slowest_core_counts() {
        let (barometer, rules) = (Barometer::new(2), Rules::default());
        let now = Instant::from_secs(5);
        barometer.note_lag(0, Duration::from_millis(2));
        barometer.note_lag(1, Duration::from_millis(1_200));
        barometer.note_lag(1, Duration::from_millis(3));
        let step = barometer.evaluate(now, &rules, memory(0));
        let expected = Step {
            from: Pressure::Normal,
            to: Pressure::Overloaded,
            cause: Cause::LoopLag,
        };
        assert_eq!(step, Some(expected));
        assert_eq!(barometer.evaluate(now, &rules, memory(99)), None, "not due");
        assert_eq!(barometer.due(), now.plus(PERIOD));
        barometer.hurry();
        let step = barometer.evaluate(now, &rules, memory(99)).expect("due");
        assert_eq!((step.to, step.cause), (Pressure::Refusing, Cause::Memory));
        assert_eq!(barometer.cause(), Cause::Memory);
        let later = now.plus(Duration::from_secs(10));
        let step = barometer.evaluate(later, &rules, memory(0)).expect("rest");
        assert_eq!((step.to, step.cause), (Pressure::Overloaded, Cause::Memory));
    }

    #[test]
    fn of_many_cores_one_evaluates() {
        let (barometer, rules) = (Barometer::new(4), Rules::default());
        let evaluations = AtomicUsize::new(0);
        for round in 1..=200_u64 {
            let now = Instant::from_secs(round);
            std::thread::scope(|scope| {
                for _ in 0..4 {
                    scope.spawn(|| {
                        barometer.evaluate(now, &rules, |lag| {
                            evaluations.fetch_add(1, Relaxed);
                            memory(0)(lag)
                        });
                    });
                }
            });
        }
        assert_eq!(evaluations.into_inner(), 200);
    }
}
