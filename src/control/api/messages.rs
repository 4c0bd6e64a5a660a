//! Messages: listed, waited for, read, deleted, watched. What stands here describes them; how it is done is
//! common to both sides and stands in [`crate::control::messages`] and its neighbours.

use super::{Answer, Bearer};
use crate::control::app::App;
use crate::control::messages::ListQuery;
use crate::control::views::messages::{HeaderFields, MessageDetail, Page};
use crate::control::{events, messages, reading};
use axum::extract::{Path, RawQuery, State};
use axum::http::HeaderMap;
use std::sync::Arc;

/// List messages, or wait for one
///
/// Oldest first. With `wait`, and nothing there yet, the answer comes as soon as a message does. `codes` and `links` hold
/// the surest one-time code and the surest verification link; they are `null` where nobody looked.
#[utoipa::path(
    get,
    path = "/api/v1/messages",
    operation_id = "listMessages",
    tag = "messages",
    security(("token" = [])),
    params(ListQuery),
    responses(
        (status = 200, description = "A page of messages; an empty one if there is nothing.", body = Page,
            links(
                ("first" = (operation_id = "showMessage", parameters(("id" = "$response.body#/messages/0/id")))),
                ("next" = (operation_id = "listMessages", parameters(("cursor" = "$response.body#/cursor")))),
            )),
        (status = 400, description = "bad-query"),
        (status = 429, description = "too-many-watchers"),
    )
)]
pub(super) async fn list(
    State(app): State<Arc<App>>,
    Bearer(holder): Bearer,
    RawQuery(query): RawQuery,
) -> Answer {
    messages::list(&app, &holder, query.as_deref()).await
}

/// Read a message
///
/// With its envelope, the header fields that people look at, its text, and what else it has.
#[utoipa::path(
    get,
    path = "/api/v1/messages/{id}",
    operation_id = "showMessage",
    tag = "messages",
    security(("token" = [])),
    params(("id" = String, Path, description = "The id of the message.", pattern = "^[0-9]{1,20}$", example = "1")),
    responses(
        (status = 200, description = "The message.", body = MessageDetail,
            links(
                ("text" = (operation_id = "messageText", parameters(("id" = "$response.body#/id")))),
                ("html" = (operation_id = "messageHtml", parameters(("id" = "$response.body#/id")))),
                ("headers" = (operation_id = "messageHeaders", parameters(("id" = "$response.body#/id")))),
                ("source" = (operation_id = "messageSource", parameters(("id" = "$response.body#/id")))),
                ("delete" = (operation_id = "deleteMessage", parameters(("id" = "$response.body#/id")))),
                ("attachment" = (operation_id = "attachment", parameters(
                    ("id" = "$response.body#/id"),
                    ("index" = "$response.body#/attachments/0/index")
                ))),
            )),
        (status = 404, description = "no-such-message"),
        (status = 500, description = "unreadable"),
    )
)]
pub(super) async fn show(
    State(app): State<Arc<App>>,
    Bearer(holder): Bearer,
    Path(id): Path<String>,
) -> Answer {
    messages::show(&app, &holder, &id).await
}

/// Delete a message
#[utoipa::path(
    delete,
    path = "/api/v1/messages/{id}",
    operation_id = "deleteMessage",
    tag = "messages",
    security(("token" = [])),
    params(("id" = String, Path, description = "The id of the message.", pattern = "^[0-9]{1,20}$", example = "1")),
    responses(
        (status = 204, description = "It is gone."),
        (status = 404, description = "no-such-message"),
    )
)]
pub(super) async fn delete(
    State(app): State<Arc<App>>,
    Bearer(holder): Bearer,
    Path(id): Path<String>,
) -> Answer {
    messages::delete(&app, &holder, &id).await
}

/// Get the source of a message
///
/// Byte for byte as it is stored. Whoever reads it slower than 16 KiB a second is cut off.
#[utoipa::path(
    get,
    path = "/api/v1/messages/{id}/raw",
    operation_id = "messageSource",
    tag = "messages",
    security(("token" = [])),
    params(("id" = String, Path, description = "The id of the message.", pattern = "^[0-9]{1,20}$", example = "1")),
    responses(
        (status = 200, description = "The message (RFC 5322); of an encrypted one an age file, as `application/octet-stream`.", content(("message/rfc822")),
            headers(("Content-Disposition" = String, description = "A name to save it under."))),
        (status = 404, description = "no-such-message"),
    )
)]
pub(super) async fn raw(
    State(app): State<Arc<App>>,
    Bearer(holder): Bearer,
    Path(id): Path<String>,
) -> Answer {
    messages::raw(&app, &holder, &id).await
}

/// Get the text of a message
#[utoipa::path(
    get,
    path = "/api/v1/messages/{id}/text",
    operation_id = "messageText",
    tag = "messages",
    security(("token" = [])),
    params(("id" = String, Path, description = "The id of the message.", pattern = "^[0-9]{1,20}$", example = "1")),
    responses(
        (status = 200, description = "The text.", content_type = "text/plain", body = String),
        (status = 409, description = "encrypted"),
        (status = 404, description = "no-such-message"),
        (status = 500, description = "unreadable"),
    )
)]
pub(super) async fn text(
    State(app): State<Arc<App>>,
    Bearer(holder): Bearer,
    Path(id): Path<String>,
) -> Answer {
    reading::text(&app, &holder, &id).await
}

/// Get the HTML of a message
///
/// As a document of its own that has passed a sanitiser: no script, no form, no style sheet, no image from elsewhere.
/// Show it in a sandboxed frame all the same.
#[utoipa::path(
    get,
    path = "/api/v1/messages/{id}/html",
    operation_id = "messageHtml",
    tag = "messages",
    security(("token" = [])),
    params(("id" = String, Path, description = "The id of the message.", pattern = "^[0-9]{1,20}$", example = "1")),
    responses(
        (status = 200, description = "The document.", content_type = "text/html", body = String,
            headers(("Content-Security-Policy" = String, description = "A sandbox."))),
        (status = 409, description = "encrypted"),
        (status = 404, description = "no-such-message, no-such-part"),
        (status = 500, description = "unreadable"),
    )
)]
pub(super) async fn html(
    State(app): State<Arc<App>>,
    Bearer(holder): Bearer,
    Path(id): Path<String>,
) -> Answer {
    reading::html(&app, &holder, &id).await
}

/// Get the header of a message
///
/// Every field in order, decoded and as it came; 1,000 at most.
#[utoipa::path(
    get,
    path = "/api/v1/messages/{id}/headers",
    operation_id = "messageHeaders",
    tag = "messages",
    security(("token" = [])),
    params(("id" = String, Path, description = "The id of the message.", pattern = "^[0-9]{1,20}$", example = "1")),
    responses(
        (status = 200, description = "The fields.", body = HeaderFields),
        (status = 409, description = "encrypted"),
        (status = 404, description = "no-such-message"),
        (status = 500, description = "unreadable"),
    )
)]
pub(super) async fn header_fields(
    State(app): State<Arc<App>>,
    Bearer(holder): Bearer,
    Path(id): Path<String>,
) -> Answer {
    reading::headers(&app, &holder, &id).await
}

/// Get an attachment of a message
#[utoipa::path(
    get,
    path = "/api/v1/messages/{id}/attachments/{index}",
    operation_id = "attachment",
    tag = "messages",
    security(("token" = [])),
    params(
        ("id" = String, Path, description = "The id of the message.", pattern = "^[0-9]{1,20}$", example = "1"),
        ("index" = String, Path, description = "The `index` of the attachment.", pattern = "^[0-9]{1,9}$", example = "0"),
    ),
    responses(
        (status = 200, description = "Its bytes, to be saved and not shown.", content(("application/octet-stream")),
            headers(("Content-Disposition" = String, description = "A name to save it under."))),
        (status = 409, description = "encrypted"),
        (status = 404, description = "no-such-message, no-such-part"),
        (status = 500, description = "unreadable"),
    )
)]
pub(super) async fn attachment(
    State(app): State<Arc<App>>,
    Bearer(holder): Bearer,
    Path((id, index)): Path<(String, String)>,
) -> Answer {
    reading::attachment(&app, &holder, &id, &index).await
}

/// Watch a mailbox
///
/// A stream of server-sent events (HTML Living Standard, section 9.2) that stays open. Each event has the lines `event`, `id`
/// and `data`, one line of JSON; a comment (`:`) comes when nothing else has come for a while.
///
/// | event | data | meaning |
/// |---|---|---|
/// | `message` | `MessageSummary` | it arrived |
/// | `removed` | `RemovedMessage` | it was deleted, it expired, or it made room |
/// | `expires-soon` | `MailboxEnd` | extend the mailbox, or lose it |
/// | `closed` | `NoData` | the mailbox is gone; the stream ends |
/// | `reset` | `NoData` | not all that you missed is known any more: list the messages again |
///
/// ```text
/// retry: 3000
///
/// event: removed
/// id: 2
/// data: {"id":"1"}
/// ```
///
/// Browsers' `EventSource` cannot send a token: read the stream with `fetch`.
#[utoipa::path(
    get,
    path = "/api/v1/events",
    operation_id = "watchMailbox",
    tag = "messages",
    security(("token" = [])),
    params(("Last-Event-ID" = Option<String>, Header,
        description = "Go on after this event: what happened since comes first. The `cursor` of a list will do as well.",
        pattern = "^[0-9]{1,19}$", example = "0")),
    responses(
        (status = 200, description = "The stream.", content_type = "text/event-stream", body = String),
        (status = 429, description = "too-many-watchers"),
    )
)]
pub(super) async fn watch(
    State(app): State<Arc<App>>,
    Bearer(holder): Bearer,
    headers: HeaderMap,
) -> Answer {
    events::open(Arc::clone(&app), &holder, &headers).await
}
