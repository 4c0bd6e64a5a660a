//! What a generator is asked to do: one load, as a scenario's file names it, and one process's share of it.

use crate::failure::Failure;
use serde::{Deserialize, Serialize};
use std::net::{IpAddr, SocketAddr};

/// The most messages of one load, in all processes: markers of a message have this much room, and lists of them memory.
pub(crate) const MESSAGES_MAX: u64 = 10_000_000;
/// The most seconds that a load may last.
pub(crate) const SECONDS_MAX: f64 = 900.0;
/// The most sessions of one process; its descriptors bound them further.
const SESSIONS_MAX: u32 = 60_000;
const PROCESSES_MAX: u32 = 16;
const RECIPIENTS_MAX: u32 = 1_000;
const SOURCES_MAX: u32 = 200;
const BODY_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// What its sessions do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Kind {
    /// They send messages.
    #[default]
    Send,
    /// They are greeted, say EHLO, and then nothing, until the other loads of their step are done.
    Hold,
    /// They say one byte of a command now and then, for as long.
    Drip,
    /// They are clients of the HTTP API: each has a mailbox of another load, lists what is new there and reads every message of it,
    /// until that is done and the mailbox is read to its end.
    Read,
}

/// How TLS comes into it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Tls {
    /// In the clear.
    #[default]
    None,
    /// With STARTTLS, on the plain listener.
    Starttls,
    /// From the first byte (RFC 8314), on a listener of its own.
    Implicit,
}

/// How large bodies are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub(crate) enum Size {
    /// So many bytes each, the header not counted, as `smtp-source -l` has it.
    Fixed(u64),
    /// Drawn from a named distribution; see `sizes.rs`.
    Drawn(String),
}

/// An open loop: when messages are meant to be sent, whatever becomes of those before.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Rate {
    /// Messages a second, the mean if there are bursts, the start of a ramp.
    pub(crate) per_second: f64,
    /// The rate at the end of a ramp.
    #[serde(default)]
    pub(crate) ramp_to: Option<f64>,
    /// How long the ramp takes.
    #[serde(default)]
    pub(crate) ramp_seconds: f64,
    /// How many times the mean a burst is. 1: there are none.
    #[serde(default = "one")]
    pub(crate) burst_factor: f64,
    /// How long a burst lasts.
    #[serde(default)]
    pub(crate) burst_seconds: f64,
    /// From the start of one to the start of the next.
    #[serde(default)]
    pub(crate) burst_every_seconds: f64,
}

fn one() -> f64 {
    1.0
}

impl Rate {
    /// Always the same.
    pub(crate) fn steady(per_second: f64) -> Self {
        Self {
            per_second,
            ramp_to: None,
            ramp_seconds: 0.0,
            burst_factor: 1.0,
            burst_seconds: 0.0,
            burst_every_seconds: 0.0,
        }
    }

    fn shared(mut self, processes: f64) -> Self {
        self.per_second /= processes;
        self.ramp_to = self.ramp_to.map(|rate| rate / processes);
        self
    }
}

/// One load.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Load {
    /// Part of its recipients' addresses, and of what is printed.
    pub(crate) name: String,
    /// Loads of one step run at the same time; steps follow one another.
    pub(crate) step: u32,
    /// Generator processes that share it: each has its own descriptors, and a core of its own if there is one.
    pub(crate) processes: u32,
    /// What its sessions do.
    pub(crate) kind: Kind,
    /// Connections at a time.
    pub(crate) sessions: u32,
    /// Messages in all.
    pub(crate) messages: u64,
    /// The longest that it may take; what is not sent by then is not sent.
    pub(crate) seconds_max: f64,
    /// An open loop; without it a session sends its next message when the last one was answered.
    pub(crate) rate: Option<Rate>,
    /// Messages on one connection. 0: all of them.
    pub(crate) per_connection: u64,
    /// How large bodies are.
    pub(crate) size: Size,
    /// Recipients of each message.
    pub(crate) recipients: u32,
    /// Mailboxes that the recipients go round.
    pub(crate) mailboxes: u64,
    /// How TLS comes into it.
    pub(crate) tls: Tls,
    /// Whether a session offers the ticket of its last handshake.
    pub(crate) resume: bool,
    /// Whether MAIL, RCPT and DATA go in one write.
    pub(crate) pipelining: bool,
    /// Whether content goes in counted chunks (BDAT) instead of DATA.
    pub(crate) chunking: bool,
    /// How large a chunk is. 0: all in one.
    pub(crate) chunk_bytes: u64,
    /// Addresses of 127.0.0.0/8 that the connections come from. 0: the kernel's choice.
    pub(crate) sources: u32,
    /// Whether each connection begins with a PROXY header (version 2) that names a client of 203.0.113.0/24.
    pub(crate) proxy: bool,
    /// Whether the mailboxes are created first and their event streams read: end of data to event.
    pub(crate) watch: bool,
    /// Seconds between two bytes of [`Kind::Drip`].
    pub(crate) drip_seconds: f64,
    /// The load whose mailboxes [`Kind::Read`] reads.
    pub(crate) of: String,
    /// Seconds that a reader rests when there is nothing new.
    pub(crate) rest_seconds: f64,
    /// Whether what is refused stays without a reply of success on purpose: then it is counted, and no failure.
    pub(crate) refusals_expected: bool,
}

impl Default for Load {
    fn default() -> Self {
        Self {
            name: "load".to_owned(),
            step: 0,
            processes: 1,
            kind: Kind::Send,
            sessions: 1,
            messages: 1,
            seconds_max: 120.0,
            rate: None,
            per_connection: 0,
            size: Size::Fixed(4096),
            recipients: 1,
            mailboxes: 1,
            tls: Tls::None,
            resume: false,
            pipelining: true,
            chunking: false,
            chunk_bytes: 0,
            sources: 0,
            proxy: false,
            watch: false,
            drip_seconds: 1.0,
            of: String::new(),
            rest_seconds: 0.1,
            refusals_expected: false,
        }
    }
}

impl Load {
    /// Says what is wrong with it, if anything: nothing here may be without a bound.
    pub(crate) fn check(&self) -> Result<(), Failure> {
        let name = &self.name;
        let broken = self
            .counts()
            .into_iter()
            .chain(self.fits())
            .find(|(holds, _)| !holds);
        if let Some((_, rule)) = broken {
            return Err(Failure::new(format!("load \"{name}\": {rule}")));
        }
        let rate = self.rate.map(crate::schedule::Schedule::new).transpose();
        rate.map(|_| ())
            .map_err(Failure::at(format!("load \"{name}\"")))
    }

    /// What each number may be.
    fn counts(&self) -> [(bool, &'static str); 11] {
        let name = &self.name;
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        let size = match self.size {
            Size::Fixed(bytes) => (2..=BODY_BYTES_MAX).contains(&bytes),
            Size::Drawn(_) => true,
        };
        [
            (
                !name.is_empty() && name.len() <= 32 && name.chars().all(plain),
                "name: letters, digits and dashes",
            ),
            (
                (1..=PROCESSES_MAX).contains(&self.processes),
                "processes: 1 to 16",
            ),
            (
                (1..=SESSIONS_MAX).contains(&self.sessions),
                "sessions: 1 to 60,000",
            ),
            (
                (1..=MESSAGES_MAX).contains(&self.messages),
                "messages: 1 to 10,000,000",
            ),
            (
                self.seconds_max > 0.0 && self.seconds_max <= SECONDS_MAX,
                "seconds_max: up to 900",
            ),
            (
                (1..=RECIPIENTS_MAX).contains(&self.recipients),
                "recipients: 1 to 1,000",
            ),
            (
                self.mailboxes <= MESSAGES_MAX,
                "mailboxes: up to 10,000,000",
            ),
            (self.sources <= SOURCES_MAX, "sources: up to 200"),
            (self.drip_seconds >= 0.01, "drip_seconds: at least 0.01"),
            (
                (0.001..=60.0).contains(&self.rest_seconds),
                "rest_seconds: 0.001 to 60",
            ),
            (size, "size: 2 bytes to 64 MiB"),
        ]
    }

    /// What must fit together.
    fn fits(&self) -> [(bool, &'static str); 7] {
        let (sends, reads) = (self.kind == Kind::Send, self.kind == Kind::Read);
        [
            (
                self.sessions >= self.processes,
                "sessions: at least one for each process",
            ),
            (
                !sends || self.messages >= u64::from(self.processes),
                "messages: at least one for each process",
            ),
            (
                self.mailboxes >= u64::from(self.recipients),
                "mailboxes: at least one for each recipient",
            ),
            (
                !self.watch || self.mailboxes <= 1_000,
                "watch: up to 1,000 mailboxes",
            ),
            (
                !self.watch || self.processes == 1,
                "watch: one process, which knows when it sent what",
            ),
            (
                !reads || (self.processes == 1 && self.sessions <= 1_000),
                "kind = \"read\": one process, up to 1,000 sessions",
            ),
            (
                self.rate.is_none() || sends,
                "rate: only what sends has one",
            ),
        ]
    }

    /// One process's share, `index` of [`Load::processes`]; the shares add up to the whole.
    pub(crate) fn share(&self, index: u32) -> Self {
        let part = |whole: u64| {
            let (processes, index) = (u64::from(self.processes), u64::from(index));
            whole / processes + u64::from(index < whole % processes)
        };
        Self {
            sessions: u32::try_from(part(u64::from(self.sessions))).unwrap_or(u32::MAX),
            // What only holds sends none.
            messages: part(self.messages).max(u64::from(self.kind != Kind::Send)),
            rate: self.rate.map(|rate| rate.shared(f64::from(self.processes))),
            processes: 1,
            ..self.clone()
        }
    }
}

/// What one process is told on its standard input.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Job {
    /// Its share.
    pub(crate) load: Load,
    /// Where the mail goes.
    pub(crate) target: SocketAddr,
    /// Where the API is, for event streams.
    pub(crate) api: Option<SocketAddr>,
    /// The domain of the recipients.
    pub(crate) domain: String,
    /// The number of this process in the run: the upper half of its markers.
    pub(crate) worker: u32,
    /// The first message's place among all of the load, so that mailboxes are gone round evenly.
    pub(crate) first: u64,
}

impl Job {
    /// A message's marker: which process sent it, and its number there.
    pub(crate) fn marker(&self, number: u64) -> u64 {
        (u64::from(self.worker) << 32) | number
    }
}

/// Only this machine: a load test against somebody else's server is an attack, whatever the intention.
pub(crate) fn only_loopback(target: SocketAddr) -> Result<SocketAddr, Failure> {
    let loopback = match target.ip() {
        IpAddr::V4(ip) => ip.is_loopback(),
        IpAddr::V6(ip) => ip.is_loopback(),
    };
    if loopback {
        return Ok(target);
    }
    Err(Failure::new(format!(
        "{} is not a loopback address (127.0.0.0/8 or [::1]); this generator sends nowhere else. A network namespace has a loopback of its own.",
        target.ip()
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_add_up() {
        let whole = Load {
            processes: 3,
            sessions: 50_000,
            messages: 10,
            rate: Some(Rate::steady(900.0)),
            ..Load::default()
        };
        let shares: Vec<Load> = (0..3).map(|index| whole.share(index)).collect();
        assert_eq!(
            shares.iter().map(|share| share.sessions).sum::<u32>(),
            50_000
        );
        assert_eq!(
            shares
                .iter()
                .map(|share| share.messages)
                .collect::<Vec<_>>(),
            [4, 3, 3]
        );
        assert!(
            shares
                .iter()
                .all(|share| share.rate == Some(Rate::steady(300.0)))
        );
    }

    #[test]
    fn only_this_machine_is_a_target() {
        for target in ["127.0.0.1:25", "127.255.0.9:2525", "[::1]:25"] {
            assert!(only_loopback(target.parse().unwrap()).is_ok(), "{target}");
        }
        for target in [
            "128.0.0.1:25",
            "10.0.0.1:25",
            "0.0.0.0:25",
            "[::]:25",
            "[::ffff:127.0.0.1]:25",
            "[fe80::1]:25",
        ] {
            assert!(only_loopback(target.parse().unwrap()).is_err(), "{target}");
        }
    }

    #[test]
    fn a_load_without_a_bound_is_refused() {
        let cases: [(&str, Load); 6] = [
            (
                "messages",
                Load {
                    messages: MESSAGES_MAX + 1,
                    ..Load::default()
                },
            ),
            (
                "seconds_max",
                Load {
                    seconds_max: f64::INFINITY,
                    ..Load::default()
                },
            ),
            (
                "sessions",
                Load {
                    sessions: 0,
                    ..Load::default()
                },
            ),
            (
                "mailboxes",
                Load {
                    recipients: 2,
                    ..Load::default()
                },
            ),
            (
                "name",
                Load {
                    name: "a b".to_owned(),
                    ..Load::default()
                },
            ),
            (
                "size",
                Load {
                    size: Size::Fixed(1),
                    ..Load::default()
                },
            ),
        ];
        for (rule, load) in cases {
            let error = load.check().expect_err(rule).to_string();
            assert!(error.contains(rule), "{rule}: {error}");
        }
        assert!(Load::default().check().is_ok());
    }

    #[test]
    fn markers_of_processes_differ() {
        let job = |worker| Job {
            load: Load::default(),
            target: "127.0.0.1:1".parse().unwrap(),
            api: None,
            domain: "mayfly.test".to_owned(),
            worker,
            first: 0,
        };
        assert_ne!(job(1).marker(7), job(2).marker(7));
        assert_eq!(job(3).marker(9), 0x3_0000_0009);
    }
}
