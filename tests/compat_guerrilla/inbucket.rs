//! The API of Inbucket.

use super::*;
use gateway::PATIENCE;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;

fn ask(gateway: &Gateway, method: &str, path: &str, body: &str) -> (u16, String) {
    let answer = request(gateway.http, method, path, None, body);
    (answer.status, answer.text())
}

#[test]
fn inbucket_shows_public_mailboxes_type_by_type() {
    let gateway = start();
    gateway.create("held");
    mail(
        &gateway,
        "held@mayfly.test",
        "Subject: somebody's\r\n\r\nno",
    );
    mail(&gateway, "u@open.test", MAIL);
    mail(
        &gateway,
        "u+tag@open.test",
        "From: <bob@a.test>\r\nSubject: two\r\n\r\nplain",
    );
    mail(&gateway, "u@wide.test", "Subject: elsewhere\r\n\r\nplain");

    check_reading(&gateway);
    check_marks_and_files(&gateway);
    check_what_is_not_there(&gateway);
}

fn check_reading(gateway: &Gateway) {
    let list = get(gateway, "/api/v1/mailbox/u").json();
    assert_eq!(list.as_array().map(Vec::len), Some(2));
    assert_eq!(
        kinds(&list[0]),
        "date:s from:s id:s mailbox:s posix-millis:n seen:b size:n subject:s to:[]"
    );
    assert_eq!(list[0]["to"], json!(["<js@open.test>"]));
    assert_eq!(list[1]["from"], "<bob@a.test>");
    let wide = get(gateway, "/api/v1/mailbox/u@wide.test").json();
    assert_eq!(
        (wide.as_array().map(Vec::len), &wide[0]["mailbox"]),
        (Some(1), &json!("u@wide.test"))
    );

    let shown = get(gateway, "/api/v1/mailbox/u/1").json();
    assert_eq!(
        kinds(&shown),
        "attachments:[] body:{} date:s from:s header:{} id:s mailbox:s posix-millis:n seen:b size:n subject:s to:[]"
    );
    assert_eq!(kinds(&shown["body"]), "html:s text:s");
    assert_eq!(
        kinds(&shown["attachments"][0]),
        "content-type:s download-link:s filename:s md5:s view-link:s"
    );
    let link = format!(
        "http://{}/serve/mailbox/u/1/attach/0/a%20b.txt",
        gateway.http
    );
    assert_eq!(shown["attachments"][0]["download-link"], link.as_str());
    assert_eq!(
        get(gateway, "/api/v1/mailbox/u/2").json()["body"]["html"],
        ""
    );
}

fn check_marks_and_files(gateway: &Gateway) {
    let list = get(gateway, "/api/v1/mailbox/u").json();
    assert_eq!(list[0]["seen"], false);
    for seen in [true, false, true] {
        let mark = format!("{{\"seen\":{seen}}}");
        let marked = ask(gateway, "PATCH", "/api/v1/mailbox/u/1", &mark);
        assert_eq!(marked, (200, "\"OK\"".to_owned()));
        let list = get(gateway, "/api/v1/mailbox/u").json();
        assert_eq!(list[0]["seen"], seen);
    }
    for bad in ["", "{}", "[]", "{\"seen\":1}", "seen"] {
        assert_eq!(
            ask(gateway, "PATCH", "/api/v1/mailbox/u/1", bad).0,
            400,
            "{bad}"
        );
    }
    let source = get(gateway, "/api/v1/mailbox/u/1/source");
    assert!(
        source.head.contains("content-type: text/plain"),
        "{}",
        source.head
    );
    assert!(
        source
            .text()
            .contains("\r\nSubject: =?utf-8?q?one_=C3=BC?=\r\n")
    );
    assert_eq!(get(gateway, "/serve/mailbox/u/latest/source").status, 200);
    let html = get(gateway, "/serve/mailbox/u/1/html");
    assert!(
        html.head.contains("content-security-policy: sandbox"),
        "{}",
        html.head
    );
    assert!(!html.text().contains("steal"));
}

fn check_what_is_not_there(gateway: &Gateway) {
    let gone = get(gateway, "/api/v1/mailbox/u/99");
    assert_eq!(gone.status, 404);
    for (method, path) in [
        ("GET", "/api/v1/mailbox/held@mayfly.test/1"),
        ("GET", "/api/v1/mailbox/held@mayfly.test/latest"),
        ("GET", "/api/v1/mailbox/held@mayfly.test/1/source"),
        ("GET", "/serve/mailbox/held@mayfly.test/1/attach/0/a"),
        ("GET", "/api/v1/mailbox/u/x"),
        ("GET", "/api/v1/mailbox/nobody/latest"),
        ("GET", "/api/v1/mailbox/nobody/1/source"),
        ("GET", "/serve/mailbox/u/1/attach/1/a"),
        ("GET", "/serve/mailbox/u/1/attach/x/a"),
        ("GET", "/serve/mailbox/u/2/html"),
        ("DELETE", "/api/v1/mailbox/held@mayfly.test/1"),
        ("DELETE", "/api/v1/mailbox/u/99"),
    ] {
        let answer = request(gateway.http, method, path, None, "");
        assert_eq!(answer.timeless(), gone.timeless(), "{method} {path}");
    }
    check(
        gateway,
        &[
            ("/api/v1/mailbox/held@mayfly.test", 200, json!([])),
            ("/api/v1/mailbox/held", 200, json!([])),
            ("/api/v1/mailbox/admin", 200, json!([])),
            ("/api/v1/mailbox/postmaster", 200, json!([])),
            ("/api/v1/mailbox/u@nowhere.test", 200, json!([])),
            ("/api/v1/mailbox/%20", 200, json!([])),
        ],
    );
    assert_eq!(
        ask(gateway, "DELETE", "/api/v1/mailbox/held@mayfly.test", ""),
        (200, "\"OK\"".to_owned())
    );
    assert_eq!(ask(gateway, "POST", "/api/v1/mailbox/u", "").0, 405);
    // Without the words of a web socket.
    assert_eq!(get(gateway, "/api/v1/monitor/messages").status, 400);
    // Ours stand where they stood.
    assert_eq!(get(gateway, "/api/v1/mailbox").status, 401);
    assert_eq!(get(gateway, "/api/v1/mailbox/recover").status, 405);
}

#[test]
fn inbucket_js_client_reads_deletes_and_purges() {
    let gateway = start();
    mail(&gateway, "js@open.test", MAIL);
    mail(
        &gateway,
        "js@open.test",
        "From: <bob@a.test>\r\nSubject: two\r\n\r\nplain",
    );
    let mut node = program("node");
    node.arg(script("mailbox.mjs"))
        .arg(clients().join("node"))
        .arg(format!("http://{}", gateway.http));
    let said = succeed(&mut node, "");
    assert!(said.ends_with("done\n"), "{said}");
}

#[test]
fn each_monitor_that_is_opened_counts_as_a_request() {
    let gateway = Gateway::start(&format!("{SETTINGS}[http]\nrequests_per_minute = 2\n"));
    let open = || {
        let mut stream = TcpStream::connect(gateway.http).expect("connected");
        stream.set_read_timeout(Some(PATIENCE)).expect("set");
        let head = "GET /api/v1/monitor/messages HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n";
        stream.write_all(head.as_bytes()).expect("sent");
        let mut status = [0; 12];
        stream.read_exact(&mut status).expect("answered");
        String::from_utf8_lossy(&status[9..]).into_owned()
    };
    assert_eq!([open(), open(), open()], ["101", "101", "429"]);
}

#[test]
fn both_monitors_tell_of_public_mail_and_of_nothing_else() {
    let gateway = start();
    gateway.create("held");
    python("monitor.py", &gateway);
    // When the last of them has gone nothing is left of them.
    gateway.await_metric("mayfly_http_connections", "", 1);
    mail(&gateway, "u@open.test", "Subject: nobody listens\r\n\r\nx");
}

#[test]
fn a_monitor_that_does_not_answer_is_sent_away() {
    use std::io::{Read as _, Write as _};
    let settings = format!("{SETTINGS}inbucket_ping = \"1s\"\n");
    let gateway = Gateway::start(&settings);
    let mut stream = TcpStream::connect(gateway.http).expect("connected");
    stream.set_read_timeout(Some(PATIENCE)).expect("set");
    let hello = format!(
        "GET /api/v2/monitor/messages HTTP/1.1\r\nHost: {}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
        gateway.http
    );
    stream.write_all(hello.as_bytes()).expect("sent");
    let mut said = Vec::new();
    stream.read_to_end(&mut said).expect("it ends");
    let end = said
        .windows(4)
        .position(|it| it == b"\r\n\r\n")
        .expect("a head")
        + 4;
    let head = String::from_utf8_lossy(&said[..end]).to_lowercase();
    assert!(head.starts_with("http/1.1 101"), "{head}");
    // RFC 6455 section 1.3 has this answer to this key.
    assert!(head.contains("s3pplmbitxaq9kygzzhzrbk+xoo="), "{head}");
    assert_eq!(said[end..], [0x89, 0], "one question, and no answer");
}
