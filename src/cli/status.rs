//! `mayfly status`: how a mayfly does, asked on the operator's side.

use super::http::{Base, Call, Client};
use super::output::{Ink, Terminal, ended, print_data};
use super::{Exit, Failure, harmless};
use crate::control::status::Status;
use clap::Args;
use serde_json::Value;
use std::fmt::Write as _;
use std::time::Duration;

/// Where the operator's side listens with the defaults.
const DEFAULT_OPERATOR: &str = "http://127.0.0.1:9925";

/// Which mayfly.
#[derive(Args, Debug)]
pub(super) struct Operator {
    /// The operator's listener; MAYFLY_OPERATOR, else http://127.0.0.1:9925.
    #[arg(long, value_name = "URL")]
    operator: Option<String>,
}

impl Operator {
    /// A client of it.
    pub(super) fn client(&self) -> Result<Client, Failure> {
        let variable = || {
            std::env::var("MAYFLY_OPERATOR")
                .ok()
                .filter(|text| !text.is_empty())
        };
        let named = self.operator.clone().or_else(variable);
        let base = Base::parse(named.as_deref().unwrap_or(DEFAULT_OPERATOR))?;
        let help = "start it (`mayfly`), or name its operator's listener with --operator or MAYFLY_OPERATOR";
        Ok(Client::new(base)?.helped_by(help))
    }
}

/// The arguments of `mayfly status`.
#[derive(Args, Debug)]
pub struct StatusArguments {
    #[command(flatten)]
    operator: Operator,
    /// Prints JSON, errors included.
    #[arg(long)]
    json: bool,
}

/// Shows how a mayfly does. It is a failure when it takes no mail.
#[must_use]
pub fn run(arguments: &StatusArguments) -> Exit {
    ended(show(arguments), arguments.json)
}

fn show(arguments: &StatusArguments) -> Result<Exit, Failure> {
    let client = arguments.operator.client()?;
    let answer = client.json(&Call::get("/status", None))?;
    let status = read(&client, answer.clone())?;
    let text = match arguments.json {
        true => harmless::json(&answer) + "\n",
        false => in_words(&status, Terminal::of_stdout()),
    };
    print_data(text.as_bytes())?;
    Ok(match status.phase.as_str() {
        "ready" => Exit::Fine,
        _ => Exit::Failure,
    })
}

/// What `/status` says.
pub(super) fn read(client: &Client, answer: Value) -> Result<Status, Failure> {
    serde_json::from_value(answer).map_err(|_| client.no_mayfly("/status says something else"))
}

fn in_words(status: &Status, terminal: Terminal) -> String {
    let mut text = String::new();
    let mut fact = |name: &str, value: String| {
        let _ = writeln!(text, "{name:<12}{value}");
    };
    let phase = match status.phase.as_str() {
        "ready" => terminal.paint(Ink::Green, "ready"),
        other => terminal.paint(Ink::Red, &harmless::line(other)),
    };
    let uptime = humantime::format_duration(Duration::from_secs(status.uptime));
    fact("mayfly", harmless::line(&status.version).into_owned());
    fact("phase", phase);
    // Until it is ready it has not begun.
    if !status.started_at.is_empty() {
        let since = harmless::line(&status.started_at);
        fact("up", format!("{uptime}, since {since}"));
    }
    let pressure = &status.pressure;
    let ink = match pressure.level.as_str() {
        "normal" => Ink::Green,
        "strained" => Ink::Yellow,
        _ => Ink::Red,
    };
    let cause = match pressure.cause.as_str() {
        "calm" => String::new(),
        cause => format!(" ({})", harmless::line(cause)),
    };
    fact(
        "pressure",
        terminal.paint(ink, &harmless::line(&pressure.level)) + &cause,
    );
    let memory = &status.memory;
    fact("memory", share(memory.used, memory.limit, bytes));
    let sum = |each: fn(&crate::control::status::CoreStatus) -> u64| {
        status.cores.iter().map(each).sum::<u64>()
    };
    fact(
        "connections",
        share(
            sum(|core| core.connections),
            status.limits.connections,
            |n| n.to_string(),
        ),
    );
    fact(
        "http",
        format!(
            "{} connections, {} event streams",
            status.http_connections, status.event_streams
        ),
    );
    fact("mailboxes", sum(|core| core.mailboxes).to_string());
    fact("messages", sum(|core| core.messages).to_string());
    text + &cores(status)
}

/// A line for each core.
fn cores(status: &Status) -> String {
    let mut text = String::new();
    let _ = writeln!(
        text,
        "\n{:>4} {:>12} {:>10} {:>10} {:>12} {:>10} {:>8}",
        "core", "connections", "mailboxes", "messages", "accepted", "bytes", "waiting"
    );
    for core in &status.cores {
        let _ = writeln!(
            text,
            "{:>4} {:>12} {:>10} {:>10} {:>12} {:>10} {:>8}",
            core.core,
            core.connections,
            core.mailboxes,
            core.messages,
            core.accepted,
            bytes(core.accepted_bytes),
            core.waiting
        );
    }
    text
}

/// So much of so much; a limit of 0 is none.
fn share(used: u64, limit: u64, shown: impl Fn(u64) -> String) -> String {
    match limit {
        0 => shown(used),
        limit => {
            let percent = used.saturating_mul(100) / limit;
            format!("{} of {} ({percent} %)", shown(used), shown(limit))
        }
    }
}

/// A number of bytes that people can read: `1.5 MiB`.
pub(super) fn bytes(bytes: u64) -> String {
    let units = [(40, "TiB"), (30, "GiB"), (20, "MiB"), (10, "KiB")];
    for (shift, unit) in units {
        if bytes >> shift > 0 {
            let tenths = (u128::from(bytes) * 10) >> shift;
            return format!("{}.{} {unit}", tenths / 10, tenths % 10);
        }
    }
    format!("{bytes} B")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::status::{CoreStatus, LimitsStatus, MemoryStatus, PressureStatus};

    #[test]
    fn a_status_is_told_in_words() {
        let status = Status {
            version: "0.1.0".to_owned(),
            phase: "ready".to_owned(),
            started_at: "2026-11-22T10:00:00Z".to_owned(),
            uptime: 3_661,
            pressure: PressureStatus {
                level: "strained".to_owned(),
                cause: "memory".to_owned(),
            },
            memory: MemoryStatus {
                used: 768 << 20,
                limit: 1 << 30,
            },
            cores: vec![CoreStatus {
                connections: 3,
                accepted: 12,
                accepted_bytes: 50_000,
                ..CoreStatus::default()
            }],
            limits: LimitsStatus {
                connections: 50_000,
                ..LimitsStatus::default()
            },
            ..Status::default()
        };
        let plain = Terminal {
            is_terminal: false,
            colours: false,
        };
        let expected = "\
mayfly      0.1.0
phase       ready
up          1h 1m 1s, since 2026-11-22T10:00:00Z
pressure    strained (memory)
memory      768.0 MiB of 1.0 GiB (75 %)
connections 3 of 50000 (0 %)
http        0 connections, 0 event streams
mailboxes   0
messages    0

core  connections  mailboxes   messages     accepted      bytes  waiting
   0            3          0          0           12   48.8 KiB        0
";
        assert_eq!(in_words(&status, plain), expected);
        let starting = Status {
            phase: "starting".to_owned(),
            ..Status::default()
        };
        assert!(!in_words(&starting, plain).contains("since"));
    }

    #[test]
    fn bytes_are_rounded_down_to_a_tenth() {
        for (number, shown) in [
            (0, "0 B"),
            (1_023, "1023 B"),
            (1_536, "1.5 KiB"),
            (u64::MAX, "16777215.9 TiB"),
        ] {
            assert_eq!(bytes(number), shown);
        }
        assert_eq!(share(5, 0, |n| n.to_string()), "5");
    }
}
