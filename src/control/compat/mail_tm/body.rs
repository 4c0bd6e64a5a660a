//! What clients of this API send: a JSON object, of which fields that we do not know are left alone.

use crate::control::app::{App, whole_body};
use crate::control::problem::Problem;
use axum::body::Body;
use axum::http::{HeaderValue, Request, header};
use serde_json::{Map, Value};
use std::borrow::Cow;

const BLANK: &str = "This value should not be blank.";
const NO_TEXT: &str = "This value should be of type string.";

/// The body of a request; an empty one is as good as an empty object.
pub(super) async fn object(
    app: &App,
    request: Request<Body>,
) -> Result<Map<String, Value>, Problem> {
    let (parts, body) = request.into_parts();
    let kind = parts.headers.get(header::CONTENT_TYPE);
    // Forms of other sites cannot send these types.
    if !kind.is_none_or(is_json) {
        return Err(Problem::MediaType);
    }
    let body = whole_body(app, body).await?;
    if body.trim_ascii().is_empty() {
        return Ok(Map::new());
    }
    if kind.is_none() {
        return Err(Problem::MediaType);
    }
    serde_json::from_slice(&body).map_err(|_| Problem::BadBody("Syntax error"))
}

/// A text that must be there.
pub(super) fn text(fields: &mut Map<String, Value>, name: &'static str) -> Result<String, Problem> {
    let wrong = |why| Err(Problem::Field(name, Cow::Borrowed(why)));
    match fields.remove(name) {
        Some(Value::String(text)) if !text.is_empty() => Ok(text),
        Some(Value::String(_) | Value::Null) | None => wrong(BLANK),
        Some(_) => wrong(NO_TEXT),
    }
}

fn is_json(kind: &HeaderValue) -> bool {
    let essence = kind.as_bytes().split(|byte| *byte == b';').next();
    let essence = essence.unwrap_or_default().trim_ascii();
    [
        "application/json",
        "application/ld+json",
        "application/merge-patch+json",
    ]
    .iter()
    .any(|known| essence.eq_ignore_ascii_case(known.as_bytes()))
}
