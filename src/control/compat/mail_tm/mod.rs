//! The API of mail.tm, which mail.gw has too: accounts with passwords, messages, live push in the manner of Mercure.
//!
//! An account is a mailbox of ours whose holder knows a password. `/token` gives them a sealed token that names the mailbox and
//! ends; a token of ours opens its mailbox here as well. Ids are made of what they name by a keyed hash ([`ids`]), so
//! nothing is kept for them. docs/compatibility.md says call by call what is the same and what is not.

mod accounts;
mod asked;
mod body;
mod domains;
pub(super) mod errors;
mod format;
mod hub;
mod ids;
mod messages;
mod source;
mod token;
mod views;

pub(in crate::control) use format::Format;

use crate::clock::Instant;
use crate::control::app::App;
use crate::control::compat::sealed::SealKey;
use crate::control::problem::Problem;
use axum::Router;
use axum::response::Response;
use axum::routing::{get, post};
use ids::Ids;
use std::sync::Arc;

/// Where the stream of events is.
pub(super) const HUB: &str = "/.well-known/mercure";

/// Whether a path is one of this API.
pub(super) fn has(path: &str) -> bool {
    let first = path
        .strip_prefix('/')
        .and_then(|path| path.split('/').next());
    let is_ours = first.is_some_and(|first| {
        matches!(
            first,
            "accounts" | "domains" | "me" | "messages" | "sources" | "token"
        )
    });
    is_ours || path == HUB
}

/// The secrets of this API.
#[derive(Debug)]
pub(in crate::control) struct Secrets {
    ids: Ids,
    tokens: SealKey,
    /// When this API came to be: before that it had no domain.
    began: Instant,
}

impl Secrets {
    pub(super) fn draw(began: Instant) -> Self {
        Self {
            began,
            ids: Ids::draw(),
            tokens: SealKey::draw("mayfly mail.tm token 1"),
        }
    }
}

/// The paths of this API.
pub(super) fn routes() -> Router<Arc<App>> {
    Router::new()
        .route("/accounts", post(accounts::create))
        .route(
            "/accounts/{id}",
            get(accounts::show).delete(accounts::delete),
        )
        .route("/me", get(accounts::me))
        .route("/token", post(token::give))
        .route("/domains", get(domains::list))
        .route("/domains/{id}", get(domains::show))
        .route("/messages", get(messages::list))
        .route(
            "/messages/{id}",
            get(messages::show)
                .patch(messages::mark)
                .delete(messages::delete),
        )
        .route("/messages/{id}/download", get(messages::download))
        .route(
            "/messages/{id}/attachment/{attachment}",
            get(messages::attachment),
        )
        .route("/sources/{id}", get(messages::source))
        .route(HUB, get(hub::open))
}

const BAD_PAGE: Problem = Problem::BadQuery("'page' must be a number from 1 on.");

type Answer = Result<Response, Problem>;
