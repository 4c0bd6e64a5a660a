//! Where the two planes and the cores meet: each core has an inbox.
//!
//! A request is *asked* or *settled*. Asking may be refused: when `inbox_max` requests wait, the
//! answer is [`Busy`]. Settling (an answer to a question, the delivery to a leased place, the
//! return of a lease) is never refused; what is settled is bounded by what was asked before.
//!
//! A core that sleeps does so in its own ring, so it is woken by an eventfd that the ring reads.

use super::arranging::Arranged;
use super::live::Live;
use super::pressure::Barometer;
use crate::clock::{Instant, WallClock};
use crate::mail::{Address, Ledger, Message};
use crate::metrics::CoreMetrics;
use crate::smtp::Reply;
use crate::store::{
    Event, Existence, HashKey, Lease, Notice as HookNotice, Shard, TokenHash, Unavailable, Watcher,
};
use crossbeam_queue::SegQueue;
use rustix::event::{EventfdFlags, eventfd};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use std::fmt;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering, fence};
use std::sync::{Arc, OnceLock};
use tokio::sync::{mpsc, oneshot};

/// A core's mailboxes, watched through bounded channels of the control plane.
pub type CoreShard = Shard<mpsc::Sender<Event>>;

impl Watcher for mpsc::Sender<Event> {
    fn notify(&self, event: &Event) -> bool {
        self.try_send(event.clone()).is_ok()
    }

    fn is_gone(&self) -> bool {
        self.is_closed()
    }
}

/// Which core, counted from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CoreId(pub usize);

/// The core that was asked has too much to do: try again later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Busy;

/// A task that waits on its core for an answer from another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Ticket(pub u64);

/// Something to be done on a core's shard.
type Work = Box<dyn FnOnce(&mut CoreShard, Instant) + Send>;

/// What can be put into an inbox.
pub enum Request {
    /// Asked by a core: a place in a mailbox for one message.
    Lease {
        /// Who asks.
        from: CoreId,
        /// Where the answer goes.
        ticket: Ticket,
        /// The mailbox.
        mailbox: Address,
        /// Whether it must exist.
        existence: Existence,
        /// The size declared for the message.
        declared_bytes: u64,
    },
    /// Settles [`Request::Lease`].
    Leased {
        /// Who answers, and takes the lease back.
        owner: CoreId,
        /// Whose question.
        ticket: Ticket,
        /// The answer.
        answer: Result<Lease, Unavailable>,
    },
    /// Settles a lease: here is the message.
    Deliver {
        /// Who asks.
        from: CoreId,
        /// Where the acknowledgement goes.
        ticket: Ticket,
        /// The places, all of this core.
        leases: Vec<Lease>,
        /// The message.
        message: Arc<Message>,
    },
    /// Settles [`Request::Deliver`]: it is stored and visible.
    Delivered {
        /// Whose message.
        ticket: Ticket,
        /// The earliest that any of its copies goes.
        kept_until: Instant,
    },
    /// From a helper: what came of a message. It was bounded by what helpers let wait.
    Arranged {
        /// Whose message.
        ticket: Ticket,
        /// What came of it, or how it is refused.
        arranged: Result<Arranged, Reply>,
    },
    /// Settles a lease: no message will come.
    Release(Lease),
    /// Asked by the control plane: run this on the shard.
    Call(Work),
    /// From the control plane: what all cores must know.
    Notice(Notice),
}

/// What the control plane tells every core.
#[derive(Clone, Debug)]
pub enum Notice {
    /// The settings or certificates changed.
    Reload(Arc<Live>),
    /// Stop accepting; end idle sessions; let transactions finish.
    Drain,
    /// The grace time is over: end the sessions that are left.
    Cut,
    /// End now.
    Halt,
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Arranged { .. } => "Arranged",
            Self::Lease { .. } => "Lease",
            Self::Leased { .. } => "Leased",
            Self::Deliver { .. } => "Deliver",
            Self::Delivered { .. } => "Delivered",
            Self::Release(_) => "Release",
            Self::Call(_) => "Call",
            Self::Notice(_) => "Notice",
        })
    }
}

/// One core's inbox.
#[derive(Debug)]
pub struct Inbox {
    queue: SegQueue<Request>,
    /// Requests in the queue that were asked, not settled.
    asked: AtomicUsize,
    asked_max: usize,
    /// Questions that found the inbox full, whoever asked.
    refused: AtomicU64,
    /// Whether the core is awake, or has been rung.
    rung: AtomicBool,
    bell: OwnedFd,
}

impl Inbox {
    /// An empty inbox in which `asked_max` questions may wait.
    ///
    /// # Errors
    /// When no eventfd can be made.
    pub fn new(asked_max: usize) -> io::Result<Self> {
        Ok(Self {
            queue: SegQueue::new(),
            asked: AtomicUsize::new(0),
            asked_max,
            refused: AtomicU64::new(0),
            rung: AtomicBool::new(false),
            bell: eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?,
        })
    }

    /// Puts a question in.
    ///
    /// # Errors
    /// [`Busy`] when the inbox is full.
    pub fn ask(&self, request: Request) -> Result<(), Busy> {
        self.asked
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |asked| {
                (asked < self.asked_max).then_some(asked + 1)
            })
            .map_err(|_| {
                self.refused.fetch_add(1, Ordering::Relaxed);
                Busy
            })?;
        self.settle(request);
        Ok(())
    }

    /// Puts something in that was bounded before.
    pub fn settle(&self, request: Request) {
        self.queue.push(request);
        fence(Ordering::SeqCst);
        if !self.rung.swap(true, Ordering::AcqRel) {
            // The write can fail only when the counter would overflow, and then the bell rings anyway.
            let _ = rustix::io::write(&self.bell, &1_u64.to_ne_bytes());
        }
    }

    /// The core is about to sleep: from here on a new request rings. Whoever calls this must look once more
    /// whether the inbox is empty before it sleeps, since what came before did not ring.
    pub fn listen(&self) {
        self.rung.store(false, Ordering::SeqCst);
        fence(Ordering::SeqCst);
    }

    /// The core is awake and will look: nobody needs to ring.
    pub fn hush(&self) {
        self.rung.store(true, Ordering::Relaxed);
    }

    /// The next request.
    pub fn take(&self) -> Option<Request> {
        let request = self.queue.pop()?;
        if matches!(request, Request::Lease { .. } | Request::Call(_)) {
            self.asked.fetch_sub(1, Ordering::Relaxed);
        }
        Some(request)
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// How many requests wait.
    pub fn waiting(&self) -> usize {
        self.queue.len()
    }

    /// How many questions found it full so far.
    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    /// The eventfd that rings when something is put in.
    pub fn bell(&self) -> BorrowedFd<'_> {
        self.bell.as_fd()
    }
}

/// All cores, as others see them. Clones are cheap.
#[derive(Clone, Debug)]
pub struct Cores {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    inboxes: Box<[Inbox]>,
    metrics: Box<[CoreMetrics]>,
    /// The kernel's numbers of the cores' threads; zero before they have begun.
    threads: Box<[AtomicU32]>,
    key: HashKey,
    ledger: Ledger,
    barometer: Barometer,
    clock: super::Clock,
    callers: OnceLock<mpsc::Sender<Reported>>,
}

/// What a core's shard has noted for webhooks.
pub type Reported = (CoreId, HookNotice);

impl Cores {
    /// `count` cores with empty inboxes.
    ///
    /// # Errors
    /// When no eventfd can be made.
    pub fn new(
        count: usize,
        inbox_max: usize,
        key: HashKey,
        ledger: Ledger,
        clock: super::Clock,
    ) -> io::Result<Self> {
        let inboxes = (0..count)
            .map(|_| Inbox::new(inbox_max))
            .collect::<io::Result<_>>()?;
        Ok(Self {
            shared: Arc::new(Shared {
                inboxes,
                metrics: (0..count).map(|_| CoreMetrics::default()).collect(),
                threads: (0..count).map(|_| AtomicU32::new(0)).collect(),
                key,
                ledger,
                barometer: Barometer::new(count),
                clock,
                callers: OnceLock::new(),
            }),
        })
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.shared.inboxes.len()
    }

    /// The inbox of a core.
    #[must_use]
    pub fn inbox(&self, core: CoreId) -> &Inbox {
        &self.shared.inboxes[core.0]
    }

    /// What each core has counted.
    #[must_use]
    pub fn metrics(&self) -> &[CoreMetrics] {
        &self.shared.metrics
    }

    /// Notes which thread a core is. It calls this itself, once.
    pub fn note_thread(&self, core: CoreId, thread: u32) {
        self.shared.threads[core.0].store(thread, Ordering::Relaxed);
    }

    /// The kernel's number of a core's thread, once it has begun.
    #[must_use]
    pub fn thread(&self, core: CoreId) -> Option<u32> {
        Some(self.shared.threads[core.0].load(Ordering::Relaxed)).filter(|thread| *thread > 0)
    }

    /// The byte budget.
    #[must_use]
    pub fn ledger(&self) -> &Ledger {
        &self.shared.ledger
    }

    /// The level of pressure.
    #[must_use]
    pub fn barometer(&self) -> &Barometer {
        &self.shared.barometer
    }

    /// The time now.
    #[must_use]
    pub fn now(&self) -> Instant {
        self.shared.clock.now()
    }

    /// Calendar time.
    #[must_use]
    pub fn wall(&self) -> WallClock {
        self.shared.clock.wall()
    }

    /// Says where cores report what their shards note for webhooks. The first who says so is whom they report to.
    pub fn report_to(&self, callers: mpsc::Sender<Reported>) {
        let _ = self.shared.callers.set(callers);
    }

    /// Reports what a shard has noted; says how much nobody took.
    pub fn report(&self, core: CoreId, notices: Vec<HookNotice>) -> u64 {
        let callers = self.shared.callers.get();
        let mut lost = 0;
        for notice in notices {
            let taken = callers.is_some_and(|it| it.try_send((core, notice)).is_ok());
            lost += u64::from(!taken);
        }
        lost
    }

    /// The core that owns this address.
    #[must_use]
    pub fn owner_of_address(&self, address: &Address) -> CoreId {
        CoreId(self.shared.key.owner_of_address(address, self.count()))
    }

    /// The core that owns this token and its mailbox.
    #[must_use]
    pub fn owner_of_token(&self, token: &TokenHash) -> CoreId {
        CoreId(self.shared.key.owner_of_token(token, self.count()))
    }

    /// Runs `work` on a core's shard and waits for its result.
    ///
    /// # Errors
    /// [`Busy`] when the core's inbox is full, or the core is gone.
    pub async fn call<T: Send + 'static>(
        &self,
        core: CoreId,
        work: impl FnOnce(&mut CoreShard, Instant) -> T + Send + 'static,
    ) -> Result<T, Busy> {
        let (answer, answered) = oneshot::channel();
        self.inbox(core)
            .ask(Request::Call(Box::new(move |shard, now| {
                // The caller may have gone away; then nobody needs the result.
                let _ = answer.send(work(shard, now));
            })))?;
        answered.await.map_err(|_| Busy)
    }

    /// Tells every core.
    pub fn tell_all(&self, notice: &Notice) {
        for inbox in &self.shared.inboxes {
            inbox.settle(Request::Notice(notice.clone()));
        }
    }
}
