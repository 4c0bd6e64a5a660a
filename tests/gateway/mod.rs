//! A gateway for a test: the real binary, on ports of its own, ended when the test ends.

#![allow(dead_code, unreachable_pub, unused_imports)] // Each test file uses its part of this.

pub mod anybody;
pub mod http;
pub mod smtp;
pub mod tools;

pub use http::{Answer, Events, request};
pub use smtp::{Client, reset};

use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

/// How long anything may take before a test gives up.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// What keeps one address from flooding, opened: the tests come from one address.
pub const OPEN_DOORS: &str = "
[admission]
connections_max = 100_000
connections_per_client_max = 0
connections_per_second_max = 0
";

/// Where a gateway listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ports {
    pub smtp: SocketAddr,
    pub smtps: SocketAddr,
    pub http: SocketAddr,
    pub operator: SocketAddr,
}

impl Ports {
    /// Any free port.
    pub const FREE: Self = {
        let any = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);
        Self {
            smtp: any,
            smtps: any,
            http: any,
            operator: any,
        }
    };

    fn section(self) -> String {
        let Self {
            smtp,
            smtps,
            http,
            operator,
        } = self;
        format!(
            "[listen]\nsmtp = [\"{smtp}\"]\nsmtps = [\"{smtps}\"]\nhttp = [\"{http}\"]\noperator = [\"{operator}\"]\n"
        )
    }
}

/// A running gateway.
pub struct Gateway {
    child: Child,
    /// Where it listens.
    pub ports: Ports,
    pub smtp: SocketAddr,
    pub smtps: SocketAddr,
    pub http: SocketAddr,
    pub operator: SocketAddr,
    /// What it will say on standard error.
    log: Receiver<String>,
    /// What it has said so far.
    said: String,
    /// Where its settings are; deleted at the end.
    folder: PathBuf,
}

impl Gateway {
    /// Starts one with these settings (sections other than `[listen]`) on free ports.
    pub fn start(settings: &str) -> Self {
        Self::start_on(Ports::FREE, settings)
    }

    /// Starts one on these ports.
    pub fn start_on(ports: Ports, settings: &str) -> Self {
        Self::try_start(ports, settings, &[])
            .unwrap_or_else(|said| panic!("it did not start:\n{said}"))
    }

    /// Starts one that may have so many open files in each table of them.
    pub fn start_with_files(files: u32, settings: &str) -> Self {
        let mut command = Command::new("prlimit");
        command
            .arg(format!("--nofile={files}:{files}"))
            .arg(env!("CARGO_BIN_EXE_mayfly"));
        Self::try_start_as(command, Ports::FREE, settings, &[])
            .unwrap_or_else(|said| panic!("it did not start:\n{said}"))
    }

    /// Starts one; or says what it said instead.
    pub fn try_start(
        ports: Ports,
        settings: &str,
        variables: &[(&str, &str)],
    ) -> Result<Self, String> {
        let command = Command::new(env!("CARGO_BIN_EXE_mayfly"));
        Self::try_start_as(command, ports, settings, variables)
    }

    fn try_start_as(
        mut command: Command,
        ports: Ports,
        settings: &str,
        variables: &[(&str, &str)],
    ) -> Result<Self, String> {
        let folder = folder();
        let file = folder.join("mayfly.toml");
        std::fs::write(&file, ports.section() + settings).expect("the settings are written");
        command
            .args(["serve", "--config"])
            .arg(&file)
            .env("NO_COLOR", "1")
            .stderr(Stdio::piped());
        if !settings.contains("cores =") {
            command.env("MAYFLY__SERVER__CORES", "2");
        }
        if !settings.contains("requests_per_minute") {
            command.env("MAYFLY__HTTP__REQUESTS_PER_MINUTE", "0");
        }
        if !settings.contains("creations_per_minute") {
            command.env("MAYFLY__HTTP__CREATIONS_PER_MINUTE", "0");
        }
        if !settings.contains("loop_lag") {
            // A machine that runs all tests at once is late now and then, and that is not what they are about.
            for level in ["STRAINED", "OVERLOADED", "REFUSING"] {
                command.env(format!("MAYFLY__PRESSURE__LOOP_LAG_{level}"), "0s");
            }
        }
        let mut child = command
            .envs(variables.iter().copied())
            .spawn()
            .expect("the binary runs");
        let log = lines(child.stderr.take().expect("it is piped"));
        let mut gateway = Self {
            child,
            ports,
            smtp: ports.smtp,
            smtps: ports.smtps,
            http: ports.http,
            operator: ports.operator,
            log,
            said: String::new(),
            folder,
        };
        if !gateway.read_until(|line| line.starts_with("ready in ")) {
            return Err(gateway.said.clone());
        }
        let said = gateway.said.clone();
        gateway.smtp = address(&said, "smtp");
        gateway.smtps = address(&said, "smtps");
        gateway.http = address(&said, "http");
        gateway.operator = address(&said, "operator");
        let Self {
            smtp,
            smtps,
            http,
            operator,
            ..
        } = gateway;
        gateway.ports = Ports {
            smtp,
            smtps,
            http,
            operator,
        };
        Ok(gateway)
    }

    /// Reads its log up to a line; says whether it came before the log ended.
    pub fn read_until(&mut self, mut found: impl FnMut(&str) -> bool) -> bool {
        loop {
            match self.log.recv_timeout(PATIENCE) {
                Ok(line) => {
                    let _ = writeln!(self.said, "{line}");
                    if found(&line) {
                        return true;
                    }
                }
                Err(std::sync::mpsc::RecvTimeoutError::Disconnected) => return false,
                Err(why) => panic!("{why}; it had said:\n{}", self.said),
            }
        }
    }

    /// Everything it has said so far.
    pub fn said(&mut self) -> &str {
        while let Ok(line) = self.log.try_recv() {
            let _ = writeln!(self.said, "{line}");
        }
        &self.said
    }

    /// Everything it has ever said; call when it has ended.
    pub fn last_words(&mut self) -> &str {
        self.read_until(|_| false);
        &self.said
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// A folder for files of the test, deleted with the gateway.
    pub fn folder(&self) -> &std::path::Path {
        &self.folder
    }

    /// Writes its settings anew and tells it to read them. It does so in its own time.
    pub fn reload(&self, settings: &str) {
        let file = self.folder.join("mayfly.toml");
        std::fs::write(file, self.ports.section() + settings).expect("the settings are written");
        self.signal("HUP");
    }

    /// Sends it a signal: `TERM`, `HUP`.
    pub fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        let status = Command::new("kill")
            .args(["-s", name, &pid])
            .status()
            .expect("kill runs");
        assert!(status.success());
    }

    /// Waits until it has ended.
    pub fn wait(&mut self) -> ExitStatus {
        tools::wait(&mut self.child, PATIENCE)
    }

    /// Tells it to stop and waits.
    pub fn stop(&mut self) -> ExitStatus {
        self.signal("TERM");
        self.wait()
    }

    /// Creates a mailbox; returns its address and token.
    pub fn create(&self, local_part: &str) -> (String, String) {
        self.create_with(&format!("{{\"local_part\":\"{local_part}\"}}"))
    }

    /// Creates a mailbox as the fields of the request say.
    pub fn create_with(&self, fields: &str) -> (String, String) {
        let answer = self.post("/api/v1/mailboxes", fields);
        assert_eq!(answer.status, 201, "{}", answer.text());
        (answer.field("address"), answer.field("token"))
    }

    /// A public GET in a token's name.
    pub fn get(&self, path: &str, token: &str) -> Answer {
        request(self.http, "GET", path, Some(token), "")
    }

    /// A public DELETE in a token's name.
    pub fn delete(&self, path: &str, token: &str) -> Answer {
        request(self.http, "DELETE", path, Some(token), "")
    }

    /// A public POST.
    pub fn post(&self, path: &str, body: &str) -> Answer {
        request(self.http, "POST", path, None, body)
    }

    /// How many messages a mailbox holds.
    pub fn held(&self, token: &str) -> u64 {
        let answer = self.get("/api/v1/mailbox", token);
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.json()["messages"].as_u64().expect("a number")
    }

    /// Every message of a mailbox as its lists show it.
    pub fn list(&self, token: &str) -> Vec<serde_json::Value> {
        let mut all = Vec::new();
        let mut cursor = "0".to_owned();
        loop {
            let answer = self.get(&format!("/api/v1/messages?cursor={cursor}"), token);
            assert_eq!(answer.status, 200, "{}", answer.text());
            let page = answer.json();
            let messages = page["messages"].as_array().expect("a list");
            if messages.is_empty() {
                return all;
            }
            all.extend_from_slice(messages);
            cursor = page["cursor"].as_str().expect("a cursor").to_owned();
        }
    }

    /// The sum of a metric's values over its labels, of those whose line contains `part`.
    pub fn metric(&self, name: &str, part: &str) -> u64 {
        let page = self.metrics();
        let of_it =
            |line: &&str| line.starts_with(name) && line[name.len()..].starts_with(['{', ' ']);
        page.lines()
            .filter(of_it)
            .filter(|line| line.contains(part))
            .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
            .sum::<f64>() as u64
    }

    /// The whole page of metrics.
    pub fn metrics(&self) -> String {
        let answer = request(self.operator, "GET", "/metrics", None, "");
        assert_eq!(answer.status, 200);
        answer.text()
    }

    /// Waits until a metric has a value; polls, as metrics are there to be polled.
    pub fn await_metric(&self, name: &str, part: &str, wanted: u64) {
        poll(|| match self.metric(name, part) {
            found if found == wanted => Ok(()),
            found => Err(format!("{name} {part} is {found}, not {wanted}")),
        });
    }

    /// Waits until nobody is connected over SMTP and nothing is reserved beyond `bytes`.
    pub fn await_rest(&self, bytes: u64) {
        self.await_metric("mayfly_smtp_connections", "", 0);
        self.await_metric("mayfly_store_bytes", "", bytes);
    }

    /// Sends a message with every line written by hand; returns the reply to its end.
    pub fn deliver(&self, to: &str, content: &str) -> String {
        Client::connect(self.smtp).deliver(&[to], content.as_bytes())
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// Tries until it succeeds; fails with its last complaint when that takes too long.
pub fn poll<T>(mut attempt: impl FnMut() -> Result<T, String>) -> T {
    let began = Instant::now();
    loop {
        match attempt() {
            Ok(value) => return value,
            Err(why) => assert!(began.elapsed() < PATIENCE, "{why}"),
        }
        std::thread::yield_now();
    }
}

/// The first address that the banner names for a listener.
fn address(said: &str, name: &str) -> SocketAddr {
    let line = said
        .lines()
        .find(|line| line.split_whitespace().next() == Some(name));
    let text = line.and_then(|line| line.split_whitespace().nth(1));
    text.and_then(|text| text.parse().ok())
        .unwrap_or_else(|| panic!("no {name} in the banner:\n{said}"))
}

/// What a process says, line by line, taken from it whether anybody listens or not.
fn lines(stderr: std::process::ChildStderr) -> Receiver<String> {
    let (lines, log) = channel();
    std::thread::spawn(move || {
        for line in BufReader::new(stderr).lines() {
            let Ok(line) = line else { return };
            if lines.send(line).is_err() {
                return;
            }
        }
    });
    log
}

/// A folder of its own for each gateway of each test process.
fn folder() -> PathBuf {
    use std::sync::atomic::{AtomicU32, Ordering};
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let name = format!("mayfly-test-{}-{number}", std::process::id());
    let folder = std::env::temp_dir().join(name);
    std::fs::create_dir_all(&folder).expect("a folder");
    folder
}
