//! Nothing that can be seen of a session depends on how its input is cut into pieces.

#![forbid(unsafe_code)]

mod harness;

use harness::{converse, fuzz_command, fuzz_data, fuzz_line, fuzz_session, tight_limits};
use mayfly::smtp::Limits;
use proptest::prelude::*;
use std::path::Path;
use std::sync::Arc;

/// What hostile and honest clients put together.
const FRAGMENTS: &[&[u8]] = &[
    b"EHLO x\r\n",
    b"HELO x\r\n",
    b"MAIL FROM:<a@b.test>\r\n",
    b"MAIL FROM:<a@b.test> SIZE=20\r\n",
    b"MAIL FROM:<> SIZE=301 BODY=8BITMIME\r\n",
    b"RCPT TO:<u@mx.test>\r\n",
    b"RCPT TO:<\"v w\"@mx.test>\r\n",
    b"RCPT TO:<nobody@mx.test>\r\n",
    b"RCPT TO:<full@mx.test>\r\n",
    b"RCPT TO:<Postmaster>\r\n",
    b"DATA\r\n",
    b"DATA\r\n",
    b".\r\n",
    b"\r\n.\r\n",
    b"\r\n.\r\n",
    b"QUIT\r\n",
    b"RSET\r\n",
    b"NOOP\r\n",
    b"VRFY u\r\n",
    b"STARTTLS\r\n",
    b"Received: x\r\n",
    b"later",
    b"Subject: x\r\n\r\n",
    b"\r\n",
    b"\r",
    b"\n",
    b".",
    b"\0",
    b"\xff",
    b"text",
    b"0123456789012345678901234567890123456789012345678901234567890123456789",
];

/// What opens a transaction, so that arbitrary input gets somewhere.
const PROLOGUE: &[u8] = b"EHLO x\r\nMAIL FROM:<a@b.test>\r\nRCPT TO:<u@mx.test>\r\nDATA\r\n";

/// What may stand in a group before its end.
const IN_A_GROUP: &[&[u8]] = &[
    b"MAIL FROM:<a@b.test>\r\n",
    b"MAIL FROM:<> SIZE=20 SMTPUTF8\r\n",
    b"RCPT TO:<u@mx.test>\r\n",
    b"RCPT TO:<nobody@mx.test>\r\n",
    b"RSET\r\n",
    b"NOOP\r\n",
    b"VRFY u\r\n",
    b"FOO\r\n",
];

/// Commands that must be the last of a group, well formed or not.
const EARLY: &[&[u8]] = &[
    b"EHLO x\r\n",
    b"HELO x\r\n",
    b"DATA\r\n",
    b"data \r\n",
    b"EHLO\r\n",
];

/// What ends a group. Only as data is content sent that invites itself.
const LAST_IN_A_GROUP: &[&[u8]] = &[
    b"EHLO x\r\n",
    b"HELO x\r\n",
    b"DATA\r\n",
    b"text\r\n.\r\n",
    b"QUIT\r\n",
    b"NOOP\r\n",
];

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn segmentation_cannot_be_seen(
        prologue in any::<bool>(),
        fragments in prop::collection::vec(prop::sample::select(FRAGMENTS), 0..40),
        sizes in prop::collection::vec(1_usize..30, 1..8),
    ) {
        let input = [if prologue { PROLOGUE } else { b"" }, &fragments.concat()].concat();
        let whole = converse(&input, || input.len(), tight_limits());
        let bytes = converse(&input, || 1, tight_limits());
        let mut turns = sizes.iter().cycle();
        let pieces = converse(&input, || *turns.next().expect("it never ends"), tight_limits());
        prop_assert_eq!(&whole, &bytes);
        prop_assert_eq!(&whole, &pieces);
    }

    /// Groups as a client that waits where it must puts them together (RFC 2920 section 3.1), however each is cut.
    #[test]
    fn whoever_waits_for_replies_is_never_taken_for_early(
        groups in prop::collection::vec((prop::collection::vec(prop::sample::select(IN_A_GROUP), 0..6), prop::sample::select(LAST_IN_A_GROUP)), 0..8),
        sizes in prop::collection::vec(1_usize..30, 1..8),
    ) {
        let groups: Vec<Vec<u8>> = groups.iter().map(|(group, last)| [&group.concat(), *last].concat()).collect();
        let input = groups.concat();
        let guarded = Arc::new(Limits { forbid_early_pipelining: true, ..Limits::clone(&tight_limits()) });
        let mut turns = sizes.iter().cycle();
        let mut pieces = groups.iter().flat_map(|group| {
            let mut left = group.len();
            std::iter::from_fn(|| {
                let size = left.min(*turns.next().expect("it never ends"));
                left -= size;
                (size > 0).then_some(size)
            }).collect::<Vec<_>>()
        }).collect::<Vec<_>>().into_iter();
        let cut = converse(&input, || pieces.next().expect("they are as long as the input"), Arc::clone(&guarded));
        let mut groups = groups.iter();
        let whole = converse(&input, || groups.next().expect("they are the input").len(), guarded);
        let unguarded = converse(&input, || input.len(), tight_limits());
        prop_assert_eq!(&cut, &unguarded);
        prop_assert_eq!(&whole, &unguarded);
    }

    /// Behind EHLO and DATA nothing of the same piece comes to anything.
    #[test]
    fn whoever_does_not_wait_is_sent_away(
        early in prop::sample::select(EARLY),
        behind in prop::collection::vec(any::<u8>(), 1..60),
    ) {
        let limits = Arc::new(Limits { forbid_early_pipelining: true, ..Limits::clone(&tight_limits()) });
        let before = &b"MAIL FROM:<a@b.test>\r\nRCPT TO:<u@mx.test>\r\n"[..];
        let mut pieces = [8, before.len() + early.len() + behind.len()].into_iter();
        let input = [b"EHLO x\r\n", before, early, &behind].concat();
        let record = converse(&input, || pieces.next().expect("there are two"), limits);
        let output = String::from_utf8_lossy(&record.output).into_owned();
        let goodbye = "250 2.1.0 Ok\r\n250 2.1.5 Ok\r\n554 5.5.0 SMTP protocol synchronization, wait for the reply\r\n";
        prop_assert!(output.ends_with(goodbye), "{}", output);
        prop_assert_eq!(&record.events, &["Recipient <u@mx.test> size=0", "Misbehaved"]);
    }

    #[test]
    fn no_line_upsets_the_grammar(line in prop::collection::vec(prop::sample::select(&b"MAIL FROM:<>@,\"\\.[]IPv6:0a= SIZE\xc3"[..]), 0..40)) {
        fuzz_command(&line);
        fuzz_command(&[b"MAIL FROM:", &line[..]].concat());
        fuzz_command(&[b"RCPT TO:<", &line[..]].concat());
        fuzz_command(&[b"XCLIENT ADDR=", &line[..]].concat());
        fuzz_command(&[b"XCLIENT HELO=+", &line[..]].concat());
    }
}

#[test]
fn the_fuzz_corpus_is_survived() {
    replay("command", fuzz_command);
    replay("data", fuzz_data);
    replay("line", fuzz_line);
    replay("session", fuzz_session);
}

fn replay(target: &str, body: fn(&[u8])) {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus");
    let mut seeds = 0;
    for entry in std::fs::read_dir(corpus.join(target)).expect("every target has a corpus") {
        body(&std::fs::read(entry.expect("it can be read").path()).expect("it can be read"));
        seeds += 1;
    }
    assert!(seeds > 0, "{target} has no seeds");
}
