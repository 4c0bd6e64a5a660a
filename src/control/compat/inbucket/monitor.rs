//! The monitors: web sockets on which every message is told of that comes to a public mailbox, or to one of them.
//!
//! Cores tell of public mail only while somebody listens. All of them put what they tell into one bounded queue; one task takes
//! it out, writes it down once, and hands it to all monitors through a channel that forgets the oldest. Whoever has missed
//! something, because the cores were too fast for the task or it for them, is sent away: a monitor that goes on has
//! told everything. Nothing is kept for those who come later: cores are asked for the messages that came last and are still
//! there.

use super::rest::missing;
use super::views::Header;
use crate::control::answer::is_cross_origin;
use crate::control::app::App;
use crate::control::compat::public::{Named, name_of};
use crate::control::http::Kept;
use crate::control::problem::Problem;
use crate::edge::{Busy, CoreId};
use crate::mail::Address;
use crate::policy::recipients::is_public;
use crate::store::{Entry, Feed, RECENT_MAX, Sequence};
use axum::Extension;
use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade, close_code};
use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::response::Response;
use serde::Serialize;
use std::collections::HashSet;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{broadcast, mpsc};
use tokio::task::AbortHandle;
use tokio::time::{MissedTickBehavior, interval, timeout};

/// The largest message that a client may send. None has anything to say.
const CLIENT_BYTES_MAX: usize = 512;

/// Memory for what a client sends.
const READ_BYTES: usize = 1 << 10;

/// How long a client may take for a message.
const WRITE_TIME: Duration = Duration::from_secs(10);

/// How many messages a monitor tells of first that came before it.
const REPLAYED_MAX: usize = 30;

const _: () = assert!(REPLAYED_MAX <= RECENT_MAX);

/// What a monitor writes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Version {
    /// Messages that came.
    One,
    /// What happened: messages that came, and messages that went.
    Two,
}

impl Version {
    /// That of the API with this number.
    const fn of(number: u8) -> Self {
        match number {
            1 => Self::One,
            _ => Self::Two,
        }
    }
}

/// Something that happened in a public mailbox, as a core tells it.
enum Heard {
    Arrived(Address, Entry),
    Removed(Address, Sequence),
}

impl Heard {
    const fn mailbox(&self) -> &Address {
        match self {
            Self::Arrived(mailbox, _) | Self::Removed(mailbox, _) => mailbox,
        }
    }
}

/// The same, written down for every monitor.
#[derive(Clone)]
enum Told {
    Arrived(Address, Sequence, Arc<str>),
    Removed(Address, Sequence, Arc<str>),
    /// Something was lost.
    Gap,
}

/// What a core tells into.
#[derive(Clone)]
struct Ear {
    heard: mpsc::Sender<Heard>,
    /// Set when there was no room.
    lost: Arc<AtomicBool>,
}

impl Ear {
    fn put(&self, heard: Heard) -> bool {
        match self.heard.try_send(heard) {
            Ok(()) => true,
            Err(mpsc::error::TrySendError::Full(_)) => {
                self.lost.store(true, Relaxed);
                true
            }
            // The last monitor has gone.
            Err(mpsc::error::TrySendError::Closed(_)) => false,
        }
    }
}

impl Feed for Ear {
    fn arrived(&mut self, mailbox: &Address, entry: &Entry) -> bool {
        self.put(Heard::Arrived(mailbox.clone(), entry.clone()))
    }

    fn removed(&mut self, mailbox: &Address, message: Sequence) -> bool {
        self.put(Heard::Removed(mailbox.clone(), message))
    }
}

/// The open monitors, and what feeds them while there are any.
#[derive(Default)]
pub(in crate::control) struct Monitors {
    /// Never held across an await.
    state: Mutex<Open>,
}

#[derive(Default)]
struct Open {
    monitors: u32,
    hub: Option<Hub>,
}

/// What feeds the monitors. Its task ends with it, and the cores notice when they tell of something next.
struct Hub {
    ear: Ear,
    told: broadcast::Sender<Told>,
    task: AbortHandle,
}

impl Drop for Hub {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Hub {
    fn start(app: &Arc<App>) -> Self {
        let events_max = app
            .settings
            .load()
            .compatibility
            .inbucket_monitor_events_max;
        let events_max = events_max.max(1) as usize;
        let (ear, heard) = mpsc::channel(events_max);
        let (told, _) = broadcast::channel(events_max);
        let lost = Arc::new(AtomicBool::new(false));
        let ear = Ear {
            heard: ear,
            lost: Arc::clone(&lost),
        };
        let task = tokio::spawn(tell(Arc::clone(app), heard, lost, told.clone()));
        Self {
            ear,
            told,
            task: task.abort_handle(),
        }
    }
}

impl fmt::Debug for Monitors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Monitors({})", self.with(|open| open.monitors))
    }
}

impl Monitors {
    fn with<T>(&self, ask: impl FnOnce(&mut Open) -> T) -> T {
        ask(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Counts a monitor for as long as it lives.
struct Place(Arc<App>);

impl Place {
    fn take(app: &Arc<App>) -> Result<Self, Problem> {
        let most = app.settings.load().compatibility.inbucket_monitors_max;
        app.monitors.with(|open| {
            if open.monitors >= most {
                return Err(Problem::TooManyWatchers);
            }
            open.monitors += 1;
            Ok(Self(Arc::clone(app)))
        })
    }

    /// Begins to listen to all cores; says what came last.
    async fn listen(&self) -> Result<(broadcast::Receiver<Told>, Vec<(Address, Entry)>), Busy> {
        let app = &self.0;
        let (told, ear) = app.monitors.with(|open| {
            let hub = open.hub.get_or_insert_with(|| Hub::start(app));
            (hub.told.subscribe(), hub.ear.clone())
        });
        let mut recent = Vec::new();
        for core in 0..app.cores.count() {
            let ear = ear.clone();
            // In one step, so that no message comes between.
            let of_core = app.cores.call(CoreId(core), move |shard, now| {
                shard.feed_public(Box::new(ear));
                shard.recent_public(now)
            });
            recent.extend(of_core.await?);
        }
        recent.sort_by_key(|(_, entry)| entry.message.received_at);
        Ok((told, recent))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let last = self.0.monitors.with(|open| {
            open.monitors -= 1;
            (open.monitors == 0).then(|| open.hub.take())
        });
        drop(last);
    }
}

/// Writes down what cores tell, once for all monitors.
async fn tell(
    app: Arc<App>,
    mut heard: mpsc::Receiver<Heard>,
    lost: Arc<AtomicBool>,
    told: broadcast::Sender<Told>,
) {
    while let Some(heard) = heard.recv().await {
        // Without monitors there is nobody to be told; the last one ends this task.
        if lost.swap(false, Relaxed) {
            let _ = told.send(Told::Gap);
        }
        let settings = app.settings.load();
        if !is_public(heard.mailbox().domain(), &settings.recipients) {
            continue;
        }
        let name = name_of(heard.mailbox(), &settings);
        let _ = told.send(match heard {
            Heard::Arrived(mailbox, entry) => {
                let header = arrived(&app, &name, &entry);
                Told::Arrived(mailbox, entry.sequence, header)
            }
            Heard::Removed(mailbox, id) => Told::Removed(mailbox, id, removed(&name, id)),
        });
    }
}

/// The header of a message that came.
fn arrived(app: &App, name: &str, entry: &Entry) -> Arc<str> {
    let header = Header::new(name, entry, app);
    let text = serde_json::to_string(&header).expect("a view has text keys only");
    text.into()
}

/// The event of a message that went.
fn removed(name: &str, id: Sequence) -> Arc<str> {
    #[derive(Serialize)]
    struct Removed<'a> {
        variant: &'static str,
        identifier: Identifier<'a>,
        header: Option<()>,
    }
    #[derive(Serialize)]
    struct Identifier<'a> {
        mailbox: &'a str,
        id: String,
    }
    let event = Removed {
        variant: "message-deleted",
        identifier: Identifier {
            mailbox: name,
            id: id.0.to_string(),
        },
        header: None,
    };
    let text = serde_json::to_string(&event).expect("a view has text keys only");
    text.into()
}

/// The event of a message that came.
fn stored(header: &str) -> String {
    format!("{{\"variant\":\"message-stored\",\"identifier\":null,\"header\":{header}}}")
}

type Answer = Result<Response, Problem>;

/// The monitor of all public mailboxes.
pub(super) async fn all<const VERSION: u8>(
    State(app): State<Arc<App>>,
    Extension(kept): Extension<Kept>,
    headers: HeaderMap,
    upgrade: WebSocketUpgrade,
) -> Answer {
    open(&app, kept, &headers, upgrade, None, Version::of(VERSION))
}

/// The monitor of one.
pub(super) async fn one<const VERSION: u8>(
    State(app): State<Arc<App>>,
    Extension(kept): Extension<Kept>,
    Path(name): Path<String>,
    headers: HeaderMap,
    upgrade: WebSocketUpgrade,
) -> Answer {
    let version = Version::of(VERSION);
    open(&app, kept, &headers, upgrade, Some(&name), version)
}

fn open(
    app: &Arc<App>,
    kept: Kept,
    headers: &HeaderMap,
    upgrade: WebSocketUpgrade,
    name: Option<&str>,
    version: Version,
) -> Answer {
    // Pages of other sites may open sockets to anybody.
    if is_cross_origin(headers) {
        return Err(Problem::CrossOrigin);
    }
    let named = match name {
        None => None,
        Some(name) => match Named::find(name, &app.settings.load()) {
            Some(named) => Some(named),
            None => return Ok(missing()),
        },
    };
    let place = Place::take(app)?;
    let upgrade = upgrade
        .max_message_size(CLIENT_BYTES_MAX)
        .max_frame_size(CLIENT_BYTES_MAX)
        .read_buffer_size(READ_BYTES)
        .write_buffer_size(0);
    Ok(upgrade.on_upgrade(move |socket| async move {
        let monitor = Monitor {
            socket,
            named,
            version,
        };
        monitor.run(&place).await;
        // The connection counts as one until here.
        drop(kept);
    }))
}

/// An open monitor.
struct Monitor {
    socket: WebSocket,
    named: Option<Named>,
    version: Version,
}

/// Why a monitor ends.
enum End {
    /// Its client has gone, is too slow, or says more than it may.
    Gone,
    /// It has to come back: something was lost, or a core had too much to do.
    Again,
    /// The process or the API ends.
    Away,
}

impl Monitor {
    async fn run(mut self, place: &Place) {
        let end = match self.watch(place).await {
            Ok(never) => match never {},
            Err(end) => end,
        };
        let (code, reason) = match end {
            End::Gone => return,
            End::Again => (close_code::AGAIN, "something was missed"),
            End::Away => (close_code::AWAY, "this ends here"),
        };
        let frame = CloseFrame {
            code,
            reason: reason.into(),
        };
        let close = self.socket.send(Message::Close(Some(frame)));
        // Whoever does not hear it will notice.
        let _ = timeout(WRITE_TIME, close).await;
    }

    async fn watch(&mut self, place: &Place) -> Result<std::convert::Infallible, End> {
        let app = &place.0;
        let (mut told, recent) = place.listen().await.map_err(|Busy| End::Again)?;
        let mut known = self.replay(app, recent).await?;
        let settings = || app.settings.load();
        let mut ticks = interval(settings().compatibility.inbucket_ping.0.max(PING_MIN));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        ticks.reset();
        let mut is_alive = true;
        loop {
            tokio::select! {
                event = told.recv() => match event {
                    Ok(Told::Gap) | Err(broadcast::error::RecvError::Lagged(_)) => return Err(End::Again),
                    Ok(event) => self.pass_on(event, &mut known).await?,
                    Err(broadcast::error::RecvError::Closed) => return Err(End::Away),
                },
                frame = self.socket.recv() => match frame {
                    Some(Ok(Message::Close(_)) | Err(_)) | None => return Err(End::Gone),
                    Some(Ok(_)) => is_alive = true,
                },
                _ = ticks.tick() => {
                    if !settings().compatibility.inbucket {
                        return Err(End::Away);
                    }
                    if !std::mem::take(&mut is_alive) {
                        return Err(End::Gone);
                    }
                    self.send(Message::Ping(axum::body::Bytes::new())).await?;
                }
                () = app.draining() => return Err(End::Away),
            }
        }
    }

    /// Tells of the messages that came last; says which these were.
    async fn replay(
        &mut self,
        app: &App,
        recent: Vec<(Address, Entry)>,
    ) -> Result<HashSet<(Address, u64)>, End> {
        let entries = match &self.named {
            Some(named) => {
                let newest = named.newest(app, REPLAYED_MAX).await;
                let newest = newest.map_err(|_| End::Again)?.into_iter().rev();
                newest.map(|entry| (named.address.clone(), entry)).collect()
            }
            None => recent,
        };
        let skipped = entries.len().saturating_sub(REPLAYED_MAX);
        let mut known = HashSet::new();
        for (mailbox, entry) in entries.into_iter().skip(skipped) {
            let settings = app.settings.load_full();
            if !is_public(mailbox.domain(), &settings.recipients) {
                continue;
            }
            let header = arrived(app, &name_of(&mailbox, &settings), &entry);
            self.say_arrived(&header).await?;
            known.insert((mailbox, entry.sequence.0));
        }
        Ok(known)
    }

    /// Tells of something that has just happened, unless it is of another mailbox or was told before.
    async fn pass_on(
        &mut self,
        event: Told,
        known: &mut HashSet<(Address, u64)>,
    ) -> Result<(), End> {
        let is_meant = |mailbox: &Address| {
            let named = self.named.as_ref();
            named.is_none_or(|named| named.address == *mailbox)
        };
        match event {
            Told::Arrived(mailbox, id, header) if is_meant(&mailbox) => {
                if known.remove(&(mailbox, id.0)) {
                    return Ok(());
                }
                self.say_arrived(&header).await
            }
            Told::Removed(mailbox, id, event) if is_meant(&mailbox) => {
                known.remove(&(mailbox, id.0));
                match self.version {
                    Version::One => Ok(()),
                    Version::Two => self.send(Message::text(&*event)).await,
                }
            }
            Told::Arrived(..) | Told::Removed(..) | Told::Gap => Ok(()),
        }
    }

    async fn say_arrived(&mut self, header: &str) -> Result<(), End> {
        let text = match self.version {
            Version::One => header.to_owned(),
            Version::Two => stored(header),
        };
        self.send(Message::text(text)).await
    }

    async fn send(&mut self, message: Message) -> Result<(), End> {
        match timeout(WRITE_TIME, self.socket.send(message)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(End::Gone),
        }
    }
}

/// The shortest time between two signs of life.
const PING_MIN: Duration = Duration::from_millis(100);
