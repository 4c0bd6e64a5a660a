//! Where mail may go, and which addresses may be given away.
//!
//! mayfly takes mail for its own domains and for nobody else: there is no setting that makes it a
//! relay. This room only says which mailbox is meant and whether it must exist; whether it does, its owner knows.

#![forbid(unsafe_code)]

use crate::mail::{Address, Recipient};
use crate::settings::{choices, settings};
use std::fmt;

settings! {
    /// Which recipients get mail here.
    pub struct Rules {
        /// Our domains. Mail for any other is refused with 550 5.7.1. The first one is the home of `postmaster`.
        pub domains: Vec<String> = vec!["mayfly.test".to_owned()],
        /// Which addresses at our domains get mail.
        pub accept: Accept = Accept::Created,
        /// Local parts that nobody may create. Some of them decide who owns a domain: certificate authorities send
        /// their proof of control to admin, administrator, hostmaster, postmaster and webmaster, and others speak for the site.
        pub reserved_local_parts: Vec<String> = reserved(),
    }
}

choices! {
    /// Which addresses at our domains get mail.
    pub enum Accept {
        /// Those that somebody has created. Others are refused with 550 5.1.1.
        Created = "created",
        /// All. Mail waits for whoever creates the address later.
        Any = "any",
    }
}

/// RFC 2142, the CA/Browser Forum's baseline requirements (section 3.2.2.4.4), and names that readers trust.
fn reserved() -> Vec<String> {
    [
        "abuse",
        "admin",
        "administrator",
        "hostmaster",
        "info",
        "mailer-daemon",
        "no-reply",
        "noc",
        "noreply",
        "postmaster",
        "root",
        "security",
        "ssladmin",
        "support",
        "sysadmin",
        "webmaster",
    ]
    .map(str::to_owned)
    .to_vec()
}

/// RFC 5321 section 4.5.1: every domain with mail has this local part.
const POSTMASTER: &str = "postmaster";

/// RFC 1035 section 2.3.4, in characters without the root's dot.
const DOMAIN_BYTES_MAX: usize = 253;
const LABEL_BYTES_MAX: usize = 63;

/// Where a recipient's mail goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Not to us.
    RelayDenied,
    /// To this mailbox.
    Mailbox {
        /// Its address.
        address: Address,
        /// Whether it must exist before.
        must_exist: MustExist,
    },
}

/// Whether a mailbox must exist before mail can come to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MustExist {
    /// Mail makes it.
    No,
    /// It must have been created.
    Yes,
}

/// Why an address cannot be created.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CreateRefusal {
    /// Its domain is not ours.
    ForeignDomain,
    /// Its local part is kept for the operator.
    Reserved,
}

/// What is wrong with the rules.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RulesError {
    /// Not the name of a domain.
    BadDomain {
        /// As given.
        domain: String,
    },
    /// A domain is named twice.
    DuplicateDomain {
        /// In canonical form.
        domain: String,
    },
    /// There is no domain.
    NoDomain,
}

/// Where mail for `recipient` goes. `rules` must have been through [`normalize`].
#[must_use]
pub fn decide(recipient: &Recipient, rules: &Rules) -> Decision {
    let address = match recipient {
        Recipient::Postmaster => return postmaster(rules),
        Recipient::Address(address) => address,
    };
    if !is_ours(address.domain(), rules) {
        return Decision::RelayDenied;
    }
    if address.local() == POSTMASTER {
        return postmaster(rules);
    }
    Decision::Mailbox {
        address: address.clone(),
        must_exist: match rules.accept {
            Accept::Any => MustExist::No,
            Accept::Created => MustExist::Yes,
        },
    }
}

/// The operator's one mailbox; `None` when there is no domain.
#[must_use]
pub fn postmaster_address(rules: &Rules) -> Option<Address> {
    let home = rules.domains.first()?;
    Some(Address::from_parts(POSTMASTER, home))
}

/// Whether anybody may have this address.
///
/// # Errors
/// Why nobody may.
pub fn may_create(address: &Address, rules: &Rules) -> Result<(), CreateRefusal> {
    if !is_ours(address.domain(), rules) {
        return Err(CreateRefusal::ForeignDomain);
    }
    let reserved = &rules.reserved_local_parts;
    if address.local() == POSTMASTER || reserved.iter().any(|it| it == address.local()) {
        return Err(CreateRefusal::Reserved);
    }
    Ok(())
}

/// Brings the rules into canonical form: lower case, no trailing dot.
///
/// # Errors
/// The first thing that is wrong with them. They may be changed in part then.
pub fn normalize(rules: &mut Rules) -> Result<(), RulesError> {
    if rules.domains.is_empty() {
        return Err(RulesError::NoDomain);
    }
    for at in 0..rules.domains.len() {
        let given = &rules.domains[at];
        let domain = given
            .strip_suffix('.')
            .unwrap_or(given)
            .to_ascii_lowercase();
        if !is_domain(&domain) {
            let domain = given.clone();
            return Err(RulesError::BadDomain { domain });
        }
        if rules.domains[..at].contains(&domain) {
            return Err(RulesError::DuplicateDomain { domain });
        }
        rules.domains[at] = domain;
    }
    for local in &mut rules.reserved_local_parts {
        local.make_ascii_lowercase();
    }
    Ok(())
}

fn postmaster(rules: &Rules) -> Decision {
    postmaster_address(rules).map_or(Decision::RelayDenied, |address| Decision::Mailbox {
        address,
        must_exist: MustExist::No,
    })
}

/// Both sides are canonical. An address literal (`[192.0.2.1]`) never equals a domain.
fn is_ours(domain: &str, rules: &Rules) -> bool {
    rules.domains.iter().any(|ours| ours == domain)
}

/// `Domain = sub-domain *("." sub-domain)` (RFC 5321 section 4.1.2), in lower case.
fn is_domain(text: &str) -> bool {
    text.len() <= DOMAIN_BYTES_MAX && text.split('.').all(is_label)
}

fn is_label(label: &str) -> bool {
    let legal = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=LABEL_BYTES_MAX).contains(&label.len())
        && label.bytes().all(legal)
        && !label.starts_with('-')
        && !label.ends_with('-')
}

impl fmt::Display for RulesError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BadDomain { domain } => write!(
                f,
                "{domain:?} is not the name of a domain: write labels of letters, digits and inner hyphens \
                 with dots between them, like \"mx.example.org\" (an international name in its xn-- form)"
            ),
            Self::DuplicateDomain { domain } => write!(f, "the domain {domain:?} is named twice"),
            Self::NoDomain => f.write_str("at least one domain is needed"),
        }
    }
}

impl std::error::Error for RulesError {}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(accept: Accept) -> Rules {
        Rules {
            domains: vec!["one.test".to_owned(), "two.test".to_owned()],
            accept,
            ..Rules::default()
        }
    }

    fn to(local: &str, domain: &str) -> Recipient {
        Recipient::Address(Address::from_parts(local, domain))
    }

    #[track_caller]
    fn check(recipient: &Recipient, accept: Accept, expected: Option<(&str, MustExist)>) {
        let decision = decide(recipient, &rules(accept));
        match (&decision, expected) {
            (Decision::RelayDenied, None) => (),
            (
                Decision::Mailbox {
                    address,
                    must_exist,
                },
                Some((text, exist)),
            ) => {
                assert_eq!((address.as_str(), *must_exist), (text, exist));
            }
            _ => panic!("{decision:?} instead of {expected:?}"),
        }
    }

    #[test]
    fn only_our_domains_get_mail() {
        for accept in [Accept::Any, Accept::Created] {
            for domain in [
                "other.test",
                "sub.one.test",
                "one.test.other.test",
                "[127.0.0.1]",
                "test",
            ] {
                check(&to("u", domain), accept, None);
                check(&to("postmaster", domain), accept, None);
            }
            // The old tricks of relaying are parts of the local part here, and stay so.
            check(&to("u%other.test", "relay.test"), accept, None);
            check(&to("\"u@one.test\"", "other.test"), accept, None);
        }
        check(
            &to("u", "two.test"),
            Accept::Created,
            Some(("u@two.test", MustExist::Yes)),
        );
        check(
            &to("u", "two.test"),
            Accept::Any,
            Some(("u@two.test", MustExist::No)),
        );
    }

    #[test]
    fn postmaster_is_one_mailbox_that_is_always_there() {
        let expected = Some(("postmaster@one.test", MustExist::No));
        for accept in [Accept::Any, Accept::Created] {
            check(&Recipient::Postmaster, accept, expected);
            check(&to("postmaster", "one.test"), accept, expected);
            check(&to("postmaster", "two.test"), accept, expected);
        }
    }

    #[test]
    fn nobody_gets_an_address_that_speaks_for_the_site() {
        let rules = rules(Accept::Created);
        let create =
            |local: &str, domain: &str| may_create(&Address::from_parts(local, domain), &rules);
        assert_eq!(create("u", "one.test"), Ok(()));
        assert_eq!(create("u", "x.test"), Err(CreateRefusal::ForeignDomain));
        for local in ["postmaster", "admin", "hostmaster", "webmaster", "root"] {
            assert_eq!(create(local, "two.test"), Err(CreateRefusal::Reserved));
        }
        let mut free = Rules::default();
        free.reserved_local_parts.clear();
        let postmaster = Address::from_parts("postmaster", "mayfly.test");
        assert_eq!(
            may_create(&postmaster, &free),
            Err(CreateRefusal::Reserved),
            "its mail is the operator's whatever the list says"
        );
    }

    #[test]
    fn rules_are_brought_into_canonical_form() {
        let mut rules = Rules {
            domains: vec![
                "MX.Example.ORG.".to_owned(),
                "xn--bcher-kva.test".to_owned(),
            ],
            reserved_local_parts: vec!["Boss".to_owned()],
            ..Rules::default()
        };
        assert_eq!(normalize(&mut rules), Ok(()));
        assert_eq!(rules.domains, ["mx.example.org", "xn--bcher-kva.test"]);
        assert_eq!(rules.reserved_local_parts, ["boss"]);
        assert_eq!(normalize(&mut Rules::default()), Ok(()));
    }

    #[test]
    fn what_is_wrong_is_named() {
        let error = |domains: &[&str]| {
            let mut rules = Rules {
                domains: domains.iter().map(|it| (*it).to_owned()).collect(),
                ..Rules::default()
            };
            normalize(&mut rules).expect_err("wrong").to_string()
        };
        assert_eq!(error(&[]), "at least one domain is needed");
        assert_eq!(
            error(&["a.test", "A.TEST."]),
            "the domain \"a.test\" is named twice"
        );
        let long = "a".repeat(64);
        for bad in [
            "",
            ".",
            "a..b",
            "-a.b",
            "a-.b",
            "a_b.c",
            "b\u{fc}cher.test",
            "[127.0.0.1]",
            "a b",
            &long,
        ] {
            let said = error(&["fine.test", bad]);
            assert!(
                said.starts_with(&format!("{bad:?} is not the name")),
                "{said}"
            );
        }
    }
}
