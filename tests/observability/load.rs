//! Traffic of every kind that the dashboards show: mail that is taken and mail that is not, good clients and bad ones, holders.

use crate::gateway::{Client, Events, Gateway, request};
use crate::receiver::Receiver;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

/// Where traffic goes.
#[derive(Clone, Copy, Debug)]
struct Target {
    smtp: SocketAddr,
    smtps: SocketAddr,
    http: SocketAddr,
}

/// Traffic that goes on until this is dropped.
pub struct Load {
    stop: Vec<Sender<()>>,
    threads: Vec<JoinHandle<()>>,
    /// Is told of mail.
    _receiver: Receiver,
}

/// What one client does again and again, and how long it rests between.
type Habit = (fn(Target, u32), Duration);

const HABITS: [Habit; 6] = [
    (mail, Duration::from_millis(40)),
    (mail_in_tls, Duration::from_millis(250)),
    (nonsense, Duration::from_millis(200)),
    (holder, Duration::from_millis(150)),
    (breaking_off, Duration::from_millis(300)),
    (greed, Duration::from_millis(400)),
];

impl Load {
    pub fn start(gateway: &Gateway) -> Self {
        let target = Target {
            smtp: gateway.smtp,
            smtps: gateway.smtps,
            http: gateway.http,
        };
        let (_, told_of) = create(target, r#"{"local_part":"load"}"#);
        let receiver = Receiver::start();
        // It says no twice, and then yes.
        call_back(target, &told_of, &receiver.url("/third"));
        let (_, watched) = create(target, r#"{"local_part":"quiet"}"#);
        let mut load = Self {
            stop: Vec::new(),
            threads: Vec::new(),
            _receiver: receiver,
        };
        for (habit, rest) in HABITS {
            let watched = watched.clone();
            let (stop, stopped) = channel();
            load.stop.push(stop);
            load.threads.push(std::thread::spawn(move || {
                let _stream = Events::open(target.http, &watched);
                let _idle: [Client; 4] = std::array::from_fn(|_| Client::connect(target.smtp));
                let mut round = 0;
                // More and less by turns, so that there is something to see.
                while stopped.recv_timeout(rest * (1 + round / 20 % 3))
                    == Err(RecvTimeoutError::Timeout)
                {
                    habit(target, round);
                    round += 1;
                }
            }));
        }
        load
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.stop.clear();
        for thread in self.threads.drain(..) {
            assert!(
                thread.join().is_ok() || std::thread::panicking(),
                "the load broke off"
            );
        }
    }
}

fn create(target: Target, fields: &str) -> (String, String) {
    let answer = request(target.http, "POST", "/api/v1/mailboxes", None, fields);
    assert_eq!(answer.status, 201, "{}", answer.text());
    (answer.field("address"), answer.field("token"))
}

fn call_back(target: Target, token: &str, url: &str) {
    let body = serde_json::json!({ "url": url }).to_string();
    let path = "/api/v1/mailbox/webhook";
    let answer = request(target.http, "PUT", path, Some(token), &body);
    assert_eq!(answer.status, 200, "{}", answer.text());
}

fn text(bytes: usize) -> Vec<u8> {
    let mut text = b"Subject: load\r\n\r\n".to_vec();
    while text.len() < bytes {
        text.extend_from_slice(b"A line of a message that nobody reads.\r\n");
    }
    text
}

/// Messages of all sizes.
fn mail(target: Target, round: u32) {
    let bytes = [300, 900, 3_000, 5_000, 20_000, 90_000][round as usize % 6];
    let mut client = Client::connect(target.smtp);
    client.greet();
    for _ in 0..3 {
        client.begin(&["load@mayfly.test"]);
        client.raw(&text(bytes));
        client.raw(b".\r\n");
        client.expect("250");
    }
    client.ask("QUIT", "221");
}

fn mail_in_tls(target: Target, round: u32) {
    let mut client = if round.is_multiple_of(3) {
        Client::connect(target.smtps).start_tls()
    } else {
        let mut client = Client::connect(target.smtp);
        client.greet().ask("STARTTLS", "220");
        client = client.start_tls();
        client.ask("EHLO client.example", "250");
        client.begin(&["load@mayfly.test"]).raw(&text(2_000));
        client.raw(b".\r\n");
        client.expect("250");
        client.ask("QUIT", "221");
        return;
    };
    client.greet().ask("QUIT", "221");
}

/// Clients that want what there is not, or say what makes no sense.
fn nonsense(target: Target, _: u32) {
    let mut client = Client::connect(target.smtp);
    client.greet();
    client.ask("VRFY somebody", "252");
    client.ask("GIMME", "5");
    client.ask("DATA", "503");
    client.ask("MAIL FROM:<a@b.example> SIZE=999999999", "552");
    client.ask("MAIL FROM:<a@b.example>", "250");
    client.ask("RSET", "250");
    client.ask("MAIL FROM:<a@b.example>", "250");
    client.ask("RCPT TO:<nobody@mayfly.test>", "550");
    client.ask("RCPT TO:<somebody@elsewhere.example>", "550");
    client.ask("RCPT TO:<load@mayfly.test>", "250");
    client.ask("DATA", "354");
    client.raw(b"Subject: bare\n\r\n.\r\n");
    client.expect("550");
    client.ask("QUIT", "221");
    // One that cannot shake hands.
    let mut client = Client::connect(target.smtps);
    client.raw(b"EHLO in.the.clear\r\n");
    client.rest();
}

/// Whoever has a mailbox: looks, waits, deletes; and whoever has none and tries.
fn holder(target: Target, round: u32) {
    let terms = match round % 4 {
        0 => r#"{"messages_max":1}"#,
        _ => r#"{"ttl":1}"#,
    };
    let (address, token) = create(target, terms);
    let mut client = Client::connect(target.smtp);
    client.deliver(&[&address], b"Subject: hello\r\n\r\n123456 is your code");
    client.ask("QUIT", "221");
    let get = |path: &str| request(target.http, "GET", path, Some(&token), "").status;
    for path in [
        "/api/v1/mailbox",
        "/api/v1/messages",
        "/api/v1/messages/1",
        "/api/v1/mailbox/webhook",
        "/",
        "/nowhere",
    ] {
        get(path);
    }
    if round % 3 == 1 {
        request(
            target.http,
            "DELETE",
            "/api/v1/messages/1",
            Some(&token),
            "",
        );
        request(target.http, "DELETE", "/api/v1/mailbox", Some(&token), "");
    }
    request(target.http, "POST", "/api/v1/mailboxes", None, "{]");
}

/// One client that wants more connections than are its share.
fn greed(target: Target, _: u32) {
    let mut clients: [Client; 5] = std::array::from_fn(|_| {
        Client::connect_from(Ipv4Addr::new(127, 0, 0, 9).into(), target.smtp)
    });
    for client in &mut clients {
        if client.reply().starts_with("220") {
            client.ask("QUIT", "221");
        }
    }
}

/// Clients that go away, in each stage.
fn breaking_off(target: Target, round: u32) {
    if round.is_multiple_of(5) {
        drop(TcpStream::connect(target.smtp));
        return;
    }
    let mut client = Client::connect(target.smtp);
    client.greet();
    match round % 3 {
        0 => {}
        1 => drop(client.ask("MAIL FROM:<a@b.example>", "250")),
        _ => client
            .begin(&["load@mayfly.test"])
            .raw(b"Subject: half\r\n"),
    }
}
