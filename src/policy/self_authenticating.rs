//! Addresses that prove by themselves that we gave them away.
//!
//! ```text
//! k3v9d2mq.7fkuza.x7p2m4n9qwer   local part, 28 octets
//! nonce    expiry mac
//! 40 bits  30     60
//! ```
//!
//! Whoever has the key says whether an address is genuine without looking anything up: a stranger's guess is refused where it
//! comes in, and costs one hash. The code is a keyed hash (SipHash-2-4 of 128 bits, cut to 60) of nonce, expiry and domain;
//! see docs/decisions/0011-addresses-that-prove-themselves.md for what its length buys.
//!
//! The letters survive every folding of case that a mail program may do, and none of them begins a tag. There is one way to
//! write each address: all 130 bits count, so no letter can be changed.

#![forbid(unsafe_code)]

use super::recipients::{POSTMASTER, Rules};
use crate::mail::Address;
use crate::settings::choices;
use siphasher::sip128::{Hasher128 as _, SipHasher24};
use std::fmt;
use std::hash::Hasher as _;

choices! {
    /// Whether addresses can prove by themselves that they were given away here.
    pub enum SelfAuthenticating {
        /// There are none.
        Off = "off",
        /// Whoever creates a mailbox may ask for one. Other addresses are looked up as ever.
        Offered = "offered",
        /// Addresses that are drawn by lot are so unless their creator says otherwise; chosen ones are looked up as ever.
        Drawn = "drawn",
        /// All are so, `postmaster` excepted. Mail to anything else is refused with 550 5.1.1, and no look-up.
        Only = "only",
    }
}

/// Five bits a letter. Without l, o, 0 and 1, which look like others.
const ALPHABET: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";

const NONCE_LETTERS: usize = 8;
const EXPIRY_LETTERS: usize = 6;
const CODE_LETTERS: usize = 12;

/// Bits of the code.
pub const CODE_BITS: u32 = 5 * CODE_LETTERS as u32;

/// Where the dots stand.
const DOTS: [usize; 2] = [NONCE_LETTERS, NONCE_LETTERS + 1 + EXPIRY_LETTERS];

/// Octets of a local part.
const LOCAL_PART_LEN: usize = DOTS[1] + 1 + CODE_LETTERS;

/// The largest expiry that can be written, in minutes since 1970: the year 4011.
const EXPIRY_MINUTES_MAX: u64 = (1 << (5 * EXPIRY_LETTERS)) - 1;

/// The secret under which codes are made.
#[derive(Clone, PartialEq, Eq)]
pub struct Key(pub [u8; 16]);

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(..)")
    }
}

/// The keys in use. The first makes codes; all of them prove.
#[derive(Clone, PartialEq, Eq)]
pub struct Keys {
    first: Key,
    more: Vec<Key>,
}

impl Keys {
    /// One key, and older ones under which there may be addresses that are still good.
    #[must_use]
    pub const fn new(first: Key, more: Vec<Key>) -> Self {
        Self { first, more }
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Keys(..)")
    }
}

/// What an address says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It has not the form of one that proves itself.
    Ordinary,
    /// It has the form, and its code is wrong.
    Forged,
    /// It is ours, and good up to this second of Unix time.
    Genuine {
        /// The first second at which it is not good any more.
        expires_unix_secs: u64,
    },
}

/// Makes a local part at `domain` (in canonical form) that is good at least until `until_unix_secs`, and less than a minute
/// longer. 40 bits of `nonce` are used.
#[must_use]
pub fn mint(keys: &Keys, domain: &str, nonce: u64, until_unix_secs: u64) -> String {
    let expiry = until_unix_secs.div_ceil(60).min(EXPIRY_MINUTES_MAX);
    let mut local = String::with_capacity(LOCAL_PART_LEN);
    write(nonce, NONCE_LETTERS, &mut local);
    local.push('.');
    write(expiry, EXPIRY_LETTERS, &mut local);
    let code = code(&keys.first, &local, domain);
    local.push('.');
    write(code, CODE_LETTERS, &mut local);
    local
}

/// What an address says of itself, whatever the time is.
#[must_use]
pub fn standing(address: &Address, keys: &Keys) -> Standing {
    let local = address.local();
    let Some((expiry, given)) = parts(local) else {
        return Standing::Ordinary;
    };
    let said = &local[..DOTS[1]];
    let is_proof = |key: &Key| code(key, said, address.domain()) == given;
    match is_proof(&keys.first) || keys.more.iter().any(is_proof) {
        true => Standing::Genuine {
            expires_unix_secs: expiry * 60,
        },
        false => Standing::Forged,
    }
}

/// Whether mail may go to this mailbox, as far as its address says.
#[must_use]
pub fn may_receive(address: &Address, rules: &Rules, keys: &Keys, unix_secs: u64) -> bool {
    match (rules.self_authenticating, standing(address, keys)) {
        (SelfAuthenticating::Off, _) => true,
        (_, Standing::Genuine { expires_unix_secs }) => unix_secs < expires_unix_secs,
        (_, Standing::Forged) => false,
        (SelfAuthenticating::Only, Standing::Ordinary) => address.local() == POSTMASTER,
        (_, Standing::Ordinary) => true,
    }
}

/// How many seconds a mailbox of this address may live from now on, as far as its address says. `None`: it says nothing.
#[must_use]
pub fn seconds_left(address: &Address, rules: &Rules, keys: &Keys, unix_secs: u64) -> Option<u64> {
    match (rules.self_authenticating, standing(address, keys)) {
        (SelfAuthenticating::Off, _) | (_, Standing::Ordinary | Standing::Forged) => None,
        (_, Standing::Genuine { expires_unix_secs }) => {
            Some(expires_unix_secs.saturating_sub(unix_secs))
        }
    }
}

/// Expiry and code, if the local part has the form.
fn parts(local: &str) -> Option<(u64, u64)> {
    let bytes = local.as_bytes();
    if bytes.len() != LOCAL_PART_LEN || DOTS.iter().any(|dot| bytes[*dot] != b'.') {
        return None;
    }
    read(&bytes[..DOTS[0]])?;
    Some((
        read(&bytes[DOTS[0] + 1..DOTS[1]])?,
        read(&bytes[DOTS[1] + 1..])?,
    ))
}

fn code(key: &Key, said: &str, domain: &str) -> u64 {
    let mut hasher = SipHasher24::new_with_key(&key.0);
    hasher.write(said.as_bytes());
    hasher.write(b"@");
    hasher.write(domain.as_bytes());
    hasher.finish128().h1 >> (u64::BITS - CODE_BITS)
}

/// Appends the lowest bits of a number, the highest of them first.
fn write(number: u64, letters: usize, out: &mut String) {
    for place in (0..letters).rev() {
        out.push(char::from(ALPHABET[(number >> (5 * place)) as usize & 31]));
    }
}

fn read(letters: &[u8]) -> Option<u64> {
    letters.iter().try_fold(0, |number, letter| {
        let five = ALPHABET.iter().position(|it| it == letter)?;
        Some(number << 5 | five as u64)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mail::address::forward_path;
    use crate::mail::{Recipient, address};
    use crate::policy::recipients::{Decision, decide, normalize};
    use proptest::prelude::*;

    const DOMAIN: &str = "one.test";
    /// 2026-11-25T12:00:30Z.
    const NOW: u64 = 1_795_608_030;

    fn keys() -> Keys {
        Keys::new(Key(*b"0123456789abcdef"), Vec::new())
    }

    fn rules(self_authenticating: SelfAuthenticating) -> Rules {
        let mut rules = Rules {
            domains: vec![DOMAIN.to_owned(), "two.test".to_owned()],
            subaddress_separators: "+-".to_owned(),
            self_authenticating,
            ..Rules::default()
        };
        normalize(&mut rules).expect("sound");
        rules
    }

    /// Whether mail to a path is let through by `keys` at `unix_secs`; what is not for us is not.
    fn passes_by(path: &str, rules: &Rules, keys: &Keys, unix_secs: u64) -> bool {
        let path = format!("<{path}>");
        let Ok((_, recipient)) = forward_path(path.as_bytes()) else {
            return false;
        };
        match decide(&recipient, rules) {
            Decision::RelayDenied => false,
            Decision::Mailbox { address, .. } => may_receive(&address, rules, keys, unix_secs),
        }
    }

    fn passes(path: &str, rules: &Rules) -> bool {
        passes_by(path, rules, &keys(), NOW)
    }

    #[test]
    fn what_was_minted_passes_until_it_expires() {
        let local = mint(&keys(), DOMAIN, 0xDE_ADBE_EF17, NOW + 3600);
        assert_eq!(local.len(), LOCAL_PART_LEN);
        assert!(local.len() <= address::LOCAL_PART_BYTES_MAX);
        let path = format!("{local}@{DOMAIN}");
        let only = rules(SelfAuthenticating::Only);
        for (after, is_good) in [(0, true), (3600, true), (3629, true), (3630, false)] {
            let passed = passes_by(&path, &only, &keys(), NOW + after);
            assert_eq!(passed, is_good, "after {after} s");
        }
        let address = Address::parse(&path).expect("an address");
        let left = |now| seconds_left(&address, &only, &keys(), now);
        assert_eq!((left(NOW), left(NOW + 9999)), (Some(3630), Some(0)));
        let off = rules(SelfAuthenticating::Off);
        assert_eq!(seconds_left(&address, &off, &keys(), NOW), None);
        assert!(passes_by(&path, &off, &keys(), NOW + 9999));
    }

    /// The same on every machine and in every version, or nodes that share a key would refuse each other's addresses.
    #[test]
    fn the_form_is_fixed() {
        let local = mint(&keys(), DOMAIN, 0x12_3456_789A, 1_795_608_000);
        assert_eq!(local, "ci4fn8e4.a6tjns.e9uwqfzkmxv3");
    }

    #[test]
    fn what_each_mode_lets_through() {
        let genuine = format!("{}@{DOMAIN}", mint(&keys(), DOMAIN, 1, NOW + 60));
        let forged = format!("aaaaaaaa.aaaaaa.aaaaaaaaaaaa@{DOMAIN}");
        let ordinary = format!("somebody@{DOMAIN}");
        use SelfAuthenticating::{Drawn, Off, Offered, Only};
        for (mode, passed) in [
            (Off, [true, true, true]),
            (Offered, [true, false, true]),
            (Drawn, [true, false, true]),
            (Only, [true, false, false]),
        ] {
            let rules = rules(mode);
            let found = [&genuine, &forged, &ordinary].map(|path| passes(path, &rules));
            assert_eq!(found, passed, "{mode:?}");
            for postmaster in ["postmaster", "Postmaster@two.test", "postmaster+x@one.test"] {
                assert!(passes(postmaster, &rules), "{mode:?}");
            }
        }
    }

    #[test]
    fn an_older_key_still_proves() {
        let old = Key([7; 16]);
        let minted = mint(&Keys::new(old.clone(), Vec::new()), DOMAIN, 1, NOW + 60);
        let path = format!("{minted}@{DOMAIN}");
        let both = Keys::new(Key([8; 16]), vec![Key([9; 16]), old]);
        let only = rules(SelfAuthenticating::Only);
        assert!(passes_by(&path, &only, &both, NOW));
        assert!(!passes_by(&path, &only, &keys(), NOW));
        assert_eq!(format!("{:?} {both:?}", keys().first), "Key(..) Keys(..)");
    }

    fn recipient_of(path: &str) -> Option<Recipient> {
        let path = format!("<{path}>");
        forward_path(path.as_bytes()).ok().map(|(_, it)| it)
    }

    /// Another letter in one place, less of it, more of it, another domain.
    fn changes_of(local: &str, at: usize, letter: char, cut: usize) -> Vec<String> {
        let mut changed: Vec<char> = local.chars().collect();
        changed[at] = letter;
        let changed: String = changed.into_iter().collect();
        vec![
            format!("{changed}@{DOMAIN}"),
            format!("{}@{DOMAIN}", &local[..cut]),
            format!("{}@{DOMAIN}", &local[cut..]),
            format!("a{local}@{DOMAIN}"),
            format!("{local}a@{DOMAIN}"),
            format!("{local}@two.test"),
        ]
    }

    /// Any case, quotes, a dot at the end of the domain, a tag.
    fn spellings_of(local: &str, case: u64) -> Vec<String> {
        let letters = local.chars().enumerate();
        let spelled: String = letters
            .map(|(nth, letter)| match case >> nth & 1 {
                0 => letter.to_ascii_uppercase(),
                _ => letter,
            })
            .collect();
        vec![
            format!("{spelled}@One.TEST"),
            format!("{spelled}+tag@one.test."),
            format!("{spelled}-Tag@one.test"),
            format!("\"{spelled}\"@one.test"),
        ]
    }

    proptest! {
        #[test]
        fn every_spelling_passes_and_every_change_does_not(
            nonce in any::<u64>(),
            lives in 0_u64..1_000_000,
            case in any::<u64>(),
            at in 0..LOCAL_PART_LEN,
            letter in "[ -~\u{e4}\u{ff41}]",
            cut in 1..LOCAL_PART_LEN,
        ) {
            let only = rules(SelfAuthenticating::Only);
            let local = mint(&keys(), DOMAIN, nonce, NOW + 1 + lives);
            for path in spellings_of(&local, case) {
                prop_assert!(passes(&path, &only), "{}", path);
            }
            let minted = format!("{local}@{DOMAIN}");
            let letter = letter.chars().next().expect("one");
            for path in changes_of(&local, at, letter, cut) {
                // A capital or a full-width letter may be a spelling of the same.
                if recipient_of(&path) != recipient_of(&minted) {
                    prop_assert!(!passes(&path, &only), "{}", path);
                }
            }
            let late = NOW + 1 + lives + 60;
            prop_assert!(!passes_by(&minted, &only, &keys(), late));
        }
    }
}
