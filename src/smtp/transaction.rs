//! One mail transaction: the envelope, then the data.
//!
//! A transaction is one owned value; to reset it is to drop it. Dropping it gives back the leases
//! and the reserved memory, on whatever path it goes.

#![forbid(unsafe_code)]

use super::chunk::{Chunk, ChunkReader, data_deadline};
use super::command::{BodyType, MailParameters};
use super::data::{DataOffence, DataReader, HopCounter, Piece};
use super::reply::Reply;
use super::session::Profile;
use super::{Beginning, Complete, Leases, Limits, Protocol};
use crate::clock::Instant;
use crate::mail::{BodyWriter, Recipient, Reservation, ReversePath};
use crate::metrics::Rejected;
use std::sync::Arc;

/// One mail transaction.
pub(super) struct Transaction<L> {
    reverse_path: ReversePath,
    /// When MAIL was accepted.
    begun_at: Instant,
    /// What MAIL said of the message.
    parameters: MailParameters,
    /// The limits when it began. They hold to its end, so that what was accepted of it stays so.
    limits: Arc<Limits>,
    /// The largest message when the server is not under pressure.
    message_bytes_max_normally: u64,
    leases: Leases<L>,
    /// The accepted recipient, as long as there is exactly one.
    only_recipient: Option<Recipient>,
    /// Recipients refused with a 4yz reply.
    deferred: u32,
    /// What a chunk was refused with: so are all that follow it.
    refused: Option<Reply>,
    incoming: Incoming,
}

impl<L> Transaction<L> {
    /// What MAIL begins.
    pub(super) fn new(
        reverse_path: ReversePath,
        parameters: MailParameters,
        profile: &Profile,
        now: Instant,
    ) -> Self {
        Self {
            reverse_path,
            begun_at: now,
            parameters,
            limits: Arc::clone(&profile.limits),
            message_bytes_max_normally: profile.message_bytes_max_normally.0,
            leases: Leases::default(),
            only_recipient: None,
            deferred: 0,
            refused: None,
            incoming: Incoming::new(),
        }
    }

    /// Whether the content was announced as binary (RFC 3030 section 3).
    pub(super) fn is_binary(&self) -> bool {
        self.parameters.body == Some(BodyType::BinaryMime)
    }

    /// The size that was declared; 0 if it was not.
    pub(super) fn declared_bytes(&self) -> u64 {
        self.parameters.size.unwrap_or(0)
    }

    /// Whether its addresses may be beyond ASCII (RFC 6531).
    pub(super) const fn smtputf8(&self) -> bool {
        self.parameters.smtputf8
    }

    /// How many recipients it may have.
    pub(super) fn recipients_max(&self) -> usize {
        self.limits.recipients_max as usize
    }

    /// When it must have come to its end, however busy the client is.
    pub(super) fn ends_by(&self, limits: &Limits) -> Instant {
        self.begun_at.plus(limits.transaction_timeout.0)
    }

    /// How many recipients are accepted.
    pub(super) const fn recipients(&self) -> usize {
        self.leases.len()
    }

    /// Takes up an accepted recipient. `candidate` is who it is if it is the first one.
    pub(super) fn accept(&mut self, lease: L, candidate: Option<Recipient>) {
        debug_assert_eq!(candidate.is_some(), self.leases.is_empty());
        self.only_recipient = candidate;
        self.leases.push(lease);
    }

    /// Takes note of a recipient that was refused for now; says how many there were.
    pub(super) const fn defer(&mut self) -> u32 {
        self.deferred = self.deferred.saturating_add(1);
        self.deferred
    }

    /// What the body shall begin with and how much memory it needs at first.
    pub(super) fn beginning(&self, helo: Arc<str>, protocol: Protocol) -> Beginning {
        let limits = &self.limits;
        let bytes = match self.declared_bytes() {
            0 => limits.reserve_step_bytes.0.min(limits.message_bytes_max.0),
            declared => declared,
        };
        Beginning {
            bytes,
            reverse_path: self.reverse_path.clone(),
            helo,
            protocol,
            only_recipient: self.only_recipient.clone(),
        }
    }

    /// The data may come.
    pub(super) fn open(&mut self, body: BodyWriter, now: Instant) {
        if self.chunk().is_none() {
            self.incoming.reader = Reader::Dots(DataReader::with(self.limits.newlines));
        }
        self.incoming.fate = Fate::Kept(body);
        self.incoming.started_at = now;
    }

    /// A chunk is announced. From the first one on the message comes in chunks only.
    pub(super) fn begin_chunk(&mut self, chunk: Chunk) {
        let is_binary = self.is_binary();
        match &mut self.incoming.reader {
            Reader::Counts(reader) => reader.begin(chunk),
            reader @ Reader::Dots(_) => {
                *reader = Reader::Counts(match is_binary {
                    true => ChunkReader::of_binary(chunk),
                    false => ChunkReader::of_lines(self.limits.newlines, chunk),
                });
            }
        }
    }

    /// The chunk that is read, or was read last, if the message comes in chunks.
    pub(super) const fn chunk(&self) -> Option<&Chunk> {
        match &self.incoming.reader {
            Reader::Counts(reader) => Some(reader.chunk()),
            Reader::Dots(_) => None,
        }
    }

    /// How the message is refused if it is larger than the largest with the chunk that was just announced.
    pub(super) fn announced_too_big(&self) -> Option<(Reply, Rejected)> {
        let announced = self.chunk().map_or(0, Chunk::bytes);
        let bytes = self.incoming.received_bytes.saturating_add(announced);
        (bytes > self.limits.message_bytes_max.0).then(|| self.too_big(bytes))
    }

    /// There will be no message: what still comes of it is thrown away.
    pub(super) fn refuse_chunks(&mut self, reply: Reply) {
        self.refused = Some(reply);
        self.incoming.fate = Fate::Doomed;
        self.drop_leases_of_the_doomed();
    }

    /// What its chunks are refused with, if they are.
    pub(super) const fn refused(&self) -> Option<Reply> {
        self.refused
    }

    /// Whether it is decided that there will be no message.
    pub(super) const fn is_doomed(&self) -> bool {
        matches!(self.incoming.fate, Fate::Doomed)
    }

    /// Reads on.
    pub(super) fn receive(&mut self, input: &mut &[u8]) -> Progress {
        let progress = self.incoming.receive(input, &self.limits);
        self.drop_leases_of_the_doomed();
        progress
    }

    /// How much more to reserve: a step, or what is left up to the largest message.
    pub(super) fn growth(&self) -> u64 {
        let size_max = self.limits.message_bytes_max.0;
        let left = size_max.saturating_sub(self.incoming.content_bytes);
        self.limits.reserve_step_bytes.0.max(1).min(left)
    }

    /// Goes on with more memory, or without a chance.
    pub(super) fn grow(&mut self, verdict: Result<Reservation, Reply>) {
        self.incoming.grow(verdict);
        self.drop_leases_of_the_doomed();
    }

    fn drop_leases_of_the_doomed(&mut self) {
        if self.is_doomed() {
            self.leases = Leases::default();
        }
    }

    /// When the data is too slow.
    pub(super) fn deadline(&self, limits: &Limits) -> Instant {
        self.incoming.deadline(limits)
    }

    /// Why there will be no message, if that need not wait for its end.
    pub(super) fn early_refusal(&self) -> Option<(Reply, Rejected)> {
        let incoming = &self.incoming;
        let is_decided = incoming.no_memory.is_some()
            || incoming.content_bytes > self.limits.message_bytes_max.0;
        is_decided.then(|| self.refusal()).flatten()
    }

    /// Why there will be no message, if so, once its end has been seen.
    pub(super) fn refusal(&self) -> Option<(Reply, Rejected)> {
        match self.incoming.refusal(&self.limits) {
            Some((Reply::TooBig, _)) => Some(self.too_big(self.incoming.content_bytes)),
            refusal => refusal,
        }
    }

    /// How a message of this size is refused. One that is only too big for now may come again.
    fn too_big(&self, bytes: u64) -> (Reply, Rejected) {
        match bytes > self.message_bytes_max_normally {
            true => (Reply::TooBig, Rejected::TooBig),
            false => (Reply::SizeNotNow, Rejected::Memory),
        }
    }

    /// The message, if it was not refused.
    pub(super) fn complete(self) -> Complete<L> {
        let Fate::Kept(body) = self.incoming.fate else {
            unreachable!("what is not kept has been refused");
        };
        Complete {
            reverse_path: self.reverse_path,
            leases: self.leases,
            begun_at: self.begun_at,
            data_begun_at: self.incoming.started_at,
            require_tls: self.parameters.require_tls,
            body: body.finish(),
        }
    }
}

/// The data of a message that is coming in.
struct Incoming {
    reader: Reader,
    hops: HopCounter,
    fate: Fate,
    /// Why memory could not be had, if so.
    no_memory: Option<Reply>,
    /// Bytes of content so far, whether kept or not.
    content_bytes: u64,
    /// Bytes read so far, as they came.
    received_bytes: u64,
    started_at: Instant,
}

/// What tells content from the rest.
enum Reader {
    /// Behind DATA.
    Dots(DataReader),
    /// Behind BDAT.
    Counts(ChunkReader),
}

impl Reader {
    fn read<'a>(&mut self, input: &mut &'a [u8], room: usize) -> Piece<'a> {
        match self {
            Self::Dots(reader) => reader.read(input, room),
            Self::Counts(reader) => reader.read(input, room),
        }
    }

    const fn offence(&self) -> Option<DataOffence> {
        match self {
            Self::Dots(reader) => reader.offence(),
            Self::Counts(reader) => reader.offence(),
        }
    }
}

/// What becomes of what comes in.
enum Fate {
    /// Nothing has been asked for yet.
    Unopened,
    /// It will be delivered.
    Kept(BodyWriter),
    /// It will be refused at its end; memory and leases are given back already.
    Doomed,
}

/// Where reading came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// The data, or the chunk, is complete.
    Ended,
    /// Too much came after the message was doomed.
    Endless,
    /// There is more than is reserved.
    Full,
    /// The input is used up.
    Starved,
}

impl Incoming {
    const fn new() -> Self {
        Self {
            reader: Reader::Dots(DataReader::new()),
            hops: HopCounter::new(),
            fate: Fate::Unopened,
            no_memory: None,
            content_bytes: 0,
            received_bytes: 0,
            started_at: Instant::ZERO,
        }
    }

    /// Reads on. A doomed message is read to its true end, up to a bound.
    fn receive(&mut self, input: &mut &[u8], limits: &Limits) -> Progress {
        let size_max = limits.message_bytes_max.0;
        loop {
            let before = input.len();
            let piece = match &self.fate {
                Fate::Kept(body) => {
                    let room = size_max.saturating_sub(self.content_bytes);
                    let room = body.room().min(usize::try_from(room).unwrap_or(usize::MAX));
                    self.reader.read(input, room)
                }
                Fate::Unopened | Fate::Doomed => {
                    let left = received_bytes_max(limits).saturating_sub(self.received_bytes);
                    if left == 0 && before > 0 {
                        return Progress::Endless;
                    }
                    let window = usize::try_from(left).unwrap_or(usize::MAX).min(before);
                    let (mut window, rest) = input.split_at(window);
                    let piece = self.reader.read(&mut window, usize::MAX);
                    *input = &input[before - window.len() - rest.len()..];
                    piece
                }
            };
            self.received_bytes += (before - input.len()) as u64;
            if let Piece::Content(content) = piece {
                self.take(content);
            }
            if self.reader.offence().is_some() || self.hops.hops() >= limits.hops_max {
                self.fate = Fate::Doomed;
            }
            match piece {
                Piece::End => return Progress::Ended,
                Piece::Full if matches!(self.fate, Fate::Doomed) => {}
                Piece::Full if self.content_bytes >= size_max => self.fate = Fate::Doomed,
                Piece::Full => return Progress::Full,
                Piece::Starved if input.is_empty() => return Progress::Starved,
                Piece::Content(_) | Piece::Starved => {}
            }
        }
    }

    fn take(&mut self, content: &[u8]) {
        self.content_bytes += content.len() as u64;
        self.hops.observe(content);
        if let Fate::Kept(body) = &mut self.fate {
            let taken = body.write(content);
            debug_assert_eq!(
                taken,
                content.len(),
                "no more was read than there is room for"
            );
        }
    }

    /// Goes on with more memory, or without a chance.
    fn grow(&mut self, verdict: Result<Reservation, Reply>) {
        match (verdict, &mut self.fate) {
            (Ok(reservation), Fate::Kept(body)) => body.grow(reservation),
            (Ok(_), Fate::Unopened | Fate::Doomed) => {}
            (Err(reply), _) => {
                self.no_memory = Some(reply);
                self.fate = Fate::Doomed;
            }
        }
    }

    fn deadline(&self, limits: &Limits) -> Instant {
        match &self.reader {
            Reader::Dots(_) => data_deadline(self.started_at, self.received_bytes, limits),
            Reader::Counts(reader) => reader.chunk().deadline(limits),
        }
    }

    /// Why there is no message, if so. Which of several reasons is named does not depend on the
    /// order in which they came up, so not on the segmentation either: what will never do comes
    /// before what may do later.
    fn refusal(&self, limits: &Limits) -> Option<(Reply, Rejected)> {
        match self.reader.offence() {
            Some(DataOffence::BareNewline) => {
                return Some((Reply::BareNewlineInMessage, Rejected::BareNewline));
            }
            Some(DataOffence::NulByte) => return Some((Reply::NulInMessage, Rejected::NulByte)),
            None => {}
        }
        if self.hops.hops() >= limits.hops_max {
            Some((Reply::TooManyHops, Rejected::TooManyHops))
        } else if self.content_bytes > limits.message_bytes_max.0 {
            Some((Reply::TooBig, Rejected::TooBig))
        } else if let Some(reply) = self.no_memory {
            Some((reply, rejected_for(&reply)))
        } else if matches!(self.fate, Fate::Kept(_)) {
            None
        } else {
            debug_assert!(false, "what dooms a message stays on record");
            Some((Reply::TryLater, Rejected::TryLater))
        }
    }
}

/// How the metrics name a refusal that was decided elsewhere.
pub(super) const fn rejected_for(reply: &Reply) -> Rejected {
    match reply {
        Reply::AttachmentRefused | Reply::TooComplex => Rejected::Attachment,
        Reply::NoMemory | Reply::SizeNotNow => Rejected::Memory,
        _ => Rejected::TryLater,
    }
}

/// How much of one message is read at all: half as much again as the largest may have, and a
/// little, so that even the smallest limit lets a message be read to its end. Dots that
/// transparency adds are at most a third.
pub(super) const fn received_bytes_max(limits: &Limits) -> u64 {
    let size_max = limits.message_bytes_max.0;
    size_max.saturating_add(size_max / 2).saturating_add(1024)
}
