//! A: ends of data that are none, and what would be smuggled in behind them.

use crate::case::{Case, bytes, hex};

const HEAD: &str = "Subject: t\r\n\r\nbody";
const ENVELOPE: &str = "MAIL FROM:<smuggled@x.example>\r\nRCPT TO:<u1@ours.test>\r\nDATA\r\n";
const EVIL: &str = "Subject: evil\r\n\r\nx\r\n";
const REFUSED: &str = "550 5.5.2";

/// All that is said behind the 354, with `end` where an end of data may be seen.
fn smuggle(end: &[u8]) -> Vec<u8> {
    [
        HEAD.as_bytes(),
        end,
        ENVELOPE.as_bytes(),
        EVIL.as_bytes(),
        b".\r\n",
    ]
    .concat()
}

/// It ends nothing, and the message is refused at its true end.
#[track_caller]
fn refused(ends: &[&str]) {
    for end in ends {
        Case::data()
            .say(smuggle(&hex(end)), REFUSED)
            .verify()
            .stored(&[]);
    }
}

/// It ends nothing, and is content; `content` is what is left of it there.
#[track_caller]
fn kept(ends: &[(&str, &str)]) {
    for (end, content) in ends {
        let whole = [
            HEAD.as_bytes(),
            &hex(content),
            ENVELOPE.as_bytes(),
            EVIL.as_bytes(),
        ]
        .concat();
        Case::data()
            .say(smuggle(&hex(end)), "250")
            .verify()
            .stored(&[("u1", "s@x.example", &whole)]);
    }
}

#[test]
fn a01_the_true_end() {
    let first = [HEAD, "\r\n.\r\n", ENVELOPE].concat();
    Case::data()
        .say(first, "250, 250, 250, 354")
        .say([EVIL, ".\r\n"].concat(), "250")
        .verify()
        .stored(&[
            ("u1", "s@x.example", &[HEAD, "\r\n"].concat().into_bytes()),
            ("u1", "smuggled@x.example", EVIL.as_bytes()),
        ]);
}

#[test]
fn a02_lf_dot_lf() {
    refused(&["0A2E0A"]);
}

#[test]
fn a03_lf_dot_crlf() {
    refused(&["0A2E0D0A"]);
}

#[test]
fn a04_crlf_dot_lf() {
    refused(&["0D0A2E0A"]);
}

#[test]
fn a05_cr_dot_cr() {
    refused(&["0D2E0D"]);
}

#[test]
fn a06_mixtures_of_bare_cr_and_lf() {
    refused(&["0D2E0A", "0A2E0D", "0D2E0D0A", "0D0A2E0D"]);
}

#[test]
fn a07_crlf_dot_cr_crlf() {
    refused(&["0D0A2E0D0D0A"]);
}

#[test]
fn a08_cr_crlf_dot_cr_crlf() {
    refused(&["0D0D0A2E0D0D0A"]);
}

#[test]
fn a09_nul_beside_the_dot() {
    refused(&["0D0A002E0D0A", "0D0A2E000D0A"]);
}

#[test]
fn a10_white_space_behind_the_dot() {
    kept(&[
        ("0D0A2E200D0A", "0D0A200D0A"),
        ("0D0A2E090D0A", "0D0A090D0A"),
        ("0D0A2E0B0D0A", "0D0A0B0D0A"),
        ("0D0A2E0C0D0A", "0D0A0C0D0A"),
    ]);
}

#[test]
fn a11_what_unicode_takes_for_dots_and_line_ends() {
    kept(&[
        ("0D0AEFBC8E0D0A", "0D0AEFBC8E0D0A"),
        ("0D0A2EC2850D0A", "0D0AC2850D0A"),
        ("0D0A2EE280A80D0A", "0D0AE280A80D0A"),
    ]);
}

#[test]
fn a12_two_dots_are_one_dot() {
    kept(&[("0D0A2E2E0D0A", "0D0A2E0D0A")]);
}

#[test]
fn a13_the_end_comes_at_once() {
    Case::data()
        .say(b".\r\n", "250")
        .verify()
        .stored(&[("u1", "s@x.example", b"")]);
}

#[test]
fn a14_dots_are_taken_from_lines_that_begin_with_one() {
    let million = ["..", &"a".repeat(1_000_000), "\r\n"].concat();
    let million_left = &million[1..];
    for (sent, content) in [
        ("..\r\n", ".\r\n"),
        (".x\r\n", "x\r\n"),
        ("..x\r\n", ".x\r\n"),
        ("...\r\n", "..\r\n"),
        ("....\r\n", "...\r\n"),
        (".. \r\n", ". \r\n"),
        ("\r\n..\r\n", "\r\n.\r\n"),
        ("\r\n\r\n..\r\n\r\n", "\r\n\r\n.\r\n\r\n"),
        ("x.\r\n", "x.\r\n"),
        ("x\r\n.y\r\n", "x\r\ny\r\n"),
        (" .\r\n", " .\r\n"),
        (" .x\r\n..\r\n", " .x\r\n.\r\n"),
        ("..\r\n..\r\n..\r\n", ".\r\n.\r\n.\r\n"),
        (".x.\r\n.y.\r\n", "x.\r\ny.\r\n"),
        ("x\r\n..", "x\r\n."),
        ("x..\r\n", "x..\r\n"),
        (million.as_str(), million_left),
    ] {
        let (said, left) = match sent.ends_with("\r\n") {
            true => ([sent, ".\r\n"].concat(), content.to_owned()),
            false => ([sent, "\r\n.\r\n"].concat(), [content, "\r\n"].concat()),
        };
        Case::data()
            .say(said, "250")
            .verify()
            .stored(&[("u1", "s@x.example", left.as_bytes())]);
    }
}

#[test]
fn a15_bare_newlines_in_the_header() {
    for header in ["Subject: a\nBcc: v@x.example\r\n", "Subject: a\rX: y\r\n"] {
        Case::data()
            .say([header, "\r\nbody\r\n.\r\n"].concat(), REFUSED)
            .verify()
            .stored(&[]);
    }
}

#[test]
fn a16_a_bare_newline_behind_ten_million_clean_bytes() {
    let line = [&"x".repeat(76), "\r\n"].concat();
    let body = line.repeat(9_900_000 / line.len());
    let case = Case::data().with(|limits| limits.message_bytes_max = bytes(10_000_000));
    let case = case
        .say([&body, "x\ny\r\n.\r\n"].concat(), REFUSED)
        .verify();
    // What is doomed is not kept until its end.
    assert!(case.memory_used_max() < 100_000);
    case.stored(&[]);
}

#[test]
fn a19_quit_in_the_same_segment_as_the_end() {
    Case::data()
        .say([HEAD, "\r\n.\r\nQUIT\r\n"].concat(), "250, 221, closed")
        .stored(&[("u1", "s@x.example", &[HEAD, "\r\n"].concat().into_bytes())]);
}

#[test]
fn a20_who_is_gone_before_the_last_byte_of_the_end_has_sent_nothing() {
    let case = Case::data().say([HEAD, "\r\n.\r\n"].concat(), "250");
    for cut in 0..=case.bytes() {
        let stored = case.cut_off_after(cut).len();
        assert_eq!(
            stored,
            usize::from(cut == case.bytes()),
            "after {cut} bytes"
        );
    }
}
