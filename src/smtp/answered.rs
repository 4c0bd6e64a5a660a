//! What follows from the answers to a session's questions.

#![forbid(unsafe_code)]

use super::reply::Reply;
use super::session::{Hello, Session, Stage, Turn};
use super::transaction::{Transaction, rejected_for};
use super::xclient::Attributes;
use super::{CloseReason, Protocol, Receipt};
use crate::mail::{BodyWriter, Recipient};
use crate::metrics::{RecipientResult, Rejected, RejectedAt};

impl<L> Session<L> {
    pub(super) fn recipient_answered(
        &mut self,
        mut transaction: Box<Transaction<L>>,
        candidate: Option<Recipient>,
        verdict: Result<L, Reply>,
        turn: Turn<'_>,
    ) {
        match verdict {
            Ok(lease) => {
                transaction.accept(lease, candidate);
                self.stage = Stage::Envelope(transaction);
                turn.metrics
                    .recipients
                    .of(RecipientResult::Accepted)
                    .increment();
                self.say(&Reply::RecipientOk, turn);
            }
            Err(reply) => {
                let result = match reply {
                    Reply::MailboxFull => RecipientResult::MailboxFull,
                    Reply::MailboxUsedUp => RecipientResult::UsedUp,
                    Reply::NoMemory => RecipientResult::Memory,
                    Reply::NoSuchMailbox => RecipientResult::NoSuchMailbox,
                    Reply::RelayDenied => RecipientResult::RelayDenied,
                    Reply::TryLater => RecipientResult::Busy,
                    // What is left is about the client: it has had its share.
                    _ => RecipientResult::TryLater,
                };
                self.refuse_recipient(transaction, &reply, result, turn);
            }
        }
    }

    /// Refuses a recipient. It counts as an error when it is refused for good, or when more were
    /// refused for now than a message may have.
    pub(super) fn refuse_recipient(
        &mut self,
        mut transaction: Box<Transaction<L>>,
        reply: &Reply,
        result: RecipientResult,
        turn: Turn<'_>,
    ) {
        let is_error =
            reply.is_permanent() || transaction.defer() as usize > transaction.recipients_max();
        self.stage = Stage::Envelope(transaction);
        turn.metrics.recipients.of(result).increment();
        if reply.closes() {
            return self.end(reply, CloseReason::Misbehaved, turn);
        }
        self.say(reply, turn);
        if is_error {
            self.count_error(turn);
        }
    }

    pub(super) fn begin_answered(
        &mut self,
        mut transaction: Box<Transaction<L>>,
        verdict: Result<BodyWriter, Reply>,
        turn: Turn<'_>,
    ) {
        match verdict {
            Ok(body) => {
                transaction.open(body, turn.now);
                if transaction.chunk().is_none() {
                    self.say(&Reply::StartData, turn);
                }
                self.read_on(transaction, turn);
            }
            Err(reply) if transaction.chunk().is_some() => {
                self.begin_refused(transaction, (reply, rejected_for(&reply)), turn);
            }
            Err(reply) => {
                drop(transaction);
                let at_data = (RejectedAt::Data, rejected_for(&reply));
                self.message_refused(&reply, at_data, turn);
            }
        }
    }

    /// Goes on to read the message.
    pub(super) fn read_on(&mut self, transaction: Box<Transaction<L>>, turn: Turn<'_>) {
        if transaction.chunk().is_none() {
            self.stage = Stage::Data(transaction);
        } else {
            self.stage = Stage::InChunk(transaction);
            self.receive_chunk(&mut &[][..], turn);
        }
    }

    pub(super) fn message_answered(&mut self, verdict: Result<Receipt, Reply>, turn: Turn<'_>) {
        match verdict {
            Ok(receipt) => {
                self.junk_commands = 0;
                self.say(&Reply::Held(receipt), turn);
                self.stop_if_idle(turn);
            }
            Err(reply) => {
                let behind = (RejectedAt::Message, rejected_for(&reply));
                self.message_refused(&reply, behind, turn);
            }
        }
    }

    /// The transaction is over, without a message.
    pub(super) fn message_refused(
        &mut self,
        reply: &Reply,
        (at, why): (RejectedAt, Rejected),
        turn: Turn<'_>,
    ) {
        turn.metrics.messages_rejected.of(at, why).increment();
        if reply.closes() {
            return self.end(reply, CloseReason::Misbehaved, turn);
        }
        self.say(reply, turn);
        self.count_junk(turn);
        self.stop_if_idle(turn);
    }

    /// The session begins anew, for another client (XCLIENT), or goes on for the same.
    pub(super) fn impersonation_answered(
        &mut self,
        said: Attributes,
        verdict: Result<(), Reply>,
        turn: Turn<'_>,
    ) {
        match verdict {
            Ok(()) => {
                let extended = match said.protocol {
                    Some(protocol) => protocol != Protocol::Smtp,
                    None => self.hello.as_ref().is_some_and(|hello| hello.extended),
                };
                self.hello = said.helo.map(|name| Hello { name, extended });
                (self.errors, self.junk_commands, self.messages) = (0, 0, 0);
                self.say(&Reply::Greeting, turn);
            }
            Err(reply) if reply.closes() => self.end(&reply, CloseReason::Misbehaved, turn),
            Err(reply) => {
                self.say(&reply, turn);
                self.count_error(turn);
            }
        }
        self.stop_if_idle(turn);
    }
}
