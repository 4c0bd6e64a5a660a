//! Messages: listed, read, marked, deleted, handed out.

use super::asked::{PAGE, attachment_number, page};
use super::format::{Format, Kind};
use super::token::Bearer;
use super::views::{INTRO_CHARS, Shown, Summary};
use super::{Answer, BAD_PAGE, body, source};
use crate::control::app::App;
use crate::control::problem::Problem;
use crate::control::{messages, reading};
use crate::mail::Address;
use crate::reading::message::{self, Reading};
use crate::store::Sequence;
use axum::Json;
use axum::body::Body;
use axum::extract::{Path, RawQuery, State};
use axum::http::{HeaderMap, HeaderValue, Request, header};
use axum::response::IntoResponse;
use serde::Serialize;
use serde_json::Value;
use std::borrow::Cow;
use std::sync::Arc;

/// Whether a message was seen.
#[derive(Serialize)]
struct Seen {
    seen: bool,
}

/// The number of the message that an id names; one that no message has if it names none.
fn number(app: &App, bearer: &Bearer, id: &str) -> Sequence {
    let ids = &app.compat.mail_tm.ids;
    ids.number(&bearer.hash, id).unwrap_or_default()
}

fn shown<'a>(app: &'a App, bearer: &'a Bearer, address: &'a Address, format: Format) -> Shown<'a> {
    Shown {
        secrets: &app.compat.mail_tm,
        holder: &bearer.hash,
        address,
        format,
        wall: app.cores.wall(),
    }
}

/// A page, newest first.
pub(super) async fn list(
    State(app): State<Arc<App>>,
    bearer: Bearer,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Answer {
    let format = Format::wanted(&headers);
    let page = page(query.as_deref()).ok_or(BAD_PAGE)?;
    let skip = (page - 1) * PAGE;
    let asked = app.ask(&bearer.holder, move |shard, holder, now| {
        let address = shard.state(holder, now)?.address;
        Some((address, shard.newest(holder, skip, PAGE, now)?))
    });
    let (address, (total, mut entries)) = asked.await?;
    // Whoever looks at some begins with the last.
    entries.reverse();
    let glances = reading::glance(&app, &entries, INTRO_CHARS).await;
    let shown = shown(&app, &bearer, &address, format);
    let pairs = entries.iter().zip(glances).rev();
    let members: Vec<Summary> = pairs
        .map(|(entry, glance)| shown.listed(entry, glance))
        .collect();
    Ok(format.page(Kind::Message, page, total, members))
}

/// One message by itself.
pub(super) async fn show(
    State(app): State<Arc<App>>,
    bearer: Bearer,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Answer {
    let format = Format::wanted(&headers);
    let sequence = number(&app, &bearer, &id);
    let asked = app.ask(&bearer.holder, move |shard, holder, now| {
        let entry = shard.message(holder, sequence, now)?;
        Some((entry, shard.state(holder, now)?.address))
    });
    let (entry, address) = asked.await?;
    let entry = entry.ok_or(Problem::NoSuchMessage)?;
    let read = match entry.message.encrypted {
        true => Reading::default(),
        false => reading::read(&app, &entry.message, message::read).await?,
    };
    let verifications = app.settings.load().compatibility.mail_tm_verifications;
    let view = shown(&app, &bearer, &address, format).message(&entry, read, verifications);
    let text = serde_json::to_vec(&view).expect("a view has text keys only");
    let mut answer = reading::answer(&app, text, format.media_type());
    let vary = HeaderValue::from_static("accept");
    answer.headers_mut().insert(header::VARY, vary);
    Ok(answer)
}

/// Marks a message as seen, unless the body says otherwise.
pub(super) async fn mark(
    State(app): State<Arc<App>>,
    bearer: Bearer,
    Path(id): Path<String>,
    request: Request<Body>,
) -> Answer {
    let mut fields = body::object(&app, request).await?;
    let seen = match fields.remove("seen") {
        None => true,
        Some(Value::Bool(seen)) => seen,
        Some(_) => {
            let wrong = "This value should be of type bool.";
            return Err(Problem::Field("seen", Cow::Borrowed(wrong)));
        }
    };
    let sequence = number(&app, &bearer, &id);
    let asked = app.ask(&bearer.holder, move |shard, holder, now| {
        shard.set_seen(holder, sequence, seen, now)
    });
    let entry = asked.await?.ok_or(Problem::NoSuchMessage)?;
    Ok(Json(Seen { seen: entry.seen }).into_response())
}

pub(super) async fn delete(
    State(app): State<Arc<App>>,
    bearer: Bearer,
    Path(id): Path<String>,
) -> Answer {
    let sequence = number(&app, &bearer, &id).0.to_string();
    messages::delete(&app, &bearer.holder, &sequence).await
}

/// The source, byte for byte.
pub(super) async fn download(
    State(app): State<Arc<App>>,
    bearer: Bearer,
    Path(id): Path<String>,
) -> Answer {
    let sequence = number(&app, &bearer, &id).0.to_string();
    messages::raw(&app, &bearer.holder, &sequence).await
}

/// One attachment, to be saved.
pub(super) async fn attachment(
    State(app): State<Arc<App>>,
    bearer: Bearer,
    Path((id, attachment)): Path<(String, String)>,
) -> Answer {
    let sequence = number(&app, &bearer, &id).0.to_string();
    // What names none is as good as one that no message has.
    let index = attachment_number(&attachment).unwrap_or(usize::MAX);
    reading::attachment(&app, &bearer.holder, &sequence, &index.to_string()).await
}

/// The source as a text in JSON.
pub(super) async fn source(
    State(app): State<Arc<App>>,
    bearer: Bearer,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Answer {
    let format = Format::wanted(&headers);
    let sequence = number(&app, &bearer, &id).0.to_string();
    let entry = messages::message_of(&app, &bearer.holder, &sequence).await?;
    Ok(source::answer(&app, &id, format, entry.message))
}
