//! Plans: what those may create who show a key of the operator's.
//!
//! A plan is a set of limits with a name, and a key grants one plan. Whoever shows no key has the plan named
//! [`ANONYMOUS`], if there is one, else what the other settings say. Keys themselves are nowhere here, only their hashes or the
//! files that hold them.

#![forbid(unsafe_code)]

use super::recipients::{self, Rules};
use crate::mail::address::canonical_domain;
use crate::settings::{Bytes, Span, Value, quoted, settings};
use serde::de::{self, Deserialize, Deserializer};
use std::fmt;
use std::path::PathBuf;

/// The plan of those who show no key.
pub const ANONYMOUS: &str = "anonymous";

settings! {
    /// What those may create over HTTP who show a key of yours: `mayfly key new` makes one and prints what to write here.
    pub struct Plans {
        /// Sets of limits, each with a `name`. The others are optional: `ttl_max`, the longest that a mailbox may be made to live;
        /// `mailboxes_max`, how many each key may have at a time; `creations_per_minute` of each key; `mailbox_messages_max` and
        /// `mailbox_bytes_max`, the most in one mailbox; `domains`, in which only keys of plans that name them may create.
        /// What a plan leaves out is as for everybody. A plan named "anonymous" is for those without a key: they share its mailboxes,
        /// and its creations are those of each client.
        pub offered: Vec<Plan> = Vec::new(),
        /// Keys: the `plan` that one grants, and either its `hash` or a `file` that holds it. A key that is taken out is refused from
        /// the next reload on; mailboxes that were created with it stay.
        pub keys: Vec<PlanKey> = Vec::new(),
    }
}

/// A set of limits with a name.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// Its name. Whoever creates a mailbox under it is told.
    pub name: String,
    /// The longest that a mailbox may be made to live, extensions included.
    #[serde(default)]
    pub ttl_max: Option<Span>,
    /// The most mailboxes of one key at a time; 0 means no limit.
    #[serde(default)]
    pub mailboxes_max: u32,
    /// The most mailboxes that one key creates in a minute; 0 means no limit.
    #[serde(default)]
    pub creations_per_minute: Option<u32>,
    /// The most messages in one mailbox.
    #[serde(default)]
    pub mailbox_messages_max: Option<u32>,
    /// The most bytes in one mailbox.
    #[serde(default)]
    pub mailbox_bytes_max: Option<Bytes>,
    /// Domains in which only those may create whose plan names them.
    #[serde(default)]
    pub domains: Vec<String>,
}

/// A key: what it grants, and how it is known.
#[derive(Clone, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlanKey {
    /// The plan that it grants.
    pub plan: String,
    /// Its hash.
    #[serde(default)]
    pub hash: Option<KeyHash>,
    /// A file that holds it, and nothing else but white space.
    #[serde(default)]
    pub file: Option<PathBuf>,
}

/// The SHA-256 of a key. A key is 160 random bits, so nobody finds it by trying.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyHash(pub [u8; 32]);

/// What a hash begins with where it is written.
const HASH_PREFIX: &str = "sha256:";

impl fmt::Debug for KeyHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyHash(..)")
    }
}

impl fmt::Display for KeyHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(HASH_PREFIX)?;
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl<'de> Deserialize<'de> for KeyHash {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let hash = text.strip_prefix(HASH_PREFIX).and_then(unhex);
        hash.map(Self).ok_or_else(|| {
            de::Error::custom(
                "not the hash of a key; `mayfly key new` prints one like \"sha256:\" and 64 hexadecimal digits",
            )
        })
    }
}

fn unhex(text: &str) -> Option<[u8; 32]> {
    let digits: Vec<u8> = text
        .chars()
        .map(|digit| digit.to_digit(16).and_then(|it| u8::try_from(it).ok()))
        .collect::<Option<_>>()?;
    let pairs: Vec<u8> = digits
        .chunks(2)
        .map(|pair| pair[0] << 4 | pair[pair.len() - 1])
        .collect();
    (digits.len() == 64).then_some(())?;
    pairs.try_into().ok()
}

impl Plans {
    /// The plan with this name.
    #[must_use]
    pub fn plan(&self, name: &str) -> Option<&Plan> {
        self.offered.iter().find(|plan| plan.name == name)
    }

    /// Whether whoever has `plan` may create in `domain`, which is one of ours in canonical form.
    #[must_use]
    pub fn may_create_in(&self, domain: &str, plan: Option<&Plan>) -> bool {
        let named_by = |plan: &Plan| plan.domains.iter().any(|it| is_in(domain, it));
        plan.is_some_and(named_by) || !self.offered.iter().any(named_by)
    }

    /// Our domains in which whoever has `plan` may create, none of them public. The first is theirs unless they say.
    pub fn domains<'a>(
        &'a self,
        plan: Option<&'a Plan>,
        rules: &'a Rules,
    ) -> impl Iterator<Item = &'a str> {
        let domains = rules.domains.iter().map(String::as_str);
        domains.filter(move |domain| {
            self.may_create_in(domain, plan) && !recipients::is_public(domain, rules)
        })
    }
}

/// Whether a domain is another or lies below it.
fn is_in(domain: &str, above: &str) -> bool {
    let below = domain.strip_suffix(above);
    below.is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
}

/// Brings the domains of plans into canonical form. What is not a domain stays as it is.
pub fn normalize(plans: &mut Plans) {
    for domain in plans.offered.iter_mut().flat_map(|plan| &mut plan.domains) {
        if let Ok(canonical) = canonical_domain(domain) {
            *domain = canonical;
        }
    }
}

impl Value for Plan {
    fn kind() -> String {
        "tables with `name` and limits".to_owned()
    }

    fn toml(&self) -> Option<String> {
        let Self {
            name,
            ttl_max,
            mailboxes_max,
            creations_per_minute,
            mailbox_messages_max,
            mailbox_bytes_max,
            domains,
        } = self;
        let boxes = Some(*mailboxes_max).filter(|most| *most != 0);
        let domains = Some(domains).filter(|domains| !domains.is_empty());
        let given = [
            ("name", name.toml()),
            ("ttl_max", ttl_max.toml()),
            ("mailboxes_max", boxes.toml()),
            ("creations_per_minute", creations_per_minute.toml()),
            ("mailbox_messages_max", mailbox_messages_max.toml()),
            ("mailbox_bytes_max", mailbox_bytes_max.toml()),
            ("domains", domains.and_then(Value::toml)),
        ];
        Some(table(given))
    }
}

impl Value for PlanKey {
    fn kind() -> String {
        "tables with `plan`, and `hash` or `file`".to_owned()
    }

    fn toml(&self) -> Option<String> {
        let hash = self.hash.map(|hash| quoted(&hash.to_string()));
        Some(table([
            ("plan", self.plan.toml()),
            ("hash", hash),
            ("file", self.file.toml()),
        ]))
    }
}

/// A table in one line, without what is not there.
fn table<const FIELDS: usize>(fields: [(&str, Option<String>); FIELDS]) -> String {
    let given = fields
        .into_iter()
        .filter_map(|(key, value)| Some(format!("{key} = {}", value?)));
    format!("{{ {} }}", given.collect::<Vec<_>>().join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "offered = [{ name = \"team\", ttl_max = \"7days\", mailboxes_max = 5, \
        creations_per_minute = 60, mailbox_messages_max = 9, mailbox_bytes_max = \"1 MiB\", \
        domains = [\"qa.test\"] }, { name = \"anonymous\" }]\n\
        keys = [{ plan = \"team\", hash = \"sha256:00000000000000000000000000000000000000000000000000000000000000aF\" }, \
        { plan = \"team\", file = \"/run/key\" }]";

    #[test]
    fn plans_and_keys_read_back_as_they_are_printed() {
        let plans: Plans = toml::from_str(TEXT).expect("valid");
        assert_eq!(plans.keys[0].hash.map(|it| it.0[31]), Some(0xaf));
        let printed = format!(
            "offered = {}\nkeys = {}",
            plans.offered.toml().expect("printed"),
            plans.keys.toml().expect("printed")
        );
        assert_eq!(printed, TEXT.replace("aF", "af"));
        assert_eq!(toml::from_str::<Plans>(&printed).as_ref(), Ok(&plans));
        assert!(
            !format!("{plans:?}").contains("00af"),
            "hashes are not printed"
        );
    }

    #[test]
    fn what_is_no_hash_is_refused() {
        for hash in [
            "",
            "sha256:",
            "sha256:00",
            "00",
            &format!("sha256:{}", "0".repeat(63)),
            &format!("sha256:{}", "g".repeat(64)),
            &format!("md5:{}", "0".repeat(64)),
        ] {
            let text = format!("keys = [{{ plan = \"a\", hash = \"{hash}\" }}]");
            let said = toml::from_str::<Plans>(&text)
                .expect_err("no hash")
                .to_string();
            assert!(said.contains("not the hash of a key"), "{said}");
        }
    }

    #[test]
    fn a_domain_of_a_plan_is_for_those_who_have_it() {
        let plan = |name: &str, domains: &[&str]| Plan {
            name: name.to_owned(),
            domains: domains.iter().map(|it| (*it).to_owned()).collect(),
            ..Plan::default()
        };
        let mut plans = Plans {
            offered: vec![
                plan("team", &["QA.test."]),
                plan("shared", &["qa.test", "other.test"]),
                plan("plain", &[]),
            ],
            keys: Vec::new(),
        };
        normalize(&mut plans);
        let rules = Rules {
            domains: ["open.test", "qa.test", "other.test"]
                .map(str::to_owned)
                .to_vec(),
            ..Rules::default()
        };
        for (name, expected) in [
            (None, &["open.test"][..]),
            (Some("plain"), &["open.test"]),
            (Some("team"), &["open.test", "qa.test"]),
            (Some("shared"), &["open.test", "qa.test", "other.test"]),
        ] {
            let plan = name.and_then(|name| plans.plan(name));
            let domains: Vec<&str> = plans.domains(plan, &rules).collect();
            assert_eq!(domains, expected, "{name:?}");
        }
        assert!(!plans.may_create_in("below.qa.test", None));
        assert!(plans.may_create_in("below.qa.test", plans.plan("team")));
        assert!(plans.may_create_in("notqa.test", None));
    }
}
