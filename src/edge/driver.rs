//! Drives one session: the only place where the protocol meets the socket.
//!
//! The session says what to do next ([`Action`]) and the driver does it. It decides nothing about the protocol.

use super::core::{Arrival, Core, HeldLease, Stage};
use super::inbox::CoreId;
use super::link::{Filled, Link};
use super::questions::Answer;
use super::ring::Connection;
use super::standing::Counted;
use crate::clock::Instant;
use crate::mail::message::QueueId;
use crate::mail::trace::{Protection, Trace};
use crate::mail::{Body, BodyWriter, Message, Recipient, Reservation};
use crate::metrics::{ClientLimit, Ended, Handshake, Listener, TlsVersion};
use crate::policy::pressure::Pressure;
use crate::policy::recipients::{self, Decision, MustExist};
use crate::smtp::session::Profile;
use crate::smtp::{
    Action, Beginning, CloseReason, Complete, Extension, Extensions, Question, Receipt, Reply,
    Session, Verdict,
};
use crate::store::{Existence, Lease, Unavailable};
use std::borrow::Cow;
use std::future::Future;
use std::net::IpAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

/// How long a peer may take to close after us, and how many of its bytes are thrown away meanwhile.
const LINGER: Duration = Duration::from_secs(2);
const LINGER_BYTES_MAX: usize = 256 << 10;

/// Serves a connection to its end. A panic costs this connection and no other.
pub async fn guarded(core: &Rc<Core>, connection: Connection, arrival: Arrival) -> Ended {
    let mut serving = pin!(serve(core, connection, arrival));
    std::future::poll_fn(|context| {
        catch_unwind(AssertUnwindSafe(|| serving.as_mut().poll(context)))
            .unwrap_or(Poll::Ready(Ended::Panic))
    })
    .await
}

async fn serve(core: &Rc<Core>, connection: Connection, arrival: Arrival) -> Ended {
    let Arrival {
        listener,
        client,
        counted,
    } = arrival;
    let link = Link::new(core, connection);
    let mut driver = Driver {
        core,
        link,
        client,
        listener,
        counted,
        level: core.level(),
        incoming: None,
        queue_id: core.queue_id(),
        unanswered: None,
        unconfirmed: 0,
    };
    let ended = driver.run().await.unwrap_or_else(|ended| ended);
    driver.give_up_message();
    if driver.link.finish(LINGER, LINGER_BYTES_MAX).await.is_err() {
        core.metrics().messages_unconfirmed.add(driver.unconfirmed);
    }
    ended
}

struct Driver<'a> {
    core: &'a Rc<Core>,
    link: Link,
    client: IpAddr,
    listener: Listener,
    /// Counts for the client: its connection, and what it does.
    counted: Counted,
    /// The level of pressure whose limits the session has.
    level: Pressure,
    /// The message whose data has begun, as long as it is not stored.
    incoming: Option<Incoming>,
    /// The name of the message under way.
    queue_id: QueueId,
    /// When the end of a message was seen whose reply has not been handed to the kernel.
    unanswered: Option<Instant>,
    /// Messages that are stored and whose 250 the client has not shown to have got.
    unconfirmed: u64,
}

/// A message whose data has begun.
#[derive(Clone, Copy)]
struct Incoming {
    /// Bytes that were reserved for its content.
    reserved: u64,
    /// The largest that it may become: what was promised at its beginning.
    bytes_max: u64,
}

impl Driver<'_> {
    /// Runs the session; `Err` when the connection ended first.
    async fn run(&mut self) -> Result<Ended, Ended> {
        let live = self.core.live();
        if self.listener == Listener::Smtps {
            self.handshake(Arc::clone(&live.implicit_tls)).await?;
        }
        self.level = self.core.level();
        let profile = Profile {
            hostname: Arc::clone(&live.hostname),
            extensions: match live.tls.starttls {
                true => Extensions::ALL,
                false => Extensions::ALL.without(Extension::StartTls),
            },
            xclient: false,
            tls: self.listener == Listener::Smtps,
            limits: Arc::clone(&live.under(self.level).limits),
        };
        drop(live);
        let mut session: Session<HeldLease> = Session::new(profile, self.core.now());
        let mut told = false;
        loop {
            match self.core.stage() {
                Stage::Serving => {}
                Stage::Draining if told => {}
                Stage::Draining => {
                    told = true;
                    session.shut_down(self.core.metrics());
                }
                Stage::Cutting => return self.cut().await,
            }
            self.follow_pressure(&mut session);
            match session.next_action() {
                Action::Send(bytes) => self.send(bytes).await?,
                Action::Ask(question) => self.ask(&mut session, question).await,
                Action::StartTls => self.start_tls(&mut session).await?,
                Action::Pause { until } => {
                    self.link.pause(until).await;
                    session.resume(self.core.now());
                }
                Action::Wait { deadline } => self.wait(&mut session, deadline).await?,
                Action::Close(reason) => return Ok(ended(reason)),
            }
            self.link
                .feed(|input| session.receive(input, self.core.now(), self.core.metrics()));
        }
    }

    /// The session gets the limits of another level of pressure.
    fn follow_pressure(&mut self, session: &mut Session<HeldLease>) {
        let level = self.core.level();
        if self.level != level {
            self.level = level;
            session.set_limits(Arc::clone(&self.core.live().under(level).limits));
        }
    }

    async fn send(&mut self, replies: Cow<'static, [u8]>) -> Result<(), Ended> {
        self.link.send(replies).await?;
        if let Some(began) = self.unanswered.take() {
            let took = self.core.exact_now().since(began);
            self.core.metrics().data_ack.observe_duration(took);
        }
        Ok(())
    }

    /// Ends a session in the middle of its transaction (RFC 5321 section 3.8).
    async fn cut(&mut self) -> Result<Ended, Ended> {
        let farewell = self.core.live().say(Reply::ShuttingDown);
        self.core
            .metrics()
            .smtp_replies
            .of(Reply::ShuttingDown.code())
            .increment();
        self.link.send(farewell.into()).await?;
        Ok(Ended::Shutdown)
    }

    async fn wait(
        &mut self,
        session: &mut Session<HeldLease>,
        deadline: Instant,
    ) -> Result<(), Ended> {
        match self.link.fill(deadline).await? {
            // Whoever goes on has had the replies so far (a client that does not wait for them cannot be told from one that has).
            Filled::Input => self.unconfirmed = 0,
            Filled::Disturbed => {}
            // Under less pressure there is more time.
            Filled::TimedOut if self.level != self.core.level() => {}
            Filled::TimedOut => session.expire(self.core.now(), self.core.metrics()),
        }
        Ok(())
    }

    /// The session has said 220 to STARTTLS.
    async fn start_tls(&mut self, session: &mut Session<HeldLease>) -> Result<(), Ended> {
        if self.link.has_input() {
            // Nothing can have come in answer to the 220, which has not left yet: it was sent ahead.
            session.plaintext_behind_starttls(self.core.metrics());
            return Ok(());
        }
        let live = self.core.live();
        self.handshake(Arc::clone(&live.starttls)).await?;
        session.tls_established(self.core.now());
        Ok(())
    }

    async fn handshake(&mut self, config: Arc<rustls::ServerConfig>) -> Result<(), Ended> {
        if self
            .counted
            .must_refuse(self.core, ClientLimit::TlsFailures)
        {
            return Err(Ended::TlsFailed);
        }
        let began = self.core.exact_now();
        let in_force = self.core.live();
        let timeout = in_force.under(self.core.level()).handshake_timeout;
        let deadline = began.plus(timeout);
        let result = self.link.start_tls(config, deadline).await;
        let metrics = self.core.metrics();
        match result {
            Ok(agreed) => {
                let label = if agreed.resumed {
                    Handshake::Resumed
                } else {
                    Handshake::Full
                };
                metrics.tls_handshakes.of(label, agreed.version).increment();
                let took = self.core.exact_now().since(began);
                metrics.tls_handshake_duration.observe_duration(took);
                Ok(())
            }
            Err(ended) => {
                let label = match ended {
                    Ended::Timeout => Handshake::TimedOut,
                    _ => Handshake::Failed,
                };
                metrics
                    .tls_handshakes
                    .of(label, TlsVersion::None)
                    .increment();
                self.counted.note(self.core, ClientLimit::TlsFailures, 1);
                Err(ended)
            }
        }
    }

    async fn ask(&mut self, session: &mut Session<HeldLease>, question: Question<HeldLease>) {
        let core = self.core;
        let verdict = match question {
            Question::Recipient {
                recipient,
                declared_bytes,
                is_first,
            } => {
                // The answer may come from another core: the receive buffer is not kept waiting for it.
                self.link.release_buffer();
                Verdict::Recipient(self.recipient(&recipient, declared_bytes, is_first).await)
            }
            Question::Impersonate(_) => Verdict::Impersonate(Err(Reply::NotImplemented)),
            Question::Begin(beginning) => Verdict::Begin(self.begin(&beginning)),
            Question::Grow { bytes } => Verdict::Grow(self.grow(bytes)),
            Question::Message(complete) => {
                self.link.release_buffer();
                let ended = core.exact_now();
                self.unanswered.get_or_insert(ended);
                let (begun, data_begun) = (complete.begun_at, complete.data_begun_at);
                if let Some(Incoming { reserved, .. }) = self.incoming.take() {
                    let used = complete.body.len() as u64;
                    self.counted.take_back_bytes(core, reserved, used);
                }
                let receipt = store(core, complete, self.queue_id, self.link.is_tls()).await;
                // Another turn has begun only if other cores had to store it too.
                let stored = core.now().max(ended);
                let metrics = core.metrics();
                metrics
                    .data_duration
                    .observe_duration(ended.since(data_begun));
                metrics
                    .transaction_duration
                    .observe_duration(stored.since(begun));
                self.unconfirmed += 1;
                Verdict::Message(Ok(receipt))
            }
        };
        session.answer(verdict, core.now(), core.metrics());
    }

    /// Whether mail may go to a recipient; a lease on a place there if so.
    async fn recipient(
        &self,
        recipient: &Recipient,
        declared_bytes: u64,
        is_first: bool,
    ) -> Result<HeldLease, Reply> {
        let (core, counted) = (self.core, &self.counted);
        if counted.must_refuse(core, ClientLimit::FailedRecipients) {
            return Err(Reply::ClientGuesses);
        }
        if is_first {
            for (limit, reply) in [
                (ClientLimit::Messages, Reply::ClientTooManyMessages),
                (ClientLimit::Recipients, Reply::ClientTooManyRecipients),
                (ClientLimit::Bytes, Reply::ClientTooManyBytes),
                (ClientLimit::Aborted, Reply::ClientTooManyAborted),
            ] {
                if counted.must_refuse(core, limit) {
                    return Err(reply);
                }
            }
            if declared_bytes > core.live().under(core.level()).message_bytes_max {
                return Err(Reply::SizeNotNow);
            }
        }
        let answer = place(core, recipient, declared_bytes).await;
        match &answer {
            Ok(_) => counted.note(core, ClientLimit::Recipients, 1),
            Err(reply) if reply.is_permanent() => {
                counted.note(core, ClientLimit::FailedRecipients, 1);
            }
            Err(_) => {}
        }
        answer
    }

    /// The data of a message may come, if there is memory for it.
    fn begin(&mut self, beginning: &Beginning) -> Result<BodyWriter, Reply> {
        self.give_up_message();
        let core = self.core;
        let bytes_max = core.live().under(core.level()).message_bytes_max;
        if beginning.bytes > bytes_max {
            return Err(Reply::SizeNotNow);
        }
        self.queue_id = core.queue_id();
        let tls = self.link.protection();
        let body = open_body(core, self.client, tls, self.queue_id, beginning)
            .ok_or(Reply::NoMemory)?;
        let reserved = beginning.bytes;
        self.counted.note(core, ClientLimit::Messages, 1);
        self.counted.note_bytes(core, reserved);
        self.incoming = Some(Incoming {
            reserved,
            bytes_max,
        });
        Ok(body)
    }

    /// More memory for the message under way. That there is none is not the client's fault.
    fn grow(&mut self, bytes: u64) -> Result<Reservation, Reply> {
        let mut incoming = self.incoming.take().ok_or(Reply::TryLater)?;
        incoming.reserved = incoming.reserved.saturating_add(bytes);
        if incoming.reserved > incoming.bytes_max {
            return Err(Reply::SizeNotNow);
        }
        let ledger = self.core.cores().ledger();
        let reservation = ledger.reserve(bytes).ok_or(Reply::NoMemory)?;
        self.counted.note_bytes(self.core, bytes);
        self.incoming = Some(incoming);
        Ok(reservation)
    }

    /// The message whose data had begun, if there is one, will not be stored.
    fn give_up_message(&mut self) {
        if self.incoming.take().is_some() {
            self.counted.note(self.core, ClientLimit::Aborted, 1);
        }
    }
}

const fn ended(reason: CloseReason) -> Ended {
    match reason {
        CloseReason::Quit => Ended::Quit,
        CloseReason::Misbehaved => Ended::Error,
        CloseReason::TimedOut => Ended::Timeout,
        CloseReason::Shutdown => Ended::Shutdown,
    }
}

/// Finds a recipient's mailbox and keeps a place in it.
async fn place(
    core: &Rc<Core>,
    recipient: &Recipient,
    declared_bytes: u64,
) -> Result<HeldLease, Reply> {
    let decision = recipients::decide(recipient, &core.live().recipients);
    let (mailbox, existence) = match decision {
        Decision::RelayDenied => return Err(Reply::RelayDenied),
        Decision::Mailbox {
            address,
            must_exist: MustExist::Yes,
        } => (address, Existence::Required),
        Decision::Mailbox {
            address,
            must_exist: MustExist::No,
        } => (address, Existence::Implied),
    };
    let owner = core.cores().owner_of_address(&mailbox);
    let answer = if owner == core.id() {
        core.shard()
            .borrow_mut()
            .lease(&mailbox, existence, declared_bytes, core.now())
    } else {
        let question = core.questions().open();
        let request = super::inbox::Request::Lease {
            from: core.id(),
            ticket: question.ticket(),
            mailbox,
            existence,
            declared_bytes,
        };
        if core.cores().inbox(owner).ask(request).is_err() {
            core.metrics().inbox_full.increment();
            return Err(Reply::TryLater);
        }
        match question.answered().await {
            Answer::Leased(answer) => answer,
            Answer::Delivered(_) => return Err(Reply::TryLater),
        }
    };
    answer
        .map(|lease| core.hold(owner, lease))
        .map_err(|why| match why {
            Unavailable::NoSuchMailbox => Reply::NoSuchMailbox,
            Unavailable::MailboxFull => Reply::MailboxFull,
            Unavailable::NoMemory => Reply::NoMemory,
        })
}

/// Reserves memory for a message and writes its trace headers.
fn open_body(
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

/// Stores a message for all its recipients: when this returns every owner has it.
async fn store(
    core: &Rc<Core>,
    complete: Complete<HeldLease>,
    queue_id: QueueId,
    tls: bool,
) -> Receipt {
    let Complete {
        reverse_path,
        leases,
        body,
        ..
    } = complete;
    let message = Arc::new(Message {
        queue_id,
        reverse_path,
        body,
        received_at: core.now(),
        tls,
    });
    let mut by_owner: Vec<(CoreId, Vec<Lease>)> = Vec::new();
    for (owner, lease) in leases.into_iter().map(HeldLease::into_parts) {
        let Some(lease) = lease else { continue };
        match by_owner.iter_mut().find(|(other, _)| *other == owner) {
            Some((_, leases)) => leases.push(lease),
            None => by_owner.push((owner, vec![lease])),
        }
    }
    let mut kept_until: Option<Instant> = None;
    let mut open = Vec::new();
    for (owner, leases) in by_owner {
        if owner == core.id() {
            let until = core.deliver(leases, &message);
            kept_until = Some(kept_until.map_or(until, |earlier| earlier.min(until)));
            continue;
        }
        let question = core.questions().open();
        core.cores()
            .inbox(owner)
            .settle(super::inbox::Request::Deliver {
                from: core.id(),
                ticket: question.ticket(),
                leases,
                message: Arc::clone(&message),
            });
        open.push(question);
    }
    for question in open {
        if let Answer::Delivered(until) = question.answered().await {
            kept_until = Some(kept_until.map_or(until, |earlier| earlier.min(until)));
        }
    }
    count(core, &message.body);
    Receipt {
        kept_until: core
            .stamps()
            .rfc3339(core.wall(), kept_until.unwrap_or_else(|| core.now())),
        queue_id,
    }
}

fn count(core: &Core, body: &Body) {
    let metrics = core.metrics();
    metrics.messages_accepted.increment();
    metrics.message_bytes.add(body.len() as u64);
    metrics.message_size.observe(body.len() as u64);
}
