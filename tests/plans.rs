//! A server with plans and keys, as an operator sets it up and others use it.
#![cfg(feature = "server")]

mod gateway;

use gateway::{Answer, Client, Gateway, request};
use std::process::Command;

/// What `mayfly key new` prints: the key, and what to write into the configuration.
fn new_key(plan: &str) -> (String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_mayfly"))
        .args(["key", "new", "--plan", plan])
        .output()
        .expect("the binary starts");
    assert!(output.status.success() && output.stderr.is_empty());
    let printed = String::from_utf8(output.stdout).expect("text");
    let (key, section) = printed.split_once("\n\n").expect("two parts");
    let key = key.lines().last().expect("the key");
    assert!(key.starts_with("mfk_") && !section.contains(key));
    (key.to_owned(), section.to_owned())
}

fn create(gateway: &Gateway, key: Option<&str>, body: &str) -> Answer {
    request(gateway.http, "POST", "/api/v1/mailboxes", key, body)
}

#[test]
fn an_operator_makes_keys_and_takes_them_back() {
    let offered =
        "[[plans.offered]]\nname = \"team\"\nttl_max = \"7d\"\ncreations_per_minute = 0\n";
    let (by_hash, section) = new_key("team");
    let (by_file, _) = new_key("team");
    let mut gateway = Gateway::start(&format!("{offered}{section}"));
    let week = "{\"ttl\":\"7d\"}";
    let made = create(&gateway, Some(&by_hash), week);
    assert_eq!(
        (made.status, made.json()["plan"].as_str()),
        (201, Some("team"))
    );
    assert_eq!(made.json()["expires_in"], 7 * 24 * 3600);
    assert_eq!(create(&gateway, Some(&by_file), week).status, 401);

    let file = gateway.folder().join("team.key");
    std::fs::write(&file, format!("{by_file}\n")).expect("written");
    let keys = format!("[[plans.keys]]\nplan = \"team\"\nfile = {file:?}\n");
    gateway.reload(&format!("{offered}{keys}"));
    gateway.await_metric("mayfly_config_reloads_total", "succeeded", 1);
    assert_eq!(create(&gateway, Some(&by_file), week).status, 201);
    assert_eq!(
        create(&gateway, Some(&by_hash), week).status,
        401,
        "it was taken out"
    );
    let token = made.field("token");
    assert_eq!(
        gateway.get("/api/v1/mailbox", &token).status,
        200,
        "its mailbox stays"
    );

    std::fs::remove_file(&file).expect("removed");
    gateway.reload(&format!("{offered}{keys}# Again.\n"));
    gateway.await_metric("mayfly_config_reloads_total", "failed", 1);
    assert_eq!(
        create(&gateway, Some(&by_file), week).status,
        201,
        "nothing has changed"
    );
    let refused = gateway.metric("mayfly_http_creations_refused_total", "reason=\"key\"");
    assert_eq!(refused, 2);
    assert_eq!(gateway.stop().code(), Some(0));
    let log = gateway.last_words();
    assert!(log.contains("cannot read the key in "), "{log}");
    assert!(!log.contains(&by_hash) && !log.contains(&by_file));
}

#[test]
fn a_mailbox_for_one_message_takes_one_over_smtp() {
    let gateway = Gateway::start("");
    let (address, token) = gateway.create_with("{\"messages_max\":1,\"ttl\":\"1h\"}");
    let mut aborted = Client::connect(gateway.smtp);
    aborted.greet().ask("MAIL FROM:<b@client.example>", "250");
    aborted.ask(&format!("RCPT TO:<{address}>"), "250");
    let mut second = Client::connect(gateway.smtp);
    second.greet().ask("MAIL FROM:<a@client.example>", "250");
    let rcpt = format!("RCPT TO:<{address}>");
    second.ask(&rcpt, "452 4.2.2");
    // Who gives up leaves the place to others.
    aborted.ask("RSET", "250");
    let reply = gateway.deliver(&address, "Subject: one\r\n\r\n1\r\n.\r\n");
    assert!(reply.starts_with("250 2.0.0"), "{reply}");
    second.ask(&rcpt, "550 5.2.1");
    assert_eq!(gateway.list(&token).len(), 1);
    let left = gateway.get("/api/v1/mailbox", &token).json()["expires_in"].as_u64();
    assert!(left.is_some_and(|left| left <= 900), "{left:?}");
    gateway.await_metric("mayfly_store_mailboxes_used_up_total", "", 1);
    let used_up = gateway.metric("mayfly_message_recipients_total", "used_up");
    assert_eq!(used_up, 1);
}
