//! What webhooks need: bounds that let something through, and domains of ours.

#![forbid(unsafe_code)]

use super::super::Config;
use super::{Violation, domain};
use crate::policy::webhooks::{DomainWebhook, Target};
use std::collections::BTreeSet;
use std::time::Duration;

const DOMAINS: &str = "webhooks.domains";

pub(super) fn webhooks(config: &Config, found: &mut Vec<Violation>) {
    let rules = &config.webhooks;
    for (key, value) in [
        ("webhooks.queue_max", rules.queue_max),
        ("webhooks.queue_per_url_max", rules.queue_per_url_max),
        ("webhooks.reports_max", rules.reports_max),
        ("webhooks.urls_max", rules.urls_max),
        ("webhooks.at_once", rules.at_once),
        ("webhooks.at_once_per_host", rules.at_once_per_host),
        ("webhooks.at_once_per_url", rules.at_once_per_url),
        ("webhooks.attempts_max", rules.attempts_max),
        ("webhooks.breaker_failures", rules.breaker_failures),
    ] {
        if value == 0 {
            found.push(Violation::new(&[key], "less than 1", "write 1 or more"));
        }
    }
    if rules.timeout.0 < Duration::from_secs(1) {
        let (why, fix) = ("less than one second", "write \"1s\" or more");
        found.push(Violation::new(&["webhooks.timeout"], why, fix));
    }
    for (item, port) in rules.ports.iter().enumerate() {
        if !(1..=65_535).contains(port) {
            let why = format!("{port} is no port");
            let violation = Violation::new(&["webhooks.ports"], why, "write 1 to 65535");
            found.push(violation.at_item(item));
        }
    }
    let mut named = BTreeSet::new();
    for (item, webhook) in rules.domains.iter().enumerate() {
        let is_twice = !named.insert(webhook.id());
        if let Some((key, why, fix)) = wrong(webhook, is_twice, config) {
            let mut keys = vec![DOMAINS];
            keys.extend(key);
            found.push(Violation::new(&keys, why, fix).at_item(item));
        }
    }
}

/// What else takes part, what is wrong, and how to mend it.
type Wrong = Option<(Option<&'static str>, String, String)>;

fn wrong(webhook: &DomainWebhook, is_twice: bool, config: &Config) -> Wrong {
    let name = &webhook.domain;
    let ours = domain(name).is_ok_and(|name| {
        let ours = &config.recipients.domains;
        ours.iter().any(|it| domain(it).is_ok_and(|it| it == name))
    });
    if !ours {
        let why = format!("{name:?} is not a domain of ours");
        let fix = "name it in `recipients.domains` too".to_owned();
        return Some((Some("recipients.domains"), why, fix));
    }
    if let Err(why) = Target::parse(&webhook.url, &config.webhooks) {
        let why = format!("the URL for {name:?} cannot be called: {why}");
        let fix = "write one that begins with https://, or see `allow_http`, `ports` and `allow_networks`";
        return Some((None, why, fix.to_owned()));
    }
    is_twice.then(|| {
        let why = format!("the same URL is named twice for {name:?}");
        (None, why, "take one out".to_owned())
    })
}
