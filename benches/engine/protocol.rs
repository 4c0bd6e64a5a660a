//! The protocol without I/O: lines, commands, data, chunks, and a whole session.

use crate::kept::data;
use mayfly::clock::{Instant, Stamps, WallClock};
use mayfly::mail::message::QueueId;
use mayfly::mail::{BodyWriter, Ledger};
use mayfly::metrics::CoreMetrics;
use mayfly::smtp::chunk::{Chunk, ChunkReader};
use mayfly::smtp::data::{DataReader, Piece};
use mayfly::smtp::line::LineReader;
use mayfly::smtp::session::Profile;
use mayfly::smtp::{
    Action, Extension, Extensions, Limits, Newlines, Question, Receipt, Reply, Session, Verdict,
};
use std::hint::black_box;
use std::sync::Arc;

/// The pieces in which data comes from a ring of receive buffers.
const PIECE_BYTES: usize = 16 << 10;

/// Lines in [`lines`].
pub(crate) const LINES: usize = 100;

/// Commands whose grammar is read.
pub(crate) const COMMANDS: [(&str, &[u8]); 4] = [
    ("mail", b"MAIL FROM:<somebody@sender.example> SIZE=4096"),
    ("rcpt", b"RCPT TO:<somebody@mx.test>"),
    ("data", b"DATA"),
    ("unknown", b"GET / HTTP/1.1"),
];

/// Lines of commands, one after the other.
pub(crate) fn lines() -> Vec<u8> {
    b"RCPT TO:<somebody@mx.test>\r\n".repeat(LINES)
}

/// Takes lines apart.
pub(crate) fn read_lines(input: &[u8]) {
    let mut reader = LineReader::default();
    let mut rest = black_box(input);
    while let Some(line) = reader.read(&mut rest, 2048) {
        black_box(line);
    }
}

/// Undoes the transparency of DATA.
pub(crate) fn read_data(input: &[u8]) {
    let mut reader = DataReader::new();
    for mut piece in black_box(input).chunks(PIECE_BYTES) {
        while let Piece::Content(content) = reader.read(&mut piece, usize::MAX) {
            black_box(content);
        }
    }
}

/// Reads one chunk of BDAT that is all of a message.
pub(crate) fn read_chunk(input: &[u8]) {
    let whole = Chunk::new(input.len() as u64, true, Instant::ZERO);
    let mut reader = ChunkReader::of_lines(Newlines::Strict, whole);
    for mut piece in black_box(input).chunks(PIECE_BYTES) {
        while let Piece::Content(content) = reader.read(&mut piece, usize::MAX) {
            black_box(content);
        }
    }
}

/// A client that comes, sends one message and goes.
pub(crate) struct Visit {
    profile: Profile,
    input: Vec<u8>,
    ledger: Ledger,
    metrics: CoreMetrics,
}

impl Visit {
    /// With a message of so many bytes.
    pub(crate) fn new(len: usize) -> Self {
        let envelope = b"EHLO x\r\nMAIL FROM:<a@b.test>\r\nRCPT TO:<u@mx.test>\r\nDATA\r\n";
        Self {
            profile: Profile {
                hostname: "mx.test".into(),
                extensions: Extensions::ALL.without(Extension::StartTls),
                xclient: false,
                tls: false,
                // The whole conversation is one piece.
                limits: Arc::new(Limits {
                    forbid_early_pipelining: false,
                    ..Limits::default()
                }),
                message_bytes_max_normally: Limits::default().message_bytes_max,
            },
            input: [&envelope[..], &data(len), b"QUIT\r\n"].concat(),
            ledger: Ledger::new(1 << 30),
            metrics: CoreMetrics::default(),
        }
    }

    /// What the client sends, in bytes.
    pub(crate) fn len(&self) -> u64 {
        self.input.len() as u64
    }

    /// The whole session, every question answered at once; says how many bytes were answered.
    pub(crate) fn converse(&self) -> usize {
        let mut session = Session::new(self.profile.clone(), Instant::ZERO);
        let mut pieces = black_box(&self.input).chunks(PIECE_BYTES);
        let mut piece: &[u8] = &[];
        let mut sent = 0;
        loop {
            match session.next_action() {
                Action::Send(bytes) => sent += bytes.len(),
                Action::Ask(question) => {
                    session.answer(self.decide(question), Instant::ZERO, &self.metrics);
                }
                Action::Wait { .. } => {
                    if piece.is_empty() {
                        piece = pieces.next().unwrap_or_default();
                    }
                    session.receive(&mut piece, Instant::ZERO, &self.metrics);
                }
                Action::Pause { until } => session.resume(until),
                Action::StartTls | Action::Close(_) => return sent,
            }
        }
    }

    fn decide(&self, question: Question<()>) -> Verdict<()> {
        let reserve = |bytes| self.ledger.reserve(bytes).ok_or(Reply::NoMemory);
        match question {
            Question::Impersonate(_) => Verdict::Impersonate(Ok(())),
            Question::Recipient { .. } => Verdict::Recipient(Ok(())),
            Question::Begin(begin) => Verdict::Begin(reserve(begin.bytes).map(BodyWriter::new)),
            Question::Grow { bytes } => Verdict::Grow(reserve(bytes)),
            Question::Message(complete) => {
                black_box(complete);
                Verdict::Message(Ok(Receipt {
                    kept_until: Stamps::default().rfc3339(
                        WallClock::new(Instant::ZERO, 1_795_341_600_000_000),
                        Instant::ZERO,
                    ),
                    queue_id: QueueId::from_random(0),
                }))
            }
        }
    }
}
