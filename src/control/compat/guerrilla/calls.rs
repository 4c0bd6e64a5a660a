//! The functions, each by its name.

use super::session::{Place, Session};
use super::views::{self, EXCERPT_CHARS_MAX, LIFE_SECS};
use super::{COOKIE, Form};
use crate::control::app::App;
use crate::control::creating::{self, Order};
use crate::control::guard::Creator;
use crate::control::problem::Problem;
use crate::control::rate::Client;
use crate::control::{Settings, keys, reading};
use crate::mail::Address;
use crate::metrics::process::CreationRefused;
use crate::policy::recipients::{is_public, our_domain, public_mailbox};
use crate::policy::self_authenticating;
use crate::reading::message;
use crate::store::{Entry, Sequence};
use axum::Json;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use std::time::Duration;

/// How many messages a list has at most.
const LIST_MAX: usize = 20;

const FUNCTIONS: &str = "'f' is get_email_address, set_email_user, check_email, get_email_list, get_older_list, \
     fetch_email, del_email, forget_me or extend.";
const IN_USE: &str = "Somebody else has this address, or had it not long ago.";
const NOT_TO_BE_HAD: &str = "Nobody can have this address.";

/// Who asks: whoever shows a key of ours as `ApiToken`, or anybody. What other servers call a token is none here.
pub(super) fn creator(
    app: &App,
    client: Client,
    headers: &HeaderMap,
    settings: &Settings,
) -> Result<Creator, Problem> {
    let shown = headers.get(header::AUTHORIZATION);
    let key = shown
        .and_then(|shown| shown.as_bytes().split_at_checked(9))
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case(b"ApiToken "))
        .map(|(_, key)| key.trim_ascii())
        .filter(|key| key.starts_with(keys::PREFIX.as_bytes()));
    let Some(key) = key.map(keys::hash) else {
        return Ok(Creator::Anonymous(client));
    };
    match settings.keys.plan(&key) {
        Some(_) => Ok(Creator::Key(key)),
        None => Err(app.refuse_creation(CreationRefused::Key, Problem::WrongKey)),
    }
}

/// One call.
pub(super) struct Call<'a> {
    pub(super) app: &'a App,
    pub(super) settings: &'a Settings,
    pub(super) creator: Creator,
    pub(super) form: &'a Form,
    /// `None`: there is none, or its time is over.
    pub(super) session: Option<Session>,
}

/// The current address of a session.
struct Current {
    address: Address,
    /// What clients add an hour to.
    timestamp: u64,
}

impl Call<'_> {
    pub(super) async fn answer(mut self) -> Result<Response, Problem> {
        let function = self.form.get("f").unwrap_or_default();
        let view = match function {
            "get_email_address" => self.get_email_address().await?,
            "set_email_user" => self.set_email_user().await?,
            "check_email" | "get_email_list" | "get_older_list" => self.list(function).await?,
            "fetch_email" => self.fetch_email().await?,
            "del_email" => self.del_email().await?,
            "forget_me" => self.forget_me().await?,
            "extend" => self.extend().await?,
            _ => return Err(Problem::BadQuery(FUNCTIONS)),
        };
        Ok(self.said(view))
    }

    /// An answer with the session as it is now.
    fn said(self, mut view: Value) -> Response {
        let (app, settings) = (self.app, self.settings);
        let idle = settings.compatibility.guerrilla_session_idle.0;
        let until = app.cores.now().plus(idle);
        let session = self.session.unwrap_or_default();
        let sid = session.seal(&app.compat.guerrilla.sessions, until);
        let cookie = format!("{COOKIE}={sid}; Path=/; HttpOnly; SameSite=Strict");
        views::add(
            &mut view,
            json!({
                "sid_token": sid,
                "auth": { "success": true, "error_codes": [] },
            }),
        );
        let mut response = match view.is_object() {
            true => reading::json_answer(app, &view),
            false => Json(view).into_response(),
        };
        if let Ok(cookie) = HeaderValue::from_str(&cookie) {
            response.headers_mut().insert(header::SET_COOKIE, cookie);
        }
        response
    }

    /// The current address, if there is one and it lives.
    async fn current(&self) -> Result<Option<Current>, Problem> {
        match self.session.as_ref().and_then(Session::current) {
            Some(place) => self.look_at(place).await,
            None => Ok(None),
        }
    }

    /// A mailbox of the session, if it lives.
    async fn look_at(&self, place: &Place) -> Result<Option<Current>, Problem> {
        if let Place::Public(address) = place {
            let is_public = is_public(address.domain(), &self.settings.recipients);
            return Ok(is_public.then(|| Current {
                address: address.clone(),
                timestamp: views::timestamp(self.app, None),
            }));
        }
        let state = place.ask(self.app, |shard, holder, now| shard.state(holder, now));
        match state.await {
            Ok(state) => Ok(Some(Current {
                timestamp: views::timestamp(self.app, state.expires_at),
                address: state.address,
            })),
            Err(Problem::NoSuchMailbox) => Ok(None),
            Err(other) => Err(other),
        }
    }

    /// The current place and address; without one there is nothing to ask for.
    async fn needed(&self) -> Result<(Place, Current), Problem> {
        let place = self.session.as_ref().and_then(Session::current);
        let place = place.ok_or(Problem::Unauthorized)?.clone();
        let current = self.look_at(&place).await?;
        Ok((place, current.ok_or(Problem::NoSuchMailbox)?))
    }

    /// The domain that a call names, if it is one of ours. Clients name the service's own all the time.
    fn site(&self) -> Option<String> {
        let rules = &self.settings.recipients;
        self.form
            .get("site")
            .and_then(|site| our_domain(site, rules))
    }

    async fn get_email_address(&mut self) -> Result<Value, Problem> {
        let current = match self.current().await? {
            Some(current) => current,
            None => self.create(None).await?,
        };
        Ok(views::address(&current.address, current.timestamp, ""))
    }

    /// A new mailbox for the session, with a name that is made up or chosen.
    async fn create(&mut self, local_part: Option<&str>) -> Result<Current, Problem> {
        let site = self.site();
        let order = Order {
            local_part,
            domain: site.as_deref(),
            ..Order::default()
        };
        let public = |domain: &String| is_public(domain, &self.settings.recipients);
        // A name that is made up goes to a domain where it is somebody's.
        let order = match site.as_ref().is_some_and(public) {
            true => Order {
                domain: None,
                ..order
            },
            false => order,
        };
        let given = creating::create(self.app, self.settings, self.creator, &order).await?;
        self.session
            .get_or_insert_default()
            .turn_to(Place::Held(given.hash));
        Ok(Current {
            timestamp: views::timestamp(self.app, given.state.expires_at),
            address: given.state.address,
        })
    }

    async fn set_email_user(&mut self) -> Result<Value, Problem> {
        let named = self.form.get("email_user").unwrap_or_default().trim();
        let (local_part, site) = match named.rsplit_once('@') {
            Some((local_part, domain)) => {
                (local_part, our_domain(domain, &self.settings.recipients))
            }
            None => (named, None),
        };
        let local_part = local_part.to_owned();
        let site = site.or_else(|| self.site());
        let taken = self.take(&local_part, site).await?;
        let (current, alias_error) = match taken {
            Ok(current) => (current, String::new()),
            Err(why) => match self.current().await? {
                Some(current) => (current, why),
                None => (self.create(None).await?, why),
            },
        };
        Ok(views::address(
            &current.address,
            current.timestamp,
            &alias_error,
        ))
    }

    /// Makes the address with this name the current one; or says why not.
    async fn take(
        &mut self,
        local_part: &str,
        site: Option<String>,
    ) -> Result<Result<Current, String>, Problem> {
        let rules = &self.settings.recipients;
        if let Some(domain) = site.as_ref().filter(|domain| is_public(domain, rules)) {
            let Some(address) = public_mailbox(&format!("{local_part}@{domain}"), rules) else {
                return Ok(Err(NOT_TO_BE_HAD.to_owned()));
            };
            let place = Place::Public(address.clone());
            self.session.get_or_insert_default().turn_to(place);
            let timestamp = views::timestamp(self.app, None);
            return Ok(Ok(Current { address, timestamp }));
        }
        let session = self.session.clone().unwrap_or_default();
        for place in session.places().iter().cloned() {
            let Some(held) = self.look_at(&place).await? else {
                continue;
            };
            let is_site = site.as_ref().is_none_or(|it| it == held.address.domain());
            let name = Address::parse(format!("{local_part}@{}", held.address.domain()));
            if is_site && name.is_ok_and(|name| name == held.address) {
                let timestamp = self.lengthen(&place).await?.unwrap_or(held.timestamp);
                self.session.get_or_insert_default().turn_to(place);
                return Ok(Ok(Current { timestamp, ..held }));
            }
        }
        match self.create(Some(local_part)).await {
            Ok(current) => Ok(Ok(current)),
            Err(Problem::Taken) => Ok(Err(IN_USE.to_owned())),
            Err(Problem::Field(_, why)) => Ok(Err(why.into_owned())),
            Err(other) => Err(other),
        }
    }

    /// Gives a mailbox another hour from now, if it has less. `None`: it has no end, or it has ended.
    async fn lengthen(&self, place: &Place) -> Result<Option<u64>, Problem> {
        if matches!(place, Place::Public(_)) {
            return Ok(None);
        }
        let rules = self.settings.recipients.clone();
        let keys = self.settings.address_keys.clone();
        let today = self.app.unix_secs();
        let state = place.ask(self.app, move |shard, holder, now| {
            let state = shard.state(holder, now)?;
            let left = state.expires_at.map(|end| end.since(now))?;
            let most = self_authenticating::seconds_left(&state.address, &rules, &keys, today);
            let most = most.map_or(Duration::MAX, Duration::from_secs);
            let wanted = left.max(Duration::from_secs(LIFE_SECS)).min(most);
            shard.extend(holder, wanted, now)
        });
        match state.await {
            Ok(state) => Ok(Some(views::timestamp(self.app, state.expires_at))),
            Err(Problem::NoSuchMailbox) => Ok(None),
            Err(other) => Err(other),
        }
    }

    async fn extend(&self) -> Result<Value, Problem> {
        let place = self.session.as_ref().and_then(Session::current);
        let place = place.ok_or(Problem::Unauthorized)?.clone();
        let lengthened = self.lengthen(&place).await?;
        Ok(match (lengthened, self.look_at(&place).await?) {
            (Some(timestamp), _) => {
                json!({ "expired": false, "email_timestamp": timestamp, "affected": 1 })
            }
            // What is everybody's has no end.
            (None, Some(current)) => {
                json!({ "expired": false, "email_timestamp": current.timestamp, "affected": 0 })
            }
            (None, None) => json!({ "expired": true, "email_timestamp": 0, "affected": 0 }),
        })
    }

    /// A number of the form; 0 if it is none.
    fn number(&self, name: &str) -> u64 {
        let number = self
            .form
            .get(name)
            .and_then(|text| text.trim().parse().ok());
        number.unwrap_or(0)
    }

    /// What came after `seq`, a page of all, or what came before `seq`; newest first.
    async fn list(&self, function: &str) -> Result<Value, Problem> {
        let (place, current) = self.needed().await?;
        let seq = self.number("seq");
        let skip = usize::try_from(self.number("offset")).unwrap_or(usize::MAX);
        let limit = usize::try_from(self.number("limit")).unwrap_or(LIST_MAX);
        let (from, before, skip, limit) = match function {
            "check_email" => (seq, u64::MAX, 0, LIST_MAX),
            "get_email_list" => (seq, u64::MAX, skip, LIST_MAX),
            _ if limit == 0 => (0, seq, 0, LIST_MAX),
            _ => (0, seq, 0, limit.min(LIST_MAX)),
        };
        // Theirs is one more than ours: what is after theirs is after ours less one.
        let after = Sequence(from.saturating_sub(1));
        let listed = place.ask(self.app, move |shard, holder, now| {
            let mut entries = shard.list(holder, after, usize::MAX, now)?;
            entries.retain(|entry| views::mail_id(entry) < before);
            let count = entries.len();
            let newest = entries.into_iter().rev().skip(skip).take(limit);
            Some((count, newest.collect::<Vec<Entry>>()))
        });
        let (count, mut entries) = match listed.await {
            Err(Problem::NoSuchMailbox) if matches!(place, Place::Public(_)) => (0, Vec::new()),
            listed => listed?,
        };
        // Those who look want the newest last.
        entries.reverse();
        let glances = reading::glance(self.app, &entries, EXCERPT_CHARS_MAX).await;
        let pairs = entries.iter().zip(&glances).rev();
        let mails: Vec<Value> = pairs
            .map(|(entry, glance)| views::mail(self.app, entry, glance.as_ref()))
            .collect();
        let Current { address, timestamp } = &current;
        Ok(views::list(&mails, count, address, *timestamp))
    }

    /// The number of a message in its mailbox, of the number that it has here.
    fn sequence(text: &str) -> Option<Sequence> {
        let id: u64 = text.trim().parse().ok()?;
        id.checked_sub(1).map(Sequence)
    }

    async fn fetch_email(&self) -> Result<Value, Problem> {
        let (place, current) = self.needed().await?;
        let id = self.form.get("email_id").and_then(Self::sequence);
        let entry = message_of(self.app, &place, id).await?;
        let Some(entry) = entry else {
            return Ok(Value::Bool(false));
        };
        let reading = reading::read(self.app, &entry.message, message::read).await?;
        Ok(views::whole(self.app, &entry, &current.address, reading))
    }

    async fn del_email(&self) -> Result<Value, Problem> {
        let (place, _) = self.needed().await?;
        let ids: Vec<Sequence> = self
            .form
            .list("email_ids")
            .filter_map(Self::sequence)
            .collect();
        let deleted = place.ask(self.app, move |shard, holder, now| {
            // With its last message a mailbox goes that is everybody's.
            let gone = ids
                .into_iter()
                .filter(|id| shard.delete(holder, *id, now) == Some(true));
            Some(gone.map(|id| (id.0 + 1).to_string()).collect::<Vec<_>>())
        });
        Ok(json!({ "deleted_ids": deleted.await? }))
    }

    /// Lets an address go, and its mail with it: the current one unless another is named.
    async fn forget_me(&mut self) -> Result<Value, Problem> {
        let mut session = self.session.take().ok_or(Problem::Unauthorized)?;
        let mut meant = session.current().cloned();
        if let Some(named) = self.form.get("email_addr").filter(|it| !it.is_empty()) {
            meant = None;
            for place in session.places() {
                let held = self.look_at(place).await?;
                let named = Address::parse(named.trim());
                if named.is_ok_and(|named| held.is_some_and(|held| held.address == named)) {
                    meant = Some(place.clone());
                }
            }
        }
        if let Some(place) = &meant {
            session.forget(place);
            if let Place::Held(_) = place {
                let erased = place.ask(self.app, |shard, holder, now| shard.erase(holder, now));
                match erased.await {
                    Ok(()) | Err(Problem::NoSuchMailbox) => {}
                    Err(other) => return Err(other),
                }
            }
        }
        self.session = Some(session);
        Ok(Value::Bool(true))
    }
}

/// A message, which counts as read from now on; `None` if there is none.
async fn message_of(
    app: &App,
    place: &Place,
    id: Option<Sequence>,
) -> Result<Option<Entry>, Problem> {
    let Some(id) = id else { return Ok(None) };
    let entry = place.ask(app, move |shard, holder, now| {
        shard.set_seen(holder, id, true, now)
    });
    match entry.await {
        Err(Problem::NoSuchMailbox) if matches!(place, Place::Public(_)) => Ok(None),
        entry => entry,
    }
}

/// An attachment of a message of the session.
pub(super) async fn attachment(
    app: &App,
    form: &Form,
    session: &Session,
) -> Result<Response, Problem> {
    let place = session.current().ok_or(Problem::NoSuchMessage)?;
    if let Place::Public(address) = place
        && !is_public(address.domain(), &app.settings.load().recipients)
    {
        return Err(Problem::NoSuchMessage);
    }
    let id = form.get("email_id").and_then(Call::sequence);
    let entry = match message_of(app, place, id).await {
        Err(Problem::NoSuchMailbox) => None,
        entry => entry?,
    };
    let message = entry.ok_or(Problem::NoSuchMessage)?.message;
    let part: Option<usize> = form.get("part_id").and_then(|part| part.parse().ok());
    let index = part.and_then(|part| part.checked_sub(1));
    let index = index.ok_or(Problem::NoSuchPart)?;
    let found = reading::read(app, &message, move |raw, limits| {
        message::attachment(raw, limits, index)
    });
    let (file, bytes) = found.await?.ok_or(Problem::NoSuchPart)?;
    Ok(reading::file(app, &file, bytes))
}
