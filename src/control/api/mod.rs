//! The public side: the API under `/api/v1`.
//!
//! # How an operation is added
//!
//! 1. Write its handler, in the file that it belongs to or in one of its own, with `#[utoipa::path(..)]` above it: the
//!    path, an `operation_id`, a tag, `security(("token" = []))` if a mailbox's token opens it, its parameters and its
//!    answers. The first line of its comment is the summary, the rest the description. What it answers with and what
//!    its body may hold are types with `ToSchema`, of which every field has a sentence and an example.
//! 2. Of the errors name only the codes: `(status = 409, description = "taken")`. [`openapi`] writes the sentences, the
//!    examples and the fields of the head; it adds what every operation, every one with a token or a body may answer.
//!    A new code is a row in [`crate::control::problem`], with a sample in its list of samples.
//! 3. Name it in [`operations`] below, which is both the router and the list of what is described: there is no way to
//!    have the one without the other. What is under `/api/v1` goes nowhere else, and a test sees to that. It also asks
//!    for a label in [`route`].
//! 4. Write the document anew: `MAYFLY_REWRITE=1 cargo test --lib the_stored_document`.

mod about;
mod creation;
mod fields;
mod mailboxes;
mod messages;
mod openapi;
mod view;
mod webhooks;

use super::app::{App, no_such_method, no_such_route};
use super::bearer;
use super::compat;
use super::explorer;
use super::mcp;
use super::page;
use super::problem::Problem;
use crate::metrics::process::Route;
use crate::store::Holder;
use axum::extract::{FromRequestParts, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Extension, Router};
use std::sync::Arc;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

/// Every operation of the API. Those of one path stand in one `routes!`.
fn operations() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::with_openapi(openapi::general())
        .routes(routes!(about::info))
        .routes(routes!(about::document))
        .routes(routes!(creation::challenge))
        .routes(routes!(creation::create))
        .routes(routes!(
            mailboxes::show,
            mailboxes::extend,
            mailboxes::erase
        ))
        .routes(routes!(creation::recover))
        .routes(routes!(webhooks::set, webhooks::show, webhooks::remove))
        .routes(routes!(webhooks::test))
        .routes(routes!(messages::list))
        .routes(routes!(messages::show, messages::delete))
        .routes(routes!(messages::raw))
        .routes(routes!(messages::text))
        .routes(routes!(messages::html))
        .routes(routes!(messages::header_fields))
        .routes(routes!(messages::attachment))
        .routes(routes!(view::view))
        .routes(routes!(messages::watch))
}

/// The routes of the public side.
pub(super) fn router(app: Arc<App>) -> Router {
    let (operations, described) = operations().split_for_parts();
    let document = about::Document::new(&openapi::complete(described));
    operations
        .route("/", get(root))
        .merge(explorer::router())
        .merge(compat::router())
        .merge(mcp::router())
        .route("/assets/{hash}/{*name}", get(page::file))
        .route("/view/{ticket}", get(view::frame))
        .fallback(no_such_route)
        .method_not_allowed_fallback(no_such_method)
        .layer(Extension(document))
        .with_state(app)
}

/// The label of a path.
pub(super) fn route(path: &str) -> Route {
    match path {
        "/" => Route::Root,
        "/api" | "/api/explorer.css" | "/api/explorer.js" => Route::About,
        "/api/v1/info" | "/api/v1/openapi.json" => Route::About,
        "/api/v1/challenges" => Route::Challenges,
        "/api/v1/mailbox/recover" => Route::Recover,
        "/mcp" => Route::Mcp,
        "/api/v1/mailbox/webhook" | "/api/v1/mailbox/webhook/test" => Route::Webhook,
        "/api/v1/mailboxes" => Route::Mailboxes,
        "/api/v1/mailbox" => Route::Mailbox,
        "/api/v1/messages" => Route::Messages,
        "/api/v1/events" => Route::Events,
        _ if path.starts_with("/assets/") => Route::Assets,
        // What stands behind it is a ticket, and no label.
        _ if path.starts_with("/view/") => Route::Frame,
        _ => match path.strip_prefix("/api/v1/messages/") {
            Some(id) if !id.contains('/') => Route::Message,
            Some(rest) => part(rest),
            None => compat::Room::of(path).map_or(Route::Unknown, compat::Room::label),
        },
    }
}

/// The label of a part of a message: `17/raw`, `17/attachments/0`.
fn part(rest: &str) -> Route {
    let mut words = rest.split('/').skip(1);
    match (words.next(), words.next(), words.next()) {
        (Some("raw"), None, _) => Route::Raw,
        (Some("text"), None, _) => Route::Text,
        (Some("html"), None, _) => Route::Html,
        (Some("headers"), None, _) => Route::Headers,
        (Some("view"), None, _) => Route::View,
        (Some("attachments"), Some(_), None) => Route::Attachment,
        _ => Route::Unknown,
    }
}

/// The web page for browsers, and for programs a few lines that say what to do.
async fn root(State(app): State<Arc<App>>, headers: HeaderMap) -> Response {
    if page::is_wanted(&headers) {
        return page::document(&headers);
    }
    let vary = [(header::VARY, HeaderValue::from_static("accept"))];
    let more = match app.settings.load().compatibility.guerrilla_mail {
        true => compat::guerrilla::BOOTSTRAP,
        false => "",
    };
    (vary, [HELP, more].concat()).into_response()
}

const HELP: &str = "mayfly: mail that lives only in memory, and only for a while\n\n\
     Create a mailbox:   curl -X POST http://<here>/api/v1/mailboxes\n\
     Keep its token:     TOKEN=<token of the answer>\n\
     Watch mail arrive:  curl -N -H \"Authorization: Bearer $TOKEN\" http://<here>/api/v1/events\n\
     List it:            curl -H \"Authorization: Bearer $TOKEN\" http://<here>/api/v1/messages\n\
     Read one raw:       curl -H \"Authorization: Bearer $TOKEN\" http://<here>/api/v1/messages/1/raw\n";

/// Whoever presents a token, right or wrong.
struct Bearer(Holder);

impl FromRequestParts<Arc<App>> for Bearer {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Problem> {
        let token = bearer(&parts.headers).ok_or(Problem::Unauthorized)?;
        Ok(Self(Holder::Token(app.tokens.hash(token))))
    }
}

type Answer = Result<Response, Problem>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_operation_has_a_label() {
        let described = operations().into_openapi();
        assert!(described.paths.paths.len() > 10);
        for path in described.paths.paths.keys() {
            let path = path.replace(['{', '}'], "");
            assert_ne!(route(&path), Route::Unknown, "{path}");
        }
    }
}
