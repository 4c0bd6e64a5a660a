//! The public side: the API under `/api/v1`.

use super::app::{App, no_such_method, no_such_route, whole_body};
use super::problem::Problem;
use super::{Settings, Token, events, messages, names, reading, views};
use crate::edge::Busy;
use crate::mail::Address;
use crate::metrics::process::Route;
use crate::policy::recipients::{self, CreateRefusal};
use crate::store::{CreateError, Holder, MailboxState, NewMailbox};
use axum::body::Body;
use axum::extract::{FromRequestParts, Path, RawQuery, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, Request, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::{Map, Value, json};
use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

/// How many addresses are drawn before we admit that none is free.
const DRAWS_MAX: usize = 8;

const BAD_TTL: &str =
    "Write whole seconds as a number, or a duration such as \"30m\"; one second at least.";
const NOT_OURS: &str = "This is not a domain of ours.";
const TAGGED: &str = "This has a tag, and mail to it reaches the address without it: create that one. \
     Nothing needs to be created for a tag.";

/// The routes of the public side.
pub(super) fn router(app: Arc<App>) -> Router {
    Router::new()
        .route("/", get(root))
        .route("/api/v1/mailboxes", post(create))
        .route(
            "/api/v1/mailbox",
            get(show_mailbox).patch(extend).delete(erase),
        )
        .route("/api/v1/messages", get(list))
        .route("/api/v1/messages/{id}", get(show).delete(delete))
        .route("/api/v1/messages/{id}/raw", get(raw))
        .route("/api/v1/messages/{id}/text", get(text))
        .route("/api/v1/messages/{id}/html", get(html))
        .route("/api/v1/messages/{id}/headers", get(header_fields))
        .route("/api/v1/messages/{id}/attachments/{index}", get(attachment))
        .route("/api/v1/events", get(open_events))
        .fallback(no_such_route)
        .method_not_allowed_fallback(no_such_method)
        .with_state(app)
}

/// The label of a path.
pub(super) fn route(path: &str) -> Route {
    match path {
        "/" => Route::Root,
        "/api/v1/mailboxes" => Route::Mailboxes,
        "/api/v1/mailbox" => Route::Mailbox,
        "/api/v1/messages" => Route::Messages,
        "/api/v1/events" => Route::Events,
        _ => match path.strip_prefix("/api/v1/messages/") {
            Some(id) if !id.contains('/') => Route::Message,
            Some(rest) => part(rest),
            None => Route::Unknown,
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
        (Some("attachments"), Some(_), None) => Route::Attachment,
        _ => Route::Unknown,
    }
}

async fn root() -> &'static str {
    "mayfly: mail that lives only in memory, and only for a while\n\n\
     Create a mailbox:   curl -X POST http://<here>/api/v1/mailboxes\n\
     Keep its token:     TOKEN=<token of the answer>\n\
     Watch mail arrive:  curl -N -H \"Authorization: Bearer $TOKEN\" http://<here>/api/v1/events\n\
     List it:            curl -H \"Authorization: Bearer $TOKEN\" http://<here>/api/v1/messages\n\
     Read one raw:       curl -H \"Authorization: Bearer $TOKEN\" http://<here>/api/v1/messages/1/raw\n"
}

/// Whoever presents a token, right or wrong.
struct Bearer(Holder);

impl FromRequestParts<Arc<App>> for Bearer {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Problem> {
        let mut presented = parts.headers.get_all(header::AUTHORIZATION).iter();
        let (Some(presented), None) = (presented.next(), presented.next()) else {
            return Err(Problem::Unauthorized);
        };
        let (scheme, token) = presented
            .as_bytes()
            .split_at_checked(7)
            .ok_or(Problem::Unauthorized)?;
        if !scheme.eq_ignore_ascii_case(b"bearer ") {
            return Err(Problem::Unauthorized);
        }
        let hash = app.tokens.hash(token.trim_ascii());
        Ok(Self(Holder::Token(hash)))
    }
}

type Answer = Result<Response, Problem>;

async fn create(State(app): State<Arc<App>>, request: Request<Body>) -> Answer {
    let settings = app.settings.load_full();
    let mut fields = Fields::read(&app, request).await?;
    let local_part = fields.text("local_part")?;
    let domain = fields.text("domain")?;
    let ttl = fields
        .ttl()?
        .unwrap_or(settings.budget.mailbox_ttl_default.0);
    fields.none_left("The fields here are 'local_part', 'domain' and 'ttl'.")?;
    let domain = domain
        .or_else(|| settings.recipients.domains.first().cloned())
        .ok_or(Problem::Field(
            "domain",
            Cow::Borrowed("No domain is configured."),
        ))?;
    let (state, token) = match local_part {
        Some(local_part) => {
            let address = chosen_address(&local_part, &domain, &settings)?;
            create_at(&app, &settings, address, ttl).await?
        }
        None => create_somewhere(&app, &settings, &domain, ttl).await?,
    };
    let mut view = mailbox_view(&app, &state);
    view["token"] = json!(token.reveal());
    view["links"] = json!({
        "mailbox": "/api/v1/mailbox",
        "messages": "/api/v1/messages",
        "events": "/api/v1/events",
    });
    let location = HeaderValue::from_static("/api/v1/mailbox");
    Ok((
        StatusCode::CREATED,
        [(header::LOCATION, location)],
        Json(view),
    )
        .into_response())
}

fn chosen_address(local_part: &str, domain: &str, settings: &Settings) -> Result<Address, Problem> {
    let domain = our_domain(domain, settings)?;
    Address::parse(format!("{local_part}@{domain}")).map_err(|why| {
        let detail = format!("This cannot be a local part: {why}.");
        Problem::Field("local_part", detail.into())
    })
}

/// The canonical form of the domain that was named.
fn our_domain(domain: &str, settings: &Settings) -> Result<String, Problem> {
    recipients::our_domain(domain, &settings.recipients)
        .ok_or(Problem::Field("domain", Cow::Borrowed(NOT_OURS)))
}

async fn create_somewhere(
    app: &App,
    settings: &Settings,
    domain: &str,
    ttl: Duration,
) -> Result<(MailboxState, Token), Problem> {
    let domain = our_domain(domain, settings)?;
    for _ in 0..DRAWS_MAX {
        let local_part = names::draw(&settings.recipients.subaddress_separators);
        let address = Address::parse(format!("{local_part}@{domain}"))
            .map_err(|_| Problem::Field("domain", Cow::Borrowed(NOT_OURS)))?;
        match create_at(app, settings, address, ttl).await {
            Err(Problem::Taken) => {}
            created_or_not => return created_or_not,
        }
    }
    Err(Problem::Busy)
}

async fn create_at(
    app: &App,
    settings: &Settings,
    address: Address,
    ttl: Duration,
) -> Result<(MailboxState, Token), Problem> {
    recipients::may_create(&address, &settings.recipients).map_err(|refusal| match refusal {
        CreateRefusal::ForeignDomain => Problem::Field("domain", Cow::Borrowed(NOT_OURS)),
        CreateRefusal::Reserved => Problem::Field("local_part", "This name is reserved.".into()),
        CreateRefusal::Tagged => Problem::Field("local_part", Cow::Borrowed(TAGGED)),
    })?;
    let owner = app.cores.owner_of_address(&address);
    let fits = |hash: &_| app.cores.owner_of_token(hash) == owner;
    let (token, hash) = Token::draw(&app.tokens, fits);
    let wanted = NewMailbox::new(hash, ttl, settings.budget.mailbox_ttl_max.0);
    let created = app
        .cores
        .call(owner, move |shard, now| shard.create(&address, wanted, now))
        .await
        .map_err(|Busy| Problem::Busy)?;
    match created {
        Ok(state) => Ok((state, token)),
        Err(CreateError::Taken) => Err(Problem::Taken),
        Err(CreateError::NoMemory) => Err(Problem::NoMemory),
    }
}

/// A mailbox with the seconds it has left, which is what was granted.
fn mailbox_view(app: &App, state: &MailboxState) -> Value {
    let mut view = views::mailbox(state, &app.cores.wall());
    let left = state
        .expires_at
        .map(|at| at.since(app.cores.now()).as_millis().div_ceil(1_000));
    view["expires_in"] = json!(left.and_then(|secs| u64::try_from(secs).ok()));
    view
}

async fn show_mailbox(State(app): State<Arc<App>>, Bearer(holder): Bearer) -> Answer {
    let state = app
        .ask(&holder, |shard, holder, now| shard.state(holder, now))
        .await?;
    Ok(Json(mailbox_view(&app, &state)).into_response())
}

async fn extend(
    State(app): State<Arc<App>>,
    Bearer(holder): Bearer,
    request: Request<Body>,
) -> Answer {
    let mut fields = Fields::read(&app, request).await?;
    let ttl = fields
        .ttl()?
        .ok_or(Problem::Field("ttl", Cow::Borrowed("'ttl' is missing.")))?;
    fields.none_left("The only field here is 'ttl'.")?;
    let state = app
        .ask(&holder, move |shard, holder, now| {
            shard.extend(holder, ttl, now)
        })
        .await?;
    Ok(Json(mailbox_view(&app, &state)).into_response())
}

async fn erase(State(app): State<Arc<App>>, Bearer(holder): Bearer) -> Answer {
    app.ask(&holder, |shard, holder, now| shard.erase(holder, now))
        .await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

async fn list(
    State(app): State<Arc<App>>,
    Bearer(holder): Bearer,
    RawQuery(query): RawQuery,
) -> Answer {
    messages::list(&app, &holder, query.as_deref()).await
}

async fn show(
    State(app): State<Arc<App>>,
    Bearer(holder): Bearer,
    Path(id): Path<String>,
) -> Answer {
    messages::show(&app, &holder, &id).await
}

async fn raw(
    State(app): State<Arc<App>>,
    Bearer(holder): Bearer,
    Path(id): Path<String>,
) -> Answer {
    messages::raw(&app, &holder, &id).await
}

async fn text(
    State(app): State<Arc<App>>,
    Bearer(holder): Bearer,
    Path(id): Path<String>,
) -> Answer {
    reading::text(&app, &holder, &id).await
}

async fn html(
    State(app): State<Arc<App>>,
    Bearer(holder): Bearer,
    Path(id): Path<String>,
) -> Answer {
    reading::html(&app, &holder, &id).await
}

async fn header_fields(
    State(app): State<Arc<App>>,
    Bearer(holder): Bearer,
    Path(id): Path<String>,
) -> Answer {
    reading::headers(&app, &holder, &id).await
}

async fn attachment(
    State(app): State<Arc<App>>,
    Bearer(holder): Bearer,
    Path((id, index)): Path<(String, String)>,
) -> Answer {
    reading::attachment(&app, &holder, &id, &index).await
}

async fn delete(
    State(app): State<Arc<App>>,
    Bearer(holder): Bearer,
    Path(id): Path<String>,
) -> Answer {
    messages::delete(&app, &holder, &id).await
}

async fn open_events(
    State(app): State<Arc<App>>,
    Bearer(holder): Bearer,
    headers: HeaderMap,
) -> Answer {
    events::open(Arc::clone(&app), &holder, &headers).await
}

/// The fields of a JSON object, taken one by one, so that what is left is what we do not know.
struct Fields(Map<String, Value>);

impl Fields {
    /// Reads the body; none at all counts as an empty object.
    async fn read(app: &App, request: Request<Body>) -> Result<Self, Problem> {
        let (parts, body) = request.into_parts();
        let kind = parts.headers.get(header::CONTENT_TYPE);
        // Forms of other sites cannot send this type (nor anything else that is not a form's).
        if !kind.is_none_or(is_json) {
            return Err(Problem::MediaType);
        }
        let body = whole_body(app, body).await?;
        if body.trim_ascii().is_empty() {
            return Ok(Self(Map::new()));
        }
        if kind.is_none() {
            return Err(Problem::MediaType);
        }
        serde_json::from_slice(&body)
            .map(Self)
            .map_err(|_| Problem::BadBody("The body must be a JSON object."))
    }

    fn text(&mut self, name: &'static str) -> Result<Option<String>, Problem> {
        match self.0.remove(name) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(Problem::Field(name, Cow::Borrowed("This must be a text."))),
        }
    }

    /// A time to live: seconds as a number, or a duration as a text.
    fn ttl(&mut self) -> Result<Option<Duration>, Problem> {
        let ttl = match self.0.remove("ttl") {
            None | Some(Value::Null) => return Ok(None),
            Some(Value::Number(secs)) => secs.as_u64().map(Duration::from_secs),
            Some(Value::String(text)) => humantime::parse_duration(&text).ok(),
            Some(_) => None,
        };
        ttl.filter(|ttl| *ttl >= Duration::from_secs(1))
            .map(Some)
            .ok_or(Problem::Field("ttl", Cow::Borrowed(BAD_TTL)))
    }

    fn none_left(self, known: &'static str) -> Result<(), Problem> {
        match self.0.into_iter().next() {
            None => Ok(()),
            Some((name, _)) => Err(Problem::UnknownField(plain(name), known)),
        }
    }
}

/// A name that may be repeated in an answer: short and plain, so neither a token nor anything that
/// means something to whoever reads it.
fn plain(name: String) -> Option<String> {
    let letters = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    (name.len() <= 24 && name.bytes().all(letters)).then_some(name)
}

fn is_json(kind: &HeaderValue) -> bool {
    let essence = kind.as_bytes().split(|byte| *byte == b';').next();
    essence.is_some_and(|essence| {
        essence
            .trim_ascii()
            .eq_ignore_ascii_case(b"application/json")
    })
}
