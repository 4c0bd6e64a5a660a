//! What the protocol engine costs without I/O: lines, commands, data, chunks, a whole session, and a message on its way
//! into its mailbox.
//!
//! Run with `cargo bench --no-default-features --bench smtp`. Expected on a current server core: a
//! command well under a microsecond, data at several gigabytes a second, a session of one 4 KiB
//! message in a few microseconds.

#![forbid(unsafe_code)]
#![allow(missing_docs, reason = "criterion's macros declare a public function")]

mod engine;
#[path = "../tests/kept/mod.rs"]
mod kept;
#[path = "../tests/world/mod.rs"]
mod world;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use engine::mailboxes::into_mailbox;
use engine::protocol::{self, COMMANDS, LINES, Visit};
use kept::{Kept, chunks, data};
use mayfly::smtp::command::parse;
use std::hint::black_box;

fn line(c: &mut Criterion) {
    let input = protocol::lines();
    let mut group = c.benchmark_group("line");
    group.throughput(Throughput::Elements(LINES as u64));
    group.bench_function("whole", |b| b.iter(|| protocol::read_lines(&input)));
    group.finish();
}

fn command(c: &mut Criterion) {
    let mut group = c.benchmark_group("command");
    for (name, text) in COMMANDS {
        group.bench_function(name, |b| b.iter(|| black_box(parse(black_box(text)))));
    }
    group.finish();
}

fn data_reader(c: &mut Criterion) {
    let mut group = c.benchmark_group("data");
    for (name, len) in [("4KiB", 4 << 10), ("1MiB", 1 << 20)] {
        let input = data(len);
        group.throughput(Throughput::Bytes(len as u64));
        group.bench_function(name, |b| b.iter(|| protocol::read_data(&input)));
    }
    group.finish();
}

fn chunk_reader(c: &mut Criterion) {
    let mut group = c.benchmark_group("chunk");
    for (name, len) in [("4KiB", 4 << 10), ("1MiB", 1 << 20)] {
        let input = data(len);
        group.throughput(Throughput::Bytes(len as u64));
        group.bench_function(name, |b| b.iter(|| protocol::read_chunk(&input)));
    }
    group.finish();
}

fn session(c: &mut Criterion) {
    let mut group = c.benchmark_group("session");
    for (name, len) in [("4KiB", 4 << 10), ("1MiB", 1 << 20)] {
        let visit = Visit::new(len);
        group.throughput(Throughput::Bytes(visit.len()));
        group.bench_function(name, |b| b.iter(|| black_box(visit.converse())));
    }
    group.finish();
}

/// A message on a kept connection, command by command, with its trace headers, its body and the
/// dates: what a driver adds to the engine beside sockets and mailboxes. In chunks, and into its mailbox.
fn message(c: &mut Criterion) {
    let mut group = c.benchmark_group("message");
    let input = data(4 << 10);
    group.throughput(Throughput::Elements(1));
    group.bench_function("4KiB", |b| {
        let mut kept = Kept::new();
        b.iter(|| black_box(kept.message(black_box(&input))));
    });
    let writes = chunks(&input, 2 << 10);
    group.bench_function("4KiB in chunks", |b| {
        let mut kept = Kept::new();
        b.iter(|| black_box(kept.chunks(black_box(&writes))));
    });
    group.bench_function("4KiB into a mailbox", |b| {
        let mut kept = into_mailbox(1_000);
        b.iter(|| black_box(kept.message(black_box(&input))));
    });
    group.finish();
}

criterion_group!(
    benches,
    line,
    command,
    data_reader,
    chunk_reader,
    session,
    message
);
criterion_main!(benches);
