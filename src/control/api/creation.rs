//! Mailboxes come to their holders: created, behind a guard, or recovered with a ticket.

use super::Answer;
use super::fields::Fields;
use super::mailboxes::view;
use crate::control::app::App;
use crate::control::creating::{self, Given, Order};
use crate::control::guard::Creator;
use crate::control::problem::Problem;
use crate::control::proof::{self, Proof};
use crate::control::rate::Client;
use crate::control::views::mailboxes::CreatedMailbox;
use crate::edge::Busy;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderValue, Request, StatusCode, header};
use axum::response::IntoResponse;
use axum::{Extension, Json};
use serde::Serialize;
use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;
use utoipa::ToSchema;

/// What a new mailbox shall be. All of it is optional.
#[derive(ToSchema)]
pub(super) struct NewMailboxFields {
    /// What stands before the `@`, in any spelling. Without it one is made up: nine syllables that can be read aloud,
    /// with 54 random bits.
    #[schema(min_length = 1, max_length = 64, example = "demo")]
    local_part: Option<String>,
    /// One of the server's domains; the first of them unless you say.
    #[schema(min_length = 1, max_length = 255, example = "mayfly.test")]
    domain: Option<String>,
    /// How long it shall live. What is more than the server allows is lowered to that.
    #[schema(schema_with = super::fields::ttl_schema)]
    ttl: Option<Duration>,
    /// Whether the address shall prove by itself that it was given away here, so that guesses at it are refused without a
    /// look-up. Such an address is made up (no `local_part`) and has an end of its own, beyond which its mailbox cannot be
    /// extended: the longest time that a mailbox may live, from now on.
    #[schema(example = false)]
    self_authenticating: Option<bool>,
    /// An age recipient (`age1...`, X25519). All mail is encrypted to it before it is stored: lists show neither sender nor
    /// subject then, and a message's source is an age file. Nobody but who has the identity can read it.
    #[schema(
        pattern = "^(age1[02-9ac-hj-np-z]{58}|AGE1[02-9AC-HJ-NP-Z]{58})$",
        example = "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p"
    )]
    encryption_key: Option<String>,
    /// How many messages it shall take in its life: so many and then no more. Soon after the last one it goes.
    #[schema(minimum = 1, example = 1)]
    messages_max: Option<u32>,
    /// Work, where the server asks for it.
    #[schema(value_type = Option<ProofFields>)]
    proof: Option<Proof>,
}

/// A solved challenge.
#[derive(ToSchema)]
#[allow(
    dead_code,
    reason = "only its schema is needed: the fields are taken one by one"
)]
pub(super) struct ProofFields {
    /// A challenge of this server, as it was given.
    #[schema(
        pattern = "^mfc_[a-z2-7]+$",
        max_length = 128,
        example = "mfc_k3v5x2m7q4c6r2s3"
    )]
    challenge: String,
    /// Text with which SHA-256 of `<challenge>:<nonce>` begins with as many zero bits as the challenge asks for.
    #[schema(max_length = 64, example = "48213")]
    nonce: String,
}

impl NewMailboxFields {
    fn take(mut fields: Fields) -> Result<Self, Problem> {
        let proof = fields.texts("proof", ["challenge", "nonce"])?;
        let taken = Self {
            local_part: fields.text("local_part")?,
            domain: fields.text("domain")?,
            ttl: fields.ttl()?,
            self_authenticating: fields.flag("self_authenticating")?,
            encryption_key: fields.text("encryption_key")?,
            messages_max: fields.number("messages_max")?,
            proof: proof.map(|[challenge, nonce]| Proof { challenge, nonce }),
        };
        fields.none_left()?;
        Ok(taken)
    }

    fn order(&self) -> Order<'_> {
        Order {
            local_part: self.local_part.as_deref(),
            domain: self.domain.as_deref(),
            ttl: self.ttl,
            self_authenticating: self.self_authenticating,
            encryption_key: self.encryption_key.as_deref(),
            messages_max: self.messages_max,
            password: None,
            proof: self.proof.as_ref(),
        }
    }
}

/// A recovery ticket.
#[derive(ToSchema)]
pub(super) struct RecoveryFields {
    /// The ticket from the answer that gave the token.
    #[schema(
        required,
        pattern = "^mfr_[a-z2-7]+$",
        max_length = 128,
        examples("mfr_k3v5x2m7q4c6r2s3t5u3w5y7z2a2b4d6")
    )]
    recovery: String,
}

impl RecoveryFields {
    fn take(mut fields: Fields) -> Result<Self, Problem> {
        let recovery = fields.text("recovery")?.ok_or(Problem::Field(
            "recovery",
            Cow::Borrowed("'recovery' is missing."),
        ))?;
        fields.none_left()?;
        Ok(Self { recovery })
    }
}

/// Work that is asked for.
#[derive(Serialize, ToSchema)]
pub(super) struct Challenge {
    /// To be sent back as it is.
    #[schema(pattern = "^mfc_[a-z2-7]+$", example = "mfc_k3v5x2m7q4c6r2s3")]
    challenge: String,
    /// With how many zero bits the hash must begin. 0: the server asks for no work.
    #[schema(maximum = 32, example = 18)]
    bits: u32,
    /// The hash.
    #[schema(pattern = "^sha-256$", example = "sha-256")]
    algorithm: &'static str,
    /// For how many seconds it may be used.
    #[schema(example = 300)]
    expires_in: u64,
}

/// Ask for a challenge
///
/// Where a mailbox is created only after some work, this is the work: find a text, the nonce, with which SHA-256 of
/// `<challenge>:<nonce>` begins with `bits` zero bits, by counting up for instance. Send both as `proof` when you create
/// the mailbox. A challenge counts once.
#[utoipa::path(
    post,
    path = "/api/v1/challenges",
    operation_id = "getChallenge",
    tag = "mailboxes",
    responses((status = 200, description = "The work.", body = Challenge))
)]
pub(super) async fn challenge(State(app): State<Arc<App>>) -> Answer {
    let bits = app.settings.load().http.proof_of_work_bits;
    let challenge = Challenge {
        challenge: app.challenger.challenge(bits, app.cores.now()),
        bits,
        algorithm: "sha-256",
        expires_in: proof::LIFETIME.as_secs(),
    };
    Ok(Json(challenge).into_response())
}

/// Create a mailbox
///
/// The name is made up or chosen. The token in the answer opens the mailbox; it and the recovery ticket are shown this
/// once. Where the server accepts mail for any address, a new mailbox begins with what the address already holds. Whoever
/// has a key of the operator's may show it and gets what its plan grants.
#[utoipa::path(
    post,
    path = "/api/v1/mailboxes",
    operation_id = "createMailbox",
    tag = "mailboxes",
    security((), ("key" = [])),
    request_body = Option<NewMailboxFields>,
    responses(
        (status = 201, description = "It is there.", body = CreatedMailbox,
            headers(("Location" = String, description = "Where the mailbox is: `/api/v1/mailbox`, for its token."))),
        (status = 401, description = "wrong-key"),
        (status = 403, description = "proof-required"),
        (status = 409, description = "taken"),
        (status = 429, description = "too-many-creations, too-many-mailboxes"),
        (status = 503, description = "busy, no-memory"),
    )
)]
pub(super) async fn create(
    State(app): State<Arc<App>>,
    Extension(client): Extension<Client>,
    request: Request<Body>,
) -> Answer {
    let settings = app.settings.load_full();
    let headers = request.headers().clone();
    let fields = NewMailboxFields::take(Fields::read(&app, request).await?)?;
    let creator = Creator::of(&app, client, &headers, &settings)?;
    let given = creating::create(&app, &settings, creator, &fields.order()).await?;
    let location = HeaderValue::from_static("/api/v1/mailbox");
    let answer = (
        StatusCode::CREATED,
        [(header::LOCATION, location)],
        Json(created(&app, given)),
    );
    Ok(answer.into_response())
}

/// Get a new token for a mailbox whose token was lost
///
/// With the recovery ticket, as long as the mailbox lives. The old token is dead from then on, its event streams end, and so
/// is the ticket: the answer has new ones. Wrong, used and expired tickets get the same answer.
#[utoipa::path(
    post,
    path = "/api/v1/mailbox/recover",
    operation_id = "recoverMailbox",
    tag = "mailboxes",
    request_body = RecoveryFields,
    responses(
        (status = 200, description = "The mailbox, with its new token.", body = CreatedMailbox),
        (status = 404, description = "no-such-mailbox"),
        (status = 503, description = "busy"),
    )
)]
pub(super) async fn recover(State(app): State<Arc<App>>, request: Request<Body>) -> Answer {
    let fields = RecoveryFields::take(Fields::read(&app, request).await?)?;
    let old = app.recovery.names(&fields.recovery, &app.tokens);
    let owner = app.cores.owner_of_token(&old);
    let (token, hash) = app.draw_token(owner);
    let state = app
        .cores
        .call(owner, move |shard, now| shard.recover(&old, hash, now))
        .await
        .map_err(|Busy| Problem::Busy)?
        .ok_or(Problem::NoSuchMailbox)?;
    let given = Given { state, token, hash };
    Ok(Json(created(&app, given)).into_response())
}

/// The mailbox with the secrets that are shown this once.
fn created(app: &App, given: Given) -> CreatedMailbox {
    let ticket = app.recovery.ticket(&given.hash);
    view(app, &given.state).created(given.token, ticket)
}
