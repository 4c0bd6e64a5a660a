//! The path of one scenario: start a server, let the generators at it, count, stop it, judge.

use crate::arguments::Setting;
use crate::count::{self, Place, Share};
use crate::failure::Failure;
use crate::generators::Generators;
use crate::job::{Kind, Load};
use crate::machine::{self, Machine};
use crate::process;
use crate::results::{Counted, Emptied, Outcome, Round, busy_share, growth_percent};
use crate::scenario::Scenario;
use crate::server::Server;
use crate::summary::{self, bytes, grouped};
use crate::tally::Tally;
use crate::thresholds::Memory;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// The domain that config/loadtest.toml receives for.
pub(crate) const DOMAIN: &str = "mayfly.test";
/// How often resident memory is looked at.
const SAMPLE_EVERY: Duration = Duration::from_millis(250);
/// The most samples of one round.
const SAMPLES_MAX: usize = 4_000;
/// How long after the last message has gone memory is looked at: the allocator gives pages back some time after they are free.
const SETTLES_IN: Duration = Duration::from_secs(2);

/// Runs a scenario; its outcome holds what was missed.
pub(crate) fn scenario(
    name: &str,
    scenario: &Scenario,
    setting: &Setting,
) -> Result<Outcome, Failure> {
    let mut rounds = Vec::new();
    let mut commit = String::new();
    for _ in 0..setting.rounds.unwrap_or(scenario.rounds) {
        let round;
        (round, commit) = self::round(scenario, setting)?;
        show(name, &round);
        rounds.push(round);
    }
    Ok(Outcome {
        scenario: name.to_owned(),
        title: scenario.title.clone(),
        about: scenario.about.clone(),
        date: machine::today(),
        quick: setting.quick,
        busy: setting.busy || Outcome::measured_busy(&rounds),
        machine: Machine::this(),
        commit,
        counting: scenario.counting,
        rounds,
    })
}

/// One round, and the commit that the server says it was built from.
fn round(scenario: &Scenario, setting: &Setting) -> Result<(Round, String), Failure> {
    let server = Server::start(&setting.binary, &setting.config, scenario)?;
    let page = server.metrics()?;
    let commit = page
        .label("mayfly_build_info", "commit")
        .unwrap_or_default();
    let mut round = Round {
        memory_before: process::memory_bytes(server.pid()),
        ..Round::default()
    };
    let (used, own, cpu, began) = (
        process::Used::now(),
        process::own_cpu_seconds(),
        process::cpu_seconds(server.pid()),
        Instant::now(),
    );
    let sampler = Sampler::start(server.pid());
    let mut generators = Generators::default();
    all_steps(scenario, &server, &mut generators, &mut round)?;
    if scenario.until_empty_seconds > 0.0 {
        round.emptied = Some(until_empty(&server, scenario.until_empty_seconds)?);
    }
    round.seconds = began.elapsed().as_secs_f64();
    round.server_cpu_seconds = process::cpu_seconds(server.pid()) - cpu;
    round.memory = sampler.stop();
    let generator_cpu: f64 = generators
        .done
        .iter()
        .map(|done| done.tally.generator_cpu_seconds)
        .sum();
    let own = process::own_cpu_seconds() - own;
    let ours = round.server_cpu_seconds + generator_cpu + own;
    let others = process::Used::now().by_others_since(used, ours);
    round.others_cpu_share = busy_share(others, Duration::from_secs_f64(round.seconds));
    round.memory_peak = round
        .memory
        .iter()
        .map(|(_, bytes)| *bytes)
        .max()
        .unwrap_or_default();
    round.memory_growth_percent = growth_percent(&round.memory);
    let shares: Vec<Share<'_>> = generators
        .done
        .iter()
        .map(|done| Share {
            load: &scenario.loads[done.load],
            worker: done.worker,
            tally: &done.tally,
        })
        .collect();
    let place = Place {
        metrics: &server.metrics()?,
        api: server.http,
        domain: DOMAIN,
    };
    let (counted, wrong) = count::count(place, scenario.counting, &shares)?;
    round.counted = counted;
    for done in &generators.done {
        round
            .loads
            .entry(scenario.loads[done.load].name.clone())
            .or_default()
            .merge(&done.tally);
    }
    round.missed = wrong;
    round.missed.extend(judged(scenario, &round));
    server.stop()?;
    Ok((round, commit.to_owned()))
}

fn judged(scenario: &Scenario, round: &Round) -> Vec<String> {
    let mut total = Tally::default();
    let mut missed = Vec::new();
    for load in &scenario.loads {
        let Some(tally) = round.loads.get(&load.name) else {
            continue;
        };
        total.merge(tally);
        let name = &load.name;
        if load.watch {
            missed.extend(told(name, "events", tally.events, tally.copies));
            missed.extend(told(
                name,
                "events that came again",
                tally.events_doubled,
                0,
            ));
        }
        // Where each mailbox has a reader, each copy is read.
        let read = scenario
            .read_by(load)
            .filter(|read| load.kind == Kind::Read && read.mailboxes == u64::from(load.sessions));
        if let Some(sent) = read.and_then(|read| round.loads.get(&read.name)) {
            missed.extend(told(name, "messages read", tally.reads, sent.copies));
            missed.extend(told(name, "messages read again", tally.reads_doubled, 0));
        }
        if !load.refusals_expected && tally.refused_count() > scenario.thresholds.refused_max {
            missed.push(format!(
                "{}: {} refused",
                load.name,
                grouped(tally.refused_count())
            ));
        }
    }
    let left = round.emptied.map_or(0, |emptied| emptied.left);
    missed.extend(told("the end", "messages left", left, 0));
    let memory = Memory {
        growth_percent: round.memory_growth_percent,
        left_percent: round.memory_left_percent(),
        expiry_lag_seconds: round.emptied.map(|emptied| emptied.lag_seconds_max),
    };
    missed.extend(scenario.thresholds.judge(&total, memory));
    missed
}

fn told(name: &str, what: &str, count: u64, expected: u64) -> Option<String> {
    let (shown, wanted) = (grouped(count), grouped(expected));
    (count != expected).then(|| format!("{name}: {what}: {shown}, not {wanted}"))
}

/// Waits until all mail has expired and its memory had time to go back.
fn until_empty(server: &Server, seconds: f64) -> Result<Emptied, Failure> {
    let began = Instant::now();
    loop {
        let metrics = server.metrics()?;
        let left = metrics.count("mayfly_store_messages");
        let waited = began.elapsed().as_secs_f64();
        if left == 0 || waited > seconds {
            std::thread::sleep(SETTLES_IN);
            return Ok(Emptied {
                expired: metrics.count("mayfly_store_gone_total"),
                left,
                seconds: waited,
                lag_seconds_max: metrics.highest_bucket("mayfly_store_expiry_lag_seconds"),
                memory: process::memory_bytes(server.pid()),
            });
        }
        std::thread::sleep(SAMPLE_EVERY);
    }
}

fn all_steps(
    scenario: &Scenario,
    server: &Server,
    generators: &mut Generators,
    round: &mut Round,
) -> Result<(), Failure> {
    for (index, step) in scenario.steps().into_iter().enumerate() {
        if index > 0 {
            std::thread::sleep(Duration::from_secs_f64(scenario.pause_seconds));
        }
        let all = scenario.loads.iter().enumerate();
        let loads: Vec<(usize, &Load)> = all.filter(|(_, load)| load.step == step).collect();
        step_of(&loads, server, generators, round)?;
    }
    Ok(())
}

/// The loads of one step: what holds first, then what sends; what holds is let go when all is sent.
fn step_of(
    loads: &[(usize, &Load)],
    server: &Server,
    generators: &mut Generators,
    round: &mut Round,
) -> Result<(), Failure> {
    let holding = loads.iter().filter(|(_, load)| load.kind != Kind::Send);
    for (place, load) in holding.clone() {
        generators.start(load, *place, server)?;
    }
    if holding.count() > 0 {
        let open = generators.wait_until_held()?;
        if open > round.connections_held {
            round.connections_held = open;
            round.memory_held = process::memory_bytes(server.pid());
        }
    }
    for (place, load) in loads.iter().filter(|(_, load)| load.kind == Kind::Send) {
        generators.start(load, *place, server)?;
    }
    generators.wait_until_sent()?;
    generators.release()?;
    generators.wait_until_done()
}

/// Resident memory over time.
struct Sampler {
    ended: Arc<AtomicBool>,
    thread: JoinHandle<Vec<(f64, u64)>>,
}

impl Sampler {
    fn start(pid: u32) -> Self {
        let ended = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&ended);
        let began = Instant::now();
        let thread = std::thread::spawn(move || {
            let mut samples = Vec::new();
            while !seen.load(Ordering::Relaxed) && samples.len() < SAMPLES_MAX {
                samples.extend(
                    process::resident(pid).map(|bytes| (began.elapsed().as_secs_f64(), bytes)),
                );
                std::thread::sleep(SAMPLE_EVERY);
            }
            samples
        });
        Self { ended, thread }
    }

    fn stop(self) -> Vec<(f64, u64)> {
        self.ended.store(true, Ordering::Relaxed);
        self.thread.join().unwrap_or_default()
    }
}

fn show(name: &str, round: &Round) {
    println!("== {name}");
    for (name, tally) in &round.loads {
        print!("{}", summary::text(name, tally));
    }
    let Counted {
        sent,
        accepted,
        copies,
        delivered,
        found,
        mailboxes,
        ..
    } = round.counted;
    println!(
        "sent {} = accepted {}; copies {} = delivered {}",
        grouped(sent),
        grouped(accepted),
        grouped(copies),
        grouped(delivered)
    );
    if mailboxes > 0 {
        println!(
            "found {} in {} mailboxes that were read",
            grouped(found),
            grouped(mailboxes)
        );
    }
    println!(
        "server: {:.2} s of CPU, {:.1} us a message; memory {} before, {} at its highest; others used {:.0} % of the machine",
        round.server_cpu_seconds,
        round.cpu_microseconds(),
        bytes(round.memory_before),
        bytes(round.memory_peak),
        round.others_cpu_share * 100.0
    );
    let held = round.connections_held;
    if let Some(each) = round
        .memory_held
        .saturating_sub(round.memory_before)
        .checked_div(held)
    {
        println!(
            "held {} connections at once: {} of memory each",
            grouped(held),
            bytes(each)
        );
    }
    if let (Some(emptied), Some(left)) = (round.emptied, round.memory_left_percent()) {
        println!(
            "{} expired, none more than {} s late; memory then {}, {left:.1} % of what mail had taken is left",
            grouped(emptied.expired),
            emptied.lag_seconds_max,
            bytes(emptied.memory)
        );
    }
    match round.missed.as_slice() {
        [] => println!("passed"),
        missed => println!("MISSED: {}", missed.join("; ")),
    }
}
