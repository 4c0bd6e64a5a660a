//! How plans and their keys go together, and with the other settings.

#![forbid(unsafe_code)]

use super::super::Config;
use super::{TTL_MAX, Violation, domain};
use crate::policy::plans::{ANONYMOUS, Plan, PlanKey};
use std::collections::BTreeSet;
use std::time::Duration;

const PLANS: &str = "plans.offered";
const KEYS: &str = "plans.keys";

/// The longest name of a plan.
const NAME_BYTES_MAX: usize = 32;

pub(super) fn plans(config: &Config, found: &mut Vec<Violation>) {
    let mut names = BTreeSet::new();
    for (item, plan) in config.plans.offered.iter().enumerate() {
        let wrong = name(plan, !names.insert(&plan.name))
            .or_else(|| limits(plan))
            .or_else(|| domains(plan, config));
        if let Some((why, fix)) = wrong {
            found.push(Violation::new(&[PLANS], why, fix).at_item(item));
        }
    }
    let mut hashes = BTreeSet::new();
    for (item, key) in config.plans.keys.iter().enumerate() {
        let is_twice = key.hash.is_some_and(|hash| !hashes.insert(hash));
        if let Some((why, fix)) = wrong_key(key, is_twice, config) {
            found.push(Violation::new(&[KEYS, PLANS], why, fix).at_item(item));
        }
    }
}

/// What is wrong and how to mend it.
type Wrong = Option<(String, String)>;

fn name(plan: &Plan, is_twice: bool) -> Wrong {
    let name = &plan.name;
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
    if name.is_empty() || name.len() > NAME_BYTES_MAX || !name.bytes().all(plain) {
        let why = format!("{name:?} is not the name of a plan");
        let fix = format!("write 1 to {NAME_BYTES_MAX} letters, digits, hyphens and underscores");
        return Some((why, fix));
    }
    is_twice.then(|| {
        let why = format!("the plan {name:?} is named twice");
        (why, "take one out".to_owned())
    })
}

fn limits(plan: &Plan) -> Wrong {
    let name = &plan.name;
    if let Some(ttl) = plan.ttl_max
        && !(Duration::from_secs(1)..=TTL_MAX.0).contains(&ttl.0)
    {
        let why = format!("`ttl_max` of the plan {name:?} is {ttl}");
        return Some((why, format!("write \"1s\" to \"{TTL_MAX}\"")));
    }
    if plan.mailbox_messages_max == Some(0) {
        let why = format!("no mailbox of the plan {name:?} could hold a message");
        return Some((why, "write 1 or more for `mailbox_messages_max`".to_owned()));
    }
    if plan.mailbox_bytes_max.is_some_and(|bytes| bytes.0 < 1024) {
        let why = format!("no mailbox of the plan {name:?} could hold a message");
        return Some((
            why,
            "write \"1 KiB\" or more for `mailbox_bytes_max`".to_owned(),
        ));
    }
    None
}

fn domains(plan: &Plan, config: &Config) -> Wrong {
    let ours: BTreeSet<String> = config
        .recipients
        .domains
        .iter()
        .filter_map(|ours| domain(ours).ok())
        .collect();
    let is_ours = |name: &String| domain(name).is_ok_and(|name| ours.contains(&name));
    let foreign = plan.domains.iter().find(|name| !is_ours(name))?;
    let why = format!(
        "the plan {:?} names the domain {foreign:?}, which is not ours",
        plan.name
    );
    Some((why, "name it in `recipients.domains` too".to_owned()))
}

fn wrong_key(key: &PlanKey, is_twice: bool, config: &Config) -> Wrong {
    let plan = &key.plan;
    if plan == ANONYMOUS {
        let why = format!("{ANONYMOUS:?} is the plan of those without a key");
        return Some((why, "name another plan".to_owned()));
    }
    if config.plans.plan(plan).is_none() {
        let why = format!("there is no plan {plan:?}");
        return Some((why, "offer one under `plans.offered`".to_owned()));
    }
    if key.hash.is_some() == key.file.is_some() {
        let why = "a key needs a `hash` or a `file`, one of them".to_owned();
        return Some((why, "`mayfly key new` prints a key and its hash".to_owned()));
    }
    is_twice.then(|| {
        let why = "the same key is named twice".to_owned();
        (why, "take one out".to_owned())
    })
}
