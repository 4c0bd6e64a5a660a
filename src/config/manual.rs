//! The manual, printed from the declarations.

#![forbid(unsafe_code)]

use super::read::variable_name;
use super::{Config, Effective, Section};
use crate::settings::Entry;
use std::fmt::Write as _;

/// What the file says before its first section.
const FILE_HEAD: &str = "\
# All settings of mayfly with their defaults; nothing here needs to be set.
# Printed by `mayfly config defaults`. Copy what you want to change; check it with `mayfly check-config FILE`.
#
# Sizes are written \"64 MiB\" or as a number of bytes, durations \"30s\", \"5m\", \"1h 30m\".
# An environment variable wins over the file: MAYFLY__SMTP__RECIPIENTS_MAX=200 for `recipients_max` in [smtp].
";

/// What the page of the manual says before its first section.
const PAGE_HEAD: &str = "\
# Configuration

<!-- Printed by `mayfly config docs`; a test keeps it equal to the code. -->

mayfly runs without a configuration file. `mayfly serve --config FILE` reads one, in
[TOML](https://toml.io/en/v1.0.0); `mayfly check-config FILE` explains every mistake in it and exits with 2 if there is one;
`mayfly check-config FILE --print-effective` prints every value with where it comes from.
[`config/mayfly.toml`](../config/mayfly.toml) lists all settings with their defaults,
[`config/loadtest.toml`](../config/loadtest.toml) opens what keeps one client from flooding.

- **Sizes** are written `\"64 MiB\"`, `\"64KiB\"` or as a number of bytes; **durations** `\"30s\"`, `\"5m\"`, `\"1h 30m\"`.
- **Environment variables** win over the file, the file over the defaults. A variable is named `MAYFLY__SECTION__KEY`;
  its text is read as TOML if it is TOML, else as text. Lists may be written with commas:
  `MAYFLY__LISTEN__SMTP=0.0.0.0:25,[::]:25`. An unknown variable with this prefix is an error.
- **Reload:** SIGHUP reads file and certificates again. A file with a mistake changes nothing. Settings marked *restart*
  keep their old value until mayfly is started anew, and the log names them; all others count at once for what is new.
";

/// Lists of tables stand in the file as blocks of their own; an empty one is shown by this example.
const EXAMPLES: &[(&str, &str, &str)] = &[
    (
        "attachments",
        "domains",
        "# [[attachments.domains]]\n# domains = [\"example.com\"]\n# policy = \"strip\"\n",
    ),
    (
        "tls",
        "certificates",
        "# [[tls.certificates]]\n# chain = \"/etc/mayfly/chain.pem\"\n# key = \"/etc/mayfly/key.pem\"\n",
    ),
    (
        "plans",
        "offered",
        "# [[plans.offered]]\n# name = \"team\"\n# ttl_max = \"7days\"\n# mailboxes_max = 1000\n# creations_per_minute = 300\n",
    ),
    (
        "plans",
        "keys",
        "# [[plans.keys]]\n# plan = \"team\"\n# file = \"/etc/mayfly/team.key\"\n",
    ),
];

/// Every setting as a commented TOML file, with the values of `config`.
#[must_use]
pub fn manual_toml(config: &Config) -> String {
    let mut out = FILE_HEAD.to_owned();
    for section in config.sections() {
        out.push('\n');
        comment(&mut out, section.about);
        line(&mut out, format_args!("[{}]", section.name));
        for entry in &section.entries {
            out.push('\n');
            comment(&mut out, entry.doc);
            for choice in entry.choices {
                let sentences = sentences(choice.doc).join(" ");
                line(
                    &mut out,
                    format_args!("#   \"{}\": {sentences}", choice.word),
                );
            }
            value(&mut out, &section, entry);
        }
    }
    out
}

fn comment(out: &mut String, doc: &[&str]) {
    for sentence in sentences(doc) {
        line(out, format_args!("# {sentence}"));
    }
}

fn value(out: &mut String, section: &Section, entry: &Entry) {
    let example = EXAMPLES
        .iter()
        .find(|(name, key, _)| (*name, *key) == (section.name, entry.key));
    match (entry.value.as_deref(), example) {
        (None | Some("[]"), Some((.., example))) => out.push_str(example),
        (None, None) => line(out, format_args!("# {} =", entry.key)),
        (Some(value), _) => line(out, format_args!("{} = {value}", entry.key)),
    }
}

/// Every setting as a page of the documentation.
#[must_use]
pub fn manual_markdown() -> String {
    let mut out = PAGE_HEAD.to_owned();
    for section in Config::default().sections() {
        let about = sentences(section.about).join(" ");
        line(
            &mut out,
            format_args!("\n## `[{}]`\n\n{about}\n", section.name),
        );
        for entry in &section.entries {
            let default = entry
                .value
                .as_deref()
                .map_or_else(|| "none".to_owned(), |value| format!("`{value}`"));
            let change = if section.needs_restart(entry.key) {
                "restart"
            } else {
                "reload"
            };
            let variable = variable_name(section.name, entry.key);
            line(
                &mut out,
                format_args!(
                    "- **`{}`**: {}; default {default}; {change}; `{variable}`  ",
                    entry.key, entry.kind
                ),
            );
            line(
                &mut out,
                format_args!("  {}", sentences(entry.doc).join(" ")),
            );
            for choice in entry.choices {
                line(
                    &mut out,
                    format_args!(
                        "  - `\"{}\"`: {}",
                        choice.word,
                        sentences(choice.doc).join(" ")
                    ),
                );
            }
        }
    }
    out
}

/// Every value with where it comes from, as TOML.
#[must_use]
pub fn effective_toml(effective: &Effective) -> String {
    let mut out = String::new();
    for section in effective.config.sections() {
        if !out.is_empty() {
            out.push('\n');
        }
        line(&mut out, format_args!("[{}]", section.name));
        let settings: Vec<(String, &Entry)> = section
            .entries
            .iter()
            .filter_map(|entry| {
                Some((
                    format!("{} = {}", entry.key, entry.value.as_deref()?),
                    entry,
                ))
            })
            .collect();
        let longest = settings
            .iter()
            .map(|(text, _)| text.chars().count())
            .max()
            .unwrap_or(0);
        let width = longest.min(56);
        for (text, entry) in settings {
            let origin = effective.origin(&format!("{}.{}", section.name, entry.key));
            line(&mut out, format_args!("{text:width$}  # {origin}"));
        }
    }
    out
}

/// Documentation lines without the blank that stands before each in the source.
fn sentences<'a>(doc: &[&'a str]) -> Vec<&'a str> {
    doc.iter().map(|line| line.trim()).collect()
}

fn line(out: &mut String, text: std::fmt::Arguments<'_>) {
    writeln!(out, "{text}").expect("a String takes everything");
}
