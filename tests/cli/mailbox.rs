//! `mayfly mailbox`, as scripts and people use it.

use crate::fake::{Fake, answer, head};
use crate::gateway::{Gateway, OPEN_DOORS, PATIENCE, tools};
use crate::user::User;
use serde_json::{Value, json};
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::process::Stdio;
use std::sync::Arc;

/// A mail with a code, a link, or what else it says.
fn mail(gateway: &Gateway, to: &str, from: &str, subject: &str, text: &str) {
    let content = format!("From: <{from}>\r\nTo: <{to}>\r\nSubject: {subject}\r\n\r\n{text}\r\n");
    let reply = gateway.deliver(to, &content);
    assert!(reply.starts_with("250"), "{reply}");
}

fn code(gateway: &Gateway, to: &str, code: &str) {
    let subject = format!("Your code is {code}");
    let text = format!("Your verification code: {code}");
    mail(gateway, to, "hello@harbour.test", &subject, &text);
}

#[test]
fn a_script_gets_the_code_and_nothing_else() {
    let gateway = Gateway::start(OPEN_DOORS);
    let user = User::of(&gateway, "script");
    let (exit, stdout, stderr) = user.runs("mailbox new --name demo --ttl 10m");
    assert_eq!(
        (exit, stdout.as_str()),
        (Some(0), "demo@mayfly.test\n"),
        "{stderr}"
    );
    let address = stdout.trim();
    let kept = std::fs::metadata(user.state()).expect("it is kept");
    assert_eq!(kept.permissions().mode() & 0o777, 0o600);
    let token = token_of(&user);
    assert!(
        !stderr.contains(&token) && token.starts_with("mf_"),
        "{stderr}"
    );

    code(&gateway, address, "482913");
    assert_eq!(user.succeeds("mailbox wait --code"), "482913\n");
    let stale = user.fails("mailbox wait --code --timeout 0s", 4);
    assert!(
        stale.contains("no code in 0s") && stale.contains("fix: "),
        "{stale}"
    );
    // What is in the same mail is another matter.
    assert_eq!(user.succeeds("mailbox wait --message"), "1\n");
    code(&gateway, address, "771122");
    assert_eq!(user.succeeds("mailbox wait --code"), "771122\n");
    assert_eq!(
        user.succeeds("mailbox wait --code --since start"),
        "482913\n"
    );
    user.fails("mailbox wait --code --since now --timeout 0s", 4);
    assert_eq!(user.succeeds("mailbox wait --code --since 1"), "771122\n");

    let link = "https://shop.test/verify?token=Zk39fQx81LmN02pQ";
    mail(
        &gateway,
        address,
        "news@elsewhere.test",
        "News",
        "Nothing to see.",
    );
    mail(
        &gateway,
        address,
        "shop@shop.test",
        "Verify your address",
        &format!("Verify your email address: {link}"),
    );
    let passed = user.fails(
        "mailbox wait --link --since 2 --from elsewhere --timeout 0s",
        4,
    );
    assert!(
        passed.contains("1 without a link") && passed.contains("1 from others"),
        "{passed}"
    );
    assert_eq!(
        user.succeeds("mailbox wait --link --from SHOP@ --subject verify"),
        format!("{link}\n")
    );
    let found = user.json("mailbox wait --link --since start --json");
    assert_eq!(found["value"], link);
    assert_eq!(
        (&found["kind"], &found["message"]["id"]),
        (&json!("link"), &json!("4"))
    );
}

fn token_of(user: &User) -> String {
    let state = std::fs::read_to_string(user.state()).expect("it is kept");
    let state: Value = serde_json::from_str(&state).expect("JSON");
    state["token"].as_str().expect("a token").to_owned()
}

#[test]
fn a_wait_takes_what_comes_while_it_lasts() {
    let gateway = Gateway::start(OPEN_DOORS);
    let user = User::of(&gateway, "waiting");
    let address = user.succeeds("mailbox new");
    let mut waiting = user
        .command(env!("CARGO_BIN_EXE_mayfly"))
        .args(["mailbox", "wait", "--code", "--timeout", "1m"])
        .stdout(Stdio::piped())
        .spawn()
        .expect("it starts");
    // The first is not what is waited for.
    mail(
        &gateway,
        address.trim(),
        "a@b.test",
        "News",
        "Nothing to see.",
    );
    code(&gateway, address.trim(), "335577");
    let mut line = String::new();
    let mut stdout = BufReader::new(waiting.stdout.take().expect("piped"));
    stdout.read_line(&mut line).expect("text");
    assert_eq!(line, "335577\n");
    assert!(tools::wait(&mut waiting, PATIENCE).success());
}

/// A user whose mailbox holds a mail with everything in it, and a plain one.
fn reader(gateway: &Gateway) -> User {
    let user = User::of(gateway, "reader");
    let address = user.succeeds("mailbox new");
    let address = address.trim();
    assert_eq!(
        user.runs("mailbox list"),
        (Some(0), String::new(), "the mailbox is empty\n".to_owned())
    );
    assert!(
        user.fails("mailbox read", 3)
            .contains("the mailbox is empty")
    );
    let invoice = include_str!("../manual/invoice.eml").replace('\n', "\r\n");
    assert!(gateway.deliver(address, &invoice).starts_with("250"));
    code(gateway, address, "1234");
    user
}

#[test]
fn messages_are_read_whole_and_in_parts() {
    let gateway = Gateway::start(OPEN_DOORS);
    let user = reader(&gateway);
    let page = user.succeeds("mailbox read 1");
    for part in [
        "From      Jörg <joerg@harbour.test>",
        "Code      482913",
        "Link      https://harbour.test/verify?",
        "Attached  1: invoice.pdf (application/pdf, 34 bytes)",
        "\nWelcome aboard.",
    ] {
        assert!(page.contains(part), "{part} in {page}");
    }
    assert!(
        user.succeeds("mailbox read").contains("Your code is 1234"),
        "the newest"
    );
    assert_eq!(user.json("mailbox read 1 --json")["id"], "1");
    assert!(
        user.succeeds("mailbox read 1 --text")
            .starts_with("Welcome aboard.")
    );
    assert!(
        user.succeeds("mailbox read 1 --html")
            .contains("<b>482913</b>")
    );
    assert!(
        user.succeeds("mailbox read 1 --headers")
            .contains("From: Jörg <joerg@harbour.test>\n")
    );
    let raw = user.succeeds("mailbox read 1 --raw");
    let source = gateway.get("/api/v1/messages/1/raw", &token_of(&user)).body;
    assert!(
        raw.as_bytes() == source && raw.contains("JVBERi0xLjQK"),
        "byte for byte"
    );
    user.succeeds("mailbox read 1 --attachment 1 -o invoice.pdf");
    let file = user.home().join("invoice.pdf");
    assert!(std::fs::read(&file).expect("written").starts_with(b"%PDF"));
    assert_eq!(
        std::fs::metadata(&file)
            .expect("written")
            .permissions()
            .mode()
            & 0o777,
        0o600
    );
}

#[test]
fn messages_are_listed_and_deleted() {
    let gateway = Gateway::start(OPEN_DOORS);
    let user = reader(&gateway);
    let list = user.succeeds("mailbox list");
    let lines: Vec<&str> = list.lines().collect();
    assert_eq!(lines.len(), 2);
    assert!(
        lines[0].contains("Jörg <joerg@harbour.test>") && lines[0].ends_with("[482913]"),
        "{list}"
    );
    let list = user.json("mailbox list --json");
    assert_eq!(
        (&list["cursor"], list["messages"].as_array().map(Vec::len)),
        (&json!("2"), Some(2))
    );

    assert!(
        user.fails("mailbox read 1 --attachment 7", 3)
            .contains("no such part")
    );
    assert!(user.fails("mailbox read 9", 3).contains("no such message"));
    assert!(
        user.fails("mailbox read ../mailbox", 2)
            .contains("ids are numbers")
    );
    assert_eq!(user.succeeds("mailbox delete 1"), "");
    assert!(
        user.fails("mailbox read 1", 3)
            .contains("fix: mayfly mailbox list")
    );
    let token = token_of(&user);
    assert_eq!(user.succeeds("mailbox delete"), "");
    assert!(!user.state().exists(), "nothing is kept of what is gone");
    assert!(user.fails("mailbox list", 2).contains("mayfly mailbox new"));
    let gone = user.with("MAYFLY_TOKEN", &token);
    let said = gone.fails("mailbox list --json", 3);
    let said: Value = serde_json::from_str(&said).expect("JSON");
    assert_eq!(
        (&said["error"]["code"], &said["error"]["exit"]),
        (&json!("no-such-mailbox"), &json!(3))
    );
}

#[test]
fn a_terminal_is_never_told_what_to_do_by_a_mail() {
    let gateway = Gateway::start(OPEN_DOORS);
    let user = User::of(&gateway, "terminal");
    let address = user.succeeds("mailbox new");
    let subject = "=?utf-8?q?a=1B]0;owned=07=E2=80=AEb?=";
    mail(
        &gateway,
        address.trim(),
        "x@y.test",
        subject,
        "clear \u{1b}[2J\u{9b}2J screen\u{202e}txt",
    );
    let plain = User::again(&user).with("NO_COLOR", "1");
    for words in [
        "mailbox list",
        "mailbox read",
        "mailbox read --text",
        "mailbox read --raw",
        "mailbox read --headers",
    ] {
        let shown = plain.shown(words);
        assert!(shown.contains("screen") || shown.contains('b'), "{shown}");
        for hostile in ['\u{1b}', '\u{9b}', '\u{202e}', '\u{7}'] {
            assert!(!shown.contains(hostile), "{words}: {shown:?}");
        }
    }
    let coloured = user.shown("mailbox list");
    assert!(
        coloured.contains("\u{1b}[1m") && !coloured.contains("\u{1b}]0;"),
        "{coloured:?}"
    );
    assert!(
        !user.succeeds("mailbox list").contains('\u{1b}'),
        "no colours in a pipe"
    );
    // A file gets what came.
    assert!(user.succeeds("mailbox read --raw").contains('\u{1b}'));
}

#[test]
fn tokens_come_from_the_environment_or_a_file_and_go_to_one_server() {
    let gateway = Gateway::start(OPEN_DOORS);
    let user = User::of(&gateway, "careful");
    let (_, token) = gateway.create("other");
    assert!(user.fails("mailbox list", 2).contains("MAYFLY_TOKEN"));
    let file = user.home().join("token");
    std::fs::write(&file, format!("{token}\n")).expect("written");
    assert_eq!(
        user.json("mailbox list --token-file token --json")["cursor"],
        "0"
    );
    let by_variable = User::again(&user).with("MAYFLY_TOKEN", &token);
    assert_eq!(by_variable.json("mailbox list --json")["cursor"], "0");
    assert!(
        user.fails("mailbox list --token-file none", 2)
            .contains("cannot read the token in none")
    );
    assert!(
        user.fails("mailbox list --token mf_x", 2)
            .contains("--token-file")
    );
    user.succeeds("mailbox new");
    let said = user.fails("mailbox list --server http://192.0.2.1:8025", 2);
    assert!(said.contains("goes to no other"), "{said}");
    let own = User::again(&user).with("MAYFLY_STATE", "elsewhere.json");
    own.succeeds("mailbox new");
    assert!(user.home().join("elsewhere.json").exists());
    assert_ne!(
        std::fs::read(user.state()).ok(),
        std::fs::read(user.home().join("elsewhere.json")).ok()
    );
    let nowhere = User::again(&user).with("MAYFLY_STATE", "/proc/nothing/here");
    assert!(
        nowhere
            .fails("mailbox new", 1)
            .contains("name a file that can be written")
    );
    std::fs::write(user.state(), "{").expect("written");
    assert!(
        user.fails("mailbox list", 1)
            .contains("it holds no mailbox")
    );
}

#[test]
fn work_is_done_where_it_is_asked_for_and_a_key_spares_it() {
    let key = "mfk_commandline7key7commandline7key7";
    let hash = mayfly::control::keys::hash(key.as_bytes());
    let gateway = Gateway::start(&format!(
        "{OPEN_DOORS}\n[http]\nproof_of_work_bits = 8\n[plans]\noffered = [{{ name = \"team\" }}]\n\
         keys = [{{ plan = \"team\", hash = \"{hash}\" }}]\n"
    ));
    let user = User::of(&gateway, "worker");
    let (exit, stdout, stderr) = user.runs("mailbox new --messages 2");
    assert_eq!(exit, Some(0), "{stderr}");
    assert!(
        stdout.ends_with("@mayfly.test\n") && stderr.contains("8 bits"),
        "{stderr}"
    );
    let with_key = User::again(&user).with("MAYFLY_KEY", key);
    let (exit, stdout, stderr) = with_key.runs("mailbox new --json");
    let created: Value = serde_json::from_str(&stdout).expect("JSON");
    assert_eq!(
        (exit, &created["plan"], stderr.as_str()),
        (Some(0), &json!("team"), "")
    );
    let wrong = User::again(&user).with("MAYFLY_KEY", "mfk_wrong");
    let said = wrong.fails("mailbox new", 2);
    assert!(
        said.contains("MAYFLY_KEY") && !said.contains("mfk_wrong"),
        "{said}"
    );
    assert!(
        with_key
            .fails("mailbox new --name postmaster", 2)
            .contains("local_part")
    );
    assert!(
        with_key
            .fails("mailbox new --domain elsewhere.test", 2)
            .contains("not a domain of ours")
    );
    with_key.succeeds("mailbox new --name one");
    assert!(
        with_key
            .fails("mailbox new --name one", 1)
            .contains("choose another --name")
    );
}

#[test]
fn a_stream_goes_on_where_it_broke_off() {
    let folder = tempfile("stream");
    let mailbox =
        json!({ "address": "a@b.test", "expires_at": "2026-11-22T10:30:00Z", "cursor": "4" });
    let events = |events: &str| {
        format!(
            "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\nretry: 1\n\n{events}"
        )
    };
    let server = Fake::with(vec![
        answer("200 OK", "", &mailbox.to_string()),
        events("event: removed\nid: 5\ndata: {\"id\":\"1\"}\n\nevent: removed\nid: 6\nda"),
        String::new(),
        events(
            ":\n\nevent: removed\nid: 6\ndata: {\"id\":\"2\"}\n\nevent: closed\nid: 7\ndata: {}\n\n",
        ),
    ]);
    let user = User::at(&folder, server.address).with("MAYFLY_TOKEN", "mf_x");
    let (exit, stdout, stderr) = user.runs("mailbox watch --json");
    assert_eq!(exit, Some(0), "{stderr}");
    let lines: Vec<Value> = stdout
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    let ids: Vec<_> = lines
        .iter()
        .map(|line| line["id"].as_str().unwrap_or_default())
        .collect();
    assert_eq!(ids, ["5", "6", "7"], "none is missing and none comes twice");
    let requests = server.requests();
    let seen: Vec<_> = requests
        .iter()
        .filter_map(|head| {
            head.lines()
                .find_map(|line| line.strip_prefix("last-event-id: "))
        })
        .collect();
    assert_eq!(seen, ["4", "5", "5"]);
    std::fs::remove_dir_all(folder).expect("removed");
}

#[test]
fn a_watch_shows_what_happens_until_the_mailbox_is_gone() {
    let gateway = Gateway::start(OPEN_DOORS);
    let user = User::of(&gateway, "watcher");
    let address = user.succeeds("mailbox new");
    code(&gateway, address.trim(), "112233");
    let mut watching = user
        .command(env!("CARGO_BIN_EXE_mayfly"))
        .args(["mailbox", "watch", "--since", "0"])
        .stdout(Stdio::piped())
        .spawn()
        .expect("it starts");
    let mut stdout = BufReader::new(watching.stdout.take().expect("piped"));
    let mut line = || {
        let mut line = String::new();
        stdout.read_line(&mut line).expect("text");
        line
    };
    assert!(line().trim_end().ends_with("[112233]"));
    user.succeeds("mailbox delete 1");
    assert_eq!(line(), "   1  is gone\n");
    user.succeeds("mailbox delete");
    assert!(line().contains("the mailbox is gone"));
    assert!(tools::wait(&mut watching, PATIENCE).success());
}

/// A folder of its own.
fn tempfile(name: &str) -> std::path::PathBuf {
    let folder = std::env::temp_dir().join(format!("mayfly-cli-{}-{name}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder");
    folder
}

#[test]
fn a_server_that_asks_for_patience_gets_some() {
    let folder = tempfile("patience");
    let problem = |code: &str| {
        json!({ "type": "about:blank", "title": "x", "status": 429, "code": code, "detail": "Too many." }).to_string()
    };
    let busy = answer(
        "429 Too Many Requests",
        "Retry-After: 0\r\n",
        &problem("too-many-requests"),
    );
    let page = json!({ "messages": [], "cursor": "3" }).to_string();
    let long = answer(
        "429 Too Many Requests",
        "Retry-After: 3600\r\n",
        &problem("too-many-requests"),
    );
    let server = Fake::with(vec![busy.clone(), busy, answer("200 OK", "", &page), long]);
    let user = User::at(&folder, server.address).with("MAYFLY_TOKEN", "mf_x");
    let (exit, stdout, stderr) = user.runs("mailbox list --json");
    assert_eq!(exit, Some(0), "{stderr}");
    assert!(stdout.contains("\"cursor\":\"3\""));
    assert_eq!(stderr.matches("as the server asks").count(), 2, "{stderr}");
    let (exit, _, stderr) = user.runs("mailbox list");
    assert_eq!(exit, Some(1));
    assert!(stderr.contains("asks to wait 3600 s"), "{stderr}");
    assert_eq!(server.requests().len(), 4);
    std::fs::remove_dir_all(folder).expect("removed");
}

#[test]
fn what_is_no_mayfly_and_what_is_not_there_is_said() {
    let folder = tempfile("strangers");
    let html =
        "HTTP/1.1 502 Bad Gateway\r\nConnection: close\r\nContent-Length: 7\r\n\r\n<p>\u{1b}[2J";
    let elsewhere = "HTTP/1.1 302 Found\r\nLocation: http://192.0.2.1/\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
    let server = Fake::with(vec![
        html.to_owned(),
        elsewhere.to_owned(),
        answer("200 OK", "", "no json"),
    ]);
    let user = User::at(&folder, server.address).with("MAYFLY_TOKEN", "mf_x");
    for why in ["502", "302", "not JSON"] {
        let said = user.fails("mailbox list", 1);
        assert!(
            said.contains("is no mayfly") && said.contains(why) && !said.contains('\u{1b}'),
            "{said}"
        );
    }
    server.requests();
    let said = user.fails("mailbox list", 1);
    assert!(
        said.contains("cannot reach") && said.contains("refused") && said.contains("fix: "),
        "{said}"
    );
    for url in ["localhost:8025", "http://user:secret@host"] {
        assert!(
            user.fails(&format!("mailbox list --server {url}"), 2)
                .contains("write it like")
        );
    }
    std::fs::remove_dir_all(folder).expect("removed");
}

#[test]
fn https_is_spoken_with_those_whom_the_system_trusts() {
    let folder = tempfile("https");
    let made =
        rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).expect("a certificate");
    let authorities = folder.join("authorities.pem");
    std::fs::write(&authorities, made.cert.pem()).expect("written");
    let key = rustls::pki_types::PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key.into())
        .expect("a pair");
    let config = Arc::new(config);
    let page = json!({ "messages": [], "cursor": "9" }).to_string();
    let answers = vec![answer("200 OK", "", &page), String::new()];
    let server = Fake::wrapped(answers, move |stream, answer| {
        let connection = rustls::ServerConnection::new(Arc::clone(&config)).expect("TLS");
        let mut stream = rustls::StreamOwned::new(connection, stream);
        if answer.is_empty() {
            // The client does not trust it.
            return stream
                .flush()
                .map(|()| "trusted")
                .unwrap_or("refused")
                .to_owned();
        }
        let head = head(&mut stream);
        let _ = stream.write_all(answer.as_bytes());
        stream.conn.send_close_notify();
        let _ = stream.flush();
        head
    });
    let url = format!("https://localhost:{}", server.address.port());
    let user = User::at(&folder, server.address)
        .with("MAYFLY_TOKEN", "mf_x")
        .with("MAYFLY_SERVER", &url);
    let trusting = User::again(&user).with("SSL_CERT_FILE", &authorities.to_string_lossy());
    assert_eq!(trusting.json("mailbox list --json")["cursor"], "9");
    let said = user.fails("mailbox list", 1);
    assert!(said.contains("certificate"), "{said}");
    assert!(server.requests()[0].contains("authorization: Bearer mf_x"));
    std::fs::remove_dir_all(folder).expect("removed");
}
