//! One connection's bytes: the ring below, TLS if there is any, deadlines.

use super::alarm::Alarm;
use super::core::Core;
use super::permits::Permit;
use super::ring::{Chunk, Connection, Lost, Received};
use super::tls::{Agreed, Progress, Tls};
use crate::clock::Instant;
use crate::mail::trace::Protection;
use crate::metrics::Ended;
use rustls::ServerConfig;
use std::borrow::Cow;
use std::future::{Future, poll_fn};
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

/// How long a handshake that waits for its peer may keep others from theirs. Then it gives its place to the next one and
/// takes a new one when its peer goes on.
const HANDSHAKE_PLACE: Duration = Duration::from_secs(1);

/// How long a peer may take to read our last words.
const FAREWELL: Duration = Duration::from_secs(10);

/// A handshake's place among those that may run.
#[derive(Debug)]
struct HandshakePlace {
    core: Rc<Core>,
    permit: Permit,
    /// When it must be given up.
    until: Instant,
}

impl Drop for HandshakePlace {
    /// The permit wakes whoever is next, who must run before the core sleeps.
    fn drop(&mut self) {
        self.core.stir();
    }
}

/// What must wait for what was sent before it. Boxed, because it is rare and would lie in every task.
type Blocked = Option<Box<Cow<'static, [u8]>>>;

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

    /// What trace headers say of its TLS, if it has any.
    pub fn protection(&self) -> Option<Protection> {
        self.tls.as_ref().and_then(|tls| tls.agreed().protection)
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
    pub fn fill(&mut self, deadline: Instant) -> impl Future<Output = Result<Filled, Ended>> {
        let is_there = !self.input.rest().is_empty();
        if !is_there {
            self.alarm.set(deadline);
        }
        async move {
            if is_there {
                return Ok(Filled::Input);
            }
            let received = self.receive().await?;
            let (filled, blocked) = self.took(received)?;
            if let Some(records) = blocked {
                Box::pin(self.write(*records)).await?;
            }
            filled
        }
    }

    /// What was received becomes input. Says what TLS wants to be sent and could not send at once.
    fn took(&mut self, received: Option<Chunk>) -> Result<(Result<Filled, Ended>, Blocked), Ended> {
        match received {
            Some(chunk) if self.tls.is_some() => {
                let (filled, outgoing) = self.decrypt(chunk);
                let blocked = match outgoing.is_empty() {
                    true => None,
                    false => self.try_write(outgoing.into())?.map(Box::new),
                };
                Ok((filled, blocked))
            }
            Some(chunk) => {
                self.input = Input::Buffer(chunk, 0);
                Ok((Ok(Filled::Input), None))
            }
            None if self.alarm.has_rung() => Ok((Ok(Filled::TimedOut), None)),
            None => Ok((Ok(Filled::Disturbed), None)),
        }
    }

    /// Does nothing until then, or until the process stops or is under another pressure. What comes in meanwhile waits.
    pub fn pause(&mut self, until: Instant) -> impl Future<Output = ()> {
        self.release_buffer();
        self.alarm.set(until);
        let state = self.core.state();
        poll_fn(move |context| {
            if self.alarm.has_rung() || self.core.state() != state {
                return Poll::Ready(());
            }
            self.connection.attend(context);
            Poll::Pending
        })
    }

    /// The next piece from the ring; `None` when the alarm rang, the process stops, or the pressure is another.
    ///
    /// Every idle connection waits here, so what waits is small.
    fn receive(&mut self) -> impl Future<Output = Result<Option<Chunk>, Ended>> {
        let state = self.core.state();
        poll_fn(move |context| {
            if self.over {
                return Poll::Ready(Err(Ended::Lost));
            }
            if self.alarm.has_rung() {
                return Poll::Ready(Ok(None));
            }
            Poll::Ready(match self.connection.poll_receive(context) {
                Poll::Pending if self.core.state() != state => Ok(None),
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Received::Chunk(chunk)) => Ok(Some(chunk)),
                Poll::Ready(Received::Ended) => {
                    self.over = true;
                    Err(Ended::Lost)
                }
                Poll::Ready(Received::Lost) => {
                    (self.over, self.lost) = (true, true);
                    Err(Ended::Lost)
                }
            })
        })
    }

    /// What a piece comes to, and what TLS wants to be sent.
    fn decrypt(&mut self, chunk: Chunk) -> (Result<Filled, Ended>, Vec<u8>) {
        let (mut plaintext, mut outgoing) = (Vec::new(), Vec::new());
        let Some(tls) = &mut self.tls else {
            return (Ok(Filled::Disturbed), outgoing);
        };
        let progress = tls.receive(&chunk, &mut plaintext, &mut outgoing);
        let filled = match progress {
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
        };
        (filled, outgoing)
    }

    /// Sends bytes, encrypted if the connection is. If what was sent before is still on its way, nothing is sent: what is
    /// given back is for [`Link::write`].
    ///
    /// # Errors
    /// How the connection ended.
    pub fn try_send(
        &mut self,
        bytes: Cow<'static, [u8]>,
    ) -> Result<Option<Cow<'static, [u8]>>, Ended> {
        let bytes = self.encrypted(bytes, false)?;
        self.try_write(bytes)
    }

    /// Sends the last bytes, and what says over TLS that they are the last. They leave together with the end of the
    /// connection: [`Link::finish`] is what must come next. If what was sent before is still on its way, this is
    /// [`Link::try_send`], and the end follows by itself.
    ///
    /// # Errors
    /// How the connection ended.
    pub fn try_send_last(
        &mut self,
        bytes: Cow<'static, [u8]>,
    ) -> Result<Option<Cow<'static, [u8]>>, Ended> {
        if self.connection.is_sending() {
            return self.try_send(bytes);
        }
        let bytes = self.encrypted(bytes, true)?;
        self.connection.send_last(bytes);
        if self.connection.is_lost() {
            self.lost = true;
            return Err(Ended::Lost);
        }
        Ok(None)
    }

    /// Bytes as they are to be sent, and behind the last ones what says so over TLS.
    fn encrypted(
        &mut self,
        bytes: Cow<'static, [u8]>,
        are_last: bool,
    ) -> Result<Cow<'static, [u8]>, Ended> {
        let Some(tls) = &mut self.tls else {
            return Ok(bytes);
        };
        let mut records = Vec::new();
        if tls.encrypt(&bytes, &mut records).is_err() {
            self.over = true;
            return Err(Ended::TlsFailed);
        }
        if are_last {
            tls.close(&mut records);
        }
        Ok(records.into())
    }

    /// Sends the last bytes as [`Link::try_send_last`] does. Waits only for what was sent before.
    ///
    /// # Errors
    /// How the connection ended.
    pub async fn send_last(&mut self, bytes: Cow<'static, [u8]>) -> Result<(), Ended> {
        match self.try_send_last(bytes)? {
            None => Ok(()),
            Some(bytes) => self.write(bytes).await,
        }
    }

    fn try_write(
        &mut self,
        bytes: Cow<'static, [u8]>,
    ) -> Result<Option<Cow<'static, [u8]>>, Ended> {
        if self.connection.is_lost() {
            self.lost = true;
            return Err(Ended::Lost);
        }
        if self.connection.is_sending() {
            return Ok(Some(bytes));
        }
        self.connection.send(bytes);
        Ok(None)
    }

    /// Sends bytes as they are, behind what was sent before. A peer that does not read that has as long as for a command.
    ///
    /// # Errors
    /// How the connection ended.
    pub async fn write(&mut self, bytes: Cow<'static, [u8]>) -> Result<(), Ended> {
        self.flush(command_timeout).await?;
        self.connection.send(bytes);
        Ok(())
    }

    /// Waits until everything is with the kernel, for as long as `patience` says, which is asked again when the pressure
    /// changes. Meanwhile it keeps no receive buffer from the others.
    async fn flush(&mut self, patience: fn(&Core) -> Duration) -> Result<(), Ended> {
        if self.connection.is_sending() {
            self.release_buffer();
        }
        let began = self.core.now();
        let (mut waited, mut level) = (false, self.core.level());
        let sent = poll_fn(|context| match self.connection.poll_sent(context) {
            Poll::Ready(sent) => Poll::Ready(Some(sent)),
            Poll::Pending if waited && self.alarm.has_rung() => Poll::Ready(None),
            Poll::Pending => {
                if !waited || level != self.core.level() {
                    self.alarm.set(began.plus(patience(&self.core)));
                    (waited, level) = (true, self.core.level());
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

    /// Runs a TLS handshake; says what was agreed on.
    ///
    /// # Errors
    /// How the connection ended.
    pub async fn start_tls(
        &mut self,
        config: Arc<ServerConfig>,
        deadline: Instant,
    ) -> Result<Agreed, Ended> {
        // Whoever says nothing keeps nobody waiting, and costs nothing yet.
        let mut place = None;
        self.hear_on(deadline, &mut place).await?;
        place = Some(self.handshake_place(deadline).await?);
        let mut tls = Box::new(Tls::new(config).map_err(|_| Ended::TlsFailed)?);
        let mut plaintext = Vec::new();
        loop {
            let mut outgoing = Vec::new();
            let input = std::mem::replace(&mut self.input, Input::None);
            let progress = tls.receive(input.rest(), &mut plaintext, &mut outgoing);
            drop(input);
            if !outgoing.is_empty() {
                self.write(outgoing.into()).await?;
            }
            match progress {
                Ok(Progress::Handshaking) => {}
                Ok(Progress::Established) => break,
                Ok(Progress::Closed) | Err(_) => {
                    self.over = true;
                    return Err(Ended::TlsFailed);
                }
            }
            self.hear_on(deadline, &mut place).await?;
            if place.is_none() {
                place = Some(self.handshake_place(deadline).await?);
            }
        }
        let agreed = tls.agreed();
        self.tls = Some(tls);
        self.input = Input::Own(plaintext, 0);
        Ok(agreed)
    }

    /// Waits for the next bytes of a handshake. A place that is held meanwhile is given up when its time is over.
    async fn hear_on(
        &mut self,
        deadline: Instant,
        place: &mut Option<HandshakePlace>,
    ) -> Result<(), Ended> {
        if !self.input.rest().is_empty() {
            // It came in one segment with what a proxy said before it.
            return Ok(());
        }
        loop {
            let until = place
                .as_ref()
                .map_or(deadline, |place| place.until.min(deadline));
            self.alarm.set(until);
            match self.receive().await? {
                Some(chunk) => {
                    self.input = Input::Buffer(chunk, 0);
                    return Ok(());
                }
                None if !self.alarm.has_rung() => {}
                None if place.take().is_some() && self.core.now() < deadline => {}
                None => return Err(Ended::Timeout),
            }
        }
    }

    /// Waits until a handshake may go on.
    async fn handshake_place(&mut self, deadline: Instant) -> Result<HandshakePlace, Ended> {
        let mut place = HandshakePlace {
            core: Rc::clone(&self.core),
            permit: self.core.handshakes().request(),
            until: deadline,
        };
        self.alarm.set(deadline);
        let granted = poll_fn(|context| {
            if place.permit.poll(context).is_ready() {
                return Poll::Ready(true);
            }
            if self.alarm.has_rung() {
                return Poll::Ready(false);
            }
            // What has come may have to wait long: not in one of the buffers that all connections share.
            self.release_buffer();
            self.connection.attend(context);
            Poll::Pending
        })
        .await;
        place.until = self.core.now().plus(HANDSHAKE_PLACE);
        if granted {
            Ok(place)
        } else {
            Err(Ended::Timeout)
        }
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
        if self.flush(|_| FAREWELL).await.is_err() {
            return Err(Lost);
        }
        if let Some(tls) = &mut self.tls {
            let mut outgoing = Vec::new();
            tls.close(&mut outgoing);
            self.connection.send(outgoing.into());
            // What had to be told has been told.
            let _ = self.flush(|_| FAREWELL).await;
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

/// How long a client may take for a command, as things are now.
fn command_timeout(core: &Core) -> Duration {
    let live = core.live();
    live.under(core.level()).limits.command_timeout.0
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::config::Config;
    use crate::edge::clients::Clients;
    use crate::edge::core::Parts;
    use crate::edge::helpers::Helpers;
    use crate::edge::live::Live;
    use crate::edge::ring::{Ring, Turn};
    use crate::edge::windows::Windows;
    use crate::edge::{Clock, CoreId, CoreShard, Cores};
    use crate::mail::Ledger;
    use crate::store::{Budget, HashKey};
    use std::future::Future;
    use std::io::Write as _;
    use std::os::unix::net::UnixStream;
    use std::pin::{Pin, pin};
    use std::task::{Context, Waker};

    const BUFFERS: u16 = 16;

    pub(in crate::edge) fn core() -> Rc<Core> {
        let clock = Clock::start();
        let ledger = Ledger::new(1 << 20);
        let live = Live::new(&Config::default(), None, 2026).expect("a certificate");
        Core::new(Parts {
            id: CoreId(0),
            cores: Cores::new(1, 16, HashKey(1, 2), ledger.clone(), clock).expect("a bell"),
            ring: Ring::new(BUFFERS).expect("a ring"),
            shard: CoreShard::new(Budget::default(), HashKey(3, 4), ledger),
            live: Arc::new(live),
            helpers: Helpers::start(1).expect("a thread"),
            clients: Arc::new(Clients::new(64, HashKey(5, 6))),
            windows: Arc::new(Windows::new(64, HashKey(9, 10))),
            clock,
            queue_id_key: HashKey(7, 8),
        })
    }

    pub(in crate::edge) fn pair(core: &Rc<Core>) -> (Link, UnixStream) {
        let (ours, theirs) = UnixStream::pair().expect("a pair of sockets");
        (Link::new(core, core.ring.adopt(ours.into())), theirs)
    }

    /// Some turns of the core's loop.
    fn turns(core: &Rc<Core>) {
        for _ in 0..10 {
            let patience = Duration::from_millis(1);
            let mut turn = Turn::default();
            core.ring.turn(patience, &mut turn).expect("the ring works");
            core.alarms.ring(core.now(), 100, |(index, generation)| {
                core.ring.wake(index, generation);
            });
        }
    }

    /// Time goes on, and a tick of the alarms' wheel.
    fn pass(core: &Rc<Core>, span: Duration) {
        let tick = Duration::from_micros(crate::wheel::TICK_MICROS);
        core.now.set(core.now().plus(span).plus(tick));
    }

    pub(in crate::edge) fn poll<T>(
        core: &Rc<Core>,
        future: &mut Pin<&mut impl Future<Output = T>>,
    ) -> Poll<T> {
        let mut context = Context::from_waker(Waker::noop());
        for _ in 0..10 {
            if let Poll::Ready(done) = future.as_mut().poll(&mut context) {
                return Poll::Ready(done);
            }
            turns(core);
        }
        Poll::Pending
    }

    #[test]
    fn a_handshake_waits_for_nobody_who_is_silent_or_slow() {
        let core = core();
        core.handshakes().set_limit(1);
        let config = core.live().tls_of(0);
        let deadline = core.now().plus(Duration::from_secs(30));
        let (mut silent, _open) = pair(&core);
        let mut silent = pin!(silent.start_tls(Arc::clone(&config), deadline));
        assert!(poll(&core, &mut silent).is_pending());

        // One byte of a record that never goes on.
        let (mut slow, mut peer) = pair(&core);
        peer.write_all(&[22]).expect("written");
        let mut slow = pin!(slow.start_tls(Arc::clone(&config), deadline));
        assert!(poll(&core, &mut slow).is_pending());

        let (mut link, mut peer) = pair(&core);
        peer.write_all(b"no record of TLS at all").expect("written");
        let mut third = pin!(link.start_tls(config, deadline));
        assert!(
            poll(&core, &mut third).is_pending(),
            "the slow one's time is not over"
        );
        assert_eq!(
            core.ring.buffers_left(),
            BUFFERS,
            "whoever waits keeps no buffer"
        );

        pass(&core, HANDSHAKE_PLACE);
        assert!(poll(&core, &mut slow).is_pending());
        assert!(core.restless.take(), "the third was woken and must run");
        assert_eq!(poll(&core, &mut third), Poll::Ready(Err(Ended::TlsFailed)));

        pass(&core, Duration::from_secs(30));
        for late in [poll(&core, &mut silent), poll(&core, &mut slow)] {
            assert_eq!(late, Poll::Ready(Err(Ended::Timeout)));
        }
    }

    #[test]
    fn waiting_for_a_handshake_ends_at_its_deadline() {
        let core = core();
        core.handshakes().set_limit(0);
        let config = core.live().tls_of(0);
        let deadline = core.now().plus(Duration::from_secs(30));
        let (mut link, mut peer) = pair(&core);
        peer.write_all(&[22]).expect("written");
        turns(&core);
        let mut waiting = pin!(link.start_tls(config, deadline));
        let woken = Arc::new(Woken::default());
        let waker = Waker::from(Arc::clone(&woken));
        assert!(
            waiting
                .as_mut()
                .poll(&mut Context::from_waker(&waker))
                .is_pending()
        );
        pass(&core, Duration::from_secs(30));
        turns(&core);
        assert!(
            woken.0.load(std::sync::atomic::Ordering::Relaxed),
            "the alarm wakes it"
        );
        assert_eq!(poll(&core, &mut waiting), Poll::Ready(Err(Ended::Timeout)));
    }

    #[derive(Default)]
    struct Woken(std::sync::atomic::AtomicBool);

    impl std::task::Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.store(true, std::sync::atomic::Ordering::Relaxed);
        }
    }

    #[test]
    fn whoever_does_not_read_replies_keeps_no_receive_buffer() {
        let core = core();
        let (mut link, mut peer) = pair(&core);
        peer.write_all(b"NOOP\r\nNOOP\r\n").expect("written");
        let deadline = core.now().plus(Duration::from_secs(30));
        let filled = poll(&core, &mut pin!(link.fill(deadline)));
        assert_eq!(filled, Poll::Ready(Ok(Filled::Input)));
        link.feed(|input| *input = &input[6..]);
        let large = || vec![b'x'; 8 << 20];
        assert_eq!(link.try_send(large().into()), Ok(None));
        assert!(poll(&core, &mut pin!(link.send_last(large().into()))).is_pending());
        assert_eq!(core.ring.buffers_left(), BUFFERS);
        assert_eq!(link.input.rest(), b"NOOP\r\n");
    }
}
