//! The front door: mail comes in over SMTP, is seen at once over HTTP, and goes when its time has come.
#![cfg(feature = "server")]

mod gateway;

use gateway::{Answer, Client, Events, Gateway, poll, request};
use std::time::{Duration, Instant};

/// Lines with dots where dots matter, as they are sent and as they are meant.
const SENT: &str = "Subject: a fly\r\nFrom: May <may@client.example>\r\n\r\n..\r\n...two\r\n ..space\r\n\tend \r\n";
const MEANT: &str =
    "Subject: a fly\r\nFrom: May <may@client.example>\r\n\r\n.\r\n..two\r\n ..space\r\n\tend \r\n";

#[test]
fn mail_is_seen_at_once_as_it_was_sent_and_is_gone_when_deleted() {
    let gateway = Gateway::start("");
    let (address, token) = gateway.create("may");
    assert_eq!(address, "may@mayfly.test");
    let mut events = Events::open(gateway.http, &token);
    let empty = gateway.metric("mayfly_store_bytes", "");

    let mut client = Client::connect(gateway.smtp);
    client.greet().begin(&[&address]);
    client.raw(SENT.as_bytes());
    let receipt = client.ask(".", "250 2.0.0");
    let event = events.next().expect("an event");
    assert_eq!(
        (event.name.as_str(), &event.data["subject"]),
        ("message", &"a fly".into())
    );
    let list = gateway.list(&token);
    assert_eq!(list, [event.data]);
    let id = list[0]["id"].as_str().expect("an id");
    let path = format!("/api/v1/messages/{id}");
    let detail = gateway.get(&path, &token);
    assert_eq!(detail.json()["envelope"]["from"], "sender@client.example");
    assert_eq!(detail.json()["envelope"]["to"], "may@mayfly.test");
    assert!(receipt.contains(&detail.field("queue_id")), "{receipt}");

    let raw = gateway.get(&format!("{path}/raw"), &token);
    let text = raw.text();
    let trace = text
        .strip_suffix(MEANT)
        .unwrap_or_else(|| panic!("the body has changed:\n{text}"));
    assert_eq!(fields(trace), ["Return-Path", "Received"], "{trace}");
    assert!(
        trace.starts_with("Return-Path: <sender@client.example>\r\n"),
        "{trace}"
    );
    assert_eq!(list[0]["size"], text.len());

    assert_eq!(gateway.delete(&path, &token).status, 204);
    let event = events.next().expect("an event");
    assert_eq!(
        (event.name.as_str(), event.data["id"].as_str()),
        ("removed", Some(id))
    );
    for path in [path.clone(), format!("{path}/raw")] {
        assert_eq!(gateway.get(&path, &token).status, 404);
    }
    assert_eq!(gateway.list(&token), Vec::<serde_json::Value>::new());
    client.ask("QUIT", "221");

    assert_eq!(gateway.delete("/api/v1/mailbox", &token).status, 204);
    assert_eq!(events.next().expect("an event").name, "closed");
    assert!(events.next().is_none(), "the stream ends with its mailbox");
    let mut client = Client::connect(gateway.smtp);
    client.greet().ask("MAIL FROM:<>", "250");
    client.ask("RCPT TO:<may@mayfly.test>", "550 5.1.1");
    client.ask("QUIT", "221");
    drop(events);
    assert!(
        gateway.metric("mayfly_store_bytes", "") < empty,
        "all memory is back"
    );
}

#[test]
fn a_message_in_chunks_is_kept_byte_for_byte_and_one_that_is_cut_off_is_not() {
    let gateway = Gateway::start("");
    let (address, token) = gateway.create("may");
    let empty = gateway.metric("mayfly_store_bytes", "");
    let content: Vec<u8> = (0..300_000_u32).map(|n| n.to_le_bytes()[0]).collect();

    let mut cut_off = Client::connect(gateway.smtp);
    cut_off.greet();
    cut_off.ask("MAIL FROM:<sender@client.example>", "250");
    cut_off.ask(&format!("RCPT TO:<{address}>"), "250");
    cut_off.raw(b"BDAT 100000\r\n");
    cut_off.raw(&content[..99_999]);
    drop(cut_off);

    let mut client = Client::connect(gateway.smtp);
    client.greet();
    client.ask("MAIL FROM:<sender@client.example> BODY=BINARYMIME", "250");
    client.ask(&format!("RCPT TO:<{address}>"), "250");
    let sizes = [1, 70_000, 131_072, 98_927];
    let mut start = 0;
    for size in sizes {
        let last = if size == 98_927 { " LAST" } else { "" };
        client.raw(format!("BDAT {size}{last}\r\n").as_bytes());
        client.raw(&content[start..start + size]);
        start += size;
    }
    assert_eq!(start, content.len());
    for _ in 1..sizes.len() {
        client.expect("250 2.0.0 Ok");
    }
    client.expect("250 2.0.0 Ok: held");

    let list = gateway.list(&token);
    assert_eq!(list.len(), 1);
    let id = list[0]["id"].as_str().expect("an id");
    let raw = gateway.get(&format!("/api/v1/messages/{id}/raw"), &token);
    assert!(raw.body.ends_with(&content), "the body has changed");
    assert_eq!(
        gateway
            .delete(&format!("/api/v1/messages/{id}"), &token)
            .status,
        204
    );
    poll(|| match gateway.metric("mayfly_store_bytes", "") {
        bytes if bytes <= empty + 1024 => Ok(()),
        bytes => Err(format!("{bytes} bytes are held, {empty} before")),
    });
    assert_eq!(gateway.list(&token).len(), 0);
}

/// The names of the header fields, which are whole: no line but a folded one is without a name.
fn fields(header: &str) -> Vec<&str> {
    let unfolded = header
        .split_terminator("\r\n")
        .filter(|line| !line.starts_with([' ', '\t']));
    unfolded
        .map(|line| line.split_once(':').map_or("", |(name, _)| name))
        .collect()
}

#[test]
fn a_mailbox_ends_with_its_time_and_its_token_is_as_good_as_never_issued() {
    let gateway = Gateway::start("");
    let (address, token) = gateway.create_with("{\"ttl\":\"1s\"}");
    assert!(
        gateway
            .deliver(&address, "Subject: short\r\n\r\nlived")
            .starts_with("250")
    );
    assert_eq!(gateway.held(&token), 1);
    let (_, erased) = gateway.create("erased");
    assert_eq!(gateway.delete("/api/v1/mailbox", &erased).status, 204);
    let never: String = token.chars().rev().collect();

    poll(|| match gateway.get("/api/v1/mailbox", &token).status {
        404 => Ok(()),
        status => Err(format!("a mailbox of one second answers {status}")),
    });
    for path in [
        "/api/v1/mailbox",
        "/api/v1/messages",
        "/api/v1/messages/1",
        "/api/v1/messages/1/raw",
        "/api/v1/events",
    ] {
        let answers: Vec<Answer> = [&token, &erased, &never]
            .map(|token| gateway.get(path, token))
            .into();
        assert_eq!(answers[0].status, 404, "{path}");
        assert_eq!(
            answers[0].timeless(),
            answers[1].timeless(),
            "{path}: expired and erased"
        );
        assert_eq!(
            answers[0].timeless(),
            answers[2].timeless(),
            "{path}: expired and never issued"
        );
    }
    gateway.await_metric("mayfly_store_messages", "", 0);
    gateway.await_rest(0);
    let mut client = Client::connect(gateway.smtp);
    client.greet().ask("MAIL FROM:<>", "250");
    client.ask(&format!("RCPT TO:<{address}>"), "550 5.1.1");
}

#[test]
fn recipients_are_those_who_exist_here() {
    let gateway = Gateway::start("");
    gateway.create("known");
    let mut client = Client::connect(gateway.smtp);
    client
        .greet()
        .ask("MAIL FROM:<a@client.example>", "250 2.1.0");
    for (recipient, reply) in [
        ("<known@mayfly.test>", "250 2.1.5"),
        ("<Known@MAYFLY.test>", "250 2.1.5"),
        ("<@relay.example:known@mayfly.test>", "250 2.1.5"),
        ("<unknown@mayfly.test>", "550 5.1.1"),
        ("<known@elsewhere.example>", "550 5.7.1"),
        ("<known%elsewhere.example@mayfly.test>", "550"),
        ("<known@mayfly.test.elsewhere.example>", "550 5.7.1"),
        ("<known@[127.0.0.1]>", "550 5.7.1"),
        ("<postmaster>", "250 2.1.5"),
        ("<POSTMASTER@mayfly.test>", "250 2.1.5"),
        ("<root@mayfly.test>", "550 5.1.1"),
        ("<known@mayfly.test", "501"),
    ] {
        client.ask(&format!("RCPT TO:{recipient}"), reply);
    }
    client.ask("RSET", "250");
    client.ask("QUIT", "221");
}

#[test]
fn postmasters_mail_is_read_by_the_operator_and_by_nobody_else() {
    let gateway = Gateway::start("");
    let list = |at| request(at, "GET", "/postmaster/messages", None, "");
    assert_eq!(
        list(gateway.operator).json()["messages"],
        serde_json::json!([])
    );
    for (nth, to) in [(1, "postmaster"), (2, "Postmaster@mayfly.test")] {
        let reply = gateway.deliver(to, "Subject: help\r\n\r\nme");
        assert!(reply.starts_with("250"), "{reply}");
        let messages = list(gateway.operator).json()["messages"].clone();
        assert_eq!(messages.as_array().map(Vec::len), Some(nth));
    }
    assert_eq!(list(gateway.http).status, 404);
    for path in ["/metrics", "/healthz", "/readyz"] {
        assert_eq!(
            request(gateway.http, "GET", path, None, "").status,
            404,
            "{path} is the operator's"
        );
        assert_eq!(
            request(gateway.operator, "GET", path, None, "").status,
            200,
            "{path}"
        );
    }
    let taken = gateway.post("/api/v1/mailboxes", "{\"local_part\":\"postmaster\"}");
    assert_eq!(taken.status, 422, "{}", taken.text());
}

#[test]
fn a_waiting_call_is_answered_when_mail_comes() {
    let gateway = Gateway::start("");
    let (address, token) = gateway.create("patience");
    let (http, began) = (gateway.http, Instant::now());
    let waiting = std::thread::spawn(move || {
        request(http, "GET", "/api/v1/messages?wait=50s", Some(&token), "")
    });
    // That one, and the one that asks.
    gateway.await_metric("mayfly_http_connections", "", 2);
    assert!(
        gateway
            .deliver(&address, "Subject: at last\r\n\r\n")
            .starts_with("250")
    );
    let answer = waiting.join().expect("answered").json();
    assert_eq!(answer["messages"][0]["subject"], "at last");
    assert!(
        began.elapsed() < Duration::from_secs(40),
        "answered by mail, not by the clock"
    );
}

#[test]
fn one_message_to_many_is_stored_once_for_each() {
    let gateway = Gateway::start("");
    let on_each_core = || {
        let page = gateway.metrics();
        let held = page
            .lines()
            .filter(|line| line.starts_with("mayfly_store_mailboxes{"));
        held.filter(|line| !line.ends_with(" 0")).count()
    };
    let mut mailboxes: Vec<(String, String)> = Vec::new();
    while mailboxes.len() < 8 || on_each_core() < 2 {
        assert!(
            mailboxes.len() < 64,
            "64 mailboxes, and all of them on one core"
        );
        mailboxes.push(gateway.create(&format!("many-{}", mailboxes.len())));
    }
    let mut to: Vec<&str> = mailboxes
        .iter()
        .map(|(address, _)| address.as_str())
        .collect();
    // Named twice is not stored twice.
    to.push(&mailboxes[0].0);
    let reply = Client::connect(gateway.smtp).deliver(&to, b"Subject: all\r\n\r\nof you");
    assert!(reply.starts_with("250"), "{reply}");
    let mut bodies = Vec::new();
    for (address, token) in &mailboxes {
        let list = gateway.list(token);
        assert_eq!(list.len(), 1, "{address}");
        let id = list[0]["id"].as_str().expect("an id");
        bodies.push(
            gateway
                .get(&format!("/api/v1/messages/{id}/raw"), token)
                .text(),
        );
    }
    assert!(bodies[0].ends_with("Subject: all\r\n\r\nof you\r\n"));
    bodies.dedup();
    assert_eq!(bodies.len(), 1, "all hold the same");
    assert_eq!(gateway.metric("mayfly_messages_accepted_total", ""), 1);
    gateway.await_metric("mayfly_store_messages", "", mailboxes.len() as u64);
}

#[test]
fn a_full_mailbox_defers_and_the_others_do_not() {
    let gateway = Gateway::start("[store]\nmailbox_messages_max = 2\n");
    let (full, token) = gateway.create("full");
    let (other, _) = gateway.create("other");
    for _ in 0..2 {
        assert!(
            gateway
                .deliver(&full, "Subject: x\r\n\r\n")
                .starts_with("250")
        );
    }
    let mut client = Client::connect(gateway.smtp);
    client.greet().ask("MAIL FROM:<>", "250");
    client.ask(&format!("RCPT TO:<{full}>"), "452 4.2.2");
    client.ask(&format!("RCPT TO:<{other}>"), "250 2.1.5");
    assert_eq!(gateway.delete("/api/v1/messages/1", &token).status, 204);
    client.ask(&format!("RCPT TO:<{full}>"), "250 2.1.5");
    client.ask("QUIT", "221");
}

#[test]
fn used_up_memory_defers_before_the_data_and_deletion_frees_it() {
    let settings = "[store]\nmemory = \"2 MiB\"\n[smtp]\nmessage_bytes_max = \"1 MiB\"\n[pressure]\npin = \"normal\"\n";
    let gateway = Gateway::start(settings);
    let (address, token) = gateway.create("hoard");
    let content = format!(
        "Subject: big\r\n\r\n{}",
        "0123456789abcdef\r\n".repeat(50_000)
    );
    let announce = |client: &mut Client| {
        client
            .greet()
            .ask(&format!("MAIL FROM:<> SIZE={}", content.len()), "250");
        client.ask(&format!("RCPT TO:<{address}>"), "250");
        client.say("DATA");
        client.reply()
    };
    for _ in 0..2 {
        let mut client = Client::connect(gateway.smtp);
        assert!(announce(&mut client).starts_with("354"));
        client.raw(content.as_bytes());
        client.ask(".", "250");
    }
    let mut client = Client::connect(gateway.smtp);
    let reply = announce(&mut client);
    assert!(reply.starts_with("452 4.3.1"), "{reply}");
    assert_eq!(gateway.held(&token), 2, "stored mail is not touched");
    client.ask("RSET", "250");
    client.ask("QUIT", "221");
    assert_eq!(gateway.delete("/api/v1/messages/1", &token).status, 204);
    let mut client = Client::connect(gateway.smtp);
    assert!(announce(&mut client).starts_with("354"), "room again");
    client.raw(content.as_bytes());
    client.ask(".", "250");
    assert_eq!(gateway.held(&token), 2);
}

#[test]
fn one_client_has_so_many_connections_and_no_more() {
    let gateway =
        Gateway::start("[admission]\nconnections_per_client_max = 2\n[clients]\nexempt = []\n");
    let mut held: Vec<Client> = (0..2).map(|_| Client::connect(gateway.smtp)).collect();
    held.iter_mut().for_each(|client| {
        client.greet();
    });
    assert!(
        Client::connect(gateway.smtp)
            .rest()
            .starts_with("421 4.7.0")
    );
    let neighbour = [127, 0, 0, 2].into();
    Client::connect_from(neighbour, gateway.smtp)
        .greet()
        .ask("QUIT", "221");
    held.pop().expect("two").ask("QUIT", "221");
    poll(|| match Client::connect(gateway.smtp).reply() {
        reply if reply.starts_with("220") => Ok(()),
        reply => Err(format!("no room after one has left: {reply}")),
    });
    let refused = gateway.metric(
        "mayfly_smtp_connections_refused_total",
        "client_connections",
    );
    assert!(refused >= 1);
}
