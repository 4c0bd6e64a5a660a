//! A small HTTP client that sends exactly what it is told.

use serde_json::Value;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// The head as it came, without the Date field, which changes.
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (found, value) = line.split_once(": ")?;
            found.eq_ignore_ascii_case(name).then_some(value)
        })
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|why| panic!("{why} in {self:?}"))
    }

    /// The word for programs in a problem.
    pub(crate) fn code(&self) -> String {
        assert_eq!(
            self.field("content-type"),
            Some("application/problem+json"),
            "{self:?}"
        );
        let problem = self.json();
        assert_eq!(problem["status"], self.status);
        problem["code"].as_str().expect("a code").to_owned()
    }
}

pub(crate) fn connect(to: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(to).expect("connects");
    let patience = Some(Duration::from_secs(20));
    stream.set_read_timeout(patience).expect("a timeout");
    stream.set_write_timeout(patience).expect("a timeout");
    stream
}

/// Sends bytes, closes that direction if told so, and reads to the end of the connection.
pub(crate) fn exchange(to: SocketAddr, bytes: &[u8]) -> Vec<u8> {
    let mut stream = connect(to);
    // The server may answer and close before it has taken everything.
    let _ = stream.write_all(bytes);
    let mut received = Vec::new();
    stream
        .read_to_end(&mut received)
        .expect("the server closes");
    received
}

pub(crate) fn send(
    to: SocketAddr,
    method: &str,
    path: &str,
    fields: &[&str],
    body: &str,
) -> Answer {
    let mut head = format!("{method} {path} HTTP/1.1\r\nHost: {to}\r\nConnection: close\r\n");
    for field in fields {
        head.push_str(field);
        head.push_str("\r\n");
    }
    if !body.is_empty() {
        head.push_str(&format!("Content-Length: {}\r\n", body.len()));
    }
    parse(&exchange(to, format!("{head}\r\n{body}").as_bytes())).remove(0)
}

/// All answers in what a connection said.
pub(crate) fn parse(mut received: &[u8]) -> Vec<Answer> {
    let mut answers = Vec::new();
    while !received.is_empty() {
        let end = received
            .windows(4)
            .position(|window| window == b"\r\n\r\n")
            .unwrap_or_else(|| panic!("no head in {:?}", String::from_utf8_lossy(received)));
        let head = std::str::from_utf8(&received[..end]).expect("ASCII");
        let kept: Vec<&str> = head
            .lines()
            .filter(|line| !line.to_ascii_lowercase().starts_with("date:"))
            .collect();
        let mut answer = Answer {
            status: head[9..12].parse().expect("a status"),
            head: kept.join("\n"),
            body: Vec::new(),
        };
        received = &received[end + 4..];
        let length = answer
            .field("content-length")
            .map_or(0, |length| length.parse::<usize>().expect("a length"));
        let (body, rest) = received.split_at(length.min(received.len()));
        answer.body = body.to_vec();
        received = rest;
        answers.push(answer);
    }
    answers
}

/// An open event stream.
pub(crate) struct Events {
    pub(crate) head: String,
    reader: BufReader<TcpStream>,
    text: String,
}

impl Events {
    pub(crate) fn open(to: SocketAddr, fields: &[&str]) -> Self {
        Self::open_on(connect(to), fields)
    }

    /// The same for a client whose system takes little ahead of it.
    pub(crate) fn open_deaf(to: SocketAddr, fields: &[&str]) -> Self {
        let stream = connect(to);
        rustix::net::sockopt::set_socket_recv_buffer_size(&stream, 1).expect("the least there is");
        Self::open_on(stream, fields)
    }

    fn open_on(mut stream: TcpStream, fields: &[&str]) -> Self {
        let fields = fields.join("\r\n");
        let head = format!("GET /api/v1/events HTTP/1.1\r\nHost: a\r\n{fields}\r\n\r\n");
        stream.write_all(head.as_bytes()).expect("sent");
        let mut reader = BufReader::new(stream);
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            assert!(reader.read_line(&mut head).expect("a head") > 0, "{head}");
        }
        Self {
            head,
            reader,
            text: String::new(),
        }
    }

    /// Event, id and data of the next event; `None` at the end of the stream.
    pub(crate) fn next(&mut self) -> Option<(String, String, Value)> {
        loop {
            let block = self.block()?;
            let field = |name: &str| {
                let found = block.lines().find_map(|line| line.strip_prefix(name));
                found.map(|value| value.trim().to_owned())
            };
            if let Some(event) = field("event:") {
                let data = serde_json::from_str(&field("data:").expect("data")).expect("JSON");
                return Some((event, field("id:").expect("an id"), data));
            }
        }
    }

    /// What stands before the next empty line.
    pub(crate) fn block(&mut self) -> Option<String> {
        loop {
            if let Some((block, rest)) = self.text.split_once("\n\n") {
                let block = block.to_owned();
                self.text = rest.to_owned();
                return Some(block);
            }
            self.chunk()?;
        }
    }

    fn chunk(&mut self) -> Option<()> {
        let mut size = String::new();
        self.reader.read_line(&mut size).expect("a chunk");
        let size = usize::from_str_radix(size.trim(), 16).ok()?;
        let mut chunk = vec![0; size + 2];
        self.reader.read_exact(&mut chunk).expect("a whole chunk");
        chunk.truncate(size);
        self.text
            .push_str(std::str::from_utf8(&chunk).expect("UTF-8"));
        (size > 0).then_some(())
    }

    pub(crate) fn close(self) {
        // It may be closed already.
        let _ = self.reader.get_ref().shutdown(Shutdown::Both);
    }
}
