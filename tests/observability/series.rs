//! No label is made of what a stranger sends: the page has as many series after a thousand names as after ten.

use crate::gateway::{Client, Gateway, OPEN_DOORS, http};
use mayfly::metrics::declarations;
use std::collections::{BTreeMap, BTreeSet};

/// Numbers without a pattern, the same in each run (xorshift64).
struct Noise(u64);

impl Noise {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// A word that nobody has said before.
    fn word(&mut self) -> String {
        format!("x{:016x}", self.next())
    }
}

fn settings() -> String {
    format!(
        "{OPEN_DOORS}\n[http]\nconnections_per_client_max = 0\n\n[clients]\nexempt = [\"127.0.0.0/8\"]\n\n[recipients]\naccept = \"any\"\n\n[compatibility]\nmail_tm = true\n"
    )
}

/// A stranger who says something else each time, of all kinds.
fn rage(gateway: &Gateway, noise: &mut Noise) {
    let mut client = Client::connect(gateway.smtp);
    client.expect("220");
    client.ask(&format!("EHLO {}.example", noise.word()), "250");
    client.ask(&noise.word(), "5");
    client.ask(
        &format!(
            "MAIL FROM:<{}@{}.example> X{}=1",
            noise.word(),
            noise.word(),
            noise.word()
        ),
        "5",
    );
    client.ask(
        &format!("MAIL FROM:<{}@{}.example>", noise.word(), noise.word()),
        "250",
    );
    client.ask(
        &format!("RCPT TO:<{}@{}.example>", noise.word(), noise.word()),
        "5",
    );
    client.ask(&format!("RCPT TO:<{}@mayfly.test>", noise.word()), "250");
    client.ask("DATA", "354");
    client.raw(
        format!(
            "{}: {}\r\n\r\n{}\r\n.\r\n",
            noise.word(),
            noise.word(),
            noise.word()
        )
        .as_bytes(),
    );
    client.expect("250");
    client.ask("QUIT", "221");
    let word = noise.word();
    for (method, path) in [
        ("GET", format!("/{word}")),
        ("GET", format!("/api/v1/messages/{word}")),
        ("GET", format!("/api/v1/{word}?{word}={word}")),
        ("POST", format!("/api/v1/mailboxes/{word}")),
        ("GET", format!("/accounts/{word}")),
        (word.as_str(), format!("/{word}")),
    ] {
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: {word}.example\r\nUser-Agent: {word}\r\nAuthorization: Bearer mf_{word}\r\nConnection: close\r\n\r\n"
        );
        assert!(
            http::answer(gateway.http, request.as_bytes()).status >= 400,
            "{method} {path}"
        );
    }
}

/// The names of all series on a page.
fn series(page: &str) -> BTreeSet<&str> {
    page.lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.rsplit_once(' '))
        .map(|(series, _)| series)
        .collect()
}

#[test]
fn strangers_make_no_series() {
    let gateway = Gateway::start(&settings());
    let noise = &mut Noise(0x9E37_79B9_7F4A_7C15);
    rage(&gateway, noise);
    gateway.await_metric("mayfly_smtp_connections", "", 0);
    let before = gateway.metrics();
    for _ in 0..100 {
        rage(&gateway, noise);
    }
    gateway.await_metric("mayfly_smtp_connections", "", 0);
    let after = gateway.metrics();
    let (before, after) = (series(&before), series(&after));
    let new: Vec<&&str> = after.difference(&before).collect();
    assert!(new.is_empty(), "{new:?}");
    assert!(before.len() > 300, "there are {} series", before.len());
    every_label_is_declared(&after);
}

/// Each label of each series has a value that was known when mayfly was built, or is the number of a core.
fn every_label_is_declared(all: &BTreeSet<&str>) {
    let known: BTreeMap<&str, _> = declarations()
        .map(|declared| (declared.name, declared.labels))
        .collect();
    for series in all {
        let (name, labels) = series.split_once('{').unwrap_or((series, ""));
        let base = ["_bucket", "_count", "_sum"]
            .iter()
            .find_map(|end| name.strip_suffix(end));
        let declared = known
            .get(name)
            .or_else(|| known.get(base?))
            .unwrap_or_else(|| panic!("{series} is not declared"));
        for label in labels
            .trim_end_matches('}')
            .split(',')
            .filter(|label| !label.is_empty())
        {
            let (label, value) = label.split_once('=').expect("name and value");
            let value = value.trim_matches('"');
            let fits = match label {
                "core" => ["0", "1"].contains(&value),
                "le" => value == "+Inf" || value.parse::<f64>().is_ok(),
                _ => declared
                    .iter()
                    .any(|(name, values)| *name == label && values.contains(&value)),
            };
            assert!(fits, "{series}: {label} is {value}");
        }
    }
}
