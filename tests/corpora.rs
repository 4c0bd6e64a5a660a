//! Mails of other people's test suites, which registries ship: taken apart whole, cut off, and damaged.
//!
//! mail-parser's samples come with its sources; those of Python's library for mail are fetched by `tests/setup`.

#![allow(clippy::print_stdout, reason = "the figures are what it is for")]
#![cfg(feature = "reading")]
#![forbid(unsafe_code)]

mod stripping;

use mayfly::reading::{Limits, message};
use std::collections::VecDeque;
use std::fs;
use std::path::{Path, PathBuf};

/// Mails up to this size are cut off at every byte; longer ones at so many places, if there are many of them.
const CUTS_MAX: usize = 400;

/// The same where there are few.
const CUTS_MAX_OF_FEW: usize = 1_500;

/// Where `tests/setup` puts the mails of Python's own tests.
const PYTHONS: &str = "/usr/local/share/mayfly-tests/python-email";

/// Damaged copies of each mail.
const DAMAGED: u64 = 60;

/// The sources that cargo has unpacked.
fn registry() -> Vec<PathBuf> {
    let home = std::env::var_os("CARGO_HOME").map(PathBuf::from);
    let home =
        home.or_else(|| std::env::var_os("HOME").map(|home| Path::new(&home).join(".cargo")));
    let sources = home
        .map(|home| home.join("registry/src"))
        .unwrap_or_default();
    let indexes = fs::read_dir(sources).into_iter().flatten().flatten();
    let crates =
        indexes.flat_map(|index| fs::read_dir(index.path()).into_iter().flatten().flatten());
    crates.map(|entry| entry.path()).collect()
}

/// All files below a folder whose names end so.
fn files(folder: PathBuf, endings: &[&str]) -> Vec<Vec<u8>> {
    let mut found = Vec::new();
    let mut folders = VecDeque::from([folder]);
    while let Some(folder) = folders.pop_front() {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() {
                folders.push_back(path);
            } else if endings
                .iter()
                .any(|ending| path.to_string_lossy().ends_with(ending))
            {
                found.extend(fs::read(path));
            }
        }
    }
    found
}

fn mail_parsers() -> Vec<Vec<u8>> {
    let is_it = |path: &PathBuf| {
        path.file_name()
            .is_some_and(|name| name.to_string_lossy().starts_with("mail-parser-"))
    };
    let found = registry().into_iter().filter(is_it);
    found
        .flat_map(|path| files(path.join("resources"), &[".eml"]))
        .collect()
}

/// Everything that is done with a mail that is read.
fn take_apart(raw: &[u8]) -> usize {
    let limits = Limits::default();
    let reading = message::read(raw, &limits);
    assert!(reading.text.len() <= 4 * raw.len() + 100);
    for attachment in &reading.attachments {
        assert!(attachment.name.len() <= 255 && attachment.size <= raw.len());
    }
    if raw.len().is_multiple_of(5) {
        stripping::fuzz_attachments((raw.len() / 5) as u8, raw);
    }
    let fields = message::fields(raw);
    fields.len()
        + reading.attachments.len()
        + reading.text.len()
        + usize::from(reading.html.is_some())
}

/// Numbers that look random and are the same each time (splitmix64).
fn next(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let mixed = (*state ^ (*state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB) >> 16
}

fn damaged(raw: &[u8], state: &mut u64) -> Vec<u8> {
    let mut raw = raw.to_vec();
    for _ in 0..=next(state) % 8 {
        if raw.is_empty() {
            break;
        }
        let at = next(state) as usize % raw.len();
        match next(state) % 4 {
            0 => raw[at] = next(state) as u8,
            1 => drop(raw.drain(at..raw.len().min(at + next(state) as usize % 40))),
            2 => {
                let piece = raw[at..raw.len().min(at + next(state) as usize % 200)].to_vec();
                let to = next(state) as usize % (raw.len() + 1);
                raw.splice(to..to, piece);
            }
            _ => raw[at] = b"\r\n:;=\"<>-\0 "[next(state) as usize % 11],
        }
    }
    raw
}

fn survive(name: &str, mails: &[Vec<u8>], cuts_max: usize) {
    let mut state = 7;
    let mut shown = 0;
    for raw in mails {
        // Large ones are seen whole; their beginnings are damaged and cut.
        shown += usize::from(take_apart(raw) > 0);
        let raw = &raw[..raw.len().min(20_000)];
        let step = raw.len() / cuts_max + 1;
        for cut in (0..raw.len()).step_by(step) {
            take_apart(&raw[..cut]);
        }
        for _ in 0..DAMAGED {
            take_apart(&damaged(raw, &mut state));
        }
    }
    println!("{name}: {} mails, {shown} show something", mails.len());
    assert_eq!(shown, mails.len(), "every mail shows something");
}

#[test]
fn j8_mail_parsers_samples_are_survived() {
    let mails = mail_parsers();
    assert!(
        mails.len() >= 100,
        "mail-parser comes with its samples: {}",
        mails.len()
    );
    survive("mail-parser", &mails, CUTS_MAX);
}

#[test]
fn j8_pythons_samples_are_survived() {
    let mails = files(PathBuf::from(PYTHONS), &[".txt"]);
    assert!(
        mails.len() >= 40,
        "tests/setup fetches the mails of Python's tests: {}",
        mails.len()
    );
    survive("python", &mails, CUTS_MAX_OF_FEW);
}

#[test]
fn j8_the_fuzz_corpus_is_survived() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus/reading");
    let mails = files(corpus, &[".eml"]);
    assert!(mails.len() >= 5);
    survive("fuzz corpus", &mails, CUTS_MAX_OF_FEW);
}

#[test]
fn the_fuzz_corpus_of_policies_is_survived() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus/attachments");
    let inputs = files(corpus, &[""]);
    assert!(inputs.len() >= 10);
    for input in &inputs {
        for cut in 1..=input.len() {
            stripping::fuzz_attachments(input[0], &input[1..cut]);
        }
    }
}
