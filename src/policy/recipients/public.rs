//! Domains whose mailboxes are everybody's.
//!
//! Whoever reads a public mailbox names its address, and nothing else opens it. So this is the one place that says which
//! addresses may be named.

#![forbid(unsafe_code)]

use super::{
    DOMAIN_BYTES_MAX, POSTMASTER, Rules, RulesError, base, canonical_domain, is_ours, is_reserved,
};
use crate::mail::Address;

/// What a pattern begins with; all below the domain behind it is meant.
const BELOW: &str = "*.";

/// Whether the mailboxes of a domain are everybody's. The domain is canonical.
#[must_use]
pub fn is_public(domain: &str, rules: &Rules) -> bool {
    let is_it = |public: &String| match public.strip_prefix(BELOW) {
        None => public == domain,
        Some(above) => domain
            .strip_suffix(above)
            .is_some_and(|label| label.len() > 1 && label.ends_with('.')),
    };
    rules.public_domains.iter().any(is_it)
}

/// The public domains that have a name, which patterns have not.
pub fn public_domains(rules: &Rules) -> impl Iterator<Item = &str> {
    let names = rules.public_domains.iter().map(String::as_str);
    names.filter(|name| !name.starts_with(BELOW))
}

/// The public domain that is meant where none is named.
#[must_use]
pub fn first_public(rules: &Rules) -> Option<&str> {
    public_domains(rules).next()
}

/// The public mailbox that mail to `name` reaches: an address, or a local part at the first public domain, with a tag or
/// without. `None` if it is neither, or not everybody's.
#[must_use]
pub fn public_mailbox(name: &str, rules: &Rules) -> Option<Address> {
    let address = Address::parse(name).ok().or_else(|| {
        let domain = first_public(rules)?;
        Address::parse(format!("{name}@{domain}")).ok()
    })?;
    if !is_public(address.domain(), rules) {
        return None;
    }
    let base = base(address.local(), rules);
    if base == POSTMASTER || is_reserved(base, rules) {
        return None;
    }
    Some(Address::from_parts(base, address.domain()))
}

/// Brings the list into canonical form. Domains and sub-domains must have been through it before.
pub(super) fn normalize(rules: &mut Rules) -> Result<(), RulesError> {
    for at in 0..rules.public_domains.len() {
        let given = &rules.public_domains[at];
        let bad = |domain: &str| RulesError::BadDomain {
            domain: domain.to_owned(),
        };
        let (below, name) = match given.strip_prefix(BELOW) {
            Some(name) => (BELOW, name),
            None => ("", given.as_str()),
        };
        let domain = canonical_domain(name).map_err(|_| bad(given))?;
        if domain.len() > DOMAIN_BYTES_MAX {
            return Err(bad(given));
        }
        let is_there = match below {
            "" => is_ours(&domain, rules),
            _ => rules.subdomains && is_ours(&domain, rules),
        };
        if !is_there {
            let domain = given.clone();
            return Err(RulesError::PublicElsewhere { domain });
        }
        let domain = format!("{below}{domain}");
        if rules.public_domains[..at].contains(&domain) {
            return Err(RulesError::DuplicateDomain { domain });
        }
        rules.public_domains[at] = domain;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::{
        Accept, CreateRefusal, Decision, MustExist, decide, may_create, normalize as normalize_all,
    };
    use super::*;
    use crate::mail::Recipient;

    fn rules(public: &[&str], subdomains: bool) -> Rules {
        Rules {
            domains: vec!["one.test".to_owned(), "two.test".to_owned()],
            public_domains: public.iter().map(|it| (*it).to_owned()).collect(),
            subdomains,
            ..Rules::default()
        }
    }

    #[test]
    fn mail_at_a_public_domain_makes_mailboxes_that_everybody_may_name() {
        let mut rules = rules(&["Two.Test."], false);
        assert_eq!(normalize_all(&mut rules), Ok(()));
        for accept in [Accept::Any, Accept::Created] {
            rules.accept = accept;
            let unless = match accept {
                Accept::Any => MustExist::No,
                Accept::Created => MustExist::Yes,
            };
            for (name, reached, must_exist, named) in [
                ("u@two.test", "u@two.test", MustExist::Public, true),
                ("U+tag@TWO.test", "u@two.test", MustExist::Public, true),
                ("u@one.test", "u@one.test", unless, false),
                // Whoever could read these would own the domain.
                ("admin@two.test", "admin@two.test", unless, false),
                ("admin+x@two.test", "admin@two.test", unless, false),
                (
                    "postmaster@two.test",
                    "postmaster@one.test",
                    MustExist::Operators,
                    false,
                ),
            ] {
                let address = Address::parse(name).expect("an address");
                let expected = Address::parse(reached).expect("an address");
                let decision = decide(&Recipient::Address(address), &rules);
                let address = expected.clone();
                assert_eq!(
                    decision,
                    Decision::Mailbox {
                        address,
                        must_exist
                    },
                    "{name}"
                );
                let public = public_mailbox(name, &rules);
                assert_eq!(public, named.then_some(expected), "{name}");
            }
        }
    }

    #[test]
    fn a_local_part_alone_is_at_the_first_public_domain_that_has_a_name() {
        let rules = rules(&["*.one.test", "two.test", "one.test"], true);
        let named = |name: &str| public_mailbox(name, &rules).map(|it| it.as_str().to_owned());
        assert_eq!(named("u").as_deref(), Some("u@two.test"));
        assert_eq!(named("U+x").as_deref(), Some("u@two.test"));
        assert_eq!(
            named("\"a@b\"").as_deref(),
            Some("\"a@b\"@two.test"),
            "whoever quotes means each character"
        );
        assert_eq!(named("u@sub.one.test").as_deref(), Some("u@sub.one.test"));
        assert_eq!(named("u@sub.two.test"), None);
        for none in [
            "",
            "@",
            "@two.test",
            "u@",
            "u@other.test",
            "u@two.test@two.test",
            "admin",
            "postmaster",
            "a b",
            "u@two.test\r\n",
        ] {
            assert_eq!(named(none), None, "{none:?}");
        }
        let none = Rules {
            public_domains: vec!["*.one.test".to_owned()],
            ..rules
        };
        assert_eq!(public_mailbox("u", &none), None);
        assert_eq!(first_public(&none), None);
    }

    #[test]
    fn nobody_can_create_what_is_everybodys() {
        let rules = rules(&["two.test", "*.one.test"], true);
        let create = |text: &str| may_create(&Address::parse(text).expect("an address"), &rules);
        assert_eq!(create("u@one.test"), Ok(()));
        assert_eq!(create("u@two.test"), Err(CreateRefusal::Public));
        assert_eq!(create("admin@two.test"), Err(CreateRefusal::Public));
        assert_eq!(create("u@a.one.test"), Err(CreateRefusal::Public));
        assert_eq!(create("u@a.two.test"), Ok(()));
        assert!(!is_public("xone.test", &rules) && !is_public(".one.test", &rules));
    }

    #[test]
    fn only_what_is_ours_can_be_everybodys() {
        let said = |public: &[&str], subdomains| {
            let mut rules = rules(public, subdomains);
            normalize_all(&mut rules)
                .map(|()| rules.public_domains.join(" "))
                .map_err(|why| why.to_string())
        };
        assert_eq!(said(&[], false), Ok(String::new()));
        assert_eq!(
            said(&["TWO.test", "*.One.test", "a.one.test"], true),
            Ok("two.test *.one.test a.one.test".to_owned())
        );
        let elsewhere = |name: &str| Err(format!("{name:?} is no domain of ours"));
        assert_eq!(said(&["a.one.test"], false), elsewhere("a.one.test"));
        assert_eq!(said(&["*.one.test"], false), elsewhere("*.one.test"));
        assert_eq!(said(&["*.three.test"], true), elsewhere("*.three.test"));
        assert_eq!(
            said(&["one.test", "One.Test"], false),
            Err("the domain \"one.test\" is named twice".to_owned())
        );
        for bad in ["", "*", "*.", "*.*.one.test", "one.*", "[127.0.0.1]"] {
            let error = said(&[bad], true).expect_err("no domain");
            assert!(
                error.starts_with(&format!("{bad:?} is not the name")),
                "{error}"
            );
        }
    }
}
