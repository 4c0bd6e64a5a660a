//! What becomes of which part, as tables.

#![forbid(unsafe_code)]

use super::*;

/// The policy of the first table of these rules.
fn policy(toml: &str) -> Policy {
    let mut rules: Rules = toml::from_str(toml).expect("rules");
    normalize(&mut rules).expect("sound");
    let policies = Policies::new(&rules);
    let policy = policies.of("one.test").expect("something is looked at");
    Policy::clone(policy)
}

fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

fn why(policy: &Policy, name: &str, said: &str, bytes: &[u8], is_shown: bool) -> Option<Why> {
    let names = match name {
        "" => Vec::new(),
        name => names(&[name]),
    };
    let part = Part {
        names: &names,
        said,
        bytes,
        is_shown,
    };
    policy.judge().look(&part)
}

const OCTETS: &str = "application/octet-stream";

/// The head of a file in a ZIP archive, as its table of contents has it, or as it stands before the file itself.
fn zip_head(name: &str, is_table: bool) -> Vec<u8> {
    let length = u16::try_from(name.len()).expect("short").to_le_bytes();
    let (mut head, length_at) = match is_table {
        true => ([b"PK\x01\x02".as_slice(), &[0; 42]].concat(), 28),
        false => ([b"PK\x03\x04".as_slice(), &[0; 26]].concat(), 26),
    };
    head[length_at..length_at + 2].copy_from_slice(&length);
    head.extend_from_slice(name.as_bytes());
    head
}

#[test]
fn a_file_is_what_its_bytes_say() {
    let everything = policy(
        "policy = \"cap\"\nblocked_names = []\n\
         blocked_kinds = [\"archive\", \"executable\", \"html\", \"macros\", \"message\", \"script\", \"shortcut\"]",
    );
    let old_macros = [
        b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1".to_vec(),
        b"_\0V\0B\0A\0_\0P\0R\0O\0J\0E\0C\0T\0".to_vec(),
    ]
    .concat();
    let new_macros = zip_head("word/vbaProject.bin", false);
    let tar = [vec![b'x'; 257], b"ustar".to_vec()].concat();
    let iso = [vec![1; 0x8001], b"CD001".to_vec()].concat();
    for (bytes, said, expected) in [
        (&b"MZ\x90\0\x03\0"[..], "image/png", Some(Kind::Executable)),
        (b"\x7fELF\x02\x01", "text/plain", Some(Kind::Executable)),
        (b"\xcf\xfa\xed\xfe\x07", OCTETS, Some(Kind::Executable)),
        (b"\xca\xfe\xba\xbe\0\0", OCTETS, Some(Kind::Executable)),
        (b"#!/bin/sh\n", "text/x-sh", Some(Kind::Script)),
        (b"\xef\xbb\xbf#!/bin/sh\n", OCTETS, Some(Kind::Script)),
        (b"L\0\0\0\x01\x14\x02\0\0", OCTETS, Some(Kind::Shortcut)),
        (b"[InternetShortcut]\r\nURL=", OCTETS, Some(Kind::Shortcut)),
        (&old_macros, "application/msword", Some(Kind::Macros)),
        (&new_macros, OCTETS, Some(Kind::Macros)),
        (b"PK\x03\x04", "application/pdf", Some(Kind::Archive)),
        (b"Rar!\x1a\x07\x01\0", OCTETS, Some(Kind::Archive)),
        (&tar, OCTETS, Some(Kind::Archive)),
        (&iso, OCTETS, Some(Kind::Archive)),
        (b" \r\n<!DOCTYPE HTML>", "image/png", Some(Kind::Html)),
        (
            b"\xff\xfe<\0s\0c\0r\0i\0p\0t\0>\0",
            OCTETS,
            Some(Kind::Html),
        ),
        (b"<?xml version=\"1.0\"?>\n<SVG>", OCTETS, Some(Kind::Html)),
        (b"harmless", "text/html", Some(Kind::Html)),
        (
            b"From: a@b\r\n\r\nbody",
            "message/rfc822",
            Some(Kind::Message),
        ),
        (b"%PDF-1.7", "application/pdf", None),
        (b"\x89PNG\r\n\x1a\n", "image/png", None),
        (b"MZ is how this letter begins", "text/plain", None),
        (b"", OCTETS, None),
        (b"P", OCTETS, None),
    ] {
        let expected = expected.map(Why::Kind);
        let found = why(&everything, "", said, bytes, false);
        assert_eq!(found, expected, "{}", bytes.escape_ascii());
    }
}

#[test]
fn the_text_of_a_message_may_look_like_a_file() {
    let everything = policy(
        "policy = \"cap\"\nblocked_kinds = [\"executable\", \"script\", \"html\", \"message\"]",
    );
    for (bytes, said) in [
        (&b"#!/bin/sh is how scripts begin"[..], "text/plain"),
        (b"<html><body>Hello", "text/html"),
        (b"MZ", "text/plain"),
    ] {
        let is_program = bytes.len() == 2;
        assert_eq!(
            why(&everything, "", said, bytes, true).is_some(),
            is_program
        );
    }
    let program = why(
        &everything,
        "",
        "text/plain",
        b"\x7fELF\x02\x01\x01\0\0",
        true,
    );
    assert_eq!(program, Some(Why::Kind(Kind::Executable)));
}

#[test]
fn an_ending_cannot_be_hidden() {
    let strict = policy("policy = \"refuse\"\nblocked_names = [\"exe\", \".SCR\", \"*.js\"]");
    for (name, is_blocked) in [
        ("a.exe", true),
        ("A.EXE", true),
        ("report.pdf.exe", true),
        ("report.pdf                         .exe", true),
        ("a.exe.", true),
        ("a.exe . .", true),
        ("a.exe::$DATA", true),
        ("a.exe__$DATA", true),
        ("folder/a.scr", true),
        ("folder\\a.js", true),
        ("a.{00000000-0000-0000-0000-000000000000}", true),
        (".exe", true),
        ("a.exe.txt", false),
        ("exe", false),
        ("a.json", false),
        ("an_exe.txt", false),
        ("one.exe_two.txt", false),
        ("", false),
    ] {
        let found = why(&strict, name, OCTETS, b"x", false);
        assert_eq!(found.is_some(), is_blocked, "{name}");
    }
    // Either of two names is enough.
    let part = Part {
        names: &names(&["a.txt", "a.exe"]),
        said: OCTETS,
        bytes: b"x",
        is_shown: true,
    };
    assert_eq!(strict.judge().look(&part), Some(Why::Name));
}

#[test]
fn names_inside_of_archives_count() {
    let strict = policy("policy = \"refuse\"\nblocked_names = [\"exe\"]\nblocked_kinds = []");
    let stub = b"anything before it".to_vec();
    for is_table in [true, false] {
        for (name, is_blocked) in [("a/b/setup.exe", true), ("a/b/setup.txt", false)] {
            let zip = [
                stub.clone(),
                zip_head("first.txt", is_table),
                zip_head(name, is_table),
            ]
            .concat();
            let found = why(&strict, "a.zip", "application/zip", &zip, false);
            assert_eq!(found, is_blocked.then_some(Why::NameInside), "{name}");
        }
        // Cut short, a name that is longer than the file, and one of nothing.
        let mut head = zip_head("x.exe", is_table);
        head.pop();
        assert_eq!(why(&strict, "", OCTETS, &head, false), None);
    }
    assert_eq!(kind::names_in_zip(b"PK\x01\x02").count(), 0);
}

#[test]
fn what_is_too_large_goes_and_the_rest_stays() {
    let small = policy("policy = \"cap\"\npart_bytes_max = 10\ntotal_bytes_max = 15");
    let mut judge = small.judge();
    let mut look = |bytes: usize, is_shown| {
        judge.look(&Part {
            names: &[],
            said: "image/png",
            bytes: &vec![b'x'; bytes],
            is_shown,
        })
    };
    for (bytes, is_shown, expected) in [
        (1000, true, None),
        (10, false, None),
        (11, false, Some(Why::TooLarge)),
        (6, false, Some(Why::TooLargeTogether)),
        (5, false, None),
        (1, false, Some(Why::TooLargeTogether)),
        (0, false, None),
    ] {
        assert_eq!(look(bytes, is_shown), expected, "{bytes}");
    }
    assert!(!judge.refuses(), "it removes");
}

#[test]
fn each_action_does_its_own() {
    for (action, attachment, program, refuses) in [
        ("cap", None, Some(Why::Name), false),
        ("strip", Some(Why::Attachment), Some(Why::Attachment), false),
        ("refuse", None, Some(Why::Name), true),
    ] {
        let policy = policy(&format!("policy = \"{action}\""));
        let mut judge = policy.judge();
        let mut look = |name: &str, is_shown| {
            judge.look(&Part {
                names: &names(&[name]),
                said: "image/png",
                bytes: b"x",
                is_shown,
            })
        };
        assert_eq!(look("a.png", false), attachment, "{action}");
        assert_eq!(look("a.exe", false), program, "{action}");
        assert_eq!(look("a.txt", true), None, "{action}: what is shown stays");
        assert_eq!(judge.refuses(), refuses, "{action}");
    }
}

#[test]
fn a_domain_has_its_own_policy_or_that_of_the_one_above() {
    let mut rules: Rules = toml::from_str(
        "policy = \"strip\"\nblocked_names = [\"exe\"]\n\
         [[domains]]\ndomains = [\"One.TEST.\", \"b\u{fc}cher.test\"]\npolicy = \"cap\"\npart_bytes_max = \"1 KiB\"\n\
         [[domains]]\ndomains = [\"free.one.test\"]\npolicy = \"keep\"\n",
    )
    .expect("rules");
    normalize(&mut rules).expect("sound");
    let policies = Policies::new(&rules);
    assert!(Policies::new(&Rules::default()).of("one.test").is_none());
    let action = |domain: &str| policies.of(domain).map(|policy| policy.action);
    for (domain, expected) in [
        ("one.test", Some(Action::Cap)),
        ("a.one.test", Some(Action::Cap)),
        ("xn--bcher-kva.test", Some(Action::Cap)),
        ("free.one.test", None),
        ("a.free.one.test", None),
        ("two.test", Some(Action::Strip)),
        ("aone.test", Some(Action::Strip)),
    ] {
        assert_eq!(action(domain), expected, "{domain}");
    }
    let own = policies.of("one.test").expect("cap");
    assert_eq!((own.part_bytes_max, own.total_bytes_max), (1024, 20 << 20));
    assert_eq!(own.blocked_names, ["exe"]);
    let printed = rules.domains[0].toml().expect("a table");
    assert_eq!(
        printed,
        "{ domains = [\"one.test\", \"xn--bcher-kva.test\"], policy = \"cap\", part_bytes_max = \"1 KiB\" }"
    );
}

#[test]
fn what_is_wrong_is_named_with_its_table() {
    let table = |domains: &str| format!("[[domains]]\ndomains = [{domains}]\npolicy = \"cap\"\n");
    for (toml, place, said) in [
        (
            "blocked_names = [\"tar.gz\"]".to_owned(),
            None,
            "\"tar.gz\" is not the ending of a name",
        ),
        (
            "blocked_names = [\".\"]".to_owned(),
            None,
            "\".\" is not the ending of a name",
        ),
        (
            table("\"a..b\""),
            Some(0),
            "\"a..b\" is not the name of a domain",
        ),
        (
            table("\"a.test\"") + &table("\"b.test\", \"A.test\""),
            Some(1),
            "\"a.test\" has two policies",
        ),
        (
            table("\"a.test\"") + "blocked_names = [\"\"]",
            Some(0),
            "\"\" is not the ending of a name",
        ),
    ] {
        let mut rules: Rules = toml::from_str(&toml).expect("rules");
        let (why, at) = normalize(&mut rules).expect_err("wrong");
        assert_eq!((why.to_string().as_str(), at), (said, place));
    }
}
