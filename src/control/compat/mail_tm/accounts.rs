//! Accounts: mailboxes whose holders know a password.

use super::format::{Format, Kind, Linked, date};
use super::token::Bearer;
use super::{Answer, body};
use crate::clock::WallClock;
use crate::control::Settings;
use crate::control::app::App;
use crate::control::creating::{self, Order};
use crate::control::guard::Creator;
use crate::control::problem::Problem;
use crate::control::proof::Proof;
use crate::control::rate::Client;
use crate::store::MailboxState;
use axum::Extension;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, Request, StatusCode};
use axum::response::IntoResponse;
use serde::Serialize;
use serde_json::{Map, Value};
use std::borrow::Cow;
use std::sync::Arc;

const NO_ADDRESS: &str = "This value is not a valid email address.";

/// An account, as its holder sees it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Account {
    #[serde(flatten)]
    linked: Option<Linked>,
    id: String,
    address: String,
    quota: u64,
    used: u64,
    is_disabled: bool,
    is_deleted: bool,
    created_at: String,
    updated_at: String,
    /// When it goes with all its mail.
    retention_at: String,
}

impl Account {
    pub(super) fn new(
        state: &MailboxState,
        id: &str,
        format: Format,
        settings: &Settings,
        wall: &WallClock,
    ) -> Self {
        let plan = state.plan.as_deref();
        let plan = plan.and_then(|name| settings.plans.plan(name));
        let of_plan = plan.and_then(|plan| plan.mailbox_bytes_max);
        let created_at = date(wall, state.created_at);
        Self {
            linked: format.linked(Kind::Account, id),
            id: id.to_owned(),
            address: state.address.as_str().to_owned(),
            quota: of_plan.unwrap_or(settings.budget.mailbox_bytes_max).0,
            used: state.bytes,
            is_disabled: false,
            is_deleted: false,
            updated_at: created_at.clone(),
            created_at,
            retention_at: date(wall, state.expires_at.unwrap_or(state.created_at)),
        }
    }
}

/// A solved challenge, for servers that ask for work: `proof` is a field of ours in this API.
fn proof(fields: &mut Map<String, Value>) -> Option<Proof> {
    let Value::Object(mut proof) = fields.remove("proof")? else {
        return None;
    };
    Some(Proof {
        challenge: body::text(&mut proof, "challenge").ok()?,
        nonce: body::text(&mut proof, "nonce").ok()?,
    })
}

pub(super) async fn create(
    State(app): State<Arc<App>>,
    Extension(client): Extension<Client>,
    request: Request<Body>,
) -> Answer {
    let format = Format::wanted(request.headers());
    let settings = app.settings.load_full();
    let creator = Creator::with_key_or_without(client, request.headers(), &settings);
    let mut fields = body::object(&app, request).await?;
    let address = body::text(&mut fields, "address")?;
    let password = body::text(&mut fields, "password")?;
    let proof = proof(&mut fields);
    let (local_part, domain) = address
        .rsplit_once('@')
        .ok_or(Problem::Field("address", Cow::Borrowed(NO_ADDRESS)))?;
    let order = Order {
        local_part: Some(local_part),
        domain: Some(domain),
        password: Some(&password),
        proof: proof.as_ref(),
        ..Order::default()
    };
    let given = creating::create(&app, &settings, creator, &order).await?;
    let id = app.compat.mail_tm.ids.account(&given.hash);
    let wall = app.cores.wall();
    let view = Account::new(&given.state, &id, format, &settings, &wall);
    Ok(format.answer(StatusCode::CREATED, &view))
}

pub(super) async fn me(State(app): State<Arc<App>>, bearer: Bearer, headers: HeaderMap) -> Answer {
    let format = Format::wanted(&headers);
    let asked = app.ask(&bearer.holder, |shard, holder, now| {
        shard.state(holder, now)
    });
    let state = asked.await?;
    let id = app.compat.mail_tm.ids.account(&bearer.hash);
    let wall = app.cores.wall();
    let view = Account::new(&state, &id, format, &app.settings.load(), &wall);
    Ok(format.answer(StatusCode::OK, &view))
}

pub(super) async fn show(
    state: State<Arc<App>>,
    bearer: Bearer,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Answer {
    let is_theirs = state.compat.mail_tm.ids.account(&bearer.hash) == id;
    let shown = me(state, bearer, headers).await?;
    // Whether somebody else has it is nobody's business.
    if is_theirs {
        Ok(shown)
    } else {
        Err(Problem::NoSuchRoute)
    }
}

pub(super) async fn delete(
    State(app): State<Arc<App>>,
    bearer: Bearer,
    Path(id): Path<String>,
) -> Answer {
    let is_theirs = app.compat.mail_tm.ids.account(&bearer.hash) == id;
    let asked = app.ask(&bearer.holder, move |shard, holder, now| {
        shard.state(holder, now)?;
        if is_theirs {
            shard.erase(holder, now)?;
        }
        Some(())
    });
    asked.await?;
    if is_theirs {
        Ok(StatusCode::NO_CONTENT.into_response())
    } else {
        Err(Problem::NoSuchRoute)
    }
}
