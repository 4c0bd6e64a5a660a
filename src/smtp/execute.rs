//! What each command does (RFC 5321 section 4.1.1), in each stage where commands are read.

#![forbid(unsafe_code)]

use super::command::{BodyType, Command, CommandError, MailParameters, parse};
use super::reply::Reply;
use super::session::{Hello, Session, Stage, Turn};
use super::transaction::Transaction;
use super::{CloseReason, Extension};
use crate::mail::{Recipient, ReversePath};
use crate::metrics::{Offence, RecipientResult};

impl<L> Session<L> {
    /// Carries out one line. `more_input` says whether something stands behind it already.
    pub(super) fn execute(&mut self, line: &[u8], more_input: bool, turn: Turn<'_>) {
        let (verb, command) = parse(line);
        turn.metrics.smtp_commands.of(verb).increment();
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
        }
    }

    /// EHLO or HELO, which also resets the transaction (RFC 5321 section 4.1.4).
    fn greet(&mut self, name: &str, extended: bool, turn: Turn<'_>) {
        self.abort(turn);
        self.hello = Some(Hello {
            name: name.into(),
            extended,
        });
        let reply = match extended {
            false => Reply::Hello,
            true if self.offers_starttls() => Reply::CapabilitiesWithStartTls,
            true => Reply::Capabilities,
        };
        self.answer_junk(&reply, turn);
    }

    fn mail(&mut self, reverse_path: ReversePath, parameters: MailParameters, turn: Turn<'_>) {
        if self.hello.is_none() || !matches!(self.stage, Stage::Idle) {
            return self.refuse(&Reply::BadSequence, Offence::Sequence, turn);
        }
        let declared_bytes = parameters.size.unwrap_or(0);
        if declared_bytes > self.profile.limits.message_bytes_max.0 {
            return self.answer_junk(&Reply::TooBig, turn);
        }
        let mut transaction = Transaction::new(reverse_path, declared_bytes, turn.now);
        if parameters.body == Some(BodyType::BinaryMime) {
            if !self.offers_binary() {
                return self.refuse(&Reply::UnsupportedParameter, Offence::Syntax, turn);
            }
            transaction.announce_binary();
        }
        self.stage = Stage::Envelope(Box::new(transaction));
        self.say(&Reply::SenderOk, turn);
    }

    fn rcpt(&mut self, recipient: Recipient, turn: Turn<'_>) {
        let recipients_max = self.profile.limits.recipients_max;
        match self.take_stage() {
            Stage::Envelope(transaction) if transaction.recipients() >= recipients_max as usize => {
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

    /// Binary content comes in chunks or not at all.
    const fn offers_binary(&self) -> bool {
        let extensions = self.profile.extensions;
        extensions.offers(Extension::BinaryMime) && extensions.offers(Extension::Chunking)
    }

    const fn offers_starttls(&self) -> bool {
        self.profile.extensions.offers(Extension::StartTls) && !self.profile.tls
    }

    /// Gives the reply to a command that moves no mail.
    fn answer_junk(&mut self, reply: &Reply, turn: Turn<'_>) {
        self.say(reply, turn);
        self.count_junk(turn);
    }
}
