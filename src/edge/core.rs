//! One core, as its tasks share it: its mailboxes, its clock, its way to the other cores.

use super::alarm::{Alarm, Alarms};
use super::arranging::Wants;
use super::arrivals::Door;
use super::clients::Clients;
use super::helpers::Helpers;
use super::inbox::{CoreId, CoreShard, Cores, Request};
use super::live::Live;
use super::permits::Permits;
use super::questions::Questions;
use super::ring::{Connection, Ring};
use super::standing::Counted;
use super::tracer::Spent;
use super::windows::Windows;
use crate::clock::{Instant, Stamps, WallClock};
use crate::mail::message::QueueId;
use crate::metrics::{ClientLimit, CoreMetrics, Ended, Label as _, Progress};
use crate::policy::admission::{self, Admission, Evidence, Refusal};
use crate::policy::pressure::{self, Pin, Pressure};
use crate::store::{HashKey, Lease};
use std::cell::{Cell, RefCell};
use std::collections::HashSet;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

/// How old the calendar time in trace headers may be.
const WALL_CLOCK_AGE_MAX: Duration = Duration::from_secs(1);

/// One core, as its tasks share it.
#[derive(Debug)]
pub struct Core {
    pub(super) id: CoreId,
    pub(super) cores: Cores,
    pub(super) ring: Rc<Ring>,
    pub(super) shard: RefCell<CoreShard>,
    pub(super) live: RefCell<Rc<Live>>,
    helpers: Helpers,
    clients: Arc<Clients>,
    windows: Arc<Windows>,
    /// The level of pressure as this turn found it.
    level: Cell<Pressure>,
    /// The next of the sessions that are yet to be told that the level has risen.
    pub(super) waking: Cell<Option<u32>>,
    pub(super) clock: super::Clock,
    pub(super) now: Cell<Instant>,
    wall: Cell<(Instant, WallClock)>,
    stamps: Stamps,
    pub(super) alarms: Rc<Alarms>,
    pub(super) questions: Rc<Questions>,
    pub(super) handshakes: Rc<Permits>,
    pub(super) stage: Cell<Stage>,
    pub(super) halted: Cell<bool>,
    /// A task woke another: the loop must not sleep before it has run.
    pub(super) restless: Cell<bool>,
    queue_ids: (HashKey, Cell<u64>),
    /// What traces of sessions have cost so far.
    pub(super) spent: Spent,
}

/// Whether the process stops, and how far that is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// It does not.
    Serving,
    /// No new sessions, and those without a transaction end.
    Draining,
    /// The grace time is over: all sessions end.
    Cutting,
}

/// What a core is made of.
#[derive(Debug)]
pub struct Parts {
    /// Which core.
    pub id: CoreId,
    /// All of them.
    pub cores: Cores,
    /// Its ring, made on its thread.
    pub ring: Rc<Ring>,
    /// Its mailboxes.
    pub shard: CoreShard,
    /// Settings and certificates.
    pub live: Arc<Live>,
    /// Who does what takes too long.
    pub helpers: Helpers,
    /// Connections of each client, over all cores.
    pub clients: Arc<Clients>,
    /// What each client did in the last minute, over all cores.
    pub windows: Arc<Windows>,
    /// The process's clock.
    pub clock: super::Clock,
    /// From which the names of messages are drawn.
    pub queue_id_key: HashKey,
}

/// A connection that was let in.
#[derive(Debug)]
pub struct Arrival {
    /// The listener that it came to.
    pub door: Rc<Door>,
    /// Its client.
    pub client: IpAddr,
    /// Counts it until it is dropped.
    pub counted: Counted,
    /// How far its session has come.
    pub progress: Progress,
    purpose: Purpose,
    since: Instant,
}

/// What a connection is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// A proxy's own connection.
    HealthCheck,
    /// Mail.
    Mail,
}

impl Arrival {
    /// Somebody who was let in now.
    pub(super) fn new(
        core: &Core,
        door: Rc<Door>,
        client: IpAddr,
        counted: Counted,
        purpose: Purpose,
    ) -> Self {
        let metrics = core.metrics();
        match purpose {
            Purpose::HealthCheck => metrics.smtp_health_checks.increment(),
            Purpose::Mail => {
                metrics.smtp_connections_total.of(door.kind).increment();
                metrics.smtp_connections.increment();
            }
        }
        Self {
            door,
            client,
            counted,
            progress: Progress::Connected,
            purpose,
            since: core.now(),
        }
    }

    /// Its connection has ended like this.
    pub(super) fn ended(&self, core: &Core, how: Ended) {
        let metrics = core.metrics();
        if self.purpose == Purpose::HealthCheck {
            return;
        }
        metrics.smtp_connections.decrement();
        let ended = metrics.smtp_sessions_ended.of(how, self.progress);
        ended.increment();
        let lasted = core.now().since(self.since);
        metrics.smtp_session_duration.observe_duration(lasted);
        if core.live().log_client_addresses {
            let (client, how) = (self.client, Ended::VALUES[how.index()]);
            tracing::info!(%client, how, "a session ended");
        }
    }

    /// It was turned away before its session began.
    pub(super) fn turned_away(self, core: &Core) {
        core.metrics().smtp_connections.decrement();
    }
}

/// A connection that counts for nobody, until this is dropped.
#[derive(Debug)]
pub(super) struct Unnamed(Arc<Clients>);

impl Drop for Unnamed {
    fn drop(&mut self) {
        self.0.leave_unnamed();
    }
}

/// A place in a mailbox that goes back to its owner unless a message takes it.
#[derive(Debug)]
pub struct HeldLease {
    core: Rc<Core>,
    owner: CoreId,
    lease: Option<Lease>,
    /// What is to be done to a message before it comes here. Boxed, because for most it is nothing.
    wants: Option<Box<Wants>>,
}

impl HeldLease {
    /// The same place in a mailbox that wants something to be done first.
    pub(super) fn wanting(mut self, wants: Option<Wants>) -> Self {
        self.wants = wants.map(Box::new);
        self
    }

    /// What is to be done first.
    pub(super) fn wants(&self) -> Option<&Wants> {
        self.wants.as_deref()
    }

    /// Takes the place, to deliver to it.
    pub fn into_parts(mut self) -> (CoreId, Option<Lease>) {
        (self.owner, self.lease.take())
    }
}

impl Drop for HeldLease {
    fn drop(&mut self) {
        if let Some(lease) = self.lease.take() {
            self.core.give_back(self.owner, lease);
        }
    }
}

impl Core {
    /// A core that has not begun.
    pub fn new(parts: Parts) -> Rc<Self> {
        let now = parts.clock.now();
        Rc::new(Self {
            id: parts.id,
            cores: parts.cores,
            ring: parts.ring,
            shard: RefCell::new(parts.shard),
            handshakes: Rc::new(Permits::new(parts.live.tls.handshakes_max)),
            live: RefCell::new(Rc::new(parts.live.own())),
            helpers: parts.helpers,
            clients: parts.clients,
            windows: parts.windows,
            level: Cell::new(Pressure::Normal),
            waking: Cell::new(None),
            wall: Cell::new((now, parts.clock.wall())),
            stamps: Stamps::default(),
            clock: parts.clock,
            now: Cell::new(now),
            alarms: Rc::new(Alarms::default()),
            questions: Rc::new(Questions::default()),
            stage: Cell::new(Stage::Serving),
            halted: Cell::new(false),
            restless: Cell::new(false),
            queue_ids: (parts.queue_id_key, Cell::new(0)),
            spent: Spent::default(),
        })
    }

    /// Lets a client in, or says why not.
    pub(super) fn admit(&self, client: IpAddr) -> Result<Counted, Refusal> {
        let (live, now) = (self.live(), self.now.get());
        let in_force = live.under(self.level());
        let second = now.as_micros() / 1_000_000;
        let connections = self.clients.open() as u64;
        let key = in_force.clients.client(client).octets();
        let (mut counted, with_this) = Counted::enter(&self.clients, &key);
        let limited = !in_force.clients.is_exempt(client);
        if limited {
            let seat = self.windows.seat(&key, &in_force.clients, now);
            counted.watch(&self.windows, seat);
        }
        let evidence = Evidence {
            connections,
            new_this_second: self.clients.begun(second),
            from_client: if limited { u64::from(with_this) - 1 } else { 0 },
            client_used_up: counted.is_used_up(self, ClientLimit::Connections),
            pressure: (self.level(), self.cores.barometer().cause()),
            shutting_down: self.stage.get() != Stage::Serving,
        };
        match admission::admit(&evidence, &in_force.admission) {
            Admission::Accept => {
                self.clients.begin(second);
                counted.note(self, ClientLimit::Connections, 1);
                Ok(counted)
            }
            Admission::Refuse(refusal) => {
                if refusal == Refusal::ClientRate {
                    let hits = &self.metrics().client_limits_hit;
                    hits.of(ClientLimit::Connections).increment();
                }
                Err(refusal)
            }
        }
    }

    /// Looks at the level of pressure, and finds it anew if that is due.
    pub(super) fn feel_pressure(&self) {
        let (barometer, now) = (self.cores.barometer(), self.now.get());
        if barometer.due() <= now {
            let live = self.live();
            let in_calm = &live.under(Pressure::Normal).admission;
            let step = barometer.evaluate(now, &live.pressure, |loop_lag| pressure::Evidence {
                memory_used: self.cores.ledger().used(),
                memory_limit: self.cores.ledger().limit(),
                connections: self.clients.open() as u64,
                connections_max: in_calm.connections_max.into(),
                loop_lag,
            });
            if let Some(step) = step {
                self.metrics().pressure_steps.of(step.to).increment();
                let (from, to) = (step.from.as_str(), step.to.as_str());
                tracing::warn!(
                    from,
                    to,
                    cause = step.cause.as_str(),
                    "the pressure has changed"
                );
            }
        }
        let level = barometer.level();
        if level > self.level.replace(level) {
            self.waking.set(Some(0));
        }
    }

    /// When the level of pressure must be found anew even if nothing else happens: while it can fall by itself.
    pub(super) fn pressure_due(&self) -> Option<Instant> {
        let can_fall =
            self.level() > Pressure::Normal && self.live.borrow().pressure.pin == Pin::Auto;
        can_fall.then(|| self.cores.barometer().due())
    }

    /// What those who wait must know of at once: whether the process stops, and how much pressure there is.
    pub(super) fn state(&self) -> (Stage, Pressure) {
        (self.stage.get(), self.level.get())
    }

    /// The level of pressure as this turn found it.
    pub fn level(&self) -> Pressure {
        self.level.get()
    }

    /// Lets in a connection whose client is not known yet, or says why not.
    pub(super) fn admit_unnamed(&self) -> Result<Unnamed, Refusal> {
        let connections_max = self.live().under(self.level()).admission.connections_max as usize;
        if self.stage.get() != Stage::Serving {
            return Err(Refusal::Shutdown);
        }
        if connections_max != 0 && self.clients.open() >= connections_max {
            return Err(Refusal::Connections);
        }
        self.clients.enter_unnamed();
        Ok(Unnamed(Arc::clone(&self.clients)))
    }

    /// Puts a message into places of this core, once into each mailbox however often that was named; returns the
    /// earliest that a copy of it goes.
    pub fn deliver(&self, leases: Vec<Lease>, message: &Arc<crate::mail::Message>) -> Instant {
        let mut shard = self.shard.borrow_mut();
        let now = self.now.get();
        let several = leases.len() > 1;
        let mut reached = HashSet::new();
        let kept_until = leases
            .into_iter()
            .filter_map(|lease| {
                if several && !reached.insert(lease.mailbox) {
                    shard.release(lease, now);
                    return None;
                }
                Some(shard.deliver(lease, message, now))
            })
            .min()
            .unwrap_or(now);
        self.report(&mut shard);
        kept_until
    }

    /// Reports what the shard has noted for webhooks, if it has anything.
    pub(super) fn report(&self, shard: &mut CoreShard) {
        if shard.has_notices() {
            let lost = self.cores.report(self.id, shard.take_notices());
            self.metrics().webhook_notices_lost.add(lost);
        }
    }

    pub(super) fn give_back(&self, owner: CoreId, lease: Lease) {
        if owner == self.id {
            self.shard.borrow_mut().release(lease, self.now.get());
        } else {
            self.cores.inbox(owner).settle(Request::Release(lease));
        }
    }

    /// A place in a mailbox, held for this core's task.
    pub fn hold(self: &Rc<Self>, owner: CoreId, lease: Lease) -> HeldLease {
        HeldLease {
            core: Rc::clone(self),
            owner,
            lease: Some(lease),
            wants: None,
        }
    }

    /// An alarm for a connection of this core.
    pub fn alarm(&self, connection: &Connection) -> Alarm {
        Alarm::new(&self.alarms, connection.key())
    }

    /// A task woke another task: the loop looks again before it sleeps.
    pub fn stir(&self) {
        self.restless.set(true);
    }

    /// A name for a message.
    pub fn queue_id(&self) -> QueueId {
        let (key, counter) = &self.queue_ids;
        let number = counter.get();
        counter.set(number + 1);
        let half = |tag: u8| {
            let mut bytes = [tag; 17];
            bytes[..8].copy_from_slice(&number.to_le_bytes());
            bytes[8..16].copy_from_slice(&(self.id.0 as u64).to_le_bytes());
            u128::from(key.hash_bytes(&bytes))
        };
        QueueId::from_random(half(0) << 64 | half(1))
    }

    /// Calendar time, at most a second old.
    pub fn wall(&self) -> WallClock {
        let (read_at, wall) = self.wall.get();
        if self.now.get().since(read_at) < WALL_CLOCK_AGE_MAX {
            return wall;
        }
        let wall = self.clock.wall();
        self.wall.set((self.now.get(), wall));
        wall
    }

    /// Dates as text.
    pub const fn stamps(&self) -> &Stamps {
        &self.stamps
    }

    /// Which core this is.
    pub const fn id(&self) -> CoreId {
        self.id
    }

    /// All cores.
    pub const fn cores(&self) -> &Cores {
        &self.cores
    }

    /// The time at which this turn began.
    pub fn now(&self) -> Instant {
        self.now.get()
    }

    /// The time now, read anew.
    pub fn exact_now(&self) -> Instant {
        self.clock.now()
    }

    /// Settings and certificates in force.
    pub fn live(&self) -> Rc<Live> {
        Rc::clone(&self.live.borrow())
    }

    /// Who does what takes too long for a core.
    pub(super) const fn helpers(&self) -> &Helpers {
        &self.helpers
    }

    /// What this core counts.
    pub fn metrics(&self) -> &CoreMetrics {
        &self.cores.metrics()[self.id.0]
    }

    /// Its mailboxes.
    pub const fn shard(&self) -> &RefCell<CoreShard> {
        &self.shard
    }

    /// Questions to other cores.
    pub const fn questions(&self) -> &Rc<Questions> {
        &self.questions
    }

    /// Handshakes that may run.
    pub const fn handshakes(&self) -> &Rc<Permits> {
        &self.handshakes
    }

    /// Whether the process stops, and how far that is.
    pub fn stage(&self) -> Stage {
        self.stage.get()
    }
}
