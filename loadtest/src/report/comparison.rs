//! The part of the page that compares servers.

use super::svg::Bars;
use super::{CHARTS, Files, latency, median, microseconds, rate as rate_cell, spread};
use crate::compare::{Compared, Comparison, Measured};
use crate::summary::{bytes, grouped};
use std::fmt::Write as _;
use std::path::Path;

pub(super) fn section(comparison: &Comparison, files: &mut Files) -> String {
    let mut page = "## Side by side\n\n\
        The same loads for each server in turn, in one run, each with its defaults but for limits on one client. 5,000 bytes of body, a hundred\n\
        sessions without pipelining; *connect* opens a connection for each message, *kept* keeps them, *steady* is an open loop of 200\n\
        messages a second. CPU time is that of the whole process tree.\n\n\
        Mind the second column. A sink that drops what it reads is the least a server can do; Postfix syncs each message to disk before its 250 and\n\
        promises more than a server that keeps mail in RAM.\n\n"
        .to_owned();
    let by_kept = |compared: &Compared| cpu(compared, "kept").unwrap_or(f64::MAX);
    let mut servers: Vec<&Compared> = comparison.servers.iter().collect();
    servers.sort_by(|a, b| by_kept(a).total_cmp(&by_kept(b)));
    page.push_str("| server | what its 250 means | CPU a message, connect | kept | steady | messages/s, connect | kept |\n|---|---|---|---|---|---|---|\n");
    for compared in &servers {
        let column = |workload: &str| {
            spread(
                &figures(compared, workload, Measured::cpu_microseconds),
                microseconds,
            )
        };
        let rate = |workload: &str| {
            median(figures(compared, workload, Measured::rate).into_iter())
                .map_or_else(|| "–".to_owned(), rate_cell)
        };
        let _ = writeln!(
            page,
            "| {} {} | {} | {} | {} | {} | {} | {} |",
            compared.name,
            version(compared),
            compared.class,
            column("connect"),
            column("kept"),
            column("open"),
            rate("connect"),
            rate("kept")
        );
    }
    page.push_str("\nMedian (smallest–largest) of the rounds.");
    if comparison.busy {
        page.push_str(
            " **Other programs used more than 5 % of the machine during at least one turn.**",
        );
    }
    page.push_str("\n\n");
    for sentence in &comparison.missed {
        let _ = writeln!(page, "- **FAILED**: {sentence}");
    }
    page.push_str("| server | steady: data to 250, p50 | p99 | kept, saturated: p50 | p99 | memory of a connection | `smtp-source -c -l 5000 -s 100` |\n|---|---|---|---|---|---|---|\n");
    for compared in &servers {
        page.push_str(&latencies(compared));
    }
    page.push_str("\nA connection's memory is what so many idle ones that have said EHLO add to the server's processes, divided by their number; the kernel's share is not in it.\n\n");
    for sentence in &comparison.left_out {
        let _ = writeln!(page, "- left out: {sentence}");
    }
    if !comparison.left_out.is_empty() {
        page.push('\n');
    }
    charts(&mut page, &servers, files);
    page
}

fn version(compared: &Compared) -> String {
    if compared.version.is_empty() {
        String::new()
    } else {
        format!("({})", compared.version)
    }
}

fn figures(compared: &Compared, workload: &str, of: fn(&Measured) -> f64) -> Vec<f64> {
    let rounds = compared
        .workloads
        .get(workload)
        .map(Vec::as_slice)
        .unwrap_or_default();
    rounds
        .iter()
        .filter(|measured| measured.accepted > 0)
        .map(of)
        .collect()
}

fn cpu(compared: &Compared, workload: &str) -> Option<f64> {
    median(figures(compared, workload, Measured::cpu_microseconds).into_iter())
}

/// A quantile in milliseconds, the median of the rounds.
fn quantile(compared: &Compared, workload: &str, share: f64, to_250: bool) -> Option<f64> {
    let rounds = compared.workloads.get(workload)?;
    let recorded = rounds.iter().map(|measured| {
        if to_250 {
            &measured.data_to_250
        } else {
            &measured.transaction
        }
    });
    median(
        recorded
            .filter(|recorded| recorded.count() > 0)
            .map(|recorded| recorded.quantile(share) as f64),
    )
}

fn latencies(compared: &Compared) -> String {
    let time = |workload, share, to_250| {
        quantile(compared, workload, share, to_250)
            .map_or_else(|| "–".to_owned(), |nanoseconds| latency(nanoseconds as u64))
    };
    let memory = compared.connection_bytes.map_or_else(
        || "–".to_owned(),
        |each| format!("{} ({} held)", bytes(each), grouped(compared.held)),
    );
    let field = compared.smtp_source_seconds.map_or_else(
        || "–".to_owned(),
        |seconds| {
            format!(
                "{} messages in {seconds:.1} s",
                grouped(u64::from(compared.smtp_source_messages))
            )
        },
    );
    format!(
        "| {} | {} | {} | {} | {} | {memory} | {field} |\n",
        compared.name,
        time("open", 0.5, true),
        time("open", 0.99, true),
        time("kept", 0.5, false),
        time("kept", 0.99, false)
    )
}

fn charts(page: &mut String, servers: &[&Compared], files: &mut Files) {
    let bars = Bars {
        title: "CPU time for a message",
        subtitle: "Microseconds, user and system, the whole process tree; 5,000 bytes, a hundred sessions. Less is better.",
        series: &["a connection each", "kept connections"],
        groups: servers
            .iter()
            .map(|compared| {
                (
                    compared.name.clone(),
                    vec![cpu(compared, "connect"), cpu(compared, "kept")],
                )
            })
            .collect(),
        shown: microseconds,
    };
    let memory = Bars {
        title: "Memory of an idle connection",
        subtitle: "In the server's processes, after EHLO. Less is better.",
        series: &["bytes"],
        groups: servers
            .iter()
            .map(|compared| {
                (
                    compared.name.clone(),
                    vec![compared.connection_bytes.map(|each| each as f64)],
                )
            })
            .collect(),
        shown: |value| bytes(value as u64),
    };
    let latency = Bars {
        title: "From the end of data to the 250",
        subtitle: "200 messages a second, an open loop. Less is better.",
        series: &["p50", "p99"],
        groups: servers
            .iter()
            .map(|compared| {
                (
                    compared.name.clone(),
                    vec![
                        quantile(compared, "open", 0.5, true),
                        quantile(compared, "open", 0.99, true),
                    ],
                )
            })
            .collect(),
        shown: |value| latency(value as u64),
    };
    for (name, bars, text) in [
        (
            "benchmarks-cpu.svg",
            bars,
            "CPU time for a message, by server",
        ),
        (
            "benchmarks-memory.svg",
            memory,
            "Memory of an idle connection, by server",
        ),
        (
            "benchmarks-latency.svg",
            latency,
            "From the end of data to the 250, by server",
        ),
    ] {
        files.insert(Path::new(CHARTS).join(name), bars.svg());
        let _ = writeln!(page, "![{text}](images/{name})\n");
    }
}
