//! Messages as people read them: text, harmless HTML, header fields, attachments, codes and links.
//!
//! Messages are taken apart on threads of their own, few at a time, so neither the mail nor other
//! requests wait for it. Whoever reads the answer slowly is cut off.

use super::app::App;
use super::messages::message_of;
use super::problem::Problem;
use super::views::messages as views;
use crate::mail::Message;
use crate::reading::codes::Findings;
use crate::reading::html::Remote;
use crate::reading::message::{Attachment, Glance};
use crate::reading::{Limits, message, names};
use crate::store::{Entry, Holder};
use axum::body::{Body, Bytes};
use axum::http::{HeaderName, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::time::Instant;

/// How slowly an answer may be read: its memory is not free before it is.
pub(super) const BYTES_A_SECOND_MIN: u64 = 16 << 10;

/// How much of an answer is handed on at a time.
const PIECE_BYTES: usize = 64 << 10;

/// How long lists and event streams wait for their turn to look for codes; then they go without.
const SCAN_PATIENCE: Duration = Duration::from_secs(1);

/// The policy under which the HTML of a mail may be shown.
pub(super) const HTML_POLICY: &str = "sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src data:; \
    form-action 'none'; base-uri 'none'; frame-ancestors 'self'";

/// The policy for files, which are saved and never shown.
const FILE_POLICY: &str =
    "sandbox; default-src 'none'; form-action 'none'; base-uri 'none'; frame-ancestors 'none'";

/// Takes a message apart, or a part of it: on another thread, when it is this request's turn.
pub(super) async fn read<T: Send + 'static>(
    app: &App,
    message: &Arc<Message>,
    work: impl FnOnce(&[u8], &Limits) -> T + Send + 'static,
) -> Result<T, Problem> {
    if message.encrypted {
        return Err(Problem::Encrypted);
    }
    let turn = Arc::clone(&app.readers).acquire_owned().await;
    let turn = turn.map_err(|_| Problem::Busy)?;
    let limits = app.settings.load().reading.clone();
    let message = Arc::clone(message);
    let read = tokio::task::spawn_blocking(move || {
        // The turn ends with the work, even if nobody waits for it any more.
        let _turn = turn;
        work(&message.body.head(usize::MAX), &limits)
    });
    // What panicked has said where on the log, and not about what.
    read.await.map_err(|_| Problem::Unreadable)
}

/// Looks for codes and links in the newest of these messages, if they are not too large. `None` where
/// nobody looked.
pub(super) async fn scan(app: &App, entries: &[Entry]) -> Vec<Option<Findings>> {
    look(app, entries, message::scan).await
}

/// Looks at how the newest of these messages begin, if they are not too large. `None` where nobody looked.
pub(super) async fn glance(app: &App, entries: &[Entry], chars_max: usize) -> Vec<Option<Glance>> {
    look(app, entries, move |raw, limits| {
        message::glance(raw, limits, chars_max)
    })
    .await
}

/// Takes the newest of these messages apart, which stand last, if they are not too large.
async fn look<T: Send + 'static>(
    app: &App,
    entries: &[Entry],
    work: impl Fn(&[u8], &Limits) -> T + Send + 'static,
) -> Vec<Option<T>> {
    let limits = app.settings.load().reading.clone();
    let bytes_max = limits.scan_bytes_max.as_usize();
    let skipped = entries
        .len()
        .saturating_sub(limits.scans_per_page_max as usize);
    let wanted: Vec<Option<Arc<Message>>> = entries
        .iter()
        .enumerate()
        .map(|(nth, entry)| {
            let message = &entry.message;
            let looks = nth >= skipped && message.body.len() <= bytes_max && !message.encrypted;
            looks.then(|| Arc::clone(message))
        })
        .collect();
    if wanted.iter().all(Option::is_none) {
        return entries.iter().map(|_| None).collect();
    }
    let turn = Arc::clone(&app.readers).acquire_owned();
    let Ok(Ok(turn)) = tokio::time::timeout(SCAN_PATIENCE, turn).await else {
        return entries.iter().map(|_| None).collect();
    };
    let look = move |message: Arc<Message>| work(&message.body.head(usize::MAX), &limits);
    let looked = tokio::task::spawn_blocking(move || {
        let _turn = turn;
        wanted.into_iter().map(|wanted| wanted.map(&look)).collect()
    });
    looked
        .await
        .unwrap_or_else(|_| entries.iter().map(|_| None).collect())
}

/// The text of a message.
pub(super) async fn text(app: &App, holder: &Holder, id: &str) -> Result<Response, Problem> {
    let message = message_of(app, holder, id).await?.message;
    let text = read(app, &message, message::text).await?;
    Ok(answer(app, text.into_bytes(), "text/plain; charset=utf-8"))
}

/// The HTML of a message as a document of its own, to be shown in a sandbox.
pub(super) async fn html(app: &App, holder: &Holder, id: &str) -> Result<Response, Problem> {
    let message = message_of(app, holder, id).await?.message;
    document(app, &message, Remote::Blocked, HTML_POLICY).await
}

/// A message's HTML as a document under this policy.
pub(super) async fn document(
    app: &App,
    message: &Arc<Message>,
    remote: Remote,
    policy: &str,
) -> Result<Response, Problem> {
    let document = read(app, message, move |raw, limits| {
        message::document(raw, limits, remote)
    });
    let document = document.await?.ok_or(Problem::NoSuchPart)?;
    let mut response = answer(app, document.into_bytes(), "text/html; charset=utf-8");
    set(&mut response, header::CONTENT_SECURITY_POLICY, policy);
    Ok(response)
}

/// All fields of the header.
pub(super) async fn headers(app: &App, holder: &Holder, id: &str) -> Result<Response, Problem> {
    let message = message_of(app, holder, id).await?.message;
    let fields = read(app, &message, |raw, _| message::fields(raw)).await?;
    Ok(json_answer(app, &views::header_fields(fields)))
}

/// One attachment, to be saved.
pub(super) async fn attachment(
    app: &App,
    holder: &Holder,
    id: &str,
    index: &str,
) -> Result<Response, Problem> {
    let message = message_of(app, holder, id).await?.message;
    let is_number = !index.is_empty() && index.bytes().all(|byte| byte.is_ascii_digit());
    let index: usize = index
        .parse()
        .ok()
        .filter(|_| is_number)
        .ok_or(Problem::NoSuchPart)?;
    let found = read(app, &message, move |raw, limits| {
        message::attachment(raw, limits, index)
    });
    let (attachment, bytes) = found.await?.ok_or(Problem::NoSuchPart)?;
    Ok(file(app, &attachment, bytes))
}

/// An attachment as a file, to be saved and not shown.
pub(super) fn file(app: &App, attachment: &Attachment, bytes: Vec<u8>) -> Response {
    let mut response = answer(app, bytes, "application/octet-stream");
    let disposition = names::content_disposition(&attachment.name);
    set(&mut response, header::CONTENT_DISPOSITION, &disposition);
    set(&mut response, header::CONTENT_SECURITY_POLICY, FILE_POLICY);
    response
}

fn set(response: &mut Response, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        response.headers_mut().insert(name, value);
    }
}

/// A JSON answer that may be long.
pub(super) fn json_answer(app: &App, view: &impl Serialize) -> Response {
    let text = serde_json::to_vec(view).expect("a view has text keys only");
    answer(app, text, "application/json")
}

/// An answer that whoever reads it too slowly does not get whole.
pub(super) fn answer(app: &App, bytes: Vec<u8>, kind: &'static str) -> Response {
    let length = bytes.len();
    let time = app.settings.load().http.request_timeout.0
        + Duration::from_secs(length as u64 / BYTES_A_SECOND_MIN);
    let body = Body::from_stream(Timed {
        left: Bytes::from(bytes),
        deadline: Instant::now() + time,
    });
    let mut response = body.into_response();
    let fields = response.headers_mut();
    fields.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    fields.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    response
}

/// Hands out bytes piece by piece until time is up.
struct Timed {
    left: Bytes,
    deadline: Instant,
}

impl tokio_stream::Stream for Timed {
    type Item = io::Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.left.is_empty() {
            return Poll::Ready(None);
        }
        if Instant::now() > self.deadline {
            return Poll::Ready(Some(Err(io::ErrorKind::TimedOut.into())));
        }
        let length = self.left.len().min(PIECE_BYTES);
        Poll::Ready(Some(Ok(self.left.split_to(length))))
    }
}
