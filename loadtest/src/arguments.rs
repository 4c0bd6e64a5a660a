//! The command line.

use crate::compare;
use crate::failure::Failure;
use crate::job::{Job, Kind, Load, Rate, Size, Tls, only_loopback};
use crate::machine;
use crate::process;
use crate::report::{self, Results};
use crate::run;
use crate::scenario::{self, Scenario};
use crate::summary;
use crate::thresholds::{Memory, Thresholds};
use crate::worker::{self, Word};
use clap::{Args, Parser, Subcommand};
use std::collections::BTreeMap;
use std::io::IsTerminal as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use tokio::sync::watch;

/// Load tests for mayfly, on this machine's loopback only.
#[derive(Debug, Parser)]
#[command(name = "mayfly-load", version, about)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// One generator process of a run; its job comes on standard input.
    #[command(hide = true)]
    Worker,
    /// Run scenarios: each starts a server of its own, loads it, counts what arrived, and stops it.
    Run(Box<Run>),
    /// Write docs/benchmarks.md from raw results.
    Report(Report),
    /// Send messages to a server that is running, without counting what arrived.
    Send(Box<Send>),
}

/// The page of results.
#[derive(Debug, Args)]
pub(crate) struct Report {
    /// The folder with the results; the newest in loadtest/results unless it is named.
    results: Option<PathBuf>,
}

impl Report {
    /// Writes the page and its charts.
    pub(crate) fn run(&self) -> Result<bool, Failure> {
        let results = Results::read(Path::new(report::RESULTS), self.results.as_deref())?;
        for (path, text) in results.files() {
            std::fs::write(&path, text).map_err(Failure::at(path.display()))?;
            println!("{}", path.display());
        }
        Ok(true)
    }
}

/// Scenarios to run. Started by `loadtest/run`, in the folder of the repository.
#[derive(Debug, Args)]
pub(crate) struct Run {
    /// Names of files in loadtest/scenarios, without their end.
    #[arg(required_unless_present_any = ["set", "list"])]
    names: Vec<String>,
    /// Instead of names: all of them, or those that CI runs.
    #[arg(long, value_parser = ["standard", "quick"], conflicts_with = "names")]
    set: Option<String>,
    /// Say which scenarios there are.
    #[arg(long)]
    list: bool,
    /// Few messages, one round; nothing is kept unless `--results` names a folder.
    #[arg(long)]
    quick: bool,
    /// Rounds, instead of the scenario's own number.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=20))]
    rounds: Option<u32>,
    /// The folder that gets the raw results; loadtest/results/DATE unless it is a quick run.
    #[arg(long)]
    results: Option<PathBuf>,
    /// Mark the results as made while other programs worked on the machine, whatever was measured.
    #[arg(long)]
    busy: bool,
    /// mayfly's binary.
    #[arg(long, default_value = "target/release/mayfly")]
    binary: PathBuf,
}

/// What a run needs to know beside its scenario.
#[derive(Clone, Debug)]
pub(crate) struct Setting {
    /// mayfly's binary.
    pub(crate) binary: PathBuf,
    /// Its settings for load tests.
    pub(crate) config: PathBuf,
    /// Instead of the scenario's number of rounds.
    pub(crate) rounds: Option<u32>,
    pub(crate) quick: bool,
    /// Said by whoever started it, whatever was measured.
    pub(crate) busy: bool,
}

/// What `--set quick` means: each kind of load, and each way of counting.
const QUICK_SET: [&str; 9] = [
    "classic",
    "connections",
    "expiry",
    "expiry-million",
    "million",
    "ramp",
    "readers",
    "slow",
    "tls-chunking",
];

/// The name that stands for the comparison with other servers, among those of scenarios.
const COMPARISON: &str = "comparison";

impl Run {
    /// Runs them; whether all passed.
    pub(crate) fn run(&self) -> Result<bool, Failure> {
        let folder = Path::new("loadtest/scenarios");
        if self.list {
            for name in scenario::names(folder)? {
                println!("{name:<20}{}", Scenario::named(folder, &name, false)?.title);
            }
            return Ok(true);
        }
        let quick = self.quick || self.set.as_deref() == Some("quick");
        let names = match self.set.as_deref() {
            Some("quick") => QUICK_SET.map(str::to_owned).to_vec(),
            Some(_) => {
                let mut all = scenario::names(folder)?;
                all.push(COMPARISON.to_owned());
                all
            }
            None => self.names.clone(),
        };
        let setting = Setting {
            binary: self.binary.clone(),
            config: PathBuf::from("config/loadtest.toml"),
            rounds: self.rounds,
            quick,
            busy: self.busy,
        };
        let kept = Path::new(report::RESULTS).join(machine::today());
        let results = self.results.clone().or_else(|| (!quick).then_some(kept));
        // Mistakes in any file are told before anything starts.
        let read = |name: &String| Ok((name.clone(), Scenario::named(folder, name, quick)?));
        let compared = names.iter().any(|name| name == COMPARISON);
        let scenarios = names
            .iter()
            .filter(|name| *name != COMPARISON)
            .map(read)
            .collect::<Result<Vec<_>, Failure>>()?;
        process::end_with_us();
        let mut missed = Vec::new();
        let mut failed = Vec::new();
        for (name, scenario) in scenarios {
            match one(&name, &scenario, &setting, results.as_deref()) {
                Ok(sentences) => missed.extend(sentences),
                Err(failure) => failed.push(format!("{name}: {failure}")),
            }
        }
        if compared {
            match side_by_side(&setting, results.as_deref()) {
                Ok(sentences) => missed.extend(sentences),
                Err(failure) => failed.push(format!("{COMPARISON}: {failure}")),
            }
        }
        for sentence in &missed {
            eprintln!("MISSED {sentence}");
        }
        match failed.as_slice() {
            [] => Ok(missed.is_empty()),
            failed => Err(Failure::new(failed.join("\n"))),
        }
    }
}

/// Runs one scenario and keeps its results; what it missed.
fn one(
    name: &str,
    scenario: &Scenario,
    setting: &Setting,
    results: Option<&Path>,
) -> Result<Vec<String>, Failure> {
    let outcome = run::scenario(name, scenario, setting)?;
    let sentences = outcome.rounds.iter().flat_map(|round| &round.missed);
    let missed = sentences
        .map(|sentence| format!("{name}: {sentence}"))
        .collect();
    if let Some(results) = results {
        outcome.write(results)?;
    }
    Ok(missed)
}

/// Compares servers and keeps the results; what was missed.
fn side_by_side(setting: &Setting, results: Option<&Path>) -> Result<Vec<String>, Failure> {
    let comparison = compare::compare(setting)?;
    for sentence in &comparison.left_out {
        println!("left out: {sentence}");
    }
    if let Some(results) = results {
        compare::write(&comparison, results)?;
    }
    let named = |sentence| format!("{COMPARISON}: {sentence}");
    Ok(comparison.missed.into_iter().map(named).collect())
}

/// A load by hand.
#[derive(Debug, Args)]
pub(crate) struct Send {
    /// Where to: an address of 127.0.0.0/8 or `[::1]`, with its port.
    to: SocketAddr,
    /// Connections at a time.
    #[arg(short = 's', long, default_value_t = 10)]
    sessions: u32,
    /// Messages in all.
    #[arg(short = 'm', long, default_value_t = 1000)]
    messages: u64,
    /// Bytes of a body, or "mail" for sizes as real mail has them.
    #[arg(short = 'l', long, default_value = "4096")]
    size: String,
    /// Messages a second (an open loop); without it, as fast as replies come (a closed loop).
    #[arg(short = 'r', long)]
    rate: Option<f64>,
    /// Messages on one connection; 0 for all.
    #[arg(short = 'd', long, default_value_t = 1)]
    per_connection: u64,
    /// Recipients of each message.
    #[arg(long, default_value_t = 1)]
    recipients: u32,
    /// Mailboxes that the recipients go round.
    #[arg(long, default_value_t = 1)]
    mailboxes: u64,
    /// The domain of the recipients.
    #[arg(long, default_value = "mayfly.test")]
    domain: String,
    /// Ask for STARTTLS.
    #[arg(long, conflicts_with = "implicit_tls")]
    starttls: bool,
    /// Begin with TLS.
    #[arg(long)]
    implicit_tls: bool,
    /// Offer the ticket of the last handshake.
    #[arg(long)]
    resume: bool,
    /// Wait for each reply before the next command.
    #[arg(long)]
    no_pipelining: bool,
    /// Send content in chunks (BDAT).
    #[arg(long)]
    chunking: bool,
    /// Addresses of 127.0.0.0/8 to come from.
    #[arg(long, default_value_t = 0)]
    sources: u32,
    /// Begin with a PROXY header.
    #[arg(long)]
    proxy: bool,
    /// Give up after so many seconds.
    #[arg(long, default_value_t = 60.0)]
    seconds_max: f64,
    /// Hold the connections silently for `--seconds-max` instead of sending.
    #[arg(long)]
    hold: bool,
    /// What must be reached, such as `transaction.p99=50` in milliseconds.
    #[arg(long, value_name = "MEASURE.QUANTILE=MS", value_parser = bound)]
    max: Vec<(String, f64)>,
    /// For machines: the whole tally, in JSON, on standard output.
    #[arg(long)]
    json: bool,
}

fn bound(text: &str) -> Result<(String, f64), String> {
    let (key, value) = text
        .split_once('=')
        .ok_or("a measure, a quantile and a bound: transaction.p99=50")?;
    let value = value
        .parse()
        .map_err(|_| "the bound is a number of milliseconds")?;
    Ok((key.to_owned(), value))
}

impl Send {
    fn load(&self) -> Load {
        let size = self
            .size
            .parse()
            .map_or_else(|_| Size::Drawn(self.size.clone()), Size::Fixed);
        Load {
            name: "load".to_owned(),
            kind: if self.hold { Kind::Hold } else { Kind::Send },
            sessions: self.sessions,
            messages: self.messages,
            seconds_max: self.seconds_max,
            rate: self.rate.map(Rate::steady),
            per_connection: self.per_connection,
            size,
            recipients: self.recipients,
            mailboxes: self.mailboxes.max(u64::from(self.recipients)),
            tls: match (self.starttls, self.implicit_tls) {
                (true, _) => Tls::Starttls,
                (_, true) => Tls::Implicit,
                _ => Tls::None,
            },
            resume: self.resume,
            pipelining: !self.no_pipelining,
            chunking: self.chunking,
            sources: self.sources,
            proxy: self.proxy,
            ..Load::default()
        }
    }

    /// Sends; whether all of it was accepted, in time.
    pub(crate) fn run(&self) -> Result<bool, Failure> {
        let target = only_loopback(self.to)?;
        let job = Job {
            load: self.load(),
            target,
            api: None,
            domain: self.domain.clone(),
            worker: 0,
            first: 0,
        };
        let (_keep, released) = watch::channel(false);
        let live = std::io::stderr().is_terminal();
        let tally = worker::run(job, released, &|word| {
            if let (Word::Progress(now), true) = (word, live) {
                eprint!(
                    "\r{} accepted, {} refused, {} failed, {} open ",
                    now.accepted, now.refused, now.failed, now.open
                );
            }
        })?;
        if live {
            eprint!("\r\x1b[2K");
        }
        let thresholds = Thresholds {
            milliseconds_max: self.max.iter().cloned().collect::<BTreeMap<_, _>>(),
            ..Thresholds::default()
        };
        let missed = thresholds.judge(&tally, Memory::default());
        if self.json {
            println!(
                "{}",
                serde_json::to_string(&tally).map_err(Failure::at("no JSON"))?
            );
        } else {
            print!("{}", summary::text("load", &tally));
        }
        for sentence in &missed {
            eprintln!("{sentence}");
        }
        Ok(missed.is_empty())
    }
}
