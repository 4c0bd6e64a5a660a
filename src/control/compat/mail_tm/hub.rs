//! Live push in the manner of Mercure (draft-dunglas-mercure): a stream of server-sent events for the topic of an account.
//!
//! Each event's data is the JSON-LD of what changed: the message that came or was marked, one that is gone with `isDeleted`,
//! and after them the account with what it uses now. Ids are the numbers of the mailbox's events, so whoever comes back
//! with the last one goes on from there. That an account was told for an event stands behind its number (`17.account`):
//! whoever lost the connection between the two is told of the account first.

use super::Answer;
use super::accounts::Account;
use super::asked::{self, EARLIEST, OF_ACCOUNT, Since, is_topic_of};
use super::format::Format;
use super::token::Bearer;
use super::views::{INTRO_CHARS, Shown};
use crate::control::app::App;
use crate::control::events::{self, Stream};
use crate::control::problem::Problem;
use crate::control::{bearer, reading};
use crate::mail::Address;
use crate::store::{Entry, Event, Sequence};
use axum::body::Bytes;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, HeaderValue, header};
use serde::Serialize;
use std::sync::Arc;
use tokio::sync::mpsc;

const NO_TOPIC: &str = "Missing \"topic\" parameter.";

/// What a client asks for.
struct Asked {
    topics: Vec<String>,
    token: Option<Vec<u8>>,
    /// What it was told last.
    last: Option<String>,
}

impl Asked {
    fn new(query: Vec<(String, String)>, headers: &HeaderMap) -> Self {
        let mut asked = Self {
            topics: Vec::new(),
            token: None,
            last: None,
        };
        for (name, value) in query {
            match name.as_str() {
                "topic" => asked.topics.push(value),
                "authorization" => asked.token = Some(value.into_bytes()),
                "lastEventID" | "Last-Event-ID" => asked.last = Some(value),
                _ => {}
            }
        }
        let shown = bearer(headers).filter(|shown| !shown.is_empty());
        let shown = shown.map(<[u8]>::to_vec);
        asked.token = shown.or(asked.token).or_else(|| cookie(headers));
        let last = headers.get("last-event-id").and_then(|it| it.to_str().ok());
        asked.last = last.map(ToOwned::to_owned).or(asked.last);
        asked
    }
}

/// What stands in the cookie for the hub.
fn cookie(headers: &HeaderMap) -> Option<Vec<u8>> {
    let mut fields = headers.get_all(header::COOKIE).iter();
    let token = fields.find_map(|field| asked::cookie(field.as_bytes()));
    token.map(<[u8]>::to_vec)
}

/// Opens a stream.
pub(super) async fn open(
    State(app): State<Arc<App>>,
    Query(query): Query<Vec<(String, String)>>,
    headers: HeaderMap,
) -> Answer {
    let asked = Asked::new(query, &headers);
    let bearer = Bearer::new(&app, &asked.token.ok_or(Problem::Unauthorized)?);
    let id = app.compat.mail_tm.ids.account(&bearer.hash);
    if asked.topics.is_empty() {
        return Err(Problem::BadQuery(NO_TOPIC));
    }
    let since = asked.last.as_deref().and_then(Since::read);
    let is_theirs = asked.topics.iter().any(|topic| is_topic_of(topic, &id));
    let address = app
        .ask(&bearer.holder, |shard, holder, now| {
            Some(shard.state(holder, now)?.address)
        })
        .await?;
    // Of what is not theirs nobody is told, nor whether it is there.
    if !is_theirs {
        return Err(Problem::NoSuchRoute);
    }
    let mut events = events::subscribe(
        &app,
        &bearer.holder,
        since.map(|since| Sequence(since.event)),
    )
    .await?;
    let first = events.try_recv().ok();
    let goes_on = match (&asked.last, &first) {
        (None, _) => None,
        (Some(last), Some(Event::Reset { .. })) if last != EARLIEST => Some(EARLIEST.to_owned()),
        (Some(_), _) if since.is_none() => Some(EARLIEST.to_owned()),
        (Some(last), _) => Some(last.clone()),
    };
    let hub = Hub {
        app: Arc::clone(&app),
        bearer,
        id,
        address,
    };
    let (stream, mut answer) = Stream::open(&app);
    tokio::spawn(hub.run(stream, events, first, since));
    let last = goes_on.and_then(|id| HeaderValue::from_str(&id).ok());
    if let Some(last) = last {
        answer.headers_mut().insert("last-event-id", last);
    }
    Ok(answer)
}

/// What one stream tells of.
struct Hub {
    app: Arc<App>,
    bearer: Bearer,
    /// Of the account.
    id: String,
    address: Address,
}

impl Hub {
    async fn run(
        self,
        mut stream: Stream,
        mut events: mpsc::Receiver<Event>,
        first: Option<Event>,
        since: Option<Since>,
    ) {
        let mut text = String::from(":\n\n");
        if let Some(since) = since.filter(|since| !since.knows_account) {
            text += &self.account(Sequence(since.event)).await;
        }
        let mut next = first;
        loop {
            if let Some(event) = next.take() {
                let is_over = matches!(event, Event::Closed { .. });
                text += &self.told(&event).await;
                if events.is_empty() && !is_over {
                    text += &self.account(event.sequence()).await;
                }
            }
            if !stream.send(Bytes::from(std::mem::take(&mut text))).await {
                return;
            }
            next = match stream.next(&mut events).await {
                events::Next::Event(event) => Some(event),
                events::Next::Pulse => {
                    text.push_str(":\n\n");
                    None
                }
                events::Next::Over => return,
            };
        }
    }

    /// What an event is to a client.
    async fn told(&self, event: &Event) -> String {
        match event {
            Event::Arrived(entry) => self.message(entry.sequence, entry).await,
            Event::Marked { sequence, entry } => self.message(*sequence, entry).await,
            Event::Removed { sequence, message } => {
                written(sequence.0, "", &self.shown().gone(*message))
            }
            // The account that follows says when it ends.
            Event::ExpiresSoon { .. } => String::new(),
            Event::Closed { sequence } => {
                let gone = self.shown().gone_account(&self.id);
                written(sequence.0, OF_ACCOUNT, &gone)
            }
            Event::Reset { .. } => self.all().await,
        }
    }

    fn shown(&self) -> Shown<'_> {
        Shown {
            secrets: &self.app.compat.mail_tm,
            holder: &self.bearer.hash,
            address: &self.address,
            format: Format::Hydra,
            wall: self.app.cores.wall(),
        }
    }

    async fn message(&self, event: Sequence, entry: &Entry) -> String {
        let glances = reading::glance(&self.app, std::slice::from_ref(entry), INTRO_CHARS);
        let glance = glances.await.pop().flatten();
        written(event.0, "", &self.shown().alone(entry, glance))
    }

    /// The account as it stands after an event; nothing if it is gone or nobody can say.
    async fn account(&self, after: Sequence) -> String {
        let asked = self.app.ask(&self.bearer.holder, |shard, holder, now| {
            shard.state(holder, now)
        });
        let Ok(state) = asked.await else {
            return String::new();
        };
        let settings = self.app.settings.load();
        let wall = self.app.cores.wall();
        let account = Account::new(&state, &self.id, Format::Hydra, &settings, &wall);
        written(after.0, OF_ACCOUNT, &account)
    }

    /// All messages that are there: what the client missed is not known any more.
    async fn all(&self) -> String {
        // As many as a mailbox holds, which its plan may have raised.
        let asked = self.app.ask(&self.bearer.holder, |shard, holder, now| {
            shard.list(holder, Sequence(0), usize::MAX, now)
        });
        let Ok(entries) = asked.await else {
            return String::new();
        };
        let glances = reading::glance(&self.app, &entries, INTRO_CHARS).await;
        let mut text = String::new();
        for (entry, glance) in entries.iter().zip(glances) {
            text += &written(entry.sequence.0, "", &self.shown().alone(entry, glance));
            tokio::task::yield_now().await;
        }
        text
    }
}

/// One event. JSON has no line breaks, so one `data` line is enough.
fn written(number: u64, kind: &str, data: &impl Serialize) -> String {
    let data = serde_json::to_string(data).expect("a view has text keys only");
    format!("id: {number}{kind}\ndata: {data}\n\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_comes_in_the_head_in_the_query_or_in_a_cookie() {
        let query = |text: &str| {
            let pairs = text.split('&').filter_map(|pair| pair.split_once('='));
            let pairs = pairs.map(|(name, value)| (name.to_owned(), value.to_owned()));
            pairs.collect::<Vec<_>>()
        };
        for (text, fields, token) in [
            ("topic=x", &[("authorization", "Bearer a")][..], Some("a")),
            (
                "authorization=b",
                &[("authorization", "Bearer a")],
                Some("a"),
            ),
            (
                "authorization=b",
                &[("cookie", "mercureAuthorization=c")],
                Some("b"),
            ),
            (
                "",
                &[("cookie", "x=y; mercureAuthorization=c; z=")],
                Some("c"),
            ),
            ("", &[("authorization", "Basic a")], None),
            ("", &[], None),
        ] {
            let mut headers = HeaderMap::new();
            for (name, value) in fields {
                headers.append(*name, HeaderValue::from_static(value));
            }
            let asked = Asked::new(query(text), &headers);
            let token = token.map(|token| token.as_bytes().to_vec());
            assert_eq!(asked.token, token, "{text} {fields:?}");
        }
    }
}
