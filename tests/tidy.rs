//! The rules of the house that no compiler checks. Each says what to do instead.

#![forbid(unsafe_code)]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// The architecture: each room with the rooms that it may use. A row names only rooms above it, so there is no circle.
const MAY_USE: &[(&str, &str)] = &[
    // Floor 1: values.
    ("clock", ""),
    ("filter", "clock"),
    ("metrics", ""),
    ("settings", ""),
    ("slab", ""),
    // Floor 2: mail as data, the timer wheel, and breakers.
    ("breaker", "clock"),
    ("mail", "clock filter metrics settings slab"),
    ("wheel", "clock filter metrics settings slab"),
    // Floor 3: the four deciding rooms, which do not know one another.
    (
        "policy",
        "clock filter metrics settings slab breaker mail wheel",
    ),
    ("reading", "settings"),
    ("smtp", "clock filter metrics settings slab mail wheel"),
    ("store", "clock filter metrics settings slab mail wheel"),
    // Floor 4: all settings put together.
    (
        "config",
        "clock filter metrics settings slab mail wheel policy reading smtp store",
    ),
    // Floor 5: the two planes. The control plane asks the cores through the edge's inbox, never the other way.
    (
        "edge",
        "clock filter metrics settings slab mail wheel policy reading smtp store config",
    ),
    (
        "control",
        "clock filter metrics settings slab breaker mail wheel policy reading smtp store config edge",
    ),
    // Floor 6: starts and stops both planes.
    (
        "server",
        "clock filter metrics settings slab mail wheel policy reading smtp store config edge control",
    ),
    // Floor 7: what a person asks for at a terminal.
    ("cli", "settings config edge control server"),
];

/// Rooms of the outer ring, which may have sockets, threads and clocks.
const OUTER: &[&str] = &["edge", "control", "server", "cli"];

/// What the inner ring never names, and what it does instead.
const NOT_IN_THE_INNER_RING: &[(&str, &str)] = &[
    (
        "Mutex",
        "a value has one owner; others ask through an inbox",
    ),
    (
        "RwLock",
        "a value has one owner; others ask through an inbox",
    ),
    ("std::thread", "threads belong to the outer ring"),
    (
        "std::fs",
        "files belong to the outer ring; take their text as an argument",
    ),
    (
        "std::env",
        "the environment belongs to the outer ring; take it as an argument",
    ),
    ("TcpListener", "sockets belong to the outer ring"),
    ("TcpStream", "sockets belong to the outer ring"),
    ("UdpSocket", "sockets belong to the outer ring"),
    (
        "std::time::Instant",
        "time is an argument: crate::clock::Instant",
    ),
    ("SystemTime", "time is an argument: crate::clock::WallClock"),
    ("print!", "give the text to the caller"),
    ("println!", "give the text to the caller"),
    ("eprint!", "give the text to the caller"),
    ("eprintln!", "give the text to the caller"),
    (
        "async",
        "there is no waiting here; say what is needed and be called again",
    ),
    ("glommio", "only src/edge/ knows it"),
    ("rustls", "TLS belongs to the outer ring"),
    ("tokio", "only the outer ring knows it"),
];

/// A ratchet: may fall, never rise.
const FUNCTION_LINES_MAX: usize = 70;
/// A ratchet: may fall, never rise.
const FILE_LINES_MAX: usize = 700;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A text file of the repository.
struct File {
    /// Its path from the root, with slashes.
    path: String,
    text: String,
}

/// All text files below a folder, without what builds and tools leave there.
fn files(folder: &str) -> Vec<File> {
    let mut found = Vec::new();
    let mut folders = vec![root().join(folder)];
    while let Some(folder) = folders.pop() {
        let Ok(entries) = fs::read_dir(&folder) else {
            continue;
        };
        for entry in entries {
            let path = entry.expect("the folder can be read").path();
            let name = path
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned();
            if path.is_dir() {
                if !["target", ".git", "corpus", "artifacts", "node_modules"]
                    .contains(&name.as_str())
                {
                    folders.push(path);
                }
            } else if let Ok(text) = fs::read_to_string(&path) {
                found.push(File {
                    path: relative(&path),
                    text,
                });
            }
        }
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    found
}

fn relative(path: &Path) -> String {
    path.strip_prefix(root())
        .unwrap_or(path)
        .to_string_lossy()
        .replace('\\', "/")
}

fn rust_files(folder: &str) -> Vec<File> {
    let mut found = files(folder);
    found.retain(|file| file.path.ends_with(".rs"));
    found
}

/// The row of a file's room: `src/store/shard.rs` is in `store`; `main.rs` and `lib.rs` are in none.
fn room(path: &str) -> Option<(&'static str, &'static str)> {
    let inside = path.strip_prefix("src/")?;
    let name = inside.split('/').next()?.trim_end_matches(".rs");
    MAY_USE.iter().copied().find(|(room, _)| *room == name)
}

/// Source with comments and the contents of strings blanked; line breaks stay.
fn code(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let (skipped, kept) = if rest.starts_with("//") {
            (rest.find('\n').unwrap_or(rest.len()), "")
        } else if rest.starts_with("/*") {
            (rest.find("*/").map_or(rest.len(), |at| at + 2), " ")
        } else if let Some(length) = raw_string(rest) {
            (length, "\"\"")
        } else if first == '"' {
            (string(rest), "\"\"")
        } else if rest.starts_with("'\"'") {
            (3, "' '")
        } else if rest.starts_with("'\\") {
            (rest[3..].find('\'').map_or(rest.len(), |at| at + 4), "' '")
        } else {
            out.push(first);
            rest = &rest[first.len_utf8()..];
            continue;
        };
        out.push_str(kept);
        out.extend(
            rest[..skipped]
                .chars()
                .filter(|character| *character == '\n'),
        );
        rest = &rest[skipped..];
    }
    out
}

/// The length of the string that begins here.
fn string(text: &str) -> usize {
    let mut escaped = false;
    for (at, character) in text.char_indices().skip(1) {
        match character {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return at + 1,
            _ => {}
        }
    }
    text.len()
}

/// The length of the raw string that begins here, if one does.
fn raw_string(text: &str) -> Option<usize> {
    let after = text.strip_prefix("br").or_else(|| text.strip_prefix('r'))?;
    let hashes = after.len() - after.trim_start_matches('#').len();
    let opening = text.len() - after.len() + hashes + 1;
    after[hashes..].starts_with('"').then_some(())?;
    let end = format!("\"{}", "#".repeat(hashes));
    Some(
        text[opening..]
            .find(&end)
            .map_or(text.len(), |at| opening + at + end.len()),
    )
}

fn is_word_character(character: char) -> bool {
    character.is_alphanumeric() || character == '_'
}

/// Where `word` stands on its own, not as a part of a longer word.
fn occurrences<'a>(text: &'a str, word: &'a str) -> impl Iterator<Item = usize> + 'a {
    text.match_indices(word)
        .map(|(at, _)| at)
        .filter(move |at| {
            let before = text[..*at].chars().next_back();
            let after = text[at + word.len()..].chars().next();
            !before.is_some_and(is_word_character)
                && (!word.ends_with(is_word_character) || !after.is_some_and(is_word_character))
        })
}

fn line_number(text: &str, at: usize) -> usize {
    text[..at].matches('\n').count() + 1
}

/// The first name of each path behind a `crate::` or an equal number of `super::`, groups in braces included.
fn used_from_the_root(path: &str, code: &str) -> Vec<(usize, String)> {
    let depth = path.trim_end_matches("/mod.rs").matches('/').count();
    let climb = "super::".repeat(depth);
    let mut used = Vec::new();
    for start in ["crate::", "mayfly::", climb.as_str()] {
        for at in occurrences(code, start).collect::<Vec<_>>() {
            let behind = &code[at + start.len()..];
            used.extend(first_names(behind).into_iter().map(|name| (at, name)));
        }
    }
    used
}

/// `a::b` gives a; `{a::{b, c}, d}` gives a and d.
fn first_names(text: &str) -> Vec<String> {
    let name = |text: &str| {
        text.chars()
            .take_while(|c| is_word_character(*c))
            .collect::<String>()
    };
    let Some(group) = text.strip_prefix('{') else {
        return vec![name(text)];
    };
    let mut names = Vec::new();
    let (mut depth, mut item) = (1, 0);
    for (at, character) in group.char_indices() {
        match character {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        if depth == 0 || (depth == 1 && character == ',') {
            names.push(name(group[item..at].trim_start()));
            item = at + 1;
        }
        if depth == 0 {
            break;
        }
    }
    names
}

fn report(rule: &str, offences: Vec<String>) {
    assert!(offences.is_empty(), "{rule}\n  {}\n", offences.join("\n  "));
}

#[test]
fn rooms_use_only_what_stands_on_lower_floors() {
    let rooms: Vec<&str> = MAY_USE.iter().map(|(room, _)| *room).collect();
    for (index, (room, uses)) in MAY_USE.iter().enumerate() {
        let lower = uses
            .split_whitespace()
            .all(|used| rooms[..index].contains(&used));
        assert!(lower, "{room} names a room that does not stand above it");
    }
    let mut offences = Vec::new();
    for file in rust_files("src") {
        let Some((room, allowed)) = room(&file.path) else {
            continue;
        };
        let code = code(&file.text);
        for (at, used) in used_from_the_root(&file.path, &code) {
            let known = used != room && rooms.contains(&used.as_str());
            if known && !allowed.split_whitespace().any(|name| name == used) {
                offences.push(format!(
                    "{}:{}: {room} uses {used}",
                    file.path,
                    line_number(&code, at)
                ));
            }
        }
    }
    report(
        "An arrow points only to a lower floor (MAY_USE in tests/tidy.rs).",
        offences,
    );
}

#[test]
fn every_room_has_a_row() {
    let declared =
        code(&fs::read_to_string(root().join("src/lib.rs")).expect("there is a library"));
    let declared: BTreeSet<&str> = modules(&declared).collect();
    let rows: BTreeSet<&str> = MAY_USE.iter().map(|(room, _)| *room).collect();
    assert_eq!(
        declared, rows,
        "src/lib.rs and MAY_USE name different rooms"
    );
}

#[test]
fn the_inner_ring_only_decides() {
    let mut offences = Vec::new();
    for file in rust_files("src") {
        if room(&file.path).is_none_or(|(room, _)| OUTER.contains(&room)) {
            continue;
        }
        let code = code(&file.text);
        let first = code.trim_start();
        if !first.is_empty() && !first.starts_with("#![forbid(unsafe_code)]") {
            offences.push(format!(
                "{}: begins without #![forbid(unsafe_code)]",
                file.path
            ));
        }
        if file.path.ends_with("/tests.rs") {
            continue;
        }
        // Tests stand last in a file and may read files.
        let code = code.split("#[cfg(test)]").next().unwrap_or_default();
        for (word, instead) in NOT_IN_THE_INNER_RING {
            for at in occurrences(code, word) {
                offences.push(format!(
                    "{}:{}: {word}: {instead}",
                    file.path,
                    line_number(code, at)
                ));
            }
        }
        for at in occurrences(code, "std::time::{") {
            let names = code[at..].split('}').next().unwrap_or_default();
            if occurrences(names, "Instant").next().is_some() {
                offences.push(format!(
                    "{}:{}: time is an argument",
                    file.path,
                    line_number(code, at)
                ));
            }
        }
    }
    report("The inner ring decides; it does not act.", offences);
}

#[test]
fn unsafe_code_stands_in_one_room() {
    let mut offences = Vec::new();
    for file in rust_files("src") {
        if file.path.starts_with("src/edge/ring/") {
            continue;
        }
        let code = code(&file.text);
        for at in occurrences(&code, "unsafe") {
            offences.push(format!("{}:{}", file.path, line_number(&code, at)));
        }
    }
    report(
        "Only src/edge/ring/ may be unsafe; give it a safe verb.",
        offences,
    );
}

#[test]
fn functions_and_files_stay_short() {
    let mut offences = Vec::new();
    for file in ["src", "tests", "benches", "loadtest", "fuzz"]
        .into_iter()
        .flat_map(rust_files)
    {
        let lines = file.text.lines().count();
        if lines > FILE_LINES_MAX {
            offences.push(format!(
                "{}: {lines} lines; is it still one room?",
                file.path
            ));
        }
        for (start, length) in functions(&code(&file.text)) {
            if length > FUNCTION_LINES_MAX {
                offences.push(format!(
                    "{}:{start}: a function of {length} lines",
                    file.path
                ));
            }
        }
    }
    report("What is short stays short.", offences);
}

/// First line and number of lines of each function. rustfmt puts the closing brace below the first character.
fn functions(code: &str) -> Vec<(usize, usize)> {
    let lines: Vec<&str> = code.lines().collect();
    let mut found = Vec::new();
    for (index, line) in lines.iter().enumerate() {
        if occurrences(line, "fn ").next().is_none() {
            continue;
        }
        let indent = &line[..line.len() - line.trim_start().len()];
        let closing = format!("{indent}}}");
        let signature_ends = lines[index..]
            .iter()
            .position(|line| line.ends_with(['{', ';', '}']));
        let Some(body) = signature_ends.filter(|at| lines[index + at].ends_with('{')) else {
            continue;
        };
        let length = lines[index + body..]
            .iter()
            .position(|line| *line == closing);
        found.extend(length.map(|length| (index + 1, body + length + 1)));
    }
    found
}

#[test]
fn every_source_file_is_part_of_the_program() {
    let mut reached = BTreeSet::new();
    let mut waiting = vec![PathBuf::from("src/lib.rs"), PathBuf::from("src/main.rs")];
    while let Some(path) = waiting.pop() {
        let text = fs::read_to_string(root().join(&path)).expect("is there");
        let stem = path.file_stem().unwrap_or_default();
        let folder = path.parent().expect("is in src");
        let folder = if ["lib", "main", "mod"].iter().any(|name| stem == *name) {
            folder.to_owned()
        } else {
            folder.join(stem)
        };
        for module in modules(&code(&text)) {
            let choices = [
                folder.join(format!("{module}.rs")),
                folder.join(module).join("mod.rs"),
            ];
            waiting.extend(
                choices
                    .into_iter()
                    .filter(|path| root().join(path).exists()),
            );
        }
        reached.insert(relative(&root().join(path)));
    }
    let mut offences: Vec<String> = rust_files("src")
        .into_iter()
        .map(|file| file.path)
        .collect();
    offences.retain(|path| !reached.contains(path));
    report(
        "No `mod` leads to these files: name them or take them out.",
        offences,
    );
}

/// The names in `mod name;`.
fn modules(code: &str) -> impl Iterator<Item = &str> {
    code.lines().filter_map(|line| {
        let (before, name) = line.trim().strip_suffix(';')?.rsplit_once("mod ")?;
        (before.is_empty() || before.ends_with(' ')).then_some(name)
    })
}

#[test]
fn every_document_has_one_title() {
    let mut offences = Vec::new();
    for file in files("docs")
        .into_iter()
        .filter(|file| file.path.ends_with(".md"))
    {
        let outside_blocks = file.text.split("```").step_by(2);
        let titles = outside_blocks
            .flat_map(str::lines)
            .filter(|line| line.starts_with("# "))
            .count();
        if titles != 1 {
            offences.push(format!("{}: {titles} lines begin with \"# \"", file.path));
        }
    }
    report("A document has exactly one title.", offences);
}

#[test]
fn every_dialogue_says_what_it_shows() {
    let mut offences = files("tests/transcripts");
    offences.retain(|file| file.path.ends_with(".smtp") && !file.text.starts_with('#'));
    report(
        "The first line of a dialogue is a comment.",
        offences.into_iter().map(|file| file.path).collect(),
    );
}

/// Needles are put together here, so that this file does not find itself.
fn joined(pieces: &[[&str; 2]]) -> Vec<String> {
    pieces.iter().map(|pieces| pieces.concat()).collect()
}

fn found_in<'a>(files: impl IntoIterator<Item = &'a File>, needles: &[String]) -> Vec<String> {
    let mut offences = Vec::new();
    for file in files {
        for needle in needles {
            for (at, _) in file.text.match_indices(needle.as_str()) {
                offences.push(format!(
                    "{}:{}: {needle}",
                    file.path,
                    line_number(&file.text, at)
                ));
            }
        }
    }
    offences
}

#[test]
fn nothing_is_left_for_later_and_no_test_is_left_out() {
    let unfinished = joined(&[["TO", "DO"], ["FIX", "ME"], ["XX", "X"], ["#[ign", "ore"]]);
    let sources: Vec<File> = ["src", "tests", "benches", "loadtest", "fuzz"]
        .into_iter()
        .flat_map(rust_files)
        .collect();
    report(
        "Do it now, or write an issue.",
        found_in(&sources, &unfinished),
    );
    let tests = sources
        .iter()
        .filter(|file| file.path.starts_with("tests/"));
    report(
        "Wait for the condition, not for time to pass.",
        found_in(tests, &joined(&[["sle", "ep("]])),
    );
}

#[test]
fn the_repository_names_no_machine() {
    let needles = joined(&[
        ["/ro", "ot/"],
        ["/ho", "me/"],
        ["crates", ".io"],
        ["pypi", ".org"],
        ["npmjs", ".com"],
        ["npmjs", ".org"],
        ["deb.deb", "ian.org"],
    ]);
    let all = files("");
    let written = all.iter().filter(|file| !file.path.ends_with(".lock"));
    report(
        "Paths and registries of one machine do not belong here.",
        found_in(written, &needles),
    );
}

#[test]
fn the_reader_of_this_test_reads_rust() {
    let text = "let a = \"// no\"; // crate::x\nlet b = r#\"un\"safe\"#; 'a'; '\"'; '\\''; /* y */ let c = 1;";
    assert_eq!(
        code(text),
        "let a = \"\"; \nlet b = \"\"; 'a'; ' '; ' ';   let c = 1;"
    );
    assert_eq!(
        first_names("{policy, smtp::{Limits, Reply}, store as s};"),
        ["policy", "smtp", "store"]
    );
    assert_eq!(first_names("clock::Instant;"), ["clock"]);
    let climbing = used_from_the_root(
        "src/store/shard.rs",
        "use super::super::policy::Rules; use super::Budget;",
    );
    assert_eq!(
        climbing
            .iter()
            .map(|(_, name)| name.as_str())
            .collect::<Vec<_>>(),
        ["policy"]
    );
    assert_eq!(
        functions("fn a(\n) {\n    b();\n}\nfn c();\n    fn d() {}\n"),
        [(1, 4)]
    );
    assert_eq!(
        occurrences("Instant Instants MyInstant", "Instant").count(),
        1
    );
}
