//! How the questions of a session are answered that concern mailboxes and memory.
//!
//! What this core knows is answered at once. What other cores know is asked here, and awaited by the driver, in a box: so a
//! task has no room set aside for a question while there is none.

use super::arranging::{Arranging, Envelope, Wants};
use super::core::{Core, HeldLease};
use super::inbox::{CoreId, Request};
use super::questions::{Answer, Question};
use crate::clock::Instant;
use crate::mail::message::QueueId;
use crate::mail::trace::{Protection, Trace};
use crate::mail::{Body, BodyWriter, Message, Recipient};
use crate::policy::attachments::Policy;
use crate::policy::recipients::{self, Decision, MustExist};
use crate::policy::self_authenticating::{self, SelfAuthenticating};
use crate::smtp::{Beginning, Leases, Receipt, Reply};
use crate::store::{Existence, Lease, Unavailable};
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

/// What others have been asked. Boxed, because every task has room for one.
pub(super) enum Later {
    /// Another core must keep a place.
    Placed(Box<Placing>),
    /// A helper must do something to a message first.
    Arranged(Box<Arranging>),
    /// Some cores must store a message.
    Stored(Box<Storing>),
}

/// What came of it.
pub(super) enum Answered {
    /// A place in a mailbox, or why there is none.
    Placed(Result<HeldLease, Reply>),
    /// Every owner has the message, or nobody.
    Stored(Result<Receipt, Reply>),
}

/// A place that another core was asked for.
pub(super) struct Placing {
    owner: CoreId,
    question: Question,
    /// What is done with attachments in the domain of the mailbox.
    attachments: Option<Arc<Policy>>,
}

impl Later {
    /// Whether all have answered.
    pub(super) fn poll(&mut self, core: &Rc<Core>, context: &Context<'_>) -> Poll<Answered> {
        loop {
            match self {
                Self::Placed(placing) => {
                    let answer = ready!(placing.question.poll_answer(context));
                    return Poll::Ready(Answered::Placed(placing.placed(core, answer)));
                }
                Self::Arranged(arranging) => match ready!(arranging.poll_stored(core, context)) {
                    Ok(storing) => *self = Self::Stored(Box::new(storing)),
                    Err(reply) => return Poll::Ready(Answered::Stored(Err(reply))),
                },
                Self::Stored(storing) => {
                    ready!(storing.poll_heard(context));
                    return Poll::Ready(Answered::Stored(Ok(storing.receipt(core))));
                }
            }
        }
    }
}

/// Finds a recipient's mailbox and keeps a place in it.
///
/// # Errors
/// Another core owns the mailbox.
pub(super) fn place(
    core: &Rc<Core>,
    recipient: &Recipient,
    declared_bytes: u64,
) -> Result<Result<HeldLease, Reply>, Later> {
    let live = core.live();
    let rules = &live.recipients;
    let (mailbox, existence) = match recipients::decide(recipient, rules) {
        Decision::RelayDenied => return Ok(Err(Reply::RelayDenied)),
        Decision::Mailbox {
            address,
            must_exist,
        } => (address, existence(must_exist)),
    };
    // What is everybody's is not given away, so it has nothing to prove.
    if rules.self_authenticating != SelfAuthenticating::Off && existence != Existence::Public {
        let keys = &live.address_keys;
        let unix_secs = core.wall().unix_secs(core.now());
        if !self_authenticating::may_receive(&mailbox, rules, keys, unix_secs) {
            // Not even its owner is asked: a guess costs nobody else anything.
            return Ok(Err(Reply::NoSuchMailbox));
        }
    }
    let attachments = live.attachments.of(mailbox.domain()).cloned();
    let owner = core.cores().owner_of_address(&mailbox);
    if owner == core.id() {
        let mut shard = core.shard().borrow_mut();
        let answer = shard.lease(&mailbox, existence, declared_bytes, core.now());
        return Ok(held(core, owner, answer, attachments));
    }
    let question = core.questions().open();
    let request = Request::Lease {
        from: core.id(),
        ticket: question.ticket(),
        mailbox,
        existence,
        declared_bytes,
    };
    if core.cores().inbox(owner).ask(request).is_err() {
        return Ok(Err(Reply::TryLater));
    }
    Err(Later::Placed(Box::new(Placing {
        owner,
        question,
        attachments,
    })))
}

const fn existence(must_exist: MustExist) -> Existence {
    match must_exist {
        MustExist::No => Existence::Implied,
        MustExist::Operators => Existence::Operators,
        MustExist::Public => Existence::Public,
        MustExist::Yes => Existence::Required,
    }
}

impl Placing {
    /// What the owner of the mailbox has answered.
    fn placed(&mut self, core: &Rc<Core>, answer: Answer) -> Result<HeldLease, Reply> {
        match answer {
            Answer::Leased(answer) => held(core, self.owner, answer, self.attachments.take()),
            Answer::Arranged(_) | Answer::Delivered(_) => Err(Reply::TryLater),
        }
    }
}

fn held(
    core: &Rc<Core>,
    owner: CoreId,
    answer: Result<Lease, Unavailable>,
    attachments: Option<Arc<Policy>>,
) -> Result<HeldLease, Reply> {
    match answer {
        Ok(lease) => {
            let wants = Wants::of(attachments, lease.encryption_key());
            Ok(core.hold(owner, lease).wanting(wants))
        }
        Err(Unavailable::NoSuchMailbox) => Err(Reply::NoSuchMailbox),
        Err(Unavailable::MailboxFull) => Err(Reply::MailboxFull),
        Err(Unavailable::NoMemory) => Err(Reply::NoMemory),
        Err(Unavailable::UsedUp) => Err(Reply::MailboxUsedUp),
    }
}

/// Reserves memory for a message and writes its trace headers.
pub(super) fn open_body(
    core: &Core,
    client: IpAddr,
    tls: Option<Protection>,
    queue_id: QueueId,
    beginning: &Beginning,
) -> Option<BodyWriter> {
    let live = core.live();
    let headers = Trace {
        reverse_path: &beginning.reverse_path,
        helo: &beginning.helo,
        client,
        hostname: &live.hostname,
        with: beginning.protocol.into(),
        tls,
        queue_id,
        only_recipient: beginning.only_recipient.as_ref(),
        date: &core.stamps().rfc5322(core.wall(), core.now()),
    }
    .headers();
    let bytes = beginning.bytes.saturating_add(headers.len() as u64);
    let reservation = core.cores().ledger().reserve(bytes)?;
    Some(BodyWriter::beginning_with(headers, reservation))
}

/// A message on its way into its mailboxes.
pub(super) struct Storing {
    queue_id: QueueId,
    /// Its bytes: of its largest form, if it has several.
    bytes: u64,
    /// The earliest that a copy of it goes, of those stored so far.
    kept_until: Option<Instant>,
    /// To the owners that have not answered.
    open: Vec<Question>,
    begun_at: Instant,
    data_begun_at: Instant,
    ended_at: Instant,
}

/// Stores a message whose end was seen at `ended_at` for all its recipients, as far as this core owns their mailboxes, and
/// asks the other owners.
pub(super) fn store(
    core: &Rc<Core>,
    leases: Leases<HeldLease>,
    body: Body,
    envelope: Envelope,
) -> Storing {
    let mut storing = Storing::new(&envelope);
    let message = envelope.into_message(core, body);
    storing.deliver(core, &message, leases);
    storing
}

impl Storing {
    /// A message of which nobody has anything yet.
    pub(super) const fn new(envelope: &Envelope) -> Self {
        Self {
            queue_id: envelope.queue_id,
            bytes: 0,
            kept_until: None,
            open: Vec::new(),
            begun_at: envelope.begun_at,
            data_begun_at: envelope.data_begun_at,
            ended_at: envelope.ended_at,
        }
    }

    /// Stores it in this form in these places, or asks their owners to.
    pub(super) fn deliver(
        &mut self,
        core: &Rc<Core>,
        message: &Arc<Message>,
        leases: impl IntoIterator<Item = HeldLease>,
    ) {
        self.bytes = self.bytes.max(message.body.len() as u64);
        let mut by_owner: Vec<(CoreId, Vec<Lease>)> = Vec::new();
        for (owner, lease) in leases.into_iter().map(HeldLease::into_parts) {
            let Some(lease) = lease else { continue };
            match by_owner.iter_mut().find(|(other, _)| *other == owner) {
                Some((_, leases)) => leases.push(lease),
                None => by_owner.push((owner, vec![lease])),
            }
        }
        for (owner, leases) in by_owner {
            if owner == core.id() {
                let until = core.deliver(leases, message);
                self.keep(until);
                continue;
            }
            let question = core.questions().open();
            let delivery = Request::Deliver {
                from: core.id(),
                ticket: question.ticket(),
                leases,
                message: Arc::clone(message),
            };
            core.cores().inbox(owner).settle(delivery);
            self.open.push(question);
        }
    }

    /// Whether every owner has it.
    pub(super) const fn is_done(&self) -> bool {
        self.open.is_empty()
    }

    /// Whether every owner has answered that it has it.
    fn poll_heard(&mut self, context: &Context<'_>) -> Poll<()> {
        while let Some(question) = self.open.last() {
            let answer = ready!(question.poll_answer(context));
            self.open.pop();
            if let Answer::Delivered(until) = answer {
                self.keep(until);
            }
        }
        Poll::Ready(())
    }

    fn keep(&mut self, until: Instant) {
        self.kept_until = Some(self.kept_until.map_or(until, |earlier| earlier.min(until)));
    }

    /// Counts it; says what the sender is told.
    pub(super) fn receipt(&self, core: &Core) -> Receipt {
        count(core, self.bytes);
        // Another turn has begun only if other cores had to store it too.
        let stored_at = core.now().max(self.ended_at);
        let metrics = core.metrics();
        metrics
            .data_duration
            .observe_duration(self.ended_at.since(self.data_begun_at));
        metrics
            .transaction_duration
            .observe_duration(stored_at.since(self.begun_at));
        let kept_until = self.kept_until.unwrap_or_else(|| core.now());
        Receipt {
            kept_until: core.stamps().rfc3339(core.wall(), kept_until),
            queue_id: self.queue_id,
        }
    }
}

fn count(core: &Core, bytes: u64) {
    let metrics = core.metrics();
    metrics.messages_accepted.increment();
    metrics.message_bytes.add(bytes);
    metrics.message_size.observe(bytes);
}
