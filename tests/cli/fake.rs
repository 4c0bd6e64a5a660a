//! A server that answers as a test says, one connection after another.

use std::io::{BufRead as _, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::thread::JoinHandle;

/// A server with answers that it gives in turn, each on a connection of its own.
pub(crate) struct Fake {
    pub(crate) address: SocketAddr,
    served: JoinHandle<Vec<String>>,
}

impl Fake {
    /// Listens, and gives these answers; each is a whole one, or ends with its connection.
    pub(crate) fn with(answers: Vec<String>) -> Self {
        Self::wrapped(answers, |stream, answer| {
            let mut stream = stream;
            let head = head(&mut stream);
            let _ = stream.write_all(answer.as_bytes());
            head
        })
    }

    /// The same, over what `serve` makes of a connection.
    pub(crate) fn wrapped(
        answers: Vec<String>,
        serve: impl Fn(std::net::TcpStream, String) -> String + Send + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("bound");
        let served = std::thread::spawn(move || {
            let each = answers.into_iter().map(|answer| {
                let (stream, _) = listener.accept().expect("a client");
                stream
                    .set_read_timeout(Some(crate::gateway::PATIENCE))
                    .expect("set");
                serve(stream, answer)
            });
            each.collect()
        });
        Self { address, served }
    }

    /// The heads of all requests, when all answers are given.
    pub(crate) fn requests(self) -> Vec<String> {
        self.served.join().expect("every answer was asked for")
    }
}

/// The head of a request. Its body, if it has one, is read as well.
pub(crate) fn head(stream: &mut impl Read) -> String {
    let mut reader = BufReader::new(stream);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        assert!(reader.read_line(&mut head).expect("a head") > 0, "{head}");
    }
    let length = head
        .to_ascii_lowercase()
        .lines()
        .find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
    let mut body = vec![0; length.unwrap_or(0)];
    reader.read_exact(&mut body).expect("a body");
    head + &String::from_utf8_lossy(&body)
}

/// An answer with a JSON body.
pub(crate) fn answer(status: &str, fields: &str, body: &str) -> String {
    format!(
        "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nConnection: close\r\n{fields}Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
}
