//! Errors as GuerrillaMail says them: what it calls `auth` says whether a call came through, and a list of words why not.

use crate::control::problem::Problem;
use axum::Json;
use axum::body::Body;
use axum::http::{Response, StatusCode};
use axum::response::IntoResponse;
use serde_json::json;

/// A problem in the words of this API. Its clients look at the words; what is wrong with a session has no status of its own.
pub(in crate::control::compat) fn said(problem: &Problem) -> Response<Body> {
    let details = problem.details();
    let (status, word) = match problem {
        Problem::Unauthorized | Problem::NoSuchMailbox => {
            (StatusCode::OK.as_u16(), "auth-session-not-initialized")
        }
        Problem::WrongKey => (StatusCode::OK.as_u16(), "auth-token-invalid"),
        _ => (details.status, details.code),
    };
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let said = json!({
        "error": details.detail,
        "auth": { "success": false, "error_codes": [word] },
    });
    (status, Json(said)).into_response()
}
