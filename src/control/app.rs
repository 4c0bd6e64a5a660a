//! What all handlers share.

use super::clients::Clients;
use super::compat;
use super::guard::Guard;
use super::passwords::Turns;
use super::problem::Problem;
use super::proof::Challenger;
use super::rate::{Client, RateLimiter};
use super::recovery::RecoveryKey;
use super::view::TicketKey;
use super::webhooks::Webhooks;
use super::{Facts, Phase, Settings, Token, TokenKey};
use crate::edge::{Busy, CoreId, CoreShard, Cores};
use crate::metrics::process::{CreationRefused, ProcessMetrics};
use crate::policy::recipients;
use crate::store::{Holder, TokenHash};
use arc_swap::ArcSwap;
use axum::body::{Body, Bytes};
use axum::http::{HeaderValue, Method, Request, Response, StatusCode, header};
use axum::response::IntoResponse;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde_json::{Map, Value};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::{Semaphore, watch};

/// Which listener a request came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    /// Everyone's.
    Public,
    /// The operator's.
    Operator,
}

/// What all handlers share.
#[derive(Debug)]
pub(super) struct App {
    pub(super) cores: Cores,
    pub(super) settings: Arc<ArcSwap<Settings>>,
    pub(super) tokens: TokenKey,
    pub(super) tickets: TicketKey,
    pub(super) recovery: RecoveryKey,
    pub(super) challenger: Challenger,
    pub(super) metrics: Arc<ProcessMetrics>,
    pub(super) phase: watch::Receiver<Phase>,
    pub(super) webhooks: Webhooks,
    /// Of the public side.
    pub(super) clients: Clients,
    /// Turns to hash a password.
    pub(super) passwords: Turns,
    /// Secrets of the APIs of other services.
    pub(super) compat: compat::Secrets,
    /// Who hears of public mail.
    pub(super) monitors: compat::inbucket::Monitors,
    /// Turns to take a message apart.
    pub(super) readers: Arc<Semaphore>,
    /// Never held across an await, and the control plane has one thread: nobody waits for it.
    rate: Mutex<RateLimiter<Client>>,
    /// As above.
    guard: Mutex<Guard>,
}

impl App {
    pub(super) fn new(facts: Facts, phase: watch::Receiver<Phase>) -> Self {
        let clients_max = facts.settings.load().http.rate_clients_max;
        let at_once = facts.settings.load().reading.at_once.max(1) as usize;
        let webhooks = Webhooks::new(&facts.settings.load().webhooks);
        let began = facts.cores.now();
        let passwords_at_once = facts.settings.load().compatibility.passwords_at_once;
        Self {
            cores: facts.cores,
            settings: facts.settings,
            tokens: facts.tokens,
            tickets: TicketKey::draw(),
            recovery: RecoveryKey::new(),
            challenger: Challenger::new(),
            metrics: facts.metrics,
            phase,
            webhooks,
            clients: Clients::default(),
            passwords: Turns::new(passwords_at_once),
            compat: compat::Secrets::draw(began),
            monitors: compat::inbucket::Monitors::default(),
            readers: Arc::new(Semaphore::new(at_once)),
            rate: Mutex::new(RateLimiter::new(clients_max)),
            guard: Mutex::new(Guard::new(clients_max)),
        }
    }

    pub(super) fn phase(&self) -> Phase {
        *self.phase.borrow()
    }

    /// Calendar time.
    pub(super) fn unix_secs(&self) -> u64 {
        self.cores.wall().unix_secs(self.cores.now())
    }

    /// Waits until the process is going down.
    pub(super) async fn draining(&self) {
        // An error means that the server is gone, which is the same.
        let _ = self
            .phase
            .clone()
            .wait_for(|phase| *phase >= Phase::Draining)
            .await;
    }

    /// A new token for a mailbox of this core.
    pub(super) fn draw_token(&self, owner: CoreId) -> (Token, TokenHash) {
        Token::draw(&self.tokens, |hash| {
            self.cores.owner_of_token(hash) == owner
        })
    }

    /// The core that has the mailbox of `holder`.
    fn core_of(&self, holder: &Holder) -> CoreId {
        match holder {
            Holder::Token(token) => self.cores.owner_of_token(token),
            Holder::Operator(address) | Holder::Public(address) => {
                self.cores.owner_of_address(address)
            }
        }
    }

    /// Asks the core that has the mailbox of `holder`. `None`: there is no such mailbox.
    pub(super) async fn ask<T: Send + 'static>(
        &self,
        holder: &Holder,
        question: impl FnOnce(&mut CoreShard, &Holder, crate::clock::Instant) -> Option<T>
        + Send
        + 'static,
    ) -> Result<T, Problem> {
        let asked = holder.clone();
        self.cores
            .call(self.core_of(holder), move |shard, now| {
                question(shard, &asked, now)
            })
            .await
            .map_err(|Busy| Problem::Busy)?
            .ok_or(Problem::NoSuchMailbox)
    }

    /// Postmaster's mailbox, which is the operator's to read.
    pub(super) fn postmaster(&self) -> Result<Holder, Problem> {
        recipients::postmaster_address(&self.settings.load().recipients)
            .map(Holder::Operator)
            .ok_or(Problem::NoSuchMailbox)
    }

    pub(super) fn rate<T>(&self, ask: impl FnOnce(&mut RateLimiter<Client>) -> T) -> T {
        ask(&mut self.rate.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn guard<T>(&self, ask: impl FnOnce(&mut Guard) -> T) -> T {
        ask(&mut self.guard.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Counts that a creation was refused.
    pub(super) fn refuse_creation(&self, why: CreationRefused, problem: Problem) -> Problem {
        self.metrics.http_creations_refused.of(why).add_shared(1);
        problem
    }
}

/// The whole body of a request, if it is not too large.
pub(super) async fn whole_body(app: &App, body: Body) -> Result<Bytes, Problem> {
    let bytes_max = app.settings.load().http.body_bytes_max.as_usize();
    match Limited::new(body, bytes_max).collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(why) if why.is::<LengthLimitError>() => Err(Problem::BodyTooLarge),
        Err(_) => Err(Problem::BadBody("The body of the request is malformed.")),
    }
}

/// The JSON object that is the body of a request; none at all counts as an empty object. It must be of one of these types,
/// which forms of other sites cannot send (nor anything else that is not a form's).
pub(super) async fn json_object(
    app: &App,
    request: Request<Body>,
    types: &[&str],
    malformed: &'static str,
) -> Result<Map<String, Value>, Problem> {
    let (parts, body) = request.into_parts();
    let kind = parts.headers.get(header::CONTENT_TYPE);
    if !kind.is_none_or(|kind| is_one_of(kind, types)) {
        return Err(Problem::MediaType);
    }
    let body = whole_body(app, body).await?;
    if body.trim_ascii().is_empty() {
        return Ok(Map::new());
    }
    if kind.is_none() {
        return Err(Problem::MediaType);
    }
    serde_json::from_slice(&body).map_err(|_| Problem::BadBody(malformed))
}

/// Whether a content type is one of these, whatever its parameters.
fn is_one_of(kind: &HeaderValue, types: &[&str]) -> bool {
    let essence = kind.as_bytes().split(|byte| *byte == b';').next();
    let essence = essence.unwrap_or_default().trim_ascii();
    types
        .iter()
        .any(|known| essence.eq_ignore_ascii_case(known.as_bytes()))
}

/// The answer to a path that nothing has.
pub(super) async fn no_such_route() -> Problem {
    Problem::NoSuchRoute
}

/// The answer to a method that a path does not know; axum adds the Allow field.
pub(super) async fn no_such_method(method: Method) -> Response<Body> {
    if method == Method::OPTIONS {
        StatusCode::NO_CONTENT.into_response()
    } else {
        Problem::Method.into_response()
    }
}
