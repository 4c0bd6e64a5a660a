//! The far end of a connection: what it says, in which order, and what it takes for an answer.
//!
//! It knows the state of its session as RFC 5321 has it, and nothing else of the server. So every
//! reply has one command that it answers (I4), a 503 comes when it must and never otherwise, and
//! nothing that was said before TLS counts after it (I7).

#![forbid(unsafe_code)]

use crate::world::Random;
use std::collections::VecDeque;

/// The largest message that sessions of this simulation take.
pub(crate) const MESSAGE_BYTES_MAX: u64 = 4000;

/// What a peer says in one breath.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    /// A command line.
    Command(Command, String),
    /// A part of a message, counted (RFC 3030).
    Chunk(Chunk),
    /// The data of a message, if 354 invites it.
    Content(Kind),
    /// What an attacker puts behind STARTTLS.
    Injected,
}

/// One BDAT and what it announces.
#[derive(Clone, Debug)]
pub(crate) struct Chunk {
    bytes: Vec<u8>,
    is_first: bool,
    is_last: bool,
    /// Of the whole message.
    kind: Kind,
}

/// What a reply is awaited to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Command {
    Chunk { is_last: bool, kind: Kind },
    Connect,
    Content(Kind),
    Data,
    Ehlo,
    Help,
    Mail { too_big: bool, is_binary: bool },
    Noop,
    Quit,
    Rcpt(Target),
    Rset,
    StartTls,
    Unknown,
    Vrfy,
    Xclient,
}

/// Whom RCPT names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    Elsewhere,
    Ours(u32),
}

/// What kind of data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// With a CR or LF alone somewhere.
    BareLf,
    /// Announced as binary: nothing in it is an offence.
    Binary,
    Good {
        bytes: u64,
    },
    /// Larger than the limit.
    TooBig,
}

/// What a peer has learnt from replies.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Heard {
    /// 250 to data: the name that the server gave the message.
    Accepted(String),
    /// The same, to the last of several chunks.
    AcceptedInChunks(String),
    /// Data was refused.
    Refused(Kind),
    /// This client has done too much.
    ClientDeferred,
    /// 451 or 452 to a command; the data was not asked for.
    Deferred,
    /// It speaks for another client.
    Impersonated,
    /// This client has failed too many handshakes.
    TlsWithheld,
    /// The message would not be too big in calmer times.
    TooBusy,
    /// 421 of a server that stops, or another last word.
    Final(String),
}

/// What is particular to a peer, and to the server that it meets.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Habits {
    /// It does not wait for the greeting.
    pub(crate) speaks_first: bool,
    /// It does not wait for the reply to EHLO.
    pub(crate) is_hasty: bool,
    /// A CR or LF alone becomes a space here.
    pub(crate) normalizes: bool,
}

pub(crate) struct Peer {
    habits: Habits,
    steps: VecDeque<Step>,
    awaiting: VecDeque<Command>,
    partial: Vec<u8>,
    /// All that was said to it.
    pub(crate) transcript: Vec<u8>,
    extended: bool,
    in_transaction: bool,
    /// Whether the transaction has had a chunk, and what the first refused one was answered.
    in_chunks: bool,
    is_binary: bool,
    chunks_refused: Option<String>,
    /// Recipients of the transaction under way that were answered 250.
    pub(crate) accepted: Vec<u32>,
    /// What the message under way consists of, dots undoubled.
    content: Vec<u8>,
    /// It has put commands behind STARTTLS.
    has_injected: bool,
    /// It waits for a handshake.
    pub(crate) handshaking: bool,
    over: bool,
}

impl Peer {
    pub(crate) fn new(steps: VecDeque<Step>, habits: Habits) -> Self {
        Self {
            habits,
            steps,
            awaiting: VecDeque::from([Command::Connect]),
            partial: Vec::new(),
            transcript: Vec::new(),
            extended: false,
            in_transaction: false,
            in_chunks: false,
            is_binary: false,
            chunks_refused: None,
            accepted: Vec::new(),
            content: Vec::new(),
            has_injected: false,
            handshaking: false,
            over: false,
        }
    }

    /// What must be stored of the message under way.
    pub(crate) fn content(&self) -> Vec<u8> {
        match self.habits.normalizes && !self.is_binary {
            true => without_strays(&self.content),
            false => self.content.clone(),
        }
    }

    /// Whether that is not what was sent.
    pub(crate) fn was_normalized(&self) -> bool {
        self.content() != self.content
    }

    /// It says nothing any more.
    pub(crate) fn fall_silent(&mut self) {
        self.over = true;
    }

    /// What it says next, without waiting for more than it must (RFC 2920): everything up to DATA,
    /// EHLO, STARTTLS or QUIT, or less.
    pub(crate) fn speak(&mut self, random: &mut Random) -> Vec<u8> {
        let mut burst = Vec::new();
        while self.may_speak() {
            match self.steps.pop_front() {
                None => break,
                Some(Step::Command(command, line)) => {
                    self.awaiting.push_back(command);
                    burst.extend_from_slice(line.as_bytes());
                    if let Some(Step::Injected) = self.steps.front() {
                        self.steps.pop_front();
                        self.has_injected = true;
                        burst.extend_from_slice(b"EHLO evil\r\nMAIL FROM:<evil@a.test>\r\n");
                    }
                }
                Some(Step::Chunk(chunk)) => {
                    let Chunk {
                        bytes,
                        is_first,
                        is_last,
                        kind,
                    } = chunk;
                    self.awaiting.push_back(Command::Chunk { is_last, kind });
                    if is_first {
                        self.content.clear();
                    }
                    self.content.extend_from_slice(&bytes);
                    let last = if is_last { " LAST" } else { "" };
                    burst.extend(format!("BDAT {}{last}\r\n", bytes.len()).into_bytes());
                    burst.extend(bytes);
                }
                Some(Step::Content(kind)) => {
                    self.awaiting.push_back(Command::Content(kind));
                    let (wire, content) = data(kind, random);
                    self.content = content;
                    burst.extend(wire);
                }
                Some(Step::Injected) => {}
            }
            if random.chance(30) {
                break;
            }
        }
        burst
    }

    /// Whether it has something to say now.
    pub(crate) fn may_speak(&self) -> bool {
        let must_wait = |it: &Command| match it {
            Command::Connect => !self.habits.speaks_first,
            Command::Data | Command::StartTls => true,
            Command::Ehlo => !self.habits.is_hasty,
            _ => false,
        };
        // It wants to know who gets its chunks, so that it knows what must become of them.
        let before_chunks = |it: &Command| {
            matches!(
                it,
                Command::Mail { .. } | Command::Rcpt(_) | Command::Chunk { is_last: true, .. }
            )
        };
        let chunk_waits = matches!(self.steps.front(), Some(Step::Chunk(_)))
            && self.awaiting.iter().any(before_chunks);
        let waits = chunk_waits || self.handshaking || self.awaiting.iter().any(must_wait);
        !(self.steps.is_empty() || self.over || waits)
    }

    /// TLS is there: everything said before is forgotten (RFC 3207 section 4.2).
    pub(crate) fn secured(&mut self) {
        assert!(self.handshaking && self.awaiting.is_empty() && self.partial.is_empty());
        self.handshaking = false;
        self.extended = false;
        self.leave_transaction();
        self.accepted.clear();
    }

    fn leave_transaction(&mut self) {
        (self.in_transaction, self.in_chunks) = (false, false);
        self.chunks_refused = None;
    }

    /// Takes replies, each of which must be one that the command in turn can have.
    pub(crate) fn hear(&mut self, bytes: &[u8]) -> Vec<Heard> {
        self.transcript.extend_from_slice(bytes);
        self.partial.extend_from_slice(bytes);
        let mut heard = Vec::new();
        while let Some(reply) = self.next_reply() {
            assert!(!self.over, "{reply:?} behind the last word");
            let last_words = ["421 ", "554 5.5.0 ", "554 5.5.1 Nothing"];
            let is_final = last_words.iter().any(|start| reply.starts_with(start));
            if is_final {
                let stopped = reply.starts_with("421 4.3.2 Shutting");
                assert!(!(stopped && self.in_transaction), "amid a transaction");
                self.over = true;
                heard.push(Heard::Final(reply));
                continue;
            }
            let command = self.awaiting.pop_front();
            let command = command.unwrap_or_else(|| panic!("I4: nobody asked for {reply:?}"));
            let refused = self.chunks_refused.as_ref();
            if let (Command::Chunk { .. }, Some(refused)) = (command, refused) {
                assert_eq!(&reply, refused, "a refusal holds to the last chunk");
            } else {
                let allowed = self.allowed(command);
                let fits = allowed.iter().any(|start| reply.starts_with(start));
                assert!(fits, "I4: {reply:?} to {command:?}, not one of {allowed:?}");
            }
            heard.extend(self.learn(command, &reply));
        }
        heard
    }

    /// The next whole reply, all of its lines.
    fn next_reply(&mut self) -> Option<String> {
        let mut end = 0;
        loop {
            let line = self.partial[end..]
                .windows(2)
                .position(|it| it == b"\r\n")?;
            let is_last = self.partial[end + 3] == b' ';
            end += line + 2;
            if is_last {
                let reply = self.partial.drain(..end).collect();
                return Some(String::from_utf8(reply).expect("replies are ASCII"));
            }
        }
    }

    /// How replies to a command may begin now.
    fn allowed(&self, command: Command) -> &'static [&'static str] {
        let out_of_order = &["503 5.5.1 "];
        match command {
            Command::Chunk { .. } if !self.in_transaction => out_of_order,
            Command::Chunk { is_last, kind } => self.allowed_to_chunk(is_last, kind),
            Command::Connect => &["220 mx.mayfly.test ESMTP"],
            Command::Content(Kind::BareLf) if self.habits.normalizes => {
                &["250 2.0.0 Ok: held in memory", "452 4.3.1 "]
            }
            Command::Content(Kind::BareLf) => &["550 5.5.2 "],
            Command::Content(Kind::Binary) => unreachable!("it has no lines"),
            Command::Content(Kind::Good { .. }) => &["250 2.0.0 Ok: held in memory", "452 4.3.1 "],
            Command::Content(Kind::TooBig) => &["552 5.3.4 "],
            Command::Data if !self.in_transaction || self.in_chunks || self.is_binary => {
                out_of_order
            }
            Command::Data if self.accepted.is_empty() => &["554 5.5.1 No valid"],
            Command::Data => &["354 ", "452 4.3.1 "],
            Command::Ehlo => &["250-mx.mayfly.test\r\n250-PIPELINING\r\n"],
            Command::Help => &["214 "],
            Command::Mail { .. } if !self.extended || self.in_transaction => out_of_order,
            Command::Mail { too_big: true, .. } => &["552 5.3.4 "],
            Command::Mail { too_big: false, .. } => &["250 2.1.0 ", "452 4.3.1 Too busy"],
            Command::Noop | Command::Rset => &["250 2.0.0 Ok\r\n"],
            Command::Quit => &["221 2.0.0 "],
            Command::Rcpt(_) if !self.in_transaction || self.in_chunks => out_of_order,
            Command::Rcpt(Target::Elsewhere) => &["550 5.7.1 ", "450 4.7.1 "],
            Command::Rcpt(Target::Ours(_)) => &[
                "250 2.1.5 ",
                "450 4.7.1 ",
                "451 4.3.2 ",
                "452 4.2.2 ",
                "452 4.3.1 ",
                "550 5.1.1 ",
                "550 5.2.1 ",
                // In a transaction that was begun before, without SMTPUTF8.
                "553 5.6.7 ",
            ],
            Command::StartTls if !self.extended => out_of_order,
            Command::StartTls => &["220 2.0.0 ", "454 4.7.0 "],
            Command::Unknown => &["500 5.5.1 "],
            Command::Vrfy => &["252 "],
            Command::Xclient if self.in_transaction => out_of_order,
            Command::Xclient => &["220 mx.mayfly.test ESMTP"],
        }
    }

    /// How replies may begin to a chunk of a transaction of which none was refused.
    fn allowed_to_chunk(&self, is_last: bool, kind: Kind) -> &'static [&'static str] {
        if self.accepted.is_empty() {
            return &["554 5.5.1 No valid"];
        }
        match (is_last, kind) {
            (false, Kind::TooBig) => {
                &["250 2.0.0 Ok\r\n", "452 4.3.1 ", "551 5.7.1 ", "552 5.3.4 "]
            }
            (false, _) => &["250 2.0.0 Ok\r\n", "452 4.3.1 ", "551 5.7.1 "],
            (true, Kind::BareLf) if self.is_binary || self.habits.normalizes => {
                &["250 2.0.0 Ok: held in memory", "452 4.3.1 "]
            }
            (true, Kind::Binary) if !self.is_binary => &["550 5.5.2 ", "452 4.3.1 "],
            (true, Kind::BareLf) => &["550 5.5.2 ", "452 4.3.1 "],
            (true, Kind::TooBig) => &["552 5.3.4 ", "452 4.3.1 "],
            (true, Kind::Binary | Kind::Good { .. }) => {
                &["250 2.0.0 Ok: held in memory", "452 4.3.1 "]
            }
        }
    }

    fn learn_of_chunk(&mut self, is_last: bool, kind: Kind, reply: &str) -> Option<Heard> {
        if !self.in_transaction {
            return None;
        }
        self.in_chunks = true;
        if is_last {
            self.leave_transaction();
            let id = reply.trim_end().rsplit_once("id=");
            return Some(match id {
                Some((_, id)) => Heard::AcceptedInChunks(id.to_owned()),
                None => Heard::Refused(kind),
            });
        }
        if !reply.starts_with('2') {
            self.chunks_refused = Some(reply.to_owned());
        }
        None
    }

    fn learn(&mut self, command: Command, reply: &str) -> Option<Heard> {
        let is_positive = reply.starts_with('2') || reply.starts_with('3');
        match command {
            Command::Chunk { is_last, kind } => {
                return self.learn_of_chunk(is_last, kind, reply);
            }
            Command::Ehlo => {
                self.extended = true;
                self.leave_transaction();
            }
            Command::Rset => self.leave_transaction(),
            Command::Mail { .. } if reply.starts_with("452") => return Some(Heard::TooBusy),
            Command::Mail { is_binary, .. } if is_positive => {
                (self.in_transaction, self.is_binary) = (true, is_binary);
                self.accepted.clear();
            }
            Command::Rcpt(Target::Ours(number)) if is_positive => self.accepted.push(number),
            Command::Rcpt(_) if reply.starts_with("450") => return Some(Heard::ClientDeferred),
            Command::StartTls if reply.starts_with("454") => {
                // There will be no TLS, so what stands behind it is plain text among plain text.
                if std::mem::take(&mut self.has_injected) {
                    let mail = Command::Mail {
                        too_big: false,
                        is_binary: false,
                    };
                    self.awaiting.extend([Command::Ehlo, mail]);
                }
                return Some(Heard::TlsWithheld);
            }
            Command::Data if !is_positive => {
                if let Some(Step::Content(_)) = self.steps.front() {
                    self.steps.pop_front();
                }
                // A transaction without memory is over; one without recipients goes on.
                if reply.starts_with("452") {
                    self.in_transaction = false;
                    return Some(Heard::Deferred);
                }
            }
            Command::Content(kind) => {
                self.in_transaction = false;
                let id = reply.trim_end().rsplit_once("id=");
                return Some(match id {
                    Some((_, id)) if is_positive => Heard::Accepted(id.to_owned()),
                    _ => Heard::Refused(kind),
                });
            }
            Command::StartTls => self.handshaking = is_positive,
            Command::Quit => self.over = true,
            // The session begins anew.
            Command::Xclient if is_positive => {
                self.extended = false;
                return Some(Heard::Impersonated);
            }
            _ => {}
        }
        None
    }
}

/// What becomes of content where a CR or LF alone becomes a space.
fn without_strays(content: &[u8]) -> Vec<u8> {
    let neighbour = |at: Option<usize>| at.and_then(|at| content.get(at)).copied();
    let bytes = content.iter().enumerate().map(|(at, byte)| match byte {
        b'\r' if neighbour(Some(at + 1)) != Some(b'\n') => b' ',
        b'\n' if neighbour(at.checked_sub(1)) != Some(b'\r') => b' ',
        other => *other,
    });
    bytes.collect()
}

/// A message on the wire and as it must be stored.
fn data(kind: Kind, random: &mut Random) -> (Vec<u8>, Vec<u8>) {
    let bytes = match kind {
        Kind::BareLf | Kind::Binary => 100,
        Kind::Good { bytes } => bytes,
        Kind::TooBig => MESSAGE_BYTES_MAX + 1 + random.below(200),
    };
    let mut content = b"X: y\r\n\r\n".to_vec();
    while (content.len() as u64) < bytes {
        let line: &[u8] = match random.below(4) {
            0 => b".\r\n",
            1 => b"..dots\r\n",
            2 => b"text\r\n",
            _ => b"a line that is longer than the block in which bytes are looked at together\r\n",
        };
        content.extend_from_slice(line);
    }
    if kind == Kind::BareLf {
        let strays: [&[u8]; 6] = [b"\n", b"\n.\n", b"\n.\r\n", b"\r", b"\r.\r\n", b"\r\r\n"];
        let dot = strays[random.below(6) as usize];
        content.extend_from_slice(&[dot, b"MAIL FROM:<evil@a.test>\r\n"].concat());
        content.extend_from_slice(&b"and on\r\n".repeat(random.below(20) as usize));
    }
    let mut wire = Vec::new();
    for line in content.split_inclusive(|byte| *byte == b'\n') {
        let at_line_start = wire.is_empty() || wire.ends_with(b"\r\n");
        if at_line_start && line.starts_with(b".") {
            wire.push(b'.');
        }
        wire.extend_from_slice(line);
    }
    wire.extend_from_slice(b".\r\n");
    (wire, content)
}

/// Everything that a peer will say, if it gets so far.
pub(crate) fn script(random: &mut Random, addresses: u32) -> VecDeque<Step> {
    let mut steps = VecDeque::new();
    let mut say = |command, line: &str| {
        steps.push_back(Step::Command(command, format!("{line}\r\n")));
    };
    let mail = Command::Mail {
        too_big: false,
        is_binary: false,
    };
    if random.chance(5) {
        say(Command::Xclient, "XCLIENT ADDR=192.0.2.1");
    }
    let greets = random.chance(95);
    if greets {
        say(Command::Ehlo, "EHLO client.test");
    }
    if random.chance(30) {
        // What is said before TLS, up to a lease, must be gone behind it.
        if random.chance(50) {
            say(mail, "MAIL FROM:<before@a.test>");
            let number = random.below(addresses.into()) as u32;
            let line = format!("RCPT TO:<u{number}@mayfly.test>");
            say(Command::Rcpt(Target::Ours(number)), &line);
        }
        say(Command::StartTls, "STARTTLS");
        if greets && random.chance(15) {
            steps.push_back(Step::Injected);
        }
        let mut say = |command, line: &str| {
            steps.push_back(Step::Command(command, format!("{line}\r\n")));
        };
        if random.chance(30) {
            say(Command::Data, "DATA");
        }
        if random.chance(90) {
            say(Command::Ehlo, "EHLO client.test");
        }
    }
    for _ in 0..=random.below(3) {
        transaction(random, addresses, &mut steps);
    }
    if random.chance(80) {
        steps.push_back(Step::Command(Command::Quit, "QUIT\r\n".to_owned()));
    }
    steps
}

fn transaction(random: &mut Random, addresses: u32, steps: &mut VecDeque<Step>) {
    let mut say = |command, line: &str| {
        steps.push_back(Step::Command(command, format!("{line}\r\n")));
    };
    let bytes = 10 + random.below(MESSAGE_BYTES_MAX - 200);
    let too_big = random.chance(3);
    let in_chunks = random.chance(40);
    let kind = match random.below(20) {
        0 => Kind::BareLf,
        1 => Kind::TooBig,
        2..5 if in_chunks => Kind::Binary,
        _ => Kind::Good { bytes },
    };
    let line = match random.below(3) {
        _ if too_big => format!("MAIL FROM:<s@a.test> SIZE={}", MESSAGE_BYTES_MAX + 1),
        _ if kind == Kind::Binary => "MAIL FROM:<s@a.test> BODY=BINARYMIME SMTPUTF8".to_owned(),
        // The last line of the data may go beyond what was meant to be its end.
        0 => format!("MAIL FROM:<S@a.test> SIZE={}", bytes + 100),
        1 => "MAIL FROM:<>".to_owned(),
        _ => "MAIL FROM:<\u{fc}@b\u{fc}cher.test> SMTPUTF8".to_owned(),
    };
    let beyond_ascii = line.ends_with("SMTPUTF8");
    let is_binary = line.contains("BINARYMIME");
    say(Command::Mail { too_big, is_binary }, &line);
    let mut named = Vec::new();
    for _ in 0..=random.below(4) {
        let number = random.below(addresses.into()) as u32;
        if random.chance(10) {
            let line = "RCPT TO:<u1@elsewhere.test>";
            say(Command::Rcpt(Target::Elsewhere), line);
        } else if !named.contains(&number) {
            named.push(number);
            // One mailbox, however it is spelled.
            let spelled = match random.below(3) {
                0 if beyond_ascii => format!("\u{ff35}{number}@\u{ff2d}ayfly.test"),
                1 => format!("u{number}+tag@mayfly.test."),
                _ => format!("U{number}@Mayfly.test"),
            };
            let line = format!("RCPT TO:<{spelled}>");
            say(Command::Rcpt(Target::Ours(number)), &line);
        }
        match random.below(40) {
            0 => say(Command::Noop, "NOOP"),
            1 => say(Command::Vrfy, "VRFY u1"),
            2 => say(Command::Help, "HELP"),
            3 => say(Command::Unknown, "XYZZY"),
            4 => say(Command::Rset, "RSET"),
            5 => say(Command::Ehlo, "EHLO again.test"),
            _ => {}
        }
    }
    if in_chunks {
        return chunks(kind, random, steps);
    }
    say(Command::Data, "DATA");
    steps.push_back(Step::Content(kind));
}

/// A message in chunks, not all of them needed, and what may come between them.
fn chunks(kind: Kind, random: &mut Random, steps: &mut VecDeque<Step>) {
    let (_, mut left) = data(kind, random);
    if kind == Kind::Binary {
        left.extend_from_slice(b"\0\n\r.\r\nBDAT 5\r\n");
    }
    let mut is_first = true;
    loop {
        let size = match random.below(8) {
            0 => 0,
            1 => left.len(),
            _ => random.below(1 + left.len() as u64 / 2) as usize,
        };
        let rest = left.split_off(size);
        let is_last = rest.is_empty() && random.chance(70);
        steps.push_back(Step::Chunk(Chunk {
            bytes: std::mem::replace(&mut left, rest),
            is_first,
            is_last,
            kind,
        }));
        if is_last {
            return;
        }
        is_first = false;
        let mail = Command::Mail {
            too_big: false,
            is_binary: false,
        };
        let (command, line) = match random.below(60) {
            0 => (Command::Data, "DATA\r\n"),
            1 => (Command::Rset, "RSET\r\n"),
            2 => (Command::Ehlo, "EHLO again.test\r\n"),
            3 => (mail, "MAIL FROM:<>\r\n"),
            4 => (Command::Xclient, "XCLIENT ADDR=192.0.2.1\r\n"),
            5..9 => (Command::Noop, "NOOP\r\n"),
            _ => continue,
        };
        steps.push_back(Step::Command(command, line.to_owned()));
    }
}
