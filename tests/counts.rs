//! The gate that counts instructions lets through what it should, and nothing else.

#![forbid(unsafe_code)]

#[path = "../benches/counts/mod.rs"]
mod counts;

use counts::{Counts, GROWTH_PERCENT, TOLERANCE_PERCENT};

/// What stands in the repository.
const RECORDED: &str = include_str!("../benches/instructions.txt");

fn counts(of: &[(&str, u64)]) -> Counts {
    Counts {
        made_with: "a compiler".to_owned(),
        of: of
            .iter()
            .map(|(name, count)| ((*name).to_owned(), *count))
            .collect(),
    }
}

#[test]
fn what_is_written_is_read_again() {
    let written = counts(&[("data/4KiB", 12_345), ("wheel/1000", 7)]);
    let text = written.to_text("`the command`");
    assert_eq!(Counts::from_text(&text), Ok(written));
    assert_eq!(Counts::from_text("data"), Err("data".to_owned()));
    assert_eq!(Counts::from_text("data x"), Err("data x".to_owned()));
}

#[test]
fn a_count_that_rises_is_an_offence_and_one_that_falls_is_news() {
    let recorded = counts(&[("a", 10_000), ("b", 10_000), ("c", 10_000), ("d", 10_000)]);
    let most = 10_000 + (TOLERANCE_PERCENT * 100.0) as u64;
    let run = counts(&[("a", most), ("b", most + 1), ("c", 5_000), ("e", 3)]);
    let comparison = recorded.compare(&run);
    assert_eq!(
        comparison.offences,
        [
            "b: 10501 instructions, 10000 recorded (+5.0 %)",
            "e: 3 instructions, and none are recorded",
            "d: recorded, but there is no such bench",
        ]
    );
    assert_eq!(
        comparison.notes,
        ["c: 5000 instructions, 10000 recorded (-50.0 %)"]
    );
}

#[test]
fn another_compiler_is_named_only_where_something_rose() {
    let recorded = counts(&[("a", 1_000)]);
    let run = |count| Counts {
        made_with: "another".to_owned(),
        ..counts(&[("a", count)])
    };
    assert!(recorded.compare(&run(1_000)).notes.is_empty());
    let notes = recorded.compare(&run(2_000)).notes;
    assert_eq!(
        notes,
        ["recorded with a compiler, this is another: that alone may be why"]
    );
}

#[test]
fn what_costs_more_for_a_million_is_found() {
    let grown = 1_000 + (GROWTH_PERCENT * 10.0) as u64;
    let flat = counts(&[("a/1000", 1_000), ("a/1000000", grown), ("b/1000", 5)]);
    assert!(flat.that_grow().is_empty());
    let growing = counts(&[("a/1000", 1_000), ("a/1000000", grown + 1)]);
    assert_eq!(
        growing.that_grow(),
        ["a: a million costs 10.1 % more than a thousand"]
    );
}

#[test]
fn what_is_recorded_can_be_read_and_does_not_grow() {
    let recorded = Counts::from_text(RECORDED).expect("each line is a count");
    assert!(!recorded.made_with.is_empty());
    assert!(recorded.growth().count() >= 2, "the store and the wheel");
    assert_eq!(recorded.that_grow(), Vec::<String>::new());
}
