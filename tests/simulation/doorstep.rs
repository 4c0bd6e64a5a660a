//! What comes before a session: a proxy's header, or a greeting that is not due yet.

#![forbid(unsafe_code)]

use crate::world::Random;
use mayfly::clock::Instant;
use mayfly::smtp::proxy::HeaderReader;
use std::time::Duration;

/// How long a header may take.
const HEADER_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a greeting is delayed.
const DELAY: Duration = Duration::from_secs(3);

/// How a client comes in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// It is greeted when the delay is over.
    Delayed,
    Direct,
    Proxied(Header),
}

/// What a proxy says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Header {
    Malformed,
    Sound,
    /// Nothing.
    Silent,
}

/// What a connection waits for before there is a session.
pub(crate) enum Doorstep {
    Greeting {
        due: Instant,
    },
    Header {
        reader: HeaderReader,
        deadline: Instant,
    },
}

impl Doorstep {
    pub(crate) fn of(way: Way, now: Instant) -> Option<Self> {
        match way {
            Way::Direct => None,
            Way::Delayed => Some(Self::Greeting {
                due: now.plus(DELAY),
            }),
            Way::Proxied(_) => Some(Self::Header {
                reader: HeaderReader::default(),
                deadline: now.plus(HEADER_TIMEOUT),
            }),
        }
    }

    pub(crate) const fn deadline(&self) -> Instant {
        match self {
            Self::Greeting { due } => *due,
            Self::Header { deadline, .. } => *deadline,
        }
    }
}

impl Header {
    pub(crate) fn drawn(random: &mut Random) -> Self {
        match random.below(10) {
            0 => Self::Malformed,
            1 => Self::Silent,
            _ => Self::Sound,
        }
    }

    /// As it goes over the wire.
    pub(crate) fn bytes(self, random: &mut Random) -> Vec<u8> {
        let mut bytes = match random.below(3) {
            0 => b"PROXY TCP4 192.0.2.7 198.51.100.1 4660 25\r\n".to_vec(),
            1 => b"PROXY TCP6 2001:db8::7 2001:db8::25 4660 25\r\n".to_vec(),
            _ => b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x11\xc0\0\x02\x07\xc6\x33\x64\x01\x12\x34\0\x19\x04\0\x02id".to_vec(),
        };
        match self {
            Self::Sound => {}
            Self::Silent => bytes.clear(),
            // Each byte of the first twelve matters in both versions.
            Self::Malformed => bytes[random.below(12) as usize] ^= 0x80,
        }
        bytes
    }
}
