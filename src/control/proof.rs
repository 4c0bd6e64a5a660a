//! Proof of work: what a client shows who may not be asked to solve riddles.
//!
//! The server hands out a challenge and keeps nothing of it: the challenge carries its own end and how much work it asks
//! for, under a MAC. It is solved by a nonce with which SHA-256 of `<challenge>:<nonce>` begins with so many zero bits. A
//! challenge counts once; those that were used are remembered in a [`Filter`] until they would be out of date.

use super::random;
use crate::clock::Instant;
use crate::filter::{Filter, Measure};
use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::hmac;
use std::fmt;
use std::time::Duration;

/// How long a challenge may be solved and used.
pub(super) const LIFETIME: Duration = Duration::from_secs(300);

/// What every challenge begins with.
const PREFIX: &str = "mfc_";

/// A random name, the end in microseconds of the process's clock, the bits.
const NAME_BYTES: usize = 16;
const CONTENT_BYTES: usize = NAME_BYTES + 8 + 1;

/// The longest nonce. A counter of 64 bits has 20 digits.
const NONCE_BYTES_MAX: usize = 64;

/// Makes challenges and knows its own. The key lives and dies with the process.
pub(super) struct Challenger(hmac::Key);

impl fmt::Debug for Challenger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Challenger(..)")
    }
}

/// What is shown as proof.
pub(super) struct Proof {
    /// A challenge of ours.
    pub(super) challenge: String,
    /// What solves it.
    pub(super) nonce: String,
}

/// A proof that is right and was perhaps used before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Solved {
    name: u64,
}

impl Challenger {
    pub(super) fn new() -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, &random::<32>()))
    }

    /// A challenge that asks for so many zero bits.
    pub(super) fn challenge(&self, bits: u32, now: Instant) -> String {
        let mut content = Vec::with_capacity(CONTENT_BYTES);
        content.extend(random::<NAME_BYTES>());
        content.extend(now.plus(LIFETIME).as_micros().to_be_bytes());
        content.push(u8::try_from(bits).unwrap_or(u8::MAX));
        let tag = hmac::sign(&self.0, &content);
        content.extend_from_slice(tag.as_ref());
        let letters = data_encoding::BASE32_NOPAD.encode(&content);
        format!("{PREFIX}{}", letters.to_ascii_lowercase())
    }

    /// Whether a proof is right: a challenge of ours, not out of date, and solved.
    pub(super) fn check(&self, proof: &Proof, now: Instant) -> Option<Solved> {
        let letters = proof.challenge.strip_prefix(PREFIX)?;
        let bytes = data_encoding::BASE32_NOPAD.decode(letters.to_ascii_uppercase().as_bytes());
        let bytes = bytes.ok()?;
        let (content, tag) = bytes.split_at_checked(CONTENT_BYTES)?;
        hmac::verify(&self.0, content, tag).ok()?;
        let (name, rest) = content.split_at(NAME_BYTES);
        let (end, bits) = rest.split_at(8);
        let number = |bytes: &[u8]| {
            bytes
                .iter()
                .fold(0, |sum, byte| sum << 8 | u64::from(*byte))
        };
        if number(end) <= now.as_micros() || proof.nonce.len() > NONCE_BYTES_MAX {
            return None;
        }
        let text = format!("{}:{}", proof.challenge, proof.nonce);
        let hash = digest(&SHA256, text.as_bytes());
        let solved = zero_bits(hash.as_ref()) >= u32::from(bits[0]);
        solved.then(|| Solved {
            name: number(&name[..8]),
        })
    }
}

impl Solved {
    /// Notes that it is used now; `false` if it was before (or, once in a while, if others make it look so).
    pub(super) fn uses_up(self, used: &mut Filter, room: u32, now: Instant) -> bool {
        let measure = Measure {
            time: LIFETIME,
            room,
        };
        if used.knows(self.name, measure.time, now) {
            return false;
        }
        used.show(self.name, measure, now);
        true
    }
}

/// How many bits of zero stand first.
pub(crate) fn zero_bits(bytes: &[u8]) -> u32 {
    let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
    let rest = bytes.get(zeros).map_or(0, |byte| byte.leading_zeros());
    u32::try_from(zeros).unwrap_or(0) * 8 + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    const BITS: u32 = 8;

    fn solve(challenge: &str) -> Proof {
        let mut counter = 0..u64::MAX;
        let nonce = counter.find(|nonce| {
            let text = format!("{challenge}:{nonce}");
            zero_bits(digest(&SHA256, text.as_bytes()).as_ref()) >= BITS
        });
        Proof {
            challenge: challenge.to_owned(),
            nonce: nonce.expect("a hash with eight zero bits").to_string(),
        }
    }

    #[test]
    fn a_challenge_that_is_solved_counts_once_and_in_time() {
        let (challenger, mut used) = (Challenger::new(), Filter::new());
        let now = Instant::from_secs(7);
        let proof = solve(&challenger.challenge(BITS, now));
        let solved = challenger.check(&proof, now).expect("solved");
        assert!(solved.uses_up(&mut used, 100, now));
        assert!(!solved.uses_up(&mut used, 100, now));
        let last = now.plus(LIFETIME - Duration::from_micros(1));
        let again = challenger.check(&proof, last).expect("in time");
        assert!(
            !again.uses_up(&mut used, 100, last),
            "remembered to the end"
        );
        assert_eq!(challenger.check(&proof, now.plus(LIFETIME)), None);
        let other = solve(&challenger.challenge(BITS, now));
        let other = challenger.check(&other, now).expect("solved");
        assert!(other.uses_up(&mut used, 100, now));
    }

    #[test]
    fn what_is_not_solved_not_ours_or_changed_is_no_proof() {
        let challenger = Challenger::new();
        let now = Instant::from_secs(7);
        let right = solve(&challenger.challenge(BITS, now));
        let refused = |challenge: &str, nonce: &str| {
            let (challenge, nonce) = (challenge.to_owned(), nonce.to_owned());
            challenger.check(&Proof { challenge, nonce }, now).is_none()
        };
        let wrong = (0..).find(|nonce: &u32| {
            let text = format!("{}:{nonce}", right.challenge);
            zero_bits(digest(&SHA256, text.as_bytes()).as_ref()) < BITS
        });
        assert!(refused(
            &right.challenge,
            &wrong.expect("most are wrong").to_string()
        ));
        let foreign = solve(&Challenger::new().challenge(BITS, now));
        assert!(refused(&foreign.challenge, &foreign.nonce));
        for at in PREFIX.len()..right.challenge.len() {
            let mut changed = right.challenge.clone().into_bytes();
            changed[at] = if changed[at] == b'a' { b'b' } else { b'a' };
            let changed = String::from_utf8(changed).expect("letters");
            assert!(refused(&changed, &solve(&changed).nonce), "{at}");
        }
        for challenge in [
            "",
            "mfc_",
            "mfc_aaaa",
            &right.challenge[..20],
            &format!("{}aa", right.challenge),
        ] {
            assert!(refused(challenge, "1"), "{challenge}");
        }
        assert!(refused(&right.challenge, &"0".repeat(NONCE_BYTES_MAX + 1)));
        assert_eq!(format!("{challenger:?}"), "Challenger(..)");
    }

    #[test]
    fn zero_bits_are_counted_from_the_left() {
        for (bytes, bits) in [
            (&[0x80][..], 0),
            (&[1], 7),
            (&[0, 0x20], 10),
            (&[0, 0], 16),
            (&[], 0),
        ] {
            assert_eq!(zero_bits(bytes), bits, "{bytes:?}");
        }
    }
}
