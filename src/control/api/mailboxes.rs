//! Mailboxes: created, shown, extended, erased.

use super::fields::Fields;
use super::{Answer, Bearer};
use crate::control::app::App;
use crate::control::problem::Problem;
use crate::control::views::mailboxes::{CreatedMailbox, Mailbox};
use crate::control::{Settings, Token, names, random};
use crate::edge::Busy;
use crate::mail::Address;
use crate::policy::recipients::{self, CreateRefusal};
use crate::policy::self_authenticating::{self, SelfAuthenticating};
use crate::store::{CreateError, MailboxState, NewMailbox};
use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderValue, Request, StatusCode, header};
use axum::response::IntoResponse;
use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;
use utoipa::ToSchema;

/// How many addresses are drawn before we admit that none is free.
const DRAWS_MAX: usize = 8;

const NOT_OURS: &str = "This is not a domain of ours.";
const FORGED: &str =
    "This is kept for addresses that prove themselves: leave it out, and one is made up.";
const NO_PROOF: &str = "This server has no addresses that prove themselves.";
const ONLY_PROOF: &str = "All addresses of this server prove themselves.";
const PROOF_IS_DRAWN: &str = "An address that proves itself is made up: leave 'local_part' out.";
const TAGGED: &str = "This has a tag, and mail to it reaches the address without it: create that one. \
     Nothing needs to be created for a tag.";

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
}

impl NewMailboxFields {
    fn take(mut fields: Fields) -> Result<Self, Problem> {
        let taken = Self {
            local_part: fields.text("local_part")?,
            domain: fields.text("domain")?,
            ttl: fields.ttl()?,
            self_authenticating: fields.flag("self_authenticating")?,
        };
        fields.none_left()?;
        Ok(taken)
    }
}

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

/// Create a mailbox
///
/// The name is made up or chosen. The token in the answer opens the mailbox; it is shown this once. Where the server
/// accepts mail for any address, a new mailbox begins with what the address already holds.
#[utoipa::path(
    post,
    path = "/api/v1/mailboxes",
    operation_id = "createMailbox",
    tag = "mailboxes",
    request_body = Option<NewMailboxFields>,
    responses(
        (status = 201, description = "It is there.", body = CreatedMailbox,
            headers(("Location" = String, description = "Where the mailbox is: `/api/v1/mailbox`, for its token."))),
        (status = 409, description = "taken"),
        (status = 503, description = "no-memory"),
    )
)]
pub(super) async fn create(State(app): State<Arc<App>>, request: Request<Body>) -> Answer {
    let settings = app.settings.load_full();
    let wanted = NewMailboxFields::take(Fields::read(&app, request).await?)?;
    let ttl = wanted.ttl.unwrap_or(settings.budget.mailbox_ttl_default.0);
    let domain = wanted
        .domain
        .or_else(|| settings.recipients.domains.first().cloned())
        .ok_or(Problem::Field(
            "domain",
            Cow::Borrowed("No domain is configured."),
        ))?;
    let proof = proof(wanted.self_authenticating, &settings)?;
    let (state, token) = match wanted.local_part {
        Some(_) if wanted.self_authenticating == Some(true) => {
            return Err(Problem::Field(
                "self_authenticating",
                Cow::Borrowed(PROOF_IS_DRAWN),
            ));
        }
        Some(local_part) => {
            let address = chosen_address(&local_part, &domain, &settings)?;
            create_at(&app, &settings, address, ttl).await?
        }
        None => create_somewhere(&app, &settings, &domain, ttl, proof).await?,
    };
    let view = view(&app, &state).created(token);
    let location = HeaderValue::from_static("/api/v1/mailbox");
    let answer = (
        StatusCode::CREATED,
        [(header::LOCATION, location)],
        Json(view),
    );
    Ok(answer.into_response())
}

/// How a made-up address shall be made.
#[derive(Clone, Copy)]
enum Proof {
    /// To be read aloud.
    None,
    /// To prove itself.
    Itself,
}

/// What was asked for, if it can be had.
fn proof(asked: Option<bool>, settings: &Settings) -> Result<Proof, Problem> {
    use SelfAuthenticating::{Drawn, Off, Offered, Only};
    match (asked, settings.recipients.self_authenticating) {
        (Some(true), Off) => Err(Problem::Field(
            "self_authenticating",
            Cow::Borrowed(NO_PROOF),
        )),
        (Some(false), Only) => Err(Problem::Field(
            "self_authenticating",
            Cow::Borrowed(ONLY_PROOF),
        )),
        (Some(true), _) | (None, Drawn | Only) => Ok(Proof::Itself),
        (Some(false), _) | (None, Off | Offered) => Ok(Proof::None),
    }
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
    proof: Proof,
) -> Result<(MailboxState, Token), Problem> {
    let domain = our_domain(domain, settings)?;
    for _ in 0..DRAWS_MAX {
        let local_part = match proof {
            Proof::None => names::draw(&settings.recipients.subaddress_separators),
            Proof::Itself => {
                let longest = settings.budget.mailbox_ttl_max.0.as_secs();
                let until = unix_secs(app).saturating_add(longest);
                let nonce = u64::from_le_bytes(random());
                self_authenticating::mint(&settings.address_keys, &domain, nonce, until)
            }
        };
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
    let (rules, keys, now) = (&settings.recipients, &settings.address_keys, unix_secs(app));
    if !self_authenticating::may_receive(&address, rules, keys, now) {
        return Err(Problem::Field("local_part", Cow::Borrowed(FORGED)));
    }
    let left = self_authenticating::seconds_left(&address, rules, keys, now);
    let ttl = left.map_or(ttl, |left| ttl.min(Duration::from_secs(left)));
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

fn unix_secs(app: &App) -> u64 {
    app.cores.wall().unix_secs(app.cores.now())
}

/// A mailbox with the seconds it has left, which is what was granted.
fn view(app: &App, state: &MailboxState) -> Mailbox {
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
    let (settings, unix_secs) = (app.settings.load_full(), unix_secs(&app));
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
