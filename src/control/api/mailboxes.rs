//! Mailboxes: shown, extended, erased.

use super::fields::Fields;
use super::{Answer, Bearer};
use crate::control::app::App;
use crate::control::problem::Problem;
use crate::control::views::mailboxes::Mailbox;
use crate::policy::self_authenticating;
use crate::store::MailboxState;
use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{Request, StatusCode};
use axum::response::IntoResponse;
use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;
use utoipa::ToSchema;

/// How much longer a mailbox shall live.
#[derive(ToSchema)]
pub(super) struct ExtensionFields {
    /// From now on. What is more than the server allows is lowered to that; what is less than is left brings the end
    /// closer.
    #[schema(required, schema_with = super::fields::required_ttl_schema)]
    ttl: Duration,
}

impl ExtensionFields {
    fn take(mut fields: Fields) -> Result<Self, Problem> {
        let ttl = fields
            .ttl()?
            .ok_or(Problem::Field("ttl", Cow::Borrowed("'ttl' is missing.")))?;
        fields.none_left()?;
        Ok(Self { ttl })
    }
}

/// A mailbox with the seconds it has left, which is what was granted.
pub(super) fn view(app: &App, state: &MailboxState) -> Mailbox {
    Mailbox::new(state, &app.cores.wall(), app.cores.now())
}

/// See a mailbox
#[utoipa::path(
    get,
    path = "/api/v1/mailbox",
    operation_id = "showMailbox",
    tag = "mailboxes",
    security(("token" = [])),
    responses((status = 200, description = "The mailbox.", body = Mailbox))
)]
pub(super) async fn show(State(app): State<Arc<App>>, Bearer(holder): Bearer) -> Answer {
    let state = app
        .ask(&holder, |shard, holder, now| shard.state(holder, now))
        .await?;
    Ok(Json(view(&app, &state)).into_response())
}

/// Extend a mailbox, or bring its end closer
///
/// `expires_in` in the answer is what was granted.
#[utoipa::path(
    patch,
    path = "/api/v1/mailbox",
    operation_id = "extendMailbox",
    tag = "mailboxes",
    security(("token" = [])),
    request_body = ExtensionFields,
    responses((status = 200, description = "The mailbox as it is now.", body = Mailbox))
)]
pub(super) async fn extend(
    State(app): State<Arc<App>>,
    Bearer(holder): Bearer,
    request: Request<Body>,
) -> Answer {
    let wanted = ExtensionFields::take(Fields::read(&app, request).await?)?;
    let (settings, unix_secs) = (app.settings.load_full(), app.unix_secs());
    let state = app
        .ask(&holder, move |shard, holder, now| {
            // An address that has an end of its own says so itself: nothing needs to be kept.
            let address = shard.state(holder, now)?.address;
            let (rules, keys) = (&settings.recipients, &settings.address_keys);
            let left = self_authenticating::seconds_left(&address, rules, keys, unix_secs);
            let left = left.map_or(Duration::MAX, Duration::from_secs);
            shard.extend(holder, wanted.ttl.min(left), now)
        })
        .await?;
    Ok(Json(view(&app, &state)).into_response())
}

/// Erase a mailbox
///
/// With all its mail, at once. The token is dead from then on.
#[utoipa::path(
    delete,
    path = "/api/v1/mailbox",
    operation_id = "eraseMailbox",
    tag = "mailboxes",
    security(("token" = [])),
    responses((status = 204, description = "It is gone."))
)]
pub(super) async fn erase(State(app): State<Arc<App>>, Bearer(holder): Bearer) -> Answer {
    app.ask(&holder, |shard, holder, now| shard.erase(holder, now))
        .await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}
