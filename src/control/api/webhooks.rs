//! The webhook of a mailbox: named, shown, tested, taken away.

use super::fields::Fields;
use super::{Answer, Bearer};
use crate::control::app::App;
use crate::control::problem::Problem;
use crate::control::webhooks::{self, Tested};
use crate::metrics::process::WebhookResult;
use crate::policy::webhooks::Target;
use crate::store;
use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{Request, StatusCode};
use axum::response::IntoResponse;
use serde::Serialize;
use std::borrow::Cow;
use std::sync::Arc;
use utoipa::ToSchema;

/// What is to be called.
#[derive(ToSchema)]
pub(super) struct WebhookFields {
    /// The URL. It begins with `https://`, and leads to a public address.
    #[schema(
        required,
        min_length = 1,
        max_length = 2_048,
        examples("https://hooks.test/mail")
    )]
    url: String,
}

impl WebhookFields {
    fn take(mut fields: Fields) -> Result<Self, Problem> {
        let url = fields
            .text("url")?
            .ok_or(Problem::Field("url", Cow::Borrowed("'url' is missing.")))?;
        fields.none_left()?;
        Ok(Self { url })
    }
}

/// A webhook, as the holder of its mailbox sees it.
#[derive(Serialize, ToSchema)]
pub(super) struct Webhook {
    /// What is called, in its normal form.
    #[schema(example = "https://hooks.test/mail")]
    url: String,
    /// When it was named.
    #[schema(format = DateTime, example = "2026-11-22T10:00:00Z")]
    created_at: String,
}

/// A webhook that has just been named, with the secret by which its calls are signed.
#[derive(Serialize, ToSchema)]
pub(super) struct NewWebhook {
    #[serde(flatten)]
    webhook: Webhook,
    /// By which calls are signed. It is shown this once.
    #[schema(
        pattern = "^whsec_[A-Za-z0-9+/]{32}$",
        example = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    )]
    secret: String,
}

/// What came of a test.
#[derive(Serialize, ToSchema)]
pub(super) struct WebhookTest {
    /// Whether the call was answered with a status from 200 to 299.
    #[schema(example = true)]
    delivered: bool,
    /// How it ended. `status`: with any other status; `gone`: with 410, which ends a webhook unless it is a test; `forbidden`: the name
    /// leads to an address that is not called from here, or to more than 64; `name`: it leads nowhere.
    #[schema(example = "delivered")]
    result: TestResult,
    /// How many milliseconds it took.
    #[schema(example = 48)]
    duration_ms: u64,
}

/// How a call ended.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum TestResult {
    Connect,
    Delivered,
    Forbidden,
    Gone,
    Name,
    Protocol,
    Status,
    Timeout,
    Tls,
}

impl TryFrom<Tested> for WebhookTest {
    type Error = Problem;

    fn try_from(tested: Tested) -> Result<Self, Problem> {
        use WebhookResult as R;
        let result = match tested.result {
            R::Busy => return Err(Problem::Busy),
            R::Connect => TestResult::Connect,
            R::Delivered => TestResult::Delivered,
            R::Forbidden => TestResult::Forbidden,
            R::Gone => TestResult::Gone,
            R::Name => TestResult::Name,
            R::Protocol => TestResult::Protocol,
            R::Status => TestResult::Status,
            R::Timeout => TestResult::Timeout,
            R::Tls => TestResult::Tls,
        };
        Ok(Self {
            delivered: tested.result == R::Delivered,
            result,
            duration_ms: u64::try_from(tested.took.as_millis()).unwrap_or(u64::MAX),
        })
    }
}

fn view(app: &App, webhook: &store::Webhook) -> Webhook {
    Webhook {
        url: webhook.url.to_string(),
        created_at: app.cores.wall().rfc3339(webhook.created_at),
    }
}

/// Nothing is called unless the operator says so.
fn turned_on(app: &App) -> Result<(), Problem> {
    match app.settings.load().webhooks.enabled {
        true => Ok(()),
        false => Err(Problem::WebhooksOff),
    }
}

/// Have a URL called when mail comes
///
/// From now on, and until the mailbox ends or gets a new token; in place of a URL that was named before. The secret in the answer
/// signs the calls, as the Standard Webhooks specification has it; it is shown this once. A call that is not answered with a
/// status from 200 to 299 is tried again, as long as its message is there. 410 ends the webhook.
#[utoipa::path(
    put,
    path = "/api/v1/mailbox/webhook",
    operation_id = "setWebhook",
    tag = "webhooks",
    security(("token" = [])),
    request_body = WebhookFields,
    responses(
        (status = 200, description = "It is called from now on.", body = NewWebhook),
        (status = 403, description = "webhooks-off"),
        (status = 503, description = "no-memory"),
    )
)]
pub(super) async fn set(
    State(app): State<Arc<App>>,
    Bearer(holder): Bearer,
    request: Request<Body>,
) -> Answer {
    turned_on(&app)?;
    let wanted = WebhookFields::take(Fields::read(&app, request).await?)?;
    let target = Target::parse(&wanted.url, &app.settings.load().webhooks)
        .map_err(|why| Problem::Field("url", why.to_string().into()))?;
    let webhook = store::Webhook::new(
        app.webhooks.callee(&target),
        target.as_str(),
        webhooks::draw_secret(),
        app.cores.now(),
        app.cores.ledger(),
    );
    let webhook = Arc::new(webhook.ok_or(Problem::NoMemory)?);
    let named = Arc::clone(&webhook);
    let set = app.ask(&holder, move |shard, holder, now| {
        shard.set_webhook(holder, named, now)
    });
    set.await?.map_err(|_| Problem::NoMemory)?;
    let answer = NewWebhook {
        webhook: view(&app, &webhook),
        secret: webhooks::reveal_secret(&webhook.secret),
    };
    Ok(Json(answer).into_response())
}

/// The webhook of a mailbox, with its address.
async fn named(
    app: &App,
    holder: &store::Holder,
) -> Result<(Arc<store::Webhook>, String), Problem> {
    turned_on(app)?;
    let found = app.ask(holder, |shard, holder, now| {
        let webhook = shard.webhook(holder, now)?;
        Some((webhook, shard.state(holder, now)?.address))
    });
    let (webhook, address) = found.await?;
    let webhook = webhook.ok_or(Problem::NoSuchWebhook)?;
    Ok((webhook, address.as_str().to_owned()))
}

/// See which URL is called
#[utoipa::path(
    get,
    path = "/api/v1/mailbox/webhook",
    operation_id = "showWebhook",
    tag = "webhooks",
    security(("token" = [])),
    responses(
        (status = 200, description = "The URL.", body = Webhook),
        (status = 403, description = "webhooks-off"),
        (status = 404, description = "no-such-webhook"),
    )
)]
pub(super) async fn show(State(app): State<Arc<App>>, Bearer(holder): Bearer) -> Answer {
    let (webhook, _) = named(&app, &holder).await?;
    Ok(Json(view(&app, &webhook)).into_response())
}

/// Have nothing called any more
///
/// What waits to be delivered is dropped.
#[utoipa::path(
    delete,
    path = "/api/v1/mailbox/webhook",
    operation_id = "removeWebhook",
    tag = "webhooks",
    security(("token" = [])),
    responses(
        (status = 204, description = "Nothing is called."),
        (status = 404, description = "no-such-webhook"),
    )
)]
pub(super) async fn remove(State(app): State<Arc<App>>, Bearer(holder): Bearer) -> Answer {
    let was_there = app.ask(&holder, |shard, holder, now| {
        shard.remove_webhook(holder, now)
    });
    match was_there.await? {
        true => Ok(StatusCode::NO_CONTENT.into_response()),
        false => Err(Problem::NoSuchWebhook),
    }
}

/// Call the URL to see whether that works
///
/// Once, at once, with a call of the type `webhook.test`. The answer comes when the call has ended.
#[utoipa::path(
    post,
    path = "/api/v1/mailbox/webhook/test",
    operation_id = "testWebhook",
    tag = "webhooks",
    security(("token" = [])),
    responses(
        (status = 200, description = "How the call ended.", body = WebhookTest),
        (status = 403, description = "webhooks-off"),
        (status = 404, description = "no-such-webhook"),
    )
)]
pub(super) async fn test(State(app): State<Arc<App>>, Bearer(holder): Bearer) -> Answer {
    let (webhook, address) = named(&app, &holder).await?;
    let tested = webhooks::test(&app, &address, &webhook).await?;
    Ok(Json(WebhookTest::try_from(tested)?).into_response())
}
