//! A and B with `newlines = "normalize"`: a bare CR or LF in a message is a space, and still ends nothing.

use crate::case::{Case, hex};
use mayfly::smtp::Newlines;

const ENDS: &[&str] = &[
    "0A2E0A",
    "0A2E0D0A",
    "0D0A2E0A",
    "0D2E0D",
    "0D2E0A",
    "0A2E0D",
    "0D2E0D0A",
    "0D0A2E0D",
    "0D0A2E0D0D0A",
    "0D0D0A2E0D0D0A",
];
const HEAD: &[u8] = b"Subject: t\r\n\r\nbody";
const BEHIND: &[u8] = b"MAIL FROM:<smuggled@x.example>\r\nRCPT TO:<u1@ours.test>\r\nDATA\r\nSubject: evil\r\n\r\nx\r\n";

fn normalize(case: Case) -> Case {
    case.with(|limits| limits.newlines = Newlines::Normalize)
}

/// What a message becomes: lines end with CRLF, dots go, and each CR or LF left over is a space.
fn normalized(wire: &[u8]) -> Vec<u8> {
    let text = String::from_utf8(wire.to_vec()).expect("text");
    let lines = text.split_terminator("\r\n").map(|line| {
        let line = line.strip_prefix('.').unwrap_or(line);
        line.replace(['\r', '\n'], " ") + "\r\n"
    });
    lines.collect::<String>().into_bytes()
}

#[test]
fn a02_to_a08_nothing_is_smuggled_when_newlines_are_normalized() {
    for end in ENDS {
        let content = [HEAD, &hex(end), BEHIND].concat();
        let stored = normalized(&content);
        let text = String::from_utf8_lossy(&stored);
        assert!(text.contains("MAIL FROM:<smuggled"));
        normalize(Case::data())
            .say([&content, &b".\r\n"[..]].concat(), "250")
            .verify()
            .stored(&[("u1", "s@x.example", &stored)]);
    }
}

#[test]
fn a09_a_nul_is_refused_when_newlines_are_normalized() {
    for end in ["0D0A002E0D0A", "0D0A2E000D0A"] {
        normalize(Case::data())
            .say([HEAD, &hex(end), BEHIND, b".\r\n"].concat(), "550 5.5.2")
            .verify()
            .stored(&[]);
    }
}

#[test]
fn a15_a_bare_newline_makes_no_field_when_newlines_are_normalized() {
    for (header, stored) in [
        (
            "Subject: a\nBcc: v@x.example\r\n",
            "Subject: a Bcc: v@x.example\r\n",
        ),
        ("Subject: a\rX: y\r\n", "Subject: a X: y\r\n"),
    ] {
        let content = [stored, "\r\nbody\r\n"].concat();
        normalize(Case::data())
            .say([header, "\r\nbody\r\n.\r\n"].concat(), "250")
            .verify()
            .stored(&[("u1", "s@x.example", content.as_bytes())]);
    }
}

#[test]
fn b01_a_bare_lf_ends_a_command_when_newlines_are_normalized() {
    normalize(Case::connect())
        .say(b"EHLO a\n", "250")
        .say(
            b"MAIL FROM:<s@x.example>\nRCPT TO:<u1@ours.test>\n",
            "250, 250",
        )
        .say(b"DATA\n", "354")
        .say(b"x\n.\n\r\n.\r\n", "250")
        .verify()
        .stored(&[("u1", "s@x.example", b"x . \r\n")]);
}

#[test]
fn e12_bare_newlines_in_chunks_are_normalized_across_them() {
    normalize(Case::transaction())
        .say(
            b"BDAT 3\r\na\nbBDAT 2\r\nc\rBDAT 3 LAST\r\n\nd\r",
            "250, 250, 250",
        )
        .stored(&[("u1", "s@x.example", b"a bc\r\nd ")]);
}
