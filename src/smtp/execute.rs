//! What each command does (RFC 5321 section 4.1.1), in each stage where commands are read.

#![forbid(unsafe_code)]

use super::command::{Command, CommandError, HELLO_BYTES_MAX, MailParameters, parse_offered};
use super::reply::Reply;
use super::session::{Hello, Session, Stage, Turn};
use super::transaction::Transaction;
use super::xclient::Attributes;
use super::{CloseReason, Extension};
use crate::mail::{Recipient, ReversePath};
use crate::metrics::{Command as Verb, Offence, RecipientResult, Rejected, RejectedAt};
use std::sync::Arc;

impl<L> Session<L> {
    /// Carries out one line. `more_input` says whether something stands behind it already.
    pub(super) fn execute(&mut self, line: &[u8], more_input: bool, turn: Turn<'_>) {
        let offered = self.profile.extensions.in_force(self.profile.tls);
        let (verb, command) = parse_offered(line, offered);
        turn.metrics.smtp_commands.of(verb).increment();
        if more_input && must_come_last(verb) && self.profile.limits.forbid_early_pipelining {
            return self.end_unsynchronized(turn);
        }
        if verb == Verb::Xclient && !self.profile.xclient {
            return self.refuse(&Reply::NotImplemented, Offence::Syntax, turn);
        }
        let command = match command {
            Ok(command) => command,
            Err(why @ (CommandError::NotSmtp | CommandError::BadChunk)) => {
                turn.metrics.smtp_offences.of(Offence::Syntax).increment();
                return self.end(&why.reply(), CloseReason::Misbehaved, turn);
            }
            Err(why) => return self.refuse(&why.reply(), Offence::Syntax, turn),
        };
        match command {
            Command::Rcpt(recipient) => self.rcpt(recipient, turn),
            Command::Mail {
                reverse_path,
                parameters,
            } => self.mail(reverse_path, parameters, turn),
            Command::Bdat { bytes, is_last } => self.bdat(bytes, is_last, turn),
            Command::Data => self.data(turn),
            Command::Ehlo(name) => self.greet(name, true, turn),
            Command::Helo(name) => self.greet(name, false, turn),
            Command::Rset => {
                self.abort(turn);
                self.answer_junk(&Reply::Ok, turn);
            }
            Command::Noop => self.answer_junk(&Reply::Ok, turn),
            Command::Help => self.answer_junk(&Reply::Help, turn),
            Command::Vrfy => self.answer_junk(&Reply::CannotVerify, turn),
            Command::Expn => self.refuse(&Reply::NotImplemented, Offence::Syntax, turn),
            Command::Quit => self.end(&Reply::Bye, CloseReason::Quit, turn),
            Command::StartTls => self.start_tls(more_input, turn),
            Command::Xclient(said) => self.xclient(said, turn),
        }
    }

    /// Something stands behind a command whose reply the client had to wait for. Nothing more of it is looked at: behind
    /// DATA it may be the content of a message, whether DATA is refused or not.
    fn end_unsynchronized(&mut self, turn: Turn<'_>) {
        turn.metrics
            .smtp_offences
            .of(Offence::PipelinedTooEarly)
            .increment();
        self.end(&Reply::NotSynchronized, CloseReason::Misbehaved, turn);
    }

    /// EHLO or HELO, which also resets the transaction (RFC 5321 section 4.1.4).
    fn greet(&mut self, name: &str, extended: bool, turn: Turn<'_>) {
        self.abort(turn);
        let name = match name.len() <= HELLO_BYTES_MAX {
            true => name.into(),
            false => Arc::default(),
        };
        self.hello = Some(Hello { name, extended });
        let reply = match extended {
            false => Reply::Hello,
            true => Reply::Capabilities(self.offer()),
        };
        self.answer_junk(&reply, turn);
    }

    fn mail(&mut self, reverse_path: ReversePath, parameters: MailParameters, turn: Turn<'_>) {
        if self.hello.is_none() || !matches!(self.stage, Stage::Idle) {
            return self.refuse(&Reply::BadSequence, Offence::Sequence, turn);
        }
        if !reverse_path.is_ascii() && !parameters.smtputf8 {
            return self.refuse(&Reply::NonAsciiAddress, Offence::Syntax, turn);
        }
        let limits = &self.profile.limits;
        let rejected = |why| turn.metrics.messages_rejected.of(RejectedAt::Mail, why);
        if limits.messages_per_session_max > 0 && self.messages >= limits.messages_per_session_max {
            rejected(Rejected::TooManyMessages).increment();
            return self.end(&Reply::TooManyMessages, CloseReason::Misbehaved, turn);
        }
        let declared_bytes = parameters.size.unwrap_or(0);
        if declared_bytes > limits.message_bytes_max.0 {
            let normally = self.profile.message_bytes_max_normally.0;
            let (reply, why) = match declared_bytes > normally {
                true => (Reply::TooBig, Rejected::TooBig),
                false => (Reply::SizeNotNow, Rejected::Memory),
            };
            rejected(why).increment();
            return self.answer_junk(&reply, turn);
        }
        self.messages = self.messages.saturating_add(1);
        let transaction = Transaction::new(reverse_path, parameters, &self.profile, turn.now);
        self.stage = Stage::Envelope(Box::new(transaction));
        self.say(&Reply::SenderOk, turn);
    }

    fn rcpt(&mut self, recipient: Recipient, turn: Turn<'_>) {
        match self.take_stage() {
            Stage::Envelope(transaction) if !recipient.is_ascii() && !transaction.smtputf8() => {
                self.stage = Stage::Envelope(transaction);
                self.refuse(&Reply::NonAsciiAddress, Offence::Syntax, turn);
            }
            Stage::Envelope(transaction)
                if transaction.recipients() >= transaction.recipients_max() =>
            {
                let result = RecipientResult::TooMany;
                self.refuse_recipient(transaction, &Reply::TooManyRecipients, result, turn);
            }
            Stage::Envelope(transaction) => {
                self.stage = Stage::AskRecipient(transaction, recipient)
            }
            stage => {
                self.stage = stage;
                self.refuse(&Reply::BadSequence, Offence::Sequence, turn);
            }
        }
    }

    /// DATA. That every recipient was refused is not an offence: a client that pipelines finds out
    /// together with the answer (RFC 2920 section 3.1). Binary content has no lines, so no end that
    /// DATA could find (RFC 3030 section 3).
    fn data(&mut self, turn: Turn<'_>) {
        match self.take_stage() {
            Stage::Envelope(transaction) if transaction.is_binary() => {
                self.stage = Stage::Envelope(transaction);
                self.refuse(&Reply::BadSequence, Offence::Sequence, turn);
            }
            Stage::Envelope(transaction) if transaction.recipients() == 0 => {
                self.stage = Stage::Envelope(transaction);
                self.answer_junk(&Reply::NoRecipients, turn);
            }
            Stage::Envelope(transaction) => self.stage = Stage::AskBegin(transaction),
            stage => {
                self.stage = stage;
                self.refuse(&Reply::BadSequence, Offence::Sequence, turn);
            }
        }
    }

    /// STARTTLS (RFC 3207). The transaction, if any, does not outlive it.
    fn start_tls(&mut self, more_input: bool, turn: Turn<'_>) {
        if self.profile.tls {
            self.refuse(&Reply::BadSequence, Offence::Sequence, turn);
        } else if !self.profile.extensions.offers(Extension::StartTls) {
            self.refuse(&Reply::NotImplemented, Offence::Syntax, turn);
        } else if self.hello.is_none() || matches!(self.stage, Stage::BetweenChunks(_)) {
            self.refuse(&Reply::BadSequence, Offence::Sequence, turn);
        } else if more_input {
            self.refuse_starttls(turn);
        } else if self.tls_is_withheld {
            self.answer_junk(&Reply::ClientTlsFailures, turn);
        } else {
            self.abort(turn);
            self.say(&Reply::ReadyForTls, turn);
            self.stage = Stage::StartTls;
        }
    }

    /// Something stands behind STARTTLS that could be taken for a part of what TLS protects.
    pub(super) fn refuse_starttls(&mut self, turn: Turn<'_>) {
        turn.metrics
            .smtp_offences
            .of(Offence::PipelinedBehindStartTls)
            .increment();
        let reply = Reply::PipelinedBehindStartTls;
        self.end(&reply, CloseReason::Misbehaved, turn);
    }

    /// XCLIENT: somebody else must know whether the client may speak for another. Not amid a transaction.
    fn xclient(&mut self, said: Attributes, turn: Turn<'_>) {
        match self.stage {
            Stage::Idle => self.stage = Stage::AskImpersonate(Box::new(said)),
            _ => self.refuse(&Reply::BadSequence, Offence::Sequence, turn),
        }
    }

    /// Gives the reply to a command that moves no mail.
    fn answer_junk(&mut self, reply: &Reply, turn: Turn<'_>) {
        self.say(reply, turn);
        self.count_junk(turn);
    }
}

/// Whether a client must see the reply before it says more. RFC 2920 section 3.1 names also VRFY, EXPN, NOOP and QUIT: what
/// stands behind those means the same whatever their reply is, and real clients group NOOP and RSET with others. HELO is
/// there because it does not even say that commands may be grouped.
const fn must_come_last(verb: Verb) -> bool {
    matches!(verb, Verb::Data | Verb::Ehlo | Verb::Helo)
}
