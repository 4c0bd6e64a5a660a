//! A session as its driver sees it: bytes, time and verdicts in; actions out.
//!
//! What each command does is in `execute`; this file frames, asks, answers and ends.

#![forbid(unsafe_code)]

use super::chunk::Chunk;
use super::line::{Line, LineOffence, LineReader};
use super::reply::{Reply, Speaker};
use super::transaction::{Progress, Transaction};
use super::xclient::Attributes;
use super::{Action, CloseReason, Extensions, Limits, Offer, Protocol, Question, Verdict};
use crate::clock::Instant;
use crate::mail::Recipient;
use crate::metrics::{Command as Verb, CoreMetrics, Offence, Progress as Progressed, RejectedAt};
use crate::settings::Bytes;
use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// Replies are sent when so many bytes of them wait, even while more input is at hand. So a client
/// that pipelines and never reads fills this buffer once and not without end.
const OUTPUT_BYTES_MAX: usize = 4 << 10;

/// Room for the replies of an ordinary batch.
const OUTPUT_BYTES_AT_FIRST: usize = 256;

/// Nothing to send, and no room for it either.
const NO_OUTPUT: Cow<'static, [u8]> = Cow::Borrowed(&[]);

/// One client's session. See the module's text. `L` is what a recipient's verdict leaves here.
pub struct Session<L> {
    pub(super) profile: Profile,
    pub(super) stage: Stage<L>,
    pub(super) hello: Option<Hello>,
    lines: LineReader,
    output: Cow<'static, [u8]>,
    /// When the last reply was given: the time for a command runs from here.
    replied_at: Instant,
    pub(super) errors: u32,
    pub(super) junk_commands: u32,
    /// Messages that were begun.
    pub(super) messages: u32,
    tarpit: Tarpit,
    /// Whether the driver still has input that was not used up: then replies need not go yet.
    input_left: bool,
    stopping: bool,
    pub(super) tls_is_withheld: bool,
}

/// What a session knows of its connection from the start.
#[derive(Clone, Debug)]
pub struct Profile {
    /// Our name, 255 bytes at most.
    pub hostname: Arc<str>,
    /// What is offered beside the basic commands.
    pub extensions: Extensions,
    /// Whether this client may speak for others (XCLIENT).
    pub xclient: bool,
    /// Whether TLS is there already (an implicit TLS listener).
    pub tls: bool,
    /// What it may do.
    pub limits: Arc<Limits>,
    /// The largest message when the server is not under pressure: what is larger is refused for good, what is only larger
    /// than `limits` has it is refused for now.
    pub message_bytes_max_normally: Bytes,
}

/// What the client called itself.
pub(super) struct Hello {
    pub(super) name: Arc<str>,
    /// Whether it said EHLO.
    pub(super) extended: bool,
}

/// Where a session is. What may be known in a stage is in it.
pub(super) enum Stage<L> {
    /// Between transactions.
    Idle,
    /// Behind MAIL: commands are read.
    Envelope(Box<Transaction<L>>),
    /// RCPT named someone to ask about.
    AskRecipient(Box<Transaction<L>>, Recipient),
    /// The verdict on a recipient is out; who it is, if that will be needed.
    AwaitRecipient(Box<Transaction<L>>, Option<Recipient>),
    /// DATA, or the first BDAT, was said.
    AskBegin(Box<Transaction<L>>),
    /// The body is being opened.
    AwaitBegin(Box<Transaction<L>>),
    /// Behind 354: data is read.
    Data(Box<Transaction<L>>),
    /// Inside a chunk.
    InChunk(Box<Transaction<L>>),
    /// Behind a chunk that was not the last of its message: commands are read.
    BetweenChunks(Box<Transaction<L>>),
    /// Inside a chunk that belongs to no transaction.
    InUnwantedChunk(Chunk),
    /// The data outgrows what is reserved.
    AskGrow(Box<Transaction<L>>),
    /// More memory is being reserved.
    AwaitGrow(Box<Transaction<L>>),
    /// The data is complete.
    AskMessage(Box<Transaction<L>>),
    /// The message is being stored: it is out of this session's hands.
    AwaitMessage,
    /// XCLIENT said for whom the client speaks.
    AskImpersonate(Box<Attributes>),
    /// The verdict on that is out.
    AwaitImpersonate(Box<Attributes>),
    /// Behind the 220 to STARTTLS.
    StartTls,
    /// The last reply was given.
    Ending(CloseReason),
}

/// Whether a reply is held back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tarpit {
    /// No.
    Off,
    /// It waits, and so does all input.
    Due,
    /// It has waited: it goes before anything else is read.
    Served,
}

/// What holds for the time of one call.
#[derive(Clone, Copy)]
pub(super) struct Turn<'a> {
    pub(super) now: Instant,
    pub(super) metrics: &'a CoreMetrics,
}

impl<L> Session<L> {
    /// A session that begins with a greeting. (The greeting is not among the counted replies: the
    /// connections are counted.)
    #[must_use]
    pub fn new(profile: Profile, now: Instant) -> Self {
        let newlines = profile.limits.newlines;
        let mut session = Self {
            profile,
            stage: Stage::Idle,
            hello: None,
            lines: LineReader::with(newlines),
            output: NO_OUTPUT,
            replied_at: now,
            errors: 0,
            junk_commands: 0,
            messages: 0,
            tarpit: Tarpit::Off,
            input_left: false,
            stopping: false,
            tls_is_withheld: false,
        };
        session.write(&Reply::Greeting);
        session
    }

    /// Takes as much of `input` as can be used now. When some is left, it must be given again
    /// after the next actions: at [`Action::Wait`], before any newer input.
    pub fn receive(&mut self, input: &mut &[u8], now: Instant, metrics: &CoreMetrics) {
        let turn = Turn { now, metrics };
        if self.is_overdue(now) {
            self.expire(now, metrics);
        }
        while !input.is_empty()
            && self.output.len() < OUTPUT_BYTES_MAX
            && self.tarpit == Tarpit::Off
        {
            match self.stage {
                Stage::Idle | Stage::Envelope(_) | Stage::BetweenChunks(_) => {
                    self.receive_line(input, turn);
                }
                Stage::Data(_) => self.receive_data(input, turn),
                Stage::InChunk(_) | Stage::InUnwantedChunk(_) => self.receive_chunk(input, turn),
                Stage::Ending(_) => *input = &[],
                Stage::AskRecipient(..)
                | Stage::AwaitRecipient(..)
                | Stage::AskBegin(_)
                | Stage::AwaitBegin(_)
                | Stage::AskGrow(_)
                | Stage::AwaitGrow(_)
                | Stage::AskMessage(_)
                | Stage::AwaitMessage
                | Stage::AskImpersonate(_)
                | Stage::AwaitImpersonate(_)
                | Stage::StartTls => break,
            }
        }
        self.input_left = !input.is_empty();
    }

    /// The deadline that the last [`Action::Wait`] named has passed.
    pub fn expire(&mut self, now: Instant, metrics: &CoreMetrics) {
        if !matches!(self.stage, Stage::Ending(_)) {
            self.end(
                &Reply::TimedOut,
                CloseReason::TimedOut,
                Turn { now, metrics },
            );
        }
    }

    /// Answers the last question.
    pub fn answer(&mut self, verdict: Verdict<L>, now: Instant, metrics: &CoreMetrics) {
        let turn = Turn { now, metrics };
        match (self.take_stage(), verdict) {
            (Stage::AwaitRecipient(transaction, candidate), Verdict::Recipient(verdict)) => {
                self.recipient_answered(transaction, candidate, verdict, turn);
            }
            (Stage::AwaitBegin(transaction), Verdict::Begin(verdict)) => {
                self.begin_answered(transaction, verdict, turn);
            }
            (Stage::AwaitGrow(mut transaction), Verdict::Grow(verdict)) => {
                transaction.grow(verdict);
                self.read_on(transaction, turn);
            }
            (Stage::AwaitMessage, Verdict::Message(verdict)) => {
                self.message_answered(verdict, turn);
            }
            (Stage::AwaitImpersonate(said), Verdict::Impersonate(verdict)) => {
                self.impersonation_answered(*said, verdict, turn);
            }
            // What was asked does not matter any more.
            (stage @ Stage::Ending(_), _) => self.stage = stage,
            (stage, _) => {
                debug_assert!(false, "the verdict is not of the kind that was asked for");
                self.stage = stage;
                self.end(&Reply::InternalError, CloseReason::Misbehaved, turn);
            }
        }
    }

    /// The handshake that [`Action::StartTls`] asked for is done: the session begins anew, without
    /// a greeting (RFC 3207 section 4.2).
    pub fn tls_established(&mut self, now: Instant) {
        debug_assert!(matches!(self.stage, Stage::StartTls));
        self.profile.tls = true;
        self.hello = None;
        self.lines = LineReader::with(self.profile.limits.newlines);
        self.replied_at = now;
        self.stage = Stage::Idle;
        if self.stopping {
            self.write(&Reply::ShuttingDown);
            self.stage = Stage::Ending(CloseReason::Shutdown);
        }
    }

    /// Plaintext came behind STARTTLS, before the handshake: nothing from here on could be trusted.
    pub fn plaintext_behind_starttls(&mut self, metrics: &CoreMetrics) {
        let now = self.replied_at;
        self.refuse_starttls(Turn { now, metrics });
    }

    /// The server stops: ends an idle session with 421 now, one with a transaction after it
    /// (RFC 5321 section 3.8).
    pub fn shut_down(&mut self, metrics: &CoreMetrics) {
        self.stopping = true;
        if self.tarpit == Tarpit::Due {
            self.tarpit = Tarpit::Served;
        }
        let now = self.replied_at;
        self.stop_if_idle(Turn { now, metrics });
    }

    /// Other limits hold from now on: the pressure on the server has changed, or the settings. Every deadline follows them at
    /// once; the sizes and counts of a transaction under way stay as they were when it began.
    pub fn set_limits(&mut self, limits: Arc<Limits>) {
        let normally = &mut self.profile.message_bytes_max_normally;
        *normally = (*normally).max(limits.message_bytes_max);
        self.profile.limits = limits;
    }

    /// STARTTLS is refused for now: this client has failed too many handshakes. It may go on without, or come again.
    pub const fn withhold_tls(&mut self) {
        self.tls_is_withheld = true;
    }

    /// The pause that [`Action::Pause`] asked for is over.
    pub const fn resume(&mut self, now: Instant) {
        self.replied_at = now;
        if matches!(self.tarpit, Tarpit::Due) {
            self.tarpit = Tarpit::Served;
        }
    }

    /// Whether a transaction is under way: MAIL was accepted, and its end is not yet decided.
    #[must_use]
    pub const fn in_transaction(&self) -> bool {
        !matches!(
            self.stage,
            Stage::Idle
                | Stage::InUnwantedChunk(_)
                | Stage::AskImpersonate(_)
                | Stage::AwaitImpersonate(_)
                | Stage::StartTls
                | Stage::Ending(_)
        )
    }

    /// How far it has come, for the metrics; `None` once the last reply was given.
    #[must_use]
    pub const fn progress(&self) -> Option<Progressed> {
        Some(match &self.stage {
            Stage::Idle
            | Stage::InUnwantedChunk(_)
            | Stage::AskImpersonate(_)
            | Stage::AwaitImpersonate(_) => match self.hello {
                Some(_) => Progressed::Greeted,
                None => Progressed::Connected,
            },
            Stage::Envelope(_)
            | Stage::AskRecipient(..)
            | Stage::AwaitRecipient(..)
            | Stage::AskBegin(_)
            | Stage::AwaitBegin(_) => Progressed::Envelope,
            Stage::Data(_)
            | Stage::InChunk(_)
            | Stage::BetweenChunks(_)
            | Stage::AskGrow(_)
            | Stage::AwaitGrow(_) => Progressed::Data,
            Stage::AskMessage(_) | Stage::AwaitMessage => Progressed::Storing,
            Stage::StartTls => Progressed::Tls,
            Stage::Ending(_) => return None,
        })
    }

    /// What to do next. Replies that wait are sent first, unless the driver has input left and
    /// more replies will come.
    pub fn next_action(&mut self) -> Action<L> {
        if self.tarpit == Tarpit::Due {
            let until = self.replied_at.plus(self.profile.limits.tarpit.0);
            return Action::Pause { until };
        }
        if self.must_flush() {
            self.tarpit = Tarpit::Off;
            return Action::Send(std::mem::replace(&mut self.output, NO_OUTPUT));
        }
        let (stage, action) = match self.take_stage() {
            Stage::AskRecipient(transaction, recipient) => {
                let candidate = (transaction.recipients() == 0).then(|| recipient.clone());
                let question = Question::Recipient {
                    recipient,
                    declared_bytes: transaction.declared_bytes(),
                    is_first: candidate.is_some(),
                };
                (
                    Stage::AwaitRecipient(transaction, candidate),
                    Action::Ask(question),
                )
            }
            Stage::AskBegin(transaction) => {
                let name = self.hello.as_ref().map(|hello| Arc::clone(&hello.name));
                let name = name.unwrap_or_default();
                let beginning = transaction.beginning(name, self.protocol(&transaction));
                (
                    Stage::AwaitBegin(transaction),
                    Action::Ask(Question::Begin(beginning)),
                )
            }
            Stage::AskGrow(transaction) => {
                let bytes = transaction.growth();
                (
                    Stage::AwaitGrow(transaction),
                    Action::Ask(Question::Grow { bytes }),
                )
            }
            Stage::AskMessage(transaction) => (
                Stage::AwaitMessage,
                Action::Ask(Question::Message(transaction.complete())),
            ),
            Stage::AskImpersonate(said) => {
                let question = Question::Impersonate(said.client.clone());
                (Stage::AwaitImpersonate(said), Action::Ask(question))
            }
            Stage::StartTls => (Stage::StartTls, Action::StartTls),
            Stage::Ending(reason) => (Stage::Ending(reason), Action::Close(reason)),
            stage => {
                let deadline = self.deadline(&stage);
                (stage, Action::Wait { deadline })
            }
        };
        self.stage = stage;
        action
    }

    fn must_flush(&self) -> bool {
        let more_replies_will_come = match self.stage {
            Stage::Idle
            | Stage::Envelope(_)
            | Stage::Data(_)
            | Stage::InChunk(_)
            | Stage::BetweenChunks(_)
            | Stage::InUnwantedChunk(_) => self.input_left,
            Stage::StartTls | Stage::Ending(_) => false,
            _ => true,
        };
        let must_go = !more_replies_will_come || self.tarpit == Tarpit::Served;
        self.output.len() >= OUTPUT_BYTES_MAX || (!self.output.is_empty() && must_go)
    }

    fn deadline(&self, stage: &Stage<L>) -> Instant {
        let limits = &self.profile.limits;
        let next = match stage {
            Stage::Data(transaction) | Stage::InChunk(transaction) => transaction.deadline(limits),
            Stage::InUnwantedChunk(chunk) => chunk.deadline(limits),
            _ => self.replied_at.plus(limits.command_timeout.0),
        };
        match stage.waiting_transaction() {
            Some(transaction) => next.min(transaction.ends_by(limits)),
            None => next,
        }
    }

    /// Whether the transaction lasts too long. A client that never lets its deadline come is found out here.
    fn is_overdue(&self, now: Instant) -> bool {
        self.stage
            .waiting_transaction()
            .is_some_and(|transaction| transaction.ends_by(&self.profile.limits) <= now)
    }

    fn receive_line(&mut self, input: &mut &[u8], turn: Turn<'_>) {
        let line_bytes_max = self.profile.limits.line_bytes_max.as_usize();
        match self.lines.read(input, line_bytes_max) {
            None => return,
            Some(Line::Complete(line)) => self.execute(&line, !input.is_empty(), turn),
            Some(Line::Refused(why)) => self.refuse_line(why, turn),
        }
        self.stop_if_idle(turn);
    }

    fn refuse_line(&mut self, why: LineOffence, turn: Turn<'_>) {
        let (reply, offence) = match why {
            LineOffence::BareNewline => (Reply::BareNewlineInCommand, Offence::BareNewline),
            LineOffence::NulByte => (Reply::NulInCommand, Offence::NulByte),
            LineOffence::TooLong => (Reply::LineTooLong, Offence::LineTooLong),
            LineOffence::Binary => {
                turn.metrics.smtp_offences.of(Offence::Syntax).increment();
                return self.end(&Reply::NotSmtp, CloseReason::Misbehaved, turn);
            }
            LineOffence::Chunk => {
                turn.metrics.smtp_commands.of(Verb::Bdat).increment();
                turn.metrics.smtp_offences.of(Offence::Syntax).increment();
                return self.end(&Reply::BadChunk, CloseReason::Misbehaved, turn);
            }
            LineOffence::Endless => {
                return self.end(&Reply::Endless, CloseReason::Misbehaved, turn);
            }
        };
        turn.metrics.smtp_commands.of(Verb::Unknown).increment();
        self.refuse(&reply, offence, turn);
    }

    fn receive_data(&mut self, input: &mut &[u8], turn: Turn<'_>) {
        let Stage::Data(transaction) = &mut self.stage else {
            return;
        };
        match transaction.receive(input) {
            Progress::Starved => {}
            Progress::Endless => self.end(&Reply::Endless, CloseReason::Misbehaved, turn),
            Progress::Full => {
                if let Stage::Data(transaction) = self.take_stage() {
                    self.stage = Stage::AskGrow(transaction);
                }
            }
            Progress::Ended => {
                if let Stage::Data(transaction) = self.take_stage() {
                    self.data_ended(transaction, turn);
                }
            }
        }
    }

    fn data_ended(&mut self, transaction: Box<Transaction<L>>, turn: Turn<'_>) {
        let Some((reply, why)) = transaction.refusal() else {
            self.stage = Stage::AskMessage(transaction);
            return;
        };
        drop(transaction);
        self.message_refused(&reply, (RejectedAt::Message, why), turn);
    }

    /// What EHLO offers now.
    pub(super) fn offer(&self) -> Offer {
        let Profile {
            extensions,
            xclient,
            tls,
            limits,
            ..
        } = &self.profile;
        Offer {
            extensions: extensions.in_force(*tls),
            xclient: *xclient,
            message_bytes_max: self.profile.message_bytes_max_normally.0,
            recipients_max: limits.recipients_max,
            messages_max: limits.messages_per_session_max,
        }
    }

    /// What the Received header will call the protocol (RFC 3848, RFC 6531 section 4.3).
    const fn protocol(&self, transaction: &Transaction<L>) -> Protocol {
        match (&self.hello, self.profile.tls) {
            (_, true) if transaction.smtputf8() => Protocol::Utf8Smtps,
            (_, false) if transaction.smtputf8() => Protocol::Utf8Smtp,
            (Some(Hello { extended: true, .. }), true) => Protocol::Esmtps,
            (Some(Hello { extended: true, .. }), false) => Protocol::Esmtp,
            _ => Protocol::Smtp,
        }
    }

    /// The stage, to be made into the next one. [`Stage::Idle`] stands in its place meanwhile.
    pub(super) const fn take_stage(&mut self) -> Stage<L> {
        std::mem::replace(&mut self.stage, Stage::Idle)
    }

    /// Gives a reply: from now on the client has time for its next command.
    pub(super) fn say(&mut self, reply: &Reply, turn: Turn<'_>) {
        turn.metrics.smtp_replies.of(reply.code()).increment();
        self.replied_at = turn.now;
        self.write(reply);
    }

    /// A constant reply that is alone is sent as it stands in the table.
    fn write(&mut self, reply: &Reply) {
        if let Some(line) = reply.constant()
            && self.output.is_empty()
        {
            self.output = Cow::Borrowed(line);
            return;
        }
        let speaker = Speaker {
            hostname: &self.profile.hostname,
        };
        if let Cow::Borrowed(waiting) = self.output {
            let mut output = Vec::with_capacity(OUTPUT_BYTES_AT_FIRST);
            output.extend_from_slice(waiting);
            self.output = Cow::Owned(output);
        }
        reply.write(speaker, self.output.to_mut());
    }

    /// Gives a reply that says what the client did wrong.
    pub(super) fn refuse(&mut self, reply: &Reply, offence: Offence, turn: Turn<'_>) {
        turn.metrics.smtp_offences.of(offence).increment();
        self.say(reply, turn);
        self.count_error(turn);
    }

    pub(super) fn count_error(&mut self, turn: Turn<'_>) {
        self.errors += 1;
        let limits = &self.profile.limits;
        if limits.tarpit.0 > Duration::ZERO && self.errors > limits.tarpit_after_errors {
            self.tarpit = Tarpit::Due;
        }
        if self.errors >= self.profile.limits.errors_max {
            turn.metrics
                .smtp_offences
                .of(Offence::TooManyErrors)
                .increment();
            self.end(&Reply::TooManyErrors, CloseReason::Misbehaved, turn);
        }
    }

    /// Counts a command that moved no mail, after its reply.
    pub(super) fn count_junk(&mut self, turn: Turn<'_>) {
        self.junk_commands += 1;
        if self.junk_commands >= self.profile.limits.junk_commands_max {
            turn.metrics
                .smtp_offences
                .of(Offence::TooManyJunkCommands)
                .increment();
            self.end(&Reply::TooManyJunkCommands, CloseReason::Misbehaved, turn);
        }
    }

    /// Says goodbye. Nothing that the client sends is looked at any more.
    pub(super) fn end(&mut self, reply: &Reply, reason: CloseReason, turn: Turn<'_>) {
        self.abort(turn);
        self.say(reply, turn);
        self.stage = Stage::Ending(reason);
    }

    /// Ends the transaction, if there is one, before its message is complete. One whose chunks were
    /// refused has been counted.
    pub(super) fn abort(&mut self, turn: Turn<'_>) {
        if self.in_transaction() {
            let was_refused = match &self.stage {
                Stage::InChunk(transaction) | Stage::BetweenChunks(transaction) => {
                    transaction.refused().is_some()
                }
                _ => false,
            };
            if !was_refused {
                turn.metrics.transactions_aborted.increment();
            }
            self.stage = Stage::Idle;
        }
    }

    pub(super) fn stop_if_idle(&mut self, turn: Turn<'_>) {
        if self.stopping && matches!(self.stage, Stage::Idle | Stage::InUnwantedChunk(_)) {
            self.end(&Reply::ShuttingDown, CloseReason::Shutdown, turn);
        }
    }
}

impl<L> Stage<L> {
    /// The transaction, while it waits for the client.
    const fn waiting_transaction(&self) -> Option<&Transaction<L>> {
        match self {
            Self::Envelope(transaction)
            | Self::Data(transaction)
            | Self::InChunk(transaction)
            | Self::BetweenChunks(transaction) => Some(transaction),
            _ => None,
        }
    }
}

impl<L> fmt::Debug for Session<L> {
    /// Where it is, nothing that the client said.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.stage {
            Stage::Idle => "Session(idle)",
            Stage::StartTls => "Session(before TLS)",
            Stage::Ending(_) => "Session(ending)",
            _ => "Session(in a transaction)",
        })
    }
}
