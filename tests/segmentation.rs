//! Nothing that can be seen of a session depends on how its input is cut into pieces.

#![forbid(unsafe_code)]

mod harness;

use harness::{
    converse, fuzz_chunk, fuzz_command, fuzz_data, fuzz_line, fuzz_session, tight_limits,
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

    #[test]
    fn no_line_upsets_the_grammar(line in prop::collection::vec(prop::sample::select(&b"MAIL FROM:<>@,\"\\.[]IPv6:0a= SIZE\xc3"[..]), 0..40)) {
        fuzz_command(&line);
        fuzz_command(&[b"MAIL FROM:", &line[..]].concat());
        fuzz_command(&[b"RCPT TO:<", &line[..]].concat());
    }
}

#[test]
fn the_fuzz_corpus_is_survived() {
    replay("chunk", fuzz_chunk);
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
