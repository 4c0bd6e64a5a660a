//! The clients of the simulation: they come, speak, are heard, and go.

#![forbid(unsafe_code)]

use crate::book::CLIENTS;
use crate::doorstep::{Header, Way};
use crate::driver::{Driver, Ended, Input, Output, Tools};
use crate::peer::{Habits, Heard, Peer, Step, script};
use crate::world::{Random, address};
use crate::{
    ADDRESSES, Event, IMPLIED_FROM, Mark, OWNER_KEY, SHARDS, Simulation, WIND_DOWN_MAX, Weather,
    queue_id,
};
use mayfly::clock::Instant;
use mayfly::metrics::ClientLimit;
use mayfly::smtp::{CloseReason, Newlines, Reply};
use mayfly::store::Holder;
use std::collections::VecDeque;
use std::time::Duration;

/// One connection, with both of its ends.
pub(crate) struct Client {
    driver: Driver,
    /// The core that serves it.
    core: usize,
    voice: Random,
    /// Said and on its way.
    outbox: VecDeque<Vec<u8>>,
    /// Whether an event is under way that will bring the next of it.
    arriving: bool,
    /// Whether an event is under way at which it speaks.
    speaking: bool,
}

impl Client {
    /// When its session must have gone on.
    pub(crate) const fn deadline(&self) -> Option<Instant> {
        self.driver.deadline()
    }
}

/// What can be seen from outside of a client that was alone: all replies, and all mail.
#[derive(PartialEq, Eq)]
pub(crate) struct Seen {
    transcript: Vec<u8>,
    mail: Vec<(u32, String, Vec<u8>)>,
}

impl Simulation<'_> {
    pub(crate) fn maybe_begin(&mut self) {
        if self.clients.len() >= 10 || !self.random.chance(10) {
            return;
        }
        let client = self.begin();
        for (percent, micros, input) in [
            (30, 8_000_000, Input::Hangup),
            (5, 20_000_000, Input::ShutDown),
            (20, 4_000_000, Input::Pressure(true)),
            (20, 8_000_000, Input::Pressure(false)),
        ] {
            if self.random.chance(percent) {
                let micros = self.random.below(micros);
                self.send_after(micros, Event::Client { client, input });
            }
        }
    }

    fn begin(&mut self) -> u64 {
        self.number += 1;
        let name = self.number;
        let mut steps = script(&mut self.random, ADDRESSES);
        if self.weather == Weather::Calm {
            // Whether plain text comes before or within a handshake is all that can be seen of how
            // bytes are torn apart, and must be.
            steps.retain(|step| !matches!(step, Step::Injected));
        }
        let (way, mut habits) = self.manners();
        let newlines = match self.random.chance(30) {
            true => Newlines::Normalize,
            false => Newlines::Strict,
        };
        habits.normalizes = newlines == Newlines::Normalize;
        let number = self.random.below(CLIENTS);
        let mut client = Client {
            driver: Driver::new(Peer::new(steps, habits), number, way, newlines, self.now),
            core: self.random.below(SHARDS as u64) as usize,
            voice: Random::new(self.random.next()),
            outbox: VecDeque::new(),
            arriving: false,
            speaking: false,
        };
        if let Way::Proxied(header) = way {
            let mut bytes = header.bytes(&mut self.random);
            if header != Header::Sound {
                client.driver.peer.fall_silent();
            } else if habits.speaks_first {
                // In one piece with the header, or in pieces that are cut anywhere.
                bytes.extend(client.driver.peer.speak(&mut client.voice));
            }
            client.outbox = torn(bytes, &mut self.cuts);
        }
        client.driver.withhold_tls(&self.tools());
        self.clients.insert(name, client);
        self.client(name, Input::Arrived(Vec::new()));
        name
    }

    /// How a client comes in, and how it behaves. Where it can be seen how its bytes are torn apart, it has manners when
    /// it is alone.
    fn manners(&mut self) -> (Way, Habits) {
        let is_rough = self.weather == Weather::Rough;
        let way = match self.random.below(10) {
            0 | 1 => Way::Proxied(match is_rough {
                true => Header::drawn(&mut self.random),
                false => Header::Sound,
            }),
            2 => Way::Delayed,
            _ => Way::Direct,
        };
        // Behind a proxy nobody can tell, so there it may do so in any case.
        let may_speak_first = is_rough || matches!(way, Way::Proxied(_));
        let habits = Habits {
            speaks_first: self.random.chance(20) && may_speak_first,
            is_hasty: self.random.chance(10) && is_rough,
            normalizes: false,
        };
        (way, habits)
    }

    fn tools(&mut self) -> Tools<'_> {
        Tools {
            ledger: &self.ledger,
            metrics: &self.metrics,
            now: self.now,
            stamps: &self.stamps,
            wall: self.wall,
            book: &mut self.book,
            last_name: &mut self.last_name,
        }
    }

    /// A client alone, in a world where nothing is late and nobody interferes.
    pub(crate) fn alone(mut self) -> Seen {
        for number in 0..IMPLIED_FROM {
            let shard = OWNER_KEY.owner_of_address(&address(number), SHARDS);
            self.create(number, shard, Duration::from_secs(40));
        }
        let name = self.begin();
        let until = self.now.plus(WIND_DOWN_MAX);
        while self.clients.contains_key(&name) {
            self.one_event();
            assert!(self.now < until, "I8");
        }
        let mut seen = Seen {
            transcript: std::mem::take(&mut self.last_transcript),
            mail: Vec::new(),
        };
        for number in 0..ADDRESSES {
            let at = address(number);
            let shard = OWNER_KEY.owner_of_address(&at, SHARDS);
            for entry in self
                .listed(shard, &Holder::Operator(at))
                .unwrap_or_default()
            {
                let body = entry.message.body.segments().collect::<Vec<_>>().concat();
                let id = entry.message.queue_id.as_str().to_owned();
                seen.mail.push((number, id, body));
            }
        }
        seen
    }

    /// A client says what comes next, and it is torn apart on its way.
    pub(crate) fn speak(&mut self, name: u64) {
        let Some(client) = self.clients.get_mut(&name) else {
            return;
        };
        client.speaking = false;
        let said = client.driver.peer.speak(&mut client.voice);
        client.outbox.extend(torn(said, &mut self.cuts));
        self.go_on(name);
    }

    pub(crate) fn arrive(&mut self, name: u64) {
        let Some(client) = self.clients.get_mut(&name) else {
            return;
        };
        client.arriving = false;
        let count = client.outbox.len().min(1 + self.cuts.below(3) as usize);
        let buffers = client.outbox.drain(..count).collect();
        self.client(name, Input::Arrived(buffers));
    }

    /// Has a client's bytes arrive, or has it speak.
    fn go_on(&mut self, name: u64) {
        let Some(client) = self.clients.get_mut(&name) else {
            return;
        };
        let event = if !client.driver.is_connected() || client.arriving || client.speaking {
            return;
        } else if !client.outbox.is_empty() {
            client.arriving = true;
            Event::Arrive { client: name }
        } else if client.driver.peer.may_speak() {
            client.speaking = true;
            Event::Speak { client: name }
        } else {
            return;
        };
        if self.weather == Weather::Rough && self.random.chance(1) {
            // Long enough for every timeout.
            let micros = self.random.below(60_000_000);
            return self.send_after(micros, event);
        }
        self.send(event);
    }

    /// Something happens to a connection, and all that comes of it at once.
    pub(crate) fn client(&mut self, name: u64, input: Input) {
        let Some(mut client) = self.clients.remove(&name) else {
            let is_stale = !matches!(input, Input::Leased(_) | Input::Delivered(_));
            assert!(is_stale, "a session waits for its answers");
            return;
        };
        let input = match input {
            // What is still on its way comes before anything that TLS protects.
            Input::Secured if !client.outbox.is_empty() => {
                Input::Arrived(client.outbox.drain(..).collect())
            }
            input => input,
        };
        let mut inputs = VecDeque::from([input]);
        let mut ended = None;
        while let Some(input) = inputs.pop_front() {
            let outputs = client.driver.step(input, &mut self.tools());
            for output in outputs {
                match output {
                    Output::End(how) => ended = Some(how),
                    output => inputs.extend(self.carry_out(name, &client, output)),
                }
            }
        }
        match ended {
            Some(how) => self.end(client, how),
            None => {
                self.clients.insert(name, client);
                self.go_on(name);
            }
        }
        for (shard, lease) in self.returned.take() {
            self.send(Event::Release { shard, lease });
        }
    }

    /// Does what a driver wants; an answer that is there at once comes back.
    fn carry_out(&mut self, name: u64, client: &Client, output: Output) -> Option<Input> {
        match output {
            Output::Alarm(at) => {
                let micros = at.since(self.now).as_micros() as u64;
                let input = Input::Alarm;
                self.send_after(
                    micros,
                    Event::Client {
                        client: name,
                        input,
                    },
                );
            }
            Output::Ask {
                mailbox,
                existence,
                declared,
            } => {
                if OWNER_KEY.owner_of_address(&mailbox, SHARDS) == client.core {
                    return Some(Input::Leased(self.lease(&mailbox, existence, declared)));
                }
                if self.weather == Weather::Rough && self.random.chance(3) {
                    // The owner's inbox is full.
                    self.marks.reached(Mark::TryLater);
                    return Some(Input::Leased(Err(Reply::TryLater)));
                }
                self.send(Event::Ask {
                    client: name,
                    mailbox,
                    existence,
                    declared,
                });
            }
            Output::Deliver {
                shard,
                leases,
                message,
                name: message_name,
            } => {
                if shard == client.core {
                    let until = self.deliver(shard, leases, message_name, &message);
                    return Some(Input::Delivered(until));
                }
                self.send(Event::Deliver {
                    client: name,
                    shard,
                    leases,
                    message,
                    name: message_name,
                });
            }
            Output::End(_) => {}
            Output::Handshake => self.shake_hands(name),
            Output::Heard(heard) => self.heard(client, &heard),
            Output::Paused => self.marks.reached(Mark::Paused),
            Output::Proxied => self.marks.reached(Mark::Proxied),
            Output::Stored { name, copies } => {
                assert_eq!(self.oracle.copies(name), copies, "I10: all or none");
                if client.driver.peer.was_normalized() {
                    self.marks.reached(Mark::Normalized);
                }
            }
        }
        None
    }

    /// A handshake begins, which may fail.
    fn shake_hands(&mut self, client: u64) {
        let fails = self.weather == Weather::Rough && self.random.chance(8);
        let input = if fails {
            Input::Unsecured
        } else {
            self.marks.reached(Mark::Handshakes);
            Input::Secured
        };
        self.send(Event::Client { client, input });
    }

    fn heard(&mut self, client: &Client, heard: &Heard) {
        let mark = match heard {
            Heard::Accepted(id) | Heard::AcceptedInChunks(id) => {
                let stored = client.driver.stored.get(id);
                let (name, copies) = stored.expect("I1: not every owner has it");
                assert_eq!(queue_id(*name).as_str(), id);
                assert_eq!(self.oracle.copies(*name), *copies, "I1: all of them");
                match heard {
                    Heard::AcceptedInChunks(_) => Mark::AcceptedInChunks,
                    _ => Mark::Accepted,
                }
            }
            Heard::ClientDeferred => Mark::ClientDeferred,
            Heard::Deferred => Mark::Deferred,
            Heard::Impersonated => Mark::Impersonated,
            Heard::TlsWithheld => Mark::TlsWithheld,
            Heard::TooBusy => Mark::TooBusy,
            Heard::Final(reply) if reply.contains("before the greeting") => Mark::EarlyTalker,
            Heard::Final(reply) if reply.contains("synchronization") => Mark::NotSynchronized,
            Heard::Final(reply) if reply.contains("unknown recipients") => Mark::ClientGuesses,
            Heard::Final(reply) if reply.contains("Timeout") => Mark::TimedOut,
            Heard::Final(reply) if reply.contains("Shutting down") => Mark::ShutDown,
            Heard::Final(reply) if reply.contains("STARTTLS") => Mark::Injected,
            Heard::Final(_) => return,
            Heard::Refused(_) => Mark::ContentRefused,
        };
        self.marks.reached(mark);
    }

    fn end(&mut self, client: Client, how: Ended) {
        let Client { driver, .. } = client;
        for (name, copies) in driver.stored.values() {
            assert_eq!(self.oracle.copies(*name), *copies, "I10: told or not");
        }
        for name in &driver.begun {
            assert_eq!(self.oracle.copies(*name), 0, "I2: none of them");
        }
        if driver.unheard > 0 {
            self.marks.reached(Mark::ReplyLost);
        }
        match how {
            Ended::Closed(CloseReason::Quit) => self.marks.reached(Mark::Quit),
            Ended::Lost => self.marks.reached(Mark::Cut),
            Ended::NoHeader => self.marks.reached(Mark::ProxyRefused),
            Ended::TlsFailed => {
                let (failures, client) = (ClientLimit::TlsFailures, driver.client());
                self.book.note(client, failures, 1, self.now);
                self.marks.reached(Mark::TlsFailed);
            }
            Ended::Closed(_) | Ended::TurnedAway => {}
        }
        self.last_transcript = driver.peer.transcript;
    }
}

/// What is said, as it arrives.
fn torn(mut said: Vec<u8>, cuts: &mut Random) -> VecDeque<Vec<u8>> {
    let mut pieces = VecDeque::new();
    while !said.is_empty() {
        let line_end = said.windows(2).position(|it| it == b"\r\n");
        let end = match cuts.below(5) {
            4 => line_end.map_or(said.len(), |it| it + 2),
            0 => 1 + cuts.below(3) as usize,
            1 => 1 + cuts.below(80) as usize,
            2 => 1 + cuts.below(2000) as usize,
            _ => said.len(),
        };
        let rest = said.split_off(end.min(said.len()));
        pieces.push_back(std::mem::replace(&mut said, rest));
    }
    pieces
}
