//! What a value's type cannot say: ranges, and how settings go together.

#![forbid(unsafe_code)]

mod compatibility;
mod plans;
mod pressure;
mod webhooks;

use super::{Config, MailListener};
use crate::policy::attachments;
use crate::policy::plans as policy_plans;
use crate::policy::recipients::{Rules, RulesError, normalize};
use crate::policy::webhooks as policy_webhooks;
use crate::settings::{Bytes, Span};
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

/// A rule that the settings break.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Violation {
    /// The settings that take part, as `section.key`; the first is the offender.
    pub(super) keys: Vec<&'static str>,
    /// Which item of the first, if that is a list and one item is at fault.
    pub(super) item: Option<usize>,
    /// What is wrong.
    pub(super) why: String,
    /// How to mend it.
    pub(super) fix: String,
}

impl Violation {
    fn new(keys: &[&'static str], why: impl Into<String>, fix: impl Into<String>) -> Self {
        Self {
            keys: keys.to_vec(),
            item: None,
            why: why.into(),
            fix: fix.into(),
        }
    }

    fn at_item(mut self, item: usize) -> Self {
        self.item = Some(item);
        self
    }
}

/// Every rule that is broken.
pub(super) fn violations(config: &Config) -> Vec<Violation> {
    let mut found = Vec::new();
    server(config, &mut found);
    listen(config, &mut found);
    smtp(config, &mut found);
    greeting(config, &mut found);
    recipients(config, &mut found);
    attachments(config, &mut found);
    store(config, &mut found);
    plans::plans(config, &mut found);
    webhooks::webhooks(config, &mut found);
    proof_of_work(config, &mut found);
    compatibility::compatibility(config, &mut found);
    pressure::pressure(config, &mut found);
    pressure::clients(config, &mut found);
    least_numbers(config, &mut found);
    least_sizes(config, &mut found);
    least_times(config, &mut found);
    found
}

fn server(config: &Config, found: &mut Vec<Violation>) {
    if let Err(why) = domain(&config.server.hostname) {
        found.push(Violation::new(
            &["server.hostname"],
            why.to_string(),
            "give the name that the MX record says, like \"mx.example.com\"",
        ));
    }
    let buffers = config.server.receive_buffers;
    if !buffers.is_power_of_two() || !(16..=32_768).contains(&buffers) {
        let near = buffers.clamp(16, 32_768).next_power_of_two();
        found.push(Violation::new(
            &["server.receive_buffers"],
            "the kernel takes a power of two from 16 to 32768",
            format!("write {near}"),
        ));
    }
    if config.server.cores > 1024 {
        found.push(Violation::new(
            &["server.cores"],
            "more than 1024 cores",
            "write 0 for one thread on each CPU",
        ));
    }
}

fn listen(config: &Config, found: &mut Vec<Violation>) {
    let listen = &config.listen;
    if listen.smtp.is_empty() && listen.smtps.is_empty() {
        found.push(Violation::new(
            &["listen.smtp", "listen.smtps"],
            "no listener for mail is left",
            "give `smtp` or `smtps` an address, like [\"0.0.0.0:25\", \"[::]:25\"]",
        ));
    }
    let of = |listeners: &[MailListener]| listeners.iter().map(|it| it.address).collect();
    let lists: [(&'static str, Vec<SocketAddr>); 4] = [
        ("listen.smtp", of(&listen.smtp)),
        ("listen.smtps", of(&listen.smtps)),
        ("listen.http", listen.http.clone()),
        ("listen.operator", listen.operator.clone()),
    ];
    let mut seen = BTreeSet::new();
    for (key, addresses) in lists {
        for (item, address) in addresses.iter().enumerate() {
            // Port 0 is a different port each time.
            if address.port() != 0 && !seen.insert(*address) {
                let why = format!("{address} is listened on twice");
                found.push(
                    Violation::new(&[key], why, "take it out of one of the lists").at_item(item),
                );
            }
        }
    }
}

/// The longest that a reply may be held back: RFC 5321 section 4.5.3.2 lets clients give up after five minutes, and many do
/// so long before.
const TARPIT_MAX: Span = Span::secs(60);

fn smtp(config: &Config, found: &mut Vec<Violation>) {
    let (limits, memory) = (&config.smtp, config.store.memory);
    if memory.0 != 0 && limits.message_bytes_max > memory {
        found.push(Violation::new(
            &["smtp.message_bytes_max", "store.memory"],
            format!(
                "a message of {} does not fit into the memory of {memory}",
                limits.message_bytes_max
            ),
            "lower `smtp.message_bytes_max` or raise `store.memory`",
        ));
    }
    if limits.reserve_step_bytes > limits.message_bytes_max {
        found.push(Violation::new(
            &["smtp.reserve_step_bytes", "smtp.message_bytes_max"],
            "a step is larger than the largest message",
            format!("write {} at most", limits.message_bytes_max),
        ));
    }
    if limits.tarpit > TARPIT_MAX {
        found.push(Violation::new(
            &["smtp.tarpit"],
            "clients would take the server for dead",
            format!("write \"{TARPIT_MAX}\" at most"),
        ));
    }
    if limits.tarpit.0 > Duration::ZERO && limits.tarpit_after_errors >= limits.errors_max {
        found.push(Violation::new(
            &["smtp.tarpit_after_errors", "smtp.errors_max"],
            "every session would end before its first reply waits",
            "lower `tarpit_after_errors` or raise `errors_max`",
        ));
    }
}

/// RFC 5321 section 4.5.3.2.1: clients wait five minutes for the greeting.
const GREETING_DELAY_MAX: Span = Span::secs(240);

fn greeting(config: &Config, found: &mut Vec<Violation>) {
    let limits = &config.smtp;
    if limits.greeting_delay > GREETING_DELAY_MAX {
        found.push(Violation::new(
            &["smtp.greeting_delay"],
            "clients give up after five minutes without a greeting",
            format!("write \"{GREETING_DELAY_MAX}\" or less"),
        ));
    }
    if limits.greeting_teaser && limits.greeting_delay.0.is_zero() {
        found.push(Violation::new(
            &["smtp.greeting_teaser", "smtp.greeting_delay"],
            "a teaser without a delay is sent together with the greeting",
            "give `smtp.greeting_delay` a time like \"3s\", or take `smtp.greeting_teaser` out",
        ));
    }
}

fn recipients(config: &Config, found: &mut Vec<Violation>) {
    const KEY: &str = "recipients.domains";
    let domains = &config.recipients.domains;
    if domains.is_empty() {
        found.push(Violation::new(
            &[KEY],
            "no domain is left to receive mail for",
            "name one, like [\"example.com\"]",
        ));
    }
    let mut seen = BTreeSet::new();
    for (item, name) in domains.iter().enumerate() {
        let (why, fix) = match domain(name) {
            Err(why) => (why.to_string(), "mend or remove this name"),
            Ok(name) if seen.contains(&name) => (
                RulesError::DuplicateDomain { domain: name }.to_string(),
                "take one out",
            ),
            Ok(name) => {
                seen.insert(name);
                continue;
            }
        };
        found.push(Violation::new(&[KEY], why, fix).at_item(item));
    }
    recipients_but_domains(&config.recipients, found);
    public_domains(&config.recipients, found);
}

fn public_domains(given: &Rules, found: &mut Vec<Violation>) {
    let mut rules = Rules {
        domains: given.domains.clone(),
        subdomains: given.subdomains,
        ..Rules::default()
    };
    if normalized(rules.clone()).is_err() {
        // What is wrong with our domains is said of them.
        return;
    }
    for (item, name) in given.public_domains.iter().enumerate() {
        let mut tried = rules.clone();
        tried.public_domains.push(name.clone());
        let Err(why) = normalized(tried.clone()) else {
            rules = tried;
            continue;
        };
        let fix = match why {
            RulesError::DuplicateDomain { .. } => "take one out",
            RulesError::PublicElsewhere { .. } => {
                "name one of `domains`, or with `subdomains = true` one below them"
            }
            _ => "mend or remove this name",
        };
        let key = "recipients.public_domains";
        found.push(Violation::new(&[key], why.to_string(), fix).at_item(item));
    }
}

fn attachments(config: &Config, found: &mut Vec<Violation>) {
    let Err((why, table)) = attachments::normalize(&mut config.attachments.clone()) else {
        return;
    };
    let violation = |key| Violation::new(&[key], why.to_string(), "mend or remove it");
    found.push(match table {
        Some(table) => violation("attachments.domains").at_item(table),
        None => violation("attachments.blocked_names"),
    });
}

/// Each key costs a hash for each guess of a stranger.
const ADDRESS_KEYS_MAX: usize = 8;

fn recipients_but_domains(given: &Rules, found: &mut Vec<Violation>) {
    for (item, local) in given.reserved_local_parts.iter().enumerate() {
        let alone = Rules {
            reserved_local_parts: vec![local.clone()],
            ..Rules::default()
        };
        if let Err(why) = normalized(alone) {
            let key = "recipients.reserved_local_parts";
            let fix = "give what stands before the `@`, in quotes if it needs them";
            found.push(Violation::new(&[key], why.to_string(), fix).at_item(item));
        }
    }
    let alone = Rules {
        subaddress_separators: given.subaddress_separators.clone(),
        ..Rules::default()
    };
    if let Err(why) = normalized(alone) {
        found.push(Violation::new(
            &["recipients.subaddress_separators"],
            why.to_string(),
            "write \"+\", \"+-\", or \"\" for none",
        ));
    }
    let keys = given.self_authenticating_keys.len();
    if keys > ADDRESS_KEYS_MAX {
        found.push(Violation::new(
            &["recipients.self_authenticating_keys"],
            format!("{keys} keys, of which each guess would be checked with all"),
            format!("leave out the oldest: {ADDRESS_KEYS_MAX} at most"),
        ));
    }
}

/// The longest that anything is kept: mayfly is no archive, and what is in memory is lost with the process.
const TTL_MAX: Span = Span::secs(7 * 24 * 3600);

fn store(config: &Config, found: &mut Vec<Violation>) {
    let budget = &config.store;
    for (key, span) in [
        ("store.mailbox_ttl_max", budget.mailbox_ttl_max),
        ("store.message_ttl_max", budget.message_ttl_max),
    ] {
        if span > TTL_MAX {
            found.push(Violation::new(
                &[key],
                "longer than 7 days: mayfly keeps mail for a while, in memory only",
                format!("write \"{TTL_MAX}\" at most"),
            ));
        }
    }
    if budget.mailbox_ttl_default > budget.mailbox_ttl_max {
        found.push(Violation::new(
            &["store.mailbox_ttl_default", "store.mailbox_ttl_max"],
            format!(
                "`mailbox_ttl_default` ({}) is longer than `mailbox_ttl_max` ({})",
                budget.mailbox_ttl_default, budget.mailbox_ttl_max
            ),
            "lower `mailbox_ttl_default` or raise `mailbox_ttl_max`",
        ));
    }
}

/// More work than this keeps a fast machine busy for minutes.
const PROOF_BITS_MAX: u32 = 32;

fn proof_of_work(config: &Config, found: &mut Vec<Violation>) {
    if config.http.proof_of_work_bits > PROOF_BITS_MAX {
        found.push(Violation::new(
            &["http.proof_of_work_bits"],
            "nobody would wait so long for a mailbox",
            format!("write {PROOF_BITS_MAX} at most; 18 is a fraction of a second"),
        ));
    }
}

fn least_numbers(config: &Config, found: &mut Vec<Violation>) {
    let rules: [(&'static str, u32, u32); 20] = [
        ("server.helpers", config.server.helpers, 1),
        ("server.inbox_max", config.server.inbox_max, 1),
        ("listen.backlog", config.listen.backlog, 1),
        ("tls.handshakes_max", config.tls.handshakes_max, 1),
        ("smtp.recipients_max", config.smtp.recipients_max, 100),
        ("smtp.errors_max", config.smtp.errors_max, 1),
        ("smtp.junk_commands_max", config.smtp.junk_commands_max, 1),
        ("smtp.hops_max", config.smtp.hops_max, 1),
        (
            "store.mailbox_messages_max",
            config.store.mailbox_messages_max,
            1,
        ),
        (
            "store.quarantine_addresses_max",
            config.store.quarantine_addresses_max,
            1,
        ),
        ("http.proofs_max", config.http.proofs_max, 1),
        ("http.rate_clients_max", config.http.rate_clients_max, 1),
        ("http.connections_max", config.http.connections_max, 1),
        ("http.stream_events_max", config.http.stream_events_max, 1),
        ("http.page_messages_max", config.http.page_messages_max, 1),
        (
            "compatibility.inbucket_monitors_max",
            config.compatibility.inbucket_monitors_max,
            1,
        ),
        (
            "compatibility.inbucket_monitor_events_max",
            config.compatibility.inbucket_monitor_events_max,
            1,
        ),
        ("reading.at_once", config.reading.at_once, 1),
        ("reading.parts_max", config.reading.parts_max, 1),
        ("reading.depth_max", config.reading.depth_max, 1),
    ];
    for (key, value, least) in rules {
        if value < least {
            found.push(Violation::new(
                &[key],
                format!("less than {least}"),
                format!("write {least} or more"),
            ));
        }
    }
}

fn least_sizes(config: &Config, found: &mut Vec<Violation>) {
    let rules: [(&'static str, Bytes, Bytes); 6] = [
        (
            "smtp.line_bytes_max",
            config.smtp.line_bytes_max,
            Bytes(512),
        ),
        (
            "smtp.message_bytes_max",
            config.smtp.message_bytes_max,
            Bytes::kib(64),
        ),
        (
            "smtp.reserve_step_bytes",
            config.smtp.reserve_step_bytes,
            Bytes::kib(1),
        ),
        (
            "store.mailbox_bytes_max",
            config.store.mailbox_bytes_max,
            Bytes::kib(1),
        ),
        // The HTTP library keeps a buffer of this size at least.
        (
            "http.header_bytes_max",
            config.http.header_bytes_max,
            Bytes::kib(8),
        ),
        (
            "http.body_bytes_max",
            config.http.body_bytes_max,
            Bytes::kib(1),
        ),
    ];
    for (key, value, least) in rules {
        if value < least {
            found.push(Violation::new(
                &[key],
                format!("less than {least}"),
                format!("write \"{least}\" or more"),
            ));
        }
    }
}

fn least_times(config: &Config, found: &mut Vec<Violation>) {
    let rules: [(&'static str, Span); 15] = [
        ("listen.proxy_timeout", config.listen.proxy_timeout),
        ("tls.handshake_timeout", config.tls.handshake_timeout),
        ("smtp.command_timeout", config.smtp.command_timeout),
        ("smtp.data_timeout", config.smtp.data_timeout),
        ("smtp.transaction_timeout", config.smtp.transaction_timeout),
        (
            "store.mailbox_ttl_default",
            config.store.mailbox_ttl_default,
        ),
        ("store.mailbox_ttl_max", config.store.mailbox_ttl_max),
        ("store.message_ttl_max", config.store.message_ttl_max),
        ("store.after_last_message", config.store.after_last_message),
        ("http.header_timeout", config.http.header_timeout),
        ("http.request_timeout", config.http.request_timeout),
        ("http.wait_max", config.http.wait_max),
        ("http.heartbeat", config.http.heartbeat),
        (
            "compatibility.guerrilla_session_idle",
            config.compatibility.guerrilla_session_idle,
        ),
        (
            "compatibility.inbucket_ping",
            config.compatibility.inbucket_ping,
        ),
    ];
    for (key, value) in rules {
        if value.0 < Duration::from_secs(1) {
            found.push(Violation::new(
                &[key],
                "less than one second",
                "write \"1s\" or more",
            ));
        }
    }
}

/// A domain in its canonical form, or what is wrong with it. The grammar belongs to the room that compares domains.
fn domain(name: &str) -> Result<String, RulesError> {
    let alone = Rules {
        domains: vec![name.to_owned()],
        ..Rules::default()
    };
    normalized(alone).map(|mut rules| rules.domains.swap_remove(0))
}

fn normalized(mut rules: Rules) -> Result<Rules, RulesError> {
    normalize(&mut rules).map(|()| rules)
}

/// Brings names into the form in which they are compared. Only for settings that break no rule.
pub(super) fn bring_into_canonical_form(config: &mut Config) {
    let normalized = normalize(&mut config.recipients);
    debug_assert!(normalized.is_ok(), "was checked: {normalized:?}");
    let normalized = attachments::normalize(&mut config.attachments);
    debug_assert!(normalized.is_ok(), "was checked: {normalized:?}");
    policy_plans::normalize(&mut config.plans);
    policy_webhooks::normalize(&mut config.webhooks);
    if let Ok(hostname) = domain(&config.server.hostname) {
        config.server.hostname = hostname;
    }
}
