//! Mailboxes whose mail is encrypted before it is stored, opened with a program that knows nothing of ours: age.
#![cfg(feature = "server")]

mod gateway;

use gateway::{Client, Events, Gateway};
use mayfly::edge::seal;
use mayfly::mail::{EncryptionKey, Ledger};
use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// An identity of age, in a file that is gone at the end.
struct Identity {
    file: PathBuf,
    recipient: String,
}

impl Identity {
    fn new(name: &str) -> Self {
        let file = std::env::temp_dir().join(format!("mayfly-age-{name}-{}", std::process::id()));
        let _ = std::fs::remove_file(&file);
        let made = Command::new("age-keygen").arg("-o").arg(&file).output();
        let made = made.expect("age is there: tests/setup installs it");
        assert!(made.status.success(), "{made:?}");
        let text = std::fs::read_to_string(&file).expect("written");
        let recipient = text
            .lines()
            .find_map(|line| line.strip_prefix("# public key: "));
        Self {
            recipient: recipient.expect("a recipient").to_owned(),
            file,
        }
    }

    fn key(&self) -> EncryptionKey {
        EncryptionKey::parse(&self.recipient).expect("a recipient")
    }

    /// What age makes of a file of ours; `None` if it refuses it.
    fn opened(&self, sealed: &[u8]) -> Option<Vec<u8>> {
        let mut age = Command::new("age")
            .arg("--decrypt")
            .arg("--identity")
            .arg(&self.file)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("age is there: tests/setup installs it");
        let mut input = age.stdin.take().expect("it is piped");
        let sealed = sealed.to_vec();
        // It may refuse a file before it has read all of it.
        let writer = std::thread::spawn(move || drop(input.write_all(&sealed)));
        let output = age.wait_with_output().expect("it ends");
        writer.join().expect("written");
        output.status.success().then_some(output.stdout)
    }
}

impl Drop for Identity {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.file);
    }
}

fn create(gateway: &Gateway, local_part: &str, identity: &Identity) -> (String, String) {
    let key = &identity.recipient;
    gateway.create_with(&format!(
        "{{\"local_part\":\"{local_part}\",\"encryption_key\":\"{key}\"}}"
    ))
}

fn raw(gateway: &Gateway, token: &str) -> gateway::Answer {
    gateway.get("/api/v1/messages/1/raw", token)
}

#[test]
fn age_opens_what_we_seal_and_nothing_that_was_changed() {
    let identity = Identity::new("sizes");
    let chunk = 64 << 10;
    let ledger = Ledger::new(1 << 20);
    for length in [0, 1, chunk - 1, chunk, chunk + 1, 2 * chunk, 200_000] {
        let plain: Vec<u8> = (0..length).map(|at| (at % 251) as u8).collect();
        let sealed = seal::seal(plain.chunks(7_777), length, &identity.key(), &ledger);
        let sealed = sealed.expect("sealed").head(usize::MAX);
        let opened = identity.opened(&sealed).expect("age opens it");
        assert!(opened == plain, "{length}");
        for place in [30, sealed.len() / 2, sealed.len() - 1] {
            let mut changed = sealed.clone();
            changed[place] ^= 1;
            assert_eq!(identity.opened(&changed), None, "{length} at {place}");
        }
        assert_eq!(identity.opened(&sealed[..sealed.len() - 1]), None);
    }
    let other = Identity::new("other");
    let sealed = seal::seal(std::iter::empty(), 0, &identity.key(), &ledger);
    assert_eq!(
        other.opened(&sealed.expect("sealed").head(usize::MAX)),
        None
    );
}

#[test]
fn only_the_holder_of_the_identity_reads_the_mail() {
    let gateway = Gateway::start("");
    let identity = Identity::new("holder");
    let (address, token) = create(&gateway, "sealed", &identity);
    let mailbox = gateway.get("/api/v1/mailbox", &token).json();
    assert_eq!(mailbox["encrypted"], true);
    let mut events = Events::open(gateway.http, &token);
    let content =
        "From: a@sender.example\r\nSubject: Your code is 482913\r\n\r\nThe code is 482913\r\n";
    let reply = gateway.deliver(&address, content);
    assert!(reply.starts_with("250 2.0.0"), "{reply}");
    let seen = events.next().expect("an event").data;
    for message in [&seen, &gateway.list(&token)[0]] {
        assert_eq!(message["encrypted"], true, "{message}");
        for field in ["from", "subject", "codes", "links"] {
            assert!(message[field].is_null(), "{field} of {message}");
        }
        assert!(!message.to_string().contains("482913"));
    }
    let answer = raw(&gateway, &token);
    let head = answer.head.to_ascii_lowercase();
    assert!(
        head.contains("content-type: application/octet-stream"),
        "{head}"
    );
    assert!(head.contains(".eml.age\""), "{head}");
    let opened = identity.opened(&answer.body).expect("age opens it");
    let opened = String::from_utf8(opened).expect("text");
    assert!(opened.starts_with("Return-Path: <sender@client.example>\r\nReceived: from"));
    assert!(opened.ends_with(&format!("{content}\r\n")), "{opened}");
    let detail = gateway.get("/api/v1/messages/1", &token).json();
    assert_eq!(detail["encrypted"], true, "{detail}");
    assert!(
        detail["envelope"]["from"].is_null() && detail["text"] == "",
        "{detail}"
    );
    for part in ["/text", "/html", "/headers", "/attachments/0"] {
        let refused = gateway.get(&format!("/api/v1/messages/1{part}"), &token);
        assert_eq!(
            (refused.status, refused.field("code")),
            (409, "encrypted".to_owned()),
            "{part}"
        );
    }
    let path = "/api/v1/messages/1/view";
    let refused = gateway::request(gateway.http, "POST", path, Some(&token), "");
    assert_eq!(
        (refused.status, refused.field("code")),
        (409, "encrypted".to_owned())
    );
    assert_eq!(gateway.delete("/api/v1/messages/1", &token).status, 204);
}

#[test]
fn each_recipient_gets_it_as_they_want_it() {
    let gateway = Gateway::start(
        "[[attachments.domains]]\ndomains = [\"mayfly.test\"]\npolicy = \"strip\"\n",
    );
    let (one, two) = (Identity::new("one"), Identity::new("two"));
    // Several of each kind, so that both cores own some.
    let sealed: Vec<_> = (0..4)
        .map(|nth| {
            let identity = if nth % 2 == 0 { &one } else { &two };
            (
                create(&gateway, &format!("sealed-{nth}"), identity),
                identity,
            )
        })
        .collect();
    let plain: Vec<_> = (0..3)
        .map(|nth| gateway.create(&format!("plain-{nth}")))
        .collect();
    let mut to: Vec<&str> = sealed
        .iter()
        .map(|((address, _), _)| address.as_str())
        .collect();
    to.extend(plain.iter().map(|(address, _)| address.as_str()));
    let content = "Content-Type: application/pdf; name=a.pdf\r\n\r\nSECRET\r\n";
    let reply = Client::connect(gateway.smtp).deliver(&to, content.as_bytes());
    assert!(reply.starts_with("250 2.0.0"), "{reply}");
    for (_, token) in &plain {
        let text = raw(&gateway, token).text();
        assert!(
            text.contains("Name: a.pdf") && !text.contains("SECRET"),
            "{text}"
        );
    }
    for ((_, token), identity) in &sealed {
        let file = raw(&gateway, token).body;
        let opened = identity.opened(&file).expect("age opens it");
        let text = String::from_utf8(opened).expect("text");
        assert!(
            text.contains("Name: a.pdf") && !text.contains("SECRET"),
            "{text}"
        );
    }
    let files: Vec<Vec<u8>> = sealed
        .iter()
        .map(|((_, token), _)| raw(&gateway, token).body)
        .collect();
    assert_eq!(one.opened(&files[1]), None);
    assert_eq!(two.opened(&files[0]), None);
}

#[test]
fn without_memory_for_the_encrypted_copy_nothing_is_stored() {
    let gateway = Gateway::start(
        "[store]\nmemory = \"700 KiB\"\n[smtp]\nmessage_bytes_max = \"600 KiB\"\n[pressure]\npin = \"normal\"\n",
    );
    let identity = Identity::new("memory");
    let (sealed, sealed_token) = create(&gateway, "sealed", &identity);
    let (plain, plain_token) = gateway.create("plain");
    let large = format!(
        "Subject: s\r\n\r\n{}",
        "all work and no play\r\n".repeat(20_000)
    );
    let mut client = Client::connect(gateway.smtp);
    let reply = client.deliver(&[&plain, &sealed], large.as_bytes());
    assert!(reply.starts_with("452 4.3.1"), "{reply}");
    for token in [&sealed_token, &plain_token] {
        assert!(gateway.list(token).is_empty());
    }
    // The same for the other alone fits.
    client
        .begin(&[&plain])
        .raw(format!("{large}.\r\n").as_bytes());
    client.expect("250 2.0.0");
    assert_eq!(gateway.list(&plain_token).len(), 1);
}

#[test]
fn a_mailbox_is_encrypted_from_its_first_message_on_or_not_at_all() {
    let gateway = Gateway::start("[recipients]\naccept = \"any\"\n");
    let identity = Identity::new("first");
    gateway.deliver("early@mayfly.test", "Subject: s\r\n\r\nin the clear\r\n");
    let key = &identity.recipient;
    let asked = |local_part: &str, key: &str| {
        let fields = format!("{{\"local_part\":\"{local_part}\",\"encryption_key\":\"{key}\"}}");
        let answer = gateway.post("/api/v1/mailboxes", &fields);
        (answer.status, answer.json()["field"].clone())
    };
    assert_eq!(asked("early", key).0, 409);
    assert_eq!(asked("later", key).0, 201);
    // No recipient; one of another kind; one whose secrets everybody knows.
    for wrong in [
        "age1",
        "ssh-ed25519 AAAA",
        &key.replace("age1", "age1pq1"),
        "age1qqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqq5cu47z",
        "age1qyqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqj7vrya",
    ] {
        let (status, field) = asked("wrong", wrong);
        assert_eq!(
            (status, field.as_str()),
            (422, Some("encryption_key")),
            "{wrong}"
        );
    }
}
