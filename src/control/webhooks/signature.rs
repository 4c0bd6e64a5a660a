//! Signatures of calls, as the Standard Webhooks specification has them: HMAC-SHA-256 over id, time and body.

use crate::control::random;
use crate::store::SECRET_BYTES;
use aws_lc_rs::hmac;
use data_encoding::BASE64;
use std::collections::HashMap;
use std::fmt;

/// What every secret begins with, so that people and secret scanners know one when they see it.
const PREFIX: &str = "whsec_";

/// How many bytes a secret has, by the specification.
const LENGTHS: std::ops::RangeInclusive<usize> = 24..=64;

/// A new secret for a mailbox's webhook.
pub(in crate::control) fn draw() -> [u8; SECRET_BYTES] {
    random()
}

/// A secret as text, to be shown once.
pub(in crate::control) fn reveal(secret: &[u8]) -> String {
    format!("{PREFIX}{}", BASE64.encode(secret))
}

/// A secret that somebody wrote down. `None`: it is none.
fn read(text: &[u8]) -> Option<Box<[u8]>> {
    let letters = text.trim_ascii().strip_prefix(PREFIX.as_bytes())?;
    let bytes = BASE64.decode(letters).ok()?;
    LENGTHS.contains(&bytes.len()).then(|| bytes.into())
}

/// What a call's `webhook-signature` says.
pub(in crate::control) fn sign(secret: &[u8], id: &str, unix_secs: u64, body: &[u8]) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
    let mut context = hmac::Context::with_key(&key);
    context.update(format!("{id}.{unix_secs}.").as_bytes());
    context.update(body);
    format!("v1,{}", BASE64.encode(context.sign().as_ref()))
}

/// The secrets of the operator's webhooks, by what they are known by.
#[derive(Clone, Default)]
pub struct Secrets(HashMap<u64, Box<[u8]>>);

impl Secrets {
    /// Adds what a file holds. Says whether it holds a secret.
    pub fn add(&mut self, id: u64, file: &[u8]) -> bool {
        match read(file) {
            Some(secret) => {
                self.0.insert(id, secret);
                true
            }
            None => false,
        }
    }

    pub(super) fn get(&self, id: u64) -> Option<&[u8]> {
        self.0.get(&id).map(|it| &**it)
    }
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secrets({})", self.0.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_is_that_of_the_specification() {
        // The example of the specification (standard-webhooks.md, "Signature scheme") and of its libraries.
        let secret = read(b"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\n").expect("a secret");
        let signature = sign(
            &secret,
            "msg_p5jXN8AQM9LWM0D4loKWxJek",
            1_614_265_330,
            b"{\"test\": 2432232314}",
        );
        assert_eq!(signature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
        assert_eq!(reveal(&secret), "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw");
    }

    #[test]
    fn only_secrets_are_secrets() {
        let mut secrets = Secrets::default();
        let short = reveal(&[1; 23]);
        let long = reveal(&[1; 65]);
        for wrong in [
            "",
            "whsec_",
            "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
            "whsec_!",
            &short,
            &long,
        ] {
            assert!(!secrets.add(1, wrong.as_bytes()), "{wrong}");
        }
        assert!(secrets.add(1, reveal(&[1; 64]).as_bytes()));
        assert_eq!(secrets.get(1), Some(&[1; 64][..]));
        assert_eq!(format!("{secrets:?}"), "Secrets(1)");
        assert_ne!(draw(), draw());
    }
}
