//! The life of a mailbox as its holder sees it, and what strangers learn of it.

use crate::client::{Answer, Events, connect, parse, send};
use crate::house::{House, bearer, settings};
use mayfly::control::rate::Client;
use mayfly::policy::network::Network;
use mayfly::settings::Span;
use mayfly::store::{Existence, Unavailable};
use serde_json::{Value, json};
use std::io::{Read as _, Write as _};
use std::net::IpAddr;
use std::time::Duration;

const JSON: &str = "Content-Type: application/json";
const MAIL: &[u8] = b"Subject: Hello\r\n\r\nBody\r\n";

fn post(house: &House, path: &str, body: &Value) -> Answer {
    send(house.public, "POST", path, &[JSON], &body.to_string())
}

fn text(view: &Value, field: &str) -> String {
    view[field].as_str().expect("a text").to_owned()
}

#[test]
fn a_mailbox_may_be_made_for_so_many_messages() {
    let mut settings = settings();
    settings.budget.after_last_message = Span::secs(900);
    let house = House::with(settings);
    let made = post(
        &house,
        "/api/v1/mailboxes",
        &json!({ "messages_max": 2, "ttl": "1h" }),
    )
    .json();
    assert_eq!(
        (&made["messages_max"], &made["messages_left"]),
        (&json!(2), &json!(2))
    );
    let (address, token) = (text(&made, "address"), text(&made, "token"));
    let mut events = Events::open(house.public, &[&bearer(&token)]);
    house.deliver(&address, MAIL);
    let state = house.get("/api/v1/mailbox", &token).json();
    assert_eq!(
        (&state["messages_max"], &state["messages_left"]),
        (&json!(2), &json!(1))
    );
    assert_eq!(state["expires_in"], 3600);
    house.deliver(&address, MAIL);
    let state = house.get("/api/v1/mailbox", &token).json();
    assert_eq!(
        (&state["messages_left"], &state["expires_in"]),
        (&json!(0), &json!(900))
    );
    let mut told = || events.next().expect("an event");
    assert_eq!(
        (told().0.as_str(), told().0.as_str()),
        ("message", "message")
    );
    let (event, _, data) = told();
    assert_eq!(
        (event.as_str(), &data["expires_at"]),
        ("expires-soon", &state["expires_at"])
    );
    let to = mayfly::mail::Address::parse(address.clone()).expect("an address");
    let leased = house.at(&address, move |shard, now| {
        shard.lease(&to, Existence::Required, 1, now).err()
    });
    assert_eq!(leased, Some(Unavailable::UsedUp));
    for wrong in [
        json!(0),
        json!(501),
        json!(-1),
        json!(1.5),
        json!("2"),
        json!([]),
    ] {
        let answer = post(
            &house,
            "/api/v1/mailboxes",
            &json!({ "messages_max": wrong }),
        );
        assert_eq!(
            (answer.status, &answer.json()["field"]),
            (422, &json!("messages_max"))
        );
    }
}

#[test]
fn a_ticket_gives_a_new_token_once_and_the_old_one_is_dead() {
    let house = House::new();
    let made = post(
        &house,
        "/api/v1/mailboxes",
        &json!({ "ttl": "1h", "messages_max": 5 }),
    )
    .json();
    let (address, old) = (text(&made, "address"), text(&made, "token"));
    house.deliver(&address, MAIL);
    let mut events = Events::open(house.public, &[&bearer(&old)]);
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| house.get("/api/v1/messages?cursor=1&wait=30s", &old));
        // The call waits once a second watcher is there.
        let recover = json!({ "recovery": made["recovery"] });
        let again = post(&house, "/api/v1/mailbox/recover", &recover);
        assert_eq!(again.status, 200);
        let again = again.json();
        let new = text(&again, "token");
        for field in [
            "address",
            "messages_max",
            "messages_left",
            "plan",
            "links",
            "created_at",
            "expires_at",
        ] {
            let left = if field == "messages_left" {
                &json!(4)
            } else {
                &made[field]
            };
            assert_eq!(&again[field], left, "{field}");
        }
        assert_ne!(again["recovery"], made["recovery"]);
        assert_eq!(house.get("/api/v1/mailbox", &old).code(), "no-such-mailbox");
        assert_eq!(events.next().map(|it| it.0).as_deref(), Some("closed"));
        assert_eq!(events.next(), None);
        assert_eq!(waiting.join().expect("ends").code(), "no-such-mailbox");
        let listed = house.get("/api/v1/messages", &new).json();
        assert_eq!(listed["messages"][0]["subject"], "Hello");
        let used = post(&house, "/api/v1/mailbox/recover", &recover);
        assert_eq!(used.code(), "no-such-mailbox", "a ticket counts once");
        let next = json!({ "recovery": again["recovery"] });
        assert_eq!(post(&house, "/api/v1/mailbox/recover", &next).status, 200);
        assert_eq!(house.get("/api/v1/mailbox", &new).code(), "no-such-mailbox");
    });
}

#[test]
fn wrong_used_and_expired_tickets_get_the_same_bytes() {
    let house = House::new();
    let recover = |ticket: &str| {
        post(
            &house,
            "/api/v1/mailbox/recover",
            &json!({ "recovery": ticket }),
        )
    };
    let make = |body: Value| post(&house, "/api/v1/mailboxes", &body).json();
    let expired = make(json!({ "ttl": 5 }));
    house.at(&text(&expired, "address"), |shard, now| {
        shard.expire(now.plus(Duration::from_secs(90_000)), usize::MAX);
    });
    let erased = make(json!({}));
    let token = bearer(&text(&erased, "token"));
    send(house.public, "DELETE", "/api/v1/mailbox", &[&token], "");
    let used = make(json!({}));
    assert_eq!(recover(&text(&used, "recovery")).status, 200);
    let lives = make(json!({}));
    let expected = recover("mfr_wrong");
    assert_eq!(
        (expected.status, expected.code().as_str()),
        (404, "no-such-mailbox")
    );
    let forged = text(&lives, "recovery").replace(|it: char| it.is_ascii_digit(), "a");
    for ticket in [
        text(&expired, "recovery"),
        text(&erased, "recovery"),
        text(&used, "recovery"),
        text(&lives, "token"),
        forged,
        String::new(),
        "\u{e4}".to_owned(),
        "x".repeat(5_000),
    ] {
        let answer = recover(&ticket);
        assert_eq!(
            (&answer.head, &answer.body),
            (&expected.head, &expected.body)
        );
    }
    assert_eq!(recover(&text(&lives, "recovery")).status, 200);
}

/// Every way to show a token that opens nothing, at every path that a token opens, gets the same answer, byte for byte. All
/// of them go the same way: they are hashed, sent to the core that the hash names, and not found there.
#[test]
fn m1_unknown_wrong_expired_and_replaced_tokens_cannot_be_told_apart() {
    let house = House::new();
    let make = |body: &Value| post(&house, "/api/v1/mailboxes", body).json();
    let expired = make(&json!({ "ttl": 5 }));
    house.at(&text(&expired, "address"), |shard, now| {
        shard.expire(now.plus(Duration::from_secs(90_000)), usize::MAX);
    });
    let replaced = make(&json!({}));
    post(
        &house,
        "/api/v1/mailbox/recover",
        &json!({ "recovery": replaced["recovery"] }),
    );
    let lives = make(&json!({ "messages_max": 1 }));
    let near = {
        let mut near = text(&lives, "token").into_bytes();
        let last = near.last_mut().expect("not empty");
        *last = if *last == b'a' { b'b' } else { b'a' };
        String::from_utf8(near).expect("letters")
    };
    let tokens = [
        format!("mf_{}", "a".repeat(32)),
        text(&expired, "token"),
        text(&replaced, "token"),
        text(&lives, "recovery"),
        near,
        "x".to_owned(),
    ];
    for (method, path, body) in [
        ("GET", "/api/v1/mailbox", ""),
        ("PATCH", "/api/v1/mailbox", "{\"ttl\": 60}"),
        ("DELETE", "/api/v1/mailbox", ""),
        ("GET", "/api/v1/messages", ""),
        ("GET", "/api/v1/messages?wait=10s", ""),
        ("GET", "/api/v1/messages/1", ""),
        ("DELETE", "/api/v1/messages/1", ""),
        ("GET", "/api/v1/messages/1/raw", ""),
        ("GET", "/api/v1/messages/1/text", ""),
        ("GET", "/api/v1/messages/1/html", ""),
        ("GET", "/api/v1/messages/1/headers", ""),
        ("GET", "/api/v1/messages/1/attachments/0", ""),
        ("GET", "/api/v1/events", ""),
    ] {
        let answers = tokens
            .each_ref()
            .map(|token| send(house.public, method, path, &[JSON, &bearer(token)], body));
        assert_eq!(
            (answers[0].status, answers[0].code().as_str()),
            (404, "no-such-mailbox"),
            "{method} {path}"
        );
        for answer in &answers {
            assert_eq!(
                (&answer.head, &answer.body),
                (&answers[0].head, &answers[0].body),
                "{method} {path}"
            );
        }
    }
}

/// The guesses of one IPv6 network, whatever addresses in it they come from, end at the limit; everybody else goes on.
#[test]
fn m3_guesses_from_one_network_end_at_the_limit_and_others_go_on() {
    let mut settings = settings();
    settings.http.requests_per_minute = 100;
    settings.http.trusted_proxies = vec![Network::LOOPBACK_V4];
    let house = House::with(settings);
    let (_, token) = house.create("{}");
    let mut stream = connect(house.public);
    let mut refused = 0;
    for round in 0..100 {
        let guess = |nth: u32| {
            let address = IpAddr::from([0x2001, 0xdb8, 0, 1, 0, 0, round, nth as u16]);
            assert_eq!(Client::from(address), Client::V6(0x2001_0db8_0000_0001));
            format!(
                "GET /api/v1/mailbox HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: {address}\r\nAuthorization: Bearer mf_{round}_{nth}\r\n\r\n"
            )
        };
        let batch: String = (0..100).map(guess).collect();
        stream.write_all(batch.as_bytes()).expect("sent");
        let mut received = Vec::new();
        let mut answered = 0;
        while answered < 100 {
            let mut buffer = [0; 64 << 10];
            let read = stream.read(&mut buffer).expect("answers");
            assert!(read > 0, "the connection goes on");
            received.extend_from_slice(&buffer[..read]);
            let text = String::from_utf8_lossy(&received);
            answered = text.matches("}\n").count();
        }
        let statuses: Vec<u16> = parse(&received).iter().map(|it| it.status).collect();
        refused += statuses.iter().filter(|it| **it == 429).count();
        assert!(statuses.iter().all(|it| [404, 429].contains(it)));
    }
    // The minute slides on while the test runs: a few more than the limit may pass.
    assert!((9_700..=9_900).contains(&refused), "{refused} of 10,000");
    let other = format!(
        "X-Forwarded-For: {}",
        IpAddr::from([0x2001, 0xdb8, 0, 2, 0, 0, 0, 1])
    );
    let answer = send(
        house.public,
        "GET",
        "/api/v1/mailbox",
        &[&other, &bearer(&token)],
        "",
    );
    assert_eq!(answer.status, 200);
}

/// An address that has ended is nobody's for a day: who had it has no way back, who asks for it is told what anybody is told
/// who asks for a held one, and mail to it is refused.
#[test]
fn m8_an_address_that_has_ended_is_given_to_nobody_for_a_day() {
    let house = House::new();
    let make = |name: &str| {
        post(
            &house,
            "/api/v1/mailboxes",
            &json!({ "local_part": name, "ttl": "1h" }),
        )
    };
    let made = make("again").json();
    make("held");
    let (address, old) = (text(&made, "address"), text(&made, "token"));
    house.deliver(&address, MAIL);
    send(
        house.public,
        "DELETE",
        "/api/v1/mailbox",
        &[&bearer(&old)],
        "",
    );
    let (ended, held) = (make("again"), make("held"));
    assert_eq!((ended.status, ended.code().as_str()), (409, "taken"));
    assert_eq!(
        (&ended.head, &ended.body),
        (&held.head, &held.body),
        "nothing is learnt"
    );
    let to = mayfly::mail::Address::parse(address.clone()).expect("an address");
    for existence in [Existence::Required, Existence::Implied] {
        let to = to.clone();
        let refused = house.at(&address, move |shard, now| {
            shard.lease(&to, existence, 1, now).err()
        });
        assert_eq!(
            refused,
            Some(Unavailable::NoSuchMailbox),
            "mail sent during the gap"
        );
    }
    let later = Duration::from_secs(24 * 3600 * 5 / 4 + 1);
    let state = house.at(&address, move |shard, now| {
        let token = mayfly::store::TokenHash([7; 32]);
        let wanted =
            mayfly::store::NewMailbox::new(token, Duration::from_secs(60), Duration::from_secs(60));
        shard.create(&to, wanted, now.plus(later))
    });
    let state = state.expect("its time is up");
    assert_eq!((state.messages, state.last.0), (0, 0), "no old mail");
    assert_eq!(house.get("/api/v1/mailbox", &old).code(), "no-such-mailbox");
}
