//! Side by side, in one run: mayfly and what somebody might use in its place, under the same loads, in turn.
//!
//! What is compared is the cost of taking a message. What the servers do with it differs, and so does what their 250 promises: each
//! row says so. Only mayfly's messages are counted again afterwards; the others have nowhere to look.

mod candidates;

use crate::arguments::Setting;
use crate::count::{self, Place};
use crate::failure::Failure;
use crate::generators::Generators;
use crate::job::{Kind, Load, Rate};
use crate::machine::{self, Machine};
use crate::process;
use crate::results::{self, busy_share};
use crate::scenario::Counting;
use crate::summary::{bytes, duration, grouped};
use crate::tally::{Measure, Recorded, Tally};
use candidates::{Candidate, Running};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// What is kept of a comparison.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Comparison {
    pub(crate) date: String,
    pub(crate) quick: bool,
    pub(crate) busy: bool,
    pub(crate) machine: Machine,
    pub(crate) servers: Vec<Compared>,
    /// Those that are not here, and why.
    pub(crate) left_out: Vec<String>,
    /// What was lost or doubled. Empty: nothing.
    #[serde(default)]
    pub(crate) missed: Vec<String>,
}

/// One server.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Compared {
    pub(crate) name: String,
    pub(crate) version: String,
    /// What its 250 means.
    pub(crate) class: String,
    /// By workload, a figure for each round.
    pub(crate) workloads: BTreeMap<String, Vec<Measured>>,
    /// Connections that were held, and the memory of each.
    pub(crate) held: u64,
    pub(crate) connection_bytes: Option<u64>,
    /// Seconds that the field's command took, and how many messages it sent.
    pub(crate) smtp_source_seconds: Option<f64>,
    pub(crate) smtp_source_messages: u32,
}

/// One workload in one round.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Measured {
    pub(crate) accepted: u64,
    pub(crate) failed: u64,
    pub(crate) seconds: f64,
    pub(crate) cpu_seconds: f64,
    pub(crate) transaction: Recorded,
    pub(crate) data_to_250: Recorded,
}

impl Measured {
    pub(crate) fn cpu_microseconds(&self) -> f64 {
        self.cpu_seconds * 1e6 / self.accepted.max(1) as f64
    }

    pub(crate) fn rate(&self) -> f64 {
        self.accepted as f64 / self.seconds.max(1e-9)
    }
}

/// How large a comparison is.
#[derive(Clone, Copy, Debug)]
struct Extent {
    rounds: u32,
    seconds: f64,
    open_seconds: f64,
    held: u32,
    smtp_source_messages: u32,
}

const STANDARD: Extent = Extent {
    rounds: 3,
    seconds: 2.0,
    open_seconds: 4.0,
    held: 2_000,
    smtp_source_messages: 10_000,
};
const QUICK: Extent = Extent {
    rounds: 1,
    seconds: 0.5,
    open_seconds: 1.0,
    held: 100,
    smtp_source_messages: 500,
};

/// Messages a second of the open loop: all of them can take that.
const OPEN_RATE: f64 = 200.0;
/// How long the field's command may take.
const SMTP_SOURCE_PATIENCE: Duration = Duration::from_secs(60);

/// The closed loops: as many messages as fit into their time.
fn closed(extent: Extent) -> [(&'static str, Load); 2] {
    let base = Load {
        sessions: 100,
        messages: 200_000,
        seconds_max: extent.seconds,
        size: crate::job::Size::Fixed(5_000),
        pipelining: false,
        sources: 4,
        ..Load::default()
    };
    let connect = Load {
        name: "connect".to_owned(),
        per_connection: 1,
        ..base.clone()
    };
    let kept = Load {
        name: "kept".to_owned(),
        ..base
    };
    [("connect", connect), ("kept", kept)]
}

fn open(extent: Extent) -> Load {
    Load {
        name: "open".to_owned(),
        sessions: 20,
        messages: (OPEN_RATE * extent.open_seconds) as u64,
        rate: Some(Rate::steady(OPEN_RATE)),
        pipelining: false,
        size: crate::job::Size::Fixed(5_000),
        ..Load::default()
    }
}

/// Compares all that are there.
pub(crate) fn compare(setting: &Setting) -> Result<Comparison, Failure> {
    let extent = if setting.quick { QUICK } else { STANDARD };
    let extent = Extent {
        rounds: setting.rounds.unwrap_or(extent.rounds),
        ..extent
    };
    let (candidates, left_out) = candidates::all(setting);
    let mut servers: Vec<Compared> = candidates.iter().map(Candidate::described).collect();
    let mut busy = setting.busy;
    let mut missed = Vec::new();
    for round in 0..extent.rounds {
        for (candidate, compared) in candidates.iter().zip(&mut servers) {
            let used = process::Used::now();
            let began = Instant::now();
            let (ours, wrong) = turn(candidate, compared, extent, round == 0)?;
            missed.extend(wrong);
            let others = process::Used::now().by_others_since(used, ours);
            busy |= busy_share(others, began.elapsed()) > results::BUSY_SHARE;
            show(compared, round);
        }
    }
    Ok(Comparison {
        date: machine::today(),
        quick: setting.quick,
        busy,
        machine: Machine::this(),
        servers,
        left_out,
        missed,
    })
}

/// One server's turn in a round; the CPU seconds that it, the generators and we used, and what was lost or doubled.
fn turn(
    candidate: &Candidate,
    compared: &mut Compared,
    extent: Extent,
    first: bool,
) -> Result<(f64, Vec<String>), Failure> {
    let own = process::own_cpu_seconds();
    let server = candidate.start()?;
    let mut generators = 0.0;
    let mut tallies = Vec::new();
    let mut loads: Vec<(&str, Load)> = closed(extent).into();
    if first {
        loads.push(("open", open(extent)));
    }
    for (worker, (name, load)) in (1..).zip(loads) {
        let (measured, tally) = measure(&server, &load, worker)?;
        generators += tally.generator_cpu_seconds;
        compared
            .workloads
            .entry(name.to_owned())
            .or_default()
            .push(measured);
        tallies.push((load, tally));
    }
    let wrong = counted(&server, &tallies)?;
    if first {
        let (seconds, cpu) = smtp_source(&server, extent.smtp_source_messages)?;
        compared.smtp_source_seconds = seconds;
        compared.smtp_source_messages = extent.smtp_source_messages;
        generators += cpu;
    }
    let mut used = process::cpu_seconds(server.pid());
    server.stop()?;
    if first {
        // A server that has seen nothing yet: memory that it keeps for later would hide what a connection takes.
        let server = candidate.start()?;
        let (held, each) = hold(&server, extent.held.min(candidate.connections_max))?;
        compared.held = held;
        compared.connection_bytes = each;
        used += process::cpu_seconds(server.pid());
        server.stop()?;
    }
    let ours = generators + used + process::own_cpu_seconds() - own;
    Ok((ours, wrong))
}

fn measure(server: &Running, load: &Load, worker: u32) -> Result<(Measured, Tally), Failure> {
    let mut generators = Generators::numbered_from(worker);
    let cpu = process::cpu_seconds(server.pid());
    generators.start_at(load, 0, server.address(), None)?;
    generators.wait_until_done()?;
    let cpu_seconds = process::cpu_seconds(server.pid()) - cpu;
    let tally = generators
        .done
        .pop()
        .map(|done| done.tally)
        .ok_or_else(|| Failure::new("a generator said nothing"))?;
    let latency = |measure| {
        tally
            .latency(measure)
            .map(Recorded::coarse)
            .unwrap_or_default()
    };
    let measured = Measured {
        accepted: tally.accepted,
        failed: tally.failed_count() + tally.refused_count(),
        seconds: tally.seconds,
        cpu_seconds,
        transaction: latency(Measure::Transaction),
        data_to_250: latency(Measure::DataTo250),
    };
    Ok((measured, tally))
}

/// Memory of an idle connection that has said EHLO: the difference that so many of them make.
fn hold(server: &Running, sessions: u32) -> Result<(u64, Option<u64>), Failure> {
    let load = Load {
        name: "held".to_owned(),
        kind: Kind::Hold,
        sessions,
        seconds_max: 30.0,
        sources: 8,
        ..Load::default()
    };
    let mut generators = Generators::numbered_from(9);
    let before = process::memory_bytes(server.pid());
    generators.start_at(&load, 0, server.address(), None)?;
    let held = generators.wait_until_held()?;
    let memory = process::memory_bytes(server.pid()).saturating_sub(before);
    generators.release()?;
    generators.wait_until_done()?;
    Ok((held, memory.checked_div(held)))
}

/// The command that the field has always used; `None` if it failed.
fn smtp_source(server: &Running, messages: u32) -> Result<(Option<f64>, f64), Failure> {
    let began = Instant::now();
    let mut command = Command::new("smtp-source");
    command
        .args(["-c", "-l", "5000", "-s", "100", "-m", &messages.to_string()])
        .args([
            "-M",
            "client.example",
            "-f",
            "load@client.example",
            "-t",
            "source-0@mayfly.test",
        ])
        .arg(server.address().to_string())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let Ok(mut child) = command.spawn() else {
        return Ok((None, 0.0));
    };
    loop {
        let cpu = process::cpu_seconds_alone(child.id());
        match child.try_wait().map_err(Failure::at("smtp-source"))? {
            Some(status) => {
                return Ok((status.success().then(|| began.elapsed().as_secs_f64()), cpu));
            }
            None if began.elapsed() > SMTP_SOURCE_PATIENCE => {
                let _ = child.kill();
                let _ = child.wait();
                return Ok((None, cpu));
            }
            None => std::thread::sleep(Duration::from_millis(5)),
        }
    }
}

/// What went to mayfly must be there, once; sentences about what is not.
fn counted(server: &Running, tallies: &[(Load, Tally)]) -> Result<Vec<String>, Failure> {
    let Running::Mayfly(gateway) = server else {
        return Ok(Vec::new());
    };
    let workers = (1..).zip(tallies);
    let shares: Vec<count::Share<'_>> = workers
        .map(|(worker, (load, tally))| count::Share {
            load,
            worker,
            tally,
        })
        .collect();
    let place = Place {
        metrics: &gateway.metrics()?,
        api: gateway.http,
        domain: crate::run::DOMAIN,
    };
    let (_, wrong) = count::count(place, Counting::Markers, &shares)?;
    Ok(wrong)
}

fn show(compared: &Compared, round: u32) {
    print!("{:<16} round {}", compared.name, round + 1);
    for (name, rounds) in &compared.workloads {
        if let Some(last) = rounds.get(round as usize) {
            print!(
                "  {name}: {:.0} us, {}/s, p99 {}",
                last.cpu_microseconds(),
                grouped(last.rate() as u64),
                duration(last.transaction.quantile(0.99))
            );
        }
    }
    if let (0, Some(each)) = (round, compared.connection_bytes) {
        print!("  connection: {}", bytes(each));
    }
    println!();
}

/// Writes it where results are kept.
pub(crate) fn write(comparison: &Comparison, folder: &Path) -> Result<(), Failure> {
    results::write(folder, "comparison", comparison).map(|_| ())
}
