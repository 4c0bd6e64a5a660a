//! The page that compares, and what is wrong with it.

use crate::queues::Envelope;
use crate::script::{Case, Script};
use crate::wire::{End, Heard};
use std::fmt::Write as _;
use std::path::Path;

/// The servers, ours first.
pub(crate) const COLUMNS: &[&str] = &["mayfly", "Postfix", "Exim", "OpenSMTPD"];

/// What one server did in one case.
#[derive(Clone, Debug)]
pub(crate) struct Outcome {
    pub(crate) heard: Heard,
    pub(crate) accepted: Vec<Envelope>,
}

impl Outcome {
    /// Two servers did the same when this is the same: first digits, the end, and how much was accepted.
    fn class(&self) -> (Vec<&str>, End, usize) {
        let first = |code: &'_ String| code.len().min(1);
        let codes = self.heard.codes.iter();
        (
            codes.map(|code| &code[..first(code)]).collect(),
            self.heard.end,
            self.accepted.len(),
        )
    }

    fn short(&self) -> String {
        let mut text = runs(&self.heard.codes);
        match self.heard.end {
            End::Open => {}
            End::Closed => text.push_str(", closed"),
            End::QuitLost => text.push_str(", QUIT lost"),
        }
        if !self.accepted.is_empty() {
            let _ = write!(text, "; {} stored", self.accepted.len());
        }
        let strangers = self.accepted.iter().filter(|envelope| !usual(envelope));
        for Envelope { sender, recipient } in strangers {
            let _ = write!(text, " `<{sender}>` to `{recipient}`");
        }
        text
    }
}

/// The envelope that needs no mention.
fn usual(envelope: &Envelope) -> bool {
    envelope.sender == "s@x.example" && envelope.recipient == "u1@ours.test"
}

/// Codes; those that repeat with their number.
fn runs(codes: &[String]) -> String {
    let runs: Vec<String> = codes
        .chunk_by(|one, other| one == other)
        .map(|run| match run.len() {
            short if short <= 3 => run.join(" "),
            long => format!("{}×{long}", run[0]),
        })
        .collect();
    match runs.join(" ") {
        none if none.is_empty() => "–".to_owned(),
        some => some,
    }
}

fn short(outcome: Option<&Outcome>) -> String {
    outcome.map_or_else(|| "not offered".to_owned(), Outcome::short)
}

/// Whether mayfly stands against the others: none did the same, or fewer did than agree on something else.
fn differs(row: &[Option<&Outcome>]) -> bool {
    let [Some(ours), others @ ..] = row else {
        return false;
    };
    let others = others.iter().flatten();
    let (with_us, against): (Vec<&&Outcome>, Vec<&&Outcome>) =
        others.partition(|it| it.class() == ours.class());
    let united = against.iter().all(|it| it.class() == against[0].class());
    !against.is_empty() && (with_us.is_empty() || (united && with_us.len() < against.len()))
}

/// What all servers did in a case.
type Row<'a> = Vec<Option<&'a Outcome>>;

/// The cases with what each server did in them.
fn rows<'a>(
    cases: &'a [Case],
    first: usize,
    outcomes: &'a [Vec<Option<Outcome>>],
) -> impl Iterator<Item = (&'a Case, Row<'a>)> {
    let row = move |nth: usize| -> Row<'a> {
        let columns = outcomes.iter();
        columns.map(|column| column[first + nth].as_ref()).collect()
    };
    cases
        .iter()
        .enumerate()
        .map(move |(nth, case)| (case, row(nth)))
}

/// Every group with the number of cases before it.
fn groups(script: &Script) -> impl Iterator<Item = (usize, &str, &[Case])> {
    let mut before = 0;
    script.groups.iter().map(move |group| {
        let first = before;
        before += group.cases.len();
        (first, group.title.as_str(), group.cases.as_slice())
    })
}

/// What was said in every case, for people.
pub(crate) fn protocols(script: &Script, outcomes: &[Vec<Option<Outcome>>]) -> String {
    let mut text = String::new();
    for (first, _, cases) in groups(script) {
        for (case, row) in rows(cases, first, outcomes) {
            let _ = writeln!(text, "{} {}", case.name, case.title);
            for (title, outcome) in COLUMNS.iter().zip(row) {
                let protocol = outcome.map_or("", |outcome| &outcome.heard.protocol);
                let _ = writeln!(text, " {title}: {}\n{protocol}", short(outcome));
            }
        }
    }
    text
}

/// Writes the page, or compares it with the one that is there; says what is wrong.
pub(crate) fn check(
    script: &Script,
    outcomes: &[Vec<Option<Outcome>>],
    versions: &[String],
    path: &Path,
    write: bool,
) -> Result<(), String> {
    let mut complaints = String::new();
    for (first, _, cases) in groups(script) {
        for (case, row) in rows(cases, first, outcomes) {
            let wrong = match (differs(&row), &case.why) {
                (true, None) => "mayfly differs here, and no sentence says why",
                // What mayfly does not offer it may offer one day; the sentence is kept for then.
                (false, Some(_)) if row[0].is_some() => {
                    "a sentence says why mayfly differs, and it does not"
                }
                _ => continue,
            };
            let _ = writeln!(complaints, "{} ({}): {wrong}", case.name, case.title);
            for (title, outcome) in COLUMNS.iter().zip(row) {
                let _ = writeln!(complaints, "    {title}: {}", short(outcome));
            }
        }
    }
    let page = page(script, outcomes, versions);
    let there = std::fs::read_to_string(path).unwrap_or_default();
    if write {
        std::fs::write(path, page).expect("the page is written");
    } else if timeless(&page) != timeless(&there) {
        let _ = writeln!(
            complaints,
            "docs/differential.md is not what was found; tests/differential/run --write writes it anew:"
        );
        let new = page.lines().filter(|line| !there.contains(line));
        new.for_each(|line| {
            let _ = writeln!(complaints, "    {line}");
        });
    }
    if complaints.is_empty() {
        Ok(())
    } else {
        Err(complaints)
    }
}

/// A new version that behaves like the old one is no difference.
fn timeless(page: &str) -> String {
    let timeless = page.lines().filter(|line| !line.starts_with(VERSIONS));
    timeless.collect::<Vec<_>>().join("\n")
}

const VERSIONS: &str = "Versions: ";

const HEAD: &str = "# Differential runs

<!-- Written by `tests/differential/run --write`. -->

The same bytes, in the same segments, are said to mayfly and to three servers that most of the world's mail goes through.
This page shows what each did. Where mayfly stands against the others, a sentence says why.

Postfix, Exim and OpenSMTPD are Debian's packages. They know the domain `ours.test` with `u1`, `u2` and `postmaster`, take
messages of 10,240,000 bytes and accept into a queue that is never delivered. Exim has the address rules of its default
configuration; Postfix has two settings that it has by default since version 3.9 (`smtpd_forbid_bare_newline = normalize`,
`smtpd_forbid_unauth_pipelining = yes`). What was accepted is read in those queues and over mayfly's API, not from replies.
";

const KEY: &str = "
In the tables: the code of each reply behind the steps that lead up to the case; how it ended (`closed`: the server closed the
connection; `QUIT lost`: it did not take QUIT for a command; nothing: it answered QUIT); and how many messages were stored, one for
each recipient. An envelope is named when it is not `<s@x.example>` to `u1@ours.test`. `not offered`: the server does not
announce the extension that the case is about. The bytes of each case are in [cases.txt](../tests/differential/cases.txt).

**mayfly differs** (marked with \\*) when none of the others did the same, or when fewer did than agree on something else. The same
is: the same first digits, the same end, and as many messages stored.
";

fn page(script: &Script, outcomes: &[Vec<Option<Outcome>>], versions: &[String]) -> String {
    let mut page = HEAD.to_owned();
    let named = COLUMNS.iter().zip(versions);
    let named: Vec<String> = named
        .map(|(title, version)| format!("{title} {version}"))
        .collect();
    let _ = writeln!(page, "\n{VERSIONS}{}.\n{KEY}", named.join(", "));
    let mut differences = Vec::new();
    for (first, title, cases) in groups(script) {
        let _ = writeln!(page, "## {title}\n\n| Case | | {} |", COLUMNS.join(" | "));
        let _ = writeln!(page, "|---|---|{}", "---|".repeat(COLUMNS.len()));
        for (case, row) in rows(cases, first, outcomes) {
            let mark = if differs(&row) { "\\*" } else { "" };
            let cells: Vec<String> = row.iter().map(|it| short(*it)).collect();
            let Case { name, title, .. } = case;
            let _ = writeln!(page, "| {name}{mark} | {title} | {} |", cells.join(" | "));
            if differs(&row) {
                differences.push(case);
            }
        }
        page.push('\n');
    }
    let total: usize = script.groups.iter().map(|group| group.cases.len()).sum();
    let _ = writeln!(
        page,
        "## Differences\n\n{} of {total} cases.\n",
        differences.len()
    );
    page + &reasons(&differences)
}

/// Cases that share a reason stand together, in the order of the first of them.
fn reasons(differences: &[&Case]) -> String {
    let mut reasons: Vec<(&str, Vec<&str>)> = Vec::new();
    for case in differences {
        let why = case.why.as_deref().unwrap_or("?");
        match reasons.iter_mut().find(|(known, _)| *known == why) {
            Some((_, names)) => names.push(&case.name),
            None => reasons.push((why, vec![&case.name])),
        }
    }
    let line = |(why, names): (&str, Vec<&str>)| format!("- **{}**: {why}\n", names.join(", "));
    reasons.into_iter().map(line).collect()
}
