//! The REST API of Inbucket, version 1, and both its monitors.
//!
//! Inbucket knows no secret: whoever names a mailbox reads it. So this room shows public domains and nothing else. A mailbox
//! is called by its local part at the first public domain, and by its address at the others. docs/compatibility.md says call by
//! call what is the same and what is not.

mod monitor;
mod rest;
mod views;

pub(in crate::control) use monitor::Monitors;

use crate::control::app::App;
use axum::Router;
use axum::routing::get;
use std::sync::Arc;

/// What of ours stands where mailboxes stand.
const OURS: [&str; 3] = ["recover", "webhook", "webhook/test"];

/// Whether a path is one of this API.
pub(super) fn has(path: &str) -> bool {
    let mailbox = path.strip_prefix("/api/v1/mailbox/");
    mailbox.is_some_and(|rest| !OURS.contains(&rest))
        || path.starts_with("/serve/mailbox/")
        || is_monitor(path)
}

/// Whether a path is that of a monitor, which stays open.
pub(super) fn is_monitor(path: &str) -> bool {
    ["/api/v1/monitor/messages", "/api/v2/monitor/messages"]
        .iter()
        .filter_map(|monitor| path.strip_prefix(monitor))
        .any(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// The paths of this API.
pub(super) fn routes() -> Router<Arc<App>> {
    Router::new()
        .route(
            "/api/v1/mailbox/{name}",
            get(rest::list).delete(rest::purge),
        )
        .route(
            "/api/v1/mailbox/{name}/{id}",
            get(rest::show).patch(rest::mark).delete(rest::delete),
        )
        .route("/api/v1/mailbox/{name}/{id}/source", get(rest::source))
        .route("/serve/mailbox/{name}/{id}/source", get(rest::source))
        .route("/serve/mailbox/{name}/{id}/html", get(rest::html))
        .route(
            "/serve/mailbox/{name}/{id}/attach/{index}/{file}",
            get(rest::attachment),
        )
        .route("/api/v1/monitor/messages", get(monitor::all::<1>))
        .route("/api/v1/monitor/messages/{name}", get(monitor::one::<1>))
        .route("/api/v2/monitor/messages", get(monitor::all::<2>))
        .route("/api/v2/monitor/messages/{name}", get(monitor::one::<2>))
}
