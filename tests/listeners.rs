//! Listeners with options of their own: what each offers, who may come through a proxy, and who must wait.
#![cfg(feature = "server")]

mod gateway;

use gateway::{Client, Gateway, PATIENCE, Ports, poll};
use std::collections::BTreeSet;
use std::io::{Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

const REFUSED: &str = "mayfly_smtp_connections_refused_total";

/// What version 2 begins with.
const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// A gateway whose listeners for mail are these lists; tests come from one address.
fn start(smtp: &str, smtps: &str, settings: &str) -> Gateway {
    let variables = [
        ("MAYFLY__LISTEN__SMTP", smtp),
        ("MAYFLY__LISTEN__SMTPS", smtps),
    ];
    Gateway::try_start(Ports::FREE, settings, &variables)
        .unwrap_or_else(|said| panic!("it did not start:\n{said}"))
}

const PLAIN: &str = "[\"127.0.0.1:0\"]";

/// Behind a proxy that has any address of this machine.
const PROXIED: &str = "[{ address = \"127.0.0.1:0\", proxy_from = [\"127.0.0.0/8\"] }]";

/// Every address that the banner names for a listener.
fn addresses(gateway: &mut Gateway, name: &str) -> Vec<SocketAddr> {
    let line = gateway
        .said()
        .lines()
        .find(|line| line.split_whitespace().next() == Some(name));
    let words = line.expect("it is named").split_whitespace();
    words.filter_map(|word| word.parse().ok()).collect()
}

/// What a listener offers, without the values.
fn offered(to: SocketAddr) -> BTreeSet<String> {
    let mut client = Client::connect(to);
    client.expect("220");
    let reply = client.ask("EHLO client.example", "250");
    let words = reply.lines().skip(1);
    words
        .filter_map(|line| line[4..].split(' ').next())
        .map(str::to_owned)
        .collect()
}

#[test]
fn each_listener_offers_what_it_is_told_to() {
    let list =
        "[\"127.0.0.1:0\", { address = \"127.0.0.1:0\", without = [\"STARTTLS\", \"CHUNKING\"] }]";
    let mut gateway = start(list, PLAIN, "");
    let addresses = addresses(&mut gateway, "smtp");
    let (all, fewer) = (offered(addresses[0]), offered(addresses[1]));
    assert!(all.contains("STARTTLS") && all.contains("PIPELINING"));
    let out = ["STARTTLS", "CHUNKING", "BINARYMIME"].map(str::to_owned);
    let expected: BTreeSet<String> = all.difference(&out.into()).cloned().collect();
    assert_eq!(fewer, expected);
    let mut client = Client::connect(addresses[1]);
    client.greet().ask("STARTTLS", "50");
    client.ask("QUIT", "221");
    let mut client = Client::connect(addresses[0]);
    client.greet().ask("STARTTLS", "220");
    client.start_tls().ask("EHLO client.example", "250");
}

#[test]
fn n1_where_no_proxy_is_expected_its_header_is_no_mail() {
    let gateway = start(PLAIN, PLAIN, "");
    let mut client = Client::connect(gateway.smtp);
    client.expect("220");
    client.raw(b"PROXY TCP4 1.2.3.4 5.6.7.8 1 25\r\nEHLO client.example\r\n");
    let said = client.rest();
    assert!(
        said.starts_with("521 ") && said.lines().count() == 1,
        "{said}"
    );
    let mut client = Client::connect(gateway.smtp);
    client.expect("220");
    client.raw(&tcp4([1, 2, 3, 4], b""));
    let said = client.rest();
    assert!(!said.contains("\r\n250"), "{said}");
    assert_eq!(gateway.metric(REFUSED, "proxy"), 0);
}

/// A header of version 2 for a client with this address.
fn tcp4(client: [u8; 4], tlvs: &[u8]) -> Vec<u8> {
    let addresses = [&client[..], &[198, 51, 100, 1, 0x12, 0x34, 0, 25]].concat();
    v2(0x21, 0x11, &[&addresses, tlvs].concat())
}

fn v2(command: u8, family: u8, payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(payload.len()).expect("short").to_be_bytes();
    [SIGNATURE, &[command, family], &length, payload].concat()
}

/// Says this and nothing else; returns everything that comes back.
fn answer_to(gateway: &Gateway, bytes: &[u8]) -> String {
    let mut client = Client::connect(gateway.smtp);
    // It may be closed before all has been said.
    let _ = client.try_raw(bytes);
    client.rest_of(&format!("{bytes:?}"))
}

#[test]
fn n2_and_n3_whatever_is_no_sound_header_is_closed_without_a_word() {
    let gateway = start(PROXIED, PROXIED, "");
    let long = format!("PROXY TCP4 {}\r\n", "1".repeat(108));
    let mut headers: Vec<Vec<u8>> = [
        "EHLO client.example\r\n",
        &long,
        "PROXY TCP4 192.0.2.7 198.51.100.1 4660 25\n",
        "PROXY UNKNOWN\r\n",
        "PROXY TCP4 192.0.2.7 198.51.100.1 0 25\r\n",
        "PROXY TCP4 192.0.2.7 198.51.100.1 65536 25\r\n",
        "PROXY TCP4 192.0.2.7 198.51.100.1 4660 +25\r\n",
        "PROXY TCP4 192.0.2.07 198.51.100.1 4660 25\r\n",
        "PROXY TCP6 ::ffff:192.0.2.7 2001:db8::1 4660 25\r\n",
    ]
    .map(|line| line.as_bytes().to_vec())
    .into();
    for at in 0..SIGNATURE.len() {
        let mut header = tcp4([192, 0, 2, 7], b"");
        header[at] ^= 0x20;
        headers.push(header);
    }
    for length in [0, 11, 536, 65_535] {
        let [high, low] = u16::to_be_bytes(length);
        headers.push([SIGNATURE, &[0x21, 0x11, high, low], &[0; 600]].concat());
    }
    headers.push(tcp4([192, 0, 2, 7], &[4, 0, 200]));
    headers.push(v2(0x21, 0x31, &[0; 216]));
    for header in &headers {
        let whole = [header, &b"EHLO client.example\r\n"[..]].concat();
        assert_eq!(answer_to(&gateway, &whole), "", "{header:?}");
    }
    gateway.await_metric(REFUSED, "reason=\"proxy\"", headers.len() as u64);
    assert_eq!(gateway.metric("mayfly_smtp_connections_total", ""), 0);
    assert_eq!(gateway.metric("mayfly_smtp_sessions_ended_total", ""), 0);
}

#[test]
fn n2_and_n5_only_the_proxies_that_are_listed_are_heard() {
    let list = "[{ address = \"127.0.0.1:0\", proxy_from = [\"127.0.0.2\"] }]";
    let gateway = start(list, PLAIN, "");
    assert_eq!(answer_to(&gateway, &tcp4([192, 0, 2, 7], b"")), "");
    assert_eq!(gateway.metric(REFUSED, "reason=\"proxy\""), 1);
    let proxy = IpAddr::from([127, 0, 0, 2]);
    let mut client = Client::connect_from(proxy, gateway.smtp);
    client.raw(&tcp4([192, 0, 2, 7], b""));
    client.greet().ask("QUIT", "221");
    assert_eq!(gateway.metric("mayfly_smtp_connections_total", ""), 1);
}

#[test]
fn n3_what_follows_the_header_is_the_clients_however_it_comes() {
    let gateway = start(PROXIED, PROXIED, "");
    let (address, token) = gateway.create("behind");
    let tlvs = [4, 0, 0, 5, 0, 2, b'i', b'd'];
    let session =
        format!("EHLO client.example\r\nMAIL FROM:<a@client.example>\r\nRCPT TO:<{address}>\r\n");
    let mut delivered = 0;
    for header in [
        b"PROXY TCP4 192.0.2.7 198.51.100.1 4660 25\r\n".to_vec(),
        tcp4([192, 0, 2, 7], &tlvs),
    ] {
        let first = [&header[..], b"EHLO client.example\r\n"].concat();
        let cuts = [1, 12, header.len() - 1, header.len(), header.len() + 1];
        for pieces in [vec![&first[..]], first.chunks(1).collect()]
            .into_iter()
            .chain(cuts.map(|cut| vec![&first[..cut], &first[cut..]]))
        {
            let mut client = Client::connect(gateway.smtp);
            for piece in pieces {
                client.raw(piece);
            }
            client.expect("220");
            client.expect("250");
            for line in session.lines().skip(1) {
                client.ask(line, "250");
            }
            client.ask("DATA", "354");
            client.raw(b"Subject: x\r\n\r\nx\r\n.\r\n");
            client.expect("250");
            client.ask("QUIT", "221");
            delivered += 1;
            let list = gateway.list(&token);
            assert_eq!(list.len(), delivered);
            let id = list[delivered - 1]["id"]
                .as_str()
                .expect("an id")
                .to_owned();
            let raw = gateway.get(&format!("/api/v1/messages/{id}/raw"), &token);
            let text = raw.text();
            assert!(text.contains("[192.0.2.7]"), "{text}");
            assert!(!text.contains("127.0.0.1"), "{text}");
        }
    }
}

#[test]
fn n4_a_header_that_does_not_come_in_time_is_not_awaited() {
    let gateway = start(PROXIED, PROXIED, "proxy_timeout = \"1s\"");
    let began = Instant::now();
    let header = tcp4([192, 0, 2, 7], &[5, 0, 200]);
    let silent = TcpStream::connect(gateway.smtp).expect("connected");
    // One byte at a time, as often as nothing comes back for a while.
    let mut slow = TcpStream::connect(gateway.smtp).expect("connected");
    slow.set_read_timeout(Some(Duration::from_millis(100)))
        .expect("set");
    for byte in header.iter().cycle() {
        assert!(began.elapsed() < PATIENCE, "it is still heard");
        let _ = slow.write_all(&[*byte]);
        match slow.read(&mut [0]) {
            Ok(0) => break,
            Ok(_) => panic!("it says something"),
            Err(why) if why.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(_) => break,
        }
    }
    assert!(began.elapsed() >= Duration::from_secs(1));
    assert_eq!(Client::over(silent).rest(), "");
    gateway.await_metric(REFUSED, "reason=\"proxy\"", 2);
}

#[test]
fn clients_behind_one_proxy_are_counted_apart() {
    let settings = "[admission]\nconnections_per_client_max = 1";
    let gateway = start(PROXIED, PROXIED, settings);
    let behind = |client: [u8; 4]| {
        let mut connection = Client::connect(gateway.smtp);
        connection.raw(&tcp4(client, b""));
        connection
    };
    let mut one = behind([192, 0, 2, 1]);
    one.expect("220");
    let mut two = behind([192, 0, 2, 2]);
    two.expect("220");
    let mut again = behind([192, 0, 2, 1]);
    let said = again.rest();
    assert!(said.starts_with("421 4.7.0"), "{said}");
    assert_eq!(gateway.metric(REFUSED, "client_connections"), 1);
    // Those whose client is not known yet are nobody's.
    let waiting: Vec<_> = (0..5)
        .map(|_| TcpStream::connect(gateway.smtp).expect("connected"))
        .collect();
    let mut three = behind([192, 0, 2, 3]);
    three.expect("220");
    drop(waiting);
    one.ask("QUIT", "221");
    drop(one);
    poll(|| match behind([192, 0, 2, 1]).reply() {
        reply if reply.starts_with("220") => Ok(()),
        reply => Err(reply),
    });
}

#[test]
fn connections_without_a_header_count_towards_all_that_may_be_open() {
    let gateway = start(PROXIED, PROXIED, "[admission]\nconnections_max = 2");
    let silent = [(); 2].map(|()| TcpStream::connect(gateway.smtp).expect("connected"));
    poll(|| {
        let mut third = Client::connect(gateway.smtp);
        let _ = third.try_raw(&tcp4([192, 0, 2, 3], b""));
        match third.reply() {
            reply if reply.starts_with("421 4.3.2") => Ok(()),
            reply => Err(reply),
        }
    });
    drop(silent);
    poll(|| {
        let mut third = Client::connect(gateway.smtp);
        let _ = third.try_raw(&tcp4([192, 0, 2, 3], b""));
        match third.reply() {
            reply if reply.starts_with("220") => Ok(()),
            reply => Err(reply),
        }
    });
}

#[test]
fn a_health_check_is_served_and_is_no_session() {
    let gateway = start(PROXIED, PROXIED, "");
    for payload in [&b""[..], b"whatever", &[0; 520]] {
        let mut client = Client::connect(gateway.smtp);
        client.raw(&v2(0x20, 0, payload));
        client.greet().ask("QUIT", "221");
        assert_eq!(client.rest(), "");
    }
    assert_eq!(gateway.metric("mayfly_smtp_health_checks_total", ""), 3);
    for name in [
        "mayfly_smtp_connections_total",
        "mayfly_smtp_connections",
        "mayfly_smtp_sessions_ended_total",
        "mayfly_smtp_session_duration_seconds_count",
        REFUSED,
    ] {
        assert_eq!(gateway.metric(name, ""), 0, "{name}");
    }
}

#[test]
fn a_proxy_speaks_before_tls_does() {
    let gateway = start(PROXIED, PROXIED, "");
    for fused in [false, true] {
        let client = TcpStream::connect(gateway.smtps).expect("connected");
        let client = socket2::Socket::from(client);
        // Held back until there is more: header and handshake leave in one segment.
        client.set_tcp_cork(fused).expect("set");
        let mut client = Client::over(client.into());
        client.raw(&tcp4([192, 0, 2, 7], b""));
        let mut client = client.start_tls();
        client.greet().ask("QUIT", "221");
    }
    let mut client = Client::connect(gateway.smtps);
    let _ = client.try_raw(b"\x16\x03\x01\x02\x00\x01");
    assert_eq!(client.rest(), "");
    assert_eq!(gateway.metric(REFUSED, "reason=\"proxy\""), 1);
}

#[test]
fn c1_who_speaks_before_the_greeting_is_turned_away_and_who_waits_is_greeted() {
    for teaser in [false, true] {
        let settings = format!("[smtp]\ngreeting_delay = \"1s\"\ngreeting_teaser = {teaser}\n");
        let gateway = start(PLAIN, PLAIN, &settings);
        let began = Instant::now();
        let mut early = Client::connect(gateway.smtp);
        early.say("EHLO client.example");
        let left = Client::connect(gateway.smtp);
        let mut patient = Client::connect(gateway.smtp);
        drop(left);

        let tease = if teaser {
            "220-mayfly.test Please wait\r\n"
        } else {
            ""
        };
        let said = patient.reply();
        assert!(
            began.elapsed() >= Duration::from_secs(1),
            "too early: {said}"
        );
        assert_eq!(said, format!("{tease}220 mayfly.test ESMTP mayfly\r\n"));
        patient.ask("EHLO client.example", "250");
        patient.ask("QUIT", "221");
        let said = early.rest();
        assert!(said.starts_with(&format!("{tease}554 5.5.0 ")), "{said}");
        assert_eq!(said.lines().count(), 1 + usize::from(teaser), "{said}");

        gateway.await_rest(0);
        assert_eq!(gateway.metric(REFUSED, "early_talker"), 1);
        assert_eq!(gateway.metric("mayfly_smtp_connections_total", ""), 3);
        assert_eq!(
            gateway.metric("mayfly_smtp_sessions_ended_total", "lost"),
            1
        );
        assert_eq!(
            gateway.metric("mayfly_smtp_sessions_ended_total", "quit"),
            1
        );
        assert_eq!(gateway.metric("mayfly_smtp_commands_total", "ehlo"), 1);
    }
}

#[test]
fn who_waits_for_a_greeting_counts_and_gets_a_last_word_when_the_process_stops() {
    let list = "[\"127.0.0.1:0\", { address = \"127.0.0.1:0\", proxy_from = [\"127.0.0.0/8\"] }]";
    let settings = "
[smtp]
greeting_delay = \"4m\"
[admission]
connections_per_client_max = 2
[clients]
exempt = []
[server]
shutdown_grace = \"50s\"
";
    let mut gateway = start(list, PLAIN, settings);
    let behind_proxy = addresses(&mut gateway, "smtp")[1];
    let mut waiting = Client::connect(gateway.smtp);
    gateway.await_metric("mayfly_smtp_connections", "", 1);
    // TLS clients speak first, and so does a proxy: they do not wait.
    Client::connect(gateway.smtps)
        .start_tls()
        .greet()
        .ask("QUIT", "221");
    let mut proxied = Client::connect(behind_proxy);
    proxied.raw(&tcp4([192, 0, 2, 7], b""));
    proxied.greet().ask("QUIT", "221");
    gateway.await_metric("mayfly_smtp_connections", "", 1);

    let second = Client::connect(gateway.smtp);
    gateway.await_metric("mayfly_smtp_connections", "", 2);
    let mut third = Client::connect(gateway.smtp);
    third.expect("421 4.7.0");
    drop(second);

    gateway.signal("TERM");
    let said = waiting.rest();
    assert!(said.starts_with("421 4.3.2"), "{said}");
    let began = Instant::now();
    assert!(gateway.wait().success());
    assert!(
        began.elapsed() < Duration::from_secs(40),
        "nobody is waited for"
    );
}

/// The last reply, the close_notify and the end leave together.
#[test]
fn the_end_of_a_session_is_said_inside_tls() {
    let gateway = Gateway::start("[smtp]\nerrors_max = 1\n");
    for last_words in ["QUIT", "NOOP\r\nQUIT", "GIMME\r\nGIMME"] {
        let mut client = Client::connect(gateway.smtps).start_tls();
        client.expect("220");
        client.say(last_words);
        assert!(client.ends_well(), "{last_words}, from the first byte");

        let mut client = Client::connect(gateway.smtp);
        client.greet().ask("STARTTLS", "220");
        let mut client = client.start_tls();
        client.say(last_words);
        assert!(client.ends_well(), "{last_words}, after STARTTLS");
    }
}
