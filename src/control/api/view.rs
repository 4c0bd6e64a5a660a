//! Views of a message in the frame of a page.

use super::fields::Fields;
use super::{Answer, Bearer};
use crate::control::app::App;
use crate::control::problem::Problem;
use crate::control::{messages, view as tickets};
use crate::reading::html::Remote;
use axum::Json;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::Request;
use axum::response::IntoResponse;
use serde::Serialize;
use std::sync::Arc;
use utoipa::ToSchema;

/// How a message shall be shown.
#[derive(ToSchema)]
pub(super) struct ViewFields {
    /// Whether images from elsewhere are loaded, over HTTPS. Their senders then learn who reads, when and where.
    #[schema(example = false)]
    remote: Option<bool>,
}

impl ViewFields {
    fn take(mut fields: Fields) -> Result<Self, Problem> {
        let remote = fields.flag("remote")?;
        fields.none_left()?;
        Ok(Self { remote })
    }
}

/// Where a message can be seen for a while.
#[derive(Serialize, ToSchema)]
pub(super) struct View {
    /// The path of a document for a sandboxed frame. It holds no token and opens this one view.
    #[schema(example = "/view/GiC9...")]
    url: String,
    /// For so many seconds.
    #[schema(example = 60)]
    expires_in: u64,
}

/// Get an address for the HTML of a message
///
/// For the sandboxed frame of a page, which cannot send a token. Whoever has the address sees the HTML, until its
/// time is over; then, or when the message is gone, there is nothing at it.
#[utoipa::path(
    post,
    path = "/api/v1/messages/{id}/view",
    operation_id = "viewMessage",
    tag = "messages",
    security(("token" = [])),
    params(("id" = String, Path, description = "The id of the message.", pattern = "^[0-9]{1,20}$", example = "1")),
    request_body = Option<ViewFields>,
    responses(
        (status = 200, description = "Where it can be seen.", body = View),
        (status = 404, description = "no-such-message"),
        (status = 409, description = "encrypted"),
    )
)]
pub(super) async fn view(
    State(app): State<Arc<App>>,
    Bearer(holder): Bearer,
    Path(id): Path<String>,
    request: Request<Body>,
) -> Answer {
    let wanted = ViewFields::take(Fields::read(&app, request).await?)?;
    let remote = match wanted.remote {
        Some(true) => Remote::Shown,
        Some(false) | None => Remote::Blocked,
    };
    let entry = messages::message_of(&app, &holder, &id).await?;
    if entry.message.encrypted {
        return Err(Problem::Encrypted);
    }
    let url = tickets::address(&app, &holder, entry.sequence, remote)?;
    let expires_in = tickets::TICKET_TIME.as_secs();
    Ok(Json(View { url, expires_in }).into_response())
}

/// What an address from [`view`] leads to.
pub(super) async fn frame(State(app): State<Arc<App>>, Path(ticket): Path<String>) -> Answer {
    tickets::show(&app, &ticket).await
}
