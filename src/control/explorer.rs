//! The API's document as a page on which it can be read and tried: `GET /api`.
//!
//! One document, one style sheet, one script, all ours. The token that is typed into it stays in the page's memory.

use axum::Router;
use axum::http::{HeaderName, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;

/// What the page may do: load its own two files and ask the API.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src data:; connect-src 'self'; \
    form-action 'none'; base-uri 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; \
    trusted-types 'none'";

/// The page's routes.
pub(super) fn router<S: Clone + Send + Sync + 'static>() -> Router<S> {
    Router::new()
        .route("/api", get(page))
        .route("/api/explorer.css", get(style))
        .route("/api/explorer.js", get(script))
}

async fn page() -> Response {
    let mut response = file(
        "text/html; charset=utf-8",
        include_str!("explorer/index.html"),
    );
    let opener = HeaderName::from_static("cross-origin-opener-policy");
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (opener, "same-origin"),
    ] {
        response
            .headers_mut()
            .insert(name, HeaderValue::from_static(value));
    }
    response
}

async fn style() -> Response {
    file(
        "text/css; charset=utf-8",
        include_str!("explorer/explorer.css"),
    )
}

async fn script() -> Response {
    file(
        "text/javascript; charset=utf-8",
        include_str!("explorer/explorer.js"),
    )
}

fn file(kind: &'static str, text: &'static str) -> Response {
    ([(header::CONTENT_TYPE, kind)], text).into_response()
}
