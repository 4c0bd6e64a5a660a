//! Drives one session: the only place where the protocol meets the socket.
//!
//! The session says what to do next ([`Action`]) and the driver does it. It decides nothing about the protocol.

use super::arrivals::answer;
use super::core::{Arrival, Core, HeldLease, Stage};
use super::inbox::CoreId;
use super::link::{Filled, Link};
use super::questions::Answer;
use crate::clock::Instant;
use crate::mail::message::QueueId;
use crate::mail::trace::{Protection, Trace};
use crate::mail::{Body, BodyWriter, Message, Recipient, Reservation};
use crate::metrics::{ClientLimit, Ended, Handshake, Listener, TlsVersion};
use crate::policy::pressure::Pressure;
use crate::policy::recipients::{self, Decision, MustExist};
use crate::smtp::session::Profile;
use crate::smtp::{
    Action, Beginning, CloseReason, Complete, Extension, Impersonation, Question, Receipt, Reply,
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
pub(super) async fn guarded(core: &Rc<Core>, link: Link, mut arrival: Arrival) {
    let ended = caught(serve(core, link, &mut arrival)).await;
    arrival.ended(core, ended.unwrap_or(Ended::Panic));
}

/// Runs what belongs to one connection; `None` if it panicked.
pub(super) async fn caught<T>(running: impl Future<Output = T>) -> Option<T> {
    let mut running = pin!(running);
    std::future::poll_fn(|context| {
        catch_unwind(AssertUnwindSafe(|| running.as_mut().poll(context)))
            .map_or(Poll::Ready(None), |poll| poll.map(Some))
    })
    .await
}

/// Ends a connection that gets no session with a last line.
pub(super) async fn part(mut link: Link, line: Vec<u8>) {
    if link.send(line.into()).await.is_ok() {
        let _ = link.finish(LINGER, LINGER_BYTES_MAX).await;
    }
}

async fn serve(core: &Rc<Core>, link: Link, arrival: &mut Arrival) -> Ended {
    let mut driver = Driver {
        core,
        link,
        arrival,
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
    /// Whose connection it is, and by which is counted what the client does.
    arrival: &'a mut Arrival,
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
}

impl Driver<'_> {
    /// Runs the session; `Err` when the connection ended first.
    async fn run(&mut self) -> Result<Ended, Ended> {
        let live = self.core.live();
        let door = Rc::clone(&self.arrival.door);
        let implicit_tls = door.kind == Listener::Smtps;
        if implicit_tls {
            self.handshake(live.tls_of(door.number)).await?;
        }
        self.level = self.core.level();
        let profile = Profile {
            hostname: Arc::clone(&live.hostname),
            extensions: match live.tls.starttls {
                true => door.extensions,
                false => door.extensions.without(Extension::StartTls),
            },
            xclient: door.trusts_to_impersonate(self.arrival.client),
            tls: implicit_tls,
            limits: Arc::clone(&live.under(self.level).limits),
            message_bytes_max_normally: live.under(Pressure::Normal).limits.message_bytes_max,
        };
        drop((live, door));
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
        let context = live.tls_of(self.arrival.door.number);
        self.handshake(context).await?;
        session.tls_established(self.core.now());
        Ok(())
    }

    async fn handshake(&mut self, config: Arc<rustls::ServerConfig>) -> Result<(), Ended> {
        if self
            .arrival
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
                self.arrival
                    .counted
                    .note(self.core, ClientLimit::TlsFailures, 1);
                Err(ended)
            }
        }
    }

    /// From now on the connection is, and counts as, one of the client that its trusted peer names.
    fn impersonate(&mut self, whom: &Impersonation) -> Result<(), Reply> {
        let Some(address) = whom.address else {
            return Ok(());
        };
        let client = address.to_canonical();
        let counted = self.core.admit(client).map_err(|why| answer(why).1)?;
        // Only now does it cease to count for whom it was before.
        (self.arrival.client, self.arrival.counted) = (client, counted);
        Ok(())
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
            Question::Impersonate(whom) => Verdict::Impersonate(self.impersonate(&whom)),
            Question::Begin(beginning) => Verdict::Begin(self.begin(&beginning)),
            Question::Grow { bytes } => Verdict::Grow(self.grow(bytes)),
            Question::Message(complete) => {
                self.link.release_buffer();
                let ended = core.exact_now();
                self.unanswered.get_or_insert(ended);
                let (begun, data_begun) = (complete.begun_at, complete.data_begun_at);
                if let Some(Incoming { reserved }) = self.incoming.take() {
                    let used = complete.body.len() as u64;
                    self.arrival.counted.take_back_bytes(core, reserved, used);
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
        let (core, counted) = (self.core, &self.arrival.counted);
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
        // The pressure may have risen since MAIL.
        let limits = Arc::clone(&core.live().under(core.level()).limits);
        if beginning.bytes > limits.message_bytes_max.0 {
            return Err(Reply::SizeNotNow);
        }
        self.queue_id = core.queue_id();
        let tls = self.link.protection();
        let body = open_body(core, self.arrival.client, tls, self.queue_id, beginning)
            .ok_or(Reply::NoMemory)?;
        let reserved = beginning.bytes;
        self.arrival.counted.note(core, ClientLimit::Messages, 1);
        self.arrival.counted.note_bytes(core, reserved);
        self.incoming = Some(Incoming { reserved });
        Ok(body)
    }

    /// More memory for the message under way. That there is none is not the client's fault.
    fn grow(&mut self, bytes: u64) -> Result<Reservation, Reply> {
        let mut incoming = self.incoming.take().ok_or(Reply::TryLater)?;
        incoming.reserved = incoming.reserved.saturating_add(bytes);
        let ledger = self.core.cores().ledger();
        let reservation = ledger.reserve(bytes).ok_or(Reply::NoMemory)?;
        self.arrival.counted.note_bytes(self.core, bytes);
        self.incoming = Some(incoming);
        Ok(reservation)
    }

    /// The message whose data had begun, if there is one, will not be stored.
    fn give_up_message(&mut self) {
        if self.incoming.take().is_some() {
            self.arrival
                .counted
                .note(self.core, ClientLimit::Aborted, 1);
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use crate::edge::arrivals::Door;
    use crate::edge::core::Purpose;
    use crate::edge::link::tests::{core, pair};
    use crate::edge::standing::Counted;

    #[test]
    fn who_speaks_for_another_client_counts_as_that_one() {
        let core = core();
        let in_force = core.live();
        let admission = &in_force.under(Pressure::Normal).admission;
        let max = admission.connections_per_client_max as usize;
        let [proxy, client, busy] =
            ["127.0.0.1", "192.0.2.7", "192.0.2.8"].map(|text| text.parse().expect("an address"));
        let enter = |client: IpAddr, times: usize| {
            let counted = (0..times).map(|_| core.admit(client).ok());
            counted.collect::<Option<Vec<Counted>>>()
        };
        let _crowd = enter(busy, max).expect("there is room");
        let door = Rc::new(Door::all(&Config::default().listen).swap_remove(0));
        let counted = core.admit(proxy).expect("there is room");
        let mut arrival = Arrival::new(&core, door, proxy, counted, Purpose::Mail);
        let (link, _peer) = pair(&core);
        let mut driver = Driver {
            core: &core,
            link,
            arrival: &mut arrival,
            level: core.level(),
            incoming: None,
            queue_id: core.queue_id(),
            unanswered: None,
            unconfirmed: 0,
        };
        let impersonate = |driver: &mut Driver<'_>, address: Option<&str>| {
            let address = address.map(|text| text.parse().expect("an address"));
            let result = driver.impersonate(&Impersonation { address });
            (result, driver.arrival.client)
        };
        assert_eq!(impersonate(&mut driver, None), (Ok(()), proxy));
        assert_eq!(
            impersonate(&mut driver, Some("192.0.2.8")),
            (Err(Reply::TooManyConnections), proxy)
        );
        assert_eq!(
            impersonate(&mut driver, Some("::ffff:192.0.2.7")),
            (Ok(()), client)
        );
        assert!(enter(proxy, max).is_some(), "it no longer counts as itself");
        assert!(enter(client, max).is_none(), "it counts as the other");
        assert!(enter(client, max - 1).is_some());
    }
}
