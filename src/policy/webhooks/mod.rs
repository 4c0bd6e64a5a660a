//! Calls that mayfly makes when mail comes: whom it may call, when, and how often.
//!
//! [`Target`] is a URL that passed, [`Outbox`] says what is sent next. Neither calls anybody.

#![forbid(unsafe_code)]

mod outbox;
mod target;
#[cfg(test)]
mod tests;

pub use outbox::{Attempt, Destination, Ended, Fate, Forgotten, Outbox, Refused, Tally, Ticket};
pub use target::{Host, Target, TargetError};

use super::network::Network;
use crate::breaker::Patience;
use crate::mail::address::canonical_domain;
use crate::settings::{Bytes, Span, Value, quoted, settings};
use siphasher::sip::SipHasher13;
use std::hash::Hasher as _;
use std::path::PathBuf;

settings! {
    /// Calls to URLs when mail comes, which holders of mailboxes name over the API, and you for domains. Nobody is called
    /// unless you turn them on: they make this server send requests to machines that strangers choose.
    pub struct Rules {
        /// Whether there are any. Turned off with SIGHUP, all that wait are dropped.
        pub enabled: bool = false,
        /// Whether URLs may begin with http://. Then anybody on the way can read what mail came.
        pub allow_http: bool = false,
        /// The ports that may be called. An empty list permits all.
        pub ports: Vec<u32> = vec![443, 8443],
        /// Networks that may be called although they are not public, or are this machine's own: loopback, private, link-local, shared, multicast
        /// and reserved addresses cannot be called unless they are named here.
        pub allow_networks: Vec<Network> = Vec::new(),
        /// Networks that may not be called, whatever they are: your public addresses behind which something trusts this machine.
        pub deny_networks: Vec<Network> = Vec::new(),
        /// The longest URL.
        pub url_bytes_max: Bytes = Bytes::kib(2),
        /// Deliveries that wait or are under way, for all URLs together. Price: 128 bytes each; they hold nothing of a message.
        /// Beyond that, new ones are dropped.
        pub queue_max: u32 = 100_000,
        /// Deliveries that wait or are under way for one URL; beyond that, new ones for it are dropped.
        pub queue_per_url_max: u32 = 1_000,
        /// Arrivals of mail that cores report before anybody has looked at them. Price: 96 bytes each. Beyond that they are lost to webhooks.
        pub reports_max: u32 = 8_192,
        /// URLs for which something waits or which have failed lately. Price: 512 bytes each. Beyond that, what is for others is dropped.
        pub urls_max: u32 = 10_000,
        /// Calls at a time. Price: 64 KiB each, and a thread while a name is looked up.
        pub at_once: u32 = 32,
        /// Calls at a time to one host and port; those of a domain's webhook are counted by themselves.
        pub at_once_per_host: u32 = 8,
        /// Calls at a time to one URL.
        pub at_once_per_url: u32 = 4,
        /// How long a call may take, from the look-up of the name to the head of the answer.
        pub timeout: Span = Span::secs(10),
        /// How often a delivery is tried before it is dropped.
        pub attempts_max: u32 = 8,
        /// The longest wait before the second attempt; before each one after that it is twice as long. How long one waits in fact is drawn
        /// by lot, from nothing to the longest, so that those which failed together do not come back together. A URL is left alone for half of this
        /// at least when there was no turn to look up its name; that is no try.
        pub retry_wait: Span = Span::secs(5),
        /// The longest wait before any attempt.
        pub retry_wait_max: Span = Span::secs(900),
        /// So many failures in a row, and a URL is left alone for a while.
        pub breaker_failures: u32 = 5,
        /// How long it is left alone. Then one delivery is tried, and the others wait for what comes of it.
        pub breaker_rest: Span = Span::secs(30),
        /// URLs that are called for all mail of a domain: `domain`, one of `recipients.domains`; `url`; `secret_file`, a file that holds
        /// the secret by which the calls are signed, `whsec_` and 24 to 64 bytes in base 64.
        pub domains: Vec<DomainWebhook> = Vec::new(),
    }
}

impl Rules {
    /// When a URL is left alone, and for how long.
    #[must_use]
    pub const fn patience(&self) -> Patience {
        Patience {
            failures: self.breaker_failures,
            rest: self.breaker_rest.0,
        }
    }
}

/// A URL that is called for all mail of a domain.
#[derive(Clone, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DomainWebhook {
    /// The domain.
    pub domain: String,
    /// The URL.
    pub url: String,
    /// The file with the secret.
    pub secret_file: PathBuf,
}

impl DomainWebhook {
    /// By which it is known, as long as domain and URL are the same.
    #[must_use]
    pub fn id(&self) -> u64 {
        hash(&[&self.domain, &self.url])
    }

    /// By which its host and port are known.
    #[must_use]
    pub fn host(&self) -> u64 {
        let end = self.url.match_indices('/').nth(2).map(|(at, _)| at);
        hash(&[&self.url[..end.unwrap_or(self.url.len())]])
    }
}

/// Brings the domains into canonical form. What is not a domain stays as it is.
pub fn normalize(rules: &mut Rules) {
    for webhook in &mut rules.domains {
        if let Ok(canonical) = canonical_domain(&webhook.domain) {
            webhook.domain = canonical;
        }
    }
}

/// A hash of texts that the operator wrote. Nobody aims at it, so it needs no key.
fn hash(texts: &[&str]) -> u64 {
    let mut hasher = SipHasher13::new();
    for text in texts {
        hasher.write(text.as_bytes());
        hasher.write_u8(0);
    }
    hasher.finish()
}

impl Value for DomainWebhook {
    fn kind() -> String {
        "tables with `domain`, `url` and `secret_file`".to_owned()
    }

    fn toml(&self) -> Option<String> {
        let [domain, url] = [&self.domain, &self.url].map(|text| quoted(text));
        let file = quoted(&self.secret_file.to_string_lossy());
        Some(format!(
            "{{ domain = {domain}, url = {url}, secret_file = {file} }}"
        ))
    }
}
