//! What is kept of a run: raw figures in JSON, with the machine that they were made on.

use crate::failure::Failure;
use crate::machine::Machine;
use crate::scenario::Counting;
use crate::tally::Tally;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Above this share of the machine's CPU time used by others a run counts as made on a busy machine.
pub(crate) const BUSY_SHARE: f64 = 0.05;

/// One scenario's run.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Outcome {
    pub(crate) scenario: String,
    pub(crate) title: String,
    pub(crate) about: String,
    pub(crate) date: String,
    pub(crate) quick: bool,
    /// Whether other programs worked on the machine; then figures of speed mean little.
    pub(crate) busy: bool,
    pub(crate) machine: Machine,
    /// The commit that the server says it was built from.
    #[serde(default)]
    pub(crate) commit: String,
    /// How it is known that nothing was lost.
    #[serde(default)]
    pub(crate) counting: Counting,
    pub(crate) rounds: Vec<Round>,
}

/// One round, with a server of its own.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Round {
    /// What each load did.
    pub(crate) loads: BTreeMap<String, Tally>,
    pub(crate) counted: Counted,
    /// From the first load to the end of the last.
    pub(crate) seconds: f64,
    pub(crate) server_cpu_seconds: f64,
    /// Share of all CPUs' time that went to neither the server nor the generators; below 0 by what is counted twice.
    pub(crate) others_cpu_share: f64,
    /// Memory of the server before, while connections were held, and at its highest.
    pub(crate) memory_before: u64,
    pub(crate) memory_held: u64,
    pub(crate) connections_held: u64,
    pub(crate) memory_peak: u64,
    /// How mail ended, where that was waited for.
    pub(crate) emptied: Option<Emptied>,
    /// Resident memory over time: seconds and bytes.
    pub(crate) memory: Vec<(f64, u64)>,
    pub(crate) memory_growth_percent: Option<f64>,
    /// What was not reached. Empty: passed.
    pub(crate) missed: Vec<String>,
}

/// What was left when all mail had expired.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Emptied {
    /// Copies of messages that expired, by the metrics.
    pub(crate) expired: u64,
    /// Those that were still there when they should have gone.
    pub(crate) left: u64,
    /// From the end of the last load to the last message's end.
    pub(crate) seconds: f64,
    /// No expiry was further behind its time than this, in seconds: the upper end of a bucket of the metrics.
    pub(crate) lag_seconds_max: f64,
    /// Memory of the server then.
    pub(crate) memory: u64,
}

/// Sent, accepted, found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Counted {
    /// Messages that the generators got a 250 for.
    pub(crate) sent: u64,
    /// Messages that the metrics call accepted.
    pub(crate) accepted: u64,
    /// Copies: promised, put into mailboxes by the metrics, and found by reading mailboxes.
    pub(crate) copies: u64,
    pub(crate) delivered: u64,
    pub(crate) found: u64,
    /// Mailboxes that were read.
    pub(crate) mailboxes: u64,
    /// Copies that are missing, that are there more than once, and that nobody sent.
    pub(crate) lost: u64,
    pub(crate) doubled: u64,
    pub(crate) strange: u64,
}

impl Round {
    /// Microseconds of the server's CPU time for each message.
    pub(crate) fn cpu_microseconds(&self) -> f64 {
        self.server_cpu_seconds * 1e6 / self.counted.sent.max(1) as f64
    }

    /// How much of the memory that mail had taken is not given back when it has expired, in percent.
    pub(crate) fn memory_left_percent(&self) -> Option<f64> {
        let grown = self
            .memory_peak
            .checked_sub(self.memory_before)
            .filter(|grown| *grown > 0)?;
        let left = self.emptied?.memory.saturating_sub(self.memory_before);
        Some(left as f64 / grown as f64 * 100.0)
    }
}

impl Outcome {
    /// Whether others were at work, going by what was measured.
    pub(crate) fn measured_busy(rounds: &[Round]) -> bool {
        rounds
            .iter()
            .any(|round| round.others_cpu_share > BUSY_SHARE)
    }

    /// Writes it, without what nobody needs again.
    pub(crate) fn write(mut self, folder: &Path) -> Result<PathBuf, Failure> {
        for tally in self
            .rounds
            .iter_mut()
            .flat_map(|round| round.loads.values_mut())
        {
            tally.tokens.clear();
            tally.absent.clear();
            tally.unknown.clear();
            tally
                .latencies
                .values_mut()
                .for_each(|recorded| *recorded = recorded.coarse());
        }
        write(folder, &self.scenario.clone(), &self)
    }
}

/// CPU seconds as a share of what the machine has in that time.
pub(crate) fn busy_share(cpu_seconds: f64, time: Duration) -> f64 {
    let cpus = std::thread::available_parallelism().map_or(1, usize::from) as f64;
    cpu_seconds / (time.as_secs_f64() * cpus)
}

/// Writes something as NAME.json.
pub(crate) fn write(folder: &Path, name: &str, what: &impl Serialize) -> Result<PathBuf, Failure> {
    let path = folder.join(format!("{name}.json"));
    std::fs::create_dir_all(folder).map_err(Failure::at(folder.display()))?;
    let mut text = serde_json::to_string(what).map_err(Failure::at("no JSON"))?;
    text.push('\n');
    std::fs::write(&path, text).map_err(Failure::at(path.display()))?;
    Ok(path)
}

/// How much the mean of the last third is above that of the second, in percent; `None` of less than nine samples.
pub(crate) fn growth_percent(samples: &[(f64, u64)]) -> Option<f64> {
    let third = samples.len() / 3;
    if third < 3 {
        return None;
    }
    let mean = |part: &[(f64, u64)]| {
        part.iter().map(|(_, bytes)| *bytes as f64).sum::<f64>() / part.len() as f64
    };
    let second = mean(&samples[third..2 * third]);
    Some((mean(&samples[2 * third..]) / second - 1.0) * 100.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_that_levels_off_does_not_grow() {
        let level: Vec<(f64, u64)> = (0..30)
            .map(|at| (f64::from(at), if at < 10 { at as u64 * 10 } else { 100 }))
            .collect();
        assert_eq!(growth_percent(&level), Some(0.0));
        let leak: Vec<(f64, u64)> = (0..30)
            .map(|at| (f64::from(at), 100 + at as u64 * 10))
            .collect();
        assert!(growth_percent(&leak).is_some_and(|growth| growth > 30.0));
        assert_eq!(growth_percent(&level[..8]), None);
    }
}
