//! A connection's socket, with the gate of [`super::framing`] in front of hyper.
//!
//! hyper sees only heads that passed. In place of one that was refused it is shown a request of
//! our own making, for which [`Gate::passed`] tells the handler what to answer; so refusals keep
//! their place behind the answers that are still on their way.

use super::framing::{Framing, HeadLimits, Offence, Step};
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::Sleep;

/// The target of the request that stands for a refused one.
pub(super) const REFUSED_PATH: &str = "/.refused";
const REFUSED_REQUEST: &[u8] =
    b"GET /.refused HTTP/1.1\r\nHost: refused\r\nConnection: close\r\n\r\n";

/// Bytes read from the socket at a time.
const READ_BYTES: usize = 4 << 10;

/// How much of what a refused client still sends is read, and for how long, so that the kernel
/// does not answer unread bytes with a reset that would destroy our answer.
const LINGER_BYTES: usize = 1 << 20;
const LINGER_TIME: Duration = Duration::from_secs(1);

/// What the gate of a connection tells its handler.
#[derive(Debug, Default)]
pub(super) struct Gate {
    refused: OnceLock<Offence>,
    last: AtomicBool,
    open: AtomicBool,
}

/// What is to be known of the request that the gate has just let through.
#[derive(Clone, Copy, Debug)]
pub(super) struct Passed {
    /// Why the request with [`REFUSED_PATH`] stands for another, if it does.
    pub(super) refused: Option<Offence>,
    /// Whether no other request may follow on this connection.
    pub(super) last: bool,
}

impl Gate {
    /// What comes from now on is no HTTP any more: the answer that switches protocols is on its way, and none came before it.
    pub(super) fn open(&self) {
        self.open.store(true, Relaxed);
    }

    /// Ask as soon as hyper hands out the request: later, the gate may have looked at the next.
    pub(super) fn passed(&self) -> Passed {
        Passed {
            refused: self.refused.get().copied(),
            last: self.last.load(Relaxed),
        }
    }
}

/// The gated socket.
#[derive(Debug)]
pub(super) struct Wire {
    stream: TcpStream,
    gate: Arc<Gate>,
    framing: Framing,
    /// Received and not yet let through.
    received: Vec<u8>,
    /// How many of them, and of those to come, may pass.
    allowed: u64,
    /// Runs while the peer takes nothing of what we write.
    stalled: Option<Pin<Box<Sleep>>>,
    stall_max: Duration,
    closing: Closing,
}

#[derive(Debug)]
enum Closing {
    /// Still open for writing.
    Not,
    /// Closed for writing; what still comes is thrown away.
    Lingering {
        deadline: Pin<Box<Sleep>>,
        bytes: usize,
    },
}

impl Wire {
    /// Gates `stream`. A peer that takes nothing for `stall_max` while we have something to write is given up.
    pub(super) fn new(stream: TcpStream, limits: HeadLimits, stall_max: Duration) -> Self {
        Self {
            stream,
            gate: Arc::default(),
            framing: Framing::new(limits),
            received: Vec::new(),
            allowed: 0,
            stalled: None,
            stall_max,
            closing: Closing::Not,
        }
    }

    pub(super) fn gate(&self) -> Arc<Gate> {
        Arc::clone(&self.gate)
    }

    /// Moves what may pass to `out`; says whether anything did.
    fn let_through(&mut self, out: &mut ReadBuf<'_>) -> bool {
        let allowed = usize::try_from(self.allowed).unwrap_or(usize::MAX);
        let taken = allowed.min(self.received.len()).min(out.remaining());
        out.put_slice(&self.received[..taken]);
        self.received.drain(..taken);
        self.allowed -= taken as u64;
        taken > 0
    }

    /// Asks the gate about what was received; says whether something may pass now.
    fn judge(&mut self) -> bool {
        match self.framing.step(&self.received) {
            Step::More => false,
            Step::Pass(bytes) => {
                self.allowed = bytes;
                self.gate.last.store(self.framing.is_last(), Relaxed);
                true
            }
            Step::Refuse(offence) => {
                // The gate refuses once, so the cell is empty.
                let _ = self.gate.refused.set(offence);
                self.gate.last.store(true, Relaxed);
                self.received.clear();
                self.received.extend_from_slice(REFUSED_REQUEST);
                self.allowed = REFUSED_REQUEST.len() as u64;
                true
            }
        }
    }

    /// Reads more from the socket; says how many bytes came, 0 at the end.
    fn fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let mut chunk = [0; READ_BYTES];
        let mut chunk = ReadBuf::new(&mut chunk);
        ready!(Pin::new(&mut self.stream).poll_read(cx, &mut chunk))?;
        if self.gate.refused.get().is_none() {
            self.received.extend_from_slice(chunk.filled());
        }
        Poll::Ready(Ok(chunk.filled().len()))
    }

    /// Watches a write: one that gets nowhere for too long fails.
    fn watch<T>(
        &mut self,
        cx: &mut Context<'_>,
        written: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.stalled = None;
            return written;
        }
        let stall_max = self.stall_max;
        let timer = self
            .stalled
            .get_or_insert_with(|| Box::pin(tokio::time::sleep(stall_max)));
        ready!(timer.as_mut().poll(cx));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if out.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        loop {
            if self.gate.open.load(Relaxed) {
                self.allowed = u64::MAX;
            }
            if self.let_through(out) {
                return Poll::Ready(Ok(()));
            }
            if self.allowed == 0 && !self.received.is_empty() && self.judge() {
                continue;
            }
            if ready!(self.fill(cx))? == 0 {
                return Poll::Ready(Ok(()));
            }
        }
    }
}

impl AsyncWrite for Wire {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.watch(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, pieces);
        self.watch(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if matches!(self.closing, Closing::Not) {
            ready!(Pin::new(&mut self.stream).poll_shutdown(cx))?;
            let between_requests = !self.gate.last.load(Relaxed) && self.allowed == 0;
            if between_requests && self.received.is_empty() {
                return Poll::Ready(Ok(()));
            }
            self.closing = Closing::Lingering {
                deadline: Box::pin(tokio::time::sleep(LINGER_TIME)),
                bytes: 0,
            };
        }
        loop {
            let filled = self.fill(cx);
            self.received.clear();
            let Closing::Lingering { deadline, bytes } = &mut self.closing else {
                return Poll::Ready(Ok(()));
            };
            match filled {
                Poll::Ready(Ok(more)) if more > 0 && *bytes < LINGER_BYTES => *bytes += more,
                Poll::Ready(_) => return Poll::Ready(Ok(())),
                Poll::Pending => {
                    ready!(deadline.as_mut().poll(cx));
                    return Poll::Ready(Ok(()));
                }
            }
        }
    }
}
