//! HTTP by hand: one request a connection, and event streams.

use super::PATIENCE;
use serde_json::Value;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Instant;

/// An HTTP answer.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: Vec<u8>,
}

impl Answer {
    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).expect("JSON")
    }

    /// A text field of a flat JSON object.
    pub fn field(&self, name: &str) -> String {
        let json = self.json();
        let text = json[name].as_str();
        text.unwrap_or_else(|| panic!("no {name} in {json}"))
            .to_owned()
    }

    /// Head and body without the date, the only thing that may differ between two equal answers.
    pub fn timeless(&self) -> String {
        let dated = |line: &&str| !line.to_ascii_lowercase().starts_with("date:");
        let head: Vec<&str> = self.head.lines().filter(dated).collect();
        format!("{}\n\n{}", head.join("\n"), self.text())
    }
}

/// One HTTP request on a connection of its own.
pub fn request(
    to: SocketAddr,
    method: &str,
    path: &str,
    token: Option<&str>,
    body: &str,
) -> Answer {
    let authorization = token.map_or(String::new(), |token| {
        format!("Authorization: Bearer {token}\r\n")
    });
    let kind = if body.is_empty() {
        ""
    } else {
        "Content-Type: application/json\r\n"
    };
    let request = format!(
        "{method} {path} HTTP/1.1\r\nHost: {to}\r\nConnection: close\r\n{authorization}{kind}Content-Length: {}\r\n\r\n{body}",
        body.len()
    );
    answer(to, request.as_bytes())
}

/// Sends bytes as they are and reads an answer up to the end of the connection.
pub fn answer(to: SocketAddr, request: &[u8]) -> Answer {
    let mut stream = TcpStream::connect(to).expect("connected");
    stream.set_read_timeout(Some(PATIENCE)).expect("set");
    stream.write_all(request).expect("sent");
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).expect("answered");
    let end = bytes
        .windows(4)
        .position(|window| window == b"\r\n\r\n")
        .expect("a head");
    let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
    let body = bytes.split_off(end + 4);
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok());
    let chunked = head
        .to_ascii_lowercase()
        .contains("transfer-encoding: chunked");
    Answer {
        status: status.expect("a status"),
        body: if chunked { dechunk(&body) } else { body },
        head,
    }
}

fn dechunk(body: &[u8]) -> Vec<u8> {
    let mut reader = BufReader::new(body);
    let mut whole = Vec::new();
    while let Some(chunk) = chunk(&mut reader) {
        whole.extend_from_slice(&chunk);
    }
    whole
}

/// The next chunk; `None` after the last one.
fn chunk(reader: &mut impl std::io::BufRead) -> Option<Vec<u8>> {
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    let size = usize::from_str_radix(line.trim(), 16)
        .ok()
        .filter(|size| *size > 0)?;
    let mut bytes = vec![0; size + 2];
    reader.read_exact(&mut bytes).expect("a whole chunk");
    bytes.truncate(size);
    Some(bytes)
}

/// An open event stream.
pub struct Events {
    reader: BufReader<TcpStream>,
    text: String,
}

/// One event.
#[derive(Debug)]
pub struct Event {
    pub name: String,
    pub id: String,
    pub data: Value,
}

impl Events {
    /// Opens the stream of a mailbox; it is open when this returns.
    pub fn open(to: SocketAddr, token: &str) -> Self {
        Self::open_at(to, "/api/v1/events", token)
    }

    /// The same at another path.
    pub fn open_at(to: SocketAddr, path: &str, token: &str) -> Self {
        let mut stream = TcpStream::connect(to).expect("connected");
        stream.set_read_timeout(Some(PATIENCE)).expect("set");
        let request =
            format!("GET {path} HTTP/1.1\r\nHost: {to}\r\nAuthorization: Bearer {token}\r\n\r\n");
        stream.write_all(request.as_bytes()).expect("sent");
        let mut reader = BufReader::new(stream);
        let mut status = String::new();
        reader.read_line(&mut status).expect("a status");
        assert!(status.starts_with("HTTP/1.1 200"), "{status}");
        let mut line = String::new();
        while line != "\r\n" {
            line.clear();
            reader.read_line(&mut line).expect("a head");
        }
        Self {
            reader,
            text: String::new(),
        }
    }
}

impl Events {
    /// What comes next as it comes; `None` when the stream has ended.
    pub fn chunk(&mut self) -> Option<Vec<u8>> {
        chunk(&mut self.reader)
    }
}

impl Iterator for Events {
    type Item = Event;

    /// The next event; `None` when the stream has ended.
    fn next(&mut self) -> Option<Event> {
        let began = Instant::now();
        loop {
            // Signs of life alone are not what a test waits for.
            assert!(began.elapsed() < PATIENCE, "no event in time");
            while let Some((block, rest)) = self.text.split_once("\n\n") {
                let (block, rest) = (block.to_owned(), rest.to_owned());
                self.text = rest;
                let field = |name: &str| {
                    let value = block.lines().find_map(|line| line.strip_prefix(name));
                    value.map(|value| value.trim_start_matches([':', ' ']).to_owned())
                };
                // Comments and the time to reconnect are no events.
                if let (Some(name), Some(id), Some(data)) =
                    (field("event"), field("id"), field("data"))
                {
                    let data = serde_json::from_str(&data).expect("JSON");
                    return Some(Event { name, id, data });
                }
            }
            let bytes = chunk(&mut self.reader)?;
            self.text
                .push_str(std::str::from_utf8(&bytes).expect("UTF-8"));
        }
    }
}
