//! Bytes of one request that may be taken for those of another (row K4), and other ways around the front door.
//!
//! The cases are called as Http11Probe's list of smuggling cases and h1spec call them; the bytes are ours. Each is sent
//! with a second request behind it that must be answered only where both ends agree on where the first one ends.

use crate::client::{Events, connect, exchange, parse, send};
use crate::house::{House, bearer, settings};
use std::io::{Read as _, Write as _};

/// Refused; the connection ends, and what stands behind is not read.
const REFUSED: &[u16] = &[400];
/// Served, and so is the request behind it.
const SERVED: &[u16] = &[201, 200];
/// Served; the connection ends with it, so that nothing behind can be taken for anything.
const LAST: &[u16] = &[201];

/// Heads of a creation, by the fields that say how long its body is, with the body.
const BODIES: &[(&str, &str, &str, &[u16])] = &[
    ("bare-cr-header-value", "X: a\rb", "", REFUSED),
    (
        "chunked-with-params",
        "Transfer-Encoding: chunked;q=1",
        "2\r\n{}\r\n0\r\n\r\n",
        REFUSED,
    ),
    ("cl-comma-different", "Content-Length: 2, 3", "{}", REFUSED),
    ("cl-comma-same", "Content-Length: 2, 2", "{}", REFUSED),
    ("cl-comma-triple", "Content-Length: 2, 2, 2", "{}", REFUSED),
    ("cl-double-zero", "Content-Length: 00", "", REFUSED),
    ("cl-extra-leading-sp", "Content-Length:  2", "{}", SERVED),
    ("cl-hex-prefix", "Content-Length: 0x2", "{}", REFUSED),
    ("cl-internal-space", "Content-Length: 1 0", "{}", REFUSED),
    ("cl-leading-zeros", "Content-Length: 02", "{}", REFUSED),
    (
        "cl-leading-zeros-octal",
        "Content-Length: 0200",
        "{}",
        REFUSED,
    ),
    ("cl-negative", "Content-Length: -2", "{}", REFUSED),
    ("cl-negative-zero", "Content-Length: -0", "", REFUSED),
    ("cl-octal", "Content-Length: 0o2", "{}", REFUSED),
    (
        "cl-te-both",
        "Content-Length: 2\r\nTransfer-Encoding: chunked",
        "2\r\n{}\r\n0\r\n\r\n",
        REFUSED,
    ),
    ("cl-trailing-space", "Content-Length: 2 ", "{}", SERVED),
    ("cl-underscore", "Content-Length: 1_0", "{}", REFUSED),
    (
        "clte-conn-close",
        "Content-Length: 2\r\nTransfer-Encoding: chunked\r\nConnection: close",
        "0\r\n\r\n",
        REFUSED,
    ),
    (
        "clte-desync",
        "Content-Length: 6\r\nTransfer-Encoding: chunked",
        "0\r\n\r\nX",
        REFUSED,
    ),
    (
        "clte-pipeline",
        "Content-Length: 4\r\nTransfer-Encoding: chunked",
        "0\r\n\r\n",
        REFUSED,
    ),
    (
        "clte-smuggled-get",
        "Content-Length: 41\r\nTransfer-Encoding: chunked",
        "0\r\n\r\nGET /healthz HTTP/1.1\r\nHost: a\r\n\r\n",
        REFUSED,
    ),
    (
        "clte-smuggled-get-cl-non-numeric",
        "Content-Length: x\r\nTransfer-Encoding: chunked",
        "0\r\n\r\n",
        REFUSED,
    ),
    (
        "clte-smuggled-get-cl-plus",
        "Content-Length: +5\r\nTransfer-Encoding: chunked",
        "0\r\n\r\n",
        REFUSED,
    ),
    (
        "clte-smuggled-get-te-case-mismatch",
        "Content-Length: 5\r\nTransfer-Encoding: Chunked",
        "0\r\n\r\n",
        REFUSED,
    ),
    (
        "clte-smuggled-get-te-leading-comma",
        "Content-Length: 5\r\nTransfer-Encoding: , chunked",
        "0\r\n\r\n",
        REFUSED,
    ),
    (
        "clte-smuggled-get-te-obs-fold",
        "Content-Length: 5\r\nTransfer-Encoding:\r\n chunked",
        "0\r\n\r\n",
        REFUSED,
    ),
    (
        "clte-smuggled-get-te-trailing-space",
        "Content-Length: 5\r\nTransfer-Encoding: chunked ",
        "0\r\n\r\n",
        REFUSED,
    ),
    (
        "clte-smuggled-head",
        "Content-Length: 42\r\nTransfer-Encoding: chunked",
        "0\r\n\r\nHEAD /healthz HTTP/1.1\r\nHost: a\r\n\r\n",
        REFUSED,
    ),
    // Its body begins the next request, whose method nobody knows.
    ("cl0-body-poison", "Content-Length: 0", "x", &[201, 405]),
    (
        "duplicate-cl",
        "Content-Length: 2\r\nContent-Length: 3",
        "{}",
        REFUSED,
    ),
    (
        "duplicate-cl-smuggled-get",
        "Content-Length: 2\r\nContent-Length: 40",
        "{}GET / HTTP/1.1\r\nHost: a\r\n\r\n",
        REFUSED,
    ),
    (
        "header-injection",
        "X: a\r\nContent-Length: 2",
        "{}",
        SERVED,
    ),
    ("multiple-host-comma", "Host: a, b", "", REFUSED),
    (
        "te-case-mismatch",
        "Transfer-Encoding: Chunked",
        "2\r\n{}\r\n0\r\n\r\n",
        LAST,
    ),
    (
        "te-double-chunked",
        "Transfer-Encoding: chunked, chunked",
        "2\r\n{}\r\n0\r\n\r\n",
        REFUSED,
    ),
    (
        "te-duplicate-headers",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
        "2\r\n{}\r\n0\r\n\r\n",
        REFUSED,
    ),
    (
        "te-duplicate-headers-smuggled-get",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity",
        "0\r\n\r\n",
        REFUSED,
    ),
    ("te-empty-value", "Transfer-Encoding:", "", REFUSED),
    (
        "te-formfeed",
        "Transfer-Encoding: \x0cchunked",
        "0\r\n\r\n",
        REFUSED,
    ),
    ("te-identity", "Transfer-Encoding: identity", "", REFUSED),
    (
        "te-leading-comma",
        "Transfer-Encoding: , chunked",
        "0\r\n\r\n",
        REFUSED,
    ),
    (
        "te-not-final-chunked",
        "Transfer-Encoding: chunked, gzip",
        "0\r\n\r\n",
        REFUSED,
    ),
    (
        "te-null",
        "Transfer-Encoding: chunked\0",
        "0\r\n\r\n",
        REFUSED,
    ),
    (
        "te-obs-fold",
        "Transfer-Encoding:\r\n chunked",
        "0\r\n\r\n",
        REFUSED,
    ),
    (
        "te-sp-before-colon",
        "Transfer-Encoding : chunked",
        "0\r\n\r\n",
        REFUSED,
    ),
    (
        "te-tab-before-value",
        "Transfer-Encoding:\tchunked",
        "2\r\n{}\r\n0\r\n\r\n",
        LAST,
    ),
    (
        "te-trailing-comma",
        "Transfer-Encoding: chunked,",
        "0\r\n\r\n",
        REFUSED,
    ),
    (
        "te-trailing-space",
        "Transfer-Encoding: chunked ",
        "2\r\n{}\r\n0\r\n\r\n",
        LAST,
    ),
    (
        "te-vtab",
        "Transfer-Encoding: \x0bchunked",
        "0\r\n\r\n",
        REFUSED,
    ),
    (
        "te-xchunked",
        "Transfer-Encoding: xchunked",
        "0\r\n\r\n",
        REFUSED,
    ),
    (
        "tecl-conn-close",
        "Transfer-Encoding: chunked\r\nContent-Length: 2\r\nConnection: close",
        "0\r\n\r\n",
        REFUSED,
    ),
    (
        "tecl-desync",
        "Transfer-Encoding: chunked\r\nContent-Length: 6",
        "0\r\n\r\nX",
        REFUSED,
    ),
    (
        "tecl-pipeline",
        "Transfer-Encoding: chunked\r\nContent-Length: 30",
        "0\r\n\r\n",
        REFUSED,
    ),
    (
        "tecl-smuggled-get",
        "Transfer-Encoding: chunked\r\nContent-Length: 4",
        "1e\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n\r\n0\r\n\r\n",
        REFUSED,
    ),
    (
        "transfer-encoding-underscore",
        "Transfer_Encoding: chunked\r\nContent-Length: 2",
        "{}",
        SERVED,
    ),
];

/// Bodies in chunks, and what is answered. Nothing behind them is read, whatever they are.
const CHUNKS: &[(&str, &str, &[u16])] = &[
    ("chunk-bare-cr-term", "2\r{}\r0\r\r", REFUSED),
    ("chunk-bare-semicolon", "2;\r\n{}\r\n0\r\n\r\n", LAST),
    ("chunk-ext-cr", "2;a\rb\r\n{}\r\n0\r\n\r\n", REFUSED),
    ("chunk-ext-ctrl", "2;a\x01\r\n{}\r\n0\r\n\r\n", LAST),
    ("chunk-ext-invalid-token", "2;[=x\r\n{}\r\n0\r\n\r\n", LAST),
    ("chunk-ext-lf", "2;a\nb\r\n{}\r\n0\r\n\r\n", REFUSED),
    ("chunk-hex-prefix", "0x2\r\n{}\r\n0\r\n\r\n", REFUSED),
    ("chunk-invalid-size-desync", "z\r\n{}\r\n0\r\n\r\n", REFUSED),
    ("chunk-leading-sp", " 2\r\n{}\r\n0\r\n\r\n", REFUSED),
    ("chunk-lf-term", "2\n{}\n0\n\n", REFUSED),
    ("chunk-lf-trailer", "2\r\n{}\r\n0\r\nX: y\n\n", LAST),
    ("chunk-missing-trailing-crlf", "2\r\n{}0\r\n\r\n", REFUSED),
    ("chunk-negative", "-2\r\n{}\r\n0\r\n\r\n", REFUSED),
    ("chunk-size-plus", "+2\r\n{}\r\n0\r\n\r\n", REFUSED),
    ("chunk-size-trailing-ows", "2 \r\n{}\r\n0\r\n\r\n", LAST),
    ("chunk-spill", "2\r\n{}x\r\n0\r\n\r\n", REFUSED),
    ("chunk-underscore", "1_0\r\n{}\r\n0\r\n\r\n", REFUSED),
    (
        "trailer-auth",
        "2\r\n{}\r\n0\r\nAuthorization: Bearer x\r\n\r\n",
        LAST,
    ),
    (
        "trailer-cl",
        "2\r\n{}\r\n0\r\nContent-Length: 99\r\n\r\n",
        LAST,
    ),
    (
        "trailer-content-type",
        "2\r\n{}\r\n0\r\nContent-Type: text/plain\r\n\r\n",
        LAST,
    ),
    ("trailer-host", "2\r\n{}\r\n0\r\nHost: b\r\n\r\n", LAST),
    (
        "trailer-te",
        "2\r\n{}\r\n0\r\nTransfer-Encoding: chunked\r\n\r\n",
        LAST,
    ),
];

/// Whole requests.
const REQUESTS: &[(&str, &str, &[u16])] = &[
    (
        "absolute-uri-host-mismatch",
        "GET http://b/ HTTP/1.1\r\nHost: a\r\n\r\n",
        REFUSED,
    ),
    (
        "get-cl-body-desync",
        "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n{}",
        &[200, 200],
    ),
    (
        "get-cl-prefix-desync",
        "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 14\r\n\r\nGET /x HTTP/1.",
        &[200, 200],
    ),
    (
        "head-cl-body",
        "HEAD / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n{}",
        &[200, 200],
    ),
    (
        "options-cl-body",
        "OPTIONS / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n{}",
        &[204, 200],
    ),
    (
        "options-cl-body-desync",
        "OPTIONS / HTTP/1.1\r\nHost: a\r\nContent-Length: 14\r\n\r\nGET /x HTTP/1.",
        &[204, 200],
    ),
    (
        "options-te-obs-fold",
        "OPTIONS / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding:\r\n chunked\r\n\r\n",
        REFUSED,
    ),
    (
        "pipeline-safe",
        "GET / HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
        &[200, 200, 200],
    ),
    (
        "te-http10",
        "POST /api/v1/mailboxes HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        REFUSED,
    ),
    ("h1spec: without HTTP version", "GET / \r\n\r\n", REFUSED),
    (
        "h1spec: valid GET",
        "GET / HTTP/1.1\r\nHost: example.com\r\n\r\n",
        &[200, 200],
    ),
    (
        "h1spec: valid GET, edge cases",
        "GET / HTTP/1.1\r\nhoSt:\texample.com\r\nempty:\r\n\r\n",
        &[200, 200],
    ),
    (
        "h1spec: invalid field characters",
        "GET / HTTP/1.1\r\nHost: a\r\nX-Invalid[]: test\r\n\r\n",
        REFUSED,
    ),
    (
        "h1spec: no Host",
        "GET / HTTP/1.1\r\nContent-Length: 5\r\n\r\n",
        REFUSED,
    ),
    (
        "h1spec: several Hosts",
        "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        REFUSED,
    ),
    (
        "h1spec: overflowing negative length",
        "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: -123456789123456789123456789\r\n\r\n",
        REFUSED,
    ),
    (
        "h1spec: negative length",
        "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: -1234\r\n\r\n",
        REFUSED,
    ),
    (
        "h1spec: length that is no number",
        "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: abc\r\n\r\n",
        REFUSED,
    ),
    (
        "h1spec: empty value",
        "GET / HTTP/1.1\r\nHost: a\r\nX-Empty: \r\n\r\n",
        &[200, 200],
    ),
    (
        "h1spec: control character",
        "GET / HTTP/1.1\r\nHost: a\r\nX-Bad: test\x07\r\n\r\n",
        REFUSED,
    ),
    (
        "h1spec: version",
        "GET / HTTP/9.9\r\nHost: a\r\n\r\n",
        &[505],
    ),
    (
        "h1spec: prefix",
        "Extra lineGET / HTTP/1.1\r\nHost: a\r\n\r\n",
        REFUSED,
    ),
    (
        "h1spec: line ending",
        "GET / HTTP/1.1\r\nHost: a\r\n\rSome: Test\r\n\r\n",
        REFUSED,
    ),
    (
        "h1spec: POST with body",
        "POST /api/v1/mailboxes HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}",
        SERVED,
    ),
    (
        "h1spec: both lengths",
        "GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n",
        REFUSED,
    ),
];

const START: &str =
    "POST /api/v1/mailboxes HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n";
const BEHIND: &str = "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";

fn statuses(house: &House, bytes: &str) -> Vec<u16> {
    let received = exchange(house.public, bytes.as_bytes());
    let text = String::from_utf8_lossy(&received).into_owned();
    // By what heads begin with: the answer to HEAD has no body, whatever its length says. A body may name the version.
    let heads = text.split("HTTP/1.1 ").skip(1);
    heads
        .filter_map(|head| head.get(..3)?.parse().ok())
        .collect()
}

#[test]
fn k04_bytes_that_smuggle_elsewhere_smuggle_nothing_here() {
    let house = House::new();
    let mut wrong = Vec::new();
    let mut check = |name: &str, bytes: String, expected: &[u16]| {
        let told = statuses(&house, &bytes);
        if told != expected {
            wrong.push(format!("{name}: {told:?} instead of {expected:?}"));
        }
    };
    for (name, fields, body, expected) in BODIES {
        check(
            name,
            format!("{START}{fields}\r\n\r\n{body}{BEHIND}"),
            expected,
        );
    }
    for (name, chunks, expected) in CHUNKS {
        check(
            name,
            format!("{START}Transfer-Encoding: chunked\r\n\r\n{chunks}{BEHIND}"),
            expected,
        );
    }
    for (name, request, expected) in REQUESTS {
        check(name, format!("{request}{BEHIND}"), expected);
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    // Whoever sends part of a head is waited for, and served when the rest comes.
    let whole = "GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    for end in 1..whole.len() {
        let mut stream = connect(house.public);
        stream.write_all(&whole.as_bytes()[..end]).expect("sent");
        stream.write_all(&whole.as_bytes()[end..]).expect("sent");
        let mut received = Vec::new();
        stream.read_to_end(&mut received).expect("closed");
        assert_eq!(parse(&received)[0].status, 200, "{end}");
    }
}

#[test]
fn k05_answers_keep_their_order_and_heads_have_no_body() {
    let house = House::new();
    let (_, token) = house.create("{}");
    let authorized = bearer(&token);
    let requests = format!(
        "HEAD /api/v1/mailbox HTTP/1.1\r\nHost: a\r\n{authorized}\r\nContent-Length: 2\r\n\r\n{{}}\
         GET /api/v1/mailbox HTTP/1.1\r\nHost: a\r\n{authorized}\r\n\r\n\
         POST /api/v1/mailboxes HTTP/1.1\r\nHost: a\r\n\r\n\
         DELETE /api/v1/mailbox HTTP/1.1\r\nHost: a\r\n{authorized}\r\nConnection: close\r\n\r\n"
    );
    let received = exchange(house.public, requests.as_bytes());
    let text = String::from_utf8(received).expect("UTF-8");
    let answers: Vec<&str> = text.split("HTTP/1.1 ").skip(1).collect();
    let told: Vec<&str> = answers.iter().map(|answer| &answer[..3]).collect();
    assert_eq!(told, ["200", "200", "201", "204"]);
    assert!(answers[0].ends_with("\r\n\r\n") && answers[1].contains("{\"address\""));
    assert!(
        answers[0].contains("content-length: "),
        "that of the body which GET has"
    );
}

#[test]
fn k06_who_never_reads_is_dropped_and_holds_nobody_up() {
    let mut settings = settings();
    settings.http.stream_events_max = 4;
    let house = House::with(settings);
    let (address, token) = house.create("{}");
    let deaf = Events::open_deaf(house.public, &[&bearer(&token)]);
    let mut waiting = connect(house.public);
    let request = format!(
        "GET /api/v1/messages?wait=20s HTTP/1.1\r\nHost: a\r\n{}\r\n\r\n",
        bearer(&token)
    );
    waiting.write_all(request.as_bytes()).expect("sent");
    // Far more than all buffers between us hold.
    let subject = "x".repeat(900);
    let mail = format!("Subject: {subject}\r\n\r\n");
    let mut streams = 1;
    for nth in 0..20_000 {
        house.deliver(&address, mail.as_bytes());
        let last = send(
            house.public,
            "DELETE",
            &format!("/api/v1/messages/{}", nth * 2 + 1),
            &[&bearer(&token)],
            "",
        );
        assert_eq!(last.status, 204, "{nth}");
        streams = house.metrics.http_event_streams.value();
        if streams == 0 {
            break;
        }
    }
    assert_eq!(streams, 0, "the stream was given up");
    deaf.close();
}

#[test]
fn k08_paths_and_fields_say_what_they_say_and_nothing_else() {
    let house = House::new();
    let (_, token) = house.create("{}");
    for path in [
        "/%2e%2e/",
        "/%2e%2e/api/v1/mailbox",
        "/api/v1/%2e%2e/v1/mailbox",
        "/api/v1/../v1/mailbox",
        "/api/v1/./mailbox",
        "//api/v1/mailbox",
        "/api//v1/mailbox",
        "/api/v1/mailbox/",
        "/api/v1/mailbox;x=1",
        "/api/v1/mailbox%00",
        "/api/v1/mailbox%3fx",
        "/api/v1%2fmailbox",
        "/API/v1/mailbox",
        "/api/v1/messages/1/raw/",
        "/api/v1/messages/1/attachments/0/x",
        &format!("/{}", "y".repeat(8 << 10)),
    ] {
        let answer = house.get(path, &token);
        assert_eq!(
            (answer.status, answer.code().as_str()),
            (404, "no-such-resource"),
            "{path}"
        );
    }
    for path in [
        "/api/v1/mailbox\\",
        "/api/v1/mailbox|",
        "/api/v1/mailbox\u{e4}",
    ] {
        let answer = house.get(path, &token);
        assert!([400, 404].contains(&answer.status), "{path}: {answer:?}");
    }
    let trick = |method: &str, fields: &[&str]| {
        let authorized = bearer(&token);
        let fields = [&[authorized.as_str()][..], fields].concat();
        send(house.public, method, "/api/v1/mailbox", &fields, "").status
    };
    for field in [
        "X-HTTP-Method-Override: DELETE",
        "X-HTTP-Method: DELETE",
        "X-Method-Override: DELETE",
    ] {
        assert_eq!(trick("GET", &[field]), 200);
        assert_eq!(trick("POST", &[field]), 405);
    }
    for field in [
        "X-Original-URL: /metrics",
        "X-Rewrite-URL: /metrics",
        "X-Forwarded-Prefix: /x",
    ] {
        assert_eq!(trick("GET", &[field]), 200);
    }
    for method in ["TRACE", "TRACK", "DEBUG", "get", "PROPFIND", "QUERY"] {
        assert_eq!(trick(method, &[]), 405, "{method}");
    }
    assert_eq!(
        house.get("/api/v1/mailbox?_method=DELETE", &token).status,
        200
    );
    assert_eq!(
        house.get("/api/v1/mailbox", &token).status,
        200,
        "it is still there"
    );
}

#[test]
fn k09_there_is_no_http_2_to_attack() {
    let house = House::new();
    let preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
    assert_eq!(statuses(&house, &format!("{preface}{BEHIND}")), [505]);
    let upgrade = "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, HTTP2-Settings, close\r\nUpgrade: h2c\r\n\
        HTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA\r\n\r\n";
    assert_eq!(statuses(&house, upgrade), [200], "an upgrade is not heard");
}
