//! Recovery tickets: with one, whoever has lost the token of a mailbox gets a new one.
//!
//! Nothing is kept for them. A ticket is the hash by which its mailbox is found now, sealed (AES-256-GCM) under a key that
//! is drawn when the process starts. When a mailbox gets a new token it is found by another hash, so the ticket that was
//! used, and any other that was given out for the old token, leads nowhere: used, stale, forged and expired ones are all
//! looked up like a right one and not found.

use super::{TokenKey, random};
use crate::store::TokenHash;
use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use std::fmt;

/// What every ticket begins with, so that people and secret scanners know one when they see it.
const PREFIX: &str = "mfr_";

/// Stands before what is no ticket when it is hashed all the same: no token begins so, and a token is no ticket.
const NO_TICKET: &[u8] = b"no ticket: ";

/// Under which tickets are sealed. Lives and dies with the process, as the mail does.
pub(super) struct RecoveryKey(RandomizedNonceKey);

impl fmt::Debug for RecoveryKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RecoveryKey(..)")
    }
}

/// A ticket, on its way to its holder.
pub(super) struct Ticket(String);

impl fmt::Debug for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Ticket(..)")
    }
}

impl Ticket {
    /// The text to hand out, once.
    pub(super) fn reveal(&self) -> &str {
        &self.0
    }
}

impl RecoveryKey {
    pub(super) fn new() -> Self {
        let key = RandomizedNonceKey::new(&AES_256_GCM, &random::<32>());
        Self(key.expect("32 bytes are a key"))
    }

    /// The ticket for the mailbox that has this token now.
    pub(super) fn ticket(&self, token: &TokenHash) -> Ticket {
        let mut sealed = token.0.to_vec();
        let nonce = self
            .0
            .seal_in_place_append_tag(Aad::empty(), &mut sealed)
            .expect("so few bytes can be sealed");
        let bytes = [nonce.as_ref().as_slice(), &sealed].concat();
        let letters = data_encoding::BASE32_NOPAD.encode(&bytes);
        Ticket(format!("{PREFIX}{}", letters.to_ascii_lowercase()))
    }

    /// The hash of the token that what somebody shows as a ticket was made for. What is no ticket of ours gets a hash too,
    /// one that nobody has, and is looked up like the others.
    pub(super) fn names(&self, shown: &str, tokens: &TokenKey) -> TokenHash {
        self.open(shown)
            .unwrap_or_else(|| tokens.hash(&[NO_TICKET, shown.as_bytes()].concat()))
    }

    fn open(&self, shown: &str) -> Option<TokenHash> {
        let letters = shown.trim().strip_prefix(PREFIX)?.to_ascii_uppercase();
        let bytes = data_encoding::BASE32_NOPAD
            .decode(letters.as_bytes())
            .ok()?;
        let (nonce, sealed) = bytes.split_at_checked(NONCE_LEN)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let mut sealed = sealed.to_vec();
        let opened = self
            .0
            .open_in_place(nonce, Aad::empty(), &mut sealed)
            .ok()?;
        <[u8; 32]>::try_from(&*opened).ok().map(TokenHash)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ticket_names_its_mailbox_and_a_changed_one_names_none() {
        let (key, tokens) = (RecoveryKey::new(), TokenKey::draw());
        let token = tokens.hash(b"mf_token");
        let ticket = key.ticket(&token);
        assert_eq!(key.names(ticket.reveal(), &tokens), token);
        assert_ne!(ticket.reveal(), key.ticket(&token).reveal(), "each is new");
        assert_ne!(RecoveryKey::new().names(ticket.reveal(), &tokens), token);
        for at in PREFIX.len()..ticket.reveal().len() {
            let mut changed = ticket.reveal().to_owned().into_bytes();
            changed[at] = if changed[at] == b'a' { b'b' } else { b'a' };
            let changed = String::from_utf8(changed).expect("letters");
            assert_ne!(key.names(&changed, &tokens), token, "{at}");
        }
        for shown in ["", "mfr_", "mfr_aa", "mf_token", &ticket.reveal()[..40]] {
            let named = key.names(shown, &tokens);
            assert_ne!(named, token, "{shown}");
            assert_ne!(named, tokens.hash(shown.as_bytes()), "a token is no ticket");
        }
        assert_eq!(format!("{key:?} {ticket:?}"), "RecoveryKey(..) Ticket(..)");
    }
}
