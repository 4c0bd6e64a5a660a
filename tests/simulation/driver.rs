//! Drives a real session as the edge's driver does, with events in place of sockets and inboxes.
//!
//! What awaits something there is a state here ([`Waiting`]); the order of the steps is the same.

#![forbid(unsafe_code)]

use crate::book::{Book, NAMED, limits};
use crate::doorstep::{Doorstep, Way};
use crate::peer::{Heard, MESSAGE_BYTES_MAX, Peer};
use crate::{HOSTNAME, Returned, is_implied, number_of, queue_id};
use mayfly::clock::{Instant, Stamps, WallClock};
use mayfly::mail::trace::Trace;
use mayfly::mail::{Address, BodyWriter, Ledger, Message, Recipient};
use mayfly::metrics::{ClientLimit, CoreMetrics};
use mayfly::policy::recipients::{self, Accept, Decision, MustExist, Rules};
use mayfly::settings::Bytes;
use mayfly::smtp::proxy::Source;
use mayfly::smtp::reply::Speaker;
use mayfly::smtp::session::Profile;
use mayfly::smtp::{
    Action, Beginning, CloseReason, Complete, Extensions, Newlines, Question, Receipt, Reply,
    Session, Verdict,
};
use mayfly::store::{Existence, Lease};
use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

/// A place that goes back to its owner unless a message takes it.
pub(crate) struct Held {
    pub(crate) shard: usize,
    pub(crate) number: u32,
    lease: Option<Lease>,
    returned: Returned,
}

impl Held {
    pub(crate) fn new(shard: usize, number: u32, lease: Lease, returned: &Returned) -> Self {
        Self {
            shard,
            number,
            lease: Some(lease),
            returned: returned.clone(),
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if let Some(lease) = self.lease.take() {
            self.returned.push(self.shard, lease);
        }
    }
}

/// What a driver has at hand.
pub(crate) struct Tools<'a> {
    pub(crate) ledger: &'a Ledger,
    pub(crate) metrics: &'a CoreMetrics,
    pub(crate) now: Instant,
    pub(crate) stamps: &'a Stamps,
    pub(crate) wall: WallClock,
    pub(crate) book: &'a mut Book,
    /// The last name that was given to a message.
    pub(crate) last_name: &'a mut u64,
}

/// What happens to a connection.
pub(crate) enum Input {
    /// Bytes have come, in so many buffers.
    Arrived(Vec<Vec<u8>>),
    /// The deadline, perhaps one that is out of date.
    Alarm,
    /// One owner has the message.
    Delivered(Instant),
    /// The peer is gone.
    Hangup,
    /// The answer to [`Output::Ask`].
    Leased(Result<Held, Reply>),
    /// The pressure has risen, or fallen.
    Pressure(bool),
    /// The handshake is done.
    Secured,
    /// The server stops.
    ShutDown,
    /// The handshake has failed.
    Unsecured,
}

/// What a connection wants.
pub(crate) enum Output {
    Alarm(Instant),
    Ask {
        mailbox: Address,
        existence: Existence,
        declared: u64,
    },
    /// The message for all places of one shard.
    Deliver {
        shard: usize,
        leases: Vec<Lease>,
        message: Arc<Message>,
        name: u64,
    },
    /// It is over, and so is the session with all that it held.
    End(Ended),
    Handshake,
    /// What the peer has heard and what is to be checked of it.
    Heard(Heard),
    /// A reply is held back.
    Paused,
    /// A proxy has said whose connection it is.
    Proxied,
    /// Every owner has the message.
    Stored {
        name: u64,
        copies: usize,
    },
}

/// How it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    Closed(CloseReason),
    Lost,
    /// There was no header of a proxy.
    NoHeader,
    TlsFailed,
    /// It got a last word and no session.
    TurnedAway,
}

enum Waiting {
    Doorstep(Doorstep),
    Handshake,
    Input {
        deadline: Instant,
    },
    Lease,
    Pause {
        until: Instant,
    },
    Owners {
        left: usize,
        kept_until: Option<Instant>,
        copies: usize,
    },
}

pub(crate) struct Driver {
    profile: Profile,
    session: Session<Held>,
    /// Whose connection it is.
    client: u64,
    /// What was reserved for the message under way.
    incoming: Option<u64>,
    pub(crate) peer: Peer,
    waiting: Waiting,
    /// In the buffer at hand.
    input: VecDeque<u8>,
    /// In buffers that have come behind it.
    queued: VecDeque<Vec<u8>>,
    connected: bool,
    draining: bool,
    told: bool,
    /// The message under way, and how long its trace headers are.
    name: u64,
    head_bytes: usize,
    /// What became of the messages of this connection: stored at so many places, by name.
    pub(crate) stored: BTreeMap<String, (u64, usize)>,
    /// Names under which nothing has been stored.
    pub(crate) begun: Vec<u64>,
    /// Messages whose 250 did not reach the peer.
    pub(crate) unheard: usize,
}

impl Driver {
    pub(crate) fn new(peer: Peer, client: u64, way: Way, newlines: Newlines, now: Instant) -> Self {
        let profile = Profile {
            hostname: HOSTNAME.into(),
            extensions: Extensions::ALL,
            xclient: true,
            tls: false,
            limits: Arc::new(limits(false, newlines)),
            message_bytes_max_normally: Bytes(MESSAGE_BYTES_MAX),
        };
        let doorstep = Doorstep::of(way, now);
        Self {
            session: Session::new(profile.clone(), now),
            profile,
            client,
            incoming: None,
            peer,
            waiting: doorstep.map_or(Waiting::Input { deadline: now }, Waiting::Doorstep),
            input: VecDeque::new(),
            queued: VecDeque::new(),
            connected: true,
            draining: false,
            told: false,
            name: 0,
            head_bytes: 0,
            stored: BTreeMap::new(),
            begun: Vec::new(),
            unheard: 0,
        }
    }

    /// When it must have gone on (I8); `None` while it waits for others.
    pub(crate) const fn deadline(&self) -> Option<Instant> {
        match &self.waiting {
            Waiting::Input { deadline } => Some(*deadline),
            Waiting::Pause { until } => Some(*until),
            Waiting::Doorstep(doorstep) => Some(doorstep.deadline()),
            _ => None,
        }
    }

    /// Whether anybody is at the other end.
    pub(crate) const fn is_connected(&self) -> bool {
        self.connected
    }

    /// Whose connection it is.
    pub(crate) const fn client(&self) -> u64 {
        self.client
    }

    pub(crate) fn step(&mut self, input: Input, tools: &mut Tools<'_>) -> Vec<Output> {
        let mut outputs = Vec::new();
        let input = match &self.waiting {
            Waiting::Doorstep(_) => self.at_the_door(input, tools, &mut outputs),
            _ => Some(input),
        };
        let Some(input) = input else { return outputs };
        let rings = self.deadline().is_some_and(|it| it <= tools.now);
        if matches!(input, Input::Alarm) && !rings {
            return outputs;
        }
        if let Some(ended) = self.take(input, tools, &mut outputs) {
            self.give_up_message(tools);
            return vec![Output::End(ended)];
        }
        if let Waiting::Input { .. } = self.waiting {
            self.run(tools, &mut outputs);
        }
        if let Some(Output::End(_)) = outputs.last() {
            self.give_up_message(tools);
        }
        outputs
    }

    /// What happens before there is a session; what it leaves for the session, once there is one.
    fn at_the_door(
        &mut self,
        input: Input,
        tools: &Tools<'_>,
        outputs: &mut Vec<Output>,
    ) -> Option<Input> {
        let Waiting::Doorstep(doorstep) = &mut self.waiting else {
            return Some(input);
        };
        let deadline = doorstep.deadline();
        outputs.push(Output::Alarm(deadline));
        let is_over = tools.now >= deadline;
        let ended = match (input, doorstep) {
            (Input::Arrived(buffers), Doorstep::Header { reader, .. }) => {
                self.queued.extend(buffers);
                let mut read = None;
                while read.is_none()
                    && let Some(buffer) = self.queued.pop_front()
                {
                    let mut rest = &buffer[..];
                    read = reader.read(&mut rest);
                    if !rest.is_empty() {
                        self.queued.push_front(rest.to_vec());
                    }
                }
                match read {
                    None => return None,
                    Some(Ok(Source::Client(_))) => {
                        outputs.push(Output::Proxied);
                        return Some(self.begin(tools));
                    }
                    Some(Ok(Source::Local) | Err(_)) => Ended::NoHeader,
                }
            }
            (Input::Hangup, Doorstep::Header { .. }) => Ended::Lost,
            (Input::ShutDown, Doorstep::Header { .. }) => Ended::NoHeader,
            (Input::Alarm, Doorstep::Header { .. }) if is_over => Ended::NoHeader,
            (Input::Arrived(buffers), Doorstep::Greeting { .. }) => {
                self.queued.extend(buffers);
                return None;
            }
            (Input::Hangup, Doorstep::Greeting { .. }) => {
                self.connected = false;
                return None;
            }
            (Input::ShutDown, Doorstep::Greeting { .. }) => {
                self.turn_away(&Reply::ShuttingDown, outputs)
            }
            (Input::Alarm, Doorstep::Greeting { .. }) if is_over => {
                if self.queued.iter().any(|buffer| !buffer.is_empty()) {
                    self.turn_away(&Reply::EarlyTalker, outputs)
                } else if self.connected {
                    return Some(self.begin(tools));
                } else {
                    Ended::Lost
                }
            }
            (Input::Pressure(is_high), _) => {
                let limits = limits(is_high, self.profile.limits.newlines);
                self.profile.limits = Arc::new(limits);
                return None;
            }
            _ => return None,
        };
        outputs.push(Output::End(ended));
        None
    }

    /// The session begins, with what has come for it.
    fn begin(&mut self, tools: &Tools<'_>) -> Input {
        self.session = Session::new(self.profile.clone(), tools.now);
        self.withhold_tls(tools);
        self.waiting = Waiting::Input {
            deadline: tools.now,
        };
        Input::Arrived(Vec::new())
    }

    /// Whoever has failed too often gets no TLS.
    pub(crate) fn withhold_tls(&mut self, tools: &Tools<'_>) {
        let failures = ClientLimit::TlsFailures;
        if tools.book.is_used_up(self.client, failures, tools.now) {
            self.session.withhold_tls();
        }
    }

    fn turn_away(&mut self, reply: &Reply, outputs: &mut Vec<Output>) -> Ended {
        let mut line = Vec::new();
        reply.write(Speaker { hostname: HOSTNAME }, &mut line);
        if self.connected {
            outputs.extend(self.peer.hear(&line).into_iter().map(Output::Heard));
        }
        Ended::TurnedAway
    }

    /// The message whose data had begun will not be stored.
    fn give_up_message(&mut self, tools: &mut Tools<'_>) {
        if self.incoming.take().is_some() {
            let aborted = ClientLimit::Aborted;
            tools.book.note(self.client, aborted, 1, tools.now);
        }
    }

    /// What happens to a session; how it ended, if it has.
    fn take(
        &mut self,
        input: Input,
        tools: &mut Tools<'_>,
        outputs: &mut Vec<Output>,
    ) -> Option<Ended> {
        let metrics = tools.metrics;
        match (input, &mut self.waiting) {
            // A peer speaks no plain text now, unless it is an attacker.
            (Input::Arrived(_) | Input::Unsecured, Waiting::Handshake) => {
                return Some(Ended::TlsFailed);
            }
            (Input::Arrived(buffers), _) => self.queued.extend(buffers),
            (Input::Alarm, Waiting::Pause { .. }) => self.resume(tools.now),
            (Input::Alarm, _) => self.session.expire(tools.now, metrics),
            (Input::Hangup, waiting) => {
                self.connected = false;
                if let Waiting::Input { .. } | Waiting::Handshake = waiting {
                    return Some(Ended::Lost);
                }
            }
            // Either ends a pause, too.
            (Input::ShutDown, _) => {
                self.draining = true;
                self.resume(tools.now);
            }
            (Input::Pressure(is_high), _) => {
                let newlines = self.profile.limits.newlines;
                self.session.set_limits(Arc::new(limits(is_high, newlines)));
                self.resume(tools.now);
            }
            (Input::Leased(answer), Waiting::Lease) => {
                self.note_recipient(&answer, tools);
                self.session
                    .answer(Verdict::Recipient(answer), tools.now, metrics);
                self.waiting = Waiting::Input {
                    deadline: tools.now,
                };
            }
            (Input::Delivered(until), Waiting::Owners { .. }) => {
                self.delivered(until, tools, outputs);
            }
            (Input::Secured, Waiting::Handshake) => {
                self.session.tls_established(tools.now);
                self.peer.secured();
                self.waiting = Waiting::Input {
                    deadline: tools.now,
                };
            }
            (Input::Leased(_) | Input::Delivered(_) | Input::Secured | Input::Unsecured, _) => {
                panic!("an answer that was not asked for")
            }
        }
        None
    }

    /// A pause is over, if there is one.
    fn resume(&mut self, now: Instant) {
        if let Waiting::Pause { .. } = self.waiting {
            self.session.resume(now);
            self.waiting = Waiting::Input { deadline: now };
        }
    }

    /// Counts what became of a recipient.
    fn note_recipient(&self, answer: &Result<Held, Reply>, tools: &mut Tools<'_>) {
        let limit = match answer {
            Ok(_) => ClientLimit::Recipients,
            Err(reply) if reply.is_permanent() => ClientLimit::FailedRecipients,
            Err(_) => return,
        };
        tools.book.note(self.client, limit, 1, tools.now);
    }

    /// The loop of the edge's driver, until it has to wait.
    fn run(&mut self, tools: &mut Tools<'_>, outputs: &mut Vec<Output>) {
        loop {
            self.feed(tools);
            if self.draining && !self.told {
                self.told = true;
                self.session.shut_down(tools.metrics);
            }
            match self.session.next_action() {
                Action::Send(bytes) if self.connected => {
                    outputs.extend(self.peer.hear(&bytes).into_iter().map(Output::Heard));
                    self.unheard = 0;
                }
                Action::Send(_) => return outputs.push(Output::End(Ended::Lost)),
                Action::Ask(question) => {
                    let verdict = self.ask(question, tools, outputs);
                    let Some(verdict) = verdict else { return };
                    self.session.answer(verdict, tools.now, tools.metrics);
                }
                Action::StartTls if self.input.is_empty() && self.queued.is_empty() => {
                    self.waiting = Waiting::Handshake;
                    return outputs.push(Output::Handshake);
                }
                Action::StartTls => self.session.plaintext_behind_starttls(tools.metrics),
                Action::Pause { until } => {
                    self.waiting = Waiting::Pause { until };
                    outputs.extend([Output::Paused, Output::Alarm(until)]);
                    return;
                }
                Action::Wait { .. } if !self.connected => {
                    return outputs.push(Output::End(Ended::Lost));
                }
                Action::Wait { .. } if !self.input.is_empty() => {}
                Action::Wait { .. } if !self.queued.is_empty() => {
                    self.input
                        .extend(self.queued.pop_front().into_iter().flatten());
                }
                Action::Wait { deadline } => {
                    let goes_on = !self.told || self.session.in_transaction();
                    assert!(goes_on, "a session that was told to stop waits for more");
                    // Under new pressure it may have passed before it was set: then the alarm rings at once.
                    let deadline = deadline.max(tools.now);
                    self.waiting = Waiting::Input { deadline };
                    return outputs.push(Output::Alarm(deadline));
                }
                Action::Close(reason) => {
                    return outputs.push(Output::End(Ended::Closed(reason)));
                }
            }
        }
    }

    fn feed(&mut self, tools: &Tools<'_>) {
        let mut rest = &*self.input.make_contiguous();
        if !rest.is_empty() {
            self.session.receive(&mut rest, tools.now, tools.metrics);
            let left = rest.len();
            self.input.drain(..self.input.len() - left);
        }
    }

    /// Answers at once what needs nobody else.
    fn ask(
        &mut self,
        question: Question<Held>,
        tools: &mut Tools<'_>,
        outputs: &mut Vec<Output>,
    ) -> Option<Verdict<Held>> {
        match question {
            Question::Recipient {
                recipient,
                declared_bytes,
                is_first,
            } => {
                if let Some(reply) = tools.book.refusal(self.client, is_first, tools.now) {
                    return Some(Verdict::Recipient(Err(reply)));
                }
                match place(&recipient, declared_bytes) {
                    Err(reply) => {
                        let answer = Err(reply);
                        self.note_recipient(&answer, tools);
                        Some(Verdict::Recipient(answer))
                    }
                    Ok(ask) => {
                        outputs.push(ask);
                        self.waiting = Waiting::Lease;
                        None
                    }
                }
            }
            Question::Impersonate(_) => {
                self.client = NAMED;
                Some(Verdict::Impersonate(Ok(())))
            }
            Question::Begin(beginning) => {
                self.give_up_message(tools);
                *tools.last_name += 1;
                self.name = *tools.last_name;
                self.begun.push(self.name);
                let body = self.open_body(&beginning, tools).ok_or(Reply::NoMemory);
                if body.is_ok() {
                    let messages = ClientLimit::Messages;
                    tools.book.note(self.client, messages, 1, tools.now);
                    tools
                        .book
                        .note_bytes(self.client, beginning.bytes, tools.now);
                    self.incoming = Some(beginning.bytes);
                }
                Some(Verdict::Begin(body))
            }
            Question::Grow { bytes } => {
                let reservation = tools.ledger.reserve(bytes).ok_or(Reply::NoMemory);
                match (&reservation, &mut self.incoming) {
                    (Ok(_), Some(reserved)) => {
                        *reserved += bytes;
                        tools.book.note_bytes(self.client, bytes, tools.now);
                    }
                    _ => self.incoming = None,
                }
                Some(Verdict::Grow(reservation))
            }
            Question::Message(complete) => {
                let used = complete.body.len() as u64;
                let reserved = self.incoming.take().unwrap_or(used);
                tools.book.take_back(self.client, reserved, used, tools.now);
                self.deliver(complete, tools, outputs);
                None
            }
        }
    }

    fn open_body(&mut self, beginning: &Beginning, tools: &Tools<'_>) -> Option<BodyWriter> {
        let headers = Trace {
            reverse_path: &beginning.reverse_path,
            helo: &beginning.helo,
            client: IpAddr::V4(Ipv4Addr::LOCALHOST),
            hostname: HOSTNAME,
            with: beginning.protocol.into(),
            tls: None,
            queue_id: queue_id(self.name),
            only_recipient: beginning.only_recipient.as_ref(),
            date: &tools.stamps.rfc5322(tools.wall, tools.now),
        }
        .headers();
        self.head_bytes = headers.len();
        let bytes = beginning.bytes + headers.len() as u64;
        let reservation = tools.ledger.reserve(bytes)?;
        Some(BodyWriter::beginning_with(headers, reservation))
    }

    /// The end of data: what came is what was sent, for those who were told that they are in it (I5).
    fn deliver(&mut self, complete: Complete<Held>, tools: &Tools<'_>, outputs: &mut Vec<Output>) {
        let Complete {
            reverse_path,
            leases,
            body,
            require_tls,
            ..
        } = complete;
        let whole = body.segments().collect::<Vec<_>>().concat();
        assert!(whole.starts_with(b"Return-Path: <"));
        assert!(
            whole[self.head_bytes..] == self.peer.content(),
            "I5: the content"
        );
        let message = Arc::new(Message {
            queue_id: queue_id(self.name),
            reverse_path,
            body,
            received_at: tools.now,
            tls: false,
            require_tls,
            encrypted: false,
        });
        let mut recipients = Vec::new();
        let mut owners: BTreeMap<usize, Vec<Lease>> = BTreeMap::new();
        for mut held in leases {
            recipients.push(held.number);
            let lease = held.lease.take().expect("nobody took it");
            owners.entry(held.shard).or_default().push(lease);
        }
        assert_eq!(recipients, self.peer.accepted, "I5: the envelope");
        self.waiting = Waiting::Owners {
            left: owners.len(),
            kept_until: None,
            copies: recipients.len(),
        };
        outputs.extend(owners.into_iter().map(|(shard, leases)| Output::Deliver {
            shard,
            leases,
            message: Arc::clone(&message),
            name: self.name,
        }));
    }

    fn delivered(&mut self, until: Instant, tools: &Tools<'_>, outputs: &mut Vec<Output>) {
        let Waiting::Owners {
            left,
            kept_until,
            copies,
        } = &mut self.waiting
        else {
            return;
        };
        *left -= 1;
        let earliest = kept_until.map_or(until, |earlier| earlier.min(until));
        *kept_until = Some(earliest);
        if *left > 0 {
            return;
        }
        let (name, copies) = (self.name, *copies);
        let queue_id = queue_id(name);
        let id = queue_id.as_str().to_owned();
        self.stored.insert(id, (name, copies));
        self.begun.retain(|begun| *begun != name);
        self.unheard += 1;
        outputs.push(Output::Stored { name, copies });
        let receipt = Receipt {
            kept_until: tools.stamps.rfc3339(tools.wall, earliest),
            queue_id,
        };
        self.session
            .answer(Verdict::Message(Ok(receipt)), tools.now, tools.metrics);
        self.waiting = Waiting::Input {
            deadline: tools.now,
        };
    }
}

/// Where the mailbox of a recipient is to be asked for. Some addresses must have been created, mail
/// makes the others.
fn place(recipient: &Recipient, declared: u64) -> Result<Output, Reply> {
    let accept = match recipient {
        Recipient::Address(address) if is_implied(number_of(address)) => Accept::Any,
        _ => Accept::Created,
    };
    let rules = Rules {
        accept,
        ..Rules::default()
    };
    match recipients::decide(recipient, &rules) {
        Decision::RelayDenied => Err(Reply::RelayDenied),
        Decision::Mailbox {
            address,
            must_exist,
        } => Ok(Output::Ask {
            mailbox: address,
            existence: match must_exist {
                MustExist::Yes => Existence::Required,
                MustExist::No => Existence::Implied,
                MustExist::Operators => Existence::Operators,
                MustExist::Public => Existence::Public,
            },
            declared,
        }),
    }
}
