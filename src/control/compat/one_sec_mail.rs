//! The API of 1secmail, which is gone; many programs that spoke to it are not.
//!
//! One path, `/api/v1/`, and a word for what is wanted. There is no secret in it, so it shows public domains
//! and nothing else.

use super::form::Form;
use super::public::Named;
use crate::control::app::App;
use crate::control::messages::VIEWS_AT_A_TIME;
use crate::control::problem::Problem;
use crate::control::views::messages::headers_of;
use crate::control::{names, reading};
use crate::policy::recipients::public_domains;
use crate::reading::message;
use crate::store::{Entry, Sequence};
use axum::extract::{RawQuery, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde::Serialize;
use std::sync::Arc;

/// The most addresses that are made up at once.
const NAMES_MAX: usize = 100;

/// Where it is.
const PATH: &str = "/api/v1/";

const ACTIONS: &str =
    "'action' is genRandomMailbox, getDomainList, getMessages, readMessage or download.";
const TOO_MANY: &str = "There are too many parameters.";

/// Whether a path is one of this API.
pub(super) fn has(path: &str) -> bool {
    path == PATH
}

/// The path of this API.
pub(super) fn routes() -> Router<Arc<App>> {
    Router::new().route(PATH, get(answer))
}

/// A message in a list.
#[derive(Serialize)]
struct Summary {
    id: u64,
    from: String,
    subject: String,
    date: String,
}

/// A message.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Whole {
    #[serde(flatten)]
    summary: Summary,
    attachments: Vec<File>,
    /// The HTML, or the text where there is none.
    body: String,
    text_body: String,
    html_body: String,
}

/// An attachment.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct File {
    filename: String,
    content_type: String,
    size: usize,
}

impl Summary {
    fn new(entry: &Entry, app: &App) -> Self {
        let headers = headers_of(&entry.message);
        let address = headers
            .from
            .into_iter()
            .next()
            .and_then(|from| from.address);
        let received = app.cores.wall().rfc3339(entry.message.received_at);
        Self {
            id: entry.sequence.0,
            from: address.unwrap_or_default(),
            subject: headers.subject.unwrap_or_default(),
            date: received.replace('T', " ").replace('Z', ""),
        }
    }
}

async fn answer(
    State(app): State<Arc<App>>,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let query = query.unwrap_or_default();
    let asked = Form::read(query.as_bytes()).ok_or(Problem::BadQuery(TOO_MANY))?;
    match asked.get("action").unwrap_or_default() {
        "genRandomMailbox" => Ok(Json(made_up(&app, &asked)).into_response()),
        "getDomainList" => {
            let settings = app.settings.load();
            let domains: Vec<&str> = public_domains(&settings.recipients).collect();
            Ok(Json(domains).into_response())
        }
        "getMessages" => list(&app, &asked).await,
        "readMessage" => read(&app, &asked).await,
        "download" => download(&app, &asked).await,
        _ => Err(Problem::BadQuery(ACTIONS)),
    }
}

/// Addresses that nobody will guess. Nothing is created: the first mail does that.
fn made_up(app: &App, asked: &Form) -> Vec<String> {
    let settings = app.settings.load();
    let rules = &settings.recipients;
    let count = asked.get("count").and_then(|count| count.parse().ok());
    let count = count.unwrap_or(1_usize).clamp(1, NAMES_MAX);
    let domains: Vec<&str> = public_domains(rules).collect();
    let in_turn = domains.iter().cycle().take(match domains.is_empty() {
        true => 0,
        false => count,
    });
    in_turn
        .map(|domain| format!("{}@{domain}", names::draw(&rules.subaddress_separators)))
        .collect()
}

/// The mailbox that is meant, if it is everybody's.
fn mailbox(app: &App, asked: &Form) -> Result<Option<Named>, Problem> {
    let (Some(login), Some(domain)) = (asked.get("login"), asked.get("domain")) else {
        return Err(Problem::BadQuery("'login' and 'domain' are needed."));
    };
    Ok(Named::find(
        &format!("{login}@{domain}"),
        &app.settings.load(),
    ))
}

async fn list(app: &App, asked: &Form) -> Result<Response, Problem> {
    let limit = app.settings.load().http.page_messages_max.max(1) as usize;
    let entries = match mailbox(app, asked)? {
        Some(mailbox) => mailbox.newest(app, limit).await?,
        None => Vec::new(),
    };
    let mut messages = Vec::with_capacity(entries.len());
    for some in entries.chunks(VIEWS_AT_A_TIME) {
        messages.extend(some.iter().map(|entry| Summary::new(entry, app)));
        tokio::task::yield_now().await;
    }
    Ok(Json(messages).into_response())
}

/// The message that is meant.
async fn message(app: &App, asked: &Form) -> Result<Option<Entry>, Problem> {
    let id = asked.get("id").and_then(|id| id.parse().ok());
    match (mailbox(app, asked)?, id) {
        (Some(mailbox), Some(id)) => mailbox.message(app, Sequence(id)).await,
        _ => Ok(None),
    }
}

/// As the service said it.
fn not_found() -> Response {
    (StatusCode::NOT_FOUND, "Message not found").into_response()
}

async fn read(app: &App, asked: &Form) -> Result<Response, Problem> {
    let Some(entry) = message(app, asked).await? else {
        return Ok(not_found());
    };
    let reading = reading::read(app, &entry.message, message::read).await?;
    let html_body = reading.html.map(|html| html.clean).unwrap_or_default();
    let files = reading.attachments.into_iter();
    let whole = Whole {
        summary: Summary::new(&entry, app),
        attachments: files
            .map(|file| File {
                filename: file.name,
                content_type: file.kind,
                size: file.size,
            })
            .collect(),
        body: match html_body.is_empty() {
            true => reading.text.clone(),
            false => html_body.clone(),
        },
        text_body: reading.text,
        html_body,
    };
    Ok(reading::json_answer(app, &whole))
}

async fn download(app: &App, asked: &Form) -> Result<Response, Problem> {
    let name = asked.get("file").unwrap_or_default().to_owned();
    let Some(entry) = message(app, asked).await? else {
        return Ok(not_found());
    };
    let found = reading::read(app, &entry.message, move |raw, limits| {
        let reading = message::read(raw, limits);
        let index = reading.attachments.iter().position(|it| it.name == name)?;
        message::attachment(raw, limits, index)
    });
    match found.await? {
        Some((file, bytes)) => Ok(reading::file(app, &file, bytes)),
        None => Ok((StatusCode::NOT_FOUND, "File not found").into_response()),
    }
}
