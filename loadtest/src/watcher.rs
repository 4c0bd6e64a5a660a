//! Event streams of the mailboxes that a load fills: how long after the end of data a reader learns of a message.

use crate::client::Shared;
use crate::failure::Failure;
use crate::http;
use crate::payload::{MARK, MARKER_DIGITS, markers};
use crate::tally::Measure;
use std::cell::RefCell;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

/// How long events may be behind when all has been sent.
const PATIENCE: Duration = Duration::from_secs(30);

/// How long it is listened for events that come again.
const DOUBLES: Duration = Duration::from_millis(200);

/// Open streams, and what came on them.
#[derive(Debug, Default)]
pub(crate) struct Streams {
    tasks: Vec<JoinHandle<()>>,
    seen: Rc<RefCell<Seen>>,
    tokens: Vec<String>,
}

/// What streams told.
#[derive(Debug, Default)]
pub(crate) struct Told {
    /// Copies of messages, each counted once, and those told of again.
    pub(crate) events: u64,
    pub(crate) doubled: u64,
    /// The tokens of the mailboxes, in order.
    pub(crate) tokens: Vec<String>,
}

/// How often each message was told of.
#[derive(Debug, Default)]
struct Seen {
    counts: HashMap<u64, u32>,
    events: u64,
    doubled: u64,
}

impl Seen {
    fn see(&mut self, marker: u64, recipients: u32) {
        let count = self.counts.entry(marker).or_default();
        *count += 1;
        if *count <= recipients {
            self.events += 1;
        } else {
            self.doubled += 1;
        }
    }
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
        let name = format!("{}-{mailbox}", load.name);
        // Nothing else runs yet: it may be waited for.
        let token = http::create_mailbox(api, &name, &shared.job.domain)?;
        let stream = stream(api, &token)
            .await
            .map_err(Failure::at("no event stream"))?;
        streams.tokens.push(token);
        streams.tasks.push(tokio::task::spawn_local(read(
            stream,
            Rc::clone(shared),
            Rc::clone(&streams.seen),
        )));
    }
    Ok(streams)
}

/// Waits until as many events came as copies were stored, or they are late, and for those that should not come.
pub(crate) async fn finish(shared: &Shared, streams: Streams, copies: u64) -> Told {
    if shared.job.load.watch {
        let began = Instant::now();
        while streams.seen.borrow().events < copies && began.elapsed() < PATIENCE {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        tokio::time::sleep(DOUBLES).await;
    }
    streams.tasks.iter().for_each(JoinHandle::abort);
    let seen = streams.seen.borrow();
    Told {
        events: seen.events,
        doubled: seen.doubled,
        tokens: streams.tokens,
    }
}

/// A stream whose head has come.
async fn stream(api: SocketAddr, token: &str) -> std::io::Result<TcpStream> {
    let stream = TcpStream::connect(api).await?;
    let head = http::head(api, "/api/v1/events", token);
    http::send_all(&stream, head.as_bytes()).await?;
    let mut text = Vec::new();
    while !text.windows(4).any(|window| window == b"\r\n\r\n") {
        if http::read_some(&stream, &mut text).await? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
    }
    if !text.starts_with(b"HTTP/1.1 200") {
        return Err(std::io::Error::other("refused"));
    }
    Ok(stream)
}

async fn read(stream: TcpStream, shared: Rc<Shared>, seen: Rc<RefCell<Seen>>) {
    let mut text = Vec::new();
    while http::read_some(&stream, &mut text)
        .await
        .is_ok_and(|count| count > 0)
    {
        let now = Instant::now();
        for marker in markers(&text) {
            let number = usize::try_from(marker & u64::from(u32::MAX)).unwrap_or(usize::MAX);
            seen.borrow_mut().see(marker, shared.job.load.recipients);
            if let Some(Some(ended)) = shared.ends.borrow().get(number) {
                shared.record(Measure::Event, now.saturating_duration_since(*ended));
            }
        }
        // A marker may be cut in two; a whole one must not be seen again.
        let kept = (MARK.len() + MARKER_DIGITS - 1).min(text.len());
        text.drain(..text.len() - kept);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_double_does_not_make_up_for_a_loss() {
        let mut seen = Seen::default();
        [1, 2, 2, 4].iter().for_each(|marker| seen.see(*marker, 1));
        assert_eq!((seen.events, seen.doubled), (3, 1));
        let mut seen = Seen::default();
        [1, 1, 2, 1].iter().for_each(|marker| seen.see(*marker, 2));
        assert_eq!((seen.events, seen.doubled), (3, 1));
    }
}
