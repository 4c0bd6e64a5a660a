//! G: relay, backscatter, loops.

use crate::case::Case;

const CONTENT: &[u8] = b"Subject: t\r\n\r\nbody\r\n";
const WIRE: &[u8] = b"Subject: t\r\n\r\nbody\r\n.\r\n";

/// Recipients by which a relay may be had elsewhere; those of Nmap's smtp-open-relay among them.
const RELAYS: &[(&str, &str)] = &[
    ("<v@x.example>", "550 5.7.1"),
    (r#"<"v@x.example">"#, "501 5.1.3"),
    (r#"<"v%x.example">"#, "501 5.1.3"),
    ("<v@x.example@[127.0.0.1]>", "501 5.1.3"),
    (r#"<"v@x.example"@[127.0.0.1]>"#, "550 5.7.1"),
    ("<v@x.example@ours.test>", "501 5.1.3"),
    (r#"<"v@x.example"@ours.test>"#, "550 5.1.1"),
    ("<v%x.example@ours.test>", "550 5.1.1"),
    ("<v%x.example@[127.0.0.1]>", "550 5.7.1"),
    ("<@[127.0.0.1]:v@x.example>", "501 5.1.3"),
    ("<@ours.test:v@x.example>", "550 5.7.1"),
    ("<@ours.test,@x.example:v@y.example>", "550 5.7.1"),
    ("<x.example!v>", "501 5.1.3"),
    ("<x.example!v@[127.0.0.1]>", "550 5.7.1"),
    ("<x.example!v@ours.test>", "550 5.1.1"),
    ("<v@[127.0.0.1]>", "550 5.7.1"),
    ("<v@OURS.TEST.>", "550 5.1.1"),
    ("<v@ours.test@x.example>", "501 5.1.3"),
    ("<v@ours.test.x.example>", "550 5.7.1"),
    ("<v@x.ours.test>", "550 5.7.1"),
];

#[test]
fn g01_no_way_of_writing_a_recipient_makes_a_relay() {
    for (path, reply) in RELAYS {
        for from in ["", "s@x.example", "u1@ours.test", "s@[127.0.0.1]"] {
            Case::open()
                .say(format!("MAIL FROM:<{from}>\r\n"), "250")
                .say(format!("RCPT TO:{path}\r\n"), reply)
                .say(b"DATA\r\n", "554 5.5.1")
                .verify()
                .stored(&[]);
        }
    }
}

#[test]
fn g02_an_unknown_user_is_refused_when_named() {
    Case::open()
        .say(b"MAIL FROM:<s@x.example>\r\n", "250")
        .say(b"RCPT TO:<nobody@ours.test>\r\n", "550 5.1.1")
        .say(b"DATA\r\n", "554 5.5.1")
        .verify()
        .stored(&[]);
}

#[test]
fn g03_a_bounce_is_mail() {
    Case::open()
        .say(b"MAIL FROM:<>\r\n", "250")
        .say(b"RCPT TO:<u1@ours.test>\r\n", "250")
        .say(b"DATA\r\n", "354")
        .say(WIRE, "250")
        .verify()
        .stored(&[("u1", "", CONTENT)]);
}

#[test]
fn g04_there_is_a_postmaster() {
    for path in ["<postmaster>", "<POSTMASTER@ours.test>", "<PostMaster>"] {
        Case::open()
            .say(b"MAIL FROM:<s@x.example>\r\n", "250")
            .say(format!("RCPT TO:{path}\r\n"), "250")
            .say(b"DATA\r\n", "354")
            .say(WIRE, "250")
            .stored(&[("postmaster", "s@x.example", CONTENT)]);
    }
}

#[test]
fn g05_a_hundred_hops_are_a_loop() {
    for (hops, reply) in [(99, "250"), (100, "554 5.4.6"), (101, "554 5.4.6")] {
        let header = "rEceived: from a by b; now\r\n".repeat(hops);
        let content = [&header, "Subject: t\r\n\r\nReceived: not a hop\r\n"].concat();
        let stored = [("u1", "s@x.example", content.as_bytes())];
        let stored = if reply == "250" { &stored[..] } else { &[] };
        Case::data()
            .say([content.as_str(), ".\r\n"].concat(), reply)
            .verify()
            .stored(stored);
    }
}
