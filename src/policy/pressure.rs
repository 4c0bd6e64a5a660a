//! How much strain the whole process is under, in four steps.
//!
//! A step up is taken at once, a step down only when things have been clearly better for a while, so the level does not
//! flutter. Which step holds is decided here, on evidence; what each costs the clients stands in the settings.

#![forbid(unsafe_code)]

use crate::clock::Instant;
use crate::metrics::Label as _;
pub use crate::metrics::Pressure;
use crate::settings::{Bytes, Span, choices, settings};
use std::time::Duration;

settings! {
    /// What happens when memory, connections or time run short. There are four levels: normal, strained, overloaded and
    /// refusing. The gauge `mayfly_pressure_level` shows the one in force.
    pub struct Rules {
        /// Holds the process at one level, whatever happens.
        pub pin: Pin = Pin::Auto,
        /// Strained when this many percent of the memory for mail are used or reserved. 0 means never.
        pub memory_percent_strained: u32 = 70,
        /// Overloaded from here on. 0 means never.
        pub memory_percent_overloaded: u32 = 85,
        /// Refusing from here on. 0 means never.
        pub memory_percent_refusing: u32 = 95,
        /// Strained when this many percent of `admission.connections_max` are open. 0 means never.
        pub connections_percent_strained: u32 = 70,
        /// Overloaded from here on. 0 means never.
        pub connections_percent_overloaded: u32 = 85,
        /// Refusing from here on. 0 means never: `admission.connections_max` refuses what is too much by itself.
        pub connections_percent_refusing: u32 = 0,
        /// Strained when a core takes this long, twice in a row, to serve what has come for it. "0s" means never.
        pub loop_lag_strained: Span = Span(Duration::from_millis(250)),
        /// Overloaded from here on. "0s" means never.
        pub loop_lag_overloaded: Span = Span::secs(1),
        /// Refusing from here on. "0s" means never.
        pub loop_lag_refusing: Span = Span::secs(5),
        /// A level is left when memory and connections are this many percentage points below what called for it (loop
        /// lag: below half of it)...
        pub release_percent: u32 = 5,
        /// ... and have been so for this long. Then the next level below holds, for as long at least.
        /// Price: after a burst clients wait this long for the former limits.
        pub release_after: Span = Span::secs(10),
        /// The longest `smtp.command_timeout`, `smtp.data_timeout` and `tls.handshake_timeout` while strained.
        /// Price: clients that are slower lose their connection with 421 and try again.
        pub timeout_strained: Span = Span::secs(60),
        /// The same while overloaded or refusing.
        pub timeout_overloaded: Span = Span::secs(10),
        /// The highest `smtp.errors_max` while strained.
        pub errors_max_strained: u32 = 10,
        /// The same while overloaded.
        pub errors_max_overloaded: u32 = 3,
        /// The same while refusing. Price: at 1 a single wrong recipient ends the session and its transaction.
        pub errors_max_refusing: u32 = 1,
        /// The highest `smtp.junk_commands_max` while strained.
        pub junk_commands_max_strained: u32 = 50,
        /// The same while overloaded.
        pub junk_commands_max_overloaded: u32 = 10,
        /// The same while refusing. EHLO is such a command, and a client with STARTTLS says it twice.
        pub junk_commands_max_refusing: u32 = 3,
        /// The largest message for which memory can be had while overloaded or refusing. Larger ones get 452 before their data.
        /// Price: they come later. SIZE still shows `smtp.message_bytes_max`: a sender that saw less would give up for good.
        pub message_bytes_max_overloaded: Bytes = Bytes::kib(256),
        /// How many percent of each limit for one client (`admission.connections_per_client_max` and all of `[clients]`)
        /// are left while strained.
        pub client_percent_strained: u32 = 50,
        /// The same while overloaded or refusing.
        pub client_percent_overloaded: u32 = 10,
    }
}

choices! {
    /// Which level holds.
    pub enum Pin {
        /// The one that memory, connections and loop lag call for.
        Auto = "auto",
        /// No limit is tightened, whatever happens.
        Normal = "normal",
        /// Idle clients have less time.
        Strained = "strained",
        /// Idle clients have little time, and large messages have to wait.
        Overloaded = "overloaded",
        /// Nobody is let in any more; those who are may go on.
        Refusing = "refusing",
    }
}

/// What is known of the process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Evidence {
    /// Bytes of the budget for mail in use or reserved.
    pub memory_used: u64,
    /// Bytes of the budget.
    pub memory_limit: u64,
    /// Connections open.
    pub connections: u64,
    /// Connections that may be open; 0 means no limit.
    pub connections_max: u64,
    /// How long the slowest core took lately to serve what had come for it.
    pub loop_lag: Duration,
}

/// What called for a level.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// Nothing in particular: it is calm.
    Calm,
    /// Connections open.
    Connections,
    /// A core that is late.
    LoopLag,
    /// Memory in use or reserved.
    Memory,
    /// The operator.
    Pinned,
}

impl Cause {
    /// Its name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Calm => "calm",
            Self::Connections => "connections",
            Self::LoopLag => "loop lag",
            Self::Memory => "memory",
            Self::Pinned => "pinned",
        }
    }
}

/// The level that holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct State {
    /// Which one.
    pub level: Pressure,
    /// Since when nothing has called for it, or for more.
    pub since: Instant,
    /// What called for it.
    pub cause: Cause,
}

impl State {
    /// Nothing is wrong yet.
    pub const CALM: Self = Self {
        level: Pressure::Normal,
        since: Instant::ZERO,
        cause: Cause::Calm,
    };
}

impl Pressure {
    /// All levels, from the least.
    pub const ALL: [Self; 4] = [
        Self::Normal,
        Self::Strained,
        Self::Overloaded,
        Self::Refusing,
    ];

    /// Its name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        Self::VALUES[self.index()]
    }

    const fn below(self) -> Self {
        match self {
            Self::Normal | Self::Strained => Self::Normal,
            Self::Overloaded => Self::Strained,
            Self::Refusing => Self::Overloaded,
        }
    }
}

/// The level that holds from `now` on.
#[must_use]
pub fn step(state: State, evidence: &Evidence, rules: &Rules, now: Instant) -> State {
    if let Some(level) = rules.pin.level() {
        return State {
            level,
            since: now,
            cause: Cause::Pinned,
        };
    }
    let (called_for, cause) = called_for(evidence, rules, Bar::Raised);
    if called_for > state.level {
        return State {
            level: called_for,
            since: now,
            cause,
        };
    }
    let (kept, _) = self::called_for(evidence, rules, Bar::Lowered);
    if kept >= state.level {
        return State {
            since: now,
            ..state
        };
    }
    if now.since(state.since) < rules.release_after.0 {
        return state;
    }
    let level = state.level.below();
    State {
        level,
        since: now,
        cause: match level {
            Pressure::Normal => Cause::Calm,
            _ => state.cause,
        },
    }
}

/// Whether thresholds are as configured, or lower by what must be gained before a level is left.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Bar {
    Raised,
    Lowered,
}

/// The highest level that anything calls for, and what does.
fn called_for(evidence: &Evidence, rules: &Rules, bar: Bar) -> (Pressure, Cause) {
    let memory = [
        rules.memory_percent_strained,
        rules.memory_percent_overloaded,
        rules.memory_percent_refusing,
    ];
    let connections = [
        rules.connections_percent_strained,
        rules.connections_percent_overloaded,
        rules.connections_percent_refusing,
    ];
    let lag = [
        rules.loop_lag_strained,
        rules.loop_lag_overloaded,
        rules.loop_lag_refusing,
    ];
    let lowered_by = match bar {
        Bar::Raised => 0,
        Bar::Lowered => rules.release_percent,
    };
    let percent_reached = |used: u64, limit: u64, percent: u32| {
        let percent_of_limit = u128::from(limit) * u128::from(percent.saturating_sub(lowered_by));
        limit != 0 && percent != 0 && u128::from(used) * 100 >= percent_of_limit
    };
    let late = |threshold: Span| {
        let threshold = match bar {
            Bar::Raised => threshold.0,
            Bar::Lowered => threshold.0 / 2,
        };
        !threshold.is_zero() && evidence.loop_lag >= threshold
    };
    for level in (1..=3_usize).rev() {
        let (used, limit) = (evidence.memory_used, evidence.memory_limit);
        let (open, open_max) = (evidence.connections, evidence.connections_max);
        let cause = if percent_reached(used, limit, memory[level - 1]) {
            Cause::Memory
        } else if percent_reached(open, open_max, connections[level - 1]) {
            Cause::Connections
        } else if late(lag[level - 1]) {
            Cause::LoopLag
        } else {
            continue;
        };
        return (Pressure::ALL[level], cause);
    }
    (Pressure::Normal, Cause::Calm)
}

impl Pin {
    const fn level(self) -> Option<Pressure> {
        match self {
            Self::Auto => None,
            Self::Normal => Some(Pressure::Normal),
            Self::Strained => Some(Pressure::Strained),
            Self::Overloaded => Some(Pressure::Overloaded),
            Self::Refusing => Some(Pressure::Refusing),
        }
    }
}

/// What a level leaves of the limits of calm times.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tightening {
    /// The longest that anything may take.
    pub timeout_max: Duration,
    /// The most errors of a session.
    pub errors_max: u32,
    /// The most commands of a session that move no mail.
    pub junk_commands_max: u32,
    /// The largest message.
    pub message_bytes_max: u64,
    /// Percent of each limit for one client.
    pub client_percent: u32,
}

impl Rules {
    /// What a level leaves.
    #[must_use]
    pub const fn tightening(&self, level: Pressure) -> Tightening {
        match level {
            Pressure::Normal => Tightening {
                timeout_max: Duration::MAX,
                errors_max: u32::MAX,
                junk_commands_max: u32::MAX,
                message_bytes_max: u64::MAX,
                client_percent: 100,
            },
            Pressure::Strained => Tightening {
                timeout_max: self.timeout_strained.0,
                errors_max: self.errors_max_strained,
                junk_commands_max: self.junk_commands_max_strained,
                message_bytes_max: u64::MAX,
                client_percent: self.client_percent_strained,
            },
            Pressure::Overloaded => Tightening {
                timeout_max: self.timeout_overloaded.0,
                errors_max: self.errors_max_overloaded,
                junk_commands_max: self.junk_commands_max_overloaded,
                message_bytes_max: self.message_bytes_max_overloaded.0,
                client_percent: self.client_percent_overloaded,
            },
            Pressure::Refusing => Tightening {
                timeout_max: self.timeout_overloaded.0,
                errors_max: self.errors_max_refusing,
                junk_commands_max: self.junk_commands_max_refusing,
                message_bytes_max: self.message_bytes_max_overloaded.0,
                client_percent: self.client_percent_overloaded,
            },
        }
    }
}

impl Tightening {
    /// What is left of a limit for one client. 0, which means no limit, stays 0; of any other at least 1 is left.
    #[must_use]
    pub fn of_client(&self, limit: u64) -> u64 {
        let left = u128::from(limit) * u128::from(self.client_percent) / 100;
        u64::try_from(left)
            .unwrap_or(limit)
            .max(u64::from(limit != 0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn evidence(memory: u64, connections: u64, lag_ms: u64) -> Evidence {
        Evidence {
            memory_used: memory,
            memory_limit: 100,
            connections,
            connections_max: 100,
            loop_lag: Duration::from_millis(lag_ms),
        }
    }

    #[test]
    fn each_threshold_calls_for_its_level_at_once() {
        for (memory, connections, lag_ms, level, cause) in [
            (69, 69, 249, Pressure::Normal, Cause::Calm),
            (70, 0, 0, Pressure::Strained, Cause::Memory),
            (0, 70, 0, Pressure::Strained, Cause::Connections),
            (0, 0, 250, Pressure::Strained, Cause::LoopLag),
            (85, 70, 0, Pressure::Overloaded, Cause::Memory),
            (70, 85, 0, Pressure::Overloaded, Cause::Connections),
            (70, 70, 1000, Pressure::Overloaded, Cause::LoopLag),
            (95, 0, 0, Pressure::Refusing, Cause::Memory),
            (0, 100, 0, Pressure::Overloaded, Cause::Connections),
            (0, 0, 5000, Pressure::Refusing, Cause::LoopLag),
        ] {
            let now = Instant::from_secs(9);
            let evidence = evidence(memory, connections, lag_ms);
            let state = step(State::CALM, &evidence, &Rules::default(), now);
            assert_eq!((state.level, state.cause), (level, cause), "{evidence:?}");
        }
        let unlimited = Evidence {
            memory_limit: 0,
            connections_max: 0,
            ..evidence(u64::MAX, u64::MAX, 0)
        };
        assert_eq!(
            step(State::CALM, &unlimited, &Rules::default(), Instant::ZERO).level,
            Pressure::Normal
        );
    }

    #[test]
    fn it_goes_down_one_step_at_a_time_and_not_at_the_threshold() {
        let rules = Rules::default();
        let mut now = Instant::from_secs(100);
        let mut state = step(State::CALM, &evidence(99, 0, 0), &rules, now);
        let mut path = vec![state.level];
        // Just below the threshold is not low enough.
        for _ in 0..60 {
            now = now.plus(SECOND);
            state = step(state, &evidence(91, 0, 0), &rules, now);
            path.push(state.level);
        }
        assert!(path.iter().all(|level| *level == Pressure::Refusing));
        let mut left_at = Vec::new();
        for second in 1..=40 {
            now = now.plus(SECOND);
            let before = state.level;
            state = step(state, &evidence(0, 0, 0), &rules, now);
            if state.level != before {
                left_at.push((second, state.level));
            }
        }
        assert_eq!(
            left_at,
            [
                (10, Pressure::Overloaded),
                (20, Pressure::Strained),
                (30, Pressure::Normal)
            ]
        );
        assert_eq!(state.cause, Cause::Calm);
    }

    #[test]
    fn whoever_pins_a_level_gets_it() {
        for (pin, level) in [
            (Pin::Normal, Pressure::Normal),
            (Pin::Strained, Pressure::Strained),
            (Pin::Overloaded, Pressure::Overloaded),
            (Pin::Refusing, Pressure::Refusing),
        ] {
            let rules = Rules {
                pin,
                ..Rules::default()
            };
            let state = step(State::CALM, &evidence(99, 0, 0), &rules, Instant::ZERO);
            assert_eq!((state.level, state.cause), (level, Cause::Pinned));
        }
    }

    #[test]
    fn a_level_leaves_less_than_the_one_below() {
        let rules = Rules::default();
        for pair in Pressure::ALL.windows(2) {
            let [more, less] = [pair[0], pair[1]].map(|level| rules.tightening(level));
            assert!(less.timeout_max <= more.timeout_max);
            assert!(less.errors_max < more.errors_max);
            assert!(less.junk_commands_max < more.junk_commands_max);
            assert!(less.message_bytes_max <= more.message_bytes_max);
            assert!(less.client_percent <= more.client_percent);
        }
        let overloaded = rules.tightening(Pressure::Overloaded);
        assert_eq!(
            [0, 1, 50].map(|limit| overloaded.of_client(limit)),
            [0, 1, 5]
        );
    }

    fn any_evidence() -> impl Strategy<Value = Evidence> {
        (0..=110_u64, 0..=110_u64, 0..6_000_u64)
            .prop_map(|(memory, connections, lag)| evidence(memory, connections, lag))
    }

    /// The level as plain words have it: what the thresholds say, in percent and seconds of floating numbers.
    fn plain(evidence: &Evidence) -> usize {
        let memory = evidence.memory_used as f64 / evidence.memory_limit as f64;
        let connections = evidence.connections as f64 / evidence.connections_max as f64;
        let lag = evidence.loop_lag.as_secs_f64();
        if memory >= 0.95 || lag >= 5.0 {
            3
        } else if memory >= 0.85 || connections >= 0.85 || lag >= 1.0 {
            2
        } else {
            usize::from(memory >= 0.7 || connections >= 0.7 || lag >= 0.25)
        }
    }

    proptest! {
        #[test]
        fn it_is_never_too_low_and_never_flutters(
            course in prop::collection::vec((any_evidence(), 1..8_000_u64), 1..200)
        ) {
            let rules = Rules::default();
            let mut now = Instant::from_secs(1);
            let mut state = State::CALM;
            let mut last_step: Option<Instant> = None;
            for (evidence, millis) in course {
                now = now.plus(Duration::from_millis(millis));
                let before = state.level.index();
                state = step(state, &evidence, &rules, now);
                let level = state.level.index();
                prop_assert!(level >= plain(&evidence), "too low");
                if level > before {
                    prop_assert_eq!(level, plain(&evidence), "no higher than called for");
                }
                if level < before {
                    prop_assert_eq!(level + 1, before, "one step at a time");
                    let rested = last_step.is_none_or(|at| now.since(at) >= rules.release_after.0);
                    prop_assert!(rested, "down too soon after the last step");
                }
                if level != before {
                    last_step = Some(now);
                }
            }
        }

        #[test]
        fn more_evidence_never_makes_it_lower(
            less in any_evidence(),
            more in any_evidence(),
            level in 0..4_usize,
            rested in 0..30_u64,
        ) {
            let more = Evidence {
                memory_used: more.memory_used.max(less.memory_used),
                connections: more.connections.max(less.connections),
                loop_lag: more.loop_lag.max(less.loop_lag),
                ..less
            };
            let state = State { level: Pressure::ALL[level], ..State::CALM };
            let now = Instant::from_secs(rested);
            let [less, more] = [less, more].map(|it| step(state, &it, &Rules::default(), now));
            prop_assert!(more.level >= less.level);
        }
    }
}
