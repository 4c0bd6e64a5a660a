//! The JSON API of GuerrillaMail: one path, `/ajax.php`, and a word for what is wanted.
//!
//! There anybody who names an address reads it; here a session holds its addresses ([`session`]), and somebody else who asks for a
//! name in use is told so and gets another. docs/compatibility.md says call by call what is the same and what is not.

mod calls;
pub(super) mod errors;
mod session;
mod views;

use super::sealed::SealKey;
use crate::control::answer::is_cross_origin;
use crate::control::app::{App, whole_body};
use crate::control::compat::form::Form;
use crate::control::problem::Problem;
use crate::control::rate::Client;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, header};
use axum::response::Response;
use axum::routing::get;
use axum::{Extension, Router};
use calls::Call;
use session::Session;
use std::sync::Arc;

/// Where all functions are.
const AJAX: &str = "/ajax.php";

/// Where attachments are.
const INBOX: &str = "/inbox";

/// The cookie that a session is in.
const COOKIE: &str = "PHPSESSID";

const TOO_MANY: &str = "There are too many parameters.";

/// What the page of the service says to its scripts, for programs that look for it there. The word is the same for everybody
/// and opens nothing.
pub(in crate::control) const BOOTSTRAP: &str = "\nGuerrillaMail's API is at /ajax.php. Programs that look here for a token find one:\napi_token : 'none'\n";

/// Whether a path is one of this API.
pub(super) fn has(path: &str) -> bool {
    path == AJAX || path == INBOX
}

/// The paths of this API.
pub(super) fn routes() -> Router<Arc<App>> {
    Router::new()
        .route(AJAX, get(ajax).post(ajax))
        .route(INBOX, get(inbox))
}

/// The secrets of this API.
#[derive(Debug)]
pub(in crate::control) struct Secrets {
    sessions: SealKey,
}

impl Secrets {
    pub(super) fn draw() -> Self {
        Self {
            sessions: SealKey::draw("mayfly guerrillamail session 1"),
        }
    }
}

/// Any function. What is asked for stands in the query, in the body of a form, or in both, where the body wins.
async fn ajax(
    State(app): State<Arc<App>>,
    Extension(client): Extension<Client>,
    request: Request<Body>,
) -> Result<Response, Problem> {
    let (parts, body) = request.into_parts();
    // Cookies travel by themselves, and functions with effects may be asked for with GET.
    if is_cross_origin(&parts.headers) {
        return Err(Problem::CrossOrigin);
    }
    let query = parts.uri.query().unwrap_or_default();
    let mut form = Form::read(query.as_bytes()).ok_or(Problem::BadQuery(TOO_MANY))?;
    if parts.method == Method::POST {
        let body = whole_body(&app, body).await?;
        if !form.add(&body) {
            return Err(Problem::BadBody(TOO_MANY));
        }
    }
    let session = session(&app, &form, &parts.headers);
    let settings = app.settings.load_full();
    let creator = calls::creator(&app, client, &parts.headers, &settings)?;
    let call = Call {
        app: &app,
        settings: &settings,
        creator,
        form: &form,
        session,
    };
    call.answer().await
}

/// An attachment.
async fn inbox(State(app): State<Arc<App>>, request: Request<Body>) -> Result<Response, Problem> {
    if is_cross_origin(request.headers()) {
        return Err(Problem::CrossOrigin);
    }
    let query = request.uri().query().unwrap_or_default();
    let form = Form::read(query.as_bytes()).ok_or(Problem::BadQuery(TOO_MANY))?;
    if form.get("get_att").is_none() {
        return Err(Problem::NoSuchRoute);
    }
    let session = session(&app, &form, request.headers()).unwrap_or_default();
    calls::attachment(&app, &form, &session).await
}

/// The session that a request belongs to: by its parameter, or by its cookie.
fn session(app: &App, form: &Form, headers: &HeaderMap) -> Option<Session> {
    let now = app.cores.now();
    let opened = |text: &str| Session::open(&app.compat.guerrilla.sessions, text, now);
    let named = form.get("sid_token").and_then(opened);
    named.or_else(|| {
        let fields = headers.get_all(header::COOKIE).iter();
        let cookies = fields
            .filter_map(|field| field.to_str().ok())
            .flat_map(|field| field.split(';'));
        cookies
            .filter_map(|cookie| cookie.trim().split_once('='))
            .filter(|(name, _)| *name == COOKIE)
            .find_map(|(_, text)| opened(text))
    })
}
