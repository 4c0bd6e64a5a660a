//! Messages: listed, waited for, shown, handed out raw, deleted. Both sides use these, each for its
//! own kind of holder.

use super::app::App;
use super::problem::Problem;
use super::reading;
use super::views::messages::{self as views, MessageSummary, Page};
use crate::config::sections::Http;
use crate::mail::Message;
use crate::reading::message::{self, Reading};
use crate::store::{Entry, Event, Holder, Sequence};
use axum::Json;
use axum::body::{Body, Bytes};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::Instant;
use utoipa::IntoParams;

/// Events that may wait for a call that waits. Only the first counts, so few are enough.
const WAITING_EVENTS_MAX: usize = 4;

/// How many messages are made into JSON before other requests get their turn.
pub(super) const VIEWS_AT_A_TIME: usize = 8;

/// What a list call asks for.
#[derive(Debug, PartialEq, Eq, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct ListQuery {
    /// Only messages that came after it: the `cursor` of an answer, or the id of a message or an event.
    #[param(rename = "cursor", value_type = Option<String>, pattern = "^[0-9]{1,19}$", example = "0")]
    after: Sequence,
    /// The most messages on this page. What is more than the server allows is lowered to that.
    #[param(value_type = Option<usize>, minimum = 1, example = 20)]
    limit: usize,
    /// When there is nothing, wait so long for a message: seconds, or a duration such as `30s` or `1m`. The answer comes
    /// with the message, or with an empty page when the time is up. What is more than the server allows is lowered to that.
    #[param(value_type = Option<String>, pattern = "^[0-9]{1,9}(ms|s|m|h)?$", example = "30s")]
    wait: Duration,
}

impl ListQuery {
    /// Reads `cursor=17&limit=20&wait=30s`. What is too large is lowered to the limit.
    fn parse(query: Option<&str>, http: &Http) -> Result<Self, Problem> {
        let page_max = http.page_messages_max.max(1) as usize;
        let mut parsed = Self {
            after: Sequence(0),
            limit: page_max,
            wait: Duration::ZERO,
        };
        let parameters = query.unwrap_or_default().split('&');
        for parameter in parameters.filter(|parameter| !parameter.is_empty()) {
            match parameter.split_once('=') {
                Some(("cursor", value)) => {
                    parsed.after = number(value).map(Sequence).ok_or(Problem::BadQuery(
                        "'cursor' must be one that a list returned.",
                    ))?;
                }
                Some(("limit", value)) => {
                    let limit = count(value)
                        .filter(|limit| *limit > 0)
                        .ok_or(Problem::BadQuery("'limit' must be a number from 1 on."))?;
                    parsed.limit = usize::try_from(limit).unwrap_or(page_max).min(page_max);
                }
                Some(("wait", value)) => {
                    let wait = number(value)
                        .map(Duration::from_secs)
                        .or_else(|| humantime::parse_duration(value).ok())
                        .ok_or(Problem::BadQuery("'wait' must be a duration such as 30s."))?;
                    parsed.wait = wait.min(http.wait_max.0);
                }
                _ => {
                    let known = "The parameters here are 'cursor', 'limit' and 'wait'.";
                    return Err(Problem::BadQuery(known));
                }
            }
        }
        Ok(parsed)
    }
}

/// A number of things: too many to be counted are as good as the most that there can be.
fn count(text: &str) -> Option<u64> {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| text.parse().unwrap_or(u64::MAX))
}

fn number(text: &str) -> Option<u64> {
    text.bytes()
        .all(|byte| byte.is_ascii_digit())
        .then(|| text.parse().ok())
        .flatten()
}

/// A page of messages. With `wait`, and nothing there yet, the answer comes with the next message or when the
/// time is up.
pub(super) async fn list(
    app: &App,
    holder: &Holder,
    query: Option<&str>,
) -> Result<Response, Problem> {
    let query = ListQuery::parse(query, &app.settings.load().http)?;
    let deadline = Instant::now() + query.wait;
    let entries = entries(app, holder, query.after, query.limit, deadline).await?;
    Ok(page(app, &entries, query.after).await)
}

/// Messages that came after `after`, oldest first, `limit` at most. When there are none it waits for one, up to `deadline` or
/// until the process goes down.
pub(super) async fn entries(
    app: &App,
    holder: &Holder,
    after: Sequence,
    limit: usize,
    deadline: Instant,
) -> Result<Vec<Entry>, Problem> {
    loop {
        let waits = deadline > Instant::now();
        let (entries, mut events) = list_or_watch(app, holder, after, limit, waits).await?;
        if !entries.is_empty() || Instant::now() >= deadline {
            return Ok(entries);
        }
        tokio::select! {
            happened = next_arrival(&mut events) => happened?,
            () = tokio::time::sleep_until(deadline) => {}
            () = app.draining() => return Ok(Vec::new()),
        }
    }
}

/// Lists, and begins to watch if there is nothing: in one step, so that no message comes between.
async fn list_or_watch(
    app: &App,
    holder: &Holder,
    after: Sequence,
    limit: usize,
    waits: bool,
) -> Result<(Vec<Entry>, mpsc::Receiver<Event>), Problem> {
    let (watcher, events) = mpsc::channel(WAITING_EVENTS_MAX);
    let (entries, watched) = app
        .ask(holder, move |shard, holder, now| {
            let entries = shard.list(holder, after, limit, now)?;
            let watched = if waits && entries.is_empty() {
                shard.watch(holder, None, watcher, now)?
            } else {
                true
            };
            Some((entries, watched))
        })
        .await?;
    if watched {
        Ok((entries, events))
    } else {
        Err(Problem::TooManyWatchers)
    }
}

/// Waits until it is worth listing again.
async fn next_arrival(events: &mut mpsc::Receiver<Event>) -> Result<(), Problem> {
    loop {
        match events.recv().await {
            Some(Event::Removed { .. } | Event::Marked { .. } | Event::ExpiresSoon { .. }) => {}
            Some(Event::Closed { .. }) => return Err(Problem::NoSuchMailbox),
            // None: too much happened at once, and the shard dropped us.
            Some(Event::Arrived(_) | Event::Reset { .. }) | None => return Ok(()),
        }
    }
}

async fn page(app: &App, entries: &[Entry], after: Sequence) -> Response {
    let wall = app.cores.wall();
    let findings = reading::scan(app, entries).await;
    let mut messages = Vec::with_capacity(entries.len());
    let pairs: Vec<_> = entries.iter().zip(&findings).collect();
    for chunk in pairs.chunks(VIEWS_AT_A_TIME) {
        messages.extend(
            chunk
                .iter()
                .map(|(entry, findings)| views::summary(entry, findings.as_ref(), &wall)),
        );
        tokio::task::yield_now().await;
    }
    let cursor = entries.last().map_or(after, |entry| entry.sequence);
    page_of(messages, cursor)
}

/// A page without messages.
pub(super) fn empty_page() -> Response {
    page_of(Vec::new(), Sequence(0))
}

fn page_of(messages: Vec<MessageSummary>, cursor: Sequence) -> Response {
    Json(Page::new(messages, cursor)).into_response()
}

/// The number in a path; what is none is 0, which no message has.
fn sequence(id: &str) -> Sequence {
    Sequence(number(id).unwrap_or(0))
}

/// One message as it is stored.
pub(super) async fn message_of(app: &App, holder: &Holder, id: &str) -> Result<Entry, Problem> {
    let sequence = sequence(id);
    let entry = app.ask(holder, move |shard, holder, now| {
        shard.message(holder, sequence, now)
    });
    entry.await?.ok_or(Problem::NoSuchMessage)
}

/// One message with its envelope and header, its text, and what else it has.
pub(super) async fn show(app: &App, holder: &Holder, id: &str) -> Result<Response, Problem> {
    let view = detail(app, holder, id).await?;
    Ok(reading::json_answer(app, &view))
}

/// The same as a value.
pub(super) async fn detail(
    app: &App,
    holder: &Holder,
    id: &str,
) -> Result<views::MessageDetail, Problem> {
    let sequence = sequence(id);
    let (entry, mailbox) = app
        .ask(holder, move |shard, holder, now| {
            let entry = shard.message(holder, sequence, now)?;
            Some((entry, shard.state(holder, now)?.address))
        })
        .await?;
    let entry = entry.ok_or(Problem::NoSuchMessage)?;
    let read = match entry.message.encrypted {
        true => Reading::default(),
        false => reading::read(app, &entry.message, message::read).await?,
    };
    Ok(views::detail(&entry, &mailbox, read, &app.cores.wall()))
}

/// One message, byte for byte.
pub(super) async fn raw(app: &App, holder: &Holder, id: &str) -> Result<Response, Problem> {
    let message = message_of(app, holder, id).await?.message;
    Ok(source_of(app, message))
}

/// A message byte for byte, to whoever may have it.
pub(super) fn source_of(app: &App, message: Arc<Message>) -> Response {
    let length = message.body.len();
    let (ending, kind) = match message.encrypted {
        true => ("eml.age", "application/octet-stream"),
        false => ("eml", "message/rfc822"),
    };
    let name = format!(
        "attachment; filename=\"{}.{ending}\"",
        message.queue_id.as_str()
    );
    let time = app.settings.load().http.request_timeout.0
        + Duration::from_secs(length as u64 / reading::BYTES_A_SECOND_MIN);
    let body = Body::from_stream(RawBody {
        message,
        next: 0,
        deadline: Instant::now() + time,
    });
    let mut response = body.into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    if let Ok(disposition) = HeaderValue::from_str(&name) {
        headers.insert(header::CONTENT_DISPOSITION, disposition);
    }
    response
}

/// Hands out a body piece by piece, without a copy.
struct RawBody {
    message: Arc<Message>,
    next: usize,
    deadline: Instant,
}

/// One piece of a body, which keeps the message alive as long as it is on its way.
struct Piece {
    message: Arc<Message>,
    nth: usize,
}

impl AsRef<[u8]> for Piece {
    fn as_ref(&self) -> &[u8] {
        self.message
            .body
            .segments()
            .nth(self.nth)
            .unwrap_or_default()
    }
}

impl tokio_stream::Stream for RawBody {
    type Item = io::Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if Instant::now() > self.deadline {
            return Poll::Ready(Some(Err(io::ErrorKind::TimedOut.into())));
        }
        let nth = self.next;
        if nth == self.message.body.segments().count() {
            return Poll::Ready(None);
        }
        self.next += 1;
        let message = Arc::clone(&self.message);
        Poll::Ready(Some(Ok(Bytes::from_owner(Piece { message, nth }))))
    }
}

/// Deletes one message.
pub(super) async fn delete(app: &App, holder: &Holder, id: &str) -> Result<Response, Problem> {
    let sequence = sequence(id);
    let was_there = app
        .ask(holder, move |shard, holder, now| {
            shard.delete(holder, sequence, now)
        })
        .await?;
    if was_there {
        Ok(StatusCode::NO_CONTENT.into_response())
    } else {
        Err(Problem::NoSuchMessage)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_are_read_strictly_and_lowered_to_the_limits() {
        let http = Http::default();
        let parse = |query| ListQuery::parse(Some(query), &http);
        let secs = Duration::from_secs;
        for (query, after, limit, wait) in [
            ("", 0, 100, secs(0)),
            ("cursor=17&limit=5&wait=30s", 17, 5, secs(30)),
            ("wait=5", 0, 100, secs(5)),
            ("wait=10h&limit=4000000000000", 0, 100, secs(60)),
            ("limit=99999999999999999999999", 0, 100, secs(0)),
        ] {
            let after = Sequence(after);
            let expected = ListQuery { after, limit, wait };
            assert_eq!(parse(query), Ok(expected), "{query}");
        }
        for query in [
            "cursor=-1",
            "cursor=+1",
            "limit=0",
            "wait=soon",
            "page=2",
            "cursor",
        ] {
            assert!(parse(query).is_err(), "{query}");
        }
    }
}
