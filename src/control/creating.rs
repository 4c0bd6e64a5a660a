//! How a mailbox comes to whoever asks for it, through whichever API: what may be had is found out first, then the guard is
//! asked, then it is created.

use super::app::App;
use super::guard::{self, Creator};
use super::problem::Problem;
use super::proof::Proof;
use super::{Settings, Token, names, passwords, random};
use crate::edge::{Busy, seal};
use crate::mail::{Address, EncryptionKey};
use crate::policy::plans::Plan;
use crate::policy::recipients::{self, CreateRefusal};
use crate::policy::self_authenticating::{self, SelfAuthenticating};
use crate::store::{CreateError, MailboxState, NewMailbox, Password, Takes, Terms, TokenHash};
use std::borrow::Cow;
use std::time::Duration;

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
const PUBLIC: &str =
    "This domain is public: mail makes its mailboxes, everybody reads them, and none is created.";
const TAGGED: &str = "This has a tag, and mail to it reaches the address without it: create that one. \
     Nothing needs to be created for a tag.";

/// A mailbox that has a new holder.
pub(super) struct Given {
    pub(super) state: MailboxState,
    pub(super) token: Token,
    pub(super) hash: TokenHash,
}

/// What somebody wants to have.
#[derive(Default)]
pub(super) struct Order<'a> {
    /// What stands before the `@`; one is made up unless it is chosen.
    pub(super) local_part: Option<&'a str>,
    /// The first that is open to its creator unless they say.
    pub(super) domain: Option<&'a str>,
    pub(super) ttl: Option<Duration>,
    /// Whether the address shall prove itself; what the server does unless they say.
    pub(super) self_authenticating: Option<bool>,
    pub(super) encryption_key: Option<&'a str>,
    pub(super) messages_max: Option<u32>,
    /// What its holder will show instead of a token.
    pub(super) password: Option<&'a str>,
    pub(super) proof: Option<&'a Proof>,
}

/// Creates a mailbox if its creator may: what cannot be created at all costs them nothing.
pub(super) async fn create(
    app: &App,
    settings: &Settings,
    creator: Creator,
    order: &Order<'_>,
) -> Result<Given, Problem> {
    let wanted = Wanted::new(order, creator, app, settings)?;
    creator.pass_rate(app, settings)?;
    let created = match creator.show_proof(app, settings, order.proof) {
        Ok(()) => wanted.create(app, settings).await,
        Err(problem) => Err(problem),
    };
    created.inspect_err(|problem| {
        if *problem != Problem::Taken {
            creator.forgive(app);
        }
    })
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
    fn new(order: &Order<'a>, settings: &Settings) -> Result<Self, Problem> {
        use SelfAuthenticating::{Drawn, Off, Offered, Only};
        let wrong = |detail| Err(Problem::Field("self_authenticating", Cow::Borrowed(detail)));
        let asked = order.self_authenticating;
        let is_proving = match (asked, settings.recipients.self_authenticating) {
            (Some(true), Off) => return wrong(NO_PROOF),
            (Some(false), Only) => return wrong(ONLY_PROOF),
            (Some(true), _) | (None, Drawn | Only) => true,
            (Some(false), _) | (None, Off | Offered) => false,
        };
        match order.local_part {
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
    password: Option<&'a str>,
}

impl<'a> Wanted<'a> {
    fn new(
        order: &Order<'a>,
        creator: Creator,
        app: &App,
        settings: &'a Settings,
    ) -> Result<Self, Problem> {
        let plan = creator.plan(settings);
        let wanted = Self {
            creator,
            plan,
            name: Name::new(order, settings)?,
            domain: domain(order.domain, plan, settings)?,
            ttl: order.ttl.unwrap_or(settings.budget.mailbox_ttl_default.0),
            encryption_key: encryption_key(order.encryption_key)?,
            messages_max: order.messages_max,
            password: order.password,
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
                    app.unix_secs(),
                ) =>
            {
                Err(Problem::Field("local_part", Cow::Borrowed(FORGED)))
            }
            Ok(()) => Ok(address),
            Err(CreateRefusal::ForeignDomain) => Err(not_ours()),
            Err(CreateRefusal::Public) => Err(public()),
            Err(CreateRefusal::Reserved) => Err(Problem::Field(
                "local_part",
                "This name is reserved.".into(),
            )),
            Err(CreateRefusal::Tagged) => Err(Problem::Field("local_part", Cow::Borrowed(TAGGED))),
        }
    }

    async fn create(&self, app: &App, settings: &Settings) -> Result<Given, Problem> {
        let password = match self.password {
            Some(password) => Some(passwords::hash(app, password).await?),
            None => None,
        };
        let password = password.as_ref();
        if let Name::Chosen(local_part) = self.name {
            let address = self.address(local_part, app, settings)?;
            return self.create_at(address, password, app, settings).await;
        }
        for _ in 0..DRAWS_MAX {
            let local_part = self.draw(app, settings);
            let address = self.address(&local_part, app, settings)?;
            match self.create_at(address, password, app, settings).await {
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
                let until = app.unix_secs().saturating_add(longest);
                let nonce = u64::from_le_bytes(random());
                self_authenticating::mint(&settings.address_keys, &self.domain, nonce, until)
            }
            _ => names::draw(&settings.recipients.subaddress_separators),
        }
    }

    async fn create_at(
        &self,
        address: Address,
        password: Option<&Password>,
        app: &App,
        settings: &Settings,
    ) -> Result<Given, Problem> {
        let (rules, keys) = (&settings.recipients, &settings.address_keys);
        let today = app.unix_secs();
        let left = self_authenticating::seconds_left(&address, rules, keys, today);
        let ttl = left.map_or(self.ttl, |left| self.ttl.min(Duration::from_secs(left)));
        let owner = app.cores.owner_of_address(&address);
        let (token, hash) = app.draw_token(owner);
        let wanted = NewMailbox {
            terms: self.terms(password, app, settings)?,
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
    fn terms(
        &self,
        password: Option<&Password>,
        app: &App,
        settings: &Settings,
    ) -> Result<Option<Box<Terms>>, Problem> {
        let after_last = settings.budget.after_last_message.0;
        let takes = self.messages_max.map(|most| Takes::new(most, after_last));
        let is_plain = takes.is_none() && self.encryption_key.is_none() && password.is_none();
        if is_plain && self.plan.is_none() {
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
            password: password.cloned().map(Box::new),
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
        let rules = &settings.recipients;
        let is_public = |domain: &String| recipients::is_public(domain, rules);
        if rules.domains.iter().all(is_public) {
            return Err(public());
        }
        let mut open = settings.plans.domains(plan, &settings.recipients);
        let first = open.next().map(ToOwned::to_owned);
        return first.ok_or(Problem::Field("domain", Cow::Borrowed(NO_DOMAIN)));
    };
    let domain = recipients::our_domain(named, &settings.recipients)
        .filter(|domain| settings.plans.may_create_in(domain, plan))
        .ok_or_else(not_ours)?;
    match recipients::is_public(&domain, &settings.recipients) {
        true => Err(public()),
        false => Ok(domain),
    }
}

const fn public() -> Problem {
    Problem::Field("domain", Cow::Borrowed(PUBLIC))
}

const fn not_ours() -> Problem {
    Problem::Field("domain", Cow::Borrowed(NOT_OURS))
}
