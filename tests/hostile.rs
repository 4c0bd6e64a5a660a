//! Clients that mean harm or die at the worst moment: what is stored is judged by the API, never by what was said.
#![cfg(feature = "server")]

mod gateway;

use gateway::smtp::client_hello;
use gateway::{Client, Gateway, OPEN_DOORS, PATIENCE, reset};
use std::io::Write as _;
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

/// An address can be had again at once: these tests use theirs several times.
const NO_REST: &str = "[store]\naddress_quarantine = \"0s\"\n";

/// A whole session: what is said, and how many replies are read before the next piece is.
type Script = [(&'static str, usize); 4];

const IN_DATA: Script = [
    ("EHLO dying.example\r\n", 1),
    (
        "MAIL FROM:<a@dying.example>\r\nRCPT TO:<victim@mayfly.test>\r\nDATA\r\n",
        3,
    ),
    ("Subject: last words\r\n\r\n..\r\nx\r\n.\r\n", 1),
    ("QUIT\r\n", 1),
];

const IN_CHUNKS: Script = [
    ("EHLO dying.example\r\n", 1),
    (
        "MAIL FROM:<a@dying.example>\r\nRCPT TO:<victim@mayfly.test>\r\n",
        2,
    ),
    (
        "BDAT 22\r\nSubject: last words\r\n\rBDAT 7 LAST\r\n\n.\r\nx\r\n",
        2,
    ),
    ("QUIT\r\n", 1),
];

fn session_bytes(script: &Script) -> usize {
    script.iter().map(|(piece, _)| piece.len()).sum()
}

/// Where all has been said that makes the message whole.
fn end_of_data(script: &Script) -> usize {
    session_bytes(script) - script[3].0.len()
}

/// Plays the session up to a byte, reading all replies that are due by then.
fn play(client: &mut Client, script: &Script, bytes: usize) {
    client.expect("220");
    let mut left = bytes;
    for (piece, replies) in *script {
        let said = piece.len().min(left);
        client.raw(&piece.as_bytes()[..said]);
        left -= said;
        if left == 0 {
            return;
        }
        for _ in 0..replies {
            let reply = client.reply();
            assert!(reply.starts_with(['2', '3']), "{reply}");
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Death {
    Fin,
    Reset,
    /// The connection ends inside TLS, without a close_notify.
    CutTls,
}

#[test]
fn who_dies_at_any_byte_leaves_a_message_only_behind_its_end() {
    die_at_any_byte(&IN_DATA);
}

#[test]
fn e14_who_dies_at_any_byte_of_a_chunk_leaves_a_message_only_behind_the_last() {
    die_at_any_byte(&IN_CHUNKS);
}

fn die_at_any_byte(script: &Script) {
    let gateway = Gateway::start(&format!("{OPEN_DOORS}{NO_REST}"));
    for death in [Death::Fin, Death::Reset, Death::CutTls] {
        let (_, token) = gateway.create("victim");
        for bytes in 0..=session_bytes(script) {
            let mut client = match death {
                Death::CutTls => Client::connect(gateway.smtps).start_tls(),
                _ => Client::connect(gateway.smtp),
            };
            play(&mut client, script, bytes);
            if death == Death::Reset {
                reset(client.socket().try_clone().expect("cloned"));
            }
        }
        gateway.await_metric("mayfly_smtp_connections", "", 0);
        let complete = (session_bytes(script) - end_of_data(script) + 1) as u64;
        let found = gateway.held(&token);
        // A reset right behind the last byte may overtake it; one that comes after the 250 may not.
        let fewest = if death == Death::Reset {
            complete - 1
        } else {
            complete
        };
        assert!(
            (fewest..=complete).contains(&found),
            "{death:?}: {found} of {complete} messages"
        );
        for message in gateway.list(&token) {
            let id = message["id"].as_str().expect("an id");
            let raw = gateway
                .get(&format!("/api/v1/messages/{id}/raw"), &token)
                .text();
            assert!(
                raw.ends_with("Subject: last words\r\n\r\n.\r\nx\r\n"),
                "{raw}"
            );
        }
        assert_eq!(gateway.delete("/api/v1/mailbox", &token).status, 204);
        gateway.await_rest(0);
    }
    let (address, token) = gateway.create("survivor");
    assert!(
        gateway
            .deliver(&address, "Subject: alive\r\n\r\n")
            .starts_with("250")
    );
    assert_eq!(gateway.held(&token), 1);
    assert_eq!(
        gateway.metric("mayfly_smtp_sessions_ended_total", "panic"),
        0
    );
}

#[test]
fn who_has_said_everything_and_closes_its_half_still_hears_every_reply() {
    let gateway = Gateway::start(OPEN_DOORS);
    // So many that each core owns some: then questions are on their way when the end comes.
    let mailboxes: Vec<_> = (0..8)
        .map(|nth| gateway.create(&format!("half{nth}")))
        .collect();
    for (address, token) in &mailboxes {
        let envelope = format!("MAIL FROM:<>\r\nRCPT TO:<{address}>\r\n");
        for (said, replies) in [
            (format!("{envelope}BDAT 3 LAST\r\nx\r\n"), "250 250 250"),
            (
                format!("{envelope}BDAT 3 LAST\r\nx\r\nQUIT\r\n"),
                "250 250 250 221",
            ),
            ("NOOP\r\nVRFY x\r\nRSET\r\n".to_owned(), "250 252 250"),
        ] {
            let mut client = Client::connect(gateway.smtp);
            client.greet().raw(said.as_bytes());
            client.socket().shutdown(Shutdown::Write).expect("said all");
            let rest = client.rest();
            let codes: Vec<&str> = rest.lines().map(|line| &line[..3]).collect();
            assert_eq!(codes.join(" "), replies, "{said:?}");
        }
        let mut client = Client::connect(gateway.smtp);
        client.greet().begin(&[address]).raw(b"x\r\n.\r\n");
        client.socket().shutdown(Shutdown::Write).expect("said all");
        assert!(client.rest().starts_with("250 2.0.0 Ok: held"));
        assert_eq!(gateway.held(token), 3);
    }
}

#[test]
fn who_dies_in_the_handshake_leaves_nothing() {
    let gateway = Gateway::start(OPEN_DOORS);
    let hello = client_hello();
    let ends: Vec<usize> = (0..hello.len()).step_by(61).chain([hello.len()]).collect();
    for end in &ends {
        let mut stream = TcpStream::connect(gateway.smtps).expect("connected");
        stream.write_all(&hello[..*end]).expect("sent");
        if end % 2 == 0 {
            reset(stream);
        }
    }
    gateway.await_rest(0);
    // Who was cut off before it was accepted never came.
    let failed = gateway.metric("mayfly_tls_handshakes_total", "failed");
    let said_goodbye = ends.iter().filter(|end| *end % 2 == 1).count() as u64;
    assert!(
        (said_goodbye..=ends.len() as u64).contains(&failed),
        "{failed} of {}",
        ends.len()
    );
    Client::connect(gateway.smtps)
        .start_tls()
        .greet()
        .ask("QUIT", "221");
}

const BEHIND: &str = "MAIL FROM:<smuggled@x.example>\r\nRCPT TO:<u1@mayfly.test>\r\nDATA\r\nSubject: evil\r\n\r\nx\r\n.\r\n";

/// What stands between the body and what should not be read as commands, whether it ends the data, and the reply.
const ENDS: &[(&str, &[u8], usize, &str)] = &[
    ("A1", b"\r\n.\r\n", 2, "250"),
    ("A2", b"\n.\n", 0, "550 5.5.2"),
    ("A3", b"\n.\r\n", 0, "550 5.5.2"),
    ("A4", b"\r\n.\n", 0, "550 5.5.2"),
    ("A5", b"\r.\r", 0, "550 5.5.2"),
    ("A6a", b"\r.\n", 0, "550 5.5.2"),
    ("A6b", b"\n.\r", 0, "550 5.5.2"),
    ("A6c", b"\r.\r\n", 0, "550 5.5.2"),
    ("A6d", b"\r\n.\r", 0, "550 5.5.2"),
    ("A7", b"\r\n.\r\r\n", 0, "550 5.5.2"),
    ("A8", b"\r\r\n.\r\r\n", 0, "550 5.5.2"),
    ("A9a", b"\r\n\0.\r\n", 0, "550 5.5.2"),
    ("A9b", b"\r\n.\0\r\n", 0, "550 5.5.2"),
    ("A10a", b"\r\n. \r\n", 1, "250"),
    ("A10b", b"\r\n.\t\r\n", 1, "250"),
    ("A10c", b"\r\n.\x0b\r\n", 1, "250"),
    ("A11a", b"\r\n\xef\xbc\x8e\r\n", 1, "250"),
    ("A11b", b"\r\n.\xc2\x85\r\n", 1, "250"),
    ("A12", b"\r\n..\r\n", 1, "250"),
];

#[test]
fn only_the_true_end_ends_the_data() {
    // What is taken for commands must get through to be seen, even its data ahead of the 354.
    let gateway = Gateway::start(&format!(
        "{OPEN_DOORS}{NO_REST}[smtp]\nforbid_early_pipelining = false\n"
    ));
    for (name, end, stored, reply) in ENDS {
        for tls in [false, true] {
            for piece in [usize::MAX, 7, 1] {
                let (address, token) = gateway.create("u1");
                let mut client = match tls {
                    true => Client::connect(gateway.smtps).start_tls(),
                    false => Client::connect(gateway.smtp),
                };
                client.greet().begin(&[&address]);
                let sent = [b"Subject: t\r\n\r\nbody", *end, BEHIND.as_bytes()].concat();
                sent.chunks(piece.min(sent.len()))
                    .for_each(|piece| client.raw(piece));
                client.expect(reply);
                if *stored == 2 {
                    for code in ["250", "250", "354", "250"] {
                        client.expect(code);
                    }
                }
                // Both sides agree where they are.
                client.ask("RSET", "250 2.0.0");
                client.ask("NOOP", "250 2.0.0");
                client.ask("QUIT", "221");
                assert_eq!(client.rest(), "", "{name}");
                assert_eq!(
                    gateway.held(&token),
                    *stored as u64,
                    "{name} in pieces of {piece}"
                );
                if *stored == 1 {
                    let raw = gateway.get("/api/v1/messages/1/raw", &token).text();
                    assert!(raw.contains("\r\nMAIL FROM:<smuggled"), "{name}: {raw}");
                }
                assert_eq!(gateway.delete("/api/v1/mailbox", &token).status, 204);
            }
        }
    }
}

/// Even where data ends as it should, what follows must be a client that waits for its replies.
#[test]
fn who_does_not_wait_for_replies_leaves_nothing() {
    let gateway = Gateway::start(OPEN_DOORS);
    let (address, token) = gateway.create("u1");
    let envelope = "MAIL FROM:<a@x.example>\r\nRCPT TO:<u1@mayfly.test>\r\nDATA\r\n";
    let early = format!("{envelope}Subject: early\r\n\r\n.\r\n");
    for (said, replies) in [
        // C2
        ("EHLO x\r\nMAIL FROM:<>\r\n", &["554 5.5.0"][..]),
        // C3
        (&early, &["250", "250", "554 5.5.0"]),
    ] {
        for tls in [false, true] {
            let mut client = match tls {
                true => Client::connect(gateway.smtps).start_tls(),
                false => Client::connect(gateway.smtp),
            };
            client.greet().raw(said.as_bytes());
            replies.iter().for_each(|code| {
                client.expect(code);
            });
            assert_eq!(client.rest(), "", "{said:?}");
        }
    }
    let mut client = Client::connect(gateway.smtp);
    client.greet().begin(&[&address]);
    client.raw(format!("Subject: t\r\n\r\n.\r\n{BEHIND}").as_bytes());
    for code in ["250", "250", "250", "554 5.5.0"] {
        client.expect(code);
    }
    assert_eq!(gateway.held(&token), 1, "the one before");
}

#[test]
fn nothing_said_before_the_handshake_counts_after_it() {
    let gateway = Gateway::start(OPEN_DOORS);
    let (address, token) = gateway.create("u1");
    for (first, second) in [
        ("STARTTLS\r\nEHLO injected\r\n", ""),
        ("STARTTLS\r\nRSET\r\n", ""),
        ("STARTTLS\r\nMAIL FROM:<inj@x.example>\r\n", ""),
        ("STARTTLS\r\nN", ""),
        ("STARTTLS\r\n", "EHLO injected\r\n"),
        ("STARTTLS\r\n", "N"),
    ] {
        let mut client = Client::connect(gateway.smtp);
        client.greet();
        client.raw(first.as_bytes());
        let _ = client.try_raw(second.as_bytes());
        client.socket().shutdown(Shutdown::Write).expect("said all");
        let rest = client.rest();
        assert!(!rest.contains("250"), "{first:?}, {second:?}: {rest:?}");
        if second.is_empty() {
            assert!(rest.starts_with("554"), "{first:?}: {rest:?}");
        }
    }
    assert_eq!(gateway.metric("mayfly_tls_handshakes_total", "full"), 0);

    // What was agreed in the clear is forgotten (RFC 3207 section 4.2).
    let mut client = Client::connect(gateway.smtp);
    client.greet().ask("STARTTLS now", "501");
    client.ask("MAIL FROM:<a@client.example>", "250");
    client.ask(&format!("RCPT TO:<{address}>"), "250");
    client.ask("STARTTLS", "220");
    let mut client = client.start_tls();
    client.ask("RCPT TO:<u1@mayfly.test>", "503");
    client.ask("MAIL FROM:<a@client.example>", "503");
    let reply = client.ask("EHLO client.example", "250");
    assert!(!reply.contains("STARTTLS"), "{reply}");
    client.ask("STARTTLS", "503");
    client.begin(&[&address]).raw(b"Subject: t\r\n\r\n.\r\n");
    client.expect("250");
    client.ask("QUIT", "221");
    assert_eq!(gateway.held(&token), 1);
}

#[test]
fn nothing_said_in_the_clear_after_tls_has_ended_is_read() {
    let gateway = Gateway::start(OPEN_DOORS);
    let (address, token) = gateway.create("u1");
    let handshake = |starttls: bool| {
        if starttls {
            let mut client = Client::connect(gateway.smtp);
            client.greet().ask("STARTTLS", "220");
            let mut client = client.start_tls();
            client.ask("EHLO client.example", "250");
            return client;
        }
        let mut client = Client::connect(gateway.smtps).start_tls();
        client.greet();
        client
    };
    for starttls in [true, false] {
        let mut client = handshake(starttls);
        client.begin(&[&address]).raw(b"Subject: half inside");
        let mut client = client.close_tls();
        let _ = client.try_raw(b"\r\n\r\nX\r\n.\r\nQUIT\r\n");
        assert!(!client.rest().contains("250"));

        let mut client = handshake(starttls);
        client.raw(b"NO");
        let mut client = client.close_tls();
        let _ = client.try_raw(b"OP\r\nQUIT\r\n");
        assert!(!client.rest().contains("250"));
    }
    gateway.await_metric("mayfly_smtp_connections", "", 0);
    assert_eq!(gateway.held(&token), 0);
    assert_eq!(gateway.metric("mayfly_smtp_commands_total", "noop"), 0);
}

/// Resident memory of a process, in bytes.
fn resident(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("it lives");
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .expect("a size");
    let kib: u64 = line
        .trim()
        .trim_end_matches(" kB")
        .parse()
        .expect("a number");
    kib << 10
}

/// Says NOOP ten million bytes long and never reads; returns how much of that could be said.
fn shout(to: SocketAddr) -> (Client, usize) {
    let noops = b"NOOP\r\n".repeat(1 << 11);
    let client = Client::connect(to);
    let mut stream = client.socket().try_clone().expect("cloned");
    // As long as that nobody takes a byte: then the server has stopped reading.
    stream
        .set_write_timeout(Some(Duration::from_secs(1)))
        .expect("set");
    let mut said = 0;
    while said < 10_000_000 {
        match stream.write(&noops) {
            Ok(written) => said += written,
            Err(_) => break,
        }
    }
    (client, said)
}

#[test]
fn a_client_that_never_reads_is_not_read_either() {
    const SHOUTERS: usize = 8;
    /// Of which most is what the tests' build and the receive buffers take.
    const GROWTH_MAX: u64 = 24 << 20;
    let settings = format!("{OPEN_DOORS}[smtp]\njunk_commands_max = 4_000_000_000\n");
    let gateway = Gateway::start(&settings);
    let (address, token) = gateway.create("unharmed");
    let (before, smtp) = (resident(gateway.pid()), gateway.smtp);
    let shouters: Vec<_> = (0..SHOUTERS)
        .map(|_| std::thread::spawn(move || shout(smtp)))
        .collect();
    let shouters: Vec<(Client, usize)> = shouters
        .into_iter()
        .map(|shouter| shouter.join().expect("it gives up"))
        .collect();
    for (_, said) in &shouters {
        assert!(
            *said < 10_000_000,
            "the server goes on reading: {said} bytes"
        );
    }
    let grown = resident(gateway.pid()).saturating_sub(before);
    assert!(grown < GROWTH_MAX, "{grown} bytes");
    for nth in 1..=20 {
        assert!(
            gateway
                .deliver(&address, "Subject: hello\r\n\r\n")
                .starts_with("250")
        );
        assert_eq!(gateway.held(&token), nth);
    }
    drop(shouters);
    gateway.await_metric("mayfly_smtp_connections", "", 0);
}

#[test]
fn what_is_not_smtp_is_shown_the_door() {
    let gateway = Gateway::start(OPEN_DOORS);
    let random: Vec<u8> = (0..50_000_u32)
        .map(|nth| (nth.wrapping_mul(2_654_435_761) >> 24) as u8)
        .collect();
    for (what, bytes, ends_by_itself) in [
        ("HTTP", b"GET / HTTP/1.1\r\nHost: x\r\n\r\n".to_vec(), true),
        (
            "a proxy's client",
            b"CONNECT mail.example:25 HTTP/1.1\r\n\r\n".to_vec(),
            true,
        ),
        (
            "a form",
            b"POST / HTTP/1.1\r\nContent-Length: 9\r\n\r\nEHLO x\r\n\r\n".to_vec(),
            true,
        ),
        ("TLS", client_hello(), true),
        (
            "RDP",
            b"\x03\0\0\x13\x0e\xe0\0\0\0\0\0\x01\0\x08\0\x03\0\0\0".to_vec(),
            true,
        ),
        ("zeros", vec![0; 64], true),
        ("SSH", b"SSH-2.0-OpenSSH_9.6\r\n".to_vec(), true),
        (
            "PROXY",
            b"PROXY TCP4 192.0.2.1 192.0.2.2 5 25\r\nEHLO x\r\n".to_vec(),
            true,
        ),
        ("noise", random, true),
        ("a line without end", b"x".repeat(1 << 20), true),
    ] {
        for to in [gateway.smtp, gateway.smtps] {
            let mut client = Client::connect(to);
            let _ = client.try_raw(&bytes);
            if !(ends_by_itself && to == gateway.smtp) {
                let _ = client.socket().shutdown(Shutdown::Write);
            }
            let rest = client.rest_of(&format!("{what} to {to}"));
            let replies = rest
                .lines()
                .filter(|line| line.starts_with("250 2") || line.starts_with("354"));
            assert_eq!(replies.count(), 0, "{what}: {rest}");
        }
    }
    gateway.await_rest(0);
    assert_eq!(
        gateway.metric("mayfly_smtp_sessions_ended_total", "panic"),
        0
    );
    let (address, token) = gateway.create("still-here");
    assert!(
        gateway
            .deliver(&address, "Subject: x\r\n\r\n")
            .starts_with("250")
    );
    assert_eq!(gateway.held(&token), 1);
}

#[test]
fn n06_metrics_are_the_operators_and_do_not_grow_with_what_strangers_say() {
    let gateway = Gateway::start(OPEN_DOORS);
    let public = gateway::request(gateway.http, "GET", "/metrics", None, "");
    assert_eq!(public.status, 404);
    let series = || {
        let page = gateway.metrics();
        assert!(!page.contains('@'), "an address in the metrics");
        page.lines().filter(|line| !line.starts_with('#')).count()
    };
    let say = |nth: u32| {
        let mut client = Client::connect(gateway.smtp);
        client.expect("220");
        client.ask(&format!("EHLO client{nth}.example"), "250");
        client.ask(&format!("MAIL FROM:<sender{nth}@x{nth}.example>"), "250");
        client.ask(&format!("RCPT TO:<nobody{nth}@mayfly.test>"), "550");
        client.ask("QUIT", "221");
    };
    (0..5).for_each(say);
    gateway.await_rest(0);
    let before = series();
    (5..500).for_each(say);
    gateway.await_rest(0);
    assert_eq!(series(), before);
}

#[test]
fn f04_when_descriptors_run_out_accepting_rests_and_mail_goes_on_afterwards() {
    const FILES: u32 = 120;
    let gateway = Gateway::start_with_files(FILES, "[pressure]\npin = \"normal\"\n");
    let (address, token) = gateway.create("exhausted");
    // More than both cores' tables hold; the kernel takes the rest on and lets them wait.
    let began = Instant::now();
    let crowd: Vec<_> = (0..3 * FILES)
        .map(|_| Client::connect(gateway.smtp))
        .collect();
    let failed = || gateway.metric("mayfly_smtp_accept_errors_total", "");
    while failed() < 10 {
        assert!(began.elapsed() < PATIENCE, "descriptors have not run out");
        std::thread::yield_now();
    }
    // Each of two cores tries again every tenth of a second.
    let rests = began.elapsed().as_millis() / 100 + 2;
    assert!(u128::from(failed()) <= 2 * rests, "it spins");
    drop(crowd);
    let reply = gateway.deliver(&address, "Subject: afterwards");
    assert!(reply.starts_with("250"), "{reply}");
    assert_eq!(gateway.held(&token), 1);
}
