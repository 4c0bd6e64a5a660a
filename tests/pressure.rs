//! A process under pressure: what it takes away at each level, from whom, and that it comes back by itself.
#![cfg(feature = "server")]

mod gateway;

use gateway::{Client, Gateway, PATIENCE, poll, request};
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::IpAddr;
use std::time::{Duration, Instant};

const LEVEL: &str = "mayfly_pressure_level";
const REFUSED: &str = "mayfly_smtp_connections_refused_total";

fn pinned(level: &str) -> String {
    format!("[pressure]\npin = \"{level}\"\nloop_lag_strained = \"0s\"\n")
}

#[test]
fn an_operator_pins_a_level_and_sees_it() {
    let mut gateway = Gateway::start(&pinned("auto"));
    let (address, token) = gateway.create("pinned");
    assert_eq!(gateway.metric(LEVEL, ""), 0);
    let mut under_way = Client::connect(gateway.smtp);
    under_way.greet().begin(&[&address]);
    for (number, level) in [(2, "overloaded"), (1, "strained"), (3, "refusing")] {
        gateway.reload(&pinned(level));
        gateway.await_metric(LEVEL, "", number);
        let ready = request(gateway.operator, "GET", "/readyz", None, "");
        assert_eq!(
            (ready.status, ready.text()),
            (200, format!("ready\npressure: {level}\n"))
        );
        assert!(gateway.metric("mayfly_pressure_steps_total", level) >= 1);
    }
    poll(|| match Client::connect(gateway.smtp).rest() {
        farewell if farewell.starts_with("421 4.3.2 Too busy") => Ok(()),
        greeting => Err(format!("let in: {greeting}")),
    });
    assert!(gateway.metric(REFUSED, "\"pressure\"") >= 1);
    under_way.raw(b"Subject: begun before\r\n\r\nx\r\n");
    under_way.ask(".", "250");
    assert_eq!(gateway.held(&token), 1);

    gateway.reload(&pinned("normal"));
    gateway.await_metric(LEVEL, "", 0);
    poll(|| match gateway.deliver(&address, "Subject: calm again") {
        reply if reply.starts_with("250") => Ok(()),
        reply => Err(reply),
    });
    assert_eq!(gateway.held(&token), 2);
    let said = gateway.said().to_owned();
    let step = said
        .lines()
        .find(|line| line.contains("the pressure has changed"));
    let step = step.unwrap_or_else(|| panic!("no step in the log:\n{said}"));
    for part in ["normal", "overloaded", "pinned"] {
        assert!(step.contains(part), "{step}");
    }
}

#[test]
fn whoever_waits_when_the_pressure_rises_has_less_time_from_then_on() {
    let short = "timeout_overloaded = \"1s\"\n";
    let gateway = Gateway::start(&(pinned("normal") + short));
    let (address, _) = gateway.create("idle");
    let mut silent = Client::connect(gateway.smtp);
    let mut greeted = Client::connect(gateway.smtp);
    greeted.greet();
    let mut sending = Client::connect(gateway.smtp);
    sending.greet().begin(&[&address]);
    sending.raw(b"Subject: to be continued\r\n");
    // With 300 seconds the test would give up before they do.
    gateway.reload(&(pinned("overloaded") + short));
    silent.expect("220");
    for client in [&mut silent, &mut greeted, &mut sending] {
        let farewell = client.rest();
        assert!(farewell.starts_with("421 4.4.2"), "{farewell:?}");
    }
    gateway.await_metric("mayfly_smtp_sessions_ended_total", "timeout", 3);
}

#[test]
fn f01_single_bytes_buy_no_time_and_keep_nobody_waiting() {
    const CROWD: u64 = 200;
    let rules = "timeout_overloaded = \"2s\"\n[store]\nmailbox_messages_max = 100_000\n";
    let gateway = Gateway::start(&(pinned("overloaded") + rules));
    let (address, _) = gateway.create("served");
    let began = Instant::now();
    let mut crowd: Vec<Client> = (0..CROWD).map(|_| Client::connect(gateway.smtp)).collect();
    for client in &mut crowd {
        client.expect("220");
        client.socket().set_nonblocking(true).expect("set");
    }
    while !crowd.is_empty() {
        assert!(
            began.elapsed() < PATIENCE,
            "{} are still there",
            crowd.len()
        );
        crowd.retain(|client| {
            let mut stream = client.socket();
            let _ = stream.write(b"N");
            match stream.read(&mut [0; 256]) {
                Ok(read) => read > 0,
                Err(why) => why.kind() == ErrorKind::WouldBlock,
            }
        });
        // Which also sets the pace of the bytes.
        let reply = gateway.deliver(&address, "Subject: among them");
        assert!(reply.starts_with("250"), "{reply}");
    }
    assert!(began.elapsed() >= Duration::from_secs(2));
    gateway.await_metric("mayfly_smtp_sessions_ended_total", "timeout", CROWD);
}

#[test]
fn whoever_does_not_read_its_replies_has_less_time_too() {
    // On a slow machine some of what was said may be read only when the pressure has risen.
    let rules = "timeout_overloaded = \"1s\"\njunk_commands_max_strained = 100_000_000\n\
         junk_commands_max_overloaded = 100_000_000\n[smtp]\njunk_commands_max = 100_000_000\n";
    let gateway = Gateway::start(&(pinned("normal") + rules));
    let client = Client::connect(gateway.smtp);
    let mut stream = client.socket();
    // When nobody takes a byte for so long, the server waits for its replies to be read.
    let patience = Some(Duration::from_secs(1));
    stream.set_write_timeout(patience).expect("set");
    let noops = b"NOOP\r\n".repeat(1 << 11);
    assert!(
        (0..1_000).any(|_| stream.write(&noops).is_err()),
        "it reads on and on"
    );
    assert_eq!(gateway.metric("mayfly_smtp_connections", ""), 1);
    gateway.reload(&(pinned("overloaded") + rules));
    gateway.await_metric("mayfly_smtp_sessions_ended_total", "timeout", 1);
}

#[test]
fn overloaded_it_takes_small_messages_and_defers_large_ones() {
    let gateway = Gateway::start(&pinned("overloaded"));
    let (address, token) = gateway.create("size");
    let recipient = format!("RCPT TO:<{address}>");
    let mut client = Client::connect(gateway.smtp);
    client.expect("220");
    let offered = client.ask("EHLO client.example", "250");
    assert!(offered.contains("SIZE 26214400"), "{offered}");
    client.ask("MAIL FROM:<> SIZE=300000", "452 4.3.1");
    client.ask("MAIL FROM:<> SIZE=200000", "250");
    client.ask(&recipient, "250");
    client.ask("DATA", "354");
    client.raw(b"Subject: small\r\n\r\nx\r\n");
    client.ask(".", "250");
    let mut client = Client::connect(gateway.smtp);
    client.greet().begin(&[&address]);
    client.raw("0123456789abcdef\r\n".repeat(20_000).as_bytes());
    client.ask(".", "452 4.3.1");
    client.ask("QUIT", "221");
    assert_eq!(gateway.held(&token), 1);
}

#[test]
fn forty_clients_that_declare_much_and_send_nothing_do_not_keep_others_out() {
    let gateway = Gateway::start(
        "[store]\nmemory = \"1 GiB\"\n[pressure]\ntimeout_strained = \"3s\"\ntimeout_overloaded = \"1s\"\n\
         release_after = \"1s\"\nloop_lag_strained = \"0s\"\n",
    );
    let (address, token) = gateway.create("besieged");
    assert!(
        gateway
            .deliver(&address, "Subject: before")
            .starts_with("250")
    );
    let mut hostile = Vec::new();
    let mut reserved = 0;
    for nth in 0..40 {
        let mut client = Client::connect_from(IpAddr::from([127, 0, 1, nth + 1]), gateway.smtp);
        if client.reply().starts_with("421") {
            continue;
        }
        client.ask("EHLO hostile.example", "250");
        client.say("MAIL FROM:<> SIZE=26214400");
        if !client.reply().starts_with("250") {
            continue;
        }
        client.say(&format!("RCPT TO:<{address}>"));
        if client.reply().starts_with("250") {
            client.say("DATA");
            reserved += usize::from(client.reply().starts_with("354"));
        }
        hostile.push(client);
    }
    assert!(reserved >= 28, "{reserved}: they reached 70 percent");
    poll(|| match gateway.metric("mayfly_pressure_steps_total", "") {
        0 => Err("nothing was noticed".to_owned()),
        _ => Ok(()),
    });
    // They keep their connections open. Mail from others flows on, or comes back within seconds.
    poll(|| {
        let mut client = Client::connect(gateway.smtp);
        let greeting = client.reply();
        if !greeting.starts_with("220") {
            return Err(greeting);
        }
        client.ask("EHLO client.example", "250");
        client.ask("MAIL FROM:<> SIZE=1000", "250");
        client.ask(&format!("RCPT TO:<{address}>"), "250");
        client.say("DATA");
        match client.reply() {
            reply if reply.starts_with("354") => {
                client.raw(b"Subject: during\r\n\r\nx\r\n");
                client.ask(".", "250");
                Ok(())
            }
            reply => Err(reply),
        }
    });
    for client in &mut hostile {
        let farewell = client.rest();
        assert!(farewell.contains("421 4."), "{farewell:?}");
    }
    gateway.await_metric(LEVEL, "", 0);
    assert_eq!(gateway.held(&token), 2, "what is stored is not touched");
    assert_eq!(gateway.delete("/api/v1/mailbox", &token).status, 204);
    gateway.await_rest(0);
}
