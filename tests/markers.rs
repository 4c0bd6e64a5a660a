//! Markers are planted in everything that a stranger sends, and looked for where nothing of it may be: in logs, in
//! metrics, in error texts, and, when their time is over, in every readable byte of the process's memory.
//!
//! The process forbids others to read its memory; only root can. Run by somebody else, this test leaves that part out.
#![cfg(feature = "server")]

mod gateway;

use gateway::{Client, Events, Gateway, request, reset};
use memchr::memmem::Finder;
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::os::unix::fs::FileExt as _;

/// The client's address: as text it is unlike any other.
const CLIENT: [u8; 4] = [127, 86, 75, 30];

const SENDER: &str = "Marked-Sender-q7x";
const HELO: &str = "marked-helo-q7x.example";
const SUBJECT: &str = "Marked subject q7x";
const BODY: &str = "Marked body q7x, of which there is a lot. ";
const LOCAL_PART: &str = "marked-rcpt-q7x";
const KEY: &str = "mfk_marked7key7q7x2marked7key7q7x";

/// How much memory is read at a time. Pieces overlap by more than a marker is long.
const PIECE: usize = 1 << 20;
const OVERLAP: usize = 256;

/// Every place in a process's readable memory where one of the markers stands.
fn places(pid: u32, markers: &[(&str, Vec<u8>)]) -> Vec<String> {
    let maps = std::fs::read_to_string(format!("/proc/{pid}/maps")).expect("root may");
    let memory = File::open(format!("/proc/{pid}/mem")).expect("root may");
    let finders: Vec<(&str, Finder<'_>)> = markers
        .iter()
        .map(|(name, bytes)| (*name, Finder::new(bytes)))
        .collect();
    let mut found = Vec::new();
    let mut piece = vec![0; PIECE];
    for map in maps.lines().filter(|map| {
        map.split(' ')
            .nth(1)
            .is_some_and(|rights| rights.starts_with('r'))
    }) {
        let (start, end) = map
            .split(' ')
            .next()
            .and_then(|range| range.split_once('-'))
            .expect("a range");
        let [start, end] = [start, end].map(|at| u64::from_str_radix(at, 16).expect("an address"));
        let mut at = start;
        while at < end {
            let length = PIECE.min(usize::try_from(end - at).expect("a size"));
            // Some pages, such as the kernel's own, cannot be read even by root.
            let Ok(read) = memory.read_at(&mut piece[..length], at) else {
                break;
            };
            for (name, finder) in &finders {
                found.extend(finder.find_iter(&piece[..read]).map(|hit| {
                    let around = &piece[hit.saturating_sub(48)..read.min(hit + 80)];
                    format!(
                        "{name} at {:#x} in {map}\n    {}",
                        at + hit as u64,
                        around.escape_ascii()
                    )
                }));
            }
            if read < length || at + length as u64 == end {
                break;
            }
            at += (length - OVERLAP) as u64;
        }
    }
    found
}

/// Sends one message from the marked address with everything marked.
fn plant(gateway: &Gateway, starttls: bool, to: &str) {
    let mut client = Client::connect_from(CLIENT.into(), gateway.smtp);
    client.expect("220");
    if starttls {
        client.ask(&format!("EHLO {HELO}"), "250");
        client.ask("STARTTLS", "220");
        client = client.start_tls();
    }
    client.ask(&format!("EHLO {HELO}"), "250");
    client.ask(&format!("MAIL FROM:<{SENDER}@client.example>"), "250");
    client.ask(&format!("RCPT TO:<{to}>"), "250");
    client.ask("DATA", "354");
    let body = BODY.repeat(400);
    client.raw(
        format!("From: {SENDER}@client.example\r\nSubject: {SUBJECT}\r\n\r\n{body}\r\n.\r\n")
            .as_bytes(),
    );
    client.expect("250");
    client.ask("QUIT", "221");
    client.rest();
}

/// Wrong HTTP requests of all kinds with markers in them; returns all answers.
fn provoke_http(gateway: &Gateway, token: &str) -> String {
    const NONE: &str = "";
    let wrong: &str = &token.chars().rev().collect::<String>();
    let mut requests: Vec<(&str, String, Option<&str>, String)> = vec![
        (
            "PUT",
            "/api/v1/mailbox".to_owned(),
            Some(token),
            NONE.to_owned(),
        ),
        (
            "GET",
            "/api/v1/mailbox".to_owned(),
            Some(wrong),
            NONE.to_owned(),
        ),
        (
            "PATCH",
            "/api/v1/mailbox".to_owned(),
            Some(token),
            format!("{{\"ttl\":\"{SUBJECT}\"}}"),
        ),
    ];
    for path in ["", "messages/", "messages?cursor=", "messages?wait="] {
        let path = format!("/api/v1/{path}{LOCAL_PART}");
        requests.push(("GET", path, Some(token), NONE.to_owned()));
    }
    for body in [
        format!("{{\"local_part\":\"{LOCAL_PART}\"}}"),
        format!("{{\"local_part\":\"{LOCAL_PART}@\"}}"),
        format!("{{\"domain\":\"{HELO}\"}}"),
        format!("{{\"{SUBJECT}\":1}}"),
        format!("{{\"ttl\":\"{SUBJECT}\"}}"),
        BODY.to_owned(),
    ] {
        requests.push(("POST", "/api/v1/mailboxes".to_owned(), None, body));
    }
    let mut answers = String::new();
    for (method, path, token, body) in requests {
        let answer = request(gateway.http, method, &path, token, &body);
        assert!(answer.status >= 400, "{method} {path}: {}", answer.status);
        answers += &format!("{}\n{}\n", answer.head, answer.text());
    }
    answers
}

/// The same over SMTP.
fn provoke_smtp(gateway: &Gateway, address: &str) -> String {
    let mut client = Client::connect_from(CLIENT.into(), gateway.smtp);
    client.expect("220");
    client.ask(&format!("EHLO {HELO}"), "250");
    client.ask("MAIL FROM:<>", "250");
    let mut answers = String::new();
    for line in [
        format!("RCPT TO:<{LOCAL_PART}@elsewhere.example>"),
        format!("RCPT TO:<{LOCAL_PART}.not@mayfly.test>"),
        format!("RCPT TO:<{address}"),
        format!("VRFY {address}"),
        format!("EXPN {LOCAL_PART}"),
        format!("MAIL FROM:<{SENDER}@client.example>"),
        format!("{SUBJECT} {BODY}"),
        format!("NOOP {SUBJECT}"),
        format!("Subject: {SUBJECT}"),
    ] {
        client.say(&line);
        let answer = client.reply();
        assert!(!answer.is_empty(), "{line}");
        answers += &answer;
    }
    answers
}

fn assert_unmarked(what: &str, text: &str, markers: &[(&str, Vec<u8>)]) {
    for (name, marker) in markers {
        let found = Finder::new(marker).find(text.as_bytes());
        assert!(found.is_none(), "{name} in {what}:\n{text}");
    }
}

/// What is looked for, by name. The token's parts are looked for only when the token is dead.
fn markers_of(token: &str) -> Vec<(&'static str, Vec<u8>)> {
    let client = std::net::IpAddr::from(CLIENT).to_string();
    let texts = [
        ("the sender", SENDER),
        ("the HELO name", HELO),
        ("the subject", SUBJECT),
        ("the body", BODY),
        ("the recipient", LOCAL_PART),
        ("the client's address", &client),
        (TOKEN, token),
    ];
    texts
        .map(|(name, text)| (name, text.as_bytes().to_vec()))
        .into()
}

const TOKEN: &str = "the token";

/// Half a token is as bad as a whole one, and so is what it was made of.
fn parts_of(token: &str) -> Vec<(&'static str, Vec<u8>)> {
    let letters = token
        .strip_prefix("mf_")
        .expect("a token")
        .to_ascii_uppercase();
    let drawn = data_encoding::BASE32_NOPAD
        .decode(letters.as_bytes())
        .expect("base 32");
    let half = &drawn[drawn.len() / 2..];
    vec![
        (
            "half the token",
            token.as_bytes()[token.len() / 2..].to_vec(),
        ),
        (
            "half the token in capitals",
            letters.as_bytes()[letters.len() / 2..].to_vec(),
        ),
        ("half the token's bytes", half.to_vec()),
        (
            "half the token in base 16",
            data_encoding::HEXLOWER.encode(half).into_bytes(),
        ),
    ]
}

/// Two messages come in and are read, a third is cut off in the middle. Ends when their mailbox does.
fn live_a_life(gateway: &Gateway, address: &str, token: &str, markers: &[(&str, Vec<u8>)]) {
    let mut events = Events::open(gateway.http, token);
    for (nth, starttls) in [(1, false), (2, true)] {
        plant(gateway, starttls, address);
        assert_eq!(events.next().expect("an event").data["subject"], SUBJECT);
        let raw = gateway
            .get(&format!("/api/v1/messages/{nth}/raw"), token)
            .body;
        // This shows that what is looked for later was there.
        for (name, marker) in markers.iter().filter(|(name, _)| *name != TOKEN) {
            assert!(
                Finder::new(marker).find(&raw).is_some(),
                "{name} is not in the message"
            );
        }
    }
    let mut cut_off = Client::connect_from(CLIENT.into(), gateway.smtp);
    cut_off.expect("220");
    cut_off.ask(&format!("EHLO {HELO}"), "250");
    cut_off.begin(&[address]).raw(BODY.repeat(1000).as_bytes());
    reset(cut_off.socket().try_clone().expect("cloned"));
    drop(cut_off);
    assert_eq!(gateway.list(token).len(), 2);
    if rustix::process::geteuid().is_root() {
        let found = places(gateway.pid(), markers);
        let body = found.iter().any(|place| place.starts_with("the body"));
        assert!(body, "the search finds what is there");
    }
    while events.next().is_some() {}
}

/// Whoever has a key makes a mailbox, loses its token and gets another; returns all their secrets, which are dead soon.
fn live_with_a_key(gateway: &Gateway) -> Vec<(&'static str, Vec<u8>)> {
    let post =
        |path: &str, key: Option<&str>, body: &str| request(gateway.http, "POST", path, key, body);
    let fields = "{\"ttl\":\"5s\",\"messages_max\":3}";
    let made = post("/api/v1/mailboxes", Some(KEY), fields);
    assert_eq!(made.status, 201, "{}", made.text());
    let ticket = made.field("recovery");
    let recover = format!("{{\"recovery\":\"{ticket}\"}}");
    let again = post("/api/v1/mailbox/recover", None, &recover);
    assert_eq!(again.status, 200, "{}", again.text());
    let secrets = vec![
        ("the key", KEY.as_bytes().to_vec()),
        ("the ticket", ticket.into_bytes()),
        ("the lost token", made.field("token").into_bytes()),
        ("the new token", again.field("token").into_bytes()),
        ("the new ticket", again.field("recovery").into_bytes()),
    ];
    let wrong = [
        post("/api/v1/mailbox/recover", None, &recover),
        post("/api/v1/mailboxes", Some(&format!("{KEY}a")), ""),
        post("/api/v1/mailboxes", Some(KEY), "{\"messages_max\":0}"),
    ];
    for answer in wrong {
        assert!(answer.status >= 400);
        let text = format!("{}\n{}", answer.head, answer.text());
        assert_unmarked("an error text", &text, &secrets);
    }
    secrets
}

const PASSWORD: &str = "Marked-Password-q7x-of-which-there-is-one";
const ACCOUNT: &str = "marked-account-q7x";

/// Somebody has an account of mail.tm's kind, gets mail, reads it in all its forms, and deletes the account; returns all their
/// secrets, which are dead then.
fn live_with_a_password(gateway: &Gateway) -> Vec<(&'static str, Vec<u8>)> {
    let login = |password: &str| {
        format!("{{\"address\":\"{ACCOUNT}@mayfly.test\",\"password\":\"{password}\"}}")
    };
    let made = gateway.post("/accounts", &login(PASSWORD));
    assert_eq!(made.status, 201, "{}", made.text());
    let given = gateway.post("/token", &login(PASSWORD));
    let (id, token) = (given.field("id"), given.field("token"));
    let secrets = vec![
        ("the password", PASSWORD.as_bytes().to_vec()),
        ("the account", ACCOUNT.as_bytes().to_vec()),
        ("the sealed token", token.as_bytes().to_vec()),
    ];
    let hub = format!("/.well-known/mercure?topic=/accounts/{id}");
    let mut stream = Events::open_at(gateway.http, &hub, &token);
    plant(gateway, true, &format!("{ACCOUNT}@mayfly.test"));
    let listed = gateway.get("/messages", &token);
    let message = &listed.json()["hydra:member"][0];
    assert_eq!(message["subject"], SUBJECT);
    for name in ["@id", "downloadUrl", "sourceUrl"] {
        let path = message[name].as_str().expect("a path");
        assert_eq!(gateway.get(path, &token).status, 200, "{path}");
    }
    let own = format!("/accounts/{id}");
    let wrong = [
        gateway.post("/accounts", &login(PASSWORD)),
        gateway.post("/token", &login(&format!("{PASSWORD}x"))),
        gateway.post(
            "/accounts",
            &login(PASSWORD).replace("@mayfly", "@elsewhere"),
        ),
        gateway.post("/token", PASSWORD),
        gateway.get(&format!("/messages/{ACCOUNT}"), &token),
        gateway.get("/me", &format!("{token}x")),
        gateway.get(&format!("{hub}x&authorization={token}"), &token),
    ];
    for answer in wrong {
        assert!(answer.status >= 400, "{}", answer.text());
        let text = format!("{}\n{}", answer.head, answer.text());
        assert_unmarked("an error text", &text, &secrets);
    }
    assert_eq!(gateway.delete(&own, &token).status, 204);
    while stream.chunk().is_some() {}
    secrets
}

const HOOK: &str = "marked-hook-q7x";

/// Reads one call to the end of its body, and takes it.
fn take_call(listener: &TcpListener) -> String {
    let (mut stream, _) = listener.accept().expect("a call");
    let mut call = String::new();
    while !call.ends_with("}}}") {
        let mut buffer = [0; 4096];
        let read = stream.read(&mut buffer).expect("it goes on");
        call.push_str(std::str::from_utf8(&buffer[..read]).expect("text"));
    }
    let answer = b"HTTP/1.1 204 No Content\r\n\r\n";
    stream.write_all(answer).expect("sent");
    call
}

/// A mailbox has a webhook, which is called; returns its secrets, which are dead then.
fn live_with_a_webhook(gateway: &Gateway) -> Vec<(&'static str, Vec<u8>)> {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let (address, token) = gateway.create_with("{}");
    let put = |url: &str| {
        let body = format!("{{\"url\":\"{url}\"}}");
        let path = "/api/v1/mailbox/webhook";
        request(gateway.http, "PUT", path, Some(&token), &body)
    };
    let wrong = [
        put(&format!("ftp://{HOOK}.test/")),
        put(&format!("https://{HOOK}:{HOOK}@a.test/")),
        put(&format!("https://10.0.0.1/{HOOK}")),
    ];
    let url = format!("http://{}/{HOOK}", listener.local_addr().expect("bound"));
    let made = put(&url);
    assert_eq!(made.status, 200, "{}", made.text());
    let secrets = vec![
        ("the webhook's URL", HOOK.as_bytes().to_vec()),
        ("the webhook's secret", made.field("secret").into_bytes()),
        ("the webhook's token", token.as_bytes().to_vec()),
        ("the webhook's mailbox", address.as_bytes().to_vec()),
    ];
    for answer in wrong {
        assert_eq!(answer.status, 422);
        assert_unmarked("an error text", &answer.text(), &secrets);
    }
    plant(gateway, true, &address);
    let call = take_call(&listener);
    assert!(call.contains(SUBJECT) && call.contains(&address), "{call}");
    gateway.await_metric("mayfly_webhook_attempts_total", "\"delivered\"", 1);
    assert_eq!(gateway.delete("/api/v1/mailbox", &token).status, 204);
    secrets
}

/// An agent has a mailbox; returns its secrets, which are dead then.
fn live_with_an_agent(gateway: &Gateway) -> Vec<(&'static str, Vec<u8>)> {
    let call = |tool: &str, arguments: &str| {
        let body = format!(
            "{{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"tools/call\",\
             \"params\":{{\"name\":\"{tool}\",\"arguments\":{arguments}}}}}"
        );
        let head = format!(
            "POST /mcp HTTP/1.1\r\nHost: {}\r\nConnection: close\r\nContent-Type: application/json\r\n\
             Accept: application/json, text/event-stream\r\nContent-Length: {}\r\n\r\n",
            gateway.http,
            body.len()
        );
        gateway::http::answer(gateway.http, (head + &body).as_bytes()).text()
    };
    let made = call("create_mailbox", "{\"local_part\":\"marked-agent-q7x\"}");
    let at = made.find("mf_").expect("a token");
    let token = &made[at..at + 35];
    plant(gateway, false, "marked-agent-q7x@mayfly.test");
    let by_token = format!("{{\"token\":\"{token}\"}}");
    assert!(call("wait_for_message", &by_token).contains(SUBJECT));
    assert!(call("delete_mailbox", &by_token).contains("deleted"));
    vec![
        ("the agent's token", token.as_bytes().to_vec()),
        ("the agent's mailbox", b"marked-agent-q7x".to_vec()),
    ]
}

const SESSION: &str = "marked-session-q7x";
const PUBLIC: &str = "marked-public-q7x";

/// Somebody has a session of GuerrillaMail's kind, gets mail, reads it, and forgets the address; and somebody reads mail that is
/// everybody's, and deletes it. Returns what is dead then.
fn live_with_a_session(gateway: &Gateway) -> Vec<(&'static str, Vec<u8>)> {
    let get = |path: &str| request(gateway.http, "GET", path, None, "");
    let made = get(&format!("/ajax.php?f=set_email_user&email_user={SESSION}"));
    let sid = made.field("sid_token");
    let secrets = vec![
        ("the session", sid.as_bytes().to_vec()),
        ("the address of the session", SESSION.as_bytes().to_vec()),
        ("the public address", PUBLIC.as_bytes().to_vec()),
    ];
    let call = |query: &str| get(&format!("/ajax.php?f={query}&sid_token={sid}"));
    plant(gateway, true, &format!("{SESSION}@mayfly.test"));
    let listed = call("check_email").json();
    assert_eq!(listed["list"][0]["mail_subject"], SUBJECT);
    assert_eq!(call("fetch_email&email_id=2").json()["mail_id"], "2");

    plant(gateway, false, &format!("{PUBLIC}@open.test"));
    let mailbox = format!("/api/v1/mailbox/{PUBLIC}");
    assert_eq!(get(&mailbox).json()[0]["subject"], SUBJECT);
    let of = format!("login={PUBLIC}&domain=open.test");
    for path in [
        format!("{mailbox}/1"),
        format!("{mailbox}/1/source"),
        format!("/api/v1/?action=getMessages&{of}"),
        format!("/api/v1/?action=readMessage&{of}&id=1"),
    ] {
        assert_eq!(get(&path).status, 200, "{path}");
    }
    let wrong = [
        get(&format!("/ajax.php?f=check_email&sid_token={sid}x")),
        get(&format!("/ajax.php?f={SESSION}&sid_token={sid}")),
        get(&format!(
            "/inbox?get_att={PUBLIC}&email_id=9&sid_token={sid}"
        )),
        get(&format!("{mailbox}/{SESSION}")),
        get(&format!("/serve/mailbox/{PUBLIC}/1/attach/9/{SESSION}")),
        get(&format!("/api/v1/?action={SESSION}&{of}")),
        get(&format!("/api/v1/?action=readMessage&{of}&id={SESSION}")),
        request(
            gateway.http,
            "PATCH",
            &format!("{mailbox}/1"),
            None,
            SESSION,
        ),
    ];
    for answer in wrong {
        let text = format!("{}\n{}", answer.head, answer.text());
        assert_unmarked("an error text", &text, &secrets);
    }
    assert_eq!(call("forget_me").json(), true);
    let purged = request(gateway.http, "DELETE", &mailbox, None, "");
    assert_eq!(purged.json(), "OK");
    secrets
}

#[test]
fn nothing_of_what_strangers_send_stays_anywhere() {
    let hash = mayfly::control::keys::hash(KEY.as_bytes());
    let settings = format!(
        "[server]\nlog_level = \"debug\"\ntrace_sessions_one_in = 1\ntrace_lines_per_second_max = 1_000_000\n[store]\nexpires_soon = \"1s\"\n\
         [mcp]\nenabled = true\n\
         [webhooks]\nenabled = true\nallow_http = true\nports = []\nallow_networks = [\"127.0.0.1\"]\n\
         [recipients]\ndomains = [\"mayfly.test\", \"open.test\"]\npublic_domains = [\"open.test\"]\n\
         [compatibility]\nmail_tm = true\nguerrilla_mail = true\ninbucket = true\none_sec_mail = true\n\
         [plans]\noffered = [{{ name = \"marked\" }}]\nkeys = [{{ plan = \"marked\", hash = \"{hash}\" }}]\n"
    );
    let mut gateway = Gateway::start(&settings);
    let fields = format!("{{\"local_part\":\"{LOCAL_PART}\",\"ttl\":\"5s\"}}");
    let (address, token) = gateway.create_with(&fields);
    let mut markers = markers_of(&token);
    let answers = provoke_http(&gateway, &token) + &provoke_smtp(&gateway, &address);
    assert_unmarked("an error text", &answers, &markers);
    live_a_life(&gateway, &address, &token, &markers);
    let mut secrets = live_with_a_key(&gateway);
    secrets.extend(live_with_a_password(&gateway));
    secrets.extend(live_with_a_webhook(&gateway));
    secrets.extend(live_with_an_agent(&gateway));
    secrets.extend(live_with_a_session(&gateway));
    gateway.await_metric("mayfly_store_mailboxes", "", 0);
    gateway.await_rest(0);
    // None but the one that asks.
    gateway.await_metric("mayfly_http_connections", "", 1);
    assert_eq!(gateway.get("/api/v1/mailbox", &token).status, 404);

    markers.extend(parts_of(&token));
    markers.extend(secrets);
    assert_unmarked("the metrics", &gateway.metrics(), &markers);
    if rustix::process::geteuid().is_root() {
        let found = places(gateway.pid(), &markers);
        assert!(
            found.is_empty(),
            "{} left in memory:\n{}",
            found.len(),
            found.join("\n")
        );
    }
    assert_eq!(gateway.stop().code(), Some(0));
    let log = gateway.last_words().to_owned();
    assert!(log.contains("ready in"));
    // Sessions were told in the log, and nothing of what was said in them.
    for word in [
        "commands=\"mail",
        "rcpt",
        "version=\"tls13\"",
        "how=\"quit\"",
        "vrfy",
        "traced session: message",
    ] {
        assert!(log.contains(word), "{word} in\n{log}");
    }
    assert_unmarked("the log", &log, &markers);
}

/// Somebody's key. Nobody opens anything here.
const RECIPIENT: &str = "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p";

#[test]
fn nothing_of_an_encrypted_message_is_in_memory_while_its_mailbox_lives() {
    let mut gateway = Gateway::start("[server]\nlog_level = \"debug\"\n");
    let fields = format!("{{\"local_part\":\"{LOCAL_PART}\",\"encryption_key\":\"{RECIPIENT}\"}}");
    let (address, token) = gateway.create_with(&fields);
    for starttls in [false, true, false] {
        plant(&gateway, starttls, &address);
    }
    for message in gateway.list(&token) {
        assert_eq!(message["encrypted"], true);
    }
    let raw = gateway.get("/api/v1/messages/3/raw", &token).body;
    assert!(raw.starts_with(b"age-encryption.org/v1\n") && raw.len() > BODY.len() * 400);
    gateway.await_metric("mayfly_smtp_connections", "", 0);
    // None but the one that asks.
    gateway.await_metric("mayfly_http_connections", "", 1);
    let mut markers = markers_of(&token);
    // Where its mail goes the server must know, and the token is what was asked with.
    markers.retain(|(name, _)| *name != "the recipient" && *name != TOKEN);
    if rustix::process::geteuid().is_root() {
        let found = places(gateway.pid(), &markers);
        assert!(
            found.is_empty(),
            "{} left in memory:\n{}",
            found.len(),
            found.join("\n")
        );
    }
    assert_eq!(gateway.list(&token).len(), 3, "it lives");
    assert_eq!(gateway.stop().code(), Some(0));
    assert_unmarked("the log", gateway.last_words(), &markers);
}
