//! As much of an HTTP client as counting needs: one request on a connection, waited for.

use crate::failure::Failure;
use serde_json::Value;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// Longer than the server may take in a run.
const PATIENCE: Duration = Duration::from_secs(150);
/// The most that an answer may be: a page of a list, or the page of metrics.
const ANSWER_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// An answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn json(&self) -> Result<Value, Failure> {
        serde_json::from_slice(&self.body).map_err(Failure::at("an answer is no JSON"))
    }
}

/// Asks, and takes no for a failure.
pub(crate) fn ask(
    to: SocketAddr,
    method: &str,
    path: &str,
    token: Option<&str>,
    body: &str,
) -> Result<Answer, Failure> {
    let answer =
        request(to, method, path, token, body).map_err(Failure::at(format!("{method} {path}")))?;
    if (200..300).contains(&answer.status) {
        return Ok(answer);
    }
    let text = String::from_utf8_lossy(&answer.body);
    Err(Failure::new(format!(
        "{method} {path}: {} {text}",
        answer.status
    )))
}

/// The head of a request without a body, for streams.
pub(crate) fn head(to: SocketAddr, path: &str, token: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: {to}\r\nAuthorization: Bearer {token}\r\n\r\n")
}

fn request(
    to: SocketAddr,
    method: &str,
    path: &str,
    token: Option<&str>,
    body: &str,
) -> std::io::Result<Answer> {
    let mut stream = TcpStream::connect_timeout(&to, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let authorization = token.map_or_else(String::new, |token| {
        format!("Authorization: Bearer {token}\r\n")
    });
    let kind = if body.is_empty() {
        ""
    } else {
        "Content-Type: application/json\r\n"
    };
    let length = body.len();
    let request = format!(
        "{method} {path} HTTP/1.1\r\nHost: {to}\r\nConnection: close\r\n{authorization}{kind}Content-Length: {length}\r\n\r\n{body}"
    );
    stream.write_all(request.as_bytes())?;
    let mut bytes = Vec::new();
    stream.take(ANSWER_BYTES_MAX).read_to_end(&mut bytes)?;
    parsed(&bytes).ok_or_else(|| std::io::Error::other("no whole HTTP answer"))
}

fn parsed(bytes: &[u8]) -> Option<Answer> {
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n")?;
    let head = std::str::from_utf8(&bytes[..end])
        .ok()?
        .to_ascii_lowercase();
    let status = head.split(' ').nth(1)?.parse().ok()?;
    let body = &bytes[end + 4..];
    let body = if head.contains("transfer-encoding: chunked") {
        dechunked(body)?
    } else {
        body.to_vec()
    };
    Some(Answer { status, body })
}

fn dechunked(mut rest: &[u8]) -> Option<Vec<u8>> {
    let mut whole = Vec::new();
    loop {
        let line = rest.windows(2).position(|window| window == b"\r\n")?;
        let size =
            usize::from_str_radix(std::str::from_utf8(&rest[..line]).ok()?.trim(), 16).ok()?;
        if size == 0 {
            return Some(whole);
        }
        rest = &rest[line + 2..];
        whole.extend_from_slice(rest.get(..size)?);
        rest = rest.get(size + 2..)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_may_come_in_chunks() {
        let answer = parsed(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n").expect("whole");
        assert_eq!(
            (answer.status, answer.body.as_slice()),
            (200, b"abcde".as_slice())
        );
        let answer =
            parsed(b"HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\nno").expect("whole");
        assert_eq!(
            (answer.status, answer.body.as_slice()),
            (404, b"no".as_slice())
        );
        assert!(parsed(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nab").is_none());
    }
}
