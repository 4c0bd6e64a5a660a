//! B: commands and lines.

use crate::case::{Case, bytes};
use mayfly::settings::Span;
use mayfly::smtp::{Extension, Extensions};
use std::time::Duration;

const CONTENT: &[u8] = b"Subject: t\r\n\r\nbody\r\n";
const WIRE: &[u8] = b"Subject: t\r\n\r\nbody\r\n.\r\n";

#[test]
fn b01_a_bare_lf_ends_no_command() {
    Case::connect()
        .say(b"EHLO a\n", "500 5.5.2")
        // Behind it nothing is a command before the next true end of a line.
        .say(b"MAIL FROM:<s@x.example>\r\n", "500 5.5.2")
        .say(b"MAIL FROM:<s@x.example>\r\n", "503 5.5.1")
        .verify()
        .stored(&[]);
}

#[test]
fn b02_a_cr_in_an_address_is_not_left_out() {
    Case::open()
        .say(b"MAIL FROM:<a\r@b.example>\r\n", "500 5.5.2")
        .say(b"RCPT TO:<u1@ours.test>\r\n", "503")
        .verify()
        .stored(&[]);
}

#[test]
fn b03_a_nul_cuts_nothing_short() {
    Case::open()
        .say(b"MAIL FROM:<a\0@b.example>\r\n", "500 5.5.2")
        .say(b"NOOP\0x\r\n", "500 5.5.2")
        .say(b"MAIL FROM:<s@x.example>\r\n", "250")
        .say(b"RCPT TO:<u1@ours.test\0.evil.example>\r\n", "500 5.5.2")
        .say(b"DATA\r\n", "554 5.5.1")
        .verify()
        .stored(&[]);
}

#[test]
fn b04_long_lines_are_refused_once_and_discarded_up_to_a_bound() {
    let ehlo = |count: usize, end: &str| ["EHLO ", &"a".repeat(count), end].concat();
    for (count, reply) in [
        (255, "250"),
        (256, "250"),
        (600, "250"),
        (2041, "250"),
        (2042, "500 5.5.2"),
        (2048, "500 5.5.2"),
        (65_536, "500 5.5.2"),
    ] {
        Case::connect()
            .say(ehlo(count, "\r\n"), reply)
            .verify()
            .stored(&[]);
    }
    // What it costs meanwhile is shown in `smtp/line.rs`.
    for end in ["\r\n", ""] {
        Case::connect()
            .say(ehlo(10_000_000, end), "500 5.5.2, 421 4.7.0, closed")
            .stored(&[]);
    }
    for (count, reply, goodbye) in [
        (600, "", "421 4.4.2, closed"),
        (2048, "500", "421 4.4.2, closed"),
    ] {
        Case::connect()
            .say(ehlo(count, ""), reply)
            .pass(Duration::from_secs(299), "")
            .pass(Duration::from_secs(1), goodbye)
            .stored(&[]);
    }
}

#[test]
fn b05_sizes() {
    for (size, reply) in [
        ("0", "250"),
        ("10240000", "250"),
        ("10240001", "552 5.3.4"),
        ("99999999999999999999999", "552 5.3.4"),
        ("-1", "501 5.5.4"),
        ("1e3", "501 5.5.4"),
        ("+5", "501 5.5.4"),
        ("", "501 5.5.4"),
        ("5 SIZE=6", "501 5.5.4"),
    ] {
        Case::open()
            .with(|limits| limits.message_bytes_max = bytes(10_240_000))
            .say(format!("MAIL FROM:<a@b.example> SIZE={size}\r\n"), reply)
            .verify()
            .stored(&[]);
    }
}

#[test]
fn b06_parameters_of_what_is_not_offered() {
    let offered = [
        Extension::BinaryMime,
        Extension::Chunking,
        Extension::RequireTls,
        Extension::SmtpUtf8,
    ];
    for (parameter, reply) in [
        ("FOO=bar", "555 5.5.4"),
        ("BODY=BINARYMIME", "555 5.5.4"),
        ("SMTPUTF8", "555 5.5.4"),
        ("AUTH=<>", "555 5.5.4"),
        ("RET=HDRS", "555 5.5.4"),
        ("ENVID=a+00b", "555 5.5.4"),
    ] {
        let mut case = Case::open();
        case.extensions = offered
            .into_iter()
            .fold(Extensions::ALL, Extensions::without);
        case.say(format!("MAIL FROM:<a@b.example> {parameter}\r\n"), reply)
            .verify()
            .stored(&[]);
    }
    Case::open()
        .say(b"MAIL FROM:<s@x.example>\r\n", "250")
        .say(
            b"RCPT TO:<u1@ours.test> ORCPT=rfc822;a+00b\r\n",
            "555 5.5.4",
        )
        .say(b"DATA\r\n", "554 5.5.1")
        .verify()
        .stored(&[]);
}

#[test]
fn b07_an_address_beyond_ascii_without_smtputf8() {
    Case::open()
        .say("MAIL FROM:<ü@b.example>\r\n", "553 5.6.7")
        .say(b"MAIL FROM:<s@x.example>\r\n", "250")
        .say("RCPT TO:<ü@ours.test>\r\n", "553 5.6.7")
        .say(b"RCPT TO:<u1@ours.test>\r\n", "250")
        // It changes nothing about the transaction.
        .say("VRFY ü@ours.test\r\n", "252")
        .say(b"DATA\r\n", "354")
        .say(WIRE, "250")
        .verify()
        .stored(&[("u1", "s@x.example", CONTENT)]);
    // With it too, what is no UTF-8 is no address.
    for path in [
        &b"<\xff@b.example>"[..],
        b"<\xc3@b.example>",
        b"<\xed\xa0\x80@b.example>",
    ] {
        let said = |start: &[u8], end: &[u8]| [start, path, end].concat();
        Case::open()
            .say(said(b"MAIL FROM:", b" SMTPUTF8\r\n"), "501 5.1.7")
            .say(b"RCPT TO:<u1@ours.test>\r\n", "503")
            .say(b"MAIL FROM:<s@x.example> SMTPUTF8\r\n", "250")
            .say(said(b"RCPT TO:", b"\r\n"), "501 5.1.3")
            .say(b"DATA\r\n", "554 5.5.1")
            .verify()
            .stored(&[]);
    }
}

/// A reverse-path, what is made of it, and nothing if it is refused.
const SENDERS: &[(&str, Option<&str>)] = &[
    ("<>", Some("")),
    ("<u@d>", Some("u@d")),
    (r#"<"a b"@d.example>"#, Some(r#""a b"@d.example"#)),
    (r#"<"a\"b"@d>"#, Some(r#""a\"b"@d"#)),
    ("<@r1,@r2:u@d>", Some("u@d")),
    ("<u@[127.0.0.1]>", Some("u@[127.0.0.1]")),
    ("<u@[IPv6:::1]>", Some("u@[IPv6:::1]")),
    ("<u@d.>", Some("u@d.")),
    ("<u@-d>", None),
    ("<u@d->", None),
    ("<u@d..e>", None),
    ("<u@@d>", None),
    ("<u@d@e>", None),
    ("<u>", None),
    ("<u@d", None),
    ("u@d", None),
    ("<<u@d>>", None),
    ("<u@d>x", None),
    ("< u@d>", None),
    ("<u@d >", None),
    ("<.u@d>", None),
    ("<u.@d>", None),
    ("<a..b@d>", None),
    ("<u@>", None),
    ("<@d>", None),
    ("<u@[127.0.0.1>", None),
    ("<u@[256.0.0.1]>", None),
    ("<u@[IPv6:::g]>", None),
];

#[test]
fn b08_paths() {
    let local = |count: usize| format!("<{}@d>", "l".repeat(count));
    // Labels of 63, and so many more characters that the path is as long as it is.
    let domain = |path_len: usize| {
        let labels = ["d".repeat(63), "d".repeat(63), "d".repeat(63)].join(".");
        let left = path_len - "<u@>".len() - labels.len() - 1;
        format!("<u@{labels}.{}>", "e".repeat(left))
    };
    let long = [
        (local(64), true),
        (local(65), true),
        (local(252), true),
        (local(253), false),
        (domain(256), true),
        (domain(257), false),
        (domain(259), false),
    ];
    let long: Vec<(String, Option<String>)> = long
        .into_iter()
        .map(|(path, legal)| {
            let bare = path[1..path.len() - 1].to_owned();
            (path, legal.then_some(bare))
        })
        .collect();
    let senders = SENDERS
        .iter()
        .map(|(path, kept)| ((*path).to_owned(), kept.map(str::to_owned)));
    for (path, kept) in senders.chain(long) {
        let mail = format!("MAIL FROM:{path}\r\n");
        match kept {
            Some(from) => Case::open()
                .say(mail, "250 2.1.0")
                .say(b"RCPT TO:<u1@ours.test>\r\n", "250")
                .say(b"DATA\r\n", "354")
                .say(WIRE, "250")
                .verify()
                .stored(&[("u1", &from, CONTENT)]),
            None => Case::open()
                .say(mail, "501 5")
                .say(b"RCPT TO:<u1@ours.test>\r\n", "503")
                .verify()
                .stored(&[]),
        }
    }
    for path in [
        "<u1@ours.test>",
        "<U1@OURS.TEST>",
        "<u1@ours.test.>",
        r#"<"u1"@ours.test>"#,
        r#"<"u\1"@ours.test>"#,
        "<@r1,@r2:u1@ours.test>",
    ] {
        Case::open()
            .say(b"MAIL FROM:<s@x.example>\r\n", "250")
            .say(format!("RCPT TO:{path}\r\n"), "250")
            .say(b"DATA\r\n", "354")
            .say(WIRE, "250")
            .stored(&[("u1", "s@x.example", CONTENT)]);
    }
}

/// A recipient, and how it is refused.
const RECIPIENTS: &[(&str, &str)] = &[
    ("<>", "501 5.1.3"),
    ("<u1>", "501 5.1.3"),
    ("u1@ours.test", "501 5.1.3"),
    ("<u1@ours.test", "501 5.1.3"),
    ("<<u1@ours.test>>", "501 5.1.3"),
    ("< u1@ours.test>", "501 5.1.3"),
    ("<u1@ours.test >", "501 5.1.3"),
    ("<u1@@ours.test>", "501 5.1.3"),
    ("<u1@-ours.test>", "501 5.1.3"),
    ("<u1@ours..test>", "501 5.1.3"),
    ("<u1@ours.test>x", "501 5.5.4"),
    ("<u1@ours.test> <u2@ours.test>", "501 5.5.4"),
    (r#"<"u 1"@ours.test>"#, "550 5.1.1"),
    (r#"<"u\"1"@ours.test>"#, "550 5.1.1"),
    ("<u1@[IPv6:::1]>", "550 5.7.1"),
];

#[test]
fn b08_paths_of_recipients() {
    let local = |count: usize| format!("<{}@ours.test>", "l".repeat(count));
    let labels = ["d".repeat(63), "d".repeat(63), "d".repeat(63)].join(".");
    let domain = |path: usize| {
        let left = path - "<u@.>".len() - labels.len();
        format!("<u@{labels}.{}>", "e".repeat(left))
    };
    let long = [
        (local(64), "550 5.1.1"),
        (local(65), "501 5.1.3"),
        (domain(256), "550 5.7.1"),
        (domain(257), "501 5.1.3"),
        (domain(259), "501 5.1.3"),
    ];
    let short = RECIPIENTS
        .iter()
        .map(|(path, reply)| ((*path).to_owned(), *reply));
    for (path, reply) in short.chain(long) {
        Case::open()
            .say(b"MAIL FROM:<s@x.example>\r\n", "250")
            .say(format!("RCPT TO:{path}\r\n"), reply)
            .say(b"DATA\r\n", "554 5.5.1")
            .verify()
            .stored(&[]);
    }
}

#[test]
fn b09_out_of_order() {
    Case::connect()
        .say(b"MAIL FROM:<s@x.example>\r\n", "503 5.5.1")
        .say(b"EHLO t.example\r\n", "250")
        .say(b"RCPT TO:<u1@ours.test>\r\n", "503 5.5.1")
        .say(b"DATA\r\n", "503 5.5.1")
        .say(b"BDAT 6 LAST\r\nQUIT\r\n", "503 5.5.1")
        .say(b".\r\n", "500 5.5.1")
        .say(b"MAIL FROM:<s@x.example>\r\n", "250")
        .say(b"MAIL FROM:<other@x.example>\r\n", "503 5.5.1")
        .say(b"DATA\r\n", "554 5.5.1")
        .say(b"RCPT TO:<u1@ours.test>\r\n", "250")
        // What stands before EHLO is forgotten (RFC 5321 section 4.1.4).
        .say(b"EHLO t.example\r\n", "250")
        .say(b"DATA\r\n", "503 5.5.1")
        .verify()
        .stored(&[]);
}

#[test]
fn b10_other_protocols_in_text_are_shown_the_door_at_their_first_line() {
    for line in [
        "GET / HTTP/1.1\r\nHost: x\r\n",
        "POST / HTTP/1.1\r\nContent-Length: 9\r\n",
        "CONNECT h:25 HTTP/1.1\r\n",
        "Subject: hi\r\n",
    ] {
        for case in [Case::connect(), Case::transaction()] {
            case.say([line, "DATA\r\n"].concat(), "521, closed")
                .stored(&[]);
        }
    }
}

#[test]
fn b11_other_protocols_in_bytes_are_shown_the_door_at_their_first_byte() {
    for hello in [
        &b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03\nQUIT\r\n"[..],
        b"\x03\0\0\x13\x0e\xe0\0\0\0\0\0\x01\0\x08\0\x03\0\0\0",
        &[0; 64],
        b"SSH-2.0-OpenSSH_9.6\r\n",
        b"PROXY TCP4 192.0.2.1 192.0.2.2 5 25\r\nEHLO x\r\n",
    ] {
        Case::connect().say(hello, "521, closed").stored(&[]);
    }
    // The signature of PROXY v2 is made to look like the end of lines first.
    let signature = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\x7f\0\0\x01\x7f\0\0\x01\0\x05\0\x19";
    Case::connect()
        .say(signature, "500 5.5.1, 500 5.5.1, 521, closed")
        .stored(&[]);
}

#[test]
fn b12_errors_and_junk_are_counted() {
    let twenty = "500 5.5.1, ".repeat(20) + "421 4.7.0, closed";
    Case::open()
        .say("XYZZY\r\n".repeat(21), &twenty)
        .stored(&[]);
    // EHLO was the first.
    for command in ["EHLO again.example", "NOOP", "RSET", "HELP", "VRFY u1"] {
        let code = match command {
            "HELP" => "214, ",
            "VRFY u1" => "252, ",
            _ => "250, ",
        };
        let mut case = Case::open();
        for _ in 0..98 {
            case = case.say(format!("{command}\r\n"), code);
        }
        case.say(
            format!("{command}\r\n"),
            &format!("{code} 421 4.7.0, closed"),
        )
        .stored(&[]);
    }
    // With a good command behind each it is the same, and so it is when the later ones have to wait.
    for tarpit in [0, 1] {
        let mut case = Case::open().with(|limits| limits.tarpit = Span::secs(tarpit));
        for _ in 0..19 {
            case = case.say("XYZZY\r\nRSET\r\n", "500, 250");
        }
        case.say("XYZZY\r\nRSET\r\n", "500, 421 4.7.0, closed")
            .stored(&[]);
    }
    // Only mail that was delivered makes up for it.
    let mut case = Case::open();
    for _ in 0..98 {
        case = case.say("NOOP\r\n", "250");
    }
    case = case
        .say("MAIL FROM:<s@x.example>\r\n", "250")
        .say("RCPT TO:<u1@ours.test>\r\n", "250")
        .say("DATA\r\n", "354")
        .say(WIRE, "250");
    for _ in 0..99 {
        case = case.say("NOOP\r\n", "250");
    }
    case.say("NOOP\r\n", "250, 421 4.7.0, closed")
        .stored(&[("u1", "s@x.example", CONTENT)]);
}

#[test]
fn b13_nothing_that_was_sent_comes_back() {
    let path = ["\x1b[31m%s%n", &"x".repeat(400)].concat();
    let line = format!("RCPT TO:<{path}>\r\n");
    Case::transaction()
        .say(line, "501 5.1.3 Malformed recipient address\r\n")
        .say(
            format!("{path}\r\n"),
            "521 5.5.1 This is a mail server\r\n, closed",
        )
        .stored(&[]);
}

#[test]
fn b14_commands_that_disclose_or_hand_over() {
    for (command, reply) in [
        ("VRFY u1", "252"),
        ("EXPN list", "502"),
        ("HELP", "214"),
        ("ETRN d", "502"),
        ("TURN", "502"),
        ("AUTH PLAIN AAAA", "502"),
        ("XCLIENT ADDR=1.2.3.4", "5"),
        ("XFORWARD NAME=x", "502"),
    ] {
        Case::open()
            .say(format!("{command}\r\n"), reply)
            .verify()
            .stored(&[]);
    }
}
