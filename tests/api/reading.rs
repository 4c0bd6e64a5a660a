//! Messages as people read them, over the wire: rows J1, J5, L3, L4 and L5 of the catalogue, and the examples of
//! docs/api.md.

use crate::client::{Answer, Events};
use crate::house::{House, bearer};
use serde_json::Value;

/// A mail as sites send it when somebody registers, with an image and a hostile file.
const MAIL: &str = "From: =?utf-8?q?Harbour?= <hello@harbour.test>\r\n\
    Subject: Your verification code is 482913\r\n\
    Content-Type: multipart/mixed; boundary=m\r\n\r\n\
    --m\r\nContent-Type: multipart/alternative; boundary=a\r\n\r\n\
    --a\r\n\r\nYour verification code: 482913\r\n\
    --a\r\nContent-Type: text/html\r\n\r\n\
    <p onclick=x>Your verification code: <b>482913</b></p><img src=https://t.test/p.gif>\
    <a href=https://harbour.test/verify?token=Zk39fQx81LmN02pQ>Verify my address</a><script>x</script>\r\n\
    --a--\r\n\
    --m\r\nContent-Type: text/html; name=\"a.png\"\r\nContent-Disposition: attachment;\r\n \
    filename=\"</script><img onerror=x>.html\"\r\n\r\n<script>alert(1)</script>\r\n--m--\r\n";

/// A mailbox with one message in it, and its token.
fn with_mail(house: &House, mail: &str) -> String {
    let (address, token) = house.create("");
    house.deliver(&address, mail.as_bytes());
    token
}

fn text(answer: &Answer) -> &str {
    std::str::from_utf8(&answer.body).expect("UTF-8")
}

fn policy(answer: &Answer) -> &str {
    answer
        .field("content-security-policy")
        .expect("there is one")
}

#[test]
fn a_message_is_told_whole() {
    let house = House::new();
    let token = with_mail(&house, MAIL);
    let view = house.get("/api/v1/messages/1", &token).json();
    assert_eq!(view["text"], "Your verification code: 482913");
    assert_eq!(view["html"]["remote"][0], "https://t.test/p.gif");
    assert_eq!(view["attachments"][0]["type"], "text/html");
    assert_eq!(view["attachments"][0]["size"], 25);
    assert_eq!(
        (&view["truncated"], &view["malformed"]),
        (&false.into(), &false.into())
    );
    let code = &view["codes"][0];
    assert_eq!(
        (&code["code"], &code["place"], &code["offset"]),
        (&"482913".into(), &"subject".into(), &26.into())
    );
    assert_eq!(
        view["links"][0]["url"],
        "https://harbour.test/verify?token=Zk39fQx81LmN02pQ"
    );
    // The same, shorter, where people wait for it.
    let listed = house.get("/api/v1/messages?wait=5s", &token).json();
    let mut events = Events::open(house.public, &[&bearer(&token), "Last-Event-ID: 0"]);
    let (_, _, event) = events.next().expect("an event");
    for item in [&listed["messages"][0], &event] {
        assert_eq!(item["codes"][0]["code"], "482913", "{item}");
        assert_eq!(item["links"].as_array().map(Vec::len), Some(1), "{item}");
        assert_eq!(item.get("text"), None);
    }
    let headers = house.get("/api/v1/messages/1/headers", &token).json();
    assert_eq!(
        headers["headers"][0]["value"],
        "Harbour <hello@harbour.test>"
    );
    assert_eq!(
        headers["headers"][0]["raw"],
        " =?utf-8?q?Harbour?= <hello@harbour.test>"
    );
    let plain = house.get("/api/v1/messages/1/text", &token);
    assert_eq!(
        (text(&plain), plain.field("content-type")),
        (
            "Your verification code: 482913",
            Some("text/plain; charset=utf-8")
        )
    );
}

#[test]
fn l3_parts_of_mails_have_the_strictest_fields() {
    let house = House::new();
    let token = with_mail(&house, MAIL);
    let html = house.get("/api/v1/messages/1/html", &token);
    let file = house.get("/api/v1/messages/1/attachments/0", &token);
    for answer in [&html, &file] {
        for (name, value) in [
            ("cache-control", "no-store"),
            ("x-content-type-options", "nosniff"),
            ("referrer-policy", "no-referrer"),
            ("cross-origin-resource-policy", "same-origin"),
        ] {
            assert_eq!(answer.field(name), Some(value));
        }
    }
    assert_eq!(
        policy(&html),
        "sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src data:; \
         form-action 'none'; base-uri 'none'; frame-ancestors 'self'"
    );
    assert_eq!(html.field("content-type"), Some("text/html; charset=utf-8"));
    assert_eq!(
        policy(&file),
        "sandbox; default-src 'none'; form-action 'none'; base-uri 'none'; frame-ancestors 'none'"
    );
    let document = text(&html).to_owned();
    assert!(
        !document.contains("<script") && !document.contains("onclick"),
        "{document}"
    );
    assert!(
        document.contains("data-remote=\"https://t.test/p.gif\""),
        "{document}"
    );
}

#[test]
fn l4_attachments_are_saved_and_never_shown() {
    let house = House::new();
    let token = with_mail(&house, MAIL);
    let file = house.get("/api/v1/messages/1/attachments/0", &token);
    assert_eq!(file.field("content-type"), Some("application/octet-stream"));
    assert_eq!(text(&file), "<script>alert(1)</script>");
    let disposition = file.field("content-disposition").expect("there is one");
    assert_eq!(
        disposition,
        "attachment; filename=\"script__img onerror=x_.html\""
    );
    for path in [
        "attachments/1",
        "attachments/-0",
        "attachments/+0",
        "attachments/x",
        "attachments/99999999999999999999",
    ] {
        let answer = house.get(&format!("/api/v1/messages/1/{path}"), &token);
        assert_eq!(
            (answer.status, answer.code().as_str()),
            (404, "no-such-part"),
            "{path}"
        );
    }
    for path in [
        "raw/x",
        "text/x",
        "attachments",
        "attachments/0/x",
        "nothing",
    ] {
        let answer = house.get(&format!("/api/v1/messages/1/{path}"), &token);
        assert_eq!(answer.code(), "no-such-resource", "{path}");
    }
    for path in ["", "/text", "/html", "/headers", "/attachments/0"] {
        let path = format!("/api/v1/messages/2{path}");
        assert_eq!(house.get(&path, &token).code(), "no-such-message", "{path}");
        assert_eq!(
            house.get(&path, "mf_wrong").code(),
            "no-such-mailbox",
            "{path}"
        );
    }
}

#[test]
fn l5_strangers_texts_are_json_texts() {
    let house = House::new();
    let evil = "</script><img onerror=x>\\\"\u{1f41f}";
    let mail = format!(
        "From: \"{evil}\" <a@b.test>\r\nSubject: {evil}\r\nX-{evil}: x\r\n\r\n{evil}\0\u{feff}\r\n"
    );
    let token = with_mail(&house, &mail);
    for path in ["", "/1", "/1/headers"] {
        let answer = house.get(&format!("/api/v1/messages{path}"), &token);
        assert_eq!(answer.field("content-type"), Some("application/json"));
        assert!(answer.json().is_object(), "{path}");
    }
    assert_eq!(
        house.get("/api/v1/messages/1/html", &token).code(),
        "no-such-part"
    );
}

#[test]
fn j1_millions_of_parts_are_an_answer_like_others() {
    let house = House::new();
    let head = "Content-Type: multipart/mixed; boundary=a\r\n\r\n";
    let token = with_mail(
        &house,
        &format!("{head}{}", "--a\r\nx:y\r\n\r\n".repeat(300_000)),
    );
    let view = house.get("/api/v1/messages/1", &token).json();
    assert_eq!(view["truncated"], true);
    // Too large to be looked through for a list: that is said, and not that there is nothing.
    let list = house.get("/api/v1/messages", &token).json();
    assert_eq!(list["messages"][0]["codes"], Value::Null);
}

#[test]
fn f07_a_header_without_end_makes_no_answer_without_end() {
    let house = House::new();
    let (address, token) = house.create("");
    for header in [
        format!("Subject: {}\r\n", "s".repeat(1 << 20)),
        format!("From: {}\r\n", "f".repeat(1 << 20)),
        "X: y\r\n".repeat(100_000),
    ] {
        house.deliver(&address, format!("{header}\r\nbody\r\n").as_bytes());
    }
    for (path, most) in [
        ("", 4_000),
        ("/1", 4_000),
        ("/2", 4_000),
        ("/3/headers", 64_000),
    ] {
        let answer = house.get(&format!("/api/v1/messages{path}"), &token);
        assert_eq!(answer.status, 200);
        assert!(answer.body.len() < most, "{path}: {}", answer.body.len());
    }
    let list = house.get("/api/v1/messages", &token).json();
    assert_eq!(list["messages"].as_array().map(Vec::len), Some(3));
}

#[test]
fn j5_whatever_the_bytes_the_answer_is_json() {
    let house = House::new();
    let (address, token) = house.create("");
    let mut mail = b"Subject: \xff\xfe\0=?utf-16?b?2D0=?= =?utf-8?q?=ED=A0=80?=\r\nContent-Transfer-Encoding: base64\r\n\r\n".to_vec();
    mail.extend((0..=255_u8).cycle().take(5_000));
    house.deliver(&address, &mail);
    for path in ["", "/1", "/1/headers"] {
        assert!(
            house
                .get(&format!("/api/v1/messages{path}"), &token)
                .json()
                .is_object(),
            "{path}"
        );
    }
}

#[test]
fn only_the_newest_of_a_page_are_searched() {
    let mut few = crate::house::settings();
    few.reading.scans_per_page_max = 1;
    let house = House::with(few);
    let (address, token) = house.create("");
    for _ in 0..2 {
        house.deliver(&address, MAIL.as_bytes());
    }
    let list = house.get("/api/v1/messages", &token).json();
    assert_eq!(list["messages"][0]["codes"], Value::Null);
    assert_eq!(list["messages"][1]["codes"][0]["code"], "482913");
}

/// The examples of the page that have an answer with them: the fields that they show are those that come.
#[test]
fn the_page_shows_the_fields_that_come() {
    let house = House::new();
    let token = with_mail(&house, MAIL);
    let page = include_str!("../../docs/api.md");
    let example = |title: &str| -> Value {
        let (_, section) = page.split_once(title).expect("a section");
        let (_, block) = section.split_once("```json\n").expect("an example");
        serde_json::from_str(block.split_once("```").expect("an end").0).expect("JSON")
    };
    let shown = example("## Read a message");
    let came = house.get("/api/v1/messages/1", &token).json();
    assert_same_fields(&shown, &came, "a message");
    let shown = example("## List messages");
    let came = house.get("/api/v1/messages", &token).json();
    assert_same_fields(&shown, &came, "a list");
}

fn assert_same_fields(shown: &Value, came: &Value, place: &str) {
    match (shown, came) {
        (Value::Object(shown), Value::Object(came)) => {
            let names = |fields: &serde_json::Map<String, Value>| {
                fields.keys().cloned().collect::<Vec<_>>()
            };
            assert_eq!(names(shown), names(came), "{place}");
            for (name, value) in shown {
                assert_same_fields(value, &came[name], name);
            }
        }
        (Value::Array(shown), Value::Array(came)) => {
            if let (Some(shown), Some(came)) = (shown.first(), came.first()) {
                assert_same_fields(shown, came, place);
            }
        }
        _ => {}
    }
}
