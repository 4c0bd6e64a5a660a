//! What an example shows against what there was: the same, but for what can only be like it.

use serde_json::Value;

/// Fields whose values are drawn by lot, or follow from the clock or from what other programs write.
const DRAWN: &[&str] = &[
    "accepted",
    "accepted_bytes",
    "http_connections",
    "limit",
    "process",
    "queue_id",
    "recovery",
    "secret",
    "size",
    "token",
    "uptime",
    "used",
];

/// What is wrong with `found` where `shown` stands on the page, or nothing.
pub(crate) fn json(shown: &Value, found: &Value, place: &str) -> Result<(), String> {
    match (shown, found) {
        (Value::Object(shown), Value::Object(found)) => {
            let names =
                |of: &serde_json::Map<String, Value>| of.keys().cloned().collect::<Vec<_>>();
            if names(shown) != names(found) {
                return Err(format!(
                    "{place}: {:?} instead of {:?}",
                    names(found),
                    names(shown)
                ));
            }
            let mut pairs = shown.iter().zip(found);
            pairs.try_for_each(|((name, shown), (_, found))| {
                let same_type = std::mem::discriminant(shown) == std::mem::discriminant(found);
                if DRAWN.contains(&name.as_str()) && same_type {
                    return Ok(());
                }
                json(shown, found, &format!("{place}.{name}"))
            })
        }
        (Value::Array(shown), Value::Array(found)) if shown.len() == found.len() => {
            let mut pairs = shown.iter().zip(found).enumerate();
            pairs.try_for_each(|(nth, (shown, found))| {
                json(shown, found, &format!("{place}[{nth}]"))
            })
        }
        (Value::String(shown), Value::String(found)) if alike(shown, found) => Ok(()),
        _ if shown == found => Ok(()),
        _ => Err(format!("{place}: {found} instead of {shown}")),
    }
}

/// Whether two texts are the same, but for addresses that were drawn and times.
fn alike(shown: &str, found: &str) -> bool {
    shown == found || kind(shown).is_some_and(|it| Some(it) == kind(found))
}

fn kind(text: &str) -> Option<&'static str> {
    for (beginning, kind) in [("/view/", "a ticket"), ("mfc_", "a challenge")] {
        if text.starts_with(beginning) {
            return Some(kind);
        }
    }
    let drawn = text.strip_suffix("@mayfly.test").unwrap_or_default();
    let syllables: Vec<&str> = drawn.split('-').collect();
    if syllables.len() == 3 && syllables.iter().all(|it| it.len() == 6) {
        return Some("a drawn address");
    }
    text.parse::<jiff::Timestamp>().is_ok().then_some("a time")
}

/// Compares what was printed: line by line, JSON as JSON wherever it stands.
pub(crate) fn text(shown: &str, found: &str) -> Result<(), String> {
    if let (Ok(shown), Ok(found)) = (serde_json::from_str(shown), serde_json::from_str(found)) {
        return json(&shown, &found, "");
    }
    let (shown_lines, found_lines) = (lines(shown), lines(found));
    if shown_lines.len() != found_lines.len() {
        return Err(format!("{found:?} instead of {shown:?}"));
    }
    let mut pairs = shown_lines.iter().zip(&found_lines);
    pairs.try_for_each(|(shown, found)| match (data(shown), data(found)) {
        (Some(shown), Some(found)) => json(&shown, &found, "data"),
        _ if alike(shown, found) => Ok(()),
        _ => Err(format!("{found:?} instead of {shown:?}")),
    })
}

/// Lines that say something.
fn lines(text: &str) -> Vec<&str> {
    text.lines()
        .map(str::trim_end)
        .filter(|line| !line.is_empty())
        .collect()
}

/// The JSON in a line of an event stream.
fn data(line: &str) -> Option<Value> {
    serde_json::from_str(line.strip_prefix("data: ")?).ok()
}

/// Compares a head: each field that is shown must be there and say the same; numbers that count down may differ.
pub(crate) fn head(shown: &str, found: &str) -> Result<(), String> {
    let plain = |line: &str| {
        let (name, value) = line.split_once(": ").unwrap_or((line, ""));
        let name = name.to_ascii_lowercase();
        let value = match &*name {
            "ratelimit" => value.chars().filter(|it| !it.is_ascii_digit()).collect(),
            _ => value.to_owned(),
        };
        (name, value)
    };
    let found_fields: Vec<_> = found.lines().map(|line| plain(line.trim_end())).collect();
    let missing = shown
        .lines()
        .find(|line| !found_fields.contains(&plain(line)));
    match missing {
        Some(line) => Err(format!("no {line:?} in {found}")),
        None => Ok(()),
    }
}

#[test]
fn what_differs_is_named_and_what_is_drawn_may_differ() {
    let same = |shown: &str, found: &str| text(shown, found);
    let address = [
        "damuki-renuza-hitepa@mayfly.test",
        "petufu-wasawi-rawuha@mayfly.test",
    ];
    assert_eq!(same(address[0], address[1]), Ok(()));
    assert!(same(address[0], "a@mayfly.test").is_err());
    assert_eq!(
        same(
            "{\"at\": \"2026-11-22T10:00:00Z\"}",
            "{\"at\":\"2027-01-01T00:00:00Z\"}"
        ),
        Ok(())
    );
    for (shown, found) in [
        ("{\"a\": 1}", "{\"a\": 2}"),
        ("{\"a\": 1}", "{\"a\": 1, \"b\": 1}"),
        ("{\"a\": null}", "{\"a\": \"x\"}"),
        ("[1]", "[1, 1]"),
        ("a", "a\nb"),
        ("data: {\"id\":\"1\"}", "data: {\"id\":\"2\"}"),
    ] {
        assert!(same(shown, found).is_err(), "{shown} {found}");
    }
    let found = "HTTP/1.1 200 OK\r\na: b\r\nratelimit: r=1\r\n";
    assert_eq!(head("A: b\nRateLimit: r=97", found), Ok(()));
    for shown in ["A: c", "B: b", "HTTP/1.1 201 Created", "RateLimit: q=1"] {
        assert!(head(shown, found).is_err(), "{shown}");
    }
}
