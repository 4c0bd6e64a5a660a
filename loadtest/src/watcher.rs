//! Event streams of the mailboxes that a load fills: how long after the end of data a reader learns of a message.

use crate::client::Shared;
use crate::failure::Failure;
use crate::http;
use crate::payload::{MARK, MARKER_DIGITS, markers};
use crate::tally::Measure;
use std::cell::Cell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

/// How long events may be behind when all has been sent.
const PATIENCE: Duration = Duration::from_secs(30);
const READ_BYTES: usize = 16 * 1024;

/// Open streams, and how many events came on them.
#[derive(Debug, Default)]
pub(crate) struct Streams {
    tasks: Vec<JoinHandle<()>>,
    events: Rc<Cell<u64>>,
    tokens: Vec<String>,
}

/// Creates the mailboxes of a load and opens a stream on each; nothing if the load does not want that.
pub(crate) async fn open(shared: &Rc<Shared>) -> Result<Streams, Failure> {
    let mut streams = Streams::default();
    let (load, Some(api)) = (&shared.job.load, shared.job.api) else {
        return Ok(streams);
    };
    if !load.watch {
        return Ok(streams);
    }
    for mailbox in 0..load.mailboxes {
        let body = format!("{{\"local_part\":\"{}-{mailbox}\"}}", load.name);
        // Nothing else runs yet: it may be waited for.
        let created = http::ask(api, "POST", "/api/v1/mailboxes", None, &body)?.json()?;
        let token = created["token"]
            .as_str()
            .ok_or_else(|| Failure::new("a mailbox without a token"))?;
        let stream = stream(api, token)
            .await
            .map_err(Failure::at("no event stream"))?;
        streams.tokens.push(token.to_owned());
        streams.tasks.push(tokio::task::spawn_local(read(
            stream,
            Rc::clone(shared),
            Rc::clone(&streams.events),
        )));
    }
    Ok(streams)
}

/// Waits until as many events came as copies were stored, or they are late; gives their number and the mailboxes' tokens.
pub(crate) async fn finish(shared: &Shared, streams: Streams, copies: u64) -> (u64, Vec<String>) {
    if shared.job.load.watch {
        let began = Instant::now();
        while streams.events.get() < copies && began.elapsed() < PATIENCE {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
    streams.tasks.iter().for_each(JoinHandle::abort);
    (streams.events.get(), streams.tokens)
}

/// A stream whose head has come.
async fn stream(api: SocketAddr, token: &str) -> std::io::Result<TcpStream> {
    let stream = TcpStream::connect(api).await?;
    let head = http::head(api, "/api/v1/events", token);
    let mut rest = head.as_bytes();
    while !rest.is_empty() {
        stream.writable().await?;
        match stream.try_write(rest) {
            Ok(written) => rest = &rest[written..],
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
    let mut text = Vec::new();
    while !text.windows(4).any(|window| window == b"\r\n\r\n") {
        if read_some(&stream, &mut text).await? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
    }
    if !text.starts_with(b"HTTP/1.1 200") {
        return Err(std::io::Error::other("refused"));
    }
    Ok(stream)
}

async fn read_some(stream: &TcpStream, text: &mut Vec<u8>) -> std::io::Result<usize> {
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

async fn read(stream: TcpStream, shared: Rc<Shared>, events: Rc<Cell<u64>>) {
    let mut text = Vec::new();
    while read_some(&stream, &mut text)
        .await
        .is_ok_and(|count| count > 0)
    {
        let now = Instant::now();
        for marker in markers(&text) {
            let number = usize::try_from(marker & u64::from(u32::MAX)).unwrap_or(usize::MAX);
            events.set(events.get() + 1);
            if let Some(Some(ended)) = shared.ends.borrow().get(number) {
                shared.record(Measure::Event, now.saturating_duration_since(*ended));
            }
        }
        // A marker may be cut in two; a whole one must not be seen again.
        let kept = (MARK.len() + MARKER_DIGITS - 1).min(text.len());
        text.drain(..text.len() - kept);
    }
}
