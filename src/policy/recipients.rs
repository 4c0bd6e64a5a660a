//! Where mail may go, and which addresses may be given away.
//!
//! mayfly takes mail for its own domains and for nobody else: there is no setting that makes it a
//! relay. This room only says which mailbox is meant and whether it must exist; whether it does,
//! its owner knows.

#![forbid(unsafe_code)]

mod public;

pub use public::{first_public, is_public, public_domains, public_mailbox};

use super::self_authenticating::SelfAuthenticating;
use crate::mail::address::{canonical_domain, canonical_local_part, is_atext};
use crate::mail::{Address, Recipient};
use crate::settings::{choices, settings};
use std::fmt;
use std::path::PathBuf;

settings! {
    /// Which recipients get mail here.
    pub struct Rules {
        /// Our domains. Mail for any other is refused with 550 5.7.1. The first one is the home of `postmaster`.
        /// An international name may be given as it is written or in its xn-- form.
        pub domains: Vec<String> = vec!["mayfly.test".to_owned()],
        /// Which addresses at our domains get mail.
        pub accept: Accept = Accept::Created,
        /// Local parts that nobody may create. Some of them decide who owns a domain: certificate authorities send
        /// their proof of control to admin, administrator, hostmaster, postmaster and webmaster, and others speak for the site.
        pub reserved_local_parts: Vec<String> = reserved(),
        /// Characters that begin a tag: mail to `u+tag` reaches the mailbox `u`. None turns it off. `-` may be one too; local
        /// parts that are drawn by lot then have dots in the place of hyphens. Price: what stands behind one is lost for names.
        pub subaddress_separators: String = "+".to_owned(),
        /// Whether every sub-domain of a domain of ours is ours too, for a wildcard MX record. Each address there is a mailbox of
        /// its own; `postmaster` is the operator everywhere.
        pub subdomains: bool = false,
        /// Whether addresses can prove by themselves that they were given away here: part of them is a code that only this server can
        /// make, and the minute at which they expire. Guesses are then refused where they come in, without a look-up.
        pub self_authenticating: SelfAuthenticating = SelfAuthenticating::Off,
        /// Files with a secret each (32 to 4096 bytes, of any kind; blanks at the end do not count), by which these codes are made and checked. The first one
        /// makes them, the others only check, so that a new one can be put before an old one. Several servers with the same first file know one
        /// another's addresses. Without any, one is drawn at start: after a restart nobody's address is good.
        /// Price: one hash each, 50 ns, for a guess that none of them proves. 8 at most.
        pub self_authenticating_keys: Vec<PathBuf> = Vec::new(),
        /// Domains of ours whose mailboxes are everybody's: mail makes them, nobody can create one, and whoever knows a name reads and
        /// deletes what is there, through the drop-in APIs that know no secret (section `[compatibility]`). "*.example.com" means all below
        /// example.com, where `subdomains` is on. Reserved local parts get no mail there. Mail that waits in a domain for whoever
        /// creates its address is everybody's as soon as more comes for that address.
        pub public_domains: Vec<String> = Vec::new(),
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

/// RFC 2142, the CA/Browser Forum's baseline requirements (section 3.2.2.4.4), and names that
/// readers trust.
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
pub(super) const POSTMASTER: &str = "postmaster";

/// RFC 1035 section 2.3.4, in characters without the root's dot.
const DOMAIN_BYTES_MAX: usize = 253;

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
    /// Mail makes it, and it is the operator's.
    Operators,
    /// Mail makes it, and it is everybody's.
    Public,
    /// It must have been created.
    Yes,
}

/// Why an address cannot be created.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CreateRefusal {
    /// Its domain is not ours.
    ForeignDomain,
    /// Its domain is public: mail makes its mailboxes, and they are everybody's.
    Public,
    /// Its local part is kept for the operator.
    Reserved,
    /// It has a tag: its mail goes to the address without it.
    Tagged,
}

/// What is wrong with the rules.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RulesError {
    /// Not the name of a domain.
    BadDomain {
        /// As given.
        domain: String,
    },
    /// Not a local part.
    BadLocalPart {
        /// As given.
        local: String,
    },
    /// A character that cannot begin a tag.
    BadSeparator {
        /// As given.
        separator: char,
    },
    /// A domain is named twice.
    DuplicateDomain {
        /// In canonical form.
        domain: String,
    },
    /// There is no domain.
    NoDomain,
    /// A public domain is none of ours.
    PublicElsewhere {
        /// As given.
        domain: String,
    },
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
    let base = base(address.local(), rules);
    if base == POSTMASTER {
        return postmaster(rules);
    }
    Decision::Mailbox {
        address: match base.len() == address.local().len() {
            true => address.clone(),
            false => Address::from_parts(base, address.domain()),
        },
        must_exist: match rules.accept {
            // Whoever reads the mail for `admin` can show that the domain is theirs.
            _ if is_public(address.domain(), rules) && !is_reserved(base, rules) => {
                MustExist::Public
            }
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

/// Whether anybody may have this address. One with a tag is refused rather than cut: who asks for `u+tag` shall learn that
/// all mail to `u` would be theirs, and that they need not ask for each tag.
///
/// # Errors
/// Why nobody may.
pub fn may_create(address: &Address, rules: &Rules) -> Result<(), CreateRefusal> {
    if !is_ours(address.domain(), rules) {
        return Err(CreateRefusal::ForeignDomain);
    }
    if is_public(address.domain(), rules) {
        return Err(CreateRefusal::Public);
    }
    let base = base(address.local(), rules);
    if base == POSTMASTER || is_reserved(base, rules) {
        return Err(CreateRefusal::Reserved);
    }
    if base.len() < address.local().len() {
        return Err(CreateRefusal::Tagged);
    }
    Ok(())
}

/// The canonical form of a domain that is ours.
#[must_use]
pub fn our_domain(text: &str, rules: &Rules) -> Option<String> {
    let domain = canonical_domain(text).ok()?;
    is_ours(&domain, rules).then_some(domain)
}

/// A local part without its tag (RFC 5233), which begins at the first separator. It has none if nothing that is a local part
/// by itself would be left before it, or if it needs quotes: whoever quotes means each character. What is reserved is not
/// cut: whoever has `no` must not get the mail for `no-reply`.
fn base<'a>(local: &'a str, rules: &Rules) -> &'a str {
    let separators = &rules.subaddress_separators;
    let is_separator = |character| separators.contains(character);
    let Some(first) = local.find(is_separator) else {
        return local;
    };
    if first == 0 || local.starts_with('"') {
        return local;
    }
    let mut bases = local
        .match_indices(is_separator)
        .map(|(at, _)| &local[..at])
        .chain([local]);
    match bases.find(|base| is_reserved(base, rules)) {
        Some(reserved) => reserved,
        None if local[..first].ends_with('.') => local,
        None => &local[..first],
    }
}

/// Both sides are canonical.
fn is_reserved(local: &str, rules: &Rules) -> bool {
    rules.reserved_local_parts.iter().any(|it| it == local)
}

/// Brings the rules into canonical form, which is that of [`Address`].
///
/// # Errors
/// The first thing that is wrong with them. They may be changed in part then.
pub fn normalize(rules: &mut Rules) -> Result<(), RulesError> {
    if rules.domains.is_empty() {
        return Err(RulesError::NoDomain);
    }
    for at in 0..rules.domains.len() {
        let given = &rules.domains[at];
        let domain = match canonical_domain(given) {
            Ok(domain) if domain.len() <= DOMAIN_BYTES_MAX => domain,
            _ => {
                let domain = given.clone();
                return Err(RulesError::BadDomain { domain });
            }
        };
        if rules.domains[..at].contains(&domain) {
            return Err(RulesError::DuplicateDomain { domain });
        }
        rules.domains[at] = domain;
    }
    for local in &mut rules.reserved_local_parts {
        *local = canonical_local_part(local).map_err(|_| RulesError::BadLocalPart {
            local: local.clone(),
        })?;
    }
    check_separators(&rules.subaddress_separators)?;
    public::normalize(rules)
}

/// A separator must be able to stand in a local part without quotes, and no name must need it.
fn check_separators(separators: &str) -> Result<(), RulesError> {
    let can_separate = |it: char| it.is_ascii_punctuation() && is_atext(it as u8);
    match separators.chars().find(|it| !can_separate(*it)) {
        Some(separator) => Err(RulesError::BadSeparator { separator }),
        None => Ok(()),
    }
}

fn postmaster(rules: &Rules) -> Decision {
    postmaster_address(rules).map_or(Decision::RelayDenied, |address| Decision::Mailbox {
        address,
        must_exist: MustExist::Operators,
    })
}

/// Both sides are canonical. An address literal (`[192.0.2.1]`) never equals a domain, nor does it end in one.
fn is_ours(domain: &str, rules: &Rules) -> bool {
    let is_below = |ours: &String| {
        domain
            .strip_suffix(ours.as_str())
            .is_some_and(|above| above.ends_with('.'))
    };
    rules.domains.iter().any(|ours| ours == domain)
        || rules.subdomains && rules.domains.iter().any(is_below)
}

impl fmt::Display for RulesError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BadDomain { domain } => write!(
                f,
                "{domain:?} is not the name of a domain: write labels of letters, digits and inner hyphens \
                 with dots between them, like \"mx.example.org\""
            ),
            Self::BadLocalPart { local } => write!(f, "{local:?} is not a local part"),
            Self::BadSeparator { separator } => write!(
                f,
                "{separator:?} cannot begin a tag: a separator is one of !#$%&'*+-/=?^_`{{|}}~"
            ),
            Self::DuplicateDomain { domain } => write!(f, "the domain {domain:?} is named twice"),
            Self::NoDomain => f.write_str("at least one domain is needed"),
            Self::PublicElsewhere { domain } => write!(f, "{domain:?} is no domain of ours"),
        }
    }
}

impl std::error::Error for RulesError {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mail::address::forward_path;

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
        let expected = Some(("postmaster@one.test", MustExist::Operators));
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
            domains: vec!["MX.Example.ORG.".to_owned(), "B\u{fc}cher.test".to_owned()],
            reserved_local_parts: vec!["Boss".to_owned(), "\"GR\u{fc}n\"".to_owned()],
            ..Rules::default()
        };
        assert_eq!(normalize(&mut rules), Ok(()));
        assert_eq!(rules.domains, ["mx.example.org", "xn--bcher-kva.test"]);
        assert_eq!(rules.reserved_local_parts, ["boss", "gr\u{fc}n"]);
        assert_eq!(normalize(&mut Rules::default()), Ok(()));
    }

    /// Which mailbox mail to `path` reaches; the empty text if it is not for us, `!` if it is no path.
    fn reached(path: &str, rules: &Rules) -> String {
        let path = format!("<{path}>");
        match forward_path(path.as_bytes()) {
            Err(_) => "!".to_owned(),
            Ok((_, recipient)) => match decide(&recipient, rules) {
                Decision::RelayDenied => String::new(),
                Decision::Mailbox { address, .. } => address.as_str().to_owned(),
            },
        }
    }

    /// G1, G4: what the scripts that look for open relays try, with `ours.test` as our name and 192.0.2.1 as our address.
    #[test]
    fn no_spelling_makes_a_relay() {
        let mut rules = Rules {
            domains: vec!["ours.test".to_owned()],
            ..Rules::default()
        };
        for subdomains in [false, true] {
            rules.subdomains = subdomains;
            for (path, expected) in [
                ("v@x.example", ""),
                ("v%x.example@[192.0.2.1]", ""),
                ("v%x.example@relay.example", ""),
                ("v%x.example@ours.test", "v%x.example@ours.test"),
                ("\"v@x.example\"", "!"),
                ("\"v%x.example\"", "!"),
                ("v@x.example@[192.0.2.1]", "!"),
                ("v@x.example@ours.test", "!"),
                ("v@ours.test@x.example", "!"),
                ("\"v@x.example\"@[192.0.2.1]", ""),
                ("\"v@x.example\"@ours.test", "\"v@x.example\"@ours.test"),
                ("@ours.test:v@x.example", ""),
                ("@[192.0.2.1]:v@x.example", "!"),
                ("@x.example:v@ours.test", "v@ours.test"),
                ("x.example!v", "!"),
                ("x.example!v@[192.0.2.1]", ""),
                ("x.example!v@ours.test", "x.example!v@ours.test"),
                ("v@[127.0.0.1]", ""),
                ("v@[IPv6:::1]", ""),
                ("v@OURS.TEST.", "v@ours.test"),
                ("v@ours.test.x.example", ""),
                ("v@xours.test", ""),
                ("v@.ours.test", "!"),
                ("v\u{ff20}x.example@ours.test", "!"),
                ("v@x.example\u{ff20}ours.test", "!"),
                ("v@ours\u{3002}test", "v@ours.test"),
                ("v@\u{ff4f}urs.test", "v@ours.test"),
                ("postmaster", "postmaster@ours.test"),
                ("POSTMASTER@ours.test", "postmaster@ours.test"),
                ("\"postmaster\"@ours.test", "postmaster@ours.test"),
                ("\u{ff50}ostmaster@ours.test", "postmaster@ours.test"),
                ("postmaster@x.example", ""),
            ] {
                assert_eq!(reached(path, &rules), expected, "{path}");
            }
        }
    }

    /// M10: what reaches one mailbox, and what only looks as if it did.
    #[test]
    fn one_mailbox_has_many_spellings() {
        let rules = Rules {
            domains: vec!["xn--bcher-kva.test".to_owned()],
            ..Rules::default()
        };
        for (path, local) in [
            ("u1@b\u{fc}cher.test", "u1"),
            ("U1@XN--BCHER-KVA.test", "u1"),
            ("u1+x@bu\u{308}cher.test", "u1"),
            ("\u{ff35}\u{ff11}@b\u{fc}cher.test", "u1"),
            ("\u{fc}@b\u{fc}cher.test", "\u{fc}"),
            ("U\u{308}@b\u{fc}cher.test", "\u{fc}"),
            // Dots count, and so does what only looks alike: Cyrillic, a character without width.
            ("u.1@b\u{fc}cher.test", "u.1"),
            ("\u{443}1@b\u{fc}cher.test", "\u{443}1"),
            ("u\u{200b}1@b\u{fc}cher.test", "u\u{200b}1"),
        ] {
            assert_eq!(
                reached(path, &rules),
                format!("{local}@xn--bcher-kva.test"),
                "{path}"
            );
        }
    }

    #[test]
    fn a_tag_leads_to_the_base_mailbox() {
        let mut rules = rules(Accept::Created);
        let table = [
            // The path, and where it leads with "+", with "+-" and without separators.
            ("u", "u", "u", "u"),
            ("u+tag", "u", "u", "u+tag"),
            ("U+Tag", "u", "u", "u+tag"),
            ("u+a+b", "u", "u", "u+a+b"),
            ("u+", "u", "u", "u+"),
            ("u-tag", "u-tag", "u", "u-tag"),
            ("u-a+b", "u-a", "u", "u-a+b"),
            ("+tag", "+tag", "+tag", "+tag"),
            ("+a+b", "+a+b", "+a+b", "+a+b"),
            ("-tag", "-tag", "-tag", "-tag"),
            ("u.+tag", "u.+tag", "u.+tag", "u.+tag"),
            ("u\u{ff0b}tag", "u", "u", "u+tag"),
            ("\u{fc}+tag", "\u{fc}", "\u{fc}", "\u{fc}+tag"),
            ("\"u+tag\"", "u", "u", "u+tag"),
            ("\"u v+tag\"", "\"u v+tag\"", "\"u v+tag\"", "\"u v+tag\""),
            ("no-reply", "no-reply", "no-reply", "no-reply"),
            ("no-reply+x", "no-reply", "no-reply", "no-reply+x"),
            ("no-x", "no-x", "no", "no-x"),
            ("admin+x", "admin", "admin", "admin+x"),
        ];
        for (path, plus, both, none) in table {
            for (separators, local) in [("+", plus), ("+-", both), ("", none)] {
                rules.subaddress_separators = separators.to_owned();
                let expected = format!("{local}@two.test");
                assert_eq!(
                    reached(&format!("{path}@two.test"), &rules),
                    expected,
                    "{path}"
                );
            }
        }
        for (separators, path) in [
            ("+", "postmaster+x"),
            ("+-", "Postmaster-x"),
            ("+", "\"postmaster+\""),
        ] {
            rules.subaddress_separators = separators.to_owned();
            assert_eq!(
                reached(&format!("{path}@two.test"), &rules),
                "postmaster@one.test"
            );
        }
        rules.subaddress_separators = "+".to_owned();
        assert_eq!(
            reached("u+tag@other.test", &rules),
            "",
            "tags are ours to read at our domains only"
        );
    }

    #[test]
    fn what_is_created_is_what_mail_reaches() {
        let mut rules = rules(Accept::Created);
        let create = |text: &str, rules: &Rules| {
            may_create(&Address::parse(text).expect("an address"), rules)
        };
        for (text, expected) in [
            ("u@one.test", Ok(())),
            ("u+tag@one.test", Err(CreateRefusal::Tagged)),
            ("u\u{ff0b}tag@one.test", Err(CreateRefusal::Tagged)),
            ("+tag@one.test", Ok(())),
            ("\"u v+tag\"@one.test", Ok(())),
            ("\u{ff21}dmin@one.test", Err(CreateRefusal::Reserved)),
            ("\"admin\"@one.test", Err(CreateRefusal::Reserved)),
            ("admin+x@one.test", Err(CreateRefusal::Reserved)),
            ("postmaster+x@one.test", Err(CreateRefusal::Reserved)),
            ("u@sub.one.test", Err(CreateRefusal::ForeignDomain)),
        ] {
            assert_eq!(create(text, &rules), expected, "{text}");
            if expected == Ok(()) {
                let canonical = Address::parse(text).expect("an address");
                assert_eq!(reached(text, &rules), canonical.as_str());
            }
        }
        rules.subaddress_separators.clear();
        assert_eq!(create("u+tag@one.test", &rules), Ok(()));
    }

    #[test]
    fn by_choice_what_is_below_a_domain_of_ours_is_ours() {
        let mut rules = rules(Accept::Created);
        rules.domains.push("xn--bcher-kva.test".to_owned());
        for (path, below) in [
            ("u@a.one.test", "u@a.one.test"),
            ("u@B.A.One.Test.", "u@b.a.one.test"),
            ("u+tag@a.one.test", "u@a.one.test"),
            ("u@\u{fc}.b\u{fc}cher.test", "u@xn--tda.xn--bcher-kva.test"),
            ("postmaster@a.one.test", "postmaster@one.test"),
            ("postmaster+x@a.two.test", "postmaster@one.test"),
            ("u@one.test", "u@one.test"),
            ("u@aone.test", ""),
            ("u@test", ""),
            ("u@one.test.a", ""),
        ] {
            rules.subdomains = true;
            assert_eq!(reached(path, &rules), below, "{path}");
            rules.subdomains = false;
            let alone = if path == "u@one.test" { path } else { "" };
            assert_eq!(reached(path, &rules), alone, "{path}");
        }
        rules.subdomains = true;
        let address = Address::parse("u@a.one.test").expect("an address");
        assert_eq!(may_create(&address, &rules), Ok(()));
        assert_eq!(
            our_domain("A.one.test", &rules).as_deref(),
            Some("a.one.test")
        );
        assert_eq!(our_domain("a.other.test", &rules), None);
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
            "b\u{fc}-.test",
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
