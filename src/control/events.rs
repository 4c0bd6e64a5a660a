//! Live push: a mailbox's events as server-sent events (HTML Living Standard, section 9.2).
//!
//! The shard puts events into a bounded channel and drops whoever lets it fill up; a task of the
//! stream takes them out and writes them down. Nobody ever waits for a slow reader.

use super::app::App;
use super::problem::Problem;
use super::reading;
use super::views::messages as views;
use crate::store::{Event, Holder, Sequence};
use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use std::convert::Infallible;
use std::sync::Arc;
use tokio::sync::mpsc;
use tokio::time::{Interval, MissedTickBehavior, interval};
use tokio_stream::StreamExt;
use tokio_stream::wrappers::ReceiverStream;
use utoipa::ToSchema;

/// What a stream says first: how long a browser should wait before it comes back.
const HELLO: &[u8] = b"retry: 3000\n\n";

/// A comment that keeps the connection from looking dead.
const HEARTBEAT: &[u8] = b":\n\n";

/// Opens an event stream for `holder`.
pub(super) async fn open(
    app: Arc<App>,
    holder: &Holder,
    headers: &HeaderMap,
) -> Result<Response, Problem> {
    let events = subscribe(&app, holder, last_event_id(headers)).await?;
    let (stream, response) = Stream::open(&app);
    // Ends with the stream, the mailbox or the process, whichever is first.
    tokio::spawn(write_down(stream, events));
    Ok(response)
}

/// The events of a mailbox, those that followed `since` first.
pub(super) async fn subscribe(
    app: &App,
    holder: &Holder,
    since: Option<Sequence>,
) -> Result<mpsc::Receiver<Event>, Problem> {
    let events_max = app.settings.load().http.stream_events_max.max(1) as usize;
    let (watcher, events) = mpsc::channel(events_max);
    let watched = app
        .ask(holder, move |shard, holder, now| {
            shard.watch(holder, since, watcher, now)
        })
        .await?;
    match watched {
        true => Ok(events),
        false => Err(Problem::TooManyWatchers),
    }
}

/// The event after which a stream goes on. What is no number of ours is as good as none.
fn last_event_id(headers: &HeaderMap) -> Option<Sequence> {
    let id = headers.get("last-event-id")?.to_str().ok()?;
    id.parse().ok().map(Sequence)
}

/// Counts an open stream for as long as it lives.
struct OpenStream(Arc<App>);

impl OpenStream {
    fn new(app: Arc<App>) -> Self {
        app.metrics.http_event_streams.increment_shared();
        Self(app)
    }
}

impl Drop for OpenStream {
    fn drop(&mut self) {
        self.0.metrics.http_event_streams.decrement_shared();
    }
}

/// An answer that stays open, as whoever writes it sees it.
pub(super) struct Stream {
    open: OpenStream,
    written: mpsc::Sender<Bytes>,
    heartbeat: Interval,
}

/// What a stream has to say next.
pub(super) enum Next {
    /// Something happened.
    Event(Event),
    /// Nothing happened for a while.
    Pulse,
    /// Nothing more: the reader, the mailbox or the process is gone.
    Over,
}

impl Stream {
    /// A stream, and the answer that it is written into.
    pub(super) fn open(app: &Arc<App>) -> (Self, Response) {
        let (written, body) = mpsc::channel(1);
        let body = ReceiverStream::new(body).map(Ok::<Bytes, Infallible>);
        let mut response = Body::from_stream(body).into_response();
        let fields = response.headers_mut();
        let kind = HeaderValue::from_static("text/event-stream");
        fields.insert(header::CONTENT_TYPE, kind);
        // For reverse proxies that would hold events back to fill a buffer.
        fields.insert("x-accel-buffering", HeaderValue::from_static("no"));
        let mut heartbeat = interval(app.settings.load().http.heartbeat.0.max(HEARTBEAT_MIN));
        heartbeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        heartbeat.reset();
        let stream = Self {
            open: OpenStream::new(Arc::clone(app)),
            written,
            heartbeat,
        };
        (stream, response)
    }

    /// Hands text on; `false` when nobody reads it any more.
    pub(super) async fn send(&self, text: Bytes) -> bool {
        // A reader so slow that this waits will find its channel of events closed.
        text.is_empty() || self.written.send(text).await.is_ok()
    }

    /// Waits for what comes next.
    pub(super) async fn next(&mut self, events: &mut mpsc::Receiver<Event>) -> Next {
        tokio::select! {
            event = events.recv() => event.map_or(Next::Over, Next::Event),
            _ = self.heartbeat.tick() => Next::Pulse,
            () = self.written.closed() => Next::Over,
            () = self.open.0.draining() => Next::Over,
        }
    }
}

async fn write_down(mut stream: Stream, mut events: mpsc::Receiver<Event>) {
    let app = Arc::clone(&stream.open.0);
    let mut text = Bytes::from_static(HELLO);
    while stream.send(text).await {
        text = match stream.next(&mut events).await {
            Next::Event(event) => Bytes::from(written_event(&app, &event).await),
            Next::Pulse => Bytes::from_static(HEARTBEAT),
            Next::Over => return,
        };
    }
}

/// The shortest interval between signs of life.
const HEARTBEAT_MIN: std::time::Duration = std::time::Duration::from_millis(100);

/// The data of a `removed` event: a message was deleted, it expired, or it made room.
#[derive(Serialize, ToSchema)]
pub(super) struct RemovedMessage {
    /// The id of the message.
    #[schema(pattern = "^[0-9]{1,20}$", example = "1")]
    id: String,
}

/// The data of an `expires-soon` event: extend the mailbox, or lose it.
#[derive(Serialize, ToSchema)]
pub(super) struct MailboxEnd {
    /// When the mailbox goes.
    #[schema(format = DateTime, example = "2026-11-22T10:30:00Z")]
    expires_at: String,
}

/// The data of `closed` and `reset` events.
#[derive(Serialize, ToSchema)]
pub(super) struct NoData {}

/// One event. JSON has no line breaks, so one `data` line is enough.
async fn written_event(app: &App, event: &Event) -> String {
    let wall = &app.cores.wall();
    match event {
        Event::Arrived(entry) => {
            let findings = reading::scan(app, std::slice::from_ref(entry)).await;
            let findings = findings.first().and_then(Option::as_ref);
            let data = views::summary(entry, findings, wall);
            written("message", entry.sequence, &data)
        }
        Event::Removed { sequence, message } => {
            let id = message.0.to_string();
            written("removed", *sequence, &RemovedMessage { id })
        }
        // Whether a message was seen is nothing that the API tells of.
        Event::Marked { .. } => String::new(),
        Event::ExpiresSoon {
            sequence,
            expires_at,
        } => {
            let expires_at = wall.rfc3339(*expires_at);
            written("expires-soon", *sequence, &MailboxEnd { expires_at })
        }
        Event::Closed { sequence } => written("closed", *sequence, &NoData {}),
        Event::Reset { sequence } => written("reset", *sequence, &NoData {}),
    }
}

fn written(name: &str, sequence: Sequence, data: &impl Serialize) -> String {
    let data = serde_json::to_string(data).expect("a view has text keys only");
    format!("event: {name}\nid: {}\ndata: {data}\n\n", sequence.0)
}
