//! A flood of mail: what was sent is what was accepted is what is found, and a stop in the middle loses nothing that
//! was answered with 250.
#![cfg(feature = "server")]

mod gateway;

use gateway::tools::{program, succeed, wait};
use gateway::{Client, Gateway, PATIENCE, poll, request};
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

/// The settings for load tests, as they are shipped.
const OPEN: &str = include_str!("../config/loadtest.toml");

/// smtp-source with that many sessions and messages. It ends with a failure at the first reply that is not the
/// expected one.
fn smtp_source(gateway: &Gateway, sessions: u32, messages: u32, more: &[&str]) -> Command {
    let mut source = program("smtp-source");
    source.args(["-s", &sessions.to_string(), "-m", &messages.to_string()]);
    source.args([
        "-M",
        "client.example",
        "-f",
        "a@b.example",
        "-t",
        "load@mayfly.test",
    ]);
    source.args(more).arg(gateway.smtp.to_string());
    source
}

#[test]
fn forty_thousand_messages_are_sent_accepted_and_found() {
    let gateway = Gateway::start(OPEN);
    succeed(&mut smtp_source(&gateway, 200, 10_000, &[]), "");
    assert_eq!(gateway.metric("mayfly_messages_accepted_total", ""), 10_000);
    assert_eq!(
        gateway.metric("mayfly_smtp_connections_total", ""),
        10_000,
        "a connection for each"
    );
    succeed(&mut smtp_source(&gateway, 200, 40_000, &["-d"]), "");
    assert_eq!(gateway.metric("mayfly_messages_accepted_total", ""), 50_000);
    assert_eq!(
        gateway.metric("mayfly_smtp_connections_total", ""),
        10_200,
        "kept connections"
    );
    assert!(
        !gateway.metrics().contains('@'),
        "no address becomes a label"
    );
    // Whoever creates the address gets what it holds.
    let (_, token) = gateway.create("load");
    assert_eq!(gateway.held(&token), 50_000);
    assert_eq!(gateway.metric("mayfly_store_delivered_total", ""), 50_000);
    assert_eq!(gateway.metric("mayfly_messages_unconfirmed_total", ""), 0);
    assert_eq!(
        gateway.metric("mayfly_core_receive_buffers_exhausted_total", ""),
        0
    );
    assert_eq!(gateway.delete("/api/v1/mailbox", &token).status, 204);
    gateway.await_rest(0);
}

#[test]
fn every_single_message_is_there_once() {
    const SENDERS: usize = 16;
    const EACH: usize = 125;
    let gateway = Gateway::start(OPEN);
    std::thread::scope(|scope| {
        for sender in 0..SENDERS {
            let smtp = gateway.smtp;
            scope.spawn(move || {
                let mut client = Client::connect(smtp);
                client.greet();
                for nth in 0..EACH {
                    // Three commands in one piece, as fast clients do; and now and then a new connection.
                    client.raw(
                        b"MAIL FROM:<a@b.example>\r\nRCPT TO:<numbered@mayfly.test>\r\nDATA\r\n",
                    );
                    for code in ["250", "250", "354"] {
                        client.expect(code);
                    }
                    client.raw(format!("Subject: {sender}-{nth}\r\n\r\nx\r\n.\r\n").as_bytes());
                    client.expect("250");
                    if nth % 25 == 24 {
                        client.ask("QUIT", "221");
                        client = Client::connect(smtp);
                        client.greet();
                    }
                }
            });
        }
    });
    let (_, token) = gateway.create("numbered");
    let list = gateway.list(&token);
    let subjects: BTreeSet<String> = list
        .iter()
        .map(|message| message["subject"].as_str().unwrap_or_default().to_owned())
        .collect();
    let sent: BTreeSet<String> = (0..SENDERS)
        .flat_map(|sender| (0..EACH).map(move |nth| format!("{sender}-{nth}")))
        .collect();
    assert_eq!(subjects, sent);
    assert_eq!(list.len(), SENDERS * EACH, "none twice");
}

#[test]
fn a_stop_under_load_keeps_its_word() {
    let mut gateway = Gateway::start(OPEN);
    // While this transaction is under way the process lives, and its books can be read.
    let mut open = Client::connect(gateway.smtp);
    open.greet().begin(&["load@mayfly.test"]);
    let (smtp, total) = (gateway.smtp, AtomicU64::new(0));
    let confirmed = &total;
    std::thread::scope(|scope| {
        for _ in 0..16 {
            scope
                .spawn(move || confirmed.fetch_add(send_until_told_to_go(smtp), Ordering::Relaxed));
        }
        let began = Instant::now();
        let accepted = || gateway.metric("mayfly_messages_accepted_total", "");
        while accepted() <= 2_000 && began.elapsed() < PATIENCE {}
        // In any case: until then they go on.
        gateway.signal("TERM");
    });
    let confirmed = total.into_inner();
    assert!(confirmed > 2_000);
    gateway.await_metric("mayfly_smtp_connections", "", 1);
    let accepted = gateway.metric("mayfly_messages_accepted_total", "");
    let unconfirmed = gateway.metric("mayfly_messages_unconfirmed_total", "");
    assert_eq!(
        accepted,
        confirmed + unconfirmed,
        "answered with 250 and accepted are the same"
    );
    assert_eq!(gateway.metric("mayfly_store_messages", ""), accepted);
    assert_eq!(
        request(gateway.operator, "GET", "/readyz", None, "").status,
        503
    );
    open.raw(b"Subject: the last\r\n\r\n.\r\n");
    open.expect("250");
    open.expect("421 4.3.2");
    assert_eq!(gateway.wait().code(), Some(0), "{}", gateway.last_words());
}

/// Sends messages one after the other; returns how many got a 250 when the server ended the connection.
fn send_until_told_to_go(smtp: SocketAddr) -> u64 {
    let mut client = Client::connect(smtp);
    client.greet();
    let mut confirmed = 0;
    loop {
        for (line, code) in [
            ("MAIL FROM:<a@b.example>\r\n", "250"),
            ("RCPT TO:<load@mayfly.test>\r\n", "250"),
            ("DATA\r\n", "354"),
            ("Subject: x\r\n\r\nx\r\n.\r\n", "250"),
        ] {
            if client.try_raw(line.as_bytes()).is_err() {
                return confirmed;
            }
            let reply = client.reply();
            if !reply.starts_with(code) {
                assert!(
                    reply.is_empty() || reply.starts_with("421 4.3.2"),
                    "{reply}"
                );
                return confirmed;
            }
        }
        confirmed += 1;
    }
}

#[test]
fn it_ends_under_load_and_starts_again_at_once_on_its_ports() {
    let mut gateway = Gateway::start(OPEN);
    let mut load = smtp_source(&gateway, 50, 100_000_000, &["-d"]);
    let mut load = load
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("it runs");
    poll(
        || match gateway.metric("mayfly_messages_accepted_total", "") {
            accepted if accepted > 1_000 => Ok(()),
            accepted => Err(format!("only {accepted} messages")),
        },
    );
    assert_eq!(gateway.stop().code(), Some(0), "{}", gateway.last_words());
    // It was told 421, which it does not expect.
    assert!(!wait(&mut load, PATIENCE).success());
    let again = Gateway::start_on(gateway.ports, OPEN);
    succeed(&mut smtp_source(&again, 50, 1_000, &[]), "");
    assert_eq!(again.metric("mayfly_messages_accepted_total", ""), 1_000);
}
