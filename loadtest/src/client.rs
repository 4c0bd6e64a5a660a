//! One SMTP session of the generator: it connects, introduces itself, and hands over messages.

use crate::job::{Job, Tls};
use crate::payload::{Payloads, bdat, chunks};
use crate::proxy;
use crate::tally::{Clocks, Measure};
use crate::tls;
use crate::wire::{Fault, Wire};
use rustls::HandshakeKind;
use rustls::pki_types::ServerName;
use std::cell::RefCell;
use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long connecting and introducing may take, and how long a message.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// What became of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// 250 for the message, and for so many of its recipients.
    Accepted { bytes: u64 },
    /// A reply said no; none of it may be found.
    Refused(u16),
    /// The connection failed before the end of data had left; none of it may be found.
    Failed(Fault),
    /// It failed later; it may be found once or not at all.
    Unknown(Fault),
}

/// How a connection came to be, or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Opening {
    Refused(u16),
    Failed(Fault),
}

/// What sessions of one process share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) job: Job,
    pub(crate) payloads: Payloads,
    pub(crate) clocks: RefCell<Clocks>,
    /// When the end of data of each message left, by its number; only where events are timed.
    pub(crate) ends: RefCell<Vec<Option<Instant>>>,
    /// Connections opened, with their handshakes: all, full, resumed.
    pub(crate) opened: RefCell<[u64; 3]>,
}

impl Shared {
    pub(crate) fn record(&self, measure: Measure, took: Duration) {
        self.clocks.borrow_mut().record(measure, took);
    }
}

/// One session's own things, used for one connection after the other.
#[derive(Debug)]
pub(crate) struct Client {
    number: u32,
    tls: Option<Arc<rustls::ClientConfig>>,
    name: ServerName<'static>,
    buffer: Vec<u8>,
    connections: u64,
}

impl Client {
    pub(crate) fn new(shared: &Shared, number: u32) -> Self {
        let load = &shared.job.load;
        Self {
            number,
            // Each has tickets of its own: one may be used once only.
            tls: (load.tls != Tls::None).then(|| tls::config(load.resume)),
            name: tls::name(),
            buffer: Vec::new(),
            connections: 0,
        }
    }

    /// Connects and says EHLO, with all that the load wants between.
    pub(crate) async fn open(&mut self, shared: &Shared) -> Result<Wire, Opening> {
        let opening = tokio::time::timeout(PATIENCE, self.try_open(shared)).await;
        opening.unwrap_or(Err(Opening::Failed(Fault::Timeout)))
    }

    async fn try_open(&mut self, shared: &Shared) -> Result<Wire, Opening> {
        let load = &shared.job.load;
        let began = Instant::now();
        let mut wire = Wire::connect(shared.job.target, self.source(shared))
            .await
            .map_err(Opening::Failed)?;
        self.connections += 1;
        shared.opened.borrow_mut()[0] += 1;
        if load.proxy
            && let SocketAddr::V4(server) = shared.job.target
        {
            let client = proxy::client(u64::from(self.number) << 16 | (self.connections & 0xffff));
            wire.send(&[&proxy::header(client, server)])
                .await
                .map_err(Opening::Failed)?;
        }
        if load.tls == Tls::Implicit {
            shared.record(Measure::Connect, began.elapsed());
            self.handshake(&mut wire, shared).await?;
        }
        expect(&mut wire, 220).await?;
        if load.tls != Tls::Implicit {
            shared.record(Measure::Connect, began.elapsed());
        }
        introduce(&mut wire).await?;
        if load.tls == Tls::Starttls {
            wire.send(&[b"STARTTLS\r\n"])
                .await
                .map_err(Opening::Failed)?;
            expect(&mut wire, 220).await?;
            self.handshake(&mut wire, shared).await?;
            introduce(&mut wire).await?;
        }
        Ok(wire)
    }

    async fn handshake(&self, wire: &mut Wire, shared: &Shared) -> Result<(), Opening> {
        let Some(config) = &self.tls else {
            return Ok(());
        };
        let began = Instant::now();
        let kind = wire
            .handshake(config, &self.name)
            .await
            .map_err(Opening::Failed)?;
        shared.record(Measure::Handshake, began.elapsed());
        let place = if kind == HandshakeKind::Resumed { 2 } else { 1 };
        shared.opened.borrow_mut()[place] += 1;
        Ok(())
    }

    fn source(&self, shared: &Shared) -> Option<Ipv4Addr> {
        let sources = shared.job.load.sources;
        (sources > 0).then(|| {
            let [.., host] = (1 + self.number % sources).to_be_bytes();
            let [.., net] = (1 + shared.job.worker % 250).to_be_bytes();
            Ipv4Addr::new(127, 1, net, host)
        })
    }

    /// Hands over message `number`.
    pub(crate) async fn message(
        &mut self,
        wire: &mut Wire,
        shared: &Shared,
        number: u64,
    ) -> Outcome {
        let mut ended = None;
        let sending = self.try_message(wire, shared, number, &mut ended);
        let fault = match tokio::time::timeout(PATIENCE, sending).await {
            Ok(Ok(outcome)) => return outcome,
            Ok(Err(fault)) => fault,
            Err(_) => Fault::Timeout,
        };
        if ended.is_some() {
            Outcome::Unknown(fault)
        } else {
            Outcome::Failed(fault)
        }
    }

    async fn try_message(
        &mut self,
        wire: &mut Wire,
        shared: &Shared,
        number: u64,
        ended: &mut Option<Instant>,
    ) -> Result<Outcome, Fault> {
        let load = &shared.job.load;
        self.buffer.clear();
        self.envelope(shared, number);
        if load.chunking {
            return self.in_chunks(wire, shared, number, ended).await;
        }
        if load.pipelining {
            self.buffer.extend_from_slice(b"DATA\r\n");
            wire.send(&[&self.buffer]).await?;
        } else {
            for line in self.buffer.split_inclusive(|byte| *byte == b'\n') {
                wire.send(&[line]).await?;
                let code = wire.reply().await?;
                if code != 250 {
                    return Ok(Outcome::Refused(code));
                }
            }
            wire.send(&[b"DATA\r\n"]).await?;
        }
        let replies = if load.pipelining {
            1 + load.recipients
        } else {
            0
        };
        if let Some(code) = first_refusal(wire, replies).await? {
            // For the other recipients there may be a 354: the connection ends before there is a message for them.
            return Ok(Outcome::Refused(code));
        }
        let code = wire.reply().await?;
        if code != 354 {
            return Ok(Outcome::Refused(code));
        }
        self.buffer.clear();
        shared
            .payloads
            .header(shared.job.marker(number), &mut self.buffer);
        let body = shared.payloads.body(number);
        self.last(
            wire,
            shared,
            number,
            ended,
            &[&self.buffer, body],
            (self.buffer.len() + body.len()) as u64,
        )
        .await
    }

    /// MAIL and RCPT.
    fn envelope(&mut self, shared: &Shared, number: u64) {
        let (job, load) = (&shared.job, &shared.job.load);
        let buffer = &mut self.buffer;
        buffer.extend_from_slice(b"MAIL FROM:<load@client.example>\r\n");
        let first = (job.first + number) * u64::from(load.recipients);
        for recipient in first..first + u64::from(load.recipients) {
            // Writing into memory does not fail.
            let _ = write!(
                buffer,
                "RCPT TO:<{}-{}@{}>\r\n",
                load.name,
                recipient % load.mailboxes,
                job.domain
            );
        }
    }

    /// The envelope, which is in the buffer, and the message in chunks behind it. Chunks need no reply before the next.
    async fn in_chunks(
        &mut self,
        wire: &mut Wire,
        shared: &Shared,
        number: u64,
        ended: &mut Option<Instant>,
    ) -> Result<Outcome, Fault> {
        let load = &shared.job.load;
        let body = shared.payloads.body(number);
        let header = shared.payloads.header_bytes();
        let whole = header + body.len();
        let mut replies = 1 + load.recipients;
        let mut from = 0;
        for (end, last) in chunks(
            whole,
            usize::try_from(load.chunk_bytes).unwrap_or(usize::MAX),
        ) {
            bdat(end - from, last, &mut self.buffer);
            let commands = self.buffer.len();
            if from < header {
                // The header is written whole and what this chunk has of it is taken.
                shared
                    .payloads
                    .header(shared.job.marker(number), &mut self.buffer);
                self.buffer
                    .copy_within(commands + from..commands + end.min(header), commands);
                self.buffer.truncate(commands + end.min(header) - from);
            }
            let piece = &body[from.saturating_sub(header)..end.saturating_sub(header)];
            if last {
                *ended = Some(self.end_leaves(shared, number));
            }
            wire.send(&[&self.buffer, piece]).await?;
            self.buffer.clear();
            replies += u32::from(!last);
            from = end;
        }
        let refused = first_refusal(wire, replies).await?;
        let code = wire.reply().await?;
        Ok(self.judged(shared, refused.unwrap_or(code), *ended, whole as u64))
    }

    /// Sends the message itself and waits for what the server says of it.
    async fn last(
        &self,
        wire: &mut Wire,
        shared: &Shared,
        number: u64,
        ended: &mut Option<Instant>,
        parts: &[&[u8]],
        bytes: u64,
    ) -> Result<Outcome, Fault> {
        *ended = Some(self.end_leaves(shared, number));
        wire.send(parts).await?;
        let code = wire.reply().await?;
        Ok(self.judged(shared, code, *ended, bytes))
    }

    fn end_leaves(&self, shared: &Shared, number: u64) -> Instant {
        let now = Instant::now();
        if shared.job.load.watch {
            let mut ends = shared.ends.borrow_mut();
            let place = usize::try_from(number).unwrap_or(usize::MAX);
            if let Some(end) = ends.get_mut(place) {
                *end = Some(now);
            }
        }
        now
    }

    fn judged(&self, shared: &Shared, code: u16, ended: Option<Instant>, bytes: u64) -> Outcome {
        if code != 250 {
            return Outcome::Refused(code);
        }
        if let Some(ended) = ended {
            shared.record(Measure::DataTo250, ended.elapsed());
        }
        Outcome::Accepted { bytes }
    }
}

/// Says EHLO.
async fn introduce(wire: &mut Wire) -> Result<(), Opening> {
    wire.send(&[b"EHLO client.example\r\n"])
        .await
        .map_err(Opening::Failed)?;
    expect(wire, 250).await
}

async fn expect(wire: &mut Wire, code: u16) -> Result<(), Opening> {
    match wire.reply().await.map_err(Opening::Failed)? {
        reply if reply == code => Ok(()),
        reply => Err(Opening::Refused(reply)),
    }
}

/// Reads so many replies; the first that is no 250, if one is not.
async fn first_refusal(wire: &mut Wire, replies: u32) -> Result<Option<u16>, Fault> {
    let mut refused = None;
    for _ in 0..replies {
        let code = wire.reply().await?;
        if code != 250 && refused.is_none() {
            refused = Some(code);
        }
    }
    Ok(refused)
}

/// Ends a session as it should; what the server says to that is waited for, so that its end is not seen as a lost connection.
pub(crate) async fn quit(mut wire: Wire) {
    if wire.send(&[b"QUIT\r\n"]).await.is_ok() {
        let _ = tokio::time::timeout(PATIENCE, wire.reply()).await;
    }
}
