//! What a run must have reached to count as passed: data in, sentences out.

use crate::summary::{duration, grouped};
use crate::tally::{Measure, Recorded, Tally};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The bounds of a scenario, over all of its loads together. What is not named must be zero, or is not looked at.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Thresholds {
    /// Replies that said no.
    pub(crate) refused_max: u64,
    pub(crate) refused_min: u64,
    /// Replies that must have said no, by their code.
    pub(crate) refused_codes_min: BTreeMap<String, u64>,
    /// Connections and messages that failed without a reply.
    pub(crate) failed_max: u64,
    /// Messages that were not sent because time was up.
    pub(crate) unsent_max: u64,
    /// Messages that must have been accepted.
    pub(crate) accepted_min: u64,
    /// Connections that must have been held to the end and then answered.
    pub(crate) held_min: u64,
    /// Connections that the server must have ended while they were held, and may have.
    pub(crate) ended_min: u64,
    pub(crate) ended_max: u64,
    /// Handshakes that must have been resumed.
    pub(crate) resumed_min: u64,
    /// How much the memory of the last third of the run may be above that of the second, in percent.
    pub(crate) memory_growth_percent_max: Option<f64>,
    /// How late a message may have expired, in seconds, and how much of the memory that mail had taken may be left when all of it has
    /// expired, in percent. Only where that is waited for.
    pub(crate) expiry_lag_seconds_max: Option<f64>,
    pub(crate) memory_left_percent_max: Option<f64>,
    /// Upper bounds in milliseconds, by measure and quantile: `"transaction.p99" = 50`. Only for machines that are known.
    pub(crate) milliseconds_max: BTreeMap<String, f64>,
}

impl Thresholds {
    /// Says what was not reached.
    pub(crate) fn judge(&self, tally: &Tally, memory: Memory) -> Vec<String> {
        let mut missed = self.counts(tally);
        for (what, reached, bound) in [
            (
                "growth of memory in the last third, in percent",
                memory.growth_percent,
                self.memory_growth_percent_max,
            ),
            (
                "memory left when all has expired, in percent",
                memory.left_percent,
                self.memory_left_percent_max,
            ),
            (
                "seconds that an expiry was late",
                memory.expiry_lag_seconds,
                self.expiry_lag_seconds_max,
            ),
        ] {
            match (reached, bound) {
                (Some(reached), Some(bound)) if reached > bound => {
                    missed.push(format!("{what}: {reached:.1}, more than {bound}"));
                }
                (None, Some(_)) => missed.push(format!("{what}: not measured")),
                _ => {}
            }
        }
        let slow = self.milliseconds_max.iter();
        missed.extend(slow.filter_map(|(key, bound)| too_slow(key, *bound, tally)));
        missed
    }

    fn counts(&self, tally: &Tally) -> Vec<String> {
        let mut missed = Vec::new();
        let ended = tally.ended.values().sum();
        let most = [
            (
                "refused",
                tally.refused_count(),
                self.refused_max.max(self.refused_min),
            ),
            ("failed", tally.failed_count(), self.failed_max),
            ("unsent", tally.unsent, self.unsent_max),
            (
                "ended by the server while held",
                ended,
                self.ended_max.max(self.ended_min),
            ),
        ];
        for (what, count, bound) in most {
            if count > bound {
                missed.push(format!(
                    "{what}: {}, more than {}",
                    grouped(count),
                    grouped(bound)
                ));
            }
        }
        let least = [
            ("refused", tally.refused_count(), self.refused_min),
            ("accepted", tally.accepted, self.accepted_min),
            ("held", tally.held, self.held_min),
            (
                "answered after they were held",
                tally.answered,
                self.held_min,
            ),
            ("ended by the server while held", ended, self.ended_min),
            (
                "resumed handshakes",
                tally.handshakes_resumed,
                self.resumed_min,
            ),
        ];
        for (what, count, bound) in least {
            if count < bound {
                missed.push(format!(
                    "{what}: {}, less than {}",
                    grouped(count),
                    grouped(bound)
                ));
            }
        }
        for (code, bound) in &self.refused_codes_min {
            let count = code
                .parse()
                .ok()
                .and_then(|code: u16| tally.refused.get(&code))
                .copied()
                .unwrap_or_default();
            if count < *bound {
                missed.push(format!(
                    "refused with {code}: {}, less than {}",
                    grouped(count),
                    grouped(*bound)
                ));
            }
        }
        missed
    }
}

/// What was seen of the server's memory and of its expiry, where it was looked at.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Memory {
    pub(crate) growth_percent: Option<f64>,
    pub(crate) left_percent: Option<f64>,
    pub(crate) expiry_lag_seconds: Option<f64>,
}

fn too_slow(key: &str, bound: f64, tally: &Tally) -> Option<String> {
    let Some((measure, share)) = parsed(key) else {
        return Some(format!(
            "milliseconds_max: \"{key}\" is no measure and quantile, such as \"transaction.p99\""
        ));
    };
    let nothing = Recorded::default();
    let recorded = tally.latency(measure).unwrap_or(&nothing);
    if recorded.count() == 0 {
        return Some(format!("{key}: nothing was measured"));
    }
    let reached = recorded.quantile(share);
    (reached as f64 / 1e6 > bound)
        .then(|| format!("{key}: {}, more than {bound} ms", duration(reached)))
}

/// `transaction.p99.9`: a measure and a share.
fn parsed(key: &str) -> Option<(Measure, f64)> {
    let (measure, quantile) = key.split_once('.')?;
    let measure = Measure::ALL
        .into_iter()
        .find(|known| known.name() == measure)?;
    if quantile == "max" {
        return Some((measure, 1.0));
    }
    let percent: f64 = quantile.strip_prefix('p')?.parse().ok()?;
    (percent > 0.0 && percent <= 100.0).then_some((measure, percent / 100.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tally() -> Tally {
        Tally {
            accepted: 100,
            held: 10,
            answered: 9,
            refused: BTreeMap::from([(452, 3)]),
            latencies: BTreeMap::from([(
                Measure::Transaction,
                Recorded(vec![(1_000_000, 99), (80_000_000, 1)]),
            )]),
            ..Tally::default()
        }
    }

    #[track_caller]
    fn check(thresholds: Thresholds, growth: Option<f64>, missed: &[&str]) {
        let memory = Memory {
            growth_percent: growth,
            ..Memory::default()
        };
        let found = thresholds.judge(&tally(), memory);
        assert_eq!(found.len(), missed.len(), "{found:?}");
        for (found, missed) in found.iter().zip(missed) {
            assert!(found.starts_with(missed), "{found}");
        }
    }

    #[test]
    fn what_is_not_named_must_be_zero() {
        check(Thresholds::default(), None, &["refused: 3, more than 0"]);
    }

    #[test]
    fn bounds_hold_from_both_sides() {
        let lenient = Thresholds {
            refused_max: 3,
            ..Thresholds::default()
        };
        check(lenient.clone(), None, &[]);
        check(
            Thresholds {
                refused_min: 3,
                refused_max: 5,
                ..Thresholds::default()
            },
            None,
            &[],
        );
        check(
            Thresholds {
                refused_min: 4,
                refused_max: 5,
                ..Thresholds::default()
            },
            None,
            &["refused: 3, less than 4"],
        );
        check(
            Thresholds {
                accepted_min: 101,
                ..lenient.clone()
            },
            None,
            &["accepted"],
        );
        check(
            Thresholds {
                held_min: 10,
                ..lenient.clone()
            },
            None,
            &["answered"],
        );
        check(
            Thresholds {
                resumed_min: 1,
                ..lenient.clone()
            },
            None,
            &["resumed"],
        );
        check(
            Thresholds {
                ended_min: 1,
                ..lenient
            },
            None,
            &["ended"],
        );
    }

    #[test]
    fn memory_and_latency_have_bounds() {
        let with = |key: &str, bound| Thresholds {
            refused_max: 3,
            memory_growth_percent_max: Some(5.0),
            milliseconds_max: BTreeMap::from([(key.to_owned(), bound)]),
            ..Thresholds::default()
        };
        check(with("transaction.p99", 2.0), Some(4.9), &[]);
        check(
            with("transaction.p99.9", 50.0),
            Some(4.9),
            &["transaction.p99.9: 80.0 ms"],
        );
        check(
            with("transaction.p50", 2.0),
            Some(5.1),
            &["growth of memory in the last third, in percent: 5.1"],
        );
        check(with("event.p50", 2.0), Some(0.0), &["event.p50: nothing"]);
        check(
            with("transaction.99", 2.0),
            Some(0.0),
            &["milliseconds_max"],
        );
        // What was not looked at has not been reached.
        check(with("transaction.p99", 2.0), None, &["growth of memory"]);
    }

    #[test]
    fn the_end_of_mail_has_bounds() {
        let thresholds = Thresholds {
            refused_max: 3,
            expiry_lag_seconds_max: Some(1.0),
            memory_left_percent_max: Some(5.0),
            ..Thresholds::default()
        };
        for (lag, left, missed) in [
            (Some(1.0), Some(5.0), 0),
            (Some(2.5), Some(5.0), 1),
            (Some(1.0), Some(5.1), 1),
            (None, None, 2),
        ] {
            let memory = Memory {
                left_percent: left,
                expiry_lag_seconds: lag,
                ..Memory::default()
            };
            assert_eq!(thresholds.judge(&tally(), memory).len(), missed);
        }
    }

    #[test]
    fn replies_are_told_apart() {
        let with = |code: &str, bound| Thresholds {
            refused_max: 3,
            refused_codes_min: BTreeMap::from([(code.to_owned(), bound)]),
            ..Thresholds::default()
        };
        check(with("452", 3), None, &[]);
        check(with("452", 4), None, &["refused with 452: 3"]);
        check(with("421", 1), None, &["refused with 421: 0"]);
    }
}
