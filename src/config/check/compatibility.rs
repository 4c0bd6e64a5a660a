//! What other services' APIs need: how passwords may be hashed, and something that is everybody's to be shown.

#![forbid(unsafe_code)]

use super::Violation;
use crate::config::Config;
use crate::settings::{Bytes, Span};
use std::time::Duration;

/// What Argon2 takes at least (RFC 9106 section 3.1), and what leaves memory for mail.
const PASSWORD_MEMORY: (Bytes, Bytes) = (Bytes::kib(8), Bytes::mib(1024));

/// More passes take seconds.
const PASSES_MAX: u32 = 64;

/// More threads than this help nobody.
const AT_ONCE_MAX: u32 = 64;

pub(super) fn compatibility(config: &Config, found: &mut Vec<Violation>) {
    let given = &config.compatibility;
    let (least, most) = PASSWORD_MEMORY;
    if !(least..=most).contains(&given.password_memory) {
        found.push(Violation::new(
            &["compatibility.password_memory"],
            format!("not from {least} to {most}"),
            "write \"19 MiB\", or what one password may cost you",
        ));
    }
    for (key, value, most) in [
        (
            "compatibility.password_passes",
            given.password_passes,
            PASSES_MAX,
        ),
        (
            "compatibility.passwords_at_once",
            given.passwords_at_once,
            AT_ONCE_MAX,
        ),
    ] {
        if !(1..=most).contains(&value) {
            found.push(Violation::new(
                &[key],
                format!("not from 1 to {most}"),
                "write 2, unless you have measured",
            ));
        }
    }
    for (key, is_on) in [
        ("compatibility.inbucket", given.inbucket),
        ("compatibility.one_sec_mail", given.one_sec_mail),
    ] {
        if is_on && config.recipients.public_domains.is_empty() {
            found.push(Violation::new(
                &[key, "recipients.public_domains"],
                "this API knows no secret, and no domain is public: it would show nothing",
                "name a domain in `recipients.public_domains`",
            ));
        }
    }
    if given.mail_tm_token_time < Span(Duration::from_secs(60)) {
        found.push(Violation::new(
            &["compatibility.mail_tm_token_time"],
            "less than a minute: clients would log in all the time",
            "write \"1m\" or more",
        ));
    }
}
