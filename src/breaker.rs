//! A breaker: whether it is worth asking somebody who has failed.
//!
//! Closed, everything passes. After so many failures in a row it opens, and nothing passes until it has rested. Then it
//! is half-open: one passes, the probe, and what comes of it closes the breaker or opens it for another rest.
//!
//! Whoever may pass gets a [`Pass`] and settles it. A pass from before the last change of state settles nothing: what
//! began before it opened is no news afterwards, and only the probe speaks for a breaker that is half-open.

#![forbid(unsafe_code)]

use crate::clock::Instant;
use std::time::Duration;

/// When a breaker opens, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// So many failures in a row open it. 0 is taken for 1.
    pub failures: u32,
    /// How long nothing passes then.
    pub rest: Duration,
}

/// What a breaker lets through.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    /// Everything.
    Closed,
    /// Nothing, until it has rested.
    Open,
    /// One, which is under way.
    HalfOpen,
}

/// Leave to try once. To be settled with [`Breaker::settle`].
#[derive(Debug, PartialEq, Eq)]
#[must_use = "a probe that is never settled keeps its breaker half-open"]
pub struct Pass {
    /// Which state of the breaker it is from.
    era: u64,
}

/// Why nothing may pass now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// It rests until then.
    Until(Instant),
    /// A probe is under way.
    ForProbe,
}

/// What came of a try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It went well.
    Succeeded,
    /// It failed.
    Failed,
    /// It was not made, or nobody knows what came of it. Says nothing about who was to be asked.
    Abandoned,
}

/// See the module's text.
#[derive(Clone, Debug)]
pub struct Breaker {
    condition: Condition,
    /// Grows with every change of state.
    era: u64,
}

#[derive(Clone, Copy, Debug)]
enum Condition {
    Closed {
        /// In a row, the last ones.
        failures: u32,
    },
    Open {
        until: Instant,
    },
    HalfOpen,
}

impl Default for Breaker {
    fn default() -> Self {
        Self::new()
    }
}

impl Breaker {
    /// A closed one, without any failure.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            condition: Condition::Closed { failures: 0 },
            era: 0,
        }
    }

    /// What it lets through.
    #[must_use]
    pub const fn state(&self) -> State {
        match self.condition {
            Condition::Closed { .. } => State::Closed,
            Condition::Open { .. } => State::Open,
            Condition::HalfOpen => State::HalfOpen,
        }
    }

    /// Whether it is as a new one is: there is nothing to remember.
    #[must_use]
    pub const fn is_fresh(&self) -> bool {
        matches!(self.condition, Condition::Closed { failures: 0 })
    }

    /// When [`Self::pass`] would let somebody through, if nothing happens before; `None`: only when the probe is settled.
    #[must_use]
    pub fn passes_at(&self, now: Instant) -> Option<Instant> {
        match self.condition {
            Condition::Closed { .. } => Some(now),
            Condition::Open { until } => Some(until.max(now)),
            Condition::HalfOpen => None,
        }
    }

    /// Lets somebody try.
    ///
    /// # Errors
    /// Until when nobody may.
    pub fn pass(&mut self, now: Instant) -> Result<Pass, Wait> {
        match self.condition {
            Condition::Closed { .. } => {}
            Condition::Open { until } if until > now => return Err(Wait::Until(until)),
            Condition::Open { .. } => self.turn(Condition::HalfOpen),
            Condition::HalfOpen => return Err(Wait::ForProbe),
        }
        Ok(Pass { era: self.era })
    }

    /// Learns what came of a try.
    pub fn settle(&mut self, pass: Pass, outcome: Outcome, patience: Patience, now: Instant) {
        if pass.era != self.era {
            return;
        }
        let rested = Condition::Open {
            until: now.plus(patience.rest),
        };
        match (self.condition, outcome) {
            (Condition::Closed { .. }, Outcome::Abandoned) => {}
            (Condition::Closed { .. }, Outcome::Succeeded) => {
                self.condition = Condition::Closed { failures: 0 };
            }
            (Condition::Closed { failures }, Outcome::Failed) => {
                let failures = failures.saturating_add(1);
                if failures >= patience.failures.max(1) {
                    self.turn(rested);
                } else {
                    self.condition = Condition::Closed { failures };
                }
            }
            (Condition::HalfOpen, Outcome::Succeeded) => {
                self.turn(Condition::Closed { failures: 0 });
            }
            (Condition::HalfOpen, Outcome::Failed) => self.turn(rested),
            // It has rested already: the next one is the probe.
            (Condition::HalfOpen, Outcome::Abandoned) => {
                self.turn(Condition::Open { until: now });
            }
            (Condition::Open { .. }, _) => debug_assert!(false, "nothing passes while it is open"),
        }
    }

    fn turn(&mut self, condition: Condition) {
        self.condition = condition;
        self.era += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const PATIENCE: Patience = Patience {
        failures: 5,
        rest: Duration::from_secs(30),
    };

    /// One step of a table, at a second.
    #[derive(Clone, Copy, Debug)]
    enum Step {
        /// Passes, and is settled at once.
        Try(Outcome),
        /// Passes, and is settled later.
        Begin,
        /// Settles what began first of those that are left.
        End(Outcome),
        /// Does not pass.
        Refused(Wait),
    }

    #[test]
    fn states_follow_from_what_happens() {
        use Outcome::{Abandoned, Failed, Succeeded};
        use State::{Closed, HalfOpen, Open};
        use Step::{Begin, End, Refused, Try};
        let rests = |secs| Refused(Wait::Until(Instant::from_secs(secs)));
        let four_fail = [(0, Try(Failed), Closed); 4];
        let opens = [&four_fail[..], &[(0, Try(Failed), Open)]].concat();
        let tables: &[&[(u64, Step, State)]] = &[
            // Four failures are not five, and a success between them begins anew.
            &[&four_fail[..], &[(1, Try(Succeeded), Closed)], &four_fail].concat(),
            &[&opens[..], &[(0, rests(30), Open), (29, rests(30), Open)]].concat(),
            // One probe at a time; it closes the breaker or opens it again.
            &[
                &opens[..],
                &[
                    (30, Begin, HalfOpen),
                    (31, Refused(Wait::ForProbe), HalfOpen),
                    (32, End(Succeeded), Closed),
                    (32, Try(Failed), Closed),
                ],
            ]
            .concat(),
            &[
                &opens[..],
                &[
                    (40, Try(Failed), Open),
                    (69, rests(70), Open),
                    (70, Try(Abandoned), Open),
                    (70, Try(Succeeded), Closed),
                ],
            ]
            .concat(),
            // What began before it opened, or before it closed again, is no news.
            &[
                &[(0, Begin, Closed), (0, Begin, Closed)],
                &opens[..],
                &[
                    (3, End(Succeeded), Open),
                    (30, Begin, HalfOpen),
                    (31, End(Failed), HalfOpen),
                    (32, End(Succeeded), Closed),
                ],
            ]
            .concat(),
            &[(0, Try(Abandoned), Closed)],
        ];
        for (nth, table) in tables.iter().enumerate() {
            let (mut breaker, mut begun) = (Breaker::new(), Vec::new());
            for (row, (secs, step, state)) in table.iter().enumerate() {
                let now = Instant::from_secs(*secs);
                match step {
                    Begin => begun.push(breaker.pass(now).expect("passes")),
                    Try(outcome) => {
                        let pass = breaker.pass(now).expect("passes");
                        breaker.settle(pass, *outcome, PATIENCE, now);
                    }
                    End(outcome) => breaker.settle(begun.remove(0), *outcome, PATIENCE, now),
                    Refused(wait) => assert_eq!(breaker.pass(now), Err(*wait), "{nth}: {row}"),
                }
                assert_eq!(breaker.state(), *state, "{nth}: {row}");
            }
        }
    }

    /// A breaker that remembers everything and finds its state anew each time.
    #[derive(Default)]
    struct Model {
        history: Vec<(Instant, Happened)>,
        begun: u64,
    }

    #[derive(Clone, Copy)]
    enum Happened {
        Began(u64),
        Ended(u64, Outcome),
    }

    impl Model {
        /// Its state, until when it is open, the tries that count, and its failures in a row.
        fn look(&self) -> (State, Instant, Vec<u64>, u32) {
            let (mut state, mut until) = (State::Closed, Instant::ZERO);
            let (mut count, mut failures) = (Vec::new(), 0);
            for (at, happened) in &self.history {
                let opened = match *happened {
                    Happened::Began(which) if state == State::Open => {
                        (state, count) = (State::HalfOpen, vec![which]);
                        None
                    }
                    Happened::Began(which) => {
                        count.push(which);
                        None
                    }
                    Happened::Ended(which, _) if !count.contains(&which) => None,
                    Happened::Ended(_, outcome) => match (state, outcome) {
                        (State::HalfOpen, Outcome::Abandoned) => Some(*at),
                        (State::HalfOpen, Outcome::Failed) => Some(at.plus(PATIENCE.rest)),
                        (State::HalfOpen, Outcome::Succeeded) => {
                            (state, failures) = (State::Closed, 0);
                            count.clear();
                            None
                        }
                        (_, Outcome::Abandoned) => None,
                        (_, Outcome::Succeeded) => {
                            failures = 0;
                            None
                        }
                        (_, Outcome::Failed) => {
                            failures += 1;
                            (failures == PATIENCE.failures).then(|| at.plus(PATIENCE.rest))
                        }
                    },
                };
                if let Some(end) = opened {
                    (state, until, failures) = (State::Open, end, 0);
                    count.clear();
                }
            }
            (state, until, count, failures)
        }

        fn begin(&mut self, now: Instant) -> Option<u64> {
            let (state, until, ..) = self.look();
            let passes = match state {
                State::Closed => true,
                State::Open => until <= now,
                State::HalfOpen => false,
            };
            passes.then(|| {
                self.begun += 1;
                self.history.push((now, Happened::Began(self.begun)));
                self.begun
            })
        }
    }

    fn outcomes() -> impl Strategy<Value = Outcome> {
        prop_oneof![
            4 => Just(Outcome::Failed),
            1 => Just(Outcome::Succeeded),
            1 => Just(Outcome::Abandoned),
        ]
    }

    proptest! {
        #[test]
        fn a_breaker_does_what_its_slow_model_does(
            steps in prop::collection::vec((0_u64..12, any::<bool>(), any::<usize>(), outcomes()), 1..80)
        ) {
            let (mut breaker, mut model) = (Breaker::new(), Model::default());
            let (mut open, mut now) = (Vec::new(), Instant::ZERO);
            for (secs, begins, which, outcome) in steps {
                now = now.plus(Duration::from_secs(secs));
                if begins || open.is_empty() {
                    let (mine, its) = (breaker.pass(now), model.begin(now));
                    prop_assert_eq!(mine.is_ok(), its.is_some());
                    open.extend(mine.ok().zip(its));
                } else {
                    let (mine, its) = open.swap_remove(which % open.len());
                    breaker.settle(mine, outcome, PATIENCE, now);
                    model.history.push((now, Happened::Ended(its, outcome)));
                }
                let (state, until, _, failures) = model.look();
                prop_assert_eq!(breaker.state(), state);
                prop_assert_eq!(breaker.is_fresh(), state == State::Closed && failures == 0);
                let at = match state {
                    State::Closed => Some(now),
                    State::Open => Some(until.max(now)),
                    State::HalfOpen => None,
                };
                prop_assert_eq!(breaker.passes_at(now), at);
            }
        }
    }
}
