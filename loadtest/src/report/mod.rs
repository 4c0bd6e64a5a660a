//! Writes docs/benchmarks.md and its charts from raw results. The same results give the same page; a test holds the stored one to that.

mod comparison;
mod scenarios;
mod svg;

use crate::compare::Comparison;
use crate::failure::Failure;
use crate::machine::Machine;
use crate::results::Outcome;
use crate::summary::{bytes, duration_of, grouped};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// The page, from the folder of the repository.
pub(crate) const PAGE: &str = "docs/benchmarks.md";
/// Where its charts are, from the same.
pub(crate) const CHARTS: &str = "docs/images";
/// Where results are kept, by date.
pub(crate) const RESULTS: &str = "loadtest/results";

/// Results of one day.
#[derive(Debug)]
pub(crate) struct Results {
    folder: String,
    outcomes: Vec<Outcome>,
    comparison: Option<Comparison>,
}

/// What is written: names of files with their text.
pub(crate) type Files = BTreeMap<PathBuf, String>;

impl Results {
    /// Reads a folder, or the newest one below `kept`.
    pub(crate) fn read(kept: &Path, folder: Option<&Path>) -> Result<Self, Failure> {
        let folder = match folder {
            Some(folder) => folder.to_owned(),
            None => newest(kept)?,
        };
        let mut results = Self {
            folder: folder
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned(),
            outcomes: Vec::new(),
            comparison: None,
        };
        let entries = fs::read_dir(&folder).map_err(Failure::at(folder.display()))?;
        let mut paths: Vec<PathBuf> = entries
            .filter_map(|entry| entry.ok().map(|entry| entry.path()))
            .collect();
        paths.retain(|path| path.extension().is_some_and(|end| end == "json"));
        paths.sort();
        for path in paths {
            let text = fs::read_to_string(&path).map_err(Failure::at(path.display()))?;
            if path.file_stem().is_some_and(|stem| stem == "comparison") {
                results.comparison =
                    Some(serde_json::from_str(&text).map_err(Failure::at(path.display()))?);
            } else {
                results
                    .outcomes
                    .push(serde_json::from_str(&text).map_err(Failure::at(path.display()))?);
            }
        }
        if results.outcomes.is_empty() && results.comparison.is_none() {
            return Err(Failure::new(format!(
                "no results in {}: run loadtest/run --set standard",
                folder.display()
            )));
        }
        Ok(results)
    }

    /// The page and its charts.
    pub(crate) fn files(&self) -> Files {
        let mut files = Files::new();
        let mut page = self.head();
        if let Some(comparison) = &self.comparison {
            page.push_str(&comparison::section(comparison, &mut files));
        }
        if !self.outcomes.is_empty() {
            page.push_str(&scenarios::section(&self.outcomes, &mut files));
        }
        page.push_str(&self.tail());
        files.insert(PathBuf::from(PAGE), page);
        files
    }

    fn head(&self) -> String {
        let mut page = "# Benchmarks\n\n\
            <!-- Written by loadtest/report from the raw results; a test keeps it equal to them. -->\n\n\
            Every message of these runs was counted: what the generators got a 250 for is what the metrics call accepted, and is found in the\n\
            mailboxes, once. Where that cannot be, the table says what was counted instead. What failed says so.\n\n\
            CPU time a message is the figure to steer by: generator and servers share the same cores, so messages a second say as much about\n\
            the one as about the other. [loadtest/README.md](../loadtest/README.md) says how to read the rest, and how to make these figures anew;\n\
            [performance.md](performance.md) says where the time goes, and what was tried.\n\n"
            .to_owned();
        if self.outcomes.iter().any(|outcome| outcome.busy) {
            page.push_str(
                "**Some were made while other programs worked on the same cores**; they have a star. Their speed, latency and CPU time are worse than the\n\
                 machine gives, by an unknown factor.\n\n",
            );
        }
        page.push_str(&self.machine());
        page
    }

    /// The commits that servers were built from, as far as they are known.
    fn commits(&self) -> String {
        let all: BTreeSet<&str> = self
            .outcomes
            .iter()
            .map(|outcome| outcome.commit.as_str())
            .filter(|commit| !commit.is_empty())
            .collect();
        match all.into_iter().collect::<Vec<_>>().as_slice() {
            [] => String::new(),
            [one] => format!(" (commit {one})"),
            several => format!(" (commits {})", several.join(", ")),
        }
    }

    fn machine(&self) -> String {
        let first = self
            .outcomes
            .first()
            .map(|outcome| (&outcome.machine, &outcome.date));
        let compared = self
            .comparison
            .as_ref()
            .map(|comparison| (&comparison.machine, &comparison.date));
        let Some((machine, date)) = first.or(compared) else {
            return String::new();
        };
        let Machine {
            kernel,
            cpu,
            cpus,
            memory_bytes,
            is_virtual,
            descriptors_max,
            listen_backlog_max,
            rust,
            profile,
            mayfly,
        } = machine;
        let kind = if *is_virtual { "virtual" } else { "bare metal" };
        let quick = self.outcomes.iter().any(|outcome| outcome.quick);
        let size = if quick {
            "; some runs are the quick ones"
        } else {
            ""
        };
        format!(
            "| | |\n|---|---|\n| Date, version of mayfly | {date}, {mayfly}{}{size} |\n| CPU | {cpus} × {cpu} ({kind}), shared by server and generator |\n\
             | Memory | {} |\n| Kernel | {kernel} |\n| Descriptors of a process, backlog | {}, {listen_backlog_max} |\n| Rust, profile | {rust}; {profile} |\n\n",
            self.commits(),
            bytes(*memory_bytes),
            grouped(*descriptors_max)
        )
    }

    fn tail(&self) -> String {
        format!(
            "## Make them again\n\n```sh\nloadtest/run --set standard   # loadtest/run NAME for one of them\nloadtest/report\n```\n\n\
             The raw results are in [loadtest/results/{0}](../loadtest/results/{0}): every round with its counts and its latencies.\n",
            self.folder
        )
    }
}

/// The folder with the latest date.
fn newest(kept: &Path) -> Result<PathBuf, Failure> {
    let entries = fs::read_dir(kept).map_err(Failure::at(kept.display()))?;
    let folders = entries
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .filter(|path| path.is_dir());
    folders
        .max()
        .ok_or_else(|| Failure::new("no results yet: run loadtest/run --set standard"))
}

/// The middle one.
fn median(values: impl Iterator<Item = f64>) -> Option<f64> {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len().checked_sub(1)? / 2).copied()
}

/// A latency, in nanoseconds, with the two digits that results keep.
fn latency(nanoseconds: u64) -> String {
    duration_of(nanoseconds, 2)
}

/// A rate as a cell of a table.
fn rate(value: f64) -> String {
    if value < 10.0 {
        format!("{value:.1}")
    } else {
        grouped(value.round() as u64)
    }
}

/// Microseconds as a cell of a table.
fn microseconds(value: f64) -> String {
    if value < 100.0 {
        format!("{value:.1} us")
    } else {
        format!("{} us", grouped(value.round() as u64))
    }
}

/// The median, with the smallest and the largest where there are several.
fn spread(values: &[f64], shown: impl Fn(f64) -> String) -> String {
    let Some(middle) = median(values.iter().copied()) else {
        return "–".to_owned();
    };
    if values.len() < 2 {
        return shown(middle);
    }
    let least = values.iter().copied().fold(f64::MAX, f64::min);
    let most = values.iter().copied().fold(f64::MIN, f64::max);
    format!("{} ({}–{})", shown(middle), shown(least), shown(most))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stored_page_is_what_the_results_say() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"))
            .parent()
            .expect("the repository");
        let results = Results::read(&root.join(RESULTS), None).expect("results");
        for (path, text) in results.files() {
            let stored = fs::read_to_string(root.join(&path)).unwrap_or_default();
            assert!(
                stored == text,
                "{} is old: run loadtest/report",
                path.display()
            );
        }
    }

    #[test]
    fn every_result_that_is_kept_has_passed_and_names_no_machine() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"))
            .parent()
            .expect("the repository");
        let results = Results::read(&root.join(RESULTS), None).expect("results");
        for outcome in &results.outcomes {
            for round in &outcome.rounds {
                assert!(
                    round.missed.is_empty(),
                    "{}: {:?}",
                    outcome.scenario,
                    round.missed
                );
                assert_eq!(
                    round.counted.sent, round.counted.accepted,
                    "{}",
                    outcome.scenario
                );
                assert!(
                    round.loads.values().all(|tally| tally.tokens.is_empty()),
                    "{}",
                    outcome.scenario
                );
            }
        }
    }

    #[test]
    fn medians_and_spreads() {
        assert_eq!(median([3.0, 1.0, 2.0].into_iter()), Some(2.0));
        assert_eq!(median([4.0, 1.0].into_iter()), Some(1.0));
        assert_eq!(median(std::iter::empty()), None);
        assert_eq!(
            spread(&[20.0, 10.0, 1500.0], microseconds),
            "20.0 us (10.0 us–1,500 us)"
        );
        assert_eq!(spread(&[20.0], microseconds), "20.0 us");
        assert_eq!(
            [latency(610_000), latency(4_500_000), latency(120_000_000)],
            ["610 us", "4.5 ms", "120 ms"]
        );
        assert_eq!([rate(0.26), rate(1234.5)], ["0.3", "1,235"]);
    }
}
