//! How the settings of the pressure ladder and of the limits for each client go together.

#![forbid(unsafe_code)]

use super::super::Config;
use super::Violation;
use crate::metrics::ClientLimit;
use crate::policy::window::COUNT_MAX;
use crate::settings::{Bytes, Span};
use std::ops::RangeInclusive;
use std::time::Duration;

/// A threshold for each level, in its unit, with the settings that say so.
type Ladder = [(&'static str, u64); 3];

pub(super) fn pressure(config: &Config, found: &mut Vec<Violation>) {
    let rules = &config.pressure;
    let shares: [Ladder; 2] = [
        [
            (
                "pressure.memory_percent_strained",
                rules.memory_percent_strained.into(),
            ),
            (
                "pressure.memory_percent_overloaded",
                rules.memory_percent_overloaded.into(),
            ),
            (
                "pressure.memory_percent_refusing",
                rules.memory_percent_refusing.into(),
            ),
        ],
        [
            (
                "pressure.connections_percent_strained",
                rules.connections_percent_strained.into(),
            ),
            (
                "pressure.connections_percent_overloaded",
                rules.connections_percent_overloaded.into(),
            ),
            (
                "pressure.connections_percent_refusing",
                rules.connections_percent_refusing.into(),
            ),
        ],
    ];
    let micros = |span: Span| u64::try_from(span.0.as_micros()).unwrap_or(u64::MAX);
    let lags: Ladder = [
        (
            "pressure.loop_lag_strained",
            micros(rules.loop_lag_strained),
        ),
        (
            "pressure.loop_lag_overloaded",
            micros(rules.loop_lag_overloaded),
        ),
        (
            "pressure.loop_lag_refusing",
            micros(rules.loop_lag_refusing),
        ),
    ];
    let release = rules.release_percent;
    for (key, percent) in shares.into_iter().flatten() {
        if percent > 100 {
            let why = "a share cannot be more than 100 percent";
            found.push(Violation::new(
                &[key],
                why,
                "write 100 at most, or 0 for never",
            ));
        } else if percent != 0 && percent <= u64::from(release) {
            found.push(Violation::new(
                &["pressure.release_percent", key],
                format!("a level that begins at {percent} percent could never be left"),
                format!("write less than {percent}, or raise `{}`", short(key)),
            ));
        }
    }
    for ladder in shares.into_iter().chain([lags]) {
        climbs(ladder, found);
    }
    tightening(config, found);
}

/// A threshold of 0 is never reached; the others rise from level to level.
fn climbs(ladder: Ladder, found: &mut Vec<Violation>) {
    let mut lower: Option<(&'static str, u64)> = None;
    for (key, threshold) in ladder.into_iter().filter(|(_, threshold)| *threshold != 0) {
        if let Some((below, _)) = lower.filter(|(_, least)| threshold < *least) {
            found.push(Violation::new(
                &[key, below],
                format!("a higher level that begins before `{}`", short(below)),
                format!("raise it, or lower `{}`", short(below)),
            ));
        }
        lower = Some((key, threshold));
    }
}

fn tightening(config: &Config, found: &mut Vec<Violation>) {
    let rules = &config.pressure;
    for (key, timeout) in [
        ("pressure.timeout_strained", rules.timeout_strained),
        ("pressure.timeout_overloaded", rules.timeout_overloaded),
    ] {
        if timeout.0 < Duration::from_secs(1) {
            let why = "less than one second";
            found.push(Violation::new(&[key], why, "write \"1s\" or more"));
        }
    }
    for (key, most) in [
        ("pressure.errors_max_strained", rules.errors_max_strained),
        (
            "pressure.errors_max_overloaded",
            rules.errors_max_overloaded,
        ),
        ("pressure.errors_max_refusing", rules.errors_max_refusing),
        (
            "pressure.junk_commands_max_strained",
            rules.junk_commands_max_strained,
        ),
        (
            "pressure.junk_commands_max_overloaded",
            rules.junk_commands_max_overloaded,
        ),
        (
            "pressure.junk_commands_max_refusing",
            rules.junk_commands_max_refusing,
        ),
    ] {
        if most == 0 {
            found.push(Violation::new(&[key], "less than 1", "write 1 or more"));
        }
    }
    for (key, percent) in [
        (
            "pressure.client_percent_strained",
            rules.client_percent_strained,
        ),
        (
            "pressure.client_percent_overloaded",
            rules.client_percent_overloaded,
        ),
    ] {
        within(key, percent, 1..=100, found);
    }
    let least = Bytes::kib(64);
    if rules.message_bytes_max_overloaded < least {
        found.push(Violation::new(
            &["pressure.message_bytes_max_overloaded"],
            format!("less than {least}"),
            format!("write \"{least}\" or more"),
        ));
    }
}

pub(super) fn clients(config: &Config, found: &mut Vec<Violation>) {
    let rules = &config.clients;
    within("clients.ipv4_prefix", rules.ipv4_prefix, 8..=32, found);
    within("clients.ipv6_prefix", rules.ipv6_prefix, 16..=128, found);
    // 64 bytes each: 1 GiB.
    within("clients.clients_max", rules.clients_max, 1..=1 << 24, found);
    for limit in ClientLimit::ALL {
        if limit != ClientLimit::Bytes && rules.most(limit) > COUNT_MAX {
            let key = key_of(limit);
            let why = format!("more than can be counted ({COUNT_MAX})");
            found.push(Violation::new(&[key], why, "write 0 for no limit"));
        }
    }
    let most = Bytes::mib(2047);
    const _: () = assert!(2047 << 10 < COUNT_MAX as u64, "it can be counted in KiB");
    if rules.bytes_per_minute_max > most {
        found.push(Violation::new(
            &[key_of(ClientLimit::Bytes)],
            format!("more than can be counted ({most})"),
            format!("write \"{most}\" at most, or 0 for no limit"),
        ));
    }
}

const fn key_of(limit: ClientLimit) -> &'static str {
    match limit {
        ClientLimit::Aborted => "clients.aborted_per_minute_max",
        ClientLimit::Bytes => "clients.bytes_per_minute_max",
        ClientLimit::Connections => "clients.connections_per_minute_max",
        ClientLimit::FailedRecipients => "clients.failed_recipients_per_minute_max",
        ClientLimit::Messages => "clients.messages_per_minute_max",
        ClientLimit::Recipients => "clients.recipients_per_minute_max",
        ClientLimit::TlsFailures => "clients.tls_failures_per_minute_max",
    }
}

fn within(key: &'static str, value: u32, allowed: RangeInclusive<u32>, found: &mut Vec<Violation>) {
    if !allowed.contains(&value) {
        let (least, most) = allowed.into_inner();
        found.push(Violation::new(
            &[key],
            format!("not between {least} and {most}"),
            format!("write {}", value.clamp(least, most)),
        ));
    }
}

/// A setting's name inside its section.
fn short(key: &str) -> &str {
    key.split_once('.').map_or(key, |(_, name)| name)
}
