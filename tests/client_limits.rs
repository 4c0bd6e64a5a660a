//! What one client may do in a minute, over all its connections and all cores; others are not touched by it.
#![cfg(feature = "server")]

mod gateway;

use gateway::{Client, Gateway};
use std::net::{IpAddr, SocketAddr};

const HIT: &str = "mayfly_client_limits_hit_total";
const GREEDY: [u8; 4] = [127, 0, 2, 1];
const MODEST: [u8; 4] = [127, 0, 2, 2];

/// A gateway with these limits, from which nobody is exempt.
fn limited(limits: &str) -> Gateway {
    Gateway::start(&format!("[clients]\nexempt = []\n{limits}"))
}

fn from(source: [u8; 4], to: SocketAddr) -> Client {
    Client::connect_from(IpAddr::from(source), to)
}

fn greeted(source: [u8; 4], gateway: &Gateway) -> Client {
    let mut client = from(source, gateway.smtp);
    client.greet();
    client
}

/// Sends a message on a connection of its own; returns the first reply that is not the hoped-for one.
fn send(source: [u8; 4], gateway: &Gateway, to: &[&str]) -> String {
    let mut client = greeted(source, gateway);
    client.ask("MAIL FROM:<a@b.example>", "250");
    for to in to {
        client.say(&format!("RCPT TO:<{to}>"));
        let reply = client.reply();
        if !reply.starts_with("250") {
            return reply;
        }
    }
    client.ask("DATA", "354");
    client.raw(b"Subject: x\r\n\r\nx\r\n");
    client.say(".");
    client.reply()
}

/// The greedy one has reached a limit, and is told so at its next first recipient; the modest one is not.
#[track_caller]
fn check_deferred(gateway: &Gateway, address: &str, limit: &str, text: &str) {
    for nth in 1..=4 {
        let reply = send(GREEDY, gateway, &[address]);
        assert!(reply.starts_with(&format!("450 4.7.1 {text}")), "{reply}");
        assert_eq!(gateway.metric(HIT, limit), nth);
    }
    assert_eq!(gateway.metric(HIT, ""), 4, "no other limit is reached");
    let reply = send(MODEST, gateway, &[address]);
    assert!(reply.starts_with("250"), "{reply}");
}

#[test]
fn messages_are_limited() {
    let gateway = limited("messages_per_minute_max = 3\n");
    let (address, token) = gateway.create("messages");
    for _ in 0..3 {
        assert!(send(GREEDY, &gateway, &[&address]).starts_with("250"));
    }
    check_deferred(&gateway, &address, "\"messages\"", "Too many messages");
    assert_eq!(gateway.held(&token), 4);
}

#[test]
fn recipients_are_limited_at_the_next_message() {
    let gateway = limited("recipients_per_minute_max = 3\n");
    let (address, token) = gateway.create("recipients");
    let many = [address.as_str(); 4];
    assert!(send(GREEDY, &gateway, &many).starts_with("250"));
    check_deferred(&gateway, &address, "\"recipients\"", "Too many recipients");
    assert_eq!(gateway.held(&token), 2);
}

#[test]
fn bytes_are_limited_from_their_reservation_on() {
    let gateway = limited("bytes_per_minute_max = \"50 MiB\"\n");
    let (address, _) = gateway.create("bytes");
    let mut stalled = Vec::new();
    for _ in 0..2 {
        let mut client = greeted(GREEDY, &gateway);
        client.ask("MAIL FROM:<> SIZE=26214400", "250");
        client.ask(&format!("RCPT TO:<{address}>"), "250");
        client.ask("DATA", "354");
        stalled.push(client);
    }
    check_deferred(&gateway, &address, "\"bytes\"", "Too much mail");
}

#[test]
fn what_a_stored_message_did_not_need_is_taken_back() {
    let gateway = limited("bytes_per_minute_max = \"100 KiB\"\n");
    let (address, token) = gateway.create("small");
    // Each reserves a step of 64 KiB.
    for _ in 0..20 {
        assert!(send(GREEDY, &gateway, &[&address]).starts_with("250"));
    }
    assert_eq!(gateway.held(&token), 20);
    assert_eq!(gateway.metric(HIT, ""), 0);
}

#[test]
fn messages_that_are_begun_and_not_finished_are_limited() {
    let gateway = limited("aborted_per_minute_max = 3\n");
    let (address, token) = gateway.create("aborted");
    // One ends with the next message, two with their connection.
    for refused_first in [true, false] {
        let mut client = greeted(GREEDY, &gateway);
        if refused_first {
            client.begin(&[&address]);
            client.raw(b"a bare\nnewline\r\n");
            client.ask(".", "550");
        }
        client.begin(&[&address]);
        client.raw(b"Subject: unfinished\r\n");
    }
    gateway.await_metric("mayfly_smtp_sessions_ended_total", "lost", 2);
    check_deferred(&gateway, &address, "\"aborted\"", "Too many unfinished");
    assert_eq!(gateway.held(&token), 1);
}

#[test]
fn whoever_guesses_addresses_learns_nothing_more() {
    let gateway = limited("failed_recipients_per_minute_max = 5\n");
    let (address, _) = gateway.create("exists");
    let mut guesser = greeted(GREEDY, &gateway);
    guesser.ask("MAIL FROM:<>", "250");
    for guess in 0..5 {
        guesser.ask(&format!("RCPT TO:<guess{guess}@mayfly.test>"), "550");
    }
    guesser.ask(&format!("RCPT TO:<{address}>"), "421 4.7.0");
    assert_eq!(guesser.rest(), "", "closed");
    let mut again = greeted(GREEDY, &gateway);
    again.ask("MAIL FROM:<>", "250");
    again.ask(&format!("RCPT TO:<{address}>"), "421 4.7.0");
    assert_eq!(again.rest(), "");
    assert_eq!(gateway.metric(HIT, "\"failed_recipients\""), 2);
    assert!(send(MODEST, &gateway, &[&address]).starts_with("250"));
}

#[test]
fn new_connections_are_limited_and_one_client_does_not_use_up_everybodys() {
    let gateway = Gateway::start(
        "[clients]\nexempt = []\nconnections_per_minute_max = 3\n[admission]\nconnections_per_second_max = 6\n",
    );
    let mut refused = 0;
    for _ in 0..100 {
        let reply = from(GREEDY, gateway.smtp).reply();
        if reply.starts_with("421") {
            assert!(reply.starts_with("421 4.7.0"), "{reply}");
            refused += 1;
        }
    }
    assert_eq!(refused, 97);
    greeted(MODEST, &gateway).ask("QUIT", "221");
    let counted = |name, label| gateway.metric(name, label);
    assert_eq!(counted(HIT, "\"connections\""), 97);
    assert_eq!(
        counted("mayfly_smtp_connections_refused_total", "\"client_rate\""),
        97
    );
}

#[test]
fn whoever_fails_at_tls_again_and_again_gets_none() {
    let gateway = limited("tls_failures_per_minute_max = 3\n");
    for failures in 1..=3 {
        let mut client = from(GREEDY, gateway.smtps);
        client.raw(b"this is no handshake\r\n");
        client.rest();
        gateway.await_metric("mayfly_tls_handshakes_total", "failed", failures);
    }
    assert_eq!(from(GREEDY, gateway.smtps).rest(), "");
    let mut client = greeted(GREEDY, &gateway);
    client.ask("STARTTLS", "454 4.7.0");
    client.ask("MAIL FROM:<>", "250");
    client.ask("QUIT", "221");
    assert_eq!(gateway.metric(HIT, "\"tls_failures\""), 1);
    assert_eq!(gateway.metric("mayfly_smtp_replies_total", "454"), 1);
    from(MODEST, gateway.smtps)
        .start_tls()
        .greet()
        .ask("QUIT", "221");
}

#[test]
fn networks_that_are_listed_have_no_limit_and_neighbours_may_share_one() {
    let gateway = Gateway::start(
        "[clients]\nexempt = [\"127.0.3.0/24\"]\nipv4_prefix = 24\nmessages_per_minute_max = 2\n\
         [admission]\nconnections_per_client_max = 3\n",
    );
    let (address, _) = gateway.create("networks");
    let mut open = Vec::new();
    for host in 1..=6 {
        open.push(greeted([127, 0, 3, host], &gateway));
        assert!(send([127, 0, 3, host], &gateway, &[&address]).starts_with("250"));
    }
    for host in 1..=2 {
        assert!(send([127, 0, 4, host], &gateway, &[&address]).starts_with("250"));
    }
    assert!(send([127, 0, 4, 3], &gateway, &[&address]).starts_with("450 4.7.1"));
    assert!(send([127, 0, 5, 3], &gateway, &[&address]).starts_with("250"));
    let _held: Vec<Client> = (1..=3)
        .map(|host| greeted([127, 0, 6, host], &gateway))
        .collect();
    let reply = from([127, 0, 6, 4], gateway.smtp).reply();
    assert!(reply.starts_with("421 4.7.0"), "{reply}");
}
