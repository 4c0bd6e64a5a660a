//! One connection's bytes: the ring below, TLS if there is any, deadlines.

use super::alarm::Alarm;
use super::core::Core;
use super::permits::Permit;
use super::ring::{Chunk, Connection, Lost, Received};
use super::tls::{Progress, Tls};
use crate::clock::Instant;
use crate::metrics::Ended;
use rustls::ServerConfig;
use std::future::poll_fn;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

/// How waiting for input ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Filled {
    /// There is input.
    Input,
    /// There is none, but something else may have changed: look again.
    Disturbed,
    /// The deadline has passed.
    TimedOut,
}

/// Input that has come and is not yet used up.
#[derive(Debug)]
enum Input {
    None,
    /// In a receive buffer, from this byte on.
    Buffer(Chunk, usize),
    /// In memory of its own: decrypted, or moved out of a receive buffer.
    Own(Vec<u8>, usize),
}

impl Input {
    fn rest(&self) -> &[u8] {
        match self {
            Self::None => &[],
            Self::Buffer(chunk, used) => &chunk[*used..],
            Self::Own(bytes, used) => &bytes[*used..],
        }
    }
}

/// One connection, as the driver sees it.
#[derive(Debug)]
pub struct Link {
    core: Rc<Core>,
    connection: Connection,
    alarm: Alarm,
    tls: Option<Box<Tls>>,
    input: Input,
    /// The peer sends nothing more, or nothing more may be believed.
    over: bool,
    /// The connection cannot be written to any more.
    lost: bool,
}

impl Link {
    /// A connection in plain text.
    pub fn new(core: &Rc<Core>, connection: Connection) -> Self {
        Self {
            alarm: core.alarm(&connection),
            core: Rc::clone(core),
            connection,
            tls: None,
            input: Input::None,
            over: false,
            lost: false,
        }
    }

    /// Whether the bytes are encrypted.
    pub const fn is_tls(&self) -> bool {
        self.tls.is_some()
    }

    /// Whether there is input that has not been used.
    pub fn has_input(&self) -> bool {
        !self.input.rest().is_empty() || self.connection.has_input()
    }

    /// Lets `use_up` take from the input what it can use.
    pub fn feed(&mut self, use_up: impl FnOnce(&mut &[u8])) {
        let mut rest = self.input.rest();
        let before = rest.len();
        if before == 0 {
            return;
        }
        use_up(&mut rest);
        let (left, taken) = (rest.len(), before - rest.len());
        if left == 0 {
            self.input = Input::None;
            return;
        }
        match &mut self.input {
            Input::None => {}
            Input::Buffer(_, used) | Input::Own(_, used) => *used += taken,
        }
    }

    /// Moves unused input out of the receive buffer, which goes back to the kernel.
    pub fn release_buffer(&mut self) {
        if let Input::Buffer(chunk, used) = &self.input {
            self.input = match &chunk[*used..] {
                [] => Input::None,
                rest => Input::Own(rest.to_vec(), 0),
            };
        }
    }

    /// Waits until there is input. Call when all input has been used.
    ///
    /// # Errors
    /// How the connection ended.
    pub async fn fill(&mut self, deadline: Instant) -> Result<Filled, Ended> {
        if !self.input.rest().is_empty() {
            return Ok(Filled::Input);
        }
        self.alarm.set(deadline);
        match self.receive().await? {
            Some(chunk) if self.tls.is_some() => self.decrypt(&chunk).await,
            Some(chunk) => {
                self.input = Input::Buffer(chunk, 0);
                Ok(Filled::Input)
            }
            None if self.alarm.has_rung() => Ok(Filled::TimedOut),
            None => Ok(Filled::Disturbed),
        }
    }

    /// The next piece from the ring; `None` when the alarm rang or the process stops.
    async fn receive(&mut self) -> Result<Option<Chunk>, Ended> {
        if self.over {
            return Err(Ended::Lost);
        }
        let draining = self.core.is_draining();
        let received = poll_fn(|context| {
            if self.alarm.has_rung() {
                return Poll::Ready(None);
            }
            match self.connection.poll_receive(context) {
                Poll::Ready(received) => Poll::Ready(Some(received)),
                Poll::Pending if self.core.is_draining() != draining => Poll::Ready(None),
                Poll::Pending => Poll::Pending,
            }
        })
        .await;
        match received {
            None => Ok(None),
            Some(Received::Chunk(chunk)) => Ok(Some(chunk)),
            Some(Received::Ended) => {
                self.over = true;
                Err(Ended::Lost)
            }
            Some(Received::Lost) => {
                (self.over, self.lost) = (true, true);
                Err(Ended::Lost)
            }
        }
    }

    async fn decrypt(&mut self, chunk: &Chunk) -> Result<Filled, Ended> {
        let Some(tls) = &mut self.tls else {
            return Ok(Filled::Disturbed);
        };
        let (mut plaintext, mut outgoing) = (Vec::new(), Vec::new());
        let progress = tls.receive(chunk, &mut plaintext, &mut outgoing);
        if !outgoing.is_empty() {
            self.write(outgoing).await?;
        }
        match progress {
            Ok(Progress::Closed) if plaintext.is_empty() => {
                self.over = true;
                Err(Ended::Lost)
            }
            Ok(progress) => {
                // After a close_notify what came before it is still used, and nothing after it is ever read.
                self.over = progress == Progress::Closed;
                self.input = Input::Own(plaintext, 0);
                Ok(if self.input.rest().is_empty() {
                    Filled::Disturbed
                } else {
                    Filled::Input
                })
            }
            Err(_) => {
                self.over = true;
                Err(Ended::TlsFailed)
            }
        }
    }

    /// Sends bytes, encrypted if the connection is. Waits only for what was sent before.
    ///
    /// # Errors
    /// How the connection ended.
    pub async fn send(&mut self, bytes: Vec<u8>) -> Result<(), Ended> {
        let Some(tls) = &mut self.tls else {
            return self.write(bytes).await;
        };
        let mut records = Vec::new();
        if tls.encrypt(&bytes, &mut records).is_err() {
            self.over = true;
            return Err(Ended::TlsFailed);
        }
        self.write(records).await
    }

    async fn write(&mut self, bytes: Vec<u8>) -> Result<(), Ended> {
        self.flush().await?;
        self.connection.send(bytes);
        Ok(())
    }

    /// Waits until everything is with the kernel; a peer that does not read has as long as for a command.
    async fn flush(&mut self) -> Result<(), Ended> {
        let mut waited = false;
        let sent = poll_fn(|context| match self.connection.poll_sent(context) {
            Poll::Ready(sent) => Poll::Ready(Some(sent)),
            Poll::Pending if waited && self.alarm.has_rung() => Poll::Ready(None),
            Poll::Pending => {
                if !waited {
                    let patience = self.core.live().limits.command_timeout.0;
                    self.alarm.set(self.core.now().plus(patience));
                    waited = true;
                }
                Poll::Pending
            }
        })
        .await;
        match sent {
            Some(Ok(())) => Ok(()),
            Some(Err(_)) => {
                self.lost = true;
                Err(Ended::Lost)
            }
            None => {
                self.lost = true;
                Err(Ended::Timeout)
            }
        }
    }

    /// Runs a TLS handshake; says whether a session was resumed.
    ///
    /// # Errors
    /// How the connection ended.
    pub async fn start_tls(
        &mut self,
        config: Arc<ServerConfig>,
        deadline: Instant,
    ) -> Result<bool, Ended> {
        self.alarm.set(deadline);
        let permit = self.core.handshakes().request();
        self.core.stir();
        let granted = poll_fn(|context| {
            if self.alarm.has_rung() {
                return Poll::Ready(false);
            }
            permit.poll(context).map(|()| true)
        })
        .await;
        if !granted {
            return Err(Ended::Timeout);
        }
        let result = self.shake_hands(config, deadline).await;
        self.release(permit);
        result
    }

    /// The next handshake may begin; whoever waits for it is woken, and must run before the core sleeps.
    fn release(&self, permit: Permit) {
        drop(permit);
        self.core.stir();
    }

    async fn shake_hands(
        &mut self,
        config: Arc<ServerConfig>,
        deadline: Instant,
    ) -> Result<bool, Ended> {
        let mut tls = Box::new(Tls::new(config).map_err(|_| Ended::TlsFailed)?);
        let mut plaintext = Vec::new();
        loop {
            self.alarm.set(deadline);
            let Some(chunk) = self.receive().await? else {
                if self.alarm.has_rung() {
                    return Err(Ended::Timeout);
                }
                continue;
            };
            let mut outgoing = Vec::new();
            let progress = tls.receive(&chunk, &mut plaintext, &mut outgoing);
            drop(chunk);
            if !outgoing.is_empty() {
                self.write(outgoing).await?;
            }
            match progress {
                Ok(Progress::Handshaking) => {}
                Ok(Progress::Established) => break,
                Ok(Progress::Closed) | Err(_) => {
                    self.over = true;
                    return Err(Ended::TlsFailed);
                }
            }
        }
        let resumed = tls.resumed();
        self.tls = Some(tls);
        self.input = Input::Own(plaintext, 0);
        Ok(resumed)
    }

    /// Ends the connection politely: everything is sent, then our end is closed, then the peer's is awaited for
    /// `linger`. Closing at once with input unread would make the kernel cut the connection, and our last reply with it.
    ///
    /// # Errors
    /// [`Lost`] when not everything could be sent.
    pub async fn finish(&mut self, linger: Duration, bytes_max: usize) -> Result<(), Lost> {
        if self.lost {
            return Err(Lost);
        }
        if let Some(tls) = &mut self.tls {
            let mut outgoing = Vec::new();
            tls.close(&mut outgoing);
            // A peer that is gone needs no farewell.
            let _ = self.write(outgoing).await;
        }
        if self.flush().await.is_err() {
            return Err(Lost);
        }
        self.connection.shut_down_sending();
        self.input = Input::None;
        self.alarm.set(self.core.now().plus(linger));
        let mut thrown_away = 0;
        while thrown_away < bytes_max && !self.alarm.has_rung() {
            match self.receive().await {
                Ok(Some(chunk)) => thrown_away += chunk.len(),
                Ok(None) => {}
                Err(_) => break,
            }
        }
        if self.lost { Err(Lost) } else { Ok(()) }
    }
}
