//! What the protocol engine costs without I/O: lines, commands, data, and a whole session.
//!
//! Run with `cargo bench --no-default-features --bench smtp`. Expected on a current server core: a
//! command well under a microsecond, data at several gigabytes a second, a session of one 4 KiB
//! message in a few microseconds.

#![forbid(unsafe_code)]
#![allow(missing_docs)] // The macros of criterion make public items.

#[path = "../tests/kept/mod.rs"]
mod kept;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use kept::{Kept, data};
use mayfly::clock::{Instant, Stamps, WallClock};
use mayfly::mail::message::QueueId;
use mayfly::mail::{BodyWriter, Ledger};
use mayfly::metrics::CoreMetrics;
use mayfly::smtp::command::parse;
use mayfly::smtp::data::{DataReader, Piece};
use mayfly::smtp::line::LineReader;
use mayfly::smtp::session::Profile;
use mayfly::smtp::{
    Action, Extension, Extensions, Limits, Question, Receipt, Reply, Session, Verdict,
};
use std::hint::black_box;
use std::sync::Arc;

/// The pieces in which data comes from a ring of receive buffers.
const CHUNK_BYTES: usize = 16 << 10;

fn line(c: &mut Criterion) {
    let input = b"RCPT TO:<somebody@mx.test>\r\n".repeat(100);
    let mut group = c.benchmark_group("line");
    group.throughput(Throughput::Elements(100));
    group.bench_function("whole", |b| {
        b.iter(|| {
            let mut reader = LineReader::default();
            let mut rest = black_box(&input[..]);
            while let Some(line) = reader.read(&mut rest, 2048) {
                black_box(line);
            }
        });
    });
    group.finish();
}

fn command(c: &mut Criterion) {
    let mut group = c.benchmark_group("command");
    for (name, text) in [
        (
            "mail",
            &b"MAIL FROM:<somebody@sender.example> SIZE=4096"[..],
        ),
        ("rcpt", b"RCPT TO:<somebody@mx.test>"),
        ("data", b"DATA"),
        ("unknown", b"GET / HTTP/1.1"),
    ] {
        group.bench_function(name, |b| b.iter(|| black_box(parse(black_box(text)))));
    }
    group.finish();
}

fn data_reader(c: &mut Criterion) {
    let mut group = c.benchmark_group("data");
    for (name, len) in [("4KiB", 4 << 10), ("1MiB", 1 << 20)] {
        let input = data(len);
        group.throughput(Throughput::Bytes(len as u64));
        group.bench_function(name, |b| {
            b.iter(|| {
                let mut reader = DataReader::new();
                for mut chunk in black_box(&input).chunks(CHUNK_BYTES) {
                    while let Piece::Content(content) = reader.read(&mut chunk, usize::MAX) {
                        black_box(content);
                    }
                }
            });
        });
    }
    group.finish();
}

/// One client: greeting, one message, goodbye, every question answered at once.
fn converse(profile: &Profile, input: &[u8], ledger: &Ledger, metrics: &CoreMetrics) -> usize {
    let mut session = Session::new(profile.clone(), Instant::ZERO);
    let mut chunks = input.chunks(CHUNK_BYTES);
    let mut chunk: &[u8] = &[];
    let mut sent = 0;
    loop {
        match session.next_action() {
            Action::Send(bytes) => sent += bytes.len(),
            Action::Ask(question) => {
                let reserve = |bytes| ledger.reserve(bytes).ok_or(Reply::NoMemory);
                let verdict = match question {
                    Question::Impersonate(_) => Verdict::Impersonate(Ok(())),
                    Question::Recipient { .. } => Verdict::Recipient(Ok(())),
                    Question::Begin(begin) => {
                        Verdict::Begin(reserve(begin.bytes).map(BodyWriter::new))
                    }
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
                };
                session.answer(verdict, Instant::ZERO, metrics);
            }
            Action::Wait { .. } => {
                if chunk.is_empty() {
                    chunk = chunks.next().unwrap_or_default();
                }
                session.receive(&mut chunk, Instant::ZERO, metrics);
            }
            Action::Pause { until } => session.resume(until),
            Action::StartTls | Action::Close(_) => return sent,
        }
    }
}

fn session(c: &mut Criterion) {
    let profile = Profile {
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
    };
    let (ledger, metrics) = (Ledger::new(1 << 30), CoreMetrics::default());
    let mut group = c.benchmark_group("session");
    for (name, len) in [("4KiB", 4 << 10), ("1MiB", 1 << 20)] {
        let envelope = b"EHLO x\r\nMAIL FROM:<a@b.test>\r\nRCPT TO:<u@mx.test>\r\nDATA\r\n";
        let input = [&envelope[..], &data(len), b"QUIT\r\n"].concat();
        group.throughput(Throughput::Bytes(input.len() as u64));
        group.bench_function(name, |b| {
            b.iter(|| black_box(converse(&profile, black_box(&input), &ledger, &metrics)));
        });
    }
    group.finish();
}

/// A message on a kept connection, command by command, with its trace headers, its body and the
/// dates: what a driver adds to the engine beside sockets and mailboxes.
fn message(c: &mut Criterion) {
    let mut group = c.benchmark_group("message");
    let input = data(4 << 10);
    group.throughput(Throughput::Elements(1));
    group.bench_function("4KiB", |b| {
        let mut kept = Kept::new();
        b.iter(|| black_box(kept.message(black_box(&input))));
    });
    group.finish();
}

criterion_group!(benches, line, command, data_reader, session, message);
criterion_main!(benches);
