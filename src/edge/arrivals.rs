//! From an accepted socket to a session: who may come in, in whose name, and when the greeting is due.
//!
//! Most connections become a session at once. Those that come through a proxy say first whose they are. Where the
//! greeting is delayed, a socket waits for it without a task, a buffer or an operation in the ring.

use super::core::{Arrival, Core, Purpose, Stage, Unnamed};
use super::driver::{self, Driver};
use super::link::{Filled, Link};
use super::ring::Connection;
use crate::clock::Instant;
use crate::config::MailListener;
use crate::config::sections::Listen;
use crate::metrics::{Ended, Label as _, Listener, Refused};
use crate::policy::admission::Refusal;
use crate::policy::network::Network;
use crate::smtp::proxy::{HeaderReader, Source};
use crate::smtp::{Extensions, Reply};
use crate::wheel::Wheel;
use rustix::net::{RecvFlags, SendFlags, Shutdown};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;
use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

/// Clients whose greeting is due that are looked at in one turn.
const GREETINGS_PER_TURN: usize = 1024;

/// How much of what an early talker has said is read before it is closed. Closing with input unread would cut the
/// connection, and the reply with it.
const EARLY_BYTES_MAX: usize = 64 << 10;

/// A listener for mail, as its connections know it.
#[derive(Clone, Debug)]
pub struct Door {
    /// Which kind it is.
    pub kind: Listener,
    /// Its place among all of them.
    pub number: usize,
    /// What is offered to those who come to it.
    pub extensions: Extensions,
    /// Where it is, and who is trusted there with what.
    pub options: MailListener,
    /// How long a PROXY header may take.
    pub proxy_timeout: Duration,
}

impl Door {
    /// Every listener for mail. Their order is the order of their numbers.
    #[must_use]
    pub fn all(listen: &Listen) -> Vec<Self> {
        let smtp = listen.smtp.iter().map(|it| (Listener::Smtp, it));
        let smtps = listen.smtps.iter().map(|it| (Listener::Smtps, it));
        smtp.chain(smtps)
            .enumerate()
            .map(|(number, (kind, options))| Self {
                kind,
                number,
                extensions: options.extensions(),
                options: options.clone(),
                proxy_timeout: listen.proxy_timeout.0,
            })
            .collect()
    }

    /// Whether everybody who comes here comes through a proxy.
    fn is_behind_proxy(&self) -> bool {
        !self.options.proxy_from.is_empty()
    }

    /// Whether this client may speak for others.
    pub(super) fn trusts_to_impersonate(&self, client: IpAddr) -> bool {
        is_in(client, &self.options.xclient_from)
    }
}

fn is_in(address: IpAddr, networks: &[Network]) -> bool {
    networks.iter().any(|network| network.contains(address))
}

/// What comes to the listeners of one core.
pub(super) struct Arrivals {
    core: Rc<Core>,
    /// By the numbers under which the ring knows them.
    doors: Vec<Rc<Door>>,
    /// Those who wait for their greeting. Each counts as a connection, so there are never more than may be open.
    waiting: Wheel<Waiting>,
}

/// A client that waits for its greeting.
struct Waiting {
    socket: OwnedFd,
    arrival: Arrival,
}

impl Arrivals {
    pub(super) fn new(core: &Rc<Core>, doors: Vec<Door>) -> Self {
        Self {
            core: Rc::clone(core),
            doors: doors.into_iter().map(Rc::new).collect(),
            waiting: Wheel::new(),
        }
    }

    /// Somebody has connected to a listener.
    pub(super) fn accept(&mut self, listener: u32, socket: OwnedFd) {
        let door = Rc::clone(&self.doors[listener as usize]);
        let Ok(Some(address)) = peer(&socket) else {
            return;
        };
        let client = address.ip().to_canonical();
        if door.is_behind_proxy() {
            return self.accept_proxy(door, client, socket);
        }
        match self.core.admit(client) {
            Ok(counted) => {
                let arrival = Arrival::new(&self.core, door, client, counted, Purpose::Mail);
                self.greet(socket, arrival);
            }
            Err(refusal) => turn_away(&self.core, &door, client, &socket, refusal),
        }
    }

    /// A connection to a listener behind a proxy: nobody knows yet whose it is.
    fn accept_proxy(&self, door: Rc<Door>, proxy: IpAddr, socket: OwnedFd) {
        if !is_in(proxy, &door.options.proxy_from) {
            return refuse(&self.core, proxy, Refused::Proxy);
        }
        match self.core.admit_unnamed() {
            Ok(unnamed) => {
                let connection = self.core.ring.adopt(socket);
                let core = Rc::clone(&self.core);
                glommio::spawn_local(proxied(core, door, proxy, unnamed, connection)).detach();
            }
            Err(refusal) => turn_away(&self.core, &door, proxy, &socket, refusal),
        }
    }

    /// Begins the session, now or when the greeting is due.
    fn greet(&mut self, socket: OwnedFd, arrival: Arrival) {
        let live = self.core.live();
        let limits = &live.under(self.core.level()).limits;
        let delay = limits.greeting_delay.0;
        if delay.is_zero() || arrival.door.kind == Listener::Smtps {
            return self.begin(socket, arrival);
        }
        if limits.greeting_teaser {
            say(&socket, &live.say(Reply::Teaser));
        }
        let due = self.core.now().plus(delay);
        self.waiting.insert(due, Waiting { socket, arrival });
    }

    fn begin(&self, socket: OwnedFd, arrival: Arrival) {
        let link = Link::new(&self.core, self.core.ring.adopt(socket));
        begin(&self.core, link, arrival);
    }

    /// Greets those whose time has come; says whether more are due.
    pub(super) fn release(&mut self) -> bool {
        if self.waiting.is_empty() {
            return false;
        }
        if self.core.stage() != Stage::Serving {
            self.dismiss();
            return false;
        }
        let mut work = GREETINGS_PER_TURN;
        while let Some(waiting) = self.waiting.pop(self.core.now(), &mut work) {
            self.end_wait(waiting);
        }
        work == 0
    }

    /// When [`Arrivals::release`] has something to do.
    pub(super) fn next(&self) -> Option<Instant> {
        self.waiting.next_deadline()
    }

    fn end_wait(&self, Waiting { socket, arrival }: Waiting) {
        let mut first = [0; 1];
        match rustix::net::recv(&socket, &mut first, RecvFlags::PEEK | RecvFlags::DONTWAIT) {
            Err(rustix::io::Errno::AGAIN) => self.begin(socket, arrival),
            Ok((read, _)) if read > 0 => {
                refuse(&self.core, arrival.client, Refused::EarlyTalker);
                arrival.turned_away(&self.core);
                say(&socket, &self.core.live().say(Reply::EarlyTalker));
                close(&socket);
            }
            // It did not want to wait.
            Ok(_) | Err(_) => arrival.ended(&self.core, Ended::Lost),
        }
    }

    /// The process stops: nobody will be greeted any more.
    fn dismiss(&mut self) {
        let farewell = self.core.live().say(Reply::ShuttingDown);
        let everybody = std::mem::take(&mut self.waiting);
        for Waiting { socket, arrival } in everybody.into_values() {
            say(&socket, &farewell);
            arrival.ended(&self.core, Ended::Shutdown);
        }
    }
}

/// Begins a session. Its task is all that an idle connection has in this process beside its place in the ring: what it is
/// made of is counted in `driver`.
fn begin(core: &Rc<Core>, link: Link, arrival: Arrival) {
    let mut driver = Driver::new(core, link, arrival);
    glommio::spawn_local(async move { driver.serve().await }).detach();
}

/// A connection that a proxy has opened, until it is known whose it is.
async fn proxied(
    core: Rc<Core>,
    door: Rc<Door>,
    proxy: IpAddr,
    unnamed: Unnamed,
    connection: Connection,
) {
    let mut link = Link::new(&core, connection);
    let heard = driver::caught(pin!(hear_proxy(&core, &door, &mut link))).await;
    let (client, purpose) = match heard.flatten() {
        Some(Source::Client(client)) => (client, Purpose::Mail),
        Some(Source::Local) => (proxy, Purpose::HealthCheck),
        None if core.stage() == Stage::Serving => return refuse(&core, proxy, Refused::Proxy),
        None => return refuse(&core, proxy, Refused::Shutdown),
    };
    drop(unnamed);
    match core.admit(client) {
        Ok(counted) => {
            let arrival = Arrival::new(&core, door, client, counted, purpose);
            begin(&core, link, arrival);
            // The session's task must have run before the core sleeps.
            core.stir();
        }
        Err(refusal) => {
            let (label, reply) = answer(refusal);
            refuse(&core, client, label);
            if door.kind == Listener::Smtp {
                let line = core.live().say(reply);
                driver::caught(pin!(driver::part(&mut link, line))).await;
            }
        }
    }
}

/// What the proxy says about the connection; `None` when it says nothing sound, or not in time.
async fn hear_proxy(core: &Core, door: &Door, link: &mut Link) -> Option<Source> {
    let deadline = core.now().plus(door.proxy_timeout);
    let mut reader = HeaderReader::default();
    loop {
        match link.fill(deadline).await {
            Ok(Filled::Input) => {}
            Ok(Filled::Disturbed) if core.stage() == Stage::Serving => continue,
            Ok(Filled::Disturbed | Filled::TimedOut) | Err(_) => return None,
        }
        let mut read = None;
        link.feed(|input| read = reader.read(input));
        if let Some(result) = read {
            return result.ok();
        }
    }
}

/// How a refusal is counted and told.
pub(super) const fn answer(refusal: Refusal) -> (Refused, Reply) {
    match refusal {
        Refusal::ClientConnections => (Refused::ClientConnections, Reply::TooManyConnections),
        Refusal::ClientRate => (Refused::ClientRate, Reply::TooManyConnections),
        Refusal::Connections => (Refused::Connections, Reply::TooBusy),
        Refusal::Memory => (Refused::Memory, Reply::TooBusy),
        Refusal::Pressure => (Refused::Pressure, Reply::TooBusy),
        Refusal::Rate => (Refused::Rate, Reply::TooBusy),
        Refusal::Shutdown => (Refused::Shutdown, Reply::ShuttingDown),
    }
}

/// One line, and good-bye: no task, no buffer.
fn turn_away(core: &Core, door: &Door, client: IpAddr, socket: &OwnedFd, refusal: Refusal) {
    let (label, reply) = answer(refusal);
    refuse(core, client, label);
    if door.kind == Listener::Smtp {
        say(socket, &core.live().say(reply));
    }
}

/// Counts somebody who gets no session.
fn refuse(core: &Core, client: IpAddr, label: Refused) {
    core.metrics()
        .smtp_connections_refused
        .of(label)
        .increment();
    if core.live().log_client_addresses {
        let why = Refused::VALUES[label.index()];
        tracing::info!(%client, why, "a connection was turned away");
    }
}

/// Sends a line now or not at all: a client that cannot take it at once does without.
fn say(socket: &OwnedFd, line: &[u8]) {
    let _ = rustix::net::send(socket, line, SendFlags::DONTWAIT | SendFlags::NOSIGNAL);
}

/// Throws away what has come, so that closing does not cut the connection.
fn close(socket: &OwnedFd) {
    let _ = rustix::net::shutdown(socket, Shutdown::Write);
    let mut buffer = [0; 4 << 10];
    for _ in 0..EARLY_BYTES_MAX / buffer.len() {
        match rustix::net::recv(socket, &mut buffer, RecvFlags::DONTWAIT) {
            Ok((read, _)) if read > 0 => {}
            _ => return,
        }
    }
}

/// The address at the other end.
fn peer(socket: &OwnedFd) -> io::Result<Option<SocketAddr>> {
    let address = rustix::net::getpeername(socket)?;
    Ok(address.and_then(|address| SocketAddr::try_from(address).ok()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use crate::edge::link::tests::core;
    use crate::edge::live::Live;
    use std::io::{Read as _, Write as _};
    use std::os::unix::net::UnixStream;

    const DELAY: Duration = Duration::from_secs(3);

    fn come(arrivals: &mut Arrivals) -> UnixStream {
        let (ours, theirs) = UnixStream::pair().expect("a pair of sockets");
        let core = Rc::clone(&arrivals.core);
        let client = IpAddr::from([192, 0, 2, 7]);
        let counted = core.admit(client).expect("there is room");
        let door = Rc::clone(&arrivals.doors[0]);
        let arrival = Arrival::new(&core, door, client, counted, Purpose::Mail);
        arrivals.greet(ours.into(), arrival);
        theirs
    }

    fn said_to(mut client: UnixStream) -> String {
        let mut said = String::new();
        client.read_to_string(&mut said).expect("it is closed");
        said
    }

    #[test]
    fn who_waits_costs_no_task_no_slot_and_little_memory() {
        const { assert!(Wheel::<Waiting>::TIMER_BYTES <= 150) };
        let core = core();
        let mut config = Config::default();
        config.smtp.greeting_delay = crate::settings::Span(DELAY);
        let live = Live::new(&config, Some(&core.live()), 2026).expect("sound settings");
        core.live.replace(Rc::new(live));
        let mut arrivals = Arrivals::new(&core, Door::all(&Config::default().listen));
        let mut early = come(&mut arrivals);
        drop(come(&mut arrivals));
        early.write_all(b"EHLO client.example\r\n").expect("sent");
        assert_eq!(core.ring.connections(), 0);
        assert_eq!(core.metrics().smtp_connections.value(), 2);

        core.now.set(core.now().plus(DELAY / 2));
        assert!(!arrivals.release(), "nobody's time is up");
        assert!(arrivals.next().is_some_and(|due| due > core.now()));
        core.now.set(core.now().plus(DELAY));
        arrivals.release();
        assert!(said_to(early).starts_with("554 5.5.0 "));
        assert_eq!(core.metrics().smtp_connections.value(), 0);
        assert_eq!((arrivals.next(), core.ring.connections()), (None, 0));

        let last = come(&mut arrivals);
        core.stage.set(Stage::Draining);
        arrivals.release();
        assert!(said_to(last).starts_with("421 4.3.2 "));
        assert!(arrivals.next().is_none());
    }
}
