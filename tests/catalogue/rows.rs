//! Every row of the catalogue has a test that is named by it, or a reason why it has none.

use std::fs;
use std::path::Path;

/// The chapters that are held to this, and how many rows each has.
const CHAPTERS: &[(char, u32)] = &[
    ('A', 20),
    ('B', 14),
    ('C', 8),
    ('D', 17),
    ('E', 18),
    ('F', 11),
    ('G', 8),
    ('J', 8),
    ('K', 9),
    ('L', 7),
    ('M', 10),
    ('N', 8),
];

/// Rows whose test has another name, since it shows more than the row asks for: row, file, test.
const ELSEWHERE: &[(&str, &str, &str)] = &[
    (
        "F11",
        "tests/pressure.rs",
        "overloaded_it_takes_small_messages_and_defers_large_ones",
    ),
    (
        "M2",
        "src/control/token.rs",
        "m2_a_million_tokens_differ_in_all_their_bits",
    ),
    (
        "M4",
        "tests/markers.rs",
        "nothing_of_what_strangers_send_stays_anywhere",
    ),
    (
        "M5",
        "tests/api/attacks.rs",
        "pages_of_other_sites_change_nothing",
    ),
    (
        "M6",
        "tests/api/attacks.rs",
        "pages_of_other_sites_change_nothing",
    ),
    (
        "M7",
        "tests/api/attacks.rs",
        "every_answer_is_protected_and_every_error_is_a_problem_without_secrets",
    ),
    (
        "N7",
        "tests/stopping.rs",
        "hang_up_puts_new_limits_in_force_and_a_bad_file_changes_nothing",
    ),
    (
        "N7",
        "tests/clients.rs",
        "the_name_chooses_the_certificate_and_a_new_one_is_served_after_hang_up",
    ),
    (
        "D9",
        "tests/hostile.rs",
        "nothing_said_in_the_clear_after_tls_has_ended_is_read",
    ),
    (
        "D12",
        "src/edge/link.rs",
        "a_handshake_waits_for_nobody_who_is_silent_or_slow",
    ),
    (
        "C6",
        "tests/hostile.rs",
        "a_client_that_never_reads_is_not_read_either",
    ),
    (
        "D5",
        "tests/hostile.rs",
        "nothing_said_before_the_handshake_counts_after_it",
    ),
    (
        "D13",
        "tests/clients.rs",
        "a_session_is_resumed_at_its_listener_and_at_no_other",
    ),
    (
        "D14",
        "tests/clients.rs",
        "what_is_too_old_or_not_mail_finds_no_tls_here",
    ),
    (
        "D16",
        "tests/clients.rs",
        "what_is_too_old_or_not_mail_finds_no_tls_here",
    ),
    (
        "F1",
        "tests/crowd.rs",
        "twenty_thousand_connections_are_held_while_mail_flows",
    ),
    (
        "F3",
        "tests/front_door.rs",
        "one_client_has_so_many_connections_and_no_more",
    ),
];

/// Rows that have no test, and why.
const LEFT_OUT: &[(&str, &str)] = &[
    (
        "A17",
        "nothing is relayed: there is no next host whose idea of an end could differ",
    ),
    (
        "A18",
        "nothing is relayed, so nothing is stuffed with dots again",
    ),
    (
        "D17",
        "nothing is relayed: there is no TLS towards another server",
    ),
    ("F10", "no name is looked up in DNS"),
    (
        "G6",
        "nothing is relayed: there is no way back to ourselves",
    ),
    (
        "G7",
        "nothing is relayed: there is no next host that could fail",
    ),
    (
        "G8",
        "nothing is relayed: there is no next host whose replies are read",
    ),
    ("N8", "no DNS list is asked"),
];

/// The sources of all tests.
fn sources(folder: &Path, found: &mut Vec<(String, String)>) {
    for entry in fs::read_dir(folder).expect("the folder can be read") {
        let path = entry.expect("the folder can be read").path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|it| it == "rs") {
            let text = fs::read_to_string(&path).expect("it can be read");
            found.push((path.to_string_lossy().into_owned(), text));
        }
    }
}

/// Whether a test is named by the row: `a01_...` or `a1_...`, or several rows in one: `n2_and_n3_...`.
fn has_test(files: &[(String, String)], chapter: char, number: u32) -> bool {
    let starts = [
        format!("{chapter}{number}_"),
        format!("{chapter}{number:02}_"),
    ];
    let mut names = files.iter().flat_map(|(_, text)| names_of_tests(text));
    names.any(|name| {
        let mut rows = name.split("_and_");
        rows.any(|part| {
            let part = format!("{part}_");
            starts.iter().any(|start| part.starts_with(start))
        })
    })
}

/// The names of the tests in a source, wherever they stand.
fn names_of_tests(text: &str) -> impl Iterator<Item = &str> {
    let behind = text.split("#[test]\n").skip(1);
    behind.filter_map(|test| test.trim_start().strip_prefix("fn ")?.split('(').next())
}

#[test]
fn every_row_has_a_test_or_a_reason() {
    let mut files = Vec::new();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for folder in ["src", "tests"] {
        sources(&root.join(folder), &mut files);
    }
    let has_test = |chapter, number| has_test(&files, chapter, number);
    for (row, file, test) in ELSEWHERE {
        let text = fs::read_to_string(root.join(file)).expect("it can be read");
        let exists = names_of_tests(&text).any(|name| name == *test);
        assert!(exists, "{row}: no {test} in {file}");
    }
    let rows = CHAPTERS
        .iter()
        .flat_map(|(chapter, rows)| (1..=*rows).map(move |row| (*chapter, row)));
    let mut missing = Vec::new();
    for (chapter, number) in rows {
        let row = format!("{chapter}{number}");
        let named = has_test(chapter.to_ascii_lowercase(), number);
        let elsewhere = ELSEWHERE.iter().any(|(it, ..)| *it == row);
        let left_out = LEFT_OUT.iter().any(|(it, _)| *it == row);
        if !(named || elsewhere || left_out) {
            missing.push(row.clone());
        }
        assert!(!(named && left_out), "{row} has a test: it is not left out");
    }
    assert!(missing.is_empty(), "rows without a test: {missing:?}");
}

/// Every word between backquotes in this text.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

#[test]
fn the_tests_that_the_pages_name_exist() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = Vec::new();
    for folder in ["src", "tests"] {
        sources(&root.join(folder), &mut files);
    }
    let page = |name: &str| fs::read_to_string(root.join("docs").join(name)).expect("it is there");
    let conformance = page("conformance.md");
    let mut seen = 0;
    for row in conformance.lines().filter(|line| line.starts_with('|')) {
        let tested = row.trim_end_matches(" |").rsplit(" | ").next();
        for name in quoted(tested.unwrap_or_default()) {
            let is_test = name.contains('_') && !name.contains(['/', '.', ' ', '=']);
            let is_dialogue = root.join(format!("tests/transcripts/{name}.smtp")).exists();
            if is_test && !is_dialogue {
                seen += 1;
                let declared = format!("fn {name}(");
                let exists = files.iter().any(|(_, text)| text.contains(&declared));
                assert!(exists, "docs/conformance.md names {name}, which is no test");
            }
            if name.starts_with("tests/") {
                assert!(root.join(name).exists(), "docs/conformance.md names {name}");
            }
        }
    }
    assert!(seen > 30, "the page names tests");
    for line in page("vulnerabilities.md").lines() {
        let rows = line.trim_end_matches(" |").rsplit(" | ").next();
        for row in rows.unwrap_or_default().split([',', '\u{2013}', ' ']) {
            let Some((chapter, number)) = row.split_at_checked(1) else {
                continue;
            };
            let (Some(chapter), Ok(number)) = (chapter.chars().next(), number.parse()) else {
                continue;
            };
            if chapter.is_ascii_uppercase() && line.starts_with('|') {
                let named = has_test(&files, chapter.to_ascii_lowercase(), number);
                let elsewhere = ELSEWHERE.iter().any(|(it, ..)| *it == row);
                assert!(
                    named || elsewhere,
                    "docs/vulnerabilities.md names {row}, which no test is named by"
                );
            }
        }
    }
}
