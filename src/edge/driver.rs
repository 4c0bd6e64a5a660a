//! Drives one session: the only place where the protocol meets the socket.
//!
//! The session says what to do next ([`Action`]) and the driver does it. It decides nothing about the protocol.

use super::answers::{Answered, Later, open_body, place, store};
use super::arranging::{Arranging, Envelope};
use super::arrivals::answer;
use super::core::{Arrival, Core, HeldLease, Stage};
use super::link::{Filled, Link};
use super::tracer::Tracing;
use crate::clock::Instant;
use crate::mail::message::QueueId;
use crate::mail::{BodyWriter, Reservation};
use crate::metrics::{ClientLimit, Ended, Handshake, Listener, Progress, TlsVersion};
use crate::policy::pressure::Pressure;
use crate::smtp::session::Profile;
use crate::smtp::{
    Action, Beginning, CloseReason, Complete, Extension, Impersonation, Question, Receipt, Reply,
    Session, Verdict,
};
use std::borrow::Cow;
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

/// How long a peer may take to close after us, and how many of its bytes are thrown away meanwhile.
const LINGER: Duration = Duration::from_secs(2);
const LINGER_BYTES_MAX: usize = 256 << 10;

/// Runs what belongs to one connection; `None` if it panicked. It is pinned by the caller: an argument that is pinned here
/// would lie in the task twice.
pub(super) fn caught<T>(
    mut running: Pin<&mut impl Future<Output = T>>,
) -> impl Future<Output = Option<T>> {
    poll_fn(move |context| {
        catch_unwind(AssertUnwindSafe(|| running.as_mut().poll(context)))
            .map_or(Poll::Ready(None), |poll| poll.map(Some))
    })
}

/// Ends a connection that gets no session with a last line.
pub(super) async fn part(link: &mut Link, line: Vec<u8>) {
    if link.send_last(line.into()).await.is_ok() {
        let _ = link.finish(LINGER, LINGER_BYTES_MAX).await;
    }
}

/// One session and its connection. A task lends it to all that it does, and so has it once: what is moved into an `async fn`
/// lies in its task twice. Where tasks wait most, even `self` would: there a function gives an `async` block.
pub(super) struct Driver {
    core: Rc<Core>,
    link: Link,
    /// Whose connection it is, and by which is counted what the client does.
    arrival: Arrival,
    /// The level of pressure whose limits the session has.
    level: Pressure,
    /// The message whose data has begun, as long as it is not stored.
    incoming: Option<Incoming>,
    /// The name of the message under way.
    queue_id: QueueId,
    /// When the end of a message was seen whose reply has not been handed to the kernel.
    unanswered: Option<Instant>,
    /// Messages that are stored and whose 250 the client has not shown to have got.
    unconfirmed: u32,
    /// Tells the session in the log, if it is one of those.
    tracing: Tracing,
}

/// What the driver has to do next. What could be done at once has been done. It is kept while the task waits, so it is small.
enum Step {
    Await(Later),
    Close(CloseReason),
    Done,
    Pause(Instant),
    /// These bytes can go when those before them have gone.
    Send(Box<Cow<'static, [u8]>>),
    StartTls,
    Wait(Instant),
}

/// A message whose data has begun.
#[derive(Clone, Copy)]
struct Incoming {
    /// Bytes that were reserved for its content.
    reserved: u64,
}

#[expect(
    clippy::manual_async_fn,
    reason = "an async fn would keep its arguments twice"
)]
impl Driver {
    /// A driver that has not begun.
    pub(super) fn new(core: &Rc<Core>, link: Link, arrival: Arrival) -> Self {
        Self {
            core: Rc::clone(core),
            link,
            arrival,
            level: core.level(),
            incoming: None,
            queue_id: core.queue_id(),
            unanswered: None,
            unconfirmed: 0,
            tracing: Tracing::begin(core),
        }
    }

    /// Serves the connection to its end. A panic costs this connection and no other.
    pub(super) fn serve(&mut self) -> impl Future<Output = ()> {
        async {
            let ended = caught(pin!(self.run_and_part())).await;
            self.arrival
                .ended(&self.core, ended.unwrap_or(Ended::Panic));
        }
    }

    fn run_and_part(&mut self) -> impl Future<Output = Ended> {
        async {
            let ended = self.run().await.unwrap_or_else(|ended| ended);
            self.give_up_message();
            if self.link.finish(LINGER, LINGER_BYTES_MAX).await.is_err() {
                let unconfirmed = &self.core.metrics().messages_unconfirmed;
                unconfirmed.add(self.unconfirmed.into());
            }
            self.tracing.ends(&self.core, ended);
            ended
        }
    }

    /// Makes the session, behind TLS if that comes first.
    async fn greet(&mut self) -> Result<Session<HeldLease>, Ended> {
        let implicit_tls = self.arrival.door.kind == Listener::Smtps;
        let tls_is_withheld = self.must_withhold_tls();
        if implicit_tls {
            if tls_is_withheld {
                return Err(Ended::TlsFailed);
            }
            self.arrival.progress = Progress::Tls;
            Box::pin(self.handshake()).await?;
            self.arrival.progress = Progress::Connected;
        }
        self.level = self.core.level();
        let (live, door) = (self.core.live(), &self.arrival.door);
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
        let mut session = Session::new(profile, self.core.now());
        if tls_is_withheld {
            session.withhold_tls();
        }
        Ok(session)
    }

    /// Runs the session; `Err` when the connection ended first. What is rare and large lies in a box of its own, since every
    /// task would have room for it.
    fn run(&mut self) -> impl Future<Output = Result<Ended, Ended>> {
        async {
            let mut session = self.greet().await?;
            let mut told = false;
            loop {
                match self.core.stage() {
                    Stage::Serving => {}
                    Stage::Draining if told => {}
                    Stage::Draining => {
                        told = true;
                        let metrics = self.core.metrics();
                        self.tracing.watch(metrics, || session.shut_down(metrics));
                    }
                    Stage::Cutting if session.progress().is_some() => {
                        return Box::pin(self.cut()).await;
                    }
                    // It has had its last reply, or gets it now, and no other.
                    Stage::Cutting => session.resume(self.core.now()),
                }
                self.follow_pressure(&mut session);
                let deadline = match self.step(&mut session)? {
                    Step::Await(later) => {
                        let verdict = self.await_others(later).await;
                        self.answer(&mut session, verdict);
                        None
                    }
                    Step::Close(reason) => return Ok(ended(reason)),
                    Step::Done => None,
                    Step::Pause(until) => {
                        self.link.pause(until).await;
                        session.resume(self.core.now());
                        None
                    }
                    Step::Send(replies) => {
                        Box::pin(self.link.write(*replies)).await?;
                        self.sent();
                        None
                    }
                    Step::StartTls => {
                        Box::pin(self.start_tls(&mut session)).await?;
                        None
                    }
                    Step::Wait(deadline) => Some(deadline),
                };
                // Out here the step is forgotten: every idle task would have room for it.
                if let Some(deadline) = deadline {
                    let filled = self.link.fill(deadline).await?;
                    self.waited(&mut session, filled);
                }
                self.feed(&mut session);
                if let Some(progress) = session.progress() {
                    self.arrival.progress = progress;
                }
            }
        }
    }

    /// Gives the session the input that it can use.
    fn feed(&mut self, session: &mut Session<HeldLease>) {
        let (core, tracing) = (&self.core, &mut self.tracing);
        self.link.feed(|input| {
            let before = input.len();
            let receive = || session.receive(input, core.now(), core.metrics());
            tracing.watch(core.metrics(), receive);
            tracing.received(before - input.len());
        });
    }

    /// Gives the session the answer to its question.
    fn answer(&mut self, session: &mut Session<HeldLease>, verdict: Verdict<HeldLease>) {
        let (now, metrics) = (self.core.now(), self.core.metrics());
        self.tracing
            .watch(metrics, || session.answer(verdict, now, metrics));
    }

    /// Whether this client has failed so many handshakes that it gets no other for now. Asked once a connection: those that
    /// are open already may fail once more.
    fn must_withhold_tls(&self) -> bool {
        let counted = &self.arrival.counted;
        match self.arrival.door.kind {
            Listener::Smtps => counted.must_refuse(&self.core, ClientLimit::TlsFailures),
            Listener::Smtp => counted.is_used_up(&self.core, ClientLimit::TlsFailures),
        }
    }

    /// Does what the session says is to be done, or says what is to be waited for.
    fn step(&mut self, session: &mut Session<HeldLease>) -> Result<Step, Ended> {
        Ok(match session.next_action() {
            Action::Ask(question) => match self.ask(question) {
                Ok(verdict) => {
                    self.answer(session, verdict);
                    Step::Done
                }
                Err(later) => Step::Await(later),
            },
            Action::Close(reason) => Step::Close(reason),
            Action::Pause { until } => Step::Pause(until),
            Action::Send(replies) => {
                let (progress, length) = (session.progress(), replies.len());
                self.tracing.sends(&self.core, progress, length);
                let is_last = progress.is_none();
                let blocked = match is_last {
                    true => self.link.try_send_last(replies)?,
                    false => self.link.try_send(replies)?,
                };
                match blocked {
                    None => {
                        self.sent();
                        match is_last {
                            true => return self.step(session),
                            false => Step::Done,
                        }
                    }
                    Some(bytes) => Step::Send(Box::new(bytes)),
                }
            }
            Action::StartTls => Step::StartTls,
            Action::Wait { deadline } => Step::Wait(deadline),
        })
    }

    /// The session gets the limits of another level of pressure.
    fn follow_pressure(&mut self, session: &mut Session<HeldLease>) {
        let level = self.core.level();
        if self.level != level {
            self.level = level;
            session.set_limits(Arc::clone(&self.core.live().under(level).limits));
        }
    }

    /// Replies have been handed to the kernel.
    fn sent(&mut self) {
        if let Some(began) = self.unanswered.take() {
            let took = self.core.exact_now().since(began);
            self.core.metrics().data_ack.observe_duration(took);
        }
    }

    /// Ends a session in the middle of its transaction (RFC 5321 section 3.8).
    async fn cut(&mut self) -> Result<Ended, Ended> {
        let farewell = self.core.live().say(Reply::ShuttingDown);
        self.core
            .metrics()
            .smtp_replies
            .of(Reply::ShuttingDown.code())
            .increment();
        self.link.send_last(farewell.into()).await?;
        Ok(Ended::Shutdown)
    }

    /// The client was waited for.
    fn waited(&mut self, session: &mut Session<HeldLease>, filled: Filled) {
        match filled {
            // Whoever goes on has had the replies so far (a client that does not wait for them cannot be told from one that has).
            Filled::Input => self.unconfirmed = 0,
            Filled::Disturbed => {}
            // Under less pressure there is more time.
            Filled::TimedOut if self.level != self.core.level() => {}
            Filled::TimedOut => {
                let (now, metrics) = (self.core.now(), self.core.metrics());
                self.tracing.watch(metrics, || session.expire(now, metrics));
            }
        }
    }

    /// The session has said 220 to STARTTLS.
    async fn start_tls(&mut self, session: &mut Session<HeldLease>) -> Result<(), Ended> {
        if self.link.has_input() {
            // Nothing can have come in answer to the 220, which has not left yet: it was sent ahead.
            session.plaintext_behind_starttls(self.core.metrics());
            return Ok(());
        }
        self.handshake().await?;
        session.tls_established(self.core.now());
        Ok(())
    }

    async fn handshake(&mut self) -> Result<(), Ended> {
        let began = self.core.exact_now();
        let in_force = self.core.live();
        let config = in_force.tls_of(self.arrival.door.number);
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
                self.tracing.shook_hands(&self.core, &agreed);
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
                    .note(&self.core, ClientLimit::TlsFailures, 1);
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

    /// Answers a question, or says who else must.
    fn ask(&mut self, question: Question<HeldLease>) -> Result<Verdict<HeldLease>, Later> {
        match question {
            Question::Recipient {
                recipient,
                declared_bytes,
                is_first,
            } => match self.is_used_up(is_first) {
                Some(reply) => Ok(Verdict::Recipient(Err(reply))),
                None => place(&self.core, &recipient, declared_bytes)
                    .map(|answer| Verdict::Recipient(self.noted(answer))),
            },
            Question::Impersonate(whom) => Ok(Verdict::Impersonate(self.impersonate(&whom))),
            Question::Begin(beginning) => Ok(Verdict::Begin(self.begin(&beginning))),
            Question::Grow { bytes } => Ok(Verdict::Grow(self.grow(bytes))),
            Question::Message(complete) => {
                let ended = self.core.exact_now();
                self.unanswered.get_or_insert(ended);
                let used = complete.body.len() as u64;
                self.tracing
                    .completes(&self.core, used, complete.leases.len());
                if let Some(Incoming { reserved }) = self.incoming.take() {
                    let counted = &self.arrival.counted;
                    counted.take_back_bytes(&self.core, reserved, used);
                }
                self.store(complete, ended)
            }
        }
    }

    /// Stores a message whose end was seen at `ended_at`, or says who else must do something for that.
    fn store(
        &mut self,
        complete: Complete<HeldLease>,
        ended_at: Instant,
    ) -> Result<Verdict<HeldLease>, Later> {
        let Complete {
            reverse_path,
            leases,
            begun_at,
            data_begun_at,
            require_tls,
            body,
        } = complete;
        let envelope = Envelope {
            queue_id: self.queue_id,
            reverse_path,
            tls: self.link.is_tls(),
            require_tls,
            begun_at,
            data_begun_at,
            ended_at,
        };
        if Arranging::is_needed(&leases) {
            return match Arranging::begin(&self.core, leases, body, envelope) {
                Ok(arranging) => Err(Later::Arranged(Box::new(arranging))),
                Err(reply) => Ok(Verdict::Message(Err(reply))),
            };
        }
        match store(&self.core, leases, body, envelope) {
            storing if storing.is_done() => Ok(self.stored(storing.receipt(&self.core))),
            storing => Err(Later::Stored(Box::new(storing))),
        }
    }

    /// Waits for the answers of others. The receive buffer is not kept waiting for them.
    fn await_others(&mut self, mut later: Later) -> impl Future<Output = Verdict<HeldLease>> {
        self.link.release_buffer();
        poll_fn(move |context| {
            later
                .poll(&self.core, context)
                .map(|answered| match answered {
                    Answered::Placed(answer) => Verdict::Recipient(self.noted(answer)),
                    Answered::Stored(Ok(receipt)) => self.stored(receipt),
                    Answered::Stored(Err(reply)) => Verdict::Message(Err(reply)),
                })
        })
    }

    /// Why this client's recipient is refused whoever it is, if so.
    fn is_used_up(&self, is_first: bool) -> Option<Reply> {
        let counted = &self.arrival.counted;
        if counted.must_refuse(&self.core, ClientLimit::FailedRecipients) {
            return Some(Reply::ClientGuesses);
        }
        let of_transactions = [
            (ClientLimit::Messages, Reply::ClientTooManyMessages),
            (ClientLimit::Recipients, Reply::ClientTooManyRecipients),
            (ClientLimit::Bytes, Reply::ClientTooManyBytes),
            (ClientLimit::Aborted, Reply::ClientTooManyAborted),
        ];
        let mut of_transactions = of_transactions.into_iter().filter(|_| is_first);
        let (_, reply) =
            of_transactions.find(|(limit, _)| counted.must_refuse(&self.core, *limit))?;
        Some(reply)
    }

    /// Counts what became of a recipient.
    fn noted(&self, answer: Result<HeldLease, Reply>) -> Result<HeldLease, Reply> {
        let what = match &answer {
            Ok(_) => ClientLimit::Recipients,
            Err(reply) if reply.is_permanent() => ClientLimit::FailedRecipients,
            Err(_) => return answer,
        };
        self.arrival.counted.note(&self.core, what, 1);
        answer
    }

    /// Every owner has the message.
    const fn stored(&mut self, receipt: Receipt) -> Verdict<HeldLease> {
        self.unconfirmed = self.unconfirmed.saturating_add(1);
        Verdict::Message(Ok(receipt))
    }

    /// The data of a message may come, if there is memory for it.
    fn begin(&mut self, beginning: &Beginning) -> Result<BodyWriter, Reply> {
        self.give_up_message();
        let core = &self.core;
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
        self.arrival.counted.note_bytes(&self.core, bytes);
        self.incoming = Some(incoming);
        Ok(reservation)
    }

    /// The message whose data had begun, if there is one, will not be stored.
    fn give_up_message(&mut self) {
        if self.incoming.take().is_some() {
            self.arrival
                .counted
                .note(&self.core, ClientLimit::Aborted, 1);
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

#[cfg(test)]
mod tests;
