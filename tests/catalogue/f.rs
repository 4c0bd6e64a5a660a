//! F: floods and limits, as far as one session can cause them.

use crate::case::{Case, bytes};
use crate::world::address;
use mayfly::settings::Span;
use mayfly::store::HashKey;
use std::time::Duration;

const CONTENT: &[u8] = b"Subject: t\r\n\r\nbody\r\n";
const WIRE: &[u8] = b"Subject: t\r\n\r\nbody\r\n.\r\n";

#[test]
fn f02_data_that_trickles_ends_and_data_that_flows_does_not() {
    let after_seconds = |rate: usize, seconds: usize| {
        let mut case = Case::data().with(|limits| {
            limits.data_timeout = Span::secs(10);
            limits.data_bytes_per_second_min = bytes(500);
        });
        for _ in 0..seconds {
            case = case
                .say("x".repeat(rate), "")
                .pass(Duration::from_secs(1), "");
        }
        case
    };
    // Ten seconds at first, and a fifth of a second for each hundred bytes.
    after_seconds(100, 12)
        .say("x".repeat(100), "")
        .pass(Duration::from_secs(1), "421 4.4.2, closed")
        .stored(&[]);
    let content = ["x".repeat(600 * 40), "\r\n".to_owned()].concat();
    after_seconds(600, 40).say(b"\r\n.\r\n", "250").stored(&[(
        "u1",
        "s@x.example",
        content.as_bytes(),
    )]);
}

#[test]
fn f05_one_recipient_too_many_leaves_the_others() {
    let mut case = Case::open();
    case.budget.mailbox_messages_max = 2000;
    let recipients = "RCPT TO:<u1@ours.test>\r\n".repeat(1001);
    let replies = "250, ".repeat(1000) + "452 4.5.3";
    case.say(b"MAIL FROM:<s@x.example>\r\n", "250")
        .say(recipients, &replies)
        .say(b"DATA\r\n", "354")
        .say(WIRE, "250")
        .stored(&vec![("u1", "s@x.example", CONTENT); 1000]);
}

#[test]
fn f06_who_tries_names_is_soon_shown_the_door() {
    let mut guesses = "MAIL FROM:<s@x.example>\r\n".to_owned();
    for nth in 0..100_000 {
        guesses += &format!("RCPT TO:<a{nth}@ours.test>\r\n");
    }
    let replies = "250, ".to_owned() + &"550 5.1.1, ".repeat(20) + "421 4.7.0, closed";
    Case::open().say(guesses, &replies).stored(&[]);
}

#[test]
fn f07_headers_without_end() {
    let of = |header: String, reply: &str| {
        let content = [header.as_str(), "\r\nbody\r\n"].concat();
        let wire = [content.as_str(), ".\r\n"].concat();
        let stored = [("u1", "s@x.example", content.as_bytes())];
        let stored = if reply == "250" { &stored[..] } else { &[] };
        Case::data().say(wire, reply).verify().stored(stored);
    };
    of(format!("X: {}\r\n", "y".repeat(100 << 10)), "250");
    of(format!("X: {}\r\n", "y".repeat(1 << 20)), "250");
    of("X: y\r\n".repeat(100_000), "250");
    of("Received: x\r\n".repeat(1_000_000), "554 5.4.6");
}

#[test]
fn f08_long_lines_of_a_message_are_as_good_as_others() {
    for len in [998, 1000, 10_000_000] {
        let content = ["Subject: t\r\n\r\n", &"x".repeat(len), "\r\n"].concat();
        Case::data()
            .say([content.as_str(), ".\r\n"].concat(), "250")
            .verify()
            .stored(&[("u1", "s@x.example", content.as_bytes())]);
    }
}

#[test]
fn f09_who_does_not_know_the_key_cannot_make_addresses_meet() {
    const WANTED: usize = 4000;
    let (guessed, real) = (HashKey(1, 2), HashKey(0x5eed, 0xb10c));
    // Addresses that all have one owner of 64, if the key were the guessed one.
    let colliding: Vec<_> = (0..)
        .map(address)
        .filter(|address| guessed.owner_of_address(address, 64) == 0)
        .take(WANTED)
        .collect();
    let mut owners = [0_usize; 64];
    for address in &colliding {
        owners[real.owner_of_address(address, 64)] += 1;
    }
    let most = owners.iter().max().expect("there are owners");
    assert!(*most < 2 * WANTED / 64, "{owners:?}");
}
