//! Proof of work, shown where a server asks for it before it creates a mailbox (docs/api.md).

use crate::control::zero_bits;
use aws_lc_rs::digest::{SHA256, digest};
use std::time::{Duration, Instant};

/// How many attempts are made between two looks at the clock.
const ROUND: u64 = 1 << 14;

/// Finds a nonce with which SHA-256 of `<challenge>:<nonce>` begins with so many zero bits; `None` when `time` is over first.
pub(super) fn solve(challenge: &str, bits: u32, time: Duration) -> Option<String> {
    let began = Instant::now();
    let mut text = format!("{challenge}:");
    let prefix = text.len();
    let mut nonce = 0_u64;
    while began.elapsed() < time {
        for _ in 0..ROUND {
            text.truncate(prefix);
            let digits = nonce.to_string();
            text.push_str(&digits);
            if zero_bits(digest(&SHA256, text.as_bytes()).as_ref()) >= bits {
                return Some(digits);
            }
            nonce += 1;
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_nonce_is_found_or_the_time_is_over() {
        let nonce = solve("mfc_test", 10, Duration::from_secs(60)).expect("a thousand attempts");
        let hash = digest(&SHA256, format!("mfc_test:{nonce}").as_bytes());
        assert!(zero_bits(hash.as_ref()) >= 10);
        assert_eq!(solve("mfc_test", 257, Duration::ZERO), None);
    }
}
