//! What every request goes through, whichever side it comes to.

use super::app::{App, Side};
use super::compat::{self, Tongue};
use super::problem::Problem;
use super::rate::{Client, Standing, Verdict};
use super::wire::{Passed, REFUSED_PATH};
use super::{api, operator};
use crate::metrics::process::{self, Route, Status};
use axum::Router;
use axum::body::Body;
use axum::http::header::{self, HeaderName, HeaderValue};
use axum::http::{HeaderMap, Method, Request, Response, StatusCode, Uri};
use axum::response::IntoResponse;
use std::sync::Arc;
use std::time::Duration;
use tower::ServiceExt;

/// A path that nothing has.
const NO_PATH: &str = "/.nothing";

/// Answers one request: everything that does not depend on what is asked for.
pub(super) async fn answer(
    app: Arc<App>,
    side: Side,
    router: Router,
    client: Client,
    passed: Passed,
    mut request: Request<Body>,
) -> Response<Body> {
    let started = app.cores.now();
    // Whoever creates something is counted once more where they do.
    request.extensions_mut().insert(client);
    let asked = Asked::of(side, &request);
    let tongue = match side {
        Side::Public => Tongue::of(&app, &request),
        Side::Operator => Tongue::Ours,
    };
    let refused = passed
        .refused
        .filter(|_| request.uri().path() == REFUSED_PATH);
    let method = method_label(request.method());
    let response = match refused {
        Some(offence) => Problem::Head(offence).into_response(),
        None if side == Side::Public => limited(&app, router, client, asked, request).await,
        None => timed(&app, router, asked, request).await,
    };
    let mut response = tongue.put(response);
    secure(response.headers_mut());
    if passed.last {
        let close = HeaderValue::from_static("close");
        response.headers_mut().insert(header::CONNECTION, close);
    }
    let status = Status::of(response.status().as_u16());
    let requests = app.metrics.http_requests.of(asked.route, method, status);
    requests.add_shared(1);
    if !asked.may_be_late() {
        let span = app.cores.now().since(started);
        let durations = app.metrics.http_request_duration.of(asked.route);
        durations.observe_duration_shared(span);
    }
    response
}

fn method_label(method: &Method) -> process::Method {
    use process::Method as Label;
    match *method {
        Method::DELETE => Label::Delete,
        Method::GET => Label::Get,
        Method::HEAD => Label::Head,
        Method::OPTIONS => Label::Options,
        Method::PATCH => Label::Patch,
        Method::POST => Label::Post,
        Method::PUT => Label::Put,
        _ => Label::Other,
    }
}

/// What is known of a request before it is answered.
#[derive(Clone, Copy)]
struct Asked {
    route: Route,
    /// Whether the answer stays open.
    is_stream: bool,
    /// Whether it may wait for mail.
    waits: bool,
}

impl Asked {
    fn of(side: Side, request: &Request<Body>) -> Self {
        let path = request.uri().path();
        let route = match side {
            Side::Public => api::route(path),
            Side::Operator => operator::route(path),
        };
        let has_wait = |query: &str| query.split('&').any(|word| word.starts_with("wait="));
        Self {
            route,
            is_stream: route == Route::Events || side == Side::Public && compat::is_stream(path),
            waits: route == Route::Messages && request.uri().query().is_some_and(has_wait),
        }
    }

    /// Whether the answer may come late because nothing has happened yet.
    const fn may_be_late(self) -> bool {
        self.is_stream || self.waits
    }
}

/// Answers a request of the public side, if its client has not sent too many.
///
/// A stream that a token opens does not count, even for a client that has used up its requests; one that does
/// not open counts like any other request, or streams would be a way to try tokens without end.
async fn limited(
    app: &App,
    router: Router,
    client: Client,
    asked: Asked,
    request: Request<Body>,
) -> Response<Body> {
    let limit = app.settings.load().http.requests_per_minute;
    if limit == 0 {
        return checked(app, router, asked, request).await;
    }
    let now = app.cores.now();
    let verdict = app.rate(|rate| rate.request(client, limit, now));
    let (passed, standing) = match verdict {
        Verdict::Pass(standing) => (true, standing),
        Verdict::Refuse(standing) => (false, standing),
    };
    // A monitor needs no secret: each one that is opened counts.
    let is_free = asked.is_stream && asked.route != Route::Inbucket;
    let mut response = if passed || is_free {
        checked(app, router, asked, request).await
    } else {
        Problem::TooManyRequests(standing.reset_secs).into_response()
    };
    let opened = is_free && response.status() == StatusCode::OK;
    if opened && passed {
        let now = app.cores.now();
        app.rate(|rate| rate.forgive(client, now));
    }
    if !opened && !passed {
        app.metrics.http_rate_limited.add_shared(1);
        response = Problem::TooManyRequests(standing.reset_secs).into_response();
    }
    tell_standing(response.headers_mut(), limit, standing);
    response
}

/// The fields of draft-ietf-httpapi-ratelimit-headers.
fn tell_standing(headers: &mut HeaderMap, limit: u32, standing: Standing) {
    let policy = format!("\"client\";q={limit};w=60");
    let rest = format!(
        "\"client\";r={};t={}",
        standing.remaining, standing.reset_secs
    );
    for (name, text) in [("ratelimit-policy", policy), ("ratelimit", rest)] {
        if let Ok(value) = HeaderValue::from_str(&text) {
            headers.insert(HeaderName::from_static(name), value);
        }
    }
}

/// Answers a request unless a page of another site sent it.
async fn checked(
    app: &App,
    router: Router,
    asked: Asked,
    mut request: Request<Body>,
) -> Response<Body> {
    let safe = matches!(
        *request.method(),
        Method::GET | Method::HEAD | Method::OPTIONS
    );
    if !safe && is_cross_origin(request.headers()) {
        return Problem::CrossOrigin.into_response();
    }
    if compat::is_off(app, request.uri().path()) {
        *request.uri_mut() = Uri::from_static(NO_PATH);
    }
    timed(app, router, asked, request).await
}

/// Whether a browser says that a page of another origin sent this. Tokens do not travel by
/// themselves as cookies do, but creating mailboxes needs none.
pub(super) fn is_cross_origin(headers: &HeaderMap) -> bool {
    if let Some(site) = headers.get("sec-fetch-site") {
        return site != "same-origin" && site != "none";
    }
    let Some(origin) = headers.get(header::ORIGIN) else {
        return false;
    };
    let host = headers.get(header::HOST).map(HeaderValue::as_bytes);
    let authority = [&b"http://"[..], b"https://"]
        .iter()
        .find_map(|scheme| origin.as_bytes().strip_prefix(*scheme));
    authority.is_none() || authority != host
}

/// Answers a request in time.
async fn timed(app: &App, router: Router, asked: Asked, request: Request<Body>) -> Response<Body> {
    let http = app.settings.load().http.clone();
    let waiting = if asked.may_be_late() {
        http.wait_max.0
    } else {
        Duration::ZERO
    };
    let answer = router.oneshot(request);
    match tokio::time::timeout(http.request_timeout.0 + waiting, answer).await {
        Ok(Ok(response)) => response,
        Ok(Err(never)) => match never {},
        Err(_) => Problem::Timeout.into_response(),
    }
}

/// What every answer says, so that no browser, cache or page makes more of it than it is.
fn secure(headers: &mut HeaderMap) {
    const FIELDS: [(HeaderName, &str); 3] = [
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (
            HeaderName::from_static("cross-origin-resource-policy"),
            "same-origin",
        ),
    ];
    for (name, value) in FIELDS {
        headers.insert(name, HeaderValue::from_static(value));
    }
    // Only the page and its files, which are the same for everybody, may be kept; they say so themselves. The page and
    // parts of mails have policies of their own.
    for (name, value) in [
        (header::CACHE_CONTROL, "no-store"),
        (
            header::CONTENT_SECURITY_POLICY,
            "default-src 'none'; frame-ancestors 'none'",
        ),
    ] {
        let value = HeaderValue::from_static(value);
        headers.entry(name).or_insert(value);
    }
}
