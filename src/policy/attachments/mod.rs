//! What becomes of attachments when mail arrives, by the domain that it is for.
//!
//! Pure decisions: somebody else takes the message apart and says of each part what it is called, what it is said to be and
//! what its bytes are; here is said whether it stays. What a part really is, its first bytes tell ([`kind`]).

#![forbid(unsafe_code)]

pub mod kind;

use crate::mail::address::canonical_domain;
use crate::settings::{Bytes, Value, choices, settings};
use kind::Kind;
use serde::Deserialize;
use std::fmt;
use std::sync::Arc;

settings! {
    /// What becomes of attachments when mail arrives. By default nothing is looked at: everything stays, and no message is taken apart.
    /// Where a domain has another policy, its messages are taken apart before they are accepted, on threads of their own
    /// (`server.helpers`). A message that has more parts than `reading.parts_max` or deeper ones than `reading.depth_max` is refused
    /// there with 554 5.6.0.
    pub struct Rules {
        /// What is done with attachments, in domains that have no policy of their own.
        pub policy: Action = Action::Keep,
        /// The largest attachment that stays, decoded. For `cap` and `refuse`.
        pub part_bytes_max: Bytes = Bytes::mib(10),
        /// How many bytes of attachments stay of one message, decoded, in the order of the message. For `cap` and `refuse`.
        pub total_bytes_max: Bytes = Bytes::mib(20),
        /// What does not stay, by what it really is: the first bytes tell, whatever the message says. For `cap` and `refuse`.
        pub blocked_kinds: Vec<Kind> = vec![Kind::Executable, Kind::Shortcut, Kind::Script, Kind::Macros],
        /// What does not stay, by the ending of its name. The name is decoded first, and cleaned of what hides an ending: trailing dots
        /// and blanks, characters that turn the direction of text, `::$DATA`. Names inside of ZIP archives count too, as far as they
        /// can be read without unpacking. For `cap` and `refuse`.
        pub blocked_names: Vec<String> = blocked_names(),
        /// Domains with a policy of their own. What one does not say it has from the settings above. A policy is also that of the
        /// domains below, if those have none (`recipients.subdomains`).
        pub domains: Vec<DomainRules> = Vec::new(),
    }
}

choices! {
    /// What is done with attachments.
    pub enum Action {
        /// All stay. Nothing is looked at.
        Keep = "keep",
        /// Those that are too large or blocked are removed; a note says so in their place.
        Cap = "cap",
        /// All are removed; notes say so in their place.
        Strip = "strip",
        /// A message with one that is too large or blocked is refused at its end, with 554 5.7.1, for all of its recipients.
        Refuse = "refuse",
    }
}

/// Endings that make systems run what is inside, or that have no business in mail to a throw-away address.
fn blocked_names() -> Vec<String> {
    [
        "ade",
        "adp",
        "apk",
        "appinstaller",
        "appx",
        "bat",
        "chm",
        "cmd",
        "com",
        "cpl",
        "dll",
        "dmg",
        "exe",
        "hta",
        "img",
        "ins",
        "iso",
        "isp",
        "jar",
        "js",
        "jse",
        "lib",
        "lnk",
        "mde",
        "msc",
        "msi",
        "msix",
        "msp",
        "mst",
        "nsh",
        "one",
        "pif",
        "ps1",
        "reg",
        "scf",
        "scr",
        "sct",
        "shb",
        "sys",
        "url",
        "vb",
        "vbe",
        "vbs",
        "vhd",
        "vhdx",
        "vxd",
        "wsc",
        "wsf",
        "wsh",
        "xll",
    ]
    .map(str::to_owned)
    .to_vec()
}

/// The policy of some domains.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DomainRules {
    /// Which.
    pub domains: Vec<String>,
    /// What is done with attachments there.
    pub policy: Action,
    /// The largest that stays.
    pub part_bytes_max: Option<Bytes>,
    /// How many bytes stay of one message.
    pub total_bytes_max: Option<Bytes>,
    /// What does not stay, by what it is.
    pub blocked_kinds: Option<Vec<Kind>>,
    /// What does not stay, by its name's ending.
    pub blocked_names: Option<Vec<String>>,
}

impl Value for DomainRules {
    fn kind() -> String {
        "tables with `domains` and `policy`, and if you like with `part_bytes_max`, `total_bytes_max`, `blocked_kinds`, `blocked_names`"
            .to_owned()
    }

    fn toml(&self) -> Option<String> {
        let fields = [
            ("domains", self.domains.toml()),
            ("policy", self.policy.toml()),
            ("part_bytes_max", self.part_bytes_max.toml()),
            ("total_bytes_max", self.total_bytes_max.toml()),
            ("blocked_kinds", self.blocked_kinds.toml()),
            ("blocked_names", self.blocked_names.toml()),
        ];
        let fields = fields.into_iter();
        let fields = fields.filter_map(|(key, value)| Some(format!("{key} = {}", value?)));
        Some(format!("{{ {} }}", fields.collect::<Vec<_>>().join(", ")))
    }
}

/// The policy of one domain, put together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    action: Action,
    part_bytes_max: u64,
    total_bytes_max: u64,
    blocked_kinds: Vec<Kind>,
    blocked_names: Vec<String>,
}

impl Rules {
    /// The policy of a table, or of domains that have none; `None` where everything stays.
    fn policy_of(&self, own: Option<&DomainRules>) -> Option<Policy> {
        let action = own.map_or(self.policy, |own| own.policy);
        (action != Action::Keep).then(|| Policy {
            action,
            part_bytes_max: own
                .and_then(|own| own.part_bytes_max)
                .unwrap_or(self.part_bytes_max)
                .0,
            total_bytes_max: own
                .and_then(|own| own.total_bytes_max)
                .unwrap_or(self.total_bytes_max)
                .0,
            blocked_kinds: own
                .and_then(|own| own.blocked_kinds.clone())
                .unwrap_or_else(|| self.blocked_kinds.clone()),
            blocked_names: own
                .and_then(|own| own.blocked_names.clone())
                .unwrap_or_else(|| self.blocked_names.clone()),
        })
    }
}

/// The policies of all domains, put together once.
#[derive(Clone, Debug)]
pub struct Policies {
    /// Of domains that have none of their own.
    others: Option<Arc<Policy>>,
    /// Each with its domains.
    own: Vec<(Vec<String>, Option<Arc<Policy>>)>,
}

impl Policies {
    /// Those of these rules, which must have been through [`normalize`].
    #[must_use]
    pub fn new(rules: &Rules) -> Self {
        let tables = rules.domains.iter();
        Self {
            others: rules.policy_of(None).map(Arc::new),
            own: tables
                .map(|own| {
                    let policy = rules.policy_of(Some(own)).map(Arc::new);
                    (own.domains.clone(), policy)
                })
                .collect(),
        }
    }

    /// The policy for mail to this domain, in canonical form; `None` where everything stays. It is that of the table which
    /// names it, or the nearest one above it.
    #[must_use]
    pub fn of(&self, domain: &str) -> Option<&Arc<Policy>> {
        let mut at = Some(domain).filter(|_| !self.own.is_empty());
        while let Some(name) = at {
            let names_it = |domains: &[String]| domains.iter().any(|it| it == name);
            if let Some((_, own)) = self.own.iter().find(|(domains, _)| names_it(domains)) {
                return own.as_ref();
            }
            at = name.split_once('.').map(|(_, above)| above);
        }
        self.others.as_ref()
    }
}

/// A part of a message, as far as it matters here.
#[derive(Clone, Copy, Debug)]
pub struct Part<'a> {
    /// The names that it is given, decoded and safe.
    pub names: &'a [String],
    /// The media type that it is said to have, in lower case.
    pub said: &'a str,
    /// Its bytes, decoded.
    pub bytes: &'a [u8],
    /// Whether it is shown as the text of the message, and is no attachment.
    pub is_shown: bool,
}

/// Why a part does not stay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// No attachment does.
    Attachment,
    /// For what it is.
    Kind(Kind),
    /// For its name.
    Name,
    /// For a name inside of it.
    NameInside,
    /// It is too large.
    TooLarge,
    /// Together with those before it, it is too large.
    TooLargeTogether,
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Attachment => f.write_str("attachments are not kept for this address"),
            Self::Kind(kind) => write!(f, "{} not kept for this address", kind.in_words()),
            Self::Name => f.write_str("files with such a name are not kept for this address"),
            Self::NameInside => {
                f.write_str("it contains a file whose name is not allowed for this address")
            }
            Self::TooLarge => f.write_str("it is larger than is kept for this address"),
            Self::TooLargeTogether => {
                f.write_str("the attachments together are larger than is kept for this address")
            }
        }
    }
}

/// What becomes of one message's parts, one after the other.
#[derive(Debug)]
pub struct Judge<'p> {
    policy: &'p Policy,
    /// Bytes of attachments that stay.
    bytes_kept: u64,
    refuses: bool,
}

impl Policy {
    /// Looks at a message.
    #[must_use]
    pub const fn judge(&self) -> Judge<'_> {
        Judge {
            policy: self,
            bytes_kept: 0,
            refuses: false,
        }
    }
}

impl Judge<'_> {
    /// Whether the message must be refused, for the parts that were looked at.
    #[must_use]
    pub const fn refuses(&self) -> bool {
        self.refuses
    }

    /// Why the next part does not stay; `None` if it stays.
    pub fn look(&mut self, part: &Part<'_>) -> Option<Why> {
        let why = self.why(part);
        match why {
            Some(_) => self.refuses |= self.policy.action == Action::Refuse,
            None if part.is_shown => {}
            None => self.bytes_kept += part.bytes.len() as u64,
        }
        why
    }

    fn why(&self, part: &Part<'_>) -> Option<Why> {
        let policy = self.policy;
        if policy.action == Action::Strip && !part.is_shown {
            return Some(Why::Attachment);
        }
        if part.names.iter().any(|name| policy.blocks_name(name)) {
            return Some(Why::Name);
        }
        if let Some(kind) = kind::of(part.bytes, part.said, part.is_shown)
            && policy.blocked_kinds.contains(&kind)
        {
            return Some(Why::Kind(kind));
        }
        if kind::names_in_zip(part.bytes).any(|name| policy.blocks_name(&name)) {
            return Some(Why::NameInside);
        }
        let bytes = part.bytes.len() as u64;
        if part.is_shown {
            None
        } else if bytes > policy.part_bytes_max {
            Some(Why::TooLarge)
        } else if self.bytes_kept.saturating_add(bytes) > policy.total_bytes_max {
            Some(Why::TooLargeTogether)
        } else {
            None
        }
    }
}

impl Policy {
    /// Whether the ending of a name is blocked. A name may come from inside of an archive, with a path before it.
    fn blocks_name(&self, name: &str) -> bool {
        let name = name.rsplit(['/', '\\']).next().unwrap_or_default();
        let name = name.to_lowercase();
        // `x.exe::$DATA` is x.exe itself on some systems; a safe name has `_` in the place of colons.
        let name = name
            .strip_suffix("::$data")
            .or_else(|| name.strip_suffix("__$data"))
            .unwrap_or(&name);
        let name = name.trim_end_matches(|it: char| it == '.' || it.is_whitespace());
        let Some((_, ending)) = name.rsplit_once('.') else {
            return false;
        };
        let ending = ending.trim();
        // `x.{CLSID}` is opened by whatever has that number.
        let is_class = ending.starts_with('{') && ending.ends_with('}');
        let mut blocked = self.blocked_names.iter();
        blocked.any(|it| it == ending || is_class)
    }
}

/// What is wrong with the rules.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RulesError {
    /// Not the name of a domain.
    BadDomain(String),
    /// Not the ending of a name.
    BadEnding(String),
    /// A domain is named twice.
    DuplicateDomain(String),
}

impl fmt::Display for RulesError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BadDomain(name) => write!(f, "{name:?} is not the name of a domain"),
            Self::BadEnding(text) => write!(f, "{text:?} is not the ending of a name"),
            Self::DuplicateDomain(name) => write!(f, "{name:?} has two policies"),
        }
    }
}

/// Brings names into the form in which they are compared: canonical domains, endings in lower case and without a dot.
///
/// # Errors
/// The first thing that is wrong, and the number of the table that it is in, if it is in one.
pub fn normalize(rules: &mut Rules) -> Result<(), (RulesError, Option<usize>)> {
    normalize_endings(&mut rules.blocked_names).map_err(|why| (why, None))?;
    let mut seen = std::collections::HashSet::new();
    for (number, table) in rules.domains.iter_mut().enumerate() {
        for name in &mut table.domains {
            let domain = canonical_domain(name)
                .map_err(|_| (RulesError::BadDomain(name.clone()), Some(number)))?;
            if !seen.insert(domain.clone()) {
                return Err((RulesError::DuplicateDomain(domain), Some(number)));
            }
            *name = domain;
        }
        if let Some(endings) = &mut table.blocked_names {
            normalize_endings(endings).map_err(|why| (why, Some(number)))?;
        }
    }
    Ok(())
}

fn normalize_endings(endings: &mut [String]) -> Result<(), RulesError> {
    for ending in endings {
        let plain = ending
            .trim()
            .trim_start_matches("*")
            .trim_start_matches('.');
        if plain.is_empty() || plain.contains(['.', '/', '\\']) {
            return Err(RulesError::BadEnding(ending.clone()));
        }
        *ending = plain.to_lowercase();
    }
    Ok(())
}

#[cfg(test)]
mod tests;
