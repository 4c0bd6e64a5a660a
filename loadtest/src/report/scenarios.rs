//! The part of the page about the scenarios.

use super::svg::{Lines, Scale};
use super::{CHARTS, Files, latency, median, microseconds, rate as rate_cell, spread};
use crate::results::{Outcome, Round};
use crate::scenario::Counting;
use crate::summary::{bytes, grouped};
use crate::tally::{Measure, Recorded, Tally};
use std::fmt::Write as _;
use std::path::Path;

/// Scenarios whose latencies are drawn, if they were run.
const CURVES: [&str; 4] = ["open", "burst", "connections", "slow"];

pub(super) fn section(outcomes: &[Outcome], files: &mut Files) -> String {
    let mut page = "## Scenarios\n\n\
        | scenario | messages | sent = accepted = found | messages/s | CPU a message | transaction p50 | p99 | largest |\n|---|---|---|---|---|---|---|---|\n"
        .to_owned();
    for outcome in outcomes {
        page.push_str(&row(outcome));
    }
    page.push_str(
        "\nMedians of the rounds. Where mail expires while it is sent, what was delivered is there or has expired, by the metrics; where there are very many\n\
         mailboxes, some are read. In open loops a transaction counts from when it was meant to be sent, in closed loops from when it was begun; the rate of an\n\
         open loop is the one that was asked for. Results keep two digits of a latency, rounded up. The lists below are of each scenario's last round.\n\n",
    );
    if outcomes.iter().any(|outcome| outcome.busy) {
        page.push_str("\\* Other programs used more than 5 % of the machine meanwhile.\n\n");
    }
    for outcome in outcomes {
        page.push_str(&details(outcome));
    }
    charts(&mut page, outcomes, files);
    page
}

/// What sent mail, apart from what held connections.
fn sending(round: &Round) -> Tally {
    let mut total = Tally::default();
    round
        .loads
        .values()
        .filter(|tally| tally.accepted > 0)
        .for_each(|tally| total.merge(tally));
    total
}

fn row(outcome: &Outcome) -> String {
    let rounds = &outcome.rounds;
    let Some(first) = rounds.first() else {
        return String::new();
    };
    let middle = |of: &dyn Fn(&Round) -> f64| median(rounds.iter().map(of));
    let found = found(outcome);
    let time = |share: f64| {
        let quantile = |round: &Round| {
            sending(round)
                .latency(Measure::Transaction)
                .map_or(0.0, |recorded| recorded.quantile(share) as f64)
        };
        middle(&quantile).map_or_else(|| "–".to_owned(), |nanoseconds| latency(nanoseconds as u64))
    };
    let rate = |round: &Round| {
        let sent = sending(round);
        sent.accepted as f64 / sent.seconds.max(1e-9)
    };
    let cpu: Vec<f64> = rounds.iter().map(Round::cpu_microseconds).collect();
    format!(
        "| [{}](#{}){} | {} | {found} | {} | {} | {} | {} | {} |\n",
        outcome.scenario,
        anchor(&outcome.title),
        if outcome.busy { " \\*" } else { "" },
        grouped(first.counted.sent),
        middle(&rate).map_or_else(|| "–".to_owned(), rate_cell),
        spread(&cpu, microseconds),
        time(0.5),
        time(0.99),
        time(1.0)
    )
}

/// Whether all that was sent was accepted and found. Every round must have passed; the numbers are those of the first.
fn found(outcome: &Outcome) -> String {
    let missed: Vec<&str> = outcome
        .rounds
        .iter()
        .flat_map(|round| &round.missed)
        .map(String::as_str)
        .collect();
    if !missed.is_empty() {
        return format!("**FAILED**: {}", missed.join("; "));
    }
    let counted = outcome
        .rounds
        .first()
        .map(|round| round.counted)
        .unwrap_or_default();
    let copies = if counted.copies == counted.sent {
        String::new()
    } else {
        format!(" ({} copies)", grouped(counted.copies))
    };
    let where_found = match outcome.counting {
        Counting::Markers => format!("all{copies}"),
        Counting::Sample => format!(
            "all in the {} mailboxes that were read{copies}",
            grouped(counted.mailboxes)
        ),
        Counting::Metrics => format!("there or expired{copies}"),
    };
    format!(
        "{} = {} = {where_found}",
        grouped(counted.sent),
        grouped(counted.accepted)
    )
}

/// As GitHub makes it of a heading.
fn anchor(title: &str) -> String {
    let kept = title.to_lowercase();
    let kept = kept
        .chars()
        .filter(|c| c.is_alphanumeric() || *c == ' ' || *c == '-');
    kept.map(|c| if c == ' ' { '-' } else { c }).collect()
}

fn details(outcome: &Outcome) -> String {
    let mut out = format!("### {}\n\n{}\n\n", outcome.title, outcome.about);
    if outcome.quick {
        out.push_str("A quick run: few messages.\n\n");
    }
    let Some(round) = outcome.rounds.last() else {
        return out;
    };
    for (name, tally) in &round.loads {
        for sentence in sentences(tally) {
            let _ = writeln!(out, "- `{name}`: {sentence}");
        }
        for measure in Measure::ALL {
            if let Some(recorded) = tally.latency(measure) {
                let _ = writeln!(
                    out,
                    "- `{name}`, {}: {}",
                    measure.name(),
                    quantiles(recorded)
                );
            }
        }
    }
    let held = round.connections_held;
    let added = round.memory_held.saturating_sub(round.memory_before);
    if let Some(each) = added.checked_div(held) {
        let _ = writeln!(
            out,
            "- {} connections at once: {} of the server's memory each",
            grouped(held),
            bytes(each)
        );
    }
    let _ = writeln!(
        out,
        "- memory: {} at the start, {} at its highest",
        bytes(round.memory_before),
        bytes(round.memory_peak)
    );
    if let (Some(emptied), Some(left)) = (round.emptied, round.memory_left_percent()) {
        let _ = writeln!(
            out,
            "- {} expired, none more than {} s after its time; the last {:.1} s after the last was sent. Memory was then {}: {left:.1} % of what mail had taken was left",
            grouped(emptied.expired),
            emptied.lag_seconds_max,
            emptied.seconds,
            bytes(emptied.memory)
        );
    }
    out.push('\n');
    out
}

fn sentences(tally: &Tally) -> Vec<String> {
    let mut out = Vec::new();
    let list = |counts: &std::collections::BTreeMap<u16, u64>| {
        let each: Vec<String> = counts
            .iter()
            .map(|(code, count)| format!("{} with {code}", grouped(*count)))
            .collect();
        each.join(", ")
    };
    if tally.handshakes_full + tally.handshakes_resumed > 0 {
        let (full, resumed) = (
            grouped(tally.handshakes_full),
            grouped(tally.handshakes_resumed),
        );
        out.push(format!("{full} full handshakes, {resumed} resumed"));
    }
    if !tally.refused.is_empty() {
        out.push(format!("refused: {}", list(&tally.refused)));
    }
    if tally.held > 0 {
        out.push(format!(
            "{} connections held to the end, {} of them answered then",
            grouped(tally.held),
            grouped(tally.answered)
        ));
    }
    if !tally.ended.is_empty() {
        out.push(format!(
            "ended by the server while held: {}",
            list(&tally.ended)
        ));
    }
    if tally.events > 0 {
        out.push(format!(
            "{} events for {} messages",
            grouped(tally.events),
            grouped(tally.copies)
        ));
    }
    if tally.reads > 0 {
        out.push(format!("{} messages read", grouped(tally.reads)));
    }
    out
}

fn quantiles(recorded: &Recorded) -> String {
    let shown = crate::summary::QUANTILES
        .iter()
        .map(|(name, share)| format!("{name} {}", latency(recorded.quantile(*share))));
    shown.collect::<Vec<_>>().join(", ")
}

fn charts(page: &mut String, outcomes: &[Outcome], files: &mut Files) {
    let named = |name: &str| outcomes.iter().find(|outcome| outcome.scenario == name);
    let curves: Vec<(String, Vec<(f64, f64)>)> = CURVES
        .iter()
        .filter_map(|name| named(name))
        .filter_map(|outcome| {
            let recorded = outcome.rounds.last().map(sending)?;
            let recorded = recorded.latency(Measure::Transaction)?.clone();
            Some((outcome.title.clone(), curve(&recorded)))
        })
        .collect();
    if !curves.is_empty() {
        let chart = Lines {
            title: "Latency of a message, by percentile",
            subtitle: "Open loops, from when each message was meant to be sent. Powers of ten on both axes.",
            marks: [0.0, 50.0, 90.0, 99.0, 99.9, 99.99]
                .map(|percent| (nines(percent / 100.0), format!("{percent} %")))
                .to_vec(),
            lines: curves,
            scale: Scale::Decades,
            shown: |value| latency(value as u64),
        };
        files.insert(
            Path::new(CHARTS).join("benchmarks-percentiles.svg"),
            chart.svg(),
        );
        page.push_str("![Latency of a message by percentile, for open loops](images/benchmarks-percentiles.svg)\n\n");
    }
    if let Some(round) = named("expiry").and_then(|outcome| outcome.rounds.last()) {
        let most = round
            .memory
            .last()
            .map_or(1.0, |(seconds, _)| *seconds)
            .max(1.0);
        let chart = Lines {
            title: "Resident memory while as much expires as comes",
            subtitle: "The scenario \"expiry\": it must level off.",
            marks: (0..=4)
                .map(|quarter| most * f64::from(quarter) / 4.0)
                .map(|at| (at, format!("{at:.0} s")))
                .collect(),
            lines: vec![(
                "resident memory".to_owned(),
                round
                    .memory
                    .iter()
                    .map(|(at, size)| (*at, *size as f64))
                    .collect(),
            )],
            scale: Scale::Linear,
            shown: |value| bytes(value as u64),
        };
        files.insert(Path::new(CHARTS).join("benchmarks-expiry.svg"), chart.svg());
        page.push_str("![Resident memory over time while as much expires as comes](images/benchmarks-expiry.svg)\n\n");
    }
}

/// How many nines a share has: 0.9 is 1, 0.99 is 2.
fn nines(share: f64) -> f64 {
    -(1.0 - share).max(1e-5).log10()
}

/// Latency over nines.
fn curve(recorded: &Recorded) -> Vec<(f64, f64)> {
    let last = nines(1.0 - 1.0 / recorded.count().max(1) as f64);
    let steps = (0..=80).map(|step| last * f64::from(step) / 80.0);
    steps
        .map(|nines| (nines, recorded.quantile(1.0 - 10_f64.powf(-nines)) as f64))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::results::Counted;

    #[test]
    fn a_loss_is_no_success() {
        let counted = |found, accepted| Counted {
            sent: 10,
            accepted,
            copies: 10,
            delivered: 10,
            found,
            mailboxes: 2,
            ..Counted::default()
        };
        let outcome = |counting, counted, missed: &[&str]| Outcome {
            counting,
            rounds: vec![
                Round {
                    counted,
                    ..Round::default()
                },
                Round {
                    counted,
                    missed: missed.iter().map(|it| (*it).to_owned()).collect(),
                    ..Round::default()
                },
            ],
            ..Outcome::default()
        };
        for (outcome, cell) in [
            (
                outcome(Counting::Markers, counted(10, 10), &[]),
                "10 = 10 = all",
            ),
            (
                outcome(Counting::Sample, counted(4, 10), &[]),
                "10 = 10 = all in the 2 mailboxes that were read",
            ),
            (
                outcome(Counting::Metrics, counted(0, 10), &[]),
                "10 = 10 = there or expired",
            ),
            (
                outcome(Counting::Markers, counted(9, 10), &["1 copies lost"]),
                "**FAILED**: 1 copies lost",
            ),
            (
                outcome(Counting::Metrics, counted(0, 9), &["accepted: 9", "late"]),
                "**FAILED**: accepted: 9; late",
            ),
        ] {
            assert_eq!(found(&outcome), cell);
            assert!(row(&outcome).contains(cell));
        }
    }

    #[test]
    fn headings_are_where_links_lead() {
        assert_eq!(anchor("The field's classic"), "the-fields-classic");
        assert_eq!(
            anchor("50,000 connections, and mail"),
            "50000-connections-and-mail"
        );
    }

    #[test]
    fn a_curve_ends_at_its_largest_value() {
        let recorded = Recorded((1..=1000).map(|value| (value, 1)).collect());
        let curve = curve(&recorded);
        assert!((nines(0.999) - 3.0).abs() < 1e-9);
        assert_eq!(curve.first().map(|(_, value)| *value as u64), Some(1));
        assert!(
            curve
                .last()
                .is_some_and(|(nines, value)| (nines - 3.0).abs() < 1e-9 && *value >= 998.0)
        );
    }
}
