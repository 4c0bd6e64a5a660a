//! The operator's side: health, metrics, and postmaster's mail. Never open it to strangers.

use super::app::{App, no_such_method, no_such_route};
use super::problem::Problem;
use super::status::{self, Status};
use super::{Phase, messages, metrics_page, reading};
use crate::edge::{Busy, CoreId};
use crate::metrics::process::Route;
use axum::extract::{Path, RawQuery, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use std::sync::Arc;
use std::time::Duration;

/// How long a core may take to show that it lives.
const HEALTH_TIME: Duration = Duration::from_secs(2);

/// How often a core that is too busy to answer is looked at.
const HEALTH_PAUSE: Duration = Duration::from_millis(50);

/// The routes of the operator's side.
pub(super) fn router(app: Arc<App>) -> Router {
    Router::new()
        .route("/", get(root))
        .route("/healthz", get(health))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .route("/status", get(show_status))
        .route("/postmaster/messages", get(list))
        .route("/postmaster/messages/{id}", get(show).delete(delete))
        .route("/postmaster/messages/{id}/raw", get(raw))
        .route("/postmaster/messages/{id}/text", get(text))
        .route("/postmaster/messages/{id}/html", get(html))
        .route("/postmaster/messages/{id}/headers", get(header_fields))
        .route(
            "/postmaster/messages/{id}/attachments/{index}",
            get(attachment),
        )
        .fallback(no_such_route)
        .method_not_allowed_fallback(no_such_method)
        .with_state(app)
}

/// The label of a path.
pub(super) fn route(path: &str) -> Route {
    match path {
        "/" => Route::Root,
        "/healthz" | "/readyz" => Route::Health,
        "/metrics" => Route::Metrics,
        "/status" => Route::Status,
        _ if path.starts_with("/postmaster/") => Route::Postmaster,
        _ => Route::Unknown,
    }
}

async fn root() -> &'static str {
    "mayfly, operator's side\n\n\
     /healthz              whether the process and every core live\n\
     /readyz               whether it takes mail, and under which pressure\n\
     /metrics              for Prometheus\n\
     /status               how it does, as JSON\n\
     /postmaster/messages  mail for postmaster\n"
}

/// 200 while every core's loop turns.
async fn health(State(app): State<Arc<App>>) -> Response {
    for core in 0..app.cores.count() {
        let lives = tokio::time::timeout(HEALTH_TIME, pulse(&app, CoreId(core)));
        if lives.await.is_err() {
            let text = format!("core {core} does not answer\n");
            return (StatusCode::SERVICE_UNAVAILABLE, text).into_response();
        }
    }
    "ok\n".into_response()
}

/// Returns when the core has shown a sign of life: an answer, or, when its inbox is full, turns of its loop.
async fn pulse(app: &App, core: CoreId) {
    let turns = || app.cores.metrics()[core.0].loop_turns.value();
    let before = turns();
    while app.cores.call(core, |_, _| ()).await == Err(Busy) && turns() == before {
        tokio::time::sleep(HEALTH_PAUSE).await;
    }
}

/// 200 also while new mail connections are refused for pressure: holders still read and delete, which makes room.
async fn ready(State(app): State<Arc<App>>) -> (StatusCode, String) {
    match app.phase() {
        Phase::Starting => (StatusCode::SERVICE_UNAVAILABLE, "starting\n".to_owned()),
        Phase::Ready => {
            let pressure = app.cores.barometer().level().as_str();
            (StatusCode::OK, format!("ready\npressure: {pressure}\n"))
        }
        Phase::Draining | Phase::Stopped => {
            (StatusCode::SERVICE_UNAVAILABLE, "draining\n".to_owned())
        }
    }
}

async fn metrics(State(app): State<Arc<App>>) -> Response {
    let began = app.cores.now();
    let page = metrics_page::render(&app.cores, &app.metrics);
    let took = app.cores.now().since(began);
    app.metrics.scrape_duration.observe_duration_shared(took);
    let version = "text/plain; version=0.0.4; charset=utf-8";
    ([(header::CONTENT_TYPE, version)], page).into_response()
}

async fn show_status(State(app): State<Arc<App>>) -> Json<Status> {
    Json(status::take(&app))
}

async fn list(State(app): State<Arc<App>>, RawQuery(query): RawQuery) -> Response {
    let listed = async {
        let holder = app.postmaster()?;
        match messages::list(&app, &holder, query.as_deref()).await {
            // The mailbox comes into being with the first mail.
            Err(Problem::NoSuchMailbox) => Ok(messages::empty_page()),
            other => other,
        }
    };
    listed.await.into_response()
}

async fn show(State(app): State<Arc<App>>, Path(id): Path<String>) -> Result<Response, Problem> {
    messages::show(&app, &app.postmaster()?, &id).await
}

async fn raw(State(app): State<Arc<App>>, Path(id): Path<String>) -> Result<Response, Problem> {
    messages::raw(&app, &app.postmaster()?, &id).await
}

async fn text(State(app): State<Arc<App>>, Path(id): Path<String>) -> Result<Response, Problem> {
    reading::text(&app, &app.postmaster()?, &id).await
}

async fn html(State(app): State<Arc<App>>, Path(id): Path<String>) -> Result<Response, Problem> {
    reading::html(&app, &app.postmaster()?, &id).await
}

async fn header_fields(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    reading::headers(&app, &app.postmaster()?, &id).await
}

async fn attachment(
    State(app): State<Arc<App>>,
    Path((id, index)): Path<(String, String)>,
) -> Result<Response, Problem> {
    reading::attachment(&app, &app.postmaster()?, &id, &index).await
}

async fn delete(State(app): State<Arc<App>>, Path(id): Path<String>) -> Result<Response, Problem> {
    messages::delete(&app, &app.postmaster()?, &id).await
}
