//! A client that keeps its connection and sends message after message, each command in a write of
//! its own, with all that the edge does for a message beside sockets and mailboxes.

#![forbid(unsafe_code)]
#![allow(dead_code)] // Each program that includes this file uses a part of it.

use mayfly::clock::{Instant, Stamps, WallClock};
use mayfly::mail::message::QueueId;
use mayfly::mail::trace::Trace;
use mayfly::mail::{Address, BodyWriter, Ledger, Message};
use mayfly::metrics::CoreMetrics;
use mayfly::policy::recipients::{self, Decision, Rules};
use mayfly::smtp::session::Profile;
use mayfly::smtp::{
    Action, Beginning, Extensions, Leases, Limits, Question, Receipt, Reply, Session, Verdict,
};
use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

/// The commands of a message, in the order of the writes.
const ENVELOPE: [&[u8]; 3] = [
    b"MAIL FROM:<somebody@sender.example>\r\n",
    b"RCPT TO:<somebody@mayfly.test>\r\n",
    b"DATA\r\n",
];

/// Where messages go.
pub(crate) trait Mailboxes {
    /// A place for one message.
    type Place;

    /// Keeps a place for a message.
    fn place(
        &mut self,
        mailbox: &Address,
        declared_bytes: u64,
        now: Instant,
    ) -> Result<Self::Place, Reply>;

    /// Stores a message in the places that were kept for it; says when it goes.
    fn store(&mut self, places: Leases<Self::Place>, message: Message, now: Instant) -> Instant;
}

/// No mailboxes: what a message costs before it comes to one.
#[derive(Default)]
pub(crate) struct Nowhere;

impl Mailboxes for Nowhere {
    type Place = u64;

    fn place(&mut self, mailbox: &Address, _: u64, _: Instant) -> Result<u64, Reply> {
        Ok(black_box(mailbox).as_str().len() as u64)
    }

    fn store(&mut self, _: Leases<u64>, message: Message, now: Instant) -> Instant {
        drop(black_box(message));
        now.plus(Duration::from_secs(3600))
    }
}

/// The session and what its driver has at hand.
pub(crate) struct Kept<M: Mailboxes = Nowhere> {
    session: Session<M::Place>,
    mailboxes: M,
    rules: Rules,
    ledger: Ledger,
    metrics: CoreMetrics,
    wall: WallClock,
    stamps: Stamps,
    now: Instant,
}

impl Kept {
    /// Behind the greeting and EHLO; messages go nowhere.
    pub(crate) fn new() -> Self {
        Self::with(Nowhere)
    }
}

impl<M: Mailboxes> Kept<M> {
    /// Behind the greeting and EHLO.
    pub(crate) fn with(mailboxes: M) -> Self {
        let now = Instant::ZERO;
        let profile = Profile {
            hostname: "mx.mayfly.test".into(),
            extensions: Extensions::ALL,
            xclient: false,
            tls: false,
            limits: Arc::new(Limits::default()),
            message_bytes_max_normally: Limits::default().message_bytes_max,
        };
        let mut kept = Self {
            session: Session::new(profile, now),
            mailboxes,
            rules: Rules::default(),
            ledger: Ledger::new(1 << 30),
            metrics: CoreMetrics::default(),
            wall: WallClock::new(now, 1_795_341_600_000_000),
            stamps: Stamps::default(),
            now,
        };
        kept.exchange(b"EHLO client.sender.example\r\n");
        kept
    }

    /// Sends one message, whose data ends with its dot; says how many bytes were answered.
    pub(crate) fn message(&mut self, data: &[u8]) -> usize {
        self.now = self.now.plus(Duration::from_micros(10));
        let envelope: usize = ENVELOPE.iter().map(|line| self.exchange(line)).sum();
        envelope + self.exchange(data)
    }

    /// Sends one message in chunks, each of which is a write that begins with its BDAT; says how many
    /// bytes were answered.
    pub(crate) fn chunks(&mut self, writes: &[Vec<u8>]) -> usize {
        self.now = self.now.plus(Duration::from_micros(10));
        let envelope: usize = ENVELOPE[..2].iter().map(|line| self.exchange(line)).sum();
        let chunks: usize = writes.iter().map(|write| self.exchange(write)).sum();
        envelope + chunks
    }

    /// One write of the client, and all that comes of it.
    fn exchange(&mut self, mut input: &[u8]) -> usize {
        let mut answered = 0;
        loop {
            match self.session.next_action() {
                Action::Send(bytes) => answered += black_box(bytes).len(),
                Action::Ask(question) => {
                    let verdict = self.decide(question);
                    self.session.answer(verdict, self.now, &self.metrics);
                }
                Action::Wait { .. } if input.is_empty() => return answered,
                Action::Wait { .. } => {}
                Action::Pause { until } => self.session.resume(until),
                Action::StartTls | Action::Close(_) => return answered,
            }
            if !input.is_empty() {
                self.session.receive(&mut input, self.now, &self.metrics);
            }
        }
    }

    fn decide(&mut self, question: Question<M::Place>) -> Verdict<M::Place> {
        match question {
            Question::Recipient {
                recipient,
                declared_bytes,
                ..
            } => Verdict::Recipient(match recipients::decide(&recipient, &self.rules) {
                Decision::Mailbox { address, .. } => {
                    self.mailboxes.place(&address, declared_bytes, self.now)
                }
                Decision::RelayDenied => Err(Reply::RelayDenied),
            }),
            Question::Impersonate(_) => Verdict::Impersonate(Ok(())),
            Question::Begin(beginning) => {
                Verdict::Begin(self.open(&beginning).ok_or(Reply::NoMemory))
            }
            Question::Grow { bytes } => {
                Verdict::Grow(self.ledger.reserve(bytes).ok_or(Reply::NoMemory))
            }
            Question::Message(complete) => {
                let queue_id = QueueId::from_random(17);
                let message = Message {
                    queue_id,
                    reverse_path: complete.reverse_path,
                    body: complete.body,
                    received_at: self.now,
                    tls: false,
                    require_tls: complete.require_tls,
                    encrypted: false,
                };
                let kept_until = self.mailboxes.store(complete.leases, message, self.now);
                Verdict::Message(Ok(Receipt {
                    kept_until: self.stamps.rfc3339(self.wall, kept_until),
                    queue_id,
                }))
            }
        }
    }

    fn open(&self, beginning: &Beginning) -> Option<BodyWriter> {
        let headers = Trace {
            reverse_path: &beginning.reverse_path,
            helo: &beginning.helo,
            client: IpAddr::V4(Ipv4Addr::LOCALHOST),
            hostname: "mx.mayfly.test",
            with: beginning.protocol.into(),
            tls: None,
            queue_id: QueueId::from_random(17),
            only_recipient: beginning.only_recipient.as_ref(),
            date: &self.stamps.rfc5322(self.wall, self.now),
        }
        .headers();
        let bytes = beginning.bytes + headers.len() as u64;
        Some(BodyWriter::beginning_with(
            headers,
            self.ledger.reserve(bytes)?,
        ))
    }
}

/// The writes of a client that sends `text` in chunks of `size` bytes.
pub(crate) fn chunks(text: &[u8], size: usize) -> Vec<Vec<u8>> {
    let with = |command: String, bytes: &[u8]| [command.as_bytes(), bytes].concat();
    let chunks = text.chunks(size);
    chunks
        .map(|bytes| with(format!("BDAT {}\r\n", bytes.len()), bytes))
        .chain([with("BDAT 0 LAST\r\n".to_owned(), b"")])
        .collect()
}

/// A message of `len` bytes with a short header and lines of an ordinary length, and the dot that
/// ends it.
pub(crate) fn data(len: usize) -> Vec<u8> {
    let header = b"From: <somebody@sender.example>\r\nTo: <somebody@mayfly.test>\r\nDate: Sun, 22 Nov 2026 10:00:00 +0000\r\nMessage-Id: <1.2@sender.example>\r\n\r\n";
    let line = b"This is a line of a message, of about the length that lines of messages have.\r\n";
    let mut text = [&header[..], &line.repeat(len / line.len() + 1)].concat();
    text.truncate(len - 5);
    text.extend_from_slice(b"\r\n.\r\n");
    text
}
