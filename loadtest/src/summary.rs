//! What was measured, for people.

use crate::tally::{Measure, Recorded, Tally};
use std::fmt::Write as _;

/// The quantiles that are shown, with their names.
pub(crate) const QUANTILES: [(&str, f64); 5] = [
    ("p50", 0.5),
    ("p90", 0.9),
    ("p99", 0.99),
    ("p99.9", 0.999),
    ("max", 1.0),
];

/// The whole of a tally, in lines.
pub(crate) fn text(name: &str, tally: &Tally) -> String {
    let mut out = String::new();
    // Writing into memory does not fail.
    let _ = writeln!(
        out,
        "{name}: {} messages accepted ({} copies, {}) in {:.2} s: {:.0}/s",
        grouped(tally.accepted),
        grouped(tally.copies),
        bytes(tally.bytes),
        tally.seconds,
        tally.accepted as f64 / tally.seconds.max(1e-9)
    );
    let _ = writeln!(
        out,
        "  connections {}, handshakes {} full and {} resumed; generator {:.1} us of CPU a message",
        grouped(tally.connections),
        grouped(tally.handshakes_full),
        grouped(tally.handshakes_resumed),
        tally.generator_cpu_seconds * 1e6 / tally.accepted.max(1) as f64
    );
    if tally.held > 0 || !tally.ended.is_empty() {
        let _ = writeln!(
            out,
            "  held {} until the end, {} still answered; ended by the server: {}",
            grouped(tally.held),
            grouped(tally.answered),
            counts(&tally.ended)
        );
    }
    if tally.events + tally.reads > 0 {
        let _ = writeln!(
            out,
            "  events {}, messages read {}",
            grouped(tally.events),
            grouped(tally.reads)
        );
    }
    if tally.refused_count() + tally.failed_count() + tally.unsent > 0 {
        let _ = writeln!(
            out,
            "  refused: {}; failed: {}; unsent: {}",
            counts(&tally.refused),
            counts(&tally.failed),
            grouped(tally.unsent)
        );
    }
    for measure in Measure::ALL {
        if let Some(recorded) = tally.latency(measure) {
            let _ = writeln!(out, "  {:<12}{}", measure.name(), quantiles(recorded));
        }
    }
    out
}

fn quantiles(recorded: &Recorded) -> String {
    let shown = QUANTILES
        .iter()
        .map(|(name, share)| format!("{name} {:<9}", duration(recorded.quantile(*share))));
    let shown: Vec<String> = shown.collect();
    format!(
        "{} mean {}",
        shown.join(" "),
        duration(recorded.mean() as u64)
    )
}

fn counts<K: std::fmt::Display>(counts: &std::collections::BTreeMap<K, u64>) -> String {
    if counts.is_empty() {
        return "none".to_owned();
    }
    let each: Vec<String> = counts
        .iter()
        .map(|(what, count)| format!("{what} {}", grouped(*count)))
        .collect();
    each.join(", ")
}

/// Nanoseconds as people say them, with three digits.
pub(crate) fn duration(nanoseconds: u64) -> String {
    duration_of(nanoseconds, 3)
}

/// Nanoseconds with so many digits, two or three, from a millisecond on.
pub(crate) fn duration_of(nanoseconds: u64, digits: usize) -> String {
    let value = nanoseconds as f64;
    let (one, two) = (digits - 1, digits - 2);
    match nanoseconds {
        0..1_000_000 => format!("{:.0} us", value / 1e3),
        1_000_000..10_000_000 => format!("{:.one$} ms", value / 1e6),
        10_000_000..1_000_000_000 => format!("{:.two$} ms", value / 1e6),
        _ => format!("{:.one$} s", value / 1e9),
    }
}

/// Bytes as people say them.
pub(crate) fn bytes(bytes: u64) -> String {
    let value = bytes as f64;
    match bytes {
        0..1_024 => format!("{bytes} B"),
        1_024..1_048_576 => format!("{:.1} KiB", value / 1_024.0),
        1_048_576..1_073_741_824 => format!("{:.1} MiB", value / 1_048_576.0),
        _ => format!("{:.2} GiB", value / 1_073_741_824.0),
    }
}

/// 12,345,678.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_as_people_read_them() {
        assert_eq!(
            ["0", "999", "1,000", "12,345,678"],
            [0, 999, 1000, 12_345_678]
                .map(grouped)
                .each_ref()
                .map(String::as_str)
        );
        assert_eq!(duration(1_500), "2 us");
        assert_eq!(duration(2_345_000), "2.35 ms");
        assert_eq!(duration(1_500_000_000), "1.50 s");
        assert_eq!(bytes(512), "512 B");
        assert_eq!(bytes(3 << 20), "3.0 MiB");
    }
}
