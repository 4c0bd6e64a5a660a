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
    /// Upper bounds in milliseconds, by measure and quantile: `"transaction.p99" = 50`. Only for machines that are known.
    pub(crate) milliseconds_max: BTreeMap<String, f64>,
}

impl Thresholds {
    /// Says what was not reached.
    pub(crate) fn judge(&self, tally: &Tally, memory_growth_percent: Option<f64>) -> Vec<String> {
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
        if let (Some(bound), Some(growth)) = (self.memory_growth_percent_max, memory_growth_percent)
            && growth > bound
        {
            missed.push(format!(
                "memory grew by {growth:.1} % in the last third, more than {bound} %"
            ));
        }
        missed.extend(
            self.milliseconds_max
                .iter()
                .filter_map(|(key, bound)| too_slow(key, *bound, tally)),
        );
        missed
    }
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
        let found = thresholds.judge(&tally(), growth);
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
            &["memory grew by 5.1"],
        );
        check(with("event.p50", 2.0), None, &["event.p50: nothing"]);
        check(with("transaction.99", 2.0), None, &["milliseconds_max"]);
    }
}
