//! What hostile clients try.

use crate::client::{Answer, connect, exchange, parse, send};
use crate::house::{House, bearer, settings};
use mayfly::metrics::process::HttpRefused;
use mayfly::settings::{Bytes, Span};
use std::io::{Read, Write};
use std::net::Shutdown;
use std::time::Duration;

const PROTECTION: [(&str, &str); 5] = [
    ("cache-control", "no-store"),
    ("x-content-type-options", "nosniff"),
    ("referrer-policy", "no-referrer"),
    ("cross-origin-resource-policy", "same-origin"),
    (
        "content-security-policy",
        "default-src 'none'; frame-ancestors 'none'",
    ),
];

fn raw(house: &House, bytes: &str) -> Vec<Answer> {
    parse(&exchange(house.public, bytes.as_bytes()))
}

#[test]
fn wrong_expired_erased_and_malformed_tokens_get_the_same_bytes() {
    let house = House::new();
    let (address, expired) = house.create("{\"ttl\": 5}");
    house.at(&address, |shard, now| {
        shard.expire(now.plus(Duration::from_secs(3_600)), usize::MAX)
    });
    let (_, erased) = house.create("{}");
    send(
        house.public,
        "DELETE",
        "/api/v1/mailbox",
        &[&bearer(&erased)],
        "",
    );
    let wrong = format!("mf_{}", "a".repeat(32));
    let long = "x".repeat(5_000);
    for path in [
        "/api/v1/mailbox",
        "/api/v1/messages",
        "/api/v1/messages/1",
        "/api/v1/events",
    ] {
        let expected = house.get(path, &wrong);
        assert_eq!(expected.code(), "no-such-mailbox");
        for token in [
            expired.as_str(),
            &erased,
            "x",
            "mf_",
            "\u{e4}",
            "a b",
            &long,
        ] {
            let answer = house.get(path, token);
            assert_eq!(
                (&answer.head, &answer.body),
                (&expected.head, &expected.body),
                "{token}"
            );
        }
    }
}

#[test]
fn a_dead_token_stays_dead_when_its_address_is_given_anew() {
    let mut settings = settings();
    settings.budget.address_quarantine = Span(Duration::ZERO);
    let house = House::with(settings);
    let (address, old) = house.create("{\"local_part\": \"again\"}");
    house.deliver(&address, b"Subject: old\r\n\r\n");
    send(
        house.public,
        "DELETE",
        "/api/v1/mailbox",
        &[&bearer(&old)],
        "",
    );
    let (_, new) = house.create("{\"local_part\": \"again\"}");
    assert_eq!(house.get("/api/v1/mailbox", &old).code(), "no-such-mailbox");
    assert_eq!(
        house.get("/api/v1/messages", &new).json()["messages"],
        serde_json::json!([])
    );
}

#[test]
fn whoever_shows_no_token_is_asked_for_one() {
    let house = House::new();
    for fields in [
        &[][..],
        &["Authorization: Basic eDp5"],
        &["Authorization: Bearer"],
    ] {
        let answer = send(house.public, "GET", "/api/v1/mailbox", fields, "");
        assert_eq!(
            (answer.status, answer.code().as_str()),
            (401, "no-token"),
            "{fields:?}"
        );
        assert_eq!(answer.field("www-authenticate"), Some("Bearer"));
    }
}

#[test]
fn every_answer_is_protected_and_every_error_is_a_problem_without_secrets() {
    let house = House::new();
    let (_, token) = house.create("{}");
    let secret = bearer(&token);
    let json = "Content-Type: application/json";
    let in_body = format!("{{\"{token}\": \"{token}\", \"local_part\": \"{token} {token}\"}}");
    let in_path = format!("/api/v1/messages/{token}?wait={token}");
    let in_query = format!("/api/v1/messages?wait={token}");
    for (method, path, fields, body, status) in [
        ("GET", "/nowhere", &[secret.as_str()][..], "", 404),
        ("GET", "/api/v1/../mailbox", &[&secret], "", 404),
        ("GET", "//", &[&secret], "", 404),
        ("GET", "/%00", &[&secret], "", 404),
        ("PUT", "/api/v1/mailbox", &[&secret], "", 405),
        ("GET", "/api/v1/mailboxes", &[&secret], "", 405),
        (
            "POST",
            "/api/v1/mailboxes",
            &["Content-Type: text/plain"],
            "{}",
            415,
        ),
        ("POST", "/api/v1/mailboxes", &[], "{}", 415),
        ("POST", "/api/v1/mailboxes", &[json], &in_body, 422),
        ("GET", &in_path, &[&secret], "", 404),
        ("GET", &in_query, &[&secret], "", 400),
        (
            "GET",
            "/api/v1/mailbox",
            &[&format!("Authorization: Basic {token}")],
            "",
            401,
        ),
    ] {
        let answer = send(house.public, method, path, fields, body);
        assert_eq!(answer.status, status, "{method} {path} {answer:?}");
        assert!(!answer.code().is_empty());
        let text = format!("{}{}", answer.head, String::from_utf8_lossy(&answer.body));
        assert!(!text.contains(&token), "{text}");
        for (name, value) in PROTECTION {
            assert_eq!(answer.field(name), Some(value), "{method} {path}");
        }
    }
    let allow = send(house.public, "PUT", "/api/v1/mailbox", &[], "");
    assert_eq!(allow.field("allow"), Some("GET,HEAD,PATCH,DELETE"));
    let options = send(house.public, "OPTIONS", "/api/v1/mailboxes", &[], "");
    assert_eq!(
        (options.status, options.field("allow")),
        (204, Some("POST"))
    );
    for (name, value) in PROTECTION {
        assert_eq!(house.get("/", "").field(name), Some(value));
    }
}

#[test]
fn pages_of_other_sites_change_nothing() {
    let house = House::new();
    let host = format!("Origin: http://{}", house.public);
    for (field, status) in [
        ("Origin: https://evil.test", 403),
        ("Origin: null", 403),
        ("Sec-Fetch-Site: cross-site", 403),
        ("Sec-Fetch-Site: same-site", 403),
        ("Sec-Fetch-Site: same-origin", 201),
        (&host, 201),
    ] {
        let answer = send(house.public, "POST", "/api/v1/mailboxes", &[field], "");
        assert_eq!(answer.status, status, "{field}");
        assert!(!answer.head.to_ascii_lowercase().contains("access-control"));
    }
    let form = "Content-Type: application/x-www-form-urlencoded";
    let answer = send(house.public, "POST", "/api/v1/mailboxes", &[form], "ttl=1");
    assert_eq!(answer.code(), "not-json");
    let preflight = [
        "Origin: https://evil.test",
        "Access-Control-Request-Method: DELETE",
    ];
    let answer = send(house.public, "OPTIONS", "/api/v1/mailbox", &preflight, "");
    assert!(!answer.head.to_ascii_lowercase().contains("access-control"));
}

#[test]
fn k01_and_k03_what_could_be_read_in_two_ways_is_refused_and_nothing_behind_it_is_read() {
    let house = House::new();
    let hidden = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    let start = "POST /api/v1/mailboxes HTTP/1.1\r\nHost: a\r\n";
    for fields in [
        "Content-Length: 5\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nContent-Length: 5",
        "Transfer-Encoding: chunked, identity",
        "Transfer-Encoding : chunked",
        "Transfer-Encoding:\x0bchunked",
        "Content-Length: 5\r\nContent-Length: 5",
        "Content-Length: 5\r\nContent-Length: 6",
        "Content-Length: +5",
        "Content-Length: 5,5",
        "Content-Length: 05",
        "Content-Length: 18446744073709551616",
        "X: a\r\n b",
        "X: a\0b",
        "X: a\rb",
        "X: a\nY: b",
        "Host: b",
    ] {
        let answers = raw(
            &house,
            &format!("{start}{fields}\r\n\r\n0\r\n\r\n{hidden}{hidden}"),
        );
        assert_eq!(answers.len(), 1, "{fields:?} {answers:?}");
        assert_eq!(
            (answers[0].status, answers[0].code().as_str()),
            (400, "bad-head"),
            "{fields:?}"
        );
        assert_eq!(answers[0].field("connection"), Some("close"));
    }
    for (head, status) in [
        ("GET / HTTP/1.1\r\n\r\n", 400),
        ("GET / HTTP/1.1\nHost: a\n\n", 400),
        ("GET http://b/ HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        ("CONNECT a:25 HTTP/1.1\r\nHost: a:25\r\n\r\n", 400),
        ("GET / HTTP/3.0\r\nHost: a\r\n\r\n", 505),
        ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
        ("\x16\x03\x01\x02\0\x01\0\x01\u{fc}\x03\x03", 400),
    ] {
        let answers = raw(&house, &format!("{head}{hidden}"));
        let statuses: Vec<u16> = answers.iter().map(|answer| answer.status).collect();
        assert_eq!(statuses, [status], "{head:?}");
    }
}

#[test]
fn k02_bodies_are_framed_as_announced_or_refused() {
    let house = House::new();
    let start = "POST /api/v1/mailboxes HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n";
    let after = "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    let statuses = |bytes: &str| -> Vec<u16> {
        raw(&house, bytes)
            .iter()
            .map(|answer| answer.status)
            .collect()
    };
    // A body that was not announced is the next request, and not one.
    assert_eq!(
        statuses(&format!(
            "{start}Content-Length: 0\r\n\r\nx=1\r\n\r\n{after}"
        )),
        [201, 400]
    );
    // Pipelined requests are answered in order.
    assert_eq!(
        statuses(&format!("{start}Content-Length: 2\r\n\r\n{{}}{after}")),
        [201, 200]
    );
    // A chunked body is the last thing that its connection says.
    let chunked = format!("{start}Transfer-Encoding: chunked\r\n\r\n");
    assert_eq!(
        statuses(&format!("{chunked}2\r\n{{}}\r\n0\r\n\r\n{after}")),
        [201]
    );
    for chunks in [
        "FFFFFFFFFFFFFFFFF\r\n{}\r\n0\r\n\r\n",
        "2\n{}\n0\n\n",
        "5;a=\n{}\r\n0\r\n\r\n",
        "2\r\n{}x\r\n0\r\n\r\n",
        "-2\r\n{}\r\n0\r\n\r\n",
        "0x2\r\n{}\r\n0\r\n\r\n",
    ] {
        assert_eq!(
            statuses(&format!("{chunked}{chunks}{after}")),
            [400],
            "{chunks:?}"
        );
    }
    let pieces = "1\r\n \r\n".repeat(1_000_000);
    assert_eq!(statuses(&format!("{chunked}{pieces}0\r\n\r\n")), [413]);
    let answers = raw(
        &house,
        &format!("{start}Content-Length: 20000\r\n\r\n{}", " ".repeat(20_000)),
    );
    assert_eq!(
        (answers[0].status, answers[0].code().as_str()),
        (413, "body-too-large")
    );
}

#[test]
fn k05_expect_continue_is_answered() {
    let house = House::new();
    let mut stream = connect(house.public);
    let head = "POST /api/v1/mailboxes HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n\
        Content-Length: 2\r\nExpect: 100-continue\r\nConnection: close\r\n\r\n";
    stream.write_all(head.as_bytes()).expect("sent");
    let mut go_on = [0; 25];
    stream.read_exact(&mut go_on).expect("an interim answer");
    assert_eq!(&go_on, b"HTTP/1.1 100 Continue\r\n\r\n");
    stream.write_all(b"{}").expect("sent");
    let mut received = Vec::new();
    stream.read_to_end(&mut received).expect("closed");
    assert_eq!(parse(&received)[0].status, 201);
}

#[test]
fn k03_heads_are_bounded_in_bytes_and_fields() {
    let house = House::new();
    for head in [
        format!(
            "GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n",
            "y".repeat(100_000)
        ),
        format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "y".repeat(100_000)),
        format!(
            "GET / HTTP/1.1\r\nHost: a\r\n{}\r\n",
            "X: y\r\n".repeat(10_000)
        ),
        format!(
            "GET / HTTP/1.1\r\nHost: a\r\n{}\r\n",
            "X: y\r\n".repeat(100)
        ),
    ] {
        let answers = raw(&house, &head);
        assert_eq!(
            (answers[0].status, answers[0].code().as_str()),
            (431, "head-too-large")
        );
    }
}

#[test]
fn k06_slow_heads_slow_bodies_and_idle_connections_are_ended() {
    let mut settings = settings();
    settings.http.header_timeout = Span(Duration::from_millis(200));
    settings.http.request_timeout = Span(Duration::from_millis(200));
    let house = House::with(settings);
    let ended = |bytes: &str| exchange(house.public, bytes.as_bytes());
    assert_eq!(ended(""), b"");
    assert_eq!(ended("GET / HT"), b"");
    let answers = parse(&ended("GET / HTTP/1.1\r\nHost: a\r\n\r\n"));
    assert_eq!(
        answers[0].status, 200,
        "an idle connection is closed after its answer"
    );
    let slow = "POST /api/v1/mailboxes HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n\
        Content-Length: 2\r\n\r\n{";
    let answers = parse(&ended(slow));
    assert_eq!(
        (answers[0].status, answers[0].code().as_str()),
        (408, "timeout")
    );
}

#[test]
fn connections_are_bounded() {
    let mut settings = settings();
    settings.http.connections_max = 2;
    settings.http.header_bytes_max = Bytes::kib(1);
    let house = House::with(settings);
    let mut held: Vec<_> = (0..2).map(|_| connect(house.public)).collect();
    for stream in &mut held {
        // An answer shows that the connection was taken in.
        stream
            .write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            .expect("sent");
        assert!(stream.read(&mut [0; 64]).expect("an answer") > 0);
    }
    let mut refused = connect(house.public);
    assert!(
        matches!(refused.read(&mut [0; 8]), Ok(0) | Err(_)),
        "closed unanswered"
    );
    assert_eq!(send(house.operator, "GET", "/healthz", &[], "").status, 200);
    let refused = house
        .metrics
        .http_connections_refused
        .of(HttpRefused::Connections);
    assert_eq!(refused.value(), 1);
}

#[test]
fn behind_a_trusted_proxy_each_client_is_counted_for_itself() {
    let trusted = |trusted: &[&str]| {
        let mut settings = settings();
        settings.http.requests_per_minute = 2;
        settings.http.connections_per_client_max = 1;
        let networks = trusted.iter().map(|text| text.parse().expect("a network"));
        settings.http.trusted_proxies = networks.collect();
        House::with(settings)
    };
    let house = trusted(&["127.0.0.0/8"]);
    // The proxy keeps connections open; they are not the clients'.
    let _idle = [connect(house.public), connect(house.public)];
    let status = |house: &House, forwarded: &str| {
        let field = format!("X-Forwarded-For: {forwarded}");
        send(house.public, "GET", "/api/v1/mailbox", &[&field], "").status
    };
    for client in ["192.0.2.1", "192.0.2.2", "2001:db8::1"] {
        let told: Vec<u16> = ["", "198.51.100.1, ", "198.51.100.2, "]
            .map(|lie| status(&house, &format!("{lie}{client}")))
            .into();
        assert_eq!(told, [401, 401, 429], "{client}");
    }
    // From anybody else the field is not read.
    let house = trusted(&["192.0.2.0/24"]);
    let told: Vec<u16> = ["192.0.2.1", "192.0.2.2", "192.0.2.3"]
        .map(|client| status(&house, client))
        .into();
    assert_eq!(told, [401, 401, 429]);
}

#[test]
fn connections_of_one_client_are_bounded() {
    let mut settings = settings();
    settings.http.connections_per_client_max = 2;
    let house = House::with(settings);
    let hold = || {
        let mut stream = connect(house.public);
        // An answer shows that the connection was taken in.
        stream
            .write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            .expect("sent");
        let taken_in = matches!(stream.read(&mut [0; 64]), Ok(1..));
        (stream, taken_in)
    };
    let refused = house
        .metrics
        .http_connections_refused
        .of(HttpRefused::ClientConnections);
    let (one, two) = (hold(), hold());
    assert!(one.1 && two.1);
    assert!(!hold().1, "closed unanswered");
    assert_eq!(refused.value(), 1);
    let elsewhere = send(house.operator, "GET", "/healthz", &[], "");
    assert_eq!(
        elsewhere.status, 200,
        "the operator's side has no such limit"
    );
    // Whoever leaves makes room, before the server's end of the connection closes.
    let mut leaving = one.0;
    leaving.shutdown(Shutdown::Write).expect("shut down");
    leaving.read_to_end(&mut Vec::new()).expect("closed");
    assert!(hold().1, "there is room again");
}
