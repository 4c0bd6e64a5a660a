//! What clients of this API send: a JSON object, of which fields that we do not know are left alone.

use crate::control::app::{App, json_object};
use crate::control::problem::Problem;
use axum::body::Body;
use axum::http::Request;
use serde_json::{Map, Value};
use std::borrow::Cow;

const TYPES: [&str; 3] = [
    "application/json",
    "application/ld+json",
    "application/merge-patch+json",
];

const BLANK: &str = "This value should not be blank.";
const NO_TEXT: &str = "This value should be of type string.";

/// The body of a request; an empty one is as good as an empty object.
pub(super) async fn object(
    app: &App,
    request: Request<Body>,
) -> Result<Map<String, Value>, Problem> {
    json_object(app, request, &TYPES, "Syntax error").await
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
