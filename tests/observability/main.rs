//! What watches mayfly: rules, alerts and dashboards, read by the programs that they are for, and filled by a real gateway.

#![cfg(feature = "server")]
#![forbid(unsafe_code)]
#![allow(unreachable_pub)] // The modules of a test are nobody's interface.

mod board;
mod details;
mod files;
#[path = "../gateway/mod.rs"]
mod gateway;
mod live;
mod load;
mod overview;
mod prometheus;
#[path = "../webhooks/receiver.rs"]
#[allow(dead_code)] // The tests of webhooks look at what it got.
mod receiver;
mod series;
mod types;

use board::Board;
use std::path::{Path, PathBuf};

/// All dashboards.
const BOARDS: [&Board; 2] = [&overview::OVERVIEW, &details::DETAILS];

/// A file of the repository.
fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

fn read(name: &str) -> String {
    let path = path(name);
    std::fs::read_to_string(&path).unwrap_or_else(|why| panic!("{}: {why}", path.display()))
}

/// PromQL with Grafana's variables filled in as if all were chosen of each, `every` being the interval of a rate.
fn filled_in(expression: &str, every: &str) -> String {
    [
        ("$__rate_interval", every),
        ("$job", "mayfly"),
        ("$instance", ".*"),
        ("$core", ".*"),
    ]
    .iter()
    .fold(expression.to_owned(), |text, (name, value)| {
        text.replace(name, value)
    })
}

/// Each `name{...}` in PromQL.
fn selectors(expression: &str) -> impl Iterator<Item = &str> {
    expression.match_indices('{').map(|(brace, _)| {
        let before = expression[..brace]
            .trim_end_matches(is_part_of_a_name)
            .len();
        let length = expression[brace..].find('}').expect("it is closed");
        &expression[before..=brace + length]
    })
}

fn is_part_of_a_name(character: char) -> bool {
    character.is_ascii_alphanumeric() || "_:".contains(character)
}

/// The names of mayfly's metrics, and of what rules make of them, that stand in a text.
fn names_in(text: &str) -> std::collections::BTreeSet<String> {
    text.split(|character| !is_part_of_a_name(character))
        .filter(|word| {
            word.starts_with("mayfly_")
                || word.starts_with("process_")
                || word.starts_with("mayfly:")
        })
        .map(str::to_owned)
        .collect()
}
