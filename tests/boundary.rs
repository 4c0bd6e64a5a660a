//! D: the boundary of TLS. Each test is named by its row of the catalogue of attacks.
#![cfg(feature = "server")]

mod gateway;

use gateway::tools::{program, run};
use gateway::{Client, Gateway, OPEN_DOORS};
use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

const ALERT_CLOSE_NOTIFY: &[u8] = b"\x15\x03\x03\0\x02\x01\0";
const ALERT_HANDSHAKE_FAILURE: &[u8] = b"\x15\x03\x03\0\x02\x02\x28";
const ALERT_WARNING: &[u8] = b"\x15\x03\x03\0\x02\x01\x5a";

/// A client inside TLS from the first byte on, whose first flight was sent by `send`.
fn secured(to: SocketAddr, send: impl FnMut(&mut TcpStream, &[u8])) -> Client {
    Client::connect(to).start_tls_sending(send)
}

/// A connection on which raw bytes are sent; returns what it said until its end, which must come.
fn answered(to: SocketAddr, bytes: &[u8]) -> String {
    let mut client = Client::connect(to);
    let _ = client.try_raw(bytes);
    client.rest_of(&bytes[..bytes.len().min(20)].escape_ascii().to_string())
}

/// It still does what it is for, and nothing has gone wrong inside.
fn is_well(gateway: &Gateway) {
    let mut client = Client::connect(gateway.smtps).start_tls();
    client.greet().ask("QUIT", "221");
    drop(client);
    gateway.await_rest(0);
    let panics = gateway.metric("mayfly_smtp_sessions_ended_total", "panic");
    assert_eq!(panics, 0);
}

#[test]
fn d06_a_client_hello_in_small_pieces_is_one_and_two_are_too_many() {
    let gateway = Gateway::start(OPEN_DOORS);
    let in_segments = |stream: &mut TcpStream, hello: &[u8]| {
        for byte in hello {
            stream.write_all(&[*byte]).expect("sent");
        }
    };
    secured(gateway.smtps, in_segments)
        .greet()
        .ask("QUIT", "221");
    let in_records = |stream: &mut TcpStream, hello: &[u8]| {
        let (header, message) = hello.split_at(5);
        let records: Vec<u8> = message
            .iter()
            .flat_map(|byte| [header[0], header[1], header[2], 0, 1, *byte])
            .collect();
        stream.write_all(&records).expect("sent");
    };
    secured(gateway.smtps, in_records)
        .greet()
        .ask("QUIT", "221");
    let hello = gateway::smtp::client_hello();
    let rest = answered(gateway.smtps, &[hello.as_slice(), &hello].concat());
    assert!(!rest.contains("220 "), "{rest}");
    is_well(&gateway);
}

#[test]
fn d07_a_handshake_that_is_called_off_ends_the_connection() {
    let settings = format!("{OPEN_DOORS}[tls]\nhandshake_timeout = \"1s\"\n");
    let gateway = Gateway::start(&settings);
    let hello = gateway::smtp::client_hello();
    // Anybody could have said a close_notify that is not protected, and an alert amid a record is a part of it: those end
    // with the handshake's time, the others at once.
    for end in [ALERT_CLOSE_NOTIFY, ALERT_HANDSHAKE_FAILURE] {
        for start in [&[][..], &hello[..60], &hello] {
            answered(gateway.smtps, &[start, end].concat());
        }
    }
    for start in [&[][..], &hello[..60], &hello] {
        let mut client = Client::connect(gateway.smtps);
        client.raw(start);
        client.socket().shutdown(Shutdown::Write).expect("said all");
        client.rest();
    }
    is_well(&gateway);
}

#[test]
fn d08_what_comes_in_the_clear_amid_a_chunk_is_not_read() {
    let gateway = Gateway::start(OPEN_DOORS);
    let (address, token) = gateway.create("u1");
    for starttls in [true, false] {
        let mut client = if starttls {
            let mut client = Client::connect(gateway.smtp);
            client.greet().ask("STARTTLS", "220");
            let mut client = client.start_tls();
            client.ask("EHLO client.example", "250");
            client
        } else {
            let mut client = Client::connect(gateway.smtps).start_tls();
            client.greet();
            client
        };
        client.ask("MAIL FROM:<s@client.example>", "250");
        client.ask(&format!("RCPT TO:<{address}>"), "250");
        client.raw(format!("BDAT 100 LAST\r\n{}", "x".repeat(50)).as_bytes());
        let mut client = client.close_tls();
        let _ = client.try_raw(b"X");
        let _ = client.try_raw(&[b'x'; 49]);
        let _ = client.try_raw(b"\r\nQUIT\r\n");
        let rest = client.rest();
        assert!(!rest.contains("250 ") && !rest.contains("221 "), "{rest}");
    }
    gateway.await_metric("mayfly_smtp_connections", "", 0);
    assert_eq!(gateway.held(&token), 0);
    assert_eq!(gateway.metric("mayfly_smtp_commands_total", "quit"), 0);
}

#[test]
fn d10_what_tls_lets_a_client_repeat_has_an_end() {
    let gateway = Gateway::start(OPEN_DOORS);
    let hello = gateway::smtp::client_hello();
    for bytes in [
        ALERT_WARNING.repeat(50),
        [&hello[..], &ALERT_WARNING.repeat(50)].concat(),
        b"\x16\x03\x01\0\0".repeat(100),
        // A message of the handshake that says it is 64 KiB long, and one of 16 MiB.
        b"\x16\x03\x01\0\x04\x01\x01\0\0".to_vec(),
        b"\x16\x03\x01\0\x04\x01\xff\xff\xff".to_vec(),
    ] {
        answered(gateway.smtps, &bytes);
    }
    let mut client = Client::connect(gateway.smtps).start_tls();
    client.greet();
    while client.refresh_keys().is_ok() {}
    client.rest();
    // A second handshake inside the first: asked for twice, by a client that can.
    let mut renegotiating = program("openssl");
    renegotiating.args([
        "s_client",
        "-connect",
        &gateway.smtps.to_string(),
        "-tls1_2",
    ]);
    let output = run(&mut renegotiating, "R\nR\nQUIT\n");
    assert!(!String::from_utf8_lossy(&output.stdout).contains("221 "));
    is_well(&gateway);
}

#[test]
fn d11_a_handshake_has_a_deadline() {
    const TIMEOUT: Duration = Duration::from_secs(1);
    const PACE: Duration = Duration::from_millis(50);
    let settings = format!("{OPEN_DOORS}[tls]\nhandshake_timeout = \"1s\"\n");
    let gateway = Gateway::start(&settings);
    let began = Instant::now();
    let mut silent = Client::connect(gateway.smtp);
    silent.greet().ask("STARTTLS", "220");
    assert!(!silent.rest().contains("250 "));
    assert!(began.elapsed() >= TIMEOUT);
    // Bytes do not buy time. At this pace the hello would take a minute.
    let mut slow = TcpStream::connect(gateway.smtps).expect("connected");
    slow.set_read_timeout(Some(PACE)).expect("set");
    let hello = gateway::smtp::client_hello();
    let mut sent = 0;
    for byte in &hello {
        let gone = match slow.read(&mut [0; 64]) {
            Ok(read) => read == 0,
            Err(why) => !matches!(
                why.kind(),
                std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut
            ),
        };
        if gone || slow.write_all(&[*byte]).is_err() {
            break;
        }
        sent += 1;
    }
    assert!(sent < hello.len(), "the whole hello was taken");
    is_well(&gateway);
}

#[test]
fn d15_names_that_are_none() {
    let gateway = Gateway::start(OPEN_DOORS);
    let hello = gateway::smtp::client_hello();
    let name = b"mayfly.test";
    let at = hello
        .windows(name.len())
        .position(|it| it == name)
        .expect("it asks for a name");
    for (place, byte) in [(0, 0), (5, 0), (10, b'.'), (6, b'.'), (3, 0xff), (0, b' ')] {
        let mut changed = hello.clone();
        changed[at + place] = byte;
        let mut client = Client::connect(gateway.smtps);
        client.raw(&changed);
        client.socket().shutdown(Shutdown::Write).expect("said all");
        client.rest();
    }
    let long = [
        "a".repeat(63),
        "b".repeat(63),
        "c".repeat(63),
        "d".repeat(61),
    ]
    .join(".");
    for name in [
        &["-servername", &long][..],
        &["-servername", "127.0.0.1"],
        &["-noservername"],
    ] {
        let mut client = program("openssl");
        client.args([
            "s_client",
            "-connect",
            &gateway.smtps.to_string(),
            "-crlf",
            "-ign_eof",
        ]);
        // It gets a certificate or an alert, and an answer or none: it may not get stuck.
        run(client.args(name), "QUIT\n");
    }
    is_well(&gateway);
}
