//! `mayfly doctor`: can this machine run mayfly with these settings, and well?
//!
//! [`gather`] looks, [`judge`] decides; so every verdict can be tested without a machine that deserves it.

mod dns;
mod facts;
mod gather;
mod judge;
mod judge_machine;
mod service;

use super::Exit;
use super::output::{Ink, Terminal, ended, print_data, tell};
use clap::Args;
use facts::{Finding, Verdict};
use serde_json::json;
use std::fmt::Write as _;
use std::path::PathBuf;

/// The arguments of `mayfly doctor`.
#[derive(Args, Debug)]
pub struct DoctorArguments {
    /// The settings that the machine is looked at for; the defaults and the environment unless given.
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Asks no name server.
    #[arg(long)]
    no_dns: bool,
    /// Prints JSON.
    #[arg(long)]
    json: bool,
}

/// Looks at the machine and says what it found. It is a failure if anything is.
#[must_use]
pub fn run(arguments: &DoctorArguments) -> Exit {
    let facts = gather::gather(arguments.config.as_deref(), !arguments.no_dns);
    let findings = judge::judge(&facts);
    let worst = findings.iter().map(|finding| finding.verdict).max();
    let printed = match arguments.json {
        true => as_json(&findings, worst),
        false => in_words(&findings, Terminal::of_stdout()),
    };
    let told = print_data(printed.as_bytes());
    if !arguments.json {
        let count = |verdict| {
            findings
                .iter()
                .filter(|finding| finding.verdict == verdict)
                .count()
        };
        tell(format_args!(
            "{} in order, {} to look at, {} that will not do",
            count(Verdict::Ok),
            count(Verdict::Warn),
            count(Verdict::Fail)
        ));
    }
    let exit = match worst {
        Some(Verdict::Fail) => Exit::Failure,
        _ => Exit::Fine,
    };
    ended(told.map(|()| exit), arguments.json)
}

fn in_words(findings: &[Finding], terminal: Terminal) -> String {
    let mut text = String::new();
    for Finding {
        check,
        verdict,
        found,
        why,
        fix,
    } in findings
    {
        let ink = match verdict {
            Verdict::Ok => Ink::Green,
            Verdict::Warn => Ink::Yellow,
            Verdict::Fail => Ink::Red,
        };
        let word = terminal.paint(ink, &format!("{:<5}", verdict.word()));
        let found = found.replace('\n', "\n                    ");
        let _ = writeln!(text, "{word} {check:<13} {found}");
        if *verdict == Verdict::Ok {
            continue;
        }
        let _ = writeln!(text, "                    why: {why}");
        if let Some(fix) = fix {
            let _ = writeln!(text, "                    fix: {fix}");
        }
    }
    text
}

fn as_json(findings: &[Finding], worst: Option<Verdict>) -> String {
    let findings: Vec<_> = findings
        .iter()
        .map(|finding| {
            let Finding {
                check,
                verdict,
                found,
                why,
                fix,
            } = finding;
            json!({ "check": check, "verdict": verdict.word(), "found": found, "why": why, "fix": fix })
        })
        .collect();
    let verdict = worst.unwrap_or(Verdict::Ok).word();
    format!("{}\n", json!({ "verdict": verdict, "findings": findings }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn findings_are_words_for_people_and_fields_for_programs() {
        let findings = [
            Finding::ok("kernel", "Linux 6.12", "reasons"),
            Finding::warn("swap", "2.0 GiB", "mail may reach a disk").fix("swapoff -a"),
            Finding::fail("settings", "a\nb", "they are needed"),
        ];
        let plain = Terminal {
            is_terminal: false,
            colours: false,
        };
        let expected = "\
ok    kernel        Linux 6.12
warn  swap          2.0 GiB
                    why: mail may reach a disk
                    fix: swapoff -a
fail  settings      a
                    b
                    why: they are needed
";
        assert_eq!(in_words(&findings, plain), expected);
        let json = as_json(&findings[..2], Some(Verdict::Warn));
        assert!(
            json.starts_with(r#"{"findings":[{"check":"kernel","fix":null,"#),
            "{json}"
        );
        assert!(json.ends_with("\"verdict\":\"warn\"}\n"), "{json}");
    }
}
