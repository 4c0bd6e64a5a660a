//! Where one HTTP request ends and the next begins, for whatever comes and however it is cut.

#![forbid(unsafe_code)]

mod gate;

use proptest::prelude::*;
use std::path::Path;

/// What requests, and things that look like them, are put together from.
const FRAGMENTS: &[&[u8]] = &[
    b"GET / HTTP/1.1\r\n",
    b"POST /x?y HTTP/1.1\r\n",
    b"GET http://a/ HTTP/1.1\r\n",
    b"OPTIONS * HTTP/1.0\r\n",
    b"Host: a\r\n",
    b"Host: a\r\n",
    b"Content-Length: 0\r\n",
    b"Content-Length: 5\r\n",
    b"content-length:\t12 \r\n",
    b"Content-Length: +5\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"Transfer-Encoding: \tCHUNKED\r\n",
    b"Transfer-Encoding : chunked\r\n",
    b"X: y\r\n",
    b"X:\r\n",
    b" folded\r\n",
    b"\r\n",
    b"\r\n",
    b"hello",
    b"5\r\nhello\r\n0\r\n\r\n",
    b"\r",
    b"\n",
    b"\0",
    b"\xff",
    b" ",
    b":",
];

/// Whole heads, so that arbitrary input gets somewhere.
const STARTS: &[&[u8]] = &[
    b"",
    b"\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n",
];

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn requests_end_where_both_parsers_say_however_they_come(
        sizes in any::<[u8; 2]>(),
        start in prop::sample::select(STARTS),
        fragments in prop::collection::vec(prop::sample::select(FRAGMENTS), 0..20),
    ) {
        gate::fuzz_http(&[&sizes, start, &fragments.concat()].concat());
    }
}

#[test]
fn the_fuzz_corpus_is_survived() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus/http");
    let mut seeds = 0;
    for entry in std::fs::read_dir(corpus).expect("the target has a corpus") {
        let seed = std::fs::read(entry.expect("it can be read").path()).expect("it can be read");
        gate::fuzz_http(&seed);
        seeds += 1;
    }
    assert!(seeds >= 10);
}
