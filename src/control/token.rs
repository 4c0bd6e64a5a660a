//! Tokens: shown once, kept nowhere.
//!
//! A token is 160 random bits. What the store keeps is its HMAC-SHA-256 under a key that is drawn
//! when the process starts, and mailboxes are found *by* that hash, so no secret is ever compared
//! with what a stranger sent. Whatever is presented is hashed and looked up, well-formed or not:
//! a wrong token takes the same way as a right one.

use super::random;
use crate::store::TokenHash;
use aws_lc_rs::hmac;
use std::fmt;

/// Random bytes in a token: 160 bits.
const TOKEN_BYTES: usize = 20;

/// What SHA-256 takes at a time.
const BLOCK_BYTES: usize = 64;

/// What every token begins with, so that people and secret scanners know one when they see it.
const PREFIX: &str = "mf_";

/// The key under which tokens are hashed. It lives and dies with the process, as the mail does.
#[derive(Clone)]
pub struct TokenKey(hmac::Key);

impl TokenKey {
    /// A new key.
    #[must_use]
    pub fn draw() -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, &random::<32>()))
    }

    /// The hash of what somebody presents as a token.
    #[must_use]
    pub fn hash(&self, presented: &[u8]) -> TokenHash {
        let hash = self.sign(presented);
        // The library leaves the last block of what it hashed on the stack: another takes its place.
        std::hint::black_box(self.sign(&[0; BLOCK_BYTES]));
        hash
    }

    /// Not inlined, so that what one call leaves on the stack the next one overwrites.
    #[inline(never)]
    fn sign(&self, bytes: &[u8]) -> TokenHash {
        let tag = hmac::sign(&self.0, bytes);
        let mut hash = [0; 32];
        hash.copy_from_slice(tag.as_ref());
        TokenHash(hash)
    }
}

impl fmt::Debug for TokenKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenKey(..)")
    }
}

/// A mailbox's token, on its way to its holder.
pub struct Token(String);

impl Token {
    /// Draws tokens until the hash of one pleases `fits`.
    pub fn draw(key: &TokenKey, fits: impl Fn(&TokenHash) -> bool) -> (Self, TokenHash) {
        loop {
            let mut text = String::from(PREFIX);
            let letters = data_encoding::BASE32_NOPAD.encode(&random::<TOKEN_BYTES>());
            text.push_str(&letters.to_ascii_lowercase());
            let hash = key.hash(text.as_bytes());
            if fits(&hash) {
                return (Self(text), hash);
            }
        }
    }

    /// The text to hand out, once.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn m2_a_million_tokens_differ_in_all_their_bits() {
        let key = TokenKey::draw();
        let (mut seen, mut ones) = (HashSet::new(), [0_u32; TOKEN_BYTES * 8]);
        for _ in 0..1_000_000 {
            let (token, hash) = Token::draw(&key, |_| true);
            let letters = token.reveal().strip_prefix(PREFIX).expect("prefixed");
            let bytes = data_encoding::BASE32_NOPAD
                .decode(letters.to_ascii_uppercase().as_bytes())
                .expect("base 32");
            for (bit, count) in ones.iter_mut().enumerate() {
                *count += u32::from(bytes[bit / 8] >> (bit % 8) & 1);
            }
            assert!(seen.insert(hash));
        }
        // Six sigma of a fair coin thrown 1,000,000 times is 3,000.
        for count in ones {
            assert!(count.abs_diff(500_000) < 3_000, "{count}");
        }
    }

    #[test]
    fn a_token_pleases_whoever_asked_and_prints_nothing() {
        let key = TokenKey::draw();
        let (token, hash) = Token::draw(&key, |hash| hash.0[0] % 4 == 3);
        assert_eq!(hash.0[0] % 4, 3);
        assert_eq!(hash, key.hash(token.reveal().as_bytes()));
        assert_ne!(hash, TokenKey::draw().hash(token.reveal().as_bytes()));
        assert_eq!(format!("{token:?} {key:?}"), "Token(..) TokenKey(..)");
    }
}
