//! The control plane: everything that speaks HTTP.
//!
//! Two sides, on listeners of their own: the **public** one has the API under `/api/v1`, the
//! **operator's** has health, metrics and postmaster's mail, and neither answers for the other.
//! All of it may be slow without the mail noticing: the cores are reached only through their
//! bounded inboxes, and whoever reads slowly is dropped.
//!
//! There is no TLS here (a reverse proxy's job), no CORS, no redirect, and no token in any log line or error; no cookie
//! and no token in a URL, but where an API of another service asks for it (`compat`).

mod answer;
mod api;
mod app;
mod clients;
mod compat;
mod creating;
mod events;
mod explorer;
mod forwarded;
mod framing;
mod guard;
mod http;
pub mod keys;
mod mcp;
mod messages;
mod metrics_page;
mod names;
mod operator;
mod outgoing;
mod page;
mod passwords;
mod problem;
mod proof;
pub mod rate;
mod reading;
mod recovery;
pub mod status;
mod token;
mod view;
mod views;
mod webhooks;
mod wire;

pub(crate) use proof::zero_bits;
pub use token::{Token, TokenKey};
pub use webhooks::Secrets;

use crate::config::sections::{Compatibility, Http, Mcp};
use crate::edge::Cores;
use crate::metrics::process::ProcessMetrics;
use crate::policy::plans::Plans;
use crate::policy::recipients::Rules;
use crate::policy::self_authenticating::Keys;
use crate::policy::webhooks::Rules as WebhookRules;
use crate::reading::Limits;
use crate::store::Budget;
use app::{App, Side};
use arc_swap::ArcSwap;
use axum::http::{HeaderMap, header};
use keys::ApiKeys;
use std::io;
use std::net::TcpListener;
use std::sync::Arc;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

/// The settings that the control plane lives by. They may be replaced while it runs.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Limits of the HTTP interface.
    pub http: Http,
    /// Which addresses may be created.
    pub recipients: Rules,
    /// By which addresses prove themselves.
    pub address_keys: Keys,
    /// How long mailboxes live.
    pub budget: Budget,
    /// How messages are taken apart.
    pub reading: Limits,
    /// What those may create who show a key.
    pub plans: Plans,
    /// Which APIs of other services there are.
    pub compatibility: Compatibility,
    /// The keys, each with its plan.
    pub keys: ApiKeys,
    /// Who may be called when mail comes, and how often.
    pub webhooks: WebhookRules,
    /// By which calls to the operator's own webhooks are signed.
    pub webhook_secrets: Secrets,
    /// The endpoint for agents.
    pub mcp: Mcp,
}

/// What the control plane needs from the rest of the process.
#[derive(Clone, Debug)]
pub struct Facts {
    /// The cores.
    pub cores: Cores,
    /// The settings. Store new ones here and they hold from the next request or connection on.
    pub settings: Arc<ArcSwap<Settings>>,
    /// The key under which tokens are hashed.
    pub tokens: TokenKey,
    /// What the process counts.
    pub metrics: Arc<ProcessMetrics>,
}

/// Bound listeners, not yet accepting.
#[derive(Debug, Default)]
pub struct Listeners {
    /// For everyone.
    pub public: Vec<TcpListener>,
    /// For the operator.
    pub operator: Vec<TcpListener>,
}

/// Where in its life the process is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Not everything is up yet: `/readyz` says so.
    Starting,
    /// In service.
    Ready,
    /// Going down: the public listeners close, streams and waiting calls end, requests under way
    /// are finished; the operator's listeners go on.
    Draining,
    /// Over: everything closes, and [`serve`] returns.
    Stopped,
}

/// Serves both sides until the phase is [`Phase::Stopped`] and the last connection has ended (or a few seconds
/// have passed). Must run inside a tokio runtime; one thread is enough.
///
/// # Errors
/// When a listener cannot be given to the runtime. Nothing that happens later ends it.
pub async fn serve(
    facts: Facts,
    listeners: Listeners,
    phase: watch::Receiver<Phase>,
) -> io::Result<()> {
    let app = Arc::new(App::new(facts, phase));
    let mut acceptors = JoinSet::new();
    let reports_max = app.settings.load().webhooks.reports_max.max(1) as usize;
    let (reports, reported) = mpsc::channel(reports_max);
    app.cores.report_to(reports);
    acceptors.spawn(webhooks::serve(Arc::clone(&app), reported));
    let sides = [
        (Side::Public, listeners.public),
        (Side::Operator, listeners.operator),
    ];
    for (side, listeners) in sides {
        for listener in listeners {
            listener.set_nonblocking(true)?;
            let listener = tokio::net::TcpListener::from_std(listener)?;
            acceptors.spawn(http::accept(Arc::clone(&app), side, listener));
        }
    }
    while let Some(ended) = acceptors.join_next().await {
        if ended.is_err() {
            tracing::error!("an HTTP listener's task, or that of webhooks, ended by a panic");
        }
    }
    Ok(())
}

/// What stands in a request's one `Authorization: Bearer` field.
fn bearer(headers: &HeaderMap) -> Option<&[u8]> {
    let mut presented = headers.get_all(header::AUTHORIZATION).iter();
    let (Some(presented), None) = (presented.next(), presented.next()) else {
        return None;
    };
    let (scheme, secret) = presented.as_bytes().split_at_checked(7)?;
    let is_bearer = scheme.eq_ignore_ascii_case(b"bearer ");
    is_bearer.then(|| secret.trim_ascii())
}

/// Random bytes for secrets.
fn random<const LENGTH: usize>() -> [u8; LENGTH] {
    let mut bytes = [0; LENGTH];
    aws_lc_rs::rand::fill(&mut bytes).unwrap_or_else(|_| {
        unreachable!("the generator is seeded or the process would have aborted")
    });
    bytes
}
