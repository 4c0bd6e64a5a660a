//! How well codes and links are found: sample mails in many languages, each with the answer that a
//! person would give. The table that this prints stands in docs/api.md.

#![allow(clippy::print_stdout, reason = "the figures are what it is for")]
#![cfg(feature = "reading")]
#![forbid(unsafe_code)]

use mayfly::reading::Limits;
use mayfly::reading::message::scan;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// What is asked of the whole.
const PRECISION_MIN: f64 = 0.97;
const RECALL_MIN: f64 = 0.95;

/// A sample and what a person finds in it.
struct Sample {
    code: Option<String>,
    link: Option<String>,
    mail: String,
}

/// The samples of a file. Each begins with `===` and what is to be found.
fn samples(text: &str) -> Vec<Sample> {
    let blocks = text.split("=== ").skip(1);
    let sample = |block: &str| {
        let (expected, mail) = block.split_once('\n').expect("a mail follows");
        let expected = |kind: &str| {
            let found = expected
                .split('|')
                .find_map(|it| it.trim().strip_prefix(kind));
            found.map(|it| it.trim().to_owned())
        };
        Sample {
            code: expected("code ").map(|code| code.replace(' ', "")),
            link: expected("link "),
            mail: mail.replace('\n', "\r\n"),
        }
    };
    blocks.map(sample).collect()
}

/// Answers that were right, wrong, and missing.
#[derive(Clone, Copy, Default)]
struct Tally {
    right: u32,
    wrong: u32,
    missing: u32,
}

impl Tally {
    fn count(&mut self, expected: Option<&str>, found: Option<&str>) -> bool {
        let is_right = expected == found;
        match found {
            Some(_) if is_right => self.right += 1,
            Some(_) => self.wrong += 1,
            None => {}
        }
        self.missing += u32::from(expected.is_some() && !is_right);
        is_right
    }

    fn add(&mut self, other: Self) {
        self.right += other.right;
        self.wrong += other.wrong;
        self.missing += other.missing;
    }

    fn precision(self) -> f64 {
        f64::from(self.right) / f64::from((self.right + self.wrong).max(1))
    }

    fn recall(self) -> f64 {
        f64::from(self.right) / f64::from((self.right + self.missing).max(1))
    }
}

/// Reads the samples of one language.
fn judge(name: &str, samples: &[Sample], failures: &mut Vec<String>) -> [Tally; 2] {
    let mut tallies = [Tally::default(); 2];
    for sample in samples {
        let findings = scan(sample.mail.as_bytes(), &Limits::default());
        let code = findings
            .codes
            .first()
            .map(|code| code.code.replace('-', ""));
        let expected = sample.code.as_ref().map(|code| code.replace('-', ""));
        let link = findings.links.first().map(|link| link.url.as_str());
        let right = [
            tallies[0].count(expected.as_deref(), code.as_deref()),
            tallies[1].count(sample.link.as_deref(), link),
        ];
        if right != [true, true] {
            let subject = sample.mail.lines().next().unwrap_or_default();
            failures.push(format!("{name}: {subject}: {findings:?}"));
        }
    }
    tallies
}

fn line(name: &str, mails: usize, [codes, links]: [Tally; 2]) -> String {
    format!(
        "| {name} | {mails} | {:.2} | {:.2} | {:.2} | {:.2} |",
        codes.precision(),
        codes.recall(),
        links.precision(),
        links.recall()
    )
}

/// Compares the table with that of docs/api.md; with `MAYFLY_REWRITE=1` in the environment writes it there.
fn stands_in_the_manual(table: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/api.md");
    let page = fs::read_to_string(&path).expect("it is there");
    let (before, rest) = page
        .split_once("<!-- the figures of tests/codes.rs -->\n")
        .expect("it has a place for the table");
    let (shown, after) = rest
        .split_once("\n<!-- so far -->")
        .expect("the table ends somewhere");
    if std::env::var_os("MAYFLY_REWRITE").is_some() {
        let marks = ["<!-- the figures of tests/codes.rs -->", "<!-- so far -->"];
        let page = format!("{before}{}\n{table}\n{}{after}", marks[0], marks[1]);
        fs::write(&path, page).expect("it can be written");
    } else {
        assert!(
            shown == table,
            "docs/api.md has other figures: MAYFLY_REWRITE=1 cargo test --test codes"
        );
    }
}

#[test]
fn codes_and_links_are_found_in_many_languages() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus/codes");
    let mut files: BTreeMap<String, Vec<Sample>> = BTreeMap::new();
    for entry in fs::read_dir(folder).expect("there are samples") {
        let path = entry.expect("it can be read").path();
        let name = path
            .file_stem()
            .expect("a name")
            .to_string_lossy()
            .into_owned();
        // A language may have several files: `en`, `en-2`; `more` is what is in none of the others.
        let language = name.split('-').next().unwrap_or_default().to_owned();
        let found = samples(&fs::read_to_string(&path).expect("text"));
        files.entry(language).or_default().extend(found);
    }
    let (mut all, mut mails, mut failures) = ([Tally::default(); 2], 0, Vec::new());
    let mut table = vec!["| language | mails | precision, codes | recall, codes | precision, links | recall, links |".to_owned()];
    table.push("|---|---|---|---|---|---|".to_owned());
    for (name, samples) in &files {
        let tallies = judge(name, samples, &mut failures);
        table.push(line(name, samples.len(), tallies));
        mails += samples.len();
        for (all, tally) in all.iter_mut().zip(tallies) {
            all.add(tally);
        }
    }
    table.push(line("all", mails, all));
    println!("{}", failures.join("\n"));
    stands_in_the_manual(&table.join("\n"));
    assert!(
        mails >= 120 && files.len() >= 19,
        "{mails} mails in {} languages",
        files.len()
    );
    for tally in all {
        assert!(tally.precision() >= PRECISION_MIN && tally.recall() >= RECALL_MIN);
    }
}
