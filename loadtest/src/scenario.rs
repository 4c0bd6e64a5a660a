//! A scenario, as its file in `loadtest/scenarios/` tells it. With `--quick`, what stands below `[quick]` goes over it.

use crate::failure::Failure;
use crate::job::{Kind, Load};
use crate::thresholds::Thresholds;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use toml::{Table, Value};

/// The most rounds of one scenario.
const ROUNDS_MAX: u32 = 20;
/// The longest pause between two steps.
const PAUSE_SECONDS_MAX: f64 = 60.0;
/// The longest wait for mail to expire.
const UNTIL_EMPTY_SECONDS_MAX: f64 = 300.0;

/// How it is known that nothing was lost and nothing came twice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Counting {
    /// By the marker of every message, read back from every mailbox, and by the metrics.
    #[default]
    Markers,
    /// By the markers in some of the mailboxes, evenly spread, and by the metrics: where there are very many.
    Sample,
    /// By the metrics alone, where mail expires while it is sent: what was delivered is there or has gone.
    Metrics,
}

/// One scenario.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Scenario {
    /// What it is called in tables.
    pub(crate) title: String,
    /// What it is for, in a sentence or two.
    pub(crate) about: String,
    /// How often it is run, each time with a new server.
    #[serde(default = "once")]
    pub(crate) rounds: u32,
    /// How it is known that nothing was lost.
    #[serde(default)]
    pub(crate) counting: Counting,
    /// Seconds between two steps.
    #[serde(default)]
    pub(crate) pause_seconds: f64,
    /// Seconds after the last load within which all mail must have expired. 0: nobody waits for that.
    #[serde(default)]
    pub(crate) until_empty_seconds: f64,
    /// Settings of the server that differ from config/loadtest.toml, by section.
    #[serde(default)]
    pub(crate) server: Table,
    /// What must be reached.
    #[serde(default)]
    pub(crate) thresholds: Thresholds,
    /// The loads.
    #[serde(rename = "load")]
    pub(crate) loads: Vec<Load>,
}

fn once() -> u32 {
    1
}

impl Scenario {
    /// Reads one by name.
    pub(crate) fn named(folder: &Path, name: &str, quick: bool) -> Result<Self, Failure> {
        let plain = !name.is_empty()
            && name
                .chars()
                .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-');
        let path = folder.join(format!("{name}.toml"));
        if !plain || !path.exists() {
            let known = names(folder)?.join(", ");
            return Err(Failure::new(format!(
                "no scenario \"{name}\"; there are {known}"
            )));
        }
        let text = std::fs::read_to_string(&path).map_err(Failure::at(path.display()))?;
        Self::parse(&text, quick).map_err(Failure::at(format!("scenario {name}")))
    }

    /// Reads one.
    pub(crate) fn parse(text: &str, quick: bool) -> Result<Self, Failure> {
        let mut table: Table = text.parse().map_err(Failure::at("not TOML"))?;
        let over = table.remove("quick");
        if let (true, Some(over)) = (quick, over) {
            laid_over(&mut table, over)?;
        }
        let scenario: Self = Value::Table(table)
            .try_into()
            .map_err(Failure::at("not a scenario"))?;
        scenario.check()?;
        Ok(scenario)
    }

    fn check(&self) -> Result<(), Failure> {
        if self.loads.is_empty() {
            return Err(Failure::new("no load"));
        }
        if !(1..=ROUNDS_MAX).contains(&self.rounds) {
            return Err(Failure::new(format!("rounds: 1 to {ROUNDS_MAX}")));
        }
        if !(0.0..=PAUSE_SECONDS_MAX).contains(&self.pause_seconds) {
            return Err(Failure::new(format!(
                "pause_seconds: up to {PAUSE_SECONDS_MAX}"
            )));
        }
        if !(0.0..=UNTIL_EMPTY_SECONDS_MAX).contains(&self.until_empty_seconds) {
            return Err(Failure::new(format!(
                "until_empty_seconds: up to {UNTIL_EMPTY_SECONDS_MAX}"
            )));
        }
        // The listener waits for a header or does not.
        if self
            .loads
            .iter()
            .any(|load| load.proxy != self.loads[0].proxy)
        {
            return Err(Failure::new("proxy: all loads or none"));
        }
        for (index, load) in self.loads.iter().enumerate() {
            load.check()?;
            if load.kind == Kind::Read && self.read_by(load).is_none() {
                return Err(Failure::new(format!(
                    "load \"{}\": of: a load that sends, in the same step, to at least as many mailboxes as there are sessions, without watch",
                    load.name
                )));
            }
            if self.loads[..index]
                .iter()
                .any(|other| other.name == load.name)
            {
                return Err(Failure::new(format!(
                    "two loads are called \"{}\"",
                    load.name
                )));
            }
        }
        Ok(())
    }

    /// The load whose mailboxes another one reads.
    pub(crate) fn read_by(&self, reader: &Load) -> Option<&Load> {
        self.loads.iter().find(|load| {
            load.name == reader.of
                && load.kind == Kind::Send
                && load.step == reader.step
                && !load.watch
                && load.mailboxes >= u64::from(reader.sessions)
        })
    }

    /// Its steps, in order.
    pub(crate) fn steps(&self) -> Vec<u32> {
        let mut steps: Vec<u32> = self.loads.iter().map(|load| load.step).collect();
        steps.sort_unstable();
        steps.dedup();
        steps
    }

    /// The server's settings as environment variables.
    pub(crate) fn variables(&self) -> Vec<(String, String)> {
        let mut variables = Vec::new();
        for (section, settings) in &self.server {
            let settings = settings.as_table().into_iter().flatten();
            variables.extend(settings.map(|(key, value)| {
                let name = format!("MAYFLY__{}__{}", section.to_uppercase(), key.to_uppercase());
                (name, text(value))
            }));
        }
        variables
    }
}

/// A value as a variable has it: TOML.
fn text(value: &Value) -> String {
    match value {
        // JSON's strings are TOML's.
        Value::String(text) => serde_json::Value::String(text.clone()).to_string(),
        Value::Integer(number) => number.to_string(),
        Value::Float(number) => number.to_string(),
        Value::Boolean(yes) => yes.to_string(),
        Value::Datetime(at) => at.to_string(),
        Value::Array(values) => format!(
            "[{}]",
            values.iter().map(text).collect::<Vec<_>>().join(", ")
        ),
        Value::Table(table) => {
            let fields: Vec<String> = table
                .iter()
                .map(|(key, value)| format!("{key} = {}", text(value)))
                .collect();
            format!("{{ {} }}", fields.join(", "))
        }
    }
}

/// The names of all scenarios in a folder.
pub(crate) fn names(folder: &Path) -> Result<Vec<String>, Failure> {
    let entries = std::fs::read_dir(folder).map_err(Failure::at(folder.display()))?;
    let paths = entries.filter_map(|entry| entry.ok().map(|entry| entry.path()));
    let scenarios =
        paths.filter(|path: &PathBuf| path.extension().is_some_and(|end| end == "toml"));
    let mut names: Vec<String> = scenarios
        .filter_map(|path| {
            path.file_stem()
                .and_then(|stem| stem.to_str())
                .map(str::to_owned)
        })
        .collect();
    names.sort();
    Ok(names)
}

/// `[quick]` over the rest: tables are merged, `[quick.load.NAME]` goes into the load of that name.
fn laid_over(table: &mut Table, over: Value) -> Result<(), Failure> {
    let Value::Table(mut over) = over else {
        return Err(Failure::new("quick: not a table"));
    };
    if let Some(Value::Table(loads)) = over.remove("load") {
        for (name, change) in loads {
            let all = table
                .get_mut("load")
                .and_then(Value::as_array_mut)
                .into_iter()
                .flatten();
            let mut named =
                all.filter(|load| load.get("name").and_then(Value::as_str) == Some(&name));
            let (Some(Value::Table(load)), Value::Table(change)) = (named.next(), change) else {
                return Err(Failure::new(format!("quick.load.{name}: no such load")));
            };
            merge(load, change);
        }
    }
    merge(table, over);
    Ok(())
}

fn merge(table: &mut Table, over: Table) {
    for (key, value) in over {
        match (table.get_mut(&key), value) {
            (Some(Value::Table(inner)), Value::Table(over)) => merge(inner, over),
            (_, value) => {
                table.insert(key, value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::Size;

    fn folder() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios")
    }

    #[test]
    fn every_scenario_can_be_read_in_both_sizes() {
        let names = names(&folder()).expect("a folder");
        assert!(names.len() >= 15, "{names:?}");
        for name in names {
            let full = Scenario::named(&folder(), &name, false).expect("a scenario");
            let quick = Scenario::named(&folder(), &name, true).expect("a quick scenario");
            let messages =
                |scenario: &Scenario| scenario.loads.iter().map(|load| load.messages).sum::<u64>();
            assert!(
                messages(&quick) <= messages(&full),
                "{name}: quick is no smaller"
            );
            assert!(quick.rounds == 1, "{name}: quick is more than one round");
        }
    }

    #[test]
    fn quick_changes_what_it_names() {
        let text = "
            title = 'a'
            about = 'b'
            rounds = 5
            [server.store]
            memory = '1 GiB'
            [[load]]
            name = 'one'
            messages = 1000
            [[load]]
            name = 'two'
            messages = 2000
            size = 'mail'
            [quick]
            rounds = 1
            [quick.server.smtp]
            errors_max = 3
            [quick.load.two]
            messages = 20
        ";
        let full = Scenario::parse(text, false).expect("a scenario");
        assert_eq!((full.rounds, full.loads[1].messages), (5, 2000));
        assert_eq!(
            full.variables(),
            [("MAYFLY__STORE__MEMORY".to_owned(), "\"1 GiB\"".to_owned())]
        );
        let quick = Scenario::parse(text, true).expect("a scenario");
        assert_eq!(
            (
                quick.rounds,
                quick.loads[0].messages,
                quick.loads[1].messages
            ),
            (1, 1000, 20)
        );
        assert_eq!(quick.loads[1].size, Size::Drawn("mail".to_owned()));
        assert_eq!(quick.variables().len(), 2);
    }

    #[test]
    fn mistakes_are_told() {
        let base = "title = 'a'\nabout = 'b'\n";
        for (rest, what) in [
            ("", "load"),
            ("load = []", "no load"),
            ("[[load]]\nmesages = 3", "mesages"),
            ("[[load]]\n[[load]]", "two loads"),
            ("rounds = 0\n[[load]]", "rounds"),
            ("[[load]]\n[quick.load.none]\nmessages = 1", "no such load"),
            ("until_empty_seconds = 1e9\n[[load]]", "until_empty"),
            ("[[load]]\n[[load]]\nname = 'r'\nkind = 'read'", "of:"),
            (
                "[[load]]\n[[load]]\nname = 'r'\nkind = 'read'\nof = 'load'\nsessions = 2",
                "of:",
            ),
        ] {
            let error = Scenario::parse(&format!("{base}{rest}"), true)
                .expect_err(what)
                .to_string();
            assert!(error.contains(what), "{error}");
        }
        assert!(Scenario::named(&folder(), "../x", true).is_err());
    }
}
