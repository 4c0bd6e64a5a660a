//! Clients that other people wrote: swaks and openssl's s_client, with every kind of TLS.
#![cfg(feature = "server")]

mod gateway;

use gateway::tools::{program, run, said, succeed};
use gateway::{Gateway, Ports, poll};
use std::net::SocketAddr;
use std::path::Path;

/// What swaks is told about TLS, and whether that means the listener with TLS from the first byte.
const TLS: &[(&str, &[&str], bool)] = &[
    (
        "starttls 1.2",
        &["--tls", "--tls-protocol", "tlsv1_2"],
        false,
    ),
    (
        "starttls 1.3",
        &["--tls", "--tls-protocol", "tlsv1_3"],
        false,
    ),
    (
        "implicit 1.2",
        &["--tls-on-connect", "--tls-protocol", "tlsv1_2"],
        true,
    ),
    (
        "implicit 1.3",
        &["--tls-on-connect", "--tls-protocol", "tlsv1_3"],
        true,
    ),
];

fn swaks(to: SocketAddr, address: &str, subject: &str, more: &[&str]) {
    let mut swaks = program("swaks");
    swaks.args([
        "--server",
        &to.ip().to_string(),
        "--port",
        &to.port().to_string(),
    ]);
    swaks.args([
        "--helo",
        "client.example",
        "--from",
        "swaks@client.example",
        "--to",
        address,
    ]);
    swaks.args(["--header", &format!("Subject: {subject}")]);
    swaks.args(["--body", &format!("line one of {subject}\n.line two")]);
    succeed(swaks.args(more), "");
}

#[test]
fn swaks_delivers_in_the_clear_and_with_every_kind_of_tls() {
    let gateway = Gateway::start("");
    let (address, token) = gateway.create("swaks");
    swaks(gateway.smtp, &address, "clear", &[]);
    for (subject, more, implicit) in TLS {
        let to = if *implicit {
            gateway.smtps
        } else {
            gateway.smtp
        };
        swaks(to, &address, subject, more);
    }
    let list = gateway.list(&token);
    let subjects = ["clear"]
        .into_iter()
        .chain(TLS.iter().map(|(subject, ..)| *subject));
    assert_eq!(list.len(), 1 + TLS.len());
    for (message, subject) in list.iter().zip(subjects) {
        let tls = subject != "clear";
        assert_eq!(message["subject"], subject);
        assert_eq!(message["tls"], tls, "{subject}");
        let id = message["id"].as_str().expect("an id");
        let raw = gateway
            .get(&format!("/api/v1/messages/{id}/raw"), &token)
            .text();
        assert!(
            raw.contains(&format!("line one of {subject}\r\n.line two\r\n")),
            "{raw}"
        );
        let words: Vec<&str> = raw.split_whitespace().collect();
        let with = ["with", if tls { "ESMTPS" } else { "ESMTP" }];
        assert!(
            words.windows(2).any(|pair| pair == with),
            "{subject}: {raw}"
        );
    }
    let handshakes = |how: &str| gateway.metric("mayfly_tls_handshakes_total", how);
    assert_eq!(
        (handshakes("full"), handshakes("failed")),
        (TLS.len() as u64, 0)
    );
    for (label, version) in [("tls12", " 1.2"), ("tls13", " 1.3")] {
        let expected = TLS.iter().filter(|it| it.0.ends_with(version)).count();
        assert_eq!(handshakes(label), expected as u64, "{label}");
    }
    let accepted = gateway.metric("mayfly_messages_accepted_total", "");
    for name in ["transaction", "data"] {
        let observed = format!("mayfly_smtp_{name}_duration_seconds_count");
        assert_eq!(gateway.metric(&observed, ""), accepted, "{name}");
    }
    let ended = gateway.metric("mayfly_smtp_sessions_ended_total", "");
    gateway.await_metric("mayfly_smtp_session_duration_seconds_count", "", ended);
}

/// Runs s_client up to QUIT; says whether it could, and what it said.
fn s_client(to: SocketAddr, arguments: &[&str]) -> (bool, String) {
    let mut client = program("openssl");
    client
        .args(["s_client", "-connect", &to.to_string(), "-crlf", "-ign_eof"])
        .args(arguments);
    let output = run(&mut client, "QUIT\n");
    (output.status.success(), said(&output))
}

const STARTTLS: [&str; 2] = ["-starttls", "smtp"];

#[test]
fn a_session_is_resumed_at_its_listener_and_at_no_other() {
    let gateway = Gateway::start("");
    for version in ["-tls1_2", "-tls1_3"] {
        let at = |starttls: bool, more: &[&str]| {
            let to = if starttls {
                gateway.smtp
            } else {
                gateway.smtps
            };
            let mut arguments: Vec<&str> = if starttls {
                STARTTLS.into()
            } else {
                Vec::new()
            };
            arguments.push(version);
            arguments.extend_from_slice(more);
            s_client(to, &arguments)
        };
        for starttls in [true, false] {
            let file = gateway.folder().join(format!("ticket{version}{starttls}"));
            let file = file.to_str().expect("text");
            let (done, said) = at(starttls, &["-sess_out", file]);
            assert!(
                done && said.contains("221 2.0.0") && said.contains("\nNew, "),
                "{said}"
            );
            let (done, said) = at(starttls, &["-sess_in", file]);
            assert!(
                done && said.contains("221 2.0.0") && said.contains("\nReused, "),
                "{said}"
            );
            // At the other one the ticket is worth nothing, and does no harm.
            let (done, said) = at(!starttls, &["-sess_in", file]);
            assert!(
                done && said.contains("221 2.0.0") && said.contains("\nNew, "),
                "{said}"
            );
        }
    }
    assert_eq!(gateway.metric("mayfly_tls_handshakes_total", "resumed"), 4);
    assert_eq!(gateway.metric("mayfly_tls_handshakes_total", "full"), 8);
    assert_eq!(gateway.metric("mayfly_tls_handshakes_total", "tls12"), 6);
}

#[test]
fn d13_a_ticket_of_one_listener_is_worth_nothing_at_another_of_its_kind() {
    let two = "[\"127.0.0.1:0\", \"127.0.0.1:0\"]";
    let variables = [
        ("MAYFLY__LISTEN__SMTP", two),
        ("MAYFLY__LISTEN__SMTPS", two),
    ];
    let mut gateway = Gateway::try_start(Ports::FREE, "", &variables).expect("it starts");
    let said = gateway.said().to_owned();
    let ticket = gateway.folder().join("ticket");
    let ticket = ticket.to_str().expect("text");
    for (name, starttls) in [("smtp", &STARTTLS[..]), ("smtps", &[][..])] {
        let line = said
            .lines()
            .find(|line| line.split_whitespace().next() == Some(name));
        let words = line.expect("it is named").split_whitespace();
        let [first, second]: [SocketAddr; 2] = words
            .filter_map(|word| word.parse().ok())
            .collect::<Vec<_>>()
            .try_into()
            .expect("two");
        for (to, option, kind) in [
            (first, "-sess_out", "\nNew, "),
            (first, "-sess_in", "\nReused, "),
            (second, "-sess_in", "\nNew, "),
        ] {
            let (done, said) = s_client(to, &[starttls, &[option, ticket]].concat());
            assert!(
                done && said.contains("221 2.0.0") && said.contains(kind),
                "{said}"
            );
        }
    }
}

#[test]
fn what_is_too_old_or_not_mail_finds_no_tls_here() {
    let gateway = Gateway::start("");
    for (arguments, works) in [
        (&["-tls1_3"][..], true),
        (&["-tls1_1", "-cipher", "ALL:@SECLEVEL=0"][..], false),
        (&["-alpn", "http/1.1"][..], false),
        (&["-alpn", "h2,http/1.1"][..], false),
        (&["-tls1_2", "-cipher", "AES128-SHA"][..], false),
    ] {
        let (done, said) = s_client(gateway.smtps, arguments);
        assert_eq!(said.contains("221 2.0.0"), works, "{arguments:?}: {said}");
        assert_eq!(done, works, "{arguments:?}: {said}");
        let starttls = [&STARTTLS[..], arguments].concat();
        let (done, said) = s_client(gateway.smtp, &starttls);
        assert_eq!(
            (done, said.contains("221 2.0.0")),
            (works, works),
            "{starttls:?}: {said}"
        );
    }
    gateway.await_metric("mayfly_tls_handshakes_total", "failed", 8);
}

/// Makes a self-signed certificate for a name.
fn certify(folder: &Path, file: &str, name: &str) {
    let path = |kind: &str| {
        folder
            .join(format!("{file}.{kind}"))
            .to_str()
            .expect("text")
            .to_owned()
    };
    let mut openssl = program("openssl");
    openssl.args([
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:prime256v1",
        "-nodes",
    ]);
    openssl.args(["-days", "30", "-subj", &format!("/CN={name}")]);
    openssl.args(["-addext", &format!("subjectAltName=DNS:{name}")]);
    openssl.args(["-keyout", &path("key.new"), "-out", &path("pem.new")]);
    succeed(&mut openssl, "");
    // As people replace them: a file is whole, whenever it is read.
    for kind in ["key", "pem"] {
        std::fs::rename(path(&format!("{kind}.new")), path(kind)).expect("moved");
    }
}

#[test]
fn the_name_chooses_the_certificate_and_a_new_one_is_served_after_hang_up() {
    let folder = std::env::temp_dir().join(format!("mayfly-certificates-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder");
    certify(&folder, "one", "one.example");
    certify(&folder, "two", "two.example");
    let table = |file: &str| {
        let folder = folder.display();
        format!(
            "[[tls.certificates]]\nchain = \"{folder}/{file}.pem\"\nkey = \"{folder}/{file}.key\"\n"
        )
    };
    let settings = table("one") + &table("two");
    let gateway = Gateway::start(&settings);
    let shown = |arguments: &[&str]| {
        let (_, said) = s_client(gateway.smtps, arguments);
        let subject = said.lines().find_map(|line| line.strip_prefix("subject="));
        subject
            .unwrap_or_else(|| panic!("no certificate: {said}"))
            .replace(' ', "")
    };
    assert_eq!(shown(&["-servername", "one.example"]), "CN=one.example");
    assert_eq!(shown(&["-servername", "two.example"]), "CN=two.example");
    assert_eq!(shown(&["-servername", "TWO.example"]), "CN=two.example");
    assert_eq!(shown(&["-servername", "three.example"]), "CN=one.example");
    assert_eq!(shown(&["-noservername"]), "CN=one.example");

    certify(&folder, "two", "three.example");
    assert_eq!(
        shown(&["-servername", "two.example"]),
        "CN=two.example",
        "not before it is told"
    );
    gateway.reload(&settings);
    poll(|| match shown(&["-servername", "three.example"]) {
        name if name == "CN=three.example" => Ok(()),
        name => Err(format!("still {name}")),
    });
    assert_eq!(shown(&["-servername", "two.example"]), "CN=one.example");

    // A key that does not fit changes nothing.
    std::fs::copy(folder.join("one.key"), folder.join("two.key")).expect("copied");
    gateway.reload(&settings);
    gateway.await_metric("mayfly_config_last_reload_successful", "", 0);
    assert_eq!(shown(&["-servername", "three.example"]), "CN=three.example");
    std::fs::remove_dir_all(&folder).expect("removed");
}
