//! Mailboxes and messages.

use super::views::{Header, Parts, Whole};
use crate::control::app::{App, whole_body};
use crate::control::compat::public::Named;
use crate::control::messages::VIEWS_AT_A_TIME;
use crate::control::messages::source_of;
use crate::control::problem::Problem;
use crate::control::reading;
use crate::reading::html::Remote;
use crate::reading::message;
use crate::store::{Entry, Sequence};
use axum::Json;
use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::Value;
use std::sync::Arc;

type Answer = Result<Response, Problem>;

/// The newest message of a mailbox goes by this name, too.
const LATEST: &str = "latest";

const BAD_MARK: &str = "The body must be {\"seen\": true} or {\"seen\": false}.";

/// What the service says when something was done.
fn done() -> Response {
    Json("OK").into_response()
}

/// There is no such message, mailbox or attachment, or it is not everybody's.
pub(super) fn missing() -> Response {
    (StatusCode::NOT_FOUND, "There is nothing of that name.\n").into_response()
}

fn find(app: &App, name: &str) -> Option<Named> {
    Named::find(name, &app.settings.load())
}

/// Every message of a mailbox, oldest first; of a large one the newest.
pub(super) async fn list(State(app): State<Arc<App>>, Path(name): Path<String>) -> Answer {
    let Some(mailbox) = find(&app, &name) else {
        return Ok(Json(Vec::<Header>::new()).into_response());
    };
    let limit = app.settings.load().http.page_messages_max.max(1) as usize;
    let mut entries = mailbox.newest(&app, limit).await?;
    entries.reverse();
    let mut messages = Vec::with_capacity(entries.len());
    for some in entries.chunks(VIEWS_AT_A_TIME) {
        let headers = some.iter();
        messages.extend(headers.map(|entry| Header::new(&mailbox.name, entry, &app)));
        tokio::task::yield_now().await;
    }
    Ok(reading::json_answer(&app, &messages))
}

/// Deletes every message of a mailbox.
pub(super) async fn purge(State(app): State<Arc<App>>, Path(name): Path<String>) -> Answer {
    if let Some(mailbox) = find(&app, &name) {
        mailbox
            .ask(&app, |shard, holder, now| shard.purge(holder, now))
            .await?;
    }
    Ok(done())
}

/// The message that a path names.
async fn message(app: &App, name: &str, id: &str) -> Result<Option<(Named, Entry)>, Problem> {
    let Some(mailbox) = find(app, name) else {
        return Ok(None);
    };
    let entry = match id {
        LATEST => mailbox.newest(app, 1).await?.pop(),
        id => match id.parse() {
            Ok(id) => mailbox.message(app, Sequence(id)).await?,
            Err(_) => None,
        },
    };
    Ok(entry.map(|entry| (mailbox, entry)))
}

pub(super) async fn show(
    State(app): State<Arc<App>>,
    Path((name, id)): Path<(String, String)>,
    headers: HeaderMap,
) -> Answer {
    let Some((mailbox, entry)) = message(&app, &name, &id).await? else {
        return Ok(missing());
    };
    let parts = reading::read(&app, &entry.message, Parts::of).await?;
    // The gate lets only plain characters pass in it.
    let host = headers.get(header::HOST);
    let host = host.and_then(|host| host.to_str().ok()).unwrap_or_default();
    let whole = Whole::new(&mailbox, &entry, parts, host, &app);
    Ok(reading::json_answer(&app, &whole))
}

/// Marks a message as seen, or as not seen.
pub(super) async fn mark(
    State(app): State<Arc<App>>,
    Path((name, id)): Path<(String, String)>,
    request: Request<Body>,
) -> Answer {
    let body = whole_body(&app, request.into_body()).await?;
    let fields: Value = serde_json::from_slice(&body).map_err(|_| Problem::BadBody(BAD_MARK))?;
    let seen = fields["seen"].as_bool().ok_or(Problem::BadBody(BAD_MARK))?;
    let Some((mailbox, entry)) = message(&app, &name, &id).await? else {
        return Ok(missing());
    };
    let sequence = entry.sequence;
    let marked = mailbox.ask(&app, move |shard, holder, now| {
        shard.set_seen(holder, sequence, seen, now)
    });
    Ok(match marked.await?.flatten() {
        Some(_) => done(),
        None => missing(),
    })
}

pub(super) async fn delete(
    State(app): State<Arc<App>>,
    Path((name, id)): Path<(String, String)>,
) -> Answer {
    let Some((mailbox, entry)) = message(&app, &name, &id).await? else {
        return Ok(missing());
    };
    let sequence = entry.sequence;
    let deleted = mailbox.ask(&app, move |shard, holder, now| {
        shard.delete(holder, sequence, now)
    });
    Ok(match deleted.await? {
        Some(true) => done(),
        Some(false) | None => missing(),
    })
}

/// A message byte for byte, as text.
pub(super) async fn source(
    State(app): State<Arc<App>>,
    Path((name, id)): Path<(String, String)>,
) -> Answer {
    let Some((_, entry)) = message(&app, &name, &id).await? else {
        return Ok(missing());
    };
    let mut response = source_of(&app, entry.message);
    let kind = HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    Ok(response)
}

/// The HTML of a message as a document of its own, made harmless.
pub(super) async fn html(
    State(app): State<Arc<App>>,
    Path((name, id)): Path<(String, String)>,
) -> Answer {
    let Some((_, entry)) = message(&app, &name, &id).await? else {
        return Ok(missing());
    };
    let shown = reading::document(&app, &entry.message, Remote::Blocked, reading::HTML_POLICY);
    match shown.await {
        Err(Problem::NoSuchPart) => Ok(missing()),
        shown => shown,
    }
}

/// An attachment, to be saved and not shown. Its name at the end of the path is for whoever saves it.
pub(super) async fn attachment(
    State(app): State<Arc<App>>,
    Path((name, id, index, _)): Path<(String, String, String, String)>,
) -> Answer {
    let found = match (message(&app, &name, &id).await?, index.parse()) {
        (Some((_, entry)), Ok(index)) => {
            let found = reading::read(&app, &entry.message, move |raw, limits| {
                message::attachment(raw, limits, index)
            });
            found.await?
        }
        _ => None,
    };
    Ok(match found {
        Some((file, bytes)) => reading::file(&app, &file, bytes),
        None => missing(),
    })
}
