//! When the messages of an open loop are meant to be sent: a pure function of their number.
//!
//! Latency is measured from these times, so a server that stands still for a second is charged that second for every message that
//! was due meanwhile, not only for the one that waited (no coordinated omission).

use crate::failure::Failure;
use crate::job::Rate;
use std::time::Duration;

/// The plan of one generator.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Schedule {
    shape: Shape,
}

#[derive(Clone, Copy, Debug)]
enum Shape {
    Steady {
        rate: f64,
    },
    /// The rate goes from `from` to `to` in `seconds`, and stays there.
    Ramp {
        from: f64,
        to: f64,
        seconds: f64,
    },
    /// Each period begins with a burst; the rest of it is quieter, so that the mean is kept.
    Bursts {
        high: f64,
        low: f64,
        burst: f64,
        period: f64,
    },
}

impl Schedule {
    pub(crate) fn new(rate: Rate) -> Result<Self, Failure> {
        let wrong = |text: &str| Err(Failure::new(format!("rate: {text}")));
        if !(rate.per_second > 0.0 && rate.per_second <= 1e6) {
            return wrong("per_second: more than 0, up to a million");
        }
        if let Some(to) = rate.ramp_to {
            if rate.burst_factor != 1.0 {
                return wrong("a ramp or bursts, not both");
            }
            if !(to > 0.0 && to <= 1e6 && rate.ramp_seconds > 0.0) {
                return wrong("ramp_to and ramp_seconds: more than 0");
            }
            let (from, seconds) = (rate.per_second, rate.ramp_seconds);
            return Ok(Self {
                shape: Shape::Ramp { from, to, seconds },
            });
        }
        if rate.burst_factor == 1.0 {
            return Ok(Self {
                shape: Shape::Steady {
                    rate: rate.per_second,
                },
            });
        }
        let (factor, burst, period) = (
            rate.burst_factor,
            rate.burst_seconds,
            rate.burst_every_seconds,
        );
        if !(factor > 1.0 && burst > 0.0 && burst < period && factor * burst <= period) {
            return wrong(
                "burst_factor times burst_seconds must fit into burst_every_seconds, or the mean is not kept",
            );
        }
        let low = rate.per_second * (period - factor * burst) / (period - burst);
        let high = rate.per_second * factor;
        Ok(Self {
            shape: Shape::Bursts {
                high,
                low,
                burst,
                period,
            },
        })
    }

    /// How many messages are due in the first `at`, the one at the very start not counted.
    fn arrivals(&self, at: f64) -> f64 {
        match self.shape {
            Shape::Steady { rate } => rate * at,
            Shape::Ramp { from, to, seconds } => {
                let ramp = at.min(seconds);
                let grown = from * ramp + (to - from) * ramp * ramp / (2.0 * seconds);
                grown + to * (at - ramp)
            }
            Shape::Bursts {
                high,
                low,
                burst,
                period,
            } => {
                let whole = (at / period).floor();
                let rest = at - whole * period;
                let each = high * burst + low * (period - burst);
                whole * each + high * rest.min(burst) + low * (rest - burst).max(0.0)
            }
        }
    }

    /// When message `number` is meant to be sent, from the start; 0 is the first.
    pub(crate) fn time_of(&self, number: u64) -> Duration {
        let count = number as f64;
        let seconds = match self.shape {
            Shape::Steady { rate } => count / rate,
            Shape::Ramp { from, to, seconds } => {
                let whole = (from + to) / 2.0 * seconds;
                if count >= whole {
                    seconds + (count - whole) / to
                } else if (to - from).abs() < f64::EPSILON {
                    count / from
                } else {
                    let slope = (to - from) / seconds;
                    ((from * from + 2.0 * slope * count).max(0.0).sqrt() - from) / slope
                }
            }
            Shape::Bursts {
                high,
                low,
                burst,
                period,
            } => {
                let each = high * burst + low * (period - burst);
                let whole = (count / each).floor();
                let rest = count - whole * each;
                let inside = if rest <= high * burst {
                    rest / high
                } else {
                    burst + (rest - high * burst) / low
                };
                whole * period + inside
            }
        };
        Duration::from_secs_f64(seconds.clamp(0.0, 1e6))
    }

    /// How many messages are due by `at`.
    pub(crate) fn due(&self, at: Duration) -> u64 {
        self.arrivals(at.as_secs_f64()).floor() as u64 + 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn rates() -> impl Strategy<Value = Rate> {
        let steady = (1.0..50_000.0_f64).prop_map(Rate::steady);
        let ramp =
            (1.0..5_000.0_f64, 1.0..5_000.0_f64, 0.5..60.0_f64).prop_map(|(from, to, seconds)| {
                Rate {
                    ramp_to: Some(to),
                    ramp_seconds: seconds,
                    ..Rate::steady(from)
                }
            });
        let bursts = (
            10.0..5_000.0_f64,
            1.5..20.0_f64,
            0.1..2.0_f64,
            0.01..0.9_f64,
        )
            .prop_map(|(mean, factor, burst, slack)| Rate {
                burst_factor: factor,
                burst_seconds: burst,
                burst_every_seconds: factor * burst / slack,
                ..Rate::steady(mean)
            });
        prop_oneof![steady, ramp, bursts]
    }

    proptest! {
        #[test]
        fn times_never_go_back_and_agree_with_what_is_due(rate in rates(), number in 0_u64..200_000) {
            let schedule = Schedule::new(rate).expect("a rate");
            let at = schedule.time_of(number);
            prop_assert!(schedule.time_of(number + 1) >= at);
            // A microsecond around it, because seconds are floating.
            let slack = Duration::from_micros(2);
            prop_assert!(schedule.due(at + slack) > number);
            prop_assert!(schedule.due(at.saturating_sub(slack)) <= number + 1);
        }
    }

    #[test]
    fn a_ramp_sends_the_mean_of_both_ends() {
        let rate = Rate {
            ramp_to: Some(300.0),
            ramp_seconds: 10.0,
            ..Rate::steady(100.0)
        };
        let schedule = Schedule::new(rate).expect("a rate");
        assert_eq!(schedule.due(Duration::from_secs(10)), 2_001);
        assert_eq!(schedule.due(Duration::from_secs(11)), 2_301);
        assert_eq!(schedule.time_of(2_000), Duration::from_secs(10));
    }

    #[test]
    fn bursts_keep_the_mean() {
        let rate = Rate {
            burst_factor: 10.0,
            burst_seconds: 0.5,
            burst_every_seconds: 10.0,
            ..Rate::steady(100.0)
        };
        let schedule = Schedule::new(rate).expect("a rate");
        assert_eq!(schedule.due(Duration::from_millis(500)), 501);
        assert_eq!(schedule.due(Duration::from_secs(10)), 1_001);
        assert_eq!(schedule.due(Duration::from_secs(100)), 10_001);
    }

    #[test]
    fn what_cannot_be_kept_is_refused() {
        let bursts = |factor, burst, every| Rate {
            burst_factor: factor,
            burst_seconds: burst,
            burst_every_seconds: every,
            ..Rate::steady(1.0)
        };
        for rate in [
            Rate::steady(0.0),
            Rate::steady(f64::NAN),
            bursts(10.0, 2.0, 10.0),
            bursts(10.0, 0.0, 10.0),
            Rate {
                ramp_to: Some(0.0),
                ramp_seconds: 1.0,
                ..Rate::steady(1.0)
            },
            Rate {
                ramp_to: Some(2.0),
                ramp_seconds: 1.0,
                ..bursts(2.0, 1.0, 10.0)
            },
        ] {
            assert!(Schedule::new(rate).is_err(), "{rate:?}");
        }
    }
}
