//! The HTTP side against real sockets: what it answers, and what it refuses.

#![cfg(feature = "server")]
#![forbid(unsafe_code)]

mod attacks;
mod client;
mod creation;
mod document;
mod house;
mod mailboxes;
mod page;
mod reading;
mod smuggling;

use client::{Answer, Events, parse, send};
use house::{House, bearer, settings};
use mayfly::control::Phase;
use mayfly::settings::Span;
use std::io::{Read, Write};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const JSON: &str = "Content-Type: application/json";
const MAIL: &[u8] = b"Return-Path: <sender@a.test>\r\n\
    From: =?utf-8?q?J=C3=B6rg?= <joerg@a.test>\r\nTo: you@mayfly.test\r\n\
    Subject: Hello\r\nDate: Sun, 22 Nov 2026 10:00:00 +0000\r\nMessage-ID: <1@a.test>\r\n\r\nBody\r\n";

fn create(house: &House, body: &str) -> Answer {
    send(house.public, "POST", "/api/v1/mailboxes", &[JSON], body)
}

#[test]
fn a_mailbox_lives_from_creation_to_erasure() {
    let house = House::new();
    let answer = send(house.public, "POST", "/api/v1/mailboxes", &[], "");
    assert_eq!(answer.status, 201);
    assert_eq!(answer.field("location"), Some("/api/v1/mailbox"));
    let made = answer.json();
    assert_eq!(made["links"]["events"], "/api/v1/events");
    let token = made["token"].as_str().expect("a token");
    assert!(token.starts_with("mf_") && token.len() == 35, "{token}");

    let state = house.get("/api/v1/mailbox", token).json();
    assert_eq!(state["address"], made["address"]);
    assert_eq!(
        (&state["messages"], &state["cursor"]),
        (&0.into(), &"0".into())
    );
    assert_eq!(state.get("token"), None);

    let patch = |body| {
        send(
            house.public,
            "PATCH",
            "/api/v1/mailbox",
            &[JSON, &bearer(token)],
            body,
        )
    };
    let granted = patch("{\"ttl\": \"10m\"}").json();
    assert_eq!(granted["expires_in"], 600);
    assert_eq!(patch("{\"ttl\": 9999999}").json()["expires_in"], 24 * 3600);
    assert_eq!(patch("{}").code(), "bad-field");

    let erase = || {
        send(
            house.public,
            "DELETE",
            "/api/v1/mailbox",
            &[&bearer(token)],
            "",
        )
    };
    assert_eq!(erase().status, 204);
    assert_eq!(erase().code(), "no-such-mailbox");
}

#[test]
fn chosen_addresses_are_checked() {
    let house = House::new();
    let made = create(
        &house,
        "{\"local_part\": \"Alice\", \"domain\": \"MAYFLY.test\", \"ttl\": 60}",
    );
    assert_eq!(made.json()["address"], "alice@mayfly.test");
    assert_eq!(made.json()["expires_in"], 60);
    for (body, status, code, field) in [
        ("{\"local_part\": \"alice\"}", 409, "taken", None),
        (
            "{\"local_part\": \"postmaster\"}",
            422,
            "bad-field",
            Some("local_part"),
        ),
        (
            "{\"local_part\": \"a b\"}",
            422,
            "bad-field",
            Some("local_part"),
        ),
        (
            "{\"local_part\": \"\"}",
            422,
            "bad-field",
            Some("local_part"),
        ),
        (
            "{\"local_part\": \"x@y\"}",
            422,
            "bad-field",
            Some("local_part"),
        ),
        ("{\"local_part\": 5}", 422, "bad-field", Some("local_part")),
        (
            "{\"local_part\": \"a\", \"domain\": \"b.test\"}",
            422,
            "bad-field",
            Some("domain"),
        ),
        ("{\"domain\": \"b.test\"}", 422, "bad-field", Some("domain")),
        ("{\"ttl\": 0}", 422, "bad-field", Some("ttl")),
        ("{\"ttl\": -1}", 422, "bad-field", Some("ttl")),
        ("{\"ttl\": 1.5}", 422, "bad-field", Some("ttl")),
        ("{\"ttl\": \"soon\"}", 422, "bad-field", Some("ttl")),
        ("{\"tll\": 60}", 422, "unknown-field", Some("tll")),
        ("[]", 400, "bad-body", None),
        ("{", 400, "bad-body", None),
    ] {
        let answer = create(&house, body);
        assert_eq!(
            (answer.status, answer.code().as_str()),
            (status, code),
            "{body}"
        );
        assert_eq!(answer.json()["field"].as_str(), field, "{body}");
    }
    let (address, _) = house.create("{\"ttl\": \"90s\"}");
    assert_eq!(address.find('@'), Some(20), "{address}");
}

#[test]
fn messages_are_listed_shown_handed_out_and_deleted() {
    let house = House::new();
    let (address, token) = house.create("{\"local_part\": \"you\"}");
    house.deliver(&address, MAIL);
    let long = [
        b"Subject: long\r\n\r\n".as_slice(),
        &b"0123456789abcdef".repeat(60_000),
    ]
    .concat();
    house.deliver(&address, &long);

    let page = house.get("/api/v1/messages?limit=1", &token).json();
    assert_eq!(page["messages"][0]["subject"], "Hello");
    assert_eq!(page["messages"][0]["from"]["name"], "J\u{f6}rg");
    assert_eq!(
        (&page["messages"][0]["id"], &page["cursor"]),
        (&"1".into(), &"1".into())
    );
    let page = house.get("/api/v1/messages?cursor=1", &token).json();
    assert_eq!(page["messages"].as_array().map(Vec::len), Some(1));
    assert_eq!(page["messages"][0]["size"], long.len());
    assert_eq!(
        house.get("/api/v1/messages?page=1", &token).code(),
        "bad-query"
    );

    let shown = house.get("/api/v1/messages/1", &token).json();
    assert_eq!(shown["envelope"]["from"], "sender@a.test");
    assert_eq!(shown["envelope"]["to"], "you@mayfly.test");
    assert_eq!(shown["headers"]["to"][0]["address"], "you@mayfly.test");
    assert_eq!(shown["headers"]["date"], "2026-11-22T10:00:00Z");
    assert_eq!(shown["headers"]["message_id"], "1@a.test");

    let raw = house.get("/api/v1/messages/2/raw", &token);
    assert_eq!(raw.field("content-type"), Some("message/rfc822"));
    assert!(
        raw.field("content-disposition")
            .expect("set")
            .starts_with("attachment;")
    );
    assert!(raw.body == long, "byte for byte");
    let head = send(
        house.public,
        "HEAD",
        "/api/v1/messages/2/raw",
        &[&bearer(&token)],
        "",
    );
    assert_eq!(
        head.field("content-length"),
        Some(long.len().to_string().as_str())
    );

    let delete = || {
        send(
            house.public,
            "DELETE",
            "/api/v1/messages/1",
            &[&bearer(&token)],
            "",
        )
    };
    assert_eq!(delete().status, 204);
    assert_eq!(delete().code(), "no-such-message");
    for id in ["1", "0", "77", "x", "-1", "99999999999999999999999"] {
        let answer = house.get(&format!("/api/v1/messages/{id}"), &token);
        assert_eq!(answer.code(), "no-such-message", "{id}");
    }
}

#[test]
fn a_waiting_call_answers_with_the_message_or_when_its_time_is_up() {
    let house = House::new();
    let (address, token) = house.create("{}");
    let empty = house.get("/api/v1/messages?wait=100ms", &token);
    assert_eq!(
        (empty.status, empty.json()["cursor"].as_str()),
        (200, Some("0"))
    );
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| house.get("/api/v1/messages?wait=20s", &token).json());
        house.deliver(&address, MAIL);
        let page = waiting.join().expect("answered");
        assert_eq!(page["messages"][0]["subject"], "Hello");
    });
    let at_once = house.get("/api/v1/messages?wait=20s", &token).json();
    assert_eq!(at_once["cursor"], "1");
}

#[test]
fn events_come_as_they_happen_and_go_on_where_they_stopped() {
    let house = House::new();
    let (address, token) = house.create("{}");
    let mut events = Events::open(house.public, &[&bearer(&token)]);
    assert!(events.head.contains("text/event-stream"), "{}", events.head);
    assert_eq!(events.block().as_deref(), Some("retry: 3000"));
    house.deliver(&address, MAIL);
    let (event, id, data) = events.next().expect("an event");
    assert_eq!(
        (event.as_str(), id.as_str(), &data["id"]),
        ("message", "1", &"1".into())
    );
    assert_eq!(data["subject"], "Hello");
    events.close();

    house.deliver(&address, MAIL);
    send(
        house.public,
        "DELETE",
        "/api/v1/messages/2",
        &[&bearer(&token)],
        "",
    );
    let mut events = Events::open(house.public, &[&bearer(&token), "Last-Event-ID: 1"]);
    let (event, _, data) = events.next().expect("an event");
    assert_eq!((event.as_str(), &data["id"]), ("removed", &"2".into()));
    send(
        house.public,
        "DELETE",
        "/api/v1/mailbox",
        &[&bearer(&token)],
        "",
    );
    assert_eq!(events.next().expect("an event").0, "closed");
    assert_eq!(events.next(), None);
}

#[test]
fn an_idle_stream_shows_that_it_lives() {
    let mut settings = settings();
    settings.http.heartbeat = Span(Duration::from_millis(100));
    let house = House::with(settings);
    let (_, token) = house.create("{}");
    let mut events = Events::open(house.public, &[&bearer(&token)]);
    let blocks = [(); 3].map(|()| events.block().expect("a block"));
    assert_eq!(blocks, ["retry: 3000", ":", ":"]);
}

#[test]
fn streams_on_a_mailbox_are_bounded_and_dead_ones_make_room() {
    let mut settings = settings();
    settings.budget.watchers_max = 2;
    let house = House::with(settings);
    let (_, token) = house.create("{}");
    let open = || Events::open(house.public, &[&bearer(&token)]);
    let (first, _second) = (open(), open());
    assert_eq!(
        house.get("/api/v1/events", &token).code(),
        "too-many-watchers"
    );
    first.close();
    while open().head.starts_with("HTTP/1.1 429") {}
}

#[test]
fn a_full_minute_is_answered_with_429_and_streams_do_not_count() {
    let mut settings = settings();
    settings.http.requests_per_minute = 5;
    let house = House::with(settings);
    let (_, token) = house.create("{}");
    for _ in 0..10 {
        let events = Events::open(house.public, &[&bearer(&token)]);
        assert!(events.head.starts_with("HTTP/1.1 200"), "{}", events.head);
        events.close();
    }
    let [_, _, _, last] = [(); 4].map(|()| house.get("/api/v1/mailbox", &token));
    assert_eq!(last.status, 200);
    assert_eq!(last.field("ratelimit-policy"), Some("\"client\";q=5;w=60"));
    assert!(
        last.field("ratelimit")
            .expect("set")
            .starts_with("\"client\";r=0;t=")
    );
    let refused = house.get("/api/v1/mailbox", &token);
    assert_eq!(
        (refused.status, refused.code().as_str()),
        (429, "too-many-requests")
    );
    let secs: u64 = refused
        .field("retry-after")
        .expect("set")
        .parse()
        .expect("seconds");
    assert!((1..=120).contains(&secs));
    assert!(
        Events::open(house.public, &[&bearer(&token)])
            .head
            .starts_with("HTTP/1.1 200")
    );
    let guess = house.get("/api/v1/events", "mf_wrong");
    assert_eq!(
        guess.code(),
        "too-many-requests",
        "tokens are not tried without end"
    );
    assert_eq!(send(house.operator, "GET", "/healthz", &[], "").status, 200);
    assert_eq!(house.metrics.http_rate_limited.value(), 2);
}

#[test]
fn the_two_sides_do_not_answer_for_each_other() {
    let house = House::new();
    let (_, token) = house.create("{}");
    for path in ["/healthz", "/readyz", "/metrics", "/postmaster/messages"] {
        let answer = house.get(path, &token);
        assert_eq!(answer.code(), "no-such-resource", "{path}");
        assert_eq!(
            send(house.operator, "GET", path, &[], "").status,
            200,
            "{path}"
        );
    }
    for path in ["/api/v1/mailbox", "/api/v1/messages", "/api/v1/events"] {
        let answer = send(house.operator, "GET", path, &[&bearer(&token)], "");
        assert_eq!(answer.code(), "no-such-resource", "{path}");
    }
    assert_eq!(
        send(house.operator, "POST", "/api/v1/mailboxes", &[], "").status,
        404
    );
}

#[test]
fn the_operator_reads_postmasters_mail() {
    let house = House::new();
    let get = |path: &str| send(house.operator, "GET", path, &[], "");
    assert_eq!(
        get("/postmaster/messages").json()["messages"],
        serde_json::json!([])
    );
    house.deliver("postmaster@mayfly.test", MAIL);
    assert_eq!(
        get("/postmaster/messages").json()["messages"][0]["subject"],
        "Hello"
    );
    assert_eq!(
        get("/postmaster/messages/1").json()["envelope"]["from"],
        "sender@a.test"
    );
    assert_eq!(get("/postmaster/messages/1/raw").body, MAIL);
    let delete = send(house.operator, "DELETE", "/postmaster/messages/1", &[], "");
    assert_eq!(delete.status, 204);
    let page = get("/metrics");
    assert_eq!(
        page.field("content-type"),
        Some("text/plain; version=0.0.4; charset=utf-8")
    );
    let page = String::from_utf8(page.body).expect("UTF-8");
    assert!(
        page.contains(
            "mayfly_http_requests_total{route=\"postmaster\",method=\"get\",code=\"200\"} 4"
        ),
        "{page}"
    );
    assert!(!page.contains('@'), "no address on the metrics page");
}

#[test]
fn promtool_finds_nothing_to_mend() {
    let house = House::new();
    house.deliver("postmaster@mayfly.test", MAIL);
    send(house.operator, "GET", "/metrics", &[], "");
    let page = send(house.operator, "GET", "/metrics", &[], "");
    let promtool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut promtool = promtool.expect("promtool runs (tests/setup installs it)");
    let mut stdin = promtool.stdin.take().expect("piped");
    stdin.write_all(&page.body).expect("promtool reads");
    drop(stdin);
    let said = promtool.wait_with_output().expect("promtool ends");
    assert!(said.status.success() && said.stderr.is_empty(), "{said:?}");
}

#[test]
fn a_stream_that_nobody_reads_is_ended() {
    let mut settings = settings();
    settings.http.request_timeout = Span(Duration::from_millis(300));
    settings.http.stream_events_max = 2;
    settings.budget.mailbox_messages_max = 10_000;
    let house = House::with(settings);
    let (address, token) = house.create("{}");
    let _unread = Events::open(house.public, &[&bearer(&token)]);
    // Each event is six times as long as its subject.
    let mail = [b"Subject: ".as_slice(), &[1; 1_000], b"\r\n\r\n"].concat();
    let deadline = Instant::now() + Duration::from_secs(20);
    while house.metrics.http_event_streams.value() > 0 {
        assert!(Instant::now() < deadline, "the stream is still open");
        house.deliver(&address, &mail);
    }
    assert_eq!(house.get("/api/v1/mailbox", &token).status, 200);
}

#[test]
fn draining_ends_streams_and_waits_and_says_so() {
    let house = House::new();
    let (_, token) = house.create("{}");
    let mut events = Events::open(house.public, &[&bearer(&token)]);
    let mut idle = client::connect(house.public);
    std::thread::scope(|scope| {
        let mut waiting = client::connect(house.public);
        let field = bearer(&token);
        let head = format!("GET /api/v1/messages?wait=20s HTTP/1.1\r\nHost: a\r\n{field}\r\n\r\n");
        waiting.write_all(head.as_bytes()).expect("sent");
        // The stream was opened before this request was sent, and both are under way once a third is answered.
        assert_eq!(house.get("/api/v1/mailbox", &token).status, 200);
        let waited = scope.spawn(move || {
            let mut received = Vec::new();
            waiting.read_to_end(&mut received).expect("closed");
            received
        });
        house.phase.send_replace(Phase::Draining);
        let answers = parse(&waited.join().expect("read"));
        assert_eq!(answers[0].status, 200, "{answers:?}");
    });
    assert_eq!(events.next(), None);
    assert_eq!(idle.read(&mut [0; 8]).expect("closed"), 0);
    let ready = send(house.operator, "GET", "/readyz", &[], "");
    assert_eq!(
        (ready.status, ready.body.as_slice()),
        (503, &b"draining\n"[..])
    );
}
