//! Nothing that can be seen of a session depends on how its input is cut into pieces.

#![forbid(unsafe_code)]

mod harness;

use harness::{
    converse, fuzz_address, fuzz_chunk, fuzz_command, fuzz_config, fuzz_data, fuzz_line,
    fuzz_proxy, fuzz_session, tight_limits,
};
use mayfly::smtp::{Limits, Newlines};
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
    b"MAIL FROM:<> BODY=BINARYMIME\r\n",
    b"RCPT TO:<u@mx.test>\r\n",
    b"RCPT TO:<\"v w\"@mx.test>\r\n",
    b"RCPT TO:<nobody@mx.test>\r\n",
    b"RCPT TO:<full@mx.test>\r\n",
    b"RCPT TO:<Postmaster>\r\n",
    b"DATA\r\n",
    b"DATA\r\n",
    b"BDAT 0\r\n",
    b"BDAT 1\r\n",
    b"BDAT 4\r\n",
    b"BDAT 70\r\n",
    b"BDAT 0 LAST\r\n",
    b"BDAT 2 LAST\r\n",
    b"BDAT 30 LAST\r\n",
    b"BDAT 400 LAST\r\n",
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
const PROLOGUES: &[&[u8]] = &[
    b"",
    b"EHLO x\r\nMAIL FROM:<a@b.test>\r\nRCPT TO:<u@mx.test>\r\nDATA\r\n",
    b"EHLO x\r\nMAIL FROM:<a@b.test>\r\nRCPT TO:<u@mx.test>\r\nBDAT 20\r\n",
];

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
        prologue in prop::sample::select(PROLOGUES),
        newlines in prop::sample::select(&[Newlines::Strict, Newlines::Normalize][..]),
        fragments in prop::collection::vec(prop::sample::select(FRAGMENTS), 0..40),
        sizes in prop::collection::vec(1_usize..30, 1..8),
    ) {
        let input = [prologue, &fragments.concat()].concat();
        let limits = Arc::new(Limits { newlines, ..Limits::clone(&tight_limits()) });
        let whole = converse(&input, || input.len(), Arc::clone(&limits));
        let bytes = converse(&input, || 1, Arc::clone(&limits));
        let mut turns = sizes.iter().cycle();
        let pieces = converse(&input, || *turns.next().expect("it never ends"), limits);
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

proptest! {
    #[test]
    fn no_address_upsets_the_grammar(text in "[a-zA-Z\"\\\\@ .+ü＠ａßΣİ\u{37E}\u{212A}\u{308}한\u{85}\u{3002}-]{0,14}@?[a-zü\\[\\]:1.xn-]{0,9}") {
        fuzz_address(text.as_bytes());
    }
}

/// What headers of a proxy, and things that look like them, are put together from.
const PROXY_FRAGMENTS: &[&[u8]] = &[
    b"PROXY ",
    b"TCP4 ",
    b"TCP6 ",
    b"UNKNOWN",
    b"192.0.2.7 ",
    b"198.51.100.1 ",
    b"2001:db8::7 ",
    b"::ffff:192.0.2.7 ",
    b"4660 ",
    b"25",
    b"0",
    b"+",
    b" ",
    b"\r\n",
    b"\r",
    b"\n",
    b"\r\n\r\n\0\r\nQUIT\n",
    b"\x21\x11\0\x0c",
    b"\x21\x11\0\x11",
    b"\x21\x21\0\x24",
    b"\x20\x00\0\0",
    b"\x20\x00\x02\x08",
    b"\xc0\0\x02\x07\xc6\x33\x64\x01\x12\x34\0\x19",
    b"\x04\0\x02id",
    b"\x04\0\x03id",
    b"\0\0\0\0\0\0\0\0",
    b"EHLO x\r\n",
];

/// What a header begins with, so that arbitrary input gets somewhere.
const PROXY_STARTS: &[&[u8]] = &[
    b"",
    b"PROXY TCP4 192.0.2.7 198.51.100.1 4660 25",
    b"PROXY TCP6 2001:db8::7 2001:db8::25 1 2\r\n",
    b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x11\xc0\0\x02\x07\xc6\x33\x64\x01\x12\x34\0\x19",
    b"\r\n\r\n\0\r\nQUIT\n\x20\x00",
];

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn a_proxy_header_ends_where_it_says_however_it_comes(
        sizes in any::<[u8; 2]>(),
        start in prop::sample::select(PROXY_STARTS),
        fragments in prop::collection::vec(prop::sample::select(PROXY_FRAGMENTS), 0..12),
    ) {
        fuzz_proxy(&[&sizes, start, &fragments.concat()].concat());
    }
}

#[test]
fn the_fuzz_corpus_is_survived() {
    replay("address", fuzz_address);
    replay("chunk", fuzz_chunk);
    replay("command", fuzz_command);
    replay("config", fuzz_config);
    replay("data", fuzz_data);
    replay("line", fuzz_line);
    replay("proxy", fuzz_proxy);
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
