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
const READ_BYTES: usize = 16 * 1024;

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

/// Creates a mailbox, or takes the one that mail has made; its token.
pub(crate) fn create_mailbox(
    to: SocketAddr,
    local_part: &str,
    domain: &str,
) -> Result<String, Failure> {
    let body = format!("{{\"local_part\":\"{local_part}\",\"domain\":\"{domain}\"}}");
    let created = ask(to, "POST", "/api/v1/mailboxes", None, &body)?.json()?;
    let token = created["token"].as_str();
    token
        .map(str::to_owned)
        .ok_or_else(|| Failure::new("a mailbox without a token"))
}

/// A connection that is kept for one request after the other.
#[derive(Debug)]
pub(crate) struct Kept {
    to: SocketAddr,
    stream: tokio::net::TcpStream,
    received: Vec<u8>,
}

impl Kept {
    pub(crate) async fn open(to: SocketAddr) -> std::io::Result<Self> {
        let stream = tokio::net::TcpStream::connect(to).await?;
        stream.set_nodelay(true)?;
        Ok(Self {
            to,
            stream,
            received: Vec::new(),
        })
    }

    /// Asks for something and waits for the whole answer.
    pub(crate) async fn get(&mut self, path: &str, token: &str) -> std::io::Result<Answer> {
        send_all(&self.stream, head(self.to, path, token).as_bytes()).await?;
        let length = loop {
            if let Some(length) = whole(&self.received) {
                break length;
            }
            if self.received.len() as u64 > ANSWER_BYTES_MAX
                || read_some(&self.stream, &mut self.received).await? == 0
            {
                return Err(std::io::ErrorKind::UnexpectedEof.into());
            }
        };
        let rest = self.received.split_off(length);
        let answer = parsed(&std::mem::replace(&mut self.received, rest));
        answer.ok_or_else(|| std::io::Error::other("no whole HTTP answer"))
    }
}

/// Sends all of it.
pub(crate) async fn send_all(
    stream: &tokio::net::TcpStream,
    mut rest: &[u8],
) -> std::io::Result<()> {
    while !rest.is_empty() {
        stream.writable().await?;
        match stream.try_write(rest) {
            Ok(written) => rest = &rest[written..],
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Appends what comes next; how much that was, 0 at the end.
pub(crate) async fn read_some(
    stream: &tokio::net::TcpStream,
    text: &mut Vec<u8>,
) -> std::io::Result<usize> {
    loop {
        stream.readable().await?;
        let start = text.len();
        text.resize(start + READ_BYTES, 0);
        let read = stream.try_read(&mut text[start..]);
        text.truncate(start + read.as_ref().copied().unwrap_or(0));
        match read {
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            read => return read,
        }
    }
}

/// The head of a request without a body.
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

/// How long the answer is that these bytes begin with; `None` if it is not whole.
fn whole(bytes: &[u8]) -> Option<usize> {
    let head = bytes.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
    let text = std::str::from_utf8(&bytes[..head])
        .ok()?
        .to_ascii_lowercase();
    let mut end = head;
    if text.contains("transfer-encoding: chunked") {
        loop {
            let line = bytes
                .get(end..)?
                .windows(2)
                .position(|window| window == b"\r\n")?;
            let digits = std::str::from_utf8(&bytes[end..end + line]).ok()?;
            let size = usize::from_str_radix(digits.trim(), 16).ok()?;
            end += line + 2 + size + 2;
            if size == 0 {
                break;
            }
        }
    } else if let Some((_, rest)) = text.split_once("content-length:") {
        let length = rest.lines().next()?.trim().parse::<usize>().ok()?;
        end += length;
    }
    (bytes.len() >= end).then_some(end)
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

    #[test]
    fn an_answer_ends_where_it_says() {
        for answer in [
            b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc".as_slice(),
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n",
            b"HTTP/1.1 204 No Content\r\n\r\n",
        ] {
            for cut in 0..answer.len() {
                assert_eq!(whole(&answer[..cut]), None);
            }
            let next = [answer, b"HTTP/1.1 200".as_slice()].concat();
            assert_eq!(whole(&next), Some(answer.len()));
        }
    }
}
