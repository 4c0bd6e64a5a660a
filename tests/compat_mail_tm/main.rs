//! The API of mail.tm as its clients meet it: two of them, as they are published, and what they may ask, case by case.

#![cfg(feature = "server")]
#![forbid(unsafe_code)]

#[path = "../gateway/mod.rs"]
mod gateway;
mod hub;
mod ours;
mod table;

use gateway::{Answer, Gateway, OPEN_DOORS, http, tools};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::Command;

/// The API is on, and passwords cost little: what they cost is not what these tests are about.
const ON: &str = "
[compatibility]
mail_tm = true
password_memory = \"64 KiB\"
password_passes = 1
";

const HYDRA: &str = "application/ld+json";
const PLAIN: &str = "application/json";

fn start(more: &str) -> Gateway {
    let doors = "[http]\nconnections_per_client_max = 0\n";
    let http = if more.contains("[http]") { "" } else { doors };
    Gateway::start(&format!("{OPEN_DOORS}{http}{ON}{more}"))
}

/// A request with these fields.
fn ask(gateway: &Gateway, line: &str, fields: &[&str], body: &str) -> Answer {
    let fields: String = fields.iter().map(|field| format!("{field}\r\n")).collect();
    let request = format!(
        "{line} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n{fields}Content-Length: {}\r\n\r\n{body}",
        gateway.http,
        body.len()
    );
    http::answer(gateway.http, request.as_bytes())
}

/// The value of a field of an answer's head.
fn field<'a>(answer: &'a Answer, name: &str) -> Option<&'a str> {
    answer.head.lines().find_map(|line| {
        let (found, value) = line.split_once(": ")?;
        found.eq_ignore_ascii_case(name).then_some(value)
    })
}

/// Somebody with an account.
struct Somebody {
    address: String,
    id: String,
    token: String,
}

impl Somebody {
    /// Registers and logs in.
    fn new(gateway: &Gateway, local_part: &str) -> Self {
        let address = format!("{local_part}@mayfly.test");
        let body = json!({"address": address, "password": "secret"}).to_string();
        let made = gateway.post("/accounts", &body);
        assert_eq!(made.status, 201, "{}", made.text());
        let given = gateway.post("/token", &body);
        assert_eq!(given.status, 200, "{}", given.text());
        Self {
            address,
            id: given.field("id"),
            token: given.field("token"),
        }
    }

    fn ask(&self, gateway: &Gateway, line: &str, accept: &str) -> Answer {
        let authorization = format!("Authorization: Bearer {}", self.token);
        let accept = format!("Accept: {accept}");
        ask(gateway, line, &[&authorization, &accept], "")
    }

    /// Its messages, newest first.
    fn messages(&self, gateway: &Gateway) -> Vec<Value> {
        let listed = self.ask(gateway, "GET /messages", PLAIN);
        assert_eq!(listed.status, 200, "{}", listed.text());
        listed.json().as_array().expect("a list").clone()
    }

    fn gets(&self, gateway: &Gateway, subject: &str) {
        let mail = format!("Subject: {subject}\r\n\r\ntext");
        let reply = gateway.deliver(&self.address, &mail);
        assert!(reply.starts_with("250"), "{reply}");
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn clients() -> PathBuf {
    let path = root().join("target/compat_clients");
    assert!(
        path.exists(),
        "{path:?} is missing: tests/setup installs it"
    );
    path
}

/// Runs one of the programs beside this file.
fn run(program: &str, script: &str, arguments: &[&str], gateway: &Gateway) {
    let mut command: Command = tools::program(program);
    command
        .arg(root().join("tests/compat_mail_tm").join(script))
        .args(arguments)
        .current_dir(gateway.folder())
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env("NO_PROXY", "*")
        .env("MAYFLY_CLIENTS", clients())
        .env("MAYFLY_HTTP", format!("http://{}", gateway.http))
        .env("MAYFLY_SMTP", gateway.smtp.to_string());
    let said = tools::succeed(&mut command, "");
    assert!(said.trim().ends_with("well"), "{said}");
}

#[test]
fn mailjs_lives_a_life() {
    run("node", "mailjs.mjs", &["life"], &start(""));
}

#[test]
fn mailjs_comes_back_when_it_sent_too_much() {
    let gateway = start("[http]\nrequests_per_minute = 3\n");
    run("node", "mailjs.mjs", &["limits"], &gateway);
    gateway.await_metric("mayfly_http_rate_limited_total", "", 4);
}

#[test]
fn mailtm_unofficial_lives_a_life() {
    let python = clients().join("python/bin/python");
    run(&python.to_string_lossy(), "unofficial.py", &[], &start(""));
}
