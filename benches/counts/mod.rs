//! Counts of instructions that were recorded, and how those of a run compare with them.

#![forbid(unsafe_code)]

use std::collections::BTreeMap;

/// How much a count may rise, in percent. The same program gives the same count each time. What moves it otherwise: code
/// next door changes what the compiler puts in line (the grammar of MAIL once took 3 % less because another bench had
/// changed), and another C library copies and compares memory in other ways.
pub(crate) const TOLERANCE_PERCENT: f64 = 5.0;

/// How much more a million of something may cost than a thousand, in percent.
pub(crate) const GROWTH_PERCENT: f64 = 10.0;

/// The last parts of names between which only the number of mailboxes or timers differs.
const FEW: &str = "/1000";
const MANY: &str = "/1000000";

/// Instructions of each bench.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    /// The compiler, the C library and valgrind that they are of.
    pub(crate) made_with: String,
    pub(crate) of: BTreeMap<String, u64>,
}

/// How a run compares with what is recorded.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Comparison {
    /// What must not be.
    pub(crate) offences: Vec<String>,
    /// What is worth knowing.
    pub(crate) notes: Vec<String>,
}

impl Counts {
    /// Reads what [`Counts::to_text`] writes.
    ///
    /// # Errors
    /// The line that is none of it.
    pub(crate) fn from_text(text: &str) -> Result<Self, String> {
        let mut counts = Self::default();
        for line in text.lines() {
            if let Some(made_with) = line.strip_prefix("# With ") {
                made_with
                    .trim_end_matches('.')
                    .clone_into(&mut counts.made_with);
            }
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let (name, count) = line.rsplit_once(' ').ok_or(line)?;
            let count = count.parse().map_err(|_| line)?;
            counts.of.insert(name.trim_end().to_owned(), count);
        }
        Ok(counts)
    }

    /// A line for each, for people and for [`Counts::from_text`].
    pub(crate) fn to_text(&self, how_to_record: &str) -> String {
        let width = self.of.keys().map(String::len).max().unwrap_or_default();
        let lines = self.of.iter();
        let lines = lines.map(|(name, count)| format!("{name:width$} {count:>12}\n"));
        format!(
            "# Instructions of each bench, held by benches/instructions.rs.\n# Written by {how_to_record}\n# With {}.\n\n{}",
            self.made_with,
            lines.collect::<String>()
        )
    }

    /// How a run compares with these.
    pub(crate) fn compare(&self, run: &Self) -> Comparison {
        let mut comparison = Comparison::default();
        for (name, now) in &run.of {
            let Some(before) = self.of.get(name) else {
                let offence = format!("{name}: {now} instructions, and none are recorded");
                comparison.offences.push(offence);
                continue;
            };
            let percent = change(*before, *now);
            let line = format!("{name}: {now} instructions, {before} recorded ({percent:+.1} %)");
            if is_above(*before, *now, TOLERANCE_PERCENT) {
                comparison.offences.push(line);
            } else if is_above(*now, *before, TOLERANCE_PERCENT) {
                comparison.notes.push(line);
            }
        }
        for name in self.of.keys().filter(|name| !run.of.contains_key(*name)) {
            let offence = format!("{name}: recorded, but there is no such bench");
            comparison.offences.push(offence);
        }
        if self.made_with != run.made_with && !comparison.offences.is_empty() {
            let note = format!(
                "recorded with {}, this is {}: that alone may be why",
                self.made_with, run.made_with
            );
            comparison.notes.push(note);
        }
        comparison
    }

    /// Each bench that was run with few and with many: its name, and both counts.
    pub(crate) fn growth(&self) -> impl Iterator<Item = (&str, u64, u64)> {
        self.of.iter().filter_map(|(name, many)| {
            let base = name.strip_suffix(MANY)?;
            let few = self.of.get(&format!("{base}{FEW}"))?;
            Some((base, *few, *many))
        })
    }

    /// The benches that cost more with many than they may.
    pub(crate) fn that_grow(&self) -> Vec<String> {
        let growing = self.growth();
        let growing = growing.filter(|(_, few, many)| is_above(*few, *many, GROWTH_PERCENT));
        let told = growing.map(|(name, few, many)| {
            let more = change(few, many);
            format!("{name}: a million costs {more:.1} % more than a thousand")
        });
        told.collect()
    }
}

/// By how many percent `now` is more than `before`.
pub(crate) fn change(before: u64, now: u64) -> f64 {
    (now as f64 / before as f64 - 1.0) * 100.0
}

/// Whether `now` is more than so many percent above `before`.
fn is_above(before: u64, now: u64, percent: f64) -> bool {
    now as f64 > before as f64 * (100.0 + percent) / 100.0
}
