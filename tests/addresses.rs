//! One address in many spellings, from the API through SMTP to the trace headers.
#![cfg(feature = "server")]

mod gateway;

use gateway::{Client, Gateway};
use mail_parser::{Host, MessageParser, Protocol, TlsVersion};
use mayfly::mail::message::QueueId;
use mayfly::mail::trace::{Protection, Trace, With};
use mayfly::mail::{Address, Recipient, ReversePath};
use std::net::IpAddr;

const SETTINGS: &str = "[recipients]\ndomains = [\"mayfly.test\", \"B\u{fc}cher.Test\"]\nsubdomains = true\nsubaddress_separators = \"+-\"\n";

#[test]
fn m10_every_spelling_is_the_same_mailbox_to_the_api_and_to_smtp() {
    let gateway = Gateway::start(SETTINGS);
    let create = |local_part: &str, domain: &str| {
        let fields = format!("{{\"local_part\":\"{local_part}\",\"domain\":\"{domain}\"}}");
        gateway.post("/api/v1/mailboxes", &fields)
    };
    let made = create("U1", "BU\u{308}CHER.test.");
    assert_eq!(made.status, 201, "{}", made.text());
    assert_eq!(made.field("address"), "u1@xn--bcher-kva.test");
    assert_eq!(made.field("address_unicode"), "u1@b\u{fc}cher.test");
    let token = made.field("token");
    for (local_part, domain, status, field) in [
        ("u1", "xn--bcher-kva.test", 409, None),
        ("\u{ff35}\u{ff11}", "b\u{fc}cher\u{3002}test", 409, None),
        ("\\\"u1\\\"", "XN--BCHER-KVA.TEST", 409, None),
        ("u1+tag", "b\u{fc}cher.test", 422, Some("local_part")),
        ("u1-tag", "b\u{fc}cher.test", 422, Some("local_part")),
        (
            "\u{ff50}ostmaster",
            "sub.b\u{fc}cher.test",
            422,
            Some("local_part"),
        ),
        ("a\u{ff20}b", "mayfly.test", 422, Some("local_part")),
        ("u1@mayfly.test", "mayfly.test", 422, Some("local_part")),
        ("u1", "blu\u{308}te.test", 422, Some("domain")),
        ("\\\"a", "b\\\"@mayfly.test", 422, Some("domain")),
        ("u1", "", 422, Some("domain")),
    ] {
        let refused = create(local_part, domain);
        assert_eq!(
            refused.status,
            status,
            "{local_part}@{domain}: {}",
            refused.text()
        );
        assert_eq!(
            refused.json()["field"].as_str(),
            field,
            "{local_part}@{domain}"
        );
    }
    let below = create("u1", "sub.b\u{fc}cher.test");
    assert_eq!(
        below.field("address"),
        "u1@sub.xn--bcher-kva.test",
        "a mailbox of its own"
    );
    let drawn = gateway.create_with("{\"domain\":\"a.mayfly.test\"}").0;
    assert!(
        drawn.ends_with("@a.mayfly.test") && !drawn.contains('-'),
        "{drawn}"
    );

    // Two tags of one mailbox are one recipient.
    let to = ["U1+shop@XN--bcher-KVA.test", "u1-news@xn--bcher-kva.test"];
    let reply = Client::connect(gateway.smtp).deliver(&to, b"Subject: x\r\n\r\n");
    assert!(reply.starts_with("250"), "{reply}");
    assert_eq!(gateway.held(&token), 1);
    assert_eq!(gateway.held(&below.field("token")), 0);
    each_is_answered(&gateway, &drawn);
}

fn each_is_answered(gateway: &Gateway, drawn: &str) {
    let mut client = Client::connect(gateway.smtp);
    client.greet().ask("MAIL FROM:<>", "250");
    for (path, reply) in [
        (drawn, "250 2.1.5"),
        ("postmaster+x@sub.mayfly.test", "250 2.1.5"),
        ("u2@xn--bcher-kva.test", "550 5.1.1"),
        ("u1@xn--bcher-kva.test.example", "550 5.7.1"),
        ("u1@b\u{fc}cher.test", "553 5.6.7"),
        ("\u{ff35}1@xn--bcher-kva.test", "553 5.6.7"),
        ("u1\u{ff20}@xn--bcher-kva.test", "501 5.1.3"),
    ] {
        client.ask(&format!("RCPT TO:<{path}>"), reply);
    }
    client.ask("QUIT", "221");
}

#[test]
fn the_trace_names_the_tag_and_what_tls_agreed_on() {
    let gateway = Gateway::start("");
    let (_, token) = gateway.create("may");
    let mut client = Client::connect(gateway.smtp);
    client.greet().ask("STARTTLS", "220");
    let mut client = client.start_tls();
    client.ask("EHLO client.example", "250");
    client.begin(&["May+Shop@mayfly.test"]);
    // What claims to be final delivery elsewhere stays where it is: content is not changed (RFC 5321 section 4.4).
    let sent = "Return-Path: <forged@x.example>\r\nSubject: x\r\n\r\nbody\r\n";
    client.raw(sent.as_bytes());
    client.ask(".", "250 2.0.0");
    client.ask("QUIT", "221");

    let id = gateway.list(&token)[0]["id"]
        .as_str()
        .expect("an id")
        .to_owned();
    let raw = gateway
        .get(&format!("/api/v1/messages/{id}/raw"), &token)
        .text();
    let trace = raw
        .strip_suffix(sent)
        .expect("the content is as it was sent");
    assert!(
        trace.starts_with("Return-Path: <sender@client.example>\r\nReceived: "),
        "{trace}"
    );
    assert_eq!(trace.matches("Return-Path:").count(), 1, "{trace}");
    assert!(trace.contains(" for <may+shop@mayfly.test>; "), "{trace}");
    assert!(trace.contains("(TLS1.3 TLS_AES_"), "{trace}");
    let parsed = MessageParser::new().parse(&raw).expect("a message");
    let received = parsed.received().expect("a Received field");
    assert_eq!(received.with, Some(Protocol::ESMTPS));
    assert_eq!(received.tls_version, Some(TlsVersion::TLSv1_3));
    assert_eq!(received.for_.as_deref(), Some("may+shop@mayfly.test"));
    let shown = gateway.get(&format!("/api/v1/messages/{id}"), &token);
    assert_eq!(shown.json()["envelope"]["to"], "may@mayfly.test");
}

/// The header as others read it: every part is found where the grammar of RFC 5321 section 4.4 has it.
#[test]
fn a_parser_of_mail_reads_what_the_trace_says() {
    let tls12 = Protection {
        version: "1.2",
        cipher: "ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
    };
    let tls13 = Protection {
        version: "1.3",
        cipher: "AES_256_GCM_SHA384",
    };
    let long = format!("{}.test", vec!["a".repeat(60); 3].join("."));
    for (with, tls, helo, client, to, protocol) in [
        (
            With::Smtp,
            None,
            "client.example",
            "192.0.2.1",
            None,
            Protocol::SMTP,
        ),
        (
            With::Esmtp,
            None,
            "[192.0.2.1]",
            "::ffff:192.0.2.1",
            Some("u@mx.test"),
            Protocol::ESMTP,
        ),
        (
            With::Esmtps,
            Some(tls12),
            &*long,
            "2001:db8:1111:2222:3333:4444:5555:6666",
            Some("\"a b;\"@mx.test"),
            Protocol::ESMTPS,
        ),
        (
            With::Esmtps,
            Some(tls13),
            "client.example",
            "192.0.2.1",
            None,
            Protocol::ESMTPS,
        ),
        (
            With::Utf8Smtp,
            None,
            "client.example",
            "192.0.2.1",
            Some("\u{fc}@b\u{fc}cher.test"),
            Protocol::UTF8SMTP,
        ),
        (
            With::Utf8Smtps,
            Some(tls13),
            "client.example",
            "::1",
            Some("\u{fc}+x@b\u{fc}cher.test"),
            Protocol::UTF8SMTPS,
        ),
    ] {
        is_read_back(protocol, with, tls, helo, client, to);
    }
}

fn is_read_back(
    protocol: Protocol,
    with: With,
    tls: Option<Protection>,
    helo: &str,
    client: &str,
    to: Option<&str>,
) {
    let recipient = to.map(|to| Recipient::Address(Address::parse(to).expect("an address")));
    let text = Trace {
        reverse_path: &ReversePath::Address("gr\u{fc}n@bl\u{fc}te.test".into()),
        helo,
        client: client.parse().expect("an IP address"),
        hostname: "mx.test",
        with,
        tls,
        queue_id: QueueId::from_random(7),
        only_recipient: recipient.as_ref(),
        date: "Sun, 22 Nov 2026 10:00:00 +0000",
    }
    .headers();
    let shown = String::from_utf8(text.clone()).expect("UTF-8");
    for line in shown.split_terminator("\r\n") {
        let words = line.split(' ').filter(|word| !word.is_empty()).count();
        assert!(line.len() <= 78 || words <= 2, "{line}");
    }
    let whole = [&text[..], b"Subject: x\r\n\r\nbody\r\n"].concat();
    let message = MessageParser::new().parse(&whole).expect("a message");
    assert_eq!(message.subject(), Some("x"), "{shown}");
    let received = message.received().expect("a Received field");
    assert_eq!(received.with, Some(protocol), "{shown}");
    assert_eq!(received.by, Some(Host::Name("mx.test".into())), "{shown}");
    let address: IpAddr = client.parse().expect("an IP address");
    assert_eq!(received.from_ip, Some(address.to_canonical()), "{shown}");
    assert_eq!(
        received.id.as_deref(),
        Some(QueueId::from_random(7).as_str()),
        "{shown}"
    );
    assert!(
        received
            .date
            .is_some_and(|date| date.to_rfc3339() == "2026-11-22T10:00:00Z"),
        "{shown}"
    );
    let version = tls.map(|tls| match tls.version {
        "1.2" => TlsVersion::TLSv1_2,
        _ => TlsVersion::TLSv1_3,
    });
    assert_eq!(received.tls_version, version, "{shown}");
    let cipher = tls.map(|tls| format!("TLS_{}", tls.cipher));
    assert_eq!(received.tls_cipher.as_deref(), cipher.as_deref(), "{shown}");
    // This parser knows no quoted local parts; that the date behind one is found shows that it is no danger to the rest.
    let expected = match &recipient {
        Some(Recipient::Address(address)) if !address.local().starts_with('"') => {
            Some(address.as_str())
        }
        _ => None,
    };
    assert_eq!(received.for_.as_deref(), expected, "{shown}");
    let path = if with == With::Utf8Smtp || with == With::Utf8Smtps {
        "gr\u{fc}n@bl\u{fc}te.test"
    } else {
        "gr??n@bl??te.test"
    };
    assert!(
        shown.starts_with(&format!("Return-Path: <{path}>\r\nReceived: from")),
        "{shown}"
    );
}
