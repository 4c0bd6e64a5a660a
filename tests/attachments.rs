//! What becomes of attachments when mail arrives, over real sockets: each domain has what its policy leaves, and a message is
//! still stored for all of its recipients or for none.
#![cfg(feature = "server")]

mod gateway;

use gateway::{Client, Gateway};

const SETTINGS: &str = r#"
[recipients]
domains = ["keep.test", "cap.test", "strip.test", "refuse.test"]
[[attachments.domains]]
domains = ["cap.test"]
policy = "cap"
part_bytes_max = "2 KiB"
[[attachments.domains]]
domains = ["STRIP.test"]
policy = "strip"
[[attachments.domains]]
domains = ["refuse.test"]
policy = "refuse"
"#;

/// A mailbox: its address and its token.
struct Mailbox(String, String);

/// One in each domain, and one more where everything stays.
fn mailboxes(gateway: &Gateway) -> [Mailbox; 4] {
    ["keep", "cap", "strip", "refuse"].map(|domain| {
        let fields = format!("{{\"domain\":\"{domain}.test\"}}");
        let (address, token) = gateway.create_with(&fields);
        Mailbox(address, token)
    })
}

/// A part of a message, in base 64.
fn part(name: &str, bytes: &[u8]) -> String {
    let text = data_encoding::BASE64.encode(bytes);
    let lines: Vec<&str> = (0..text.len())
        .step_by(76)
        .map(|at| &text[at..text.len().min(at + 76)])
        .collect();
    format!(
        "--b\r\nContent-Type: application/octet-stream\r\nContent-Disposition: attachment; filename=\"{name}\"\r\n\
         Content-Transfer-Encoding: base64\r\n\r\n{}\r\n",
        lines.join("\r\n")
    )
}

fn message(parts: &[String]) -> String {
    format!(
        "From: a@sender.example\r\nSubject: parts\r\nMIME-Version: 1.0\r\n\
         Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nHello there\r\n{}--b--\r\n",
        parts.concat()
    )
}

/// What the newest message in a mailbox is, and what is attached to it.
fn newest(gateway: &Gateway, mailbox: &Mailbox) -> (String, Vec<String>, String) {
    let id = gateway.list(&mailbox.1).last().expect("a message")["id"].clone();
    let path = format!("/api/v1/messages/{}", id.as_str().expect("an id"));
    let read = gateway.get(&path, &mailbox.1).json();
    let attachments = read["attachments"].as_array().expect("a list").iter();
    let names = attachments.map(|it| it["name"].as_str().expect("a name").to_owned());
    let raw = gateway.get(&format!("{path}/raw"), &mailbox.1).text();
    let text = gateway.get(&format!("{path}/text"), &mailbox.1).text();
    (text, names.collect(), raw)
}

#[test]
fn each_mailbox_gets_what_its_domain_leaves() {
    let gateway = Gateway::start(SETTINGS);
    let boxes = mailboxes(&gateway);
    let [keep, cap, strip, _] = &boxes;
    let photo = part("photo.png", b"\x89PNG\r\n\x1a\n and so on");
    let (large, program) = (
        part("large.bin", &[7; 4096]),
        part("tool.txt", b"MZ\x90\0\x03\0"),
    );
    let content = message(&[photo, large, program]);
    let to: Vec<&str> = [keep, cap, strip].map(|it| it.0.as_str()).into();
    Client::connect(gateway.smtp).deliver(&to, content.as_bytes());
    let (text, names, raw) = newest(&gateway, keep);
    assert!(
        raw.ends_with(&format!("{content}\r\n")),
        "byte for byte as it came"
    );
    assert_eq!(names, ["photo.png", "large.bin", "tool.txt"]);
    assert!(!text.contains("removed"));
    let (text, names, raw) = newest(&gateway, cap);
    assert_eq!(names, ["photo.png"]);
    assert!(
        text.contains("Name: large.bin") && text.contains("it is larger than"),
        "{text}"
    );
    assert!(
        text.contains("Name: tool.txt") && text.contains("programs are not kept"),
        "{text}"
    );
    assert!(
        raw.starts_with("Return-Path:") && raw.contains("Received:"),
        "{raw}"
    );
    let (text, names, raw) = newest(&gateway, strip);
    assert!(names.is_empty());
    assert_eq!(
        text.matches("attachments are not kept").count(),
        3,
        "{text}"
    );
    assert!(text.starts_with("Hello there") && raw.len() < content.len());
    // What was taken out is not paid for.
    let mailbox = gateway.get("/api/v1/mailbox", &strip.1).json();
    assert_eq!(mailbox["bytes"], raw.len());
}

#[test]
fn a_refusal_is_for_all_recipients_and_ends_nothing_else() {
    let gateway = Gateway::start(SETTINGS);
    let boxes = mailboxes(&gateway);
    let bad = message(&[part("a.pdf", b"%PDF"), part("setup.EXE", b"anything")]);
    let good = message(&[part("a.pdf", b"%PDF")]);
    let all: Vec<&str> = boxes.iter().map(|it| it.0.as_str()).collect();
    let refused = "554 5.7.1 Message has an attachment that is not accepted here\r\n";
    let mut client = Client::connect(gateway.smtp);
    client.expect("220");
    client.ask("EHLO client.example", "250");
    client.begin(&all).raw(format!("{bad}.\r\n").as_bytes());
    assert_eq!(client.reply(), refused);
    for mailbox in &boxes {
        assert!(gateway.list(&mailbox.1).is_empty());
    }
    // In chunks it is the same, and the session goes on.
    client.ask("MAIL FROM:<>", "250");
    client.ask(&format!("RCPT TO:<{}>", boxes[3].0), "250");
    client.raw(format!("BDAT {} LAST\r\n{bad}", bad.len()).as_bytes());
    assert_eq!(client.reply(), refused);
    client.begin(&all).raw(format!("{good}.\r\n").as_bytes());
    client.expect("250 2.0.0");
    for mailbox in &boxes {
        assert_eq!(gateway.list(&mailbox.1).len(), 1);
    }
    assert_eq!(
        gateway.metric("mayfly_messages_rejected_total", "attachment"),
        2
    );
    gateway.await_metric("mayfly_store_messages", "", 4);
}

#[test]
fn what_cannot_be_taken_apart_is_refused_where_it_must_be() {
    let gateway = Gateway::start(SETTINGS);
    let [keep, _, strip, _] = mailboxes(&gateway);
    let many = message(&vec!["--b\r\n\r\n\r\n".to_owned(); 1_000]);
    let mut client = Client::connect(gateway.smtp);
    client.expect("220");
    client.ask("EHLO client.example", "250");
    client
        .begin(&[&strip.0])
        .raw(format!("{many}.\r\n").as_bytes());
    assert!(client.reply().starts_with("554 5.6.0"));
    client
        .begin(&[&keep.0])
        .raw(format!("{many}.\r\n").as_bytes());
    client.expect("250 2.0.0");
}

#[test]
fn a_policy_can_change_while_it_runs() {
    let mut gateway = Gateway::start("");
    let (address, token) = gateway.create("somebody");
    let content = message(&[part("a.pdf", b"%PDF")]);
    let mailbox = Mailbox(address, token);
    gateway.deliver(&mailbox.0, &content);
    assert_eq!(newest(&gateway, &mailbox).1.len(), 1);
    gateway.reload("[attachments]\npolicy = \"strip\"\n");
    assert!(gateway.read_until(|line| line.contains("reloaded")));
    gateway.deliver(&mailbox.0, &content);
    assert!(newest(&gateway, &mailbox).1.is_empty());
}
