//! A gateway for a test: the real binary, on ports of its own, ended when the test ends.

#![allow(dead_code)] // Each test file uses its part of this.

use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

/// How long anything may take before a test gives up.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Settings that every test gateway has: free ports on IPv4 loopback.
const PORTS: &str = r#"
[listen]
smtp = ["127.0.0.1:0"]
smtps = ["127.0.0.1:0"]
http = ["127.0.0.1:0"]
operator = ["127.0.0.1:0"]
"#;

/// A running gateway.
pub struct Gateway {
    child: Child,
    /// Where it listens.
    pub smtp: SocketAddr,
    pub smtps: SocketAddr,
    pub http: SocketAddr,
    pub operator: SocketAddr,
    /// What it has said so far on standard error, and what it will say.
    log: Receiver<String>,
    said: String,
    /// Where its settings are; deleted at the end.
    folder: std::path::PathBuf,
}

impl Gateway {
    /// Starts one with these settings (sections other than `[listen]`).
    pub fn start(settings: &str) -> Self {
        Self::start_with(&format!("{PORTS}\n{settings}"))
    }

    /// Starts one with exactly these settings.
    pub fn start_with(settings: &str) -> Self {
        let folder = folder();
        let file = folder.join("mayfly.toml");
        std::fs::write(&file, settings).expect("the settings are written");
        let mut child = Command::new(env!("CARGO_BIN_EXE_mayfly"))
            .args(["serve", "--config"])
            .arg(&file)
            .env("NO_COLOR", "1")
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary runs");
        let stderr = child.stderr.take().expect("it is piped");
        let (lines, log) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines() {
                let Ok(line) = line else { return };
                if lines.send(line).is_err() {
                    return;
                }
            }
        });
        let nowhere = SocketAddr::from(([0, 0, 0, 0], 0));
        let mut gateway = Self {
            child,
            smtp: nowhere,
            smtps: nowhere,
            http: nowhere,
            operator: nowhere,
            log,
            said: String::new(),
            folder,
        };
        gateway.read_until(|line| line.starts_with("ready in "));
        let address = |name: &str| {
            let line = gateway.said.lines().find(|line| line.split_whitespace().next() == Some(name));
            let text = line.and_then(|line| line.split_whitespace().nth(1));
            text.and_then(|text| text.parse().ok())
                .unwrap_or_else(|| panic!("no {name} in the banner:\n{}", gateway.said))
        };
        (gateway.smtp, gateway.smtps) = (address("smtp"), address("smtps"));
        (gateway.http, gateway.operator) = (address("http"), address("operator"));
        gateway
    }

    /// Reads its log up to a line.
    pub fn read_until(&mut self, mut found: impl FnMut(&str) -> bool) {
        loop {
            match self.log.recv_timeout(PATIENCE) {
                Ok(line) => {
                    let _ = writeln!(self.said, "{line}");
                    if found(&line) {
                        return;
                    }
                }
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

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The file with its settings.
    pub fn settings(&self) -> std::path::PathBuf {
        self.folder.join("mayfly.toml")
    }

    /// Sends it a signal: `TERM`, `HUP`.
    pub fn signal(&self, name: &str) {
        let status = Command::new("kill")
            .args(["-s", name, &self.child.id().to_string()])
            .status()
            .expect("kill runs");
        assert!(status.success());
    }

    /// Waits until it has ended.
    pub fn wait(&mut self) -> ExitStatus {
        self.child.wait().expect("it ends")
    }

    /// Tells it to stop and waits.
    pub fn stop(&mut self) -> ExitStatus {
        self.signal("TERM");
        self.wait()
    }

    /// Creates a mailbox; returns its address and token.
    pub fn create(&self, local_part: &str) -> (String, String) {
        let answer = self.post("/api/v1/mailboxes", &format!("{{\"local_part\":\"{local_part}\"}}"));
        assert_eq!(answer.status, 201, "{}", answer.body);
        (answer.text("address"), answer.text("token"))
    }

    /// A public GET in a token's name.
    pub fn get(&self, path: &str, token: &str) -> Answer {
        request(self.http, "GET", path, Some(token), "")
    }

    /// A public POST.
    pub fn post(&self, path: &str, body: &str) -> Answer {
        request(self.http, "POST", path, None, body)
    }

    /// The sum of a metric's values over its labels, of those whose line contains `part`.
    pub fn metric(&self, name: &str, part: &str) -> u64 {
        let answer = request(self.operator, "GET", "/metrics", None, "");
        assert_eq!(answer.status, 200);
        answer
            .body
            .lines()
            .filter(|line| line.starts_with(name) && line[name.len()..].starts_with(['{', ' ']) && line.contains(part))
            .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
            .sum::<f64>() as u64
    }

    /// Waits until a metric has a value; polls, as metrics are there to be polled.
    pub fn await_metric(&self, name: &str, part: &str, wanted: u64) {
        let began = std::time::Instant::now();
        let mut found = self.metric(name, part);
        while found != wanted {
            assert!(began.elapsed() < PATIENCE, "{name} {part} is {found}, not {wanted}");
            std::thread::yield_now();
            found = self.metric(name, part);
        }
    }

    /// Sends a message with every line written by hand; returns the reply to its end.
    pub fn deliver(&self, to: &str, content: &str) -> String {
        let mut client = Client::connect(self.smtp);
        client.expect("220");
        for (line, code) in [
            ("EHLO client.example", "250"),
            ("MAIL FROM:<sender@client.example>", "250"),
            (&format!("RCPT TO:<{to}>"), "250"),
            ("DATA", "354"),
        ] {
            client.say(line);
            client.expect(code);
        }
        client.raw(content.as_bytes());
        client.raw(b"\r\n.\r\n");
        client.reply()
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// A folder of its own for each gateway of each test process.
fn folder() -> std::path::PathBuf {
    use std::sync::atomic::{AtomicU32, Ordering};
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let name = format!("mayfly-test-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
    let folder = std::env::temp_dir().join(name);
    std::fs::create_dir_all(&folder).expect("a folder");
    folder
}

/// An HTTP answer.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: String,
}

impl Answer {
    /// A text field of a flat JSON object.
    pub fn text(&self, field: &str) -> String {
        let json: serde_json::Value = serde_json::from_str(&self.body).expect("JSON");
        json[field].as_str().unwrap_or_else(|| panic!("no {field} in {}", self.body)).to_owned()
    }

    /// The body as JSON.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).expect("JSON")
    }
}

/// One HTTP request on a connection of its own.
pub fn request(to: SocketAddr, method: &str, path: &str, token: Option<&str>, body: &str) -> Answer {
    let mut stream = TcpStream::connect(to).expect("connected");
    stream.set_read_timeout(Some(PATIENCE)).expect("set");
    let authorization = token.map_or(String::new(), |token| format!("Authorization: Bearer {token}\r\n"));
    let kind = if body.is_empty() { "" } else { "Content-Type: application/json\r\n" };
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: {to}\r\nConnection: close\r\n{authorization}{kind}Content-Length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).expect("sent");
    stream.write_all(body.as_bytes()).expect("sent");
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).expect("answered");
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).expect("a status");
    let chunked = head.to_ascii_lowercase().contains("transfer-encoding: chunked");
    Answer {
        status,
        head: head.to_owned(),
        body: if chunked { dechunk(body) } else { body.to_owned() },
    }
}

fn dechunk(mut body: &str) -> String {
    let mut whole = String::new();
    while let Some((size, rest)) = body.split_once("\r\n") {
        let size = usize::from_str_radix(size.trim(), 16).expect("a chunk's size");
        if size == 0 {
            break;
        }
        whole.push_str(&rest[..size]);
        body = rest[size..].trim_start_matches("\r\n");
    }
    whole
}

/// An SMTP client that says exactly what it is told.
pub struct Client {
    pub stream: TcpStream,
    reader: BufReader<TcpStream>,
}

impl Client {
    pub fn connect(to: SocketAddr) -> Self {
        let stream = TcpStream::connect(to).expect("connected");
        stream.set_read_timeout(Some(PATIENCE)).expect("set");
        stream.set_nodelay(true).expect("set");
        let reader = BufReader::new(stream.try_clone().expect("cloned"));
        Self { stream, reader }
    }

    /// Sends bytes as they are.
    pub fn raw(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).expect("sent");
    }

    /// Sends a line.
    pub fn say(&mut self, line: &str) {
        self.raw(format!("{line}\r\n").as_bytes());
    }

    /// Reads a reply, all its lines; empty when the connection has ended.
    pub fn reply(&mut self) -> String {
        let mut reply = String::new();
        loop {
            let mut line = String::new();
            match self.reader.read_line(&mut line) {
                Ok(0) | Err(_) => return reply,
                Ok(_) => reply.push_str(&line),
            }
            if line.as_bytes().get(3) != Some(&b'-') {
                return reply;
            }
        }
    }

    /// Reads a reply and checks its code.
    pub fn expect(&mut self, code: &str) -> String {
        let reply = self.reply();
        assert!(reply.starts_with(code), "expected {code}, got {reply:?}");
        reply
    }
}
