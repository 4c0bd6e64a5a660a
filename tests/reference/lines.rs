//! Lines that are nearly commands: made from the grammar, then spoilt in a few places.

use proptest::prelude::*;
use proptest::sample::{Index, select};

type Line = BoxedStrategy<String>;

/// What is put in the place of something else, beside any byte: what means something to the grammar.
const SPOILERS: &[&str] = &[
    "ü",
    "Ｕ",
    "＠",
    "ﾊﾞ",
    "e\u{301}",
    "Σ",
    "\u{85}",
    "\u{2028}",
    "xn--bcher-kva",
    "한",
    "\u{3002}",
    "<",
    ">",
    "@",
    "\"",
    "\\",
    ".",
    "-",
    ":",
    ",",
    "[",
    "]",
    " ",
    "  ",
    "\t",
    "=",
    "a",
    "0",
    "IPv6:",
    "::",
    "<>",
    "é",
    "\x7f",
    "\x1f",
    "(",
    ")",
    ";",
    "_",
    "1:2",
    "SIZE=1",
    "..",
    "@@",
];

/// One of these, as it stands.
fn one_of(texts: &'static [&'static str]) -> Line {
    select(texts).prop_map(str::to_owned).boxed()
}

fn joined(of: impl Strategy<Value = String> + 'static, by: &'static str, most: usize) -> Line {
    prop::collection::vec(of, 1..=most)
        .prop_map(move |parts| parts.join(by))
        .boxed()
}

fn in_any_case(text: Line) -> Line {
    (text, any::<u32>())
        .prop_map(|(text, cases)| {
            let turned = text.char_indices().map(|(at, letter)| {
                if cases >> (at % 32) & 1 == 1 && letter.is_ascii_lowercase() {
                    letter.to_ascii_uppercase()
                } else {
                    letter
                }
            });
            turned.collect()
        })
        .boxed()
}

fn local_part() -> Line {
    let atom = prop_oneof![
        4 => "[a-z0-9!#$%&'*+/=?^_`{|}~-]{1,8}",
        1 => one_of(&["u", "postmaster", "x"]),
        1 => "[a-züÜßσςΣＵｕﾊﾞ한\u{301}]{1,6}",
    ];
    let content = prop_oneof![
        "[üßΣﾊＡé\u{301} ]{1,3}",
        "[ !#-\\[\\]-~]{1,4}",
        one_of(&["\\\"", "\\\\", "\\a", "\\ ", ".", "u"]),
    ];
    let quoted =
        prop::collection::vec(content, 0..5).prop_map(|parts| format!("\"{}\"", parts.concat()));
    let long = (60_usize..68).prop_map(|len| "l".repeat(len));
    prop_oneof![6 => joined(atom, ".", 3), 3 => quoted, 1 => long].boxed()
}

fn domain() -> Line {
    let label = prop_oneof![
        6 => "[a-z0-9]([a-z0-9-]{0,6}[a-z0-9])?",
        1 => "[a-züßσΣＵﾊ한-]{1,8}",
        1 => one_of(&["xn--bcher-kva", "bücher", "BÜCHER", "xn--a"]),
        1 => (60_usize..66).prop_map(|len| "d".repeat(len)),
    ];
    (joined(label, ".", 5), select(&["", "", "", ".", ".."][..]))
        .prop_map(|(domain, dot)| domain + dot)
        .boxed()
}

fn literal() -> Line {
    let number = prop_oneof![
        4 => (0_u32..300).prop_map(|it| it.to_string()),
        1 => "[0-9]{1,4}",
    ];
    let v4 = prop::collection::vec(number, 3..=5)
        .prop_map(|parts| parts.join("."))
        .boxed();
    let group = "[0-9a-f]{1,4}";
    let groups = prop::collection::vec(group, 0..=8).prop_map(|parts| parts.join(":"));
    let v6 = (
        groups.clone(),
        select(&["::", "::", ":", ""][..]),
        groups,
        prop::option::of(v4.clone()),
    )
        .prop_map(|(before, between, after, v4)| match v4 {
            Some(v4) if after.is_empty() => format!("IPv6:{before}{between}{v4}"),
            Some(v4) => format!("IPv6:{before}{between}{after}:{v4}"),
            None => format!("IPv6:{before}{between}{after}"),
        });
    let general =
        ("[a-z0-9-]{1,5}", "[!-Z^-~]{1,6}").prop_map(|(tag, content)| format!("{tag}:{content}"));
    prop_oneof![3 => v4, 5 => v6, 1 => general]
        .prop_map(|inner| format!("[{inner}]"))
        .boxed()
}

/// `local@domain`, nearly.
pub(crate) fn mailbox() -> Line {
    let host = prop_oneof![5 => domain(), 3 => literal()];
    let mailbox = (local_part(), host).prop_map(|(local, host)| format!("{local}@{host}"));
    in_any_case(mailbox.boxed())
}

fn path() -> Line {
    let route = joined(domain().prop_map(|it| format!("@{it}")), ",", 4).prop_map(|it| it + ":");
    let route = prop_oneof![5 => Just(String::new()), 1 => route];
    let path = (route, mailbox()).prop_map(|(route, mailbox)| format!("<{route}{mailbox}>"));
    prop_oneof![8 => path, 1 => one_of(&["<>", "<Postmaster>", "<postmaster@ours.test>"])].boxed()
}

fn parameters() -> Line {
    let size = prop_oneof![
        any::<u64>().prop_map(|it| it.to_string()),
        "[0-9]{1,24}",
        one_of(&["", "-1", "+5", "1e3", "0"]),
    ]
    .prop_map(|it| format!("SIZE={it}"));
    let known = one_of(&[
        "BODY=7BIT",
        "BODY=8BITMIME",
        "body=8bitmime",
        "BODY=",
        "BODY",
        "BODY=9BIT",
        "BODY=BINARYMIME",
        "SMTPUTF8",
        "smtputf8",
        "SMTPUTF8=1",
        "REQUIRETLS",
    ]);
    let other = (
        "[A-Za-z0-9][A-Za-z0-9-]{0,5}",
        prop::option::of("[!-<>-~]{1,4}"),
    )
        .prop_map(|(keyword, value)| match value {
            Some(value) => format!("{keyword}={value}"),
            None => keyword,
        });
    let parameter = prop_oneof![4 => size, 3 => known, 1 => other];
    let parameter = (select(&[" ", " ", "  ", " \t"][..]), parameter)
        .prop_map(|(space, it)| format!("{space}{it}"));
    prop_oneof![1 => Just(String::new()), 1 => joined(parameter, "", 3)].boxed()
}

/// A line that is a command, or would be if a client were a little better.
fn command() -> Line {
    let colon = || select(&[":", ":", ":", ": ", ":  "][..]);
    let mail = (colon(), path(), parameters())
        .prop_map(|(colon, path, more)| format!("mail from{colon}{path}{more}"));
    let rcpt = (
        colon(),
        path(),
        prop_oneof![4 => Just(String::new()), 1 => parameters()],
    )
        .prop_map(|(colon, path, more)| format!("rcpt to{colon}{path}{more}"));
    let name = prop_oneof![
        domain(),
        literal(),
        "[!-~]{1,12}",
        (250_usize..260).prop_map(|it| "n".repeat(it))
    ];
    let hello =
        (select(&["ehlo", "helo"][..]), name).prop_map(|(verb, name)| format!("{verb} {name}"));
    let plain = one_of(&[
        "data",
        "quit",
        "rset",
        "starttls",
        "noop",
        "help",
        "vrfy",
        "expn",
        "noop x",
        "help x y",
        "vrfy \"a b\"",
        "vrfy u",
        "expn l",
        "data x",
        "starttls x",
        "bdat",
        "bdat 5",
        "bdat 0 last",
        "bdat 007 LAST ",
        "bdat 9223372036854775807",
        "bdat 9223372036854775808 last",
        "turn",
        "",
        "noopx",
    ]);
    let line = prop_oneof![6 => mail, 6 => rcpt, 2 => hello, 2 => plain];
    (
        in_any_case(line.boxed()),
        select(&["", "", "", " ", "  ", "\t"][..]),
    )
        .prop_map(|(line, end)| line + end)
        .boxed()
}

/// What is done to a line: where, how many characters go, and what comes.
fn spoil() -> impl Strategy<Value = (Index, usize, String)> {
    let comes = prop_oneof![
        4 => one_of(SPOILERS),
        2 => Just(String::new()),
        1 => any::<char>().prop_map(String::from),
    ];
    (any::<Index>(), 0..3_usize, comes)
}

fn spoilt(lines: Line) -> impl Strategy<Value = Vec<u8>> {
    let spoils = prop_oneof![2 => Just(Vec::new()), 3 => prop::collection::vec(spoil(), 1..3)];
    (lines, spoils).prop_map(|(line, spoils)| {
        let mut line: Vec<char> = line.chars().collect();
        for (place, gone, comes) in spoils {
            let at = place.index(line.len() + 1);
            let end = line.len().min(at + gone);
            line.splice(at..end, comes.chars());
        }
        // A line that reaches the parser has no CR, LF or NUL.
        line.retain(|it| !matches!(it, '\r' | '\n' | '\0'));
        String::from_iter(line).into_bytes()
    })
}

pub(crate) fn commands() -> impl Strategy<Value = Vec<u8>> {
    spoilt(command())
}

pub(crate) fn mailboxes() -> impl Strategy<Value = Vec<u8>> {
    spoilt(mailbox())
}
