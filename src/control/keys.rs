//! The operator's API keys, each of which grants a plan.
//!
//! A key is 160 random bits, printed once by `mayfly key new`. The server knows only its SHA-256, and looks for what
//! somebody shows by the hash of it, in a table whose own hash is keyed. So nothing secret is compared with what a
//! stranger sent, and a wrong key takes the same way as a right one.

use super::random;
use crate::policy::plans::KeyHash;
use aws_lc_rs::digest::{SHA256, digest};
use std::collections::HashMap;
use std::fmt;

/// Random bytes in a key: 160 bits.
const KEY_BYTES: usize = 20;

/// What every key begins with, so that people and secret scanners know one when they see it.
pub(super) const PREFIX: &str = "mfk_";

/// A key, on its way to whoever will use it.
pub struct ApiKey(String);

impl ApiKey {
    /// Draws a key.
    #[must_use]
    pub fn draw() -> Self {
        let letters = data_encoding::BASE32_NOPAD.encode(&random::<KEY_BYTES>());
        Self(format!("{PREFIX}{}", letters.to_ascii_lowercase()))
    }

    /// The text to hand out, once.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ApiKey(..)")
    }
}

/// The hash of what somebody shows as a key.
#[must_use]
pub fn hash(shown: &[u8]) -> KeyHash {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest(&SHA256, shown).as_ref());
    KeyHash(hash)
}

/// The keys in force, each with the name of its plan.
#[derive(Clone, Default)]
pub struct ApiKeys(HashMap<KeyHash, String>);

impl ApiKeys {
    /// Adds a key. Says whether it was not there before.
    pub fn add(&mut self, key: KeyHash, plan: &str) -> bool {
        self.0.insert(key, plan.to_owned()).is_none()
    }

    /// The plan that a key grants.
    #[must_use]
    pub fn plan(&self, key: &KeyHash) -> Option<&str> {
        self.0.get(key).map(String::as_str)
    }
}

impl fmt::Debug for ApiKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ApiKeys({})", self.0.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_found_by_its_hash_and_prints_nothing() {
        let key = ApiKey::draw();
        assert_eq!(key.reveal().len(), PREFIX.len() + 32);
        assert_ne!(key.reveal(), ApiKey::draw().reveal());
        let mut keys = ApiKeys::default();
        assert!(keys.add(hash(key.reveal().as_bytes()), "team"));
        assert!(!keys.add(hash(key.reveal().as_bytes()), "team"));
        assert_eq!(keys.plan(&hash(key.reveal().as_bytes())), Some("team"));
        assert_eq!(keys.plan(&hash(b"mfk_")), None);
        assert_eq!(format!("{key:?} {keys:?}"), "ApiKey(..) ApiKeys(1)");
    }

    #[test]
    fn the_hash_is_plain_sha_256() {
        // FIPS 180-4, the example of NIST for "abc".
        let expected = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(hash(b"abc").to_string(), expected);
    }
}
