//! Other services' APIs that know no secret, and GuerrillaMail's: their own clients against the real binary, and raw requests with
//! what each must be answered, type by type.
#![cfg(feature = "server")]

#[path = "../gateway/mod.rs"]
mod gateway;
mod guerrilla;
mod inbucket;
mod one_sec_mail;
mod switches;

use gateway::tools::{program, succeed};
use gateway::{Answer, Gateway, request};
use serde_json::{Value, json};
use std::path::PathBuf;
use std::process::Command;

/// A mail with all that these APIs show: encoded words, HTML that would do harm, an image from elsewhere, an attachment.
const MAIL: &str = "From: Ann B <ann@a.test>\r\nTo: <js@open.test>\r\nSubject: =?utf-8?q?one_=C3=BC?=\r\nMIME-Version: 1.0\r\n\
    Content-Type: multipart/mixed; boundary=cut\r\n\r\n\
    --cut\r\nContent-Type: multipart/alternative; boundary=or\r\n\r\n\
    --or\r\nContent-Type: text/plain\r\n\r\nYour code is 482913.\r\n\
    --or\r\nContent-Type: text/html\r\n\r\n<p>Your code is <b>482913</b>.</p><script>steal()</script>\
    <img src=\"https://t.test/p.gif?a=1&amp;b=2\">\r\n--or--\r\n\
    --cut\r\nContent-Type: text/plain; name=\"a b.txt\"\r\nContent-Disposition: attachment; filename=\"a b.txt\"\r\n\r\n\
    attached\r\n--cut--";

const SETTINGS: &str = "[recipients]\ndomains = [\"mayfly.test\", \"open.test\", \"wide.test\"]\n\
    public_domains = [\"open.test\", \"wide.test\"]\n\
    [compatibility]\ninbucket = true\none_sec_mail = true\nguerrilla_mail = true\ninbucket_monitors_max = 5\n";

fn start() -> Gateway {
    Gateway::start(SETTINGS)
}

/// Where tests/setup puts clients.
fn clients() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("target/compat_guerrilla")
}

/// A file of this test.
fn script(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests/compat_guerrilla")
        .join(name)
}

/// Runs a script in Python that is told the ports and says `done` at its end.
fn python(name: &str, gateway: &Gateway) {
    let python = clients().join("python/bin/python3");
    let mut command: Command = program(python.to_str().expect("a path"));
    command
        .arg(script(name))
        .args([gateway.http, gateway.smtp].map(|it| it.port().to_string()));
    let said = succeed(&mut command, "");
    assert!(said.ends_with("done\n"), "{said}");
}

fn get(gateway: &Gateway, path: &str) -> Answer {
    request(gateway.http, "GET", path, None, "")
}

/// Sends one mail; it is there when this returns.
fn mail(gateway: &Gateway, to: &str, content: &str) {
    let reply = gateway.deliver(to, content);
    assert!(reply.starts_with("250"), "{reply}");
}

/// The kinds of the values of an object, in the order of their names: `id:n from:s`.
fn kinds(view: &Value) -> String {
    let object = view.as_object().expect("an object");
    let kinds = object.iter().map(|(name, value)| {
        let kind = match value {
            Value::Null => "null",
            Value::Bool(_) => "b",
            Value::Number(_) => "n",
            Value::String(_) => "s",
            Value::Array(_) => "[]",
            Value::Object(_) => "{}",
        };
        format!("{name}:{kind}")
    });
    kinds.collect::<Vec<_>>().join(" ")
}

/// Paths that must be answered with this status and this JSON.
fn check(gateway: &Gateway, table: &[(&str, u16, Value)]) {
    for (path, status, expected) in table {
        let answer = get(gateway, path);
        assert_eq!(answer.status, *status, "{path}: {}", answer.text());
        let said = match serde_json::from_slice(&answer.body) {
            Ok(json) => json,
            Err(_) => json!(answer.text()),
        };
        assert_eq!(said, *expected, "{path}");
    }
}
