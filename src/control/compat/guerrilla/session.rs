//! Sessions: which mailboxes somebody holds, sealed into what the API calls `sid_token` and, as a cookie, `PHPSESSID`.
//!
//! Nothing is kept for one. Each answer has a new text that is good for as long as a session may be idle; a mailbox that has ended
//! meanwhile is not found by it. Nobody else can read or make one.

use crate::clock::Instant;
use crate::control::app::App;
use crate::control::compat::sealed::SealKey;
use crate::control::problem::Problem;
use crate::edge::CoreShard;
use crate::mail::Address;
use crate::store::{Holder, TokenHash};

/// How many mailboxes one session holds; with one more the oldest is let go. It lives to its end, and nobody reads it.
const PLACES_MAX: usize = 4;

/// The most bytes that are sealed: what comes of more is not opened again.
const BYTES_MAX: usize = 352;

const HELD: u8 = 0;
const PUBLIC: u8 = 1;

/// A mailbox of a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// One that the session holds.
    Held(TokenHash),
    /// One that is everybody's.
    Public(Address),
}

impl Place {
    /// In whose name it is read.
    fn holder(&self) -> Holder {
        match self {
            Self::Held(token) => Holder::Token(*token),
            Self::Public(address) => Holder::Public(address.clone()),
        }
    }

    /// Asks its core.
    pub(super) async fn ask<T: Send + 'static>(
        &self,
        app: &App,
        question: impl FnOnce(&mut CoreShard, &Holder, Instant) -> Option<T> + Send + 'static,
    ) -> Result<T, Problem> {
        app.ask(&self.holder(), question).await
    }

    fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Held(token) => {
                out.push(HELD);
                out.extend_from_slice(&token.0);
            }
            Self::Public(address) => {
                let text = address.as_str().as_bytes();
                out.push(PUBLIC);
                // An address has a few hundred bytes at most.
                out.extend_from_slice(&u16::try_from(text.len()).unwrap_or(0).to_be_bytes());
                out.extend_from_slice(text);
            }
        }
    }

    fn read(bytes: &[u8]) -> Option<(Self, &[u8])> {
        let (kind, rest) = bytes.split_first()?;
        if *kind == HELD {
            let (token, rest) = rest.split_first_chunk()?;
            return Some((Self::Held(TokenHash(*token)), rest));
        }
        let (length, rest) = rest.split_first_chunk()?;
        let length = usize::from(u16::from_be_bytes(*length));
        let (text, rest) = rest.split_at_checked(length)?;
        let text = std::str::from_utf8(text).ok()?;
        Some((Self::Public(Address::parse(text).ok()?), rest))
    }
}

/// What one client holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Session {
    /// Whether the first of its mailboxes is the current one. After it was forgotten there is none.
    has_current: bool,
    /// The one that was current last comes first.
    places: Vec<Place>,
}

impl Session {
    /// The mailbox that calls are about.
    pub(super) fn current(&self) -> Option<&Place> {
        self.places.first().filter(|_| self.has_current)
    }

    /// All mailboxes, the current one first.
    pub(super) fn places(&self) -> &[Place] {
        &self.places
    }

    /// Makes a mailbox the current one.
    pub(super) fn turn_to(&mut self, place: Place) {
        self.places.retain(|it| *it != place);
        self.places.insert(0, place);
        self.places.truncate(PLACES_MAX);
        self.has_current = true;
    }

    /// Lets a mailbox go.
    pub(super) fn forget(&mut self, place: &Place) {
        self.has_current &= self.places.first() != Some(place);
        self.places.retain(|it| it != place);
    }

    /// As a text that is good until then.
    pub(super) fn seal(&self, key: &SealKey, until: Instant) -> String {
        let mut bytes = until.as_micros().to_be_bytes().to_vec();
        bytes.push(u8::from(self.has_current));
        for place in &self.places {
            let before = bytes.len();
            place.write(&mut bytes);
            if bytes.len() > BYTES_MAX {
                bytes.truncate(before);
                break;
            }
        }
        key.seal(&bytes)
    }

    /// What such a text says, if its time is not over.
    pub(super) fn open(key: &SealKey, text: &str, now: Instant) -> Option<Self> {
        let bytes = key.open(text)?;
        let (until, rest) = bytes.split_first_chunk()?;
        let until = Instant::from_micros(u64::from_be_bytes(*until));
        let (has_current, mut rest) = rest.split_first()?;
        if until <= now {
            return None;
        }
        let mut places = Vec::new();
        while !rest.is_empty() {
            let place;
            (place, rest) = Place::read(rest)?;
            places.push(place);
        }
        Some(Self {
            has_current: *has_current == 1 && !places.is_empty(),
            places,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held(number: u8) -> Place {
        Place::Held(TokenHash([number; 32]))
    }

    fn public(local: &str, domain: &str) -> Place {
        Place::Public(Address::from_parts(local, domain))
    }

    #[test]
    fn a_session_is_what_was_sealed_until_its_time_is_over() {
        let key = SealKey::draw("sessions of a test");
        let mut session = Session::default();
        for number in 0..6 {
            session.turn_to(held(number));
        }
        session.turn_to(public("u", "open.test"));
        session.turn_to(held(5));
        assert_eq!(session.current(), Some(&held(5)));
        assert_eq!(session.places().len(), PLACES_MAX);
        let at = Instant::from_secs;
        let text = session.seal(&key, at(10));
        assert_eq!(Session::open(&key, &text, at(9)), Some(session.clone()));
        assert_eq!(Session::open(&key, &text, at(10)), None);
        let other = SealKey::draw("sessions of a test");
        assert_eq!(Session::open(&other, &text, at(9)), None);
        assert_eq!(Session::open(&key, "", at(9)), None);

        session.forget(&held(4));
        assert_eq!(session.current(), Some(&held(5)), "another one");
        session.forget(&held(5));
        assert_eq!(session.current(), None);
        let text = session.seal(&key, at(10));
        assert_eq!(Session::open(&key, &text, at(9)), Some(session));
        let empty = Session::default();
        let text = empty.seal(&key, at(10));
        assert_eq!(Session::open(&key, &text, at(9)), Some(empty));
    }

    #[test]
    fn the_longest_addresses_fit_and_the_oldest_go() {
        let key = SealKey::draw("sessions of a test");
        let label = "a".repeat(60);
        let domain = format!("{label}.{label}.{label}.test");
        let mut session = Session::default();
        for local in ["b", "c"] {
            session.turn_to(public(&local.repeat(64), &domain));
        }
        let text = session.seal(&key, Instant::from_secs(10));
        let opened = Session::open(&key, &text, Instant::ZERO).expect("it is not too long");
        assert_eq!(opened.places(), &session.places()[..1]);
    }
}
