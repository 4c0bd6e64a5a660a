//! What BDAT does (RFC 3030): messages in counted chunks.
//!
//! Whatever becomes of a chunk, its bytes are read and are never commands. It is answered behind its
//! last byte, once. The message ends with the chunk that says `LAST`, and is then what it would be
//! behind DATA.
//!
//! A refusal holds until the chunk that says `LAST`, or RSET: what a client has piped behind the
//! refused chunk is thrown away and answered *in the same way*. So a client that looks at the last
//! reply only takes neither "later" for "never", nor a message that lost a piece for one that arrived.

#![forbid(unsafe_code)]

use super::chunk::{Chunk, Discarded};
use super::reply::Reply;
use super::session::{Session, Stage, Turn};
use super::transaction::{Progress, Transaction};
use super::{CloseReason, Extension};
use crate::metrics::{Offence, Rejected, RejectedAt};

impl<L> Session<L> {
    /// BDAT. It takes its chunk in any case, so that the next command is found behind it.
    pub(super) fn bdat(&mut self, bytes: u64, is_last: bool, turn: Turn<'_>) {
        if !self.profile.extensions.offers(Extension::Chunking) {
            return self.refuse(&Reply::NotImplemented, Offence::Syntax, turn);
        }
        let chunk = Chunk::new(bytes, is_last, turn.now);
        match self.take_stage() {
            Stage::Envelope(mut transaction) => {
                Self::begin_chunk(&mut transaction, chunk, turn);
                self.stage = match transaction.refused() {
                    None => Stage::AskBegin(transaction),
                    Some(_) => Stage::InChunk(transaction),
                };
            }
            Stage::BetweenChunks(mut transaction) => {
                Self::begin_chunk(&mut transaction, chunk, turn);
                self.stage = Stage::InChunk(transaction);
            }
            _ => self.stage = Stage::InUnwantedChunk(chunk),
        }
        self.receive_chunk(&mut &[][..], turn);
    }

    /// Takes up a chunk, or refuses it for what is known before its first byte.
    fn begin_chunk(transaction: &mut Transaction<L>, chunk: Chunk, turn: Turn<'_>) {
        transaction.begin_chunk(chunk);
        if transaction.refused().is_some() {
            return;
        }
        if transaction.recipients() == 0 && !transaction.is_doomed() {
            turn.metrics.transactions_aborted.increment();
            transaction.refuse_chunks(Reply::NoRecipients);
        } else if let Some(refusal) = transaction.announced_too_big() {
            refuse_chunks(transaction, refusal, turn);
        } else if chunk.bytes() == 0 && !chunk.is_last() {
            let refusal = (Reply::EmptyChunk, Rejected::EmptyChunk);
            refuse_chunks(transaction, refusal, turn);
        }
    }

    /// Reads on in a chunk. One that needs no more input ends without any.
    pub(super) fn receive_chunk(&mut self, input: &mut &[u8], turn: Turn<'_>) {
        let limits = &self.profile.limits;
        match &mut self.stage {
            Stage::InUnwantedChunk(chunk) => match chunk.discard(input, limits) {
                Discarded::SoFar => {}
                Discarded::TooMuch => self.cut_off(&Reply::BadSequence, turn),
                Discarded::All => {
                    self.stage = Stage::Idle;
                    self.refuse(&Reply::BadSequence, Offence::Sequence, turn);
                    self.stop_if_idle(turn);
                }
            },
            Stage::InChunk(transaction) => {
                let progress = transaction.receive(input);
                if progress != Progress::Starved
                    && let Stage::InChunk(transaction) = self.take_stage()
                {
                    self.chunk_received(transaction, progress, turn);
                }
            }
            _ => {}
        }
    }

    /// What follows from where reading a chunk came to.
    fn chunk_received(
        &mut self,
        mut transaction: Box<Transaction<L>>,
        progress: Progress,
        turn: Turn<'_>,
    ) {
        let is_last = transaction.chunk().is_some_and(Chunk::is_last);
        let is_empty = transaction.chunk().is_some_and(|chunk| chunk.bytes() == 0);
        let was_refused = transaction.refused().is_some();
        let refusal = match progress {
            Progress::Starved => return self.stage = Stage::InChunk(transaction),
            Progress::Full => return self.stage = Stage::AskGrow(transaction),
            Progress::Ended | Progress::Endless if was_refused => None,
            Progress::Ended if is_last => match transaction.refusal() {
                None => return self.stage = Stage::AskMessage(transaction),
                refusal => refusal,
            },
            Progress::Ended | Progress::Endless => transaction.early_refusal(),
        };
        if let Some(refusal) = refusal {
            refuse_chunks(&mut transaction, refusal, turn);
        }
        let refused = transaction.refused();
        if !is_last {
            self.stage = Stage::BetweenChunks(transaction);
        }
        let reply = refused.unwrap_or(Reply::Ok);
        if progress == Progress::Endless {
            return self.cut_off(&reply, turn);
        }
        self.say(&reply, turn);
        // A refused message ends with LAST or with a command that is junk: so it counts once.
        if refused.is_some() && (is_empty || is_last) {
            self.count_junk(turn);
        }
        self.stop_if_idle(turn);
    }

    /// The memory for a message in chunks cannot be had.
    pub(super) fn begin_refused(
        &mut self,
        mut transaction: Box<Transaction<L>>,
        refusal: (Reply, Rejected),
        turn: Turn<'_>,
    ) {
        refuse_chunks(&mut transaction, refusal, turn);
        self.stage = Stage::InChunk(transaction);
        self.receive_chunk(&mut &[][..], turn);
    }

    /// More of a chunk comes than is thrown away: it is answered before its end, and nothing is read
    /// any more.
    fn cut_off(&mut self, reply: &Reply, turn: Turn<'_>) {
        self.say(reply, turn);
        self.end(&Reply::Endless, CloseReason::Misbehaved, turn);
    }
}

/// Refuses this chunk and those that follow it. The message is counted once.
fn refuse_chunks<L>(
    transaction: &mut Transaction<L>,
    (reply, why): (Reply, Rejected),
    turn: Turn<'_>,
) {
    let rejected = turn.metrics.messages_rejected.of(RejectedAt::Chunk, why);
    rejected.increment();
    transaction.refuse_chunks(reply);
}
