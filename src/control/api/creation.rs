//! Mailboxes come to their holders: created, behind a guard, or recovered with a ticket.

use super::Answer;
use super::fields::Fields;
use super::mailboxes::{unix_secs, view};
use crate::control::app::App;
use crate::control::guard::{self, Creator};
use crate::control::problem::Problem;
use crate::control::proof::{self, Proof};
use crate::control::rate::Client;
use crate::control::views::mailboxes::CreatedMailbox;
use crate::control::{Settings, Token, names, random};
use crate::edge::{Busy, seal};
use crate::mail::{Address, EncryptionKey};
use crate::policy::plans::Plan;
use crate::policy::recipients::{self, CreateRefusal};
use crate::policy::self_authenticating::{self, SelfAuthenticating};
use crate::store::{CreateError, MailboxState, NewMailbox, Takes, Terms, TokenHash};
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

/// How many addresses are drawn before we admit that none is free.
const DRAWS_MAX: usize = 8;

const FORGED: &str =
    "This is kept for addresses that prove themselves: leave it out, and one is made up.";
const NO_PROOF: &str = "This server has no addresses that prove themselves.";
const ONLY_PROOF: &str = "All addresses of this server prove themselves.";
const PROOF_IS_DRAWN: &str = "An address that proves itself is made up: leave 'local_part' out.";
const NO_KEY: &str =
    "This is not the recipient of an X25519 identity of age: 'age1' and 58 letters and digits.";
const NO_DOMAIN: &str = "No domain is open to everybody here: show a key.";
const NOT_OURS: &str = "This is not a domain of ours.";
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
    let wanted = Wanted::new(&fields, creator, &app, &settings)?;
    creator.pass_rate(&app, &settings)?;
    let proof = fields.proof.as_ref();
    let created = match creator.show_proof(&app, &settings, proof) {
        Ok(()) => wanted.create(&app, &settings).await,
        Err(problem) => Err(problem),
    };
    let given = created.inspect_err(|problem| {
        if *problem != Problem::Taken {
            creator.forgive(&app);
        }
    })?;
    let location = HeaderValue::from_static("/api/v1/mailbox");
    let answer = (
        StatusCode::CREATED,
        [(header::LOCATION, location)],
        Json(given.view(&app)),
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
    Ok(Json(given.view(&app)).into_response())
}

/// A mailbox that has a new holder.
struct Given {
    state: MailboxState,
    token: Token,
    hash: TokenHash,
}

impl Given {
    fn view(self, app: &App) -> CreatedMailbox {
        let ticket = app.recovery.ticket(&self.hash);
        view(app, &self.state).created(self.token, ticket)
    }
}

/// What stands before the `@`.
#[derive(Clone, Copy)]
enum Name<'a> {
    Chosen(&'a str),
    /// Made up, to be read aloud.
    Drawn,
    /// Made up, to prove itself.
    Proving,
}

impl<'a> Name<'a> {
    /// What was asked for, if it can be had.
    fn new(fields: &'a NewMailboxFields, settings: &Settings) -> Result<Self, Problem> {
        use SelfAuthenticating::{Drawn, Off, Offered, Only};
        let wrong = |detail| Err(Problem::Field("self_authenticating", Cow::Borrowed(detail)));
        let asked = fields.self_authenticating;
        let is_proving = match (asked, settings.recipients.self_authenticating) {
            (Some(true), Off) => return wrong(NO_PROOF),
            (Some(false), Only) => return wrong(ONLY_PROOF),
            (Some(true), _) | (None, Drawn | Only) => true,
            (Some(false), _) | (None, Off | Offered) => false,
        };
        match &fields.local_part {
            Some(_) if asked == Some(true) => wrong(PROOF_IS_DRAWN),
            Some(local_part) => Ok(Self::Chosen(local_part)),
            None if is_proving => Ok(Self::Proving),
            None => Ok(Self::Drawn),
        }
    }
}

/// A mailbox that may be created, as far as one can tell before it is tried.
struct Wanted<'a> {
    creator: Creator,
    plan: Option<&'a Plan>,
    name: Name<'a>,
    /// Ours, canonical, and open to its creator.
    domain: String,
    ttl: Duration,
    encryption_key: Option<EncryptionKey>,
    messages_max: Option<u32>,
}

impl<'a> Wanted<'a> {
    fn new(
        fields: &'a NewMailboxFields,
        creator: Creator,
        app: &App,
        settings: &'a Settings,
    ) -> Result<Self, Problem> {
        let plan = creator.plan(settings);
        let wanted = Self {
            creator,
            plan,
            name: Name::new(fields, settings)?,
            domain: domain(fields.domain.as_deref(), plan, settings)?,
            ttl: fields.ttl.unwrap_or(settings.budget.mailbox_ttl_default.0),
            encryption_key: encryption_key(fields.encryption_key.as_deref())?,
            messages_max: fields.messages_max,
        };
        let most = guard::messages_max(plan, settings);
        if wanted
            .messages_max
            .is_some_and(|wanted| !(1..=most).contains(&wanted))
        {
            let detail = format!("Write a number from 1 to {most}.");
            return Err(Problem::Field("messages_max", detail.into()));
        }
        // What cannot be created must not cost anything.
        if let Name::Chosen(local_part) = wanted.name {
            wanted.address(local_part, app, settings)?;
        }
        Ok(wanted)
    }

    fn address(
        &self,
        local_part: &str,
        app: &App,
        settings: &Settings,
    ) -> Result<Address, Problem> {
        let rules = &settings.recipients;
        let address = Address::parse(format!("{local_part}@{}", self.domain)).map_err(|why| {
            let detail = format!("This cannot be a local part: {why}.");
            Problem::Field("local_part", detail.into())
        })?;
        match recipients::may_create(&address, rules) {
            Ok(())
                if !self_authenticating::may_receive(
                    &address,
                    rules,
                    &settings.address_keys,
                    unix_secs(app),
                ) =>
            {
                Err(Problem::Field("local_part", Cow::Borrowed(FORGED)))
            }
            Ok(()) => Ok(address),
            Err(CreateRefusal::ForeignDomain) => Err(not_ours()),
            Err(CreateRefusal::Reserved) => Err(Problem::Field(
                "local_part",
                "This name is reserved.".into(),
            )),
            Err(CreateRefusal::Tagged) => Err(Problem::Field("local_part", Cow::Borrowed(TAGGED))),
        }
    }

    async fn create(&self, app: &App, settings: &Settings) -> Result<Given, Problem> {
        if let Name::Chosen(local_part) = self.name {
            let address = self.address(local_part, app, settings)?;
            return self.create_at(address, app, settings).await;
        }
        for _ in 0..DRAWS_MAX {
            let local_part = self.draw(app, settings);
            let address = self.address(&local_part, app, settings)?;
            match self.create_at(address, app, settings).await {
                Err(Problem::Taken) => {}
                created_or_not => return created_or_not,
            }
        }
        Err(Problem::Busy)
    }

    /// A name that is made up.
    fn draw(&self, app: &App, settings: &Settings) -> String {
        match self.name {
            Name::Proving => {
                let longest = guard::ttl_max(self.plan, settings).as_secs();
                let until = unix_secs(app).saturating_add(longest);
                let nonce = u64::from_le_bytes(random());
                self_authenticating::mint(&settings.address_keys, &self.domain, nonce, until)
            }
            _ => names::draw(&settings.recipients.subaddress_separators),
        }
    }

    async fn create_at(
        &self,
        address: Address,
        app: &App,
        settings: &Settings,
    ) -> Result<Given, Problem> {
        let (rules, keys) = (&settings.recipients, &settings.address_keys);
        let today = unix_secs(app);
        let left = self_authenticating::seconds_left(&address, rules, keys, today);
        let ttl = left.map_or(self.ttl, |left| self.ttl.min(Duration::from_secs(left)));
        let owner = app.cores.owner_of_address(&address);
        let (token, hash) = app.draw_token(owner);
        let wanted = NewMailbox {
            terms: self.terms(app, settings)?,
            ..NewMailbox::new(hash, ttl, guard::ttl_max(self.plan, settings))
        };
        let created = app
            .cores
            .call(owner, move |shard, now| shard.create(&address, wanted, now))
            .await
            .map_err(|Busy| Problem::Busy)?;
        match created {
            Ok(state) => Ok(Given { state, token, hash }),
            Err(CreateError::Taken) => Err(Problem::Taken),
            Err(CreateError::NoMemory) => Err(Problem::NoMemory),
        }
    }

    /// What is particular about it, if anything is.
    fn terms(&self, app: &App, settings: &Settings) -> Result<Option<Box<Terms>>, Problem> {
        let after_last = settings.budget.after_last_message.0;
        let takes = self.messages_max.map(|most| Takes::new(most, after_last));
        if takes.is_none() && self.plan.is_none() && self.encryption_key.is_none() {
            return Ok(None);
        }
        let seat = self.plan.map(|_| self.creator.take_seat(app, settings));
        Ok(Some(Box::new(Terms {
            plan: self.plan.map(|plan| plan.name.as_str().into()),
            seat: seat.transpose()?,
            messages_max: self.plan.and_then(|plan| plan.mailbox_messages_max),
            bytes_max: self.plan.and_then(|plan| plan.mailbox_bytes_max),
            encryption_key: self.encryption_key.clone(),
            takes,
            webhook: None,
        })))
    }
}

/// The key to which all mail shall be encrypted.
fn encryption_key(given: Option<&str>) -> Result<Option<EncryptionKey>, Problem> {
    let Some(text) = given else { return Ok(None) };
    EncryptionKey::parse(text)
        .filter(seal::is_usable)
        .map(Some)
        .ok_or(Problem::Field("encryption_key", Cow::Borrowed(NO_KEY)))
}

/// The canonical form of the domain that was named, or the first one that is open to its creator. One that is kept for
/// others is as good as none of ours.
fn domain(
    named: Option<&str>,
    plan: Option<&Plan>,
    settings: &Settings,
) -> Result<String, Problem> {
    let Some(named) = named else {
        let mut open = settings.plans.domains(plan, &settings.recipients);
        let first = open.next().map(ToOwned::to_owned);
        return first.ok_or(Problem::Field("domain", Cow::Borrowed(NO_DOMAIN)));
    };
    recipients::our_domain(named, &settings.recipients)
        .filter(|domain| settings.plans.may_create_in(domain, plan))
        .ok_or_else(not_ours)
}

const fn not_ours() -> Problem {
    Problem::Field("domain", Cow::Borrowed(NOT_OURS))
}
