//! Drives one session: the only place where the protocol meets the socket.
//!
//! The session says what to do next ([`Action`]) and the driver does it. It decides nothing about the protocol.

use super::core::{Arrival, Core, HeldLease, Stage};
use super::inbox::CoreId;
use super::link::{Filled, Link};
use super::live::Live;
use super::questions::Answer;
use super::ring::Connection;
use crate::clock::Instant;
use crate::mail::message::QueueId;
use crate::mail::trace::Trace;
use crate::mail::{Body, BodyWriter, Message, Recipient};
use crate::metrics::{Ended, Handshake, Listener, TlsVersion};
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
        counted: _counted,
    } = arrival;
    let link = Link::new(core, connection);
    let mut driver = Driver {
        core,
        link,
        client,
        listener,
        queue_id: core.queue_id(),
        unanswered: None,
        unconfirmed: 0,
    };
    let ended = driver.run().await.unwrap_or_else(|ended| ended);
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
    /// The name of the message under way.
    queue_id: QueueId,
    /// When the end of a message was seen whose reply has not been handed to the kernel.
    unanswered: Option<Instant>,
    /// Messages that are stored and whose 250 the client has not shown to have got.
    unconfirmed: u64,
}

impl Driver<'_> {
    /// Runs the session; `Err` when the connection ended first.
    async fn run(&mut self) -> Result<Ended, Ended> {
        let live = self.core.live();
        if self.listener == Listener::Smtps {
            self.handshake(&live, Arc::clone(&live.implicit_tls))
                .await?;
        }
        let profile = Profile {
            hostname: Arc::clone(&live.hostname),
            extensions: match live.tls.starttls {
                true => Extensions::ALL,
                false => Extensions::ALL.without(Extension::StartTls),
            },
            xclient: false,
            tls: self.listener == Listener::Smtps,
            limits: Arc::clone(&live.limits),
            message_bytes_max_normally: live.limits.message_bytes_max,
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
        self.handshake(&live, Arc::clone(&live.starttls)).await?;
        session.tls_established(self.core.now());
        Ok(())
    }

    async fn handshake(
        &mut self,
        live: &Live,
        config: Arc<rustls::ServerConfig>,
    ) -> Result<(), Ended> {
        let began = self.core.exact_now();
        let deadline = began.plus(live.tls.handshake_timeout.0);
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
                is_first: _,
            } => {
                // The answer may come from another core: the receive buffer is not kept waiting for it.
                self.link.release_buffer();
                Verdict::Recipient(place(core, &recipient, declared_bytes).await)
            }
            Question::Impersonate(_) => Verdict::Impersonate(Err(Reply::NotImplemented)),
            Question::Begin(beginning) => {
                self.queue_id = core.queue_id();
                Verdict::Begin(
                    open_body(core, self.client, self.queue_id, &beginning).ok_or(Reply::NoMemory),
                )
            }
            Question::Grow { bytes } => {
                Verdict::Grow(core.cores().ledger().reserve(bytes).ok_or(Reply::NoMemory))
            }
            Question::Message(complete) => {
                self.link.release_buffer();
                let ended = core.exact_now();
                self.unanswered.get_or_insert(ended);
                let (begun, data_begun) = (complete.begun_at, complete.data_begun_at);
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
        require_tls,
        ..
    } = complete;
    let message = Arc::new(Message {
        queue_id,
        reverse_path,
        body,
        received_at: core.now(),
        tls,
        require_tls,
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
